/* Makes and reads the payloads that the flows publish.
 *
 * Called once per message published and once per delivery; calls nobody. Numbers are written and read
 * eight digits at a time in one register, as reading them is a part of every delivery's cost.
 */
#include "bench/stamp.h"

#include <assert.h>
#include <string.h>

enum {
	AT_PUBLISHER = 14, /* four decimal digits */
	AT_TOKEN = 19,  /* twelve: a 1 and eleven digits, so that the token has no leading zero */
	AT_NUMBER = 34, /* sixteen hexadecimal digits */
	AT_PADDING = 53
};

static const char shape[] = "RDATA caches b0000 100000000000 [\"0000000000000000\",\"";
_Static_assert(sizeof(shape) - 1 == AT_PADDING, "the places follow from the shape");

/* Eight decimal digits in one step. Source: the usual pairwise multiplication. */
static uint64_t read_decimal8(const char *digits)
{
	uint64_t v;
	memcpy(&v, digits, sizeof(v));
	v -= 0x3030303030303030u;
	v = v * 10 + (v >> 8);
	return (((v & 0x000000ff000000ffu) * 0x000f424000000064u) +
		       (((v >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u)) >>
	       32;
}

/* Eight hexadecimal digits, lower case, in one step. */
static uint64_t read_hex8(const char *digits)
{
	uint64_t v;
	memcpy(&v, digits, sizeof(v));
	uint64_t letter = (v >> 6) & 0x0101010101010101u;
	v = (v & 0x0f0f0f0f0f0f0f0fu) + letter * 9;
	v = __builtin_bswap64(v);
	v = (v | v >> 4) & 0x00ff00ff00ff00ffu;
	v = (v | v >> 8) & 0x0000ffff0000ffffu;
	return (v | v >> 16) & 0xffffffffu;
}

static void write_decimal(char *out, unsigned digits, uint64_t value)
{
	for (unsigned i = digits; i > 0; i--) {
		out[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
}

static void write_hex16(char *out, uint64_t value)
{
	for (unsigned i = 16; i > 0; i--) {
		out[i - 1] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
}

void stamp_append(struct bytes *out, uint32_t publisher, size_t size)
{
	assert(size >= STAMP_SIZE_MIN && publisher < STAMP_PUBLISHERS_MAX);
	char *payload = bytes_reserve(out, size);
	memcpy(payload, shape, AT_PADDING);
	write_decimal(payload + AT_PUBLISHER, 4, publisher);
	memset(payload + AT_PADDING, 'x', size - AT_PADDING - 2);
	memcpy(payload + size - 2, "\"]", 2);
	out->len += size;
}

void stamp_set(char *payload, uint64_t sequence, uint64_t number)
{
	write_decimal(payload + AT_TOKEN + 1, 11, sequence);
	write_hex16(payload + AT_NUMBER, number);
}

bool stamp_read(struct slice payload, struct stamp *out)
{
	const char *p = payload.data;
	if (payload.len < STAMP_SIZE_MIN || memcmp(p, shape, AT_PUBLISHER) != 0 ||
		memcmp(p + AT_NUMBER - 3, " [\"", 3) != 0) {
		return false;
	}
	out->publisher =
		(uint32_t)((p[AT_PUBLISHER] - '0') * 1000 + (p[AT_PUBLISHER + 1] - '0') * 100 +
			   (p[AT_PUBLISHER + 2] - '0') * 10 + (p[AT_PUBLISHER + 3] - '0'));
	const char *token = p + AT_TOKEN;
	out->sequence =
		(uint64_t)((token[1] - '0') * 100 + (token[2] - '0') * 10 + (token[3] - '0')) *
			100000000 +
		read_decimal8(token + 4);
	out->number = read_hex8(p + AT_NUMBER) << 32 | read_hex8(p + AT_NUMBER + 8);
	return true;
}
