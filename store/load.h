/* Tell a loader what a key and its value say. */
#ifndef MILLRACE_STORE_LOAD_H
#define MILLRACE_STORE_LOAD_H

#include "store/store.h"

/* Call the loader's function for this kind, if it has one.
 * errors: -E_CORRUPT for a key or value that is not of this format. */
int load_tell(const struct store_loader *loader, struct slice key, struct slice value);

#endif
