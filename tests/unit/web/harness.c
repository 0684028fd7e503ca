/* SPDX-License-Identifier: MIT */
/* harness.c -- see harness.h. */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/event.h"
#include "tests/lib/unit.h"

#define MUST(cond) cr_assert((cond), "%s:%d: %s", __FILE__, __LINE__, #cond)
#define PATHS_MAX  32
#define TURNS_MAX  20000
#define LOG_OCTETS 65536

/* ---- certificates ---- */

static char dir[64];
static pid_t dir_owner;
static EVP_PKEY *ca_key;
static X509 *ca;

static void remove_dir(void)
{
	if (dir_owner == getpid())
		(void)unit_remove_tree(dir);
}

const char *path_of(const char *file, const char *end)
{
	static char paths[PATHS_MAX][128];
	static size_t paths_n;
	char path[128];

	if (dir_owner != getpid()) {
		strcpy(dir, "/tmp/postern-web-XXXXXX");
		MUST(mkdtemp(dir) != NULL);
		dir_owner = getpid();
		atexit(remove_dir);
	}
	snprintf(path, sizeof(path), "%s/%s%s", dir, file, end);
	for (size_t i = 0; i < paths_n; i++)
		if (strcmp(paths[i], path) == 0)
			return paths[i];
	MUST(paths_n < PATHS_MAX);
	strcpy(paths[paths_n], path);
	return paths[paths_n++];
}

static void extension_add(X509 *x509, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	MUST(extension != NULL && X509_add_ext(x509, extension, -1));
	X509_EXTENSION_free(extension);
}

static X509 *certificate_make(const char *subject, EVP_PKEY *key, int days)
{
	static long serial = 1;
	X509 *x509 = X509_new();

	MUST(x509 != NULL && X509_set_version(x509, 2));
	MUST(ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++));
	MUST(X509_gmtime_adj(X509_getm_notBefore(x509), -86400L * 2) != NULL);
	MUST(X509_gmtime_adj(X509_getm_notAfter(x509), 86400L * days) != NULL);
	MUST(X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
		(const unsigned char *)subject, -1, -1, 0));
	MUST(X509_set_pubkey(x509, key));
	return x509;
}

static void pem_write(const char *path, X509 *first, X509 *second)
{
	FILE *file = fopen(path, "w");

	MUST(file != NULL && PEM_write_X509(file, first));
	MUST(second == NULL || PEM_write_X509(file, second));
	MUST(fclose(file) == 0);
}

const char *ca_file(void)
{
	const char *path = path_of("ca", ".pem");

	if (ca != NULL)
		return path;
	ca_key = EVP_EC_gen("P-256");
	MUST(ca_key != NULL);
	ca = certificate_make("Test CA", ca_key, 30);
	MUST(X509_set_issuer_name(ca, X509_get_subject_name(ca)));
	extension_add(ca, NID_basic_constraints, "critical,CA:true");
	MUST(X509_sign(ca, ca_key, EVP_sha256()) > 0);
	pem_write(path, ca, NULL);
	return path;
}

void leaf_make(const char *file, const char *names, int days)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509;
	FILE *out;

	(void)ca_file();
	MUST(key != NULL);
	x509 = certificate_make(file, key, days);
	MUST(X509_set_issuer_name(x509, X509_get_subject_name(ca)));
	extension_add(x509, NID_subject_alt_name, names);
	MUST(X509_sign(x509, ca_key, EVP_sha256()) > 0);
	pem_write(path_of(file, ".pem"), x509, ca);
	out = fopen(path_of(file, ".key"), "w");
	MUST(out != NULL && PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL));
	MUST(fchmod(fileno(out), 0600) == 0 && fclose(out) == 0);
	X509_free(x509);
	EVP_PKEY_free(key);
}

/* ---- settings ---- */

void setting_fill(struct setting *setting)
{
	struct config *config = &setting->config;

	memset(setting, 0, sizeof(*setting));
	leaf_make("mx", "DNS:" MX_NAME, 30);
	leaf_make("host", "DNS:" HOST, 30);
	setting->names[0] = HOST;
	setting->certificates[0] = (struct certificate_settings){
		.title = "mx", .chain = path_of("mx", ".pem"), .key = path_of("mx", ".key")};
	setting->certificates[1] = (struct certificate_settings){.title = "host",
		.chain = path_of("host", ".pem"),
		.key = path_of("host", ".key"),
		.names = setting->names,
		.names_n = 1};
	setting->mx[0] = MX_NAME;
	setting->sts[0] = (struct sts_settings){.domain = DOMAIN,
		.mode = STS_MODE_ENFORCE,
		.max_age_s = 60,
		.mx = setting->mx,
		.mx_n = 1};
	config->smtp.hostname = MX_NAME;
	config->listeners[0] = (struct listener_settings){
		.title = "smtp", .protocol = LISTENER_SMTP, .tls = LISTENER_TLS_STARTTLS};
	config->listeners[1] = (struct listener_settings){
		.title = "web", .protocol = LISTENER_HTTPS, .tls = LISTENER_TLS_IMPLICIT};
	config->listeners_n = 2;
	config->tls.version_min = 0x0303;
	config->tls.handshake_ms_max = 30000;
	config->tls.certificates = setting->certificates;
	config->tls.certificates_n = 2;
	config->sts = setting->sts;
	config->sts_n = 1;
}

struct tls_material *material_load(const struct setting *setting)
{
	struct tls_material *material;
	struct err err = {""};

	cr_assert_eq(tls_material_load(&material, &setting->config.tls, &err), 0, "%s", err.text);
	return material;
}

struct web_policies *policies_of(const struct sts_settings *sts, size_t n)
{
	struct web_policies *policies;
	struct err err = {""};
	uint8_t *block;
	size_t block_n;

	cr_assert_eq(web_policies_pack(sts, n, &block, &block_n, &err), 0, "%s", err.text);
	cr_assert_eq(
		web_policies_open(&policies, span_of(block, block_n), &err), 0, "%s", err.text);
	free(block);
	return policies;
}

/* ---- a worker ---- */

struct web_worker *worker;
struct ring *ring;
struct fence *fence;
unsigned ended;

static struct setting setting;
static struct event_sink sink;
static char log_text[LOG_OCTETS];
static size_t log_n;
static uint64_t now_ms = 1000000;
static uint64_t real_us = 784111777000000;

static void log_take(void)
{
	struct span lines = event_sink_take(&sink);

	if (lines.n == 0)
		return;
	MUST(log_n + lines.n < sizeof(log_text));
	memcpy(log_text + log_n, lines.p, lines.n);
	log_n += lines.n;
	log_text[log_n] = '\0';
	event_sink_taken(&sink);
}

bool logged(const char *text)
{
	log_take();
	return strstr(log_text, text) != NULL;
}

static void on_end(void *ctx)
{
	(void)ctx;
	ended++;
}

static void stop(void *ctx)
{
	(void)ctx;
	ring_stop(ring);
}

void worker_open(void)
{
	static const struct ring_settings settings = {
		.entries = 64, .buffers = 2, .iowq_bounded = 2, .iowq_unbounded = 2};
	static const struct fence_settings off = {
		.mode = FENCE_MODE_OFF, .prefix_v4 = 32, .prefix_v6 = 64, .sources_max = 64};
	struct tls_material *material;
	struct web_policies *policies;
	struct tls_context *tls;
	struct err err = {""};

	signal(SIGPIPE, SIG_IGN);
	setting_fill(&setting);
	clock_set_for_test(&now_ms, &real_us);
	event_sink_init(&sink);
	event_sink_use(&sink);
	cr_assert_eq(ring_open(&ring, &settings, &err), 0, "%s", err.text);
	ring_on_wake(ring, stop, NULL);
	cr_assert_eq(fence_open(&fence, &off, NULL, 0, NULL, 0, &err), 0, "%s", err.text);
	material = material_load(&setting);
	policies = policies_of(setting.sts, 1);
	cr_assert_eq(tls_context_open(&tls, &setting.config.tls, NULL, material, &err), 0, "%s",
		err.text);
	tls_material_free(material);
	cr_assert_eq(web_worker_open(&worker, &(struct web_facts){&setting.config, fence, ring},
			     tls, policies, &err),
		0, "%s", err.text);
	tls_context_release(tls);
	web_policies_release(policies);
	web_worker_on_end(worker, on_end, NULL);
}

void turn(void)
{
	ring_wake(ring);
	ring_run(ring, NULL, NULL);
}

void pass(uint64_t ms)
{
	now_ms += ms;
}

void worker_close(void)
{
	web_worker_abort(worker);
	for (unsigned i = 0; i < TURNS_MAX && !web_worker_idle(worker); i++)
		turn();
	cr_assert(web_worker_idle(worker));
	web_worker_close(worker);
	fence_close(fence);
	ring_close(ring);
	event_sink_use(NULL);
	clock_set_for_test(NULL, NULL);
}

/* ---- a client ---- */

static void connect_to_worker(struct client *client)
{
	struct sockaddr_storage peer = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&peer;
	struct fence_client entered = {0};
	static const uint8_t address[NETWORK_BYTES] = {[10] = 0xff, 0xff, 192, 0, 2, 7};
	int pair[2];

	memset(client, 0, sizeof(*client));
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	client->fd = pair[0];
	client->theirs = pair[1];
	v4->sin_family = AF_INET;
	v4->sin_addr.s_addr = inet_addr("192.0.2.7");
	v4->sin_port = htons(4711);
	cr_assert_eq(
		fence_reason_verdict(fence_enter(fence, &entered, address, true, FENCE_HANDSHAKE)),
		FENCE_VERDICT_PASS);
	cr_assert(web_start(worker, pair[1], &setting.config.listeners[1], &peer, &entered));
}

void client_open(struct client *client, const char *sni)
{
	connect_to_worker(client);
	client->ctx = SSL_CTX_new(TLS_client_method());
	MUST(SSL_CTX_load_verify_file(client->ctx, ca_file()) == 1);
	SSL_CTX_set_verify(client->ctx, SSL_VERIFY_PEER, NULL);
	client->ssl = SSL_new(client->ctx);
	client->in = BIO_new(BIO_s_mem());
	client->out = BIO_new(BIO_s_mem());
	SSL_set_bio(client->ssl, client->in, client->out);
	SSL_set_connect_state(client->ssl);
	if (sni != NULL)
		MUST(SSL_set_tlsext_host_name(client->ssl, sni) == 1);
	while (!SSL_is_init_finished(client->ssl) && !client->closed)
		client_turn(client);
}

void client_open_plain(struct client *client)
{
	connect_to_worker(client);
}

static void client_flush(struct client *client)
{
	char octets[32768];
	int n = BIO_read(client->out, octets, sizeof(octets));

	if (n > 0 && !client->closed)
		(void)!send(client->fd, octets, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_take(struct client *client, const char *octets, size_t n)
{
	int more;

	if (client->ssl == NULL) {
		MUST(client->got_n + n < sizeof(client->got));
		memcpy(client->got + client->got_n, octets, n);
		client->got_n += n;
		return;
	}
	MUST(BIO_write(client->in, octets, (int)n) == (int)n);
	while ((more = SSL_read(client->ssl, client->got + client->got_n,
			(int)(sizeof(client->got) - client->got_n - 1))) > 0)
		client->got_n += (size_t)more;
}

void client_turn(struct client *client)
{
	char octets[32768];
	ssize_t n;

	if (client->ssl != NULL && !SSL_is_init_finished(client->ssl))
		(void)SSL_do_handshake(client->ssl);
	if (client->ssl != NULL)
		client_flush(client);
	turn();
	n = client->closed ? 0 : recv(client->fd, octets, sizeof(octets), MSG_DONTWAIT);
	if (n > 0)
		client_take(client, octets, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		client->closed = true;
	client->got[client->got_n] = '\0';
}

void client_say(struct client *client, const char *text)
{
	if (client->ssl == NULL) {
		MUST(send(client->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
		return;
	}
	MUST(SSL_write(client->ssl, text, (int)strlen(text)) == (int)strlen(text));
	client_flush(client);
}

/* How many answers are there whole; all of ours have Content-Length. */
static unsigned answers_of(const struct client *client)
{
	const char *at = client->got;
	unsigned n = 0;

	for (;; n++) {
		const char *end = strstr(at, "\r\n\r\n");
		const char *length = strstr(at, "Content-Length: ");

		if (end == NULL || length == NULL)
			return n;
		/* An answer to HEAD has none of it: then the next begins here. */
		at = end + 4;
		if (strncmp(at, "HTTP/", 5) != 0)
			at += strtoul(length + 16, NULL, 10);
		if (at > client->got + client->got_n)
			return n;
	}
}

void client_wait(struct client *client, unsigned count)
{
	for (unsigned i = 0; i < TURNS_MAX; i++) {
		if (client->closed || answers_of(client) >= count)
			return;
		client_turn(client);
	}
	cr_assert(false, "no %u answers in %u turns: %s", count, TURNS_MAX, client->got);
}

void client_wait_closed(struct client *client)
{
	for (unsigned i = 0; i < TURNS_MAX && !client->closed; i++)
		client_turn(client);
	(void)logged("");
	cr_assert(client->closed, "%s", log_text);
}

void client_close(struct client *client)
{
	unsigned before = ended;

	close(client->fd);
	SSL_free(client->ssl);
	SSL_CTX_free(client->ctx);
	for (unsigned i = 0; i < TURNS_MAX && ended == before && !web_worker_idle(worker); i++)
		turn();
}

unsigned client_status(const struct client *client, unsigned i)
{
	const char *at = strstr(client->got, "HTTP/1.1 ");

	while (at != NULL && i-- > 0)
		at = strstr(at + 9, "HTTP/1.1 ");
	return at != NULL ? (unsigned)atoi(at + 9) : 0;
}
