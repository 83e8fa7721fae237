/* The verbs on a key's time to live.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_EXPIRY_H
#define MILLRACE_REDIS_EXPIRY_H

#include "engine/redis/call.h"

void expiry_expire(struct call *call);
void expiry_pexpire(struct call *call);
void expiry_expireat(struct call *call);
void expiry_pexpireat(struct call *call);
void expiry_ttl(struct call *call);
void expiry_pttl(struct call *call);
void expiry_expiretime(struct call *call);
void expiry_pexpiretime(struct call *call);
void expiry_persist(struct call *call);

/* The time in argument `i`, in seconds or milliseconds, from now or absolute, as wall-clock ms.
 * False: not a time above 0 that fits, and the client has been told. For SET, GETEX and SETEX. */
bool expiry_argument(
	struct call *call, unsigned i, bool seconds, bool absolute, int64_t *expiry_ms);

#endif
