/* The store's contract, on each kind; and the thread in front of a disk that does as it is
 * told. */
#include "store/store.h"

#include "store/backend.h"
#include "tests/test_store.h"

/* --- the contract, on every kind ---------------------------------------------------------- */

static const char *const kinds[] = {"rocksdb", "none"};

static void on_each_kind(void (*test)(const char *kind, const char *dir))
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char dir[128];
		make_folder(dir, sizeof(dir));
		test(kinds[i], dir);
		remove_folder(dir);
	}
}

static void put_a_bit_of_everything(struct store_batch *batch)
{
	struct store_position p = position_of("a.example", "events", "master", 12);
	struct store_position negative = position_of("a.example", "backfill", "w1", -7);
	struct store_instance i = {SLICE("a.example"), SLICE("abcde"), 99};
	struct store_user_sync with = sync_of("a.example", "abcde", "@u:a", "PHONE", 5);
	struct store_user_sync without = sync_of("a.example", "abcde", "@v:a", "", 6);
	store_put_user_sync(batch, &without);
	store_put_position(batch, &p);
	store_put_position(batch, &negative);
	store_put_user_sync(batch, &with);
	store_put_instance(batch, &i);
}

static const char everything[] = "position a.example events master = 12 11 1700000000012\n"
				 "position a.example backfill w1 = -7 -8 1699999999993\n"
				 "instance a.example abcde = 99\n"
				 "sync a.example abcde @u:a PHONE = 5\n"
				 "sync a.example abcde @v:a  = 6\n";

static void read_back(const char *kind, const char *dir)
{
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for(kind, dir, STORE_FSYNC_ALWAYS, &listener);
	struct store *store = open_store(&options);
	int err;
	char *text = dump(store, &err);
	CU_ASSERT_EQUAL(err, OK);
	assert_text(text, "");
	free(text);
	struct store_batch *batch = store_batch_create();
	put_a_bit_of_everything(batch);
	CU_ASSERT_EQUAL(store_batch_count(batch), 5);
	uint64_t number = submit(store, 3, batch);
	CU_ASSERT_EQUAL(number, 1);
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 3, number));
	CU_ASSERT_EQUAL(store_durable(store, 2), 0);
	CU_ASSERT_EQUAL(store_health(store), OK);
	store_close(store);
	store = open_store(&options);
	text = dump(store, &err);
	CU_ASSERT_EQUAL(err, OK);
	assert_text(text, strcmp(kind, "none") == 0 ? "" : everything);
	free(text);
	store_close(store);
}

static void test_store_everything_is_read_back_in_order(void)
{
	on_each_kind(read_back);
}

static void delete_things(const char *kind, const char *dir)
{
	struct store_options options = options_for(kind, dir, STORE_FSYNC_NO, NULL);
	struct store *store = open_store(&options);
	struct store_batch *batch = store_batch_create();
	put_a_bit_of_everything(batch);
	struct store_user_sync other = sync_of("a.example", "abcdef", "@u:a", "", 8);
	struct store_user_sync foreign = sync_of("b.example", "abcde", "@u:b", "", 9);
	struct store_user_sync first = sync_of("a.example", "abcde", "@u:a", "PHONE", 0);
	store_put_user_sync(batch, &other);
	store_put_user_sync(batch, &foreign);
	submit(store, 0, batch);
	batch = store_batch_create();
	store_delete_user_sync(batch, &first);
	store_delete_position(batch, SLICE("a.example"), SLICE("events"), SLICE("master"));
	submit(store, 0, batch);
	store_close(store);

	bool none = strcmp(kind, "none") == 0;
	store = open_store(&options);
	int err;
	char *text = dump(store, &err);
	assert_text(text, none ? ""
			       : "position a.example backfill w1 = -7 -8 1699999999993\n"
				 "instance a.example abcde = 99\n"
				 "sync a.example abcde @v:a  = 6\n"
				 "sync a.example abcdef @u:a  = 8\n"
				 "sync b.example abcde @u:b  = 9\n");
	free(text);
	/* In one batch, what comes after the deletion stays. */
	batch = store_batch_create();
	store_put_user_sync(batch, &first);
	store_delete_instance(batch, SLICE("a.example"), SLICE("abcde"));
	struct store_user_sync again = sync_of("a.example", "abcde", "@w:a", "", 10);
	store_put_user_sync(batch, &again);
	submit(store, 0, batch);
	store_close(store);
	store = open_store(&options);
	text = dump(store, &err);
	assert_text(text, none ? ""
			       : "position a.example backfill w1 = -7 -8 1699999999993\n"
				 "sync a.example abcde @w:a  = 10\n"
				 "sync a.example abcdef @u:a  = 8\n"
				 "sync b.example abcde @u:b  = 9\n");
	free(text);
	store_close(store);
}

static void test_store_deleting_a_process_takes_its_user_syncs_and_no_others(void)
{
	on_each_kind(delete_things);
}

static void numbers_and_order(const char *kind, const char *dir)
{
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for(kind, dir, STORE_FSYNC_EVERYSEC, &listener);
	struct store *store = open_store(&options);
	enum { BATCHES = 500, SHARDS = 3 };
	for (uint64_t n = 1; n <= BATCHES; n++) {
		for (unsigned shard = 0; shard < SHARDS; shard++) {
			char tenant[16];
			snprintf(tenant, sizeof(tenant), "t%u", shard);
			struct store_position p = position_of(tenant, "s", "i", (int64_t)n);
			struct store_batch *batch = store_batch_create();
			store_put_position(batch, &p);
			CU_ASSERT_EQUAL(submit(store, shard, batch), n);
		}
	}
	/* A barrier: an empty batch is durable when all before it are. */
	for (unsigned shard = 0; shard < SHARDS; shard++) {
		uint64_t number = submit(store, shard, store_batch_create());
		CU_ASSERT_EQUAL(number, BATCHES + 1);
		CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, shard, number));
	}
	struct store_stats stats;
	store_read_stats(store, &stats);
	CU_ASSERT_EQUAL(stats.batches, SHARDS * (BATCHES + 1));
	CU_ASSERT_EQUAL(stats.queued_bytes, 0);
	CU_ASSERT_EQUAL(stats.queued_batches, 0);
	CU_ASSERT_EQUAL(stats.oldest_queued_ms, 0);
	CU_ASSERT_EQUAL(stats.failed_writes, 0);
	store_close(store);
	store = open_store(&options);
	int err;
	char *text = dump(store, &err);
	assert_text(text, strcmp(kind, "none") == 0 ? ""
						    : "position t0 s i = 500 499 1700000000500\n"
						      "position t1 s i = 500 499 1700000000500\n"
						      "position t2 s i = 500 499 1700000000500\n");
	free(text);
	store_close(store);
}

static void test_store_each_shard_has_its_numbers_and_its_order(void)
{
	on_each_kind(numbers_and_order);
}

struct pusher {
	pthread_t thread;
	struct store *store;
	struct listener *listener;
	unsigned shard;
	bool ok;
};

enum { PUSHERS = 4, PUSHES = 2000 };

static void *push(void *arg)
{
	struct pusher *pusher = arg;
	char tenant[16];
	snprintf(tenant, sizeof(tenant), "t%u", pusher->shard);
	uint64_t number = 0;
	pusher->ok = true; /* CUnit's checks are for one thread */
	for (int n = 1; n <= PUSHES; n++) {
		struct store_position p = position_of(tenant, "s", "i", n);
		struct store_batch *batch = store_batch_create();
		store_put_position(batch, &p);
		pusher->ok &= store_submit(pusher->store, pusher->shard, batch, &number) == OK;
		pusher->ok &= number == (uint64_t)n;
		pusher->ok &= store_durable(pusher->store, pusher->shard) <= number;
	}
	pusher->ok &=
		listener_wait(pusher->listener, pusher->store, is_durable, pusher->shard, number);
	return NULL;
}

static void four_shards(const char *kind, const char *dir)
{
	struct listener listener;
	listener_init(&listener);
	struct store_options options = options_for(kind, dir, STORE_FSYNC_NO, &listener);
	struct store *store = open_store(&options);
	struct pusher pushers[PUSHERS];
	for (unsigned i = 0; i < PUSHERS; i++) {
		pushers[i] = (struct pusher){.store = store, .listener = &listener, .shard = i};
		UNIT_REQUIRE(pthread_create(&pushers[i].thread, NULL, push, &pushers[i]) == 0);
	}
	for (unsigned i = 0; i < PUSHERS; i++) {
		pthread_join(pushers[i].thread, NULL);
		CU_ASSERT_TRUE(pushers[i].ok);
	}
	store_close(store);
	store = open_store(&options);
	int err;
	char *text = dump(store, &err);
	assert_text(text, strcmp(kind, "none") == 0
				  ? ""
				  : "position t0 s i = 2000 1999 1700000002000\n"
				    "position t1 s i = 2000 1999 1700000002000\n"
				    "position t2 s i = 2000 1999 1700000002000\n"
				    "position t3 s i = 2000 1999 1700000002000\n");
	free(text);
	store_close(store);
}

static void test_store_four_shards_submit_from_four_threads(void)
{
	on_each_kind(four_shards);
}

static void test_store_unknown_kind_is_refused_by_name(void)
{
	struct store_options options = options_for("floppy", "/nowhere", STORE_FSYNC_NO, NULL);
	struct store *store = NULL;
	char why[256] = "";
	CU_ASSERT_EQUAL(store_open(&options, &store, why, sizeof(why)), -E_UNKNOWN);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "floppy"));
	CU_ASSERT_PTR_NULL(store);
	store_close(NULL);
}

/* --- the thread, in front of a disk that does as it is told --------------------------------- */

/* One disk at a time. A write waits at the gate while it is closed, and then fails with
 * `fails`, if that is set. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool gate_closed;
	bool at_gate; /* a write stands before it */
	int fails;
	int sync_fails;
	unsigned writes, syncs, failures;
	unsigned batches_in_last_write;
	bool last_write_synced;
	uint64_t last_number; /* of the last batch written */
	bool out_of_order;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void disk_reset(void)
{
	disk.gate_closed = disk.at_gate = disk.out_of_order = disk.last_write_synced = false;
	disk.fails = disk.sync_fails = 0;
	disk.writes = disk.syncs = disk.failures = disk.batches_in_last_write = 0;
	disk.last_number = 0;
}

static int told_open(
	const struct store_options *options, struct backend **out, char *why, size_t why_size);
static void told_close(struct backend *backend)
{
	free(backend);
}

static int told_scan(struct backend *backend, struct slice from, backend_visit *visit,
	void *context, char *why, size_t why_size)
{
	(void)backend, (void)from, (void)visit, (void)context, (void)why, (void)why_size;
	return OK;
}

static int told_write(struct backend *backend, const struct store_batch *first,
	const struct store_batch *end, bool sync, char *why, size_t why_size)
{
	(void)backend;
	pthread_mutex_lock(&disk.mutex);
	disk.at_gate = true;
	pthread_cond_broadcast(&disk.changed);
	while (disk.gate_closed) {
		pthread_cond_wait(&disk.changed, &disk.mutex);
	}
	disk.at_gate = false;
	int err = disk.fails;
	if (err == OK) {
		disk.writes++;
		disk.last_write_synced = sync;
		disk.batches_in_last_write = 0;
		for (const struct store_batch *b = first; b != end; b = b->next) {
			disk.batches_in_last_write++;
			bool next = b->number == 0 || b->number == disk.last_number + 1;
			disk.out_of_order = disk.out_of_order || !next;
			disk.last_number = b->number;
		}
	} else {
		disk.failures++;
		snprintf(why, why_size, "told to");
	}
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.mutex);
	return err;
}

static int told_sync(struct backend *backend, char *why, size_t why_size)
{
	(void)backend;
	pthread_mutex_lock(&disk.mutex);
	int err = disk.sync_fails;
	disk.syncs += err == OK;
	disk.failures += err != OK;
	snprintf(why, why_size, "told to");
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.mutex);
	return err;
}

static void told_measure(struct backend *backend, uint64_t *disk_bytes, uint64_t *memory_bytes)
{
	(void)backend;
	*disk_bytes = 1;
	*memory_bytes = 2;
}

static const struct backend_kind told = {
	.name = "told",
	.open = told_open,
	.close = told_close,
	.scan = told_scan,
	.write = told_write,
	.sync = told_sync,
	.measure = told_measure,
};

static int told_open(
	const struct store_options *options, struct backend **out, char *why, size_t why_size)
{
	(void)options, (void)why, (void)why_size;
	*out = calloc(1, sizeof(**out));
	UNIT_REQUIRE(*out != NULL);
	(*out)->kind = &told;
	return OK;
}

static struct store *open_told(
	enum store_fsync fsync, size_t queue_bytes_max, struct listener *listener)
{
	disk_reset();
	listener_init(listener);
	struct store_options options = options_for("told", "nowhere", fsync, listener);
	options.queue_bytes_max = queue_bytes_max;
	struct store *store = NULL;
	char why[256];
	UNIT_REQUIRE(store_open_kind(&options, &told, &store, why, sizeof(why)) == OK);
	/* The format's version was the first write. */
	CU_ASSERT_EQUAL(disk.writes, 1);
	disk.writes = 0;
	return store;
}

static void disk_set(bool gate_closed, int fails)
{
	pthread_mutex_lock(&disk.mutex);
	disk.gate_closed = gate_closed;
	disk.fails = fails;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.mutex);
}

/* Wait until the disk's counter has reached `n`. */
static bool disk_wait(const unsigned *count, unsigned n)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&disk.mutex);
	int err = 0;
	while (*count < n && err == 0) {
		err = pthread_cond_timedwait(&disk.changed, &disk.mutex, &until);
	}
	bool reached = *count >= n;
	pthread_mutex_unlock(&disk.mutex);
	return reached;
}

static void disk_wait_at_gate(void)
{
	pthread_mutex_lock(&disk.mutex);
	while (!disk.at_gate) {
		pthread_cond_wait(&disk.changed, &disk.mutex);
	}
	pthread_mutex_unlock(&disk.mutex);
}

static struct store_batch *small_batch(int64_t token)
{
	struct store_position p = position_of("t", "s", "i", token);
	struct store_batch *batch = store_batch_create();
	store_put_position(batch, &p);
	return batch;
}

static void test_store_group_commit_takes_all_that_came_during_a_sync(void)
{
	struct listener listener;
	struct store *store = open_told(STORE_FSYNC_ALWAYS, QUEUE_BYTES, &listener);
	disk_set(true, OK);
	submit(store, 0, small_batch(1));
	disk_wait_at_gate();
	for (int64_t n = 2; n <= 50; n++) {
		submit(store, 0, small_batch(n)); /* and none of them waits */
	}
	CU_ASSERT_EQUAL(store_durable(store, 0), 0);
	disk_set(false, OK);
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 0, 50));
	CU_ASSERT_EQUAL(disk.writes, 2);
	CU_ASSERT_EQUAL(disk.batches_in_last_write, 49);
	CU_ASSERT_TRUE(disk.last_write_synced);
	CU_ASSERT_FALSE(disk.out_of_order);
	CU_ASSERT_EQUAL(disk.syncs, 0);
	struct store_stats stats;
	store_read_stats(store, &stats);
	CU_ASSERT_EQUAL(stats.writes, 2);
	CU_ASSERT_EQUAL(stats.syncs, 2);
	CU_ASSERT_EQUAL(stats.rows, 50);
	CU_ASSERT_EQUAL(stats.disk_bytes, 1);
	CU_ASSERT_EQUAL(stats.memory_bytes, 2);
	/* One wake a group, not one a batch; and none for shards that submitted nothing. */
	store_close(store);
	CU_ASSERT_EQUAL(listener.wakes[0], 2);
	CU_ASSERT_EQUAL(listener.wakes[1], 0);
	CU_ASSERT_EQUAL(disk.syncs, 0);
}

static void test_store_everysec_syncs_once_after_a_write_and_never_when_idle(void)
{
	struct listener listener;
	struct store *store = open_told(STORE_FSYNC_EVERYSEC, QUEUE_BYTES, &listener);
	submit(store, 0, small_batch(1));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 0, 1));
	CU_ASSERT_FALSE(disk.last_write_synced);
	CU_ASSERT_TRUE(disk_wait(&disk.syncs, 1));
	submit(store, 0, small_batch(2));
	CU_ASSERT_TRUE(disk_wait(&disk.syncs, 2));
	CU_ASSERT_EQUAL(disk.writes, 2);
	store_close(store);
	CU_ASSERT_EQUAL(disk.syncs, 2); /* there was nothing left to sync */
}

static void test_store_closing_writes_and_syncs_whatever_the_policy(void)
{
	const enum store_fsync policies[] = {
		STORE_FSYNC_ALWAYS, STORE_FSYNC_EVERYSEC, STORE_FSYNC_NO};
	for (size_t i = 0; i < 3; i++) {
		struct listener listener;
		struct store *store = open_told(policies[i], QUEUE_BYTES, &listener);
		disk_set(true, OK);
		submit(store, 0, small_batch(1));
		disk_wait_at_gate();
		for (int64_t n = 2; n <= 5; n++) {
			submit(store, 0, small_batch(n));
		}
		disk_set(false, OK);
		store_close(store);
		CU_ASSERT_EQUAL(disk.last_number, 5);
		CU_ASSERT_EQUAL(disk.syncs, policies[i] == STORE_FSYNC_ALWAYS ? 0 : 1);
		CU_ASSERT_FALSE(disk.out_of_order);
	}
}

static void test_store_full_queue_is_refused_and_the_batch_stays_the_callers(void)
{
	struct listener listener;
	struct store *store = open_told(STORE_FSYNC_ALWAYS, 4096, &listener);
	disk_set(true, OK);
	struct store_batch *batch = small_batch(1);
	uint64_t number = 0, accepted = 0;
	while (store_submit(store, 0, batch, &number) == OK) {
		accepted = number;
		batch = small_batch((int64_t)number + 1);
		UNIT_REQUIRE(number < 1000);
	}
	CU_ASSERT_TRUE(accepted >= 2);
	struct store_stats stats;
	store_read_stats(store, &stats);
	CU_ASSERT_TRUE(stats.queued_bytes <= 4096 && stats.queued_bytes > 2048);
	CU_ASSERT_EQUAL(stats.queued_batches, accepted);
	/* What was refused goes on growing, and is taken when there is room, however big it is
	 * by then. */
	for (int64_t n = 0; n < 500; n++) {
		struct store_position p = position_of("t", "s", "i", n);
		store_put_position(batch, &p);
	}
	CU_ASSERT_EQUAL(store_submit(store, 0, batch, &number), -E_FULL);
	disk_set(false, OK);
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 0, accepted));
	CU_ASSERT_EQUAL(store_submit(store, 0, batch, &number), OK);
	CU_ASSERT_EQUAL(number, accepted + 1); /* a refusal took no number */
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 0, number));
	store_read_stats(store, &stats);
	CU_ASSERT_EQUAL(stats.queued_bytes, 0);
	store_close(store);
}

static void test_store_failing_disk_is_tried_again_and_said_once(void)
{
	struct listener listener;
	journal_init(JOURNAL_NOTICE, -1);
	struct store *store = open_told(STORE_FSYNC_ALWAYS, QUEUE_BYTES, &listener);
	uint64_t warnings = journal_count(JOURNAL_WARNING), notices = journal_count(JOURNAL_NOTICE);
	submit(store, 5, small_batch(1));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 5, 1));
	disk_set(false, -E_NOSPACE);
	submit(store, 5, small_batch(2));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, E_NOSPACE));
	for (int64_t n = 3; n <= 10; n++) {
		submit(store, 5, small_batch(n));
	}
	CU_ASSERT_TRUE(disk_wait(&disk.failures, 3));
	CU_ASSERT_EQUAL(store_durable(store, 5), 1);
	CU_ASSERT_EQUAL(journal_count(JOURNAL_WARNING), warnings + 1);
	struct store_stats stats;
	store_read_stats(store, &stats);
	CU_ASSERT_EQUAL(stats.queued_batches, 9);
	CU_ASSERT_TRUE(stats.failed_writes >= 2);
	CU_ASSERT_TRUE(stats.oldest_queued_ms > 0);
	disk_set(false, OK);
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_durable, 5, 10));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, OK));
	store_close(store);
	CU_ASSERT_EQUAL(journal_count(JOURNAL_WARNING), warnings + 1);
	CU_ASSERT_EQUAL(journal_count(JOURNAL_NOTICE), notices + 1);
	CU_ASSERT_FALSE(disk.out_of_order);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
}

static void test_store_failing_sync_is_a_health_error_and_heals(void)
{
	struct listener listener;
	journal_init(JOURNAL_NOTICE, -1);
	struct store *store = open_told(STORE_FSYNC_EVERYSEC, QUEUE_BYTES, &listener);
	pthread_mutex_lock(&disk.mutex);
	disk.sync_fails = -E_IO;
	pthread_mutex_unlock(&disk.mutex);
	submit(store, 0, small_batch(1));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, E_IO));
	CU_ASSERT_EQUAL(store_durable(store, 0), 1); /* it is with the kernel */
	pthread_mutex_lock(&disk.mutex);
	disk.sync_fails = OK;
	pthread_mutex_unlock(&disk.mutex);
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, OK));
	CU_ASSERT_EQUAL(disk.syncs, 1);
	store_close(store);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
}

static void test_store_closing_on_a_dead_disk_ends_and_says_what_is_lost(void)
{
	struct listener listener;
	journal_init(JOURNAL_NOTICE, -1);
	struct store *store = open_told(STORE_FSYNC_ALWAYS, QUEUE_BYTES, &listener);
	disk_set(false, -E_IO);
	submit(store, 0, small_batch(1));
	submit(store, 0, small_batch(2));
	CU_ASSERT_TRUE(listener_wait(&listener, store, is_health, 0, E_IO));
	uint64_t warnings = journal_count(JOURNAL_WARNING);
	store_close(store);
	CU_ASSERT_EQUAL(journal_count(JOURNAL_WARNING), warnings + 1);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_store_everything_is_read_back_in_order),
	UNIT_TEST(test_store_deleting_a_process_takes_its_user_syncs_and_no_others),
	UNIT_TEST(test_store_each_shard_has_its_numbers_and_its_order),
	UNIT_TEST(test_store_four_shards_submit_from_four_threads),
	UNIT_TEST(test_store_unknown_kind_is_refused_by_name),
	UNIT_TEST(test_store_group_commit_takes_all_that_came_during_a_sync),
	UNIT_TEST(test_store_everysec_syncs_once_after_a_write_and_never_when_idle),
	UNIT_TEST(test_store_closing_writes_and_syncs_whatever_the_policy),
	UNIT_TEST(test_store_full_queue_is_refused_and_the_batch_stays_the_callers),
	UNIT_TEST(test_store_failing_disk_is_tried_again_and_said_once),
	UNIT_TEST(test_store_failing_sync_is_a_health_error_and_heals),
	UNIT_TEST(test_store_closing_on_a_dead_disk_ends_and_says_what_is_lost),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "store", tests);
}
