/* The store: what must outlive a restart, in RocksDB, behind a thread of its own.
 *
 * The shards hand over batches of changes and go on; the store's thread alone calls RocksDB,
 * writes what has gathered as one WriteBatch, and publishes how far each shard's batches are
 * durable. The store knows keys and rows; it knows no connection, no command and no stream's
 * meaning. schema.h documents every key to the byte.
 *
 *     shard ── store_submit(batch) ──▶ queue ──▶ thread: WriteBatch, sync ──▶ store_durable ──▶ shard
 *
 * Two kinds stand behind these prototypes: rocks.c, and none.c, which keeps nothing. In tests/
 * a simulated disk with power losses is the third.
 */
#ifndef MILLRACE_STORE_STORE_H
#define MILLRACE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"

struct store;

enum { STORE_SHARDS_MAX = 64 };

/* Redis' words for the same thing. "Written" is handed to the kernel: kill -9 loses nothing of
 * it, a power loss may. */
enum store_fsync {
	STORE_FSYNC_ALWAYS,   /* a batch is durable when it is on the disk: group commit */
	STORE_FSYNC_EVERYSEC, /* durable when written, at once; synced at least each second */
	STORE_FSYNC_NO        /* durable when written, at once; synced when the kernel likes */
};

/* One stored position of a writer on a stream. */
struct store_position {
	struct slice tenant, stream, instance;
	int64_t token;
	int64_t prev;    /* the token before the last POSITION's gap; = token where unknown */
	int64_t wall_ms; /* when it was last heard of */
};

/* One user who is syncing on one process; `device` empty: the form without a device. */
struct store_user_sync {
	struct slice tenant, instance_id, user, device;
	int64_t since_ms; /* the last_sync_ms that the command carried */
};

/* A process that reports user syncs; its clock of silence. */
struct store_instance {
	struct slice tenant, instance_id;
	int64_t heard_ms; /* wall clock: the last sign of life */
};

/* Changes that become visible together. Slices are copied by the call. */
struct store_batch;
struct store_batch *store_batch_create(void);
void store_batch_destroy(struct store_batch *batch); /* NULL is fine */
size_t store_batch_count(const struct store_batch *batch);
void store_put_position(struct store_batch *batch, const struct store_position *position);
void store_delete_position(
	struct store_batch *batch, struct slice tenant, struct slice stream, struct slice instance);
void store_put_user_sync(struct store_batch *batch, const struct store_user_sync *sync);
void store_delete_user_sync(struct store_batch *batch, const struct store_user_sync *sync);
void store_put_instance(struct store_batch *batch, const struct store_instance *instance);
/* Forget the process and all its user syncs. */
void store_delete_instance(
	struct store_batch *batch, struct slice tenant, struct slice instance_id);

struct store_options {
	const char *kind; /* "rocksdb" or "none" */
	const char *dir;
	enum store_fsync fsync;
	size_t queue_bytes_max; /* of submitted, unwritten batches, over all shards */
	size_t block_cache_bytes, write_buffer_bytes; /* 0: 1 MiB each */
	/* Called on the store's thread when store_durable() of a shard has moved, or the
	 * store's health has changed; must only wake that shard. Until store_close() returns.
	 * NULL is fine. Of kind "none" nothing is ever called: its batches are durable when
	 * store_submit() returns, so look before waiting. */
	void (*wake)(void *context, unsigned shard);
	void *context;
};

/* Open, or create, and start the thread. On failure `why` has a sentence for the operator:
 * what, where, and what to do about it.
 * errors: -E_NOSPACE, -E_READONLY, -E_NOT_ALLOWED, -E_CORRUPT, -E_NEWER (a newer format),
 *         -E_IN_USE (another process has it open), -E_UNKNOWN (kind), -E_IO.
 * owner:  store_close() syncs what was submitted, ends the thread, and frees; NULL is fine. */
int store_open(const struct store_options *options, struct store **out, char *why, size_t why_size);
void store_close(struct store *store);

/* Read everything back, before the first submit; the calls happen on the calling thread, in key
 * order. Slices live for the call. A NULL function skips its kind.
 * errors: -E_CORRUPT, -E_IO; what was read until then has been told. */
struct store_loader {
	void (*position)(void *context, const struct store_position *position);
	void (*instance)(void *context, const struct store_instance *instance);
	void (*user_sync)(void *context, const struct store_user_sync *sync);
	void *context;
};
int store_load(struct store *store, const struct store_loader *loader);

/* Hand over a batch: never waits for the disk. `*number` counts this shard's batches from 1.
 * One thread per shard. An empty batch is a barrier: durable when all before it are.
 * errors: -E_FULL above queue_bytes_max, the batch stays the caller's (retry later: positions
 *         coalesce).
 * owner:  the store's, on success. */
int store_submit(struct store *store, unsigned shard, struct store_batch *batch, uint64_t *number);

/* The number of the last batch of the shard that is durable in the sense of `fsync`. Any
 * thread. */
uint64_t store_durable(const struct store *store, unsigned shard);

/* 0, or the error of the last write (disk full, …): batches are kept, in order, and tried again
 * each second, up to queue_bytes_max; above it store_submit() says -E_FULL. Any thread. */
int store_health(const struct store *store);

struct store_stats {
	uint64_t batches, writes, rows, syncs; /* handed over; WriteBatches; rows in them; fsyncs */
	uint64_t failed_writes; /* WriteBatches and fsyncs that failed, each retry counted */
	uint64_t write_ns;      /* time spent in RocksDB's writes; under `always` with their sync */
	uint64_t sync_ns;       /* and in syncs */
	uint64_t queued_bytes, queued_batches; /* now */
	uint64_t oldest_queued_ms;             /* age of the oldest batch not durable, now */
	uint64_t disk_bytes;                   /* SST + WAL files in the folder, at most 10 s old */
	uint64_t memory_bytes; /* memtables and block cache, as RocksDB says; as old */
};
/* Any thread; a snapshot, each number right by itself. */
void store_read_stats(const struct store *store, struct store_stats *out);

#endif
