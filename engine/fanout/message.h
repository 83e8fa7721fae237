/* How a published message looks to its reader: a head that says by what it was subscribed, then channel and payload.
 *
 *     RESP2   *3 $7 message            $n channel $m payload
 *     RESP3   >3 $7 message            $n channel $m payload
 *     pattern *4 $8 pmessage $p glob   $n channel $m payload
 *     line    payload, newline
 *
 * source: Redis' documentation of Pub/Sub and of RESP3's push type.
 */
#ifndef MILLRACE_FANOUT_MESSAGE_H
#define MILLRACE_FANOUT_MESSAGE_H

#include "engine/base/bytes.h"

/* How a message looks to a reader; each has a log of its own. */
enum encoding { ENC_RESP2, ENC_RESP3, ENC_LINE, ENC_COUNT };

/* The name spaces of channels: SUBSCRIBE's, SSUBSCRIBE's, and the one that line workers hear. */
enum channel_kind { CHANNEL_PLAIN, CHANNEL_SHARD, CHANNEL_LINE, CHANNEL_KINDS };

/* The exact length, and the bytes, of a message. `out` has room for so many. */
size_t message_len(
	enum encoding encoding, enum channel_kind kind, struct slice channel, struct slice payload);
void message_put(char *out, enum encoding encoding, enum channel_kind kind, struct slice channel,
	struct slice payload);

/* The form for who subscribed by a glob; ENC_RESP2 or ENC_RESP3. */
void message_append_pattern(struct bytes *out, enum encoding encoding, struct slice glob,
	struct slice channel, struct slice payload);

#endif
