/* The frame of the ring's contract tests: one ring, a record of what happened to each of its sockets, and plain
 * blocking sockets as peers.
 *
 * A test is a function of an engine's name; BOTH(test) makes two tests of it, and where io_uring is refused
 * the one on it counts as skipped, with the reason. Waiting is PUMP(world, condition): events are
 * taken in until the condition holds, and the test fails when nothing comes of it for long.
 */
#ifndef MILLRACE_TESTS_TEST_RING_FRAME_H
#define MILLRACE_TESTS_TEST_RING_FRAME_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "ring/address.h"
#include "ring/probe.h"
#include "ring/ring.h"
#include "tests/unit.h"

enum { SOCKETS = 256, EVENTS = 64, PATIENCE_MS = 20000, TURN_MS = 20 };

#define BOTH(test)                                                                                 \
	static void test##_on_uring(void)                                                          \
	{                                                                                          \
		if (uring_allowed()) {                                                             \
			test("uring");                                                             \
		}                                                                                  \
	}                                                                                          \
	static void test##_on_epoll(void)                                                          \
	{                                                                                          \
		test("epoll");                                                                     \
	}
#define UNIT_BOTH(test) UNIT_TEST(test##_on_uring), UNIT_TEST(test##_on_epoll)

__attribute__((unused)) static bool uring_allowed(void)
{
	static char why[PROBE_WHY_MAX];
	static int verdict = 1;
	if (verdict == 1) {
		verdict = probe_uring(why);
	}
	if (verdict != OK) {
		unit_skip(why);
	}
	return verdict == OK;
}

/* What happened to the socket of one slot, since its last life began. */
struct record {
	struct ring_socket socket;
	bool accepted, connected;
	uint32_t listener;
	int connect_error;
	struct bytes received;
	unsigned sent, eof, closed, released; /* how often */
	int sent_error, eof_error, fd;
	size_t sent_bytes;
};

struct world {
	struct ring *ring;
	struct record record[SOCKETS];
	unsigned accepted, connected, closed, woken, sent, received; /* events of all sockets */
	unsigned events_max, last_turn_sent;
	struct ring_socket last; /* accepted or connected last */
	char bound[RING_ADDRESS_MAX];
};

__attribute__((unused)) static struct ring_options small_options(const char *engine)
{
	return (struct ring_options){
		.engine = engine,
		.sockets_max = SOCKETS,
		.recv_buffer_bytes = 16384,
		.recv_buffers = 64,
		.sends_per_enter = 128,
	};
}

__attribute__((unused)) static struct world *world_with(struct ring_options options)
{
	struct world *world = mem_zalloc(sizeof(*world));
	world->events_max = EVENTS;
	int err = ring_create(&options, &world->ring);
	UNIT_REQUIRE(err == OK);
	return world;
}

__attribute__((unused)) static struct world *world_of(const char *engine)
{
	return world_with(small_options(engine));
}

__attribute__((unused)) static void world_end(struct world *world)
{
	ring_destroy(world->ring);
	for (unsigned i = 0; i < SOCKETS; i++) {
		bytes_finish(&world->record[i].received);
	}
	free(world);
}

static struct record *record_of(struct world *world, struct ring_socket socket)
{
	UNIT_REQUIRE(socket.slot < SOCKETS);
	return &world->record[socket.slot];
}

/* A record for a socket's new life. */
__attribute__((unused)) static struct record *record_begin(
	struct world *world, struct ring_socket socket)
{
	struct record *record = record_of(world, socket);
	UNIT_REQUIRE(record->socket.generation != socket.generation);
	bytes_finish(&record->received);
	*record = (struct record){.socket = socket, .fd = -1};
	world->last = socket;
	return record;
}

static void take_in(struct world *world, const struct ring_event *event)
{
	if (event->kind == RING_WOKEN) {
		world->woken++;
		return;
	}
	if (event->kind == RING_ACCEPTED) {
		struct record *fresh = record_begin(world, event->socket);
		fresh->accepted = true;
		fresh->listener = event->listener;
		world->accepted++;
		return;
	}
	struct record *record = record_of(world, event->socket);
	/* Nothing may come for an old life, nor after the end of this one. */
	UNIT_REQUIRE(record->socket.generation == event->socket.generation);
	UNIT_REQUIRE(record->closed == 0 && record->released == 0);
	switch (event->kind) {
	case RING_CONNECTED:
		record->connected = true;
		record->connect_error = event->error;
		world->connected++;
		break;
	case RING_RECEIVED:
		UNIT_REQUIRE(event->len > 0 && record->eof == 0);
		bytes_append(&record->received, event->data, event->len);
		world->received++;
		break;
	case RING_SENT:
		record->sent++;
		record->sent_error = event->error;
		record->sent_bytes += event->len;
		world->sent++;
		world->last_turn_sent++;
		break;
	case RING_EOF:
		record->eof++;
		record->eof_error = event->error;
		UNIT_REQUIRE(record->eof == 1);
		break;
	case RING_CLOSED:
		record->closed++;
		world->closed++;
		break;
	case RING_RELEASED:
		record->released++;
		record->fd = event->fd;
		break;
	default:
		CU_FAIL("an unknown event");
	}
}

/* One ring_wait(); returns how many events came. */
static int turn(struct world *world, uint64_t timeout_ms)
{
	struct ring_event events[EVENTS];
	world->last_turn_sent = 0;
	int count = ring_wait(world->ring, timeout_ms * 1000000u, events, world->events_max);
	UNIT_REQUIRE(count >= 0 && count <= (int)world->events_max);
	for (int i = 0; i < count; i++) {
		take_in(world, &events[i]);
	}
	return count;
}

/* Take events in until the condition holds; `also` is done before each turn. */
#define PUMP_WITH(world, condition, also)                                                          \
	do {                                                                                       \
		uint64_t pump_end_ns = ring_clock_ns() + PATIENCE_MS * UINT64_C(1000000);          \
		while (!(condition)) {                                                             \
			also;                                                                      \
			turn((world), TURN_MS);                                                    \
			if (ring_clock_ns() > pump_end_ns) {                                       \
				printf("gave up waiting for %s\n", #condition);                    \
				UNIT_REQUIRE(!"in time");                                          \
			}                                                                          \
		}                                                                                  \
	} while (0)
#define PUMP(world, condition) PUMP_WITH(world, condition, (void)0)

/* Listens; the address is in world->bound afterwards. */
__attribute__((unused)) static void world_listen(struct world *world, const char *address)
{
	int err = ring_listen(world->ring, address, 0600, 7, world->bound);
	UNIT_REQUIRE(err == OK);
}

/* A peer: a plain blocking socket connected to `address`, or -1. */
__attribute__((unused)) static int peer_connect(const char *address)
{
	struct address parsed;
	UNIT_REQUIRE(address_parse(address, &parsed) == OK);
	int fd = socket(parsed.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	UNIT_REQUIRE(fd >= 0);
	if (connect(fd, &parsed.any, parsed.len) != 0) {
		close(fd);
		return -1;
	}
	/* A test that waits for ever says nothing. */
	struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

/* A peer whose other end has been accepted: its record in `*out`. */
__attribute__((unused)) static int peer_of(struct world *world, struct record **out)
{
	unsigned before = world->accepted;
	int fd = peer_connect(world->bound);
	UNIT_REQUIRE(fd >= 0);
	PUMP(world, world->accepted == before + 1);
	*out = record_of(world, world->last);
	return fd;
}

__attribute__((unused)) static void peer_write(int fd, const void *data, size_t len)
{
	UNIT_REQUIRE(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* Reads exactly so much. */
__attribute__((unused)) static void peer_read(int fd, void *data, size_t len)
{
	size_t have = 0;
	while (have < len) {
		ssize_t got = recv(fd, (char *)data + have, len - have, 0);
		UNIT_REQUIRE(got > 0);
		have += (size_t)got;
	}
}

/* Whether the other end has closed, in whatever way; what still came is dropped. */
__attribute__((unused)) static bool peer_sees_end(int fd)
{
	char dropped[4096];
	ssize_t got;
	while ((got = recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT)) > 0) {
	}
	return got == 0 || (errno != EAGAIN && errno != EINTR);
}

/* The byte at a place of an endless stream that never looks the same twice. */
__attribute__((unused)) static char pattern(uint64_t at)
{
	return (char)((at * 2654435761u) >> 13 ^ at >> 7);
}

__attribute__((unused)) static char *pattern_make(size_t len)
{
	char *data = mem_alloc(len);
	for (size_t i = 0; i < len; i++) {
		data[i] = pattern(i);
	}
	return data;
}

__attribute__((unused)) static bool pattern_matches(const char *data, size_t len, uint64_t from)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != pattern(from + i)) {
			return false;
		}
	}
	return true;
}

__attribute__((unused)) static int send_bytes(
	struct world *world, struct record *record, const void *data, size_t len)
{
	struct iovec piece = {(void *)(uintptr_t)data, len};
	return ring_send(world->ring, record->socket, &piece, 1);
}

/* A path in the build's or system's scratch folder, different in each process and call. */
__attribute__((unused)) static const char *scratch_path(void)
{
	static char path[96];
	static unsigned number;
	const char *dir = getenv("TMPDIR");
	snprintf(path, sizeof(path), "%.50s/millrace-ring-%d-%u.sock", dir != NULL ? dir : "/tmp",
		(int)getpid(), number++);
	return path;
}

__attribute__((unused)) static const char *scratch_address(void)
{
	static char address[RING_ADDRESS_MAX];
	snprintf(address, sizeof(address), "unix:%s", scratch_path());
	return address;
}

#endif
