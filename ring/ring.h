/* The ring: sockets, completions and wake-ups for one shard; the only way to the kernel's network.
 *
 * One `struct ring` belongs to one thread, which creates, uses and destroys it; ring_wake() alone may
 * be called from elsewhere. Requests are queued by ring_send() and friends, handed to the kernel in
 * batches by ring_wait(), and finish as events that ring_wait() collects. Nothing is ever called
 * back, so no request can be made from inside another: the caller's stack is flat.
 *
 *     shard: ring_wait ──▶ events ──▶ handle each ──▶ ring_send … ──▶ ring_wait …
 *
 * Behind it stand three kernels: io_uring (uring.c), epoll (epoll.c), and in tests/ a simulated network that
 * implements these same prototypes from one seed. The contract tests (tests/test_ring.c) say what
 * all of them promise. The ring knows no command, no frame, no connection's state.
 *
 * The life of a socket:
 *     RING_ACCEPTED | ring_connect ─▶ RING_CONNECTED
 *        ─▶ { RING_RECEIVED | RING_SENT }* ─▶ [RING_EOF] ─▶ ring_close ─▶ RING_CLOSED
 *     Until RING_CLOSED memory handed to ring_send() is the kernel's, whatever was closed meanwhile;
 *     after ring_close() no event but RING_CLOSED comes, and it comes exactly once.
 */
#ifndef MILLRACE_RING_RING_H
#define MILLRACE_RING_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ring;

/* A socket's name: its slot in the ring's table and the generation of that slot. Slots are small, dense
 * and reused, good as an index into the caller's own table; a generation is not reused for 2^32 lives. */
struct ring_socket {
	uint32_t slot;
	uint32_t generation;
};

enum { RING_IOV_MAX = 64, RING_ADDRESS_MAX = 128 };

enum ring_event_kind {
	RING_ACCEPTED, /* `socket` is new and already receiving; `listener` says where it came in */
	RING_CONNECTED, /* ring_connect() finished; error != 0: it failed, ring_close() it */
	RING_RECEIVED,  /* `data`, `len` > 0: valid until the next ring_wait() */
	RING_SENT, /* the one send in flight finished: all its bytes; error != 0: the peer is dead */
	RING_EOF,  /* the peer will send no more (error 0) or broke off (error < 0); once */
	RING_CLOSED,   /* after ring_close(): nothing is in flight any more, the slot is free */
	RING_RELEASED, /* after ring_release(): `fd` is the caller's, the slot is free */
	RING_WOKEN     /* somebody called ring_wake(); several wake-ups may come as one event */
};

struct ring_event {
	enum ring_event_kind kind;
	struct ring_socket socket;
	uint32_t listener; /* RING_ACCEPTED: the listener's `tag` */
	int error;         /* 0 or negative, of engine/base/err.h */
	int fd;            /* RING_RELEASED */
	const char *data;  /* RING_RECEIVED */
	size_t len;        /* RING_RECEIVED: bytes received; RING_SENT: bytes that were sent */
};

/* Both clocks, read once per ring_wait(): a monotonic one for deadlines, the wall for Synapse's
 * timestamps. */
struct instant {
	uint64_t mono_ns;
	int64_t wall_ms;
};

struct ring_options {
	const char *engine;   /* "auto", "uring" or "epoll" */
	uint32_t sockets_max; /* slots; above it accepted connections are closed at once */
	uint32_t
		recv_buffer_bytes; /* one provided buffer: what one connection may receive a turn */
	uint32_t recv_buffers;     /* how many; a power of two */
	uint32_t sends_per_enter;  /* at most so many sends in one io_uring_enter (128) */
};

/* Counters since ring_create(); read by the owner thread. */
struct ring_stats {
	uint64_t enters;                 /* system calls that waited or submitted */
	uint64_t accepted, refused_full; /* refused: no slot, or no descriptor */
	uint64_t received_bytes, received_events;
	uint64_t sent_bytes, sends, sends_short; /* short: the rest had to be sent again */
	uint64_t
		recv_rearmed; /* multishot receives armed anew (no buffer, completion queue full) */
	uint64_t wakes;
	uint64_t asleep_ns; /* time spent waiting in the kernel */
	uint32_t sockets;   /* slots in use */
};

/* Make a ring for the calling thread. "auto" tries io_uring with a self-test and falls back to
 * epoll; which one it became, and why in one sentence with the remedy, says ring_engine() and a log line.
 * errors: -E_UNSUPPORTED engine "uring" was demanded and the kernel refuses; -E_UNKNOWN no such
 *         engine; -E_RANGE another option; -E_NOMEM descriptors or memory.
 * owner:  the calling thread; ring_destroy(NULL) is fine. */
int ring_create(const struct ring_options *options, struct ring **out);

/* Close everything at once, without events. Memory of unfinished sends is the caller's again. */
void ring_destroy(struct ring *ring);

/* "uring" or "epoll". */
const char *ring_engine(const struct ring *ring);

/* Listen on "unix:/path" or "host:port", where host is a numeric IPv4 or [IPv6] address and port 0 lets the
 * kernel choose. An old socket file without a listener behind it is replaced. Accepted sockets get
 * TCP_NODELAY and keepalive.
 * units:  `mode` are the permission bits of a unix socket.
 * errors: -E_SYNTAX address; -E_IN_USE, only after half a second, for a killed predecessor's sockets
 *         may still be going; -E_FULL above 64 listeners; -E_NOT_ALLOWED; -E_NOSPACE and others from bind(2).
 * out:    `bound` (may be NULL, RING_ADDRESS_MAX bytes) is the address with the real port. */
int ring_listen(struct ring *ring, const char *address, unsigned mode, uint32_t tag, char *bound);

/* Stop accepting on every listener of that tag, and unlink its unix socket. */
void ring_unlisten(struct ring *ring, uint32_t tag);

/* Start connecting to an address as above; ends with RING_CONNECTED, or with -E_TIMEOUT in it.
 * errors: -E_FULL no slot; -E_SYNTAX; from socket(2). */
int ring_connect(
	struct ring *ring, const char *address, uint64_t timeout_ns, struct ring_socket *out);

/* Take over a connected descriptor from another ring's RING_RELEASED. On an error `fd` stays the caller's.
 * errors: -E_FULL. */
int ring_adopt(struct ring *ring, int fd, struct ring_socket *out);

/* Let a socket go to another ring: ends with RING_RELEASED once nothing is in flight; bytes that
 * were received before come as RING_RECEIVED first. Not while a send is in flight. */
void ring_release(struct ring *ring, struct ring_socket socket);

/* Send `count` pieces, in order, as one stream. One send in flight per socket: the next only after RING_SENT.
 * The kernel is asked at the next ring_wait().
 * errors: -E_GONE stale socket, or being closed; nothing will come.
 * owner:  the pieces' memory is the kernel's until RING_SENT or RING_CLOSED; the array is not needed after
 *         the call. `count` <= RING_IOV_MAX; one piece is much cheaper than several.
 * source: io_uring_prep_send(3), MSG_WAITALL | MSG_NOSIGNAL. */
int ring_send(
	struct ring *ring, struct ring_socket socket, const struct iovec *pieces, unsigned count);

/* Stop and restart receiving. What is under way may still arrive after a pause (at most
 * `recv_buffer_bytes` times a few); the caller must take it. Pausing twice is pausing once. */
void ring_pause(struct ring *ring, struct ring_socket socket);
void ring_resume(struct ring *ring, struct ring_socket socket);

/* Shut down both directions, drain what is in flight, close; ends with RING_CLOSED. With `reset` the
 * peer gets a RST (a hub that must not linger). A stale socket is ignored. What ring_wait() has returned
 * already stands: the caller skips the events of a socket that it has closed meanwhile. */
void ring_close(struct ring *ring, struct ring_socket socket, bool reset);

/* Hand queued requests to the kernel, wait at most `timeout_ns` (0: do not wait; UINT64_MAX: no
 * limit) for something to happen, and collect up to `events_max` events. Releases the receive buffers of
 * the events before. Returns how many; 0 on time-out, and early on a signal.
 * errors: only a broken kernel interface, logged; the shard stops. */
int ring_wait(
	struct ring *ring, uint64_t timeout_ns, struct ring_event *events, unsigned events_max);

/* The clocks as of the last ring_wait() (or creation). */
struct instant ring_now(const struct ring *ring);

/* The clock now; a few ns more exact and some 25 ns dearer than ring_now(). For accounts. */
uint64_t ring_clock_ns(void);

/* From any thread: the ring's ring_wait() returns with RING_WOKEN. Costs a system call. */
void ring_wake(struct ring *ring);

/* From the thread of `self`, cheaper where both are io_uring: one doorbell, sent with self's next
 * ring_wait(). */
void ring_bell(struct ring *self, struct ring *target);

/* Who is at the other end: "10.0.0.7:41234", "[::1]:80", "unix:/path", as text for people (a unix peer has no
 * address: the listener's path). RING_ADDRESS_MAX bytes. errors: -E_GONE stale; `out` is "?" then. */
int ring_peer_address(const struct ring *ring, struct ring_socket socket, char *out);

/* The process at the other end of a unix socket (SO_PEERCRED), 0 where there is none. */
int32_t ring_peer_pid(const struct ring *ring, struct ring_socket socket);

/* TCP_USER_TIMEOUT and keepalive of one socket. errors: ignored where they do not apply. */
void ring_set_timeouts(struct ring *ring, struct ring_socket socket, unsigned user_timeout_ms,
	unsigned keepalive_s);

const struct ring_stats *ring_stats(const struct ring *ring);

#endif
