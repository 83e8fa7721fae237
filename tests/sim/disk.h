/* The simulated disk behind store/store.h: what was written, what would survive, and when it is full.
 *
 * A batch goes from the hub's memory to "written" (the kernel has it: kill -9 loses nothing of it) to "synced" (a power
 * loss loses nothing of it), in order, each step late. One disk outlives many hubs.
 */
#ifndef MILLRACE_TESTS_SIM_DISK_H
#define MILLRACE_TESTS_SIM_DISK_H

#include "store/store.h"
#include "tests/sim/random.h"

struct disk;

/* What store_open() finds from now on. */
struct disk *disk_create(uint64_t seed);
void disk_destroy(struct disk *disk); /* after the store's end */

/* Writes fail, until it is said otherwise. */
void disk_set_full(struct disk *disk, bool full);
/* How long a step takes, at most. */
void disk_set_delay(struct disk *disk, uint64_t delay_ns);

void disk_tick(void *disk, uint64_t now_ns);
uint64_t disk_next_ns(void *disk);

enum crash {
	CRASH_NONE,  /* store_close() writes and syncs everything that was submitted */
	CRASH_KILL,  /* what was written survives */
	CRASH_POWER, /* what was synced survives, and perhaps some of what was only written */
};
/* The hub dies like this; then store_close() only frees. Before it. */
void disk_crash(struct disk *disk, enum crash crash);

/* What is stored, as store_load() would tell it. */
int disk_tell(const struct disk *disk, const struct store_loader *loader);

#endif
