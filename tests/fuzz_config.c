/* Any file is a configuration or a sentence; what was read can be written, and reads back as the
 * same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/hub/config.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct file {
	const void *data;
	size_t len;
	unsigned reads;
};

/* Every name is this file, so that it may include itself. */
static int read_it(void *context, const char *path, struct bytes *out, char *why)
{
	struct file *file = context;
	(void)path;
	if (file->reads++ > 20) {
		strcpy(why, "enough");
		return -E_GONE;
	}
	bytes_append(out, file->data, file->len);
	return OK;
}

static int read_from(struct config *config, const void *data, size_t len)
{
	char why[CONFIG_WHY_MAX] = "";
	struct file file = {data, len, 0};
	struct config_source source = {read_it, NULL, &file};
	config_init(config);
	int err = config_read_file(config, "fuzz.conf", &source, why);
	assert(err <= 0 && (err == OK) == (why[0] == '\0'));
	config_check(config, why);
	return err;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct config config;
	struct config again;
	struct bytes first = {0};
	struct bytes second = {0};
	read_from(&config, data, size);
	config.requirepass[0] = '\0'; /* it is written as asterisks */
	config_write(&config, &first);
	int err = read_from(&again, first.data, first.len);
	assert(err == OK);
	config_write(&again, &second);
	assert(slice_equal(bytes_slice(&first), bytes_slice(&second)));
	bytes_finish(&first);
	bytes_finish(&second);
	config_finish(&config);
	config_finish(&again);
	return 0;
}
