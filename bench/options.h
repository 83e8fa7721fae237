/* What a run of millrace-bench was told: one table of options for all subcommands.
 */
#ifndef MILLRACE_BENCH_OPTIONS_H
#define MILLRACE_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	/* the server */
	const char *host;
	uint64_t port;
	uint64_t line_port;
	const char *unix_path;
	const char *line_path;
	uint64_t pid;
	const char *user;
	const char *password;
	const char *label;
	const char *channel;

	/* the load */
	const char *proto;
	const char *pub_proto;
	uint64_t publishers;
	uint64_t subscribers;
	uint64_t idle;
	uint64_t tenants;
	uint64_t size_bytes;
	uint64_t window;
	double rate;
	uint64_t clients;
	uint64_t pipeline;
	uint64_t workers;
	uint64_t seed;

	/* replay */
	const char *capture;
	uint64_t resp2;
	uint64_t resp3;
	uint64_t line;
	double speed;
	bool absorbing;
	uint64_t repeat;

	/* the run */
	double seconds;
	double warmup;
	double deadline;
	bool any_order;
	bool json;
	bool brief;

	/* derived by options_finish() */
	char address[256];      /* where RESP and NATS are spoken */
	char line_address[256]; /* where the line protocol is spoken */
};

/* The defaults. */
void options_init(struct options *o);

/* Read `--name value`, `--name=value` and `--flag` from argv[first] on.
 * errors: -E_UNKNOWN, -E_SYNTAX, -E_RANGE, with a sentence on standard error. */
int options_parse(struct options *o, int argc, char **argv, int first);

/* Print the options that the subcommand `verb` has; all of them for NULL. */
void options_help(const char *verb);

#endif
