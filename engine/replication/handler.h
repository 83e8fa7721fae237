/* The shared command handler: one for every transport, both directions and both roles.
 *
 * `struct replication` is what the hub knows of one homeserver: its streams' positions, its
 * batches under way, who syncs where. replication_handle() acts on one command: it learns,
 * decides, and gives what is to be heard by others to the tenant's log through `struct
 * replication_ops`. It owns no connection, no clock, no disk.
 *
 *     transport ─▶ struct command ─▶ replication_handle ─▶ on_<command> ─▶ what is known
 *                                                               └────────▶ ops->append ─▶ log
 */
#ifndef MILLRACE_REPLICATION_HANDLER_H
#define MILLRACE_REPLICATION_HANDLER_H

#include "engine/replication/command.h"
#include "engine/replication/limits.h"
#include "ring/ring.h"
#include "store/store.h"

/* Who hears an entry of the log. */
enum audience { TO_RESP = 1, TO_LINE = 2, TO_ALL = 3 };

/* One line for the tenant's log, with what a reader of the log needs to know without parsing it. */
struct entry {
	struct slice channel; /* the RESP channel; empty: the tenant's own (its server name) */
	struct slice line;
	enum command_name name; /* CMD_UNKNOWN also for a known one with wrong arguments */
	enum audience audience;
	uint32_t stream; /* interned numbers, of streams.h; 0: none, or a limit forbade one */
	uint32_t instance;
	int64_t token;   /* RDATA's batch rows carry their batch's number */
	uint64_t not_to; /* a connection that must not hear its own REMOTE_SERVER_UP; 0: none */
};

struct replication_ops {
	/* Append entries to the tenant's log: together, in this order, nothing in between. The
	 * one way in. Returns how many connections will get the last of them. */
	int64_t (*append)(void *context, const struct entry *entries, unsigned count);
	/* A run of a handler, which is a background process with an account, begins and ends.
	 * Both NULL: no accounts. */
	void (*begin)(void *context, const struct command *command);
	void (*end)(void *context, bool failed);
};

/* The connection that a command came from. `id` names it for the batches and instances that it
 * writes; `full_name` is for the log only. */
struct origin {
	enum direction direction;
	uint64_t connection;
	struct slice full_name;
	bool may_write; /* FROM_WORKER: line-writers is `*`, or names instances: see `writers` */
	const struct line_writers *writers; /* NULL: nobody */
};

/* line-writers, as the configuration has it. */
struct line_writers {
	bool any;
	unsigned count;
	const struct slice *instances;
};

struct replication;

/* owner: replication_destroy(NULL) is fine; `limits` and `ops` are kept by pointer and outlive
 *         it. */
struct replication *replication_create(struct slice tenant, const struct replication_limits *limits,
	const struct replication_ops *ops, void *context);
void replication_destroy(struct replication *replication);

/* Act on a command. `channel` is the RESP channel it was published on, empty from a line.
 * FROM_WRITER: whatever it is, it is relayed (now, or with its batch), so this never fails;
 * `*receivers` is what PUBLISH answers.
 * FROM_WORKER: answers for the asker alone (REPLICATE's POSITIONs) are appended to `answer`, as
 * lines with their newlines.
 * errors: -E_NOT_ALLOWED the wrong direction, or an instance that line-writers does not name;
 *         -E_SYNTAX with `*why`; both mean ERROR and close on a line. -E_FULL a limit: logged and
 *         counted, keeps the connection. */
int replication_handle(struct replication *replication, const struct origin *origin,
	struct slice channel, const struct command *command, struct instant now,
	struct bytes *answer, int64_t *receivers, const char **why);

/* A session has handled one of its own commands: for the account by name. */
void replication_count(struct replication *replication, enum command_name name);

/* A connection is gone: half batches that it wrote are torn, instances that spoke through it fall
 * silent. Connection numbers are not used again. */
void replication_disconnected(
	struct replication *replication, uint64_t connection, struct instant now);

/* Deadlines: batches that never ended, user syncs of silent instances. Returns when to be called
 * again (mono_ns), UINT64_MAX: not before something changes. */
uint64_t replication_tick(struct replication *replication, struct instant now);

/* Put what changed since the last call into a batch for the store, in the order in which it must
 * be written; positions coalesce. Returns how many rows. */
unsigned replication_collect(struct replication *replication, struct store_batch *batch);
bool replication_dirty(const struct replication *replication);

/* What the store remembers, before the first command; instances before their users. Positions
 * come back unconfirmed. */
void replication_load_position(
	struct replication *replication, const struct store_position *position);
void replication_load_instance(
	struct replication *replication, const struct store_instance *instance, struct instant now);
void replication_load_user_sync(
	struct replication *replication, const struct store_user_sync *sync);

/* For metrics, INFO and state: each position, by stream in the order of first appearance; each
 * user by instance. */
struct position_facts {
	struct slice stream, instance;
	int64_t token;
	bool confirmed;
	uint64_t rows; /* RDATA seen since the start */
	int64_t heard_ms;
};
struct user_sync_facts; /* user_sync.h */
void replication_positions(const struct replication *replication,
	void (*each)(void *context, const struct position_facts *facts), void *context);
void replication_user_syncs(const struct replication *replication,
	void (*each)(void *context, const struct user_sync_facts *facts), void *context);
struct replication_stats {
	uint64_t commands[CMD_COUNT]; /* handled, by name */
	uint64_t malformed; /* known ones with wrong arguments, relayed (RESP) or refused (line) */
	uint64_t batches, batches_torn, batches_over_limit;
	size_t batch_rows, batch_bytes;               /* pending now */
	unsigned positions, instances, users_syncing; /* now */
	uint64_t user_syncs_expired;
	uint64_t resets;          /* positions that went back */
	uint64_t refused_full;    /* not learnt: a table was at its limit */
	uint64_t unfit_for_lines; /* RDATA that no line can carry: lines got a POSITION instead */
	uint64_t gaps_closed;     /* POSITIONs put before the first row after a restart */
};
const struct replication_stats *replication_stats(const struct replication *replication);

#endif
