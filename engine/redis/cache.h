/* The cache: keys with expiry, in memory, under a limit.
 *
 * What Synapse uses Redis' keys for: SET … PX, GET. Time comes in; expiry is exact on reading, and expired
 * entries that nobody reads are removed by cache_expire(), a bounded number a call.
 */
#ifndef MILLRACE_REDIS_CACHE_H
#define MILLRACE_REDIS_CACHE_H

#include "engine/base/bytes.h"

struct cache;

enum cache_policy { CACHE_NOEVICTION, CACHE_ALLKEYS_LRU, CACHE_VOLATILE_TTL };
enum { CACHE_NO_EXPIRY = -1 };

/* owner: cache_destroy(NULL) is fine. units: memory counts keys, values and overhead. */
struct cache *cache_create(size_t memory_bytes_max, enum cache_policy policy);
void cache_destroy(struct cache *cache);
void cache_set_limit(struct cache *cache, size_t memory_bytes_max, enum cache_policy policy);

/* errors: -E_GONE no such key (or expired). `*value` lives until the next call that changes the cache. */
int cache_get(struct cache *cache, int db, struct slice key, int64_t now_ms, struct slice *value);
/* expiry_ms: wall clock, or CACHE_NO_EXPIRY. errors: -E_FULL above the limit and nothing may be evicted. */
int cache_set(struct cache *cache, int db, struct slice key, struct slice value, int64_t expiry_ms,
	      int64_t now_ms);
bool cache_delete(struct cache *cache, int db, struct slice key, int64_t now_ms);
/* The expiry of a key: errors: -E_GONE. */
int cache_expiry(struct cache *cache, int db, struct slice key, int64_t now_ms, int64_t *expiry_ms);
int cache_set_expiry(struct cache *cache, int db, struct slice key, int64_t expiry_ms, int64_t now_ms);
void cache_flush(struct cache *cache, int db); /* -1: all of them */
size_t cache_count(struct cache *cache, int db);
/* Remove up to `most` expired entries; returns the wall-clock ms of the next expiry, INT64_MAX if none. */
int64_t cache_expire(struct cache *cache, int64_t now_ms, unsigned most);

struct cache_stats {
	uint64_t hits, misses, expired, evicted, refused;
	size_t entries, memory_bytes;
};
const struct cache_stats *cache_stats(const struct cache *cache);

#endif
