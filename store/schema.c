/* The store's format, version 2.
 *
 * Called by batch.c, which writes, by store.c, which reads back, and by migrate.c; calls
 * nobody.
 *
 * A store is an ordered map from byte strings to byte strings. Integers are big endian.
 *
 *     key   := kind [name ...] [number]
 *     kind  := one byte, from the table below
 *     name  := length bytes
 *     length:= LEB128: seven bits a byte, the least significant first, bit 7 set on all but
 *              the last; the shortest form only, at most 5 bytes
 *     number:= 8 bytes: the int64 with its sign bit flipped, so that byte order is numeric order:
 *              -1 is 7f ff ff ff ff ff ff ff, 0 is 80 00 00 00 00 00 00 00
 *
 *     kind  names                           value                  what
 *     00    the bytes "format", no length   version, 4 bytes       this document's version
 *     10    tenant stream instance          number number number   position: token prev wall_ms
 *     20    tenant instance_id              number                 process: heard_ms
 *     21    tenant instance_id user device  number                 user sync: since_ms
 *     30    tenant stream instance, number  rows of a batch        row log: reserved, see below
 *
 * A user sync of the form without a device has a device of length 0. The number in the key of
 * kind 30 is the rows' token.
 *
 * A position of instance "w1" on stream "events" of tenant "a.b", token 5, prev 4, at 1 ms:
 *
 *     key    10  03 61 2e 62  06 65 76 65 6e 74 73  02 77 31
 *     value  80 00 00 00 00 00 00 05  80 00 00 00 00 00 00 04  80 00 00 00 00 00 00 01
 *
 * Because each name carries its length before it, the keys of one tenant, of one tenant's
 * stream or of one tenant's process lie together: a prefix made of whole names is a prefix of
 * exactly their keys, and no byte in a name can pretend to be the next name. Names of different
 * length are therefore not in alphabetical order; nothing needs them to be. Kinds ascend as a
 * reader wants them: a process stands before its user syncs. Deleting a process is deleting its
 * key 20 and everything with its prefix of kind 21.
 *
 * How to read a store: look up the version. Missing with no other key: a new store. Missing
 * with other keys: not ours. Newer than this program: refuse. Older: migrate, one version at a
 * time (migrate.c). Then walk the kinds.
 *
 * A decoder accepts what an encoder can have written and nothing else: an unknown kind, a
 * length that is not in its shortest form, a name beyond the key's end, bytes behind the last
 * field, a value of another length, all are -E_CORRUPT. Checksums are RocksDB's: every block
 * and every WAL record has one.
 *
 * Reserved: kind 30, for rows with their token in the key, in a column family of its own
 * ("rows") so that its retention and compaction leave the rest alone; its keys' encoding is
 * here and fixed, its values are not yet. Kinds 40 to 4f, for what a tenant has applied from a
 * foreign log, and its epoch.
 *
 * Versions:
 *     1  position's value without prev: token, wall_ms (16 bytes)
 *     2  position's value with prev: token, prev, wall_ms
 * Whoever changes a byte of this makes a new version, a line here, and a step in migrate.c.
 */
#include "store/schema.h"

#include <assert.h>

#include "engine/base/err.h"

enum { LENGTH_BYTES_MAX = 5, NUMBER_BYTES = 8, VERSION_BYTES = 4 };

static const char version_key[] = "\0format";

/* What is left of a key or value that is being decoded. Once `bad`, always bad. */
struct reader {
	struct slice rest;
	bool bad;
};

static void put_byte(struct bytes *out, unsigned value)
{
	char byte = (char)(unsigned char)value;
	bytes_append(out, &byte, 1);
}

static void put_name(struct bytes *out, struct slice name)
{
	assert(name.len <= UINT32_MAX);
	size_t len = name.len;
	while (len >= 0x80) {
		put_byte(out, (unsigned)(len & 0x7f) | 0x80);
		len >>= 7;
	}
	put_byte(out, (unsigned)len);
	bytes_append_slice(out, name);
}

static void put_number(struct bytes *out, int64_t number)
{
	uint64_t bits = (uint64_t)number ^ (UINT64_C(1) << 63);
	for (int shift = 56; shift >= 0; shift -= 8) {
		put_byte(out, (unsigned)(bits >> shift) & 0xff);
	}
}

static unsigned take_byte(struct reader *r)
{
	if (r->bad || r->rest.len == 0) {
		r->bad = true;
		return 0;
	}
	unsigned byte = (unsigned char)r->rest.data[0];
	r->rest.data++;
	r->rest.len--;
	return byte;
}

static size_t take_length(struct reader *r)
{
	uint64_t len = 0;
	for (unsigned i = 0; i < LENGTH_BYTES_MAX; i++) {
		unsigned byte = take_byte(r);
		len |= (uint64_t)(byte & 0x7f) << (7 * i);
		if ((byte & 0x80) == 0) {
			/* A last byte of zero behind others says nothing: not the shortest
			 * form. */
			r->bad = r->bad || (byte == 0 && i > 0) || len > UINT32_MAX;
			return (size_t)len;
		}
	}
	r->bad = true;
	return 0;
}

static struct slice take_name(struct reader *r)
{
	size_t len = take_length(r);
	if (r->bad || len > r->rest.len) {
		r->bad = true;
		return (struct slice){NULL, 0};
	}
	struct slice name = {r->rest.data, len};
	r->rest.data += len;
	r->rest.len -= len;
	return name;
}

static int64_t take_number(struct reader *r)
{
	uint64_t bits = 0;
	for (unsigned i = 0; i < NUMBER_BYTES; i++) {
		bits = bits << 8 | take_byte(r);
	}
	return (int64_t)(bits ^ (UINT64_C(1) << 63));
}

static struct reader read_key(struct slice key, enum schema_kind kind)
{
	struct reader r = {key, false};
	unsigned found = take_byte(&r);
	r.bad = r.bad || found != (unsigned)kind;
	return r;
}

static int read_end(const struct reader *r)
{
	return r->bad || r->rest.len != 0 ? -E_CORRUPT : OK;
}

struct slice schema_version_key(void)
{
	return (struct slice){version_key, sizeof(version_key) - 1};
}

void schema_version_value(struct bytes *out, uint32_t version)
{
	for (int shift = 24; shift >= 0; shift -= 8) {
		put_byte(out, version >> shift & 0xff);
	}
}

int schema_version_decode(struct slice value, uint32_t *version)
{
	struct reader r = {value, false};
	uint32_t number = 0;
	for (unsigned i = 0; i < VERSION_BYTES; i++) {
		number = number << 8 | take_byte(&r);
	}
	bool trailing = number <= SCHEMA_VERSION && r.rest.len != 0;
	if (r.bad || number == 0 || trailing) {
		return -E_CORRUPT;
	}
	*version = number;
	return OK;
}

void schema_position_key(
	struct bytes *out, struct slice tenant, struct slice stream, struct slice instance)
{
	put_byte(out, SCHEMA_POSITION);
	put_name(out, tenant);
	put_name(out, stream);
	put_name(out, instance);
}

void schema_position_value(struct bytes *out, const struct store_position *position)
{
	put_number(out, position->token);
	put_number(out, position->prev);
	put_number(out, position->wall_ms);
}

int schema_position_decode(struct slice key, struct slice value, struct store_position *out)
{
	struct reader k = read_key(key, SCHEMA_POSITION);
	out->tenant = take_name(&k);
	out->stream = take_name(&k);
	out->instance = take_name(&k);
	struct reader v = {value, false};
	out->token = take_number(&v);
	out->prev = take_number(&v);
	out->wall_ms = take_number(&v);
	int err = read_end(&k);
	return err != OK ? err : read_end(&v);
}

void schema_instance_key(struct bytes *out, struct slice tenant, struct slice instance_id)
{
	put_byte(out, SCHEMA_INSTANCE);
	put_name(out, tenant);
	put_name(out, instance_id);
}

void schema_instance_value(struct bytes *out, const struct store_instance *instance)
{
	put_number(out, instance->heard_ms);
}

int schema_instance_decode(struct slice key, struct slice value, struct store_instance *out)
{
	struct reader k = read_key(key, SCHEMA_INSTANCE);
	out->tenant = take_name(&k);
	out->instance_id = take_name(&k);
	struct reader v = {value, false};
	out->heard_ms = take_number(&v);
	int err = read_end(&k);
	return err != OK ? err : read_end(&v);
}

void schema_user_sync_prefix(struct bytes *out, struct slice tenant, struct slice instance_id)
{
	put_byte(out, SCHEMA_USER_SYNC);
	put_name(out, tenant);
	put_name(out, instance_id);
}

void schema_user_sync_key(struct bytes *out, const struct store_user_sync *sync)
{
	schema_user_sync_prefix(out, sync->tenant, sync->instance_id);
	put_name(out, sync->user);
	put_name(out, sync->device);
}

void schema_user_sync_value(struct bytes *out, const struct store_user_sync *sync)
{
	put_number(out, sync->since_ms);
}

int schema_user_sync_decode(struct slice key, struct slice value, struct store_user_sync *out)
{
	struct reader k = read_key(key, SCHEMA_USER_SYNC);
	out->tenant = take_name(&k);
	out->instance_id = take_name(&k);
	out->user = take_name(&k);
	out->device = take_name(&k);
	struct reader v = {value, false};
	out->since_ms = take_number(&v);
	int err = read_end(&k);
	return err != OK ? err : read_end(&v);
}

void schema_row_key(struct bytes *out, struct slice tenant, struct slice stream,
	struct slice instance, int64_t token)
{
	put_byte(out, SCHEMA_ROW);
	put_name(out, tenant);
	put_name(out, stream);
	put_name(out, instance);
	put_number(out, token);
}

int schema_row_key_decode(struct slice key, struct slice *tenant, struct slice *stream,
	struct slice *instance, int64_t *token)
{
	struct reader k = read_key(key, SCHEMA_ROW);
	*tenant = take_name(&k);
	*stream = take_name(&k);
	*instance = take_name(&k);
	*token = take_number(&k);
	return read_end(&k);
}

void schema_prefix_end(struct bytes *prefix)
{
	/* 21 03 ff -> 21 04: what cannot be counted up is dropped. A kind is never ff, so there
	 * is an end. */
	while (prefix->len > 0 && (unsigned char)prefix->data[prefix->len - 1] == 0xff) {
		prefix->len--;
	}
	assert(prefix->len > 0);
	prefix->data[prefix->len - 1]++;
}

int schema_position_value_1_decode(struct slice value, int64_t *token, int64_t *wall_ms)
{
	struct reader v = {value, false};
	*token = take_number(&v);
	*wall_ms = take_number(&v);
	return read_end(&v);
}
