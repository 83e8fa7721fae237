/* The table of directives, and the one of Redis' directives that have no meaning here.
 *
 * Called by config.c. Knows struct config's fields and nothing else of the program. The order is
 * the order of --help and of the manual. Defaults are text and take the same way as a line of the
 * file, so a default that breaks its own limits fails at the first start. Redis' names, defaults
 * and meanings are those of the redis.conf that comes with 7.0; where a default differs, the
 * sentence or the manual says why.
 */
#include "engine/hub/directive.h"

#include <string.h>

#include "engine/hub/config.h"

enum { KB = 1024, MB = 1024 * KB, PATH_LENGTH_MAX = 4095, SOCKET_PATH_MAX = 107 };
#define GB     ((int64_t)1024 * MB)
#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static const char *const engine_words[] = {"auto", "uring", "epoll", NULL};
static const char *const store_words[] = {"rocksdb", "none", NULL};
static const char *const fsync_words[] = {"always", "everysec", "no", NULL};
static const char *const policy_words[] = {
	"noeviction", "allkeys-lru", "volatile-ttl", "volatile-lru", "allkeys-random", NULL};
static const char *const level_words[] = {"debug", "verbose", "notice", "warning", NULL};

#define AT(field) offsetof(struct config, field)
#define BOOLEAN   DIRECTIVE_BOOL
#define NUMBER    DIRECTIVE_INT
#define OCTAL     DIRECTIVE_OCTAL
#define BYTES     DIRECTIVE_BYTES
#define DURATION  DIRECTIVE_DURATION
#define STRING    DIRECTIVE_STRING
#define WORD      DIRECTIVE_WORD
#define LIST      DIRECTIVE_LIST
#define LIMITS    DIRECTIVE_LIMITS
#define AT_START  0
#define MUTABLE   DIRECTIVE_MUTABLE
#define SECRET    DIRECTIVE_SECRET

/* clang-format off */
/* heading, name, type, flags, field, default, min, max, words, sentence */
static const struct directive table[] = {
{"Listening", "bind", LIST, AT_START, AT(bind), "127.0.0.1", 0, 0, NULL,
 "Addresses to listen on for Redis clients; * is every IPv4 address, ::* every IPv6 one, a leading - makes one optional."},
{NULL, "port", NUMBER, AT_START, AT(port), "6380", -1, 65535, NULL,
 "Port for Redis clients; 0 listens on no TCP port, -1 lets the kernel choose one. Not 6379, so that a Redis may run beside it."},
{NULL, "unixsocket", STRING, AT_START, AT(unixsocket), "", 0, SOCKET_PATH_MAX, NULL,
 "Path of a unix socket for Redis clients; on one host it costs half to a quarter of TCP."},
{NULL, "unixsocketperm", OCTAL, AT_START, AT(unixsocketperm), "700", 0, 0777, NULL,
 "Permissions of the unix sockets, in octal."},
{NULL, "tcp-backlog", NUMBER, AT_START, AT(tcp_backlog), "511", 1, 65535, NULL,
 "Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn."},
{NULL, "tcp-keepalive", DURATION, AT_START, AT(tcp_keepalive_ms), "300", 0, DAY, NULL,
 "How long a silent TCP connection stays unprobed; 0 never probes."},
{NULL, "timeout", DURATION, MUTABLE, AT(timeout_ms), "0", 0, 365 * DAY, NULL,
 "Close a Redis client that has been idle for so long and subscribes to nothing; 0 never does."},
{NULL, "maxclients", NUMBER, AT_START, AT(maxclients), "10000", 1, 1000000, NULL,
 "Connections at most, of all kinds; more are told so and closed."},
{NULL, "protected-mode", BOOLEAN, AT_START, AT(protected_mode), "yes", 0, 0, NULL,
 "Refuse to start on an address that is not loopback without a password."},
{NULL, "requirepass", STRING, MUTABLE | SECRET, AT(requirepass), "", 0, 512, NULL,
 "Password that Redis clients must send with AUTH (as user default, or without one)."},
{NULL, "databases", NUMBER, AT_START, AT(databases), "16", 1, 16384, NULL,
 "Numbers that SELECT takes, from 0; each has cache keys of its own."},

{"The line protocol", "server-name", STRING, AT_START, AT(server_name), "", 0, 255, NULL,
 "The homeserver whose workers connect by the line protocol; empty: there is no line listener."},
{NULL, "line-bind", LIST, AT_START, AT(line_bind), "127.0.0.1", 0, 0, NULL,
 "Addresses to listen on for line workers, as for bind; the protocol has no password."},
{NULL, "line-port", NUMBER, AT_START, AT(line_port), "9092", -1, 65535, NULL,
 "Port for line workers; 0 listens on no TCP port, -1 lets the kernel choose one."},
{NULL, "line-unixsocket", STRING, AT_START, AT(line_unixsocket), "", 0, SOCKET_PATH_MAX, NULL,
 "Path of a unix socket for line workers."},
{NULL, "line-writers", LIST, MUTABLE, AT(line_writers), "", 0, 0, NULL,
 "Instances that may send RDATA and POSITION by line; * allows all, nothing refuses all as Synapse does."},
{NULL, "line-length-max", BYTES, MUTABLE, AT(line_length_max), "16384", 1024, 16 * MB, NULL,
 "The longest line that is taken; Synapse takes 16384 bytes."},
{NULL, "line-ping-interval", DURATION, MUTABLE, AT(line_ping_interval_ms), "5s", 100, HOUR, NULL,
 "A line peer to which nothing was sent for so long gets a PING."},
{NULL, "line-ping-timeout", DURATION, MUTABLE, AT(line_ping_timeout_ms), "25s", 200, DAY, NULL,
 "A line peer that has sent PINGs and then nothing for so long is closed."},

{"Replication", "user-sync-expiry", DURATION, MUTABLE, AT(user_sync_expiry_ms), "5m", SECOND, DAY, NULL,
 "A process that is gone or silent for so long has its syncing users cleared."},
{NULL, "batch-rows-max", NUMBER, MUTABLE, AT(batch_rows_max), "10000", 1, 10000000, NULL,
 "Rows that may wait for their batch's last row, by stream and instance."},
{NULL, "batch-bytes-max", BYTES, MUTABLE, AT(batch_bytes_max), "16mb", 16 * KB, 4 * GB, NULL,
 "Bytes of rows that may wait for their batch's last row, by stream and instance."},
{NULL, "batch-age-max", DURATION, MUTABLE, AT(batch_age_max_ms), "60s", 100, DAY, NULL,
 "How long rows may wait for their batch's last row."},

{"The store", "store", WORD, AT_START, AT(store), "rocksdb", 0, 0, store_words,
 "Where positions and user syncs outlive a restart; none keeps them in memory only."},
{NULL, "dir", STRING, AT_START, AT(dir), "./data", 1, PATH_LENGTH_MAX, NULL,
 "Folder of the store; it is made if its parent exists."},
{NULL, "appendfsync", WORD, AT_START, AT(appendfsync), "everysec", 0, 0, fsync_words,
 "always: a publisher's reply waits until the change is on the disk; everysec: synced each second; no: when the kernel likes."},
{NULL, "store-queue-bytes-max", BYTES, AT_START, AT(store_queue_bytes_max), "64mb", MB, 16 * GB, NULL,
 "Changes that may wait for a slow disk."},
{NULL, "store-block-cache", BYTES, AT_START, AT(store_block_cache_bytes), "2mb", 64 * KB, 64 * GB, NULL,
 "RocksDB's cache of read blocks."},
{NULL, "store-write-buffer", BYTES, AT_START, AT(store_write_buffer_bytes), "4mb", 64 * KB, 4 * GB, NULL,
 "RocksDB's buffer in memory before it writes a table."},

{"Memory", "maxmemory", BYTES, MUTABLE, AT(maxmemory_bytes), "64mb", 0, 1024 * GB, NULL,
 "Memory of the cache (SET and GET), keys and overhead included; 0 keeps none."},
{NULL, "maxmemory-policy", WORD, MUTABLE, AT(maxmemory_policy), "volatile-ttl", 0, 0, policy_words,
 "What goes when the cache is full: noeviction refuses the SET, volatile-ttl drops what expires first, allkeys-lru and volatile-lru what was not used for longest (of all, or of what expires), allkeys-random any."},
{NULL, "log-bytes-max", BYTES, MUTABLE, AT(log_bytes_max), "1gb", 16 * MB, 1024 * GB, NULL,
 "Memory of all that was published and not yet sent to the slowest subscriber, over all homeservers."},
{NULL, "client-output-buffer-limit", LIMITS, MUTABLE, AT(client_output_buffer_limit),
 "normal 128mb 0 0 replica 0 0 0 pubsub 32mb 8mb 60", 0, 1024 * GB, NULL,
 "Class (normal, pubsub), hard limit, soft limit, seconds: how far a client may lag before it is closed; 0 is no limit."},
{NULL, "client-query-buffer-limit", BYTES, MUTABLE, AT(client_query_buffer_limit_bytes), "64mb", MB, 16 * GB, NULL,
 "Bytes of one unfinished command of a client."},
{NULL, "proto-max-bulk-len", BYTES, MUTABLE, AT(proto_max_bulk_len_bytes), "64mb", MB, 4 * GB, NULL,
 "Bytes of one argument of a command."},
{NULL, "notify-keyspace-events", STRING, MUTABLE, AT(notify_keyspace_events), "", 0, 16, NULL,
 "Which events of the cache's keys are published, in Redis' letters (KEA: all); with one thread only."},

{"The machine", "engine", WORD, AT_START, AT(engine), "auto", 0, 0, engine_words,
 "How the kernel is talked to: auto takes io_uring where it works, else epoll."},
{NULL, "io-threads", NUMBER, AT_START, AT(io_threads), "1", 1, 64, NULL,
 "Threads that serve connections; a homeserver belongs to one of them."},
{NULL, "send-bytes-max", BYTES, MUTABLE, AT(send_bytes_max), "256kb", 4 * KB, 64 * MB, NULL,
 "Bytes given to the kernel with one send."},
{NULL, "recv-buffer", BYTES, AT_START, AT(recv_buffer_bytes), "16kb", 512, MB, NULL,
 "Bytes taken from one connection before it is another's turn."},
{NULL, "recv-buffers", NUMBER, AT_START, AT(recv_buffers), "256", 8, 32768, NULL,
 "Receive buffers of a thread, shared by its connections; a power of two."},

{"Operation", "http-port", NUMBER, AT_START, AT(http_port), "9180", -1, 65535, NULL,
 "Port for /metrics, /healthz and /readyz; 0 serves none, -1 lets the kernel choose one."},
{NULL, "http-bind", STRING, AT_START, AT(http_bind), "127.0.0.1", 1, 64, NULL,
 "Address of that port; whoever reaches it can read names of streams and instances."},
{NULL, "loglevel", WORD, MUTABLE, AT(loglevel), "notice", 0, 0, level_words,
 "The least that is logged."},
{NULL, "logfile", STRING, AT_START, AT(logfile), "", 0, PATH_LENGTH_MAX, NULL,
 "File that log lines are appended to; empty is standard error."},
{NULL, "shutdown-timeout", DURATION, MUTABLE, AT(shutdown_timeout_ms), "10s", 0, HOUR, NULL,
 "How long a stop waits for subscribers to take what was published."},
};

#define NOTICE  false, NULL
#define REFUSED true, NULL

/* Longer patterns before the shorter ones that would catch them. */
static const struct foreign_directive foreign[] = {
{"save", false, "", "positions are stored as they change; see appendfsync"},
{"appendonly", false, "no", "positions are stored as they change; see appendfsync"},
{"appendfilename", NOTICE, "the store is a folder; see dir"},
{"appenddirname", NOTICE, "the store is a folder; see dir"},
{"dbfilename", NOTICE, "the store is a folder; see dir"},
{"no-appendfsync-on-rewrite", NOTICE, "there is no rewriting"},
{"auto-aof-rewrite-*", NOTICE, "there is no append-only file"},
{"aof-*", NOTICE, "there is no append-only file"},
{"rdb*", NOTICE, "there is no dump file"},
{"stop-writes-on-bgsave-error", NOTICE, "there are no snapshots"},
{"sanitize-dump-payload", NOTICE, "there is no RESTORE"},
{"replicaof", NOTICE, "the hub copies no Redis; a second hub will have a link of its own"},
{"slaveof", NOTICE, "the hub copies no Redis; a second hub will have a link of its own"},
{"masterauth", NOTICE, "the hub copies no Redis"},
{"masteruser", NOTICE, "the hub copies no Redis"},
{"repl-*", NOTICE, "the hub copies no Redis"},
{"replica-*", NOTICE, "the hub copies no Redis"},
{"slave-*", NOTICE, "the hub copies no Redis"},
{"min-replicas-*", NOTICE, "the hub copies no Redis"},
{"min-slaves-*", NOTICE, "the hub copies no Redis"},
{"propagation-error-behavior", NOTICE, "the hub copies no Redis"},
{"failover-*", NOTICE, "the hub copies no Redis"},
{"cluster-*", NOTICE, "there is no cluster mode"},
{"daemonize", NOTICE, "it runs in the foreground; a service manager looks after it"},
{"supervised", NOTICE, "systemd is recognised without being told"},
{"pidfile", NOTICE, "it runs in the foreground; the service manager knows its process"},
{"syslog-*", NOTICE, "log lines go to standard error, from there to the journal; see logfile"},
{"crash-*", NOTICE, "a crash leaves a core file where the system wants one"},
{"always-show-logo", NOTICE, "there is no logo"},
{"set-proc-title", NOTICE, "the process keeps its name"},
{"proc-title-template", NOTICE, "the process keeps its name"},
{"locale-collate", NOTICE, "nothing is sorted"},
{"hz", NOTICE, "timers fire when they are due"},
{"dynamic-hz", NOTICE, "timers fire when they are due"},
{"maxmemory-*", NOTICE, "the cache's order is exact, there is nothing to sample"},
{"active-expire-effort", NOTICE, "keys expire when they are due"},
{"lazyfree-*", NOTICE, "values are small, freeing them is quick"},
{"activerehashing", NOTICE, "tables grow on their own"},
{"activedefrag", NOTICE, "the allocator gives memory back on its own"},
{"active-defrag-*", NOTICE, "the allocator gives memory back on its own"},
{"jemalloc-bg-thread", NOTICE, "the allocator gives memory back on its own"},
{"lfu-*", NOTICE, "the cache counts no frequencies"},
{"io-threads-do-reads", NOTICE, "a thread reads and writes for its own connections"},
{"disable-thp", NOTICE, "it is left to the system"},
{"oom-score-adj*", NOTICE, "it is left to the service manager"},
{"server_cpulist", NOTICE, "it is left to the service manager"},
{"*_cpulist", NOTICE, "it is left to the service manager"},
{"ignore-warnings", NOTICE, "there are no such warnings"},
{"slowlog-*", NOTICE, "see the background processes in the metrics"},
{"latency-*", NOTICE, "see the background processes in the metrics"},
{"tracking-table-max-keys", NOTICE, "there is no client-side caching"},
{"lua-time-limit", NOTICE, "there are no scripts"},
{"busy-reply-threshold", NOTICE, "there are no scripts"},
{"hash-max-*", NOTICE, "values are plain strings"},
{"list-*", NOTICE, "values are plain strings"},
{"set-max-*", NOTICE, "values are plain strings"},
{"zset-max-*", NOTICE, "values are plain strings"},
{"hll-sparse-max-bytes", NOTICE, "values are plain strings"},
{"stream-node-max-*", NOTICE, "values are plain strings"},
{"client-lookup-limit", NOTICE, "each connection has its own limits"},
{"acllog-max-len", NOTICE, "there are no ACL users"},
{"acl-pubsub-default", NOTICE, "there are no ACL users"},
{"enable-*", NOTICE, "there are no such commands"},
{"bind-source-addr", NOTICE, "nothing is connected to from here"},
{"socket-mark-id", NOTICE, "sockets are not marked"},
{"shutdown-on-*", NOTICE, "both signals stop it in order; see shutdown-timeout"},
{"gopher-enabled", NOTICE, "there is no gopher here"},
{"user", REFUSED, "there are no ACL users; requirepass sets the one password"},
{"aclfile", REFUSED, "there are no ACL users; requirepass sets the one password"},
{"rename-command", REFUSED, "commands cannot be renamed or taken away"},
{"tls-*", REFUSED, "there is no TLS yet; use loopback, a unix socket, or a tunnel"},
{"loadmodule", REFUSED, "there are no modules"},
{"sentinel", REFUSED, "there is no sentinel mode"},
};
/* clang-format on */

enum { TABLE_COUNT = sizeof(table) / sizeof(table[0]) };
enum { FOREIGN_COUNT = sizeof(foreign) / sizeof(foreign[0]), NEAREST_NAME_MAX = 64 };

const struct directive *directive_table(size_t *count)
{
	*count = TABLE_COUNT;
	return table;
}

const struct foreign_directive *directive_foreign_table(size_t *count)
{
	*count = FOREIGN_COUNT;
	return foreign;
}

const struct directive *directive_find(struct slice name)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (slice_equal_nocase(name, slice_of(table[i].name))) {
			return &table[i];
		}
	}
	return NULL;
}

/* A pattern has at most one '*'. */
static bool foreign_matches(const char *pattern, struct slice name)
{
	const char *star = strchr(pattern, '*');
	if (star == NULL) {
		return slice_equal_nocase(name, slice_of(pattern));
	}
	struct slice before = {pattern, (size_t)(star - pattern)};
	struct slice behind = slice_of(star + 1);
	return name.len >= before.len + behind.len &&
	       slice_equal_nocase((struct slice){name.data, before.len}, before) &&
	       slice_equal_nocase(
		       (struct slice){name.data + name.len - behind.len, behind.len}, behind);
}

const struct foreign_directive *directive_find_foreign(struct slice name)
{
	for (size_t i = 0; i < FOREIGN_COUNT; i++) {
		if (foreign_matches(foreign[i].pattern, name)) {
			return &foreign[i];
		}
	}
	return NULL;
}

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* How many letters must be put in, taken out or changed (Levenshtein), without case. */
static unsigned distance(struct slice a, struct slice b)
{
	unsigned row[NEAREST_NAME_MAX + 1];
	if (a.len > NEAREST_NAME_MAX || b.len > NEAREST_NAME_MAX) {
		return NEAREST_NAME_MAX;
	}
	for (unsigned j = 0; j <= b.len; j++) {
		row[j] = j;
	}
	for (unsigned i = 1; i <= a.len; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.len; j++) {
			bool same = slice_equal_nocase((struct slice){a.data + i - 1, 1},
				(struct slice){b.data + j - 1, 1});
			unsigned changed = diagonal + (same ? 0 : 1);
			diagonal = row[j];
			row[j] = smaller(changed, 1 + smaller(row[j], row[j - 1]));
		}
	}
	return row[b.len];
}

const char *directive_nearest(struct slice name)
{
	const char *nearest = NULL;
	unsigned least = name.len < 4 ? 2 : name.len < 8 ? 3 : 4; /* beyond it is another word */
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		unsigned d = distance(name, slice_of(table[i].name));
		if (d < least) {
			least = d;
			nearest = table[i].name;
		}
	}
	return nearest;
}
