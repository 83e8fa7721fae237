/* Glob patterns, as PSUBSCRIBE, PUBSUB CHANNELS, KEYS and CONFIG GET use them.
 */
#ifndef MILLRACE_BASE_GLOB_H
#define MILLRACE_BASE_GLOB_H

#include "engine/base/bytes.h"

/* Does the whole of `text` match? `*` any bytes, `?` one byte, `[a-z]`, `[^a-z]`, `\x` the byte x
 * itself. With `nocase` ASCII letters of both cases are the same. cost:   at most pattern.len times
 * text.len steps, whatever the pattern. source: the answers of Redis' stringmatchlen, oddities
 * included: an empty text matches an empty pattern only, and a class that is never closed ends with
 * the pattern. */
bool glob_match(struct slice pattern, struct slice text, bool nocase);

/* True where the pattern has none of the special bytes, so that it matches itself and nothing else.
 */
bool glob_is_literal(struct slice pattern);

#endif
