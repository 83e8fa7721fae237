/* The vocabulary of replication: parse, print, and who may send what.
 *
 * The text of a command is the same on both transports. Parsing never copies: slices point into
 * the line.
 * source: synapse/replication/tcp/commands.py of 1.13 to 1.160; both generations' forms are
 *         taken.
 */
#ifndef MILLRACE_REPLICATION_COMMAND_H
#define MILLRACE_REPLICATION_COMMAND_H

#include "engine/base/bytes.h"

enum command_name {
	CMD_UNKNOWN, /* relayed to the byte over RESP, refused on a line */
	CMD_SERVER,
	CMD_PING,
	CMD_NAME,
	CMD_REPLICATE,
	CMD_RDATA,
	CMD_POSITION,
	CMD_ERROR,
	CMD_USER_SYNC,
	CMD_CLEAR_USER_SYNC, /* also written CLEAR_USER_SYNCS */
	CMD_FEDERATION_ACK,
	CMD_REMOVE_PUSHER,
	CMD_USER_IP, /* carries an access token: never logged */
	CMD_REMOTE_SERVER_UP,
	CMD_LOCK_RELEASED,
	CMD_NEW_ACTIVE_TASK,
	CMD_CANCEL_TASK,
	CMD_SYNC,
	CMD_INVALIDATE_CACHE,
	CMD_COUNT
};

/* From which side of replication a connection speaks. */
enum direction {
	FROM_WRITER, /* a RESP publisher: any process, anything */
	FROM_WORKER, /* a client of our line listener */
	FROM_MAIN    /* a Synapse main that we are a line client of */
};

struct command {
	enum command_name name;
	struct slice line; /* the whole command, unchanged */
	struct slice word; /* its first word */
	struct slice rest; /* what follows the first blank */
	struct slice stream,
		instance; /* RDATA, POSITION; instance also FEDERATION_ACK (may be empty) */
	int64_t token;    /* RDATA unless `batch`; POSITION's new; FEDERATION_ACK's */
	int64_t prev;     /* POSITION; = token in the old form */
	bool batch;       /* RDATA: more rows with the same token follow */
	bool has_prev;    /* POSITION: the form with two numbers */
	struct slice row; /* RDATA */
	struct slice instance_id, user,
		device;    /* USER_SYNC, CLEAR_USER_SYNC; device empty: the old form */
	bool syncing;      /* USER_SYNC: start */
	int64_t ms;        /* USER_SYNC */
	const char *wrong; /* NULL; or why the arguments of a known command are not what it takes */
};

/* The longest line, without its newline, that a Synapse at the other end takes (Twisted's
 * MAX_LENGTH). */
enum { COMMAND_LINE_MAX = 16384 };

/* errors: -E_SYNTAX the command is known and its arguments are wrong (`*why` and `out->wrong`: a
 *         sentence for ERROR and log, without anything of the line). name, line, word and rest
 *         are set in any case. An unknown word is no error. Over RESP the hub passes both on to
 *         replication_handle(). */
int command_parse(struct slice line, struct command *out, const char **why);

const char *command_word(enum command_name name); /* "RDATA"; "unknown" for CMD_UNKNOWN */

/* Whether this side may send it on a line; FROM_WRITER may send everything that is no line-only
 * command. */
bool command_allowed(enum command_name name, enum direction direction);

/* Whether a worker on a line takes it (a worker closes on anything else). */
bool command_goes_to_worker(enum command_name name);

/* Whether a line can carry it: UTF-8, no newline, at most COMMAND_LINE_MAX bytes. */
bool command_fits_line(struct slice line);

#endif
