/* Cursors, splices, and what goes out next.
 *
 * Called by the shard (next, sent), by connections (reply, hold) and by subscribe.c (cursors); reads the log through log.h's
 * views. Everything here belongs to one shard, and nothing blocks or allocates while a message is passed on: a cursor
 * that keeps up takes [at, seen) of its log with one piece and no list operation but its own.
 *
 * The invariants:
 *     - a cursor pins the segment that it stands in; while a stretch is in flight it still stands at its beginning, and
 *       segments are freed in order, so the whole stretch stays.
 *     - every stretch of a log begins and ends at a message's boundary. So a filter never changes inside a message, and
 *       nothing of another log, and no reply, gets between its bytes.
 *     - the owed stretches of one cursor have ascending ends, all of them <= view->seen.
 *
 * It does not know sockets, channels' names, or what a message says.
 */
#include "engine/fanout/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_SIZE_MIN = 240, CHUNK_SIZE_MAX = 16 * 1024 - 32, OWED_KEEP = 16 };

struct chunk {
	struct chunk *next;
	uint32_t used, size;
	char data[];
};

/* One entry of the order in which things are owed. */
struct owed {
	enum { OWED_REPLY, OWED_LOG, OWED_HOLD, OWED_PROMISE } kind;
	uint32_t filter_bytes; /* LOG: what it adds to filters_bytes */
	uint64_t amount;       /* REPLY: bytes; LOG: the end; HOLD, PROMISE: the number */
	struct cursor *cursor; /* LOG */
	struct filter *filter; /* LOG */
	struct chunk *kept;    /* PROMISE: the reply, once it is there */
};

void outbox_init(struct outbox *outbox, uint64_t connection)
{
	*outbox = (struct outbox){.connection = connection};
}

/* ---- lists of cursors: one pair of functions for both, each with its head ---- */

static void list_add(struct cursor **head, struct cursor *cursor)
{
	if (*head == NULL) {
		cursor->next = cursor->prev = cursor;
		*head = cursor;
		return;
	}
	cursor->next = *head;
	cursor->prev = (*head)->prev;
	cursor->prev->next = cursor->next->prev = cursor;
}

static void list_remove(struct cursor **head, struct cursor *cursor)
{
	if (cursor->next == cursor) {
		*head = NULL;
	} else {
		cursor->prev->next = cursor->next;
		cursor->next->prev = cursor->prev;
		*head = *head == cursor ? cursor->next : *head;
	}
	cursor->next = cursor->prev = NULL;
}

static void cursor_set_behind(struct cursor *cursor, bool behind)
{
	if (cursor->behind != behind) {
		list_remove(
			cursor->behind ? &cursor->outbox->behind : &cursor->view->waiting, cursor);
		list_add(behind ? &cursor->outbox->behind : &cursor->view->waiting, cursor);
		cursor->behind = behind;
	}
}

/* ---- places ---- */

static uint64_t segment_end(const struct log_segment *segment)
{
	uint32_t end = atomic_load_explicit(&segment->end, memory_order_acquire);
	return end == LOG_SEGMENT_OPEN ? UINT64_MAX : segment->base + end;
}

/* Step into the following segment where this one ends here. */
static bool place_turn_over(struct place *place)
{
	if (place->offset != segment_end(place->segment)) {
		return false;
	}
	place->segment = place->segment->next;
	place->run = 0;
	assert(place->segment->base == place->offset);
	return true;
}

/* Find the run that the place lies in; returns where it ends (in the log), at most `limit`. */
static uint64_t place_find_run(struct place *place, uint64_t limit)
{
	const struct log_segment *segment = place->segment;
	uint32_t runs = atomic_load_explicit(&segment->runs, memory_order_acquire);
	while (place->run + 1 < runs &&
		segment->base + segment->run[place->run + 1].offset <= place->offset) {
		place->run++;
	}
	if (place->run + 1 < runs) {
		uint64_t end = segment->base + segment->run[place->run + 1].offset;
		return end < limit ? end : limit;
	}
	return limit;
}

static bool run_passes(const struct log_run *run, const struct filter *filter, uint64_t connection)
{
	return filter_has(filter, run->channel) && (run->not_to == 0 || run->not_to != connection);
}

struct gather {
	struct iovec *pieces;
	unsigned count, max;
	size_t bytes, bytes_max;
};

/* Add a stretch; false: no piece is left for it. */
static bool gather_add(struct gather *gather, char *data, size_t len)
{
	struct iovec *last = gather->count > 0 ? &gather->pieces[gather->count - 1] : NULL;
	if (last != NULL && (char *)last->iov_base + last->iov_len == data) {
		last->iov_len += len;
	} else if (gather->count < gather->max) {
		gather->pieces[gather->count++] = (struct iovec){.iov_base = data, .iov_len = len};
	} else {
		return false;
	}
	gather->bytes += len;
	return true;
}

/* The last boundary between two messages in (begin, end] that leaves at most `room` bytes; without one the first. */
static uint64_t cut_at_message(
	const struct log_segment *segment, uint64_t begin, uint64_t end, size_t room)
{
	if (end - begin <= room) {
		return end;
	}
	uint64_t behind = begin - segment->base + room;
	uint32_t records = atomic_load_explicit(&segment->records, memory_order_acquire);
	uint32_t low = 0;
	uint32_t high = records;
	while (low < high) { /* the first record that begins behind the room */
		uint32_t middle = low + (high - low) / 2;
		if (segment->record[middle].offset > behind) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	assert(low > 0);
	uint64_t cut = segment->base + segment->record[low - 1].offset;
	if (cut == begin && low < records) {
		cut = segment->base + segment->record[low].offset;
	}
	return cut > begin && cut < end ? cut : end;
}

/* Take what `filter` lets pass between `place` and `limit`; the place moves behind what was taken or skipped. */
static void place_gather(struct place *place, uint64_t limit, const struct filter *filter,
	uint64_t connection, struct gather *gather)
{
	while (place->offset < limit) {
		struct log_segment *segment = place->segment;
		uint64_t end = segment_end(segment);
		end = place_find_run(place, end < limit ? end : limit);
		if (run_passes(&segment->run[place->run], filter, connection)) {
			size_t room = gather->bytes < gather->bytes_max
					      ? gather->bytes_max - gather->bytes
					      : 0;
			uint64_t cut = cut_at_message(segment, place->offset, end, room);
			if ((cut - place->offset > room && gather->bytes > 0) ||
				!gather_add(gather, segment->data + (place->offset - segment->base),
					(size_t)(cut - place->offset))) {
				return;
			}
			end = cut;
		}
		place->offset = end;
		place_turn_over(place);
	}
}

/* ---- cursors ---- */

static void tell_moved(struct cursor *cursor)
{
	if (cursor->outbox->moved != NULL) {
		cursor->outbox->moved(cursor);
	}
}

static void cursor_move(struct cursor *cursor, const struct place *to)
{
	unsigned shard = cursor->view->shard;
	if (cursor->at.segment != to->segment) {
		to->segment->pins[shard]++;
		assert(cursor->at.segment->pins[shard] > 0);
		cursor->at.segment->pins[shard]--;
		tell_moved(cursor);
	}
	cursor->at = *to;
}

struct cursor *cursor_open(struct outbox *outbox, struct log_view *view)
{
	struct cursor *cursor = mem_zalloc(sizeof(*cursor));
	cursor->outbox = outbox;
	cursor->view = view;
	cursor->filter = filter_create();
	cursor->at = (struct place){.segment = view->seen_segment, .offset = view->seen};
	cursor->at.segment->pins[view->shard]++;
	cursor->next_of_outbox = outbox->cursors;
	outbox->cursors = cursor;
	list_add(&view->waiting, cursor);
	view->cursors++;
	return cursor;
}

struct cursor *outbox_cursor(const struct outbox *outbox, const struct log_view *view)
{
	struct cursor *cursor = outbox->cursors;
	while (cursor != NULL && (cursor->view != view || cursor->retired)) {
		cursor = cursor->next_of_outbox;
	}
	return cursor;
}

static void cursor_free(struct cursor *cursor)
{
	struct cursor **link = &cursor->outbox->cursors;
	while (*link != cursor) {
		link = &(*link)->next_of_outbox;
	}
	*link = cursor->next_of_outbox;
	list_remove(cursor->behind ? &cursor->outbox->behind : &cursor->view->waiting, cursor);
	cursor->at.segment->pins[cursor->view->shard]--;
	cursor->view->cursors--;
	tell_moved(cursor);
	filter_release(cursor->filter);
	free(cursor);
}

static void cursor_caught_up(struct cursor *cursor)
{
	if (cursor->retired) {
		cursor_free(cursor);
	} else {
		cursor_set_behind(cursor, false);
	}
}

/* ---- what is owed, in order ---- */

static struct owed *owed_at(const struct outbox *outbox, uint32_t i)
{
	return &outbox->owed[(outbox->owed_first + i) % outbox->owed_cap];
}

static struct owed *owed_last(const struct outbox *outbox)
{
	return outbox->owed_count > 0 ? owed_at(outbox, outbox->owed_count - 1) : NULL;
}

static struct owed *owed_push(struct outbox *outbox)
{
	if (outbox->owed_count == outbox->owed_cap) {
		uint32_t cap = outbox->owed_cap == 0 ? 2 : outbox->owed_cap * 2;
		struct owed *grown = mem_alloc(cap * sizeof(*grown));
		for (unsigned i = 0; i < outbox->owed_count; i++) {
			grown[i] = *owed_at(outbox, i);
		}
		free(outbox->owed);
		outbox->owed = grown;
		outbox->owed_first = 0;
		outbox->owed_cap = cap;
	}
	outbox->owed_count++;
	return owed_last(outbox);
}

static void owed_pop(struct outbox *outbox)
{
	assert(outbox->owed_count > 0);
	filter_release(owed_at(outbox, 0)->filter);
	free(owed_at(outbox, 0)->kept);
	outbox->filters_bytes -= owed_at(outbox, 0)->filter_bytes;
	outbox->owed_first = (outbox->owed_first + 1) % outbox->owed_cap;
	if (--outbox->owed_count == 0 && outbox->owed_cap > OWED_KEEP) {
		free(outbox->owed);
		outbox->owed = NULL;
		outbox->owed_cap = outbox->owed_first = 0;
	}
}

/* The log offset that the cursor will have reached when all that is owed now is sent. */
static uint64_t owed_until(const struct cursor *cursor)
{
	const struct outbox *outbox = cursor->outbox;
	for (uint32_t i = outbox->owed_count; i-- > 0;) {
		const struct owed *owed = owed_at(outbox, i);
		if (owed->kind == OWED_LOG && owed->cursor == cursor) {
			return owed->amount;
		}
	}
	bool flying = outbox->flight == FLIGHT_LOG && outbox->flight_cursor == cursor;
	return flying ? outbox->flight_end.offset : cursor->at.offset;
}

/* Put the cursor's way to its view's tail, under its filter of now, into the order. */
static void owe_log(struct cursor *cursor)
{
	if (!cursor->behind || owed_until(cursor) >= cursor->view->seen) {
		return;
	}
	/* Only the first that shares it is charged: those behind it are sent later, and it may stay the cursor's own. */
	uint32_t bytes = cursor->filter->references == 1 ? filter_bytes(cursor->filter) : 0;
	*owed_push(cursor->outbox) = (struct owed){.kind = OWED_LOG,
		.filter_bytes = bytes,
		.amount = cursor->view->seen,
		.cursor = cursor,
		.filter = filter_share(cursor->filter)};
	cursor->outbox->filters_bytes += bytes;
}

/* ---- reply bytes ---- */

static void chunk_append(struct outbox *outbox, const char *data, size_t len)
{
	while (len > 0) {
		struct chunk *last = outbox->last;
		if (last == NULL || last->used == last->size) {
			size_t size = len < CHUNK_SIZE_MIN ? CHUNK_SIZE_MIN : len;
			size = size < CHUNK_SIZE_MAX ? size : CHUNK_SIZE_MAX;
			struct chunk *chunk = mem_alloc(sizeof(*chunk) + size);
			*chunk = (struct chunk){.size = (uint32_t)size};
			if (last == NULL) {
				outbox->first = chunk;
			} else {
				last->next = chunk;
			}
			outbox->last = last = chunk;
		}
		size_t part = last->size - last->used < len ? last->size - last->used : len;
		memcpy(last->data + last->used, data, part);
		last->used += (uint32_t)part;
		data += part;
		len -= part;
	}
}

void outbox_reply(struct outbox *outbox, const void *data, size_t len)
{
	if (len == 0) {
		return;
	}
	for (struct cursor *cursor = outbox->cursors; cursor != NULL;
		cursor = cursor->next_of_outbox) {
		owe_log(cursor);
	}
	struct owed *last = owed_last(outbox);
	if (last == NULL || last->kind != OWED_REPLY) {
		last = owed_push(outbox);
		*last = (struct owed){.kind = OWED_REPLY};
	}
	last->amount += len;
	chunk_append(outbox, data, len);
	outbox->reply_bytes += len;
}

void outbox_hold(struct outbox *outbox, uint64_t number)
{
	for (uint32_t i = outbox->owed_count; i-- > 0;) {
		const struct owed *owed = owed_at(outbox, i);
		if (owed->kind == OWED_HOLD) {
			if (owed->amount >= number) {
				return;
			}
			break;
		}
	}
	*owed_push(outbox) = (struct owed){.kind = OWED_HOLD, .amount = number};
}

uint64_t outbox_promise(struct outbox *outbox)
{
	for (struct cursor *cursor = outbox->cursors; cursor != NULL;
		cursor = cursor->next_of_outbox) {
		owe_log(cursor);
	}
	*owed_push(outbox) = (struct owed){.kind = OWED_PROMISE, .amount = ++outbox->promises};
	return outbox->promises;
}

bool outbox_keep_promise(struct outbox *outbox, uint64_t number, const void *data, size_t len)
{
	for (uint32_t i = 0; i < outbox->owed_count; i++) {
		struct owed *owed = owed_at(outbox, i);
		if (owed->kind != OWED_PROMISE || owed->amount != number) {
			continue;
		}
		assert(owed->kept == NULL);
		owed->kept = mem_alloc(sizeof(*owed->kept) + len);
		*owed->kept = (struct chunk){.used = (uint32_t)len, .size = (uint32_t)len};
		memcpy(owed->kept->data, data, len);
		outbox->reply_bytes += len;
		return true;
	}
	return false;
}

/* Gather from the chunks, where `*chunk` and `*skip` say how far that is; false: no room for all of it. */
static bool gather_chunks(
	struct gather *gather, struct chunk **chunk, uint32_t *skip, uint64_t amount)
{
	while (amount > 0) {
		size_t room = gather->bytes_max - gather->bytes;
		size_t part = (*chunk)->used - *skip;
		part = part < amount ? part : (size_t)amount;
		part = part < room ? part : room;
		if (part == 0 || !gather_add(gather, (*chunk)->data + *skip, part)) {
			return false;
		}
		amount -= part;
		*skip += (uint32_t)part;
		if (*skip == (*chunk)->used) {
			*chunk = (*chunk)->next;
			*skip = 0;
		}
	}
	return true;
}

/* All replies that stand together: bytes of the chunks, and promises that were kept. */
static unsigned replies_next(struct outbox *outbox, struct gather *gather)
{
	struct chunk *chunk = outbox->first;
	uint32_t skip = outbox->chunk_sent;
	for (uint32_t i = 0; i < outbox->owed_count; i++) {
		struct owed *owed = owed_at(outbox, i);
		if (owed->kind == OWED_PROMISE && owed->kept != NULL) {
			struct chunk *kept = owed->kept;
			if (gather->bytes > 0 && kept->used > gather->bytes_max - gather->bytes) {
				break;
			}
			if (!gather_add(gather, kept->data, kept->used)) {
				break;
			}
		} else if (owed->kind != OWED_REPLY ||
			   !gather_chunks(gather, &chunk, &skip, owed->amount)) {
			break;
		}
	}
	outbox->flight = gather->count > 0 ? FLIGHT_REPLY : FLIGHT_NONE;
	outbox->flight_bytes = gather->bytes;
	return gather->count;
}

static void drop_chunks(struct outbox *outbox, uint64_t amount)
{
	while (amount > 0) {
		struct chunk *chunk = outbox->first;
		size_t part = chunk->used - outbox->chunk_sent;
		if (part > amount) {
			outbox->chunk_sent += (uint32_t)amount;
			return;
		}
		amount -= part;
		outbox->chunk_sent = 0;
		outbox->first = chunk->next;
		outbox->last = chunk->next == NULL ? NULL : outbox->last;
		free(chunk);
	}
}

static void replies_sent(struct outbox *outbox)
{
	uint64_t left = outbox->flight_bytes;
	outbox->reply_bytes -= left;
	while (left > 0) {
		struct owed *owed = owed_at(outbox, 0);
		if (owed->kind == OWED_PROMISE) {
			left -= owed->kept->used;
			owed_pop(outbox);
			continue;
		}
		assert(owed->kind == OWED_REPLY);
		uint64_t part = owed->amount < left ? owed->amount : left;
		drop_chunks(outbox, part);
		owed->amount -= part;
		left -= part;
		if (owed->amount == 0) {
			owed_pop(outbox);
		}
	}
}

/* ---- next and sent ---- */

/* Up to `limit` of one cursor's log. What is only skipped is done at once. */
static unsigned log_next(
	struct cursor *cursor, uint64_t limit, const struct filter *filter, struct gather *gather)
{
	struct outbox *outbox = cursor->outbox;
	struct place place = cursor->at;
	place_turn_over(&place);
	place_gather(&place, limit, filter, outbox->connection, gather);
	if (gather->count == 0) {
		cursor_move(cursor, &place);
		return 0;
	}
	outbox->flight = FLIGHT_LOG;
	outbox->flight_cursor = cursor;
	outbox->flight_end = place;
	outbox->flight_bytes = gather->bytes;
	return gather->count;
}

unsigned outbox_next(struct outbox *outbox, struct iovec *pieces, unsigned pieces_max,
	size_t bytes_max, uint64_t durable)
{
	assert(outbox->flight == FLIGHT_NONE && pieces_max > 0 && bytes_max > 0);
	struct gather gather = {.pieces = pieces, .max = pieces_max, .bytes_max = bytes_max};
	while (outbox->owed_count > 0) {
		struct owed *owed = owed_at(outbox, 0);
		if (owed->kind == OWED_REPLY || owed->kind == OWED_PROMISE) {
			return replies_next(outbox, &gather);
		}
		if (owed->kind == OWED_HOLD && owed->amount > durable) {
			return 0;
		}
		if (owed->kind == OWED_LOG && owed->cursor->at.offset < owed->amount) {
			unsigned count =
				log_next(owed->cursor, owed->amount, owed->filter, &gather);
			if (count > 0) {
				return count;
			}
			continue;
		}
		owed_pop(outbox);
	}
	while (outbox->behind != NULL) {
		struct cursor *cursor = outbox->behind;
		if (cursor->at.offset < cursor->view->seen) {
			unsigned count =
				log_next(cursor, cursor->view->seen, cursor->filter, &gather);
			if (count > 0) {
				return count;
			}
		}
		assert(cursor->at.offset == cursor->view->seen);
		cursor_caught_up(cursor);
	}
	return 0;
}

void outbox_sent(struct outbox *outbox)
{
	enum flight flight = outbox->flight;
	assert(flight != FLIGHT_NONE);
	outbox->flight = FLIGHT_NONE;
	if (flight == FLIGHT_REPLY) {
		replies_sent(outbox);
		return;
	}
	struct cursor *cursor = outbox->flight_cursor;
	outbox->flight_cursor = NULL;
	cursor_move(cursor, &outbox->flight_end);
	if (cursor->behind) { /* several tenants take turns */
		outbox->behind = cursor == outbox->behind ? cursor->next : outbox->behind;
	}
}

/* ---- changes of what is heard ---- */

bool cursor_hear(struct cursor *cursor, uint32_t channel)
{
	if (filter_has(cursor->filter, channel)) {
		return false;
	}
	owe_log(cursor);
	return filter_add(&cursor->filter, channel);
}

bool cursor_ignore(struct cursor *cursor, uint32_t channel)
{
	if (!filter_has(cursor->filter, channel)) {
		return false;
	}
	owe_log(cursor);
	return filter_remove(&cursor->filter, channel);
}

void cursor_close(struct cursor *cursor)
{
	owe_log(cursor);
	filter_release(cursor->filter);
	cursor->filter = filter_create();
	cursor->retired = true;
	if (!cursor->behind && cursor->outbox->flight_cursor != cursor) {
		cursor_free(cursor);
	}
}

void view_advance(struct log_view *view, void (*ready)(struct outbox *outbox))
{
	if (!log_view_refresh(view)) {
		return;
	}
	struct cursor *cursor = view->waiting;
	while (cursor != NULL) {
		cursor_set_behind(cursor, true);
		ready(cursor->outbox);
		cursor = view->waiting;
	}
}

void view_rest(struct log_view *view)
{
	struct cursor *cursor = view->waiting;
	if (cursor == NULL) {
		return;
	}
	do {
		struct place place = cursor->at;
		if (place_turn_over(&place)) {
			cursor_move(cursor, &place);
		}
		cursor = cursor->next;
	} while (cursor != view->waiting);
}

bool outbox_idle(const struct outbox *outbox)
{
	return outbox->flight == FLIGHT_NONE && outbox->owed_count == 0 && outbox->behind == NULL;
}

uint64_t outbox_lag_bytes(const struct outbox *outbox)
{
	uint64_t lag = 0;
	for (const struct cursor *cursor = outbox->cursors; cursor != NULL;
		cursor = cursor->next_of_outbox) {
		lag += cursor->view->seen - cursor->at.offset;
	}
	return lag;
}

size_t outbox_memory_bytes(const struct outbox *outbox)
{
	return outbox->reply_bytes + outbox->filters_bytes + outbox->owed_cap * sizeof(struct owed);
}

void outbox_finish(struct outbox *outbox)
{
	while (outbox->owed_count > 0) {
		owed_pop(outbox);
	}
	free(outbox->owed);
	while (outbox->cursors != NULL) {
		cursor_free(outbox->cursors);
	}
	while (outbox->first != NULL) {
		struct chunk *next = outbox->first->next;
		free(outbox->first);
		outbox->first = next;
	}
	*outbox = (struct outbox){0};
}
