/* The one error vocabulary: 0 is success, a failure is a negative code of this table.
 *
 * Every code has one sentence for people (err_text). errno values are mapped in at the place where
 * the call failed, so that nothing above ring/ and store/ reads errno.
 */
#ifndef MILLRACE_BASE_ERR_H
#define MILLRACE_BASE_ERR_H

enum err {
	OK = 0,
	E_NOMEM = 1,   /* memory, or a table that memory bounds */
	E_SYNTAX,      /* bytes that the protocol does not allow */
	E_TOO_LONG,    /* a line, frame or value above its limit */
	E_RANGE,       /* a number outside its range */
	E_UNKNOWN,     /* a word that nobody knows */
	E_NOT_ALLOWED, /* the right word from the wrong side, or without permission */
	E_AGAIN,       /* not complete yet, or not now: ask again later */
	E_FULL,        /* a queue or table is at its configured limit */
	E_BACKLOG,     /* a reader is further behind than its limit */
	E_GONE,        /* the peer, or the object asked for, is no longer there */
	E_TIMEOUT,     /* a deadline passed */
	E_REFUSED,     /* the peer or the kernel said no */
	E_IN_USE,      /* the address, file or name is taken */
	E_IO,          /* reading or writing failed */
	E_NOSPACE,     /* no room on the disk */
	E_READONLY,    /* the disk or folder cannot be written */
	E_CORRUPT,     /* stored data does not read back as written */
	E_NEWER,       /* stored data has a newer format than this program */
	E_UNSUPPORTED, /* this kernel or library cannot do it */
	E_CANCELLED,   /* given up on request */
	E_COUNT
};

/* The sentence for a code; accepts both signs, never NULL. */
const char *err_text(int code);

/* The code, negative, for a positive errno value; -E_IO for what has no place of its own. */
int err_from_errno(int errnum);

#endif
