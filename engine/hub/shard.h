/* A shard: one thread's share of the hub, and one turn of its loop.
 *
 * A shard owns connections (by their ring's slots) and tenants (by hash of their names), a ring, a clock and a log pool.
 * Nobody else touches it; what it asks of others goes through the ring's wake-ups and the store's queue. A turn:
 *
 *     wait ─▶ events ─▶ store (submit what changed) ─▶ announce (publish tails) ─▶ flush ─▶ timers ─▶ collect ─▶ wait
 *
 * conn.c and tenant.c work on the lists that stand here; shard.c alone decides when.
 */
#ifndef MILLRACE_HUB_SHARD_H
#define MILLRACE_HUB_SHARD_H

#include <stdatomic.h>

#include "engine/fanout/log.h"
#include "engine/fanout/pattern.h"
#include "engine/hub/config.h"
#include "engine/hub/process.h"
#include "engine/protocol/resp.h"
#include "engine/redis/client.h"
#include "engine/replication/line_session.h"
#include "ring/ring.h"
#include "ring/wheel.h"
#include "store/store.h"

struct conn;
struct late_reply;
struct tenant;
struct hub;

enum { SHARD_PROCESSES_MAX = 256 }; /* names of background processes */

/* Tags of listeners: what a connection speaks is known from where it came in. */
enum listener { LISTENER_RESP, LISTENER_LINE, LISTENERS };

struct shard_stats {
	uint64_t turns, busy_ns;
	uint64_t accepted, closed, refused_full; /* refused: maxclients */
	uint64_t dropped_output, dropped_input, dropped_idle, protocol_errors;
	uint64_t received_bytes, sent_bytes;
	uint64_t published, delivered; /* messages in; messages times receivers */
	uint64_t published_bytes;
	uint64_t channels_refused, tenants_refused;
	uint64_t publishers_paused;
	uint64_t bells; /* doorbells to other shards */
};

struct shard {
	unsigned index;
	struct hub *hub;
	struct config *config;
	struct store *store;
	struct ring *ring;
	struct wheel *wheel;
	struct instant now;

	struct conn **conns; /* by the ring's slot */
	uint32_t conns_max;
	unsigned conns_count;
	uint64_t next_connection;
	struct conn *ready, *ready_last; /* to be flushed in this turn */
	struct conn *held;               /* owed things that wait for the disk */
	struct conn *paused;             /* publishers that are not read from */
	uint64_t full_since_ns; /* the logs are full, and nobody was dropped for it since */

	struct tenant *tenants; /* a table by name */
	unsigned known_tenants; /* with knowledge */
	struct tenant *touched; /* appended to, or changed, in this turn */
	struct log_pool pool;
	struct patterns patterns;

	struct processes *processes;
	struct process *processes_by_command[CMD_COUNT]; /* the one named last */
	struct process *run;                             /* the handler that runs now */
	uint64_t run_began_ns;
	bool run_timed;
	struct cache *cache;
	struct redis_env env;
	struct resp_limits resp_limits, stranger_limits;
	struct line_options line_options;
	struct bytes reply; /* where verbs and sessions write before it is put in order */
	struct wheel_timer cache_timer, limits_timer, save_timer, rest_timer;
	uint64_t published_at_rest;  /* stats.published when memory was last given back */
	size_t limits_checked_bytes; /* of logs, when all were checked last */
	size_t limits_step_bytes;    /* checked again when they have grown by so much */
	size_t input_bytes;          /* of all requests under way */

	struct replication_limits replication_limits;
	struct line_writers line_writers;
	struct store_batch *batch;
	uint64_t submitted, durable;         /* numbers of batches */
	struct late_reply *late, *late_last; /* to other shards, waiting for the disk */
	uint64_t save_interval_ns;
	bool unsaved;    /* a tenant has changes that the store has not seen */
	bool save_due;   /* the interval is over */
	bool announcing; /* a tenant has announcements that wait for the disk */
	bool stopping;
	uint64_t stop_at_ns;
	struct shard_stats stats;
	uint64_t hints;            /* tails of other shards' logs that moved */
	atomic_uint patterns_told; /* patterns.count, for the other shards */
	atomic_size_t log_bytes;   /* pool.bytes, likewise */
	atomic_bool running;       /* its ring may be woken */
};

/* owner: the thread that runs it calls init, then turns, then finish. errors: of ring_create(). */
int shard_init(struct shard *shard, struct hub *hub, unsigned index, struct config *config,
	struct store *store);
void shard_finish(struct shard *shard);

/* One turn. False: everything is closed after shard_stop(), or the ring is broken. */
bool shard_turn(struct shard *shard);

/* With appendfsync always: the batch that has to be durable before what was said until now is announced, or acknowledged. 0:
 * nothing has to wait. */
uint64_t shard_wait_number(const struct shard *shard);
/* Before something that may change what is stored: what was said until now shall not have to wait for it. */
void shard_before_change(struct shard *shard);

/* Have everybody's client-output-buffer-limit checked in a moment. */
void shard_watch_limits(struct shard *shard);

/* Take over what CONFIG SET may have changed. */
void shard_configure(struct shard *shard);

/* Begin to stop: no new connections, what is owed goes out within shutdown-timeout. */
void shard_stop(struct shard *shard);

#endif
