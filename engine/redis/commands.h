/* Redis' verbs: one table (name, arity, flags, function), one way in.
 */
#ifndef MILLRACE_REDIS_COMMANDS_H
#define MILLRACE_REDIS_COMMANDS_H

#include "engine/protocol/resp.h"
#include "engine/redis/client.h"

/* Run one request of a client; its reply is appended to client->out (nothing, when CLIENT REPLY says so). Every request
 * gets exactly one reply, except SUBSCRIBE and its kin (one for each name) and what is suppressed. */
void redis_run(const struct redis_env *env, struct client *client,
	       const struct resp_request *request);

/* How often each verb ran, for INFO and the metrics: calls `each` for verbs with calls > 0. The counts are in
 * `struct redis_counts`, one a shard, indexed by the table's order. */
struct redis_counts;
unsigned redis_verbs(void);               /* how many verbs the table has */
const char *redis_verb_name(unsigned verb);

#endif
