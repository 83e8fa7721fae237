/* Whatever publishers and line clients say, in any order: what reaches a line worker is
 * well-formed and allowed, batches come out whole, what is sent on a line is lines, and memory
 * stays within the limits.
 *
 * Each line of the input is a step; its first byte chooses what happens, its second which of
 * eight connections:
 *     p1<payload>  PUBLISH on the tenant's own channel     q1<payload>  on another one
 *     l1<line>     a line from a client of the listener    m1<line>     from a main of ours
 *     w1<line>     from a client that may write            d1           the connection ends
 *     t1<digits>   milliseconds pass                       c            changes are collected
 * "\n" inside a payload is written as 0x01, so that payloads may have newlines.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/protocol/line.h"
#include "engine/replication/line_session.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { CONNECTIONS = 8 };

struct world {
	struct replication *r;
	struct line_session sessions[CONNECTIONS];
	bool open[CONNECTIONS];
	uint64_t numbers[CONNECTIONS], next_number;
	struct instant now;
	struct bytes out;
	bool in_batch;
	struct entry pending; /* the batch row before: whose batch it is */
};

static const struct replication_limits limits = {
	.streams_max = 6,
	.instances_max = 4,
	.positions_max = 10,
	.user_syncs_max = 6,
	.batch_rows_max = 5,
	.batch_bytes_max = 2000,
	.batch_age_max_ns = 10000000000u,
	.user_sync_expiry_ns = 300000000000u,
};

static const struct line_options options = {
	.server_name = {"example.com", 11},
	.ping_interval_ns = 5000000000u,
	.ping_timeout_ns = 25000000000u,
};

/* What a line worker would be sent, and would close on if it were otherwise. */
static void check_for_lines(struct world *w, const struct entry *e)
{
	struct command c;
	const char *why;
	assert(e->line.len > 0 && e->line.len <= COMMAND_LINE_MAX);
	assert(memchr(e->line.data, '\n', e->line.len) == NULL && line_is_utf8(e->line));
	assert(command_parse(e->line, &c, &why) == OK && c.name == e->name);
	assert(command_goes_to_worker(c.name) && c.name != CMD_SERVER && c.name != CMD_PING);
	assert(e->channel.len == 0);
	if (e->stream == 0) {
		return; /* nobody's: a limit */
	}
	if (w->in_batch) {
		assert(c.name == CMD_RDATA && e->stream == w->pending.stream);
		assert(e->instance == w->pending.instance && e->token == w->pending.token);
	}
	w->in_batch = c.name == CMD_RDATA && c.batch;
	w->pending = *e;
	assert(c.name != CMD_RDATA || c.batch || c.token == e->token);
}

static int64_t append(void *context, const struct entry *entries, unsigned count)
{
	struct world *w = context;
	assert(count > 0 && count <= limits.batch_rows_max + 2);
	for (unsigned i = 0; i < count; i++) {
		assert(entries[i].audience >= TO_RESP && entries[i].audience <= TO_ALL);
		if (entries[i].audience & TO_LINE) {
			check_for_lines(w, &entries[i]);
		}
	}
	assert(!w->in_batch);
	return 3;
}

static const struct replication_ops ops = {.append = append};

static void publish(struct world *w, unsigned n, struct slice channel, struct slice payload)
{
	struct origin origin = {
		.direction = FROM_WRITER, .connection = w->numbers[n], .full_name = SLICE("x")};
	struct command c;
	const char *why;
	int64_t receivers = -1;
	command_parse(payload, &c, &why);
	int err = replication_handle(w->r, &origin, channel, &c, w->now, NULL, &receivers, &why);
	assert(err == OK && receivers >= 0);
}

static void say(
	struct world *w, unsigned n, enum direction direction, bool writer, struct slice line)
{
	static const struct line_writers writers = {.any = true};
	struct line_session *s = &w->sessions[n];
	enum line_role role = direction == FROM_MAIN ? LINE_CLIENT : LINE_SERVER;
	if (line.len == 0 || memchr(line.data, '\n', line.len) != NULL || !line_is_utf8(line)) {
		return; /* the framing lets no such line through */
	}
	if (!w->open[n]) {
		line_session_init(s, role, &options, w->now, &w->out);
		w->open[n] = true;
	}
	if (s->role != role) {
		return;
	}
	struct origin origin = {.direction = direction,
		.connection = w->numbers[n],
		.full_name = SLICE("x"),
		.may_write = writer,
		.writers = writer ? &writers : NULL};
	const char *why;
	bool closing = s->state == LINE_CLOSING;
	size_t before = w->out.len;
	int err = line_session_line(s, w->r, &origin, line, w->now, &w->out, &why);
	assert(!closing || (err == OK && w->out.len == before));
	assert(err == OK || err == -E_GONE || s->state == LINE_CLOSING);
}

static void disconnect(struct world *w, unsigned n)
{
	replication_disconnected(w->r, w->numbers[n], w->now);
	w->numbers[n] = w->next_number++;
	if (w->open[n]) {
		line_session_finish(&w->sessions[n]);
		w->open[n] = false;
	}
}

static void pass(struct world *w, struct slice digits)
{
	int64_t ms = 0;
	if (digits.len > 7 || slice_to_i64(digits, &ms) != OK || ms < 0) {
		ms = 1000;
	}
	w->now.mono_ns += (uint64_t)ms * 1000000;
	w->now.wall_ms += ms;
	assert(replication_tick(w->r, w->now) > w->now.mono_ns);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (w->open[i]) {
			assert(line_session_tick(&w->sessions[i], w->now, &w->out) >
				w->now.mono_ns);
		}
	}
}

static void collect(struct world *w)
{
	struct store_batch *batch = store_batch_create();
	unsigned rows = replication_collect(w->r, batch);
	assert(rows <= store_batch_count(batch) && !replication_dirty(w->r));
	store_batch_destroy(batch);
}

static void step(struct world *w, struct slice line)
{
	unsigned n = line.len > 1 ? (unsigned char)line.data[1] % CONNECTIONS : 0;
	struct slice rest = line.len > 2 ? (struct slice){line.data + 2, line.len - 2} : SLICE("");
	switch (line.data[0]) {
	case 'p':
		publish(w, n, SLICE("example.com"), rest);
		break;
	case 'q':
		publish(w, n, SLICE("example.com/USER_IP"), rest);
		break;
	case 'l':
		say(w, n, FROM_WORKER, false, rest);
		break;
	case 'w':
		say(w, n, FROM_WORKER, true, rest);
		break;
	case 'm':
		say(w, n, FROM_MAIN, false, rest);
		break;
	case 'd':
		disconnect(w, n);
		break;
	case 't':
		pass(w, rest);
		break;
	case 'c':
		collect(w);
		break;
	default:
		break;
	}
}

static void check_limits(struct world *w)
{
	const struct replication_stats *s = replication_stats(w->r);
	assert(s->positions <= limits.positions_max && s->users_syncing <= limits.user_syncs_max);
	assert(s->instances <= limits.user_syncs_max);
	assert(s->batch_bytes <= limits.batch_bytes_max);
	assert(s->batch_rows <= limits.batch_rows_max * limits.positions_max);
}

/* What was sent on lines is lines. */
static void check_sent(struct world *w)
{
	struct slice rest = bytes_slice(&w->out);
	assert(rest.len == 0 || rest.data[rest.len - 1] == '\n');
	assert(line_is_utf8(rest));
	while (rest.len > 0) {
		struct slice line = slice_cut(&rest, '\n');
		struct command c;
		const char *why;
		assert(line.len > 0);
		command_parse(line, &c, &why);
		assert(c.name == CMD_SERVER || c.name == CMD_PING || c.name == CMD_ERROR ||
			c.name == CMD_POSITION);
	}
	bytes_clear(&w->out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	journal_init(JOURNAL_WARNING, -1);
	struct world w = {.next_number = CONNECTIONS + 1,
		.now = {.mono_ns = 1000000000u, .wall_ms = 1700000000000}};
	w.r = replication_create(SLICE("example.com"), &limits, &ops, &w);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		w.numbers[i] = i + 1;
	}
	char *copy = malloc(size + 1);
	struct slice rest = {copy, size};
	memcpy(copy, data, size);
	while (rest.len > 0) {
		struct slice line = slice_cut(&rest, '\n');
		for (size_t i = 0; i < line.len; i++) {
			char *byte = copy + (line.data - copy) + i;
			*byte = *byte == 1 ? '\n' : *byte;
		}
		if (line.len > 0) {
			step(&w, line);
			check_limits(&w);
			check_sent(&w);
		}
	}
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (w.open[i]) {
			line_session_finish(&w.sessions[i]);
		}
	}
	replication_destroy(w.r);
	bytes_finish(&w.out);
	free(copy);
	return 0;
}
