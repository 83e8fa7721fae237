/* millrace-sim: simulated worlds, one for each seed. A seed that fails replays exactly.
 *
 *     millrace-sim [--seed N|random] [--runs N] [--steps N] [--verbose]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "tests/sim/world.h"

struct options {
	uint64_t seed;
	uint64_t runs;
	unsigned steps;
	bool verbose;
};

static int usage(void)
{
	fputs("usage: millrace-sim [--seed N|random] [--runs N] [--steps N] [--verbose]\n", stderr);
	return 2;
}

static bool read_options(int argc, char **argv, struct options *options)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (strcmp(argv[i], "--verbose") == 0) {
			options->verbose = true;
			continue;
		}
		int64_t number = 0;
		bool random = value != NULL && strcmp(value, "random") == 0;
		if (value == NULL ||
			(!random && (slice_to_i64(slice_of(value), &number) != OK || number < 0))) {
			return false;
		}
		if (strcmp(argv[i], "--seed") == 0) {
			options->seed = random ? (uint64_t)time(NULL) * 1000003u : (uint64_t)number;
		} else if (strcmp(argv[i], "--runs") == 0) {
			options->runs = (uint64_t)number;
		} else if (strcmp(argv[i], "--steps") == 0) {
			options->steps = (unsigned)number;
		} else {
			return false;
		}
		i++;
	}
	return true;
}

static void add(struct world_counts *sum, const struct world_counts *part)
{
	sum->turns += part->turns;
	sum->says += part->says;
	sum->heard += part->heard;
	sum->lives += part->lives;
	sum->drops += part->drops;
}

int main(int argc, char **argv)
{
	struct options options = {.seed = 1, .runs = 1, .steps = 3000};
	struct world_counts sum = {0};
	if (!read_options(argc, argv, &options)) {
		return usage();
	}
	journal_init(JOURNAL_VERBOSE, options.verbose ? 2 : -1);
	for (uint64_t i = 0; i < options.runs; i++) {
		static struct world world;
		world.verbose = options.verbose;
		bool ok = world_run(&world, options.seed + i, options.steps);
		if (!ok) {
			printf("seed %llu failed: %s\nreplay: millrace-sim --seed %llu --steps %u "
			       "--verbose\n",
				(unsigned long long)(options.seed + i), world.why,
				(unsigned long long)(options.seed + i), options.steps);
		}
		add(&sum, &world.counts);
		world_finish(&world);
		if (!ok) {
			return 1;
		}
	}
	printf("%llu worlds from seed %llu: %llu lives, %llu turns, %llu messages said, %llu "
	       "heard, %llu hogs dropped\n",
		(unsigned long long)options.runs, (unsigned long long)options.seed,
		(unsigned long long)sum.lives, (unsigned long long)sum.turns,
		(unsigned long long)sum.says, (unsigned long long)sum.heard,
		(unsigned long long)sum.drops);
	return 0;
}
