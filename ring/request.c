/* What goes to the kernel: sends, and everything else that a slot wants and has not got.
 *
 * Called by proactor.c, before it enters the kernel, and by completion.c; calls uring.h.
 *
 * Sends are queued at once by ring_send(), while there is room in this turn's share (sends_per_enter); the others
 * wait in `sends`, first come, first served. Everything else is decided in one place, settle(), from what is wanted and what
 * is in flight: so a pause and a resume in one turn cost nothing, and a request that found no room in the queue is made by the
 * next turn.
 *
 * Invariants: slot->in_flight counts the completions that must still come, plus one while the slot is in `sends`;
 * a slot is in `work` or in `over` when it is `listed`, never in both.
 *
 * slot->special: (open) data is waiting for sure, so look at once when the receive is armed; (closing) the
 * cancel was sent.
 */
#include "ring/request.h"

enum { SEND_BYTES_MAX = 1 << 30 }; /* in one request; a completion's result is 31 bits */

struct label request_label(struct ring *ring, const struct slot *slot, enum uring_what what)
{
	return (struct label){(uint8_t)what, slots_index(&ring->slots, slot), slot->generation};
}

struct label request_listener_label(struct ring *ring, const struct listener *listener)
{
	uint32_t index = (uint32_t)(listener - ring->listeners.at);
	return (struct label){URING_ACCEPT, index, listener->generation};
}

void request_work(struct ring *ring, struct proactor *p, struct slot *slot)
{
	if (!slot->listed) {
		slot->listed = true;
		slot_list_push(&ring->slots, &p->work, slot);
	}
}

void request_over(struct ring *ring, struct proactor *p, struct slot *slot)
{
	bool ending = slot->state == SLOT_CLOSING || slot->state == SLOT_RELEASING;
	if (ending && slot->in_flight == 0 && !slot->listed) {
		slot->listed = true;
		slot_list_push(&ring->slots, &p->over, slot);
	}
}

void request_count(struct proactor *p, struct slot *slot)
{
	slot->in_flight++;
	p->in_flight++;
}

/* Queues what is left of the send. */
static bool queue_send(struct ring *ring, struct proactor *p, struct slot *slot)
{
	struct label label = request_label(ring, slot, URING_SEND);
	size_t len = slot->left < SEND_BYTES_MAX ? slot->left : SEND_BYTES_MAX;
	bool queued = slot->pieces == NULL ? uring_send(p->uring, label, slot->fd, slot->data, len)
					   : uring_send_message(p->uring, label, slot->fd,
						     &slot->pieces->message);
	if (queued) {
		slot->sending = SEND_FLYING;
		p->sends_queued++;
		request_count(p, slot);
	}
	return queued;
}

void request_send_later(struct ring *ring, struct proactor *p, struct slot *slot)
{
	slot->sending = SEND_QUEUED;
	slot->in_flight++; /* the slot stays until the list lets it go */
	slot_list_push(&ring->slots, &p->sends, slot);
}

void request_send(struct ring *ring, struct slot *slot)
{
	struct proactor *p = ring->kernel;
	bool room = p->sends_queued < ring->options.sends_per_enter;
	if (!room || !slot_list_is_empty(&p->sends) || !queue_send(ring, p, slot)) {
		request_send_later(ring, p, slot);
	}
}

/* Moves this turn's share of the waiting sends into the submission queue. */
void request_waiting_sends(struct ring *ring, struct proactor *p)
{
	while (p->sends_queued < ring->options.sends_per_enter) {
		struct slot *slot = slot_list_pop(&ring->slots, &p->sends);
		if (slot == NULL) {
			return;
		}
		slot->in_flight--;
		if (slot->state != SLOT_OPEN) {
			send_end(&ring->pool, slot);
			request_over(ring, p, slot);
		} else if (!queue_send(ring, p, slot)) {
			request_send_later(ring, p, slot);
			return;
		}
	}
}

static bool arm_receive(struct ring *ring, struct proactor *p, struct slot *slot)
{
	struct label label = request_label(ring, slot, URING_RECEIVE);
	bool queued = slot->dying ? uring_receive_once(p->uring, label, slot->fd)
				  : uring_receive(p->uring, label, slot->fd, !slot->special);
	if (queued) {
		slot->receiving = slot->dying ? RECEIVE_ONCE : RECEIVE_ARMED;
		slot->special = false;
		request_count(p, slot);
	}
	return queued;
}

static bool stop_receive(struct ring *ring, struct proactor *p, struct slot *slot)
{
	struct label label = request_label(ring, slot, URING_CANCEL);
	bool queued = uring_cancel(p->uring, label, request_label(ring, slot, URING_RECEIVE));
	if (queued) {
		slot->receiving = RECEIVE_STOPPING;
		request_count(p, slot);
	}
	return queued;
}

static bool settle_receive(struct ring *ring, struct proactor *p, struct slot *slot)
{
	bool wanted = slot->state == SLOT_OPEN && !slot->paused && !slot->ended;
	switch (slot->receiving) {
	case RECEIVE_OFF:
		return wanted ? arm_receive(ring, p, slot) : true;
	case RECEIVE_ARMED:
		return wanted && !slot->dying ? true : stop_receive(ring, p, slot);
	case RECEIVE_ONCE:
		return wanted ? true : stop_receive(ring, p, slot);
	default:
		return true;
	}
}

static bool settle_closing(struct ring *ring, struct proactor *p, struct slot *slot)
{
	if (slot->in_flight > 0 && !slot->special) {
		if (!uring_cancel_fd(p->uring, request_label(ring, slot, URING_CANCEL), slot->fd)) {
			return false;
		}
		slot->special = true;
		request_count(p, slot);
	}
	return true;
}

/* Asks the kernel for what the slot wants and has not got. Returns false where there was no room. */
static bool settle(struct ring *ring, struct proactor *p, struct slot *slot)
{
	switch (slot->state) {
	case SLOT_OPEN:
	case SLOT_RELEASING:
		return settle_receive(ring, p, slot);
	case SLOT_CLOSING:
		return settle_closing(ring, p, slot);
	default:
		return true;
	}
}

void request_all(struct ring *ring, struct proactor *p)
{
	struct slot *slot;
	while ((slot = slot_list_pop(&ring->slots, &p->work)) != NULL) {
		slot->listed = false;
		if (!settle(ring, p, slot)) {
			request_work(ring, p, slot);
			return;
		}
		request_over(ring, p, slot);
	}
}

void request_accepts(struct ring *ring, struct proactor *p)
{
	for (unsigned i = 0; i < ring->listeners.open; i++) {
		struct listener *listener = &ring->listeners.at[i];
		if (!listener_wants(listener, ring->now.mono_ns)) {
			continue;
		}
		struct label label = request_listener_label(ring, listener);
		listener->armed = uring_accept(p->uring, label, listener->fd);
		p->in_flight += listener->armed;
	}
}

void request_wake_up(struct ring *ring, struct proactor *p)
{
	if (!p->watched) {
		p->watched =
			uring_watch(p->uring, (struct label){.what = URING_WATCH}, ring->wake_fd);
		p->in_flight += p->watched;
	}
}

/* Sockets that came to their end unheard: their multishot is stopped, and what is left is read piece by piece. */
void request_ends(struct ring *ring, struct proactor *p)
{
	struct slot *dead[SUSPECTS_AT_ONCE];
	unsigned looked = 1;
	if (suspects_timeout(&p->suspects, ring->now.mono_ns, 1) != 0) {
		return;
	}
	while (looked > 0) {
		unsigned count = suspects_check(&p->suspects, &ring->slots, dead, &looked);
		for (unsigned i = 0; i < count; i++) {
			dead[i]->dying = true;
			request_work(ring, p, dead[i]);
		}
	}
}

void request_buffers(struct ring *ring, struct proactor *p)
{
	buffers_turn(&p->buffers, ring->now.mono_ns);
	int id;
	while ((id = buffers_give(&p->buffers)) >= 0) {
		uring_provide(p->uring, (unsigned)id, buffers_at(&p->buffers, (unsigned)id),
			(uint32_t)p->buffers.bytes_each);
	}
	uring_provided(p->uring);
}
