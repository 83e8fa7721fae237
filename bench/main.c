/* millrace-bench: drives a replication hub or a message server, and checks what comes back.
 *
 * One subcommand is one run against a server that is already there; it measures, checks loss, duplicates and order
 * at every subscriber, prints one line (or JSON), and ends: 0 all was well, 1 a check failed, 2 it could not run.
 */
#include <stdio.h>
#include <string.h>

#include "bench/cache.h"
#include "bench/flow.h"
#include "bench/idle.h"
#include "bench/options.h"
#include "bench/replay.h"
#include "bench/storm.h"
#include "engine/base/err.h"

static void tenants_defaults(struct options *o)
{
	o->publishers = 50;
	o->subscribers = 3;
}

static void idle_defaults(struct options *o)
{
	o->idle = 1000;
	o->seconds = 1;
}

static const struct verb {
	const char *name;
	int (*run)(const struct options *o);
	void (*defaults)(
		struct options *o); /* where the table's defaults do not fit; may be NULL */
	const char *help;
} verbs[] = {
	{"replay", replay_run, NULL,
		"a recording of Synapse's replication, to subscribers of every kind"},
	{"fan", flow_fan, NULL, "publishers to subscribers on one channel"},
	{"ping", flow_ping, NULL, "one message at a time, one publisher, one subscriber"},
	{"tenants", flow_tenants, tenants_defaults, "many channels with a few subscribers each"},
	{"cache", cache_run, NULL, "SET and GET, 20 to 80"},
	{"idle", idle_run, idle_defaults, "the memory of connections where nothing happens"},
	{"stall", flow_stall, NULL, "one subscriber never reads: do the others notice?"},
	{"storm", storm_run, NULL, "every process of a large Synapse restarts at once"},
};

enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static int usage(int status)
{
	printf("Usage: millrace-bench VERB [--option value]...\n\nVerbs:\n");
	for (unsigned i = 0; i < VERBS; i++) {
		printf("  %-8s %s\n", verbs[i].name, verbs[i].help);
	}
	printf("\n`millrace-bench VERB --help` shows the options of one; those of all are:\n");
	options_help(NULL);
	return status;
}

int main(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "--help") == 0) {
		return usage(argc < 2 ? 2 : 0);
	}
	const struct verb *verb = NULL;
	for (unsigned i = 0; i < VERBS; i++) {
		verb = strcmp(verbs[i].name, argv[1]) == 0 ? &verbs[i] : verb;
	}
	if (verb == NULL) {
		fprintf(stderr, "millrace-bench: there is no verb `%s`\n", argv[1]);
		return 2;
	}
	if (argc > 2 && strcmp(argv[2], "--help") == 0) {
		printf("millrace-bench %s: %s\n", verb->name, verb->help);
		options_help(verb->name);
		return 0;
	}
	struct options options;
	options_init(&options);
	if (verb->defaults != NULL) {
		verb->defaults(&options);
	}
	if (options_parse(&options, argc, argv, 2) != OK) {
		return 2;
	}
	return verb->run(&options);
}
