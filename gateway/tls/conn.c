/* SPDX-License-Identifier: MIT */
/*
 * conn.c -- one connection: OpenSSL between a span that comes in and a buf that goes out.
 *
 * No socket and no buffer of ours: the BIO of hooks.c reads from the span of the call in progress
 * and appends to its buf. How much the caller may read is boundary.c's word. After a TLS 1.3
 * handshake the SSL object goes, and records are record.c's; those of TLS 1.2 stay OpenSSL's.
 *
 * Invariants: after DONE OpenSSL holds no octet of a later record; a peer that breaks this (data
 * behind Finished in one record) fails the handshake. After a failure no secret is left, and
 * nothing more is written.
 *
 * As the client (client.c opens it) RX is never the kernel's, so reads may be large: what a server
 * sends behind its Finished (tickets, a greeting) is left in the caller's span for tls_conn_read().
 */
#include "tls/tls-private.h"

#include <stdlib.h>

#include <openssl/err.h>

#include "base/counter.h"

#define RECORD_OVERHEAD 32 /* header 5, nonce 8 or type 1, tag 16 */
#define KEYUPDATE_ROOM  64 /* a KeyUpdate that OpenSSL may put before data */

/* ---- open and close ---- */

static unsigned directions_possible(
	const struct tls_context *context, const struct tls_kernel *kernel, enum ktls_mode mode)
{
	unsigned may = 0;

	if (!context->kernel || kernel == NULL || mode == KTLS_MODE_OFF ||
		atomic_load_explicit(&context->ktls_absent, memory_order_relaxed))
		return 0;
	if (kernel->tx)
		may |= TLS_KTLS_TX;
	if (kernel->rx && (mode == KTLS_MODE_ALWAYS || !kernel->rx_spins_on_partial))
		may |= TLS_KTLS_RX;
	return may;
}

static SSL *open_ssl(struct tls_conn *conn)
{
	SSL *ssl = SSL_new(conn->context->sets[0]);
	BIO *bio = BIO_new(conn->context->bio);

	if (ssl == NULL || bio == NULL || SSL_set_app_data(ssl, conn) != 1) {
		SSL_free(ssl);
		BIO_free(bio);
		return NULL;
	}
	BIO_set_data(bio, conn);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_msg_callback(ssl, tls_conn_message);
	SSL_set_msg_callback_arg(ssl, conn);
	if (conn->client)
		SSL_set_connect_state(ssl);
	else
		SSL_set_accept_state(ssl);
	return ssl;
}

struct tls_conn *tls_conn_new(struct tls_context *context, const struct tls_kernel *kernel,
	enum ktls_mode mode, bool client)
{
	struct tls_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->context = tls_context_hold(context);
	conn->client = client;
	conn->verify_error = -1;
	conn->may = directions_possible(context, kernel, mode);
	if (mode == KTLS_MODE_AUTO) /* to send costs no less there */
		conn->may &= ~(unsigned)TLS_KTLS_TX;
	if (client)
		conn->may &= TLS_KTLS_TX;
	conn->rekey = kernel != NULL && kernel->rekey;
	conn->no_pad = kernel != NULL && kernel->no_pad;
	conn->info.version = "-";
	conn->info.cipher = "-";
	conn->info.group = "-";
	(void)tls_text_set(&conn->info.sni, "");
	(void)tls_text_set(&conn->info.client, "");
	(void)tls_text_set(&conn->failure_made, "");
	conn->ssl = open_ssl(conn);
	ERR_clear_error();
	if (conn->ssl != NULL)
		return conn;
	tls_conn_close(conn);
	return NULL;
}

struct tls_conn *tls_conn_open(
	struct tls_context *context, const struct tls_kernel *kernel, enum ktls_mode mode)
{
	return tls_conn_new(context, kernel, mode, false);
}

void tls_conn_ssl_free(struct tls_conn *conn)
{
	if (conn->ssl != NULL)
		SSL_set_quiet_shutdown(conn->ssl, 1);
	SSL_free(conn->ssl);
	conn->ssl = NULL;
}

void tls_conn_close(struct tls_conn *conn)
{
	if (conn == NULL)
		return;
	tls_conn_ssl_free(conn);
	tls_record_close(conn, TLS_KTLS_TX | TLS_KTLS_RX);
	(void)tls_text_set(&conn->info.sni, "");
	(void)tls_text_set(&conn->info.client, "");
	(void)tls_text_set(&conn->failure_made, "");
	tls_context_release(conn->context);
	wipe(conn, sizeof(*conn));
	free(conn);
	ERR_clear_error();
}

static void forget(struct tls_half *half)
{
	wipe(half->secret, TLS_SECRET_MAX);
	half->secret_n = 0;
	tls_half_keys_forget(half);
}

void tls_half_keys_forget(struct tls_half *half)
{
	wipe(&half->keys, sizeof(half->keys));
	half->keys_heard = 0;
}

/* Does record.c need the secret, for the keys now or those after a KeyUpdate? */
static bool is_ours(const struct tls_conn *conn, unsigned direction)
{
	return conn->done && !conn->failed && conn->ssl == NULL && (conn->planted & direction) == 0;
}

void tls_conn_give_up(struct tls_conn *conn, unsigned directions)
{
	conn->may &= ~directions;
	if ((directions & TLS_KTLS_TX) != 0 && !is_ours(conn, TLS_KTLS_TX))
		forget(&conn->half[TLS_DIRECTION_TX]);
	if ((directions & TLS_KTLS_RX) != 0 && !is_ours(conn, TLS_KTLS_RX))
		forget(&conn->half[TLS_DIRECTION_RX]);
}

/* ---- input ---- */

/* After the handshake only RX in the kernel cares for boundaries, and only until it is planted.
 * During it they are always minded: nothing ever lies behind Finished for the caller to keep. */
static bool minds_boundaries(const struct tls_conn *conn)
{
	if (!conn->done)
		return conn->flight.exact;
	return (conn->may & ~conn->planted & TLS_KTLS_RX) != 0;
}

size_t tls_conn_want(const struct tls_conn *conn)
{
	if (!minds_boundaries(conn))
		return TLS_WANT_ANY;
	return tls_framing_want(&conn->half[TLS_DIRECTION_RX].framing, &conn->flight);
}

/* Nearly always there are none, and looking is cheaper than clearing. */
static void complaints_forget(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

static void call_begin(struct tls_conn *conn, struct span *in, struct buf *out)
{
	ASSERT(conn->in == NULL);
	conn->in = in;
	conn->out = out;
	tls_witness_for(conn);
	complaints_forget();
}

static void call_end(struct tls_conn *conn)
{
	conn->in = NULL;
	conn->out = NULL;
	tls_witness_for(NULL);
	complaints_forget();
}

static enum tls_step fail(struct tls_conn *conn)
{
	conn->failed = true;
	tls_failure_fill(conn);
	tls_conn_give_up(conn, TLS_KTLS_TX | TLS_KTLS_RX);
	tls_record_close(conn, TLS_KTLS_TX | TLS_KTLS_RX);
	return TLS_STEP_FAIL;
}

static enum tls_step handshake_done(struct tls_conn *conn)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(conn->ssl);

	conn->suite = tls_suite_find(SSL_CIPHER_get_protocol_id(cipher));
	/* Neither in the record of Finished nor behind it: boundary.c has seen to the latter. A
	 * server may send at once, in records of its own. */
	if (conn->suite == NULL || SSL_has_pending(conn->ssl) ||
		(conn->in->n > 0 && !conn->client)) {
		conn->failure_text = "data behind Finished";
		return fail(conn);
	}
	conn->done = true;
	conn->flight.finished_n = 0;
	tls_info_fill(conn);
	if (tls_record_possible(conn))
		tls_conn_ssl_free(conn);
	else /* what the kernel cannot have, nobody needs */
		tls_conn_give_up(conn, ~conn->may);
	return TLS_STEP_DONE;
}

/* As senders sent it that also knew TLS 1.0: length, type 1, the version they would like. */
static bool is_sslv2_hello(const struct span *in)
{
	return in->n >= 5 && in->p[2] == 1 && (in->p[3] == 3 || (in->p[3] == 0 && in->p[4] == 2));
}

static enum tls_step handshake_step(struct tls_conn *conn)
{
	const SSL_CIPHER *cipher;
	const struct tls_suite *suite;
	int result;

	/* OpenSSL would take an SSLv2 hello, whose framing is another. */
	if (!conn->client && conn->handshake_in == 0 && (conn->in->p[0] & 0x80) != 0) {
		bool hello = is_sslv2_hello(conn->in);

		conn->failure = hello ? TLS_FAILURE_VERSION : TLS_FAILURE_GARBAGE;
		conn->failure_text = hello ? "SSLv2 hello" : "not a TLS record";
		return fail(conn);
	}
	result = SSL_do_handshake(conn->ssl);
	if (result == 1)
		return handshake_done(conn);
	if (SSL_get_error(conn->ssl, result) != SSL_ERROR_WANT_READ)
		return fail(conn);
	ASSERT(conn->in->n == 0);
	cipher = SSL_get_pending_cipher(conn->ssl);
	suite = cipher != NULL ? tls_suite_find(SSL_CIPHER_get_protocol_id(cipher)) : NULL;
	if (conn->flight.exact && conn->flight.finished_n == 0 && suite != NULL)
		tls_flight_expect(&conn->flight, suite, SSL_session_reused(conn->ssl));
	return TLS_STEP_MORE;
}

enum tls_step tls_conn_handshake(struct tls_conn *conn, struct span *in, struct buf *out)
{
	enum tls_step step;
	struct span given = *in;
	bool exact = conn->flight.exact;

	ASSERT(!conn->done && !conn->failed && in->n <= tls_conn_want(conn));
	if (in->n == 0 && !conn->client)
		return TLS_STEP_MORE;
	call_begin(conn, in, out);
	step = handshake_step(conn);
	given.n -= in->n;
	conn->handshake_in += (uint32_t)given.n;
	/* Records up to the one that made us speak are not of the client's last flight. */
	tls_framing_feed(
		&conn->half[TLS_DIRECTION_RX].framing, exact ? &conn->flight : NULL, given);
	if (step == TLS_STEP_MORE && conn->handshake_in > TLS_HANDSHAKE_IN_MAX) {
		conn->failure_text = "handshake too long";
		step = fail(conn);
	}
	call_end(conn);
	return step;
}

enum tls_failure tls_conn_failure(const struct tls_conn *conn)
{
	return conn->failure;
}

const char *tls_conn_failure_text(const struct tls_conn *conn)
{
	return conn->failure_text != NULL ? conn->failure_text : "";
}

const struct tls_info *tls_conn_info(const struct tls_conn *conn)
{
	return &conn->info;
}

/* ---- user-space record layer ---- */

/* Under TX in the kernel a KeyUpdate that asks for a reply cannot be answered from here. */
static bool key_update_unanswerable(const struct tls_conn *conn)
{
	return (conn->planted & TLS_KTLS_TX) != 0 &&
	       SSL_get_key_update_type(conn->ssl) != SSL_KEY_UPDATE_NONE;
}

static enum tls_io read_result(struct tls_conn *conn, int result)
{
	int error = SSL_get_error(conn->ssl, result);

	if (conn->keyupdates > TLS_KEYUPDATES_MAX)
		return TLS_IO_FAIL;
	if (key_update_unanswerable(conn)) {
		count(COUNTER_TLS_KEYUPDATE_REFUSED);
		return TLS_IO_REFUSED;
	}
	if (result == 1)
		return TLS_IO_OK;
	if (error == SSL_ERROR_WANT_READ)
		return TLS_IO_MORE;
	return error == SSL_ERROR_ZERO_RETURN ? TLS_IO_EOF : TLS_IO_FAIL;
}

enum tls_io tls_conn_read(struct tls_conn *conn, struct span *in, uint8_t *plain, size_t cap,
	size_t *n, struct buf *out)
{
	struct span given = *in;
	uint16_t keyupdates = conn->keyupdates;
	enum tls_io io;

	ASSERT(conn->done && (conn->planted & TLS_KTLS_RX) == 0 && cap > 0);
	*n = 0;
	if (conn->failed)
		return TLS_IO_FAIL;
	call_begin(conn, in, out);
	if (conn->ssl == NULL) {
		io = tls_record_read(conn, in, plain, cap, n, out);
	} else {
		io = read_result(conn, SSL_read_ex(conn->ssl, plain, cap, n));
		given.n -= in->n;
		tls_framing_feed(&conn->half[TLS_DIRECTION_RX].framing, &conn->flight, given);
	}
	count_add(COUNTER_TLS_KEYUPDATE, (int64_t)conn->keyupdates - keyupdates);
	if (io == TLS_IO_FAIL || io == TLS_IO_REFUSED) {
		*n = 0;
		fail(conn);
	}
	call_end(conn);
	return io;
}

size_t tls_conn_write_room(size_t n)
{
	return n + (n / TLS_PLAIN_MAX + 1) * RECORD_OVERHEAD + KEYUPDATE_ROOM;
}

static bool write_record(struct tls_conn *conn, struct span plain, struct buf *out)
{
	size_t n;

	if (conn->ssl == NULL)
		return tls_record_write(conn, plain, out);
	return SSL_write_ex(conn->ssl, plain.p, plain.n, &n) == 1 && n == plain.n;
}

enum tls_io tls_conn_write(struct tls_conn *conn, struct span *plain, struct buf *out)
{
	struct span none = {0};
	enum tls_io io = TLS_IO_OK;

	ASSERT(conn->done && (conn->planted & TLS_KTLS_TX) == 0);
	if (conn->failed)
		return TLS_IO_FAIL;
	call_begin(conn, &none, out);
	while (plain->n > 0 && buf_room(out) > RECORD_OVERHEAD + KEYUPDATE_ROOM) {
		size_t room = buf_room(out) - RECORD_OVERHEAD - KEYUPDATE_ROOM;
		size_t n = min_size(min_size(plain->n, TLS_PLAIN_MAX), room);

		if (!write_record(conn, span_of(plain->p, n), out)) {
			fail(conn);
			io = TLS_IO_FAIL;
			break;
		}
		span_take(plain, n);
	}
	call_end(conn);
	return io;
}

void tls_conn_shutdown(struct tls_conn *conn, struct buf *out)
{
	struct span none = {0};

	if (!conn->done || conn->failed || (conn->planted & TLS_KTLS_TX) != 0 ||
		buf_room(out) < RECORD_OVERHEAD + KEYUPDATE_ROOM)
		return;
	call_begin(conn, &none, out);
	if (conn->ssl != NULL)
		(void)SSL_shutdown(conn->ssl);
	else
		tls_record_shutdown(conn, out);
	call_end(conn);
}
