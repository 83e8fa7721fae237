/* Sockets before and beside their traffic: made, asked, set.
 *
 * Called by listen.c, ring.c and the backends. All calls here are rare (once a connection, or when an operator
 * asks), so they are plain system calls. Linux hands TCP_NODELAY, SO_KEEPALIVE and the keepalive times of a
 * listening socket down to those that it accepts: no call per connection.
 *
 * Sources: socket(7), tcp(7), unix(7).
 */
#include "ring/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "engine/base/err.h"
#include "ring/ring.h"

/* A missing option is no reason to refuse a connection: results are ignored on purpose. */
static void set_int(int fd, int level, int option, int value)
{
	int ignored = setsockopt(fd, level, option, &value, sizeof(value));
	(void)ignored;
}

int socket_open(const struct address *address, bool nonblocking)
{
	int flags = SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
	int fd = socket(address->any.sa_family, flags, 0);
	if (fd < 0) {
		return err_from_errno(errno);
	}
	if (!address_is_local(address)) {
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	}
	return fd;
}

void socket_set_nonblocking(int fd, bool nonblocking)
{
	int flags = fcntl(fd, F_GETFL);
	int wanted = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (flags >= 0 && wanted != flags) {
		fcntl(fd, F_SETFL, wanted);
	}
}

void socket_set_reset(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	int ignored = setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	(void)ignored;
}

void socket_peer_address(int fd, char *out)
{
	struct address address = {.len = 0};
	socklen_t len = sizeof(address) - offsetof(struct address, any);
	if (getpeername(fd, &address.any, &len) != 0) {
		snprintf(out, RING_ADDRESS_MAX, "?");
		return;
	}
	if (address_is_local(&address) && len <= sizeof(sa_family_t)) {
		/* A client without a name: the path it came to says more than nothing. */
		len = sizeof(address) - offsetof(struct address, any);
		getsockname(fd, &address.any, &len);
	}
	address.len = len;
	address_print(&address, out);
}

int32_t socket_peer_pid(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
		return 0;
	}
	return peer.pid;
}

void socket_set_timeouts(int fd, unsigned user_timeout_ms, unsigned keepalive_s)
{
	int probe_s = keepalive_s >= 3 ? (int)keepalive_s / 3 : 1;
	set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms);
	if (keepalive_s > 0) {
		set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)keepalive_s);
		set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, probe_s);
	}
}
