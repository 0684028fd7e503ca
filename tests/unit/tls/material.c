/* SPDX-License-Identifier: MIT */
/* Files that are wrong, and the block that goes to the worker. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <openssl/pem.h>

static struct rig rig;

static void expect_error(struct rig_settings *settings, const char *file, const char *what)
{
	const char *text = rig_load_error(settings);

	cr_assert(strstr(text, file) != NULL && strstr(text, what) != NULL, "%s", text);
}

static void write_encrypted_key(const char *name)
{
	EVP_PKEY *key = rig_key_read("default");
	FILE *file = fopen(rig_path(name), "w");

	cr_assert(PEM_write_PrivateKey(
		file, key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL));
	fclose(file);
	EVP_PKEY_free(key);
}

Test(material, each_fault_names_its_file)
{
	struct rig_settings settings;

	rig_settings(&settings);
	rig_certificate("another", RIG_EC, 30, 0, 0);
	rig_certificate("large", RIG_EC, 30, 3, 4000);
	rig_certificate("long", RIG_EC, 30, TLS_CHAIN_MAX, 0);
	rig_write("text", "not PEM at all\n", 15);
	rig_write("empty", "", 0);
	rig_write("cut.crt", "-----BEGIN CERTIFICATE-----\nMIIB\n", 33);
	write_encrypted_key("encrypted.key");

	settings.certificates[0].chain = rig_path("missing.crt");
	expect_error(&settings, "missing.crt", "No such file");
	settings.certificates[0].chain = rig_dir();
	expect_error(&settings, rig_dir(), "not a regular file");
	settings.certificates[0].chain = rig_path("empty");
	expect_error(&settings, "empty", "empty");
	settings.certificates[0].chain = rig_path("text");
	expect_error(&settings, "text", "no certificate in PEM form");
	settings.certificates[0].chain = rig_path("cut.crt");
	expect_error(&settings, "cut.crt", "damaged");
	settings.certificates[0].chain = rig_path("large.crt");
	expect_error(&settings, "large.crt", "too large to send in one flight");
	settings.certificates[0].chain = rig_path("long.crt");
	expect_error(&settings, "long.crt", "more than 8 certificates");

	settings.certificates[0].chain = rig_path("default.crt");
	settings.certificates[0].key = rig_path("missing.key");
	expect_error(&settings, "missing.key", "No such file");
	settings.certificates[0].key = rig_path("text");
	expect_error(&settings, "text", "no private key in PEM form");
	settings.certificates[0].key = rig_path("encrypted.key");
	expect_error(&settings, "encrypted.key", "without a passphrase");
	settings.certificates[0].key = rig_path("another.key");
	expect_error(&settings, "another.key", "does not fit");
	settings.certificates[0].key = rig_path("default.key");
	settings.tls.ticket_keys = rig_path("no-such-dir/tickets.key");
	expect_error(&settings, "no-such-dir/tickets.key", "cannot make");
}

/* The largest chain that is accepted can be sent: the flight fits where it is promised to. */
Test(material, the_largest_chain_fits_a_flight)
{
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	rig_certificate("default", RIG_RSA, 30, 2, 3500);
	context = rig_context(&settings);
	for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(version, NULL), NULL,
			NULL);
		buf_init(&rig.out, rig.out_storage, TLS_FLIGHT_MAX);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		rig_close(&rig);
	}
	tls_context_release(context);
}

Test(material, warnings_are_events_not_errors)
{
	struct rig_settings settings;
	struct tls_material *material;
	struct err err;
	char text[4096] = "";
	FILE *events;

	cr_redirect_stderr();
	rig_settings(&settings);
	rig_certificate("default", RIG_EC, -1, 0, 0);
	cr_assert(chmod(rig_path("default.key"), 0644) == 0);
	cr_assert(tls_material_load(&material, &settings.tls, &err) == 0);
	tls_material_free(material);
	events = cr_get_redirected_stderr();
	fflush(stderr);
	for (size_t n = 0; n < sizeof(text) - 1 && strstr(text, "readable_by") == NULL;) {
		size_t got = fread(text + n, 1, 1, events);

		cr_assert(got == 1, "no more events after: %s", text);
		n += got;
	}
	cr_assert(strstr(text, "event=certificate_expired file=") != NULL, "%s", text);
	cr_assert(strstr(text, "event=key_readable_by") != NULL, "%s", text);
}

static struct tls_material *load(struct rig_settings *settings)
{
	struct tls_material *material;
	struct err err = {0};

	cr_assert(tls_material_load(&material, &settings->tls, &err) == 0, "%s", err.text);
	return material;
}

static const char *const names[] = {"mx.example.org", "*.example.net", NULL};

Test(material, a_packed_block_serves_without_the_files)
{
	struct rig_settings settings;
	struct tls_material *material, *copy;
	struct tls_context *context;
	struct err err;
	SSL_SESSION *session;
	uint8_t *block;
	size_t n;

	rig_settings(&settings);
	rig_certificate("named", RIG_EC, 30, 2, 0);
	rig_settings_add(&settings, "named", names);
	context = rig_context(&settings);
	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(0, NULL), names[0], NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	session = rig_session(&rig);
	rig_close(&rig);
	tls_context_release(context);

	material = load(&settings);
	cr_assert(tls_material_pack(material, &block, &n) == 0);
	tls_material_free(material);
	unlink(settings.certificates[0].chain);
	unlink(settings.certificates[0].key);
	unlink(settings.tls.ticket_keys);
	settings.tls.certificates = NULL;
	settings.tls.certificates_n = 0;
	cr_assert(tls_material_unpack(&copy, span_of(block, n), &err) == 0);
	cr_assert(tls_context_open(&context, &settings.tls, NULL, copy, &err) == 0);
	cr_assert(!tls_material_stale(copy));
	tls_material_free(copy);
	wipe(block, n);
	free(block);

	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(0, NULL), names[0], session);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	cr_assert(tls_conn_info(rig.conn)->resumed);
	SSL_SESSION_free(session);
	rig_close(&rig);
	tls_context_release(context);
}

/* Every cut is refused; every changed octet is refused or gives material that does no harm. */
Test(material, a_damaged_block_is_refused)
{
	struct rig_settings settings;
	struct tls_material *material = NULL;
	struct err err;
	uint8_t *block;
	size_t n;

	rig_settings(&settings);
	material = load(&settings);
	cr_assert(tls_material_pack(material, &block, &n) == 0);
	tls_material_free(material);
	for (size_t cut = 0; cut < n; cut++) {
		cr_assert(tls_material_unpack(&material, span_of(block, cut), &err) == -1);
		cr_assert(material == NULL);
	}
	for (size_t at = 0; at < n; at++) {
		struct tls_context *context = NULL;

		block[at] ^= 0x55;
		if (tls_material_unpack(&material, span_of(block, n), &err) == 0) {
			if (tls_context_open(&context, &settings.tls, NULL, material, &err) == 0)
				tls_context_release(context);
			tls_material_free(material);
		}
		block[at] ^= 0x55;
	}
	free(block);
}

/* The chain to come travels with the rest, is told, and is not served. */
Test(material, the_next_chain)
{
	struct rig_settings settings;
	struct tls_material *material, *copy;
	struct tls_certificate_facts facts;
	struct tls_member members[TLS_CHAIN_MAX];
	struct err err;
	uint8_t *block, digest[32];
	X509 *next;
	size_t n;

	rig_settings(&settings);
	rig_certificate("next", RIG_EC, 30, 1, 0);
	settings.certificates[0].next_chain = rig_path("next.crt");
	material = load(&settings);
	cr_assert(tls_material_pack(material, &block, &n) == 0);
	tls_material_free(material);
	cr_assert(tls_material_unpack(&copy, span_of(block, n), &err) == 0, "%s", err.text);
	free(block);
	tls_material_describe(copy, 0, &facts);
	cr_assert(facts.now.known && !facts.now.issued);
	cr_assert(facts.next.known && facts.next.issued);
	cr_assert(tls_material_chain(copy, 0, members) == 1);
	cr_assert(memcmp(members[0].spki_sha256, facts.now.leaf, 32) == 0);
	tls_sha256(members[0].der, digest);
	cr_assert(memcmp(members[0].der_sha256, digest, 32) == 0);
	cr_assert(members[0].spki.n > 0 && members[0].spki.p > members[0].der.p);
	next = rig_certificate_read("next");
	{
		unsigned char *spki = NULL;
		int spki_n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(next), &spki);

		tls_sha256(span_of(spki, (size_t)spki_n), digest);
		OPENSSL_free(spki);
	}
	cr_assert(memcmp(facts.next.leaf, digest, 32) == 0);
	X509_free(next);
	tls_material_free(copy);

	settings.certificates[0].next_chain = rig_path("missing.crt");
	expect_error(&settings, "missing.crt", "No such file");
}

/* Which certificates a name brings: itself, else the wildcard above it, else those without names. */
Test(material, served_by_name)
{
	static const char *const mx[] = {"mx.example.org", NULL};
	static const char *const any[] = {"*.example.org", NULL};
	static const struct {
		const char *sni;
		size_t served;
	} rows[] = {{"", 0}, {"mx.example.org", 1}, {"a.example.org", 2}, {"a.b.example.org", 0},
		{"example.org", 0}, {".example.org", 0}, {"org", 0}};
	struct rig_settings settings;
	struct tls_material *material;

	rig_settings(&settings);
	rig_certificate("mx", RIG_EC, 30, 0, 0);
	rig_certificate("any", RIG_EC, 30, 0, 0);
	rig_settings_add(&settings, "mx", mx);
	rig_settings_add(&settings, "any", any);
	material = load(&settings);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		for (size_t k = 0; k < 3; k++)
			cr_expect_eq(tls_material_serves(material, k, rows[i].sni),
				k == rows[i].served, "%s: %zu", rows[i].sni, k);
	tls_material_free(material);
}
