/* Frames in a stream of received bytes: RESP2 and RESP3, the line protocol, NATS.
 *
 * A scanner looks at the beginning of `data` and finds one frame. It keeps no state: with half a frame
 * it says so, and is asked again with more bytes. Nothing is copied; a frame's slices point into `data`.
 */
#ifndef MILLRACE_BENCH_SCAN_H
#define MILLRACE_BENCH_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum frame_kind {
	FRAME_MESSAGE, /* a published message: `channel` (empty on line), `text` */
	FRAME_ACK,     /* (un)subscribed: `channel` */
	FRAME_NUMBER,  /* `number` */
	FRAME_STATUS,  /* +OK and the like: `text` */
	FRAME_ERROR,   /* `text` is the server's sentence */
	FRAME_BULK,    /* `text` */
	FRAME_NULL,    /* a value that is not there */
	FRAME_PING, /* the server asks: `text` is to be given back where the protocol wants that */
	FRAME_PONG, /* the answer to ours */
	FRAME_GREETING, /* the server's first words */
	FRAME_OTHER     /* well-formed, and of no interest here */
};

struct frame {
	enum frame_kind kind;
	struct slice channel;
	struct slice text;
	int64_t number;
};

/* Returns how many bytes the frame takes; 0 where it is not complete yet.
 * errors: -E_SYNTAX not this protocol; -E_TOO_LONG a length beyond SCAN_FRAME_MAX. */
enum { SCAN_FRAME_MAX = 512 * 1024 };

int scan_resp(const char *data, size_t len, struct frame *out);
int scan_line(const char *data, size_t len, struct frame *out);
int scan_nats(const char *data, size_t len, struct frame *out);

#endif
