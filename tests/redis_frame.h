/* A hub small enough for the tests of the verbs: connections in an array, subscriptions in a list,
 * publishing counts.
 *
 *     struct frame f;
 *     frame_init(&f);
 *     struct client *c = frame_connect(&f);
 *     frame_expect(&f, c, "+OK\r\n", "SET", "key", "value", NULL);
 *     frame_finish(&f);
 */
#ifndef MILLRACE_TESTS_REDIS_FRAME_H
#define MILLRACE_TESTS_REDIS_FRAME_H

#include <assert.h>
#include <stdarg.h>

#include "engine/base/err.h"
#include "engine/base/glob.h"
#include "engine/redis/commands.h"
#include "engine/redis/info.h"
#include "tests/unit.h"

enum { FRAME_CLIENTS = 8, FRAME_SUBS = 64, FRAME_NAME = 64 };

struct frame {
	struct redis_env env;
	struct client clients[FRAME_CLIENTS];
	bool connected[FRAME_CLIENTS], killed[FRAME_CLIENTS];
	unsigned client_count;
	struct bytes out;
	struct {
		struct client *client;
		enum subscription_kind kind;
		char name[FRAME_NAME];
	} subs[FRAME_SUBS];
	unsigned sub_count;
	struct bytes published; /* "channel=payload " of every message */
	int publish_error;
	const char *password; /* NULL: none */
	char maxmemory[32], policy[32];
	unsigned resets, renames;
};

static int frame_publish(void *hub, struct client *client, bool shard, struct slice channel,
	struct slice payload, int64_t *receivers, const char **why)
{
	struct frame *f = hub;
	(void)client;
	if (f->publish_error != OK) {
		*why = "the reason";
		return f->publish_error;
	}
	bytes_printf(&f->published, "%.*s=%.*s ", SLICE_ARG(channel), SLICE_ARG(payload));
	for (unsigned i = 0; i < f->sub_count; i++) {
		struct slice name = slice_of(f->subs[i].name);
		enum subscription_kind kind = f->subs[i].kind;
		bool hears = kind == SUB_PATTERN
				     ? !shard && glob_match(name, channel, false)
				     : (kind == SUB_SHARD) == shard && slice_equal(name, channel);
		*receivers += hears ? 1 : 0;
	}
	return OK;
}

static void frame_announce(void *hub, struct slice channel, struct slice payload)
{
	struct frame *f = hub;
	bytes_printf(&f->published, "%.*s=%.*s ", SLICE_ARG(channel), SLICE_ARG(payload));
}

static unsigned frame_find_sub(
	struct frame *f, struct client *client, enum subscription_kind kind, struct slice name)
{
	unsigned i = 0;
	while (i < f->sub_count && !(f->subs[i].client == client && f->subs[i].kind == kind &&
					   slice_equal(slice_of(f->subs[i].name), name))) {
		i++;
	}
	return i;
}

static int frame_subscribe(
	void *hub, struct client *client, enum subscription_kind kind, struct slice name)
{
	struct frame *f = hub;
	if (frame_find_sub(f, client, kind, name) < f->sub_count) {
		return 0;
	}
	if (f->sub_count == FRAME_SUBS) {
		return -E_FULL;
	}
	f->subs[f->sub_count].client = client;
	f->subs[f->sub_count].kind = kind;
	snprintf(f->subs[f->sub_count].name, FRAME_NAME, "%.*s", SLICE_ARG(name));
	f->sub_count++;
	client->subscriptions[kind]++;
	return 1;
}

static int frame_unsubscribe(
	void *hub, struct client *client, enum subscription_kind kind, struct slice name)
{
	struct frame *f = hub;
	unsigned i = frame_find_sub(f, client, kind, name);
	if (i == f->sub_count) {
		return 0;
	}
	f->subs[i] = f->subs[--f->sub_count];
	client->subscriptions[kind]--;
	return 1;
}

static void frame_subscriptions(void *hub, struct client *client, enum subscription_kind kind,
	void (*each)(void *context, struct slice name), void *context)
{
	struct frame *f = hub;
	for (unsigned i = 0; i < f->sub_count; i++) {
		if (f->subs[i].client == client && f->subs[i].kind == kind) {
			each(context, slice_of(f->subs[i].name));
		}
	}
}

static bool frame_is_first(const struct frame *f, unsigned sub)
{
	for (unsigned i = 0; i < sub; i++) {
		if (f->subs[i].kind == f->subs[sub].kind &&
			strcmp(f->subs[i].name, f->subs[sub].name) == 0) {
			return false;
		}
	}
	return true;
}

static void frame_channels(
	void *hub, bool shard, void (*each)(void *context, struct slice channel), void *context)
{
	struct frame *f = hub;
	for (unsigned i = 0; i < f->sub_count; i++) {
		if (f->subs[i].kind == (shard ? SUB_SHARD : SUB_CHANNEL) && frame_is_first(f, i)) {
			each(context, slice_of(f->subs[i].name));
		}
	}
}

static int64_t frame_channel_subscribers(void *hub, bool shard, struct slice channel)
{
	struct frame *f = hub;
	int64_t count = 0;
	for (unsigned i = 0; i < f->sub_count; i++) {
		count += f->subs[i].kind == (shard ? SUB_SHARD : SUB_CHANNEL) &&
					 slice_equal(slice_of(f->subs[i].name), channel)
				 ? 1
				 : 0;
	}
	return count;
}

static int64_t frame_patterns(void *hub)
{
	struct frame *f = hub;
	int64_t count = 0;
	for (unsigned i = 0; i < f->sub_count; i++) {
		count += f->subs[i].kind == SUB_PATTERN && frame_is_first(f, i) ? 1 : 0;
	}
	return count;
}

static void frame_tell(struct frame *f, unsigned i,
	void (*each)(void *context, const struct client_facts *facts), void *context)
{
	char address[32];
	snprintf(address, sizeof(address), "10.0.0.%u:1000", i + 1);
	struct client_facts facts = {.client = &f->clients[i],
		.id = f->clients[i].id,
		.address = slice_of(address),
		.local_address = SLICE("127.0.0.1:6380"),
		.transport = "resp",
		.fd = (int)i + 8};
	each(context, &facts);
}

static void frame_clients(
	void *hub, void (*each)(void *context, const struct client_facts *facts), void *context)
{
	struct frame *f = hub;
	for (unsigned i = 0; i < f->client_count; i++) {
		if (!f->killed[i]) {
			frame_tell(f, i, each, context);
		}
	}
}

static bool frame_client(void *hub, uint64_t id,
	void (*each)(void *context, const struct client_facts *facts), void *context)
{
	struct frame *f = hub;
	for (unsigned i = 0; i < f->client_count; i++) {
		if (f->clients[i].id == id && !f->killed[i]) {
			frame_tell(f, i, each, context);
			return true;
		}
	}
	return false;
}

static bool frame_kill(void *hub, uint64_t id)
{
	struct frame *f = hub;
	for (unsigned i = 0; i < f->client_count; i++) {
		if (f->clients[i].id == id && !f->killed[i]) {
			f->killed[i] = true;
			return true;
		}
	}
	return false;
}

static void frame_config_get(void *hub,
	void (*each)(void *context, struct slice name, struct slice value), void *context)
{
	struct frame *f = hub;
	each(context, SLICE("maxmemory"), slice_of(f->maxmemory));
	each(context, SLICE("maxmemory-policy"), slice_of(f->policy));
	each(context, SLICE("port"), SLICE("6380"));
}

static int frame_config_set(
	void *hub, struct slice name, struct slice value, char *why, size_t why_size)
{
	struct frame *f = hub;
	int64_t number = 0;
	if (slice_equal_nocase(name, SLICE("maxmemory"))) {
		if (slice_to_i64(value, &number) < 0) {
			snprintf(why, why_size, "argument must be a memory value");
			return -E_SYNTAX;
		}
		snprintf(f->maxmemory, sizeof(f->maxmemory), "%.*s", SLICE_ARG(value));
		return OK;
	}
	if (slice_equal_nocase(name, SLICE("maxmemory-policy"))) {
		snprintf(f->policy, sizeof(f->policy), "%.*s", SLICE_ARG(value));
		return OK;
	}
	return slice_equal_nocase(name, SLICE("port")) ? -E_NOT_ALLOWED : -E_UNKNOWN;
}

static int frame_config_rewrite(void *hub)
{
	(void)hub;
	return -E_UNSUPPORTED;
}

static bool frame_password_ok(void *hub, struct slice user, struct slice password)
{
	struct frame *f = hub;
	return slice_equal(user, SLICE("default")) &&
	       (f->password == NULL || slice_equal(password, slice_of(f->password)));
}

static bool frame_password_set(void *hub)
{
	return ((struct frame *)hub)->password != NULL;
}

static void frame_facts(void *hub, struct redis_facts *out)
{
	(void)hub;
	out->pid = 42;
	out->store_ok = true;
}

static bool frame_info(void *hub, struct slice section, struct bytes *out)
{
	(void)hub;
	bool mine = section.len == 0 || slice_equal(section, SLICE("millrace"));
	if (mine) {
		bytes_append_string(out, "# Millrace\r\ntenants:1\r\n");
	}
	return mine;
}

static void frame_reset_stats(void *hub)
{
	((struct frame *)hub)->resets++;
}

static void frame_renamed(void *hub, struct client *client)
{
	(void)client;
	((struct frame *)hub)->renames++;
}

static const struct redis_ops frame_ops = {
	.publish = frame_publish,
	.announce = frame_announce,
	.subscribe = frame_subscribe,
	.unsubscribe = frame_unsubscribe,
	.subscriptions = frame_subscriptions,
	.channels = frame_channels,
	.channel_subscribers = frame_channel_subscribers,
	.patterns = frame_patterns,
	.clients = frame_clients,
	.client = frame_client,
	.kill = frame_kill,
	.config_get = frame_config_get,
	.config_set = frame_config_set,
	.config_rewrite = frame_config_rewrite,
	.password_ok = frame_password_ok,
	.password_set = frame_password_set,
	.facts = frame_facts,
	.info = frame_info,
	.reset_stats = frame_reset_stats,
	.renamed = frame_renamed,
};

__attribute__((unused)) static void frame_init(struct frame *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->maxmemory, sizeof(f->maxmemory), "0");
	snprintf(f->policy, sizeof(f->policy), "noeviction");
	f->env = (struct redis_env){.ops = &frame_ops,
		.hub = f,
		.cache = cache_create(0, CACHE_NOEVICTION),
		.verbs = redis_verbs_create(),
		.now = {.mono_ns = 1, .wall_ms = 1700000000000},
		.databases = 16,
		.value_bytes_max = 1 << 20,
		.multi_bytes_max = 1 << 16,
		.run_id = "0123456789012345678901234567890123456789",
		.version = "1.0.0"};
}

__attribute__((unused)) static struct client *frame_connect(struct frame *f)
{
	assert(f->client_count < FRAME_CLIENTS);
	struct client *client = &f->clients[f->client_count++];
	client_init(client, f->client_count, f->env.now.wall_ms, f->password == NULL);
	client->out = &f->out;
	return client;
}

__attribute__((unused)) static void frame_finish(struct frame *f)
{
	for (unsigned i = 0; i < f->client_count; i++) {
		client_finish(&f->clients[i], f->env.cache);
	}
	cache_destroy(f->env.cache);
	redis_verbs_destroy(f->env.verbs);
	bytes_finish(&f->out);
	bytes_finish(&f->published);
}

/* The reply to a request of words; lives until the next one. */
__attribute__((unused)) static const char *frame_vrun(
	struct frame *f, struct client *client, va_list words)
{
	struct slice argv[32];
	unsigned argc = 0;
	for (const char *word = va_arg(words, const char *); word != NULL;
		word = va_arg(words, const char *)) {
		assert(argc < 32);
		argv[argc++] = slice_of(word);
	}
	struct resp_request request = {argv, argc};
	bytes_clear(&f->out);
	redis_run(&f->env, client, &request);
	bytes_append(&f->out, "", 1);
	f->out.len--;
	return f->out.data;
}

__attribute__((unused)) static const char *frame_run(struct frame *f, struct client *client, ...)
{
	va_list words;
	va_start(words, client);
	const char *reply = frame_vrun(f, client, words);
	va_end(words);
	return reply;
}

/* Run, and compare the whole reply. */
__attribute__((unused)) static void frame_expect(
	struct frame *f, struct client *client, const char *expected, ...)
{
	va_list words;
	va_start(words, expected);
	const char *reply = frame_vrun(f, client, words);
	va_end(words);
	if (strcmp(reply, expected) != 0) {
		printf("\nexpected: %s\nreceived: %s\n", expected, reply);
	}
	CU_ASSERT_STRING_EQUAL(reply, expected);
}

#endif
