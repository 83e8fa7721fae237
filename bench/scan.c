/* Finds frames in what a server sent, fast enough that the load generator is never the bottleneck.
 *
 * Called by load.c for every frame received; calls nobody. Almost everything that arrives is a published
 * message, so its shape is tried first:
 *
 *     *3\r\n$7\r\nmessage\r\n$12\r\nsynapse.test\r\n$92\r\n<payload>\r\n      RESP2; RESP3 begins with >
 *
 * Everything else goes through a scanner that knows all RESP types, but only to skip them.
 *
 * Deliberately lenient where leniency hides nothing: the server under test is judged by what it
 * delivers (checker.c); its conformance has tests of its own.
 *
 * Sources: Redis' protocol specification (RESP2, RESP3) and NATS' client protocol, both public.
 */
#include "bench/scan.h"

#include <string.h>

#include "engine/base/err.h"

enum { DEPTH_MAX = 8, LENGTH_DIGITS_MAX = 10, LINE_MAX = 64 * 1024 };

/* The decimal number from *at up to "\r\n", which is skipped too. 0 incomplete, 1 found, or an error. */
static int scan_length(const char **at, const char *end, int64_t *out)
{
	const char *p = *at;
	int64_t value = 0;
	bool negative = p < end && *p == '-';
	p += negative ? 1 : 0;
	const char *first = p;
	while (p < end && *p >= '0' && *p <= '9') {
		if (p - first >= 18) {
			return -E_TOO_LONG;
		}
		value = value * 10 + (*p - '0');
		p++;
	}
	if (end - p < 2) {
		return p < end && *p != '\r' ? -E_SYNTAX : 0;
	}
	if (p == first || p[0] != '\r' || p[1] != '\n') {
		return -E_SYNTAX;
	}
	*at = p + 2;
	*out = negative ? -value : value;
	return 1;
}

/* What stands up to "\r\n"; as scan_length(). */
static int scan_text(const char **at, const char *end, struct slice *out)
{
	const char *newline = memchr(*at, '\n', (size_t)(end - *at));
	if (newline == NULL) {
		return end - *at > LINE_MAX ? -E_TOO_LONG : 0;
	}
	if (newline == *at || newline[-1] != '\r') {
		return -E_SYNTAX;
	}
	*out = (struct slice){*at, (size_t)(newline - 1 - *at)};
	*at = newline + 1;
	return 1;
}

/* A bulk string behind its '$'; a null one has data NULL. As scan_length(). */
static int scan_bulk(const char **at, const char *end, struct slice *out)
{
	int64_t len = 0;
	const char *p = *at;
	int rc = scan_length(&p, end, &len);
	if (rc <= 0) {
		return rc;
	}
	if (len < 0) {
		*out = (struct slice){NULL, 0};
		*at = p;
		return 1;
	}
	if (len > SCAN_FRAME_MAX) {
		return -E_TOO_LONG;
	}
	if (end - p < len + 2) {
		return 0;
	}
	if (p[len] != '\r' || p[len + 1] != '\n') {
		return -E_SYNTAX;
	}
	*out = (struct slice){p, (size_t)len};
	*at = p + len + 2;
	return 1;
}

static int skip_value(const char **at, const char *end, int depth, struct frame *first);

/* The elements of an array, push, set or map; the first texts and numbers land in `parts`. */
static int skip_elements(
	const char **at, const char *end, int64_t count, int depth, struct frame parts[3])
{
	for (int64_t i = 0; i < count; i++) {
		struct frame part = {.kind = FRAME_OTHER};
		int rc = skip_value(at, end, depth + 1, &part);
		if (rc <= 0) {
			return rc;
		}
		if (i < 3) {
			parts[i] = part;
		}
	}
	return 1;
}

/* What a complete array or push means. */
static void classify(struct frame *out, int64_t count, const struct frame parts[3])
{
	struct slice word = parts[0].text;
	out->kind = FRAME_OTHER;
	if (count == 3 && slice_equal(word, SLICE("message"))) {
		out->kind = FRAME_MESSAGE;
		out->channel = parts[1].text;
		out->text = parts[2].text;
	} else if (count == 3 && (slice_equal(word, SLICE("subscribe")) ||
					 slice_equal(word, SLICE("unsubscribe")))) {
		out->kind = FRAME_ACK;
		out->channel = parts[1].text;
		out->number = parts[2].number;
	} else if (count == 2 && slice_equal(word, SLICE("pong"))) {
		out->kind = FRAME_PONG;
	}
}

static int skip_collection(
	const char **at, const char *end, char type, int depth, struct frame *out)
{
	int64_t count = 0;
	int rc = scan_length(at, end, &count);
	if (rc <= 0) {
		return rc;
	}
	if (count < 0) {
		out->kind = FRAME_NULL;
		return 1;
	}
	if (depth >= DEPTH_MAX || count > SCAN_FRAME_MAX) {
		return -E_TOO_LONG;
	}
	struct frame parts[3] = {0};
	int64_t elements = type == '%' || type == '|' ? count * 2 : count;
	rc = skip_elements(at, end, elements, depth, parts);
	if (rc > 0) {
		classify(out, count, parts);
	}
	return rc;
}

/* One value of any type at *at. As scan_length(). */
static int skip_value(const char **at, const char *end, int depth, struct frame *out)
{
	if (*at >= end) {
		return 0;
	}
	char type = *(*at)++;
	int rc;
	switch (type) {
	case '$':
	case '=':
	case '!':
		rc = scan_bulk(at, end, &out->text);
		out->kind = out->text.data == NULL ? FRAME_NULL
			    : type == '!'          ? FRAME_ERROR
						   : FRAME_BULK;
		return rc;
	case ':':
		out->kind = FRAME_NUMBER;
		return scan_length(at, end, &out->number);
	case '+':
		rc = scan_text(at, end, &out->text);
		out->kind = slice_equal(out->text, SLICE("PONG")) ? FRAME_PONG : FRAME_STATUS;
		return rc;
	case '-':
		out->kind = FRAME_ERROR;
		return scan_text(at, end, &out->text);
	case '_':
		out->kind = FRAME_NULL;
		return scan_text(at, end, &out->text);
	case '#':
	case ',':
	case '(':
		out->kind = FRAME_OTHER;
		return scan_text(at, end, &out->text);
	case '*':
	case '>':
	case '~':
	case '%':
	case '|':
		return skip_collection(at, end, type, depth, out);
	default:
		return -E_SYNTAX;
	}
}

/* The common case. Returns 0 also where it is simply something else. */
static int scan_message(const char *data, size_t len, struct frame *out)
{
	static const char shape[] = "3\r\n$7\r\nmessage\r\n$";
	enum { SHAPE = sizeof(shape) - 1 };
	if (len < SHAPE + 1 || memcmp(data + 1, shape, SHAPE) != 0) {
		return 0;
	}
	const char *at = data + 1 + SHAPE;
	const char *end = data + len;
	int rc = scan_bulk(&at, end, &out->channel);
	if (rc <= 0) {
		return rc;
	}
	if (at == end) {
		return 0;
	}
	if (*at++ != '$') {
		return -E_SYNTAX;
	}
	rc = scan_bulk(&at, end, &out->text);
	out->kind = FRAME_MESSAGE;
	return rc <= 0 ? rc : (int)(at - data);
}

int scan_resp(const char *data, size_t len, struct frame *out)
{
	int taken = scan_message(data, len, out);
	if (taken != 0) {
		return taken;
	}
	*out = (struct frame){.kind = FRAME_OTHER};
	const char *at = data;
	int rc = skip_value(&at, data + len, 0, out);
	return rc <= 0 ? rc : (int)(at - data);
}

int scan_line(const char *data, size_t len, struct frame *out)
{
	const char *newline = len == 0 ? NULL : memchr(data, '\n', len);
	if (newline == NULL) {
		return len > LINE_MAX ? -E_TOO_LONG : 0;
	}
	struct slice line = {data, (size_t)(newline - data)};
	struct slice rest = line;
	struct slice word = slice_cut(&rest, ' ');
	*out = (struct frame){.kind = FRAME_OTHER, .text = line};
	if (slice_equal(word, SLICE("RDATA")) || slice_equal(word, SLICE("POSITION")) ||
		slice_equal(word, SLICE("REMOTE_SERVER_UP"))) {
		out->kind = FRAME_MESSAGE;
	} else if (slice_equal(word, SLICE("PING"))) {
		out->kind = FRAME_PING;
		out->text = rest;
	} else if (slice_equal(word, SLICE("SERVER"))) {
		out->kind = FRAME_GREETING;
		out->text = rest;
	} else if (slice_equal(word, SLICE("ERROR"))) {
		out->kind = FRAME_ERROR;
		out->text = rest;
	}
	return (int)(line.len + 1);
}

/* MSG <subject> <sid> [reply-to] <bytes>, and the payload behind it. */
static int scan_nats_message(const char *data, size_t len, struct slice line, struct frame *out)
{
	struct slice rest = {line.data + 4, line.len - 4};
	out->channel = slice_cut(&rest, ' ');
	const char *digits = rest.data + rest.len;
	while (digits > rest.data && digits[-1] >= '0' && digits[-1] <= '9') {
		digits--;
	}
	size_t count = (size_t)(rest.data + rest.len - digits);
	if (rest.data == NULL || count == 0 || count > LENGTH_DIGITS_MAX) {
		return -E_SYNTAX;
	}
	size_t size = 0;
	for (size_t i = 0; i < count; i++) {
		size = size * 10 + (size_t)(digits[i] - '0');
	}
	if (size > SCAN_FRAME_MAX) {
		return -E_TOO_LONG;
	}
	size_t head = line.len + 2;
	if (len < head + size + 2) {
		return 0;
	}
	if (memcmp(data + head + size, "\r\n", 2) != 0) {
		return -E_SYNTAX;
	}
	out->kind = FRAME_MESSAGE;
	out->text = (struct slice){data + head, size};
	return (int)(head + size + 2);
}

int scan_nats(const char *data, size_t len, struct frame *out)
{
	const char *at = data;
	struct slice line;
	int rc = scan_text(&at, data + len, &line);
	if (rc <= 0) {
		return rc;
	}
	*out = (struct frame){.kind = FRAME_OTHER, .text = line};
	if (slice_starts(line, SLICE("MSG "))) {
		return scan_nats_message(data, len, line, out);
	}
	if (slice_equal(line, SLICE("PING"))) {
		out->kind = FRAME_PING;
	} else if (slice_equal(line, SLICE("PONG"))) {
		out->kind = FRAME_PONG;
	} else if (slice_starts(line, SLICE("-ERR"))) {
		out->kind = FRAME_ERROR;
	} else if (slice_starts(line, SLICE("INFO "))) {
		out->kind = FRAME_GREETING;
	} else if (slice_equal(line, SLICE("+OK"))) {
		out->kind = FRAME_STATUS;
	}
	return (int)(at - data);
}
