/* A filter: the channels of one tenant that a connection is subscribed to.
 *
 * A sorted set of channel numbers, counted by reference: a backlog that was left under the old subscriptions keeps the
 * old filter. One number is the common case and costs one comparison.
 */
#ifndef MILLRACE_FANOUT_FILTER_H
#define MILLRACE_FANOUT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

struct filter {
	uint32_t references;
	uint32_t count, cap;
	uint32_t channel[]; /* ascending */
};

struct filter *filter_create(void);
struct filter *filter_share(struct filter *filter);
void filter_release(struct filter *filter); /* NULL is fine */

uint32_t filter_bytes(const struct filter *filter); /* of memory */
bool filter_has(const struct filter *filter, uint32_t channel);
/* Add or take away one number. The filter may be another object afterwards: a shared one is copied first. False: it was
 * there (not there) already. */
bool filter_add(struct filter **filter, uint32_t channel);
bool filter_remove(struct filter **filter, uint32_t channel);

#endif
