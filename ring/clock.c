/* Reading clocks: the one place outside the simulator where time comes from.
 *
 * Called by ring.c and the backends, once per turn. Both clocks come from the vDSO, without a system call. The
 * monotonic one is not CLOCK_MONOTONIC_COARSE, whose tick of up to 4 ms is longer than most turns.
 */
#include "ring/clock.h"

#include <assert.h>
#include <time.h>

uint64_t clock_ns(void)
{
	struct timespec now;
	int failed = clock_gettime(CLOCK_MONOTONIC, &now);
	assert(failed == 0);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct instant clock_read(void)
{
	struct timespec wall;
	int failed = clock_gettime(CLOCK_REALTIME, &wall);
	assert(failed == 0);
	return (struct instant){
		.mono_ns = clock_ns(),
		.wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000,
	};
}
