/* Where every stream of a homeserver stands, by writer: names, tokens, and whether anybody has
 * vouched for them.
 *
 *     (stream, instance) ─▶ struct position: token, confirmed, rows, the half batch under way
 *
 * Names get small numbers, from 1, in the order in which they were first heard; what reads the
 * log compares those. Owned by struct replication; one thread.
 */
#ifndef MILLRACE_REPLICATION_STREAMS_H
#define MILLRACE_REPLICATION_STREAMS_H

#include "engine/base/table.h"
#include "engine/replication/command.h"
#include "engine/replication/limits.h"
#include "ring/ring.h"
#include "store/store.h"

/* Longer names are nobody's; they are relayed, and not remembered. */
enum { REPLICATION_NAME_MAX = 255 };

/* store_position.prev of a tenant that speaks the older dialect, POSITION with one number. */
#define STREAMS_ONE_NUMBER INT64_MIN

/* A stream's or an instance's name. */
struct name {
	UT_hash_handle hh;
	uint32_t number;
	struct position *positions; /* a stream's, in the order of their appearance */
	size_t len;
	char text[];
};

enum position_state {
	POSITION_NEW,       /* no token yet: its first batch is under way, or torn */
	POSITION_RECOVERED, /* from the store; no word of its writer since */
	POSITION_CONFIRMED  /* its writer has spoken to this process */
};

struct batch;
struct position {
	UT_hash_handle hh; /* by `key` */
	struct name *stream, *instance;
	int64_t token;
	enum position_state state;
	uint64_t rows;       /* RDATA heard since the start */
	int64_t heard_ms;    /* wall clock */
	struct batch *batch; /* batch.h's; NULL: no batch is under way */
	struct position *stream_next, *stream_prev;
	struct position *dirty_next; /* see streams_dirty */
	bool dirty;
	size_t key_len;
	char key[]; /* "<stream> <instance>", as both commands have it */
};

struct streams;
struct streams *streams_create(const struct replication_limits *limits);
void streams_destroy(struct streams *streams); /* NULL is fine; positions must have no batch */

/* The position of RDATA's or POSITION's pair; made, and NEW, where there is none.
 * errors: NULL a table is at its limit, or a name too long; streams_refused() has counted it. */
struct position *streams_get(struct streams *streams, struct slice stream, struct slice instance);
struct position *streams_find(
	const struct streams *streams, struct slice stream, struct slice instance);

/* A row with this token was written. A confirmed position never goes back by it: Synapse repeats
 * rows (a recording has 299, 300, 299, 300), and receivers ignore what is not above their own
 * token. */
void streams_advance(
	struct streams *streams, struct position *position, int64_t token, int64_t wall_ms);

/* The writer says where it stands; the position may go back. Returns whether it did. */
bool streams_set(
	struct streams *streams, struct position *position, int64_t token, int64_t wall_ms);

/* From the store: unconfirmed. errors: false, a limit. */
bool streams_load(struct streams *streams, const struct store_position *stored);

/* Visit all that have a token: by stream in the order of first appearance, in it by instance
 * likewise. */
void streams_each(const struct streams *streams,
	void (*each)(void *context, struct position *position), void *context);

unsigned streams_count(const struct streams *streams);
unsigned streams_unconfirmed(const struct streams *streams); /* NEW and RECOVERED ones */
uint64_t streams_refused(const struct streams *streams);

/* What has changed since the last call, into the store's batch; returns how many rows. */
bool streams_dirty(const struct streams *streams);
unsigned streams_collect(
	struct streams *streams, struct slice tenant, bool one_number, struct store_batch *out);

#endif
