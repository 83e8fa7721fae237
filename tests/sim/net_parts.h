/* The insides of the simulated network, for its two halves: net.c (the clients' ends) and sim_ring.c (the hub's). */
#ifndef MILLRACE_TESTS_SIM_NET_PARTS_H
#define MILLRACE_TESTS_SIM_NET_PARTS_H

#include "tests/sim/net.h"

enum { TAGS = 4, NS_MS = 1000000, NET_NEVER_SENT = 0 };

/* Bytes on their way, in order. */
struct piece {
	struct piece *next;
	uint64_t at_ns; /* arrives */
	size_t len, taken;
	char data[];
};

struct pipe {
	struct piece *first, *last;
	size_t bytes;      /* in all pieces, not taken */
	uint64_t last_ns;  /* when the last of it arrives */
	uint64_t ended_ns; /* when the end arrives; UINT64_MAX: open */
};

enum hub_end {
	HUB_NONE,    /* not accepted yet */
	HUB_OPEN,    /* has a slot */
	HUB_CLOSING, /* ring_close() was called; RING_CLOSED will come */
	HUB_GONE
};

struct send {
	bool active;
	struct iovec pieces[RING_IOV_MAX];
	unsigned count, piece;
	size_t offset, total, left;
	uint64_t checksum;    /* of the whole, when it was handed over */
	uint64_t progress_ns; /* the next piece may go */
	uint64_t done_ns;     /* all gone: RING_SENT comes then */
};

struct link {
	struct link *next;
	struct net *net;
	struct weather weather;
	unsigned number; /* for people */
	uint32_t tag;
	uint64_t dialed_ns; /* arrives at the listener */
	enum hub_end hub;
	struct ring_socket socket;
	struct pipe in, out; /* to the hub, to the client */
	struct send send;
	bool paused, eof_told, refused, forgotten;
	unsigned after_pause; /* pieces that still arrive */
	uint64_t broken_ns;   /* the hub's end hears of a reset; UINT64_MAX: never */
	uint64_t torn_ns;     /* the client's end does */
	uint64_t closed_ns;   /* RING_CLOSED comes */
};

struct net {
	struct sim_random random;
	uint64_t now_ns, horizon_ns, offset_ms;
	struct link *links;
	unsigned links_made;
	void (*tick)(void *context, uint64_t now_ns);
	uint64_t (*next_ns)(void *context);
	void *context;
	const char *breach;
	struct ring *ring; /* the one that is alive */
};

struct net *net_current(void);
void net_report(struct net *net, const char *breach);

uint64_t net_delay(struct net *net, const struct weather *weather);
void pipe_push(struct net *net, struct pipe *pipe, const struct weather *weather, const char *data,
	size_t len);
size_t pipe_take(struct pipe *pipe, uint64_t now_ns, char *out, size_t max);
size_t pipe_arrived(const struct pipe *pipe, uint64_t now_ns);
void pipe_drop(struct pipe *pipe);
/* Links that neither side knows any more are freed. */
void net_sweep(struct net *net);

#endif
