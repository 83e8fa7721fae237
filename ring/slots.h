/* The table of sockets: slots, their generations, and the lists that slots wait in.
 *
 * A slot is one cache line. The table is mapped at its full size and touched only as far as it was ever
 * used. One thread.
 */
#ifndef MILLRACE_RING_SLOTS_H
#define MILLRACE_RING_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/ring.h"

struct pieces;

#define SLOT_NONE UINT32_MAX

enum slot_state {
	SLOT_FREE,       /* nobody's; nothing in flight */
	SLOT_CONNECTING, /* a connect is in flight, and maybe its deadline */
	SLOT_OPEN,       /* connected; a receive and a send may be in flight */
	SLOT_FAILED,     /* connecting failed; nothing in flight, waits for ring_close() */
	SLOT_RELEASING,  /* the receive is being cancelled; no send */
	SLOT_CLOSING, /* shut down; anything may still be in flight, no event but RING_CLOSED will come */
	SLOT_STATES
};

/* Receiving and sending, as far as the kernel has them. */
enum slot_receiving {
	RECEIVE_OFF,
	RECEIVE_ARMED,   /* until further notice */
	RECEIVE_ONCE,    /* what is there, as the end is near */
	RECEIVE_STOPPING /* cancelled; its last completion is to come */
};
enum slot_sending {
	SEND_NONE,
	SEND_QUEUED, /* in a list of ours: the kernel has not seen it */
	SEND_FLYING  /* the kernel has it, or (epoll) has taken only a part */
};

/* A slot is in at most one list of each link. */
enum slot_link { LINK_WORK, LINK_SEND, SLOT_LINKS };

struct slot {
	_Alignas(64) uint32_t generation; /* never 0 */
	int fd;
	uint32_t next[SLOT_LINKS];
	uint8_t state, receiving, sending; /* of the enums above */
	uint8_t in_flight;                 /* requests whose last completion is to come */
	bool paused;                       /* the caller wants nothing received */
	bool ended;                        /* RING_EOF was told */
	bool listed;                       /* in a list of LINK_WORK */
	uint8_t special;                   /* the backend's own: see there */
	bool suspect;                      /* io_uring: see suspects.h */
	bool dying; /* io_uring: the end is there, behind what is left to read */
	/* The send under way: what is left of it, in one piece or in several. */
	const char *data;
	size_t left, sent;
	struct pieces *pieces; /* NULL: one piece, at `data` */
};

_Static_assert(sizeof(struct slot) == 64, "a slot is a cache line");

struct slot_list {
	uint32_t first, last;
	enum slot_link link;
};

struct slots {
	struct slot *at;
	uint32_t max, used;
	uint32_t fresh;   /* slots from here on were never used */
	uint32_t free;    /* a list through next[LINK_WORK] */
	uint32_t resting; /* freed since the last slots_turn(): not given out, see there */
};

/* errors: -E_NOMEM. */
int slots_init(struct slots *slots, uint32_t max);
void slots_finish(struct slots *slots);

/* A free slot, in the given state, everything else zero; NULL when there is none. */
struct slot *slots_take(struct slots *slots, enum slot_state state, int fd);

/* Free it. Its number is given out again after the next slots_turn() only: until then the caller
 * holds events that still name it. */
void slots_drop(struct slots *slots, struct slot *slot);
void slots_turn(struct slots *slots);

/* NULL when the name is stale: another generation, or free. */
struct slot *slots_find(const struct slots *slots, struct ring_socket socket);

/* The same for a name that came back from the kernel, of any number. */
static inline struct slot *slots_at(const struct slots *slots, uint32_t index, uint32_t generation)
{
	struct slot *slot = &slots->at[index];
	return index < slots->fresh && slot->generation == generation ? slot : NULL;
}

static inline uint32_t slots_index(const struct slots *slots, const struct slot *slot)
{
	return (uint32_t)(slot - slots->at);
}

struct ring_socket slots_name(const struct slots *slots, const struct slot *slot);

/* The one setter of a state: asserts that the change is legal. */
void slot_enter(struct slot *slot, enum slot_state state);

void slot_list_init(struct slot_list *list, enum slot_link link);
void slot_list_push(struct slots *slots, struct slot_list *list, struct slot *slot);
struct slot *slot_list_pop(struct slots *slots, struct slot_list *list); /* NULL: empty */
static inline bool slot_list_is_empty(const struct slot_list *list)
{
	return list->first == SLOT_NONE;
}

#endif
