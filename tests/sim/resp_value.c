/* Strict: every end of line is there, every length is decimal, nothing is skipped.
 * source: the specification of RESP3. */
#include "tests/sim/resp_value.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

enum { DEPTH_MAX = 8, COUNT_MAX = 100000 };

static long parse(struct slice bytes, struct value *out, unsigned depth);

/* The line's text without type and end; the length with both, 0: not complete, -1. */
static long take_line(struct slice bytes, struct slice *text)
{
	const char *end = memchr(bytes.data, '\r', bytes.len);
	if (end == NULL || end + 1 == bytes.data + bytes.len) {
		return memchr(bytes.data, '\n', bytes.len) != NULL ? -1 : 0;
	}
	*text = (struct slice){bytes.data + 1, (size_t)(end - bytes.data) - 1};
	bool clean = end[1] == '\n' && memchr(text->data, '\n', text->len) == NULL;
	return clean ? end + 2 - bytes.data : -1;
}

static long parse_bulk(struct slice bytes, long head, int64_t len, struct value *out)
{
	if (len < 0) {
		out->type = '_';
		return len == -1 ? head : -1;
	}
	if (bytes.len < (size_t)(head + len + 2)) {
		return 0;
	}
	out->text = (struct slice){bytes.data + head, (size_t)len};
	return memcmp(bytes.data + head + len, "\r\n", 2) == 0 ? head + len + 2 : -1;
}

static long parse_items(
	struct slice bytes, long head, int64_t count, struct value *out, unsigned depth)
{
	if (count < 0) {
		out->type = '_';
		return count == -1 ? head : -1;
	}
	if (count > COUNT_MAX || depth == DEPTH_MAX) {
		return -1;
	}
	long at = head;
	out->items = count == 0 ? NULL : mem_zalloc((size_t)count * sizeof(*out->items));
	for (out->count = 0; out->count < count; out->count++) {
		struct slice rest = {bytes.data + at, bytes.len - (size_t)at};
		long used = rest.len == 0 ? 0 : parse(rest, &out->items[out->count], depth + 1);
		if (used <= 0) {
			value_finish(out);
			return used;
		}
		at += used;
	}
	return at;
}

static long parse(struct slice bytes, struct value *out, unsigned depth)
{
	*out = (struct value){.type = bytes.data[0]};
	if (strchr("+-:$*>%~_,#=(", out->type) == NULL) {
		return -1;
	}
	struct slice text;
	long head = take_line(bytes, &text);
	if (head <= 0) {
		return head;
	}
	int64_t number = 0;
	if (strchr(":$*>%~=", out->type) != NULL && slice_to_i64(text, &number) != OK) {
		return -1;
	}
	out->number = number;
	switch (out->type) {
	case '$':
	case '=':
		return parse_bulk(bytes, head, number, out);
	case '*':
	case '>':
	case '~':
		return parse_items(bytes, head, number, out, depth);
	case '%':
		return parse_items(bytes, head, 2 * number, out, depth);
	case '_':
		return text.len == 0 ? head : -1;
	case '#':
		out->number = text.len == 1 && text.data[0] == 't';
		return text.len == 1 && strchr("tf", text.data[0]) != NULL ? head : -1;
	default:
		out->text = text;
		return head;
	}
}

long value_parse(struct slice bytes, struct value *out)
{
	return bytes.len == 0 ? 0 : parse(bytes, out, 0);
}

void value_finish(struct value *value)
{
	for (unsigned i = 0; i < value->count; i++) {
		value_finish(&value->items[i]);
	}
	free(value->items);
	value->items = NULL;
	value->count = 0;
}

bool value_is(const struct value *value, unsigned i, const char *text)
{
	return i < value->count && slice_equal(value->items[i].text, slice_of(text));
}
