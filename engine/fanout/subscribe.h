/* Channels and who hears them: one `struct fanout` a tenant and shard.
 *
 * The tenant's owner keeps its channels, by name, and its logs, one for each encoding that has a reader. A shard that is not the
 * owner, and has a connection that listens, keeps a mirror: the channels that its own connections hear, with the owner's numbers,
 * and its views of the owner's logs. What a mirror needs it asks the owner for through `struct fanout_link`.
 *
 * A connection's subscriptions are kept in both directions, here as a count by channel and at the connection as its cursor's
 * filter, and change in two functions only: fanout_subscribe and fanout_unsubscribe.
 */
#ifndef MILLRACE_FANOUT_SUBSCRIBE_H
#define MILLRACE_FANOUT_SUBSCRIBE_H

#include "engine/fanout/message.h"
#include "engine/fanout/outbox.h"

struct channel;

struct fanout;

/* What goes to other shards; NULL where there are none. */
struct fanout_link {
	/* Owner: that view's log has a new tail. */
	void (*hint)(struct fanout *fanout, struct log_view *view);
	/* Mirror: a connection began (+1) or ceased (-1) to hear a channel. */
	void (*count)(struct fanout *fanout, enum encoding encoding, enum channel_kind kind,
		struct slice name, int change);
	/* Mirror: nobody here hears the channel any more. */
	void (*release)(struct fanout *fanout, enum channel_kind kind, struct slice name);
	/* Mirror: no cursor of ours stands in the view any more. */
	void (*detach)(struct fanout *fanout, struct log_view *view);
	/* Mirror: segments below our low-water mark may be freed. */
	void (*settled)(struct fanout *fanout, struct log_view *view);
};

struct fanout {
	struct log_pool *pool;
	const struct fanout_link *link;
	unsigned shard; /* the one that this is kept by */
	bool mirror;
	struct log *logs[ENC_COUNT];       /* the owner's */
	struct log_view *views[ENC_COUNT]; /* this shard's */
	struct channel *channels;          /* a table by kind and name */
	struct channel *channels_by_number;
	unsigned channels_count;
	uint64_t log_end[ENC_COUNT]; /* where the last log of that encoding ended */
	uint32_t next_channel;
	unsigned borrowing;     /* mirror: channels asked for, not yet lent */
	bool unheard;           /* mirror: a channel was lent, and perhaps nobody came to hear it */
	unsigned subscriptions; /* over all channels */
	void (*ready)(struct outbox *outbox);
};

void fanout_init(struct fanout *fanout, struct log_pool *pool, unsigned shard, bool mirror,
	const struct fanout_link *link, void (*ready)(struct outbox *outbox));
void fanout_finish(struct fanout *fanout); /* nobody may be subscribed any more */

/* Subscribe a connection to a channel, from the log's end on; false: it is already. In a mirror the channel must be known. */
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

/* Free segments that everybody has had, logs without a reader, views without a cursor. Returns the bytes freed. */
size_t fanout_collect(struct fanout *fanout);

/* Between the owner and a mirror. The owner's side: keep the channel for that shard and give it its views; count the mirror's
 * connections; let the channel, or a view, go. */
uint32_t fanout_lend(struct fanout *fanout, unsigned shard, enum channel_kind kind,
	struct slice name, struct log_view *views[ENC_LINE]);
void fanout_count(struct fanout *fanout, enum encoding encoding, enum channel_kind kind,
	struct slice name, int change);
void fanout_return(struct fanout *fanout, enum channel_kind kind, struct slice name);
/* The mirror's side: whether it has the channel; take what the owner lent (number 0: it would not). */
bool fanout_knows(const struct fanout *fanout, enum channel_kind kind, struct slice name);
void fanout_borrow(struct fanout *fanout, enum channel_kind kind, struct slice name,
	uint32_t number, struct log_view *const views[ENC_LINE]);
/* Nothing has happened for a while: large segments are given back. */
void fanout_rest(struct fanout *fanout);
/* Nothing of it is in use, by this shard or another. */
bool fanout_unused(const struct fanout *fanout);
uint64_t fanout_backlog(const struct fanout *fanout);

#endif
