/* The bytes that one connection is expected to get: messages of several tenants, and replies between them.
 *
 * Between two replies the messages of one tenant come in their order, those of different tenants in any. So the
 * expectation is a chain of epochs, each with a queue for every tenant and the reply that ends it.
 */
#ifndef MILLRACE_TESTS_FANOUT_EXPECTED_H
#define MILLRACE_TESTS_FANOUT_EXPECTED_H

#include "tests/unit.h"

#include "engine/base/bytes.h"

enum { TENANTS = 3 };

struct expected {
	struct expected *next;
	size_t len;
	uint64_t hold; /* of a reply: the number that must be durable before */
	char data[];
};

struct queue {
	struct expected *first, **last;
};

/* What comes between two replies, and the reply that ends it. */
struct epoch {
	struct epoch *next;
	struct queue of_tenant[TENANTS];
	struct expected *reply; /* NULL: still open */
};

struct expectation {
	struct epoch *first, *last;
	uint64_t hold;    /* of the replies that come from now on */
	uint64_t durable; /* when the bytes that are being checked were asked for */
	struct bytes got; /* an item that is not complete yet */
	uint64_t messages;
	bool wrong;
};

static struct expected *expected_create(struct slice bytes)
{
	struct expected *item = mem_alloc(sizeof(*item) + bytes.len);
	*item = (struct expected){.len = bytes.len};
	memcpy(item->data, bytes.data, bytes.len);
	return item;
}

static void queue_push(struct queue *queue, struct expected *item)
{
	*queue->last = item;
	queue->last = &item->next;
}

static struct expected *queue_pop(struct queue *queue)
{
	struct expected *item = queue->first;
	queue->first = item->next;
	if (queue->first == NULL) {
		queue->last = &queue->first;
	}
	return item;
}

static void epoch_add(struct expectation *e)
{
	struct epoch *epoch = mem_zalloc(sizeof(*epoch));
	for (unsigned t = 0; t < TENANTS; t++) {
		epoch->of_tenant[t].last = &epoch->of_tenant[t].first;
	}
	if (e->last == NULL) {
		e->first = epoch;
	} else {
		e->last->next = epoch;
	}
	e->last = epoch;
}

static void expect_reply(struct expectation *e, struct slice bytes)
{
	e->last->reply = expected_create(bytes);
	e->last->reply->hold = e->hold;
	epoch_add(e);
}

static bool matches(struct slice got, const struct expected *item)
{
	return got.len >= item->len && memcmp(got.data, item->data, item->len) == 0;
}

/* Take one expected item off the front of what came; false: nothing is complete. */
static bool take_one(struct expectation *e, struct slice *got)
{
	struct epoch *epoch = e->first;
	bool empty = true;
	for (unsigned t = 0; t < TENANTS; t++) {
		struct queue *queue = &epoch->of_tenant[t];
		empty = empty && queue->first == NULL;
		if (queue->first != NULL && matches(*got, queue->first)) {
			*got = (struct slice){
				got->data + queue->first->len, got->len - queue->first->len};
			free(queue_pop(queue));
			e->messages++;
			return true;
		}
	}
	if (!empty || epoch->reply == NULL || !matches(*got, epoch->reply)) {
		return false;
	}
	CU_ASSERT_TRUE(epoch->reply->hold <= e->durable);
	*got = (struct slice){got->data + epoch->reply->len, got->len - epoch->reply->len};
	e->first = epoch->next;
	free(epoch->reply);
	free(epoch);
	return true;
}

static size_t longest_expected(const struct epoch *epoch)
{
	size_t longest = epoch->reply == NULL ? 0 : epoch->reply->len;
	for (unsigned t = 0; t < TENANTS; t++) {
		const struct expected *item = epoch->of_tenant[t].first;
		longest = item != NULL && item->len > longest ? item->len : longest;
	}
	return longest;
}

static void check_got(struct expectation *e, struct slice bytes)
{
	bytes_append_slice(&e->got, bytes);
	struct slice got = bytes_slice(&e->got);
	while (got.len > 0 && take_one(e, &got)) {
	}
	if (got.len > 0 && got.len >= longest_expected(e->first)) {
		printf("unexpected bytes: %.*s\n", got.len < 200 ? (int)got.len : 200, got.data);
		e->wrong = true;
	}
	bytes_consume(&e->got, e->got.len - got.len);
}

static bool expects_something(const struct expectation *e)
{
	return e->first != e->last || longest_expected(e->first) > 0;
}

static void expectation_finish(struct expectation *e)
{
	while (e->first != NULL) {
		struct epoch *epoch = e->first;
		for (unsigned t = 0; t < TENANTS; t++) {
			while (epoch->of_tenant[t].first != NULL) {
				free(queue_pop(&epoch->of_tenant[t]));
			}
		}
		e->first = epoch->next;
		free(epoch->reply);
		free(epoch);
	}
	e->last = NULL;
	bytes_finish(&e->got);
}

#endif
