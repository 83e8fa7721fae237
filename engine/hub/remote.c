/* The notes between shards.
 *
 * Called by tenant.c, conn.c and redis_ops.c to write notes, by shard.c to read them. A note is a plain struct followed by names; it
 * never leaves the process, so pointers may be in it: a view belongs to its reader from NOTE_LENT to NOTE_DETACH, and a
 * connection to its receiver from NOTE_MOVE on. What a note refers to may be gone by the time it is read: connections are
 * named by slot and number, tenants by name.
 *
 *     mirror                       owner
 *       │ ── BORROW channel ──────▶ │ the channel stays, the views are attached
 *       │ ◀────────── LENT views ── │
 *       │ ── COUNT +1 … -1 ───────▶ │ receivers, for PUBLISH's answer
 *       │ ◀─────────────── HINT ─── │ the tail has moved (losing one would be harmless: the tail says it all)
 *       │ ── SETTLED ─────────────▶ │ segments may be freed
 *       │ ── RETURN channel ──────▶ │
 *       │ ── DETACH view ─────────▶ │ no hint will follow
 *       │ ◀──────────── DETACHED ── │ the mirror frees it
 */
#include "engine/hub/remote.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/hub/hub.h"
#include "engine/hub/mesh.h"

enum note {
	NOTE_PUBLISH,
	NOTE_PUBLISHED,
	NOTE_BORROW,
	NOTE_LENT,
	NOTE_COUNT,
	NOTE_RETURN,
	NOTE_HINT,
	NOTE_SETTLED,
	NOTE_DETACH,
	NOTE_DETACHED,
	NOTE_GONE,
	NOTE_PATTERN,
	NOTE_MOVE,
	NOTE_KILL,
	NOTES
};

/* A connection, as another shard names it. */
struct who {
	uint64_t id;
	uint32_t slot;
};

struct publish {
	struct who who;
	uint64_t promise;
	enum direction direction;
	bool sharded;
	uint32_t full_name_len, channel_len;
};

struct published {
	struct who who;
	uint64_t promise;
};

struct borrow {
	struct who who;
	enum channel_kind kind;
};

struct lent {
	struct who who;
	enum channel_kind kind;
	uint32_t number;
	struct log_view *views[ENC_LINE];
};

struct count {
	enum encoding encoding;
	enum channel_kind kind;
	int change;
};

struct move {
	struct conn *conn;
	int fd;
};

/* A reply to another shard's publisher that waits for the disk. */
struct late_reply {
	struct late_reply *next;
	uint64_t number;
	unsigned to;
	struct published published;
	size_t len;
	char text[];
};

static void note_put(struct bytes *note, const void *head, size_t size, struct slice tail)
{
	bytes_append(note, head, size);
	bytes_append_slice(note, tail);
}

/* The struct at the note's start; what follows it stays in `note`. */
static void note_get(struct slice *note, void *head, size_t size)
{
	assert(note->len >= size);
	memcpy(head, note->data, size);
	note->data += size;
	note->len -= size;
}

static struct slice note_cut(struct slice *note, size_t len)
{
	assert(note->len >= len);
	struct slice part = {note->data, len};
	note->data += len;
	note->len -= len;
	return part;
}

static struct who who_is(const struct conn *conn)
{
	return (struct who){.id = conn->id, .slot = conn->socket.slot};
}

static struct conn *find(struct shard *shard, struct who who)
{
	struct conn *conn = who.slot < shard->conns_max ? shard->conns[who.slot] : NULL;
	return conn != NULL && conn->id == who.id ? conn : NULL;
}

/* ---- publishing ---- */

void remote_publish(
	struct conn *conn, unsigned owner, bool sharded, struct slice channel, struct slice payload)
{
	struct slice full_name = conn_full_name(conn);
	struct publish head = {.who = who_is(conn),
		.promise = outbox_promise(&conn->out),
		.direction = FROM_WRITER,
		.sharded = sharded,
		.full_name_len = (uint32_t)full_name.len,
		.channel_len = (uint32_t)channel.len};
	conn->spoken_to |= UINT64_C(1) << owner;
	struct bytes *note = mesh_note(conn->shard, owner, NOTE_PUBLISH);
	note_put(note, &head, sizeof(head), full_name);
	bytes_append_slice(note, channel);
	bytes_append_slice(note, payload);
}

static void answer(
	struct shard *shard, unsigned to, const struct published *published, struct slice text)
{
	note_put(mesh_note(shard, to, NOTE_PUBLISHED), published, sizeof(*published), text);
}

static void answer_when_durable(
	struct shard *shard, unsigned to, const struct published *published, struct slice text)
{
	struct late_reply *late = mem_zalloc(sizeof(*late) + text.len);
	*late = (struct late_reply){.number = shard_wait_number(shard),
		.to = to,
		.published = *published,
		.len = text.len};
	memcpy(late->text, text.data, text.len);
	if (shard->late == NULL) {
		shard->late = late;
	} else {
		shard->late_last->next = late;
	}
	shard->late_last = late;
}

void remote_durable(struct shard *shard)
{
	while (shard->late != NULL && shard->late->number <= shard->durable) {
		struct late_reply *late = shard->late;
		answer(shard, late->to, &late->published, (struct slice){late->text, late->len});
		shard->late = late->next;
		free(late);
	}
}

static void on_publish(struct shard *shard, unsigned from, struct slice note)
{
	struct publish head;
	note_get(&note, &head, sizeof(head));
	struct origin origin = {.direction = head.direction,
		.connection = head.who.id,
		.full_name = note_cut(&note, head.full_name_len)};
	struct slice channel = note_cut(&note, head.channel_len);
	struct published published = {.who = head.who, .promise = head.promise};
	int64_t receivers = 0;
	int error = tenant_publish(shard, &origin, head.sharded, channel, note, &receivers);
	char text[128];
	size_t len;
	if (error == OK) {
		text[0] = ':';
		len = 1 + decimal(receivers, text + 1);
	} else {
		struct slice why = slice_of(err_text(error));
		len = sizeof("-MISCONF ") - 1;
		memcpy(text, "-MISCONF ", len);
		memcpy(text + len, why.data, why.len);
		len += why.len;
	}
	text[len++] = '\r';
	text[len++] = '\n';
	if (shard_wait_number(shard) > 0) {
		answer_when_durable(shard, from, &published, (struct slice){text, len});
	} else {
		answer(shard, from, &published, (struct slice){text, len});
	}
}

static void on_published(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	struct published head;
	note_get(&note, &head, sizeof(head));
	struct conn *conn = find(shard, head.who);
	if (conn != NULL && outbox_keep_promise(&conn->out, head.promise, note.data, note.len)) {
		conn_ready(&conn->out);
	}
}

/* ---- listening ---- */

void remote_borrow(
	struct conn *conn, struct tenant *mirror, enum channel_kind kind, struct slice name)
{
	struct borrow head = {.who = who_is(conn), .kind = kind};
	conn->waiting++;
	mirror->fanout.borrowing++;
	note_put(mesh_note(conn->shard, mirror->owner, NOTE_BORROW), &head, sizeof(head), name);
}

static void on_borrow(struct shard *shard, unsigned from, struct slice note)
{
	struct borrow head;
	note_get(&note, &head, sizeof(head));
	struct tenant *tenant = tenant_need(shard, note);
	struct lent lent = {.who = head.who, .kind = head.kind};
	if (tenant != NULL) {
		tenant_settle(tenant);
		lent.number = fanout_lend(&tenant->fanout, from, head.kind, note, lent.views);
		tenant_touch(tenant);
	}
	note_put(mesh_note(shard, from, NOTE_LENT), &lent, sizeof(lent), note);
}

static void on_lent(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	struct lent head;
	note_get(&note, &head, sizeof(head));
	struct tenant *mirror = tenant_find(shard, note); /* it borrows, so it is still there */
	fanout_borrow(&mirror->fanout, head.kind, note, head.number, head.views);
	tenant_touch(mirror);
	struct conn *conn = find(shard, head.who);
	if (conn == NULL) {
		return;
	}
	conn->not_lent = conn->not_lent || head.number == 0;
	if (--conn->waiting == 0) {
		conn_continue(conn);
	}
}

static void link_count(struct fanout *fanout, enum encoding encoding, enum channel_kind kind,
	struct slice name, int change)
{
	struct tenant *mirror = tenant_of_fanout(fanout);
	struct count head = {.encoding = encoding, .kind = kind, .change = change};
	note_put(mesh_note(mirror->shard, mirror->owner, NOTE_COUNT), &head, sizeof(head), name);
}

static void on_count(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	struct count head;
	note_get(&note, &head, sizeof(head));
	struct tenant *tenant = tenant_find(shard, note);
	fanout_count(&tenant->fanout, head.encoding, head.kind, note, head.change);
}

static void link_release(struct fanout *fanout, enum channel_kind kind, struct slice name)
{
	struct tenant *mirror = tenant_of_fanout(fanout);
	note_put(mesh_note(mirror->shard, mirror->owner, NOTE_RETURN), &kind, sizeof(kind), name);
}

static void on_return(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	enum channel_kind kind;
	note_get(&note, &kind, sizeof(kind));
	struct tenant *tenant = tenant_find(shard, note);
	fanout_return(&tenant->fanout, kind, note);
	tenant_touch(tenant);
}

/* ---- views ---- */

static void link_hint(struct fanout *fanout, struct log_view *view)
{
	struct shard *shard = tenant_of_fanout(fanout)->shard;
	bytes_append(mesh_note(shard, view->shard, NOTE_HINT), &view, sizeof(view));
}

static void on_hint(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	struct log_view *view;
	note_get(&note, &view, sizeof(view));
	if (!view->left) {
		view_advance(view, shard->patterns.ready);
		shard->hints++;
	}
}

static void link_settled(struct fanout *fanout, struct log_view *view)
{
	(void)view;
	struct tenant *mirror = tenant_of_fanout(fanout);
	bytes_append_slice(
		mesh_note(mirror->shard, mirror->owner, NOTE_SETTLED), tenant_name(mirror));
}

static void on_settled(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	struct tenant *tenant = tenant_find(shard, note);
	if (tenant != NULL) {
		tenant_touch(tenant);
	}
}

static void link_detach(struct fanout *fanout, struct log_view *view)
{
	struct tenant *mirror = tenant_of_fanout(fanout);
	view->left = true;
	note_put(mesh_note(mirror->shard, mirror->owner, NOTE_DETACH), &view, sizeof(view),
		tenant_name(mirror));
}

static void on_detach(struct shard *shard, unsigned from, struct slice note)
{
	struct log_view *view;
	note_get(&note, &view, sizeof(view));
	log_detach(view);
	struct tenant *tenant = tenant_find(shard, note);
	tenant_touch(tenant);
	bytes_append(mesh_note(shard, from, NOTE_DETACHED), &view, sizeof(view));
}

static void on_detached(struct shard *shard, unsigned from, struct slice note)
{
	(void)shard;
	(void)from;
	struct log_view *view;
	note_get(&note, &view, sizeof(view));
	free(view);
}

const struct fanout_link *remote_link(void)
{
	static const struct fanout_link link = {.hint = link_hint,
		.count = link_count,
		.release = link_release,
		.detach = link_detach,
		.settled = link_settled};
	return &link;
}

/* ---- connections ---- */

void remote_disconnected(struct shard *shard, uint64_t owners, uint64_t connection)
{
	for (unsigned owner = 0; owners != 0; owner++, owners >>= 1) {
		if ((owners & 1) != 0 && owner != shard->index) {
			bytes_append(mesh_note(shard, owner, NOTE_GONE), &connection,
				sizeof(connection));
		}
	}
}

static void on_gone(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	uint64_t connection;
	note_get(&note, &connection, sizeof(connection));
	tenants_disconnected(shard, connection);
}

void remote_patterns(struct shard *shard, struct slice channel, struct slice payload)
{
	uint32_t channel_len = (uint32_t)channel.len;
	for (unsigned other = 0; other < shard->hub->shards_count; other++) {
		if (other == shard->index ||
			atomic_load_explicit(&shard->hub->shards[other].patterns_told,
				memory_order_relaxed) == 0) {
			continue;
		}
		struct bytes *note = mesh_note(shard, other, NOTE_PATTERN);
		note_put(note, &channel_len, sizeof(channel_len), channel);
		bytes_append_slice(note, payload);
	}
}

static void on_pattern(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	uint32_t channel_len;
	note_get(&note, &channel_len, sizeof(channel_len));
	struct slice channel = note_cut(&note, channel_len);
	shard->stats.delivered += patterns_publish(&shard->patterns, channel, note);
}

void remote_move(struct shard *shard, unsigned to, struct conn *conn, int fd)
{
	struct move head = {.conn = conn, .fd = fd};
	bytes_append(mesh_note(shard, to, NOTE_MOVE), &head, sizeof(head));
}

static void on_move(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	struct move head;
	note_get(&note, &head, sizeof(head));
	conn_arrived(shard, head.conn, head.fd);
}

void remote_kill(struct shard *shard, unsigned to, uint64_t connection)
{
	bytes_append(mesh_note(shard, to, NOTE_KILL), &connection, sizeof(connection));
}

static void on_kill(struct shard *shard, unsigned from, struct slice note)
{
	(void)from;
	uint64_t connection;
	note_get(&note, &connection, sizeof(connection));
	struct conn *conn = conn_find(shard, connection);
	if (conn != NULL) {
		conn_close(conn, END_KILLED);
	}
}

void remote_handle(struct shard *shard, unsigned from, uint32_t kind, struct slice note)
{
	static void (*const on[NOTES])(struct shard * shard, unsigned from, struct slice note) = {
		[NOTE_PUBLISH] = on_publish,
		[NOTE_PUBLISHED] = on_published,
		[NOTE_BORROW] = on_borrow,
		[NOTE_LENT] = on_lent,
		[NOTE_COUNT] = on_count,
		[NOTE_RETURN] = on_return,
		[NOTE_HINT] = on_hint,
		[NOTE_SETTLED] = on_settled,
		[NOTE_DETACH] = on_detach,
		[NOTE_DETACHED] = on_detached,
		[NOTE_GONE] = on_gone,
		[NOTE_PATTERN] = on_pattern,
		[NOTE_MOVE] = on_move,
		[NOTE_KILL] = on_kill,
	};
	assert(kind < NOTES);
	on[kind](shard, from, note);
}
