/* The two clocks of a shard, as ring.h hands them on. Any thread. */
#ifndef MILLRACE_RING_CLOCK_H
#define MILLRACE_RING_CLOCK_H

#include "ring/ring.h"

/* CLOCK_MONOTONIC in nanoseconds; about 25 ns, no system call. */
uint64_t clock_ns(void);

/* Both clocks. The wall clock is read anew, so that a step of it is seen at once. */
struct instant clock_read(void);

#endif
