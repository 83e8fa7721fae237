/* Checks every message at every subscriber, cheaply enough to do it in every benchmark.
 *
 * Called by the flows, by replay and by storm, once per delivery; calls nobody. Two questions are asked of a
 * message, each answered by one comparison as long as all is well:
 *
 *  1. Is it the next one of its publisher, for this subscriber? `next` holds that number. A gap is noted in
 *     the subscriber's list of missing messages; a number below `next` is either one of those
 *     (late: reordered) or has been here before (a duplicate).
 *
 *  2. Does it stand where it stands for everybody? The subscriber that is ahead writes the common log,
 *     the others compare, each at its own position:
 *
 *         log       a0 b0 a1 a2 b1 …
 *         leader                   ^ appends
 *         follower        ^ must receive a1 now
 *
 *     On a mismatch the message is looked for: further on (what was skipped is missing, question 1
 *     has said so), further back (the order differs: `disordered`), or nowhere (those who came here
 *     first had missed it; it is put in). So one loss at one subscriber is one fault, not a thousand (at
 *     the one that is ahead it also looks like another order, until its publisher's next message shows the gap).
 *
 * Deliberately not decided here: which of two subscribers that disagree is right. The first one is believed.
 */
#include "bench/checker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"

enum {
	MISSING_MAX =
		4096, /* remembered per subscriber; beyond that a late message counts as a duplicate */
	SEARCH_MAX = 1 << 13, /* how far the log is searched in each direction on a mismatch */
};

static const uint64_t UNKNOWN = UINT64_MAX;

struct subscriber {
	struct checker_faults faults;
	uint64_t position; /* index of the log's entry that must come next */
	uint64_t
		skipped; /* entries before that which it has not had: were they to come, out of order */
	uint64_t *missing; /* identities; unordered */
	uint32_t missing_count;
};

struct checker {
	enum checker_order order;
	uint32_t publishers;
	uint32_t subscribers;
	struct subscriber *subs;
	uint64_t *next; /* [subscriber][publisher] */
	uint64_t *log;
	size_t log_count;
	size_t log_cap;
};

static uint64_t identity(uint32_t publisher, uint64_t sequence)
{
	return (uint64_t)publisher << CHECKER_SEQUENCE_BITS | sequence;
}

struct checker *checker_create(uint32_t publishers, uint32_t subscribers, enum checker_order order)
{
	assert(publishers > 0 && publishers < 1u << (64 - CHECKER_SEQUENCE_BITS));
	struct checker *c = mem_zalloc(sizeof(*c));
	c->order = order;
	c->publishers = publishers;
	c->subscribers = subscribers;
	c->subs = mem_zalloc(sizeof(*c->subs) * subscribers);
	c->next = mem_zalloc(sizeof(*c->next) * publishers * subscribers);
	return c;
}

void checker_destroy(struct checker *c)
{
	if (c == NULL) {
		return;
	}
	for (uint32_t i = 0; i < c->subscribers; i++) {
		free(c->subs[i].missing);
	}
	free(c->subs);
	free(c->next);
	free(c->log);
	free(c);
}

void checker_join(struct checker *c, uint32_t subscriber)
{
	assert(subscriber < c->subscribers);
	c->subs[subscriber].position = UNKNOWN;
	for (uint32_t i = 0; i < c->publishers; i++) {
		c->next[(size_t)subscriber * c->publishers + i] = UNKNOWN;
	}
}

static void missing_add(struct subscriber *s, uint64_t id)
{
	if (s->missing == NULL) {
		s->missing = mem_alloc(sizeof(*s->missing) * MISSING_MAX);
	}
	if (s->missing_count < MISSING_MAX) {
		s->missing[s->missing_count++] = id;
	}
	s->faults.lost++;
}

static bool missing_has(const struct subscriber *s, uint64_t id)
{
	for (uint32_t i = 0; i < s->missing_count; i++) {
		if (s->missing[i] == id) {
			return true;
		}
	}
	return false;
}

static bool missing_remove(struct subscriber *s, uint64_t id)
{
	for (uint32_t i = s->missing_count; i > 0; i--) {
		if (s->missing[i - 1] == id) {
			s->missing[i - 1] = s->missing[--s->missing_count];
			s->faults.lost--;
			return true;
		}
	}
	return false;
}

/* Question 1 where the number is not the expected one. Returns whether question 2 is still worth asking: a
 * duplicate or a late message has been judged already. */
static bool out_of_sequence(
	struct subscriber *s, uint64_t *next, uint32_t publisher, uint64_t sequence)
{
	if (*next == UNKNOWN) {
		*next = sequence + 1;
		return true;
	}
	if (sequence > *next) {
		uint64_t gap = sequence - *next;
		uint64_t noted = gap < MISSING_MAX ? gap : MISSING_MAX;
		for (uint64_t i = 0; i < noted; i++) {
			missing_add(s, identity(publisher, *next + i));
		}
		s->faults.lost += gap - noted;
		*next = sequence + 1;
		return true;
	}
	if (missing_remove(s, identity(publisher, sequence))) {
		s->faults.reordered++;
		return false;
	}
	s->faults.duplicates++;
	return false;
}

static void log_insert(struct checker *c, size_t at, uint64_t id)
{
	if (c->log_count == c->log_cap) {
		c->log_cap = c->log_cap == 0 ? 1 << 16 : c->log_cap * 2;
		c->log = mem_realloc(c->log, c->log_cap * sizeof(*c->log));
	}
	memmove(c->log + at + 1, c->log + at, (c->log_count - at) * sizeof(*c->log));
	c->log[at] = id;
	c->log_count++;
}

/* The index of `id` from `from` on, at most SEARCH_MAX entries further; log_count where it is not there. */
static size_t search_forward(const struct checker *c, size_t from, uint64_t id)
{
	size_t end = c->log_count - from > SEARCH_MAX ? from + SEARCH_MAX : c->log_count;
	for (size_t i = from; i < end; i++) {
		if (c->log[i] == id) {
			return i;
		}
	}
	return c->log_count;
}

/* Whether the others had this message before those that this subscriber has had already: a fault. */
static bool stood_before(const struct checker *c, struct subscriber *s, uint64_t id)
{
	size_t end = s->position > SEARCH_MAX ? s->position - SEARCH_MAX : 0;
	for (size_t i = s->position; i > end && s->skipped > 0; i--) {
		if (c->log[i - 1] == id) {
			s->skipped--;
			s->faults.disordered++;
			return true;
		}
	}
	return false;
}

/* A subscriber that joined has its first message: its position is wherever that stands. */
static bool find_position(struct checker *c, struct subscriber *s, uint64_t id)
{
	for (size_t i = c->log_count; i > 0; i--) {
		if (c->log[i - 1] == id) {
			s->position = i;
			return true;
		}
	}
	log_insert(c, c->log_count, id);
	s->position = c->log_count;
	return true;
}

/* Question 2 where the log says something else at this subscriber's position. */
static bool diverged(struct checker *c, struct subscriber *s, uint64_t id)
{
	if (s->position == UNKNOWN) {
		return find_position(c, s, id);
	}
	size_t at = search_forward(c, s->position, id);
	if (at < c->log_count) {
		s->skipped += at - s->position;
		s->position = at + 1;
		return true;
	}
	if (stood_before(c, s, id)) {
		return false;
	}
	while (s->position < c->log_count && missing_has(s, c->log[s->position])) {
		s->position++; /* the others had what this one has missed; the new one stands behind that */
		s->skipped++;
	}
	at = s->position;
	log_insert(c, at, id);
	for (uint32_t i = 0; i < c->subscribers; i++) {
		struct subscriber *other = &c->subs[i];
		if (other != s && other->position != UNKNOWN && other->position > at) {
			other->position++;
			other->skipped++; /* should it come after all, it comes out of order */
		}
	}
	s->position = at + 1;
	return true;
}

static bool follow(struct checker *c, struct subscriber *s, uint64_t id)
{
	if (s->position < c->log_count && c->log[s->position] == id) {
		s->position++;
		return true;
	}
	if (s->position == c->log_count) {
		if (stood_before(c, s, id)) {
			return false;
		}
		log_insert(c, c->log_count, id);
		s->position++;
		return true;
	}
	return diverged(c, s, id);
}

bool checker_take(struct checker *c, uint32_t subscriber, uint32_t publisher, uint64_t sequence)
{
	assert(subscriber < c->subscribers);
	struct subscriber *s = &c->subs[subscriber];
	if (publisher >= c->publishers || sequence >> CHECKER_SEQUENCE_BITS != 0) {
		checker_foreign(c, subscriber);
		return false;
	}
	s->faults.received++;
	uint64_t *next = &c->next[(size_t)subscriber * c->publishers + publisher];
	bool in_sequence = *next == sequence;
	if (in_sequence) {
		*next = sequence + 1;
	} else if (!out_of_sequence(s, next, publisher, sequence)) {
		return false;
	}
	if (c->order == CHECKER_TOTAL) {
		return follow(c, s, identity(publisher, sequence)) && in_sequence;
	}
	return in_sequence;
}

void checker_foreign(struct checker *c, uint32_t subscriber)
{
	assert(subscriber < c->subscribers);
	c->subs[subscriber].faults.received++;
	c->subs[subscriber].faults.foreign++;
}

uint64_t checker_next(const struct checker *c, uint32_t subscriber, uint32_t publisher)
{
	assert(subscriber < c->subscribers && publisher < c->publishers);
	return c->next[(size_t)subscriber * c->publishers + publisher];
}

bool checker_is_missing(
	const struct checker *c, uint32_t subscriber, uint32_t publisher, uint64_t sequence)
{
	assert(subscriber < c->subscribers);
	return missing_has(&c->subs[subscriber], identity(publisher, sequence));
}

void checker_expect(struct checker *c, uint32_t publisher, uint64_t count)
{
	assert(publisher < c->publishers);
	for (uint32_t i = 0; i < c->subscribers; i++) {
		uint64_t *next = &c->next[(size_t)i * c->publishers + publisher];
		if (*next != UNKNOWN && *next < count) {
			out_of_sequence(&c->subs[i], next, publisher, count);
			*next = count;
		}
	}
}

bool checker_forgive(struct checker *c, uint32_t subscriber, uint32_t publisher, uint64_t sequence)
{
	assert(subscriber < c->subscribers);
	return missing_remove(&c->subs[subscriber], identity(publisher, sequence));
}

struct checker_faults checker_faults(const struct checker *c, uint32_t subscriber)
{
	assert(subscriber < c->subscribers);
	return c->subs[subscriber].faults;
}

struct checker_faults checker_total(const struct checker *c)
{
	struct checker_faults total = {0};
	for (uint32_t i = 0; i < c->subscribers; i++) {
		checker_add(&total, &c->subs[i].faults);
	}
	return total;
}

void checker_add(struct checker_faults *into, const struct checker_faults *from)
{
	into->received += from->received;
	into->lost += from->lost;
	into->duplicates += from->duplicates;
	into->reordered += from->reordered;
	into->disordered += from->disordered;
	into->foreign += from->foreign;
}

bool checker_is_clean(const struct checker_faults *f)
{
	return f->lost == 0 && f->duplicates == 0 && f->reordered == 0 && f->disordered == 0 &&
	       f->foreign == 0;
}

const uint64_t *checker_log(const struct checker *c, size_t *count)
{
	*count = c->log_count;
	return c->log;
}
