/* The shared command handler: what each command means, whoever brought it.
 *
 * Called by the RESP side for every PUBLISH (FROM_WRITER), by line_session.c for a line
 * (FROM_WORKER, FROM_MAIN), by the hub for closed connections and deadlines. Calls rows.c for
 * RDATA, streams.c and user_sync.c to learn, and ops->append to be heard. One function a command,
 * one table at the end.
 *
 * Invariants:
 * - What a RESP publisher says is relayed to the byte, whatever it is. The handler only learns
 *   from what it knows, on the tenant's own channel, and leaves the rest alone.
 * - A line worker hears RDATA, POSITION and REMOTE_SERVER_UP, only well-formed ones, and only
 *   such as fit on a line; it closes on anything else. A row that no line can carry becomes a
 *   POSITION for the lines.
 * - All rows of a batch are one append. REPLICATE's answer is spliced in at the log's tail
 *   between two appends: so it is always at a batch's boundary, and each row after it is news to
 *   the asker.
 * - A POSITION of our own is always truthful: "fetch everything up to here", in the dialect that
 *   the tenant speaks.
 * - Nothing of a USER_IP line is ever logged.
 *
 * What it does not do: sockets, clocks, the disk, the catch-up itself; nor judge what a writer
 * says (a token that jumps is a writer's affair: with several writers on a stream it is the
 * rule).
 *
 * source: synapse/replication/tcp/handler.py and resource.py of 1.15, 1.66 and 1.160, and
 *         recordings of them.
 */
#include "engine/replication/handler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/replication/turn.h"

#define ASK_EVERY_NS 1000000000u /* how often writers are asked for their positions at most */

static int (*const handlers[CMD_COUNT])(struct turn *t);

struct replication *replication_create(struct slice tenant, const struct replication_limits *limits,
	const struct replication_ops *ops, void *context)
{
	struct replication *r = mem_zalloc(sizeof(*r));
	struct bytes channel = {0};
	bytes_append_slice(&channel, tenant);
	bytes_append_string(&channel, "/USER_IP");
	r->user_ip_channel = bytes_slice(&channel);
	r->tenant = (struct slice){slice_dup(tenant), tenant.len};
	r->ops = ops;
	r->context = context;
	r->streams = streams_create(limits);
	r->batches = batches_create(r->tenant, limits);
	r->user_syncs = user_syncs_create(limits);
	return r;
}

void replication_destroy(struct replication *r)
{
	if (r == NULL) {
		return;
	}
	user_syncs_destroy(r->user_syncs);
	batches_destroy(r->batches);
	streams_destroy(r->streams);
	bytes_finish(&r->line);
	free(r->entries);
	free((char *)r->user_ip_channel.data);
	free((char *)r->tenant.data);
	free(r);
}

static bool may_write(const struct origin *origin, struct slice instance)
{
	const struct line_writers *writers = origin->writers;
	if (!origin->may_write || writers == NULL) {
		return false;
	}
	bool named = writers->any;
	for (unsigned i = 0; i < writers->count && !named; i++) {
		named = slice_equal(writers->instances[i], instance);
	}
	return named;
}

static bool permitted(const struct origin *origin, const struct command *command)
{
	if (origin->direction == FROM_WRITER || command_allowed(command->name, origin->direction)) {
		return true;
	}
	return origin->direction == FROM_WORKER && may_write(origin, command->instance) &&
	       (command->name == CMD_RDATA || command->name == CMD_POSITION);
}

static bool own_channel(const struct replication *r, struct slice channel)
{
	return channel.len == 0 || slice_equal(channel, r->tenant);
}

int replication_handle(struct replication *r, const struct origin *origin, struct slice channel,
	const struct command *command, struct instant now, struct bytes *answer, int64_t *receivers,
	const char **why)
{
	bool own = own_channel(r, channel);
	if (own) {
		channel = (struct slice){NULL, 0};
	}
	struct turn t = {r, origin, command, channel, now, answer, 0, NULL};
	int result = OK;
	r->stats.commands[command->name]++;
	if (r->ops->begin != NULL) {
		r->ops->begin(r->context, command);
	}
	if (!permitted(origin, command)) {
		t.why = "this side may not send that command";
		result = -E_NOT_ALLOWED;
	} else if (command->wrong != NULL) {
		r->stats.malformed++;
		t.why = command->wrong;
		result = -E_SYNTAX;
		if (origin->direction == FROM_WRITER) {
			turn_relay(&t, CMD_UNKNOWN, TO_RESP, 0);
			result = OK;
		}
	} else if (!own) {
		turn_relay(&t, command->name, TO_RESP, 0);
	} else {
		result = handlers[command->name](&t);
	}
	if (r->ops->end != NULL) {
		r->ops->end(r->context, result != OK);
	}
	*receivers = t.receivers;
	*why = t.why;
	assert(result == OK || origin->direction != FROM_WRITER);
	return result;
}

void turn_append(struct turn *t, const struct entry *entries, unsigned count)
{
	t->receivers = t->r->ops->append(t->r->context, entries, count);
	t->r->last_receivers = t->receivers;
}

void turn_relay(struct turn *t, enum command_name name, enum audience audience, uint64_t not_to)
{
	turn_append(t,
		&(struct entry){
			.channel = t->channel,
			.line = t->command->line,
			.name = name,
			.audience = audience,
			.not_to = not_to,
		},
		1);
}

int turn_relay_malformed(struct turn *t)
{
	t->r->stats.malformed++;
	turn_relay(t, CMD_UNKNOWN, TO_RESP, 0);
	return OK;
}

/* Logged when the count is a power of two: a flood of it says no more than one. */
int turn_refused(struct turn *t, uint64_t count, const char *what)
{
	if ((count & (count - 1)) == 0) {
		journal(JOURNAL_WARNING, "not remembered: the configured limit is reached",
			"tenant=%s what=%s times=%llu peer=%s", JQ(t->r->tenant), what,
			(unsigned long long)count, JQ(t->origin->full_name));
	}
	t->why = "a limit of the hub is reached";
	return t->origin->direction == FROM_WRITER ? OK : -E_FULL;
}

static int on_position(struct turn *t)
{
	struct replication *r = t->r;
	const struct command *c = t->command;
	if (!command_fits_line(c->line)) {
		return turn_relay_malformed(t);
	}
	r->one_number = !c->has_prev;
	struct position *p = streams_get(r->streams, c->stream, c->instance);
	turn_append(t,
		&(struct entry){
			.line = c->line,
			.name = CMD_POSITION,
			.audience = TO_ALL,
			.stream = p == NULL ? 0 : p->stream->number,
			.instance = p == NULL ? 0 : p->instance->number,
			.token = c->token,
		},
		1);
	if (p == NULL) {
		return turn_refused(t, streams_refused(r->streams), "position");
	}
	r->stats.resets += streams_set(r->streams, p, c->token, t->now.wall_ms);
	return OK;
}

/* One REPLICATE to the writers; a second one within the second waits for replication_tick(). */
static void ask_writers(struct replication *r, uint64_t now_ns)
{
	if (r->asked && now_ns - r->asked_ns < ASK_EVERY_NS) {
		r->ask_owed = true;
		return;
	}
	r->asked = true;
	r->ask_owed = false;
	r->asked_ns = now_ns;
	r->ops->append(r->context,
		&(struct entry){
			.line = SLICE("REPLICATE "),
			.name = CMD_REPLICATE,
			.audience = TO_RESP,
		},
		1);
}

struct answering {
	const struct replication *r;
	struct bytes *out;
};

static void answer_position(void *context, struct position *p)
{
	struct answering *a = context;
	rows_print_position(a->r, p, p->token, a->out);
	bytes_append(a->out, "\n", 1);
}

static int on_replicate(struct turn *t)
{
	struct replication *r = t->r;
	if (t->origin->direction == FROM_WRITER) {
		turn_relay(t, CMD_REPLICATE, TO_RESP, 0);
		return OK;
	}
	streams_each(r->streams, answer_position, &(struct answering){r, t->answer});
	if (streams_unconfirmed(r->streams) > 0 || streams_count(r->streams) == 0) {
		ask_writers(r, t->now.mono_ns);
	}
	return OK;
}

static int on_user_sync(struct turn *t)
{
	struct replication *r = t->r;
	turn_relay(t, CMD_USER_SYNC, TO_RESP, 0);
	if (!command_fits_line(t->command->line)) {
		return OK;
	}
	if (user_syncs_set(r->user_syncs, t->command, t->origin->connection, t->now) != OK) {
		return turn_refused(t, user_syncs_refused(r->user_syncs), "user-sync");
	}
	return OK;
}

static int on_clear_user_sync(struct turn *t)
{
	turn_relay(t, CMD_CLEAR_USER_SYNC, TO_RESP, 0);
	user_syncs_clear(t->r->user_syncs, t->command->instance_id);
	return OK;
}

static int on_user_ip(struct turn *t)
{
	if (t->origin->direction != FROM_WRITER) {
		t->channel = t->r->user_ip_channel;
	}
	turn_relay(t, CMD_USER_IP, TO_RESP, 0);
	return OK;
}

static int on_remote_server_up(struct turn *t)
{
	bool line = t->origin->direction != FROM_WRITER;
	enum audience audience = command_fits_line(t->command->line) ? TO_ALL : TO_RESP;
	turn_relay(t, CMD_REMOTE_SERVER_UP, audience, line ? t->origin->connection : 0);
	return OK;
}

/* To the RESP workers, and no more. */
static int on_other(struct turn *t)
{
	turn_relay(t, t->command->name, TO_RESP, 0);
	return OK;
}

/* The session's own words; over RESP nobody says them, and whoever does is relayed. */
static int on_line_word(struct turn *t)
{
	if (t->origin->direction == FROM_WRITER) {
		turn_relay(t, t->command->name, TO_RESP, 0);
	}
	return OK;
}

void replication_count(struct replication *r, enum command_name name)
{
	r->stats.commands[name]++;
}

void replication_disconnected(struct replication *r, uint64_t connection, struct instant now)
{
	batches_closed(r->batches, connection);
	user_syncs_closed(r->user_syncs, connection, now);
}

/* Say CLEAR_USER_SYNC for a process that no longer can. */
static void clear_silent(struct replication *r, struct slice instance_id)
{
	bytes_clear(&r->line);
	bytes_append_string(&r->line, "CLEAR_USER_SYNC ");
	bytes_append_slice(&r->line, instance_id);
	r->ops->append(r->context,
		&(struct entry){
			.line = bytes_slice(&r->line),
			.name = CMD_CLEAR_USER_SYNC,
			.audience = TO_RESP,
		},
		1);
	struct slice id = {r->line.data + r->line.len - instance_id.len, instance_id.len};
	unsigned users = user_syncs_clear(r->user_syncs, id);
	r->stats.user_syncs_expired += users;
	journal(JOURNAL_NOTICE,
		"a silent process was cleared: its users no longer count as syncing",
		"tenant=%s instance_id=%s users=%u", JQ(r->tenant), JQ(id), users);
}

uint64_t replication_tick(struct replication *r, struct instant now)
{
	struct slice silent;
	while (user_syncs_expired(r->user_syncs, now, &silent)) {
		clear_silent(r, silent);
	}
	if (r->ask_owed) {
		ask_writers(r, now.mono_ns);
	}
	uint64_t due = user_syncs_tick(r->user_syncs, now);
	uint64_t batch_due = batches_expire(r->batches, now.mono_ns);
	due = batch_due < due ? batch_due : due;
	if (r->ask_owed && r->asked_ns + ASK_EVERY_NS < due) {
		due = r->asked_ns + ASK_EVERY_NS;
	}
	return due;
}

unsigned replication_collect(struct replication *r, struct store_batch *batch)
{
	return streams_collect(r->streams, r->tenant, r->one_number, batch) +
	       user_syncs_collect(r->user_syncs, r->tenant, batch);
}

bool replication_dirty(const struct replication *r)
{
	return streams_dirty(r->streams) || user_syncs_dirty(r->user_syncs);
}

void replication_load_position(struct replication *r, const struct store_position *position)
{
	if (streams_load(r->streams, position) && position->prev == STREAMS_ONE_NUMBER) {
		r->one_number = true;
	}
}

void replication_load_instance(
	struct replication *r, const struct store_instance *instance, struct instant now)
{
	user_syncs_load_instance(r->user_syncs, instance, now);
}

void replication_load_user_sync(struct replication *r, const struct store_user_sync *sync)
{
	user_syncs_load_user(r->user_syncs, sync);
}

struct telling {
	void (*each)(void *context, const struct position_facts *facts);
	void *context;
};

static void tell_position(void *context, struct position *p)
{
	const struct telling *telling = context;
	telling->each(telling->context, &(struct position_facts){
						.stream = {p->stream->text, p->stream->len},
						.instance = {p->instance->text, p->instance->len},
						.token = p->token,
						.confirmed = p->state == POSITION_CONFIRMED,
						.rows = p->rows,
						.heard_ms = p->heard_ms,
					});
}

void replication_positions(const struct replication *r,
	void (*each)(void *context, const struct position_facts *facts), void *context)
{
	streams_each(r->streams, tell_position, &(struct telling){each, context});
}

void replication_user_syncs(const struct replication *r,
	void (*each)(void *context, const struct user_sync_facts *facts), void *context)
{
	user_syncs_each(r->user_syncs, each, context);
}

const struct replication_stats *replication_stats(const struct replication *r)
{
	/* What the parts count is gathered when asked for; it is a view, the facts stay theirs. */
	struct replication_stats *stats = &((struct replication *)r)->stats;
	const struct batches_stats *batches = batches_stats(r->batches);
	stats->batches = batches->whole;
	stats->batches_torn = batches->torn;
	stats->batches_over_limit = batches->over_limit;
	stats->batch_rows = batches->rows;
	stats->batch_bytes = batches->bytes;
	stats->positions = streams_count(r->streams);
	stats->instances = user_syncs_instances(r->user_syncs);
	stats->users_syncing = user_syncs_users(r->user_syncs);
	stats->refused_full = streams_refused(r->streams) + user_syncs_refused(r->user_syncs);
	return stats;
}

static int (*const handlers[CMD_COUNT])(struct turn *t) = {
	[CMD_UNKNOWN] = on_other,
	[CMD_SERVER] = on_line_word,
	[CMD_PING] = on_line_word,
	[CMD_NAME] = on_line_word,
	[CMD_REPLICATE] = on_replicate,
	[CMD_RDATA] = rows_handle,
	[CMD_POSITION] = on_position,
	[CMD_ERROR] = on_line_word,
	[CMD_USER_SYNC] = on_user_sync,
	[CMD_CLEAR_USER_SYNC] = on_clear_user_sync,
	[CMD_FEDERATION_ACK] = on_other,
	[CMD_REMOVE_PUSHER] = on_other,
	[CMD_USER_IP] = on_user_ip,
	[CMD_REMOTE_SERVER_UP] = on_remote_server_up,
	[CMD_LOCK_RELEASED] = on_other,
	[CMD_NEW_ACTIVE_TASK] = on_other,
	[CMD_CANCEL_TASK] = on_other,
	[CMD_SYNC] = on_other,
	[CMD_INVALIDATE_CACHE] = on_other,
};
