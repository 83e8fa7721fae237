/* One call of a verb: who asks, with what, and the replies and errors that most verbs share.
 */
#ifndef MILLRACE_REDIS_CALL_H
#define MILLRACE_REDIS_CALL_H

#include "engine/protocol/resp.h"
#include "engine/redis/client.h"

struct verb;

struct call {
	const struct redis_env *env;
	struct client *client;
	const struct verb *verb;
	const struct slice *argv; /* [0] is the verb's name */
	unsigned argc;
	struct bytes *out;
	bool pushed; /* wrote what CLIENT REPLY OFF does not silence: pub/sub's own */
	bool failed; /* wrote an error */
};

/* Run the verb, and count it. */
void call_execute(struct call *call);

/* An error reply, counted by its first word; `text` without the leading dash: "ERR syntax
 * error". */
void call_error(struct call *call, const char *text);
void call_errorf(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
void call_syntax_error(struct call *call);
void call_arity_error(struct call *call); /* wrong number of arguments for … */
void call_full_error(struct call *call);  /* the cache is at its limit */

void call_ok(struct call *call);
void call_integer(struct call *call, int64_t number);
void call_bulk(struct call *call, struct slice s); /* null where data is NULL */
void call_help(struct call *call, const char *const *lines, unsigned count);

/* Is argument `i` this word, in any case? */
bool call_is(const struct call *call, unsigned i, const char *word);
/* Argument `i` as an integer; false: not one, and the client has been told so (`error` NULL: in the
 * usual words). */
bool call_i64(struct call *call, unsigned i, int64_t *out, const char *error);
/* A database number. */
bool call_db(struct call *call, unsigned i, int *out);

/* Short ways to the cache, for the client's database and now. */
struct slice call_value(
	struct call *call, unsigned i); /* read argument `i`'s key; data NULL: none */
/* Write a key; false: refused, and the client has been told. */
bool call_store(struct call *call, struct slice key, struct slice value, int64_t expiry_ms);

#endif
