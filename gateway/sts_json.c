/* SPDX-License-Identifier: MIT */
/*
 * sts_json.c -- the control socket's questions about TLS policies, answered as JSON.
 *
 * The names of the keys are an interface that scripts use (posternctl --json): add, never rename.
 *
 * Records are told as data and as a line for a zone file; where we cannot know the data (the address that
 * the world sees of a listener on every address) "value" is null and the line a comment. TLSA records
 * belong to the MX's name, so they come once, with the host, whatever the domain.
 */
#include "gateway.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/control.h"

#define LINE_MAX      (STS_TXT_MAX * 4 + 512) /* every octet of a text escaped */
#define DIGEST_HEX    65
#define PAGE_OCTETS   (CONTROL_ANSWER_MAX / 2) /* of domains in one answer, some are longer in JSON */
#define DOMAIN_OCTETS 1536                     /* of a domain beside what it says itself */

/* ---- records ---- */

static void record_add(json_t *records, const char *name, const char *type, const char *value,
	const char *zone, const char *why)
{
	json_array_append_new(
		records, json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", name, "type", type, "value",
				 control_json_text(value), "zone", control_json_text(zone), "why",
				 control_json_text(why)));
}

/* `text` and `line` are the caller's buffers; what does not fit is left out, which cannot be. */
static void txt_add(
	json_t *records, const char *prefix, const char *domain, struct buf *text, const char *why)
{
	char name[STS_NAME_MAX + 32];
	char storage[LINE_MAX];
	struct buf line;

	buf_init(&line, storage, sizeof(storage));
	snprintf(name, sizeof(name), "%s%s", prefix, domain);
	if (!sts_zone_txt(prefix, domain, buf_span(text), &line) ||
		!buf_put(&line, span_of("", 1)) || !buf_put(text, span_of("", 1)))
		return;
	record_add(records, name, "TXT", (const char *)text->p, storage, why);
}

static void sts_add(json_t *records, const struct web_policy *policy)
{
	char storage[STS_TXT_MAX + 1];
	struct buf text;

	buf_init(&text, storage, sizeof(storage));
	if (sts_record_write(span_str(policy->id), &text))
		txt_add(records, STS_RECORD_PREFIX, policy->domain, &text,
			"the policy's id, new with each new policy");
	buf_clear(&text);
	if (policy->reports_n > 0 && sts_tlsrpt_write(policy->reports, policy->reports_n, &text))
		txt_add(records, STS_TLSRPT_PREFIX, policy->domain, &text,
			"where senders send their reports on TLS");
}

static bool is_public(const char *address)
{
	return strcmp(address, "0.0.0.0") != 0 && strcmp(address, "::") != 0 &&
	       strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0;
}

/* Of the policy's host: the listeners' addresses as far as they are ones that the world sees. */
static void host_add(json_t *records, const struct config *config, const char *domain)
{
	char name[STS_NAME_MAX + 32];
	char line[STS_NAME_MAX + 160];
	bool serves = false;

	snprintf(name, sizeof(name), STS_POLICY_HOST_PREFIX "%s", domain);
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_settings *listener = &config->listeners[i];
		bool v6 = strchr(listener->address, ':') != NULL;
		bool known = is_public(listener->address);
		const char *type = v6 ? "AAAA" : "A";

		if (listener->protocol != LISTENER_HTTPS)
			continue;
		serves = true;
		if (known)
			snprintf(line, sizeof(line), "%s. IN %s %s", name, type, listener->address);
		else
			snprintf(line, sizeof(line),
				"; %s. IN %s (the address that the world sees)", name, type);
		record_add(records, name, type, known ? listener->address : NULL, line,
			"the policy's host");
	}
	if (serves)
		return;
	snprintf(line, sizeof(line), "; %s. IN A (the policy's host: no listener here is https)",
		name);
	record_add(records, name, "A", NULL, line, "the policy's host, elsewhere");
}

/* ---- TLSA ---- */

static void tlsa_add(json_t *records, const char *hostname, enum sts_tlsa_usage usage,
	const uint8_t digest[32], const char *why, bool next)
{
	const struct sts_tlsa tlsa = {
		usage, STS_SELECT_SPKI, STS_MATCH_SHA256, span_of(digest, 32)};
	char name[STS_NAME_MAX + 32];
	char value[DIGEST_HEX + 16];
	char storage[STS_TLSA_LINE_MAX];
	struct buf line, data;

	buf_init(&line, storage, sizeof(storage));
	buf_init(&data, value, sizeof(value));
	snprintf(name, sizeof(name), STS_TLSA_PREFIX "%s", hostname);
	if (!sts_zone_tlsa(STS_TLSA_PREFIX, hostname, &tlsa, &line) ||
		!buf_put(&line, span_of("", 1)) || !buf_printf(&data, "%u 1 1 ", usage))
		return;
	for (int i = 0; i < 32; i++)
		if (!buf_printf(&data, "%02x", digest[i]))
			return;
	for (size_t i = 0; i < json_array_size(records); i++)
		if (strcmp(json_string_value(json_object_get(json_array_get(records, i), "zone")),
			    storage) == 0)
			return; /* the same key again */
	record_add(records, name, "TLSA", value, storage, why);
	json_object_set_new(
		json_array_get(records, json_array_size(records) - 1), "next", json_boolean(next));
}

static void pins_add(json_t *records, const char *hostname, const char *title,
	const struct tls_pins *pins, bool next)
{
	char why[160];

	if (!pins->known)
		return;
	snprintf(
		why, sizeof(why), "certificate \"%s\"%s: its key", title, next ? ", the next" : "");
	tlsa_add(records, hostname, STS_DANE_EE, pins->leaf, why, next);
	if (!pins->issued)
		return;
	snprintf(why, sizeof(why), "certificate \"%s\"%s: its issuer's key", title,
		next ? ", the next" : "");
	tlsa_add(records, hostname, STS_DANE_TA, pins->issuer, why, next);
}

/* Those that clients of hostname are shown. */
static json_t *host_json(const struct config *config, const struct published *published)
{
	const char *hostname = config->smtp.hostname;
	json_t *records = json_array();

	for (size_t i = 0; i < config->tls.certificates_n; i++) {
		const struct tls_certificate_facts *facts = &published->certificates[i];

		if (!published->mx[i])
			continue;
		pins_add(records, hostname, config->tls.certificates[i].title, &facts->now, false);
		pins_add(records, hostname, config->tls.certificates[i].title, &facts->next, true);
	}
	return json_pack("{s:s, s:o}", "hostname", hostname, "records", records);
}

/* ---- the answer ---- */

static json_t *domain_json(const struct config *config, const struct web_policy *policy)
{
	json_t *records = json_array();

	sts_add(records, policy);
	host_add(records, config, policy->domain);
	return json_pack("{s:s, s:s, s:s, s:I, s:s%, s:o}", "domain", policy->domain, "mode",
		sts_mode_text(policy->mode), "id", policy->id, "max_age_seconds",
		(json_int_t)policy->max_age_s, "policy", (const char *)policy->text.p,
		policy->text.n, "records", records);
}

/* About what domain_json() takes. */
static size_t domain_octets(const struct web_policy *policy)
{
	size_t n = DOMAIN_OCTETS + 2 * policy->text.n;

	for (size_t i = 0; i < policy->reports_n; i++)
		n += 3 * strlen(policy->reports[i]);
	return n;
}

static json_t *answer_of(json_t *body)
{
	return body != NULL ? json_pack("{s:b, s:o}", "ok", 1, "sts", body) : NULL;
}

static json_t *records_answer(const struct config *config, const struct published *published,
	const struct control_sts_request *request)
{
	const struct web_policies *policies = published->policies;
	size_t n = web_policies_n(policies), i = request->from, octets = 0;
	size_t limit = request->limit > 0 ? request->limit : CONTROL_STS_DOMAINS_MAX;
	json_t *domains = json_array(), *next = json_null();

	if (request->domain[0] != '\0') {
		const struct web_policy *policy = web_policies_find(policies, request->domain);

		if (policy != NULL)
			json_array_append_new(domains, domain_json(config, policy));
		i = n;
	}
	for (; i < n; i++) {
		const struct web_policy *policy = web_policies_at(policies, i);

		octets += domain_octets(policy);
		if (json_array_size(domains) == min_size(limit, CONTROL_STS_DOMAINS_MAX) ||
			(octets > PAGE_OCTETS && json_array_size(domains) > 0)) {
			next = json_integer((json_int_t)i);
			break;
		}
		json_array_append_new(domains, domain_json(config, policy));
	}
	return answer_of(json_pack("{s:I, s:o, s:o, s:o}", "domains_total", (json_int_t)n,
		"domains", domains, "next", next, "host", host_json(config, published)));
}

json_t *sts_answer(const struct sts_facts *facts, const struct control_sts_request *request)
{
	switch (request->action) {
	case CONTROL_STS_RECORDS:
		return records_answer(facts->config, facts->published, request);
	case CONTROL_STS_REPORT:
		return answer_of(sts_report_json(facts, request));
	case CONTROL_STS_POLICIES:
		return answer_of(sts_policies_json(facts, request));
	case CONTROL_STS_WATCH:
		return answer_of(sts_watch_json(facts, request));
	case CONTROL_STS_ACTIONS:
		break;
	}
	return json_pack("{s:b, s:s}", "ok", 0, "error", "there is no such action");
}
