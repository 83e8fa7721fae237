/* The public face of the ring: names, arguments and what every kernel needs; the rest is the backend's.
 *
 * Called by a shard's loop and by whoever handles its events; calls the backend (backend.h) through one table that
 * ring_create() chooses. Stale names end here, and so does whatever a socket's state does not allow, so that a
 * backend sees legal calls only.
 *
 * Invariant: nothing here waits, but ring_wait(), and nothing here makes an event: they all come from the backend's
 * wait().
 */
#include "ring/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "ring/backend.h"
#include "ring/buffers.h"
#include "ring/clock.h"
#include "ring/epoll.h"
#include "ring/label.h"
#include "ring/proactor.h"
#include "ring/probe.h"
#include "ring/socket.h"

enum { SENDS_PER_ENTER_MAX = 4096 };

/* ---- life */

static int check_options(const struct ring_options *options)
{
	uint32_t buffers = options->recv_buffers;
	bool power_of_two = buffers > 0 && (buffers & (buffers - 1)) == 0;
	bool fits = options->sockets_max > 0 && options->sockets_max <= 1u << LABEL_SLOT_BITS &&
		    options->recv_buffer_bytes > 0 && buffers <= BUFFERS_MAX &&
		    options->sends_per_enter > 0 && options->sends_per_enter <= SENDS_PER_ENTER_MAX;
	return power_of_two && fits ? OK : -E_RANGE;
}

/* Decides for a backend and logs why. */
static int choose(const char *engine, const struct backend **out)
{
	char why[PROBE_WHY_MAX];
	if (strcmp(engine, "epoll") == 0) {
		*out = epoll_backend();
		journal(JOURNAL_VERBOSE, "the ring uses epoll, as configured", "engine=epoll");
		return OK;
	}
	bool demanded = strcmp(engine, "uring") == 0;
	if (!demanded && strcmp(engine, "auto") != 0) {
		return -E_UNKNOWN;
	}
	int err = probe_uring(why);
	char line[PROBE_WHY_MAX + 64];
	if (err == OK) {
		*out = proactor_backend();
		snprintf(line, sizeof(line), "the ring uses io_uring: %s", why);
		journal(JOURNAL_VERBOSE, line, "engine=uring");
		return OK;
	}
	if (demanded) {
		snprintf(line, sizeof(line), "the ring cannot use io_uring: %s", why);
		journal(JOURNAL_WARNING, line, "engine=none");
		return err;
	}
	*out = epoll_backend();
	snprintf(line, sizeof(line), "the ring uses epoll: %s", why);
	journal(JOURNAL_NOTICE, line, "engine=epoll");
	return OK;
}

int ring_create(const struct ring_options *options, struct ring **out)
{
	int err = check_options(options);
	const struct backend *backend;
	if (err == OK) {
		err = choose(options->engine, &backend);
	}
	if (err != OK) {
		return err;
	}
	struct ring *ring = mem_zalloc(sizeof(*ring));
	ring->options = *options;
	ring->options.engine = backend->name;
	ring->backend = backend;
	ring->now = clock_read();
	atomic_init(&ring->woken, false);
	ring->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = ring->wake_fd >= 0 ? slots_init(&ring->slots, options->sockets_max) : -E_NOMEM;
	if (err == OK) {
		err = backend->open(ring);
	}
	if (err != OK) {
		slots_finish(&ring->slots);
		if (ring->wake_fd >= 0) {
			close(ring->wake_fd);
		}
		free(ring);
		return err == -E_UNSUPPORTED ? err : -E_NOMEM;
	}
	*out = ring;
	return OK;
}

static void stop_listener(struct ring *ring, struct listener *listener)
{
	listener_stop(listener);
	ring->backend->unlisten(ring, listener);
}

static void close_listeners(struct ring *ring)
{
	for (unsigned i = 0; i < ring->listeners.open; i++) {
		struct listener *listener = &ring->listeners.at[i];
		if (listener->state == LISTENER_CLOSING) {
			listener->armed = false; /* the backend is closed: nothing is in flight */
			listener_drop(listener);
		}
	}
}

void ring_destroy(struct ring *ring)
{
	if (ring == NULL) {
		return;
	}
	for (unsigned i = 0; i < ring->listeners.open; i++) {
		if (ring->listeners.at[i].state == LISTENER_OPEN) {
			stop_listener(ring, &ring->listeners.at[i]);
		}
	}
	ring->backend->close(ring);
	close_listeners(ring);
	for (uint32_t i = 0; i < ring->slots.fresh; i++) {
		struct slot *slot = &ring->slots.at[i];
		if (slot->state != SLOT_FREE) {
			send_end(&ring->pool, slot);
			close(slot->fd);
		}
	}
	pieces_pool_finish(&ring->pool);
	slots_finish(&ring->slots);
	close(ring->wake_fd);
	free(ring);
}

const char *ring_engine(const struct ring *ring)
{
	return ring->backend->name;
}

/* ---- listening and connecting */

int ring_listen(struct ring *ring, const char *address, unsigned mode, uint32_t tag, char *bound)
{
	struct listener *listener;
	bool nonblocking = ring->backend->nonblocking;
	int err = listener_open(&ring->listeners, address, mode, nonblocking, &listener, bound);
	if (err == OK) {
		listener->tag = tag;
		ring->backend->listen(ring, listener);
	}
	return err;
}

void ring_unlisten(struct ring *ring, uint32_t tag)
{
	for (unsigned i = 0; i < ring->listeners.open; i++) {
		struct listener *listener = &ring->listeners.at[i];
		if (listener->state == LISTENER_OPEN && listener->tag == tag) {
			stop_listener(ring, listener);
		}
	}
}

int ring_connect(
	struct ring *ring, const char *address, uint64_t timeout_ns, struct ring_socket *out)
{
	struct address parsed;
	int err = address_parse(address, &parsed);
	if (err != OK) {
		return err;
	}
	struct slot *slot = slots_take(&ring->slots, SLOT_CONNECTING, -1);
	if (slot == NULL) {
		return -E_FULL;
	}
	slot->fd = socket_open(&parsed, ring->backend->nonblocking);
	err = slot->fd < 0 ? slot->fd : ring->backend->connect(ring, slot, &parsed, timeout_ns);
	if (err != OK) {
		if (slot->fd >= 0) {
			close(slot->fd);
		}
		slot_enter(slot, SLOT_CLOSING);
		slots_drop(&ring->slots, slot);
		return err;
	}
	*out = slots_name(&ring->slots, slot);
	ring->stats.sockets = ring->slots.used;
	return OK;
}

int ring_adopt(struct ring *ring, int fd, struct ring_socket *out)
{
	struct slot *slot = slots_take(&ring->slots, SLOT_OPEN, fd);
	if (slot == NULL) {
		return -E_FULL;
	}
	socket_set_nonblocking(fd, ring->backend->nonblocking);
	ring->backend->receive(ring, slot);
	*out = slots_name(&ring->slots, slot);
	ring->stats.sockets = ring->slots.used;
	return OK;
}

void ring_release(struct ring *ring, struct ring_socket socket)
{
	struct slot *slot = slots_find(&ring->slots, socket);
	if (slot == NULL || slot->state != SLOT_OPEN) {
		return;
	}
	assert(slot->sending == SEND_NONE);
	slot_enter(slot, SLOT_RELEASING);
	ring->backend->receive(ring, slot);
}

/* ---- traffic */

int ring_send(
	struct ring *ring, struct ring_socket socket, const struct iovec *pieces, unsigned count)
{
	struct slot *slot = slots_find(&ring->slots, socket);
	if (slot == NULL || slot->state != SLOT_OPEN) {
		return -E_GONE;
	}
	send_begin(&ring->pool, slot, pieces, count);
	ring->stats.sends++;
	ring->backend->send(ring, slot);
	return OK;
}

static void set_paused(struct ring *ring, struct ring_socket socket, bool paused)
{
	struct slot *slot = slots_find(&ring->slots, socket);
	bool able = slot != NULL && (slot->state == SLOT_OPEN || slot->state == SLOT_CONNECTING);
	if (able && slot->paused != paused) {
		slot->paused = paused;
		ring->backend->receive(ring, slot);
	}
}

void ring_pause(struct ring *ring, struct ring_socket socket)
{
	set_paused(ring, socket, true);
}

void ring_resume(struct ring *ring, struct ring_socket socket)
{
	set_paused(ring, socket, false);
}

void ring_close(struct ring *ring, struct ring_socket socket, bool reset)
{
	struct slot *slot = slots_find(&ring->slots, socket);
	if (slot == NULL || slot->state == SLOT_CLOSING) {
		return;
	}
	slot_enter(slot, SLOT_CLOSING);
	ring->backend->shut(ring, slot, reset);
}

int ring_wait(
	struct ring *ring, uint64_t timeout_ns, struct ring_event *events, unsigned events_max)
{
	assert(events_max > 0);
	slots_turn(&ring->slots);
	int count = ring->backend->wait(ring, timeout_ns, events, events_max);
	ring->stats.sockets = ring->slots.used;
	return count;
}

struct instant ring_now(const struct ring *ring)
{
	return ring->now;
}

uint64_t ring_clock_ns(void)
{
	return clock_ns();
}

/* ---- waking */

void ring_wake(struct ring *ring)
{
	/* Whoever finds it set already leaves the owner to see its own write to whatever it wants seen: the
	 * owner's exchange in ring_wake_seen() reads this one's. */
	if (!atomic_exchange(&ring->woken, true)) {
		uint64_t one = 1;
		ssize_t written = write(ring->wake_fd, &one, sizeof(one));
		assert(written == sizeof(one));
	}
}

void ring_wake_seen(struct ring *ring)
{
	atomic_exchange(&ring->woken, false);
}

void ring_bell(struct ring *self, struct ring *target)
{
	if (self->backend->bell != NULL && self->backend == target->backend) {
		self->backend->bell(self, target);
	} else {
		ring_wake(target);
	}
}

/* ---- asking */

int ring_peer_address(const struct ring *ring, struct ring_socket socket, char *out)
{
	const struct slot *slot = slots_find(&ring->slots, socket);
	if (slot == NULL) {
		snprintf(out, RING_ADDRESS_MAX, "?");
		return -E_GONE;
	}
	socket_peer_address(slot->fd, out);
	return OK;
}

int32_t ring_peer_pid(const struct ring *ring, struct ring_socket socket)
{
	const struct slot *slot = slots_find(&ring->slots, socket);
	return slot != NULL ? socket_peer_pid(slot->fd) : 0;
}

void ring_set_timeouts(struct ring *ring, struct ring_socket socket, unsigned user_timeout_ms,
	unsigned keepalive_s)
{
	const struct slot *slot = slots_find(&ring->slots, socket);
	if (slot != NULL) {
		socket_set_timeouts(slot->fd, user_timeout_ms, keepalive_s);
	}
}

const struct ring_stats *ring_stats(const struct ring *ring)
{
	return &ring->stats;
}
