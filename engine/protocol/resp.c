/* RESP framing.
 *
 * Called by the hub for every request, and by the verbs for every reply; calls nobody but base/.
 * Two ways in:
 *
 *     whole()     the request is complete, an array of few arguments, in order: nearly every
 * PUBLISH, GET and SET. One pass over the headers, no memory but an array of the thread. array(),
 * everything else: they remember in the parser how far they got, and begin again from there
 *     inlined()   with the next bytes. Only they know errors; whole() hands over what it does not
 * like.
 *
 *     *3\r\n  $7\r\n  PUBLISH\r\n  $2\r\n  hi\r\n ...
 *             ^at                  `at` moves on when an element is complete; `searched` runs ahead
 * of it while a header's end is looked for
 *
 * As in Redis, a header ends with CR and whatever byte follows, and the two bytes behind a bulk
 * string are not looked at: clients exist that rely on it, and a test would only find that we
 * differ. Not done: RESP3's types in requests. Servers take arrays of bulk strings, whatever HELLO
 * said.
 */
#include "engine/protocol/resp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

enum {
	WHOLE_ARGS_MAX = 9,   /* one digit */
	WHOLE_DIGITS_MAX = 6, /* of a bulk string's length: nothing overflows */
	ARGS_CAP_MIN = 8,
	ERROR_MAX = 64
};

static _Thread_local struct slice whole_argv[WHOLE_ARGS_MAX];
static _Thread_local char error_text[ERROR_MAX];

void resp_parser_finish(struct resp_parser *parser)
{
	free(parser->args);
	free(parser->text);
	*parser = (struct resp_parser){0};
}

/* "$n\r\n" at p: the length, and `*body` behind it. -1 for anything else. */
static int64_t whole_bulk_len(const char *p, const char *end, const char **body)
{
	if (end - p < 4 || p[0] != '$') {
		return -1;
	}
	int64_t len = 0;
	const char *digit = p + 1;
	const char *limit = end - p > WHOLE_DIGITS_MAX + 2 ? digit + WHOLE_DIGITS_MAX : end - 1;
	while (digit < limit && *digit >= '0' && *digit <= '9') {
		len = len * 10 + (*digit++ - '0');
	}
	if (digit == p + 1 || digit >= end - 1 || *digit != '\r' ||
		(p[1] == '0' && digit > p + 2)) {
		return -1;
	}
	*body = digit + 2;
	return len;
}

static bool whole(const struct resp_limits *limits, struct slice data, struct resp_request *request,
	size_t *consumed)
{
	const char *p = data.data;
	const char *end = p + data.len;
	if (data.len < 4 || p[1] < '1' || p[1] > '9' || p[2] != '\r') {
		return false;
	}
	unsigned argc = (unsigned)(p[1] - '0');
	if (argc > limits->args_max) {
		return false;
	}
	p += 4;
	for (unsigned i = 0; i < argc; i++) {
		const char *body = NULL;
		int64_t len = whole_bulk_len(p, end, &body);
		if (len < 0 || (size_t)len > limits->bulk_bytes_max || end - body < len + 2) {
			return false;
		}
		whole_argv[i] = (struct slice){body, (size_t)len};
		p = body + len + 2;
	}
	request->argv = whole_argv;
	request->argc = argc;
	*consumed = (size_t)(p - data.data);
	return true;
}

static int refuse(int code, const char *text, const char **error)
{
	*error = text;
	return code;
}

static void push_span(struct resp_parser *parser, size_t offset, size_t len, uint64_t expected)
{
	if (parser->argc == parser->args_cap) {
		uint64_t cap =
			parser->args_cap == 0 ? ARGS_CAP_MIN : 2 * (uint64_t)parser->args_cap;
		if (cap > parser->argc + expected) {
			cap = parser->argc + expected;
		}
		parser->args = mem_realloc(parser->args, cap * sizeof(*parser->args));
		parser->args_cap = (unsigned)cap;
	}
	parser->args[parser->argc].span.offset = offset;
	parser->args[parser->argc].span.len = len;
	parser->argc++;
}

/* The spans become slices, in place. */
static int complete(struct resp_parser *parser, const char *base, struct resp_request *request)
{
	for (unsigned i = 0; i < parser->argc; i++) {
		union resp_arg *arg = &parser->args[i];
		size_t len = arg->span.len;
		arg->slice.data = base + arg->span.offset;
		arg->slice.len = len;
	}
	_Static_assert(sizeof(union resp_arg) == sizeof(struct slice), "an array of slices");
	request->argv = (const struct slice *)parser->args;
	request->argc = parser->argc;
	parser->started = false;
	return OK;
}

/* The header line at parser->at, without its first byte and its end. errors: -E_AGAIN; -E_TOO_LONG.
 */
static int header(struct resp_parser *parser, const struct resp_limits *limits, struct slice data,
	struct slice *line)
{
	const char *from = data.data + parser->searched;
	const char *cr = memchr(from, '\r', data.len - parser->searched);
	parser->searched = cr == NULL ? data.len : (size_t)(cr - data.data);
	if (parser->searched - parser->at > limits->inline_bytes_max) {
		return -E_TOO_LONG;
	}
	if (cr == NULL) {
		return -E_AGAIN;
	}
	if (parser->searched + 2 > data.len) {
		return -E_AGAIN;
	}
	line->data = data.data + parser->at + 1;
	line->len = cr < line->data ? 0 : (size_t)(cr - line->data);
	return OK;
}

static void advance(struct resp_parser *parser, size_t at)
{
	parser->at = at;
	parser->searched = at;
}

/* "*n". Leaves args_left at 0 for a request without arguments. */
static int array_header(struct resp_parser *parser, const struct resp_limits *limits,
	struct slice data, const char **error)
{
	struct slice line = {0};
	int rc = header(parser, limits, data, &line);
	if (rc == -E_TOO_LONG) {
		return refuse(rc, "Protocol error: too big mbulk count string", error);
	}
	if (rc < 0) {
		return rc;
	}
	int64_t count = 0;
	if (slice_to_i64(line, &count) < 0 || count > (int64_t)limits->args_max) {
		return refuse(-E_SYNTAX, "Protocol error: invalid multibulk length", error);
	}
	if (count > RESP_STRANGER_ARGS_MAX && limits->stranger) {
		return refuse(
			-E_TOO_LONG, "Protocol error: unauthenticated multibulk length", error);
	}
	parser->args_left = count > 0 ? count : 0;
	parser->bulk_len = -1;
	advance(parser, parser->searched + 2);
	return OK;
}

/* "$n" */
static int bulk_header(struct resp_parser *parser, const struct resp_limits *limits,
	struct slice data, const char **error)
{
	struct slice line = {0};
	int rc = header(parser, limits, data, &line);
	if (rc == -E_TOO_LONG) {
		return refuse(rc, "Protocol error: too big bulk count string", error);
	}
	if (rc < 0) {
		return rc;
	}
	if (data.data[parser->at] != '$') {
		snprintf(error_text, sizeof(error_text), "Protocol error: expected '$', got '%c'",
			data.data[parser->at]);
		return refuse(-E_SYNTAX, error_text, error);
	}
	int64_t len = 0;
	if (slice_to_i64(line, &len) < 0 || len < 0 || (uint64_t)len > limits->bulk_bytes_max) {
		return refuse(-E_SYNTAX, "Protocol error: invalid bulk length", error);
	}
	if (len > RESP_STRANGER_BULK_MAX && limits->stranger) {
		return refuse(-E_TOO_LONG, "Protocol error: unauthenticated bulk length", error);
	}
	parser->bulk_len = len;
	advance(parser, parser->searched + 2);
	return OK;
}

static int array(struct resp_parser *parser, const struct resp_limits *limits, struct slice data,
	struct resp_request *request, size_t *consumed, const char **error)
{
	int rc = parser->args_left == 0 ? array_header(parser, limits, data, error) : OK;
	while (rc == OK && parser->args_left > 0) {
		if (parser->bulk_len < 0) {
			rc = bulk_header(parser, limits, data, error);
			continue;
		}
		size_t len = (size_t)parser->bulk_len;
		if (data.len - parser->at < len + 2) {
			return -E_AGAIN;
		}
		push_span(parser, parser->at, len, (uint64_t)parser->args_left);
		advance(parser, parser->at + len + 2);
		parser->bulk_len = -1;
		parser->args_left--;
	}
	if (rc < 0) {
		return rc;
	}
	*consumed = parser->at;
	return complete(parser, data.data, request);
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The escape at p, behind its backslash: its byte in `*out`; returns how many bytes it has. */
static size_t escape(const char *p, const char *end, char *out)
{
	if (*p == 'x' && end - p >= 3 && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
		*out = (char)(hex_value(p[1]) * 16 + hex_value(p[2]));
		return 3;
	}
	static const char names[] = "nrtba";
	static const char bytes[] = "\n\r\t\b\a";
	const char *name = memchr(names, *p, sizeof(names) - 1);
	*out = name == NULL ? *p : bytes[name - names];
	return 1;
}

/* A quoted part that begins behind its quote at *p: appended to `out`, `*p` left behind the closing
 * quote, which must end the argument. Returns NULL when it does not, or is missing. */
static char *unquote(const char **p, const char *end, char quote, char *out)
{
	const char *at = *p;
	while (at < end && *at != quote) {
		if (*at == '\\' && at + 1 < end && (quote == '"' || at[1] == '\'')) {
			at += 1 + escape(at + 1, end, out++);
		} else {
			*out++ = *at++;
		}
	}
	if (at == end || (at + 1 < end && !is_blank(at[1]))) {
		return NULL;
	}
	*p = at + 1;
	return out;
}

/* One argument at *p, which is not blank. */
static char *inline_arg(const char **p, const char *end, char *out)
{
	while (*p < end) {
		char c = *(*p)++;
		if (c == '"' || c == '\'') {
			return unquote(p, end, c, out);
		}
		if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
			break;
		}
		*out++ = c;
	}
	return out;
}

static int split(struct resp_parser *parser, struct slice line, struct resp_request *request,
	const char **error)
{
	const char *p = line.data;
	const char *end = p + line.len;
	parser->text = mem_alloc(line.len); /* arguments only get shorter */
	char *out = parser->text;
	for (;;) {
		while (p < end && is_blank(*p)) {
			p++;
		}
		if (p == end) {
			return complete(parser, parser->text, request);
		}
		char *from = out;
		out = inline_arg(&p, end, out);
		if (out == NULL) {
			return refuse(
				-E_SYNTAX, "Protocol error: unbalanced quotes in request", error);
		}
		push_span(parser, (size_t)(from - parser->text), (size_t)(out - from), UINT32_MAX);
	}
}

static int inlined(struct resp_parser *parser, const struct resp_limits *limits, struct slice data,
	struct resp_request *request, size_t *consumed, const char **error)
{
	const char *newline =
		memchr(data.data + parser->searched, '\n', data.len - parser->searched);
	parser->searched = newline == NULL ? data.len : (size_t)(newline - data.data);
	if (parser->searched > limits->inline_bytes_max) {
		return refuse(-E_TOO_LONG, "Protocol error: too big inline request", error);
	}
	if (newline == NULL) {
		return -E_AGAIN;
	}
	struct slice line = {data.data, (size_t)(newline - data.data)};
	*consumed = line.len + 1;
	if (line.len > 0 && line.data[line.len - 1] == '\r') {
		line.len--;
	}
	return split(parser, line, request, error);
}

int resp_parse(struct resp_parser *parser, const struct resp_limits *limits, struct slice data,
	struct resp_request *request, size_t *consumed, const char **error)
{
	if (data.len == 0) {
		return -E_AGAIN;
	}
	if (!parser->started) {
		if (parser->args != NULL || parser->text != NULL) {
			resp_parser_finish(parser);
		}
		if (data.data[0] == '*' && !limits->stranger &&
			whole(limits, data, request, consumed)) {
			return OK;
		}
		*parser = (struct resp_parser){.started = true, .bulk_len = -1};
	}
	assert(parser->at <= data.len && parser->searched <= data.len);
	return data.data[0] == '*' ? array(parser, limits, data, request, consumed, error)
				   : inlined(parser, limits, data, request, consumed, error);
}

static void put_line(struct bytes *out, char type, int64_t number)
{
	char *p = bytes_reserve(out, 24);
	size_t len = 1;
	p[0] = type;
	len += decimal(number, p + 1);
	p[len] = '\r';
	p[len + 1] = '\n';
	out->len += len + 2;
}

void resp_put_simple(struct bytes *out, const char *text)
{
	bytes_append(out, "+", 1);
	bytes_append_string(out, text);
	bytes_append(out, "\r\n", 2);
}

void resp_put_error(struct bytes *out, struct slice text)
{
	char *p = bytes_reserve(out, text.len + 3);
	p[0] = '-';
	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i];
		p[i + 1] = c == '\r' || c == '\n' ? ' ' : c;
	}
	p[text.len + 1] = '\r';
	p[text.len + 2] = '\n';
	out->len += text.len + 3;
}

void resp_put_integer(struct bytes *out, int64_t number)
{
	put_line(out, ':', number);
}

void resp_put_bulk(struct bytes *out, struct slice s)
{
	put_line(out, '$', (int64_t)s.len);
	char *p = bytes_reserve(out, s.len + 2);
	if (s.len > 0) {
		memcpy(p, s.data, s.len);
	}
	p[s.len] = '\r';
	p[s.len + 1] = '\n';
	out->len += s.len + 2;
}

void resp_put_string(struct bytes *out, const char *string)
{
	resp_put_bulk(out, slice_of(string));
}

void resp_put_bulk_i64(struct bytes *out, int64_t number)
{
	char digits[21];
	resp_put_bulk(out, (struct slice){digits, decimal(number, digits)});
}

void resp_put_null(struct bytes *out, unsigned resp)
{
	bytes_append_string(out, resp == 2 ? "$-1\r\n" : "_\r\n");
}

void resp_put_null_array(struct bytes *out, unsigned resp)
{
	bytes_append_string(out, resp == 2 ? "*-1\r\n" : "_\r\n");
}

void resp_put_array(struct bytes *out, size_t count)
{
	put_line(out, '*', (int64_t)count);
}

void resp_put_map(struct bytes *out, unsigned resp, size_t pairs)
{
	put_line(out, resp == 2 ? '*' : '%', (int64_t)(resp == 2 ? 2 * pairs : pairs));
}

void resp_put_set(struct bytes *out, unsigned resp, size_t count)
{
	put_line(out, resp == 2 ? '*' : '~', (int64_t)count);
}

void resp_put_push(struct bytes *out, unsigned resp, size_t count)
{
	put_line(out, resp == 2 ? '*' : '>', (int64_t)count);
}

void resp_put_verbatim(struct bytes *out, unsigned resp, struct slice text)
{
	if (resp == 2) {
		resp_put_bulk(out, text);
		return;
	}
	put_line(out, '=', (int64_t)text.len + 4);
	bytes_append_string(out, "txt:");
	bytes_append_slice(out, text);
	bytes_append(out, "\r\n", 2);
}

void resp_put_bool(struct bytes *out, unsigned resp, bool value)
{
	if (resp == 2) {
		resp_put_integer(out, value ? 1 : 0);
	} else {
		bytes_append_string(out, value ? "#t\r\n" : "#f\r\n");
	}
}

static void insert_line(struct bytes *out, size_t at, char type, size_t count)
{
	assert(at <= out->len);
	size_t end = out->len;
	put_line(out, type, (int64_t)count);
	char line[24];
	size_t len = out->len - end;
	memcpy(line, out->data + end, len);
	memmove(out->data + at + len, out->data + at, end - at);
	memcpy(out->data + at, line, len);
}

void resp_insert_array(struct bytes *out, size_t at, size_t count)
{
	insert_line(out, at, '*', count);
}

void resp_insert_map(struct bytes *out, unsigned resp, size_t at, size_t pairs)
{
	insert_line(out, at, resp == 2 ? '*' : '%', resp == 2 ? 2 * pairs : pairs);
}

void resp_insert_set(struct bytes *out, unsigned resp, size_t at, size_t count)
{
	insert_line(out, at, resp == 2 ? '*' : '~', count);
}

static size_t digits_of(size_t n)
{
	size_t digits = 1;
	for (; n >= 10; n /= 10) {
		digits++;
	}
	return digits;
}

static char *put_bulk(char *out, struct slice s)
{
	size_t digits = digits_of(s.len);
	size_t rest = s.len;
	out[0] = '$';
	for (size_t i = digits; i > 0; i--) {
		out[i] = (char)('0' + rest % 10);
		rest /= 10;
	}
	out += 1 + digits;
	*out++ = '\r';
	*out++ = '\n';
	if (s.len > 0) {
		memcpy(out, s.data, s.len);
	}
	out += s.len;
	*out++ = '\r';
	*out++ = '\n';
	return out;
}

size_t resp_message_tail_len(struct slice channel, struct slice payload)
{
	return 2 * 5 + digits_of(channel.len) + channel.len + digits_of(payload.len) + payload.len;
}

char *resp_put_message_tail(char *out, struct slice channel, struct slice payload)
{
	return put_bulk(put_bulk(out, channel), payload);
}

void resp_put_message_head(struct bytes *out, unsigned resp, const char *kind, struct slice pattern)
{
	resp_put_push(out, resp, pattern.data == NULL ? 3 : 4);
	resp_put_string(out, kind);
	if (pattern.data != NULL) {
		resp_put_bulk(out, pattern);
	}
}
