/* A second look at sockets that have received something.
 *
 * Called by request.c. After a read that emptied the socket, newer kernels do not try a multishot receive again, but
 * wait for the next wake-up. When the peer's last bytes and its end were both there before the receive was armed (for
 * the socket was paused, or is new), no wake-up will follow, and the receive stays silent for ever. A FIN over TCP is noticed, for
 * the kernel counts it as something left to read; a RST, or the end of a unix socket, is not. Such a socket would live
 * until somebody sends to it. (Two wake-ups that are handled as one had the same effect in some kernels.)
 *
 * So whoever received something is asked once more, at the end of a period, with one poll(2) for all of them: a
 * system call a second while there is traffic, none without.
 *
 * Source: io_recv_finish() in io_uring/net.c, tcp_inq_hint() in net/ipv4/tcp.c of Linux 6.18.
 */
#include "ring/suspects.h"

#include <poll.h>
#include <stdlib.h>

#include "engine/base/bytes.h"

void suspects_finish(struct suspects *suspects)
{
	free(suspects->at);
	*suspects = (struct suspects){.at = NULL};
}

void suspects_add(struct suspects *suspects, struct ring_socket socket, uint64_t now_ns)
{
	if (suspects->count == suspects->room) {
		suspects->room = suspects->room == 0 ? SUSPECTS_AT_ONCE : suspects->room * 2;
		suspects->at = mem_realloc(suspects->at, suspects->room * sizeof(suspects->at[0]));
	}
	if (suspects->count == 0) {
		suspects->check_ns = now_ns + SUSPECTS_PERIOD_MS * UINT64_C(1000000);
	}
	suspects->at[suspects->count++] = socket;
}

uint64_t suspects_timeout(const struct suspects *suspects, uint64_t now_ns, uint64_t timeout_ns)
{
	if (suspects->count == 0) {
		return timeout_ns;
	}
	uint64_t in_ns = suspects->check_ns > now_ns ? suspects->check_ns - now_ns : 0;
	return in_ns < timeout_ns ? in_ns : timeout_ns;
}

unsigned suspects_check(
	struct suspects *suspects, const struct slots *slots, struct slot **dead, unsigned *looked)
{
	struct pollfd asked[SUSPECTS_AT_ONCE];
	struct slot *slot[SUSPECTS_AT_ONCE];
	unsigned count = 0, found = 0;
	*looked = 0;
	while (suspects->count > 0 && count < SUSPECTS_AT_ONCE) {
		struct ring_socket name = suspects->at[--suspects->count];
		struct slot *known = slots_find(slots, name);
		(*looked)++;
		if (known != NULL && known->state == SLOT_OPEN && !known->ended) {
			known->suspect = false;
			asked[count] = (struct pollfd){.fd = known->fd, .events = POLLRDHUP};
			slot[count++] = known;
		}
	}
	if (count == 0 || poll(asked, count, 0) <= 0) {
		return 0;
	}
	for (unsigned i = 0; i < count; i++) {
		if (asked[i].revents != 0) {
			dead[found++] = slot[i];
		}
	}
	return found;
}
