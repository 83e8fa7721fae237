/* The vocabulary of replication.
 *
 * Called by the RESP side for each PUBLISH, by line_session.c for each line. Calls nothing but
 * number parsing and the check for UTF-8. One table at the end says everything about a command that is not what it means:
 * its word, how its arguments are read, who may send it, who takes it. What a command means is
 * handler.c's.
 *
 * Parsing cuts at blanks and never looks into JSON: a row is taken as it is, to the end of the
 * line. RDATA comes first, for it is most of the traffic; the others are found by their length
 * and bytes in the table.
 *
 * Two generations of forms are told apart by their shape:
 *     POSITION <stream> <instance> <prev> <new>           before 1.22: ... <instance> <token>
 *     FEDERATION_ACK <instance> <token>                   before 1.18: FEDERATION_ACK <token>
 *     USER_SYNC <id> <user> <device>|None start|end <ms>  before:      ... <user> start|end <ms>
 * USER_SYNC is read from the first `start|end <number>` on: what stands between it and the user
 * is the device, what stands behind it is from a Synapse that knows more than we do, and is let
 * pass.
 */
#include "engine/replication/command.h"

#include <string.h>

#include "engine/base/err.h"
#include "engine/protocol/line.h"

struct description {
	struct slice word;
	const char *(*parse)(
		struct command *c); /* NULL: nothing to read; returns what is wrong, or NULL */
	bool line_only;             /* no RESP publisher sends it */
	bool from_worker;           /* without line-writers */
	bool from_main;
	bool to_worker;
};
static const struct description commands[CMD_COUNT];

/* Where the first blank stands; `len` where there is none. Eight bytes at a time: words are so
 * short that the blank is found before memchr(3) has begun. The lowest hit is the exact one only
 * where the first byte is the lowest. */
static inline size_t find_blank(const char *p, size_t len)
{
	size_t i = 0;
	for (; __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && i + 8 <= len; i += 8) {
		uint64_t bytes;
		memcpy(&bytes, p + i, sizeof(bytes));
		bytes ^= 0x2020202020202020u;
		uint64_t hit = (bytes - 0x0101010101010101u) & ~bytes & 0x8080808080808080u;
		if (hit != 0) {
			return i + (unsigned)__builtin_ctzll(hit) / 8;
		}
	}
	while (i < len && p[i] != ' ') {
		i++;
	}
	return i;
}

/* Up to the next blank, which is swallowed; the whole rest where there is none. */
static inline struct slice field(struct slice *rest)
{
	struct slice head = *rest;
	size_t i = find_blank(head.data, head.len);
	if (i == head.len) {
		*rest = (struct slice){NULL, 0};
		return head;
	}
	head.len = i;
	rest->data += i + 1;
	rest->len -= i + 1;
	return head;
}

static inline bool word_is(struct slice s, const char *word, size_t len)
{
	return s.len == len && memcmp(s.data, word, len) == 0;
}
#define IS(s, literal) word_is((s), (literal), sizeof(literal) - 1)

/* The longer word of the same command that some senders use. */
static const char clear_user_syncs[] = "CLEAR_USER_SYNCS";

static enum command_name find_word(struct slice word)
{
	for (unsigned i = CMD_UNKNOWN + 1; i < CMD_COUNT; i++) {
		if (word_is(word, commands[i].word.data, commands[i].word.len)) {
			return (enum command_name)i;
		}
	}
	if (word_is(word, clear_user_syncs, sizeof(clear_user_syncs) - 1)) {
		return CMD_CLEAR_USER_SYNC;
	}
	return CMD_UNKNOWN;
}

static const char *parse_rdata(struct command *c)
{
	struct slice rest = c->rest;
	c->stream = field(&rest);
	c->instance = field(&rest);
	struct slice token = field(&rest);
	c->row = rest;
	if (c->stream.len == 0 || c->instance.len == 0) {
		return "RDATA needs a stream, an instance, a token and a row";
	}
	if (IS(token, "batch")) {
		c->batch = true;
	} else if (slice_to_i64(token, &c->token) != OK) {
		return "RDATA's token is neither a number nor batch";
	}
	return c->row.len == 0 ? "RDATA has no row" : NULL;
}

int command_parse(struct slice line, struct command *out, const char **why)
{
	memset(out, 0, sizeof(*out));
	out->line = line;
	out->rest = line;
	out->word = field(&out->rest);
	if (IS(out->word, "RDATA")) {
		out->name = CMD_RDATA;
		out->wrong = parse_rdata(out);
	} else {
		out->name = find_word(out->word);
		const char *(*parse)(struct command *) = commands[out->name].parse;
		out->wrong = parse != NULL ? parse(out) : NULL;
	}
	*why = out->wrong;
	return out->wrong == NULL ? OK : -E_SYNTAX;
}

const char *command_word(enum command_name name)
{
	return commands[name < CMD_COUNT ? name : CMD_UNKNOWN].word.data;
}

bool command_allowed(enum command_name name, enum direction direction)
{
	switch (direction) {
	case FROM_WRITER:
		return !commands[name].line_only;
	case FROM_WORKER:
		return commands[name].from_worker;
	case FROM_MAIN:
		return commands[name].from_main;
	}
	return false;
}

bool command_goes_to_worker(enum command_name name)
{
	return commands[name].to_worker;
}

bool command_fits_line(struct slice line)
{
	return line.len == 0 ||
	       (line.len <= COMMAND_LINE_MAX && memchr(line.data, '\n', line.len) == NULL &&
		       line_is_utf8(line));
}

static const char *parse_position(struct command *c)
{
	struct slice rest = c->rest;
	c->stream = field(&rest);
	c->instance = field(&rest);
	struct slice first = field(&rest);
	c->has_prev = rest.data != NULL;
	if (c->stream.len == 0 || c->instance.len == 0) {
		return "POSITION needs a stream, an instance and one or two numbers";
	}
	if (slice_to_i64(first, &c->prev) != OK) {
		return "POSITION's token is no number";
	}
	c->token = c->prev;
	if (c->has_prev && slice_to_i64(rest, &c->token) != OK) {
		return "POSITION's new token is no number";
	}
	return NULL;
}

/* `start|end <number>`, wherever it begins. */
static bool read_state(struct slice rest, struct command *c)
{
	struct slice state = field(&rest);
	bool start = IS(state, "start");
	if (!start && !IS(state, "end")) {
		return false;
	}
	if (slice_to_i64(field(&rest), &c->ms) != OK) {
		return false;
	}
	c->syncing = start;
	return true;
}

static const char *parse_user_sync(struct command *c)
{
	struct slice rest = c->rest;
	c->instance_id = field(&rest);
	c->user = field(&rest);
	if (c->instance_id.len == 0 || c->user.len == 0) {
		return "USER_SYNC needs an instance id and a user";
	}
	const char *device = rest.data;
	while (rest.data != NULL && !read_state(rest, c)) {
		field(&rest);
	}
	if (rest.data == NULL) {
		return "USER_SYNC needs start or end, and a time in milliseconds";
	}
	if (rest.data > device) {
		c->device = (struct slice){device, (size_t)(rest.data - device) - 1};
	}
	return NULL;
}

static const char *parse_clear_user_sync(struct command *c)
{
	struct slice rest = c->rest;
	c->instance_id = field(&rest);
	if (c->instance_id.len == 0 || rest.data != NULL) {
		return "CLEAR_USER_SYNC needs an instance id and nothing else";
	}
	return NULL;
}

static const char *parse_federation_ack(struct command *c)
{
	struct slice rest = c->rest;
	struct slice first = field(&rest);
	if (rest.data == NULL) {
		rest = first;
	} else {
		c->instance = first;
	}
	return slice_to_i64(rest, &c->token) == OK ? NULL : "FEDERATION_ACK's token is no number";
}

static const char *parse_remove_pusher(struct command *c)
{
	struct slice rest = c->rest;
	field(&rest);
	field(&rest);
	c->user = rest;
	return rest.len > 0 ? NULL : "REMOVE_PUSHER needs an app id, a push key and a user";
}

static const char *parse_user_ip(struct command *c)
{
	struct slice rest = c->rest;
	c->user = field(&rest);
	return c->user.len > 0 && rest.len > 0 ? NULL : "USER_IP needs a user and a list";
}

static const char *parse_one_word(struct command *c)
{
	struct slice rest = c->rest;
	return field(&rest).len > 0 && rest.data == NULL ? NULL : "exactly one word is needed";
}

static const char *parse_something(struct command *c)
{
	return c->rest.len > 0 ? NULL : "an argument is needed";
}

/* Who may send: the columns of Synapse's VALID_INBOUND_COMMANDS at either end, and what later
 * versions say over RESP, which a worker of another make may say on a line. A worker takes what
 * 1.66's client takes, nothing else. */
/* clang-format off */
#define WORD(literal) {(literal), sizeof(literal) - 1}
static const struct description commands[CMD_COUNT] = {
	/* word, how it is read; line only, from a worker, from a main, to a worker */
	[CMD_UNKNOWN] =          {WORD("unknown"),          NULL,                  0, 0, 0, 0},
	[CMD_SERVER] =           {WORD("SERVER"),           parse_one_word,        1, 0, 1, 1},
	[CMD_PING] =             {WORD("PING"),             NULL,                  1, 1, 1, 1},
	[CMD_NAME] =             {WORD("NAME"),             NULL,                  1, 1, 0, 0},
	[CMD_REPLICATE] =        {WORD("REPLICATE"),        NULL,                  0, 1, 0, 0},
	[CMD_RDATA] =            {WORD("RDATA"),            parse_rdata,           0, 0, 1, 1},
	[CMD_POSITION] =         {WORD("POSITION"),         parse_position,        0, 0, 1, 1},
	[CMD_ERROR] =            {WORD("ERROR"),            NULL,                  1, 1, 1, 1},
	[CMD_USER_SYNC] =        {WORD("USER_SYNC"),        parse_user_sync,       0, 1, 0, 0},
	[CMD_CLEAR_USER_SYNC] =  {WORD("CLEAR_USER_SYNC"),  parse_clear_user_sync, 0, 1, 0, 0},
	[CMD_FEDERATION_ACK] =   {WORD("FEDERATION_ACK"),   parse_federation_ack,  0, 1, 0, 0},
	[CMD_REMOVE_PUSHER] =    {WORD("REMOVE_PUSHER"),    parse_remove_pusher,   0, 1, 0, 0},
	[CMD_USER_IP] =          {WORD("USER_IP"),          parse_user_ip,         0, 1, 0, 0},
	[CMD_REMOTE_SERVER_UP] = {WORD("REMOTE_SERVER_UP"), parse_one_word,        0, 1, 1, 1},
	[CMD_LOCK_RELEASED] =    {WORD("LOCK_RELEASED"),    parse_something,       0, 1, 1, 0},
	[CMD_NEW_ACTIVE_TASK] =  {WORD("NEW_ACTIVE_TASK"),  parse_something,       0, 1, 1, 0},
	[CMD_CANCEL_TASK] =      {WORD("CANCEL_TASK"),      parse_something,       0, 1, 1, 0},
	[CMD_SYNC] =             {WORD("SYNC"),             NULL,                  0, 0, 1, 0},
	[CMD_INVALIDATE_CACHE] = {WORD("INVALIDATE_CACHE"), parse_something,       0, 1, 0, 0},
};
/* clang-format on */
