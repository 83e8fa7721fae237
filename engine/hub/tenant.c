/* Tenants: found by channel, published to by everybody, announced to their readers.
 *
 * Called by verbs.c and conn.c (publish), shard.c (announce, collect) and replication/handler.c through its `append`; calls
 * the handler and fan-out. The way of one PUBLISH through here:
 *
 *     tenant_publish ─▶ command_parse ─▶ replication_handle ─▶ append_entries ─▶ fanout_append ─▶ the log
 *
 * A message that is no replication command, or on a tenant that nobody knows and nobody hears, goes straight to
 * fan-out, so that plain pub/sub works and costs no memory.
 */
#include "engine/hub/tenant.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/hub/hub.h"
#include "engine/hub/remote.h"

static void tenant_timer_expired(struct wheel_timer *timer, uint64_t now_ns);

static struct slice name_of(struct slice channel)
{
	return slice_cut(&channel, '/');
}

struct slice tenant_name(const struct tenant *tenant)
{
	return (struct slice){tenant->name, tenant->name_len};
}

struct tenant *tenant_of_fanout(struct fanout *fanout)
{
	return (struct tenant *)((char *)fanout - offsetof(struct tenant, fanout));
}

unsigned tenant_owner(const struct shard *shard, struct slice channel)
{
	unsigned shards = shard->hub->shards_count;
	struct slice name = name_of(channel);
	return shards == 1 ? 0 : (unsigned)(table_hash(name.data, name.len) % shards);
}

struct tenant *tenant_find(struct shard *shard, struct slice channel)
{
	struct slice name = name_of(channel);
	struct tenant *tenant;
	HASH_FIND(hh, shard->tenants, name.data, (unsigned)name.len, tenant);
	return tenant;
}

struct tenant *tenant_need(struct shard *shard, struct slice channel)
{
	struct tenant *tenant = tenant_find(shard, channel);
	if (tenant != NULL) {
		return tenant;
	}
	struct slice name = name_of(channel);
	if (HASH_COUNT(shard->tenants) >= CHANNELS_MAX) {
		shard->stats.channels_refused++;
		return NULL;
	}
	tenant = mem_zalloc(sizeof(*tenant) + name.len + 1);
	tenant->shard = shard;
	tenant->name_len = (unsigned)name.len;
	if (name.len > 0) {
		memcpy(tenant->name, name.data, name.len);
	}
	tenant->timer.expired = tenant_timer_expired;
	tenant->owner = tenant_owner(shard, name);
	fanout_init(&tenant->fanout, &shard->pool, shard->index, tenant->owner != shard->index,
		remote_link(), shard->patterns.ready);
	HASH_ADD_KEYPTR(hh, shard->tenants, tenant->name, tenant->name_len, tenant);
	return tenant;
}

void tenant_touch(struct tenant *tenant)
{
	if (!tenant->touched) {
		tenant->touched = true;
		tenant->next_touched = tenant->shard->touched;
		tenant->shard->touched = tenant;
	}
}

/* ---- knowledge ---- */

static struct log_mark mark_of(const struct entry *entry)
{
	return (struct log_mark){.stream = entry->stream,
		.instance = entry->instance,
		.command = (uint8_t)entry->name,
		.token = entry->token,
		.not_to = entry->not_to};
}

static int64_t publish_patterns(struct shard *shard, struct slice channel, struct slice payload)
{
	if (shard->hub->shards_count > 1) {
		remote_patterns(shard, channel, payload);
	}
	return shard->patterns.count == 0 ? 0
					  : patterns_publish(&shard->patterns, channel, payload);
}

static int64_t append_message(struct tenant *tenant, enum channel_kind kind, struct slice channel,
	struct slice payload, struct log_mark mark)
{
	struct shard *shard = tenant->shard;
	int64_t receivers = fanout_append(&tenant->fanout, kind, channel, payload, mark);
	if (kind == CHANNEL_PLAIN) {
		if (shard->patterns.count > 0) {
			tenant_settle(tenant); /* who hears it twice hears the channel's first */
		}
		receivers += publish_patterns(shard, channel, payload);
	}
	shard->stats.delivered += (uint64_t)receivers;
	return receivers;
}

/* The handler's way into the log: all entries together, in this order. */
static int64_t append_entries(void *context, const struct entry *entries, unsigned count)
{
	struct tenant *tenant = context;
	int64_t receivers = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct entry *entry = &entries[i];
		struct log_mark mark = mark_of(entry);
		receivers = 0;
		if (entry->audience & TO_RESP) {
			struct slice channel =
				entry->channel.len > 0 ? entry->channel : tenant_name(tenant);
			receivers +=
				append_message(tenant, CHANNEL_PLAIN, channel, entry->line, mark);
		}
		if (entry->audience & TO_LINE) {
			receivers += append_message(
				tenant, CHANNEL_LINE, (struct slice){NULL, 0}, entry->line, mark);
		}
	}
	tenant_touch(tenant);
	return receivers;
}

/* ---- the accounts of the handlers' runs ---- */

/* Whether the name's last part, behind its last hyphen, is the stream (which has no hyphen). */
static bool names_stream(struct slice name, struct slice stream)
{
	return name.len > stream.len && name.data[name.len - stream.len - 1] == '-' &&
	       slice_ends(name, stream);
}

/* `replication-RDATA-events`, `replication-USER_SYNC`: the names that Synapse's own metrics have. A few streams make up nearly all
 * rows, so the last one is remembered by its name. */
static struct process *process_of(struct shard *shard, const struct command *command)
{
	struct process **known = &shard->processes_by_command[command->name];
	bool by_stream = command->name == CMD_RDATA || command->name == CMD_POSITION;
	if (*known != NULL && (!by_stream || names_stream(process_name(*known), command->stream))) {
		return *known;
	}
	char text[PROCESS_NAME_MAX];
	struct slice stream = by_stream ? command->stream : (struct slice){"", 0};
	int len = snprintf(text, sizeof(text), "replication-%s%s%.*s", command_word(command->name),
		by_stream ? "-" : "", SLICE_ARG(stream));
	size_t kept = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
	*known = process_named(shard->processes, (struct slice){text, kept});
	return *known;
}

static void run_begins(void *context, const struct command *command)
{
	struct shard *shard = ((struct tenant *)context)->shard;
	shard->run = process_of(shard, command);
	shard->run_timed = process_begin(shard->run);
	shard->run_began_ns = shard->run_timed ? ring_clock_ns() : 0;
}

static void run_ends(void *context, bool failed)
{
	struct shard *shard = ((struct tenant *)context)->shard;
	process_end(
		shard->run, failed, shard->run_timed ? ring_clock_ns() - shard->run_began_ns : 0);
}

static const struct replication_ops replication_ops = {
	.append = append_entries, .begin = run_begins, .end = run_ends};

struct replication *tenant_replication(struct tenant *tenant)
{
	struct shard *shard = tenant->shard;
	if (tenant->replication != NULL) {
		return tenant->replication;
	}
	if (shard->known_tenants >= TENANTS_MAX || tenant->name_len > TENANT_NAME_MAX) {
		if (shard->stats.tenants_refused++ == 0) {
			journal(JOURNAL_WARNING, "more tenants than this hub keeps knowledge of",
				"max=%d tenant=%s", TENANTS_MAX, JQ(tenant_name(tenant)));
		}
		return NULL;
	}
	shard->known_tenants++;
	tenant->replication = replication_create(
		tenant_name(tenant), &shard->replication_limits, &replication_ops, tenant);
	return tenant->replication;
}

static void tenant_timer_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	struct tenant *tenant = (struct tenant *)((char *)timer - offsetof(struct tenant, timer));
	(void)now_ns;
	tenant_touch(tenant); /* the shard looks at its deadlines before the turn ends */
}

/* ---- publishing ---- */

/* What makes a channel a homeserver's: the words that only replication has a use for. */
static bool is_telling(const struct command *command)
{
	return command->wrong == NULL &&
	       (command->name == CMD_RDATA || command->name == CMD_POSITION ||
		       command->name == CMD_REPLICATE || command->name == CMD_USER_SYNC ||
		       command->name == CMD_CLEAR_USER_SYNC);
}

/* Whether the message is on a tenant that speaks replication, or says that it is one. */
static bool is_replication(struct shard *shard, struct slice channel, const struct command *command)
{
	if (is_telling(command)) {
		return true;
	}
	struct tenant *tenant = tenant_find(shard, channel);
	return tenant != NULL && tenant->replication != NULL;
}

static int64_t publish_plain(
	struct shard *shard, enum channel_kind kind, struct slice channel, struct slice payload)
{
	struct tenant *tenant = tenant_find(shard, channel);
	if (tenant == NULL) {
		return kind == CHANNEL_PLAIN ? publish_patterns(shard, channel, payload) : 0;
	}
	tenant_touch(tenant);
	return append_message(tenant, kind, channel, payload, (struct log_mark){0});
}

/* What is said on a plain channel: to the handler, if it is replication. */
static int64_t publish(struct shard *shard, const struct origin *origin, struct slice channel,
	struct slice payload)
{
	struct command command;
	const char *why = NULL;
	command_parse(payload, &command, &why);
	if (!is_replication(shard, channel, &command)) {
		return publish_plain(shard, CHANNEL_PLAIN, channel, payload);
	}
	struct tenant *tenant = tenant_need(shard, channel);
	struct replication *replication = tenant == NULL ? NULL : tenant_replication(tenant);
	if (replication == NULL) {
		return publish_plain(shard, CHANNEL_PLAIN, channel, payload);
	}
	int64_t receivers = 0;
	shard_before_change(shard);
	int error = replication_handle(
		replication, origin, channel, &command, shard->now, NULL, &receivers, &why);
	assert(error == OK || error == -E_FULL);
	shard->unsaved = shard->unsaved || replication_dirty(replication);
	tenant_touch(tenant);
	return receivers;
}

/* With `always` nothing is taken that could not be made durable. */
static int store_refuses(const struct shard *shard)
{
	return shard->config->appendfsync == STORE_FSYNC_ALWAYS ? store_health(shard->store) : OK;
}

int tenant_publish(struct shard *shard, const struct origin *origin, bool sharded,
	struct slice channel, struct slice payload, int64_t *receivers)
{
	int error = store_refuses(shard);
	if (error != OK) {
		return error;
	}
	shard->stats.published++;
	shard->stats.published_bytes += payload.len;
	*receivers = sharded ? publish_plain(shard, CHANNEL_SHARD, channel, payload)
			     : publish(shard, origin, channel, payload);
	return OK;
}

/* ---- announcing ---- */

static void announcement_push(struct tenant *tenant, uint64_t number)
{
	if (tenant->announcements_count == tenant->announcements_cap) {
		unsigned cap = tenant->announcements_cap == 0 ? 4 : tenant->announcements_cap * 2;
		struct announcement *grown = mem_alloc(cap * sizeof(*grown));
		for (unsigned i = 0; i < tenant->announcements_count; i++) {
			grown[i] = tenant->announcements[(tenant->announcements_first + i) %
							 tenant->announcements_cap];
		}
		free(tenant->announcements);
		tenant->announcements = grown;
		tenant->announcements_first = 0;
		tenant->announcements_cap = cap;
	}
	unsigned at = (tenant->announcements_first + tenant->announcements_count++) %
		      tenant->announcements_cap;
	tenant->announcements[at] =
		(struct announcement){.ends = fanout_ends(&tenant->fanout), .number = number};
}

bool tenant_announce_durable(struct tenant *tenant, uint64_t durable)
{
	while (tenant->announcements_count > 0) {
		struct announcement *first = &tenant->announcements[tenant->announcements_first];
		if (first->number > durable) {
			return true;
		}
		fanout_publish_upto(&tenant->fanout, &first->ends);
		tenant->announcements_first =
			(tenant->announcements_first + 1) % tenant->announcements_cap;
		tenant->announcements_count--;
	}
	return false;
}

void tenant_announce(struct tenant *tenant, uint64_t number)
{
	if (!fanout_unpublished(&tenant->fanout)) {
		return;
	}
	if (number == 0) {
		fanout_publish(&tenant->fanout);
	} else {
		announcement_push(tenant, number);
	}
}

void tenant_settle(struct tenant *tenant)
{
	if (tenant->shard->config->appendfsync != STORE_FSYNC_ALWAYS) {
		fanout_publish(&tenant->fanout);
	}
}

/* ---- the end ---- */

void tenants_disconnected(struct shard *shard, uint64_t connection)
{
	struct tenant *tenant;
	struct tenant *next;
	HASH_ITER (hh, shard->tenants, tenant, next) {
		if (tenant->replication != NULL) {
			replication_disconnected(tenant->replication, connection, shard->now);
			tenant_touch(tenant);
		}
	}
}

static void tenant_destroy(struct tenant *tenant)
{
	struct shard *shard = tenant->shard;
	HASH_DEL(shard->tenants, tenant);
	if (tenant->replication != NULL) {
		wheel_cancel(shard->wheel, &tenant->timer);
		replication_destroy(tenant->replication);
		shard->known_tenants--;
	}
	fanout_finish(&tenant->fanout);
	free(tenant->announcements);
	free(tenant);
}

void tenant_collect(struct tenant *tenant)
{
	fanout_collect(&tenant->fanout);
	if (tenant->replication == NULL && !tenant->touched && tenant->announcements_count == 0 &&
		fanout_unused(&tenant->fanout)) {
		tenant_destroy(tenant);
	}
}

void tenants_destroy(struct shard *shard)
{
	struct tenant *tenant;
	struct tenant *next;
	HASH_ITER (hh, shard->tenants, tenant, next) {
		tenant_destroy(tenant);
	}
}
