/* COMMAND: what the verbs say about themselves.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_INTROSPECT_H
#define MILLRACE_REDIS_INTROSPECT_H

#include "engine/redis/call.h"

void introspect_all(struct call *call);
void introspect_count(struct call *call);
void introspect_docs(struct call *call);
void introspect_getkeys(struct call *call);
void introspect_getkeysandflags(struct call *call);
void introspect_help(struct call *call);
void introspect_info(struct call *call);
void introspect_list(struct call *call);

#endif
