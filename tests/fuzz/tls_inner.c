/* SPDX-License-Identifier: MIT */
/*
 * tls_inner.c -- what a peer sends that has the keys: records with right tags around anything.
 *
 * The first two octets say which side reads, with how much room a call, and how the stream is cut. Then
 * come records: type, size, how much padding, content; a size of 255 is a large record's. What is given
 * out must be the content of the data records, in order, up to the first that ends the connection.
 */
#include <openssl/err.h>

#include "tls/tls-private.h"

#define RECORDS_MAX 200
#define LARGE       16000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	uint8_t secret[TLS_SECRET_MAX];
	struct tls_keys keys;
	uint64_t sequence;
	uint8_t stream[1 << 20];
	size_t n;
} peer;

static uint8_t content[1 << 20]; /* of the data records */
static size_t content_n;
static uint8_t got[1 << 20];

static struct tls_context *context_get(void)
{
	static struct tls_context *context;
	struct err err;

	if (context == NULL)
		context = tls_context_new(NULL, KTLS_MODE_OFF, &err);
	ASSERT(context != NULL && context->aeads[TLS_AEAD_AES_128_GCM] != NULL);
	return context;
}

static void conn_open(struct tls_conn *conn, bool client)
{
	const struct tls_suite *suite = tls_suite_find(0x1301);
	struct tls_context *context = context_get();

	memset(&peer, 7, sizeof(peer.secret));
	peer.sequence = 0;
	peer.n = 0;
	ASSERT(tls_derive_keys(context->hkdf, suite, peer.secret, &peer.keys) == 0);
	*conn = (struct tls_conn){
		.context = context, .client = client, .done = true, .suite = suite};
	conn->info.sni = conn->info.client = conn->failure_made = "";
	for (int i = 0; i < 2; i++) {
		memcpy(conn->half[i].secret, peer.secret, sizeof(peer.secret));
		conn->half[i].secret_n = suite->secret_n;
		conn->half[i].keys = peer.keys;
		conn->half[i].keys_heard = TLS_HEARD_BOTH;
	}
	ASSERT(tls_record_possible(conn));
}

/* Appends a record to the stream. */
static void seal(uint8_t type, struct span bytes, size_t padding)
{
	static uint8_t inner[LARGE + 1024];
	size_t n = bytes.n + 1 + padding;
	uint8_t *p = peer.stream + peer.n;
	uint8_t nonce[TLS_IV_SIZE];
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int part;

	ASSERT(n <= sizeof(inner) && peer.n + n + 64 <= sizeof(peer.stream));
	memset(inner, 0, n);
	memcpy(inner, bytes.p, bytes.n);
	inner[bytes.n] = type;
	memcpy(nonce, peer.keys.iv, sizeof(nonce));
	nonce[11] ^= (uint8_t)peer.sequence;
	nonce[10] ^= (uint8_t)(peer.sequence++ >> 8);
	memcpy(p, (uint8_t[]){23, 3, 3, (uint8_t)((n + 16) >> 8), (uint8_t)(n + 16)}, 5);
	ASSERT(EVP_EncryptInit_ex2(cipher, EVP_aes_128_gcm(), peer.keys.key, nonce, NULL) == 1 &&
		EVP_EncryptUpdate(cipher, NULL, &part, p, 5) == 1 &&
		EVP_EncryptUpdate(cipher, p + 5, &part, inner, (int)n) == 1 &&
		EVP_EncryptFinal_ex(cipher, p + 5 + n, &part) == 1 &&
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, p + 5 + n) == 1);
	EVP_CIPHER_CTX_free(cipher);
	peer.n += 5 + n + 16;
}

/* Reads the stream; the peer's keys follow those that the reader has. */
static enum tls_io drain(struct tls_conn *conn, size_t cap, size_t chunk, size_t *got_n)
{
	struct span stream = span_of(peer.stream, peer.n);
	enum tls_io io = TLS_IO_MORE;
	uint8_t storage[256];
	struct buf out;

	while (stream.n > 0 && io == TLS_IO_MORE) {
		struct span in = span_take(&stream, chunk);

		do {
			uint16_t before = conn->keyupdates;
			size_t n;

			buf_init(&out, storage, sizeof(storage));
			io = tls_conn_read(conn, &in, got + *got_n,
				min_size(cap, sizeof(got) - *got_n), &n, &out);
			ASSERT(n <= cap && (n > 0) == (io == TLS_IO_OK));
			ASSERT(ERR_peek_error() == 0);
			*got_n += n;
			if (conn->keyupdates != before && io != TLS_IO_FAIL) {
				ASSERT(tls_derive_next(
					       conn->context->hkdf, conn->suite, peer.secret) == 0);
				ASSERT(tls_derive_keys(conn->context->hkdf, conn->suite,
					       peer.secret, &peer.keys) == 0);
				peer.sequence = 0;
			}
		} while (io == TLS_IO_OK);
		ASSERT(io != TLS_IO_MORE || in.n == 0);
	}
	peer.n = 0;
	return io;
}

/* One record of the input, sealed and read. */
static enum tls_io record_check(
	struct tls_conn *conn, struct span *in, size_t cap, size_t chunk, size_t *got_n)
{
	static uint8_t large[LARGE];
	struct span head = span_take(in, 3);
	struct span bytes;
	uint8_t type;
	enum tls_io io;

	if (head.n < 3)
		return TLS_IO_EOF;
	type = head.p[0];
	bytes = head.p[1] == 255 ? span_of(large, LARGE) : span_take(in, head.p[1]);
	while (type == 0 && bytes.n > 0) /* the last octet that is none of padding is the type */
		type = bytes.p[--bytes.n];
	if (type == 23) {
		memcpy(content + content_n, bytes.p, bytes.n);
		content_n += bytes.n;
	}
	seal(type, bytes, head.p[2]);
	io = drain(conn, cap, chunk, got_n);
	if (io == TLS_IO_FAIL && type == 23) /* between the parts of a message, or one too many */
		content_n -= bytes.n;
	return io;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct tls_conn conn;
	enum tls_io io = TLS_IO_MORE;
	size_t got_n = 0;
	size_t cap;
	size_t chunk;

	if (size < 2)
		return 0;
	conn_open(&conn, data[0] & 1);
	cap = data[0] < 128 ? (size_t)1 + (data[0] >> 1) : sizeof(got);
	chunk = data[1] > 0 ? data[1] : SIZE_MAX;
	span_take(&in, 2);
	content_n = 0;
	for (int i = 0; i < RECORDS_MAX && io == TLS_IO_MORE && in.n > 0 && content_n < 500000; i++)
		io = record_check(&conn, &in, cap, chunk, &got_n);
	ASSERT(got_n == content_n && memcmp(got, content, got_n) == 0);
	ASSERT((io == TLS_IO_FAIL) == (tls_conn_failure(&conn) != TLS_FAILURE_NONE));
	tls_record_close(&conn, TLS_KTLS_TX | TLS_KTLS_RX);
	return 0;
}
