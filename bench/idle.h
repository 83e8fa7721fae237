/* What connections cost where nothing happens: the scenario `idle`.
 */
#ifndef MILLRACE_BENCH_IDLE_H
#define MILLRACE_BENCH_IDLE_H

#include "bench/options.h"

/* Run it, print the result; exit status as flow_fan(). */
int idle_run(const struct options *o);

#endif
