/* What the verbs have in common: errors, small replies, arguments.
 *
 * Called by every verb, calls the framing and the cache. The sentences are Redis', since clients
 * match on them.
 */
#include "engine/redis/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/err.h"
#include "engine/redis/notify.h"
#include "engine/redis/verbs.h"

enum { ERROR_MAX = 512 };

void call_execute(struct call *call)
{
	call->verb->run(call);
	verbs_count_call(call->env->verbs, call->verb, call->failed);
}

static void error_slice(struct call *call, struct slice text)
{
	call->failed = true;
	verbs_count_error(call->env->verbs, text);
	resp_put_error(call->out, text);
}

void call_error(struct call *call, const char *text)
{
	error_slice(call, slice_of(text));
}

void call_errorf(struct call *call, const char *format, ...)
{
	char text[ERROR_MAX];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	size_t used = len < 0 ? 0 : (size_t)len;
	error_slice(call, (struct slice){text, used < sizeof(text) ? used : sizeof(text) - 1});
}

void call_syntax_error(struct call *call)
{
	call_error(call, "ERR syntax error");
}

void call_arity_error(struct call *call)
{
	call_errorf(call, "ERR wrong number of arguments for '%s' command", call->verb->name);
}

void call_full_error(struct call *call)
{
	call_error(call, "OOM command not allowed when used memory > 'maxmemory'.");
}

void call_ok(struct call *call)
{
	bytes_append(call->out, "+OK\r\n", 5);
}

void call_integer(struct call *call, int64_t number)
{
	resp_put_integer(call->out, number);
}

void call_bulk(struct call *call, struct slice s)
{
	if (s.data == NULL) {
		resp_put_null(call->out, call->client->resp);
	} else {
		resp_put_bulk(call->out, s);
	}
}

void call_help(struct call *call, const char *const *lines, unsigned count)
{
	char first[128];
	size_t len = 0;
	for (const char *c = call->verb->name; *c != '\0' && *c != '|' && len < 32; c++) {
		first[len++] = *c >= 'a' && *c <= 'z' ? (char)(*c - ('a' - 'A')) : *c;
	}
	snprintf(first + len, sizeof(first) - len,
		" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
	resp_put_array(call->out, count + 3);
	resp_put_simple(call->out, first);
	for (unsigned i = 0; i < count; i++) {
		resp_put_simple(call->out, lines[i]);
	}
	resp_put_simple(call->out, "HELP");
	resp_put_simple(call->out, "    Print this help.");
}

bool call_is(const struct call *call, unsigned i, const char *word)
{
	return slice_equal_nocase(call->argv[i], slice_of(word));
}

bool call_i64(struct call *call, unsigned i, int64_t *out, const char *error)
{
	if (slice_to_i64(call->argv[i], out) == OK) {
		return true;
	}
	call_error(call, error == NULL ? "ERR value is not an integer or out of range" : error);
	return false;
}

bool call_db(struct call *call, unsigned i, int *out)
{
	int64_t number = 0;
	if (!call_i64(call, i, &number, NULL)) {
		return false;
	}
	if (number < INT32_MIN || number > INT32_MAX) {
		call_error(call, "ERR value is out of range, value must between -2147483648 and "
				 "2147483647");
		return false;
	}
	if (number < 0 || number >= call->env->databases) {
		call_error(call, "ERR DB index is out of range");
		return false;
	}
	*out = (int)number;
	return true;
}

struct slice call_value(struct call *call, unsigned i)
{
	struct slice key = call->argv[i];
	int64_t now_ms = call->env->now.wall_ms;
	int db = call->client->db;
	struct slice value = call->client->no_touch ? cache_peek(call->env->cache, db, key, now_ms)
						    : cache_get(call->env->cache, db, key, now_ms);
	if (value.data == NULL && (call->verb->flags & V_READ) != 0) {
		notify(call, NOTIFY_MISS, "keymiss", key);
	}
	return value;
}

bool call_store(struct call *call, struct slice key, struct slice value, int64_t expiry_ms)
{
	struct cache *cache = call->env->cache;
	int db = call->client->db;
	int64_t now_ms = call->env->now.wall_ms;
	bool new = notify_wants(call, NOTIFY_NEW) && !cache_exists(cache, db, key, now_ms);
	int rc = cache_set(cache, db, key, value, expiry_ms, now_ms);
	if (rc == -E_TOO_LONG) {
		call_error(call, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
	} else if (rc < 0) {
		call_full_error(call);
	} else if (new) {
		notify(call, NOTIFY_NEW, "new", key);
	}
	return rc == OK;
}
