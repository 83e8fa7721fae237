/* The words of a line of the configuration. */
#ifndef MILLRACE_HUB_WORDS_H
#define MILLRACE_HUB_WORDS_H

#include "engine/base/bytes.h"

enum { WORDS_MAX = 80 };

/* The words of a line, unquoted; the slices point into `text`. All zero is ready. */
struct words {
	struct bytes text;
	struct slice items[WORDS_MAX];
	size_t count;
};

/* Cut a line at blanks; "double quotes" know \n \r \t \b \a \xHH, 'single quotes' only \'. A '#' in
 * the middle of a line is a byte like others: passwords contain them.
 * errors: -E_SYNTAX a quote that does not end, or bytes right behind its end; -E_TOO_LONG more
 *         than WORDS_MAX.
 * owner:  words_finish(), also after an error.
 * source: sdssplitargs() of Redis, which cuts its own redis.conf so. */
int words_split(struct slice line, struct words *words);
void words_finish(struct words *words);

#endif
