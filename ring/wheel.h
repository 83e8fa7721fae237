/* Timers: many deadlines, one clock, no system call.
 *
 * A hierarchical wheel of milliseconds. The caller embeds `struct wheel_timer`, owns its memory, and asks
 * wheel_next_ns() how long it may sleep. Time comes in as an argument, so it runs in the simulator as it
 * stands. Not thread-safe: one wheel per shard.
 */
#ifndef MILLRACE_RING_WHEEL_H
#define MILLRACE_RING_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

struct wheel;

struct wheel_timer {
	struct wheel_timer *next, **link; /* link NULL: not set */
	uint64_t due_ms;
	void (*expired)(struct wheel_timer *timer, uint64_t now_ns);
};

/* owner: wheel_destroy(NULL) is fine; timers still set are forgotten, not freed. */
struct wheel *wheel_create(uint64_t now_ns);
void wheel_destroy(struct wheel *wheel);

/* Set, or set anew: `expired` is called once, by the first wheel_advance() at or after `due_ns` (rounded up
 * to a millisecond). It may set and cancel timers, itself included. O(1). */
void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t due_ns);
void wheel_cancel(struct wheel *wheel, struct wheel_timer *timer); /* a timer not set is fine */
bool wheel_is_set(const struct wheel_timer *timer);

/* Call every timer that is due, in order of their milliseconds. Returns how many. */
unsigned wheel_advance(struct wheel *wheel, uint64_t now_ns);

/* How long until the next timer may be due, from now_ns; UINT64_MAX when none is set. Never later than
 * the truth, sometimes earlier. */
uint64_t wheel_next_ns(const struct wheel *wheel, uint64_t now_ns);

#endif
