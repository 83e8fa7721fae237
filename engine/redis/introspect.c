/* COMMAND: the table about itself.
 *
 * Called through the table; reads it. Client libraries ask for flags and key positions to route by,
 * redis-cli for the documentation behind its hints. Form and order of the fields are Redis' own;
 * what is a set or a map in RESP3 is an array in RESP2.
 */
#include "engine/redis/introspect.h"

#include <string.h>

#include "engine/base/glob.h"
#include "engine/redis/verbs.h"

static const struct {
	unsigned flag;
	const char *name;
} flag_names[] = {
	{V_WRITE, "write"},
	{V_READ, "readonly"},
	{V_DENYOOM, "denyoom"},
	{V_ADMIN, "admin"},
	{V_PUBSUB, "pubsub"},
	{V_NOSCRIPT, "noscript"},
	{V_LOADING, "loading"},
	{V_STALE, "stale"},
	{V_SKIP_SLOWLOG, "skip_slowlog"},
	{V_FAST, "fast"},
	{V_NO_AUTH, "no_auth"},
	{V_ALLOW_BUSY, "allow_busy"},
};

static const char *const group_names[] = {
	[GROUP_CONNECTION] = "connection",
	[GROUP_PUBSUB] = "pubsub",
	[GROUP_TRANSACTIONS] = "transactions",
	[GROUP_STRING] = "string",
	[GROUP_BITMAP] = "bitmap",
	[GROUP_GENERIC] = "generic",
	[GROUP_SCRIPTING] = "scripting",
	[GROUP_SERVER] = "server",
	[GROUP_CLUSTER] = "cluster",
};

/* The categories of Redis' access lists that a verb is in; a bit each, in Redis' order. */
enum category {
	CAT_KEYSPACE = 1 << 0,
	CAT_READ = 1 << 1,
	CAT_WRITE = 1 << 2,
	CAT_STRING = 1 << 3,
	CAT_BITMAP = 1 << 4,
	CAT_PUBSUB = 1 << 5,
	CAT_ADMIN = 1 << 6,
	CAT_FAST = 1 << 7,
	CAT_SLOW = 1 << 8,
	CAT_DANGEROUS = 1 << 9,
	CAT_CONNECTION = 1 << 10,
	CAT_TRANSACTION = 1 << 11,
	CAT_SCRIPTING = 1 << 12
};

static const char *const category_names[] = {"@keyspace", "@read", "@write", "@string", "@bitmap",
	"@pubsub", "@admin", "@fast", "@slow", "@dangerous", "@connection", "@transaction",
	"@scripting"};
enum { CATEGORIES = sizeof(category_names) / sizeof(category_names[0]) };

static unsigned categories_of_flags(unsigned flags)
{
	unsigned c = (flags & V_FAST) != 0 ? CAT_FAST : CAT_SLOW;
	c |= (flags & V_READ) != 0 ? CAT_READ : 0u;
	c |= (flags & V_WRITE) != 0 ? CAT_WRITE : 0u;
	c |= (flags & V_PUBSUB) != 0 ? CAT_PUBSUB : 0u;
	c |= (flags & (V_ADMIN | V_ROLE)) != 0 ? CAT_ADMIN | CAT_DANGEROUS : 0u;
	c |= (flags & V_DANGEROUS) != 0 ? CAT_DANGEROUS : 0u;
	return c;
}

static unsigned categories_of(const struct verb *verb)
{
	static const unsigned groups[] = {
		[GROUP_CONNECTION] = CAT_CONNECTION,
		[GROUP_TRANSACTIONS] = CAT_TRANSACTION,
		[GROUP_STRING] = CAT_STRING,
		[GROUP_BITMAP] = CAT_BITMAP,
		[GROUP_GENERIC] = CAT_KEYSPACE,
		[GROUP_SCRIPTING] = CAT_SCRIPTING,
		[GROUP_CLUSTER] = 0,
	};
	unsigned c = categories_of_flags(verb->flags);
	if (verb->run == NULL) {
		return c; /* a word with subcommands is in no group */
	}
	bool keyspace = strncmp(verb->name, "flush", 5) == 0 || strcmp(verb->name, "dbsize") == 0;
	bool command = strncmp(verb->name, "command", 7) == 0;
	c |= verb->group < sizeof(groups) / sizeof(groups[0]) ? groups[verb->group] : 0;
	c |= strcmp(verb->name, "memory|usage") == 0 ? (unsigned)CAT_READ : 0;
	return c | (keyspace ? (unsigned)CAT_KEYSPACE : 0) |
	       (command ? (unsigned)CAT_CONNECTION : 0);
}

static void put_flags(struct bytes *out, unsigned resp, unsigned flags)
{
	size_t at = out->len;
	size_t count = 0;
	for (unsigned i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if ((flags & flag_names[i].flag) != 0) {
			resp_put_simple(out, flag_names[i].name);
			count++;
		}
	}
	resp_insert_set(out, resp, at, count);
}

static void put_categories(struct bytes *out, unsigned resp, unsigned categories)
{
	size_t at = out->len;
	size_t count = 0;
	for (unsigned i = 0; i < CATEGORIES; i++) {
		if ((categories & 1u << i) != 0) {
			resp_put_simple(out, category_names[i]);
			count++;
		}
	}
	resp_insert_set(out, resp, at, count);
}

/* Words with blanks between, as a set of bulks or of simple strings. */
static void put_words(struct bytes *out, unsigned resp, struct slice words, bool simple)
{
	size_t at = out->len;
	size_t count = 0;
	while (words.len > 0) {
		struct slice word = slice_cut(&words, ' ');
		if (word.len == 0) {
			continue;
		}
		if (simple) {
			bytes_append(out, "+", 1);
			bytes_append_slice(out, word);
			bytes_append(out, "\r\n", 2);
		} else {
			resp_put_bulk(out, word);
		}
		count++;
	}
	resp_insert_set(out, resp, at, count);
}

static void put_key_spec(
	struct bytes *out, unsigned resp, struct slice flags, int first, int last, int step)
{
	resp_put_map(out, resp, 3);
	resp_put_string(out, "flags");
	put_words(out, resp, flags, true);
	resp_put_string(out, "begin_search");
	resp_put_map(out, resp, 2);
	resp_put_string(out, "type");
	resp_put_string(out, "index");
	resp_put_string(out, "spec");
	resp_put_map(out, resp, 1);
	resp_put_string(out, "index");
	resp_put_integer(out, first);
	resp_put_string(out, "find_keys");
	resp_put_map(out, resp, 2);
	resp_put_string(out, "type");
	resp_put_string(out, "range");
	resp_put_string(out, "spec");
	resp_put_map(out, resp, 3);
	resp_put_string(out, "lastkey");
	resp_put_integer(out, last);
	resp_put_string(out, "keystep");
	resp_put_integer(out, step);
	resp_put_string(out, "limit");
	resp_put_integer(out, 0);
}

/* The specification of each kind of key: a verb with a bar in its flags has two keys of one
 * each. */
static void put_key_specs(struct bytes *out, unsigned resp, const struct verb *verb)
{
	size_t at = out->len;
	size_t count = 0;
	struct slice flags = slice_of(verb->keys.flags);
	bool several = memchr(flags.data == NULL ? "" : flags.data, '|', flags.len) != NULL;
	while (flags.len > 0) {
		struct slice one = slice_cut(&flags, '|');
		int first = verb->keys.first + (int)count;
		int last = several || verb->keys.last == first ? 0 : verb->keys.last;
		put_key_spec(out, resp, one, first, last, verb->keys.step);
		count++;
	}
	resp_insert_set(out, resp, at, count);
}

static void put_info(struct call *call, const struct verb *verb)
{
	struct bytes *out = call->out;
	unsigned resp = call->client->resp;
	unsigned subcommands = verbs_subcommands(call->env->verbs, verb);
	resp_put_array(out, 10);
	resp_put_string(out, verb->name);
	resp_put_integer(out, verb->arity);
	put_flags(out, resp, verb->flags);
	resp_put_integer(out, verb->keys.first);
	resp_put_integer(out, verb->keys.last);
	resp_put_integer(out, verb->keys.step);
	put_categories(out, resp, categories_of(verb));
	put_words(out, resp, slice_of(verb->tips), false);
	put_key_specs(out, resp, verb);
	if (subcommands == 0) {
		resp_put_set(out, resp, 0);
		return;
	}
	resp_put_array(out, subcommands);
	for (unsigned i = 1; i <= subcommands; i++) {
		put_info(call, verb + i);
	}
}

static bool is_first_word(const struct verb *verb)
{
	return strchr(verb->name, '|') == NULL;
}

static unsigned count_first_words(void)
{
	unsigned count = 0;
	for (unsigned i = 0; i < verbs_count(); i++) {
		count += is_first_word(verbs_at(i)) ? 1 : 0;
	}
	return count;
}

void introspect_all(struct call *call)
{
	resp_put_array(call->out, count_first_words());
	for (unsigned i = 0; i < verbs_count(); i++) {
		if (is_first_word(verbs_at(i))) {
			put_info(call, verbs_at(i));
		}
	}
}

void introspect_count(struct call *call)
{
	call_integer(call, count_first_words());
}

void introspect_info(struct call *call)
{
	if (call->argc == 2) {
		introspect_all(call);
		return;
	}
	resp_put_array(call->out, call->argc - 2);
	for (unsigned i = 2; i < call->argc; i++) {
		const struct verb *verb = verbs_by_name(call->env->verbs, call->argv[i]);
		if (verb == NULL) {
			resp_put_null(call->out, call->client->resp);
		} else {
			put_info(call, verb);
		}
	}
}

static void put_docs(struct call *call, const struct verb *verb)
{
	struct bytes *out = call->out;
	unsigned resp = call->client->resp;
	unsigned subcommands = verbs_subcommands(call->env->verbs, verb);
	resp_put_string(out, verb->name);
	resp_put_map(out, resp, subcommands > 0 ? 4 : 3);
	resp_put_string(out, "summary");
	resp_put_string(out, verb->summary);
	resp_put_string(out, "since");
	resp_put_string(out, verb->since);
	resp_put_string(out, "group");
	resp_put_string(out, group_names[verb->group]);
	if (subcommands > 0) {
		resp_put_string(out, "subcommands");
		resp_put_map(out, resp, subcommands);
		for (unsigned i = 1; i <= subcommands; i++) {
			put_docs(call, verb + i);
		}
	}
}

void introspect_docs(struct call *call)
{
	size_t at = call->out->len;
	size_t count = 0;
	for (unsigned i = 0; call->argc == 2 && i < verbs_count(); i++) {
		if (is_first_word(verbs_at(i))) {
			put_docs(call, verbs_at(i));
			count++;
		}
	}
	for (unsigned i = 2; i < call->argc; i++) {
		const struct verb *verb = verbs_by_name(call->env->verbs, call->argv[i]);
		if (verb != NULL) {
			put_docs(call, verb);
			count++;
		}
	}
	resp_insert_map(call->out, call->client->resp, at, count);
}

/* Is a verb in the category with this name, without its @? */
static bool in_category(const struct verb *verb, struct slice name)
{
	unsigned categories = categories_of(verb);
	for (unsigned i = 0; i < CATEGORIES; i++) {
		if ((categories & 1u << i) != 0 &&
			slice_equal_nocase(name, slice_of(category_names[i] + 1))) {
			return true;
		}
	}
	return false;
}

void introspect_list(struct call *call)
{
	bool filtered = call->argc == 5 && call_is(call, 2, "filterby");
	bool by_pattern = filtered && call_is(call, 3, "pattern");
	bool by_category = filtered && call_is(call, 3, "aclcat");
	bool by_module = filtered && call_is(call, 3, "module");
	if (call->argc != 2 && !by_pattern && !by_category && !by_module) {
		call_syntax_error(call);
		return;
	}
	size_t at = call->out->len;
	size_t count = 0;
	for (unsigned i = 0; i < verbs_count() && !by_module; i++) {
		const struct verb *verb = verbs_at(i);
		if ((by_pattern && !glob_match(call->argv[4], slice_of(verb->name), true)) ||
			(by_category && !in_category(verb, call->argv[4]))) {
			continue;
		}
		resp_put_string(call->out, verb->name);
		count++;
	}
	resp_insert_array(call->out, at, count);
}

/* SET reads its key only when it is asked to GET. */
static struct slice set_flags(const struct call *call)
{
	for (unsigned i = 5; i < call->argc; i++) {
		if (call_is(call, i, "get")) {
			return SLICE("RW access update");
		}
	}
	return SLICE("OW update");
}

/* The flags of the `n`th key. */
static struct slice key_flags(const struct call *call, const struct verb *verb, unsigned n)
{
	if (strcmp(verb->name, "set") == 0) {
		return set_flags(call);
	}
	struct slice rest = slice_of(verb->keys.flags);
	struct slice flags = slice_cut(&rest, '|');
	while (n-- > 0 && rest.data != NULL) {
		flags = slice_cut(&rest, '|');
	}
	return flags;
}

static void get_keys(struct call *call, bool with_flags)
{
	const struct verb *parent = NULL;
	unsigned argc = call->argc - 2;
	const struct verb *verb = verbs_find(call->env->verbs, call->argv + 2, argc, &parent);
	if (verb == NULL) {
		call_error(call, "ERR Invalid command specified");
		return;
	}
	if (verb->keys.first == 0 || strcmp(verb->keys.flags, "not_key") == 0) {
		call_error(call, "ERR The command has no key arguments");
		return;
	}
	if (verb->arity > 0 ? argc != (unsigned)verb->arity : argc < (unsigned)-verb->arity) {
		call_error(call, "ERR Invalid number of arguments specified for command");
		return;
	}
	unsigned last = verb->keys.last < 0 ? argc - 1 : (unsigned)verb->keys.last;
	unsigned n = 0;
	size_t at = call->out->len;
	for (unsigned i = (unsigned)verb->keys.first; i <= last; i += (unsigned)verb->keys.step) {
		if (with_flags) {
			resp_put_array(call->out, 2);
		}
		resp_put_bulk(call->out, call->argv[2 + i]);
		if (with_flags) {
			put_words(call->out, call->client->resp, key_flags(call, verb, n), true);
		}
		n++;
	}
	resp_insert_array(call->out, at, n);
}

void introspect_getkeys(struct call *call)
{
	get_keys(call, false);
}

void introspect_getkeysandflags(struct call *call)
{
	get_keys(call, true);
}

void introspect_help(struct call *call)
{
	static const char *const lines[] = {
		"(no subcommand)",
		"    Describe all commands.",
		"COUNT",
		"    Count the commands.",
		"DOCS [<command-name> ...]",
		"    Document commands; all of them without a name.",
		"GETKEYS <full-command>",
		"    Name the keys of a full command.",
		"GETKEYSANDFLAGS <full-command>",
		"    Name the keys of a full command, and what is done to them.",
		"INFO [<command-name> ...]",
		"    Describe commands; all of them without a name.",
		"LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
		"    Name the commands, with subcommands.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}
