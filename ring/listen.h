/* Listeners: the sockets that others come to. One thread. */
#ifndef MILLRACE_RING_LISTEN_H
#define MILLRACE_RING_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ring/address.h"

enum { LISTENERS_MAX = 64, LISTENER_RETRY_MS = 100 };

enum listener_state {
	LISTENER_NONE,   /* a free place */
	LISTENER_OPEN,   /* accepting, or resting until retry_ns for want of descriptors */
	LISTENER_CLOSING /* nothing is accepted any more; its accept is in flight until it says so */
};

struct listener {
	enum listener_state state;
	uint32_t tag, generation;
	int fd;
	bool armed;        /* the kernel accepts for us */
	uint64_t retry_ns; /* not armed: when to try again; 0: accepting has not failed of late */
	struct address address;
	dev_t dev; /* the socket file that is ours, and nobody else's that took its place */
	ino_t ino;
};

struct listeners {
	struct listener at[LISTENERS_MAX];
	unsigned open; /* places below this may be in use */
};

/* Make, bind and listen; contract of ring_listen(), plus -E_FULL when no place is free.
 * out: `bound` may be NULL, else RING_ADDRESS_MAX bytes. */
int listener_open(struct listeners *listeners, const char *text, unsigned mode, bool nonblocking,
	struct listener **out, char *bound);

/* Refuse newcomers from now on: shuts the socket down and unlinks its file, if that is still ours. */
void listener_stop(struct listener *listener);

/* Give the place free; closes the descriptor. Nothing of it may be in flight. */
void listener_drop(struct listener *listener);

/* Accepting failed with this errno: rest for LISTENER_RETRY_MS where trying at once would only fail again.
 * Returns whether it rests. */
bool listener_rest(struct listener *listener, int errnum, uint64_t now_ns);

/* The shorter of timeout_ns and the time until the first listener that is not armed may be. */
uint64_t listeners_timeout(const struct listeners *listeners, uint64_t now_ns, uint64_t timeout_ns);

/* Whether this one is open, not armed, and its rest is over. */
bool listener_wants(const struct listener *listener, uint64_t now_ns);

#endif
