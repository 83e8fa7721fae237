/* The hub: owns everything; makes it, wires it, and destroys it in reverse order.
 *
 *     config, store ─▶ shards (ring, tenants, connections) ─▶ http
 *
 * main.c makes the threads and says when to stop; what the machine knows (memory, CPU) comes in through `struct host`,
 * so that the hub itself calls no kernel.
 */
#ifndef MILLRACE_HUB_HUB_H
#define MILLRACE_HUB_HUB_H

#include <stdatomic.h>

#include "engine/hub/shard.h"

#define MILLRACE_VERSION "0.1.0"

/* What only the machine knows; read now and then, by any shard. */
struct host_facts {
	int64_t pid;
	uint64_t rss_bytes, peak_bytes, allocated_bytes, machine_bytes;
	double cpu_user_s, cpu_sys_s;
	char os[256];
	const char *executable;
	const char *allocator;
};

struct host {
	void (*read)(struct host_facts *out);
	void (*random)(void *out, size_t len);
};

struct http;
struct mesh;

struct hub {
	struct config *config;
	const char *config_file; /* NULL: none */
	const struct host *host;
	struct store *store;
	struct http *http;
	struct mesh *mesh; /* NULL with one shard */
	struct shard *shards;
	unsigned shards_count;
	char run_id[41];
	char bound[LISTENERS]
		  [RING_ADDRESS_MAX]; /* the first address of each kind that is listened on */
	int64_t started_ms;
	uint64_t started_ns;
	atomic_uint quiet; /* shards that have nothing left to do after hub_stop() */
	atomic_uint stops; /* how often hub_stop() was called */
	atomic_bool ready; /* listening, and everything was read back */
};

/* Open the store. `why` (512 bytes) has a sentence for the operator when it fails.
 * owner: `config` and `host` outlive the hub; hub_finish() frees the rest. */
int hub_init(struct hub *hub, struct config *config, const char *config_file,
	const struct host *host, char *why, size_t why_size);
void hub_finish(struct hub *hub);

/* Make shard `index` on the calling thread, which then runs it, and read back what the store holds of its tenants. One after
 * the other. errors: with a sentence in `why`. */
int hub_start_shard(struct hub *hub, unsigned index, char *why, size_t why_size);

/* Listen, on the thread of shard 0, once all shards are made. errors: with a sentence in `why`. */
int hub_listen(struct hub *hub, char *why, size_t why_size);

/* Turns until hub_stop(); then what section 6.7 of the promises says. */
void hub_run_shard(struct hub *hub, unsigned index);

/* From any thread, and from a signal handler. Twice: do not wait for those who are slow. */
void hub_stop(struct hub *hub);

#endif
