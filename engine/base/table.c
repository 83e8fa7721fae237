/* The keyed hash behind every table.
 *
 * Called by uthash's macros. One secret for the process, set before threads start and only read later.
 */
#include "engine/base/table.h"

#include <xxhash.h>

static uint64_t secret = 0x6d696c6c72616365u;

void table_seed(uint64_t seed)
{
	secret = seed;
}

uint64_t table_hash(const void *key, size_t len)
{
	return XXH3_64bits_withSeed(key, len, secret);
}
