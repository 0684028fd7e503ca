/* SPDX-License-Identifier: MIT */
/* event.c -- see event.h. */
#include "base/event.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static enum event_target target = EVENT_TARGET_STDERR;
static bool is_file; /* stderr is a file, and appended to */
static size_t piece_max = PIPE_BUF;
static _Thread_local struct event_sink *sink_mine;

void event_stderr_init(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	is_file = fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_APPEND) == 0;
	piece_max = is_file ? EVENT_SINK_BYTES : PIPE_BUF;
}

void event_target_set(enum event_target to)
{
	target = to;
	if (to == EVENT_TARGET_SYSLOG)
		openlog("postern", LOG_PID | LOG_NDELAY, LOG_MAIL);
}

enum event_target event_target_get(void)
{
	return target;
}

static bool is_plain(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* Room for the longest escape plus the closing quote, always left free. */
static bool put_escaped(struct buf *line, uint8_t c)
{
	char hex[5];

	if (buf_room(line) < 6)
		return false;
	if (c == '"' || c == '\\') {
		uint8_t pair[2] = {'\\', c};

		(void)!buf_put(line, span_of(pair, 2));
	} else if (c >= ' ' && c < 0x7f) {
		(void)!buf_put(line, span_of(&c, 1));
	} else {
		snprintf(hex, sizeof(hex), "\\x%02x", c);
		(void)!buf_puts(line, hex);
	}
	return true;
}

/* A value must never stand without its key: it would continue the value before it. */
static bool put_key(struct event *event, const char *key)
{
	if (event->cut || buf_room(&event->line) < strlen(key) + 16) {
		event->cut = true;
		return false;
	}
	(void)!buf_puts(&event->line, " ");
	(void)!buf_puts(&event->line, key);
	(void)!buf_puts(&event->line, "=");
	return true;
}

void event_open(struct event *event, enum counter counter, const char *name)
{
	if (counter != EVENT_NO_COUNT)
		count(counter);
	event->cut = false;
	buf_init(&event->line, event->text, EVENT_LINE_MAX);
	(void)!buf_puts(&event->line, "event=");
	(void)!buf_puts(&event->line, name);
}

void event_span(struct event *event, const char *key, struct span value)
{
	bool plain = value.n > 0;

	for (size_t i = 0; i < value.n && plain; i++)
		plain = is_plain(value.p[i]);
	if (!put_key(event, key))
		return;
	if (plain && buf_put(&event->line, value))
		return;
	(void)!buf_puts(&event->line, "\"");
	for (size_t i = 0; i < value.n && !event->cut; i++)
		event->cut = !put_escaped(&event->line, value.p[i]);
	(void)!buf_puts(&event->line, "\"");
}

void event_str(struct event *event, const char *key, const char *value)
{
	event_span(event, key, span_str(value));
}

void event_u64(struct event *event, const char *key, uint64_t value)
{
	uint8_t storage[20];
	struct buf digits;

	buf_init(&digits, storage, sizeof(storage));
	(void)!buf_put_u64(&digits, value, 1);
	event_span(event, key, buf_span(&digits));
}

struct span event_piece(struct span lines)
{
	size_t n = min_size(lines.n, piece_max);

	if (n < lines.n)
		while (n > 0 && lines.p[n - 1] != '\n')
			n--;
	return span_of(lines.p, n > 0 ? n : min_size(lines.n, piece_max));
}

/* A pipe whose reader has stopped must not stop us. */
static bool stderr_takes(void)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&fd, 1, EVENT_WRITE_MS) != 0;
}

void event_write_lines(struct span lines)
{
	while (lines.n > 0 && target == EVENT_TARGET_SYSLOG) {
		const uint8_t *end = memchr(lines.p, '\n', lines.n);
		struct span line = span_take(&lines, end ? (size_t)(end - lines.p) + 1 : lines.n);

		syslog(LOG_INFO, "%.*s", (int)(line.n - (end != NULL)), (const char *)line.p);
	}
	while (lines.n > 0) {
		struct span piece = event_piece(lines);
		ssize_t n = stderr_takes() ? write(STDERR_FILENO, piece.p, piece.n) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			count(COUNTER_LOG_DROPPED);
			return;
		}
		span_take(&lines, (size_t)n);
	}
}

void event_close(struct event *event)
{
	struct buf *line = &event->line;
	struct buf *half;

	line->cap = sizeof(event->text);
	if (event->cut)
		(void)!buf_puts(line, " cut=1");
	(void)!buf_puts(line, "\n");
	if (sink_mine == NULL) {
		event_write_lines(buf_span(line));
		return;
	}
	half = &sink_mine->halves[sink_mine->filling];
	if (buf_put(half, buf_span(line)))
		return;
	if (!is_file) {
		count(COUNTER_LOG_DROPPED);
		return;
	}
	event_write_lines(buf_span(half)); /* a file takes it without waiting for a reader */
	buf_clear(half);
	(void)!buf_put(half, buf_span(line));
}

void event_text(enum counter counter, const char *name, const char *key, const char *value)
{
	struct event event;

	event_open(&event, counter, name);
	event_str(&event, key, value);
	event_close(&event);
}

void event_sink_init(struct event_sink *sink)
{
	sink->filling = 0;
	sink->draining = false;
	buf_init(&sink->halves[0], sink->storage[0], EVENT_SINK_BYTES);
	buf_init(&sink->halves[1], sink->storage[1], EVENT_SINK_BYTES);
}

void event_sink_use(struct event_sink *sink)
{
	sink_mine = sink;
}

struct span event_sink_take(struct event_sink *sink)
{
	struct buf *half = &sink->halves[sink->filling];

	if (sink->draining || buf_len(half) == 0)
		return (struct span){0};
	sink->filling ^= 1;
	sink->draining = true;
	return buf_span(half);
}

void event_sink_taken(struct event_sink *sink)
{
	ASSERT(sink->draining);
	buf_clear(&sink->halves[sink->filling ^ 1]);
	sink->draining = false;
}

bool event_to_file(void)
{
	return is_file && event_target_get() == EVENT_TARGET_STDERR;
}

size_t event_sink_bytes(const struct event_sink *sink)
{
	return buf_len(&sink->halves[sink->filling]);
}

void event_sink_flush(struct event_sink *sink)
{
	struct span lines = event_sink_take(sink);

	if (lines.n == 0)
		return;
	event_write_lines(lines);
	event_sink_taken(sink);
}
