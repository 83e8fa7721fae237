/* The judge of what subscribers received: loss, duplicates, each publisher's order, and one order for all.
 *
 * One checker stands for a set of subscribers that ought to receive the same messages. A message is
 * known by its publisher and its sequence number, which counts 0, 1, 2, … per publisher. One thread.
 */
#ifndef MILLRACE_BENCH_CHECKER_H
#define MILLRACE_BENCH_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct checker;

enum checker_order {
	CHECKER_TOTAL,        /* all subscribers must see one order */
	CHECKER_PER_PUBLISHER /* only each publisher's own order must hold */
};

/* What went wrong. A message that comes too late is `reordered`, not lost and not a duplicate. */
struct checker_faults {
	uint64_t received;   /* messages, faulty ones included */
	uint64_t lost;       /* never came */
	uint64_t duplicates; /* came again */
	uint64_t reordered;  /* came after a later one of the same publisher */
	uint64_t disordered; /* stood elsewhere in the order than for the other subscribers */
	uint64_t foreign;    /* not one of ours */
};

/* owner: the caller; checker_destroy(NULL) is fine. */
struct checker *checker_create(uint32_t publishers, uint32_t subscribers, enum checker_order order);
void checker_destroy(struct checker *c);

/* This subscriber comes in the middle of a stream: whatever it gets first, of each publisher, is where it
 * begins; from its first message on it must follow the order of the others. */
void checker_join(struct checker *c, uint32_t subscriber);

/* A subscriber received a message. Returns false where that was a fault. */
bool checker_take(struct checker *c, uint32_t subscriber, uint32_t publisher, uint64_t sequence);

/* A subscriber received something that nobody sent. */
void checker_foreign(struct checker *c, uint32_t subscriber);

/* The sequence number that comes next for a subscriber; for one that joined, UINT64_MAX before the first. */
uint64_t checker_next(const struct checker *c, uint32_t subscriber, uint32_t publisher);

/* Whether a message was left out so far by a subscriber that has already had a later one. */
bool checker_is_missing(
	const struct checker *c, uint32_t subscriber, uint32_t publisher, uint64_t sequence);

/* Nothing more will come: publisher sent `count` messages, what a subscriber does not have of them is lost. */
void checker_expect(struct checker *c, uint32_t publisher, uint64_t count);

/* Take one back: what a subscriber misses was allowed to be left out. False if it is not missing. */
bool checker_forgive(struct checker *c, uint32_t subscriber, uint32_t publisher, uint64_t sequence);

/* The faults of one subscriber, and those of all together. */
struct checker_faults checker_faults(const struct checker *c, uint32_t subscriber);
struct checker_faults checker_total(const struct checker *c);
void checker_add(struct checker_faults *into, const struct checker_faults *from);
bool checker_is_clean(const struct checker_faults *f);

/* The order that the subscribers agreed on: `count` entries of publisher << CHECKER_SEQUENCE_BITS | sequence.
 * Empty with CHECKER_PER_PUBLISHER. owner: the checker; valid until the next checker_take(). */
enum { CHECKER_SEQUENCE_BITS = 44 };
const uint64_t *checker_log(const struct checker *c, size_t *count);

#endif
