/* The store's format: examples to the byte, round trips, order, prefixes, and everything that a
 * decoder has to refuse. */
#include "store/schema.h"

#include "engine/base/err.h"
#include "store/batch.h"
#include "tests/unit.h"

enum { ROUNDS = 20000 };

static bool same_bytes(const struct bytes *found, const char *expected, size_t len)
{
	return found->len == len && memcmp(found->data, expected, len) == 0;
}

#define EXPECT_BYTES(found, literal)                                                               \
	CU_ASSERT_TRUE(same_bytes((found), (literal), sizeof(literal) - 1))

static void test_schema_position_is_written_as_documented(void)
{
	struct store_position p = {.tenant = SLICE("a.b"),
		.stream = SLICE("events"),
		.instance = SLICE("w1"),
		.token = 5,
		.prev = 4,
		.wall_ms = 1};
	struct bytes key = {0}, value = {0};
	schema_position_key(&key, p.tenant, p.stream, p.instance);
	schema_position_value(&value, &p);
	EXPECT_BYTES(&key, "\x10\x03"
			   "a.b\x06"
			   "events\x02"
			   "w1");
	EXPECT_BYTES(&value, "\x80\0\0\0\0\0\0\x05\x80\0\0\0\0\0\0\x04\x80\0\0\0\0\0\0\x01");
	bytes_finish(&key);
	bytes_finish(&value);
}

static void test_schema_other_keys_are_written_as_documented(void)
{
	struct store_user_sync s = {.tenant = SLICE("t"),
		.instance_id = SLICE("abcde"),
		.user = SLICE("@u:t"),
		.since_ms = -1};
	struct store_instance i = {SLICE("t"), SLICE("abcde"), 0};
	struct bytes b = {0};
	schema_user_sync_key(&b, &s);
	EXPECT_BYTES(&b, "\x21\x01t\x05"
			 "abcde\x04@u:t\0");
	bytes_clear(&b);
	schema_user_sync_value(&b, &s);
	EXPECT_BYTES(&b, "\x7f\xff\xff\xff\xff\xff\xff\xff");
	bytes_clear(&b);
	schema_instance_key(&b, i.tenant, i.instance_id);
	EXPECT_BYTES(&b, "\x20\x01t\x05"
			 "abcde");
	bytes_clear(&b);
	schema_instance_value(&b, &i);
	EXPECT_BYTES(&b, "\x80\0\0\0\0\0\0\0");
	bytes_clear(&b);
	schema_row_key(&b, SLICE("t"), SLICE("s"), SLICE("i"), INT64_MIN);
	EXPECT_BYTES(&b, "\x30\x01t\x01s\x01i\0\0\0\0\0\0\0\0");
	bytes_clear(&b);
	schema_version_value(&b, SCHEMA_VERSION);
	EXPECT_BYTES(&b, "\0\0\0\x02");
	CU_ASSERT_TRUE(slice_equal(schema_version_key(), SLICE("\0format")));
	bytes_finish(&b);
}

/* A name of random length and random bytes, often one of the nasty ones. */
static struct slice random_name(uint64_t *state, char *buffer, size_t size)
{
	static const size_t lengths[] = {0, 1, 2, 5, 127, 128, 129, 255, 256, 300};
	size_t len = lengths[unit_random(state) % (sizeof(lengths) / sizeof(lengths[0]))];
	len = len < size ? len : size;
	for (size_t i = 0; i < len; i++) {
		uint64_t r = unit_random(state);
		buffer[i] = r % 4 == 0 ? '\0' : r % 4 == 1 ? (char)0xff : (char)(r >> 8);
	}
	return (struct slice){buffer, len};
}

static int64_t random_number(uint64_t *state)
{
	static const int64_t edges[] = {0, 1, -1, INT64_MIN, INT64_MAX, 255, 256, -256};
	uint64_t r = unit_random(state);
	return r % 3 == 0 ? edges[r / 3 % (sizeof(edges) / sizeof(edges[0]))]
			  : (int64_t)unit_random(state) >> r % 60;
}

static void test_schema_whatever_is_encoded_is_decoded_again(void)
{
	uint64_t state = unit_seed();
	char a[300], b[300], c[300], d[300];
	struct bytes key = {0}, value = {0};
	for (int round = 0; round < ROUNDS; round++) {
		struct store_user_sync s = {random_name(&state, a, sizeof(a)),
			random_name(&state, b, sizeof(b)), random_name(&state, c, sizeof(c)),
			random_name(&state, d, sizeof(d)), random_number(&state)};
		struct store_user_sync s2;
		bytes_clear(&key);
		bytes_clear(&value);
		schema_user_sync_key(&key, &s);
		schema_user_sync_value(&value, &s);
		UNIT_REQUIRE(
			schema_user_sync_decode(bytes_slice(&key), bytes_slice(&value), &s2) == OK);
		UNIT_REQUIRE(slice_equal(s.tenant, s2.tenant) && slice_equal(s.user, s2.user));
		UNIT_REQUIRE(slice_equal(s.instance_id, s2.instance_id));
		UNIT_REQUIRE(slice_equal(s.device, s2.device) && s.since_ms == s2.since_ms);

		struct store_position p = {s.tenant, s.instance_id, s.user, random_number(&state),
			random_number(&state), random_number(&state)};
		struct store_position p2;
		bytes_clear(&key);
		bytes_clear(&value);
		schema_position_key(&key, p.tenant, p.stream, p.instance);
		schema_position_value(&value, &p);
		UNIT_REQUIRE(
			schema_position_decode(bytes_slice(&key), bytes_slice(&value), &p2) == OK);
		UNIT_REQUIRE(slice_equal(p.tenant, p2.tenant) && slice_equal(p.stream, p2.stream));
		UNIT_REQUIRE(slice_equal(p.instance, p2.instance) && p.token == p2.token);
		UNIT_REQUIRE(p.prev == p2.prev && p.wall_ms == p2.wall_ms);
	}
	bytes_finish(&key);
	bytes_finish(&value);
}

static int compare(const struct bytes *a, const struct bytes *b)
{
	size_t len = a->len < b->len ? a->len : b->len;
	int order = memcmp(a->data, b->data, len);
	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static void test_schema_rows_sort_by_token_below_zero_too(void)
{
	uint64_t state = unit_seed();
	struct bytes a = {0}, b = {0};
	for (int round = 0; round < ROUNDS; round++) {
		int64_t x = random_number(&state), y = random_number(&state);
		bytes_clear(&a);
		bytes_clear(&b);
		schema_row_key(&a, SLICE("t"), SLICE("backfill"), SLICE("w"), x);
		schema_row_key(&b, SLICE("t"), SLICE("backfill"), SLICE("w"), y);
		int order = compare(&a, &b);
		UNIT_REQUIRE((x < y) == (order < 0) && (x == y) == (order == 0));
		struct slice tenant, stream, instance;
		int64_t token;
		UNIT_REQUIRE(schema_row_key_decode(
				     bytes_slice(&a), &tenant, &stream, &instance, &token) == OK);
		UNIT_REQUIRE(token == x && slice_equal(stream, SLICE("backfill")));
	}
	bytes_finish(&a);
	bytes_finish(&b);
}

/* Does the prefix, and the range up to its end, hold exactly the keys with those names? */
static void test_schema_prefix_holds_one_process_and_no_other(void)
{
	uint64_t state = unit_seed();
	char a[300], b[300], c[300], d[300], e[300], f[300];
	struct bytes prefix = {0}, end = {0}, key = {0};
	for (int round = 0; round < ROUNDS; round++) {
		struct slice tenant = random_name(&state, a, 6), id = random_name(&state, b, 6);
		struct store_user_sync s = {random_name(&state, c, 6), random_name(&state, d, 6),
			random_name(&state, e, sizeof(e)), random_name(&state, f, sizeof(f)), 0};
		if (unit_random(&state) % 2 == 0) {
			s.tenant = tenant;
			s.instance_id = id;
		}
		bytes_clear(&prefix);
		bytes_clear(&end);
		bytes_clear(&key);
		schema_user_sync_prefix(&prefix, tenant, id);
		schema_user_sync_prefix(&end, tenant, id);
		schema_prefix_end(&end);
		schema_user_sync_key(&key, &s);
		bool same = slice_equal(tenant, s.tenant) && slice_equal(id, s.instance_id);
		bool inside = compare(&key, &prefix) >= 0 && compare(&key, &end) < 0;
		UNIT_REQUIRE(same == inside);
		UNIT_REQUIRE(same == slice_starts(bytes_slice(&key), bytes_slice(&prefix)));
	}
	bytes_finish(&prefix);
	bytes_finish(&end);
	bytes_finish(&key);
}

static void expect_bad_position(struct slice key, struct slice value)
{
	struct store_position p;
	CU_ASSERT_EQUAL(schema_position_decode(key, value, &p), -E_CORRUPT);
}

static void test_schema_decoders_refuse_what_no_encoder_writes(void)
{
	struct slice value = SLICE("\x80\0\0\0\0\0\0\x05\x80\0\0\0\0\0\0\x04\x80\0\0\0\0\0\0\x01");
	struct slice key = SLICE("\x10\1a\1b\1c");
	struct store_position p;
	UNIT_REQUIRE(schema_position_decode(key, value, &p) == OK);
	/* Every shorter key, and every shorter value. */
	for (size_t len = 0; len < key.len; len++) {
		expect_bad_position((struct slice){key.data, len}, value);
	}
	for (size_t len = 0; len < value.len; len++) {
		expect_bad_position(key, (struct slice){value.data, len});
	}
	expect_bad_position(SLICE("\x10\1a\1b\1cx"), value);    /* something behind */
	expect_bad_position(SLICE("\x11\1a\1b\1c"), value);     /* another kind */
	expect_bad_position(SLICE("\x10\1a\1b\2c"), value);     /* beyond the end */
	expect_bad_position(SLICE("\x10\1a\1b\x81\0c"), value); /* not the shortest form of 1 */
	expect_bad_position(SLICE("\x10\1a\1b\x80\0"), value);  /* nor of 0 */
	expect_bad_position(SLICE("\x10\1a\1b\xff\xff\xff\xff\xff\1c"), value); /* six bytes */
	expect_bad_position(SLICE("\x10\1a\1b\xff\xff\xff\xff\x7f"), value);    /* above 32 bits */
	expect_bad_position(SLICE("\x10\1a\1b\xff\xff\xff\xff\xf"), value);     /* 4 GiB of name */
	expect_bad_position(key, SLICE("\x80\0\0\0\0\0\0\x05\x80\0\0\0\0\0\0\x04")); /* version 1 */
	struct slice longer = {"0123456789012345678901234", 25};
	expect_bad_position(key, longer);
}

static void test_schema_version_may_be_newer_but_not_nonsense(void)
{
	uint32_t version = 0;
	CU_ASSERT_EQUAL(schema_version_decode(SLICE("\0\0\0\2"), &version), OK);
	CU_ASSERT_EQUAL(version, 2);
	CU_ASSERT_EQUAL(schema_version_decode(SLICE("\0\1\0\0more"), &version), OK);
	CU_ASSERT_EQUAL(version, 65536);
	CU_ASSERT_EQUAL(schema_version_decode(SLICE("\0\0\0\2more"), &version), -E_CORRUPT);
	CU_ASSERT_EQUAL(schema_version_decode(SLICE("\0\0\0\0"), &version), -E_CORRUPT);
	CU_ASSERT_EQUAL(schema_version_decode(SLICE("\0\0\2"), &version), -E_CORRUPT);
	CU_ASSERT_EQUAL(schema_version_decode(SLICE(""), &version), -E_CORRUPT);
}

/* Random damage: an error or another valid value, never a byte beyond the end (ASan looks on). */
static void test_schema_damaged_keys_are_read_safely(void)
{
	uint64_t state = unit_seed();
	char a[300], b[300], c[300], d[300];
	struct bytes key = {0};
	for (int round = 0; round < ROUNDS; round++) {
		struct store_user_sync s = {random_name(&state, a, sizeof(a)),
			random_name(&state, b, sizeof(b)), random_name(&state, c, sizeof(c)),
			random_name(&state, d, sizeof(d)), 0};
		bytes_clear(&key);
		schema_user_sync_key(&key, &s);
		size_t len = unit_random(&state) % (key.len + 1);
		char *damaged = malloc(len + 1);
		UNIT_REQUIRE(damaged != NULL);
		memcpy(damaged, key.data, len);
		if (len > 0) {
			damaged[unit_random(&state) % len] = (char)unit_random(&state);
		}
		struct store_user_sync s2;
		struct slice found = {damaged, len};
		if (schema_user_sync_decode(found, SLICE("12345678"), &s2) == OK) {
			struct bytes again = {0};
			schema_user_sync_key(&again, &s2);
			UNIT_REQUIRE(slice_equal(bytes_slice(&again), found));
			bytes_finish(&again);
		}
		free(damaged);
	}
	bytes_finish(&key);
}

static void test_batch_reads_back_what_was_put_in(void)
{
	struct store_batch *batch = store_batch_create();
	struct store_instance i = {SLICE("t"), SLICE("id"), 7};
	store_put_instance(batch, &i);
	store_delete_instance(batch, SLICE("t"), SLICE("\xff"));
	CU_ASSERT_EQUAL(store_batch_count(batch), 3);
	CU_ASSERT_TRUE(batch_bytes(batch) > batch->encoded.len);
	struct batch_operation op;
	size_t at = 0;
	UNIT_REQUIRE(batch_read(batch, &at, &op));
	CU_ASSERT_EQUAL(op.verb, BATCH_PUT);
	CU_ASSERT_TRUE(slice_equal(op.key, SLICE("\x20\1t\2id")));
	CU_ASSERT_EQUAL(op.value.len, 8);
	UNIT_REQUIRE(batch_read(batch, &at, &op));
	CU_ASSERT_EQUAL(op.verb, BATCH_DELETE);
	CU_ASSERT_TRUE(slice_equal(op.key, SLICE("\x20\1t\1\xff")));
	UNIT_REQUIRE(batch_read(batch, &at, &op));
	CU_ASSERT_EQUAL(op.verb, BATCH_DELETE_PREFIX);
	CU_ASSERT_TRUE(slice_equal(op.key, SLICE("\x21\1t\1\xff")));
	CU_ASSERT_TRUE(slice_equal(op.value, SLICE("\x21\1t\2")));
	CU_ASSERT_FALSE(batch_read(batch, &at, &op));
	store_batch_destroy(batch);
	store_batch_destroy(NULL);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_schema_position_is_written_as_documented),
	UNIT_TEST(test_schema_other_keys_are_written_as_documented),
	UNIT_TEST(test_schema_whatever_is_encoded_is_decoded_again),
	UNIT_TEST(test_schema_rows_sort_by_token_below_zero_too),
	UNIT_TEST(test_schema_prefix_holds_one_process_and_no_other),
	UNIT_TEST(test_schema_decoders_refuse_what_no_encoder_writes),
	UNIT_TEST(test_schema_version_may_be_newer_but_not_nonsense),
	UNIT_TEST(test_schema_damaged_keys_are_read_safely),
	UNIT_TEST(test_batch_reads_back_what_was_put_in),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "schema", tests);
}
