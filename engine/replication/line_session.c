/* A line connection's manners.
 *
 * Called by the hub with each line, each tick, and what else was sent. Calls the shared handler
 * for everything that is not its own. Own are SERVER, NAME, PING and ERROR; the handler never
 * sees them.
 *
 *     init ─▶ OPEN ──bad line, forbidden command, silence, wrong server──▶ CLOSING
 *
 * Neither side waits for the other's greeting: REPLICATE may come before NAME, and a peer that
 * never says NAME or PING, a netcat for one, is served as well, and never timed out.
 *
 * An ERROR that we send names what was wrong and the command's word, never the line: a line may
 * hold an access token (USER_IP), and the peer has it anyway. An ERROR that we receive may quote
 * one, so its text is shown in the log only where it does not speak of USER_IP.
 *
 * source: synapse/replication/tcp/protocol.py (v1.15, v1.66): PING_TIME 5000,
 *         PING_TIMEOUT_MULTIPLIER 5, the words of its send_error().
 */
#include "engine/replication/line_session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"

enum { NAME_SHOWN_MAX = 128, WORD_SHOWN_MAX = 64 };

static void send_ping(struct line_session *s, struct instant now, struct bytes *out)
{
	bytes_append_string(out, "PING ");
	bytes_append_i64(out, now.wall_ms);
	bytes_append(out, "\n", 1);
	s->sent_ns = now.mono_ns;
}

void line_session_init(struct line_session *s, enum line_role role,
	const struct line_options *options, struct instant now, struct bytes *out)
{
	*s = (struct line_session){
		.role = role,
		.state = LINE_OPEN,
		.options = options,
		.heard_ns = now.mono_ns,
		.sent_ns = now.mono_ns,
	};
	if (role == LINE_SERVER) {
		bytes_append_string(out, "SERVER ");
		bytes_append_slice(out, options->server_name);
		bytes_append(out, "\n", 1);
		send_ping(s, now, out);
	}
}

void line_session_finish(struct line_session *s)
{
	free((char *)s->name.data);
	s->name = (struct slice){NULL, 0};
}

/* The last words. Returns `code`, for the caller to return. */
static int say_error(
	struct line_session *s, int code, struct bytes *out, const char *text, struct slice detail)
{
	assert(s->state == LINE_OPEN);
	bytes_append_string(out, "ERROR ");
	bytes_append_string(out, text);
	bytes_append_slice(out, detail);
	bytes_append(out, "\n", 1);
	s->state = LINE_CLOSING;
	return code;
}

/* At most `max` bytes, cut between two characters. */
static struct slice shortened(struct slice s, size_t max)
{
	if (s.len > max) {
		s.len = max;
		while (s.len > 0 && ((unsigned char)s.data[s.len] & 0xc0) == 0x80) {
			s.len--;
		}
	}
	return s;
}

static int invalid_command(
	struct line_session *s, const struct command *c, struct bytes *out, const char **why)
{
	*why = c->name == CMD_UNKNOWN ? "nobody knows that command"
				      : "this side may not send that command";
	return say_error(
		s, -E_NOT_ALLOWED, out, "invalid command: ", shortened(c->word, WORD_SHOWN_MAX));
}

static int on_server(
	struct line_session *s, const struct command *c, struct bytes *out, const char **why)
{
	if (s->role == LINE_SERVER) {
		return invalid_command(s, c, out, why);
	}
	if (!slice_equal(c->rest, s->options->server_name)) {
		*why = "the other end serves another homeserver";
		return say_error(s, -E_NOT_ALLOWED, out, "Wrong remote", (struct slice){NULL, 0});
	}
	return OK;
}

static int on_name(struct line_session *s, const struct command *c)
{
	struct slice name = shortened(c->rest, NAME_SHOWN_MAX);
	free((char *)s->name.data);
	s->name = (struct slice){slice_dup(name), name.len};
	return OK;
}

/* The barrier: what came before on this connection is handled, so the same words back say as
 * much. The hub holds `out` back until the disk has it, where that was asked for. A main gets no
 * echo: it would be one more PING to it. */
static int on_ping(
	struct line_session *s, const struct command *c, struct instant now, struct bytes *out)
{
	s->peer_pings = true;
	if (s->role == LINE_SERVER) {
		bytes_append_slice(out, c->line);
		bytes_append(out, "\n", 1);
		s->sent_ns = now.mono_ns;
	}
	return OK;
}

static bool mentions(struct slice text, struct slice word)
{
	return text.len > 0 && memmem(text.data, text.len, word.data, word.len) != NULL;
}

static int on_error(const struct command *c, const char **why)
{
	*why = mentions(c->rest, SLICE("USER_IP"))
		       ? "ERROR about a USER_IP line, which is not shown"
		       : JQ(c->rest);
	return -E_GONE;
}

static int to_handler(struct line_session *s, struct replication *replication,
	const struct origin *origin, const struct command *c, struct instant now, struct bytes *out,
	const char **why)
{
	int64_t receivers = 0;
	size_t before = out->len;
	int result = replication_handle(
		replication, origin, (struct slice){NULL, 0}, c, now, out, &receivers, why);
	if (out->len > before) {
		s->sent_ns = now.mono_ns;
	}
	if (result == -E_SYNTAX) {
		return say_error(s, result, out, "failed to parse line: ", slice_of(*why));
	}
	if (result == -E_NOT_ALLOWED) {
		return invalid_command(s, c, out, why);
	}
	/* A limit of ours is no fault of the peer's; the handler has counted and logged it. */
	*why = NULL;
	return OK;
}

int line_session_line(struct line_session *s, struct replication *replication,
	const struct origin *origin, struct slice line, struct instant now, struct bytes *out,
	const char **why)
{
	*why = NULL;
	if (s->state == LINE_CLOSING) {
		return OK;
	}
	struct command c;
	int result = command_parse(line, &c, why);
	if (result == OK) {
		s->heard_ns = now.mono_ns;
	}
	bool own = result == OK && (c.name == CMD_SERVER || c.name == CMD_NAME ||
					   c.name == CMD_PING || c.name == CMD_ERROR);
	if (!own) {
		return to_handler(s, replication, origin, &c, now, out, why);
	}
	replication_count(replication, c.name);
	switch (c.name) {
	case CMD_SERVER:
		return on_server(s, &c, out, why);
	case CMD_NAME:
		return s->role == LINE_SERVER ? on_name(s, &c) : invalid_command(s, &c, out, why);
	case CMD_PING:
		return on_ping(s, &c, now, out);
	default:
		return on_error(&c, why);
	}
}

void line_session_bad_frame(struct line_session *s, int code, struct bytes *out)
{
	if (s->state == LINE_OPEN) {
		const char *text = code == -E_TOO_LONG ? "Line length exceeded"
						       : "failed to parse line: it is not UTF-8";
		say_error(s, code, out, text, (struct slice){NULL, 0});
	}
}

void line_session_sent(struct line_session *s, struct instant now)
{
	s->sent_ns = now.mono_ns;
}

uint64_t line_session_tick(struct line_session *s, struct instant now, struct bytes *out)
{
	if (s->state == LINE_CLOSING) {
		return UINT64_MAX;
	}
	uint64_t silent_at = UINT64_MAX;
	if (s->peer_pings) {
		silent_at = s->heard_ns + s->options->ping_timeout_ns;
		if (now.mono_ns > silent_at) {
			say_error(s, -E_TIMEOUT, out, "ping timeout", (struct slice){NULL, 0});
			return UINT64_MAX;
		}
		silent_at++;
	}
	if (now.mono_ns >= s->sent_ns + s->options->ping_interval_ns) {
		send_ping(s, now, out);
	}
	uint64_t ping_at = s->sent_ns + s->options->ping_interval_ns;
	return ping_at < silent_at ? ping_at : silent_at;
}
