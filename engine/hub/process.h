/* Background processes: every run of a handler belongs to a named one, which keeps its accounts.
 *
 * Names are those of Synapse's own metrics, `replication-RDATA-events`, so that an operator finds
 * in the hub what he knows from there. Plain data without a clock or a lock: one `struct processes`
 * per shard; times come in as arguments. A handler that fails is counted here and nowhere stops
 * anything.
 *
 *     process_begin ──▶ [in flight] ──▶ process_end
 *                          └─ process_waited: part of it went to the store
 */
#ifndef MILLRACE_HUB_PROCESS_H
#define MILLRACE_HUB_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum { PROCESS_NAME_MAX = 120, PROCESS_SAMPLE = 16 };

struct processes;

/* Counters since the start; `in_flight` is now. */
struct process_account {
	uint64_t started, finished, failed;
	uint64_t cpu_ns;        /* an estimate: one run of PROCESS_SAMPLE is timed */
	uint64_t store_waits;   /* runs that waited for the store */
	uint64_t store_wait_ns; /* and for how long in all */
};

/* Lives as long as its `struct processes`: look it up once where the name is fixed. */
struct process;

/* units: `names_max` different names; runs under any further name go to "other".
 * owner: processes_destroy(NULL) is fine. */
struct processes *processes_create(unsigned names_max);
void processes_destroy(struct processes *processes);

/* The process of that name, made at its first mention; a name longer than PROCESS_NAME_MAX is cut.
 * Never NULL. */
struct process *process_named(struct processes *processes, struct slice name);
struct slice process_name(const struct process *process);

/* A run begins. True: time this one, and tell process_end() how long it took. The first run of a
 * name is timed. */
bool process_begin(struct process *process);

/* A run is over. units: `cpu_ns` is counted only for a run that is to be timed; else pass 0. */
void process_end(struct process *process, bool failed, uint64_t cpu_ns);

/* A run has waited for the store. */
void process_waited(struct process *process, uint64_t wait_ns);

/* Runs that have begun and not ended. */
uint64_t process_in_flight(const struct process *process);
struct process_account process_account(const struct process *process);

/* Every process, in the order of first mention; "other" is among them once it was needed. */
void processes_each(const struct processes *processes,
	void (*each)(void *context, const struct process *process), void *context);

/* Add another's accounts to ours by name: for a page over all shards. */
void processes_add(struct processes *sum, const struct processes *part);

#endif
