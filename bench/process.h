/* What a server process has used: CPU time and memory, from /proc.
 */
#ifndef MILLRACE_BENCH_PROCESS_H
#define MILLRACE_BENCH_PROCESS_H

#include <stdint.h>

struct process_usage {
	uint64_t cpu_ns;  /* user + system, all threads */
	uint64_t user_ns; /* cpu_ns split as the kernel's coarser counters say */
	uint64_t system_ns;
	uint64_t rss_bytes;      /* VmRSS */
	uint64_t rss_peak_bytes; /* VmHWM, since the process began */
	uint32_t threads;
};

/* The process that listens on `address` (host:port on this machine, or unix:/path), 0 where it cannot be found
 * (another user's, another machine's). */
int32_t process_listening_on(const char *address);

/* errors: -E_GONE no such process, or /proc/PID is not readable. All zero then. */
int process_read(int32_t pid, struct process_usage *out);

/* after - before of the counters; memory is that of `after`. */
struct process_usage process_since(
	const struct process_usage *before, const struct process_usage *after);

/* The CPU time that this process, the load, has used, in ns. */
uint64_t process_own_cpu_ns(void);

#endif
