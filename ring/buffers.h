/* Memory that received bytes land in. One thread. */
#ifndef MILLRACE_RING_BUFFERS_H
#define MILLRACE_RING_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BUFFERS_MAX = 32768 }; /* io_uring's limit for one group */

/* For io_uring: buffers of one size that go round between the kernel, the caller and us. */
struct buffers {
	char *memory;
	size_t bytes_each;
	uint32_t count;
	uint32_t window;      /* how many are to go round */
	uint32_t going_round; /* how many do */
	uint16_t *resting;    /* a stack of the others */
	uint32_t resting_count;
	uint16_t *used; /* with the caller until the next turn */
	uint32_t used_count, used_peak;
	bool starved; /* the kernel ran dry in this turn */
	uint64_t period_ends_ns;
};

/* errors: -E_NOMEM. */
int buffers_init(struct buffers *buffers, uint32_t count, uint32_t bytes_each);
void buffers_finish(struct buffers *buffers);

static inline char *buffers_at(const struct buffers *buffers, unsigned id)
{
	return buffers->memory + id * buffers->bytes_each;
}

/* The kernel has filled this one; it is the caller's until buffers_turn(). */
void buffers_use(struct buffers *buffers, unsigned id);

/* A new turn: what was used is free again, and the window follows the need. Then buffers_give() says
 * which buffers the kernel gets, one by one, and -1 when that was all. */
void buffers_turn(struct buffers *buffers, uint64_t now_ns);
int buffers_give(struct buffers *buffers);

/* The kernel found none: from the next turn on let more go round. */
void buffers_starved(struct buffers *buffers);

/* For epoll: one stretch of memory, filled from its beginning in each turn. */
struct arena {
	char *memory;
	size_t size, used;
	size_t touched, peak; /* since the pages were last given back; in this period */
	uint64_t period_ends_ns;
};

int arena_init(struct arena *arena, size_t size);
void arena_finish(struct arena *arena);
void arena_turn(struct arena *arena, uint64_t now_ns);

/* Room for `most` bytes, of which arena_keep() then keeps the first few; NULL until the next turn when there is not
 * so much left. */
char *arena_room(struct arena *arena, size_t most);
void arena_keep(struct arena *arena, size_t len);

#endif
