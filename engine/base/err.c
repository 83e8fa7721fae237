/* Errors and their sentences.
 *
 * Called by everybody, calls nobody. The table is indexed by the enum, so that a code without a
 * sentence shows up as a NULL in the unit test and not at three in the morning.
 */
#include "engine/base/err.h"

#include <errno.h>
#include <stddef.h>

static const char *const sentences[E_COUNT] = {
	[OK] = "success",
	[E_NOMEM] = "out of memory",
	[E_SYNTAX] = "the bytes do not follow the protocol",
	[E_TOO_LONG] = "too long",
	[E_RANGE] = "out of range",
	[E_UNKNOWN] = "unknown name",
	[E_NOT_ALLOWED] = "not allowed",
	[E_AGAIN] = "not ready yet",
	[E_FULL] = "the configured limit is reached",
	[E_BACKLOG] = "too far behind",
	[E_GONE] = "gone",
	[E_TIMEOUT] = "timed out",
	[E_REFUSED] = "refused",
	[E_IN_USE] = "already in use",
	[E_IO] = "input or output failed",
	[E_NOSPACE] = "no space left on the device",
	[E_READONLY] = "cannot be written",
	[E_CORRUPT] = "stored data is damaged",
	[E_NEWER] = "stored data was written by a newer version",
	[E_UNSUPPORTED] = "not supported here",
	[E_CANCELLED] = "cancelled",
};

const char *err_text(int code)
{
	unsigned index = code < 0 ? 0u - (unsigned)code : (unsigned)code;
	if (index >= E_COUNT || sentences[index] == NULL) {
		return "unknown error";
	}
	return sentences[index];
}

int err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return OK;
	case ENOMEM:
	case ENOBUFS:
	case EMFILE:
	case ENFILE:
		return -E_NOMEM;
	case EAGAIN:
	case EINTR:
	case EINPROGRESS:
		return -E_AGAIN;
	case ECONNRESET:
	case EPIPE:
	case ENOTCONN:
	case ESHUTDOWN:
	case EBADF:
	case ENOENT:
		return -E_GONE;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return -E_TIMEOUT;
	case ECONNREFUSED:
		return -E_REFUSED;
	case EADDRINUSE:
	case EEXIST:
		return -E_IN_USE;
	case EPERM:
	case EACCES:
		return -E_NOT_ALLOWED;
	case ENOSPC:
	case EDQUOT:
		return -E_NOSPACE;
	case EROFS:
		return -E_READONLY;
	case ENOSYS:
	case EOPNOTSUPP:
	case EAFNOSUPPORT:
		return -E_UNSUPPORTED;
	case ECANCELED:
		return -E_CANCELLED;
	case ENAMETOOLONG:
	case EMSGSIZE:
		return -E_TOO_LONG;
	default:
		return -E_IO;
	}
}
