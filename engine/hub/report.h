/* What the hub tells about itself: INFO's facts, the page for Prometheus, health.
 *
 * Everything is read on the shard's own thread; nothing here changes anything.
 */
#ifndef MILLRACE_HUB_REPORT_H
#define MILLRACE_HUB_REPORT_H

#include "engine/hub/hub.h"
#include "engine/redis/info.h"

void report_facts(const struct shard *shard, struct redis_facts *out);

/* INFO's own sections ("millrace", "tenants"); "" is all of them. False: no such section. */
bool report_info(const struct shard *shard, struct slice section, struct bytes *out);

void report_metrics(struct shard *shard, struct bytes *out);

/* Alive: the shard turns. Ready: listening, and the store takes what it is given. errors: -E_AGAIN, -E_IO, ... */
int report_health(struct hub *hub, struct bytes *out);
int report_ready(struct hub *hub, struct bytes *out);

#endif
