/* The only file that sees liburing.h: a queue of requests and a queue of completions, with buffers going round.
 *
 * Called by proactor.c, and by probe.c for its self-test. Every request carries a label (label.h); what it means
 * is the caller's.
 *
 *     proactor: uring_send … ─▶ submission queue ─▶ uring_enter ─▶ kernel
 *               uring_next   ◀─ completion queue ◀──────────────────┘
 *
 * One system call hands over, runs what the kernel has put off, and waits: io_uring_enter with GETEVENTS always, because
 * under DEFER_TASKRUN the kernel finishes our requests only inside such a call. So no completion appears, and no buffer
 * is taken, while the caller works.
 *
 * Nothing is lost when the completion queue is full: a multishot request then ends (no `more`), everything else the
 * kernel keeps aside and delivers when we enter again (IORING_FEAT_NODROP); uring_is_behind() says that it did.
 * Memory that a request points to, other than the bytes to send, is the caller's again once it is
 * handed over (IORING_FEAT_SUBMIT_STABLE).
 *
 * Deliberately not used, because measuring said so: SQPOLL, SEND_ZC, bundles, linked sends.
 *
 * Sources: io_uring_setup(2), io_uring_enter(2), io_uring_prep_*(3); io_uring/net.c and poll.c of Linux 6.1 for
 * multishots and their ends.
 */
#include "ring/uring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/bytes.h"
#include "engine/base/journal.h"

/* liburing maps and unmaps by system calls of its own, unseen by ThreadSanitizer, which then takes two
 * threads' queues at one address, one after the other, for a race. The kernel orders them; this says so. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
static char mappings;
#define MAPPINGS_BEGIN() __tsan_acquire(&mappings)
#define MAPPINGS_END()   __tsan_release(&mappings)
#else
#define MAPPINGS_BEGIN() ((void)0)
#define MAPPINGS_END()   ((void)0)
#endif

/* Newer than the oldest liburing that we build with; the kernel says whether it has them. */
#define FEATURE_NO_IOWAIT (1u << 17)
#define ENTER_NO_IOWAIT   (1u << 7)

enum { BUFFER_GROUP = 0, SIGNAL_MASK_BYTES = _NSIG / 8 };

struct uring {
	struct io_uring io;
	int enter_fd; /* the queue's descriptor, or its index where that could be registered */
	unsigned enter_flags; /* in every io_uring_enter */
	unsigned taken;       /* completions read since uring_seen() */
	uint64_t enters;
	struct io_uring_buf_ring *buffers;
	size_t buffers_bytes;
	int buffers_mask;
	int provided; /* buffers put in since uring_provided() */
};

/* From the newest on, so that what is left still goes together. */
static const struct {
	unsigned flag;
	const char *name;
	const char *since;
} optional[] = {
	{IORING_SETUP_DEFER_TASKRUN, "DEFER_TASKRUN", "6.1"},
	{IORING_SETUP_SINGLE_ISSUER, "SINGLE_ISSUER", "6.0"},
	{IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN", "5.19"},
	{IORING_SETUP_SUBMIT_ALL, "SUBMIT_ALL", "5.18"},
};

enum { OPTIONAL_COUNT = sizeof(optional) / sizeof(optional[0]) };

static int set_up(struct uring *uring, const struct uring_limits *limits)
{
	unsigned flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
	for (unsigned i = 0; i < OPTIONAL_COUNT; i++) {
		flags |= optional[i].flag;
	}
	for (unsigned dropped = 0;; dropped++) {
		struct io_uring_params params = {.flags = flags, .cq_entries = limits->completions};
		int err = io_uring_queue_init_params(limits->requests, &uring->io, &params);
		if (err != -EINVAL || dropped == OPTIONAL_COUNT) {
			return err;
		}
		flags &= ~optional[dropped].flag;
		if (!limits->quiet) {
			journal(JOURNAL_NOTICE, "io_uring without a flag this kernel lacks",
				"flag=%s since=%s", optional[dropped].name,
				optional[dropped].since);
		}
	}
}

static int make_buffer_ring(struct uring *uring, unsigned count)
{
	uring->buffers_bytes = count * sizeof(struct io_uring_buf);
	void *at = mmap(NULL, uring->buffers_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		return -errno;
	}
	uring->buffers = at;
	uring->buffers_mask = io_uring_buf_ring_mask(count);
	io_uring_buf_ring_init(uring->buffers);
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)at, .ring_entries = count, .bgid = BUFFER_GROUP};
	return io_uring_register_buf_ring(&uring->io, &reg, 0);
}

int uring_open(const struct uring_limits *limits, struct uring **out)
{
	struct uring *uring = mem_zalloc(sizeof(*uring));
	MAPPINGS_BEGIN();
	int err = set_up(uring, limits);
	if (err != 0) {
		free(uring);
		return err;
	}
	uring->enter_flags = IORING_ENTER_GETEVENTS;
	if (uring->io.features & FEATURE_NO_IOWAIT) {
		/* Waiting for peers is not waiting for a disk: top(1) should not say so. */
		uring->enter_flags |= ENTER_NO_IOWAIT;
	}
	if (io_uring_register_ring_fd(&uring->io) == 1) {
		uring->enter_flags |= IORING_ENTER_REGISTERED_RING;
	}
	uring->enter_fd = uring->io.enter_ring_fd;
	err = make_buffer_ring(uring, limits->recv_buffers);
	if (err != 0) {
		uring_close(uring);
		return err;
	}
	*out = uring;
	return 0;
}

void uring_close(struct uring *uring)
{
	if (uring == NULL) {
		return;
	}
	io_uring_queue_exit(&uring->io);
	if (uring->buffers != NULL) {
		munmap(uring->buffers, uring->buffers_bytes);
	}
	MAPPINGS_END();
	free(uring);
}

/* Room for `count` requests in a row, handing over what is queued if need be. */
static bool make_room(struct uring *uring, unsigned count)
{
	if (io_uring_sq_space_left(&uring->io) < count) {
		uring_enter(uring, 0);
	}
	return io_uring_sq_space_left(&uring->io) >= count;
}

static struct io_uring_sqe *next_request(struct uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->io);
	if (sqe == NULL && make_room(uring, 1)) {
		sqe = io_uring_get_sqe(&uring->io);
	}
	return sqe;
}

static bool queue(struct io_uring_sqe *sqe, struct label label)
{
	io_uring_sqe_set_data64(sqe, label_pack(label));
	return true;
}

bool uring_accept(struct uring *uring, struct label label, int fd)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
	return queue(sqe, label);
}

bool uring_receive_once(struct uring *uring, struct label label, int fd)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_recv(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	return queue(sqe, label);
}

bool uring_receive(struct uring *uring, struct label label, int fd, bool wait_first)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	if (wait_first) {
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	}
	return queue(sqe, label);
}

bool uring_send(struct uring *uring, struct label label, int fd, const void *data, size_t len)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_send(sqe, fd, data, len, MSG_WAITALL | MSG_NOSIGNAL);
	return queue(sqe, label);
}

bool uring_send_message(
	struct uring *uring, struct label label, int fd, const struct msghdr *message)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_sendmsg(sqe, fd, message, MSG_WAITALL | MSG_NOSIGNAL);
	return queue(sqe, label);
}

bool uring_connect(struct uring *uring, struct label label, int fd, const struct sockaddr *address,
	socklen_t len, uint64_t timeout_ns)
{
	if (!make_room(uring, 2)) {
		return false;
	}
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->io);
	io_uring_prep_connect(sqe, fd, address, len);
	sqe->flags |= IOSQE_IO_LINK;
	queue(sqe, label);
	struct __kernel_timespec timeout = {
		.tv_sec = (int64_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long long)(timeout_ns % 1000000000u),
	};
	sqe = io_uring_get_sqe(&uring->io);
	io_uring_prep_link_timeout(sqe, &timeout, 0);
	label.what = URING_DEADLINE;
	queue(sqe, label);
	/* `timeout` and `address` are read now, and not again. */
	uring_enter(uring, 0);
	assert(uring_queued(uring) == 0);
	return true;
}

bool uring_cancel(struct uring *uring, struct label label, struct label request)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_cancel64(sqe, label_pack(request), 0);
	return queue(sqe, label);
}

bool uring_cancel_fd(struct uring *uring, struct label label, int fd)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
	return queue(sqe, label);
}

bool uring_cancel_everything(struct uring *uring, struct label label)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	return queue(sqe, label);
}

bool uring_watch(struct uring *uring, struct label label, int fd)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	return queue(sqe, label);
}

bool uring_bell(struct uring *uring, struct label label, int target_fd)
{
	struct io_uring_sqe *sqe = next_request(uring);
	if (sqe == NULL) {
		return false;
	}
	uint64_t there = label_pack((struct label){.what = URING_RUNG});
	io_uring_prep_msg_ring(sqe, target_fd, 0, there, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	return queue(sqe, label);
}

int uring_fd(const struct uring *uring)
{
	return uring->io.ring_fd;
}

void uring_provide(struct uring *uring, unsigned buffer, void *memory, uint32_t len)
{
	io_uring_buf_ring_add(uring->buffers, memory, len, (unsigned short)buffer,
		uring->buffers_mask, uring->provided++);
}

void uring_provided(struct uring *uring)
{
	if (uring->provided > 0) {
		io_uring_buf_ring_advance(uring->buffers, uring->provided);
		uring->provided = 0;
	}
}

unsigned uring_queued(const struct uring *uring)
{
	return io_uring_sq_ready(&uring->io);
}

bool uring_is_ready(const struct uring *uring)
{
	return io_uring_cq_ready(&uring->io) > uring->taken;
}

bool uring_is_behind(const struct uring *uring)
{
	return io_uring_cq_has_overflow(&uring->io);
}

uint64_t uring_enters(const struct uring *uring)
{
	return uring->enters;
}

/* Shows the kernel what next_request() gave out. liburing does this only in calls that may leave
 * GETEVENTS out, or enter twice. */
static void publish(struct io_uring_sq *sq)
{
	sq->sqe_head = sq->sqe_tail;
	__atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
}

int uring_enter(struct uring *uring, uint64_t timeout_ns)
{
	struct __kernel_timespec timeout;
	struct io_uring_getevents_arg argument = {.sigmask_sz = SIGNAL_MASK_BYTES};
	unsigned flags = uring->enter_flags;
	unsigned wait_for = timeout_ns > 0;
	if (wait_for > 0 && timeout_ns != UINT64_MAX) {
		timeout.tv_sec = (int64_t)(timeout_ns / 1000000000u);
		timeout.tv_nsec = (long long)(timeout_ns % 1000000000u);
		argument.ts = (uintptr_t)&timeout;
		flags |= IORING_ENTER_EXT_ARG;
	}
	bool extended = flags & IORING_ENTER_EXT_ARG;
	publish(&uring->io.sq);
	uring->enters++;
	int result = io_uring_enter2((unsigned)uring->enter_fd, uring_queued(uring), wait_for,
		flags, extended ? (void *)&argument : NULL,
		extended ? sizeof(argument) : SIGNAL_MASK_BYTES);
	switch (result) {
	case -ETIME:  /* nothing came */
	case -EINTR:  /* a signal came */
	case -EBUSY:  /* completions have to be read first */
	case -EAGAIN: /* no memory for a request just now */
		return 0;
	default:
		return result < 0 ? result : 0;
	}
}

bool uring_next(struct uring *uring, struct uring_completion *out)
{
	struct io_uring_cq *cq = &uring->io.cq;
	if (!uring_is_ready(uring)) {
		return false;
	}
	const struct io_uring_cqe *cqe = &cq->cqes[(*cq->khead + uring->taken) & cq->ring_mask];
	uring->taken++;
	out->label = label_unpack(cqe->user_data);
	out->result = cqe->res;
	out->more = cqe->flags & IORING_CQE_F_MORE;
	out->buffer = cqe->flags & IORING_CQE_F_BUFFER
			      ? (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT)
			      : -1;
	return true;
}

void uring_seen(struct uring *uring)
{
	io_uring_cq_advance(&uring->io, uring->taken);
	uring->taken = 0;
}
