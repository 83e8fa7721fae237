/* The ring's contract: listening, accepting, connecting, closing, names and counters; on both backends. */
#include "ring/ring.h"

#include <sys/resource.h>

#include "tests/test_ring_frame.h"

static void echo_over(const char *engine, const char *address)
{
	struct world *world = world_of(engine);
	struct record *record;
	char answer[5];
	world_listen(world, address);
	int peer = peer_of(world, &record);
	CU_ASSERT_EQUAL(record->listener, 7);
	peer_write(peer, "hello", 5);
	PUMP(world, record->received.len == 5);
	CU_ASSERT_EQUAL(send_bytes(world, record, record->received.data, 5), OK);
	PUMP(world, record->sent == 1);
	CU_ASSERT_EQUAL(record->sent_error, OK);
	CU_ASSERT_EQUAL(record->sent_bytes, 5);
	peer_read(peer, answer, 5);
	CU_ASSERT_EQUAL(memcmp(answer, "hello", 5), 0);
	ring_close(world->ring, record->socket, false);
	PUMP(world, record->closed == 1);
	CU_ASSERT_TRUE(peer_sees_end(peer));
	CU_ASSERT_EQUAL(ring_stats(world->ring)->sockets, 0);
	CU_ASSERT_STRING_EQUAL(ring_engine(world->ring), engine);
	close(peer);
	world_end(world);
}

static void test_ring_accepts_and_echoes_over_tcp(const char *engine)
{
	echo_over(engine, "127.0.0.1:0");
}
BOTH(test_ring_accepts_and_echoes_over_tcp)

static void test_ring_accepts_and_echoes_over_a_unix_socket(const char *engine)
{
	echo_over(engine, scratch_address());
}
BOTH(test_ring_accepts_and_echoes_over_a_unix_socket)

static void test_ring_accepts_and_echoes_over_ipv6(const char *engine)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 loopback = {
		.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;
	if (fd >= 0) {
		close(fd);
	}
	if (!has) {
		unit_skip("this machine has no IPv6 loopback address");
		return;
	}
	echo_over(engine, "[::1]:0");
}
BOTH(test_ring_accepts_and_echoes_over_ipv6)

static void test_ring_works_one_event_at_a_time(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record[3];
	int peer[3];
	world->events_max = 1;
	world_listen(world, "127.0.0.1:0");
	for (unsigned i = 0; i < 3; i++) {
		peer[i] = peer_of(world, &record[i]);
		peer_write(peer[i], "abc", 3);
		CU_ASSERT_EQUAL(send_bytes(world, record[i], "xyz", 3), OK);
	}
	for (unsigned i = 0; i < 3; i++) {
		PUMP(world, record[i]->received.len == 3 && record[i]->sent == 1);
		close(peer[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		PUMP(world, record[i]->eof == 1);
		ring_close(world->ring, record[i]->socket, false);
	}
	PUMP(world, world->closed == 3);
	world_end(world);
}
BOTH(test_ring_works_one_event_at_a_time)

static void test_ring_says_who_is_at_the_other_end(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	char text[RING_ADDRESS_MAX], expected[RING_ADDRESS_MAX];
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	struct sockaddr_in own;
	socklen_t len = sizeof(own);
	UNIT_REQUIRE(getsockname(peer, (struct sockaddr *)&own, &len) == 0);
	snprintf(expected, sizeof(expected), "127.0.0.1:%u", ntohs(own.sin_port));
	CU_ASSERT_EQUAL(ring_peer_address(world->ring, record->socket, text), OK);
	CU_ASSERT_STRING_EQUAL(text, expected);
	CU_ASSERT_EQUAL(ring_peer_pid(world->ring, record->socket), 0);
	close(peer);
	world_listen(world, scratch_address());
	peer = peer_of(world, &record);
	CU_ASSERT_EQUAL(ring_peer_address(world->ring, record->socket, text), OK);
	CU_ASSERT_STRING_EQUAL(text, world->bound);
	CU_ASSERT_EQUAL(ring_peer_pid(world->ring, record->socket), getpid());
	close(peer);
	world_end(world);
}
BOTH(test_ring_says_who_is_at_the_other_end)

static int get_option(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);
	getsockopt(fd, level, option, &value, &len);
	return value;
}

static void test_ring_accepted_sockets_have_nodelay_keepalive_and_timeouts(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	ring_set_timeouts(world->ring, record->socket, 31000, 30);
	ring_release(world->ring, record->socket);
	PUMP(world, record->released == 1);
	CU_ASSERT_EQUAL(get_option(record->fd, IPPROTO_TCP, TCP_NODELAY), 1);
	CU_ASSERT_EQUAL(get_option(record->fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	CU_ASSERT_EQUAL(get_option(record->fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 31000);
	CU_ASSERT_EQUAL(get_option(record->fd, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	CU_ASSERT_EQUAL(fcntl(record->fd, F_GETFD), FD_CLOEXEC);
	close(record->fd);
	close(peer);
	world_end(world);
}
BOTH(test_ring_accepted_sockets_have_nodelay_keepalive_and_timeouts)

static void test_ring_stale_names_are_refused_and_harmless(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	char text[RING_ADDRESS_MAX];
	struct iovec piece = {text, 1};
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	struct ring_socket old = record->socket, never = {0, 0}, far = {SOCKETS + 5, 1};
	ring_close(world->ring, old, false);
	ring_close(world->ring, old, false); /* closing twice is closing once */
	CU_ASSERT_EQUAL(ring_send(world->ring, old, &piece, 1), -E_GONE);
	PUMP(world, record->closed == 1);
	close(peer);
	peer = peer_of(world, &record);
	CU_ASSERT_EQUAL(record->socket.slot, old.slot); /* numbers are dense and reused */
	CU_ASSERT_NOT_EQUAL(record->socket.generation, old.generation);
	const struct ring_socket stale[] = {old, never, far};
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(ring_send(world->ring, stale[i], &piece, 1), -E_GONE);
		CU_ASSERT_EQUAL(ring_peer_address(world->ring, stale[i], text), -E_GONE);
		CU_ASSERT_STRING_EQUAL(text, "?");
		CU_ASSERT_EQUAL(ring_peer_pid(world->ring, stale[i]), 0);
		ring_set_timeouts(world->ring, stale[i], 1, 1);
		ring_pause(world->ring, stale[i]);
		ring_resume(world->ring, stale[i]);
		ring_release(world->ring, stale[i]);
		ring_close(world->ring, stale[i], true);
	}
	peer_write(peer, "still here", 10);
	PUMP(world, record->received.len == 10);
	close(peer);
	world_end(world);
}
BOTH(test_ring_stale_names_are_refused_and_harmless)

static void test_ring_gives_every_life_of_a_slot_its_own_generation(const char *engine)
{
	struct world *world = world_of(engine);
	world_listen(world, scratch_address());
	struct record *record;
	uint32_t generation = 0;
	for (unsigned i = 0; i < 300; i++) {
		int peer = peer_of(world, &record);
		UNIT_REQUIRE(record->socket.slot <= 1);
		if (record->socket.slot == 0) {
			UNIT_REQUIRE(record->socket.generation > generation);
			generation = record->socket.generation;
		}
		ring_close(world->ring, record->socket, i % 2 == 0);
		PUMP(world, record->closed == 1);
		close(peer);
	}
	CU_ASSERT_EQUAL(ring_stats(world->ring)->accepted, 300);
	world_end(world);
}
BOTH(test_ring_gives_every_life_of_a_slot_its_own_generation)

static void test_ring_refuses_newcomers_when_all_slots_are_taken(const char *engine)
{
	struct ring_options options = small_options(engine);
	options.sockets_max = 2;
	struct world *world = world_with(options);
	struct record *first, *second;
	struct ring_socket none;
	world_listen(world, "127.0.0.1:0");
	int a = peer_of(world, &first), b = peer_of(world, &second);
	int c = peer_connect(world->bound);
	PUMP(world, peer_sees_end(c));
	CU_ASSERT_EQUAL(ring_stats(world->ring)->refused_full, 1);
	CU_ASSERT_EQUAL(ring_stats(world->ring)->sockets, 2);
	CU_ASSERT_EQUAL(ring_connect(world->ring, world->bound, 1000000000u, &none), -E_FULL);
	CU_ASSERT_EQUAL(ring_adopt(world->ring, c, &none), -E_FULL);
	ring_close(world->ring, first->socket, false);
	PUMP(world, first->closed == 1);
	turn(world, 0);
	int d = peer_of(world, &first);
	CU_ASSERT_EQUAL(world->accepted, 3);
	const int all[] = {a, b, c, d};
	for (unsigned i = 0; i < 4; i++) {
		close(all[i]);
	}
	world_end(world);
}
BOTH(test_ring_refuses_newcomers_when_all_slots_are_taken)

static void test_ring_without_descriptors_waits_and_does_not_spin(const char *engine)
{
	struct world *world = world_of(engine);
	struct rlimit limit;
	world_listen(world, scratch_address());
	int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct address parsed;
	UNIT_REQUIRE(address_parse(world->bound, &parsed) == OK);
	UNIT_REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	struct rlimit tight = {.rlim_cur = (rlim_t)peer + 1, .rlim_max = limit.rlim_max};
	journal_init(JOURNAL_NOTICE, -1);
	UNIT_REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
	UNIT_REQUIRE(connect(peer, &parsed.any, parsed.len) == 0);
	PUMP(world, ring_stats(world->ring)->refused_full > 0);
	uint64_t before = ring_stats(world->ring)->enters;
	PUMP(world, ring_stats(world->ring)->refused_full > 2);
	CU_ASSERT_TRUE(ring_stats(world->ring)->enters - before < 100);
	UNIT_REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	PUMP(world, world->accepted == 1); /* nobody was turned away */
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
	close(peer);
	world_end(world);
}
BOTH(test_ring_without_descriptors_waits_and_does_not_spin)

static void test_ring_connects_to_a_listener(const char *engine)
{
	struct world *world = world_of(engine);
	const char *addresses[] = {"127.0.0.1:0", scratch_address()};
	for (unsigned i = 0; i < 2; i++) {
		struct ring_socket socket;
		char text[RING_ADDRESS_MAX];
		world->accepted = 0;
		world_listen(world, addresses[i]);
		UNIT_REQUIRE(ring_connect(world->ring, world->bound, 5000000000u, &socket) == OK);
		struct record *here = record_begin(world, socket);
		PUMP(world, here->connected && world->accepted == 1);
		CU_ASSERT_EQUAL(here->connect_error, OK);
		CU_ASSERT_EQUAL(ring_peer_address(world->ring, socket, text), OK);
		CU_ASSERT_STRING_EQUAL(text, world->bound);
		struct record *there = NULL;
		for (unsigned slot = 0; slot < SOCKETS; slot++) {
			struct record *record = &world->record[slot];
			there = record->accepted && record->closed == 0 ? record : there;
		}
		UNIT_REQUIRE(there != NULL);
		CU_ASSERT_EQUAL(send_bytes(world, here, "ping", 4), OK);
		PUMP(world, there->received.len == 4);
		ring_close(world->ring, here->socket, false);
		PUMP(world, here->closed == 1 && there->eof == 1);
		CU_ASSERT_EQUAL(there->eof_error, OK);
		ring_close(world->ring, there->socket, false);
		PUMP(world, there->closed == 1);
	}
	world_end(world);
}
BOTH(test_ring_connects_to_a_listener)

/* The record of a connect that has failed. */
static struct record *fail_to_connect(struct world *world, const char *address, uint64_t timeout_ns)
{
	struct ring_socket socket;
	UNIT_REQUIRE(ring_connect(world->ring, address, timeout_ns, &socket) == OK);
	struct record *record = record_begin(world, socket);
	CU_ASSERT_EQUAL(send_bytes(world, record, "x", 1), -E_GONE);
	PUMP(world, record->connected);
	CU_ASSERT_NOT_EQUAL(record->connect_error, OK);
	CU_ASSERT_EQUAL(send_bytes(world, record, "x", 1), -E_GONE);
	ring_close(world->ring, socket, false);
	PUMP(world, record->closed == 1);
	return record;
}

static void test_ring_connect_that_is_refused_says_so(const char *engine)
{
	struct world *world = world_of(engine);
	world_listen(world, "127.0.0.1:0");
	turn(world, 0);
	ring_unlisten(world->ring, 7);
	turn(world, 0);
	CU_ASSERT_EQUAL(peer_connect(world->bound), -1);
	struct record *record = fail_to_connect(world, world->bound, 5000000000u);
	CU_ASSERT_EQUAL(record->connect_error, -E_REFUSED);
	record = fail_to_connect(world, scratch_address(), 5000000000u);
	CU_ASSERT_EQUAL(record->connect_error, -E_GONE);
	struct ring_socket socket;
	CU_ASSERT_EQUAL(ring_connect(world->ring, "localhost:1", 1, &socket), -E_SYNTAX);
	world_end(world);
}
BOTH(test_ring_connect_that_is_refused_says_so)

/* A listener that answers nobody: its queue is full, and the kernel drops who else comes. */
struct deaf {
	int fd, waiting[4];
	char address[RING_ADDRESS_MAX];
};

static void deaf_begin(struct deaf *deaf)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	deaf->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	UNIT_REQUIRE(bind(deaf->fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	UNIT_REQUIRE(listen(deaf->fd, 0) == 0);
	UNIT_REQUIRE(getsockname(deaf->fd, (struct sockaddr *)&at, &len) == 0);
	snprintf(deaf->address, sizeof(deaf->address), "127.0.0.1:%u", ntohs(at.sin_port));
	for (unsigned i = 0; i < 4; i++) {
		deaf->waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		int ignored = connect(deaf->waiting[i], (struct sockaddr *)&at, sizeof(at));
		(void)ignored;
	}
}

static void deaf_end(struct deaf *deaf)
{
	for (unsigned i = 0; i < 4; i++) {
		close(deaf->waiting[i]);
	}
	close(deaf->fd);
}

static void test_ring_connect_that_nobody_answers_times_out(const char *engine)
{
	struct world *world = world_of(engine);
	struct deaf deaf;
	deaf_begin(&deaf);
	uint64_t before_ns = ring_clock_ns();
	struct record *record = fail_to_connect(world, deaf.address, 50 * 1000000u);
	CU_ASSERT_EQUAL(record->connect_error, -E_TIMEOUT);
	CU_ASSERT_TRUE(ring_clock_ns() - before_ns >= 50 * 1000000u);
	deaf_end(&deaf);
	world_end(world);
}
BOTH(test_ring_connect_that_nobody_answers_times_out)

static void test_ring_close_while_connecting_ends_with_closed_alone(const char *engine)
{
	struct world *world = world_of(engine);
	struct ring_socket socket;
	struct deaf deaf;
	deaf_begin(&deaf);
	for (unsigned i = 0; i < 2; i++) {
		UNIT_REQUIRE(ring_connect(world->ring, deaf.address, UINT64_MAX, &socket) == OK);
		struct record *record = record_begin(world, socket);
		turn(world, 0);
		ring_close(world->ring, socket, i == 1);
		PUMP(world, record->closed == 1);
		CU_ASSERT_FALSE(record->connected);
	}
	deaf_end(&deaf);
	world_end(world);
}
BOTH(test_ring_close_while_connecting_ends_with_closed_alone)

static void test_ring_now_never_goes_back(const char *engine)
{
	struct world *world = world_of(engine);
	struct instant last = ring_now(world->ring);
	CU_ASSERT_TRUE(llabs((long long)time(NULL) - last.wall_ms / 1000) <= 2);
	for (unsigned i = 0; i < 100; i++) {
		turn(world, i % 10 == 0 ? 1 : 0);
		struct instant now = ring_now(world->ring);
		UNIT_REQUIRE(now.mono_ns > last.mono_ns);
		UNIT_REQUIRE(ring_clock_ns() >= now.mono_ns);
		last = now;
	}
	world_end(world);
}
BOTH(test_ring_now_never_goes_back)

/* One call, or a few where signals come in between (io_uring ends a ring by such). */
static void test_ring_idle_sleeps_until_its_time(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	while (turn(world, 0) > 0) {
	}
	const struct ring_stats *stats = ring_stats(world->ring);
	uint64_t enters = stats->enters, asleep_ns = stats->asleep_ns, before_ns = ring_clock_ns();
	uint64_t end_ns = before_ns + 60 * 1000000u;
	while (ring_clock_ns() < end_ns) {
		CU_ASSERT_EQUAL(turn(world, 1 + (end_ns - ring_clock_ns()) / 1000000u), 0);
	}
	CU_ASSERT_TRUE(stats->asleep_ns - asleep_ns >= 50 * 1000000u);
	CU_ASSERT_TRUE(stats->enters - enters <= 3);
	close(peer);
	world_end(world);
}
BOTH(test_ring_idle_sleeps_until_its_time)

static void test_ring_checks_its_options(void)
{
	struct ring *ring = NULL;
	struct ring_options options = small_options("kqueue");
	CU_ASSERT_EQUAL(ring_create(&options, &ring), -E_UNKNOWN);
	options = small_options("epoll");
	options.recv_buffers = 48;
	CU_ASSERT_EQUAL(ring_create(&options, &ring), -E_RANGE);
	options = small_options("epoll");
	options.sockets_max = 0;
	CU_ASSERT_EQUAL(ring_create(&options, &ring), -E_RANGE);
	options = small_options("epoll");
	options.sends_per_enter = 0;
	CU_ASSERT_EQUAL(ring_create(&options, &ring), -E_RANGE);
	ring_destroy(NULL);
}

static const struct unit_test tests[] = {
	UNIT_BOTH(test_ring_accepts_and_echoes_over_tcp),
	UNIT_BOTH(test_ring_accepts_and_echoes_over_a_unix_socket),
	UNIT_BOTH(test_ring_accepts_and_echoes_over_ipv6),
	UNIT_BOTH(test_ring_works_one_event_at_a_time),
	UNIT_BOTH(test_ring_says_who_is_at_the_other_end),
	UNIT_BOTH(test_ring_accepted_sockets_have_nodelay_keepalive_and_timeouts),
	UNIT_BOTH(test_ring_stale_names_are_refused_and_harmless),
	UNIT_BOTH(test_ring_gives_every_life_of_a_slot_its_own_generation),
	UNIT_BOTH(test_ring_refuses_newcomers_when_all_slots_are_taken),
	UNIT_BOTH(test_ring_without_descriptors_waits_and_does_not_spin),
	UNIT_BOTH(test_ring_connects_to_a_listener),
	UNIT_BOTH(test_ring_connect_that_is_refused_says_so),
	UNIT_BOTH(test_ring_connect_that_nobody_answers_times_out),
	UNIT_BOTH(test_ring_close_while_connecting_ends_with_closed_alone),
	UNIT_BOTH(test_ring_now_never_goes_back),
	UNIT_BOTH(test_ring_idle_sleeps_until_its_time),
	UNIT_TEST(test_ring_checks_its_options),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "ring", tests);
}
