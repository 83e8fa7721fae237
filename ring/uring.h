/* io_uring, as far as we use it: requests in, completions out, buffers round. One thread per queue.
 *
 * Knows descriptors and labels, no slot and no ring.h. The functions that queue a request return false
 * when there is no room even after handing over what was queued: the caller tries again next turn.
 * Errors are negative errno values here, for probe.c needs to tell them apart.
 */
#ifndef MILLRACE_RING_URING_H
#define MILLRACE_RING_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ring/label.h"

struct uring;

/* Where a label's `what` came from. */
enum uring_what {
	URING_ACCEPT,
	URING_RECEIVE,
	URING_SEND,
	URING_CONNECT,
	URING_DEADLINE, /* of a connect */
	URING_CANCEL,
	URING_WATCH,
	URING_BELL,   /* our bell was not delivered; delivered ones leave no completion */
	URING_RUNG,   /* another queue's bell, here */
	URING_NOTHING /* nobody waits for this one */
};

struct uring_limits {
	unsigned requests;     /* room for so many before they must be handed over */
	unsigned completions;  /* above it completions cost more, but none is lost */
	unsigned recv_buffers; /* a power of two */
	bool quiet;            /* no log line about what the kernel lacks */
};

struct uring_completion {
	struct label label;
	int32_t result;
	bool more;  /* the request goes on */
	int buffer; /* the buffer that it filled, or -1 */
};

/* Made by the thread that will use it. Set-up flags that this kernel does not know are left out, with a log line.
 * errors: of io_uring_setup(2) and io_uring_register(2). */
int uring_open(const struct uring_limits *limits, struct uring **out);
void uring_close(struct uring *uring); /* NULL is fine */

/* Accept until it fails or is cancelled; descriptors come as results, closed on exec. */
bool uring_accept(struct uring *uring, struct label label, int fd);

/* Receive into one provided buffer, what is there now or comes first. */
bool uring_receive_once(struct uring *uring, struct label label, int fd);

/* Receive into provided buffers until the end, an error, or no buffer (-ENOBUFS) or room for a completion.
 * `wait_first`: data is not expected to be there yet, so do not look at once. */
bool uring_receive(struct uring *uring, struct label label, int fd, bool wait_first);

/* Send all of it (MSG_WAITALL); the memory, though not `message` itself, stays until the completion. */
bool uring_send(struct uring *uring, struct label label, int fd, const void *data, size_t len);
bool uring_send_message(
	struct uring *uring, struct label label, int fd, const struct msghdr *message);

/* Connect, and give up after `timeout_ns`: -ECANCELED. Handed over at once. Two completions: of `label` and of
 * the same label with URING_DEADLINE. */
bool uring_connect(struct uring *uring, struct label label, int fd, const struct sockaddr *address,
	socklen_t len, uint64_t timeout_ns);

/* Cancel one request by its label, all of a descriptor, or everything. */
bool uring_cancel(struct uring *uring, struct label label, struct label request);
bool uring_cancel_fd(struct uring *uring, struct label label, int fd);
bool uring_cancel_everything(struct uring *uring, struct label label);

/* A completion each time the descriptor becomes readable. */
bool uring_watch(struct uring *uring, struct label label, int fd);

/* A completion URING_RUNG in another queue. */
bool uring_bell(struct uring *uring, struct label label, int target_fd);
int uring_fd(const struct uring *uring); /* for another's uring_bell() */

/* Put a buffer into the kernel's hands: seen there after uring_provided(). */
void uring_provide(struct uring *uring, unsigned buffer, void *memory, uint32_t len);
void uring_provided(struct uring *uring);

unsigned uring_queued(const struct uring *uring); /* requests not yet handed over */
bool uring_is_ready(const struct uring *uring);   /* completions to be read without entering */
bool uring_is_behind(const struct uring *uring);  /* completions that only entering brings */
uint64_t uring_enters(const struct uring *uring); /* io_uring_enter calls so far */

/* Hand over what is queued and wait for a completion, at most so long (0: not at all; UINT64_MAX: no
 * limit); returns early on a signal.
 * errors: of io_uring_enter(2), but for those that only mean "later". */
int uring_enter(struct uring *uring, uint64_t timeout_ns);

/* The next completion; false when there is none. uring_seen() gives their room back, all at once. */
bool uring_next(struct uring *uring, struct uring_completion *out);
void uring_seen(struct uring *uring);

#endif
