/* Log lines: `level message key=value key=value`, one line each, on standard error.
 *
 * Under systemd (JOURNAL_STREAM set) a line starts with journald's priority prefix, `<4>` and the
 * like, instead of the time. Values that contain blanks, quotes or control characters are
 * quoted and escaped, so that a peer's bytes can neither forge a line nor reach a terminal. Nobody
 * passes a secret (AUTH's password, USER_IP's access token): there is no masking here.
 * Any thread may call journal(): each line is one write(2).
 */
#ifndef MILLRACE_BASE_JOURNAL_H
#define MILLRACE_BASE_JOURNAL_H

#include "engine/base/bytes.h"

enum journal_level { JOURNAL_DEBUG, JOURNAL_VERBOSE, JOURNAL_NOTICE, JOURNAL_WARNING };

/* Redis' words: debug, verbose, notice, warning. errors: -E_UNKNOWN. */
int journal_level_parse(struct slice word, enum journal_level *out);

/* What is below `level` is dropped; NOTICE at first. With `fd` < 0 nothing is written at all. */
void journal_init(enum journal_level level, int fd);
void journal_set_level(enum journal_level level); /* any thread */
enum journal_level journal_level(void);

/* journal(JOURNAL_NOTICE, "store opened", "dir=%s rows=%d", dir, rows): the pairs are a printf
 * format; use JQ for strings from outside: "peer=%s", JQ(slice). `pairs` may be "". */
void journal(enum journal_level level, const char *message, const char *pairs, ...)
	__attribute__((format(printf, 3, 4)));

/* A quoted, escaped and shortened (96 bytes) form of a slice, good for a log line; lives in one of
 * eight buffers of the calling thread, that is until eight calls later. */
const char *journal_quote(struct slice s);
#define JQ(s) journal_quote(s)

/* How many lines of each level were written or dropped by level, since the start. */
uint64_t journal_count(enum journal_level level);

#endif
