/* The simulated disk: store/store.h for one shard, with batches that are late, and crashes.
 *
 * Linked in the place of store.c; batch.c, schema.c and load.c are the real ones, so what is read back went through the real
 * keys and values. Called by the hub; time comes from the network's clock, which calls disk_tick().
 *
 *     submitted ──▶ written ──▶ synced      (three parts of one list, in the order of the batches)
 *
 * store_durable() is the last synced one with appendfsync always, else the last written one.
 */
#include "store/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "store/batch.h"
#include "store/load.h"
#include "tests/sim/disk.h"

enum { RETRY_MS = 1000 };
#define MS_NS UINT64_C(1000000)

struct row {
	struct bytes key, value;
};

struct disk {
	struct sim_random random;
	struct row *rows; /* ascending keys: all that is synced */
	size_t rows_count, rows_cap;
	struct store *store; /* that has it open */
	bool full;
	uint64_t delay_ns;
	uint64_t now_ns;
};

struct store {
	struct disk *disk;
	struct store_options options;
	struct store_batch *first, *last; /* not synced */
	uint64_t submitted, written, synced, durable;
	uint64_t write_ns, sync_ns; /* when the next step of each kind is done; UINT64_MAX: none */
	size_t queued_bytes;        /* not written */
	int health;
	bool dead; /* disk_crash() was called */
	struct store_stats stats;
};

static struct disk *current;

struct disk *disk_create(uint64_t seed)
{
	struct disk *disk = mem_zalloc(sizeof(*disk));
	disk->random.state = seed;
	disk->delay_ns = 5 * MS_NS;
	current = disk;
	return disk;
}

void disk_destroy(struct disk *disk)
{
	assert(disk->store == NULL);
	for (size_t i = 0; i < disk->rows_count; i++) {
		bytes_finish(&disk->rows[i].key);
		bytes_finish(&disk->rows[i].value);
	}
	free(disk->rows);
	free(disk);
	current = NULL;
}

void disk_set_delay(struct disk *disk, uint64_t delay_ns)
{
	disk->delay_ns = delay_ns;
}

/* ---- rows ---- */

static int compare(struct slice a, struct slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len == 0 ? 0 : memcmp(a.data, b.data, len);
	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static size_t lower_bound(const struct disk *disk, struct slice key)
{
	size_t at = 0;
	while (at < disk->rows_count && compare(bytes_slice(&disk->rows[at].key), key) < 0) {
		at++;
	}
	return at;
}

static void put(struct disk *disk, struct slice key, struct slice value)
{
	size_t at = lower_bound(disk, key);
	bool there = at < disk->rows_count && slice_equal(bytes_slice(&disk->rows[at].key), key);
	if (!there) {
		if (disk->rows_count == disk->rows_cap) {
			disk->rows_cap = disk->rows_cap == 0 ? 16 : disk->rows_cap * 2;
			disk->rows = mem_realloc(disk->rows, disk->rows_cap * sizeof(*disk->rows));
		}
		memmove(&disk->rows[at + 1], &disk->rows[at],
			(disk->rows_count++ - at) * sizeof(*disk->rows));
		disk->rows[at] = (struct row){{0}, {0}};
		bytes_append_slice(&disk->rows[at].key, key);
	}
	bytes_clear(&disk->rows[at].value);
	bytes_append_slice(&disk->rows[at].value, value);
}

static void delete_range(struct disk *disk, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		bytes_finish(&disk->rows[i].key);
		bytes_finish(&disk->rows[i].value);
	}
	memmove(&disk->rows[from], &disk->rows[to], (disk->rows_count - to) * sizeof(*disk->rows));
	disk->rows_count -= to - from;
}

static void apply(struct disk *disk, const struct store_batch *batch)
{
	size_t at = 0;
	struct batch_operation operation;
	while (batch_read(batch, &at, &operation)) {
		size_t from = lower_bound(disk, operation.key);
		size_t to = from;
		switch (operation.verb) {
		case BATCH_PUT:
			put(disk, operation.key, operation.value);
			break;
		case BATCH_DELETE:
			to += from < disk->rows_count &&
			      slice_equal(bytes_slice(&disk->rows[from].key), operation.key);
			delete_range(disk, from, to);
			break;
		case BATCH_DELETE_PREFIX:
			while (to < disk->rows_count &&
				slice_starts(bytes_slice(&disk->rows[to].key), operation.key)) {
				to++;
			}
			delete_range(disk, from, to);
			break;
		}
	}
}

int disk_tell(const struct disk *disk, const struct store_loader *loader)
{
	int error = OK;
	for (size_t i = 0; i < disk->rows_count && error == OK; i++) {
		error = load_tell(
			loader, bytes_slice(&disk->rows[i].key), bytes_slice(&disk->rows[i].value));
	}
	return error;
}

/* ---- writing and syncing ---- */

static void take_first(struct store *store)
{
	struct store_batch *batch = store->first;
	store->first = batch->next;
	store->last = batch->next == NULL ? NULL : store->last;
	apply(store->disk, batch);
	store_batch_destroy(batch);
}

static void publish_durable(struct store *store)
{
	uint64_t durable =
		store->options.fsync == STORE_FSYNC_ALWAYS ? store->synced : store->written;
	if (durable != store->durable) {
		store->durable = durable;
		if (store->options.wake != NULL) {
			store->options.wake(store->options.context, 0);
		}
	}
}

static void set_health(struct store *store, int health)
{
	if (store->health != health) {
		store->health = health;
		if (store->options.wake != NULL) {
			store->options.wake(store->options.context, 0);
		}
	}
}

static uint64_t some_delay(struct disk *disk)
{
	return 1 + random_skewed(&disk->random, disk->delay_ns + 1);
}

static void write_some(struct store *store)
{
	struct disk *disk = store->disk;
	if (disk->full) {
		store->stats.failed_writes++;
		store->write_ns = disk->now_ns + RETRY_MS * MS_NS;
		set_health(store, -E_NOSPACE);
		return;
	}
	set_health(store, OK);
	uint64_t upto =
		store->written + 1 + random_below(&disk->random, store->submitted - store->written);
	for (struct store_batch *b = store->first; b != NULL; b = b->next) {
		if (b->number > store->written && b->number <= upto) {
			store->queued_bytes -= batch_bytes(b);
		}
	}
	store->written = upto;
	store->stats.writes++;
	store->write_ns =
		store->written < store->submitted ? disk->now_ns + some_delay(disk) : UINT64_MAX;
	if (store->sync_ns == UINT64_MAX) {
		uint64_t wait = store->options.fsync == STORE_FSYNC_ALWAYS
					? 0
					: random_below(&disk->random, 1000) * MS_NS;
		store->sync_ns = disk->now_ns + wait + some_delay(disk);
	}
}

static void sync_all(struct store *store)
{
	while (store->first != NULL && store->first->number <= store->written) {
		take_first(store);
	}
	store->synced = store->written;
	store->stats.syncs++;
	store->sync_ns = UINT64_MAX;
}

void disk_tick(void *context, uint64_t now_ns)
{
	struct disk *disk = context;
	struct store *store = disk->store;
	disk->now_ns = now_ns;
	if (store == NULL || store->dead) {
		return;
	}
	if (store->write_ns <= now_ns) {
		write_some(store);
	}
	if (store->sync_ns <= now_ns) {
		sync_all(store);
	}
	publish_durable(store);
}

uint64_t disk_next_ns(void *context)
{
	const struct disk *disk = context;
	const struct store *store = disk->store;
	if (store == NULL || store->dead) {
		return UINT64_MAX;
	}
	return store->write_ns < store->sync_ns ? store->write_ns : store->sync_ns;
}

void disk_set_full(struct disk *disk, bool full)
{
	disk->full = full;
}

void disk_crash(struct disk *disk, enum crash crash)
{
	struct store *store = disk->store;
	uint64_t upto = crash == CRASH_NONE ? store->submitted : store->written;
	if (crash == CRASH_POWER) {
		upto = store->synced +
		       random_below(&disk->random, 1 + store->written - store->synced);
	}
	while (store->first != NULL && store->first->number <= upto) {
		take_first(store);
	}
	store->dead = true;
}

/* ---- the interface ---- */

int store_open(const struct store_options *options, struct store **out, char *why, size_t why_size)
{
	(void)why;
	(void)why_size;
	assert(current != NULL && current->store == NULL);
	struct store *store = mem_zalloc(sizeof(*store));
	store->disk = current;
	store->options = *options;
	store->write_ns = store->sync_ns = UINT64_MAX;
	current->store = store;
	*out = store;
	return OK;
}

void store_close(struct store *store)
{
	if (store == NULL) {
		return;
	}
	if (!store->dead) {
		disk_crash(store->disk, CRASH_NONE);
	}
	while (store->first != NULL) {
		struct store_batch *next = store->first->next;
		store_batch_destroy(store->first);
		store->first = next;
	}
	store->disk->store = NULL;
	free(store);
}

int store_load(struct store *store, const struct store_loader *loader)
{
	assert(store->submitted == 0);
	return disk_tell(store->disk, loader);
}

int store_submit(struct store *store, unsigned shard, struct store_batch *batch, uint64_t *number)
{
	assert(shard == 0 && !store->dead);
	if (store->queued_bytes > 0 &&
		store->queued_bytes + batch_bytes(batch) > store->options.queue_bytes_max) {
		return -E_FULL;
	}
	store->queued_bytes += batch_bytes(batch);
	*number = batch->number = ++store->submitted;
	batch->next = NULL;
	if (store->last == NULL) {
		store->first = batch;
	} else {
		store->last->next = batch;
	}
	store->last = batch;
	if (store->write_ns == UINT64_MAX) {
		store->write_ns = store->disk->now_ns + some_delay(store->disk);
	}
	store->stats.batches++;
	return OK;
}

uint64_t store_durable(const struct store *store, unsigned shard)
{
	assert(shard == 0);
	return store->durable;
}

int store_health(const struct store *store)
{
	return store->health;
}

void store_read_stats(const struct store *store, struct store_stats *out)
{
	*out = store->stats;
	out->queued_bytes = store->queued_bytes;
	out->queued_batches = store->submitted - store->durable;
}
