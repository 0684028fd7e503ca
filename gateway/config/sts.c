/* SPDX-License-Identifier: MIT */
/*
 * sts.c -- checks what is published about TLS for mail, and the settings around it: policies without
 * MXes, listeners that could not serve them, reports that nobody sends.
 *
 * What needs certificates or a policy's text is checked by those who have them, at the start and at
 * each reload (web/).
 */
#include "config/config.h"

#include <confuse.h>
#include <stdlib.h>
#include <string.h>

#include "config/fill-private.h"
#include "config/name.h"

static int fill_policy(struct fill *fill, cfg_t *sec, struct sts_settings *sts)
{
	char shown[CONFIG_SHOWN_MAX + 4];
	char *domain = fill_text(fill, sec->title);

	memset(sts, 0, sizeof(*sts));
	if (!domain)
		return -1;
	if (!name_host_valid(span_str(domain)))
		return fill_fail(fill, sec, "sts: the title \"%s\" is not a mail domain in ASCII",
			value_shown(domain, shown));
	name_lower(domain, strlen(domain));
	sts->domain = domain;
	if (fill_section(fill, "sts", sec, sts) != 0)
		return -1;
	if (sts->mx_n == 0 && sts->mode != 0)
		return fill_fail(fill, sec, "sts \"%s\": mx is missing: write mx = { \"%s\" }",
			domain, fill->store->config.smtp.hostname);
	return 0;
}

static int compare_policies(const void *a, const void *b)
{
	const struct sts_settings *left = a, *right = b;

	return strcmp(left->domain, right->domain);
}

/* Sorted by domain, so that whoever looks one up may bisect. */
static int fill_policies(struct fill *fill)
{
	struct config *config = &fill->store->config;
	size_t n = cfg_size(fill->root, "sts");
	struct sts_settings *array = fill_alloc(fill, n * sizeof(*array));

	if (!array)
		return -1;
	if (n > SETTINGS_STS_MAX)
		return fill_fail(fill, cfg_getnsec(fill->root, "sts", SETTINGS_STS_MAX),
			"more than %d sections sts", SETTINGS_STS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (fill_policy(fill, cfg_getnsec(fill->root, "sts", (unsigned)i), &array[i]) != 0)
			return -1;
	}
	qsort(array, n, sizeof(*array), compare_policies);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(array[i - 1].domain, array[i].domain) == 0)
			return fill_fail(fill, NULL, "sts \"%s\" is there twice", array[i].domain);
	}
	config->sts = array;
	config->sts_n = n;
	return 0;
}

static int check_listeners(struct fill *fill)
{
	const struct config *config = &fill->store->config;

	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_settings *listener = &config->listeners[i];
		cfg_t *sec = cfg_getnsec(fill->root, "listener", (unsigned)i);

		if (listener->protocol != LISTENER_HTTPS)
			continue;
		if (listener->tls != LISTENER_TLS_IMPLICIT)
			return fill_fail(fill, sec,
				"listener \"%s\": protocol = https begins with TLS: write tls = "
				"\"implicit\"",
				listener->title);
		if (config->sts_n == 0)
			return fill_fail(fill, sec,
				"listener \"%s\": there is no policy to serve: write sts "
				"\"example.org\" { mx = { \"%s\" } }",
				listener->title, config->smtp.hostname);
	}
	return 0;
}

/* TLS that is a must has to be on offer. */
static int check_required(struct fill *fill)
{
	const struct config *config = &fill->store->config;

	if (config->policy.require_tls_n == 0)
		return 0;
	for (size_t i = 0; i < config->listeners_n; i++) {
		if (config->listeners[i].protocol == LISTENER_SMTP &&
			config->listeners[i].tls != LISTENER_TLS_NONE)
			return 0;
	}
	return fill_fail(fill, cfg_getsec(fill->root, "policy"),
		"policy: require_tls is set, and no listener offers TLS: write tls = \"starttls\"");
}

static int check_reports(struct fill *fill)
{
	const struct tlsrpt_settings *tlsrpt = &fill->store->config.tlsrpt;
	cfg_t *sec = cfg_getsec(fill->root, "tlsrpt");
	const char *at = tlsrpt->from ? strrchr(tlsrpt->from, '@') : NULL;

	if (tlsrpt->from && (!at || at == tlsrpt->from || !name_host_valid(span_str(at + 1)) ||
				    strpbrk(tlsrpt->from, " <>,;:()") != NULL))
		return fill_fail(
			fill, sec, "tlsrpt: from is not an address such as tlsrpt@example.org");
	if (!tlsrpt->from && (tlsrpt->dkim_key || tlsrpt->contact || tlsrpt->organization))
		return fill_fail(fill, sec,
			"tlsrpt: no reports are sent without from: write from = "
			"\"tlsrpt@%s\"",
			fill->store->config.smtp.hostname);
	if (tlsrpt->dkim_key && !tlsrpt->dkim_selector)
		return fill_fail(fill, sec,
			"tlsrpt: dkim_key is set without dkim_selector: write the name of the key's "
			"record before ._domainkey");
	return 0;
}

int fill_sts(struct fill *fill)
{
	if (fill_policies(fill) != 0 || check_listeners(fill) != 0 || check_required(fill) != 0)
		return -1;
	return check_reports(fill);
}
