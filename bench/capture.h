/* A recording of Synapse's replication, ready to be played.
 *
 * A line is `milliseconds TAB connection TAB channel TAB payload`; in order. Three kinds of subscribers
 * see different parts of it (a view each); per view every message has a place in its writer's sequence.
 */
#ifndef MILLRACE_BENCH_CAPTURE_H
#define MILLRACE_BENCH_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum capture_view {
	VIEW_ALL,  /* RESP, subscribed to all channels, as Synapse's main process is */
	VIEW_MAIN, /* RESP, subscribed to the server's name only, as a worker is */
	VIEW_LINE, /* the line protocol: RDATA, POSITION, REMOTE_SERVER_UP */
	CAPTURE_VIEWS
};

struct capture_message {
	double at_ms;
	uint32_t conn;    /* 0, 1, 2, … in order of first appearance */
	uint32_t channel; /* index into channels */
	struct slice payload;
	uint32_t content; /* equal payloads have equal numbers */
	uint32_t writer;
	bool seen_by[CAPTURE_VIEWS];
	uint32_t sequence[CAPTURE_VIEWS]; /* in its writer's messages of that view */
	bool half_batch; /* rows whose number never comes: a hub may keep them back */
};

/* Equal payloads, by number of message, in the order in which their writers write them. */
struct capture_content {
	uint32_t *messages;
	uint32_t count;
	bool absorbable; /* REPLICATE or POSITION: a hub may know the answer itself */
};

struct capture {
	struct bytes text; /* what payloads point into */
	struct capture_message *messages;
	uint32_t message_count;
	char **channels;
	uint32_t channel_count;
	uint32_t main_channel;
	struct capture_content *contents;
	uint32_t content_count;
	uint32_t conn_count;
	/* Writers: a process each, under all the connections that it had one after the other (by the instance in its
	 * RDATA and POSITION), and one for each payload that several processes write (REPLICATE). */
	uint32_t writer_count;
	uint32_t *
		predecessor; /* [conn]: the connection of the same process before it, or UINT32_MAX */
	void *index;         /* private */
};

/* Read a file, an .xz through xz(1), or the built-in recording for NULL; `repeat` times in a row.
 * errors: -E_IO, -E_SYNTAX (with a sentence on standard error).
 * owner:  the caller; capture_destroy(NULL) is fine. */
int capture_load(const char *path, uint32_t repeat, struct capture **out);
void capture_destroy(struct capture *c);

/* The content's number, UINT32_MAX where nobody wrote that. */
uint32_t capture_find(const struct capture *c, struct slice payload);

#endif
