/* SPDX-License-Identifier: MIT */
/* check.c -- every reason why a policy may not be published, and TLSA records that do or do not match. */
#include <stdio.h>

#include "base/event.h"
#include "harness.h"

static struct setting setting;
static struct tls_material *material;
static struct err err;

static int check(void)
{
	const struct web_check facts = {
		.hostname = setting.config.smtp.hostname,
		.sts = setting.sts,
		.sts_n = setting.config.sts_n,
		.listeners = setting.config.listeners,
		.listeners_n = setting.config.listeners_n,
		.certificates = setting.certificates,
		.certificates_n = setting.config.tls.certificates_n,
		.material = material,
		.ca_file = ca_file(),
	};

	err.text[0] = '\0';
	return web_check(&facts, &err);
}

static void start(void)
{
	setting_fill(&setting);
	material = material_load(&setting);
}

static void again(void)
{
	tls_material_free(material);
	material = material_load(&setting);
}

static void end(void)
{
	tls_material_free(material);
}

/* Refused with this text in mode enforce, a warning in testing, nothing in none. */
static void expect(const char *text)
{
	static struct event_sink sink;

	setting.sts[0].mode = STS_MODE_ENFORCE;
	cr_expect_eq(check(), -1, "%s", text);
	cr_expect(strstr(err.text, text) != NULL, "%s", err.text);
	cr_expect(strstr(err.text, "sts \"" DOMAIN "\"") != NULL, "%s", err.text);
	event_sink_init(&sink);
	event_sink_use(&sink);
	setting.sts[0].mode = STS_MODE_TESTING;
	cr_expect_eq(check(), 0, "%s", err.text);
	cr_expect(event_sink_take(&sink).n > 0, "%s: no warning", text);
	event_sink_taken(&sink);
	setting.sts[0].mode = STS_MODE_NONE;
	cr_expect_eq(check(), 0, "%s", err.text);
	cr_expect_eq(event_sink_take(&sink).n, 0);
	event_sink_use(NULL);
	setting.sts[0].mode = STS_MODE_ENFORCE;
}

Test(check, all_is_well, .init = start, .fini = end)
{
	cr_expect_eq(check(), 0, "%s", err.text);
	setting.config.sts_n = 0;
	cr_expect_eq(check(), 0, "%s", err.text);
}

Test(check, hostname_and_mx, .init = start, .fini = end)
{
	static const struct {
		const char *mx;
		bool good;
	} rows[] = {{MX_NAME, true}, {"*.example.org", true}, {"mx2.example.org", false},
		{"*.org", false}, {"*.mx.example.org", false}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		setting.mx[0] = rows[i].mx;
		if (rows[i].good)
			cr_expect_eq(check(), 0, "%s: %s", rows[i].mx, err.text);
		else
			expect("hostname " MX_NAME " is none of its mx");
	}
}

Test(check, tls_on_offer, .init = start, .fini = end)
{
	setting.config.listeners[0].tls = LISTENER_TLS_NONE;
	expect("no listener for mail offers TLS");
	setting.config.listeners[0].tls = LISTENER_TLS_IMPLICIT;
	cr_expect_eq(check(), 0, "%s", err.text);
	tls_material_free(material);
	material = NULL;
	expect("there is no certificate");
	material = material_load(&setting);
}

static const struct {
	const char *names;
	int days;
	const char *fault; /* NULL: good */
} leaves[] = {
	{"DNS:" MX_NAME, 30, NULL}, {"DNS:*.example.org", 30, NULL},
	{"DNS:other.example,DNS:MX.Example.ORG", 30, NULL}, {"DNS:*.org", 30, "ostname mismatch"},
	{"DNS:m*.example.org", 30, "ostname mismatch"}, {"DNS:example.org", 30, "ostname mismatch"},
	{"DNS:" MX_NAME, -1, "certificate has expired"},
	{"email:a@example.org", 30, "ostname mismatch"}, /* a common name is not enough */
};

Test(check, the_certificate_of_the_mx, .init = start, .fini = end)
{
	for (size_t i = 0; i < COUNT_OF(leaves); i++) {
		leaf_make("mx", leaves[i].names, leaves[i].days);
		again();
		if (leaves[i].fault == NULL)
			cr_expect_eq(check(), 0, "%zu: %s", i, err.text);
		else
			expect(leaves[i].fault);
	}
}

Test(check, the_certificate_of_the_policy_host, .init = start, .fini = end)
{
	leaf_make("host", "DNS:mta-sts.example.com", 30);
	again();
	expect("certificate \"host\" is not valid for " HOST);
	setting.config.listeners_n = 1; /* served elsewhere */
	cr_expect_eq(check(), 0, "%s", err.text);
	setting.config.listeners_n = 2;
	setting.names[0] = "mta-sts.example.com"; /* so the default one is shown */
	again();
	expect("certificate \"mx\" is not valid for " HOST);
}

/* Two certificates of the MX's: one by its name, one for who sends none. */
Test(check, with_and_without_sni, .init = start, .fini = end)
{
	static const char *const names[] = {MX_NAME};

	leaf_make("bad", "DNS:elsewhere.example", 30);
	setting.certificates[2] = (struct certificate_settings){.title = "bad",
		.chain = path_of("bad", ".pem"),
		.key = path_of("bad", ".key"),
		.names = names,
		.names_n = 1};
	setting.config.tls.certificates_n = 3;
	again();
	expect("certificate \"bad\" is not valid for " MX_NAME);
	setting.certificates[0].names = names;
	setting.certificates[0].names_n = 1;
	setting.certificates[2].names_n = 0;
	again();
	expect("for clients without SNI");
}

/* ---- TLSA ---- */

static char record[512];
static const char *records[2] = {record};

static void record_of(
	unsigned usage, unsigned selector, unsigned matching, const uint8_t *p, size_t n)
{
	size_t at =
		(size_t)snprintf(record, sizeof(record), "%u %u %u ", usage, selector, matching);

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(
			record + at, sizeof(record) - at, "%s%02X", i == 8 ? " " : "", p[i]);
	setting.certificates[0].tlsa = records;
	setting.certificates[0].tlsa_n = 1;
}

Test(check, tlsa, .init = start, .fini = end)
{
	struct tls_member members[TLS_CHAIN_MAX];
	uint8_t wrong[32];

	cr_assert_eq(tls_material_chain(material, 0, members), 2);
	record_of(3, 1, 1, members[0].spki_sha256, 32);
	cr_expect_eq(check(), 0, "%s", err.text);
	record_of(3, 0, 1, members[0].der_sha256, 32);
	cr_expect_eq(check(), 0, "%s", err.text);
	record_of(3, 1, 2, members[0].spki_sha512, 64);
	cr_expect_eq(check(), 0, "%s", err.text);
	record_of(3, 1, 0, members[0].spki.p, members[0].spki.n);
	cr_expect_eq(check(), 0, "%s", err.text);
	record_of(2, 1, 1, members[1].spki_sha256, 32);
	cr_expect_eq(check(), 0, "%s", err.text);
	record_of(2, 1, 1, members[0].spki_sha256, 32); /* the leaf is no anchor */
	cr_expect_eq(check(), -1);
	memcpy(wrong, members[0].spki_sha256, 32);
	wrong[31] ^= 1;
	record_of(3, 1, 1, wrong, 32);
	setting.sts[0].mode = STS_MODE_NONE; /* it has nothing to do with policies */
	cr_expect_eq(check(), -1);
	cr_expect(strstr(err.text, "certificate \"mx\"") != NULL &&
			  strstr(err.text, "matches none of its tlsa records") != NULL,
		"%s", err.text);
}

Test(check, tlsa_that_is_none, .init = start, .fini = end)
{
	static const char *const texts[] = {"", "3", "3 1 1", "3 1 1 ", "3 1 1 0", "3 1 1 zz",
		"a 1 1 00", "3 1 256 00", "3  -1 1 00", "3 1 1 00",
		"1 1 1 "
		"0000000000000000000000000000000000000000000000000000000000000000",
		"4 1 1 00"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		snprintf(record, sizeof(record), "%s", texts[i]);
		setting.certificates[0].tlsa = records;
		setting.certificates[0].tlsa_n = 1;
		cr_expect_eq(check(), -1, "%s", texts[i]);
		cr_expect(strstr(err.text, "certificate \"mx\": tlsa: ") != NULL, "%s", err.text);
	}
}
