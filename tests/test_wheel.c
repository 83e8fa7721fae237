/* The timing wheel against a plain sorted list, and its promises one by one. */
#include "ring/wheel.h"

#include "tests/unit.h"

enum { TIMERS = 400, MS = 1000000 };

struct probe {
	struct wheel_timer timer; /* first: the functions below get back to the probe */
	struct wheel *wheel;
	uint64_t expected_ms; /* of the model: 0 when not set */
	uint64_t again_ns;    /* set anew from inside, so much later */
	unsigned calls;
	struct probe *cancels;
};

static uint64_t last_called_ms;
static bool out_of_order;

static void note(struct wheel_timer *timer, uint64_t now_ns)
{
	struct probe *probe = (struct probe *)timer;
	probe->calls++;
	if (probe->expected_ms < last_called_ms || probe->expected_ms * MS > now_ns) {
		out_of_order = true;
	}
	last_called_ms = probe->expected_ms;
	probe->expected_ms = 0;
}

static void cancel_other(struct wheel_timer *timer, uint64_t now_ns)
{
	struct probe *probe = (struct probe *)timer;
	(void)now_ns;
	probe->calls++;
	wheel_cancel(probe->wheel, &probe->cancels->timer);
}

static void set_again(struct wheel_timer *timer, uint64_t now_ns)
{
	struct probe *probe = (struct probe *)timer;
	probe->calls++;
	wheel_set(probe->wheel, timer, now_ns + probe->again_ns);
}

static void test_wheel_calls_a_timer_once_and_not_before_its_time(void)
{
	struct wheel *wheel = wheel_create(7 * MS);
	struct probe a = {.timer.expired = note};
	CU_ASSERT_FALSE(wheel_is_set(&a.timer));
	CU_ASSERT_EQUAL(wheel_next_ns(wheel, 7 * MS), UINT64_MAX);
	wheel_set(wheel, &a.timer, 100 * MS + 1); /* rounded up to 101 ms */
	CU_ASSERT_TRUE(wheel_is_set(&a.timer));
	CU_ASSERT_EQUAL(wheel_advance(wheel, 101 * MS - 1), 0);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 101 * MS), 1);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 900 * MS), 0);
	CU_ASSERT_EQUAL(a.calls, 1);
	CU_ASSERT_FALSE(wheel_is_set(&a.timer));
	wheel_destroy(wheel);
	wheel_destroy(NULL);
}

static void test_wheel_time_that_has_passed_is_due_at_the_next_advance(void)
{
	struct wheel *wheel = wheel_create(5000ull * MS);
	struct probe a = {.timer.expired = note};
	wheel_set(wheel, &a.timer, 3);
	CU_ASSERT_EQUAL(wheel_next_ns(wheel, 5000ull * MS), 0);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 5000ull * MS), 1);
	wheel_destroy(wheel);
}

static void test_wheel_cancel_and_setting_anew(void)
{
	struct wheel *wheel = wheel_create(0);
	struct probe a = {.timer.expired = note}, b = {.timer.expired = note};
	wheel_cancel(wheel, &a.timer); /* never set: fine */
	wheel_set(wheel, &a.timer, 10 * MS);
	wheel_set(wheel, &b.timer, 10 * MS);
	wheel_cancel(wheel, &a.timer);
	wheel_set(wheel, &b.timer, 70000ull * MS);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 69999ull * MS), 0);
	CU_ASSERT_EQUAL(wheel_next_ns(wheel, 69999ull * MS), MS);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 70000ull * MS), 1);
	CU_ASSERT_EQUAL(wheel_next_ns(wheel, 70000ull * MS), UINT64_MAX);
	CU_ASSERT_EQUAL(a.calls, 0);
	CU_ASSERT_EQUAL(b.calls, 1);
	wheel_destroy(wheel);
}

static void test_wheel_timer_may_cancel_another_of_the_same_millisecond(void)
{
	struct wheel *wheel = wheel_create(0);
	struct probe a = {.timer.expired = cancel_other, .wheel = wheel};
	struct probe b = {.timer.expired = cancel_other, .wheel = wheel};
	a.cancels = &b;
	b.cancels = &a;
	wheel_set(wheel, &a.timer, 10 * MS);
	wheel_set(wheel, &b.timer, 10 * MS);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 20 * MS), 1);
	CU_ASSERT_EQUAL(a.calls + b.calls, 1);
	wheel_destroy(wheel);
}

static void test_wheel_timer_that_sets_itself_now_does_not_hold_the_caller(void)
{
	struct wheel *wheel = wheel_create(0);
	struct probe a = {.timer.expired = set_again, .wheel = wheel, .again_ns = 0};
	struct probe b = {.timer.expired = set_again, .wheel = wheel, .again_ns = 25 * MS};
	wheel_set(wheel, &a.timer, 1 * MS);
	wheel_set(wheel, &b.timer, 1 * MS);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 10 * MS), 2);
	CU_ASSERT_EQUAL(wheel_next_ns(wheel, 10 * MS), 0);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 10 * MS), 1);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 34 * MS), 1);
	CU_ASSERT_EQUAL(wheel_advance(wheel, 35 * MS), 2);
	CU_ASSERT_EQUAL(a.calls, 4);
	CU_ASSERT_EQUAL(b.calls, 2);
	wheel_destroy(wheel);
}

static void test_wheel_takes_the_farthest_times(void)
{
	struct wheel *wheel = wheel_create(0);
	struct probe never = {.timer.expired = note}, year = {.timer.expired = note};
	uint64_t year_ns = 366ull * 86400 * 1000 * MS;
	wheel_set(wheel, &never.timer, UINT64_MAX);
	wheel_set(wheel, &year.timer, year_ns);
	year.expected_ms = year_ns / MS;
	for (uint64_t now_ns = 0; year.calls == 0;) {
		uint64_t sleep_ns = wheel_next_ns(wheel, now_ns);
		UNIT_REQUIRE(sleep_ns <= year_ns - now_ns);
		now_ns += sleep_ns;
		wheel_advance(wheel, now_ns);
	}
	CU_ASSERT_TRUE(wheel_is_set(&never.timer));
	CU_ASSERT_TRUE(wheel_next_ns(wheel, year_ns) > year_ns);
	wheel_destroy(wheel);
}

static void test_wheel_sleeps_once_for_a_single_timer(void)
{
	struct wheel *wheel = wheel_create(12345ull * MS);
	struct probe a = {.timer.expired = note};
	wheel_set(wheel, &a.timer, 12345ull * MS + 300000ull * MS);
	CU_ASSERT_EQUAL(wheel_next_ns(wheel, 12345ull * MS), 300000ull * MS);
	wheel_destroy(wheel);
}

static uint64_t random_due_ns(uint64_t *state, uint64_t now_ns)
{
	uint64_t r = unit_random(state);
	unsigned magnitude = (unsigned)(r % 40); /* up to 2^40 ns, some 18 minutes */
	uint64_t distance = (r >> 8) & ((UINT64_C(1) << magnitude) - 1);
	return (r >> 60) == 0 && now_ns > distance ? now_ns - distance : now_ns + distance;
}

/* When the model expects the next call, from now_ns; UINT64_MAX: never. */
static uint64_t model_next_ns(const struct probe *probes, uint64_t now_ns)
{
	uint64_t next = UINT64_MAX;
	for (unsigned i = 0; i < TIMERS; i++) {
		if (probes[i].expected_ms != 0) {
			uint64_t due_ns = probes[i].expected_ms * MS;
			uint64_t in_ns = due_ns > now_ns ? due_ns - now_ns : 0;
			next = in_ns < next ? in_ns : next;
		}
	}
	return next;
}

static unsigned model_due(const struct probe *probes, uint64_t now_ns)
{
	unsigned due = 0;
	for (unsigned i = 0; i < TIMERS; i++) {
		due += probes[i].expected_ms != 0 && probes[i].expected_ms * MS <= now_ns;
	}
	return due;
}

static void test_wheel_agrees_with_a_plain_list_at_random(void)
{
	static struct probe probes[TIMERS];
	uint64_t state = unit_seed();
	uint64_t now_ns = unit_random(&state) >> 8;
	struct wheel *wheel = wheel_create(now_ns);
	memset(probes, 0, sizeof(probes));
	out_of_order = false;
	for (unsigned step = 0; step < 20000; step++) {
		struct probe *probe = &probes[unit_random(&state) % TIMERS];
		probe->timer.expired = note;
		uint64_t choice = unit_random(&state) % 8;
		if (choice < 5) {
			uint64_t due_ns = random_due_ns(&state, now_ns);
			uint64_t due_ms = (due_ns + MS - 1) / MS;
			wheel_set(wheel, &probe->timer, due_ns);
			/* what has passed is called among those of the present millisecond */
			probe->expected_ms = due_ms > now_ns / MS ? due_ms : now_ns / MS;
		} else if (choice < 6) {
			wheel_cancel(wheel, &probe->timer);
			probe->expected_ms = 0;
		} else {
			uint64_t next = wheel_next_ns(wheel, now_ns);
			UNIT_REQUIRE(next <= model_next_ns(probes, now_ns));
			bool sleep = next != UINT64_MAX && choice == 6;
			now_ns += sleep ? next
					: unit_random(&state) >> (20 + unit_random(&state) % 40);
			unsigned due = model_due(probes, now_ns);
			last_called_ms = 0;
			UNIT_REQUIRE(wheel_advance(wheel, now_ns) == due);
			UNIT_REQUIRE(model_due(probes, now_ns) == 0);
		}
		UNIT_REQUIRE(wheel_is_set(&probe->timer) == (probe->expected_ms != 0));
	}
	CU_ASSERT_FALSE(out_of_order);
	wheel_destroy(wheel);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_wheel_calls_a_timer_once_and_not_before_its_time),
	UNIT_TEST(test_wheel_time_that_has_passed_is_due_at_the_next_advance),
	UNIT_TEST(test_wheel_cancel_and_setting_anew),
	UNIT_TEST(test_wheel_timer_may_cancel_another_of_the_same_millisecond),
	UNIT_TEST(test_wheel_timer_that_sets_itself_now_does_not_hold_the_caller),
	UNIT_TEST(test_wheel_takes_the_farthest_times),
	UNIT_TEST(test_wheel_sleeps_once_for_a_single_timer),
	UNIT_TEST(test_wheel_agrees_with_a_plain_list_at_random),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "wheel", tests);
}
