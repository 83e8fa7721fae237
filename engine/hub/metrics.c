/* Prometheus' text format, version 0.0.4.
 *
 * Called by whoever renders a page; appends to bytes and does nothing else. A label's value may be
 * a stream's or a writer's name, that is any bytes a peer has sent: a page with one byte that is
 * not UTF-8 in it is refused by Prometheus as a whole, so such bytes are written as \xHH. Format:
 * the specification "Exposition formats" of Prometheus.
 */
#include "engine/hub/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/protocol/line.h"

static const char *const type_names[] = {
	[METRICS_COUNTER] = "counter",
	[METRICS_GAUGE] = "gauge",
	[METRICS_HISTOGRAM] = "histogram",
};

void metrics_begin(struct metrics_page *page, struct bytes *out)
{
	page->out = out;
	page->count = 0;
	page->type = METRICS_GAUGE;
}

static bool is_name(const char *name)
{
	for (const char *c = name; *c != '\0'; c++) {
		bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
		bool digit = *c >= '0' && *c <= '9' && c > name;
		if (!letter && !digit) {
			return false;
		}
	}
	return *name != '\0';
}

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name);
	return len >= strlen(end) && strcmp(name + len - strlen(end), end) == 0;
}

void metrics_family(
	struct metrics_page *page, const char *name, enum metrics_type type, const char *help)
{
	assert(is_name(name) && page->count < METRICS_FAMILIES_MAX);
	assert((type == METRICS_COUNTER) == ends_with(name, "_total"));
	for (unsigned i = 0; i < page->count; i++) {
		assert(strcmp(page->families[i], name) != 0);
	}
	page->families[page->count++] = name;
	page->type = type;
	bytes_printf(page->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type_names[type]);
}

/* Labels' escapes are backslash, quote and newline. */
static void put_label_value(struct bytes *out, struct slice value)
{
	bool utf8 = line_is_utf8(value);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.data[i];
		if (c == '\\' || c == '"') {
			bytes_append(out, "\\", 1);
			bytes_append(out, &c, 1);
		} else if (c == '\n') {
			bytes_append(out, "\\n", 2);
		} else if (c == '\0' || (!utf8 && (unsigned char)c >= 0x80)) {
			bytes_printf(out, "\\\\x%02x", (unsigned)(unsigned char)c);
		} else {
			bytes_append(out, &c, 1);
		}
	}
}

/* `name{label="value",...} `, where the name may have an ending and `le` is a bucket's bound or
 * NULL. */
static void put_series(struct metrics_page *page, const char *ending,
	const struct metrics_label *labels, size_t count, const char *le)
{
	struct bytes *out = page->out;
	assert(page->count > 0);
	bytes_append_string(out, page->families[page->count - 1]);
	bytes_append_string(out, ending);
	for (size_t i = 0; i < count; i++) {
		assert(is_name(labels[i].name));
		bytes_append_string(out, i == 0 ? "{" : ",");
		bytes_append_string(out, labels[i].name);
		bytes_append_string(out, "=\"");
		put_label_value(out, labels[i].value);
		bytes_append_string(out, "\"");
	}
	if (le != NULL) {
		bytes_printf(out, "%sle=\"%s\"", count == 0 ? "{" : ",", le);
	}
	bytes_append_string(out, count > 0 || le != NULL ? "} " : " ");
}

static void put_double(struct bytes *out, double value)
{
	if (isnan(value)) {
		bytes_append_string(out, "NaN");
	} else if (isinf(value)) {
		bytes_append_string(out, value > 0 ? "+Inf" : "-Inf");
	} else {
		bytes_printf(out, "%.12g", value);
	}
}

void metrics_u64(
	struct metrics_page *page, const struct metrics_label *labels, size_t count, uint64_t value)
{
	assert(page->type != METRICS_HISTOGRAM);
	put_series(page, "", labels, count, NULL);
	bytes_printf(page->out, "%llu\n", (unsigned long long)value);
}

void metrics_i64(
	struct metrics_page *page, const struct metrics_label *labels, size_t count, int64_t value)
{
	assert(page->type == METRICS_GAUGE);
	put_series(page, "", labels, count, NULL);
	bytes_append_i64(page->out, value);
	bytes_append_string(page->out, "\n");
}

void metrics_double(
	struct metrics_page *page, const struct metrics_label *labels, size_t count, double value)
{
	assert(page->type != METRICS_HISTOGRAM);
	put_series(page, "", labels, count, NULL);
	put_double(page->out, value);
	bytes_append_string(page->out, "\n");
}

void metrics_seconds(
	struct metrics_page *page, const struct metrics_label *labels, size_t count, uint64_t ns)
{
	assert(page->type != METRICS_HISTOGRAM);
	put_series(page, "", labels, count, NULL);
	bytes_printf(page->out, "%llu.%09llu\n", (unsigned long long)(ns / 1000000000u),
		(unsigned long long)(ns % 1000000000u));
}

void metrics_histogram_init(
	struct metrics_histogram *histogram, const double *bounds, unsigned count)
{
	assert(count <= METRICS_BUCKETS_MAX);
	for (unsigned i = 1; i < count; i++) {
		assert(bounds[i - 1] < bounds[i]);
	}
	*histogram = (struct metrics_histogram){.bounds = bounds, .count = count};
}

void metrics_observe(struct metrics_histogram *histogram, double value)
{
	unsigned bucket = 0;
	while (bucket < histogram->count && value > histogram->bounds[bucket]) {
		bucket++;
	}
	histogram->in[bucket]++;
	histogram->sum += value;
}

void metrics_histogram(struct metrics_page *page, const struct metrics_label *labels, size_t count,
	const struct metrics_histogram *histogram)
{
	assert(page->type == METRICS_HISTOGRAM);
	uint64_t below = 0;
	for (unsigned i = 0; i <= histogram->count; i++) {
		char le[32] = "+Inf";
		if (i < histogram->count) {
			snprintf(le, sizeof(le), "%.12g", histogram->bounds[i]);
		}
		below += histogram->in[i]; /* each bucket contains the smaller ones */
		put_series(page, "_bucket", labels, count, le);
		bytes_printf(page->out, "%llu\n", (unsigned long long)below);
	}
	put_series(page, "_sum", labels, count, NULL);
	put_double(page->out, histogram->sum);
	bytes_append_string(page->out, "\n");
	put_series(page, "_count", labels, count, NULL);
	bytes_printf(page->out, "%llu\n", (unsigned long long)below);
}
