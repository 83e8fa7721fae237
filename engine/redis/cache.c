/* The cache over its keyspaces: expiry, limit, eviction, watches.
 *
 * Called by the verbs on keys, and by the hub's timer through redis_expire(); calls keyspace.c. A
 * database number is a keyspace, made at its first key. What has expired is gone for every caller
 * from that very millisecond, whether its memory has come back or not.
 *
 * The limit holds for what the keyspaces take together. A write makes room first: by policy it
 * evicts at most EVICT_MIN entries and as many as its own size can stand for; a limit that was
 * lowered by much is reached over many writes. LRU is by sampling: of a few entries, going round
 * the table, the one that was not touched for longest goes, which costs no memory for links and
 * comes near enough.
 *
 * A flushed keyspace is set aside and freed a little at a time, so FLUSHALL takes no longer with a
 * million keys. Watches exist only while somebody WATCHes; without them they cost one comparison a
 * write.
 */
#include "engine/redis/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/redis/keyspace.h"
#include "engine/redis/watch.h"

enum {
	EVICT_MIN = 16,      /* entries a write may evict, however small it is */
	EVICT_BYTES = 64,    /* and one more for so many bytes */
	EVICT_TIMER = 256,   /* entries that a call of cache_expire() may evict */
	SAMPLE = 8,          /* of which the least recent is evicted */
	SAMPLE_TRIES = 1024, /* rounds without any entry before giving up */
	BURY = 64,           /* entries of flushed keyspaces freed by a call */
	TIDY = 64,           /* buckets moved by a call of cache_expire() */
	TTL_SAMPLE = 16
};

struct cache {
	struct keyspace **dbs; /* NULL where nothing was ever written */
	int db_count;
	int victim_db; /* where eviction goes on */
	struct keyspace *graves;
	struct cache_watch *watches;
	void (*removed)(void *context, enum cache_removal why, int db, struct slice key);
	void *removed_context;
	struct cache_stats stats;
};

static const char *const policy_names[] = {
	[CACHE_NOEVICTION] = "noeviction",
	[CACHE_ALLKEYS_LRU] = "allkeys-lru",
	[CACHE_VOLATILE_LRU] = "volatile-lru",
	[CACHE_ALLKEYS_RANDOM] = "allkeys-random",
	[CACHE_VOLATILE_TTL] = "volatile-ttl",
};

const char *cache_policy_name(enum cache_policy policy)
{
	return policy_names[policy];
}

int cache_policy_parse(struct slice word, enum cache_policy *out)
{
	for (unsigned i = 0; i < sizeof(policy_names) / sizeof(policy_names[0]); i++) {
		if (slice_equal_nocase(word, slice_of(policy_names[i]))) {
			*out = (enum cache_policy)i;
			return OK;
		}
	}
	return -E_UNKNOWN;
}

struct cache *cache_create(size_t memory_bytes_max, enum cache_policy policy)
{
	struct cache *cache = mem_zalloc(sizeof(*cache));
	cache_set_limit(cache, memory_bytes_max, policy);
	return cache;
}

void cache_destroy(struct cache *cache)
{
	if (cache == NULL) {
		return;
	}
	cache_flush(cache, -1);
	while (cache->graves != NULL) {
		struct keyspace *next = cache->graves->next_grave;
		while (!keyspace_bury(cache->graves, UINT32_MAX)) {
		}
		cache->graves = next;
	}
	assert(cache->watches == NULL);
	free(cache->dbs);
	free(cache);
}

void cache_set_limit(struct cache *cache, size_t memory_bytes_max, enum cache_policy policy)
{
	cache->stats.memory_bytes_max = memory_bytes_max;
	cache->stats.policy = policy;
}

static struct keyspace *find_db(const struct cache *cache, int db)
{
	assert(db >= 0);
	return db < cache->db_count ? cache->dbs[db] : NULL;
}

static struct keyspace *make_db(struct cache *cache, int db)
{
	if (db >= cache->db_count) {
		size_t count = (size_t)db + 1;
		cache->dbs = mem_realloc(cache->dbs, count * sizeof(*cache->dbs));
		for (size_t i = (size_t)cache->db_count; i < count; i++) {
			cache->dbs[i] = NULL;
		}
		cache->db_count = db + 1;
	}
	if (cache->dbs[db] == NULL) {
		cache->dbs[db] = keyspace_create();
	}
	return cache->dbs[db];
}

static size_t memory(const struct cache *cache)
{
	size_t bytes = 0;
	for (int db = 0; db < cache->db_count; db++) {
		bytes += cache->dbs[db] == NULL ? 0 : cache->dbs[db]->bytes;
	}
	for (const struct keyspace *grave = cache->graves; grave != NULL;
		grave = grave->next_grave) {
		bytes += grave->bytes;
	}
	return bytes;
}

static uint32_t tenths(int64_t now_ms)
{
	return (uint32_t)(now_ms / 100);
}

static void changed(struct cache *cache, int db, struct slice key)
{
	if (cache->watches != NULL) {
		struct cache_watch *watch = watch_find(cache->watches, db, key);
		if (watch != NULL) {
			watch->changes++;
		}
	}
}

static void vanish(struct cache *cache, int db, struct entry *entry, enum cache_removal why)
{
	struct slice key = entry_key(entry);
	if (cache->removed != NULL) {
		cache->removed(cache->removed_context, why, db, key);
	}
	changed(cache, db, key);
	keyspace_remove(cache->dbs[db], entry);
	if (why == CACHE_EXPIRED) {
		cache->stats.expired++;
	} else {
		cache->stats.evicted++;
	}
}

static bool has_expired(const struct entry *entry, int64_t now_ms)
{
	return entry->expiry_ms != CACHE_NO_EXPIRY && entry->expiry_ms <= now_ms;
}

/* The entry of a key that is still valid; removes it when it is not. */
static struct entry *find(struct cache *cache, int db, struct slice key, int64_t now_ms)
{
	struct keyspace *keyspace = find_db(cache, db);
	if (keyspace == NULL) {
		return NULL;
	}
	struct entry *entry = keyspace_find(keyspace, key, keyspace_hash(key));
	if (entry != NULL && has_expired(entry, now_ms)) {
		vanish(cache, db, entry, CACHE_EXPIRED);
		return NULL;
	}
	return entry;
}

struct slice cache_get(struct cache *cache, int db, struct slice key, int64_t now_ms)
{
	struct entry *entry = find(cache, db, key, now_ms);
	if (entry == NULL) {
		cache->stats.misses++;
		return (struct slice){NULL, 0};
	}
	cache->stats.hits++;
	entry->touched_ds = tenths(now_ms);
	return entry_value(entry);
}

struct slice cache_peek(struct cache *cache, int db, struct slice key, int64_t now_ms)
{
	struct entry *entry = find(cache, db, key, now_ms);
	return entry == NULL ? (struct slice){NULL, 0} : entry_value(entry);
}

bool cache_exists(struct cache *cache, int db, struct slice key, int64_t now_ms)
{
	return find(cache, db, key, now_ms) != NULL;
}

/* The least recent of a few entries of one keyspace, or what expires first; NULL when it has
 * none. */
static struct entry *victim_of(struct cache *cache, struct keyspace *keyspace, uint32_t now_ds)
{
	enum cache_policy policy = cache->stats.policy;
	if (policy == CACHE_VOLATILE_TTL) {
		return keyspace_first_expiry(keyspace);
	}
	struct entry *sample[SAMPLE];
	unsigned want = policy == CACHE_ALLKEYS_RANDOM ? 1 : SAMPLE;
	unsigned count = keyspace_sample(keyspace, policy == CACHE_VOLATILE_LRU, sample, want);
	struct entry *victim = count == 0 ? NULL : sample[0];
	for (unsigned i = 1; i < count; i++) {
		if (now_ds - sample[i]->touched_ds > now_ds - victim->touched_ds) {
			victim = sample[i];
		}
	}
	return victim;
}

static bool evict_one(struct cache *cache, int64_t now_ms)
{
	if (cache->stats.policy == CACHE_NOEVICTION) {
		return false;
	}
	for (int tries = 0; tries < SAMPLE_TRIES && tries < 64 * cache->db_count; tries++) {
		int db = cache->victim_db++ % cache->db_count;
		cache->victim_db %= cache->db_count;
		struct keyspace *keyspace = cache->dbs[db];
		if (keyspace == NULL || keyspace_count(keyspace) == 0) {
			continue;
		}
		struct entry *victim = victim_of(cache, keyspace, tenths(now_ms));
		if (victim != NULL) {
			vanish(cache, db, victim, CACHE_EVICTED);
			return true;
		}
	}
	return false;
}

static void bury_some(struct cache *cache)
{
	struct keyspace *grave = cache->graves;
	if (grave != NULL) {
		struct keyspace *next = grave->next_grave;
		if (keyspace_bury(grave, BURY)) {
			cache->graves = next;
		}
	}
}

/* Evict until `more` bytes fit, at most `most` entries. True when they fit, or when room is being
 * made for them faster than they take it. */
static bool make_room(struct cache *cache, size_t more, size_t most, int64_t now_ms)
{
	size_t max = cache->stats.memory_bytes_max;
	if (max == 0) {
		return true;
	}
	bool graves = cache->graves != NULL;
	size_t evicted = 0;
	while (memory(cache) + more > max && evicted < most && evict_one(cache, now_ms)) {
		evicted++;
	}
	return memory(cache) + more <= max || evicted == most || (graves && evicted > 0);
}

bool cache_make_room(struct cache *cache, int64_t now_ms)
{
	return make_room(cache, 0, EVICT_MIN, now_ms);
}

int cache_set(struct cache *cache, int db, struct slice key, struct slice value, int64_t expiry_ms,
	int64_t now_ms)
{
	bury_some(cache);
	if (key.len > KEYSPACE_KEY_MAX || value.len > KEYSPACE_KEY_MAX) {
		return -E_TOO_LONG;
	}
	uint32_t hash = keyspace_hash(key);
	struct keyspace *keyspace = make_db(cache, db);
	keyspace->may_grow = true;
	if (cache->stats.memory_bytes_max > 0) {
		size_t more = keyspace_put_bytes(keyspace, key, hash, value);
		size_t table = 2 * keyspace->tables[0].size * sizeof(struct entry *);
		keyspace->may_grow = memory(cache) + more + table <= cache->stats.memory_bytes_max;
		if (!make_room(cache, more, EVICT_MIN + more / EVICT_BYTES, now_ms)) {
			cache->stats.refused++;
			return -E_FULL;
		}
	}
	if (expiry_ms == CACHE_KEEP_EXPIRY && find(cache, db, key, now_ms) == NULL) {
		expiry_ms = CACHE_NO_EXPIRY;
	}
	struct entry *entry = keyspace_put(keyspace, key, hash, value);
	entry->touched_ds = tenths(now_ms);
	if (expiry_ms != CACHE_KEEP_EXPIRY) {
		keyspace_set_expiry(keyspace, entry, expiry_ms);
	}
	changed(cache, db, key);
	return OK;
}

bool cache_delete(struct cache *cache, int db, struct slice key, int64_t now_ms)
{
	struct entry *entry = find(cache, db, key, now_ms);
	if (entry == NULL) {
		return false;
	}
	changed(cache, db, key);
	keyspace_remove(cache->dbs[db], entry);
	return true;
}

int cache_expiry(struct cache *cache, int db, struct slice key, int64_t now_ms, int64_t *expiry_ms)
{
	struct entry *entry = find(cache, db, key, now_ms);
	if (entry == NULL) {
		return -E_GONE;
	}
	*expiry_ms = entry->expiry_ms;
	return OK;
}

int cache_set_expiry(
	struct cache *cache, int db, struct slice key, int64_t expiry_ms, int64_t now_ms)
{
	struct entry *entry = find(cache, db, key, now_ms);
	if (entry == NULL) {
		return -E_GONE;
	}
	keyspace_set_expiry(cache->dbs[db], entry, expiry_ms);
	changed(cache, db, key);
	return OK;
}

bool cache_touch(struct cache *cache, int db, struct slice key, int64_t now_ms)
{
	struct entry *entry = find(cache, db, key, now_ms);
	if (entry != NULL) {
		entry->touched_ds = tenths(now_ms);
	}
	return entry != NULL;
}

int cache_idle(struct cache *cache, int db, struct slice key, int64_t now_ms, int64_t *idle_ms)
{
	struct entry *entry = find(cache, db, key, now_ms);
	if (entry == NULL) {
		return -E_GONE;
	}
	*idle_ms = (int64_t)(tenths(now_ms) - entry->touched_ds) * 100;
	return OK;
}

int cache_key_bytes(struct cache *cache, int db, struct slice key, int64_t now_ms, size_t *bytes)
{
	struct entry *entry = find(cache, db, key, now_ms);
	if (entry == NULL) {
		return -E_GONE;
	}
	*bytes = entry_bytes(entry);
	return OK;
}

/* Every watched key that exists there changes by being flushed. */
static void flush_watches(struct cache *cache, int db)
{
	struct cache_watch *watch = NULL;
	struct cache_watch *next = NULL;
	HASH_ITER (hh, cache->watches, watch, next) {
		struct slice key = watch_key(watch);
		if (watch->db == db &&
			keyspace_find(cache->dbs[db], key, keyspace_hash(key)) != NULL) {
			watch->changes++;
		}
	}
}

void cache_flush(struct cache *cache, int db)
{
	for (int i = db < 0 ? 0 : db; i < cache->db_count && (db < 0 || i == db); i++) {
		struct keyspace *keyspace = cache->dbs[i];
		if (keyspace == NULL) {
			continue;
		}
		flush_watches(cache, i);
		cache->dbs[i] = NULL;
		keyspace->hand = 0;
		keyspace->next_grave = cache->graves;
		cache->graves = keyspace;
	}
}

size_t cache_count(const struct cache *cache, int db)
{
	const struct keyspace *keyspace = find_db(cache, db);
	return keyspace == NULL ? 0 : keyspace_count(keyspace);
}

size_t cache_count_volatile(const struct cache *cache, int db)
{
	const struct keyspace *keyspace = find_db(cache, db);
	return keyspace == NULL ? 0 : keyspace->heap_count;
}

int64_t cache_average_ttl(const struct cache *cache, int db, int64_t now_ms)
{
	const struct keyspace *keyspace = find_db(cache, db);
	int64_t sum = 0;
	uint32_t count = keyspace == NULL ? 0 : keyspace->heap_count;
	uint32_t step = count / TTL_SAMPLE + 1;
	uint32_t sampled = 0;
	for (uint32_t i = 0; i < count; i += step) {
		int64_t left = keyspace->heap[i].expiry_ms - now_ms;
		sum += left > 0 ? left / TTL_SAMPLE : 0;
		sampled++;
	}
	return sampled == 0 ? 0 : sum / sampled * TTL_SAMPLE;
}

int cache_databases(const struct cache *cache)
{
	return cache->db_count;
}

int64_t cache_expire(struct cache *cache, int64_t now_ms, unsigned most)
{
	int64_t next_ms = INT64_MAX;
	bury_some(cache);
	for (int db = 0; db < cache->db_count; db++) {
		struct keyspace *keyspace = cache->dbs[db];
		if (keyspace == NULL) {
			continue;
		}
		keyspace_tidy(keyspace, TIDY);
		struct entry *first = keyspace_first_expiry(keyspace);
		while (first != NULL && has_expired(first, now_ms) && most > 0) {
			vanish(cache, db, first, CACHE_EXPIRED);
			most--;
			first = keyspace_first_expiry(keyspace);
		}
		if (first != NULL && first->expiry_ms < next_ms) {
			next_ms = first->expiry_ms;
		}
	}
	make_room(cache, 0, EVICT_TIMER, now_ms);
	return cache->graves == NULL ? next_ms : now_ms;
}

/* Keys for a caller, without those that have expired. */
struct teller {
	int64_t now_ms;
	void (*each)(void *context, struct slice key, struct slice value);
	void *context;
};

static void tell(void *context, struct entry *entry)
{
	const struct teller *teller = context;
	if (!has_expired(entry, teller->now_ms)) {
		teller->each(teller->context, entry_key(entry), entry_value(entry));
	}
}

void cache_each(struct cache *cache, int db, int64_t now_ms,
	void (*each)(void *context, struct slice key, struct slice value), void *context)
{
	struct teller teller = {now_ms, each, context};
	struct keyspace *keyspace = find_db(cache, db);
	if (keyspace != NULL) {
		keyspace_each(keyspace, tell, &teller);
	}
}

uint64_t cache_scan(struct cache *cache, int db, uint64_t cursor, int64_t now_ms,
	void (*each)(void *context, struct slice key, struct slice value), void *context)
{
	struct teller teller = {now_ms, each, context};
	struct keyspace *keyspace = find_db(cache, db);
	return keyspace == NULL ? 0 : keyspace_scan(keyspace, cursor, tell, &teller);
}

struct slice cache_random(struct cache *cache, int db, uint64_t random, int64_t now_ms)
{
	struct keyspace *keyspace = find_db(cache, db);
	for (int tries = 0;
		keyspace != NULL && keyspace_count(keyspace) > 0 && tries < SAMPLE_TRIES; tries++) {
		struct entry *sample[SAMPLE];
		keyspace->hand += random;
		unsigned count = keyspace_sample(keyspace, false, sample, SAMPLE);
		struct entry *entry = count == 0 ? NULL : sample[(random >> 32) % count];
		if (entry != NULL && !has_expired(entry, now_ms)) {
			return entry_key(entry);
		}
		if (entry != NULL) {
			vanish(cache, db, entry, CACHE_EXPIRED);
		}
	}
	return (struct slice){NULL, 0};
}

struct cache_watch *cache_watch(struct cache *cache, int db, struct slice key, int64_t now_ms)
{
	find(cache, db, key, now_ms); /* what has expired already is not a change to come */
	return watch_hold(&cache->watches, db, key);
}

bool cache_watch_is(const struct cache_watch *watch, int db, struct slice key)
{
	return watch->db == db && slice_equal(watch_key(watch), key);
}

uint64_t cache_watch_changes(struct cache *cache, struct cache_watch *watch, int64_t now_ms)
{
	find(cache, watch->db, watch_key(watch), now_ms);
	return watch->changes;
}

void cache_unwatch(struct cache *cache, struct cache_watch *watch)
{
	watch_release(&cache->watches, watch);
}

void cache_observe(struct cache *cache,
	void (*removed)(void *context, enum cache_removal why, int db, struct slice key),
	void *context)
{
	cache->removed = removed;
	cache->removed_context = context;
}

const struct cache_stats *cache_stats(struct cache *cache)
{
	cache->stats.memory_bytes = memory(cache);
	cache->stats.entries = 0;
	for (int db = 0; db < cache->db_count; db++) {
		cache->stats.entries += cache_count(cache, db);
	}
	return &cache->stats;
}

void cache_reset_stats(struct cache *cache)
{
	struct cache_stats *stats = &cache->stats;
	stats->hits = stats->misses = stats->expired = stats->evicted = stats->refused = 0;
}
