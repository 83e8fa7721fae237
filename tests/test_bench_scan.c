/* Frames as the load generator finds them, split at every byte; and the payloads and recordings that it reads.
 */
#include "bench/scan.h"

#include "bench/capture.h"
#include "bench/stamp.h"
#include "engine/base/err.h"
#include "tests/unit.h"

enum { FRAMES_MAX = 64 };

static int (*const scanners[])(const char *, size_t, struct frame *) = {
	scan_resp, scan_line, scan_nats};

struct expected {
	enum frame_kind kind;
	const char *channel;
	const char *text;
	int64_t number;
};

static bool is_as_expected(const struct frame *frame, const struct expected *e)
{
	if (frame->kind != e->kind) {
		return false;
	}
	if (e->channel != NULL && !slice_equal(frame->channel, slice_of(e->channel))) {
		return false;
	}
	if (e->text != NULL && !slice_equal(frame->text, slice_of(e->text))) {
		return false;
	}
	return (e->kind != FRAME_NUMBER && e->kind != FRAME_ACK) || frame->number == e->number;
}

/* Scan `text` when only its first `have` bytes are there; then, from where that stopped, the rest. */
static void scan_in_two(
	int which, struct slice text, size_t have, const struct expected *e, size_t count)
{
	size_t at = 0;
	size_t found = 0;
	size_t end = have;
	for (;;) {
		struct frame frame;
		/* The bytes are copied, so that a sanitizer sees a read behind the end. */
		char *copy = malloc(end - at + 1);
		UNIT_REQUIRE(copy != NULL);
		char *bytes = copy + 1;
		memcpy(bytes, text.data + at, end - at);
		int taken = scanners[which](bytes, end - at, &frame);
		UNIT_REQUIRE(taken >= 0);
		if (taken > 0) {
			UNIT_REQUIRE(found < count);
			if (!is_as_expected(&frame, &e[found])) {
				printf("frame %zu is wrong with %zu bytes\n", found, have);
				CU_FAIL("frame");
			}
			found++;
			at += (size_t)taken;
		}
		free(copy);
		if (taken == 0 && end == text.len) {
			break;
		}
		end = taken == 0 ? text.len : end;
	}
	CU_ASSERT_EQUAL(at, text.len);
	CU_ASSERT_EQUAL(found, count);
}

static void scan_split(int which, struct slice text, const struct expected *e, size_t count)
{
	for (size_t have = 0; have <= text.len; have++) {
		scan_in_two(which, text, have, e, count);
	}
}

static void test_scan_resp_finds_every_frame_however_it_is_split(void)
{
	static const struct expected expected[] = {
		{FRAME_STATUS, NULL, "OK", 0},
		{FRAME_PONG, NULL, NULL, 0},
		{FRAME_ACK, "synapse.test", NULL, 1},
		{FRAME_ACK, "x", NULL, 2},
		{FRAME_MESSAGE, "synapse.test", "RDATA events w 5 [\"\r\n\"]", 0},
		{FRAME_MESSAGE, "synapse.test", "REPLICATE ", 0},
		{FRAME_MESSAGE, "c", "", 0},
		{FRAME_NUMBER, NULL, NULL, 50},
		{FRAME_NUMBER, NULL, NULL, -1},
		{FRAME_BULK, NULL, "$-1\r\n", 0},
		{FRAME_NULL, NULL, NULL, 0},
		{FRAME_NULL, NULL, NULL, 0},
		{FRAME_NULL, NULL, NULL, 0},
		{FRAME_ERROR, NULL, "ERR unknown command", 0},
		{FRAME_PONG, NULL, NULL, 0},
		{FRAME_OTHER, NULL, NULL, 0},
		{FRAME_OTHER, NULL, NULL, 0},
		{FRAME_OTHER, NULL, NULL, 0},
		{FRAME_ERROR, NULL, "ERR long", 0},
	};
	scan_split(0,
		SLICE("+OK\r\n+PONG\r\n"
		      "*3\r\n$9\r\nsubscribe\r\n$12\r\nsynapse.test\r\n:1\r\n"
		      ">3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:2\r\n"
		      "*3\r\n$7\r\nmessage\r\n$12\r\nsynapse.test\r\n$23\r\nRDATA events w 5 "
		      "[\"\r\n\"]\r\n"
		      ">3\r\n$7\r\nmessage\r\n$12\r\nsynapse.test\r\n$10\r\nREPLICATE \r\n"
		      "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n"
		      ":50\r\n:-1\r\n$5\r\n$-1\r\n\r\n$-1\r\n*-1\r\n_\r\n-ERR unknown command\r\n"
		      "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
		      "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"
		      "*2\r\n*1\r\n:1\r\n~1\r\n#t\r\n"
		      ",1.5\r\n"
		      "!8\r\nERR long\r\n"),
		expected, sizeof(expected) / sizeof(expected[0]));
}

static void test_scan_line_finds_every_frame_however_it_is_split(void)
{
	static const struct expected expected[] = {
		{FRAME_GREETING, NULL, "synapse.test", 0},
		{FRAME_PING, NULL, "1490197665618", 0},
		{FRAME_MESSAGE, NULL, "POSITION events w1 1 2", 0},
		{FRAME_MESSAGE, NULL, "RDATA events w1 batch [\"ev\"]", 0},
		{FRAME_MESSAGE, NULL, "REMOTE_SERVER_UP example.org", 0},
		{FRAME_OTHER, NULL, "", 0},
		{FRAME_OTHER, NULL, "RDATAS are none", 0},
		{FRAME_ERROR, NULL, "ping timeout", 0},
	};
	scan_split(1,
		SLICE("SERVER synapse.test\nPING 1490197665618\nPOSITION events w1 1 2\n"
		      "RDATA events w1 batch [\"ev\"]\nREMOTE_SERVER_UP example.org\n\n"
		      "RDATAS are none\nERROR ping timeout\n"),
		expected, sizeof(expected) / sizeof(expected[0]));
}

static void test_scan_nats_finds_every_frame_however_it_is_split(void)
{
	static const struct expected expected[] = {
		{FRAME_GREETING, NULL, NULL, 0},
		{FRAME_PONG, NULL, NULL, 0},
		{FRAME_STATUS, NULL, NULL, 0},
		{FRAME_MESSAGE, "bench", "hello\r\nthere", 0},
		{FRAME_MESSAGE, "bench", "", 0},
		{FRAME_MESSAGE, "a.b", "x", 0},
		{FRAME_PING, NULL, NULL, 0},
		{FRAME_ERROR, NULL, NULL, 0},
	};
	scan_split(2,
		SLICE("INFO {\"server_id\":\"x\"}\r\nPONG\r\n+OK\r\nMSG bench 1 "
		      "12\r\nhello\r\nthere\r\n"
		      "MSG bench 1 0\r\n\r\nMSG a.b 2 reply.to 1\r\nx\r\nPING\r\n-ERR 'No'\r\n"),
		expected, sizeof(expected) / sizeof(expected[0]));
}

static void test_scan_resp_refuses_what_is_not_resp(void)
{
	static const char *const bad[] = {"hello\r\n", "*x\r\n", "$5\r\nabcdefg", ":12a\r\n",
		"$99999999999\r\n", "*99999999\r\n", ":99999999999999999999999\r\n", "+OK\n",
		"*3\r\n$7\r\nmessage\r\n+x\r\n$", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n+no\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct frame frame;
		int rc = scan_resp(bad[i], strlen(bad[i]), &frame);
		if (rc >= 0 && i != 8 && i != 9) {
			printf("accepted: %s\n", bad[i]);
		}
		/* A message whose parts are simple strings is no error, only none that is measured. */
		CU_ASSERT(rc < 0 || ((i == 8 || i == 9) && rc >= 0));
	}
}

/* Whatever the bytes, a scanner stays inside them and says something sensible. */
static void test_scan_survives_damaged_bytes(void)
{
	static const char good[] =
		"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\nMSG bench 1 5\r\nhello\r\n"
		"RDATA events w 5 []\nPING 5\n%1\r\n+a\r\n:1\r\n";
	uint64_t random = unit_seed();
	for (int round = 0; round < 20000; round++) {
		size_t len = 1 + unit_random(&random) % (sizeof(good) - 1);
		size_t from = unit_random(&random) % (sizeof(good) - len);
		char *copy = malloc(len);
		UNIT_REQUIRE(copy != NULL);
		memcpy(copy, good + from, len);
		for (uint64_t k = unit_random(&random) % 4; k > 0; k--) {
			copy[unit_random(&random) % len] = (char)unit_random(&random);
		}
		for (int which = 0; which < 3; which++) {
			struct frame frame;
			int taken = scanners[which](copy, len, &frame);
			CU_ASSERT(taken <= (int)len);
		}
		free(copy);
	}
}

static void test_stamp_reads_back_what_it_wrote(void)
{
	struct bytes payload = {0};
	uint64_t random = unit_seed();
	for (int i = 0; i < 10000; i++) {
		bytes_clear(&payload);
		struct stamp in = {(uint32_t)(unit_random(&random) % STAMP_PUBLISHERS_MAX),
			unit_random(&random) % 100000000000u, unit_random(&random)};
		struct stamp out = {0};
		stamp_append(&payload, in.publisher, STAMP_SIZE_MIN + unit_random(&random) % 300);
		stamp_set(payload.data, in.sequence, in.number);
		UNIT_REQUIRE(stamp_read(bytes_slice(&payload), &out));
		CU_ASSERT_EQUAL(out.publisher, in.publisher);
		CU_ASSERT_EQUAL(out.sequence, in.sequence);
		CU_ASSERT_EQUAL(out.number, in.number);
	}
	bytes_finish(&payload);
}

static void test_stamp_knows_what_is_not_its_own(void)
{
	struct stamp out;
	CU_ASSERT_FALSE(stamp_read(SLICE(""), &out));
	CU_ASSERT_FALSE(stamp_read(SLICE("RDATA caches b0001 1000"), &out));
	CU_ASSERT_FALSE(
		stamp_read(SLICE("RDATA caches master 1 "
				 "[\"get_user_by_id\",[\"@ann:synapse.test\"],1795421180210]"),
			&out));
}

static void test_capture_built_in_is_whole(void)
{
	struct capture *c = NULL;
	UNIT_REQUIRE(capture_load(NULL, 1, &c) == OK);
	CU_ASSERT(c->message_count >= 1500 && c->message_count <= 2500);
	CU_ASSERT_EQUAL(c->channel_count, 2);
	CU_ASSERT_STRING_EQUAL(c->channels[c->main_channel], "synapse.test");
	uint32_t batches = 0;
	for (uint32_t i = 0; i < c->message_count; i++) {
		const struct capture_message *m = &c->messages[i];
		CU_ASSERT_FALSE(m->half_batch);
		CU_ASSERT(i == 0 || m->at_ms >= c->messages[i - 1].at_ms);
		CU_ASSERT_EQUAL(capture_find(c, m->payload), m->content);
		batches += memmem(m->payload.data, m->payload.len, " batch ", 7) != NULL ? 1 : 0;
	}
	CU_ASSERT(batches > 20);
	CU_ASSERT_EQUAL(capture_find(c, SLICE("nobody wrote this")), UINT32_MAX);
	capture_destroy(c);
}

/* No secret of the recorded users may be in what is shipped. */
static void test_capture_built_in_is_masked(void)
{
	struct capture *c = NULL;
	UNIT_REQUIRE(capture_load(NULL, 1, &c) == OK);
	const char *at = c->text.data;
	const char *end = at + c->text.len;
	while ((at = memmem(at, (size_t)(end - at), "syt_", 4)) != NULL) {
		CU_ASSERT(
			slice_starts((struct slice){at, (size_t)(end - at)}, SLICE("syt_masked_")));
		at += 4;
	}
	CU_ASSERT_PTR_NULL(memmem(c->text.data, c->text.len, "127.0.0.1", 9));
	capture_destroy(c);
}

static void test_capture_numbers_each_view_of_a_writer_without_gaps(void)
{
	struct capture *c = NULL;
	UNIT_REQUIRE(capture_load(NULL, 3, &c) == OK);
	for (int view = 0; view < CAPTURE_VIEWS; view++) {
		uint64_t *sum = calloc(c->writer_count, sizeof(*sum));
		uint64_t *count = calloc(c->writer_count, sizeof(*count));
		UNIT_REQUIRE(sum != NULL && count != NULL);
		for (uint32_t i = 0; i < c->message_count; i++) {
			const struct capture_message *m = &c->messages[i];
			if (m->seen_by[view]) {
				sum[m->writer] += m->sequence[view];
				count[m->writer]++;
			}
		}
		for (uint32_t w = 0; w < c->writer_count; w++) {
			CU_ASSERT(count[w] == 0 || sum[w] == count[w] * (count[w] - 1) / 2);
		}
		free(sum);
		free(count);
	}
	/* A process' next connection waits for its last one, over the repetitions, too. */
	uint32_t with_predecessor = 0;
	for (uint32_t i = 0; i < c->conn_count; i++) {
		CU_ASSERT(c->predecessor[i] == UINT32_MAX || c->predecessor[i] < i);
		with_predecessor += c->predecessor[i] != UINT32_MAX ? 1 : 0;
	}
	CU_ASSERT(with_predecessor > c->conn_count / 2);
	capture_destroy(c);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_scan_resp_finds_every_frame_however_it_is_split),
	UNIT_TEST(test_scan_line_finds_every_frame_however_it_is_split),
	UNIT_TEST(test_scan_nats_finds_every_frame_however_it_is_split),
	UNIT_TEST(test_scan_resp_refuses_what_is_not_resp),
	UNIT_TEST(test_scan_survives_damaged_bytes),
	UNIT_TEST(test_stamp_reads_back_what_it_wrote),
	UNIT_TEST(test_stamp_knows_what_is_not_its_own),
	UNIT_TEST(test_capture_built_in_is_whole),
	UNIT_TEST(test_capture_built_in_is_masked),
	UNIT_TEST(test_capture_numbers_each_view_of_a_writer_without_gaps),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "bench_scan", tests);
}
