/* CLIENT.
 *
 * Called through the table. What a connection looks like from outside is gathered by the hub into
 * struct client_facts; here it becomes Redis' line of key=value pairs, with ours behind (lag,
 * transport, full name). A connection that does not speak RESP has its line too, with the fields
 * that it has. `omem` is what the client has not been sent yet: replies, and what lies in the logs
 * before its cursors.
 *
 * Not done: CLIENT PAUSE and TRACKING. A hub that holds its clients back, or announces keys, has no
 * use here; both are refused in a sentence instead of being accepted and ignored.
 */
#include "engine/redis/clients.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/redis/connection.h"
#include "engine/redis/multi.h"

static const char *type_of(const struct client *client)
{
	return client != NULL && client_is_subscriber(client) ? "pubsub" : "normal";
}

/* The types that Redis knows, of which two exist here. False: no such word, the client has been
 * told. */
static bool type_argument(struct call *call, unsigned i, const char **type)
{
	static const char *const types[] = {"normal", "pubsub", "replica", "master"};
	for (unsigned t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		if (call_is(call, i, types[t])) {
			*type = types[t];
			return true;
		}
	}
	if (call_is(call, i, "slave")) {
		*type = "replica";
		return true;
	}
	call_errorf(call, "ERR Unknown client type '%.*s'", SLICE_ARG(call->argv[i]));
	return false;
}

static void print_flags(const struct client_facts *facts, struct bytes *out)
{
	const struct client *client = facts->client;
	size_t at = out->len;
	if (client_is_subscriber(client)) {
		bytes_append_string(out, "P");
	}
	if (multi_is_open(client)) {
		bytes_append_string(out, "x");
	}
	if (client->close_after_reply) {
		bytes_append_string(out, "c");
	}
	if (facts->unix_socket) {
		bytes_append_string(out, "U");
	}
	if (client->no_evict) {
		bytes_append_string(out, "e");
	}
	if (client->no_touch) {
		bytes_append_string(out, "T");
	}
	if (out->len == at) {
		bytes_append_string(out, "N");
	}
}

static void print_resp(const struct client_facts *facts, struct bytes *out)
{
	const struct client *client = facts->client;
	const unsigned *subs = client->subscriptions;
	bytes_printf(out, " name=%.*s age=%lld idle=%lld flags=", SLICE_ARG(client->name),
		(long long)facts->age_s, (long long)facts->idle_s);
	print_flags(facts, out);
	bytes_printf(out,
		" db=%d sub=%u psub=%u ssub=%u multi=%d qbuf=%zu qbuf-free=%zu argv-mem=0",
		client->db, subs[SUB_CHANNEL], subs[SUB_PATTERN], subs[SUB_SHARD],
		multi_count(client), facts->query_bytes, facts->query_free_bytes);
	bytes_printf(out,
		" multi-mem=%zu rbs=0 rbp=0 obl=0 oll=0 omem=%zu tot-mem=%zu events=r cmd=%s"
		" user=default redir=-1 resp=%u lib-name=%.*s lib-ver=%.*s",
		multi_bytes(client), facts->output_bytes + facts->lag_bytes, facts->memory_bytes,
		client->last_command == NULL ? "NULL" : client->last_command, client->resp,
		SLICE_ARG(client->lib_name), SLICE_ARG(client->lib_ver));
}

static void print(const struct client_facts *facts, struct bytes *out)
{
	bytes_printf(out, "id=%llu addr=%.*s laddr=%.*s fd=%d", (unsigned long long)facts->id,
		SLICE_ARG(facts->address), SLICE_ARG(facts->local_address), facts->fd);
	if (facts->client != NULL) {
		print_resp(facts, out);
	} else {
		bytes_printf(out,
			" name=%.*s age=%lld idle=%lld qbuf=%zu qbuf-free=%zu omem=%zu tot-mem=%zu",
			SLICE_ARG(facts->name), (long long)facts->age_s, (long long)facts->idle_s,
			facts->query_bytes, facts->query_free_bytes, facts->output_bytes,
			facts->memory_bytes);
	}
	bytes_printf(out, " transport=%s lag-bytes=%llu lag-messages=%llu\n",
		facts->transport == NULL ? "resp" : facts->transport,
		(unsigned long long)facts->lag_bytes, (unsigned long long)facts->lag_messages);
}

struct listing {
	struct bytes text;
	const char *type; /* NULL: all of them */
};

static void list_one(void *context, const struct client_facts *facts)
{
	struct listing *listing = context;
	if (listing->type == NULL ||
		(facts->client != NULL &&
			slice_equal(slice_of(listing->type), slice_of(type_of(facts->client))))) {
		print(facts, &listing->text);
	}
}

static void put_listing(struct call *call, struct listing *listing)
{
	resp_put_verbatim(call->out, call->client->resp, bytes_slice(&listing->text));
	bytes_finish(&listing->text);
}

void clients_list(struct call *call)
{
	const struct redis_env *env = call->env;
	struct listing listing = {0};
	if (call->argc == 4 && call_is(call, 2, "type")) {
		if (!type_argument(call, 3, &listing.type)) {
			return;
		}
		env->ops->clients(env->hub, list_one, &listing);
	} else if (call->argc > 3 && call_is(call, 2, "id")) {
		for (unsigned i = 3; i < call->argc; i++) {
			int64_t id = 0;
			if (!call_i64(call, i, &id, "ERR Invalid client ID")) {
				bytes_finish(&listing.text);
				return;
			}
			env->ops->client(env->hub, (uint64_t)id, list_one, &listing);
		}
	} else if (call->argc == 2) {
		env->ops->clients(env->hub, list_one, &listing);
	} else {
		call_syntax_error(call);
		return;
	}
	put_listing(call, &listing);
}

void clients_info(struct call *call)
{
	struct listing listing = {0};
	call->env->ops->client(call->env->hub, call->client->id, list_one, &listing);
	put_listing(call, &listing);
}

/* What CLIENT KILL asks for, and what it found. */
struct killing {
	struct slice address, local_address; /* data NULL: any */
	const char *type;
	int64_t id; /* 0: any */
	bool skip_me;
	uint64_t me;
	uint64_t *ids;
	size_t count, cap;
};

static void find_victim(void *context, const struct client_facts *facts)
{
	struct killing *k = context;
	if ((k->address.data != NULL && !slice_equal(k->address, facts->address)) ||
		(k->local_address.data != NULL &&
			!slice_equal(k->local_address, facts->local_address)) ||
		(k->type != NULL &&
			!slice_equal(slice_of(k->type), slice_of(type_of(facts->client)))) ||
		(k->id != 0 && (uint64_t)k->id != facts->id) ||
		(k->skip_me && k->me == facts->id)) {
		return;
	}
	if (k->count == k->cap) {
		k->cap = k->cap == 0 ? 16 : 2 * k->cap;
		k->ids = mem_realloc(k->ids, k->cap * sizeof(*k->ids));
	}
	k->ids[k->count++] = facts->id;
}

static bool kill_option(struct call *call, unsigned i, struct killing *k)
{
	if (call_is(call, i, "id")) {
		int64_t id = 0;
		if (slice_to_i64(call->argv[i + 1], &id) < 0 || id < 1) {
			call_error(call, "ERR client-id should be greater than 0");
			return false;
		}
		k->id = id;
	} else if (call_is(call, i, "type")) {
		return type_argument(call, i + 1, &k->type);
	} else if (call_is(call, i, "addr")) {
		k->address = call->argv[i + 1];
	} else if (call_is(call, i, "laddr")) {
		k->local_address = call->argv[i + 1];
	} else if (call_is(call, i, "user")) {
		if (!slice_equal(call->argv[i + 1], SLICE("default"))) {
			call_errorf(call, "ERR No such user '%.*s'", SLICE_ARG(call->argv[i + 1]));
			return false;
		}
	} else if (call_is(call, i, "skipme") && call_is(call, i + 1, "yes")) {
		k->skip_me = true;
	} else if (call_is(call, i, "skipme") && call_is(call, i + 1, "no")) {
		k->skip_me = false;
	} else {
		call_syntax_error(call);
		return false;
	}
	return true;
}

static bool kill_options(struct call *call, struct killing *k)
{
	for (unsigned i = 2; i < call->argc; i += 2) {
		if (i + 1 == call->argc) {
			call_syntax_error(call);
			return false;
		}
		if (!kill_option(call, i, k)) {
			return false;
		}
	}
	return true;
}

/* Whoever asks is closed after its reply. */
static int64_t kill_found(struct call *call, struct killing *k)
{
	int64_t killed = 0;
	for (size_t i = 0; i < k->count; i++) {
		if (k->ids[i] == call->client->id) {
			call->client->close_after_reply = true;
			killed++;
		} else {
			killed += call->env->ops->kill(call->env->hub, k->ids[i]) ? 1 : 0;
		}
	}
	free(k->ids);
	return killed;
}

void clients_kill(struct call *call)
{
	struct killing k = {.skip_me = true, .me = call->client->id};
	bool old_form = call->argc == 3;
	if (old_form) {
		k.address = call->argv[2];
		k.skip_me = false;
	} else if (!kill_options(call, &k)) {
		return;
	}
	call->env->ops->clients(call->env->hub, find_victim, &k);
	int64_t killed = kill_found(call, &k);
	if (!old_form) {
		call_integer(call, killed);
	} else if (killed > 0) {
		call_ok(call);
	} else {
		call_error(call, "ERR No such client");
	}
}

void clients_id(struct call *call)
{
	call_integer(call, (int64_t)call->client->id);
}

void clients_getname(struct call *call)
{
	call_bulk(call, call->client->name);
}

void clients_setname(struct call *call)
{
	if (connection_set_name(call, call->argv[2])) {
		call_ok(call);
	}
}

void clients_setinfo(struct call *call)
{
	bool name = call_is(call, 2, "lib-name");
	if (!name && !call_is(call, 2, "lib-ver")) {
		call_errorf(call, "ERR Unrecognized option '%.*s'", SLICE_ARG(call->argv[2]));
		return;
	}
	struct slice value = call->argv[3];
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '!' || value.data[i] > '~') {
			call_errorf(call,
				"ERR %s cannot contain spaces, newlines or special characters.",
				name ? "lib-name" : "lib-ver");
			return;
		}
	}
	struct slice *where = name ? &call->client->lib_name : &call->client->lib_ver;
	free((void *)where->data);
	*where = (struct slice){value.len == 0 ? NULL : slice_dup(value), value.len};
	call_ok(call);
}

void clients_reply(struct call *call)
{
	struct client *client = call->client;
	if (call_is(call, 2, "on")) {
		client->reply_mode = REPLY_ON;
		call_ok(call);
	} else if (call_is(call, 2, "off")) {
		client->reply_mode = REPLY_OFF;
	} else if (call_is(call, 2, "skip")) {
		if (client->reply_mode != REPLY_OFF) {
			client->reply_mode = REPLY_SKIP_NEXT;
		}
	} else {
		call_syntax_error(call);
	}
}

static void switch_flag(struct call *call, bool *flag)
{
	bool on = call_is(call, 2, "on");
	if (!on && !call_is(call, 2, "off")) {
		call_syntax_error(call);
		return;
	}
	*flag = on;
	call_ok(call);
}

void clients_no_evict(struct call *call)
{
	switch_flag(call, &call->client->no_evict);
}

void clients_no_touch(struct call *call)
{
	switch_flag(call, &call->client->no_touch);
}

void clients_unblock(struct call *call)
{
	int64_t id = 0;
	if (call->argc > 4) {
		call_errorf(call,
			"ERR unknown subcommand or wrong number of arguments for '%.*s'. Try "
			"CLIENT HELP.",
			SLICE_ARG(call->argv[1]));
	} else if (call->argc == 4 && !call_is(call, 3, "timeout") && !call_is(call, 3, "error")) {
		call_error(call, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
	} else if (call_i64(call, 2, &id, NULL)) {
		call_integer(call, 0); /* nothing blocks */
	}
}

void clients_pause(struct call *call)
{
	call_error(call, "ERR CLIENT PAUSE is not supported: this hub does not hold clients back");
}

void clients_unpause(struct call *call)
{
	call_ok(call);
}

void clients_tracking(struct call *call)
{
	if (call->argc == 3 && call_is(call, 2, "off")) {
		call_ok(call);
		return;
	}
	call_error(call, "ERR CLIENT TRACKING is not supported: changes of keys are not announced");
}

void clients_trackinginfo(struct call *call)
{
	unsigned resp = call->client->resp;
	resp_put_map(call->out, resp, 3);
	resp_put_string(call->out, "flags");
	resp_put_set(call->out, resp, 1);
	resp_put_string(call->out, "off");
	resp_put_string(call->out, "redirect");
	resp_put_integer(call->out, -1);
	resp_put_string(call->out, "prefixes");
	resp_put_array(call->out, 0);
}

void clients_caching(struct call *call)
{
	call_error(call,
		"ERR CLIENT CACHING can be called only when the client is in tracking mode "
		"with OPTIN or OPTOUT mode enabled");
}

void clients_getredir(struct call *call)
{
	call_integer(call, -1);
}

void clients_help(struct call *call)
{
	static const char *const lines[] = {
		"GETNAME",
		"    Tell the name of this connection.",
		"ID",
		"    Tell the number of this connection.",
		"INFO",
		"    Describe this connection.",
		"KILL <ip:port>",
		"    Close the connection from <ip:port>.",
		"KILL <option> <value> [<option> <value> [...]]",
		"    Close the connections that fit every option:",
		"    * ADDR (<ip:port>|<unixsocket>:0): where it comes from.",
		"    * LADDR (<ip:port>|<unixsocket>:0): where it arrived.",
		"    * TYPE (NORMAL|PUBSUB): what it does.",
		"    * USER <username>: whose it is.",
		"    * ID <client-id>: its number.",
		"    * SKIPME (YES|NO): spare the one that asks (default: yes).",
		"LIST [TYPE (NORMAL|PUBSUB)] [ID <client-id> [...]]",
		"    Describe connections, one a line.",
		"NO-EVICT (ON|OFF)",
		"    Protect this connection from eviction.",
		"NO-TOUCH (ON|OFF)",
		"    Have this connection read keys without making them recent.",
		"REPLY (ON|OFF|SKIP)",
		"    Turn the replies to this connection on or off, or skip one.",
		"SETINFO (LIB-NAME|LIB-VER) <value>",
		"    Tell the name or version of the client library.",
		"SETNAME <name>",
		"    Name this connection.",
		"UNPAUSE",
		"    Does nothing: there is no PAUSE.",
	};
	call_help(call, lines, sizeof(lines) / sizeof(lines[0]));
}
