/* The table of directives: what there is to configure, and how each value is written.
 *
 * The one place that knows names, types, units, defaults, limits and sentences. Values live in
 * struct config at `offset`; directive_text.h goes between that and text.
 */
#ifndef MILLRACE_HUB_DIRECTIVE_H
#define MILLRACE_HUB_DIRECTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum directive_type {
	DIRECTIVE_BOOL,  /* bool: yes or no */
	DIRECTIVE_INT,   /* int64_t */
	DIRECTIVE_OCTAL, /* int64_t: permission bits */
	DIRECTIVE_BYTES, /* int64_t: k m g are powers of 1000, kb mb gb of 1024, as in redis.conf */
	DIRECTIVE_DURATION, /* int64_t in ms: a bare number is seconds, or with ms, s, m, h, d */
	DIRECTIVE_STRING,   /* char * */
	DIRECTIVE_WORD,     /* int: the word's place in `words` */
	DIRECTIVE_LIST,     /* struct config_list: words */
	DIRECTIVE_LIMITS /* struct config_limit[CONFIG_CLASSES]: class hard soft seconds, repeated
			  */
};

enum { DIRECTIVE_MUTABLE = 1, DIRECTIVE_SECRET = 2 }; /* flags */

struct directive {
	const char *section; /* for --help: a heading, on the first of its directives, else NULL */
	const char *name;
	enum directive_type type;
	unsigned flags;
	size_t offset;
	const char *initial;      /* the default, as one would write it */
	int64_t min, max;         /* numbers: in the stored unit; strings: max is their length */
	const char *const *words; /* DIRECTIVE_WORD: ends with NULL */
	const char *sentence;
};

/* A directive of redis.conf that is not ours. */
struct foreign_directive {
	const char *pattern; /* a name, or the beginning of one and a '*' */
	bool refused;        /* to ignore it would be dangerous: an error instead of a notice */
	const char *value;   /* what CONFIG GET answers, NULL: not there */
	const char *sentence;
};

/* The tables, `*count` entries each. */
const struct directive *directive_table(size_t *count);
const struct foreign_directive *directive_foreign_table(size_t *count);

/* NULL: no such one. Case does not matter. */
const struct directive *directive_find(struct slice name);
const struct foreign_directive *directive_find_foreign(struct slice name);

/* The name that `name` was probably meant to be; NULL if none is near. */
const char *directive_nearest(struct slice name);

#endif
