/* Globs: what Redis answers, and in bounded time. */
#include "engine/base/glob.h"

#include "tests/unit.h"

static const struct {
	const char *pattern, *text;
	bool matches;
} cases[] = {
	{"", "", true},
	{"", "a", false},
	{"*", "", false}, /* as Redis says */
	{"*", "a", true},
	{"a*", "a", true},
	{"*a", "a", true},
	{"a**", "abc", true},
	{"*b*", "abc", true},
	{"*b*d", "abcbd", true},
	{"*b*d", "abcbdx", false},
	{"h?llo", "hello", true},
	{"h?llo", "hllo", false},
	{"h[ae]llo", "hallo", true},
	{"h[ae]llo", "hillo", false},
	{"h[^e]llo", "hallo", true},
	{"h[^e]llo", "hello", false},
	{"h[a-c]llo", "hbllo", true},
	{"h[c-a]llo", "hbllo", true},
	{"h[a-c]llo", "hdllo", false},
	{"h[\\]]llo", "h]llo", true},
	{"h[]llo", "hllo", false},
	{"h\\*llo", "h*llo", true},
	{"h\\*llo", "hallo", false},
	{"h\\", "h\\", true},
	{"[abc", "b", true},
	{"[^abc", "b", false},
	{"[", "a", false},
	{"[^", "a", true},
	{"[a-]", "]", true},
	{"a[b-", "a-", true},
	{"example.com/*", "example.com/USER_IP", true},
	{"\xc3\xa4*", "\xc3\xa4x", true},
};

static void test_glob_answers_as_redis_does(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool matches =
			glob_match(slice_of(cases[i].pattern), slice_of(cases[i].text), false);
		if (matches != cases[i].matches) {
			printf("pattern %s text %s\n", cases[i].pattern, cases[i].text);
		}
		CU_ASSERT_EQUAL(matches, cases[i].matches);
	}
}

static void test_glob_letters_of_both_cases_match_when_asked(void)
{
	CU_ASSERT(glob_match(SLICE("MAX[m-o]em*"), SLICE("maxMemory"), true));
	CU_ASSERT(!glob_match(SLICE("MAX*"), SLICE("maxmemory"), false));
}

/* The definition itself, in exponential time. */
static bool by_definition(struct slice pattern, struct slice text)
{
	if (pattern.len == 0) {
		return text.len == 0;
	}
	struct slice rest = {pattern.data + 1, pattern.len - 1};
	struct slice behind = {text.data + 1, text.len - 1};
	if (pattern.data[0] == '*') {
		return by_definition(rest, text) ||
		       (text.len > 0 && by_definition(pattern, behind));
	}
	return text.len > 0 && (pattern.data[0] == '?' || pattern.data[0] == text.data[0]) &&
	       by_definition(rest, behind);
}

static void test_glob_agrees_with_the_definition(void)
{
	uint64_t state = unit_seed();
	for (unsigned round = 0; round < 20000; round++) {
		char pattern[8];
		char text[10];
		struct slice p = {pattern, unit_random(&state) % sizeof(pattern)};
		struct slice t = {text, 1 + unit_random(&state) % (sizeof(text) - 1)};
		for (size_t i = 0; i < p.len; i++) {
			pattern[i] = "ab*?"[unit_random(&state) % 4];
		}
		for (size_t i = 0; i < t.len; i++) {
			text[i] = "ab"[unit_random(&state) % 2];
		}
		CU_ASSERT_EQUAL_FATAL(glob_match(p, t, false), by_definition(p, t));
	}
}

static void test_glob_stars_do_not_multiply(void)
{
	static char pattern[2001];
	static char text[20000];
	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < sizeof(pattern) - 1; i += 2) {
		pattern[i] = 'a';
		pattern[i + 1] = '*';
	}
	pattern[sizeof(pattern) - 1] = 'b';
	struct slice p = {pattern, sizeof(pattern)};
	struct slice t = {text, sizeof(text)};
	CU_ASSERT(!glob_match(p, t, false)); /* a recursive matcher would not come back */
}

static void test_glob_literals_are_known(void)
{
	CU_ASSERT(glob_is_literal(SLICE("example.com/USER_IP")));
	CU_ASSERT(glob_is_literal(SLICE("")));
	CU_ASSERT(!glob_is_literal(SLICE("a*")));
	CU_ASSERT(!glob_is_literal(SLICE("a[")));
	CU_ASSERT(!glob_is_literal(SLICE("a\\b")));
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_glob_answers_as_redis_does),
	UNIT_TEST(test_glob_letters_of_both_cases_match_when_asked),
	UNIT_TEST(test_glob_agrees_with_the_definition),
	UNIT_TEST(test_glob_stars_do_not_multiply),
	UNIT_TEST(test_glob_literals_are_known),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "glob", tests);
}
