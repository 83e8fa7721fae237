/* Texts with ids. Called by the scripted clients; notes each text in the model before it is sent.
 *
 * Tokens of a writer's stream only grow, whatever becomes of the connection; so what is stored and announced can be held against
 * what was sent and acknowledged.
 */
#include "tests/sim/writer.h"

#include <assert.h>

enum { BATCH_ROWS_MAX = 6 };

struct saying {
	struct writer *writer;
	struct world *world;
	unsigned connection, channel;
	unsigned id;
	struct bytes *text;
	bool line; /* it is to fit on one */
};

static bool has_streams(unsigned channel)
{
	return channel == CHANNEL_OF_LINES || channel == 3;
}

static struct say *begin(struct saying *s, enum say_kind kind)
{
	struct say *say = model_say(s->world->model, &s->id);
	say->kind = kind;
	say->channel = s->channel;
	say->connection = s->connection;
	say->writer = s->writer->number;
	return say;
}

static int64_t *sent_token(struct saying *s, unsigned stream)
{
	unsigned tenant = model_channel(s->channel)->tenant;
	return &s->world->ledger.sent[tenant][stream][s->writer->number];
}

static void pad(struct saying *s)
{
	size_t max = s->world->climate.payload_max;
	size_t len = random_skewed(&s->world->random, s->line && max > 8000 ? 8000 : max);
	bytes_append(s->text, " ", 1);
	char *room = bytes_reserve(s->text, len + 1);
	for (size_t i = 0; i < len; i++) {
		room[i] = (char)('a' + (s->id + i) % 26);
	}
	s->text->len += len;
}

static void finish(struct saying *s)
{
	model_say_text(model_find(s->world->model, s->id), bytes_slice(s->text));
}

/* ---- rows ---- */

static void say_single(struct saying *s)
{
	struct say *say = begin(s, SAY_NUMBER);
	say->stream = (unsigned)random_below(&s->world->random, MODEL_STREAMS - 1);
	say->token = *sent_token(s, say->stream) + 1 + (int64_t)random_below(&s->world->random, 3);
	bytes_printf(s->text, "RDATA %s w%u %lld [\"#%u#\"", model_stream(say->stream),
		s->writer->number, (long long)say->token, s->id);
	pad(s);
	bytes_append_string(s->text, "]");
	finish(s);
}

/* Batches have a stream of their own, so that single rows may come between. */
static void begin_batch(struct saying *s)
{
	struct writer_batch *batch = &s->writer->batch;
	unsigned stream = MODEL_STREAMS - 1;
	unsigned rows = 2 + (unsigned)random_below(&s->world->random, BATCH_ROWS_MAX - 1);
	int64_t token = *sent_token(s, stream) + 1;
	for (unsigned i = 0; i < rows; i++) {
		struct say *say = begin(s, i + 1 < rows ? SAY_ROW : SAY_NUMBER);
		say->stream = stream;
		say->token = token;
		say->batch_first = i == 0 ? s->id : s->id - i;
		say->batch_rows = rows;
		struct bytes text = {0};
		bytes_printf(&text, "RDATA %s w%u ", model_stream(stream), s->writer->number);
		bytes_printf(&text, i + 1 < rows ? "batch" : "%lld", (long long)token);
		bytes_printf(&text, " [\"#%u#\"]", s->id);
		model_say_text(say, bytes_slice(&text));
		bytes_finish(&text);
	}
	*batch = (struct writer_batch){.first = s->id - rows + 1, .rows = rows};
	if (rows - 1 > s->world->climate.batch_rows_max) {
		s->world->ledger.torn[s->writer->number] = true;
	}
}

static void continue_batch(struct saying *s)
{
	struct writer_batch *batch = &s->writer->batch;
	s->id = batch->first + batch->next;
	const struct say *say = model_find(s->world->model, s->id);
	s->channel = say->channel;
	bytes_append(s->text, say->text, say->len);
	if (++batch->next == batch->rows) {
		*batch = (struct writer_batch){0};
	}
}

static void say_position(struct saying *s)
{
	struct say *say = begin(s, SAY_POSITION);
	say->stream = (unsigned)random_below(&s->world->random, MODEL_STREAMS - 1);
	int64_t token = *sent_token(s, say->stream);
	say->token = token + (int64_t)random_below(&s->world->random, 3);
	bytes_printf(s->text, "POSITION %s w%u %lld %lld", model_stream(say->stream),
		s->writer->number, (long long)token, (long long)say->token);
	finish(s);
}

/* ---- the rest ---- */

static void say_words(struct saying *s, const char *format)
{
	begin(s, SAY_ANYTHING);
	bytes_printf(s->text, format, s->id, s->writer->number);
}

static void say_anything(struct saying *s)
{
	static const char *const formats[] = {"USER_SYNC i%2$u @u#%1$u#:a start 1000",
		"USER_SYNC i%2$u @u#%1$u#:a None end 1000", "CLEAR_USER_SYNC #%1$u#",
		"LOCK_RELEASED [\"w%2$u\",\"#%1$u#\",\"k\"]", "NEW_THING #%1$u#",
		"REMOTE_SERVER_UP #%1$u#.example", "hello #%1$u#", "RDATA #%1$u#",
		"RDATA events w%2$u x [\"#%1$u#\"]", "POSITION events #%1$u#",
		"USER_IP @u [\"secret\",\"1.2.3.4\",\"#%1$u#\"]", "#%1$u#",
		"FEDERATION_ACK #%1$u# 5", "with\r\nlines\n\xff#%1$u#"};
	unsigned count = sizeof(formats) / sizeof(formats[0]);
	say_words(s, formats[random_below(&s->world->random, count)]);
	if (random_one_in(&s->world->random, 3)) {
		pad(s);
	}
	finish(s);
}

void writer_next(struct writer *writer, struct world *world, unsigned connection, unsigned *channel,
	unsigned *id, struct bytes *text)
{
	struct saying s = {writer, world, connection, *channel, 0, text, false};
	unsigned dice = (unsigned)random_below(&world->random, 100);
	if (writer->batch.rows > 0 && dice < 50) {
		continue_batch(&s);
	} else if (!has_streams(s.channel) || dice < 25) {
		say_anything(&s);
	} else if (dice < 45 && writer->batch.rows == 0) {
		begin_batch(&s);
		continue_batch(&s);
	} else if (dice < 50) {
		say_position(&s);
	} else if (dice < 52) {
		bytes_append_string(text, "REPLICATE ");
	} else {
		say_single(&s);
	}
	*channel = s.channel;
	*id = s.id;
}

void writer_next_line(struct writer *writer, struct world *world, unsigned connection, unsigned *id,
	struct bytes *text)
{
	static const char *const formats[] = {"USER_SYNC i%2$u @u#%1$u#:a start 1000",
		"CLEAR_USER_SYNC #%1$u#", "FEDERATION_ACK #%1$u# 5",
		"REMOTE_SERVER_UP #%1$u#.example"};
	struct saying s = {writer, world, connection, CHANNEL_OF_LINES, 0, text, true};
	unsigned dice = (unsigned)random_below(&world->random, 100);
	if (!world->climate.line_writers || dice < 30) {
		if (dice % 5 == 0) {
			s.channel = 1;
			say_words(&s, "USER_IP @u [\"secret\",\"1.2.3.4\",\"#%1$u#\"]");
		} else {
			say_words(&s, formats[dice % 4]);
		}
		finish(&s);
	} else if (writer->batch.rows > 0 && dice < 65) {
		continue_batch(&s);
	} else if (dice < 75 && writer->batch.rows == 0) {
		begin_batch(&s);
		continue_batch(&s);
	} else if (dice < 80) {
		say_position(&s);
	} else {
		say_single(&s);
	}
	*id = s.id;
}

void writer_cut(struct writer *writer, struct world *world, bool unanswered)
{
	if (writer->batch.rows > 0 || unanswered) {
		world->ledger.torn[writer->number] = true;
	}
	writer->batch = (struct writer_batch){0};
}
