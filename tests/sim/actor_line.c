/* Line workers: the ordinary one, and the auditor, who asks for positions before anybody has spoken.
 *
 * `PING t7` comes back as it is once everything before it was handled: so it acknowledges what was said before it.
 */
#include "tests/sim/actor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/protocol/line.h"
#include "engine/replication/command.h"
#include "tests/sim/writer.h"

enum { PINGS_MAX = 64, SAYS_MAX = 256 };
#define MS_NS UINT64_C(1000000)

struct line_actor {
	struct actor base;
	struct writer writer;
	unsigned pings_sent, pings_back; /* `t<n>` */
	unsigned said[SAYS_MAX],
		said_before[PINGS_MAX]; /* ids; how many of them before each ping */
	unsigned said_count, said_acked;
	unsigned lines;
	long listener, hearing;
	bool silent; /* it says PING once and then nothing: it is to be dropped */
	bool told_error, half_closed;
	uint64_t silent_ns;
	/* the auditor */
	bool positions[MODEL_STREAMS][MODEL_WRITERS];
};

static struct line_actor *of(struct actor *client)
{
	return (struct line_actor *)client;
}

static void say_line(struct line_actor *c, const char *text, size_t len)
{
	struct bytes line = {0};
	bytes_append(&line, text, len);
	bytes_append(&line, "\n", 1);
	actor_write(&c->base, bytes_slice(&line));
	bytes_finish(&line);
}

static void ping(struct line_actor *c)
{
	char text[24];
	if (c->pings_sent - c->pings_back == PINGS_MAX) {
		return;
	}
	c->said_before[c->pings_sent % PINGS_MAX] = c->said_count;
	int len = snprintf(text, sizeof(text), "PING t%u", ++c->pings_sent);
	say_line(c, text, (size_t)len);
}

static void opened(struct actor *client)
{
	struct line_actor *c = of(client);
	c->writer.number = client->number;
	c->pings_sent = c->pings_back = c->said_count = c->said_acked = c->lines = 0;
	c->listener = c->hearing = -1;
	c->told_error = c->half_closed = false;
	c->silent = random_one_in(actor_random(client), 8);
	say_line(c, "NAME worker", 11);
	ping(c);
	say_line(c, "REPLICATE ", 10);
	c->silent_ns = actor_now(client);
}

static void say(struct line_actor *c)
{
	struct world *world = c->base.world;
	struct bytes text = {0};
	unsigned id;
	if (c->said_count - c->said_acked == SAYS_MAX) {
		return;
	}
	writer_next_line(&c->writer, world, c->base.connection, &id, &text);
	model_sent(world->model, id, actor_now(&c->base));
	world_note(world, "connection %u says %u: %.*s", c->base.connection, id,
		text.len < 60 ? (int)text.len : 60, text.data);
	say_line(c, text.data, text.len);
	c->said[c->said_count++ % SAYS_MAX] = id;
	world->counts.says++;
	bytes_finish(&text);
}

static void act(struct actor *client)
{
	struct line_actor *c = of(client);
	struct sim_random *random = actor_random(client);
	if (c->silent || c->half_closed) {
		return;
	}
	for (unsigned i = (unsigned)random_skewed(random, 8) + 1; i > 0; i--) {
		unsigned dice = (unsigned)random_below(random, 20);
		if (dice == 0) {
			say_line(c, "REPLICATE ", 10);
		} else if (dice < 4) {
			ping(c);
		} else if (dice == 4) {
			say_line(c, "", 0); /* a blank line is nothing */
		} else {
			say(c);
		}
	}
	if (random_one_in(random, client->sturdy ? 400 : 60)) {
		client->doomed = true;
		if (random_one_in(random, 2)) {
			actor_hang_up(client);
		} else {
			c->half_closed = true;
			link_half_close(client->link);
		}
	}
}

static void finishing(struct actor *client)
{
	struct line_actor *c = of(client);
	if (!c->silent && !c->half_closed) {
		ping(c);
	}
}

/* ---- what it hears ---- */

static void wrong(struct line_actor *c, struct slice line, const char *why)
{
	world_fail(c->base.world, "connection %u (line) heard \"%.*s\": %s", c->base.connection,
		line.len < 100 ? (int)line.len : 100, line.data, why);
}

/* Our own PING comes back, in order. */
static void take_ping(struct line_actor *c, struct slice line)
{
	struct world *world = c->base.world;
	char expected[24];
	if (line.len < 6 || line.data[5] != 't') {
		return; /* the hub's */
	}
	snprintf(expected, sizeof(expected), "PING t%u", c->pings_back + 1);
	if (c->pings_back == c->pings_sent || !slice_equal(line, slice_of(expected))) {
		wrong(c, line, "not the ping that is next");
		return;
	}
	unsigned upto = c->said_before[c->pings_back++ % PINGS_MAX];
	for (; c->said_acked < upto; c->said_acked++) {
		model_acked(world->model, c->said[c->said_acked % SAYS_MAX], actor_now(&c->base));
	}
}

static bool is_about(const struct command *command, unsigned stream, unsigned writer)
{
	char name[16];
	snprintf(name, sizeof(name), "w%u", writer);
	return slice_equal(command->stream, slice_of(model_stream(stream))) &&
	       slice_equal(command->instance, slice_of(name));
}

/* A position is never beyond what was published. The auditor's is what the disk has. */
static void take_position(struct line_actor *c, struct slice line, const struct command *command)
{
	struct world *world = c->base.world;
	for (unsigned s = 0; s < MODEL_STREAMS; s++) {
		for (unsigned w = 0; w < MODEL_WRITERS; w++) {
			if (!is_about(command, s, w)) {
				continue;
			}
			if (command->token > world->ledger.sent[0][s][w]) {
				wrong(c, line, "that was never published");
			}
			int64_t stored;
			if (c->base.kind == actor_audit() &&
				(!world_stored_token(world, s, w, &stored) ||
					stored != command->token || c->positions[s][w])) {
				wrong(c, line, "that is not what was stored");
			}
			c->positions[s][w] = true;
		}
	}
}

static void begin_hearing(struct line_actor *c)
{
	struct model *model = c->base.world->model;
	c->listener = model_listener(model, c->base.connection);
	c->hearing = model_hearing(model, (unsigned)c->listener, HEAR_LINE, CHANNEL_OF_LINES,
		SLICE(""), actor_now(&c->base));
}

static void take_line(struct line_actor *c, struct slice line)
{
	struct command command;
	const char *why = NULL;
	struct world *world = c->base.world;
	int error = command_parse(line, &command, &why);
	world_note(world, "connection %u (line) hears %.*s", c->base.connection,
		line.len < 60 ? (int)line.len : 60, line.data);
	c->lines++;
	if (error != OK || line.len == 0 || !line_is_utf8(line)) {
		wrong(c, line, "a worker would close on it");
	} else if (c->lines == 1) {
		if (slice_equal(line, SLICE("SERVER a.example"))) {
			begin_hearing(c);
		} else if (slice_starts(line, SLICE("ERROR max number of clients"))) {
			c->base.doomed = c->told_error = true;
		} else {
			wrong(c, line, "not the greeting");
		}
	} else if (c->told_error) {
		wrong(c, line, "something after the last word");
	} else if (command.name == CMD_ERROR) {
		c->told_error = true;
		bool timeout = slice_equal(line, SLICE("ERROR ping timeout"));
		if (!(timeout && (c->silent || !c->base.sturdy)) && !world->stopping) {
			wrong(c, line, "for no reason");
		}
	} else if (command.name == CMD_PING) {
		take_ping(c, line);
	} else if (command.name == CMD_RDATA || command.name == CMD_POSITION ||
		   command.name == CMD_REMOTE_SERVER_UP) {
		if (command.name == CMD_POSITION) {
			take_position(c, line, &command);
		}
		model_heard(world->model, (unsigned)c->hearing, CHANNEL_OF_LINES, line);
		world->counts.heard++;
	} else {
		wrong(c, line, "a worker does not take that command");
	}
}

static void received(struct actor *client)
{
	struct line_actor *c = of(client);
	size_t used = 0;
	while (!world_failed(client->world)) {
		const char *begin = client->in.data + used;
		const char *end =
			used == client->in.len ? NULL : memchr(begin, '\n', client->in.len - used);
		if (end == NULL) {
			break;
		}
		take_line(c, (struct slice){begin, (size_t)(end - begin)});
		used += (size_t)(end - begin) + 1;
	}
	bytes_consume(&client->in, used);
}

static void ended(struct actor *client)
{
	struct line_actor *c = of(client);
	struct world *world = client->world;
	bool reason = !client->sturdy || client->doomed || client->refused || c->silent ||
		      world->stopping || !world->up || world->climate.flood;
	if (!reason) {
		world_fail(world, "connection %u (line) was ended without a reason",
			client->connection);
	}
	writer_cut(&c->writer, world, c->said_acked < c->said_count);
	if (c->listener >= 0) {
		model_cut(world->model, (unsigned)c->listener);
	}
}

static void settled(struct actor *client)
{
	struct line_actor *c = of(client);
	if (c->pings_back != c->pings_sent) {
		world_fail(client->world, "connection %u (line): %u pings have not come back",
			client->connection, c->pings_sent - c->pings_back);
	}
	if (c->silent) {
		world_fail(client->world, "connection %u (line) is silent and was not dropped",
			client->connection);
	}
	if (c->half_closed) {
		world_fail(client->world, "connection %u (line) was half-closed and is still open",
			client->connection);
	}
}

static const struct actor_kind line_kind = {"line", sizeof(struct line_actor), LISTENER_LINE,
	opened, act, finishing, received, ended, settled, NULL};

const struct actor_kind *actor_line(void)
{
	return &line_kind;
}

/* ---- the auditor ---- */

static void audit_opened(struct actor *client)
{
	struct line_actor *c = of(client);
	c->pings_sent = c->pings_back = c->said_count = c->said_acked = c->lines = 0;
	c->listener = c->hearing = -1;
	c->told_error = c->half_closed = c->silent = false;
	memset(c->positions, 0, sizeof(c->positions));
	say_line(c, "REPLICATE ", 10);
	ping(c);
}

/* All that is stored was told by now. */
static void audit_received(struct actor *client)
{
	struct line_actor *c = of(client);
	received(client);
	if (c->pings_back == 0 || client->ready) {
		return;
	}
	for (unsigned s = 0; s < MODEL_STREAMS; s++) {
		for (unsigned w = 0; w < MODEL_WRITERS; w++) {
			int64_t token;
			if (world_stored_token(client->world, s, w, &token) &&
				!c->positions[s][w]) {
				world_fail(client->world,
					"after the restart nobody is told of %s w%u %lld",
					model_stream(s), w, (long long)token);
			}
		}
	}
	client->doomed = client->ready = true;
}

static void audit_act(struct actor *client)
{
	(void)client;
}

static const struct actor_kind audit_kind = {"audit", sizeof(struct line_actor), LISTENER_LINE,
	audit_opened, audit_act, NULL, audit_received, ended, settled, NULL};

const struct actor_kind *actor_audit(void)
{
	return &audit_kind;
}
