/* The simulated world: one hub, its disk, its network, and everybody who talks to it. */
#ifndef MILLRACE_TESTS_SIM_WORLD_H
#define MILLRACE_TESTS_SIM_WORLD_H

#include "engine/hub/hub.h"
#include "tests/sim/disk.h"
#include "tests/sim/model.h"
#include "tests/sim/net.h"

struct actor;

enum { CLIENTS_MAX = MODEL_WRITERS };

/* What kind of world it is; drawn from the seed. */
struct climate {
	bool stormy;    /* links stall, break, and cut everything into bits */
	bool flood;     /* large messages, and readers that do not read */
	bool disk_ills; /* it is slow, and full at times */
	bool line_writers;
	unsigned batch_rows_max;
	size_t payload_max;
};

struct world {
	uint64_t seed;
	struct sim_random random;
	struct climate climate;
	struct net *net;
	struct disk *disk;
	struct config config;
	struct hub hub;
	bool up;        /* the hub is there */
	bool stopping;  /* it was told to stop */
	bool finishing; /* nobody begins anything new; everything is to arrive */
	bool disk_full;
	struct model *model;
	struct ledger ledger;
	struct actor *clients[CLIENTS_MAX];
	unsigned clients_count;
	unsigned connections;         /* serials given so far */
	uint64_t disk_well_ns;        /* since when the disk has been without trouble */
	uint64_t over_since_ns[1024]; /* by slot: over the hard limit */
	uint64_t over_id[1024];
	bool verbose;
	char why[1000]; /* what is wrong; empty: nothing */
	struct world_counts {
		uint64_t turns, says, heard, lives, drops;
	} counts;
};

/* One world from one seed, for `steps` turns or so. False: `world->why` says what is wrong. */
bool world_run(struct world *world, uint64_t seed, unsigned steps);
void world_finish(struct world *world);

/* The first complaint stays. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_note(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool world_failed(const struct world *world);

/* world_check.c: what must hold after every turn, and at the ends. */
void world_check_turn(struct world *world);
void world_check_settled(struct world *world);
void world_check_stored(struct world *world, enum crash crash, uint64_t crashed_ns);
/* What the store has for a stream's writer of the first tenant; false: nothing. */
bool world_stored_token(struct world *world, unsigned stream, unsigned writer, int64_t *token);

#endif
