/* The result of a run, as one line for people or one JSON object for programs.
 */
#ifndef MILLRACE_BENCH_REPORT_H
#define MILLRACE_BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/checker.h"
#include "bench/histogram.h"
#include "bench/options.h"
#include "bench/process.h"
#include "engine/base/bytes.h"

enum { REPORT_TEXT = 200 };

struct report {
	const char *verb;
	char what[REPORT_TEXT]; /* the scenario in a few words: "1 → 50, 200 B, resp2" */
	const char
		*unit; /* what is counted: "delivery", "operations"; NULL: no rate, memory only */
	double seconds;
	uint64_t published;              /* while it was measured */
	uint64_t deliveries;             /* while it was measured; of `unit` */
	const struct histogram *latency; /* NULL: not measured */
	bool has_server;                 /* the server's process is known, the next two are valid */
	struct process_usage used;       /* while it was measured; its memory at the end */
	struct process_usage start;      /* its memory at the beginning */
	uint64_t load_cpu_ns;
	bool checked; /* `faults` says something */
	struct checker_faults faults;
	bool any_order;
	struct bytes extra_text;   /* further words for people, ", …" */
	struct bytes extra_json;   /* further members, ,"name":value */
	char problem[REPORT_TEXT]; /* what went wrong besides faults; "" nothing */
};

/* A further figure: for people as ", <words>" (printf), in JSON as a number. `words` NULL: in JSON only. */
void report_figure(struct report *r, const char *name, double value, const char *words, ...)
	__attribute__((format(printf, 4, 5)));

/* Say what went wrong, once: the first one stays. */
void report_problem(struct report *r, const char *text, ...) __attribute__((format(printf, 2, 3)));

bool report_is_good(const struct report *r);

/* Print it to standard output, and free its texts. Returns the exit status: 0 good, 1 not. */
int report_finish(struct report *r, const struct options *o);

#endif
