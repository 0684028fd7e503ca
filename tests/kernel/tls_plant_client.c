/* SPDX-License-Identifier: MIT */
/*
 * tls_plant_client: the client's side of the gateway's own tls/ room on a real socket. A tls_conn
 * shakes hands with a real OpenSSL server, hands TX to the kernel, at once and after user-space
 * traffic, and sends by plain send(2) and by splice(2) from a file; the server compares every
 * octet. What the server says is still read in user space, a KeyUpdate of its own included.
 *
 * Like tls_plant it needs the gateway's objects (tls/ and base/) beside ktest's.
 */
#include "tls_plant.h"

#include <fcntl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls-private.h"

#define BULK_BYTES     200000
#define SPLICE_BYTES   65536
#define LATE_EXCHANGES 5

/* What the server does, and what came of it. */
struct server {
	const struct suite *suite;
	int fd;
	int late;           /* exchanges before the client plants */
	int update;         /* SSL_KEY_UPDATE_*, before its answer */
	const char *failed; /* the step that did not work; NULL: all did */
};

static struct tls_kernel kernel;
static struct tls_client *client;
static EVP_PKEY *key;
static X509 *certificate;
static uint8_t bulk[BULK_BYTES];

/* ---- the server ---- */

static bool expect(SSL *ssl, const void *wanted, size_t n)
{
	static uint8_t got[BULK_BYTES];
	size_t at = 0;

	while (at < n) {
		int part = SSL_read(ssl, got + at, (int)(n - at));

		if (part <= 0)
			return false;
		at += (size_t)part;
	}
	return memcmp(got, wanted, n) == 0;
}

static const char *server_steps(const struct server *server, SSL *ssl)
{
	char got[16];

	if (SSL_accept(ssl) != 1)
		return "handshake";
	for (int i = 0; i < server->late; i++)
		if (!expect(ssl, "late", 4) || SSL_write(ssl, "soon", 4) != 4)
			return "user-space exchange";
	if (!expect(ssl, "ping", 4))
		return "first octets from the kernel";
	if (!expect(ssl, bulk, BULK_BYTES))
		return "bulk by send";
	if (!expect(ssl, bulk, BULK_BYTES))
		return "bulk by splice";
	if (server->update != SSL_KEY_UPDATE_NONE && SSL_key_update(ssl, server->update) != 1)
		return "KeyUpdate";
	if (SSL_write(ssl, "pong", 4) != 4)
		return "answer";
	if (SSL_read(ssl, got, 1) > 0 || !(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN))
		return "close_notify";
	return NULL;
}

static void *run_server(void *arg)
{
	struct server *server = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *ssl;

	suite_set(ctx, server->suite);
	KT_MUST(SSL_CTX_use_certificate(ctx, certificate) == 1);
	KT_MUST(SSL_CTX_use_PrivateKey(ctx, key) == 1);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, server->fd);
	server->failed = server_steps(server, ssl);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(server->fd);
	return NULL;
}

/* ---- the client ---- */

static uint8_t in_bytes[65536];
static struct span in; /* what tls_conn_read() has not taken yet */

static bool receive(int fd)
{
	ssize_t n = recv(fd, in_bytes, sizeof(in_bytes), 0);

	in = span_of(in_bytes, n > 0 ? (size_t)n : 0);
	return n > 0;
}

static bool shake_hands(struct tls_conn *conn, int fd)
{
	static uint8_t out_bytes[TLS_FLIGHT_MAX];
	enum tls_step step;
	struct buf out;

	in = span_of(NULL, 0);
	buf_init(&out, out_bytes, sizeof(out_bytes));
	for (;;) {
		step = tls_conn_handshake(conn, &in, &out);
		kt_write_all(fd, buf_span(&out).p, buf_len(&out));
		buf_clear(&out);
		if (step != TLS_STEP_MORE || !receive(fd))
			return step == TLS_STEP_DONE;
	}
}

static enum tls_io read_four(struct tls_conn *conn, int fd, char got[4])
{
	uint8_t out_bytes[1024];
	enum tls_io io;
	struct buf out;
	size_t at = 0;
	size_t n;

	buf_init(&out, out_bytes, sizeof(out_bytes));
	do {
		io = tls_conn_read(conn, &in, (uint8_t *)got + at, 4 - at, &n, &out);
		at += n;
	} while (at < 4 && (io == TLS_IO_OK || (io == TLS_IO_MORE && receive(fd))));
	return io;
}

static bool user_space_exchange(struct tls_conn *conn, int fd)
{
	struct span late = span_str("late");
	uint8_t out_bytes[1024];
	struct buf out;
	char got[4];

	buf_init(&out, out_bytes, sizeof(out_bytes));
	if (tls_conn_write(conn, &late, &out) != TLS_IO_OK)
		return false;
	kt_write_all(fd, buf_span(&out).p, buf_len(&out));
	return read_four(conn, fd, got) == TLS_IO_OK && memcmp(got, "soon", 4) == 0;
}

/* A file's octets, moved without a copy: file to pipe, pipe to socket. */
static bool splice_bulk(int fd)
{
	char path[] = "/tmp/tls_plant_client-XXXXXX";
	int file = mkstemp(path);
	int64_t at = 0;
	size_t left = BULK_BYTES;
	int ends[2];

	KT_MUST(file >= 0 && unlink(path) == 0 && pipe2(ends, O_CLOEXEC) == 0);
	KT_MUST(write(file, bulk, BULK_BYTES) == BULK_BYTES);
	while (left > 0) {
		ssize_t got = splice(file, &at, ends[1], NULL, min_size(left, SPLICE_BYTES), 0);

		if (got <= 0)
			break;
		left -= (size_t)got;
		while (got > 0) {
			ssize_t sent = splice(ends[0], NULL, fd, NULL, (size_t)got, 0);

			if (sent <= 0) {
				left += 1;
				break;
			}
			got -= sent;
		}
		if (got > 0)
			break;
	}
	close(ends[0]);
	close(ends[1]);
	close(file);
	return left == 0;
}

static const char *client_steps(const struct server *server, struct tls_conn *conn, int fd)
{
	struct tls_control_record notify = tls_close_notify();
	enum tls_io io;
	char got[4];

	if (!shake_hands(conn, fd))
		return tls_conn_failure_text(conn);
	for (int i = 0; i < server->late; i++)
		if (!user_space_exchange(conn, fd))
			return "user-space exchange";
	if (tls_conn_ktls_wanted(conn) != TLS_KTLS_TX)
		return "TX alone is wanted";
	if (tls_conn_plant(conn, fd, TLS_KTLS_TX) != TLS_KTLS_TX)
		return "plant";
	kt_write_all(fd, "ping", 4);
	kt_write_all(fd, bulk, BULK_BYTES);
	if (!splice_bulk(fd))
		return "splice";
	io = read_four(conn, fd, got);
	if (server->update == SSL_KEY_UPDATE_REQUESTED && io != TLS_IO_REFUSED)
		return "a KeyUpdate that wants an answer is refused";
	if (server->update != SSL_KEY_UPDATE_REQUESTED &&
		(io != TLS_IO_OK || memcmp(got, "pong", 4) != 0))
		return "answer";
	if (kt_send_control(fd, notify.type, notify.bytes, notify.n) != notify.n)
		return "close_notify";
	return NULL;
}

static void test(const struct suite *suite, int late, int update)
{
	static const char *const updates[] = {
		"a KeyUpdate is followed", "a KeyUpdate that wants an answer is refused"};
	struct server server = {.suite = suite, .late = late, .update = update};
	struct tls_conn *conn;
	const char *failed;
	pthread_t thread;
	int fd[2];

	kt_tcp_pair(fd);
	wait_at_most(fd[0]);
	wait_at_most(fd[1]);
	server.fd = fd[1];
	KT_MUST(pthread_create(&thread, NULL, run_server, &server) == 0);
	conn = tls_client_conn_open(client, &kernel, KTLS_MODE_ALWAYS, "mx.example.org");
	KT_MUST(conn != NULL);
	failed = client_steps(&server, conn, fd[0]);
	shutdown(fd[0], SHUT_WR);
	pthread_join(thread, NULL);
	tls_conn_close(conn);
	close(fd[0]);
	kt_ok(failed == NULL && server.failed == NULL, "%s, after %d exchanges: %s", suite->name,
		late,
		update == SSL_KEY_UPDATE_NONE ? "sent from the kernel byte for byte"
					      : updates[update == SSL_KEY_UPDATE_REQUESTED]);
	if (failed != NULL)
		kt_diag("the client failed at: %s", failed);
	if (server.failed != NULL)
		kt_diag("the server failed at: %s", server.failed);
}

/* ---- set-up ---- */

static void certificate_make(void)
{
	key = EVP_EC_gen("P-256");
	certificate = X509_new();
	KT_MUST(key != NULL && X509_set_version(certificate, 2) == 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	KT_MUST(X509_set_pubkey(certificate, key) == 1);
	KT_MUST(X509_sign(certificate, key, EVP_sha256()) > 0);
}

int main(void)
{
	struct err err = {0};
	long before;
	long updates = 0;

	signal(SIGPIPE, SIG_IGN);
	tls_kernel_probe(&kernel);
	if (!kernel.tx)
		kt_unsupported(kernel.why);
	certificate_make();
	KT_MUST(tls_client_open(&client, NULL, false, &kernel, KTLS_MODE_ALWAYS, &err) == 0);
	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 31 >> 3);
	before = kt_tls_stat("TlsTxSw");
	for (size_t i = 0; i < COUNT_OF(suites); i++) {
		test(&suites[i], 0, SSL_KEY_UPDATE_NONE);
		test(&suites[i], LATE_EXCHANGES, SSL_KEY_UPDATE_NONE);
		if (suites[i].version != TLS1_3_VERSION)
			continue;
		test(&suites[i], 0, SSL_KEY_UPDATE_NOT_REQUESTED);
		test(&suites[i], 0, SSL_KEY_UPDATE_REQUESTED);
		updates += 2;
	}
	kt_ok(kt_tls_stat("TlsTxSw") - before == (long)(2 * COUNT_OF(suites)) + updates,
		"the kernel counted every connection's TX");
	tls_client_release(client);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return kt_done();
}
