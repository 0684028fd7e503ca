/* SPDX-License-Identifier: MIT */
/*
 * posternctl-check.c -- sts check: what senders see of the policies that the gateway publishes.
 *
 * The gateway says what it publishes and which keys it has (`sts records`); tools/probe/ then looks at
 * each domain as a sender would, from here, and says what a sender will do about what it found. Where the
 * two differ, that is a finding like the others. The worst finding is the exit code.
 *
 * Each MX gets one connection. The further ones of postern-probe (old versions, an injection) would look
 * like failing senders to the gateway's own watch, which then would never advise `enforce`, and like an
 * attack to its fence.
 *
 * Non-goals: asking the gateway for its own opinion (`postern -t` and reload have one), other
 * protocols than SMTP (postern-probe has them).
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tools/posternctl.h"

#define PROBE_MS      15000 /* of a connection, a question, a policy; unless -t says less */
#define SHA256_DIGITS 64

/* ---- options ---- */

static const struct {
	const char *name, *form;
} forms[] = {
	{"resolver", "a numeric address, @PORT behind it or not"},
	{"trust-anchor", "a file"},
	{"ca-file", "a file"},
	{"address", "a numeric address"},
	{"port", "a port"},
	{"policy-port", "a port"},
	{"helo", "a name without blanks"},
};

const char *check_option_form(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(forms); i++)
		if (strcmp(forms[i].name, name) == 0)
			return forms[i].form;
	return "no value";
}

bool check_option(struct options *options, const char *name, const char *value)
{
	struct probe_settings *settings = &options->probe;

	options->probe_given = true;
	if (strcmp(name, "resolver") == 0)
		settings->resolver = value;
	else if (strcmp(name, "trust-anchor") == 0)
		settings->trust_anchor = value;
	else if (strcmp(name, "ca-file") == 0)
		settings->ca_file = value;
	else if (strcmp(name, "no-dane") == 0)
		settings->no_dane = true;
	else if (strcmp(name, "address") == 0)
		return probe_address_read(value, &settings->address);
	else if (strcmp(name, "port") == 0)
		return probe_port_read(value, &settings->port);
	else if (strcmp(name, "policy-port") == 0)
		return probe_port_read(value, &settings->policy_port);
	else
		return probe_helo_read(value, &settings->helo);
	return true;
}

/* ---- what is published ---- */

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "3 1 1 0a0b..." False: another form. */
static bool key_read(const char *value, struct probe_key *key)
{
	static const char form[] = " 1 1 ";
	const char *digits = value + sizeof(form);

	if ((value[0] != '2' && value[0] != '3') ||
		strncmp(value + 1, form, sizeof(form) - 1) != 0 || strlen(digits) != SHA256_DIGITS)
		return false;
	key->usage = (uint8_t)(value[0] - '0');
	for (size_t i = 0; i < sizeof(key->sha256); i++) {
		int high = digit_value(digits[2 * i]), low = digit_value(digits[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		key->sha256[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void keys_take(struct probe_published *published, const json_t *records)
{
	for (size_t i = 0; i < json_array_size(records) && published->keys_n < PROBE_KEYS_MAX;
		i++) {
		const json_t *record = json_array_get(records, i);
		struct probe_key *key = &published->keys[published->keys_n];

		key->next = json_is_true(json_object_get(record, "next"));
		published->keys_n += key_read(show_string_of(record, "value"), key);
	}
}

/* The text of the domain's _smtp._tls record, or NULL. */
static const char *reports_of(const json_t *domain)
{
	const json_t *records = json_object_get(domain, "records");

	for (size_t i = 0; i < json_array_size(records); i++) {
		const json_t *record = json_array_get(records, i);

		if (strncmp(show_string_of(record, "name"), STS_TLSRPT_PREFIX,
			    sizeof(STS_TLSRPT_PREFIX) - 1) == 0)
			return json_string_value(json_object_get(record, "value"));
	}
	return NULL;
}

/* `domain`: what `sts records` has of it; NULL: nothing. */
static void published_take(
	struct probe_published *published, const json_t *domain, const json_t *host)
{
	const json_t *policy = json_object_get(domain, "policy");

	*published = (struct probe_published){.hostname = show_string_of(host, "hostname"),
		.id = json_string_value(json_object_get(domain, "id")),
		.policy = span_of(json_string_value(policy), json_string_length(policy)),
		.tlsrpt = reports_of(domain)};
	keys_take(published, json_object_get(host, "records"));
}

/* ---- looking ---- */

static void domain_put(const struct probe_domain *seen, const struct probe_settings *settings,
	const json_t *domain, const char *hostname)
{
	fputs("published by ", stdout);
	show_clean(stdout, hostname);
	if (domain == NULL)
		puts(": no policy for this domain");
	else
		printf(": mode %s, id %s, max_age %lld s\n", show_string_of(domain, "mode"),
			show_string_of(domain, "id"),
			(long long)show_number_of(domain, "max_age_seconds"));
	probe_report(seen, settings);
	putchar('\n');
	(void)fflush(stdout); /* a domain takes a while */
}

static json_t *domain_json(
	const struct probe_domain *seen, const struct probe_settings *settings, json_t *domain)
{
	json_t *object = probe_json(seen, settings);

	json_object_set(object, "published", domain != NULL ? domain : json_null());
	return object;
}

/* Looks at one; EXIT_OK, and *worst and *out have their share, or the complaint's code. */
static int domain_check(const struct options *options, const char *name, json_t *domain,
	const json_t *host, enum probe_severity *worst, json_t *out)
{
	struct probe_settings settings = options->probe;
	struct probe_published published;
	struct probe_domain *seen;
	struct err err;

	settings.brief = true;
	settings.timeout_ms = options->ms_max < PROBE_MS ? (uint32_t)options->ms_max : PROBE_MS;
	published_take(&published, domain, host);
	if (probe_run(&settings, name, &seen, &err) != 0)
		return complain(options, EXIT_FAILED, "sts check", err.text);
	probe_compare(seen, &published);
	if (seen->findings.worst > *worst)
		*worst = seen->findings.worst;
	if (options->json)
		json_array_append_new(out, domain_json(seen, &settings, domain));
	else
		domain_put(seen, &settings, domain, published.hostname);
	probe_free(seen);
	return EXIT_OK;
}

static int domains_check(const struct options *options, const json_t *domains, const json_t *host,
	enum probe_severity *worst, json_t *out)
{
	size_t n = json_array_size(domains);
	int result = EXIT_OK;

	if (n == 0 && options->words_n > 2) /* somebody else may publish for it */
		return domain_check(options, options->words[2], NULL, host, worst, out);
	if (n == 0)
		return sts_nothing(options, "no policy is published; name a domain to look at it");
	for (size_t i = 0; i < n && result == EXIT_OK; i++) {
		json_t *domain = json_array_get(domains, i);

		result = domain_check(
			options, show_string_of(domain, "domain"), domain, host, worst, out);
	}
	return result;
}

int check_run(const struct options *options)
{
	static const enum exit_code codes[PROBE_SEVERITIES] = {
		[PROBE_NOTE] = EXIT_OK,
		[PROBE_OBJECTION] = EXIT_OBJECTION,
		[PROBE_REFUSAL] = EXIT_REFUSAL,
	};
	json_t *domains = json_array(), *out = json_array(), *last = NULL, *root;
	enum probe_severity worst = PROBE_NOTE;
	int result = sts_pieces_ask(options, "records", "domains", domains, &last);

	signal(SIGPIPE, SIG_IGN);
	if (result == EXIT_OK)
		result =
			domains_check(options, domains, json_object_get(last, "host"), &worst, out);
	root = json_pack("{s:O, s:s}", "domains", out, "verdict", probe_severity_text(worst));
	if (options->json && (result == EXIT_OK || result == EXIT_NOTHING))
		json_put(root);
	json_decref(root);
	json_decref(out);
	json_decref(domains);
	json_decref(last);
	return result == EXIT_OK ? (int)codes[worst] : result;
}
