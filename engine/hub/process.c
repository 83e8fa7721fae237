/* Background processes and their accounts.
 *
 * Called by whatever runs handlers (the hub's shards), read by the page of metrics. The number of
 * names is bounded, as peers choose the streams' names that are part of them; what is beyond goes
 * to one account, "other", so that sums stay right. Timing each run would cost as much as a short
 * handler; so one run of PROCESS_SAMPLE is timed and counted so many times.
 */
#include "engine/hub/process.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/table.h"

struct process {
	UT_hash_handle hh;
	struct process_account account;
	unsigned name_len;
	char name[PROCESS_NAME_MAX];
};

struct processes {
	struct process *table;
	unsigned names_max;
};

static const struct slice other = {"other", 5};

struct processes *processes_create(unsigned names_max)
{
	assert(names_max > 0);
	struct processes *processes = mem_zalloc(sizeof(*processes));
	processes->names_max = names_max;
	return processes;
}

void processes_destroy(struct processes *processes)
{
	if (processes == NULL) {
		return;
	}
	struct process *process;
	struct process *next;
	HASH_ITER (hh, processes->table, process, next) {
		HASH_DEL(processes->table, process);
		free(process);
	}
	free(processes);
}

static struct process *make(struct processes *processes, struct slice name)
{
	struct process *process = mem_zalloc(sizeof(*process));
	memcpy(process->name, name.data, name.len);
	process->name_len = (unsigned)name.len;
	HASH_ADD(hh, processes->table, name, process->name_len, process);
	return process;
}

static struct process *find(struct processes *processes, struct slice name)
{
	struct process *process = NULL;
	HASH_FIND(hh, processes->table, name.data, name.len, process);
	return process;
}

struct process *process_named(struct processes *processes, struct slice name)
{
	if (name.len > PROCESS_NAME_MAX) {
		name.len = PROCESS_NAME_MAX;
	}
	struct process *process = name.len > 0 ? find(processes, name) : NULL;
	if (process != NULL) {
		return process;
	}
	if (name.len > 0 && HASH_COUNT(processes->table) < processes->names_max) {
		return make(processes, name);
	}
	process = find(processes, other);
	return process != NULL ? process : make(processes, other);
}

struct slice process_name(const struct process *process)
{
	return (struct slice){process->name, process->name_len};
}

bool process_begin(struct process *process)
{
	bool timed = process->account.started % PROCESS_SAMPLE == 0;
	process->account.started++;
	return timed;
}

void process_end(struct process *process, bool failed, uint64_t cpu_ns)
{
	assert(process->account.finished < process->account.started);
	process->account.finished++;
	process->account.failed += failed ? 1 : 0;
	process->account.cpu_ns += cpu_ns * PROCESS_SAMPLE;
}

void process_waited(struct process *process, uint64_t wait_ns)
{
	process->account.store_waits++;
	process->account.store_wait_ns += wait_ns;
}

uint64_t process_in_flight(const struct process *process)
{
	return process->account.started - process->account.finished;
}

struct process_account process_account(const struct process *process)
{
	return process->account;
}

void processes_each(const struct processes *processes,
	void (*each)(void *context, const struct process *process), void *context)
{
	for (const struct process *p = processes->table; p != NULL; p = p->hh.next) {
		each(context, p);
	}
}

void processes_add(struct processes *sum, const struct processes *part)
{
	for (const struct process *p = part->table; p != NULL; p = p->hh.next) {
		struct process_account *to = &process_named(sum, process_name(p))->account;
		to->started += p->account.started;
		to->finished += p->account.finished;
		to->failed += p->account.failed;
		to->cpu_ns += p->account.cpu_ns;
		to->store_waits += p->account.store_waits;
		to->store_wait_ns += p->account.store_wait_ns;
	}
}
