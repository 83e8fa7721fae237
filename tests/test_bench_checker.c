/* The judge of the benchmarks must itself be trusted: each fault is put in once, and must be found once.
 */
#include "bench/checker.h"

#include "bench/histogram.h"
#include "tests/unit.h"

enum { SUBSCRIBERS = 3, PUBLISHERS = 2 };

struct message {
	uint32_t publisher;
	uint64_t sequence;
};

static const struct message script[] = {
	{0, 0}, {1, 0}, {0, 1}, {0, 2}, {1, 1}, {0, 3}, {1, 2}, {0, 4}};

enum { SCRIPT = sizeof(script) / sizeof(script[0]) };

static void take(struct checker *c, uint32_t subscriber, size_t i)
{
	checker_take(c, subscriber, script[i].publisher, script[i].sequence);
}

static void take_all(struct checker *c, uint32_t subscriber)
{
	for (size_t i = 0; i < SCRIPT; i++) {
		take(c, subscriber, i);
	}
}

static struct checker_faults finish(struct checker *c)
{
	checker_expect(c, 0, 5);
	checker_expect(c, 1, 3);
	struct checker_faults faults = checker_total(c);
	checker_destroy(c);
	return faults;
}

static struct checker *three(void)
{
	return checker_create(PUBLISHERS, SUBSCRIBERS, CHECKER_TOTAL);
}

static void test_checker_finds_nothing_where_all_is_well(void)
{
	struct checker *c = three();
	for (size_t i = 0; i < SCRIPT; i++) { /* side by side */
		for (uint32_t s = 0; s < SUBSCRIBERS; s++) {
			take(c, s, i);
		}
	}
	struct checker_faults f = finish(c);
	CU_ASSERT(checker_is_clean(&f));
	CU_ASSERT_EQUAL(f.received, SCRIPT * SUBSCRIBERS);

	c = three();
	for (uint32_t s = 0; s < SUBSCRIBERS; s++) { /* one after the other */
		take_all(c, s);
	}
	f = finish(c);
	CU_ASSERT(checker_is_clean(&f));
}

/* Every message but the last in turn, at the first subscriber and at a later one. */
static void test_checker_reports_a_lost_message_once(void)
{
	for (uint32_t victim = 0; victim < SUBSCRIBERS; victim++) {
		for (size_t lost = 0; lost < SCRIPT; lost++) {
			struct checker *c = three();
			for (uint32_t s = 0; s < SUBSCRIBERS; s++) {
				for (size_t i = 0; i < SCRIPT; i++) {
					if (s != victim || i != lost) {
						take(c, s, i);
					}
				}
			}
			CU_ASSERT_EQUAL(checker_faults(c, victim).duplicates, 0);
			struct checker_faults f = finish(c);
			CU_ASSERT_EQUAL(f.lost, 1);
			CU_ASSERT_EQUAL(f.duplicates, 0);
			CU_ASSERT_EQUAL(f.reordered, 0);
			CU_ASSERT_EQUAL(f.disordered, 0);
		}
	}
}

static void test_checker_reports_a_doubled_message_once(void)
{
	for (uint32_t victim = 0; victim < SUBSCRIBERS; victim++) {
		for (size_t doubled = 0; doubled < SCRIPT; doubled++) {
			for (size_t later = doubled; later < SCRIPT; later++) {
				struct checker *c = three();
				for (uint32_t s = 0; s < SUBSCRIBERS; s++) {
					for (size_t i = 0; i < SCRIPT; i++) {
						take(c, s, i);
						if (s == victim && i == later) {
							take(c, s, doubled);
						}
					}
				}
				CU_ASSERT_EQUAL(checker_faults(c, victim).duplicates, 1);
				struct checker_faults f = finish(c);
				CU_ASSERT_EQUAL(f.duplicates, 1);
				CU_ASSERT_EQUAL(f.lost + f.reordered + f.disordered, 0);
			}
		}
	}
}

static void swapped(uint32_t victim, size_t at, bool side_by_side, struct checker_faults *out)
{
	struct checker *c = three();
	for (size_t turn = 0; turn < SCRIPT * SUBSCRIBERS; turn++) {
		uint32_t s = (uint32_t)(side_by_side ? turn % SUBSCRIBERS : turn / SCRIPT);
		size_t i = side_by_side ? turn / SUBSCRIBERS : turn % SCRIPT;
		size_t which = s != victim ? i : i == at ? at + 1 : i == at + 1 ? at : i;
		take(c, s, which);
	}
	*out = finish(c);
}

static void test_checker_reports_two_swapped_messages(void)
{
	for (uint32_t victim = 0; victim < SUBSCRIBERS; victim++) {
		for (size_t at = 0; at + 1 < SCRIPT; at++) {
			for (int side_by_side = 0; side_by_side < 2; side_by_side++) {
				struct checker_faults f;
				swapped(victim, at, side_by_side == 1, &f);
				bool same = script[at].publisher == script[at + 1].publisher;
				CU_ASSERT_EQUAL(f.reordered, same ? 1 : 0);
				CU_ASSERT(same ? f.disordered == 0 : f.disordered >= 1);
				CU_ASSERT_EQUAL(f.lost + f.duplicates, 0);
			}
		}
	}
}

static void test_checker_does_not_mind_another_order_where_none_is_promised(void)
{
	struct checker *c = checker_create(PUBLISHERS, 2, CHECKER_PER_PUBLISHER);
	take_all(c, 0);
	for (uint32_t publisher = 0; publisher < PUBLISHERS; publisher++) {
		for (size_t i = 0; i < SCRIPT; i++) {
			if (script[i].publisher == publisher) {
				take(c, 1, i);
			}
		}
	}
	struct checker_faults f = finish(c);
	CU_ASSERT(checker_is_clean(&f));
}

static void test_checker_lets_a_subscriber_join_in_the_middle(void)
{
	for (size_t from = 0; from < SCRIPT; from++) {
		for (int late = 0; late < 2; late++) { /* behind the others, or ahead of them */
			struct checker *c = three();
			checker_join(c, 2);
			for (size_t i = from; i < SCRIPT && late == 0; i++) {
				for (uint32_t s = 0; s < 2; s++) {
					for (size_t k = s == 0 && i == from ? 0 : i;
						k <= i && s == 0; k++) {
						take(c, s, k);
					}
				}
				take(c, 2, i);
			}
			for (size_t i = 0; late == 1 && i < SCRIPT; i++) {
				take(c, 0, i);
			}
			take_all(c, 1);
			for (size_t i = from; late == 1 && i < SCRIPT; i++) {
				take(c, 2, i);
			}
			CU_ASSERT_EQUAL(checker_faults(c, 2).received, SCRIPT - from);
			struct checker_faults f = finish(c);
			CU_ASSERT(checker_is_clean(&f));
		}
	}
}

static void test_checker_reports_what_one_that_joined_loses(void)
{
	struct checker *c = three();
	checker_join(c, 2);
	take_all(c, 0);
	take_all(c, 1);
	take(c, 2, 3);
	take(c, 2, 5); /* without 4, the first of publisher 1 after it: the next one tells */
	take(c, 2, 6);
	take(c, 2, 7);
	CU_ASSERT_EQUAL(checker_faults(c, 2).lost, 0); /* it may have joined behind it */
	checker_destroy(c);

	c = three();
	checker_join(c, 2);
	take_all(c, 0);
	take(c, 2, 2);
	take(c, 2, 5); /* without 3, of the same publisher */
	CU_ASSERT_EQUAL(checker_faults(c, 2).lost, 1);
	checker_destroy(c);
}

static void test_checker_knows_foreign_messages(void)
{
	struct checker *c = three();
	CU_ASSERT_FALSE(checker_take(c, 0, PUBLISHERS, 0));
	CU_ASSERT_FALSE(checker_take(c, 0, 0, (uint64_t)1 << CHECKER_SEQUENCE_BITS));
	checker_foreign(c, 1);
	CU_ASSERT_EQUAL(checker_total(c).foreign, 3);
	checker_destroy(c);
}

static void test_checker_forgives_what_it_is_told_to(void)
{
	struct checker *c = three();
	for (uint32_t s = 0; s < SUBSCRIBERS; s++) {
		for (size_t i = 0; i < SCRIPT; i++) {
			if (i != 3) {
				take(c, s, i);
			}
		}
	}
	for (uint32_t s = 0; s < SUBSCRIBERS; s++) {
		CU_ASSERT(checker_is_missing(c, s, 0, 2));
		CU_ASSERT(checker_forgive(c, s, 0, 2));
		CU_ASSERT_FALSE(checker_forgive(c, s, 0, 2));
	}
	struct checker_faults f = finish(c);
	CU_ASSERT(checker_is_clean(&f));
}

/* A long stream of many publishers, with one fault at a place of chance. */
static void test_checker_finds_one_fault_in_a_million(void)
{
	enum { MESSAGES = 100000, LISTENERS = 10, WRITERS = 8 };
	uint64_t random = unit_seed();
	static struct message stream[MESSAGES];
	uint64_t next[WRITERS] = {0};
	for (size_t i = 0; i < MESSAGES; i++) {
		uint32_t writer = (uint32_t)(unit_random(&random) % WRITERS);
		stream[i] = (struct message){writer, next[writer]++};
	}
	for (int kind = 0; kind < 3; kind++) {
		struct checker *c = checker_create(WRITERS, LISTENERS, CHECKER_TOTAL);
		size_t at = unit_random(&random) % (MESSAGES - 1);
		uint32_t victim = (uint32_t)(unit_random(&random) % LISTENERS);
		for (size_t i = 0; i < MESSAGES; i++) {
			for (uint32_t s = 0; s < LISTENERS; s++) {
				size_t which = i;
				if (s == victim && kind == 2 && (i == at || i == at + 1)) {
					which = i == at ? at + 1 : at;
				}
				if (s == victim && kind == 0 && i == at) {
					continue;
				}
				checker_take(c, s, stream[which].publisher, stream[which].sequence);
				if (s == victim && kind == 1 && i == at) {
					checker_take(c, s, stream[i].publisher, stream[i].sequence);
				}
			}
		}
		for (uint32_t w = 0; w < WRITERS; w++) {
			checker_expect(c, w, next[w]);
		}
		struct checker_faults f = checker_total(c);
		CU_ASSERT_EQUAL(f.lost, kind == 0 ? 1 : 0);
		CU_ASSERT_EQUAL(f.duplicates, kind == 1 ? 1 : 0);
		/* A loss at the one that writes the common log looks like another order until its gap shows. */
		bool leader_lost = kind == 0 && victim == 0;
		CU_ASSERT(leader_lost ? f.reordered == 0
			  : kind == 2 ? f.reordered + f.disordered >= 1
				      : f.reordered + f.disordered == 0);
		checker_destroy(c);
	}
}

static void test_histogram_is_exact_for_small_values(void)
{
	struct histogram h = {0};
	CU_ASSERT_EQUAL(histogram_percentile(&h, 50), 0);
	for (uint64_t i = 1; i <= 100; i++) {
		histogram_record(&h, i);
	}
	CU_ASSERT_EQUAL(histogram_percentile(&h, 50), 50);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 99), 99);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 100), 100);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 0), 1);
	CU_ASSERT_EQUAL(histogram_mean(&h), 50);
	CU_ASSERT_EQUAL(h.min_ns, 1);
	CU_ASSERT_EQUAL(h.max_ns, 100);
}

static void test_histogram_errs_by_less_than_two_percent(void)
{
	uint64_t random = unit_seed();
	for (int i = 0; i < 10000; i++) {
		uint64_t value = unit_random(&random) >> (unit_random(&random) % 63);
		value &= ((uint64_t)1 << 43) - 1;
		struct histogram h = {0};
		histogram_record(&h, value);
		histogram_record(&h, UINT64_MAX >> 1); /* so that the bucket's edge is not cut */
		uint64_t found = histogram_percentile(&h, 50);
		CU_ASSERT(found >= value && found - value <= value / 64 + 1);
	}
}

static void test_histogram_merges_as_if_recorded_together(void)
{
	struct histogram a = {0}, b = {0}, both = {0};
	for (uint64_t i = 0; i < 1000; i++) {
		histogram_record(i % 3 == 0 ? &a : &b, i * i);
		histogram_record(&both, i * i);
	}
	histogram_merge(&a, &b);
	CU_ASSERT_EQUAL(memcmp(&a, &both, sizeof(a)), 0);
	histogram_clear(&b);
	histogram_merge(&a, &b);
	CU_ASSERT_EQUAL(memcmp(&a, &both, sizeof(a)), 0);
}

static void test_histogram_takes_the_greatest_value(void)
{
	struct histogram h = {0};
	histogram_record(&h, UINT64_MAX);
	CU_ASSERT_EQUAL(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	CU_ASSERT(histogram_percentile(&h, 99) > 0);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_checker_finds_nothing_where_all_is_well),
	UNIT_TEST(test_checker_reports_a_lost_message_once),
	UNIT_TEST(test_checker_reports_a_doubled_message_once),
	UNIT_TEST(test_checker_reports_two_swapped_messages),
	UNIT_TEST(test_checker_does_not_mind_another_order_where_none_is_promised),
	UNIT_TEST(test_checker_lets_a_subscriber_join_in_the_middle),
	UNIT_TEST(test_checker_reports_what_one_that_joined_loses),
	UNIT_TEST(test_checker_knows_foreign_messages),
	UNIT_TEST(test_checker_forgives_what_it_is_told_to),
	UNIT_TEST(test_checker_finds_one_fault_in_a_million),
	UNIT_TEST(test_histogram_is_exact_for_small_values),
	UNIT_TEST(test_histogram_errs_by_less_than_two_percent),
	UNIT_TEST(test_histogram_merges_as_if_recorded_together),
	UNIT_TEST(test_histogram_takes_the_greatest_value),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "bench_checker", tests);
}
