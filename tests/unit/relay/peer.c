/* SPDX-License-Identifier: MIT */
/* peer.c -- see peer.h. Written on plain sockets and OpenSSL, apart from the gateway's rooms. */
#include "tests/unit/relay/peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define PATIENCE_S 10
#define LINE_MAX_N 4096
#define NAME       "mx.example.org"

static struct {
	const char *const *script;
	int listener, fd;
	struct sockaddr_storage address;
	socklen_t address_n;
	char path[64];
	pthread_t thread;
	sem_t go;
	SSL *ssl;
	bool in_clear;
	atomic_size_t step; /* under way */
	atomic_bool at_last;
	uint8_t in[LINE_MAX_N]; /* not heard yet */
	size_t in_n;
	char wrong[1024];
} peer;

static uint8_t heard[PEER_HEARD_MAX];
static size_t heard_n;
static char certificate_file[64], key_file[64];
static SSL_CTX *tls_ctx;

static bool wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(peer.wrong, sizeof(peer.wrong), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- TLS ---- */

static void certificate_write(X509 *x509, EVP_PKEY *key)
{
	FILE *file;
	int fd;

	snprintf(certificate_file, sizeof(certificate_file), "/tmp/postern-peer-XXXXXX");
	snprintf(key_file, sizeof(key_file), "/tmp/postern-peer-XXXXXX");
	fd = mkstemp(certificate_file);
	file = fdopen(fd, "w");
	cr_assert(file != NULL && PEM_write_X509(file, x509));
	fclose(file);
	fd = mkstemp(key_file);
	file = fdopen(fd, "w");
	cr_assert(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
	fclose(file);
}

static void files_remove(void)
{
	unlink(certificate_file);
	unlink(key_file);
}

static void tls_open(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	X509_NAME *name;
	X509_EXTENSION *san;

	cr_assert(key != NULL && x509 != NULL);
	X509_set_version(x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
	name = X509_get_subject_name(x509);
	X509_NAME_add_entry_by_txt(
		name, "CN", MBSTRING_ASC, (const unsigned char *)NAME, -1, -1, 0);
	X509_set_issuer_name(x509, name);
	X509_set_pubkey(x509, key);
	san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:" NAME);
	X509_add_ext(x509, san, -1);
	X509_EXTENSION_free(san);
	cr_assert(X509_sign(x509, key, EVP_sha256()) > 0);
	certificate_write(x509, key);
	atexit(files_remove);
	tls_ctx = SSL_CTX_new(TLS_server_method());
	cr_assert(SSL_CTX_use_certificate(tls_ctx, x509) == 1);
	cr_assert(SSL_CTX_use_PrivateKey(tls_ctx, key) == 1);
	X509_free(x509);
	EVP_PKEY_free(key);
}

const char *peer_certificate_file(void)
{
	if (tls_ctx == NULL)
		tls_open();
	return certificate_file;
}

static bool step_tls(bool fails)
{
	int result;

	if (peer.in_n > 0)
		return wrong("octets before the handshake");
	peer.ssl = SSL_new(tls_ctx);
	SSL_set_fd(peer.ssl, peer.fd);
	result = SSL_accept(peer.ssl);
	if (fails) {
		SSL_free(peer.ssl);
		peer.ssl = NULL;
		return result != 1 || wrong("the handshake did not fail");
	}
	return result == 1 || wrong("the handshake failed");
}

/* ---- octets ---- */

static ssize_t take(void *p, size_t n)
{
	int result;

	if (peer.ssl == NULL || peer.in_clear)
		return recv(peer.fd, p, n, 0);
	result = SSL_read(peer.ssl, p, (int)n);
	if (result > 0)
		return result;
	return SSL_get_error(peer.ssl, result) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static bool put(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = peer.ssl != NULL ? SSL_write(peer.ssl, p, (int)n)
						: send(peer.fd, p, n, MSG_NOSIGNAL);

		if (done <= 0)
			return wrong("cannot say \"%.*s\": %s", (int)n, p, strerror(errno));
		p += done;
		n -= (size_t)done;
	}
	return true;
}

/* More octets behind the others. */
static bool fill(void)
{
	ssize_t n = take(peer.in + peer.in_n, sizeof(peer.in) - peer.in_n);

	if (n <= 0)
		return wrong("%s, having \"%.*s\"", n == 0 ? "end of stream" : strerror(errno),
			(int)peer.in_n, (const char *)peer.in);
	peer.in_n += (size_t)n;
	return true;
}

static void drop(size_t n)
{
	memmove(peer.in, peer.in + n, peer.in_n - n);
	peer.in_n -= n;
}

static bool step_line(const char *want)
{
	size_t want_n = strlen(want);
	bool prefix = want_n > 0 && want[want_n - 1] == '*';
	const uint8_t *lf;
	bool same;
	size_t n;

	while ((lf = memchr(peer.in, '\n', peer.in_n)) == NULL) {
		if (peer.in_n == sizeof(peer.in))
			return wrong("a line without end");
		if (!fill())
			return false;
	}
	n = (size_t)(lf - peer.in);
	if (n == 0 || peer.in[n - 1] != '\r')
		return wrong("a bare LF");
	n--;
	if (prefix)
		same = n >= want_n - 1 && memcmp(peer.in, want, want_n - 1) == 0;
	else
		same = n == want_n && memcmp(peer.in, want, n) == 0;
	if (!same)
		return wrong("heard \"%.*s\"", (int)n, (const char *)peer.in);
	drop(n + 2);
	return true;
}

static bool step_quiet(void)
{
	struct pollfd pollfd = {.fd = peer.fd, .events = POLLIN};

	if (peer.in_n > 0 || poll(&pollfd, 1, 20) != 0)
		return wrong("octets that were not waited for");
	return true;
}

static bool keep(size_t n)
{
	if (heard_n + n > sizeof(heard))
		return wrong("too many octets");
	memcpy(heard + heard_n, peer.in, n);
	heard_n += n;
	drop(n);
	return true;
}

static bool step_octets(size_t n)
{
	while (n > 0) {
		size_t some;

		if (peer.in_n == 0 && !fill())
			return false;
		some = peer.in_n < n ? peer.in_n : n;
		if (!keep(some))
			return false;
		n -= some;
	}
	return true;
}

static bool data_over(size_t from)
{
	size_t n = heard_n - from;

	if (n == 3)
		return memcmp(heard + from, ".\r\n", 3) == 0;
	return n >= 5 && memcmp(heard + heard_n - 5, "\r\n.\r\n", 5) == 0;
}

static bool step_data(void)
{
	size_t from = heard_n;

	while (!data_over(from)) { /* which only the end of a line can be */
		const uint8_t *lf;

		if (peer.in_n == 0 && !fill())
			return false;
		lf = memchr(peer.in, '\n', peer.in_n);
		if (!keep(lf != NULL ? (size_t)(lf - peer.in) + 1 : peer.in_n))
			return false;
	}
	return true;
}

static bool step_eof(bool whatever)
{
	uint8_t scratch[4096];
	ssize_t n;

	if (!whatever && peer.in_n > 0)
		return wrong("octets before the end");
	do {
		n = take(scratch, sizeof(scratch));
	} while (whatever && n > 0);
	return whatever || n == 0 || wrong("no end of stream");
}

/* ---- connections ---- */

static bool step_accept(void)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	const int on = 1;

	peer.fd = accept(peer.listener, NULL, NULL);
	if (peer.fd < 0)
		return wrong("no connection");
	setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	/* A step is a segment: no delay between them. A Unix socket refuses this. */
	(void)setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	peer.in_n = 0;
	return true;
}

static bool step_close(bool reset)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (reset)
		setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	SSL_free(peer.ssl);
	peer.ssl = NULL;
	peer.in_clear = false;
	if (peer.fd >= 0)
		close(peer.fd);
	peer.fd = -1;
	return true;
}

static bool step_pause(void)
{
	while (sem_wait(&peer.go) != 0)
		continue;
	return true;
}

static bool step_skip(void)
{
	if (!fill())
		return false;
	drop(peer.in_n);
	return true;
}

static bool step_say(const char *text, bool line)
{
	char bytes[LINE_MAX_N];
	int n = snprintf(bytes, sizeof(bytes), "%s%s", text, line ? "\r\n" : "");

	return put(bytes, (size_t)n);
}

static bool step(const char *text)
{
	if (strncmp(text, "> ", 2) == 0)
		return step_say(text + 2, true);
	if (strncmp(text, ">> ", 3) == 0)
		return step_say(text + 3, false);
	if (strncmp(text, "< ", 2) == 0)
		return step_line(text + 2);
	if (strncmp(text, "octets ", 7) == 0)
		return step_octets(strtoul(text + 7, NULL, 10));
	if (strcmp(text, "accept") == 0)
		return step_accept();
	if (strcmp(text, "quiet") == 0)
		return step_quiet();
	if (strcmp(text, "data") == 0)
		return step_data();
	if (strcmp(text, "skip") == 0)
		return step_skip();
	if (strcmp(text, "pause") == 0)
		return step_pause();
	if (strcmp(text, "in clear") == 0)
		return peer.in_clear = true;
	if (strcmp(text, "tls") == 0 || strcmp(text, "tls fails") == 0)
		return step_tls(strlen(text) > 3);
	if (strcmp(text, "eof") == 0 || strcmp(text, "gone") == 0)
		return step_eof(text[0] == 'g');
	if (strcmp(text, "close") == 0 || strcmp(text, "reset") == 0)
		return step_close(text[0] == 'r');
	return wrong("no such step");
}

static void *run(void *arg)
{
	(void)arg;
	for (const char *const *text = peer.script; *text != NULL; text++) {
		peer.step = (size_t)(text - peer.script);
		peer.at_last = text[1] == NULL;
		if (step(*text))
			continue;
		snprintf(peer.wrong + strlen(peer.wrong), sizeof(peer.wrong) - strlen(peer.wrong),
			" (at \"%s\")", *text);
		break;
	}
	step_close(false);
	return NULL;
}

void peer_open(const char *const *script, bool unix_socket)
{
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&peer.address;
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&peer.address;
	const struct timeval patience = {.tv_sec = PATIENCE_S};

	(void)peer_certificate_file();
	memset(&peer, 0, sizeof(peer));
	peer.script = script;
	peer.fd = -1;
	heard_n = 0;
	sem_init(&peer.go, 0, 0);
	peer.listener = socket(unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(peer.listener >= 0);
	if (unix_socket) {
		snprintf(peer.path, sizeof(peer.path), "/tmp/postern-peer-%d", getpid());
		unlink(peer.path);
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, peer.path, sizeof(peer.path));
		peer.address_n = sizeof(*un);
	} else {
		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		peer.address_n = sizeof(*in);
	}
	cr_assert(bind(peer.listener, (struct sockaddr *)&peer.address, peer.address_n) == 0);
	cr_assert(listen(peer.listener, 4) == 0);
	setsockopt(peer.listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	cr_assert(
		getsockname(peer.listener, (struct sockaddr *)&peer.address, &peer.address_n) == 0);
	cr_assert(pthread_create(&peer.thread, NULL, run, NULL) == 0);
}

void peer_address(struct sockaddr_storage *address, socklen_t *n)
{
	*address = peer.address;
	*n = peer.address_n;
}

void peer_go(void)
{
	sem_post(&peer.go);
}

size_t peer_step(void)
{
	return peer.step;
}

bool peer_at_last(void)
{
	return peer.at_last;
}

static void join(void)
{
	pthread_join(peer.thread, NULL);
	close(peer.listener);
	if (peer.path[0] != '\0')
		unlink(peer.path);
	sem_destroy(&peer.go);
}

void peer_abandon(void)
{
	shutdown(peer.listener, SHUT_RDWR); /* nobody may come any more */
	join();
}

void peer_close(void)
{
	join();
	cr_expect(peer.wrong[0] == '\0', "the peer: %s", peer.wrong);
}

const uint8_t *peer_heard(size_t *n)
{
	*n = heard_n;
	return heard;
}
