/* MULTI, EXEC, DISCARD, WATCH, UNWATCH, and the queue between them.
 */
#ifndef MILLRACE_REDIS_MULTI_H
#define MILLRACE_REDIS_MULTI_H

#include "engine/redis/call.h"

void multi_multi(struct call *call);
void multi_exec(struct call *call);
void multi_discard(struct call *call);
void multi_watch(struct call *call);
void multi_unwatch(struct call *call);

/* Between MULTI and EXEC? */
bool multi_is_open(const struct client *client);
/* Keep the call for EXEC, and answer QUEUED (or an error above multi_bytes_max). Its arguments are
 * copied. */
void multi_queue(struct call *call);
/* A verb was refused while queueing: EXEC will refuse the whole. Without MULTI nothing happens. */
void multi_spoil(struct client *client);
/* Forget queue and watches, and free them. */
void multi_forget(struct client *client, struct cache *cache);
/* The flags of all verbs in the queue, or'ed. */
unsigned multi_flags(const struct client *client);
/* For CLIENT LIST: verbs queued, -1 outside MULTI; bytes held. */
int multi_count(const struct client *client);
size_t multi_bytes(const struct client *client);

#endif
