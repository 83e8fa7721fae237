/* A tenant: one homeserver, with its channels, its log, and what is known of its streams and users.
 *
 * A channel belongs to the tenant that the part of its name before the first `/` names. Tenants come with the first
 * subscription or the first replication command, and go when they have neither subscribers nor knowledge. Belongs to
 * its owner shard. Publishing is one function, tenant_publish(), for every transport.
 */
#ifndef MILLRACE_HUB_TENANT_H
#define MILLRACE_HUB_TENANT_H

#include "engine/fanout/subscribe.h"
#include "engine/hub/shard.h"

#include "engine/base/table.h"

enum { TENANTS_MAX = 1000, TENANT_NAME_MAX = 255, CHANNELS_MAX = 1000000 };

/* A part of the log that becomes public when a batch is durable. */
struct announcement {
	struct fanout_ends ends;
	uint64_t number;
};

struct tenant {
	UT_hash_handle hh;
	struct shard *shard;
	unsigned owner; /* the shard that it belongs to; elsewhere this is a mirror */
	struct fanout fanout;
	struct replication *replication; /* NULL until there is something to know */
	struct wheel_timer timer;        /* replication_tick() */
	uint64_t due_ns;
	struct tenant *next_touched;
	bool touched;
	struct announcement *announcements; /* a ring, only with appendfsync always */
	unsigned announcements_first, announcements_count, announcements_cap;
	unsigned name_len;
	char name[];
};

/* The tenant of a channel; NULL: not there. */
struct tenant *tenant_find(struct shard *shard, struct slice channel);
/* The same, made if need be. errors: NULL above a limit (counted), or for a name that is too long. */
struct tenant *tenant_need(struct shard *shard, struct slice channel);
/* Its knowledge, made if need be; NULL above TENANTS_MAX. */
struct replication *tenant_replication(struct tenant *tenant);
struct slice tenant_name(const struct tenant *tenant);
struct tenant *tenant_of_fanout(struct fanout *fanout);

/* The tenant's log or knowledge has changed: it is looked at before this turn ends. */
void tenant_touch(struct tenant *tenant);

/* The shard that a channel's tenant belongs to. */
unsigned tenant_owner(const struct shard *shard, struct slice channel);

/* Publish, on the owner's shard, a message that came over RESP; `*receivers` includes those by a glob on this shard.
 * errors: of the store, with appendfsync always: nothing was published. */
int tenant_publish(struct shard *shard, const struct origin *origin, bool sharded,
	struct slice channel, struct slice payload, int64_t *receivers);

/* Let its readers see what was appended: at once, or once `number` is durable. */
void tenant_announce(struct tenant *tenant, uint64_t number);
/* What became durable meanwhile. True: something is still waiting. */
bool tenant_announce_durable(struct tenant *tenant, uint64_t durable);
/* Make the log's end visible now, where nothing has to wait for the disk: before a splice. */
void tenant_settle(struct tenant *tenant);

/* A connection is gone: every tenant that it may have spoken for hears of it. */
void tenants_disconnected(struct shard *shard, uint64_t connection);

/* Free what nobody needs; the tenant itself may be gone afterwards. */
void tenant_collect(struct tenant *tenant);
void tenants_destroy(struct shard *shard);

#endif
