/* A RESP client: publishes, subscribes, or (in RESP3) both; and checks that every answer is the right one, in order.
 *
 * Requests are pipelined. What they are to be answered with waits in a queue; messages come in between. In RESP2 an array
 * whose first word is a message's is one, in RESP3 a push.
 */
#include "tests/sim/actor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/resp_value.h"
#include "tests/sim/writer.h"

enum { GLOBS = 3, EXPECT_MAX = 400, EXEC_MAX = 4, KEYS = 3 };
#define MS_NS UINT64_C(1000000)

static const char *const globs[GLOBS] = {"*", "b*", "*/x"};

enum expect_kind {
	EXPECT_NUMBER, /* PUBLISH */
	EXPECT_STATUS,
	EXPECT_VALUE, /* GET: `text`, or null */
	EXPECT_PONG,
	EXPECT_SUBSCRIBED,
	EXPECT_UNSUBSCRIBED,
	EXPECT_UNSUBSCRIBED_ALL,
	EXPECT_HELLO,
	EXPECT_EXEC,
	EXPECT_SOMETHING /* no error */
};

enum what { WHAT_CHANNEL, WHAT_GLOB, WHAT_SHARD };

struct expect {
	enum expect_kind kind;
	enum what what;
	unsigned which; /* a channel or glob; EXPECT_HELLO: 2 or 3 */
	unsigned ids[EXEC_MAX], count;
	bool heard_for_sure; /* EXPECT_NUMBER: at least the witness gets it */
	char text[64];
	uint64_t asked_ns;
};

struct resp_actor {
	struct actor base;
	struct writer writer;
	bool publishes, subscribes;
	unsigned resp, resp_asked;
	struct expect expects[EXPECT_MAX];
	unsigned first, count;
	long listener; /* -1: none yet */
	long hearings[MODEL_CHANNELS], glob_hearings[GLOBS];
	char values[KEYS][64];
	bool quits;
};

static struct resp_actor *of(struct actor *client)
{
	return (struct resp_actor *)client;
}

/* ---- asking ---- */

static void put_request(struct bytes *out, const struct slice *words, unsigned count)
{
	bytes_printf(out, "*%u\r\n", count);
	for (unsigned i = 0; i < count; i++) {
		bytes_printf(out, "$%zu\r\n", words[i].len);
		bytes_append_slice(out, words[i]);
		bytes_append(out, "\r\n", 2);
	}
}

static struct expect *expect(struct resp_actor *c, enum expect_kind kind)
{
	struct expect *e = &c->expects[(c->first + c->count++) % EXPECT_MAX];
	*e = (struct expect){.kind = kind, .asked_ns = actor_now(&c->base)};
	return e;
}

static struct expect *ask(
	struct resp_actor *c, enum expect_kind kind, const struct slice *words, unsigned count)
{
	struct bytes request = {0};
	put_request(&request, words, count);
	actor_write(&c->base, bytes_slice(&request));
	bytes_finish(&request);
	return expect(c, kind);
}

static void publish(struct resp_actor *c)
{
	struct world *world = c->base.world;
	struct bytes text = {0};
	unsigned channel = (unsigned)random_below(&world->random, MODEL_CHANNELS);
	channel = random_one_in(&world->random, 3) ? channel : CHANNEL_OF_LINES;
	unsigned id;
	writer_next(&c->writer, world, c->base.connection, &channel, &id, &text);
	const struct model_channel *to = model_channel(channel);
	struct slice words[] = {to->kind == CHANNEL_SHARD ? SLICE("SPUBLISH") : SLICE("PUBLISH"),
		slice_of(to->name), bytes_slice(&text)};
	if (id != 0) {
		model_sent(world->model, id, actor_now(&c->base));
		const struct say *say = model_find(world->model, id);
		world_note(world, "connection %u says %u on %s: %.*s", c->base.connection, id,
			model_channel(say->channel)->name, say->len < 60 ? (int)say->len : 60,
			say->text);
		struct expect *e = ask(c, EXPECT_NUMBER, words, 3);
		e->ids[0] = id;
		e->count = 1;
		e->heard_for_sure = say->kind == SAY_ANYTHING;
	} else {
		ask(c, EXPECT_NUMBER, words, 3);
	}
	world->counts.says++;
	bytes_finish(&text);
}

/* MULTI, some publishes, EXEC. */
static void publish_together(struct resp_actor *c)
{
	struct world *world = c->base.world;
	unsigned count = 1 + (unsigned)random_below(&world->random, EXEC_MAX);
	struct expect all = {.count = 0};
	struct slice word = SLICE("MULTI");
	snprintf(ask(c, EXPECT_STATUS, &word, 1)->text, sizeof(all.text), "OK");
	for (unsigned i = 0; i < count; i++) {
		struct bytes text = {0};
		unsigned channel = CHANNEL_OF_LINES;
		unsigned id;
		writer_next(&c->writer, world, c->base.connection, &channel, &id, &text);
		struct slice words[] = {SLICE("PUBLISH"), slice_of(model_channel(channel)->name),
			bytes_slice(&text)};
		if (id != 0) {
			model_sent(world->model, id, actor_now(&c->base));
		}
		all.ids[all.count++] = id;
		snprintf(ask(c, EXPECT_STATUS, words, 3)->text, sizeof(all.text), "QUEUED");
		bytes_finish(&text);
	}
	word = SLICE("EXEC");
	struct expect *e = ask(c, EXPECT_EXEC, &word, 1);
	memcpy(e->ids, all.ids, sizeof(e->ids));
	e->count = all.count;
}

static void use_cache(struct resp_actor *c)
{
	struct sim_random *random = actor_random(&c->base);
	unsigned k = (unsigned)random_below(random, KEYS);
	char key[24], value[64];
	snprintf(key, sizeof(key), "k%u:%u", c->base.connection, k);
	if (random_one_in(random, 2)) {
		snprintf(value, sizeof(value), "v%llu", (unsigned long long)random_next(random));
		struct slice words[] = {
			SLICE("SET"), slice_of(key), slice_of(value), SLICE("PX"), SLICE("100000")};
		snprintf(ask(c, EXPECT_STATUS, words, 5)->text, sizeof(value), "OK");
		memcpy(c->values[k], value, sizeof(value));
	} else {
		struct slice words[] = {SLICE("GET"), slice_of(key)};
		struct expect *e = ask(c, EXPECT_VALUE, words, 2);
		memcpy(e->text, c->values[k], sizeof(e->text));
	}
}

static void look_around(struct resp_actor *c)
{
	static const char *const requests[][3] = {{"CLIENT", "LIST"}, {"INFO", "everything"},
		{"PUBSUB", "NUMSUB", "a.example"}, {"PUBSUB", "CHANNELS"}, {"CONFIG", "GET", "*"},
		{"CLIENT", "SETNAME", "worker"}, {"CLIENT", "ID"}, {"TIME"}, {"DBSIZE"}};
	unsigned which = (unsigned)random_below(
		actor_random(&c->base), sizeof(requests) / sizeof(requests[0]));
	struct slice words[3];
	unsigned count = 0;
	while (count < 3 && requests[which][count] != NULL) {
		words[count] = slice_of(requests[which][count]);
		count++;
	}
	ask(c, EXPECT_SOMETHING, words, count);
}

static void subscribe(struct resp_actor *c)
{
	static const char *const verbs[2][3] = {{"UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"},
		{"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"}};
	struct sim_random *random = actor_random(&c->base);
	bool on = !random_one_in(random, 3);
	enum what what = WHAT_CHANNEL;
	unsigned which = (unsigned)random_below(random, MODEL_CHANNELS);
	struct slice words[2];
	if (random_one_in(random, 6)) {
		what = WHAT_GLOB;
		which = (unsigned)random_below(random, GLOBS);
		words[1] = slice_of(globs[which]);
	} else {
		what = model_channel(which)->kind == CHANNEL_SHARD ? WHAT_SHARD : WHAT_CHANNEL;
		words[1] = slice_of(model_channel(which)->name);
	}
	words[0] = slice_of(verbs[on][what]);
	bool all = !on && random_one_in(random, 4);
	struct expect *e = ask(c, EXPECT_SUBSCRIBED, words, all ? 1 : 2);
	e->kind = on ? EXPECT_SUBSCRIBED : all ? EXPECT_UNSUBSCRIBED_ALL : EXPECT_UNSUBSCRIBED;
	e->what = what;
	e->which = which;
	world_note(c->base.world, "connection %u asks %.*s %.*s", c->base.connection,
		SLICE_ARG(words[0]), all ? 1 : (int)words[1].len, all ? "*" : words[1].data);
}

static void hello(struct resp_actor *c, unsigned resp)
{
	struct slice words[] = {SLICE("HELLO"), resp == 3 ? SLICE("3") : SLICE("2")};
	ask(c, EXPECT_HELLO, words, 2)->which = resp;
	c->resp_asked = resp;
}

static void ping(struct resp_actor *c)
{
	struct slice word = SLICE("PING");
	ask(c, EXPECT_PONG, &word, 1);
}

static void forget_hearings(struct resp_actor *c)
{
	c->listener = -1;
	for (unsigned i = 0; i < MODEL_CHANNELS; i++) {
		c->hearings[i] = -1;
	}
	for (unsigned i = 0; i < GLOBS; i++) {
		c->glob_hearings[i] = -1;
	}
}

static void opened(struct actor *client)
{
	struct resp_actor *c = of(client);
	struct sim_random *random = actor_random(client);
	c->writer.number = client->number;
	c->first = c->count = 0;
	c->resp = c->resp_asked = 2;
	c->quits = false;
	forget_hearings(c);
	memset(c->values, 0, sizeof(c->values));
	bool three = random_one_in(random, 2);
	c->publishes = random_below(random, 3) < 2;
	c->subscribes = !c->publishes || (three && random_one_in(random, 2));
	if (three) {
		hello(c, 3);
	}
}

static void act_once(struct resp_actor *c)
{
	struct sim_random *random = actor_random(&c->base);
	unsigned dice = (unsigned)random_below(random, 100);
	if (c->subscribes && dice < 30) {
		subscribe(c);
	} else if (c->subscribes && !c->publishes && dice < 33 && c->resp_asked == 3) {
		hello(c, 2); /* the messages change their form in the middle */
	} else if (dice < 38) {
		ping(c);
	} else if (!c->publishes) {
		return;
	} else if (dice < 50) {
		use_cache(c);
	} else if (dice < 53) {
		look_around(c);
	} else if (dice < 57) {
		publish_together(c);
	} else {
		publish(c);
	}
}

static void leave(struct resp_actor *c)
{
	struct actor *client = &c->base;
	switch (random_below(actor_random(client), 3)) {
	case 0:
		actor_hang_up(client);
		break;
	case 1:
		client->doomed = true;
		c->quits = true;
		link_half_close(client->link);
		break;
	default: {
		struct slice word = SLICE("QUIT");
		client->doomed = true;
		c->quits = true;
		snprintf(ask(c, EXPECT_STATUS, &word, 1)->text, 8, "OK");
		if (random_one_in(actor_random(client), 2)) {
			link_half_close(client->link);
		}
	}
	}
}

static void act(struct actor *client)
{
	struct resp_actor *c = of(client);
	struct sim_random *random = actor_random(client);
	unsigned times =
		1 + (unsigned)random_skewed(random, client->world->climate.flood ? 60 : 12);
	if (c->quits) {
		return;
	}
	for (unsigned i = 0; i < times && c->count + 10 < EXPECT_MAX; i++) {
		act_once(c);
	}
	if (random_one_in(random, client->sturdy ? 400 : 60)) {
		leave(c);
	}
}

static void finishing(struct actor *client)
{
	struct resp_actor *c = of(client);
	if (!c->quits && c->count < EXPECT_MAX) {
		ping(c);
	}
}

/* ---- answers ---- */

static void wrong(struct resp_actor *c, const struct value *value, const char *expected)
{
	world_fail(c->base.world, "connection %u got a '%c' \"%.*s\" (%lld), expected %s",
		c->base.connection, value->type, value->text.len < 80 ? (int)value->text.len : 80,
		value->text.data, (long long)value->number, expected);
}

static unsigned count_open(const long *hearings, unsigned count, bool shard, bool any)
{
	unsigned open = 0;
	for (unsigned i = 0; i < count; i++) {
		open += hearings[i] >= 0 &&
			(any || (model_channel(i)->kind == CHANNEL_SHARD) == shard);
	}
	return open;
}

static int64_t subscriptions(const struct resp_actor *c, enum what what)
{
	if (what == WHAT_SHARD) {
		return count_open(c->hearings, MODEL_CHANNELS, true, false);
	}
	return (int64_t)count_open(c->hearings, MODEL_CHANNELS, false, false) +
	       count_open(c->glob_hearings, GLOBS, false, true);
}

static struct slice name_of(enum what what, unsigned which)
{
	return slice_of(what == WHAT_GLOB ? globs[which] : model_channel(which)->name);
}

static void note_subscribed(struct resp_actor *c, const struct expect *e)
{
	world_note(c->base.world, "connection %u is subscribed, %d %u", c->base.connection,
		(int)e->what, e->which);
	struct model *model = c->base.world->model;
	long *hearing = e->what == WHAT_GLOB ? &c->glob_hearings[e->which] : &c->hearings[e->which];
	if (*hearing >= 0) {
		return;
	}
	if (c->listener < 0) {
		c->listener = model_listener(model, c->base.connection);
	}
	*hearing = model_hearing(model, (unsigned)c->listener,
		e->what == WHAT_GLOB ? HEAR_GLOB : HEAR_CHANNEL, e->which,
		e->what == WHAT_GLOB ? slice_of(globs[e->which]) : SLICE(""), actor_now(&c->base));
}

static void note_unsubscribed(
	struct resp_actor *c, enum what what, unsigned which, uint64_t asked_ns)
{
	long *hearing = what == WHAT_GLOB ? &c->glob_hearings[which] : &c->hearings[which];
	world_note(c->base.world, "connection %u is unsubscribed, %d %u", c->base.connection,
		(int)what, which);
	if (*hearing >= 0) {
		model_unheard(c->base.world->model, (unsigned)*hearing, asked_ns);
	}
	*hearing = -1;
}

static void check_ack(struct resp_actor *c, const struct value *value, const char *word,
	struct slice name, enum what what)
{
	bool right = value->type == (c->resp == 3 ? '>' : '*') && value->count == 3 &&
		     value_is(value, 0, word) && slice_equal(value->items[1].text, name) &&
		     value->items[2].type == ':' &&
		     value->items[2].number == subscriptions(c, what);
	if (!right) {
		world_fail(c->base.world,
			"connection %u: an acknowledgement is not \"%s %.*s %lld\"",
			c->base.connection, word, SLICE_ARG(name),
			(long long)subscriptions(c, what));
	}
}

/* Which of the subscriptions an unasked-for name is; false: none. */
static bool find_subscription(
	const struct resp_actor *c, enum what what, struct slice name, unsigned *which)
{
	unsigned limit = what == WHAT_GLOB ? GLOBS : MODEL_CHANNELS;
	for (*which = 0; *which < limit; (*which)++) {
		bool alike = what == WHAT_GLOB ||
			     (model_channel(*which)->kind == CHANNEL_SHARD) == (what == WHAT_SHARD);
		long hearing = what == WHAT_GLOB ? c->glob_hearings[*which] : c->hearings[*which];
		if (alike && hearing >= 0 && slice_equal(name, name_of(what, *which))) {
			return true;
		}
	}
	return false;
}

/* One of the acknowledgements of UNSUBSCRIBE without names; true: it was the last. */
static bool take_unsubscribed_all(
	struct resp_actor *c, const struct expect *e, const struct value *value)
{
	static const char *const words[] = {"unsubscribe", "punsubscribe", "sunsubscribe"};
	unsigned which = 0;
	bool some =
		value->count == 3 && find_subscription(c, e->what, value->items[1].text, &which);
	if (some) {
		note_unsubscribed(c, e->what, which, e->asked_ns);
		check_ack(c, value, words[e->what], name_of(e->what, which), e->what);
	} else {
		check_ack(c, value, words[e->what], (struct slice){NULL, 0}, e->what);
	}
	unsigned left = e->what == WHAT_GLOB ? count_open(c->glob_hearings, GLOBS, false, true)
					     : count_open(c->hearings, MODEL_CHANNELS,
						       e->what == WHAT_SHARD, false);
	return left == 0;
}

static void check_number(struct resp_actor *c, const struct value *value, unsigned id, bool sure)
{
	struct world *world = c->base.world;
	if (value->type == '-' && slice_starts(value->text, SLICE("MISCONF")) &&
		world->config.appendfsync == STORE_FSYNC_ALWAYS) {
		if (id != 0) { /* the disk is full */
			model_refused(world->model, id);
		}
		return;
	}
	if (value->type != ':' || value->number < (sure ? 1 : 0)) {
		wrong(c, value, "a number of receivers");
	} else if (id != 0) {
		world_note(world, "connection %u: %u is acknowledged", c->base.connection, id);
		model_acked(world->model, id, actor_now(&c->base));
	}
}

static void check_exec(struct resp_actor *c, const struct expect *e, const struct value *value)
{
	if (value->type != '*' || value->count != e->count) {
		wrong(c, value, "the answers to EXEC");
		return;
	}
	for (unsigned i = 0; i < e->count; i++) {
		check_number(c, &value->items[i], e->ids[i], false);
	}
}

static bool is_status(const struct value *value, const char *text)
{
	return value->type == '+' && slice_equal(value->text, slice_of(text));
}

/* True: the expectation is fulfilled. */
static bool check_answer(struct resp_actor *c, const struct expect *e, const struct value *value)
{
	static const char *const subscribed[] = {"subscribe", "psubscribe", "ssubscribe"};
	static const char *const unsubscribed[] = {"unsubscribe", "punsubscribe", "sunsubscribe"};
	switch (e->kind) {
	case EXPECT_NUMBER:
		check_number(c, value, e->count > 0 ? e->ids[0] : 0, e->heard_for_sure);
		break;
	case EXPECT_STATUS:
		if (!is_status(value, e->text)) {
			wrong(c, value, e->text);
		}
		break;
	case EXPECT_VALUE:
		if (value->type != '_' &&
			!(value->type == '$' && slice_equal(value->text, slice_of(e->text)))) {
			wrong(c, value, "the value that was set");
		}
		break;
	case EXPECT_PONG:
		if (!is_status(value, "PONG") &&
			!(c->resp == 2 && value->type == '*' && value_is(value, 0, "pong"))) {
			wrong(c, value, "PONG");
		}
		break;
	case EXPECT_SUBSCRIBED:
		note_subscribed(c, e);
		check_ack(c, value, subscribed[e->what], name_of(e->what, e->which), e->what);
		break;
	case EXPECT_UNSUBSCRIBED:
		note_unsubscribed(c, e->what, e->which, e->asked_ns);
		check_ack(c, value, unsubscribed[e->what], name_of(e->what, e->which), e->what);
		break;
	case EXPECT_UNSUBSCRIBED_ALL:
		return take_unsubscribed_all(c, e, value);
	case EXPECT_HELLO:
		c->resp = e->which;
		if (value->type != (c->resp == 3 ? '%' : '*')) {
			wrong(c, value, "the answer to HELLO");
		}
		break;
	case EXPECT_EXEC:
		check_exec(c, e, value);
		break;
	case EXPECT_SOMETHING:
		if (value->type == '-') {
			wrong(c, value, "something");
		}
		break;
	}
	return true;
}

/* ---- messages ---- */

static bool is_message(const struct resp_actor *c, const struct value *value)
{
	bool form = value->type == (c->resp == 3 ? '>' : '*');
	return form && (value_is(value, 0, "message") || value_is(value, 0, "pmessage") ||
			       value_is(value, 0, "smessage"));
}

static void take_message(struct resp_actor *c, const struct value *value)
{
	struct world *world = c->base.world;
	bool by_glob = value_is(value, 0, "pmessage");
	enum channel_kind name_space =
		value_is(value, 0, "smessage") ? CHANNEL_SHARD : CHANNEL_PLAIN;
	if (value->count != (by_glob ? 4u : 3u)) {
		world_fail(world, "connection %u got a message of %u parts", c->base.connection,
			value->count);
		return;
	}
	struct slice name = value->items[value->count - 2].text;
	unsigned channel = model_channel_find(name_space, name);
	unsigned which = channel;
	long hearing = -1;
	if (by_glob && find_subscription(c, WHAT_GLOB, value->items[1].text, &which)) {
		hearing = c->glob_hearings[which];
		if (channel == MODEL_CHANNELS) {
			return; /* a stranger's channel */
		}
	} else if (!by_glob && channel < MODEL_CHANNELS) {
		hearing = c->hearings[channel];
	}
	if (hearing < 0) {
		world_fail(world, "connection %u heard %.*s without being subscribed: %.*s",
			c->base.connection, SLICE_ARG(name),
			SLICE_ARG(value->items[value->count - 1].text));
		return;
	}
	world_note(world, "connection %u hears %.*s", c->base.connection,
		SLICE_ARG(value->items[value->count - 1].text));
	model_heard(world->model, (unsigned)hearing, channel, value->items[value->count - 1].text);
	world->counts.heard++;
}

static void take(struct resp_actor *c, const struct value *value)
{
	if (is_message(c, value)) {
		take_message(c, value);
		return;
	}
	if (c->count == 0) {
		wrong(c, value, "nothing");
		return;
	}
	if (check_answer(c, &c->expects[c->first], value)) {
		c->first = (c->first + 1) % EXPECT_MAX;
		c->count--;
	}
}

static void received(struct actor *client)
{
	struct resp_actor *c = of(client);
	size_t used = 0;
	while (used < client->in.len && !world_failed(client->world)) {
		struct value value;
		struct slice rest = {client->in.data + used, client->in.len - used};
		long len = value_parse(rest, &value);
		if (len == 0) {
			break;
		}
		if (len < 0) {
			world_fail(client->world, "connection %u got what is no RESP: %.*s",
				client->connection, rest.len < 80 ? (int)rest.len : 80, rest.data);
			break;
		}
		bool refusal = value.type == '-' &&
			       slice_starts(value.text, SLICE("ERR max number of clients"));
		if (refusal) {
			client->doomed = true;
			c->count = 0;
		} else {
			take(c, &value);
		}
		value_finish(&value);
		used += (size_t)len;
	}
	bytes_consume(&client->in, used);
}

static void ended(struct actor *client)
{
	struct resp_actor *c = of(client);
	struct world *world = client->world;
	bool reason = !client->sturdy || client->doomed || client->refused || world->stopping ||
		      !world->up || world->climate.flood;
	if (!reason) {
		world_fail(world, "connection %u was ended without a reason", client->connection);
	}
	bool answerable = c->quits && client->sturdy && world->up && !world->stopping &&
			  !world->climate.flood && !world->climate.disk_ills &&
			  link_state(client->link) == LINK_ENDED;
	if (answerable && !client->refused && c->count > 0) {
		world_fail(world, "connection %u has quit, and was ended with %u answers owed",
			client->connection, c->count);
	}
	writer_cut(&c->writer, world, c->count > 0);
	if (c->listener >= 0) {
		model_cut(world->model, (unsigned)c->listener);
	}
}

static void settled(struct actor *client)
{
	struct resp_actor *c = of(client);
	if (c->count > 0) {
		world_fail(client->world,
			"connection %u is still owed %u answers, the first of kind %d",
			client->connection, c->count, (int)c->expects[c->first].kind);
	}
	if (c->quits) {
		world_fail(client->world, "connection %u has quit, and is still open",
			client->connection);
	}
}

static const struct actor_kind kind = {"resp", sizeof(struct resp_actor), LISTENER_RESP, opened,
	act, finishing, received, ended, settled, NULL};

const struct actor_kind *actor_resp(void)
{
	return &kind;
}
