/* The keys that clients WATCH: a table of counters. Only the cache uses it.
 */
#ifndef MILLRACE_REDIS_WATCH_H
#define MILLRACE_REDIS_WATCH_H

#include "engine/base/bytes.h"
#include "engine/base/table.h"

/* One watched key, whoever watches it. */
struct cache_watch {
	uint64_t changes; /* how often the key was changed since somebody began to watch it */
	unsigned holders;
	int db;
	UT_hash_handle hh;
	size_t len;
	char name[]; /* the database number's bytes, then the key */
};

struct slice watch_key(const struct cache_watch *watch);
struct cache_watch *watch_find(struct cache_watch *table, int db, struct slice key); /* or NULL */
/* One holder more, and one less; the last one frees it. */
struct cache_watch *watch_hold(struct cache_watch **table, int db, struct slice key);
void watch_release(struct cache_watch **table, struct cache_watch *watch);

#endif
