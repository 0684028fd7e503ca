/* SPDX-License-Identifier: MIT */
/*
 * event.c -- log lines that no peer can forge: exact lines by table, random bytes read back by a
 * reader of the test's own, lines that end at every possible place, and the sink.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/event.h"

static struct event_sink sink;
static char line[EVENT_LINE_MAX + 64];

static void event_open_sink(void)
{
	event_sink_init(&sink);
	event_sink_use(&sink);
}

static void event_close_sink(void)
{
	event_sink_use(NULL);
}

TestSuite(event, .init = event_open_sink, .fini = event_close_sink, .timeout = 60);

/* What was logged since the last call, with its newline, as a string. */
static const char *logged(void)
{
	struct span lines = event_sink_take(&sink);

	cr_assert(lt(sz, lines.n, sizeof(line)));
	if (lines.n > 0) {
		memcpy(line, lines.p, lines.n);
		event_sink_taken(&sink);
	}
	line[lines.n] = '\0';
	return line;
}

static void log_value(struct span value)
{
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "test");
	event_span(&event, "k", value);
	event_u64(&event, "after", 7);
	event_close(&event);
}

Test(event, values_by_table)
{
	static const struct {
		const char *value;
		size_t n;
		const char *text;
	} cases[] = {
		{"plain", 5, "plain"},
		{"a=b<c>@[x],y", 12, "a=b<c>@[x],y"},
		{"", 0, "\"\""},
		{"two words", 9, "\"two words\""},
		{"x\nevent=message result=delivered", 32,
			"\"x\\x0aevent=message result=delivered\""},
		{"\r\n", 2, "\"\\x0d\\x0a\""},
		{"a\" after=9", 10, "\"a\\\" after=9\""},
		{"a\\", 2, "\"a\\\\\""},
		{"\\x0a", 4, "\"\\\\x0a\""},
		{"\0", 1, "\"\\x00\""},
		{"\x1b[31m", 5, "\"\\x1b[31m\""},
		{"\x7f\xff\xc3\xa4", 4, "\"\\x7f\\xff\\xc3\\xa4\""},
	};
	char want[128];

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		log_value(span_of(cases[i].value, cases[i].n));
		snprintf(want, sizeof(want), "event=test k=%s after=7\n", cases[i].text);
		cr_assert_str_eq(logged(), want);
	}
}

/* ---- reading back ---- */

static int hex_of(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	cr_assert(at != NULL, "not a hex digit: %c", c);
	return (int)(at - digits);
}

/* Takes one value off *p, unescaped, into out; its length. */
static size_t read_value(const char **p, uint8_t *out)
{
	const char *at = *p;
	size_t n = 0;

	if (*at != '"') {
		for (; *at > ' '; at++)
			out[n++] = (uint8_t)*at;
		*p = at;
		return n;
	}
	for (at++; *at != '"'; at++) {
		cr_assert(at[0] >= ' ' && at[0] < 0x7f, "raw byte in a quoted value");
		if (*at == '\\' && *++at == 'x') {
			out[n++] = (uint8_t)(hex_of(at[1]) << 4 | hex_of(at[2]));
			at += 2;
		} else {
			out[n++] = (uint8_t)*at;
		}
	}
	*p = at + 1;
	return n;
}

/* Expects ` key=` at *p, then the value, whole or a beginning of it. */
static size_t read_pair(const char **p, const char *key, struct span value)
{
	static uint8_t got[EVENT_LINE_MAX];
	char want[32];
	size_t n;

	snprintf(want, sizeof(want), " %s=", key);
	cr_assert(strncmp(*p, want, strlen(want)) == 0, "\"%s\" where \"%s\" should be", *p, want);
	*p += strlen(want);
	n = read_value(p, got);
	cr_assert(le(sz, n, value.n));
	cr_assert(memcmp(got, value.p, n) == 0);
	return n;
}

Test(event, random_bytes_come_back_as_they_were)
{
	uint8_t value[300];

	srandom(4);
	for (unsigned i = 0; i < 5000; i++) {
		struct span span = span_of(value, (size_t)random() % sizeof(value));
		const char *p;

		for (size_t j = 0; j < span.n; j++)
			value[j] = (uint8_t)(random() % 3 ? random() : "\"\\\n =x"[random() % 6]);
		log_value(span);
		p = logged();
		cr_assert(strncmp(p, "event=test", 10) == 0);
		p += 10;
		cr_assert(eq(sz, read_pair(&p, "k", span), span.n));
		cr_assert(eq(sz, read_pair(&p, "after", span_str("7")), 1));
		cr_assert_str_eq(p, "\n");
	}
}

/* Three values whose first has every length: the line is cut at every place in turn, and `shift`
 * moves the escapes against its end. */
static void cut_check(size_t length, int filler, size_t shift)
{
	static uint8_t value[EVENT_LINE_MAX + 64];
	struct span first = span_of(value, length);
	struct event event;
	const char *p;
	bool whole = true;

	memset(value, filler, length);
	memset(value, 'v', min_size(length, shift));
	event_open(&event, EVENT_NO_COUNT, "test");
	event_span(&event, "first", first);
	event_str(&event, "second", "a b");
	event_u64(&event, "third", 12);
	event_close(&event);
	p = logged();
	cr_assert(le(sz, strlen(p), EVENT_LINE_MAX + 32));
	p += strlen("event=test");
	whole = read_pair(&p, "first", first) == length;
	if (whole && strncmp(p, " second=", 8) == 0)
		whole = read_pair(&p, "second", span_str("a b")) == 3;
	else
		whole = false;
	if (whole && strncmp(p, " third=", 7) == 0)
		whole = read_pair(&p, "third", span_str("12")) == 2;
	else
		whole = false;
	cr_assert_str_eq(p, whole ? "\n" : " cut=1\n", "length %zu", length);
}

Test(event, a_line_cut_anywhere_is_marked_and_keeps_its_keys_apart)
{
	static const char fillers[] = "v \n\"";

	for (size_t length = 0; length < EVENT_LINE_MAX + 40; length++) {
		for (size_t shift = 0; shift < 4; shift++) {
			for (size_t i = 0; fillers[i] != '\0'; i++)
				cut_check(length, fillers[i], shift);
		}
	}
}

Test(event, counts_once_and_only_when_asked)
{
	event_text(COUNTER_RELOADS, "reload", "result", "ok");
	cr_assert_str_eq(logged(), "event=reload result=ok\n");
	event_text(EVENT_NO_COUNT, "x", "y", "z");
	cr_assert(eq(i64, counter_sum(COUNTER_RELOADS), 1));
}

/* ---- sink ---- */

Test(event, the_sink_fills_one_half_while_the_other_is_written)
{
	struct span first;
	struct span second;

	event_text(EVENT_NO_COUNT, "one", "k", "1");
	first = event_sink_take(&sink);
	event_text(EVENT_NO_COUNT, "two", "k", "2");
	cr_assert(span_equal(first, span_str("event=one k=1\n")), "untouched meanwhile");
	cr_assert(eq(sz, event_sink_take(&sink).n, 0), "one at a time");
	event_sink_taken(&sink);
	second = event_sink_take(&sink);
	cr_assert(span_equal(second, span_str("event=two k=2\n")));
	event_sink_taken(&sink);
	cr_assert(eq(sz, event_sink_take(&sink).n, 0));
}

Test(event, lines_that_do_not_fit_are_dropped_whole_and_counted)
{
	const char *text = "event=x k=0123456789\n";
	const size_t n = EVENT_SINK_BYTES / strlen(text);
	struct span lines;

	for (size_t i = 0; i < n + 10; i++)
		event_text(EVENT_NO_COUNT, "x", "k", "0123456789");
	cr_assert(eq(i64, counter_sum(COUNTER_LOG_DROPPED), 10));
	lines = event_sink_take(&sink);
	cr_assert(eq(sz, lines.n, n * strlen(text)));
	cr_assert(memcmp(lines.p + lines.n - strlen(text), text, strlen(text)) == 0);
	event_sink_taken(&sink);
}

/* Standard error into a pipe for the time of `work`; what came. */
static size_t stderr_of(void (*work)(void), char *text, size_t n)
{
	int saved = dup(STDERR_FILENO);
	int tube[2];
	ssize_t got;

	cr_assert(pipe2(tube, O_CLOEXEC) == 0);
	cr_assert(dup2(tube[1], STDERR_FILENO) >= 0);
	work();
	cr_assert(dup2(saved, STDERR_FILENO) >= 0);
	close(tube[1]);
	got = read(tube[0], text, n - 1);
	cr_assert(got >= 0);
	text[got] = '\0';
	close(tube[0]);
	close(saved);
	return (size_t)got;
}

static void log_and_flush(void)
{
	event_text(EVENT_NO_COUNT, "one", "k", "1");
	event_text(EVENT_NO_COUNT, "two", "k", "2");
	event_sink_flush(&sink);
	event_sink_flush(&sink);
}

Test(event, flush_writes_what_was_collected_once)
{
	char text[128];

	stderr_of(log_and_flush, text, sizeof(text));
	cr_assert_str_eq(text, "event=one k=1\nevent=two k=2\n");
}

static void log_directly(void)
{
	event_sink_use(NULL);
	event_text(EVENT_NO_COUNT, "start", "k", "a\nb");
}

Test(event, a_thread_without_sink_writes_at_once)
{
	char text[128];

	stderr_of(log_directly, text, sizeof(text));
	cr_assert_str_eq(text, "event=start k=\"a\\x0ab\"\n");
}

Test(event, pieces_are_whole_lines_that_a_pipe_takes_as_one)
{
	static char text[3 * PIPE_BUF];
	struct span lines = span_of(text, sizeof(text));

	memset(text, 'x', sizeof(text));
	text[99] = '\n';
	text[PIPE_BUF - 1] = '\n';
	text[PIPE_BUF + 9] = '\n';
	cr_assert(eq(sz, event_piece(lines).n, PIPE_BUF));
	lines = span_of(text, PIPE_BUF - 1);
	cr_assert(eq(sz, event_piece(lines).n, PIPE_BUF - 1));
	text[PIPE_BUF - 1] = 'x';
	lines = span_of(text, sizeof(text));
	cr_assert(eq(sz, event_piece(lines).n, 100));
	text[99] = 'x'; /* no line ends in time: as much as goes */
	cr_assert(eq(sz, event_piece(lines).n, PIPE_BUF));
	cr_assert(eq(sz, event_piece(span_of(text, 0)).n, 0));
}

Test(event, a_reader_that_has_stopped_does_not_stop_us)
{
	int64_t dropped = counter_sum(COUNTER_LOG_DROPPED);
	int saved = dup(STDERR_FILENO);
	int tube[2];

	cr_assert(pipe(tube) == 0);
	cr_assert(fcntl(tube[1], F_SETFL, O_NONBLOCK) == 0);
	while (write(tube[1], line, sizeof(line)) > 0)
		;
	cr_assert(fcntl(tube[1], F_SETFL, 0) == 0);
	cr_assert(dup2(tube[1], STDERR_FILENO) >= 0);
	log_directly();
	cr_assert(dup2(saved, STDERR_FILENO) >= 0);
	cr_assert(eq(i64, counter_sum(COUNTER_LOG_DROPPED) - dropped, 1));
}
