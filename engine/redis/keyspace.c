/* A hash table in two halves, and a heap.
 *
 * Called by cache.c. Entries hang in chains of single buckets. When a table is full a second one of
 * twice the size is made, and every call that looks something up moves one bucket over, so that
 * growing never takes longer than a call (a million entries moved at once would stop a shard for
 * tens of milliseconds):
 *
 *     tables[0]   [ moved | moved | chain | chain ]      new keys go to tables[1]
 *     tables[1]   [ chain | chain | ..... | ..... | chain | chain | ..... | ..... ]
 *
 * Scanning goes through buckets in the order of their reversed bits. In that order a bucket's two
 * halves in a table of twice the size follow each other, so a cursor stays true while tables grow
 * and shrink: what was there all the time is met, some of it twice.
 *
 * Expiries are in a heap of four children a node, each entry knowing its place. Most expiries are
 * given in the order in which they come, so putting one in is mostly an append.
 *
 * Memory is counted as the allocator rounds it. Invariant: used of both tables is what is linked;
 * an entry with an expiry is in the heap, one without is not.
 */
#include "engine/redis/keyspace.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/table.h"
#include "engine/redis/cache.h"

enum {
	TABLE_SIZE_MIN = 16,
	MOVE_EMPTY_MAX = 16,     /* empty buckets skipped for one that is moved */
	SAMPLE_BUCKETS_MAX = 64, /* looked at for one sample */
	HEAP_CAP_MIN = 16,
	HEAP_CHILDREN = 4,
	PER_ENTRY = sizeof(struct entry *) /* its share of the buckets */
};

struct slice entry_key(const struct entry *entry)
{
	return (struct slice){entry->bytes, entry->key_len};
}

struct slice entry_value(const struct entry *entry)
{
	return (struct slice){entry->bytes + entry->key_len, entry->value_len};
}

static size_t entry_memory(const struct entry *entry)
{
	return malloc_usable_size((void *)entry) + PER_ENTRY;
}

size_t entry_bytes(const struct entry *entry)
{
	return entry_memory(entry) +
	       (entry->heap_at == ENTRY_NOT_IN_HEAP ? 0 : sizeof(struct heap_node));
}

uint32_t keyspace_hash(struct slice key)
{
	uint64_t hash = table_hash(key.data, key.len);
	return (uint32_t)(hash ^ (hash >> 32));
}

size_t keyspace_count(const struct keyspace *keyspace)
{
	return keyspace->tables[0].used + keyspace->tables[1].used;
}

struct keyspace *keyspace_create(void)
{
	struct keyspace *keyspace = mem_zalloc(sizeof(*keyspace));
	keyspace->tables[0].buckets = mem_zalloc(TABLE_SIZE_MIN * sizeof(struct entry *));
	keyspace->tables[0].size = TABLE_SIZE_MIN;
	keyspace->may_grow = true;
	keyspace->bytes = sizeof(*keyspace) + TABLE_SIZE_MIN * sizeof(struct entry *);
	return keyspace;
}

/* At most so many entries and so many buckets. */
static unsigned bury_table(struct keyspace *keyspace, struct keyspace_table *table, unsigned most)
{
	unsigned freed = 0;
	for (unsigned looked = 0; table->used > 0 && freed < most && looked < most; looked++) {
		struct entry **link = &table->buckets[keyspace->hand & (table->size - 1)];
		while (*link != NULL && freed < most) {
			struct entry *entry = *link;
			*link = entry->next;
			keyspace->bytes -= entry_memory(entry);
			free(entry);
			table->used--;
			freed++;
		}
		keyspace->hand += *link == NULL ? 1 : 0;
	}
	return freed;
}

bool keyspace_bury(struct keyspace *keyspace, unsigned most)
{
	unsigned freed = bury_table(keyspace, &keyspace->tables[0], most);
	bury_table(keyspace, &keyspace->tables[1], most - freed);
	if (keyspace_count(keyspace) > 0) {
		return false;
	}
	free(keyspace->tables[0].buckets);
	free(keyspace->tables[1].buckets);
	free(keyspace->heap);
	free(keyspace);
	return true;
}

static bool is_moving(const struct keyspace *keyspace)
{
	return keyspace->tables[1].size > 0;
}

static void link_entry(struct keyspace_table *table, struct entry *entry)
{
	struct entry **bucket = &table->buckets[entry->hash & (table->size - 1)];
	entry->next = *bucket;
	*bucket = entry;
	table->used++;
}

static void end_moving(struct keyspace *keyspace)
{
	assert(keyspace->tables[0].used == 0);
	keyspace->bytes -= keyspace->tables[0].size * sizeof(struct entry *);
	free(keyspace->tables[0].buckets);
	keyspace->tables[0] = keyspace->tables[1];
	keyspace->tables[1] = (struct keyspace_table){0};
	keyspace->moved = 0;
}

/* Move one bucket that has something, or skip a few empty ones. */
static void move_some(struct keyspace *keyspace)
{
	struct keyspace_table *from = &keyspace->tables[0];
	for (unsigned i = 0; i < MOVE_EMPTY_MAX && keyspace->moved < from->size; i++) {
		struct entry *entry = from->buckets[keyspace->moved];
		bool any = entry != NULL;
		from->buckets[keyspace->moved] = NULL;
		while (entry != NULL) {
			struct entry *next = entry->next;
			from->used--;
			link_entry(&keyspace->tables[1], entry);
			entry = next;
		}
		keyspace->moved++;
		if (any) {
			break;
		}
	}
	if (keyspace->moved == from->size) {
		end_moving(keyspace);
	}
}

static void begin_moving(struct keyspace *keyspace, size_t size)
{
	struct keyspace_table *to = &keyspace->tables[1];
	to->buckets = mem_zalloc(size * sizeof(struct entry *));
	to->size = size;
	keyspace->bytes += size * sizeof(struct entry *);
	keyspace->moved = 0;
}

/* One call's share of resizing. */
static void resize_some(struct keyspace *keyspace)
{
	if (is_moving(keyspace)) {
		move_some(keyspace);
		return;
	}
	struct keyspace_table *table = &keyspace->tables[0];
	if (table->used >= table->size && keyspace->may_grow) {
		begin_moving(keyspace, 2 * table->size);
	} else if (table->used < table->size / 8 && table->size > TABLE_SIZE_MIN) {
		begin_moving(keyspace, table->size / 2);
	}
}

void keyspace_tidy(struct keyspace *keyspace, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		resize_some(keyspace);
	}
}

static struct entry **find_link(struct keyspace *keyspace, struct slice key, uint32_t hash)
{
	for (unsigned t = 0; t < 2 && keyspace->tables[t].size > 0; t++) {
		struct keyspace_table *table = &keyspace->tables[t];
		struct entry **link = &table->buckets[hash & (table->size - 1)];
		for (; *link != NULL; link = &(*link)->next) {
			const struct entry *entry = *link;
			if (entry->hash == hash && entry->key_len == key.len &&
				(key.len == 0 || memcmp(entry->bytes, key.data, key.len) == 0)) {
				return link;
			}
		}
	}
	return NULL;
}

struct entry *keyspace_find(struct keyspace *keyspace, struct slice key, uint32_t hash)
{
	resize_some(keyspace);
	struct entry **link = find_link(keyspace, key, hash);
	return link == NULL ? NULL : *link;
}

static void heap_place(struct keyspace *keyspace, uint32_t at, struct heap_node node)
{
	keyspace->heap[at] = node;
	node.entry->heap_at = at;
}

static void heap_up(struct keyspace *keyspace, uint32_t at, struct heap_node node)
{
	while (at > 0) {
		uint32_t parent = (at - 1) / HEAP_CHILDREN;
		if (keyspace->heap[parent].expiry_ms <= node.expiry_ms) {
			break;
		}
		heap_place(keyspace, at, keyspace->heap[parent]);
		at = parent;
	}
	heap_place(keyspace, at, node);
}

static void heap_down(struct keyspace *keyspace, uint32_t at, struct heap_node node)
{
	for (;;) {
		uint64_t child = (uint64_t)at * HEAP_CHILDREN + 1;
		uint64_t end = child + HEAP_CHILDREN;
		uint64_t least = child;
		if (child >= keyspace->heap_count) {
			break;
		}
		for (; child < end && child < keyspace->heap_count; child++) {
			if (keyspace->heap[child].expiry_ms < keyspace->heap[least].expiry_ms) {
				least = child;
			}
		}
		if (keyspace->heap[least].expiry_ms >= node.expiry_ms) {
			break;
		}
		heap_place(keyspace, at, keyspace->heap[least]);
		at = (uint32_t)least;
	}
	heap_place(keyspace, at, node);
}

static void heap_resize(struct keyspace *keyspace, uint32_t cap)
{
	keyspace->bytes += (size_t)cap * sizeof(struct heap_node);
	keyspace->bytes -= (size_t)keyspace->heap_cap * sizeof(struct heap_node);
	keyspace->heap = mem_realloc(keyspace->heap, cap * sizeof(struct heap_node));
	keyspace->heap_cap = cap;
}

static uint32_t heap_growth(const struct keyspace *keyspace)
{
	return keyspace->heap_cap < 4 * HEAP_CAP_MIN ? HEAP_CAP_MIN : keyspace->heap_cap / 4;
}

static void heap_add(struct keyspace *keyspace, struct entry *entry)
{
	assert(keyspace->heap_count < UINT32_MAX / 2);
	if (keyspace->heap_count == keyspace->heap_cap) {
		heap_resize(
			keyspace, keyspace->heap_cap == 0 ? HEAP_CAP_MIN : 2 * keyspace->heap_cap);
	}
	heap_up(keyspace, keyspace->heap_count++, (struct heap_node){entry->expiry_ms, entry});
}

static void heap_remove(struct keyspace *keyspace, struct entry *entry)
{
	uint32_t at = entry->heap_at;
	assert(at < keyspace->heap_count && keyspace->heap[at].entry == entry);
	struct heap_node last = keyspace->heap[--keyspace->heap_count];
	entry->heap_at = ENTRY_NOT_IN_HEAP;
	if (last.entry != entry) {
		if (last.expiry_ms < keyspace->heap[at].expiry_ms) {
			heap_up(keyspace, at, last);
		} else {
			heap_down(keyspace, at, last);
		}
	}
	if (keyspace->heap_cap > HEAP_CAP_MIN && keyspace->heap_count < keyspace->heap_cap / 4) {
		heap_resize(keyspace, keyspace->heap_cap / 2);
	}
}

static void heap_change(struct keyspace *keyspace, struct entry *entry)
{
	struct heap_node node = {entry->expiry_ms, entry};
	if (keyspace->heap[entry->heap_at].expiry_ms > node.expiry_ms) {
		heap_up(keyspace, entry->heap_at, node);
	} else {
		heap_down(keyspace, entry->heap_at, node);
	}
}

void keyspace_set_expiry(struct keyspace *keyspace, struct entry *entry, int64_t expiry_ms)
{
	bool in_heap = entry->heap_at != ENTRY_NOT_IN_HEAP;
	entry->expiry_ms = expiry_ms;
	if (in_heap && expiry_ms == CACHE_NO_EXPIRY) {
		heap_remove(keyspace, entry);
	} else if (in_heap) {
		heap_change(keyspace, entry);
	} else if (expiry_ms != CACHE_NO_EXPIRY) {
		heap_add(keyspace, entry);
	}
}

size_t keyspace_put_bytes(
	struct keyspace *keyspace, struct slice key, uint32_t hash, struct slice value)
{
	size_t size = sizeof(struct entry) + key.len + value.len;
	size_t more = size + size / 8 + 2 * PER_ENTRY;
	if (keyspace->heap_count == keyspace->heap_cap) {
		more += heap_growth(keyspace) * sizeof(struct heap_node);
	}
	struct entry **link = find_link(keyspace, key, hash);
	size_t had = link == NULL ? 0 : entry_bytes(*link);
	return more > had ? more - had : 0;
}

/* Does the value fit into the entry's memory, without wasting most of it? */
static bool fits(const struct entry *entry, size_t size)
{
	size_t usable = malloc_usable_size((void *)entry);
	return size <= usable && (usable <= 128 || size >= usable / 2);
}

static struct entry *put_new(
	struct keyspace *keyspace, struct slice key, uint32_t hash, struct slice value)
{
	struct entry *entry = mem_alloc(sizeof(*entry) + key.len + value.len);
	*entry = (struct entry){.expiry_ms = CACHE_NO_EXPIRY,
		.hash = hash,
		.heap_at = ENTRY_NOT_IN_HEAP,
		.key_len = (uint32_t)key.len,
		.value_len = (uint32_t)value.len};
	memcpy(entry->bytes, key.data, key.len);
	memcpy(entry->bytes + key.len, value.data, value.len);
	link_entry(&keyspace->tables[is_moving(keyspace) ? 1 : 0], entry);
	keyspace->bytes += entry_memory(entry);
	return entry;
}

struct entry *keyspace_put(
	struct keyspace *keyspace, struct slice key, uint32_t hash, struct slice value)
{
	assert(key.len <= KEYSPACE_KEY_MAX && value.len < UINT32_MAX);
	resize_some(keyspace);
	value.data = value.len == 0 ? "" : value.data;
	key.data = key.len == 0 ? "" : key.data;
	struct entry **link = find_link(keyspace, key, hash);
	if (link == NULL) {
		return put_new(keyspace, key, hash, value);
	}
	struct entry *entry = *link;
	size_t size = sizeof(*entry) + key.len + value.len;
	if (fits(entry, size)) {
		memmove(entry->bytes + key.len, value.data, value.len);
		entry->value_len = (uint32_t)value.len;
		return entry;
	}
	struct entry *moved = mem_alloc(size);
	memcpy(moved, entry, sizeof(*entry));
	memcpy(moved->bytes, entry->bytes, key.len);
	memcpy(moved->bytes + key.len, value.data, value.len);
	moved->value_len = (uint32_t)value.len;
	*link = moved;
	if (moved->heap_at != ENTRY_NOT_IN_HEAP) {
		keyspace->heap[moved->heap_at].entry = moved;
	}
	keyspace->bytes += entry_memory(moved);
	keyspace->bytes -= entry_memory(entry);
	free(entry);
	return moved;
}

void keyspace_remove(struct keyspace *keyspace, struct entry *entry)
{
	for (unsigned t = 0; t < 2 && keyspace->tables[t].size > 0; t++) {
		struct keyspace_table *table = &keyspace->tables[t];
		struct entry **link = &table->buckets[entry->hash & (table->size - 1)];
		while (*link != NULL && *link != entry) {
			link = &(*link)->next;
		}
		if (*link == entry) {
			*link = entry->next;
			table->used--;
			if (entry->heap_at != ENTRY_NOT_IN_HEAP) {
				heap_remove(keyspace, entry);
			}
			keyspace->bytes -= entry_memory(entry);
			free(entry);
			resize_some(keyspace);
			return;
		}
	}
	assert(false && "an entry of this keyspace");
}

struct entry *keyspace_first_expiry(const struct keyspace *keyspace)
{
	return keyspace->heap_count == 0 ? NULL : keyspace->heap[0].entry;
}

static unsigned sample_heap(struct keyspace *keyspace, struct entry **out, unsigned most)
{
	unsigned count = 0;
	for (; count < most && count < keyspace->heap_count; count++) {
		keyspace->heap_hand = (keyspace->heap_hand + 1) % keyspace->heap_count;
		out[count] = keyspace->heap[keyspace->heap_hand].entry;
	}
	return count;
}

unsigned keyspace_sample(
	struct keyspace *keyspace, bool expiring, struct entry **out, unsigned most)
{
	if (expiring) {
		return sample_heap(keyspace, out, most);
	}
	unsigned count = 0;
	size_t both = keyspace->tables[0].size + keyspace->tables[1].size;
	for (unsigned looked = 0; looked < SAMPLE_BUCKETS_MAX && count < most; looked++) {
		size_t at = keyspace->hand++ % both;
		bool first = at < keyspace->tables[0].size;
		struct entry *entry =
			first ? keyspace->tables[0].buckets[at]
			      : keyspace->tables[1].buckets[at - keyspace->tables[0].size];
		for (; entry != NULL && count < most; entry = entry->next) {
			out[count++] = entry;
		}
	}
	return count;
}

static void each_of_bucket(
	struct entry *entry, void (*each)(void *context, struct entry *entry), void *context)
{
	while (entry != NULL) {
		struct entry *next = entry->next;
		each(context, entry);
		entry = next;
	}
}

void keyspace_each(
	struct keyspace *keyspace, void (*each)(void *context, struct entry *entry), void *context)
{
	for (unsigned t = 0; t < 2; t++) {
		for (size_t i = 0; i < keyspace->tables[t].size; i++) {
			each_of_bucket(keyspace->tables[t].buckets[i], each, context);
		}
	}
}

static uint64_t reverse_bits(uint64_t v)
{
	v = ((v >> 1) & 0x5555555555555555u) | ((v & 0x5555555555555555u) << 1);
	v = ((v >> 2) & 0x3333333333333333u) | ((v & 0x3333333333333333u) << 2);
	v = ((v >> 4) & 0x0f0f0f0f0f0f0f0fu) | ((v & 0x0f0f0f0f0f0f0f0fu) << 4);
	return __builtin_bswap64(v);
}

/* The bucket behind `cursor` in the order of reversed bits, for a table of that mask. */
static uint64_t next_cursor(uint64_t cursor, uint64_t mask)
{
	return reverse_bits(reverse_bits(cursor | ~mask) + 1);
}

uint64_t keyspace_scan(struct keyspace *keyspace, uint64_t cursor,
	void (*each)(void *context, struct entry *entry), void *context)
{
	const struct keyspace_table *small = &keyspace->tables[0];
	const struct keyspace_table *large = &keyspace->tables[1];
	if (!is_moving(keyspace)) {
		each_of_bucket(small->buckets[cursor & (small->size - 1)], each, context);
		return next_cursor(cursor, small->size - 1);
	}
	if (small->size > large->size) {
		const struct keyspace_table *swap = small;
		small = large;
		large = swap;
	}
	each_of_bucket(small->buckets[cursor & (small->size - 1)], each, context);
	do {
		each_of_bucket(large->buckets[cursor & (large->size - 1)], each, context);
		cursor = next_cursor(cursor, large->size - 1);
	} while ((cursor & ((small->size - 1) ^ (large->size - 1))) != 0);
	return cursor;
}
