/* The backend on io_uring: what a socket lives through when the kernel does the work and tells us afterwards.
 *
 * Called by ring.c through the table at the end; asks the kernel through uring.h. One turn, that is one wait():
 *
 *     give receive buffers back ─▶ hand over what is wanted ─▶ enter the kernel once ─▶ completions into events
 *
 * Requests go out in wait() only, but for sends, which ring_send() queues at once while there is room in
 * this turn's share (sends_per_enter); the others wait in `sends`. Everything else that a slot wants of the kernel
 * is decided in one place, settle(), from what is wanted and what is in flight; whoever changes one of them lists
 * the slot in `work`. A slot whose last completion has come, and which was only waiting for that, is listed in `over`
 * and becomes the event RING_CLOSED or RING_RELEASED.
 *
 * Invariants: slot->in_flight counts the completions that must still come, plus one while the slot is in
 * `sends`; a slot is dropped, and its descriptor closed, at 0 only. A completion makes at most one event. A buffer is
 * noted as used whatever its completion was for, so it comes back also when nobody wants its bytes.
 *
 * Closing a socket with an armed receive sends no FIN, for the request holds the file: hence shut down, cancel what did not
 * end by that, drain, close. With `reset` there is no shutdown, which would send FIN first.
 *
 * slot->special: (open) there is data waiting for sure, so look at once when the receive is armed; (closing) the cancel
 * was sent.
 *
 * Deliberately not done: registered descriptors, direct accept; release and adopt need a plain one.
 */
#include "ring/proactor.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "ring/buffers.h"
#include "ring/clock.h"
#include "ring/socket.h"
#include "ring/uring.h"

enum {
	OTHER_REQUESTS = 128, /* queued beside the sends before the queue is handed over early */
	COMPLETIONS_MIN = 2048,
	SEND_BYTES_MAX = 1 << 30, /* in one request; a completion's result is 31 bits */
	DRAIN_TURNS = 100,
	DRAIN_TURN_MS = 10
};

struct proactor {
	struct uring *uring;
	struct buffers buffers;
	struct slot_list sends; /* sends beyond this turn's share */
	struct slot_list work;  /* settle() has to look at them */
	struct slot_list over;  /* nothing in flight: to be dropped */
	unsigned sends_queued;  /* in the submission queue */
	unsigned in_flight;     /* of everything, listeners and the wake-up included */
	bool watched;           /* the wake-up is armed */
	bool draining;          /* ring_destroy(): no events */
};

/* Where wait() puts its events. */
struct reap {
	struct ring_event *events;
	unsigned count, max;
	bool woken;
};

static struct label label_of(struct ring *ring, const struct slot *slot, enum uring_what what)
{
	return (struct label){(uint8_t)what, slots_index(&ring->slots, slot), slot->generation};
}

static struct label label_of_listener(struct ring *ring, const struct listener *listener)
{
	uint32_t index = (uint32_t)(listener - ring->listeners.at);
	return (struct label){URING_ACCEPT, index, listener->generation};
}

static struct ring_event *add_event(
	struct ring *ring, struct reap *reap, enum ring_event_kind kind, const struct slot *slot)
{
	assert(reap->count < reap->max);
	struct ring_event *event = &reap->events[reap->count++];
	*event = (struct ring_event){
		.kind = kind, .socket = slots_name(&ring->slots, slot), .fd = -1};
	return event;
}

static void list_work(struct ring *ring, struct proactor *p, struct slot *slot)
{
	if (!slot->listed) {
		slot->listed = true;
		slot_list_push(&ring->slots, &p->work, slot);
	}
}

/* Lists the slot as over, if all it waited for has come. */
static void end_if_over(struct ring *ring, struct proactor *p, struct slot *slot)
{
	bool ending = slot->state == SLOT_CLOSING || slot->state == SLOT_RELEASING;
	if (ending && slot->in_flight == 0 && !slot->listed) {
		slot->listed = true;
		slot_list_push(&ring->slots, &p->over, slot);
	}
}

static void sent_off(struct proactor *p, struct slot *slot)
{
	slot->in_flight++;
	p->in_flight++;
}

/* Queues what is left of the send. */
static bool queue_send(struct ring *ring, struct proactor *p, struct slot *slot)
{
	struct label label = label_of(ring, slot, URING_SEND);
	size_t len = slot->left < SEND_BYTES_MAX ? slot->left : SEND_BYTES_MAX;
	bool queued = slot->pieces == NULL ? uring_send(p->uring, label, slot->fd, slot->data, len)
					   : uring_send_message(p->uring, label, slot->fd,
						     &slot->pieces->message);
	if (queued) {
		slot->sending = SEND_FLYING;
		p->sends_queued++;
		sent_off(p, slot);
	}
	return queued;
}

static void queue_send_later(struct ring *ring, struct proactor *p, struct slot *slot)
{
	slot->sending = SEND_QUEUED;
	slot->in_flight++; /* the slot stays until the list lets it go */
	slot_list_push(&ring->slots, &p->sends, slot);
}

static void proactor_send(struct ring *ring, struct slot *slot)
{
	struct proactor *p = ring->kernel;
	bool room = p->sends_queued < ring->options.sends_per_enter;
	if (!room || !slot_list_is_empty(&p->sends) || !queue_send(ring, p, slot)) {
		queue_send_later(ring, p, slot);
	}
}

/* Moves this turn's share of the waiting sends into the submission queue. */
static void queue_waiting_sends(struct ring *ring, struct proactor *p)
{
	while (p->sends_queued < ring->options.sends_per_enter) {
		struct slot *slot = slot_list_pop(&ring->slots, &p->sends);
		if (slot == NULL) {
			return;
		}
		slot->in_flight--;
		if (slot->state != SLOT_OPEN) {
			send_end(&ring->pool, slot);
			end_if_over(ring, p, slot);
		} else if (!queue_send(ring, p, slot)) {
			queue_send_later(ring, p, slot);
			return;
		}
	}
}

static bool settle_receive(struct ring *ring, struct proactor *p, struct slot *slot)
{
	bool wanted = slot->state == SLOT_OPEN && !slot->paused && !slot->ended;
	struct label receive = label_of(ring, slot, URING_RECEIVE);
	if (wanted && slot->receiving == RECEIVE_OFF) {
		if (!uring_receive(p->uring, receive, slot->fd, !slot->special)) {
			return false;
		}
		slot->receiving = RECEIVE_ARMED;
		slot->special = false;
		sent_off(p, slot);
	} else if (!wanted && slot->receiving == RECEIVE_ARMED) {
		if (!uring_cancel(p->uring, label_of(ring, slot, URING_CANCEL), receive)) {
			return false;
		}
		slot->receiving = RECEIVE_STOPPING;
		sent_off(p, slot);
	}
	return true;
}

static bool settle_closing(struct ring *ring, struct proactor *p, struct slot *slot)
{
	if (slot->in_flight > 0 && !slot->special) {
		if (!uring_cancel_fd(p->uring, label_of(ring, slot, URING_CANCEL), slot->fd)) {
			return false;
		}
		slot->special = true;
		sent_off(p, slot);
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

static void settle_all(struct ring *ring, struct proactor *p)
{
	struct slot *slot;
	while ((slot = slot_list_pop(&ring->slots, &p->work)) != NULL) {
		slot->listed = false;
		if (!settle(ring, p, slot)) {
			list_work(ring, p, slot);
			return;
		}
		end_if_over(ring, p, slot);
	}
}

static void arm_listeners(struct ring *ring, struct proactor *p)
{
	for (unsigned i = 0; i < ring->listeners.open; i++) {
		struct listener *listener = &ring->listeners.at[i];
		if (!listener_wants(listener, ring->now.mono_ns)) {
			continue;
		}
		struct label label = label_of_listener(ring, listener);
		listener->armed = uring_accept(p->uring, label, listener->fd);
		p->in_flight += listener->armed;
	}
}

static void arm_wake_up(struct ring *ring, struct proactor *p)
{
	if (!p->watched) {
		p->watched =
			uring_watch(p->uring, (struct label){.what = URING_WATCH}, ring->wake_fd);
		p->in_flight += p->watched;
	}
}

static void return_buffers(struct ring *ring, struct proactor *p)
{
	buffers_turn(&p->buffers, ring->now.mono_ns);
	int id;
	while ((id = buffers_give(&p->buffers)) >= 0) {
		uring_provide(p->uring, (unsigned)id, buffers_at(&p->buffers, (unsigned)id),
			(uint32_t)p->buffers.bytes_each);
	}
	uring_provided(p->uring);
}

/* ---- completions */

static void received_bytes(struct ring *ring, struct slot *slot,
	const struct uring_completion *done, struct reap *reap)
{
	if (slot->state != SLOT_OPEN && slot->state != SLOT_RELEASING) {
		return;
	}
	struct proactor *p = ring->kernel;
	struct ring_event *event = add_event(ring, reap, RING_RECEIVED, slot);
	event->data = buffers_at(&p->buffers, (unsigned)done->buffer);
	event->len = (size_t)done->result;
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
		slot->special = slot->state == SLOT_OPEN;
	} else if (done->result == 0) {
		received_end(ring, slot, OK, reap);
	} else if (done->result != -ECANCELED && done->result != -EINTR &&
		   done->result != -EAGAIN) {
		received_end(ring, slot, err_from_errno(-done->result), reap);
	}
	if (!done->more && slot->state == SLOT_OPEN && !slot->paused && !slot->ended) {
		ring->stats.recv_rearmed++;
		list_work(ring, p, slot);
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
			queue_send_later(ring, p, slot);
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
	list_work(ring, ring->kernel, slot);
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
		list_work(ring, ring->kernel, slot);
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
	end_if_over(ring, p, slot);
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
	list_work(ring, p, slot);
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

static void on_completion(struct ring *ring, const struct uring_completion *done, struct reap *reap)
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

static void end_slots(struct ring *ring, struct proactor *p, struct reap *reap)
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

static void reap_completions(struct ring *ring, struct proactor *p, struct reap *reap)
{
	struct uring_completion done;
	while (reap->count < reap->max && uring_next(p->uring, &done)) {
		on_completion(ring, &done, reap);
	}
	uring_seen(p->uring);
	end_slots(ring, p, reap);
}

/* ---- one turn */

/* Enters the kernel as often as needed, which is once: sends complete at once as a rule, so a turn
 * with sends does not wait, and one without them does nothing but wait. So asleep_ns is sleep. */
static int enter(struct ring *ring, struct proactor *p, uint64_t timeout_ns)
{
	int err = 0;
	if (timeout_ns == 0 || p->sends_queued > 0) {
		bool idle = uring_queued(p->uring) == 0 && uring_is_ready(p->uring);
		if (!idle || uring_is_behind(p->uring)) {
			err = uring_enter(p->uring, 0);
		}
		p->sends_queued = 0;
	}
	if (err == 0 && timeout_ns > 0 && !uring_is_ready(p->uring)) {
		uint64_t before_ns = clock_ns();
		err = uring_enter(p->uring, timeout_ns);
		ring->now = clock_read();
		ring->stats.asleep_ns += ring->now.mono_ns - before_ns;
	} else {
		ring->now = clock_read();
	}
	ring->stats.enters = uring_enters(p->uring);
	return err;
}

static int proactor_wait(
	struct ring *ring, uint64_t timeout_ns, struct ring_event *events, unsigned events_max)
{
	struct proactor *p = ring->kernel;
	struct reap reap = {.events = events, .max = events_max};
	return_buffers(ring, p);
	queue_waiting_sends(ring, p);
	settle_all(ring, p);
	arm_listeners(ring, p);
	arm_wake_up(ring, p);
	end_slots(ring, p, &reap);
	bool more_to_do = reap.count > 0 || !slot_list_is_empty(&p->sends) ||
			  !slot_list_is_empty(&p->work) || uring_is_ready(p->uring);
	timeout_ns =
		more_to_do ? 0 : listeners_timeout(&ring->listeners, ring->now.mono_ns, timeout_ns);
	int err = enter(ring, p, timeout_ns);
	if (err != 0) {
		journal(JOURNAL_WARNING, "io_uring_enter failed", "error=%d", -err);
		return err_from_errno(-err);
	}
	reap_completions(ring, p, &reap);
	return (int)reap.count;
}

static void proactor_receive(struct ring *ring, struct slot *slot)
{
	list_work(ring, ring->kernel, slot);
}

static void proactor_shut(struct ring *ring, struct slot *slot, bool reset)
{
	struct proactor *p = ring->kernel;
	if (slot->sending == SEND_FLYING && uring_queued(p->uring) > 0) {
		/* What was sent before the close may still leave with it. */
		uring_enter(p->uring, 0);
		p->sends_queued = 0;
	}
	if (reset) {
		socket_set_reset(slot->fd);
	} else {
		shutdown(slot->fd, SHUT_RDWR);
	}
	slot->special = false;
	list_work(ring, p, slot);
}

static int proactor_connect(
	struct ring *ring, struct slot *slot, const struct address *address, uint64_t timeout_ns)
{
	struct proactor *p = ring->kernel;
	struct label label = label_of(ring, slot, URING_CONNECT);
	if (!uring_connect(p->uring, label, slot->fd, &address->any, address->len, timeout_ns)) {
		return -E_NOMEM;
	}
	sent_off(p, slot);
	sent_off(p, slot);
	return OK;
}

static void proactor_listen(struct ring *ring, struct listener *listener)
{
	(void)ring;
	listener->retry_ns = 0; /* armed by the next wait() */
}

static void proactor_unlisten(struct ring *ring, struct listener *listener)
{
	struct proactor *p = ring->kernel;
	if (!listener->armed) {
		listener_drop(listener);
		return;
	}
	/* The shutdown ends the accept; the cancel is for kernels where it does not. */
	struct label accept = label_of_listener(ring, listener);
	uring_cancel(p->uring, (struct label){.what = URING_NOTHING}, accept);
}

static void proactor_bell(struct ring *self, struct ring *target)
{
	struct proactor *here = self->kernel;
	const struct proactor *there = target->kernel;
	int fd = uring_fd(there->uring);
	struct label label = {.what = URING_BELL, .generation = (uint32_t)fd};
	if (!uring_bell(here->uring, label, fd)) {
		ring_wake(target);
	}
}

static int proactor_open(struct ring *ring)
{
	const struct ring_options *options = &ring->options;
	struct proactor *p = mem_zalloc(sizeof(*p));
	slot_list_init(&p->sends, LINK_SEND);
	slot_list_init(&p->work, LINK_WORK);
	slot_list_init(&p->over, LINK_WORK);
	unsigned turn = options->sends_per_enter + options->recv_buffers;
	struct uring_limits limits = {
		.requests = options->sends_per_enter + OTHER_REQUESTS,
		.completions = turn * 2 > COMPLETIONS_MIN ? turn * 2 : COMPLETIONS_MIN,
		.recv_buffers = options->recv_buffers,
	};
	int err = err_from_errno(-uring_open(&limits, &p->uring));
	if (err == OK) {
		err = buffers_init(&p->buffers, options->recv_buffers, options->recv_buffer_bytes);
	}
	if (err != OK) {
		uring_close(p->uring);
		free(p);
		return err;
	}
	ring->kernel = p;
	return OK;
}

/* Takes everything back from the kernel, for the memory of sends is the caller's from now on. */
static void drain(struct ring *ring, struct proactor *p)
{
	struct ring_event ignored[64];
	p->draining = true;
	for (uint32_t i = 0; i < ring->slots.fresh; i++) {
		if (ring->slots.at[i].state != SLOT_FREE) {
			shutdown(ring->slots.at[i].fd, SHUT_RDWR);
		}
	}
	uring_cancel_everything(p->uring, (struct label){.what = URING_NOTHING});
	for (unsigned turn = 0; turn < DRAIN_TURNS && p->in_flight > 0; turn++) {
		struct reap reap = {.events = ignored, .max = 64};
		uring_enter(p->uring, DRAIN_TURN_MS * 1000000u);
		struct uring_completion done;
		while (reap.count < reap.max && uring_next(p->uring, &done)) {
			on_completion(ring, &done, &reap);
		}
		uring_seen(p->uring);
	}
	if (p->in_flight > 0) {
		journal(JOURNAL_WARNING, "requests are left in the kernel", "count=%u",
			p->in_flight);
	}
}

static void proactor_close(struct ring *ring)
{
	struct proactor *p = ring->kernel;
	drain(ring, p);
	uring_close(p->uring);
	buffers_finish(&p->buffers);
	free(p);
}

const struct backend *proactor_backend(void)
{
	static const struct backend table = {
		.name = "uring",
		.nonblocking = false,
		.open = proactor_open,
		.close = proactor_close,
		.listen = proactor_listen,
		.unlisten = proactor_unlisten,
		.connect = proactor_connect,
		.receive = proactor_receive,
		.send = proactor_send,
		.shut = proactor_shut,
		.wait = proactor_wait,
		.bell = proactor_bell,
	};
	return &table;
}
