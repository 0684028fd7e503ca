/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <criterion/criterion.h>

#define HOST    "mta-sts.example.test"
#define DAY_S   86400L
#define DRIP_MS 20

struct pair {
	EVP_PKEY *key;
	X509 *cert;
};

static struct pair ca;
static char ca_path[64];

static void free_pair(struct pair *pair)
{
	X509_free(pair->cert);
	EVP_PKEY_free(pair->key);
}

static void remove_ca_file(void)
{
	unlink(ca_path);
	free_pair(&ca);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	cr_assert(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

/* issuer NULL: signed by itself. */
static struct pair make_cert(
	const struct pair *issuer, const char *name, bool is_ca, long from_s, long to_s)
{
	struct pair made = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
	X509_NAME *subject = X509_get_subject_name(made.cert);
	static long serial = 1;
	char alt[300];

	X509_set_version(made.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(made.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(made.cert), from_s);
	X509_gmtime_adj(X509_getm_notAfter(made.cert), to_s);
	X509_set_pubkey(made.cert, made.key);
	X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(
		made.cert, issuer != NULL ? X509_get_subject_name(issuer->cert) : subject);
	add_extension(made.cert, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	snprintf(alt, sizeof(alt), "DNS:%s", name);
	if (!is_ca)
		add_extension(made.cert, NID_subject_alt_name, alt);
	cr_assert(X509_sign(made.cert, issuer != NULL ? issuer->key : made.key, EVP_sha256()) > 0);
	return made;
}

static struct pair make_leaf(enum server_leaf leaf)
{
	struct pair other, made;

	switch (leaf) {
	case LEAF_GOOD:
		return make_cert(&ca, HOST, false, -DAY_S, DAY_S);
	case LEAF_WILDCARD:
		return make_cert(&ca, "*.example.test", false, -DAY_S, DAY_S);
	case LEAF_WRONG_NAME:
		return make_cert(&ca, "example.test", false, -DAY_S, DAY_S);
	case LEAF_DEEP_WILDCARD:
		return make_cert(&ca, "*.test", false, -DAY_S, DAY_S);
	case LEAF_EXPIRED:
		return make_cert(&ca, HOST, false, -2 * DAY_S, -DAY_S);
	case LEAF_FUTURE:
		return make_cert(&ca, HOST, false, DAY_S, 2 * DAY_S);
	case LEAF_SELF_SIGNED:
		return make_cert(NULL, HOST, false, -DAY_S, DAY_S);
	case LEAF_UNKNOWN_CA:
		other = make_cert(NULL, "Nobody's CA", true, -DAY_S, DAY_S);
		made = make_cert(&other, HOST, false, -DAY_S, DAY_S);
		free_pair(&other);
		return made;
	}
	abort();
}

static void make_ca(void)
{
	int fd;
	FILE *file;

	if (ca.cert != NULL)
		return;
	ca = make_cert(NULL, "Test CA", true, -DAY_S, DAY_S);
	snprintf(ca_path, sizeof(ca_path), "/tmp/postern-fetch-ca-XXXXXX");
	fd = mkstemp(ca_path);
	cr_assert(fd >= 0);
	file = fdopen(fd, "w");
	cr_assert(PEM_write_X509(file, ca.cert) == 1);
	fclose(file);
	atexit(remove_ca_file);
}

const char *server_ca_file(void)
{
	make_ca();
	return ca_path;
}

/* ---- a connection; ssl NULL: in clear ---- */

static bool say(int fd, SSL *ssl, const char *text, size_t n)
{
	if (ssl == NULL)
		return send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
	return SSL_write(ssl, text, (int)n) == (int)n;
}

/* Has the whole of a request come? */
static bool is_whole(const struct server *server)
{
	const char *end = strstr(server->seen, "\r\n\r\n");
	const char *length = strstr(server->seen, "Content-Length: ");

	if (end == NULL)
		return false;
	if (length == NULL || length > end)
		return true;
	return server->seen_n >= (size_t)(end + 4 - server->seen) + strtoul(length + 16, NULL, 10);
}

static void hear(struct server *server, SSL *ssl)
{
	server->seen_n = 0;
	server->seen[0] = '\0';
	while (!is_whole(server) && server->seen_n < SERVER_SEEN_MAX - 1) {
		int n = SSL_read(ssl, server->seen + server->seen_n,
			(int)(SERVER_SEEN_MAX - 1 - server->seen_n));

		if (n <= 0)
			return;
		server->seen_n += (size_t)n;
		server->seen[server->seen_n] = '\0';
	}
}

/* Until the other end is gone. */
static void go_on(int fd, SSL *ssl, enum server_act act)
{
	static const char block[8192] = {0};
	struct pollfd closed = {.fd = fd, .events = POLLRDHUP};

	for (;;) {
		if (poll(&closed, 1, act == ACT_DRIP ? DRIP_MS : 0) > 0)
			return;
		if (act == ACT_DRIP          ? !say(fd, ssl, "x", 1)
			: act == ACT_HEADERS ? !say(fd, ssl, "X-Line: of a header\r\n", 21)
					     : !say(fd, ssl, block, sizeof(block)))
			return;
	}
}

static void act_on(struct server *server, int fd, SSL *ssl)
{
	const struct server_plan *plan = &server->plan;
	struct linger reset = {.l_onoff = 1};

	if (plan->answer != NULL && !say(fd, ssl, plan->answer, strlen(plan->answer)))
		return;
	if (plan->act == ACT_DRIP || plan->act == ACT_ENDLESS || plan->act == ACT_HEADERS)
		go_on(fd, ssl, plan->act);
	else if (plan->act == ACT_CUT)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	else if (ssl != NULL)
		SSL_shutdown(ssl);
}

static void serve_tls(struct server *server, int fd)
{
	SSL *ssl = SSL_new(server->context);

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1) {
		const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

		snprintf(server->name, sizeof(server->name), "%s", name != NULL ? name : "");
		hear(server, ssl);
		act_on(server, fd, ssl);
	}
	SSL_free(ssl);
}

static void serve(struct server *server, int fd)
{
	struct timeval limit = {.tv_sec = 10};
	char octet;

	server->connections++;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (server->plan.act == ACT_SILENT) {
		while (recv(fd, &octet, 1, 0) > 0)
			continue;
	} else if (server->plan.act == ACT_PLAIN) {
		act_on(server, fd, NULL);
	} else {
		serve_tls(server, fd);
	}
	close(fd);
}

static void *server_main(void *ctx)
{
	struct server *server = ctx;
	int fd;

	while ((fd = accept(server->listener, NULL, NULL)) >= 0)
		serve(server, fd);
	return NULL;
}

static SSL_CTX *make_context(const struct server_plan *plan)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	struct pair leaf = make_leaf(plan->leaf);

	SSL_CTX_set_security_level(context, 0);
	cr_assert(SSL_CTX_set_min_proto_version(context, TLS1_VERSION) == 1);
	cr_assert(SSL_CTX_set_max_proto_version(context, plan->version_max) == 1);
	cr_assert(SSL_CTX_use_certificate(context, leaf.cert) == 1);
	cr_assert(SSL_CTX_use_PrivateKey(context, leaf.key) == 1);
	free_pair(&leaf);
	return context;
}

struct server *server_start(const struct server_plan *plan)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	struct server *server = calloc(1, sizeof(*server));

	cr_assert(server != NULL);
	signal(SIGPIPE, SIG_IGN);
	make_ca();
	server->plan = *plan;
	server->context = make_context(plan);
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(server->listener, (struct sockaddr *)&at, sizeof(at)) == 0);
	cr_assert(listen(server->listener, 128) == 0);
	cr_assert(getsockname(server->listener, (struct sockaddr *)&at, &n) == 0);
	server->port = ntohs(at.sin_port);
	cr_assert(pthread_create(&server->thread, NULL, server_main, server) == 0);
	return server;
}

void server_stop(struct server *server)
{
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
}

void server_free(struct server *server)
{
	close(server->listener);
	SSL_CTX_free(server->context);
	free(server);
}
