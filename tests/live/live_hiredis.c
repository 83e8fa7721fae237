/* hiredis, the C client that most others stand on, blocking and asynchronous, against the hub at $MILLRACE_ADDRESS (a port of
 * this machine, or a path). Started by live_redis.py, which owns the hub.
 *
 * hiredis matches replies by their order and its asynchronous half keeps channels in tables of its own: a reply too many
 * or a wrong acknowledgement makes it abort. RESP3 is tried where the library knows it (1.0 and later).
 */
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "tests/unit.h"

enum { DEADLINE_MS = 20000, PIPELINE = 10000, MESSAGES = 2000 };

static const char *address(void)
{
	const char *text = getenv("MILLRACE_ADDRESS");
	if (text == NULL) {
		fprintf(stderr, "MILLRACE_ADDRESS is not set; live_redis.py starts this program\n");
		exit(1);
	}
	return text;
}

static redisContext *dial(void)
{
	struct timeval timeout = {.tv_sec = DEADLINE_MS / 1000};
	redisContext *c = address()[0] == '/'
				  ? redisConnectUnixWithTimeout(address(), timeout)
				  : redisConnectWithTimeout("127.0.0.1", atoi(address()), timeout);
	UNIT_REQUIRE(c != NULL && c->err == 0);
	UNIT_REQUIRE(redisSetTimeout(c, timeout) == REDIS_OK);
	return c;
}

static redisReply *next(redisContext *c)
{
	void *reply = NULL;
	UNIT_REQUIRE(redisGetReply(c, &reply) == REDIS_OK);
	UNIT_REQUIRE(reply != NULL);
	return reply;
}

static void expect_text(redisReply *reply, int type, const char *text, size_t len)
{
	UNIT_REQUIRE(reply != NULL);
	CU_ASSERT_EQUAL(reply->type, type);
	UNIT_REQUIRE(reply->len == len);
	CU_ASSERT(memcmp(reply->str, text, len) == 0);
	freeReplyObject(reply);
}

static void expect_integer(redisReply *reply, long long number)
{
	UNIT_REQUIRE(reply != NULL && reply->type == REDIS_REPLY_INTEGER);
	CU_ASSERT_EQUAL(reply->integer, number);
	freeReplyObject(reply);
}

/* An array of two strings and something: an acknowledgement or a message. */
static void expect_event(redisReply *reply, const char *kind, const char *channel)
{
	UNIT_REQUIRE(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3);
	CU_ASSERT_STRING_EQUAL(reply->element[0]->str, kind);
	CU_ASSERT_STRING_EQUAL(reply->element[1]->str, channel);
	freeReplyObject(reply);
}

static void test_hiredis_values_are_binary_and_absent_ones_are_nil(void)
{
	static const char value[] = "a\r\n\0b\xff$3\r\n";
	redisContext *c = dial();
	expect_text(redisCommand(c, "SET %s %b PX 60000", "hiredis", value, sizeof(value)),
		REDIS_REPLY_STATUS, "OK", 2);
	expect_text(redisCommand(c, "GET %s", "hiredis"), REDIS_REPLY_STRING, value, sizeof(value));
	redisReply *reply = redisCommand(c, "GET none");
	UNIT_REQUIRE(reply != NULL);
	CU_ASSERT_EQUAL(reply->type, REDIS_REPLY_NIL);
	freeReplyObject(reply);
	reply = redisCommand(c, "SET one");
	UNIT_REQUIRE(reply != NULL);
	CU_ASSERT_EQUAL(reply->type, REDIS_REPLY_ERROR);
	CU_ASSERT(strstr(reply->str, "wrong number of arguments") != NULL);
	freeReplyObject(reply);
	redisFree(c);
}

static void test_hiredis_pipelines_deeply_and_reconnects(void)
{
	redisContext *c = dial();
	for (int i = 0; i < PIPELINE; i++) {
		UNIT_REQUIRE(redisAppendCommand(c, "ECHO %d", i) == REDIS_OK);
	}
	for (int i = 0; i < PIPELINE; i++) {
		redisReply *reply = next(c);
		UNIT_REQUIRE(reply->type == REDIS_REPLY_STRING && atoi(reply->str) == i);
		freeReplyObject(reply);
	}
	expect_text(redisCommand(c, "QUIT"), REDIS_REPLY_STATUS, "OK", 2);
	CU_ASSERT(redisCommand(c, "PING") == NULL);
	UNIT_REQUIRE(redisReconnect(c) == REDIS_OK);
	expect_text(redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", 4);
	redisFree(c);
}

static void test_hiredis_blocking_subscriber_hears_all_in_order(void)
{
	redisContext *subscriber = dial();
	redisContext *publisher = dial();
	redisAppendCommand(subscriber, "SUBSCRIBE h.org h.org/b");
	expect_event(next(subscriber), "subscribe", "h.org");
	expect_event(next(subscriber), "subscribe", "h.org/b");
	for (int i = 0; i < MESSAGES; i++) {
		redisAppendCommand(publisher, "PUBLISH %s %d", i % 2 ? "h.org/b" : "h.org", i);
	}
	for (int i = 0; i < MESSAGES; i++) {
		expect_integer(next(publisher), 1);
		redisReply *reply = next(subscriber);
		UNIT_REQUIRE(reply->elements == 3 && atoi(reply->element[2]->str) == i);
		expect_event(reply, "message", i % 2 ? "h.org/b" : "h.org");
	}
	redisAppendCommand(subscriber, "UNSUBSCRIBE");
	redisReply *reply = next(subscriber);
	CU_ASSERT_STRING_EQUAL(reply->element[0]->str, "unsubscribe");
	freeReplyObject(reply);
	freeReplyObject(next(subscriber));
	expect_text(redisCommand(subscriber, "PING"), REDIS_REPLY_STATUS, "PONG", 4);
	redisFree(subscriber);
	redisFree(publisher);
}

#if HIREDIS_MAJOR >= 1
static void count_push(void *context, void *reply)
{
	(void)context;
	freeReplyObject(reply);
}
#endif

static void test_hiredis_resp3_where_the_library_knows_it(void)
{
#if HIREDIS_MAJOR >= 1
	redisContext *c = dial();
	redisSetPushCallback(c, count_push);
	redisReply *reply = redisCommand(c, "HELLO 3");
	UNIT_REQUIRE(reply != NULL);
	CU_ASSERT_EQUAL(reply->type, REDIS_REPLY_MAP);
	freeReplyObject(reply);
	redisFree(c);
#else
	printf("(hiredis %d.%d has no RESP3) ", HIREDIS_MAJOR, HIREDIS_MINOR);
#endif
}

/* ---- asynchronous: a loop of poll(2) around two connections ---- */

struct loop {
	struct side {
		redisAsyncContext *c;
		bool read, write;
	} sides[2];
	int acks, messages, globs, replies, ended;
	bool wrong;
};

static void add_read(void *side)
{
	((struct side *)side)->read = true;
}

static void del_read(void *side)
{
	((struct side *)side)->read = false;
}

static void add_write(void *side)
{
	((struct side *)side)->write = true;
}

static void del_write(void *side)
{
	((struct side *)side)->write = false;
}

static void cleanup(void *side)
{
	((struct side *)side)->c = NULL;
}

static void on_disconnect(const redisAsyncContext *c, int status)
{
	struct loop *loop = c->data;
	loop->ended++;
	loop->wrong = loop->wrong || status != REDIS_OK;
}

static void side_open(struct loop *loop, int i)
{
	struct side *side = &loop->sides[i];
	redisAsyncContext *c = address()[0] == '/'
				       ? redisAsyncConnectUnix(address())
				       : redisAsyncConnect("127.0.0.1", atoi(address()));
	UNIT_REQUIRE(c != NULL && c->err == 0);
	c->data = loop;
	c->ev.data = side;
	c->ev.addRead = add_read;
	c->ev.delRead = del_read;
	c->ev.addWrite = add_write;
	c->ev.delWrite = del_write;
	c->ev.cleanup = cleanup;
	redisAsyncSetDisconnectCallback(c, on_disconnect);
	side->c = c;
	side->write = true; /* until it is connected */
}

static void turn(struct loop *loop)
{
	struct pollfd fds[2];
	for (int i = 0; i < 2; i++) {
		struct side *side = &loop->sides[i];
		fds[i] = (struct pollfd){.fd = side->c == NULL ? -1 : side->c->c.fd,
			.events = (short)((side->read ? POLLIN : 0) | (side->write ? POLLOUT : 0))};
	}
	UNIT_REQUIRE(poll(fds, 2, DEADLINE_MS) > 0);
	for (int i = 0; i < 2; i++) {
		struct side *side = &loop->sides[i];
		if (side->c != NULL && (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
			redisAsyncHandleRead(side->c);
		}
		if (side->c != NULL && (fds[i].revents & POLLOUT) != 0) {
			redisAsyncHandleWrite(side->c);
		}
	}
}

static void on_event(redisAsyncContext *c, void *answer, void *unused)
{
	struct loop *loop = c->data;
	const redisReply *reply = answer;
	(void)unused;
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements < 3) {
		loop->wrong = true;
	} else if (strcmp(reply->element[0]->str, "message") == 0) {
		loop->wrong = loop->wrong || atoi(reply->element[2]->str) != loop->messages;
		loop->messages++;
	} else if (strcmp(reply->element[0]->str, "pmessage") == 0) {
		loop->wrong = loop->wrong || atoi(reply->element[3]->str) != loop->globs;
		loop->globs++;
	} else {
		loop->acks++;
	}
}

static void on_receivers(redisAsyncContext *c, void *answer, void *unused)
{
	struct loop *loop = c->data;
	const redisReply *reply = answer;
	(void)unused;
	loop->wrong = loop->wrong || reply == NULL || reply->type != REDIS_REPLY_INTEGER ||
		      reply->integer != 2;
	loop->replies++;
}

static void test_hiredis_async_subscribes_by_channel_and_glob_and_leaves(void)
{
	struct loop loop = {0};
	side_open(&loop, 0);
	side_open(&loop, 1);
	redisAsyncCommand(loop.sides[0].c, on_event, NULL, "SUBSCRIBE h.async");
	redisAsyncCommand(loop.sides[0].c, on_event, NULL, "PSUBSCRIBE h.as*");
	while (loop.acks < 2) {
		turn(&loop);
	}
	for (int i = 0; i < MESSAGES; i++) {
		redisAsyncCommand(loop.sides[1].c, on_receivers, NULL, "PUBLISH h.async %d", i);
	}
	while (loop.messages < MESSAGES || loop.globs < MESSAGES || loop.replies < MESSAGES) {
		turn(&loop);
	}
	redisAsyncCommand(loop.sides[0].c, NULL, NULL, "UNSUBSCRIBE h.async");
	redisAsyncCommand(loop.sides[0].c, NULL, NULL, "PUNSUBSCRIBE h.as*");
	while (loop.acks < 4) {
		turn(&loop);
	}
	redisAsyncDisconnect(loop.sides[0].c);
	redisAsyncDisconnect(loop.sides[1].c);
	while (loop.ended < 2) {
		turn(&loop);
	}
	CU_ASSERT_FALSE(loop.wrong);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_hiredis_values_are_binary_and_absent_ones_are_nil),
	UNIT_TEST(test_hiredis_pipelines_deeply_and_reconnects),
	UNIT_TEST(test_hiredis_blocking_subscriber_hears_all_in_order),
	UNIT_TEST(test_hiredis_resp3_where_the_library_knows_it),
	UNIT_TEST(test_hiredis_async_subscribes_by_channel_and_glob_and_leaves),
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* the library writes to a connection that has ended */
	return UNIT_MAIN(argc, argv, "hiredis", tests);
}
