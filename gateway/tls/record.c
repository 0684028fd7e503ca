/* SPDX-License-Identifier: MIT */
/*
 * record.c -- TLS 1.3's record layer in user space (RFC 8446 5): seals and opens records by OpenSSL's
 * AEADs, once a handshake is done and its keys were heard (witness.c). The SSL object is gone by then.
 *
 * It does what the kernel's record layer does where there is none, and costs less than OpenSSL's own: a
 * record is opened from where it was received to where it is wanted, without a copy before and after,
 * and a session that waits has no SSL object. A record that came in part is collected first, as
 * nothing may be handed out before its tag was seen to be right.
 *
 * Besides data there are alerts, KeyUpdate and, from a server, tickets (passed over). Messages may be cut
 * over records and stand several in one, but nothing may come between the parts of one, and nothing of
 * the same record behind a KeyUpdate (RFC 8446 5.1). Anything else ends the connection with an alert.
 *
 * Invariants: a nonce is used once: `records` counts up, and goes to 0 with a new key only. After
 * RECORDS_MAX of them under one key another is taken (RFC 8446 5.5). Octets at `plain` mean nothing
 * unless the answer is OK. TLS 1.2, and connections whose keys were not heard, stay OpenSSL's.
 *
 * Rejected: opening the part of a record that has come, to spare the collecting: what it is opened to
 * belongs to a caller who may be gone when the rest comes.
 */
#include "tls/tls-private.h"

#include <stdlib.h>

#include <openssl/err.h>

#include "base/counter.h"

#define RECORDS_MAX  (1u << 24) /* under one key; AES-GCM is good for 2^24.5 (RFC 8446 5.5) */
#define EMPTY_MAX    32         /* records without content in a row */
#define INNER_MAX    (TLS_PLAIN_MAX + 1) /* TLSInnerPlaintext */
#define MESSAGES_MAX 65536 /* octets of handshake messages after the handshake, a connection */

#define MESSAGE_HEADER SSL3_HM_HEADER_LENGTH

/* ---- keys ---- */

bool tls_record_possible(const struct tls_conn *conn)
{
	const struct tls_suite *suite = conn->suite;

	for (int direction = 0; direction < 2; direction++)
		if (conn->half[direction].secret_n != suite->secret_n ||
			conn->half[direction].keys_heard != TLS_HEARD_BOTH)
			return false;
	return suite->tls13 && conn->context->aeads[suite->aead] != NULL;
}

/* `keys` are in the cipher now; the kernel may want them still. */
static void keys_used(struct tls_conn *conn, enum tls_direction direction)
{
	struct tls_half *half = &conn->half[direction];
	unsigned bit = tls_direction_bit(direction);

	memcpy(half->iv, half->keys.iv, TLS_IV_SIZE);
	if ((conn->may & bit) == 0)
		tls_half_keys_forget(half);
}

/* Made when first needed: where the kernel is to have the keys, it never is. */
static bool cipher_ready(struct tls_conn *conn, enum tls_direction direction)
{
	struct tls_half *half = &conn->half[direction];
	const EVP_CIPHER *aead = conn->context->aeads[conn->suite->aead];

	if (half->cipher != NULL)
		return true;
	ASSERT(half->keys_heard == TLS_HEARD_BOTH);
	half->cipher = EVP_CIPHER_CTX_new();
	if (half->cipher == NULL || EVP_CipherInit_ex2(half->cipher, aead, half->keys.key, NULL,
					    direction == TLS_DIRECTION_TX, NULL) != 1) {
		EVP_CIPHER_CTX_free(half->cipher);
		half->cipher = NULL;
		return false;
	}
	keys_used(conn, direction);
	return true;
}

/* The keys after a KeyUpdate (RFC 8446 7.2). */
static bool cipher_renew(struct tls_conn *conn, enum tls_direction direction)
{
	struct tls_half *half = &conn->half[direction];
	EVP_KDF *hkdf = conn->context->hkdf;

	if (tls_derive_next(hkdf, conn->suite, half->secret) != 0 ||
		tls_derive_keys(hkdf, conn->suite, half->secret, &half->keys) != 0 ||
		EVP_CipherInit_ex2(half->cipher, NULL, half->keys.key, NULL,
			direction == TLS_DIRECTION_TX, NULL) != 1)
		return false;
	half->keys_heard = TLS_HEARD_BOTH;
	half->records = 0;
	keys_used(conn, direction);
	return true;
}

/* The IV with the number of the record in its last octets (RFC 8446 5.3); counts it. */
static bool nonce_next(struct tls_half *half, int seal)
{
	uint8_t nonce[TLS_IV_SIZE];
	uint64_t number = half->records++;

	memcpy(nonce, half->iv, TLS_IV_SIZE);
	for (size_t i = TLS_IV_SIZE; number > 0; number >>= 8)
		nonce[--i] ^= (uint8_t)number;
	return EVP_CipherInit_ex2(half->cipher, NULL, NULL, nonce, seal, NULL) == 1;
}

/* out: NULL for additional data. */
static bool cipher_add(EVP_CIPHER_CTX *cipher, uint8_t *out, struct span bytes)
{
	int n;

	return bytes.n == 0 || EVP_CipherUpdate(cipher, out, &n, bytes.p, (int)bytes.n) == 1;
}

static void held_drop(struct tls_record *record)
{
	free(record->held);
	record->held = NULL;
}

void tls_record_close(struct tls_conn *conn, unsigned directions)
{
	for (int direction = 0; direction < 2; direction++) {
		unsigned bit = tls_direction_bit(direction);

		if ((directions & bit) == 0)
			continue;
		EVP_CIPHER_CTX_free(conn->half[direction].cipher);
		conn->half[direction].cipher = NULL;
		wipe(conn->half[direction].iv, TLS_IV_SIZE);
	}
	if ((directions & TLS_KTLS_RX) == 0)
		return;
	held_drop(&conn->record);
	conn->record.plain = (struct span){0};
}

/* ---- sealing ---- */

/* There is room for it. */
static bool seal(struct tls_conn *conn, uint8_t type, struct span plain, struct buf *out)
{
	struct tls_half *half = &conn->half[TLS_DIRECTION_TX];
	size_t n = plain.n + 1 + TLS_TAG_SIZE;
	uint8_t *p = out->p + out->end;
	int none;

	ASSERT(plain.n <= TLS_PLAIN_MAX && buf_room(out) >= TLS_RECORD_HEADER + n);
	p[0] = SSL3_RT_APPLICATION_DATA;
	p[1] = 3;
	p[2] = 3;
	p[3] = (uint8_t)(n >> 8);
	p[4] = (uint8_t)n;
	if (!nonce_next(half, 1) ||
		!cipher_add(half->cipher, NULL, span_of(p, TLS_RECORD_HEADER)) ||
		!cipher_add(half->cipher, p + TLS_RECORD_HEADER, plain) ||
		!cipher_add(half->cipher, p + TLS_RECORD_HEADER + plain.n, span_of(&type, 1)))
		return false;
	p += TLS_RECORD_HEADER + plain.n + 1;
	if (EVP_CipherFinal_ex(half->cipher, p, &none) != 1 ||
		EVP_CIPHER_CTX_ctrl(half->cipher, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_SIZE, p) != 1)
		return false;
	out->end += (uint32_t)(TLS_RECORD_HEADER + n);
	return true;
}

static bool seal_key_update(struct tls_conn *conn, struct buf *out)
{
	static const uint8_t update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, SSL_KEY_UPDATE_NOT_REQUESTED};

	conn->record.update_owed = false;
	return seal(conn, SSL3_RT_HANDSHAKE, span_of(update, sizeof(update)), out) &&
	       cipher_renew(conn, TLS_DIRECTION_TX);
}

bool tls_record_write(struct tls_conn *conn, struct span plain, struct buf *out)
{
	if (conn->record.notified || !cipher_ready(conn, TLS_DIRECTION_TX))
		return false;
	if ((conn->record.update_owed || conn->half[TLS_DIRECTION_TX].records >= RECORDS_MAX) &&
		!seal_key_update(conn, out))
		return false;
	return seal(conn, SSL3_RT_APPLICATION_DATA, plain, out);
}

/* Where there is room, and nothing of the kind went before. */
static void alert_send(struct tls_conn *conn, uint8_t level, uint8_t alert, struct buf *out)
{
	const uint8_t body[] = {level, alert};

	if (conn->record.notified || (conn->planted & TLS_KTLS_TX) != 0 ||
		buf_room(out) < TLS_RECORD_HEADER + sizeof(body) + 1 + TLS_TAG_SIZE ||
		!cipher_ready(conn, TLS_DIRECTION_TX))
		return;
	conn->record.notified = true;
	if (!seal(conn, SSL3_RT_ALERT, span_of(body, sizeof(body)), out))
		return;
}

void tls_record_shutdown(struct tls_conn *conn, struct buf *out)
{
	alert_send(conn, SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY, out);
}

/* ---- what comes besides data ---- */

/* What is wrong with what the peer sent. */
struct fault {
	uint8_t alert;
	const char *text; /* NULL: nothing */
};

static struct fault fault(uint8_t alert, const char *text)
{
	return (struct fault){alert, text};
}

static const struct fault fine;

static struct fault take_alert(struct tls_conn *conn, struct span first, struct span second)
{
	uint8_t body[2];

	if (first.n + second.n != sizeof(body))
		return fault(SSL_AD_DECODE_ERROR, "malformed alert");
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = i < first.n ? first.p[i] : second.p[i - first.n];
	if (body[1] == SSL_AD_CLOSE_NOTIFY) {
		conn->record.eof = true;
		return fine;
	}
	if (body[1] == SSL_AD_USER_CANCELLED && ++conn->alerts <= TLS_ALERTS_MAX)
		return fine;
	conn->failure = TLS_FAILURE_ALERT;
	conn->alert = body[1];
	return fault(SSL_AD_CLOSE_NOTIFY, "the peer sent an alert");
}

/* RFC 8446 4.6.3. Under TX in the kernel what it asks for cannot be answered from here. */
static struct fault take_key_update(struct tls_conn *conn, uint8_t request)
{
	if (request > SSL_KEY_UPDATE_REQUESTED)
		return fault(SSL_AD_ILLEGAL_PARAMETER, "malformed KeyUpdate");
	if (++conn->keyupdates > TLS_KEYUPDATES_MAX)
		return fault(SSL_AD_UNEXPECTED_MESSAGE, "too many KeyUpdates");
	if (!cipher_renew(conn, TLS_DIRECTION_RX))
		return fault(SSL_AD_INTERNAL_ERROR, "no new keys");
	if (request == SSL_KEY_UPDATE_REQUESTED)
		conn->record.update_owed = true;
	return fine;
}

/* Type and size of a message, whole. */
static struct fault message_begins(struct tls_conn *conn)
{
	struct tls_record *record = &conn->record;
	const uint8_t *header = record->message;

	record->message_left = (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];
	if (header[0] != SSL3_MT_KEY_UPDATE &&
		(header[0] != SSL3_MT_NEWSESSION_TICKET || !conn->client))
		return fault(SSL_AD_UNEXPECTED_MESSAGE, "unexpected message");
	if (record->message_left == 0 ||
		(header[0] == SSL3_MT_KEY_UPDATE && record->message_left != 1))
		return fault(SSL_AD_DECODE_ERROR, "malformed message");
	return fine;
}

/* renewed: a KeyUpdate has ended in this record. */
static struct fault take_messages(struct tls_conn *conn, struct span bytes, bool *renewed)
{
	struct tls_record *record = &conn->record;
	struct fault found = fine;

	record->messages_n += (uint32_t)bytes.n;
	if (record->messages_n > MESSAGES_MAX)
		return fault(SSL_AD_UNEXPECTED_MESSAGE, "too many messages");
	while (bytes.n > 0 && found.text == NULL) {
		struct span part;

		if (*renewed)
			return fault(SSL_AD_UNEXPECTED_MESSAGE, "data behind KeyUpdate");
		if (record->message_n < MESSAGE_HEADER) {
			part = span_take(&bytes, (size_t)MESSAGE_HEADER - record->message_n);
			memcpy(record->message + record->message_n, part.p, part.n);
			record->message_n += (uint8_t)part.n;
			if (record->message_n == MESSAGE_HEADER)
				found = message_begins(conn);
			continue;
		}
		part = span_take(&bytes, record->message_left);
		record->message_left -= (uint32_t)part.n;
		if (record->message_left > 0)
			continue;
		record->message_n = 0;
		if (record->message[0] == SSL3_MT_KEY_UPDATE) {
			*renewed = true;
			found = take_key_update(conn, part.p[0]);
		}
	}
	return found;
}

static struct fault take_control(
	struct tls_conn *conn, uint8_t type, struct span first, struct span second)
{
	struct fault found;
	bool renewed = false;

	if (type == SSL3_RT_ALERT)
		return take_alert(conn, first, second);
	if (type != SSL3_RT_HANDSHAKE || first.n + second.n == 0)
		return fault(SSL_AD_UNEXPECTED_MESSAGE, "unexpected record");
	found = take_messages(conn, first, &renewed);
	return found.text != NULL ? found : take_messages(conn, second, &renewed);
}

/* ---- opening ---- */

/* The next record off *in, collected in `held` where it came in part. False: it has not all come. */
static bool record_take(
	struct tls_conn *conn, struct span *in, struct span *body, struct fault *found)
{
	struct tls_framing *framing = &conn->half[TLS_DIRECTION_RX].framing;
	uint8_t **held = &conn->record.held;
	struct span part;

	if (framing->header_n < TLS_RECORD_HEADER) {
		part = span_take(in, (size_t)TLS_RECORD_HEADER - framing->header_n);
		if (part.n > 0)
			memcpy(framing->header + framing->header_n, part.p, part.n);
		framing->header_n += (uint8_t)part.n;
		if (framing->header_n < TLS_RECORD_HEADER)
			return false;
		framing->body_left = (uint32_t)framing->header[3] << 8 | framing->header[4];
		framing->body_seen = 0;
		if (framing->header[0] != SSL3_RT_APPLICATION_DATA)
			*found = fault(SSL_AD_UNEXPECTED_MESSAGE, "unexpected record");
		else if (framing->body_left > INNER_MAX + TLS_TAG_SIZE)
			*found = fault(SSL_AD_RECORD_OVERFLOW, "record too long");
		else if (framing->body_left < 1 + TLS_TAG_SIZE)
			*found = fault(SSL_AD_DECODE_ERROR, "record too short");
		if (found->text != NULL)
			return false;
	}
	if (framing->body_seen == 0 && in->n >= framing->body_left) {
		*body = span_take(in, framing->body_left);
		framing->header_n = 0;
		framing->body_left = 0;
		return true;
	}
	if (in->n == 0)
		return false;
	if (framing->body_seen == 0)
		*held = malloc(framing->body_left);
	if (*held == NULL) {
		*found = fault(SSL_AD_INTERNAL_ERROR, "out of memory");
		return false;
	}
	part = span_take(in, framing->body_left);
	memcpy(*held + framing->body_seen, part.p, part.n);
	framing->body_seen += (uint32_t)part.n;
	framing->body_left -= (uint32_t)part.n;
	if (framing->body_left > 0)
		return false;
	*body = span_of(*held, framing->body_seen);
	framing->header_n = 0;
	return true;
}

static bool opened(struct tls_conn *conn, struct span body, uint8_t *first, size_t first_n,
	uint8_t *second, size_t second_n)
{
	struct tls_half *half = &conn->half[TLS_DIRECTION_RX];
	const uint8_t *tag = body.p + first_n + second_n;
	uint8_t none_bytes[TLS_TAG_SIZE];
	int none;

	return nonce_next(half, 0) &&
	       EVP_CIPHER_CTX_ctrl(half->cipher, EVP_CTRL_AEAD_SET_TAG, TLS_TAG_SIZE,
		       (void *)(uintptr_t)tag) == 1 &&
	       cipher_add(half->cipher, NULL, span_of(half->framing.header, TLS_RECORD_HEADER)) &&
	       cipher_add(half->cipher, first, span_of(body.p, first_n)) &&
	       cipher_add(half->cipher, second, span_of(body.p + first_n, second_n)) &&
	       EVP_CipherFinal_ex(half->cipher, none_bytes, &none) == 1;
}

/* What a record was opened to: in two pieces, of which the second did not fit the caller's room. */
struct inner {
	uint8_t type;
	struct span first, second;
};

/* Takes padding and type off the end (RFC 8446 5.4). False: there is no type. */
static bool inner_trim(struct inner *inner)
{
	while (inner->first.n + inner->second.n > 0) {
		struct span *last = inner->second.n > 0 ? &inner->second : &inner->first;

		inner->type = last->p[--last->n];
		if (inner->type != 0)
			return true;
	}
	return false;
}

static struct fault take_inner(struct tls_conn *conn, struct inner *inner, size_t *n)
{
	struct tls_record *record = &conn->record;

	if (!inner_trim(inner))
		return fault(SSL_AD_UNEXPECTED_MESSAGE, "record without a type");
	if (record->message_n > 0 && inner->type != SSL3_RT_HANDSHAKE)
		return fault(SSL_AD_UNEXPECTED_MESSAGE, "record between the parts of a message");
	if (inner->type != SSL3_RT_APPLICATION_DATA)
		return take_control(conn, inner->type, inner->first, inner->second);
	*n = inner->first.n;
	if (inner->second.n > 0)
		record->plain = inner->second;
	record->empty_n = *n > 0 ? 0 : record->empty_n + 1;
	return record->empty_n <= EMPTY_MAX
		       ? fine
		       : fault(SSL_AD_UNEXPECTED_MESSAGE, "too many empty records");
}

static struct fault record_open(
	struct tls_conn *conn, struct span body, uint8_t *plain, size_t cap, size_t *n)
{
	struct tls_record *record = &conn->record;
	size_t inner_n = body.n - TLS_TAG_SIZE;
	size_t first_n = min_size(inner_n, cap);
	size_t second_n = inner_n - first_n;
	struct inner inner;
	uint8_t type; /* most often alone in the second piece */
	uint8_t *second = &type;
	struct fault found;

	if (second_n > 1) {
		if (record->held == NULL)
			record->held = malloc(second_n);
		if (record->held == NULL)
			return fault(SSL_AD_INTERNAL_ERROR, "out of memory");
		second = record->held + (body.p == record->held ? first_n : 0);
	}
	if (!opened(conn, body, plain, first_n, second, second_n))
		return fault(SSL_AD_BAD_RECORD_MAC, "bad record");
	inner.first = span_of(plain, first_n);
	inner.second = span_of(second, second_n);
	found = take_inner(conn, &inner, n);
	if (record->plain.n == 0)
		held_drop(record);
	return found;
}

/* What did not fit the room of the call before. */
static size_t take_rest(struct tls_record *record, uint8_t *plain, size_t cap)
{
	struct span part = span_take(&record->plain, cap);

	memcpy(plain, part.p, part.n);
	if (record->plain.n == 0)
		held_drop(record);
	return part.n;
}

static enum tls_io refuse(struct tls_conn *conn, struct fault found, struct buf *out)
{
	if (conn->failure == TLS_FAILURE_NONE)
		conn->failure = TLS_FAILURE_OTHER;
	conn->failure_text = found.text;
	if (conn->failure != TLS_FAILURE_ALERT)
		alert_send(conn, SSL3_AL_FATAL, found.alert, out);
	return TLS_IO_FAIL;
}

enum tls_io tls_record_read(struct tls_conn *conn, struct span *in, uint8_t *plain, size_t cap,
	size_t *n, struct buf *out)
{
	struct tls_record *record = &conn->record;
	struct fault found = fine;
	struct span body;

	if (record->plain.n > 0) {
		*n = take_rest(record, plain, cap);
		return TLS_IO_OK;
	}
	if (!cipher_ready(conn, TLS_DIRECTION_RX))
		return refuse(conn, fault(SSL_AD_INTERNAL_ERROR, "out of memory"), out);
	while (*n == 0 && found.text == NULL && !record->eof) {
		if (!record_take(conn, in, &body, &found))
			break;
		found = record_open(conn, body, plain, cap, n);
		if (record->update_owed && (conn->planted & TLS_KTLS_TX) != 0) {
			count(COUNTER_TLS_KEYUPDATE_REFUSED);
			return TLS_IO_REFUSED;
		}
	}
	if (found.text != NULL)
		return refuse(conn, found, out);
	if (record->eof)
		return TLS_IO_EOF;
	return *n > 0 ? TLS_IO_OK : TLS_IO_MORE;
}

bool tls_record_between(const struct tls_conn *conn)
{
	return conn->half[TLS_DIRECTION_RX].framing.header_n == 0 && conn->record.plain.n == 0 &&
	       conn->record.message_n == 0;
}
