/* The kind of store that keeps nothing: `store none`. */
#ifndef MILLRACE_STORE_NONE_H
#define MILLRACE_STORE_NONE_H

#include "store/backend.h"

const struct backend_kind *none_kind(void);

#endif
