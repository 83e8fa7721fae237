/* One world from one seed: lives of a hub on one disk, and what happens in them.
 *
 *     life: start ─▶ the witness listens ─▶ the auditor asks ─▶ everybody acts ─▶ [settle, check] ─▶ stop | kill | power loss
 *
 * Called by main.c; drives the hub's shard turn by turn. Time passes inside the hub's ring_wait() only.
 */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/actor.h"

enum { SETTLE_S = 60, TURNS_MAX = 400000, LIVES_MAX = 3 };
#define MS_NS UINT64_C(1000000)
#define S_NS  (1000 * MS_NS)

static struct world *randomness; /* of struct host, which has no context */

/* ---- notes ---- */

bool world_failed(const struct world *world)
{
	return world->why[0] != '\0' || net_breach(world->net) != NULL;
}

void world_fail(struct world *world, const char *format, ...)
{
	va_list args;
	if (world->why[0] != '\0') {
		return;
	}
	va_start(args, format);
	vsnprintf(world->why, sizeof(world->why), format, args);
	va_end(args);
}

void world_note(struct world *world, const char *format, ...)
{
	va_list args;
	if (!world->verbose) {
		return;
	}
	va_start(args, format);
	fprintf(stderr, "%10.3f ms  ", (double)net_now_ns(world->net) / 1e6);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* ---- the machine ---- */

static void host_read(struct host_facts *out)
{
	*out = (struct host_facts){.pid = 1,
		.rss_bytes = 1,
		.machine_bytes = UINT64_C(1) << 30,
		.executable = "/millraced",
		.allocator = "sim",
		.os = "sim"};
}

static void host_random(void *out, size_t len)
{
	unsigned char *bytes = out;
	for (size_t i = 0; i < len; i++) {
		bytes[i] = (unsigned char)random_next(&randomness->random);
	}
}

static const struct host host = {.read = host_read, .random = host_random};

/* ---- what kind of world ---- */

static void choose_climate(struct world *world)
{
	struct sim_random *random = &world->random;
	world->climate = (struct climate){.stormy = random_one_in(random, 3),
		.flood = random_one_in(random, 5),
		.disk_ills = random_one_in(random, 3),
		.line_writers = random_one_in(random, 2),
		.batch_rows_max = random_one_in(random, 4) ? 2 : 1000,
		.payload_max = random_one_in(random, 8) ? 20000 : 300};
	if (world->climate.flood) {
		world->climate.payload_max = 12000;
	}
}

static int no_file(void *context, const char *path, struct bytes *out, char *why)
{
	(void)context;
	(void)path;
	(void)out;
	(void)why;
	return -E_IO;
}

static void no_notice(void *context, const char *sentence)
{
	(void)context;
	(void)sentence;
}

static void set(struct world *world, const char *name, const char *value)
{
	char why[CONFIG_WHY_MAX] = "";
	char directive[64];
	char *argv[] = {"millraced", directive, (char *)value, NULL};
	struct config_source source = {.read = no_file, .notice = no_notice};
	enum config_action action;
	snprintf(directive, sizeof(directive), "--%s", name);
	if (config_read_args(&world->config, 3, argv, &source, &action, why) != OK) {
		world_fail(world, "configuration: %s", why);
	}
}

/* Small limits, so that they are reached. */
static void set_limits(struct world *world)
{
	struct sim_random *random = &world->random;
	struct config *config = &world->config;
	bool small = world->climate.flood;
	struct config_limit *pubsub = &config->client_output_buffer_limit[CONFIG_CLASS_PUBSUB];
	struct config_limit *normal = &config->client_output_buffer_limit[CONFIG_CLASS_NORMAL];
	config->maxclients = random_one_in(random, 4) ? 12 : 60;
	config->recv_buffer_bytes = 512 << random_below(random, 5);
	config->send_bytes_max = 4096 << random_below(random, 6);
	config->log_bytes_max = small ? 600 * 1024 : 16 * 1024 * 1024;
	config->client_query_buffer_limit_bytes = 128 * 1024;
	config->proto_max_bulk_len_bytes = 64 * 1024;
	*pubsub = (struct config_limit){
		.hard_bytes = 32 << 20, .soft_bytes = 8 << 20, .soft_ms = 60000};
	*normal = (struct config_limit){.hard_bytes = 32 << 20};
	if (small) {
		*pubsub = (struct config_limit){
			.hard_bytes = 300 * 1024, .soft_bytes = 100 * 1024, .soft_ms = 2000};
		*normal = (struct config_limit){.hard_bytes = 300 * 1024};
	}
	config->batch_rows_max = world->climate.batch_rows_max;
	config->store_queue_bytes_max = random_one_in(random, 4) ? 2000 : 64 << 20;
	config->shutdown_timeout_ms = 1000 + (int64_t)random_below(random, 5000);
}

static void configure(struct world *world)
{
	static const char *const fsyncs[] = {"always", "everysec", "no"};
	config_init(&world->config);
	set(world, "http-port", "0");
	set(world, "server-name", "a.example");
	set(world, "dir", "sim");
	set(world, "appendfsync", fsyncs[random_below(&world->random, 3)]);
	if (world->climate.line_writers) {
		set(world, "line-writers", "*");
	}
	set_limits(world);
}

/* ---- turns ---- */

static void set_horizon(struct world *world, uint64_t end_ns)
{
	uint64_t at = end_ns;
	for (unsigned i = 0; i < world->clients_count; i++) {
		uint64_t next = actor_next_ns(world->clients[i]);
		at = next < at ? next : at;
	}
	net_set_horizon(world->net, at);
}

static void poll_clients(struct world *world)
{
	unsigned start = (unsigned)random_below(&world->random, world->clients_count + 1);
	for (unsigned i = 0; i < world->clients_count && !world_failed(world); i++) {
		actor_poll(world->clients[(start + i) % world->clients_count]);
	}
}

/* One turn of everybody; false: the hub is done. */
static bool turn(struct world *world, uint64_t end_ns)
{
	set_horizon(world, end_ns);
	bool alive = shard_turn(&world->hub.shards[0]);
	world->counts.turns++;
	world_check_turn(world);
	poll_clients(world);
	if (net_breach(world->net) != NULL) {
		world_fail(world, "%s", net_breach(world->net));
	}
	return alive;
}

static void run_for(struct world *world, uint64_t ns)
{
	uint64_t end_ns = net_now_ns(world->net) + ns;
	while (net_now_ns(world->net) < end_ns && !world_failed(world)) {
		if (!turn(world, end_ns)) {
			world_fail(world, "the hub stopped by itself");
		}
	}
}

/* Until the client is ready. */
static void run_until_ready(struct world *world, const struct actor *client)
{
	uint64_t end_ns = net_now_ns(world->net) + 20 * S_NS;
	while (!client->ready && !world_failed(world)) {
		turn(world, end_ns);
		if (net_now_ns(world->net) >= end_ns) {
			world_fail(world, "the %s waits for ever", client->kind->name);
		}
	}
}

/* ---- people ---- */

static struct actor *calm_client(struct world *world, const struct actor_kind *kind)
{
	struct actor *client = actor_create(world, kind);
	client->weather = (struct weather){.delay_ns = 200000, .window = 1 << 20};
	client->read_every_ns = 0;
	client->read_max = 256 * 1024;
	client->sturdy = true;
	client->act_ns = 0;
	return client;
}

static void invite(struct world *world)
{
	struct sim_random *random = &world->random;
	unsigned count = 4 + (unsigned)random_below(random, 12);
	for (unsigned i = 0; i < count; i++) {
		unsigned dice = (unsigned)random_below(random, 100);
		actor_create(world, dice < 55   ? actor_resp()
				    : dice < 80 ? actor_line()
				    : dice < 90 ? actor_hostile_resp()
						: actor_hostile_line());
	}
	for (unsigned i = 0; world->climate.flood && i < 3; i++) {
		actor_create(world, actor_hog());
	}
}

static void send_away(struct world *world)
{
	for (unsigned i = 0; i < world->clients_count; i++) {
		actor_destroy(world->clients[i]);
	}
	world->clients_count = 0;
}

/* ---- a life ---- */

static void start_hub(struct world *world)
{
	char why[512] = "";
	int error = hub_init(&world->hub, &world->config, NULL, &host, why, sizeof(why));
	if (error == OK) {
		error = hub_start_shard(&world->hub, 0, why, sizeof(why));
	}
	if (error == OK) {
		error = hub_listen(&world->hub, why, sizeof(why));
	}
	if (error != OK) {
		world_fail(world, "the hub does not start: %s", why);
	}
	world->up = true;
	world->stopping = world->finishing = false;
	world->model = model_create(&world->ledger);
	memset(world->over_since_ns, 0, sizeof(world->over_since_ns));
	world->counts.lives++;
}

static void audit(struct world *world)
{
	struct actor *auditor = calm_client(world, actor_audit());
	run_until_ready(world, auditor);
	world->clients_count--;
	actor_destroy(auditor);
}

/* The disk misbehaves for a while. */
static void trouble_disk(struct world *world)
{
	struct sim_random *random = &world->random;
	if (!world->climate.disk_ills || !random_one_in(random, 300)) {
		return;
	}
	bool well = random_one_in(random, 2);
	world->disk_full = !well && random_one_in(random, 2);
	disk_set_full(world->disk, world->disk_full);
	disk_set_delay(world->disk, well ? 5 * MS_NS : random_below(random, 2 * S_NS));
	world->disk_well_ns = well ? net_now_ns(world->net) : UINT64_MAX;
	world_note(world, "the disk is %s", well ? "well" : world->disk_full ? "full" : "slow");
}

static void heal_disk(struct world *world)
{
	if (world->disk_well_ns == UINT64_MAX) {
		world->disk_well_ns = net_now_ns(world->net);
	}
	world->disk_full = false;
	disk_set_full(world->disk, false);
	disk_set_delay(world->disk, 5 * MS_NS);
}

static void act(struct world *world, unsigned steps)
{
	for (unsigned i = 0; i < steps && !world_failed(world); i++) {
		trouble_disk(world);
		if (!turn(world, UINT64_MAX)) {
			world_fail(world, "the hub stopped by itself");
		}
	}
}

static void settle(struct world *world)
{
	world_note(world, "everything is to settle");
	world->finishing = true;
	heal_disk(world);
	net_calm(world->net);
	run_for(world, SETTLE_S * S_NS);
	for (unsigned i = 0; i < world->clients_count && !world_failed(world); i++) {
		struct actor *client = world->clients[i];
		if (client->link != NULL && link_state(client->link) != LINK_DIALING) {
			client->kind->settled(client);
		}
	}
	world_check_settled(world);
}

static void stop_hub(struct world *world)
{
	world_note(world, "the hub is told to stop");
	uint64_t end_ns = net_now_ns(world->net) +
			  (uint64_t)world->config.shutdown_timeout_ms * MS_NS + 15 * S_NS;
	world->stopping = world->finishing = true;
	heal_disk(world);
	shard_stop(&world->hub.shards[0]);
	while (turn(world, end_ns) && !world_failed(world)) {
		if (net_now_ns(world->net) >= end_ns) {
			world_fail(world, "the hub does not end");
		}
	}
}

static void judge(struct world *world, bool settled)
{
	char why[sizeof(world->why)];
	for (unsigned i = 0; i < world->clients_count; i++) {
		struct actor *client = world->clients[i];
		if (client->link != NULL) {
			client->doomed = true;
		}
	}
	if (!model_check(world->model, settled, why, sizeof(why))) {
		world_fail(world, "%s", why);
	}
}

static void live(struct world *world, unsigned steps)
{
	static const char *const names[] = {"stops", "is killed", "loses power"};
	start_hub(world);
	run_until_ready(world, calm_client(world, actor_witness()));
	audit(world);
	invite(world);
	act(world, steps);
	bool settled = random_one_in(&world->random, 2) && !world_failed(world);
	if (settled) {
		settle(world);
	}
	if (!world_failed(world)) {
		judge(world, settled);
	}
	enum crash crash = (enum crash)random_below(&world->random, 3);
	world_note(world, "the hub %s", names[crash]);
	if (crash == CRASH_NONE && !world_failed(world)) {
		stop_hub(world);
	}
	uint64_t crashed_ns = net_now_ns(world->net);
	disk_crash(world->disk, crash);
	world->up = false;
	send_away(world);
	hub_finish(&world->hub);
	model_destroy(world->model);
	world->model = NULL;
	if (!world_failed(world)) {
		world_check_stored(world, crash, crashed_ns);
	}
	heal_disk(world);
}

bool world_run(struct world *world, uint64_t seed, unsigned steps)
{
	bool verbose = world->verbose;
	*world = (struct world){.seed = seed, .verbose = verbose};
	world->random.state = seed;
	randomness = world;
	world->net = net_create(random_next(&world->random));
	world->disk = disk_create(random_next(&world->random));
	net_set_ticker(world->net, disk_tick, disk_next_ns, world->disk);
	choose_climate(world);
	configure(world);
	unsigned lives = 1 + (unsigned)random_below(&world->random, LIVES_MAX);
	world_note(world, "seed %llu: fsync=%d stormy=%d flood=%d disk=%d lives=%u",
		(unsigned long long)seed, world->config.appendfsync, world->climate.stormy,
		world->climate.flood, world->climate.disk_ills, lives);
	for (unsigned i = 0; i < lives && !world_failed(world); i++) {
		live(world, steps / lives);
	}
	return !world_failed(world);
}

void world_finish(struct world *world)
{
	disk_destroy(world->disk);
	net_destroy(world->net);
	config_finish(&world->config);
}
