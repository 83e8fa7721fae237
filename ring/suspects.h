/* Sockets whose end the kernel may have kept to itself. io_uring only; one thread. */
#ifndef MILLRACE_RING_SUSPECTS_H
#define MILLRACE_RING_SUSPECTS_H

#include <stdint.h>

#include "ring/slots.h"

enum { SUSPECTS_PERIOD_MS = 1000, SUSPECTS_AT_ONCE = 64 };

struct suspects {
	struct ring_socket *at;
	unsigned count, room;
	uint64_t check_ns; /* with count > 0: when to look at them */
};

void suspects_finish(struct suspects *suspects);

/* This one has received something: to be looked at when the period is over. */
void suspects_add(struct suspects *suspects, struct ring_socket socket, uint64_t now_ns);

/* The shorter of timeout_ns and the time until the period is over. */
uint64_t suspects_timeout(const struct suspects *suspects, uint64_t now_ns, uint64_t timeout_ns);

/* Once the period is over: looks at up to SUSPECTS_AT_ONCE of them and writes those into `dead` (room for
 * as many) that are open and have come to their end, told or not. `*looked` counts all, 0: none are left. */
unsigned suspects_check(
	struct suspects *suspects, const struct slots *slots, struct slot **dead, unsigned *looked);

#endif
