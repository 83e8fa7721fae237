/* HTTP for operators.
 *
 * Called by the hub, calls back through struct http_source. One of the few places in engine/ with a
 * thread and a clock, for a page must also be answered when the shard does not turn.
 *
 * The mailbox has one place, as HTTP has one thread; its states:
 *
 *     EMPTY ──ask──▶ ASKED ──http_poll──▶ MAKING ──▶ MADE ──take──▶ EMPTY
 *
 * Who asks gives up at the deadline and leaves the place as it is: the next who asks finds it taken
 * since long and is turned down at once, until the shard has answered the old question. So a shard
 * that hangs costs each scraper a moment and not the whole deadline in a row.
 *
 * Connections: libmicrohttpd's time-out counts from the last byte, so that a peer who sends a byte
 * now and then could keep its place for hours. Each connection's request therefore has a time to
 * arrive in, looked at when the next connection comes: the ones over it are shut down to make room.
 *
 * All callbacks below, but for http_poll(), run on libmicrohttpd's one thread; what they share with
 * the shard stands in struct mailbox, under its lock.
 */
#include "engine/hub/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <microhttpd.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"

enum {
	CONNECTIONS_DEFAULT = 48,
	ANSWER_MS_DEFAULT = 5000,
	REQUEST_MS_DEFAULT = 15000,
	IDLE_S = 20,                 /* a connection without a byte in either direction */
	CONNECTION_BYTES = 16 * 1024 /* of libmicrohttpd's memory: also the longest header */
};

enum mail_state { MAIL_EMPTY, MAIL_ASKED, MAIL_MAKING, MAIL_MADE };

struct mailbox {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum mail_state state;
	bool closing;
	enum http_page page;
	uint64_t asked_ms;
	int result; /* of render() */
	struct bytes text;
	atomic_bool asked; /* state == MAIL_ASKED, to look at without the lock */
};

/* One TCP connection; in the list while it is open. */
struct visitor {
	struct visitor *next, **link;
	int fd;
	uint64_t since_ms; /* accepted, or its last request was answered */
};

struct http {
	struct MHD_Daemon *daemon;
	struct http_source source;
	unsigned connections_max, answer_ms_max, request_ms_max;
	uint16_t port;
	struct mailbox mailbox;
	struct visitor *visitors;
	unsigned visitors_count;
	atomic_uint_fast64_t requests[HTTP_PAGES], refused, late, turned_away;
};

static const struct {
	const char *path, *content_type;
} pages[HTTP_PAGES] = {
	[HTTP_METRICS] = {"/metrics", "text/plain; version=0.0.4; charset=utf-8"},
	[HTTP_HEALTH] = {"/healthz", "text/plain; charset=utf-8"},
	[HTTP_READY] = {"/readyz", "text/plain; charset=utf-8"},
};

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void count(atomic_uint_fast64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* -- the mailbox -- */

static void mailbox_init(struct mailbox *mailbox)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&mailbox->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&mailbox->lock, NULL);
}

static void mailbox_finish(struct mailbox *mailbox)
{
	bytes_finish(&mailbox->text);
	pthread_cond_destroy(&mailbox->changed);
	pthread_mutex_destroy(&mailbox->lock);
}

/* False: the deadline is over, or all ends. Called with the lock held. */
static bool mailbox_wait(struct mailbox *mailbox, uint64_t deadline_ms)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline_ms / 1000),
		.tv_nsec = (long)(deadline_ms % 1000) * 1000000,
	};
	if (mailbox->closing || now_ms() >= deadline_ms) {
		return false;
	}
	pthread_cond_timedwait(&mailbox->changed, &mailbox->lock, &until);
	return true;
}

/* Wait until the place is free of an older question that nobody waits for any more. */
static bool mailbox_free(struct http *http)
{
	struct mailbox *mailbox = &http->mailbox;
	uint64_t deadline_ms = mailbox->asked_ms + http->answer_ms_max;
	while (mailbox->state == MAIL_ASKED || mailbox->state == MAIL_MAKING) {
		if (!mailbox_wait(mailbox, deadline_ms)) {
			return false;
		}
	}
	return !mailbox->closing;
}

/* Ask the shard and wait. `text` becomes the page. errors: -E_TIMEOUT; or what render() said. */
static int ask(struct http *http, enum http_page page, struct bytes *text)
{
	struct mailbox *mailbox = &http->mailbox;
	int result = -E_TIMEOUT;
	pthread_mutex_lock(&mailbox->lock);
	if (mailbox_free(http)) {
		mailbox->state = MAIL_ASKED;
		mailbox->page = page;
		mailbox->asked_ms = now_ms();
		atomic_store_explicit(&mailbox->asked, true, memory_order_release);
		http->source.wake(http->source.context);
		uint64_t deadline_ms = mailbox->asked_ms + http->answer_ms_max;
		while (mailbox->state != MAIL_MADE && mailbox_wait(mailbox, deadline_ms)) {
		}
		if (mailbox->state == MAIL_MADE) {
			mailbox->state = MAIL_EMPTY;
			result = mailbox->result;
			*text = mailbox->text;
			mailbox->text = (struct bytes){0};
		}
	}
	pthread_mutex_unlock(&mailbox->lock);
	return result;
}

bool http_poll(struct http *http)
{
	struct mailbox *mailbox = &http->mailbox;
	if (!atomic_load_explicit(&mailbox->asked, memory_order_acquire)) {
		return false;
	}
	pthread_mutex_lock(&mailbox->lock);
	assert(mailbox->state == MAIL_ASKED);
	mailbox->state = MAIL_MAKING;
	enum http_page page = mailbox->page;
	atomic_store_explicit(&mailbox->asked, false, memory_order_relaxed);
	pthread_mutex_unlock(&mailbox->lock);

	struct bytes text = {0};
	int result = http->source.render(http->source.context, page, &text);

	pthread_mutex_lock(&mailbox->lock);
	bytes_finish(&mailbox->text); /* of an answer that nobody took */
	mailbox->text = text;
	mailbox->result = result;
	mailbox->state = MAIL_MADE;
	pthread_cond_signal(&mailbox->changed);
	pthread_mutex_unlock(&mailbox->lock);
	return true;
}

/* -- requests -- */

/* owner: takes `text`. */
static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, struct bytes *text,
	const char *content_type)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(text->len, text->data, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		bytes_finish(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	}
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result reply_sentence(
	struct MHD_Connection *connection, unsigned status, const char *sentence)
{
	struct bytes text = {0};
	bytes_printf(&text, "%s\n", sentence);
	return reply(connection, status, &text, "text/plain; charset=utf-8");
}

static bool has_body(struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	const char *coding = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	return coding != NULL || (length != NULL && strcmp(length, "0") != 0);
}

static enum MHD_Result answer_page(
	struct http *http, struct MHD_Connection *connection, enum http_page page)
{
	struct bytes text = {0};
	count(&http->requests[page]);
	int result = ask(http, page, &text);
	if (result == -E_TIMEOUT && text.len == 0) {
		count(&http->late);
		bytes_finish(&text);
		return reply_sentence(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
			"The hub did not answer in time.");
	}
	return reply(connection, result == OK ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, &text,
		pages[page].content_type);
}

/* libmicrohttpd calls it when the header is there, with *state NULL, and again when the request is
 * complete. A refusal at the first call ends the connection, so that nobody waits for a body. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
	const char *path, const char *method, const char *version, const char *upload,
	size_t *upload_size, void **state)
{
	static char seen;
	struct http *http = context;
	(void)version;
	(void)upload;
	(void)upload_size;
	if (*state == NULL) {
		*state = &seen;
		if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
			strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
			count(&http->refused);
			return reply_sentence(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				"Only GET and HEAD are served here.");
		}
		if (has_body(connection)) {
			count(&http->refused);
			return reply_sentence(connection, MHD_HTTP_CONTENT_TOO_LARGE,
				"No request here has a body.");
		}
		return MHD_YES;
	}
	for (unsigned page = 0; page < HTTP_PAGES; page++) {
		if (strcmp(path, pages[page].path) == 0) {
			return answer_page(http, connection, (enum http_page)page);
		}
	}
	count(&http->refused);
	return reply_sentence(
		connection, MHD_HTTP_NOT_FOUND, "Here are /metrics, /healthz and /readyz.");
}

/* -- connections -- */

/* Shut down whoever has taken too long with a request. libmicrohttpd notices at its next turn. */
static void hurry(struct http *http)
{
	uint64_t now = now_ms();
	for (struct visitor *v = http->visitors; v != NULL; v = v->next) {
		if (now - v->since_ms > http->request_ms_max) {
			shutdown(v->fd, SHUT_RDWR);
		}
	}
}

static enum MHD_Result on_accept(void *context, const struct sockaddr *address, socklen_t len)
{
	struct http *http = context;
	(void)address;
	(void)len;
	if (http->visitors_count >= http->connections_max - http->connections_max / 4) {
		hurry(http);
	}
	if (http->visitors_count < http->connections_max) {
		return MHD_YES;
	}
	count(&http->turned_away);
	return MHD_NO;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
	enum MHD_ConnectionNotificationCode code)
{
	struct http *http = context;
	struct visitor *visitor = *state;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		visitor = mem_zalloc(sizeof(*visitor));
		visitor->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
				      ->connect_fd;
		visitor->since_ms = now_ms();
		visitor->link = &http->visitors;
		visitor->next = http->visitors;
		if (visitor->next != NULL) {
			visitor->next->link = &visitor->next;
		}
		http->visitors = visitor;
		http->visitors_count++;
		*state = visitor;
	} else if (visitor != NULL) {
		*visitor->link = visitor->next;
		if (visitor->next != NULL) {
			visitor->next->link = visitor->link;
		}
		http->visitors_count--;
		free(visitor);
		*state = NULL;
	}
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode code)
{
	(void)context;
	(void)state;
	(void)code;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct visitor *visitor = info == NULL ? NULL : info->socket_context;
	if (visitor != NULL) {
		visitor->since_ms = now_ms();
	}
}

/* A peer's nonsense is nothing to wake an operator for. */
__attribute__((format(printf, 2, 0))) static void on_log(
	void *context, const char *format, va_list args)
{
	char text[256];
	(void)context;
	int len = vsnprintf(text, sizeof(text), format, args);
	size_t shown = len < 0 ? 0 : len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1;
	while (shown > 0 && (text[shown - 1] == '\n' || text[shown - 1] == ' ')) {
		shown--;
	}
	journal(JOURNAL_VERBOSE, "http", "said=%s", JQ(((struct slice){text, shown})));
}

/* -- life -- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int parse_address(const char *bind, uint16_t port, union address *out)
{
	memset(out, 0, sizeof(*out));
	if (strcmp(bind, "localhost") == 0) {
		bind = "127.0.0.1";
	}
	if (inet_pton(AF_INET, bind, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons(port);
		return OK;
	}
	if (inet_pton(AF_INET6, bind, &out->v6.sin6_addr) == 1) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons(port);
		return OK;
	}
	return -E_SYNTAX;
}

/* libmicrohttpd's thread inherits the mask: signals are for the main thread. */
static struct MHD_Daemon *start(struct http *http, const union address *address)
{
	unsigned flags =
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ERROR_LOG | MHD_USE_ITC;
	if (address->any.sa_family == AF_INET6) {
		flags |= MHD_USE_IPv6;
	}
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errno = 0;
	struct MHD_Daemon *daemon = MHD_start_daemon(flags, 0, on_accept, http, on_request, http,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_SOCK_ADDR, &address->any,
		MHD_OPTION_CONNECTION_LIMIT, http->connections_max + 8,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_END);
	int errnum = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = errnum;
	return daemon;
}

static unsigned or_else(unsigned value, unsigned otherwise)
{
	return value != 0 ? value : otherwise;
}

int http_create(const struct http_options *options, const struct http_source *source,
	struct http **out, char *why, size_t why_size)
{
	union address address;
	if (parse_address(options->bind, options->port, &address) != OK) {
		snprintf(why, why_size, "http-bind %s is not a numeric address",
			JQ(slice_of(options->bind)));
		return -E_SYNTAX;
	}
	struct http *http = mem_zalloc(sizeof(*http));
	http->source = *source;
	http->connections_max = or_else(options->connections_max, CONNECTIONS_DEFAULT);
	http->answer_ms_max = or_else(options->answer_ms_max, ANSWER_MS_DEFAULT);
	http->request_ms_max = or_else(options->request_ms_max, REQUEST_MS_DEFAULT);
	mailbox_init(&http->mailbox);
	http->daemon = start(http, &address);
	if (http->daemon == NULL) {
		int errnum = errno;
		snprintf(why, why_size, "HTTP cannot listen on %s port %u: %s", options->bind,
			(unsigned)options->port, errnum == 0 ? "refused" : strerror(errnum));
		mailbox_finish(&http->mailbox);
		free(http);
		return errnum == 0 ? -E_IO : err_from_errno(errnum);
	}
	http->port = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	*out = http;
	return OK;
}

void http_destroy(struct http *http)
{
	if (http == NULL) {
		return;
	}
	pthread_mutex_lock(&http->mailbox.lock);
	http->mailbox.closing = true;
	pthread_cond_broadcast(&http->mailbox.changed);
	pthread_mutex_unlock(&http->mailbox.lock);
	MHD_stop_daemon(http->daemon);
	mailbox_finish(&http->mailbox);
	free(http);
}

uint16_t http_port(const struct http *http)
{
	return http->port;
}

struct http_stats http_stats(const struct http *http)
{
	struct http_stats stats;
	for (unsigned page = 0; page < HTTP_PAGES; page++) {
		stats.requests[page] =
			atomic_load_explicit(&http->requests[page], memory_order_relaxed);
	}
	stats.refused = atomic_load_explicit(&http->refused, memory_order_relaxed);
	stats.late = atomic_load_explicit(&http->late, memory_order_relaxed);
	stats.turned_away = atomic_load_explicit(&http->turned_away, memory_order_relaxed);
	return stats;
}
