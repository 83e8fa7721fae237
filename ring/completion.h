/* What io_uring answers, made into events. One thread; see proactor.h. */
#ifndef MILLRACE_RING_COMPLETION_H
#define MILLRACE_RING_COMPLETION_H

#include "ring/proactor.h"

/* Where wait() puts its events. */
struct reap {
	struct ring_event *events;
	unsigned count, max;
	bool woken; /* RING_WOKEN is among them */
};

/* One completion: changes the state of what it belongs to, and adds at most one event. */
void completion_take(struct ring *ring, const struct uring_completion *done, struct reap *reap);

/* Ends the slots that are over, with an event each, while there is room. */
void completion_end_slots(struct ring *ring, struct proactor *p, struct reap *reap);

/* Both, for all that has come, while there is room. */
void completion_reap(struct ring *ring, struct proactor *p, struct reap *reap);

#endif
