/* Recordings of real Synapse processes, in fixtures/: read line by line. Access tokens and
 * addresses are masked in them.
 *
 *     line-1.15.txt, line-1.66.txt   a main and its workers on the line protocol, seen by a proxy:
 *                                    "<seconds> c<n> M>W|W>M <line>$", or "## <title>", or
 *                                    "<seconds> ** c<n> <what happened>"
 *     resp-1.160.tsv                 PUBLISHes of a main and seven workers: seconds, connection,
 *                                    channel, payload
 */
#ifndef MILLRACE_TESTS_RECORDING_H
#define MILLRACE_TESTS_RECORDING_H

#include <ctype.h>

#include "engine/base/bytes.h"
#include "tests/unit.h"

struct recording {
	char *text;
	struct slice rest;
};

struct recorded_line {
	double seconds;
	unsigned connection; /* 0: a remark; `text` has it */
	bool from_worker;
	struct slice text;
};

struct recorded_publish {
	double seconds;
	unsigned connection;
	struct slice channel, text;
};

__attribute__((unused)) static void recording_open(struct recording *r, const char *file)
{
	char path[500];
	snprintf(path, sizeof(path), "%s/fixtures/%s", TESTS_DIR, file);
	FILE *f = fopen(path, "r");
	UNIT_REQUIRE(f != NULL);
	fseek(f, 0, SEEK_END);
	size_t len = (size_t)ftell(f);
	rewind(f);
	r->text = malloc(len + 1);
	UNIT_REQUIRE(fread(r->text, 1, len, f) == len);
	r->text[len] = '\0';
	fclose(f);
	r->rest = (struct slice){r->text, len};
}

__attribute__((unused)) static void recording_close(struct recording *r)
{
	free(r->text);
}

__attribute__((unused)) static bool recording_next(struct recording *r, struct recorded_line *out)
{
	while (r->rest.len > 0) {
		struct slice line = slice_cut(&r->rest, '\n');
		if (line.len == 0 || !isdigit((unsigned char)line.data[0])) {
			*out = (struct recorded_line){.text = line};
			return true;
		}
		struct slice seconds = slice_cut(&line, ' ');
		struct slice connection = slice_cut(&line, ' ');
		out->seconds = strtod(seconds.data, NULL);
		out->connection = 0;
		out->text = line;
		if (connection.data[0] != 'c') {
			return true;
		}
		out->connection = (unsigned)strtoul(connection.data + 1, NULL, 10);
		out->from_worker = slice_equal(slice_cut(&line, ' '), SLICE("W>M"));
		UNIT_REQUIRE(line.len > 0 && line.data[line.len - 1] == '$');
		out->text = (struct slice){line.data, line.len - 1};
		return true;
	}
	return false;
}

__attribute__((unused)) static bool recording_next_publish(
	struct recording *r, struct recorded_publish *out)
{
	if (r->rest.len == 0) {
		return false;
	}
	struct slice line = slice_cut(&r->rest, '\n');
	out->seconds = strtod(slice_cut(&line, '\t').data, NULL);
	out->connection = (unsigned)strtoul(slice_cut(&line, '\t').data, NULL, 10);
	out->channel = slice_cut(&line, '\t');
	out->text = line;
	return true;
}

#endif
