/* The verbs, as clients see them: replies to the byte, errors in Redis' words, state that
 * changes. */
#include "tests/redis_frame.h"

#define EXPECT(reply, ...) frame_expect(&f, c, reply, __VA_ARGS__, NULL)
#define RUN(...)           frame_run(&f, c, __VA_ARGS__, NULL)
#define ERR_ARITY(verb)    "-ERR wrong number of arguments for '" verb "' command\r\n"
#define IN_SUBSCRIBER(verb)                                                                        \
	"-ERR Can't execute '" verb "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "   \
	"RESET are allowed in this context\r\n"

static void test_redis_unknown_words_are_named(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("-ERR unknown command 'foo', with args beginning with: 'a' 'b c' \r\n", "foo", "a",
		"b c");
	EXPECT("-ERR unknown command 'a  b', with args beginning with: \r\n", "a\r\nb");
	EXPECT("-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n", "client", "nosuch");
	EXPECT(ERR_ARITY("client"), "client");
	EXPECT(ERR_ARITY("client|kill"), "client", "kill");
	EXPECT(ERR_ARITY("get"), "get", "a", "b");
	EXPECT("-ERR unknown command 'client|list', with args beginning with: \r\n", "client|list");
	frame_finish(&f);
}

static void test_redis_long_unknown_words_are_cut(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	static char word[5000];
	memset(word, 'x', sizeof(word) - 1);
	const char *reply = RUN(word, word, word);
	CU_ASSERT(strlen(reply) < 400);
	CU_ASSERT(strncmp(reply, "-ERR unknown command 'xxx", 25) == 0);
	frame_finish(&f);
}

static void test_redis_a_stranger_may_only_say_who_it_is(void)
{
	struct frame f;
	frame_init(&f);
	f.password = "secret";
	struct client *c = frame_connect(&f);
	EXPECT("-NOAUTH Authentication required.\r\n", "get", "a");
	EXPECT("-NOAUTH Authentication required.\r\n", "ping");
	EXPECT(ERR_ARITY("get"), "get");
	EXPECT("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "auth", "no");
	EXPECT("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "auth", "bob",
		"secret");
	EXPECT("-ERR syntax error\r\n", "auth", "a", "b", "c");
	EXPECT("-NOAUTH HELLO must be called with the client already authenticated, otherwise the "
	       "HELLO AUTH <user> <pass> option can be used to authenticate the client and select "
	       "the RESP protocol version at the same time\r\n",
		"hello", "3");
	CU_ASSERT(!c->authenticated);
	EXPECT("+OK\r\n", "auth", "default", "secret");
	EXPECT("+PONG\r\n", "ping");
	EXPECT("+RESET\r\n", "reset");
	CU_ASSERT(!c->authenticated);
	CU_ASSERT(strncmp(RUN("hello", "3", "auth", "default", "secret", "setname", "me"), "%7",
			  2) == 0);
	EXPECT("$2\r\nme\r\n", "client", "getname");
	frame_finish(&f);
}

static void test_redis_auth_without_a_password_is_refused(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("-ERR AUTH <password> called without any password configured for the default user. "
	       "Are you sure your configuration is correct?\r\n",
		"auth", "x");
	EXPECT("+OK\r\n", "auth", "default", "x");
	frame_finish(&f);
}

static void test_redis_hello_changes_the_version(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$"
	       "5\r\nproto\r\n"
	       ":2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\n"
	       "master\r\n$7\r\nmodules\r\n*0\r\n",
		"hello");
	EXPECT("-NOPROTO unsupported protocol version\r\n", "hello", "4");
	EXPECT("-ERR Protocol version is not an integer or out of range\r\n", "hello", "x");
	EXPECT("-ERR Syntax error in HELLO option 'foo'\r\n", "hello", "3", "foo");
	CU_ASSERT_EQUAL(c->resp, 2);
	CU_ASSERT(strncmp(RUN("hello", "3"), "%7\r\n", 4) == 0);
	CU_ASSERT_EQUAL(c->resp, 3);
	EXPECT("_\r\n", "get", "none");
	EXPECT("+RESET\r\n", "reset");
	EXPECT("$-1\r\n", "get", "none");
	frame_finish(&f);
}

static void test_redis_set_takes_its_options(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("+OK\r\n", "SET", "k", "v");
	EXPECT("$-1\r\n", "set", "k", "w", "NX");
	EXPECT("$-1\r\n", "set", "none", "w", "xx");
	EXPECT("$1\r\nv\r\n", "set", "k", "w", "get");
	EXPECT("$1\r\nw\r\n", "set", "k", "x", "nx", "get");
	EXPECT("+OK\r\n", "set", "k", "v", "px", "1500");
	EXPECT(":1500\r\n", "pttl", "k");
	EXPECT(":2\r\n", "ttl", "k");
	EXPECT("+OK\r\n", "set", "k", "v", "keepttl");
	EXPECT(":1500\r\n", "pttl", "k");
	EXPECT("+OK\r\n", "set", "k", "v");
	EXPECT(":-1\r\n", "ttl", "k");
	EXPECT("-ERR syntax error\r\n", "set", "k", "v", "ex", "1", "px", "1");
	EXPECT("-ERR syntax error\r\n", "set", "k", "v", "nx", "xx");
	EXPECT("-ERR syntax error\r\n", "set", "k", "v", "ex");
	EXPECT("-ERR invalid expire time in 'set' command\r\n", "set", "k", "v", "ex", "0");
	EXPECT("-ERR invalid expire time in 'set' command\r\n", "set", "k", "v", "ex",
		"9223372036854775807");
	EXPECT("-ERR value is not an integer or out of range\r\n", "set", "k", "v", "ex", "x");
	frame_finish(&f);
}

static void test_redis_keys_expire_by_the_clock_that_is_given(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("+OK\r\n", "set", "k", "v", "px", "100");
	f.env.now.wall_ms += 99;
	EXPECT("$1\r\nv\r\n", "get", "k");
	f.env.now.wall_ms += 1;
	EXPECT("$-1\r\n", "get", "k");
	EXPECT(":-2\r\n", "ttl", "k");
	EXPECT(":0\r\n", "expire", "k", "10");
	EXPECT("+OK\r\n", "set", "k", "v");
	EXPECT(":1\r\n", "expire", "k", "-1");
	EXPECT(":0\r\n", "exists", "k");
	frame_finish(&f);
}

static void test_redis_expire_takes_its_conditions(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("+OK\r\n", "set", "k", "v");
	EXPECT(":0\r\n", "expire", "k", "10", "xx");
	EXPECT(":0\r\n", "expire", "k", "10", "gt");
	EXPECT(":1\r\n", "expire", "k", "10", "nx");
	EXPECT(":0\r\n", "expire", "k", "20", "nx");
	EXPECT(":1\r\n", "expire", "k", "20", "gt");
	EXPECT(":1\r\n", "expire", "k", "5", "lt");
	EXPECT(":5\r\n", "ttl", "k");
	EXPECT("-ERR NX and XX, GT or LT options at the same time are not compatible\r\n", "expire",
		"k", "5", "nx", "gt");
	EXPECT("-ERR Unsupported option foo\r\n", "expire", "k", "5", "foo");
	frame_finish(&f);
}

static void test_redis_numbers_do_not_overflow(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT(":1\r\n", "incr", "n");
	EXPECT(":-9\r\n", "decrby", "n", "10");
	EXPECT("+OK\r\n", "set", "n", "9223372036854775807");
	EXPECT("-ERR increment or decrement would overflow\r\n", "incr", "n");
	EXPECT("-ERR decrement would overflow\r\n", "decrby", "n", "-9223372036854775808");
	EXPECT("+OK\r\n", "set", "n", "10.5");
	EXPECT("-ERR value is not an integer or out of range\r\n", "incr", "n");
	EXPECT("$4\r\n10.6\r\n", "incrbyfloat", "n", "0.1");
	EXPECT("-ERR value is not a valid float\r\n", "incrbyfloat", "n", "abc");
	frame_finish(&f);
}

static void test_redis_a_full_cache_refuses_writes_only(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("+OK\r\n", "set", "k", "v");
	cache_set_limit(f.env.cache, 1, CACHE_NOEVICTION);
	EXPECT("-OOM command not allowed when used memory > 'maxmemory'.\r\n", "set", "k", "v");
	EXPECT("$1\r\nv\r\n", "get", "k");
	EXPECT("+OK\r\n", "multi");
	EXPECT("-OOM command not allowed when used memory > 'maxmemory'.\r\n", "get", "k");
	EXPECT("-EXECABORT Transaction discarded because of previous errors.\r\n", "exec");
	EXPECT(":1\r\n", "del", "k");
	EXPECT(":0\r\n", "publish", "c", "still works");
	frame_finish(&f);
}

static void test_redis_subscribing_is_acknowledged_name_by_name(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:"
	       "2\r\n"
	       "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n",
		"subscribe", "a", "b", "a");
	EXPECT("*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n", "psubscribe", "a*");
	EXPECT("*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n", "ssubscribe", "s");
	EXPECT("*3\r\n$11\r\nunsubscribe\r\n$4\r\nnone\r\n:3\r\n", "unsubscribe", "none");
	EXPECT("*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n", "sunsubscribe");
	EXPECT("*3\r\n$12\r\npunsubscribe\r\n$2\r\na*\r\n:2\r\n", "punsubscribe");
	RUN("unsubscribe");
	CU_ASSERT(!client_is_subscriber(c));
	EXPECT("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", "unsubscribe");
	RUN("hello", "3");
	EXPECT(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "subscribe", "a");
	EXPECT(">3\r\n$12\r\nsunsubscribe\r\n_\r\n:0\r\n", "sunsubscribe");
	frame_finish(&f);
}

static void test_redis_a_resp2_subscriber_is_restricted(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	RUN("subscribe", "a");
	EXPECT(IN_SUBSCRIBER("get"), "get", "a");
	EXPECT(IN_SUBSCRIBER("client|list"), "client", "list");
	EXPECT("*2\r\n$4\r\npong\r\n$0\r\n\r\n", "ping");
	EXPECT("*2\r\n$4\r\npong\r\n$1\r\nx\r\n", "ping", "x");
	EXPECT("+RESET\r\n", "reset");
	CU_ASSERT_EQUAL(f.sub_count, 0);
	EXPECT("+PONG\r\n", "ping");
	RUN("subscribe", "a");
	EXPECT("+OK\r\n", "quit");
	CU_ASSERT(c->close_after_reply);
	frame_finish(&f);
}

static void test_redis_publish_says_how_many_hear_it(void)
{
	struct frame f;
	frame_init(&f);
	struct client *a = frame_connect(&f);
	struct client *c = frame_connect(&f);
	frame_run(&f, a, "subscribe", "x", NULL);
	frame_run(&f, a, "psubscribe", "x*", NULL);
	frame_run(&f, a, "ssubscribe", "x", NULL);
	EXPECT(":2\r\n", "publish", "x", "m");
	EXPECT(":1\r\n", "spublish", "x", "m");
	EXPECT("*1\r\n$1\r\nx\r\n", "pubsub", "channels");
	EXPECT("*0\r\n", "pubsub", "channels", "y*");
	EXPECT("*4\r\n$1\r\nx\r\n:1\r\n$1\r\ny\r\n:0\r\n", "pubsub", "numsub", "x", "y");
	EXPECT(":1\r\n", "pubsub", "numpat");
	EXPECT("*1\r\n$1\r\nx\r\n", "pubsub", "shardchannels");
	EXPECT("*2\r\n$1\r\nx\r\n:1\r\n", "pubsub", "shardnumsub", "x");
	f.publish_error = -E_NOT_ALLOWED;
	EXPECT("-ERR the reason\r\n", "publish", "x", "m");
	f.publish_error = -E_NOSPACE;
	CU_ASSERT(strncmp(RUN("publish", "x", "m"), "-MISCONF ", 9) == 0);
	f.publish_error = -E_AGAIN;
	EXPECT("", "publish", "x", "m");
	frame_finish(&f);
}

static void test_redis_replies_are_silenced_but_never_messages(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("", "client", "reply", "off");
	EXPECT("", "ping");
	EXPECT("", "nosuch");
	EXPECT("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "subscribe", "a");
	EXPECT("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n", "unsubscribe", "a");
	EXPECT("+OK\r\n", "client", "reply", "on");
	EXPECT("", "client", "reply", "skip");
	EXPECT("", "ping");
	EXPECT("+PONG\r\n", "ping");
	EXPECT("", "client", "reply", "skip");
	EXPECT("+OK\r\n", "client", "reply", "on");
	EXPECT("", "client", "reply", "off");
	redis_refuse(&f.env, c, "Protocol error: x");
	CU_ASSERT_EQUAL(f.out.len, 0);
	EXPECT("+RESET\r\n", "reset");
	frame_finish(&f);
}

static void test_redis_transactions_run_as_one(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("-ERR EXEC without MULTI\r\n", "exec");
	EXPECT("-ERR DISCARD without MULTI\r\n", "discard");
	EXPECT("+OK\r\n", "multi");
	EXPECT("-ERR MULTI calls can not be nested\r\n", "multi");
	EXPECT("+QUEUED\r\n", "set", "k", "v");
	EXPECT("+QUEUED\r\n", "incr", "k");
	EXPECT("+QUEUED\r\n", "get", "k");
	EXPECT("*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n$1\r\nv\r\n", "exec");
	EXPECT("+OK\r\n", "multi");
	EXPECT("-ERR unknown command 'foo', with args beginning with: \r\n", "foo");
	EXPECT("+QUEUED\r\n", "set", "k", "w");
	EXPECT("-EXECABORT Transaction discarded because of previous errors.\r\n", "exec");
	EXPECT("$1\r\nv\r\n", "get", "k");
	EXPECT("+OK\r\n", "multi");
	EXPECT("-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' "
	       "command\r\n",
		"exec", "x");
	CU_ASSERT_PTR_NULL(c->multi);
	frame_finish(&f);
}

static void test_redis_watched_keys_stop_a_transaction(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	struct client *other = frame_connect(&f);
	EXPECT("+OK\r\n", "watch", "k", "k", "l");
	frame_run(&f, other, "set", "l", "1", NULL);
	EXPECT("+OK\r\n", "multi");
	EXPECT("-ERR WATCH inside MULTI is not allowed\r\n", "watch", "k");
	EXPECT("+QUEUED\r\n", "ping");
	EXPECT("*-1\r\n", "exec");
	EXPECT("+OK\r\n", "watch", "k");
	EXPECT("+OK\r\n", "unwatch");
	CU_ASSERT_PTR_NULL(c->multi);
	frame_run(&f, other, "set", "k", "1", NULL);
	EXPECT("+OK\r\n", "multi");
	EXPECT("*0\r\n", "exec");
	EXPECT("+OK\r\n", "watch", "k");
	frame_finish(&f); /* a client that goes takes its watches along */
}

static void test_redis_a_transaction_is_bounded(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	static char big[40000];
	memset(big, 'x', sizeof(big) - 1);
	EXPECT("+OK\r\n", "multi");
	EXPECT("+QUEUED\r\n", "set", "k", big);
	EXPECT("-ERR the transaction is too big\r\n", "set", "k", big);
	EXPECT("-EXECABORT Transaction discarded because of previous errors.\r\n", "exec");
	frame_finish(&f);
}

static void test_redis_clients_are_listed_named_and_killed(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	struct client *other = frame_connect(&f);
	frame_run(&f, other, "subscribe", "a", NULL);
	EXPECT("+OK\r\n", "client", "setname", "me");
	CU_ASSERT_EQUAL(f.renames, 1);
	EXPECT("-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
		"client", "setname", "a b");
	const char *list = RUN("client", "list");
	CU_ASSERT_PTR_NOT_NULL(
		strstr(list, "id=1 addr=10.0.0.1:1000 laddr=127.0.0.1:6380 fd=8 name=me "
			     "age=0 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 "));
	CU_ASSERT_PTR_NOT_NULL(strstr(list, "cmd=client|list user=default redir=-1 resp=2"));
	CU_ASSERT_PTR_NOT_NULL(strstr(list, "id=2 "));
	list = RUN("client", "list", "type", "pubsub");
	CU_ASSERT(strstr(list, "id=1 ") == NULL && strstr(list, "id=2 ") != NULL);
	EXPECT("-ERR Unknown client type 'x'\r\n", "client", "list", "type", "x");
	EXPECT("-ERR No such client\r\n", "client", "kill", "1.1.1.1:1");
	EXPECT("-ERR client-id should be greater than 0\r\n", "client", "kill", "id", "0");
	EXPECT("-ERR No such user 'bob'\r\n", "client", "kill", "user", "bob");
	EXPECT(":1\r\n", "client", "kill", "type", "pubsub", "skipme", "no");
	CU_ASSERT(f.killed[1] && !c->close_after_reply);
	EXPECT(":0\r\n", "client", "kill", "id", "1");
	EXPECT("+OK\r\n", "client", "kill", "10.0.0.1:1000");
	CU_ASSERT(c->close_after_reply);
	frame_finish(&f);
}

static void test_redis_config_set_changes_all_or_nothing(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n", "config", "get", "MAXMEMORY");
	EXPECT("*4\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$"
	       "10\r\nnoeviction\r\n",
		"config", "get", "maxmem*", "max*");
	EXPECT("*0\r\n", "config", "get", "nosuch");
	EXPECT("+OK\r\n", "config", "set", "maxmemory", "5", "maxmemory-policy", "allkeys-lru");
	EXPECT("-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must "
	       "be a "
	       "memory value\r\n",
		"config", "set", "maxmemory-policy", "volatile-ttl", "maxmemory", "x");
	CU_ASSERT_STRING_EQUAL(f.policy, "allkeys-lru");
	EXPECT("-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable "
	       "config\r\n",
		"config", "set", "maxmemory", "7", "port", "1");
	CU_ASSERT_STRING_EQUAL(f.maxmemory, "5");
	EXPECT("-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n", "config",
		"set", "maxmemory", "9", "nosuch", "1");
	EXPECT("-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate "
	       "parameter\r\n",
		"config", "set", "maxmemory", "1", "maxmemory", "2");
	EXPECT("-ERR syntax error\r\n", "config", "set", "maxmemory", "1", "x");
	EXPECT("-ERR The server is running without a config file\r\n", "config", "rewrite");
	frame_finish(&f);
}

static void test_redis_info_has_the_sections_asked_for(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	RUN("set", "k", "v", "ex", "10");
	RUN("get", "k");
	RUN("foo");
	RUN("get");
	const char *info = RUN("info");
	CU_ASSERT_PTR_NOT_NULL(strstr(info, "# Server\r\nredis_version:7.0.15\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(info, "process_id:42\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(info, "\r\ndb0:keys=1,expires=1,avg_ttl="));
	CU_ASSERT_PTR_NOT_NULL(strstr(info, "\r\nerrorstat_ERR:count=2\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(info, "\r\nkeyspace_hits:1\r\n"));
	CU_ASSERT_PTR_NULL(strstr(info, "# Commandstats"));
	CU_ASSERT_PTR_NULL(strstr(info, "# Millrace"));
	info = RUN("info", "commandstats");
	CU_ASSERT_PTR_NOT_NULL(
		strstr(info, "cmdstat_get:calls=1,usec=0,usec_per_call=0.00,rejected_calls=1,"
			     "failed_calls=0\r\n"));
	CU_ASSERT_PTR_NULL(strstr(info, "# Server"));
	info = RUN("info", "CPU", "Millrace");
	CU_ASSERT(strstr(info, "# CPU\r\n") != NULL && strstr(info, "# Millrace\r\n") != NULL);
	CU_ASSERT_PTR_NOT_NULL(strstr(RUN("info", "everything"), "# Millrace\r\n"));
	CU_ASSERT_PTR_NULL(strstr(RUN("info", "all"), "# Millrace\r\n"));
	EXPECT("$0\r\n\r\n", "info", "nosuch");
	EXPECT("+OK\r\n", "config", "resetstat");
	CU_ASSERT_EQUAL(f.resets, 1);
	CU_ASSERT_PTR_NULL(strstr(RUN("info", "commandstats"), "cmdstat_get"));
	frame_finish(&f);
}

static void test_redis_events_of_keys_are_published_when_asked(void)
{
	struct frame f;
	char letters[16];
	frame_init(&f);
	struct client *c = frame_connect(&f);
	RUN("set", "k", "v");
	CU_ASSERT_EQUAL(f.published.len, 0);
	CU_ASSERT_EQUAL(redis_set_notify(f.env.verbs, SLICE("KEA")), OK);
	CU_ASSERT_STRING_EQUAL(redis_notify(f.env.verbs, letters), "AKE");
	RUN("select", "9");
	RUN("set", "k", "v", "px", "10");
	CU_ASSERT(slice_equal(bytes_slice(&f.published),
		SLICE("__keyspace@9__:k=set __keyevent@9__:set=k __keyspace@9__:k=expire "
		      "__keyevent@9__:expire=k ")));
	bytes_clear(&f.published);
	f.env.now.wall_ms += 10;
	CU_ASSERT_EQUAL(redis_expire(&f.env, 10), INT64_MAX);
	CU_ASSERT(slice_equal(bytes_slice(&f.published),
		SLICE("__keyspace@9__:k=expired __keyevent@9__:expired=k ")));
	CU_ASSERT_EQUAL(redis_set_notify(f.env.verbs, SLICE("Kq")), -E_SYNTAX);
	CU_ASSERT_EQUAL(redis_set_notify(f.env.verbs, SLICE("Kg$")), OK);
	CU_ASSERT_STRING_EQUAL(redis_notify(f.env.verbs, letters), "g$K");
	bytes_clear(&f.published);
	RUN("set", "k", "v");
	RUN("del", "k");
	CU_ASSERT(slice_equal(
		bytes_slice(&f.published), SLICE("__keyspace@9__:k=set __keyspace@9__:k=del ")));
	frame_finish(&f);
}

static void test_redis_command_describes_the_table(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*"
	       "3\r\n"
	       "+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+"
	       "access\r\n"
	       "$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$"
	       "5\r\n"
	       "index\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$"
	       "4\r\nspec\r\n*6\r\n"
	       "$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n",
		"command", "info", "get");
	EXPECT("*1\r\n$-1\r\n", "command", "info", "nosuch");
	EXPECT("*2\r\n$1\r\na\r\n$1\r\nb\r\n", "command", "getkeys", "mset", "a", "1", "b", "2");
	EXPECT("-ERR The command has no key arguments\r\n", "command", "getkeys", "publish", "a",
		"b");
	EXPECT("*1\r\n$3\r\nset\r\n", "command", "list", "filterby", "pattern", "set");
	EXPECT("*0\r\n", "command", "docs", "nosuch");
	frame_finish(&f);
}

static void test_redis_every_verb_is_found_and_documented(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	for (unsigned i = 0; i < redis_verb_count(); i++) {
		const char *verb = redis_verb_name(i);
		const char *reply = RUN("command", "docs", verb);
		CU_ASSERT(strncmp(reply, "*2\r\n", 4) == 0);
		char start[64];
		snprintf(start, sizeof(start), "*1\r\n*10\r\n$%zu\r\n%s\r\n", strlen(verb), verb);
		CU_ASSERT(strncmp(RUN("command", "info", verb), start, strlen(start)) == 0);
	}
	frame_finish(&f);
}

static void test_redis_requests_in_disguise_are_dropped(void)
{
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	EXPECT("", "POST", "/", "HTTP/1.1");
	CU_ASSERT(c->close_now);
	frame_finish(&f);
}

static void test_redis_any_words_get_one_reply(void)
{
	static const char *const words[] = {"get", "set", "del", "k", "l", "1", "-1", "nx", "ex",
		"px", "10", "client", "list", "kill", "id", "type", "normal", "config", "get",
		"set", "*", "maxmemory", "command", "info", "docs", "getkeys", "list", "filterby",
		"pattern", "multi", "exec", "watch", "discard", "hello", "2", "3", "auth",
		"setname", "subscribe", "unsubscribe", "psubscribe", "publish", "pubsub", "numsub",
		"channels", "reset", "expire", "ttl", "getex", "persist", "copy", "db", "rename",
		"scan", "0", "match", "count", "object", "encoding", "incrbyfloat", "setrange",
		"getrange", "append", "setbit", "getbit", "info", "memory", "usage", "flushall",
		"select", "9", "reply", "on", "mset", "msetnx", "", "\r\n", "help", "slowlog",
		"latency", "function", "flush", "move", "randomkey", "incr", "spublish"};
	enum { WORDS = sizeof(words) / sizeof(words[0]) };
	uint64_t state = unit_seed();
	struct frame f;
	frame_init(&f);
	struct client *c = frame_connect(&f);
	for (unsigned round = 0; round < 100000; round++) {
		struct slice argv[6];
		struct resp_request request = {argv, 1 + (unsigned)(unit_random(&state) % 6)};
		for (unsigned i = 0; i < request.argc; i++) {
			argv[i] = slice_of(words[unit_random(&state) % WORDS]);
		}
		bytes_clear(&f.out);
		redis_run(&f.env, c, &request);
		CU_ASSERT_FATAL(f.out.len > 0);
		f.killed[0] = false;
		f.env.now.wall_ms += (int64_t)(unit_random(&state) % 20);
		if (round % 16 == 0) {
			redis_expire(&f.env, 10);
		}
	}
	frame_finish(&f);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_redis_unknown_words_are_named),
	UNIT_TEST(test_redis_long_unknown_words_are_cut),
	UNIT_TEST(test_redis_a_stranger_may_only_say_who_it_is),
	UNIT_TEST(test_redis_auth_without_a_password_is_refused),
	UNIT_TEST(test_redis_hello_changes_the_version),
	UNIT_TEST(test_redis_set_takes_its_options),
	UNIT_TEST(test_redis_keys_expire_by_the_clock_that_is_given),
	UNIT_TEST(test_redis_expire_takes_its_conditions),
	UNIT_TEST(test_redis_numbers_do_not_overflow),
	UNIT_TEST(test_redis_a_full_cache_refuses_writes_only),
	UNIT_TEST(test_redis_subscribing_is_acknowledged_name_by_name),
	UNIT_TEST(test_redis_a_resp2_subscriber_is_restricted),
	UNIT_TEST(test_redis_publish_says_how_many_hear_it),
	UNIT_TEST(test_redis_replies_are_silenced_but_never_messages),
	UNIT_TEST(test_redis_transactions_run_as_one),
	UNIT_TEST(test_redis_watched_keys_stop_a_transaction),
	UNIT_TEST(test_redis_a_transaction_is_bounded),
	UNIT_TEST(test_redis_clients_are_listed_named_and_killed),
	UNIT_TEST(test_redis_config_set_changes_all_or_nothing),
	UNIT_TEST(test_redis_info_has_the_sections_asked_for),
	UNIT_TEST(test_redis_events_of_keys_are_published_when_asked),
	UNIT_TEST(test_redis_command_describes_the_table),
	UNIT_TEST(test_redis_every_verb_is_found_and_documented),
	UNIT_TEST(test_redis_requests_in_disguise_are_dropped),
	UNIT_TEST(test_redis_any_words_get_one_reply),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "redis", tests);
}
