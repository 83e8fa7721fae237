/* millraced: options, signals, start, run, stop.
 *
 * The only file of engine/ besides host.c and hub/http.c that calls the kernel: it reads files for the configuration, makes
 * one thread a shard, and turns SIGTERM and SIGINT into hub_stop().
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/host.h"
#include "engine/hub/config.h"
#include "engine/hub/hub.h"

enum { EXIT_CONFIG = 2, FILE_BYTES_MAX = 16 * 1024 * 1024 };

static struct hub hub;

/* ---- options ---- */

static int read_file(void *context, const char *path, struct bytes *out, char *why)
{
	(void)context;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : 0;
	while (fd >= 0 && out->len < FILE_BYTES_MAX) {
		len = read(fd, bytes_reserve(out, 4096), 4096);
		if (len <= 0) {
			break;
		}
		out->len += (size_t)len;
	}
	int error = len < 0 ? errno : 0;
	if (fd >= 0) {
		close(fd);
	}
	if (error != 0) {
		snprintf(why, CONFIG_WHY_MAX, "%s", strerror(error));
		return err_from_errno(error);
	}
	return OK;
}

static void give_notice(void *context, const char *sentence)
{
	(void)context;
	journal(JOURNAL_NOTICE, "configuration", "%s", sentence);
}

static void print(const struct bytes *text)
{
	if (text->len > 0) { /* nothing has no address */
		fwrite(text->data, 1, text->len, stdout);
	}
	fflush(stdout);
}

/* Returns true where the program has nothing more to do; `*code` is its exit code then. */
static bool take_options(struct config *config, int argc, char **argv, int *code)
{
	struct config_source source = {.read = read_file, .notice = give_notice};
	enum config_action action = CONFIG_RUN;
	struct bytes text = {0};
	char why[CONFIG_WHY_MAX] = "";
	config_init(config);
	int error = config_read_args(config, argc, argv, &source, &action, why);
	if (error != OK) {
		fprintf(stderr, "millraced: %s\n", why);
		*code = EXIT_CONFIG;
		return true;
	}
	if (action == CONFIG_HELP) {
		config_help(&text);
	} else if (action == CONFIG_VERSION) {
		bytes_append_string(&text, "millraced " MILLRACE_VERSION "\n");
	} else if (action == CONFIG_CHECK) {
		config_write(config, &text);
	}
	print(&text);
	bytes_finish(&text);
	*code = EXIT_SUCCESS;
	return action != CONFIG_RUN;
}

/* ---- the process ---- */

static void on_stop_signal(int number)
{
	(void)number;
	int saved = errno;
	hub_stop(&hub);
	errno = saved;
}

static void catch_signals(void)
{
	struct sigaction stop = {.sa_handler = on_stop_signal};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

/* From here on there is nothing left that a signal could stop sooner, and soon no hub to tell. */
static void ignore_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGINT, &ignore, NULL);
}

static int open_log(const struct config *config, char *why, size_t why_size)
{
	int fd = STDERR_FILENO;
	if (config->logfile[0] != '\0') {
		fd = open(config->logfile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
		if (fd < 0) {
			snprintf(why, why_size, "the log file %s cannot be opened: %s",
				config->logfile, strerror(errno));
			return err_from_errno(errno);
		}
	}
	journal_init((enum journal_level)config->loglevel, fd);
	return OK;
}

static void make_folder(const struct config *config)
{
	if (strcmp(config_word(config, "store"), "none") != 0) {
		mkdir(config->dir, 0750); /* if it cannot be made, the store says why */
	}
}

/* Descriptors for every client: the limit is raised as far as the system allows. */
static void raise_descriptors(const struct config *config)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)config->maxclients + 128;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
		return;
	}
	limit.rlim_cur = wanted;
	limit.rlim_max = limit.rlim_max < wanted ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		journal(JOURNAL_WARNING, "fewer descriptors than maxclients needs",
			"maxclients=%lld descriptors=%llu", (long long)config->maxclients,
			(unsigned long long)limit.rlim_max);
	}
}

/* ---- running ---- */

struct shard_thread {
	pthread_t thread;
	unsigned index;
	bool started;
	sem_t made; /* hub_start_shard() is over */
	int error;
};

static void *run_shard(void *argument)
{
	struct shard_thread *self = argument;
	char why[512] = "";
	int error = hub_start_shard(&hub, self->index, why, sizeof(why));
	if (error != OK) {
		fprintf(stderr, "millraced: shard %u: %s\n", self->index, why);
	}
	self->error = error;
	sem_post(&self->made);
	if (error != OK) {
		return NULL;
	}
	hub_run_shard(&hub, self->index);
	return NULL;
}

/* One after the other; each reads its tenants back before the next begins. */
static int start_other_shards(struct shard_thread *threads, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		threads[i].index = i;
		sem_init(&threads[i].made, 0, 0);
		int error = pthread_create(&threads[i].thread, NULL, run_shard, &threads[i]);
		if (error != 0) {
			fprintf(stderr, "millraced: no thread for shard %u: %s\n", i,
				strerror(error));
			return err_from_errno(error);
		}
		threads[i].started = true;
		while (sem_wait(&threads[i].made) != 0) {
		}
		if (threads[i].error != OK) {
			return threads[i].error;
		}
	}
	return OK;
}

static void join_other_shards(struct shard_thread *threads, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		if (threads[i].started) {
			pthread_join(threads[i].thread, NULL);
		}
	}
}

static int serve(struct config *config, const char *config_file)
{
	char why[512] = "";
	int error = hub_init(&hub, config, config_file, host_of_this_machine(), why, sizeof(why));
	if (error != OK) {
		fprintf(stderr, "millraced: %s\n", why);
		return EXIT_FAILURE;
	}
	catch_signals();
	error = hub_start_shard(&hub, 0, why, sizeof(why));
	if (error != OK) {
		fprintf(stderr, "millraced: %s\n", why);
		ignore_signals();
		hub_finish(&hub);
		return EXIT_FAILURE;
	}
	unsigned count = hub.shards_count;
	struct shard_thread *threads = mem_zalloc(count * sizeof(*threads));
	error = start_other_shards(threads, count);
	if (error == OK) {
		error = hub_listen(&hub, why, sizeof(why));
	}
	if (error == OK) {
		journal(JOURNAL_NOTICE, "ready", "version=%s pid=%d shards=%u", MILLRACE_VERSION,
			getpid(), count);
	} else {
		fprintf(stderr, "millraced: %s\n", why);
		hub_stop(&hub);
	}
	hub_run_shard(&hub, 0);
	join_other_shards(threads, count);
	free(threads);
	ignore_signals();
	hub_finish(&hub);
	journal(JOURNAL_NOTICE, "stopped", "pid=%d", getpid());
	return error == OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct config config = {0};
	char why[512] = "";
	int code = EXIT_SUCCESS;
	if (take_options(&config, argc, argv, &code)) {
		config_finish(&config);
		return code;
	}
	if (open_log(&config, why, sizeof(why)) != OK) {
		fprintf(stderr, "millraced: %s\n", why);
		config_finish(&config);
		return EXIT_FAILURE;
	}
	raise_descriptors(&config);
	make_folder(&config);
	const char *config_file = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	code = serve(&config, config_file);
	config_finish(&config);
	return code;
}
