/* SPDX-License-Identifier: MIT */
/*
 * event.h -- one call site is the log line and the counter.
 *
 *	event_open(&e, COUNTER_SESSIONS, "session");
 *	event_str(&e, "peer", "192.0.2.1:4711");
 *	event_close(&e);
 *
 * writes `event=session peer=192.0.2.1:4711` and counts. A value with a byte other than printable
 * ASCII, or with a space, quote or backslash, is quoted and escaped (\xHH, \" and \\): what a peer
 * sends can neither forge a line nor a key. Lines are cut at EVENT_LINE_MAX with `cut=1` at the
 * end.
 *
 * Lines go to the thread's sink. A thread without one writes straight to stderr: start-up and
 * the parent do. A worker's sink collects lines and is drained by whoever set it (event_sink_take),
 * so that a slow log never stops a session; lines that do not fit are dropped and counted, but for
 * a log that is a file: there the worker writes what it has at once.
 */
#ifndef POSTERN_BASE_EVENT_H
#define POSTERN_BASE_EVENT_H

#include "base/buf.h"
#include "base/counter.h"

#define EVENT_LINE_MAX 2048
#define EVENT_NO_COUNT COUNTER_COUNT /* an event that is only a line */

struct event {
	struct buf line;
	bool cut; /* something did not fit: nothing more is added */
	char text[EVENT_LINE_MAX + 32];
};

/* Starts a line and counts; pass EVENT_NO_COUNT to only log. */
void event_open(struct event *event, enum counter counter, const char *name);
void event_span(struct event *event, const char *key, struct span value);
void event_str(struct event *event, const char *key, const char *value);
void event_u64(struct event *event, const char *key, uint64_t value);
/* Ends the line and hands it to the sink. */
void event_close(struct event *event);

/* The whole of a line with one text value, for the many that need no more. */
void event_text(enum counter counter, const char *name, const char *key, const char *value);

enum event_target { EVENT_TARGET_STDERR, EVENT_TARGET_SYSLOG };

/*
 * Before any thread writes: a stderr that is a file is set to append, since writes of several threads
 * at the file's own position, by io_uring, would overwrite one another (kernel-notes/ring-file-position.md),
 * and may then be written in large pieces.
 */
void event_stderr_init(void);

/* Chooses where threads without a sink write; syslog by way of syslog(3), facility mail. */
void event_target_set(enum event_target target);
enum event_target event_target_get(void);

#define EVENT_SINK_BYTES (256 * 1024)

/* A worker's two halves: one is filled while the other is written out. */
struct event_sink {
	struct buf halves[2];
	unsigned filling;
	bool draining;
	uint8_t storage[2][EVENT_SINK_BYTES];
};

void event_sink_init(struct event_sink *sink);
void event_sink_use(struct event_sink *sink); /* for this thread; NULL: back to direct */
/* The filled half, whole lines, to be written by the caller; empty when there is nothing or a
 * half is still being written. After a non-empty answer event_sink_taken must follow. */
struct span event_sink_take(struct event_sink *sink);
void event_sink_taken(struct event_sink *sink);
size_t event_sink_bytes(const struct event_sink *sink); /* of the lines that wait to be taken */
bool event_to_file(void);                               /* the target is a regular file */

/* Writes the collected lines at once and directly, blocking: for a thread's end. */
void event_sink_flush(struct event_sink *sink);

/* Sends whole lines to the target now (write(2) or syslog(3)); what cannot be written, or is not
 * taken within EVENT_WRITE_MS, is dropped and counted. */
void event_write_lines(struct span lines);

#define EVENT_WRITE_MS 1000

/* The first of some lines: as many as are written as one. For a file that is all, for a pipe or a
 * socket as many as fit into PIPE_BUF. */
struct span event_piece(struct span lines);

#endif
