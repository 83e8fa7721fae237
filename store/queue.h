/* The way of a batch from any shard to the store's thread, and that thread's sleep. */
#ifndef MILLRACE_STORE_QUEUE_H
#define MILLRACE_STORE_QUEUE_H

#include <stdatomic.h>

#include "store/batch.h"

struct queue {
	_Atomic(struct store_batch *)
		head;          /* the newest batch, or the mark that the thread sleeps */
	_Atomic uint32_t bell; /* what the thread sleeps on: counts the calls to wake up */
	_Atomic bool closed;
};

void queue_init(struct queue *queue);

/* Any thread; never waits. Wakes the store's thread if it sleeps: one system call for each of
 * its sleeps, however many batches come. owner: the queue's. */
void queue_push(struct queue *queue, struct store_batch *batch);

/* No push comes after this one. Any thread; wakes the store's. */
void queue_close(struct queue *queue);
bool queue_closed(const struct queue *queue);

/* The store's thread only: all that has been pushed, as a list, each shard's batches in the
 * order of their pushes; NULL if nothing has. */
struct store_batch *queue_take(struct queue *queue);

/* The store's thread only: sleep until a push or the closing, at most `timeout_ms` (negative:
 * for ever). With `closing_only` a push does not wake it. May return early. */
void queue_sleep(struct queue *queue, int64_t timeout_ms, bool closing_only);

#endif
