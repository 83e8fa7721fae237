/* Receive memory: mapped at its full size, touched as far as traffic needs it.
 *
 * Called by proactor.c (buffers) and epoll.c (arena); calls mmap(2) and madvise(2) only.
 *
 * io_uring takes provided buffers first in, first out, so all that are in its hands get touched in turn, however
 * little arrives: 256 buffers of 16 KiB would cost an idle process megabytes, and a busy one its cache. So only a window of
 * them goes round. It doubles when a turn uses more than half of it or the kernel runs dry, and halves
 * after a second that used less than an eighth; what then leaves the round gives its pages back.
 *
 * epoll reads when we say so, hence closely packed: a turn fills one stretch from its beginning.
 *
 * Invariant: going_round + resting_count = count; the used ones are going round.
 */
#include "ring/buffers.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"

enum { WINDOW_MIN = 16, ARENA_MIN_BYTES = 256 * 1024, ALIGNMENT = 64 };

static const uint64_t period_ns = 1000000000u;

static int map(size_t size, char **out)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		return -E_NOMEM;
	}
	*out = at;
	return OK;
}

int buffers_init(struct buffers *buffers, uint32_t count, uint32_t bytes_each)
{
	assert(count > 0 && count <= BUFFERS_MAX && (count & (count - 1)) == 0);
	*buffers = (struct buffers){.count = count, .bytes_each = bytes_each};
	int err = map((size_t)count * bytes_each, &buffers->memory);
	if (err != OK) {
		return err;
	}
	buffers->window = count < WINDOW_MIN ? count : WINDOW_MIN;
	buffers->resting = mem_alloc(count * sizeof(uint16_t));
	buffers->used = mem_alloc(count * sizeof(uint16_t));
	for (uint32_t id = count; id-- > 0;) {
		buffers->resting[buffers->resting_count++] = (uint16_t)id;
	}
	return OK;
}

void buffers_finish(struct buffers *buffers)
{
	if (buffers->memory != NULL) {
		munmap(buffers->memory, buffers->count * buffers->bytes_each);
		free(buffers->resting);
		free(buffers->used);
		buffers->memory = NULL;
	}
}

void buffers_use(struct buffers *buffers, unsigned id)
{
	assert(id < buffers->count && buffers->used_count < buffers->count);
	buffers->used[buffers->used_count++] = (uint16_t)id;
}

void buffers_starved(struct buffers *buffers)
{
	buffers->starved = true;
}

void buffers_turn(struct buffers *buffers, uint64_t now_ns)
{
	if (buffers->used_count > buffers->used_peak) {
		buffers->used_peak = buffers->used_count;
	}
	if (buffers->starved || buffers->used_count * 2 > buffers->window) {
		uint32_t doubled = buffers->window * 2;
		buffers->window = doubled < buffers->count ? doubled : buffers->count;
		buffers->starved = false;
	}
	if (now_ns >= buffers->period_ends_ns) {
		if (buffers->used_peak * 8 < buffers->window && buffers->window > WINDOW_MIN) {
			buffers->window /= 2;
		}
		buffers->used_peak = 0;
		buffers->period_ends_ns = now_ns + period_ns;
	}
}

int buffers_give(struct buffers *buffers)
{
	while (buffers->used_count > 0) {
		uint16_t id = buffers->used[--buffers->used_count];
		if (buffers->going_round <= buffers->window) {
			return id;
		}
		madvise(buffers_at(buffers, id), buffers->bytes_each, MADV_DONTNEED);
		buffers->resting[buffers->resting_count++] = id;
		buffers->going_round--;
	}
	if (buffers->going_round < buffers->window) {
		buffers->going_round++;
		return buffers->resting[--buffers->resting_count];
	}
	return -1;
}

int arena_init(struct arena *arena, size_t size)
{
	*arena = (struct arena){.size = size};
	return map(size, &arena->memory);
}

void arena_finish(struct arena *arena)
{
	if (arena->memory != NULL) {
		munmap(arena->memory, arena->size);
		arena->memory = NULL;
	}
}

void arena_turn(struct arena *arena, uint64_t now_ns)
{
	arena->peak = arena->used > arena->peak ? arena->used : arena->peak;
	arena->touched = arena->used > arena->touched ? arena->used : arena->touched;
	arena->used = 0;
	if (now_ns < arena->period_ends_ns) {
		return;
	}
	if (arena->peak < arena->touched / 8 && arena->touched > ARENA_MIN_BYTES) {
		madvise(arena->memory, arena->touched, MADV_DONTNEED);
		arena->touched = 0;
	}
	arena->peak = 0;
	arena->period_ends_ns = now_ns + period_ns;
}

char *arena_room(struct arena *arena, size_t most)
{
	return arena->size - arena->used >= most ? arena->memory + arena->used : NULL;
}

void arena_keep(struct arena *arena, size_t len)
{
	size_t aligned = (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	size_t left = arena->size - arena->used;
	arena->used += aligned < left ? aligned : left;
}
