/* Without a disk: the second kind, and the second subject of the contract tests.
 *
 * Called by store.c only. Reads back nothing, accepts everything, fails never. Because it says
 * `keeps_nothing`, store.c starts no thread for it, and write and sync are never called.
 */
#include "store/none.h"

#include <stdlib.h>

#include "engine/base/err.h"

static int none_open(
	const struct store_options *options, struct backend **out, char *why, size_t why_size)
{
	(void)options;
	(void)why;
	(void)why_size;
	*out = mem_zalloc(sizeof(struct backend));
	return OK;
}

static void none_close(struct backend *backend)
{
	free(backend);
}

static int none_scan(struct backend *backend, struct slice from, backend_visit *visit,
	void *context, char *why, size_t why_size)
{
	(void)backend;
	(void)from;
	(void)visit;
	(void)context;
	(void)why;
	(void)why_size;
	return OK;
}

static const struct backend_kind kind = {
	.name = "none",
	.keeps_nothing = true,
	.open = none_open,
	.close = none_close,
	.scan = none_scan,
};

const struct backend_kind *none_kind(void)
{
	return &kind;
}
