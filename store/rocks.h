/* The kind of store that keeps everything in RocksDB; the only file that includes rocksdb/c.h
 * is rocks.c. */
#ifndef MILLRACE_STORE_ROCKS_H
#define MILLRACE_STORE_ROCKS_H

#include "store/backend.h"

const struct backend_kind *rocks_kind(void);

/* So much has to be free on the disk, or nothing is written. */
uint64_t rocks_free_min(size_t write_buffer_bytes);

#endif
