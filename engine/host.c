/* Facts from /proc, getrusage(2), uname(2), getrandom(2) and the allocator.
 *
 * Called by main.c, and by the hub's reports a few times a minute. A fact that cannot be had stays 0. The allocator is asked
 * through weak symbols, for sanitizers bring their own.
 */
#include "engine/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len)
	__attribute__((weak));

static uint64_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file != NULL) {
		if (fscanf(file, "%*u %lu", &pages) != 1) {
			pages = 0;
		}
		fclose(file);
	}
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t allocated_bytes(void)
{
	if (mallctl == NULL) {
		return 0;
	}
	uint64_t epoch = 1;
	size_t allocated = 0;
	size_t len = sizeof(allocated);
	mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	return mallctl("stats.allocated", &allocated, &len, NULL, 0) == 0 ? allocated : 0;
}

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static const char *executable_path(void)
{
	static char path[512];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	return path;
}

static void host_read(struct host_facts *out)
{
	struct rusage usage;
	struct utsname names;
	getrusage(RUSAGE_SELF, &usage);
	uname(&names);
	out->pid = getpid();
	out->rss_bytes = resident_bytes();
	out->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	out->allocated_bytes = allocated_bytes();
	out->machine_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	out->cpu_user_s = seconds(usage.ru_utime);
	out->cpu_sys_s = seconds(usage.ru_stime);
	snprintf(out->os, sizeof(out->os), "%s %s %s", names.sysname, names.release, names.machine);
	out->executable = executable_path();
	out->allocator = mallctl == NULL ? "libc" : "jemalloc";
}

static void host_random(void *out, size_t len)
{
	if (getrandom(out, len, 0) != (ssize_t)len) {
		perror("getrandom");
		abort();
	}
}

const struct host *host_of_this_machine(void)
{
	static const struct host host = {.read = host_read, .random = host_random};
	return &host;
}
