/* Text to socket address and back.
 *
 * Called by listen.c, ring.c and socket.c; knows no socket. An IPv6 host stands in brackets, so that the last
 * colon is always the port's. Zones ("fe80::1%eth0") and abstract unix names are not understood.
 */
#include "ring/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/err.h"
#include "ring/ring.h"

enum { HOST_MAX = INET6_ADDRSTRLEN, PATH_MAX_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) };

_Static_assert(RING_ADDRESS_MAX >= sizeof("unix:") + PATH_MAX_BYTES, "a path fits");
_Static_assert(RING_ADDRESS_MAX >= HOST_MAX + sizeof("[]:65535"), "a host and port fit");

static int parse_path(const char *path, struct address *out)
{
	size_t len = strlen(path);
	if (len == 0 || len >= PATH_MAX_BYTES) {
		return -E_SYNTAX;
	}
	out->local.sun_family = AF_UNIX;
	memcpy(out->local.sun_path, path, len + 1);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return OK;
}

static int parse_port(const char *text, in_port_t *out)
{
	int64_t port;
	if (slice_to_i64(slice_of(text), &port) != OK || port < 0 || port > 65535) {
		return -E_SYNTAX;
	}
	*out = htons((uint16_t)port);
	return OK;
}

int address_parse(const char *text, struct address *out)
{
	memset(out, 0, sizeof(*out));
	if (strncmp(text, "unix:", 5) == 0) {
		return parse_path(text + 5, out);
	}
	const char *colon = strrchr(text, ':');
	in_port_t port;
	if (colon == NULL || parse_port(colon + 1, &port) != OK) {
		return -E_SYNTAX;
	}
	bool bracketed = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
	const char *host = bracketed ? text + 1 : text;
	size_t len = (size_t)(bracketed ? colon - 1 - host : colon - host);
	char copy[HOST_MAX];
	if (len >= sizeof(copy)) {
		return -E_SYNTAX;
	}
	memcpy(copy, host, len);
	copy[len] = '\0';
	if (bracketed && inet_pton(AF_INET6, copy, &out->v6.sin6_addr) == 1) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = port;
		out->len = sizeof(out->v6);
		return OK;
	}
	if (!bracketed && inet_pton(AF_INET, copy, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = port;
		out->len = sizeof(out->v4);
		return OK;
	}
	return -E_SYNTAX;
}

void address_print(const struct address *address, char *out)
{
	char host[HOST_MAX];
	switch (address->any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof(host));
		snprintf(out, RING_ADDRESS_MAX, "%s:%u", host, ntohs(address->v4.sin_port));
		return;
	case AF_INET6:
		inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof(host));
		snprintf(out, RING_ADDRESS_MAX, "[%s]:%u", host, ntohs(address->v6.sin6_port));
		return;
	case AF_UNIX: {
		/* The kernel may leave the last byte of a full path without its zero. */
		size_t fixed = offsetof(struct sockaddr_un, sun_path);
		size_t room = address->len > fixed ? address->len - fixed : 0;
		int len = (int)strnlen(address->local.sun_path, room);
		snprintf(out, RING_ADDRESS_MAX, "unix:%.*s", len, address->local.sun_path);
		return;
	}
	default:
		snprintf(out, RING_ADDRESS_MAX, "?");
	}
}

bool address_is_local(const struct address *address)
{
	return address->any.sa_family == AF_UNIX;
}
