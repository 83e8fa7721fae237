/* The ring's contract for sending: order, completeness, memory, and what ends a send; on both backends. */
#include "ring/ring.h"

#include "tests/test_ring_frame.h"

enum { LARGE = 6 * 1024 * 1024 };

/* Reads what is there, checks it against the pattern from `*at` on. False at the end of the stream. */
static bool peer_drink(int fd, uint64_t *at, size_t most)
{
	char bytes[65536];
	ssize_t got = recv(fd, bytes, most < sizeof(bytes) ? most : sizeof(bytes), MSG_DONTWAIT);
	if (got <= 0) {
		return got < 0 && errno == EAGAIN;
	}
	UNIT_REQUIRE(pattern_matches(bytes, (size_t)got, *at));
	*at += (uint64_t)got;
	return true;
}

static void large_send_over(const char *engine, const char *address)
{
	struct world *world = world_of(engine);
	struct record *record;
	uint64_t at = 0;
	char *data = pattern_make(LARGE);
	world_listen(world, address);
	int peer = peer_of(world, &record);
	CU_ASSERT_EQUAL(send_bytes(world, record, data, LARGE), OK);
	turn(world, 0);
	turn(world, 0);
	CU_ASSERT_EQUAL(record->sent, 0); /* nobody reads yet, and no socket buffer is so large */
	PUMP_WITH(world, record->sent == 1, peer_drink(peer, &at, 50000));
	CU_ASSERT_EQUAL(record->sent_error, OK);
	CU_ASSERT_EQUAL(record->sent_bytes, LARGE);
	free(data);
	while (at < LARGE) {
		UNIT_REQUIRE(peer_drink(peer, &at, LARGE));
	}
	CU_ASSERT_EQUAL(at, LARGE);
	CU_ASSERT_EQUAL(ring_stats(world->ring)->sent_bytes, LARGE);
	CU_ASSERT_EQUAL(ring_stats(world->ring)->sends, 1);
	close(peer);
	world_end(world);
}

static void test_ring_large_send_reaches_a_slow_reader_over_tcp(const char *engine)
{
	large_send_over(engine, "127.0.0.1:0");
}
BOTH(test_ring_large_send_reaches_a_slow_reader_over_tcp)

static void test_ring_large_send_reaches_a_slow_reader_over_unix(const char *engine)
{
	large_send_over(engine, scratch_address());
}
BOTH(test_ring_large_send_reaches_a_slow_reader_over_unix)

static void test_ring_many_pieces_arrive_as_one_stream(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	uint64_t at = 0, state = unit_seed();
	char *data = pattern_make(LARGE);
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	unsigned sends = 0;
	for (size_t done = 0; done < LARGE; sends++) {
		struct iovec pieces[RING_IOV_MAX];
		unsigned count = 2 + (unsigned)(unit_random(&state) % (RING_IOV_MAX - 1));
		unsigned used = 0;
		for (; used < count && done < LARGE; used++) {
			size_t len = unit_random(&state) % 60000;
			len = len < LARGE - done ? len : LARGE - done;
			pieces[used] = (struct iovec){data + done, len};
			done += len;
		}
		UNIT_REQUIRE(ring_send(world->ring, record->socket, pieces, used) == OK);
		memset(pieces, 0xee, sizeof(pieces)); /* the array is not needed after the call */
		PUMP_WITH(world, record->sent == sends + 1, peer_drink(peer, &at, 50000));
		UNIT_REQUIRE(record->sent_error == OK);
	}
	CU_ASSERT_EQUAL(record->sent_bytes, LARGE);
	while (at < LARGE) {
		UNIT_REQUIRE(peer_drink(peer, &at, LARGE));
	}
	free(data);
	close(peer);
	world_end(world);
}
BOTH(test_ring_many_pieces_arrive_as_one_stream)

static void test_ring_sends_one_after_the_other_keep_their_order(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	uint64_t at = 0, state = unit_seed();
	char *data = pattern_make(LARGE);
	world_listen(world, scratch_address());
	int peer = peer_of(world, &record);
	unsigned sends = 0;
	for (size_t done = 0; done < 1000000; sends++) {
		size_t len = 1 + unit_random(&state) % 3000;
		UNIT_REQUIRE(send_bytes(world, record, data + done, len) == OK);
		done += len;
		PUMP_WITH(world, record->sent == sends + 1, peer_drink(peer, &at, 65536));
	}
	while (at < record->sent_bytes) {
		UNIT_REQUIRE(peer_drink(peer, &at, LARGE));
	}
	free(data);
	close(peer);
	world_end(world);
}
BOTH(test_ring_sends_one_after_the_other_keep_their_order)

/* What the peer gets is a beginning of the pattern, nothing else, then the end. */
static void peer_expects_a_prefix(int peer, uint64_t max)
{
	uint64_t at = 0;
	while (peer_drink(peer, &at, LARGE)) {
		struct pollfd readable = {.fd = peer, .events = POLLIN};
		UNIT_REQUIRE(poll(&readable, 1, PATIENCE_MS) == 1);
	}
	CU_ASSERT_TRUE(at <= max);
}

static void close_in_mid_send(const char *engine, const char *address, bool reset, unsigned pieces)
{
	struct world *world = world_of(engine);
	struct record *record;
	char *data = pattern_make(LARGE);
	world_listen(world, address);
	int peer = peer_of(world, &record);
	struct iovec half[2] = {{data, LARGE / 2}, {data + LARGE / 2, LARGE / 2}};
	half[0].iov_len = pieces == 1 ? LARGE : LARGE / 2;
	UNIT_REQUIRE(ring_send(world->ring, record->socket, half, pieces) == OK);
	turn(world, 0);
	turn(world, 0);
	ring_close(world->ring, record->socket, reset);
	CU_ASSERT_EQUAL(ring_send(world->ring, record->socket, half, 1), -E_GONE);
	PUMP(world, record->closed == 1);
	/* From here on the memory is ours again: whatever it holds now nobody may see. */
	memset(data, 0xee, LARGE);
	CU_ASSERT_EQUAL(record->sent, 0);
	for (unsigned i = 0; i < 5; i++) {
		turn(world, 1); /* the record refuses any event after RING_CLOSED */
	}
	peer_expects_a_prefix(peer, LARGE);
	free(data);
	close(peer);
	world_end(world);
}

static void test_ring_close_in_mid_send_is_closed_once_and_frees_the_memory(const char *engine)
{
	close_in_mid_send(engine, "127.0.0.1:0", false, 1);
	close_in_mid_send(engine, "127.0.0.1:0", true, 1);
	close_in_mid_send(engine, "127.0.0.1:0", false, 2);
	close_in_mid_send(engine, scratch_address(), false, 1);
	close_in_mid_send(engine, scratch_address(), true, 2);
}
BOTH(test_ring_close_in_mid_send_is_closed_once_and_frees_the_memory)

static void test_ring_send_before_close_in_one_turn_still_leaves(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	char got[6];
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record);
	UNIT_REQUIRE(send_bytes(world, record, "-ERR x", 6) == OK);
	ring_close(world->ring, record->socket, false);
	PUMP(world, record->closed == 1);
	CU_ASSERT_EQUAL(record->sent, 0);
	peer_read(peer, got, 6);
	CU_ASSERT_EQUAL(memcmp(got, "-ERR x", 6), 0);
	CU_ASSERT_TRUE(peer_sees_end(peer));
	close(peer);
	world_end(world);
}
BOTH(test_ring_send_before_close_in_one_turn_still_leaves)

static void test_ring_close_with_reset_sends_rst(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	char byte;
	world_listen(world, "127.0.0.1:0");
	for (unsigned reset = 0; reset < 2; reset++) {
		int peer = peer_of(world, &record);
		ring_close(world->ring, record->socket, reset == 1);
		PUMP(world, record->closed == 1);
		ssize_t got = recv(peer, &byte, 1, 0);
		CU_ASSERT_EQUAL(got, reset == 1 ? -1 : 0);
		CU_ASSERT_TRUE(reset == 0 || errno == ECONNRESET);
		close(peer);
	}
	world_end(world);
}
BOTH(test_ring_close_with_reset_sends_rst)

static void test_ring_peer_reset_in_mid_send_is_told_and_harms_nobody(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record, *other;
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	char *data = pattern_make(LARGE);
	char got[3];
	world_listen(world, "127.0.0.1:0");
	int peer = peer_of(world, &record), bystander = peer_of(world, &other);
	UNIT_REQUIRE(send_bytes(world, record, data, LARGE) == OK);
	turn(world, 0);
	turn(world, 0);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer);
	PUMP(world, record->sent == 1 && record->eof == 1);
	CU_ASSERT_NOT_EQUAL(record->sent_error, OK);
	CU_ASSERT_TRUE(record->sent_bytes < LARGE);
	/* Another one fails at once, or is refused: but it is told. */
	UNIT_REQUIRE(send_bytes(world, record, data, 1) == OK);
	PUMP(world, record->sent == 2);
	CU_ASSERT_EQUAL(record->sent_error, -E_GONE);
	ring_close(world->ring, record->socket, false);
	PUMP(world, record->closed == 1);
	free(data);
	UNIT_REQUIRE(send_bytes(world, other, "abc", 3) == OK);
	PUMP(world, other->sent == 1);
	peer_read(bystander, got, 3);
	close(bystander);
	world_end(world);
}
BOTH(test_ring_peer_reset_in_mid_send_is_told_and_harms_nobody)

static void test_ring_destroy_gives_the_memory_of_sends_back(const char *engine)
{
	struct world *world = world_of(engine);
	struct record *record;
	char *data = pattern_make(LARGE);
	struct iovec half[2] = {{data, LARGE / 2}, {data + LARGE / 2, LARGE / 2}};
	int peer[4];
	world_listen(world, scratch_address());
	for (unsigned i = 0; i < 4; i++) {
		peer[i] = peer_of(world, &record);
		UNIT_REQUIRE(ring_send(world->ring, record->socket, half, 1 + i % 2) == OK);
	}
	turn(world, 0);
	world_end(world);
	memset(data, 0xee, LARGE);
	for (unsigned i = 0; i < 4; i++) {
		peer_expects_a_prefix(peer[i], LARGE);
		close(peer[i]);
	}
	free(data);
}
BOTH(test_ring_destroy_gives_the_memory_of_sends_back)

static void test_ring_sends_at_most_its_share_in_one_turn(const char *engine)
{
	enum { READERS = 50, SHARE = 8 };
	struct ring_options options = small_options(engine);
	options.sends_per_enter = SHARE;
	struct world *world = world_with(options);
	struct record *record[READERS];
	int peer[READERS];
	world_listen(world, scratch_address());
	for (unsigned i = 0; i < READERS; i++) {
		peer[i] = peer_of(world, &record[i]);
	}
	for (unsigned round = 1; round <= 3; round++) {
		for (unsigned i = 0; i < READERS; i++) {
			UNIT_REQUIRE(send_bytes(world, record[i], "0123456789", 10) == OK);
		}
		unsigned turns = 0;
		while (world->sent < READERS * round) {
			turn(world, TURN_MS);
			UNIT_REQUIRE(world->last_turn_sent <= SHARE);
			UNIT_REQUIRE(++turns < 1000);
		}
		CU_ASSERT_TRUE(turns >= READERS / SHARE);
	}
	char got[30];
	for (unsigned i = 0; i < READERS; i++) {
		CU_ASSERT_EQUAL(record[i]->sent, 3);
		peer_read(peer[i], got, 30);
		close(peer[i]);
	}
	world_end(world);
}
BOTH(test_ring_sends_at_most_its_share_in_one_turn)

static void test_ring_close_of_a_send_that_waits_its_turn(const char *engine)
{
	enum { READERS = 12 };
	struct ring_options options = small_options(engine);
	options.sends_per_enter = 2;
	struct world *world = world_with(options);
	struct record *record[READERS];
	int peer[READERS];
	world_listen(world, scratch_address());
	for (unsigned i = 0; i < READERS; i++) {
		peer[i] = peer_of(world, &record[i]);
	}
	for (unsigned i = 0; i < READERS; i++) {
		UNIT_REQUIRE(send_bytes(world, record[i], "0123456789", 10) == OK);
	}
	for (unsigned i = 0; i < READERS; i += 2) {
		ring_close(world->ring, record[i]->socket, false);
	}
	PUMP(world, world->closed == READERS / 2 && world->sent == READERS / 2);
	for (unsigned i = 0; i < READERS; i++) {
		CU_ASSERT_EQUAL(record[i]->sent, i % 2);
		close(peer[i]);
	}
	world_end(world);
}
BOTH(test_ring_close_of_a_send_that_waits_its_turn)

static const struct unit_test tests[] = {
	UNIT_BOTH(test_ring_large_send_reaches_a_slow_reader_over_tcp),
	UNIT_BOTH(test_ring_large_send_reaches_a_slow_reader_over_unix),
	UNIT_BOTH(test_ring_many_pieces_arrive_as_one_stream),
	UNIT_BOTH(test_ring_sends_one_after_the_other_keep_their_order),
	UNIT_BOTH(test_ring_close_in_mid_send_is_closed_once_and_frees_the_memory),
	UNIT_BOTH(test_ring_send_before_close_in_one_turn_still_leaves),
	UNIT_BOTH(test_ring_close_with_reset_sends_rst),
	UNIT_BOTH(test_ring_peer_reset_in_mid_send_is_told_and_harms_nobody),
	UNIT_BOTH(test_ring_destroy_gives_the_memory_of_sends_back),
	UNIT_BOTH(test_ring_sends_at_most_its_share_in_one_turn),
	UNIT_BOTH(test_ring_close_of_a_send_that_waits_its_turn),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "ring_send", tests);
}
