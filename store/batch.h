/* A batch from the inside: the changes of one store_submit(), already encoded as keys and
 * values.
 *
 * store.h has what the shards call; this is for those who carry a batch to a disk: store.c and
 * its backends, and the simulated disk of the tests.
 */
#ifndef MILLRACE_STORE_BATCH_H
#define MILLRACE_STORE_BATCH_H

#include "store/store.h"

struct store_batch {
	struct store_batch *next; /* in the queue, and in the list that is being written */
	unsigned shard;
	uint64_t number;      /* the shard's count of batches */
	int64_t submitted_ms; /* monotonic */
	size_t count;         /* operations */
	struct bytes
		encoded;  /* the operations, one behind the other; read them with batch_read() */
	struct bytes key; /* being encoded */
	struct bytes value;
};

enum batch_verb {
	BATCH_PUT,
	BATCH_DELETE,       /* `value` is empty */
	BATCH_DELETE_PREFIX /* all keys that start with `key`; `value` is the first behind them */
};

struct batch_operation {
	enum batch_verb verb;
	struct slice key, value; /* live as long as the batch, and until its next change */
};

/* The operation at `*at`, which starts at 0 and is moved on; false at the end. */
bool batch_read(const struct store_batch *batch, size_t *at, struct batch_operation *out);

/* Put bytes as they are; for the version and for migrations. */
void batch_put(struct store_batch *batch, struct slice key, struct slice value);

/* The memory that the batch takes, all included: what queue_bytes_max counts. */
size_t batch_bytes(const struct store_batch *batch);

#endif
