/* SPDX-License-Identifier: MIT */
/*
 * body.c -- a message's octets onto a connection.
 *
 *	BDAT	"BDAT n LAST", then the octets as they are; from a file of RELAY_SPLICE_MIN octets or
 *		more through a pipe, where the socket takes plaintext (no TLS, or kTLS)
 *	DATA	dots stuffed, line ends made CRLF, then the dot
 *
 * Only what DATA makes of a message can end it: a CR or LF that stands alone would be taken for a
 * line end by some servers and for nothing by others (SMTP smuggling), so it becomes CRLF here.
 *
 * A file that ends early, or cannot be read, ends the connection: no next hop ever gets the end of
 * a message that is not whole.
 */
#include "relay/client-private.h"

#include <errno.h>

/* ---- DATA ---- */

/* Octets up to the next CR or LF. */
static size_t plain_run(struct span in)
{
	size_t n = 0;

	while (n < in.n && in.p[n] != '\r' && in.p[n] != '\n')
		n++;
	return n;
}

static void put2(struct buf *out, char a, char b)
{
	out->p[out->end++] = (uint8_t)a;
	out->p[out->end++] = (uint8_t)b;
}

void relay_stuff(struct relay_stuffer *stuffer, struct span *in, struct buf *out)
{
	while (in->n > 0 && buf_room(out) >= 2) {
		uint8_t c = in->p[0];
		struct span run;

		if (c == '\n' && stuffer->cr) { /* its CR was CRLF already */
			stuffer->cr = false;
			span_take(in, 1);
		} else if (c == '\r' || c == '\n') {
			put2(out, '\r', '\n');
			stuffer->cr = c == '\r';
			stuffer->line_inside = false;
			span_take(in, 1);
		} else if (c == '.' && !stuffer->line_inside) {
			put2(out, '.', '.');
			stuffer->cr = false;
			stuffer->line_inside = true;
			span_take(in, 1);
		} else {
			run = span_take(in, min_size(plain_run(*in), buf_room(out)));
			memcpy(out->p + out->end, run.p, run.n);
			out->end += (uint32_t)run.n;
			stuffer->cr = false;
			stuffer->line_inside = true;
		}
	}
}

bool relay_stuff_end(struct relay_stuffer *stuffer, struct buf *out)
{
	return buf_room(out) >= 5 && buf_puts(out, stuffer->line_inside ? "\r\n.\r\n" : ".\r\n");
}

/* ---- taking octets ---- */

static void file_read(struct relay_client *client, uint64_t at)
{
	const struct spool_body *from = client->body.from;

	ring_read(relay_client_ring(client), &client->file, from->fd, client->file_storage,
		min_size(sizeof(client->file_storage), from->n - at), from->offset + at);
}

static void file_splice(struct relay_client *client)
{
	const struct relay_client_body *body = &client->body;
	const struct spool_body *from = body->from;

	ring_splice(relay_client_ring(client), &client->file, from->fd,
		(int64_t)(from->offset + body->at), client->pipe[1], -1,
		(uint32_t)min_size(RELAY_PIPE_BYTES, from->n - body->at), 0);
}

void relay_body_file_done(struct op *op, int res, uint32_t flags)
{
	struct relay_client *client = container_of(op, struct relay_client, file);
	struct relay_client_body *body = &client->body;

	(void)flags;
	if (res <= 0 && res != -EINTR && res != -EAGAIN) {
		relay_client_end(client, CLIENT_END_LOCAL, "the message cannot be read: %s",
			res == 0 ? "the file is too short" : strerror(-res));
	} else if (res > 0) {
		body->at += (uint32_t)res;
		if (body->splice)
			client->piped += (uint32_t)res;
		else
			body->chunk = span_of(client->file_storage, (size_t)res);
	}
	relay_client_turn(client);
}

/* Octets in body->chunk; false: none yet, or no more. */
static bool chunk_next(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;
	const struct spool_body *from = body->from;

	while (body->chunk.n == 0) {
		if (body->at == from->n || client->file.armed)
			return false;
		if (from->fd >= 0) {
			file_read(client, body->at);
			return false;
		}
		ASSERT(body->iov_i < from->iov_n);
		body->chunk = span_of(from->iov[body->iov_i].iov_base,
			min_size(from->iov[body->iov_i].iov_len, from->n - body->at));
		body->iov_i++;
		body->at += body->chunk.n;
	}
	return true;
}

/* ---- stage SCAN ---- */

static bool has_8bit(struct span bytes)
{
	for (size_t i = 0; i < bytes.n; i++)
		if (bytes.p[i] >= 0x80)
			return true;
	return false;
}

void relay_body_scan(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;
	bool found = false;

	while (!found && chunk_next(client)) {
		found = has_8bit(body->chunk);
		body->chunk = (struct span){0};
	}
	if (client->file.armed)
		return;
	client->body = (struct relay_client_body){.from = body->from};
	relay_transaction_scanned(client, found);
}

/* ---- stage BODY ---- */

void relay_body_begin(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;
	const struct spool_body *from = body->from;

	relay_client_stage_set(client, CLIENT_STAGE_BODY);
	body->bdat = client->can & CLIENT_CAN_CHUNKING;
	if (!body->bdat)
		return;
	if (!buf_puts(&client->out, "BDAT ") || !buf_put_u64(&client->out, from->n, 1) ||
		!buf_puts(&client->out, " LAST\r\n"))
		relay_client_end(client, CLIENT_END_LOCAL, "no room for BDAT");
	body->splice = from->fd >= 0 && from->n >= RELAY_SPLICE_MIN &&
		       (!client->tls_up || client->ktls_tx) && relay_wire_pipe(client);
}

static void splice_on(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;

	body->ended = body->at == body->from->n;
	if (!body->ended && client->piped == 0 && !client->file.armed)
		file_splice(client);
}

static void copy_on(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;
	struct buf *out = &client->out;

	while (chunk_next(client)) {
		if (!body->bdat)
			relay_stuff(&body->stuffer, &body->chunk, out);
		else if (!buf_put(out, span_take(&body->chunk, buf_room(out))))
			return;
		if (body->chunk.n > 0) /* no room before a send has made some */
			return;
	}
	if (body->at == body->from->n && !client->file.armed)
		body->ended = body->bdat || relay_stuff_end(&body->stuffer, out);
}

void relay_body_write(struct relay_client *client)
{
	if (client->send_error != 0) {
		if (client->reply_held)
			relay_transaction_refused(client);
		return;
	}
	if (!client->body.ended) {
		if (client->body.splice)
			splice_on(client);
		else
			copy_on(client);
	}
	if (client->body.ended && relay_wire_flushed(client))
		relay_transaction_sent(client);
}
