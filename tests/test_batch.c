/* Batches: whole or not at all, whoever writes what in between. */
#include "engine/replication/batch.h"

#include "tests/recording.h"
#include "tests/replication_frame.h"

static const struct replication_stats *stats(struct frame *f)
{
	return replication_stats(f->r);
}

static void test_a_batch_enters_the_log_at_once_with_its_last_row(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 0 4");
	FRAME_LOG(&f, "ALL POSITION events master 0 4\n");
	frame_publish(&f, 1, "RDATA events master batch [1]");
	frame_publish(&f, 1, "RDATA events master batch [2]");
	FRAME_LOG(&f, "");
	CU_ASSERT_EQUAL(stats(&f)->batch_rows, 2);
	CU_ASSERT_EQUAL(stats(&f)->batch_bytes, 2 * strlen("RDATA events master batch [1]"));
	frame_publish(&f, 1, "RDATA events master 5 [3]");
	FRAME_LOG(&f, "ALL RDATA events master batch [1]\n"
		      "& ALL RDATA events master batch [2]\n"
		      "& ALL RDATA events master 5 [3]\n");
	CU_ASSERT_EQUAL(f.last.token, 5);
	CU_ASSERT_EQUAL(stats(&f)->batch_rows, 0);
	CU_ASSERT_EQUAL(stats(&f)->batch_bytes, 0);
	CU_ASSERT_EQUAL(stats(&f)->batches, 1);
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 0);
	frame_close(&f);
}

static void check_entry(void *context, const struct entry *entry)
{
	unsigned *rows = context;
	CU_ASSERT_EQUAL(entry->name, CMD_RDATA);
	CU_ASSERT_EQUAL(entry->token, 5);
	CU_ASSERT_EQUAL(entry->stream, 1);
	CU_ASSERT_EQUAL(entry->instance, 1);
	(*rows)++;
}

static void test_all_rows_of_a_batch_carry_its_number(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 0 4");
	unsigned rows = 0;
	f.heard = check_entry;
	f.heard_context = &rows;
	frame_publish(&f, 1, "RDATA events master batch [1]");
	frame_publish(&f, 1, "RDATA events master batch [2]");
	frame_publish(&f, 1, "RDATA events master 5 [3]");
	CU_ASSERT_EQUAL(rows, 3);
	frame_close(&f);
}

static void test_two_writers_batches_that_interleave_come_out_whole(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events a 9 9");
	frame_publish(&f, 2, "POSITION events b 9 9");
	bytes_clear(&f.log);
	frame_publish(&f, 1, "RDATA events a batch [a1]");
	frame_publish(&f, 2, "RDATA events b batch [b1]");
	frame_publish(&f, 1, "RDATA events a batch [a2]");
	frame_publish(&f, 2, "RDATA events b 10 [b2]");
	frame_publish(&f, 1, "RDATA events a 11 [a3]");
	FRAME_LOG(&f, "ALL RDATA events b batch [b1]\n"
		      "& ALL RDATA events b 10 [b2]\n"
		      "ALL RDATA events a batch [a1]\n"
		      "& ALL RDATA events a batch [a2]\n"
		      "& ALL RDATA events a 11 [a3]\n");
	CU_ASSERT_EQUAL(stats(&f)->batches, 2);
	frame_close(&f);
}

static void test_one_writers_batches_on_two_streams_do_not_mix(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events a 9 9");
	frame_publish(&f, 1, "POSITION caches a 9 9");
	bytes_clear(&f.log);
	frame_publish(&f, 1, "RDATA events a batch [1]");
	frame_publish(&f, 1, "RDATA caches a batch [2]");
	frame_publish(&f, 1, "RDATA events a 10 [3]");
	frame_publish(&f, 1, "LOCK_RELEASED [\"a\",\"b\",\"c\"]");
	frame_publish(&f, 1, "RDATA caches a 12 [4]");
	FRAME_LOG(&f, "ALL RDATA events a batch [1]\n"
		      "& ALL RDATA events a 10 [3]\n"
		      "RESP LOCK_RELEASED [\"a\",\"b\",\"c\"]\n"
		      "ALL RDATA caches a batch [2]\n"
		      "& ALL RDATA caches a 12 [4]\n");
	frame_close(&f);
}

static void test_a_row_that_waits_is_answered_with_the_last_count(void)
{
	struct frame f;
	frame_open(&f);
	CU_ASSERT_EQUAL(frame_publish(&f, 1, "RDATA events a batch [1]"), 0);
	f.receivers = 50;
	CU_ASSERT_EQUAL(frame_publish(&f, 1, "RDATA events a 4 [1]"), 50);
	f.receivers = 51;
	CU_ASSERT_EQUAL(frame_publish(&f, 1, "RDATA events a batch [1]"), 50);
	CU_ASSERT_EQUAL(frame_publish(&f, 1, "RDATA events a 5 [1]"), 51);
	frame_close(&f);
}

static void test_half_a_batch_of_a_dead_writer_never_comes_out(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events a 4 4");
	frame_publish(&f, 1, "RDATA events a batch [1]");
	frame_publish(&f, 1, "RDATA events a batch [2]");
	replication_disconnected(f.r, 1, f.now);
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 1);
	CU_ASSERT_EQUAL(stats(&f)->batch_rows, 0);
	FRAME_LOG(&f, "ALL POSITION events a 4 4\n");
	/* The writer is back, and flushes what it had queued: the middle and the end. */
	frame_publish(&f, 2, "RDATA events a batch [3]");
	FRAME_LOG(&f, "");
	frame_publish(&f, 2, "RDATA events a 5 [4]");
	FRAME_LOG(&f, "ALL POSITION events a 5 5\n");
	CU_ASSERT_EQUAL(f.last.name, CMD_POSITION);
	CU_ASSERT_EQUAL(f.last.token, 5);
	/* And then all is well again. */
	frame_publish(&f, 2, "RDATA events a batch [5]");
	frame_publish(&f, 2, "RDATA events a 6 [6]");
	frame_publish(&f, 2, "RDATA events a 7 [7]");
	FRAME_LOG(&f, "ALL RDATA events a batch [5]\n"
		      "& ALL RDATA events a 6 [6]\n"
		      "ALL RDATA events a 7 [7]\n");
	CU_ASSERT_EQUAL(stats(&f)->batches, 1);
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 1);
	frame_close(&f);
}

static void test_another_connections_close_leaves_a_batch_alone(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events a 4 4");
	frame_publish(&f, 1, "RDATA events a batch [1]");
	bytes_clear(&f.log);
	replication_disconnected(f.r, 2, f.now);
	frame_publish(&f, 1, "RDATA events a 5 [2]");
	FRAME_LOG(&f, "ALL RDATA events a batch [1]\n& ALL RDATA events a 5 [2]\n");
	frame_close(&f);
}

static void test_an_old_dialects_torn_batch_ends_with_one_number(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 4");
	frame_publish(&f, 1, "RDATA events master batch [1]");
	replication_disconnected(f.r, 1, f.now);
	bytes_clear(&f.log);
	frame_publish(&f, 2, "RDATA events master 5 [2]");
	FRAME_LOG(&f, "ALL POSITION events master 5\n");
	frame_close(&f);
}

static void test_a_writer_that_goes_on_over_another_connection_tears_its_batch(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events a 4 4");
	frame_publish(&f, 1, "RDATA events a batch [1]");
	bytes_clear(&f.log);
	/* Connection 1 is dead, but nobody has noticed. */
	frame_publish(&f, 2, "RDATA events a 5 [2]");
	FRAME_LOG(&f, "ALL POSITION events a 5 5\n");
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 1);
	replication_disconnected(f.r, 1, f.now);
	frame_publish(&f, 2, "RDATA events a 6 [3]");
	FRAME_LOG(&f, "ALL RDATA events a 6 [3]\n");
	frame_publish(&f, 2, "RDATA events a batch [4]");
	frame_publish(&f, 3, "RDATA events a batch [5]");
	frame_publish(&f, 3, "RDATA events a 7 [6]");
	FRAME_LOG(&f, "ALL POSITION events a 7 7\n");
	frame_close(&f);
}

static void test_a_torn_batchs_position_never_goes_back(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION caches a 300 300");
	frame_publish(&f, 1, "RDATA caches a batch [1]");
	replication_disconnected(f.r, 1, f.now);
	bytes_clear(&f.log);
	/* A row that Synapse repeats: below what was announced. */
	frame_publish(&f, 2, "RDATA caches a 299 [2]");
	FRAME_LOG(&f, "ALL POSITION caches a 300 300\n");
	CU_ASSERT_EQUAL(stats(&f)->resets, 0);
	frame_close(&f);
}

static void test_a_position_passes_by_the_rows_that_wait(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events a 4 4");
	frame_publish(&f, 1, "RDATA events a batch [1]");
	frame_publish(&f, 1, "POSITION events a 4 5");
	frame_publish(&f, 1, "RDATA events a 6 [2]");
	FRAME_LOG(&f, "ALL POSITION events a 4 4\n"
		      "ALL POSITION events a 4 5\n"
		      "ALL RDATA events a batch [1]\n"
		      "& ALL RDATA events a 6 [2]\n");
	frame_close(&f);
}

static void test_too_many_rows_tear_a_batch(void)
{
	struct frame f;
	frame_open(&f);
	f.limits.batch_rows_max = 3;
	frame_publish(&f, 1, "POSITION events a 4 4");
	for (unsigned i = 0; i < 3; i++) {
		frame_publish(&f, 1, "RDATA events a batch [1]");
	}
	CU_ASSERT_EQUAL(stats(&f)->batch_rows, 3);
	bytes_clear(&f.log);
	frame_publish(&f, 1, "RDATA events a 5 [x]");
	CU_ASSERT_EQUAL(f.appends, 2);
	CU_ASSERT_EQUAL(f.entries, 5);
	bytes_clear(&f.log);
	for (unsigned i = 0; i < 10; i++) {
		frame_publish(&f, 1, "RDATA events a batch [1]");
		CU_ASSERT_EQUAL(stats(&f)->batch_rows, i < 3 ? i + 1 : 0);
	}
	CU_ASSERT_EQUAL(stats(&f)->batches_over_limit, 1);
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 1);
	frame_publish(&f, 1, "RDATA events a 6 [x]");
	FRAME_LOG(&f, "ALL POSITION events a 6 6\n");
	frame_close(&f);
}

static void test_a_large_batch_is_as_whole_as_a_small_one(void)
{
	struct frame f;
	frame_open(&f);
	f.quiet = true;
	frame_publish(&f, 1, "POSITION events a 4 4");
	for (unsigned batch = 0; batch < 3; batch++) {
		unsigned appends = f.appends;
		unsigned entries = f.entries;
		for (unsigned i = 0; i < 1000; i++) {
			frame_publish(&f, 1, "RDATA events a batch [1]");
		}
		CU_ASSERT_EQUAL(f.appends, appends);
		frame_publish(&f, 1, "RDATA events a 5 [2]");
		CU_ASSERT_EQUAL(f.appends, appends + 1);
		CU_ASSERT_EQUAL(f.entries, entries + 1001);
	}
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 0);
	frame_close(&f);
}

static void test_too_many_bytes_over_all_batches_tear_the_one_that_grows(void)
{
	struct frame f;
	frame_open(&f);
	f.limits.batch_bytes_max = 60;
	frame_publish(&f, 1, "POSITION events a 4 4");
	frame_publish(&f, 2, "POSITION events b 4 4");
	bytes_clear(&f.log);
	frame_publish(&f, 1, "RDATA events a batch [123456]"); /* 29 bytes */
	frame_publish(&f, 2, "RDATA events b batch [123456]");
	CU_ASSERT_EQUAL(stats(&f)->batch_bytes, 58);
	frame_publish(&f, 2, "RDATA events b batch [1]");
	CU_ASSERT_EQUAL(stats(&f)->batch_bytes, 29);
	CU_ASSERT_EQUAL(stats(&f)->batches_over_limit, 1);
	frame_publish(&f, 2, "RDATA events b 5 [1]");
	frame_publish(&f, 1, "RDATA events a 6 [1]");
	FRAME_LOG(&f, "ALL POSITION events b 5 5\n"
		      "ALL RDATA events a batch [123456]\n"
		      "& ALL RDATA events a 6 [1]\n");
	frame_close(&f);
}

static void test_a_batch_that_never_ends_is_torn_by_its_age(void)
{
	struct frame f;
	frame_open(&f);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), UINT64_MAX);
	frame_publish(&f, 1, "POSITION events a 4 4");
	frame_publish(&f, 1, "RDATA events a batch [1]");
	uint64_t begun_ns = f.now.mono_ns;
	frame_pass(&f, 4000);
	frame_publish(&f, 1, "RDATA caches a batch [1]");
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), begun_ns + f.limits.batch_age_max_ns);
	frame_pass(&f, 5999);
	replication_tick(f.r, f.now);
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 0);
	frame_pass(&f, 1);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now),
		begun_ns + (uint64_t)4 * FRAME_SECOND + f.limits.batch_age_max_ns);
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 1);
	CU_ASSERT_EQUAL(stats(&f)->batches_over_limit, 1);
	bytes_clear(&f.log);
	frame_publish(&f, 1, "RDATA events a batch [2]");
	frame_publish(&f, 1, "RDATA events a 5 [3]");
	FRAME_LOG(&f, "ALL POSITION events a 5 5\n");
	frame_pass(&f, 4000);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), UINT64_MAX);
	CU_ASSERT_EQUAL(stats(&f)->batches_torn, 2);
	frame_close(&f);
}

static void test_a_position_is_not_advanced_by_rows_that_wait(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events a 4 4");
	frame_publish(&f, 1, "RDATA events a batch [1]");
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "POSITION events a 4 4\n");
	frame_publish(&f, 1, "RDATA events a 5 [2]");
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "POSITION events a 5 5\n");
	frame_close(&f);
}

static void test_a_pair_without_any_token_is_nobodys_answer(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "RDATA events a batch [1]");
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "");
	FRAME_LOG(&f, "RESP REPLICATE \n");
	CU_ASSERT_EQUAL(frame_save(&f), 0);
	frame_close(&f);
}

static void test_a_log_line_says_whose_batch_was_torn_and_why(void)
{
	int ends[2];
	UNIT_REQUIRE(pipe(ends) == 0);
	struct frame f;
	frame_open(&f);
	journal_init(JOURNAL_WARNING, ends[1]);
	frame_publish(&f, 1, "RDATA events a batch [\"secret\"]");
	replication_disconnected(f.r, 1, f.now);
	journal_init(JOURNAL_WARNING, -1);
	char text[1000];
	ssize_t len = read(ends[0], text, sizeof(text) - 1);
	UNIT_REQUIRE(len > 0);
	text[len] = '\0';
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "stream=events instance=a rows=1"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "connection closed"));
	CU_ASSERT_PTR_NULL(strstr(text, "secret"));
	CU_ASSERT_PTR_EQUAL(strchr(text, '\n'), text + len - 1);
	close(ends[0]);
	close(ends[1]);
	frame_close(&f);
}

/* Each batch of the capture, as a receiver that keeps pending rows by stream only would see it. */
struct receiver {
	char stream[64], instance[64]; /* whose rows are pending */
	unsigned pending, mixed, batches;
};

static void receive(void *context, const struct entry *entry)
{
	struct receiver *r = context;
	struct command c;
	const char *why;
	CU_ASSERT_EQUAL(command_parse(entry->line, &c, &why), OK);
	if (c.name != CMD_RDATA) {
		r->mixed += c.name == CMD_POSITION && r->pending > 0;
		return;
	}
	bool same = slice_equal(c.stream, slice_of(r->stream)) &&
		    slice_equal(c.instance, slice_of(r->instance));
	r->mixed += r->pending > 0 && !same;
	snprintf(r->stream, sizeof(r->stream), "%.*s", SLICE_ARG(c.stream));
	snprintf(r->instance, sizeof(r->instance), "%.*s", SLICE_ARG(c.instance));
	r->batches += !c.batch && r->pending > 0;
	r->pending = c.batch ? r->pending + 1 : 0;
}

static void test_captured_writers_played_row_by_row_in_turn_come_out_whole(void)
{
	/* Two streams of publishes, one delayed against the other so that their batches
	 * interleave. */
	struct recording recordings[2];
	struct recorded_publish p[2];
	bool more[2];
	struct frame f;
	frame_open(&f);
	f.quiet = true;
	struct receiver receiver = {0};
	f.heard = receive;
	f.heard_context = &receiver;
	for (unsigned i = 0; i < 2; i++) {
		recording_open(&recordings[i], "resp-1.160.tsv");
		more[i] = true;
	}
	unsigned rows = 0;
	while (more[0] || more[1]) {
		for (unsigned i = 0; i < 2; i++) {
			more[i] = more[i] && recording_next_publish(&recordings[i], &p[i]);
			if (!more[i] ||
				memmem(p[i].text.data, p[i].text.len, "RDATA events", 12) == NULL) {
				continue;
			}
			/* The second one's writers go by other names. */
			struct bytes line = {0};
			struct slice rest = p[i].text;
			bytes_append_slice(&line, slice_cut(&rest, ' '));
			bytes_append_string(&line, " ");
			bytes_append_slice(&line, slice_cut(&rest, ' '));
			bytes_append_string(&line, i == 0 ? " x_" : " y_");
			bytes_append_slice(&line, rest);
			frame_publish_bytes(
				&f, p[i].connection * 2 + i, FRAME_TENANT, bytes_slice(&line));
			bytes_finish(&line);
			rows++;
		}
	}
	CU_ASSERT(rows > 150);
	CU_ASSERT(receiver.batches > 40);
	CU_ASSERT_EQUAL(receiver.mixed, 0);
	CU_ASSERT_EQUAL(receiver.pending, 0);
	for (unsigned i = 0; i < 2; i++) {
		recording_close(&recordings[i]);
	}
	frame_close(&f);
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		UNIT_TEST(test_a_batch_enters_the_log_at_once_with_its_last_row),
		UNIT_TEST(test_all_rows_of_a_batch_carry_its_number),
		UNIT_TEST(test_two_writers_batches_that_interleave_come_out_whole),
		UNIT_TEST(test_one_writers_batches_on_two_streams_do_not_mix),
		UNIT_TEST(test_a_row_that_waits_is_answered_with_the_last_count),
		UNIT_TEST(test_half_a_batch_of_a_dead_writer_never_comes_out),
		UNIT_TEST(test_another_connections_close_leaves_a_batch_alone),
		UNIT_TEST(test_an_old_dialects_torn_batch_ends_with_one_number),
		UNIT_TEST(test_a_writer_that_goes_on_over_another_connection_tears_its_batch),
		UNIT_TEST(test_a_torn_batchs_position_never_goes_back),
		UNIT_TEST(test_a_position_passes_by_the_rows_that_wait),
		UNIT_TEST(test_too_many_rows_tear_a_batch),
		UNIT_TEST(test_a_large_batch_is_as_whole_as_a_small_one),
		UNIT_TEST(test_too_many_bytes_over_all_batches_tear_the_one_that_grows),
		UNIT_TEST(test_a_batch_that_never_ends_is_torn_by_its_age),
		UNIT_TEST(test_a_position_is_not_advanced_by_rows_that_wait),
		UNIT_TEST(test_a_pair_without_any_token_is_nobodys_answer),
		UNIT_TEST(test_a_log_line_says_whose_batch_was_torn_and_why),
		UNIT_TEST(test_captured_writers_played_row_by_row_in_turn_come_out_whole),
	};
	return UNIT_MAIN(argc, argv, "batch", tests);
}
