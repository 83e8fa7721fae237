/* A log-linear histogram of durations: 64 buckets per power of two, so that a percentile is exact to 1.6 %.
 *
 * All zero is empty and ready. One thread; recording costs a few nanoseconds and never allocates.
 */
#ifndef MILLRACE_BENCH_HISTOGRAM_H
#define MILLRACE_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_SUB_BITS = 6, /* 64 buckets in each octave */
	HISTOGRAM_OCTAVES =
		38, /* up to 2^43 ns, two and a half hours; what is longer counts as that */
	HISTOGRAM_BUCKETS = HISTOGRAM_OCTAVES << HISTOGRAM_SUB_BITS
};

struct histogram {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t min_ns;
	uint64_t max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Which bucket a value falls into; values below 64 have a bucket of their own each. */
static inline unsigned histogram_bucket(uint64_t ns)
{
	if (ns < (1u << HISTOGRAM_SUB_BITS)) {
		return (unsigned)ns;
	}
	unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
	uint64_t index = ((uint64_t)shift << HISTOGRAM_SUB_BITS) + (ns >> shift);
	return index < HISTOGRAM_BUCKETS ? (unsigned)index : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_record(struct histogram *h, uint64_t ns)
{
	h->min_ns = h->count == 0 || ns < h->min_ns ? ns : h->min_ns;
	h->max_ns = ns > h->max_ns ? ns : h->max_ns;
	h->count++;
	h->sum_ns += ns;
	h->buckets[histogram_bucket(ns)]++;
}

/* The value below or at which `percent` of the recorded values lie: the upper edge of its bucket, but
 * never above the greatest value recorded. 0 where nothing was recorded. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

/* The mean; 0 where nothing was recorded. */
uint64_t histogram_mean(const struct histogram *h);

/* Add all of `from` to `into`. */
void histogram_merge(struct histogram *into, const struct histogram *from);

void histogram_clear(struct histogram *h);

#endif
