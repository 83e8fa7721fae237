/* HTTP for operators: /metrics, /healthz, /readyz.
 *
 * libmicrohttpd serves connections on a thread of its own; a page's text is made on the shard's
 * thread, which owns all that there is to tell. Between them is a mailbox with one place:
 *
 *     HTTP's thread: ask ─▶ wake the shard ─▶ wait, with a deadline ─▶ 200 | 503
 *     the shard:     http_poll() ─▶ render ─▶ put it back
 *
 * The shard never waits for HTTP. A shard that does not answer is what /healthz is there to find
 * out.
 */
#ifndef MILLRACE_HUB_HTTP_H
#define MILLRACE_HUB_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum http_page { HTTP_METRICS, HTTP_HEALTH, HTTP_READY, HTTP_PAGES };

/* What HTTP needs of the hub. */
struct http_source {
	/* Append the page. 0: answered with 200; an error of err.h: with 503, and what was appended
	 * says why. On the thread that calls http_poll(). */
	int (*render)(void *context, enum http_page page, struct bytes *out);
	/* Have http_poll() called soon. On HTTP's thread; must only wake (ring_wake). */
	void (*wake)(void *context);
	void *context;
};

struct http_options {
	const char *bind;         /* numeric IPv4 or IPv6 */
	uint16_t port;            /* 0: the kernel chooses, see http_port() */
	unsigned connections_max; /* 0: 48 */
	unsigned answer_ms_max;   /* how long the shard may take; 0: 5000 */
	unsigned request_ms_max;  /* for a request to arrive, when others wait; 0: 15000 */
};

struct http;

/* Start to serve.
 * errors: -E_SYNTAX the address; -E_IN_USE, -E_NOT_ALLOWED, ... of bind(2), with a sentence in
 *         `why`.
 * owner:  `source` is copied; its context outlives http_destroy(). http_destroy(NULL) is fine. */
int http_create(const struct http_options *options, const struct http_source *source,
	struct http **out, char *why, size_t why_size);

/* Stop at once: who waits for a page gets a 503. Not from another thread than http_poll()'s while
 * that one may be in it. */
void http_destroy(struct http *http);

uint16_t http_port(const struct http *http);

/* Make the page that is asked for, if one is; costs one load where none is. Returns whether it did.
 * Called by one thread, each time it was woken. */
bool http_poll(struct http *http);

/* Since the start; any thread. */
struct http_stats {
	uint64_t requests[HTTP_PAGES];
	uint64_t refused;     /* another path, another method, a body */
	uint64_t late;        /* the shard did not answer in time */
	uint64_t turned_away; /* connections above connections_max */
};
struct http_stats http_stats(const struct http *http);

#endif
