/* System calls that fail when told to: write(2), fdatasync(2) and fsync(2) of this program
 * stand before the C library's, for RocksDB, too. For one .c file of a test program, and not
 * under TSan: it would take the descriptors that RocksDB writes to for ours, and their next use
 * for a race.
 */
#ifndef MILLRACE_TESTS_TEST_STORE_FAULTS_H
#define MILLRACE_TESTS_TEST_STORE_FAULTS_H

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	_Atomic int write_errnum, sync_errnum; /* 0: works */
	_Atomic unsigned one_in;               /* fails once in so many calls; 0: each time */
	_Atomic unsigned calls, failed;
} faults;

static bool fault_strikes(int errnum)
{
	if (errnum == 0) {
		return false;
	}
	unsigned one_in = atomic_load(&faults.one_in);
	unsigned call = atomic_fetch_add(&faults.calls, 1);
	if (one_in > 1 && call % one_in != 0) {
		return false;
	}
	atomic_fetch_add(&faults.failed, 1);
	errno = errnum;
	return true;
}

ssize_t write(int fd, const void *data, size_t len)
{
	static ssize_t (*_Atomic real)(int, const void *, size_t);
	if (real == NULL) {
		real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	}
	struct stat file;
	int errnum = atomic_load(&faults.write_errnum);
	/* Files only: a test's own pipes and terminals work. */
	if (errnum != 0 && fd > STDERR_FILENO && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
		fault_strikes(errnum)) {
		return -1;
	}
	return real(fd, data, len);
}

int fdatasync(int fd)
{
	static int (*_Atomic real)(int);
	if (real == NULL) {
		real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	}
	return fault_strikes(atomic_load(&faults.sync_errnum)) ? -1 : real(fd);
}

int fsync(int fd)
{
	static int (*_Atomic real)(int);
	if (real == NULL) {
		real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	}
	return fault_strikes(atomic_load(&faults.sync_errnum)) ? -1 : real(fd);
}

#endif
