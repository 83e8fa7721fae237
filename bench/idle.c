/* Opens many subscribers to a channel where nothing is published and reads the server's memory.
 *
 * Called by main.c. Memory is VmRSS before the first connection, with all of them, and once they have gone; the
 * peak is VmHWM. What the kernel keeps for a socket is in none of them. CPU is what the server uses in `--seconds`
 * of silence: a server without needless timers uses next to none.
 */
#include "bench/idle.h"

#include <stdio.h>

#include "bench/adapter.h"
#include "bench/load.h"
#include "bench/process.h"
#include "bench/report.h"
#include "engine/base/err.h"

static const uint64_t SECOND_NS = 1000000000u;

static void ignored(struct load_conn *conn, const struct frame *frame)
{
	(void)conn, (void)frame;
}

static const struct load_ops idle_ops = {ignored, NULL};

static void pause_for(struct load *load, double seconds)
{
	uint64_t end_ns = load_clock_ns() + (uint64_t)(seconds * 1e9);
	for (uint64_t now_ns = load_clock_ns(); now_ns < end_ns; now_ns = load_clock_ns()) {
		load_turn(load, end_ns - now_ns);
	}
}

static int open_all(struct load *load, const struct options *o, const struct adapter *a)
{
	const char *channel = "idle";
	struct login login = {o->user, o->password, &channel, 1};
	const char *address = a->has_channels ? o->address : o->line_address;
	for (uint64_t i = 0; i < o->idle; i++) {
		if (load_open(load, address, a, &login, &idle_ops, NULL) == NULL) {
			return -E_REFUSED;
		}
	}
	int rc = load_await_ready(load, 30 * SECOND_NS);
	if (rc != OK) {
		fprintf(stderr, "millrace-bench: connections did not become ready: %s %s\n",
			err_text(rc), load_last_error(load));
	}
	return rc;
}

int idle_run(const struct options *o)
{
	struct report r = {.verb = "idle"};
	const struct adapter *a = adapter_find(o->proto);
	int32_t pid = o->pid != 0 ? (int32_t)o->pid : process_listening_on(o->address);
	struct process_usage silence, end, gone;
	if (a == NULL || process_read(pid, &r.start) != OK) {
		fprintf(stderr, "millrace-bench: %s\n",
			a == NULL ? "a protocol is resp2, resp3, line or nats"
				  : "the server's process is not known: --pid");
		return 2;
	}
	struct load *load = load_create();
	if (open_all(load, o, a) != OK) {
		load_destroy(load);
		return 2;
	}
	pause_for(load, 0.3);
	process_read(pid, &silence);
	pause_for(load, o->seconds);
	process_read(pid, &end);
	uint64_t lost = load_lost_connections(load);
	load_destroy(load);
	load = load_create();
	pause_for(load, 0.3);
	load_destroy(load);
	process_read(pid, &gone);

	r.used = process_since(&silence, &end);
	r.has_server = true;
	r.seconds = o->seconds;
	r.deliveries = o->idle;
	double each = ((double)end.rss_bytes - (double)r.start.rss_bytes) / (double)o->idle;
	snprintf(r.what, sizeof(r.what), "%llu subscribers, %s", (unsigned long long)o->idle,
		o->proto);
	report_figure(&r, "rss_with_bytes", (double)end.rss_bytes,
		"resident %.1f MB before, %.1f MB with them", (double)r.start.rss_bytes / 1e6,
		(double)end.rss_bytes / 1e6);
	report_figure(&r, "bytes_each", each, "%.0f B each", each);
	report_figure(&r, "rss_gone_bytes", (double)gone.rss_bytes, "%.1f MB once they have gone",
		(double)gone.rss_bytes / 1e6);
	report_figure(&r, "cpu_ns_per_second", (double)r.used.cpu_ns / o->seconds,
		"%.0f µs CPU a second", (double)r.used.cpu_ns / o->seconds / 1e3);
	if (lost > 0) {
		report_problem(&r, "the server closed %llu of them", (unsigned long long)lost);
	}
	return report_finish(&r, o);
}
