/* A page in Prometheus' text format: families, samples, labels.
 *
 *     metrics_begin(&page, &out);
 *     metrics_family(&page, "millrace_connections", METRICS_GAUGE, "Connections that are open.");
 *     metrics_u64(&page, METRICS_LABELS({"kind", SLICE("line")}), 7);
 *
 * A family is opened once, and all of its samples come before the next one opens, as the format
 * demands; both are asserted. Knows no counter of the hub's: hub.c says what there is.
 */
#ifndef MILLRACE_HUB_METRICS_H
#define MILLRACE_HUB_METRICS_H

#include <stdint.h>

#include "engine/base/bytes.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

enum { METRICS_FAMILIES_MAX = 256, METRICS_BUCKETS_MAX = 24 };

struct metrics_page {
	struct bytes *out;
	const char *families[METRICS_FAMILIES_MAX];
	unsigned count;
	enum metrics_type type; /* of the open family */
};

/* A label; the value may be any bytes: what the format does not take is escaped. */
struct metrics_label {
	const char *name;
	struct slice value;
};

/* An argument list of labels: at least one. METRICS_NO_LABELS for none. */
#define METRICS_LABELS(...)                                                                        \
	(const struct metrics_label[]){__VA_ARGS__},                                               \
		sizeof((const struct metrics_label[]){__VA_ARGS__}) / sizeof(struct metrics_label)
#define METRICS_NO_LABELS NULL, 0

/* How often a value was at most each bound. One thread; plain data. */
struct metrics_histogram {
	const double *bounds; /* ascending, without the last, infinite one; static */
	unsigned count;       /* of bounds */
	uint64_t in[METRICS_BUCKETS_MAX + 1];
	double sum;
};

/* `out` is appended to, and outlives the page. */
void metrics_begin(struct metrics_page *page, struct bytes *out);

/* Open a family: `name` a static string as the format allows it, a counter's ending in _total;
 * `help` one sentence. */
void metrics_family(
	struct metrics_page *page, const char *name, enum metrics_type type, const char *help);

/* One sample of the open family. Two samples of a family never have the same labels: the caller's
 * duty. */
void metrics_u64(struct metrics_page *page, const struct metrics_label *labels, size_t count,
	uint64_t value);
void metrics_i64(
	struct metrics_page *page, const struct metrics_label *labels, size_t count, int64_t value);
void metrics_double(
	struct metrics_page *page, const struct metrics_label *labels, size_t count, double value);

/* Nanoseconds as seconds, which Prometheus wants. */
void metrics_seconds(
	struct metrics_page *page, const struct metrics_label *labels, size_t count, uint64_t ns);

/* units: `bounds` and values alike; at most METRICS_BUCKETS_MAX bounds. */
void metrics_histogram_init(
	struct metrics_histogram *histogram, const double *bounds, unsigned count);
void metrics_observe(struct metrics_histogram *histogram, double value);
/* All of its lines: buckets, sum, count. */
void metrics_histogram(struct metrics_page *page, const struct metrics_label *labels, size_t count,
	const struct metrics_histogram *histogram);

#endif
