/* Parcels between shards, doorbells to sleepers, and standing still.
 *
 * Called by shard.c once a turn and by remote.c for every note; calls ck_ring and the ring's doorbells. A parcel is allocated by its
 * sender and freed by its receiver. Notes in a parcel:
 *
 *     │ kind (4) │ length (4) │ bytes … padded to 8 │ kind │ length │ …
 *
 * Nothing waits here but mesh_halt() and mesh_stand_still(), and these only for shards that run.
 */
#include "engine/hub/mesh.h"

#include <assert.h>
#include <ck_ring.h>
#include <stdlib.h>
#include <string.h>

#include "engine/hub/hub.h"

/* ck_ring orders its entries with instructions that TSan does not see; it is told of them here. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define HANDED_OVER(entry) __tsan_release(entry)
#define TAKEN_OVER(entry)  __tsan_acquire(entry)
#else
#define HANDED_OVER(entry) ((void)0)
#define TAKEN_OVER(entry)  ((void)0)
#endif

enum { RING_ENTRIES = 1024, LINE_BYTES = 128 };

struct note_head {
	uint32_t kind, len;
};

struct parcel {
	struct parcel *next; /* of those that wait for room */
	struct bytes notes;
};

/* From one shard to another. */
struct pair {
	ck_ring_t ring;
	ck_ring_buffer_t *entries;
	struct parcel *open;         /* the sender's: gathers notes */
	struct parcel *first, *last; /* the sender's: closed, and the ring was full */
	size_t note_at;              /* where the open parcel's last note begins; SIZE_MAX: none */
} __attribute__((aligned(LINE_BYTES)));

struct post {
	_Alignas(LINE_BYTES) atomic_bool asleep;
	atomic_bool gone;
};

struct mesh {
	unsigned shards;
	atomic_int halting;   /* the shard that halts the others, -1: nobody */
	atomic_uint halts;    /* odd while halted */
	atomic_uint standing; /* how many stand still */
	struct post *posts;   /* by shard */
	struct pair *pairs;   /* by sender, then receiver */
};

static struct pair *pair_of(struct mesh *mesh, unsigned from, unsigned to)
{
	assert(from != to && from < mesh->shards && to < mesh->shards);
	return &mesh->pairs[from * mesh->shards + to];
}

static void *allocate_lines(size_t size)
{
	void *memory = aligned_alloc(LINE_BYTES, (size + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES);
	assert(memory != NULL);
	memset(memory, 0, size);
	return memory;
}

struct mesh *mesh_create(unsigned shards)
{
	assert(shards >= 2);
	struct mesh *mesh = mem_zalloc(sizeof(*mesh));
	mesh->shards = shards;
	atomic_init(&mesh->halting, -1);
	mesh->posts = allocate_lines(shards * sizeof(struct post));
	mesh->pairs = allocate_lines(shards * shards * sizeof(struct pair));
	for (unsigned i = 0; i < shards * shards; i++) {
		struct pair *pair = &mesh->pairs[i];
		pair->note_at = SIZE_MAX;
		pair->entries = mem_zalloc(RING_ENTRIES * sizeof(*pair->entries));
		ck_ring_init(&pair->ring, RING_ENTRIES);
	}
	return mesh;
}

static void parcel_destroy(struct parcel *parcel)
{
	if (parcel != NULL) {
		bytes_finish(&parcel->notes);
		free(parcel);
	}
}

void mesh_destroy(struct mesh *mesh)
{
	if (mesh == NULL) {
		return;
	}
	for (unsigned i = 0; i < mesh->shards * mesh->shards; i++) {
		struct pair *pair = &mesh->pairs[i];
		void *entry;
		while (ck_ring_dequeue_spsc(&pair->ring, pair->entries, &entry)) {
			parcel_destroy(entry);
		}
		while (pair->first != NULL) {
			struct parcel *next = pair->first->next;
			parcel_destroy(pair->first);
			pair->first = next;
		}
		parcel_destroy(pair->open);
		free(pair->entries);
	}
	free(mesh->posts);
	free(mesh->pairs);
	free(mesh);
}

/* ---- sending ---- */

/* The length of the last note is known when the next one begins, or the parcel is closed. */
static void finish_note(struct pair *pair)
{
	if (pair->note_at == SIZE_MAX) {
		return;
	}
	struct bytes *notes = &pair->open->notes;
	struct note_head head;
	memcpy(&head, notes->data + pair->note_at, sizeof(head));
	head.len = (uint32_t)(notes->len - pair->note_at - sizeof(head));
	memcpy(notes->data + pair->note_at, &head, sizeof(head));
	while (notes->len % 8 != 0) {
		bytes_append(notes, "", 1);
	}
	pair->note_at = SIZE_MAX;
}

struct bytes *mesh_note(struct shard *from, unsigned to, uint32_t kind)
{
	struct pair *pair = pair_of(from->hub->mesh, from->index, to);
	if (pair->open == NULL) {
		pair->open = mem_zalloc(sizeof(*pair->open));
	}
	finish_note(pair);
	struct note_head head = {.kind = kind};
	pair->note_at = pair->open->notes.len;
	bytes_append(&pair->open->notes, &head, sizeof(head));
	return &pair->open->notes;
}

static void close_parcel(struct pair *pair)
{
	if (pair->open == NULL) {
		return;
	}
	finish_note(pair);
	if (pair->first == NULL) {
		pair->first = pair->open;
	} else {
		pair->last->next = pair->open;
	}
	pair->last = pair->open;
	pair->open = NULL;
}

static bool enqueue(struct pair *pair)
{
	bool some = false;
	while (pair->first != NULL) {
		struct parcel *next = pair->first->next;
		HANDED_OVER(pair->first);
		if (!ck_ring_enqueue_spsc(&pair->ring, pair->entries, pair->first)) {
			break;
		}
		pair->first = next;
		some = true;
	}
	return some;
}

void mesh_post(struct shard *from)
{
	struct mesh *mesh = from->hub->mesh;
	bool rang = false;
	for (unsigned to = 0; to < mesh->shards; to++) {
		if (to == from->index) {
			continue;
		}
		struct pair *pair = pair_of(mesh, from->index, to);
		close_parcel(pair);
		if (!enqueue(pair)) {
			continue;
		}
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load_explicit(&mesh->posts[to].asleep, memory_order_relaxed) &&
			atomic_load(&from->hub->shards[to].running)) {
			ring_bell(from->ring, from->hub->shards[to].ring);
			rang = true;
		}
	}
	from->stats.bells += rang;
}

/* ---- receiving ---- */

static void read_parcel(struct shard *shard, unsigned from, struct slice notes,
	void (*handle)(struct shard *shard, unsigned from, uint32_t kind, struct slice note))
{
	for (size_t at = 0; at < notes.len;) {
		struct note_head head;
		memcpy(&head, notes.data + at, sizeof(head));
		at += sizeof(head);
		assert(head.len <= notes.len - at);
		handle(shard, from, head.kind, (struct slice){notes.data + at, head.len});
		at += (head.len + 7) / 8 * 8;
	}
}

bool mesh_take(struct shard *shard,
	void (*handle)(struct shard *shard, unsigned from, uint32_t kind, struct slice note))
{
	struct mesh *mesh = shard->hub->mesh;
	bool some = false;
	for (unsigned from = 0; from < mesh->shards; from++) {
		if (from == shard->index) {
			continue;
		}
		struct pair *pair = pair_of(mesh, from, shard->index);
		void *entry;
		while (ck_ring_dequeue_spsc(&pair->ring, pair->entries, &entry)) {
			struct parcel *parcel = entry;
			TAKEN_OVER(parcel);
			read_parcel(shard, from, bytes_slice(&parcel->notes), handle);
			parcel_destroy(parcel);
			some = true;
		}
	}
	return some;
}

static bool something_has_come(struct shard *shard)
{
	struct mesh *mesh = shard->hub->mesh;
	for (unsigned other = 0; other < mesh->shards; other++) {
		if (other != shard->index &&
			(ck_ring_size(&pair_of(mesh, other, shard->index)->ring) > 0 ||
				pair_of(mesh, shard->index, other)->first != NULL)) {
			return true;
		}
	}
	return (atomic_load(&mesh->halts) & 1) != 0;
}

bool mesh_fall_asleep(struct shard *shard)
{
	struct post *post = &shard->hub->mesh->posts[shard->index];
	atomic_store_explicit(&post->asleep, true, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if (something_has_come(shard)) {
		mesh_wake_up(shard);
		return false;
	}
	return true;
}

void mesh_wake_up(struct shard *shard)
{
	atomic_store_explicit(
		&shard->hub->mesh->posts[shard->index].asleep, false, memory_order_relaxed);
}

/* ---- standing still ---- */

static unsigned how_many_others(const struct shard *shard)
{
	const struct mesh *mesh = shard->hub->mesh;
	unsigned count = 0;
	for (unsigned other = 0; other < mesh->shards; other++) {
		count += other != shard->index && atomic_load(&shard->hub->shards[other].running) &&
			 !atomic_load(&mesh->posts[other].gone);
	}
	return count;
}

void mesh_stand_still(struct shard *shard)
{
	struct mesh *mesh = shard->hub->mesh;
	unsigned halt = atomic_load(&mesh->halts);
	if ((halt & 1) == 0 || atomic_load(&mesh->halting) == (int)shard->index) {
		return;
	}
	atomic_fetch_add(&mesh->standing, 1);
	while (atomic_load(&mesh->halts) == halt) {
		ck_pr_stall();
	}
}

void mesh_halt(struct shard *shard)
{
	struct mesh *mesh = shard->hub->mesh;
	int nobody = -1;
	while (!atomic_compare_exchange_weak(&mesh->halting, &nobody, (int)shard->index)) {
		nobody = -1;
		mesh_stand_still(shard);
		ck_pr_stall();
	}
	atomic_store(&mesh->standing, 0);
	atomic_fetch_add(&mesh->halts, 1);
	for (unsigned other = 0; other < mesh->shards; other++) {
		if (other != shard->index && atomic_load(&shard->hub->shards[other].running)) {
			ring_wake(shard->hub->shards[other].ring);
		}
	}
	while (atomic_load(&mesh->standing) < how_many_others(shard)) {
		ck_pr_stall();
	}
}

void mesh_go_on(struct shard *shard)
{
	struct mesh *mesh = shard->hub->mesh;
	atomic_fetch_add(&mesh->halts, 1);
	atomic_store(&mesh->halting, -1);
}

void hub_halt_others(struct shard *shard)
{
	if (shard->hub->mesh != NULL) {
		mesh_halt(shard);
	}
}

void hub_others_go_on(struct shard *shard)
{
	if (shard->hub->mesh != NULL) {
		mesh_go_on(shard);
	}
}

void mesh_leave(struct shard *shard)
{
	atomic_store(&shard->hub->mesh->posts[shard->index].gone, true);
}
