/* What handler.c and rows.c share, and nobody else includes: what is known of a homeserver, and
 * one command on its way.
 */
#ifndef MILLRACE_REPLICATION_TURN_H
#define MILLRACE_REPLICATION_TURN_H

#include "engine/replication/batch.h"
#include "engine/replication/handler.h"
#include "engine/replication/streams.h"
#include "engine/replication/user_sync.h"

struct replication {
	struct slice tenant;          /* owned */
	struct slice user_ip_channel; /* owned */
	const struct replication_ops *ops;
	void *context;
	struct streams *streams;
	struct batches *batches;
	struct user_syncs *user_syncs;
	bool one_number; /* the dialect: POSITION has one number (before 1.22) */
	bool ask_owed;   /* a REPLICATE to the writers waits for its second to pass */
	bool asked;
	uint64_t asked_ns;
	int64_t last_receivers; /* what PUBLISH of a row that waits is answered with */
	struct bytes line;      /* a line of our own, while it is appended */
	struct entry *entries;  /* while a batch is appended */
	unsigned entries_cap;
	struct replication_stats stats;
};

/* One command on its way through. */
struct turn {
	struct replication *r;
	const struct origin *origin;
	const struct command *command;
	struct slice channel;
	struct instant now;
	struct bytes *answer;
	int64_t receivers;
	const char *why;
};

/* Into the tenant's log, together; the count is kept for PUBLISH's answer. */
void turn_append(struct turn *turn, const struct entry *entries, unsigned count);

/* The command as it stands, on the channel it came on. */
void turn_relay(struct turn *turn, enum command_name name, enum audience audience, uint64_t not_to);

/* Known by its word, but not to be read after all: relayed to RESP, counted, not learnt from. */
int turn_relay_malformed(struct turn *turn);

/* A limit kept us from learning. Returns what the handler returns for it. */
int turn_refused(struct turn *turn, uint64_t count, const char *what);

/* RDATA. rows.c */
int rows_handle(struct turn *turn);

/* `POSITION s i token token`, or with one number. rows.c */
void rows_print_position(const struct replication *replication, const struct position *position,
	int64_t token, struct bytes *out);

#endif
