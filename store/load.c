/* From a stored key and value to the words of store_loader.
 *
 * Called by store.c for each key that it reads back, and by the simulated disk of the tests;
 * calls schema.c.
 *
 * A key that no encoder writes ends the reading: better no start than a start that has
 * forgotten something silently.
 */
#include "store/load.h"

#include "engine/base/err.h"
#include "store/schema.h"

static int tell_position(const struct store_loader *loader, struct slice key, struct slice value)
{
	struct store_position position;
	int err = schema_position_decode(key, value, &position);
	if (err == OK && loader->position != NULL) {
		loader->position(loader->context, &position);
	}
	return err;
}

static int tell_instance(const struct store_loader *loader, struct slice key, struct slice value)
{
	struct store_instance instance;
	int err = schema_instance_decode(key, value, &instance);
	if (err == OK && loader->instance != NULL) {
		loader->instance(loader->context, &instance);
	}
	return err;
}

static int tell_user_sync(const struct store_loader *loader, struct slice key, struct slice value)
{
	struct store_user_sync sync;
	int err = schema_user_sync_decode(key, value, &sync);
	if (err == OK && loader->user_sync != NULL) {
		loader->user_sync(loader->context, &sync);
	}
	return err;
}

int load_tell(const struct store_loader *loader, struct slice key, struct slice value)
{
	switch (key.len > 0 ? (unsigned char)key.data[0] : 0xff) {
	case SCHEMA_META:
		return slice_equal(key, schema_version_key()) ? OK : -E_CORRUPT;
	case SCHEMA_POSITION:
		return tell_position(loader, key, value);
	case SCHEMA_INSTANCE:
		return tell_instance(loader, key, value);
	case SCHEMA_USER_SYNC:
		return tell_user_sync(loader, key, value);
	default:
		return -E_CORRUPT;
	}
}
