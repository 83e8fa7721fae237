/* Addresses as people write them: "unix:/path", "127.0.0.1:6380", "[::1]:6380". */
#ifndef MILLRACE_RING_ADDRESS_H
#define MILLRACE_RING_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
	socklen_t len; /* of what is used of the union */
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un local;
	};
};

/* Names are not looked up: that waits for servers, and belongs to whoever starts us.
 * errors: -E_SYNTAX neither form, a host that is not a number, a port above 65535, a path of no or more than
 *         107 bytes. */
int address_parse(const char *text, struct address *out);

/* The same as text; `out` has RING_ADDRESS_MAX bytes. What is no such address becomes "?". */
void address_print(const struct address *address, char *out);

bool address_is_local(const struct address *address); /* a unix socket */

#endif
