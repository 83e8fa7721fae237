/* The model's own data, for model.c (notes) and model_check.c (judgement). */
#ifndef MILLRACE_TESTS_SIM_MODEL_PARTS_H
#define MILLRACE_TESTS_SIM_MODEL_PARTS_H

#include "tests/sim/model.h"

struct entry {
	unsigned channel;
	char *text;
	size_t len;
	unsigned id; /* of a say; 0: the hub's own words, or a stranger's */
	long at;     /* in the witness' order of the tenant; -1: not found there */
	uint64_t sequence;
};

struct order {
	struct entry *entries;
	size_t count, cap;
};

enum hearing_end { HEARING_OPEN, HEARING_UNSUBSCRIBED, HEARING_CUT };

struct hearing {
	enum hearing_kind kind;
	enum hearing_end end;
	unsigned listener;
	unsigned channel; /* HEAR_CHANNEL */
	char *glob;       /* HEAR_GLOB */
	uint64_t acked_ns, asked_end_ns;
	struct entry *entries;
	size_t count, cap;
};

struct listener {
	unsigned connection;
};

struct model {
	struct ledger *ledger;
	struct say *says;
	size_t says_count, says_cap;
	unsigned *sent; /* ids, in the order in which they went out */
	size_t sent_count, sent_cap;
	unsigned connections; /* the highest serial */
	struct order order[MODEL_TENANTS];
	struct hearing *hearings;
	size_t hearings_count, hearings_cap;
	struct listener *listeners;
	size_t listeners_count, listeners_cap;
	unsigned latest[MODEL_TENANTS]; /* what somebody heard last */
	uint64_t sequence;
};

unsigned text_id(struct slice text);

#endif
