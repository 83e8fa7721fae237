/* Four protocols, told apart in one table.
 *
 * Called by load.c to open connections and read them, and by the subcommands to write publications. A connection
 * is ready when its barrier has come back: by then its subscriptions are in force, whatever the server.
 *
 *     resp2   [AUTH] [SUBSCRIBE …] PING                  +PONG, or the array ["pong",""] of a subscriber
 *     resp3   HELLO 3 [AUTH] [SUBSCRIBE …] PING          +PONG
 *     line    NAME, PING, [REPLICATE], PING <token>      PING <token>: millrace echoes it, as a barrier
 *     nats    CONNECT {…} [SUB …] PING                   PONG
 *
 * Sources: Redis' and NATS' public protocol descriptions; for line, what Synapse's workers send.
 */
#include "bench/adapter.h"

#include <stdio.h>
#include <string.h>

#define BARRIER "millrace-bench"

void adapter_command(struct bytes *out, const char *const *words, size_t count)
{
	bytes_printf(out, "*%zu\r\n", count);
	for (size_t i = 0; i < count; i++) {
		bytes_printf(out, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
	}
}

static void resp_subscribe_and_ping(struct bytes *out, const struct login *login)
{
	if (login->channel_count > 0) {
		bytes_printf(out, "*%zu\r\n$9\r\nSUBSCRIBE\r\n", login->channel_count + 1);
		for (size_t i = 0; i < login->channel_count; i++) {
			bytes_printf(out, "$%zu\r\n%s\r\n", strlen(login->channels[i]),
				login->channels[i]);
		}
	}
	adapter_command(out, (const char *const[]){"PING"}, 1);
}

static void resp2_greet(struct bytes *out, const struct login *login)
{
	if (login->password != NULL && login->user != NULL) {
		adapter_command(
			out, (const char *const[]){"AUTH", login->user, login->password}, 3);
	} else if (login->password != NULL) {
		adapter_command(out, (const char *const[]){"AUTH", login->password}, 2);
	}
	resp_subscribe_and_ping(out, login);
}

static void resp3_greet(struct bytes *out, const struct login *login)
{
	if (login->password != NULL) {
		const char *user = login->user == NULL ? "default" : login->user;
		adapter_command(
			out, (const char *const[]){"HELLO", "3", "AUTH", user, login->password}, 5);
	} else {
		adapter_command(out, (const char *const[]){"HELLO", "3"}, 2);
	}
	resp_subscribe_and_ping(out, login);
}

static bool is_pong(const struct frame *frame)
{
	return frame->kind == FRAME_PONG;
}

static void resp_head(struct bytes *out, struct slice channel, size_t size)
{
	bytes_printf(out, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n%.*s\r\n$%zu\r\n", channel.len,
		SLICE_ARG(channel), size);
}

static void line_greet(struct bytes *out, const struct login *login)
{
	bytes_append_string(out, "NAME " BARRIER "\nPING 0\n");
	if (login->channel_count > 0) {
		bytes_append_string(out, "REPLICATE \n");
	}
	bytes_append_string(out, "PING " BARRIER "\n");
}

static bool line_is_barrier(const struct frame *frame)
{
	return frame->kind == FRAME_PING && slice_equal(frame->text, SLICE(BARRIER));
}

static void line_head(struct bytes *out, struct slice channel, size_t size)
{
	(void)out, (void)channel, (void)size;
}

static void line_alive(struct bytes *out, bool asked)
{
	if (!asked) {
		bytes_append_string(out, "PING alive\n");
	}
}

static void nats_greet(struct bytes *out, const struct login *login)
{
	bytes_append_string(out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\","
				 "\"version\":\"1\",\"protocol\":1");
	if (login->password != NULL) {
		bytes_printf(out, ",\"user\":\"%s\",\"pass\":\"%s\"",
			login->user == NULL ? "" : login->user, login->password);
	}
	bytes_append_string(out, "}\r\n");
	for (size_t i = 0; i < login->channel_count; i++) {
		bytes_printf(out, "SUB %s %zu\r\n", login->channels[i], i + 1);
	}
	bytes_append_string(out, "PING\r\n");
}

static void nats_head(struct bytes *out, struct slice channel, size_t size)
{
	bytes_printf(out, "PUB %.*s %zu\r\n", SLICE_ARG(channel), size);
}

static void nats_alive(struct bytes *out, bool asked)
{
	if (asked) {
		bytes_append_string(out, "PONG\r\n");
	}
}

static const struct adapter adapters[] = {
	{
		.name = "resp2",
		.has_replies = true,
		.has_channels = true,
		.message_tail = "\r\n",
		.scan = scan_resp,
		.greet = resp2_greet,
		.is_barrier = is_pong,
		.message_head = resp_head,
	},
	{
		.name = "resp3",
		.has_replies = true,
		.has_channels = true,
		.message_tail = "\r\n",
		.scan = scan_resp,
		.greet = resp3_greet,
		.is_barrier = is_pong,
		.message_head = resp_head,
	},
	{
		.name = "line",
		.message_tail = "\n",
		.scan = scan_line,
		.greet = line_greet,
		.is_barrier = line_is_barrier,
		.message_head = line_head,
		.alive = line_alive,
	},
	{
		.name = "nats",
		.has_channels = true,
		.message_tail = "\r\n",
		.scan = scan_nats,
		.greet = nats_greet,
		.is_barrier = is_pong,
		.message_head = nats_head,
		.alive = nats_alive,
	},
};

const struct adapter *adapter_find(const char *name)
{
	for (size_t i = 0; i < sizeof(adapters) / sizeof(adapters[0]); i++) {
		if (strcmp(adapters[i].name, name) == 0) {
			return &adapters[i];
		}
	}
	return NULL;
}

void adapter_publish(
	const struct adapter *a, struct bytes *out, struct slice channel, struct slice payload)
{
	a->message_head(out, channel, payload.len);
	bytes_append_slice(out, payload);
	bytes_append_string(out, a->message_tail);
}
