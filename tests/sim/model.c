/* The notes that the simulated clients take. model_check.c judges them.
 *
 * Called by the clients; calls nobody. Texts are copied; numbers of listeners and hearings stay valid for the model's life.
 */
#include "tests/sim/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/model_parts.h"

static const struct model_channel channels[MODEL_CHANNELS] = {
	{0, CHANNEL_PLAIN, "a.example"},
	{0, CHANNEL_PLAIN, "a.example/USER_IP"},
	{0, CHANNEL_PLAIN, "a.example/x"},
	{1, CHANNEL_PLAIN, "b.example"},
	{1, CHANNEL_PLAIN, "b.example/y"},
	{2, CHANNEL_PLAIN, "news"},
	{0, CHANNEL_SHARD, "a.example"},
	{2, CHANNEL_SHARD, "news"},
};
static const char *const streams[MODEL_STREAMS] = {"events", "typing", "caches"};

const struct model_channel *model_channel(unsigned channel)
{
	assert(channel < MODEL_CHANNELS);
	return &channels[channel];
}

unsigned model_channel_find(enum channel_kind kind, struct slice name)
{
	unsigned channel = 0;
	while (channel < MODEL_CHANNELS &&
		(channels[channel].kind != kind ||
			!slice_equal(name, slice_of(channels[channel].name)))) {
		channel++;
	}
	return channel;
}

const char *model_stream(unsigned stream)
{
	return streams[stream];
}

/* Room for one more of `size` bytes. */
static void *grow(void *items, size_t count, size_t *cap, size_t size)
{
	if (count < *cap) {
		return items;
	}
	*cap = *cap == 0 ? 16 : 2 * *cap;
	return mem_realloc(items, *cap * size);
}

struct model *model_create(struct ledger *ledger)
{
	struct model *model = mem_zalloc(sizeof(*model));
	model->ledger = ledger;
	memset(ledger->torn, 0, sizeof(ledger->torn));
	return model;
}

void model_destroy(struct model *model)
{
	if (model == NULL) {
		return;
	}
	for (size_t i = 0; i < model->says_count; i++) {
		free(model->says[i].text);
	}
	for (unsigned t = 0; t < MODEL_TENANTS; t++) {
		for (size_t i = 0; i < model->order[t].count; i++) {
			free(model->order[t].entries[i].text);
		}
		free(model->order[t].entries);
	}
	for (size_t i = 0; i < model->hearings_count; i++) {
		struct hearing *hearing = &model->hearings[i];
		for (size_t e = 0; e < hearing->count; e++) {
			free(hearing->entries[e].text);
		}
		free(hearing->entries);
		free(hearing->glob);
	}
	free(model->hearings);
	free(model->listeners);
	free(model->says);
	free(model->sent);
	free(model);
}

/* ---- said ---- */

struct say *model_say(struct model *model, unsigned *id)
{
	model->says = grow(model->says, model->says_count, &model->says_cap, sizeof(*model->says));
	struct say *say = &model->says[model->says_count++];
	*say = (struct say){.acked_ns = UINT64_MAX, .sent_ns = UINT64_MAX, .at = -1};
	*id = (unsigned)model->says_count;
	return say;
}

void model_say_text(struct say *say, struct slice text)
{
	say->text = slice_dup(text);
	say->len = text.len;
}

struct say *model_find(struct model *model, unsigned id)
{
	return id == 0 || id > model->says_count ? NULL : &model->says[id - 1];
}

unsigned model_says(const struct model *model)
{
	return (unsigned)model->says_count;
}

static int64_t *token_of(
	int64_t tokens[MODEL_TENANTS][MODEL_STREAMS][MODEL_WRITERS], const struct say *say)
{
	return &tokens[channels[say->channel].tenant][say->stream][say->writer];
}

void model_sent(struct model *model, unsigned id, uint64_t now_ns)
{
	struct say *say = model_find(model, id);
	say->sent_ns = now_ns;
	model->sent = grow(model->sent, model->sent_count, &model->sent_cap, sizeof(*model->sent));
	model->sent[model->sent_count++] = id;
	model->connections =
		say->connection > model->connections ? say->connection : model->connections;
	say->cause = model->latest[channels[say->channel].tenant];
	if (say->kind == SAY_NUMBER || say->kind == SAY_POSITION) {
		int64_t *sent = token_of(model->ledger->sent, say);
		*sent = say->token > *sent ? say->token : *sent;
	}
}

void model_acked(struct model *model, unsigned id, uint64_t now_ns)
{
	struct say *say = model_find(model, id);
	say->acked_ns = now_ns;
	if (say->kind == SAY_NUMBER || say->kind == SAY_POSITION) {
		int64_t *acked = token_of(model->ledger->acked, say);
		if (say->token > *acked) {
			*acked = say->token;
			model->ledger->acked_ns[channels[say->channel].tenant][say->stream]
					       [say->writer] = now_ns;
		}
	}
}

void model_refused(struct model *model, unsigned id)
{
	model_find(model, id)->refused = true;
}

/* The id that stands in a text, `#17#`; 0: none. */
unsigned text_id(struct slice text)
{
	const char *begin = text.len == 0 ? NULL : memchr(text.data, '#', text.len);
	unsigned id = 0;
	for (const char *at = begin == NULL ? NULL : begin + 1; at != NULL; at++) {
		if (at == text.data + text.len || (*at != '#' && (*at < '0' || *at > '9'))) {
			return 0;
		}
		if (*at == '#') {
			return id;
		}
		id = id * 10 + (unsigned)(*at - '0');
	}
	return 0;
}

/* ---- heard ---- */

static struct entry entry_of(unsigned channel, struct slice text)
{
	return (struct entry){.channel = channel,
		.text = slice_dup(text),
		.len = text.len,
		.id = text_id(text),
		.at = -1};
}

static void somebody_heard(struct model *model, const struct entry *entry)
{
	if (entry->id > 0 && entry->id <= model->says_count) {
		model->latest[channels[entry->channel].tenant] = entry->id;
	}
}

void model_witnessed(struct model *model, unsigned channel, struct slice text)
{
	struct order *order = &model->order[channels[channel].tenant];
	order->entries = grow(order->entries, order->count, &order->cap, sizeof(*order->entries));
	order->entries[order->count] = entry_of(channel, text);
	somebody_heard(model, &order->entries[order->count++]);
}

unsigned model_listener(struct model *model, unsigned connection)
{
	model->listeners = grow(model->listeners, model->listeners_count, &model->listeners_cap,
		sizeof(*model->listeners));
	model->listeners[model->listeners_count] = (struct listener){.connection = connection};
	return (unsigned)model->listeners_count++;
}

unsigned model_hearing(struct model *model, unsigned listener, enum hearing_kind kind,
	unsigned channel, struct slice glob, uint64_t now_ns)
{
	model->hearings = grow(model->hearings, model->hearings_count, &model->hearings_cap,
		sizeof(*model->hearings));
	model->hearings[model->hearings_count] = (struct hearing){.kind = kind,
		.listener = listener,
		.channel = channel,
		.glob = slice_dup(glob),
		.acked_ns = now_ns,
		.asked_end_ns = UINT64_MAX};
	return (unsigned)model->hearings_count++;
}

void model_unheard(struct model *model, unsigned hearing, uint64_t asked_ns)
{
	model->hearings[hearing].end = HEARING_UNSUBSCRIBED;
	model->hearings[hearing].asked_end_ns = asked_ns;
}

void model_cut(struct model *model, unsigned listener)
{
	for (size_t i = 0; i < model->hearings_count; i++) {
		struct hearing *hearing = &model->hearings[i];
		if (hearing->listener == listener && hearing->end == HEARING_OPEN) {
			hearing->end = HEARING_CUT;
		}
	}
}

void model_heard(struct model *model, unsigned number, unsigned channel, struct slice text)
{
	struct hearing *hearing = &model->hearings[number];
	hearing->entries =
		grow(hearing->entries, hearing->count, &hearing->cap, sizeof(*hearing->entries));
	hearing->entries[hearing->count] = entry_of(channel, text);
	hearing->entries[hearing->count].sequence = ++model->sequence;
	somebody_heard(model, &hearing->entries[hearing->count++]);
}
