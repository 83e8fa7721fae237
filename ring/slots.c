/* Slots: what a ring knows of each socket, and the life of a slot number.
 *
 * Called by ring.c (names to slots) and the backends (everything else); calls nothing. What a backend keeps of
 * a connection is in the slot itself, so that a connection costs 64 bytes here and a turn touches one cache
 * line of it.
 *
 *     free ──take──▶ in use ──drop──▶ resting ──turn──▶ free
 *                                        generation + 1
 *
 * Invariants: a generation is never 0, so the name {0, 0} is always stale; a number is not given out again
 * while events of the turn that freed it are still with the caller; numbers last freed are used first, which keeps the
 * table dense and its cache lines warm.
 */
#include "ring/slots.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/err.h"
#include "ring/label.h"

_Static_assert(SLOT_STATES <= 8, "a row of legal[] is a byte");

#define TO(state) (1u << (state))

static const uint8_t legal[SLOT_STATES] = {
	[SLOT_FREE] = TO(SLOT_CONNECTING) | TO(SLOT_OPEN),
	[SLOT_CONNECTING] = TO(SLOT_OPEN) | TO(SLOT_FAILED) | TO(SLOT_CLOSING),
	[SLOT_OPEN] = TO(SLOT_RELEASING) | TO(SLOT_CLOSING),
	[SLOT_FAILED] = TO(SLOT_CLOSING),
	[SLOT_RELEASING] = TO(SLOT_FREE) | TO(SLOT_CLOSING),
	[SLOT_CLOSING] = TO(SLOT_FREE),
};

int slots_init(struct slots *slots, uint32_t max)
{
	assert(max > 0 && max <= 1u << LABEL_SLOT_BITS);
	size_t bytes = (size_t)max * sizeof(struct slot);
	int protection = PROT_READ | PROT_WRITE;
	void *at = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		return -E_NOMEM;
	}
	*slots = (struct slots){.at = at, .max = max, .free = SLOT_NONE, .resting = SLOT_NONE};
	return OK;
}

void slots_finish(struct slots *slots)
{
	if (slots->at != NULL) {
		munmap(slots->at, (size_t)slots->max * sizeof(struct slot));
		slots->at = NULL;
	}
}

struct slot *slots_take(struct slots *slots, enum slot_state state, int fd)
{
	struct slot *slot;
	uint32_t generation;
	if (slots->free != SLOT_NONE) {
		slot = &slots->at[slots->free];
		slots->free = slot->next[LINK_WORK];
		generation = slot->generation;
	} else if (slots->fresh < slots->max) {
		slot = &slots->at[slots->fresh++];
		generation = 1;
	} else {
		return NULL;
	}
	slots->used++;
	*slot = (struct slot){.generation = generation, .fd = fd};
	slot_enter(slot, state);
	return slot;
}

void slots_drop(struct slots *slots, struct slot *slot)
{
	assert(slot->in_flight == 0 && !slot->listed && slot->pieces == NULL);
	slot_enter(slot, SLOT_FREE);
	slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
	slot->next[LINK_WORK] = slots->resting;
	slots->resting = slots_index(slots, slot);
	slots->used--;
}

void slots_turn(struct slots *slots)
{
	while (slots->resting != SLOT_NONE) {
		struct slot *slot = &slots->at[slots->resting];
		uint32_t index = slots->resting;
		slots->resting = slot->next[LINK_WORK];
		slot->next[LINK_WORK] = slots->free;
		slots->free = index;
	}
}

struct slot *slots_find(const struct slots *slots, struct ring_socket socket)
{
	if (socket.slot >= slots->fresh) {
		return NULL;
	}
	struct slot *slot = &slots->at[socket.slot];
	return slot->generation == socket.generation && slot->state != SLOT_FREE ? slot : NULL;
}

struct ring_socket slots_name(const struct slots *slots, const struct slot *slot)
{
	return (struct ring_socket){slots_index(slots, slot), slot->generation};
}

void slot_enter(struct slot *slot, enum slot_state state)
{
	assert(legal[slot->state] & TO(state));
	slot->state = (uint8_t)state;
}

void slot_list_init(struct slot_list *list, enum slot_link link)
{
	*list = (struct slot_list){.first = SLOT_NONE, .last = SLOT_NONE, .link = link};
}

void slot_list_push(struct slots *slots, struct slot_list *list, struct slot *slot)
{
	uint32_t index = slots_index(slots, slot);
	slot->next[list->link] = SLOT_NONE;
	if (list->first == SLOT_NONE) {
		list->first = index;
	} else {
		slots->at[list->last].next[list->link] = index;
	}
	list->last = index;
}

struct slot *slot_list_pop(struct slots *slots, struct slot_list *list)
{
	if (list->first == SLOT_NONE) {
		return NULL;
	}
	struct slot *slot = &slots->at[list->first];
	list->first = slot->next[list->link];
	return slot;
}
