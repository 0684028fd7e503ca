/* SPDX-License-Identifier: MIT */
/*
 * verify.c -- material as a client sees it that verifies: chain, dates, name.
 *
 * For checks before material is put to use, by the process that reads files: the system's CAs are
 * looked up in its folder of them. Which certificates a name brings is context.c's rule: the name
 * itself, else the wildcard above it, else those without names.
 *
 * Names are compared as RFC 8461 4.1 and RFC 8314 have it: DNS names of subjectAltName only, a
 * wildcard for the whole of the leftmost label.
 */
#include "tls/tls-private.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

struct tls_trust {
	X509_STORE *store;
};

int tls_trust_open(struct tls_trust **out, const char *ca_file, struct err *err)
{
	struct tls_trust *trust = calloc(1, sizeof(*trust));

	*out = NULL;
	if (trust != NULL)
		trust->store = X509_STORE_new();
	if (trust == NULL || trust->store == NULL) {
		tls_trust_close(trust);
		return err_set(err, "out of memory");
	}
	/* Where the system has none, nothing verifies, and that is said then. */
	(void)X509_STORE_set_default_paths(trust->store);
	ERR_clear_error();
	if (ca_file != NULL && X509_STORE_load_file(trust->store, ca_file) != 1) {
		tls_trust_close(trust);
		return err_set(err, "%s: %s", ca_file, tls_openssl_why());
	}
	*out = trust;
	return 0;
}

void tls_trust_close(struct tls_trust *trust)
{
	if (trust == NULL)
		return;
	X509_STORE_free(trust->store);
	free(trust);
}

/* ---- which certificates ---- */

static bool has_name(const struct tls_certificate *certificate, const char *name)
{
	for (size_t i = 0; i < certificate->names_n; i++)
		if (strcmp(certificate->names[i], name) == 0)
			return true;
	return false;
}

static bool any_has_name(const struct tls_material *material, const char *name)
{
	for (size_t i = 0; i < material->certificates_n; i++)
		if (has_name(&material->certificates[i], name))
			return true;
	return false;
}

bool tls_material_serves(const struct tls_material *material, size_t i, const char *sni)
{
	const struct tls_certificate *certificate = &material->certificates[i];
	const char *dot = strchr(sni, '.');
	char wildcard[TLS_NAME_MAX + 2] = "";

	ASSERT(i < material->certificates_n);
	if (sni[0] != '\0' && any_has_name(material, sni))
		return has_name(certificate, sni);
	if (dot != NULL && dot != sni && strlen(dot) <= TLS_NAME_MAX)
		snprintf(wildcard, sizeof(wildcard), "*%s", dot);
	if (wildcard[0] != '\0' && any_has_name(material, wildcard))
		return has_name(certificate, wildcard);
	return certificate->names_n == 0;
}

/* ---- one of them ---- */

static bool parameters_set(X509_STORE_CTX *ctx, const char *name)
{
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

	/* What stands in a CA file is trusted, an intermediate certificate too. */
	X509_VERIFY_PARAM_set_hostflags(
		param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
	       X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
	       X509_STORE_CTX_set_default(ctx, "ssl_server") == 1;
}

/* Whoever signs with a key type that is not known here is refused with the chain. */
static const char *fault_of(
	const struct tls_certificate *certificate, struct tls_trust *trust, const char *name)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *rest = sk_X509_new_null();
	X509 *leaf = tls_blob_x509(&certificate->chain[0]);
	const char *fault = "out of memory";
	bool good = ctx != NULL && rest != NULL && leaf != NULL;

	for (size_t i = 1; good && i < certificate->chain_n; i++) {
		X509 *x509 = tls_blob_x509(&certificate->chain[i]);

		good = x509 != NULL && sk_X509_push(rest, x509) > 0;
		if (!good)
			X509_free(x509);
	}
	if (good && X509_STORE_CTX_init(ctx, trust->store, leaf, rest) == 1 &&
		parameters_set(ctx, name))
		fault = X509_verify_cert(ctx) == 1
				? NULL
				: X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
	X509_STORE_CTX_free(ctx);
	sk_X509_pop_free(rest, X509_free);
	X509_free(leaf);
	ERR_clear_error();
	return fault;
}

int tls_material_verify(const struct tls_material *material, struct tls_trust *trust,
	const char *sni, const char *name, struct err *err)
{
	bool any = false;

	for (size_t i = 0; i < material->certificates_n; i++) {
		const struct tls_certificate *certificate = &material->certificates[i];
		const char *fault;

		if (!tls_material_serves(material, i, sni))
			continue;
		any = true;
		fault = fault_of(certificate, trust, name);
		if (fault != NULL)
			return err_set(err, "certificate \"%s\" is not valid for %s: %s",
				certificate->title, name, fault);
	}
	return any ? 0 : err_set(err, "no certificate is served for %s", name);
}
