/* Globs and who subscribed by them.
 *
 * Called by the hub's tenants and verbs; calls base/glob.c and outbox_reply(). A subscription is one node in two lists, its
 * glob's and its connection's, and only patterns_subscribe() and node_free() change them.
 */
#include "engine/fanout/pattern.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/glob.h"
#include "engine/base/table.h"

struct subscription {
	struct pattern *pattern;
	struct outbox *outbox;
	enum encoding encoding;
	struct subscription *next, **link;   /* of the glob */
	struct subscription *next_of_outbox; /* of the connection */
};

struct pattern {
	UT_hash_handle hh;
	struct subscription *subscriptions;
	unsigned glob_len;
	char glob[];
};

void patterns_init(struct patterns *patterns, void (*ready)(struct outbox *outbox))
{
	*patterns = (struct patterns){.ready = ready};
}

void patterns_finish(struct patterns *patterns)
{
	assert(patterns->globs == NULL);
	bytes_finish(&patterns->scratch);
}

static struct pattern *pattern_find(const struct patterns *patterns, struct slice glob)
{
	struct pattern *pattern;
	HASH_FIND(hh, patterns->globs, glob.data, (unsigned)glob.len, pattern);
	return pattern;
}

static struct pattern *pattern_create(struct patterns *patterns, struct slice glob)
{
	struct pattern *pattern = mem_zalloc(sizeof(*pattern) + glob.len + 1);
	pattern->glob_len = (unsigned)glob.len;
	if (glob.len > 0) {
		memcpy(pattern->glob, glob.data, glob.len);
	}
	HASH_ADD_KEYPTR(hh, patterns->globs, pattern->glob, pattern->glob_len, pattern);
	patterns->count++;
	return pattern;
}

/* The link that points to the connection's node for that glob (or to NULL). */
static struct subscription **find_link(struct outbox *outbox, struct slice glob)
{
	struct subscription **link = &outbox->subscriptions;
	while (*link != NULL && !slice_equal(glob, (struct slice){(*link)->pattern->glob,
							   (*link)->pattern->glob_len})) {
		link = &(*link)->next_of_outbox;
	}
	return link;
}

bool patterns_subscribe(
	struct patterns *patterns, struct outbox *outbox, enum encoding encoding, struct slice glob)
{
	struct subscription **link = find_link(outbox, glob);
	if (*link != NULL) {
		return false;
	}
	struct pattern *pattern = pattern_find(patterns, glob);
	pattern = pattern != NULL ? pattern : pattern_create(patterns, glob);
	struct subscription *node = mem_zalloc(sizeof(*node));
	*node = (struct subscription){.pattern = pattern,
		.outbox = outbox,
		.encoding = encoding,
		.next = pattern->subscriptions,
		.link = &pattern->subscriptions};
	if (node->next != NULL) {
		node->next->link = &node->next;
	}
	pattern->subscriptions = node;
	*link = node;
	return true;
}

static void node_free(struct patterns *patterns, struct subscription **link)
{
	struct subscription *node = *link;
	struct pattern *pattern = node->pattern;
	*link = node->next_of_outbox;
	*node->link = node->next;
	if (node->next != NULL) {
		node->next->link = node->link;
	}
	free(node);
	if (pattern->subscriptions == NULL) {
		HASH_DEL(patterns->globs, pattern);
		patterns->count--;
		free(pattern);
	}
}

bool patterns_unsubscribe(struct patterns *patterns, struct outbox *outbox, struct slice glob)
{
	struct subscription **link = find_link(outbox, glob);
	if (*link == NULL) {
		return false;
	}
	node_free(patterns, link);
	return true;
}

void patterns_leave(struct patterns *patterns, struct outbox *outbox)
{
	while (outbox->subscriptions != NULL) {
		node_free(patterns, &outbox->subscriptions);
	}
}

void patterns_each(
	const struct outbox *outbox, void (*each)(void *context, struct slice glob), void *context)
{
	for (const struct subscription *node = outbox->subscriptions; node != NULL;
		node = node->next_of_outbox) {
		each(context, (struct slice){node->pattern->glob, node->pattern->glob_len});
	}
}

unsigned patterns_publish(struct patterns *patterns, struct slice channel, struct slice payload)
{
	unsigned copies = 0;
	struct pattern *pattern;
	struct pattern *next;
	HASH_ITER (hh, patterns->globs, pattern, next) {
		struct slice glob = {pattern->glob, pattern->glob_len};
		if (!glob_match(glob, channel, false)) {
			continue;
		}
		for (struct subscription *node = pattern->subscriptions; node != NULL;
			node = node->next) {
			bytes_clear(&patterns->scratch);
			message_append_pattern(
				&patterns->scratch, node->encoding, glob, channel, payload);
			outbox_reply(node->outbox, patterns->scratch.data, patterns->scratch.len);
			patterns->ready(node->outbox);
			copies++;
		}
	}
	bytes_shrink(&patterns->scratch, 64 * 1024);
	return copies;
}
