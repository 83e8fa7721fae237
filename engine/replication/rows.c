/* How rows reach the log: alone, as a batch, or not at all; and what must stand in front of them.
 *
 * Called by handler.c for each RDATA. Calls streams.c for the position, batch.c for what waits,
 * and appends.
 *
 *     single            [gap] row                 gap: POSITION s i T-1 T-1, lines only
 *     last of a batch   [gap] row row row         one append
 *     unfit for lines   fetch row ...             fetch: POSITION s i T T, lines only; rows RESP
 *     end of a torn one fetch                     to everybody
 *
 * The gap: after a restart a position is what the store had. A worker that asks is given it all
 * the same, for when its writer first speaks the gap is closed: a POSITION says where it stands,
 * and is relayed; an RDATA with token T gets a `POSITION s i T-1 T-1` in front, for the line
 * workers only (a RESP worker asks with REPLICATE on each new connection, and the writers answer
 * it). T-1 is right for every stream on the wire: tokens are negative in the database for
 * backfilled events, but on the wire they only grow, and have to, for receivers drop what is not
 * above their own token. With several writers on a stream T-1 is often another one's; it is true
 * all the same: this writer has nothing between its own last row and T.
 *
 * The hot path is a single row of a confirmed position: one look-up, one entry on the stack, no
 * copy, no allocation.
 */
#include "engine/replication/turn.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/protocol/line.h"

enum { ENTRIES_KEPT = 64 }; /* more are given back after the batch that needed them */

/* `POSITION s i token token`, or with one number. */
void rows_print_position(
	const struct replication *r, const struct position *p, int64_t token, struct bytes *out)
{
	bytes_append_string(out, "POSITION ");
	bytes_append(out, p->key, p->key_len);
	if (!r->one_number) {
		bytes_append(out, " ", 1);
		bytes_append_i64(out, token);
	}
	bytes_append(out, " ", 1);
	bytes_append_i64(out, token);
}

/* A POSITION of our own; the line lives in r->line until the next one. */
static struct entry own_position(
	struct replication *r, const struct position *p, int64_t token, enum audience audience)
{
	bytes_clear(&r->line);
	rows_print_position(r, p, token, &r->line);
	return (struct entry){
		.line = bytes_slice(&r->line),
		.name = CMD_POSITION,
		.audience = audience,
		.stream = p->stream->number,
		.instance = p->instance->number,
		.token = token,
	};
}

static struct entry row_entry(
	const struct position *p, struct slice line, int64_t token, enum audience audience)
{
	return (struct entry){
		.line = line,
		.name = CMD_RDATA,
		.audience = audience,
		.stream = p->stream->number,
		.instance = p->instance->number,
		.token = token,
	};
}

/* Whether line workers may have missed rows below `token`: this is the first word of its writer
 * since the start. */
static bool gap_below(const struct position *p, int64_t token)
{
	switch (p->state) {
	case POSITION_NEW:
		return token > INT64_MIN;
	case POSITION_RECOVERED:
		return token > INT64_MIN && token - 1 != p->token;
	case POSITION_CONFIRMED:
		return false;
	}
	return false;
}

/* What must stand before rows that end with `token`, for line workers; returns 0 or 1 entries. */
static unsigned put_before(
	struct turn *t, const struct position *p, int64_t token, bool fit, struct entry *out)
{
	struct replication *r = t->r;
	if (!fit) {
		r->stats.unfit_for_lines++;
		*out = own_position(r, p, token, TO_LINE);
		return 1;
	}
	if (gap_below(p, token)) {
		r->stats.gaps_closed++;
		*out = own_position(r, p, token - 1, TO_LINE);
		return 1;
	}
	return 0;
}

static struct entry *entries_room(struct replication *r, unsigned count)
{
	if (count > r->entries_cap) {
		free(r->entries);
		r->entries = mem_alloc(count * sizeof(*r->entries));
		r->entries_cap = count;
	}
	return r->entries;
}

static void entries_shrink(struct replication *r)
{
	if (r->entries_cap > ENTRIES_KEPT) {
		free(r->entries);
		r->entries = NULL;
		r->entries_cap = 0;
	}
}

static void append_single(struct turn *t, struct position *p, bool fit)
{
	struct entry entries[2];
	int64_t token = t->command->token;
	unsigned n = put_before(t, p, token, fit, entries);
	entries[n++] = row_entry(p, t->command->line, token, fit ? TO_ALL : TO_RESP);
	turn_append(t, entries, n);
}

static void append_batch(struct turn *t, struct position *p, bool fit)
{
	struct replication *r = t->r;
	unsigned rows = batch_rows(p);
	int64_t token = t->command->token;
	for (unsigned i = 0; i < rows && fit; i++) {
		fit = command_fits_line(batch_row(p, i));
	}
	enum audience audience = fit ? TO_ALL : TO_RESP;
	struct entry *entries = entries_room(r, rows + 2);
	unsigned n = put_before(t, p, token, fit, entries);
	for (unsigned i = 0; i < rows; i++) {
		entries[n++] = row_entry(p, batch_row(p, i), token, audience);
	}
	entries[n++] = row_entry(p, t->command->line, token, audience);
	turn_append(t, entries, n);
	entries_shrink(r);
	batch_done(r->batches, p);
}

/* The number of a torn batch: everybody fetches. Never below what was announced: that would look
 * like a reset. */
static void append_torn(struct turn *t, struct position *p)
{
	struct replication *r = t->r;
	int64_t token = t->command->token;
	if (p->state == POSITION_CONFIRMED && token < p->token) {
		token = p->token;
	}
	struct entry entry = own_position(r, p, token, TO_ALL);
	turn_append(t, &entry, 1);
	batch_done(r->batches, p);
}

/* Names that may stand in a line of our own. */
static bool names_printable(struct slice a, struct slice b)
{
	return memchr(a.data, '\n', a.len) == NULL && memchr(b.data, '\n', b.len) == NULL &&
	       line_is_utf8(a) && line_is_utf8(b);
}

int rows_handle(struct turn *t)
{
	struct replication *r = t->r;
	const struct command *c = t->command;
	bool fit = command_fits_line(c->line);
	if (!fit && !names_printable(c->stream, c->instance)) {
		return turn_relay_malformed(t);
	}
	struct position *p = streams_get(r->streams, c->stream, c->instance);
	if (p == NULL) {
		turn_relay(t, CMD_RDATA, fit ? TO_ALL : TO_RESP, 0);
		return turn_refused(t, streams_refused(r->streams), "position");
	}
	p->rows++;
	switch (batches_take(
		r->batches, p, t->origin->connection, c->line, !c->batch, t->now.mono_ns)) {
	case BATCH_SINGLE:
		append_single(t, p, fit);
		break;
	case BATCH_WHOLE:
		append_batch(t, p, fit);
		break;
	case BATCH_TORN:
		append_torn(t, p);
		break;
	case BATCH_WAITS:
	case BATCH_DROPPED:
		t->receivers = r->last_receivers;
		return OK;
	}
	streams_advance(r->streams, p, c->token, t->now.wall_ms);
	return OK;
}
