/* Prometheus' text format, to the byte, and as promtool reads it. */
#include "engine/hub/metrics.h"

#include <math.h>
#include <stdio.h>

#include "tests/unit.h"

static const double bounds[] = {0.001, 0.01, 0.1};

/* A page with one of everything, and with names that no peer should be able to break it with. */
static void fill(struct bytes *out)
{
	struct metrics_page page;
	struct metrics_histogram histogram;
	metrics_begin(&page, out);
	metrics_family(&page, "millrace_connections", METRICS_GAUGE, "Connections that are open.");
	metrics_u64(&page, METRICS_LABELS({"kind", SLICE("resp")}), 7);
	metrics_u64(&page, METRICS_LABELS({"kind", SLICE("line")}, {"role", SLICE("x")}), 0);
	metrics_family(&page, "millrace_rows_total", METRICS_COUNTER, "Rows of RDATA.");
	metrics_u64(&page, METRICS_LABELS({"stream", SLICE("a\"b\\c\nd")}), UINT64_MAX);
	metrics_u64(&page, METRICS_LABELS({"stream", SLICE("caf\xc3\xa9")}), 1);
	metrics_u64(&page, METRICS_LABELS({"stream", SLICE("caf\xe9")}), 2);
	metrics_u64(&page, METRICS_LABELS({"stream", SLICE("nul\0")}), 3);
	metrics_family(&page, "millrace_position", METRICS_GAUGE, "Token of a writer.");
	metrics_i64(&page, METRICS_NO_LABELS, -5);
	metrics_family(&page, "millrace_ratio", METRICS_GAUGE, "A ratio.");
	metrics_double(&page, METRICS_LABELS({"n", SLICE("1")}), 0.25);
	metrics_double(&page, METRICS_LABELS({"n", SLICE("2")}), (double)INFINITY);
	metrics_double(&page, METRICS_LABELS({"n", SLICE("3")}), (double)NAN);
	metrics_family(&page, "millrace_cpu_seconds_total", METRICS_COUNTER, "CPU time.");
	metrics_seconds(&page, METRICS_NO_LABELS, 12000000345);
	metrics_family(&page, "millrace_wait_seconds", METRICS_HISTOGRAM, "Waits.");
	metrics_histogram_init(&histogram, bounds, 3);
	metrics_observe(&histogram, 0.001);
	metrics_observe(&histogram, 0.05);
	metrics_observe(&histogram, 5);
	metrics_histogram(&page, METRICS_LABELS({"shard", SLICE("0")}), &histogram);
}

static void test_page_is_the_text_format_to_the_byte(void)
{
	static const char expected[] =
		"# HELP millrace_connections Connections that are open.\n"
		"# TYPE millrace_connections gauge\n"
		"millrace_connections{kind=\"resp\"} 7\n"
		"millrace_connections{kind=\"line\",role=\"x\"} 0\n"
		"# HELP millrace_rows_total Rows of RDATA.\n"
		"# TYPE millrace_rows_total counter\n"
		"millrace_rows_total{stream=\"a\\\"b\\\\c\\nd\"} 18446744073709551615\n"
		"millrace_rows_total{stream=\"caf\xc3\xa9\"} 1\n"
		"millrace_rows_total{stream=\"caf\\\\xe9\"} 2\n"
		"millrace_rows_total{stream=\"nul\\\\x00\"} 3\n"
		"# HELP millrace_position Token of a writer.\n"
		"# TYPE millrace_position gauge\n"
		"millrace_position -5\n"
		"# HELP millrace_ratio A ratio.\n"
		"# TYPE millrace_ratio gauge\n"
		"millrace_ratio{n=\"1\"} 0.25\n"
		"millrace_ratio{n=\"2\"} +Inf\n"
		"millrace_ratio{n=\"3\"} NaN\n"
		"# HELP millrace_cpu_seconds_total CPU time.\n"
		"# TYPE millrace_cpu_seconds_total counter\n"
		"millrace_cpu_seconds_total 12.000000345\n"
		"# HELP millrace_wait_seconds Waits.\n"
		"# TYPE millrace_wait_seconds histogram\n"
		"millrace_wait_seconds_bucket{shard=\"0\",le=\"0.001\"} 1\n"
		"millrace_wait_seconds_bucket{shard=\"0\",le=\"0.01\"} 1\n"
		"millrace_wait_seconds_bucket{shard=\"0\",le=\"0.1\"} 2\n"
		"millrace_wait_seconds_bucket{shard=\"0\",le=\"+Inf\"} 3\n"
		"millrace_wait_seconds_sum{shard=\"0\"} 5.051\n"
		"millrace_wait_seconds_count{shard=\"0\"} 3\n";
	struct bytes out = {0};
	fill(&out);
	if (!slice_equal(bytes_slice(&out), SLICE(expected))) {
		printf("%.*s", SLICE_ARG(bytes_slice(&out)));
		CU_FAIL("page");
	}
	bytes_finish(&out);
}

static void test_promtool_finds_nothing_to_say(void)
{
	if (system("command -v promtool >/dev/null 2>&1") != 0) {
		unit_skip("there is no promtool");
		return;
	}
	struct bytes out = {0};
	fill(&out);
	FILE *promtool = popen("promtool check metrics", "w");
	UNIT_REQUIRE(promtool != NULL);
	CU_ASSERT_EQUAL(fwrite(out.data, 1, out.len, promtool), out.len);
	CU_ASSERT_EQUAL(pclose(promtool), 0);
	bytes_finish(&out);
}

static const struct unit_test tests[] = {
	UNIT_TEST(test_page_is_the_text_format_to_the_byte),
	UNIT_TEST(test_promtool_finds_nothing_to_say),
};

int main(int argc, char **argv)
{
	return UNIT_MAIN(argc, argv, "metrics", tests);
}
