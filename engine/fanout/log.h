/* The log: what a tenant says, encoded once, in order; written by one shard, read by all without a lock.
 *
 * A log holds one encoding of one tenant's messages as a chain of segments. Its owner appends and publishes `tail` once a
 * turn; a reader is a `struct log_view` (one a shard) with cursors in it. Offsets count the log's bytes from its start and
 * never repeat.
 *
 *      freed │ segment 7          │ segment 8          │ segment 9 (open)
 *            │ ████████████████   │ ████████████████   │ ██████░░░░░░░░░
 *              ▲ low of the views        ▲ a cursor          ▲ tail (published)
 *                                                              ▲ appended, not yet published
 *
 * What is shared between shards, and under which ordering:
 *     tail             owner stores (release) after the bytes, runs and records below it; readers load (acquire)
 *     segment->end     owner stores (release) when it closes a segment, after `next`; readers load (acquire)
 *     segment->runs, ->records   counts, stored (release) by the owner before `tail`
 *     view->low        the reader's shard stores (release), the owner loads (acquire) before it frees
 *     segment->pins[s] touched by shard s alone
 * Nothing else is touched by two threads, and there is no read-modify-write at all.
 *
 * Beside its bytes a segment has an index of runs (maximal stretches of one channel), by which a subscriber of only some
 * channels takes its pieces, and of records (where each message begins and what it is), by which the log can be walked.
 */
#ifndef MILLRACE_FANOUT_LOG_H
#define MILLRACE_FANOUT_LOG_H

#include <stdatomic.h>

#include "engine/base/bytes.h"

enum {
	LOG_SHARDS_MAX = 64,
	LOG_SEGMENT_MIN = 4096,
	LOG_SEGMENT_MAX = 256 * 1024,
	LOG_SIZES = 7,     /* of segments: each twice the one before */
	LOG_SPARES_MAX = 8 /* segments of a size that are kept for the next log */
};
#define LOG_SEGMENT_OPEN UINT32_MAX

/* What one message is, for those who walk the log. The numbers are the writer's own (channels, streams). */
struct log_mark {
	uint32_t channel;
	uint32_t stream, instance;
	uint8_t command;
	int64_t token;
	uint64_t not_to; /* a connection that must not hear it; 0: none */
};

struct log_run {
	uint32_t offset; /* in the segment */
	uint32_t channel;
	uint64_t not_to;
};

struct log_record {
	uint32_t offset;
	uint32_t channel;
	uint32_t stream, instance;
	int64_t token;
	uint8_t command;
};

struct log_segment {
	struct log_segment *next;
	uint64_t number, base; /* consecutive; the log offset of data[0] */
	uint32_t size, runs_max, records_max;
	_Atomic uint32_t end; /* bytes used once closed, LOG_SEGMENT_OPEN before */
	_Atomic uint32_t runs, records;
	struct log_run *run;
	struct log_record *record;
	uint32_t *pins; /* by shard: cursors that stand in this segment */
	char *data;
};

/* Segments that are between two uses, by size, and the account of all log memory of a shard. */
struct log_pool {
	struct log_segment *spare[LOG_SIZES];
	unsigned spares[LOG_SIZES];
	unsigned shards;
	size_t bytes; /* allocated by all logs of this pool's shard, spares not counted */
};

struct log_view;

struct log {
	struct log_pool *pool;
	struct log_segment *first, *last;
	uint64_t appended;                /* the owner's tail */
	_Atomic uint64_t tail;            /* the published one */
	uint64_t records_appended;        /* since the start: the messages' own numbers */
	uint32_t last_runs, last_records; /* of the open segment, unpublished included */
	bool unpublished;
	unsigned views_count;
	struct log_view *views[]; /* by shard, pool->shards of them */
};

struct cursor;

struct log_view {
	struct log *log;
	unsigned shard;
	uint64_t seen;                    /* the tail that this shard works with in this turn */
	struct log_segment *seen_segment; /* where `seen` lies; keeps it from being freed */
	struct log_segment *low_segment;  /* none of this shard's cursors stands before it */
	_Atomic uint64_t low;             /* its number */
	struct cursor *waiting;           /* cursors at `seen`: a list, waiting for more */
	unsigned cursors;
	bool left; /* its shard has sent it back to the owner */
};

void log_pool_init(struct log_pool *pool, unsigned shards);
void log_pool_finish(struct log_pool *pool);
void log_pool_trim(struct log_pool *pool); /* gives the spares back to the system */

/* `base` is the offset of its first byte: where the log that it takes the place of ended, so offsets never repeat. */
struct log *log_create(struct log_pool *pool, uint64_t base);
/* No view may be left. NULL is fine. */
void log_destroy(struct log *log);

/* Append one message of `len` bytes: write them at the place that log_reserve returns, then commit. Both by the owner.
 * A message larger than a segment gets one of its own. */
char *log_reserve(struct log *log, size_t len);
void log_commit(struct log *log, size_t len, const struct log_mark *mark);

/* Publish what was appended; with `upto` less than `appended` only that far (appendfsync always). */
void log_publish(struct log *log, uint64_t upto);

/* Nothing was appended for a while: go on in a segment of the smallest size, so that the large one can be freed once its readers have
 * left it. Only when all is published. False: it is small already. */
bool log_rest(struct log *log);

/* Free what no view needs any more. Returns the bytes freed. */
size_t log_collect(struct log *log);
/* The bytes that the log pins, from its first segment to its tail. */
uint64_t log_backlog(const struct log *log);

/* A shard's view: attach and detach happen on the owner's thread, all the rest on the shard's own. The view starts at the
 * published tail. No cursor may be left at the end; the view's memory is freed by its shard with free(3), when the owner has told
 * it that nothing will be sent to the view any more. */
struct log_view *log_attach(struct log *log, unsigned shard);
void log_detach(struct log_view *view);

/* Load the tail; true if it moved. */
bool log_view_refresh(struct log_view *view);
/* Publish how far this shard is done; true if it moved (the owner may collect). */
bool log_view_settle(struct log_view *view);

#endif
