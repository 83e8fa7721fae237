/* Values as text, both ways, one pair of functions for each type.
 *
 * Called by config.c. Parsing checks the limits of the table before anything is stored, so a
 * refused value leaves the old one in place. Nothing here looks at two directives at once.
 */
#include "engine/hub/directive_text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/hub/config.h"

struct unit {
	const char *suffix;
	int64_t factor;
};

/* Redis' memtoull(): without the b a power of 1000. */
static const struct unit byte_units[] = {
	{"", 1},
	{"b", 1},
	{"k", 1000},
	{"kb", 1024},
	{"m", 1000 * 1000},
	{"mb", 1024 * 1024},
	{"g", 1000 * 1000 * 1000},
	{"gb", 1024 * 1024 * 1024},
	{NULL, 0},
};
static const struct unit time_units[] = {
	{"", 1000},
	{"ms", 1},
	{"s", 1000},
	{"m", 60 * 1000},
	{"h", 3600 * 1000},
	{"d", 24 * 3600 * 1000},
	{NULL, 0},
};

static const char *const class_words[CONFIG_CLASSES] = {"normal", "replica", "pubsub"};

static void *field_of(const struct directive *directive, const struct config *config)
{
	return (char *)config + directive->offset;
}

/* A number and one of the units. errors: -E_SYNTAX, -E_RANGE. */
static int parse_with_unit(struct slice text, const struct unit *units, int64_t *out)
{
	size_t digits = 0;
	while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') {
		digits++;
	}
	int64_t number = 0;
	int err = slice_to_i64((struct slice){text.data, digits}, &number);
	if (err != OK) {
		return err;
	}
	struct slice suffix = {text.data + digits, text.len - digits};
	for (const struct unit *unit = units; unit->suffix != NULL; unit++) {
		if (slice_equal_nocase(suffix, slice_of(unit->suffix))) {
			if (number > INT64_MAX / unit->factor) {
				return -E_RANGE;
			}
			*out = number * unit->factor;
			return OK;
		}
	}
	return -E_SYNTAX;
}

static int parse_octal(struct slice text, int64_t *out)
{
	int64_t number = 0;
	if (text.len == 0 || text.len > 5) {
		return -E_SYNTAX;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '7') {
			return -E_SYNTAX;
		}
		number = number * 8 + (text.data[i] - '0');
	}
	*out = number;
	return OK;
}

static void print_number(enum directive_type type, int64_t value, struct bytes *out)
{
	if (type == DIRECTIVE_OCTAL) {
		bytes_printf(out, "%llo", (unsigned long long)value);
	} else if (type == DIRECTIVE_DURATION && value % 1000 == 0) {
		bytes_append_i64(out, value / 1000);
	} else {
		bytes_append_i64(out, value);
		bytes_append_string(out, type == DIRECTIVE_DURATION ? "ms" : "");
	}
}

/* "between 1 and 64", in the way the value is written. */
static void print_range(const struct directive *directive, struct bytes *out)
{
	bytes_append_string(out, "between ");
	print_number(directive->type, directive->min, out);
	bytes_append_string(out, " and ");
	print_number(directive->type, directive->max, out);
}

void directive_print_type(const struct directive *directive, struct bytes *out)
{
	static const char *const names[] = {
		[DIRECTIVE_BOOL] = "yes|no",
		[DIRECTIVE_INT] = "number",
		[DIRECTIVE_OCTAL] = "octal",
		[DIRECTIVE_BYTES] = "bytes",
		[DIRECTIVE_DURATION] = "duration",
		[DIRECTIVE_STRING] = "text",
		[DIRECTIVE_LIST] = "word ...",
		[DIRECTIVE_LIMITS] = "class hard soft seconds ...",
	};
	if (directive->type != DIRECTIVE_WORD) {
		bytes_append_string(out, names[directive->type]);
		return;
	}
	for (unsigned i = 0; directive->words[i] != NULL; i++) {
		bytes_printf(out, "%s%s", i > 0 ? "|" : "", directive->words[i]);
	}
}

/* The sentence for a value that was refused; only a secret's value is not quoted. */
static int refuse(const struct directive *directive, struct slice value, int err, char *why)
{
	struct bytes must = {0};
	switch (directive->type) {
	case DIRECTIVE_INT:
		bytes_append_string(&must, "a number ");
		print_range(directive, &must);
		break;
	case DIRECTIVE_OCTAL:
		bytes_append_string(&must, "permissions in octal ");
		print_range(directive, &must);
		break;
	case DIRECTIVE_BYTES:
		bytes_append_string(&must, "a number of bytes (or with kb, mb, gb) ");
		print_range(directive, &must);
		break;
	case DIRECTIVE_DURATION:
		bytes_append_string(&must, "seconds (or with ms, s, m, h, d) ");
		print_range(directive, &must);
		break;
	case DIRECTIVE_STRING:
		bytes_printf(&must, "between %lld and %lld bytes long, without a zero byte",
			(long long)directive->min, (long long)directive->max);
		break;
	case DIRECTIVE_LIMITS:
		bytes_append_string(&must, "of groups of four words: a class (normal, replica or "
					   "pubsub), its hard limit, its soft limit, seconds");
		break;
	case DIRECTIVE_LIST:
		bytes_append_string(&must, "of at most 64 words without blanks and quotes");
		break;
	case DIRECTIVE_BOOL:
	case DIRECTIVE_WORD:
		bytes_append_string(&must, "one of ");
		directive_print_type(directive, &must);
		break;
	}
	bool shown = (directive->flags & DIRECTIVE_SECRET) == 0;
	snprintf(why, CONFIG_WHY_MAX, "%s%s%s must be %.*s", directive->name, shown ? " " : "",
		shown ? JQ(value) : "", SLICE_ARG(bytes_slice(&must)));
	bytes_finish(&must);
	return err;
}

static int parse_number(const struct directive *directive, struct slice text, int64_t *out)
{
	int64_t value = 0;
	int err = OK;
	switch (directive->type) {
	case DIRECTIVE_INT:
		err = slice_to_i64(text, &value);
		break;
	case DIRECTIVE_OCTAL:
		err = parse_octal(text, &value);
		break;
	case DIRECTIVE_BYTES:
		err = parse_with_unit(text, byte_units, &value);
		break;
	case DIRECTIVE_DURATION:
		err = parse_with_unit(text, time_units, &value);
		break;
	default:
		assert(directive->type == DIRECTIVE_INT);
	}
	if (err == OK && (value < directive->min || value > directive->max)) {
		err = -E_RANGE;
	}
	if (err == OK) {
		*out = value;
	}
	return err;
}

static int parse_bool(struct slice text, bool *out)
{
	bool yes = slice_equal_nocase(text, SLICE("yes"));
	if (!yes && !slice_equal_nocase(text, SLICE("no"))) {
		return -E_SYNTAX;
	}
	*out = yes;
	return OK;
}

static int parse_word(const struct directive *directive, struct slice text, int *out)
{
	for (int i = 0; directive->words[i] != NULL; i++) {
		if (slice_equal_nocase(text, slice_of(directive->words[i]))) {
			*out = i;
			return OK;
		}
	}
	return -E_SYNTAX;
}

static bool has_zero_byte(struct slice text)
{
	return text.len > 0 && memchr(text.data, '\0', text.len) != NULL;
}

static int parse_string(const struct directive *directive, struct slice text, char **out)
{
	if ((int64_t)text.len < directive->min || (int64_t)text.len > directive->max) {
		return -E_RANGE;
	}
	if (has_zero_byte(text)) {
		return -E_SYNTAX;
	}
	free(*out);
	*out = slice_dup(text);
	return OK;
}

static void release_list(struct config_list *list)
{
	for (unsigned i = 0; i < list->count; i++) {
		free(list->items[i]);
	}
	free(list->items);
	*list = (struct config_list){NULL, 0};
}

/* No name of a host or an instance has blanks or quotes; so a list is written as it is. */
static bool is_item(struct slice word)
{
	for (size_t i = 0; i < word.len; i++) {
		unsigned char c = (unsigned char)word.data[i];
		if (c <= ' ' || c == '"' || c == '\'' || c == 0x7f) {
			return false;
		}
	}
	return true;
}

/* Empty words are left out, so that "" is the empty list. */
static int parse_list(const struct slice *words, size_t count, struct config_list *out)
{
	enum { ITEMS_MAX = 64 };
	if (count > ITEMS_MAX) {
		return -E_RANGE;
	}
	for (size_t i = 0; i < count; i++) {
		if (!is_item(words[i])) {
			return -E_SYNTAX;
		}
	}
	release_list(out);
	out->items = mem_zalloc(count * sizeof(char *));
	for (size_t i = 0; i < count; i++) {
		if (words[i].len > 0) {
			out->items[out->count++] = slice_dup(words[i]);
		}
	}
	return OK;
}

static int parse_class(struct slice text, unsigned *out)
{
	for (unsigned i = 0; i < CONFIG_CLASSES; i++) {
		if (slice_equal_nocase(text, slice_of(class_words[i]))) {
			*out = i;
			return OK;
		}
	}
	*out = CONFIG_CLASS_REPLICA; /* its old name */
	return slice_equal_nocase(text, SLICE("slave")) ? OK : -E_SYNTAX;
}

/* Classes that are not named keep their limits, as in Redis. */
static int parse_limits(const struct directive *directive, const struct slice *words, size_t count,
	struct config_limit *out)
{
	struct config_limit limits[CONFIG_CLASSES];
	memcpy(limits, out, sizeof(limits));
	if (count == 0 || count % 4 != 0) {
		return -E_SYNTAX;
	}
	for (size_t i = 0; i < count; i += 4) {
		unsigned class = 0;
		struct config_limit limit = {0, 0, 0};
		if (parse_class(words[i], &class) != OK ||
			parse_with_unit(words[i + 1], byte_units, &limit.hard_bytes) != OK ||
			parse_with_unit(words[i + 2], byte_units, &limit.soft_bytes) != OK ||
			parse_with_unit(words[i + 3], time_units, &limit.soft_ms) != OK) {
			return -E_SYNTAX;
		}
		if (limit.hard_bytes > directive->max || limit.soft_bytes > directive->max) {
			return -E_RANGE;
		}
		limits[class] = limit;
	}
	memcpy(out, limits, sizeof(limits));
	return OK;
}

int directive_parse(const struct directive *directive, struct config *config,
	const struct slice *words, size_t count, char *why)
{
	void *field = field_of(directive, config);
	bool one = directive->type != DIRECTIVE_LIST && directive->type != DIRECTIVE_LIMITS;
	if (one && count != 1) {
		snprintf(why, CONFIG_WHY_MAX,
			"%s takes one value, not %zu (quote a value with blanks)", directive->name,
			count);
		return -E_SYNTAX;
	}
	int err = OK;
	switch (directive->type) {
	case DIRECTIVE_BOOL:
		err = parse_bool(words[0], field);
		break;
	case DIRECTIVE_INT:
	case DIRECTIVE_OCTAL:
	case DIRECTIVE_BYTES:
	case DIRECTIVE_DURATION:
		err = parse_number(directive, words[0], field);
		break;
	case DIRECTIVE_STRING:
		err = parse_string(directive, words[0], field);
		break;
	case DIRECTIVE_WORD:
		err = parse_word(directive, words[0], field);
		break;
	case DIRECTIVE_LIST:
		err = parse_list(words, count, field);
		break;
	case DIRECTIVE_LIMITS:
		err = parse_limits(directive, words, count, field);
		break;
	}
	return err == OK ? OK : refuse(directive, count > 0 ? words[0] : SLICE(""), err, why);
}

static void print_list(const struct config_list *list, struct bytes *out)
{
	for (unsigned i = 0; i < list->count; i++) {
		bytes_printf(out, "%s%s", i > 0 ? " " : "", list->items[i]);
	}
}

static void print_limits(const struct config_limit *limits, struct bytes *out)
{
	for (unsigned i = 0; i < CONFIG_CLASSES; i++) {
		bytes_printf(out, "%s%s %lld %lld ", i > 0 ? " " : "", class_words[i],
			(long long)limits[i].hard_bytes, (long long)limits[i].soft_bytes);
		print_number(DIRECTIVE_DURATION, limits[i].soft_ms, out);
	}
}

void directive_print(
	const struct directive *directive, const struct config *config, struct bytes *out)
{
	const void *field = field_of(directive, config);
	switch (directive->type) {
	case DIRECTIVE_BOOL:
		bytes_append_string(out, *(const bool *)field ? "yes" : "no");
		break;
	case DIRECTIVE_INT:
	case DIRECTIVE_OCTAL:
	case DIRECTIVE_BYTES:
	case DIRECTIVE_DURATION:
		print_number(directive->type, *(const int64_t *)field, out);
		break;
	case DIRECTIVE_STRING:
		bytes_append_string(out, *(char *const *)field);
		break;
	case DIRECTIVE_WORD:
		bytes_append_string(out, directive->words[*(const int *)field]);
		break;
	case DIRECTIVE_LIST:
		print_list(field, out);
		break;
	case DIRECTIVE_LIMITS:
		print_limits(field, out);
		break;
	}
}

void directive_release(const struct directive *directive, struct config *config)
{
	void *field = field_of(directive, config);
	if (directive->type == DIRECTIVE_STRING) {
		free(*(char **)field);
		*(char **)field = NULL;
	} else if (directive->type == DIRECTIVE_LIST) {
		release_list(field);
	}
}
