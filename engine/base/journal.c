/* The log lines of the daemon.
 *
 * Called by everybody. Keeps a descriptor, set once before threads start, and a level, which may
 * change at run time; it and the counters are relaxed atomics, for they order nothing. A line is put together in a buffer on
 * the stack and written at once, so lines of two threads never mix.
 */
#include "engine/base/journal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/err.h"

enum { LINE_MAX_BYTES = 2048, QUOTE_SOURCE_MAX = 96, QUOTE_BUFFERS = 8 };

static struct {
	_Atomic enum journal_level level;
	int fd;
	bool under_systemd;
	atomic_uint_fast64_t count[JOURNAL_WARNING + 1];
} state = {.level = JOURNAL_NOTICE, .fd = STDERR_FILENO};

static const struct {
	const char *word;
	char priority; /* of syslog(3), as journald reads it */
} levels[] = {
	[JOURNAL_DEBUG] = {"debug", '7'},
	[JOURNAL_VERBOSE] = {"verbose", '6'},
	[JOURNAL_NOTICE] = {"notice", '5'},
	[JOURNAL_WARNING] = {"warning", '4'},
};

int journal_level_parse(struct slice word, enum journal_level *out)
{
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (slice_equal_nocase(word, slice_of(levels[i].word))) {
			*out = (enum journal_level)i;
			return OK;
		}
	}
	return -E_UNKNOWN;
}

void journal_init(enum journal_level level, int fd)
{
	journal_set_level(level);
	state.fd = fd;
	state.under_systemd = getenv("JOURNAL_STREAM") != NULL;
}

void journal_set_level(enum journal_level level)
{
	atomic_store_explicit(&state.level, level, memory_order_relaxed);
}

enum journal_level journal_level(void)
{
	return atomic_load_explicit(&state.level, memory_order_relaxed);
}

static size_t put_prefix(char *line, size_t size, enum journal_level level)
{
	if (state.under_systemd) {
		return (size_t)snprintf(
			line, size, "<%c>%s ", levels[level].priority, levels[level].word);
	}
	struct timespec now;
	struct tm utc;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
	return len + (size_t)snprintf(line + len, size - len, ".%03ldZ %s ", now.tv_nsec / 1000000,
			     levels[level].word);
}

void journal(enum journal_level level, const char *message, const char *pairs, ...)
{
	assert(level <= JOURNAL_WARNING);
	atomic_fetch_add_explicit(&state.count[level], 1, memory_order_relaxed);
	if (level < journal_level() || state.fd < 0) {
		return;
	}
	char line[LINE_MAX_BYTES];
	size_t room = sizeof(line) - 1; /* the newline's place */
	size_t len = put_prefix(line, room, level);
	len += (size_t)snprintf(line + len, room - len, "%s%s", message, *pairs ? " " : "");
	if (len < room) {
		va_list args;
		va_start(args, pairs);
		int more = vsnprintf(line + len, room - len, pairs, args);
		va_end(args);
		len += more > 0 ? (size_t)more : 0;
	}
	len = len < room ? len : room - 1;
	line[len++] = '\n';
	ssize_t written = write(state.fd, line, len);
	(void)written; /* where should one complain that the log cannot be written? */
}

static bool is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

const char *journal_quote(struct slice s)
{
	static _Thread_local char buffers[QUOTE_BUFFERS][QUOTE_SOURCE_MAX * 4 + 8];
	static _Thread_local unsigned next;
	char *out = buffers[next++ % QUOTE_BUFFERS];
	size_t shown = s.len < QUOTE_SOURCE_MAX ? s.len : QUOTE_SOURCE_MAX;
	bool plain = s.len > 0;
	for (size_t i = 0; i < shown && plain; i++) {
		plain = is_plain((unsigned char)s.data[i]);
	}
	char *p = out;
	if (!plain) {
		*p++ = '"';
	}
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)s.data[i];
		if (is_plain(c) || c == ' ' || c == '=') {
			*p++ = (char)c;
		} else {
			p += sprintf(p, "\\x%02x", c);
		}
	}
	if (shown < s.len) {
		p = stpcpy(p, "...");
	}
	if (!plain) {
		*p++ = '"';
	}
	*p = '\0';
	return out;
}

uint64_t journal_count(enum journal_level level)
{
	return atomic_load_explicit(&state.count[level], memory_order_relaxed);
}
