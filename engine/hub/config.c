/* The configuration: lines, files and arguments into struct config.
 *
 * Called by main.c at start and by the hub for CONFIG GET and SET. What a directive is called and
 * what its value may be is directive.c's; how a value is written is directive_text.c's; here are
 * the forms around them: the line with its quotes (as sdssplitargs() of Redis cuts it), the file
 * with `include`, the arguments, and the checks that need two directives. Opens no file itself.
 * Errors name file and line, and never a secret.
 */
#include "engine/hub/config.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/glob.h"
#include "engine/base/journal.h"
#include "engine/hub/directive.h"
#include "engine/hub/directive_text.h"
#include "engine/hub/words.h"

enum { INCLUDE_DEPTH_MAX = 8 };

/* Where a directive stands: "millrace.conf:12", or "--port". */
struct place {
	const struct config_source *source;
	const char *file; /* NULL: the arguments */
	unsigned line;
	unsigned depth;
};

__attribute__((format(printf, 2, 3))) static void explain(char *why, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why, CONFIG_WHY_MAX, format, args);
	va_end(args);
}

void config_init(struct config *config)
{
	*config = (struct config){0};
	size_t count;
	const struct directive *table = directive_table(&count);
	for (size_t i = 0; i < count; i++) {
		char why[CONFIG_WHY_MAX];
		struct slice rest = slice_of(table[i].initial);
		struct slice words[WORDS_MAX];
		size_t n = 0;
		do {
			words[n++] = slice_cut(&rest, ' ');
		} while (rest.data != NULL && n < WORDS_MAX);
		int err = directive_parse(&table[i], config, words, n, why);
		assert(err == OK); /* a default within its own limits */
	}
}

void config_finish(struct config *config)
{
	size_t count;
	const struct directive *table = directive_table(&count);
	for (size_t i = 0; i < count; i++) {
		directive_release(&table[i], config);
	}
}

/* -- one directive -- */

static int unknown_directive(struct slice name, char *why)
{
	const char *nearest = directive_nearest(name);
	explain(why, "unknown directive %s%s%s%s", JQ(name),
		nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest,
		nearest == NULL ? "" : "?");
	return -E_UNKNOWN;
}

static void give_notice(const struct place *place, struct slice name, const char *sentence)
{
	char text[CONFIG_WHY_MAX];
	if (place->file != NULL) {
		snprintf(text, sizeof(text), "%s:%u: %s has no effect: %s", place->file,
			place->line, JQ(name), sentence);
	} else {
		snprintf(text, sizeof(text), "--%s has no effect: %s", JQ(name), sentence);
	}
	if (place->source->notice != NULL) {
		place->source->notice(place->source->context, text);
	}
}

static int apply(struct config *config, struct slice name, const struct slice *values, size_t count,
	const struct place *place, char *why)
{
	const struct directive *directive = directive_find(name);
	if (directive != NULL) {
		return directive_parse(directive, config, values, count, why);
	}
	const struct foreign_directive *foreign = directive_find_foreign(name);
	if (foreign == NULL) {
		return unknown_directive(name, why);
	}
	if (foreign->refused) {
		explain(why, "%s is refused: %s", JQ(name), foreign->sentence);
		return -E_UNSUPPORTED;
	}
	give_notice(place, name, foreign->sentence);
	return OK;
}

/* -- files -- */

/* "FILE:LINE: sentence", in place. */
static int locate(const struct place *place, int err, char *why)
{
	char sentence[CONFIG_WHY_MAX];
	snprintf(sentence, sizeof(sentence), "%s", why);
	explain(why, "%s:%u: %s", place->file, place->line, sentence);
	return err;
}

static int read_file(struct config *config, const char *path, const struct place *from, char *why);

/* A relative name is looked for beside the file that includes it. */
static int include(
	struct config *config, const struct words *words, const struct place *place, char *why)
{
	if (words->count != 2) {
		explain(why, "include takes one file, not %zu", words->count - 1);
		return locate(place, -E_SYNTAX, why);
	}
	const char *slash = strrchr(place->file, '/');
	struct slice name = words->items[1];
	struct bytes path = {0};
	if (slash != NULL && name.len > 0 && name.data[0] != '/') {
		bytes_append(&path, place->file, (size_t)(slash + 1 - place->file));
	}
	bytes_append_slice(&path, name);
	bytes_append(&path, "", 1);
	int err = read_file(config, path.data, place, why);
	bytes_finish(&path);
	return err;
}

static int read_line(struct config *config, struct slice line, const struct place *place, char *why)
{
	struct words words = {0};
	int err = words_split(line, &words);
	if (err != OK) {
		explain(why,
			err == -E_TOO_LONG ? "more than %d words"
					   : "a quote that does not end, "
					     "or a word that goes on behind it",
			WORDS_MAX);
		err = locate(place, err, why);
	} else if (words.count == 0 || slice_starts(words.items[0], SLICE("#"))) {
		err = OK;
	} else if (slice_equal_nocase(words.items[0], SLICE("include"))) {
		err = include(config, &words, place, why);
	} else {
		err = apply(config, words.items[0], words.items + 1, words.count - 1, place, why);
		err = err == OK ? OK : locate(place, err, why);
	}
	words_finish(&words);
	return err;
}

static int read_file(struct config *config, const char *path, const struct place *from, char *why)
{
	struct place place = {from->source, path, 0, from->depth + 1};
	struct bytes text = {0};
	int err = place.depth > INCLUDE_DEPTH_MAX ? -E_FULL : OK;
	if (err != OK) {
		explain(why, "more than %d files include each other", INCLUDE_DEPTH_MAX);
		return from->file == NULL ? err : locate(from, err, why);
	}
	char reason[CONFIG_WHY_MAX] = "";
	err = from->source->read(from->source->context, path, &text, reason);
	if (err != OK) {
		explain(why, "%s cannot be read: %s", JQ(slice_of(path)), reason);
		bytes_finish(&text);
		return from->file == NULL ? err : locate(from, err, why);
	}
	struct slice rest = bytes_slice(&text);
	while (err == OK && rest.data != NULL) {
		place.line++;
		err = read_line(config, slice_cut(&rest, '\n'), &place, why);
	}
	bytes_finish(&text);
	return err;
}

int config_read_file(
	struct config *config, const char *path, const struct config_source *source, char *why)
{
	struct place outside = {source, NULL, 0, 0};
	return read_file(config, path, &outside, why);
}

/* -- arguments -- */

static bool is_option(const char *argument)
{
	return argument[0] == '-' && argument[1] == '-' && argument[2] != '\0';
}

/* `--name value ...` or `--name=value`, from argv[*at] on; leaves *at behind it. */
static int read_option(struct config *config, int argc, char *const *argv, int *at,
	const struct place *place, char *why)
{
	struct slice name = slice_of(argv[*at] + 2);
	struct slice values[WORDS_MAX];
	size_t count = 0;
	const char *equals = memchr(name.data, '=', name.len);
	if (equals != NULL) {
		values[count++] = slice_of(equals + 1);
		name.len = (size_t)(equals - name.data);
	}
	for (++*at; equals == NULL && *at < argc && !is_option(argv[*at]); ++*at) {
		if (count == WORDS_MAX) {
			explain(why, "--%s: more than %d words", JQ(name), WORDS_MAX);
			return -E_TOO_LONG;
		}
		values[count++] = slice_of(argv[*at]);
	}
	char sentence[CONFIG_WHY_MAX];
	int err = apply(config, name, values, count, place, sentence);
	if (err != OK) {
		explain(why, "--%s: %s", JQ(name), sentence);
	}
	return err;
}

static bool is_action(const char *argument, enum config_action *action)
{
	static const struct {
		const char *word;
		enum config_action action;
	} actions[] = {
		{"--help", CONFIG_HELP},
		{"-h", CONFIG_HELP},
		{"--version", CONFIG_VERSION},
		{"-v", CONFIG_VERSION},
		{"--check-config", CONFIG_CHECK},
	};
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(argument, actions[i].word) == 0) {
			*action = actions[i].action;
			return true;
		}
	}
	return false;
}

int config_read_args(struct config *config, int argc, char *const *argv,
	const struct config_source *source, enum config_action *action, char *why)
{
	struct place place = {source, NULL, 0, 0};
	int at = 1;
	int err = OK;
	*action = CONFIG_RUN;
	for (int i = 1; i < argc; i++) { /* help helps with wrong arguments, too */
		if (is_action(argv[i], action) && *action != CONFIG_CHECK) {
			return OK;
		}
	}
	if (argc > 1 && argv[1][0] != '-') {
		err = config_read_file(config, argv[at++], source, why);
	}
	while (err == OK && at < argc) {
		if (is_action(argv[at], action)) {
			at++;
		} else if (is_option(argv[at])) {
			err = read_option(config, argc, argv, &at, &place, why);
		} else {
			explain(why,
				"%s is not an option; the file comes first, directives as "
				"--directive value",
				JQ(slice_of(argv[at])));
			err = -E_SYNTAX;
		}
	}
	return err == OK ? config_check(config, why) : err;
}

/* -- what no single directive can know -- */

bool config_address(const char *item, int64_t port, char *out, size_t size)
{
	bool optional = item[0] == '-';
	const char *host = optional ? item + 1 : item;
	if (strcmp(host, "*") == 0) {
		host = "0.0.0.0";
	} else if (strcmp(host, "::*") == 0) {
		host = "::";
	} else if (strcmp(host, "localhost") == 0) {
		host = "127.0.0.1";
	}
	bool v6 = strchr(host, ':') != NULL && host[0] != '[';
	snprintf(out, size, "%s%s%s:%lld", v6 ? "[" : "", host, v6 ? "]" : "", (long long)port);
	return optional;
}

static bool is_loopback(const char *item)
{
	const char *host = item[0] == '-' ? item + 1 : item;
	return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
	       strcmp(host, "[::1]") == 0 || strcmp(host, "localhost") == 0;
}

/* The first that others can reach, or NULL. */
static const char *open_address(const struct config_list *bind)
{
	for (unsigned i = 0; i < bind->count; i++) {
		if (!is_loopback(bind->items[i])) {
			return bind->items[i];
		}
	}
	return NULL;
}

static int check_listeners(const struct config *config, char *why)
{
	bool tcp = config->port != 0 && config->bind.count > 0;
	bool line = config->server_name[0] != '\0' &&
		    ((config->line_port != 0 && config->line_bind.count > 0) ||
			    config->line_unixsocket[0] != '\0');
	if (!tcp && config->unixsocket[0] == '\0' && !line) {
		explain(why, "nothing to listen on: set port and bind, or unixsocket");
		return -E_NOT_ALLOWED;
	}
	if (config->line_unixsocket[0] != '\0' &&
		strcmp(config->unixsocket, config->line_unixsocket) == 0) {
		explain(why, "unixsocket and line-unixsocket must differ");
		return -E_NOT_ALLOWED;
	}
	return OK;
}

static int check_protection(const struct config *config, char *why)
{
	if (!config->protected_mode) {
		return OK;
	}
	const char *open = config->port == 0 ? NULL : open_address(&config->bind);
	if (open != NULL && config->requirepass[0] == '\0') {
		explain(why,
			"bind %s lets other machines in, and no password is set: set requirepass, "
			"bind to 127.0.0.1, or say protected-mode no if the network itself keeps "
			"others away",
			JQ(slice_of(open)));
		return -E_NOT_ALLOWED;
	}
	bool line = config->server_name[0] != '\0' && config->line_port != 0;
	open = line ? open_address(&config->line_bind) : NULL;
	if (open != NULL) {
		explain(why,
			"line-bind %s lets other machines in, and the line protocol has no "
			"password: "
			"say protected-mode no if the network itself keeps others away",
			JQ(slice_of(open)));
		return -E_NOT_ALLOWED;
	}
	return OK;
}

int config_check(const struct config *config, char *why)
{
	int err = check_listeners(config, why);
	if (err == OK) {
		err = check_protection(config, why);
	}
	if (err != OK) {
		return err;
	}
	if ((config->recv_buffers & (config->recv_buffers - 1)) != 0) {
		explain(why, "recv-buffers %lld must be a power of two",
			(long long)config->recv_buffers);
		return -E_RANGE;
	}
	if (config->line_ping_timeout_ms <= config->line_ping_interval_ms) {
		explain(why, "line-ping-timeout must be longer than line-ping-interval");
		return -E_RANGE;
	}
	if (strpbrk(config->server_name, "/ \t\r\n") != NULL) {
		explain(why, "server-name must be a homeserver's name, without blanks and slashes");
		return -E_SYNTAX;
	}
	return OK;
}

/* -- at run time -- */

/* A list or limits are cut at blanks; a text is taken as it is, a password with blanks too. */
static int set_text(
	const struct directive *directive, struct config *config, struct slice value, char *why)
{
	if (directive->type != DIRECTIVE_LIST && directive->type != DIRECTIVE_LIMITS) {
		return directive_parse(directive, config, &value, 1, why);
	}
	struct words words = {0};
	int err = words_split(value, &words);
	if (err == OK) {
		err = directive_parse(directive, config, words.items, words.count, why);
	} else {
		explain(why, "%s cannot be cut into words", directive->name);
	}
	words_finish(&words);
	return err;
}

/* CONFIG SET of a word that only redis.conf knows: taken without effect, as from a file, unless Redis could not
 * change it either while it runs. */
static int set_foreign(struct slice name, char *why)
{
	static const char *const fixed[] = {"daemonize", "supervised", "pidfile", "syslog-enabled",
		"cluster-enabled", "appendfilename", "appenddirname", "always-show-logo",
		"io-threads-do-reads"};
	const struct foreign_directive *foreign = directive_find_foreign(name);
	if (foreign == NULL) {
		return unknown_directive(name, why);
	}
	explain(why, "%s: %s", JQ(name), foreign->sentence);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (slice_equal_nocase(name, slice_of(fixed[i]))) {
			return -E_NOT_ALLOWED;
		}
	}
	return foreign->refused ? -E_UNSUPPORTED : OK;
}

int config_set(struct config *config, struct slice name, struct slice value, char *why)
{
	const struct directive *directive = directive_find(name);
	if (directive == NULL) {
		return set_foreign(name, why);
	}
	if ((directive->flags & DIRECTIVE_MUTABLE) == 0) {
		explain(why, "%s can be set at start only", directive->name);
		return -E_NOT_ALLOWED;
	}
	struct bytes before = {0};
	directive_print(directive, config, &before);
	int err = set_text(directive, config, value, why);
	if (err == OK) {
		err = config_check(config, why);
		if (err != OK) {
			char ignored[CONFIG_WHY_MAX];
			int back = set_text(directive, config, bytes_slice(&before), ignored);
			assert(back == OK);
		}
	}
	if ((directive->flags & DIRECTIVE_SECRET) != 0 && before.len > 0) {
		explicit_bzero(before.data, before.len);
	}
	bytes_finish(&before);
	return err;
}

void config_get_each(const struct config *config, struct slice pattern,
	void (*each)(void *context, struct slice name, struct slice value), void *context)
{
	size_t count;
	struct bytes value = {0};
	const struct directive *table = directive_table(&count);
	for (size_t i = 0; i < count; i++) {
		struct slice name = slice_of(table[i].name);
		if (glob_match(pattern, name, true)) {
			bytes_clear(&value);
			directive_print(&table[i], config, &value);
			each(context, name, bytes_slice(&value));
		}
	}
	const struct foreign_directive *foreign = directive_foreign_table(&count);
	for (size_t i = 0; i < count; i++) {
		struct slice name = slice_of(foreign[i].pattern);
		if (foreign[i].value != NULL && glob_match(pattern, name, true)) {
			each(context, name, slice_of(foreign[i].value));
		}
	}
	bytes_finish(&value);
}

const char *config_word(const struct config *config, const char *name)
{
	const struct directive *directive = directive_find(slice_of(name));
	assert(directive != NULL && directive->type == DIRECTIVE_WORD);
	return directive->words[*(const int *)((const char *)config + directive->offset)];
}

/* -- for people -- */

/* A value that the file's reader takes back: quoted where it must be. */
static void write_value(const struct directive *directive, struct slice value, struct bytes *out)
{
	bool list = directive->type == DIRECTIVE_LIST || directive->type == DIRECTIVE_LIMITS;
	bool plain = value.len > 0 && value.data[0] != '"' && value.data[0] != '\'';
	for (size_t i = 0; i < value.len && plain; i++) {
		plain = (unsigned char)value.data[i] > ' ' || (list && value.data[i] == ' ');
	}
	if (plain) {
		bytes_append_slice(out, value);
		return;
	}
	bytes_append_string(out, "\"");
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.data[i];
		if (c == '"' || c == '\\') {
			bytes_printf(out, "\\%c", c);
		} else if (c < ' ') {
			bytes_printf(out, "\\x%02x", c);
		} else {
			bytes_append(out, &c, 1);
		}
	}
	bytes_append_string(out, "\"");
}

void config_write(const struct config *config, struct bytes *out)
{
	size_t count;
	struct bytes value = {0};
	const struct directive *table = directive_table(&count);
	for (size_t i = 0; i < count; i++) {
		bytes_clear(&value);
		directive_print(&table[i], config, &value);
		bytes_printf(out, "%s ", table[i].name);
		if ((table[i].flags & DIRECTIVE_SECRET) != 0 && value.len > 0) {
			bytes_append_string(out, "********");
		} else {
			write_value(&table[i], bytes_slice(&value), out);
		}
		bytes_append_string(out, "\n");
	}
	bytes_finish(&value);
}

/* "    The sentence, wrapped at the terminal's width." */
static void write_wrapped(const char *sentence, struct bytes *out)
{
	enum { WIDTH = 90 };
	struct slice rest = slice_of(sentence);
	size_t column = WIDTH;
	while (rest.len > 0) {
		struct slice word = slice_cut(&rest, ' ');
		if (column + 1 + word.len > WIDTH) {
			bytes_append_string(
				out, out->len > 0 && column < WIDTH ? "\n      " : "      ");
			column = 6;
		} else {
			bytes_append_string(out, " ");
			column++;
		}
		bytes_append_slice(out, word);
		column += word.len;
	}
	bytes_append_string(out, "\n");
}

void config_help(struct bytes *out)
{
	size_t count;
	const struct directive *table = directive_table(&count);
	bytes_append_string(out,
		"Usage: millraced [file] [--directive value ...] [--check-config]\n\n"
		"The file has a line `directive value ...` for each; arguments come after it.\n"
		"Durations: a number is seconds, or with ms, s, m, h, d. Bytes: or with kb, mb, "
		"gb.\n"
		"What is marked * can be changed at run time with CONFIG SET.\n\n"
		"  --check-config\n      Read everything, print what is in force, and exit.\n"
		"  --version\n  --help\n");
	for (size_t i = 0; i < count; i++) {
		if (table[i].section != NULL) {
			bytes_printf(out, "\n%s\n", table[i].section);
		}
		bytes_printf(out, "  --%s <", table[i].name);
		directive_print_type(&table[i], out);
		bool mutable = (table[i].flags & DIRECTIVE_MUTABLE) != 0;
		bool empty = table[i].initial[0] == '\0';
		bytes_printf(out, ">%s%s%s\n", mutable ? " *" : "", empty ? "" : "   default ",
			table[i].initial);
		write_wrapped(table[i].sentence, out);
	}
}
