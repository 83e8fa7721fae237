/* What all scripted clients share: dialing, reading at their own speed, the end of a link.
 *
 * Called by world.c after each of the hub's turns; calls the client's kind.
 */
#include "tests/sim/actor.h"

#include <stdlib.h>

enum { READ_MAX = 32 * 1024 };
#define MS_NS UINT64_C(1000000)

struct sim_random *actor_random(struct actor *client)
{
	return &client->world->random;
}

uint64_t actor_now(const struct actor *client)
{
	return net_now_ns(client->world->net);
}

static struct weather some_weather(struct world *world)
{
	struct sim_random *random = &world->random;
	struct weather weather = {.delay_ns = 1000 + random_below(random, 5) * MS_NS,
		.fragments = random_one_in(random, 2) ? 0 : 1 + (unsigned)random_below(random, 8),
		.window = 2000 + random_below(random, 100000)};
	if (world->climate.stormy && random_one_in(random, 2)) {
		weather.delay_ns = 50 * MS_NS;
		weather.stalls = 10 + (unsigned)random_below(random, 100);
		weather.fragments = 1 + (unsigned)random_below(random, 3);
	}
	return weather;
}

static void choose_habits(struct actor *client)
{
	struct world *world = client->world;
	struct sim_random *random = &world->random;
	client->weather = some_weather(world);
	client->act_every_ns = (1 + random_below(random, 200)) * MS_NS;
	client->read_max = READ_MAX;
	if (random_one_in(random, 3)) {
		client->read_every_ns = random_below(random, 50) * MS_NS;
		client->read_max = 1 + random_skewed(random, READ_MAX);
	}
	if (world->climate.flood && random_one_in(random, 3)) {
		client->read_every_ns = random_one_in(random, 2)
						? UINT64_MAX
						: (1 + random_below(random, 500)) * MS_NS;
	}
	client->sturdy = client->weather.stalls == 0 && client->read_every_ns == 0;
}

struct actor *actor_create(struct world *world, const struct actor_kind *kind)
{
	struct actor *client = mem_zalloc(kind->size);
	client->kind = kind;
	client->world = world;
	client->number = world->clients_count;
	choose_habits(client);
	client->act_ns = net_now_ns(world->net) + random_below(&world->random, 300 * MS_NS);
	world->clients[world->clients_count++] = client;
	return client;
}

static void let_go(struct actor *client)
{
	link_forget(client->link);
	client->link = NULL;
	bytes_finish(&client->in);
}

void actor_destroy(struct actor *client)
{
	if (client->link != NULL) {
		client->kind->ended(client);
		let_go(client);
	}
	if (client->kind->destroy != NULL) {
		client->kind->destroy(client);
	}
	bytes_finish(&client->in);
	free(client);
}

void actor_write(struct actor *client, struct slice bytes)
{
	link_write(client->link, bytes);
}

static void end_link(struct actor *client)
{
	struct world *world = client->world;
	client->kind->ended(client);
	let_go(client);
	client->act_ns = net_now_ns(world->net) + (10 + random_below(&world->random, 2000)) * MS_NS;
}

void actor_hang_up(struct actor *client)
{
	client->doomed = true;
	end_link(client);
}

static void dial(struct actor *client)
{
	struct world *world = client->world;
	client->link = net_dial(world->net, client->kind->listener, &client->weather);
	client->connection = ++world->connections;
	client->doomed = client->refused = client->heard = false;
	client->read_ns = 0;
	world_note(world, "client %u (%s) dials: connection %u", client->number, client->kind->name,
		client->connection);
	client->kind->opened(client);
}

uint64_t actor_next_ns(struct actor *client)
{
	uint64_t at = client->act_ns;
	if (client->link != NULL) {
		uint64_t readable = link_next_ns(client->link);
		uint64_t read = readable > client->read_ns ? readable : client->read_ns;
		at = read < at ? read : at;
	} else if (client->world->finishing) {
		return UINT64_MAX;
	}
	return at;
}

static void read_some(struct actor *client)
{
	struct world *world = client->world;
	char *room = bytes_reserve(&client->in, client->read_max);
	size_t len = link_read(client->link, room, client->read_max);
	client->in.len += len;
	client->heard = true;
	client->kind->received(client);
	if (client->read_every_ns > 0) {
		client->read_ns = net_now_ns(world->net) +
				  random_below(&world->random, client->read_every_ns + 1);
	}
}

static void look_at_link(struct actor *client)
{
	uint64_t now_ns = actor_now(client);
	if (client->world->finishing && client->read_every_ns > 0) {
		client->read_every_ns = 0; /* everybody reads now */
		client->read_max = READ_MAX;
		client->read_ns = 0;
	}
	bool never = client->read_every_ns == UINT64_MAX;
	if (link_readable(client->link) > 0 && client->read_ns <= now_ns && !never) {
		read_some(client);
	}
	if (client->link == NULL) {
		return;
	}
	enum link_state state = link_state(client->link);
	/* A hub that is full may not get its word out. */
	client->refused = state == LINK_REFUSED ||
			  (!client->heard && client->world->hub.shards[0].stats.refused_full > 0);
	if (state == LINK_REFUSED || state == LINK_ENDED || state == LINK_BROKEN) {
		world_note(client->world, "client %u: connection %u %s", client->number,
			client->connection,
			state == LINK_REFUSED ? "was refused"
			: state == LINK_ENDED ? "ended"
					      : "broke");
		end_link(client);
	}
}

void actor_poll(struct actor *client)
{
	struct world *world = client->world;
	if (client->link != NULL) {
		look_at_link(client);
	}
	if (client->act_ns > net_now_ns(world->net) || world_failed(world)) {
		return;
	}
	client->act_ns =
		net_now_ns(world->net) + 1 + random_skewed(&world->random, client->act_every_ns);
	if (world->finishing) {
		client->act_ns += 3000 * MS_NS;
		if (client->link != NULL && client->kind->finishing != NULL) {
			client->kind->finishing(client);
		}
	} else if (client->link == NULL) {
		dial(client);
	} else {
		client->kind->act(client);
	}
}
