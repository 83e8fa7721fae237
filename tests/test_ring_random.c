/* Everything at once, from a seed: connections that talk, stall, half-close, reset, pause, move and close at random,
 * each checked against the two patterns that it should carry; on both backends. */
#include "ring/ring.h"

#include "tests/test_ring_frame.h"

enum { PLACES = 24, STEPS = 6000, SEND_MAX = 300000, PIECES_MAX = 10 };

/* One connection and its peer. */
struct place {
	struct record *record; /* NULL: not connected */
	int peer;              /* -1: the peer has closed */
	bool peer_ended;       /* it writes no more */
	uint64_t written;      /* by the peer */
	uint64_t checked;      /* of what the ring received */
	uint64_t given, read;  /* to ring_send(); by the peer */
	char *memory;          /* of the send in flight */
	size_t memory_len;
	unsigned sends;
	bool cut; /* reset by either side: bytes may be missing at the end */
};

struct chaos {
	struct world *world;
	struct place place[PLACES];
	uint64_t random;
};

static uint64_t draw(struct chaos *chaos, uint64_t below)
{
	return unit_random(&chaos->random) % below;
}

/* What the ring received must be what the peer wrote, so far. */
static void check_received(struct place *place)
{
	struct bytes *received = &place->record->received;
	UNIT_REQUIRE(pattern_matches(received->data, received->len, place->checked));
	place->checked += received->len;
	UNIT_REQUIRE(place->checked <= place->written);
	bytes_clear(received);
}

/* The kernel is done with the memory of the last send: whatever is written there now nobody may see. */
static void forget_send(struct place *place)
{
	memset(place->memory, 0xee, place->memory_len);
	free(place->memory);
	place->memory = NULL;
}

static void one_turn(struct chaos *chaos)
{
	struct world *world = chaos->world;
	world->events_max = 1 + (unsigned)draw(chaos, EVENTS);
	turn(world, draw(chaos, 10) == 0 ? 1 : 0);
	for (unsigned i = 0; i < PLACES; i++) {
		struct place *place = &chaos->place[i];
		if (place->record == NULL) {
			continue;
		}
		check_received(place);
		if (place->memory != NULL && place->record->sent == place->sends) {
			UNIT_REQUIRE(place->record->sent_error != OK ||
				     place->record->sent_bytes == place->given);
			forget_send(place);
		}
	}
}

static void act_connect(struct chaos *chaos, struct place *place)
{
	struct record *record;
	int peer = peer_of(chaos->world, &record);
	*place = (struct place){.record = record, .peer = peer};
}

static void act_send(struct chaos *chaos, struct place *place)
{
	struct iovec pieces[PIECES_MAX];
	unsigned count = 1 + (unsigned)draw(chaos, 2) * (unsigned)draw(chaos, PIECES_MAX);
	if (place->memory != NULL) {
		return;
	}
	size_t len = count + draw(chaos, draw(chaos, 4) == 0 ? SEND_MAX : 2000);
	place->memory = mem_alloc(len);
	place->memory_len = len;
	for (size_t i = 0; i < len; i++) {
		place->memory[i] = pattern(place->given + i);
	}
	for (unsigned i = 0; i < count; i++) {
		size_t each = len / count;
		size_t last = i + 1 == count ? len - each * i : each;
		pieces[i] = (struct iovec){place->memory + each * i, last};
	}
	UNIT_REQUIRE(ring_send(chaos->world->ring, place->record->socket, pieces, count) == OK);
	place->given += len;
	place->sends++;
}

static void act_peer_read(struct chaos *chaos, struct place *place)
{
	static char bytes[100000];
	if (place->peer < 0) {
		return;
	}
	ssize_t got = recv(place->peer, bytes, 1 + draw(chaos, sizeof(bytes)), MSG_DONTWAIT);
	if (got > 0) {
		UNIT_REQUIRE(pattern_matches(bytes, (size_t)got, place->read));
		place->read += (uint64_t)got;
		UNIT_REQUIRE(place->read <= place->given);
	}
}

static void act_peer_write(struct chaos *chaos, struct place *place)
{
	char bytes[20000];
	size_t len = 1 + draw(chaos, draw(chaos, 4) == 0 ? sizeof(bytes) : 500);
	if (place->peer < 0 || place->peer_ended) {
		return;
	}
	for (size_t i = 0; i < len; i++) {
		bytes[i] = pattern(place->written + i);
	}
	ssize_t sent = send(place->peer, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	place->written += sent > 0 ? (uint64_t)sent : 0;
}

static void act_peer_end(struct chaos *chaos, struct place *place)
{
	if (place->peer < 0) {
		return;
	}
	place->peer_ended = true;
	if (draw(chaos, 2) == 0) {
		shutdown(place->peer, SHUT_WR);
		return;
	}
	struct linger now = {.l_onoff = (int)draw(chaos, 2), .l_linger = 0};
	setsockopt(place->peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(place->peer);
	place->peer = -1;
	place->cut = true;
}

static void act_close(struct chaos *chaos, struct place *place)
{
	struct record *record = place->record;
	unsigned sent = record->sent;
	ring_close(chaos->world->ring, record->socket, draw(chaos, 2) == 0);
	if (draw(chaos, 2) == 0) {
		ring_close(chaos->world->ring, record->socket, false);
	}
	while (record->closed == 0) {
		one_turn(chaos);
	}
	UNIT_REQUIRE(record->sent == sent);
	if (place->memory != NULL) {
		forget_send(place);
	}
	if (place->peer >= 0) {
		close(place->peer);
	}
	*place = (struct place){.record = NULL};
}

static void act_move(struct chaos *chaos, struct place *place)
{
	struct record *record = place->record;
	struct ring_socket socket;
	if (place->memory != NULL) {
		return;
	}
	ring_release(chaos->world->ring, record->socket);
	while (record->released == 0) {
		one_turn(chaos);
	}
	UNIT_REQUIRE(ring_adopt(chaos->world->ring, record->fd, &socket) == OK);
	place->record = record_begin(chaos->world, socket);
	place->sends = 0;
	/* the new record counts from 0 */
	place->record->sent_bytes = place->given;
}

static void act(struct chaos *chaos, struct place *place)
{
	struct ring *ring = chaos->world->ring;
	if (place->record == NULL) {
		act_connect(chaos, place);
		return;
	}
	uint64_t choice = draw(chaos, 100);
	if (choice < 30) {
		act_send(chaos, place);
	} else if (choice < 55) {
		act_peer_read(chaos, place);
	} else if (choice < 80) {
		act_peer_write(chaos, place);
	} else if (choice < 86) {
		ring_pause(ring, place->record->socket);
	} else if (choice < 94) {
		ring_resume(ring, place->record->socket);
	} else if (choice < 96) {
		act_move(chaos, place);
	} else if (choice < 98) {
		act_peer_end(chaos, place);
	} else {
		act_close(chaos, place);
	}
}

/* Everything still open must come to its end whole, unless it was cut. */
static void settle(struct chaos *chaos, struct place *place)
{
	ring_resume(chaos->world->ring, place->record->socket);
	uint64_t end_ns = ring_clock_ns() + PATIENCE_MS * UINT64_C(1000000);
	while (place->checked < place->written || place->memory != NULL ||
		(place->peer >= 0 && place->read < place->given)) {
		if (place->cut && place->record->eof == 1 && place->memory == NULL) {
			break;
		}
		act_peer_read(chaos, place);
		one_turn(chaos);
		if (ring_clock_ns() >= end_ns) {
			printf("stuck: written %llu checked %llu given %llu read %llu sending %d "
			       "peer %d ended %d cut %d eof %u\n",
				(unsigned long long)place->written,
				(unsigned long long)place->checked,
				(unsigned long long)place->given, (unsigned long long)place->read,
				place->memory != NULL, place->peer, place->peer_ended, place->cut,
				place->record->eof);
			UNIT_REQUIRE(!"in time");
		}
	}
}

static void chaos_over(const char *engine, const char *address)
{
	static struct chaos chaos;
	struct ring_options options = small_options(engine);
	memset(&chaos, 0, sizeof(chaos));
	chaos.random = unit_seed();
	options.recv_buffers = 16;
	options.recv_buffer_bytes = 2048;
	options.sends_per_enter = 5;
	chaos.world = world_with(options);
	world_listen(chaos.world, address);
	for (unsigned step = 0; step < STEPS; step++) {
		act(&chaos, &chaos.place[draw(&chaos, PLACES)]);
		if (draw(&chaos, 3) == 0) {
			one_turn(&chaos);
		}
	}
	for (unsigned i = 0; i < PLACES; i++) {
		if (chaos.place[i].record != NULL) {
			settle(&chaos, &chaos.place[i]);
			act_close(&chaos, &chaos.place[i]);
		}
	}
	turn(chaos.world, 0);
	CU_ASSERT_EQUAL(ring_stats(chaos.world->ring)->sockets, 0);
	world_end(chaos.world);
}

static void test_ring_survives_chaos_over_tcp(const char *engine)
{
	chaos_over(engine, "127.0.0.1:0");
}
BOTH(test_ring_survives_chaos_over_tcp)

static void test_ring_survives_chaos_over_unix(const char *engine)
{
	chaos_over(engine, scratch_address());
}
BOTH(test_ring_survives_chaos_over_unix)

static const struct unit_test tests[] = {
	UNIT_BOTH(test_ring_survives_chaos_over_tcp),
	UNIT_BOTH(test_ring_survives_chaos_over_unix),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "ring_random", tests);
}
