/* INFO: what the hub knows about itself, in the words that Redis' clients look for.
 */
#ifndef MILLRACE_REDIS_INFO_H
#define MILLRACE_REDIS_INFO_H

#include "engine/redis/client.h"

/* Numbers that only the hub has; filled by redis_ops.facts. What does not exist stays 0 or NULL. */
struct redis_facts {
	/* server */
	int64_t pid;
	uint64_t uptime_s;
	unsigned tcp_port, shards;
	const char *engine; /* "uring", "epoll" */
	const char *os;     /* "Linux 6.1.0 x86_64" */
	const char *executable, *config_file;
	/* clients */
	uint64_t connected_clients, clients_max, pubsub_clients, line_clients;
	uint64_t input_buffer_max, output_buffer_max; /* the biggest of any client now */
	/* memory, bytes */
	uint64_t memory_used; /* allocated */
	uint64_t memory_rss, memory_peak, memory_logs, memory_system;
	uint64_t memory_max; /* maxmemory */
	const char *memory_policy;
	const char *allocator; /* "jemalloc-5.3.0" */
	/* stats, since the start or CONFIG RESETSTAT */
	uint64_t connections_received, connections_rejected, connections_evicted_output;
	uint64_t input_bytes, output_bytes;
	uint64_t ops_per_s; /* of late */
	double input_kbps, output_kbps;
	uint64_t pubsub_channels, pubsub_patterns, pubsub_shard_channels;
	uint64_t published, delivered;
	/* persistence */
	bool store_ok;
	uint64_t store_lag_batches;
	/* cpu, seconds */
	double cpu_sys, cpu_user;
};

/* INFO with the given words (lower case or not); nothing given: the default sections. The text as
 * INFO's bulk string. */
void info_print(const struct redis_env *env, const struct slice *sections, unsigned count,
	struct bytes *out);

#endif
