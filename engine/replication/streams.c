/* Positions: the table of what was written up to where.
 *
 * Called by handler.c for each RDATA and POSITION; calls the store's batch when changes are
 * collected. A position is found by "<stream> <instance>", one lookup, because that is how both
 * names stand in the line: side by side.
 *
 * Invariants: a position's token is never beyond what its writer said; it is lowered by POSITION
 * only, or by the first RDATA after a restart, when the stored token may be of a life that is
 * over. Names and positions are never forgotten while the process lives, so pointers to them stay
 * good. What has changed is on a list, once, however often it changed: a thousand rows of a
 * stream between two collections are one row for the disk.
 *
 * It does not know rows, batches, dialects or connections.
 */
#include "engine/replication/streams.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "engine/base/err.h"

struct streams {
	const struct replication_limits *limits;
	struct name *streams, *instances;
	struct position *positions;
	struct position *dirty; /* a stack, through dirty_next */
	unsigned unconfirmed;
	uint64_t refused;
};

struct streams *streams_create(const struct replication_limits *limits)
{
	struct streams *s = mem_zalloc(sizeof(*s));
	s->limits = limits;
	return s;
}

static void free_names(struct name **table)
{
	struct name *name, *next;
	HASH_ITER (hh, *table, name, next) {
		HASH_DEL(*table, name);
		free(name);
	}
}

void streams_destroy(struct streams *s)
{
	if (s == NULL) {
		return;
	}
	struct position *p, *next;
	HASH_ITER (hh, s->positions, p, next) {
		assert(p->batch == NULL);
		HASH_DEL(s->positions, p);
		free(p);
	}
	free_names(&s->streams);
	free_names(&s->instances);
	free(s);
}

/* The name's entry, made where there is none; NULL at the limit. */
static struct name *intern(struct name **table, struct slice text, unsigned limit)
{
	struct name *name;
	HASH_FIND(hh, *table, text.data, text.len, name);
	if (name == NULL && HASH_COUNT(*table) < limit) {
		name = mem_zalloc(sizeof(*name) + text.len + 1);
		memcpy(name->text, text.data, text.len);
		name->len = text.len;
		name->number = HASH_COUNT(*table) + 1;
		HASH_ADD_KEYPTR(hh, *table, name->text, name->len, name);
	}
	return name;
}

/* In a line the two names stand side by side, with a blank between; from elsewhere they are put so. In the store's keys they
 * are neighbours, too, with a length between. */
static struct slice pair_key(struct slice stream, struct slice instance, char *buffer)
{
	if (stream.data + stream.len + 1 == instance.data && stream.data[stream.len] == ' ') {
		return (struct slice){stream.data, stream.len + 1 + instance.len};
	}
	memcpy(buffer, stream.data, stream.len);
	buffer[stream.len] = ' ';
	memcpy(buffer + stream.len + 1, instance.data, instance.len);
	return (struct slice){buffer, stream.len + 1 + instance.len};
}

static bool names_fit(struct slice stream, struct slice instance)
{
	return stream.len > 0 && instance.len > 0 && stream.len <= REPLICATION_NAME_MAX &&
	       instance.len <= REPLICATION_NAME_MAX;
}

struct position *streams_find(const struct streams *s, struct slice stream, struct slice instance)
{
	if (!names_fit(stream, instance)) {
		return NULL;
	}
	char buffer[2 * REPLICATION_NAME_MAX + 1];
	struct slice key = pair_key(stream, instance, buffer);
	struct position *p;
	HASH_FIND(hh, s->positions, key.data, key.len, p);
	return p;
}

static struct position *add(struct streams *s, struct slice stream, struct slice instance)
{
	if (!names_fit(stream, instance) || HASH_COUNT(s->positions) >= s->limits->positions_max) {
		return NULL;
	}
	struct name *stream_name = intern(&s->streams, stream, s->limits->streams_max);
	struct name *instance_name = intern(&s->instances, instance, s->limits->instances_max);
	if (stream_name == NULL || instance_name == NULL) {
		return NULL;
	}
	char buffer[2 * REPLICATION_NAME_MAX + 1];
	struct slice key = pair_key(stream, instance, buffer);
	struct position *p = mem_zalloc(sizeof(*p) + key.len);
	memcpy(p->key, key.data, key.len);
	p->key_len = key.len;
	p->stream = stream_name;
	p->instance = instance_name;
	p->state = POSITION_NEW;
	s->unconfirmed++;
	HASH_ADD_KEYPTR(hh, s->positions, p->key, p->key_len, p);
	DL_APPEND2(stream_name->positions, p, stream_prev, stream_next);
	return p;
}

struct position *streams_get(struct streams *s, struct slice stream, struct slice instance)
{
	struct position *p = streams_find(s, stream, instance);
	if (p == NULL) {
		p = add(s, stream, instance);
		s->refused += p == NULL;
	}
	return p;
}

static void heard(struct streams *s, struct position *p, int64_t token, int64_t wall_ms)
{
	p->token = token;
	p->heard_ms = wall_ms;
	if (p->state != POSITION_CONFIRMED) {
		p->state = POSITION_CONFIRMED;
		s->unconfirmed--;
	}
	if (!p->dirty) {
		p->dirty = true;
		p->dirty_next = s->dirty;
		s->dirty = p;
	}
}

void streams_advance(struct streams *s, struct position *p, int64_t token, int64_t wall_ms)
{
	bool repeated = p->state == POSITION_CONFIRMED && token <= p->token;
	heard(s, p, repeated ? p->token : token, wall_ms);
}

bool streams_set(struct streams *s, struct position *p, int64_t token, int64_t wall_ms)
{
	bool back = p->state != POSITION_NEW && token < p->token;
	heard(s, p, token, wall_ms);
	return back;
}

bool streams_load(struct streams *s, const struct store_position *stored)
{
	struct position *p = streams_get(s, stored->stream, stored->instance);
	if (p == NULL) {
		return false;
	}
	assert(p->state != POSITION_CONFIRMED); /* loading comes before the first command */
	p->state = POSITION_RECOVERED;
	p->token = stored->token;
	p->heard_ms = stored->wall_ms;
	return true;
}

void streams_each(const struct streams *s, void (*each)(void *context, struct position *position),
	void *context)
{
	/* uthash walks in the order in which entries were added. */
	for (struct name *stream = s->streams; stream != NULL; stream = stream->hh.next) {
		for (struct position *p = stream->positions; p != NULL; p = p->stream_next) {
			if (p->state != POSITION_NEW) {
				each(context, p);
			}
		}
	}
}

unsigned streams_count(const struct streams *s)
{
	return HASH_COUNT(s->positions);
}

unsigned streams_unconfirmed(const struct streams *s)
{
	return s->unconfirmed;
}

uint64_t streams_refused(const struct streams *s)
{
	return s->refused;
}

bool streams_dirty(const struct streams *s)
{
	return s->dirty != NULL;
}

unsigned streams_collect(
	struct streams *s, struct slice tenant, bool one_number, struct store_batch *out)
{
	unsigned rows = 0;
	while (s->dirty != NULL) {
		struct position *p = s->dirty;
		s->dirty = p->dirty_next;
		p->dirty_next = NULL;
		p->dirty = false;
		store_put_position(out, &(struct store_position){
						.tenant = tenant,
						.stream = {p->stream->text, p->stream->len},
						.instance = {p->instance->text, p->instance->len},
						.token = p->token,
						.prev = one_number ? STREAMS_ONE_NUMBER : p->token,
						.wall_ms = p->heard_ms,
					});
		rows++;
	}
	return rows;
}
