/* A queue of batches that no shard ever waits for.
 *
 * Called by store.c: queue_push() on the shards' threads, the rest on the store's.
 *
 *     shard:   head ── compare and exchange ──▶ newest batch ─▶ older ─▶ oldest
 *     thread:  head ── exchange with NULL ────▶ the whole list, turned round
 *
 * The list is the batches themselves, so the queue needs no memory, and has no limit of its
 * own: queue_bytes_max is store.c's. A push tries again only when another shard's push came in
 * the same nanoseconds. It is not one of Concurrency Kit's rings: there are up to 64 producers,
 * a batch comes once a turn and not once a message, and C11 atomics are what TSan understands.
 *
 * Sleeping: the thread puts a mark, the address of `asleep`, where it found nothing. The push
 * that replaces the mark is the one that wakes it; there is exactly one. The bell is a futex:
 * whoever wakes counts it up first, so that a thread which is just about to sleep on the old
 * count does not.
 *
 * Orders: a push releases, a take acquires, and everything in between is an exchange on the
 * same word, so the take sees all of every batch in the list.
 */
#include "store/queue.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Never read or written: its address is the mark. */
static struct store_batch asleep;

void queue_init(struct queue *queue)
{
	atomic_init(&queue->head, NULL);
	atomic_init(&queue->bell, 0);
	atomic_init(&queue->closed, false);
}

static void ring(struct queue *queue)
{
	atomic_fetch_add_explicit(&queue->bell, 1, memory_order_release);
	syscall(SYS_futex, &queue->bell, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void queue_push(struct queue *queue, struct store_batch *batch)
{
	struct store_batch *head = atomic_load_explicit(&queue->head, memory_order_relaxed);
	do {
		batch->next = head == &asleep ? NULL : head;
	} while (!atomic_compare_exchange_weak_explicit(
		&queue->head, &head, batch, memory_order_release, memory_order_relaxed));
	if (head == &asleep) {
		ring(queue);
	}
}

void queue_close(struct queue *queue)
{
	atomic_store_explicit(&queue->closed, true, memory_order_release);
	ring(queue);
}

bool queue_closed(const struct queue *queue)
{
	return atomic_load_explicit(&queue->closed, memory_order_acquire);
}

struct store_batch *queue_take(struct queue *queue)
{
	struct store_batch *batch =
		atomic_exchange_explicit(&queue->head, NULL, memory_order_acquire);
	if (batch == &asleep) {
		return NULL;
	}
	struct store_batch *first = NULL;
	while (batch != NULL) {
		struct store_batch *older = batch->next;
		batch->next = first;
		first = batch;
		batch = older;
	}
	return first;
}

void queue_sleep(struct queue *queue, int64_t timeout_ms, bool closing_only)
{
	uint32_t seen = atomic_load_explicit(&queue->bell, memory_order_acquire);
	if (queue_closed(queue)) {
		return;
	}
	struct store_batch *nothing = NULL;
	if (!closing_only && !atomic_compare_exchange_strong_explicit(&queue->head, &nothing,
				     &asleep, memory_order_relaxed, memory_order_relaxed)) {
		return;
	}
	struct timespec timeout = {.tv_sec = (time_t)(timeout_ms / 1000),
		.tv_nsec = (long)(timeout_ms % 1000) * 1000000};
	syscall(SYS_futex, &queue->bell, FUTEX_WAIT_PRIVATE, seen, timeout_ms < 0 ? NULL : &timeout,
		NULL, 0);
}
