/* What the ring asks of io_uring. One thread; see proactor.h. */
#ifndef MILLRACE_RING_REQUEST_H
#define MILLRACE_RING_REQUEST_H

#include "ring/proactor.h"

/* What a request of that kind for that slot, or listener, is called. */
struct label request_label(struct ring *ring, const struct slot *slot, enum uring_what what);
struct label request_listener_label(struct ring *ring, const struct listener *listener);

/* What the slot wants, or what it has, has changed: request_all() will look at it. */
void request_work(struct ring *ring, struct proactor *p, struct slot *slot);

/* A completion has come: lists the slot as over, if it is ending and this was the last. */
void request_over(struct ring *ring, struct proactor *p, struct slot *slot);

/* A request for the slot is on its way. */
void request_count(struct proactor *p, struct slot *slot);

/* Send what send_begin() wrote down: now if this turn's share allows, else later. */
void request_send(struct ring *ring, struct slot *slot);
void request_send_later(struct ring *ring, struct proactor *p, struct slot *slot);

/* The steps of a turn before it enters the kernel, in this order. */
void request_buffers(struct ring *ring, struct proactor *p);       /* give them back */
void request_waiting_sends(struct ring *ring, struct proactor *p); /* this turn's share */
void request_ends(struct ring *ring, struct proactor *p);          /* look for unheard ends */
void request_all(struct ring *ring, struct proactor *p);           /* for all listed slots */
void request_accepts(struct ring *ring, struct proactor *p);
void request_wake_up(struct ring *ring, struct proactor *p);

#endif
