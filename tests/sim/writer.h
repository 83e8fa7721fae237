/* What a worker of Synapse says: rows, batches, positions, user syncs, and things that nobody knows. */
#ifndef MILLRACE_TESTS_SIM_WRITER_H
#define MILLRACE_TESTS_SIM_WRITER_H

#include "tests/sim/world.h"

/* One for each client, for its whole life: its instance is `w<number>`. */
struct writer {
	unsigned number;
	struct writer_batch {
		unsigned first, rows, next; /* ids from `first` on; 0: none under way */
	} batch;
};

/* The next thing to say on a channel, as its text; `*id` is what model_sent() and model_acked() are told; 0: nothing of
 * the model's. A batch is continued on the channel where it began, which comes back in `*channel`. */
void writer_next(struct writer *writer, struct world *world, unsigned connection, unsigned *channel,
	unsigned *id, struct bytes *text);
/* The same for a line worker; on CHANNEL_OF_LINES, or where the hub puts it. */
void writer_next_line(struct writer *writer, struct world *world, unsigned connection, unsigned *id,
	struct bytes *text);
/* Its connection is gone, `unanswered` messages with it. */
void writer_cut(struct writer *writer, struct world *world, bool unanswered);

#endif
