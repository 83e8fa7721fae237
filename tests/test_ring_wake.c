/* The ring's contract for wake-ups: none is lost, from other threads and between rings; on both backends. */
#include "ring/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/test_ring_frame.h"

/* Somebody who counts up and wakes after each step. */
struct waker {
	pthread_t thread;
	struct ring *ring;
	unsigned steps;
	unsigned ahead; /* of the answers, at most */
	_Atomic unsigned count, answered;
};

static void *wake_often(void *argument)
{
	struct waker *waker = argument;
	for (unsigned i = 1; i <= waker->steps; i++) {
		atomic_store_explicit(&waker->count, i, memory_order_relaxed);
		ring_wake(waker->ring);
		while (i - atomic_load(&waker->answered) > waker->ahead) {
			sched_yield();
		}
	}
	return NULL;
}

/* Waits long, and again after a signal (io_uring ends a ring of this thread by such). */
static bool something_comes(struct world *world)
{
	uint64_t end_ns = ring_clock_ns() + PATIENCE_MS * UINT64_C(1000000);
	while (turn(world, PATIENCE_MS) == 0) {
		if (ring_clock_ns() >= end_ns) {
			return false;
		}
	}
	return true;
}

/* A lost wake-up is a wait that ends without an event. */
static void wake_from_a_thread(const char *engine, unsigned steps, unsigned ahead)
{
	struct world *world = world_of(engine);
	struct waker waker = {.ring = world->ring, .steps = steps, .ahead = ahead};
	UNIT_REQUIRE(pthread_create(&waker.thread, NULL, wake_often, &waker) == 0);
	unsigned seen = 0;
	while (seen < steps) {
		UNIT_REQUIRE(something_comes(world));
		seen = atomic_load_explicit(&waker.count, memory_order_relaxed);
		atomic_store(&waker.answered, seen);
	}
	pthread_join(waker.thread, NULL);
	CU_ASSERT_TRUE(world->woken > 0 && world->woken <= steps);
	CU_ASSERT_EQUAL(ring_stats(world->ring)->wakes, world->woken);
	while (turn(world, 0) > 0) {
	}
	ring_wake(world->ring);
	ring_wake(world->ring);
	ring_wake(world->ring);
	unsigned before = world->woken;
	PUMP(world, world->woken > before);
	CU_ASSERT_EQUAL(turn(world, 0), 0); /* three came as one */
	world_end(world);
}

static void test_ring_no_wake_up_of_a_hundred_thousand_is_lost(const char *engine)
{
	wake_from_a_thread(engine, 100000, 5);
}
BOTH(test_ring_no_wake_up_of_a_hundred_thousand_is_lost)

static void test_ring_every_single_wake_up_is_heard(const char *engine)
{
	wake_from_a_thread(engine, 3000, 0);
}
BOTH(test_ring_every_single_wake_up_is_heard)

static void test_ring_wake_up_before_the_first_wait_is_heard(const char *engine)
{
	struct world *world = world_of(engine);
	ring_wake(world->ring);
	UNIT_REQUIRE(something_comes(world));
	CU_ASSERT_EQUAL(world->woken, 1);
	world_end(world);
}
BOTH(test_ring_wake_up_before_the_first_wait_is_heard)

/* Two shards that ring each other's doorbell in turn. */
struct player {
	pthread_t thread;
	const char *engine;
	struct player *other;
	_Atomic(struct ring *) ring;
	_Atomic unsigned
		*ball; /* whose number it is to increase: even the first's, odd the second's */
	unsigned side, rounds, timed_out;
	_Atomic bool left;
};

static void *play(void *argument)
{
	struct player *player = argument;
	struct world *world = world_of(player->engine);
	atomic_store(&player->ring, world->ring);
	while (atomic_load(&player->other->ring) == NULL) {
		sched_yield();
	}
	for (;;) {
		unsigned ball = atomic_load(player->ball);
		if (ball >= player->rounds) {
			break;
		}
		if (ball % 2 == player->side) {
			atomic_store(player->ball, ball + 1);
			ring_bell(world->ring, atomic_load(&player->other->ring));
			if (ball + 1 == player->rounds) {
				break;
			}
		}
		if (!something_comes(world) && atomic_load(player->ball) == ball) {
			player->timed_out++;
			break;
		}
	}
	turn(world, 0); /* the last bell leaves with it */
	atomic_store(&player->left, true);
	while (!atomic_load(&player->other->left)) {
		sched_yield(); /* a ring is not destroyed while another may ring it */
	}
	world_end(world);
	return NULL;
}

static void play_between(const char *first, const char *second)
{
	_Atomic unsigned ball = 0;
	struct player player[2] = {
		{.engine = first, .side = 0, .rounds = 10000, .ball = &ball},
		{.engine = second, .side = 1, .rounds = 10000, .ball = &ball},
	};
	player[0].other = &player[1];
	player[1].other = &player[0];
	for (unsigned i = 0; i < 2; i++) {
		UNIT_REQUIRE(pthread_create(&player[i].thread, NULL, play, &player[i]) == 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(player[i].thread, NULL);
		CU_ASSERT_EQUAL(player[i].timed_out, 0);
	}
	CU_ASSERT_EQUAL(atomic_load(&ball), 10000);
}

static void test_ring_bells_between_two_rings_are_all_heard(const char *engine)
{
	play_between(engine, engine);
}
BOTH(test_ring_bells_between_two_rings_are_all_heard)

static void test_ring_bells_between_rings_of_two_kinds(void)
{
	if (uring_allowed()) {
		play_between("uring", "epoll");
		play_between("epoll", "uring");
	}
}

static void test_ring_bell_of_its_own_is_heard(const char *engine)
{
	struct world *world = world_of(engine);
	ring_bell(world->ring, world->ring);
	PUMP(world, world->woken == 1);
	world_end(world);
}
BOTH(test_ring_bell_of_its_own_is_heard)

static const struct unit_test tests[] = {
	UNIT_BOTH(test_ring_no_wake_up_of_a_hundred_thousand_is_lost),
	UNIT_BOTH(test_ring_every_single_wake_up_is_heard),
	UNIT_BOTH(test_ring_wake_up_before_the_first_wait_is_heard),
	UNIT_BOTH(test_ring_bells_between_two_rings_are_all_heard),
	UNIT_TEST(test_ring_bells_between_rings_of_two_kinds),
	UNIT_BOTH(test_ring_bell_of_its_own_is_heard),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "ring_wake", tests);
}
