/* Fan-out as a whole: what a tenant's log says reaches exactly those who subscribed, in order.
 *
 * The last test is a model: connections of all encodings come, subscribe, are answered, are held, read late and leave in a
 * random order, while messages are appended and published, in part or whole. For each connection the model keeps what is
 * expected, to the byte. The only freedom is how the messages of several tenants interleave between two replies.
 */
#include "engine/fanout/subscribe.h"

#include "engine/fanout/pattern.h"
#include "tests/fanout_expected.h"

enum {
	NAMES = 3, /* channels of a kind */
	CONNS = 8,
	GLOBS = 3,
	SNAPSHOTS = 8,
	STEPS = 30000,
	PIECES = 6
};

struct model_conn {
	struct outbox out;
	enum encoding encoding;
	bool subscribed[TENANTS][CHANNEL_KINDS][NAMES];
	bool globs[GLOBS];
	bool ready, held, leaving;
	struct expectation expected;
	struct bytes flight;
	struct iovec pieces[PIECES];
	unsigned pieces_count;
};

struct pending {
	struct pending *next;
	enum channel_kind kind;
	unsigned name, life;
	uint64_t seq, not_to;
	struct expected *message;
};

struct snapshot {
	struct fanout_ends ends;
	uint64_t seq;
};

struct model_tenant {
	struct fanout fanout;
	unsigned subscribers[CHANNEL_KINDS][NAMES][ENC_COUNT];
	unsigned life[CHANNEL_KINDS]
		     [NAMES]; /* a channel that nobody heard meanwhile is another one */
	struct pending *pending[ENC_COUNT], **pending_last[ENC_COUNT];
	struct snapshot snapshots[SNAPSHOTS];
	unsigned snapshots_count;
};

struct model {
	uint64_t state;
	struct log_pool pool;
	struct patterns patterns;
	struct model_tenant tenants[TENANTS];
	struct model_conn conns[CONNS];
	unsigned globs_order[GLOBS], globs_count;
	uint64_t next_connection, seq, durable;
	uint64_t received; /* messages, of connections that are gone */
	bool wrong;
};

static const char *const globs[GLOBS] = {"*", "t1*", "*/c2"};

static unsigned below(struct model *m, unsigned limit)
{
	return (unsigned)(unit_random(&m->state) % limit);
}

static bool one_in(struct model *m, unsigned n)
{
	return below(m, n) == 0;
}

static struct slice name_of(unsigned tenant, enum channel_kind kind, unsigned name, char *out)
{
	if (kind == CHANNEL_LINE) {
		return (struct slice){NULL, 0};
	}
	return (struct slice){out, (size_t)sprintf(out, "t%u/c%u", tenant, name)};
}

static struct model_conn *conn_of(struct outbox *outbox)
{
	return (struct model_conn *)((char *)outbox - offsetof(struct model_conn, out));
}

static void mark_ready(struct outbox *outbox)
{
	conn_of(outbox)->ready = true;
}

/* ---- subscriptions ---- */

static void note_subscribed(
	struct model_tenant *t, struct model_conn *conn, unsigned kind, unsigned name, int change)
{
	unsigned *counts = t->subscribers[kind][name];
	counts[conn->encoding] += (unsigned)change;
	if (counts[ENC_RESP2] + counts[ENC_RESP3] + counts[ENC_LINE] == 0) {
		t->life[kind][name]++;
	}
}

static void step_subscribe(struct model *m, struct model_conn *conn)
{
	char buffer[32];
	unsigned t = below(m, TENANTS);
	bool line = conn->encoding == ENC_LINE;
	unsigned kind = line ? CHANNEL_LINE : below(m, CHANNEL_LINE);
	unsigned n = line ? 0 : below(m, NAMES);
	bool *has = &conn->subscribed[t][kind][n];
	struct slice name = name_of(t, kind, n, buffer);
	struct fanout *fanout = &m->tenants[t].fanout;
	if (conn->leaving) {
		return;
	}
	if (one_in(m, 2)) {
		CU_ASSERT_EQUAL(
			fanout_subscribe(fanout, &conn->out, conn->encoding, kind, name), !*has);
		if (!*has) {
			note_subscribed(&m->tenants[t], conn, kind, n, 1);
		}
		*has = true;
	} else {
		CU_ASSERT_EQUAL(
			fanout_unsubscribe(fanout, &conn->out, conn->encoding, kind, name), *has);
		if (*has) {
			note_subscribed(&m->tenants[t], conn, kind, n, -1);
		}
		*has = false;
	}
}

static unsigned glob_users(const struct model *m, unsigned glob)
{
	unsigned users = 0;
	for (unsigned c = 0; c < CONNS; c++) {
		users += m->conns[c].globs[glob];
	}
	return users;
}

/* Globs are copied in the order in which they were first subscribed. */
static void glob_changed(struct model *m, struct model_conn *conn, unsigned glob, bool has)
{
	unsigned before = glob_users(m, glob);
	conn->globs[glob] = has;
	unsigned after = glob_users(m, glob);
	if (before == 0 && after == 1) {
		m->globs_order[m->globs_count++] = glob;
	} else if (before == 1 && after == 0) {
		unsigned i = 0;
		while (m->globs_order[i] != glob) {
			i++;
		}
		m->globs_count--;
		memmove(&m->globs_order[i], &m->globs_order[i + 1],
			(m->globs_count - i) * sizeof(m->globs_order[0]));
	}
}

static void step_glob(struct model *m, struct model_conn *conn)
{
	unsigned g = below(m, GLOBS);
	if (conn->leaving || conn->encoding == ENC_LINE) {
		return;
	}
	struct slice glob = slice_of(globs[g]);
	if (one_in(m, 3)) {
		CU_ASSERT_EQUAL(patterns_subscribe(&m->patterns, &conn->out, conn->encoding, glob),
			!conn->globs[g]);
		glob_changed(m, conn, g, true);
	} else {
		CU_ASSERT_EQUAL(
			patterns_unsubscribe(&m->patterns, &conn->out, glob), conn->globs[g]);
		glob_changed(m, conn, g, false);
	}
}

/* ---- messages ---- */

static void expect_copies(struct model *m, struct slice channel, struct slice payload)
{
	static const bool hit[GLOBS][TENANTS][NAMES] = {
		{{true, true, true}, {true, true, true}, {true, true, true}},
		{{false}, {true, true, true}, {false}},
		{{false, false, true}, {false, false, true}, {false, false, true}}};
	unsigned tenant = (unsigned)(channel.data[1] - '0');
	unsigned name = (unsigned)(channel.data[4] - '0');
	unsigned copies = 0;
	for (unsigned i = 0; i < m->globs_count; i++) {
		unsigned g = m->globs_order[i];
		for (unsigned c = 0; c < CONNS && hit[g][tenant][name]; c++) {
			struct bytes copy = {0};
			if (m->conns[c].globs[g]) {
				message_append_pattern(&copy, m->conns[c].encoding,
					slice_of(globs[g]), channel, payload);
				expect_reply(&m->conns[c].expected, bytes_slice(&copy));
				bytes_finish(&copy);
				copies++;
			}
		}
	}
	CU_ASSERT_EQUAL(patterns_publish(&m->patterns, channel, payload), copies);
}

/* Nobody hears it in this encoding now, but whoever subscribes before the log is published will. */
static bool is_waited_for(
	const struct model_tenant *t, unsigned kind, unsigned name, enum encoding e)
{
	const unsigned *counts = t->subscribers[kind][name];
	const struct log *log = t->fanout.logs[e];
	bool exists = counts[ENC_RESP2] + counts[ENC_RESP3] + counts[ENC_LINE] > 0;
	return exists && (kind == CHANNEL_LINE) == (e == ENC_LINE) && log != NULL &&
	       log->unpublished;
}

static void step_append(struct model *m)
{
	char buffer[32];
	char payload[12000];
	unsigned t = below(m, TENANTS);
	unsigned kind = below(m, CHANNEL_KINDS);
	unsigned n = kind == CHANNEL_LINE ? 0 : below(m, NAMES);
	struct slice name = name_of(t, kind, n, buffer);
	struct model_tenant *tenant = &m->tenants[t];
	size_t len = below(m, one_in(m, 30) ? sizeof(payload) : 200);
	memset(payload, 'a' + (int)below(m, 26), sizeof(payload));
	size_t head = (size_t)sprintf(payload, "<%llu>", (unsigned long long)++m->seq);
	payload[head] = '.';
	struct slice text = {payload, head + len < sizeof(payload) ? head + len : sizeof(payload)};
	uint64_t not_to = one_in(m, 8) ? m->conns[below(m, CONNS)].out.connection : 0;
	unsigned receivers = 0;
	for (enum encoding e = 0; e < ENC_COUNT; e++) {
		unsigned count = tenant->subscribers[kind][n][e];
		receivers += count;
		if (count > 0 || is_waited_for(tenant, kind, n, e)) {
			struct bytes message = {0};
			size_t size = message_len(e, kind, name, text);
			message_put(bytes_reserve(&message, size), e, kind, name, text);
			message.len = size;
			struct pending *pending = mem_alloc(sizeof(*pending));
			*pending = (struct pending){.kind = kind,
				.name = n,
				.life = tenant->life[kind][n],
				.seq = m->seq,
				.not_to = not_to,
				.message = expected_create(bytes_slice(&message))};
			bytes_finish(&message);
			*tenant->pending_last[e] = pending;
			tenant->pending_last[e] = &pending->next;
		}
	}
	struct log_mark mark = {.not_to = not_to};
	CU_ASSERT_EQUAL(fanout_append(&tenant->fanout, kind, name, text, mark), receivers);
	if (kind == CHANNEL_PLAIN && m->patterns.count > 0) {
		expect_copies(m, name, text);
	}
}

static void pending_drop(struct model_tenant *tenant, enum encoding e)
{
	struct pending *pending = tenant->pending[e];
	tenant->pending[e] = pending->next;
	if (tenant->pending[e] == NULL) {
		tenant->pending_last[e] = &tenant->pending[e];
	}
	free(pending->message);
	free(pending);
}

static void expect_published(struct model *m, unsigned t, uint64_t seq)
{
	struct model_tenant *tenant = &m->tenants[t];
	for (enum encoding e = 0; e < ENC_COUNT; e++) {
		while (tenant->pending[e] != NULL && tenant->pending[e]->seq <= seq) {
			const struct pending *p = tenant->pending[e];
			bool alive = p->life == tenant->life[p->kind][p->name];
			for (unsigned c = 0; c < CONNS && alive; c++) {
				struct model_conn *conn = &m->conns[c];
				if (conn->encoding == e && conn->subscribed[t][p->kind][p->name] &&
					p->not_to != conn->out.connection) {
					queue_push(&conn->expected.last->of_tenant[t],
						expected_create((struct slice){
							p->message->data, p->message->len}));
				}
			}
			pending_drop(tenant, e);
		}
	}
}

static void step_publish(struct model *m)
{
	unsigned t = below(m, TENANTS);
	struct model_tenant *tenant = &m->tenants[t];
	if (one_in(m, 3)) {
		expect_published(m, t, m->seq);
		fanout_publish(&tenant->fanout);
		CU_ASSERT_FALSE(fanout_unpublished(&tenant->fanout));
	} else if (tenant->snapshots_count < SNAPSHOTS && one_in(m, 2)) {
		tenant->snapshots[tenant->snapshots_count++] =
			(struct snapshot){fanout_ends(&tenant->fanout), m->seq};
	} else if (tenant->snapshots_count > 0) {
		expect_published(m, t, tenant->snapshots[0].seq);
		fanout_publish_upto(&tenant->fanout, &tenant->snapshots[0].ends);
		memmove(tenant->snapshots, tenant->snapshots + 1,
			--tenant->snapshots_count * sizeof(tenant->snapshots[0]));
	}
}

static void step_collect(struct model *m, unsigned t)
{
	struct model_tenant *tenant = &m->tenants[t];
	fanout_collect(&tenant->fanout);
	for (enum encoding e = 0; e < ENC_COUNT; e++) {
		while (tenant->fanout.logs[e] == NULL && tenant->pending[e] != NULL) {
			pending_drop(tenant, e);
		}
	}
}

/* ---- connections ---- */

static void step_reply(struct model *m, struct model_conn *conn)
{
	char text[3000];
	size_t len = 1 + below(m, one_in(m, 10) ? sizeof(text) - 1 : 60);
	memset(text, '+', len);
	if (one_in(m, 4)) {
		uint64_t number = m->durable + below(m, 4);
		outbox_hold(&conn->out, number);
		conn->expected.hold = number > conn->expected.hold ? number : conn->expected.hold;
	}
	outbox_reply(&conn->out, text, len);
	conn->ready = true;
	expect_reply(&conn->expected, (struct slice){text, len});
}

static void step_next(struct model *m, struct model_conn *conn)
{
	if (!conn->ready || conn->out.flight != FLIGHT_NONE) {
		return;
	}
	conn->ready = false;
	conn->expected.durable = m->durable;
	conn->pieces_count = outbox_next(&conn->out, conn->pieces, 1 + below(m, PIECES),
		1 + below(m, one_in(m, 2) ? 100 : 20000), m->durable);
	bytes_clear(&conn->flight);
	for (unsigned i = 0; i < conn->pieces_count; i++) {
		bytes_append(&conn->flight, conn->pieces[i].iov_base, conn->pieces[i].iov_len);
	}
	conn->held = conn->pieces_count == 0 && !outbox_idle(&conn->out);
}

static void step_sent(struct model *m, struct model_conn *conn)
{
	if (conn->out.flight == FLIGHT_NONE) {
		return;
	}
	size_t at = 0;
	for (unsigned i = 0; i < conn->pieces_count; i++) {
		m->wrong = m->wrong || memcmp(conn->flight.data + at, conn->pieces[i].iov_base,
					       conn->pieces[i].iov_len) != 0;
		at += conn->pieces[i].iov_len;
	}
	check_got(&conn->expected, bytes_slice(&conn->flight));
	m->wrong = m->wrong || conn->expected.wrong;
	outbox_sent(&conn->out);
	conn->ready = true;
}

static void step_durable(struct model *m)
{
	m->durable += below(m, 3);
	for (unsigned c = 0; c < CONNS; c++) {
		m->conns[c].ready = m->conns[c].ready || m->conns[c].held;
		m->conns[c].held = false;
	}
}

static void conn_open(struct model *m, struct model_conn *conn)
{
	*conn = (struct model_conn){.encoding = below(m, ENC_COUNT)};
	outbox_init(&conn->out, ++m->next_connection);
	epoch_add(&conn->expected);
}

static void conn_leave(struct model *m, struct model_conn *conn)
{
	fanout_leave(&conn->out);
	patterns_leave(&m->patterns, &conn->out);
	for (unsigned t = 0; t < TENANTS; t++) {
		for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
			for (unsigned n = 0; n < NAMES; n++) {
				if (conn->subscribed[t][kind][n]) {
					note_subscribed(&m->tenants[t], conn, kind, n, -1);
				}
				conn->subscribed[t][kind][n] = false;
			}
		}
	}
	for (unsigned g = 0; g < GLOBS; g++) {
		glob_changed(m, conn, g, false);
	}
	conn->leaving = true;
}

static void conn_end(struct model *m, struct model_conn *conn)
{
	m->received += conn->expected.messages;
	expectation_finish(&conn->expected);
	outbox_finish(&conn->out);
	bytes_finish(&conn->flight);
}

static void step_leave(struct model *m, struct model_conn *conn)
{
	if (!conn->leaving) {
		if (one_in(m, 30)) {
			conn_leave(m, conn);
		}
	} else if (conn->out.flight == FLIGHT_NONE && (one_in(m, 20) || outbox_idle(&conn->out))) {
		CU_ASSERT_TRUE(!outbox_idle(&conn->out) || !expects_something(&conn->expected));
		conn_end(m, conn);
		conn_open(m, conn);
	}
}

/* ---- the run ---- */

static void step(struct model *m)
{
	struct model_conn *conn = &m->conns[below(m, CONNS)];
	switch (below(m, 10)) {
	case 0:
		step_subscribe(m, conn);
		break;
	case 1:
		step_glob(m, conn);
		break;
	case 2:
		step_reply(m, conn);
		break;
	case 3:
		step_durable(m);
		step_collect(m, below(m, TENANTS));
		break;
	case 4:
		step_leave(m, conn);
		break;
	case 5:
		step_publish(m);
		break;
	case 6:
	case 7:
		step_append(m);
		break;
	default:
		step_next(m, conn);
		step_sent(m, &m->conns[below(m, CONNS)]);
		break;
	}
}

static void settle(struct model *m)
{
	m->durable += 100;
	step_durable(m);
	for (unsigned t = 0; t < TENANTS; t++) {
		expect_published(m, t, m->seq);
		fanout_publish(&m->tenants[t].fanout);
	}
	for (unsigned c = 0; c < CONNS; c++) {
		struct model_conn *conn = &m->conns[c];
		while (!m->wrong && (conn->ready || conn->out.flight != FLIGHT_NONE)) {
			step_next(m, conn);
			step_sent(m, conn);
		}
		CU_ASSERT_TRUE(m->wrong || outbox_idle(&conn->out));
		CU_ASSERT_TRUE(m->wrong || !expects_something(&conn->expected));
		CU_ASSERT_EQUAL(outbox_lag_bytes(&conn->out), 0);
	}
	for (unsigned t = 0; t < TENANTS; t++) {
		step_collect(m, t);
		for (enum encoding e = 0; e < ENC_COUNT; e++) {
			const struct log *log = m->tenants[t].fanout.logs[e];
			CU_ASSERT_TRUE(log == NULL || log->first == log->last);
		}
	}
}

static void test_fanout_every_connection_gets_exactly_its_bytes(void)
{
	struct model *m = mem_zalloc(sizeof(*m));
	m->state = unit_seed();
	log_pool_init(&m->pool, 1);
	patterns_init(&m->patterns, mark_ready);
	for (unsigned t = 0; t < TENANTS; t++) {
		fanout_init(&m->tenants[t].fanout, &m->pool, 0, false, NULL, mark_ready);
		for (enum encoding e = 0; e < ENC_COUNT; e++) {
			m->tenants[t].pending_last[e] = &m->tenants[t].pending[e];
		}
	}
	for (unsigned c = 0; c < CONNS; c++) {
		conn_open(m, &m->conns[c]);
	}
	for (unsigned i = 1; i <= STEPS && !m->wrong; i++) {
		step(m);
		if (i % (STEPS / 10) == 0) {
			settle(m);
		}
	}
	CU_ASSERT_FALSE(m->wrong);
	for (unsigned c = 0; c < CONNS; c++) {
		conn_leave(m, &m->conns[c]);
		conn_end(m, &m->conns[c]);
	}
	CU_ASSERT_TRUE(m->wrong || m->received > STEPS / 100);
	for (unsigned t = 0; t < TENANTS; t++) {
		CU_ASSERT_EQUAL(m->tenants[t].fanout.subscriptions, 0);
		CU_ASSERT_EQUAL(m->tenants[t].fanout.channels_count, 0);
		step_collect(m, t);
		CU_ASSERT_FALSE(!fanout_unused(&m->tenants[t].fanout));
		fanout_finish(&m->tenants[t].fanout);
	}
	CU_ASSERT_EQUAL(m->pool.bytes, 0);
	patterns_finish(&m->patterns);
	log_pool_finish(&m->pool);
	free(m);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_fanout_every_connection_gets_exactly_its_bytes),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "fanout", tests);
}
