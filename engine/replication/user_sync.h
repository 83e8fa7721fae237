/* Who syncs where: users and devices by the process (instance id) that said so.
 *
 *     instance id ─▶ its connection, its last sign of life ─▶ (user, device) since when
 *
 * An instance is alive while the connection is there over which it last spoke. Once that is gone
 * its silence is measured, and after `user_sync_expiry_ns` of it the instance is to be cleared.
 * Both survive a restart of the hub: what is loaded has no connection, and its silence counts
 * from when it was last stored to be alive. Owned by struct replication; one thread.
 */
#ifndef MILLRACE_REPLICATION_USER_SYNC_H
#define MILLRACE_REPLICATION_USER_SYNC_H

#include "engine/replication/streams.h"

struct user_syncs;
struct user_syncs *user_syncs_create(const struct replication_limits *limits);
void user_syncs_destroy(struct user_syncs *syncs); /* NULL is fine */

/* USER_SYNC: a user started or stopped, as the process `instance_id` says over `connection`.
 * errors: -E_FULL a limit, or a name that is too long: not remembered. */
int user_syncs_set(struct user_syncs *syncs, const struct command *command, uint64_t connection,
	struct instant now);

/* CLEAR_USER_SYNC. Returns how many users it was for; an unknown instance is fine. */
unsigned user_syncs_clear(struct user_syncs *syncs, struct slice instance_id);

/* A connection is gone: instances that last spoke over it fall silent now. Returns how many. */
unsigned user_syncs_closed(struct user_syncs *syncs, uint64_t connection, struct instant now);

/* The instance that has been silent for too long, if any; the caller says CLEAR_USER_SYNC for it,
 * and calls user_syncs_clear(). */
bool user_syncs_expired(
	const struct user_syncs *syncs, struct instant now, struct slice *instance_id);

/* Note down, every half minute, that connected instances are alive. Returns when something is due
 * (this, or an expiry), UINT64_MAX: nothing. */
uint64_t user_syncs_tick(struct user_syncs *syncs, struct instant now);

void user_syncs_load_instance(
	struct user_syncs *syncs, const struct store_instance *stored, struct instant now);
/* After its instance; one without is ignored. */
void user_syncs_load_user(struct user_syncs *syncs, const struct store_user_sync *stored);

/* What has changed since the last call, in the order in which it must be written; returns how
 * many rows. */
bool user_syncs_dirty(const struct user_syncs *syncs);
unsigned user_syncs_collect(struct user_syncs *syncs, struct slice tenant, struct store_batch *out);

/* Visit every user by instance, in the order of their appearance. */
struct user_sync_facts {
	struct slice instance_id, user, device;
	int64_t since_ms;
	bool connected; /* the instance's connection is there */
	int64_t heard_ms;
};
void user_syncs_each(const struct user_syncs *syncs,
	void (*each)(void *context, const struct user_sync_facts *facts), void *context);

unsigned user_syncs_instances(const struct user_syncs *syncs);
unsigned user_syncs_users(const struct user_syncs *syncs);
uint64_t user_syncs_refused(const struct user_syncs *syncs);

#endif
