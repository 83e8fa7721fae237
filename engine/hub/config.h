/* The configuration: one plain struct, filled from defaults, a file in redis.conf's form, and
 * arguments.
 *
 * Every directive stands in the table of directive.c, from which parsing, CONFIG GET and SET,
 * --help and
 * --check-config all work; redis.conf(5)'s own directives mean here what they mean there. There is
 * no global configuration: whoever needs a value gets the struct, or the value. Files are read, and
 * notices given, through functions of the caller.
 */
#ifndef MILLRACE_HUB_CONFIG_H
#define MILLRACE_HUB_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/bytes.h"

struct config_list {
	char **items;
	unsigned count;
};

/* client-output-buffer-limit: over `hard` at once, over `soft` for that long; 0 is no limit. */
enum config_class {
	CONFIG_CLASS_NORMAL,
	CONFIG_CLASS_REPLICA,
	CONFIG_CLASS_PUBSUB,
	CONFIG_CLASSES
};
struct config_limit {
	int64_t hard_bytes, soft_bytes, soft_ms;
};

/* maxmemory-policy, in the order of its words; the same as enum cache_policy's. */
enum config_policy {
	CONFIG_NOEVICTION,
	CONFIG_ALLKEYS_LRU,
	CONFIG_VOLATILE_TTL,
	CONFIG_VOLATILE_LRU,
	CONFIG_ALLKEYS_RANDOM
};

/* What the directives say. Numbers are in range, strings never NULL ("" where nothing is set).
 * owner: config_init() to config_finish(); a string lives until the next config_set() of its
 * directive, so keep none across a CONFIG SET. */
struct config {
	/* listening */
	struct config_list bind;
	int64_t port;
	char *unixsocket;
	int64_t unixsocketperm;
	int64_t tcp_backlog;
	int64_t tcp_keepalive_ms;
	int64_t timeout_ms; /* 0: idle clients stay */
	int64_t maxclients;
	bool protected_mode;
	char *requirepass;
	int64_t databases;
	/* the line protocol */
	char *server_name;
	struct config_list line_bind;
	int64_t line_port;
	char *line_unixsocket;
	struct config_list line_writers;
	int64_t line_length_max;
	int64_t line_ping_interval_ms, line_ping_timeout_ms;
	/* replication */
	int64_t user_sync_expiry_ms;
	int64_t batch_rows_max, batch_bytes_max, batch_age_max_ms;
	/* the store */
	int store; /* the word's place in the table: see config_word() */
	char *dir;
	int appendfsync; /* enum store_fsync */
	int64_t store_queue_bytes_max, store_block_cache_bytes, store_write_buffer_bytes;
	/* memory */
	int64_t maxmemory_bytes;
	int maxmemory_policy; /* enum config_policy */
	int64_t log_bytes_max;
	struct config_limit client_output_buffer_limit[CONFIG_CLASSES];
	int64_t client_query_buffer_limit_bytes;
	int64_t proto_max_bulk_len_bytes;
	char *notify_keyspace_events;
	/* the machine */
	int engine; /* see config_word() */
	int64_t io_threads;
	int64_t send_bytes_max;
	int64_t recv_buffer_bytes, recv_buffers;
	/* operation */
	int64_t http_port;
	char *http_bind;
	int loglevel; /* enum journal_level */
	char *logfile;
	int64_t shutdown_timeout_ms;
};

/* What the configuration needs from outside while it is read. */
struct config_source {
	/* The whole file into `out`.
	 * errors: negative, with the reason in `why` (CONFIG_WHY_MAX bytes). */
	int (*read)(void *context, const char *path, struct bytes *out, char *why);
	/* A directive of redis.conf that has no meaning here: one sentence, with file and line. */
	void (*notice)(void *context, const char *sentence);
	void *context;
};

/* What the arguments ask for. */
enum config_action { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION, CONFIG_CHECK };

enum { CONFIG_WHY_MAX = 512 }; /* room for any sentence below */

/* All defaults. owner: config_finish() frees; a config that is all zero may be finished, too. */
void config_init(struct config *config);
void config_finish(struct config *config);

/* Read `[file] [--directive value ...]...`, as redis-server takes them; the file first. Also
 * --help, --version and --check-config, which end up in `action`. The result is checked with
 * config_check(), unless help or the version is asked for.
 * errors: a negative code and a sentence in `why` (CONFIG_WHY_MAX bytes), with file and line; what
 *         was read until then has been set. No secret is ever in it. */
int config_read_args(struct config *config, int argc, char *const *argv,
	const struct config_source *source, enum config_action *action, char *why);

/* Read one file and what it includes.
 * errors: as config_read_args(). */
int config_read_file(
	struct config *config, const char *path, const struct config_source *source, char *why);

/* What no single directive can know: nothing to listen on, an open address without a password, and
 * so on.
 * errors: -E_NOT_ALLOWED, -E_SYNTAX or -E_RANGE, with the sentence in `why`. */
int config_check(const struct config *config, char *why);

/* CONFIG SET. A value that config_check() refuses is taken back.
 * errors: -E_UNKNOWN no such directive; -E_NOT_ALLOWED only at start, or refused by the check;
 *         -E_SYNTAX, -E_RANGE the value. The sentence is in `why`; nothing has changed. */
int config_set(struct config *config, struct slice name, struct slice value, char *why);

/* CONFIG GET: every directive whose name the glob `pattern` matches, secrets included as Redis
 * does. `save` and `appendonly` are answered, too: Redis' tools ask for them. Slices live for the
 * call. */
void config_get_each(const struct config *config, struct slice pattern,
	void (*each)(void *context, struct slice name, struct slice value), void *context);

/* The word of a directive that is one of several words ("engine", "store", ...). Static. */
const char *config_word(const struct config *config, const char *name);

/* "host:port" or "[v6]:port" for ring_listen() from an item of bind: `*` is every IPv4 address,
 * `::*` every IPv6 one, localhost is 127.0.0.1. True if the item starts with '-', as in redis.conf:
 * an address that this machine does not have is then left out and no error. */
bool config_address(const char *item, int64_t port, char *out, size_t size);

/* Every directive and its value, in the form of the file, secrets masked: for --check-config. */
void config_write(const struct config *config, struct bytes *out);

/* The text of --help, from the table. */
void config_help(struct bytes *out);

#endif
