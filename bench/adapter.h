/* The protocols that the load speaks, one table row each: how to greet, publish and read.
 */
#ifndef MILLRACE_BENCH_ADAPTER_H
#define MILLRACE_BENCH_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>

#include "bench/scan.h"
#include "engine/base/bytes.h"

/* What a connection says of itself when it opens. */
struct login {
	const char *user;     /* NULL: none */
	const char *password; /* NULL: none */
	const char *const *channels;
	size_t channel_count; /* 0: it only publishes */
};

struct adapter {
	const char *name;
	bool has_replies;         /* each publish is answered */
	bool has_channels;        /* else a connection hears what its listener serves */
	const char *message_tail; /* what stands behind a payload */
	int (*scan)(const char *data, size_t len, struct frame *out);

	/* The first bytes of a connection; they end with something that the server answers once it has
	 * handled all of them (the barrier). */
	void (*greet)(struct bytes *out, const struct login *login);
	bool (*is_barrier)(const struct frame *frame);

	/* What stands before a payload of `size` bytes. */
	void (*message_head)(struct bytes *out, struct slice channel, size_t size);

	/* The answer to a FRAME_PING, or the sign of life of an idle connection; NULL: none is needed. */
	void (*alive)(struct bytes *out, bool asked);
};

/* By name: resp2, resp3, line, nats. NULL: no such protocol. */
const struct adapter *adapter_find(const char *name);

/* A whole publication: head, payload, tail. */
void adapter_publish(
	const struct adapter *a, struct bytes *out, struct slice channel, struct slice payload);

/* A RESP command of these words. */
void adapter_command(struct bytes *out, const char *const *words, size_t count);

#endif
