/* A connection: its states, its full name, its limits, and the way of its bytes in and out.
 *
 * In:   RING_RECEIVED ─▶ frames (resp.c | line.c) ─▶ verbs (redis/) | session (replication/)
 * Out:  outbox_next ─▶ ring_send ─▶ RING_SENT ─▶ outbox_sent ─▶ outbox_next …, one send in flight
 *
 * Which of two protocols it speaks follows from the listener it came in by. A connection is plain data in its shard.
 */
#ifndef MILLRACE_HUB_CONN_H
#define MILLRACE_HUB_CONN_H

#include "engine/fanout/outbox.h"
#include "engine/hub/shard.h"
#include "engine/protocol/line.h"
#include "engine/protocol/resp.h"
#include "engine/redis/client.h"
#include "engine/replication/line_session.h"

enum conn_transport { CONN_RESP, CONN_LINE };

enum conn_state {
	CONN_OPEN, /* takes commands; at most one send and one receive are in flight */
	CONN_MOVING, /* takes nothing, and is on its way to its tenant's shard; what comes in is kept */
	CONN_LAST_WORDS, /* takes nothing more; closes when all it is owed now has been sent */
	CONN_CLOSING,    /* ring_close() was called; RING_CLOSED will come, and frees it */
	CONN_STATES
};

/* Why a connection ended: for the log, and counted. */
enum conn_end {
	END_PEER,     /* the peer closed */
	END_QUIT,     /* it asked for it */
	END_BROKEN,   /* an error of the network */
	END_PROTOCOL, /* bytes that no protocol allows */
	END_OUTPUT,   /* client-output-buffer-limit */
	END_INPUT,    /* client-query-buffer-limit */
	END_IDLE,     /* timeout */
	END_SILENT,   /* line: ping time-out */
	END_KILLED,   /* CLIENT KILL */
	END_SHUTDOWN,
	CONN_ENDS
};

struct conn_resp {
	struct resp_parser parser;
	struct client client;
};

struct conn_line {
	struct line_parser parser;
	struct line_session session;
	struct tenant *tenant;
};

struct conn {
	struct ring_socket socket;
	struct shard *shard;
	uint64_t id; /* never reused */
	enum conn_transport transport;
	enum conn_state state;
	enum conn_end end;
	bool settled;  /* it is where it belongs, or was asked once */
	bool released; /* MOVING: the ring was asked for its descriptor */
	bool moved; /* its descriptor came while it stood in the ready list: the shard hands it over */
	bool not_lent;      /* a channel that it asked another shard for was refused */
	unsigned target;    /* MOVING: the shard that it goes to */
	int fd;             /* moved: its descriptor */
	unsigned waiting;   /* for so many channels of other shards; takes no command meanwhile */
	uint64_t spoken_to; /* the shards that it published to, a bit each */
	bool in_ready, in_held; /* stands in the shard's list of that name */
	bool in_paused;         /* not read from: the logs are full */
	bool freed; /* RING_CLOSED came while it stood in the ready list: the shard frees it */
	struct conn *next_ready, *next_held, *next_paused;
	struct outbox out;
	struct bytes in;       /* a request or line that is not complete */
	uint64_t saved_number; /* the batch that what it changed last is in (appendfsync always) */
	uint64_t opened_ns, heard_ns;
	uint64_t over_soft_since_ns; /* of client-output-buffer-limit; 0: not over it */
	struct wheel_timer timer;
	char *name; /* its full name, made when first asked for */
	union {
		struct conn_resp resp;
		struct conn_line line;
	};
};

/* A connection that was accepted by that listener. It is closed at once when maxclients is reached. */
void conn_accepted(struct shard *shard, struct ring_socket socket, enum listener listener);

/* The events of its socket. */
void conn_received(struct conn *conn, struct slice data);
void conn_eof(struct conn *conn, int error);
void conn_sent(struct conn *conn, int error, size_t len);
void conn_closed(struct conn *conn); /* frees it, or leaves that to the shard: `freed` */
void conn_free(struct conn *conn);

/* Moving to another shard: the ring has let go of its descriptor; it arrives at its new shard. */
void conn_released(struct conn *conn, int fd);
void conn_depart(struct conn *conn);
void conn_arrived(struct shard *shard, struct conn *conn, int fd);

/* What it waited for is there: it goes on with the commands that have come meanwhile. */
void conn_continue(struct conn *conn);

/* Put what was written to shard->reply in the connection's order now, before something else gets a place. */
void conn_take_reply(struct conn *conn);

/* The open connection of that number, NULL if there is none. */
struct conn *conn_find(struct shard *shard, uint64_t id);

/* It may have something to send: it will be flushed before the turn ends. */
void conn_ready(struct outbox *outbox);
/* Give the ring the next stretch, if none is in flight. */
void conn_flush(struct conn *conn);

/* Stop taking commands, send what is owed, close. */
void conn_last_words(struct conn *conn, enum conn_end end);
/* Close now. */
void conn_close(struct conn *conn, enum conn_end end);

/* Say good-bye in the protocol's own words, where it has some. */
void conn_tell_shutdown(struct conn *conn);

/* Have its idle time watched as the directive `timeout` says now. */
void conn_watch_idle(struct conn *conn);

/* client-output-buffer-limit; true if it was closed for it. */
bool conn_check_limits(struct conn *conn, uint64_t now_ns);

/* Read from it again, if it was paused because the logs were full. */
void conn_resume(struct conn *conn);

/* "resp worker1 unix:/run/x.sock pid=4711 #12": transport, name, address, id; lives as long as the connection, or until it
 * is renamed. Valid in every state. */
struct slice conn_full_name(struct conn *conn);
void conn_renamed(struct conn *conn);

/* What it said is announced when it is durable (appendfsync always): what it is answered from now on waits as long. */
void conn_wait_for_disk(struct conn *conn);

/* Who speaks, for the handler. */
struct origin conn_origin(struct conn *conn);

struct conn *conn_of_client(struct client *client);
struct conn *conn_of_outbox(struct outbox *outbox);
enum encoding conn_encoding(const struct conn *conn);

#endif
