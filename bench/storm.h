/* Every process of a large Synapse restarts at once: the scenario `storm`.
 */
#ifndef MILLRACE_BENCH_STORM_H
#define MILLRACE_BENCH_STORM_H

#include "bench/options.h"

/* Run it, print the result; exit status as flow_fan(). */
int storm_run(const struct options *o);

#endif
