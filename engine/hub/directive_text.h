/* Values as text: what a directive's words mean, and how its value is written. */
#ifndef MILLRACE_HUB_DIRECTIVE_TEXT_H
#define MILLRACE_HUB_DIRECTIVE_TEXT_H

#include "engine/hub/directive.h"

struct config;

/* Words into the struct. On an error the struct is unchanged and `why` (CONFIG_WHY_MAX bytes) says
 * what the value must be, without quoting it if it is secret.
 * errors: -E_SYNTAX, -E_RANGE. */
int directive_parse(const struct directive *directive, struct config *config,
	const struct slice *words, size_t count, char *why);

/* The value as CONFIG GET shows it: bytes as a plain number, durations in seconds (or with ms). */
void directive_print(
	const struct directive *directive, const struct config *config, struct bytes *out);

/* Frees what the value owns. */
void directive_release(const struct directive *directive, struct config *config);

/* "number", "bytes", "yes|no", ...: for --help. */
void directive_print_type(const struct directive *directive, struct bytes *out);

#endif
