/* SPDX-License-Identifier: MIT */
/*
 * body.c -- a message's octets onto a connection.
 *
 *	BDAT	"BDAT n LAST", then the octets as they are. RELAY_SPLICE_MIN or more of them, where the
 *		socket takes plaintext (no TLS, or kTLS), are not copied on their way to it: from memory
 *		they are sent from there, from a file they go through a pipe
 *	DATA	dots stuffed, line ends made CRLF, then the dot
 *
 * A file that is not in the page cache is read past it, in pieces as large as the spool's loan, and
 * what was read is memory to the rest. Without a loan it is read like any other.
 *
 * Only what DATA makes of a message can end it: a CR or LF that stands alone would be taken for a
 * line end by some servers and for nothing by others (SMTP smuggling), so it becomes CRLF here.
 *
 * A file that ends early, or cannot be read, ends the connection: no next hop ever gets the end of
 * a message that is not whole.
 */
#include "relay/client-private.h"

#include <errno.h>

#include "base/counter.h"

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

/* All that the loan holds, or all there is. */
static void loan_read(struct relay_client *client)
{
	const struct relay_client_body *body = &client->body;
	uint64_t blocks = (body->from->n - body->at + SPOOL_BLOCK_BYTES - 1) / SPOOL_BLOCK_BYTES;

	ring_readv(relay_client_ring(client), &client->file, body->from->fd, client->loan.iov,
		(unsigned)min_size(blocks, SPOOL_LOAN_BLOCKS), body->from->offset + body->at);
}

/* n octets of the loan are `vec`. Where they end within a page and more follow, those cannot be had
 * past the page cache. */
static void loan_filled(struct relay_client *client, size_t n)
{
	const struct relay_client_body *body = &client->body;

	if (body->at < body->from->n && n % SPOOL_BLOCK_BYTES != 0)
		(void)!spool_direct_set(body->from->fd, false);
	client->vec_i = client->vec_n = 0;
	for (; n > 0; client->vec_n++) {
		struct iovec *piece = &client->vec[client->vec_n];

		*piece = client->loan.iov[client->vec_n];
		piece->iov_len = min_size(piece->iov_len, n);
		n -= piece->iov_len;
	}
}

/* This file does not go past the page cache after all: read like any other from here on. */
static void loan_refused(struct relay_client *client)
{
	count(COUNTER_RELAY_CACHED_FILE);
	relay_body_release(client);
	client->body.vector = false;
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
	if (res == -EINVAL && client->loan.first != NULL) {
		loan_refused(client);
	} else if (res <= 0 && res != -EINTR && res != -EAGAIN) {
		relay_client_end(client, CLIENT_END_LOCAL, "the message cannot be read: %s",
			res == 0 ? "the file is too short" : strerror(-res));
	} else if (res > 0) {
		/* Whole blocks are read: the file may go on behind the message. */
		size_t n = min_size((size_t)res, body->from->n - body->at);

		body->at += n;
		if (client->loan.first != NULL)
			loan_filled(client, n);
		else if (body->splice)
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
		if (client->vec_i < client->vec_n) {
			body->chunk = relay_wire_vec_take(client);
			continue;
		}
		if (body->at == from->n || client->file.armed)
			return false;
		if (from->fd >= 0) {
			if (client->loan.first != NULL)
				loan_read(client);
			else
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

/* Memory to read into past the page cache, if that is of use and can be had. */
static void loan_take(struct relay_client *client)
{
	const struct spool_body *from = client->body.from;

	if (from->fd < 0 || !from->uncached || from->offset != 0 || from->n < RELAY_SPLICE_MIN)
		return;
	if (!spool_loan_take(client->relay->facts.spool, &client->loan))
		count(COUNTER_RELAY_CACHED_MEMORY);
	else if (!spool_direct_set(from->fd, true))
		loan_refused(client);
}

void relay_body_release(struct relay_client *client)
{
	if (client->loan.first == NULL)
		return;
	(void)!spool_direct_set(client->body.from->fd, false); /* others may read it, too */
	spool_loan_return(client->relay->facts.spool, &client->loan);
}

void relay_body_begin(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;
	const struct spool_body *from = body->from;
	bool plain = !client->tls_up || client->ktls_tx;

	relay_client_stage_set(client, CLIENT_STAGE_BODY);
	loan_take(client);
	body->bdat = client->can & CLIENT_CAN_CHUNKING;
	if (!body->bdat)
		return;
	if (!buf_puts(&client->out, "BDAT ") || !buf_put_u64(&client->out, from->n, 1) ||
		!buf_puts(&client->out, " LAST\r\n"))
		relay_client_end(client, CLIENT_END_LOCAL, "no room for BDAT");
	if (!plain || from->n < RELAY_SPLICE_MIN)
		return;
	body->vector = from->fd < 0 || client->loan.first != NULL;
	body->splice = !body->vector && relay_wire_pipe(client);
}

static void splice_on(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;

	body->ended = body->at == body->from->n;
	if (!body->ended && client->piped == 0 && !client->file.armed)
		file_splice(client);
}

static void vec_of_memory(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;
	const struct spool_body *from = body->from;

	client->vec_i = client->vec_n = 0;
	while (body->at < from->n && client->vec_n < RELAY_VEC_MAX) {
		struct span piece;

		if (body->chunk.n == 0) {
			ASSERT(body->iov_i < from->iov_n);
			body->chunk = span_of(
				from->iov[body->iov_i].iov_base, from->iov[body->iov_i].iov_len);
			body->iov_i++;
		}
		piece = span_take(&body->chunk,
			min_size(min_size(body->chunk.n, RELAY_VEC_PIECE), from->n - body->at));
		client->vec[client->vec_n++] = (struct iovec){(void *)piece.p, piece.n};
		body->at += piece.n;
	}
}

/* It has ended when nothing is left but what the next send takes: a reply may overtake that. */
static void vec_on(struct relay_client *client)
{
	struct relay_client_body *body = &client->body;

	if (client->vec_i == client->vec_n && body->at < body->from->n && !client->file.armed) {
		if (client->loan.first != NULL)
			loan_read(client);
		else
			vec_of_memory(client);
	}
	body->ended = body->at == body->from->n && !client->file.armed &&
		      client->vec_n - client->vec_i <= RELAY_VEC_SEND;
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
		else if (client->body.vector)
			vec_on(client);
		else
			copy_on(client);
	}
	if (client->body.ended && relay_wire_flushed(client)) {
		relay_body_release(client);
		relay_transaction_sent(client);
	}
}
