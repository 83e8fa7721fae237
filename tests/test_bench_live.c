/* millrace-bench against a real redis-server and the hub; and through a proxy that loses, doubles or swaps one message, which the
 * harness must notice: a judge that never says guilty is none.
 *
 *     millrace-bench ──▶ proxy (a thread; damages one message of one subscriber) ──▶ redis-server (unix socket)
 */
#include "bench/scan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "tests/unit.h"

enum { PAIRS_MAX = 200, CHUNK = 256 * 1024, OUTPUT_MAX = 16384 };

/* ---- the servers ---- */

struct server {
	char folder[64];
	char path[96];
	char line_path[96];
	pid_t pid; /* 0: not here */
	bool tried;
};

static struct server redis;
static struct server hub;

static int connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void server_stop(struct server *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGTERM);
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
	}
	unlink(s->path);
	unlink(s->line_path);
	rmdir(s->folder);
}

static void stop_all(void)
{
	server_stop(&redis);
	server_stop(&hub);
}

static void redis_run(const struct server *s)
{
	char tool[512];
	const char *source = getenv("MILLRACE_SOURCE");
	snprintf(tool, sizeof(tool), "%s/build/tools/redis-server", source == NULL ? "." : source);
	const char *const programs[] = {"redis-server", tool};
	for (int i = 0; i < 2; i++) {
		execlp(programs[i], "redis-server", "--port", "0", "--unixsocket", s->path,
			"--save", "", "--appendonly", "no", "--dir", s->folder, "--logfile",
			"/dev/null", (char *)NULL);
	}
}

static void hub_run(const struct server *s)
{
	const char *program = getenv("MILLRACED");
	program = program == NULL ? "./millraced" : program;
	execl(program, "millraced", "--port", "0", "--unixsocket", s->path, "--line-port", "0",
		"--line-unixsocket", s->line_path, "--http-port", "0", "--store", "none",
		"--server-name", "synapse.test", "--dir", s->folder, "--loglevel", "warning",
		(char *)NULL);
}

/* Start it at its first use. False, and the test is skipped, where this machine does not have it. */
static bool is_there(struct server *s, void (*run)(const struct server *s), const char *name)
{
	if (!s->tried) {
		s->tried = true;
		atexit(stop_all);
		snprintf(s->folder, sizeof(s->folder), "/tmp/millrace-bench-XXXXXX");
		UNIT_REQUIRE(mkdtemp(s->folder) != NULL);
		snprintf(s->path, sizeof(s->path), "%s/resp", s->folder);
		snprintf(s->line_path, sizeof(s->line_path), "%s/line", s->folder);
		s->pid = fork();
		if (s->pid == 0) {
			run(s);
			_exit(77);
		}
		int fd = -1;
		while (s->pid > 0 && (fd = connect_unix(s->path)) < 0) {
			if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
				s->pid = 0;
			}
			poll(NULL, 0, 5); /* until the socket is there */
		}
		close(fd);
	}
	if (s->pid == 0) {
		unit_skip(name);
	}
	return s->pid > 0;
}

static bool redis_is_there(void)
{
	return is_there(&redis, redis_run, "no redis-server");
}

static bool hub_is_there(void)
{
	return is_there(&hub, hub_run, "no millraced");
}

/* ---- the proxy ---- */

enum fault { NONE, LOSE, DOUBLE, SWAP };

struct pair {
	int client;
	int server;
	uint64_t messages;        /* that the client was sent */
	struct bytes from_server; /* not yet passed on */
	struct bytes held; /* the message that is to be swapped with the next different one */
};

static struct {
	int listener;
	int stop[2];
	uint16_t port;
	enum fault fault;
	uint64_t at; /* which message of the first subscriber that gets so many */
	bool damaged;
	struct pair pairs[PAIRS_MAX];
	size_t count;
	pthread_t thread;
} proxy;

static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
		if (sent <= 0) {
			return;
		}
		data += sent;
		len -= (size_t)sent;
	}
}

/* Pass one frame on, or damage it. */
static void pass_frame(
	struct pair *p, const char *data, size_t len, enum frame_kind kind, struct bytes *out)
{
	if (p->held.len > 0) {
		bool same = p->held.len == len && memcmp(p->held.data, data, len) == 0;
		bytes_append(out, same ? p->held.data : data, len);
		bytes_append(out, same ? data : p->held.data, p->held.len);
		bytes_clear(&p->held);
		return;
	}
	p->messages += kind == FRAME_MESSAGE ? 1 : 0;
	bool damage = kind == FRAME_MESSAGE && p->messages >= proxy.at && !proxy.damaged;
	if (!damage || proxy.fault == NONE) {
		bytes_append(out, data, len);
		return;
	}
	proxy.damaged = true;
	if (proxy.fault == SWAP) {
		bytes_append(&p->held, data, len);
	} else if (proxy.fault == DOUBLE) {
		bytes_append(out, data, len);
		bytes_append(out, data, len);
	}
}

static void pass_to_client(struct pair *p)
{
	struct bytes out = {0};
	struct frame frame;
	size_t at = 0;
	int taken;
	while ((taken = scan_resp(p->from_server.data + at, p->from_server.len - at, &frame)) > 0) {
		pass_frame(p, p->from_server.data + at, (size_t)taken, frame.kind, &out);
		at += (size_t)taken;
	}
	bytes_consume(&p->from_server, at);
	write_all(p->client, out.data, out.len);
	bytes_finish(&out);
}

/* False once one side is gone. */
static bool pass(struct pair *p, bool to_client)
{
	char *buffer = bytes_reserve(&p->from_server, CHUNK);
	ssize_t got = recv(to_client ? p->server : p->client, buffer, CHUNK, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN) {
		return true;
	}
	if (got <= 0) {
		return false;
	}
	if (to_client) {
		p->from_server.len += (size_t)got;
		pass_to_client(p);
	} else {
		write_all(p->server, buffer, (size_t)got);
	}
	return true;
}

static void accept_pair(void)
{
	int client = accept(proxy.listener, NULL, NULL);
	int server = connect_unix(redis.path);
	if (client < 0 || server < 0 || proxy.count == PAIRS_MAX) {
		abort();
	}
	proxy.pairs[proxy.count++] = (struct pair){.client = client, .server = server};
}

static void close_pair(struct pair *p)
{
	if (p->client >= 0) {
		close(p->client);
		close(p->server);
		p->client = -1;
		p->server = -1;
	}
}

static void *proxy_run(void *unused)
{
	(void)unused;
	struct pollfd fds[PAIRS_MAX * 2 + 2];
	for (;;) {
		size_t count = proxy.count;
		fds[0] = (struct pollfd){.fd = proxy.stop[0], .events = POLLIN};
		fds[1] = (struct pollfd){.fd = proxy.listener, .events = POLLIN};
		for (size_t i = 0; i < count; i++) {
			fds[2 + i * 2] =
				(struct pollfd){.fd = proxy.pairs[i].client, .events = POLLIN};
			fds[3 + i * 2] =
				(struct pollfd){.fd = proxy.pairs[i].server, .events = POLLIN};
		}
		poll(fds, 2 + count * 2, -1);
		if (fds[0].revents != 0) {
			return NULL;
		}
		if (fds[1].revents != 0) {
			accept_pair();
		}
		for (size_t i = 0; i < count; i++) {
			bool good = fds[2 + i * 2].revents == 0 || pass(&proxy.pairs[i], false);
			good = good && (fds[3 + i * 2].revents == 0 || pass(&proxy.pairs[i], true));
			if (!good) {
				close_pair(&proxy.pairs[i]);
			}
		}
	}
}

static void proxy_start(enum fault fault, uint64_t at)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	proxy.fault = fault;
	proxy.at = at;
	proxy.damaged = false;
	proxy.count = 0;
	proxy.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	UNIT_REQUIRE(bind(proxy.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	UNIT_REQUIRE(listen(proxy.listener, 512) == 0);
	UNIT_REQUIRE(getsockname(proxy.listener, (struct sockaddr *)&address, &len) == 0);
	proxy.port = ntohs(address.sin_port);
	UNIT_REQUIRE(pipe(proxy.stop) == 0);
	UNIT_REQUIRE(pthread_create(&proxy.thread, NULL, proxy_run, NULL) == 0);
}

static void proxy_stop(void)
{
	UNIT_REQUIRE(write(proxy.stop[1], "x", 1) == 1);
	pthread_join(proxy.thread, NULL);
	for (size_t i = 0; i < proxy.count; i++) {
		close_pair(&proxy.pairs[i]);
		bytes_finish(&proxy.pairs[i].from_server);
		bytes_finish(&proxy.pairs[i].held);
	}
	close(proxy.listener);
	close(proxy.stop[0]);
	close(proxy.stop[1]);
}

/* ---- millrace-bench ---- */

struct outcome {
	int status;
	char json[OUTPUT_MAX];
};

/* Run it with these arguments (words without blanks); its JSON and exit status. */
static void bench(struct outcome *out, const char *arguments, ...)
{
	const char *program = getenv("MILLRACE_BENCH");
	char line[1024];
	int len = snprintf(
		line, sizeof(line), "'%s' ", program == NULL ? "./millrace-bench" : program);
	va_list args;
	va_start(args, arguments);
	vsnprintf(line + len, sizeof(line) - (size_t)len, arguments, args);
	va_end(args);
	FILE *pipe = popen(line, "r");
	UNIT_REQUIRE(pipe != NULL);
	size_t got = fread(out->json, 1, OUTPUT_MAX - 1, pipe);
	out->json[got] = '\0';
	int status = pclose(pipe);
	out->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* A member of the JSON object, anywhere in it; a failure where it is not there. */
static double member(const struct outcome *out, const char *name)
{
	char key[64];
	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *at = strstr(out->json, key);
	if (at == NULL) {
		printf("no %s in %s\n", name, out->json);
		CU_FAIL("member");
		return -1;
	}
	return strtod(at + strlen(key), NULL);
}

static void expect_clean(const struct outcome *out)
{
	if (out->status != 0) {
		printf("status %d: %s\n", out->status, out->json);
	}
	CU_ASSERT_EQUAL(out->status, 0);
	CU_ASSERT_EQUAL(member(out, "lost"), 0);
	CU_ASSERT_EQUAL(member(out, "duplicates"), 0);
	CU_ASSERT_EQUAL(member(out, "reordered"), 0);
	CU_ASSERT_EQUAL(member(out, "disordered"), 0);
	CU_ASSERT_EQUAL(member(out, "foreign"), 0);
}

static void expect_fault(const struct outcome *out, enum fault fault)
{
	double disorder = member(out, "reordered") + member(out, "disordered");
	bool good = out->status == 1;
	if (fault == LOSE) {
		good = good && member(out, "lost") == 1 && member(out, "duplicates") == 0;
	} else if (fault == DOUBLE) {
		good = good && member(out, "lost") == 0 && member(out, "duplicates") == 1;
	} else {
		good = good && member(out, "lost") == 0 && member(out, "duplicates") == 0 &&
		       disorder >= 1;
	}
	if (!good) {
		printf("fault %d, status %d: %s\n", (int)fault, out->status, out->json);
	}
	CU_ASSERT(good);
}

static void test_bench_replay_through_redis_is_clean(void)
{
	struct outcome out;
	if (!redis_is_there()) {
		return;
	}
	bench(&out, "replay --json --socket %s --resp2 10 --resp3 10", redis.path);
	expect_clean(&out);
	CU_ASSERT(member(&out, "total") > 20 * 1800);
	CU_ASSERT(member(&out, "cpu_ns_each") > 0);
	bench(&out, "replay --json --socket %s --resp2 1 --resp3 2 --repeat 5", redis.path);
	expect_clean(&out);
	bench(&out, "replay --json --socket %s --speed 200 --resp2 3 --resp3 3", redis.path);
	expect_clean(&out);
	CU_ASSERT(member(&out, "seconds") > 0.2);
}

/* All three protocols at once; a line worker's own REPLICATE and its answer are no part of the recording. */
static void test_bench_replay_through_the_hub_is_clean(void)
{
	struct outcome out;
	if (!hub_is_there()) {
		return;
	}
	for (int round = 0; round < 3; round++) {
		bench(&out,
			"replay --json --socket %s --line-socket %s --resp2 5 --resp3 5 --line 5",
			hub.path, hub.line_path);
		expect_clean(&out);
		CU_ASSERT(member(&out, "total") > 10 * 1800 + 5 * 1400);
	}
}

static void test_bench_flows_through_redis_are_clean(void)
{
	struct outcome out;
	if (!redis_is_there()) {
		return;
	}
	bench(&out, "fan --json --socket %s --seconds 0.2 --warmup 0 --publishers 4", redis.path);
	expect_clean(&out);
	CU_ASSERT(member(&out, "deliveries") > 1000);
	bench(&out, "fan --json --socket %s --seconds 0.2 --rate 1000 --proto resp3", redis.path);
	expect_clean(&out);
	bench(&out, "ping --json --socket %s --seconds 0.2 --warmup 0", redis.path);
	expect_clean(&out);
	bench(&out, "tenants --json --socket %s --seconds 0.2 --tenants 20", redis.path);
	expect_clean(&out);
	bench(&out, "stall --json --socket %s --seconds 0.2 --warmup 0", redis.path);
	expect_clean(&out);
	CU_ASSERT(member(&out, "rate_ratio") > 0);
}

static void test_bench_cache_idle_and_storm_pass_on_redis(void)
{
	struct outcome out;
	if (!redis_is_there()) {
		return;
	}
	bench(&out, "cache --json --socket %s --seconds 0.2 --warmup 0", redis.path);
	CU_ASSERT_EQUAL(out.status, 0);
	CU_ASSERT(member(&out, "right") > 1000);
	bench(&out, "idle --json --socket %s --seconds 0.1 --idle 50", redis.path);
	CU_ASSERT_EQUAL(out.status, 0);
	CU_ASSERT(member(&out, "rss_with_bytes") > 0);
	bench(&out, "storm --json --socket %s --workers 12", redis.path);
	CU_ASSERT_EQUAL(out.status, 0);
	CU_ASSERT_EQUAL(member(&out, "one_order"), 1);
}

static void test_bench_is_not_misled_by_a_proxy_that_is_honest(void)
{
	struct outcome out;
	if (!redis_is_there()) {
		return;
	}
	proxy_start(NONE, 0);
	bench(&out, "replay --json --port %u --resp2 5 --resp3 5", proxy.port);
	expect_clean(&out);
	bench(&out, "fan --json --port %u --subscribers 5 --seconds 0.1 --warmup 0", proxy.port);
	expect_clean(&out);
	proxy_stop();
}

/* Each fault at several places of the recording. */
static void test_bench_replay_notices_each_fault(void)
{
	static const uint64_t places[] = {1, 2, 77, 500, 1111, 1840};
	if (!redis_is_there()) {
		return;
	}
	for (enum fault fault = LOSE; fault <= SWAP; fault++) {
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			struct outcome out;
			proxy_start(fault, places[i]);
			bench(&out, "replay --json --port %u --resp2 2 --resp3 2", proxy.port);
			expect_fault(&out, fault);
			proxy_stop();
		}
	}
}

static void test_bench_fan_notices_each_fault(void)
{
	if (!redis_is_there()) {
		return;
	}
	for (enum fault fault = LOSE; fault <= SWAP; fault++) {
		struct outcome out;
		proxy_start(fault, 1000);
		bench(&out,
			"fan --json --port %u --subscribers 3 --publishers 3 --seconds 0.1 "
			"--warmup 0",
			proxy.port);
		expect_fault(&out, fault);
		proxy_stop();
	}
}

static void test_bench_says_so_when_it_cannot_run(void)
{
	struct outcome out;
	bench(&out, "replay --socket /nowhere 2>/dev/null");
	CU_ASSERT_EQUAL(out.status, 2);
	bench(&out, "fan --nonsense 2>/dev/null");
	CU_ASSERT_EQUAL(out.status, 2);
	bench(&out, "fan --size 5 2>/dev/null");
	CU_ASSERT_EQUAL(out.status, 2);
	bench(&out, "nonsense 2>/dev/null");
	CU_ASSERT_EQUAL(out.status, 2);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_bench_replay_through_redis_is_clean),
	UNIT_TEST(test_bench_replay_through_the_hub_is_clean),
	UNIT_TEST(test_bench_flows_through_redis_are_clean),
	UNIT_TEST(test_bench_cache_idle_and_storm_pass_on_redis),
	UNIT_TEST(test_bench_is_not_misled_by_a_proxy_that_is_honest),
	UNIT_TEST(test_bench_replay_notices_each_fault),
	UNIT_TEST(test_bench_fan_notices_each_fault),
	UNIT_TEST(test_bench_says_so_when_it_cannot_run),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "bench_live", tests);
}
