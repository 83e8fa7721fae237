/* The options of every subcommand, from one table.
 *
 * Called by main.c. An option that a subcommand does not have is accepted and ignored: scripts may pass one set to
 * all of them. The table's column `verbs` says who reads it.
 */
#include "bench/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stamp.h"
#include "engine/base/err.h"

enum kind { STRING, NUMBER, REAL, FLAG };

struct row {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *fallback;
	double min, max;
	const char *verbs; /* "" is all */
	const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct row rows[] = {
	{"host", STRING, AT(host), "127.0.0.1", 0, 0, "",
		"where the server listens, a numeric address"},
	{"port", NUMBER, AT(port), "6380", 1, 65535, "", "its port for RESP or NATS"},
	{"line-port", NUMBER, AT(line_port), "9092", 1, 65535, "",
		"its port for the line protocol"},
	{"socket", STRING, AT(unix_path), NULL, 0, 0, "", "a unix socket instead of host and port"},
	{"line-socket", STRING, AT(line_path), NULL, 0, 0, "", "the same for the line protocol"},
	{"pid", NUMBER, AT(pid), "0", 0, 4194304, "",
		"the server's process; found by its listening socket if not given"},
	{"user", STRING, AT(user), NULL, 0, 0, "", "for AUTH"},
	{"password", STRING, AT(password), NULL, 0, 0, "", "for AUTH"},
	{"label", STRING, AT(label), "", 0, 0, "", "a name for the server in the output"},
	{"proto", STRING, AT(proto), "resp2", 0, 0, "fan ping tenants stall idle storm",
		"what subscribers speak: resp2, resp3, line or nats"},
	{"pub-proto", STRING, AT(pub_proto), NULL, 0, 0, "fan ping tenants stall",
		"what publishers speak: as --proto, but resp2 instead of line"},
	{"channel", STRING, AT(channel), "bench", 0, 0, "fan ping stall storm",
		"the channel; for line the server-name that its listener serves"},
	{"publishers", NUMBER, AT(publishers), "1", 1, 9999, "fan tenants stall",
		"how many publish"},
	{"subscribers", NUMBER, AT(subscribers), "50", 1, 100000, "fan tenants stall",
		"how many listen, to each channel"},
	{"idle", NUMBER, AT(idle), "0", 0, 100000, "fan idle",
		"further subscribers, to a channel where nothing happens"},
	{"tenants", NUMBER, AT(tenants), "200", 1, 100000, "tenants", "how many channels"},
	{"size", NUMBER, AT(size_bytes), "200", STAMP_SIZE_MIN, STAMP_SIZE_MAX,
		"fan ping tenants stall cache", "bytes of a payload or a value"},
	{"window", NUMBER, AT(window), "2048", 1, 1 << 20, "fan tenants stall replay",
		"messages under way: published, but not yet at all their subscribers"},
	{"rate", REAL, AT(rate), "0", 0, 1e8, "fan ping tenants stall",
		"publish so many a second, however far the server is; 0: as the window allows"},
	{"clients", NUMBER, AT(clients), "20", 1, 10000, "cache", "connections"},
	{"pipeline", NUMBER, AT(pipeline), "16", 1, 10000, "cache", "commands in one write"},
	{"workers", NUMBER, AT(workers), "50", 1, 5000, "storm",
		"Synapse processes that restart at once"},
	{"seed", NUMBER, AT(seed), "1", 0, 1e15, "cache", "of the random choices"},
	{"capture", STRING, AT(capture), NULL, 0, 0, "replay",
		"a recording (plain or .xz) instead of the built-in one"},
	{"resp2", NUMBER, AT(resp2), "20", 0, 10000, "replay", "subscribers that speak RESP2"},
	{"resp3", NUMBER, AT(resp3), "20", 0, 10000, "replay", "... RESP3"},
	{"line", NUMBER, AT(line), "0", 0, 10000, "replay", "... the line protocol"},
	{"speed", REAL, AT(speed), "0", 0, 1e6, "replay",
		"1: as recorded; 10: ten times faster; 0: as the window allows"},
	{"repeat", NUMBER, AT(repeat), "1", 1, 1000, "replay",
		"play the recording so often in a row"},
	{"absorbing", FLAG, AT(absorbing), NULL, 0, 0, "replay storm",
		"the server may answer REPLICATE itself and leave out POSITIONs: no losses"},
	{"seconds", REAL, AT(seconds), "3", 0.05, 3600, "fan ping tenants stall cache idle",
		"how long is measured"},
	{"warmup", REAL, AT(warmup), "0.3", 0, 60, "fan ping tenants stall cache",
		"load before that, not measured"},
	{"deadline", REAL, AT(deadline), "60", 0.1, 86400, "replay storm",
		"give up after so many seconds"},
	{"any-order", FLAG, AT(any_order), NULL, 0, 0, "fan ping tenants stall",
		"check each publisher's order only (always so with nats, which promises no more)"},
	{"json", FLAG, AT(json), NULL, 0, 0, "", "one JSON object instead of a line for people"},
	{"brief", FLAG, AT(brief), NULL, 0, 0, "", "a shorter line for people"},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static void *field(struct options *o, const struct row *row)
{
	return (char *)o + row->offset;
}

static int assign(struct options *o, const struct row *row, const char *text)
{
	if (row->kind == STRING) {
		*(const char **)field(o, row) = text;
		return OK;
	}
	if (row->kind == FLAG) {
		*(bool *)field(o, row) = true;
		return OK;
	}
	char *end = NULL;
	errno = 0;
	double value = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0') {
		fprintf(stderr, "millrace-bench: --%s: `%s` is not a number\n", row->name, text);
		return -E_SYNTAX;
	}
	if (!(value >= row->min && value <= row->max)) {
		fprintf(stderr, "millrace-bench: --%s: %s is not between %g and %g\n", row->name,
			text, row->min, row->max);
		return -E_RANGE;
	}
	if (row->kind == NUMBER) {
		*(uint64_t *)field(o, row) = (uint64_t)value;
	} else {
		*(double *)field(o, row) = value;
	}
	return OK;
}

void options_init(struct options *o)
{
	*o = (struct options){0};
	for (unsigned i = 0; i < ROWS; i++) {
		if (rows[i].fallback != NULL) {
			assign(o, &rows[i], rows[i].fallback);
		}
	}
}

static const struct row *find(const char *name, size_t len)
{
	for (unsigned i = 0; i < ROWS; i++) {
		if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0) {
			return &rows[i];
		}
	}
	return NULL;
}

static void derive(struct options *o)
{
	if (o->unix_path != NULL) {
		snprintf(o->address, sizeof(o->address), "unix:%s", o->unix_path);
	} else {
		snprintf(o->address, sizeof(o->address), "%s:%u", o->host, (unsigned)o->port);
	}
	if (o->line_path != NULL) {
		snprintf(o->line_address, sizeof(o->line_address), "unix:%s", o->line_path);
	} else {
		snprintf(o->line_address, sizeof(o->line_address), "%s:%u", o->host,
			(unsigned)o->line_port);
	}
	if (o->pub_proto == NULL) {
		o->pub_proto = strcmp(o->proto, "line") == 0 ? "resp2" : o->proto;
	}
}

int options_parse(struct options *o, int argc, char **argv, int first)
{
	for (int i = first; i < argc; i++) {
		const char *word = argv[i];
		if (strncmp(word, "--", 2) != 0) {
			fprintf(stderr, "millrace-bench: `%s` is not an option\n", word);
			return -E_SYNTAX;
		}
		const char *equals = strchr(word, '=');
		size_t len = equals == NULL ? strlen(word + 2) : (size_t)(equals - word - 2);
		const struct row *row = find(word + 2, len);
		if (row == NULL) {
			fprintf(stderr, "millrace-bench: unknown option %s\n", word);
			return -E_UNKNOWN;
		}
		const char *value = equals == NULL ? NULL : equals + 1;
		if (value == NULL && row->kind != FLAG) {
			if (++i == argc) {
				fprintf(stderr, "millrace-bench: %s needs a value\n", word);
				return -E_SYNTAX;
			}
			value = argv[i];
		}
		int rc = assign(o, row, value);
		if (rc != OK) {
			return rc;
		}
	}
	derive(o);
	return OK;
}

/* Whether `verb` is one of the blank-separated words of `verbs`. */
static bool has_word(const char *verbs, const char *verb)
{
	size_t len = strlen(verb);
	for (const char *at = strstr(verbs, verb); at != NULL; at = strstr(at + 1, verb)) {
		bool begins = at == verbs || at[-1] == ' ';
		if (begins && (at[len] == ' ' || at[len] == '\0')) {
			return true;
		}
	}
	return false;
}

void options_help(const char *verb)
{
	for (unsigned i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];
		if (verb != NULL && *row->verbs != '\0' && !has_word(row->verbs, verb)) {
			continue;
		}
		const char *value = row->kind == FLAG ? "" : row->kind == STRING ? " TEXT" : " N";
		printf("  --%s%s%*s%s", row->name, value,
			(int)(20 - strlen(row->name) - strlen(value)), "", row->help);
		if (row->fallback != NULL && *row->fallback != '\0') {
			printf(" (%s)", row->fallback);
		}
		printf("\n");
	}
}
