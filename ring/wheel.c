/* A hierarchical timing wheel of milliseconds.
 *
 * Used by a shard's loop (how long may I sleep, whom do I call now) and by whoever embeds a `struct
 * wheel_timer`; calls nothing but the timers' functions.
 *
 * Eight levels of 64 lists. A timer lies at the level of the highest group of six bits in which its
 * due millisecond differs from the wheel's, in the list that those six bits number:
 *
 *     due   … 000000 000010 011101 000110      level 2, list 2: the third group is the first to
 * differ now   … 000000 000000 110001 010101
 *
 * So all of level 0 comes before all of level 1, and within a level the lower list comes first: one
 * bit set per level finds the next list in a few instructions, empty stretches are jumped over, and
 * when the wheel arrives at the beginning of a list of a higher level, its timers are dealt out
 * again further down.
 *
 * Invariants: a timer's list follows from `place_ms` alone, the due time or, where that had passed
 * when it was set, the wheel's; no list begins before now_ms; a bit is set exactly when its list is
 * not empty.
 *
 * What a timer's function sets for a time that the running wheel_advance() has reached waits in
 * `late` for the next one, so that a timer which always sets itself "now" cannot hold the caller
 * for ever.
 *
 * Not done: order among timers of one millisecond, slack, and time before the wheel's own.
 *
 * Source of the idea: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", 1987,
 * scheme 7.
 */
#include "ring/wheel.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "engine/base/bytes.h"

enum {
	GROUP_BITS = 6,
	LISTS = 1 << GROUP_BITS,
	LEVELS = 8,  /* 48 bits of milliseconds: all that 64 bits of nanoseconds can say */
	PEEK_MAX = 4 /* so many timers of a list are looked at for its true first */
};

_Static_assert(UINT64_MAX / 1000000u < (UINT64_C(1) << (GROUP_BITS * LEVELS)),
	"every due time has a level");

struct wheel {
	uint64_t now_ms;
	uint64_t filled[LEVELS]; /* a bit for every list that is not empty */
	struct wheel_timer *list[LEVELS][LISTS];
	struct wheel_timer *late; /* set by a timer's function, due not after target_ms */
	uint64_t target_ms;       /* while calling: where this advance ends */
	bool calling;
};

struct wheel *wheel_create(uint64_t now_ns)
{
	struct wheel *wheel = mem_zalloc(sizeof(*wheel));
	wheel->now_ms = now_ns / 1000000u;
	return wheel;
}

void wheel_destroy(struct wheel *wheel)
{
	free(wheel);
}

bool wheel_is_set(const struct wheel_timer *timer)
{
	return timer->link != NULL;
}

static void push(struct wheel_timer **head, struct wheel_timer *timer)
{
	timer->next = *head;
	timer->link = head;
	if (timer->next != NULL) {
		timer->next->link = &timer->next;
	}
	*head = timer;
}

static void unlink_timer(struct wheel_timer *timer)
{
	*timer->link = timer->next;
	if (timer->next != NULL) {
		timer->next->link = timer->link;
	}
	timer->next = NULL;
	timer->link = NULL;
}

static void place(struct wheel *wheel, struct wheel_timer *timer)
{
	uint64_t place_ms = timer->due_ms > wheel->now_ms ? timer->due_ms : wheel->now_ms;
	uint64_t differs = place_ms ^ wheel->now_ms;
	unsigned level = differs == 0 ? 0 : (63u - (unsigned)__builtin_clzll(differs)) / GROUP_BITS;
	unsigned index = (place_ms >> (level * GROUP_BITS)) & (LISTS - 1);
	push(&wheel->list[level][index], timer);
	wheel->filled[level] |= UINT64_C(1) << index;
}

void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t due_ns)
{
	assert(timer->expired != NULL);
	wheel_cancel(wheel, timer);
	timer->due_ms = due_ns / 1000000u + (due_ns % 1000000u != 0);
	if (wheel->calling && timer->due_ms <= wheel->target_ms) {
		push(&wheel->late, timer);
	} else {
		place(wheel, timer);
	}
}

void wheel_cancel(struct wheel *wheel, struct wheel_timer *timer)
{
	struct wheel_timer **head = timer->link;
	if (head == NULL) {
		return;
	}
	unlink_timer(timer);
	struct wheel_timer **first = &wheel->list[0][0];
	if (*head == NULL && head >= first && head < first + LEVELS * LISTS) {
		unsigned index = (unsigned)(head - first);
		wheel->filled[index / LISTS] &= ~(UINT64_C(1) << (index % LISTS));
	}
}

/* Empties a list of the wheel into `*out`, which the caller keeps still while it is not empty. */
static void take(struct wheel *wheel, unsigned level, unsigned index, struct wheel_timer **out)
{
	*out = wheel->list[level][index];
	if (*out != NULL) {
		(*out)->link = out;
	}
	wheel->list[level][index] = NULL;
	wheel->filled[level] &= ~(UINT64_C(1) << index);
}

/* The first list that has a timer: its beginning in `*begins_ms`. */
static bool find_first(
	const struct wheel *wheel, unsigned *level, unsigned *index, uint64_t *begins_ms)
{
	for (unsigned l = 0; l < LEVELS; l++) {
		if (wheel->filled[l] == 0) {
			continue;
		}
		unsigned shift = l * GROUP_BITS;
		*level = l;
		*index = (unsigned)__builtin_ctzll(wheel->filled[l]);
		*begins_ms = (wheel->now_ms >> shift >> GROUP_BITS << GROUP_BITS | *index) << shift;
		return true;
	}
	return false;
}

static unsigned call_all(struct wheel_timer **due, uint64_t now_ns)
{
	unsigned called = 0;
	while (*due != NULL) {
		struct wheel_timer *timer = *due;
		unlink_timer(timer);
		called++;
		timer->expired(timer, now_ns);
	}
	return called;
}

unsigned wheel_advance(struct wheel *wheel, uint64_t now_ns)
{
	assert(!wheel->calling);
	wheel->target_ms = now_ns / 1000000u;
	unsigned level, index, called = 0;
	uint64_t begins_ms;
	wheel->calling = true;
	while (find_first(wheel, &level, &index, &begins_ms) && begins_ms <= wheel->target_ms) {
		assert(begins_ms >= wheel->now_ms);
		wheel->now_ms = begins_ms;
		struct wheel_timer *taken;
		take(wheel, level, index, &taken);
		if (level == 0) {
			called += call_all(&taken, now_ns);
			continue;
		}
		while (taken != NULL) {
			struct wheel_timer *timer = taken;
			unlink_timer(timer);
			place(wheel, timer);
		}
	}
	wheel->calling = false;
	if (wheel->target_ms > wheel->now_ms) {
		wheel->now_ms = wheel->target_ms;
	}
	while (wheel->late != NULL) {
		struct wheel_timer *timer = wheel->late;
		unlink_timer(timer);
		place(wheel, timer);
	}
	return called;
}

/* The due time of a short list's first timer; of a long one the beginning, which is not after it.
 */
static uint64_t first_due_ms(const struct wheel_timer *list, uint64_t begins_ms)
{
	uint64_t first_ms = UINT64_MAX;
	unsigned looked_at = 0;
	for (const struct wheel_timer *timer = list; timer != NULL; timer = timer->next) {
		if (++looked_at > PEEK_MAX) {
			return begins_ms;
		}
		first_ms = timer->due_ms < first_ms ? timer->due_ms : first_ms;
	}
	return first_ms;
}

uint64_t wheel_next_ns(const struct wheel *wheel, uint64_t now_ns)
{
	unsigned level, index;
	uint64_t begins_ms;
	if (!find_first(wheel, &level, &index, &begins_ms)) {
		return wheel->late != NULL ? 0 : UINT64_MAX;
	}
	uint64_t first_ms = begins_ms;
	if (level > 0) {
		first_ms = first_due_ms(wheel->list[level][index], begins_ms);
	}
	if (first_ms > UINT64_MAX / 1000000u) {
		return UINT64_MAX - 1;
	}
	uint64_t first_ns = first_ms * 1000000u;
	return first_ns > now_ns ? first_ns - now_ns : 0;
}
