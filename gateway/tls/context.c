/* SPDX-License-Identifier: MIT */
/*
 * context.c -- SSL_CTX objects out of material: one for each set of certificates that serve the
 * same name, and the table that the SNI is looked up in.
 *
 * A set holds at most one certificate of each key type; OpenSSL takes the one whose type suits the
 * client. The set is chosen in the client hello callback, before tickets are looked at: with the
 * set comes its session id context, a digest of the leaf certificates and of the policy, and
 * OpenSSL resumes only a session that was made under the same one. So a ticket crosses neither to
 * another certificate nor to another policy, on whichever machine it was sealed.
 *
 * All sets are configured alike but for certificates, because SSL_set_SSL_CTX() does not carry
 * options over. Everything is read-only after tls_context_open() and may be used by all threads.
 *
 * Rejected: the servername callback for the choice (it runs after the ticket has been opened); a
 * session cache (tickets do, and nothing is shared between workers); ticket application data for
 * the binding (the session id context already says it, and is compared by OpenSSL itself).
 */
#include "tls/library.h"
#include "tls/schedule.h"
#include "tls/tls-private.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/x509.h>

#define KEY_TYPES     5
#define GROUPS        "X25519:P-256:P-384"
#define TICKET_LIFE_S 604800 /* RFC 8446 4.6.1: at most a week */

static const int key_types[KEY_TYPES] = {
	EVP_PKEY_EC, EVP_PKEY_RSA, EVP_PKEY_RSA_PSS, EVP_PKEY_ED25519, EVP_PKEY_ED448};

/* A certificate as objects, while sets are built. */
struct parsed {
	X509 *leaf;
	STACK_OF(X509) * rest;
	EVP_PKEY *key;
	int slot;
};

/* Which certificate (index, -1: none) of each key type serves a name. */
struct set {
	int of[KEY_TYPES];
	SSL_CTX *ctx;
};

struct build {
	struct tls_context *context;
	const struct tls_settings *settings;
	const struct tls_material *material;
	struct parsed *parsed;
	struct set *sets; /* [0]: default; then one a name, duplicates share a ctx */
	size_t sets_n;
	struct err *err;
};

static int parse_certificate(struct build *build, size_t i)
{
	const struct tls_certificate *certificate = &build->material->certificates[i];
	struct parsed *parsed = &build->parsed[i];
	const unsigned char *p = certificate->key.p;

	parsed->leaf = tls_blob_x509(&certificate->chain[0]);
	parsed->rest = sk_X509_new_null();
	parsed->key = d2i_AutoPrivateKey(NULL, &p, (long)certificate->key.n);
	if (parsed->leaf == NULL || parsed->rest == NULL || parsed->key == NULL)
		return err_set(build->err, "certificate \"%s\": %s", certificate->title,
			tls_openssl_why());
	for (size_t k = 1; k < certificate->chain_n; k++) {
		X509 *x509 = tls_blob_x509(&certificate->chain[k]);

		if (x509 == NULL || sk_X509_push(parsed->rest, x509) == 0) {
			X509_free(x509);
			return err_set(build->err, "certificate \"%s\": %s", certificate->title,
				tls_openssl_why());
		}
	}
	for (int slot = 0; slot < KEY_TYPES; slot++)
		if (EVP_PKEY_get_base_id(parsed->key) == key_types[slot]) {
			parsed->slot = slot;
			return 0;
		}
	return err_set(build->err,
		"certificate \"%s\": keys of this type are not served; use "
		"ECDSA, Ed25519 or RSA",
		certificate->title);
}

static void free_parsed(struct build *build)
{
	for (size_t i = 0; build->parsed != NULL && i < build->material->certificates_n; i++) {
		X509_free(build->parsed[i].leaf);
		sk_X509_pop_free(build->parsed[i].rest, X509_free);
		EVP_PKEY_free(build->parsed[i].key);
	}
	free(build->parsed);
	free(build->sets);
}

/* ---- one set ---- */

int tls_context_protocol(SSL_CTX *ctx, uint16_t version_min)
{
	char list12[TLS_SUITE_LIST_MAX];
	char list13[TLS_SUITE_LIST_MAX];

	tls_suite_list(false, list12);
	tls_suite_list(true, list13);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_KTLS | SSL_OP_ALLOW_NO_DHE_KEX);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_read_ahead(ctx, 0);
	SSL_CTX_set_quiet_shutdown(ctx, 0);
	return SSL_CTX_set_min_proto_version(ctx, version_min) == 1 &&
			       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_cipher_list(ctx, list12) == 1 &&
			       SSL_CTX_set_ciphersuites(ctx, list13) == 1 &&
			       SSL_CTX_set1_groups_list(ctx, GROUPS) == 1
		       ? 0
		       : -1;
}

static int configure_server(SSL_CTX *ctx, const struct tls_settings *settings)
{
	if (tls_context_protocol(ctx, settings->version_min) != 0)
		return -1;
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_max_cert_list(ctx, TLS_CLIENT_LIST_MAX);
	if (settings->client_certificate_request)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, tls_conn_client_certificate, NULL);
	SSL_CTX_set_client_hello_cb(ctx, tls_conn_client_hello, NULL);
	SSL_CTX_set_tlsext_servername_callback(ctx, tls_conn_servername);
	return 0;
}

static int configure_tickets(
	SSL_CTX *ctx, const struct tls_context *context, const struct tls_settings *settings)
{
	uint32_t life = settings->ticket_rotate_seconds;

	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(ctx, life > 0 && life < TICKET_LIFE_S ? (long)life : TICKET_LIFE_S);
	if (context->tickets.n == 0) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		return SSL_CTX_set_num_tickets(ctx, 0) == 1 ? 0 : -1;
	}
	return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_ticket_callback) == 1 &&
			       SSL_CTX_set_num_tickets(ctx, TLS_TICKETS_SENT) == 1 &&
			       SSL_CTX_set_max_early_data(ctx, 0) == 1
		       ? 0
		       : -1;
}

/* The digest that a session must have been made under to be resumed. */
static int bind_sessions(SSL_CTX *ctx, const struct build *build, const struct set *set)
{
	const uint8_t policy[] = {'p', 'o', 's', 't', 'e', 'r', 'n', 1,
		(uint8_t)(build->settings->version_min >> 8), (uint8_t)build->settings->version_min,
		build->settings->client_certificate_request};
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	uint8_t leaf[EVP_MAX_MD_SIZE];
	uint8_t id[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	bool good = digest != NULL && EVP_DigestInit_ex2(digest, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(digest, policy, sizeof(policy)) == 1;

	for (int slot = 0; good && slot < KEY_TYPES; slot++) {
		if (set->of[slot] < 0)
			continue;
		good = X509_digest(build->parsed[set->of[slot]].leaf, EVP_sha256(), leaf, &n) ==
			       1 &&
		       EVP_DigestUpdate(digest, leaf, n) == 1;
	}
	good = good && EVP_DigestFinal_ex(digest, id, &n) == 1 &&
	       SSL_CTX_set_session_id_context(ctx, id, min_size(n, SSL_MAX_SID_CTX_LENGTH)) == 1;
	EVP_MD_CTX_free(digest);
	return good ? 0 : -1;
}

static int fill_set(SSL_CTX *ctx, const struct build *build, const struct set *set)
{
	for (int slot = 0; slot < KEY_TYPES; slot++) {
		const struct parsed *parsed;

		if (set->of[slot] < 0)
			continue;
		parsed = &build->parsed[set->of[slot]];
		if (SSL_CTX_use_cert_and_key(ctx, parsed->leaf, parsed->key, parsed->rest, 1) != 1)
			return err_set(build->err, "certificate \"%s\": %s",
				build->material->certificates[set->of[slot]].title,
				tls_openssl_why());
	}
	if (configure_server(ctx, build->settings) != 0 ||
		configure_tickets(ctx, build->context, build->settings) != 0 ||
		bind_sessions(ctx, build, set) != 0)
		return err_set(
			build->err, "OpenSSL refuses the TLS settings: %s", tls_openssl_why());
	return 0;
}

static int open_set(struct build *build, struct set *set)
{
	struct tls_context *context = build->context;
	SSL_CTX *ctx = tls_context_set_new(context, TLS_server_method(), build->err);

	if (ctx == NULL)
		return -1;
	context->sets[context->sets_n++] = ctx;
	set->ctx = ctx;
	return fill_set(ctx, build, set);
}

/* ---- names ---- */

static int add_to_set(struct build *build, struct set *set, size_t certificate, const char *name)
{
	const struct tls_certificate *certificates = build->material->certificates;
	int slot = build->parsed[certificate].slot;

	if (set->of[slot] >= 0)
		return err_set(build->err,
			"certificates \"%s\" and \"%s\" have the same key type and both serve %s",
			certificates[set->of[slot]].title, certificates[certificate].title, name);
	set->of[slot] = (int)certificate;
	return 0;
}

static struct set *set_of_name(struct build *build, const char *name)
{
	struct tls_context *context = build->context;

	for (size_t i = 0; i < context->names_n; i++)
		if (strcmp(context->names[i].name, name) == 0)
			return &build->sets[1 + i];
	context->names[context->names_n].name = strdup(name);
	if (context->names[context->names_n].name == NULL)
		return NULL;
	context->names_n++;
	return &build->sets[build->sets_n++];
}

static int add_certificate(struct build *build, size_t i)
{
	const struct tls_certificate *certificate = &build->material->certificates[i];

	if (certificate->names_n == 0)
		return add_to_set(build, &build->sets[0], i, "clients without a known name");
	for (size_t k = 0; k < certificate->names_n; k++) {
		const char *name = certificate->names[k];
		size_t n = strlen(name);
		struct set *set;

		if (n == 0 || n > TLS_NAME_MAX)
			return err_set(build->err, "certificate \"%s\": bad name \"%s\"",
				certificate->title, name);
		set = set_of_name(build, name);
		if (set == NULL)
			return err_set(build->err, "out of memory");
		if (add_to_set(build, set, i, name) != 0)
			return -1;
	}
	return 0;
}

/* Opens a ctx for each different set and points the names at them. */
static int open_sets(struct build *build)
{
	for (size_t i = 0; i < build->sets_n; i++) {
		struct set *set = &build->sets[i];

		for (size_t k = 0; k < i && set->ctx == NULL; k++)
			if (memcmp(set->of, build->sets[k].of, sizeof(set->of)) == 0)
				set->ctx = build->sets[k].ctx;
		if (set->ctx == NULL && open_set(build, set) != 0)
			return -1;
		if (i > 0)
			build->context->names[i - 1].set = set->ctx;
	}
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct tls_context_name *left = a;
	const struct tls_context_name *right = b;

	return strcmp(left->name, right->name);
}

static int allocate(struct build *build)
{
	struct tls_context *context = build->context;
	size_t names_n = 0;

	for (size_t i = 0; i < build->material->certificates_n; i++)
		names_n += build->material->certificates[i].names_n;
	build->parsed = calloc(build->material->certificates_n + 1, sizeof(build->parsed[0]));
	build->sets = calloc(names_n + 1, sizeof(build->sets[0]));
	context->sets = calloc(names_n + 1, sizeof(context->sets[0]));
	context->names = calloc(names_n + 1, sizeof(context->names[0]));
	if (build->parsed == NULL || build->sets == NULL || context->sets == NULL ||
		context->names == NULL)
		return err_set(build->err, "out of memory");
	for (size_t i = 0; i < names_n + 1; i++)
		for (int slot = 0; slot < KEY_TYPES; slot++)
			build->sets[i].of[slot] = -1;
	build->sets_n = 1;
	return 0;
}

static int build_all(struct build *build)
{
	bool has_default = false;

	if (allocate(build) != 0)
		return -1;
	for (size_t i = 0; i < build->material->certificates_n; i++) {
		if (parse_certificate(build, i) != 0 || add_certificate(build, i) != 0)
			return -1;
		has_default = has_default || build->material->certificates[i].names_n == 0;
	}
	if (!has_default)
		return err_set(build->err, "no default certificate: one certificate section must "
					   "have no names");
	if (open_sets(build) != 0)
		return -1;
	qsort(build->context->names, build->context->names_n, sizeof(build->context->names[0]),
		compare_names);
	return 0;
}

static void context_free(struct tls_context *context)
{
	for (size_t i = 0; i < context->sets_n; i++)
		SSL_CTX_free(context->sets[i]);
	for (size_t i = 0; i < context->names_n; i++)
		free(context->names[i].name);
	free(context->sets);
	free(context->names);
	EVP_CIPHER_free(context->ticket_cipher);
	for (size_t i = 0; i < TLS_AEADS; i++)
		EVP_CIPHER_free(context->aeads[i]);
	EVP_KDF_free(context->hkdf);
	EVP_KDF_free(context->prf);
	BIO_meth_free(context->bio);
	wipe(context, sizeof(*context));
	free(context);
}

static void fetch_aeads(struct tls_context *context)
{
	static const char *const names[TLS_AEADS] = {
		[TLS_AEAD_AES_128_GCM] = "AES-128-GCM",
		[TLS_AEAD_AES_256_GCM] = "AES-256-GCM",
		[TLS_AEAD_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
	};

	for (size_t i = 0; i < TLS_AEADS; i++)
		context->aeads[i] = EVP_CIPHER_fetch(NULL, names[i], NULL);
	ERR_clear_error();
}

struct tls_context *tls_context_new(
	const struct tls_kernel *kernel, enum ktls_mode mode, struct err *err)
{
	struct tls_context *context = calloc(1, sizeof(*context));

	if (context == NULL) {
		err_set(err, "out of memory");
		return NULL;
	}
	(void)tls_library(); /* now, not when a reload is the first to have a server */
	holders_init(&context->holders);
	atomic_init(&context->ktls_absent, false);
	context->kernel = mode != KTLS_MODE_OFF && kernel != NULL && (kernel->tx || kernel->rx);
	context->heard = tls_witness_open() == 0;
	fetch_aeads(context);
	context->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	context->hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	context->prf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	context->bio = tls_conn_bio_new();
	if (context->ticket_cipher != NULL && context->hkdf != NULL && context->prf != NULL &&
		context->bio != NULL && (context->heard || !context->kernel))
		return context;
	err_set(err, "OpenSSL lacks an algorithm: %s", tls_openssl_why());
	context_free(context);
	return NULL;
}

SSL_CTX *tls_context_set_new(
	const struct tls_context *context, const SSL_METHOD *method, struct err *err)
{
	OSSL_LIB_CTX *library = method == TLS_server_method() ? tls_library() : NULL;
	SSL_CTX *ctx =
		SSL_CTX_new_ex(library, context->heard ? TLS_SCHEDULE_PROPERTIES : NULL, method);

	if (ctx == NULL)
		err_set(err, "OpenSSL: %s", tls_openssl_why());
	return ctx;
}

int tls_context_open(struct tls_context **out, const struct tls_settings *settings,
	const struct tls_kernel *kernel, const struct tls_material *material, struct err *err)
{
	struct build build = {.settings = settings, .material = material, .err = err};
	int result;

	*out = NULL;
	ERR_clear_error();
	build.context = tls_context_new(kernel, settings->ktls, err);
	if (build.context == NULL)
		return -1;
	build.context->tickets = material->tickets;
	result = build_all(&build);
	ERR_clear_error();
	free_parsed(&build);
	if (result != 0)
		context_free(build.context);
	else
		*out = build.context;
	return result;
}

struct tls_context *tls_context_hold(struct tls_context *context)
{
	holders_add(&context->holders);
	return context;
}

void tls_context_release(struct tls_context *context)
{
	if (context != NULL && holders_drop(&context->holders))
		context_free(context);
}

static SSL_CTX *find_exact(const struct tls_context *context, const char *name)
{
	struct tls_context_name wanted = {.name = (char *)(uintptr_t)name};
	const struct tls_context_name *found;

	found = bsearch(&wanted, context->names, context->names_n, sizeof(wanted), compare_names);
	return found != NULL ? found->set : NULL;
}

SSL_CTX *tls_context_find(const struct tls_context *context, const char *name)
{
	char wildcard[TLS_NAME_MAX + 2] = "*";
	SSL_CTX *found = find_exact(context, name);
	const char *dot = strchr(name, '.');

	if (found != NULL || dot == NULL || dot == name || strlen(dot) > TLS_NAME_MAX)
		return found;
	memcpy(wildcard + 1, dot, strlen(dot) + 1);
	return find_exact(context, wildcard);
}
