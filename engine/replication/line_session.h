/* A line connection's manners: greeting, keep-alive, time-outs, in either role.
 *
 * First the session handles its own commands (SERVER, NAME, PING, ERROR), then the shared handler
 * gets the rest. Plain data, embedded in the hub's connection. What it wants to send is appended
 * to `out`, lines with their newlines.
 */
#ifndef MILLRACE_REPLICATION_LINE_SESSION_H
#define MILLRACE_REPLICATION_LINE_SESSION_H

#include "engine/replication/handler.h"

enum line_role { LINE_SERVER, LINE_CLIENT };

enum line_state {
	LINE_OPEN,   /* greeted; commands are taken */
	LINE_CLOSING /* the last word (an ERROR, mostly) is written; nothing is taken any more */
};

struct line_options {
	struct slice server_name;
	uint64_t ping_interval_ns; /* 5 s */
	uint64_t ping_timeout_ns;  /* 25 s after the last valid command, once the peer has PINGed */
};

struct line_session {
	enum line_role role;
	enum line_state state;
	const struct line_options *options;
	struct slice name; /* NAME; owned (malloc), empty at first */
	bool peer_pings;   /* it has sent a PING, so silence means something */
	uint64_t heard_ns, sent_ns;
	uint64_t barrier_owed; /* kept by the hub */
};

/* Start: as a server, SERVER and PING are appended to `out`. */
void line_session_init(struct line_session *session, enum line_role role,
	const struct line_options *options, struct instant now, struct bytes *out);
void line_session_finish(struct line_session *session);

/* One line from the peer. Own commands are answered (the PING barrier: `PING x` for `PING x`);
 * others go to replication_handle(). What parses wrong, or may not be sent, gets its ERROR and
 * the state becomes LINE_CLOSING.
 * errors: -E_SYNTAX, -E_NOT_ALLOWED, -E_GONE (the peer sent ERROR: log `*why`), for the log and
 *         the counters. */
int line_session_line(struct line_session *session, struct replication *replication,
	const struct origin *origin, struct slice line, struct instant now, struct bytes *out,
	const char **why);

/* A line that could not be framed (code of line_parse): the ERROR, and LINE_CLOSING. */
void line_session_bad_frame(struct line_session *session, int code, struct bytes *out);

/* Something was sent besides: a PING is due later. */
void line_session_sent(struct line_session *session, struct instant now);

/* Keep-alive and time-out. Returns the next deadline (mono_ns); after a time-out the state is
 * LINE_CLOSING. */
uint64_t line_session_tick(struct line_session *session, struct instant now, struct bytes *out);

#endif
