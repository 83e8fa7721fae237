/* Subscriptions by glob: PSUBSCRIBE.
 *
 * A glob crosses tenants, so it has no place in one tenant's log: who subscribed by one gets a copy of each message among
 * its reply bytes, at its place in the order. That is dearer than a cursor, and meant for people and tools;
 * the bytes count against the connection's limit. One table a shard.
 */
#ifndef MILLRACE_FANOUT_PATTERN_H
#define MILLRACE_FANOUT_PATTERN_H

#include "engine/fanout/message.h"
#include "engine/fanout/outbox.h"

struct pattern;

struct patterns {
	struct pattern *globs; /* a table */
	unsigned count;        /* different globs */
	struct bytes scratch;
	void (*ready)(struct outbox *outbox);
};

void patterns_init(struct patterns *patterns, void (*ready)(struct outbox *outbox));
void patterns_finish(struct patterns *patterns); /* nobody may be subscribed any more */

/* False: it is (is not) subscribed already. */
bool patterns_subscribe(struct patterns *patterns, struct outbox *outbox, enum encoding encoding,
	struct slice glob);
bool patterns_unsubscribe(struct patterns *patterns, struct outbox *outbox, struct slice glob);
void patterns_leave(struct patterns *patterns, struct outbox *outbox);

/* The globs of a connection; `each` must not change them. */
void patterns_each(
	const struct outbox *outbox, void (*each)(void *context, struct slice glob), void *context);

/* Copy a message to everybody whose globs match its channel, once for each glob. Returns how many copies. */
unsigned patterns_publish(struct patterns *patterns, struct slice channel, struct slice payload);

#endif
