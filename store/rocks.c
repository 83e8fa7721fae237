/* RocksDB, held in small memory and kept away from full disks.
 *
 * Called by store.c through backend.h; the only file that includes rocksdb/c.h.
 *
 * After any failed write or sync the database is closed at once, and opened again before the
 * next try. This is not caution but need. RocksDB would resume by itself when there is room
 * again, but a WAL whose writer has failed stays in use if nothing had been written to it
 * before, and the next write to it fails for good; Debian's packages keep RocksDB's assertions,
 * so there it ends the process (RocksDB's issue 11643; seen with 7.8.3). Closing in that state
 * is safe, opening again replays the log, and the same batches come again: writing them twice
 * changes nothing.
 *
 * For the same reason nothing is written while the disk has less than rocks_free_min() free: an
 * error that does not happen needs no recovery. And RocksDB's own log (LOG) is empty: its
 * writer, too, may not fail twice. What an operator needs stands in ours.
 *
 * Durability: a synced write is on the disk when it returns; another one is the kernel's by
 * then, so it survives kill -9 but not a power loss. manual_wal_flush would keep it in this
 * process' memory: never. After a power loss the log is read up to its first damaged record
 * (point-in-time recovery): a torn tail is normal and must not keep the hub from starting. Log
 * files are not recycled: a recycled log has old records behind its end, which makes "the first
 * damaged record" a matter of luck.
 *
 * Threads: RocksDB has two for the background (one flushes, one compacts), asleep when nothing
 * is to be done, and a timer that wakes every 10 s to flush its empty log; that one cannot be
 * turned off. Statistics are off: each dump would be a wake-up.
 */
#include "store/rocks.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <rocksdb/c.h>

#include "engine/base/err.h"
#include "store/fault.h"

enum {
	KIB = 1024,
	MIB = 1024 * 1024,
	WRITE_BUFFER_BYTES = 1 * MIB,
	BLOCK_CACHE_BYTES = 1 * MIB,
	SCRATCH_BYTES_MAX = 256 * KIB, /* what a WriteBatch may keep between two writes */
	INFO_LOG_NOTHING = 5           /* HEADER_LEVEL, above FATAL */
};

struct rocks {
	struct backend base;
	char *dir;
	uint64_t free_min;
	rocksdb_cache_t *cache;
	rocksdb_block_based_table_options_t *table;
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *plain, *synced;
	rocksdb_writebatch_t *scratch;
	rocksdb_t *db; /* NULL after a failure, until it is open again */
};

static struct rocks *rocks_of(struct backend *backend)
{
	assert(backend->kind == rocks_kind());
	return (struct rocks *)backend;
}

uint64_t rocks_free_min(size_t write_buffer_bytes)
{
	/* Two memtables on their way to a file, the log of a third, and as much again for
	 * compactions. */
	return (uint64_t)2 * MIB + 6 * (uint64_t)write_buffer_bytes;
}

/* A code, and the sentence in `why`, for one of RocksDB's texts, which is freed. */
static int fail(
	const struct rocks *rocks, const char *what, char *error, char *why, size_t why_size)
{
	int code = fault_explain(fault_code(error), what, rocks->dir, error, why, why_size);
	rocksdb_free(error);
	return code;
}

static int fail_errno(
	const struct rocks *rocks, const char *what, int errnum, char *why, size_t why_size)
{
	int code = errnum == ENOTDIR || errnum == ENOENT ? -E_IO : err_from_errno(errnum);
	return fault_explain(code, what, rocks->dir, strerror(errnum), why, why_size);
}

static rocksdb_block_based_table_options_t *make_table(rocksdb_cache_t *cache)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(table, cache);
	rocksdb_block_based_options_set_block_size(table, 4 * KIB);
	/* Indexes live in the cache, so that the cache's size is the limit of all that files
	 * take. */
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
	return table;
}

static rocksdb_cache_t *make_cache(size_t bytes)
{
	rocksdb_lru_cache_options_t *options = rocksdb_lru_cache_options_create();
	rocksdb_lru_cache_options_set_capacity(options, bytes);
	rocksdb_lru_cache_options_set_num_shard_bits(options, 0); /* one thread reads */
	rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(options);
	rocksdb_lru_cache_options_destroy(options);
	return cache;
}

/* Memory: what is allocated per database, per thread and per file, at its smallest that works. */
static void set_memory(rocksdb_options_t *o, size_t write_buffer_bytes)
{
	rocksdb_options_set_write_buffer_size(o, write_buffer_bytes);
	rocksdb_options_set_max_write_buffer_number(o, 2);
	rocksdb_options_set_arena_block_size(o, 32 * KIB);
	rocksdb_options_set_max_total_wal_size(o, 4 * (uint64_t)write_buffer_bytes);
	rocksdb_options_set_writable_file_max_buffer_size(o, 64 * KIB);
	rocksdb_options_compaction_readahead_size(o, 64 * KIB);
	rocksdb_options_set_table_cache_numshardbits(o, 0);
	rocksdb_options_set_max_open_files(o, -1); /* a handful; FIFO compaction asks for it, too */
	rocksdb_options_set_max_file_opening_threads(o, 1);
	rocksdb_options_set_compression(o, rocksdb_no_compression);
	rocksdb_options_set_target_file_size_base(o, 2 * (uint64_t)MIB);
	rocksdb_options_set_max_bytes_for_level_base(o, 8 * (uint64_t)MIB);
}

/* Threads and wake-ups: one writer, one background job at a time, nothing periodic. */
static void set_threads(rocksdb_options_t *o)
{
	rocksdb_options_set_max_background_jobs(o, 1);
	rocksdb_options_set_max_subcompactions(o, 1);
	rocksdb_options_set_allow_concurrent_memtable_write(o, 0);
	rocksdb_options_set_enable_write_thread_adaptive_yield(o, 0);
	rocksdb_options_set_stats_dump_period_sec(o, 0);
	rocksdb_options_set_stats_persist_period_sec(o, 0);
	rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
}

/* Files: what stands beside the data, small; and what must hold after a crash. */
static void set_files(rocksdb_options_t *o)
{
	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_paranoid_checks(o, 1);
	rocksdb_options_set_wal_recovery_mode(o, rocksdb_point_in_time_recovery);
	rocksdb_options_set_recycle_log_file_num(o, 0);
	rocksdb_options_set_manual_wal_flush(o, 0);
	rocksdb_options_set_info_log_level(o, INFO_LOG_NOTHING);
	rocksdb_options_set_keep_log_file_num(o, 1);
	rocksdb_options_set_max_manifest_file_size(o, 1 * MIB);
	rocksdb_options_set_manifest_preallocation_size(o, 64 * KIB);
}

/* An empty or new folder is fine; one that has tables and lost the file that names them is not:
 * RocksDB would take it for new, and sweep up the tables. */
static int check_current(const struct rocks *rocks, char *why, size_t why_size)
{
	DIR *dir = opendir(rocks->dir);
	if (dir == NULL) {
		return fail_errno(rocks, "be opened", errno, why, why_size);
	}
	bool current = false, others = false;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		struct slice name = slice_of(entry->d_name);
		current = current || slice_equal(name, SLICE("CURRENT"));
		others = others || slice_starts(name, SLICE("MANIFEST-")) ||
			 strstr(entry->d_name, ".sst") != NULL;
	}
	closedir(dir);
	if (others && !current) {
		return fault_explain(-E_CORRUPT, "be opened", rocks->dir,
			"its file CURRENT is missing", why, why_size);
	}
	return OK;
}

/* The folder itself must survive a power loss as its files do. */
static void sync_parent(const char *dir)
{
	char *parent = slice_dup(slice_of(dir));
	char *slash = strrchr(parent, '/');
	if (slash != NULL) {
		slash[slash == parent ? 1 : 0] = '\0';
	}
	int fd = open(slash != NULL ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(parent);
}

static int make_folder(const struct rocks *rocks, char *why, size_t why_size)
{
	/* User ids and device ids are in it: nobody else's business. */
	if (mkdir(rocks->dir, 0700) == 0) {
		sync_parent(rocks->dir);
	} else if (errno != EEXIST) {
		return fail_errno(rocks, "be created", errno, why, why_size);
	}
	return OK;
}

/* errors: -E_NOSPACE below free_min. A disk that does not tell is taken for big enough. */
static int check_room(const struct rocks *rocks, const char *what, char *why, size_t why_size)
{
	struct statvfs disk;
	if (statvfs(rocks->dir, &disk) != 0) {
		return OK;
	}
	uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	if (disk.f_blocks == 0 || free_bytes >= rocks->free_min) {
		return OK;
	}
	char detail[96];
	snprintf(detail, sizeof(detail), "%" PRIu64 " KiB are free, %" PRIu64 " KiB are needed",
		free_bytes / KIB, rocks->free_min / KIB);
	return fault_explain(-E_NOSPACE, what, rocks->dir, detail, why, why_size);
}

/* "process 123 has it open", where the kernel knows. Only when another process holds the lock:
 * closing a descriptor of LOCK would drop a lock of our own. */
static void name_lock_holder(const struct rocks *rocks, char *detail, size_t size)
{
	struct bytes path = {0};
	bytes_printf(&path, "%s/LOCK", rocks->dir);
	bytes_append(&path, "", 1);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(path.data, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
			snprintf(detail, size, "process %d has it open", (int)lock.l_pid);
		}
		close(fd);
	}
	bytes_finish(&path);
}

static int open_database(struct rocks *rocks, const char *what, char *why, size_t why_size)
{
	int err = check_room(rocks, what, why, why_size);
	if (err != OK) {
		return err;
	}
	err = check_current(rocks, why, why_size);
	if (err != OK) {
		return err;
	}
	char *error = NULL;
	rocks->db = rocksdb_open(rocks->options, rocks->dir, &error);
	if (error == NULL) {
		return OK;
	}
	rocks->db = NULL;
	char holder[64] = "";
	if (fault_code(error) == -E_IN_USE && strstr(error, "current process") == NULL) {
		name_lock_holder(rocks, holder, sizeof(holder));
	}
	if (holder[0] != '\0') {
		rocksdb_free(error);
		return fault_explain(-E_IN_USE, what, rocks->dir, holder, why, why_size);
	}
	return fail(rocks, what, error, why, why_size);
}

static void rocks_close(struct backend *backend)
{
	struct rocks *rocks = rocks_of(backend);
	if (rocks->db != NULL) {
		rocksdb_close(rocks->db);
	}
	rocksdb_writebatch_destroy(rocks->scratch);
	rocksdb_writeoptions_destroy(rocks->synced);
	rocksdb_writeoptions_destroy(rocks->plain);
	rocksdb_options_destroy(rocks->options);
	rocksdb_block_based_options_destroy(rocks->table);
	rocksdb_cache_destroy(rocks->cache);
	free(rocks->dir);
	free(rocks);
}

static int rocks_open(
	const struct store_options *options, struct backend **out, char *why, size_t why_size)
{
	size_t write_buffer =
		options->write_buffer_bytes > 0 ? options->write_buffer_bytes : WRITE_BUFFER_BYTES;
	struct rocks *rocks = mem_zalloc(sizeof(*rocks));
	rocks->base.kind = rocks_kind();
	rocks->dir = slice_dup(slice_of(options->dir));
	rocks->free_min = rocks_free_min(write_buffer);
	rocks->cache = make_cache(
		options->block_cache_bytes > 0 ? options->block_cache_bytes : BLOCK_CACHE_BYTES);
	rocks->table = make_table(rocks->cache);
	rocks->options = rocksdb_options_create();
	set_memory(rocks->options, write_buffer);
	set_threads(rocks->options);
	set_files(rocks->options);
	rocksdb_options_set_block_based_table_factory(rocks->options, rocks->table);
	rocks->plain = rocksdb_writeoptions_create();
	rocks->synced = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(rocks->synced, 1);
	rocks->scratch = rocksdb_writebatch_create();
	int err = make_folder(rocks, why, why_size);
	if (err == OK) {
		err = open_database(rocks, "be opened", why, why_size);
	}
	if (err != OK) {
		rocks_close(&rocks->base);
		return err;
	}
	*out = &rocks->base;
	return OK;
}

static int rocks_scan(struct backend *backend, struct slice from, backend_visit *visit,
	void *context, char *why, size_t why_size)
{
	struct rocks *rocks = rocks_of(backend);
	assert(rocks->db != NULL);
	rocksdb_readoptions_t *options = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(options, 1);
	rocksdb_readoptions_set_fill_cache(options, 0); /* read once, at the start */
	rocksdb_iterator_t *at = rocksdb_create_iterator(rocks->db, options);
	int err = OK;
	if (from.len == 0) {
		rocksdb_iter_seek_to_first(at);
	} else {
		rocksdb_iter_seek(at, from.data, from.len);
	}
	for (; err == OK && rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
		struct slice key, value;
		key.data = rocksdb_iter_key(at, &key.len);
		value.data = rocksdb_iter_value(at, &value.len);
		err = visit(context, key, value);
	}
	char *error = NULL;
	rocksdb_iter_get_error(at, &error);
	if (error != NULL) {
		err = fail(rocks, "be read", error, why, why_size);
	}
	rocksdb_iter_destroy(at);
	rocksdb_readoptions_destroy(options);
	return err;
}

static void add_operations(rocksdb_writebatch_t *scratch, const struct store_batch *batch)
{
	struct batch_operation op;
	for (size_t at = 0; batch_read(batch, &at, &op);) {
		switch (op.verb) {
		case BATCH_PUT:
			rocksdb_writebatch_put(
				scratch, op.key.data, op.key.len, op.value.data, op.value.len);
			break;
		case BATCH_DELETE:
			rocksdb_writebatch_delete(scratch, op.key.data, op.key.len);
			break;
		case BATCH_DELETE_PREFIX:
			rocksdb_writebatch_delete_range(
				scratch, op.key.data, op.key.len, op.value.data, op.value.len);
			break;
		}
	}
}

/* A big batch's memory goes back; a small one's is used again. */
static void clear_scratch(struct rocks *rocks)
{
	size_t size;
	rocksdb_writebatch_data(rocks->scratch, &size);
	if (size > SCRATCH_BYTES_MAX) {
		rocksdb_writebatch_destroy(rocks->scratch);
		rocks->scratch = rocksdb_writebatch_create();
	} else {
		rocksdb_writebatch_clear(rocks->scratch);
	}
}

/* Room, and an open database: what every write and sync needs first. */
static int get_ready(struct rocks *rocks, const char *what, char *why, size_t why_size)
{
	return rocks->db == NULL ? open_database(rocks, what, why, why_size)
				 : check_room(rocks, what, why, why_size);
}

static int give_up(struct rocks *rocks, const char *what, char *error, char *why, size_t why_size)
{
	rocksdb_close(rocks->db);
	rocks->db = NULL;
	return fail(rocks, what, error, why, why_size);
}

static int rocks_write(struct backend *backend, const struct store_batch *first,
	const struct store_batch *end, bool sync, char *why, size_t why_size)
{
	struct rocks *rocks = rocks_of(backend);
	int err = get_ready(rocks, "be written", why, why_size);
	if (err != OK) {
		return err;
	}
	for (const struct store_batch *batch = first; batch != end; batch = batch->next) {
		add_operations(rocks->scratch, batch);
	}
	char *error = NULL;
	rocksdb_write(rocks->db, sync ? rocks->synced : rocks->plain, rocks->scratch, &error);
	clear_scratch(rocks);
	return error == NULL ? OK : give_up(rocks, "be written", error, why, why_size);
}

static int rocks_sync(struct backend *backend, char *why, size_t why_size)
{
	struct rocks *rocks = rocks_of(backend);
	if (rocks->db == NULL) {
		/* Opening moves the log into a synced table: that is the sync. */
		return open_database(rocks, "be synced", why, why_size);
	}
	char *error = NULL;
	rocksdb_flush_wal(rocks->db, 1, &error);
	return error == NULL ? OK : give_up(rocks, "be synced", error, why, why_size);
}

/* The data's files: tables and logs. */
static uint64_t folder_bytes(const char *path)
{
	DIR *dir = opendir(path);
	uint64_t sum = 0;
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		const char *dot = strrchr(entry->d_name, '.');
		bool data = dot != NULL && (strcmp(dot, ".sst") == 0 || strcmp(dot, ".log") == 0);
		struct stat file;
		if (data && fstatat(dirfd(dir), entry->d_name, &file, 0) == 0) {
			sum += (uint64_t)file.st_size;
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return sum;
}

static void rocks_measure(struct backend *backend, uint64_t *disk_bytes, uint64_t *memory_bytes)
{
	static const char *const properties[] = {"rocksdb.size-all-mem-tables",
		"rocksdb.block-cache-usage", "rocksdb.estimate-table-readers-mem"};
	struct rocks *rocks = rocks_of(backend);
	*disk_bytes = folder_bytes(rocks->dir);
	*memory_bytes = 0;
	for (size_t i = 0; rocks->db != NULL && i < sizeof(properties) / sizeof(properties[0]);
		i++) {
		uint64_t value = 0;
		if (rocksdb_property_int(rocks->db, properties[i], &value) == 0) {
			*memory_bytes += value;
		}
	}
}

static const struct backend_kind kind = {
	.name = "rocksdb",
	.open = rocks_open,
	.close = rocks_close,
	.scan = rocks_scan,
	.write = rocks_write,
	.sync = rocks_sync,
	.measure = rocks_measure,
};

const struct backend_kind *rocks_kind(void)
{
	return &kind;
}
