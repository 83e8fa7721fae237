/* Publishes stamped messages and judges every delivery.
 *
 * Called by main.c; drives load.c, and checker.c, one checker per channel. A message is under way from its
 * publication until its last subscriber has it; a slot of a ring remembers when it was sent and how
 * many have it:
 *
 *     closed loop (default)  as many messages are published as finish: at most `window` under way
 *     open loop (--rate)     messages are due at fixed times, and their latency counts from then, however
 *                            late the load comes to send them
 *
 * A run: open all connections, wait until each is ready; warm up; measure; stop publishing; drain; judge. CPU and
 * deliveries are read at the same two moments, under full load at both.
 *
 * Deliberately not measured: connecting, and the drain.
 */
#include "bench/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/adapter.h"
#include "bench/checker.h"
#include "bench/histogram.h"
#include "bench/load.h"
#include "bench/process.h"
#include "bench/report.h"
#include "bench/stamp.h"
#include "engine/base/bytes.h"
#include "engine/base/err.h"

enum {
	OPEN_LOOP_SLOTS = 1 << 20,
	BURST_MAX = 4096,           /* messages published in one turn of an open loop */
	OUT_BYTES_MAX = 1024 * 1024 /* a publisher with so much unsent waits */
};

static const uint64_t SECOND_NS = 1000000000u;
static const uint64_t READY_TIMEOUT_NS = 30 * 1000000000ull;
static const uint64_t QUIET_NS =
	2 * 1000000000ull; /* a drain without any delivery for so long is over */

struct slot {
	uint64_t number;
	uint64_t sent_ns;
	uint64_t seen;
};

struct group {
	struct flow *flow;
	char channel[64];
	struct bytes head; /* what stands before each payload */
	struct checker *checker;
	uint64_t *sequences; /* [publisher] */
};

struct publisher {
	struct load_conn *conn;
	struct bytes payload;
	uint64_t turn; /* which group comes next */
};

struct flow {
	const struct options *options;
	const struct adapter *pub_adapter;
	const struct adapter *sub_adapter;
	bool any_order;
	struct load *load;
	struct group *groups;
	uint32_t group_count;
	struct publisher *publishers;
	uint32_t publisher_count;
	uint32_t audience; /* subscribers of each group */
	uint32_t rotation;

	struct slot *slots;
	uint64_t slot_mask;
	uint64_t published;
	uint64_t completed;
	uint64_t deliveries;
	uint64_t expected; /* deliveries of all that was published */
	uint64_t replies;
	uint64_t dropped;      /* connections that the server closed, but for the stalled one */
	uint64_t open_loop_ns; /* when the open loop began */
	uint64_t open_loop_count;
	bool stalled_dropped;

	bool measuring;
	struct histogram latency;
	int32_t pid;
};

/* ---- receiving ---- */

static void heard(struct load_conn *conn, const struct frame *frame)
{
	struct group *g = conn->owner;
	struct flow *f = g->flow;
	struct stamp stamp;
	if (frame->kind != FRAME_MESSAGE) {
		return;
	}
	if (!stamp_read(frame->text, &stamp)) {
		/* A hub's own POSITION to a line worker is no fault. */
		if (!slice_starts(frame->text, SLICE("POSITION "))) {
			checker_foreign(g->checker, conn->number);
		}
		return;
	}
	f->deliveries++;
	struct slot *slot = &f->slots[stamp.number & f->slot_mask];
	if (slot->number == stamp.number) {
		if (f->measuring) {
			uint64_t now_ns = load_now_ns(f->load);
			histogram_record(
				&f->latency, now_ns > slot->sent_ns ? now_ns - slot->sent_ns : 0);
		}
		if (++slot->seen == f->audience) {
			f->completed++;
		}
	}
	checker_take(g->checker, conn->number, stamp.publisher, stamp.sequence);
}

static void lost_connection(struct load_conn *conn, int error)
{
	(void)error;
	((struct group *)conn->owner)->flow->dropped++;
}

static void answered(struct load_conn *conn, const struct frame *frame)
{
	struct flow *f = ((struct group *)conn->owner)->flow;
	f->replies += frame->kind == FRAME_NUMBER ? 1 : 0;
}

static void ignored(struct load_conn *conn, const struct frame *frame)
{
	(void)conn, (void)frame;
}

static void stalled_lost(struct load_conn *conn, int error)
{
	(void)error;
	((struct group *)conn->owner)->flow->stalled_dropped = true;
}

static const struct load_ops subscriber_ops = {heard, lost_connection};
static const struct load_ops publisher_ops = {answered, lost_connection};
static const struct load_ops idle_ops = {ignored, lost_connection};
static const struct load_ops stalled_ops = {ignored, stalled_lost};

/* ---- publishing ---- */

static void publish(struct flow *f, struct publisher *p, uint64_t sent_ns)
{
	uint32_t index = (uint32_t)(p - f->publishers);
	struct group *g = &f->groups[p->turn++ % f->group_count];
	uint64_t number = f->published++;
	stamp_set(p->payload.data, g->sequences[index]++, number);
	f->slots[number & f->slot_mask] = (struct slot){number, sent_ns, 0};
	f->expected += f->audience;
	bytes_append(&p->conn->out, g->head.data, g->head.len);
	bytes_append(&p->conn->out, p->payload.data, p->payload.len);
}

/* Publish `count` messages, shared out evenly; they were due `step_ns` apart from `first_ns` on. */
static void publish_many(struct flow *f, uint64_t count, uint64_t first_ns, double step_ns)
{
	uint64_t share = (count + f->publisher_count - 1) / f->publisher_count;
	uint64_t done = 0;
	for (uint32_t i = 0; i < f->publisher_count && done < count; i++) {
		struct publisher *p = &f->publishers[f->rotation++ % f->publisher_count];
		if (p->conn->fd < 0 || p->conn->out.len - p->conn->out_at > OUT_BYTES_MAX) {
			continue;
		}
		for (uint64_t k = 0; k < share && done < count; k++, done++) {
			publish(f, p, first_ns + (uint64_t)((double)done * step_ns));
		}
		load_flush(p->conn);
	}
	f->open_loop_count += done;
}

/* Publish what the window or the clock allows; returns how long nothing will be due. */
static uint64_t publish_allowed(struct flow *f)
{
	uint64_t now_ns = load_clock_ns();
	if (f->options->rate <= 0) {
		uint64_t under_way = f->published - f->completed;
		if (under_way < f->options->window) {
			publish_many(f, f->options->window - under_way, now_ns, 0);
		}
		return SECOND_NS / 10;
	}
	double step_ns = (double)SECOND_NS / f->options->rate;
	uint64_t due = (uint64_t)((double)(now_ns - f->open_loop_ns) / step_ns) + 1;
	if (due > f->open_loop_count) {
		uint64_t count = due - f->open_loop_count;
		uint64_t first_ns =
			f->open_loop_ns + (uint64_t)((double)f->open_loop_count * step_ns);
		publish_many(f, count < BURST_MAX ? count : BURST_MAX, first_ns, step_ns);
	}
	uint64_t next_ns = f->open_loop_ns + (uint64_t)((double)f->open_loop_count * step_ns);
	now_ns = load_clock_ns();
	return next_ns > now_ns ? next_ns - now_ns : 0;
}

static void run_for(struct flow *f, double seconds)
{
	uint64_t end_ns = load_clock_ns() + (uint64_t)(seconds * 1e9);
	for (uint64_t now_ns = load_clock_ns(); now_ns < end_ns; now_ns = load_clock_ns()) {
		uint64_t wait_ns = publish_allowed(f);
		load_turn(f->load, wait_ns < end_ns - now_ns ? wait_ns : end_ns - now_ns);
	}
}

/* Warm up, then fill the measured part of a report. */
static void measure(struct flow *f, struct report *r)
{
	struct process_usage end;
	f->open_loop_ns = load_clock_ns();
	f->open_loop_count = 0;
	run_for(f, f->options->warmup);

	histogram_clear(&f->latency);
	uint64_t deliveries = f->deliveries;
	uint64_t published = f->published;
	uint64_t load_ns = process_own_cpu_ns();
	uint64_t start_ns = load_clock_ns();
	r->has_server = process_read(f->pid, &r->start) == OK;
	f->measuring = true;
	run_for(f, f->options->seconds);
	f->measuring = false;
	process_read(f->pid, &end);
	r->used = process_since(&r->start, &end);
	r->seconds = (double)(load_clock_ns() - start_ns) / 1e9;
	r->load_cpu_ns = process_own_cpu_ns() - load_ns;
	r->deliveries = f->deliveries - deliveries;
	r->published = f->published - published;
	r->latency = &f->latency;
}

/* Wait for what is still under way. */
static void drain(struct flow *f)
{
	uint64_t quiet_since_ns = load_clock_ns();
	uint64_t before = f->deliveries;
	while (f->deliveries < f->expected && load_clock_ns() - quiet_since_ns < QUIET_NS) {
		load_turn(f->load, SECOND_NS / 10);
		if (f->deliveries != before) {
			before = f->deliveries;
			quiet_since_ns = load_clock_ns();
		}
	}
	load_turn(f->load, SECOND_NS / 50); /* a duplicate of the last message would come now */
}

static void judge(struct flow *f, struct report *r)
{
	r->checked = true;
	r->any_order = f->any_order;
	for (uint32_t g = 0; g < f->group_count; g++) {
		for (uint32_t p = 0; p < f->publisher_count; p++) {
			checker_expect(f->groups[g].checker, p, f->groups[g].sequences[p]);
		}
		struct checker_faults faults = checker_total(f->groups[g].checker);
		checker_add(&r->faults, &faults);
	}
	if (f->dropped > 0) {
		report_problem(
			r, "the server closed %llu connections", (unsigned long long)f->dropped);
	}
	if (*load_last_error(f->load) != '\0') {
		report_problem(r, "the server said: %s", load_last_error(f->load));
	}
}

/* ---- opening ---- */

static const char *sub_address(const struct flow *f)
{
	return f->sub_adapter->has_channels ? f->options->address : f->options->line_address;
}

static struct load_conn *open_subscriber(struct flow *f, struct group *g, const char *channel,
	const struct load_ops *ops, uint32_t number)
{
	struct login login = {f->options->user, f->options->password, &channel, 1};
	struct load_conn *conn = load_open(f->load, sub_address(f), f->sub_adapter, &login, ops, g);
	if (conn != NULL) {
		conn->number = number;
	}
	return conn;
}

static int open_group(struct flow *f, struct group *g, const char *channel)
{
	const struct options *o = f->options;
	g->flow = f;
	snprintf(g->channel, sizeof(g->channel), "%s", channel);
	f->pub_adapter->message_head(&g->head, slice_of(g->channel), o->size_bytes);
	g->checker = checker_create(f->publisher_count, f->audience,
		f->any_order ? CHECKER_PER_PUBLISHER : CHECKER_TOTAL);
	g->sequences = mem_zalloc(sizeof(*g->sequences) * f->publisher_count);
	for (uint32_t i = 0; i < f->audience; i++) {
		if (open_subscriber(f, g, g->channel, &subscriber_ops, i) == NULL) {
			return -E_REFUSED;
		}
	}
	return OK;
}

static int open_publishers(struct flow *f)
{
	const struct options *o = f->options;
	struct login login = {o->user, o->password, NULL, 0};
	const char *address = f->pub_adapter->has_channels ? o->address : o->line_address;
	for (uint32_t i = 0; i < f->publisher_count; i++) {
		struct publisher *p = &f->publishers[i];
		p->conn = load_open(
			f->load, address, f->pub_adapter, &login, &publisher_ops, &f->groups[0]);
		if (p->conn == NULL) {
			return -E_REFUSED;
		}
		stamp_append(&p->payload, i, o->size_bytes);
		bytes_append_string(&p->payload, f->pub_adapter->message_tail);
		p->turn = (uint64_t)i * f->group_count / f->publisher_count;
	}
	return OK;
}

static int open_all(struct flow *f)
{
	char channel[64];
	for (uint32_t i = 0; i < f->group_count; i++) {
		snprintf(channel, sizeof(channel), "t%05u", i);
		int rc = open_group(
			f, &f->groups[i], f->group_count == 1 ? f->options->channel : channel);
		if (rc != OK) {
			return rc;
		}
	}
	for (uint64_t i = 0; i < f->options->idle; i++) {
		if (open_subscriber(f, &f->groups[0], "idle", &idle_ops, 0) == NULL) {
			return -E_REFUSED;
		}
	}
	int rc = open_publishers(f);
	if (rc == OK) {
		rc = load_await_ready(f->load, READY_TIMEOUT_NS);
		if (rc != OK) {
			fprintf(stderr, "millrace-bench: connections did not become ready: %s %s\n",
				err_text(rc), load_last_error(f->load));
		}
	}
	return rc;
}

static int flow_init(struct flow *f, const struct options *o, uint32_t groups, uint32_t publishers,
	uint32_t audience)
{
	*f = (struct flow){.options = o, .group_count = groups, .publisher_count = publishers};
	f->audience = audience;
	f->pub_adapter = adapter_find(o->pub_proto);
	f->sub_adapter = adapter_find(o->proto);
	if (f->pub_adapter == NULL || f->sub_adapter == NULL) {
		fprintf(stderr, "millrace-bench: a protocol is resp2, resp3, line or nats\n");
		return -E_UNKNOWN;
	}
	/* NATS promises each publisher's order and no more. */
	f->any_order = o->any_order || strcmp(o->proto, "nats") == 0;
	f->load = load_create();
	f->groups = mem_zalloc(sizeof(*f->groups) * groups);
	f->publishers = mem_zalloc(sizeof(*f->publishers) * publishers);
	uint64_t slots = 1;
	while (slots < (o->rate > 0 ? (uint64_t)OPEN_LOOP_SLOTS : o->window * 2)) {
		slots *= 2;
	}
	f->slots = mem_alloc(sizeof(*f->slots) * slots);
	for (uint64_t i = 0; i < slots; i++) {
		f->slots[i].number = UINT64_MAX;
	}
	f->slot_mask = slots - 1;
	f->pid = o->pid != 0 ? (int32_t)o->pid : process_listening_on(o->address);
	return open_all(f);
}

static void flow_finish(struct flow *f)
{
	load_destroy(f->load);
	for (uint32_t i = 0; f->groups != NULL && i < f->group_count; i++) {
		checker_destroy(f->groups[i].checker);
		bytes_finish(&f->groups[i].head);
		free(f->groups[i].sequences);
	}
	for (uint32_t i = 0; f->publishers != NULL && i < f->publisher_count; i++) {
		bytes_finish(&f->publishers[i].payload);
	}
	free(f->groups);
	free(f->publishers);
	free(f->slots);
}

/* ---- the scenarios ---- */

static void describe(const struct flow *f, struct report *r, const char *unusual)
{
	const struct options *o = f->options;
	char pace[64] = "saturated";
	if (o->rate > 0) {
		snprintf(pace, sizeof(pace), "%.0f messages/s", o->rate);
	} else if (o->window == 1) {
		snprintf(pace, sizeof(pace), "one at a time");
	}
	snprintf(r->what, sizeof(r->what), "%u → %s%u, %llu B, %s, %s%s", f->publisher_count,
		unusual, f->audience, (unsigned long long)o->size_bytes, o->proto, pace,
		strncmp(o->address, "unix:", 5) == 0 ? ", unix socket" : "");
}

static int run_plain(const struct options *o, const char *verb, uint32_t groups,
	uint32_t publishers, uint32_t audience, const char *unusual)
{
	struct flow f;
	struct report r = {.verb = verb, .unit = "delivery"};
	int status = 2;
	if (flow_init(&f, o, groups, publishers, audience) == OK) {
		describe(&f, &r, unusual);
		measure(&f, &r);
		drain(&f);
		judge(&f, &r);
		if (o->idle > 0) {
			report_figure(&r, "idle", (double)o->idle, "%llu idle subscribers beside",
				(unsigned long long)o->idle);
		}
		status = report_finish(&r, o);
	}
	flow_finish(&f);
	return status;
}

int flow_fan(const struct options *o)
{
	return run_plain(o, "fan", 1, (uint32_t)o->publishers, (uint32_t)o->subscribers, "");
}

int flow_ping(const struct options *o)
{
	struct options one = *o;
	one.window = 1;
	return run_plain(&one, "ping", 1, 1, 1, "");
}

int flow_tenants(const struct options *o)
{
	char unusual[32];
	snprintf(unusual, sizeof(unusual), "%u × ", (unsigned)o->tenants);
	return run_plain(o, "tenants", (uint32_t)o->tenants, (uint32_t)o->publishers,
		(uint32_t)o->subscribers, unusual);
}

/* Whether the server has given up a subscriber that never read: read now what there is. */
static void look_at_stalled(struct flow *f, struct load_conn *stalled)
{
	uint64_t end_ns = load_clock_ns() + SECOND_NS / 2;
	load_mute(stalled, false);
	while (!f->stalled_dropped && load_clock_ns() < end_ns) {
		load_turn(f->load, SECOND_NS / 50);
	}
}

static int run_stalled(struct flow *f)
{
	const struct options *o = f->options;
	struct report before = {.verb = "stall", .unit = "delivery"};
	struct report r = {.verb = "stall", .unit = "delivery"};
	measure(f, &before);
	struct load_conn *stalled = open_subscriber(f, &f->groups[0], o->channel, &stalled_ops, 0);
	if (stalled == NULL || load_await_ready(f->load, READY_TIMEOUT_NS) != OK) {
		return 2;
	}
	load_mute(stalled, true);
	measure(f, &r);
	drain(f);
	look_at_stalled(f, stalled);
	describe(f, &r, "1 stalled + ");
	judge(f, &r);
	double rate_before = (double)before.deliveries / before.seconds;
	double rate = (double)r.deliveries / r.seconds;
	report_figure(&r, "rate_without", rate_before, NULL);
	report_figure(&r, "rate_ratio", rate_before > 0 ? rate / rate_before : 0,
		"%.3f of the rate without the stalled one",
		rate_before > 0 ? rate / rate_before : 0);
	report_figure(&r, "stalled_dropped", f->stalled_dropped ? 1 : 0, "the stalled one was %s",
		f->stalled_dropped ? "dropped" : "kept");
	report_figure(&r, "rss_without_bytes", (double)before.used.rss_bytes, NULL);
	return report_finish(&r, o);
}

int flow_stall(const struct options *o)
{
	struct flow f;
	int status = 2;
	if (flow_init(&f, o, 1, (uint32_t)o->publishers, (uint32_t)o->subscribers) == OK) {
		status = run_stalled(&f);
	}
	flow_finish(&f);
	return status;
}
