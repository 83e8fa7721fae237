/* Plays what N Synapse processes do when all of them start: everybody asks where the streams stand, everybody answers.
 *
 * Called by main.c. Each worker has two connections, as Synapse has: one to publish, one that subscribes. Once all
 * are subscribed, each publishes `REPLICATE` and the POSITIONs of the streams that it writes; whenever a worker hears
 * a REPLICATE it publishes them again. `caches` is written by all, the other 17 streams by a few:
 *
 *     N workers: N + N · (N + 1) · (N + 17) / N messages, each to N subscribers
 *
 * So a server that only relays has the cube of N to deliver, and one that answers REPLICATE itself the
 * square. A worker is done when it knows the position of every stream and writer; the storm is, when nothing has come
 * for a while. Then an end marker is published, and what every worker heard between the markers must be
 * the same, by a running hash (not with --absorbing: there a hub may tell each what only it needs).
 */
#include "bench/storm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "bench/adapter.h"
#include "bench/histogram.h"
#include "bench/load.h"
#include "bench/process.h"
#include "bench/report.h"
#include "engine/base/bytes.h"
#include "engine/base/err.h"

#define MARK_BEGIN "REMOTE_SERVER_UP begin.storm"
#define MARK_END   "REMOTE_SERVER_UP end.storm"

static const uint64_t SECOND_NS = 1000000000u;
static const uint64_t QUIET_NS = 300000000u;

/* Who writes a stream: a share of the workers, at least one. */
static const struct {
	const char *name;
	unsigned first_percent; /* of the workers, where the writers begin */
	unsigned writers;
} streams[] = {
	{"pushers", 0, 1},
	{"federation", 0, 1},
	{"un_partial_stated_room", 0, 1},
	{"un_partial_stated_event", 0, 1},
	{"quarantined_media", 0, 1},
	{"events", 10, 4},
	{"backfill", 10, 4},
	{"sticky_events", 10, 4},
	{"typing", 30, 1},
	{"receipts", 32, 1},
	{"presence", 34, 1},
	{"presence_federation", 34, 1},
	{"to_device", 40, 1},
	{"account_data", 42, 1},
	{"device_lists", 44, 1},
	{"push_rules", 46, 1},
	{"thread_subscriptions", 48, 1},
};

enum { STREAMS = sizeof(streams) / sizeof(streams[0]) };

struct worker {
	struct storm *storm;
	struct load_conn *commands;
	struct load_conn *subscriber;
	struct bytes positions; /* the publications that answer a REPLICATE */
	uint32_t position_count;
	uint8_t *known; /* [pair] */
	uint32_t known_count;
	uint64_t done_ns;
	uint64_t heard;
	uint64_t hash; /* of what was heard between the markers */
	bool between;
	bool ended;
};

struct storm {
	const struct options *options;
	const struct adapter *adapter;
	struct load *load;
	struct worker *workers;
	uint32_t count;
	uint32_t pairs; /* streams and their writers */
	uint64_t published;
	uint64_t replies;
	uint64_t deliveries;
	uint64_t dropped;
	uint64_t foreign;
	uint64_t start_ns;
	uint64_t last_ns;
	uint32_t done;
	uint32_t ended;
	struct histogram ready;
};

/* ---- who writes what ---- */

static uint32_t writer_of(const struct storm *s, unsigned stream, unsigned k)
{
	return (s->count * streams[stream].first_percent / 100 + k) % s->count;
}

static unsigned writers_of(const struct storm *s, unsigned stream)
{
	return streams[stream].writers < s->count ? streams[stream].writers : 1;
}

/* A pair's number is carried by its position's token, so that hearing one costs no search. */
static void add_position(struct storm *s, uint32_t worker, const char *stream)
{
	struct worker *w = &s->workers[worker];
	char text[128];
	int len = snprintf(text, sizeof(text), "POSITION %s w%u %u %u", stream, worker,
		1000 + s->pairs, 1000 + s->pairs);
	adapter_publish(adapter_find("resp2"), &w->positions, slice_of(s->options->channel),
		(struct slice){text, (size_t)len});
	w->position_count++;
	s->pairs++;
}

static void add_positions(struct storm *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		add_position(s, i, "caches");
	}
	for (unsigned stream = 0; stream < STREAMS; stream++) {
		for (unsigned k = 0; k < writers_of(s, stream); k++) {
			add_position(s, writer_of(s, stream, k), streams[stream].name);
		}
	}
	for (uint32_t i = 0; i < s->count; i++) {
		s->workers[i].known = mem_zalloc(s->pairs);
	}
}

/* ---- what a worker does ---- */

static void publish_positions(struct worker *w)
{
	bytes_append(&w->commands->out, w->positions.data, w->positions.len);
	w->storm->published += w->position_count;
	load_flush(w->commands);
}

static void publish_text(struct worker *w, struct slice text)
{
	adapter_publish(w->commands->adapter, &w->commands->out,
		slice_of(w->storm->options->channel), text);
	w->storm->published++;
	load_flush(w->commands);
}

static void learn(struct worker *w, struct slice text)
{
	struct storm *s = w->storm;
	int64_t token = 0;
	const char *blank = memrchr(text.data, ' ', text.len);
	struct slice digits = {blank + 1, (size_t)(text.data + text.len - blank - 1)};
	if (slice_to_i64(digits, &token) != OK || token < 1000 || token >= 1000 + s->pairs) {
		s->foreign++;
		return;
	}
	if (!w->known[token - 1000]) {
		w->known[token - 1000] = 1;
		if (++w->known_count == s->pairs) {
			w->done_ns = load_now_ns(s->load);
			histogram_record(&s->ready, w->done_ns - s->start_ns);
			s->done++;
		}
	}
}

static void heard(struct load_conn *conn, const struct frame *frame)
{
	struct worker *w = conn->owner;
	struct storm *s = w->storm;
	if (frame->kind != FRAME_MESSAGE) {
		return;
	}
	if (slice_equal(frame->text, SLICE(MARK_BEGIN))) {
		w->between = true;
		return;
	}
	if (slice_equal(frame->text, SLICE(MARK_END))) {
		s->ended += w->ended ? 0 : 1;
		w->ended = true;
		return;
	}
	s->deliveries++;
	s->last_ns = load_now_ns(s->load);
	w->heard++;
	if (w->between && !w->ended) {
		w->hash = w->hash * 0x9e3779b97f4a7c15u +
			  XXH3_64bits(frame->text.data, frame->text.len);
	}
	if (slice_starts(frame->text, SLICE("POSITION "))) {
		learn(w, frame->text);
	} else if (slice_starts(frame->text, SLICE("REPLICATE"))) {
		publish_positions(w);
	}
}

static void answered(struct load_conn *conn, const struct frame *frame)
{
	struct worker *w = conn->owner;
	w->storm->replies += frame->kind == FRAME_NUMBER ? 1 : 0;
}

static void lost_connection(struct load_conn *conn, int error)
{
	(void)error;
	((struct worker *)conn->owner)->storm->dropped++;
}

static const struct load_ops subscriber_ops = {heard, lost_connection};
static const struct load_ops command_ops = {answered, lost_connection};

/* ---- the run ---- */

static int open_workers(struct storm *s)
{
	const struct options *o = s->options;
	struct login publisher = {o->user, o->password, NULL, 0};
	struct login subscriber = {o->user, o->password, &o->channel, 1};
	for (uint32_t i = 0; i < s->count; i++) {
		struct worker *w = &s->workers[i];
		w->storm = s;
		w->commands = load_open(
			s->load, o->address, adapter_find("resp2"), &publisher, &command_ops, w);
		w->subscriber = w->commands == NULL ? NULL
						    : load_open(s->load, o->address, s->adapter,
							      &subscriber, &subscriber_ops, w);
		if (w->subscriber == NULL) {
			return -E_REFUSED;
		}
	}
	int rc = load_await_ready(s->load, 60 * SECOND_NS);
	if (rc != OK) {
		fprintf(stderr, "millrace-bench: connections did not become ready: %s %s\n",
			err_text(rc), load_last_error(s->load));
	}
	return rc;
}

static bool is_over(const struct storm *s, uint64_t now_ns)
{
	return s->dropped > 0 || (s->done == s->count && s->replies == s->published &&
					 now_ns - s->last_ns > QUIET_NS);
}

static void rage(struct storm *s, struct report *r, int32_t pid)
{
	publish_text(&s->workers[0], SLICE(MARK_BEGIN));
	uint64_t load_ns = process_own_cpu_ns();
	r->has_server = process_read(pid, &r->start) == OK;
	s->start_ns = load_clock_ns();
	s->last_ns = s->start_ns;
	uint64_t end_ns = s->start_ns + (uint64_t)(s->options->deadline * 1e9);
	for (uint32_t i = 0; i < s->count; i++) {
		publish_text(&s->workers[i], SLICE("REPLICATE "));
		publish_positions(&s->workers[i]);
	}
	uint64_t now_ns = load_clock_ns();
	while (!is_over(s, now_ns) && now_ns < end_ns) {
		load_turn(s->load, QUIET_NS / 10);
		now_ns = load_clock_ns();
	}
	struct process_usage end;
	process_read(pid, &end);
	r->used = process_since(&r->start, &end);
	r->seconds = (double)(s->last_ns - s->start_ns) / 1e9;
	r->load_cpu_ns = process_own_cpu_ns() - load_ns;
	r->deliveries = s->deliveries;
	r->published = s->published;
	if (!is_over(s, now_ns)) {
		report_problem(r, "not over after %.0f s: %u of %u workers know every position",
			s->options->deadline, s->done, s->count);
		return;
	}
	publish_text(&s->workers[0], SLICE(MARK_END));
	end_ns = now_ns + 10 * SECOND_NS;
	while (s->ended < s->count && s->dropped == 0 && load_clock_ns() < end_ns) {
		load_turn(s->load, SECOND_NS / 10);
	}
}

static void judge(struct storm *s, struct report *r)
{
	uint32_t different = 0;
	for (uint32_t i = 1; i < s->count; i++) {
		const struct worker *w = &s->workers[i];
		different += w->hash != s->workers[0].hash || w->heard != s->workers[0].heard;
	}
	if (s->dropped > 0) {
		report_problem(
			r, "the server closed %llu connections", (unsigned long long)s->dropped);
	}
	if (s->ended < s->count) {
		report_problem(r, "%u workers did not hear the end", s->count - s->ended);
	}
	if (!s->options->absorbing && different > 0) {
		report_problem(r, "%u workers heard something else than the first", different);
	}
	if (!s->options->absorbing && s->deliveries != (s->published - 2) * s->count) {
		report_problem(r, "%llu deliveries, not %llu", (unsigned long long)s->deliveries,
			(unsigned long long)((s->published - 2) * s->count));
	}
	if (s->foreign > 0) {
		report_problem(
			r, "%llu positions that nobody wrote", (unsigned long long)s->foreign);
	}
	if (*load_last_error(s->load) != '\0') {
		report_problem(r, "the server said: %s", load_last_error(s->load));
	}
}

static int run(struct storm *s)
{
	const struct options *o = s->options;
	struct report r = {.verb = "storm", .unit = "delivery", .latency = &s->ready};
	if (open_workers(s) != OK) {
		return 2;
	}
	rage(s, &r, o->pid != 0 ? (int32_t)o->pid : process_listening_on(o->address));
	judge(s, &r);
	snprintf(r.what, sizeof(r.what), "%u workers, %s", s->count, o->proto);
	report_figure(&r, "messages", (double)s->published, "%llu messages",
		(unsigned long long)s->published);
	report_figure(&r, "total", (double)s->deliveries, "%llu deliveries",
		(unsigned long long)s->deliveries);
	report_figure(&r, "storm_seconds", r.seconds, "over after %.3f s", r.seconds);
	report_figure(&r, "cpu_ns_total", (double)r.used.cpu_ns, "%.3f s server CPU in all",
		(double)r.used.cpu_ns / 1e9);
	if (r.problem[0] == '\0' && !o->absorbing) {
		report_figure(&r, "one_order", 1, "all heard the same");
	}
	return report_finish(&r, o);
}

int storm_run(const struct options *o)
{
	struct storm *s = mem_zalloc(sizeof(*s));
	s->options = o;
	s->adapter = adapter_find(o->proto);
	if (s->adapter == NULL || s->adapter->scan != scan_resp) {
		fprintf(stderr, "millrace-bench: storm speaks resp2 or resp3\n");
		free(s);
		return 2;
	}
	s->count = (uint32_t)o->workers;
	s->load = load_create();
	s->workers = mem_zalloc(s->count * sizeof(*s->workers));
	add_positions(s);
	int status = run(s);
	load_destroy(s->load);
	for (uint32_t i = 0; i < s->count; i++) {
		bytes_finish(&s->workers[i].positions);
		free(s->workers[i].known);
	}
	free(s->workers);
	free(s);
	return status;
}
