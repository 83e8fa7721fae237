/* Times to live.
 *
 * Called through the table, and by SET and GETEX for their options. Everything is kept as the wall
 * clock's milliseconds at which the key is gone. A time that lies in the past deletes the key at
 * once.
 */
#include "engine/redis/expiry.h"

#include "engine/base/err.h"
#include "engine/redis/notify.h"
#include "engine/redis/verbs.h"

enum condition { IF_NONE = 1, IF_SOME = 2, IF_LATER = 4, IF_EARLIER = 8 }; /* NX XX GT LT */

static bool refuse_time(struct call *call)
{
	call_errorf(call, "ERR invalid expire time in '%s' command", call->verb->name);
	return false;
}

/* Seconds or milliseconds, relative or not, as an absolute time. */
static bool absolute_ms(struct call *call, int64_t time, bool seconds, bool absolute, int64_t *out)
{
	if (seconds && __builtin_mul_overflow(time, 1000, &time)) {
		return refuse_time(call);
	}
	if (!absolute && __builtin_add_overflow(time, call->env->now.wall_ms, &time)) {
		return refuse_time(call);
	}
	*out = time;
	return true;
}

bool expiry_argument(struct call *call, unsigned i, bool seconds, bool absolute, int64_t *expiry_ms)
{
	int64_t time = 0;
	if (!call_i64(call, i, &time, NULL)) {
		return false;
	}
	if (time <= 0) {
		return refuse_time(call);
	}
	return absolute_ms(call, time, seconds, absolute, expiry_ms);
}

static bool parse_conditions(struct call *call, unsigned *out)
{
	*out = 0;
	for (unsigned i = 3; i < call->argc; i++) {
		if (call_is(call, i, "nx")) {
			*out |= IF_NONE;
		} else if (call_is(call, i, "xx")) {
			*out |= IF_SOME;
		} else if (call_is(call, i, "gt")) {
			*out |= IF_LATER;
		} else if (call_is(call, i, "lt")) {
			*out |= IF_EARLIER;
		} else {
			call_errorf(call, "ERR Unsupported option %.*s", SLICE_ARG(call->argv[i]));
			return false;
		}
	}
	if ((*out & IF_NONE) != 0 && *out != IF_NONE) {
		call_error(call,
			"ERR NX and XX, GT or LT options at the same time are not compatible");
		return false;
	}
	if ((*out & IF_LATER) != 0 && (*out & IF_EARLIER) != 0) {
		call_error(call, "ERR GT and LT options at the same time are not compatible");
		return false;
	}
	return true;
}

/* A key that never expires expires later than any other. */
static bool condition_holds(unsigned conditions, int64_t current, int64_t wanted)
{
	bool some = current != CACHE_NO_EXPIRY;
	return !((conditions & IF_NONE) != 0 && some) && !((conditions & IF_SOME) != 0 && !some) &&
	       !((conditions & IF_LATER) != 0 && (!some || wanted <= current)) &&
	       !((conditions & IF_EARLIER) != 0 && some && wanted >= current);
}

static void expire(struct call *call, bool seconds, bool absolute)
{
	struct cache *cache = call->env->cache;
	int db = call->client->db;
	int64_t now_ms = call->env->now.wall_ms;
	struct slice key = call->argv[1];
	unsigned conditions = 0;
	int64_t wanted = 0;
	int64_t current = 0;
	if (!parse_conditions(call, &conditions) || !call_i64(call, 2, &wanted, NULL) ||
		!absolute_ms(call, wanted, seconds, absolute, &wanted)) {
		return;
	}
	if (cache_expiry(cache, db, key, now_ms, &current) < 0 ||
		!condition_holds(conditions, current, wanted)) {
		call_integer(call, 0);
		return;
	}
	if (wanted <= now_ms) {
		cache_delete(cache, db, key, now_ms);
		notify(call, NOTIFY_GENERIC, "del", key);
	} else {
		cache_set_expiry(cache, db, key, wanted, now_ms);
		notify(call, NOTIFY_GENERIC, "expire", key);
	}
	call_integer(call, 1);
}

void expiry_expire(struct call *call)
{
	expire(call, true, false);
}

void expiry_pexpire(struct call *call)
{
	expire(call, false, false);
}

void expiry_expireat(struct call *call)
{
	expire(call, true, true);
}

void expiry_pexpireat(struct call *call)
{
	expire(call, false, true);
}

static void tell_expiry(struct call *call, bool seconds, bool absolute)
{
	int64_t now_ms = call->env->now.wall_ms;
	int64_t expiry_ms = 0;
	if (cache_expiry(call->env->cache, call->client->db, call->argv[1], now_ms, &expiry_ms) <
		0) {
		call_integer(call, -2);
		return;
	}
	if (expiry_ms == CACHE_NO_EXPIRY) {
		call_integer(call, -1);
		return;
	}
	int64_t ms = absolute ? expiry_ms : expiry_ms - now_ms;
	call_integer(call, seconds ? ms / 1000 + (ms % 1000 >= 500 ? 1 : 0) : ms);
}

void expiry_ttl(struct call *call)
{
	tell_expiry(call, true, false);
}

void expiry_pttl(struct call *call)
{
	tell_expiry(call, false, false);
}

void expiry_expiretime(struct call *call)
{
	tell_expiry(call, true, true);
}

void expiry_pexpiretime(struct call *call)
{
	tell_expiry(call, false, true);
}

void expiry_persist(struct call *call)
{
	struct cache *cache = call->env->cache;
	int64_t now_ms = call->env->now.wall_ms;
	int64_t expiry_ms = CACHE_NO_EXPIRY;
	if (cache_expiry(cache, call->client->db, call->argv[1], now_ms, &expiry_ms) < 0 ||
		expiry_ms == CACHE_NO_EXPIRY) {
		call_integer(call, 0);
		return;
	}
	cache_set_expiry(cache, call->client->db, call->argv[1], CACHE_NO_EXPIRY, now_ms);
	notify(call, NOTIFY_GENERIC, "persist", call->argv[1]);
	call_integer(call, 1);
}
