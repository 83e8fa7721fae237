/* The words of a line, with its quotes taken away.
 *
 * Called by config.c for lines of the file and for lists given to CONFIG SET. Knows no directive
 * and no comment.
 */
#include "engine/hub/words.h"

#include <string.h>

#include "engine/base/err.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* What stands behind a backslash in double quotes: how many bytes of the line it takes. */
static size_t unescape(struct slice at, struct bytes *out)
{
	static const char from[] = "nrtba";
	static const char to[] = "\n\r\t\b\a";
	if (at.len >= 3 && at.data[0] == 'x' && hex_digit(at.data[1]) >= 0 &&
		hex_digit(at.data[2]) >= 0) {
		char byte = (char)(hex_digit(at.data[1]) * 16 + hex_digit(at.data[2]));
		bytes_append(out, &byte, 1);
		return 3;
	}
	const char *known = strchr(from, at.data[0]);
	bool special = at.data[0] != '\0' && known != NULL;
	bytes_append(out, special ? &to[known - from] : at.data, 1);
	return 1;
}

/* A quoted word from its opening quote on: returns the bytes it took, 0 where the closing quote is
 * missing. */
static size_t quoted_word(struct slice at, struct bytes *out)
{
	char quote = at.data[0];
	size_t i = 1;
	while (i < at.len && at.data[i] != quote) {
		if (at.data[i] == '\\' && i + 1 < at.len && quote == '"') {
			i++;
			i += unescape((struct slice){at.data + i, at.len - i}, out);
		} else if (at.data[i] == '\\' && i + 1 < at.len && at.data[i + 1] == '\'') {
			bytes_append(out, "'", 1);
			i += 2;
		} else {
			bytes_append(out, at.data + i, 1);
			i++;
		}
	}
	return i < at.len ? i + 1 : 0;
}

int words_split(struct slice line, struct words *words)
{
	size_t ends[WORDS_MAX];
	size_t i = 0;
	words->count = 0;
	for (;;) {
		while (i < line.len && is_blank(line.data[i])) {
			i++;
		}
		if (i == line.len) {
			break;
		}
		if (words->count == WORDS_MAX) {
			return -E_TOO_LONG;
		}
		if (line.data[i] == '"' || line.data[i] == '\'') {
			struct slice at = {line.data + i, line.len - i};
			size_t took = quoted_word(at, &words->text);
			i += took;
			if (took == 0 || (i < line.len && !is_blank(line.data[i]))) {
				return -E_SYNTAX;
			}
		} else {
			size_t start = i;
			while (i < line.len && !is_blank(line.data[i])) {
				i++;
			}
			bytes_append(&words->text, line.data + start, i - start);
		}
		ends[words->count++] = words->text.len;
	}
	for (size_t w = 0; w < words->count; w++) { /* the text moves while it grows */
		size_t start = w == 0 ? 0 : ends[w - 1];
		words->items[w] = (struct slice){words->text.data + start, ends[w] - start};
	}
	return OK;
}

void words_finish(struct words *words)
{
	bytes_finish(&words->text);
	words->count = 0;
}
