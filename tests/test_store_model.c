/* The store against a plain list in memory: random changes from random shards, reopening, and a
 * disk that fails now and then.
 *
 * What was handed over is in the list at once; whenever the store has been closed and opened
 * again, it must hold exactly that.
 */
#include "store/store.h"

#include "tests/test_store.h"
#include "tests/test_store_faults.h"

enum { SHARDS = 3, LINES_MAX = 4096, NAME_MAX_LEN = 300 };

/* "position a b c " -> "= 1 2 3\n", as dump() writes them. */
struct line {
	char *key;
	char *value;
};

static struct {
	struct line lines[LINES_MAX];
	size_t count;
} model;

static void model_delete_prefix(const char *prefix)
{
	size_t kept = 0;
	for (size_t i = 0; i < model.count; i++) {
		if (strncmp(model.lines[i].key, prefix, strlen(prefix)) == 0) {
			free(model.lines[i].key);
			free(model.lines[i].value);
		} else {
			model.lines[kept++] = model.lines[i];
		}
	}
	model.count = kept;
}

/* A whole line, as dump() writes it: replaces the one with the same key. */
static void model_put(const struct bytes *text)
{
	struct slice all = bytes_slice(text);
	const char *equals = memrchr(all.data, '=', all.len);
	char *key = slice_dup((struct slice){all.data, (size_t)(equals - all.data)});
	model_delete_prefix(key);
	UNIT_REQUIRE(model.count < LINES_MAX);
	model.lines[model.count++] = (struct line){
		key, slice_dup((struct slice){equals, all.len - (size_t)(equals - all.data)})};
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of a text in alphabetical order, for names of different length are not stored so. */
static char *sorted(char *text)
{
	char *lines[LINES_MAX];
	size_t count = 0;
	struct bytes out = {0};
	for (char *at = text, *line; (line = strsep(&at, "\n")) != NULL;) {
		if (line[0] != '\0') {
			UNIT_REQUIRE(count < LINES_MAX);
			lines[count++] = line;
		}
	}
	qsort(lines, count, sizeof(lines[0]), compare_lines);
	for (size_t i = 0; i < count; i++) {
		bytes_append_string(&out, lines[i]);
		bytes_append_string(&out, "\n");
	}
	bytes_append(&out, "", 1);
	free(text);
	return out.data;
}

static char *model_dump(void)
{
	struct bytes out = {0};
	for (size_t i = 0; i < model.count; i++) {
		bytes_append_string(&out, model.lines[i].key);
		bytes_append_string(&out, model.lines[i].value);
	}
	bytes_append(&out, "", 1);
	return sorted(out.data);
}

/* One of a few names, so that they meet again; some are nasty. */
static struct slice some_name(uint64_t *state, char *buffer)
{
	static const char *const names[] = {"", "a", "aa", "b", "events", "w1", "@user:a.example"};
	uint64_t pick = unit_random(state) % 10;
	if (pick < sizeof(names) / sizeof(names[0])) {
		return slice_of(names[pick]);
	}
	size_t len = pick == 7 ? 1 : pick == 8 ? 127 : NAME_MAX_LEN;
	memset(buffer, pick == 7 ? 0 : 0xff, len);
	return (struct slice){buffer, len};
}

struct run {
	uint64_t state;
	struct store *store;
	struct listener listener;
	uint64_t numbers[SHARDS];
};

/* One random change, in the batch and in the model. Each shard has its own tenant: their order
 * is one. */
static void change(struct run *run, unsigned shard, struct store_batch *batch)
{
	char tenant[8], a[NAME_MAX_LEN], b[NAME_MAX_LEN], c[NAME_MAX_LEN];
	snprintf(tenant, sizeof(tenant), "t%u", shard);
	uint64_t *state = &run->state;
	struct slice x = some_name(state, a), y = some_name(state, b), z = some_name(state, c);
	struct store_position p = {slice_of(tenant), x, y, (int64_t)unit_random(state),
		(int64_t)unit_random(state), (int64_t)unit_random(state)};
	struct store_user_sync s = {slice_of(tenant), x, y, z, (int64_t)unit_random(state)};
	struct store_instance i = {slice_of(tenant), x, (int64_t)unit_random(state)};
	struct bytes text = {0}, more = {0};
	switch (unit_random(state) % 8) {
	case 0:
	case 1:
		store_put_position(batch, &p);
		dump_position(&text, &p);
		model_put(&text);
		break;
	case 2:
		store_delete_position(batch, p.tenant, p.stream, p.instance);
		dump_position(&text, &p);
		bytes_append(&text, "", 1);
		*strrchr(text.data, '=') = '\0';
		model_delete_prefix(text.data);
		break;
	case 3:
	case 4:
		store_put_user_sync(batch, &s);
		dump_user_sync(&text, &s);
		model_put(&text);
		break;
	case 5:
		store_delete_user_sync(batch, &s);
		dump_user_sync(&text, &s);
		bytes_append(&text, "", 1);
		*strrchr(text.data, '=') = '\0';
		model_delete_prefix(text.data);
		break;
	case 6:
		store_put_instance(batch, &i);
		dump_instance(&text, &i);
		model_put(&text);
		break;
	default:
		store_delete_instance(batch, i.tenant, i.instance_id);
		bytes_append_string(&text, "instance ");
		bytes_append_string(&more, "sync ");
		for (int n = 0; n < 2; n++) {
			struct bytes *to = n == 0 ? &text : &more;
			dump_name(to, i.tenant);
			dump_name(to, i.instance_id);
			bytes_append(to, "", 1);
			model_delete_prefix(to->data);
		}
		break;
	}
	bytes_finish(&text);
	bytes_finish(&more);
}

static void heal(void)
{
	atomic_store(&faults.write_errnum, 0);
	atomic_store(&faults.sync_errnum, 0);
}

static void damage(struct run *run)
{
	static const int errnums[] = {ENOSPC, EIO, EDQUOT};
	int errnum = errnums[unit_random(&run->state) % 3];
	atomic_store(&faults.one_in, (unsigned)(unit_random(&run->state) % 4));
	if (unit_random(&run->state) % 2 == 0) {
		atomic_store(&faults.write_errnum, errnum);
	} else {
		atomic_store(&faults.sync_errnum, errnum);
	}
}

static void wait_for_all(struct run *run)
{
	for (unsigned shard = 0; shard < SHARDS; shard++) {
		CU_ASSERT_TRUE(listener_wait(
			&run->listener, run->store, is_durable, shard, run->numbers[shard]));
	}
}

static void reopen(struct run *run, const struct store_options *options)
{
	heal();
	/* Half of the times with everything still on its way: closing writes it. */
	if (store_health(run->store) != OK || unit_random(&run->state) % 2 == 0) {
		wait_for_all(run);
	}
	store_close(run->store);
	memset(run->numbers, 0, sizeof(run->numbers));
	run->store = open_store(options);
	int err;
	char *found = sorted(dump(run->store, &err));
	char *expected = model_dump();
	CU_ASSERT_EQUAL(err, OK);
	assert_text(found, expected);
	free(found);
	free(expected);
}

static void run_model(enum store_fsync fsync, unsigned steps, unsigned damages)
{
	char dir[128];
	make_folder(dir, sizeof(dir));
	struct run run = {.state = unit_seed() + (uint64_t)fsync};
	listener_init(&run.listener);
	struct store_options options = options_for("rocksdb", dir, fsync, &run.listener);
	options.write_buffer_bytes = 64 * 1024; /* flushes and compactions happen meanwhile */
	run.store = open_store(&options);
	for (unsigned step = 0; step < steps; step++) {
		unsigned shard = (unsigned)(unit_random(&run.state) % SHARDS);
		struct store_batch *batch = store_batch_create();
		for (uint64_t n = unit_random(&run.state) % 6; n > 0; n--) {
			change(&run, shard, batch);
		}
		run.numbers[shard] = submit(run.store, shard, batch);
		if (damages > 0 && step % (steps / damages) == steps / damages / 2) {
			damage(&run);
		}
		if (unit_random(&run.state) % 400 == 0 || step + 1 == steps) {
			reopen(&run, &options);
		}
	}
	store_close(run.store);
	model_delete_prefix("");
	remove_folder(dir);
}

static void test_store_holds_what_a_plain_list_holds(void)
{
	run_model(STORE_FSYNC_NO, 6000, 0);
	run_model(STORE_FSYNC_ALWAYS, 2000, 0);
}

static void test_store_loses_nothing_to_a_disk_that_fails_now_and_then(void)
{
	journal_init(JOURNAL_NOTICE, -1);
	run_model(STORE_FSYNC_ALWAYS, 2000, 5);
	run_model(STORE_FSYNC_EVERYSEC, 2000, 5);
	CU_ASSERT_TRUE(atomic_load(&faults.failed) > 0);
	journal_init(JOURNAL_NOTICE, STDERR_FILENO);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_store_holds_what_a_plain_list_holds),
	UNIT_TEST(test_store_loses_nothing_to_a_disk_that_fails_now_and_then),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "store_model", tests);
}
