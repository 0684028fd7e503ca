/* SPDX-License-Identifier: MIT */
/* harness.c -- see harness.h. */
#include "harness.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t now_us;
int dir = -1;
struct tlsrpt_settings settings;
struct tlsrpt *tlsrpt;

static char dir_path[64];

void harness_open(const char *pem)
{
	struct err err = {""};

	cr_assert_eq(tlsrpt_open(&tlsrpt, &settings, "mx.a.example", span_str(pem), dir, &err), 0,
		"%s", err.text);
}

void harness_setup(void)
{
	settings = (struct tlsrpt_settings){.organization = "Ours",
		.contact = "postmaster@a.example",
		.from = "tlsrpt@a.example"};
	now_us = DAY * DAY_US + 12 * HOUR_US;
	clock_set_for_test(NULL, &now_us);
	(void)snprintf(dir_path, sizeof(dir_path), "/tmp/postern-tlsrpt-XXXXXX");
	cr_assert_not_null(mkdtemp(dir_path));
	dir = open(dir_path, O_RDONLY | O_DIRECTORY);
	harness_open("");
}

void harness_teardown(void)
{
	tlsrpt_close(tlsrpt);
	close(dir);
	cr_assert_eq(unit_remove_tree(dir_path), 0);
	clock_set_for_test(NULL, NULL);
}

void harness_again(void)
{
	tlsrpt_close(tlsrpt);
	harness_open("");
}

void count_one(const char *domain, enum tlsrpt_policy policy, enum tlsrpt_result result)
{
	const struct tlsrpt_note note = {.domain = domain,
		.policy = policy,
		.result = result,
		.sending_ip = "",
		.receiving_mx = "",
		.receiving_ip = "",
		.reason = ""};

	tlsrpt_count(tlsrpt, &note);
}

json_t *report_of(const char *domain, uint64_t day)
{
	struct tlsrpt_report report;
	json_t *json;

	cr_assert_eq(tlsrpt_make(tlsrpt, domain, day, &report), 0);
	json = json_loadb((const char *)report.json.p, report.json.n, 0, NULL);
	tlsrpt_report_free(&report);
	cr_assert_not_null(json);
	return json;
}

const json_t *at(const json_t *json, const char *path)
{
	while (json != NULL && *path != '\0') {
		char name[64];
		size_t n = strcspn(path, ".");

		(void)snprintf(name, sizeof(name), "%.*s", (int)n, path);
		json = json_is_array(json) ? json_array_get(json, (size_t)atol(name))
					   : json_object_get(json, name);
		path += n + (path[n] == '.');
	}
	return json;
}

const char *text_at(const json_t *json, const char *path)
{
	const char *text = json_string_value(at(json, path));

	return text != NULL ? text : "";
}

long long number_at(const json_t *json, const char *path)
{
	const json_t *found = at(json, path);

	return json_is_integer(found) ? json_integer_value(found) : -1;
}

/* RSA of more than two primes, which are sooner found. */
static EVP_PKEY *rsa_make(int bits)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
	EVP_PKEY *key = NULL;

	cr_assert(EVP_PKEY_keygen_init(ctx) == 1 &&
		  EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits) == 1 &&
		  EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, bits >= 4096 ? 4 : 3) == 1 &&
		  EVP_PKEY_keygen(ctx, &key) == 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

char *key_make(int bits)
{
	EVP_PKEY *key = bits != 0 ? rsa_make(bits) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	cr_assert(key != NULL && bio != NULL);
	cr_assert_eq(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return text;
}
