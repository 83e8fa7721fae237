/* The backend on io_uring. */
#ifndef MILLRACE_RING_PROACTOR_H
#define MILLRACE_RING_PROACTOR_H

#include "ring/backend.h"

const struct backend *proactor_backend(void);

#endif
