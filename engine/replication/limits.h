/* What bounds the memory that one homeserver's replication may take. Kept by pointer: the
 * configuration may change them while the hub runs; what is above a lowered limit stays, and
 * nothing is added.
 */
#ifndef MILLRACE_REPLICATION_LIMITS_H
#define MILLRACE_REPLICATION_LIMITS_H

#include <stddef.h>
#include <stdint.h>

struct replication_limits {
	unsigned streams_max,
		instances_max; /* positions are at most their product, and positions_max */
	unsigned positions_max;
	unsigned user_syncs_max;      /* users and devices over all instances; and instances */
	unsigned batch_rows_max;      /* of one batch, its last row not counted */
	size_t batch_bytes_max;       /* over all pending batches of the tenant */
	uint64_t batch_age_max_ns;    /* since the first row */
	uint64_t user_sync_expiry_ns; /* silence of an instance whose connection is gone */
};

#endif
