/* Subscriptions by glob: who gets copies, in which form, and that nothing is left behind. */
#include "engine/fanout/pattern.h"

#include "tests/unit.h"

static unsigned ready_calls;

static void count_ready(struct outbox *outbox)
{
	(void)outbox;
	ready_calls++;
}

/* Everything that the outbox owes, as one text; it is sent. */
static void take(struct outbox *outbox, struct bytes *out)
{
	struct iovec pieces[4];
	unsigned count;
	bytes_clear(out);
	while ((count = outbox_next(outbox, pieces, 4, 1000, UINT64_MAX)) > 0) {
		for (unsigned i = 0; i < count; i++) {
			bytes_append(out, pieces[i].iov_base, pieces[i].iov_len);
		}
		outbox_sent(outbox);
	}
}

static void check_owed(struct outbox *outbox, const char *expected)
{
	struct bytes got = {0};
	take(outbox, &got);
	CU_ASSERT_TRUE(slice_equal(bytes_slice(&got), slice_of(expected)));
	bytes_finish(&got);
}

static void test_pattern_copies_carry_glob_channel_and_payload(void)
{
	struct patterns patterns;
	struct outbox two, three;
	patterns_init(&patterns, count_ready);
	outbox_init(&two, 1);
	outbox_init(&three, 2);
	ready_calls = 0;
	CU_ASSERT_TRUE(patterns_subscribe(&patterns, &two, ENC_RESP2, SLICE("a*")));
	CU_ASSERT_TRUE(patterns_subscribe(&patterns, &three, ENC_RESP3, SLICE("a*")));
	CU_ASSERT_FALSE(patterns_subscribe(&patterns, &two, ENC_RESP2, SLICE("a*")));
	CU_ASSERT_EQUAL(patterns.count, 1);
	CU_ASSERT_EQUAL(patterns_publish(&patterns, SLICE("abc"), SLICE("hello")), 2);
	CU_ASSERT_EQUAL(patterns_publish(&patterns, SLICE("bc"), SLICE("hello")), 0);
	CU_ASSERT_EQUAL(ready_calls, 2);
	check_owed(&two, "*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$3\r\nabc\r\n$5\r\nhello\r\n");
	check_owed(&three, ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$3\r\nabc\r\n$5\r\nhello\r\n");
	patterns_leave(&patterns, &two);
	CU_ASSERT_TRUE(patterns_unsubscribe(&patterns, &three, SLICE("a*")));
	CU_ASSERT_FALSE(patterns_unsubscribe(&patterns, &three, SLICE("a*")));
	outbox_finish(&two);
	outbox_finish(&three);
	patterns_finish(&patterns);
}

static void test_pattern_each_matching_glob_gives_a_copy(void)
{
	struct patterns patterns;
	struct outbox outbox;
	patterns_init(&patterns, count_ready);
	outbox_init(&outbox, 1);
	patterns_subscribe(&patterns, &outbox, ENC_RESP2, SLICE("*"));
	patterns_subscribe(&patterns, &outbox, ENC_RESP2, SLICE("a?c"));
	patterns_subscribe(&patterns, &outbox, ENC_RESP2, SLICE(""));
	CU_ASSERT_EQUAL(patterns_publish(&patterns, SLICE("abc"), SLICE("")), 2);
	check_owed(&outbox, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$3\r\nabc\r\n$0\r\n\r\n"
			    "*4\r\n$8\r\npmessage\r\n$3\r\na?c\r\n$3\r\nabc\r\n$0\r\n\r\n");
	patterns_leave(&patterns, &outbox);
	CU_ASSERT_EQUAL(patterns.count, 0);
	CU_ASSERT_EQUAL(patterns_publish(&patterns, SLICE("abc"), SLICE("")), 0);
	outbox_finish(&outbox);
	patterns_finish(&patterns);
}

static void count_globs(void *context, struct slice glob)
{
	(void)glob;
	(*(unsigned *)context)++;
}

static void test_pattern_random_comings_and_goings_leave_nothing(void)
{
	enum { CONNS = 7, GLOBS = 9, STEPS = 4000 };
	uint64_t state = unit_seed();
	struct patterns patterns;
	struct outbox outboxes[CONNS];
	bool has[CONNS][GLOBS] = {{false}};
	patterns_init(&patterns, count_ready);
	for (unsigned i = 0; i < CONNS; i++) {
		outbox_init(&outboxes[i], i + 1);
	}
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned c = (unsigned)(unit_random(&state) % CONNS);
		unsigned g = (unsigned)(unit_random(&state) % GLOBS);
		char text[] = {'g', (char)('0' + g), '*'};
		struct slice glob = {text, sizeof(text)};
		if (unit_random(&state) % 20 == 0) {
			patterns_leave(&patterns, &outboxes[c]);
			memset(has[c], 0, sizeof(has[c]));
		} else if (unit_random(&state) % 2 == 0) {
			CU_ASSERT_EQUAL(
				patterns_subscribe(&patterns, &outboxes[c], ENC_RESP2, glob),
				!has[c][g]);
			has[c][g] = true;
		} else {
			CU_ASSERT_EQUAL(
				patterns_unsubscribe(&patterns, &outboxes[c], glob), has[c][g]);
			has[c][g] = false;
		}
		unsigned listed = 0, counted = 0;
		patterns_each(&outboxes[c], count_globs, &listed);
		for (unsigned i = 0; i < GLOBS; i++) {
			counted += has[c][i];
		}
		CU_ASSERT_EQUAL(listed, counted);
	}
	for (unsigned i = 0; i < CONNS; i++) {
		patterns_leave(&patterns, &outboxes[i]);
		outbox_finish(&outboxes[i]);
	}
	CU_ASSERT_EQUAL(patterns.count, 0);
	patterns_finish(&patterns);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_pattern_copies_carry_glob_channel_and_payload),
	UNIT_TEST(test_pattern_each_matching_glob_gives_a_copy),
	UNIT_TEST(test_pattern_random_comings_and_goings_leave_nothing),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "pattern", tests);
}
