/* The verbs on the server as a whole: CONFIG, INFO, FLUSHALL and the like.
 * Each function is a verb of the table: it runs one call and writes its reply.
 */
#ifndef MILLRACE_REDIS_SERVER_H
#define MILLRACE_REDIS_SERVER_H

#include "engine/redis/call.h"

void server_config_get(struct call *call);
void server_config_help(struct call *call);
void server_config_resetstat(struct call *call);
void server_config_rewrite(struct call *call);
void server_config_set(struct call *call);
void server_dbsize(struct call *call);
void server_flushall(struct call *call);
void server_flushdb(struct call *call);
void server_info(struct call *call);
void server_time(struct call *call);
void server_role(struct call *call);
void server_debug(struct call *call);
void server_memory_doctor(struct call *call);
void server_memory_help(struct call *call);
void server_memory_purge(struct call *call);
void server_memory_usage(struct call *call);
void server_slowlog_get(struct call *call);
void server_slowlog_help(struct call *call);
void server_slowlog_len(struct call *call);
void server_slowlog_reset(struct call *call);
void server_latency_help(struct call *call);
void server_latency_history(struct call *call);
void server_latency_latest(struct call *call);
void server_latency_reset(struct call *call);
void server_function_flush(struct call *call);
void server_function_help(struct call *call);
void server_function_list(struct call *call);
void server_cluster(struct call *call);

#endif
