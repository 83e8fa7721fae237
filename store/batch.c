/* Batches: changes, encoded where they are made, so that the store's thread only has to copy
 * them.
 *
 * Called by the shards through store.h, and by store.c and the backends through batch.h; calls
 * schema.c.
 *
 * An operation is a small header, the key's bytes and the value's bytes, in this machine's
 * form: it never leaves the process. A batch belongs to one thread at a time and has no lock;
 * store_submit() hands it on. It does not look for keys that it has already: RocksDB keeps the
 * last, and the shards merge positions anyway.
 */
#include "store/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/schema.h"

struct header {
	uint32_t verb, key_len, value_len;
};

struct store_batch *store_batch_create(void)
{
	return mem_zalloc(sizeof(struct store_batch));
}

void store_batch_destroy(struct store_batch *batch)
{
	if (batch == NULL) {
		return;
	}
	bytes_finish(&batch->encoded);
	bytes_finish(&batch->key);
	bytes_finish(&batch->value);
	free(batch);
}

size_t store_batch_count(const struct store_batch *batch)
{
	return batch->count;
}

size_t batch_bytes(const struct store_batch *batch)
{
	return sizeof(*batch) + batch->encoded.cap + batch->key.cap + batch->value.cap;
}

static void append(
	struct store_batch *batch, enum batch_verb verb, struct slice key, struct slice value)
{
	assert(key.len > 0 && key.len <= UINT32_MAX && value.len <= UINT32_MAX);
	struct header header = {(uint32_t)verb, (uint32_t)key.len, (uint32_t)value.len};
	bytes_append(&batch->encoded, &header, sizeof(header));
	bytes_append_slice(&batch->encoded, key);
	bytes_append_slice(&batch->encoded, value);
	batch->count++;
}

bool batch_read(const struct store_batch *batch, size_t *at, struct batch_operation *out)
{
	if (*at == batch->encoded.len) {
		return false;
	}
	struct header header;
	const char *data = batch->encoded.data + *at;
	memcpy(&header, data, sizeof(header));
	out->verb = (enum batch_verb)header.verb;
	out->key = (struct slice){data + sizeof(header), header.key_len};
	out->value = (struct slice){out->key.data + header.key_len, header.value_len};
	*at += sizeof(header) + header.key_len + header.value_len;
	assert(*at <= batch->encoded.len);
	return true;
}

void batch_put(struct store_batch *batch, struct slice key, struct slice value)
{
	append(batch, BATCH_PUT, key, value);
}

/* Empty the two buffers that the encoders write to. */
static void start(struct store_batch *batch)
{
	bytes_clear(&batch->key);
	bytes_clear(&batch->value);
}

static void finish(struct store_batch *batch, enum batch_verb verb)
{
	append(batch, verb, bytes_slice(&batch->key), bytes_slice(&batch->value));
}

void store_put_position(struct store_batch *batch, const struct store_position *position)
{
	start(batch);
	schema_position_key(&batch->key, position->tenant, position->stream, position->instance);
	schema_position_value(&batch->value, position);
	finish(batch, BATCH_PUT);
}

void store_delete_position(
	struct store_batch *batch, struct slice tenant, struct slice stream, struct slice instance)
{
	start(batch);
	schema_position_key(&batch->key, tenant, stream, instance);
	finish(batch, BATCH_DELETE);
}

void store_put_user_sync(struct store_batch *batch, const struct store_user_sync *sync)
{
	start(batch);
	schema_user_sync_key(&batch->key, sync);
	schema_user_sync_value(&batch->value, sync);
	finish(batch, BATCH_PUT);
}

void store_delete_user_sync(struct store_batch *batch, const struct store_user_sync *sync)
{
	start(batch);
	schema_user_sync_key(&batch->key, sync);
	finish(batch, BATCH_DELETE);
}

void store_put_instance(struct store_batch *batch, const struct store_instance *instance)
{
	start(batch);
	schema_instance_key(&batch->key, instance->tenant, instance->instance_id);
	schema_instance_value(&batch->value, instance);
	finish(batch, BATCH_PUT);
}

void store_delete_instance(struct store_batch *batch, struct slice tenant, struct slice instance_id)
{
	start(batch);
	schema_instance_key(&batch->key, tenant, instance_id);
	finish(batch, BATCH_DELETE);
	start(batch);
	schema_user_sync_prefix(&batch->key, tenant, instance_id);
	schema_user_sync_prefix(&batch->value, tenant, instance_id);
	schema_prefix_end(&batch->value);
	finish(batch, BATCH_DELETE_PREFIX);
}
