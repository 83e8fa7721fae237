/* What a connection is owed next: replies between stretches of logs, changes of what is heard, holds. */
#include "engine/fanout/outbox.h"

#include "tests/unit.h"

struct frame {
	struct log_pool pool;
	struct log *logs[2];
	struct log_view *views[2];
	struct outbox out;
	struct bytes got;
	unsigned ready, moved;
};
static struct frame *current;

static void count_ready(struct outbox *outbox)
{
	CU_ASSERT_EQUAL(outbox, &current->out);
	current->ready++;
}

static void count_moved(struct cursor *cursor)
{
	CU_ASSERT_EQUAL(cursor->outbox, &current->out);
	current->moved++;
}

static void frame_open(struct frame *f)
{
	*f = (struct frame){.ready = 0};
	current = f;
	log_pool_init(&f->pool, 1);
	for (unsigned i = 0; i < 2; i++) {
		f->logs[i] = log_create(&f->pool, 100 * i);
		f->views[i] = log_attach(f->logs[i], 0);
	}
	outbox_init(&f->out, 9);
	f->out.moved = count_moved;
}

static void frame_close(struct frame *f)
{
	outbox_finish(&f->out);
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(f->views[i]->cursors, 0);
		for (const struct log_segment *s = f->logs[i]->first; s != NULL; s = s->next) {
			CU_ASSERT_EQUAL(s->pins[0], 0);
		}
		log_detach(f->views[i]);
		free(f->views[i]);
		log_destroy(f->logs[i]);
	}
	log_pool_finish(&f->pool);
	bytes_finish(&f->got);
}

static struct cursor *listen_to(struct frame *f, unsigned log, uint32_t channel)
{
	struct cursor *cursor = cursor_open(&f->out, f->views[log]);
	CU_ASSERT_TRUE(cursor_hear(cursor, channel));
	return cursor;
}

static void append(struct frame *f, unsigned log, uint32_t channel, const char *text)
{
	size_t len = strlen(text);
	memcpy(log_reserve(f->logs[log], len), text, len);
	log_commit(f->logs[log], len, &(struct log_mark){.channel = channel});
}

static void publish(struct frame *f, unsigned log)
{
	log_publish(f->logs[log], f->logs[log]->appended);
	view_advance(f->views[log], count_ready);
}

static void say(struct frame *f, unsigned log, uint32_t channel, const char *text)
{
	append(f, log, channel, text);
	publish(f, log);
}

static void reply(struct frame *f, const char *text)
{
	outbox_reply(&f->out, text, strlen(text));
}

static bool one_send(struct frame *f, unsigned pieces_max, size_t bytes_max, uint64_t durable)
{
	struct iovec pieces[16];
	unsigned count = outbox_next(&f->out, pieces, pieces_max, bytes_max, durable);
	CU_ASSERT_TRUE(count <= pieces_max);
	for (unsigned i = 0; i < count; i++) {
		bytes_append(&f->got, pieces[i].iov_base, pieces[i].iov_len);
	}
	if (count > 0) {
		outbox_sent(&f->out);
	}
	return count > 0;
}

/* Send all, and check what came. */
static void check_sent(struct frame *f, size_t bytes_max, uint64_t durable, const char *expected)
{
	bytes_clear(&f->got);
	while (one_send(f, 16, bytes_max, durable)) {
	}
	if (!slice_equal(bytes_slice(&f->got), slice_of(expected))) {
		printf("got \"%.*s\", expected \"%s\"\n", SLICE_ARG(f->got), expected);
		CU_FAIL("other bytes");
	}
}

static void test_outbox_reply_comes_after_what_was_published_before_it(void)
{
	struct frame f;
	frame_open(&f);
	listen_to(&f, 0, 1);
	say(&f, 0, 1, "one ");
	append(&f, 0, 1, "two ");
	reply(&f, "OK ");
	publish(&f, 0);
	CU_ASSERT_EQUAL(f.ready, 1);
	CU_ASSERT_FALSE(outbox_idle(&f.out));
	check_sent(&f, 1000, 0, "one OK two ");
	CU_ASSERT_TRUE(outbox_idle(&f.out));
	CU_ASSERT_EQUAL(outbox_lag_bytes(&f.out), 0);
	frame_close(&f);
}

static void test_outbox_channels_not_heard_are_left_out(void)
{
	struct frame f;
	frame_open(&f);
	struct cursor *cursor = listen_to(&f, 0, 1);
	say(&f, 0, 1, "a");
	say(&f, 0, 2, "b");
	cursor_hear(cursor, 2);
	say(&f, 0, 2, "c");
	say(&f, 0, 1, "d");
	cursor_ignore(cursor, 1);
	say(&f, 0, 1, "e");
	say(&f, 0, 2, "f");
	check_sent(&f, 1000, 0, "acdf");
	frame_close(&f);
}

static void test_outbox_closed_cursor_still_delivers_its_backlog_in_place(void)
{
	struct frame f;
	frame_open(&f);
	struct cursor *cursor = listen_to(&f, 0, 1);
	say(&f, 0, 1, "a");
	cursor_close(cursor);
	reply(&f, "bye ");
	say(&f, 0, 1, "b");
	listen_to(&f, 0, 1);
	say(&f, 0, 1, "c");
	CU_ASSERT_EQUAL(f.views[0]->cursors, 2);
	check_sent(&f, 1000, 0, "abye c");
	CU_ASSERT_EQUAL(f.views[0]->cursors, 1);
	frame_close(&f);
}

static void test_outbox_hold_waits_for_its_number(void)
{
	struct frame f;
	frame_open(&f);
	reply(&f, "a");
	outbox_hold(&f.out, 3);
	outbox_hold(&f.out, 2);
	reply(&f, "b");
	outbox_hold(&f.out, 5);
	reply(&f, "c");
	check_sent(&f, 1000, 2, "a");
	CU_ASSERT_FALSE(outbox_idle(&f.out));
	check_sent(&f, 1000, 3, "b");
	check_sent(&f, 1000, 5, "c");
	CU_ASSERT_TRUE(outbox_idle(&f.out));
	frame_close(&f);
}

static void test_outbox_two_logs_never_mix_inside_a_message(void)
{
	struct frame f;
	frame_open(&f);
	listen_to(&f, 0, 1);
	listen_to(&f, 1, 1);
	say(&f, 0, 1, "aaaaaaaa");
	say(&f, 1, 1, "BBBBBBBB");
	say(&f, 0, 1, "cccccccc");
	check_sent(&f, 3, 0, "aaaaaaaaBBBBBBBBcccccccc");
	say(&f, 0, 1, "aaaa");
	say(&f, 1, 1, "BBBB");
	CU_ASSERT_TRUE(one_send(&f, 1, 3, 0));
	reply(&f, "OK");
	check_sent(&f, 3, 0, "BBBBOK");
	frame_close(&f);
}

static void test_outbox_takes_as_many_whole_messages_as_fit(void)
{
	struct frame f;
	frame_open(&f);
	listen_to(&f, 0, 1);
	append(&f, 0, 1, "aaa");
	append(&f, 0, 1, "bbb");
	append(&f, 0, 1, "cccccccccc");
	append(&f, 0, 1, "d");
	publish(&f, 0);
	struct iovec piece;
	static const size_t expected[] = {6, 10, 1};
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(outbox_next(&f.out, &piece, 1, 7, 0), 1);
		CU_ASSERT_EQUAL(piece.iov_len, expected[i]);
		outbox_sent(&f.out);
	}
	frame_close(&f);
}

static void test_outbox_reply_is_sent_from_many_chunks_in_order(void)
{
	struct frame f;
	frame_open(&f);
	struct bytes expected = {0};
	for (unsigned i = 0; i < 20000; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%u,", i);
		bytes_append_string(&expected, text);
		reply(&f, text);
	}
	CU_ASSERT_EQUAL(f.out.reply_bytes, expected.len);
	bytes_append(&expected, "", 1);
	check_sent(&f, 777, 0, expected.data);
	CU_ASSERT_EQUAL(f.out.reply_bytes, 0);
	bytes_finish(&expected);
	frame_close(&f);
}

static void test_outbox_what_is_in_flight_stays_while_more_is_owed(void)
{
	struct frame f;
	frame_open(&f);
	reply(&f, "first ");
	struct iovec pieces[4];
	CU_ASSERT_EQUAL(outbox_next(&f.out, pieces, 4, 1000, 0), 1);
	reply(&f, "second");
	CU_ASSERT_EQUAL(pieces[0].iov_len, 6);
	CU_ASSERT_EQUAL(memcmp(pieces[0].iov_base, "first ", 6), 0);
	outbox_sent(&f.out);
	check_sent(&f, 1000, 0, "second");
	frame_close(&f);
}

static void test_outbox_message_for_others_is_left_out(void)
{
	struct frame f;
	frame_open(&f);
	listen_to(&f, 0, 1);
	append(&f, 0, 1, "a");
	*log_reserve(f.logs[0], 1) = 'b';
	log_commit(f.logs[0], 1, &(struct log_mark){.channel = 1, .not_to = 9});
	*log_reserve(f.logs[0], 1) = 'c';
	log_commit(f.logs[0], 1, &(struct log_mark){.channel = 1, .not_to = 8});
	publish(&f, 0);
	check_sent(&f, 1000, 0, "ac");
	frame_close(&f);
}

/* A client that never reads, with a reply after each message: the order of it all grows by two entries each. */
static void test_outbox_order_may_grow_long_and_its_memory_is_counted(void)
{
	enum { PAIRS = 40000 };
	struct frame f;
	frame_open(&f);
	listen_to(&f, 0, 1);
	size_t before = outbox_memory_bytes(&f.out);
	for (unsigned i = 0; i < PAIRS; i++) {
		say(&f, 0, 1, "m");
		reply(&f, "r");
	}
	CU_ASSERT_TRUE(outbox_memory_bytes(&f.out) > before + 2 * PAIRS * sizeof(uint64_t));
	bytes_clear(&f.got);
	while (one_send(&f, 16, 1000, 0)) {
	}
	CU_ASSERT_EQUAL(f.got.len, 2 * PAIRS);
	CU_ASSERT_TRUE(outbox_memory_bytes(&f.out) < 4096);
	frame_close(&f);
}

static void test_outbox_old_filters_are_counted_once_they_are_kept(void)
{
	struct frame f;
	frame_open(&f);
	struct cursor *cursor = listen_to(&f, 0, 1);
	for (uint32_t channel = 2; channel < 1000; channel++) {
		cursor_hear(cursor, channel);
	}
	for (uint32_t channel = 1000; channel < 1100; channel++) {
		say(&f, 0, 1, "m");
		cursor_hear(cursor, channel);
	}
	CU_ASSERT_TRUE(outbox_memory_bytes(&f.out) > 100 * 1000 * sizeof(uint32_t));
	bytes_clear(&f.got);
	while (one_send(&f, 16, 1000, 0)) {
	}
	CU_ASSERT_EQUAL(f.got.len, 100);
	CU_ASSERT_TRUE(outbox_memory_bytes(&f.out) < 4096);
	frame_close(&f);
}

/* Who frees segments hears of every cursor that left one, sent or skipped, and of every one that ended. */
static void test_outbox_says_when_a_cursor_left_a_segment_or_ended(void)
{
	struct frame f;
	frame_open(&f);
	char text[3001];
	memset(text, 'x', 3000);
	text[3000] = '\0';
	struct cursor *cursor = listen_to(&f, 0, 1);
	say(&f, 0, 1, text);
	CU_ASSERT_TRUE(one_send(&f, 16, 10000, 0));
	CU_ASSERT_EQUAL(f.moved, 0);
	say(&f, 0, 1, text);
	say(&f, 0, 1, text);
	CU_ASSERT_TRUE(one_send(&f, 16, 10000, 0));
	CU_ASSERT_EQUAL(f.moved, 1);
	for (unsigned i = 0; i < 10; i++) {
		say(&f, 0, 2, text);
	}
	CU_ASSERT_FALSE(one_send(&f, 16, 10000, 0));
	CU_ASSERT_EQUAL(f.moved, 2);
	cursor_close(cursor);
	CU_ASSERT_EQUAL(f.moved, 3);
	frame_close(&f);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_outbox_reply_comes_after_what_was_published_before_it),
	UNIT_TEST(test_outbox_channels_not_heard_are_left_out),
	UNIT_TEST(test_outbox_closed_cursor_still_delivers_its_backlog_in_place),
	UNIT_TEST(test_outbox_hold_waits_for_its_number),
	UNIT_TEST(test_outbox_two_logs_never_mix_inside_a_message),
	UNIT_TEST(test_outbox_takes_as_many_whole_messages_as_fit),
	UNIT_TEST(test_outbox_reply_is_sent_from_many_chunks_in_order),
	UNIT_TEST(test_outbox_what_is_in_flight_stays_while_more_is_owed),
	UNIT_TEST(test_outbox_message_for_others_is_left_out),
	UNIT_TEST(test_outbox_order_may_grow_long_and_its_memory_is_counted),
	UNIT_TEST(test_outbox_old_filters_are_counted_once_they_are_kept),
	UNIT_TEST(test_outbox_says_when_a_cursor_left_a_segment_or_ended),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "outbox", tests);
}
