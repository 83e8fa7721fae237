/* What was said, what was heard, and whether the hub kept its word.
 *
 * Everything that a client publishes is noted with an id that stands in its text (`#17#`). One connection, the witness,
 * hears every channel; what it hears is the order that all others are held against. A listener is any other subscribing
 * connection, a hearing one stretch of one of its subscriptions, from acknowledgement to acknowledgement.
 *
 * One model lives as long as one life of the hub; what outlives it (tokens) is in `struct ledger`.
 */
#ifndef MILLRACE_TESTS_SIM_MODEL_H
#define MILLRACE_TESTS_SIM_MODEL_H

#include "engine/base/bytes.h"
#include "engine/fanout/message.h"

enum {
	MODEL_TENANTS = 3,
	MODEL_CHANNELS = 8,
	MODEL_STREAMS = 3,
	MODEL_WRITERS = 24,
	CHANNEL_OF_LINES = 0 /* what line workers write to and hear of */
};

struct model_channel {
	unsigned tenant;
	enum channel_kind kind;
	const char *name;
};
const struct model_channel *model_channel(unsigned channel);
/* By name and kind; MODEL_CHANNELS: none. */
unsigned model_channel_find(enum channel_kind kind, struct slice name);
const char *model_stream(unsigned stream);

enum say_kind {
	SAY_ANYTHING,
	SAY_ROW,     /* RDATA of a batch that is not its last */
	SAY_NUMBER,  /* RDATA with a number: a batch's last, or a single one */
	SAY_POSITION /* of a writer */
};

struct say {
	enum say_kind kind;
	unsigned channel;
	char *text;
	size_t len;
	unsigned connection; /* serial of the one that published it */
	unsigned writer, stream;
	int64_t token;
	unsigned batch_first, batch_rows; /* the id of the batch's first row; how many it has */
	uint64_t sent_ns, acked_ns;       /* UINT64_MAX: never */
	unsigned cause; /* id of what somebody had heard before this was sent; 0: nothing */
	long at;        /* where the witness heard it; -1: nowhere */
	bool refused;   /* the hub said that it could not take it */
};

enum hearing_kind { HEAR_CHANNEL, HEAR_GLOB, HEAR_LINE };

/* Tokens by channel's tenant, stream and writer, over all lives. */
struct ledger {
	int64_t sent[MODEL_TENANTS][MODEL_STREAMS][MODEL_WRITERS];
	int64_t acked[MODEL_TENANTS][MODEL_STREAMS][MODEL_WRITERS];
	uint64_t acked_ns[MODEL_TENANTS][MODEL_STREAMS][MODEL_WRITERS];
	bool torn[MODEL_WRITERS]; /* in this life its batch may have been torn */
};

struct model;
struct model *model_create(struct ledger *ledger);
void model_destroy(struct model *model);

/* A message is about to be published: returns it with its id, to be filled in; its text is set by model_say_text().
 * The pointer lives until the next one. */
struct say *model_say(struct model *model, unsigned *id);
void model_say_text(struct say *say, struct slice text);
void model_sent(struct model *model, unsigned id, uint64_t now_ns);
void model_acked(struct model *model, unsigned id, uint64_t now_ns);
void model_refused(struct model *model, unsigned id);
struct say *model_find(struct model *model, unsigned id);
unsigned model_says(const struct model *model);

/* The witness heard this. */
void model_witnessed(struct model *model, unsigned channel, struct slice text);

/* Listeners and their hearings, by number. */
unsigned model_listener(struct model *model, unsigned connection);
unsigned model_hearing(struct model *model, unsigned listener, enum hearing_kind kind,
	unsigned channel, struct slice glob, uint64_t now_ns);
void model_unheard(struct model *model, unsigned hearing, uint64_t asked_ns);
/* The connection ended: what it missed at the end is no gap. */
void model_cut(struct model *model, unsigned listener);
void model_heard(struct model *model, unsigned hearing, unsigned channel, struct slice text);

/* Hold everything against the witness. `settled`: everything that was published has had time to arrive everywhere. False:
 * `why` has a sentence. */
bool model_check(struct model *model, bool settled, char *why, size_t why_size);

#endif
