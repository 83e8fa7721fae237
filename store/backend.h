/* What a kind of store has to be able to do, for store.c.
 *
 * open, scan, close: on the thread that opens and closes the store; the rest on the store's
 * thread. Never two at once.
 */
#ifndef MILLRACE_STORE_BACKEND_H
#define MILLRACE_STORE_BACKEND_H

#include "store/batch.h"

/* Each kind's own struct begins with this. */
struct backend {
	const struct backend_kind *kind;
};

/* One key and its value; they live for the call. Anything but 0 ends the scan, and is what the
 * scan returns. */
typedef int backend_visit(void *context, struct slice key, struct slice value);

struct backend_kind {
	const char *name;
	/* Nothing is kept: a batch is done when it is handed over, and nobody needs a thread. */
	bool keeps_nothing;

	/* errors: store_open()'s, with a sentence in `why`. */
	int (*open)(const struct store_options *options, struct backend **out, char *why,
		size_t why_size);
	void (*close)(struct backend *backend);

	/* Every key from `from` on, in order. errors: -E_CORRUPT, -E_IO, with `why`; the
	 * visitor's, without. */
	int (*scan)(struct backend *backend, struct slice from, backend_visit *visit, void *context,
		char *why, size_t why_size);

	/* The batches of the list from `first` up to and without `end`, all or none, in order;
	 * with `sync` they are on the disk on return. After a failure the same batches come
	 * again, first, until they are written: a part that got through earlier must do no
	 * harm.
	 * errors: -E_NOSPACE, -E_READONLY, -E_NOT_ALLOWED, -E_CORRUPT, -E_IO, with `why`. */
	int (*write)(struct backend *backend, const struct store_batch *first,
		const struct store_batch *end, bool sync, char *why, size_t why_size);

	/* Everything written is on the disk on return. errors: as write. */
	int (*sync)(struct backend *backend, char *why, size_t why_size);

	void (*measure)(struct backend *backend, uint64_t *disk_bytes, uint64_t *memory_bytes);
};

/* Open a store on this kind, whatever options->kind says; store_open() is this with the kind
 * looked up. Tests bring kinds of their own. */
int store_open_kind(const struct store_options *options, const struct backend_kind *kind,
	struct store **out, char *why, size_t why_size);

#endif
