/* The way of a request: find the verb, ask whether it may run, run it or queue it.
 *
 * Called by the hub for every RESP request. The questions come in Redis' order, because which error
 * a client sees first is part of the protocol:
 *
 *     known? ─▶ number of arguments? ─▶ authenticated? ─▶ room in the cache?
 *            ─▶ not a RESP2 subscriber? ─▶ MULTI open? queue it : run it
 *
 * A reply that CLIENT REPLY silences is written like any other and taken back at the end, so that
 * no verb needs to know. Pub/sub's own messages are never silenced.
 *
 * Not done: nothing is logged here. Arguments are passwords, tokens and people's messages.
 */
#include "engine/redis/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/redis/multi.h"
#include "engine/redis/notify.h"
#include "engine/redis/verbs.h"

enum { SHOWN_MAX = 128 }; /* of an unknown command's name, and of its arguments */

void client_init(struct client *client, uint64_t id, int64_t wall_ms, bool authenticated)
{
	*client = (struct client){.id = id,
		.resp = 2,
		.authenticated = authenticated,
		.created_ms = wall_ms,
		.active_ms = wall_ms};
}

void client_finish(struct client *client, struct cache *cache)
{
	multi_forget(client, cache);
	free((void *)client->name.data);
	free((void *)client->lib_name.data);
	free((void *)client->lib_ver.data);
	client->name = client->lib_name = client->lib_ver = (struct slice){0};
}

bool client_is_subscriber(const struct client *client)
{
	return client->subscriptions[SUB_CHANNEL] + client->subscriptions[SUB_PATTERN] +
		       client->subscriptions[SUB_SHARD] >
	       0;
}

/* Refuse to run a verb; `text` without "ERR ". A transaction under way is spoilt by it. */
static void reject(struct call *call, const char *prefix, const char *text)
{
	struct client *client = call->client;
	if (call->verb != NULL) {
		verbs_count_rejected(call->env->verbs, call->verb);
		if (call->verb->run == multi_exec) {
			multi_forget(client, call->env->cache);
			call_errorf(call, "EXECABORT Transaction discarded because of: %s%s",
				strcmp(prefix, "ERR ") == 0 ? "" : prefix, text);
			return;
		}
	}
	multi_spoil(client);
	call_errorf(call, "%s%s", prefix, text);
}

static int shown(size_t len)
{
	return len < SHOWN_MAX ? (int)len : SHOWN_MAX;
}

static void reject_unknown(struct call *call)
{
	char args[2 * SHOWN_MAX];
	size_t len = 0;
	args[0] = '\0';
	for (unsigned i = 1; i < call->argc && len < SHOWN_MAX; i++) {
		int room = SHOWN_MAX - (int)len;
		struct slice arg = call->argv[i];
		len += (size_t)snprintf(args + len, sizeof(args) - len, "'%.*s' ",
			arg.len < (size_t)room ? (int)arg.len : room, arg.data);
	}
	char text[4 * SHOWN_MAX];
	snprintf(text, sizeof(text), "unknown command '%.*s', with args beginning with: %s",
		shown(call->argv[0].len), call->argv[0].data, args);
	reject(call, "ERR ", text);
}

static void reject_unknown_subcommand(struct call *call)
{
	char name[SHOWN_MAX + 1];
	int len = shown(call->argv[0].len);
	for (int i = 0; i < len; i++) {
		char c = call->argv[0].data[i];
		name[i] = c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
	}
	name[len] = '\0';
	char text[4 * SHOWN_MAX];
	snprintf(text, sizeof(text), "unknown subcommand '%.*s'. Try %s HELP.",
		shown(call->argv[1].len), call->argv[1].data, name);
	reject(call, "ERR ", text);
}

static void reject_subscriber(struct call *call)
{
	char text[4 * SHOWN_MAX];
	snprintf(text, sizeof(text),
		"Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
		"are "
		"allowed in this context",
		call->verb->name);
	reject(call, "ERR ", text);
}

static void reject_arity(struct call *call)
{
	char text[SHOWN_MAX];
	snprintf(
		text, sizeof(text), "wrong number of arguments for '%s' command", call->verb->name);
	reject(call, "ERR ", text);
}

static bool arity_fits(const struct verb *verb, unsigned argc)
{
	return verb->arity > 0 ? argc == (unsigned)verb->arity : argc >= (unsigned)-verb->arity;
}

/* Does it need room in the cache? EXEC does where a queued verb does; while MULTI is open
 * everything that may be queued does, so that the queue does not grow when there is no room. */
static bool needs_room(const struct call *call)
{
	const struct verb *verb = call->verb;
	if (multi_is_open(call->client)) {
		return (verb->flags & V_IMMEDIATE) == 0 ||
		       (verb->run == multi_exec && (multi_flags(call->client) & V_DENYOOM) != 0);
	}
	return (verb->flags & V_DENYOOM) != 0;
}

/* May the verb run? If not, the client has been told. */
static bool may_run(struct call *call)
{
	const struct verb *verb = call->verb;
	const struct client *client = call->client;
	if (!arity_fits(verb, call->argc)) {
		reject_arity(call);
		return false;
	}
	if (!client->authenticated && (verb->flags & V_NO_AUTH) == 0) {
		reject(call, "NOAUTH ", "Authentication required.");
		return false;
	}
	if (needs_room(call) && !cache_make_room(call->env->cache, call->env->now.wall_ms)) {
		reject(call, "OOM ", "command not allowed when used memory > 'maxmemory'.");
		return false;
	}
	if (client->resp == 2 && (verb->flags & V_SUBSCRIBER) == 0 &&
		client_is_subscriber(client)) {
		reject_subscriber(call);
		return false;
	}
	return true;
}

/* A browser or a mail server that was sent here by somebody else's page. */
static bool is_http(struct slice name)
{
	return slice_equal_nocase(name, SLICE("post")) || slice_equal_nocase(name, SLICE("host:"));
}

static void dispatch(struct call *call)
{
	const struct verb *parent = NULL;
	call->verb = verbs_find(call->env->verbs, call->argv, call->argc, &parent);
	if (call->verb == NULL) {
		if (parent == NULL) {
			reject_unknown(call);
		} else {
			reject_unknown_subcommand(call);
		}
		return;
	}
	call->client->last_command = call->verb->name;
	if (!may_run(call)) {
		return;
	}
	if (multi_is_open(call->client) && (call->verb->flags & V_IMMEDIATE) == 0) {
		multi_queue(call);
	} else {
		call_execute(call);
	}
}

/* Take back what CLIENT REPLY silences, and step its SKIP. */
static void silence(struct call *call, enum reply_mode mode, size_t start)
{
	struct client *client = call->client;
	bool silent = (mode == REPLY_OFF || mode == REPLY_SKIP) && client->reply_mode != REPLY_ON;
	if (silent && !call->pushed) {
		call->out->len = start;
	}
	if (client->reply_mode == REPLY_SKIP) {
		client->reply_mode = REPLY_ON;
	} else if (client->reply_mode == REPLY_SKIP_NEXT) {
		client->reply_mode = REPLY_SKIP;
	}
}

void redis_run(
	const struct redis_env *env, struct client *client, const struct resp_request *request)
{
	struct call call = {.env = env,
		.client = client,
		.argv = request->argv,
		.argc = request->argc,
		.out = client->out};
	enum reply_mode mode = client->reply_mode;
	size_t start = client->out->len;
	if (is_http(call.argv[0])) {
		client->close_now = true;
		return;
	}
	client->commands++;
	client->active_ms = env->now.wall_ms;
	bool notifies = *verbs_notify(env->verbs) != 0;
	if (notifies) {
		notify_begin(env);
	}
	dispatch(&call);
	if (notifies) {
		notify_end(env);
	}
	if (mode != REPLY_ON || client->reply_mode != REPLY_ON) {
		silence(&call, mode, start);
	}
}

void redis_refuse(const struct redis_env *env, struct client *client, const char *sentence)
{
	struct call call = {.env = env, .client = client, .out = client->out};
	size_t start = client->out->len;
	call_errorf(&call, "ERR %s", sentence);
	if (client->reply_mode != REPLY_ON) {
		client->out->len = start;
	}
}

int64_t redis_expire(const struct redis_env *env, unsigned most)
{
	bool notifies = *verbs_notify(env->verbs) != 0;
	if (notifies) {
		notify_begin(env);
	}
	int64_t next_ms = cache_expire(env->cache, env->now.wall_ms, most);
	if (notifies) {
		notify_end(env);
	}
	return next_ms;
}
