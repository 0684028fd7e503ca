/* SPDX-License-Identifier: MIT */
/* rig.c -- files, certificates, contexts, the client and the wire; see rig.h. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "tests/lib/unit.h"

#define PATHS_MAX  64
#define MUST(cond) cr_assert((cond), "%s:%d: %s", __FILE__, __LINE__, #cond)

const struct tls_kernel rig_kernel_all = {.tx = true, .rx = true, .rekey = true, .no_pad = true};

const struct rig_suite rig_suites[] = {
	{TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", false},
	{TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", false},
	{TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", false},
	{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
		false},
	{TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		false},
	{TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305",
		"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", false},
	{TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		true},
	{TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		true},
	{TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305",
		"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", true},
};
const size_t rig_suites_n = COUNT_OF(rig_suites);

/* ---- files ---- */

static char dir[64];
static pid_t dir_owner;

static void remove_dir(void)
{
	if (dir_owner == getpid())
		(void)unit_remove_tree(dir);
}

const char *rig_dir(void)
{
	if (dir_owner != getpid()) {
		strcpy(dir, "/tmp/postern-tls-XXXXXX");
		MUST(mkdtemp(dir) != NULL);
		dir_owner = getpid();
		atexit(remove_dir);
	}
	return dir;
}

const char *rig_path(const char *name)
{
	static char paths[PATHS_MAX][128];
	static size_t paths_n;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", rig_dir(), name);
	for (size_t i = 0; i < paths_n; i++)
		if (strcmp(paths[i], path) == 0)
			return paths[i];
	MUST(paths_n < PATHS_MAX);
	strcpy(paths[paths_n], path);
	return paths[paths_n++];
}

void rig_write(const char *name, const char *text, size_t n)
{
	FILE *file = fopen(rig_path(name), "w");

	MUST(file != NULL);
	MUST(fwrite(text, 1, n, file) == n);
	MUST(fclose(file) == 0);
}

static EVP_PKEY *make_rsa_pss(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
	EVP_PKEY *key = NULL;

	MUST(ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1);
	MUST(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) == 1);
	MUST(EVP_PKEY_generate(ctx, &key) == 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static EVP_PKEY *make_key(enum rig_key type)
{
	EVP_PKEY *key = NULL;

	switch (type) {
	case RIG_EC:
		key = EVP_EC_gen("P-256");
		break;
	case RIG_RSA:
		key = EVP_RSA_gen(2048);
		break;
	case RIG_ED25519:
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		break;
	case RIG_P384:
		key = EVP_EC_gen("P-384");
		break;
	case RIG_P521:
		key = EVP_EC_gen("P-521");
		break;
	case RIG_RSA_PSS:
		key = make_rsa_pss();
		break;
	case RIG_ED448:
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
		break;
	}
	MUST(key != NULL);
	return key;
}

static X509 *make_certificate(const char *name, EVP_PKEY *key, int days, size_t padding_n)
{
	int type = EVP_PKEY_get_base_id(key);
	bool whole = type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448;
	const EVP_MD *digest = whole ? NULL : EVP_sha256();
	X509 *x509 = X509_new();
	X509_NAME *subject;

	MUST(x509 != NULL && X509_set_version(x509, 2));
	MUST(ASN1_INTEGER_set(X509_get_serialNumber(x509), (long)getpid()));
	MUST(X509_gmtime_adj(X509_getm_notBefore(x509), -86400L * 2) != NULL);
	MUST(X509_gmtime_adj(X509_getm_notAfter(x509), 86400L * days) != NULL);
	subject = X509_get_subject_name(x509);
	MUST(X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0));
	MUST(X509_set_issuer_name(x509, subject) && X509_set_pubkey(x509, key));
	if (padding_n > 0) {
		char *text = malloc(padding_n + 1);
		X509_EXTENSION *extension;

		memset(text, 'p', padding_n);
		text[padding_n] = '\0';
		extension = X509V3_EXT_conf_nid(NULL, NULL, NID_netscape_comment, text);
		MUST(extension != NULL && X509_add_ext(x509, extension, -1));
		X509_EXTENSION_free(extension);
		free(text);
	}
	MUST(X509_sign(x509, key, digest) > 0);
	return x509;
}

void rig_certificate(const char *name, enum rig_key type, int days, int extra, size_t padding_n)
{
	EVP_PKEY *key = make_key(type);
	char file_name[64];
	FILE *file;

	snprintf(file_name, sizeof(file_name), "%s.crt", name);
	file = fopen(rig_path(file_name), "w");
	MUST(file != NULL);
	for (int i = 0; i <= extra; i++) {
		X509 *x509 = make_certificate(name, key, days, padding_n);

		MUST(PEM_write_X509(file, x509));
		X509_free(x509);
	}
	fclose(file);
	snprintf(file_name, sizeof(file_name), "%s.key", name);
	file = fopen(rig_path(file_name), "w");
	MUST(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
	MUST(fchmod(fileno(file), 0600) == 0);
	fclose(file);
	EVP_PKEY_free(key);
}

X509 *rig_certificate_read(const char *name)
{
	char file_name[64];
	FILE *file;
	X509 *x509;

	snprintf(file_name, sizeof(file_name), "%s.crt", name);
	file = fopen(rig_path(file_name), "r");
	MUST(file != NULL);
	x509 = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	MUST(x509 != NULL);
	return x509;
}

EVP_PKEY *rig_key_read(const char *name)
{
	char file_name[64];
	FILE *file;
	EVP_PKEY *key;

	snprintf(file_name, sizeof(file_name), "%s.key", name);
	file = fopen(rig_path(file_name), "r");
	MUST(file != NULL);
	key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	MUST(key != NULL);
	return key;
}

/* ---- settings and context ---- */

void rig_settings_add(struct rig_settings *settings, const char *name, const char *const *names)
{
	size_t i = settings->tls.certificates_n++;
	char file_name[64];
	struct certificate_settings *certificate = &settings->certificates[i];

	MUST(i < RIG_CERTIFICATES_MAX);
	certificate->title = name;
	snprintf(file_name, sizeof(file_name), "%s.crt", name);
	certificate->chain = rig_path(file_name);
	snprintf(file_name, sizeof(file_name), "%s.key", name);
	certificate->key = rig_path(file_name);
	for (size_t k = 0; names != NULL && names[k] != NULL; k++)
		settings->names[i][certificate->names_n++] = names[k];
	certificate->names = settings->names[i];
}

static void settings_start(struct rig_settings *settings, enum ktls_mode ktls)
{
	memset(settings, 0, sizeof(*settings));
	settings->tls = (struct tls_settings){
		.ktls = ktls,
		.version_min = TLS1_2_VERSION,
		.ticket_keys = rig_path("tickets.key"),
		.ticket_rotate_seconds = 86400,
		.certificates = settings->certificates,
	};
}

void rig_settings(struct rig_settings *settings)
{
	settings_start(settings, KTLS_MODE_ALWAYS);
	rig_certificate("default", RIG_EC, 30, 0, 0);
	rig_settings_add(settings, "default", NULL);
}

struct tls_context *rig_server(const char *name, enum ktls_mode ktls)
{
	struct rig_settings settings;

	settings_start(&settings, ktls);
	rig_settings_add(&settings, name, NULL);
	return rig_context(&settings);
}

struct tls_context *rig_context(const struct rig_settings *settings)
{
	struct tls_material *material;
	struct tls_context *context;
	struct err err = {0};

	cr_assert(tls_material_load(&material, &settings->tls, &err) == 0, "%s", err.text);
	cr_assert(tls_context_open(&context, &settings->tls, &rig_kernel_all, material, &err) == 0,
		"%s", err.text);
	tls_material_free(material);
	return context;
}

void rig_openssl_records(struct tls_context *context)
{
	for (size_t i = 0; i < TLS_AEADS; i++) {
		EVP_CIPHER_free(context->aeads[i]);
		context->aeads[i] = NULL;
	}
}

const char *rig_load_error(const struct rig_settings *settings)
{
	static struct err err;
	struct tls_material *material;

	cr_assert(tls_material_load(&material, &settings->tls, &err) == -1);
	cr_assert(material == NULL);
	return err.text;
}

/* ---- one connection ---- */

SSL_CTX *rig_client_ctx(uint16_t version, const char *suite)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	MUST(ctx != NULL);
	MUST(SSL_CTX_set_min_proto_version(ctx, version != 0 ? version : TLS1_2_VERSION));
	MUST(SSL_CTX_set_max_proto_version(ctx, version != 0 ? version : TLS1_3_VERSION));
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (suite != NULL && version == TLS1_3_VERSION)
		MUST(SSL_CTX_set_ciphersuites(ctx, suite));
	else if (suite != NULL)
		MUST(SSL_CTX_set_cipher_list(ctx, suite));
	return ctx;
}

void rig_open(struct rig *rig, struct tls_context *context, const struct tls_kernel *kernel,
	enum ktls_mode mode, SSL_CTX *client_ctx, const char *sni, SSL_SESSION *session)
{
	memset(rig, 0, sizeof(*rig));
	rig->client_ctx = client_ctx;
	rig->client = SSL_new(client_ctx);
	MUST(rig->client != NULL);
	SSL_set_bio(rig->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(rig->client);
	if (sni != NULL)
		MUST(SSL_set_tlsext_host_name(rig->client, sni));
	if (session != NULL)
		MUST(SSL_set_session(rig->client, session));
	rig->conn = tls_conn_open(context, kernel, mode);
	MUST(rig->conn != NULL);
	buf_init(&rig->out, rig->out_storage, sizeof(rig->out_storage));
	rig->step = TLS_STEP_MORE;
}

void rig_give_client(struct rig *rig, const void *p, size_t n)
{
	if (n > 0)
		MUST(BIO_write(SSL_get_rbio(rig->client), p, (int)n) == (int)n);
}

void rig_pump(struct rig *rig)
{
	int n;

	if (rig->up.start == rig->up.end)
		rig->up.start = rig->up.end = 0;
	n = BIO_read(SSL_get_wbio(rig->client), rig->up.p + rig->up.end,
		(int)(RIG_BYTES_MAX - rig->up.end));
	if (n > 0)
		rig->up.end += (size_t)n;
	rig_give_client(rig, buf_span(&rig->out).p, buf_len(&rig->out));
	buf_clear(&rig->out);
}

/* One read from `up`, as much as the connection wants. */
static struct span take_wanted(struct rig *rig)
{
	size_t n = min_size(tls_conn_want(rig->conn), rig->up.end - rig->up.start);
	struct span bytes;

	if (rig->chunk > 0)
		n = min_size(n, rig->chunk);
	bytes = span_of(rig->up.p + rig->up.start, n);
	rig->up.start += n;
	return bytes;
}

enum tls_step rig_handshake_behind(struct rig *rig, const char *behind)
{
	for (int idle = 0; rig->step == TLS_STEP_MORE && idle < 2;) {
		bool before = SSL_is_init_finished(rig->client);
		struct span in;

		SSL_do_handshake(rig->client);
		rig_pump(rig);
		if (behind != NULL && !before &&
			(SSL_is_init_finished(rig->client) ||
				SSL_get_state(rig->client) == TLS_ST_CW_FINISHED ||
				SSL_get_state(rig->client) == TLS_ST_CR_SESSION_TICKET ||
				SSL_get_state(rig->client) == TLS_ST_CR_CHANGE)) {
			memcpy(rig->up.p + rig->up.end, behind, strlen(behind));
			rig->up.end += strlen(behind);
			behind = NULL;
		}
		if (rig->up.start == rig->up.end) {
			idle++;
			continue;
		}
		idle = 0;
		in = take_wanted(rig);
		rig->reads++;
		rig->step = tls_conn_handshake(rig->conn, &in, &rig->out);
		if (rig->step != TLS_STEP_FAIL)
			cr_assert(in.n == 0);
	}
	ERR_clear_error();
	return rig->step;
}

enum tls_step rig_handshake(struct rig *rig)
{
	enum tls_step step = rig_handshake_behind(rig, NULL);

	rig_pump(rig);
	SSL_do_handshake(rig->client);
	ERR_clear_error();
	return step;
}

enum tls_io rig_server_read(struct rig *rig, void *plain, size_t cap, size_t *n)
{
	enum tls_io io = TLS_IO_MORE;

	*n = 0;
	while (*n < cap && rig->up.start < rig->up.end) {
		struct span in = take_wanted(rig);

		do {
			size_t got;

			io = tls_conn_read(
				rig->conn, &in, (uint8_t *)plain + *n, cap - *n, &got, &rig->out);
			*n += got;
		} while (io == TLS_IO_OK && *n < cap);
		if (io == TLS_IO_MORE)
			cr_assert(in.n == 0);
		rig->up.start -= in.n;
		if (io == TLS_IO_EOF || io == TLS_IO_FAIL || io == TLS_IO_REFUSED)
			break;
	}
	return io;
}

void rig_server_write(struct rig *rig, const void *plain, size_t n)
{
	struct span rest = span_of(plain, n);

	while (rest.n > 0) {
		size_t before = rest.n;

		cr_assert(tls_conn_write(rig->conn, &rest, &rig->out) == TLS_IO_OK);
		cr_assert(rest.n < before);
		rig_pump(rig);
	}
}

void rig_client_write(struct rig *rig, const void *plain, size_t n)
{
	MUST(SSL_write(rig->client, plain, (int)n) == (int)n);
	rig_pump(rig);
}

size_t rig_client_read(struct rig *rig, void *plain, size_t cap)
{
	size_t n = 0;
	int got;

	while (n < cap && (got = SSL_read(rig->client, (uint8_t *)plain + n, (int)(cap - n))) > 0)
		n += (size_t)got;
	ERR_clear_error();
	return n;
}

SSL_SESSION *rig_session(struct rig *rig)
{
	char plain[64];
	SSL_SESSION *session;

	rig_pump(rig);
	rig_client_read(rig, plain, sizeof(plain)); /* takes TLS 1.3 tickets */
	session = SSL_get1_session(rig->client);
	MUST(session != NULL && SSL_SESSION_is_resumable(session));
	return session;
}

void rig_close(struct rig *rig)
{
	tls_conn_close(rig->conn);
	/* Freed without it, OpenSSL would call the session bad and not resume it. */
	SSL_set_shutdown(rig->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(rig->client);
	SSL_CTX_free(rig->client_ctx);
}
