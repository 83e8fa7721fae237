/* The format's version of an opened store: written if it is new, checked, and brought up to
 * date. */
#ifndef MILLRACE_STORE_MIGRATE_H
#define MILLRACE_STORE_MIGRATE_H

#include "store/backend.h"

/* Make the store's format SCHEMA_VERSION, or say why not. Before anything else is read or
 * written.
 * errors: -E_NEWER; -E_CORRUPT: not a store of ours, or damaged; the backend's; all with `why`.
 *         Then nothing was changed. */
int migrate(struct backend *backend, const char *dir, char *why, size_t why_size);

#endif
