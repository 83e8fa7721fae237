/* Bytes to lines, and UTF-8. */
#include "engine/protocol/line.h"

#include "engine/base/err.h"
#include "tests/unit.h"

/* Feed `input` in pieces of `step` bytes, as a hub with a receive buffer would; lines are joined
 * by '|' in `out`. */
static int feed(const char *input, size_t len, size_t step, size_t length_max, struct bytes *out)
{
	struct line_parser parser = {0};
	struct bytes buffer = {0};
	int result = -E_AGAIN;
	for (size_t at = 0; at < len && result == -E_AGAIN; at += step) {
		bytes_append(&buffer, input + at, len - at < step ? len - at : step);
		do {
			struct slice line;
			size_t consumed = 0;
			/* A copy of exactly the right size: reading beyond it is seen by ASan. */
			char *exact = mem_alloc(buffer.len);
			if (buffer.len > 0) {
				memcpy(exact, buffer.data, buffer.len);
			}
			result = line_parse(&parser, (struct slice){exact, buffer.len}, length_max,
				&line, &consumed);
			if (result == OK) {
				bytes_append_slice(out, line);
				bytes_append(out, "|", 1);
			}
			free(exact);
			bytes_consume(&buffer, consumed);
		} while (result == OK);
	}
	bytes_finish(&buffer);
	return result;
}

static void check(const char *input, size_t length_max, int result, const char *lines)
{
	size_t len = strlen(input);
	for (size_t step = 1; step <= len; step++) {
		struct bytes out = {0};
		CU_ASSERT_EQUAL(feed(input, len, step, length_max, &out), result);
		CU_ASSERT_TRUE(slice_equal(bytes_slice(&out), slice_of(lines)));
		bytes_finish(&out);
	}
}

static void test_lines_come_out_whole_however_the_network_cuts_them(void)
{
	check("NAME a\nPING 1\nREPLICATE \n", 100, -E_AGAIN, "NAME a|PING 1|REPLICATE |");
	check("NAME a", 100, -E_AGAIN, "");
	check("a\n", 100, -E_AGAIN, "a|");
}

static void test_blank_lines_are_skipped_and_carriage_returns_are_not(void)
{
	check("\n\n\na\n\n\nb\n\n", 100, -E_AGAIN, "a|b|");
	check("a\r\n\r\n", 100, -E_AGAIN, "a\r|\r|");
	check("\n\n\n", 1, -E_AGAIN, "");
}

static void test_a_line_may_have_exactly_the_longest_length(void)
{
	check("12345\n", 5, -E_AGAIN, "12345|");
	check("12345\n12345\n", 5, -E_AGAIN, "12345|12345|");
	check("123456\n", 5, -E_TOO_LONG, "");
	check("1\n123456", 5, -E_TOO_LONG, "1|");
	check("\n\n12345", 5, -E_AGAIN, "");
}

static void test_sixteen_kib_is_what_synapse_takes(void)
{
	struct bytes input = {0};
	for (unsigned i = 0; i < 16384; i++) {
		bytes_append(&input, "x", 1);
	}
	struct bytes out = {0};
	CU_ASSERT_EQUAL(feed(input.data, input.len, 1000, 16384, &out), -E_AGAIN);
	bytes_append(&input, "\n", 1);
	CU_ASSERT_EQUAL(feed(input.data, input.len, 1000, 16384, &out), -E_AGAIN);
	CU_ASSERT_EQUAL(out.len, 16385);
	bytes_clear(&out);
	input.data[input.len - 1] = 'x';
	CU_ASSERT_EQUAL(feed(input.data, input.len, 1000, 16384, &out), -E_TOO_LONG);
	CU_ASSERT_EQUAL(out.len, 0);
	bytes_finish(&input);
	bytes_finish(&out);
}

static void test_no_byte_is_searched_twice(void)
{
	struct line_parser parser = {0};
	struct slice line;
	size_t consumed;
	CU_ASSERT_EQUAL(line_parse(&parser, SLICE("\n\nabc"), 100, &line, &consumed), -E_AGAIN);
	CU_ASSERT_EQUAL(consumed, 2);
	CU_ASSERT_EQUAL(parser.scanned, 3);
	/* Were it to look again it would find the newline that stands there now. */
	CU_ASSERT_EQUAL(line_parse(&parser, SLICE("a\ncde"), 100, &line, &consumed), -E_AGAIN);
	CU_ASSERT_EQUAL(consumed, 0);
	CU_ASSERT_EQUAL(parser.scanned, 5);
	CU_ASSERT_EQUAL(line_parse(&parser, SLICE("abcde\n"), 100, &line, &consumed), OK);
	CU_ASSERT_EQUAL(consumed, 6);
	CU_ASSERT_EQUAL(parser.scanned, 0);
}

static void test_bytes_that_are_not_utf8_are_an_error_of_the_whole_line(void)
{
	check("NAME \xc3\xa9t\xc3\xa9\n", 100, -E_AGAIN, "NAME \xc3\xa9t\xc3\xa9|");
	check("ok\nNAME \xff\n", 100, -E_SYNTAX, "ok|");
	check("NAME \xc3\n", 100, -E_SYNTAX, "");
}

static void test_utf8_takes_every_character_and_nothing_else(void)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"", true},
		{"plain", true},
		{"\x7f", true},
		{"\x80", false},
		{"\xbf", false},
		{"\xc0\x80", false}, /* overlong NUL */
		{"\xc1\xbf", false}, /* overlong */
		{"\xc2\x80", true},
		{"\xdf\xbf", true},
		{"\xdf", false},
		{"\xdf\x7f", false},
		{"\xe0\x9f\xbf", false}, /* overlong */
		{"\xe0\xa0\x80", true},
		{"\xe2\x82\xac", true},
		{"\xe2\x82", false},
		{"\xe2\x28\xa1", false},
		{"\xe2\x82\x28", false},
		{"\xed\x9f\xbf", true},
		{"\xed\xa0\x80", false}, /* a surrogate */
		{"\xed\xbf\xbf", false},
		{"\xee\x80\x80", true},
		{"\xef\xbf\xbf", true},
		{"\xf0\x8f\xbf\xbf", false}, /* overlong */
		{"\xf0\x90\x80\x80", true},
		{"\xf0\x9f\x98\x80", true},
		{"\xf0\x9f\x98", false},
		{"\xf4\x8f\xbf\xbf", true},
		{"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
		{"\xf5\x80\x80\x80", false},
		{"\xff", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* With ASCII of every length around it, for the fast path. */
		for (size_t before = 0; before < 70; before++) {
			char text[200];
			memset(text, 'a', sizeof(text));
			size_t len = strlen(cases[i].text);
			memcpy(text + before, cases[i].text, len);
			size_t after = before % 40;
			struct slice s = {text, before + len + after};
			/* What is cut at the end must stay cut. */
			if (len > 0 && (unsigned char)cases[i].text[len - 1] >= 0xc0) {
				s.len = before + len;
			}
			CU_ASSERT_EQUAL(line_is_utf8(s), cases[i].good);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		UNIT_TEST(test_lines_come_out_whole_however_the_network_cuts_them),
		UNIT_TEST(test_blank_lines_are_skipped_and_carriage_returns_are_not),
		UNIT_TEST(test_a_line_may_have_exactly_the_longest_length),
		UNIT_TEST(test_sixteen_kib_is_what_synapse_takes),
		UNIT_TEST(test_no_byte_is_searched_twice),
		UNIT_TEST(test_bytes_that_are_not_utf8_are_an_error_of_the_whole_line),
		UNIT_TEST(test_utf8_takes_every_character_and_nothing_else),
	};
	return UNIT_MAIN(argc, argv, "line", tests);
}
