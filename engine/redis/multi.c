/* Transactions: a queue of requests, and watches on keys.
 *
 * Called through the table, and by commands.c for everything between MULTI and EXEC. A shard runs
 * one request after the other, so to run the queue in one go is all that atomicity takes. Queued
 * arguments are copies, and counted: above multi_bytes_max queueing fails and EXEC refuses the
 * whole.
 *
 * A client without a transaction and without watches holds nothing here.
 */
#include "engine/redis/multi.h"

#include <stdlib.h>
#include <string.h>

#include "engine/redis/verbs.h"

enum { WATCH_BYTES = 128 }; /* what the cache keeps for a watch, about */

struct queued {
	const struct verb *verb;
	struct slice *argv; /* the array and its bytes are one allocation */
	unsigned argc;
};

struct watched {
	struct cache_watch *watch;
	uint64_t changes; /* when WATCH was said */
};

struct client_multi {
	bool open;      /* MULTI was said */
	bool spoilt;    /* a verb was refused since */
	unsigned flags; /* of all verbs in the queue */
	size_t bytes;   /* of the queue and of the watched keys */
	struct queued *queue;
	unsigned count, cap;
	struct watched *watched;
	unsigned watched_count, watched_cap;
};

static struct client_multi *state(struct client *client)
{
	if (client->multi == NULL) {
		client->multi = mem_zalloc(sizeof(*client->multi));
	}
	return client->multi;
}

bool multi_is_open(const struct client *client)
{
	return client->multi != NULL && client->multi->open;
}

int multi_count(const struct client *client)
{
	return multi_is_open(client) ? (int)client->multi->count : -1;
}

size_t multi_bytes(const struct client *client)
{
	return client->multi == NULL ? 0 : client->multi->bytes;
}

unsigned multi_flags(const struct client *client)
{
	return client->multi == NULL ? 0 : client->multi->flags;
}

void multi_spoil(struct client *client)
{
	if (multi_is_open(client)) {
		client->multi->spoilt = true;
	}
}

static void forget_watches(struct client_multi *multi, struct cache *cache)
{
	for (unsigned i = 0; i < multi->watched_count; i++) {
		cache_unwatch(cache, multi->watched[i].watch);
	}
	free(multi->watched);
	multi->watched = NULL;
	multi->watched_count = multi->watched_cap = 0;
}

static void forget_queue(struct client_multi *multi)
{
	for (unsigned i = 0; i < multi->count; i++) {
		free(multi->queue[i].argv);
	}
	free(multi->queue);
}

void multi_forget(struct client *client, struct cache *cache)
{
	if (client->multi != NULL) {
		forget_watches(client->multi, cache);
		forget_queue(client->multi);
		free(client->multi);
		client->multi = NULL;
	}
}

static struct queued copy_call(const struct call *call, size_t *size)
{
	*size = call->argc * sizeof(struct slice);
	for (unsigned i = 0; i < call->argc; i++) {
		*size += call->argv[i].len;
	}
	struct queued queued = {call->verb, mem_alloc(*size), call->argc};
	char *bytes = (char *)(queued.argv + call->argc);
	for (unsigned i = 0; i < call->argc; i++) {
		struct slice arg = call->argv[i];
		if (arg.len > 0) {
			memcpy(bytes, arg.data, arg.len);
		}
		queued.argv[i] = (struct slice){bytes, arg.len};
		bytes += arg.len;
	}
	return queued;
}

void multi_queue(struct call *call)
{
	struct client_multi *multi = call->client->multi;
	size_t size = 0;
	if (!multi->spoilt) {
		struct queued queued = copy_call(call, &size);
		size += sizeof(queued);
		if (multi->bytes + size > call->env->multi_bytes_max) {
			free(queued.argv);
			multi->spoilt = true;
			call_error(call, "ERR the transaction is too big");
			return;
		}
		if (multi->count == multi->cap) {
			multi->cap = multi->cap == 0 ? 2 : 2 * multi->cap;
			multi->queue =
				mem_realloc(multi->queue, multi->cap * sizeof(*multi->queue));
		}
		multi->queue[multi->count++] = queued;
		multi->flags |= call->verb->flags;
		multi->bytes += size;
	}
	resp_put_simple(call->out, "QUEUED");
}

void multi_multi(struct call *call)
{
	if (multi_is_open(call->client)) {
		call_error(call, "ERR MULTI calls can not be nested");
		return;
	}
	state(call->client)->open = true;
	call_ok(call);
}

void multi_discard(struct call *call)
{
	if (!multi_is_open(call->client)) {
		call_error(call, "ERR DISCARD without MULTI");
		return;
	}
	multi_forget(call->client, call->env->cache);
	call_ok(call);
}

static bool watches_hold(const struct call *call, const struct client_multi *multi)
{
	for (unsigned i = 0; i < multi->watched_count; i++) {
		const struct watched *w = &multi->watched[i];
		if (cache_watch_changes(call->env->cache, w->watch, call->env->now.wall_ms) !=
			w->changes) {
			return false;
		}
	}
	return true;
}

/* The client is outside MULTI while the queue runs, so that a queued verb is run and not queued. */
static void run_queue(struct call *call, struct client_multi *multi)
{
	resp_put_array(call->out, multi->count);
	call->client->executing = true;
	for (unsigned i = 0; i < multi->count; i++) {
		struct call one = {.env = call->env,
			.client = call->client,
			.verb = multi->queue[i].verb,
			.argv = multi->queue[i].argv,
			.argc = multi->queue[i].argc,
			.out = call->out};
		call_execute(&one);
		call->pushed = call->pushed || one.pushed;
	}
	call->client->executing = false;
}

void multi_exec(struct call *call)
{
	struct client *client = call->client;
	struct client_multi *multi = client->multi;
	if (!multi_is_open(client)) {
		call_error(call, "ERR EXEC without MULTI");
		return;
	}
	if (multi->spoilt) {
		call_error(call, "EXECABORT Transaction discarded because of previous errors.");
		multi_forget(client, call->env->cache);
		return;
	}
	bool hold = watches_hold(call, multi);
	forget_watches(multi, call->env->cache);
	client->multi = NULL;
	if (hold) {
		run_queue(call, multi);
	} else {
		resp_put_null_array(call->out, client->resp);
	}
	forget_queue(multi);
	free(multi);
}

static bool is_watched(const struct client_multi *multi, int db, struct slice key)
{
	for (unsigned i = 0; i < multi->watched_count; i++) {
		if (cache_watch_is(multi->watched[i].watch, db, key)) {
			return true;
		}
	}
	return false;
}

void multi_watch(struct call *call)
{
	if (multi_is_open(call->client)) {
		call_error(call, "ERR WATCH inside MULTI is not allowed");
		return;
	}
	struct client_multi *multi = state(call->client);
	struct cache *cache = call->env->cache;
	int64_t now_ms = call->env->now.wall_ms;
	for (unsigned i = 1; i < call->argc; i++) {
		if (is_watched(multi, call->client->db, call->argv[i])) {
			continue;
		}
		multi->bytes += sizeof(struct watched) + WATCH_BYTES + call->argv[i].len;
		if (multi->bytes > call->env->multi_bytes_max) {
			call_error(call, "ERR too many watched keys");
			multi_forget(call->client, cache);
			return;
		}
		if (multi->watched_count == multi->watched_cap) {
			multi->watched_cap = multi->watched_cap == 0 ? 4 : 2 * multi->watched_cap;
			multi->watched = mem_realloc(
				multi->watched, multi->watched_cap * sizeof(*multi->watched));
		}
		struct cache_watch *watch =
			cache_watch(cache, call->client->db, call->argv[i], now_ms);
		multi->watched[multi->watched_count++] =
			(struct watched){watch, cache_watch_changes(cache, watch, now_ms)};
	}
	call_ok(call);
}

void multi_unwatch(struct call *call)
{
	if (call->client->multi != NULL) {
		forget_watches(call->client->multi, call->env->cache);
		if (!call->client->multi->open && call->client->multi->count == 0) {
			multi_forget(call->client, call->env->cache);
		}
	}
	call_ok(call);
}
