/* Listening sockets from their address to their end.
 *
 * Called by ring.c (open, stop) and the backends, which do the accepting. Knows bind(2) and the file that a
 * unix socket leaves behind; knows nothing of io_uring or epoll.
 *
 * A unix socket's file outlives a process that was killed. Whether somebody still listens behind it is asked by
 * connecting: only "refused" makes it stale, and only then is it unlinked. On our own way out the file is
 * unlinked only if it is still the one that we made.
 *
 * Out of descriptors, accept(2) fails at once, every time: such a listener rests for a moment instead of
 * spinning. Its newcomers wait in the kernel's backlog meanwhile.
 *
 * Not done: two of us starting at the same moment on one stale file; one may unlink the other's.
 *
 * Sources: unix(7), accept(2), ip(7); net/unix/af_unix.c for the mode: bind takes it from the socket's own
 * inode, less the umask, so that fchmod(2) before bind(2) leaves no moment with wider permissions.
 */
#include "ring/listen.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "ring/socket.h"

enum { BACKLOG = 4096, TRIES = 10, TRY_MS = 50 };

/* Unlinks a socket file that nobody listens behind.
 * errors: -E_IN_USE somebody does, or it is no socket. */
static int remove_stale(const struct address *address)
{
	const char *path = address->local.sun_path;
	struct stat found;
	if (lstat(path, &found) != 0) {
		return OK; /* bind(2) has the better error */
	}
	if (!S_ISSOCK(found.st_mode)) {
		return -E_IN_USE;
	}
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0) {
		return err_from_errno(errno);
	}
	bool refused = connect(probe, &address->any, address->len) != 0 && errno == ECONNREFUSED;
	close(probe);
	if (!refused) {
		return -E_IN_USE;
	}
	return unlink(path) == 0 ? OK : err_from_errno(errno);
}

static int bind_local(int fd, const struct address *address, unsigned mode)
{
	int err = remove_stale(address);
	if (err != OK) {
		return err;
	}
	const char *path = address->local.sun_path;
	if (fchmod(fd, mode) != 0 || bind(fd, &address->any, address->len) != 0) {
		return err_from_errno(errno);
	}
	return chmod(path, mode) == 0 ? OK : err_from_errno(errno);
}

static int bind_inet(int fd, const struct address *address)
{
	int yes = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (address->any.sa_family == AF_INET6) {
		/* "[::]:6380" beside "0.0.0.0:6380": each means its own family. */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	}
	return bind(fd, &address->any, address->len) == 0 ? OK : err_from_errno(errno);
}

static int bind_and_listen(struct listener *listener, unsigned mode)
{
	struct address *address = &listener->address;
	bool local = address_is_local(address);
	int err =
		local ? bind_local(listener->fd, address, mode) : bind_inet(listener->fd, address);
	if (err != OK) {
		return err;
	}
	struct stat made;
	if (local && lstat(address->local.sun_path, &made) == 0) {
		listener->dev = made.st_dev;
		listener->ino = made.st_ino;
	}
	if (listen(listener->fd, BACKLOG) != 0) {
		return err_from_errno(errno);
	}
	if (!local) {
		socklen_t len = sizeof(*address) - offsetof(struct address, any);
		getsockname(listener->fd, &address->any, &len);
	}
	return OK;
}

static int open_once(struct listener *listener, unsigned mode, bool nonblocking)
{
	listener->fd = socket_open(&listener->address, nonblocking);
	if (listener->fd < 0) {
		return listener->fd;
	}
	int err = bind_and_listen(listener, mode);
	if (err != OK) {
		close(listener->fd);
	}
	return err;
}

/* When a process with io_uring is killed, its sockets outlive it by some milliseconds, and its successor may be
 * there already: an address in use is tried for a while. */
static int open_patiently(struct listener *listener, unsigned mode, bool nonblocking)
{
	struct timespec pause = {.tv_nsec = TRY_MS * 1000000};
	int err = open_once(listener, mode, nonblocking);
	for (unsigned tries = 1; err == -E_IN_USE && tries < TRIES; tries++) {
		nanosleep(&pause, NULL);
		err = open_once(listener, mode, nonblocking);
	}
	return err;
}

static struct listener *free_place(struct listeners *listeners)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		if (listeners->at[i].state == LISTENER_NONE) {
			listeners->open = i >= listeners->open ? i + 1 : listeners->open;
			return &listeners->at[i];
		}
	}
	return NULL;
}

int listener_open(struct listeners *listeners, const char *text, unsigned mode, bool nonblocking,
	struct listener **out, char *bound)
{
	struct listener made = {.state = LISTENER_OPEN};
	int err = address_parse(text, &made.address);
	if (err != OK) {
		return err;
	}
	struct listener *listener = free_place(listeners);
	if (listener == NULL) {
		return -E_FULL;
	}
	err = open_patiently(&made, mode, nonblocking);
	if (err != OK) {
		return err;
	}
	made.generation = listener->generation + 1;
	*listener = made;
	if (bound != NULL) {
		address_print(&made.address, bound);
	}
	*out = listener;
	return OK;
}

void listener_stop(struct listener *listener)
{
	assert(listener->state == LISTENER_OPEN);
	listener->state = LISTENER_CLOSING;
	struct stat found;
	const char *path = listener->address.local.sun_path;
	if (address_is_local(&listener->address) && lstat(path, &found) == 0 &&
		found.st_dev == listener->dev && found.st_ino == listener->ino) {
		unlink(path);
	}
	shutdown(listener->fd, SHUT_RDWR);
}

void listener_drop(struct listener *listener)
{
	assert(listener->state == LISTENER_CLOSING && !listener->armed);
	close(listener->fd);
	listener->state = LISTENER_NONE;
}

bool listener_rest(struct listener *listener, int errnum, uint64_t now_ns)
{
	switch (errnum) {
	case ECONNABORTED: /* the newcomer has gone again; so have those of the next lines */
	case ENETDOWN:
	case EPROTO:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EINTR:
	case EAGAIN:
	case ECANCELED:
		listener->retry_ns = 0;
		return false;
	default:
		if (listener->retry_ns == 0) { /* once, not at each try */
			journal(JOURNAL_WARNING, "cannot accept connections, retrying",
				"retry_ms=%d error=%s", LISTENER_RETRY_MS,
				JQ(slice_of(strerror(errnum))));
		}
		listener->retry_ns = now_ns + LISTENER_RETRY_MS * UINT64_C(1000000);
		return true;
	}
}

bool listener_wants(const struct listener *listener, uint64_t now_ns)
{
	return listener->state == LISTENER_OPEN && !listener->armed && listener->retry_ns <= now_ns;
}

uint64_t listeners_timeout(const struct listeners *listeners, uint64_t now_ns, uint64_t timeout_ns)
{
	for (unsigned i = 0; i < listeners->open; i++) {
		const struct listener *listener = &listeners->at[i];
		if (listener->state == LISTENER_OPEN && !listener->armed) {
			uint64_t in_ns =
				listener->retry_ns > now_ns ? listener->retry_ns - now_ns : 0;
			timeout_ns = in_ns < timeout_ns ? in_ns : timeout_ns;
		}
	}
	return timeout_ns;
}
