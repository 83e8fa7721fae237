/* What the store's tests share: a folder that goes away, waiting for durability, reading back. */
#ifndef MILLRACE_TESTS_TEST_STORE_H
#define MILLRACE_TESTS_TEST_STORE_H

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "store/store.h"
#include "tests/unit.h"

enum { WAIT_S = 60, QUEUE_BYTES = 64 * 1024 * 1024 };

/* Counts the store's calls of wake, and lets a test wait for one. */
struct listener {
	pthread_mutex_t mutex;
	pthread_cond_t heard;
	unsigned wakes[STORE_SHARDS_MAX];
};

static inline void listener_wake(void *context, unsigned shard)
{
	struct listener *listener = context;
	pthread_mutex_lock(&listener->mutex);
	listener->wakes[shard]++;
	pthread_cond_broadcast(&listener->heard);
	pthread_mutex_unlock(&listener->mutex);
}

static inline void listener_init(struct listener *listener)
{
	memset(listener, 0, sizeof(*listener));
	pthread_mutex_init(&listener->mutex, NULL);
	pthread_cond_init(&listener->heard, NULL);
}

static inline bool is_durable(struct store *store, unsigned shard, uint64_t number)
{
	return store_durable(store, shard) >= number;
}

static inline bool is_health(struct store *store, unsigned unused, uint64_t code)
{
	(void)unused;
	return store_health(store) == -(int)code;
}

/* Wait, on the wake call, until the condition is true; false after WAIT_S. */
static inline bool listener_wait(struct listener *listener, struct store *store,
	bool (*condition)(struct store *, unsigned, uint64_t), unsigned shard, uint64_t number)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&listener->mutex);
	int err = 0;
	while (!condition(store, shard, number) && err == 0) {
		err = pthread_cond_timedwait(&listener->heard, &listener->mutex, &until);
	}
	pthread_mutex_unlock(&listener->mutex);
	return condition(store, shard, number);
}

static inline void make_folder(char *path, size_t size)
{
	const char *base = getenv("TMPDIR");
	snprintf(path, size, "%s/millrace-store-XXXXXX", base != NULL ? base : "/tmp");
	UNIT_REQUIRE(mkdtemp(path) != NULL);
}

static inline int remove_one(const char *path, const struct stat *file, int type, struct FTW *at)
{
	(void)file;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void remove_folder(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static inline struct store_options options_for(
	const char *kind, const char *dir, enum store_fsync fsync, struct listener *listener)
{
	return (struct store_options){
		.kind = kind,
		.dir = dir,
		.fsync = fsync,
		.queue_bytes_max = QUEUE_BYTES,
		.block_cache_bytes = 256 * 1024,
		.write_buffer_bytes = 256 * 1024,
		.wake = listener != NULL ? listener_wake : NULL,
		.context = listener,
	};
}

static inline struct store *open_store(const struct store_options *options)
{
	struct store *store = NULL;
	char why[512] = "";
	int err = store_open(options, &store, why, sizeof(why));
	if (err != OK) {
		printf("store_open: %d %s\n", err, why);
	}
	UNIT_REQUIRE(err == OK);
	return store;
}

static inline uint64_t submit(struct store *store, unsigned shard, struct store_batch *batch)
{
	uint64_t number = 0;
	UNIT_REQUIRE(store_submit(store, shard, batch, &number) == OK);
	return number;
}

static inline struct store_position position_of(
	const char *tenant, const char *stream, const char *instance, int64_t token)
{
	return (struct store_position){.tenant = slice_of(tenant),
		.stream = slice_of(stream),
		.instance = slice_of(instance),
		.token = token,
		.prev = token - 1,
		.wall_ms = 1700000000000 + token};
}

static inline struct store_user_sync sync_of(const char *tenant, const char *instance_id,
	const char *user, const char *device, int64_t since_ms)
{
	return (struct store_user_sync){.tenant = slice_of(tenant),
		.instance_id = slice_of(instance_id),
		.user = slice_of(user),
		.device = slice_of(device),
		.since_ms = since_ms};
}

/* --- reading back: one line of text for each thing, in the order told --------------------- */

static inline void dump_name(struct bytes *out, struct slice name)
{
	/* Bytes that would blur the lines are shown in hex. */
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.data[i];
		bytes_printf(out, c > ' ' && c < 0x7f && c != '%' ? "%c" : "%%%02x", c);
	}
	bytes_append_string(out, " ");
}

static inline void dump_position(void *context, const struct store_position *p)
{
	struct bytes *out = context;
	bytes_append_string(out, "position ");
	dump_name(out, p->tenant);
	dump_name(out, p->stream);
	dump_name(out, p->instance);
	bytes_printf(out, "= %lld %lld %lld\n", (long long)p->token, (long long)p->prev,
		(long long)p->wall_ms);
}

static inline void dump_instance(void *context, const struct store_instance *i)
{
	struct bytes *out = context;
	bytes_append_string(out, "instance ");
	dump_name(out, i->tenant);
	dump_name(out, i->instance_id);
	bytes_printf(out, "= %lld\n", (long long)i->heard_ms);
}

static inline void dump_user_sync(void *context, const struct store_user_sync *s)
{
	struct bytes *out = context;
	bytes_append_string(out, "sync ");
	dump_name(out, s->tenant);
	dump_name(out, s->instance_id);
	dump_name(out, s->user);
	dump_name(out, s->device);
	bytes_printf(out, "= %lld\n", (long long)s->since_ms);
}

/* All that the store holds, as text. owner: the caller, free(3). */
static inline char *dump(struct store *store, int *err)
{
	struct bytes text = {0};
	struct store_loader loader = {dump_position, dump_instance, dump_user_sync, &text};
	*err = store_load(store, &loader);
	bytes_append(&text, "", 1);
	return text.data;
}

/* Open, dump, close. */
static inline char *dump_folder(const char *dir)
{
	struct store_options options = options_for("rocksdb", dir, STORE_FSYNC_NO, NULL);
	struct store *store = open_store(&options);
	int err;
	char *text = dump(store, &err);
	CU_ASSERT_EQUAL(err, OK);
	store_close(store);
	return text;
}

static inline void assert_text(const char *found, const char *expected)
{
	if (strcmp(found, expected) != 0) {
		printf("expected:\n%s\nfound:\n%s\n", expected, found);
	}
	CU_ASSERT_STRING_EQUAL(found, expected);
}

#endif
