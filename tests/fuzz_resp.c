/* However the bytes of RESP arrive, whole or in pieces, the requests, and the error that ends them,
 * are the same.
 *
 * The first byte chooses the limits and where the pieces are cut; the rest is the stream.
 */
#include <assert.h>

#include "engine/base/err.h"
#include "engine/protocol/resp.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* What came of a stream, as text to compare: each request's arguments with their lengths, then the
 * error. */
static void note(struct bytes *notes, const struct resp_request *request)
{
	bytes_printf(notes, "%u:", request->argc);
	for (unsigned i = 0; i < request->argc; i++) {
		bytes_printf(notes, "%zu=", request->argv[i].len);
		bytes_append_slice(notes, request->argv[i]);
	}
}

/* `step` bytes at a time; 0: all at once. */
static void run(
	struct slice stream, const struct resp_limits *limits, size_t step, struct bytes *notes)
{
	struct resp_parser parser = {0};
	size_t begin = 0;
	size_t end = step == 0 ? stream.len : 0;
	for (;;) {
		struct resp_request request;
		size_t consumed = 0;
		const char *error = NULL;
		struct slice part = {stream.data + begin, end - begin};
		int err = resp_parse(&parser, limits, part, &request, &consumed, &error);
		if (err == OK) {
			assert(consumed > 0 && consumed <= part.len);
			note(notes, &request);
			begin += consumed;
			resp_parser_finish(&parser);
		} else if (err != -E_AGAIN) {
			assert(err == -E_SYNTAX || err == -E_TOO_LONG);
			assert(error != NULL);
			bytes_printf(notes, "!%d %s", err, error);
			break;
		} else if (end == stream.len) {
			break;
		} else {
			end = stream.len - end < step ? stream.len : end + step;
		}
	}
	resp_parser_finish(&parser);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	if (size < 1) {
		return 0;
	}
	struct resp_limits limits = {
		.bulk_bytes_max = (data[0] & 1) != 0 ? 32 : 512 * 1024,
		.inline_bytes_max = (data[0] & 2) != 0 ? 64 : 64 * 1024,
		.args_max = (data[0] & 4) != 0 ? 8 : 1024 * 1024,
		.stranger = (data[0] & 8) != 0,
	};
	struct slice stream = {(const char *)data + 1, size - 1};
	struct bytes whole = {0};
	struct bytes pieces = {0};
	run(stream, &limits, 0, &whole);
	run(stream, &limits, (size_t)(data[0] >> 4) + 1, &pieces);
	assert(slice_equal(bytes_slice(&whole), bytes_slice(&pieces)));
	bytes_finish(&whole);
	bytes_finish(&pieces);
	return 0;
}
