/* Who syncs where: instances, their connections, their silence, and the disk. */
#include "engine/replication/user_sync.h"

#include "tests/replication_frame.h"

#define EXPIRY_MS 300000

static void list(void *context, const struct user_sync_facts *u)
{
	bytes_printf(context, "%.*s %.*s %.*s %lld %s\n", SLICE_ARG(u->instance_id),
		SLICE_ARG(u->user), SLICE_ARG(u->device), (long long)u->since_ms,
		u->connected ? "connected" : "silent");
}

static void users_are(struct frame *f, const char *expected, int at)
{
	struct bytes text = {0};
	replication_user_syncs(f->r, list, &text);
	frame_text_is(f, &text, expected, at);
	bytes_finish(&text);
}
#define USERS(f, expected) users_are((f), (expected), __LINE__)

static void test_users_start_and_stop_by_instance_and_device(void)
{
	struct frame f;
	frame_open(&f);
	CU_ASSERT_EQUAL(frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x phone start 10"), 7);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x None start 11");
	frame_publish(&f, 1, "USER_SYNC aaaaa @bob:x start 12");
	frame_publish(&f, 2, "USER_SYNC bbbbb @ann:x phone start 13");
	FRAME_LOG(&f, "RESP USER_SYNC aaaaa @ann:x phone start 10\n"
		      "RESP USER_SYNC aaaaa @ann:x None start 11\n"
		      "RESP USER_SYNC aaaaa @bob:x start 12\n"
		      "RESP USER_SYNC bbbbb @ann:x phone start 13\n");
	USERS(&f, "aaaaa @ann:x phone 10 connected\naaaaa @ann:x None 11 connected\n"
		  "aaaaa @bob:x  12 connected\nbbbbb @ann:x phone 13 connected\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->users_syncing, 4);
	CU_ASSERT_EQUAL(replication_stats(f.r)->instances, 2);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x phone start 20");
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x None end 21");
	frame_publish(&f, 1, "USER_SYNC aaaaa @nobody:x end 21");
	frame_publish(&f, 1, "USER_SYNC ccccc @nobody:x end 21");
	frame_publish(&f, 2, "USER_SYNC bbbbb @ann:x phone end 22");
	USERS(&f, "aaaaa @ann:x phone 20 connected\naaaaa @bob:x  12 connected\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->instances, 1);
	frame_close(&f);
}

static void test_a_cleared_instance_is_forgotten_and_others_are_not(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_publish(&f, 1, "USER_SYNC bbbbb @ann:x d start 10");
	bytes_clear(&f.log);
	frame_publish(&f, 1, "CLEAR_USER_SYNC aaaaa");
	frame_publish(&f, 1, "CLEAR_USER_SYNCS nobody");
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC aaaaa\nRESP CLEAR_USER_SYNCS nobody\n");
	USERS(&f, "bbbbb @ann:x d 10 connected\n");
	frame_publish(&f, 1, "CLEAR_USER_SYNCS bbbbb");
	USERS(&f, "");
	CU_ASSERT_EQUAL(replication_stats(f.r)->user_syncs_expired, 0);
	frame_close(&f);
}

static void test_losing_a_connection_alone_clears_nobody(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	bytes_clear(&f.log);
	replication_disconnected(f.r, 1, f.now);
	USERS(&f, "aaaaa @ann:x d 10 silent\n");
	frame_pass(&f, EXPIRY_MS - 1);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "");
	USERS(&f, "aaaaa @ann:x d 10 silent\n");
	frame_close(&f);
}

static void test_a_silent_instance_without_a_connection_is_cleared_once(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_publish(&f, 1, "USER_SYNC aaaaa @bob:x d start 10");
	frame_publish(&f, 2, "USER_SYNC bbbbb @ann:x d start 10");
	bytes_clear(&f.log);
	/* An hour of quiet on a standing connection is no silence. */
	frame_pass(&f, 3600 * 1000);
	replication_tick(f.r, f.now);
	replication_disconnected(f.r, 1, f.now);
	CU_ASSERT(replication_tick(f.r, f.now) <= f.now.mono_ns + EXPIRY_MS * 1000000ull);
	frame_pass(&f, EXPIRY_MS);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC aaaaa\n");
	USERS(&f, "bbbbb @ann:x d 10 connected\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->user_syncs_expired, 2);
	frame_pass(&f, EXPIRY_MS);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "");
	frame_close(&f);
}

static void test_an_instance_that_comes_back_in_time_stays(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	replication_disconnected(f.r, 1, f.now);
	frame_pass(&f, EXPIRY_MS - 1);
	frame_publish(&f, 2, "USER_SYNC aaaaa @ann:x d start 20");
	bytes_clear(&f.log);
	frame_pass(&f, 10 * EXPIRY_MS);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "");
	/* The old connection's late end says nothing about it. */
	replication_disconnected(f.r, 1, f.now);
	USERS(&f, "aaaaa @ann:x d 20 connected\n");
	frame_close(&f);
}

static void test_the_connection_that_spoke_last_speaks_for_an_instance(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_publish(&f, 1, "USER_SYNC bbbbb @ann:x d start 10");
	frame_publish(&f, 2, "USER_SYNC aaaaa @bob:x d end 10");
	replication_disconnected(f.r, 1, f.now);
	USERS(&f, "aaaaa @ann:x d 10 connected\nbbbbb @ann:x d 10 silent\n");
	replication_disconnected(f.r, 2, f.now);
	USERS(&f, "aaaaa @ann:x d 10 silent\nbbbbb @ann:x d 10 silent\n");
	frame_close(&f);
}

static void test_instances_expire_in_the_order_of_their_silence(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_publish(&f, 2, "USER_SYNC bbbbb @ann:x d start 10");
	frame_publish(&f, 3, "USER_SYNC ccccc @ann:x d start 10");
	replication_disconnected(f.r, 2, f.now);
	frame_pass(&f, 1000);
	replication_disconnected(f.r, 3, f.now);
	frame_pass(&f, 1000);
	replication_disconnected(f.r, 1, f.now);
	bytes_clear(&f.log);
	frame_pass(&f, EXPIRY_MS - 2000);
	uint64_t due = replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC bbbbb\n");
	CU_ASSERT_EQUAL(due, f.now.mono_ns + FRAME_SECOND);
	frame_pass(&f, 60000);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), UINT64_MAX);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC ccccc\nRESP CLEAR_USER_SYNC aaaaa\n");
	frame_close(&f);
}

static void test_user_syncs_survive_a_restart_and_so_does_the_clock_of_silence(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_publish(&f, 2, "USER_SYNC bbbbb @bob:x start 11");
	replication_disconnected(f.r, 1, f.now);
	frame_save(&f);
	frame_pass(&f, 100000);
	replication_tick(f.r, f.now); /* bbbbb is still there */
	frame_save(&f);
	bytes_clear(&f.log);
	/* Killed, and away for a minute: 160 s of silence of aaaaa, 60 s of bbbbb. */
	frame_restart(&f, 60000);
	USERS(&f, "aaaaa @ann:x d 10 silent\nbbbbb @bob:x  11 silent\n");
	frame_pass(&f, 139999);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "");
	frame_pass(&f, 1);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC aaaaa\n");
	frame_pass(&f, 99999);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "");
	frame_pass(&f, 1);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC bbbbb\n");
	/* The disk knows it, too. */
	frame_save(&f);
	CU_ASSERT_PTR_NULL(f.disk);
	frame_close(&f);
}

static void test_loaded_instances_expire_in_the_order_of_their_silence_too(void)
{
	struct frame f;
	frame_open(&f);
	static const int silent_s[] = {100, 290, 200, 299, 0};
	for (unsigned i = 0; i < 5; i++) {
		char id[2] = {(char)('a' + i), '\0'};
		struct store_instance instance = {
			FRAME_TENANT, slice_of(id), f.now.wall_ms - silent_s[i] * 1000};
		replication_load_instance(f.r, &instance, f.now);
	}
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), f.now.mono_ns + FRAME_SECOND);
	frame_pass(&f, 1000);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), f.now.mono_ns + 9 * (uint64_t)FRAME_SECOND);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC d\n");
	frame_pass(&f, 150000);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC b\nRESP CLEAR_USER_SYNC c\n");
	frame_pass(&f, 200000);
	CU_ASSERT_EQUAL(replication_tick(f.r, f.now), UINT64_MAX);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC a\nRESP CLEAR_USER_SYNC e\n");
	frame_close(&f);
}

static void test_a_long_absence_clears_at_once_and_a_clock_set_back_does_not(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_save(&f);
	bytes_clear(&f.log);
	f.now.wall_ms -= 3600 * 1000; /* as if it were to be stored in an hour */
	frame_restart(&f, 0);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "");
	frame_pass(&f, EXPIRY_MS);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC aaaaa\n");
	/* Stored, and read back a year and more later. */
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_save(&f);
	bytes_clear(&f.log);
	frame_restart(&f, (uint64_t)1000 * 86400 * 1000);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC aaaaa\n");
	frame_close(&f);
}

static void test_the_sign_of_life_of_a_connected_instance_is_stored_each_half_minute(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	CU_ASSERT_EQUAL(frame_save(&f), 2);
	uint64_t due = replication_tick(f.r, f.now);
	frame_save(&f);
	CU_ASSERT_EQUAL(due, f.now.mono_ns + 30ull * FRAME_SECOND);
	/* Many commands, no row but the user's. */
	for (unsigned i = 0; i < 20; i++) {
		frame_pass(&f, 1000);
		frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
		CU_ASSERT_EQUAL(frame_save(&f), 1);
		replication_tick(f.r, f.now);
	}
	frame_pass(&f, 10000);
	replication_tick(f.r, f.now);
	CU_ASSERT_EQUAL(frame_save(&f), 1);
	UNIT_REQUIRE(f.disk != NULL);
	struct frame_row *row;
	DL_FOREACH (f.disk, row) {
		if (strncmp(row->key, "instance", 8) == 0) {
			CU_ASSERT_EQUAL(row->a, f.now.wall_ms);
		}
	}
	frame_close(&f);
}

static void test_what_is_gone_is_deleted_on_the_disk(void)
{
	struct frame f;
	frame_open(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d start 10");
	frame_publish(&f, 1, "USER_SYNC aaaaa @bob:x d start 10");
	frame_publish(&f, 1, "USER_SYNC bbbbb @bob:x start 10");
	frame_save(&f);
	frame_publish(&f, 1, "USER_SYNC aaaaa @ann:x d end 11");
	CU_ASSERT_EQUAL(frame_save(&f), 1);
	frame_publish(&f, 1, "CLEAR_USER_SYNC bbbbb");
	CU_ASSERT_EQUAL(frame_save(&f), 1);
	frame_restart(&f, 0);
	USERS(&f, "aaaaa @bob:x d 10 silent\n");
	/* Gone and back between two collections: the disk has the new, not the old. */
	frame_publish(&f, 1, "CLEAR_USER_SYNC aaaaa");
	frame_publish(&f, 1, "USER_SYNC aaaaa @cat:x d start 12");
	frame_publish(&f, 1, "USER_SYNC aaaaa @dog:x d start 12");
	frame_publish(&f, 1, "USER_SYNC aaaaa @dog:x d end 12");
	frame_save(&f);
	frame_restart(&f, 0);
	USERS(&f, "aaaaa @cat:x d 12 silent\n");
	/* Stopped and started again. */
	frame_publish(&f, 1, "USER_SYNC aaaaa @elk:x d start 13");
	frame_publish(&f, 1, "USER_SYNC aaaaa @cat:x d end 13");
	frame_publish(&f, 1, "USER_SYNC aaaaa @cat:x d start 14");
	frame_save(&f);
	frame_restart(&f, 0);
	USERS(&f, "aaaaa @elk:x d 13 silent\naaaaa @cat:x d 14 silent\n");
	/* The last one stops: nothing is left. */
	frame_publish(&f, 1, "USER_SYNC aaaaa @cat:x d end 15");
	frame_publish(&f, 1, "USER_SYNC aaaaa @elk:x d end 15");
	frame_save(&f);
	CU_ASSERT_PTR_NULL(f.disk);
	frame_close(&f);
}

static void test_the_limit_holds_tombstones_included(void)
{
	struct frame f;
	frame_open(&f);
	f.limits.user_syncs_max = 3;
	char line[100];
	for (int i = 0; i < 3; i++) {
		snprintf(line, sizeof(line), "USER_SYNC aaaaa @u%d:x d start 10", i);
		frame_publish(&f, 1, line);
	}
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 0);
	bytes_clear(&f.log);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, "USER_SYNC aaaaa @u3:x d start 10"), -E_FULL);
	FRAME_LOG(&f, "RESP USER_SYNC aaaaa @u3:x d start 10\n"); /* relayed all the same */
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 1);
	/* A store that takes nothing: what has ended is still held for it. */
	frame_publish(&f, 1, "USER_SYNC aaaaa @u0:x d end 10");
	CU_ASSERT_EQUAL(replication_stats(f.r)->users_syncing, 2);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, "USER_SYNC aaaaa @u3:x d start 10"), -E_FULL);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, "USER_SYNC aaaaa @u0:x d start 10"), OK);
	frame_publish(&f, 1, "USER_SYNC aaaaa @u0:x d end 10");
	frame_save(&f);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, "USER_SYNC aaaaa @u3:x d start 10"), OK);
	/* Instances that come and go are held likewise. */
	frame_publish(&f, 1, "CLEAR_USER_SYNC aaaaa");
	for (int i = 0; i < 10; i++) {
		snprintf(line, sizeof(line), "USER_SYNC i%d @u:x d start 10", i);
		frame_publish(&f, 1, line);
		snprintf(line, sizeof(line), "USER_SYNC i%d @u:x d end 10", i);
		frame_publish(&f, 1, line);
	}
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 2 + 8);
	frame_save(&f);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, "USER_SYNC i9 @u:x d start 10"), OK);
	frame_close(&f);
}

static void test_names_that_are_too_long_are_relayed_and_not_remembered(void)
{
	struct frame f;
	frame_open(&f);
	char line[2000];
	snprintf(line, sizeof(line), "USER_SYNC %0256d @u:x d start 10", 0);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, line), -E_FULL);
	snprintf(line, sizeof(line), "USER_SYNC i @u%0256d d start 10", 0);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, line), -E_FULL);
	snprintf(line, sizeof(line), "USER_SYNC i @u:x d%0256d start 10", 0);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, line), -E_FULL);
	frame_publish(&f, 1, "USER_SYNC i @u:x d start 10");
	snprintf(line, sizeof(line), "USER_SYNC i @u:x d%0256d end 10", 0);
	CU_ASSERT_EQUAL(frame_line(&f, 1, NULL, line), OK);
	USERS(&f, "i @u:x d 10 connected\n");
	CU_ASSERT_EQUAL(f.appends, 5);
	frame_close(&f);
}

static void test_stored_rows_that_make_no_sense_are_passed_over(void)
{
	struct frame f;
	frame_open(&f);
	replication_load_user_sync(f.r, &(struct store_user_sync){FRAME_TENANT, SLICE("none"),
						SLICE("@u:x"), SLICE("d"), 1});
	struct store_instance instance = {FRAME_TENANT, SLICE("i"), INT64_MIN};
	replication_load_instance(f.r, &instance, f.now);
	replication_load_instance(f.r, &instance, f.now);
	struct store_user_sync user = {FRAME_TENANT, SLICE("i"), SLICE("@u:x"), SLICE("d"), 1};
	replication_load_user_sync(f.r, &user);
	replication_load_user_sync(f.r, &user);
	USERS(&f, "i @u:x d 1 silent\n");
	CU_ASSERT_EQUAL(replication_stats(f.r)->refused_full, 3);
	replication_tick(f.r, f.now);
	FRAME_LOG(&f, "RESP CLEAR_USER_SYNC i\n");
	frame_close(&f);
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		UNIT_TEST(test_users_start_and_stop_by_instance_and_device),
		UNIT_TEST(test_a_cleared_instance_is_forgotten_and_others_are_not),
		UNIT_TEST(test_losing_a_connection_alone_clears_nobody),
		UNIT_TEST(test_a_silent_instance_without_a_connection_is_cleared_once),
		UNIT_TEST(test_an_instance_that_comes_back_in_time_stays),
		UNIT_TEST(test_the_connection_that_spoke_last_speaks_for_an_instance),
		UNIT_TEST(test_instances_expire_in_the_order_of_their_silence),
		UNIT_TEST(test_user_syncs_survive_a_restart_and_so_does_the_clock_of_silence),
		UNIT_TEST(test_loaded_instances_expire_in_the_order_of_their_silence_too),
		UNIT_TEST(test_a_long_absence_clears_at_once_and_a_clock_set_back_does_not),
		UNIT_TEST(test_the_sign_of_life_of_a_connected_instance_is_stored_each_half_minute),
		UNIT_TEST(test_what_is_gone_is_deleted_on_the_disk),
		UNIT_TEST(test_the_limit_holds_tombstones_included),
		UNIT_TEST(test_names_that_are_too_long_are_relayed_and_not_remembered),
		UNIT_TEST(test_stored_rows_that_make_no_sense_are_passed_over),
	};
	return UNIT_MAIN(argc, argv, "user_sync", tests);
}
