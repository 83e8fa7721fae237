/* A scripted client: dials, acts now and then, reads at its own speed, ends, and comes back.
 *
 * client.c has what all of them share. A kind is a table of functions; its own struct begins with `struct actor`.
 */
#ifndef MILLRACE_TESTS_SIM_ACTOR_H
#define MILLRACE_TESTS_SIM_ACTOR_H

#include "tests/sim/world.h"

struct actor_kind {
	const char *name;
	size_t size;
	uint32_t listener;
	void (*opened)(struct actor *client); /* dialing: it may write at once */
	void (*act)(struct actor
			*client); /* something of its script; act_ns is set anew by the caller */
	void (*finishing)(struct actor *client); /* in place of act() when the world is finishing */
	/* Bytes came: take what is complete from the front of client->in. */
	void (*received)(struct actor *client);
	void (*ended)(struct actor
			*client); /* the link is over; `client->link` is gone when this returns */
	void (*settled)(
		struct actor *client); /* nothing may be missing any more; the link is open */
	void (*destroy)(struct actor *client);
};

struct actor {
	const struct actor_kind *kind;
	struct world *world;
	unsigned number;     /* of the client, for its whole life */
	unsigned connection; /* serial of the link */
	struct link *link;   /* NULL: not connected */
	struct weather weather;
	uint64_t act_ns, read_ns;
	uint64_t act_every_ns;  /* at most */
	uint64_t read_every_ns; /* 0: as it comes; UINT64_MAX: never */
	size_t read_max;
	bool sturdy;  /* reads at once over a good link: nobody has a reason to end it */
	bool doomed;  /* it has done what ends a connection */
	bool refused; /* it was not let in */
	bool heard;   /* something came */
	bool ready;   /* the witness hears everything; the auditor has asked everything */
	struct bytes in;
};

struct actor *actor_create(struct world *world, const struct actor_kind *kind);
void actor_destroy(struct actor *client);

/* When it wants to be looked at. */
uint64_t actor_next_ns(struct actor *client);
void actor_poll(struct actor *client);
void actor_write(struct actor *client, struct slice bytes);
/* Let go of the link, in one way or another, and come back later. */
void actor_hang_up(struct actor *client);

struct sim_random *actor_random(struct actor *client);
uint64_t actor_now(const struct actor *client);

/* The kinds. */
const struct actor_kind *actor_witness(void); /* hears everything, at once */
const struct actor_kind *actor_audit(void);   /* asks for positions before anybody has spoken */
const struct actor_kind *actor_resp(void);    /* publishes and subscribes */
const struct actor_kind *actor_line(void);    /* a line worker */
const struct actor_kind *actor_hostile_resp(void); /* what no client should send */
const struct actor_kind *actor_hostile_line(void);
const struct actor_kind *actor_hog(void); /* asks for much and reads nothing */
#endif
