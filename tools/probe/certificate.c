/* SPDX-License-Identifier: MIT */
/*
 * certificate.c -- a chain that a peer showed: read, verified against CAs, matched with a name.
 *
 * Job: what senders look at. Names are those of the subjectAltName extension only (RFC 8461 4.1, RFC
 * 6125 6.4.4): a name that stands in the subject alone is told apart, for some old clients take it.
 * Verification is for a TLS server, now, at the security level that Debian's clients have, so that
 * small keys and old digests fail as they do there.
 * Non-goals: revocation (senders of mail do not ask).
 * Invariants: all text is cleaned; a chain is read up to PROBE_CHAIN_MAX certificates, a certificate
 * up to PROBE_NAMES_MAX names.
 */
#include "tools/probe/probe-private.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define CLIENT_LEVEL 2 /* of Debian's OpenSSL: 112 bits, no SHA-1 */
#define SERIAL_SHOWN 20

/* ---- reading ---- */

static void name_text(char out[PROBE_TEXT_MAX], const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *octets = NULL;
	long n = 0;

	if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_get_mem_data(bio, &octets);
	probe_clean(out, PROBE_TEXT_MAX, span_of(octets, n > 0 ? (size_t)n : 0));
	BIO_free(bio);
}

static time_t time_of(const ASN1_TIME *when)
{
	struct tm tm;

	return ASN1_TIME_to_tm(when, &tm) == 1 ? timegm(&tm) : 0;
}

static void serial_text(char *out, size_t n, const X509 *x509)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
	int octets = ASN1_STRING_length(serial);
	size_t at = 0;

	out[0] = '\0';
	for (int i = 0; i < octets && i < SERIAL_SHOWN && at + 3 < n; i++, at += 2)
		snprintf(out + at, n - at, "%02x", ASN1_STRING_get0_data(serial)[i]);
}

static void key_text(struct probe_certificate *certificate, X509 *x509)
{
	EVP_PKEY *key = X509_get0_pubkey(x509);
	char group[32] = "";
	const char *type = key != NULL ? EVP_PKEY_get0_type_name(key) : NULL;

	certificate->key_strength = key != NULL ? EVP_PKEY_get_security_bits(key) : 0;
	if (type == NULL)
		snprintf(certificate->key, sizeof(certificate->key), "unknown");
	else if (EVP_PKEY_is_a(key, "EC") &&
		 EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1)
		snprintf(certificate->key, sizeof(certificate->key), "EC %s",
			strcmp(group, "prime256v1") == 0  ? "P-256"
			: strcmp(group, "secp384r1") == 0 ? "P-384"
							  : group);
	else
		snprintf(certificate->key, sizeof(certificate->key), "%s %d", type,
			EVP_PKEY_get_bits(key));
}

static void signature_text(struct probe_certificate *certificate, const X509 *x509)
{
	int nid = X509_get_signature_nid(x509), digest = NID_undef;
	const char *name = OBJ_nid2sn(nid);

	snprintf(certificate->signature, sizeof(certificate->signature), "%s",
		name != NULL ? name : "unknown");
	if (OBJ_find_sigid_algs(nid, &digest, NULL) == 1)
		certificate->weak_digest = digest == NID_md5 || digest == NID_sha1;
}

static void name_keep(struct probe_certificate *certificate, struct span name)
{
	if (certificate->names_n == PROBE_NAMES_MAX)
		certificate->names_more_n++;
	else
		probe_clean(certificate->names[certificate->names_n++], PROBE_NAME_MAX, name);
}

static void names_read(struct probe_certificate *certificate, const X509 *x509)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int type;
		const ASN1_STRING *value =
			GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
		struct span octets;
		char text[INET6_ADDRSTRLEN];

		if (type != GEN_DNS && type != GEN_IPADD)
			continue;
		octets = span_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
		if (type == GEN_DNS)
			name_keep(certificate, octets);
		else if ((octets.n == sizeof(struct in_addr) ||
				 octets.n == sizeof(struct in6_addr)) &&
			 inet_ntop(octets.n == sizeof(struct in_addr) ? AF_INET : AF_INET6,
				 octets.p, text, sizeof(text)) != NULL)
			name_keep(certificate, span_str(text));
	}
	GENERAL_NAMES_free(names);
}

static struct span digest_of(struct span octets, const EVP_MD *type, uint8_t out[64])
{
	unsigned n = 0;

	if (EVP_Digest(octets.p, octets.n, out, &n, type, NULL) != 1)
		n = 0;
	return span_of(out, n);
}

/* What TLSA records are compared with. */
static void octets_read(struct probe_certificate *certificate, X509 *x509)
{
	struct sts_certificate *sts = &certificate->sts;
	int n = i2d_X509(x509, &certificate->der_octets);

	if (n > 0)
		sts->der = span_of(certificate->der_octets, (size_t)n);
	n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &certificate->spki_octets);
	if (n > 0)
		sts->spki = span_of(certificate->spki_octets, (size_t)n);
	sts->der_sha256 = digest_of(sts->der, EVP_sha256(), certificate->digests[0]);
	sts->der_sha512 = digest_of(sts->der, EVP_sha512(), certificate->digests[1]);
	sts->spki_sha256 = digest_of(sts->spki, EVP_sha256(), certificate->digests[2]);
	sts->spki_sha512 = digest_of(sts->spki, EVP_sha512(), certificate->digests[3]);
}

static void certificate_read(struct probe_certificate *certificate, X509 *x509)
{
	name_text(certificate->subject, X509_get_subject_name(x509));
	name_text(certificate->issuer, X509_get_issuer_name(x509));
	serial_text(certificate->serial, sizeof(certificate->serial), x509);
	key_text(certificate, x509);
	signature_text(certificate, x509);
	certificate->not_before = time_of(X509_get0_notBefore(x509));
	certificate->not_after = time_of(X509_get0_notAfter(x509));
	names_read(certificate, x509);
	octets_read(certificate, x509);
	ERR_clear_error();
}

/* ---- names ---- */

/* With CN: the subject's name counts where there is no other (RFC 7672 3.2.3). */
static bool has_name(X509 *x509, const char *name, bool with_cn)
{
	unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
	uint8_t numeric[sizeof(struct in6_addr)];

	if (!with_cn)
		flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
	if (inet_pton(AF_INET, name, numeric) == 1 || inet_pton(AF_INET6, name, numeric) == 1)
		return X509_check_ip_asc(x509, name, 0) == 1;
	return X509_check_host(x509, name, strlen(name), flags, NULL) == 1;
}

/* ---- verifying ---- */

static X509_STORE *store_open(const struct probe_settings *settings, struct err *err)
{
	X509_STORE *store = X509_STORE_new();

	if (store == NULL) {
		err_set(err, "out of memory");
		return NULL;
	}
	if (settings->ca_file == NULL) {
		if (X509_STORE_set_default_paths(store) == 1)
			return store;
		err_set(err, "the system's CA certificates cannot be read");
	} else {
		if (X509_STORE_load_file(store, settings->ca_file) == 1)
			return store;
		err_set(err, "%s: no CA certificates can be read from it", settings->ca_file);
	}
	X509_STORE_free(store);
	ERR_clear_error();
	return NULL;
}

/* Verifies the chain's own certificate. Returns X509_V_...; *depth is what it is about; the chain
 * that was built goes to *built, unless NULL. */
static int verify(const struct probe_chain *chain, X509_STORE *store, bool partial, int level,
	size_t *depth, STACK_OF(X509) * *built)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int error = X509_V_ERR_OUT_OF_MEM;

	*depth = 0;
	if (ctx != NULL && X509_STORE_CTX_init(
				   ctx, store, sk_X509_value(chain->x509s, 0), chain->x509s) == 1) {
		X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

		X509_VERIFY_PARAM_set_auth_level(param, level);
		if (partial)
			X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
		X509_STORE_CTX_set_default(ctx, "ssl_server");
		(void)!X509_verify_cert(ctx);
		error = X509_STORE_CTX_get_error(ctx);
		*depth = (size_t)X509_STORE_CTX_get_error_depth(ctx);
		if (built != NULL)
			*built = X509_STORE_CTX_get1_chain(ctx);
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return error;
}

static void verify_with_cas(struct probe_chain *chain, X509_STORE *store)
{
	STACK_OF(X509) *built = NULL;

	chain->verify_error =
		verify(chain, store, false, CLIENT_LEVEL, &chain->verify_depth, &built);
	probe_clean(chain->verify_text, sizeof(chain->verify_text),
		span_str(X509_verify_cert_error_string(chain->verify_error)));
	if (chain->verify_error == X509_V_OK && sk_X509_num(built) > 0)
		name_text(chain->anchor,
			X509_get_subject_name(sk_X509_value(built, sk_X509_num(built) - 1)));
	sk_X509_pop_free(built, X509_free);
}

int probe_chain_take(struct probe_chain *chain, STACK_OF(X509) * x509s,
	const struct probe_settings *settings, const char *name, struct err *err)
{
	X509_STORE *store = store_open(settings, err);
	size_t all = x509s != NULL ? (size_t)sk_X509_num(x509s) : 0;

	memset(chain, 0, sizeof(*chain));
	chain->x509s = x509s;
	chain->verify_error = X509_V_ERR_UNSPECIFIED;
	if (store == NULL)
		return -1;
	chain->n = min_size(all, PROBE_CHAIN_MAX);
	chain->more_n = all - chain->n;
	chain->certificates = calloc(chain->n + 1, sizeof(*chain->certificates));
	if (chain->certificates == NULL)
		chain->n = 0;
	for (size_t i = 0; i < chain->n; i++)
		certificate_read(&chain->certificates[i], sk_X509_value(x509s, (int)i));
	if (chain->n > 0) {
		X509 *own = sk_X509_value(x509s, 0);

		verify_with_cas(chain, store);
		chain->match = has_name(own, name, false)  ? PROBE_NAME_MATCHES
			       : has_name(own, name, true) ? PROBE_NAME_IN_CN
							   : PROBE_NAME_OTHER;
	}
	X509_STORE_free(store);
	ERR_clear_error();
	return 0;
}

int probe_chain_read(struct probe_chain *chain, SSL *ssl, const struct probe_settings *settings,
	const char *name, struct err *err)
{
	STACK_OF(X509) *shown = SSL_get_peer_cert_chain(ssl);
	STACK_OF(X509) *kept = shown != NULL ? X509_chain_up_ref(shown) : NULL;

	return probe_chain_take(chain, kept, settings, name, err);
}

void probe_chain_free(struct probe_chain *chain)
{
	for (size_t i = 0; i < chain->n; i++) {
		OPENSSL_free(chain->certificates[i].der_octets);
		OPENSSL_free(chain->certificates[i].spki_octets);
	}
	free(chain->certificates);
	sk_X509_pop_free(chain->x509s, X509_free);
	memset(chain, 0, sizeof(*chain));
}

/* ---- anchors that DNS names (RFC 7672 3.1.2) ---- */

static const char *anchored(
	const struct probe_chain *chain, X509 *anchor, const char *const *names, size_t names_n)
{
	X509_STORE *store = X509_STORE_new();
	int error = X509_V_ERR_OUT_OF_MEM;
	size_t depth;

	if (store != NULL && X509_STORE_add_cert(store, anchor) == 1)
		error = verify(chain, store, true, 1, &depth, NULL);
	X509_STORE_free(store);
	if (error != X509_V_OK)
		return X509_verify_cert_error_string(error);
	for (size_t i = 0; i < names_n; i++)
		if (has_name(sk_X509_value(chain->x509s, 0), names[i], true))
			return NULL;
	return "the certificate is for other names";
}

const char *probe_chain_anchored(
	const struct probe_chain *chain, size_t depth, const char *const *names, size_t names_n)
{
	ASSERT(depth < chain->n);
	return anchored(chain, sk_X509_value(chain->x509s, (int)depth), names, names_n);
}

const char *probe_chain_anchored_by(const struct probe_chain *chain, struct span der, bool is_key,
	const char *const *names, size_t names_n)
{
	const uint8_t *p = der.p;
	const char *why = "nothing in the chain is signed by it";

	if (!is_key) {
		X509 *anchor = d2i_X509(NULL, &p, (long)der.n);

		if (anchor != NULL)
			why = anchored(chain, anchor, names, names_n);
		X509_free(anchor);
	} else {
		EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)der.n);

		for (size_t i = 0; key != NULL && why != NULL && i < chain->n; i++)
			if (X509_verify(sk_X509_value(chain->x509s, (int)i), key) == 1)
				why = probe_chain_anchored(chain, i, names, names_n);
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	return why;
}
