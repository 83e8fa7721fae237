/* Reads a recording and works out who wrote what, and in which order it may be heard.
 *
 * Called by replay.c. The recording is played unchanged, so messages carry no number: a message is known by its
 * payload. Equal payloads are interchangeable: the n-th one that a subscriber hears is the n-th one
 * written. That is exact as long as equal payloads are written in a known order, so a process' connection is only
 * played once its predecessor's messages are acknowledged, and payloads that several processes write
 * (REPLICATE) count as a writer of their own.
 *
 * Within one connection Synapse writes a batch's rows right before the row that has the number; so a hub
 * that holds a batch back until it is whole does not change the order of what one process says.
 */
#include "bench/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/table.h"

enum { INSTANCE_BYTES = 128, CONN_TEXT = 16 };

static const uint32_t NONE = UINT32_MAX;

struct payload_entry {
	UT_hash_handle hh;
	uint32_t content;
};

struct conn_entry {
	UT_hash_handle hh;
	char name[CONN_TEXT + 12];
	char instance[INSTANCE_BYTES]; /* "" until an RDATA or POSITION says so */
	uint32_t open_batch; /* the first message of a batch without its number, or NONE */
	uint32_t number;
	uint32_t lineage; /* the number of the first connection of the same process */
};

struct reader {
	struct capture *capture;
	struct conn_entry *conns; /* by name; in order of insertion, too */
	struct conn_entry **by_number;
	size_t message_cap;
};

/* ---- bytes ---- */

extern const char capture_builtin_start[];
extern const char capture_builtin_end[];

static int slurp(FILE *file, struct bytes *out)
{
	enum { CHUNK = 65536 };
	for (;;) {
		size_t got = fread(bytes_reserve(out, CHUNK), 1, CHUNK, file);
		out->len += got;
		if (got == 0) {
			return ferror(file) ? -E_IO : OK;
		}
	}
}

static int read_text(const char *path, struct bytes *out)
{
	if (path == NULL) {
		bytes_append(out, capture_builtin_start,
			(size_t)(capture_builtin_end - capture_builtin_start));
		return OK;
	}
	size_t len = strlen(path);
	bool is_xz = len > 3 && strcmp(path + len - 3, ".xz") == 0;
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		return -E_IO;
	}
	int rc;
	if (is_xz) {
		/* The file is xz's standard input: a path needs no quoting for the shell then. */
		fclose(file);
		if (setenv("MILLRACE_CAPTURE", path, 1) != 0) {
			return -E_IO;
		}
		file = popen("exec xz -dc -- \"$MILLRACE_CAPTURE\"", "r");
		rc = file == NULL ? -E_IO : slurp(file, out);
		return file != NULL && pclose(file) != 0 ? -E_IO : rc;
	}
	rc = slurp(file, out);
	fclose(file);
	return rc;
}

/* ---- lines ---- */

static struct conn_entry *conn_of(struct reader *r, struct slice name, uint32_t round)
{
	struct capture *c = r->capture;
	char key[CONN_TEXT + 12];
	int len = snprintf(key, sizeof(key), "%.*s/%u",
		(int)(name.len < CONN_TEXT ? name.len : CONN_TEXT - 1), name.data, round);
	struct conn_entry *entry = NULL;
	HASH_FIND(hh, r->conns, key, (unsigned)len, entry);
	if (entry == NULL) {
		entry = mem_zalloc(sizeof(*entry));
		memcpy(entry->name, key, sizeof(key));
		entry->open_batch = NONE;
		entry->number = c->conn_count;
		entry->lineage = c->conn_count;
		HASH_ADD(hh, r->conns, name, (unsigned)len, entry);
		r->by_number = mem_realloc(
			r->by_number, (c->conn_count + 1) * sizeof(struct conn_entry *));
		r->by_number[c->conn_count++] = entry;
	}
	return entry;
}

static uint32_t channel_of(struct capture *c, struct slice name)
{
	for (uint32_t i = 0; i < c->channel_count; i++) {
		if (slice_equal(name, slice_of(c->channels[i]))) {
			return i;
		}
	}
	c->channels = mem_realloc(c->channels, (c->channel_count + 1) * sizeof(char *));
	c->channels[c->channel_count] = slice_dup(name);
	return c->channel_count++;
}

static uint32_t content_of(struct capture *c, struct slice payload)
{
	struct payload_entry *table = c->index;
	struct payload_entry *entry = NULL;
	HASH_FIND(hh, table, payload.data, (unsigned)payload.len, entry);
	if (entry == NULL) {
		entry = mem_zalloc(sizeof(*entry));
		entry->content = c->content_count;
		HASH_ADD_KEYPTR(hh, table, payload.data, (unsigned)payload.len, entry);
		c->index = table;
		c->contents =
			mem_realloc(c->contents, (c->content_count + 1) * sizeof(*c->contents));
		c->contents[c->content_count++] = (struct capture_content){
			.absorbable = slice_starts(payload, SLICE("REPLICATE")) ||
				      slice_starts(payload, SLICE("POSITION ")),
		};
	}
	return entry->content;
}

/* What RDATA and POSITION say about their connection: whose it is, and whether a batch is open. */
static void learn(struct conn_entry *conn, const struct capture_message *m, uint32_t number)
{
	struct slice rest = m->payload;
	struct slice word = slice_cut(&rest, ' ');
	bool is_rdata = slice_equal(word, SLICE("RDATA"));
	if (!is_rdata && !slice_equal(word, SLICE("POSITION"))) {
		return;
	}
	slice_cut(&rest, ' '); /* the stream */
	struct slice instance = slice_cut(&rest, ' ');
	if (instance.len < INSTANCE_BYTES) {
		memcpy(conn->instance, instance.data, instance.len);
		conn->instance[instance.len] = '\0';
	}
	bool is_batch = is_rdata && slice_equal(slice_cut(&rest, ' '), SLICE("batch"));
	if (!is_batch) {
		conn->open_batch = NONE;
	} else if (conn->open_batch == NONE) {
		conn->open_batch = number;
	}
}

static bool is_for_line(struct slice payload)
{
	return slice_starts(payload, SLICE("RDATA ")) ||
	       slice_starts(payload, SLICE("POSITION ")) ||
	       slice_starts(payload, SLICE("REMOTE_SERVER_UP "));
}

static int read_line(struct reader *r, struct slice line, uint32_t round, double offset_ms)
{
	struct capture *c = r->capture;
	struct slice rest = line;
	struct slice at = slice_cut(&rest, '\t');
	struct slice conn_name = slice_cut(&rest, '\t');
	struct slice channel = slice_cut(&rest, '\t');
	if (rest.data == NULL || channel.len == 0) {
		return -E_SYNTAX;
	}
	if (c->message_count == r->message_cap) {
		r->message_cap = r->message_cap == 0 ? 4096 : r->message_cap * 2;
		c->messages = mem_realloc(c->messages, r->message_cap * sizeof(*c->messages));
	}
	struct conn_entry *conn = conn_of(r, conn_name, round);
	struct capture_message *m = &c->messages[c->message_count];
	*m = (struct capture_message){.at_ms = strtod(at.data, NULL) + offset_ms};
	m->conn = conn->number;
	m->channel = channel_of(c, channel);
	m->payload = rest;
	m->content = content_of(c, rest);
	learn(conn, m, c->message_count);
	c->message_count++;
	return OK;
}

static int read_lines(struct reader *r, uint32_t repeat)
{
	struct capture *c = r->capture;
	double offset_ms = 0;
	for (uint32_t round = 0; round < repeat; round++) {
		struct slice rest = bytes_slice(&c->text);
		uint32_t number = 0;
		while (rest.len > 0) {
			struct slice line = slice_cut(&rest, '\n');
			number++;
			if (line.len > 0 && read_line(r, line, round, offset_ms) != OK) {
				fprintf(stderr,
					"millrace-bench: line %u of the recording is not "
					"`ms TAB connection TAB channel TAB payload`\n",
					number);
				return -E_SYNTAX;
			}
		}
		offset_ms = c->message_count == 0 ? 0 : c->messages[c->message_count - 1].at_ms;
	}
	return c->message_count == 0 ? -E_SYNTAX : OK;
}

/* ---- what follows from all lines together ---- */

/* A connection's predecessor is the last one before it of the same instance. */
static void find_lineages(struct reader *r)
{
	struct capture *c = r->capture;
	c->predecessor = mem_alloc(c->conn_count * sizeof(*c->predecessor));
	for (uint32_t i = 0; i < c->conn_count; i++) {
		c->predecessor[i] = NONE;
		for (uint32_t k = i; k > 0 && c->predecessor[i] == NONE; k--) {
			if (r->by_number[i]->instance[0] != '\0' &&
				strcmp(r->by_number[i]->instance, r->by_number[k - 1]->instance) ==
					0) {
				c->predecessor[i] = k - 1;
				r->by_number[i]->lineage = r->by_number[k - 1]->lineage;
			}
		}
	}
}

/* Give each message its writer: its process, or its payload where several processes write that. */
static void find_writers(struct reader *r)
{
	struct capture *c = r->capture;
	uint32_t *lineage = mem_alloc(c->content_count * sizeof(*lineage));
	uint32_t *writer = mem_zalloc(c->content_count * sizeof(*writer));
	memset(lineage, 0xff, c->content_count * sizeof(*lineage));
	c->writer_count = c->conn_count;
	for (uint32_t i = 0; i < c->message_count; i++) {
		const struct capture_message *m = &c->messages[i];
		uint32_t mine = r->by_number[m->conn]->lineage;
		if (lineage[m->content] == NONE) {
			lineage[m->content] = mine;
			writer[m->content] = mine;
		} else if (lineage[m->content] != mine && writer[m->content] < c->conn_count) {
			writer[m->content] = c->writer_count++;
		}
	}
	for (uint32_t i = 0; i < c->message_count; i++) {
		c->messages[i].writer = writer[c->messages[i].content];
	}
	free(lineage);
	free(writer);
}

static void find_views(struct capture *c)
{
	for (uint32_t i = 0; i < c->channel_count; i++) {
		if (strchr(c->channels[i], '/') == NULL) {
			c->main_channel = i;
			break;
		}
	}
	for (uint32_t i = 0; i < c->message_count; i++) {
		struct capture_message *m = &c->messages[i];
		m->seen_by[VIEW_ALL] = true;
		m->seen_by[VIEW_MAIN] = m->channel == c->main_channel;
		m->seen_by[VIEW_LINE] = m->seen_by[VIEW_MAIN] && is_for_line(m->payload);
	}
}

static void find_half_batches(struct reader *r)
{
	struct capture *c = r->capture;
	for (uint32_t i = 0; i < c->message_count; i++) {
		struct capture_message *m = &c->messages[i];
		m->half_batch = i >= r->by_number[m->conn]->open_batch && is_for_line(m->payload);
	}
}

/* The numbers of all messages, connection by connection. owner: the caller. */
static uint32_t *by_connection(const struct capture *c)
{
	uint32_t *at = mem_zalloc((c->conn_count + 1) * sizeof(*at));
	uint32_t *sorted = mem_alloc(c->message_count * sizeof(*sorted));
	for (uint32_t i = 0; i < c->message_count; i++) {
		at[c->messages[i].conn + 1]++;
	}
	for (uint32_t i = 0; i < c->conn_count; i++) {
		at[i + 1] += at[i];
	}
	for (uint32_t i = 0; i < c->message_count; i++) {
		sorted[at[c->messages[i].conn]++] = i;
	}
	free(at);
	return sorted;
}

/* Number the messages of each writer, in the order of its connections, and list equal payloads in that order. */
static void number_messages(struct capture *c)
{
	uint32_t(*next)[CAPTURE_VIEWS] = mem_zalloc(c->writer_count * sizeof(*next));
	uint32_t *sorted = by_connection(c);
	for (uint32_t i = 0; i < c->message_count; i++) {
		struct capture_message *m = &c->messages[sorted[i]];
		for (int view = 0; view < CAPTURE_VIEWS; view++) {
			m->sequence[view] = next[m->writer][view];
			next[m->writer][view] += m->seen_by[view] ? 1 : 0;
		}
		struct capture_content *content = &c->contents[m->content];
		if ((content->count & (content->count - 1)) == 0) { /* full at 0, 1, 2, 4, 8, … */
			size_t cap = content->count == 0 ? 1 : content->count * 2;
			content->messages =
				mem_realloc(content->messages, cap * sizeof(*content->messages));
		}
		content->messages[content->count++] = sorted[i];
	}
	free(sorted);
	free(next);
}

static void reader_finish(struct reader *r)
{
	struct conn_entry *entry, *next;
	HASH_ITER (hh, r->conns, entry, next) {
		HASH_DEL(r->conns, entry);
		free(entry);
	}
	free(r->by_number);
}

int capture_load(const char *path, uint32_t repeat, struct capture **out)
{
	struct capture *c = mem_zalloc(sizeof(*c));
	struct reader reader = {.capture = c};
	int rc = read_text(path, &c->text);
	if (rc != OK) {
		fprintf(stderr, "millrace-bench: %s: %s\n", path, err_text(rc));
	} else {
		rc = read_lines(&reader, repeat);
	}
	if (rc == OK) {
		find_lineages(&reader);
		find_writers(&reader);
		find_views(c);
		find_half_batches(&reader);
		number_messages(c);
	}
	reader_finish(&reader);
	if (rc != OK) {
		capture_destroy(c);
		c = NULL;
	}
	*out = c;
	return rc;
}

uint32_t capture_find(const struct capture *c, struct slice payload)
{
	struct payload_entry *table = c->index;
	struct payload_entry *entry = NULL;
	HASH_FIND(hh, table, payload.data, (unsigned)payload.len, entry);
	return entry == NULL ? NONE : entry->content;
}

void capture_destroy(struct capture *c)
{
	if (c == NULL) {
		return;
	}
	struct payload_entry *table = c->index;
	struct payload_entry *entry, *next;
	HASH_ITER (hh, table, entry, next) {
		HASH_DEL(table, entry);
		free(entry);
	}
	for (uint32_t i = 0; i < c->content_count; i++) {
		free(c->contents[i].messages);
	}
	for (uint32_t i = 0; i < c->channel_count; i++) {
		free(c->channels[i]);
	}
	free(c->contents);
	free(c->channels);
	free(c->messages);
	free(c->predecessor);
	bytes_finish(&c->text);
	free(c);
}
