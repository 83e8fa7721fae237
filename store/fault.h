/* RocksDB's error texts, turned into our codes and into sentences for the operator. */
#ifndef MILLRACE_STORE_FAULT_H
#define MILLRACE_STORE_FAULT_H

#include <stddef.h>

/* The code for a text of RocksDB's, negative; -E_IO for what has no place of its own. */
int fault_code(const char *text);

/* Into `why`: what cannot be done in `dir`, for which reason (`detail` in brackets, unless
 * NULL), and what to do about it. `what` is like "be opened". Returns `code`, so that a caller
 * can return it. */
int fault_explain(int code, const char *what, const char *dir, const char *detail, char *why,
	size_t why_size);

#endif
