/* Messages from publishers to subscribers, many ways: the scenarios `fan`, `ping`, `tenants` and `stall`.
 */
#ifndef MILLRACE_BENCH_FLOW_H
#define MILLRACE_BENCH_FLOW_H

#include "bench/options.h"

/* Run one scenario, print its result. Returns the exit status: 0 good, 1 a check failed, 2 it could not run. */
int flow_fan(const struct options *o);     /* P publishers to S subscribers on one channel */
int flow_ping(const struct options *o);    /* one message at a time, 1 to 1 */
int flow_tenants(const struct options *o); /* T channels with S subscribers each */
int flow_stall(const struct options
		*o); /* as fan, first without, then with a subscriber that never reads */

#endif
