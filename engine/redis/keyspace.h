/* One keyspace of the cache: a hash table that never stops to rehash, and a heap of expiries.
 *
 * Only the cache uses it. Knows no clock, no limit and no policy. One thread.
 */
#ifndef MILLRACE_REDIS_KEYSPACE_H
#define MILLRACE_REDIS_KEYSPACE_H

#include "engine/base/bytes.h"

/* A key with its value, in one piece of memory. */
struct entry {
	struct entry *next;
	int64_t expiry_ms; /* CACHE_NO_EXPIRY */
	uint32_t hash;
	uint32_t heap_at;    /* where in the heap; ENTRY_NOT_IN_HEAP */
	uint32_t touched_ds; /* tenths of a second of the wall clock, wrapping */
	uint32_t key_len, value_len;
	char bytes[]; /* the key, then the value */
};

enum { KEYSPACE_KEY_MAX = 512 * 1024 * 1024 };
#define ENTRY_NOT_IN_HEAP UINT32_MAX

struct heap_node {
	int64_t expiry_ms;
	struct entry *entry;
};

struct keyspace {
	struct keyspace_table {
		struct entry **buckets;
		size_t size; /* a power of two, or 0 */
		size_t used;
	} tables[2];   /* the second one exists while entries move over to it */
	bool may_grow; /* a bigger table may be made: the cache says so before each put */
	size_t moved;  /* buckets of tables[0] that are empty because they have been moved */
	struct heap_node *heap;
	uint32_t heap_count, heap_cap;
	size_t hand;                 /* the bucket where sampling goes on */
	uint32_t heap_hand;          /* and the place in the heap */
	size_t bytes;                /* of everything here, as the allocator counts */
	struct keyspace *next_grave; /* the cache's, once it is flushed */
};

struct keyspace *keyspace_create(void);
/* Free up to `most` entries; true when nothing is left and the keyspace itself is freed. */
bool keyspace_bury(struct keyspace *keyspace, unsigned most);

uint32_t keyspace_hash(struct slice key);
size_t keyspace_count(const struct keyspace *keyspace);
struct slice entry_key(const struct entry *entry);
struct slice entry_value(const struct entry *entry);

/* NULL where there is none, expired or not. */
struct entry *keyspace_find(struct keyspace *keyspace, struct slice key, uint32_t hash);
/* Write a key that may exist. `value` is the caller's memory. The entry keeps its expiry; a new one
 * has none. The entry may move: pointers to it are void. */
struct entry *keyspace_put(
	struct keyspace *keyspace, struct slice key, uint32_t hash, struct slice value);
void keyspace_remove(struct keyspace *keyspace, struct entry *entry);
void keyspace_set_expiry(struct keyspace *keyspace, struct entry *entry, int64_t expiry_ms);
size_t entry_bytes(const struct entry *entry); /* its memory, buckets and heap included */
/* How much more memory a put may take, at most. */
size_t keyspace_put_bytes(
	struct keyspace *keyspace, struct slice key, uint32_t hash, struct slice value);

/* Go on resizing without a call to do it by the way; `steps` buckets. */
void keyspace_tidy(struct keyspace *keyspace, unsigned steps);

/* The one that expires first; NULL when none does. */
struct entry *keyspace_first_expiry(const struct keyspace *keyspace);
/* Up to `most` entries, going round: of all, or of those with an expiry. Looks at a bounded number
 * of buckets, so it may find fewer, even none. */
unsigned keyspace_sample(
	struct keyspace *keyspace, bool expiring, struct entry **out, unsigned most);

/* All entries; `each` changes nothing. */
void keyspace_each(
	struct keyspace *keyspace, void (*each)(void *context, struct entry *entry), void *context);
/* The entries of the bucket at `cursor` (two tables: of that bucket and of those it becomes or came
 * from). Returns the next cursor, 0 after the last. */
uint64_t keyspace_scan(struct keyspace *keyspace, uint64_t cursor,
	void (*each)(void *context, struct entry *entry), void *context);

#endif
