/* Channels and who hears them: one `struct fanout` a tenant.
 *
 * Keeps the tenant's channels, by name, and its logs, one for each encoding that has a reader. A connection's
 * subscriptions are kept in both directions, here as a count by channel and at the connection as its cursor's filter, and
 * change in two functions only: fanout_subscribe and fanout_unsubscribe. Belongs to the tenant's owner shard.
 */
#ifndef MILLRACE_FANOUT_SUBSCRIBE_H
#define MILLRACE_FANOUT_SUBSCRIBE_H

#include "engine/fanout/message.h"
#include "engine/fanout/outbox.h"

struct channel;

struct fanout {
	struct log_pool *pool;
	struct log *logs[ENC_COUNT];
	struct channel *channels; /* a table by kind and name */
	struct channel *channels_by_number;
	unsigned channels_count;
	uint64_t log_end[ENC_COUNT]; /* where the last log of that encoding ended */
	uint32_t next_channel;
	unsigned subscriptions; /* over all channels */
	void (*ready)(struct outbox *outbox);
};

void fanout_init(
	struct fanout *fanout, struct log_pool *pool, void (*ready)(struct outbox *outbox));
void fanout_finish(struct fanout *fanout); /* nobody may be subscribed any more */

/* Subscribe a connection to a channel, from the log's end on; false: it is already. */
bool fanout_subscribe(struct fanout *fanout, struct outbox *outbox, enum encoding encoding,
	enum channel_kind kind, struct slice name);
/* False: it was not. */
bool fanout_unsubscribe(struct fanout *fanout, struct outbox *outbox, enum encoding encoding,
	enum channel_kind kind, struct slice name);

/* Every channel of a kind that the cursor hears; `each` may unsubscribe. */
void fanout_subscriptions(const struct cursor *cursor, enum channel_kind kind,
	void (*each)(void *context, struct slice name), void *context);

/* The outbox hears nothing any more, of any tenant; what it is behind is still owed. */
void fanout_leave(struct outbox *outbox);

/* How many connections hear a channel. */
unsigned fanout_subscribers(const struct fanout *fanout, enum channel_kind kind, struct slice name);
/* Every channel that somebody hears. */
void fanout_channels(const struct fanout *fanout, enum channel_kind kind,
	void (*each)(void *context, struct slice name), void *context);

/* Append one message to the logs of those who hear the channel. `mark` says what it is; its channel is filled in
 * here. For CHANNEL_LINE the name is empty. Returns how many connections will get it. */
unsigned fanout_append(struct fanout *fanout, enum channel_kind kind, struct slice name,
	struct slice payload, struct log_mark mark);

/* Publish what was appended and wake the readers of this shard. */
void fanout_publish(struct fanout *fanout);
bool fanout_unpublished(const struct fanout *fanout);
/* The ends of what is appended, and publishing only so far (appendfsync always). */
struct fanout_ends {
	uint64_t end[ENC_COUNT];
};
struct fanout_ends fanout_ends(const struct fanout *fanout);
void fanout_publish_upto(struct fanout *fanout, const struct fanout_ends *ends);

/* Free segments that everybody has had, and logs without a reader. Returns the bytes freed. */
size_t fanout_collect(struct fanout *fanout, unsigned shard);
bool fanout_has_logs(const struct fanout *fanout);
uint64_t fanout_backlog(const struct fanout *fanout);

#endif
