/* What the kernel carries for us and hands back: which request, whose slot, of which life.
 *
 *      63      56 55                    32 31                             0
 *     ┌──────────┬────────────────────────┬────────────────────────────────┐
 *     │   what   │          slot          │           generation           │
 *     └──────────┴────────────────────────┴────────────────────────────────┘
 *
 * io_uring's user_data and epoll's data are both such words, never a pointer: whatever comes late finds a slot
 * of another generation and is dropped.
 */
#ifndef MILLRACE_RING_LABEL_H
#define MILLRACE_RING_LABEL_H

#include <stdint.h>

enum { LABEL_SLOT_BITS = 24 };

struct label {
	uint8_t what; /* the backend's own numbers */
	uint32_t slot;
	uint32_t generation;
};

static inline uint64_t label_pack(struct label label)
{
	return (uint64_t)label.what << 56 | (uint64_t)label.slot << 32 | label.generation;
}

static inline struct label label_unpack(uint64_t word)
{
	return (struct label){
		.what = (uint8_t)(word >> 56),
		.slot = (uint32_t)(word >> 32) & ((1u << LABEL_SLOT_BITS) - 1),
		.generation = (uint32_t)word,
	};
}

#endif
