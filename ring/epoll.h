/* The backend on epoll. */
#ifndef MILLRACE_RING_EPOLL_H
#define MILLRACE_RING_EPOLL_H

#include "ring/backend.h"

const struct backend *epoll_backend(void);

#endif
