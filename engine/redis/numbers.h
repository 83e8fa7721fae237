/* The verbs that take a value for a number, or for bits.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_NUMBERS_H
#define MILLRACE_REDIS_NUMBERS_H

#include "engine/redis/call.h"

void numbers_incr(struct call *call);
void numbers_decr(struct call *call);
void numbers_incrby(struct call *call);
void numbers_decrby(struct call *call);
void numbers_incrbyfloat(struct call *call);
void numbers_getbit(struct call *call);
void numbers_setbit(struct call *call);

#endif
