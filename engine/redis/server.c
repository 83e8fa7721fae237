/* The server as a whole.
 *
 * Called through the table. The directives are the hub's: CONFIG only knows how to ask for several
 * at once, and that a CONFIG SET changes all or nothing. Slow log, latency events and functions do
 * not exist; clients and test suites that ask for them on connecting get the answers of a server
 * that has none.
 */
#include "engine/redis/server.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/glob.h"
#include "engine/redis/commands.h"
#include "engine/redis/info.h"

enum { WHY_MAX = 256, PAIRS_MAX = 256 };

/* ---- CONFIG ---- */

struct config_listing {
	struct call *call;
	size_t count;
};

/* Does a pattern name it? A word without wildcards is a name. */
static bool wanted(const struct call *call, struct slice name)
{
	for (unsigned i = 2; i < call->argc; i++) {
		if (glob_match(call->argv[i], name, true)) {
			return true;
		}
	}
	return false;
}

static void list_directive(void *context, struct slice name, struct slice value)
{
	struct config_listing *listing = context;
	if (wanted(listing->call, name)) {
		resp_put_bulk(listing->call->out, name);
		resp_put_bulk(listing->call->out, value);
		listing->count++;
	}
}

void server_config_get(struct call *call)
{
	struct config_listing listing = {.call = call};
	size_t at = call->out->len;
	call->env->ops->config_get(call->env->hub, list_directive, &listing);
	resp_insert_map(call->out, call->client->resp, at, listing.count);
}

struct lookup {
	struct slice name;
	struct bytes *value;
	bool found;
};

static void keep_value(void *context, struct slice name, struct slice value)
{
	struct lookup *lookup = context;
	if (slice_equal_nocase(name, lookup->name)) {
		lookup->found = true;
		bytes_append_slice(lookup->value, value);
	}
}

/* Each name once; false: the client has been told. */
static bool check_names(struct call *call)
{
	for (unsigned i = 2; i < call->argc; i += 2) {
		for (unsigned j = 2; j < i; j += 2) {
			if (slice_equal_nocase(call->argv[i], call->argv[j])) {
				call_errorf(call,
					"ERR CONFIG SET failed (possibly related to argument "
					"'%.*s') - "
					"duplicate parameter",
					SLICE_ARG(call->argv[i]));
				return false;
			}
		}
	}
	return true;
}

/* Set pair by pair, keeping what was before; returns the argument that stopped it, or argc. */
static unsigned set_pairs(struct call *call, struct bytes *before, int *error, char *why)
{
	unsigned i = 2;
	*error = OK;
	for (; i < call->argc; i += 2) {
		struct lookup lookup = {call->argv[i], &before[(i - 2) / 2], false};
		call->env->ops->config_get(call->env->hub, keep_value, &lookup);
		why[0] = '\0';
		*error = call->env->ops->config_set(
			call->env->hub, call->argv[i], call->argv[i + 1], why, WHY_MAX);
		if (*error < 0) {
			break;
		}
	}
	return i;
}

static void unset_pairs(struct call *call, const struct bytes *before, unsigned stopped)
{
	char ignored[WHY_MAX];
	for (unsigned i = stopped; i > 2; i -= 2) {
		call->env->ops->config_set(call->env->hub, call->argv[i - 2],
			bytes_slice(&before[(i - 4) / 2]), ignored, WHY_MAX);
	}
}

static void refuse_directive(struct call *call, struct slice name, int error, const char *why)
{
	if (error == -E_UNKNOWN) {
		call_errorf(call,
			"ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
			SLICE_ARG(name));
		return;
	}
	const char *reason = error == -E_NOT_ALLOWED ? "can't set immutable config"
			     : why[0] != '\0'        ? why
						     : err_text(error);
	call_errorf(call, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
		SLICE_ARG(name), reason);
}

void server_config_set(struct call *call)
{
	if (call->argc % 2 != 0) {
		call_syntax_error(call);
		return;
	}
	if (call->argc > 2 + 2 * PAIRS_MAX) {
		call_error(call, "ERR CONFIG SET of more directives than there are");
		return;
	}
	if (!check_names(call)) {
		return;
	}
	struct bytes before[PAIRS_MAX] = {{0}};
	char why[WHY_MAX];
	int error = OK;
	unsigned stopped = set_pairs(call, before, &error, why);
	if (error < 0) {
		unset_pairs(call, before, stopped);
		refuse_directive(call, call->argv[stopped], error, why);
	} else {
		call_ok(call);
	}
	for (unsigned i = 0; i < PAIRS_MAX; i++) {
		bytes_finish(&before[i]);
	}
}

void server_config_rewrite(struct call *call)
{
	int rc = call->env->ops->config_rewrite(call->env->hub);
	if (rc == -E_UNSUPPORTED) {
		call_error(call, "ERR The server is running without a config file");
	} else if (rc < 0) {
		call_errorf(call, "ERR Rewriting config file: %s", err_text(rc));
	} else {
		call_ok(call);
	}
}

void server_config_resetstat(struct call *call)
{
	redis_counts_reset(call->env->verbs);
	cache_reset_stats(call->env->cache);
	call->env->ops->reset_stats(call->env->hub);
	call_ok(call);
}

void server_config_help(struct call *call)
{
	static const char *const lines[] = {
		"GET <pattern> [<pattern> ...]",
		"    Show the directives that match, and their values.",
		"SET <directive> <value> [<directive> <value> ...]",
		"    Change directives: all of them or none.",
		"RESETSTAT",
		"    Start the counters of INFO again.",
		"REWRITE",
		"    Write the configuration to its file.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}

/* ---- keyspaces ---- */

void server_dbsize(struct call *call)
{
	call_integer(call, (int64_t)cache_count(call->env->cache, call->client->db));
}

/* Nothing, ASYNC or SYNC: it makes no difference here. */
static bool flush_option(struct call *call)
{
	bool fine = call->argc == 1 ||
		    (call->argc == 2 && (call_is(call, 1, "async") || call_is(call, 1, "sync")));
	if (!fine) {
		call_syntax_error(call);
	}
	return fine;
}

void server_flushall(struct call *call)
{
	if (flush_option(call)) {
		cache_flush(call->env->cache, -1);
		call_ok(call);
	}
}

void server_flushdb(struct call *call)
{
	if (flush_option(call)) {
		cache_flush(call->env->cache, call->client->db);
		call_ok(call);
	}
}

/* ---- reports ---- */

void server_info(struct call *call)
{
	struct bytes text = {0};
	info_print(call->env, call->argv + 1, call->argc - 1, &text);
	resp_put_verbatim(call->out, call->client->resp, bytes_slice(&text));
	bytes_finish(&text);
}

void server_time(struct call *call)
{
	int64_t ms = call->env->now.wall_ms;
	resp_put_array(call->out, 2);
	resp_put_bulk_i64(call->out, ms / 1000);
	resp_put_bulk_i64(call->out, ms % 1000 * 1000);
}

void server_role(struct call *call)
{
	resp_put_array(call->out, 3);
	resp_put_string(call->out, "master");
	resp_put_integer(call->out, 0);
	resp_put_array(call->out, 0);
}

void server_memory_usage(struct call *call)
{
	if (call->argc > 3) {
		int64_t samples = 0;
		if (call->argc != 5 || !call_is(call, 3, "samples")) {
			call_syntax_error(call);
			return;
		}
		if (!call_i64(call, 4, &samples, NULL)) {
			return;
		}
		if (samples < 0) {
			call_syntax_error(call);
			return;
		}
	}
	size_t bytes = 0;
	if (cache_key_bytes(call->env->cache, call->client->db, call->argv[2],
		    call->env->now.wall_ms, &bytes) < 0) {
		resp_put_null(call->out, call->client->resp);
	} else {
		call_integer(call, (int64_t)bytes);
	}
}

void server_memory_doctor(struct call *call)
{
	resp_put_verbatim(call->out, call->client->resp,
		SLICE("Nothing to report. Every buffer and table has a limit; INFO memory shows "
		      "them."));
}

void server_memory_purge(struct call *call)
{
	call_ok(call);
}

void server_memory_help(struct call *call)
{
	static const char *const lines[] = {
		"DOCTOR",
		"    Report on memory problems.",
		"PURGE",
		"    Does nothing: unused memory goes back by itself.",
		"USAGE <key> [SAMPLES <count>]",
		"    Tell how many bytes <key> takes.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}

/* ---- what does not exist ---- */

void server_debug(struct call *call)
{
	call_error(call, "ERR DEBUG command not allowed: this hub has no debugging commands");
}

void server_cluster(struct call *call)
{
	call_error(call, "ERR This instance has cluster support disabled");
}

void server_slowlog_get(struct call *call)
{
	int64_t count = 0;
	if (call->argc > 3) {
		call_errorf(call,
			"ERR unknown subcommand or wrong number of arguments for '%.*s'. Try "
			"SLOWLOG "
			"HELP.",
			SLICE_ARG(call->argv[1]));
		return;
	}
	if (call->argc == 3 && (slice_to_i64(call->argv[2], &count) < 0 || count < -1)) {
		call_error(call, "ERR count should be greater than or equal to -1");
		return;
	}
	resp_put_array(call->out, 0);
}

void server_slowlog_len(struct call *call)
{
	call_integer(call, 0);
}

void server_slowlog_reset(struct call *call)
{
	call_ok(call);
}

void server_slowlog_help(struct call *call)
{
	static const char *const lines[] = {
		"GET [<count>]",
		"    List slow commands: always none.",
		"LEN",
		"    Count them.",
		"RESET",
		"    Forget them.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}

void server_latency_latest(struct call *call)
{
	resp_put_array(call->out, 0);
}

void server_latency_history(struct call *call)
{
	resp_put_array(call->out, 0);
}

void server_latency_reset(struct call *call)
{
	call_integer(call, 0);
}

void server_latency_help(struct call *call)
{
	static const char *const lines[] = {
		"HISTORY <event>",
		"    List the latency spikes of <event>: always none.",
		"LATEST",
		"    List the last spikes.",
		"RESET [<event> ...]",
		"    Forget them.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}

void server_function_flush(struct call *call)
{
	bool fine = call->argc == 2 ||
		    (call->argc == 3 && (call_is(call, 2, "async") || call_is(call, 2, "sync")));
	if (!fine) {
		call_error(call, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
		return;
	}
	call_ok(call);
}

void server_function_list(struct call *call)
{
	resp_put_array(call->out, 0);
}

void server_function_help(struct call *call)
{
	static const char *const lines[] = {
		"FLUSH [ASYNC|SYNC]",
		"    Delete all functions: there are none.",
		"LIST",
		"    List the functions.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}
