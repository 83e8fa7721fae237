/* Synapse's use of Redis as a cache: `SET cache_v1:… PX 60000` and `GET`, sixteen in one write.
 *
 * Called by main.c. Every client has keys of its own, so it knows what a GET must answer: the value of its last
 * SET of that key (which carries a version), or nothing before the first. Each reply is matched against the
 * command that it belongs to; a wrong one, one too many or one in the wrong order is a fault. A client sends its
 * next commands when it has all replies to the last ones; the latency is that of such a round.
 */
#include "bench/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/adapter.h"
#include "bench/histogram.h"
#include "bench/load.h"
#include "bench/process.h"
#include "bench/report.h"
#include "engine/base/bytes.h"
#include "engine/base/err.h"

enum { KEYS = 1000, SET_PERCENT = 20, VERSION_DIGITS = 20, KEY_BYTES = 64 };

static const uint64_t SECOND_NS = 1000000000u;

struct asked {
	bool is_set;
	uint64_t version; /* GET: what the value must carry; 0: nothing */
};

struct client {
	struct cache *cache;
	struct load_conn *conn;
	uint64_t versions[KEYS];
	struct asked *asked; /* [pipeline] */
	uint32_t answered;
	uint64_t sent_ns;
};

struct cache {
	const struct options *options;
	struct load *load;
	struct client *clients;
	uint64_t random;
	uint64_t operations;
	uint64_t last_version;
	uint64_t wrong;
	uint64_t dropped;
	uint64_t running; /* clients with commands under way */
	bool stopping;
	bool measuring;
	struct bytes value;
	struct histogram latency;
};

/* xorshift64*; the seed is an option. */
static uint64_t next_random(struct cache *c)
{
	c->random ^= c->random >> 12;
	c->random ^= c->random << 25;
	c->random ^= c->random >> 27;
	return c->random * 0x2545f4914f6cdd1du;
}

static void append_set(struct client *client, struct asked *asked, unsigned key, const char *name)
{
	struct cache *c = client->cache;
	struct bytes *out = &client->conn->out;
	uint64_t version = ++c->last_version;
	char digits[VERSION_DIGITS + 1];
	snprintf(digits, sizeof(digits), "%020llu", (unsigned long long)version);
	memcpy(c->value.data, digits, VERSION_DIGITS);
	client->versions[key] = version;
	*asked = (struct asked){true, version};
	bytes_printf(
		out, "*5\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(name), name, c->value.len);
	bytes_append(out, c->value.data, c->value.len);
	bytes_append_string(out, "\r\n$2\r\nPX\r\n$5\r\n60000\r\n");
}

static void append_get(struct client *client, struct asked *asked, unsigned key, const char *name)
{
	*asked = (struct asked){false, client->versions[key]};
	bytes_printf(&client->conn->out, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(name), name);
}

static void send_round(struct client *client)
{
	struct cache *c = client->cache;
	char name[KEY_BYTES];
	for (uint64_t i = 0; i < c->options->pipeline; i++) {
		uint64_t dice = next_random(c);
		unsigned key = (unsigned)(dice >> 32) % KEYS;
		snprintf(name, sizeof(name), "cache_v1:bench:%u:%u",
			(unsigned)(client - c->clients), key);
		if (dice % 100 < SET_PERCENT) {
			append_set(client, &client->asked[i], key, name);
		} else {
			append_get(client, &client->asked[i], key, name);
		}
	}
	client->answered = 0;
	client->sent_ns = load_clock_ns();
	c->running++;
	load_flush(client->conn);
}

static bool is_right(const struct cache *c, const struct asked *asked, const struct frame *frame)
{
	if (asked->is_set) {
		return frame->kind == FRAME_STATUS && slice_equal(frame->text, SLICE("OK"));
	}
	if (asked->version == 0) {
		return frame->kind == FRAME_NULL;
	}
	if (frame->kind != FRAME_BULK || frame->text.len != c->value.len) {
		return false;
	}
	uint64_t version = 0;
	for (int i = 0; i < VERSION_DIGITS; i++) {
		version = version * 10 + (uint64_t)(frame->text.data[i] - '0');
	}
	return version == asked->version;
}

static void answered(struct load_conn *conn, const struct frame *frame)
{
	struct client *client = conn->owner;
	struct cache *c = client->cache;
	if (client->answered >= c->options->pipeline) {
		c->wrong++;
		return;
	}
	c->wrong += is_right(c, &client->asked[client->answered++], frame) ? 0 : 1;
	c->operations++;
	if (client->answered < c->options->pipeline) {
		return;
	}
	c->running--;
	if (c->measuring) {
		histogram_record(&c->latency, load_now_ns(c->load) - client->sent_ns);
	}
	if (!c->stopping) {
		send_round(client);
	}
}

static void lost_connection(struct load_conn *conn, int error)
{
	(void)error;
	((struct client *)conn->owner)->cache->dropped++;
}

static const struct load_ops client_ops = {answered, lost_connection};

static int open_clients(struct cache *c)
{
	const struct options *o = c->options;
	struct login login = {o->user, o->password, NULL, 0};
	for (uint64_t i = 0; i < o->clients; i++) {
		struct client *client = &c->clients[i];
		client->cache = c;
		client->asked = mem_zalloc(sizeof(*client->asked) * o->pipeline);
		client->conn = load_open(
			c->load, o->address, adapter_find("resp2"), &login, &client_ops, client);
		if (client->conn == NULL) {
			return -E_REFUSED;
		}
	}
	int rc = load_await_ready(c->load, 10 * SECOND_NS);
	if (rc != OK) {
		fprintf(stderr, "millrace-bench: connections did not become ready: %s\n",
			load_last_error(c->load));
	}
	return rc;
}

static void run_for(struct cache *c, double seconds)
{
	uint64_t end_ns = load_clock_ns() + (uint64_t)(seconds * 1e9);
	while (load_clock_ns() < end_ns && c->dropped == 0) {
		load_turn(c->load, SECOND_NS / 10);
	}
}

static void measure(struct cache *c, struct report *r, int32_t pid)
{
	struct process_usage end;
	for (uint64_t i = 0; i < c->options->clients; i++) {
		send_round(&c->clients[i]);
	}
	run_for(c, c->options->warmup);
	uint64_t operations = c->operations;
	uint64_t load_ns = process_own_cpu_ns();
	uint64_t start_ns = load_clock_ns();
	r->has_server = process_read(pid, &r->start) == OK;
	c->measuring = true;
	run_for(c, c->options->seconds);
	c->measuring = false;
	process_read(pid, &end);
	r->used = process_since(&r->start, &end);
	r->seconds = (double)(load_clock_ns() - start_ns) / 1e9;
	r->load_cpu_ns = process_own_cpu_ns() - load_ns;
	r->deliveries = c->operations - operations;
	r->published = r->deliveries;
	r->latency = &c->latency;
}

static void drain(struct cache *c)
{
	c->stopping = true;
	uint64_t end_ns = load_clock_ns() + 2 * SECOND_NS;
	while (c->running > 0 && load_clock_ns() < end_ns && c->dropped == 0) {
		load_turn(c->load, SECOND_NS / 10);
	}
}

static int run(struct cache *c)
{
	const struct options *o = c->options;
	struct report r = {.verb = "cache", .unit = "operations"};
	if (open_clients(c) != OK) {
		return 2;
	}
	snprintf(r.what, sizeof(r.what), "SET/GET %d:%d, %llu clients, %llu a write, %llu B",
		SET_PERCENT, 100 - SET_PERCENT, (unsigned long long)o->clients,
		(unsigned long long)o->pipeline, (unsigned long long)o->size_bytes);
	measure(c, &r, o->pid != 0 ? (int32_t)o->pid : process_listening_on(o->address));
	drain(c);
	report_figure(&r, "wrong", (double)c->wrong, NULL);
	if (c->wrong > 0) {
		report_problem(&r, "%llu wrong replies", (unsigned long long)c->wrong);
	} else if (c->running > 0 || c->dropped > 0) {
		report_problem(&r, "%llu clients without replies, %llu connections closed",
			(unsigned long long)c->running, (unsigned long long)c->dropped);
	} else {
		report_figure(&r, "right", (double)c->operations, "every reply right");
	}
	return report_finish(&r, o);
}

int cache_run(const struct options *o)
{
	struct cache *c = mem_zalloc(sizeof(*c));
	c->options = o;
	c->random = o->seed * 2 + 0x9e3779b97f4a7c15u;
	c->load = load_create();
	c->clients = mem_zalloc(sizeof(*c->clients) * o->clients);
	memset(bytes_reserve(&c->value, o->size_bytes), 'v', o->size_bytes);
	c->value.len = o->size_bytes;
	int status = run(c);
	load_destroy(c->load);
	for (uint64_t i = 0; i < o->clients; i++) {
		free(c->clients[i].asked);
	}
	bytes_finish(&c->value);
	free(c->clients);
	free(c);
	return status;
}
