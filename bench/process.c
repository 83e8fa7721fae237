/* Reads the server's account in the kernel.
 *
 * Called by the subcommands before and after what they measure. CPU time is the sum of the run times in
 * /proc/PID/task/TID/schedstat, in nanoseconds; utime and stime of /proc/PID/stat are in ticks of 10 ms and only
 * used to split it. A thread that ended in between is missing in the sum: no server measured here does that.
 *
 * What is in it: everything that ran in the server's context, which includes the loopback's receive path
 * (the sender's softirq delivers into the receiver's socket) and waking the reader; the kernel must be without
 * CONFIG_IRQ_TIME_ACCOUNTING, else softirq time is left out. What is not: acknowledgements and
 * window updates, which the reader's recv(2) pays for.
 *
 * Source: proc(5), Documentation/scheduler/sched-stats.rst.
 */
#include "bench/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/err.h"

enum { PATH_BYTES = 128, STATE_LISTEN = 10 };

static uint64_t task_runtime_ns(int32_t pid, const char *tid)
{
	char path[PATH_BYTES];
	snprintf(path, sizeof(path), "/proc/%" PRId32 "/task/%.20s/schedstat", pid, tid);
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		return 0;
	}
	uint64_t run_ns = 0;
	if (fscanf(file, "%" SCNu64, &run_ns) != 1) {
		run_ns = 0;
	}
	fclose(file);
	return run_ns;
}

static int read_runtime(int32_t pid, struct process_usage *out)
{
	char path[PATH_BYTES];
	snprintf(path, sizeof(path), "/proc/%" PRId32 "/task", pid);
	DIR *dir = opendir(path);
	if (dir == NULL) {
		return -E_GONE;
	}
	for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
		if (entry->d_name[0] != '.') {
			out->cpu_ns += task_runtime_ns(pid, entry->d_name);
			out->threads++;
		}
	}
	closedir(dir);
	return OK;
}

/* user_ns and system_ns in ticks' precision. */
static int read_split(int32_t pid, struct process_usage *out)
{
	char path[PATH_BYTES];
	char text[1024];
	snprintf(path, sizeof(path), "/proc/%" PRId32 "/stat", pid);
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		return -E_GONE;
	}
	size_t len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	const char *behind_name = strrchr(text, ')'); /* the name may contain anything */
	uint64_t user = 0;
	uint64_t system = 0;
	if (behind_name == NULL ||
		sscanf(behind_name + 1,
			" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
			&system) != 2) {
		return -E_SYNTAX;
	}
	uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	out->user_ns = user * tick_ns;
	out->system_ns = system * tick_ns;
	return OK;
}

static int read_memory(int32_t pid, struct process_usage *out)
{
	char path[PATH_BYTES];
	char line[256];
	snprintf(path, sizeof(path), "/proc/%" PRId32 "/status", pid);
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		return -E_GONE;
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		uint64_t kib = 0;
		if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1) {
			out->rss_bytes = kib * 1024;
		} else if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1) {
			out->rss_peak_bytes = kib * 1024;
		}
	}
	fclose(file);
	return OK;
}

int process_read(int32_t pid, struct process_usage *out)
{
	*out = (struct process_usage){0};
	if (pid <= 0) {
		return -E_GONE;
	}
	int rc = read_runtime(pid, out);
	rc = rc == OK ? read_split(pid, out) : rc;
	rc = rc == OK ? read_memory(pid, out) : rc;
	if (rc != OK) {
		*out = (struct process_usage){0};
	}
	return rc;
}

struct process_usage process_since(
	const struct process_usage *before, const struct process_usage *after)
{
	struct process_usage delta = *after;
	delta.cpu_ns = after->cpu_ns - before->cpu_ns;
	uint64_t user_ns = after->user_ns - before->user_ns;
	uint64_t system_ns = after->system_ns - before->system_ns;
	double share =
		user_ns + system_ns == 0 ? 0 : (double)user_ns / (double)(user_ns + system_ns);
	delta.user_ns = (uint64_t)((double)delta.cpu_ns * share);
	delta.system_ns = delta.cpu_ns - delta.user_ns;
	return delta;
}

uint64_t process_own_cpu_ns(void)
{
	struct process_usage own = {0};
	read_runtime((int32_t)getpid(), &own);
	return own.cpu_ns;
}

/* The inode of the TCP socket that listens on a port, 0 where there is none. */
static uint64_t inode_of_port(const char *table, unsigned port)
{
	FILE *file = fopen(table, "r");
	if (file == NULL) {
		return 0;
	}
	char line[512];
	uint64_t found = 0;
	while (found == 0 && fgets(line, sizeof(line), file) != NULL) {
		unsigned local_port = 0;
		unsigned state = 0;
		uint64_t inode = 0;
		int fields = sscanf(line,
			" %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*d %*d %" SCNu64,
			&local_port, &state, &inode);
		if (fields == 3 && local_port == port && state == STATE_LISTEN) {
			found = inode;
		}
	}
	fclose(file);
	return found;
}

static bool process_holds(const char *pid, const char *link)
{
	char path[PATH_BYTES + 300];
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *dir = opendir(path);
	if (dir == NULL) {
		return false;
	}
	bool holds = false;
	for (struct dirent *entry = readdir(dir); entry != NULL && !holds; entry = readdir(dir)) {
		char target[PATH_BYTES];
		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid, entry->d_name);
		ssize_t len = readlink(path, target, sizeof(target) - 1);
		if (len > 0) {
			target[len] = '\0';
			holds = strcmp(target, link) == 0;
		}
	}
	closedir(dir);
	return holds;
}

static int32_t holder_of(uint64_t inode)
{
	char link[PATH_BYTES];
	snprintf(link, sizeof(link), "socket:[%" PRIu64 "]", inode);
	DIR *dir = opendir("/proc");
	int32_t pid = 0;
	for (struct dirent *entry = dir == NULL ? NULL : readdir(dir); entry != NULL && pid == 0;
		entry = readdir(dir)) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
			process_holds(entry->d_name, link)) {
			pid = (int32_t)atoi(entry->d_name);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return pid;
}

static int32_t unix_peer(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
		peer.pid = 0;
	}
	if (fd >= 0) {
		close(fd);
	}
	return (int32_t)peer.pid;
}

int32_t process_listening_on(const char *address)
{
	if (strncmp(address, "unix:", 5) == 0) {
		return unix_peer(address + 5);
	}
	const char *colon = strrchr(address, ':');
	unsigned port = colon == NULL ? 0 : (unsigned)atoi(colon + 1);
	uint64_t inode = inode_of_port("/proc/net/tcp", port);
	inode = inode == 0 ? inode_of_port("/proc/net/tcp6", port) : inode;
	return inode == 0 ? 0 : holder_of(inode);
}
