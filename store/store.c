/* The store's front and its thread: batches in, durable numbers out.
 *
 * The shards call it through store.h; it calls a backend (rocks.c, none.c), migrate.c and
 * load.c.
 *
 *     shard:   store_submit ──▶ queue ─╮                                   ╭─▶ store_durable, wake
 *     thread:                          ╰─▶ pending ──▶ group ──▶ backend ──╯
 *
 * One turn of the thread: take what has come, write the oldest as one group (GROUP_BYTES_MAX at
 * most), publish, sync if it is time, and sleep when there is nothing left to do. While a group
 * is being synced the next one gathers: group commit needs no timer. Nothing wakes an idle
 * store: the deadlines (sync, retry, measure) exist only after a write.
 *
 * What "durable" says, by `fsync`:
 *     always     the group was written with a sync: it survives a power loss
 *     everysec   the group was handed to the kernel: it survives kill -9, and a second later a
 *                power loss, too
 *     no         the same; when it survives a power loss is the kernel's affair
 *
 * Invariants: a shard's batches are written in the order of their submits and published in that
 * order. After a failure the same batches are tried again before all others. A batch is counted
 * in queued_bytes from its submit until it is durable. Only the thread writes what stands under
 * "the thread's own". Only the backend knows about files.
 */
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "store/backend.h"
#include "store/fault.h"
#include "store/load.h"
#include "store/migrate.h"
#include "store/none.h"
#include "store/queue.h"
#include "store/rocks.h"

enum {
	GROUP_BYTES_MAX = 256 * 1024, /* of encoded operations in one write */
	SYNC_MS = 1000,
	RETRY_MS = 1000,
	MEASURE_MS = 10000,
	WHY_SIZE = 512,
	CACHE_LINE = 64
};

/* What fails at present: a disk may take one and not the other. */
enum { FAILING_WRITE = 1, FAILING_SYNC = 2 };

/* A counter that one thread writes and any reads. */
typedef _Atomic uint64_t counter;

struct lane {
	uint64_t submitted; /* the shard's own */
	counter durable;
	char apart[CACHE_LINE - 2 * sizeof(uint64_t)]; /* shards do not share a line */
};

struct store {
	const struct backend_kind *kind;
	struct backend *backend;
	char *dir;
	enum store_fsync fsync;
	size_t queue_bytes_max;
	void (*wake)(void *context, unsigned shard);
	void *context;
	pthread_t thread;
	struct lane lanes[STORE_SHARDS_MAX];
	struct queue queue;
	counter batches, queued_bytes, queued_batches;
	_Atomic bool submitted_any;

	_Atomic int health;
	counter oldest_ms; /* when the oldest pending batch was submitted; 0: none is pending */
	counter writes, rows, syncs, failed_writes, write_ns, sync_ns, disk_bytes, memory_bytes;

	/* The thread's own. */
	struct store_batch *first, **last;              /* pending, oldest first */
	uint64_t shards_seen;                           /* bit n: shard n has submitted */
	bool dirty;                                     /* something was written and not synced */
	int64_t sync_at_ms, retry_at_ms, measure_at_ms; /* 0: not set */
	unsigned failing; /* FAILING_... bits; the store is healthy when there is none */
	int64_t failing_since_ms;
};

static void add(counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static void take_away(counter *c, uint64_t n)
{
	atomic_fetch_sub_explicit(c, n, memory_order_relaxed);
}

static uint64_t value_of(const counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t now_ms(void)
{
	return (int64_t)(now_ns() / 1000000u);
}

/* --- the thread ------------------------------------------------------------------------- */

static void wake_shards(struct store *store, uint64_t shards)
{
	for (unsigned shard = 0; store->wake != NULL && shards != 0; shard++, shards >>= 1) {
		if (shards & 1) {
			store->wake(store->context, shard);
		}
	}
}

static void note_oldest(struct store *store)
{
	uint64_t oldest = store->first != NULL ? (uint64_t)store->first->submitted_ms : 0;
	atomic_store_explicit(&store->oldest_ms, oldest, memory_order_relaxed);
}

static void gather(struct store *store)
{
	struct store_batch *batch = queue_take(&store->queue);
	if (batch == NULL) {
		return;
	}
	*store->last = batch;
	for (; batch != NULL; batch = batch->next) {
		store->shards_seen |= UINT64_C(1) << batch->shard;
		store->last = &batch->next;
	}
	note_oldest(store);
}

static void set_deadline(int64_t *at_ms, int64_t now, int64_t delay_ms)
{
	if (*at_ms == 0) {
		*at_ms = now + delay_ms;
	}
}

/* A write or a sync failed: say so once, not each second, and come back in a second. */
static void note_failure(struct store *store, unsigned what, int err, const char *why, int64_t now)
{
	store->failing |= what;
	add(&store->failed_writes, 1);
	store->retry_at_ms = now + RETRY_MS;
	int before = atomic_exchange_explicit(&store->health, err, memory_order_release);
	if (before == err) {
		return;
	}
	if (before == OK) {
		store->failing_since_ms = now;
	}
	journal(JOURNAL_WARNING, "store cannot be written, trying again each second",
		"error=\"%s\" why=\"%s\"", err_text(err), why);
	wake_shards(store, store->shards_seen);
}

static void note_success(struct store *store, unsigned what, int64_t now)
{
	store->failing &= ~what;
	if (store->failing != 0) {
		return;
	}
	store->retry_at_ms = 0;
	if (atomic_exchange_explicit(&store->health, OK, memory_order_release) == OK) {
		return;
	}
	journal(JOURNAL_NOTICE, "store can be written again",
		"dir=%s after_ms=%" PRId64 " waiting_batches=%" PRIu64, JQ(slice_of(store->dir)),
		now - store->failing_since_ms, value_of(&store->queued_batches));
	wake_shards(store, store->shards_seen);
}

/* Where the next group ends: as many batches as fit, at least one. */
static struct store_batch *group_end(const struct store *store, size_t *rows)
{
	struct store_batch *batch = store->first;
	size_t bytes = 0;
	*rows = 0;
	do {
		bytes += batch->encoded.len;
		*rows += batch->count;
		batch = batch->next;
	} while (batch != NULL && bytes + batch->encoded.len <= GROUP_BYTES_MAX);
	return batch;
}

/* The group is durable: free its batches, move its shards' numbers, wake them. */
static void publish(struct store *store, const struct store_batch *end)
{
	uint64_t moved = 0;
	while (store->first != end) {
		struct store_batch *batch = store->first;
		store->first = batch->next;
		/* Its room is free before anybody hears of it, and may fill it. */
		take_away(&store->queued_bytes, batch_bytes(batch));
		take_away(&store->queued_batches, 1);
		atomic_store_explicit(
			&store->lanes[batch->shard].durable, batch->number, memory_order_release);
		moved |= UINT64_C(1) << batch->shard;
		store_batch_destroy(batch);
	}
	if (store->first == NULL) {
		store->last = &store->first;
	}
	note_oldest(store);
	wake_shards(store, moved);
}

static void write_group(struct store *store)
{
	size_t rows;
	const struct store_batch *end = group_end(store, &rows);
	bool sync = store->fsync == STORE_FSYNC_ALWAYS;
	if (rows > 0) {
		char why[WHY_SIZE];
		uint64_t start = now_ns();
		int err = store->kind->write(
			store->backend, store->first, end, sync, why, sizeof(why));
		int64_t now = now_ms();
		add(&store->write_ns, now_ns() - start);
		if (err != OK) {
			note_failure(store, FAILING_WRITE, err, why, now);
			return;
		}
		add(&store->writes, 1);
		add(&store->rows, rows);
		add(&store->syncs, sync ? 1 : 0);
		if (!sync) {
			store->dirty = true;
			if (store->fsync == STORE_FSYNC_EVERYSEC) {
				set_deadline(&store->sync_at_ms, now, SYNC_MS);
			}
		}
		set_deadline(&store->measure_at_ms, now, MEASURE_MS);
		note_success(store, FAILING_WRITE, now);
	}
	publish(store, end);
}

static void sync_backend(struct store *store)
{
	char why[WHY_SIZE];
	uint64_t start = now_ns();
	int err = store->kind->sync(store->backend, why, sizeof(why));
	add(&store->sync_ns, now_ns() - start);
	if (err != OK) {
		note_failure(store, FAILING_SYNC, err, why, now_ms());
		return;
	}
	add(&store->syncs, 1);
	store->dirty = false;
	store->sync_at_ms = 0;
	note_success(store, FAILING_SYNC, now_ms());
}

static void measure(struct store *store)
{
	uint64_t disk, memory;
	store->kind->measure(store->backend, &disk, &memory);
	atomic_store_explicit(&store->disk_bytes, disk, memory_order_relaxed);
	atomic_store_explicit(&store->memory_bytes, memory, memory_order_relaxed);
	store->measure_at_ms = 0;
}

static bool is_due(int64_t at_ms, int64_t now)
{
	return at_ms != 0 && now >= at_ms;
}

static int64_t sooner(int64_t a_ms, int64_t b_ms)
{
	return a_ms == 0 || (b_ms != 0 && b_ms < a_ms) ? b_ms : a_ms;
}

/* Until the next deadline, or for ever; after a failure a push has to wait for the retry like
 * all others. */
static void rest(struct store *store, int64_t now)
{
	bool failing = store->retry_at_ms != 0;
	int64_t next = failing ? store->retry_at_ms : store->sync_at_ms;
	next = sooner(next, store->measure_at_ms);
	int64_t timeout = next == 0 ? -1 : next > now ? next - now : 0;
	queue_sleep(&store->queue, timeout, failing);
}

/* One turn; false when there is nothing left to do at once. */
static bool turn(struct store *store, int64_t now)
{
	if (store->retry_at_ms != 0 && now < store->retry_at_ms) {
		return false;
	}
	if (is_due(store->sync_at_ms, now)) {
		sync_backend(store);
		return true;
	}
	if (store->first != NULL) {
		write_group(store);
		return true;
	}
	/* Nothing is pending, and nothing waits to be synced: then there is nothing to try
	 * again. */
	store->retry_at_ms = 0;
	return false;
}

/* The last turns: all that came before the closing, synced; the first failure ends it. */
static void finish(struct store *store)
{
	gather(store);
	store->retry_at_ms = 0;
	while (store->first != NULL && store->retry_at_ms == 0) {
		write_group(store);
	}
	if (store->dirty && store->retry_at_ms == 0) {
		sync_backend(store);
	}
	uint64_t lost = value_of(&store->queued_batches);
	if (lost > 0 || store->dirty) {
		journal(JOURNAL_WARNING, "store closed without having written everything",
			"dir=%s error=\"%s\" lost_batches=%" PRIu64, JQ(slice_of(store->dir)),
			err_text(atomic_load(&store->health)), lost);
	}
}

static void *run(void *arg)
{
	struct store *store = arg;
	while (!queue_closed(&store->queue)) {
		gather(store);
		int64_t now = now_ms();
		if (is_due(store->measure_at_ms, now)) {
			measure(store);
		}
		if (!turn(store, now)) {
			rest(store, now);
		}
	}
	finish(store);
	return NULL;
}

/* --- any other thread ------------------------------------------------------------------- */

static const struct backend_kind *kind_of(const char *name)
{
	const struct backend_kind *const kinds[] = {rocks_kind(), none_kind()};
	for (size_t i = 0; name != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i]->name, name) == 0) {
			return kinds[i];
		}
	}
	return NULL;
}

int store_open(const struct store_options *options, struct store **out, char *why, size_t why_size)
{
	const struct backend_kind *kind = kind_of(options->kind);
	if (kind == NULL) {
		snprintf(why, why_size,
			"there is no kind of store called \"%s\"; there are rocksdb and none",
			options->kind != NULL ? options->kind : "");
		return -E_UNKNOWN;
	}
	return store_open_kind(options, kind, out, why, why_size);
}

static int open_backend(
	struct store *store, const struct store_options *options, char *why, size_t why_size)
{
	int err = store->kind->open(options, &store->backend, why, why_size);
	if (err != OK || store->kind->keeps_nothing) {
		return err;
	}
	err = migrate(store->backend, store->dir, why, why_size);
	if (err == OK) {
		measure(store);
		int errnum = pthread_create(&store->thread, NULL, run, store);
		if (errnum != 0) {
			err = fault_explain(err_from_errno(errnum), "be opened", store->dir,
				"no thread could be had", why, why_size);
		}
	}
	if (err != OK) {
		store->kind->close(store->backend);
	}
	return err;
}

int store_open_kind(const struct store_options *options, const struct backend_kind *kind,
	struct store **out, char *why, size_t why_size)
{
	struct store *store = mem_zalloc(sizeof(*store));
	store->kind = kind;
	store->dir = slice_dup(slice_of(options->dir));
	store->fsync = options->fsync;
	store->queue_bytes_max = options->queue_bytes_max;
	store->wake = options->wake;
	store->context = options->context;
	store->last = &store->first;
	queue_init(&store->queue);
	/* Signals are for the threads that expect them: neither ours nor RocksDB's, which
	 * inherit this mask. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = open_backend(store, options, why, why_size);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != OK) {
		free(store->dir);
		free(store);
		return err;
	}
	*out = store;
	return OK;
}

void store_close(struct store *store)
{
	if (store == NULL) {
		return;
	}
	if (!store->kind->keeps_nothing) {
		queue_close(&store->queue);
		pthread_join(store->thread, NULL);
	}
	store->kind->close(store->backend);
	while (store->first != NULL) {
		struct store_batch *batch = store->first;
		store->first = batch->next;
		store_batch_destroy(batch);
	}
	free(store->dir);
	free(store);
}

static int tell(void *context, struct slice key, struct slice value)
{
	return load_tell(context, key, value);
}

int store_load(struct store *store, const struct store_loader *loader)
{
	assert(!atomic_load(&store->submitted_any));
	struct store_loader copy = *loader;
	char why[WHY_SIZE] = "";
	int err = store->kind->scan(
		store->backend, (struct slice){NULL, 0}, tell, &copy, why, sizeof(why));
	if (err != OK) {
		if (why[0] == '\0') {
			fault_explain(err, "be read", store->dir, "a key or value of unknown form",
				why, sizeof(why));
		}
		journal(JOURNAL_WARNING, "store cannot be read", "why=\"%s\"", why);
	}
	return err;
}

/* Room for `bytes` more; one batch is always let in, however big, or it could never be written. */
static bool reserve(struct store *store, size_t bytes)
{
	uint64_t before =
		atomic_fetch_add_explicit(&store->queued_bytes, bytes, memory_order_relaxed);
	if (before == 0 || before + bytes <= store->queue_bytes_max) {
		return true;
	}
	take_away(&store->queued_bytes, bytes);
	return false;
}

int store_submit(struct store *store, unsigned shard, struct store_batch *batch, uint64_t *number)
{
	assert(shard < STORE_SHARDS_MAX);
	struct lane *lane = &store->lanes[shard];
	if (store->kind->keeps_nothing) {
		store_batch_destroy(batch);
		*number = ++lane->submitted;
		atomic_store_explicit(&lane->durable, *number, memory_order_release);
		add(&store->batches, 1);
		return OK;
	}
	if (!reserve(store, batch_bytes(batch))) {
		return -E_FULL;
	}
	atomic_store_explicit(&store->submitted_any, true, memory_order_relaxed);
	add(&store->batches, 1);
	add(&store->queued_batches, 1);
	*number = ++lane->submitted;
	batch->number = *number;
	batch->shard = shard;
	batch->submitted_ms = now_ms();
	queue_push(&store->queue, batch);
	return OK;
}

uint64_t store_durable(const struct store *store, unsigned shard)
{
	assert(shard < STORE_SHARDS_MAX);
	return atomic_load_explicit(&store->lanes[shard].durable, memory_order_acquire);
}

int store_health(const struct store *store)
{
	return atomic_load_explicit(&store->health, memory_order_acquire);
}

void store_read_stats(const struct store *store, struct store_stats *out)
{
	uint64_t oldest = value_of(&store->oldest_ms);
	uint64_t now = (uint64_t)now_ms();
	*out = (struct store_stats){
		.batches = value_of(&store->batches),
		.writes = value_of(&store->writes),
		.rows = value_of(&store->rows),
		.syncs = value_of(&store->syncs),
		.failed_writes = value_of(&store->failed_writes),
		.write_ns = value_of(&store->write_ns),
		.sync_ns = value_of(&store->sync_ns),
		.queued_bytes = value_of(&store->queued_bytes),
		.queued_batches = value_of(&store->queued_batches),
		.oldest_queued_ms = oldest != 0 && oldest < now ? now - oldest : 0,
		.disk_bytes = value_of(&store->disk_bytes),
		.memory_bytes = value_of(&store->memory_bytes),
	};
}
