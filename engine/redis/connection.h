/* The verbs of a connection's own state: who, which protocol, which database.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_CONNECTION_H
#define MILLRACE_REDIS_CONNECTION_H

#include "engine/redis/call.h"

void connection_auth(struct call *call);
void connection_hello(struct call *call);
void connection_ping(struct call *call);
void connection_echo(struct call *call);
void connection_select(struct call *call);
void connection_quit(struct call *call);
void connection_reset(struct call *call);

/* Name a client; false: not a name, and the client has been told. */
bool connection_set_name(struct call *call, struct slice name);

#endif
