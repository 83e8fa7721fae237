/* A send's pieces, where it has more than one: the array that sendmsg(2) reads. One thread. */
#ifndef MILLRACE_RING_PIECES_H
#define MILLRACE_RING_PIECES_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "ring/slots.h"

struct pieces {
	struct msghdr message; /* msg_iov: the first piece that is not wholly sent */
	struct pieces *next;   /* of a pool's shelf */
	unsigned room;
	struct iovec piece[];
};

/* Arrays that were used and will be again: a few stay, so that the steady state allocates nothing. */
struct pieces_pool {
	struct {
		struct pieces *first;
		unsigned count;
	} shelf[2]; /* small and large ones */
};

void pieces_pool_finish(struct pieces_pool *pool);

/* Write down what is to be sent, replacing nothing: the slot has no send. `count` in 1..RING_IOV_MAX, at least
 * one byte in all. */
void send_begin(
	struct pieces_pool *pool, struct slot *slot, const struct iovec *pieces, unsigned count);

/* `sent` more bytes have gone; returns whether something is left. */
bool send_advance(struct slot *slot, size_t sent);

/* Forget the send, whatever is left of it. Returns the bytes that went. */
size_t send_end(struct pieces_pool *pool, struct slot *slot);

#endif
