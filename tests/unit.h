/* The frame of a test program: CUnit underneath, names as sentences, seeds, and skips.
 *
 *     static void test_slice_cut_leaves_the_rest(void) { CU_ASSERT_EQUAL(...); }
 *     static const struct unit_test tests[] = {UNIT_TEST(test_slice_cut_leaves_the_rest)};
 *     int main(int argc, char **argv) { return UNIT_MAIN(argc, argv, "base", tests); }
 *
 * Arguments: `--seed N` replays a random test, `--list` names the tests, any other word runs those
 * whose name contains it. Status: 0 all passed, 1 something failed, 77 nothing failed and a test
 * called unit_skip(). A check that fails ends its test with UNIT_REQUIRE(), and lets it go on with
 * CU_ASSERT*.
 */
#ifndef MILLRACE_TESTS_UNIT_H
#define MILLRACE_TESTS_UNIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <CUnit/Basic.h>

struct unit_test {
	const char *name;
	void (*run)(void);
};

#define UNIT_TEST(function)                                                                        \
	{                                                                                          \
#function, function                                                                \
	}
#define UNIT_MAIN(argc, argv, suite, tests)                                                        \
	unit_main((argc), (argv), (suite), (tests), sizeof(tests) / sizeof((tests)[0]))
/* Ends the test on failure. */
#define UNIT_REQUIRE(condition) CU_ASSERT_FATAL(condition)

static struct {
	uint64_t seed;
	bool seed_shown;
	unsigned skipped;
} unit;

/* The seed of this run: from --seed, else from the clock; printed at first use. */
__attribute__((unused)) static uint64_t unit_seed(void)
{
	if (!unit.seed_shown) {
		printf("seed %llu (replay: --seed %llu)\n", (unsigned long long)unit.seed,
			(unsigned long long)unit.seed);
		unit.seed_shown = true;
	}
	return unit.seed;
}

/* The next number of a sequence that starts at `*state` (splitmix64). */
__attribute__((unused)) static uint64_t unit_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* This machine lacks something: say what, and return from the test. */
__attribute__((unused)) static void unit_skip(const char *reason)
{
	printf("skipped: %s\n", reason);
	unit.skipped++;
}

__attribute__((unused)) static bool unit_wanted(int argc, char **argv, const char *name)
{
	bool any = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0) {
			i++;
			continue;
		}
		any = true;
		if (strstr(name, argv[i]) != NULL) {
			return true;
		}
	}
	return !any;
}

__attribute__((unused)) static int unit_main(
	int argc, char **argv, const char *suite, const struct unit_test *tests, size_t count)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	unit.seed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			unit.seed = strtoull(argv[i + 1], NULL, 10);
		}
		if (strcmp(argv[i], "--list") == 0) {
			for (size_t t = 0; t < count; t++) {
				puts(tests[t].name);
			}
			return 0;
		}
	}
	if (CU_initialize_registry() != CUE_SUCCESS) {
		return 1;
	}
	CU_pSuite s = CU_add_suite(suite, NULL, NULL);
	for (size_t i = 0; s != NULL && i < count; i++) {
		if (unit_wanted(argc, argv, tests[i].name)) {
			CU_add_test(s, tests[i].name, tests[i].run);
		}
	}
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	unsigned run = CU_get_number_of_tests_run();
	CU_cleanup_registry();
	if (failed > 0 || run == 0) {
		return 1;
	}
	return unit.skipped > 0 ? 77 : 0;
}

#endif
