/* What went wrong with the disk, for people.
 *
 * Called by rocks.c and migrate.c; calls nobody. RocksDB's C interface gives an error as a text
 * only:
 *
 *     IO error: No space left on device: While appending to file: /d/000004.log: No space ...
 *     IO error: While lock file: /d/LOCK: Resource temporarily unavailable
 *     IO error: lock hold by current process, acquire time 1 ...
 *     Corruption: checksum mismatch ...
 *     Invalid argument: Column families not opened: rows
 *
 * The kernel's part of it is strerror()'s, in whatever language the process speaks; so it is
 * looked for with strerror().
 */
#include "store/fault.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/err.h"

static bool says(const char *text, const char *words)
{
	return strstr(text, words) != NULL;
}

/* The first that is found counts: a lock's "temporarily unavailable" before anything general. */
static const struct {
	const char *words; /* RocksDB's own words, or NULL: */
	int errnum;        /* strerror()'s */
	int code;
} causes[] = {
	{"Column families not opened", 0, -E_NEWER},
	{"lock hold by current process", 0, -E_IN_USE},
	{NULL, EAGAIN, -E_IN_USE},
	{NULL, EBUSY, -E_IN_USE},
	{NULL, ENOSPC, -E_NOSPACE},
	{NULL, EDQUOT, -E_NOSPACE},
	{"No space left on device", 0, -E_NOSPACE},
	{NULL, EROFS, -E_READONLY},
	{NULL, EACCES, -E_NOT_ALLOWED},
	{NULL, EPERM, -E_NOT_ALLOWED},
	{NULL, ENOENT, -E_CORRUPT}, /* the folder is there: a file that another names is not */
	{"Corruption", 0, -E_CORRUPT},
	{"CURRENT", 0, -E_CORRUPT},
	{"does not exist", 0, -E_CORRUPT},
};

int fault_code(const char *text)
{
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		const char *words = causes[i].words;
		if (says(text, words != NULL ? words : strerror(causes[i].errnum))) {
			return causes[i].code;
		}
	}
	return -E_IO;
}

static const char *remedy(int code)
{
	switch (-code) {
	case E_NOSPACE:
		return "make room on that disk, or put the store on another one";
	case E_READONLY:
		return "remount the disk so that it can be written, or put the store elsewhere";
	case E_NOT_ALLOWED:
		return "give the folder and all in it to the user that millraced runs as";
	case E_IN_USE:
		return "stop the other process, or give each its own folder";
	case E_CORRUPT:
		return "copy the folder, then try `ldb repair --db=FOLDER` (Debian's "
		       "rocksdb-tools); or move "
		       "it away and start empty: every writer's next POSITION fills the store "
		       "again";
	case E_NEWER:
		return "run the newer millraced, or move the folder away and start empty";
	default:
		return "look at the kernel's log (dmesg) for the disk's own errors";
	}
}

int fault_explain(
	int code, const char *what, const char *dir, const char *detail, char *why, size_t why_size)
{
	bool brackets = detail != NULL && detail[0] != '\0';
	int len = snprintf(why, why_size, "the store in %s cannot %s: %s%s%s%s; %s", dir, what,
		err_text(code), brackets ? " (" : "", brackets ? detail : "", brackets ? ")" : "",
		remedy(code));
	for (int i = 0; i < len && (size_t)i < why_size && why[i] != '\0'; i++) {
		/* A damaged file's bytes may be in it: it has to stay one quoted line. */
		bool plain = (unsigned char)why[i] >= ' ' && why[i] != 0x7f && why[i] != '"';
		why[i] = plain ? why[i] : '?';
	}
	return code;
}
