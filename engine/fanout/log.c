/* Segments, tail, low-water: the log of one tenant in one encoding.
 *
 * Called by subscribe.c (append) and outbox.c (read), calls malloc. The owner's functions and a view's functions may run at
 * the same time on two threads; log.h lists every field that both touch. A segment is one allocation:
 *
 *     struct │ pins[shards] │ run[runs_max] │ record[records_max] │ data[size]
 *
 * The index parts are sized for messages of RECORD_BYTES_MEAN; when one of them is full before the bytes are, the segment is
 * closed early. Nobody touches the unused part, so it costs address space and no memory.
 *
 * It deliberately does not know what a message is, who reads it, or when to publish.
 */
#include "engine/fanout/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_BYTES_MEAN = 96, RUN_SHARE = 2 };

_Static_assert(LOG_SEGMENT_MAX < LOG_SEGMENT_OPEN, "an end is never taken for `open`");

_Static_assert(LOG_SEGMENT_MIN << (LOG_SIZES - 1) == LOG_SEGMENT_MAX, "every size has its place");

void log_pool_init(struct log_pool *pool, unsigned shards)
{
	assert(shards > 0 && shards <= LOG_SHARDS_MAX);
	*pool = (struct log_pool){.shards = shards};
}

void log_pool_trim(struct log_pool *pool)
{
	for (unsigned i = 0; i < LOG_SIZES; i++) {
		while (pool->spare[i] != NULL) {
			struct log_segment *segment = pool->spare[i];
			pool->spare[i] = segment->next;
			free(segment);
		}
		pool->spares[i] = 0;
	}
}

void log_pool_finish(struct log_pool *pool)
{
	assert(pool->bytes == 0);
	log_pool_trim(pool);
}

/* The place of a size among the spares; LOG_SIZES for a segment of one large message. */
static unsigned size_place(uint32_t size)
{
	unsigned place = 0;
	while (place < LOG_SIZES && (uint32_t)LOG_SEGMENT_MIN << place != size) {
		place++;
	}
	return place;
}

static size_t round_up(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

static struct log_segment *segment_allocate(struct log_pool *pool, uint32_t size)
{
	uint32_t records_max = size / RECORD_BYTES_MEAN + 1;
	uint32_t runs_max = records_max / RUN_SHARE + 1;
	size_t pins = round_up(sizeof(struct log_segment));
	size_t run = round_up(pins + pool->shards * sizeof(uint32_t));
	size_t record = round_up(run + runs_max * sizeof(struct log_run));
	size_t data = round_up(record + records_max * sizeof(struct log_record));
	char *memory = mem_alloc(data + size);
	struct log_segment *segment = (struct log_segment *)memory;
	segment->size = size;
	segment->runs_max = runs_max;
	segment->records_max = records_max;
	segment->pins = (uint32_t *)(memory + pins);
	segment->run = (struct log_run *)(memory + run);
	segment->record = (struct log_record *)(memory + record);
	segment->data = memory + data;
	return segment;
}

static struct log_segment *segment_create(struct log_pool *pool, uint32_t size)
{
	unsigned place = size_place(size);
	struct log_segment *segment = place < LOG_SIZES ? pool->spare[place] : NULL;
	if (segment != NULL) {
		pool->spare[place] = segment->next;
		pool->spares[place]--;
	} else {
		segment = segment_allocate(pool, size);
	}
	segment->next = NULL;
	atomic_init(&segment->end, LOG_SEGMENT_OPEN);
	atomic_init(&segment->runs, 0);
	atomic_init(&segment->records, 0);
	memset(segment->pins, 0, pool->shards * sizeof(uint32_t));
	pool->bytes += size;
	return segment;
}

static void segment_destroy(struct log_pool *pool, struct log_segment *segment)
{
	assert(pool->bytes >= segment->size);
	pool->bytes -= segment->size;
	unsigned place = size_place(segment->size);
	if (place < LOG_SIZES && pool->spares[place] < LOG_SPARES_MAX) {
		segment->next = pool->spare[place];
		pool->spare[place] = segment;
		pool->spares[place]++;
		return;
	}
	free(segment);
}

struct log *log_create(struct log_pool *pool, uint64_t base)
{
	struct log *log = mem_zalloc(sizeof(*log) + pool->shards * sizeof(log->views[0]));
	log->pool = pool;
	log->first = log->last = segment_create(pool, LOG_SEGMENT_MIN);
	log->first->number = 1;
	log->first->base = log->appended = base;
	atomic_init(&log->tail, base);
	return log;
}

void log_destroy(struct log *log)
{
	if (log == NULL) {
		return;
	}
	assert(log->views_count == 0);
	while (log->first != NULL) {
		struct log_segment *next = log->first->next;
		segment_destroy(log->pool, log->first);
		log->first = next;
	}
	free(log);
}

/* As large as what is held back now, so that a log whose readers keep up stays in a few kilobytes that are warm in the cache, and
 * one with a backlog is sent in long stretches. */
static uint32_t next_size(const struct log *log, size_t len)
{
	uint64_t held = log->appended - log->first->base;
	uint32_t size = LOG_SEGMENT_MIN;
	while (size < held && size < LOG_SEGMENT_MAX) {
		size *= 2;
	}
	return len > size ? (uint32_t)len : size;
}

/* Close the open segment and open another behind it. Readers see `next` only through `end`. */
static void segment_turn_over(struct log *log, uint32_t size)
{
	struct log_segment *old = log->last;
	struct log_segment *new = segment_create(log->pool, size);
	new->number = old->number + 1;
	new->base = log->appended;
	old->next = new;
	atomic_store_explicit(&old->runs, log->last_runs, memory_order_release);
	atomic_store_explicit(&old->records, log->last_records, memory_order_release);
	atomic_store_explicit(
		&old->end, (uint32_t)(log->appended - old->base), memory_order_release);
	log->last = new;
	log->last_runs = log->last_records = 0;
}

char *log_reserve(struct log *log, size_t len)
{
	assert(len > 0 && len < LOG_SEGMENT_OPEN);
	struct log_segment *last = log->last;
	if (len > last->size - (log->appended - last->base) ||
		log->last_records == last->records_max || log->last_runs == last->runs_max) {
		segment_turn_over(log, next_size(log, len));
		last = log->last;
	}
	return last->data + (log->appended - last->base);
}

void log_commit(struct log *log, size_t len, const struct log_mark *mark)
{
	struct log_segment *last = log->last;
	uint32_t offset = (uint32_t)(log->appended - last->base);
	assert(len <= last->size - offset);
	struct log_run *run = log->last_runs > 0 ? &last->run[log->last_runs - 1] : NULL;
	if (run == NULL || run->channel != mark->channel || run->not_to != mark->not_to) {
		last->run[log->last_runs++] = (struct log_run){
			.offset = offset, .channel = mark->channel, .not_to = mark->not_to};
	}
	last->record[log->last_records++] = (struct log_record){.offset = offset,
		.channel = mark->channel,
		.stream = mark->stream,
		.instance = mark->instance,
		.token = mark->token,
		.command = mark->command};
	log->appended += len;
	log->records_appended++;
	log->unpublished = true;
}

void log_publish(struct log *log, uint64_t upto)
{
	assert(upto <= log->appended);
	assert(upto >= atomic_load_explicit(&log->tail, memory_order_relaxed));
	atomic_store_explicit(&log->last->runs, log->last_runs, memory_order_release);
	atomic_store_explicit(&log->last->records, log->last_records, memory_order_release);
	atomic_store_explicit(&log->tail, upto, memory_order_release);
	log->unpublished = upto < log->appended;
}

bool log_rest(struct log *log)
{
	assert(!log->unpublished);
	if (log->last->size == LOG_SEGMENT_MIN || log->appended == log->last->base) {
		return false;
	}
	segment_turn_over(log, LOG_SEGMENT_MIN);
	return true;
}

size_t log_collect(struct log *log)
{
	uint64_t low = log->last->number;
	for (unsigned shard = 0, left = log->views_count; left > 0; shard++) {
		if (log->views[shard] == NULL) {
			continue;
		}
		left--;
		uint64_t view_low =
			atomic_load_explicit(&log->views[shard]->low, memory_order_acquire);
		low = view_low < low ? view_low : low;
	}
	size_t freed = 0;
	while (log->first->number < low) {
		struct log_segment *next = log->first->next;
		freed += log->first->size;
		segment_destroy(log->pool, log->first);
		log->first = next;
	}
	return freed;
}

uint64_t log_backlog(const struct log *log)
{
	return log->appended - log->first->base;
}

struct log_view *log_attach(struct log *log, unsigned shard)
{
	assert(shard < log->pool->shards && log->views[shard] == NULL);
	struct log_view *view = mem_zalloc(sizeof(*view));
	view->log = log;
	view->shard = shard;
	view->seen = atomic_load_explicit(&log->tail, memory_order_relaxed);
	struct log_segment *segment = log->first;
	while (segment->next != NULL && segment->next->base <= view->seen) {
		segment = segment->next;
	}
	view->seen_segment = view->low_segment = segment;
	atomic_init(&view->low, segment->number);
	log->views[shard] = view;
	log->views_count++;
	return view;
}

void log_detach(struct log_view *view)
{
	assert(view->cursors == 0 && view->waiting == NULL);
	assert(view->log->views[view->shard] == view);
	view->log->views[view->shard] = NULL;
	view->log->views_count--;
}

bool log_view_refresh(struct log_view *view)
{
	uint64_t tail = atomic_load_explicit(&view->log->tail, memory_order_acquire);
	if (tail == view->seen) {
		return false;
	}
	struct log_segment *segment = view->seen_segment;
	for (;;) {
		uint32_t end = atomic_load_explicit(&segment->end, memory_order_acquire);
		if (end == LOG_SEGMENT_OPEN || segment->base + end > tail) {
			break;
		}
		segment = segment->next;
	}
	view->seen = tail;
	view->seen_segment = segment;
	return true;
}

bool log_view_settle(struct log_view *view)
{
	const struct log_segment *seen = view->seen_segment;
	uint32_t end = atomic_load_explicit(&seen->end, memory_order_acquire);
	if (end != LOG_SEGMENT_OPEN && seen->base + end == view->seen) {
		view->seen_segment = seen->next;
	}
	struct log_segment *low = view->low_segment;
	while (low != view->seen_segment && low->pins[view->shard] == 0) {
		low = low->next;
	}
	if (low == view->low_segment) {
		return false;
	}
	view->low_segment = low;
	atomic_store_explicit(&view->low, low->number, memory_order_release);
	return true;
}
