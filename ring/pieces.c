/* The bookkeeping of one send per slot.
 *
 * Called by ring.c (begin) and the backends (advance, end). One piece, the usual case, lives in the slot itself.
 * Several need an array that stays where it is until the send is over, because what a short send leaves has to be asked
 * for again; such arrays come from a small pool of two sizes.
 *
 * The bytes themselves are never copied.
 */
#include "ring/pieces.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"

enum { SMALL_ROOM = 8 };

static const struct {
	unsigned room;
	unsigned kept_max; /* more than these are freed: some 70 KiB of each size */
} sizes[2] = {{SMALL_ROOM, 256}, {RING_IOV_MAX, 64}};

static struct pieces *pieces_take(struct pieces_pool *pool, unsigned count)
{
	unsigned size = count > SMALL_ROOM;
	struct pieces *pieces = pool->shelf[size].first;
	if (pieces != NULL) {
		pool->shelf[size].first = pieces->next;
		pool->shelf[size].count--;
		return pieces;
	}
	unsigned room = sizes[size].room;
	pieces = mem_zalloc(sizeof(*pieces) + room * sizeof(pieces->piece[0]));
	pieces->room = room;
	return pieces;
}

static void pieces_give(struct pieces_pool *pool, struct pieces *pieces)
{
	unsigned size = pieces->room > SMALL_ROOM;
	if (pool->shelf[size].count >= sizes[size].kept_max) {
		free(pieces);
		return;
	}
	pieces->next = pool->shelf[size].first;
	pool->shelf[size].first = pieces;
	pool->shelf[size].count++;
}

void pieces_pool_finish(struct pieces_pool *pool)
{
	for (unsigned size = 0; size < 2; size++) {
		while (pool->shelf[size].first != NULL) {
			struct pieces *pieces = pool->shelf[size].first;
			pool->shelf[size].first = pieces->next;
			free(pieces);
		}
	}
}

void send_begin(
	struct pieces_pool *pool, struct slot *slot, const struct iovec *pieces, unsigned count)
{
	assert(slot->sending == SEND_NONE && slot->pieces == NULL);
	assert(count > 0 && count <= RING_IOV_MAX);
	slot->sent = 0;
	if (count == 1) {
		slot->data = pieces[0].iov_base;
		slot->left = pieces[0].iov_len;
	} else {
		slot->pieces = pieces_take(pool, count);
		memcpy(slot->pieces->piece, pieces, count * sizeof(pieces[0]));
		slot->pieces->message.msg_iov = slot->pieces->piece;
		slot->pieces->message.msg_iovlen = count;
		slot->left = 0;
		for (unsigned i = 0; i < count; i++) {
			slot->left += pieces[i].iov_len;
		}
	}
	assert(slot->left > 0);
}

/* Moves the array's beginning over `sent` bytes. */
static void pieces_advance(struct msghdr *message, size_t sent)
{
	while (sent > 0) {
		struct iovec *piece = message->msg_iov;
		if (sent < piece->iov_len) {
			piece->iov_base = (char *)piece->iov_base + sent;
			piece->iov_len -= sent;
			return;
		}
		sent -= piece->iov_len;
		message->msg_iov++;
		message->msg_iovlen--;
	}
}

bool send_advance(struct slot *slot, size_t sent)
{
	assert(sent <= slot->left);
	slot->sent += sent;
	slot->left -= sent;
	if (slot->left == 0) {
		return false;
	}
	if (slot->pieces == NULL) {
		slot->data += sent;
	} else {
		pieces_advance(&slot->pieces->message, sent);
	}
	return true;
}

size_t send_end(struct pieces_pool *pool, struct slot *slot)
{
	if (slot->pieces != NULL) {
		pieces_give(pool, slot->pieces);
		slot->pieces = NULL;
	}
	slot->sending = SEND_NONE;
	slot->data = NULL;
	return slot->sent;
}
