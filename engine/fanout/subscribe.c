/* One tenant's channels and logs.
 *
 * Called by the hub's tenant; calls log.c and outbox.c. A channel exists while somebody hears it. A message to a channel that
 * nobody hears is not encoded at all; one that is heard in several encodings is encoded once for each of them.
 *
 * Numbers of channels are never reused within a tenant, so an old filter can never match a new channel.
 */
#include "engine/fanout/subscribe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/table.h"

struct channel {
	UT_hash_handle hh, hh_number;
	uint32_t number;
	enum channel_kind kind;
	unsigned subscribers[ENC_COUNT]; /* owner: of all shards; mirror: of this one */
	unsigned lent;                   /* owner: to how many mirrors */
	unsigned key_len;
	char key[]; /* the kind, then the name */
};

static unsigned channel_total(const struct channel *channel);
static void channel_free(struct fanout *fanout, struct channel *channel);

void fanout_init(struct fanout *fanout, struct log_pool *pool, unsigned shard, bool mirror,
	const struct fanout_link *link, void (*ready)(struct outbox *outbox))
{
	*fanout = (struct fanout){.pool = pool,
		.shard = shard,
		.mirror = mirror,
		.link = link,
		.ready = ready,
		.next_channel = 1};
}

void fanout_finish(struct fanout *fanout)
{
	struct channel *channel;
	struct channel *next;
	HASH_ITER (
		hh, fanout->channels, channel, next) { /* lent ones may be left at the very end */
		assert(channel_total(channel) == 0 || channel->lent > 0);
		channel_free(fanout, channel);
	}
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		struct log *log = fanout->logs[encoding];
		for (unsigned shard = 0; log != NULL && shard < fanout->pool->shards; shard++) {
			if (log->views[shard] != NULL) {
				struct log_view *view = log->views[shard];
				log_detach(view);
				free(view);
			}
		}
		log_destroy(log);
		fanout->logs[encoding] = NULL;
		fanout->views[encoding] = NULL;
	}
}

/* ---- channels ---- */

enum { KEY_ON_STACK = 512 };

static struct channel *channel_find(
	const struct fanout *fanout, enum channel_kind kind, struct slice name)
{
	char small[KEY_ON_STACK];
	char *key = name.len < sizeof(small) ? small : mem_alloc(name.len + 1);
	key[0] = (char)kind;
	if (name.len > 0) {
		memcpy(key + 1, name.data, name.len);
	}
	struct channel *channel;
	HASH_FIND(hh, fanout->channels, key, (unsigned)name.len + 1, channel);
	if (key != small) {
		free(key);
	}
	return channel;
}

static struct channel *channel_create(
	struct fanout *fanout, enum channel_kind kind, struct slice name, uint32_t number)
{
	struct channel *channel = mem_zalloc(sizeof(*channel) + name.len + 1);
	channel->kind = kind;
	channel->number = number;
	channel->key_len = (unsigned)name.len + 1;
	channel->key[0] = (char)kind;
	if (name.len > 0) {
		memcpy(channel->key + 1, name.data, name.len);
	}
	HASH_ADD_KEYPTR(hh, fanout->channels, channel->key, channel->key_len, channel);
	HASH_ADD(hh_number, fanout->channels_by_number, number, sizeof(channel->number), channel);
	fanout->channels_count++;
	return channel;
}

static unsigned channel_total(const struct channel *channel)
{
	unsigned total = 0;
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		total += channel->subscribers[encoding];
	}
	return total;
}

static void channel_free(struct fanout *fanout, struct channel *channel)
{
	HASH_DELETE(hh, fanout->channels, channel);
	HASH_DELETE(hh_number, fanout->channels_by_number, channel);
	fanout->channels_count--;
	free(channel);
}

static struct slice channel_name(const struct channel *channel)
{
	return (struct slice){channel->key + 1, channel->key_len - 1};
}

static void channel_drop_unheard(struct fanout *fanout, struct channel *channel)
{
	if (channel_total(channel) > 0 || channel->lent > 0) {
		return;
	}
	if (fanout->mirror) {
		fanout->link->release(fanout, channel->kind, channel_name(channel));
	}
	channel_free(fanout, channel);
}

/* The channel, made by its owner if need be. */
static struct channel *channel_need(
	struct fanout *fanout, enum channel_kind kind, struct slice name)
{
	struct channel *channel = channel_find(fanout, kind, name);
	if (channel != NULL) {
		return channel;
	}
	assert(!fanout->mirror);
	return channel_create(fanout, kind, name, fanout->next_channel++);
}

/* ---- the two functions that change subscriptions ---- */

/* The shard's view of an encoding's log; the owner makes both if need be. */
static struct log_view *view_need(struct fanout *fanout, unsigned shard, enum encoding encoding)
{
	struct log *log = fanout->logs[encoding];
	if (log == NULL) {
		log = log_create(fanout->pool, fanout->log_end[encoding]);
		fanout->logs[encoding] = log;
	}
	if (log->views[shard] == NULL) {
		log_attach(log, shard);
	}
	return log->views[shard];
}

static struct cursor *cursor_for(
	struct fanout *fanout, struct outbox *outbox, enum encoding encoding)
{
	if (fanout->views[encoding] == NULL) {
		assert(!fanout->mirror);
		fanout->views[encoding] = view_need(fanout, fanout->shard, encoding);
	}
	struct log_view *view = fanout->views[encoding];
	struct cursor *cursor = outbox_cursor(outbox, view);
	if (cursor == NULL) {
		cursor = cursor_open(outbox, view);
		cursor->fanout = fanout;
	}
	return cursor;
}

static void count(
	struct fanout *fanout, enum encoding encoding, struct channel *channel, int change)
{
	assert(change > 0 || (channel->subscribers[encoding] > 0 && fanout->subscriptions > 0));
	channel->subscribers[encoding] += (unsigned)change;
	fanout->subscriptions += (unsigned)change;
	if (fanout->mirror) {
		fanout->link->count(fanout, encoding, channel->kind, channel_name(channel), change);
	}
}

bool fanout_subscribe(struct fanout *fanout, struct outbox *outbox, enum encoding encoding,
	enum channel_kind kind, struct slice name)
{
	struct channel *channel = channel_need(fanout, kind, name);
	if (!cursor_hear(cursor_for(fanout, outbox, encoding), channel->number)) {
		return false;
	}
	count(fanout, encoding, channel, 1);
	return true;
}

static bool unsubscribe(struct cursor *cursor, enum encoding encoding, struct channel *channel)
{
	struct fanout *fanout = cursor->fanout;
	if (!cursor_ignore(cursor, channel->number)) {
		return false;
	}
	count(fanout, encoding, channel, -1);
	channel_drop_unheard(fanout, channel);
	if (cursor->filter->count == 0) {
		cursor_close(cursor);
	}
	return true;
}

bool fanout_unsubscribe(struct fanout *fanout, struct outbox *outbox, enum encoding encoding,
	enum channel_kind kind, struct slice name)
{
	struct log_view *view = fanout->views[encoding];
	struct cursor *cursor = view == NULL ? NULL : outbox_cursor(outbox, view);
	struct channel *channel = channel_find(fanout, kind, name);
	return cursor != NULL && channel != NULL && unsubscribe(cursor, encoding, channel);
}

static enum encoding cursor_encoding(const struct cursor *cursor)
{
	enum encoding encoding = ENC_RESP2;
	while (cursor->fanout->views[encoding] != cursor->view) {
		encoding++;
		assert(encoding < ENC_COUNT);
	}
	return encoding;
}

static struct channel *channel_by_number(const struct fanout *fanout, uint32_t number)
{
	struct channel *channel;
	HASH_FIND(hh_number, fanout->channels_by_number, &number, sizeof(number), channel);
	assert(channel != NULL);
	return channel;
}

static void leave_one(struct cursor *cursor)
{
	enum encoding encoding = cursor_encoding(cursor);
	struct filter *all = filter_share(cursor->filter);
	for (uint32_t i = 0; i < all->count; i++) {
		unsubscribe(cursor, encoding, channel_by_number(cursor->fanout, all->channel[i]));
	}
	filter_release(all);
}

void fanout_leave(struct outbox *outbox)
{
	for (struct cursor *cursor = outbox->cursors; cursor != NULL;) {
		struct cursor *next = cursor->next_of_outbox;
		if (!cursor->retired) {
			leave_one(cursor);
		}
		cursor = next;
	}
}

/* ---- questions ---- */

void fanout_subscriptions(const struct cursor *cursor, enum channel_kind kind,
	void (*each)(void *context, struct slice name), void *context)
{
	const struct fanout *fanout = cursor->fanout;
	struct filter *all = filter_share(cursor->filter);
	for (uint32_t i = 0; i < all->count; i++) {
		const struct channel *channel = channel_by_number(fanout, all->channel[i]);
		if (channel->kind == kind) {
			each(context, channel_name(channel));
		}
	}
	filter_release(all);
}

unsigned fanout_subscribers(const struct fanout *fanout, enum channel_kind kind, struct slice name)
{
	const struct channel *channel = channel_find(fanout, kind, name);
	return channel == NULL ? 0 : channel_total(channel);
}

void fanout_channels(const struct fanout *fanout, enum channel_kind kind,
	void (*each)(void *context, struct slice name), void *context)
{
	struct channel *channel;
	struct channel *next;
	HASH_ITER (hh, fanout->channels, channel, next) {
		if (channel->kind == kind) {
			each(context, channel_name(channel));
		}
	}
}

/* ---- append ---- */

/* Whether a message goes into the log of an encoding. One that is not published yet is heard by whoever subscribes until then;
 * so what comes behind it must be there, too, or he would miss it in between. */
static bool is_encoded(
	const struct fanout *fanout, const struct channel *channel, enum encoding encoding)
{
	const struct log *log = fanout->logs[encoding];
	bool alike = (channel->kind == CHANNEL_LINE) == (encoding == ENC_LINE);
	return channel->subscribers[encoding] > 0 || (alike && log != NULL && log->unpublished);
}

unsigned fanout_append(struct fanout *fanout, enum channel_kind kind, struct slice name,
	struct slice payload, struct log_mark mark)
{
	const struct channel *channel = channel_find(fanout, kind, name);
	if (channel == NULL) {
		return 0;
	}
	mark.channel = channel->number;
	unsigned receivers = 0;
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		if (!is_encoded(fanout, channel, encoding)) {
			continue;
		}
		receivers += channel->subscribers[encoding];
		size_t len = message_len(encoding, kind, name, payload);
		message_put(
			log_reserve(fanout->logs[encoding], len), encoding, kind, name, payload);
		log_commit(fanout->logs[encoding], len, &mark);
	}
	return receivers;
}

/* ---- publish, collect ---- */

bool fanout_unpublished(const struct fanout *fanout)
{
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		if (fanout->logs[encoding] != NULL && fanout->logs[encoding]->unpublished) {
			return true;
		}
	}
	return false;
}

struct fanout_ends fanout_ends(const struct fanout *fanout)
{
	struct fanout_ends ends = {{0}};
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		const struct log *log = fanout->logs[encoding];
		ends.end[encoding] = log == NULL ? 0 : log->appended;
	}
	return ends;
}

/* Tell the readers of all shards that the log has grown. */
static void wake_readers(struct fanout *fanout, struct log *log)
{
	for (unsigned shard = 0, left = log->views_count; left > 0; shard++) {
		struct log_view *view = log->views[shard];
		if (view == NULL) {
			continue;
		}
		left--;
		if (shard == fanout->shard) {
			view_advance(view, fanout->ready);
		} else {
			fanout->link->hint(fanout, view);
		}
	}
}

void fanout_publish_upto(struct fanout *fanout, const struct fanout_ends *ends)
{
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		struct log *log = fanout->logs[encoding];
		if (log == NULL || !log->unpublished || ends->end[encoding] > log->appended ||
			ends->end[encoding] <=
				atomic_load_explicit(&log->tail, memory_order_relaxed)) {
			continue;
		}
		log_publish(log, ends->end[encoding]);
		wake_readers(fanout, log);
	}
}

void fanout_publish(struct fanout *fanout)
{
	struct fanout_ends ends = fanout_ends(fanout);
	fanout_publish_upto(fanout, &ends);
}

/* Nobody of this shard reads it any more. */
static void view_let_go(struct fanout *fanout, enum encoding encoding)
{
	struct log_view *view = fanout->views[encoding];
	fanout->views[encoding] = NULL;
	if (fanout->mirror) {
		fanout->link->detach(fanout, view);
	} else {
		log_detach(view);
		free(view);
	}
}

static size_t log_let_go(struct fanout *fanout, enum encoding encoding)
{
	struct log *log = fanout->logs[encoding];
	if (log->views_count > 0) {
		return log_collect(log);
	}
	fanout->log_end[encoding] = log->appended;
	log_destroy(log);
	fanout->logs[encoding] = NULL;
	return 0;
}

static void drop_all_unheard(struct fanout *fanout)
{
	struct channel *channel;
	struct channel *next;
	HASH_ITER (hh, fanout->channels, channel, next) {
		channel_drop_unheard(fanout, channel);
	}
	fanout->unheard = false;
}

size_t fanout_collect(struct fanout *fanout)
{
	size_t freed = 0;
	if (fanout->unheard && fanout->borrowing == 0) {
		drop_all_unheard(fanout);
	}
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		struct log_view *view = fanout->views[encoding];
		bool moved = view != NULL && log_view_settle(view);
		if (view != NULL && view->cursors == 0 &&
			!(fanout->mirror && fanout->channels_count + fanout->borrowing > 0)) {
			view_let_go(fanout, encoding);
		} else if (moved && fanout->mirror) {
			fanout->link->settled(fanout, view);
		}
		if (fanout->logs[encoding] != NULL) {
			freed += log_let_go(fanout, encoding);
		}
	}
	return freed;
}

/* ---- between the owner and a mirror ---- */

uint32_t fanout_lend(struct fanout *fanout, unsigned shard, enum channel_kind kind,
	struct slice name, struct log_view *views[ENC_LINE])
{
	struct channel *channel = channel_need(fanout, kind, name);
	channel->lent++;
	for (unsigned encoding = 0; encoding < ENC_LINE; encoding++) {
		views[encoding] = view_need(fanout, shard, (enum encoding)encoding);
	}
	return channel->number;
}

void fanout_count(struct fanout *fanout, enum encoding encoding, enum channel_kind kind,
	struct slice name, int change)
{
	struct channel *channel = channel_find(fanout, kind, name);
	assert(channel != NULL && !fanout->mirror);
	count(fanout, encoding, channel, change);
}

void fanout_return(struct fanout *fanout, enum channel_kind kind, struct slice name)
{
	struct channel *channel = channel_find(fanout, kind, name);
	assert(channel != NULL && channel->lent > 0);
	channel->lent--;
	channel_drop_unheard(fanout, channel);
}

bool fanout_knows(const struct fanout *fanout, enum channel_kind kind, struct slice name)
{
	return channel_find(fanout, kind, name) != NULL;
}

void fanout_borrow(struct fanout *fanout, enum channel_kind kind, struct slice name,
	uint32_t number, struct log_view *const views[ENC_LINE])
{
	assert(fanout->mirror && fanout->borrowing > 0);
	fanout->borrowing--;
	fanout->unheard = true;
	if (number == 0) {
		return;
	}
	for (unsigned encoding = 0; encoding < ENC_LINE; encoding++) {
		assert(fanout->views[encoding] == NULL ||
			fanout->views[encoding] == views[encoding]);
		fanout->views[encoding] = views[encoding];
		view_advance(views[encoding], fanout->ready);
	}
	if (channel_find(fanout, kind, name) != NULL) { /* asked for twice: one loan is enough */
		fanout->link->release(fanout, kind, name);
		return;
	}
	channel_create(fanout, kind, name, number);
}

void fanout_rest(struct fanout *fanout)
{
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		struct log *log = fanout->logs[encoding];
		struct log_view *view = fanout->views[encoding];
		if (log != NULL && view != NULL && !log->unpublished && log_rest(log)) {
			view_rest(view);
		}
	}
}

bool fanout_unused(const struct fanout *fanout)
{
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		if (fanout->logs[encoding] != NULL || fanout->views[encoding] != NULL) {
			return false;
		}
	}
	return fanout->channels_count == 0 && fanout->borrowing == 0;
}

uint64_t fanout_backlog(const struct fanout *fanout)
{
	uint64_t bytes = 0;
	for (unsigned encoding = 0; encoding < ENC_COUNT; encoding++) {
		bytes += fanout->logs[encoding] == NULL ? 0 : log_backlog(fanout->logs[encoding]);
	}
	return bytes;
}
