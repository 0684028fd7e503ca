/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of config/sts.c: published policies, and the keys around them: listeners that serve them,
 * required TLS, TLSA records, reports, what the watch keeps.
 */
#include "harness.h"

#include <stdio.h>

#define P "etc/p.conf:"
#define BASE                                                                                       \
	"hostname = mx.example\n"                                                                  \
	"policy { relay_domains = { b.example } }\n"                                               \
	"route r { domains = { \"*\" } next_hops = { mx } }\n"                                     \
	"listener l { address = \"::1\" port = 25 tls = none }\n"
#define CERT "certificate c { chain = c.pem key = c.key }\n"
#define WEB  "listener w { address = \"::1\" port = 443 protocol = https tls = implicit }\n"
#define STS  "sts b.example { mx = { mx.example } }\n"

Test(sts, defaults)
{
	struct config *config = parse_good(BASE STS);

	cr_expect_str_eq(config->main.state_directory, "etc/state");
	cr_expect_eq(config->listeners[0].protocol, LISTENER_SMTP);
	cr_assert_eq(config->sts_n, 1);
	cr_expect_str_eq(config->sts[0].domain, "b.example");
	cr_expect_eq(config->sts[0].mode, 1, "testing");
	cr_expect_eq(config->sts[0].max_age_s, 604800);
	cr_assert_eq(config->sts[0].mx_n, 1);
	cr_expect_str_eq(config->sts[0].mx[0], "mx.example");
	cr_expect_null(config->sts[0].id);
	cr_expect_eq(config->sts[0].reports_n, 0);
	cr_expect_eq(config->policy.require_tls_n, 0);
	cr_expect(config->watch.on);
	cr_expect_eq(config->watch.days, 30);
	cr_expect_eq(config->watch.entries_max, 20000);
	cr_expect_eq(config->watch.enforce_days, 14);
	cr_expect_null(config->tlsrpt.from);
	config_close(config);
	config = parse_good(BASE);
	cr_expect_eq(config->sts_n, 0);
	config_close(config);
}

/* Sections come out sorted by domain, names in lower case. */
Test(sts, everything)
{
	static const char text[] =
		"state_directory = \"/var/lib/p\"\n" BASE WEB
		"certificate c { chain = c.pem key = c.key next_chain = n.pem\n"
		"  tlsa = { \"3 1 1 00ff\", \"2 1 1 aa\" } }\n"
		"sts z.example { mode = none }\n"
		"sts B.Example { mode = enforce max_age = 60 mx = { \"*.Z.example\", MX.example }\n"
		"  id = 7 reports = { \"mailto:a@b.example\", \"https://r.example/\" } }\n"
		"policy { require_tls = { b.example } }\n"
		"listener t { address = \"::1\" port = 587 }\n"
		"watch { on = no days = 2 entries_max = 100 enforce_days = 3 }\n"
		"tlsrpt { organization = \"Of us\" contact = \"c@b.example\" from = \"t@b.example\"\n"
		"  dkim_key = d.pem dkim_domain = b.example dkim_selector = s1 }\n";
	struct config *config = parse_good(text);
	const struct certificate_settings *certificate = &config->tls.certificates[0];

	cr_expect_str_eq(config->main.state_directory, "/var/lib/p");
	cr_expect_eq(config->listeners[1].protocol, LISTENER_HTTPS);
	cr_expect_str_eq(certificate->next_chain, "etc/n.pem");
	cr_assert_eq(certificate->tlsa_n, 2);
	cr_expect_str_eq(certificate->tlsa[1], "2 1 1 aa");
	cr_assert_eq(config->sts_n, 2);
	cr_expect_str_eq(config->sts[0].domain, "b.example");
	cr_expect_eq(config->sts[0].mode, 2);
	cr_expect_eq(config->sts[0].max_age_s, 60);
	cr_assert_eq(config->sts[0].mx_n, 2);
	cr_expect_str_eq(config->sts[0].mx[0], "*.z.example");
	cr_expect_str_eq(config->sts[0].mx[1], "mx.example");
	cr_expect_str_eq(config->sts[0].id, "7");
	cr_assert_eq(config->sts[0].reports_n, 2);
	cr_expect_str_eq(config->sts[0].reports[1], "https://r.example/");
	cr_expect_str_eq(config->sts[1].domain, "z.example");
	cr_expect_eq(config->sts[1].mode, 0);
	cr_expect_eq(config->sts[1].mx_n, 0);
	cr_assert_eq(config->policy.require_tls_n, 1);
	cr_expect_str_eq(config->policy.require_tls[0], "b.example");
	cr_expect_not(config->watch.on);
	cr_expect_eq(config->watch.days, 2);
	cr_expect_eq(config->watch.entries_max, 100);
	cr_expect_eq(config->watch.enforce_days, 3);
	cr_expect_str_eq(config->tlsrpt.organization, "Of us");
	cr_expect_str_eq(config->tlsrpt.contact, "c@b.example");
	cr_expect_str_eq(config->tlsrpt.from, "t@b.example");
	cr_expect_str_eq(config->tlsrpt.dkim_key, "etc/d.pem");
	cr_expect_str_eq(config->tlsrpt.dkim_domain, "b.example");
	cr_expect_str_eq(config->tlsrpt.dkim_selector, "s1");
	config_close(config);
}

static const struct {
	const char *text; /* behind BASE, whose last line is 4 */
	const char *error;
} refused[] = {
	{"sts b.example { }",
		P "5: sts \"b.example\": mx is missing: write mx = { \"mx.example\" }"},
	{"sts b.example { mx = { } }", P "5: sts \"b.example\": mx is missing"},
	{"sts b_example { mx = { a.example } }",
		P "5: sts: the title \"b_example\" is not a mail domain"},
	{"sts \"b.example\" { mode = maybe }", P "5: "},
	{"sts b.example { max_age = 0 }", P "5: "},
	{"sts b.example { max_age = 31557601 }", P "5: "},
	{"sts b.example { mx = { \"*.*.example\" } }", P "5: "},
	{"sts b.example { mx = { a.example } }\nsts B.example { mode = none }",
		"\"b.example\" is there twice"},
	{"sts b.example { mx = { a.example } }\nsts b.example { mode = none }", P "6: "},
	{CERT "listener w { address = \"::1\" port = 443 protocol = https tls = implicit }",
		P "6: listener \"w\": there is no policy to serve: write sts"},
	{CERT STS "listener w { address = \"::1\" port = 443 protocol = https }",
		P "7: listener \"w\": protocol = https begins with TLS: write tls = \"implicit\""},
	{CERT STS "listener w { address = \"::1\" port = 443 protocol = https tls = none }",
		P "7: "},
	{STS WEB, "certificate"},
	{STS "listener w { address = \"::1\" port = 443 protocol = gopher }", P "6: "},
	{"policy { require_tls = { b.example } }",
		"policy: require_tls is set, and no listener offers TLS"},
	{CERT STS WEB "policy { require_tls = { b.example } }",
		"policy: require_tls is set, and no listener offers TLS"},
	{"policy { require_tls = { \"*.b.example\" } }", P "5: "},
	{"tlsrpt { from = nobody }", P "5: tlsrpt: from is not an address"},
	{"tlsrpt { from = \"@b.example\" }", P "5: tlsrpt: from is not an address"},
	{"tlsrpt { from = \"<a@b.example>\" }", P "5: tlsrpt: from is not an address"},
	{"tlsrpt { contact = \"a@b.example\" }", P "5: tlsrpt: no reports are sent without from"},
	{"tlsrpt { from = \"a@b.example\" dkim_key = k }",
		P "5: tlsrpt: dkim_key is set without dkim_selector"},
	{"watch { days = 0 }", P "5: "},
	{"watch { entries_max = 99 }", P "5: "},
	{"sts b.example { mx = { a.example } id = \"a\\\"b\" }", P "5: "},
};

Test(sts, refused)
{
	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		struct config *config = NULL;
		struct err err = {""};
		char text[2048];

		snprintf(text, sizeof(text), "%s%s\n", BASE, refused[i].text);
		cr_expect_eq(parse(&config, text, &err), -1, "%s", refused[i].text);
		cr_expect(strstr(err.text, refused[i].error) != NULL, "%s: %s", refused[i].text,
			err.text);
		config_close(parse_good(BASE));
	}
}
