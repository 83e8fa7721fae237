/* The verbs on keys, whatever their value: delete, rename, copy, list, describe.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_KEYS_H
#define MILLRACE_REDIS_KEYS_H

#include "engine/redis/call.h"

void keys_del(struct call *call);
void keys_exists(struct call *call);
void keys_touch(struct call *call);
void keys_type(struct call *call);
void keys_rename(struct call *call);
void keys_renamenx(struct call *call);
void keys_copy(struct call *call);
void keys_move(struct call *call);
void keys_keys(struct call *call);
void keys_scan(struct call *call);
void keys_randomkey(struct call *call);
void keys_object_encoding(struct call *call);
void keys_object_freq(struct call *call);
void keys_object_help(struct call *call);
void keys_object_idletime(struct call *call);
void keys_object_refcount(struct call *call);

#endif
