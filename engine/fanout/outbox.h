/* What a connection is owed next: its own replies, and stretches of logs, in the right order.
 *
 * A subscriber is a cursor: it has no queue and no copy of its own. `struct outbox` holds a connection's cursors (one for each
 * tenant that it listens to), its own reply bytes, and, only while a reply or a change of subscriptions stands between
 * pieces of a log, the order of them:
 *
 *     owed:  log of cursor a up to 1200 │ 35 reply bytes │ log of a up to 1900 under the old filter │ …
 *     then:  every cursor that is behind, up to what its view has seen
 *
 * One stretch is in flight at a time: outbox_next() says what to send, outbox_sent() that it is gone. Until then the segments are
 * pinned and the reply bytes stay where they are. A cursor is either at its view's tail, in the view's list of those who
 * wait, or behind, in its outbox's list. Plain data; belongs to one shard.
 */
#ifndef MILLRACE_FANOUT_OUTBOX_H
#define MILLRACE_FANOUT_OUTBOX_H

#include <sys/uio.h>

#include "engine/fanout/filter.h"
#include "engine/fanout/log.h"

struct fanout;
struct outbox;
struct owed;
struct chunk;
struct subscription; /* of pattern.c */

/* A place in a log's segment. */
struct place {
	struct log_segment *segment;
	uint64_t offset; /* of the log */
	uint32_t run;    /* where to start looking for the run that `offset` lies in */
};

struct cursor {
	struct outbox *outbox;
	struct log_view *view;
	struct fanout *fanout; /* whose log it is; only handed on */
	struct filter *filter;
	struct place at;               /* up to here all is sent */
	struct cursor *next_of_outbox; /* all cursors of a connection */
	struct cursor *next, *prev;    /* in view->waiting, or in outbox->behind */
	bool behind;
	bool retired; /* hears nothing more; freed once what it is owed is sent */
};

enum flight { FLIGHT_NONE, FLIGHT_REPLY, FLIGHT_LOG };

struct outbox {
	struct cursor *cursors;
	struct cursor *behind;      /* list; the first is served next */
	struct chunk *first, *last; /* reply bytes */
	size_t reply_bytes;         /* in the chunks, in flight included */
	struct owed *owed;          /* a ring of them */
	uint32_t owed_first, owed_count, owed_cap;
	uint32_t chunk_sent;  /* bytes of the first chunk that are gone */
	size_t filters_bytes; /* of old filters that only the owed stretches still need */
	enum flight flight;
	struct cursor *flight_cursor;
	struct place flight_end;
	size_t flight_bytes;
	struct subscription *subscriptions; /* by glob; pattern.c's */
	uint64_t promises;                  /* so far */
	uint64_t connection;                /* for messages that are not for it */
	/* A cursor left a segment, or ended: what it pinned may be free. NULL is fine. */
	void (*moved)(struct cursor *cursor);
};

void outbox_init(struct outbox *outbox, uint64_t connection);
/* Frees all; what was in flight must have come back, and the subscriptions have ended. */
void outbox_finish(struct outbox *outbox);

/* Append reply bytes: they go out after everything that the cursors are behind now. */
void outbox_reply(struct outbox *outbox, const void *data, size_t len);

/* What is appended from now on waits until outbox_next() is told of `number` as durable (appendfsync always). */
void outbox_hold(struct outbox *outbox, uint64_t number);

/* Keep a place in the order for a reply that comes later: everything behind it waits. Returns the promise's number. */
uint64_t outbox_promise(struct outbox *outbox);
/* Here it is. False: there is no such promise. */
bool outbox_keep_promise(struct outbox *outbox, uint64_t number, const void *data, size_t len);

/* Open a cursor at the view's tail, with an empty filter; the caller sets `fanout`. Close: it hears nothing that comes from now on; what it is
 * behind still goes out, in its place, then the cursor frees itself. */
struct cursor *cursor_open(struct outbox *outbox, struct log_view *view);
void cursor_close(struct cursor *cursor);
/* The cursor in a view, NULL if there is none. */
struct cursor *outbox_cursor(const struct outbox *outbox, const struct log_view *view);

/* Change what a cursor hears, from the view's tail on. False: nothing changed. */
bool cursor_hear(struct cursor *cursor, uint32_t channel);
bool cursor_ignore(struct cursor *cursor, uint32_t channel);

/* Load the log's tail; if it moved all waiting cursors are behind now, and `ready` is called for the outbox of each. */
void view_advance(struct log_view *view, void (*ready)(struct outbox *outbox));

/* The log rests: cursors that wait at the end of a closed segment step into the next, and the old one may be freed. */
void view_rest(struct log_view *view);

/* The next stretch to send, in at most `pieces_max` pieces; 0: nothing is owed, or it is held. Not while something is in flight.
 * units: at most `bytes_max` bytes; a message of a log is never cut, so one that is larger goes alone. */
unsigned outbox_next(struct outbox *outbox, struct iovec *pieces, unsigned pieces_max,
	size_t bytes_max, uint64_t durable);
/* What outbox_next() returned last has been sent, all of it. */
void outbox_sent(struct outbox *outbox);

bool outbox_idle(const struct outbox *outbox); /* nothing owed, nothing in flight */
/* How far its cursors are behind, in bytes of log; and the segments' worth of it. */
uint64_t outbox_lag_bytes(const struct outbox *outbox);
/* The memory that is its own: replies, the order of what is owed, filters that only that order needs. */
size_t outbox_memory_bytes(const struct outbox *outbox);

#endif
