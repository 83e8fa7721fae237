/* The verbs of publishing and subscribing.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_PUBSUB_H
#define MILLRACE_REDIS_PUBSUB_H

#include "engine/redis/call.h"

void pubsub_publish(struct call *call);
void pubsub_subscribe(struct call *call);
void pubsub_unsubscribe(struct call *call);
void pubsub_psubscribe(struct call *call);
void pubsub_punsubscribe(struct call *call);
void pubsub_spublish(struct call *call);
void pubsub_ssubscribe(struct call *call);
void pubsub_sunsubscribe(struct call *call);
void pubsub_channels(struct call *call);
void pubsub_help(struct call *call);
void pubsub_numpat(struct call *call);
void pubsub_numsub(struct call *call);
void pubsub_shardchannels(struct call *call);
void pubsub_shardnumsub(struct call *call);

/* End all subscriptions of a client without telling it, as RESET does. */
void pubsub_unsubscribe_all(const struct redis_env *env, struct client *client);

#endif
