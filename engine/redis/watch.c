/* Watched keys.
 *
 * Called by cache.c, at every change of a key while anybody watches something. A key is found by
 * its database's number and its name together. Nothing here knows whether the key exists.
 */
#include "engine/redis/watch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LOCAL = 256 }; /* longer names take an allocation to look up */

struct slice watch_key(const struct cache_watch *watch)
{
	return (struct slice){watch->name + sizeof(watch->db), watch->len - sizeof(watch->db)};
}

static size_t put_name(int db, struct slice key, char *out)
{
	memcpy(out, &db, sizeof(db));
	if (key.len > 0) {
		memcpy(out + sizeof(db), key.data, key.len);
	}
	return sizeof(db) + key.len;
}

struct cache_watch *watch_find(struct cache_watch *table, int db, struct slice key)
{
	char local[NAME_LOCAL];
	bool fits = sizeof(db) + key.len <= sizeof(local);
	char *name = fits ? local : mem_alloc(sizeof(db) + key.len);
	size_t len = put_name(db, key, name);
	struct cache_watch *watch = NULL;
	HASH_FIND(hh, table, name, len, watch);
	if (!fits) {
		free(name);
	}
	return watch;
}

struct cache_watch *watch_hold(struct cache_watch **table, int db, struct slice key)
{
	struct cache_watch *watch = watch_find(*table, db, key);
	if (watch == NULL) {
		watch = mem_zalloc(sizeof(*watch) + sizeof(db) + key.len);
		watch->db = db;
		watch->len = put_name(db, key, watch->name);
		HASH_ADD_KEYPTR(hh, *table, watch->name, watch->len, watch);
	}
	watch->holders++;
	return watch;
}

void watch_release(struct cache_watch **table, struct cache_watch *watch)
{
	assert(watch->holders > 0);
	if (--watch->holders == 0) {
		HASH_DEL(*table, watch);
		free(watch);
	}
}
