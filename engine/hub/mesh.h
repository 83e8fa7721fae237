/* The mesh: how shards talk to each other, without a lock.
 *
 * Each ordered pair of shards has a ring for one producer and one consumer (Concurrency Kit's ck_ring). What a shard has to say to
 * another gathers in a parcel during its turn and goes off at the turn's end: one entry of the ring, and one doorbell if the other
 * sleeps, however many notes are in it. A note is a kind and its bytes; remote.c knows what they mean.
 *
 *     shard 0: mesh_note(…) mesh_note(…) mesh_post() ──▶ ring 0→1 ──▶ shard 1: mesh_take() ─▶ each note
 *
 * Who sleeps says so, looks into its rings once more, and only then waits; who posts looks at that word after the entry: with a
 * full fence on either side one of the two sees the other (Dekker).
 *
 * For questions that concern all shards (CLIENT LIST, INFO, a page of metrics) mesh_halt() has all others stand still between two
 * turns. That takes some ten microseconds, happens when a person or a scraper asks, and spares everything else a lock.
 */
#ifndef MILLRACE_HUB_MESH_H
#define MILLRACE_HUB_MESH_H

#include "engine/base/bytes.h"
#include "engine/hub/shard.h"

struct mesh;

/* owner: mesh_destroy(NULL) is fine; parcels under way are freed. `shards` of at least 2. */
struct mesh *mesh_create(unsigned shards);
void mesh_destroy(struct mesh *mesh);

/* The place for a note of `kind` to another shard: append its bytes there, before the next mesh_note(). */
struct bytes *mesh_note(struct shard *from, unsigned to, uint32_t kind);

/* Send off what has gathered; what finds its ring full stays for the next turn. */
void mesh_post(struct shard *from);

/* Give every note that has come to `handle`, sender by sender in the order in which it was written. True: there were some. */
bool mesh_take(struct shard *shard,
	void (*handle)(struct shard *shard, unsigned from, uint32_t kind, struct slice note));

/* Before and after waiting. fall_asleep: false where something has come; do not wait then. */
bool mesh_fall_asleep(struct shard *shard);
void mesh_wake_up(struct shard *shard);

/* All other shards, if there are any, stand still from here to hub_others_go_on(); not nested. Within a turn. */
void hub_halt_others(struct shard *shard);
void hub_others_go_on(struct shard *shard);

/* The same where there are others. */
void mesh_halt(struct shard *shard);
void mesh_go_on(struct shard *shard);
/* Stand still, if another shard wants it. */
void mesh_stand_still(struct shard *shard);
/* This shard turns no more: nobody waits for it to stand still. */
void mesh_leave(struct shard *shard);

#endif
