/* The shared handler: who hears what, whoever said it; recordings; and a random walk beside a
 * simple model. */
#include "engine/replication/handler.h"

#include "tests/recording.h"
#include "tests/replication_frame.h"

static void test_a_publishers_commands_reach_those_who_may_hear_them(void)
{
	static const struct {
		const char *line, *audience;
	} cases[] = {
		{"POSITION events master 1 2", "ALL"},
		{"POSITION typing master 0", "ALL"},
		{"REMOTE_SERVER_UP matrix.org", "ALL"},
		{"REPLICATE ", "RESP"},
		{"USER_SYNC abcde @u:x start 1", "RESP"},
		{"USER_SYNC abcde @u:x None start 1", "RESP"},
		{"USER_SYNC abcde @u:x dev start 1 and more", "RESP"},
		{"USER_SYNC_KEEPALIVE abcde", "RESP"},
		{"CLEAR_USER_SYNC abcde", "RESP"},
		{"CLEAR_USER_SYNCS abcde", "RESP"},
		{"FEDERATION_ACK sender 1", "RESP"},
		{"FEDERATION_ACK 1", "RESP"},
		{"REMOVE_PUSHER a b @u:x", "RESP"},
		{"USER_IP @u:x [\"t\",\"i\",\"a\",\"d\",1]", "RESP"},
		{"LOCK_RELEASED [\"master\",\"lock\",\"key\"]", "RESP"},
		{"NEW_ACTIVE_TASK abc", "RESP"},
		{"CANCEL_TASK abc", "RESP"},
		{"SYNC x", "RESP"},
		{"INVALIDATE_CACHE f []", "RESP"},
		{"SOMETHING_NEW in the next version", "RESP"},
		{"", "RESP"},
		{" ", "RESP"},
		{"no command at all", "RESP"},
		/* The line protocol's own words, and what is malformed: for nobody who would
		 * mind. */
		{"SERVER example.com", "RESP"},
		{"PING 1", "RESP"},
		{"NAME x", "RESP"},
		{"ERROR x", "RESP"},
		{"RDATA events master x []", "RESP"},
		{"RDATA events", "RESP"},
		{"POSITION events master one two", "RESP"},
		{"REMOTE_SERVER_UP a b", "RESP"},
		{"USER_SYNC abcde", "RESP"},
	};
	struct frame f;
	frame_open(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(frame_publish(&f, 1, cases[i].line), 7);
		char expected[200];
		snprintf(expected, sizeof(expected), "%s %s\n", cases[i].audience, cases[i].line);
		FRAME_LOG(&f, expected);
	}
	CU_ASSERT_EQUAL(replication_stats(f.r)->malformed, 5);
	CU_ASSERT_EQUAL(replication_stats(f.r)->commands[CMD_UNKNOWN], 5);
	CU_ASSERT_EQUAL(replication_stats(f.r)->commands[CMD_POSITION], 3);
	frame_close(&f);
}

static void test_the_byte_is_sacred_on_every_channel(void)
{
	struct frame f;
	frame_open(&f);
	static const char payload[] = "USER_IP @u:x [\"a\0b\xff\n\"]";
	struct slice line = {payload, sizeof(payload) - 1};
	frame_publish_bytes(&f, 1, SLICE("example.com/USER_IP"), line);
	struct bytes expected = {0};
	bytes_append_string(&expected, "RESP#example.com/USER_IP ");
	bytes_append_slice(&expected, line);
	bytes_append_string(&expected, "\n");
	CU_ASSERT_TRUE(slice_equal(bytes_slice(&f.log), bytes_slice(&expected)));
	bytes_finish(&expected);
	frame_close(&f);
}

static void test_only_the_tenants_own_channel_is_learnt_from(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish_bytes(&f, 1, SLICE("example.com/other"), SLICE("POSITION events master 1 2"));
	frame_publish_bytes(&f, 1, SLICE("example.com/other"), SLICE("RDATA events master 3 []"));
	frame_publish_bytes(
		&f, 1, SLICE("example.com/other"), SLICE("RDATA events master batch []"));
	frame_publish_bytes(&f, 1, SLICE("example.com/other"), SLICE("USER_SYNC a @u:x start 1"));
	frame_publish_bytes(&f, 1, SLICE("example.com/other"), SLICE("REMOTE_SERVER_UP a"));
	FRAME_LOG(&f, "RESP#example.com/other POSITION events master 1 2\n"
		      "RESP#example.com/other RDATA events master 3 []\n"
		      "RESP#example.com/other RDATA events master batch []\n"
		      "RESP#example.com/other USER_SYNC a @u:x start 1\n"
		      "RESP#example.com/other REMOTE_SERVER_UP a\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->positions, 0);
	CU_ASSERT_EQUAL(replication_stats(f.r)->users_syncing, 0);
	CU_ASSERT_FALSE(replication_dirty(f.r));
	frame_close(&f);
}

static void test_nothing_unfit_ever_reaches_a_line(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "POSITION s i 0 4");
	bytes_clear(&f.log);
	/* A newline, bytes that are not UTF-8, a row that is too long: line workers fetch it
	 * instead. */
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("RDATA s i 5 [\"\n\"]"));
	FRAME_LOG(&f, "LINE POSITION s i 5 5\n& RESP RDATA s i 5 [\"\n\"]\n");
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("RDATA s i 6 [\"\xff\"]"));
	FRAME_LOG(&f, "LINE POSITION s i 6 6\n& RESP RDATA s i 6 [\"\xff\"]\n");
	struct bytes line = {0};
	bytes_append_string(&line, "RDATA s i 7 ");
	while (line.len < COMMAND_LINE_MAX) {
		bytes_append(&line, "x", 1);
	}
	f.quiet = true;
	frame_publish_bytes(&f, 1, FRAME_TENANT, bytes_slice(&line));
	CU_ASSERT_EQUAL(f.last.audience, TO_ALL);
	bytes_append(&line, "x", 1);
	frame_publish_bytes(&f, 1, FRAME_TENANT, bytes_slice(&line));
	CU_ASSERT_EQUAL(f.last.audience, TO_RESP);
	f.quiet = false;
	/* One such row in a batch is all of it; in front, behind. */
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("RDATA s i batch [\"\n\"]"));
	frame_publish(&f, 1, "RDATA s i 8 [2]");
	FRAME_LOG(&f,
		"LINE POSITION s i 8 8\n& RESP RDATA s i batch [\"\n\"]\n& RESP RDATA s i 8 [2]\n");
	frame_publish(&f, 1, "RDATA s i batch [1]");
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("RDATA s i 9 [\"\n\"]"));
	FRAME_LOG(&f,
		"LINE POSITION s i 9 9\n& RESP RDATA s i batch [1]\n& RESP RDATA s i 9 [\"\n\"]\n");
	/* Names that would break a line of our own are nobody's. */
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("RDATA s\nPOSITION i 10 []"));
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("RDATA s \xff 10 []"));
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("POSITION s\nERROR i 10"));
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("REMOTE_SERVER_UP a\nERROR"));
	frame_publish_bytes(&f, 1, FRAME_TENANT, SLICE("USER_SYNC a\nERROR @u:x start 1"));
	FRAME_LOG(&f, "RESP RDATA s\nPOSITION i 10 []\nRESP RDATA s \xff 10 []\n"
		      "RESP POSITION s\nERROR i 10\nRESP REMOTE_SERVER_UP a\nERROR\n"
		      "RESP USER_SYNC a\nERROR @u:x start 1\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->positions, 1);
	CU_ASSERT_EQUAL(replication_stats(f.r)->users_syncing, 0);
	CU_ASSERT_EQUAL(replication_stats(f.r)->unfit_for_lines, 5);
	frame_line(&f, 9, NULL, "REPLICATE ");
	FRAME_ANSWER(&f, "POSITION s i 9 9\n");
	bytes_finish(&line);
	frame_close(&f);
}

static void test_a_workers_commands_go_to_the_publishers_side_once(void)
{
	static const struct {
		const char *line, *log;
	} cases[] = {
		{"USER_SYNC abcde @u:x start 1", "RESP USER_SYNC abcde @u:x start 1\n"},
		{"CLEAR_USER_SYNC abcde", "RESP CLEAR_USER_SYNC abcde\n"},
		{"FEDERATION_ACK 12", "RESP FEDERATION_ACK 12\n"},
		{"FEDERATION_ACK w 12", "RESP FEDERATION_ACK w 12\n"},
		{"REMOVE_PUSHER a b @u:x", "RESP REMOVE_PUSHER a b @u:x\n"},
		{"USER_IP @u:x [\"t\"]", "RESP#example.com/USER_IP USER_IP @u:x [\"t\"]\n"},
		{"REMOTE_SERVER_UP matrix.org", "ALL!9 REMOTE_SERVER_UP matrix.org\n"},
		{"LOCK_RELEASED [\"a\"]", "RESP LOCK_RELEASED [\"a\"]\n"},
		{"NEW_ACTIVE_TASK a", "RESP NEW_ACTIVE_TASK a\n"},
		{"CANCEL_TASK a", "RESP CANCEL_TASK a\n"},
		{"INVALIDATE_CACHE f []", "RESP INVALIDATE_CACHE f []\n"},
		{"NAME me", ""},
		{"PING 1", ""},
		{"ERROR ouch", ""},
	};
	struct frame f;
	frame_open(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(frame_line(&f, 9, NULL, cases[i].line), OK);
		FRAME_ANSWER(&f, "");
		FRAME_LOG(&f, cases[i].log);
	}
	frame_close(&f);
}

static void test_a_worker_may_not_say_what_a_main_says(void)
{
	static const char *const lines[] = {"SERVER x", "RDATA events w 5 []",
		"RDATA events w batch []", "POSITION events w 4 5", "POSITION events w 5", "SYNC x",
		"THREE_PID_UP x", "", "RDATA"};
	struct frame f;
	frame_open(&f);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		CU_ASSERT_EQUAL(frame_line(&f, 9, NULL, lines[i]), -E_NOT_ALLOWED);
		CU_ASSERT_PTR_NOT_NULL(f.why);
		FRAME_LOG(&f, "");
	}
	CU_ASSERT_EQUAL(frame_line(&f, 9, NULL, "USER_SYNC a"), -E_SYNTAX);
	CU_ASSERT_PTR_NOT_NULL(f.why);
	FRAME_LOG(&f, "");
	CU_ASSERT_EQUAL(replication_stats(f.r)->positions, 0);
	CU_ASSERT_EQUAL(replication_stats(f.r)->malformed, 1);
	frame_close(&f);
}

static void test_line_writers_may_write_for_the_instances_named(void)
{
	static const struct slice named[] = {{"w1", 2}, {"w2", 2}};
	static const struct line_writers some = {.count = 2, .instances = named};
	static const struct line_writers all = {.any = true};
	struct frame f;
	frame_open(&f);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &some, "POSITION events w1 4 5"), OK);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &some, "RDATA events w1 6 []"), OK);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &some, "RDATA events w2 batch []"), OK);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &some, "RDATA events w3 6 []"), -E_NOT_ALLOWED);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &some, "POSITION events w 6 6"), -E_NOT_ALLOWED);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &some, "SERVER w1"), -E_NOT_ALLOWED);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &some, "RDATA events w1 x []"), -E_SYNTAX);
	CU_ASSERT_EQUAL(frame_line(&f, 9, &all, "POSITION events w3 6 6"), OK);
	FRAME_LOG(&f, "ALL POSITION events w1 4 5\nALL RDATA events w1 6 []\nALL POSITION events "
		      "w3 6 6\n");
	frame_close(&f);
}

static int from_main(struct frame *f, const char *line)
{
	struct command c;
	int64_t receivers;
	struct origin origin = {
		.direction = FROM_MAIN, .connection = 5, .full_name = SLICE("main")};
	command_parse(slice_of(line), &c, &f->why);
	return replication_handle(f->r, &origin, (struct slice){NULL, 0}, &c, f->now, &f->answer,
		&receivers, &f->why);
}

static void test_a_mains_commands_reach_the_workers(void)
{
	struct frame f;
	frame_open(&f);
	CU_ASSERT_EQUAL(from_main(&f, "POSITION events master 4"), OK);
	CU_ASSERT_EQUAL(from_main(&f, "RDATA events master batch []"), OK);
	CU_ASSERT_EQUAL(from_main(&f, "RDATA events master 5 []"), OK);
	CU_ASSERT_EQUAL(from_main(&f, "REMOTE_SERVER_UP a"), OK);
	CU_ASSERT_EQUAL(from_main(&f, "USER_SYNC a @u:x start 1"), -E_NOT_ALLOWED);
	CU_ASSERT_EQUAL(from_main(&f, "REPLICATE "), -E_NOT_ALLOWED);
	CU_ASSERT_EQUAL(from_main(&f, "RDATA events master x []"), -E_SYNTAX);
	FRAME_LOG(&f, "ALL POSITION events master 4\n"
		      "ALL RDATA events master batch []\n& ALL RDATA events master 5 []\n"
		      "ALL!5 REMOTE_SERVER_UP a\n");
	frame_close(&f);
}

static void test_no_access_token_is_ever_logged(void)
{
	int ends[2];
	UNIT_REQUIRE(pipe(ends) == 0);
	struct frame f;
	frame_open(&f);
	f.limits.user_syncs_max = 0;
	f.limits.positions_max = 0;
	journal_init(JOURNAL_DEBUG, ends[1]);
	frame_publish(&f, 1, "USER_IP @u:x [\"secret\"]");
	frame_publish(&f, 1, "USER_IP secret");
	frame_line(&f, 9, NULL, "USER_IP @u:x [\"secret\"]");
	frame_line(&f, 9, NULL, "USER_IP secret");
	CU_ASSERT_PTR_NULL(strstr(f.why, "secret"));
	frame_publish(&f, 1, "USER_SYNC a @u:x start 1"); /* something is logged */
	frame_publish(&f, 1, "RDATA caches master 1 [\"get_user_by_access_token\",[\"secret\"]]");
	journal_init(JOURNAL_WARNING, -1);
	char text[4000];
	ssize_t len = read(ends[0], text, sizeof(text));
	CU_ASSERT(len > 0);
	CU_ASSERT_PTR_NULL(memmem(text, (size_t)len, "secret", 6));
	close(ends[0]);
	close(ends[1]);
	frame_close(&f);
}

static void test_the_capture_is_relayed_and_its_last_positions_known(void)
{
	struct recording recording;
	recording_open(&recording, "resp-1.160.tsv");
	struct frame f;
	frame_open(&f);
	f.quiet = true;
	struct recorded_publish p;
	unsigned published = 0;
	while (recording_next_publish(&recording, &p)) {
		bool own = slice_equal(p.channel, SLICE("synapse.test"));
		frame_publish_bytes(&f, p.connection,
			own ? FRAME_TENANT : SLICE("example.com/USER_IP"), p.text);
		published++;
	}
	const struct replication_stats *stats = replication_stats(f.r);
	uint64_t commands = 0;
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		commands += stats->commands[i];
	}
	CU_ASSERT_EQUAL(commands, published);
	CU_ASSERT_EQUAL(stats->malformed, 0);
	CU_ASSERT_EQUAL(stats->refused_full, 0);
	CU_ASSERT_EQUAL(stats->batch_rows, 0);
	CU_ASSERT_EQUAL(stats->batches_torn, 0);
	CU_ASSERT(stats->batches > 20);
	/* Each came out once; what is more is a POSITION for lines before a stream's first row. */
	CU_ASSERT_EQUAL(f.entries, published + stats->gaps_closed);
	CU_ASSERT_EQUAL(stats->users_syncing, 0);
	recording_close(&recording);
	frame_close(&f);
}

struct account {
	unsigned begun, ended, failed;
	enum command_name last;
};

static int64_t account_append(void *context, const struct entry *entries, unsigned count)
{
	const struct account *a = context;
	(void)entries;
	(void)count;
	CU_ASSERT_EQUAL(a->begun, a->ended + 1); /* inside the run */
	return 0;
}

static void account_begin(void *context, const struct command *command)
{
	struct account *a = context;
	a->begun++;
	a->last = command->name;
}

static void account_end(void *context, bool failed)
{
	struct account *a = context;
	a->ended++;
	a->failed += failed;
}

static void test_every_run_has_its_account(void)
{
	static const struct replication_ops ops = {account_append, account_begin, account_end};
	struct account account = {0};
	struct frame f;
	frame_open(&f);
	replication_destroy(f.r);
	f.r = replication_create(FRAME_TENANT, &f.limits, &ops, &account);
	frame_publish(&f, 1, "POSITION a i 1 1");
	CU_ASSERT_EQUAL(account.last, CMD_POSITION);
	frame_publish(&f, 1, "POSITION a");
	frame_line(&f, 2, NULL, "RDATA a i 2 []");
	CU_ASSERT_EQUAL(account.begun, 3);
	CU_ASSERT_EQUAL(account.ended, 3);
	CU_ASSERT_EQUAL(account.failed, 1);
	replication_destroy(NULL);
	frame_close(&f);
}

/* ---- a random walk ---- */

enum { PAIRS = 4, CONNECTIONS = 3, IDS = 3, WALK_USERS = 2 };

static const char *const pairs[PAIRS] = {"events a", "events b", "caches a", "typing a"};

/* What a receiver that follows the rules of Synapse knows of a pair: up to which token it has, or
 * could fetch, each row. */
struct model_pair {
	bool known; /* to the hub, by a token */
	bool confirmed;
	int64_t token; /* as the hub must have it */
	int64_t saved; /* on the disk */
	bool on_disk;
	uint64_t writer; /* the connection of the rows that wait; 0: none */
	bool torn;
	unsigned waiting;
	int64_t written; /* the writer's own count of tokens */
};

struct model {
	struct frame f;
	uint64_t random;
	struct model_pair pairs[PAIRS];
	uint64_t connections[CONNECTIONS]; /* their numbers now */
	uint64_t next_connection;
	/* Users: since when, or 0; who speaks, or 0; when it fell silent. */
	int64_t since[IDS][WALK_USERS];
	uint64_t speaker[IDS];
	int64_t silent_ms[IDS], saved_heard_ms[IDS];
	unsigned rows_in_log, steps;
	bool in_batch;
};

static unsigned roll(struct model *m, unsigned sides)
{
	return (unsigned)(unit_random(&m->random) % sides);
}

/* Every entry of the log obeys the rules, whatever was put in. */
static void walk_heard(void *context, const struct entry *e)
{
	struct model *m = context;
	struct command c;
	const char *why;
	CU_ASSERT_EQUAL(command_parse(e->line, &c, &why), OK);
	CU_ASSERT_EQUAL(c.name, e->name);
	if (m->in_batch) {
		/* Nothing between a batch's rows and their number. */
		CU_ASSERT_EQUAL(c.name, CMD_RDATA);
	}
	m->in_batch = c.name == CMD_RDATA && c.batch;
	m->rows_in_log += c.name == CMD_RDATA;
	if (e->audience & TO_LINE) {
		CU_ASSERT_TRUE(command_goes_to_worker(e->name));
	}
}

static void walk_tear(struct model_pair *p)
{
	p->torn = true;
	p->writer = 0;
	p->waiting = 0;
}

static void expect_text(struct model *m, const char *expected)
{
	if (!slice_equal(bytes_slice(&m->f.log), slice_of(expected))) {
		printf("step %u: expected\n%sbut it is\n%.*s", m->steps, expected,
			SLICE_ARG(bytes_slice(&m->f.log)));
		CU_ASSERT_FATAL(false);
	}
	bytes_clear(&m->f.log);
}

static void walk_batch_row(struct model *m, unsigned i, uint64_t connection)
{
	struct model_pair *p = &m->pairs[i];
	char line[100];
	snprintf(line, sizeof(line), "RDATA %s batch [0]", pairs[i]);
	frame_publish(&m->f, connection, line);
	expect_text(m, "");
	if (p->writer != 0 && p->writer != connection) {
		walk_tear(p);
	} else if (!p->torn) {
		p->writer = connection;
		p->waiting++;
	}
}

static void walk_number(struct model *m, unsigned i, uint64_t connection)
{
	struct model_pair *p = &m->pairs[i];
	p->written += roll(m, 3);
	int64_t token = p->written;
	char line[100], expected[4000];
	int at = 0;
	snprintf(line, sizeof(line), "RDATA %s %lld [1]", pairs[i], (long long)token);
	if (p->writer != 0 && p->writer != connection) {
		walk_tear(p);
	}
	if (p->torn) {
		int64_t said = p->confirmed && token < p->token ? p->token : token;
		snprintf(expected, sizeof(expected), "ALL POSITION %s %lld %lld\n", pairs[i],
			(long long)said, (long long)said);
	} else {
		const char *join = "";
		expected[0] = '\0';
		if (!p->confirmed && (!p->known || token - 1 != p->token)) {
			at += snprintf(expected, sizeof(expected), "LINE POSITION %s %lld %lld\n",
				pairs[i], (long long)token - 1, (long long)token - 1);
			join = "& ";
		}
		for (unsigned k = 0; k < p->waiting; k++, join = "& ") {
			at += snprintf(expected + at, sizeof(expected) - (size_t)at,
				"%sALL RDATA %s batch [0]\n", join, pairs[i]);
		}
		snprintf(expected + at, sizeof(expected) - (size_t)at, "%sALL %s\n", join, line);
	}
	frame_publish(&m->f, connection, line);
	expect_text(m, expected);
	p->torn = false;
	p->writer = 0;
	p->waiting = 0;
	p->token = p->confirmed && token < p->token ? p->token : token;
	p->known = p->confirmed = true;
}

static void walk_position(struct model *m, unsigned i, uint64_t connection)
{
	struct model_pair *p = &m->pairs[i];
	if (roll(m, 4) == 0) {
		p->written = roll(m, 3); /* the writer has begun anew */
	}
	char line[100], expected[120];
	snprintf(line, sizeof(line), "POSITION %s %lld %lld", pairs[i], (long long)p->written,
		(long long)p->written);
	snprintf(expected, sizeof(expected), "ALL %s\n", line);
	frame_publish(&m->f, connection, line);
	expect_text(m, expected);
	p->known = p->confirmed = true;
	p->token = p->written;
}

static void walk_user_sync(struct model *m, unsigned id, unsigned user, uint64_t connection)
{
	bool start = roll(m, 2) == 0;
	char line[100], expected[120];
	snprintf(line, sizeof(line), "USER_SYNC id%u @u%u:x d %s %u", id, user,
		start ? "start" : "end", m->steps + 1);
	snprintf(expected, sizeof(expected), "RESP %s\n", line);
	frame_publish(&m->f, connection, line);
	expect_text(m, expected);
	bool any = false;
	for (unsigned u = 0; u < WALK_USERS; u++) {
		any = any || m->since[id][u] != 0;
	}
	if (start || any) {
		m->speaker[id] = connection;
		m->since[id][user] = start ? (int64_t)m->steps + 1 : 0;
	}
}

static void walk_clear(struct model *m, unsigned id, uint64_t connection)
{
	char line[100], expected[120];
	snprintf(line, sizeof(line), "CLEAR_USER_SYNC id%u", id);
	snprintf(expected, sizeof(expected), "RESP %s\n", line);
	frame_publish(&m->f, connection, line);
	expect_text(m, expected);
	memset(m->since[id], 0, sizeof(m->since[id]));
}

static bool syncing(const struct model *m, unsigned id)
{
	for (unsigned u = 0; u < WALK_USERS; u++) {
		if (m->since[id][u] != 0) {
			return true;
		}
	}
	return false;
}

static void walk_disconnect(struct model *m, unsigned slot)
{
	uint64_t gone = m->connections[slot];
	replication_disconnected(m->f.r, gone, m->f.now);
	m->connections[slot] = m->next_connection++;
	for (unsigned i = 0; i < PAIRS; i++) {
		if (m->pairs[i].writer == gone) {
			walk_tear(&m->pairs[i]);
		}
	}
	for (unsigned id = 0; id < IDS; id++) {
		if (m->speaker[id] == gone) {
			m->speaker[id] = 0;
			m->silent_ms[id] = m->f.now.wall_ms;
		}
	}
}

/* Let time pass: who is silent for too long is cleared, and nobody else. */
static void walk_time(struct model *m, uint64_t ms)
{
	frame_pass(&m->f, ms);
	replication_tick(m->f.r, m->f.now);
	size_t cleared = 0;
	for (unsigned id = 0; id < IDS; id++) {
		if (syncing(m, id) && m->speaker[id] == 0 &&
			m->f.now.wall_ms - m->silent_ms[id] >= 300000) {
			char line[60];
			snprintf(line, sizeof(line), "RESP CLEAR_USER_SYNC id%u\n", id);
			CU_ASSERT_PTR_NOT_NULL(
				memmem(m->f.log.data, m->f.log.len, line, strlen(line)));
			memset(m->since[id], 0, sizeof(m->since[id]));
			cleared += strlen(line);
		}
	}
	CU_ASSERT_EQUAL_FATAL(m->f.log.len, cleared);
	bytes_clear(&m->f.log);
}

static void walk_save(struct model *m)
{
	frame_save(&m->f);
	for (unsigned i = 0; i < PAIRS; i++) {
		m->pairs[i].on_disk = m->pairs[i].known;
		m->pairs[i].saved = m->pairs[i].token;
	}
	for (unsigned id = 0; id < IDS; id++) {
		m->saved_heard_ms[id] = m->speaker[id] == 0 ? m->silent_ms[id] : -1;
	}
}

static void walk_restart(struct model *m)
{
	/* Connected instances: what the disk has of them is at most half a minute old, so note it
	 * down first. */
	walk_time(m, 31000);
	walk_save(m);
	int64_t saved_ms = m->f.now.wall_ms;
	frame_restart(&m->f, 1000);
	for (unsigned i = 0; i < PAIRS; i++) {
		struct model_pair *p = &m->pairs[i];
		p->known = p->on_disk;
		p->token = p->on_disk ? p->saved : 0;
		p->confirmed = p->torn = false;
		p->writer = 0;
		p->waiting = 0;
	}
	for (unsigned id = 0; id < IDS; id++) {
		m->silent_ms[id] = m->saved_heard_ms[id] == -1 ? saved_ms : m->saved_heard_ms[id];
		m->speaker[id] = 0;
	}
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		m->connections[c] = m->next_connection++;
	}
}

struct walk_check {
	struct model *m;
	unsigned positions, users;
};

static void check_position(void *context, const struct position_facts *facts)
{
	struct walk_check *check = context;
	char name[64];
	snprintf(name, sizeof(name), "%.*s %.*s", SLICE_ARG(facts->stream),
		SLICE_ARG(facts->instance));
	for (unsigned i = 0; i < PAIRS; i++) {
		if (strcmp(name, pairs[i]) == 0) {
			CU_ASSERT_EQUAL(facts->token, check->m->pairs[i].token);
			CU_ASSERT_EQUAL(facts->confirmed, check->m->pairs[i].confirmed);
			CU_ASSERT_TRUE(check->m->pairs[i].known);
			check->positions++;
		}
	}
}

static void check_user(void *context, const struct user_sync_facts *facts)
{
	struct walk_check *check = context;
	unsigned id = (unsigned)(facts->instance_id.data[2] - '0');
	unsigned user = (unsigned)(facts->user.data[2] - '0');
	CU_ASSERT_EQUAL(facts->since_ms, check->m->since[id][user]);
	CU_ASSERT_EQUAL(facts->connected, check->m->speaker[id] != 0);
	check->users++;
}

static void walk_check(struct model *m)
{
	struct walk_check check = {.m = m};
	replication_positions(m->f.r, check_position, &check);
	replication_user_syncs(m->f.r, check_user, &check);
	unsigned positions = 0, users = 0, waiting = 0;
	for (unsigned i = 0; i < PAIRS; i++) {
		positions += m->pairs[i].known;
		waiting += m->pairs[i].waiting;
	}
	for (unsigned id = 0; id < IDS; id++) {
		for (unsigned u = 0; u < WALK_USERS; u++) {
			users += m->since[id][u] != 0;
		}
	}
	CU_ASSERT_EQUAL(check.positions, positions);
	CU_ASSERT_EQUAL(check.users, users);
	CU_ASSERT_EQUAL(replication_stats(m->f.r)->users_syncing, users);
	CU_ASSERT_EQUAL(replication_stats(m->f.r)->batch_rows, waiting);
	CU_ASSERT_FALSE(m->in_batch);
}

static void walk_step(struct model *m)
{
	uint64_t connection = m->connections[roll(m, CONNECTIONS)];
	unsigned pair = roll(m, PAIRS);
	switch (roll(m, 20)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		walk_batch_row(m, pair, m->connections[pair % CONNECTIONS]);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		walk_number(m, pair, m->connections[pair % CONNECTIONS]);
		break;
	case 9:
		walk_number(m, pair, connection);
		break;
	case 10:
		walk_position(m, pair, connection);
		break;
	case 11:
	case 12:
	case 13:
		walk_user_sync(m, roll(m, IDS), roll(m, WALK_USERS), connection);
		break;
	case 14:
		walk_clear(m, roll(m, IDS), connection);
		break;
	case 15:
		walk_disconnect(m, roll(m, CONNECTIONS));
		break;
	case 16:
	case 17:
		walk_time(m, 1 + roll(m, 120000));
		break;
	case 18:
		walk_save(m);
		break;
	default:
		if (roll(m, 4) == 0) {
			walk_restart(m);
		}
	}
	m->steps++;
}

static void test_a_random_walk_agrees_with_a_simple_model(void)
{
	uint64_t seed = unit_seed();
	for (unsigned walk = 0; walk < 200; walk++) {
		struct model m = {.random = seed + walk, .next_connection = CONNECTIONS + 1};
		frame_open(&m.f);
		m.f.limits.batch_age_max_ns = (uint64_t)1000 * 86400 * FRAME_SECOND;
		m.f.limits.batch_rows_max = 1000;
		m.f.heard = walk_heard;
		m.f.heard_context = &m;
		for (unsigned c = 0; c < CONNECTIONS; c++) {
			m.connections[c] = c + 1;
		}
		for (unsigned step = 0; step < 300; step++) {
			walk_step(&m);
			walk_check(&m);
		}
		frame_close(&m.f);
	}
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		UNIT_TEST(test_a_publishers_commands_reach_those_who_may_hear_them),
		UNIT_TEST(test_the_byte_is_sacred_on_every_channel),
		UNIT_TEST(test_only_the_tenants_own_channel_is_learnt_from),
		UNIT_TEST(test_nothing_unfit_ever_reaches_a_line),
		UNIT_TEST(test_a_workers_commands_go_to_the_publishers_side_once),
		UNIT_TEST(test_a_worker_may_not_say_what_a_main_says),
		UNIT_TEST(test_line_writers_may_write_for_the_instances_named),
		UNIT_TEST(test_a_mains_commands_reach_the_workers),
		UNIT_TEST(test_no_access_token_is_ever_logged),
		UNIT_TEST(test_the_capture_is_relayed_and_its_last_positions_known),
		UNIT_TEST(test_every_run_has_its_account),
		UNIT_TEST(test_a_random_walk_agrees_with_a_simple_model),
	};
	return UNIT_MAIN(argc, argv, "handler", tests);
}
