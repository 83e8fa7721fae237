/* Slices and growing bytes.
 *
 * Called by everybody, calls malloc and nobody else. A buffer doubles when it grows, so appending is
 * linear over all; nothing here keeps a pointer into a buffer across a call that may grow it.
 */
#include "engine/base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"

enum { BYTES_CAP_MIN = 64 };

struct slice slice_of(const char *string)
{
	return (struct slice){string, string == NULL ? 0 : strlen(string)};
}

bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
	if (a.len != b.len) {
		return false;
	}
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.data[i]) != lower(b.data[i])) {
			return false;
		}
	}
	return true;
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

bool slice_ends(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len && (suffix.len == 0 || memcmp(s.data + s.len - suffix.len,
								  suffix.data, suffix.len) == 0);
}

struct slice slice_cut(struct slice *rest, char separator)
{
	struct slice head = *rest;
	const char *at = head.len == 0 ? NULL : memchr(head.data, separator, head.len);
	if (at == NULL) {
		*rest = (struct slice){NULL, 0};
		return head;
	}
	head.len = (size_t)(at - head.data);
	rest->data = at + 1;
	rest->len -= head.len + 1;
	return head;
}

int slice_to_i64(struct slice s, int64_t *out)
{
	bool negative = s.len > 0 && s.data[0] == '-';
	size_t i = negative ? 1 : 0;
	if (i == s.len || (s.data[i] == '0' && s.len > 1)) {
		return -E_SYNTAX;
	}
	uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	uint64_t value = 0;
	bool beyond = false;
	for (; i < s.len; i++) {
		unsigned digit = (unsigned)(unsigned char)s.data[i] - '0';
		if (digit > 9) {
			return -E_SYNTAX;
		}
		beyond = beyond || value > (limit - digit) / 10;
		value = value * 10 + digit;
	}
	if (beyond) {
		return -E_RANGE;
	}
	*out = negative ? (int64_t)(0 - value) : (int64_t)value;
	return OK;
}

char *slice_dup(struct slice s)
{
	char *copy = mem_alloc(s.len + 1);
	if (s.len > 0) {
		memcpy(copy, s.data, s.len);
	}
	copy[s.len] = '\0';
	return copy;
}

void bytes_finish(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

void bytes_clear(struct bytes *b)
{
	b->len = 0;
}

char *bytes_reserve(struct bytes *b, size_t more)
{
	if (more > b->cap - b->len) {
		assert(more <= SIZE_MAX / 2 - b->len);
		size_t cap = b->cap < BYTES_CAP_MIN ? BYTES_CAP_MIN : b->cap;
		while (cap < b->len + more) {
			cap *= 2;
		}
		b->data = mem_realloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void bytes_append(struct bytes *b, const void *data, size_t len)
{
	if (len > 0) {
		memcpy(bytes_reserve(b, len), data, len);
		b->len += len;
	}
}

void bytes_append_slice(struct bytes *b, struct slice s)
{
	bytes_append(b, s.data, s.len);
}

void bytes_append_string(struct bytes *b, const char *string)
{
	bytes_append(b, string, strlen(string));
}

void bytes_append_i64(struct bytes *b, int64_t number)
{
	b->len += decimal(number, bytes_reserve(b, 21));
}

void bytes_printf(struct bytes *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	va_list again;
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	assert(len >= 0);
	vsnprintf(bytes_reserve(b, (size_t)len + 1), (size_t)len + 1, format, again);
	va_end(again);
	b->len += (size_t)len;
}

void bytes_consume(struct bytes *b, size_t len)
{
	assert(len <= b->len);
	b->len -= len;
	if (b->len > 0 && len > 0) {
		memmove(b->data, b->data + len, b->len);
	}
}

void bytes_shrink(struct bytes *b, size_t cap_max)
{
	if (b->len == 0 && b->cap > cap_max) {
		bytes_finish(b);
	}
}

struct slice bytes_slice(const struct bytes *b)
{
	return (struct slice){b->data, b->len};
}

static void out_of_memory(size_t size)
{
	fprintf(stderr, "out of memory: %zu bytes could not be had\n", size);
	abort();
}

void *mem_alloc(size_t size)
{
	void *p = malloc(size > 0 ? size : 1);
	if (p == NULL) {
		out_of_memory(size);
	}
	return p;
}

void *mem_zalloc(size_t size)
{
	void *p = calloc(1, size > 0 ? size : 1);
	if (p == NULL) {
		out_of_memory(size);
	}
	return p;
}

void *mem_realloc(void *p, size_t size)
{
	p = realloc(p, size > 0 ? size : 1);
	if (p == NULL) {
		out_of_memory(size);
	}
	return p;
}

size_t decimal(int64_t number, char *out)
{
	char reversed[20];
	size_t n = 0;
	size_t len = 0;
	uint64_t value = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	do {
		reversed[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	if (number < 0) {
		out[len++] = '-';
	}
	while (n > 0) {
		out[len++] = reversed[--n];
	}
	return len;
}
