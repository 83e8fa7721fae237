/* Facts and figures. Called by hub.c (pages) and redis_ops.c (INFO); reads shards, tenants, ring and store.
 *
 * Metrics have no label that a peer can multiply without a limit: streams, instances and tenants are limited in number
 * where they are learnt.
 */
#include "engine/hub/report.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/journal.h"
#include "engine/hub/conn.h"
#include "engine/hub/mesh.h"
#include "engine/hub/metrics.h"
#include "engine/hub/tenant.h"
#include "engine/redis/commands.h"

/* What the shards have counted, together; every field of the struct is a number of its own. */
static struct shard_stats sum_stats(const struct hub *hub)
{
	struct shard_stats sum = {0};
	uint64_t *to = (uint64_t *)&sum;
	for (unsigned i = 0; i < hub->shards_count; i++) {
		const uint64_t *from = (const uint64_t *)&hub->shards[i].stats;
		for (size_t field = 0; field < sizeof(sum) / sizeof(uint64_t); field++) {
			to[field] += from[field];
		}
	}
	return sum;
}

static unsigned count_connections(
	const struct hub *hub, enum conn_transport transport, bool subscribers_only)
{
	unsigned count = 0;
	for (unsigned i = 0; i < hub->shards_count; i++) {
		const struct shard *shard = &hub->shards[i];
		for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
			const struct conn *conn = shard->conns[slot];
			count += conn != NULL && conn->transport == transport &&
				 (!subscribers_only || conn->out.cursors != NULL);
		}
	}
	return count;
}

static void biggest_buffers(const struct shard *shard, struct redis_facts *out)
{
	for (uint32_t slot = 0; slot < shard->conns_max; slot++) {
		const struct conn *conn = shard->conns[slot];
		if (conn == NULL) {
			continue;
		}
		uint64_t owed = conn->out.reply_bytes + outbox_lag_bytes(&conn->out);
		out->input_buffer_max =
			conn->in.cap > out->input_buffer_max ? conn->in.cap : out->input_buffer_max;
		out->output_buffer_max =
			owed > out->output_buffer_max ? owed : out->output_buffer_max;
	}
}

/* The numbers that are sums over shards and their tenants. A mirror's channels are its owner's. */
static void sum_shards(const struct hub *hub, struct redis_facts *out)
{
	for (unsigned i = 0; i < hub->shards_count; i++) {
		const struct shard *shard = &hub->shards[i];
		biggest_buffers(shard, out);
		out->memory_logs += shard->pool.bytes;
		out->pubsub_patterns += shard->patterns.count;
		out->store_lag_batches += shard->submitted - shard->durable;
		for (const struct tenant *tenant = shard->tenants; tenant != NULL;
			tenant = tenant->hh.next) {
			out->pubsub_channels +=
				tenant->fanout.mirror ? 0 : tenant->fanout.channels_count;
		}
	}
}

/* The TCP port that Redis clients find, whoever chose it; 0: none. */
static unsigned bound_port(const struct hub *hub)
{
	const char *address = hub->bound[LISTENER_RESP];
	const char *colon = strrchr(address, ':');
	return colon == NULL || strncmp(address, "unix:", 5) == 0
		       ? 0
		       : (unsigned)strtoul(colon + 1, NULL, 10);
}

void report_facts(const struct shard *shard, struct redis_facts *out)
{
	const struct hub *hub = shard->hub;
	struct shard_stats stats = sum_stats(hub);
	static _Thread_local struct host_facts host;
	hub->host->read(&host);
	*out = (struct redis_facts){.pid = host.pid,
		.uptime_s = (shard->now.mono_ns - hub->started_ns) / 1000000000u,
		.tcp_port = bound_port(hub),
		.shards = hub->shards_count,
		.engine = ring_engine(shard->ring),
		.os = host.os,
		.executable = host.executable,
		.config_file = hub->config_file == NULL ? "" : hub->config_file,
		.connected_clients = count_connections(hub, CONN_RESP, false),
		.clients_max = (uint64_t)shard->config->maxclients,
		.pubsub_clients = count_connections(hub, CONN_RESP, true),
		.line_clients = count_connections(hub, CONN_LINE, false),
		.memory_used = host.allocated_bytes,
		.memory_rss = host.rss_bytes,
		.memory_peak = host.peak_bytes,
		.memory_system = host.machine_bytes,
		.memory_max = (uint64_t)shard->config->maxmemory_bytes,
		.memory_policy = config_word(shard->config, "maxmemory-policy"),
		.allocator = host.allocator,
		.connections_received = stats.accepted,
		.connections_rejected = stats.refused_full,
		.connections_evicted_output = stats.dropped_output,
		.input_bytes = stats.received_bytes,
		.output_bytes = stats.sent_bytes,
		.published = stats.published,
		.delivered = stats.delivered,
		.store_ok = store_health(shard->store) == OK,
		.cpu_sys = host.cpu_sys_s,
		.cpu_user = host.cpu_user_s};
	sum_shards(hub, out);
}

/* Every tenant of every shard of which something is known. */
static const struct tenant *known_from(
	const struct hub *hub, unsigned shard, const struct tenant *tenant)
{
	for (;;) {
		while (tenant != NULL && tenant->replication == NULL) {
			tenant = tenant->hh.next;
		}
		if (tenant != NULL || ++shard >= hub->shards_count) {
			return tenant;
		}
		tenant = hub->shards[shard].tenants;
	}
}

static const struct tenant *first_known(const struct hub *hub)
{
	return known_from(hub, 0, hub->shards[0].tenants);
}

static const struct tenant *next_known(const struct tenant *tenant)
{
	return known_from(tenant->shard->hub, tenant->shard->index, tenant->hh.next);
}

bool report_info(const struct shard *shard, struct slice section, struct bytes *out)
{
	if (section.len > 0 && !slice_equal(section, SLICE("tenants"))) {
		return false;
	}
	if (section.len == 0) {
		bytes_append_string(out, "# Tenants\r\n");
	}
	for (const struct tenant *tenant = first_known(shard->hub); tenant != NULL;
		tenant = next_known(tenant)) {
		const struct replication_stats *stats = replication_stats(tenant->replication);
		bytes_printf(out,
			"tenant_%.*s:positions=%u,instances=%u,users_syncing=%u,batches=%llu,log_"
			"bytes=%llu\r\n",
			SLICE_ARG(tenant_name(tenant)), stats->positions, stats->instances,
			stats->users_syncing, (unsigned long long)stats->batches,
			(unsigned long long)fanout_backlog(&tenant->fanout));
	}
	return true;
}

/* ---- Prometheus ---- */

struct page {
	struct metrics_page metrics;
	const struct tenant *tenant;
};

static void gauge(struct page *page, const char *name, const char *help, uint64_t value)
{
	metrics_family(&page->metrics, name, METRICS_GAUGE, help);
	metrics_u64(&page->metrics, METRICS_NO_LABELS, value);
}

static void counter(struct page *page, const char *name, const char *help, uint64_t value)
{
	metrics_family(&page->metrics, name, METRICS_COUNTER, help);
	metrics_u64(&page->metrics, METRICS_NO_LABELS, value);
}

static uint64_t sum_input_bytes(const struct hub *hub)
{
	uint64_t bytes = 0;
	for (unsigned i = 0; i < hub->shards_count; i++) {
		bytes += hub->shards[i].input_bytes;
	}
	return bytes;
}

static void connections_metrics(struct page *page, const struct hub *hub)
{
	struct shard_stats total = sum_stats(hub);
	const struct shard_stats *stats = &total;
	struct redis_facts sums = {0};
	sum_shards(hub, &sums);
	metrics_family(&page->metrics, "millrace_connections", METRICS_GAUGE,
		"Open connections by protocol.");
	metrics_u64(&page->metrics, METRICS_LABELS({"protocol", SLICE("resp")}),
		count_connections(hub, CONN_RESP, false));
	metrics_u64(&page->metrics, METRICS_LABELS({"protocol", SLICE("line")}),
		count_connections(hub, CONN_LINE, false));
	gauge(page, "millrace_subscribers", "Connections with at least one subscription.",
		count_connections(hub, CONN_RESP, true) + count_connections(hub, CONN_LINE, true));
	counter(page, "millrace_connections_accepted_total", "Connections accepted.",
		stats->accepted);
	counter(page, "millrace_connections_refused_total", "Connections refused: maxclients.",
		stats->refused_full);
	metrics_family(&page->metrics, "millrace_connections_dropped_total", METRICS_COUNTER,
		"Connections that the hub ended, by reason.");
	metrics_u64(
		&page->metrics, METRICS_LABELS({"reason", SLICE("output")}), stats->dropped_output);
	metrics_u64(
		&page->metrics, METRICS_LABELS({"reason", SLICE("input")}), stats->dropped_input);
	metrics_u64(&page->metrics, METRICS_LABELS({"reason", SLICE("idle")}), stats->dropped_idle);
	metrics_u64(&page->metrics, METRICS_LABELS({"reason", SLICE("protocol")}),
		stats->protocol_errors);
	counter(page, "millrace_received_bytes_total", "Bytes received.", stats->received_bytes);
	counter(page, "millrace_sent_bytes_total", "Bytes sent.", stats->sent_bytes);
	counter(page, "millrace_published_total", "Messages published.", stats->published);
	counter(page, "millrace_published_bytes_total", "Bytes of published messages.",
		stats->published_bytes);
	counter(page, "millrace_deliveries_total", "Messages times their receivers.",
		stats->delivered);
	counter(page, "millrace_publishers_paused_total",
		"Times a publisher was not read from: log-bytes-max.", stats->publishers_paused);
	gauge(page, "millrace_log_bytes", "Memory of all logs.", sums.memory_logs);
	gauge(page, "millrace_input_bytes", "Memory of requests that are not complete.",
		sum_input_bytes(hub));
}

static void ring_metrics(struct page *page, const struct hub *hub)
{
	struct ring_stats sum = {0};
	for (unsigned i = 0; i < hub->shards_count; i++) {
		const struct ring_stats *stats = ring_stats(hub->shards[i].ring);
		sum.enters += stats->enters;
		sum.sends += stats->sends;
		sum.received_events += stats->received_events;
		sum.asleep_ns += stats->asleep_ns;
	}
	struct shard_stats stats = sum_stats(hub);
	metrics_family(&page->metrics, "millrace_ring_info", METRICS_GAUGE,
		"The kernel interface in use.");
	metrics_u64(&page->metrics,
		METRICS_LABELS({"engine", slice_of(ring_engine(hub->shards[0].ring))}), 1);
	gauge(page, "millrace_shards", "Shards: io-threads.", hub->shards_count);
	counter(page, "millrace_turns_total", "Turns of the loops.", stats.turns);
	counter(page, "millrace_bells_total", "Doorbells rung for other shards.", stats.bells);
	counter(page, "millrace_ring_enters_total", "System calls that submitted or waited.",
		sum.enters);
	counter(page, "millrace_ring_sends_total", "Sends.", sum.sends);
	counter(page, "millrace_ring_receives_total", "Receives.", sum.received_events);
	metrics_family(&page->metrics, "millrace_ring_asleep_seconds_total", METRICS_COUNTER,
		"Time spent waiting in the kernel.");
	metrics_seconds(&page->metrics, METRICS_NO_LABELS, sum.asleep_ns);
}

static void store_metrics(struct page *page, const struct shard *shard)
{
	struct store_stats stats;
	struct redis_facts sums = {0};
	sum_shards(shard->hub, &sums);
	store_read_stats(shard->store, &stats);
	gauge(page, "millrace_store_up", "1 if the last write went well.",
		store_health(shard->store) == OK);
	counter(page, "millrace_store_batches_total", "Batches handed to the store.",
		stats.batches);
	counter(page, "millrace_store_writes_total", "WriteBatches.", stats.writes);
	counter(page, "millrace_store_rows_total", "Rows in them.", stats.rows);
	counter(page, "millrace_store_syncs_total", "Syncs of the write-ahead log.", stats.syncs);
	counter(page, "millrace_store_failed_writes_total", "Writes that failed.",
		stats.failed_writes);
	gauge(page, "millrace_store_lag_batches", "Batches that are not durable yet.",
		sums.store_lag_batches);
	metrics_family(&page->metrics, "millrace_store_lag_seconds", METRICS_GAUGE,
		"Age of the oldest batch that is not durable.");
	metrics_double(&page->metrics, METRICS_NO_LABELS, (double)stats.oldest_queued_ms / 1e3);
	gauge(page, "millrace_store_queued_bytes", "Bytes of batches that wait.",
		stats.queued_bytes);
	gauge(page, "millrace_store_disk_bytes", "Bytes on the disk.", stats.disk_bytes);
	gauge(page, "millrace_store_memory_bytes", "Memory of RocksDB.", stats.memory_bytes);
	metrics_family(&page->metrics, "millrace_store_write_seconds_total", METRICS_COUNTER,
		"Time in RocksDB's writes.");
	metrics_seconds(&page->metrics, METRICS_NO_LABELS, stats.write_ns);
	metrics_family(&page->metrics, "millrace_store_sync_seconds_total", METRICS_COUNTER,
		"Time in RocksDB's syncs.");
	metrics_seconds(&page->metrics, METRICS_NO_LABELS, stats.sync_ns);
}

static void cache_metrics(struct page *page, const struct hub *hub)
{
	struct cache_stats sum = {0};
	for (unsigned i = 0; i < hub->shards_count; i++) {
		const struct cache_stats *stats = cache_stats(hub->shards[i].cache);
		sum.entries += stats->entries;
		sum.memory_bytes += stats->memory_bytes;
		sum.hits += stats->hits;
		sum.misses += stats->misses;
		sum.expired += stats->expired;
		sum.evicted += stats->evicted;
	}
	gauge(page, "millrace_cache_keys", "Keys in the cache.", sum.entries);
	gauge(page, "millrace_cache_bytes", "Memory of the cache.", sum.memory_bytes);
	counter(page, "millrace_cache_hits_total", "Reads that found their key.", sum.hits);
	counter(page, "millrace_cache_misses_total", "Reads that did not.", sum.misses);
	counter(page, "millrace_cache_expired_total", "Keys whose time came.", sum.expired);
	counter(page, "millrace_cache_evicted_total", "Keys that made room for others.",
		sum.evicted);
}

static void verbs_metrics(struct page *page, const struct hub *hub)
{
	metrics_family(&page->metrics, "millrace_redis_calls_total", METRICS_COUNTER,
		"Redis commands by name.");
	for (unsigned verb = 0; verb < redis_verb_count(); verb++) {
		uint64_t calls = 0;
		for (unsigned i = 0; i < hub->shards_count; i++) {
			calls += redis_verb_counts(hub->shards[i].env.verbs, verb)->calls;
		}
		if (calls > 0) {
			metrics_u64(&page->metrics,
				METRICS_LABELS({"command", slice_of(redis_verb_name(verb))}),
				calls);
		}
	}
}

/* ---- by tenant ---- */

static void each_tenant(struct page *page, const struct hub *hub,
	void (*each)(struct page *page, const struct replication *replication))
{
	for (page->tenant = first_known(hub); page->tenant != NULL;
		page->tenant = next_known(page->tenant)) {
		each(page, page->tenant->replication);
	}
}

static void commands_sample(struct page *page, const struct replication *replication)
{
	const struct replication_stats *stats = replication_stats(replication);
	for (unsigned name = 0; name < CMD_COUNT; name++) {
		if (stats->commands[name] > 0) {
			metrics_u64(&page->metrics,
				METRICS_LABELS({"tenant", tenant_name(page->tenant)},
					{"command",
						slice_of(command_word((enum command_name)name))}),
				stats->commands[name]);
		}
	}
}

static void position_token(void *context, const struct position_facts *facts)
{
	struct page *page = context;
	metrics_i64(&page->metrics,
		METRICS_LABELS({"tenant", tenant_name(page->tenant)}, {"stream", facts->stream},
			{"instance", facts->instance}),
		facts->token);
}

static void position_confirmed(void *context, const struct position_facts *facts)
{
	struct page *page = context;
	metrics_u64(&page->metrics,
		METRICS_LABELS({"tenant", tenant_name(page->tenant)}, {"stream", facts->stream},
			{"instance", facts->instance}),
		facts->confirmed);
}

static void position_rows(void *context, const struct position_facts *facts)
{
	struct page *page = context;
	metrics_u64(&page->metrics,
		METRICS_LABELS({"tenant", tenant_name(page->tenant)}, {"stream", facts->stream},
			{"instance", facts->instance}),
		facts->rows);
}

static void token_samples(struct page *page, const struct replication *replication)
{
	replication_positions(replication, position_token, page);
}

static void confirmed_samples(struct page *page, const struct replication *replication)
{
	replication_positions(replication, position_confirmed, page);
}

static void rows_samples(struct page *page, const struct replication *replication)
{
	replication_positions(replication, position_rows, page);
}

/* One number of replication_stats for each tenant. */
struct stat_column {
	const char *name, *help;
	enum metrics_type type;
	uint64_t (*read)(const struct replication_stats *stats);
};

#define COLUMN(field)                                                                              \
	static uint64_t read_##field(const struct replication_stats *stats)                        \
	{                                                                                          \
		return (uint64_t)stats->field;                                                     \
	}
COLUMN(malformed)
COLUMN(batches)
COLUMN(batches_torn)
COLUMN(batches_over_limit)
COLUMN(batch_bytes)
COLUMN(instances)
COLUMN(users_syncing)
COLUMN(user_syncs_expired)
COLUMN(resets)
COLUMN(refused_full)
COLUMN(unfit_for_lines)
COLUMN(gaps_closed)

static const struct stat_column columns[] = {
	{"millrace_malformed_commands_total", "Known commands with wrong arguments.",
		METRICS_COUNTER, read_malformed},
	{"millrace_batches_total", "Batches of rows that were complete.", METRICS_COUNTER,
		read_batches},
	{"millrace_batches_torn_total",
		"Batches that lost their beginning or end: replaced by a POSITION.",
		METRICS_COUNTER, read_batches_torn},
	{"millrace_batches_over_limit_total",
		"Batches above batch-rows-max, -bytes-max or -age-max.", METRICS_COUNTER,
		read_batches_over_limit},
	{"millrace_batch_bytes", "Bytes of rows that wait for the end of their batch.",
		METRICS_GAUGE, read_batch_bytes},
	{"millrace_instances", "Processes that report user syncs.", METRICS_GAUGE, read_instances},
	{"millrace_users_syncing", "Users who are syncing now.", METRICS_GAUGE, read_users_syncing},
	{"millrace_user_syncs_expired_total",
		"Processes whose users were cleared for their silence.", METRICS_COUNTER,
		read_user_syncs_expired},
	{"millrace_stream_resets_total", "Positions that went back.", METRICS_COUNTER, read_resets},
	{"millrace_not_learnt_total", "Positions or users above a limit.", METRICS_COUNTER,
		read_refused_full},
	{"millrace_unfit_for_lines_total",
		"Rows that no line can carry: a POSITION went there instead.", METRICS_COUNTER,
		read_unfit_for_lines},
	{"millrace_gaps_closed_total", "POSITIONs put before a writer's first row after a restart.",
		METRICS_COUNTER, read_gaps_closed},
};

static void columns_metrics(struct page *page, const struct hub *hub)
{
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		const struct stat_column *column = &columns[i];
		metrics_family(&page->metrics, column->name, column->type, column->help);
		for (const struct tenant *tenant = first_known(hub); tenant != NULL;
			tenant = next_known(tenant)) {
			metrics_u64(&page->metrics, METRICS_LABELS({"tenant", tenant_name(tenant)}),
				column->read(replication_stats(tenant->replication)));
		}
	}
}

static void tenants_metrics(struct page *page, const struct hub *hub)
{
	metrics_family(&page->metrics, "millrace_commands_total", METRICS_COUNTER,
		"Replication commands handled, by name.");
	each_tenant(page, hub, commands_sample);
	metrics_family(&page->metrics, "millrace_position", METRICS_GAUGE,
		"Where a writer stands on a stream.");
	each_tenant(page, hub, token_samples);
	metrics_family(&page->metrics, "millrace_position_confirmed", METRICS_GAUGE,
		"0 while a position is only remembered from before a restart.");
	each_tenant(page, hub, confirmed_samples);
	metrics_family(&page->metrics, "millrace_rows_total", METRICS_COUNTER,
		"RDATA rows by stream and writer.");
	each_tenant(page, hub, rows_samples);
	columns_metrics(page, hub);
}

/* ---- background processes ---- */

struct process_family {
	struct page *page;
	void (*sample)(struct page *page, struct slice name, const struct process_account *account);
};

static void sample_started(
	struct page *page, struct slice name, const struct process_account *account)
{
	metrics_u64(&page->metrics, METRICS_LABELS({"name", name}), account->started);
}

static void sample_in_flight(
	struct page *page, struct slice name, const struct process_account *account)
{
	metrics_u64(&page->metrics, METRICS_LABELS({"name", name}),
		account->started - account->finished);
}

static void sample_failed(
	struct page *page, struct slice name, const struct process_account *account)
{
	metrics_u64(&page->metrics, METRICS_LABELS({"name", name}), account->failed);
}

static void sample_cpu(struct page *page, struct slice name, const struct process_account *account)
{
	metrics_seconds(&page->metrics, METRICS_LABELS({"name", name}), account->cpu_ns);
}

static void sample_wait(struct page *page, struct slice name, const struct process_account *account)
{
	metrics_seconds(&page->metrics, METRICS_LABELS({"name", name}), account->store_wait_ns);
}

static void process_sample(void *context, const struct process *process)
{
	const struct process_family *family = context;
	struct process_account account = process_account(process);
	family->sample(family->page, process_name(process), &account);
}

static void process_metrics(struct page *page, const struct hub *hub)
{
	static const struct {
		const char *name, *help;
		enum metrics_type type;
		void (*sample)(struct page *page, struct slice name,
			const struct process_account *account);
	} families[] = {
		{"millrace_background_process_start_total", "Runs of a handler begun.",
			METRICS_COUNTER, sample_started},
		{"millrace_background_process_in_flight", "Runs that are not over.", METRICS_GAUGE,
			sample_in_flight},
		{"millrace_background_process_failed_total", "Runs that failed.", METRICS_COUNTER,
			sample_failed},
		{"millrace_background_process_cpu_seconds_total",
			"CPU time of the runs, estimated.", METRICS_COUNTER, sample_cpu},
		{"millrace_background_process_store_wait_seconds_total",
			"Time the runs waited for the store.", METRICS_COUNTER, sample_wait},
	};
	struct processes *sum = processes_create(SHARD_PROCESSES_MAX);
	for (unsigned i = 0; i < hub->shards_count; i++) {
		processes_add(sum, hub->shards[i].processes);
	}
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		struct process_family family = {.page = page, .sample = families[i].sample};
		metrics_family(
			&page->metrics, families[i].name, families[i].type, families[i].help);
		processes_each(sum, process_sample, &family);
	}
	processes_destroy(sum);
}

static void host_metrics(struct page *page, const struct shard *shard)
{
	static _Thread_local struct host_facts host;
	shard->hub->host->read(&host);
	gauge(page, "millrace_resident_bytes", "Resident memory of the process.", host.rss_bytes);
	metrics_family(&page->metrics, "millrace_cpu_seconds_total", METRICS_COUNTER,
		"CPU time of the process.");
	metrics_double(&page->metrics, METRICS_LABELS({"mode", SLICE("user")}), host.cpu_user_s);
	metrics_double(&page->metrics, METRICS_LABELS({"mode", SLICE("system")}), host.cpu_sys_s);
	metrics_family(
		&page->metrics, "millrace_uptime_seconds", METRICS_GAUGE, "Time since the start.");
	metrics_seconds(
		&page->metrics, METRICS_NO_LABELS, shard->now.mono_ns - shard->hub->started_ns);
	metrics_family(
		&page->metrics, "millrace_log_lines_total", METRICS_COUNTER, "Log lines by level.");
	metrics_u64(&page->metrics, METRICS_LABELS({"level", SLICE("notice")}),
		journal_count(JOURNAL_NOTICE));
	metrics_u64(&page->metrics, METRICS_LABELS({"level", SLICE("warning")}),
		journal_count(JOURNAL_WARNING));
	metrics_family(&page->metrics, "millrace_build_info", METRICS_GAUGE, "What runs here.");
	metrics_u64(&page->metrics, METRICS_LABELS({"version", SLICE(MILLRACE_VERSION)}), 1);
}

void report_metrics(struct shard *shard, struct bytes *out)
{
	struct page page = {.tenant = NULL};
	const struct hub *hub = shard->hub;
	hub_halt_others(shard);
	metrics_begin(&page.metrics, out);
	host_metrics(&page, shard);
	connections_metrics(&page, hub);
	verbs_metrics(&page, hub);
	tenants_metrics(&page, hub);
	process_metrics(&page, hub);
	ring_metrics(&page, hub);
	store_metrics(&page, shard);
	cache_metrics(&page, hub);
	hub_others_go_on(shard);
}

/* ---- health ---- */

int report_health(struct hub *hub, struct bytes *out)
{
	(void)hub;
	bytes_append_string(out, "ok\n");
	return OK;
}

int report_ready(struct hub *hub, struct bytes *out)
{
	if (!atomic_load(&hub->ready)) {
		bytes_append_string(out, "starting or stopping\n");
		return -E_AGAIN;
	}
	int health = store_health(hub->store);
	if (health != OK) {
		bytes_printf(out, "the store cannot be written: %s\n", err_text(health));
		return health;
	}
	bytes_append_string(out, "ready\n");
	return OK;
}
