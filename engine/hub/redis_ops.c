/* What the verbs ask of the hub: the one place where `struct redis_ops` is filled.
 *
 * Called by redis/; calls tenant.c, conn.c, config.c and report.c. Each function does one thing for one client of this shard.
 */
#include "engine/hub/redis_ops.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/hub/conn.h"
#include "engine/hub/hub.h"
#include "engine/hub/mesh.h"
#include "engine/hub/remote.h"
#include "engine/hub/report.h"
#include "engine/hub/tenant.h"
#include "engine/redis/commands.h"

static const enum channel_kind kinds[SUB_KINDS] = {
	[SUB_CHANNEL] = CHANNEL_PLAIN, [SUB_SHARD] = CHANNEL_SHARD};

static int op_publish(void *hub, struct client *client, bool sharded, struct slice channel,
	struct slice payload, int64_t *receivers, const char **why)
{
	struct shard *shard = hub;
	struct conn *conn = conn_of_client(client);
	unsigned owner = tenant_owner(shard, channel);
	if (owner != shard->index) {
		conn_take_reply(conn);
		remote_publish(conn, owner, sharded, channel, payload);
		return -E_AGAIN;
	}
	struct origin origin = conn_origin(conn);
	int error = tenant_publish(shard, &origin, sharded, channel, payload, receivers);
	conn_wait_for_disk(conn);
	*why = error == OK ? NULL : err_text(error);
	return error;
}

/* Keyspace notifications: of one shard's cache, to its own tenants. */
static void op_announce(void *hub, struct slice channel, struct slice payload)
{
	struct shard *shard = hub;
	struct origin origin = {.direction = FROM_WRITER, .full_name = SLICE("cache")};
	int64_t receivers = 0;
	if (shard->hub->shards_count == 1) {
		tenant_publish(shard, &origin, false, channel, payload, &receivers);
	}
}

static int op_subscribe(
	void *hub, struct client *client, enum subscription_kind kind, struct slice name)
{
	struct shard *shard = hub;
	struct conn *conn = conn_of_client(client);
	bool changed;
	if (kind == SUB_PATTERN) {
		changed =
			patterns_subscribe(&shard->patterns, &conn->out, conn_encoding(conn), name);
	} else {
		struct tenant *tenant = tenant_need(shard, name);
		if (tenant == NULL) {
			return -E_FULL;
		}
		if (tenant->fanout.mirror && !fanout_knows(&tenant->fanout, kinds[kind], name)) {
			return -E_FULL;
		}
		tenant_settle(tenant);
		changed = fanout_subscribe(
			&tenant->fanout, &conn->out, conn_encoding(conn), kinds[kind], name);
	}
	client->subscriptions[kind] += changed;
	return changed;
}

static int op_unsubscribe(
	void *hub, struct client *client, enum subscription_kind kind, struct slice name)
{
	struct shard *shard = hub;
	struct conn *conn = conn_of_client(client);
	bool changed = false;
	if (kind == SUB_PATTERN) {
		changed = patterns_unsubscribe(&shard->patterns, &conn->out, name);
	} else {
		struct tenant *tenant = tenant_find(shard, name);
		if (tenant != NULL) {
			tenant_settle(tenant);
			changed = fanout_unsubscribe(&tenant->fanout, &conn->out,
				conn_encoding(conn), kinds[kind], name);
			tenant_touch(tenant);
		}
	}
	client->subscriptions[kind] -= changed;
	return changed;
}

static void op_subscriptions(void *hub, struct client *client, enum subscription_kind kind,
	void (*each)(void *context, struct slice name), void *context)
{
	(void)hub;
	struct conn *conn = conn_of_client(client);
	if (kind == SUB_PATTERN) {
		patterns_each(&conn->out, each, context);
		return;
	}
	for (struct cursor *cursor = conn->out.cursors; cursor != NULL;
		cursor = cursor->next_of_outbox) {
		if (!cursor->retired) {
			fanout_subscriptions(cursor, kinds[kind], each, context);
		}
	}
}

/* ---- questions to all shards: the others stand still meanwhile ---- */

static void op_channels(
	void *hub, bool sharded, void (*each)(void *context, struct slice channel), void *context)
{
	struct shard *asking = hub;
	hub_halt_others(asking);
	for (unsigned i = 0; i < asking->hub->shards_count; i++) {
		for (struct tenant *tenant = asking->hub->shards[i].tenants; tenant != NULL;
			tenant = tenant->hh.next) {
			if (!tenant->fanout.mirror) {
				fanout_channels(&tenant->fanout,
					sharded ? CHANNEL_SHARD : CHANNEL_PLAIN, each, context);
			}
		}
	}
	hub_others_go_on(asking);
}

static int64_t op_channel_subscribers(void *hub, bool sharded, struct slice channel)
{
	struct shard *asking = hub;
	hub_halt_others(asking);
	struct shard *owner = &asking->hub->shards[tenant_owner(asking, channel)];
	struct tenant *tenant = tenant_find(owner, channel);
	int64_t count = tenant == NULL ? 0
				       : fanout_subscribers(&tenant->fanout,
						 sharded ? CHANNEL_SHARD : CHANNEL_PLAIN, channel);
	hub_others_go_on(asking);
	return count;
}

static int64_t op_patterns(void *hub)
{
	struct shard *asking = hub;
	int64_t count = 0;
	hub_halt_others(asking);
	for (unsigned i = 0; i < asking->hub->shards_count; i++) {
		count += asking->hub->shards[i].patterns.count;
	}
	hub_others_go_on(asking);
	return count;
}

/* ---- connections ---- */

static void tell_facts(struct conn *conn,
	void (*each)(void *context, const struct client_facts *facts), void *context)
{
	struct shard *shard = conn->shard;
	char address[RING_ADDRESS_MAX];
	ring_peer_address(shard->ring, conn->socket, address);
	bool resp = conn->transport == CONN_RESP;
	const struct client *client = resp ? &conn->resp.client : NULL;
	struct client_facts facts = {.client = client,
		.id = conn->id,
		.address = slice_of(address),
		.local_address = slice_of(shard->hub->bound[resp ? LISTENER_RESP : LISTENER_LINE]),
		.full_name = conn_full_name(conn),
		.name = resp ? (struct slice){NULL, 0} : conn->line.session.name,
		.transport = resp ? "resp" : "line",
		.fd = -1,
		.unix_socket = strncmp(address, "unix:", 5) == 0,
		.age_s = (int64_t)((shard->now.mono_ns - conn->opened_ns) / 1000000000u),
		.idle_s = (int64_t)((shard->now.mono_ns - conn->heard_ns) / 1000000000u),
		.query_bytes = resp && client->query_bytes > 0 ? client->query_bytes : conn->in.len,
		.query_free_bytes = conn->in.cap - conn->in.len,
		.output_bytes = conn->out.reply_bytes,
		.memory_bytes = sizeof(*conn) + conn->in.cap + conn->out.reply_bytes,
		.lag_bytes = outbox_lag_bytes(&conn->out)};
	each(context, &facts);
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = (*(struct conn *const *)a)->id;
	uint64_t y = (*(struct conn *const *)b)->id;
	return (x > y) - (x < y);
}

static size_t collect_open(struct hub *hub, struct conn ***out)
{
	size_t room = 1;
	for (unsigned i = 0; i < hub->shards_count; i++) {
		room += hub->shards[i].conns_count;
	}
	struct conn **all = mem_alloc(room * sizeof(struct conn *));
	size_t count = 0;
	for (unsigned i = 0; i < hub->shards_count; i++) {
		struct shard *shard = &hub->shards[i];
		for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
			struct conn *conn = shard->conns[slot];
			if (conn != NULL && conn->state == CONN_OPEN) {
				all[count++] = conn;
			}
		}
	}
	*out = all;
	return count;
}

static void op_clients(
	void *hub, void (*each)(void *context, const struct client_facts *facts), void *context)
{
	struct shard *asking = hub;
	struct conn **all;
	hub_halt_others(asking);
	size_t count = collect_open(asking->hub, &all);
	qsort(all, count, sizeof(struct conn *), by_id);
	for (size_t i = 0; i < count; i++) {
		if (all[i]->state == CONN_OPEN) {
			tell_facts(all[i], each, context);
		}
	}
	free(all);
	hub_others_go_on(asking);
}

static struct conn *find_anywhere(struct hub *hub, uint64_t id)
{
	struct conn *conn = NULL;
	for (unsigned i = 0; conn == NULL && i < hub->shards_count; i++) {
		conn = conn_find(&hub->shards[i], id);
	}
	return conn;
}

static bool op_client(void *hub, uint64_t id,
	void (*each)(void *context, const struct client_facts *facts), void *context)
{
	struct shard *asking = hub;
	hub_halt_others(asking);
	struct conn *conn = find_anywhere(asking->hub, id);
	if (conn != NULL) {
		tell_facts(conn, each, context);
	}
	hub_others_go_on(asking);
	return conn != NULL;
}

static bool op_kill(void *hub, uint64_t id)
{
	struct shard *asking = hub;
	hub_halt_others(asking);
	struct conn *conn = find_anywhere(asking->hub, id);
	unsigned where = conn == NULL ? 0 : conn->shard->index;
	hub_others_go_on(asking);
	if (conn != NULL && where == asking->index) {
		conn_close(conn, END_KILLED);
	} else if (conn != NULL) {
		remote_kill(asking, where, id);
	}
	return conn != NULL;
}

static void op_renamed(void *hub, struct client *client)
{
	(void)hub;
	conn_renamed(conn_of_client(client));
}

/* ---- configuration, passwords, reports ---- */

static void op_config_get(void *hub,
	void (*each)(void *context, struct slice name, struct slice value), void *context)
{
	config_get_each(((struct shard *)hub)->config, SLICE("*"), each, context);
}

static int op_config_set(
	void *hub, struct slice name, struct slice value, char *why, size_t why_size)
{
	struct shard *shard = hub;
	char sentence[CONFIG_WHY_MAX] = "";
	char letters[16];
	if (slice_equal_nocase(name, SLICE("notify-keyspace-events"))) {
		if (redis_set_notify(shard->env.verbs, value) < 0) {
			snprintf(why, why_size,
				"Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
			return -E_SYNTAX;
		}
		value = slice_of(
			redis_notify(shard->env.verbs, letters)); /* as CONFIG GET tells it */
	}
	hub_halt_others(shard);
	int error = config_set(shard->config, name, value, sentence);
	for (unsigned i = 0; error == OK && i < shard->hub->shards_count; i++) {
		shard_configure(&shard->hub->shards[i]);
	}
	hub_others_go_on(shard);
	if (error != OK) {
		size_t len = strnlen(sentence, why_size - 1);
		memcpy(why, sentence, len);
		why[len] = '\0';
		return error;
	}
	return OK;
}

static int op_config_rewrite(void *hub)
{
	(void)hub;
	return -E_UNSUPPORTED;
}

/* The time does not tell how much of it was right. */
static bool equal_in_constant_time(struct slice a, struct slice b)
{
	unsigned difference = a.len != b.len;
	for (size_t i = 0; i < a.len; i++) {
		difference |= (unsigned)(unsigned char)a.data[i] ^
			      (unsigned)(unsigned char)(b.len > 0 ? b.data[i % b.len] : 0);
	}
	return difference == 0;
}

static bool op_password_ok(void *hub, struct slice user, struct slice password)
{
	const struct shard *shard = hub;
	if (!slice_equal(user, SLICE("default"))) {
		return false;
	}
	struct slice right = slice_of(shard->config->requirepass);
	return right.len == 0 || equal_in_constant_time(password, right);
}

static bool op_password_set(void *hub)
{
	return ((struct shard *)hub)->config->requirepass[0] != '\0';
}

static void op_facts(void *hub, struct redis_facts *out)
{
	hub_halt_others(hub);
	report_facts(hub, out);
	hub_others_go_on(hub);
}

static bool op_info(void *hub, struct slice section, struct bytes *out)
{
	hub_halt_others(hub);
	bool known = report_info(hub, section, out);
	hub_others_go_on(hub);
	return known;
}

static void op_reset_stats(void *hub)
{
	struct shard *asking = hub;
	hub_halt_others(asking);
	for (unsigned i = 0; i < asking->hub->shards_count; i++) {
		asking->hub->shards[i].stats = (struct shard_stats){0};
	}
	hub_others_go_on(asking);
}

static const struct redis_ops redis_ops = {
	.publish = op_publish,
	.announce = op_announce,
	.subscribe = op_subscribe,
	.unsubscribe = op_unsubscribe,
	.subscriptions = op_subscriptions,
	.channels = op_channels,
	.channel_subscribers = op_channel_subscribers,
	.patterns = op_patterns,
	.clients = op_clients,
	.client = op_client,
	.kill = op_kill,
	.config_get = op_config_get,
	.config_set = op_config_set,
	.config_rewrite = op_config_rewrite,
	.password_ok = op_password_ok,
	.password_set = op_password_set,
	.facts = op_facts,
	.info = op_info,
	.reset_stats = op_reset_stats,
	.renamed = op_renamed,
};

const struct redis_ops *hub_redis_ops(void)
{
	return &redis_ops;
}
