/* What a RESP server answers, parsed strictly, RESP2 and RESP3: the clients' own eyes, not the hub's. */
#ifndef MILLRACE_TESTS_SIM_RESP_VALUE_H
#define MILLRACE_TESTS_SIM_RESP_VALUE_H

#include "engine/base/bytes.h"

struct value {
	char type;         /* the first byte; a null has type '_' */
	struct slice text; /* of + - $ = , ( ; lies in the bytes that were parsed */
	int64_t number;    /* of : and # */
	unsigned count;    /* of * > ~ ; a map's keys and values one by one */
	struct value *items;
};

/* One value from the front of `bytes`. Returns how many bytes it takes; 0: not complete; -1: that is no RESP.
 * owner: value_finish() frees the items. */
long value_parse(struct slice bytes, struct value *out);
void value_finish(struct value *value);

/* Item `i` is this text. */
bool value_is(const struct value *value, unsigned i, const char *text);

#endif
