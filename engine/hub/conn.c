/* Connections: bytes in to verbs and sessions, what is owed out to the ring.
 *
 * Called by shard.c with the ring's events; calls the protocols, redis_run() and line_session_line(), and the outbox. Every
 * request is handled in order and answered in order; a reply that must wait for the disk is put behind a hold in
 * the outbox, so that it delays only what stands behind it.
 *
 * The states and who changes them: set_state() alone, checked against `legal`. A connection's memory lives until
 * RING_CLOSED, because a send of its log's bytes may be in flight until then.
 *
 * It deliberately does not decide when to flush (the shard does, once a turn) and knows no verb's meaning.
 */
#include "engine/hub/conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/hub/hub.h"
#include "engine/hub/remote.h"
#include "engine/hub/tenant.h"
#include "engine/redis/commands.h"

enum { INPUT_KEEP_BYTES = 1024, NAME_BYTES_MAX = 320, LAST_WORDS_S = 10 };

static const bool legal[CONN_STATES][CONN_STATES] = {
	[CONN_MOVING] = {[CONN_OPEN] = true, [CONN_CLOSING] = true},
	[CONN_OPEN] = {[CONN_MOVING] = true, [CONN_LAST_WORDS] = true, [CONN_CLOSING] = true},
	[CONN_LAST_WORDS] = {[CONN_CLOSING] = true},
};

static const char *const end_words[CONN_ENDS] = {
	[END_PEER] = "closed by the peer",
	[END_QUIT] = "it said QUIT",
	[END_BROKEN] = "connection broken",
	[END_PROTOCOL] = "protocol error",
	[END_OUTPUT] = "too far behind: client-output-buffer-limit",
	[END_INPUT] = "request too large: client-query-buffer-limit",
	[END_IDLE] = "idle: timeout",
	[END_SILENT] = "ping timeout",
	[END_KILLED] = "killed by CLIENT KILL",
	[END_SHUTDOWN] = "shutdown",
};

static void set_state(struct conn *conn, enum conn_state state)
{
	assert(legal[conn->state][state]);
	conn->state = state;
}

struct conn *conn_of_outbox(struct outbox *outbox)
{
	return (struct conn *)((char *)outbox - offsetof(struct conn, out));
}

struct conn *conn_of_client(struct client *client)
{
	return (struct conn *)((char *)client - offsetof(struct conn, resp.client));
}

struct conn *conn_find(struct shard *shard, uint64_t id)
{
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		struct conn *conn = shard->conns[slot];
		if (conn != NULL && conn->id == id && conn->state == CONN_OPEN) {
			return conn;
		}
	}
	return NULL;
}

enum encoding conn_encoding(const struct conn *conn)
{
	if (conn->transport == CONN_LINE) {
		return ENC_LINE;
	}
	return conn->resp.client.resp == 3 ? ENC_RESP3 : ENC_RESP2;
}

/* ---- names ---- */

void conn_renamed(struct conn *conn)
{
	free(conn->name);
	conn->name = NULL;
}

struct slice conn_full_name(struct conn *conn)
{
	if (conn->name == NULL) {
		char address[RING_ADDRESS_MAX];
		char text[NAME_BYTES_MAX];
		bool line = conn->transport == CONN_LINE;
		struct slice given = line ? conn->line.session.name : conn->resp.client.name;
		ring_peer_address(conn->shard->ring, conn->socket, address);
		int32_t pid = ring_peer_pid(conn->shard->ring, conn->socket);
		char process[24] = "";
		if (pid > 0) {
			snprintf(process, sizeof(process), " pid=%d", pid);
		}
		snprintf(text, sizeof(text), "%s %s%s%s%s #%llu", line ? "line" : "resp",
			given.len > 0 ? JQ(given) : "", given.len > 0 ? " " : "", address, process,
			(unsigned long long)conn->id);
		conn->name = slice_dup(slice_of(text));
	}
	return slice_of(conn->name);
}

struct origin conn_origin(struct conn *conn)
{
	return (struct origin){
		.direction = conn->transport == CONN_LINE ? FROM_WORKER : FROM_WRITER,
		.connection = conn->id,
		.full_name = conn_full_name(conn),
		.may_write = conn->shard->line_writers.any || conn->shard->line_writers.count > 0,
		.writers = &conn->shard->line_writers,
	};
}

/* ---- out ---- */

void conn_ready(struct outbox *outbox)
{
	struct conn *conn = conn_of_outbox(outbox);
	struct shard *shard = conn->shard;
	if (conn->in_ready) {
		return;
	}
	conn->in_ready = true;
	conn->next_ready = NULL;
	if (shard->ready == NULL) {
		shard->ready = conn;
	} else {
		shard->ready_last->next_ready = conn;
	}
	shard->ready_last = conn;
}

static void hold_until_durable(struct conn *conn)
{
	struct shard *shard = conn->shard;
	if (!conn->in_held) {
		conn->in_held = true;
		conn->next_held = shard->held;
		shard->held = conn;
	}
}

/* Put what was written to shard->reply into the connection's order. */
void conn_take_reply(struct conn *conn)
{
	struct shard *shard = conn->shard;
	if (shard->reply.len == 0) {
		return;
	}
	if (conn->saved_number > shard->durable) {
		outbox_hold(&conn->out, conn->saved_number);
	}
	outbox_reply(&conn->out, shard->reply.data, shard->reply.len);
	bytes_clear(&shard->reply);
	conn_ready(&conn->out);
}

void conn_flush(struct conn *conn)
{
	struct shard *shard = conn->shard;
	if (conn->state == CONN_CLOSING || conn->out.flight != FLIGHT_NONE) {
		return;
	}
	struct iovec pieces[RING_IOV_MAX];
	unsigned count = outbox_next(&conn->out, pieces, RING_IOV_MAX,
		(size_t)shard->config->send_bytes_max, shard->durable);
	if (count > 0) {
		int error = ring_send(shard->ring, conn->socket, pieces, count);
		assert(error == OK);
		return;
	}
	if (!outbox_idle(&conn->out)) {
		hold_until_durable(conn);
	} else if (conn->state == CONN_MOVING && !conn->released) {
		conn->released = true;
		ring_release(shard->ring, conn->socket);
	} else if (conn->state == CONN_LAST_WORDS) {
		conn_close(conn, conn->end);
	}
}

void conn_sent(struct conn *conn, int error, size_t len)
{
	conn->shard->stats.sent_bytes += len;
	if (error != OK) {
		conn_close(conn, END_BROKEN);
		return;
	}
	outbox_sent(&conn->out);
	conn_ready(&conn->out);
}

/* ---- the end ---- */

static void log_end(struct conn *conn)
{
	bool notable = conn->end == END_OUTPUT || conn->end == END_INPUT ||
		       conn->end == END_PROTOCOL || conn->end == END_SILENT;
	if (!notable && journal_level() > JOURNAL_VERBOSE) {
		return;
	}
	journal(notable ? JOURNAL_WARNING : JOURNAL_VERBOSE, "connection ends",
		"conn=\"%s\" why=\"%s\" behind_bytes=%llu replies_bytes=%zu",
		conn_full_name(conn).data, end_words[conn->end],
		(unsigned long long)outbox_lag_bytes(&conn->out), conn->out.reply_bytes);
}

static void count_end(struct conn *conn)
{
	struct shard_stats *stats = &conn->shard->stats;
	stats->closed++;
	stats->dropped_output += conn->end == END_OUTPUT;
	stats->dropped_input += conn->end == END_INPUT;
	stats->dropped_idle += conn->end == END_IDLE || conn->end == END_SILENT;
	stats->protocol_errors += conn->end == END_PROTOCOL;
}

/* The tenants that it has cursors in are looked at: what they pinned may be free. */
static void touch_tenants(struct conn *conn)
{
	for (struct cursor *cursor = conn->out.cursors; cursor != NULL;
		cursor = cursor->next_of_outbox) {
		tenant_touch(tenant_of_fanout(cursor->fanout));
	}
}

/* A cursor went on: its tenant's log may have segments to free, and publishers may be waiting for them. */
static void cursor_moved(struct cursor *cursor)
{
	tenant_touch(tenant_of_fanout(cursor->fanout));
}

static void last_words_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	(void)now_ns;
	conn_close((struct conn *)((char *)timer - offsetof(struct conn, timer)), END_BROKEN);
}

/* It hears and says nothing from now on; its memory stays, for the kernel may be reading it. */
static void leave(struct conn *conn)
{
	struct shard *shard = conn->shard;
	wheel_cancel(shard->wheel, &conn->timer);
	patterns_leave(&shard->patterns, &conn->out);
	touch_tenants(conn);
	fanout_leave(&conn->out);
	tenants_disconnected(shard, conn->id);
	remote_disconnected(shard, conn->spoken_to, conn->id);
}

void conn_last_words(struct conn *conn, enum conn_end end)
{
	if (conn->state == CONN_OPEN) {
		conn->end = end;
		set_state(conn, CONN_LAST_WORDS);
		leave(conn);
		ring_pause(conn->shard->ring, conn->socket);
		conn->timer.expired = last_words_expired;
		wheel_set(conn->shard->wheel, &conn->timer,
			conn->shard->now.mono_ns + (uint64_t)LAST_WORDS_S * 1000000000u);
		conn_ready(&conn->out);
	}
}

void conn_close(struct conn *conn, enum conn_end end)
{
	if (conn->state == CONN_CLOSING) {
		return;
	}
	conn->end = conn->state == CONN_LAST_WORDS ? conn->end : end;
	log_end(conn);
	count_end(conn);
	if (conn->state == CONN_OPEN || conn->state == CONN_MOVING) {
		leave(conn);
	}
	wheel_cancel(conn->shard->wheel, &conn->timer);
	set_state(conn, CONN_CLOSING);
	ring_close(conn->shard->ring, conn->socket, end == END_OUTPUT);
}

static void list_remove(struct conn **link, struct conn *conn, size_t next_offset)
{
	while (*link != conn) {
		link = (struct conn **)((char *)*link + next_offset);
	}
	*link = *(struct conn **)((char *)conn + next_offset);
}

/* The shard knows it no more. */
static void leave_lists(struct conn *conn)
{
	struct shard *shard = conn->shard;
	shard->conns[conn->socket.slot] = NULL;
	shard->conns_count--;
	shard->input_bytes -= conn->in.len;
	if (conn->in_held) {
		list_remove(&shard->held, conn, offsetof(struct conn, next_held));
		conn->in_held = false;
	}
	if (conn->in_paused) {
		list_remove(&shard->paused, conn, offsetof(struct conn, next_paused));
		conn->in_paused = false;
	}
}

void conn_free(struct conn *conn)
{
	if (conn->transport == CONN_LINE) {
		line_session_finish(&conn->line.session);
	} else {
		resp_parser_finish(&conn->resp.parser);
		client_finish(&conn->resp.client, conn->shard->cache);
	}
	outbox_finish(&conn->out);
	bytes_finish(&conn->in);
	free(conn->name);
	free(conn);
}

void conn_closed(struct conn *conn)
{
	struct shard *shard = conn->shard;
	assert(conn->state == CONN_CLOSING && shard->conns[conn->socket.slot] == conn);
	leave_lists(conn);
	touch_tenants(conn);
	conn->freed = conn->in_ready;
	if (!conn->freed) {
		conn_free(conn);
	}
}

/* ---- the beginning ---- */

static void line_timer_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	struct conn *conn = (struct conn *)((char *)timer - offsetof(struct conn, timer));
	struct shard *shard = conn->shard;
	if (conn->in_paused) {
		conn->line.session.heard_ns = now_ns; /* it is we who do not listen */
	}
	uint64_t next = line_session_tick(&conn->line.session, shard->now, &shard->reply);
	conn_take_reply(conn);
	if (conn->line.session.state == LINE_CLOSING) {
		conn_last_words(conn, END_SILENT);
	} else {
		wheel_set(shard->wheel, timer, next);
	}
}

static void resp_timer_expired(struct wheel_timer *timer, uint64_t now_ns)
{
	struct conn *conn = (struct conn *)((char *)timer - offsetof(struct conn, timer));
	uint64_t timeout_ns = (uint64_t)conn->shard->config->timeout_ms * 1000000;
	bool excused = client_is_subscriber(&conn->resp.client) || conn->in_paused;
	if (excused || conn->heard_ns + timeout_ns > now_ns) {
		wheel_set(conn->shard->wheel, timer,
			(excused ? now_ns : conn->heard_ns) + timeout_ns);
	} else {
		conn_close(conn, END_IDLE);
	}
}

void conn_watch_idle(struct conn *conn)
{
	struct shard *shard = conn->shard;
	uint64_t timeout_ns = (uint64_t)shard->config->timeout_ms * 1000000;
	if (conn->transport != CONN_RESP || conn->state != CONN_OPEN) {
		return;
	}
	wheel_cancel(shard->wheel, &conn->timer);
	if (timeout_ns > 0) {
		wheel_set(shard->wheel, &conn->timer, conn->heard_ns + timeout_ns);
	}
}

static void arm_resp_timer(struct conn *conn)
{
	conn->timer.expired = resp_timer_expired;
	conn_watch_idle(conn);
}

static void start_resp(struct conn *conn)
{
	struct shard *shard = conn->shard;
	const struct config *config = shard->config;
	client_init(
		&conn->resp.client, conn->id, shard->now.wall_ms, config->requirepass[0] == '\0');
	arm_resp_timer(conn);
}

/* A worker hears its tenant's rows from now on; what it missed before, REPLICATE's answer tells. */
static bool start_line(struct conn *conn)
{
	struct shard *shard = conn->shard;
	struct tenant *tenant = tenant_need(shard, shard->line_options.server_name);
	if (tenant == NULL || tenant_replication(tenant) == NULL) {
		return false;
	}
	conn->line.tenant = tenant;
	conn->timer.expired = line_timer_expired;
	line_session_init(
		&conn->line.session, LINE_SERVER, &shard->line_options, shard->now, &shard->reply);
	conn_take_reply(conn);
	tenant_settle(tenant);
	fanout_subscribe(
		&tenant->fanout, &conn->out, ENC_LINE, CHANNEL_LINE, (struct slice){NULL, 0});
	wheel_set(shard->wheel, &conn->timer,
		line_session_tick(&conn->line.session, shard->now, &shard->reply));
	return true;
}

/* ---- moving ---- */

static void move_to(struct conn *conn, unsigned target)
{
	set_state(conn, CONN_MOVING);
	conn->target = target;
	conn->settled = true;
	wheel_cancel(conn->shard->wheel, &conn->timer);
	conn_ready(&conn->out);
}

static void start(struct conn *conn);

void conn_released(struct conn *conn, int fd)
{
	assert(conn->state == CONN_MOVING && conn->released);
	leave_lists(conn);
	conn->fd = fd;
	conn->moved = conn->in_ready;
	if (!conn->moved) {
		conn_depart(conn);
	}
}

void conn_depart(struct conn *conn)
{
	conn->moved = conn->released = false;
	conn_renamed(conn); /* its address is asked for anew */
	remote_move(conn->shard, conn->target, conn, conn->fd);
}

void conn_arrived(struct shard *shard, struct conn *conn, int fd)
{
	int error = ring_adopt(shard->ring, fd, &conn->socket);
	assert(error == OK); /* every shard has slots for maxclients */
	assert(shard->conns[conn->socket.slot] == NULL);
	conn->shard = shard;
	shard->conns[conn->socket.slot] = conn;
	shard->conns_count++;
	shard->input_bytes += conn->in.len;
	if (conn->transport == CONN_LINE) {
		start(conn);
	} else {
		set_state(conn, CONN_OPEN);
		arm_resp_timer(conn);
	}
	if (shard->stopping) {
		conn_last_words(conn, END_SHUTDOWN);
		return;
	}
	conn_continue(conn);
}

static void refuse(struct shard *shard, struct ring_socket socket, enum listener listener)
{
	static char resp[] = "-ERR max number of clients reached\r\n";
	static char line[] = "ERROR max number of clients reached\n";
	struct iovec piece = {.iov_base = listener == LISTENER_LINE ? line : resp,
		.iov_len = listener == LISTENER_LINE ? sizeof(line) - 1 : sizeof(resp) - 1};
	shard->stats.refused_full++;
	ring_send(shard->ring, socket, &piece, 1);
	ring_close(shard->ring, socket, false);
}

/* A line worker's tenant is known from the start; a RESP client's, when it says. */
static void start(struct conn *conn)
{
	struct shard *shard = conn->shard;
	conn->state = CONN_OPEN;
	if (conn->transport == CONN_RESP) {
		start_resp(conn);
		return;
	}
	unsigned owner = tenant_owner(shard, shard->line_options.server_name);
	if (owner != shard->index) {
		move_to(conn, owner);
	} else if (!start_line(conn)) {
		conn_close(conn, END_PROTOCOL);
	}
}

void conn_accepted(struct shard *shard, struct ring_socket socket, enum listener listener)
{
	assert(shard->conns[socket.slot] == NULL);
	if (shard->conns_count >= (unsigned)shard->config->maxclients || shard->stopping) {
		refuse(shard, socket, listener);
		return;
	}
	struct conn *conn = mem_zalloc(sizeof(*conn));
	conn->socket = socket;
	conn->shard = shard;
	conn->id = shard->next_connection++ * shard->hub->shards_count + shard->index + 1;
	conn->transport = listener == LISTENER_LINE ? CONN_LINE : CONN_RESP;
	conn->opened_ns = conn->heard_ns = shard->now.mono_ns;
	outbox_init(&conn->out, conn->id);
	conn->out.moved = cursor_moved;
	shard->conns[socket.slot] = conn;
	shard->conns_count++;
	shard->stats.accepted++;
	start(conn);
}

/* ---- in ---- */

/* The logs are full: this publisher waits until the slow have caught up or were dropped. */
static void pause_if_full(struct conn *conn)
{
	struct shard *shard = conn->shard;
	if (conn->in_paused || conn->state != CONN_OPEN ||
		shard->pool.bytes < (size_t)shard->config->log_bytes_max) {
		return;
	}
	conn->in_paused = true;
	conn->next_paused = shard->paused;
	shard->paused = conn;
	shard->stats.publishers_paused++;
	ring_pause(shard->ring, conn->socket);
}

void conn_resume(struct conn *conn)
{
	assert(conn->in_paused);
	conn->in_paused = false;
	conn->heard_ns = conn->shard->now.mono_ns;
	if (conn->transport == CONN_LINE) {
		conn->line.session.heard_ns = conn->heard_ns;
	}
	if (conn->state == CONN_OPEN) {
		ring_resume(conn->shard->ring, conn->socket);
	}
}

void conn_wait_for_disk(struct conn *conn)
{
	uint64_t number = shard_wait_number(conn->shard);
	conn->saved_number = number > 0 ? number : conn->saved_number;
}

/* With appendfsync always: what it is answered from now on waits for what it has changed. */
static void note_saved_number(struct conn *conn)
{
	if (conn->shard->unsaved) {
		conn_wait_for_disk(conn);
	}
}

/* One subscription of a connection that changes its protocol. */
struct heard {
	struct heard *next;
	enum channel_kind kind;
	size_t len;
	char name[];
};

struct heard_list {
	struct heard *first;
	enum channel_kind kind;
};

static void remember_heard(void *context, struct slice name)
{
	struct heard_list *list = context;
	struct heard *heard = mem_alloc(sizeof(*heard) + name.len + 1);
	*heard = (struct heard){.next = list->first, .kind = list->kind, .len = name.len};
	if (name.len > 0) {
		memcpy(heard->name, name.data, name.len);
	}
	list->first = heard;
}

/* HELLO changed the protocol: what was subscribed is heard in the other encoding from here on. Globs are
 * remembered with a kind that no channel has. */
static void switch_encoding(struct conn *conn, enum encoding before)
{
	struct shard *shard = conn->shard;
	struct heard_list list = {.first = NULL};
	for (list.kind = 0; list.kind < CHANNEL_LINE; list.kind++) {
		for (struct cursor *cursor = conn->out.cursors; cursor != NULL;
			cursor = cursor->next_of_outbox) {
			if (!cursor->retired) {
				fanout_subscriptions(cursor, list.kind, remember_heard, &list);
			}
		}
	}
	list.kind = CHANNEL_KINDS;
	patterns_each(&conn->out, remember_heard, &list);
	while (list.first != NULL) {
		struct heard *heard = list.first;
		struct slice name = {heard->name, heard->len};
		if (heard->kind == CHANNEL_KINDS) {
			patterns_unsubscribe(&shard->patterns, &conn->out, name);
			patterns_subscribe(&shard->patterns, &conn->out, conn_encoding(conn), name);
		} else {
			struct tenant *tenant = tenant_find(shard, name);
			tenant_settle(tenant);
			fanout_unsubscribe(&tenant->fanout, &conn->out, before, heard->kind, name);
			fanout_subscribe(&tenant->fanout, &conn->out, conn_encoding(conn),
				heard->kind, name);
		}
		list.first = heard->next;
		free(heard);
	}
}

/* The first command that tells whose the connection is moves it to that tenant's shard, if it is another. Nothing hangs on it
 * here yet: what it was answered goes out first. */
static bool moves_away(struct conn *conn, const struct resp_request *request)
{
	if (conn->settled) {
		return false;
	}
	unsigned owner = tenant_owner(conn->shard, request->argv[1]);
	conn->settled = true;
	if (owner == conn->shard->index || client_is_subscriber(&conn->resp.client) ||
		conn->resp.client.multi != NULL) {
		return false;
	}
	move_to(conn, owner);
	return true;
}

/* Channels of tenants that belong to other shards are borrowed before it subscribes to them. */
static bool waits_for_channels(
	struct conn *conn, const struct resp_request *request, enum channel_kind kind)
{
	struct shard *shard = conn->shard;
	if (conn->not_lent) { /* the verb says so */
		conn->not_lent = false;
		return false;
	}
	for (unsigned i = 1; i < request->argc; i++) {
		if (tenant_owner(shard, request->argv[i]) == shard->index) {
			continue;
		}
		struct tenant *mirror = tenant_need(shard, request->argv[i]);
		if (mirror != NULL && !fanout_knows(&mirror->fanout, kind, request->argv[i])) {
			remote_borrow(conn, mirror, kind, request->argv[i]);
		}
	}
	return conn->waiting > 0;
}

/* With several shards: whether the request must stay where it is for now. */
static bool must_wait(struct conn *conn, const struct resp_request *request)
{
	if (conn->shard->hub->shards_count == 1 || request->argc < 2 ||
		!conn->resp.client.authenticated) {
		return false;
	}
	struct slice verb = request->argv[0];
	bool plain = slice_equal_nocase(verb, SLICE("SUBSCRIBE"));
	bool sharded = slice_equal_nocase(verb, SLICE("SSUBSCRIBE"));
	bool publish = slice_equal_nocase(verb, SLICE("PUBLISH")) ||
		       slice_equal_nocase(verb, SLICE("SPUBLISH"));
	if (!plain && !sharded && !publish) {
		return false;
	}
	if (moves_away(conn, request)) {
		return true;
	}
	return !publish &&
	       waits_for_channels(conn, request, sharded ? CHANNEL_SHARD : CHANNEL_PLAIN);
}

/* Whoever asks and asks and does not read the answers must not be given a chance to ask for more. */
static void check_own_memory(struct conn *conn)
{
	if (outbox_memory_bytes(&conn->out) > conn->shard->limits_step_bytes) {
		conn_check_limits(conn, conn->shard->now.mono_ns);
	}
}

static void run_request(struct conn *conn, const struct resp_request *request)
{
	struct shard *shard = conn->shard;
	struct client *client = &conn->resp.client;
	client->out = &shard->reply;
	enum encoding before = conn_encoding(conn);
	redis_run(&shard->env, client, request);
	if (before != conn_encoding(conn)) {
		switch_encoding(conn, before);
	}
	note_saved_number(conn);
	conn_take_reply(conn);
	if (client->close_now) {
		conn_close(conn, END_PROTOCOL);
	} else if (client->close_after_reply) {
		conn_last_words(conn, END_QUIT);
	}
}

static void refuse_frame(struct conn *conn, const char *sentence)
{
	struct shard *shard = conn->shard;
	conn->resp.client.out = &shard->reply;
	redis_refuse(&shard->env, &conn->resp.client, sentence);
	conn_take_reply(conn);
	journal(JOURNAL_VERBOSE, "protocol error", "conn=\"%s\" why=%s", conn_full_name(conn).data,
		JQ(slice_of(sentence)));
	conn_last_words(conn, END_PROTOCOL);
}

/* Handle the requests in `data`; returns how many bytes are used up. */
static size_t handle_resp(struct conn *conn, struct slice data)
{
	struct shard *shard = conn->shard;
	size_t used = 0;
	while (used < data.len && conn->state == CONN_OPEN && conn->waiting == 0) {
		struct resp_request request;
		size_t consumed = 0;
		const char *sentence = NULL;
		const struct resp_limits *limits = conn->resp.client.authenticated
							   ? &shard->resp_limits
							   : &shard->stranger_limits;
		struct slice rest = {data.data + used, data.len - used};
		int error = resp_parse(
			&conn->resp.parser, limits, rest, &request, &consumed, &sentence);
		if (error == -E_AGAIN) {
			break;
		}
		if (error != OK) {
			refuse_frame(conn, sentence);
			break;
		}
		if (must_wait(conn, &request)) {
			break;
		}
		used += consumed;
		if (request.argc > 0) {
			conn->resp.client.query_bytes = rest.len;
			run_request(conn, &request);
			conn->resp.client.query_bytes = 0;
			check_own_memory(conn);
		}
		if (conn->resp.parser.args != NULL) {
			resp_parser_finish(&conn->resp.parser);
		}
	}
	return used;
}

static void run_line(struct conn *conn, struct slice line)
{
	struct shard *shard = conn->shard;
	struct origin origin = conn_origin(conn);
	const char *why = "";
	size_t name_len = conn->line.session.name.len;
	shard_before_change(shard);
	int error = line_session_line(&conn->line.session, conn->line.tenant->replication, &origin,
		line, shard->now, &shard->reply, &why);
	if (name_len != conn->line.session.name.len) {
		conn_renamed(conn);
	}
	tenant_touch(conn->line.tenant);
	shard->unsaved = shard->unsaved || replication_dirty(conn->line.tenant->replication);
	if (!slice_starts(line, SLICE("PING"))) {
		conn_wait_for_disk(conn);
	}
	if (shard->reply.len > 0) {
		tenant_settle(conn->line.tenant);
	}
	conn_take_reply(conn);
	if (error != OK) {
		journal(JOURNAL_NOTICE, "line refused", "conn=\"%s\" error=\"%s\" why=%s",
			conn_full_name(conn).data, err_text(error),
			JQ(slice_of(why == NULL ? "" : why)));
	}
	if (conn->line.session.state == LINE_CLOSING) {
		conn_last_words(conn, END_PROTOCOL);
	}
}

static size_t handle_lines(struct conn *conn, struct slice data)
{
	struct shard *shard = conn->shard;
	size_t used = 0;
	while (used < data.len && conn->state == CONN_OPEN) {
		struct slice line;
		size_t consumed = 0;
		struct slice rest = {data.data + used, data.len - used};
		int error = line_parse(&conn->line.parser, rest,
			(size_t)shard->config->line_length_max, &line, &consumed);
		used += consumed;
		if (error == -E_AGAIN) {
			break;
		}
		if (error != OK) {
			line_session_bad_frame(&conn->line.session, error, &shard->reply);
			conn_take_reply(conn);
			conn_last_words(conn, END_PROTOCOL);
			break;
		}
		run_line(conn, line);
		check_own_memory(conn);
	}
	return used;
}

static size_t handle(struct conn *conn, struct slice data)
{
	return conn->transport == CONN_LINE ? handle_lines(conn, data) : handle_resp(conn, data);
}

/* Keep what is not complete yet, under the limit of one connection and of all. */
static void keep_rest(struct conn *conn, struct slice rest)
{
	struct shard *shard = conn->shard;
	const struct config *config = shard->config;
	bytes_append_slice(&conn->in, rest);
	shard->input_bytes += rest.len;
	if (conn->in.len > (size_t)config->client_query_buffer_limit_bytes ||
		shard->input_bytes > 4 * (size_t)config->client_query_buffer_limit_bytes) {
		conn_close(conn, END_INPUT);
	}
}

static void handle_kept(struct conn *conn)
{
	size_t used = conn->state == CONN_OPEN ? handle(conn, bytes_slice(&conn->in)) : 0;
	bytes_consume(&conn->in, used);
	conn->shard->input_bytes -= used;
	bytes_shrink(&conn->in, INPUT_KEEP_BYTES);
}

void conn_received(struct conn *conn, struct slice data)
{
	struct shard *shard = conn->shard;
	shard->stats.received_bytes += data.len;
	conn->heard_ns = shard->now.mono_ns;
	if (conn->state != CONN_OPEN && conn->state != CONN_MOVING) {
		return;
	}
	if (conn->in.len == 0) {
		size_t used = conn->state == CONN_OPEN ? handle(conn, data) : 0;
		if ((conn->state == CONN_OPEN || conn->state == CONN_MOVING) && used < data.len) {
			keep_rest(conn, (struct slice){data.data + used, data.len - used});
		}
	} else {
		keep_rest(conn, data);
		handle_kept(conn);
	}
	pause_if_full(conn);
}

void conn_continue(struct conn *conn)
{
	if (conn->state == CONN_OPEN) {
		handle_kept(conn);
		pause_if_full(conn);
	}
}

void conn_eof(struct conn *conn, int error)
{
	/* What it asked for before is answered as far as the peer still listens: a half-closed client (nc) reads on. */
	if (error == OK && conn->state == CONN_MOVING) {
		return; /* its new shard will be told the same */
	}
	if (error != OK) {
		conn_close(conn, END_BROKEN);
	} else {
		conn_last_words(conn, END_PEER); /* nothing new, if it has them already */
	}
}

void conn_tell_shutdown(struct conn *conn)
{
	if (conn->transport == CONN_LINE) {
		bytes_append_string(&conn->shard->reply, "ERROR server is shutting down\n");
		conn_take_reply(conn);
	}
}

/* ---- limits ---- */

static const struct config_limit *limit_of(const struct conn *conn)
{
	bool subscriber = conn->out.cursors != NULL || conn->out.subscriptions != NULL;
	return &conn->shard->config->client_output_buffer_limit[subscriber ? CONFIG_CLASS_PUBSUB
									   : CONFIG_CLASS_NORMAL];
}

bool conn_check_limits(struct conn *conn, uint64_t now_ns)
{
	const struct config_limit *limit = limit_of(conn);
	uint64_t owed = outbox_lag_bytes(&conn->out) + outbox_memory_bytes(&conn->out);
	bool over_soft = limit->soft_bytes > 0 && owed > (uint64_t)limit->soft_bytes;
	if (!over_soft) {
		conn->over_soft_since_ns = 0;
	} else if (conn->over_soft_since_ns == 0) {
		conn->over_soft_since_ns = now_ns;
	}
	bool too_long = over_soft &&
			now_ns - conn->over_soft_since_ns >= (uint64_t)limit->soft_ms * 1000000;
	bool too_much = limit->hard_bytes > 0 && owed > (uint64_t)limit->hard_bytes;
	if (conn->state == CONN_CLOSING || !(too_much || too_long)) {
		if (over_soft) {
			shard_watch_limits(conn->shard);
		}
		return false;
	}
	conn_close(conn, END_OUTPUT);
	return true;
}
