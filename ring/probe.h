/* Whether this kernel lets us use io_uring, and if not, what would help. */
#ifndef MILLRACE_RING_PROBE_H
#define MILLRACE_RING_PROBE_H

#include <stddef.h>

enum { PROBE_WHY_MAX = 320 };

/* Try io_uring as the ring uses it, on a pair of sockets; takes some 100 µs.
 * errors: -E_UNSUPPORTED.
 * out:    `why`, PROBE_WHY_MAX bytes: one sentence, on success too; on failure with the remedy. */
int probe_uring(char *why);

#endif
