/* A self-test of io_uring before anything depends on it.
 *
 * Called by ring.c. Versions and lists of operations say little: a container's seccomp filter, a sysctl, or a
 * kernel in between may refuse any part. So the probe does once what the ring does always: a receive with buffers
 * from a ring that goes on (multishot), a send, a doorbell, on a pair of connected sockets; and only what
 * works counts. When it does not, the operator reads one sentence that says what refused and what to change.
 *
 * Sources: io_uring_setup(2); Documentation/admin-guide/sysctl/kernel.rst for io_uring_disabled; the default
 * seccomp profiles of container engines, which answer EPERM or ENOSYS.
 */
#include "ring/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "ring/clock.h"
#include "ring/uring.h"

enum { BUFFERS = 2, BUFFER_BYTES = 64, TURN_MS = 100, LIMIT_MS = 1000 };

/* kernel.io_uring_disabled; -1 where there is no such setting. */
static int read_disabled(void)
{
	FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	int value = -1;
	if (file != NULL) {
		if (fscanf(file, "%d", &value) != 1) {
			value = -1;
		}
		fclose(file);
	}
	return value;
}

/* Why there is no queue at all. */
static void explain_refusal(int errnum, char *why)
{
	int disabled = read_disabled();
	if (disabled == 2) {
		snprintf(why, PROBE_WHY_MAX,
			"io_uring is switched off for all processes (kernel.io_uring_disabled is "
			"2); "
			"sysctl -w kernel.io_uring_disabled=0 would allow it");
	} else if (disabled == 1 && (errnum == EPERM || errnum == EACCES)) {
		snprintf(why, PROBE_WHY_MAX,
			"io_uring is kept for privileged processes (kernel.io_uring_disabled is "
			"1); "
			"sysctl -w kernel.io_uring_disabled=0, or this user's group as "
			"kernel.io_uring_group, would allow it");
	} else if (errnum == EPERM || errnum == EACCES || errnum == ENOSYS) {
		struct utsname kernel;
		bool known = uname(&kernel) == 0;
		snprintf(why, PROBE_WHY_MAX,
			"io_uring_setup is refused (%s) on Linux %s, by a seccomp filter of the "
			"container or service, or a kernel built without it; allowing "
			"io_uring_setup, io_uring_enter and io_uring_register there would help",
			strerror(errnum), known ? kernel.release : "?");
	} else if (errnum == ENOMEM) {
		snprintf(why, PROBE_WHY_MAX,
			"io_uring could not get its memory; a higher LimitMEMLOCK (ulimit -l) "
			"would "
			"help");
	} else if (errnum == EMFILE || errnum == ENFILE) {
		snprintf(why, PROBE_WHY_MAX,
			"io_uring could not get a descriptor; a higher LimitNOFILE (ulimit -n) "
			"would "
			"help");
	} else {
		snprintf(why, PROBE_WHY_MAX,
			"io_uring lacks what is needed here (%s); Linux 6.1 or newer would help",
			strerror(errnum));
	}
}

/* What the test is waiting for. */
struct trial {
	const char *missing; /* the step that has not worked so far */
	unsigned received;
	bool rung, ended, sent;
	int error;
};

static void note(struct trial *trial, const struct uring_completion *done)
{
	switch (done->label.what) {
	case URING_RECEIVE:
		if (done->result > 0 && done->buffer >= 0) {
			trial->received += (unsigned)done->result;
		} else if (done->result == 0) {
			trial->ended = true;
		} else {
			trial->error = -done->result;
		}
		break;
	case URING_SEND:
		trial->sent = done->result > 0;
		trial->error = done->result < 0 ? -done->result : trial->error;
		break;
	case URING_RUNG:
		trial->rung = true;
		break;
	case URING_BELL:
		trial->error = -done->result;
		break;
	default:
		break;
	}
}

/* Enters until `*flag`, an error, or the time is over. */
static bool wait_for(struct uring *uring, struct trial *trial, const bool *flag)
{
	uint64_t limit_ns = clock_ns() + LIMIT_MS * UINT64_C(1000000);
	while (!*flag && trial->error == 0 && clock_ns() < limit_ns) {
		int err = uring_enter(uring, TURN_MS * 1000000u);
		if (err != 0) {
			trial->error = -err;
		}
		struct uring_completion done;
		while (uring_next(uring, &done)) {
			note(trial, &done);
		}
		uring_seen(uring);
	}
	return *flag && trial->error == 0;
}

static bool try_all(struct uring *uring, int ends[2], struct trial *trial)
{
	static const char greeting[] = "millrace";
	char memory[BUFFERS][BUFFER_BYTES];
	for (unsigned i = 0; i < BUFFERS; i++) {
		uring_provide(uring, i, memory[i], BUFFER_BYTES);
	}
	uring_provided(uring);
	trial->missing = "a multishot receive with provided buffers";
	uring_receive(uring, (struct label){.what = URING_RECEIVE}, ends[0], true);
	uring_send(uring, (struct label){.what = URING_SEND}, ends[1], greeting, sizeof(greeting));
	if (!wait_for(uring, trial, &trial->sent)) {
		return false;
	}
	trial->missing = "a message from one ring to another";
	uring_bell(uring, (struct label){.what = URING_BELL}, uring_fd(uring));
	if (!wait_for(uring, trial, &trial->rung)) {
		return false;
	}
	trial->missing = "the end of a multishot receive";
	shutdown(ends[1], SHUT_RDWR);
	return wait_for(uring, trial, &trial->ended) && trial->received == sizeof(greeting);
}

int probe_uring(char *why)
{
	struct uring *uring;
	struct uring_limits limits = {
		.requests = 8, .completions = 16, .recv_buffers = BUFFERS, .quiet = true};
	int err = uring_open(&limits, &uring);
	if (err != 0) {
		explain_refusal(-err, why);
		return -E_UNSUPPORTED;
	}
	struct trial trial = {.missing = "a pair of sockets"};
	int ends[2];
	bool works = false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
		works = try_all(uring, ends, &trial);
		close(ends[0]);
		close(ends[1]);
	}
	uring_close(uring);
	if (works) {
		snprintf(why, PROBE_WHY_MAX, "io_uring passed its self-test");
		return OK;
	}
	snprintf(why, PROBE_WHY_MAX,
		"io_uring failed its self-test at %s (%s); Linux 6.1 or newer, or a seccomp filter "
		"that "
		"allows io_uring_enter and io_uring_register, would help",
		trial.missing, trial.error != 0 ? strerror(trial.error) : "nothing came");
	return -E_UNSUPPORTED;
}
