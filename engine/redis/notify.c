/* Keyspace notifications.
 *
 * Called by the verbs on keys after they changed something, and by the cache (through an observer)
 * when keys vanish by themselves. An event is two messages, each if it was asked for:
 *
 *     __keyspace@<db>__:<key>     with the event as payload      (K)
 *     __keyevent@<db>__:<event>   with the key as payload        (E)
 *
 * They go the way of every PUBLISH. Off unless notify-keyspace-events says otherwise; then it costs
 * one comparison a verb. The letters of types that do not exist here are accepted and never happen.
 */
#include "engine/redis/notify.h"

#include <string.h>

#include "engine/base/err.h"
#include "engine/redis/verbs.h"

enum {
	NOTIFY_ALL = NOTIFY_GENERIC | NOTIFY_STRING | NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_OTHER
};

/* The types without events keep a bit each behind the others, so that CONFIG GET says what CONFIG
 * SET was told. */
static const struct {
	char letter;
	unsigned bits;
} letters_table[] = {
	{'g', NOTIFY_GENERIC},
	{'$', NOTIFY_STRING},
	{'l', 1 << 7},
	{'s', 1 << 8},
	{'h', 1 << 9},
	{'z', 1 << 10},
	{'x', NOTIFY_EXPIRED},
	{'e', NOTIFY_EVICTED},
	{'t', 1 << 11},
	{'d', 1 << 12},
	{'n', NOTIFY_NEW},
	{'K', NOTIFY_KEYSPACE},
	{'E', NOTIFY_KEYEVENT},
	{'m', NOTIFY_MISS},
};
enum { LETTERS = sizeof(letters_table) / sizeof(letters_table[0]), OTHER_BITS = 0x1f80 };

int redis_set_notify(struct redis_verbs *verbs, struct slice letters)
{
	unsigned bits = 0;
	for (size_t i = 0; i < letters.len; i++) {
		unsigned one = letters.data[i] == 'A' ? NOTIFY_ALL | OTHER_BITS : 0;
		for (unsigned l = 0; l < LETTERS; l++) {
			one |= letters_table[l].letter == letters.data[i] ? letters_table[l].bits
									  : 0;
		}
		if (one == 0) {
			return -E_SYNTAX;
		}
		bits |= one;
	}
	*verbs_notify(verbs) = bits;
	return OK;
}

const char *redis_notify(const struct redis_verbs *verbs, char *out)
{
	unsigned bits = *verbs_notify((struct redis_verbs *)verbs);
	unsigned all = (NOTIFY_ALL | OTHER_BITS) & ~(unsigned)NOTIFY_OTHER;
	size_t len = 0;
	bool is_all = (bits & all) == all;
	if (is_all) {
		out[len++] = 'A';
	}
	for (unsigned l = 0; l < LETTERS; l++) {
		if ((bits & letters_table[l].bits) != 0 &&
			!(is_all && (letters_table[l].bits & all) != 0)) {
			out[len++] = letters_table[l].letter;
		}
	}
	out[len] = '\0';
	return out;
}

bool notify_wants(const struct call *call, enum notify_class class)
{
	return (*verbs_notify(call->env->verbs) & class) != 0;
}

static void send(const struct redis_env *env, const char *kind, int db, struct slice name,
	struct slice payload)
{
	struct bytes channel = {0};
	bytes_printf(&channel, "__%s@%d__:", kind, db);
	bytes_append_slice(&channel, name);
	env->ops->announce(env->hub, bytes_slice(&channel), payload);
	bytes_finish(&channel);
}

static void tell(
	const struct redis_env *env, unsigned class, const char *event, int db, struct slice key)
{
	unsigned bits = *verbs_notify(env->verbs);
	if ((bits & class) == 0 || env->ops->announce == NULL) {
		return;
	}
	if ((bits & NOTIFY_KEYSPACE) != 0) {
		send(env, "keyspace", db, key, slice_of(event));
	}
	if ((bits & NOTIFY_KEYEVENT) != 0) {
		send(env, "keyevent", db, slice_of(event), key);
	}
}

void notify(struct call *call, enum notify_class class, const char *event, struct slice key)
{
	tell(call->env, class, event, call->client->db, key);
}

void notify_db(
	struct call *call, enum notify_class class, const char *event, int db, struct slice key)
{
	tell(call->env, class, event, db, key);
}

static void removed(void *context, enum cache_removal why, int db, struct slice key)
{
	const struct redis_env *env = context;
	if (why == CACHE_EXPIRED) {
		tell(env, NOTIFY_EXPIRED, "expired", db, key);
	} else {
		tell(env, NOTIFY_EVICTED, "evicted", db, key);
	}
}

void notify_begin(const struct redis_env *env)
{
	cache_observe(env->cache, removed, (void *)env);
}

void notify_end(const struct redis_env *env)
{
	cache_observe(env->cache, NULL, NULL);
}
