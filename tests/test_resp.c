/* The framing of RESP: requests whole and in pieces, every malformed form, replies. */
#include "engine/protocol/resp.h"

#include "engine/base/err.h"
#include "tests/unit.h"

static const struct resp_limits usual = {.bulk_bytes_max = 512 * 1024 * 1024,
	.inline_bytes_max = 64 * 1024,
	.args_max = 1024 * 1024};
static const struct resp_limits strange = {.bulk_bytes_max = 512 * 1024 * 1024,
	.inline_bytes_max = 64 * 1024,
	.args_max = 1024 * 1024,
	.stranger = true};

/* One request of `text` as "[arg|arg]", or "!sentence", or "?" where bytes are missing. */
static const char *parse(const struct resp_limits *limits, struct slice text)
{
	static char out[512];
	struct resp_parser parser = {0};
	struct resp_request request;
	size_t consumed = 0;
	const char *error = NULL;
	int rc = resp_parse(&parser, limits, text, &request, &consumed, &error);
	if (rc == -E_AGAIN) {
		snprintf(out, sizeof(out), "?");
	} else if (rc < 0) {
		snprintf(out, sizeof(out), "!%s", error);
	} else {
		size_t len = (size_t)snprintf(out, sizeof(out), "[");
		for (unsigned i = 0; i < request.argc; i++) {
			len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%.*s",
				i == 0 ? "" : "|", SLICE_ARG(request.argv[i]));
		}
		snprintf(out + len, sizeof(out) - len, "]%zu", consumed);
	}
	resp_parser_finish(&parser);
	return out;
}

static void test_resp_requests_of_both_kinds_are_parsed(void)
{
	static const struct {
		const char *text, *parsed;
	} cases[] = {
		{"*1\r\n$4\r\nPING\r\nrest", "[PING]14"},
		{"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$0\r\n\r\n", "[PUBLISH|c|]30"},
		{"*11\r\n" /* more than the quick way takes */
		 "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n"
		 "$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n",
			"[a|b|c|d|e|f|g|h|i|j|k]82"},
		{"*0\r\n", "[]4"},
		{"*-7\r\n", "[]5"},
		{"\r\n", "[]2"},
		{"\n", "[]1"},
		{"ping\n", "[ping]5"},
		{"  set  a\tb \r\n", "[set|a|b]13"},
		{"set \"a b\" 'c \\' d'\r\n", "[set|a b|c ' d]20"},
		{"echo \"\\x41\\x7a\\n\\q\\\"\"\r\n", "[echo|Az\nq\"]23"},
		{"echo a\"b\"\r\n", "[echo|ab]11"},
		{"echo 'a\\nb'\r\n", "[echo|a\\nb]13"},
		{"echo \"\"\r\n", "[echo|]9"},
		/* what the two bytes behind a bulk string are, nobody asks */
		{"*1\r\n$4\r\nPINGxx", "[PING]14"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_STRING_EQUAL(parse(&usual, slice_of(cases[i].text)), cases[i].parsed);
	}
}

static void test_resp_malformed_requests_are_refused_in_redis_words(void)
{
	static const struct {
		const char *text, *parsed;
	} cases[] = {
		{"*3000000000\r\n", "!Protocol error: invalid multibulk length"},
		{"*1048577\r\n", "!Protocol error: invalid multibulk length"},
		{"*99999999999999999999\r\n", "!Protocol error: invalid multibulk length"},
		{"*\r\n", "!Protocol error: invalid multibulk length"},
		{"*+1\r\n", "!Protocol error: invalid multibulk length"},
		{"*01\r\n", "!Protocol error: invalid multibulk length"},
		{"* 1\r\n", "!Protocol error: invalid multibulk length"},
		{"*1x\r\n", "!Protocol error: invalid multibulk length"},
		{"*1\r\nfoo\r\n", "!Protocol error: expected '$', got 'f'"},
		{"*2\r\n$1\r\na\r\n*1\r\n", "!Protocol error: expected '$', got '*'"},
		{"*1\r\n\r\n", "!Protocol error: expected '$', got '\r'"},
		{"*1\r\n$-1\r\n", "!Protocol error: invalid bulk length"},
		{"*1\r\n$abc\r\n", "!Protocol error: invalid bulk length"},
		{"*1\r\n$\r\n", "!Protocol error: invalid bulk length"},
		{"*1\r\n$04\r\n", "!Protocol error: invalid bulk length"},
		{"*1\r\n$536870913\r\n", "!Protocol error: invalid bulk length"},
		{"*1\r\n$9223372036854775808\r\n", "!Protocol error: invalid bulk length"},
		{"echo \"a\r\n", "!Protocol error: unbalanced quotes in request"},
		{"echo 'a\r\n", "!Protocol error: unbalanced quotes in request"},
		{"echo \"a\"b\r\n", "!Protocol error: unbalanced quotes in request"},
		{"echo \"a\\\r\n", "!Protocol error: unbalanced quotes in request"},
		{"echo a\"\r\n", "!Protocol error: unbalanced quotes in request"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_STRING_EQUAL(parse(&usual, slice_of(cases[i].text)), cases[i].parsed);
	}
}

static void test_resp_strangers_have_stricter_limits(void)
{
	CU_ASSERT_STRING_EQUAL(parse(&strange, slice_of("*11\r\n")),
		"!Protocol error: unauthenticated multibulk length");
	CU_ASSERT_STRING_EQUAL(parse(&strange, slice_of("*1\r\n$16385\r\n")),
		"!Protocol error: unauthenticated bulk length");
	CU_ASSERT_STRING_EQUAL(parse(&strange, slice_of("*10\r\n$16384\r\n")), "?");
	CU_ASSERT_STRING_EQUAL(parse(&strange, slice_of("*1\r\n$4\r\nPING\r\n")), "[PING]14");
}

static void test_resp_limits_hold_however_a_request_arrives(void)
{
	struct resp_limits small = usual;
	small.args_max = 2;
	small.bulk_bytes_max = 3;
	CU_ASSERT_STRING_EQUAL(parse(&small, slice_of("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n")),
		"!Protocol error: invalid multibulk length");
	CU_ASSERT_STRING_EQUAL(parse(&small, slice_of("*1\r\n$4\r\nPING\r\n")),
		"!Protocol error: invalid bulk length");
	CU_ASSERT_STRING_EQUAL(parse(&small, slice_of("*1\r\n$3\r\nabc\r\n")), "[abc]13");
}

static void test_resp_lines_without_an_end_are_refused_at_their_limit(void)
{
	static char text[70 * 1024];
	memset(text, '1', sizeof(text));
	struct slice all = {text, 64 * 1024};
	CU_ASSERT_STRING_EQUAL(parse(&usual, all), "?");
	all.len++;
	CU_ASSERT_STRING_EQUAL(parse(&usual, all), "!Protocol error: too big inline request");
	text[0] = '*';
	CU_ASSERT_STRING_EQUAL(parse(&usual, all), "!Protocol error: too big mbulk count string");
	memcpy(text, "*1\r\n$", 5);
	all.len = 4 + 64 * 1024 + 1;
	CU_ASSERT_STRING_EQUAL(parse(&usual, all), "!Protocol error: too big bulk count string");
}

static void test_resp_a_huge_announcement_takes_no_memory(void)
{
	struct resp_parser parser = {0};
	struct resp_request request;
	size_t consumed = 0;
	const char *error = NULL;
	struct slice text = SLICE("*1000000\r\n$1\r\na\r\n$400000000\r\nb");
	UNIT_REQUIRE(resp_parse(&parser, &usual, text, &request, &consumed, &error) == -E_AGAIN);
	CU_ASSERT(parser.args_cap <= 16);
	resp_parser_finish(&parser);
	CU_ASSERT_PTR_NULL(parser.args);
}

/* A stream of requests, and what they are. */
struct stream {
	struct bytes text;
	struct bytes notes;
};

static void note(struct bytes *notes, const struct resp_request *request)
{
	bytes_printf(notes, "%u:", request->argc);
	for (unsigned i = 0; i < request->argc; i++) {
		bytes_printf(notes, "%zu=", request->argv[i].len);
		bytes_append_slice(notes, request->argv[i]);
	}
}

static void add_array(struct stream *stream, uint64_t *state)
{
	static const char bytes[] = "\r\n*$ \"'a\\\x00\xff";
	struct slice argv[20];
	char arg[20][40];
	struct resp_request request = {argv, 1 + (unsigned)(unit_random(state) % 19)};
	resp_put_array(&stream->text, request.argc);
	for (unsigned i = 0; i < request.argc; i++) {
		size_t len = unit_random(state) % sizeof(arg[i]);
		for (size_t j = 0; j < len; j++) {
			arg[i][j] = bytes[unit_random(state) % sizeof(bytes)];
		}
		argv[i] = (struct slice){arg[i], len};
		resp_put_bulk(&stream->text, argv[i]);
	}
	note(&stream->notes, &request);
}

static void add_line(struct stream *stream, uint64_t *state)
{
	struct slice argv[3] = {SLICE("set"), SLICE("a b"), SLICE("\x01'\"\n")};
	struct resp_request request = {argv, (unsigned)(unit_random(state) % 4)};
	static const char *const parts[] = {"set", " \"a b\"", "\t\"\\x01'\\\"\\n\""};
	for (unsigned i = 0; i < request.argc; i++) {
		bytes_append_string(&stream->text, parts[i]);
	}
	bytes_append_string(&stream->text, unit_random(state) % 2 == 0 ? "\r\n" : "\n");
	note(&stream->notes, &request);
}

/* Feed the stream in pieces, moving the buffer each time; what came of it. */
static void feed(
	const struct stream *stream, uint64_t *state, size_t piece_max, struct bytes *notes)
{
	struct resp_parser parser = {0};
	struct bytes buffer = {0};
	size_t fed = 0;
	for (;;) {
		struct resp_request request;
		size_t consumed = 0;
		const char *error = NULL;
		struct slice data = {mem_alloc(buffer.len), buffer.len};
		memcpy((void *)data.data, buffer.data == NULL ? "" : buffer.data, buffer.len);
		int rc = resp_parse(&parser, &usual, data, &request, &consumed, &error);
		if (rc == OK) {
			note(notes, &request);
			bytes_consume(&buffer, consumed);
		}
		free((void *)data.data);
		if (rc == -E_AGAIN && fed == stream->text.len) {
			break;
		}
		if (rc == -E_AGAIN) {
			size_t left = stream->text.len - fed;
			size_t piece = 1 + unit_random(state) % piece_max;
			piece = piece < left ? piece : left;
			bytes_append(&buffer, stream->text.data + fed, piece);
			fed += piece;
		}
		UNIT_REQUIRE(rc == OK || rc == -E_AGAIN);
	}
	CU_ASSERT_EQUAL(buffer.len, 0);
	bytes_finish(&buffer);
	resp_parser_finish(&parser);
}

static void test_resp_requests_survive_every_way_of_being_cut(void)
{
	uint64_t state = unit_seed();
	for (unsigned round = 0; round < 300; round++) {
		struct stream stream = {0};
		for (unsigned i = 0; i < 8; i++) {
			if (unit_random(&state) % 3 == 0) {
				add_line(&stream, &state);
			} else {
				add_array(&stream, &state);
			}
		}
		static const size_t pieces[] = {1, 2, 7, 64, 100000};
		struct bytes notes = {0};
		feed(&stream, &state, pieces[round % 5], &notes);
		CU_ASSERT(slice_equal(bytes_slice(&notes), bytes_slice(&stream.notes)));
		bytes_finish(&notes);
		bytes_finish(&stream.text);
		bytes_finish(&stream.notes);
	}
}

static void test_resp_a_request_is_cut_at_every_byte(void)
{
	struct slice text = SLICE("*3\r\n$7\r\nPUBLISH\r\n$12\r\nexample.com/x\r$3\r\nabc\r\n");
	struct slice line = SLICE("set \"a \\x41\" 'b'\r\n");
	for (unsigned kind = 0; kind < 2; kind++) {
		struct slice all = kind == 0 ? text : line;
		for (size_t cut = 0; cut < all.len; cut++) {
			struct resp_parser parser = {0};
			struct resp_request request;
			size_t consumed = 0;
			const char *error = NULL;
			struct slice part = {all.data, cut};
			CU_ASSERT_EQUAL(
				resp_parse(&parser, &usual, part, &request, &consumed, &error),
				-E_AGAIN);
			CU_ASSERT_EQUAL(
				resp_parse(&parser, &usual, all, &request, &consumed, &error), OK);
			CU_ASSERT_EQUAL(consumed, all.len);
			CU_ASSERT_EQUAL(request.argc, 3);
			resp_parser_finish(&parser);
		}
	}
}

static void test_resp_a_slow_request_is_searched_once(void)
{
	/* Byte by byte, with a time limit that searching anew each time would miss by far. */
	static char text[64 * 1024];
	memset(text, 'a', sizeof(text));
	struct resp_parser parser = {0};
	struct resp_request request;
	size_t consumed = 0;
	const char *error = NULL;
	for (size_t len = 1; len < sizeof(text); len++) {
		struct slice part = {text, len};
		resp_parse(&parser, &usual, part, &request, &consumed, &error);
		CU_ASSERT_EQUAL_FATAL(parser.searched, len);
	}
	resp_parser_finish(&parser);
}

static void expect(struct bytes *out, const char *text)
{
	CU_ASSERT(slice_equal(bytes_slice(out), slice_of(text)));
	bytes_clear(out);
}

static void test_resp_replies_have_the_form_of_their_version(void)
{
	struct bytes out = {0};
	resp_put_bulk(&out, SLICE("a\0b"));
	resp_put_bulk(&out, (struct slice){NULL, 0});
	CU_ASSERT(slice_equal(bytes_slice(&out), SLICE("$3\r\na\0b\r\n$0\r\n\r\n")));
	bytes_clear(&out);
	resp_put_simple(&out, "OK");
	resp_put_error(&out, SLICE("ERR a\r\nb"));
	resp_put_integer(&out, -42);
	resp_put_bulk_i64(&out, INT64_MIN);
	expect(&out, "+OK\r\n-ERR a  b\r\n:-42\r\n$20\r\n-9223372036854775808\r\n");
	resp_put_null(&out, 2);
	resp_put_null_array(&out, 2);
	resp_put_map(&out, 2, 3);
	resp_put_set(&out, 2, 3);
	resp_put_push(&out, 2, 3);
	resp_put_verbatim(&out, 2, SLICE("ab"));
	resp_put_bool(&out, 2, true);
	expect(&out, "$-1\r\n*-1\r\n*6\r\n*3\r\n*3\r\n$2\r\nab\r\n:1\r\n");
	resp_put_null(&out, 3);
	resp_put_null_array(&out, 3);
	resp_put_map(&out, 3, 3);
	resp_put_set(&out, 3, 3);
	resp_put_push(&out, 3, 3);
	resp_put_verbatim(&out, 3, SLICE("ab"));
	resp_put_bool(&out, 3, false);
	expect(&out, "_\r\n_\r\n%3\r\n~3\r\n>3\r\n=6\r\ntxt:ab\r\n#f\r\n");
	bytes_finish(&out);
}

static void test_resp_headers_are_put_before_what_is_written(void)
{
	struct bytes out = {0};
	resp_put_integer(&out, 1);
	size_t at = out.len;
	resp_put_integer(&out, 2);
	resp_put_integer(&out, 3);
	resp_insert_array(&out, at, 2);
	expect(&out, ":1\r\n*2\r\n:2\r\n:3\r\n");
	resp_insert_map(&out, 3, 0, 0);
	resp_insert_map(&out, 2, 0, 1);
	resp_insert_set(&out, 3, 0, 7);
	expect(&out, "~7\r\n*2\r\n%0\r\n");
	bytes_finish(&out);
}

static void test_resp_messages_are_written_to_the_byte(void)
{
	struct bytes out = {0};
	resp_put_message_head(&out, 2, "message", (struct slice){NULL, 0});
	expect(&out, "*3\r\n$7\r\nmessage\r\n");
	resp_put_message_head(&out, 3, "pmessage", SLICE("a*"));
	expect(&out, ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n");
	static const size_t lens[] = {0, 1, 9, 10, 99, 100, 999, 1000, 12345};
	static char payload[12345];
	memset(payload, 'p', sizeof(payload));
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct slice channel = SLICE("example.com");
		struct slice body = {payload, lens[i]};
		size_t len = resp_message_tail_len(channel, body);
		char *tail = mem_alloc(len);
		CU_ASSERT_PTR_EQUAL(resp_put_message_tail(tail, channel, body), tail + len);
		resp_put_bulk(&out, channel);
		resp_put_bulk(&out, body);
		CU_ASSERT(slice_equal(bytes_slice(&out), (struct slice){tail, len}));
		bytes_clear(&out);
		free(tail);
	}
	bytes_finish(&out);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_resp_requests_of_both_kinds_are_parsed),
	UNIT_TEST(test_resp_malformed_requests_are_refused_in_redis_words),
	UNIT_TEST(test_resp_strangers_have_stricter_limits),
	UNIT_TEST(test_resp_limits_hold_however_a_request_arrives),
	UNIT_TEST(test_resp_lines_without_an_end_are_refused_at_their_limit),
	UNIT_TEST(test_resp_a_huge_announcement_takes_no_memory),
	UNIT_TEST(test_resp_requests_survive_every_way_of_being_cut),
	UNIT_TEST(test_resp_a_request_is_cut_at_every_byte),
	UNIT_TEST(test_resp_a_slow_request_is_searched_once),
	UNIT_TEST(test_resp_replies_have_the_form_of_their_version),
	UNIT_TEST(test_resp_headers_are_put_before_what_is_written),
	UNIT_TEST(test_resp_messages_are_written_to_the_byte),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "resp", tests);
}
