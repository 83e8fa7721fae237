/* The cache: against a plain model, at its limit, while it grows, expires and is scanned. */
#include "engine/redis/cache.h"

#include "engine/base/err.h"
#include "tests/unit.h"

enum { START_MS = 1000000, KEYS = 64, DBS = 3 };

static struct slice name(char *out, const char *prefix, uint64_t number)
{
	return (struct slice){
		out, (size_t)sprintf(out, "%s%llu", prefix, (unsigned long long)number)};
}

static bool holds(struct cache *cache, int db, struct slice key, int64_t now_ms, const char *value)
{
	struct slice found = cache_get(cache, db, key, now_ms);
	return value == NULL ? found.data == NULL
			     : found.data != NULL && slice_equal(found, slice_of(value));
}

static void test_cache_keys_of_two_databases_differ(void)
{
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	struct slice key = SLICE("key");
	UNIT_REQUIRE(cache_set(cache, 0, key, SLICE("a"), CACHE_NO_EXPIRY, START_MS) == OK);
	UNIT_REQUIRE(cache_set(cache, 9, key, SLICE("b"), CACHE_NO_EXPIRY, START_MS) == OK);
	CU_ASSERT(holds(cache, 0, key, START_MS, "a"));
	CU_ASSERT(holds(cache, 9, key, START_MS, "b"));
	CU_ASSERT(holds(cache, 3, key, START_MS, NULL));
	CU_ASSERT(cache_delete(cache, 0, key, START_MS));
	CU_ASSERT(!cache_delete(cache, 0, key, START_MS));
	CU_ASSERT(holds(cache, 9, key, START_MS, "b"));
	CU_ASSERT_EQUAL(cache_count(cache, 9), 1);
	cache_destroy(cache);
}

static void test_cache_empty_keys_and_values_are_kept(void)
{
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	struct slice empty = {NULL, 0};
	UNIT_REQUIRE(cache_set(cache, 0, empty, empty, CACHE_NO_EXPIRY, START_MS) == OK);
	CU_ASSERT(holds(cache, 0, empty, START_MS, ""));
	CU_ASSERT(cache_exists(cache, 0, empty, START_MS));
	cache_destroy(cache);
}

static void test_cache_a_key_is_gone_from_its_millisecond_on(void)
{
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	struct slice key = SLICE("key");
	int64_t expiry_ms = 0;
	cache_set(cache, 0, key, SLICE("v"), START_MS + 10, START_MS);
	CU_ASSERT(holds(cache, 0, key, START_MS + 9, "v"));
	CU_ASSERT(holds(cache, 0, key, START_MS + 10, NULL));
	CU_ASSERT_EQUAL(cache_stats(cache)->expired, 1);
	cache_set(cache, 0, key, SLICE("v"), START_MS + 10, START_MS);
	cache_set(cache, 0, key, SLICE("w"), CACHE_KEEP_EXPIRY, START_MS);
	CU_ASSERT_EQUAL(cache_expiry(cache, 0, key, START_MS, &expiry_ms), OK);
	CU_ASSERT_EQUAL(expiry_ms, START_MS + 10);
	cache_set(cache, 0, key, SLICE("w"), CACHE_NO_EXPIRY, START_MS);
	CU_ASSERT(holds(cache, 0, key, START_MS + 1000, "w"));
	/* what has expired keeps nothing for a new value */
	cache_set_expiry(cache, 0, key, START_MS + 1, START_MS);
	cache_set(cache, 0, key, SLICE("x"), CACHE_KEEP_EXPIRY, START_MS + 2);
	CU_ASSERT(holds(cache, 0, key, START_MS + 1000, "x"));
	CU_ASSERT_EQUAL(cache_set_expiry(cache, 0, SLICE("no"), 1, START_MS), -E_GONE);
	cache_destroy(cache);
}

static void test_cache_expiry_comes_in_order_and_in_portions(void)
{
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	char text[32];
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t ms = (i * 7919) % 1000;
		cache_set(cache, (int)(i % DBS), name(text, "k", i), SLICE("v"),
			START_MS + 1 + (int64_t)ms, START_MS);
	}
	CU_ASSERT_EQUAL(cache_expire(cache, START_MS, 100), START_MS + 1);
	CU_ASSERT_EQUAL(cache_stats(cache)->entries, 1000);
	CU_ASSERT_EQUAL(cache_expire(cache, START_MS + 500, 100000), START_MS + 501);
	CU_ASSERT_EQUAL(cache_stats(cache)->entries, 500);
	CU_ASSERT(cache_expire(cache, START_MS + 2000, 100) <= START_MS + 1000);
	CU_ASSERT_EQUAL(cache_stats(cache)->entries, 400);
	CU_ASSERT_EQUAL(cache_expire(cache, START_MS + 2000, 1000), INT64_MAX);
	CU_ASSERT_EQUAL(cache_stats(cache)->entries, 0);
	CU_ASSERT_EQUAL(cache_stats(cache)->expired, 1000);
	cache_destroy(cache);
}

/* A plain array that does the same. */
struct model {
	struct {
		bool there;
		char value[200];
		int64_t expiry_ms;
	} keys[DBS][KEYS];
};

static void forget_expired(struct model *model, int64_t now_ms)
{
	for (unsigned db = 0; db < DBS; db++) {
		for (unsigned k = 0; k < KEYS; k++) {
			int64_t expiry_ms = model->keys[db][k].expiry_ms;
			if (expiry_ms != CACHE_NO_EXPIRY && expiry_ms <= now_ms) {
				model->keys[db][k].there = false;
			}
		}
	}
}

static int64_t some_expiry(uint64_t *state, int64_t now_ms)
{
	return unit_random(state) % 2 == 0 ? CACHE_NO_EXPIRY
					   : now_ms + 1 + (int64_t)(unit_random(state) % 50);
}

static void model_step(struct model *model, struct cache *cache, uint64_t *state, int64_t now_ms)
{
	char text[32];
	int db = (int)(unit_random(state) % DBS);
	unsigned k = (unsigned)(unit_random(state) % KEYS);
	struct slice key = name(text, "key", k);
	bool there = model->keys[db][k].there;
	char *value = model->keys[db][k].value;
	int64_t expiry_ms = some_expiry(state, now_ms);
	switch (unit_random(state) % 8) {
	case 0:
	case 1:
	case 2:
		memset(value, 'a' + (int)(unit_random(state) % 26), 199);
		value[unit_random(state) % 200] = '\0';
		if (there && unit_random(state) % 4 == 0) {
			expiry_ms = CACHE_KEEP_EXPIRY;
		} else {
			model->keys[db][k].expiry_ms = expiry_ms;
		}
		model->keys[db][k].there = true;
		CU_ASSERT_EQUAL(cache_set(cache, db, key, slice_of(value), expiry_ms, now_ms), OK);
		break;
	case 3:
		CU_ASSERT_EQUAL(cache_delete(cache, db, key, now_ms), there);
		model->keys[db][k].there = false;
		break;
	case 4:
		CU_ASSERT_EQUAL(
			cache_set_expiry(cache, db, key, expiry_ms, now_ms), there ? OK : -E_GONE);
		model->keys[db][k].expiry_ms = expiry_ms;
		break;
	case 5:
		if (unit_random(state) % 50 == 0) {
			cache_flush(cache, db);
			memset(model->keys[db], 0, sizeof(model->keys[db]));
		}
		break;
	default:
		CU_ASSERT(holds(cache, db, key, now_ms, there ? value : NULL));
		break;
	}
}

/* What has expired is gone, all of it and nothing else. */
static void compare_counts(struct model *model, struct cache *cache, int64_t now_ms)
{
	CU_ASSERT(cache_expire(cache, now_ms, 100000) >= now_ms);
	for (int db = 0; db < DBS; db++) {
		size_t count = 0;
		size_t expiring = 0;
		for (unsigned k = 0; k < KEYS; k++) {
			bool there = model->keys[db][k].there;
			count += there ? 1 : 0;
			expiring += there && model->keys[db][k].expiry_ms != CACHE_NO_EXPIRY;
		}
		CU_ASSERT_EQUAL_FATAL(cache_count(cache, db), count);
		CU_ASSERT_EQUAL_FATAL(cache_count_volatile(cache, db), expiring);
	}
}

static void test_cache_behaves_like_a_plain_array(void)
{
	static struct model model;
	uint64_t state = unit_seed();
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	int64_t now_ms = START_MS;
	memset(&model, 0, sizeof(model));
	for (unsigned step = 0; step < 200000; step++) {
		now_ms += unit_random(&state) % 8 == 0 ? 1 : 0;
		forget_expired(&model, now_ms);
		model_step(&model, cache, &state, now_ms);
		if (step % 64 == 0) {
			cache_expire(cache, now_ms, (unsigned)(unit_random(&state) % 8));
		}
		if (step % 500 == 0) {
			compare_counts(&model, cache, now_ms);
		}
	}
	cache_flush(cache, -1);
	while (cache_expire(cache, now_ms, 100) != INT64_MAX) {
	}
	CU_ASSERT_EQUAL(cache_stats(cache)->entries, 0);
	CU_ASSERT_EQUAL(cache_stats(cache)->memory_bytes, 0);
	cache_destroy(cache);
}

static void test_cache_grows_and_shrinks_without_losing_a_key(void)
{
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	char text[32];
	for (unsigned i = 0; i < 50000; i++) {
		cache_set(cache, 0, name(text, "k", i), SLICE("v"), CACHE_NO_EXPIRY, START_MS);
	}
	CU_ASSERT_EQUAL(cache_count(cache, 0), 50000);
	for (unsigned i = 0; i < 50000; i++) {
		CU_ASSERT_FATAL(cache_exists(cache, 0, name(text, "k", i), START_MS));
	}
	size_t full = cache_stats(cache)->memory_bytes;
	for (unsigned i = 0; i < 49990; i++) {
		CU_ASSERT_FATAL(cache_delete(cache, 0, name(text, "k", i), START_MS));
	}
	for (unsigned i = 49990; i < 50000; i++) {
		CU_ASSERT_FATAL(cache_exists(cache, 0, name(text, "k", i), START_MS));
	}
	CU_ASSERT(cache_stats(cache)->memory_bytes < full / 20);
	cache_destroy(cache);
}

struct seen {
	bool keys[4000];
	size_t count;
};

static void see(void *context, struct slice key, struct slice value)
{
	struct seen *seen = context;
	int64_t number = 0;
	(void)value;
	key.data++;
	key.len--;
	if (slice_to_i64(key, &number) == OK && number < 4000) {
		seen->keys[number] = true;
	}
	seen->count++;
}

static void test_cache_scan_meets_every_key_that_stays(void)
{
	uint64_t state = unit_seed();
	for (unsigned round = 0; round < 20; round++) {
		struct cache *cache = cache_create(0, CACHE_NOEVICTION);
		struct seen *seen = mem_zalloc(sizeof(*seen));
		char text[32];
		unsigned stay = 1 + (unsigned)(unit_random(&state) % 1000);
		uint64_t noise = 10000;
		for (unsigned i = 0; i < stay; i++) {
			cache_set(cache, 0, name(text, "k", i), SLICE("v"), CACHE_NO_EXPIRY,
				START_MS);
		}
		uint64_t cursor = 0;
		bool growing = unit_random(&state) % 2 == 0;
		do {
			cursor = cache_scan(cache, 0, cursor, START_MS, see, seen);
			for (unsigned i = 0; i < 5;
				i++) { /* the table grows or shrinks meanwhile */
				if (growing) {
					cache_set(cache, 0, name(text, "x", noise++), SLICE("v"),
						CACHE_NO_EXPIRY, START_MS);
				} else if (stay > 20) {
					stay--;
					cache_delete(cache, 0, name(text, "k", stay), START_MS);
				}
			}
			growing = unit_random(&state) % 64 == 0 ? !growing : growing;
		} while (cursor != 0 && noise < 100000);
		for (unsigned i = 0; i < stay; i++) {
			CU_ASSERT_FATAL(seen->keys[i]);
		}
		free(seen);
		cache_destroy(cache);
	}
}

static void test_cache_each_and_random_leave_out_what_has_expired(void)
{
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	struct seen *seen = mem_zalloc(sizeof(*seen));
	cache_set(cache, 0, SLICE("k1"), SLICE("v"), START_MS + 5, START_MS);
	cache_set(cache, 0, SLICE("k2"), SLICE("v"), CACHE_NO_EXPIRY, START_MS);
	cache_each(cache, 0, START_MS + 5, see, seen);
	CU_ASSERT(!seen->keys[1] && seen->keys[2]);
	for (uint64_t i = 0; i < 20; i++) {
		struct slice key = cache_random(cache, 0, i * 0x9e3779b97f4a7c15u, START_MS + 5);
		CU_ASSERT(slice_equal(key, SLICE("k2")));
	}
	CU_ASSERT_PTR_NULL(cache_random(cache, 7, 1, START_MS).data);
	free(seen);
	cache_destroy(cache);
}

static void test_cache_at_its_limit_refuses_or_evicts_by_policy(void)
{
	for (int policy = CACHE_NOEVICTION; policy < CACHE_POLICIES; policy++) {
		enum { LIMIT = 100000 };
		struct cache *cache = cache_create(LIMIT, (enum cache_policy)policy);
		char text[32];
		unsigned refused = 0;
		for (unsigned i = 0; i < 5000; i++) {
			int rc = cache_set(cache, (int)(i % 2), name(text, "key", i),
				SLICE("some value"), START_MS + 1000 + i, START_MS + i);
			CU_ASSERT(rc == OK || rc == -E_FULL);
			refused += rc == OK ? 0 : 1;
			CU_ASSERT(cache_stats(cache)->memory_bytes <= LIMIT);
		}
		bool evicts = policy != CACHE_NOEVICTION;
		CU_ASSERT_EQUAL(refused == 0, evicts);
		CU_ASSERT_EQUAL(cache_stats(cache)->evicted > 0, evicts);
		CU_ASSERT_EQUAL(cache_stats(cache)->refused, refused);
		CU_ASSERT(cache_stats(cache)->entries > 300);
		cache_destroy(cache);
	}
}

static void test_cache_volatile_policies_leave_other_keys_alone(void)
{
	struct cache *cache = cache_create(20000, CACHE_VOLATILE_TTL);
	char text[32];
	unsigned kept = 0;
	while (cache_set(cache, 0, name(text, "stays", kept), SLICE("value"), CACHE_NO_EXPIRY,
		       START_MS) == OK) {
		kept++;
	}
	CU_ASSERT(kept > 50);
	CU_ASSERT_EQUAL(cache_stats(cache)->evicted, 0);
	for (unsigned i = 0; i < kept; i++) {
		CU_ASSERT(cache_exists(cache, 0, name(text, "stays", i), START_MS));
	}
	cache_destroy(cache);
}

static void test_cache_lru_keeps_what_is_read(void)
{
	struct cache *cache = cache_create(200000, CACHE_ALLKEYS_LRU);
	char text[32];
	int64_t now_ms = START_MS;
	for (unsigned i = 0; i < 100; i++) {
		cache_set(cache, 0, name(text, "hot", i), SLICE("value"), CACHE_NO_EXPIRY, now_ms);
	}
	for (unsigned i = 0; i < 20000; i++) {
		now_ms += 100;
		cache_set(cache, 0, name(text, "cold", i), SLICE("value"), CACHE_NO_EXPIRY, now_ms);
		cache_get(cache, 0, name(text, "hot", i % 100), now_ms);
	}
	unsigned hot = 0;
	for (unsigned i = 0; i < 100; i++) {
		hot += cache_exists(cache, 0, name(text, "hot", i), now_ms) ? 1 : 0;
	}
	CU_ASSERT(hot >= 95);
	CU_ASSERT(cache_stats(cache)->evicted > 10000);
	cache_destroy(cache);
}

static void test_cache_a_lowered_limit_is_reached_in_steps(void)
{
	struct cache *cache = cache_create(0, CACHE_ALLKEYS_RANDOM);
	char text[32];
	for (unsigned i = 0; i < 5000; i++) {
		cache_set(cache, 0, name(text, "k", i), SLICE("v"), CACHE_NO_EXPIRY, START_MS);
	}
	cache_set_limit(cache, 30000, CACHE_ALLKEYS_RANDOM);
	uint64_t before = cache_stats(cache)->evicted;
	CU_ASSERT_EQUAL(
		cache_set(cache, 0, SLICE("new"), SLICE("v"), CACHE_NO_EXPIRY, START_MS), OK);
	CU_ASSERT(cache_stats(cache)->evicted - before <= 64);
	for (unsigned i = 0; i < 200; i++) {
		cache_expire(cache, START_MS, 10);
	}
	CU_ASSERT(cache_stats(cache)->memory_bytes <= 30000);
	cache_destroy(cache);
}

static void test_cache_watches_see_changes_and_expiry(void)
{
	struct cache *cache = cache_create(0, CACHE_NOEVICTION);
	struct slice key = SLICE("key");
	struct cache_watch *watch = cache_watch(cache, 0, key, START_MS);
	struct cache_watch *other = cache_watch(cache, 1, key, START_MS);
	struct cache_watch *again = cache_watch(cache, 0, key, START_MS);
	CU_ASSERT_PTR_EQUAL(watch, again);
	CU_ASSERT(cache_watch_is(watch, 0, key) && !cache_watch_is(watch, 1, key));
	uint64_t changes = cache_watch_changes(cache, watch, START_MS);
	cache_set(cache, 0, key, SLICE("v"), START_MS + 10, START_MS);
	CU_ASSERT(cache_watch_changes(cache, watch, START_MS) > changes);
	changes = cache_watch_changes(cache, watch, START_MS);
	cache_get(cache, 0, key, START_MS);
	cache_delete(cache, 0, SLICE("other"), START_MS);
	CU_ASSERT_EQUAL(cache_watch_changes(cache, watch, START_MS + 9), changes);
	CU_ASSERT(cache_watch_changes(cache, watch, START_MS + 10) > changes);
	changes = cache_watch_changes(cache, watch, START_MS + 10);
	cache_flush(cache, -1); /* nothing there to be flushed */
	CU_ASSERT_EQUAL(cache_watch_changes(cache, watch, START_MS + 10), changes);
	CU_ASSERT_EQUAL(cache_watch_changes(cache, other, START_MS + 10), 0);
	cache_unwatch(cache, watch);
	cache_unwatch(cache, again);
	cache_unwatch(cache, other);
	cache_destroy(cache);
}

struct removals {
	unsigned expired, evicted;
};

static void count_removal(void *context, enum cache_removal why, int db, struct slice key)
{
	struct removals *removals = context;
	CU_ASSERT(db == 0 && key.len > 0);
	removals->expired += why == CACHE_EXPIRED ? 1 : 0;
	removals->evicted += why == CACHE_EVICTED ? 1 : 0;
}

static void test_cache_observers_hear_of_what_vanishes_by_itself(void)
{
	struct removals removals = {0, 0};
	struct cache *cache = cache_create(0, CACHE_ALLKEYS_LRU);
	cache_observe(cache, count_removal, &removals);
	cache_set(cache, 0, SLICE("a"), SLICE("v"), START_MS + 1, START_MS);
	cache_set(cache, 0, SLICE("b"), SLICE("v"), START_MS + 1, START_MS);
	cache_set(cache, 0, SLICE("c"), SLICE("v"), CACHE_NO_EXPIRY, START_MS);
	cache_delete(cache, 0, SLICE("c"), START_MS);
	cache_get(cache, 0, SLICE("a"), START_MS + 1);
	cache_expire(cache, START_MS + 1, 10);
	CU_ASSERT_EQUAL(removals.expired, 2);
	cache_set(cache, 0, SLICE("d"), SLICE("v"), CACHE_NO_EXPIRY, START_MS);
	cache_set_limit(cache, 1, CACHE_ALLKEYS_LRU);
	cache_expire(cache, START_MS + 1, 10);
	CU_ASSERT_EQUAL(removals.evicted, 1);
	cache_destroy(cache);
}

static void test_cache_policies_have_redis_names(void)
{
	enum cache_policy policy = CACHE_NOEVICTION;
	for (int i = CACHE_NOEVICTION; i < CACHE_POLICIES; i++) {
		const char *word = cache_policy_name((enum cache_policy)i);
		CU_ASSERT_EQUAL(cache_policy_parse(slice_of(word), &policy), OK);
		CU_ASSERT_EQUAL((int)policy, i);
	}
	CU_ASSERT_EQUAL(cache_policy_parse(SLICE("allkeys-lfu"), &policy), -E_UNKNOWN);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_cache_keys_of_two_databases_differ),
	UNIT_TEST(test_cache_empty_keys_and_values_are_kept),
	UNIT_TEST(test_cache_a_key_is_gone_from_its_millisecond_on),
	UNIT_TEST(test_cache_expiry_comes_in_order_and_in_portions),
	UNIT_TEST(test_cache_behaves_like_a_plain_array),
	UNIT_TEST(test_cache_grows_and_shrinks_without_losing_a_key),
	UNIT_TEST(test_cache_scan_meets_every_key_that_stays),
	UNIT_TEST(test_cache_each_and_random_leave_out_what_has_expired),
	UNIT_TEST(test_cache_at_its_limit_refuses_or_evicts_by_policy),
	UNIT_TEST(test_cache_volatile_policies_leave_other_keys_alone),
	UNIT_TEST(test_cache_lru_keeps_what_is_read),
	UNIT_TEST(test_cache_a_lowered_limit_is_reached_in_steps),
	UNIT_TEST(test_cache_watches_see_changes_and_expiry),
	UNIT_TEST(test_cache_observers_hear_of_what_vanishes_by_itself),
	UNIT_TEST(test_cache_policies_have_redis_names),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "cache", tests);
}
