/* User syncs: instances, their users, and their silence.
 *
 * Called by handler.c for USER_SYNC and CLEAR_USER_SYNC, when a connection closes, and from its
 * tick. Calls the store's batch when changes are collected. It says nothing to anybody: the
 * CLEAR_USER_SYNC of a silent instance is the handler's.
 *
 *            USER_SYNC … start                    connection closes
 *     (none) ─────────────────▶ CONNECTED ───────────────────────────▶ SILENT (sorted by heard_ns)
 *        ▲                        ▲  │  ◀───────────────────────────────┘ │
 *        │                        └──┘ USER_SYNC over any connection      │
 *        └───────────── the last user's end, CLEAR_USER_SYNC, expiry ─────┘
 *
 * Why the connection and not each command is the sign of life: a process that has nothing to say
 * for five minutes is still there, and everything that it publishes comes over the connection
 * that also brought its USER_SYNC. The clock of silence therefore starts when that connection
 * ends. For a hub that is killed the clock is on disk, at most HEARD_EVERY_NS old while the
 * connection stood.
 *
 * What is taken away must be deleted on disk too, so an entry that is gone stays as a tombstone
 * until it is collected: a user's by itself; an instance's as `wipe`, which stands for all its
 * users. Tombstones count as entries for the limit, so a store that takes nothing cannot make
 * them grow. An instance without users has nothing to expire and is gone.
 *
 * The wall clock is used for what is stored, the monotonic one for silence: setting the machine's
 * clock expires nobody, except across a restart, where the wall clock is all there is. A stored
 * time in the future counts as now.
 */
#include "engine/replication/user_sync.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "engine/base/err.h"

#define HEARD_EVERY_NS                                                                             \
	30000000000 /* how old the stored sign of life of a connected instance may be */

enum instance_state {
	CONNECTED, /* `connection` is open: alive; on its speaker's list */
	SILENT,    /* no connection; on the list of the silent, sorted by heard_ns */
	GONE       /* a tombstone that waits to be collected; no users, on no list of the living */
};

struct user {
	UT_hash_handle hh;
	struct instance *instance;
	int64_t since_ms;
	bool gone; /* a tombstone */
	bool dirty;
	struct user *dirty_prev, *dirty_next;
	size_t user_len, device_len;
	char key[]; /* "<user> <device>"; a user has no blank */
};

struct instance {
	UT_hash_handle hh;
	enum instance_state state;
	struct speaker *speaker; /* CONNECTED */
	int64_t heard_ns;        /* monotonic; before the machine started it is negative */
	int64_t heard_ms;        /* the same on the wall, as far as the store was or will be told */
	struct user *users;
	unsigned living; /* users without tombstones */
	bool wipe;       /* the store must forget all of it before it is told anything new */
	bool dirty;
	struct instance *dirty_prev, *dirty_next;
	struct instance *prev, *next; /* CONNECTED: the speaker's; SILENT: the silent */
	size_t id_len;
	char id[];
};

/* A connection that some instance spoke through. */
struct speaker {
	UT_hash_handle hh;
	uint64_t connection;
	struct instance *instances;
};

struct user_syncs {
	const struct replication_limits *limits;
	struct instance *instances;
	struct speaker *speakers;
	struct instance *silent;
	struct instance *dirty_instances;
	struct user *dirty_users;
	unsigned entries; /* users and their tombstones */
	unsigned living, living_instances;
	uint64_t noted_ns; /* when connected instances were last noted down to be alive */
	uint64_t refused;
};

struct user_syncs *user_syncs_create(const struct replication_limits *limits)
{
	struct user_syncs *s = mem_zalloc(sizeof(*s));
	s->limits = limits;
	return s;
}

static void touch_instance(struct user_syncs *s, struct instance *instance)
{
	if (!instance->dirty) {
		instance->dirty = true;
		DL_APPEND2(s->dirty_instances, instance, dirty_prev, dirty_next);
	}
}

static void touch_user(struct user_syncs *s, struct user *user)
{
	if (!user->dirty) {
		user->dirty = true;
		DL_APPEND2(s->dirty_users, user, dirty_prev, dirty_next);
	}
}

static void free_user(struct user_syncs *s, struct user *user)
{
	if (user->dirty) {
		DL_DELETE2(s->dirty_users, user, dirty_prev, dirty_next);
	}
	if (!user->gone) {
		user->instance->living--;
		s->living--;
	}
	s->entries--;
	HASH_DEL(user->instance->users, user);
	free(user);
}

/* Off the list of its state, whichever that is. */
static void unlink_instance(struct user_syncs *s, struct instance *instance)
{
	if (instance->state == SILENT) {
		DL_DELETE(s->silent, instance);
	} else if (instance->state == CONNECTED) {
		struct speaker *speaker = instance->speaker;
		DL_DELETE(speaker->instances, instance);
		instance->speaker = NULL;
		if (speaker->instances == NULL) {
			HASH_DEL(s->speakers, speaker);
			free(speaker);
		}
	}
}

/* The one setter of an instance's state. `speaker` with CONNECTED only. */
static void move(struct user_syncs *s, struct instance *instance, enum instance_state state,
	struct speaker *speaker)
{
	assert((state == CONNECTED) == (speaker != NULL));
	unlink_instance(s, instance);
	s->living_instances += (unsigned)((state != GONE) - (instance->state != GONE));
	instance->state = state;
	if (state == CONNECTED) {
		instance->speaker = speaker;
		DL_APPEND(speaker->instances, instance);
	} else if (state == SILENT) {
		/* Nearly always the last place; only what is loaded comes in any order. */
		struct instance *after = s->silent == NULL ? NULL : s->silent->prev;
		while (after != NULL && after->heard_ns > instance->heard_ns) {
			after = after == s->silent ? NULL : after->prev;
		}
		if (after == NULL) {
			DL_PREPEND(s->silent, instance);
		} else {
			DL_APPEND_ELEM(s->silent, after, instance);
		}
	}
}

static void free_instance(struct user_syncs *s, struct instance *instance)
{
	struct user *user, *next;
	HASH_ITER (hh, instance->users, user, next) {
		free_user(s, user);
	}
	move(s, instance, GONE, NULL);
	if (instance->dirty) {
		DL_DELETE2(s->dirty_instances, instance, dirty_prev, dirty_next);
	}
	HASH_DEL(s->instances, instance);
	free(instance);
}

void user_syncs_destroy(struct user_syncs *s)
{
	if (s == NULL) {
		return;
	}
	struct instance *instance, *next;
	HASH_ITER (hh, s->instances, instance, next) {
		free_instance(s, instance);
	}
	assert(s->entries == 0 && s->living == 0 && s->living_instances == 0);
	assert(s->speakers == NULL && s->silent == NULL);
	free(s);
}

static struct instance *find_instance(const struct user_syncs *s, struct slice id)
{
	struct instance *instance;
	HASH_FIND(hh, s->instances, id.data, id.len, instance);
	return instance;
}

static struct instance *add_instance(struct user_syncs *s, struct slice id)
{
	struct instance *instance = mem_zalloc(sizeof(*instance) + id.len + 1);
	memcpy(instance->id, id.data, id.len);
	instance->id_len = id.len;
	instance->state = GONE;
	HASH_ADD_KEYPTR(hh, s->instances, instance->id, instance->id_len, instance);
	return instance;
}

/* It has spoken over this connection. */
static void revive(struct user_syncs *s, struct instance *instance, struct speaker *speaker,
	struct instant now)
{
	bool news = instance->state == GONE ||
		    (int64_t)now.mono_ns - instance->heard_ns >= HEARD_EVERY_NS;
	instance->heard_ns = (int64_t)now.mono_ns;
	if (news) {
		instance->heard_ms = now.wall_ms;
		touch_instance(s, instance);
	}
	if (instance->state != CONNECTED || instance->speaker != speaker) {
		move(s, instance, CONNECTED, speaker);
	}
}

static struct speaker *speaker_of(struct user_syncs *s, uint64_t connection)
{
	struct speaker *speaker;
	HASH_FIND(hh, s->speakers, &connection, sizeof(connection), speaker);
	if (speaker == NULL) {
		speaker = mem_zalloc(sizeof(*speaker));
		speaker->connection = connection;
		HASH_ADD(hh, s->speakers, connection, sizeof(connection), speaker);
	}
	return speaker;
}

enum { KEY_MAX = 2 * REPLICATION_NAME_MAX + 1 };

static struct slice user_key(struct slice user, struct slice device, char *buffer)
{
	memcpy(buffer, user.data, user.len);
	buffer[user.len] = ' ';
	if (device.len > 0) {
		memcpy(buffer + user.len + 1, device.data, device.len);
	}
	return (struct slice){buffer, user.len + 1 + device.len};
}

static struct user *find_user(
	const struct instance *instance, struct slice user, struct slice device)
{
	char buffer[KEY_MAX];
	struct slice key = user_key(user, device, buffer);
	struct user *found;
	HASH_FIND(hh, instance->users, key.data, key.len, found);
	return found;
}

static struct user *add_user(
	struct user_syncs *s, struct instance *instance, struct slice user, struct slice device)
{
	char buffer[KEY_MAX];
	struct slice key = user_key(user, device, buffer);
	struct user *added = mem_zalloc(sizeof(*added) + key.len);
	memcpy(added->key, key.data, key.len);
	added->user_len = user.len;
	added->device_len = device.len;
	added->instance = instance;
	added->gone = true;
	HASH_ADD_KEYPTR(hh, instance->users, added->key, key.len, added);
	s->entries++;
	return added;
}

static void set_living(struct user_syncs *s, struct user *user, bool living)
{
	if (user->gone == living) {
		user->gone = !living;
		s->living += living ? 1 : -1u;
		user->instance->living += living ? 1 : -1u;
	}
}

/* Forget an instance: its users at once, itself when the store has been told. */
static void bury(struct user_syncs *s, struct instance *instance)
{
	struct user *user, *next;
	HASH_ITER (hh, instance->users, user, next) {
		free_user(s, user);
	}
	instance->wipe = true;
	move(s, instance, GONE, NULL);
	touch_instance(s, instance);
}

static bool fits(struct slice id, struct slice user, struct slice device)
{
	return id.len <= REPLICATION_NAME_MAX && user.len <= REPLICATION_NAME_MAX &&
	       device.len <= REPLICATION_NAME_MAX;
}

static int start(
	struct user_syncs *s, const struct command *c, uint64_t connection, struct instant now)
{
	struct instance *instance = find_instance(s, c->instance_id);
	struct user *user = instance == NULL ? NULL : find_user(instance, c->user, c->device);
	bool room = s->entries < s->limits->user_syncs_max &&
		    (instance != NULL || HASH_COUNT(s->instances) < s->limits->user_syncs_max);
	if (user == NULL && (!room || !fits(c->instance_id, c->user, c->device))) {
		s->refused++;
		return -E_FULL;
	}
	instance = instance != NULL ? instance : add_instance(s, c->instance_id);
	user = user != NULL ? user : add_user(s, instance, c->user, c->device);
	revive(s, instance, speaker_of(s, connection), now);
	set_living(s, user, true);
	user->since_ms = c->ms;
	touch_user(s, user);
	return OK;
}

static int stop(
	struct user_syncs *s, const struct command *c, uint64_t connection, struct instant now)
{
	struct instance *instance = find_instance(s, c->instance_id);
	if (instance == NULL || instance->state == GONE) {
		return OK;
	}
	revive(s, instance, speaker_of(s, connection), now);
	bool fit = fits(c->instance_id, c->user, c->device);
	struct user *user = fit ? find_user(instance, c->user, c->device) : NULL;
	if (user != NULL && !user->gone) {
		set_living(s, user, false);
		touch_user(s, user);
	}
	if (instance->living == 0) {
		bury(s, instance);
	}
	return OK;
}

int user_syncs_set(struct user_syncs *s, const struct command *command, uint64_t connection,
	struct instant now)
{
	return command->syncing ? start(s, command, connection, now)
				: stop(s, command, connection, now);
}

unsigned user_syncs_clear(struct user_syncs *s, struct slice instance_id)
{
	struct instance *instance = find_instance(s, instance_id);
	if (instance == NULL || instance->state == GONE) {
		return 0;
	}
	unsigned users = instance->living;
	bury(s, instance);
	return users;
}

unsigned user_syncs_closed(struct user_syncs *s, uint64_t connection, struct instant now)
{
	struct speaker *speaker;
	HASH_FIND(hh, s->speakers, &connection, sizeof(connection), speaker);
	unsigned fallen = 0;
	struct instance *instance = speaker == NULL ? NULL : speaker->instances;
	while (instance != NULL) {
		struct instance *next = instance->next; /* the last move frees the speaker */
		instance->heard_ns = (int64_t)now.mono_ns;
		instance->heard_ms = now.wall_ms;
		move(s, instance, SILENT, NULL);
		touch_instance(s, instance);
		fallen++;
		instance = next;
	}
	return fallen;
}

static uint64_t expiry_of(const struct user_syncs *s, const struct instance *instance)
{
	int64_t due = instance->heard_ns + (int64_t)s->limits->user_sync_expiry_ns;
	return due > 0 ? (uint64_t)due : 0;
}

bool user_syncs_expired(const struct user_syncs *s, struct instant now, struct slice *instance_id)
{
	const struct instance *first = s->silent;
	if (first == NULL || expiry_of(s, first) > now.mono_ns) {
		return false;
	}
	*instance_id = (struct slice){first->id, first->id_len};
	return true;
}

static void note_the_connected(struct user_syncs *s, struct instant now)
{
	s->noted_ns = now.mono_ns;
	for (struct speaker *speaker = s->speakers; speaker != NULL; speaker = speaker->hh.next) {
		for (struct instance *i = speaker->instances; i != NULL; i = i->next) {
			i->heard_ns = (int64_t)now.mono_ns;
			i->heard_ms = now.wall_ms;
			touch_instance(s, i);
		}
	}
}

uint64_t user_syncs_tick(struct user_syncs *s, struct instant now)
{
	uint64_t due = UINT64_MAX;
	if (s->speakers != NULL) {
		if (now.mono_ns >= s->noted_ns + HEARD_EVERY_NS) {
			note_the_connected(s, now);
		}
		due = s->noted_ns + HEARD_EVERY_NS;
	}
	if (s->silent != NULL && expiry_of(s, s->silent) < due) {
		due = expiry_of(s, s->silent);
	}
	return due;
}

void user_syncs_load_instance(
	struct user_syncs *s, const struct store_instance *stored, struct instant now)
{
	if (stored->instance_id.len == 0 || stored->instance_id.len > REPLICATION_NAME_MAX ||
		find_instance(s, stored->instance_id) != NULL ||
		HASH_COUNT(s->instances) >= s->limits->user_syncs_max) {
		s->refused++;
		return;
	}
	struct instance *instance = add_instance(s, stored->instance_id);
	/* Silence beyond a year is no different from a year's, and safe to count in nanoseconds. */
	const int64_t year_ms = (int64_t)366 * 86400 * 1000;
	int64_t silent_ms = 0;
	if (stored->heard_ms < now.wall_ms) {
		bool long_ago = stored->heard_ms < now.wall_ms - year_ms;
		silent_ms = long_ago ? year_ms : now.wall_ms - stored->heard_ms;
	}
	instance->heard_ms = stored->heard_ms;
	instance->heard_ns = (int64_t)now.mono_ns - silent_ms * 1000000;
	move(s, instance, SILENT, NULL);
}

void user_syncs_load_user(struct user_syncs *s, const struct store_user_sync *stored)
{
	struct instance *instance = find_instance(s, stored->instance_id);
	if (instance == NULL || stored->user.len == 0 ||
		!fits(stored->instance_id, stored->user, stored->device) ||
		s->entries >= s->limits->user_syncs_max ||
		find_user(instance, stored->user, stored->device) != NULL) {
		s->refused++;
		return;
	}
	struct user *user = add_user(s, instance, stored->user, stored->device);
	user->since_ms = stored->since_ms;
	set_living(s, user, true);
}

bool user_syncs_dirty(const struct user_syncs *s)
{
	return s->dirty_instances != NULL || s->dirty_users != NULL;
}

static struct slice id_of(const struct instance *instance)
{
	return (struct slice){instance->id, instance->id_len};
}

static struct slice user_of(const struct user *user)
{
	return (struct slice){user->key, user->user_len};
}

static struct slice device_of(const struct user *user)
{
	return (struct slice){user->key + user->user_len + 1, user->device_len};
}

static unsigned collect_instance(struct user_syncs *s, struct instance *instance,
	struct slice tenant, struct store_batch *out)
{
	unsigned rows = 0;
	DL_DELETE2(s->dirty_instances, instance, dirty_prev, dirty_next);
	instance->dirty = false;
	if (instance->wipe) {
		store_delete_instance(out, tenant, id_of(instance));
		instance->wipe = false;
		rows++;
	}
	if (instance->state == GONE) {
		free_instance(s, instance);
		return rows;
	}
	store_put_instance(out, &(struct store_instance){
					.tenant = tenant,
					.instance_id = id_of(instance),
					.heard_ms = instance->heard_ms,
				});
	return rows + 1;
}

static void collect_user(
	struct user_syncs *s, struct user *user, struct slice tenant, struct store_batch *out)
{
	DL_DELETE2(s->dirty_users, user, dirty_prev, dirty_next);
	user->dirty = false;
	struct store_user_sync row = {
		.tenant = tenant,
		.instance_id = id_of(user->instance),
		.user = user_of(user),
		.device = device_of(user),
		.since_ms = user->since_ms,
	};
	if (user->gone) {
		store_delete_user_sync(out, &row);
		free_user(s, user);
	} else {
		store_put_user_sync(out, &row);
	}
}

unsigned user_syncs_collect(struct user_syncs *s, struct slice tenant, struct store_batch *out)
{
	unsigned rows = 0;
	/* Instances first: a wipe must not take what is put after it. */
	while (s->dirty_instances != NULL) {
		rows += collect_instance(s, s->dirty_instances, tenant, out);
	}
	while (s->dirty_users != NULL) {
		collect_user(s, s->dirty_users, tenant, out);
		rows++;
	}
	return rows;
}

void user_syncs_each(const struct user_syncs *s,
	void (*each)(void *context, const struct user_sync_facts *facts), void *context)
{
	for (struct instance *i = s->instances; i != NULL; i = i->hh.next) {
		for (struct user *u = i->users; u != NULL; u = u->hh.next) {
			if (!u->gone) {
				each(context, &(struct user_sync_facts){
						      .instance_id = id_of(i),
						      .user = user_of(u),
						      .device = device_of(u),
						      .since_ms = u->since_ms,
						      .connected = i->state == CONNECTED,
						      .heard_ms = i->heard_ms,
					      });
			}
		}
	}
}

unsigned user_syncs_instances(const struct user_syncs *s)
{
	return s->living_instances;
}

unsigned user_syncs_users(const struct user_syncs *s)
{
	return s->living;
}

uint64_t user_syncs_refused(const struct user_syncs *s)
{
	return s->refused;
}
