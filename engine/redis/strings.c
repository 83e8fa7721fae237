/* Values as a whole, and parts of them.
 *
 * Called through the table; calls the cache. What is read lives in the cache until it is changed,
 * so a verb that writes what it has read copies first.
 */
#include "engine/redis/strings.h"

#include <string.h>

#include "engine/base/err.h"
#include "engine/redis/expiry.h"
#include "engine/redis/notify.h"
#include "engine/redis/verbs.h"

/* The options of SET and GETEX. */
enum option {
	OPT_NX = 1 << 0,
	OPT_XX = 1 << 1,
	OPT_GET = 1 << 2,
	OPT_KEEPTTL = 1 << 3,
	OPT_PERSIST = 1 << 4,
	OPT_EX = 1 << 5,
	OPT_PX = 1 << 6,
	OPT_EXAT = 1 << 7,
	OPT_PXAT = 1 << 8,
	OPT_TIMES = OPT_EX | OPT_PX | OPT_EXAT | OPT_PXAT,
	OPT_EXPIRY = OPT_KEEPTTL | OPT_PERSIST | OPT_TIMES,
	OPT_OF_SET = OPT_NX | OPT_XX | OPT_GET | OPT_KEEPTTL | OPT_TIMES,
	OPT_OF_GETEX = OPT_PERSIST | OPT_TIMES
};

static const struct {
	const char *word;
	unsigned option, excludes;
} options_table[] = {
	{"nx", OPT_NX, OPT_XX},
	{"xx", OPT_XX, OPT_NX},
	{"get", OPT_GET, 0},
	{"keepttl", OPT_KEEPTTL, OPT_EXPIRY & ~OPT_KEEPTTL},
	{"persist", OPT_PERSIST, OPT_EXPIRY & ~OPT_PERSIST},
	{"ex", OPT_EX, OPT_EXPIRY & ~OPT_EX},
	{"px", OPT_PX, OPT_EXPIRY & ~OPT_PX},
	{"exat", OPT_EXAT, OPT_EXPIRY & ~OPT_EXAT},
	{"pxat", OPT_PXAT, OPT_EXPIRY & ~OPT_PXAT},
};
enum { OPTIONS = sizeof(options_table) / sizeof(options_table[0]) };

/* The options from argument `i` on. `*time_at` is the argument with the time, 0 without one. */
static bool parse_options(
	struct call *call, unsigned i, unsigned allowed, unsigned *given, unsigned *time_at)
{
	*given = 0;
	*time_at = 0;
	for (; i < call->argc; i++) {
		unsigned o = 0;
		while (o < OPTIONS && !call_is(call, i, options_table[o].word)) {
			o++;
		}
		if (o == OPTIONS || (options_table[o].option & allowed) == 0 ||
			(options_table[o].excludes & *given) != 0) {
			call_syntax_error(call);
			return false;
		}
		*given |= options_table[o].option;
		if ((options_table[o].option & OPT_TIMES) != 0) {
			*time_at = ++i;
			if (i == call->argc) {
				call_syntax_error(call);
				return false;
			}
		}
	}
	return true;
}

static bool parse_expiry(struct call *call, unsigned given, unsigned time_at, int64_t *expiry_ms)
{
	if (time_at == 0) {
		*expiry_ms = (given & OPT_KEEPTTL) != 0 ? CACHE_KEEP_EXPIRY : CACHE_NO_EXPIRY;
		return true;
	}
	return expiry_argument(call, time_at, (given & (OPT_EX | OPT_EXAT)) != 0,
		(given & (OPT_EXAT | OPT_PXAT)) != 0, expiry_ms);
}

static bool exists(const struct call *call, struct slice key)
{
	return cache_exists(call->env->cache, call->client->db, key, call->env->now.wall_ms);
}

/* Write, and tell of it. */
static bool store(struct call *call, struct slice key, struct slice value, int64_t expiry_ms)
{
	if (!call_store(call, key, value, expiry_ms)) {
		return false;
	}
	notify(call, NOTIFY_STRING, "set", key);
	if (expiry_ms >= 0) {
		notify(call, NOTIFY_GENERIC, "expire", key);
	}
	return true;
}

void strings_get(struct call *call)
{
	call_bulk(call, call_value(call, 1));
}

void strings_set(struct call *call)
{
	unsigned given = 0;
	unsigned time_at = 0;
	int64_t expiry_ms = CACHE_NO_EXPIRY;
	if (call->argc > 3 && (!parse_options(call, 3, OPT_OF_SET, &given, &time_at) ||
				      !parse_expiry(call, given, time_at, &expiry_ms))) {
		return;
	}
	size_t at = call->out->len;
	if ((given & OPT_GET) != 0) {
		call_bulk(call, call_value(call, 1));
	}
	if ((given & (OPT_NX | OPT_XX)) != 0 &&
		exists(call, call->argv[1]) == ((given & OPT_NX) != 0)) {
		if ((given & OPT_GET) == 0) {
			resp_put_null(call->out, call->client->resp);
		}
		return;
	}
	size_t replied = call->out->len;
	if (!store(call, call->argv[1], call->argv[2], expiry_ms)) {
		/* one reply: the error instead of the old value */
		memmove(call->out->data + at, call->out->data + replied, call->out->len - replied);
		call->out->len -= replied - at;
	} else if ((given & OPT_GET) == 0) {
		call_ok(call);
	}
}

static void set_with_time(struct call *call, bool seconds)
{
	int64_t expiry_ms = 0;
	if (expiry_argument(call, 2, seconds, false, &expiry_ms) &&
		store(call, call->argv[1], call->argv[3], expiry_ms)) {
		call_ok(call);
	}
}

void strings_setex(struct call *call)
{
	set_with_time(call, true);
}

void strings_psetex(struct call *call)
{
	set_with_time(call, false);
}

void strings_setnx(struct call *call)
{
	if (exists(call, call->argv[1])) {
		call_integer(call, 0);
	} else if (store(call, call->argv[1], call->argv[2], CACHE_NO_EXPIRY)) {
		call_integer(call, 1);
	}
}

void strings_getset(struct call *call)
{
	size_t at = call->out->len;
	call_bulk(call, call_value(call, 1));
	size_t replied = call->out->len;
	if (!store(call, call->argv[1], call->argv[2], CACHE_NO_EXPIRY)) {
		memmove(call->out->data + at, call->out->data + replied, call->out->len - replied);
		call->out->len -= replied - at;
	}
}

void strings_getdel(struct call *call)
{
	struct slice value = call_value(call, 1);
	call_bulk(call, value);
	if (value.data != NULL) {
		cache_delete(
			call->env->cache, call->client->db, call->argv[1], call->env->now.wall_ms);
		notify(call, NOTIFY_GENERIC, "del", call->argv[1]);
	}
}

void strings_getex(struct call *call)
{
	struct cache *cache = call->env->cache;
	int64_t now_ms = call->env->now.wall_ms;
	struct slice key = call->argv[1];
	unsigned given = 0;
	unsigned time_at = 0;
	int64_t expiry_ms = CACHE_NO_EXPIRY;
	if (!parse_options(call, 2, OPT_OF_GETEX, &given, &time_at)) {
		return;
	}
	struct slice value = call_value(call, 1);
	if (value.data != NULL && !parse_expiry(call, given, time_at, &expiry_ms)) {
		return;
	}
	call_bulk(call, value);
	if (value.data == NULL || given == 0) {
		return;
	}
	if (time_at != 0 && expiry_ms <= now_ms) {
		cache_delete(cache, call->client->db, key, now_ms);
		notify(call, NOTIFY_GENERIC, "del", key);
	} else {
		cache_set_expiry(cache, call->client->db, key, expiry_ms, now_ms);
		notify(call, NOTIFY_GENERIC, time_at != 0 ? "expire" : "persist", key);
	}
}

void strings_mget(struct call *call)
{
	resp_put_array(call->out, call->argc - 1);
	for (unsigned i = 1; i < call->argc; i++) {
		call_bulk(call, call_value(call, i));
	}
}

/* MSET's pairs; false when one was refused. */
static bool store_pairs(struct call *call)
{
	for (unsigned i = 1; i + 1 < call->argc; i += 2) {
		if (!store(call, call->argv[i], call->argv[i + 1], CACHE_NO_EXPIRY)) {
			return false;
		}
	}
	return true;
}

void strings_mset(struct call *call)
{
	if (call->argc % 2 == 0) {
		call_arity_error(call);
	} else if (store_pairs(call)) {
		call_ok(call);
	}
}

void strings_msetnx(struct call *call)
{
	if (call->argc % 2 == 0) {
		call_arity_error(call);
		return;
	}
	for (unsigned i = 1; i < call->argc; i += 2) {
		if (exists(call, call->argv[i])) {
			call_integer(call, 0);
			return;
		}
	}
	if (store_pairs(call)) {
		call_integer(call, 1);
	}
}

void strings_strlen(struct call *call)
{
	call_integer(call, (int64_t)call_value(call, 1).len);
}

static bool too_long(struct call *call, uint64_t len)
{
	if (len > call->env->value_bytes_max) {
		call_error(call, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
		return true;
	}
	return false;
}

void strings_append(struct call *call)
{
	struct slice old = call_value(call, 1);
	if (too_long(call, (uint64_t)old.len + call->argv[2].len)) {
		return;
	}
	struct bytes value = {0};
	bytes_append_slice(&value, old);
	bytes_append_slice(&value, call->argv[2]);
	if (call_store(call, call->argv[1], bytes_slice(&value), CACHE_KEEP_EXPIRY)) {
		notify(call, NOTIFY_STRING, "append", call->argv[1]);
		call_integer(call, (int64_t)value.len);
	}
	bytes_finish(&value);
}

void strings_getrange(struct call *call)
{
	int64_t from = 0;
	int64_t to = 0;
	if (!call_i64(call, 2, &from, NULL) || !call_i64(call, 3, &to, NULL)) {
		return;
	}
	struct slice value = call_value(call, 1);
	int64_t len = (int64_t)value.len;
	if (from < 0 && to < 0 && from > to) {
		len = 0;
	}
	from = from < 0 ? (from < -len ? 0 : from + len) : from;
	to = to < 0 ? (to < -len ? 0 : to + len) : to;
	to = to >= len ? len - 1 : to;
	if (len == 0 || from > to) {
		resp_put_bulk(call->out, (struct slice){"", 0});
		return;
	}
	resp_put_bulk(call->out, (struct slice){value.data + from, (size_t)(to - from + 1)});
}

void strings_setrange(struct call *call)
{
	int64_t offset = 0;
	if (!call_i64(call, 2, &offset, NULL)) {
		return;
	}
	if (offset < 0) {
		call_error(call, "ERR offset is out of range");
		return;
	}
	struct slice old = call_value(call, 1);
	struct slice part = call->argv[3];
	if (part.len == 0) {
		call_integer(call, (int64_t)old.len);
		return;
	}
	uint64_t end = (uint64_t)offset + part.len;
	if (too_long(call, end)) {
		return;
	}
	struct bytes value = {0};
	bytes_append_slice(&value, old);
	if (value.len < end) {
		memset(bytes_reserve(&value, end - value.len), 0, end - value.len);
		value.len = end;
	}
	memcpy(value.data + offset, part.data, part.len);
	if (call_store(call, call->argv[1], bytes_slice(&value), CACHE_KEEP_EXPIRY)) {
		notify(call, NOTIFY_STRING, "setrange", call->argv[1]);
		call_integer(call, (int64_t)value.len);
	}
	bytes_finish(&value);
}
