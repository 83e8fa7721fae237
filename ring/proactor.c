/* The backend on io_uring: the kernel does the work and tells us afterwards.
 *
 * Called by ring.c through the table at the end. One turn, that is one wait():
 *
 *     buffers back ─▶ what is wanted (request.c) ─▶ enter the kernel, once ─▶ completions into events (completion.c)
 *
 * A slot is dropped, and its descriptor closed, when nothing of it is in flight. Closing a socket with an armed receive
 * would send no FIN, for the request holds the file: hence shut down, cancel what did not end by that, drain, close. With
 * `reset` there is no shutdown, which would send a FIN first.
 *
 * Deliberately not done: registered descriptors and direct accept. They would save some 1.5 % of a fan-out's time (fget
 * and fput), but release, adopt and all socket options need a plain descriptor.
 */
#include "ring/proactor.h"

#include <stdlib.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "ring/clock.h"
#include "ring/completion.h"
#include "ring/request.h"
#include "ring/socket.h"

enum {
	OTHER_REQUESTS = 128, /* queued beside the sends before the queue is handed over early */
	COMPLETIONS_MIN = 2048,
	DRAIN_TURNS = 100,
	DRAIN_TURN_MS = 10
};

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
	request_buffers(ring, p);
	request_waiting_sends(ring, p);
	request_ends(ring, p);
	request_all(ring, p);
	request_accepts(ring, p);
	request_wake_up(ring, p);
	completion_end_slots(ring, p, &reap);
	bool more_to_do = reap.count > 0 || !slot_list_is_empty(&p->sends) ||
			  !slot_list_is_empty(&p->work) || uring_is_ready(p->uring);
	if (more_to_do) {
		timeout_ns = 0;
	} else {
		timeout_ns = listeners_timeout(&ring->listeners, ring->now.mono_ns, timeout_ns);
		timeout_ns = suspects_timeout(&p->suspects, ring->now.mono_ns, timeout_ns);
	}
	int err = enter(ring, p, timeout_ns);
	if (err != 0) {
		journal(JOURNAL_WARNING, "io_uring_enter failed", "error=%d", -err);
		return err_from_errno(-err);
	}
	completion_reap(ring, p, &reap);
	return (int)reap.count;
}

static void proactor_receive(struct ring *ring, struct slot *slot)
{
	request_work(ring, ring->kernel, slot);
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
	request_work(ring, p, slot);
}

static int proactor_connect(
	struct ring *ring, struct slot *slot, const struct address *address, uint64_t timeout_ns)
{
	struct proactor *p = ring->kernel;
	struct label label = request_label(ring, slot, URING_CONNECT);
	if (!uring_connect(p->uring, label, slot->fd, &address->any, address->len, timeout_ns)) {
		return -E_NOMEM;
	}
	request_count(p, slot);
	request_count(p, slot);
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
	struct label accept = request_listener_label(ring, listener);
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
			completion_take(ring, &done, &reap);
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
	suspects_finish(&p->suspects);
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
		.send = request_send,
		.shut = proactor_shut,
		.wait = proactor_wait,
		.bell = proactor_bell,
	};
	return &table;
}
