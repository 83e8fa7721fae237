/* The backend on epoll, for kernels and containers that refuse io_uring: we are told what is possible, and do it.
 *
 * Called by ring.c through the table at the end. One turn, that is one wait():
 *
 *     try the sends that were asked for ─▶ epoll_wait ─▶ read, finish sends, accept: all into events
 *
 * Level-triggered: what a turn leaves unread is reported again, so a turn may take as little as it likes (one
 * read of recv_buffer_bytes a connection), and nothing is lost by looking away. The price is an
 * epoll_ctl(2) when interest changes, which is rare: on pause and resume, and for a send that did not fit.
 * A descriptor that nothing is wanted of is taken out, for epoll reports hang-ups unasked, again and again.
 *
 * Invariants: slot->special is the interest that the kernel knows of; in_flight is 1 while the slot is in
 * `sends`, else 0. An event makes no system call after its slot was shut.
 */
#include "ring/epoll.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "ring/buffers.h"
#include "ring/clock.h"
#include "ring/label.h"
#include "ring/socket.h"

enum { READY_MAX = 256, ACCEPTS_MAX = 64 };

enum what { WHAT_SLOT, WHAT_LISTENER, WHAT_WAKE_UP };

_Static_assert(EPOLLIN < 256 && EPOLLOUT < 256, "slot->special holds the interest");

/* A connect under way, or one that has ended and must be told. */
struct connecting {
	struct ring_socket socket;
	uint64_t deadline_ns;
	bool over;
	int error;
};

struct poller {
	int fd;
	struct arena arena;
	struct slot_list sends;        /* asked for, not tried yet */
	struct slot_list over;         /* to be dropped */
	struct connecting *connecting; /* few at a time: looked through */
	unsigned connecting_count, connecting_room;
	struct epoll_event ready[READY_MAX];
};

/* Where wait() puts its events. */
struct reap {
	struct ring_event *events;
	unsigned count, max;
};

static struct ring_event *add_event(
	struct ring *ring, struct reap *reap, enum ring_event_kind kind, const struct slot *slot)
{
	assert(reap->count < reap->max);
	struct ring_event *event = &reap->events[reap->count++];
	*event = (struct ring_event){
		.kind = kind, .socket = slots_name(&ring->slots, slot), .fd = -1};
	return event;
}

static int control(struct poller *p, int operation, int fd, uint32_t interest, struct label label)
{
	struct epoll_event event = {.events = interest, .data.u64 = label_pack(label)};
	return epoll_ctl(p->fd, operation, fd, &event) == 0 ? OK : err_from_errno(errno);
}

/* Tells the kernel what is wanted of the slot now. A failure (no memory) leaves the old interest, and the
 * next change tries again. */
static void set_interest(struct ring *ring, struct slot *slot)
{
	uint8_t wanted = 0;
	if (slot->state == SLOT_OPEN && !slot->paused && !slot->ended) {
		wanted |= EPOLLIN;
	}
	if (slot->state == SLOT_CONNECTING ||
		(slot->state == SLOT_OPEN && slot->sending == SEND_FLYING)) {
		wanted |= EPOLLOUT;
	}
	if (wanted == slot->special) {
		return;
	}
	int operation = slot->special == 0 ? EPOLL_CTL_ADD
			: wanted == 0      ? EPOLL_CTL_DEL
					   : EPOLL_CTL_MOD;
	struct label label = {WHAT_SLOT, slots_index(&ring->slots, slot), slot->generation};
	int err = control(ring->kernel, operation, slot->fd, wanted, label);
	if (err != OK) {
		journal(JOURNAL_WARNING, "epoll_ctl failed", "error=%s",
			JQ(slice_of(err_text(err))));
		return;
	}
	slot->special = wanted;
}

static void list_over(struct ring *ring, struct slot *slot)
{
	struct poller *p = ring->kernel;
	if (slot->in_flight == 0 && !slot->listed) {
		slot->listed = true;
		slot_list_push(&ring->slots, &p->over, slot);
	}
}

/* ---- sending */

static void sent_event(struct ring *ring, struct slot *slot, int error, struct reap *reap)
{
	size_t sent = send_end(&ring->pool, slot);
	set_interest(ring, slot);
	struct ring_event *event = add_event(ring, reap, RING_SENT, slot);
	event->error = error;
	event->len = sent;
}

/* One attempt; what does not fit waits for EPOLLOUT. */
static void try_send(struct ring *ring, struct slot *slot, struct reap *reap)
{
	int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
	ring->stats.enters++;
	ssize_t sent = slot->pieces == NULL ? send(slot->fd, slot->data, slot->left, flags)
					    : sendmsg(slot->fd, &slot->pieces->message, flags);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		sent_event(ring, slot, err_from_errno(errno), reap);
		return;
	}
	if (sent > 0) {
		ring->stats.sent_bytes += (uint64_t)sent;
		if (!send_advance(slot, (size_t)sent)) {
			sent_event(ring, slot, OK, reap);
			return;
		}
		ring->stats.sends_short++;
	}
	slot->sending = SEND_FLYING;
	set_interest(ring, slot);
}

static void epoll_send(struct ring *ring, struct slot *slot)
{
	struct poller *p = ring->kernel;
	slot->sending = SEND_QUEUED;
	slot->in_flight = 1;
	slot_list_push(&ring->slots, &p->sends, slot);
}

/* This turn's share: leaves room for as many events of other kinds. */
static void try_sends(struct ring *ring, struct poller *p, struct reap *reap)
{
	unsigned share = reap->max > 1 ? reap->max / 2 : 1;
	if (share > ring->options.sends_per_enter) {
		share = ring->options.sends_per_enter;
	}
	while (share-- > 0 && reap->count < reap->max) {
		struct slot *slot = slot_list_pop(&ring->slots, &p->sends);
		if (slot == NULL) {
			return;
		}
		slot->in_flight = 0;
		if (slot->state == SLOT_OPEN) {
			try_send(ring, slot, reap);
		} else {
			send_end(&ring->pool, slot);
			list_over(ring, slot);
		}
	}
}

/* ---- connecting */

static struct connecting *find_connecting(struct ring *ring, const struct slot *slot)
{
	struct poller *p = ring->kernel;
	uint32_t index = slots_index(&ring->slots, slot);
	for (unsigned i = 0; i < p->connecting_count; i++) {
		if (p->connecting[i].socket.slot == index) {
			return &p->connecting[i];
		}
	}
	return NULL;
}

static void forget_connecting(struct poller *p, struct connecting *connecting)
{
	*connecting = p->connecting[--p->connecting_count];
}

static int epoll_connect(
	struct ring *ring, struct slot *slot, const struct address *address, uint64_t timeout_ns)
{
	struct poller *p = ring->kernel;
	struct connecting new = {
		.socket = slots_name(&ring->slots, slot),
		.deadline_ns = clock_ns() + timeout_ns,
	};
	if (new.deadline_ns < timeout_ns) {
		new.deadline_ns = UINT64_MAX;
	}
	int failed = connect(slot->fd, &address->any, address->len);
	if (failed == 0 || errno != EINPROGRESS) {
		new.over = true;
		new.error = failed == 0 ? OK : err_from_errno(errno);
	} else {
		set_interest(ring, slot);
	}
	if (p->connecting_count == p->connecting_room) {
		p->connecting_room = p->connecting_room == 0 ? 8 : p->connecting_room * 2;
		p->connecting =
			mem_realloc(p->connecting, p->connecting_room * sizeof(p->connecting[0]));
	}
	p->connecting[p->connecting_count++] = new;
	return OK;
}

static void on_connected(struct ring *ring, struct slot *slot)
{
	struct connecting *connecting = find_connecting(ring, slot);
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
		error = errno;
	}
	assert(connecting != NULL);
	connecting->over = true;
	connecting->error = err_from_errno(error);
}

/* Tells of the connects that have ended, one way or the other. */
static void end_connecting(struct ring *ring, struct poller *p, struct reap *reap)
{
	for (unsigned i = 0; i < p->connecting_count && reap->count < reap->max;) {
		struct connecting *c = &p->connecting[i];
		if (!c->over && c->deadline_ns > ring->now.mono_ns) {
			i++;
			continue;
		}
		struct slot *slot = slots_find(&ring->slots, c->socket);
		int error = c->over ? c->error : -E_TIMEOUT;
		assert(slot != NULL);
		slot_enter(slot, error == OK ? SLOT_OPEN : SLOT_FAILED);
		set_interest(ring, slot);
		add_event(ring, reap, RING_CONNECTED, slot)->error = error;
		forget_connecting(p, c);
	}
}

static uint64_t connecting_timeout(const struct ring *ring, uint64_t timeout_ns)
{
	const struct poller *p = ring->kernel;
	for (unsigned i = 0; i < p->connecting_count; i++) {
		const struct connecting *c = &p->connecting[i];
		uint64_t now_ns = ring->now.mono_ns;
		uint64_t in_ns = c->over || c->deadline_ns <= now_ns ? 0 : c->deadline_ns - now_ns;
		timeout_ns = in_ns < timeout_ns ? in_ns : timeout_ns;
	}
	return timeout_ns;
}

/* ---- what became possible */

static void on_readable(struct ring *ring, struct slot *slot, struct reap *reap)
{
	struct poller *p = ring->kernel;
	size_t most = ring->options.recv_buffer_bytes;
	char *room = arena_room(&p->arena, most);
	if (room == NULL) {
		return;
	}
	ssize_t got = recv(slot->fd, room, most, MSG_DONTWAIT);
	if (got > 0) {
		struct ring_event *event = add_event(ring, reap, RING_RECEIVED, slot);
		event->data = room;
		event->len = (size_t)got;
		arena_keep(&p->arena, event->len);
		ring->stats.received_events++;
		ring->stats.received_bytes += event->len;
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		int error = got == 0 ? OK : err_from_errno(errno);
		slot->ended = true;
		set_interest(ring, slot);
		add_event(ring, reap, RING_EOF, slot)->error = error;
	}
}

static void on_slot(struct ring *ring, struct label label, uint32_t ready, struct reap *reap)
{
	struct slot *slot = slots_at(&ring->slots, label.slot, label.generation);
	if (slot == NULL) {
		return;
	}
	uint32_t broken = ready & (EPOLLERR | EPOLLHUP);
	if (slot->state == SLOT_CONNECTING) {
		on_connected(ring, slot);
		return;
	}
	if (slot->sending == SEND_FLYING && (ready & EPOLLOUT || broken) &&
		slot->state == SLOT_OPEN) {
		try_send(ring, slot, reap);
	}
	if (slot->special & EPOLLIN && (ready & EPOLLIN || broken) && reap->count < reap->max) {
		on_readable(ring, slot, reap);
	}
}

static void accept_one(struct ring *ring, struct listener *listener, int fd, struct reap *reap)
{
	struct slot *slot = slots_take(&ring->slots, SLOT_OPEN, fd);
	if (slot == NULL) {
		ring->stats.refused_full++;
		close(fd);
		return;
	}
	ring->stats.accepted++;
	add_event(ring, reap, RING_ACCEPTED, slot)->listener = listener->tag;
	set_interest(ring, slot);
}

static void on_listener(struct ring *ring, struct label label, struct reap *reap)
{
	struct listener *listener = &ring->listeners.at[label.slot];
	if (listener->generation != label.generation || listener->state != LISTENER_OPEN) {
		return;
	}
	for (unsigned i = 0; i < ACCEPTS_MAX && reap->count < reap->max; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			listener->retry_ns = 0;
			accept_one(ring, listener, fd, reap);
		} else if (errno == EAGAIN) {
			return;
		} else if (listener_rest(listener, errno, ring->now.mono_ns)) {
			struct poller *p = ring->kernel;
			ring->stats.refused_full++;
			control(p, EPOLL_CTL_DEL, listener->fd, 0, label);
			listener->armed = false;
			return;
		}
	}
}

static void arm_listeners(struct ring *ring, struct poller *p)
{
	for (uint32_t i = 0; i < ring->listeners.open; i++) {
		struct listener *listener = &ring->listeners.at[i];
		if (listener_wants(listener, ring->now.mono_ns)) {
			struct label label = {WHAT_LISTENER, i, listener->generation};
			listener->armed =
				control(p, EPOLL_CTL_ADD, listener->fd, EPOLLIN, label) == OK;
		}
	}
}

static void end_slots(struct ring *ring, struct poller *p, struct reap *reap)
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

static void on_ready(struct ring *ring, const struct epoll_event *ready, struct reap *reap)
{
	struct label label = label_unpack(ready->data.u64);
	switch (label.what) {
	case WHAT_SLOT:
		on_slot(ring, label, ready->events, reap);
		break;
	case WHAT_LISTENER:
		on_listener(ring, label, reap);
		break;
	default:
		ring_wake_seen(ring);
		ring->stats.wakes++;
		reap->events[reap->count++] = (struct ring_event){.kind = RING_WOKEN, .fd = -1};
	}
}

/* ---- one turn */

static int milliseconds(uint64_t timeout_ns)
{
	if (timeout_ns == UINT64_MAX) {
		return -1;
	}
	uint64_t ms = timeout_ns / 1000000u + (timeout_ns % 1000000u != 0);
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

static int poll_kernel(struct ring *ring, struct poller *p, uint64_t timeout_ns, unsigned room)
{
	/* A ready socket may make two events; half as many as there is room for surely fit. */
	int most = room / 2 < READY_MAX ? (int)(room / 2) : READY_MAX;
	uint64_t before_ns = timeout_ns > 0 ? clock_ns() : 0;
	ring->stats.enters++;
	int count = epoll_wait(p->fd, p->ready, most > 0 ? most : 1, milliseconds(timeout_ns));
	int error = errno;
	ring->now = clock_read();
	if (timeout_ns > 0) {
		ring->stats.asleep_ns += ring->now.mono_ns - before_ns;
	}
	return count >= 0 ? count : error == EINTR ? 0 : err_from_errno(error);
}

static int epoll_turn(
	struct ring *ring, uint64_t timeout_ns, struct ring_event *events, unsigned events_max)
{
	struct poller *p = ring->kernel;
	struct reap reap = {.events = events, .max = events_max};
	arena_turn(&p->arena, ring->now.mono_ns);
	try_sends(ring, p, &reap);
	end_slots(ring, p, &reap);
	arm_listeners(ring, p);
	if (reap.count == reap.max) {
		ring->now = clock_read();
		return (int)reap.count;
	}
	bool more_to_do = reap.count > 0 || !slot_list_is_empty(&p->sends);
	if (more_to_do) {
		timeout_ns = 0;
	} else {
		timeout_ns = listeners_timeout(&ring->listeners, ring->now.mono_ns, timeout_ns);
		timeout_ns = connecting_timeout(ring, timeout_ns);
	}
	int ready = poll_kernel(ring, p, timeout_ns, reap.max - reap.count);
	if (ready < 0) {
		journal(JOURNAL_WARNING, "epoll_wait failed", "error=%s",
			JQ(slice_of(err_text(ready))));
		return ready;
	}
	for (int i = 0; i < ready && reap.count < reap.max; i++) {
		on_ready(ring, &p->ready[i], &reap);
	}
	end_connecting(ring, p, &reap);
	end_slots(ring, p, &reap);
	return (int)reap.count;
}

static void epoll_receive(struct ring *ring, struct slot *slot)
{
	set_interest(ring, slot);
	if (slot->state == SLOT_RELEASING) {
		list_over(ring, slot);
	}
}

static void epoll_shut(struct ring *ring, struct slot *slot, bool reset)
{
	struct connecting *connecting = find_connecting(ring, slot);
	if (connecting != NULL) {
		forget_connecting(ring->kernel, connecting);
	}
	if (slot->sending == SEND_QUEUED) {
		/* What was sent before the close may still leave with it. */
		struct msghdr *message = slot->pieces != NULL ? &slot->pieces->message : NULL;
		struct iovec piece = {(void *)(uintptr_t)slot->data, slot->left};
		struct msghdr one = {.msg_iov = &piece, .msg_iovlen = 1};
		ssize_t ignored = sendmsg(
			slot->fd, message != NULL ? message : &one, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)ignored;
	} else if (slot->sending == SEND_FLYING) {
		send_end(&ring->pool, slot);
	}
	set_interest(ring, slot);
	if (reset) {
		socket_set_reset(slot->fd);
	} else {
		shutdown(slot->fd, SHUT_RDWR);
	}
	list_over(ring, slot);
}

static void epoll_listen(struct ring *ring, struct listener *listener)
{
	(void)ring;
	listener->retry_ns = 0; /* armed by the next wait() */
}

static void epoll_unlisten(struct ring *ring, struct listener *listener)
{
	(void)ring;
	listener->armed = false;
	listener_drop(listener); /* closing takes it out of epoll */
}

static int epoll_open(struct ring *ring)
{
	struct poller *p = mem_zalloc(sizeof(*p));
	slot_list_init(&p->sends, LINK_SEND);
	slot_list_init(&p->over, LINK_WORK);
	size_t bytes = (size_t)ring->options.recv_buffers * ring->options.recv_buffer_bytes;
	int err = OK;
	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0) {
		err = err_from_errno(errno);
	} else {
		/* Edge-triggered: each ring_wake() is told once, and nothing needs to be read. */
		struct label label = {.what = WHAT_WAKE_UP};
		err = control(p, EPOLL_CTL_ADD, ring->wake_fd, EPOLLIN | EPOLLET, label);
	}
	if (err == OK) {
		err = arena_init(&p->arena, bytes);
	}
	if (err != OK) {
		if (p->fd >= 0) {
			close(p->fd);
		}
		free(p);
		return err;
	}
	ring->kernel = p;
	return OK;
}

static void epoll_close(struct ring *ring)
{
	struct poller *p = ring->kernel;
	close(p->fd);
	arena_finish(&p->arena);
	free(p->connecting);
	free(p);
}

const struct backend *epoll_backend(void)
{
	static const struct backend table = {
		.name = "epoll",
		.nonblocking = true,
		.open = epoll_open,
		.close = epoll_close,
		.listen = epoll_listen,
		.unlisten = epoll_unlisten,
		.connect = epoll_connect,
		.receive = epoll_receive,
		.send = epoll_send,
		.shut = epoll_shut,
		.wait = epoll_turn,
	};
	return &table;
}
