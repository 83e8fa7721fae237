/* What stands behind ring.h: a ring's common part, and the table of functions of a backend.
 *
 * ring.c checks names and arguments and keeps what every kernel needs (slots, listeners, the wake-up's
 * eventfd, counters); proactor.c and epoll.c do the rest. Nobody else includes this.
 */
#ifndef MILLRACE_RING_BACKEND_H
#define MILLRACE_RING_BACKEND_H

#include <stdatomic.h>

#include "ring/listen.h"
#include "ring/pieces.h"
#include "ring/ring.h"
#include "ring/slots.h"

/* All on the ring's own thread. A slot given is in use, and in a state that fits the call. */
struct backend {
	const char *name;
	bool nonblocking; /* what its sockets are */

	/* ring->kernel is made and unmade; ring.c has made the rest before and unmakes it after. After close()
	 * the kernel touches no memory and no socket; the descriptors of slots are still open. */
	int (*open)(struct ring *ring);
	void (*close)(struct ring *ring);

	void (*listen)(struct ring *ring, struct listener *listener);
	void (*unlisten)(struct ring *ring, struct listener *listener); /* it is stopped already */

	/* errors: nothing was started. */
	int (*connect)(struct ring *ring, struct slot *slot, const struct address *address,
		uint64_t timeout_ns);

	/* slot->paused, or that the slot is new or SLOT_RELEASING, has changed what should be received. */
	void (*receive)(struct ring *ring, struct slot *slot);

	/* send_begin() has been called. */
	void (*send)(struct ring *ring, struct slot *slot);

	/* The slot is SLOT_CLOSING. */
	void (*shut)(struct ring *ring, struct slot *slot, bool reset);

	/* Contract of ring_wait(), also for ring->now and ring->stats. */
	int (*wait)(struct ring *ring, uint64_t timeout_ns, struct ring_event *events,
		unsigned events_max);

	/* Both rings are of this backend. NULL: it has nothing better than ring_wake(). */
	void (*bell)(struct ring *self, struct ring *target);
};

struct ring {
	const struct backend *backend;
	void *kernel; /* the backend's own */
	struct ring_options options;
	struct ring_stats stats;
	struct instant now;
	struct slots slots;
	struct listeners listeners;
	struct pieces_pool pool;
	int wake_fd;
	/* Somebody wrote to wake_fd and the owner has not seen it yet. The only field that other threads
	 * write; kernel, backend and wake_fd they may read, once ring_create() has returned. */
	atomic_bool woken;
};

/* The wake-up was seen: whoever calls ring_wake() from now on is heard again. */
void ring_wake_seen(struct ring *ring);

#endif
