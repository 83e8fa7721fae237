/* Bytes: `struct slice` looks at somebody else's, `struct bytes` owns and grows its own.
 *
 * Running out of memory ends the process (every limit of ours is reached long before; half-handled
 * allocation failures are worse than a restart that loses nothing). No locking: one thread each.
 */
#ifndef MILLRACE_BASE_BYTES_H
#define MILLRACE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view of bytes that somebody else owns; not terminated. An empty slice may have data NULL. */
struct slice {
	const char *data;
	size_t len;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
/* For printf's "%.*s". */
#define SLICE_ARG(s) (int)(s).len, (s).data

struct slice slice_of(const char *string); /* a NUL-terminated string; NULL gives an empty slice */
bool slice_equal(struct slice a, struct slice b);
bool slice_equal_nocase(struct slice a, struct slice b); /* ASCII letters only */
bool slice_starts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);

/* Cut `*rest` at the first `separator`: returns what stands before it and leaves what stands behind
 * it in `*rest`. Without a separator all is returned and `*rest` becomes empty (data NULL). */
struct slice slice_cut(struct slice *rest, char separator);

/* The whole slice as a decimal number with an optional minus sign, as Redis' string2ll: no blank, no
 * plus, no leading zero.
 * errors: -E_SYNTAX not such a number; -E_RANGE outside int64_t. */
int slice_to_i64(struct slice s, int64_t *out);

/* A NUL-terminated copy. owner: the caller frees it with free(3). */
char *slice_dup(struct slice s);

/* Growing bytes; all zero is empty and ready. */
struct bytes {
	char *data;
	size_t len;
	size_t cap;
};

void bytes_finish(struct bytes *b);                /* frees; leaves it empty and ready */
void bytes_clear(struct bytes *b);                 /* empties; keeps the memory */
char *bytes_reserve(struct bytes *b, size_t more); /* room for `more` bytes behind len */
void bytes_append(struct bytes *b, const void *data, size_t len);
void bytes_append_slice(struct bytes *b, struct slice s);
void bytes_append_string(struct bytes *b, const char *string);
void bytes_append_i64(struct bytes *b, int64_t number);
void bytes_printf(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bytes_consume(struct bytes *b, size_t len); /* drops the first `len` bytes, moving the rest */
void bytes_shrink(struct bytes *b, size_t cap_max); /* gives memory back where empty and above it */
struct slice bytes_slice(const struct bytes *b);

/* malloc and friends that never return NULL: they end the process with a log line instead. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *p, size_t size);

/* Decimal digits of `number` into `out` (at least 21 bytes, not terminated); returns how many. */
size_t decimal(int64_t number, char *out);

#endif
