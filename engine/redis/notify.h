/* Keyspace notifications: what happens to keys, published to whoever subscribed to it.
 */
#ifndef MILLRACE_REDIS_NOTIFY_H
#define MILLRACE_REDIS_NOTIFY_H

#include "engine/redis/call.h"

/* What kind of event it is; a letter of notify-keyspace-events each. */
enum notify_class {
	NOTIFY_GENERIC = 1 << 0, /* g */
	NOTIFY_STRING = 1 << 1,  /* $ */
	NOTIFY_EXPIRED = 1 << 2, /* x */
	NOTIFY_EVICTED = 1 << 3, /* e */
	NOTIFY_MISS = 1 << 4,    /* m: a read that found nothing */
	NOTIFY_NEW = 1 << 5,     /* n: a key that was not there before */
	NOTIFY_OTHER = 1 << 6,   /* l s h z t d: what we have none of */
	NOTIFY_KEYSPACE = 1 << 13,
	NOTIFY_KEYEVENT = 1 << 14
};

/* Tell of an event of a key of the client's database, if anybody may want to know. */
void notify(struct call *call, enum notify_class class, const char *event, struct slice key);
void notify_db(
	struct call *call, enum notify_class class, const char *event, int db, struct slice key);
bool notify_wants(const struct call *call, enum notify_class class);

/* While the cache is used: have expired and evicted keys told of. `env` must live until
 * notify_end(). */
void notify_begin(const struct redis_env *env);
void notify_end(const struct redis_env *env);

#endif
