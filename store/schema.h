/* Keys and values of the store, to the byte: schema.c opens with the format.
 *
 * Encoders append to a `struct bytes`. Decoders check everything and trust nothing: slices that
 * they hand out lie in the key or value given to them, and what is not exactly as an encoder
 * writes it is -E_CORRUPT. Nothing here knows RocksDB, threads or files.
 */
#ifndef MILLRACE_STORE_SCHEMA_H
#define MILLRACE_STORE_SCHEMA_H

#include <stdint.h>

#include "engine/base/bytes.h"
#include "store/store.h"

/* What this program writes, and reads without a migration. */
enum { SCHEMA_VERSION = 2 };

/* The first byte of every key. */
enum schema_kind {
	SCHEMA_META = 0x00,
	SCHEMA_POSITION = 0x10,
	SCHEMA_INSTANCE = 0x20,
	SCHEMA_USER_SYNC = 0x21,
	SCHEMA_ROW = 0x30
};

/* The key that holds the format's version, the same in all versions. */
struct slice schema_version_key(void);
void schema_version_value(struct bytes *out, uint32_t version);
/* errors: -E_CORRUPT. A newer version may have put more behind the number: that is fine here. */
int schema_version_decode(struct slice value, uint32_t *version);

void schema_position_key(
	struct bytes *out, struct slice tenant, struct slice stream, struct slice instance);
void schema_position_value(struct bytes *out, const struct store_position *position);
int schema_position_decode(struct slice key, struct slice value, struct store_position *out);

void schema_instance_key(struct bytes *out, struct slice tenant, struct slice instance_id);
void schema_instance_value(struct bytes *out, const struct store_instance *instance);
int schema_instance_decode(struct slice key, struct slice value, struct store_instance *out);

void schema_user_sync_key(struct bytes *out, const struct store_user_sync *sync);
void schema_user_sync_value(struct bytes *out, const struct store_user_sync *sync);
int schema_user_sync_decode(struct slice key, struct slice value, struct store_user_sync *out);
/* What all keys of one process' user syncs start with. */
void schema_user_sync_prefix(struct bytes *out, struct slice tenant, struct slice instance_id);

/* The key of the rows under one token: in key order the tokens of a stream's instance ascend,
 * below zero too. */
void schema_row_key(struct bytes *out, struct slice tenant, struct slice stream,
	struct slice instance, int64_t token);
int schema_row_key_decode(struct slice key, struct slice *tenant, struct slice *stream,
	struct slice *instance, int64_t *token);

/* Turn a prefix, in place, into the first key that lies behind every key with that prefix. */
void schema_prefix_end(struct bytes *prefix);

/* The value of a position in version 1, for the migration and its test. */
int schema_position_value_1_decode(struct slice value, int64_t *token, int64_t *wall_ms);

#endif
