/* Bytes to lines, for the direct TCP protocol.
 *
 * Called by the hub with what a connection has received and not yet consumed; calls nothing. The
 * parser keeps one number: how many bytes of the unfinished line it has already searched, so that
 * a peer who sends one byte at a time costs one byte at a time.
 *
 *     data:     \n \n R E P L I C A T E _ \n N A M ...
 *               '-.-' '--------.--------'    '-> scanned
 *             skipped        *line
 *
 * A carriage return is an ordinary byte: Synapse neither sends nor strips one, and what is
 * relayed must stay as it was. UTF-8 is checked on whole lines only, for a character may be cut
 * by the network.
 *
 * source: Twisted's LineOnlyReceiver as Synapse uses it (delimiter "\n", MAX_LENGTH 16384); RFC
 *         3629, section 4.
 */
#include "engine/protocol/line.h"

#include <assert.h>
#include <string.h>

#include "engine/base/err.h"

static size_t blank_lines(struct slice data)
{
	size_t n = 0;
	while (n < data.len && data.data[n] == '\n') {
		n++;
	}
	return n;
}

int line_parse(struct line_parser *parser, struct slice data, size_t length_max, struct slice *line,
	size_t *consumed)
{
	assert(parser->scanned <= data.len);
	size_t blank = parser->scanned == 0 ? blank_lines(data) : 0;
	*consumed = blank;
	*line = (struct slice){NULL, 0};
	if (blank == data.len) {
		return -E_AGAIN;
	}
	const char *start = data.data + blank;
	size_t len = data.len - blank;
	/* A newline behind the limit is too late: one byte more than the limit is enough to look
	 * at. */
	size_t searched = len <= length_max ? len : length_max + 1;
	const char *end = NULL;
	if (searched > parser->scanned) {
		end = memchr(start + parser->scanned, '\n', searched - parser->scanned);
	}
	if (end == NULL) {
		parser->scanned = searched;
		return len > length_max ? -E_TOO_LONG : -E_AGAIN;
	}
	parser->scanned = 0;
	*line = (struct slice){start, (size_t)(end - start)};
	*consumed = blank + line->len + 1;
	return line_is_utf8(*line) ? OK : -E_SYNTAX;
}

/* How many of the first bytes are ASCII, in steps of 32: what is left is up to the loop of the
 * caller. */
static size_t ascii_prefix(const unsigned char *p, size_t len)
{
	size_t i = 0;
	for (; i + 32 <= len; i += 32) {
		uint64_t w[4];
		memcpy(w, p + i, sizeof(w));
		if (((w[0] | w[1] | w[2] | w[3]) & 0x8080808080808080u) != 0) {
			break;
		}
	}
	return i;
}

/* The length of the character whose first byte is `lead`, and the range its second byte must lie
 * in, which excludes overlong forms, surrogates and what is above U+10FFFF. 0: no character
 * starts so. */
static unsigned sequence(unsigned char lead, unsigned char *low, unsigned char *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (lead < 0xc2 || lead > 0xf4) {
		return lead < 0x80 ? 1 : 0;
	}
	if (lead < 0xe0) {
		return 2;
	}
	if (lead < 0xf0) {
		*low = lead == 0xe0 ? 0xa0 : 0x80;
		*high = lead == 0xed ? 0x9f : 0xbf;
		return 3;
	}
	*low = lead == 0xf0 ? 0x90 : 0x80;
	*high = lead == 0xf4 ? 0x8f : 0xbf;
	return 4;
}

bool line_is_utf8(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.data;
	size_t i = 0;
	while (i < s.len) {
		if (p[i] < 0x80) {
			size_t run = ascii_prefix(p + i, s.len - i);
			i += run > 0 ? run : 1;
			continue;
		}
		unsigned char low, high;
		unsigned len = sequence(p[i], &low, &high);
		if (len < 2 || len > s.len - i || p[i + 1] < low || p[i + 1] > high) {
			return false;
		}
		for (unsigned k = 2; k < len; k++) {
			if ((p[i + k] & 0xc0) != 0x80) {
				return false;
			}
		}
		i += len;
	}
	return true;
}
