/* The hub: made in order, destroyed in reverse.
 *
 * Called by main.c; calls the store, the shards and HTTP. What was stored is read back before anybody can connect; a
 * position that comes back is unconfirmed until its writer speaks.
 *
 * It deliberately knows no thread: main.c runs hub_run_shard() on one for each shard.
 */
#include "engine/hub/hub.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/base/table.h"
#include "engine/hub/conn.h"
#include "engine/hub/http.h"
#include "engine/hub/mesh.h"
#include "engine/hub/report.h"
#include "engine/hub/tenant.h"

static void wake_shard(void *context, unsigned shard)
{
	struct hub *hub = context;
	if (shard < hub->shards_count && atomic_load(&hub->shards[shard].running)) {
		ring_wake(hub->shards[shard].ring);
	}
}

static void make_run_id(struct hub *hub)
{
	unsigned char raw[20];
	hub->host->random(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++) {
		snprintf(hub->run_id + 2 * i, 3, "%02x", raw[i]);
	}
}

static void seed_tables(const struct host *host)
{
	uint64_t seed;
	host->random(&seed, sizeof(seed));
	table_seed(seed);
}

int hub_init(struct hub *hub, struct config *config, const char *config_file,
	const struct host *host, char *why, size_t why_size)
{
	*hub = (struct hub){.config = config, .config_file = config_file, .host = host};
	make_run_id(hub);
	seed_tables(host);
	hub->shards_count = (unsigned)config->io_threads;
	hub->shards = mem_zalloc(hub->shards_count * sizeof(*hub->shards));
	hub->mesh = hub->shards_count > 1 ? mesh_create(hub->shards_count) : NULL;
	struct store_options options = {.kind = config_word(config, "store"),
		.dir = config->dir,
		.fsync = (enum store_fsync)config->appendfsync,
		.queue_bytes_max = (size_t)config->store_queue_bytes_max,
		.block_cache_bytes = (size_t)config->store_block_cache_bytes,
		.write_buffer_bytes = (size_t)config->store_write_buffer_bytes,
		.wake = wake_shard,
		.context = hub};
	int error = store_open(&options, &hub->store, why, why_size);
	if (error != OK) {
		mesh_destroy(hub->mesh);
		hub->mesh = NULL;
		free(hub->shards);
		hub->shards = NULL;
	}
	return error;
}

void hub_finish(struct hub *hub)
{
	http_destroy(hub->http);
	for (unsigned i = 0; hub->shards != NULL && i < hub->shards_count; i++) {
		shard_finish(&hub->shards[i]);
	}
	store_close(hub->store);
	mesh_destroy(hub->mesh);
	free(hub->shards);
	*hub = (struct hub){0};
}

/* ---- reading back ---- */

static struct replication *knowledge_of(struct shard *shard, struct slice name)
{
	if (tenant_owner(shard, name) != shard->index) {
		return NULL;
	}
	struct tenant *tenant = tenant_need(shard, name);
	return tenant == NULL ? NULL : tenant_replication(tenant);
}

static void load_position(void *context, const struct store_position *position)
{
	struct replication *replication = knowledge_of(context, position->tenant);
	if (replication != NULL) {
		replication_load_position(replication, position);
	}
}

static void load_instance(void *context, const struct store_instance *instance)
{
	struct shard *shard = context;
	struct replication *replication = knowledge_of(shard, instance->tenant);
	if (replication != NULL) {
		replication_load_instance(replication, instance, shard->now);
	}
}

static void load_user_sync(void *context, const struct store_user_sync *sync)
{
	struct replication *replication = knowledge_of(context, sync->tenant);
	if (replication != NULL) {
		replication_load_user_sync(replication, sync);
	}
}

static int read_back(struct hub *hub, struct shard *shard, char *why, size_t why_size)
{
	struct store_loader loader = {.position = load_position,
		.instance = load_instance,
		.user_sync = load_user_sync,
		.context = shard};
	int error = store_load(hub->store, &loader);
	if (error != OK) {
		snprintf(why, why_size, "what the store holds cannot be read back: %s",
			err_text(error));
		return error;
	}
	for (struct tenant *tenant = shard->tenants; tenant != NULL; tenant = tenant->hh.next) {
		tenant_touch(tenant); /* its deadlines begin to run */
	}
	return OK;
}

/* ---- listening ---- */

static int listen_one(struct hub *hub, struct shard *shard, const char *address, enum listener tag,
	char *why, size_t why_size)
{
	char bound[RING_ADDRESS_MAX];
	unsigned mode = (unsigned)hub->config->unixsocketperm;
	int error = ring_listen(shard->ring, address, mode, (uint32_t)tag, bound);
	if (error != OK) {
		snprintf(why, why_size, "cannot listen on %s: %s", address, err_text(error));
		return error;
	}
	if (hub->bound[tag][0] == '\0') {
		memcpy(hub->bound[tag], bound, sizeof(bound));
	}
	journal(JOURNAL_NOTICE, "listening", "protocol=%s address=%s",
		tag == LISTENER_LINE ? "line" : "resp", bound);
	return OK;
}

/* The port to ask the kernel for: 0 in the configuration is no port, -1 is any. */
static int64_t port_to_bind(int64_t configured)
{
	return configured == 0 ? -1 : configured < 0 ? 0 : configured;
}

static int listen_list(struct hub *hub, struct shard *shard, const struct config_list *bind,
	int64_t port, enum listener tag, char *why, size_t why_size)
{
	for (unsigned i = 0; port >= 0 && i < bind->count; i++) {
		char address[RING_ADDRESS_MAX];
		bool optional = config_address(bind->items[i], port, address, sizeof(address));
		int error = listen_one(hub, shard, address, tag, why, why_size);
		if (error != OK && !optional) {
			return error;
		}
	}
	return OK;
}

static int listen_unix(struct hub *hub, struct shard *shard, const char *path, enum listener tag,
	char *why, size_t why_size)
{
	if (path[0] == '\0') {
		return OK;
	}
	char address[RING_ADDRESS_MAX];
	if ((size_t)snprintf(address, sizeof(address), "unix:%s", path) >= sizeof(address)) {
		snprintf(why, why_size, "the path of the unix socket is too long: %s", path);
		return -E_TOO_LONG;
	}
	return listen_one(hub, shard, address, tag, why, why_size);
}

static int listen_all(struct hub *hub, struct shard *shard, char *why, size_t why_size)
{
	const struct config *config = hub->config;
	int error = listen_list(hub, shard, &config->bind, port_to_bind(config->port),
		LISTENER_RESP, why, why_size);
	if (error == OK) {
		error = listen_unix(hub, shard, config->unixsocket, LISTENER_RESP, why, why_size);
	}
	if (error != OK || config->server_name[0] == '\0') {
		return error;
	}
	error = listen_list(hub, shard, &config->line_bind, port_to_bind(config->line_port),
		LISTENER_LINE, why, why_size);
	if (error == OK) {
		error = listen_unix(
			hub, shard, config->line_unixsocket, LISTENER_LINE, why, why_size);
	}
	return error;
}

/* ---- HTTP ---- */

static int render(void *context, enum http_page page, struct bytes *out)
{
	struct hub *hub = context;
	if (page == HTTP_METRICS) {
		report_metrics(&hub->shards[0], out);
		return OK;
	}
	return page == HTTP_HEALTH ? report_health(hub, out) : report_ready(hub, out);
}

static void wake_for_http(void *context)
{
	wake_shard(context, 0);
}

static int start_http(struct hub *hub, char *why, size_t why_size)
{
	const struct config *config = hub->config;
	if (config->http_port == 0) {
		return OK;
	}
	struct http_options options = {
		.bind = config->http_bind, .port = (uint16_t)port_to_bind(config->http_port)};
	struct http_source source = {.render = render, .wake = wake_for_http, .context = hub};
	int error = http_create(&options, &source, &hub->http, why, why_size);
	if (error == OK) {
		journal(JOURNAL_NOTICE, "listening", "protocol=http address=%s:%u",
			config->http_bind, http_port(hub->http));
	}
	return error;
}

/* ---- running ---- */

int hub_start_shard(struct hub *hub, unsigned index, char *why, size_t why_size)
{
	assert(index < hub->shards_count);
	struct shard *shard = &hub->shards[index];
	int error = shard_init(shard, hub, index, hub->config, hub->store);
	if (error != OK) {
		snprintf(why, why_size, "the ring cannot be made: %s", err_text(error));
		return error;
	}
	atomic_store(&shard->running, true);
	if (index == 0) {
		hub->started_ms = shard->now.wall_ms;
		hub->started_ns = shard->now.mono_ns;
	}
	return read_back(hub, shard, why, why_size);
}

int hub_listen(struct hub *hub, char *why, size_t why_size)
{
	int error = listen_all(hub, &hub->shards[0], why, why_size);
	if (error == OK) {
		error = start_http(hub, why, why_size);
	}
	atomic_store(&hub->ready, error == OK);
	return error;
}

/* A shard that has nothing left goes on turning until no other needs it any more. */
static bool all_are_quiet(struct hub *hub, unsigned index, bool *quiet)
{
	if (hub->shards_count == 1) {
		return true;
	}
	if (!*quiet) {
		*quiet = true;
		if (atomic_fetch_add(&hub->quiet, 1) + 1 == hub->shards_count) {
			for (unsigned other = 0; other < hub->shards_count; other++) {
				if (other != index) {
					wake_shard(hub, other);
				}
			}
		}
	}
	return atomic_load(&hub->quiet) == hub->shards_count;
}

void hub_run_shard(struct hub *hub, unsigned index)
{
	struct shard *shard = &hub->shards[index];
	unsigned stops = 0;
	bool quiet = false;
	while (shard_turn(shard) || !all_are_quiet(hub, index, &quiet)) {
		unsigned asked = atomic_load(&hub->stops);
		if (asked != stops) {
			stops = asked;
			atomic_store(&hub->ready, false);
			shard_stop(shard);
		}
		if (index == 0 && hub->http != NULL) {
			http_poll(hub->http);
		}
	}
	if (hub->mesh != NULL) {
		mesh_leave(shard);
	}
}

void hub_stop(struct hub *hub)
{
	atomic_fetch_add(&hub->stops, 1);
	for (unsigned i = 0; i < hub->shards_count; i++) {
		wake_shard(hub, i);
	}
}
