/* millrace-limit: the least that a server can do to carry a publisher's bytes to every subscriber.
 *
 * What the hub is compared with: the physical floor of this kernel and this machine. It receives, copies what came
 * once into the channel's buffer, and asks the kernel to send that to each subscriber:
 *
 *     recv (provided buffers) ─▶ "PUBLISH" → "message", in place ─▶ one copy ─▶ [ buffer of the channel ]
 *                                                     each subscriber: send [cursor, tail), contiguous
 *
 * One send is in flight per subscriber; what arrives meanwhile goes with the next. The buffer is a ring that is mapped
 * twice in a row, so that any part of it is contiguous, and starts over where everything has been sent, so
 * that a lightly used one stays in the cache.
 *
 * Left out, on purpose, and to be kept in mind when comparing with it:
 *   - RESP2 only, and of that: SUBSCRIBE to one channel, PUBLISH, PING, as arrays. PUBLISH answers :1 always.
 *   - a publication and a message differ in one word of the same length, so no frame is ever built. The frames are
 *     found (their bytes are counted), for without that there is neither the word to replace nor the answer's number.
 *   - a subscriber that falls behind by more than the buffer is cut off without a word; publishers are never slowed.
 *   - no patterns, no UNSUBSCRIBE, no RESP3, no line protocol, no authentication, no time-outs, no limits on what
 *     one connection may send, no statistics, no log, no configuration, no second thread, no store.
 *   - a message may be of any content: nothing is parsed, stored, counted by stream or held back in batches.
 *
 * Started by bench/compare: `millrace-limit [--port N] [--buffer-bytes N]` prints `listening 127.0.0.1:PORT`.
 * Ends on SIGTERM. Source: io_uring(7), io_uring_prep_recv(3), io_uring_prep_send(3).
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "engine/base/table.h"

enum {
	ENTRIES = 4096,
	COMPLETIONS = 65536,
	RECV_BUFFERS = 16, /* few: they stay in the second-level cache */
	RECV_BYTES = 64 * 1024,
	SEND_BYTES_MAX = 256 * 1024,
	ANSWERS_MAX = 16 * 1024, /* ":1" that go with one send */
	DESCRIPTORS = 65536
};

enum operation { ACCEPT, RECEIVE, SEND_REPLY, SEND_ANSWERS, SEND_LOG };

struct channel {
	UT_hash_handle hh;
	char *name;
	char *ring; /* mapped twice, one behind the other */
	uint64_t tail;
	uint64_t floor; /* no cursor is below it */
	struct conn **subscribers;
	uint32_t count;
	bool dirty;
	struct channel *next_dirty;
};

struct conn {
	int fd; /* its index in limit.conns, too: closed only when nothing is in flight */
	bool receiving;
	bool sending;
	bool closing;
	bool ready;                /* in the list of those that may have something to send */
	struct channel *channel;   /* subscribed to */
	struct channel *published; /* the last one published to */
	uint64_t cursor;
	uint32_t answers; /* :1 that are owed */
	struct bytes reply;
	struct bytes reply_in_flight;
	struct bytes partial; /* the beginning of a frame */
	struct conn *next_ready;
};

static struct {
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	char *memory;
	char *answers;
	uint64_t ring_bytes;
	int listener;
	struct conn *conns[DESCRIPTORS];
	struct channel *channels;
	struct channel *dirty;
	struct conn *ready;
} limit;

/* ---- the kernel ---- */

static struct io_uring_sqe *next_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&limit.ring);
	if (sqe == NULL) {
		io_uring_submit(&limit.ring);
		sqe = io_uring_get_sqe(&limit.ring);
	}
	assert(sqe != NULL);
	return sqe;
}

static void set_user_data(struct io_uring_sqe *sqe, enum operation operation, const struct conn *c)
{
	uint64_t fd = c == NULL ? 0 : (uint64_t)c->fd;
	io_uring_sqe_set_data64(sqe, (uint64_t)operation << 32 | fd);
}

static void arm_accept(void)
{
	struct io_uring_sqe *sqe = next_sqe();
	io_uring_prep_multishot_accept(sqe, limit.listener, NULL, NULL, SOCK_CLOEXEC);
	set_user_data(sqe, ACCEPT, NULL);
}

static void arm_receive(struct conn *c)
{
	struct io_uring_sqe *sqe = next_sqe();
	io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 0;
	set_user_data(sqe, RECEIVE, c);
	c->receiving = true;
}

static void start_send(struct conn *c, enum operation operation, const char *data, size_t len)
{
	struct io_uring_sqe *sqe = next_sqe();
	io_uring_prep_send(sqe, c->fd, data, len, MSG_WAITALL | MSG_NOSIGNAL);
	set_user_data(sqe, operation, c);
	c->sending = true;
}

static void recycle(unsigned buffer)
{
	io_uring_buf_ring_add(limit.buffers, limit.memory + (size_t)buffer * RECV_BYTES, RECV_BYTES,
		(unsigned short)buffer, io_uring_buf_ring_mask(RECV_BUFFERS), 0);
	io_uring_buf_ring_advance(limit.buffers, 1);
}

/* ---- connections and channels ---- */

static void mark_ready(struct conn *c)
{
	if (!c->ready) {
		c->ready = true;
		c->next_ready = limit.ready;
		limit.ready = c;
	}
}

static void begin_close(struct conn *c)
{
	if (!c->closing) {
		c->closing = true;
		shutdown(c->fd, SHUT_RDWR);
	}
}

static void unsubscribe(struct conn *c)
{
	struct channel *ch = c->channel;
	for (uint32_t i = 0; ch != NULL && i < ch->count; i++) {
		if (ch->subscribers[i] == c) {
			ch->subscribers[i] = ch->subscribers[--ch->count];
			break;
		}
	}
}

/* Free a connection for which the kernel holds nothing any more. */
static void finish_close(struct conn *c)
{
	if (!c->closing || c->receiving || c->sending || c->ready) {
		return;
	}
	unsubscribe(c);
	limit.conns[c->fd] = NULL;
	close(c->fd);
	bytes_finish(&c->reply);
	bytes_finish(&c->reply_in_flight);
	bytes_finish(&c->partial);
	free(c);
}

static struct channel *find_channel(struct slice name)
{
	struct channel *ch = NULL;
	HASH_FIND(hh, limit.channels, name.data, (unsigned)name.len, ch);
	if (ch != NULL) {
		return ch;
	}
	ch = mem_zalloc(sizeof(*ch));
	ch->name = slice_dup(name);
	int fd = memfd_create("channel", MFD_CLOEXEC);
	size_t size = limit.ring_bytes;
	ch->ring = mmap(NULL, size * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool good = fd >= 0 && ftruncate(fd, (off_t)size) == 0 && ch->ring != MAP_FAILED;
	for (int half = 0; half < 2 && good; half++) {
		good = mmap(ch->ring + size * (size_t)half, size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
	}
	if (!good) {
		perror("millrace-limit: the channel's buffer");
		exit(1);
	}
	close(fd);
	HASH_ADD_KEYPTR(hh, limit.channels, ch->name, (unsigned)name.len, ch);
	return ch;
}

static void subscribe(struct conn *c, struct slice name)
{
	if (c->channel != NULL) {
		bytes_append_string(&c->reply, "-ERR one channel only\r\n");
		return;
	}
	struct channel *ch = find_channel(name);
	ch->subscribers = mem_realloc(ch->subscribers, (ch->count + 1) * sizeof(struct conn *));
	ch->subscribers[ch->count++] = c;
	c->channel = ch;
	c->cursor = ch->tail;
	bytes_printf(&c->reply, "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%.*s\r\n:1\r\n", name.len,
		SLICE_ARG(name));
}

/* Start over at the buffer's beginning if everybody has everything; cut off who is too far behind for `more`. */
static void make_room(struct channel *ch, size_t more)
{
	uint64_t lowest = ch->tail;
	bool in_flight = false;
	for (uint32_t i = 0; i < ch->count; i++) {
		struct conn *c = ch->subscribers[i];
		if (ch->tail + more - c->cursor > limit.ring_bytes) {
			begin_close(c);
			c->cursor = ch->tail;
		}
		lowest = c->cursor < lowest ? c->cursor : lowest;
		in_flight = in_flight || c->sending;
	}
	if (lowest == ch->tail && !in_flight) {
		for (uint32_t i = 0; i < ch->count; i++) {
			ch->subscribers[i]->cursor = 0;
		}
		ch->tail = 0;
		lowest = 0;
	}
	ch->floor = lowest;
}

static void append(struct channel *ch, const char *data, size_t len)
{
	if (len > limit.ring_bytes) {
		return;
	}
	if (!ch->dirty) {
		make_room(ch, len);
		ch->dirty = true;
		ch->next_dirty = limit.dirty;
		limit.dirty = ch;
	} else if (ch->tail + len - ch->floor > limit.ring_bytes) {
		make_room(ch, len);
	}
	memcpy(ch->ring + (ch->tail & (limit.ring_bytes - 1)), data, len);
	ch->tail += len;
}

/* ---- frames ---- */

/* The number behind `*` or `$`, up to "\r\n". 0 incomplete or none. */
static size_t number(const char *at, const char *end, size_t *out)
{
	const char *p = at + 1;
	size_t value = 0;
	while (p < end && *p >= '0' && *p <= '9') {
		value = value * 10 + (size_t)(*p++ - '0');
	}
	*out = value;
	return end - p < 2 ? 0 : (size_t)(p + 2 - at);
}

/* A bulk string; returns how many bytes it takes, 0 incomplete. */
static size_t bulk(const char *at, const char *end, struct slice *out)
{
	size_t len = 0;
	size_t head = at < end ? number(at, end, &len) : 0;
	if (head == 0 || (size_t)(end - at) < head + len + 2) {
		return 0;
	}
	*out = (struct slice){at + head, len};
	return head + len + 2;
}

/* A PUBLISH at `at`: its whole length, and the channel. 0 incomplete, or something else. */
static size_t publication(const char *at, const char *end, struct slice *channel)
{
	static const char shape[] = "*3\r\n$7\r\nPUBLISH\r\n";
	enum { SHAPE = sizeof(shape) - 1 };
	struct slice payload;
	if (end - at < SHAPE || memcmp(at, shape, SHAPE) != 0) {
		return 0;
	}
	size_t first = bulk(at + SHAPE, end, channel);
	size_t second = first == 0 ? 0 : bulk(at + SHAPE + first, end, &payload);
	return second == 0 ? 0 : SHAPE + first + second;
}

/* Any other command; returns how many bytes it takes, 0 incomplete. */
static size_t command(struct conn *c, const char *at, const char *end)
{
	size_t words = 0;
	size_t taken = at < end ? number(at, end, &words) : 0;
	struct slice first = {NULL, 0};
	struct slice second = {NULL, 0};
	for (size_t i = 0; taken > 0 && i < words; i++) {
		struct slice word;
		size_t len = bulk(at + taken, end, &word);
		if (len == 0) {
			return 0;
		}
		first = i == 0 ? word : first;
		second = i == 1 ? word : second;
		taken += len;
	}
	if (taken == 0) {
		return 0;
	}
	if (slice_equal_nocase(first, SLICE("SUBSCRIBE"))) {
		subscribe(c, second);
	} else if (slice_equal_nocase(first, SLICE("PING"))) {
		bytes_append_string(&c->reply, "+PONG\r\n");
	} else {
		bytes_append_string(&c->reply, "-ERR this is only a floor to compare with\r\n");
	}
	return taken;
}

/* Everything whole in `data`: runs of publications to one channel are copied at once. Returns what was used. */
static size_t handle_bytes(struct conn *c, char *data, size_t len)
{
	char *at = data;
	char *run = data;
	const char *end = data + len;
	while (at < end) {
		struct slice name;
		size_t taken = publication(at, end, &name);
		if (taken == 0) {
			if (at > run) {
				append(c->published, run, (size_t)(at - run));
			}
			taken = command(c, at, end);
			if (taken == 0) {
				return (size_t)(at - data);
			}
			at += taken;
			run = at;
			continue;
		}
		if (c->published == NULL || !slice_equal(name, slice_of(c->published->name))) {
			if (at > run) {
				append(c->published, run, (size_t)(at - run));
			}
			c->published = find_channel(name);
			run = at;
		}
		memcpy(at + sizeof("*3\r\n$7\r\n") - 1, "message", 7);
		c->answers++;
		at += taken;
	}
	if (at > run) {
		append(c->published, run, (size_t)(at - run));
	}
	return len;
}

static void received(struct conn *c, char *data, size_t len)
{
	if (c->partial.len > 0) {
		bytes_append(&c->partial, data, len);
		bytes_consume(&c->partial, handle_bytes(c, c->partial.data, c->partial.len));
	} else {
		size_t used = handle_bytes(c, data, len);
		bytes_append(&c->partial, data + used, len - used);
	}
	mark_ready(c);
}

/* ---- sending ---- */

static void send_next(struct conn *c)
{
	if (c->sending || c->closing) {
		return;
	}
	if (c->reply.len > 0) {
		struct bytes empty = c->reply_in_flight;
		c->reply_in_flight = c->reply;
		c->reply = empty;
		start_send(c, SEND_REPLY, c->reply_in_flight.data, c->reply_in_flight.len);
	} else if (c->answers > 0) {
		uint32_t count = c->answers < ANSWERS_MAX ? c->answers : ANSWERS_MAX;
		start_send(c, SEND_ANSWERS, limit.answers, (size_t)count * 4);
	} else if (c->channel != NULL && c->cursor < c->channel->tail) {
		uint64_t len = c->channel->tail - c->cursor;
		start_send(c, SEND_LOG, c->channel->ring + (c->cursor & (limit.ring_bytes - 1)),
			len < SEND_BYTES_MAX ? len : SEND_BYTES_MAX);
	}
}

static void flush(void)
{
	while (limit.dirty != NULL) {
		struct channel *ch = limit.dirty;
		limit.dirty = ch->next_dirty;
		ch->dirty = false;
		for (uint32_t i = 0; i < ch->count; i++) {
			send_next(ch->subscribers[i]);
		}
	}
	while (limit.ready != NULL) {
		struct conn *c = limit.ready;
		limit.ready = c->next_ready;
		c->ready = false;
		send_next(c);
		finish_close(c);
	}
}

static void sent(struct conn *c, enum operation operation, int result)
{
	c->sending = false;
	if (result < 0 || c->closing) {
		begin_close(c);
	} else if (operation == SEND_REPLY) {
		bytes_clear(&c->reply_in_flight);
	} else if (operation == SEND_ANSWERS) {
		c->answers -= (uint32_t)result / 4;
	} else {
		c->cursor += (uint64_t)result;
	}
	mark_ready(c);
}

/* ---- the loop ---- */

static void accepted(int fd)
{
	if (fd < 0 || fd >= DESCRIPTORS) {
		close(fd);
		return;
	}
	struct conn *c = mem_zalloc(sizeof(*c));
	c->fd = fd;
	limit.conns[fd] = c;
	arm_receive(c);
}

static void handle(const struct io_uring_cqe *cqe)
{
	enum operation operation = (enum operation)(cqe->user_data >> 32);
	if (operation == ACCEPT) {
		accepted(cqe->res);
		if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
			arm_accept();
		}
		return;
	}
	struct conn *c = limit.conns[(uint32_t)cqe->user_data];
	assert(c != NULL);
	if (operation != RECEIVE) {
		sent(c, operation, cqe->res);
		return;
	}
	if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
		unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		if (cqe->res > 0 && !c->closing) {
			received(c, limit.memory + (size_t)buffer * RECV_BYTES, (size_t)cqe->res);
		}
		recycle(buffer);
	}
	if ((cqe->flags & IORING_CQE_F_MORE) != 0) {
		return;
	}
	c->receiving = false;
	if ((cqe->res > 0 || cqe->res == -ENOBUFS) && !c->closing) {
		arm_receive(c);
	} else {
		begin_close(c);
		mark_ready(c);
	}
}

static void run(void)
{
	for (;;) {
		int rc = io_uring_submit_and_wait(&limit.ring, 1);
		if (rc < 0 && rc != -EINTR && rc != -EBUSY) {
			fprintf(stderr, "millrace-limit: io_uring: %s\n", strerror(-rc));
			exit(1);
		}
		struct io_uring_cqe *cqe;
		unsigned head;
		unsigned count = 0;
		io_uring_for_each_cqe(&limit.ring, head, cqe)
		{
			handle(cqe);
			count++;
		}
		io_uring_cq_advance(&limit.ring, count);
		flush();
	}
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof(address);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* inherited by accept */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
		listen(fd, 4096) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
		perror("millrace-limit: listen");
		exit(1);
	}
	printf("listening 127.0.0.1:%u\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void init_ring(void)
{
	struct io_uring_params params = {.cq_entries = COMPLETIONS};
	params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		       IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
	int rc = io_uring_queue_init_params(ENTRIES, &limit.ring, &params);
	if (rc < 0) {
		fprintf(stderr, "millrace-limit: io_uring is not to be had: %s\n", strerror(-rc));
		exit(1);
	}
	io_uring_register_ring_fd(&limit.ring);
	size_t size = RECV_BUFFERS * sizeof(struct io_uring_buf);
	limit.buffers =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_buf_reg reg = {.ring_entries = RECV_BUFFERS, .bgid = 0};
	reg.ring_addr = (uint64_t)(uintptr_t)limit.buffers;
	rc = io_uring_register_buf_ring(&limit.ring, &reg, 0);
	if (rc < 0) {
		fprintf(stderr, "millrace-limit: provided buffers: %s\n", strerror(-rc));
		exit(1);
	}
	io_uring_buf_ring_init(limit.buffers);
	limit.memory = mem_alloc((size_t)RECV_BUFFERS * RECV_BYTES);
	for (unsigned i = 0; i < RECV_BUFFERS; i++) {
		recycle(i);
	}
}

int main(int argc, char **argv)
{
	long port = 0;
	limit.ring_bytes = 1024 * 1024;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--port") == 0) {
			port = atol(argv[i + 1]);
		} else if (strcmp(argv[i], "--buffer-bytes") == 0) {
			limit.ring_bytes = strtoull(argv[i + 1], NULL, 10);
		}
	}
	if (limit.ring_bytes < 4096 || (limit.ring_bytes & (limit.ring_bytes - 1)) != 0) {
		fprintf(stderr,
			"millrace-limit: --buffer-bytes is a power of two, at least 4096\n");
		return 1;
	}
	struct rlimit descriptors;
	getrlimit(RLIMIT_NOFILE, &descriptors);
	descriptors.rlim_cur = descriptors.rlim_max;
	setrlimit(RLIMIT_NOFILE, &descriptors);
	limit.answers = mem_alloc((size_t)ANSWERS_MAX * 4);
	for (size_t i = 0; i < ANSWERS_MAX; i++) {
		memcpy(limit.answers + i * 4, ":1\r\n", 4);
	}
	init_ring();
	limit.listener = listen_on((uint16_t)port);
	arm_accept();
	run();
}
