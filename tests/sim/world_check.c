/* What must hold after every turn, when all is quiet, and on the disk.
 *
 * These look into the hub: its accounts must add up, its memory must stay under its limits, and nothing may be pinned by nobody.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/hub/conn.h"
#include "engine/hub/tenant.h"
#include "tests/sim/actor.h"
#include "tests/sim/world.h"

/* How much may come in one turn before anybody is held back: each connection a few receive buffers, in three encodings, and
 * whole segments for it. */
enum { LOGS_MAX = 24, CHECK_LAG_MS = 500, LOST_MS = 2500 };
#define MS_NS UINT64_C(1000000)

static void check_conn(struct world *world, const struct conn *conn, uint32_t slot)
{
	const struct config *config = &world->config;
	bool subscriber = conn->out.cursors != NULL || conn->out.subscriptions != NULL;
	const struct config_limit *limit =
		&config->client_output_buffer_limit[subscriber ? CONFIG_CLASS_PUBSUB
							       : CONFIG_CLASS_NORMAL];
	uint64_t owed = outbox_lag_bytes(&conn->out) + outbox_memory_bytes(&conn->out);
	uint64_t now_ns = net_now_ns(world->net);
	assert(slot < sizeof(world->over_id) / sizeof(world->over_id[0]));
	bool over = conn->state == CONN_OPEN && owed > (uint64_t)limit->hard_bytes;
	if (!over || world->over_id[slot] != conn->id) {
		world->over_id[slot] = conn->id;
		world->over_since_ns[slot] = over ? now_ns : 0;
	} else if (world->over_since_ns[slot] == 0) {
		world->over_since_ns[slot] = now_ns;
	} else if (now_ns - world->over_since_ns[slot] > CHECK_LAG_MS * MS_NS) {
		world_fail(world,
			"connection id %llu owes %llu bytes, over its limit, and was not dropped",
			(unsigned long long)conn->id, (unsigned long long)owed);
	}
	if (outbox_memory_bytes(&conn->out) > 2 * (uint64_t)limit->hard_bytes) {
		world_fail(world, "connection id %llu has %zu bytes of replies",
			(unsigned long long)conn->id, outbox_memory_bytes(&conn->out));
	}
}

void world_check_turn(struct world *world)
{
	const struct shard *shard = &world->hub.shards[0];
	const struct config *config = &world->config;
	size_t input = 0;
	unsigned count = 0;
	if (world_failed(world)) {
		return;
	}
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		const struct conn *conn = shard->conns[slot];
		if (conn != NULL) {
			count++;
			input += conn->in.len;
			check_conn(world, conn, slot);
		}
	}
	if (count != shard->conns_count || input != shard->input_bytes) {
		world_fail(world,
			"accounts: %u connections, counted %u; %zu bytes of input, counted %zu",
			count, shard->conns_count, input, shard->input_bytes);
	}
	if (input > 4 * (size_t)config->client_query_buffer_limit_bytes +
			    (size_t)config->recv_buffer_bytes) {
		world_fail(world, "%zu bytes of requests under way", input);
	}
	size_t slack = CLIENTS_MAX * 5 * (size_t)config->recv_buffer_bytes * 3 * 2 +
		       LOGS_MAX * (size_t)LOG_SEGMENT_MAX;
	if (shard->pool.bytes > (size_t)config->log_bytes_max + slack) {
		world_fail(world, "the logs take %zu bytes", shard->pool.bytes);
	}
}

/* Nothing is in flight, nobody is behind, and of each log only the open segment is there. */
void world_check_settled(struct world *world)
{
	const struct shard *shard = &world->hub.shards[0];
	if (world_failed(world)) {
		return;
	}
	for (const struct tenant *tenant = shard->tenants; tenant != NULL;
		tenant = tenant->hh.next) {
		for (unsigned e = 0; e < ENC_COUNT; e++) {
			const struct log *log = tenant->fanout.logs[e];
			if (log != NULL && log->first != log->last) {
				world_fail(world, "a log of %s still holds %llu bytes",
					tenant->name, (unsigned long long)log_backlog(log));
			}
		}
		if (tenant->announcements_count > 0) {
			world_fail(world, "%s still has something to announce", tenant->name);
		}
	}
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		struct conn *conn = shard->conns[slot];
		if (conn != NULL && (conn->state != CONN_OPEN || !outbox_idle(&conn->out))) {
			world_fail(world, "connection id %llu, state %d, waits for ever",
				(unsigned long long)conn->id, (int)conn->state);
		}
	}
	bool unsaved = shard->unsaved && !wheel_is_set(&shard->save_timer);
	if (unsaved || shard->paused != NULL || shard->held != NULL) {
		world_fail(world, "something is unsaved (%d), paused (%d) or held (%d) for ever",
			unsaved, shard->paused != NULL, shard->held != NULL);
	}
}

/* ---- the disk ---- */

struct stored {
	int64_t token[MODEL_TENANTS][MODEL_STREAMS][MODEL_WRITERS];
	bool there[MODEL_TENANTS][MODEL_STREAMS][MODEL_WRITERS];
};

static void take_position(void *context, const struct store_position *position)
{
	struct stored *stored = context;
	char name[16];
	for (unsigned s = 0; s < MODEL_STREAMS; s++) {
		for (unsigned w = 0; w < MODEL_WRITERS; w++) {
			snprintf(name, sizeof(name), "w%u", w);
			unsigned t = slice_equal(position->tenant, SLICE("a.example")) ? 0 : 1;
			if (slice_equal(position->stream, slice_of(model_stream(s))) &&
				slice_equal(position->instance, slice_of(name))) {
				stored->token[t][s][w] = position->token;
				stored->there[t][s][w] = true;
			}
		}
	}
}

static void read_stored(struct world *world, struct stored *stored)
{
	struct store_loader loader = {.position = take_position, .context = stored};
	*stored = (struct stored){.token = {{{0}}}};
	if (disk_tell(world->disk, &loader) != OK) {
		world_fail(world, "what is stored does not read back");
	}
}

bool world_stored_token(struct world *world, unsigned stream, unsigned writer, int64_t *token)
{
	struct stored stored;
	read_stored(world, &stored);
	*token = stored.token[0][stream][writer];
	return stored.there[0][stream][writer];
}

/* What must have survived: with always, and after a stop, all that was acknowledged; after a kill what is a little older. */
static bool must_be_stored(
	const struct world *world, enum crash crash, uint64_t acked_ns, uint64_t crashed_ns)
{
	if (acked_ns == 0) {
		return false;
	}
	if (crash == CRASH_NONE || world->config.appendfsync == STORE_FSYNC_ALWAYS) {
		return true;
	}
	bool well = world->disk_well_ns < crashed_ns &&
		    crashed_ns - world->disk_well_ns > 4 * LOST_MS * MS_NS;
	return crash == CRASH_KILL && well && acked_ns + LOST_MS * MS_NS < crashed_ns;
}

void world_check_stored(struct world *world, enum crash crash, uint64_t crashed_ns)
{
	struct stored stored;
	struct ledger *ledger = &world->ledger;
	read_stored(world, &stored);
	for (unsigned t = 0; t < 2; t++) {
		for (unsigned s = 0; s < MODEL_STREAMS; s++) {
			for (unsigned w = 0; w < MODEL_WRITERS; w++) {
				int64_t token = stored.token[t][s][w];
				if (stored.there[t][s][w] && token > ledger->sent[t][s][w]) {
					world_fail(world, "stored %s w%u %lld, sent was %lld",
						model_stream(s), w, (long long)token,
						(long long)ledger->sent[t][s][w]);
				}
				if (must_be_stored(
					    world, crash, ledger->acked_ns[t][s][w], crashed_ns) &&
					token < ledger->acked[t][s][w]) {
					world_fail(world,
						"%s: stored %s w%u %lld, acknowledged was %lld",
						t == 0 ? "a.example" : "b.example", model_stream(s),
						w, (long long)token,
						(long long)ledger->acked[t][s][w]);
				}
				/* What was lost rightly is not asked for again. */
				ledger->acked[t][s][w] = token;
				ledger->acked_ns[t][s][w] *= stored.there[t][s][w];
			}
		}
	}
}
