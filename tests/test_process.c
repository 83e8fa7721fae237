/* Background processes: names are bounded, accounts add up. */
#include "engine/hub/process.h"

#include <stdio.h>

#include "tests/unit.h"

static void test_process_is_the_same_for_the_same_name(void)
{
	struct processes *all = processes_create(8);
	struct process *rdata = process_named(all, SLICE("replication-RDATA-events"));
	CU_ASSERT_PTR_EQUAL(rdata, process_named(all, SLICE("replication-RDATA-events")));
	CU_ASSERT_PTR_NOT_EQUAL(rdata, process_named(all, SLICE("replication-RDATA")));
	CU_ASSERT_TRUE(slice_equal(process_name(rdata), SLICE("replication-RDATA-events")));
	processes_destroy(all);
	processes_destroy(NULL);
}

static void test_run_is_in_flight_until_it_ends(void)
{
	struct processes *all = processes_create(8);
	struct process *p = process_named(all, SLICE("a"));
	process_begin(p);
	process_begin(p);
	CU_ASSERT_EQUAL(process_in_flight(p), 2);
	process_waited(p, 500);
	process_end(p, false, 0);
	process_end(p, true, 0);
	struct process_account account = process_account(p);
	CU_ASSERT_EQUAL(process_in_flight(p), 0);
	CU_ASSERT_EQUAL(account.started, 2);
	CU_ASSERT_EQUAL(account.failed, 1);
	CU_ASSERT_EQUAL(account.store_waits, 1);
	CU_ASSERT_EQUAL(account.store_wait_ns, 500);
	processes_destroy(all);
}

static void test_sampled_time_estimates_the_whole(void)
{
	struct processes *all = processes_create(8);
	struct process *p = process_named(all, SLICE("a"));
	unsigned timed = 0;
	for (int i = 0; i < 100 * PROCESS_SAMPLE; i++) {
		bool sample = process_begin(p);
		timed += sample ? 1 : 0;
		process_end(p, false, sample ? 30 : 0);
	}
	CU_ASSERT_EQUAL(timed, 100);
	CU_ASSERT_EQUAL(process_account(p).cpu_ns, 100u * PROCESS_SAMPLE * 30u);
	processes_destroy(all);
}

static void count(void *context, const struct process *process)
{
	(void)process;
	++*(unsigned *)context;
}

static void test_names_beyond_the_limit_share_one_account(void)
{
	struct processes *all = processes_create(10);
	for (int i = 0; i < 1000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "stream%d", i);
		struct process *p = process_named(all, slice_of(name));
		process_begin(p);
		process_end(p, false, 0);
	}
	struct process *other = process_named(all, SLICE("stream999"));
	CU_ASSERT_TRUE(slice_equal(process_name(other), SLICE("other")));
	CU_ASSERT_EQUAL(process_account(other).started, 990);
	CU_ASSERT_PTR_EQUAL(other, process_named(all, SLICE("")));
	unsigned names = 0;
	processes_each(all, count, &names);
	CU_ASSERT_EQUAL(names, 11);
	char longer[PROCESS_NAME_MAX * 2];
	memset(longer, 'x', sizeof(longer));
	CU_ASSERT_PTR_EQUAL(other, process_named(all, (struct slice){longer, sizeof(longer)}));
	processes_destroy(all);
}

static void test_shards_accounts_add_up_by_name(void)
{
	struct processes *a = processes_create(8);
	struct processes *b = processes_create(8);
	struct processes *sum = processes_create(8);
	process_begin(process_named(a, SLICE("x")));
	process_begin(process_named(b, SLICE("x")));
	process_end(process_named(b, SLICE("x")), true, 1);
	process_begin(process_named(b, SLICE("y")));
	processes_add(sum, a);
	processes_add(sum, b);
	struct process_account x = process_account(process_named(sum, SLICE("x")));
	CU_ASSERT_EQUAL(x.started, 2);
	CU_ASSERT_EQUAL(x.failed, 1);
	CU_ASSERT_EQUAL(x.cpu_ns, PROCESS_SAMPLE);
	CU_ASSERT_EQUAL(process_in_flight(process_named(sum, SLICE("y"))), 1);
	processes_destroy(a);
	processes_destroy(b);
	processes_destroy(sum);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_process_is_the_same_for_the_same_name),
	UNIT_TEST(test_run_is_in_flight_until_it_ends),
	UNIT_TEST(test_sampled_time_estimates_the_whole),
	UNIT_TEST(test_names_beyond_the_limit_share_one_account),
	UNIT_TEST(test_shards_accounts_add_up_by_name),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "process", tests);
}
