/* One shard's loop.
 *
 * Called by hub.c, one thread a shard; calls the ring, then conn.c with each event, then tenant.c and the store for what has
 * changed. Everything that happened in a turn is handled before anything is sent, so what arrives together leaves together:
 * a batch of publishes becomes one send for each subscriber.
 *
 * With appendfsync always the order is: append, submit, wait for the disk, announce, answer. With the others the
 * tails are published in the same turn, and the store gets what changed each SAVE_INTERVAL.
 *
 * It deliberately does not look into a connection or a tenant beyond the lists that stand in shard.h.
 */
#include "engine/hub/shard.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/hub/conn.h"
#include "engine/hub/hub.h"
#include "engine/hub/mesh.h"
#include "engine/hub/redis_ops.h"
#include "engine/hub/remote.h"
#include "engine/hub/tenant.h"
#include "engine/redis/commands.h"

enum { EVENTS_A_TURN = 512, EXPIRE_A_TURN = 200, REPLY_KEEP_BYTES = 64 * 1024 };
#define MS_NS           UINT64_C(1000000)
#define LIMITS_NS       (100 * MS_NS)
#define REST_NS         (1000 * MS_NS)
#define FULL_NS         (2000 * MS_NS)
#define STOPPING_NS     (10 * MS_NS)
#define CACHE_NS        (1000 * MS_NS)
#define LIMITS_STEP_MIN (64u * 1024)
#define LIMITS_STEP_MAX (4u * 1024 * 1024)

/* ---- timers ---- */

static struct shard *shard_of(struct wheel_timer *timer, size_t offset)
{
	return (struct shard *)((char *)timer - offset);
}

static void cache_timer_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	struct shard *shard = shard_of(timer, offsetof(struct shard, cache_timer));
	int64_t next_ms = redis_expire(&shard->env, EXPIRE_A_TURN);
	int64_t wait_ms = next_ms - shard->now.wall_ms;
	uint64_t wait_ns = wait_ms > 1000 ? CACHE_NS
			   : wait_ms < 10 ? 10 * MS_NS
					  : (uint64_t)wait_ms * MS_NS;
	if (cache_stats(shard->cache)->entries > 0) {
		wheel_set(shard->wheel, timer, now_ns + wait_ns);
	}
}

static void check_limits(struct shard *shard)
{
	shard->limits_checked_bytes = shard->pool.bytes;
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		if (shard->conns[slot] != NULL) {
			conn_check_limits(shard->conns[slot], shard->now.mono_ns);
		}
	}
}

static void limits_timer_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	struct shard *shard = shard_of(timer, offsetof(struct shard, limits_timer));
	(void)now_ns;
	check_limits(shard);
}

/* A quiet second: what the busy time left behind goes back to the system. */
static void rest_timer_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	struct shard *shard = shard_of(timer, offsetof(struct shard, rest_timer));
	if (shard->published_at_rest != shard->stats.published) {
		shard->published_at_rest = shard->stats.published;
		wheel_set(shard->wheel, timer, now_ns + REST_NS);
		return;
	}
	for (struct tenant *tenant = shard->tenants; tenant != NULL; tenant = tenant->hh.next) {
		fanout_rest(&tenant->fanout);
		tenant_touch(tenant);
	}
	log_pool_trim(&shard->pool);
}

static void save_timer_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	(void)now_ns;
	shard_of(timer, offsetof(struct shard, save_timer))->save_due = true;
}

/* ---- events ---- */

static void handle_event(struct shard *shard, const struct ring_event *event)
{
	struct conn *conn = event->kind == RING_WOKEN ? NULL : shard->conns[event->socket.slot];
	if (conn != NULL && conn->socket.generation != event->socket.generation) {
		conn = NULL;
	}
	switch (event->kind) {
	case RING_ACCEPTED:
		conn_accepted(shard, event->socket, (enum listener)event->listener);
		return;
	case RING_WOKEN:
	case RING_CONNECTED:
		return;
	case RING_RELEASED:
	case RING_RECEIVED:
	case RING_SENT:
	case RING_EOF:
	case RING_CLOSED:
		break;
	}
	if (conn == NULL) { /* one that was refused: nothing of ours hangs on it */
		return;
	}
	if (event->kind == RING_RECEIVED) {
		conn_received(conn, (struct slice){event->data, event->len});
	} else if (event->kind == RING_SENT) {
		conn_sent(conn, event->error, event->len);
	} else if (event->kind == RING_EOF) {
		conn_eof(conn, event->error);
	} else if (event->kind == RING_RELEASED) {
		conn_released(conn, event->fd);
	} else {
		conn_closed(conn);
	}
}

/* ---- the store ---- */

static bool save_each_turn(const struct shard *shard)
{
	return shard->config->appendfsync == STORE_FSYNC_ALWAYS;
}

static struct store_batch *collect_changes(const struct shard *shard)
{
	struct store_batch *batch = store_batch_create();
	for (struct tenant *tenant = shard->tenants; tenant != NULL; tenant = tenant->hh.next) {
		if (tenant->replication != NULL && replication_dirty(tenant->replication)) {
			replication_collect(tenant->replication, batch);
		}
	}
	return batch;
}

/* Hand over a batch: the one that found the queue full, else what changed. False: the queue is full; the batch stays, and
 * what changes meanwhile comes, merged, with the one behind it. */
static bool submit(struct shard *shard)
{
	uint64_t number = 0;
	shard->batch = shard->batch != NULL ? shard->batch : collect_changes(shard);
	if (store_submit(shard->store, shard->index, shard->batch, &number) != OK) {
		wheel_set(shard->wheel, &shard->save_timer, shard->now.mono_ns + LIMITS_NS);
		return false;
	}
	assert(number == shard->submitted + 1);
	shard->submitted = number;
	shard->batch = NULL;
	return true;
}

static void save(struct shard *shard)
{
	if (!shard->unsaved) {
		return;
	}
	if (!save_each_turn(shard) && !shard->save_due && !shard->stopping) {
		if (!wheel_is_set(&shard->save_timer)) {
			wheel_set(shard->wheel, &shard->save_timer,
				shard->now.mono_ns + shard->save_interval_ns);
		}
		return;
	}
	shard->save_due = false;
	bool left_over = shard->batch != NULL;
	if (submit(shard) && (!left_over || submit(shard))) {
		shard->unsaved = false;
	}
}

uint64_t shard_wait_number(const struct shard *shard)
{
	if (!save_each_turn(shard)) {
		return 0;
	}
	uint64_t number = shard->submitted + shard->unsaved + (shard->batch != NULL);
	return number > shard->durable ? number : 0;
}

static void release_held(struct shard *shard)
{
	struct conn *held = shard->held;
	shard->held = NULL;
	while (held != NULL) {
		struct conn *next = held->next_held;
		held->in_held = false;
		conn_ready(&held->out);
		held = next;
	}
}

/* What became durable may be announced and answered. */
static void take_durable(struct shard *shard)
{
	uint64_t durable = store_durable(shard->store, shard->index);
	if (durable == shard->durable) {
		return;
	}
	shard->durable = durable;
	bool waiting = false;
	for (struct tenant *tenant = shard->tenants; shard->announcing && tenant != NULL;
		tenant = tenant->hh.next) {
		waiting = tenant_announce_durable(tenant, durable) || waiting;
	}
	shard->announcing = waiting;
	remote_durable(shard);
	release_held(shard);
}

/* ---- tenants that were touched ---- */

static struct tenant *take_touched(struct shard *shard)
{
	struct tenant *tenant = shard->touched;
	if (tenant != NULL) {
		shard->touched = tenant->next_touched;
		tenant->touched = false;
	}
	return tenant;
}

/* Deadlines and changes of those that were touched; they stay in the list. */
static void look_at_touched(struct shard *shard)
{
	for (struct tenant *tenant = shard->touched; tenant != NULL;
		tenant = tenant->next_touched) {
		if (tenant->replication == NULL) {
			continue;
		}
		shard->unsaved = shard->unsaved || replication_dirty(tenant->replication);
		uint64_t due = replication_tick(tenant->replication, shard->now);
		if (due == UINT64_MAX) {
			wheel_cancel(shard->wheel, &tenant->timer);
		} else if (!wheel_is_set(&tenant->timer) || tenant->due_ns != due) {
			tenant->due_ns = due;
			wheel_set(shard->wheel, &tenant->timer, due);
		}
	}
}

static void announce_touched(struct shard *shard, uint64_t number)
{
	for (struct tenant *tenant = shard->touched; tenant != NULL;
		tenant = tenant->next_touched) {
		tenant_announce(tenant, number);
		shard->announcing = shard->announcing || tenant->announcements_count > 0;
	}
}

void shard_before_change(struct shard *shard)
{
	if (save_each_turn(shard) && !shard->unsaved) {
		announce_touched(shard, shard_wait_number(shard));
	}
}

static void collect_touched(struct shard *shard)
{
	for (struct tenant *tenant = take_touched(shard); tenant != NULL;
		tenant = take_touched(shard)) {
		tenant_collect(tenant);
	}
}

/* ---- flushing ---- */

/* Everybody in the list gets one stretch; who becomes ready meanwhile comes with the next turn. */
static void flush_ready(struct shard *shard)
{
	struct conn *conn = shard->ready;
	shard->ready = shard->ready_last = NULL;
	while (conn != NULL) {
		struct conn *next = conn->next_ready;
		conn->in_ready = false;
		if (conn->freed) {
			conn_free(conn);
		} else if (conn->moved) {
			conn_depart(conn);
		} else {
			conn_flush(conn);
		}
		conn = next;
	}
}

/* ---- limits ---- */

/* The logs are full, with everybody below his own limit. Those who publish do not wait for ever for those who do not read:
 * who is farthest behind is closed, one each FULL_NS. */
static void drop_farthest(struct shard *shard)
{
	struct conn *farthest = NULL;
	uint64_t most = 0;
	if (shard->full_since_ns == 0) {
		shard->full_since_ns = shard->now.mono_ns;
	}
	if (shard->now.mono_ns - shard->full_since_ns < FULL_NS) {
		shard_watch_limits(shard);
		return;
	}
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		struct conn *conn = shard->conns[slot];
		uint64_t lag = conn == NULL || conn->state == CONN_CLOSING
				       ? 0
				       : outbox_lag_bytes(&conn->out);
		farthest = lag > most ? conn : farthest;
		most = lag > most ? lag : most;
	}
	shard->full_since_ns = shard->now.mono_ns;
	if (farthest != NULL) {
		conn_close(farthest, END_OUTPUT);
	}
	shard_watch_limits(shard);
}

static void relieve(struct shard *shard)
{
	size_t max = (size_t)shard->config->log_bytes_max;
	if (shard->pool.bytes > shard->limits_checked_bytes + shard->limits_step_bytes) {
		check_limits(shard);
	}
	shard->limits_checked_bytes = shard->pool.bytes < shard->limits_checked_bytes
					      ? shard->pool.bytes
					      : shard->limits_checked_bytes;
	if (shard->pool.bytes > shard->limits_step_bytes) {
		shard_watch_limits(shard);
	}
	if (shard->published_at_rest != shard->stats.published &&
		!wheel_is_set(&shard->rest_timer)) {
		wheel_set(shard->wheel, &shard->rest_timer, shard->now.mono_ns + REST_NS);
	}
	if (shard->paused == NULL) {
		shard->full_since_ns = 0;
		return;
	}
	if (shard->pool.bytes > max - max / 8) {
		drop_farthest(shard);
		return;
	}
	shard->full_since_ns = 0;
	struct conn *paused = shard->paused;
	shard->paused = NULL;
	while (paused != NULL) {
		struct conn *next = paused->next_paused;
		conn_resume(paused);
		paused = next;
	}
}

/* ---- the turn ---- */

static uint64_t how_long_to_wait(struct shard *shard)
{
	if (shard->ready != NULL || shard->touched != NULL) {
		return 0;
	}
	if (shard->hub->mesh != NULL && !mesh_fall_asleep(shard)) {
		return 0;
	}
	uint64_t wait_ns = wheel_next_ns(shard->wheel, ring_now(shard->ring).mono_ns);
	if (shard->stopping && wait_ns > STOPPING_NS) {
		return STOPPING_NS; /* nothing may come any more that would wake it */
	}
	return wait_ns;
}

/* What other shards say, and want. */
static void attend_to_others(struct shard *shard)
{
	if (shard->hub->mesh != NULL) {
		mesh_take(shard, remote_handle);
	}
}

static void tell_others(struct shard *shard)
{
	if (shard->hub->mesh != NULL) {
		atomic_store_explicit(
			&shard->patterns_told, shard->patterns.count, memory_order_relaxed);
		mesh_post(shard);
	}
}

/* Work that timers and events left behind, until the shard can wait again. */
static void settle(struct shard *shard)
{
	look_at_touched(shard);
	uint64_t number = shard_wait_number(shard);
	save(shard);
	announce_touched(shard, number);
	take_durable(shard);
	tell_others(shard);
	flush_ready(shard);
	collect_touched(shard);
	relieve(shard);
	tell_others(shard);
	bytes_shrink(&shard->reply, REPLY_KEEP_BYTES);
}

static bool all_is_quiet(const struct shard *shard)
{
	return shard->conns_count == 0 && !shard->unsaved;
}

static void close_all(struct shard *shard)
{
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		if (shard->conns[slot] != NULL) {
			conn_close(shard->conns[slot], END_SHUTDOWN);
		}
	}
}

bool shard_turn(struct shard *shard)
{
	struct ring_event events[EVENTS_A_TURN];
	int count = ring_wait(shard->ring, how_long_to_wait(shard), events, EVENTS_A_TURN);
	if (shard->hub->mesh != NULL) {
		mesh_wake_up(shard);
		mesh_stand_still(shard);
	}
	if (count < 0) {
		journal(JOURNAL_WARNING, "the ring is broken", "error=\"%s\"", err_text(count));
		return false;
	}
	shard->now = shard->env.now = ring_now(shard->ring);
	shard->stats.turns++;
	for (int i = 0; i < count; i++) {
		handle_event(shard, &events[i]);
	}
	attend_to_others(shard);
	wheel_advance(shard->wheel, shard->now.mono_ns);
	if (cache_stats(shard->cache)->entries > 0 && !wheel_is_set(&shard->cache_timer)) {
		wheel_set(shard->wheel, &shard->cache_timer, shard->now.mono_ns + CACHE_NS);
	}
	settle(shard);
	if (shard->stopping && shard->now.mono_ns >= shard->stop_at_ns) {
		close_all(shard);
	}
	return !(shard->stopping && all_is_quiet(shard));
}

/* ---- life ---- */

void shard_watch_limits(struct shard *shard)
{
	if (!wheel_is_set(&shard->limits_timer)) {
		wheel_set(shard->wheel, &shard->limits_timer, shard->now.mono_ns + LIMITS_NS);
	}
}

static void take_line_writers(struct shard *shard)
{
	const struct config_list *list = &shard->config->line_writers;
	struct slice *instances = mem_alloc((list->count + 1) * sizeof(*instances));
	bool any = false;
	for (unsigned i = 0; i < list->count; i++) {
		instances[i] = slice_of(list->items[i]);
		any = any || slice_equal(instances[i], SLICE("*"));
	}
	free((void *)shard->line_writers.instances);
	shard->line_writers =
		(struct line_writers){.any = any, .count = list->count, .instances = instances};
}

/* Nobody below the least of all limits needs to be looked at. */
static size_t least_limit(const struct config *config)
{
	int64_t least = LIMITS_STEP_MAX;
	for (unsigned i = 0; i < CONFIG_CLASSES; i++) {
		const struct config_limit *limit = &config->client_output_buffer_limit[i];
		least = limit->hard_bytes > 0 && limit->hard_bytes < least ? limit->hard_bytes
									   : least;
		least = limit->soft_bytes > 0 && limit->soft_bytes < least ? limit->soft_bytes
									   : least;
	}
	return least < LIMITS_STEP_MIN ? LIMITS_STEP_MIN : (size_t)least;
}

/* Deadlines that are running may be others now. */
static void look_at_all(struct shard *shard)
{
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		if (shard->conns[slot] != NULL) {
			conn_watch_idle(shard->conns[slot]);
		}
	}
	for (struct tenant *tenant = shard->tenants; tenant != NULL; tenant = tenant->hh.next) {
		tenant_touch(tenant);
	}
}

void shard_configure(struct shard *shard)
{
	const struct config *config = shard->config;
	journal_set_level((enum journal_level)config->loglevel);
	shard->resp_limits =
		(struct resp_limits){.bulk_bytes_max = (size_t)config->proto_max_bulk_len_bytes,
			.inline_bytes_max = 64 * 1024,
			.args_max = 1024 * 1024};
	shard->stranger_limits = shard->resp_limits;
	shard->stranger_limits.stranger = true;
	shard->line_options.server_name = slice_of(config->server_name);
	shard->line_options.ping_interval_ns = (uint64_t)config->line_ping_interval_ms * MS_NS;
	shard->line_options.ping_timeout_ns = (uint64_t)config->line_ping_timeout_ms * MS_NS;
	shard->replication_limits = (struct replication_limits){.streams_max = 256,
		.instances_max = 4096,
		.positions_max = 32768,
		.user_syncs_max = 1000000,
		.batch_rows_max = (unsigned)config->batch_rows_max,
		.batch_bytes_max = (size_t)config->batch_bytes_max,
		.batch_age_max_ns = (uint64_t)config->batch_age_max_ms * MS_NS,
		.user_sync_expiry_ns = (uint64_t)config->user_sync_expiry_ms * MS_NS};
	shard->limits_step_bytes = least_limit(config);
	shard->save_interval_ns =
		config->appendfsync == STORE_FSYNC_NO ? 1000 * MS_NS : 100 * MS_NS;
	shard->env.databases = (unsigned)config->databases;
	shard->env.value_bytes_max = (size_t)config->proto_max_bulk_len_bytes;
	shard->env.multi_bytes_max = (size_t)config->client_query_buffer_limit_bytes;
	cache_set_limit(shard->cache, (size_t)config->maxmemory_bytes,
		(enum cache_policy)config->maxmemory_policy);
	if (redis_set_notify(shard->env.verbs, slice_of(config->notify_keyspace_events)) < 0) {
		journal(JOURNAL_WARNING, "letters of notify-keyspace-events unknown", "value=%s",
			JQ(slice_of(config->notify_keyspace_events)));
	}
	take_line_writers(shard);
	look_at_all(shard);
}

int shard_init(struct shard *shard, struct hub *hub, unsigned index, struct config *config,
	struct store *store)
{
	shard->index = index;
	shard->hub = hub;
	shard->config = config;
	shard->store = store;
	shard->conns_max = (uint32_t)config->maxclients + 64;
	struct ring_options options = {.engine = config_word(config, "engine"),
		.sockets_max = shard->conns_max,
		.recv_buffer_bytes = (uint32_t)config->recv_buffer_bytes,
		.recv_buffers = (uint32_t)config->recv_buffers,
		.sends_per_enter = 128};
	int error = ring_create(&options, &shard->ring);
	if (error != OK) {
		return error;
	}
	shard->now = ring_now(shard->ring);
	shard->wheel = wheel_create(shard->now.mono_ns);
	shard->conns = mem_zalloc(shard->conns_max * sizeof(struct conn *));
	log_pool_init(&shard->pool, hub->shards_count);
	patterns_init(&shard->patterns, conn_ready);
	shard->processes = processes_create(SHARD_PROCESSES_MAX);
	shard->cache = cache_create(
		(size_t)config->maxmemory_bytes, (enum cache_policy)config->maxmemory_policy);
	shard->cache_timer.expired = cache_timer_expired;
	shard->limits_timer.expired = limits_timer_expired;
	shard->rest_timer.expired = rest_timer_expired;
	shard->save_timer.expired = save_timer_expired;
	shard->env = (struct redis_env){.ops = hub_redis_ops(),
		.hub = shard,
		.cache = shard->cache,
		.verbs = redis_verbs_create(),
		.now = shard->now,
		.run_id = hub->run_id,
		.version = MILLRACE_VERSION};
	shard_configure(shard);
	return OK;
}

void shard_stop(struct shard *shard)
{
	if (shard->stopping) {
		shard->stop_at_ns = shard->now.mono_ns;
		return;
	}
	shard->stopping = true;
	shard->stop_at_ns =
		shard->now.mono_ns + (uint64_t)shard->config->shutdown_timeout_ms * MS_NS;
	for (uint32_t tag = 0; tag < LISTENERS; tag++) {
		ring_unlisten(shard->ring, tag);
	}
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		struct conn *conn = shard->conns[slot];
		if (conn != NULL && conn->state == CONN_OPEN) {
			conn_tell_shutdown(conn);
			conn_last_words(conn, END_SHUTDOWN);
		}
	}
}

void shard_finish(struct shard *shard)
{
	if (shard->ring == NULL) {
		return;
	}
	close_all(shard);
	ring_destroy(shard->ring); /* nothing is in flight any more */
	flush_ready(shard);
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		if (shard->conns[slot] != NULL) {
			conn_closed(shard->conns[slot]);
		}
	}
	flush_ready(shard);
	atomic_store(&shard->running, false);
	tenants_destroy(shard);
	patterns_finish(&shard->patterns);
	redis_verbs_destroy(shard->env.verbs);
	cache_destroy(shard->cache);
	store_batch_destroy(shard->batch);
	processes_destroy(shard->processes);
	wheel_destroy(shard->wheel);
	log_pool_finish(&shard->pool);
	bytes_finish(&shard->reply);
	free((void *)shard->line_writers.instances);
	free(shard->conns);
	shard->ring = NULL;
}
