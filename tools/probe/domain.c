/* SPDX-License-Identifier: MIT */
/*
 * domain.c -- a domain as a sender comes to it: MX records, policy, reports, then each host.
 *
 * Order of hosts is by preference, equal ones by name, so that two runs can be compared. A domain
 * without MX records is its own host (RFC 5321 5.1), one with the null MX has none (RFC 7505).
 */
#include "tools/probe/probe.h"

#include "base/dnsname.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>

#define MX_NAME_AT 2 /* behind the preference */

/* ---- MX ---- */

static int by_preference(const void *a, const void *b)
{
	const struct probe_host *one = a, *two = b;

	if (one->preference != two->preference)
		return one->preference < two->preference ? -1 : 1;
	return strcmp(one->name, two->name);
}

static void mx_read(struct probe_domain *domain)
{
	for (size_t i = 0; i < domain->mx.n; i++) {
		struct span data = domain->mx.data[i], preference = span_take(&data, MX_NAME_AT);
		char name[PROBE_NAME_MAX];
		struct probe_host *host;

		if (preference.n < MX_NAME_AT || !dns_name_read(data, name) ||
			domain->hosts_n == PROBE_HOSTS_MAX) {
			domain->mx_more_n++;
			continue;
		}
		if (name[0] == '\0') {
			domain->null_mx = domain->mx.n == 1;
			domain->mx_more_n += domain->mx.n > 1;
			continue;
		}
		host = &domain->hosts[domain->hosts_n++];
		memcpy(host->name, name, sizeof(host->name));
		host->preference = (uint16_t)(preference.p[0] << 8 | preference.p[1]);
		host->is_mx = true;
	}
	qsort(domain->hosts, domain->hosts_n, sizeof(*domain->hosts), by_preference);
}

static void be_host(struct probe_domain *domain)
{
	memcpy(domain->hosts[0].name, domain->name, sizeof(domain->name));
	domain->hosts_n = 1;
}

/* From the answer for MX to what is to be looked at. */
static void hosts_choose(struct probe_domain *domain, enum probe_kind kind)
{
	const struct probe_answer *mx = &domain->mx;

	if (kind == PROBE_HOST || (kind == PROBE_GUESS && mx->state == PROBE_DNS_NO_DATA)) {
		be_host(domain);
		return;
	}
	domain->is_domain = true;
	if (mx->state == PROBE_DNS_FOUND) {
		mx_read(domain);
	} else if (mx->state == PROBE_DNS_NO_DATA) {
		domain->implicit_mx = true;
		be_host(domain);
	}
}

/* ---- all of it ---- */

/* The name in small letters, without a final dot or the brackets of a literal. */
static bool name_take(const char *text, char out[PROBE_NAME_MAX])
{
	size_t n = strlen(text);

	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
		if (n > 5 && strncasecmp(text, "IPv6:", 5) == 0) {
			text += 5;
			n -= 5;
		}
	}
	if (n > 1 && text[n - 1] == '.')
		n--;
	if (n == 0 || n >= PROBE_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (!isalnum(c) && strchr("-._:", c) == NULL)
			return false;
		out[i] = (char)tolower(c);
	}
	out[n] = '\0';
	return true;
}

static enum probe_kind kind_of(const struct probe_settings *settings, const char *name)
{
	uint8_t numeric[sizeof(struct in6_addr)];

	if (settings->protocol != PROBE_SMTP || inet_pton(AF_INET, name, numeric) == 1 ||
		inet_pton(AF_INET6, name, numeric) == 1)
		return PROBE_HOST;
	return settings->kind;
}

static int look(struct probe_domain *domain, struct probe_dns *dns,
	const struct probe_settings *settings, enum probe_kind kind, struct err *err)
{
	domain->no_dnssec = "no question was asked";
	if (dns != NULL)
		domain->dnssec = probe_dns_validates(dns, &domain->no_dnssec);
	if (kind != PROBE_HOST)
		probe_dns_ask(dns, domain->name, PROBE_MX, &domain->mx);
	hosts_choose(domain, kind);
	if (domain->is_domain && !settings->no_sts && domain->hosts_n > 0) {
		probe_sts_look(dns, settings, domain->name, &domain->sts);
		probe_tlsrpt_look(dns, domain->name, &domain->tlsrpt);
	}
	for (size_t i = 0; i < domain->hosts_n; i++) {
		bool proved = !domain->hosts[i].is_mx || domain->mx.secure;
		int rc = probe_host_run(dns, settings, domain->is_domain ? domain->name : NULL,
			proved, &domain->hosts[i], err);

		if (rc != 0)
			return rc;
	}
	return 0;
}

int probe_run(const struct probe_settings *settings, const char *name, struct probe_domain **domain,
	struct err *err)
{
	struct probe_domain *made = calloc(1, sizeof(*made));
	struct probe_dns *dns = NULL;
	enum probe_kind kind;
	int rc = 0;

	*domain = NULL;
	if (made != NULL)
		made->hosts = calloc(PROBE_HOSTS_MAX, sizeof(*made->hosts));
	if (made == NULL || made->hosts == NULL) {
		free(made);
		return err_set(err, "out of memory");
	}
	if (!name_take(name, made->name)) {
		probe_free(made);
		return err_set(err, "%s: not the name of a host or a domain", name);
	}
	kind = kind_of(settings, made->name);
	if (kind != PROBE_HOST || settings->address == NULL || !settings->no_dane)
		rc = probe_dns_open(&dns, settings, err);
	if (rc == 0)
		rc = look(made, dns, settings, kind, err);
	probe_dns_close(dns);
	if (rc != 0) {
		probe_free(made);
		return -1;
	}
	probe_judge(made, settings, time(NULL));
	*domain = made;
	return 0;
}

void probe_free(struct probe_domain *domain)
{
	if (domain == NULL)
		return;
	for (size_t i = 0; i < domain->hosts_n; i++)
		probe_host_free(&domain->hosts[i]);
	free(domain->hosts);
	probe_answer_free(&domain->mx);
	probe_sts_free(&domain->sts);
	free(domain);
}
