/* SET and GET, 20 to 80, pipelined: the scenario `cache`.
 */
#ifndef MILLRACE_BENCH_CACHE_H
#define MILLRACE_BENCH_CACHE_H

#include "bench/options.h"

/* Run it, print the result; exit status as flow_fan(). */
int cache_run(const struct options *o);

#endif
