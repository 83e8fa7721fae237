/* The verbs that read and write whole values and parts of them.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_STRINGS_H
#define MILLRACE_REDIS_STRINGS_H

#include "engine/redis/call.h"

void strings_get(struct call *call);
void strings_set(struct call *call);
void strings_mget(struct call *call);
void strings_mset(struct call *call);
void strings_msetnx(struct call *call);
void strings_setnx(struct call *call);
void strings_setex(struct call *call);
void strings_psetex(struct call *call);
void strings_getex(struct call *call);
void strings_getdel(struct call *call);
void strings_getset(struct call *call);
void strings_strlen(struct call *call);
void strings_append(struct call *call);
void strings_getrange(struct call *call);
void strings_setrange(struct call *call);

#endif
