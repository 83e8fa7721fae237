/* Hash tables: uthash with a keyed hash.
 *
 * Include this instead of <uthash.h>. Peers choose most of our keys (channels, users, cache keys), so the hash
 * is XXH3 with a secret seed: nobody can aim for one bucket. The seed is set once, before the first
 * table is made; the simulator and the tests leave it alone or set their own.
 */
#ifndef MILLRACE_BASE_TABLE_H
#define MILLRACE_BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* Set the seed, from the caller's randomness. Not while a table exists. */
void table_seed(uint64_t seed);

/* The keyed hash itself. */
uint64_t table_hash(const void *key, size_t len);

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)table_hash((keyptr), (keylen)))
#include <uthash.h>

#endif
