/* INFO.
 *
 * Called by the verb of that name. The sections and field names are those that monitoring programs
 * read from Redis; what has no meaning here (RDB, AOF, replicas) has the value of a server that
 * does not use it. Numbers come from the hub (struct redis_facts), the cache and the verbs' counts.
 * millrace's own sections come behind, from the hub.
 *
 *     INFO                 the default sections
 *     INFO all             and commandstats
 *     INFO everything      and the hub's own
 *     INFO name …          these ones
 *
 * Not done: time spent by verb. Commandstats has the fields with 0, since readers of it expect
 * them; background processes with their CPU time are in the metrics.
 */
#include "engine/redis/info.h"

#include <stdio.h>

#include "engine/redis/commands.h"

struct report {
	const struct redis_env *env;
	struct redis_facts facts;
	struct bytes *out;
};

typedef void section_printer(struct report *report);

static unsigned long long u(uint64_t number)
{
	return number;
}

/* As Redis writes sizes for people. */
static void human(struct bytes *out, const char *name, uint64_t bytes)
{
	static const char units[] = "KMGTP";
	bytes_printf(out, "%s:%llu\r\n%s_human:", name, u(bytes), name);
	if (bytes < 1024) {
		bytes_printf(out, "%lluB\r\n", u(bytes));
		return;
	}
	double size = (double)bytes / 1024;
	unsigned unit = 0;
	while (size >= 1024 && unit < sizeof(units) - 2) {
		size /= 1024;
		unit++;
	}
	bytes_printf(out, "%.2f%c\r\n", size, units[unit]);
}

static const char *text_or(const char *text, const char *otherwise)
{
	return text == NULL ? otherwise : text;
}

static void print_server(struct report *report)
{
	const struct redis_facts *f = &report->facts;
	const struct redis_env *env = report->env;
	bytes_printf(report->out,
		"redis_version:%s\r\nmillrace_version:%s\r\nredis_git_sha1:00000000\r\n"
		"redis_git_dirty:0\r\nredis_build_id:0\r\nredis_mode:standalone\r\nos:%s\r\n"
		"arch_bits:%zu\r\nmonotonic_clock:POSIX clock_gettime\r\nmultiplexing_api:%s\r\n",
		REDIS_VERSION_LIKE, text_or(env->version, "0"), text_or(f->os, ""),
		8 * sizeof(void *), text_or(f->engine, ""));
	bytes_printf(report->out,
		"process_id:%lld\r\nprocess_supervised:no\r\nrun_id:%s\r\ntcp_port:%u\r\n"
		"server_time_usec:%lld\r\nuptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\nhz:"
		"10\r\n"
		"configured_hz:10\r\nexecutable:%s\r\nconfig_file:%s\r\nio_threads_active:%d\r\n",
		(long long)f->pid, text_or(env->run_id, ""), f->tcp_port,
		(long long)env->now.wall_ms * 1000, u(f->uptime_s), u(f->uptime_s / 86400),
		text_or(f->executable, ""), text_or(f->config_file, ""), f->shards > 1 ? 1 : 0);
}

static void print_clients(struct report *report)
{
	const struct redis_facts *f = &report->facts;
	bytes_printf(report->out,
		"connected_clients:%llu\r\ncluster_connections:0\r\nmaxclients:%llu\r\n"
		"client_recent_max_input_buffer:%llu\r\nclient_recent_max_output_buffer:%llu\r\n"
		"blocked_clients:0\r\ntracking_clients:0\r\nclients_in_timeout_table:0\r\n"
		"pubsub_clients:%llu\r\nline_clients:%llu\r\n",
		u(f->connected_clients), u(f->clients_max), u(f->input_buffer_max),
		u(f->output_buffer_max), u(f->pubsub_clients), u(f->line_clients));
}

static void print_memory(struct report *report)
{
	const struct redis_facts *f = &report->facts;
	const struct cache_stats *cache = cache_stats(report->env->cache);
	struct bytes *out = report->out;
	uint64_t peak = f->memory_peak > f->memory_used ? f->memory_peak : f->memory_used;
	human(out, "used_memory", f->memory_used);
	human(out, "used_memory_rss", f->memory_rss);
	human(out, "used_memory_peak", peak);
	bytes_printf(out, "used_memory_peak_perc:%.2f%%\r\n",
		peak == 0 ? 0.0 : (double)f->memory_used * 100 / (double)peak);
	bytes_printf(out, "used_memory_dataset:%zu\r\nused_memory_logs:%llu\r\n",
		cache->memory_bytes, u(f->memory_logs));
	human(out, "total_system_memory", f->memory_system);
	human(out, "maxmemory", cache->memory_bytes_max);
	bytes_printf(out,
		"maxmemory_policy:%s\r\nmem_fragmentation_ratio:%.2f\r\nmem_allocator:%s\r\n"
		"active_defrag_running:0\r\nlazyfree_pending_objects:0\r\n",
		cache_policy_name(cache->policy),
		f->memory_used == 0 ? 0.0 : (double)f->memory_rss / (double)f->memory_used,
		text_or(f->allocator, "libc"));
}

static void print_persistence(struct report *report)
{
	const struct redis_facts *f = &report->facts;
	bytes_printf(report->out,
		"loading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\n"
		"rdb_bgsave_in_progress:0\r\nrdb_last_save_time:0\r\nrdb_last_bgsave_status:ok\r\n"
		"aof_enabled:0\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
		"aof_last_bgrewrite_status:ok\r\naof_last_write_status:%s\r\n"
		"store_lag_batches:%llu\r\n",
		f->store_ok ? "ok" : "err", u(f->store_lag_batches));
}

static void print_stats(struct report *report)
{
	const struct redis_facts *f = &report->facts;
	const struct redis_verbs *verbs = report->env->verbs;
	const struct cache_stats *cache = cache_stats(report->env->cache);
	bytes_printf(report->out,
		"total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
		"instantaneous_ops_per_sec:%llu\r\ntotal_net_input_bytes:%llu\r\n"
		"total_net_output_bytes:%llu\r\ninstantaneous_input_kbps:%.2f\r\n"
		"instantaneous_output_kbps:%.2f\r\nrejected_connections:%llu\r\nsync_full:0\r\n"
		"sync_partial_ok:0\r\nsync_partial_err:0\r\n",
		u(f->connections_received), u(redis_calls_total(verbs)), u(f->ops_per_s),
		u(f->input_bytes), u(f->output_bytes), f->input_kbps, f->output_kbps,
		u(f->connections_rejected));
	bytes_printf(report->out,
		"expired_keys:%llu\r\nexpired_stale_perc:0.00\r\nevicted_keys:%llu\r\n"
		"evicted_clients:0\r\nclient_output_buffer_limit_disconnections:%llu\r\n"
		"keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\npubsub_channels:%llu\r\n"
		"pubsub_patterns:%llu\r\npubsubshard_channels:%llu\r\nlatest_fork_usec:0\r\n"
		"total_forks:0\r\nunexpected_error_replies:0\r\ntotal_error_replies:%llu\r\n"
		"messages_published:%llu\r\nmessages_delivered:%llu\r\n",
		u(cache->expired), u(cache->evicted), u(f->connections_evicted_output),
		u(cache->hits), u(cache->misses), u(f->pubsub_channels), u(f->pubsub_patterns),
		u(f->pubsub_shard_channels), u(redis_errors_total(verbs)), u(f->published),
		u(f->delivered));
}

static void print_replication(struct report *report)
{
	bytes_printf(report->out,
		"role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n"
		"master_replid:%s\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n"
		"master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n"
		"repl_backlog_size:0\r\nrepl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:"
		"0\r\n",
		text_or(report->env->run_id, ""));
}

static void print_cpu(struct report *report)
{
	bytes_printf(report->out,
		"used_cpu_sys:%.6f\r\nused_cpu_user:%.6f\r\nused_cpu_sys_children:0.000000\r\n"
		"used_cpu_user_children:0.000000\r\n",
		report->facts.cpu_sys, report->facts.cpu_user);
}

static void print_nothing(struct report *report)
{
	(void)report;
}

static void print_commandstats(struct report *report)
{
	for (unsigned verb = 0; verb < redis_verb_count(); verb++) {
		const struct redis_counts *counts = redis_verb_counts(report->env->verbs, verb);
		if (counts->calls + counts->rejected + counts->failed > 0) {
			bytes_printf(report->out,
				"cmdstat_%s:calls=%llu,usec=0,usec_per_call=0.00,rejected_calls=%"
				"llu,"
				"failed_calls=%llu\r\n",
				redis_verb_name(verb), u(counts->calls), u(counts->rejected),
				u(counts->failed));
		}
	}
}

static void print_error(void *context, const char *prefix, uint64_t count)
{
	struct report *report = context;
	bytes_printf(report->out, "errorstat_%s:count=%llu\r\n", prefix, u(count));
}

static void print_errorstats(struct report *report)
{
	redis_errors(report->env->verbs, print_error, report);
}

static void print_cluster(struct report *report)
{
	bytes_append_string(report->out, "cluster_enabled:0\r\n");
}

static void print_keyspace(struct report *report)
{
	struct cache *cache = report->env->cache;
	for (int db = 0; db < cache_databases(cache); db++) {
		if (cache_count(cache, db) > 0) {
			bytes_printf(report->out, "db%d:keys=%zu,expires=%zu,avg_ttl=%lld\r\n", db,
				cache_count(cache, db), cache_count_volatile(cache, db),
				(long long)cache_average_ttl(cache, db, report->env->now.wall_ms));
		}
	}
}

enum { IN_DEFAULT = 1, IN_ALL = 2 };

static const struct {
	const char *name, *title;
	section_printer *print;
	unsigned in;
} sections_table[] = {
	{"server", "Server", print_server, IN_DEFAULT | IN_ALL},
	{"clients", "Clients", print_clients, IN_DEFAULT | IN_ALL},
	{"memory", "Memory", print_memory, IN_DEFAULT | IN_ALL},
	{"persistence", "Persistence", print_persistence, IN_DEFAULT | IN_ALL},
	{"stats", "Stats", print_stats, IN_DEFAULT | IN_ALL},
	{"replication", "Replication", print_replication, IN_DEFAULT | IN_ALL},
	{"cpu", "CPU", print_cpu, IN_DEFAULT | IN_ALL},
	{"module_list", "Modules", print_nothing, IN_DEFAULT},
	{"commandstats", "Commandstats", print_commandstats, IN_ALL},
	{"errorstats", "Errorstats", print_errorstats, IN_DEFAULT | IN_ALL},
	{"cluster", "Cluster", print_cluster, IN_DEFAULT | IN_ALL},
	{"keyspace", "Keyspace", print_keyspace, IN_DEFAULT | IN_ALL},
};
enum { SECTIONS = sizeof(sections_table) / sizeof(sections_table[0]) };

/* What was asked for, as bits of the table; `*own`: the hub's own sections too. */
static unsigned wanted_sections(const struct slice *sections, unsigned count, bool *own)
{
	unsigned wanted = 0;
	*own = false;
	for (unsigned i = 0; i < count || (count == 0 && i == 0); i++) {
		bool everything = count > 0 && slice_equal_nocase(sections[i], SLICE("everything"));
		bool all =
			everything || (count > 0 && slice_equal_nocase(sections[i], SLICE("all")));
		bool standard = count == 0 || slice_equal_nocase(sections[i], SLICE("default"));
		*own = *own || everything;
		for (unsigned s = 0; s < SECTIONS; s++) {
			bool named = count > 0 && slice_equal_nocase(sections[i],
							  slice_of(sections_table[s].name));
			bool in = (all && (sections_table[s].in & IN_ALL) != 0) ||
				  (everything && sections_table[s].print == print_nothing) ||
				  (standard && (sections_table[s].in & IN_DEFAULT) != 0);
			wanted |= named || in ? 1u << s : 0;
		}
	}
	return wanted;
}

static void begin_section(struct bytes *out, const char *title)
{
	bytes_printf(out, "%s# %s\r\n", out->len > 0 ? "\r\n" : "", title);
}

/* A section of the hub's own, by name. */
static void print_own(const struct redis_env *env, struct slice name, struct bytes *out)
{
	struct bytes text = {0};
	char lower[32];
	size_t len = 0;
	for (; len < name.len && len < sizeof(lower); len++) {
		char c = name.data[len];
		lower[len] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
	}
	if (env->ops->info(env->hub, (struct slice){lower, len}, &text)) {
		bytes_append_string(out, out->len > 0 ? "\r\n" : "");
		bytes_append_slice(out, bytes_slice(&text));
	}
	bytes_finish(&text);
}

void info_print(const struct redis_env *env, const struct slice *sections, unsigned count,
	struct bytes *out)
{
	bool own = false;
	unsigned wanted = wanted_sections(sections, count, &own);
	struct report report = {.env = env, .out = out};
	if (wanted != 0) {
		env->ops->facts(env->hub, &report.facts);
	}
	for (unsigned s = 0; s < SECTIONS; s++) {
		if ((wanted & 1u << s) != 0) {
			begin_section(out, sections_table[s].title);
			sections_table[s].print(&report);
		}
	}
	if (own) {
		print_own(env, SLICE(""), out);
	}
	for (unsigned i = 0; i < count && !own; i++) {
		if (sections[i].len > 0 && wanted_sections(&sections[i], 1, &own) == 0) {
			print_own(env, sections[i], out);
		}
		own = false;
	}
}
