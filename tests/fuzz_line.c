/* However the bytes of the line protocol arrive, the lines, and the error that ends them, are the
 * same; and each line's command is parsed into parts that lie within it.
 *
 * The first byte chooses the limit and where the pieces are cut; the rest is the stream.
 */
#include <assert.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/protocol/line.h"
#include "engine/replication/command.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check_within(struct slice part, struct slice line)
{
	assert(part.len == 0 ||
		(part.data >= line.data && part.data + part.len <= line.data + line.len));
}

static void check_command(struct slice line)
{
	struct command command;
	const char *why = NULL;
	int err = command_parse(line, &command, &why);
	assert(err == OK || (err == -E_SYNTAX && why != NULL && strpbrk(why, "\r\n") == NULL));
	assert((unsigned)command.name < CMD_COUNT);
	assert(slice_equal(command.line, line));
	check_within(command.word, line);
	check_within(command.rest, line);
	if (err == OK) {
		check_within(command.stream, line);
		check_within(command.instance, line);
		check_within(command.row, line);
		check_within(command.instance_id, line);
		check_within(command.user, line);
		check_within(command.device, line);
	}
}

/* `step` bytes at a time; 0: all at once. */
static void run(struct slice stream, size_t length_max, size_t step, struct bytes *notes)
{
	struct line_parser parser = {0};
	size_t begin = 0;
	size_t end = step == 0 ? stream.len : 0;
	for (;;) {
		struct slice line = {NULL, 0};
		size_t consumed = 0;
		struct slice part = {stream.data + begin, end - begin};
		int err = line_parse(&parser, part, length_max, &line, &consumed);
		assert(consumed <= part.len);
		if (err == OK) {
			assert(line.len > 0 && line.len <= length_max && line_is_utf8(line));
			assert(memchr(line.data, '\n', line.len) == NULL);
			bytes_append_slice(notes, line);
			bytes_append(notes, "\n", 1);
			check_command(line);
			begin += consumed;
		} else if (err != -E_AGAIN) {
			assert(err == -E_SYNTAX || err == -E_TOO_LONG);
			bytes_printf(notes, "!%d", err);
			break;
		} else {
			begin += consumed;
			if (end == stream.len) {
				break;
			}
			end = stream.len - end < step ? stream.len : end + step;
		}
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	if (size < 1) {
		return 0;
	}
	size_t length_max = (data[0] & 1) != 0 ? 40 : 16384;
	struct slice stream = {(const char *)data + 1, size - 1};
	struct bytes whole = {0};
	struct bytes pieces = {0};
	run(stream, length_max, 0, &whole);
	run(stream, length_max, (size_t)(data[0] >> 1) + 1, &pieces);
	assert(slice_equal(bytes_slice(&whole), bytes_slice(&pieces)));
	bytes_finish(&whole);
	bytes_finish(&pieces);
	return 0;
}
