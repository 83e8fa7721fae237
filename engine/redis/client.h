/* A connection as Redis' verbs see it, and what the verbs ask of the hub.
 *
 * `struct client` is plain data inside the hub's connection. Verbs read and change it, write their
 * reply to client->out, and reach everything else through `struct redis_ops`, which the hub fills
 * in one place (and the unit tests with a small fake). Nothing here blocks: a reply that must wait
 * (for the disk, for another shard) is written at once and held back by the hub.
 */
#ifndef MILLRACE_REDIS_CLIENT_H
#define MILLRACE_REDIS_CLIENT_H

#include "engine/base/bytes.h"
#include "engine/redis/cache.h"
#include "ring/ring.h"

struct client_multi; /* engine/redis/multi.h */
struct redis_facts;  /* engine/redis/info.h */
struct redis_verbs;  /* engine/redis/commands.h */

enum subscription_kind { SUB_CHANNEL, SUB_PATTERN, SUB_SHARD, SUB_KINDS };
enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP };

struct client {
	uint64_t id;            /* never reused, as CLIENT ID */
	unsigned resp;          /* 2 or 3 */
	bool authenticated;     /* the hub gives its limits to the parser accordingly */
	bool close_after_reply; /* QUIT, a protocol error, CLIENT KILL of itself */
	bool close_now;         /* an HTTP request in disguise: close without a word */
	bool no_evict, no_touch;
	bool executing; /* EXEC runs: a reply of PUBLISH stands in the middle of others */
	enum reply_mode reply_mode;
	int db;                         /* SELECT */
	struct slice name;              /* CLIENT SETNAME; owned (malloc), empty at first */
	struct slice lib_name, lib_ver; /* the same, CLIENT SETINFO */
	int64_t created_ms, active_ms;  /* wall clock */
	size_t query_bytes; /* received, not yet handled, with the request under way; the hub's */
	uint64_t commands;  /* so far */
	const char *last_command;          /* the table's name, static; NULL at first */
	unsigned subscriptions[SUB_KINDS]; /* kept by the hub */
	struct client_multi *multi;        /* MULTI's queue and WATCH's keys; NULL mostly */
	struct bytes *out; /* where the reply goes; set by the hub before each call */
};

void client_init(struct client *client, uint64_t id, int64_t wall_ms, bool authenticated);
/* Frees what the client owns; `cache` is the one its WATCHed keys are in (may be NULL without any).
 * Subscriptions are the hub's to end. */
void client_finish(struct client *client, struct cache *cache);
bool client_is_subscriber(const struct client *client);

/* What CLIENT LIST shows of one connection, gathered by the hub; slices live for the call. */
struct client_facts {
	const struct client *client; /* NULL for a connection that does not speak RESP */
	uint64_t id;
	struct slice address, local_address; /* "ip:port", "path:0" for a unix socket */
	struct slice full_name;              /* the connection's, as in the log */
	struct slice name;                   /* what it calls itself, where it is no RESP client */
	const char *transport;               /* "resp", "line" */
	int fd;                              /* -1 where unknown */
	bool unix_socket;
	int64_t age_s, idle_s;
	size_t query_bytes, query_free_bytes, output_bytes, memory_bytes;
	uint64_t lag_bytes, lag_messages; /* behind its logs */
};

/* The upward table. Every function gets `hub` first. */
struct redis_ops {
	/* Publish; `*receivers` counts the connections that get it.
	 * errors: -E_AGAIN: the hub writes the integer reply itself, later; -E_NOT_ALLOWED with
	 * `*why`; -E_TOO_LONG; -E_IO, -E_NOSPACE, …: the store cannot take it and appendfsync is
	 * `always`
	 *         (-MISCONF to the client). */
	int (*publish)(void *hub, struct client *client, bool shard, struct slice channel,
		struct slice payload, int64_t *receivers, const char **why);
	/* Publish something of the hub's own, a keyspace notification: nobody waits for an answer.
	 * NULL: there are none. */
	void (*announce)(void *hub, struct slice channel, struct slice payload);
	/* Subscribe and unsubscribe change client->subscriptions. Return 1 when something changed,
	 * 0 when it was so already. errors: -E_FULL. */
	int (*subscribe)(
		void *hub, struct client *client, enum subscription_kind kind, struct slice name);
	int (*unsubscribe)(
		void *hub, struct client *client, enum subscription_kind kind, struct slice name);
	/* Every name that the client has of that kind; `each` must not unsubscribe. */
	void (*subscriptions)(void *hub, struct client *client, enum subscription_kind kind,
		void (*each)(void *context, struct slice name), void *context);
	/* PUBSUB: active channels (any order), subscribers of one, number of different patterns. */
	void (*channels)(void *hub, bool shard, void (*each)(void *context, struct slice channel),
		void *context);
	int64_t (*channel_subscribers)(void *hub, bool shard, struct slice channel);
	int64_t (*patterns)(void *hub);
	/* Connections, in order of their ids. kill: at once (`each` may have been told of it);
	 * false: no such id. The asking client is never given to kill: it sets its own
	 * close_after_reply. */
	void (*clients)(void *hub, void (*each)(void *context, const struct client_facts *facts),
		void *context);
	/* One of them; false: no such id. */
	bool (*client)(void *hub, uint64_t id,
		void (*each)(void *context, const struct client_facts *facts), void *context);
	bool (*kill)(void *hub, uint64_t id);
	/* The directive table. get: every directive by name and value as redis.conf would have it.
	 * set: -E_UNKNOWN; -E_NOT_ALLOWED (only at start); -E_RANGE, -E_SYNTAX and others with a
	 * sentence in `why`. rewrite: -E_UNSUPPORTED where there is no file; others. */
	void (*config_get)(void *hub,
		void (*each)(void *context, struct slice name, struct slice value), void *context);
	int (*config_set)(
		void *hub, struct slice name, struct slice value, char *why, size_t why_size);
	int (*config_rewrite)(void *hub);
	/* True where the password is right, compared in constant time; user is "default" for AUTH
	 * with one argument. Without a password every word is right for "default". */
	bool (*password_ok)(void *hub, struct slice user, struct slice password);
	bool (*password_set)(void *hub);
	/* INFO's numbers; `out` is all zero before. */
	void (*facts)(void *hub, struct redis_facts *out);
	/* An INFO section of the hub's own ("millrace", "tenants", …): lines "name:value
" appended. `section` in
	 * lower case; "" asks for all of them, each with its "# Title
" line. False: no such section. */
	bool (*info)(void *hub, struct slice section, struct bytes *out);
	/* CONFIG RESETSTAT: the hub's counters that INFO shows start again. */
	void (*reset_stats)(void *hub);
	/* The name of a client changed (SETNAME): the hub refreshes what it derived from it. */
	void (*renamed)(void *hub, struct client *client);
};

struct redis_env {
	const struct redis_ops *ops;
	void *hub;
	struct cache *cache;
	struct redis_verbs *verbs; /* one a shard: redis_verbs_create() */
	struct instant now;
	unsigned databases;     /* SELECT's limit */
	size_t value_bytes_max; /* proto-max-bulk-len: what APPEND and SETRANGE may grow to */
	size_t multi_bytes_max; /* what one client may queue between MULTI and EXEC */
	const char *run_id;     /* 40 hex digits */
	const char *version;    /* of millrace */
};

#endif
