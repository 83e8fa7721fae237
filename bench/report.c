/* Prints what a run found.
 *
 * Called once at the end of every subcommand. All numbers come from the caller; what is derived here (rates,
 * nanoseconds per delivery) is derived in one place, so that the line and the JSON cannot disagree.
 */
#include "bench/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static double per(double total, uint64_t count)
{
	return count == 0 ? 0 : total / (double)count;
}

void report_figure(struct report *r, const char *name, double value, const char *words, ...)
{
	bytes_printf(&r->extra_json, ",\"%s\":%.15g", name, value);
	if (words != NULL) {
		char text[REPORT_TEXT];
		va_list args;
		va_start(args, words);
		vsnprintf(text, sizeof(text), words, args);
		va_end(args);
		bytes_printf(&r->extra_text, ", %s", text);
	}
}

void report_problem(struct report *r, const char *text, ...)
{
	if (r->problem[0] == '\0') {
		va_list args;
		va_start(args, text);
		vsnprintf(r->problem, sizeof(r->problem), text, args);
		va_end(args);
	}
}

bool report_is_good(const struct report *r)
{
	return r->problem[0] == '\0' && (!r->checked || checker_is_clean(&r->faults));
}

/* 1234567 as 1,234,567. */
static const char *grouped(uint64_t value, char out[32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, value);
	char *p = out;
	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0) {
			*p++ = ',';
		}
		*p++ = digits[i];
	}
	*p = '\0';
	return out;
}

static const char *duration(uint64_t ns, char out[32])
{
	if (ns < 10000) {
		snprintf(out, 32, "%.2f µs", (double)ns / 1e3);
	} else if (ns < 10000000) {
		snprintf(out, 32, "%.0f µs", (double)ns / 1e3);
	} else {
		snprintf(out, 32, "%.1f ms", (double)ns / 1e6);
	}
	return out;
}

static void print_latency(const struct histogram *h, bool brief)
{
	char a[32], b[32], c[32];
	printf(", latency p50 %s p99 %s", duration(histogram_percentile(h, 50), a),
		duration(histogram_percentile(h, 99), b));
	if (!brief) {
		printf(" p99.9 %s", duration(histogram_percentile(h, 99.9), c));
	}
}

static void print_faults(const struct report *r)
{
	const struct checker_faults *f = &r->faults;
	if (checker_is_clean(f)) {
		printf(r->any_order ? ", nothing lost or doubled, each publisher in order"
				    : ", nothing lost or doubled, one order for all");
		return;
	}
	printf(", FAULTS: %" PRIu64 " lost, %" PRIu64 " duplicates, %" PRIu64
	       " out of their publisher's order, %" PRIu64 " out of the common order, %" PRIu64
	       " foreign",
		f->lost, f->duplicates, f->reordered, f->disordered, f->foreign);
}

static void print_rate(const struct report *r, bool brief)
{
	char text[32];
	double rate = r->seconds > 0 ? (double)r->deliveries / r->seconds : 0;
	printf(": %s %s/s", grouped((uint64_t)rate, text),
		strcmp(r->unit, "delivery") == 0 ? "deliveries" : r->unit);
	if (r->has_server) {
		printf(", server CPU %.0f ns each", per((double)r->used.cpu_ns, r->deliveries));
		if (!brief) {
			printf(" (user %.0f)", per((double)r->used.user_ns, r->deliveries));
		}
	}
}

static void print_line(const struct report *r, const struct options *o)
{
	if (*o->label != '\0') {
		printf("%-12s ", o->label);
	}
	printf("%s %s", r->verb, r->what);
	if (r->unit != NULL) {
		print_rate(r, o->brief);
	}
	if (r->latency != NULL && r->latency->count > 0) {
		print_latency(r->latency, o->brief);
	}
	if (r->has_server && !o->brief) {
		printf(", peak %.1f MB", (double)r->used.rss_peak_bytes / 1e6);
	}
	printf("%.*s", (int)r->extra_text.len,
		r->extra_text.data == NULL ? "" : r->extra_text.data);
	if (r->checked) {
		print_faults(r);
	}
	if (r->problem[0] != '\0') {
		printf(", PROBLEM: %s", r->problem);
	}
	printf("\n");
}

static void json_string(const char *name, const char *value)
{
	printf("\"%s\":\"", name);
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\') {
			printf("\\%c", *p);
		} else if ((unsigned char)*p < ' ') {
			printf("\\u%04x", (unsigned)(unsigned char)*p);
		} else {
			putchar(*p);
		}
	}
	putchar('"');
}

static void json_latency(const struct histogram *h)
{
	printf(",\"latency_ns\":{\"count\":%" PRIu64 ",\"min\":%" PRIu64 ",\"mean\":%" PRIu64
	       ",\"p50\":%" PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"p99.9\":%" PRIu64
	       ",\"max\":%" PRIu64 "}",
		h->count, h->min_ns, histogram_mean(h), histogram_percentile(h, 50),
		histogram_percentile(h, 90), histogram_percentile(h, 99),
		histogram_percentile(h, 99.9), h->max_ns);
}

static void json_server(const struct report *r)
{
	printf(",\"server_cpu_ns\":%" PRIu64 ",\"server_user_ns\":%" PRIu64
	       ",\"server_system_ns\":%" PRIu64 ",\"cpu_ns_each\":%.3f,\"user_ns_each\":%.3f"
	       ",\"system_ns_each\":%.3f",
		r->used.cpu_ns, r->used.user_ns, r->used.system_ns,
		per((double)r->used.cpu_ns, r->deliveries),
		per((double)r->used.user_ns, r->deliveries),
		per((double)r->used.system_ns, r->deliveries));
	printf(",\"server_busy\":%.4f,\"server_threads\":%" PRIu32 ",\"rss_start_bytes\":%" PRIu64
	       ",\"rss_bytes\":%" PRIu64 ",\"rss_peak_bytes\":%" PRIu64,
		r->seconds > 0 ? (double)r->used.cpu_ns / 1e9 / r->seconds : 0, r->used.threads,
		r->start.rss_bytes, r->used.rss_bytes, r->used.rss_peak_bytes);
}

static void print_json(const struct report *r, const struct options *o)
{
	const struct checker_faults *f = &r->faults;
	printf("{");
	json_string("verb", r->verb);
	printf(",");
	json_string("label", o->label);
	printf(",");
	json_string("what", r->what);
	printf(",");
	json_string("unit", r->unit == NULL ? "" : r->unit);
	printf(",\"good\":%s,", report_is_good(r) ? "true" : "false");
	json_string("problem", r->problem);
	printf(",\"seconds\":%.6f,\"published\":%" PRIu64 ",\"deliveries\":%" PRIu64
	       ",\"rate\":%.3f,\"load_cpu_ns_each\":%.3f",
		r->seconds, r->published, r->deliveries,
		r->seconds > 0 ? (double)r->deliveries / r->seconds : 0,
		per((double)r->load_cpu_ns, r->deliveries));
	if (r->latency != NULL && r->latency->count > 0) {
		json_latency(r->latency);
	}
	if (r->has_server) {
		json_server(r);
	}
	if (r->checked) {
		printf(",\"order\":\"%s\",\"faults\":{\"received\":%" PRIu64 ",\"lost\":%" PRIu64
		       ",\"duplicates\":%" PRIu64 ",\"reordered\":%" PRIu64
		       ",\"disordered\":%" PRIu64 ",\"foreign\":%" PRIu64 "}",
			r->any_order ? "per publisher" : "total", f->received, f->lost,
			f->duplicates, f->reordered, f->disordered, f->foreign);
	}
	printf("%.*s}\n", (int)r->extra_json.len,
		r->extra_json.data == NULL ? "" : r->extra_json.data);
}

int report_finish(struct report *r, const struct options *o)
{
	if (o->json) {
		print_json(r, o);
	} else {
		print_line(r, o);
	}
	fflush(stdout);
	bytes_finish(&r->extra_text);
	bytes_finish(&r->extra_json);
	return report_is_good(r) ? 0 : 1;
}
