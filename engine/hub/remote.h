/* What shards ask of each other: publishing to another's tenant, listening to it, moving a connection there.
 *
 * Nothing here is used with one shard. Notes go through mesh.c; each has one function that writes it and one that reads it.
 */
#ifndef MILLRACE_HUB_REMOTE_H
#define MILLRACE_HUB_REMOTE_H

#include "engine/hub/conn.h"
#include "engine/hub/tenant.h"

/* The notes that have come. To be given to mesh_take(). */
void remote_handle(struct shard *shard, unsigned from, uint32_t kind, struct slice note);

/* Publish on another shard's tenant. The reply comes later, at its place among the connection's replies. */
void remote_publish(struct conn *conn, unsigned owner, bool sharded, struct slice channel,
	struct slice payload);

/* Ask the owner for a channel; the connection waits (conn->waiting) until it is there. */
void remote_borrow(
	struct conn *conn, struct tenant *mirror, enum channel_kind kind, struct slice name);

/* A connection that published elsewhere is gone. */
void remote_disconnected(struct shard *shard, uint64_t owners, uint64_t connection);

/* Copies for those of other shards who subscribed by a glob. */
void remote_patterns(struct shard *shard, struct slice channel, struct slice payload);

/* Hand a connection over; it is not this shard's any more. */
void remote_move(struct shard *shard, unsigned to, struct conn *conn, int fd);
void remote_kill(struct shard *shard, unsigned to, uint64_t connection);

/* With appendfsync always: replies to other shards' publishers that waited for the disk. */
void remote_durable(struct shard *shard);

/* How a mirror and its owner talk: for fanout_init(). */
const struct fanout_link *remote_link(void);

#endif
