/* SPDX-License-Identifier: MIT */
/*
 * tls_plant: the gateway's own tls/ room on a real socket. A real OpenSSL client shakes hands with
 * a tls_conn, sends data right behind its Finished, and finds itself talking to the kernel: in all
 * suites, planted at once and after user-space traffic, with KeyUpdates where the kernel can
 * re-key and a clean close where it cannot.
 *
 * Unlike its neighbours it needs the gateway's objects (tls/ and base/) beside ktest's.
 */
#include "tls_plant.h"

#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tls/tls-private.h"

#define BULK_BYTES     200000
#define KEY_UPDATES    2
#define LATE_EXCHANGES 5

/* What the client does, and what came of it. */
struct client {
	const struct suite *suite;
	int fd;
	int late; /* exchanges before the server plants */
	bool update;
	const char *failed; /* the step that did not work; NULL: all did */
};

static struct tls_kernel kernel;
static struct tls_context *context;
static uint8_t bulk[BULK_BYTES];

/* ---- the client ---- */

static bool ask(SSL *ssl, const char *question, const char *answer)
{
	char got[16];
	int n = (int)strlen(answer);

	return SSL_write(ssl, question, (int)strlen(question)) > 0 && SSL_read(ssl, got, n) == n &&
	       memcmp(got, answer, (size_t)n) == 0;
}

static bool echo_bulk(SSL *ssl)
{
	static uint8_t got[BULK_BYTES];
	int at = 0;

	if (SSL_write(ssl, bulk, BULK_BYTES) != BULK_BYTES)
		return false;
	while (at < BULK_BYTES) {
		int n = SSL_read(ssl, got + at, BULK_BYTES - at);

		if (n <= 0)
			return false;
		at += n;
	}
	return memcmp(got, bulk, BULK_BYTES) == 0;
}

static bool update_keys(SSL *ssl)
{
	char got[16];

	for (int i = 0; i < KEY_UPDATES; i++) {
		SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
		if (kernel.rekey && !ask(ssl, "ping", "pong"))
			return false;
		if (!kernel.rekey) {
			SSL_write(ssl, "ping", 4);
			return SSL_read(ssl, got, 1) <= 0 &&
			       SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN;
		}
		SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		if (!ask(ssl, "ping", "pong"))
			return false;
	}
	return true;
}

static const char *client_steps(const struct client *client, SSL *ssl)
{
	char got[16];

	if (SSL_connect(ssl) != 1)
		return "handshake";
	for (int i = 0; i < client->late; i++)
		if (!ask(ssl, "late", "soon"))
			return "user-space exchange";
	if (!ask(ssl, "ping", "pong"))
		return "first exchange";
	if (!echo_bulk(ssl))
		return "bulk";
	if (client->update && !update_keys(ssl))
		return "KeyUpdate";
	if (client->update && !kernel.rekey)
		return NULL;
	if (SSL_shutdown(ssl) < 0 || SSL_read(ssl, got, 1) > 0 ||
		!(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN))
		return "close_notify";
	return NULL;
}

static void *run_client(void *arg)
{
	struct client *client = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	suite_set(ctx, client->suite);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, client->fd);
	client->failed = client_steps(client, ssl);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(client->fd);
	return NULL;
}

/* ---- the server ---- */

static void send_out(int fd, struct buf *out)
{
	kt_write_all(fd, buf_span(out).p, buf_len(out));
	buf_clear(out);
}

static size_t read_wanted(const struct tls_conn *conn, int fd, uint8_t *p, size_t cap)
{
	ssize_t n = recv(fd, p, min_size(tls_conn_want(conn), cap), 0);

	return n > 0 ? (size_t)n : 0;
}

static bool shake_hands(struct tls_conn *conn, int fd)
{
	static uint8_t in_bytes[TLS_RECORD_MAX], out_bytes[TLS_FLIGHT_MAX];
	enum tls_step step = TLS_STEP_MORE;
	struct buf out;

	buf_init(&out, out_bytes, sizeof(out_bytes));
	while (step == TLS_STEP_MORE) {
		struct span in =
			span_of(in_bytes, read_wanted(conn, fd, in_bytes, sizeof(in_bytes)));

		if (in.n == 0)
			return false;
		step = tls_conn_handshake(conn, &in, &out);
		send_out(fd, &out);
	}
	return step == TLS_STEP_DONE;
}

static bool user_space_exchange(struct tls_conn *conn, int fd)
{
	static uint8_t in_bytes[TLS_RECORD_MAX], out_bytes[1024];
	struct span answer = span_str("soon");
	uint8_t plain[16];
	struct buf out;
	size_t n = 0;

	buf_init(&out, out_bytes, sizeof(out_bytes));
	while (n == 0) {
		struct span in =
			span_of(in_bytes, read_wanted(conn, fd, in_bytes, sizeof(in_bytes)));

		if (in.n == 0)
			return false;
		if (tls_conn_read(conn, &in, plain, sizeof(plain), &n, &out) > TLS_IO_MORE)
			return false;
	}
	if (n != 4 || tls_conn_write(conn, &answer, &out) != TLS_IO_OK)
		return false;
	send_out(fd, &out);
	return true;
}

/* A control record: what the room says to do, done. False: the connection is over. */
static bool control(struct tls_conn *conn, int fd, int type, const uint8_t *bytes, size_t n)
{
	struct tls_control_record reply;
	struct tls_control_record notify = tls_close_notify();

	switch (tls_conn_control(conn, fd, (uint8_t)type, span_of(bytes, n), &reply)) {
	case TLS_CONTROL_IGNORE:
		return true;
	case TLS_CONTROL_REPLY:
		KT_MUST(kt_send_control(fd, reply.type, reply.bytes, reply.n) == reply.n);
		return tls_conn_control_sent(conn, fd) == 0;
	case TLS_CONTROL_EOF:
		KT_MUST(kt_send_control(fd, notify.type, notify.bytes, notify.n) == notify.n);
		return false;
	case TLS_CONTROL_REFUSED:
	case TLS_CONTROL_FAIL:
		break;
	}
	kt_diag("control record of type %d refused", type);
	return false;
}

/* Everything after the keys are planted: the answer to "ping", everything else is echoed. */
static void serve_from_kernel(struct tls_conn *conn, int fd)
{
	static uint8_t bytes[65536];

	for (;;) {
		int type = 23;
		ssize_t n = kt_recv_typed(fd, &type, bytes, sizeof(bytes), 0);

		if (n <= 0)
			break;
		if (type != 23 && type != 0) {
			if (!control(conn, fd, type, bytes, (size_t)n))
				break;
		} else if (n == 4 && memcmp(bytes, "ping", 4) == 0) {
			kt_write_all(fd, "pong", 4);
		} else {
			kt_write_all(fd, bytes, (size_t)n);
		}
	}
}

static int serve(int fd, int late)
{
	struct tls_conn *conn = tls_conn_open(context, &kernel, KTLS_MODE_ALWAYS);
	int planted = -1;
	bool good;

	KT_MUST(conn != NULL);
	good = shake_hands(conn, fd);
	for (int i = 0; good && i < late; i++)
		good = user_space_exchange(conn, fd);
	if (good)
		planted = tls_conn_plant(conn, fd, tls_conn_ktls_wanted(conn));
	if (planted == (TLS_KTLS_TX | TLS_KTLS_RX))
		serve_from_kernel(conn, fd);
	tls_conn_close(conn);
	close(fd);
	return planted;
}

static void test(const struct suite *suite, int late, bool update)
{
	struct client client = {.suite = suite, .late = late, .update = update};
	pthread_t thread;
	int planted;
	int fd[2];

	kt_tcp_pair(fd);
	wait_at_most(fd[0]);
	wait_at_most(fd[1]);
	client.fd = fd[0];
	KT_MUST(pthread_create(&thread, NULL, run_client, &client) == 0);
	planted = serve(fd[1], late);
	pthread_join(thread, NULL);
	kt_ok(planted == (TLS_KTLS_TX | TLS_KTLS_RX), "%s, after %d exchanges: planted both ways",
		suite->name, late);
	if (update)
		kt_ok(client.failed == NULL, "%s: KeyUpdates are %s", suite->name,
			kernel.rekey ? "followed" : "answered by a clean close");
	else
		kt_ok(client.failed == NULL, "%s: data, bulk and close_notify both ways",
			suite->name);
	if (client.failed != NULL)
		kt_diag("the client failed at: %s", client.failed);
}

/* ---- set-up ---- */

static void context_make(void)
{
	static const struct tls_settings settings = {
		.ktls = KTLS_MODE_ALWAYS, .version_min = TLS1_2_VERSION};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	struct tls_certificate certificate = {.title = (char *)(uintptr_t) "test", .chain_n = 1};
	struct tls_material material = {.certificates = &certificate, .certificates_n = 1};
	struct err err = {0};

	KT_MUST(X509_set_version(x509, 2) == 1);
	X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
	KT_MUST(X509_set_pubkey(x509, key) == 1 && X509_sign(x509, key, EVP_sha256()) > 0);
	certificate.chain[0].n = (size_t)i2d_X509(x509, &certificate.chain[0].p);
	certificate.key.n = (size_t)i2d_PKCS8_PRIV_KEY_INFO(info, &certificate.key.p);
	/* A ticket key, so that a record goes out under the application keys at once. */
	material.tickets.n = 1;
	KT_MUST(tls_context_open(&context, &settings, &kernel, &material, &err) == 0);
	OPENSSL_free(certificate.chain[0].p);
	OPENSSL_free(certificate.key.p);
	PKCS8_PRIV_KEY_INFO_free(info);
	X509_free(x509);
	EVP_PKEY_free(key);
}

static bool release_before(int major, int minor)
{
	struct utsname names;
	int have_major = 0, have_minor = 0;

	KT_MUST(uname(&names) == 0);
	KT_MUST(sscanf(names.release, "%d.%d", &have_major, &have_minor) == 2);
	return have_major < major || (have_major == major && have_minor < minor);
}

static void test_probe(void)
{
	kt_ok(kernel.tx && kernel.rx && kernel.no_pad && kernel.why[0] == '\0',
		"the probe finds both directions and NO_PAD");
	kt_ok(kernel.rekey == (kt_tls_stat("TlsRxRekeyOk") >= 0),
		"the probe finds re-keying where TlsRxRekeyOk is listed");
	if (release_before(6, 2))
		kt_ok(kernel.rx_spins_on_partial, "the probe sees poll spin on half a record");
	else if (!release_before(6, 12))
		kt_ok(!kernel.rx_spins_on_partial, "the probe sees poll wait for a whole record");
}

int main(void)
{
	long before;
	long errors;

	signal(SIGPIPE, SIG_IGN);
	tls_kernel_probe(&kernel);
	if (!kernel.tx)
		kt_unsupported(kernel.why);
	test_probe();
	context_make();
	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 31 >> 3);
	before = kt_tls_stat("TlsRxSw");
	errors = kt_tls_stat("TlsDecryptError");
	for (size_t i = 0; i < COUNT_OF(suites); i++) {
		test(&suites[i], 0, false);
		test(&suites[i], LATE_EXCHANGES, false);
		if (suites[i].version == TLS1_3_VERSION)
			test(&suites[i], 0, true);
	}
	kt_ok(kt_tls_stat("TlsRxSw") - before == 2 * COUNT_OF(suites) + 3,
		"the kernel counted every connection's RX");
	kt_ok(kt_tls_stat("TlsDecryptError") == errors, "no record failed to decrypt");
	tls_context_release(context);
	return kt_done();
}
