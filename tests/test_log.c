/* The log: segments, tail, low-water; and its readers on other threads. */
#include "engine/fanout/log.h"

#include <pthread.h>
#include <sched.h>

#include "engine/fanout/outbox.h"
#include "tests/unit.h"

static void put(struct log *log, uint32_t channel, const char *text, size_t len)
{
	memcpy(log_reserve(log, len), text, len);
	log_commit(log, len, &(struct log_mark){.channel = channel});
}

static void put_many(struct log *log, uint32_t channel, size_t len, unsigned count)
{
	char *text = mem_zalloc(len);
	for (unsigned i = 0; i < count; i++) {
		put(log, channel, text, len);
	}
	free(text);
}

static unsigned segments(const struct log *log)
{
	unsigned count = 0;
	for (const struct log_segment *s = log->first; s != NULL; s = s->next) {
		count++;
	}
	return count;
}

static void test_log_starts_at_its_base_with_one_small_segment(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 1);
	struct log *log = log_create(&pool, 12345);
	CU_ASSERT_EQUAL(log->appended, 12345);
	CU_ASSERT_EQUAL(atomic_load(&log->tail), 12345);
	CU_ASSERT_EQUAL(pool.bytes, LOG_SEGMENT_MIN);
	CU_ASSERT_EQUAL(log_backlog(log), 0);
	log_destroy(log);
	CU_ASSERT_EQUAL(pool.bytes, 0);
	log_pool_finish(&pool);
}

static void test_log_message_larger_than_any_segment_gets_its_own(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 1);
	struct log *log = log_create(&pool, 0);
	put_many(log, 1, 3 * LOG_SEGMENT_MAX, 1);
	CU_ASSERT_EQUAL(segments(log), 2);
	CU_ASSERT_EQUAL(log->last->size, 3 * LOG_SEGMENT_MAX);
	CU_ASSERT_EQUAL(log->last->base, 0);
	log_destroy(log);
	log_pool_finish(&pool);
}

static void test_log_runs_are_one_for_each_stretch_of_a_channel(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 1);
	struct log *log = log_create(&pool, 0);
	put(log, 1, "a", 1);
	put(log, 1, "b", 1);
	put(log, 2, "c", 1);
	put(log, 1, "d", 1);
	*log_reserve(log, 1) = 'e';
	log_commit(log, 1, &(struct log_mark){.channel = 1, .not_to = 7});
	CU_ASSERT_EQUAL(log->last_runs, 4);
	CU_ASSERT_EQUAL(log->last_records, 5);
	CU_ASSERT_EQUAL(log->last->run[1].offset, 2);
	CU_ASSERT_EQUAL(log->last->run[3].not_to, 7);
	CU_ASSERT_EQUAL(log->last->record[4].offset, 4);
	log_destroy(log);
	log_pool_finish(&pool);
}

static void test_log_segment_is_closed_when_its_index_is_full(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 1);
	struct log *log = log_create(&pool, 0);
	unsigned records_max = log->last->records_max;
	put_many(log, 1, 1, records_max);
	CU_ASSERT_EQUAL(segments(log), 1);
	put_many(log, 1, 1, 1);
	CU_ASSERT_EQUAL(segments(log), 2);
	CU_ASSERT_EQUAL(atomic_load(&log->first->end), records_max);
	unsigned runs_max = log->last->runs_max;
	for (unsigned i = 0; i < runs_max; i++) {
		put_many(log, i, 1, 1);
	}
	CU_ASSERT_EQUAL(segments(log), 3);
	CU_ASSERT_TRUE(log->last->base < log->appended);
	log_destroy(log);
	log_pool_finish(&pool);
}

static void test_log_view_sees_only_what_is_published(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 1);
	struct log *log = log_create(&pool, 0);
	struct log_view *view = log_attach(log, 0);
	put_many(log, 1, 1000, 10);
	CU_ASSERT_FALSE(log_view_refresh(view));
	log_publish(log, 3000);
	CU_ASSERT_TRUE(log->unpublished);
	CU_ASSERT_TRUE(log_view_refresh(view));
	CU_ASSERT_EQUAL(view->seen, 3000);
	log_publish(log, 10000);
	CU_ASSERT_FALSE(log->unpublished);
	CU_ASSERT_TRUE(log_view_refresh(view));
	CU_ASSERT_FALSE(log_view_refresh(view));
	CU_ASSERT_EQUAL(view->seen_segment, log->last);
	log_detach(view);
	free(view);
	log_destroy(log);
	log_pool_finish(&pool);
}

static void test_log_collect_frees_what_lies_below_every_view(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 3);
	struct log *log = log_create(&pool, 0);
	struct log_view *a = log_attach(log, 0);
	struct log_view *b = log_attach(log, 2);
	put_many(log, 1, 1000, 100);
	log_publish(log, log->appended);
	CU_ASSERT_EQUAL(log_collect(log), 0);
	log_view_refresh(a);
	CU_ASSERT_TRUE(log_view_settle(a));
	CU_ASSERT_EQUAL(log_collect(log), 0);
	log_view_refresh(b);
	CU_ASSERT_TRUE(log_view_settle(b));
	CU_ASSERT_TRUE(log_collect(log) > 0);
	CU_ASSERT_EQUAL(segments(log), 1);
	log_detach(a);
	free(a);
	log_detach(b);
	free(b);
	log_destroy(log);
	log_pool_finish(&pool);
}

static unsigned spares_of_all_sizes(const struct log_pool *pool)
{
	unsigned count = 0;
	for (unsigned i = 0; i < LOG_SIZES; i++) {
		count += pool->spares[i];
	}
	return count;
}

static void test_log_pool_keeps_a_few_segments_of_each_size_and_trims_them(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 1);
	struct log *log = log_create(&pool, 0);
	put_many(log, 1, 40000, 300);
	log_destroy(log);
	CU_ASSERT_EQUAL(pool.spares[LOG_SIZES - 1], LOG_SPARES_MAX);
	CU_ASSERT_EQUAL(pool.bytes, 0);
	unsigned before = spares_of_all_sizes(&pool);
	log = log_create(&pool, 0);
	CU_ASSERT_EQUAL(spares_of_all_sizes(&pool), before - 1);
	log_destroy(log);
	log_pool_trim(&pool);
	CU_ASSERT_EQUAL(spares_of_all_sizes(&pool), 0);
	log_pool_finish(&pool);
}

static void test_log_stays_small_while_its_readers_keep_up(void)
{
	struct log_pool pool;
	log_pool_init(&pool, 1);
	struct log *log = log_create(&pool, 0);
	struct log_view *view = log_attach(log, 0);
	for (unsigned i = 0; i < 5000; i++) {
		put_many(log, 1, 1, 200);
		log_publish(log, log->appended);
		log_view_refresh(view);
		log_view_settle(view);
		log_collect(log);
		CU_ASSERT_TRUE(pool.bytes <= 2 * LOG_SEGMENT_MIN);
	}
	log_detach(view);
	free(view);
	log_destroy(log);
	log_pool_finish(&pool);
}

/* ---- readers on threads of their own ---- */

enum { READERS = 3, MESSAGES = 30000, CHANNELS = 4 };

/* Message `i` is made of its own number, so that a reader can tell where it stands. */
static uint32_t channel_of(uint64_t seed, unsigned i)
{
	uint64_t state = seed + i;
	return (uint32_t)(unit_random(&state) % CHANNELS);
}

static size_t make_message(uint64_t seed, unsigned i, char *out)
{
	uint64_t state = seed ^ i;
	size_t len = 8 + unit_random(&state) % 300;
	if (unit_random(&state) % 500 == 0) {
		len += 9000;
	}
	for (size_t at = 0; at < len; at++) {
		out[at] = (char)(i * 7 + at);
	}
	memcpy(out, &i, sizeof(i));
	return len;
}

struct reader {
	uint64_t seed;
	struct log_view *view;
	struct outbox out;
	unsigned next; /* message */
	size_t at;     /* byte of it */
	bool wrong;
};

static bool hears(const struct reader *reader, uint32_t channel)
{
	return channel == 0 || channel == reader->view->shard;
}

static void check_bytes(struct reader *reader, const char *data, size_t len)
{
	char message[16384];
	while (len > 0 && !reader->wrong) {
		while (!hears(reader, channel_of(reader->seed, reader->next))) {
			reader->next++;
		}
		size_t whole = make_message(reader->seed, reader->next, message);
		size_t part = whole - reader->at < len ? whole - reader->at : len;
		reader->wrong = memcmp(message + reader->at, data, part) != 0;
		reader->at += part;
		if (reader->at == whole) {
			reader->next++;
			reader->at = 0;
		}
		data += part;
		len -= part;
	}
}

static void nobody_is_ready(struct outbox *outbox)
{
	(void)outbox;
}

static unsigned last_heard(const struct reader *reader)
{
	unsigned i = MESSAGES;
	while (!hears(reader, channel_of(reader->seed, i - 1))) {
		i--;
	}
	return i;
}

static void *read_log(void *context)
{
	struct reader *reader = context;
	uint64_t state = reader->seed + reader->view->shard;
	struct cursor *cursor = cursor_open(&reader->out, reader->view);
	cursor_hear(cursor, 0);
	cursor_hear(cursor, reader->view->shard);
	unsigned last = last_heard(reader);
	while (reader->next < last && !reader->wrong) {
		struct iovec pieces[8];
		view_advance(reader->view, nobody_is_ready);
		unsigned count = outbox_next(&reader->out, pieces, 1 + unit_random(&state) % 8,
			1 + unit_random(&state) % 50000, 0);
		for (unsigned i = 0; i < count; i++) {
			check_bytes(reader, pieces[i].iov_base, pieces[i].iov_len);
		}
		if (count > 0) {
			outbox_sent(&reader->out);
		} else {
			sched_yield();
		}
		log_view_settle(reader->view);
	}
	outbox_finish(&reader->out);
	return NULL;
}

static void write_log(struct log *log, uint64_t seed)
{
	uint64_t state = seed;
	for (unsigned i = 0; i < MESSAGES; i++) {
		char message[16384];
		size_t len = make_message(seed, i, message);
		memcpy(log_reserve(log, len), message, len);
		log_commit(log, len, &(struct log_mark){.channel = channel_of(seed, i)});
		if (unit_random(&state) % 8 == 0) {
			log_publish(log, log->appended);
			log_collect(log);
		}
	}
	log_publish(log, log->appended);
}

static void test_log_readers_on_other_threads_get_every_byte(void)
{
	uint64_t seed = unit_seed();
	struct log_pool pool;
	log_pool_init(&pool, READERS + 1);
	struct log *log = log_create(&pool, seed % 1000);
	struct reader readers[READERS];
	pthread_t threads[READERS];
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.seed = seed, .view = log_attach(log, i + 1)};
		outbox_init(&readers[i].out, i + 1);
	}
	for (unsigned i = 0; i < READERS; i++) {
		UNIT_REQUIRE(pthread_create(&threads[i], NULL, read_log, &readers[i]) == 0);
	}
	write_log(log, seed);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		CU_ASSERT_FALSE(readers[i].wrong);
		CU_ASSERT_EQUAL(readers[i].at, 0);
		log_view_refresh(readers[i].view);
		log_view_settle(readers[i].view);
	}
	log_collect(log);
	CU_ASSERT_EQUAL(segments(log), 1);
	CU_ASSERT_EQUAL(pool.bytes, log->last->size);
	for (unsigned i = 0; i < READERS; i++) {
		log_detach(readers[i].view);
		free(readers[i].view);
	}
	log_destroy(log);
	CU_ASSERT_EQUAL(pool.bytes, 0);
	log_pool_finish(&pool);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_log_starts_at_its_base_with_one_small_segment),
	UNIT_TEST(test_log_message_larger_than_any_segment_gets_its_own),
	UNIT_TEST(test_log_runs_are_one_for_each_stretch_of_a_channel),
	UNIT_TEST(test_log_segment_is_closed_when_its_index_is_full),
	UNIT_TEST(test_log_view_sees_only_what_is_published),
	UNIT_TEST(test_log_collect_frees_what_lies_below_every_view),
	UNIT_TEST(test_log_pool_keeps_a_few_segments_of_each_size_and_trims_them),
	UNIT_TEST(test_log_stays_small_while_its_readers_keep_up),
	UNIT_TEST(test_log_readers_on_other_threads_get_every_byte),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "log", tests);
}
