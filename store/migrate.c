/* From one version of the format to the next.
 *
 * Called by store.c right after a backend is opened; calls the backend and schema.c, which has
 * the versions' history.
 *
 * A step is a function that is shown every key of the old version and puts into a batch what
 * has to change. The batch, with the new version in it, is written whole and synced: a crash
 * leaves the old version or the new one. Steps run one after the other, 1 -> 2 -> 3, so each
 * knows two versions only, and a step is never changed again once released.
 *
 * Going back is not supported: an older program refuses (-E_NEWER). Whoever wants to go back
 * copies the folder first.
 */
#include "store/migrate.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "store/fault.h"
#include "store/schema.h"

typedef int migration_step(struct store_batch *batch, struct slice key, struct slice value);

/* 1 -> 2: positions got `prev`; where it is unknown it is the token itself: "no rows lie
 * between". */
static int add_prev(struct store_batch *batch, struct slice key, struct slice value)
{
	if ((unsigned char)key.data[0] != SCHEMA_POSITION) {
		return OK;
	}
	struct store_position position = {0};
	int err = schema_position_value_1_decode(value, &position.token, &position.wall_ms);
	if (err != OK) {
		return err;
	}
	position.prev = position.token;
	struct bytes updated = {0};
	schema_position_value(&updated, &position);
	batch_put(batch, key, bytes_slice(&updated));
	bytes_finish(&updated);
	return OK;
}

/* By the version that a step starts from. */
static migration_step *const steps[SCHEMA_VERSION] = {
	[1] = add_prev,
};

/* What a look at the first keys tells. */
struct glance {
	bool any_key;
	bool has_version;
	uint32_t version;
};

static int look(void *context, struct slice key, struct slice value)
{
	struct glance *glance = context;
	glance->any_key = true;
	if (!slice_equal(key, schema_version_key())) {
		return -E_CANCELLED; /* the version's key sorts before all others */
	}
	int err = schema_version_decode(value, &glance->version);
	glance->has_version = err == OK;
	return err != OK ? err : -E_CANCELLED;
}

static void put_version(struct store_batch *batch, uint32_t version)
{
	struct bytes value = {0};
	schema_version_value(&value, version);
	batch_put(batch, schema_version_key(), bytes_slice(&value));
	bytes_finish(&value);
}

struct step_run {
	migration_step *step;
	struct store_batch *batch;
};

static int run_step(void *context, struct slice key, struct slice value)
{
	struct step_run *run = context;
	return key.len == 0 ? -E_CORRUPT : run->step(run->batch, key, value);
}

static int step_up(
	struct backend *backend, uint32_t from, const char *dir, char *why, size_t why_size)
{
	struct step_run run = {steps[from], store_batch_create()};
	why[0] = '\0';
	int err = backend->kind->scan(backend, schema_version_key(), run_step, &run, why, why_size);
	if (err == OK) {
		size_t changed = store_batch_count(run.batch);
		put_version(run.batch, from + 1);
		err = backend->kind->write(backend, run.batch, NULL, true, why, why_size);
		if (err == OK) {
			journal(JOURNAL_NOTICE, "store migrated to a newer format",
				"dir=%s from=%" PRIu32 " to=%" PRIu32 " changed=%zu",
				JQ(slice_of(dir)), from, from + 1, changed);
		}
	} else if (why[0] == '\0') {
		fault_explain(err, "be migrated from an older format", dir, NULL, why, why_size);
	}
	store_batch_destroy(run.batch);
	return err;
}

static int write_first_version(struct backend *backend, char *why, size_t why_size)
{
	struct store_batch *batch = store_batch_create();
	put_version(batch, SCHEMA_VERSION);
	int err = backend->kind->write(backend, batch, NULL, true, why, why_size);
	store_batch_destroy(batch);
	return err;
}

static int refuse_newer(uint32_t version, const char *dir, char *why, size_t why_size)
{
	char detail[96];
	snprintf(detail, sizeof(detail),
		"its format is version %" PRIu32 ", and this millraced knows versions up to %d",
		version, SCHEMA_VERSION);
	return fault_explain(-E_NEWER, "be opened", dir, detail, why, why_size);
}

int migrate(struct backend *backend, const char *dir, char *why, size_t why_size)
{
	struct glance glance = {0};
	why[0] = '\0';
	int err =
		backend->kind->scan(backend, (struct slice){NULL, 0}, look, &glance, why, why_size);
	if (err != OK && err != -E_CANCELLED) {
		if (why[0] == '\0') {
			fault_explain(err, "be opened", dir, "its format's version cannot be read",
				why, why_size);
		}
		return err;
	}
	if (!glance.any_key) {
		return write_first_version(backend, why, why_size);
	}
	if (!glance.has_version) {
		return fault_explain(-E_CORRUPT, "be opened", dir,
			"it holds a database, but not one of millrace's", why, why_size);
	}
	if (glance.version > SCHEMA_VERSION) {
		return refuse_newer(glance.version, dir, why, why_size);
	}
	for (uint32_t version = glance.version; version < SCHEMA_VERSION; version++) {
		err = step_up(backend, version, dir, why, why_size);
		if (err != OK) {
			return err;
		}
	}
	return OK;
}
