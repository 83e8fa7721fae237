/* Those who mean no good: garbage in both protocols, and hogs who ask for much and read nothing.
 *
 * A hostile client sends one thing, perhaps in bits, and then looks. What it is answered must be in the protocol's own form; what no
 * protocol allows must be answered with an error and end the connection, soon.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/protocol/line.h"
#include "engine/replication/command.h"
#include "tests/sim/actor.h"
#include "tests/sim/resp_value.h"

enum { SAID_MAX = 40000, PATIENCE_S = 30 };
#define S_NS UINT64_C(1000000000)

struct hostile {
	struct actor base;
	bool fatal;       /* what it said must end the connection */
	bool error, said; /* it was told an error; it has said its piece */
	bool told_something;
	bool quiet; /* an end without a word is right, too */
	uint64_t said_ns;
};

struct nasty {
	const char *bytes;
	size_t len;
	bool fatal, quiet;
};
#define NASTY(text, fatal, quiet)                                                                  \
	{                                                                                          \
		(text), sizeof(text) - 1, (fatal), (quiet)                                         \
	}

static const struct nasty resp_nasties[] = {
	NASTY("*-1\r\n", false, false),
	NASTY("*0\r\n", false, false),
	NASTY("*1\r\n$-5\r\n", true, false),
	NASTY("*1\r\n$abc\r\n", true, false),
	NASTY("*99999999999\r\n", true, false),
	NASTY("*2147483648\r\n", true, false),
	NASTY("*1\r\n:5\r\n", true, false),
	NASTY("*1\r\n$600000000\r\n", true, false),
	NASTY("*x\r\n", true, false),
	NASTY("$5\r\nhello\r\n", false, false),
	NASTY("\0\0\0\r\n", false, false),
	NASTY("\xff\xfe\r\n", false, false),
	NASTY("SET \"unbalanced\r\n", true, false),
	NASTY("POST / HTTP/1.1\r\nHost: x\r\n\r\n", true, true),
	NASTY("SET\r\n", false, false),
	NASTY("PUBLISH a.example\r\n", false, false),
	NASTY("HELLO 9\r\n", false, false),
	NASTY("SUBSCRIBE\r\n", false, false),
	NASTY("EXEC\r\nDISCARD\r\nMULTI\r\nMULTI\r\nSUBSCRIBE a.example\r\nEXEC\r\n", false, false),
	NASTY("*3\r\n$7\r\nPUBLISH\r\n$9\r\na.exa", false, false),
	NASTY("PUBLISH a.example \"RDATA\"\r\nPUBLISH a.example \"POSITION a b c d e\"\r\n", false,
		false),
	NASTY("PUBLISH \"\" \"\"\r\nPUBLISH / x\r\nSUBSCRIBE \"\" / // \"a b\"\r\n", false, false),
	NASTY("HELLO 3\r\nSUBSCRIBE z\r\nHELLO 2\r\nHELLO 3\r\nRESET\r\nPING\r\n", false, false),
	NASTY("SUBSCRIBE z\r\nGET k\r\nSET k v\r\nUNSUBSCRIBE\r\nGET k\r\n", false, false),
	NASTY("CONFIG SET appendfsync sometimes\r\nCONFIG SET\r\nCLIENT KILL ID 999999\r\n", false,
		false),
	NASTY("OBJECT\r\nXADD s * a b\r\nEVAL 1 0\r\nDEBUG SEGFAULT\r\nSHUTDOWN NOSAVE NOW x\r\n",
		false, false),
};

static const struct nasty line_nasties[] = {
	NASTY("\n\n\n", false, false),
	NASTY("BOGUS\n", true, false),
	NASTY("\xff\xfe\n", true, true),
	NASTY("RDATA events w1 5\n", true, false),
	NASTY("RDATA events\n", true, false),
	NASTY("POSITION events w1 x\n", true, false),
	NASTY("USER_SYNC\n", true, false),
	NASTY("USER_SYNC a b c d e f g\n", true, false),
	NASTY("SERVER other\n", true, false),
	NASTY("LOCK_RELEASED [\"w\"]\n", false, false),
	NASTY("FEDERATION_ACK a b\n", true, false),
	NASTY("ERROR oh no\n", false, false),
	NASTY("PING\nPING\nNAME\nNAME x\nREPLICATE\n", false, false),
	NASTY("REPLICA", false, false),
	NASTY("NAME a\0b\n", false, true),
	NASTY("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, false),
};

static struct hostile *of(struct actor *client)
{
	return (struct hostile *)client;
}

static void opened(struct actor *client)
{
	struct hostile *h = of(client);
	client->sturdy = false;
	client->read_every_ns = 0;
	h->fatal = h->error = h->said = h->quiet = h->told_something = false;
}

static void say_piece(struct hostile *h, const struct nasty *nasty)
{
	actor_write(&h->base, (struct slice){nasty->bytes, nasty->len});
	h->fatal = nasty->fatal;
	h->quiet = nasty->quiet;
	world_note(h->base.world, "connection %u is nasty: %.*s", h->base.connection,
		(int)nasty->len, nasty->bytes);
}

/* Bytes of no meaning, or far too many of one. */
static void say_noise(struct hostile *h, bool line)
{
	struct sim_random *random = actor_random(&h->base);
	struct bytes noise = {0};
	bool one = random_one_in(random, 2);
	size_t len = one ? 1 + random_below(random, 2 * SAID_MAX) : random_skewed(random, SAID_MAX);
	char *room = bytes_reserve(&noise, len + 1);
	for (size_t i = 0; i < len; i++) {
		room[i] = one ? 'x' : (char)random_next(random);
	}
	noise.len = len;
	actor_write(&h->base, bytes_slice(&noise));
	bytes_finish(&noise);
	h->fatal = one && len > (line ? 16384 + 16 : 64 * 1024 + 16);
	h->quiet = !one;
	world_note(h->base.world, "connection %u makes noise, %zu bytes", h->base.connection, len);
}

static void act_as(struct hostile *h, const struct nasty *nasties, size_t count, bool line)
{
	struct sim_random *random = actor_random(&h->base);
	if (h->said) {
		if (actor_now(&h->base) > h->said_ns + PATIENCE_S / 3 * S_NS ||
			random_one_in(random, 20)) {
			if (!h->fatal) {
				actor_hang_up(&h->base);
			}
		}
		return;
	}
	h->said = true;
	h->said_ns = actor_now(&h->base);
	if (random_one_in(random, 4)) {
		say_noise(h, line);
	} else {
		say_piece(h, &nasties[random_below(random, count)]);
	}
}

static void act_resp(struct actor *client)
{
	act_as(of(client), resp_nasties, sizeof(resp_nasties) / sizeof(resp_nasties[0]), false);
}

static void act_line(struct actor *client)
{
	act_as(of(client), line_nasties, sizeof(line_nasties) / sizeof(line_nasties[0]), true);
}

static void finishing(struct actor *client)
{
	struct hostile *h = of(client);
	if (h->said && h->fatal && actor_now(client) > h->said_ns + PATIENCE_S * S_NS) {
		world_fail(
			client->world, "hostile connection %u is still open", client->connection);
	}
}

static void received_resp(struct actor *client)
{
	struct hostile *h = of(client);
	size_t used = 0;
	while (used < client->in.len) {
		struct value value;
		long len = value_parse(
			(struct slice){client->in.data + used, client->in.len - used}, &value);
		if (len < 0) {
			world_fail(client->world, "hostile connection %u got what is no RESP: %.*s",
				client->connection,
				(int)(client->in.len - used < 80 ? client->in.len - used : 80),
				client->in.data + used);
		}
		if (len <= 0) {
			break;
		}
		h->error = value.type == '-';
		h->told_something = true;
		value_finish(&value);
		used += (size_t)len;
	}
	bytes_consume(&client->in, used);
}

static void received_line(struct actor *client)
{
	struct hostile *h = of(client);
	for (;;) {
		struct slice rest = bytes_slice(&client->in);
		const char *end = rest.len == 0 ? NULL : memchr(rest.data, '\n', rest.len);
		if (end == NULL) {
			return;
		}
		struct slice line = {rest.data, (size_t)(end - rest.data)};
		struct command command;
		const char *why;
		if (command_parse(line, &command, &why) != OK || !line_is_utf8(line) ||
			command.name == CMD_UNKNOWN) {
			world_fail(client->world, "hostile connection %u (line) got \"%.*s\"",
				client->connection, SLICE_ARG(line));
		}
		h->error = command.name == CMD_ERROR;
		h->told_something = true;
		bytes_consume(&client->in, line.len + 1);
	}
}

static void ended(struct actor *client)
{
	struct hostile *h = of(client);
	struct world *world = client->world;
	bool ours = client->doomed || client->refused || world->stopping || !world->up;
	bool weather = link_state(client->link) == LINK_BROKEN || client->weather.stalls > 0;
	if (ours || !h->said || h->quiet || weather) {
		return;
	}
	if (!h->error) {
		world_fail(world, "hostile connection %u was ended without an error",
			client->connection);
	}
}

static void settled(struct actor *client)
{
	struct hostile *h = of(client);
	if (h->fatal) {
		world_fail(client->world, "hostile connection %u is open after everything",
			client->connection);
	}
}

static const struct actor_kind resp_kind = {"hostile-resp", sizeof(struct hostile), LISTENER_RESP,
	opened, act_resp, finishing, received_resp, ended, settled, NULL};
static const struct actor_kind line_kind = {"hostile-line", sizeof(struct hostile), LISTENER_LINE,
	opened, act_line, finishing, received_line, ended, settled, NULL};

const struct actor_kind *actor_hostile_resp(void)
{
	return &resp_kind;
}

const struct actor_kind *actor_hostile_line(void)
{
	return &line_kind;
}

/* ---- hogs ---- */

static void hog_opened(struct actor *client)
{
	opened(client);
	client->read_every_ns = UINT64_MAX;
}

static void hog_act(struct actor *client)
{
	struct sim_random *random = actor_random(client);
	struct bytes out = {0};
	switch (random_below(random, 5)) {
	case 0: { /* a large value, again and again */
		size_t len = 1 + random_below(random, 8000);
		bytes_printf(&out, "*3\r\n$3\r\nSET\r\n$3\r\nhog\r\n$%zu\r\n", len);
		memset(bytes_reserve(&out, len), 'h', len);
		out.len += len;
		bytes_append_string(&out, "\r\n");
		for (unsigned i = 0; i < 100; i++) {
			bytes_append_string(&out, "GET hog\r\n");
		}
		break;
	}
	case 1: /* everything that anybody says */
		bytes_append_string(&out, "HELLO 3\r\nPSUBSCRIBE * ?* [a-z]* *e* *x\r\n");
		break;
	case 2: /* many channels */
		for (unsigned i = 0; i < 300; i++) {
			bytes_printf(&out, "SUBSCRIBE hog/%llu\r\n",
				(unsigned long long)random_below(random, 2000));
		}
		break;
	case 3: /* a change of what it hears after each message */
		bytes_append_string(&out, "HELLO 3\r\n");
		for (unsigned i = 0; i < 100; i++) {
			bytes_printf(&out, "PUBLISH hog/1 m\r\nSUBSCRIBE hog/1 hog/%u\r\n", i);
		}
		break;
	default: /* a request that never ends */
		bytes_append_string(&out, "*3\r\n$3\r\nSET\r\n$3\r\nhog\r\n$8000\r\n");
		memset(bytes_reserve(&out, 7999), 'h', 7999);
		out.len += random_below(random, 7999);
	}
	actor_write(client, bytes_slice(&out));
	bytes_finish(&out);
	if (random_one_in(random, 200)) {
		actor_hang_up(client);
	}
}

static void hog_received(struct actor *client)
{
	bytes_clear(&client->in);
}

static void hog_ended(struct actor *client)
{
	client->world->counts.drops += !client->doomed;
}

static void hog_settled(struct actor *client)
{
	(void)client;
}

static const struct actor_kind hog_kind = {"hog", sizeof(struct hostile), LISTENER_RESP, hog_opened,
	hog_act, NULL, hog_received, hog_ended, hog_settled, NULL};

const struct actor_kind *actor_hog(void)
{
	return &hog_kind;
}
