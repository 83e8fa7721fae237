/* Percentiles of durations without keeping them.
 *
 * Called by every subcommand that measures a latency. A value of n bits is counted by its first seven
 * bits, so a bucket is at most 1/64 of its value wide:
 *
 *     bucket   0..63        the values 0..63
 *     bucket  64..127       64..127, one each      (shift 0)
 *     bucket 128..191       128..255, two each     (shift 1)  ...
 *
 * The layout is that of HdrHistogram; nothing is corrected for "coordinated omission" here: an open loop
 * records from the time when a message was due, not from when it could be sent.
 */
#include "bench/histogram.h"

#include <assert.h>
#include <string.h>

/* The greatest value that falls into a bucket. */
static uint64_t upper_edge(unsigned bucket)
{
	unsigned sub = 1u << HISTOGRAM_SUB_BITS;
	if (bucket < 2 * sub) {
		return bucket;
	}
	unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
	uint64_t first = (uint64_t)(sub + (bucket & (sub - 1))) << shift;
	return first + ((uint64_t)1 << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	assert(percent >= 0 && percent <= 100);
	if (h->count == 0) {
		return 0;
	}
	double exact = (double)h->count * percent / 100;
	uint64_t rank = (uint64_t)exact;
	rank += (double)rank < exact || rank == 0 ? 1 : 0;
	uint64_t seen = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= rank) {
			uint64_t edge = upper_edge(i);
			return edge < h->max_ns ? edge : h->max_ns;
		}
	}
	return h->max_ns;
}

uint64_t histogram_mean(const struct histogram *h)
{
	return h->count == 0 ? 0 : h->sum_ns / h->count;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (from->count == 0) {
		return;
	}
	into->min_ns =
		into->count == 0 || from->min_ns < into->min_ns ? from->min_ns : into->min_ns;
	into->max_ns = from->max_ns > into->max_ns ? from->max_ns : into->max_ns;
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		into->buckets[i] += from->buckets[i];
	}
}

void histogram_clear(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
}
