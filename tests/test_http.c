/* HTTP against the real library and real sockets; the shard is a thread that makes a page when it
 * is woken. */
#include "engine/hub/http.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"

#include "tests/unit.h"

/* What would be a shard: sleeps until it is woken, or for ever while `hangs`. */
struct hub {
	struct http *http;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool wake, hangs, stop;
	atomic_int result;
	atomic_uint made;
};

static int render(void *context, enum http_page page, struct bytes *out)
{
	struct hub *hub = context;
	hub->made++;
	if (hub->result != OK) {
		bytes_append_string(out, "the store cannot be written\n");
		return hub->result;
	}
	if (page == HTTP_METRICS) {
		bytes_printf(out, "# TYPE made counter\nmade %u\n", hub->made);
		for (int i = 0; i < 3000; i++) {
			bytes_printf(out, "series{n=\"%d\"} %d\n", i, i);
		}
	} else {
		bytes_append_string(out, page == HTTP_HEALTH ? "ok\n" : "ready\n");
	}
	return OK;
}

static void wake(void *context)
{
	struct hub *hub = context;
	pthread_mutex_lock(&hub->lock);
	hub->wake = true;
	pthread_cond_signal(&hub->woken);
	pthread_mutex_unlock(&hub->lock);
}

static void *turn(void *context)
{
	struct hub *hub = context;
	pthread_mutex_lock(&hub->lock);
	while (!hub->stop) {
		if (hub->wake && !hub->hangs) {
			hub->wake = false;
			pthread_mutex_unlock(&hub->lock);
			http_poll(hub->http);
			pthread_mutex_lock(&hub->lock);
		} else {
			pthread_cond_wait(&hub->woken, &hub->lock);
		}
	}
	pthread_mutex_unlock(&hub->lock);
	return NULL;
}

static void hub_set(struct hub *hub, bool *flag, bool value)
{
	pthread_mutex_lock(&hub->lock);
	*flag = value;
	pthread_cond_signal(&hub->woken);
	pthread_mutex_unlock(&hub->lock);
}

static void hub_start(struct hub *hub, const struct http_options *options)
{
	char why[256] = "";
	struct http_source source = {render, wake, hub};
	*hub = (struct hub){0};
	pthread_mutex_init(&hub->lock, NULL);
	pthread_cond_init(&hub->woken, NULL);
	UNIT_REQUIRE(http_create(options, &source, &hub->http, why, sizeof(why)) == OK);
	UNIT_REQUIRE(http_port(hub->http) != 0);
	pthread_create(&hub->thread, NULL, turn, hub);
}

/* As the hub does it: the shard ends first, then HTTP. */
static void hub_stop(struct hub *hub)
{
	hub_set(hub, &hub->stop, true);
	pthread_join(hub->thread, NULL);
	http_destroy(hub->http);
	pthread_cond_destroy(&hub->woken);
	pthread_mutex_destroy(&hub->lock);
}

static int dial(const struct hub *hub)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(http_port(hub->http)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval patience = {.tv_sec = 20};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	UNIT_REQUIRE(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	UNIT_REQUIRE(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	return fd;
}

static void say(int fd, const char *text)
{
	ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL);
	(void)sent; /* the other end may have closed: the answer, or none, tells */
}

/* Everything until the other end closes. NUL-terminated; the caller finishes it. */
static struct bytes hear(int fd)
{
	struct bytes all = {0};
	ssize_t len;
	while ((len = recv(fd, bytes_reserve(&all, 65536), 65536, 0)) > 0) {
		all.len += (size_t)len;
	}
	bytes_append(&all, "", 1);
	all.len--;
	close(fd);
	return all;
}

static struct bytes get(const struct hub *hub, const char *request)
{
	int fd = dial(hub);
	say(fd, request);
	return hear(fd);
}

#define CLOSE " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static int status_of(const struct bytes *answer)
{
	int status = 0;
	return sscanf(answer->data, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

static bool has(const struct bytes *answer, const char *part)
{
	return strstr(answer->data, part) != NULL;
}

static const char *body_of(const struct bytes *answer)
{
	const char *end = strstr(answer->data, "\r\n\r\n");
	return end == NULL ? "" : end + 4;
}

static const struct http_options ordinary = {.bind = "127.0.0.1"};

static void test_pages_come_with_their_types(void)
{
	struct hub hub;
	hub_start(&hub, &ordinary);
	struct bytes metrics = get(&hub, "GET /metrics" CLOSE);
	CU_ASSERT_EQUAL(status_of(&metrics), 200);
	CU_ASSERT_TRUE(has(&metrics, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	CU_ASSERT_EQUAL(strncmp(body_of(&metrics), "# TYPE made counter\nmade 1\n", 27), 0);
	CU_ASSERT_TRUE(has(&metrics, "series{n=\"2999\"} 2999\n"));
	struct bytes health = get(&hub, "GET /healthz" CLOSE);
	CU_ASSERT_EQUAL(status_of(&health), 200);
	CU_ASSERT_STRING_EQUAL(body_of(&health), "ok\n");
	struct bytes ready = get(&hub, "GET /readyz?verbose=1" CLOSE);
	CU_ASSERT_EQUAL(status_of(&ready), 200);
	CU_ASSERT_STRING_EQUAL(body_of(&ready), "ready\n");
	struct http_stats stats = http_stats(hub.http);
	CU_ASSERT_EQUAL(stats.requests[HTTP_METRICS], 1);
	CU_ASSERT_EQUAL(stats.requests[HTTP_HEALTH], 1);
	bytes_finish(&metrics);
	bytes_finish(&health);
	bytes_finish(&ready);
	hub_stop(&hub);
}

static void test_head_tells_the_length_without_the_page(void)
{
	struct hub hub;
	hub_start(&hub, &ordinary);
	struct bytes answer = get(&hub, "HEAD /healthz" CLOSE);
	CU_ASSERT_EQUAL(status_of(&answer), 200);
	CU_ASSERT_TRUE(has(&answer, "Content-Length: 3\r\n"));
	CU_ASSERT_STRING_EQUAL(body_of(&answer), "");
	bytes_finish(&answer);
	hub_stop(&hub);
}

static void test_two_requests_go_over_one_connection(void)
{
	struct hub hub;
	hub_start(&hub, &ordinary);
	struct bytes answer =
		get(&hub, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz" CLOSE);
	CU_ASSERT_TRUE(has(&answer, "\r\n\r\nok\nHTTP/1.1 200"));
	CU_ASSERT_TRUE(has(&answer, "\r\n\r\nready\n"));
	bytes_finish(&answer);
	hub_stop(&hub);
}

static void test_what_is_not_served_is_refused_with_a_sentence(void)
{
	static const struct {
		const char *request;
		int status;
		const char *part;
	} cases[] = {
		{"GET /" CLOSE, 404, "Here are /metrics, /healthz and /readyz.\n"},
		{"GET /metrics/" CLOSE, 404, "Here are"},
		{"DELETE /metrics" CLOSE, 405, "Allow: GET, HEAD\r\n"},
		{"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc", 405,
			"Only GET and HEAD"},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", 413,
			"No request here has a body."},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413,
			"No request here has a body."},
		{"nonsense\r\n\r\n", 400, ""},
	};
	struct hub hub;
	hub_start(&hub, &ordinary);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bytes answer = get(&hub, cases[i].request);
		int status = status_of(&answer);
		bool closed = cases[i].status == 400 && answer.len == 0; /* as good */
		if (!closed && (status != cases[i].status || !has(&answer, cases[i].part))) {
			printf("<%s>: <%s>\n", cases[i].request, answer.data);
			CU_FAIL("refusal");
		}
		bytes_finish(&answer);
	}
	CU_ASSERT_EQUAL(hub.made, 0);
	hub_stop(&hub);
}

static void test_header_has_a_limit(void)
{
	struct hub hub;
	struct bytes request = {0};
	hub_start(&hub, &ordinary);
	bytes_append_string(&request, "GET /healthz HTTP/1.1\r\nX: ");
	for (int i = 0; i < 100000; i++) {
		bytes_append(&request, "x", 1);
	}
	bytes_append(&request, "", 1);
	struct bytes answer = get(&hub, request.data);
	CU_ASSERT_NOT_EQUAL(status_of(&answer), 200);
	bytes_finish(&answer);
	answer = get(&hub, "GET /healthz" CLOSE);
	CU_ASSERT_EQUAL(status_of(&answer), 200);
	bytes_finish(&answer);
	bytes_finish(&request);
	hub_stop(&hub);
}

static void test_page_that_is_not_well_is_a_503_with_the_reason(void)
{
	struct hub hub;
	hub_start(&hub, &ordinary);
	hub.result = -E_READONLY;
	struct bytes answer = get(&hub, "GET /readyz" CLOSE);
	CU_ASSERT_EQUAL(status_of(&answer), 503);
	CU_ASSERT_STRING_EQUAL(body_of(&answer), "the store cannot be written\n");
	bytes_finish(&answer);
	hub_stop(&hub);
}

static void test_shard_that_hangs_is_a_503_and_recovers(void)
{
	struct hub hub;
	hub_start(&hub, &(struct http_options){.bind = "127.0.0.1", .answer_ms_max = 50});
	hub_set(&hub, &hub.hangs, true);
	for (int i = 0; i < 3; i++) {
		struct bytes answer = get(&hub, "GET /healthz" CLOSE);
		CU_ASSERT_EQUAL(status_of(&answer), 503);
		CU_ASSERT_STRING_EQUAL(body_of(&answer), "The hub did not answer in time.\n");
		bytes_finish(&answer);
	}
	CU_ASSERT_EQUAL(http_stats(hub.http).late, 3);
	hub_set(&hub, &hub.hangs, false);
	int status = 0;
	for (int tries = 0; tries < 1000 && status != 200; tries++) {
		struct bytes answer = get(&hub, "GET /readyz" CLOSE);
		status = status_of(&answer);
		/* Never the page of the question that was given up. */
		CU_ASSERT_TRUE(status == 503 || strcmp(body_of(&answer), "ready\n") == 0);
		bytes_finish(&answer);
	}
	CU_ASSERT_EQUAL(status, 200);
	hub_stop(&hub);
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void test_only_the_first_waits_for_a_shard_that_hangs(void)
{
	enum { ANSWER_MS = 700, OTHERS = 4 };
	struct hub hub;
	hub_start(&hub, &(struct http_options){.bind = "127.0.0.1", .answer_ms_max = ANSWER_MS});
	hub_set(&hub, &hub.hangs, true);
	uint64_t before = now_ms();
	struct bytes answer = get(&hub, "GET /healthz" CLOSE);
	CU_ASSERT_EQUAL(status_of(&answer), 503);
	CU_ASSERT_TRUE(now_ms() - before >= ANSWER_MS);
	bytes_finish(&answer);
	before = now_ms();
	for (int i = 0; i < OTHERS; i++) {
		answer = get(&hub, "GET /healthz" CLOSE);
		CU_ASSERT_EQUAL(status_of(&answer), 503);
		bytes_finish(&answer);
	}
	CU_ASSERT_TRUE(now_ms() - before < OTHERS * ANSWER_MS);
	hub_stop(&hub);
}

static void *stop_http(void *context)
{
	struct hub *hub = context;
	http_destroy(hub->http);
	return NULL;
}

static void test_stop_does_not_wait_for_a_hung_shard(void)
{
	struct hub hub;
	pthread_t stopper;
	struct timespec before;
	struct timespec after;
	hub_start(&hub, &(struct http_options){.bind = "127.0.0.1", .answer_ms_max = 60000});
	hub_set(&hub, &hub.hangs, true);
	int fd = dial(&hub);
	say(fd, "GET /healthz" CLOSE);
	while (http_stats(hub.http).requests[HTTP_HEALTH] == 0) {
		sched_yield();
	}
	clock_gettime(CLOCK_MONOTONIC, &before);
	hub_set(&hub, &hub.stop, true);
	pthread_join(hub.thread, NULL);
	pthread_create(&stopper, NULL, stop_http, &hub);
	pthread_join(stopper, NULL);
	clock_gettime(CLOCK_MONOTONIC, &after);
	CU_ASSERT_TRUE(after.tv_sec - before.tv_sec < 20);
	struct bytes answer = hear(fd);
	CU_ASSERT_NOT_EQUAL(status_of(&answer), 200);
	bytes_finish(&answer);
	pthread_cond_destroy(&hub.woken);
	pthread_mutex_destroy(&hub.lock);
}

enum { SCRAPERS = 8, SCRAPES = 10 };

struct scraper {
	const struct hub *hub;
	pthread_t thread;
	unsigned good;
};

static void *scrape(void *context)
{
	struct scraper *scraper = context;
	for (int i = 0; i < SCRAPES; i++) {
		struct bytes answer = get(scraper->hub, "GET /metrics" CLOSE);
		if (status_of(&answer) == 200 && has(&answer, "series{n=\"2999\"} 2999\n")) {
			scraper->good++;
		}
		bytes_finish(&answer);
	}
	return NULL;
}

static void test_scrapes_at_once_all_get_a_whole_page(void)
{
	struct hub hub;
	struct scraper scrapers[SCRAPERS];
	hub_start(&hub, &ordinary);
	for (int i = 0; i < SCRAPERS; i++) {
		scrapers[i] = (struct scraper){.hub = &hub};
		pthread_create(&scrapers[i].thread, NULL, scrape, &scrapers[i]);
	}
	for (int i = 0; i < SCRAPERS; i++) {
		pthread_join(scrapers[i].thread, NULL);
		CU_ASSERT_EQUAL(scrapers[i].good, SCRAPES);
	}
	CU_ASSERT_EQUAL(http_stats(hub.http).requests[HTTP_METRICS], SCRAPERS * SCRAPES);
	hub_stop(&hub);
}

static void test_those_who_dawdle_make_room_for_others(void)
{
	enum { SEATS = 4 };
	int dawdlers[SEATS];
	struct hub hub;
	hub_start(
		&hub, &(struct http_options){
			      .bind = "127.0.0.1", .connections_max = SEATS, .request_ms_max = 30});
	for (int i = 0; i < SEATS; i++) {
		dawdlers[i] = dial(&hub);
		say(dawdlers[i], "GET /healthz HT");
	}
	int status = 0;
	/* Fewer bytes than the longest header, which would end them too. */
	for (int tries = 0; tries < 10000 && status != 200; tries++) {
		for (int i = 0; i < SEATS; i++) { /* a byte now and then keeps no place */
			say(dawdlers[i], "x");
		}
		struct bytes answer = get(&hub, "GET /healthz" CLOSE);
		status = status_of(&answer);
		bytes_finish(&answer);
	}
	CU_ASSERT_EQUAL(status, 200);
	for (int i = 0; i < SEATS; i++) {
		close(dawdlers[i]);
	}
	hub_stop(&hub);
}

static void test_address_that_is_taken_or_wrong_is_told(void)
{
	struct hub hub;
	char why[256] = "";
	struct http *second = NULL;
	hub_start(&hub, &ordinary);
	struct http_source source = {render, wake, &hub};
	struct http_options options = {.bind = "127.0.0.1", .port = http_port(hub.http)};
	CU_ASSERT_EQUAL(http_create(&options, &source, &second, why, sizeof(why)), -E_IN_USE);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "HTTP cannot listen on 127.0.0.1 port "));
	options.bind = "example.com";
	CU_ASSERT_EQUAL(http_create(&options, &source, &second, why, sizeof(why)), -E_SYNTAX);
	CU_ASSERT_PTR_NULL(second);
	hub_stop(&hub);
	http_destroy(NULL);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_pages_come_with_their_types),
	UNIT_TEST(test_head_tells_the_length_without_the_page),
	UNIT_TEST(test_two_requests_go_over_one_connection),
	UNIT_TEST(test_what_is_not_served_is_refused_with_a_sentence),
	UNIT_TEST(test_header_has_a_limit),
	UNIT_TEST(test_page_that_is_not_well_is_a_503_with_the_reason),
	UNIT_TEST(test_shard_that_hangs_is_a_503_and_recovers),
	UNIT_TEST(test_only_the_first_waits_for_a_shard_that_hangs),
	UNIT_TEST(test_stop_does_not_wait_for_a_hung_shard),
	UNIT_TEST(test_scrapes_at_once_all_get_a_whole_page),
	UNIT_TEST(test_those_who_dawdle_make_room_for_others),
	UNIT_TEST(test_address_that_is_taken_or_wrong_is_told),
};

int main(int argc, char **argv)
{
	journal_init(JOURNAL_WARNING, -1);
	return UNIT_MAIN(argc, argv, "http", tests);
}
