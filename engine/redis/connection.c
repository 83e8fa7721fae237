/* A connection's own state.
 *
 * Called through the table. Whether a password is right is the hub's to say, in constant time; here
 * it is passed on and forgotten. HELLO's answer has the fields and the values that Redis gives:
 * clients read `server` and `version` to decide what they may send.
 */
#include "engine/redis/connection.h"

#include <stdlib.h>

#include "engine/base/err.h"
#include "engine/redis/commands.h"
#include "engine/redis/multi.h"
#include "engine/redis/pubsub.h"

static const char wrong_password[] =
	"WRONGPASS invalid username-password pair or user is disabled.";

static bool authenticate(struct call *call, struct slice user, struct slice password)
{
	if (!call->env->ops->password_ok(call->env->hub, user, password)) {
		call_error(call, wrong_password);
		return false;
	}
	call->client->authenticated = true;
	return true;
}

void connection_auth(struct call *call)
{
	if (call->argc > 3) {
		call_syntax_error(call);
		return;
	}
	if (call->argc == 2 && !call->env->ops->password_set(call->env->hub)) {
		call_error(call,
			"ERR AUTH <password> called without any password configured for the "
			"default user. Are you sure your configuration is correct?");
		return;
	}
	struct slice user = call->argc == 2 ? SLICE("default") : call->argv[1];
	if (authenticate(call, user, call->argv[call->argc - 1])) {
		call_ok(call);
	}
}

bool connection_set_name(struct call *call, struct slice name)
{
	struct client *client = call->client;
	for (size_t i = 0; i < name.len; i++) {
		if (name.data[i] < '!' || name.data[i] > '~') {
			call_error(call,
				"ERR Client names cannot contain spaces, newlines or special "
				"characters.");
			return false;
		}
	}
	free((void *)client->name.data);
	client->name = (struct slice){name.len == 0 ? NULL : slice_dup(name), name.len};
	call->env->ops->renamed(call->env->hub, client);
	return true;
}

/* HELLO's options, from the third argument on; false: refused, the client has been told. */
static bool hello_options(struct call *call)
{
	for (unsigned i = 2; i < call->argc; i++) {
		unsigned more = call->argc - 1 - i;
		if (call_is(call, i, "auth") && more >= 2) {
			if (!authenticate(call, call->argv[i + 1], call->argv[i + 2])) {
				return false;
			}
			i += 2;
		} else if (call_is(call, i, "setname") && more >= 1) {
			if (!connection_set_name(call, call->argv[i + 1])) {
				return false;
			}
			i++;
		} else {
			call_errorf(call, "ERR Syntax error in HELLO option '%.*s'",
				SLICE_ARG(call->argv[i]));
			return false;
		}
	}
	return true;
}

static void greet(struct call *call)
{
	struct bytes *out = call->out;
	unsigned resp = call->client->resp;
	resp_put_map(out, resp, 7);
	resp_put_string(out, "server");
	resp_put_string(out, "redis");
	resp_put_string(out, "version");
	resp_put_string(out, REDIS_VERSION_LIKE);
	resp_put_string(out, "proto");
	resp_put_integer(out, resp);
	resp_put_string(out, "id");
	resp_put_integer(out, (int64_t)call->client->id);
	resp_put_string(out, "mode");
	resp_put_string(out, "standalone");
	resp_put_string(out, "role");
	resp_put_string(out, "master");
	resp_put_string(out, "modules");
	resp_put_array(out, 0);
}

void connection_hello(struct call *call)
{
	int64_t version = call->client->resp;
	if (call->argc >= 2) {
		if (!call_i64(call, 1, &version,
			    "ERR Protocol version is not an integer or out of range")) {
			return;
		}
		if (version < 2 || version > 3) {
			call_error(call, "NOPROTO unsupported protocol version");
			return;
		}
	}
	if (!hello_options(call)) {
		return;
	}
	if (!call->client->authenticated) {
		call_error(call,
			"NOAUTH HELLO must be called with the client already authenticated, "
			"otherwise the HELLO AUTH <user> <pass> option can be used to "
			"authenticate the client and select the RESP protocol version at the "
			"same time");
		return;
	}
	call->client->resp = (unsigned)version;
	greet(call);
}

void connection_ping(struct call *call)
{
	const struct client *client = call->client;
	if (call->argc > 2) {
		call_arity_error(call);
	} else if (client->resp == 2 && client_is_subscriber(client)) {
		resp_put_array(call->out, 2);
		resp_put_string(call->out, "pong");
		resp_put_bulk(call->out, call->argc == 2 ? call->argv[1] : (struct slice){"", 0});
	} else if (call->argc == 2) {
		resp_put_bulk(call->out, call->argv[1]);
	} else {
		bytes_append(call->out, "+PONG\r\n", 7);
	}
}

void connection_echo(struct call *call)
{
	resp_put_bulk(call->out, call->argv[1]);
}

void connection_select(struct call *call)
{
	int db = 0;
	if (call_db(call, 1, &db)) {
		call->client->db = db;
		call_ok(call);
	}
}

void connection_quit(struct call *call)
{
	call_ok(call);
	call->client->close_after_reply = true;
}

void connection_reset(struct call *call)
{
	struct client *client = call->client;
	multi_forget(client, call->env->cache);
	pubsub_unsubscribe_all(call->env, client);
	connection_set_name(call, (struct slice){NULL, 0});
	client->resp = 2;
	client->db = 0;
	client->reply_mode = REPLY_ON;
	client->no_evict = client->no_touch = false;
	client->authenticated = !call->env->ops->password_set(call->env->hub);
	resp_put_simple(call->out, "RESET");
}
