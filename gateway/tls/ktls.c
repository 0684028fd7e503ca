/* SPDX-License-Identifier: MIT */
/*
 * ktls.c -- hands the record layer to the kernel: validate, plant, switch.
 *
 *   validate  the handshake is done, OpenSSL holds nothing unread, the keys are known;
 *   plant     TCP_ULP, then TLS_TX, then TLS_RX (and TLS_RX_EXPECT_NO_PAD in TLS 1.3);
 *   switch    note what is planted; with both directions there the SSL object goes, and of the
 *             secrets only what a KeyUpdate needs stays.
 *
 * Before the first key is planted every failure leaves user space as it was: a socket with the ULP
 * and without keys sends and receives as before. After it the socket speaks TLS and cannot be
 * brought back, so a failure means to close.
 *
 * rec_seq is the number of records that went under the keys in force, counted since the handshake,
 * so planting late works as planting at once does. In TLS 1.2 AES-GCM the explicit nonce continues
 * where OpenSSL's last record left off; starting anew could repeat one under the same key.
 */
#include "tls/tls-private.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef TLS_RX_EXPECT_NO_PAD
#define TLS_RX_EXPECT_NO_PAD 4
#endif

_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_128) == 4 + 8 + 16 + 4 + 8, "no gaps");
_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_256) == 4 + 8 + 32 + 4 + 8, "no gaps");
_Static_assert(sizeof(struct tls12_crypto_info_chacha20_poly1305) == 4 + 12 + 32 + 8, "no gaps");
_Static_assert(sizeof(struct tls12_crypto_info_chacha20_poly1305) <=
		       sizeof(((struct tls_crypto *)0)->bytes),
	"fits");

static int setsockopt_real(int fd, int level, int name, const void *value, unsigned n)
{
	return setsockopt(fd, level, name, value, n);
}

static tls_setsockopt_fn *setsockopt_seam = setsockopt_real;

void tls_setsockopt_for_test(tls_setsockopt_fn *fn)
{
	setsockopt_seam = fn != NULL ? fn : setsockopt_real;
}

int tls_setsockopt(int fd, int level, int name, const void *value, size_t n)
{
	return setsockopt_seam(fd, level, name, value, (unsigned)n) == 0 ? 0 : -errno;
}

int tls_ulp_attach(int fd)
{
	return tls_setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls"));
}

static void put_u64(uint8_t out[8], uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		out[i] = (uint8_t)value;
}

static uint64_t get_u64(const uint8_t in[8])
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | in[i];
	return value;
}

void tls_crypto_fill(struct tls_crypto *crypto, const struct tls_suite *suite,
	const struct tls_keys *keys, const uint8_t nonce[TLS_NONCE_SIZE], uint64_t sequence)
{
	struct tls_crypto_info info = {
		.version = suite->tls13 ? TLS_1_3_VERSION : TLS_1_2_VERSION,
		.cipher_type = suite->kernel,
	};
	bool explicit_nonce = !suite->tls13 && suite->nonce_n > 0;
	uint8_t *p = crypto->bytes;

	memcpy(p, &info, sizeof(info));
	p += sizeof(info);
	memcpy(p, explicit_nonce ? nonce : keys->iv + suite->salt_n, suite->iv_n);
	p += suite->iv_n;
	memcpy(p, keys->key, suite->key_n);
	p += suite->key_n;
	memcpy(p, keys->iv, suite->salt_n);
	p += suite->salt_n;
	put_u64(p, sequence);
	crypto->n = (size_t)(p + 8 - crypto->bytes);
}

static int plant_keys(int fd, enum tls_direction direction, const struct tls_crypto *crypto)
{
	return tls_setsockopt(fd, SOL_TLS, direction == TLS_DIRECTION_TX ? TLS_TX : TLS_RX,
		crypto->bytes, crypto->n);
}

/* ---- validate ---- */

static int keys_12(const struct tls_conn *conn, struct tls_keys *client, struct tls_keys *server)
{
	const SSL_SESSION *session = SSL_get_session(conn->ssl);
	uint8_t master[TLS_SECRET_MAX];
	uint8_t client_random[32];
	uint8_t server_random[32];
	size_t n = SSL_SESSION_get_master_key(session, master, sizeof(master));
	int result = -1;

	if (n > 0 && SSL_get_client_random(conn->ssl, client_random, 32) == 32 &&
		SSL_get_server_random(conn->ssl, server_random, 32) == 32)
		result = tls_derive_block(conn->context->prf, conn->suite, span_of(master, n),
			client_random, server_random, client, server);
	wipe(master, sizeof(master));
	return result;
}

static int keys_of(const struct tls_conn *conn, unsigned directions, struct tls_keys keys[2])
{
	struct tls_keys *ours = &keys[TLS_DIRECTION_TX];
	struct tls_keys *theirs = &keys[TLS_DIRECTION_RX];

	memset(keys, 0, 2 * sizeof(keys[0]));
	if (!conn->suite->tls13)
		return conn->client ? keys_12(conn, ours, theirs) : keys_12(conn, theirs, ours);
	for (int direction = 0; direction < 2; direction++) {
		const struct tls_half *half = &conn->half[direction];
		unsigned bit = tls_direction_bit(direction);

		if ((directions & bit) == 0)
			continue;
		if (half->secret_n != conn->suite->secret_n || half->keys_heard != TLS_HEARD_BOTH)
			return -1;
		keys[direction] = half->keys;
	}
	return 0;
}

static int validate(const struct tls_conn *conn, unsigned directions, struct tls_crypto crypto[2])
{
	struct tls_keys keys[2];
	int result = keys_of(conn, directions, keys);

	for (int direction = 0; result == 0 && direction < 2; direction++) {
		const struct tls_half *half = &conn->half[direction];
		uint8_t nonce[TLS_NONCE_SIZE];

		put_u64(nonce, get_u64(half->framing.nonce) + 1);
		tls_crypto_fill(
			&crypto[direction], conn->suite, &keys[direction], nonce, half->records);
	}
	wipe(keys, sizeof(keys));
	return result;
}

unsigned tls_conn_ktls_wanted(const struct tls_conn *conn)
{
	unsigned wanted = conn->may & ~conn->planted;

	if (!conn->done || conn->failed || wanted == 0 ||
		atomic_load_explicit(&conn->context->ktls_absent, memory_order_relaxed))
		return 0;
	/* A KeyUpdate is owed: the next write sends it, under keys that are about to change. */
	if (conn->ssl == NULL) {
		if (conn->record.update_owed || conn->record.notified || conn->record.eof)
			return 0;
		return tls_record_between(conn) ? wanted : wanted & ~(unsigned)TLS_KTLS_RX;
	}
	if (SSL_get_key_update_type(conn->ssl) != SSL_KEY_UPDATE_NONE ||
		SSL_get_shutdown(conn->ssl) != 0)
		return 0;
	if (conn->half[TLS_DIRECTION_RX].framing.header_n != 0 || SSL_has_pending(conn->ssl))
		wanted &= ~(unsigned)TLS_KTLS_RX;
	return wanted;
}

/* ---- plant ---- */

static int attach(struct tls_conn *conn, int fd)
{
	int result = conn->ulp ? 0 : tls_ulp_attach(fd);

	if (result == -EEXIST)
		result = 0;
	if (result == -ENOENT)
		atomic_store_explicit(&conn->context->ktls_absent, true, memory_order_relaxed);
	conn->ulp = result == 0;
	return result;
}

static int plant_all(
	struct tls_conn *conn, int fd, unsigned directions, const struct tls_crypto crypto[2])
{
	int result = attach(conn, fd);

	if (result == 0 && (directions & TLS_KTLS_TX) != 0) {
		result = plant_keys(fd, TLS_DIRECTION_TX, &crypto[TLS_DIRECTION_TX]);
		if (result == 0)
			conn->planted |= TLS_KTLS_TX;
	}
	if (result == 0 && (directions & TLS_KTLS_RX) != 0) {
		result = plant_keys(fd, TLS_DIRECTION_RX, &crypto[TLS_DIRECTION_RX]);
		if (result == 0)
			conn->planted |= TLS_KTLS_RX;
	}
	return result;
}

static void expect_no_pad(const struct tls_conn *conn, int fd)
{
	int on = 1;

	/* Only a shortcut: where it is refused, records are decrypted through a copy. */
	if (conn->no_pad && conn->suite->tls13 &&
		tls_setsockopt(fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof(on)) != 0)
		return;
}

/* ---- switch ---- */

static void switch_over(struct tls_conn *conn, int fd, unsigned directions)
{
	unsigned both = TLS_KTLS_TX | TLS_KTLS_RX;

	if ((directions & TLS_KTLS_RX) != 0) {
		expect_no_pad(conn, fd);
		tls_half_keys_forget(&conn->half[TLS_DIRECTION_RX]);
	}
	if ((directions & TLS_KTLS_TX) != 0)
		tls_half_keys_forget(&conn->half[TLS_DIRECTION_TX]);
	tls_record_close(conn, directions);
	if (conn->client) /* TX alone is never re-keyed: see tls_conn_read() */
		tls_conn_give_up(conn, both);
	if ((conn->planted & both) != both)
		return;
	tls_conn_ssl_free(conn);
	if (!conn->rekey || !conn->suite->tls13)
		tls_conn_give_up(conn, both);
}

int tls_conn_plant(struct tls_conn *conn, int fd, unsigned directions)
{
	unsigned before = conn->planted;
	struct tls_crypto crypto[2];
	int result;

	ASSERT(directions != 0 && (directions & ~tls_conn_ktls_wanted(conn)) == 0);
	result = validate(conn, directions, crypto) == 0 ? plant_all(conn, fd, directions, crypto)
							 : -ENOTSUP;
	wipe(crypto, sizeof(crypto));
	if (result == 0) {
		switch_over(conn, fd, directions);
		return (int)conn->planted;
	}
	conn->failed = conn->planted != before || result == -ENOTCONN;
	tls_conn_give_up(conn, TLS_KTLS_TX | TLS_KTLS_RX);
	if (!conn->failed)
		return (int)conn->planted;
	tls_record_close(conn, TLS_KTLS_TX | TLS_KTLS_RX);
	return result;
}

unsigned tls_conn_planted(const struct tls_conn *conn)
{
	return conn->planted;
}

int tls_ktls_rekey(struct tls_conn *conn, int fd, enum tls_direction direction)
{
	struct tls_half *half = &conn->half[direction];
	const uint8_t no_nonce[TLS_NONCE_SIZE] = {0};
	struct tls_crypto crypto;
	struct tls_keys keys;
	int result = -ENOTSUP;

	if (half->secret_n == conn->suite->secret_n &&
		tls_derive_next(conn->context->hkdf, conn->suite, half->secret) == 0 &&
		tls_derive_keys(conn->context->hkdf, conn->suite, half->secret, &keys) == 0) {
		tls_crypto_fill(&crypto, conn->suite, &keys, no_nonce, 0);
		result = plant_keys(fd, direction, &crypto);
		wipe(&keys, sizeof(keys));
		wipe(&crypto, sizeof(crypto));
	}
	half->records = 0;
	return result;
}
