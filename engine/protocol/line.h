/* Line framing: bytes to lines.
 *
 * `\n` ends a line; blank lines are skipped; bytes that are not UTF-8, and lines above the limit,
 * are errors. Knows no command. Plain data; never looks at a byte twice.
 */
#ifndef MILLRACE_PROTOCOL_LINE_H
#define MILLRACE_PROTOCOL_LINE_H

#include "engine/base/bytes.h"

struct line_parser {
	size_t scanned; /* bytes of the line under way that hold no newline */
};

/* The first line of `data`, without its newline. `*consumed` counts also the blank lines before it.
 * errors: -E_AGAIN no whole line yet (`*consumed` may be > 0: blank lines); -E_TOO_LONG more than
 *         `length_max` bytes without a newline; -E_SYNTAX not UTF-8. After the last two the
 *         connection is to be closed. */
int line_parse(struct line_parser *parser, struct slice data, size_t length_max, struct slice *line,
	size_t *consumed);

/* Whether it is well-formed UTF-8 (no surrogates, no overlong forms). Fast for ASCII. */
bool line_is_utf8(struct slice s);

#endif
