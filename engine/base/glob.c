/* Glob matching without recursion.
 *
 * Called by fan-out for every published message and pattern, and by the verbs that list things. A
 * pattern is a row of tokens; every token but `*` takes exactly one byte. So when something fails
 * behind a star, only the last star can help by taking one byte more: an earlier one could reach no
 * text that the last one cannot reach. That bounds the work to the product of the lengths, where a
 * recursive matcher takes exponential time for `a*a*a*a*b`.
 *
 * Not done: locales and UTF-8. Bytes are compared as bytes, ranges as signed ones, as Redis does on
 * the machines that people run it on.
 */
#include "engine/base/glob.h"

#include <string.h>

static int fold(char c, bool nocase)
{
	return nocase && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* A class at pattern[*at], just behind its `[`. Leaves `*at` behind the closing bracket. */
static bool class_takes(struct slice pattern, size_t *at, char c, bool nocase)
{
	size_t i = *at;
	bool negated = i < pattern.len && pattern.data[i] == '^';
	bool found = false;
	i += negated ? 1 : 0;
	while (i < pattern.len && pattern.data[i] != ']') {
		if (pattern.data[i] == '\\' && i + 1 < pattern.len) {
			i++;
			found = found || pattern.data[i] == c;
		} else if (i + 2 < pattern.len && pattern.data[i + 1] == '-') {
			int low = pattern.data[i];
			int high = pattern.data[i + 2];
			if (low > high) {
				int swap = low;
				low = high;
				high = swap;
			}
			low = fold((char)low, nocase);
			high = fold((char)high, nocase);
			found = found || (fold(c, nocase) >= low && fold(c, nocase) <= high);
			i += 2;
		} else {
			found = found || fold(pattern.data[i], nocase) == fold(c, nocase);
		}
		i++;
	}
	*at = i < pattern.len ? i + 1 : i;
	return found != negated;
}

/* The token at pattern[*at], not a star. Leaves `*at` behind it. */
static bool token_takes(struct slice pattern, size_t *at, char c, bool nocase)
{
	char token = pattern.data[(*at)++];
	if (token == '?') {
		return true;
	}
	if (token == '[') {
		return class_takes(pattern, at, c, nocase);
	}
	if (token == '\\' && *at < pattern.len) {
		token = pattern.data[(*at)++];
	}
	return fold(token, nocase) == fold(c, nocase);
}

bool glob_match(struct slice pattern, struct slice text, bool nocase)
{
	if (text.len == 0) {
		return pattern.len == 0;
	}
	size_t at = 0;
	size_t taken = 0;
	bool starred = false;
	size_t star = 0; /* behind the last star */
	size_t star_taken = 0;
	while (taken < text.len) {
		if (at < pattern.len && pattern.data[at] == '*') {
			starred = true;
			star = ++at;
			star_taken = taken;
		} else if (at < pattern.len &&
			   token_takes(pattern, &at, text.data[taken], nocase)) {
			taken++;
		} else if (starred && star < pattern.len) {
			at = star;
			taken = ++star_taken;
		} else {
			return starred && star == pattern.len;
		}
	}
	while (at < pattern.len && pattern.data[at] == '*') {
		at++;
	}
	return at == pattern.len;
}

bool glob_is_literal(struct slice pattern)
{
	for (size_t i = 0; i < pattern.len; i++) {
		if (memchr("*?[\\", pattern.data[i], 4) != NULL) {
			return false;
		}
	}
	return true;
}
