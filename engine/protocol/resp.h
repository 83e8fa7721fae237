/* RESP framing: bytes to requests, values to bytes; RESP2 and RESP3.
 *
 * Knows no verb. A request is an array of bulk strings, or an inline line (blanks separate, quotes
 * as redis-cli writes them). The parser is plain data, remembers how far it got, and never searches
 * a byte twice, so a request that arrives byte by byte costs no more than one that arrives whole.
 * source: Redis' RESP specification; the error texts are networking.c's, for clients match on them.
 */
#ifndef MILLRACE_PROTOCOL_RESP_H
#define MILLRACE_PROTOCOL_RESP_H

#include "engine/base/bytes.h"

enum {
	RESP_STRANGER_ARGS_MAX = 10,   /* who has to authenticate may send so many arguments */
	RESP_STRANGER_BULK_MAX = 16384 /* of so many bytes; the same numbers as Redis' */
};

struct resp_limits {
	size_t bulk_bytes_max;   /* proto-max-bulk-len */
	size_t inline_bytes_max; /* of a line without its end: 64 KiB */
	unsigned args_max;       /* 1024 * 1024 */
	bool stranger;           /* has to authenticate first: the stricter limits above hold too */
};

/* An argument: an offset until the request is complete (buffers move), a slice afterwards. */
union resp_arg {
	struct {
		size_t offset, len;
	} span;
	struct slice slice;
};

/* State between calls: all zero at first. Memory is only held for requests of more than a few
 * arguments, that arrive in parts, or that are inline; it grows with what arrived, never with what
 * was announced. */
struct resp_parser {
	size_t at;         /* where the element under way begins, from the request's start */
	size_t searched;   /* no end of line stands before here */
	int64_t args_left; /* still to come; 0: the array's header is not complete */
	int64_t bulk_len;  /* of the bulk string under way; -1: its header is not complete */
	unsigned argc, args_cap;
	union resp_arg *args;
	char *text; /* an inline request with its quotes resolved */
	bool started;
};

struct resp_request {
	const struct slice *argv;
	unsigned argc; /* 0: an empty line or *0, to be ignored */
};

/* Free what the parser holds; it is then as at first. Worth calling when a request that left `args`
 * set has been run, so that an idle connection holds nothing. */
void resp_parser_finish(struct resp_parser *parser);

/* Parse one request at the start of `data`. Between two calls for the same request `data` must
 * begin with the same bytes (they may have moved), and the limits must be the same. `request->argv`
 * lives until the next call with any parser of this thread, or resp_parser_finish() of this one.
 * units:  `*consumed` bytes belong to the request, on success.
 * errors: -E_AGAIN more bytes are needed; -E_SYNTAX and -E_TOO_LONG: `*error` is the sentence that
 * Redis sends behind "-ERR " (valid until the next call on this thread), and the connection is to
 * be closed. */
int resp_parse(struct resp_parser *parser, const struct resp_limits *limits, struct slice data,
	struct resp_request *request, size_t *consumed, const char **error);

/* Replies. `resp` is 2 or 3 and decides the form of null, map, set, push, boolean and verbatim. */
void resp_put_simple(struct bytes *out, const char *text); /* +text */
void resp_put_error(struct bytes *out, struct slice text); /* -text; ends of line become blanks */
void resp_put_integer(struct bytes *out, int64_t number);
void resp_put_bulk(struct bytes *out, struct slice s);
void resp_put_string(struct bytes *out, const char *string); /* a bulk, NUL-terminated */
void resp_put_bulk_i64(struct bytes *out, int64_t number);   /* a bulk with decimal digits */
void resp_put_null(struct bytes *out, unsigned resp);
void resp_put_null_array(struct bytes *out, unsigned resp);
void resp_put_array(struct bytes *out, size_t count);
void resp_put_map(struct bytes *out, unsigned resp, size_t pairs);
void resp_put_set(struct bytes *out, unsigned resp, size_t count);
void resp_put_push(struct bytes *out, unsigned resp, size_t count);          /* an array in RESP2 */
void resp_put_verbatim(struct bytes *out, unsigned resp, struct slice text); /* a bulk in RESP2 */
void resp_put_bool(struct bytes *out, unsigned resp, bool value);

/* An array whose length is only known when its elements are written: note out->len, write the
 * elements, and have the header put before them. */
void resp_insert_array(struct bytes *out, size_t at, size_t count);
void resp_insert_map(struct bytes *out, unsigned resp, size_t at, size_t pairs);
void resp_insert_set(struct bytes *out, unsigned resp, size_t at, size_t count);

/* What fan-out encodes: a published message is `head` + `tail`, and heads differ by how it was
 * subscribed: "*3 message", ">3 message", "*4 pmessage <pattern>", "*3 smessage". The tail is
 * "$n channel $m payload". */
size_t resp_message_tail_len(struct slice channel, struct slice payload);
char *resp_put_message_tail(
	char *out, struct slice channel, struct slice payload); /* returns the end */

/* The heads. kind: "message", "smessage", or "pmessage" with its pattern (len 0 with data NULL
 * otherwise). */
void resp_put_message_head(
	struct bytes *out, unsigned resp, const char *kind, struct slice pattern);

#endif
