/* The upward table of the verbs, as the hub fills it; its `hub` is a struct shard. */
#ifndef MILLRACE_HUB_REDIS_OPS_H
#define MILLRACE_HUB_REDIS_OPS_H

#include "engine/redis/client.h"

const struct redis_ops *hub_redis_ops(void);

#endif
