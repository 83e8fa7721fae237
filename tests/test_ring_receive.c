/* The ring's contract for receiving: nothing lost or reordered, whatever is paused, short of buffers or moved
 * to another ring; on both backends. */
#include "ring/ring.h"

#include <pthread.h>

#include "tests/test_ring_frame.h"

/* A peer that writes the pattern in uneven pieces, from a thread of its own. */
struct talker {
	pthread_t thread;
	int fd;
	size_t len;
	uint64_t seed;
};

static void *talk(void *argument)
{
	struct talker *talker = argument;
	char *data = pattern_make(talker->len);
	for (size_t done = 0; done < talker->len;) {
		size_t len = 1 + unit_random(&talker->seed) % 5000;
		len = len < talker->len - done ? len : talker->len - done;
		ssize_t sent = send(talker->fd, data + done, len, MSG_NOSIGNAL);
		if (sent <= 0) {
			break;
		}
		done += (size_t)sent;
	}
	shutdown(talker->fd, SHUT_WR);
	free(data);
	return NULL;
}

static void talker_begin(struct talker *talker, int fd, size_t len)
{
	*talker = (struct talker){.fd = fd, .len = len, .seed = unit_seed() + (unsigned)fd};
	UNIT_REQUIRE(pthread_create(&talker->thread, NULL, talk, talker) == 0);
}

static void talker_end(struct talker *talker)
{
	pthread_join(talker->thread, NULL);
	close(talker->fd);
}

static void test_ring_half_closed_peer_is_told_once_and_can_still_be_sent_to(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	char got[6];
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	peer_write(peer, "last words", 10);
	shutdown(peer, SHUT_WR);
	PUMP(world, record->eof == 1);
	CU_ASSERT_EQUAL(record->eof_error, OK);
	CU_ASSERT_EQUAL(record->received.len, 10);
	UNIT_REQUIRE(send_bytes(world, record, "answer", 6) == OK);
	PUMP(world, record->sent == 1);
	CU_ASSERT_EQUAL(record->sent_error, OK);
	peer_read(peer, got, 6);
	ring_pause(world->ring, record->socket);
	ring_resume(world->ring, record->socket);
	for (unsigned i = 0; i < 5; i++) {
		turn(world, 1); /* the record refuses a second end */
	}
	ring_close(world->ring, record->socket, false);
	PUMP(world, record->closed == 1);
	close(peer);
	world_end(world);
}
BOTH(test_ring_half_closed_peer_is_told_once_and_can_still_be_sent_to)

static void test_ring_peer_that_breaks_off_is_told_with_an_error(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer);
	PUMP(world, record->eof == 1);
	CU_ASSERT_EQUAL(record->eof_error, -E_GONE);
	ring_close(world->ring, record->socket, false);
	PUMP(world, record->closed == 1);
	world_end(world);
}
BOTH(test_ring_peer_that_breaks_off_is_told_with_an_error)

/* The peer's last words and its RST are both there before anybody reads. */
static void test_ring_peer_that_breaks_off_in_mid_sentence_is_told(const char *engine)
{
	struct world *world = world_of(engine);
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	const char *const addresses[] = {"127.0.0.1:0", scratch_address()};
	for (unsigned i = 0; i < 8; i++) {
		struct record *record;
		if (i % 4 == 0) {
			world_listen(world, addresses[i / 4]);
		}
		int peer = peer_of(world, &record);
		if (i % 2 == 0) {
			ring_pause(world->ring, record->socket);
		}
		turn(world, 0);
		turn(world, 0);
		peer_write(peer, "last words", 10);
		if (i % 4 < 2) {
			setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		}
		close(peer);
		ring_resume(world->ring, record->socket);
		PUMP(world, record->eof == 1);
		CU_ASSERT_EQUAL(record->received.len, 10);
		ring_close(world->ring, record->socket, false);
		PUMP(world, record->closed == 1);
	}
	world_end(world);
}
BOTH(test_ring_peer_that_breaks_off_in_mid_sentence_is_told)

static void test_ring_pause_holds_back_and_resume_loses_nothing(const char *engine)
{
	enum { BYTES = 3 * 1024 * 1024 };
	struct world *world = world_of(engine);
	struct record *record;
	struct talker talker;
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	talker_begin(&talker, peer, BYTES);
	uint64_t state = unit_seed();
	unsigned pauses = 0;
	PUMP_WITH(world, record->eof == 1, {
		uint64_t choice = unit_random(&state) % 8;
		if (choice < 3) {
			ring_pause(world->ring, record->socket);
			pauses++;
		}
		if (choice == 0 || choice > 3) {
			ring_resume(world->ring, record->socket);
		}
		if (choice == 4) {
			ring_pause(world->ring, record->socket);
			ring_pause(world->ring, record->socket);
			ring_resume(world->ring, record->socket);
		}
	});
	CU_ASSERT_TRUE(pauses > 0);
	CU_ASSERT_EQUAL(record->received.len, BYTES);
	CU_ASSERT_TRUE(pattern_matches(record->received.data, record->received.len, 0));
	talker_end(&talker);
	world_end(world);
}
BOTH(test_ring_pause_holds_back_and_resume_loses_nothing)

static void test_ring_paused_socket_takes_little_and_costs_nothing(const char *engine)
{
	enum { BYTES = 8 * 1024 * 1024 };
	struct world *world = world_of(engine);
	struct record *record;
	struct talker talker;
	world_listen(world, scratch_address());
	int peer = peer_of(world, &record);
	ring_pause(world->ring, record->socket);
	turn(world, 0);
	turn(world, 0);
	talker_begin(&talker, peer, BYTES);
	struct pollfd full = {.fd = peer, .events = POLLOUT};
	PUMP(world, poll(&full, 1, 0) == 0); /* the socket's buffers are full: nobody reads */
	CU_ASSERT_TRUE(record->received.len <= 4 * 16384);
	size_t before = record->received.len;
	uint64_t enters = ring_stats(world->ring)->enters;
	for (unsigned i = 0; i < 5; i++) {
		turn(world, 2);
	}
	CU_ASSERT_EQUAL(record->received.len, before);
	CU_ASSERT_TRUE(ring_stats(world->ring)->enters - enters <= 6);
	ring_resume(world->ring, record->socket);
	PUMP(world, record->eof == 1);
	CU_ASSERT_EQUAL(record->received.len, BYTES);
	talker_end(&talker);
	world_end(world);
}
BOTH(test_ring_paused_socket_takes_little_and_costs_nothing)

static void test_ring_paused_dead_peer_does_not_spin(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	ring_pause(world->ring, record->socket);
	for (unsigned i = 0; i < 5; i++) {
		turn(world, 1);
	}
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer);
	uint64_t enters = ring_stats(world->ring)->enters;
	for (unsigned i = 0; i < 5; i++) {
		turn(world, 2);
	}
	CU_ASSERT_TRUE(ring_stats(world->ring)->enters - enters <= 7);
	ring_resume(world->ring, record->socket);
	PUMP(world, record->eof == 1);
	world_end(world);
}
BOTH(test_ring_paused_dead_peer_does_not_spin)

static void test_ring_few_buffers_and_many_talkers_lose_nothing(const char *engine)
{
	enum { TALKERS = 40, BYTES = 30000 };
	struct ring_options options = small_options(engine);
	options.recv_buffers = 4;
	options.recv_buffer_bytes = 256;
	struct world *world = world_with(options);
	struct record *record[TALKERS];
	int peer[TALKERS];
	char *data = pattern_make(BYTES);
	unsigned ends = 0;
	world->events_max = 5;
	world_listen(world, scratch_address());
	for (unsigned i = 0; i < TALKERS; i++) {
		peer[i] = peer_of(world, &record[i]);
		peer_write(peer[i], data, BYTES); /* fits into the socket's buffer */
		shutdown(peer[i], SHUT_WR);
	}
	PUMP_WITH(world, ends == TALKERS, {
		ends = 0;
		for (unsigned i = 0; i < TALKERS; i++) {
			ends += record[i]->eof;
		}
	});
	for (unsigned i = 0; i < TALKERS; i++) {
		CU_ASSERT_EQUAL(record[i]->received.len, BYTES);
		CU_ASSERT_TRUE(pattern_matches(record[i]->received.data, BYTES, 0));
		close(peer[i]);
	}
	CU_ASSERT_EQUAL(ring_stats(world->ring)->received_bytes, TALKERS * BYTES);
	free(data);
	world_end(world);
}
BOTH(test_ring_few_buffers_and_many_talkers_lose_nothing)

static void test_ring_more_completions_than_its_queue_holds_lose_nothing(const char *engine)
{
	/* Every message becomes an event of its own where a buffer holds no more than it. */
	enum { TALKERS = 60, MESSAGES = 100, LEN = 64 };
	struct ring_options options = small_options(engine);
	options.recv_buffers = 4096;
	options.recv_buffer_bytes = LEN;
	struct world *world = world_with(options);
	struct record *record[TALKERS];
	int peer[TALKERS];
	char *data = pattern_make(MESSAGES * LEN);
	world_listen(world, scratch_address());
	for (unsigned i = 0; i < TALKERS; i++) {
		peer[i] = peer_of(world, &record[i]);
	}
	for (unsigned i = 0; i < TALKERS; i++) {
		peer_write(peer[i], data, MESSAGES * LEN);
	}
	for (unsigned i = 0; i < TALKERS; i++) {
		PUMP(world, record[i]->received.len == MESSAGES * LEN);
		CU_ASSERT_TRUE(pattern_matches(record[i]->received.data, MESSAGES * LEN, 0));
		close(peer[i]);
	}
	free(data);
	world_end(world);
}
BOTH(test_ring_more_completions_than_its_queue_holds_lose_nothing)

static void test_ring_close_under_a_flood_is_the_last_event(const char *engine)
{
	enum { BYTES = 4 * 1024 * 1024 };
	struct world *world = world_of(engine);
	world_listen(world, "127.0.0.1:0");
	for (unsigned i = 0; i < 20; i++) {
		struct record *record;
		struct talker talker;
		int peer = peer_of(world, &record);
		talker_begin(&talker, peer, BYTES);
		PUMP(world, record->received.len > 0);
		ring_close(world->ring, record->socket, i % 2 == 1);
		size_t len = record->received.len;
		PUMP(world, record->closed == 1);
		CU_ASSERT_EQUAL(record->received.len, len);
		turn(world, 0);
		talker_end(&talker);
	}
	CU_ASSERT_EQUAL(ring_stats(world->ring)->sockets, 0);
	world_end(world);
}
BOTH(test_ring_close_under_a_flood_is_the_last_event)

/* Moves a socket back and forth while its peer talks; the two rings may be of different kinds. */
static void hand_over_between(const char *engine, const char *other_engine)
{
	enum { BYTES = 2 * 1024 * 1024 };
	struct world *world[2] = {world_of(engine), world_of(other_engine)};
	struct bytes whole = {0};
	struct record *record;
	struct talker talker;
	unsigned at = 0, moves = 0;
	world_listen(world[0], "127.0.0.1:0");
	int peer = peer_of(world[0], &record);
	talker_begin(&talker, peer, BYTES);
	while (record->eof == 0) {
		size_t goal = record->received.len + 1;
		PUMP(world[at], record->received.len >= goal || record->eof == 1);
		if (record->eof == 1) {
			break;
		}
		ring_release(world[at]->ring, record->socket);
		PUMP(world[at], record->released == 1);
		bytes_append(&whole, record->received.data, record->received.len);
		int fd = record->fd;
		struct ring_socket socket;
		at = 1 - at;
		moves++;
		UNIT_REQUIRE(ring_adopt(world[at]->ring, fd, &socket) == OK);
		record = record_begin(world[at], socket);
	}
	bytes_append(&whole, record->received.data, record->received.len);
	CU_ASSERT_TRUE(moves > 3);
	CU_ASSERT_EQUAL(whole.len, BYTES);
	CU_ASSERT_TRUE(pattern_matches(whole.data, whole.len, 0));
	/* It is as good as new: it can send, and be closed. */
	char got[2];
	UNIT_REQUIRE(send_bytes(world[at], record, "ok", 2) == OK);
	PUMP(world[at], record->sent == 1);
	peer_read(peer, got, 2);
	ring_close(world[at]->ring, record->socket, false);
	PUMP(world[at], record->closed == 1);
	bytes_finish(&whole);
	talker_end(&talker);
	world_end(world[0]);
	world_end(world[1]);
}

static void test_ring_socket_moves_between_rings_while_its_peer_talks(const char *engine)
{
	hand_over_between(engine, engine);
}
BOTH(test_ring_socket_moves_between_rings_while_its_peer_talks)

static void test_ring_socket_moves_between_rings_of_two_kinds(void)
{
	if (uring_allowed()) {
		hand_over_between("uring", "epoll");
		hand_over_between("epoll", "uring");
	}
}

static void test_ring_release_of_a_paused_or_closing_socket(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	world_listen(world, scratch_address());
	int peer = peer_of(world, &record);
	ring_pause(world->ring, record->socket);
	turn(world, 0);
	turn(world, 0);
	ring_release(world->ring, record->socket);
	ring_release(world->ring, record->socket);
	PUMP(world, record->released == 1);
	close(record->fd);
	CU_ASSERT_TRUE(peer_sees_end(peer));
	close(peer);
	peer = peer_of(world, &record);
	ring_release(world->ring, record->socket);
	ring_close(world->ring, record->socket, false); /* a second thought */
	PUMP(world, record->closed == 1);
	CU_ASSERT_EQUAL(record->released, 0);
	CU_ASSERT_TRUE(peer_sees_end(peer));
	close(peer);
	world_end(world);
}
BOTH(test_ring_release_of_a_paused_or_closing_socket)

static const struct unit_test tests[] = {
	UNIT_BOTH(test_ring_half_closed_peer_is_told_once_and_can_still_be_sent_to),
	UNIT_BOTH(test_ring_peer_that_breaks_off_is_told_with_an_error),
	UNIT_BOTH(test_ring_peer_that_breaks_off_in_mid_sentence_is_told),
	UNIT_BOTH(test_ring_pause_holds_back_and_resume_loses_nothing),
	UNIT_BOTH(test_ring_paused_socket_takes_little_and_costs_nothing),
	UNIT_BOTH(test_ring_paused_dead_peer_does_not_spin),
	UNIT_BOTH(test_ring_few_buffers_and_many_talkers_lose_nothing),
	UNIT_BOTH(test_ring_more_completions_than_its_queue_holds_lose_nothing),
	UNIT_BOTH(test_ring_close_under_a_flood_is_the_last_event),
	UNIT_BOTH(test_ring_socket_moves_between_rings_while_its_peer_talks),
	UNIT_TEST(test_ring_socket_moves_between_rings_of_two_kinds),
	UNIT_BOTH(test_ring_release_of_a_paused_or_closing_socket),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "ring_receive", tests);
}
