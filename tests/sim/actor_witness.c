/* The witness: subscribed to every channel before anybody speaks, over a good link, reading at once. What it hears, in its order,
 * is what all others are held against. */
#include <string.h>

#include "tests/sim/actor.h"
#include "tests/sim/resp_value.h"

struct witness {
	struct actor base;
	unsigned acks;
};

static void opened(struct actor *client)
{
	struct witness *w = (struct witness *)client;
	struct bytes request = {0};
	w->acks = 0;
	client->ready = false;
	for (unsigned i = 0; i < MODEL_CHANNELS; i++) {
		const struct model_channel *channel = model_channel(i);
		bytes_printf(&request, "%s %s\r\n",
			channel->kind == CHANNEL_SHARD ? "SSUBSCRIBE" : "SUBSCRIBE", channel->name);
	}
	actor_write(client, bytes_slice(&request));
	bytes_finish(&request);
}

static void act(struct actor *client)
{
	(void)client;
}

static void take(struct witness *w, const struct value *value)
{
	struct world *world = w->base.world;
	bool shard = value_is(value, 0, "smessage");
	if (shard || value_is(value, 0, "message")) {
		unsigned channel = value->count == 3 ? model_channel_find(shard ? CHANNEL_SHARD
										: CHANNEL_PLAIN,
							       value->items[1].text)
						     : MODEL_CHANNELS;
		if (channel == MODEL_CHANNELS) {
			world_fail(world, "the witness heard a channel that it does not know");
			return;
		}
		model_witnessed(world->model, channel, value->items[2].text);
		world_note(world, "the witness hears %.*s",
			value->items[2].text.len < 60 ? (int)value->items[2].text.len : 60,
			value->items[2].text.data);
	} else if (value_is(value, 0, "subscribe") || value_is(value, 0, "ssubscribe")) {
		w->base.ready = ++w->acks == MODEL_CHANNELS;
	} else {
		world_fail(world, "the witness got '%c' %.*s", value->type, SLICE_ARG(value->text));
	}
}

static void received(struct actor *client)
{
	struct witness *w = (struct witness *)client;
	size_t used = 0;
	while (used < client->in.len && !world_failed(client->world)) {
		struct value value;
		long len = value_parse(
			(struct slice){client->in.data + used, client->in.len - used}, &value);
		if (len < 0) {
			world_fail(client->world, "the witness got what is no RESP");
		}
		if (len <= 0) {
			break;
		}
		take(w, &value);
		value_finish(&value);
		used += (size_t)len;
	}
	bytes_consume(&client->in, used);
}

static void ended(struct actor *client)
{
	struct world *world = client->world;
	if (!world->stopping && world->up && !client->refused) {
		world_fail(world, "the witness was dropped");
	}
}

static void settled(struct actor *client)
{
	(void)client;
}

static const struct actor_kind kind = {"witness", sizeof(struct witness), LISTENER_RESP, opened,
	act, NULL, received, ended, settled, NULL};

const struct actor_kind *actor_witness(void)
{
	return &kind;
}
