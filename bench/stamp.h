/* The payload of a measured message: an RDATA line, as Synapse would publish it, that carries its own identity.
 *
 *     RDATA caches b0007 100000000042 ["00000000000004d2","xxxxxxxx…"]
 *                   ^      ^             ^
 *                   publisher  10^11 + sequence   number of the message in this run, hexadecimal
 *
 * The fields have fixed places, so that making one is a copy with two patches, and a hub that reads what it
 * carries (and a line worker) finds a row of a stream that exists.
 */
#ifndef MILLRACE_BENCH_STAMP_H
#define MILLRACE_BENCH_STAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum { STAMP_SIZE_MIN = 56, STAMP_SIZE_MAX = 256 * 1024, STAMP_PUBLISHERS_MAX = 10000 };

struct stamp {
	uint32_t publisher;
	uint64_t sequence; /* per publisher and channel, from 0 */
	uint64_t number;   /* per run, from 0 */
};

/* Append a payload of `size` bytes whose sequence and number are still to be set. */
void stamp_append(struct bytes *out, uint32_t publisher, size_t size);

/* Set the two numbers of a payload made by stamp_append(). */
void stamp_set(char *payload, uint64_t sequence, uint64_t number);

/* Read one back. False where it is not one of ours. */
bool stamp_read(struct slice payload, struct stamp *out);

#endif
