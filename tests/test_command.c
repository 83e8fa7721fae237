/* The vocabulary: every command of every generation, its arguments, and who may say it. */
#include "engine/replication/command.h"

#include "engine/base/err.h"
#include "tests/recording.h"
#include "tests/unit.h"

static bool is(struct slice s, const char *text)
{
	return slice_equal(s, slice_of(text));
}

static struct command parsed(const char *line)
{
	struct command c;
	const char *why = "untouched";
	int result = command_parse(slice_of(line), &c, &why);
	if (result != OK || c.wrong != NULL || why != NULL) {
		printf("\"%s\": %s\n", line, why);
	}
	CU_ASSERT_EQUAL(result, OK);
	CU_ASSERT_PTR_NULL(c.wrong);
	CU_ASSERT_TRUE(is(c.line, line));
	return c;
}

static void test_rdata_is_cut_into_stream_instance_token_and_row(void)
{
	struct command c =
		parsed("RDATA events master 134 [\"state\", [\"!a:b\", \"m.room create\"]]");
	CU_ASSERT_EQUAL(c.name, CMD_RDATA);
	CU_ASSERT_TRUE(is(c.word, "RDATA"));
	CU_ASSERT_TRUE(is(c.stream, "events"));
	CU_ASSERT_TRUE(is(c.instance, "master"));
	CU_ASSERT_EQUAL(c.token, 134);
	CU_ASSERT_FALSE(c.batch);
	CU_ASSERT_TRUE(is(c.row, "[\"state\", [\"!a:b\", \"m.room create\"]]"));
	CU_ASSERT_EQUAL(parsed("RDATA typing master 0 []").token, 0);
	CU_ASSERT_EQUAL(parsed("RDATA backfill master -17 []").token, -17);
	CU_ASSERT_EQUAL(parsed("RDATA s i 9223372036854775807 []").token, INT64_MAX);
}

static void test_rdata_with_batch_has_no_number(void)
{
	struct command c = parsed("RDATA events persist_2 batch [\"ev\",[]]");
	CU_ASSERT_TRUE(c.batch);
	CU_ASSERT_EQUAL(c.token, 0);
	CU_ASSERT_TRUE(is(c.instance, "persist_2"));
	CU_ASSERT_TRUE(is(c.row, "[\"ev\",[]]"));
}

static void test_position_is_read_in_both_generations(void)
{
	struct command c = parsed("POSITION events persist_1 3 4");
	CU_ASSERT_EQUAL(c.name, CMD_POSITION);
	CU_ASSERT_TRUE(c.has_prev);
	CU_ASSERT_EQUAL(c.prev, 3);
	CU_ASSERT_EQUAL(c.token, 4);
	c = parsed("POSITION events master 51");
	CU_ASSERT_FALSE(c.has_prev);
	CU_ASSERT_EQUAL(c.prev, 51);
	CU_ASSERT_EQUAL(c.token, 51);
	c = parsed("POSITION backfill master -1 -5");
	CU_ASSERT_EQUAL(c.prev, -1);
	CU_ASSERT_EQUAL(c.token, -5);
}

static void test_user_sync_is_read_in_both_generations_and_beyond(void)
{
	static const struct {
		const char *line, *id, *user, *device;
		bool syncing;
		int64_t ms;
	} cases[] = {
		{"USER_SYNC dwYfY @bob:x start 1795420547684", "dwYfY", "@bob:x", "", true,
			1795420547684},
		{"USER_SYNC dwYfY @bob:x end 1795420553728", "dwYfY", "@bob:x", "", false,
			1795420553728},
		{"USER_SYNC uvElw @e:x erin-main start 5", "uvElw", "@e:x", "erin-main", true, 5},
		{"USER_SYNC uvElw @e:x None end 6", "uvElw", "@e:x", "None", false, 6},
		{"USER_SYNC a @e:x start end 123", "a", "@e:x", "start", false, 123},
		{"USER_SYNC a @e:x end start 123", "a", "@e:x", "end", true, 123},
		{"USER_SYNC a @e:x start start 5", "a", "@e:x", "start", true, 5},
		{"USER_SYNC a @e:x my phone start 5", "a", "@e:x", "my phone", true, 5},
		{"USER_SYNC a @e:x dev start 5 online {}", "a", "@e:x", "dev", true, 5},
		{"USER_SYNC a @e:x start 5 more and more", "a", "@e:x", "", true, 5},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct command c = parsed(cases[i].line);
		CU_ASSERT_EQUAL(c.name, CMD_USER_SYNC);
		CU_ASSERT_TRUE(is(c.instance_id, cases[i].id));
		CU_ASSERT_TRUE(is(c.user, cases[i].user));
		CU_ASSERT_TRUE(is(c.device, cases[i].device));
		CU_ASSERT_EQUAL(c.syncing, cases[i].syncing);
		CU_ASSERT_EQUAL(c.ms, cases[i].ms);
	}
}

static void test_clear_user_sync_goes_by_two_words(void)
{
	struct command c = parsed("CLEAR_USER_SYNC hBqbt");
	CU_ASSERT_EQUAL(c.name, CMD_CLEAR_USER_SYNC);
	CU_ASSERT_TRUE(is(c.instance_id, "hBqbt"));
	c = parsed("CLEAR_USER_SYNCS hBqbt");
	CU_ASSERT_EQUAL(c.name, CMD_CLEAR_USER_SYNC);
	CU_ASSERT_TRUE(is(c.instance_id, "hBqbt"));
	CU_ASSERT_STRING_EQUAL(command_word(CMD_CLEAR_USER_SYNC), "CLEAR_USER_SYNC");
}

static void test_federation_ack_is_read_in_both_generations(void)
{
	struct command c = parsed("FEDERATION_ACK sender 12");
	CU_ASSERT_EQUAL(c.name, CMD_FEDERATION_ACK);
	CU_ASSERT_TRUE(is(c.instance, "sender"));
	CU_ASSERT_EQUAL(c.token, 12);
	c = parsed("FEDERATION_ACK 2");
	CU_ASSERT_EQUAL(c.instance.len, 0);
	CU_ASSERT_EQUAL(c.token, 2);
}

static void test_the_other_commands_are_known_by_their_word(void)
{
	static const struct {
		const char *line;
		enum command_name name;
	} cases[] = {
		{"SERVER example.com", CMD_SERVER},
		{"PING 1795420691990", CMD_PING},
		{"PING ", CMD_PING},
		{"PING", CMD_PING},
		{"PING some words", CMD_PING},
		{"NAME worker1", CMD_NAME},
		{"NAME a worker with blanks", CMD_NAME},
		{"NAME ", CMD_NAME},
		{"REPLICATE ", CMD_REPLICATE},
		{"REPLICATE", CMD_REPLICATE},
		{"ERROR something happened", CMD_ERROR},
		{"ERROR ", CMD_ERROR},
		{"REMOVE_PUSHER app key @u:x", CMD_REMOVE_PUSHER},
		{"USER_IP @u:x [\"t\",\"ip\",\"agent\",\"dev\",1]", CMD_USER_IP},
		{"REMOTE_SERVER_UP matrix.org", CMD_REMOTE_SERVER_UP},
		{"LOCK_RELEASED [\"a\",\"b\",\"c\"]", CMD_LOCK_RELEASED},
		{"NEW_ACTIVE_TASK vIoulLFluTiJcfLR", CMD_NEW_ACTIVE_TASK},
		{"CANCEL_TASK vIoulLFluTiJcfLR", CMD_CANCEL_TASK},
		{"SYNC x", CMD_SYNC},
		{"INVALIDATE_CACHE fn [\"k\"]", CMD_INVALIDATE_CACHE},
		{"THREE_PID_UP x", CMD_UNKNOWN},
		{"unknown x", CMD_UNKNOWN},
		{"rdata events master 1 []", CMD_UNKNOWN},
		{" RDATA events master 1 []", CMD_UNKNOWN},
		{"RDAT", CMD_UNKNOWN},
		{"CLEAR_USER_SYNCSS a", CMD_UNKNOWN},
		{"", CMD_UNKNOWN},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(parsed(cases[i].line).name, cases[i].name);
	}
	struct command c = parsed("SOMETHING new under the sun");
	CU_ASSERT_TRUE(is(c.word, "SOMETHING"));
	CU_ASSERT_TRUE(is(c.rest, "new under the sun"));
	c = parsed("REMOVE_PUSHER app key @u:x");
	CU_ASSERT_TRUE(is(c.user, "@u:x"));
}

static void test_wrong_arguments_are_named_without_quoting_them(void)
{
	static const char *const lines[] = {
		"RDATA",
		"RDATA ",
		"RDATA events",
		"RDATA events master",
		"RDATA events master 5",
		"RDATA events master 5 ",
		"RDATA events master batch",
		"RDATA events master x []",
		"RDATA events master 5x []",
		"RDATA events master +5 []",
		"RDATA events master 99999999999999999999 []",
		"RDATA events  5 []",
		"RDATA  master 5 []",
		"POSITION",
		"POSITION events",
		"POSITION events master",
		"POSITION events master ",
		"POSITION events master x",
		"POSITION events master 1 x",
		"POSITION events master 1 ",
		"POSITION events master 1 2 3",
		"POSITION  master 1 2",
		"USER_SYNC",
		"USER_SYNC a",
		"USER_SYNC a @u:x",
		"USER_SYNC a @u:x start",
		"USER_SYNC a @u:x start x",
		"USER_SYNC a @u:x begin 5",
		"USER_SYNC a  start 5",
		"USER_SYNC  @u:x start 5",
		"CLEAR_USER_SYNC",
		"CLEAR_USER_SYNC ",
		"CLEAR_USER_SYNC a b",
		"FEDERATION_ACK",
		"FEDERATION_ACK x",
		"FEDERATION_ACK sender x",
		"FEDERATION_ACK sender 1 2",
		"REMOVE_PUSHER a b",
		"USER_IP @u:x",
		"USER_IP",
		"REMOTE_SERVER_UP",
		"REMOTE_SERVER_UP ",
		"REMOTE_SERVER_UP a b",
		"SERVER",
		"SERVER a b",
		"LOCK_RELEASED",
		"NEW_ACTIVE_TASK ",
		"CANCEL_TASK",
		"INVALIDATE_CACHE",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct command c;
		const char *why = NULL;
		int result = command_parse(slice_of(lines[i]), &c, &why);
		if (result != -E_SYNTAX) {
			printf("taken: \"%s\"\n", lines[i]);
		}
		CU_ASSERT_EQUAL(result, -E_SYNTAX);
		CU_ASSERT_PTR_NOT_NULL(why);
		CU_ASSERT_PTR_EQUAL(why, c.wrong);
		CU_ASSERT_NOT_EQUAL(c.name, CMD_UNKNOWN);
		CU_ASSERT_TRUE(is(c.line, lines[i]));
	}
}

static void test_each_side_may_say_what_synapse_lets_it(void)
{
	/* In the order of the enum: a client of ours, a main of ours, and whether a worker takes
	 * it. */
	static const struct {
		enum command_name name;
		bool writer, worker, main, to_worker;
	} rows[] = {
		{CMD_UNKNOWN, true, false, false, false},
		{CMD_SERVER, false, false, true, true},
		{CMD_PING, false, true, true, true},
		{CMD_NAME, false, true, false, false},
		{CMD_REPLICATE, true, true, false, false},
		{CMD_RDATA, true, false, true, true},
		{CMD_POSITION, true, false, true, true},
		{CMD_ERROR, false, true, true, true},
		{CMD_USER_SYNC, true, true, false, false},
		{CMD_CLEAR_USER_SYNC, true, true, false, false},
		{CMD_FEDERATION_ACK, true, true, false, false},
		{CMD_REMOVE_PUSHER, true, true, false, false},
		{CMD_USER_IP, true, true, false, false},
		{CMD_REMOTE_SERVER_UP, true, true, true, true},
		{CMD_LOCK_RELEASED, true, true, true, false},
		{CMD_NEW_ACTIVE_TASK, true, true, true, false},
		{CMD_CANCEL_TASK, true, true, true, false},
		{CMD_SYNC, true, false, true, false},
		{CMD_INVALIDATE_CACHE, true, true, false, false},
	};
	CU_ASSERT_EQUAL(sizeof(rows) / sizeof(rows[0]), CMD_COUNT);
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		CU_ASSERT_EQUAL(rows[i].name, i);
		CU_ASSERT_EQUAL(command_allowed(rows[i].name, FROM_WRITER), rows[i].writer);
		CU_ASSERT_EQUAL(command_allowed(rows[i].name, FROM_WORKER), rows[i].worker);
		CU_ASSERT_EQUAL(command_allowed(rows[i].name, FROM_MAIN), rows[i].main);
		CU_ASSERT_EQUAL(command_goes_to_worker(rows[i].name), rows[i].to_worker);
		CU_ASSERT_PTR_NOT_NULL(command_word(rows[i].name));
	}
}

static void test_a_line_carries_what_is_text_and_short_enough(void)
{
	CU_ASSERT_TRUE(command_fits_line(SLICE("RDATA events master 5 [\"\xc3\xa9\r\"]")));
	CU_ASSERT_TRUE(command_fits_line((struct slice){NULL, 0}));
	CU_ASSERT_FALSE(command_fits_line(SLICE("RDATA events master 5 [\"\n\"]")));
	CU_ASSERT_FALSE(command_fits_line(SLICE("RDATA events master 5 [\"\xff\"]")));
	static char text[COMMAND_LINE_MAX + 1];
	memset(text, 'x', sizeof(text));
	CU_ASSERT_TRUE(command_fits_line((struct slice){text, COMMAND_LINE_MAX}));
	CU_ASSERT_FALSE(command_fits_line((struct slice){text, COMMAND_LINE_MAX + 1}));
}

static void test_every_recorded_line_parses(void)
{
	static const char *const files[] = {"line-1.15.txt", "line-1.66.txt"};
	for (unsigned i = 0; i < 2; i++) {
		struct recording recording;
		recording_open(&recording, files[i]);
		struct recorded_line line;
		unsigned lines = 0;
		while (recording_next(&recording, &line)) {
			if (line.connection == 0) {
				continue;
			}
			struct command c;
			const char *why;
			CU_ASSERT_EQUAL(command_parse(line.text, &c, &why), OK);
			CU_ASSERT_NOT_EQUAL(c.name, CMD_UNKNOWN);
			CU_ASSERT_TRUE(command_allowed(
				c.name, line.from_worker ? FROM_WORKER : FROM_MAIN));
			if (c.name == CMD_POSITION) {
				CU_ASSERT_EQUAL(c.has_prev, i == 1);
			}
			if (c.name == CMD_FEDERATION_ACK) {
				CU_ASSERT_EQUAL(c.instance.len > 0, i == 1);
			}
			lines++;
		}
		CU_ASSERT(lines > 300);
		recording_close(&recording);
	}
}

static void test_every_captured_publish_parses(void)
{
	struct recording recording;
	recording_open(&recording, "resp-1.160.tsv");
	struct recorded_publish p;
	unsigned lines = 0;
	while (recording_next_publish(&recording, &p)) {
		struct command c;
		const char *why;
		CU_ASSERT_EQUAL(command_parse(p.text, &c, &why), OK);
		CU_ASSERT_NOT_EQUAL(c.name, CMD_UNKNOWN);
		lines++;
	}
	CU_ASSERT(lines > 700);
	recording_close(&recording);
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		UNIT_TEST(test_rdata_is_cut_into_stream_instance_token_and_row),
		UNIT_TEST(test_rdata_with_batch_has_no_number),
		UNIT_TEST(test_position_is_read_in_both_generations),
		UNIT_TEST(test_user_sync_is_read_in_both_generations_and_beyond),
		UNIT_TEST(test_clear_user_sync_goes_by_two_words),
		UNIT_TEST(test_federation_ack_is_read_in_both_generations),
		UNIT_TEST(test_the_other_commands_are_known_by_their_word),
		UNIT_TEST(test_wrong_arguments_are_named_without_quoting_them),
		UNIT_TEST(test_each_side_may_say_what_synapse_lets_it),
		UNIT_TEST(test_a_line_carries_what_is_text_and_short_enough),
		UNIT_TEST(test_every_recorded_line_parses),
		UNIT_TEST(test_every_captured_publish_parses),
	};
	return UNIT_MAIN(argc, argv, "command", tests);
}
