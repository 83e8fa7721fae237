/* The hub's end of the simulated network: ring/ring.h, implemented on net.h.
 *
 * Linked in the place of the real ring. Called by the hub; its behaviour is as nasty as the contract allows: receives come in
 * pieces, several in a turn or none, sends finish late and are read from their memory bit by bit meanwhile, events of
 * different sockets come in any order, some pieces still come after a pause, RING_CLOSED may take its time, and slots are
 * reused at once.
 *
 * What the contract demands of the caller is checked: one send in flight, its memory unchanged until RING_SENT or RING_CLOSED.
 */
#include "ring/ring.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/table.h"
#include "tests/sim/net_parts.h"

struct received {
	struct received *next;
	char data[];
};

struct ring {
	struct net *net;
	struct ring_options options;
	struct link **slots;
	uint32_t *generations;
	bool listening[TAGS];
	bool woken;
	struct received *buffers; /* of the events of the last turn */
	struct ring_stats stats;
};

/* What a turn collects. */
struct reap {
	struct ring_event *events;
	unsigned count, max;
};

int ring_create(const struct ring_options *options, struct ring **out)
{
	struct net *net = net_current();
	assert(net != NULL && net->ring == NULL);
	struct ring *ring = mem_zalloc(sizeof(*ring));
	ring->net = net;
	ring->options = *options;
	ring->slots = mem_zalloc(options->sockets_max * sizeof(struct link *));
	ring->generations = mem_zalloc(options->sockets_max * sizeof(uint32_t));
	net->ring = ring;
	*out = ring;
	return OK;
}

static void free_buffers(struct ring *ring)
{
	while (ring->buffers != NULL) {
		struct received *next = ring->buffers->next;
		free(ring->buffers);
		ring->buffers = next;
	}
}

/* ---- sends ---- */

static uint64_t checksum_of(const struct send *send)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < send->count; i++) {
		sum = sum * 31 + table_hash(send->pieces[i].iov_base, send->pieces[i].iov_len);
	}
	return sum;
}

static void end_send(struct link *link)
{
	if (link->send.active && checksum_of(&link->send) != link->send.checksum) {
		net_report(link->net, "memory of a send was changed while it was the kernel's");
	}
	link->send.active = false;
}

/* Move what fits from the send's memory into the pipe. */
static void pump(struct link *link)
{
	struct net *net = link->net;
	struct send *send = &link->send;
	size_t max =
		random_one_in(&net->random, 4) ? 1 + random_skewed(&net->random, 5000) : SIZE_MAX;
	while (send->left > 0 && max > 0 && link->out.bytes < link->weather.window) {
		const struct iovec *piece = &send->pieces[send->piece];
		size_t room = link->weather.window - link->out.bytes;
		size_t part = piece->iov_len - send->offset;
		part = part < room ? part : room;
		part = part < max ? part : max;
		pipe_push(net, &link->out, &link->weather,
			(const char *)piece->iov_base + send->offset, part);
		send->offset += part;
		send->left -= part;
		max -= part;
		if (send->offset == piece->iov_len) {
			send->piece++;
			send->offset = 0;
		}
	}
	send->progress_ns = net->now_ns + net_delay(net, &link->weather) / 4;
	if (send->left == 0) {
		send->done_ns = net->now_ns + net_delay(net, &link->weather) / 4;
	}
}

static struct link *find(const struct ring *ring, struct ring_socket socket)
{
	if (socket.slot >= ring->options.sockets_max) {
		return NULL;
	}
	struct link *link = ring->slots[socket.slot];
	return link != NULL && link->socket.generation == socket.generation ? link : NULL;
}

int ring_send(
	struct ring *ring, struct ring_socket socket, const struct iovec *pieces, unsigned count)
{
	struct link *link = find(ring, socket);
	if (link == NULL || link->hub != HUB_OPEN) {
		return -E_GONE;
	}
	struct send *send = &link->send;
	if (send->active || count == 0 || count > RING_IOV_MAX) {
		net_report(ring->net, "ring_send() while one is in flight, or without pieces");
		return -E_GONE;
	}
	*send = (struct send){.active = true, .count = count, .done_ns = UINT64_MAX};
	for (unsigned i = 0; i < count; i++) {
		if (pieces[i].iov_len == 0) {
			net_report(ring->net, "an empty piece was sent");
		}
		send->pieces[i] = pieces[i];
		send->total += pieces[i].iov_len;
	}
	send->left = send->total;
	send->checksum = checksum_of(send);
	send->progress_ns = ring->net->now_ns;
	ring->stats.sends++;
	return OK;
}

/* ---- closing, pausing ---- */

void ring_close(struct ring *ring, struct ring_socket socket, bool reset)
{
	struct link *link = find(ring, socket);
	if (link == NULL || link->hub != HUB_OPEN) {
		return;
	}
	struct net *net = ring->net;
	link->hub = HUB_CLOSING;
	link->closed_ns = net->now_ns + net_delay(net, &link->weather);
	if (random_one_in(&net->random, 20)) {
		link->closed_ns += random_below(&net->random, 2000) * NS_MS;
	}
	if (link->send.active && random_one_in(&net->random, 2)) {
		pump(link); /* a part may get through */
	}
	if (reset) {
		link->torn_ns = link->torn_ns < net->now_ns ? link->torn_ns : net->now_ns;
		pipe_drop(&link->out);
	}
	uint64_t at_ns = net->now_ns + net_delay(net, &link->weather);
	link->out.ended_ns = at_ns > link->out.last_ns ? at_ns : link->out.last_ns;
}

void ring_pause(struct ring *ring, struct ring_socket socket)
{
	struct link *link = find(ring, socket);
	if (link != NULL && !link->paused) {
		link->paused = true;
		link->after_pause = (unsigned)random_below(&ring->net->random, 3);
	}
}

void ring_resume(struct ring *ring, struct ring_socket socket)
{
	struct link *link = find(ring, socket);
	if (link != NULL) {
		link->paused = false;
	}
}

/* ---- events ---- */

static struct ring_event *add(struct reap *reap, enum ring_event_kind kind, struct link *link)
{
	struct ring_event *event = &reap->events[reap->count++];
	*event = (struct ring_event){.kind = kind, .fd = -1};
	if (link != NULL) {
		event->socket = link->socket;
		event->listener = link->tag;
	}
	return event;
}

static void refuse(struct link *link)
{
	link->refused = true;
	link->hub = HUB_GONE;
	pipe_drop(&link->in);
}

/* The lowest free slot, or sometimes the one behind it: dense, and reused at once. */
static bool take_slot(struct ring *ring, struct link *link)
{
	uint32_t slot = 0;
	bool skip = random_one_in(&ring->net->random, 4);
	while (slot < ring->options.sockets_max && (ring->slots[slot] != NULL || skip)) {
		skip = skip && ring->slots[slot] != NULL;
		slot++;
	}
	if (slot == ring->options.sockets_max) {
		return false;
	}
	ring->slots[slot] = link;
	link->socket = (struct ring_socket){slot, ++ring->generations[slot]};
	return true;
}

static void accept_link(struct ring *ring, struct reap *reap, struct link *link)
{
	bool odd = ring->net->random.state % 997 == 0; /* out of descriptors, for a moment */
	if (!ring->listening[link->tag] || odd || link->torn_ns <= ring->net->now_ns ||
		!take_slot(ring, link)) {
		ring->stats.refused_full++;
		refuse(link);
		return;
	}
	link->hub = HUB_OPEN;
	ring->stats.accepted++;
	add(reap, RING_ACCEPTED, link);
}

static void receive(struct ring *ring, struct reap *reap, struct link *link)
{
	unsigned max = 1 + (unsigned)random_below(&ring->net->random, 3);
	while (max-- > 0 && reap->count < reap->max) {
		if (link->paused && link->after_pause == 0) {
			return;
		}
		size_t size = ring->options.recv_buffer_bytes;
		struct received *buffer = mem_alloc(sizeof(*buffer) + size);
		size_t len = pipe_take(&link->in, ring->net->now_ns, buffer->data, size);
		if (len == 0) {
			free(buffer);
			return;
		}
		buffer = mem_realloc(buffer, sizeof(*buffer) + len);
		buffer->next = ring->buffers;
		ring->buffers = buffer;
		link->after_pause -= link->paused;
		ring->stats.received_bytes += len;
		struct ring_event *event = add(reap, RING_RECEIVED, link);
		event->data = buffer->data;
		event->len = len;
	}
}

/* Whether the hub can hear that the peer is gone. */
static int end_of_input(const struct link *link, uint64_t now_ns)
{
	if (link->eof_told || link->paused) {
		return 1;
	}
	if (link->broken_ns <= now_ns && pipe_arrived(&link->in, now_ns) == 0) {
		return -E_GONE;
	}
	return link->in.ended_ns <= now_ns && link->in.bytes == 0 ? OK : 1;
}

static void send_events(struct reap *reap, struct link *link, uint64_t now_ns)
{
	struct send *send = &link->send;
	if (!send->active || reap->count == reap->max) {
		return;
	}
	if (link->broken_ns <= now_ns || link->torn_ns <= now_ns) {
		end_send(link);
		struct ring_event *event = add(reap, RING_SENT, link);
		event->error = -E_GONE;
		event->len = send->total - send->left;
		return;
	}
	if (send->left > 0 && send->progress_ns <= now_ns) {
		pump(link);
	}
	if (send->done_ns <= now_ns) {
		end_send(link);
		add(reap, RING_SENT, link)->len = send->total;
	}
}

static void close_event(struct ring *ring, struct reap *reap, struct link *link)
{
	if (link->closed_ns <= ring->net->now_ns) {
		end_send(link);
		add(reap, RING_CLOSED, link);
		link->hub = HUB_GONE;
		ring->slots[link->socket.slot] = NULL;
	}
}

static void events_of(struct ring *ring, struct reap *reap, struct link *link)
{
	uint64_t now_ns = ring->net->now_ns;
	if (link->hub == HUB_NONE && link->dialed_ns <= now_ns) {
		accept_link(ring, reap, link);
	} else if (link->hub == HUB_CLOSING) {
		close_event(ring, reap, link);
	} else if (link->hub == HUB_OPEN) {
		bool sends_first = random_one_in(&ring->net->random, 2);
		if (sends_first) {
			send_events(reap, link, now_ns);
		}
		receive(ring, reap, link);
		if (!sends_first) {
			send_events(reap, link, now_ns);
		}
		int end = end_of_input(link, now_ns);
		if (end <= 0 && reap->count < reap->max) {
			link->eof_told = true;
			add(reap, RING_EOF, link)->error = end;
		}
	}
}

static void collect(struct ring *ring, struct reap *reap)
{
	if (ring->woken && reap->count < reap->max) {
		ring->woken = false;
		add(reap, RING_WOKEN, NULL);
	}
	unsigned total = 0;
	for (const struct link *link = ring->net->links; link != NULL; link = link->next) {
		total++;
	}
	/* Twice around, from a random start, so that nobody is always first. */
	unsigned start = (unsigned)random_below(&ring->net->random, total + 1);
	unsigned index = 0;
	for (unsigned round = 0; round < 2; round++) {
		for (struct link *link = ring->net->links; link != NULL; link = link->next) {
			bool mine = round == 0 ? index >= start : index < total + start;
			if (mine && reap->count + 1 < reap->max) {
				events_of(ring, reap, link);
			}
			index++;
		}
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When this link has an event for the hub. */
static uint64_t next_of(const struct link *link)
{
	uint64_t at = UINT64_MAX;
	if (link->hub == HUB_NONE) {
		return link->dialed_ns;
	}
	if (link->hub == HUB_CLOSING) {
		return link->closed_ns;
	}
	if (link->hub != HUB_OPEN) {
		return at;
	}
	bool receives = !link->paused || link->after_pause > 0;
	if (link->in.first != NULL && receives) {
		at = earlier(at, link->in.first->at_ns);
	}
	if (!link->eof_told && !link->paused) {
		at = earlier(at, link->broken_ns);
		at = link->in.bytes == 0 ? earlier(at, link->in.ended_ns) : at;
	}
	const struct send *send = &link->send;
	if (send->active) {
		at = earlier(at, earlier(link->broken_ns, link->torn_ns));
		at = earlier(at, send->done_ns);
		if (send->left > 0 && link->out.bytes < link->weather.window) {
			at = earlier(at, send->progress_ns);
		}
	}
	return at;
}

static uint64_t next_event_ns(const struct net *net)
{
	uint64_t at = net->next_ns == NULL ? UINT64_MAX : net->next_ns(net->context);
	for (const struct link *link = net->links; link != NULL; link = link->next) {
		at = earlier(at, next_of(link));
	}
	return at;
}

static void pass_time(struct net *net, uint64_t to_ns)
{
	net->now_ns = to_ns > net->now_ns ? to_ns : net->now_ns;
	if (net->tick != NULL) {
		net->tick(net->context, net->now_ns);
	}
}

int ring_wait(
	struct ring *ring, uint64_t timeout_ns, struct ring_event *events, unsigned events_max)
{
	struct net *net = ring->net;
	struct reap reap = {.events = events, .max = events_max};
	if (random_one_in(&net->random, 8)) { /* a small turn: the rest comes with the next */
		reap.max = 2 + (unsigned)random_below(&net->random, 6);
	}
	free_buffers(ring);
	net_sweep(net);
	pass_time(net, net->now_ns + 1 + random_below(&net->random, 20000));
	collect(ring, &reap);
	if (reap.count == 0 && timeout_ns > 0) {
		uint64_t end_ns = timeout_ns > UINT64_MAX - net->now_ns ? UINT64_MAX
									: net->now_ns + timeout_ns;
		uint64_t at_ns = earlier(earlier(end_ns, next_event_ns(net)), net->horizon_ns);
		if (at_ns != UINT64_MAX) {
			pass_time(net, at_ns);
			collect(ring, &reap);
		}
	}
	ring->stats.enters++;
	ring->stats.received_events += reap.count;
	return (int)reap.count;
}

/* ---- the rest ---- */

void ring_destroy(struct ring *ring)
{
	if (ring == NULL) {
		return;
	}
	struct net *net = ring->net;
	for (struct link *link = net->links; link != NULL; link = link->next) {
		if (link->hub == HUB_NONE) {
			refuse(link);
		} else if (link->hub != HUB_GONE) {
			bool closing = link->hub == HUB_CLOSING;
			end_send(link);
			link->hub = HUB_GONE;
			if (!closing) {
				link->torn_ns = net->now_ns;
				pipe_drop(&link->out);
			}
		}
	}
	free_buffers(ring);
	free(ring->slots);
	free(ring->generations);
	free(ring);
	net->ring = NULL;
}

const char *ring_engine(const struct ring *ring)
{
	(void)ring;
	return "epoll";
}

int ring_listen(struct ring *ring, const char *address, unsigned mode, uint32_t tag, char *bound)
{
	(void)mode;
	assert(tag < TAGS);
	ring->listening[tag] = true;
	if (bound != NULL) {
		snprintf(bound, RING_ADDRESS_MAX, "%s", address);
	}
	return OK;
}

void ring_unlisten(struct ring *ring, uint32_t tag)
{
	ring->listening[tag] = false;
}

int ring_connect(
	struct ring *ring, const char *address, uint64_t timeout_ns, struct ring_socket *out)
{
	(void)ring;
	(void)address;
	(void)timeout_ns;
	(void)out;
	return -E_UNSUPPORTED;
}

int ring_adopt(struct ring *ring, int fd, struct ring_socket *out)
{
	(void)ring;
	(void)fd;
	(void)out;
	return -E_UNSUPPORTED;
}

void ring_release(struct ring *ring, struct ring_socket socket)
{
	(void)ring;
	(void)socket;
}

struct instant ring_now(const struct ring *ring)
{
	return (struct instant){ring->net->now_ns, net_wall_ms(ring->net)};
}

uint64_t ring_clock_ns(void)
{
	struct net *net = net_current();
	return net == NULL ? 0 : net->now_ns;
}

void ring_wake(struct ring *ring)
{
	ring->woken = true;
	ring->stats.wakes++;
}

void ring_bell(struct ring *self, struct ring *target)
{
	(void)self;
	ring_wake(target);
}

int ring_peer_address(const struct ring *ring, struct ring_socket socket, char *out)
{
	const struct link *link = ring == NULL ? NULL : find(ring, socket);
	if (link == NULL) {
		snprintf(out, RING_ADDRESS_MAX, "?");
		return -E_GONE;
	}
	snprintf(out, RING_ADDRESS_MAX, "sim:%u", link->number);
	return OK;
}

int32_t ring_peer_pid(const struct ring *ring, struct ring_socket socket)
{
	(void)ring;
	(void)socket;
	return 0;
}

void ring_set_timeouts(struct ring *ring, struct ring_socket socket, unsigned user_timeout_ms,
	unsigned keepalive_s)
{
	(void)ring;
	(void)socket;
	(void)user_timeout_ms;
	(void)keepalive_s;
}

const struct ring_stats *ring_stats(const struct ring *ring)
{
	return &ring->stats;
}
