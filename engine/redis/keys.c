/* Keys, whatever their value.
 *
 * Called through the table; calls the cache. KEYS walks a whole database in one call, as in Redis:
 * it is for people, and flagged as dangerous. SCAN does a bounded amount of work.
 */
#include "engine/redis/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/glob.h"
#include "engine/base/table.h"
#include "engine/redis/notify.h"

enum { SCAN_COUNT = 10, SCAN_BUCKETS_PER_KEY = 10, EMBSTR_MAX = 44, INT_DIGITS_MAX = 20 };

static int64_t now(const struct call *call)
{
	return call->env->now.wall_ms;
}

void keys_del(struct call *call)
{
	int64_t deleted = 0;
	for (unsigned i = 1; i < call->argc; i++) {
		if (cache_delete(call->env->cache, call->client->db, call->argv[i], now(call))) {
			notify(call, NOTIFY_GENERIC, "del", call->argv[i]);
			deleted++;
		}
	}
	call_integer(call, deleted);
}

void keys_exists(struct call *call)
{
	int64_t count = 0;
	for (unsigned i = 1; i < call->argc; i++) {
		count += cache_exists(call->env->cache, call->client->db, call->argv[i], now(call));
	}
	call_integer(call, count);
}

void keys_touch(struct call *call)
{
	int64_t count = 0;
	for (unsigned i = 1; i < call->argc; i++) {
		count += cache_touch(call->env->cache, call->client->db, call->argv[i], now(call));
	}
	call_integer(call, count);
}

void keys_type(struct call *call)
{
	bool there = cache_exists(call->env->cache, call->client->db, call->argv[1], now(call));
	resp_put_simple(call->out, there ? "string" : "none");
}

/* Copy argument 1's key to `key` of `db`, with its expiry. False: no such key (`*found` says so),
 * or refused. */
static bool copy_to(struct call *call, int db, struct slice key, bool *found)
{
	struct cache *cache = call->env->cache;
	int64_t expiry_ms = CACHE_NO_EXPIRY;
	struct slice value = cache_peek(cache, call->client->db, call->argv[1], now(call));
	*found = value.data != NULL;
	if (!*found) {
		return false;
	}
	cache_expiry(cache, call->client->db, call->argv[1], now(call), &expiry_ms);
	struct bytes copy = {0};
	bytes_append_slice(&copy, value);
	int rc = cache_set(cache, db, key, bytes_slice(&copy), expiry_ms, now(call));
	bytes_finish(&copy);
	if (rc < 0) {
		call_full_error(call);
	}
	return rc == OK;
}

/* RENAME and RENAMENX; true when done. */
static bool rename_key(struct call *call)
{
	bool found = false;
	if (!copy_to(call, call->client->db, call->argv[2], &found)) {
		return false;
	}
	cache_delete(call->env->cache, call->client->db, call->argv[1], now(call));
	notify(call, NOTIFY_GENERIC, "rename_from", call->argv[1]);
	notify(call, NOTIFY_GENERIC, "rename_to", call->argv[2]);
	return true;
}

static bool exists(const struct call *call, int db, struct slice key)
{
	return cache_exists(call->env->cache, db, key, now(call));
}

void keys_rename(struct call *call)
{
	if (!exists(call, call->client->db, call->argv[1])) {
		call_error(call, "ERR no such key");
	} else if (slice_equal(call->argv[1], call->argv[2]) || rename_key(call)) {
		call_ok(call);
	}
}

void keys_renamenx(struct call *call)
{
	if (!exists(call, call->client->db, call->argv[1])) {
		call_error(call, "ERR no such key");
	} else if (exists(call, call->client->db, call->argv[2])) {
		call_integer(call, 0);
	} else if (rename_key(call)) {
		call_integer(call, 1);
	}
}

void keys_copy(struct call *call)
{
	int db = call->client->db;
	bool replace = false;
	for (unsigned i = 3; i < call->argc; i++) {
		if (call_is(call, i, "replace")) {
			replace = true;
		} else if (call_is(call, i, "db") && i + 1 < call->argc) {
			if (!call_db(call, ++i, &db)) {
				return;
			}
		} else {
			call_syntax_error(call);
			return;
		}
	}
	if (db == call->client->db && slice_equal(call->argv[1], call->argv[2])) {
		call_error(call, "ERR source and destination objects are the same");
		return;
	}
	bool found = false;
	if ((!replace && exists(call, call->client->db, call->argv[1]) &&
		    exists(call, db, call->argv[2]))) {
		call_integer(call, 0);
	} else if (copy_to(call, db, call->argv[2], &found)) {
		notify_db(call, NOTIFY_GENERIC, "copy_to", db, call->argv[2]);
		call_integer(call, 1);
	} else if (!found) {
		call_integer(call, 0);
	}
}

void keys_move(struct call *call)
{
	int db = 0;
	if (!call_db(call, 2, &db)) {
		return;
	}
	if (db == call->client->db) {
		call_error(call, "ERR source and destination objects are the same");
		return;
	}
	bool found = false;
	if (exists(call, db, call->argv[1])) {
		call_integer(call, 0);
	} else if (copy_to(call, db, call->argv[1], &found)) {
		cache_delete(call->env->cache, call->client->db, call->argv[1], now(call));
		notify(call, NOTIFY_GENERIC, "move_from", call->argv[1]);
		notify_db(call, NOTIFY_GENERIC, "move_to", db, call->argv[1]);
		call_integer(call, 1);
	} else if (!found) {
		call_integer(call, 0);
	}
}

struct listing {
	struct bytes *out;
	struct slice glob; /* data NULL: everything */
	bool nothing;      /* SCAN of a type that there is not */
	size_t listed, seen;
};

static void list_key(void *context, struct slice key, struct slice value)
{
	struct listing *listing = context;
	(void)value;
	listing->seen++;
	if (!listing->nothing &&
		(listing->glob.data == NULL || glob_match(listing->glob, key, false))) {
		resp_put_bulk(listing->out, key);
		listing->listed++;
	}
}

void keys_keys(struct call *call)
{
	struct listing listing = {.out = call->out, .glob = call->argv[1]};
	size_t at = call->out->len;
	if (slice_equal(listing.glob, SLICE("*"))) {
		listing.glob = (struct slice){NULL, 0}; /* the empty key too */
	}
	cache_each(call->env->cache, call->client->db, now(call), list_key, &listing);
	resp_insert_array(call->out, at, listing.listed);
}

static bool cursor_argument(struct call *call, uint64_t *cursor)
{
	char text[24];
	struct slice s = call->argv[1];
	char *end = NULL;
	if (s.len > 0 && s.len < sizeof(text) && !isspace((unsigned char)s.data[0])) {
		errno = 0;
		for (size_t i = 0; i < s.len; i++) {
			text[i] = s.data[i];
		}
		text[s.len] = '\0';
		*cursor = strtoull(text, &end, 10);
		if (end == text + s.len && errno == 0) {
			return true;
		}
	}
	call_error(call, "ERR invalid cursor");
	return false;
}

static bool scan_options(struct call *call, struct listing *listing, int64_t *count)
{
	for (unsigned i = 2; i < call->argc; i += 2) {
		bool more = i + 1 < call->argc;
		if (more && call_is(call, i, "count")) {
			if (!call_i64(call, i + 1, count, NULL)) {
				return false;
			}
			if (*count < 1) {
				call_syntax_error(call);
				return false;
			}
		} else if (more && call_is(call, i, "match")) {
			listing->glob = call->argv[i + 1];
		} else if (more && call_is(call, i, "type")) {
			listing->nothing = !call_is(call, i + 1, "string");
		} else {
			call_syntax_error(call);
			return false;
		}
	}
	return true;
}

void keys_scan(struct call *call)
{
	uint64_t cursor = 0;
	int64_t count = SCAN_COUNT;
	struct bytes keys = {0};
	struct listing listing = {.out = &keys};
	if (!cursor_argument(call, &cursor) || !scan_options(call, &listing, &count)) {
		return;
	}
	uint64_t buckets = (uint64_t)count > UINT64_MAX / SCAN_BUCKETS_PER_KEY
				   ? UINT64_MAX
				   : (uint64_t)count * SCAN_BUCKETS_PER_KEY;
	do {
		cursor = cache_scan(
			call->env->cache, call->client->db, cursor, now(call), list_key, &listing);
		buckets--;
	} while (cursor != 0 && buckets > 0 && listing.seen < (uint64_t)count);
	char digits[24];
	size_t len = 0;
	for (uint64_t rest = cursor; rest > 0 || len == 0; rest /= 10) {
		digits[sizeof(digits) - ++len] = (char)('0' + rest % 10);
	}
	resp_put_array(call->out, 2);
	resp_put_bulk(call->out, (struct slice){digits + sizeof(digits) - len, len});
	resp_put_array(call->out, listing.listed);
	bytes_append_slice(call->out, bytes_slice(&keys));
	bytes_finish(&keys);
}

void keys_randomkey(struct call *call)
{
	/* Chance enough for a cache: where the clock and the client's count of requests point
	 * to. */
	uint64_t seed[2] = {call->env->now.mono_ns, call->client->commands};
	call_bulk(call, cache_random(call->env->cache, call->client->db,
				table_hash(seed, sizeof(seed)), now(call)));
}

/* The value of OBJECT's key, without touching it; null is told. */
static struct slice object(struct call *call)
{
	struct slice value =
		cache_peek(call->env->cache, call->client->db, call->argv[2], now(call));
	if (value.data == NULL) {
		resp_put_null(call->out, call->client->resp);
	}
	return value;
}

void keys_object_encoding(struct call *call)
{
	struct slice value = object(call);
	int64_t number = 0;
	if (value.data == NULL) {
		return;
	}
	if (value.len <= INT_DIGITS_MAX && slice_to_i64(value, &number) == OK) {
		resp_put_string(call->out, "int");
	} else {
		resp_put_string(call->out, value.len <= EMBSTR_MAX ? "embstr" : "raw");
	}
}

void keys_object_freq(struct call *call)
{
	if (object(call).data != NULL) {
		call_error(call,
			"ERR An LFU maxmemory policy is not selected, access frequency not "
			"tracked. Please note that when switching between policies at "
			"runtime LRU and LFU data will take some time to adjust.");
	}
}

void keys_object_idletime(struct call *call)
{
	int64_t idle_ms = 0;
	if (object(call).data != NULL) {
		cache_idle(call->env->cache, call->client->db, call->argv[2], now(call), &idle_ms);
		call_integer(call, idle_ms / 1000);
	}
}

void keys_object_refcount(struct call *call)
{
	if (object(call).data != NULL) {
		call_integer(call, 1);
	}
}

void keys_object_help(struct call *call)
{
	static const char *const lines[] = {
		"ENCODING <key>",
		"    Tell how the value of <key> is encoded.",
		"FREQ <key>",
		"    Refused: there is no LFU policy.",
		"IDLETIME <key>",
		"    Tell for how many seconds <key> was not used.",
		"REFCOUNT <key>",
		"    Tell how many references the value of <key> has.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}
