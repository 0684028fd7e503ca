/* SPDX-License-Identifier: MIT */
/*
 * material.c -- reads certificates, keys and ticket keys from files, and checks them.
 *
 * Done by the privileged parent alone. What comes out is plain bytes in DER form, so that it can
 * be sent to the worker process (material_pack.c); a context is built from it there, and once here
 * for the sake of the checks that only building one makes. Everything that can be wrong with a
 * file is said at the start or the reload, never at the first handshake.
 *
 * Not checked here: whether the chain leads to a root that clients trust, and whether it names the
 * host (verify.c, for whoever publishes a policy). Senders to an MX mostly do not look, and a private
 * PKI is none of our business.
 */
#include "tls/tls-private.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/event.h"

#define PEM_FILE_MAX 262144

const char *tls_openssl_why(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return text != NULL ? text : "OpenSSL gives no reason";
}

void tls_blob_free(struct tls_blob *blob)
{
	if (blob->p != NULL)
		wipe(blob->p, blob->n);
	free(blob->p);
	*blob = (struct tls_blob){0};
}

static int read_all(int fd, uint8_t *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t more = read(fd, p + got, n - got);

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return -errno;
		if (more == 0)
			return -EAGAIN; /* it shrinks under our hands */
		got += (size_t)more;
	}
	return 0;
}

int tls_file_read(
	struct tls_blob *blob, const char *path, struct stat *st, size_t n_max, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int result = 0;

	*blob = (struct tls_blob){0};
	if (fd < 0 || fstat(fd, st) != 0) {
		result = err_set(err, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st->st_mode)) {
		result = err_set(err, "%s: not a regular file", path);
	} else if (st->st_size <= 0 || (size_t)st->st_size > n_max) {
		result = err_set(err, "%s: %s", path, st->st_size <= 0 ? "empty" : "too large");
	} else {
		blob->n = (size_t)st->st_size;
		blob->p = malloc(blob->n);
		result = blob->p != NULL ? read_all(fd, blob->p, blob->n) : -ENOMEM;
		if (result != 0)
			result = err_set(err, "%s: %s", path, strerror(-result));
	}
	if (fd >= 0)
		close(fd);
	if (result != 0)
		tls_blob_free(blob);
	return result;
}

static int no_password(char *text, int size, int writing, void *asked)
{
	(void)text;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static int blob_take(struct tls_blob *blob, unsigned char *der, int n)
{
	if (n <= 0)
		return -1;
	blob->p = malloc((size_t)n);
	if (blob->p != NULL) {
		blob->n = (size_t)n;
		memcpy(blob->p, der, blob->n);
	}
	OPENSSL_clear_free(der, (size_t)n);
	return blob->p != NULL ? 0 : -1;
}

/* Dates are the operator's affair: a server with an expired certificate still beats none. */
static void check_dates(const X509 *leaf, const char *path)
{
	if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
		event_text(EVENT_NO_COUNT, "certificate_expired", "file", path);
	if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
		event_text(EVENT_NO_COUNT, "certificate_not_yet_valid", "file", path);
}

static int add_to_chain(struct tls_blob *chain, size_t *chain_n, X509 *x509, const char *path,
	size_t *octets, struct err *err)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x509, &der);

	if (*chain_n == TLS_CHAIN_MAX) {
		OPENSSL_free(der);
		return err_set(
			err, "%s: more than %d certificates in the chain", path, TLS_CHAIN_MAX);
	}
	if (blob_take(&chain[*chain_n], der, n) != 0)
		return err_set(err, "%s: out of memory", path);
	*octets += chain[(*chain_n)++].n + 5;
	if (*octets > TLS_FLIGHT_MAX - TLS_FLIGHT_BESIDES)
		return err_set(err, "%s: the chain is too large to send in one flight (%d octets)",
			path, TLS_FLIGHT_MAX - TLS_FLIGHT_BESIDES);
	return 0;
}

/* The leaf is given to the caller. */
static int parse_chain(struct tls_blob *chain, size_t *chain_n, X509 **leaf, const char *path,
	BIO *pem, struct err *err)
{
	size_t octets = 0;
	int result = 0;
	X509 *x509;

	*leaf = NULL;
	while (result == 0 && (x509 = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
		result = add_to_chain(chain, chain_n, x509, path, &octets, err);
		if (*leaf == NULL)
			*leaf = x509;
		else
			X509_free(x509);
	}
	if (result != 0)
		return result;
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return err_set(err, "%s: a certificate is damaged: %s", path, tls_openssl_why());
	ERR_clear_error();
	if (*chain_n == 0)
		return err_set(err, "%s: no certificate in PEM form", path);
	return 0;
}

static int read_chain(
	struct tls_blob *chain, size_t *chain_n, X509 **leaf, const char *path, struct err *err)
{
	struct tls_blob text;
	struct stat st;
	int result;
	BIO *pem;

	if (tls_file_read(&text, path, &st, PEM_FILE_MAX, err) != 0)
		return -1;
	pem = BIO_new_mem_buf(text.p, (int)text.n);
	if (pem == NULL)
		result = err_set(err, "%s: out of memory", path);
	else
		result = parse_chain(chain, chain_n, leaf, path, pem, err);
	BIO_free(pem);
	tls_blob_free(&text);
	return result;
}

static int take_key(struct tls_certificate *certificate, const EVP_PKEY *key)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL;
	int n = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;

	PKCS8_PRIV_KEY_INFO_free(info);
	return blob_take(&certificate->key, der, n);
}

static int parse_key(struct tls_certificate *certificate, const X509 *leaf, struct span text,
	const char *path, struct err *err)
{
	BIO *pem = BIO_new_mem_buf(text.p, (int)text.n);
	bool asked = false;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_password, &asked);
	int result = 0;

	if (key == NULL && asked)
		result = err_set(
			err, "%s: the key is encrypted; store it without a passphrase", path);
	else if (key == NULL)
		result = err_set(err, "%s: no private key in PEM form", path);
	else if (X509_check_private_key(leaf, key) != 1)
		result = err_set(
			err, "%s: the key does not fit the first certificate of the chain", path);
	else if (take_key(certificate, key) != 0)
		result = err_set(err, "%s: cannot export the key: %s", path, tls_openssl_why());
	EVP_PKEY_free(key);
	BIO_free(pem);
	ERR_clear_error();
	return result;
}

static int read_key(
	struct tls_certificate *certificate, const X509 *leaf, const char *path, struct err *err)
{
	struct tls_blob text;
	struct stat st;
	int result;

	if (tls_file_read(&text, path, &st, PEM_FILE_MAX, err) != 0)
		return -1;
	if ((st.st_mode & 077) != 0)
		event_text(EVENT_NO_COUNT, "key_readable_by_others", "file", path);
	result = parse_key(certificate, leaf, span_of(text.p, text.n), path, err);
	tls_blob_free(&text);
	return result;
}

static int copy_names(
	struct tls_certificate *certificate, const struct certificate_settings *settings)
{
	certificate->title = strdup(settings->title);
	certificate->names = calloc(settings->names_n + 1, sizeof(certificate->names[0]));
	if (certificate->title == NULL || certificate->names == NULL)
		return -1;
	for (size_t i = 0; i < settings->names_n; i++) {
		char *name = strdup(settings->names[i]);

		if (name == NULL)
			return -1;
		for (char *c = name; *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
		certificate->names[certificate->names_n++] = name;
	}
	return 0;
}

static int read_certificate(struct tls_certificate *certificate,
	const struct certificate_settings *settings, struct err *err)
{
	X509 *leaf = NULL;
	int result;

	if (copy_names(certificate, settings) != 0)
		return err_set(err, "certificate \"%s\": out of memory", settings->title);
	result = read_chain(certificate->chain, &certificate->chain_n, &leaf, settings->chain, err);
	if (result == 0)
		check_dates(leaf, settings->chain);
	if (result == 0)
		result = read_key(certificate, leaf, settings->key, err);
	X509_free(leaf);
	if (result != 0 || settings->next_chain == NULL)
		return result;
	result = read_chain(
		certificate->next, &certificate->next_n, &leaf, settings->next_chain, err);
	X509_free(leaf);
	return result;
}

/* Builds a context and throws it away: what OpenSSL refuses is to be known now. */
static int try_context(
	const struct tls_settings *settings, const struct tls_material *material, struct err *err)
{
	struct tls_context *context;

	if (tls_context_open(&context, settings, NULL, material, err) != 0)
		return -1;
	tls_context_release(context);
	return 0;
}

int tls_material_load(
	struct tls_material **out, const struct tls_settings *settings, struct err *err)
{
	struct tls_material *material = calloc(1, sizeof(*material));
	int result = 0;

	*out = NULL;
	if (material == NULL)
		return err_set(err, "out of memory");
	ERR_clear_error();
	material->certificates =
		calloc(settings->certificates_n + 1, sizeof(material->certificates[0]));
	if (material->certificates == NULL)
		result = err_set(err, "out of memory");
	for (size_t i = 0; result == 0 && i < settings->certificates_n; i++)
		result = read_certificate(&material->certificates[material->certificates_n++],
			&settings->certificates[i], err);
	if (result == 0 && settings->ticket_keys != NULL)
		result = tls_ticket_file_load(&material->tickets, &material->watch,
			settings->ticket_keys, settings->ticket_rotate_seconds, err);
	if (result == 0)
		result = try_context(settings, material, err);
	ERR_clear_error();
	if (result != 0)
		tls_material_free(material);
	else
		*out = material;
	return result;
}

bool tls_material_stale(const struct tls_material *material)
{
	return tls_ticket_watch_stale(&material->watch);
}

static void free_certificate(struct tls_certificate *certificate)
{
	for (size_t i = 0; i < certificate->names_n; i++)
		free(certificate->names[i]);
	for (size_t i = 0; i < certificate->chain_n; i++)
		tls_blob_free(&certificate->chain[i]);
	for (size_t i = 0; i < certificate->next_n; i++)
		tls_blob_free(&certificate->next[i]);
	tls_blob_free(&certificate->key);
	free(certificate->names);
	free(certificate->title);
}

void tls_material_free(struct tls_material *material)
{
	if (material == NULL)
		return;
	for (size_t i = 0; i < material->certificates_n; i++)
		free_certificate(&material->certificates[i]);
	free(material->certificates);
	free(material->watch.path);
	wipe(material, sizeof(*material));
	free(material);
}
