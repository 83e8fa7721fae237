/* A line connection's manners, word by word, and recorded connections played again. */
#include "engine/replication/line_session.h"

#include "tests/recording.h"
#include "tests/replication_frame.h"

static const struct line_options options = {
	.server_name = {"example.com", 11},
	.ping_interval_ns = (uint64_t)5 * FRAME_SECOND,
	.ping_timeout_ns = (uint64_t)25 * FRAME_SECOND,
};

/* A connection with a session on our side. */
struct peer {
	struct frame *f;
	struct line_session s;
	struct bytes out;
	uint64_t connection;
	const struct line_writers *writers;
	const char *why;
};

static void peer_open_as(struct peer *p, struct frame *f, uint64_t connection, enum line_role role)
{
	*p = (struct peer){.f = f, .connection = connection};
	line_session_init(&p->s, role, &options, f->now, &p->out);
}

static void peer_open(struct peer *p, struct frame *f, uint64_t connection)
{
	peer_open_as(p, f, connection, LINE_SERVER);
	bytes_clear(&p->out);
}

static void peer_close(struct peer *p)
{
	line_session_finish(&p->s);
	bytes_finish(&p->out);
}

static int peer_say_bytes(struct peer *p, struct slice line)
{
	struct origin origin = {.direction = p->s.role == LINE_SERVER ? FROM_WORKER : FROM_MAIN,
		.connection = p->connection,
		.full_name = SLICE("peer"),
		.may_write = p->writers != NULL,
		.writers = p->writers};
	p->why = "untouched";
	return line_session_line(&p->s, p->f->r, &origin, line, p->f->now, &p->out, &p->why);
}

static int peer_say(struct peer *p, const char *line)
{
	return peer_say_bytes(p, slice_of(line));
}

static uint64_t peer_tick(struct peer *p)
{
	return line_session_tick(&p->s, p->f->now, &p->out);
}

#define PEER_HEARS(p, expected) frame_text_is((p)->f, &(p)->out, (expected), __LINE__)

static void test_a_server_greets_first_and_a_client_leaves_that_to_its_owner(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open_as(&p, &f, 1, LINE_SERVER);
	PEER_HEARS(&p, "SERVER example.com\nPING 1700000000000\n");
	CU_ASSERT_EQUAL(p.s.state, LINE_OPEN);
	peer_close(&p);
	peer_open_as(&p, &f, 1, LINE_CLIENT);
	PEER_HEARS(&p, "");
	peer_close(&p);
	frame_close(&f);
}

static void test_replicate_may_come_before_name_and_is_answered(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 9, "POSITION events master 1 133");
	bytes_clear(&f.log);
	struct peer p;
	peer_open(&p, &f, 1);
	CU_ASSERT_EQUAL(peer_say(&p, "REPLICATE "), OK);
	PEER_HEARS(&p, "POSITION events master 133 133\n");
	CU_ASSERT_EQUAL(peer_say(&p, "NAME worker1"), OK);
	CU_ASSERT_EQUAL(peer_say(&p, "REPLICATE"), OK);
	PEER_HEARS(&p, "POSITION events master 133 133\n");
	FRAME_LOG(&f, "");
	CU_ASSERT_PTR_NULL(p.why);
	CU_ASSERT_EQUAL(replication_stats(f.r)->commands[CMD_NAME], 1);
	CU_ASSERT_EQUAL(replication_stats(f.r)->commands[CMD_REPLICATE], 2);
	peer_close(&p);
	frame_close(&f);
}

static void test_a_name_is_kept_and_may_change(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open(&p, &f, 1);
	peer_say(&p, "NAME worker1");
	CU_ASSERT_TRUE(slice_equal(p.s.name, SLICE("worker1")));
	peer_say(&p, "NAME a worker with blanks");
	CU_ASSERT_TRUE(slice_equal(p.s.name, SLICE("a worker with blanks")));
	/* 127 letters and a character of two bytes: cut before it. */
	char line[300];
	snprintf(line, sizeof(line), "NAME %0127d\xc3\xa9\xc3\xa9", 0);
	peer_say(&p, line);
	CU_ASSERT_EQUAL(p.s.name.len, 127);
	peer_say(&p, "NAME ");
	CU_ASSERT_EQUAL(p.s.name.len, 0);
	PEER_HEARS(&p, "");
	FRAME_LOG(&f, "");
	peer_close(&p);
	frame_close(&f);
}

static void test_a_ping_is_echoed_behind_everything_before_it(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 9, "POSITION events master 1 5");
	struct peer p;
	peer_open(&p, &f, 1);
	CU_ASSERT_FALSE(p.s.peer_pings);
	peer_say(&p, "REPLICATE ");
	CU_ASSERT_EQUAL(peer_say(&p, "PING barrier 17"), OK);
	PEER_HEARS(&p, "POSITION events master 5 5\nPING barrier 17\n");
	CU_ASSERT_TRUE(p.s.peer_pings);
	peer_say(&p, "PING");
	PEER_HEARS(&p, "PING\n");
	peer_close(&p);
	frame_close(&f);
}

static void test_what_does_not_parse_is_answered_and_ends_the_session(void)
{
	static const struct {
		const char *line, *answer;
	} cases[] = {
		{"USER_SYNC a",
			"ERROR failed to parse line: USER_SYNC needs an instance id and a user\n"},
		{"USER_IP secret", "ERROR failed to parse line: USER_IP needs a user and a list\n"},
		{"FEDERATION_ACK secret",
			"ERROR failed to parse line: FEDERATION_ACK's token is no number\n"},
		{"CLEAR_USER_SYNC", "ERROR failed to parse line: CLEAR_USER_SYNC needs an instance "
				    "id and nothing else\n"},
	};
	struct frame f;
	frame_open(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer p;
		peer_open(&p, &f, 1);
		CU_ASSERT_EQUAL(peer_say(&p, cases[i].line), -E_SYNTAX);
		PEER_HEARS(&p, cases[i].answer);
		CU_ASSERT_EQUAL(p.s.state, LINE_CLOSING);
		CU_ASSERT_PTR_NOT_NULL(p.why);
		CU_ASSERT_PTR_NULL(strstr(p.why, "secret"));
		/* Nothing is taken any more. */
		CU_ASSERT_EQUAL(peer_say(&p, "USER_SYNC a @u:x start 1"), OK);
		CU_ASSERT_EQUAL(peer_say(&p, "PING 1"), OK);
		CU_ASSERT_EQUAL(peer_tick(&p), UINT64_MAX);
		line_session_bad_frame(&p.s, -E_SYNTAX, &p.out);
		PEER_HEARS(&p, "");
		FRAME_LOG(&f, "");
		peer_close(&p);
	}
	CU_ASSERT_EQUAL(replication_stats(f.r)->malformed, 4);
	frame_close(&f);
}

static void test_what_a_worker_may_not_say_is_answered_in_synapses_words(void)
{
	static const struct {
		const char *line, *answer;
	} cases[] = {
		{"RDATA events w 5 []", "ERROR invalid command: RDATA\n"},
		{"RDATA", "ERROR invalid command: RDATA\n"},
		{"POSITION events w 5", "ERROR invalid command: POSITION\n"},
		{"SERVER example.com", "ERROR invalid command: SERVER\n"},
		{"SYNC x", "ERROR invalid command: SYNC\n"},
		{"THREE_PID_UP x", "ERROR invalid command: THREE_PID_UP\n"},
		{" REPLICATE", "ERROR invalid command: \n"},
		{"GET / HTTP/1.1\r", "ERROR invalid command: GET\n"},
		{"0123456789012345678901234567890123456789012345678901234567890123456789",
			"ERROR invalid command: "
			"0123456789012345678901234567890123456789012345678901234567890123\n"},
		{"012345678901234567890123456789012345678901234567890123456789012\xc3\xa9 x",
			"ERROR invalid command: "
			"012345678901234567890123456789012345678901234567890123456789012\n"},
	};
	struct frame f;
	frame_open(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer p;
		peer_open(&p, &f, 1);
		CU_ASSERT_EQUAL(peer_say(&p, cases[i].line), -E_NOT_ALLOWED);
		PEER_HEARS(&p, cases[i].answer);
		CU_ASSERT_EQUAL(p.s.state, LINE_CLOSING);
		CU_ASSERT_PTR_NOT_NULL(p.why);
		FRAME_LOG(&f, "");
		peer_close(&p);
	}
	frame_close(&f);
}

static void test_a_line_writer_writes(void)
{
	static const struct slice named[] = {{"w", 1}};
	static const struct line_writers writers = {.count = 1, .instances = named};
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open(&p, &f, 1);
	p.writers = &writers;
	CU_ASSERT_EQUAL(peer_say(&p, "POSITION events w 4 5"), OK);
	CU_ASSERT_EQUAL(peer_say(&p, "RDATA events w 6 []"), OK);
	PEER_HEARS(&p, "");
	FRAME_LOG(&f, "ALL POSITION events w 4 5\nALL RDATA events w 6 []\n");
	CU_ASSERT_EQUAL(peer_say(&p, "RDATA events w six []"), -E_SYNTAX);
	PEER_HEARS(&p, "ERROR failed to parse line: RDATA's token is neither a number nor batch\n");
	peer_close(&p);
	frame_close(&f);
}

static void test_an_error_from_the_peer_is_told_and_keeps_the_connection(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open(&p, &f, 1);
	CU_ASSERT_EQUAL(peer_say(&p, "ERROR something bad"), -E_GONE);
	CU_ASSERT_STRING_EQUAL(p.why, "\"something bad\"");
	CU_ASSERT_EQUAL(p.s.state, LINE_OPEN);
	CU_ASSERT_EQUAL(
		peer_say(&p, "ERROR failed to parse line: USER_IP @u:x [\"secret\"]"), -E_GONE);
	CU_ASSERT_PTR_NULL(strstr(p.why, "secret"));
	CU_ASSERT_EQUAL(peer_say(&p, "ERROR"), -E_GONE);
	CU_ASSERT_PTR_NOT_NULL(p.why);
	CU_ASSERT_EQUAL(peer_say(&p, "NAME a"), OK);
	PEER_HEARS(&p, "");
	FRAME_LOG(&f, "");
	peer_close(&p);
	frame_close(&f);
}

static void test_lines_that_cannot_be_framed_have_their_own_words(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open(&p, &f, 1);
	line_session_bad_frame(&p.s, -E_TOO_LONG, &p.out);
	PEER_HEARS(&p, "ERROR Line length exceeded\n");
	CU_ASSERT_EQUAL(p.s.state, LINE_CLOSING);
	peer_close(&p);
	peer_open(&p, &f, 1);
	line_session_bad_frame(&p.s, -E_SYNTAX, &p.out);
	PEER_HEARS(&p, "ERROR failed to parse line: it is not UTF-8\n");
	peer_close(&p);
	frame_close(&f);
}

static void test_a_ping_is_due_when_nothing_else_was_sent_for_five_seconds(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open(&p, &f, 1);
	uint64_t start = f.now.mono_ns;
	CU_ASSERT_EQUAL(peer_tick(&p), start + options.ping_interval_ns);
	frame_pass(&f, 4999);
	peer_tick(&p);
	PEER_HEARS(&p, "");
	frame_pass(&f, 1);
	CU_ASSERT_EQUAL(peer_tick(&p), f.now.mono_ns + options.ping_interval_ns);
	PEER_HEARS(&p, "PING 1700000005000\n");
	/* Rows of the log count, */
	frame_pass(&f, 3000);
	line_session_sent(&p.s, f.now);
	frame_pass(&f, 3000);
	CU_ASSERT_EQUAL(peer_tick(&p), f.now.mono_ns + (uint64_t)2 * FRAME_SECOND);
	PEER_HEARS(&p, "");
	/* and so does an answer. */
	peer_say(&p, "PING x");
	frame_pass(&f, 4999);
	bytes_clear(&p.out);
	peer_tick(&p);
	PEER_HEARS(&p, "");
	frame_pass(&f, 1);
	peer_tick(&p);
	PEER_HEARS(&p, "PING 1700000016000\n");
	/* An empty answer is none. */
	frame_pass(&f, 3000);
	peer_say(&p, "REPLICATE ");
	frame_pass(&f, 2000);
	peer_tick(&p);
	PEER_HEARS(&p, "PING 1700000021000\n");
	peer_close(&p);
	frame_close(&f);
}

static void test_a_peer_that_never_pings_is_never_timed_out(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open(&p, &f, 1);
	for (unsigned i = 0; i < 100; i++) {
		frame_pass(&f, 60000);
		peer_tick(&p);
		CU_ASSERT_EQUAL(p.s.state, LINE_OPEN);
	}
	peer_close(&p);
	frame_close(&f);
}

static void test_a_peer_that_pinged_and_fell_silent_is_timed_out(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open(&p, &f, 1);
	peer_say(&p, "PING 1");
	frame_pass(&f, 20000);
	peer_say(&p, "NAME any valid command counts");
	frame_pass(&f, 25000);
	bytes_clear(&p.out);
	uint64_t due = peer_tick(&p);
	CU_ASSERT_EQUAL(p.s.state, LINE_OPEN);
	CU_ASSERT_EQUAL(due, f.now.mono_ns + 1);
	bytes_clear(&p.out);
	frame_pass(&f, 1);
	CU_ASSERT_EQUAL(peer_tick(&p), UINT64_MAX);
	PEER_HEARS(&p, "ERROR ping timeout\n");
	CU_ASSERT_EQUAL(p.s.state, LINE_CLOSING);
	peer_close(&p);
	frame_close(&f);
}

static void test_a_client_checks_whom_it_reached(void)
{
	struct frame f;
	frame_open(&f);
	struct peer p;
	peer_open_as(&p, &f, 1, LINE_CLIENT);
	CU_ASSERT_EQUAL(peer_say(&p, "SERVER example.com"), OK);
	CU_ASSERT_EQUAL(peer_say(&p, "PING 5"), OK); /* no echo to a main */
	CU_ASSERT_EQUAL(peer_say(&p, "POSITION events master 5"), OK);
	PEER_HEARS(&p, "");
	FRAME_LOG(&f, "ALL POSITION events master 5\n");
	CU_ASSERT_EQUAL(peer_say(&p, "NAME x"), -E_NOT_ALLOWED);
	PEER_HEARS(&p, "ERROR invalid command: NAME\n");
	peer_close(&p);
	peer_open_as(&p, &f, 1, LINE_CLIENT);
	CU_ASSERT_EQUAL(peer_say(&p, "SERVER elsewhere.org"), -E_NOT_ALLOWED);
	PEER_HEARS(&p, "ERROR Wrong remote\n");
	CU_ASSERT_EQUAL(p.s.state, LINE_CLOSING);
	peer_close(&p);
	frame_close(&f);
}

static void test_a_limit_of_ours_does_not_cost_the_connection(void)
{
	struct frame f;
	frame_open(&f);
	f.limits.user_syncs_max = 0;
	struct peer p;
	peer_open(&p, &f, 1);
	CU_ASSERT_EQUAL(peer_say(&p, "USER_SYNC a @u:x start 1"), OK);
	CU_ASSERT_EQUAL(p.s.state, LINE_OPEN);
	PEER_HEARS(&p, "");
	FRAME_LOG(&f, "RESP USER_SYNC a @u:x start 1\n");
	peer_close(&p);
	frame_close(&f);
}

/* ---- recordings ---- */

enum { PEERS_MAX = 40 };

/* A recorded main and its workers, with the hub between them: what the main said was published,
 * the workers are on lines. */
struct replay {
	struct frame f;
	struct peer peers[PEERS_MAX];
	bool open[PEERS_MAX];
	unsigned compared; /* answers that were like the main's */
	struct bytes expected, answer;
	unsigned asker; /* whose REPLICATE the main is answering; 0: nobody's */
	double began;
	struct instant start;
};

static void replay_open(struct replay *r)
{
	memset(r, 0, sizeof(*r));
	frame_open(&r->f);
	r->f.quiet = true;
	r->start = r->f.now;
}

static void replay_close(struct replay *r)
{
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		if (r->open[i]) {
			peer_close(&r->peers[i]);
		}
	}
	bytes_finish(&r->expected);
	bytes_finish(&r->answer);
	frame_close(&r->f);
}

static void replay_remark(struct replay *r, struct slice text)
{
	if (text.len < 2 || text.data[0] != 'c') {
		return;
	}
	unsigned n = (unsigned)strtoul(text.data + 1, NULL, 10);
	UNIT_REQUIRE(n > 0 && n < PEERS_MAX);
	if (memmem(text.data, text.len, "worker connected", 16) != NULL) {
		UNIT_REQUIRE(!r->open[n]);
		peer_open_as(&r->peers[n], &r->f, n, LINE_SERVER);
		r->open[n] = true;
	} else if (memmem(text.data, text.len, "closed", 6) != NULL && r->open[n]) {
		peer_close(&r->peers[n]);
		r->open[n] = false;
		replication_disconnected(r->f.r, n, r->f.now);
	}
}

/* The main's answer to a REPLICATE is complete: was ours the same? Only where the hub had heard
 * everything. */
static void replay_compare(struct replay *r)
{
	if (r->asker != 0 && r->answer.len > 0 && r->expected.len > 0) {
		bool same = slice_equal(bytes_slice(&r->answer), bytes_slice(&r->expected));
		r->compared += same;
	}
	r->asker = 0;
	bytes_clear(&r->expected);
	bytes_clear(&r->answer);
}

static unsigned replay_first_open(const struct replay *r)
{
	unsigned first = 1;
	while (first < PEERS_MAX && !r->open[first]) {
		first++;
	}
	return first;
}

static void replay_line(struct replay *r, const struct recorded_line *line)
{
	struct peer *p = &r->peers[line->connection];
	UNIT_REQUIRE(r->open[line->connection]);
	bool position = slice_starts(line->text, SLICE("POSITION "));
	if (line->from_worker) {
		replay_compare(r);
		bytes_clear(&p->out);
		CU_ASSERT_EQUAL(peer_say_bytes(p, line->text), OK);
		CU_ASSERT_EQUAL(p->s.state, LINE_OPEN);
		if (slice_starts(line->text, SLICE("REPLICATE"))) {
			r->asker = line->connection;
			bytes_append_slice(&r->answer, bytes_slice(&p->out));
		}
		return;
	}
	if (slice_starts(line->text, SLICE("SERVER ")) ||
		slice_starts(line->text, SLICE("PING "))) {
		return;
	}
	if (position && r->asker == line->connection) {
		bytes_append_slice(&r->expected, line->text);
		bytes_append(&r->expected, "\n", 1);
	} else {
		replay_compare(r);
	}
	/* Every worker is told the same; the hub's writer says it once. */
	if (line->connection == replay_first_open(r)) {
		frame_publish_bytes(&r->f, 1000, FRAME_TENANT, line->text);
	}
}

static void replay_time(struct replay *r, double seconds)
{
	int64_t ms = (int64_t)(seconds * 1000);
	r->f.now.mono_ns = r->start.mono_ns + (uint64_t)ms * 1000000;
	r->f.now.wall_ms = r->start.wall_ms + ms;
	replication_tick(r->f.r, r->f.now);
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		if (r->open[i]) {
			line_session_tick(&r->peers[i].s, r->f.now, &r->peers[i].out);
		}
	}
}

/* Play the part of a recording under this title; returns how many lines. */
static unsigned play(struct replay *r, const char *file, const char *title)
{
	struct recording recording;
	recording_open(&recording, file);
	struct recorded_line line;
	unsigned lines = 0;
	bool playing = false;
	while (recording_next(&recording, &line)) {
		if (slice_starts(line.text, SLICE("## recording: "))) {
			playing =
				slice_equal((struct slice){line.text.data + 14, line.text.len - 14},
					slice_of(title));
		} else if (playing) {
			replay_time(r, line.seconds);
			if (line.connection == 0) {
				struct slice rest = line.text;
				replay_remark(r, slice_starts(rest, SLICE("c"))
							 ? rest
							 : (struct slice){NULL, 0});
			} else {
				replay_line(r, &line);
				lines++;
			}
		}
	}
	replay_compare(r);
	recording_close(&recording);
	return lines;
}

static void count_user(void *context, const struct user_sync_facts *facts)
{
	(void)facts;
	++*(unsigned *)context;
}

static unsigned users(const struct replay *r)
{
	unsigned n = 0;
	replication_user_syncs(r->f.r, count_user, &n);
	return n;
}

static void test_a_recorded_main_with_restarting_workers_is_understood(void)
{
	static const char *const files[] = {"line-1.15.txt", "line-1.66.txt"};
	for (unsigned i = 0; i < 2; i++) {
		struct replay r;
		replay_open(&r);
		CU_ASSERT(play(&r, files[i], "all") > 200);
		const struct replication_stats *stats = replication_stats(r.f.r);
		CU_ASSERT_EQUAL(stats->malformed, 0);
		CU_ASSERT_EQUAL(stats->batches_torn, 0);
		CU_ASSERT_EQUAL(stats->batches, 20);
		/* The second worker's REPLICATE was answered as the main itself did. */
		CU_ASSERT_EQUAL(r.compared, 1);
		/* Main was restarted: its typing stream, in memory, began again. */
		CU_ASSERT(stats->resets >= 1);
		/* Three processes went without a word; after five minutes nobody counts as
		 * syncing. */
		CU_ASSERT(stats->instances >= 2);
		CU_ASSERT(users(&r) >= 2);
		r.f.quiet = false;
		replay_time(&r, 2000);
		CU_ASSERT_EQUAL(users(&r), 0);
		CU_ASSERT_PTR_NOT_NULL(
			memmem(r.f.log.data, r.f.log.len, "RESP CLEAR_USER_SYNC ", 21));
		replay_close(&r);
	}
}

static void test_a_recorded_clear_user_sync_clears(void)
{
	static const char *const files[] = {"line-1.15.txt", "line-1.66.txt"};
	for (unsigned i = 0; i < 2; i++) {
		struct replay r;
		replay_open(&r);
		CU_ASSERT(play(&r, files[i], "clear") > 20);
		CU_ASSERT_EQUAL(replication_stats(r.f.r)->commands[CMD_USER_SYNC], 1);
		CU_ASSERT_EQUAL(replication_stats(r.f.r)->commands[CMD_CLEAR_USER_SYNC], 1);
		CU_ASSERT_EQUAL(users(&r), 0);
		replay_close(&r);
	}
}

static void test_a_recorded_federation_sender_is_heard(void)
{
	static const char *const files[] = {"line-1.15.txt", "line-1.66.txt"};
	for (unsigned i = 0; i < 2; i++) {
		struct replay r;
		replay_open(&r);
		CU_ASSERT(play(&r, files[i], "federation_sender") > 30);
		CU_ASSERT(replication_stats(r.f.r)->commands[CMD_FEDERATION_ACK] >= 1);
		CU_ASSERT_EQUAL(replication_stats(r.f.r)->malformed, 0);
		/* A newcomer gets the dialect of this main. */
		struct peer p;
		peer_open(&p, &r.f, 39);
		CU_ASSERT_EQUAL(peer_say(&p, "REPLICATE "), OK);
		const char *wanted = i == 0 ? "POSITION to_device master 3\n"
					    : "POSITION to_device master 3 3\n";
		CU_ASSERT_PTR_NOT_NULL(memmem(p.out.data, p.out.len, wanted, strlen(wanted)));
		peer_close(&p);
		replay_close(&r);
	}
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		UNIT_TEST(test_a_server_greets_first_and_a_client_leaves_that_to_its_owner),
		UNIT_TEST(test_replicate_may_come_before_name_and_is_answered),
		UNIT_TEST(test_a_name_is_kept_and_may_change),
		UNIT_TEST(test_a_ping_is_echoed_behind_everything_before_it),
		UNIT_TEST(test_what_does_not_parse_is_answered_and_ends_the_session),
		UNIT_TEST(test_what_a_worker_may_not_say_is_answered_in_synapses_words),
		UNIT_TEST(test_a_line_writer_writes),
		UNIT_TEST(test_an_error_from_the_peer_is_told_and_keeps_the_connection),
		UNIT_TEST(test_lines_that_cannot_be_framed_have_their_own_words),
		UNIT_TEST(test_a_ping_is_due_when_nothing_else_was_sent_for_five_seconds),
		UNIT_TEST(test_a_peer_that_never_pings_is_never_timed_out),
		UNIT_TEST(test_a_peer_that_pinged_and_fell_silent_is_timed_out),
		UNIT_TEST(test_a_client_checks_whom_it_reached),
		UNIT_TEST(test_a_limit_of_ours_does_not_cost_the_connection),
		UNIT_TEST(test_a_recorded_main_with_restarting_workers_is_understood),
		UNIT_TEST(test_a_recorded_clear_user_sync_clears),
		UNIT_TEST(test_a_recorded_federation_sender_is_heard),
	};
	return UNIT_MAIN(argc, argv, "line_session", tests);
}
