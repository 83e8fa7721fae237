/* A recording of Synapse's replication played through a server: the scenario `replay`.
 */
#ifndef MILLRACE_BENCH_REPLAY_H
#define MILLRACE_BENCH_REPLAY_H

#include "bench/options.h"

/* Run it, print the result; exit status as flow_fan(). */
int replay_run(const struct options *o);

#endif
