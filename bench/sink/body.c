/* SPDX-License-Identifier: MIT */
/*
 * body.c -- the message itself: out of DATA (dots) or BDAT (counted), checked and stored.
 *
 * DATA ends at CRLF.CRLF and nowhere else; bare line feeds are kept as they are. Runs of octets
 * between stuffed dots are handed on in one piece.
 */
#include "bench/sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define NAME_BYTES 40

static void name_of(char name[NAME_BYTES], uint64_t number, const char *suffix)
{
	(void)snprintf(name, NAME_BYTES, "%08llu.%s", (unsigned long long)number, suffix);
}

/* ---- storing ---- */

static bool write_all(int fd, const void *p, size_t n)
{
	const uint8_t *from = p;

	while (n > 0) {
		ssize_t k = write(fd, from, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		from += k;
		n -= (size_t)k;
	}
	return true;
}

static void store_begin(struct conn *conn)
{
	struct sink *sink = conn->sink;
	char name[NAME_BYTES];
	int fd;

	if (sink->folder < 0)
		return;
	conn->file_number = ++sink->stored;
	name_of(name, conn->file_number, "env");
	fd = openat(sink->folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	conn->broken = fd < 0 || !write_all(fd, conn->envelope, conn->envelope_n);
	if (fd >= 0)
		close(fd);
	name_of(name, conn->file_number, "eml");
	conn->file = openat(sink->folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	conn->broken |= conn->file < 0;
}

static void store_end(struct conn *conn, bool keep)
{
	char name[NAME_BYTES];

	if (conn->file < 0)
		return;
	close(conn->file);
	conn->file = -1;
	if (keep)
		return;
	name_of(name, conn->file_number, "eml");
	(void)unlinkat(conn->sink->folder, name, 0);
	name_of(name, conn->file_number, "env");
	(void)unlinkat(conn->sink->folder, name, 0);
}

/* ---- octets ---- */

void body_begin(struct conn *conn)
{
	conn->octets = 0;
	conn->too_large = false;
	conn->broken = false;
	conn->rate = 0;
	conn->line_start = true;
	conn->after_cr = false;
	if (conn->sink->options->verify) {
		if (!conn->hash)
			conn->hash = EVP_MD_CTX_new();
		ASSERT(conn->hash);
		mark_begin(&conn->mark, conn->hash);
	}
	store_begin(conn);
}

static void body_take(struct conn *conn, struct span bytes)
{
	if (bytes.n == 0)
		return;
	conn->octets += bytes.n;
	if (conn->octets > conn->sink->options->message_max)
		conn->too_large = true;
	if (conn->too_large || conn->broken)
		return;
	if (conn->sink->options->verify)
		mark_take(&conn->mark, bytes);
	if (conn->file >= 0 && !write_all(conn->file, bytes.p, bytes.n)) {
		conn->sink->counts.store_failed++;
		conn->broken = true;
	}
}

/* The fault in mid-body, now that some of it is here. True: nothing more is taken. */
static bool body_fault(struct conn *conn)
{
	enum fault_action action = conn->body_fault;

	if (action == FAULT_NONE)
		return false;
	conn->body_fault = FAULT_NONE;
	conn->sink->counts.injected++;
	if (action == FAULT_GARBAGE) {
		conn_say(conn, "\x01\xff*** no reply ***\r\n");
		return false;
	}
	if (action == FAULT_HANG)
		conn->mode = MODE_HANG;
	else
		conn_close(conn);
	return true;
}

/* How the input goes on at the start of a line. */
enum line_kind { LINE_TEXT, LINE_STUFFED, LINE_END, LINE_UNKNOWN };

static enum line_kind line_kind(struct span in)
{
	static const uint8_t end[] = ".\r\n";

	if (in.p[0] != '.')
		return LINE_TEXT;
	if (memcmp(in.p, end, min_size(in.n, 3)) != 0)
		return LINE_STUFFED;
	return in.n >= 3 ? LINE_END : LINE_UNKNOWN;
}

bool body_data(struct conn *conn)
{
	struct span in = buf_span(&conn->in);
	const uint8_t *from = in.p;
	enum line_kind kind = LINE_TEXT;

	if (in.n == 0)
		return false;
	if (body_fault(conn))
		return false;
	while (in.n > 0) {
		const uint8_t *feed;
		struct span line;

		kind = conn->line_start ? line_kind(in) : LINE_TEXT;
		if (kind == LINE_END || kind == LINE_UNKNOWN)
			break;
		if (kind == LINE_STUFFED) {
			body_take(conn, span_of(from, (size_t)(in.p - from)));
			(void)span_take(&in, 1);
			from = in.p;
		}
		conn->line_start = false;
		feed = in.n ? memchr(in.p, '\n', in.n) : NULL;
		line = span_take(&in, feed ? (size_t)(feed - in.p) + 1 : in.n);
		if (line.n == 0)
			break;
		if (feed)
			conn->line_start = line.n > 1 ? feed[-1] == '\r' : conn->after_cr;
		conn->after_cr = line.p[line.n - 1] == '\r';
	}
	body_take(conn, span_of(from, (size_t)(in.p - from)));
	if (kind != LINE_END) {
		buf_drop(&conn->in, buf_len(&conn->in) - in.n);
		return false;
	}
	buf_drop(&conn->in, buf_len(&conn->in) - in.n + 3);
	smtp_message_end(conn);
	return true;
}

bool body_chunk(struct conn *conn)
{
	struct span in = buf_span(&conn->in);
	struct span part =
		span_take(&in, conn->chunk_left < in.n ? (size_t)conn->chunk_left : in.n);

	if (part.n > 0 && conn->chunking && body_fault(conn))
		return false;
	if (conn->chunking)
		body_take(conn, part);
	buf_drop(&conn->in, part.n);
	conn->chunk_left -= part.n;
	if (conn->chunk_left > 0)
		return false;
	conn->mode = MODE_COMMAND;
	if (!conn->chunking) {
		conn->sink->counts.bad_commands++;
		conn_say(conn, "503 5.5.1 No valid recipients\r\n");
	} else if (conn->chunk_last) {
		smtp_message_end(conn);
	} else {
		conn_say(conn, "250 2.0.0 Ok\r\n");
	}
	return true;
}

/* ---- the end ---- */

void body_accept(struct conn *conn)
{
	struct sink *sink = conn->sink;
	struct counts *counts = &sink->counts;

	counts->messages++;
	counts->recipients += sink->options->lmtp ? conn->good : conn->rcpts;
	counts->octets += conn->octets;
	store_end(conn, true);
	conn->octets = 0;
	if (sink->options->verify) {
		switch (mark_end(&conn->mark)) {
		case MARK_NONE:
			counts->unnumbered++;
			break;
		case MARK_GOOD:
			counts->good++;
			numbers_add(&sink->numbers, conn->mark.number);
			break;
		case MARK_CORRUPT:
			counts->corrupt++;
			break;
		}
	}
	if (sink->options->count && counts->messages >= sink->options->count)
		sink->stop = true;
}

void body_drop(struct conn *conn)
{
	store_end(conn, false);
	conn->octets = 0;
}
