/* The cache: keys with expiry, in memory, under a limit.
 *
 * What Synapse uses Redis' keys for: SET … PX, GET. Values are strings. Each database number is a
 * keyspace of its own. Time comes in; expiry is exact on reading, and expired entries that nobody
 * reads are removed by cache_expire(). No call does more than a bounded amount of work, except
 * cache_each(), and the flushed keyspace's memory comes back over the next calls.
 */
#ifndef MILLRACE_REDIS_CACHE_H
#define MILLRACE_REDIS_CACHE_H

#include "engine/base/bytes.h"

struct cache;

enum cache_policy {
	CACHE_NOEVICTION,   /* above the limit writing is refused */
	CACHE_ALLKEYS_LRU,  /* what was not read for long goes, by sampling */
	CACHE_VOLATILE_TTL, /* what expires next goes */
	CACHE_VOLATILE_LRU, /* as allkeys-lru among keys with an expiry */
	CACHE_ALLKEYS_RANDOM,
	CACHE_POLICIES
};
enum { CACHE_NO_EXPIRY = -1, CACHE_KEEP_EXPIRY = -2 };

/* Redis' word for a policy, and back; -E_UNKNOWN. */
const char *cache_policy_name(enum cache_policy policy);
int cache_policy_parse(struct slice word, enum cache_policy *out);

/* owner: cache_destroy(NULL) is fine.
 * units: memory counts keys, values and overhead; 0 is no limit. */
struct cache *cache_create(size_t memory_bytes_max, enum cache_policy policy);
void cache_destroy(struct cache *cache);
void cache_set_limit(struct cache *cache, size_t memory_bytes_max, enum cache_policy policy);

/* A key's value, or data NULL where there is no such key (or it has expired); an empty value has
 * data not NULL. It lives until the next call that changes the cache. cache_get counts a hit or a
 * miss and makes the key a recent one; cache_peek does neither. */
struct slice cache_get(struct cache *cache, int db, struct slice key, int64_t now_ms);
struct slice cache_peek(struct cache *cache, int db, struct slice key, int64_t now_ms);
bool cache_exists(struct cache *cache, int db, struct slice key, int64_t now_ms);

/* expiry_ms: wall clock, CACHE_NO_EXPIRY, or CACHE_KEEP_EXPIRY (what the key has now). `value` must
 * not be a slice of the cache's own.
 * errors: -E_FULL above the limit and nothing may be evicted; -E_TOO_LONG above 512 MiB. */
int cache_set(struct cache *cache, int db, struct slice key, struct slice value, int64_t expiry_ms,
	int64_t now_ms);
bool cache_delete(struct cache *cache, int db, struct slice key, int64_t now_ms);
/* True while the limit allows another write, after evicting for it a bounded number of keys. */
bool cache_make_room(struct cache *cache, int64_t now_ms);

/* errors: -E_GONE no such key. */
int cache_expiry(struct cache *cache, int db, struct slice key, int64_t now_ms, int64_t *expiry_ms);
int cache_set_expiry(
	struct cache *cache, int db, struct slice key, int64_t expiry_ms, int64_t now_ms);
/* Make a key a recent one; false: no such key. */
bool cache_touch(struct cache *cache, int db, struct slice key, int64_t now_ms);
/* How long ago the key was written or read. errors: -E_GONE. */
int cache_idle(struct cache *cache, int db, struct slice key, int64_t now_ms, int64_t *idle_ms);
/* The memory one key takes. errors: -E_GONE. */
int cache_key_bytes(struct cache *cache, int db, struct slice key, int64_t now_ms, size_t *bytes);

void cache_flush(struct cache *cache, int db); /* -1: all of them */
size_t cache_count(const struct cache *cache, int db);
size_t cache_count_volatile(const struct cache *cache, int db); /* keys with an expiry */
int64_t cache_average_ttl(const struct cache *cache, int db, int64_t now_ms); /* ms; of a sample */
int cache_databases(const struct cache *cache); /* no key is in this one or above */

/* Remove up to `most` expired entries; returns the wall-clock ms of the next expiry, INT64_MAX if
 * none. */
int64_t cache_expire(struct cache *cache, int64_t now_ms, unsigned most);

/* Every key that has not expired, in no order. `each` must not change the cache. */
void cache_each(struct cache *cache, int db, int64_t now_ms,
	void (*each)(void *context, struct slice key, struct slice value), void *context);
/* SCAN: the keys of a few buckets at `cursor`; returns the cursor to go on with, 0 at the end.
 * Whoever was there from begin to end is told at least once. */
uint64_t cache_scan(struct cache *cache, int db, uint64_t cursor, int64_t now_ms,
	void (*each)(void *context, struct slice key, struct slice value), void *context);
/* Some key, chosen by `random`; data NULL when there is none. */
struct slice cache_random(struct cache *cache, int db, uint64_t random, int64_t now_ms);

/* WATCH: a watch sees whether a key was written, deleted or has expired since. cache_unwatch frees
 * it. */
struct cache_watch;
struct cache_watch *cache_watch(struct cache *cache, int db, struct slice key, int64_t now_ms);
bool cache_watch_is(const struct cache_watch *watch, int db, struct slice key);
uint64_t cache_watch_changes(struct cache *cache, struct cache_watch *watch, int64_t now_ms);
void cache_unwatch(struct cache *cache, struct cache_watch *watch);

/* Who wants to hear of keys that vanish by themselves; NULL: nobody. Called before the key is gone;
 * must not call the cache. */
enum cache_removal { CACHE_EXPIRED, CACHE_EVICTED };
void cache_observe(struct cache *cache,
	void (*removed)(void *context, enum cache_removal why, int db, struct slice key),
	void *context);

struct cache_stats {
	uint64_t hits, misses, expired, evicted, refused;
	size_t entries, memory_bytes, memory_bytes_max;
	enum cache_policy policy;
};
const struct cache_stats *cache_stats(struct cache *cache);
void cache_reset_stats(struct cache *cache); /* the counters; not what is now */

#endif
