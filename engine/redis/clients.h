/* CLIENT: looking at connections and managing them.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_CLIENTS_H
#define MILLRACE_REDIS_CLIENTS_H

#include "engine/redis/call.h"

void clients_caching(struct call *call);
void clients_getname(struct call *call);
void clients_getredir(struct call *call);
void clients_help(struct call *call);
void clients_id(struct call *call);
void clients_info(struct call *call);
void clients_kill(struct call *call);
void clients_list(struct call *call);
void clients_no_evict(struct call *call);
void clients_no_touch(struct call *call);
void clients_pause(struct call *call);
void clients_reply(struct call *call);
void clients_setinfo(struct call *call);
void clients_setname(struct call *call);
void clients_tracking(struct call *call);
void clients_trackinginfo(struct call *call);
void clients_unblock(struct call *call);
void clients_unpause(struct call *call);

#endif
