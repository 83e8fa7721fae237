/* The machine, as far as the hub asks about it: memory, CPU, randomness. Calls the kernel; belongs to main.c's floor. */
#ifndef MILLRACE_HOST_H
#define MILLRACE_HOST_H

#include "engine/hub/hub.h"

const struct host *host_of_this_machine(void);

#endif
