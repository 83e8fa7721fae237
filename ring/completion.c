/* What comes back from the kernel: completions, made into events and into states of slots.
 *
 * Called by proactor.c after it has entered the kernel; calls request.h where an answer leads to another request. A
 * completion finds its slot by its label; of an old life's nothing is used but the buffer, which is noted as used whatever
 * its completion was for, and so comes back also when nobody wants its bytes.
 *
 * Invariant: a completion makes at most one event, so that there is always room for it. What ends by it becomes
 * an event of its own through the list `over`.
 *
 * Sources: io_uring_prep_recv_multishot(3), io_uring_prep_send(3), io_uring_prep_cancel(3),
 * io_uring_prep_link_timeout(3), io_uring_prep_msg_ring(3).
 */
#include "ring/completion.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "ring/request.h"

static struct ring_event *add_event(
	struct ring *ring, struct reap *reap, enum ring_event_kind kind, const struct slot *slot)
{
	assert(reap->count < reap->max);
	struct ring_event *event = &reap->events[reap->count++];
	*event = (struct ring_event){
		.kind = kind, .socket = slots_name(&ring->slots, slot), .fd = -1};
	return event;
}

static void received_bytes(struct ring *ring, struct slot *slot,
	const struct uring_completion *done, struct reap *reap)
{
	if (slot->state != SLOT_OPEN && slot->state != SLOT_RELEASING) {
		return;
	}
	struct proactor *p = ring->kernel;
	assert(done->buffer >= 0);
	struct ring_event *event = add_event(ring, reap, RING_RECEIVED, slot);
	event->data = buffers_at(&p->buffers, (unsigned)done->buffer);
	event->len = (size_t)done->result;
	if (!slot->suspect) {
		slot->suspect = true;
		suspects_add(&p->suspects, event->socket, ring->now.mono_ns);
	}
	ring->stats.received_events++;
	ring->stats.received_bytes += event->len;
}

static void received_end(struct ring *ring, struct slot *slot, int error, struct reap *reap)
{
	/* A socket on its way to another ring will tell its end there. */
	if (slot->state == SLOT_OPEN && !slot->ended) {
		add_event(ring, reap, RING_EOF, slot)->error = error;
		slot->ended = true;
	}
}

static void on_receive(struct ring *ring, struct slot *slot, const struct uring_completion *done,
	struct reap *reap)
{
	struct proactor *p = ring->kernel;
	if (!done->more) {
		slot->receiving = RECEIVE_OFF;
	}
	if (done->result > 0) {
		received_bytes(ring, slot, done, reap);
	} else if (done->result == -ENOBUFS) {
		buffers_starved(&p->buffers);
		slot->special |= slot->state == SLOT_OPEN;
	} else if (done->result == 0) {
		received_end(ring, slot, OK, reap);
	} else if (done->result != -ECANCELED && done->result != -EINTR &&
		   done->result != -EAGAIN) {
		received_end(ring, slot, err_from_errno(-done->result), reap);
	}
	if (!done->more && slot->state == SLOT_OPEN && !slot->paused && !slot->ended) {
		ring->stats.recv_rearmed++;
		request_work(ring, p, slot);
	}
}

static void on_send(struct ring *ring, struct slot *slot, int result, struct reap *reap)
{
	struct proactor *p = ring->kernel;
	int error = result < 0 ? err_from_errno(-result) : OK;
	if (result == 0) {
		error = -E_GONE;
	}
	if (result > 0) {
		ring->stats.sent_bytes += (uint64_t)result;
		if (send_advance(slot, (size_t)result) && slot->state == SLOT_OPEN) {
			/* Cut short: by death, then the next try says so, or by our own limit. */
			ring->stats.sends_short++;
			request_send_later(ring, p, slot);
			return;
		}
	}
	size_t sent = send_end(&ring->pool, slot);
	if (slot->state == SLOT_OPEN) {
		struct ring_event *event = add_event(ring, reap, RING_SENT, slot);
		event->error = error;
		event->len = sent;
	}
}

static void on_connect(struct ring *ring, struct slot *slot, int result, struct reap *reap)
{
	if (slot->state != SLOT_CONNECTING) {
		return;
	}
	int error = result == -ECANCELED ? -E_TIMEOUT : err_from_errno(-result);
	slot_enter(slot, error == OK ? SLOT_OPEN : SLOT_FAILED);
	add_event(ring, reap, RING_CONNECTED, slot)->error = error;
	request_work(ring, ring->kernel, slot);
}

/* `found`: the request, or how many, has been cancelled, and its own completion says so. */
static void on_cancel(struct ring *ring, struct slot *slot, int found)
{
	if (slot->state == SLOT_CLOSING) {
		if (slot->in_flight > 0 && found <= 0) {
			shutdown(slot->fd, SHUT_RDWR); /* what cannot be cancelled ends by this */
		}
	} else if (slot->receiving == RECEIVE_STOPPING && found < 0) {
		/* Its last completion is on the way, or it could not be found just then: ask again. */
		slot->receiving = RECEIVE_ARMED;
		request_work(ring, ring->kernel, slot);
	}
}

static void on_slot(struct ring *ring, const struct uring_completion *done, struct reap *reap)
{
	struct proactor *p = ring->kernel;
	struct slot *slot = slots_at(&ring->slots, done->label.slot, done->label.generation);
	if (slot == NULL) {
		return;
	}
	assert(slot->in_flight > 0);
	if (!done->more) {
		slot->in_flight--;
	}
	switch (done->label.what) {
	case URING_RECEIVE:
		on_receive(ring, slot, done, reap);
		break;
	case URING_SEND:
		on_send(ring, slot, done->result, reap);
		break;
	case URING_CONNECT:
		on_connect(ring, slot, done->result, reap);
		break;
	case URING_CANCEL:
		on_cancel(ring, slot, done->result);
		break;
	default: /* URING_DEADLINE: the connect's own completion says it all */
		break;
	}
	request_over(ring, p, slot);
}

static void on_newcomer(struct ring *ring, struct listener *listener, int fd, struct reap *reap)
{
	struct proactor *p = ring->kernel;
	listener->retry_ns = 0;
	if (listener->state != LISTENER_OPEN || p->draining) {
		close(fd);
		return;
	}
	struct slot *slot = slots_take(&ring->slots, SLOT_OPEN, fd);
	if (slot == NULL) {
		ring->stats.refused_full++;
		close(fd);
		return;
	}
	ring->stats.accepted++;
	add_event(ring, reap, RING_ACCEPTED, slot)->listener = listener->tag;
	request_work(ring, p, slot);
}

static void on_accept(struct ring *ring, const struct uring_completion *done, struct reap *reap)
{
	struct listener *listener = &ring->listeners.at[done->label.slot];
	assert(listener->generation == done->label.generation);
	listener->armed = done->more;
	if (done->result >= 0) {
		on_newcomer(ring, listener, done->result, reap);
	} else if (listener->state == LISTENER_OPEN && done->result != -ECANCELED) {
		bool rests = listener_rest(listener, -done->result, ring->now.mono_ns);
		ring->stats.refused_full += rests;
	}
	if (listener->state == LISTENER_CLOSING && !listener->armed) {
		listener_drop(listener);
	}
}

static void on_wake_up(struct ring *ring, const struct uring_completion *done, struct reap *reap)
{
	struct proactor *p = ring->kernel;
	if (done->label.what == URING_WATCH) {
		p->watched = done->more;
		ring_wake_seen(ring);
	}
	if (!reap->woken && !p->draining) {
		reap->woken = true;
		ring->stats.wakes++;
		reap->events[reap->count++] = (struct ring_event){.kind = RING_WOKEN, .fd = -1};
	}
}

/* The target's queue had no room, then ring again; or it is gone, then it needs no bell. The descriptor
 * may be another's by now, which the kernel refuses. */
static void on_lost_bell(struct proactor *p, const struct uring_completion *done)
{
	if (done->result == -EOVERFLOW || done->result == -ENOMEM || done->result == -EAGAIN) {
		uring_bell(p->uring, done->label, (int)done->label.generation);
	}
}

void completion_take(struct ring *ring, const struct uring_completion *done, struct reap *reap)
{
	struct proactor *p = ring->kernel;
	if (done->buffer >= 0) {
		buffers_use(&p->buffers, (unsigned)done->buffer);
	}
	p->in_flight -= done->label.what < URING_BELL && !done->more;
	switch (done->label.what) {
	case URING_ACCEPT:
		on_accept(ring, done, reap);
		break;
	case URING_WATCH:
	case URING_RUNG:
		on_wake_up(ring, done, reap);
		break;
	case URING_BELL:
		on_lost_bell(p, done);
		break;
	case URING_NOTHING:
		break;
	default:
		on_slot(ring, done, reap);
	}
}

void completion_end_slots(struct ring *ring, struct proactor *p, struct reap *reap)
{
	while (reap->count < reap->max) {
		struct slot *slot = slot_list_pop(&ring->slots, &p->over);
		if (slot == NULL) {
			return;
		}
		slot->listed = false;
		if (slot->state == SLOT_RELEASING) {
			add_event(ring, reap, RING_RELEASED, slot)->fd = slot->fd;
		} else {
			add_event(ring, reap, RING_CLOSED, slot);
			close(slot->fd);
		}
		slots_drop(&ring->slots, slot);
	}
}

void completion_reap(struct ring *ring, struct proactor *p, struct reap *reap)
{
	struct uring_completion done;
	while (reap->count < reap->max && uring_next(p->uring, &done)) {
		completion_take(ring, &done, reap);
	}
	uring_seen(p->uring);
	completion_end_slots(ring, p, reap);
}
