/* The backend on io_uring, and what its three files share: proactor.c takes the turns, request.c asks the
 * kernel, completion.c hears its answers. One thread.
 */
#ifndef MILLRACE_RING_PROACTOR_H
#define MILLRACE_RING_PROACTOR_H

#include "ring/backend.h"
#include "ring/buffers.h"
#include "ring/suspects.h"
#include "ring/uring.h"

/* ring->kernel. */
struct proactor {
	struct uring *uring;
	struct buffers buffers;
	struct suspects suspects;
	struct slot_list sends; /* sends beyond this turn's share */
	struct slot_list work;  /* request_all() has to look at them */
	struct slot_list over;  /* nothing in flight: to be dropped */
	unsigned sends_queued;  /* in the submission queue */
	unsigned in_flight;     /* of everything, listeners and the wake-up included */
	bool watched;           /* the wake-up is armed */
	bool draining;          /* ring_destroy(): nobody new comes in */
};

const struct backend *proactor_backend(void);

#endif
