/* Publishing and subscribing, as RESP clients say it.
 *
 * Called through the table. Who is subscribed to what, and how a message gets there, is the hub's
 * and fan-out's business; here are the words: acknowledgements, their counts, and PUBSUB's answers.
 *
 * A subscriber's count is that of channels and patterns together, shard channels are counted apart,
 * as in Redis. An acknowledgement is a push: CLIENT REPLY OFF does not silence it. The reply is
 * written while the hub registers, channel after channel, and nothing of it can be seen before the
 * verb has returned: so all channels of one SUBSCRIBE stand before its first acknowledgement is
 * read. Synapse relies on that.
 */
#include "engine/redis/pubsub.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/base/glob.h"

static const char *const subscribed[] = {
	[SUB_CHANNEL] = "subscribe", [SUB_PATTERN] = "psubscribe", [SUB_SHARD] = "ssubscribe"};
static const char *const unsubscribed[] = {[SUB_CHANNEL] = "unsubscribe",
	[SUB_PATTERN] = "punsubscribe",
	[SUB_SHARD] = "sunsubscribe"};

static unsigned count_of(const struct client *client, enum subscription_kind kind)
{
	const unsigned *counts = client->subscriptions;
	return kind == SUB_SHARD ? counts[SUB_SHARD] : counts[SUB_CHANNEL] + counts[SUB_PATTERN];
}

static void acknowledge(
	struct call *call, const char *word, enum subscription_kind kind, struct slice name)
{
	call->pushed = true;
	resp_put_push(call->out, call->client->resp, 3);
	resp_put_string(call->out, word);
	call_bulk(call, name);
	resp_put_integer(call->out, count_of(call->client, kind));
}

static void subscribe(struct call *call, enum subscription_kind kind)
{
	const struct redis_env *env = call->env;
	for (unsigned i = 1; i < call->argc; i++) {
		int rc = env->ops->subscribe(env->hub, call->client, kind, call->argv[i]);
		if (rc < 0) {
			call_errorf(call, "ERR subscription refused: %s", err_text(rc));
		} else {
			acknowledge(call, subscribed[kind], kind, call->argv[i]);
		}
	}
}

/* The names of a client, copied: unsubscribing while they are told would pull them away. */
struct names {
	struct bytes text;
	size_t *lens;
	size_t count, cap;
};

static void keep_name(void *context, struct slice name)
{
	struct names *names = context;
	if (names->count == names->cap) {
		names->cap = names->cap == 0 ? 8 : 2 * names->cap;
		names->lens = mem_realloc(names->lens, names->cap * sizeof(*names->lens));
	}
	names->lens[names->count++] = name.len;
	bytes_append_slice(&names->text, name);
}

static void each_subscription(const struct redis_env *env, struct client *client,
	enum subscription_kind kind, void (*each)(void *context, struct slice name), void *context)
{
	struct names names = {0};
	env->ops->subscriptions(env->hub, client, kind, keep_name, &names);
	const char *at = names.text.data;
	for (size_t i = 0; i < names.count; i++) {
		struct slice name = {at == NULL ? "" : at, names.lens[i]};
		env->ops->unsubscribe(env->hub, client, kind, name);
		if (each != NULL) {
			each(context, name);
		}
		at = at == NULL ? NULL : at + names.lens[i];
	}
	bytes_finish(&names.text);
	free(names.lens);
}

struct unsubscribing {
	struct call *call;
	enum subscription_kind kind;
};

static void acknowledge_unsubscribed(void *context, struct slice name)
{
	struct unsubscribing *u = context;
	acknowledge(u->call, unsubscribed[u->kind], u->kind, name);
}

static void unsubscribe(struct call *call, enum subscription_kind kind)
{
	struct unsubscribing all = {call, kind};
	if (call->argc > 1) {
		for (unsigned i = 1; i < call->argc; i++) {
			call->env->ops->unsubscribe(
				call->env->hub, call->client, kind, call->argv[i]);
			acknowledge_unsubscribed(&all, call->argv[i]);
		}
	} else if (call->client->subscriptions[kind] > 0) {
		each_subscription(call->env, call->client, kind, acknowledge_unsubscribed, &all);
	} else {
		acknowledge_unsubscribed(&all, (struct slice){NULL, 0});
	}
}

void pubsub_unsubscribe_all(const struct redis_env *env, struct client *client)
{
	for (int kind = 0; kind < SUB_KINDS; kind++) {
		if (client->subscriptions[kind] > 0) {
			each_subscription(env, client, (enum subscription_kind)kind, NULL, NULL);
		}
	}
}

void pubsub_subscribe(struct call *call)
{
	subscribe(call, SUB_CHANNEL);
}

void pubsub_unsubscribe(struct call *call)
{
	unsubscribe(call, SUB_CHANNEL);
}

void pubsub_psubscribe(struct call *call)
{
	subscribe(call, SUB_PATTERN);
}

void pubsub_punsubscribe(struct call *call)
{
	unsubscribe(call, SUB_PATTERN);
}

void pubsub_ssubscribe(struct call *call)
{
	subscribe(call, SUB_SHARD);
}

void pubsub_sunsubscribe(struct call *call)
{
	unsubscribe(call, SUB_SHARD);
}

static void publish(struct call *call, bool shard)
{
	int64_t receivers = 0;
	const char *why = NULL;
	int rc = call->env->ops->publish(call->env->hub, call->client, shard, call->argv[1],
		call->argv[2], &receivers, &why);
	switch (rc) {
	case OK:
		call_integer(call, receivers);
		break;
	case -E_AGAIN: /* the hub answers when it knows */
		break;
	case -E_IO:
	case -E_NOSPACE:
	case -E_READONLY:
	case -E_CORRUPT:
		call_errorf(
			call, "MISCONF the message could not be made durable: %s", err_text(rc));
		break;
	default:
		call_errorf(call, "ERR %s", why != NULL ? why : err_text(rc));
	}
}

void pubsub_publish(struct call *call)
{
	publish(call, false);
}

void pubsub_spublish(struct call *call)
{
	publish(call, true);
}

struct listing {
	struct call *call;
	struct slice glob; /* data NULL: everything */
	size_t count;
};

static void list_channel(void *context, struct slice channel)
{
	struct listing *listing = context;
	if (listing->glob.data == NULL || glob_match(listing->glob, channel, false)) {
		resp_put_bulk(listing->call->out, channel);
		listing->count++;
	}
}

static void list_channels(struct call *call, bool shard)
{
	if (call->argc > 3) {
		call_errorf(call,
			"ERR unknown subcommand or wrong number of arguments for '%.*s'. Try "
			"PUBSUB HELP.",
			SLICE_ARG(call->argv[1]));
		return;
	}
	struct listing listing = {.call = call};
	listing.glob = call->argc == 3 ? call->argv[2] : (struct slice){NULL, 0};
	size_t at = call->out->len;
	call->env->ops->channels(call->env->hub, shard, list_channel, &listing);
	resp_insert_array(call->out, at, listing.count);
}

void pubsub_channels(struct call *call)
{
	list_channels(call, false);
}

void pubsub_shardchannels(struct call *call)
{
	list_channels(call, true);
}

static void count_subscribers(struct call *call, bool shard)
{
	resp_put_array(call->out, 2 * (size_t)(call->argc - 2));
	for (unsigned i = 2; i < call->argc; i++) {
		resp_put_bulk(call->out, call->argv[i]);
		resp_put_integer(call->out,
			call->env->ops->channel_subscribers(call->env->hub, shard, call->argv[i]));
	}
}

void pubsub_numsub(struct call *call)
{
	count_subscribers(call, false);
}

void pubsub_shardnumsub(struct call *call)
{
	count_subscribers(call, true);
}

void pubsub_numpat(struct call *call)
{
	call_integer(call, call->env->ops->patterns(call->env->hub));
}

void pubsub_help(struct call *call)
{
	static const char *const lines[] = {
		"CHANNELS [<pattern>]",
		"    List the channels that have subscribers, all or those that match.",
		"NUMPAT",
		"    Count the different patterns that are subscribed to.",
		"NUMSUB [<channel> ...]",
		"    Count the subscribers of channels, without those of patterns.",
		"SHARDCHANNELS [<pattern>]",
		"    List the shard channels that have subscribers, all or those that match.",
		"SHARDNUMSUB [<shardchannel> ...]",
		"    Count the subscribers of shard channels.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}
