/* The table's index, and the counts.
 *
 * Called by commands.c for every request, by COMMAND and INFO. The table itself is verb_table.c. A
 * shard makes one `struct redis_verbs`, so nothing here is shared between threads.
 *
 * A first word is found by its hash in 512 slots, each the number of a verb plus one; a second word
 * by walking the few subcommands that stand behind their parent. Error replies are counted by their
 * first word; those are a fixed handful of ours, never a client's bytes.
 */
#include "engine/redis/verbs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 512, ERRORS_MAX = 32, PREFIX_MAX = 24 };

struct redis_verbs {
	uint8_t slots[SLOTS];
	uint8_t *subcommands;        /* by verb: how many follow it */
	struct redis_counts *counts; /* by verb */
	struct {
		char prefix[PREFIX_MAX];
		uint64_t count;
	} errors[ERRORS_MAX];
	uint64_t errors_total, calls_total;
	unsigned notify;
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static uint32_t name_hash(struct slice name)
{
	uint32_t hash = (uint32_t)name.len;
	for (size_t i = 0; i < name.len; i++) {
		hash = hash * 31 + (uint32_t)(unsigned char)lower(name.data[i]);
	}
	return hash ^ (hash >> 9);
}

/* Is `name` this lower-case word? */
static bool is_named(struct slice name, const char *word)
{
	size_t i = 0;
	while (i < name.len && word[i] != '\0' && lower(name.data[i]) == word[i]) {
		i++;
	}
	return i == name.len && word[i] == '\0';
}

/* The word behind the bar; NULL for a verb of one word. */
static const char *second_word(const struct verb *verb)
{
	const char *bar = strchr(verb->name, '|');
	return bar == NULL ? NULL : bar + 1;
}

struct redis_verbs *redis_verbs_create(void)
{
	struct redis_verbs *verbs = mem_zalloc(sizeof(*verbs));
	unsigned count = verbs_count();
	assert(count < UINT8_MAX);
	verbs->subcommands = mem_zalloc(count);
	verbs->counts = mem_zalloc(count * sizeof(*verbs->counts));
	unsigned parent = 0;
	for (unsigned i = 0; i < count; i++) {
		if (second_word(verbs_at(i)) != NULL) {
			verbs->subcommands[parent]++;
			continue;
		}
		parent = i;
		uint32_t slot = name_hash(slice_of(verbs_at(i)->name)) % SLOTS;
		while (verbs->slots[slot] != 0) {
			slot = (slot + 1) % SLOTS;
		}
		verbs->slots[slot] = (uint8_t)(i + 1);
	}
	return verbs;
}

void redis_verbs_destroy(struct redis_verbs *verbs)
{
	if (verbs != NULL) {
		free(verbs->subcommands);
		free(verbs->counts);
		free(verbs);
	}
}

unsigned verbs_number(const struct verb *verb)
{
	return (unsigned)(verb - verbs_at(0));
}

static const struct verb *find_first(const struct redis_verbs *verbs, struct slice name)
{
	uint32_t slot = name_hash(name) % SLOTS;
	for (; verbs->slots[slot] != 0; slot = (slot + 1) % SLOTS) {
		const struct verb *verb = verbs_at(verbs->slots[slot] - 1u);
		if (is_named(name, verb->name)) {
			return verb;
		}
	}
	return NULL;
}

static const struct verb *find_second(
	const struct redis_verbs *verbs, const struct verb *parent, struct slice word)
{
	unsigned count = verbs_subcommands(verbs, parent);
	for (const struct verb *verb = parent + 1; verb <= parent + count; verb++) {
		if (is_named(word, second_word(verb))) {
			return verb;
		}
	}
	return NULL;
}

unsigned verbs_subcommands(const struct redis_verbs *verbs, const struct verb *verb)
{
	return verbs->subcommands[verbs_number(verb)];
}

const struct verb *verbs_find(const struct redis_verbs *verbs, const struct slice *argv,
	unsigned argc, const struct verb **parent)
{
	const struct verb *verb = find_first(verbs, argv[0]);
	*parent = verb;
	if (verb == NULL || argc == 1 || verbs_subcommands(verbs, verb) == 0) {
		return verb;
	}
	return find_second(verbs, verb, argv[1]);
}

const struct verb *verbs_by_name(const struct redis_verbs *verbs, struct slice name)
{
	struct slice second = name;
	struct slice first = slice_cut(&second, '|');
	const struct verb *verb = find_first(verbs, first);
	return verb == NULL || second.data == NULL ? verb : find_second(verbs, verb, second);
}

void verbs_count_call(struct redis_verbs *verbs, const struct verb *verb, bool failed)
{
	struct redis_counts *counts = &verbs->counts[verbs_number(verb)];
	verbs->calls_total++;
	counts->calls++;
	counts->failed += failed ? 1 : 0;
}

void verbs_count_rejected(struct redis_verbs *verbs, const struct verb *verb)
{
	verbs->counts[verbs_number(verb)].rejected++;
}

void verbs_count_error(struct redis_verbs *verbs, struct slice text)
{
	struct slice rest = text;
	struct slice prefix = slice_cut(&rest, ' ');
	if (rest.data == NULL || prefix.len >= PREFIX_MAX) {
		prefix = SLICE("ERR");
	}
	verbs->errors_total++;
	for (unsigned i = 0; i < ERRORS_MAX; i++) {
		if (verbs->errors[i].count == 0) {
			memcpy(verbs->errors[i].prefix, prefix.data, prefix.len);
			verbs->errors[i].prefix[prefix.len] = '\0';
		}
		if (slice_equal(prefix, slice_of(verbs->errors[i].prefix))) {
			verbs->errors[i].count++;
			return;
		}
	}
}

unsigned *verbs_notify(struct redis_verbs *verbs)
{
	return &verbs->notify;
}

unsigned redis_verb_count(void)
{
	return verbs_count();
}

const char *redis_verb_name(unsigned verb)
{
	return verbs_at(verb)->name;
}

const struct redis_counts *redis_verb_counts(const struct redis_verbs *verbs, unsigned verb)
{
	assert(verb < verbs_count());
	return &verbs->counts[verb];
}

void redis_errors(const struct redis_verbs *verbs,
	void (*each)(void *context, const char *prefix, uint64_t count), void *context)
{
	for (unsigned i = 0; i < ERRORS_MAX && verbs->errors[i].count > 0; i++) {
		each(context, verbs->errors[i].prefix, verbs->errors[i].count);
	}
}

uint64_t redis_errors_total(const struct redis_verbs *verbs)
{
	return verbs->errors_total;
}

uint64_t redis_calls_total(const struct redis_verbs *verbs)
{
	return verbs->calls_total;
}

void redis_counts_reset(struct redis_verbs *verbs)
{
	memset(verbs->counts, 0, verbs_count() * sizeof(*verbs->counts));
	memset(verbs->errors, 0, sizeof(verbs->errors));
	verbs->errors_total = verbs->calls_total = 0;
}
