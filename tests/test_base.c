/* The lowest floor: slices, growing bytes, error sentences, the keyed table, log lines. */
#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/base/table.h"

#include <errno.h>
#include <unistd.h>

#include "tests/unit.h"

static void test_slice_cut_leaves_what_stands_behind(void)
{
	struct slice rest = SLICE("a b  c");
	CU_ASSERT_TRUE(slice_equal(slice_cut(&rest, ' '), SLICE("a")));
	CU_ASSERT_TRUE(slice_equal(slice_cut(&rest, ' '), SLICE("b")));
	CU_ASSERT_TRUE(slice_equal(slice_cut(&rest, ' '), SLICE("")));
	CU_ASSERT_TRUE(slice_equal(slice_cut(&rest, ' '), SLICE("c")));
	CU_ASSERT_PTR_NULL(rest.data);
	CU_ASSERT_EQUAL(slice_cut(&rest, ' ').len, 0);
}

static void test_slices_compare_by_bytes_and_without_case(void)
{
	CU_ASSERT_TRUE(slice_equal(slice_of(NULL), SLICE("")));
	CU_ASSERT_TRUE(slice_equal_nocase(SLICE("PubLISH"), SLICE("publish")));
	CU_ASSERT_FALSE(slice_equal_nocase(SLICE("a["), SLICE("A{")));
	CU_ASSERT_TRUE(slice_starts(SLICE("abc"), SLICE("")));
	CU_ASSERT_TRUE(slice_starts(SLICE("abc"), SLICE("ab")));
	CU_ASSERT_FALSE(slice_starts(SLICE("ab"), SLICE("abc")));
}

static void test_slice_to_i64_takes_what_redis_takes(void)
{
	static const struct {
		const char *text;
		int result;
		int64_t value;
	} cases[] = {
		{"0", OK, 0},
		{"7", OK, 7},
		{"-1", OK, -1},
		{"9223372036854775807", OK, INT64_MAX},
		{"-9223372036854775808", OK, INT64_MIN},
		{"9223372036854775808", -E_RANGE, 0},
		{"-9223372036854775809", -E_RANGE, 0},
		{"99999999999999999999999", -E_RANGE, 0},
		{"", -E_SYNTAX, 0},
		{"-", -E_SYNTAX, 0},
		{"01", -E_SYNTAX, 0},
		{"+1", -E_SYNTAX, 0},
		{" 1", -E_SYNTAX, 0},
		{"1 ", -E_SYNTAX, 0},
		{"1x", -E_SYNTAX, 0},
		{"-0", -E_SYNTAX, 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t value = 0;
		int result = slice_to_i64(slice_of(cases[i].text), &value);
		if (result != cases[i].result || value != cases[i].value) {
			printf("case \"%s\": %d, %lld\n", cases[i].text, result, (long long)value);
		}
		CU_ASSERT_EQUAL(result, cases[i].result);
		CU_ASSERT_EQUAL(value, cases[i].value);
	}
}

static void test_decimal_writes_the_smallest_and_the_largest(void)
{
	char out[21];
	CU_ASSERT_EQUAL(decimal(INT64_MIN, out), 20);
	CU_ASSERT_EQUAL(memcmp(out, "-9223372036854775808", 20), 0);
	CU_ASSERT_EQUAL(decimal(INT64_MAX, out), 19);
	CU_ASSERT_EQUAL(decimal(0, out), 1);
	CU_ASSERT_EQUAL(out[0], '0');
}

static void test_bytes_grow_and_are_consumed_from_the_front(void)
{
	struct bytes b = {0};
	for (int i = 0; i < 1000; i++) {
		bytes_append_i64(&b, i % 10);
	}
	CU_ASSERT_EQUAL(b.len, 1000);
	bytes_consume(&b, 998);
	CU_ASSERT_TRUE(slice_equal(bytes_slice(&b), SLICE("89")));
	bytes_printf(&b, "%s=%d", "x", 5);
	CU_ASSERT_TRUE(slice_equal(bytes_slice(&b), SLICE("89x=5")));
	bytes_shrink(&b, 16); /* not empty: stays */
	CU_ASSERT_EQUAL(b.len, 5);
	bytes_clear(&b);
	bytes_shrink(&b, 16);
	CU_ASSERT_EQUAL(b.cap, 0);
	bytes_finish(&b);
	bytes_finish(&b);
}

static void test_every_error_has_its_sentence(void)
{
	for (int code = 0; code < E_COUNT; code++) {
		CU_ASSERT_STRING_NOT_EQUAL(err_text(code), "unknown error");
		CU_ASSERT_PTR_EQUAL(err_text(code), err_text(-code));
	}
	CU_ASSERT_STRING_EQUAL(err_text(E_COUNT), "unknown error");
	CU_ASSERT_STRING_EQUAL(err_text(-1000000), "unknown error");
}

static void test_errno_is_mapped_to_a_negative_code(void)
{
	CU_ASSERT_EQUAL(err_from_errno(0), OK);
	CU_ASSERT_EQUAL(err_from_errno(ENOSPC), -E_NOSPACE);
	CU_ASSERT_EQUAL(err_from_errno(ECONNRESET), -E_GONE);
	CU_ASSERT_EQUAL(err_from_errno(123456), -E_IO);
}

struct entry {
	char name[16];
	UT_hash_handle hh;
};

static void test_table_finds_what_was_put_in(void)
{
	struct entry entries[100];
	struct entry *table = NULL;
	for (int i = 0; i < 100; i++) {
		struct entry *e = &entries[i];
		snprintf(e->name, sizeof(e->name), "key%d", i);
		HASH_ADD_STR(table, name, e);
	}
	struct entry *found = NULL;
	HASH_FIND_STR(table, "key42", found);
	CU_ASSERT_PTR_EQUAL(found, &entries[42]);
	HASH_FIND_STR(table, "key100", found);
	CU_ASSERT_PTR_NULL(found);
	HASH_CLEAR(hh, table);
}

static void test_table_hash_depends_on_the_seed(void)
{
	uint64_t before = table_hash("example.com", 11);
	table_seed(unit_seed());
	CU_ASSERT_NOT_EQUAL(before, table_hash("example.com", 11));
}

static void test_journal_quote_lets_no_byte_forge_a_line(void)
{
	CU_ASSERT_STRING_EQUAL(JQ(SLICE("plain/word")), "plain/word");
	CU_ASSERT_STRING_EQUAL(JQ(SLICE("")), "\"\"");
	CU_ASSERT_STRING_EQUAL(JQ(SLICE("a b=c")), "\"a b=c\"");
	CU_ASSERT_STRING_EQUAL(JQ(SLICE("a\nb\"\x1b\xff")), "\"a\\x0ab\\x22\\x1b\\xff\"");
	char longer[200];
	memset(longer, 'x', sizeof(longer));
	CU_ASSERT_EQUAL(strlen(JQ(((struct slice){longer, sizeof(longer)}))), 99);
	memset(longer, '\x01', sizeof(longer));
	CU_ASSERT_EQUAL(strlen(JQ(((struct slice){longer, sizeof(longer)}))), 96 * 4 + 5);
}

static void test_journal_writes_one_line_and_counts_the_dropped(void)
{
	int fds[2];
	UNIT_REQUIRE(pipe(fds) == 0);
	journal_init(JOURNAL_NOTICE, fds[1]);
	uint64_t dropped = journal_count(JOURNAL_VERBOSE);
	journal(JOURNAL_VERBOSE, "not shown", "");
	journal(JOURNAL_WARNING, "store slow", "lag_ms=%d peer=%s", 7, JQ(SLICE("a\nb")));
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
	char line[512] = {0};
	ssize_t len = read(fds[0], line, sizeof(line) - 1);
	UNIT_REQUIRE(len > 0);
	CU_ASSERT_EQUAL(line[len - 1], '\n');
	CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + len - 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "warning store slow lag_ms=7 peer=\"a\\x0ab\"\n"));
	CU_ASSERT_EQUAL(journal_count(JOURNAL_VERBOSE), dropped + 1);
	close(fds[0]);
	close(fds[1]);
}

static void test_journal_levels_are_redis_words(void)
{
	enum journal_level level;
	CU_ASSERT_EQUAL(journal_level_parse(SLICE("VERBOSE"), &level), OK);
	CU_ASSERT_EQUAL(level, JOURNAL_VERBOSE);
	CU_ASSERT_EQUAL(journal_level_parse(SLICE("loud"), &level), -E_UNKNOWN);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_slice_cut_leaves_what_stands_behind),
	UNIT_TEST(test_slices_compare_by_bytes_and_without_case),
	UNIT_TEST(test_slice_to_i64_takes_what_redis_takes),
	UNIT_TEST(test_decimal_writes_the_smallest_and_the_largest),
	UNIT_TEST(test_bytes_grow_and_are_consumed_from_the_front),
	UNIT_TEST(test_every_error_has_its_sentence),
	UNIT_TEST(test_errno_is_mapped_to_a_negative_code),
	UNIT_TEST(test_table_finds_what_was_put_in),
	UNIT_TEST(test_table_hash_depends_on_the_seed),
	UNIT_TEST(test_journal_quote_lets_no_byte_forge_a_line),
	UNIT_TEST(test_journal_writes_one_line_and_counts_the_dropped),
	UNIT_TEST(test_journal_levels_are_redis_words),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "base", tests);
}
