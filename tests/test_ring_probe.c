/* Where io_uring is refused: epoll takes over, and one sentence says why; and the small parts of the ring that have
 * a contract of their own: addresses, listeners' files, receive memory. */
#include "ring/probe.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ring/buffers.h"
#include "tests/test_ring_frame.h"

/* Makes a system call fail in this process from now on, as a container's filter does. */
static bool refuse_call(uint32_t number, uint32_t errnum)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errnum),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* What one child under such a filter found out. */
struct verdict {
	bool filtered;
	int auto_err, uring_err;
	char engine[8], why[PROBE_WHY_MAX], log[1024];
};

static void find_out(uint32_t number, uint32_t errnum, struct verdict *verdict)
{
	struct ring *ring = NULL;
	int log[2];
	verdict->filtered = refuse_call(number, errnum) && pipe(log) == 0;
	if (!verdict->filtered) {
		return;
	}
	probe_uring(verdict->why);
	journal_init(JOURNAL_NOTICE, log[1]);
	struct ring_options options = small_options("auto");
	verdict->auto_err = ring_create(&options, &ring);
	if (verdict->auto_err == OK) {
		snprintf(verdict->engine, sizeof(verdict->engine), "%s", ring_engine(ring));
		ring_destroy(ring);
	}
	ssize_t got = read(log[0], verdict->log, sizeof(verdict->log) - 1);
	verdict->log[got > 0 ? got : 0] = '\0';
	options.engine = "uring";
	verdict->uring_err = ring_create(&options, &ring);
}

static struct verdict under_filter(uint32_t number, uint32_t errnum)
{
	struct verdict verdict = {.filtered = false};
	int back[2];
	UNIT_REQUIRE(pipe(back) == 0);
	fflush(stdout);
	pid_t child = fork();
	UNIT_REQUIRE(child >= 0);
	if (child == 0) {
		find_out(number, errnum, &verdict);
		ssize_t written = write(back[1], &verdict, sizeof(verdict));
		_exit(written == sizeof(verdict) ? 0 : 1);
	}
	UNIT_REQUIRE(read(back[0], &verdict, sizeof(verdict)) == sizeof(verdict));
	waitpid(child, NULL, 0);
	close(back[0]);
	close(back[1]);
	return verdict;
}

static void expect_epoll(uint32_t number, uint32_t errnum, const char *word)
{
	struct verdict verdict = under_filter(number, errnum);
	if (!verdict.filtered) {
		unit_skip("this machine allows no seccomp filter");
		return;
	}
	CU_ASSERT_EQUAL(verdict.auto_err, OK);
	CU_ASSERT_STRING_EQUAL(verdict.engine, "epoll");
	CU_ASSERT_EQUAL(verdict.uring_err, -E_UNSUPPORTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(verdict.why, word));
	CU_ASSERT_PTR_NOT_NULL(strstr(verdict.why, "would help"));
	CU_ASSERT_PTR_NOT_NULL(strstr(verdict.log, "the ring uses epoll: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(verdict.log, verdict.why));
}

static void test_ring_refused_by_a_filter_falls_back_to_epoll_and_says_why(void)
{
	expect_epoll(SYS_io_uring_setup, EPERM, "seccomp");
	expect_epoll(SYS_io_uring_setup, ENOSYS, "Linux");
	expect_epoll(SYS_io_uring_setup, ENOMEM, "LimitMEMLOCK");
	expect_epoll(SYS_io_uring_setup, EMFILE, "LimitNOFILE");
}

static void test_ring_whose_self_test_fails_falls_back_to_epoll_and_says_where(void)
{
	expect_epoll(SYS_io_uring_register, EPERM, "io_uring_register");
	expect_epoll(SYS_io_uring_enter, EPERM, "multishot");
}

static void test_ring_self_test_passes_or_says_why_not(void)
{
	char why[PROBE_WHY_MAX] = "";
	int err = probe_uring(why);
	CU_ASSERT_TRUE(err == OK || err == -E_UNSUPPORTED);
	CU_ASSERT_TRUE(strlen(why) > 10);
	printf("%s ...", why);
}

static void test_ring_auto_uses_io_uring_where_it_may(void)
{
	if (uring_allowed()) {
		struct world *world = world_of("auto");
		CU_ASSERT_STRING_EQUAL(ring_engine(world->ring), "uring");
		world_end(world);
	}
}

static void test_address_reads_and_prints_what_people_write(void)
{
	static const char *const good[] = {"127.0.0.1:6380", "0.0.0.0:0", "[::1]:80",
		"[fe80::1]:65535", "unix:/run/millrace/redis.sock", "unix:relative"};
	static const char *const bad[] = {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
		"127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1:1x", "localhost:1", "::1:80", "[::1]80",
		"[::1:80", "[]:80", "[127.0.0.1]:80", "1.2.3:4", "unix:", ":80", "[:80"};
	struct address address;
	char text[RING_ADDRESS_MAX];
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CU_ASSERT_EQUAL(address_parse(good[i], &address), OK);
		address_print(&address, text);
		CU_ASSERT_STRING_EQUAL(text, good[i]);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(address_parse(bad[i], &address), -E_SYNTAX);
	}
	char path[5 + 108 + 1] = "unix:";
	memset(path + 5, 'x', 107);
	CU_ASSERT_EQUAL(address_parse(path, &address), OK);
	address_print(&address, text);
	CU_ASSERT_STRING_EQUAL(text, path);
	path[5 + 107] = 'x';
	CU_ASSERT_EQUAL(address_parse(path, &address), -E_SYNTAX);
}

static void test_ring_unix_socket_file_has_its_mode_and_goes_with_its_listener(const char *engine)
{
	struct world *world = world_of(engine);
	struct stat found;
	const char *path = scratch_path();
	char address[RING_ADDRESS_MAX];
	snprintf(address, sizeof(address), "unix:%s", path);
	world_listen(world, address);
	CU_ASSERT_STRING_EQUAL(world->bound, address);
	UNIT_REQUIRE(stat(path, &found) == 0);
	CU_ASSERT_EQUAL(found.st_mode & 0777, 0600);
	turn(world, 0);
	ring_unlisten(world->ring, 99); /* nobody's tag */
	int peer = peer_connect(world->bound);
	CU_ASSERT_TRUE(peer >= 0);
	close(peer);
	ring_unlisten(world->ring, 7);
	CU_ASSERT_NOT_EQUAL(stat(path, &found), 0);
	CU_ASSERT_EQUAL(peer_connect(world->bound), -1);
	CU_ASSERT_EQUAL(ring_listen(world->ring, world->bound, 0666, 8, NULL), OK);
	UNIT_REQUIRE(stat(path, &found) == 0);
	CU_ASSERT_EQUAL(found.st_mode & 0777, 0666);
	world_end(world);
	CU_ASSERT_NOT_EQUAL(stat(path, &found), 0);
}
BOTH(test_ring_unix_socket_file_has_its_mode_and_goes_with_its_listener)

static void test_ring_replaces_a_socket_file_only_if_nobody_listens(const char *engine)
{
	struct world *world = world_of(engine);
	struct address parsed;
	const char *text = scratch_address();
	UNIT_REQUIRE(address_parse(text, &parsed) == OK);
	int old = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	UNIT_REQUIRE(bind(old, &parsed.any, parsed.len) == 0 && listen(old, 5) == 0);
	CU_ASSERT_EQUAL(ring_listen(world->ring, text, 0600, 1, NULL), -E_IN_USE);
	close(old); /* killed: the file stays */
	struct stat found;
	UNIT_REQUIRE(stat(parsed.local.sun_path, &found) == 0);
	CU_ASSERT_EQUAL(ring_listen(world->ring, text, 0600, 1, world->bound), OK);
	struct record *record;
	int peer = peer_of(world, &record);
	close(peer);
	/* Somebody else took the place meanwhile: it is not ours to remove. */
	unlink(parsed.local.sun_path);
	int file = open(parsed.local.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	UNIT_REQUIRE(file >= 0);
	close(file);
	ring_unlisten(world->ring, 1);
	CU_ASSERT_EQUAL(stat(parsed.local.sun_path, &found), 0);
	CU_ASSERT_EQUAL(ring_listen(world->ring, text, 0600, 1, NULL), -E_IN_USE);
	unlink(parsed.local.sun_path);
	world_end(world);
}
BOTH(test_ring_replaces_a_socket_file_only_if_nobody_listens)

/* A hub that is killed and comes back at once: the kernel may not have let go of its sockets yet. */
static void test_ring_listens_where_its_killed_predecessor_did(const char *engine)
{
	char where[RING_ADDRESS_MAX] = "127.0.0.1:0";
	for (unsigned round = 0; round < 5; round++) {
		int ready[2];
		UNIT_REQUIRE(pipe(ready) == 0);
		fflush(stdout);
		pid_t child = fork();
		UNIT_REQUIRE(child >= 0);
		if (child == 0) {
			struct ring *ring;
			struct ring_event events[EVENTS];
			struct ring_options options = small_options(engine);
			bool listens = ring_create(&options, &ring) == OK &&
				       ring_listen(ring, where, 0600, 1, where) == OK &&
				       ring_wait(ring, 0, events, EVENTS) >= 0;
			ssize_t written = write(ready[1], where, sizeof(where));
			while (listens && written > 0) {
				ring_wait(ring, UINT64_MAX, events, EVENTS);
			}
			_exit(1);
		}
		UNIT_REQUIRE(read(ready[0], where, sizeof(where)) == sizeof(where));
		int peer = peer_connect(where);
		CU_ASSERT_TRUE(peer >= 0);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		struct world *world = world_of(engine);
		CU_ASSERT_EQUAL(ring_listen(world->ring, where, 0600, 1, NULL), OK);
		world_end(world);
		close(peer);
		close(ready[0]);
		close(ready[1]);
	}
}
BOTH(test_ring_listens_where_its_killed_predecessor_did)

static void test_ring_listening_fails_clearly(const char *engine)
{
	struct world *world = world_of(engine);
	world_listen(world, "127.0.0.1:0");
	CU_ASSERT_EQUAL(ring_listen(world->ring, world->bound, 0, 1, NULL), -E_IN_USE);
	CU_ASSERT_EQUAL(ring_listen(world->ring, "no address", 0, 1, NULL), -E_SYNTAX);
	CU_ASSERT_EQUAL(ring_listen(world->ring, "unix:/nowhere/at/all", 0, 1, NULL), -E_GONE);
	CU_ASSERT_NOT_EQUAL(ring_listen(world->ring, "192.0.2.1:0", 0, 1, NULL), OK);
	unsigned open = 1;
	while (ring_listen(world->ring, "127.0.0.1:0", 0, 1, NULL) == OK) {
		open++;
	}
	CU_ASSERT_EQUAL(open, 64);
	turn(world, 0);
	ring_unlisten(world->ring, 1);
	for (unsigned i = 0; i < 5; i++) {
		turn(world, 1);
	}
	CU_ASSERT_EQUAL(ring_listen(world->ring, "127.0.0.1:0", 0, 1, NULL), OK);
	world_end(world);
}
BOTH(test_ring_listening_fails_clearly)

static void test_buffers_window_follows_the_need(void)
{
	enum { COUNT = 256, SECOND = 1000000000 };
	struct buffers buffers;
	uint64_t now_ns = 1;
	unsigned given = 0;
	UNIT_REQUIRE(buffers_init(&buffers, COUNT, 4096) == OK);
	buffers_turn(&buffers, now_ns);
	while (buffers_give(&buffers) >= 0) {
		given++;
	}
	CU_ASSERT_EQUAL(given, 16); /* an idle process touches few */
	for (unsigned i = 0; i < 10; i++) {
		buffers_starved(&buffers);
		buffers_starved(&buffers); /* by many at once is by one */
		buffers_turn(&buffers, now_ns);
		CU_ASSERT_EQUAL(buffers.window, i < 4 ? 32u << i : COUNT);
	}
	while (buffers_give(&buffers) >= 0) {
		given++;
	}
	CU_ASSERT_EQUAL(given, COUNT); /* and never more than there are */
	for (unsigned second = 0; second < 10; second++) {
		now_ns += SECOND;
		for (unsigned id = 0; id < 8; id++) {
			buffers_use(&buffers, id);
			buffers_turn(&buffers, now_ns);
			while (buffers_give(&buffers) >= 0) {
			}
		}
	}
	CU_ASSERT_EQUAL(buffers.window, 16);
	CU_ASSERT_EQUAL(buffers.going_round + buffers.resting_count, COUNT);
	buffers_finish(&buffers);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_ring_refused_by_a_filter_falls_back_to_epoll_and_says_why),
	UNIT_TEST(test_ring_whose_self_test_fails_falls_back_to_epoll_and_says_where),
	UNIT_TEST(test_ring_self_test_passes_or_says_why_not),
	UNIT_TEST(test_ring_auto_uses_io_uring_where_it_may),
	UNIT_TEST(test_address_reads_and_prints_what_people_write),
	UNIT_BOTH(test_ring_unix_socket_file_has_its_mode_and_goes_with_its_listener),
	UNIT_BOTH(test_ring_replaces_a_socket_file_only_if_nobody_listens),
	UNIT_BOTH(test_ring_listens_where_its_killed_predecessor_did),
	UNIT_BOTH(test_ring_listening_fails_clearly),
	UNIT_TEST(test_buffers_window_follows_the_need),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "ring_probe", tests);
}
