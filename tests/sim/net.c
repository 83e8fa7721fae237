/* Links, pipes and the clock.
 *
 * Called by the clients of the simulated world and by sim_ring.c. Everything is decided by the net's own random numbers, so the same
 * calls in the same order give the same network. Nothing here looks into the bytes.
 */
#include "tests/sim/net.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/net_parts.h"

static struct net *current;

struct net *net_current(void)
{
	return current;
}

struct net *net_create(uint64_t seed)
{
	struct net *net = mem_zalloc(sizeof(*net));
	net->random.state = seed;
	net->now_ns = 1000 * (uint64_t)NS_MS + random_below(&net->random, NS_MS);
	net->offset_ms = 1700000000000u;
	net->horizon_ns = UINT64_MAX;
	current = net;
	return net;
}

void net_destroy(struct net *net)
{
	assert(net->ring == NULL);
	while (net->links != NULL) {
		struct link *next = net->links->next;
		pipe_drop(&net->links->in);
		pipe_drop(&net->links->out);
		free(net->links);
		net->links = next;
	}
	free(net);
	current = NULL;
}

uint64_t net_now_ns(const struct net *net)
{
	return net->now_ns;
}

int64_t net_wall_ms(const struct net *net)
{
	return (int64_t)(net->offset_ms + net->now_ns / NS_MS);
}

void net_set_horizon(struct net *net, uint64_t ns)
{
	net->horizon_ns = ns;
}

void net_set_ticker(struct net *net, void (*tick)(void *context, uint64_t now_ns),
	uint64_t (*next_ns)(void *context), void *context)
{
	net->tick = tick;
	net->next_ns = next_ns;
	net->context = context;
}

const char *net_breach(const struct net *net)
{
	return net->breach;
}

void net_report(struct net *net, const char *breach)
{
	net->breach = net->breach == NULL ? breach : net->breach;
}

struct ring *net_ring(struct net *net)
{
	return net->ring;
}

/* ---- pipes ---- */

uint64_t net_delay(struct net *net, const struct weather *weather)
{
	if (weather->stalls > 0 && random_one_in(&net->random, weather->stalls)) {
		return random_below(&net->random, 3000) * NS_MS;
	}
	return random_skewed(&net->random, weather->delay_ns + 1);
}

static void push_piece(struct pipe *pipe, uint64_t at_ns, const char *data, size_t len)
{
	struct piece *piece = mem_alloc(sizeof(*piece) + len);
	*piece = (struct piece){.at_ns = at_ns, .len = len};
	memcpy(piece->data, data, len);
	if (pipe->last == NULL) {
		pipe->first = piece;
	} else {
		pipe->last->next = piece;
	}
	pipe->last = piece;
	pipe->bytes += len;
	pipe->last_ns = at_ns;
}

void pipe_push(struct net *net, struct pipe *pipe, const struct weather *weather, const char *data,
	size_t len)
{
	uint64_t at_ns = net->now_ns + net_delay(net, weather);
	at_ns = at_ns > pipe->last_ns ? at_ns : pipe->last_ns;
	bool bits = weather->fragments > 0 && random_one_in(&net->random, weather->fragments);
	while (bits && len > 1) {
		size_t part = 1 + random_skewed(&net->random, len - 1);
		push_piece(pipe, at_ns, data, part);
		at_ns += random_below(&net->random, weather->delay_ns + 1);
		data += part;
		len -= part;
		bits = !random_one_in(&net->random, 6);
	}
	if (len > 0) {
		push_piece(pipe, at_ns, data, len);
	}
}

/* Of one piece: what arrives apart is received apart. */
size_t pipe_take(struct pipe *pipe, uint64_t now_ns, char *out, size_t max)
{
	struct piece *piece = pipe->first;
	if (piece == NULL || piece->at_ns > now_ns) {
		return 0;
	}
	size_t part = piece->len - piece->taken < max ? piece->len - piece->taken : max;
	memcpy(out, piece->data + piece->taken, part);
	piece->taken += part;
	pipe->bytes -= part;
	if (piece->taken == piece->len) {
		pipe->first = piece->next;
		pipe->last = piece->next == NULL ? NULL : pipe->last;
		free(piece);
	}
	return part;
}

size_t pipe_arrived(const struct pipe *pipe, uint64_t now_ns)
{
	size_t bytes = 0;
	for (const struct piece *p = pipe->first; p != NULL && p->at_ns <= now_ns; p = p->next) {
		bytes += p->len - p->taken;
	}
	return bytes;
}

void pipe_drop(struct pipe *pipe)
{
	while (pipe->first != NULL) {
		struct piece *next = pipe->first->next;
		free(pipe->first);
		pipe->first = next;
	}
	pipe->last = NULL;
	pipe->bytes = 0;
}

/* ---- the client's end ---- */

struct link *net_dial(struct net *net, uint32_t tag, const struct weather *weather)
{
	assert(tag < TAGS);
	struct link *link = mem_zalloc(sizeof(*link));
	link->net = net;
	link->weather = *weather;
	link->number = ++net->links_made;
	link->tag = tag;
	link->dialed_ns = net->now_ns + net_delay(net, weather);
	link->in.ended_ns = link->out.ended_ns = UINT64_MAX;
	link->broken_ns = link->torn_ns = UINT64_MAX;
	link->next = net->links;
	net->links = link;
	return link;
}

void net_calm(struct net *net)
{
	for (struct link *link = net->links; link != NULL; link = link->next) {
		link->weather.stalls = link->weather.fragments = 0;
		link->weather.delay_ns =
			link->weather.delay_ns < NS_MS ? link->weather.delay_ns : NS_MS;
	}
}

enum link_state link_state(struct link *link)
{
	uint64_t now_ns = link->net->now_ns;
	if (link->refused) {
		return LINK_REFUSED;
	}
	if (link->torn_ns <= now_ns) {
		return LINK_BROKEN;
	}
	if (link->out.ended_ns <= now_ns && link->out.bytes == 0) {
		return LINK_ENDED;
	}
	return link->hub == HUB_NONE ? LINK_DIALING : LINK_OPEN;
}

void link_write(struct link *link, struct slice bytes)
{
	if (bytes.len > 0 && link->torn_ns > link->net->now_ns && link->in.ended_ns == UINT64_MAX &&
		!link->refused) {
		pipe_push(link->net, &link->in, &link->weather, bytes.data, bytes.len);
	}
}

size_t link_readable(const struct link *link)
{
	return pipe_arrived(&link->out, link->net->now_ns);
}

size_t link_read(struct link *link, char *out, size_t max)
{
	size_t len = 0;
	size_t part;
	while (len < max &&
		(part = pipe_take(&link->out, link->net->now_ns, out + len, max - len)) > 0) {
		len += part;
	}
	return len;
}

void link_half_close(struct link *link)
{
	struct net *net = link->net;
	if (link->in.ended_ns == UINT64_MAX) {
		uint64_t at_ns = net->now_ns + net_delay(net, &link->weather);
		link->in.ended_ns = at_ns > link->in.last_ns ? at_ns : link->in.last_ns;
	}
}

void link_break(struct link *link)
{
	struct net *net = link->net;
	if (link->torn_ns <= net->now_ns) {
		return;
	}
	link->torn_ns = net->now_ns;
	uint64_t heard_ns = net->now_ns + net_delay(net, &link->weather);
	link->broken_ns = heard_ns < link->broken_ns ? heard_ns : link->broken_ns;
	if (random_one_in(&net->random, 2)) {
		pipe_drop(&link->in);
	}
	pipe_drop(&link->out);
}

void link_forget(struct link *link)
{
	if (link->hub != HUB_GONE && !link->refused) {
		link_break(link);
	}
	link->forgotten = true;
}

uint64_t link_next_ns(struct link *link)
{
	if (link->refused) {
		return link->net->now_ns;
	}
	uint64_t at_ns = link->out.first == NULL ? link->out.ended_ns : link->out.first->at_ns;
	return at_ns < link->torn_ns ? at_ns : link->torn_ns;
}

void net_sweep(struct net *net)
{
	struct link **at = &net->links;
	while (*at != NULL) {
		struct link *link = *at;
		if (link->forgotten && (link->hub == HUB_GONE || link->refused)) {
			*at = link->next;
			pipe_drop(&link->in);
			pipe_drop(&link->out);
			free(link);
		} else {
			at = &link->next;
		}
	}
}
