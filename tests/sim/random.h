/* Numbers from a seed (splitmix64): all chance of a simulated run comes from one of these. */
#ifndef MILLRACE_TESTS_SIM_RANDOM_H
#define MILLRACE_TESTS_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_random {
	uint64_t state;
};

static inline uint64_t random_next(struct sim_random *random)
{
	uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 to limit - 1; `limit` > 0. */
static inline uint64_t random_below(struct sim_random *random, uint64_t limit)
{
	return random_next(random) % limit;
}

static inline bool random_one_in(struct sim_random *random, uint64_t n)
{
	return random_below(random, n) == 0;
}

/* Mostly small: up to `limit` - 1, each size class as likely as the next. */
static inline uint64_t random_skewed(struct sim_random *random, uint64_t limit)
{
	return random_below(random, 1 + random_below(random, 1 + random_below(random, limit)));
}

#endif
