/* The simulated network and its clock.
 *
 * A link is one connection: a pipe in each direction, the hub's socket at one end (sim_ring.c, behind ring/ring.h), a scripted
 * client at the other (the functions below). Bytes take their time, in whole or in pieces; a link can be half-closed or
 * broken at any point. Time passes in ring_wait() alone, from event to event.
 */
#ifndef MILLRACE_TESTS_SIM_NET_H
#define MILLRACE_TESTS_SIM_NET_H

#include "engine/base/bytes.h"
#include "ring/ring.h"
#include "tests/sim/random.h"

struct net;
struct link;

/* The network that ring_create() is given from now on. owner: outlives the ring. */
struct net *net_create(uint64_t seed);
void net_destroy(struct net *net); /* after the ring's end */

uint64_t net_now_ns(const struct net *net);
int64_t net_wall_ms(const struct net *net);
/* ring_wait() does not sleep past this. */
void net_set_horizon(struct net *net, uint64_t ns);
/* Something else that happens by itself: the disk. `tick` is called whenever time has passed. */
void net_set_ticker(struct net *net, void (*tick)(void *context, uint64_t now_ns),
	uint64_t (*next_ns)(void *context), void *context);
/* Set by a breach of ring.h's contract by its caller; a sentence, NULL: none. */
const char *net_breach(const struct net *net);
struct ring *net_ring(struct net *net);

struct weather {
	uint64_t delay_ns;  /* of each piece, at most */
	unsigned fragments; /* one in so many pieces arrives cut into bits; 0: none */
	unsigned stalls;    /* one in so many takes seconds; 0: none */
	size_t window;      /* bytes on their way to the client and not read, at most */
};

/* From now on all goes well: no stalls, no bits. What is under way is as late as it is. */
void net_calm(struct net *net);

enum link_state {
	LINK_DIALING,
	LINK_OPEN,
	LINK_REFUSED, /* nobody listens, or the hub had no slot */
	LINK_ENDED,   /* the hub closed; everything before it was read */
	LINK_BROKEN   /* reset by either side */
};

/* The client's end. */
struct link *net_dial(struct net *net, uint32_t tag, const struct weather *weather);
enum link_state link_state(struct link *link);
void link_write(struct link *link, struct slice bytes);
size_t link_readable(const struct link *link);
size_t link_read(struct link *link, char *out, size_t max);
void link_half_close(struct link *link); /* no more bytes will come from the client */
void link_break(struct link *link);      /* RST */
/* The client lets go; a link that is still open breaks. */
void link_forget(struct link *link);
/* When the client has something to look at; UINT64_MAX: not by itself. */
uint64_t link_next_ns(struct link *link);

#endif
