/* Batches: rows that belong together come out together.
 *
 * Called by handler.c with every RDATA that is part of a batch or meets one under way; it
 * decides, the handler appends. Calls the journal, once for each batch that is torn.
 *
 * Why: Synapse's receivers keep pending rows by stream, not by writer. Two writers' batches that
 * interleave would be mixed, and rows without their number would stick to the next number of
 * anybody. In the log a batch is one append, so neither can be seen; and an answer with
 * POSITIONs, being spliced in between appends, is always at a batch's boundary.
 *
 * Why torn and not just dropped: a writer whose connection breaks reconnects and flushes its
 * queue, which may begin in the middle of the batch. The rest must not come out as if it were
 * whole. Whether it does begin in the middle cannot be seen in the rows, so the next number,
 * whosever it is, becomes a POSITION: if the batch was a fresh one after all, that costs its
 * receivers one fetch and loses nothing. One instance is one process, so the next number after a
 * tear is the first behind the gap; only two processes under one name could tear each other's
 * batches unseen.
 *
 * A POSITION of the same pair passes by what waits: receivers hear it first, and then the batch,
 * which is behind it in truth, too (a writer that states its position sends the rest of its rows
 * later).
 *
 * The memory: a batch's rows lie one behind the other in one buffer, which is given back with the
 * batch; over all batches `batch_bytes_max` holds, so no writer can make the hub keep more,
 * whatever it sends.
 */
#include "engine/replication/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "engine/base/journal.h"

enum batch_state {
	WAITING, /* `lines` holds whole rows of `connection`; listed in the order of begun_ns */
	TORN     /* empty; ends with the next number */
};

struct batch {
	enum batch_state state;
	struct position *position;
	uint64_t connection;
	uint64_t begun_ns;
	struct bytes lines; /* the rows, without newlines */
	uint32_t *ends;     /* where each row ends in `lines` */
	unsigned rows, rows_cap;
	struct batch *prev, *next;
};

struct batches {
	struct slice tenant;
	const struct replication_limits *limits;
	struct batch *waiting, *torn; /* each batch is on the list of its state */
	struct batches_stats stats;
};

struct batches *batches_create(struct slice tenant, const struct replication_limits *limits)
{
	struct batches *b = mem_zalloc(sizeof(*b));
	b->tenant = tenant;
	b->limits = limits;
	return b;
}

/* Give back the rows; the batch keeps its state. */
static void drop_rows(struct batches *b, struct batch *batch)
{
	b->stats.rows -= batch->rows;
	b->stats.bytes -= batch->lines.len;
	bytes_finish(&batch->lines);
	free(batch->ends);
	batch->ends = NULL;
	batch->rows = batch->rows_cap = 0;
}

static void forget(struct batches *b, struct batch *batch)
{
	if (batch->state == WAITING) {
		DL_DELETE(b->waiting, batch);
	} else {
		DL_DELETE(b->torn, batch);
	}
	drop_rows(b, batch);
	batch->position->batch = NULL;
	free(batch);
}

void batches_destroy(struct batches *b)
{
	if (b == NULL) {
		return;
	}
	while (b->waiting != NULL) {
		forget(b, b->waiting);
	}
	while (b->torn != NULL) {
		forget(b, b->torn);
	}
	free(b);
}

static struct slice name_of(const struct name *name)
{
	return (struct slice){name->text, name->len};
}

/* The one place where a batch is given up, and the one log line about it. */
static void tear(struct batches *b, struct batch *batch, const char *why)
{
	assert(batch->state == WAITING);
	journal(JOURNAL_WARNING, "half a batch was dropped; its end will come out as a POSITION",
		"tenant=%s stream=%s instance=%s rows=%u bytes=%zu reason=\"%s\"", JQ(b->tenant),
		JQ(name_of(batch->position->stream)), JQ(name_of(batch->position->instance)),
		batch->rows, batch->lines.len, why);
	DL_DELETE(b->waiting, batch);
	DL_APPEND(b->torn, batch);
	drop_rows(b, batch);
	batch->state = TORN;
	b->stats.torn++;
}

static void keep(struct batches *b, struct batch *batch, struct slice line)
{
	if (batch->rows == batch->rows_cap) {
		batch->rows_cap = batch->rows_cap == 0 ? 4 : 2 * batch->rows_cap;
		batch->ends = mem_realloc(batch->ends, batch->rows_cap * sizeof(*batch->ends));
	}
	bytes_append_slice(&batch->lines, line);
	batch->ends[batch->rows++] = (uint32_t)batch->lines.len;
	b->stats.rows++;
	b->stats.bytes += line.len;
}

static struct batch *begin(
	struct batches *b, struct position *position, uint64_t connection, uint64_t now_ns)
{
	struct batch *batch = mem_zalloc(sizeof(*batch));
	batch->state = WAITING;
	batch->position = position;
	batch->connection = connection;
	batch->begun_ns = now_ns;
	DL_APPEND(b->waiting, batch);
	position->batch = batch;
	return batch;
}

static enum batch_verdict take_row(struct batches *b, struct batch *batch, struct slice line)
{
	const char *why = NULL;
	if (batch->rows >= b->limits->batch_rows_max) {
		why = "more rows than batch-rows-max";
	} else if (b->stats.bytes + line.len > b->limits->batch_bytes_max ||
		   batch->lines.len + line.len > UINT32_MAX) {
		why = "more bytes waiting than batch-bytes-max";
	}
	if (why != NULL) {
		tear(b, batch, why);
		b->stats.over_limit++;
		return BATCH_DROPPED;
	}
	keep(b, batch, line);
	return BATCH_WAITS;
}

enum batch_verdict batches_take(struct batches *b, struct position *position, uint64_t connection,
	struct slice line, bool last, uint64_t now_ns)
{
	struct batch *batch = position->batch;
	if (batch == NULL) {
		return last ? BATCH_SINGLE
			    : take_row(b, begin(b, position, connection, now_ns), line);
	}
	if (batch->state == WAITING && batch->connection != connection) {
		tear(b, batch, "the instance went on over another connection");
	}
	if (batch->state == TORN) {
		return last ? BATCH_TORN : BATCH_DROPPED;
	}
	return last ? BATCH_WHOLE : take_row(b, batch, line);
}

unsigned batch_rows(const struct position *position)
{
	return position->batch->rows;
}

struct slice batch_row(const struct position *position, unsigned index)
{
	const struct batch *batch = position->batch;
	assert(index < batch->rows);
	uint32_t begin = index == 0 ? 0 : batch->ends[index - 1];
	return (struct slice){batch->lines.data + begin, batch->ends[index] - begin};
}

void batch_done(struct batches *b, struct position *position)
{
	b->stats.whole += position->batch->state == WAITING;
	forget(b, position->batch);
}

unsigned batches_closed(struct batches *b, uint64_t connection)
{
	unsigned torn = 0;
	struct batch *batch, *next;
	DL_FOREACH_SAFE (b->waiting, batch, next) {
		if (batch->connection == connection) {
			tear(b, batch, "its connection closed");
			torn++;
		}
	}
	return torn;
}

uint64_t batches_expire(struct batches *b, uint64_t now_ns)
{
	while (b->waiting != NULL) {
		uint64_t due_ns = b->waiting->begun_ns + b->limits->batch_age_max_ns;
		if (due_ns > now_ns) {
			return due_ns;
		}
		tear(b, b->waiting, "older than batch-age-max");
		b->stats.over_limit++;
	}
	return UINT64_MAX;
}

const struct batches_stats *batches_stats(const struct batches *b)
{
	return &b->stats;
}
