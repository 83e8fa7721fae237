/* A homeserver's replication without a hub around it: commands go in, what the log would get
 * comes out as text, the store is a list of rows in memory.
 *
 *     struct frame f;
 *     frame_open(&f);
 *     frame_publish(&f, 1, "RDATA events master 5 [1]");
 *     FRAME_LOG(&f, "ALL RDATA events master 5 [1]\n");
 *     frame_close(&f);
 *
 * A line of FRAME_LOG is an entry: who hears it, `#channel` where it is not the tenant's own,
 * `!n` where connection n must not hear it; "& " in front where it came with the same append as
 * the one above it.
 *
 * Defines the store_put_* and store_delete_* of store.h itself: no test that uses this links a
 * store.
 */
#ifndef MILLRACE_TESTS_REPLICATION_FRAME_H
#define MILLRACE_TESTS_REPLICATION_FRAME_H

#include <stdarg.h>
#include <unistd.h>
#include <utlist.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/replication/handler.h"
#include "engine/replication/user_sync.h"
#include "tests/unit.h"

#define FRAME_TENANT SLICE("example.com")
#define FRAME_SECOND 1000000000u

/* ---- the store ---- */

/* A row on the disk: "position <stream> <instance>", "instance <id>" or "user <id> <user>
 * <device>". */
struct frame_row {
	char *key;
	int64_t a, b; /* token and prev; heard_ms; since_ms */
	int64_t wall_ms;
	struct frame_row *next, *prev;
};

/* A batch is a list of changes; `disk` has them once frame_save() was called. */
struct store_batch {
	struct frame_row
		*puts; /* b == DELETED: a deletion, of everything that starts with the key */
	size_t count;
};
#define FRAME_DELETED (INT64_MIN + 1)

static void frame_row_add(struct frame_row **list, char *key, int64_t a, int64_t b, int64_t wall_ms)
{
	struct frame_row *row = mem_zalloc(sizeof(*row));
	*row = (struct frame_row){.key = key, .a = a, .b = b, .wall_ms = wall_ms};
	DL_APPEND(*list, row);
}

static void frame_rows_free(struct frame_row **list)
{
	struct frame_row *row, *next;
	DL_FOREACH_SAFE (*list, row, next) {
		DL_DELETE(*list, row);
		free(row->key);
		free(row);
	}
}

static char *frame_key(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *frame_key(const char *format, ...)
{
	char *key = NULL;
	va_list args;
	va_start(args, format);
	int len = vasprintf(&key, format, args);
	va_end(args);
	UNIT_REQUIRE(len >= 0);
	return key;
}

struct store_batch *store_batch_create(void)
{
	return mem_zalloc(sizeof(struct store_batch));
}

void store_batch_destroy(struct store_batch *batch)
{
	frame_rows_free(&batch->puts);
	free(batch);
}

size_t store_batch_count(const struct store_batch *batch)
{
	return batch->count;
}

void store_put_position(struct store_batch *batch, const struct store_position *p)
{
	batch->count++;
	frame_row_add(&batch->puts,
		frame_key("position %.*s %.*s", SLICE_ARG(p->stream), SLICE_ARG(p->instance)),
		p->token, p->prev, p->wall_ms);
}

void store_put_user_sync(struct store_batch *batch, const struct store_user_sync *u)
{
	batch->count++;
	frame_row_add(&batch->puts,
		frame_key("user %.*s %.*s %.*s", SLICE_ARG(u->instance_id), SLICE_ARG(u->user),
			SLICE_ARG(u->device)),
		u->since_ms, 0, 0);
}

void store_delete_user_sync(struct store_batch *batch, const struct store_user_sync *u)
{
	batch->count++;
	frame_row_add(&batch->puts,
		frame_key("user %.*s %.*s %.*s", SLICE_ARG(u->instance_id), SLICE_ARG(u->user),
			SLICE_ARG(u->device)),
		0, FRAME_DELETED, 0);
}

void store_put_instance(struct store_batch *batch, const struct store_instance *i)
{
	batch->count++;
	frame_row_add(&batch->puts, frame_key("instance %.*s", SLICE_ARG(i->instance_id)),
		i->heard_ms, 0, 0);
}

void store_delete_instance(struct store_batch *batch, struct slice tenant, struct slice id)
{
	(void)tenant;
	batch->count++;
	frame_row_add(&batch->puts, frame_key("instance %.*s", SLICE_ARG(id)), 0, FRAME_DELETED, 0);
	frame_row_add(&batch->puts, frame_key("user %.*s *", SLICE_ARG(id)), 0, FRAME_DELETED, 0);
}

static bool frame_key_matches(const char *key, const char *pattern)
{
	size_t len = strlen(pattern);
	return len > 0 && pattern[len - 1] == '*' ? strncmp(key, pattern, len - 1) == 0
						  : strcmp(key, pattern) == 0;
}

/* ---- the frame ---- */

struct frame {
	struct replication *r;
	struct replication_limits limits;
	struct bytes log; /* the text of FRAME_LOG */
	unsigned appends, entries;
	int64_t receivers; /* what the next append returns */
	struct entry last; /* its slices are not to be looked at */
	struct bytes answer;
	const char *why;
	struct instant now;
	struct frame_row *disk;
	bool quiet;                                              /* no text */
	void (*heard)(void *context, const struct entry *entry); /* each entry, besides */
	void *heard_context;
};

static int64_t frame_append(void *context, const struct entry *entries, unsigned count)
{
	static const char *const names[] = {"?", "RESP", "LINE", "ALL"};
	struct frame *f = context;
	f->appends++;
	f->entries += count;
	for (unsigned i = 0; i < count; i++) {
		const struct entry *e = &entries[i];
		UNIT_REQUIRE(e->audience >= TO_RESP && e->audience <= TO_ALL);
		f->last = *e;
		if (f->heard != NULL) {
			f->heard(f->heard_context, e);
		}
		if (f->quiet) {
			continue;
		}
		bytes_printf(&f->log, "%s%s", i > 0 ? "& " : "", names[e->audience]);
		if (e->channel.len > 0) {
			bytes_printf(&f->log, "#%.*s", SLICE_ARG(e->channel));
		}
		if (e->not_to != 0) {
			bytes_printf(&f->log, "!%llu", (unsigned long long)e->not_to);
		}
		bytes_append(&f->log, " ", 1);
		bytes_append_slice(&f->log, e->line);
		bytes_append(&f->log, "\n", 1);
	}
	return f->receivers;
}

static const struct replication_ops frame_ops = {.append = frame_append};

static void frame_start(struct frame *f)
{
	f->r = replication_create(FRAME_TENANT, &f->limits, &frame_ops, f);
}

static void frame_open(struct frame *f)
{
	journal_init(JOURNAL_WARNING, -1);
	*f = (struct frame){
		.limits = {.streams_max = 100,
			.instances_max = 100,
			.positions_max = 1000,
			.user_syncs_max = 100,
			.batch_rows_max = 1000,
			.batch_bytes_max = 1 << 20,
			.batch_age_max_ns = (uint64_t)10 * FRAME_SECOND,
			.user_sync_expiry_ns = (uint64_t)300 * FRAME_SECOND},
		.receivers = 7,
		.now = {.mono_ns = (uint64_t)1000 * FRAME_SECOND, .wall_ms = 1700000000000},
	};
	frame_start(f);
}

__attribute__((unused)) static void frame_close(struct frame *f)
{
	replication_destroy(f->r);
	bytes_finish(&f->log);
	bytes_finish(&f->answer);
	frame_rows_free(&f->disk);
}

__attribute__((unused)) static void frame_pass(struct frame *f, uint64_t ms)
{
	f->now.mono_ns += ms * 1000000;
	f->now.wall_ms += (int64_t)ms;
}

/* Everything that has changed reaches the disk. Returns how many rows. */
__attribute__((unused)) static unsigned frame_save(struct frame *f)
{
	struct store_batch *batch = store_batch_create();
	unsigned rows = replication_collect(f->r, batch);
	CU_ASSERT_EQUAL(rows, store_batch_count(batch));
	CU_ASSERT_FALSE(replication_dirty(f->r));
	struct frame_row *change, *row, *next;
	DL_FOREACH (batch->puts, change) {
		DL_FOREACH_SAFE (f->disk, row, next) {
			if (frame_key_matches(row->key, change->key)) {
				DL_DELETE(f->disk, row);
				free(row->key);
				free(row);
			}
		}
		if (change->b != FRAME_DELETED) {
			frame_row_add(&f->disk, strdup(change->key), change->a, change->b,
				change->wall_ms);
		}
	}
	store_batch_destroy(batch);
	return rows;
}

static void frame_load_row(struct frame *f, const struct frame_row *row, const char *kind)
{
	struct slice rest = slice_of(row->key);
	if (!slice_equal(slice_cut(&rest, ' '), slice_of(kind))) {
		return;
	}
	struct slice first = slice_cut(&rest, ' ');
	if (strcmp(kind, "position") == 0) {
		replication_load_position(f->r, &(struct store_position){FRAME_TENANT, first, rest,
							row->a, row->b, row->wall_ms});
	} else if (strcmp(kind, "instance") == 0) {
		replication_load_instance(
			f->r, &(struct store_instance){FRAME_TENANT, first, row->a}, f->now);
	} else {
		struct slice user = slice_cut(&rest, ' ');
		replication_load_user_sync(
			f->r, &(struct store_user_sync){FRAME_TENANT, first, user, rest, row->a});
	}
}

/* The hub dies, and starts again `ms` later with what is on the disk. The monotonic clock starts
 * anew, too. */
__attribute__((unused)) static void frame_restart(struct frame *f, uint64_t ms)
{
	replication_destroy(f->r);
	frame_start(f);
	frame_pass(f, ms);
	f->now.mono_ns = 5 * (uint64_t)FRAME_SECOND;
	static const char *const kinds[] = {"position", "instance", "user"};
	for (unsigned k = 0; k < 3; k++) {
		struct frame_row *row;
		DL_FOREACH (f->disk, row) {
			frame_load_row(f, row, kinds[k]);
		}
	}
}

static int frame_handle(struct frame *f, const struct origin *origin, struct slice channel,
	struct slice line, int64_t *receivers)
{
	struct command command;
	command_parse(line, &command, &f->why);
	return replication_handle(
		f->r, origin, channel, &command, f->now, &f->answer, receivers, &f->why);
}

/* PUBLISH on any channel; returns its answer. */
__attribute__((unused)) static int64_t frame_publish_bytes(
	struct frame *f, uint64_t connection, struct slice channel, struct slice line)
{
	struct origin origin = {
		.direction = FROM_WRITER, .connection = connection, .full_name = SLICE("resp")};
	int64_t receivers = -1;
	CU_ASSERT_EQUAL(frame_handle(f, &origin, channel, line, &receivers), OK);
	return receivers;
}

/* PUBLISH on the tenant's own channel. */
__attribute__((unused)) static int64_t frame_publish(
	struct frame *f, uint64_t connection, const char *line)
{
	return frame_publish_bytes(f, connection, FRAME_TENANT, slice_of(line));
}

/* A line of a client of the line listener; the answer is in f->answer. */
__attribute__((unused)) static int frame_line(
	struct frame *f, uint64_t connection, const struct line_writers *writers, const char *line)
{
	struct origin origin = {.direction = FROM_WORKER,
		.connection = connection,
		.full_name = SLICE("line"),
		.may_write = writers != NULL,
		.writers = writers};
	int64_t receivers = -1;
	bytes_clear(&f->answer);
	return frame_handle(f, &origin, (struct slice){NULL, 0}, slice_of(line), &receivers);
}

__attribute__((unused)) static void frame_text_is(
	struct frame *f, struct bytes *text, const char *expected, int at)
{
	(void)f;
	if (!slice_equal(bytes_slice(text), slice_of(expected))) {
		printf("line %d: expected\n%sbut it is\n%.*s", at, expected,
			SLICE_ARG(bytes_slice(text)));
		CU_ASSERT(false);
	} else {
		CU_ASSERT(true);
	}
	bytes_clear(text);
}

/* What was appended since the last check. */
#define FRAME_LOG(f, expected) frame_text_is((f), &(f)->log, (expected), __LINE__)
/* What the asker alone was answered. */
#define FRAME_ANSWER(f, expected) frame_text_is((f), &(f)->answer, (expected), __LINE__)

#endif
