/* Rows that wait for their number, so that a batch enters the log whole or not at all.
 *
 * A row with token `batch` waits, per position (stream and instance), for the row that carries
 * the number. What cannot come out whole is torn: its rows are dropped, and its number, when it
 * comes, is to be replaced by a POSITION, which has every receiver fetch the rows from their
 * writer or the database.
 *
 *     idle ──batch row──▶ WAITING ──number, same connection──▶ whole ──▶ idle
 *                            │ connection closed, another connection's row,
 *                            │ too many rows, too many bytes, too old
 *                            ▼
 *                          TORN ──number, anybody's──▶ a POSITION ──▶ idle
 *
 * Owned by struct replication; one thread.
 */
#ifndef MILLRACE_REPLICATION_BATCH_H
#define MILLRACE_REPLICATION_BATCH_H

#include "engine/replication/streams.h"

enum batch_verdict {
	BATCH_SINGLE, /* nothing waits: the row goes its way alone */
	BATCH_WAITS,  /* the row was copied, and waits */
	BATCH_WHOLE,  /* the row is the last: take the others with batch_row(), then batch_done() */
	BATCH_DROPPED, /* a row of a torn batch */
	BATCH_TORN /* the number of a torn batch: say POSITION in its place, then batch_done() */
};

struct batches;
/* `tenant` is for the log lines; it outlives the batches. */
struct batches *batches_create(struct slice tenant, const struct replication_limits *limits);
void batches_destroy(struct batches *batches); /* before streams_destroy(); NULL is fine */

/* An RDATA of this position. `last`: it carries the number. */
enum batch_verdict batches_take(struct batches *batches, struct position *position,
	uint64_t connection, struct slice line, bool last, uint64_t now_ns);

/* After BATCH_WHOLE: how many rows wait, and each, until batch_done(). */
unsigned batch_rows(const struct position *position);
struct slice batch_row(const struct position *position, unsigned index);
void batch_done(struct batches *batches, struct position *position);

/* A connection is gone: what it wrote by half is torn. Returns how many. */
unsigned batches_closed(struct batches *batches, uint64_t connection);

/* Tear what is too old. Returns when to be called again, UINT64_MAX: when something waits. */
uint64_t batches_expire(struct batches *batches, uint64_t now_ns);

struct batches_stats {
	uint64_t whole, torn, over_limit; /* over_limit: torn for rows, bytes or age */
	unsigned rows;                    /* waiting now */
	size_t bytes;
};
const struct batches_stats *batches_stats(const struct batches *batches);

#endif
