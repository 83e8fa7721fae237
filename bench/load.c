/* Connections, one epoll instance and one large receive buffer.
 *
 * Called by the subcommands; calls adapter.c to greet and to find frames. It is cheap because every
 * connection receives into the same buffer, of which only half a frame is ever kept:
 *
 *     buffer   [ half a frame, copied in ][ what recv(2) brought, up to 1 MiB             ]
 *              └──── frames are scanned from here ────▶              the last, half one is put aside ┘
 *
 * One recv(2) per connection and turn; sockets are level-triggered, so a full buffer is continued in the
 * next turn. The clock is read once per recv(2): that is a delivery's time.
 *
 * Deliberately not here: io_uring (epoll and 1 MiB reads keep the load at half the cost of the cheapest
 * server), threads (one order of events), TLS.
 */
#include "bench/load.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/err.h"

enum {
	BUFFER_BYTES = 1024 * 1024,
	EVENTS_MAX = 256,
	OPENING_MAX =
		100, /* connections that are not ready yet: below redis-server's listen backlog */
	ERROR_TEXT = 160
};

static const uint64_t SECOND_NS = 1000000000u;
static const uint64_t ALIVE_NS = 5 * 1000000000ull; /* as Synapse's line protocol has it */

struct load {
	int epoll_fd;
	char *buffer;
	struct load_conn **conns;
	size_t count;
	size_t opening; /* open, but not ready */
	uint64_t now_ns;
	uint64_t alive_ns; /* when the last signs of life were sent */
	uint64_t lost_connections;
	uint64_t refused; /* of those, before they were ready */
	char last_error[ERROR_TEXT];
};

uint64_t load_clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

uint64_t load_now_ns(const struct load *l)
{
	return l->now_ns;
}

/* As many descriptors as allowed. */
static void raise_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

struct load *load_create(void)
{
	raise_descriptors();
	/* Without this an open loop's timer comes up to 50 µs late. */
	prctl(PR_SET_TIMERSLACK, 1ul);
	struct load *l = mem_zalloc(sizeof(*l));
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert(l->epoll_fd >= 0);
	l->buffer = mem_alloc(BUFFER_BYTES);
	l->now_ns = load_clock_ns();
	l->alive_ns = l->now_ns;
	return l;
}

void load_destroy(struct load *l)
{
	if (l == NULL) {
		return;
	}
	for (size_t i = 0; i < l->count; i++) {
		load_close(l->conns[i]);
		bytes_finish(&l->conns[i]->out);
		bytes_finish(&l->conns[i]->partial);
		free(l->conns[i]);
	}
	free(l->conns);
	free(l->buffer);
	close(l->epoll_fd);
	free(l);
}

static void watch(struct load_conn *conn, int operation)
{
	struct epoll_event event = {.data.ptr = conn};
	event.events = (conn->muted ? 0u : (unsigned)EPOLLIN) |
		       (conn->wants_write ? (unsigned)EPOLLOUT : 0u);
	int rc = epoll_ctl(conn->load->epoll_fd, operation, conn->fd, &event);
	assert(rc == 0);
}

void load_close(struct load_conn *conn)
{
	if (conn->fd < 0) {
		return;
	}
	close(conn->fd);
	conn->fd = -1;
	if (!conn->ready) {
		conn->load->opening--;
	}
}

static void lose(struct load_conn *conn, int error)
{
	struct load *l = conn->load;
	l->lost_connections++;
	l->refused += conn->ready ? 0 : 1;
	load_close(conn);
	if (conn->ops->closed != NULL) {
		conn->ops->closed(conn, error);
	}
}

static int connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int connect_tcp(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	char host[64];
	const char *colon = strrchr(text, ':');
	size_t len = colon == NULL ? sizeof(host) : (size_t)(colon - text);
	if (len >= sizeof(host)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int saved = errno;
		if (fd >= 0) {
			close(fd);
		}
		errno = saved;
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	return fd;
}

static struct load_conn *conn_create(struct load *l, int fd)
{
	struct load_conn *conn = mem_zalloc(sizeof(*conn));
	conn->load = l;
	conn->fd = fd;
	conn->index = (uint32_t)l->count;
	l->conns = mem_realloc(l->conns, (l->count + 1) * sizeof(struct load_conn *));
	l->conns[l->count++] = conn;
	l->opening++;
	return conn;
}

struct load_conn *load_open(struct load *l, const char *address, const struct adapter *adapter,
	const struct login *login, const struct load_ops *ops, void *owner)
{
	uint64_t deadline_ns = load_clock_ns() + 10 * SECOND_NS;
	while (l->opening >= OPENING_MAX && load_clock_ns() < deadline_ns) {
		load_turn(l, SECOND_NS / 10);
	}
	bool is_unix = strncmp(address, "unix:", 5) == 0;
	int fd = is_unix ? connect_unix(address + 5) : connect_tcp(address);
	if (fd < 0) {
		fprintf(stderr, "millrace-bench: cannot connect to %s: %s\n", address,
			strerror(errno));
		return NULL;
	}
	struct load_conn *conn = conn_create(l, fd);
	conn->adapter = adapter;
	conn->ops = ops;
	conn->owner = owner;
	watch(conn, EPOLL_CTL_ADD);
	adapter->greet(&conn->out, login);
	load_flush(conn);
	return conn;
}

void load_flush(struct load_conn *conn)
{
	if (conn->fd < 0 || conn->wants_write) {
		return;
	}
	while (conn->out_at < conn->out.len) {
		ssize_t sent = send(conn->fd, conn->out.data + conn->out_at,
			conn->out.len - conn->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN) {
			conn->wants_write = true;
			watch(conn, EPOLL_CTL_MOD);
			return;
		}
		if (sent < 0) {
			conn->out_at =
				conn->out.len; /* receiving will tell that the peer is gone */
			break;
		}
		conn->out_at += (size_t)sent;
	}
	bytes_clear(&conn->out);
	conn->out_at = 0;
}

void load_mute(struct load_conn *conn, bool muted)
{
	conn->muted = muted;
	if (conn->fd >= 0) {
		watch(conn, EPOLL_CTL_MOD);
	}
}

static void note_error(struct load *l, struct slice text)
{
	size_t len = text.len < ERROR_TEXT - 1 ? text.len : ERROR_TEXT - 1;
	memcpy(l->last_error, text.data, len);
	l->last_error[len] = '\0';
}

static void handle(struct load_conn *conn, const struct frame *frame)
{
	const struct adapter *a = conn->adapter;
	if (frame->kind == FRAME_MESSAGE && (conn->ready || a->has_channels)) {
		conn->ops->frame(conn, frame);
		return;
	}
	if (frame->kind == FRAME_ERROR) {
		note_error(conn->load, frame->text);
		conn->load->refused += conn->ready ? 0 : 1;
	}
	if (frame->kind == FRAME_PING && a->alive != NULL) {
		a->alive(&conn->out, true);
		load_flush(conn);
	}
	if (!conn->ready && a->is_barrier(frame)) {
		conn->ready = true;
		conn->load->opening--;
	} else if (conn->ready) {
		conn->ops->frame(conn, frame);
	}
}

/* Scan all whole frames of the buffer; what remains is put aside. */
static int scan_all(struct load_conn *conn, size_t len)
{
	struct load *l = conn->load;
	int (*scan)(const char *, size_t, struct frame *) = conn->adapter->scan;
	size_t at = 0;
	while (at < len && conn->fd >= 0) {
		struct frame frame;
		int taken = scan(l->buffer + at, len - at, &frame);
		if (taken < 0) {
			return taken;
		}
		if (taken == 0) {
			break;
		}
		handle(conn, &frame);
		at += (size_t)taken;
	}
	bytes_clear(&conn->partial);
	bytes_append(&conn->partial, l->buffer + at, len - at);
	return OK;
}

static void receive(struct load_conn *conn)
{
	struct load *l = conn->load;
	size_t kept = conn->partial.len;
	if (kept > 0) {
		memcpy(l->buffer, conn->partial.data, kept);
	}
	ssize_t got = recv(conn->fd, l->buffer + kept, BUFFER_BYTES - kept, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	if (got <= 0) {
		lose(conn, got == 0 ? -E_GONE : err_from_errno(errno));
		return;
	}
	l->now_ns = load_clock_ns();
	int rc = scan_all(conn, kept + (size_t)got);
	if (rc != OK) {
		lose(conn, rc);
	}
}

static void keep_alive(struct load *l)
{
	l->alive_ns = l->now_ns;
	for (size_t i = 0; i < l->count; i++) {
		struct load_conn *conn = l->conns[i];
		if (conn->fd >= 0 && conn->adapter->alive != NULL) {
			conn->adapter->alive(&conn->out, false);
			load_flush(conn);
		}
	}
}

void load_turn(struct load *l, uint64_t timeout_ns)
{
	struct epoll_event events[EVENTS_MAX];
	struct timespec timeout = {
		(time_t)(timeout_ns / SECOND_NS), (long)(timeout_ns % SECOND_NS)};
	int count = epoll_pwait2(l->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
	l->now_ns = load_clock_ns();
	for (int i = 0; i < count; i++) {
		struct load_conn *conn = events[i].data.ptr;
		if (conn->fd >= 0 && (events[i].events & EPOLLOUT) != 0) {
			conn->wants_write = false;
			watch(conn, EPOLL_CTL_MOD);
			load_flush(conn);
		}
		if (conn->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
			receive(conn);
		}
	}
	if (l->now_ns - l->alive_ns > ALIVE_NS) {
		keep_alive(l);
	}
}

int load_await_ready(struct load *l, uint64_t timeout_ns)
{
	uint64_t deadline_ns = load_clock_ns() + timeout_ns;
	while (l->opening > 0 && l->refused == 0) {
		if (load_clock_ns() > deadline_ns) {
			return -E_TIMEOUT;
		}
		load_turn(l, SECOND_NS / 10);
	}
	return l->refused > 0 ? -E_REFUSED : OK;
}

uint64_t load_lost_connections(const struct load *l)
{
	return l->lost_connections;
}

const char *load_last_error(const struct load *l)
{
	return l->last_error;
}
