/* The table of verbs, its index, and the counts. Only this folder's files use it; the hub uses
 * commands.h.
 */
#ifndef MILLRACE_REDIS_VERBS_H
#define MILLRACE_REDIS_VERBS_H

#include "engine/redis/call.h"
#include "engine/redis/commands.h"

/* What COMMAND says of a verb; the first ones also decide whether it may run. */
enum verb_flag {
	V_WRITE = 1 << 0,   /* changes keys */
	V_READ = 1 << 1,    /* reads keys */
	V_DENYOOM = 1 << 2, /* refused while the cache is full */
	V_ADMIN = 1 << 3,
	V_PUBSUB = 1 << 4,
	V_NOSCRIPT = 1 << 5,
	V_LOADING = 1 << 6,
	V_STALE = 1 << 7,
	V_SKIP_SLOWLOG = 1 << 8,
	V_FAST = 1 << 9,
	V_NO_AUTH = 1 << 10, /* allowed before AUTH */
	V_ALLOW_BUSY = 1 << 11,
	V_SUBSCRIBER = 1 << 12, /* allowed to a RESP2 subscriber; not shown */
	V_IMMEDIATE = 1 << 13,  /* runs within MULTI instead of being queued; not shown */
	V_DANGEROUS = 1 << 14,  /* an ACL category that no other flag implies; not shown */
	V_ROLE = 1 << 15        /* the categories admin and dangerous without the flag; not shown */
};

enum verb_group {
	GROUP_CONNECTION,
	GROUP_PUBSUB,
	GROUP_TRANSACTIONS,
	GROUP_STRING,
	GROUP_BITMAP,
	GROUP_GENERIC,
	GROUP_SCRIPTING,
	GROUP_SERVER,
	GROUP_CLUSTER
};

struct verb {
	const char *name; /* lower case; "client|list" stands right behind "client" */
	int arity;        /* arguments with the name; negative: at least so many */
	unsigned flags;   /* of enum verb_flag */
	enum verb_group group;
	void (*run)(struct call *call); /* NULL: a word that only has subcommands */
	struct {
		int first, last, step; /* which arguments are keys; last -1: to the end */
		const char *flags;     /* "RW access update"; a bar before those of a second key */
	} keys;
	const char *tips; /* blanks between */
	const char *since, *summary;
};

unsigned verbs_count(void);
const struct verb *verbs_at(unsigned number); /* verb_table.c */
unsigned verbs_number(const struct verb *verb);

/* The verb of a request: of its first word, or of the first two where the first one has
 * subcommands. NULL: no such word; then `*parent` is the first word's verb if there is one. */
const struct verb *verbs_find(const struct redis_verbs *verbs, const struct slice *argv,
	unsigned argc, const struct verb **parent);
/* By name, "client|list" included. */
const struct verb *verbs_by_name(const struct redis_verbs *verbs, struct slice name);
/* How many subcommands follow a verb in the table. */
unsigned verbs_subcommands(const struct redis_verbs *verbs, const struct verb *verb);

/* Counted when it is over: INFO and CONFIG RESETSTAT see themselves next time. */
void verbs_count_call(struct redis_verbs *verbs, const struct verb *verb, bool failed);
void verbs_count_rejected(struct redis_verbs *verbs, const struct verb *verb);
void verbs_count_error(struct redis_verbs *verbs, struct slice text);

/* The bits of notify-keyspace-events, for notify.c. */
unsigned *verbs_notify(struct redis_verbs *verbs);

#endif
