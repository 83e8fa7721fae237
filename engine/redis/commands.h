/* Redis' verbs: one table (name, arity, flags, function), one way in.
 */
#ifndef MILLRACE_REDIS_COMMANDS_H
#define MILLRACE_REDIS_COMMANDS_H

#include "engine/protocol/resp.h"
#include "engine/redis/client.h"

/* The Redis version whose answers these verbs give; what HELLO and INFO say. */
#define REDIS_VERSION_LIKE "7.0.15"

/* What one shard's verbs keep between calls: the index of the table, and the counts. */
struct redis_verbs;
struct redis_verbs *redis_verbs_create(void);
void redis_verbs_destroy(struct redis_verbs *verbs); /* NULL is fine */

/* Run one request of a client (argc > 0); its reply is appended to client->out (nothing, when
 * CLIENT REPLY says so). Every request gets exactly one reply, except SUBSCRIBE and its kin (one
 * for each name), what is suppressed, and PUBLISH whose reply the hub writes (-E_AGAIN). */
void redis_run(
	const struct redis_env *env, struct client *client, const struct resp_request *request);

/* A sentence of the parser (or of the hub) as an error reply "-ERR sentence"; counted. */
void redis_refuse(const struct redis_env *env, struct client *client, const char *sentence);

/* How often a verb ran since the start or CONFIG RESETSTAT. Rejected: not run at all (arity,
 * NOAUTH, …); failed: answered with an error. */
struct redis_counts {
	uint64_t calls, rejected, failed;
};
unsigned redis_verb_count(void);
const char *redis_verb_name(unsigned verb); /* "get", "client|list" */
const struct redis_counts *redis_verb_counts(const struct redis_verbs *verbs, unsigned verb);

/* Calls `each` for every first word of an error reply so far ("ERR", "NOAUTH", …). */
void redis_errors(const struct redis_verbs *verbs,
	void (*each)(void *context, const char *prefix, uint64_t count), void *context);
uint64_t redis_errors_total(const struct redis_verbs *verbs);
uint64_t redis_calls_total(const struct redis_verbs *verbs);
void redis_counts_reset(struct redis_verbs *verbs);

/* notify-keyspace-events, in Redis' letters ("KEA", "Kx$"; "" is off).
 * errors: -E_SYNTAX, nothing changed. `out` of the second: at least 16 bytes. */
int redis_set_notify(struct redis_verbs *verbs, struct slice letters);
const char *redis_notify(const struct redis_verbs *verbs, char *out);

/* Remove up to `most` keys whose time has come, and tell those who subscribed to keyspace
 * notifications. What the hub calls from its timer. Returns the wall-clock ms of the next expiry,
 * INT64_MAX if none. */
int64_t redis_expire(const struct redis_env *env, unsigned most);

#endif
