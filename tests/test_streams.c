/* Positions: what was written up to where, who has vouched for it, and what a restart does to it.
 */
#include "engine/replication/streams.h"

#include "tests/replication_frame.h"

struct listing {
	struct bytes text;
};

static void list(void *context, const struct position_facts *p)
{
	struct listing *l = context;
	bytes_printf(&l->text, "%.*s %.*s %lld %s %llu\n", SLICE_ARG(p->stream),
		SLICE_ARG(p->instance), (long long)p->token,
		p->confirmed ? "confirmed" : "recovered", (unsigned long long)p->rows);
}

static void positions_are(struct frame *f, const char *expected, int at)
{
	struct listing l = {0};
	replication_positions(f->r, list, &l);
	frame_text_is(f, &l.text, expected, at);
	bytes_finish(&l.text);
}
#define POSITIONS(f, expected) positions_are((f), (expected), __LINE__)

static void test_rows_and_positions_advance_a_stream_with_nobody_listening(void)
{
	struct frame f;
	frame_open(&f);
	f.receivers = 0;
	frame_publish(&f, 1, "POSITION events master 0 4");
	frame_publish(&f, 1, "RDATA events master 5 [1]");
	frame_publish(&f, 1, "RDATA events master batch [1]");
	frame_publish(&f, 1, "RDATA events master 8 [1]");
	frame_publish(&f, 1, "POSITION typing master 0 0");
	frame_publish(&f, 2, "POSITION events persist_1 9 12");
	POSITIONS(&f, "events master 8 confirmed 3\n"
		      "events persist_1 12 confirmed 0\n"
		      "typing master 0 confirmed 0\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->positions, 3);
	frame_close(&f);
}

static void test_a_repeated_row_is_relayed_and_leaves_the_position(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION caches master 298 298");
	frame_publish(&f, 1, "RDATA caches master 299 [1]");
	frame_publish(&f, 1, "RDATA caches master 300 [2]");
	bytes_clear(&f.log);
	frame_publish(&f, 1, "RDATA caches master 299 [1]");
	FRAME_LOG(&f, "ALL RDATA caches master 299 [1]\n");
	POSITIONS(&f, "caches master 300 confirmed 3\n");
	frame_publish(&f, 1, "RDATA caches master 300 [2]");
	POSITIONS(&f, "caches master 300 confirmed 4\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->resets, 0);
	frame_close(&f);
}

static void test_a_position_may_go_back_and_is_relayed_and_counted(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION typing master 80 80");
	bytes_clear(&f.log);
	frame_publish(&f, 2, "POSITION typing master 0 0");
	FRAME_LOG(&f, "ALL POSITION typing master 0 0\n");
	POSITIONS(&f, "typing master 0 confirmed 0\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->resets, 1);
	frame_publish(&f, 2, "RDATA typing master 1 [1]");
	POSITIONS(&f, "typing master 1 confirmed 1\n");
	frame_close(&f);
}

static void test_a_first_position_below_zero_is_no_reset(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION backfill master -5 -5");
	CU_ASSERT_EQUAL(replication_stats(f.r)->resets, 0);
	POSITIONS(&f, "backfill master -5 confirmed 0\n");
	frame_close(&f);
}

static void test_replicate_is_answered_by_stream_in_order_of_appearance(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 1 133");
	frame_publish(&f, 1, "POSITION caches master 39 39");
	frame_publish(&f, 2, "POSITION events persist_1 7 7");
	frame_publish(&f, 1, "RDATA backfill master -4 [1]");
	bytes_clear(&f.log);
	CU_ASSERT_EQUAL(frame_line(&f, 9, NULL, "REPLICATE "), OK);
	FRAME_ANSWER(&f, "POSITION events master 133 133\n"
			 "POSITION events persist_1 7 7\n"
			 "POSITION caches master 39 39\n"
			 "POSITION backfill master -4 -4\n");
	/* All are sure: nobody else is asked. */
	FRAME_LOG(&f, "");
	frame_close(&f);
}

static void test_the_older_dialect_is_answered_in_kind(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 133");
	frame_publish(&f, 1, "RDATA events master 134 [1]");
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "POSITION events master 134\n");
	/* Also after a restart, with no word from the writer yet. */
	frame_save(&f);
	frame_restart(&f, 1000);
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "POSITION events master 134\n");
	/* The homeserver was upgraded. */
	frame_publish(&f, 1, "POSITION events master 134 134");
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "POSITION events master 134 134\n");
	frame_close(&f);
}

static void test_an_empty_table_asks_the_writers_once_a_second(void)
{
	struct frame f;
	frame_open(&f);
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "");
	FRAME_LOG(&f, "RESP REPLICATE \n");
	frame_pass(&f, 400);
	frame_line(&f, 10, NULL, "REPLICATE ");
	frame_line(&f, 11, NULL, "REPLICATE ");
	FRAME_LOG(&f, "");
	/* What was asked within the second is not forgotten: the tick says it. */
	uint64_t due = replication_tick(f.r, f.now);
	CU_ASSERT_EQUAL(due, f.now.mono_ns + 600 * 1000000u);
	FRAME_LOG(&f, "");
	frame_pass(&f, 600);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), UINT64_MAX);
	FRAME_LOG(&f, "RESP REPLICATE \n");
	frame_pass(&f, 5000);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), UINT64_MAX);
	FRAME_LOG(&f, "");
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_LOG(&f, "RESP REPLICATE \n");
	frame_close(&f);
}

static void test_a_publishers_replicate_is_relayed_to_the_others(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "REPLICATE ");
	FRAME_LOG(&f, "RESP REPLICATE \n");
	FRAME_ANSWER(&f, "");
	frame_close(&f);
}

static void test_positions_survive_a_restart_unconfirmed_and_ask_the_writers(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 0 4");
	frame_publish(&f, 1, "RDATA caches master 17 [1]");
	frame_save(&f);
	frame_restart(&f, 1000);
	bytes_clear(&f.log);
	POSITIONS(&f, "caches master 17 recovered 0\nevents master 4 recovered 0\n");
	CU_ASSERT_FALSE(replication_dirty(f.r));
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "POSITION caches master 17 17\nPOSITION events master 4 4\n");
	FRAME_LOG(&f, "RESP REPLICATE \n");
	frame_publish(&f, 1, "POSITION events master 4 4");
	frame_publish(&f, 1, "POSITION caches master 17 17");
	POSITIONS(&f, "caches master 17 confirmed 0\nevents master 4 confirmed 0\n");
	bytes_clear(&f.log);
	frame_pass(&f, 5000);
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_LOG(&f, "");
	frame_close(&f);
}

static void test_the_gap_of_a_restart_is_closed_for_line_workers_by_the_first_row(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 0 4");
	frame_publish(&f, 1, "POSITION caches master 0 10");
	frame_publish(&f, 1, "POSITION typing master 0 90");
	frame_save(&f);
	frame_restart(&f, 1000);
	bytes_clear(&f.log);
	/* 5 and 6 were written while the hub was away. */
	frame_publish(&f, 1, "RDATA events master 7 [7]");
	FRAME_LOG(&f, "LINE POSITION events master 6 6\n& ALL RDATA events master 7 [7]\n");
	frame_publish(&f, 1, "RDATA events master 9 [9]");
	FRAME_LOG(&f, "ALL RDATA events master 9 [9]\n");
	/* The next one: nothing lies between. */
	frame_publish(&f, 1, "RDATA caches master 11 [11]");
	FRAME_LOG(&f, "ALL RDATA caches master 11 [11]\n");
	/* The writer has begun anew, and nobody heard its POSITION. */
	frame_publish(&f, 1, "RDATA typing master 3 [3]");
	FRAME_LOG(&f, "LINE POSITION typing master 2 2\n& ALL RDATA typing master 3 [3]\n");
	POSITIONS(&f, "typing master 3 confirmed 1\ncaches master 11 confirmed 1\n"
		      "events master 9 confirmed 2\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->gaps_closed, 2);
	frame_close(&f);
}

static void test_the_gap_is_closed_in_front_of_a_whole_batch(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 4");
	frame_save(&f);
	frame_restart(&f, 1000);
	bytes_clear(&f.log);
	frame_publish(&f, 1, "RDATA events master batch [1]");
	frame_publish(&f, 1, "RDATA events master 7 [2]");
	FRAME_LOG(&f, "LINE POSITION events master 6\n"
		      "& ALL RDATA events master batch [1]\n"
		      "& ALL RDATA events master 7 [2]\n");
	frame_close(&f);
}

static void test_a_stream_first_heard_by_a_row_gets_its_position_on_lines(void)
{
	/* A line worker drops the rows of a stream until a POSITION of it. */
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "RDATA events master 1 [1]");
	FRAME_LOG(&f, "LINE POSITION events master 0 0\n& ALL RDATA events master 1 [1]\n");
	frame_publish(&f, 1, "RDATA s master -9223372036854775808 [1]");
	FRAME_LOG(&f, "ALL RDATA s master -9223372036854775808 [1]\n");
	frame_close(&f);
}

static void test_a_position_after_a_restart_needs_no_help(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION events master 0 4");
	frame_save(&f);
	frame_restart(&f, 1000);
	bytes_clear(&f.log);
	frame_publish(&f, 1, "POSITION events master 6 8");
	frame_publish(&f, 1, "RDATA events master 9 [9]");
	FRAME_LOG(&f, "ALL POSITION events master 6 8\nALL RDATA events master 9 [9]\n");
	frame_close(&f);
}

static void test_a_thousand_rows_are_one_row_for_the_store(void)
{
	struct frame f;
	frame_open(&f);
	f.quiet = true;
	CU_ASSERT_FALSE(replication_dirty(f.r));
	for (int i = 1; i <= 1000; i++) {
		char line[100];
		snprintf(line, sizeof(line), "RDATA caches master %d [%d]", i, i);
		frame_publish(&f, 1, line);
	}
	frame_publish(&f, 1, "POSITION events master 3 3");
	CU_ASSERT_TRUE(replication_dirty(f.r));
	CU_ASSERT_EQUAL(frame_save(&f), 2);
	CU_ASSERT_EQUAL(frame_save(&f), 0);
	frame_restart(&f, 0);
	struct listing l = {0};
	replication_positions(f.r, list, &l);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.text.data, "caches master 1000 recovered"));
	bytes_finish(&l.text);
	frame_close(&f);
}

static void test_names_over_a_limit_are_relayed_and_not_remembered(void)
{
	struct frame f;
	frame_open(&f);
	f.limits.streams_max = 2;
	f.limits.instances_max = 2;
	f.limits.positions_max = 3;
	frame_publish(&f, 1, "POSITION a i 1 1");
	frame_publish(&f, 1, "POSITION b j 1 1");
	bytes_clear(&f.log);
	frame_publish(&f, 1, "POSITION c i 1 1"); /* one stream too many */
	frame_publish(&f, 1, "RDATA a k 1 []");   /* one instance */
	CU_ASSERT_EQUAL(f.last.stream, 0);
	frame_publish(&f, 1, "RDATA a k batch []");
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 3);
	frame_publish(&f, 1, "POSITION a j 1 1");
	frame_publish(&f, 1, "POSITION b i 1 1"); /* one position */
	FRAME_LOG(&f, "ALL POSITION c i 1 1\nALL RDATA a k 1 []\nALL RDATA a k batch []\n"
		      "ALL POSITION a j 1 1\nALL POSITION b i 1 1\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 4);
	POSITIONS(&f, "a i 1 confirmed 0\na j 1 confirmed 0\nb j 1 confirmed 0\n");
	char line[700];
	snprintf(line, sizeof(line), "POSITION %0256d i 1 1", 0);
	frame_publish(&f, 1, line);
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 5);
	CU_ASSERT_EQUAL(replication_stats(f.r)->positions, 3);
	frame_close(&f);
}

static void test_stored_positions_over_a_limit_are_passed_over(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION a i 1 1");
	frame_publish(&f, 1, "POSITION b i 2 2");
	frame_save(&f);
	f.limits.positions_max = 1;
	frame_restart(&f, 0);
	CU_ASSERT_EQUAL(replication_stats(f.r)->positions, 1);
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 1);
	frame_close(&f);
}

static void test_names_get_numbers_in_the_order_of_appearance(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION a x 1 1");
	CU_ASSERT_EQUAL(f.last.stream, 1);
	CU_ASSERT_EQUAL(f.last.instance, 1);
	frame_publish(&f, 1, "POSITION b x 1 1");
	CU_ASSERT_EQUAL(f.last.stream, 2);
	CU_ASSERT_EQUAL(f.last.instance, 1);
	frame_publish(&f, 1, "RDATA a y 5 []");
	CU_ASSERT_EQUAL(f.last.stream, 1);
	CU_ASSERT_EQUAL(f.last.instance, 2);
	CU_ASSERT_EQUAL(f.last.token, 5);
	CU_ASSERT_EQUAL(f.last.name, CMD_RDATA);
	frame_close(&f);
}

static void test_the_pair_is_found_whether_its_names_stand_together_or_not(void)
{
	static const struct replication_limits limits = {
		.streams_max = 9, .instances_max = 9, .positions_max = 9};
	struct streams *s = streams_create(&limits);
	char *stream = strdup("events"), *instance = strdup("master");
	struct position *p = streams_get(s, slice_of(stream), slice_of(instance));
	UNIT_REQUIRE(p != NULL);
	struct slice line = SLICE("events master");
	struct slice first = slice_cut(&line, ' ');
	CU_ASSERT_PTR_EQUAL(streams_find(s, first, line), p);
	CU_ASSERT_PTR_NULL(streams_find(s, line, first));
	CU_ASSERT_PTR_NULL(streams_find(s, SLICE("events"), SLICE("")));
	CU_ASSERT_EQUAL(streams_count(s), 1);
	free(stream);
	free(instance);
	streams_destroy(s);
	streams_destroy(NULL);
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		UNIT_TEST(test_rows_and_positions_advance_a_stream_with_nobody_listening),
		UNIT_TEST(test_a_repeated_row_is_relayed_and_leaves_the_position),
		UNIT_TEST(test_a_position_may_go_back_and_is_relayed_and_counted),
		UNIT_TEST(test_a_first_position_below_zero_is_no_reset),
		UNIT_TEST(test_replicate_is_answered_by_stream_in_order_of_appearance),
		UNIT_TEST(test_the_older_dialect_is_answered_in_kind),
		UNIT_TEST(test_an_empty_table_asks_the_writers_once_a_second),
		UNIT_TEST(test_a_publishers_replicate_is_relayed_to_the_others),
		UNIT_TEST(test_positions_survive_a_restart_unconfirmed_and_ask_the_writers),
		UNIT_TEST(test_the_gap_of_a_restart_is_closed_for_line_workers_by_the_first_row),
		UNIT_TEST(test_the_gap_is_closed_in_front_of_a_whole_batch),
		UNIT_TEST(test_a_stream_first_heard_by_a_row_gets_its_position_on_lines),
		UNIT_TEST(test_a_position_after_a_restart_needs_no_help),
		UNIT_TEST(test_a_thousand_rows_are_one_row_for_the_store),
		UNIT_TEST(test_names_over_a_limit_are_relayed_and_not_remembered),
		UNIT_TEST(test_stored_positions_over_a_limit_are_passed_over),
		UNIT_TEST(test_names_get_numbers_in_the_order_of_appearance),
		UNIT_TEST(test_the_pair_is_found_whether_its_names_stand_together_or_not),
	};
	return UNIT_MAIN(argc, argv, "streams", tests);
}
