/* A connection as Redis' verbs see it, and what the verbs ask of the hub.
 *
 * `struct client` is plain data inside the hub's connection. Verbs read and change it, write their reply to
 * client->out, and reach everything else through `struct redis_ops`, which the hub fills in one place (and the unit
 * tests with a small fake). Nothing here blocks: a reply that must wait (for the disk, for another shard) is
 * written at once and held back by the hub.
 */
#ifndef MILLRACE_REDIS_CLIENT_H
#define MILLRACE_REDIS_CLIENT_H

#include "engine/base/bytes.h"
#include "engine/redis/cache.h"
#include "ring/ring.h"

struct redis_env;

enum subscription_kind { SUB_CHANNEL, SUB_PATTERN, SUB_SHARD, SUB_KINDS };
enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP };

struct client {
	uint64_t id;               /* never reused, as CLIENT ID */
	unsigned resp;             /* 2 or 3 */
	bool authenticated;
	bool close_after_reply;    /* QUIT, a protocol error, CLIENT KILL of itself */
	enum reply_mode reply_mode;
	int db;                    /* SELECT */
	struct slice name;         /* CLIENT SETNAME; owned (malloc), empty at first */
	struct slice lib_name, lib_ver;
	int64_t created_ms, active_ms; /* wall clock */
	uint64_t commands;         /* so far */
	const char *last_command;  /* the table's name, static */
	unsigned subscriptions[SUB_KINDS]; /* kept by the hub */
	struct bytes *out;         /* where the reply goes; set by the hub before each call */
};

void client_init(struct client *client, uint64_t id, int64_t wall_ms, bool authenticated);
void client_finish(struct client *client);

/* What CLIENT LIST shows of one connection, gathered by the hub; slices live for the call. */
struct client_facts {
	const struct client *client; /* NULL for a connection that does not speak RESP */
	uint64_t id;
	struct slice address, local_address, full_name;
	const char *transport;       /* "resp", "line" */
	int64_t age_s, idle_s;
	size_t query_bytes, output_bytes, memory_bytes;
	uint64_t lag_bytes, lag_messages; /* behind its logs */
};

/* The upward table. Every function gets `hub` first. */
struct redis_ops {
	/* Publish; `*receivers` counts the connections that get it. errors: -E_NOT_ALLOWED with `*why`, -E_TOO_LONG;
	 * -E_IO, -E_NOSPACE, …: the store cannot take it and appendfsync is `always` (-MISCONF to the client). */
	int (*publish)(void *hub, struct client *client, bool shard, struct slice channel,
		       struct slice payload, int64_t *receivers, const char **why);
	/* Subscribe and unsubscribe change client->subscriptions; return whether anything changed; -E_FULL. */
	int (*subscribe)(void *hub, struct client *client, enum subscription_kind kind,
			 struct slice name);
	int (*unsubscribe)(void *hub, struct client *client, enum subscription_kind kind,
			   struct slice name);
	/* Every name that the client has of that kind; it may be unsubscribed within the call. */
	void (*subscriptions)(void *hub, struct client *client, enum subscription_kind kind,
			      void (*each)(void *context, struct slice name), void *context);
	/* PUBSUB: active channels that match the glob (empty: all), subscribers of one, number of patterns. */
	void (*channels)(void *hub, bool shard, struct slice glob,
			 void (*each)(void *context, struct slice channel), void *context);
	int64_t (*channel_subscribers)(void *hub, bool shard, struct slice channel);
	int64_t (*patterns)(void *hub);
	/* Connections. kill: at once, or after its reply when it is the asking one; false: no such id. */
	void (*clients)(void *hub, void (*each)(void *context, const struct client_facts *facts),
			void *context);
	bool (*kill)(void *hub, struct client *asking, uint64_t id);
	/* The directive table. set: -E_UNKNOWN, -E_RANGE, -E_SYNTAX, -E_NOT_ALLOWED with a sentence in `why`. */
	void (*config_get)(void *hub, struct slice glob,
			   void (*each)(void *context, struct slice name, struct slice value),
			   void *context);
	int (*config_set)(void *hub, struct slice name, struct slice value, char *why, size_t why_size);
	/* True where the password is right, compared in constant time; user is "default" or empty. */
	bool (*password_ok)(void *hub, struct slice user, struct slice password);
	bool (*password_set)(void *hub);
	/* One INFO section's facts, lines "name:value\r\n" appended; false: no such section. */
	bool (*info)(void *hub, struct slice section, struct bytes *out);
	/* The name of a client changed (SETNAME): the hub refreshes what it derived from it. */
	void (*renamed)(void *hub, struct client *client);
};

struct redis_env {
	const struct redis_ops *ops;
	void *hub;
	struct cache *cache;
	struct instant now;
	unsigned databases;      /* SELECT's limit */
	const char *run_id;      /* 40 hex digits */
	const char *version;     /* of millrace */
};

#endif
