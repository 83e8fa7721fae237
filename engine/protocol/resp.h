/* RESP framing: bytes to requests, values to bytes; RESP2 and RESP3.
 *
 * Knows no verb. A request is an array of bulk strings, or an inline line (blanks separate, quotes as in
 * Redis' sdssplitargs). The parser is plain data, remembers how far it got, and never looks at a byte twice, so a
 * request that arrives byte by byte costs no more than one that arrives whole.
 * source: Redis' RESP specification; the error texts are networking.c's, for clients match on them.
 */
#ifndef MILLRACE_PROTOCOL_RESP_H
#define MILLRACE_PROTOCOL_RESP_H

#include "engine/base/bytes.h"

struct resp_limits {
	size_t bulk_bytes_max;   /* proto-max-bulk-len */
	size_t inline_bytes_max; /* 64 KiB */
	unsigned args_max;       /* 1024 * 1024; 10 and bulk 16384 while not authenticated, as Redis does */
};

/* State between calls: all zero at first. The argument table is only allocated for requests of more than
 * a few arguments, or that arrive in parts. */
struct resp_parser {
	size_t scanned;      /* bytes from the request's start that are understood */
	int64_t args_left;   /* of the array; -1: the header is not complete */
	int64_t bulk_left;   /* length of the bulk string under way; -1: its header is not complete */
	unsigned argc, args_cap;
	struct resp_span {
		size_t offset, len; /* relative to the request's start: buffers move */
	} *args;
	bool started;
};

/* A complete request: slices into the caller's bytes (inline requests with quotes: into `parser`). */
struct resp_request {
	struct slice *argv;
	unsigned argc; /* 0: an empty line or *0, to be ignored */
};

void resp_parser_finish(struct resp_parser *parser);

/* Parse one request at the start of `data`. Between two calls for the same request `data` must begin with the
 * same bytes (they may have moved). `request->argv` lives until the next call with any parser of this thread.
 * units:  `*consumed` bytes belong to the request, on success.
 * errors: -E_AGAIN more bytes are needed; -E_SYNTAX and -E_TOO_LONG: `*error` is the sentence that Redis
 *         sends behind "-ERR ", and the connection is to be closed. */
int resp_parse(struct resp_parser *parser, const struct resp_limits *limits, struct slice data,
	       struct resp_request *request, size_t *consumed, const char **error);

/* Replies. `resp` is 2 or 3 and decides the form of null, map, set, push and double. */
void resp_put_simple(struct bytes *out, const char *text);       /* +text */
void resp_put_error(struct bytes *out, const char *text);        /* -text; control bytes become blanks */
void resp_put_integer(struct bytes *out, int64_t number);
void resp_put_bulk(struct bytes *out, struct slice s);
void resp_put_null(struct bytes *out, unsigned resp);
void resp_put_null_array(struct bytes *out, unsigned resp);
void resp_put_array(struct bytes *out, size_t count);
void resp_put_map(struct bytes *out, unsigned resp, size_t pairs);
void resp_put_set(struct bytes *out, unsigned resp, size_t count);
void resp_put_push(struct bytes *out, unsigned resp, size_t count); /* an array in RESP2 */
void resp_put_verbatim(struct bytes *out, unsigned resp, struct slice text); /* a bulk in RESP2 */
void resp_put_bool(struct bytes *out, unsigned resp, bool value);

/* What fan-out encodes: a published message is `head` + `tail`, and heads differ by how it was
 * subscribed: "*3 message", ">3 message", "*4 pmessage <pattern>", "*3 smessage". The tail is
 * "$n channel $m payload". */
size_t resp_message_tail_len(struct slice channel, struct slice payload);
char *resp_put_message_tail(char *out, struct slice channel, struct slice payload); /* returns the end */

#endif
