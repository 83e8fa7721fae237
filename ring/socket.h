/* Making and asking sockets: the options that every socket of ours has. No backend, no slot. */
#ifndef MILLRACE_RING_SOCKET_H
#define MILLRACE_RING_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/address.h"

/* A stream socket for that address, closed on exec; with `nonblocking` as epoll needs it. Over TCP it has
 * TCP_NODELAY and keepalive, which sockets accepted from it inherit.
 * errors: as err_from_errno() says of socket(2); else the descriptor. */
int socket_open(const struct address *address, bool nonblocking);

/* io_uring gives up at once on a descriptor with O_NONBLOCK instead of waiting for it: each backend
 * sets what it needs. */
void socket_set_nonblocking(int fd, bool nonblocking);

/* Closing it will send RST instead of FIN, and drop what the peer has not taken. */
void socket_set_reset(int fd);

/* Contracts of ring_peer_address(), ring_peer_pid(), ring_set_timeouts(). */
void socket_peer_address(int fd, char *out);
int32_t socket_peer_pid(int fd);
void socket_set_timeouts(int fd, unsigned user_timeout_ms, unsigned keepalive_s);

#endif
