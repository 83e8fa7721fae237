/* Sets of channel numbers. Called by outbox.c and subscribe.c; calls malloc. One thread each. */
#include "engine/fanout/filter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"

enum { FILTER_CAP_MIN = 2 };

static struct filter *filter_allocate(uint32_t cap)
{
	struct filter *filter = mem_alloc(sizeof(*filter) + cap * sizeof(filter->channel[0]));
	*filter = (struct filter){.references = 1, .cap = cap};
	return filter;
}

struct filter *filter_create(void)
{
	return filter_allocate(FILTER_CAP_MIN);
}

struct filter *filter_share(struct filter *filter)
{
	filter->references++;
	return filter;
}

void filter_release(struct filter *filter)
{
	if (filter != NULL && --filter->references == 0) {
		free(filter);
	}
}

uint32_t filter_bytes(const struct filter *filter)
{
	return (uint32_t)sizeof(*filter) + filter->cap * (uint32_t)sizeof(filter->channel[0]);
}

/* The place of the first number that is not below `channel`. */
static uint32_t lower_bound(const struct filter *filter, uint32_t channel)
{
	uint32_t low = 0;
	uint32_t high = filter->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (filter->channel[middle] < channel) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

bool filter_has(const struct filter *filter, uint32_t channel)
{
	if (filter->count == 1) {
		return filter->channel[0] == channel;
	}
	uint32_t at = lower_bound(filter, channel);
	return at < filter->count && filter->channel[at] == channel;
}

/* Make `*filter` ours alone, with room for one more. */
static struct filter *make_own(struct filter **filter)
{
	struct filter *old = *filter;
	if (old->references == 1 && old->count < old->cap) {
		return old;
	}
	uint32_t cap = old->count < old->cap ? old->cap : old->cap * 2;
	struct filter *new = filter_allocate(cap);
	new->count = old->count;
	memcpy(new->channel, old->channel, old->count * sizeof(old->channel[0]));
	filter_release(old);
	*filter = new;
	return new;
}

bool filter_add(struct filter **filter, uint32_t channel)
{
	uint32_t at = lower_bound(*filter, channel);
	if (at < (*filter)->count && (*filter)->channel[at] == channel) {
		return false;
	}
	struct filter *own = make_own(filter);
	memmove(&own->channel[at + 1], &own->channel[at],
		(own->count - at) * sizeof(own->channel[0]));
	own->channel[at] = channel;
	own->count++;
	return true;
}

bool filter_remove(struct filter **filter, uint32_t channel)
{
	uint32_t at = lower_bound(*filter, channel);
	if (at == (*filter)->count || (*filter)->channel[at] != channel) {
		return false;
	}
	struct filter *own = make_own(filter);
	own->count--;
	memmove(&own->channel[at], &own->channel[at + 1],
		(own->count - at) * sizeof(own->channel[0]));
	return true;
}
