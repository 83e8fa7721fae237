/* Values as numbers, and as bits.
 *
 * Called through the table; calls the cache. A number is kept as its decimal digits. INCRBYFLOAT
 * counts in long doubles and prints up to 17 digits behind the point without trailing zeros, as
 * Redis does on x86-64.
 */
#include "engine/redis/numbers.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/redis/notify.h"

enum { FLOAT_MAX = 5 * 1024, FLOAT_TEXT_MAX = 255 };

static void add(struct call *call, int64_t more)
{
	struct slice old = call_value(call, 1);
	int64_t number = 0;
	if (old.data != NULL && slice_to_i64(old, &number) < 0) {
		call_error(call, "ERR value is not an integer or out of range");
		return;
	}
	if (__builtin_add_overflow(number, more, &number)) {
		call_error(call, "ERR increment or decrement would overflow");
		return;
	}
	char digits[21];
	struct slice value = {digits, decimal(number, digits)};
	if (call_store(call, call->argv[1], value, CACHE_KEEP_EXPIRY)) {
		notify(call, NOTIFY_STRING, "incrby", call->argv[1]);
		call_integer(call, number);
	}
}

void numbers_incr(struct call *call)
{
	add(call, 1);
}

void numbers_decr(struct call *call)
{
	add(call, -1);
}

void numbers_incrby(struct call *call)
{
	int64_t more = 0;
	if (call_i64(call, 2, &more, NULL)) {
		add(call, more);
	}
}

void numbers_decrby(struct call *call)
{
	int64_t less = 0;
	if (!call_i64(call, 2, &less, NULL)) {
		return;
	}
	if (less == INT64_MIN) {
		call_error(call, "ERR decrement would overflow");
		return;
	}
	add(call, -less);
}

static bool to_float(struct slice s, long double *out)
{
	char text[FLOAT_TEXT_MAX + 1];
	if (s.len == 0 || s.len > FLOAT_TEXT_MAX || isspace((unsigned char)s.data[0])) {
		return false;
	}
	memcpy(text, s.data, s.len);
	text[s.len] = '\0';
	char *end = NULL;
	errno = 0;
	*out = strtold(text, &end);
	bool beyond = errno == ERANGE && (isinf(*out) || fpclassify(*out) == FP_ZERO);
	return end == text + s.len && !isnan(*out) && !beyond;
}

/* Digits without needless zeros; returns how many bytes. */
static size_t print_float(long double number, char *out, size_t size)
{
	int printed = snprintf(out, size, "%.17Lf", number);
	size_t len = printed < 0 ? 0 : (size_t)printed;
	while (len > 0 && out[len - 1] == '0') {
		len--;
	}
	if (len > 0 && out[len - 1] == '.') {
		len--;
	}
	if (len == 2 && out[0] == '-' && out[1] == '0') {
		out[0] = '0';
		len = 1;
	}
	return len;
}

void numbers_incrbyfloat(struct call *call)
{
	struct slice old = call_value(call, 1);
	long double number = 0;
	long double more = 0;
	if ((old.data != NULL && !to_float(old, &number)) || !to_float(call->argv[2], &more)) {
		call_error(call, "ERR value is not a valid float");
		return;
	}
	number += more;
	if (isnan(number) || isinf(number)) {
		call_error(call, "ERR increment would produce NaN or Infinity");
		return;
	}
	char digits[FLOAT_MAX];
	struct slice value = {digits, print_float(number, digits, sizeof(digits))};
	if (call_store(call, call->argv[1], value, CACHE_KEEP_EXPIRY)) {
		notify(call, NOTIFY_STRING, "incrbyfloat", call->argv[1]);
		resp_put_bulk(call->out, value);
	}
}

/* A bit's place: its byte, and the mask within. Bit 0 is the highest of the first byte. */
static bool bit_argument(struct call *call, size_t *byte, unsigned char *mask)
{
	int64_t offset = 0;
	if (slice_to_i64(call->argv[2], &offset) < 0 || offset < 0 ||
		(uint64_t)offset >> 3 >= call->env->value_bytes_max) {
		call_error(call, "ERR bit offset is not an integer or out of range");
		return false;
	}
	*byte = (size_t)(offset >> 3);
	*mask = (unsigned char)(1u << (7 - (offset & 7)));
	return true;
}

void numbers_getbit(struct call *call)
{
	size_t byte = 0;
	unsigned char mask = 0;
	if (bit_argument(call, &byte, &mask)) {
		struct slice value = call_value(call, 1);
		bool set = byte < value.len && ((unsigned char)value.data[byte] & mask) != 0;
		call_integer(call, set ? 1 : 0);
	}
}

void numbers_setbit(struct call *call)
{
	size_t byte = 0;
	unsigned char mask = 0;
	int64_t bit = 0;
	if (!bit_argument(call, &byte, &mask) ||
		!call_i64(call, 3, &bit, "ERR bit is not an integer or out of range")) {
		return;
	}
	if (bit != 0 && bit != 1) {
		call_error(call, "ERR bit is not an integer or out of range");
		return;
	}
	struct bytes value = {0};
	bytes_append_slice(&value, call_value(call, 1));
	if (value.len <= byte) {
		memset(bytes_reserve(&value, byte + 1 - value.len), 0, byte + 1 - value.len);
		value.len = byte + 1;
	}
	unsigned char old = (unsigned char)value.data[byte];
	value.data[byte] = (char)(bit == 1 ? old | mask : old & ~mask);
	if (call_store(call, call->argv[1], bytes_slice(&value), CACHE_KEEP_EXPIRY)) {
		notify(call, NOTIFY_STRING, "setbit", call->argv[1]);
		call_integer(call, (old & mask) != 0 ? 1 : 0);
	}
	bytes_finish(&value);
}
