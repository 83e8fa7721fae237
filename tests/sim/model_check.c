/* Judgement: what everybody heard against what the witness heard and what was said.
 *
 * Called once at the end of a hub's life. In a life that ended without having settled the witness may lack the end of it: so may
 * everybody, and nothing is asked of what stands behind.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/glob.h"
#include "engine/base/err.h"
#include "engine/replication/command.h"
#include "tests/sim/model_parts.h"

struct check {
	struct model *model;
	bool settled;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct check *check, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(check->why, check->why_size, format, args);
	va_end(args);
	return false;
}

static struct say *say_of(struct model *model, const struct entry *entry)
{
	return model_find(model, entry->id);
}

static int text_len(size_t len)
{
	return len < 100 ? (int)len : 100;
}

/* ---- the witness' own order ---- */

/* Each message once, unchanged, on its channel. */
static bool number_order(struct check *check)
{
	struct model *model = check->model;
	for (unsigned t = 0; t < MODEL_TENANTS; t++) {
		for (size_t i = 0; i < model->order[t].count; i++) {
			struct entry *entry = &model->order[t].entries[i];
			struct say *say = say_of(model, entry);
			entry->at = (long)i;
			if (say == NULL) {
				continue;
			}
			if (say->at >= 0) {
				return fail(check, "message %u came twice", entry->id);
			}
			if (say->channel != entry->channel || say->len != entry->len ||
				memcmp(say->text, entry->text, say->len) != 0) {
				return fail(check, "message %u was changed", entry->id);
			}
			say->at = (long)i;
		}
	}
	return true;
}

/* A POSITION of the hub's own that tells of the token: its rows were torn, and are to be fetched. */
static bool position_instead(const struct model *model, const struct say *say)
{
	const struct order *order = &model->order[model_channel(say->channel)->tenant];
	char writer[16];
	snprintf(writer, sizeof(writer), "w%u", say->writer);
	for (size_t i = 0; i < order->count; i++) {
		struct command command;
		const char *why;
		struct slice text = {order->entries[i].text, order->entries[i].len};
		if (slice_starts(text, SLICE("POSITION ")) &&
			command_parse(text, &command, &why) == OK &&
			slice_equal(command.stream, slice_of(model_stream(say->stream))) &&
			slice_equal(command.instance, slice_of(writer)) &&
			command.token >= say->token) {
			return true;
		}
	}
	return false;
}

/* When it was acknowledged so that it is in the log: a row with its batch's number. */
static uint64_t acked_ns(struct model *model, const struct say *say)
{
	return say->kind == SAY_ROW
		       ? model_find(model, say->batch_first + say->batch_rows - 1)->acked_ns
		       : say->acked_ns;
}

static bool is_rdata(const struct say *say)
{
	return say->kind == SAY_ROW || say->kind == SAY_NUMBER;
}

/* What was acknowledged came; of a torn batch a POSITION. */
static bool check_acknowledged(struct check *check)
{
	struct model *model = check->model;
	for (size_t i = 0; i < model->says_count && check->settled; i++) {
		const struct say *say = &model->says[i];
		if (acked_ns(model, say) == UINT64_MAX || say->refused || say->at >= 0 ||
			say->kind == SAY_POSITION) {
			continue;
		}
		bool excused = is_rdata(say) && model->ledger->torn[say->writer];
		if (!excused || !position_instead(model, say)) {
			return fail(check, "message %zu was acknowledged and never came: %.*s",
				i + 1, text_len(say->len), say->text);
		}
	}
	return true;
}

/* One connection's messages to a tenant keep their order; a batch counts with its last row. */
static bool check_each_connection(struct check *check)
{
	struct model *model = check->model;
	unsigned(*last)[MODEL_TENANTS] = mem_zalloc((model->connections + 1u) * sizeof(*last));
	bool ok = true;
	for (size_t i = 0; i < model->sent_count && ok; i++) {
		const struct say *say = model_find(model, model->sent[i]);
		unsigned *before = &last[say->connection][model_channel(say->channel)->tenant];
		if (say->at < 0 || say->kind == SAY_ROW) {
			continue;
		}
		if (*before != 0 && model_find(model, *before)->at > say->at) {
			ok = fail(check, "messages %u and %u of one connection changed places",
				*before, model->sent[i]);
		}
		*before = model->sent[i];
	}
	free(last);
	return ok;
}

static bool check_said_order(struct check *check)
{
	struct model *model = check->model;
	for (size_t i = 0; i < model->says_count; i++) {
		const struct say *say = &model->says[i];
		const struct say *cause = model_find(model, say->cause);
		if (say->at < 0) {
			continue;
		}
		if (cause != NULL && cause->at < 0 && check->settled) {
			return fail(check, "somebody heard message %u, the witness did not",
				say->cause);
		}
		if (cause != NULL && (cause->at < 0 || cause->at >= say->at)) {
			return fail(check,
				"message %zu came before %u, which was heard before it was said",
				i + 1, say->cause);
		}
	}
	return check_each_connection(check);
}

/* All rows of a batch stand together, or none is there. */
static bool check_batch(struct check *check, unsigned first, unsigned rows)
{
	struct model *model = check->model;
	long begin = -1;
	unsigned there = 0;
	unsigned wanted = 0;
	for (unsigned i = 0; i < rows; i++) {
		const struct say *say = model_find(model, first + i);
		/* Before the answer is there nobody knows whether a full disk refused it. */
		bool unknown = !check->settled && say->at < 0 && say->acked_ns == UINT64_MAX;
		wanted += !say->refused && !unknown;
		if (say->at < 0) {
			continue;
		}
		begin = there == 0 ? say->at : begin;
		if (say->refused || say->at != begin + (long)there++) {
			return fail(check,
				"row %u of the batch that begins with message %u stands apart", i,
				first);
		}
	}
	const struct order *order =
		&model->order[model_channel(model_find(model, first)->channel)->tenant];
	bool cut = !check->settled && begin >= 0 && begin + (long)there == (long)order->count;
	if (there != 0 && there != wanted && !cut) {
		return fail(check, "of the batch that begins with message %u came %u of %u rows",
			first, there, wanted);
	}
	return true;
}

static bool check_batches(struct check *check)
{
	const struct model *model = check->model;
	for (size_t i = 0; i < model->says_count; i++) {
		const struct say *say = &model->says[i];
		if (say->batch_first == i + 1 &&
			!check_batch(check, say->batch_first, say->batch_rows)) {
			return false;
		}
	}
	return true;
}

/* ---- hearings ---- */

/* What line workers are sent, as it is. */
static bool goes_to_lines(const struct model *model, const struct entry *entry, unsigned connection)
{
	struct command command;
	const char *why;
	struct slice text = {entry->text, entry->len};
	if (entry->channel != CHANNEL_OF_LINES || entry->len > COMMAND_LINE_MAX ||
		memchr(entry->text, '\n', entry->len) != NULL ||
		command_parse(text, &command, &why) != OK) {
		return false;
	}
	const struct say *say = model_find((struct model *)model, entry->id);
	bool own = say != NULL && say->connection == connection;
	return command.name == CMD_RDATA || command.name == CMD_POSITION ||
	       (command.name == CMD_REMOTE_SERVER_UP && !own);
}

static bool concerns(
	const struct model *model, const struct hearing *hearing, const struct entry *entry)
{
	const struct model_channel *channel = model_channel(entry->channel);
	switch (hearing->kind) {
	case HEAR_CHANNEL:
		return entry->channel == hearing->channel;
	case HEAR_GLOB:
		return channel->kind == CHANNEL_PLAIN &&
		       glob_match(slice_of(hearing->glob), slice_of(channel->name), false);
	case HEAR_LINE:
		return goes_to_lines(model, entry, model->listeners[hearing->listener].connection);
	}
	return false;
}

/* The part of the witness' order that a hearing is about. */
struct part {
	struct entry **entries;
	size_t count;
};

static struct part part_of(struct model *model, const struct hearing *hearing, unsigned tenant)
{
	struct order *order = &model->order[tenant];
	struct part part = {mem_alloc((order->count + 1) * sizeof(struct entry *)), 0};
	for (size_t i = 0; i < order->count; i++) {
		if (concerns(model, hearing, &order->entries[i])) {
			part.entries[part.count++] = &order->entries[i];
		}
	}
	return part;
}

static bool same_entry(const struct entry *a, const struct entry *b)
{
	return a->channel == b->channel && a->len == b->len &&
	       memcmp(a->text, b->text, a->len) == 0;
}

/* A POSITION that the hub made for line workers alone: true, and no more than was ever published. */
static bool is_own_position(
	struct check *check, const struct hearing *hearing, const struct entry *entry)
{
	struct command command;
	const char *why;
	struct slice text = {entry->text, entry->len};
	if (hearing->kind != HEAR_LINE || entry->id != 0 ||
		command_parse(text, &command, &why) != OK || command.name != CMD_POSITION) {
		return false;
	}
	for (unsigned s = 0; s < MODEL_STREAMS; s++) {
		for (unsigned w = 0; w < MODEL_WRITERS; w++) {
			char writer[16];
			snprintf(writer, sizeof(writer), "w%u", w);
			if (slice_equal(command.stream, slice_of(model_stream(s))) &&
				slice_equal(command.instance, slice_of(writer))) {
				return command.token <= check->model->ledger->sent[0][s][w];
			}
		}
	}
	return false;
}

/* Where the first entry that can be told apart stands in the part; -1: there is none. */
static long anchor(const struct part *part, struct entry **heard, size_t count, size_t *at)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t p = 0; p < part->count && heard[i]->id != 0; p++) {
			if (part->entries[p]->id == heard[i]->id) {
				*at = i;
				return (long)p;
			}
		}
	}
	return -1;
}

/* Match what was heard with the part; `*begin` and `*end` say which stretch of it that is. */
static bool align(struct check *check, const struct hearing *hearing, const struct part *part,
	struct entry **heard, size_t count, long *begin, long *end)
{
	size_t at = 0;
	long p = anchor(part, heard, count, &at);
	if (p < 0) {
		*begin = *end = -1;
		return true;
	}
	*begin = p;
	for (size_t i = at; i-- > 0;) {
		if (*begin > 0 && same_entry(heard[i], part->entries[*begin - 1])) {
			heard[i]->at = part->entries[--*begin]->at;
		} else if (!is_own_position(check, hearing, heard[i])) {
			return fail(check, "connection %u heard out of place: %.*s",
				check->model->listeners[hearing->listener].connection,
				text_len(heard[i]->len), heard[i]->text);
		}
	}
	for (size_t i = at; i < count; i++) {
		if (p < (long)part->count && same_entry(heard[i], part->entries[p])) {
			heard[i]->at = part->entries[p++]->at;
		} else if (p == (long)part->count && !check->settled) {
			break;
		} else if (!is_own_position(check, hearing, heard[i])) {
			return fail(check, "connection %u heard \"%.*s\", expected \"%.*s\"",
				check->model->listeners[hearing->listener].connection,
				text_len(heard[i]->len), heard[i]->text,
				p < (long)part->count ? text_len(part->entries[p]->len) : 0,
				p < (long)part->count ? part->entries[p]->text : "");
		}
	}
	*end = p;
	return true;
}

/* Nothing is missing at either end. */
static bool check_ends(struct check *check, const struct hearing *hearing, const struct part *part,
	long begin, long end)
{
	unsigned connection = check->model->listeners[hearing->listener].connection;
	bool nothing = begin < 0;
	for (long p = 0; p < (long)part->count; p++) {
		const struct say *say = say_of(check->model, part->entries[p]);
		bool after = say != NULL && say->sent_ns >= hearing->acked_ns;
		bool before = say != NULL && acked_ns(check->model, say) < hearing->asked_end_ns;
		if (after && !nothing && p < begin) {
			return fail(check, "connection %u missed message %u at the beginning",
				connection, part->entries[p]->id);
		}
		if (nothing ? !after : p < end) {
			continue;
		}
		if ((hearing->end == HEARING_OPEN && check->settled) ||
			(hearing->end == HEARING_UNSUBSCRIBED && before)) {
			return fail(check, "connection %u missed \"%.*s\" at the end", connection,
				text_len(part->entries[p]->len), part->entries[p]->text);
		}
	}
	return true;
}

static bool check_hearing(struct check *check, struct hearing *hearing, unsigned tenant)
{
	struct part part = part_of(check->model, hearing, tenant);
	struct entry **heard = mem_alloc((hearing->count + 1) * sizeof(struct entry *));
	size_t count = 0;
	for (size_t i = 0; i < hearing->count; i++) {
		if (model_channel(hearing->entries[i].channel)->tenant == tenant) {
			heard[count++] = &hearing->entries[i];
		}
	}
	long begin = -1, end = -1;
	bool ok = align(check, hearing, &part, heard, count, &begin, &end) &&
		  check_ends(check, hearing, &part, begin, end);
	free(heard);
	free(part.entries);
	return ok;
}

struct heard_at {
	uint64_t sequence;
	long at;
};

static int by_sequence(const void *a, const void *b)
{
	const struct heard_at *x = a;
	const struct heard_at *y = b;
	return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

/* A connection hears all channels of a tenant in the one order. */
static bool check_listener(struct check *check, unsigned listener, unsigned tenant, bool globs)
{
	struct model *model = check->model;
	struct heard_at *all = NULL;
	size_t count = 0;
	for (size_t h = 0; h < model->hearings_count; h++) {
		const struct hearing *hearing = &model->hearings[h];
		if (hearing->listener != listener || (hearing->kind == HEAR_GLOB) != globs) {
			continue;
		}
		all = mem_realloc(all, (count + hearing->count + 1) * sizeof(*all));
		for (size_t i = 0; i < hearing->count; i++) {
			const struct entry *entry = &hearing->entries[i];
			if (model_channel(entry->channel)->tenant == tenant && entry->at >= 0) {
				all[count++] = (struct heard_at){entry->sequence, entry->at};
			}
		}
	}
	if (count > 0) {
		qsort(all, count, sizeof(*all), by_sequence);
	}
	bool ok = true;
	for (size_t i = 1; i < count && ok; i++) {
		if (all[i].at < all[i - 1].at || (!globs && all[i].at == all[i - 1].at)) {
			ok = fail(check,
				"connection %u heard two channels of a tenant in another order",
				model->listeners[listener].connection);
		}
	}
	free(all);
	return ok;
}

bool model_check(struct model *model, bool settled, char *why, size_t why_size)
{
	struct check check = {model, settled, why, why_size};
	bool ok = number_order(&check) && check_acknowledged(&check) && check_said_order(&check) &&
		  check_batches(&check);
	for (unsigned t = 0; t < MODEL_TENANTS && ok; t++) {
		for (size_t i = 0; i < model->hearings_count && ok; i++) {
			ok = check_hearing(&check, &model->hearings[i], t);
		}
		for (unsigned i = 0; i < model->listeners_count && ok; i++) {
			ok = check_listener(&check, i, t, false) &&
			     check_listener(&check, i, t, true);
		}
	}
	return ok;
}
