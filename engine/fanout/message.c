/* The encodings of a published message. Called by subscribe.c and pattern.c for each message once; calls memcpy. */
#include "engine/fanout/message.h"

#include <assert.h>
#include <string.h>

struct head {
	const char *bytes;
	size_t len;
};

#define HEAD(text)                                                                                 \
	{                                                                                          \
		(text), sizeof(text) - 1                                                           \
	}
static const struct head heads[ENC_LINE][CHANNEL_LINE] = {
	[ENC_RESP2] = {[CHANNEL_PLAIN] = HEAD("*3\r\n$7\r\nmessage\r\n"),
		[CHANNEL_SHARD] = HEAD("*3\r\n$8\r\nsmessage\r\n")},
	[ENC_RESP3] = {[CHANNEL_PLAIN] = HEAD(">3\r\n$7\r\nmessage\r\n"),
		[CHANNEL_SHARD] = HEAD(">3\r\n$8\r\nsmessage\r\n")},
};
static const struct head pattern_heads[ENC_LINE] = {
	[ENC_RESP2] = HEAD("*4\r\n$8\r\npmessage\r\n"),
	[ENC_RESP3] = HEAD(">4\r\n$8\r\npmessage\r\n"),
};

static size_t bulk_len(size_t len)
{
	size_t digits = 1;
	for (size_t n = len; n >= 10; n /= 10) {
		digits++;
	}
	return 1 + digits + 2 + len + 2;
}

static char *put_bytes(char *out, const char *data, size_t len)
{
	if (len > 0) {
		memcpy(out, data, len);
	}
	return out + len;
}

static char *put_bulk(char *out, struct slice s)
{
	*out++ = '$';
	out += decimal((int64_t)s.len, out);
	*out++ = '\r';
	*out++ = '\n';
	out = put_bytes(out, s.data, s.len);
	*out++ = '\r';
	*out++ = '\n';
	return out;
}

size_t message_len(
	enum encoding encoding, enum channel_kind kind, struct slice channel, struct slice payload)
{
	if (encoding == ENC_LINE) {
		return payload.len + 1;
	}
	return heads[encoding][kind].len + bulk_len(channel.len) + bulk_len(payload.len);
}

void message_put(char *out, enum encoding encoding, enum channel_kind kind, struct slice channel,
	struct slice payload)
{
	if (encoding == ENC_LINE) {
		*put_bytes(out, payload.data, payload.len) = '\n';
		return;
	}
	const struct head *head = &heads[encoding][kind];
	assert(head->bytes != NULL);
	put_bulk(put_bulk(put_bytes(out, head->bytes, head->len), channel), payload);
}

void message_append_pattern(struct bytes *out, enum encoding encoding, struct slice glob,
	struct slice channel, struct slice payload)
{
	assert(encoding < ENC_LINE);
	const struct head *head = &pattern_heads[encoding];
	size_t len = head->len + bulk_len(glob.len) + bulk_len(channel.len) + bulk_len(payload.len);
	char *at = put_bytes(bytes_reserve(out, len), head->bytes, head->len);
	at = put_bulk(put_bulk(put_bulk(at, glob), channel), payload);
	out->len += len;
	assert(at == out->data + out->len);
}
