/* Plays a recording to subscribers of every kind, and checks what each of them hears.
 *
 * Called by main.c. Each connection of the recording is a publisher connection here; what it published
 * is published again, unchanged. Subscribers come in three views (capture.h), each with a checker of its own:
 *
 *     RESP, even   all channels            ─┐ checked at the end: what two views
 *     RESP, odd    the server's name only  ─┤ have in common stands in the same
 *     line         RDATA, POSITION, …      ─┘ order in both
 *
 * At full speed at most `window` messages are under way; otherwise a message is published when it is due. A
 * restarted process' new connection waits for the acknowledgements of its old one, as in life.
 *
 * What a hub says of its own accord (POSITIONs that answer a worker, CLEAR_USER_SYNC for a dead one) is
 * counted as `own`, unless somebody had published the same. With --absorbing, REPLICATE and POSITION may be missing.
 */
#include "bench/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/adapter.h"
#include "bench/capture.h"
#include "bench/checker.h"
#include "bench/histogram.h"
#include "bench/load.h"
#include "bench/process.h"
#include "bench/report.h"
#include "engine/base/err.h"

static const uint64_t SECOND_NS = 1000000000u;
static const uint64_t READY_TIMEOUT_NS = 30 * 1000000000ull;
static const uint64_t QUIET_NS =
	2 * 1000000000ull; /* without any delivery for so long it is over */
static const uint32_t NONE = UINT32_MAX;

struct listener {
	struct replay *replay;
	struct load_conn *conn;
	enum capture_view view;
	uint32_t index;  /* in its view */
	uint32_t *taken; /* [content]: how many of these it has had */
};

struct writer_conn {
	struct replay *replay;
	struct load_conn *conn;
	uint32_t *messages; /* published on it, to be acknowledged in this order */
	uint32_t published;
	uint32_t acked;
	uint32_t total;
};

/* What is known of a message while it is played. */
struct progress {
	uint64_t sent_ns;
	uint32_t seen;
	uint32_t audience;
	bool done;
};

struct replay {
	const struct options *options;
	struct capture *capture;
	struct load *load;
	struct listener *listeners;
	uint32_t listener_count;
	struct writer_conn *writers;
	struct checker *checkers[CAPTURE_VIEWS];
	uint32_t view_counts[CAPTURE_VIEWS];
	struct progress *progress;
	bool playing;
	uint32_t next; /* the message to be published next */
	uint64_t under_way;
	uint64_t deliveries;
	uint64_t acked;
	uint64_t own; /* messages of the hub's own */
	uint64_t absorbed;
	uint64_t dropped;
	uint64_t last_delivery_ns;
	struct histogram latency;
};

/* ---- hearing ---- */

static bool may_be_missing(const struct replay *r, const struct capture_message *m)
{
	return m->half_batch ||
	       (r->options->absorbing && r->capture->contents[m->content].absorbable);
}

/* The message that a payload stands for, at this subscriber: the next one of its kind that can come in its
 * writer's order; else one that it has missed and that comes late; else the last one again. */
static uint32_t resolve(struct listener *l, uint32_t number)
{
	const struct capture *c = l->replay->capture;
	const struct checker *checker = l->replay->checkers[l->view];
	const struct capture_content *content = &c->contents[number];
	for (uint32_t i = l->taken[number]; i < content->count; i++) {
		const struct capture_message *m = &c->messages[content->messages[i]];
		if (m->seen_by[l->view] &&
			m->sequence[l->view] >= checker_next(checker, l->index, m->writer)) {
			l->taken[number] = i + 1;
			return content->messages[i];
		}
	}
	for (uint32_t i = 0; i < content->count; i++) {
		const struct capture_message *m = &c->messages[content->messages[i]];
		if (checker_is_missing(checker, l->index, m->writer, m->sequence[l->view])) {
			return content->messages[i];
		}
	}
	return content->messages[content->count - 1];
}

static void finish_message(struct replay *r, uint32_t number)
{
	if (!r->progress[number].done) {
		r->progress[number].done = true;
		r->under_way--;
	}
}

static bool is_own(struct slice text)
{
	return slice_starts(text, SLICE("POSITION ")) || slice_starts(text, SLICE("REPLICATE")) ||
	       slice_starts(text, SLICE("CLEAR_USER_SYNC ")) ||
	       slice_starts(text, SLICE("USER_SYNC "));
}

static void heard(struct load_conn *conn, const struct frame *frame)
{
	struct listener *l = conn->owner;
	struct replay *r = l->replay;
	if (frame->kind != FRAME_MESSAGE) {
		return;
	}
	if (!r->playing) { /* a hub asks its writers where they stand when a line worker comes */
		r->own++;
		return;
	}
	uint32_t content = capture_find(r->capture, frame->text);
	if (content == NONE) {
		if (is_own(frame->text)) {
			r->own++;
		} else {
			checker_foreign(r->checkers[l->view], l->index);
		}
		return;
	}
	uint32_t number = resolve(l, content);
	const struct capture_message *m = &r->capture->messages[number];
	struct progress *p = &r->progress[number];
	r->deliveries++;
	r->last_delivery_ns = load_now_ns(r->load);
	if (p->sent_ns != 0 && r->last_delivery_ns >= p->sent_ns) {
		histogram_record(&r->latency, r->last_delivery_ns - p->sent_ns);
	}
	if (++p->seen == p->audience) {
		finish_message(r, number);
	}
	checker_take(r->checkers[l->view], l->index, m->writer, m->sequence[l->view]);
}

static void acknowledged(struct load_conn *conn, const struct frame *frame)
{
	struct writer_conn *w = conn->owner;
	struct replay *r = w->replay;
	if (frame->kind != FRAME_NUMBER || w->acked == w->published) {
		return;
	}
	uint32_t number = w->messages[w->acked++];
	r->acked++;
	if (r->progress[number].audience == 0 || may_be_missing(r, &r->capture->messages[number])) {
		finish_message(r, number);
	}
}

static void listener_lost(struct load_conn *conn, int error)
{
	(void)error;
	((struct listener *)conn->owner)->replay->dropped++;
}

static void writer_lost(struct load_conn *conn, int error)
{
	(void)error;
	((struct writer_conn *)conn->owner)->replay->dropped++;
}

static const struct load_ops listener_ops = {heard, listener_lost};
static const struct load_ops writer_ops = {acknowledged, writer_lost};

/* ---- opening ---- */

static int open_listener(struct replay *r, uint32_t i, const char *proto, enum capture_view view)
{
	const struct options *o = r->options;
	const struct capture *c = r->capture;
	struct listener *l = &r->listeners[i];
	const char *main_channel = c->channels[c->main_channel];
	struct login login = {o->user, o->password, &main_channel, 1};
	if (view == VIEW_ALL) {
		login.channels = (const char *const *)c->channels;
		login.channel_count = c->channel_count;
	}
	l->replay = r;
	l->view = view;
	l->index = r->view_counts[view]++;
	l->taken = mem_zalloc(c->content_count * sizeof(*l->taken));
	l->conn = load_open(r->load, view == VIEW_LINE ? o->line_address : o->address,
		adapter_find(proto), &login, &listener_ops, l);
	return l->conn == NULL ? -E_REFUSED : OK;
}

static int await_ready(struct replay *r)
{
	int rc = load_await_ready(r->load, READY_TIMEOUT_NS);
	if (rc != OK) {
		fprintf(stderr, "millrace-bench: connections did not become ready: %s %s\n",
			err_text(rc), load_last_error(r->load));
	}
	return rc;
}

/* The line workers first: what a hub says to the others because of them is said by the time the
 * others subscribe. */
static int open_listeners(struct replay *r)
{
	const struct options *o = r->options;
	int rc = OK;
	uint32_t i = 0;
	for (; i < o->line && rc == OK; i++) {
		rc = open_listener(r, i, "line", VIEW_LINE);
	}
	rc = rc == OK ? await_ready(r) : rc;
	for (; i < r->listener_count && rc == OK; i++) {
		enum capture_view view = i % 2 == 0 ? VIEW_ALL : VIEW_MAIN;
		rc = open_listener(r, i, i < o->line + o->resp2 ? "resp2" : "resp3", view);
	}
	return rc;
}

static int open_writers(struct replay *r)
{
	const struct options *o = r->options;
	struct login login = {o->user, o->password, NULL, 0};
	for (uint32_t i = 0; i < r->capture->message_count; i++) {
		r->writers[r->capture->messages[i].conn].total++;
	}
	for (uint32_t i = 0; i < r->capture->conn_count; i++) {
		struct writer_conn *w = &r->writers[i];
		w->replay = r;
		w->messages = mem_alloc(w->total * sizeof(*w->messages));
		w->conn = load_open(
			r->load, o->address, adapter_find("resp2"), &login, &writer_ops, w);
		if (w->conn == NULL) {
			return -E_REFUSED;
		}
	}
	return OK;
}

static int open_all(struct replay *r)
{
	int rc = open_listeners(r);
	rc = rc == OK ? open_writers(r) : rc;
	rc = rc == OK ? await_ready(r) : rc;
	r->playing = true;
	for (int view = 0; view < CAPTURE_VIEWS; view++) {
		r->checkers[view] = checker_create(
			r->capture->writer_count, r->view_counts[view], CHECKER_TOTAL);
	}
	for (uint32_t i = 0; i < r->capture->message_count; i++) {
		for (int view = 0; view < CAPTURE_VIEWS; view++) {
			r->progress[i].audience +=
				r->capture->messages[i].seen_by[view] ? r->view_counts[view] : 0;
		}
	}
	return rc;
}

/* ---- playing ---- */

/* Whether the next message may be published now; else how long to wait at most. */
static bool is_allowed(const struct replay *r, uint64_t start_ns, uint64_t *wait_ns)
{
	const struct capture_message *m = &r->capture->messages[r->next];
	*wait_ns = SECOND_NS / 10;
	uint32_t before = r->capture->predecessor[m->conn];
	if (before != NONE && r->writers[before].acked < r->writers[before].total) {
		return false;
	}
	if (r->options->speed <= 0) {
		return r->under_way < r->options->window;
	}
	uint64_t due_ns = start_ns + (uint64_t)(m->at_ms * 1e6 / r->options->speed);
	uint64_t now_ns = load_clock_ns();
	if (due_ns > now_ns && due_ns - now_ns < *wait_ns) {
		*wait_ns = due_ns - now_ns;
	}
	return due_ns <= now_ns;
}

static void publish(struct replay *r)
{
	uint32_t number = r->next++;
	const struct capture_message *m = &r->capture->messages[number];
	struct writer_conn *w = &r->writers[m->conn];
	r->progress[number].sent_ns = load_clock_ns();
	r->under_way++;
	w->messages[w->published++] = number;
	adapter_publish(w->conn->adapter, &w->conn->out, slice_of(r->capture->channels[m->channel]),
		m->payload);
}

/* Publish what is allowed; at full speed one write per connection for all of it. */
static uint64_t publish_allowed(struct replay *r, uint64_t start_ns)
{
	uint64_t wait_ns = SECOND_NS / 10;
	uint32_t first = r->next;
	while (r->next < r->capture->message_count && is_allowed(r, start_ns, &wait_ns)) {
		publish(r);
	}
	for (uint32_t i = first; i < r->next; i++) {
		load_flush(r->writers[r->capture->messages[i].conn].conn);
	}
	return wait_ns;
}

static void play(struct replay *r)
{
	uint64_t start_ns = load_clock_ns();
	uint64_t end_ns = start_ns + (uint64_t)(r->options->deadline * 1e9);
	r->last_delivery_ns = start_ns;
	while (r->next < r->capture->message_count || r->under_way > 0 || r->acked < r->next) {
		uint64_t wait_ns = publish_allowed(r, start_ns);
		load_turn(r->load, wait_ns);
		uint64_t now_ns = load_clock_ns();
		bool is_waiting = r->next == r->capture->message_count || r->options->speed <= 0;
		if (now_ns > end_ns || r->dropped > 0 ||
			(is_waiting && now_ns - r->last_delivery_ns > QUIET_NS)) {
			return;
		}
	}
}

/* ---- judging ---- */

static void expect_all(struct replay *r)
{
	const struct capture *c = r->capture;
	uint64_t *counts = mem_alloc(c->writer_count * sizeof(*counts));
	for (int view = 0; view < CAPTURE_VIEWS; view++) {
		memset(counts, 0, c->writer_count * sizeof(*counts));
		for (uint32_t i = 0; i < r->next; i++) {
			counts[c->messages[i].writer] += c->messages[i].seen_by[view] ? 1 : 0;
		}
		for (uint32_t w = 0; w < c->writer_count; w++) {
			checker_expect(r->checkers[view], w, counts[w]);
		}
	}
	free(counts);
}

static void forgive_absorbed(struct replay *r)
{
	for (uint32_t i = 0; i < r->next; i++) {
		const struct capture_message *m = &r->capture->messages[i];
		for (int view = 0; view < CAPTURE_VIEWS && may_be_missing(r, m); view++) {
			for (uint32_t l = 0; m->seen_by[view] && l < r->view_counts[view]; l++) {
				r->absorbed += checker_forgive(r->checkers[view], l, m->writer,
						       m->sequence[view])
						       ? 1
						       : 0;
			}
		}
	}
}

/* From a writer's message, by its number in a view, back to the message: [first[writer] + sequence].
 * owner: the caller, of both. */
static uint32_t *index_view(const struct capture *c, enum capture_view view, uint32_t **first)
{
	uint32_t *begin = mem_zalloc((c->writer_count + 1) * sizeof(*begin));
	uint32_t *index = mem_alloc(c->message_count * sizeof(*index));
	for (uint32_t i = 0; i < c->message_count; i++) {
		begin[c->messages[i].writer + 1] += c->messages[i].seen_by[view] ? 1 : 0;
	}
	for (uint32_t w = 0; w < c->writer_count; w++) {
		begin[w + 1] += begin[w];
	}
	for (uint32_t i = 0; i < c->message_count; i++) {
		const struct capture_message *m = &c->messages[i];
		if (m->seen_by[view]) {
			index[begin[m->writer] + m->sequence[view]] = i;
		}
	}
	*first = begin;
	return index;
}

/* The payloads that a view's subscribers heard, in order, of those that `other` hears, too. */
static uint32_t *project(
	const struct replay *r, enum capture_view view, enum capture_view other, size_t *count)
{
	const struct capture *c = r->capture;
	size_t length = 0;
	const uint64_t *log = checker_log(r->checkers[view], &length);
	uint32_t *first = NULL;
	uint32_t *index = index_view(c, view, &first);
	uint32_t *out = mem_alloc((length + 1) * sizeof(*out));
	*count = 0;
	for (size_t i = 0; i < length; i++) {
		uint64_t sequence = log[i] & (((uint64_t)1 << CHECKER_SEQUENCE_BITS) - 1);
		const struct capture_message *m =
			&c->messages[index[first[log[i] >> CHECKER_SEQUENCE_BITS] + sequence]];
		if (m->seen_by[other] && !may_be_missing(r, m)) {
			out[(*count)++] = m->content;
		}
	}
	free(first);
	free(index);
	return out;
}

/* How many subscribers of `b` had another order than those of `a`, in what both hear. */
static uint64_t compare_views(const struct replay *r, enum capture_view a, enum capture_view b)
{
	if (r->view_counts[a] == 0 || r->view_counts[b] == 0) {
		return 0;
	}
	size_t count_a = 0;
	size_t count_b = 0;
	uint32_t *in_a = project(r, a, b, &count_a);
	uint32_t *in_b = project(r, b, a, &count_b);
	bool same = count_a == count_b && memcmp(in_a, in_b, count_a * sizeof(*in_a)) == 0;
	free(in_a);
	free(in_b);
	return same ? 0 : r->view_counts[b];
}

static void judge(struct replay *r, struct report *report)
{
	expect_all(r);
	forgive_absorbed(r);
	report->checked = true;
	for (int view = 0; view < CAPTURE_VIEWS; view++) {
		struct checker_faults faults = checker_total(r->checkers[view]);
		checker_add(&report->faults, &faults);
	}
	if (checker_is_clean(
		    &report->faults)) { /* else the logs differ for a reason known already */
		report->faults.disordered += compare_views(r, VIEW_ALL, VIEW_MAIN);
		report->faults.disordered += compare_views(r, VIEW_ALL, VIEW_LINE);
		report->faults.disordered += compare_views(r, VIEW_MAIN, VIEW_LINE);
	}
	if (*load_last_error(r->load) != '\0') {
		report_problem(report, "the server said: %s", load_last_error(r->load));
	}
	if (r->dropped > 0) {
		report_problem(report, "the server closed %llu connections",
			(unsigned long long)r->dropped);
	}
	if (r->next < r->capture->message_count) {
		report_problem(report, "only %u of %u messages could be published", r->next,
			r->capture->message_count);
	} else if (r->acked < r->next) {
		report_problem(report, "%llu publications were not acknowledged",
			(unsigned long long)(r->next - r->acked));
	}
}

/* ---- the run ---- */

static void describe(const struct replay *r, struct report *report)
{
	const struct options *o = r->options;
	char kinds[100] = "";
	size_t len = 0;
	const struct {
		uint64_t count;
		const char *name;
	} parts[] = {{o->resp2, "RESP2"}, {o->resp3, "RESP3"}, {o->line, "line"}};
	for (unsigned i = 0; i < 3; i++) {
		if (parts[i].count > 0) {
			len += (size_t)snprintf(kinds + len, sizeof(kinds) - len, "%s%llu %s",
				len > 0 ? ", " : "", (unsigned long long)parts[i].count,
				parts[i].name);
		}
	}
	snprintf(report->what, sizeof(report->what), "%u messages to %u subscribers (%s)", r->next,
		r->listener_count, kinds);
}

static int run(struct replay *r)
{
	const struct options *o = r->options;
	struct report report = {.verb = "replay", .unit = "delivery", .latency = &r->latency};
	if (open_all(r) != OK) {
		return 2;
	}
	int32_t pid = o->pid != 0 ? (int32_t)o->pid : process_listening_on(o->address);
	report.has_server = process_read(pid, &report.start) == OK;
	uint64_t load_ns = process_own_cpu_ns();
	uint64_t start_ns = load_clock_ns();
	play(r);
	struct process_usage end;
	process_read(pid, &end);
	report.used = process_since(&report.start, &end);
	report.seconds = (double)(r->last_delivery_ns - start_ns) / 1e9;
	report.load_cpu_ns = process_own_cpu_ns() - load_ns;
	report.deliveries = r->deliveries;
	report.published = r->next;
	load_turn(r->load, SECOND_NS / 50); /* a duplicate of the last message would come now */
	describe(r, &report);
	report_figure(&report, "total", (double)r->deliveries, "%llu deliveries",
		(unsigned long long)r->deliveries);
	if (r->own > 0) {
		report_figure(&report, "own", (double)r->own, "%llu of the hub's own",
			(unsigned long long)r->own);
	}
	judge(r, &report);
	if (r->absorbed > 0) {
		report_figure(&report, "absorbed", (double)r->absorbed, "%llu absorbed",
			(unsigned long long)r->absorbed);
	}
	return report_finish(&report, o);
}

static void replay_finish(struct replay *r)
{
	load_destroy(r->load);
	for (uint32_t i = 0; i < r->listener_count; i++) {
		free(r->listeners[i].taken);
	}
	for (uint32_t i = 0; i < r->capture->conn_count; i++) {
		free(r->writers[i].messages);
	}
	for (int view = 0; view < CAPTURE_VIEWS; view++) {
		checker_destroy(r->checkers[view]);
	}
	free(r->listeners);
	free(r->writers);
	free(r->progress);
	capture_destroy(r->capture);
	free(r);
}

int replay_run(const struct options *o)
{
	struct capture *capture = NULL;
	if (capture_load(o->capture, (uint32_t)o->repeat, &capture) != OK) {
		return 2;
	}
	struct replay *r = mem_zalloc(sizeof(*r));
	r->options = o;
	r->capture = capture;
	r->load = load_create();
	r->listener_count = (uint32_t)(o->resp2 + o->resp3 + o->line);
	r->listeners = mem_zalloc(r->listener_count * sizeof(*r->listeners));
	r->writers = mem_zalloc(capture->conn_count * sizeof(*r->writers));
	r->progress = mem_zalloc(capture->message_count * sizeof(*r->progress));
	int status = run(r);
	replay_finish(r);
	return status;
}
