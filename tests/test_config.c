/* The configuration: every way in (defaults, file, arguments, CONFIG SET), every way out, and the
 * sentences for what is wrong. Files are in memory: config.c opens none itself.
 */
#include "engine/hub/config.h"

#include <stdio.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/hub/directive.h"
#include "engine/hub/directive_text.h"
#include "engine/hub/words.h"
#include "store/store.h"

#include "tests/unit.h"

struct file {
	const char *name, *text;
};

struct world {
	struct config config;
	const struct file *files;
	unsigned notices;
	char notice[CONFIG_WHY_MAX];
	char why[CONFIG_WHY_MAX];
	enum config_action action;
};

static int read_from_memory(void *context, const char *path, struct bytes *out, char *why)
{
	struct world *world = context;
	for (const struct file *f = world->files; f != NULL && f->name != NULL; f++) {
		if (strcmp(f->name, path) == 0) {
			bytes_append_string(out, f->text);
			return OK;
		}
	}
	snprintf(why, CONFIG_WHY_MAX, "No such file");
	return -E_GONE;
}

static void take_notice(void *context, const char *sentence)
{
	struct world *world = context;
	world->notices++;
	snprintf(world->notice, sizeof(world->notice), "%s", sentence);
}

/* Reads a file and keeps what became of it; world_finish() afterwards. */
static int world_read(struct world *world, const struct file *files)
{
	*world = (struct world){.files = files};
	struct config_source source = {read_from_memory, take_notice, world};
	config_init(&world->config);
	return config_read_file(&world->config, files[0].name, &source, world->why);
}

static int world_read_text(struct world *world, const char *text)
{
	struct file files[] = {{"m.conf", text}, {NULL, NULL}};
	int err = world_read(world, files);
	world->files = NULL;
	return err;
}

#define WORLD_ARGS(world, ...)                                                                     \
	world_args((world), NULL, (const char *[]){"millraced", __VA_ARGS__, NULL})

static int world_args(struct world *world, const struct file *files, const char **argv)
{
	*world = (struct world){.files = files};
	struct config_source source = {read_from_memory, take_notice, world};
	int argc = 0;
	while (argv[argc] != NULL) {
		argc++;
	}
	config_init(&world->config);
	return config_read_args(
		&world->config, argc, (char *const *)argv, &source, &world->action, world->why);
}

static void world_finish(struct world *world)
{
	config_finish(&world->config);
}

static bool contains(struct slice text, const char *part)
{
	return memmem(text.data, text.len, part, strlen(part)) != NULL;
}

static void test_defaults_are_those_of_the_manual(void)
{
	struct config config;
	char why[CONFIG_WHY_MAX] = "";
	config_init(&config);
	CU_ASSERT_EQUAL(config.port, 6380);
	UNIT_REQUIRE(config.bind.count == 1);
	CU_ASSERT_STRING_EQUAL(config.bind.items[0], "127.0.0.1");
	CU_ASSERT_EQUAL(config.unixsocketperm, 0700);
	CU_ASSERT_EQUAL(config.tcp_keepalive_ms, 300000);
	CU_ASSERT_EQUAL(config.line_port, 9092);
	CU_ASSERT_EQUAL(config.line_length_max, 16384);
	CU_ASSERT_EQUAL(config.line_writers.count, 0);
	CU_ASSERT_EQUAL(config.user_sync_expiry_ms, 5 * 60 * 1000);
	CU_ASSERT_EQUAL(config.maxmemory_bytes, 64 << 20);
	CU_ASSERT_EQUAL(config.maxmemory_policy, CONFIG_VOLATILE_TTL);
	CU_ASSERT_EQUAL(config.appendfsync, STORE_FSYNC_EVERYSEC);
	CU_ASSERT_EQUAL(config.loglevel, JOURNAL_NOTICE);
	CU_ASSERT_EQUAL(config.log_bytes_max, 1 << 30);
	CU_ASSERT_EQUAL(config.send_bytes_max, 256 << 10);
	CU_ASSERT_EQUAL(
		config.client_output_buffer_limit[CONFIG_CLASS_PUBSUB].hard_bytes, 32 << 20);
	CU_ASSERT_EQUAL(config.client_output_buffer_limit[CONFIG_CLASS_PUBSUB].soft_ms, 60000);
	CU_ASSERT_STRING_EQUAL(config_word(&config, "engine"), "auto");
	CU_ASSERT_STRING_EQUAL(config_word(&config, "store"), "rocksdb");
	CU_ASSERT_EQUAL(config_check(&config, why), OK);
	config_finish(&config);
	config_finish(&config); /* finished twice, or never begun, is fine */
}

static void test_words_are_cut_as_redis_cuts_them(void)
{
	static const struct {
		const char *line;
		int result;
		const char *words; /* joined with '|' */
	} cases[] = {
		{"", OK, ""},
		{"  \t ", OK, ""},
		{"port 7000\r", OK, "port|7000"},
		{"a  \"b c\"\t'd e'", OK, "a|b c|d e"},
		{"a \"\\x41\\n\\\"\\\\\"", OK, "a|A\n\"\\"},
		{"a 'it\\'s \\n'", OK, "a|it's \\n"},
		{"requirepass a#b", OK, "requirepass|a#b"},
		{"a \"\" ''", OK, "a||"},
		{"a b\"c", OK, "a|b\"c"},
		{"a \"b", -E_SYNTAX, NULL},
		{"a 'b", -E_SYNTAX, NULL},
		{"a \"b\"c", -E_SYNTAX, NULL},
		{"a \"b\\", -E_SYNTAX, NULL},
		{"\"\\xZZ\"", OK, "xZZ"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct words words = {0};
		struct bytes joined = {0};
		int result = words_split(slice_of(cases[i].line), &words);
		CU_ASSERT_EQUAL(result, cases[i].result);
		for (size_t w = 0; result == OK && w < words.count; w++) {
			bytes_append_string(&joined, w > 0 ? "|" : "");
			bytes_append_slice(&joined, words.items[w]);
		}
		if (result == OK && cases[i].words != NULL &&
			!slice_equal(bytes_slice(&joined), slice_of(cases[i].words))) {
			printf("<%s>: <%.*s>\n", cases[i].line, SLICE_ARG(bytes_slice(&joined)));
			CU_FAIL("words");
		}
		bytes_finish(&joined);
		words_finish(&words);
	}
	char many[200 * 2];
	memset(many, ' ', sizeof(many));
	for (size_t i = 0; i < sizeof(many); i += 2) {
		many[i] = 'x';
	}
	struct words words = {0};
	CU_ASSERT_EQUAL(words_split((struct slice){many, sizeof(many)}, &words), -E_TOO_LONG);
	words_finish(&words);
}

static void test_file_sets_every_type(void)
{
	struct world w;
	int err = world_read_text(&w, "# a comment\n"
				      "\n"
				      "   # another\n"
				      "PORT 7000\r\n"
				      "bind 127.0.0.1 -::1\n"
				      "unixsocketperm 770\n"
				      "maxmemory 1gb\n"
				      "send-bytes-max 64k\n"
				      "user-sync-expiry 90s\n"
				      "line-ping-interval 2500ms\n"
				      "timeout 7\n"
				      "protected-mode NO\n"
				      "requirepass \"two words\"\n"
				      "loglevel warning\n"
				      "engine epoll\n"
				      "line-writers master worker1\n"
				      "client-output-buffer-limit pubsub 64mb 16mb 30\n"
				      "client-output-buffer-limit slave 1 2 3 normal 4k 0 0");
	if (err != OK) {
		puts(w.why);
	}
	CU_ASSERT_EQUAL(err, OK);
	CU_ASSERT_EQUAL(w.config.port, 7000);
	CU_ASSERT_EQUAL(w.config.bind.count, 2);
	CU_ASSERT_EQUAL(w.config.unixsocketperm, 0770);
	CU_ASSERT_EQUAL(w.config.maxmemory_bytes, 1 << 30);
	CU_ASSERT_EQUAL(w.config.send_bytes_max, 64000);
	CU_ASSERT_EQUAL(w.config.user_sync_expiry_ms, 90000);
	CU_ASSERT_EQUAL(w.config.line_ping_interval_ms, 2500);
	CU_ASSERT_EQUAL(w.config.timeout_ms, 7000);
	CU_ASSERT_FALSE(w.config.protected_mode);
	CU_ASSERT_STRING_EQUAL(w.config.requirepass, "two words");
	CU_ASSERT_EQUAL(w.config.loglevel, JOURNAL_WARNING);
	CU_ASSERT_STRING_EQUAL(config_word(&w.config, "engine"), "epoll");
	UNIT_REQUIRE(w.config.line_writers.count == 2);
	CU_ASSERT_STRING_EQUAL(w.config.line_writers.items[1], "worker1");
	const struct config_limit *limits = w.config.client_output_buffer_limit;
	CU_ASSERT_EQUAL(limits[CONFIG_CLASS_PUBSUB].soft_bytes, 16 << 20);
	CU_ASSERT_EQUAL(limits[CONFIG_CLASS_PUBSUB].soft_ms, 30000);
	CU_ASSERT_EQUAL(limits[CONFIG_CLASS_REPLICA].hard_bytes, 1);
	CU_ASSERT_EQUAL(limits[CONFIG_CLASS_NORMAL].hard_bytes, 4000);
	world_finish(&w);
}

static void test_error_names_file_line_and_what_it_must_be(void)
{
	static const struct {
		const char *text;
		int result;
		const char *sentence;
	} cases[] = {
		{"\n\nprot 7", -E_UNKNOWN, "m.conf:3: unknown directive prot; did you mean port?"},
		{"require-pass x", -E_UNKNOWN, "did you mean requirepass?"},
		{"frobnicate yes", -E_UNKNOWN, "m.conf:1: unknown directive frobnicate"},
		{"port 65536", -E_RANGE, "port 65536 must be a number between -1 and 65535"},
		{"port 99999999999999999999", -E_RANGE, "must be a number"},
		{"port x", -E_SYNTAX, "port x must be a number"},
		{"port", -E_SYNTAX, "port takes one value, not 0"},
		{"port 1 2", -E_SYNTAX, "port takes one value, not 2"},
		{"maxmemory 1tb", -E_SYNTAX, "with kb, mb, gb"},
		{"maxmemory -1", -E_SYNTAX, "with kb, mb, gb"},
		{"maxmemory 9223372036854775807gb", -E_RANGE, "with kb, mb, gb"},
		{"line-ping-timeout 1w", -E_SYNTAX, "line-ping-timeout 1w must be seconds"},
		{"line-ping-timeout 10ms", -E_RANGE, "between 200ms and 86400"},
		{"protected-mode maybe", -E_SYNTAX, "one of yes|no"},
		{"engine kqueue", -E_SYNTAX, "one of auto|uring|epoll"},
		{"unixsocketperm 999", -E_SYNTAX, "in octal between 0 and 777"},
		{"client-output-buffer-limit pubsub 1 2", -E_SYNTAX, "groups of four"},
		{"client-output-buffer-limit nobody 1 2 3", -E_SYNTAX, "groups of four"},
		{"unixsocket /a\nunixsocket \"/b", -E_SYNTAX, "m.conf:2: a quote"},
		{"unixsocket \"/a\\x00b\"", -E_SYNTAX, "without a zero byte"},
		{"line-writers \"a b\"", -E_SYNTAX, "without blanks and quotes"},
		{"include", -E_SYNTAX, "m.conf:1: include takes one file"},
		{"include other.conf", -E_GONE, "m.conf:1: other.conf cannot be read: No such"},
		{"include m.conf", -E_FULL, "more than 8 files include each other"},
		{"tls-port 6381", -E_UNSUPPORTED, "tls-port is refused: there is no TLS"},
		{"user default on", -E_UNSUPPORTED, "user is refused"},
		{"\"\" x", -E_UNKNOWN, "unknown directive"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world w;
		int result = world_read_text(&w, cases[i].text);
		if (result != cases[i].result || strstr(w.why, cases[i].sentence) == NULL) {
			printf("<%s>: %d <%s>\n", cases[i].text, result, w.why);
			CU_FAIL("sentence");
		}
		world_finish(&w);
	}
}

static void test_refused_value_leaves_the_old_one(void)
{
	struct world w;
	CU_ASSERT_EQUAL(world_read_text(&w, "port 7000\nport 70000"), -E_RANGE);
	CU_ASSERT_EQUAL(w.config.port, 7000);
	world_finish(&w);
}

static void test_no_sentence_shows_a_password(void)
{
	static const char *const texts[] = {
		"requirepass hunter2 hunter2",
		"requirepass \"hunter2",
		"requirepass \"hunter2\\x00\"",
		"requirepas hunter2",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct world w;
		CU_ASSERT_NOT_EQUAL(world_read_text(&w, texts[i]), OK);
		CU_ASSERT_PTR_NULL(strstr(w.why, "hunter2"));
		world_finish(&w);
	}
	struct world w;
	CU_ASSERT_EQUAL(world_read_text(&w, "requirepass hunter2"), OK);
	struct bytes out = {0};
	config_write(&w.config, &out);
	CU_ASSERT_FALSE(contains(bytes_slice(&out), "hunter2"));
	CU_ASSERT_TRUE(contains(bytes_slice(&out), "requirepass ********\n"));
	bytes_finish(&out);
	world_finish(&w);
}

static void test_include_is_found_beside_the_including_file(void)
{
	static const struct file files[] = {
		{"/etc/m/m.conf", "port 1\ninclude conf.d/a.conf\nport 3\n"},
		{"/etc/m/conf.d/a.conf", "port 2\ninclude /b.conf\n"},
		{"/b.conf", "timeout 9\nnonsense 1\n"},
		{NULL, NULL},
	};
	struct world w;
	CU_ASSERT_EQUAL(world_read(&w, files), -E_UNKNOWN);
	CU_ASSERT_EQUAL(w.config.timeout_ms, 9000);
	CU_ASSERT_EQUAL(w.config.port, 2);
	CU_ASSERT_STRING_EQUAL(w.why, "/b.conf:2: unknown directive nonsense");
	world_finish(&w);
}

static void test_redis_own_directives_are_noticed_not_refused(void)
{
	struct world w;
	CU_ASSERT_EQUAL(world_read_text(&w, "save 900 1\nappendonly yes\nreplica-read-only yes\n"
					    "cluster-enabled no\nhash-max-listpack-entries 512\n"
					    "oom-score-adj-values 0 200 800\nport 1"),
		OK);
	CU_ASSERT_EQUAL(w.notices, 6);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.notice, "m.conf:6: oom-score-adj-values has no effect"));
	world_finish(&w);
}

static void test_every_line_of_debians_redis_conf_is_understood(void)
{
	/* The directives that are in force in the file of Debian's redis-server 7.0, as they stand
	 * there. */
	struct world w;
	int err = world_read_text(&w,
		"bind 127.0.0.1 -::1\nprotected-mode yes\nport 6379\ntcp-backlog 511\ntimeout 0\n"
		"tcp-keepalive 300\ndaemonize yes\npidfile /run/redis/redis-server.pid\n"
		"loglevel notice\nlogfile /var/log/redis/redis-server.log\ndatabases 16\n"
		"always-show-logo no\nset-proc-title yes\nproc-title-template \"{title} "
		"{listen-addr}\"\nstop-writes-on-bgsave-error yes\nrdbcompression yes\n"
		"rdbchecksum yes\ndbfilename dump.rdb\nrdb-del-sync-files no\ndir /var/lib/redis\n"
		"replica-serve-stale-data yes\nreplica-read-only yes\nrepl-diskless-sync yes\n"
		"repl-diskless-sync-delay 5\nrepl-diskless-sync-max-replicas 0\n"
		"repl-disable-tcp-nodelay no\nreplica-priority 100\nacllog-max-len 128\n"
		"lazyfree-lazy-eviction no\nlazyfree-lazy-expire no\nlazyfree-lazy-server-del no\n"
		"replica-lazy-flush no\nlazyfree-lazy-user-del no\nlazyfree-lazy-user-flush no\n"
		"oom-score-adj no\noom-score-adj-values 0 200 800\ndisable-thp yes\nappendonly no\n"
		"appendfilename \"appendonly.aof\"\nappenddirname \"appendonlydir\"\n"
		"appendfsync everysec\nno-appendfsync-on-rewrite no\n"
		"auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 64mb\n"
		"aof-load-truncated yes\naof-use-rdb-preamble yes\naof-timestamp-enabled no\n"
		"slowlog-log-slower-than 10000\nslowlog-max-len 128\nlatency-monitor-threshold 0\n"
		"notify-keyspace-events \"\"\nhash-max-listpack-entries 512\n"
		"list-max-listpack-size -2\nlist-compress-depth 0\nset-max-intset-entries 512\n"
		"zset-max-listpack-entries 128\nhll-sparse-max-bytes 3000\n"
		"stream-node-max-bytes 4096\nactiverehashing yes\n"
		"client-output-buffer-limit normal 0 0 0\n"
		"client-output-buffer-limit replica 256mb 64mb 60\n"
		"client-output-buffer-limit pubsub 32mb 8mb 60\nhz 10\ndynamic-hz yes\n"
		"aof-rewrite-incremental-fsync yes\nrdb-save-incremental-fsync yes\n"
		"jemalloc-bg-thread yes\n");
	if (err != OK) {
		puts(w.why);
	}
	CU_ASSERT_EQUAL(err, OK);
	CU_ASSERT_EQUAL(config_check(&w.config, w.why), OK);
	world_finish(&w);
}

static void test_arguments_are_read_as_redis_server_reads_them(void)
{
	static const struct file files[] = {{"m.conf", "port 7000\ntimeout 1\n"}, {NULL, NULL}};
	struct world w;
	const char *argv[] = {"millraced", "m.conf", "--port", "7001", "--bind", "127.0.0.1", "::1",
		"--requirepass=--x", "--check-config", NULL};
	CU_ASSERT_EQUAL(world_args(&w, files, argv), OK);
	CU_ASSERT_EQUAL(w.action, CONFIG_CHECK);
	CU_ASSERT_EQUAL(w.config.port, 7001);
	CU_ASSERT_EQUAL(w.config.timeout_ms, 1000);
	CU_ASSERT_EQUAL(w.config.bind.count, 2);
	CU_ASSERT_STRING_EQUAL(w.config.requirepass, "--x");
	world_finish(&w);

	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--save", "900", "1"), OK);
	CU_ASSERT_EQUAL(w.notices, 1);
	CU_ASSERT_EQUAL(w.action, CONFIG_RUN);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--prot", "1"), -E_UNKNOWN);
	CU_ASSERT_STRING_EQUAL(w.why, "--prot: unknown directive prot; did you mean port?");
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--port"), -E_SYNTAX);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "-p", "1"), -E_SYNTAX);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "nowhere.conf"), -E_GONE);
	CU_ASSERT_STRING_EQUAL(w.why, "nowhere.conf cannot be read: No such file");
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--nonsense", "--help"), OK);
	CU_ASSERT_EQUAL(w.action, CONFIG_HELP);
	world_finish(&w);
}

static void test_open_address_needs_a_password_or_the_operators_word(void)
{
	struct world w;
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--bind", "127.0.0.1", "0.0.0.0"), -E_NOT_ALLOWED);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.why, "bind 0.0.0.0 lets other machines in"));
	CU_ASSERT_PTR_NOT_NULL(strstr(w.why, "protected-mode no"));
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--bind", "*", "--requirepass", "x"), OK);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--bind", "10.1.2.3", "--protected-mode", "no"), OK);
	world_finish(&w);
	CU_ASSERT_EQUAL(
		WORLD_ARGS(&w, "--bind", "127.0.0.1", "127.1.2.3", "::1", "-::1", "localhost"), OK);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--bind", "*", "--port", "0", "--unixsocket", "/tmp/x"), OK);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--line-bind", "*"), OK); /* there is no line listener */
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--line-bind", "*", "--server-name", "example.com",
				"--requirepass", "x"),
		-E_NOT_ALLOWED);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.why, "the line protocol has no password"));
	world_finish(&w);
}

static void test_settings_that_contradict_each_other_are_refused(void)
{
	struct world w;
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--port", "0"), -E_NOT_ALLOWED);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.why, "nothing to listen on"));
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--recv-buffers", "100"), -E_RANGE);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--line-ping-interval", "30"), -E_RANGE);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--server-name", "a/b"), -E_SYNTAX);
	world_finish(&w);
	CU_ASSERT_EQUAL(
		WORLD_ARGS(&w, "--unixsocket", "/x", "--line-unixsocket", "/x"), -E_NOT_ALLOWED);
	world_finish(&w);
}

static void test_config_set_changes_what_may_change(void)
{
	struct config config;
	char why[CONFIG_WHY_MAX] = "";
	config_init(&config);
	CU_ASSERT_EQUAL(config_set(&config, SLICE("MAXMEMORY"), SLICE("1mb"), why), OK);
	CU_ASSERT_EQUAL(config.maxmemory_bytes, 1 << 20);
	CU_ASSERT_EQUAL(config_set(&config, SLICE("requirepass"), SLICE("a b"), why), OK);
	CU_ASSERT_STRING_EQUAL(config.requirepass, "a b");
	CU_ASSERT_EQUAL(config_set(&config, SLICE("client-output-buffer-limit"),
				SLICE("pubsub 1mb 2mb 3 normal 0 0 0"), why),
		OK);
	CU_ASSERT_EQUAL(config.client_output_buffer_limit[CONFIG_CLASS_PUBSUB].hard_bytes, 1 << 20);
	CU_ASSERT_EQUAL(config_set(&config, SLICE("line-writers"), SLICE("a b"), why), OK);
	CU_ASSERT_EQUAL(config.line_writers.count, 2);
	CU_ASSERT_EQUAL(config_set(&config, SLICE("line-writers"), SLICE(""), why), OK);
	CU_ASSERT_EQUAL(config.line_writers.count, 0);
	CU_ASSERT_EQUAL(config_set(&config, SLICE("port"), SLICE("1"), why), -E_NOT_ALLOWED);
	CU_ASSERT_EQUAL(config_set(&config, SLICE("prot"), SLICE("1"), why), -E_UNKNOWN);
	CU_ASSERT_EQUAL(config_set(&config, SLICE("timeout"), SLICE("-1"), why), -E_SYNTAX);
	CU_ASSERT_EQUAL(config.port, 6380);
	config_finish(&config);
}

static void test_config_set_takes_back_what_the_check_refuses(void)
{
	struct world w;
	UNIT_REQUIRE(WORLD_ARGS(&w, "--bind", "*", "--requirepass", "old word") == OK);
	CU_ASSERT_EQUAL(
		config_set(&w.config, SLICE("requirepass"), SLICE(""), w.why), -E_NOT_ALLOWED);
	CU_ASSERT_STRING_EQUAL(w.config.requirepass, "old word");
	world_finish(&w);
}

static void collect(void *context, struct slice name, struct slice value)
{
	bytes_printf(context, "%.*s=%.*s\n", SLICE_ARG(name), SLICE_ARG(value));
}

static void test_config_get_matches_globs_without_case(void)
{
	struct config config;
	struct bytes out = {0};
	config_init(&config);
	config_get_each(&config, SLICE("MAX*"), collect, &out);
	CU_ASSERT_TRUE(slice_equal(bytes_slice(&out),
		SLICE("maxclients=10000\nmaxmemory=67108864\nmaxmemory-policy=volatile-ttl\n")));
	bytes_clear(&out);
	config_get_each(&config, SLICE("tcp-keepalive"), collect, &out);
	config_get_each(&config, SLICE("unixsocketperm"), collect, &out);
	config_get_each(&config, SLICE("client-output-*"), collect, &out);
	config_get_each(&config, SLICE("save"), collect, &out);
	config_get_each(&config, SLICE("appendonly"), collect, &out);
	config_get_each(&config, SLICE("rdbchecksum"), collect, &out);
	CU_ASSERT_TRUE(slice_equal(bytes_slice(&out),
		SLICE("tcp-keepalive=300\nunixsocketperm=700\n"
		      "client-output-buffer-limit=normal 134217728 0 0 replica 0 0 0 "
		      "pubsub 33554432 8388608 60\n"
		      "save=\nappendonly=no\n")));
	bytes_finish(&out);
	config_finish(&config);
}

static void test_written_configuration_reads_back(void)
{
	struct world a;
	struct world b;
	struct bytes first = {0};
	struct bytes second = {0};
	UNIT_REQUIRE(world_read_text(&a, "dir \"/a b\\\"\\\\c\"\nline-ping-interval 1ms00\n") ==
		     -E_SYNTAX);
	world_finish(&a);
	UNIT_REQUIRE(world_read_text(&a, "dir \"/a b\\\"\\\\c\"\nline-ping-interval 1500ms\n"
					 "bind 127.0.0.1 ::1\nserver-name x") == OK);
	config_write(&a.config, &first);
	bytes_append(&first, "", 1);
	UNIT_REQUIRE(world_read_text(&b, first.data) == OK);
	config_write(&b.config, &second);
	bytes_append(&second, "", 1);
	CU_ASSERT_STRING_EQUAL(first.data, second.data);
	CU_ASSERT_STRING_EQUAL(b.config.dir, "/a b\"\\c");
	bytes_finish(&first);
	bytes_finish(&second);
	world_finish(&a);
	world_finish(&b);
}

static void test_addresses_are_those_the_ring_listens_on(void)
{
	static const struct {
		const char *item, *address;
		bool optional;
	} cases[] = {
		{"127.0.0.1", "127.0.0.1:7", false},
		{"*", "0.0.0.0:7", false},
		{"-::*", "[::]:7", true},
		{"::1", "[::1]:7", false},
		{"[::1]", "[::1]:7", false},
		{"-::1", "[::1]:7", true},
		{"localhost", "127.0.0.1:7", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char out[128];
		CU_ASSERT_EQUAL(
			config_address(cases[i].item, 7, out, sizeof(out)), cases[i].optional);
		CU_ASSERT_STRING_EQUAL(out, cases[i].address);
	}
}

static void test_words_of_enums_stand_in_their_order(void)
{
	struct config config;
	char why[CONFIG_WHY_MAX];
	enum journal_level level;
	static const char *const levels[] = {"debug", "verbose", "notice", "warning"};
	config_init(&config);
	for (size_t i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(
			config_set(&config, SLICE("loglevel"), slice_of(levels[i]), why), OK);
		UNIT_REQUIRE(journal_level_parse(slice_of(levels[i]), &level) == OK);
		CU_ASSERT_EQUAL(config.loglevel, (int)level);
	}
	config_finish(&config);
	struct world w;
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--appendfsync", "always"), OK);
	CU_ASSERT_EQUAL(w.config.appendfsync, STORE_FSYNC_ALWAYS);
	world_finish(&w);
	CU_ASSERT_EQUAL(WORLD_ARGS(&w, "--appendfsync", "no"), OK);
	CU_ASSERT_EQUAL(w.config.appendfsync, STORE_FSYNC_NO);
	world_finish(&w);
}

static void test_help_tells_every_directive(void)
{
	struct bytes out = {0};
	size_t count;
	const struct directive *table = directive_table(&count);
	config_help(&out);
	for (size_t i = 0; i < count; i++) {
		char option[80];
		snprintf(option, sizeof(option), "\n  --%s <", table[i].name);
		CU_ASSERT_TRUE(contains(bytes_slice(&out), option));
	}
	bytes_finish(&out);
}

static char *read_manual(void)
{
	struct bytes text = {0};
	FILE *file = fopen(TESTS_DIR "/../docs/millrace.conf.5", "r");
	UNIT_REQUIRE(file != NULL);
	size_t len;
	while ((len = fread(bytes_reserve(&text, 65536), 1, 65536, file)) > 0) {
		text.len += len;
	}
	fclose(file);
	bytes_append(&text, "", 1);
	return text.data;
}

/* Name, type, sentence and default of each, as the table has them. */
static void test_manual_tells_every_directive(void)
{
	char *manual = read_manual();
	size_t count;
	const struct directive *table = directive_table(&count);
	for (size_t i = 0; i < count; i++) {
		struct bytes entry = {0};
		struct bytes initial = {0};
		bytes_printf(&entry, ".TP\n.BI %s \" ", table[i].name);
		directive_print_type(&table[i], &entry);
		bytes_printf(&entry, "\"\n%s\n", table[i].sentence);
		bytes_append(&entry, "", 1);
		const char *at = strstr(manual, entry.data);
		bool mutable = (table[i].flags & DIRECTIVE_MUTABLE) != 0;
		bool empty = table[i].initial[0] == '\0';
		bytes_printf(&initial, "\nDefault: %s.%s\n", empty ? "empty" : table[i].initial,
			mutable ? " Can be changed at run time." : "");
		bytes_append(&initial, "", 1);
		const char *behind = at == NULL ? NULL : strstr(at, "\nDefault: ");
		if (behind == NULL || strncmp(behind, initial.data, initial.len - 1) != 0) {
			printf("docs/millrace.conf.5 does not say:\n%s...%s", entry.data,
				initial.data);
			CU_FAIL("manual");
		}
		bytes_finish(&entry);
		bytes_finish(&initial);
	}
	const struct foreign_directive *foreign = directive_foreign_table(&count);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_PTR_NOT_NULL(strstr(manual, foreign[i].pattern));
	}
	free(manual);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_defaults_are_those_of_the_manual),
	UNIT_TEST(test_words_are_cut_as_redis_cuts_them),
	UNIT_TEST(test_file_sets_every_type),
	UNIT_TEST(test_error_names_file_line_and_what_it_must_be),
	UNIT_TEST(test_refused_value_leaves_the_old_one),
	UNIT_TEST(test_no_sentence_shows_a_password),
	UNIT_TEST(test_include_is_found_beside_the_including_file),
	UNIT_TEST(test_redis_own_directives_are_noticed_not_refused),
	UNIT_TEST(test_every_line_of_debians_redis_conf_is_understood),
	UNIT_TEST(test_arguments_are_read_as_redis_server_reads_them),
	UNIT_TEST(test_open_address_needs_a_password_or_the_operators_word),
	UNIT_TEST(test_settings_that_contradict_each_other_are_refused),
	UNIT_TEST(test_config_set_changes_what_may_change),
	UNIT_TEST(test_config_set_takes_back_what_the_check_refuses),
	UNIT_TEST(test_config_get_matches_globs_without_case),
	UNIT_TEST(test_written_configuration_reads_back),
	UNIT_TEST(test_addresses_are_those_the_ring_listens_on),
	UNIT_TEST(test_words_of_enums_stand_in_their_order),
	UNIT_TEST(test_help_tells_every_directive),
	UNIT_TEST(test_manual_tells_every_directive),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "config", tests);
}
