/* The load engine: many client connections in one thread, cheap enough not to be the bottleneck.
 *
 * A subcommand opens connections, writes into their `out`, and gets a callback for every frame that comes
 * back. Nothing here knows what a benchmark is.
 */
#ifndef MILLRACE_BENCH_LOAD_H
#define MILLRACE_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/adapter.h"
#include "bench/scan.h"
#include "engine/base/bytes.h"

struct load;
struct load_conn;

struct load_ops {
	/* One frame; before `ready` only messages of protocols with channels are shown. The frame's bytes are
	 * valid during the call only. Must not close the connection. */
	void (*frame)(struct load_conn *conn, const struct frame *frame);
	/* The server closed it, or spoke nonsense. Not called after load_close(). */
	void (*closed)(struct load_conn *conn, int error);
};

/* A connection. Everything but `owner`, `number` and `out` is for reading only. */
struct load_conn {
	struct load *load;
	const struct adapter *adapter;
	const struct load_ops *ops;
	void *owner;      /* the subcommand's */
	uint32_t number;  /* the subcommand's */
	int fd;           /* -1: closed */
	bool ready;       /* its barrier has come back */
	bool muted;       /* not read from */
	bool wants_write; /* the kernel took only a part of `out` */
	struct bytes out; /* append here, then load_flush() */
	size_t out_at;    /* sent so far */
	struct bytes partial;
	uint32_t index;
};

struct load *load_create(void);

/* Closes all its connections. NULL is fine. */
void load_destroy(struct load *l);

/* Connect and greet. Where many are opened in a row, it waits for earlier ones, so that no listener's backlog
 * overflows. `address` is host:port with a numeric host, or unix:/path.
 * errors: NULL, with a sentence on standard error.
 * owner:  the load. */
struct load_conn *load_open(struct load *l, const char *address, const struct adapter *adapter,
	const struct login *login, const struct load_ops *ops, void *owner);

/* Close now, without a callback. Closing twice is closing once. */
void load_close(struct load_conn *conn);

/* Write what stands in `out`, as far as the kernel takes it; the rest follows by itself. */
void load_flush(struct load_conn *conn);

/* Stop or start reading: a subscriber that never reads. */
void load_mute(struct load_conn *conn, bool muted);

/* Wait up to `timeout_ns` for anything to happen, and handle it. */
void load_turn(struct load *l, uint64_t timeout_ns);

/* Turn until every open connection is ready.
 * errors: -E_TIMEOUT; -E_REFUSED a connection was closed or answered with an error before it was ready. */
int load_await_ready(struct load *l, uint64_t timeout_ns);

/* The clock (CLOCK_MONOTONIC), as of the last bytes received, and right now. */
uint64_t load_now_ns(const struct load *l);
uint64_t load_clock_ns(void);

/* How many connections were closed by the server since the start, and the last error that it sent ("" if none). */
uint64_t load_lost_connections(const struct load *l);
const char *load_last_error(const struct load *l);

#endif
