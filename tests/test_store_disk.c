/* The store on real disks that misbehave: full, read-only, locked, damaged, older, newer,
 * killed.
 *
 * Some tests run this program again as another process (child_main): one to be killed, one to
 * hold the lock, one without root's rights. Full and read-only disks are small tmpfs mounts in
 * a mount namespace of our own; without the right to mount they are skipped, aloud. Errors that
 * no mount gives come from write(2) and fdatasync(2) below, which stand before the C library's.
 */
#include "store/store.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store/rocks.h"
#include "store/schema.h"
#include "tests/test_store.h"
#include "tests/test_store_faults.h"

/* --- the other process ---------------------------------------------------------------------- */

static char own_path[512]; /* of this program */

struct child {
	pid_t pid;
	int in, out; /* the child's standard input and output */
};

static struct child child_start(const char *role, const char *dir)
{
	int in[2], out[2];
	UNIT_REQUIRE(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	pid_t pid = fork();
	UNIT_REQUIRE(pid >= 0);
	if (pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execl(own_path, own_path, "--child", role, dir, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	return (struct child){pid, in[1], out[0]};
}

static int child_end(struct child *child)
{
	int status = 0;
	close(child->in);
	close(child->out);
	waitpid(child->pid, &status, 0);
	return status;
}

/* One line of the child's, or what there is at its end. */
static void child_line(const struct child *child, char *line, size_t size)
{
	size_t len = 0;
	while (len + 1 < size && read(child->out, line + len, 1) == 1 && line[len] != '\n') {
		len++;
	}
	line[len] = '\0';
}

/* Opens the store, says how that went, and keeps it until its input ends. */
static int child_open(const char *dir)
{
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_NO, NULL);
	struct store *store = NULL;
	char why[512] = "";
	int err = store_open(&options, &store, why, sizeof(why));
	dprintf(STDOUT_FILENO, "%d %s\n", err, why);
	char byte;
	while (read(STDIN_FILENO, &byte, 1) > 0) {
	}
	store_close(store);
	return 0;
}

enum { WRITER_SHARDS = 2 };

static void writer_submit(struct store *store, unsigned shard, int64_t n)
{
	char tenant[16], user[32];
	snprintf(tenant, sizeof(tenant), "t%u", shard);
	snprintf(user, sizeof(user), "@u%lld", (long long)n);
	struct store_batch *batch = store_batch_create();
	struct store_position p = position_of(tenant, "events", "w", n);
	struct store_user_sync s = sync_of(tenant, "id", user, "", n);
	store_put_position(batch, &p);
	store_put_user_sync(batch, &s);
	uint64_t number;
	if (store_submit(store, shard, batch, &number) != OK) {
		abort();
	}
}

/* Writes as fast as it goes, some batches ahead, and tells each acknowledgement as it comes:
 * "shard number". */
static int child_write(const char *dir)
{
	enum { AHEAD = 8 };
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_ALWAYS, &listener);
	options.write_buffer_bytes = 64 * 1024; /* so that memtables are flushed meanwhile */
	struct store *store = NULL;
	char why[512];
	if (store_open(&options, &store, why, sizeof(why)) != OK) {
		return 1;
	}
	uint64_t told[WRITER_SHARDS] = {0}, next = 1;
	for (;;) {
		for (unsigned shard = 0; shard < WRITER_SHARDS; shard++) {
			writer_submit(store, shard, (int64_t)next);
		}
		for (unsigned shard = 0; shard < WRITER_SHARDS; shard++) {
			if (next > AHEAD) {
				listener_wait(&listener, store, is_durable, shard, next - AHEAD);
			}
			uint64_t durable = store_durable(store, shard);
			if (durable > told[shard]) {
				told[shard] = durable;
				dprintf(STDOUT_FILENO, "%u %llu\n", shard,
					(unsigned long long)durable);
			}
		}
		next++;
	}
}

static int child_main(const char *role, const char *dir)
{
	journal_init(JOURNAL_WARNING, -1);
	if (strcmp(role, "write") == 0) {
		return child_write(dir);
	}
	if (strcmp(role, "open-as-nobody") == 0 && geteuid() == 0 &&
		(setgid(65534) != 0 || setuid(65534) != 0)) {
		return 1;
	}
	return child_open(dir);
}

/* --- helpers ---------------------------------------------------------------------------------- */

static int try_open(const char *dir, char *why, size_t why_size)
{
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_NO, NULL);
	struct store *store = NULL;
	why[0] = '\0';
	int err = store_open(&options, &store, why, why_size);
	store_close(store);
	return err;
}

static void expect_refused(const char *dir, int code, const char *words)
{
	char why[512];
	int err = try_open(dir, why, sizeof(why));
	if (err != code || strstr(why, words) == NULL || strstr(why, dir) == NULL) {
		printf("expected %d with \"%s\", found %d: %s\n", code, words, err, why);
	}
	CU_ASSERT_EQUAL(err, code);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, words));
	CU_ASSERT_PTR_NOT_NULL(strstr(why, dir));
}

static void put_position(struct store *store, struct listener *listener, int64_t token)
{
	struct store_position p = position_of("t", "events", "w", token);
	struct store_batch *batch = store_batch_create();
	store_put_position(batch, &p);
	uint64_t number = submit(store, 0, batch);
	CU_ASSERT_TRUE(listener_wait(listener, store, is_durable, 0, number));
}

/* A folder with one position in it. */
static void make_store(const char *dir)
{
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_ALWAYS, &listener);
	struct store *store = open_store(&options);
	put_position(store, &listener, 1);
	store_close(store);
}

/* Put keys and values into a folder past store.c, as another version of it might have. */
static void put_raw(const char *dir, const struct slice *pairs, size_t count)
{
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_ALWAYS, NULL);
	struct backend *backend = NULL;
	char why[512];
	UNIT_REQUIRE(rocks_kind()->open(&options, &backend, why, sizeof(why)) == OK);
	struct store_batch *batch = store_batch_create();
	for (size_t i = 0; i < count; i++) {
		batch_put(batch, pairs[2 * i], pairs[2 * i + 1]);
	}
	CU_ASSERT_EQUAL(rocks_kind()->write(backend, batch, NULL, true, why, sizeof(why)), OK);
	store_batch_destroy(batch);
	rocks_kind()->close(backend);
}

/* --- formats ------------------------------------------------------------------------------------ */

static void test_store_newer_format_is_refused(void)
{
	char dir[128];
	make_folder(dir, sizeof(dir));
	make_store(dir);
	struct slice pairs[] = {schema_version_key(), SLICE("\0\0\0\x09 and more")};
	put_raw(dir, pairs, 1);
	expect_refused(dir, -E_NEWER, "version 9");
	/* And it was not touched: the newer program finds its own. */
	expect_refused(dir, -E_NEWER, "version 9");
	remove_folder(dir);
}

static void test_store_version_1_is_migrated_once(void)
{
	char dir[128];
	make_folder(dir, sizeof(dir));
	struct slice pairs[] = {schema_version_key(), SLICE("\0\0\0\1"), SLICE("\x10\1t\1s\1w"),
		SLICE("\x80\0\0\0\0\0\0\x2a\x80\0\0\0\0\0\0\7"), SLICE("\x10\1t\1s\1x"),
		SLICE("\x7f\xff\xff\xff\xff\xff\xff\xff\x80\0\0\0\0\0\0\x8"), SLICE("\x20\1t\2id"),
		SLICE("\x80\0\0\0\0\0\0\x9"), SLICE("\x21\1t\2id\2@u\0"),
		SLICE("\x80\0\0\0\0\0\0\xa")};
	put_raw(dir, pairs, sizeof(pairs) / sizeof(pairs[0]) / 2);
	const char *expected = "position t s w = 42 42 7\n"
			       "position t s x = -1 -1 8\n"
			       "instance t id = 9\n"
			       "sync t id @u  = 10\n";
	journal_init(JOURNAL_NOTICE, -1);
	uint64_t notices = journal_count(JOURNAL_NOTICE);
	for (int i = 0; i < 2; i++) {
		char *text = dump_folder(dir);
		assert_text(text, expected);
		free(text);
	}
	CU_ASSERT_EQUAL(journal_count(JOURNAL_NOTICE), notices + 1);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
	remove_folder(dir);
}

static void test_store_damaged_version_1_is_not_migrated(void)
{
	char dir[128];
	make_folder(dir, sizeof(dir));
	struct slice pairs[] = {schema_version_key(), SLICE("\0\0\0\1"), SLICE("\x10\1t\1s\1w"),
		SLICE("\x80\0\0\0\0\0\0\x2a")};
	put_raw(dir, pairs, 2);
	expect_refused(dir, -E_CORRUPT, "migrated");
	expect_refused(dir, -E_CORRUPT, "migrated");
	remove_folder(dir);
}

static void test_store_foreign_database_is_refused(void)
{
	char dir[128];
	make_folder(dir, sizeof(dir));
	struct slice pairs[] = {SLICE("somebody"), SLICE("else")};
	put_raw(dir, pairs, 1);
	expect_refused(dir, -E_CORRUPT, "not one of millrace's");
	remove_folder(dir);
}

static void test_store_unknown_key_ends_the_reading(void)
{
	char dir[128];
	make_folder(dir, sizeof(dir));
	make_store(dir);
	struct slice pairs[] = {SLICE("\x77what"), SLICE("is this")};
	put_raw(dir, pairs, 1);
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_NO, NULL);
	struct store *store = open_store(&options);
	journal_init(JOURNAL_NOTICE, -1);
	uint64_t warnings = journal_count(JOURNAL_WARNING);
	int err;
	char *text = dump(store, &err);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
	CU_ASSERT_EQUAL(err, -E_CORRUPT);
	CU_ASSERT_EQUAL(journal_count(JOURNAL_WARNING), warnings + 1);
	assert_text(text, "position t events w = 1 0 1700000000001\n"); /* what came before it */
	free(text);
	store_close(store);
	remove_folder(dir);
}

/* --- damage ------------------------------------------------------------------------------------- */

/* The first file in the folder whose name begins or ends so. */
static bool find_file(const char *dir, const char *part, char *path, size_t size)
{
	char pattern[256];
	snprintf(pattern, sizeof(pattern), "ls %s/*%s* 2>/dev/null", dir, part);
	FILE *list = popen(pattern, "r");
	UNIT_REQUIRE(list != NULL);
	bool found = fgets(path, (int)size, list) != NULL;
	pclose(list);
	path[strcspn(path, "\n")] = '\0';
	return found;
}

static void overwrite(const char *path, off_t at, const char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY);
	UNIT_REQUIRE(fd >= 0);
	CU_ASSERT_EQUAL(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

static void test_store_damaged_current_is_refused(void)
{
	char dir[128], path[256];
	make_folder(dir, sizeof(dir));
	make_store(dir);
	snprintf(path, sizeof(path), "%s/CURRENT", dir);
	overwrite(path, 0, "MANIFEST-777777\n", 16);
	expect_refused(dir, -E_CORRUPT, "ldb repair");
	UNIT_REQUIRE(truncate(path, 0) == 0);
	expect_refused(dir, -E_CORRUPT, "ldb repair");
	UNIT_REQUIRE(unlink(path) == 0);
	expect_refused(dir, -E_CORRUPT, "CURRENT is missing");
	remove_folder(dir);
}

static void test_store_damaged_manifest_is_refused(void)
{
	char dir[128], path[256];
	make_folder(dir, sizeof(dir));
	make_store(dir);
	UNIT_REQUIRE(find_file(dir, "MANIFEST-", path, sizeof(path)));
	overwrite(path, 10, "garbage", 7);
	expect_refused(dir, -E_CORRUPT, "ldb repair");
	UNIT_REQUIRE(truncate(path, 0) == 0);
	expect_refused(dir, -E_CORRUPT, "ldb repair");
	remove_folder(dir);
}

static void test_store_damaged_table_is_an_error_of_reading(void)
{
	char dir[128], path[256];
	make_folder(dir, sizeof(dir));
	make_store(dir);
	char *text = dump_folder(dir); /* opening again has moved the log into a table */
	free(text);
	UNIT_REQUIRE(find_file(dir, ".sst", path, sizeof(path)));
	overwrite(path, 10, "garbage", 7);
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_NO, NULL);
	struct store *store = NULL;
	char why[512] = "";
	int err = store_open(&options, &store, why, sizeof(why));
	CU_ASSERT_EQUAL(err, -E_CORRUPT); /* looking for the version reads the block */
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "damaged"));
	store_close(store);
	remove_folder(dir);
}

/* A power loss tears the last record: what stands before it is there, and the store opens. */
static void test_store_torn_log_is_read_up_to_the_tear(void)
{
	char dir[128], path[256];
	make_folder(dir, sizeof(dir));
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_ALWAYS, &listener);
	struct store *store = open_store(&options);
	for (int64_t n = 1; n <= 3; n++) {
		put_position(store, &listener, n);
	}
	store_close(store);
	UNIT_REQUIRE(find_file(dir, ".log", path, sizeof(path)));
	struct stat file;
	UNIT_REQUIRE(stat(path, &file) == 0);
	UNIT_REQUIRE(truncate(path, file.st_size - 5) == 0);
	char *text = dump_folder(dir);
	assert_text(text, "position t events w = 2 1 1700000000002\n");
	free(text);
	remove_folder(dir);
}

/* --- other processes, other users ------------------------------------------------------------- */

static void test_store_open_elsewhere_is_refused_with_the_process(void)
{
	char dir[128], line[512], words[64];
	make_folder(dir, sizeof(dir));
	struct child child = child_start("open", dir);
	child_line(&child, line, sizeof(line));
	CU_ASSERT_STRING_EQUAL(line, "0 ");
	snprintf(words, sizeof(words), "process %d has it open", (int)child.pid);
	expect_refused(dir, -E_IN_USE, words);
	CU_ASSERT_EQUAL(child_end(&child), 0);
	/* In this process, too; and being refused did not take the first one's lock away. */
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_NO, NULL);
	struct store *store = open_store(&options);
	expect_refused(dir, -E_IN_USE, "already in use");
	child = child_start("open", dir);
	child_line(&child, line, sizeof(line));
	CU_ASSERT_EQUAL(atoi(line), -E_IN_USE);
	CU_ASSERT_EQUAL(child_end(&child), 0);
	store_close(store);
	remove_folder(dir);
}

static void expect_nobody_is_refused(const char *dir)
{
	char line[512];
	struct child child = child_start("open-as-nobody", dir);
	child_line(&child, line, sizeof(line));
	CU_ASSERT_EQUAL(atoi(line), -E_NOT_ALLOWED);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "give the folder"));
	CU_ASSERT_EQUAL(child_end(&child), 0);
}

static void test_store_folder_of_another_user_is_refused(void)
{
	char dir[128], inner[160], exe[1024];
	make_folder(dir, sizeof(dir));
	snprintf(inner, sizeof(inner), "%s/store", dir);
	/* Another user may be unable to reach this program where it stands. */
	snprintf(exe, sizeof(exe), "cp %s %s/program && chmod 755 %s/program", own_path, dir, dir);
	UNIT_REQUIRE(system(exe) == 0);
	char before[sizeof(own_path)];
	memcpy(before, own_path, sizeof(before));
	snprintf(own_path, sizeof(own_path), "%s/program", dir);
	UNIT_REQUIRE(chmod(dir, 0755) == 0);
	make_store(inner);
	struct stat folder;
	UNIT_REQUIRE(stat(inner, &folder) == 0);
	CU_ASSERT_EQUAL(folder.st_mode & 0777, 0700); /* user ids are in it */
	UNIT_REQUIRE(chmod(inner, 0) == 0);
	expect_nobody_is_refused(inner);
	UNIT_REQUIRE(chmod(inner, 0555) == 0);
	expect_nobody_is_refused(inner);
	char missing[200];
	snprintf(missing, sizeof(missing), "%s/new", dir);
	UNIT_REQUIRE(chmod(dir, 0555) == 0);
	expect_nobody_is_refused(missing);
	UNIT_REQUIRE(chmod(dir, 0755) == 0 && chmod(inner, 0700) == 0);
	memcpy(own_path, before, sizeof(before));
	remove_folder(dir);
}

static void test_store_folder_that_cannot_be_is_refused(void)
{
	char dir[128], path[256];
	make_folder(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/no/such/parent", dir);
	expect_refused(path, -E_IO, "No such file");
	snprintf(path, sizeof(path), "%s/file", dir);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	UNIT_REQUIRE(fd >= 0);
	close(fd);
	expect_refused(path, -E_IO, "Not a directory");
	remove_folder(dir);
}

/* Read the writer's acknowledgements until enough have come, kill it, and read what was on its
 * way. */
static void kill_after(struct child *child, uint64_t enough, uint64_t *acknowledged)
{
	FILE *out = fdopen(dup(child->out), "r");
	UNIT_REQUIRE(out != NULL);
	unsigned shard;
	unsigned long long number;
	bool killed = false;
	while (fscanf(out, "%u %llu", &shard, &number) == 2) {
		UNIT_REQUIRE(shard < WRITER_SHARDS);
		acknowledged[shard] = number;
		if (!killed && number >= enough) {
			kill(child->pid, SIGKILL);
			killed = true;
		}
	}
	fclose(out);
	CU_ASSERT_TRUE(killed);
	CU_ASSERT_TRUE(WIFSIGNALED(child_end(child)));
}

struct survivors {
	int64_t token[WRITER_SHARDS];
	uint64_t syncs[WRITER_SHARDS];
	int64_t newest[WRITER_SHARDS];
};

static void survived_position(void *context, const struct store_position *p)
{
	struct survivors *s = context;
	s->token[p->tenant.data[1] - '0'] = p->token;
}

static void survived_sync(void *context, const struct store_user_sync *sync)
{
	struct survivors *s = context;
	int shard = sync->tenant.data[1] - '0';
	s->syncs[shard]++;
	s->newest[shard] = sync->since_ms > s->newest[shard] ? sync->since_ms : s->newest[shard];
}

static void test_store_kill_9_loses_no_acknowledged_batch(void)
{
	uint64_t state = unit_seed();
	for (int round = 0; round < 6; round++) {
		char dir[128];
		make_folder(dir, sizeof(dir));
		uint64_t acknowledged[WRITER_SHARDS] = {0};
		struct child child = child_start("write", dir);
		kill_after(&child, 1 + unit_random(&state) % 1500, acknowledged);
		struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_NO, NULL);
		struct store *store = open_store(&options);
		struct survivors found = {0};
		struct store_loader loader = {survived_position, NULL, survived_sync, &found};
		CU_ASSERT_EQUAL(store_load(store, &loader), OK);
		store_close(store);
		for (unsigned shard = 0; shard < WRITER_SHARDS; shard++) {
			CU_ASSERT_TRUE(found.token[shard] >= (int64_t)acknowledged[shard]);
			/* Batches are whole, and there is none missing among them. */
			CU_ASSERT_EQUAL(found.newest[shard], found.token[shard]);
			CU_ASSERT_EQUAL((int64_t)found.syncs[shard], found.token[shard]);
		}
		remove_folder(dir);
	}
}

/* --- full and read-only disks ----------------------------------------------------------------- */

/* A tmpfs at `dir`, or a skip. */
static bool mount_small(const char *dir, const char *options)
{
	if (mount("millrace", dir, "tmpfs", 0, options) == 0) {
		return true;
	}
	char reason[128];
	snprintf(reason, sizeof(reason), "no small disk can be mounted here: %s", strerror(errno));
	unit_skip(reason);
	return false;
}

/* Fill the disk up to `leave` bytes. */
static void fill_disk(const char *dir, uint64_t leave)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/ballast", dir);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	UNIT_REQUIRE(fd >= 0);
	static const char zeros[64 * 1024];
	while (write(fd, zeros, sizeof(zeros)) > 0) {
	}
	off_t size = lseek(fd, 0, SEEK_END);
	UNIT_REQUIRE(ftruncate(fd, size - (off_t)leave) == 0);
	close(fd);
}

static void make_room(const char *dir)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/ballast", dir);
	UNIT_REQUIRE(unlink(path) == 0);
}

static void test_store_full_disk_is_refused_at_start(void)
{
	char dir[128], inner[160];
	make_folder(dir, sizeof(dir));
	if (mount_small(dir, "size=16m")) {
		snprintf(inner, sizeof(inner), "%s/store", dir);
		fill_disk(dir, 100 * 1024);
		expect_refused(inner, -E_NOSPACE, "make room");
		make_room(dir);
		make_store(inner);
		umount2(dir, MNT_DETACH);
	}
	remove_folder(dir);
}

/* Nothing wakes a test for a second failure with the same error: look until it is counted. */
static bool has_failed(struct store *store, uint64_t times)
{
	struct store_stats stats;
	for (int look = 0; look < WAIT_S * 100; look++) {
		store_read_stats(store, &stats);
		if (stats.failed_writes >= times) {
			return true;
		}
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return false;
}

/* Fill the disk under a store that writes, see it wait, make room, see it go on with
 * everything. */
static void fill_and_free(uint64_t leave, enum store_fsync fsync)
{
	char dir[128], inner[160];
	make_folder(dir, sizeof(dir));
	if (!mount_small(dir, "size=16m")) {
		remove_folder(dir);
		return;
	}
	snprintf(inner, sizeof(inner), "%s/store", dir);
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for("rocksdb", inner, fsync, &listener);
	struct store *store = open_store(&options);
	put_position(store, &listener, 1);
	fill_disk(dir, leave);
	journal_init(JOURNAL_NOTICE, -1);
	uint64_t warnings = journal_count(JOURNAL_WARNING), number = 0;
	for (int64_t n = 2; n <= 200; n++) {
		struct store_batch *batch = store_batch_create();
		struct store_position p = position_of("t", "events", "w", n);
		store_put_position(batch, &p);
		number = submit(store, 0, batch);
	}
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, E_NOSPACE));
	CU_ASSERT_TRUE(has_failed(store, 2));
	CU_ASSERT_TRUE(store_durable(store, 0) < number);
	make_room(dir);
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 0, number));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, OK));
	store_close(store);
	CU_ASSERT_EQUAL(journal_count(JOURNAL_WARNING), warnings + 1);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
	char *text = dump_folder(inner);
	assert_text(text, "position t events w = 200 199 1700000000200\n");
	free(text);
	umount2(dir, MNT_DETACH);
	remove_folder(dir);
}

static void test_store_full_disk_is_waited_for_and_nothing_is_lost(void)
{
	fill_and_free(0, STORE_FSYNC_ALWAYS);
	fill_and_free(300 * 1024, STORE_FSYNC_EVERYSEC);
}

static void test_store_read_only_disk_is_refused(void)
{
	char dir[128], inner[160];
	make_folder(dir, sizeof(dir));
	if (mount_small(dir, "size=16m")) {
		snprintf(inner, sizeof(inner), "%s/store", dir);
		make_store(inner);
		UNIT_REQUIRE(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
		expect_refused(inner, -E_READONLY, "remount");
		snprintf(inner, sizeof(inner), "%s/new", dir);
		expect_refused(inner, -E_READONLY, "remount");
		umount2(dir, MNT_DETACH);
	}
	remove_folder(dir);
}

/* --- system calls that fail: what the check of free room cannot see coming ------------------------ */

static void fail_and_heal(_Atomic int *call, int errnum, int code, enum store_fsync fsync)
{
	char dir[128];
	make_folder(dir, sizeof(dir));
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for("rocksdb", dir, fsync, &listener);
	struct store *store = open_store(&options);
	put_position(store, &listener, 1);
	journal_init(JOURNAL_NOTICE, -1);
	atomic_store(&faults.failed, 0);
	atomic_store(call, errnum);
	uint64_t number = 0;
	for (int64_t n = 2; n <= 50; n++) {
		struct store_batch *batch = store_batch_create();
		struct store_position p = position_of("t", "events", "w", n);
		store_put_position(batch, &p);
		number = submit(store, 0, batch);
	}
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, (uint64_t)code));
	atomic_store(call, 0);
	CU_ASSERT_TRUE(atomic_load(&faults.failed) > 0);
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 0, number));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, OK));
	put_position(store, &listener, 51);
	store_close(store);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
	char *text = dump_folder(dir);
	assert_text(text, "position t events w = 51 50 1700000000051\n");
	free(text);
	remove_folder(dir);
}

static void test_store_failing_writes_are_survived_and_made_good(void)
{
	fail_and_heal(&faults.write_errnum, ENOSPC, E_NOSPACE, STORE_FSYNC_ALWAYS);
	fail_and_heal(&faults.write_errnum, EDQUOT, E_NOSPACE, STORE_FSYNC_NO);
	fail_and_heal(&faults.write_errnum, EIO, E_IO, STORE_FSYNC_EVERYSEC);
}

static void test_store_failing_syncs_are_survived_and_made_good(void)
{
	fail_and_heal(&faults.sync_errnum, EIO, E_IO, STORE_FSYNC_ALWAYS);
	fail_and_heal(&faults.sync_errnum, EIO, E_IO, STORE_FSYNC_EVERYSEC);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_store_newer_format_is_refused),
	UNIT_TEST(test_store_version_1_is_migrated_once),
	UNIT_TEST(test_store_damaged_version_1_is_not_migrated),
	UNIT_TEST(test_store_foreign_database_is_refused),
	UNIT_TEST(test_store_unknown_key_ends_the_reading),
	UNIT_TEST(test_store_damaged_current_is_refused),
	UNIT_TEST(test_store_damaged_manifest_is_refused),
	UNIT_TEST(test_store_damaged_table_is_an_error_of_reading),
	UNIT_TEST(test_store_torn_log_is_read_up_to_the_tear),
	UNIT_TEST(test_store_open_elsewhere_is_refused_with_the_process),
	UNIT_TEST(test_store_folder_of_another_user_is_refused),
	UNIT_TEST(test_store_folder_that_cannot_be_is_refused),
	UNIT_TEST(test_store_kill_9_loses_no_acknowledged_batch),
	UNIT_TEST(test_store_full_disk_is_refused_at_start),
	UNIT_TEST(test_store_full_disk_is_waited_for_and_nothing_is_lost),
	UNIT_TEST(test_store_read_only_disk_is_refused),
	UNIT_TEST(test_store_failing_writes_are_survived_and_made_good),
	UNIT_TEST(test_store_failing_syncs_are_survived_and_made_good),
};

int main(int argc, char **argv)
{
	ssize_t len = readlink("/proc/self/exe", own_path, sizeof(own_path) - 1);
	if (len <= 0) {
		return 1;
	}
	if (argc == 4 && strcmp(argv[1], "--child") == 0) {
		return child_main(argv[2], argv[3]);
	}
	/* Before any thread: RocksDB's own must see the mounts, too. Failing is a skip later. */
	if (unshare(CLONE_NEWNS) == 0) {
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	}
	return UNIT_MAIN(argc, argv, "store_disk", tests);
}
