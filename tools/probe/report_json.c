/* SPDX-License-Identifier: MIT */
/*
 * report_json.c -- the facts for scripts: one object; words are those of the tables.
 *
 * Keys are stable, unknown things are null or "unknown", times are seconds since 1970. Text from
 * outside is printable ASCII by now (probe.h).
 */
#include "tools/probe/probe.h"

#include <jansson.h>

#include <openssl/x509_vfy.h>

#define HEX_OCTETS_MAX 4096 /* of a TLSA record that are shown */

/* Takes `value` over. */
static void set(json_t *object, const char *key, json_t *value)
{
	(void)!json_object_set_new(object, key, value != NULL ? value : json_null());
}

static void set_text(json_t *object, const char *key, const char *text)
{
	set(object, key, text != NULL && text[0] != '\0' ? json_string(text) : json_null());
}

static json_t *hex(struct span octets)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * HEX_OCTETS_MAX];
	size_t n = min_size(octets.n, HEX_OCTETS_MAX);

	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[octets.p[i] >> 4];
		text[2 * i + 1] = digits[octets.p[i] & 15];
	}
	return json_stringn(text, 2 * n);
}

/* ---- the domain ---- */

static json_t *sts_json(const struct probe_sts *sts)
{
	json_t *object = json_object(), *mx = json_array();

	set_text(object, "state", probe_sts_state_text(sts->state));
	set_text(object, "why", sts->why);
	set_text(object, "id", sts->record.id);
	set_text(object, "url", sts->url);
	set(object, "http_status", sts->http_status != 0 ? json_integer(sts->http_status) : NULL);
	set_text(object, "media_type", sts->media_type);
	set(object, "line", sts->line != 0 ? json_integer(sts->line) : NULL);
	if (sts->state == PROBE_STS_POLICY) {
		set_text(object, "mode", sts_mode_text(sts->policy.mode));
		set(object, "max_age", json_integer(sts->policy.max_age_s));
	}
	for (uint32_t i = 0; i < sts->policy.mx_n; i++)
		(void)!json_array_append_new(
			mx, json_stringn((const char *)sts->policy.mx[i].p, sts->policy.mx[i].n));
	set(object, "mx", mx);
	return object;
}

static json_t *tlsrpt_json(const struct probe_tlsrpt *tlsrpt)
{
	json_t *object = json_object(), *rua = json_array();

	set_text(object, "dns", probe_dns_state_text(tlsrpt->dns));
	set(object, "found", json_boolean(tlsrpt->error == STS_RECORD_OK));
	if (tlsrpt->dns == PROBE_DNS_FOUND && tlsrpt->error != STS_RECORD_OK)
		set_text(object, "why", sts_record_error_text(tlsrpt->error));
	for (uint32_t i = 0; tlsrpt->error == STS_RECORD_OK && i < tlsrpt->record.rua_n; i++) {
		char text[PROBE_TEXT_MAX];

		probe_clean(text, sizeof(text), sts_rua_uri(&tlsrpt->record, i));
		(void)!json_array_append_new(rua, json_string(text));
	}
	set(object, "rua", rua);
	return object;
}

static json_t *mx_json(const struct probe_domain *domain)
{
	json_t *object = json_object(), *records = json_array();

	set_text(object, "dns", probe_dns_state_text(domain->mx.state));
	set_text(object, "why", domain->mx.why);
	set(object, "secure", json_boolean(domain->mx.secure));
	set(object, "implicit", json_boolean(domain->implicit_mx));
	set(object, "null", json_boolean(domain->null_mx));
	for (size_t i = 0; i < domain->hosts_n && !domain->implicit_mx; i++) {
		json_t *record = json_object();

		set(record, "preference", json_integer(domain->hosts[i].preference));
		set_text(record, "name", domain->hosts[i].name);
		(void)!json_array_append_new(records, record);
	}
	set(object, "records", records);
	return object;
}

/* ---- a host ---- */

static json_t *addresses_json(const struct probe_host *host)
{
	json_t *array = json_array();

	for (size_t i = 0; i < host->addresses_n; i++) {
		const struct probe_address *address = &host->addresses[i];
		json_t *object = json_object();

		set_text(object, "address", address->text);
		set_text(object, "outcome", probe_outcome_text(address->outcome));
		set_text(object, "why", address->why);
		(void)!json_array_append_new(array, object);
	}
	return array;
}

static json_t *upgrade_json(const struct probe_host *host, const struct probe_settings *settings)
{
	const struct probe_trial *trial = &host->trial;
	json_t *object = json_object();

	set_text(object, "outcome", probe_outcome_text(trial->outcome));
	set_text(object, "why", trial->why);
	set_text(object, "greeting", trial->greeting);
	set(object, "implicit", json_boolean(settings->implicit_tls));
	set(object, "offered", json_boolean(trial->offered));
	set(object, "disguised", json_boolean(trial->disguised));
	set(object, "octets_before_handshake", json_boolean(trial->early));
	set_text(object, "injection", probe_injection_text(host->injection));
	set(object, "leaks",
		host->injection == PROBE_INJECT_UNTRIED || host->injection == PROBE_INJECT_UNKNOWN
			? NULL
			: json_boolean(host->injection == PROBE_INJECT_LEAKED));
	return object;
}

static json_t *session_json(const struct probe_host *host)
{
	const struct probe_trial *trial = &host->trial;
	json_t *object = json_object(), *versions = json_object(), *resumption = json_object();

	set_text(object, "version", trial->version);
	set_text(object, "cipher", trial->cipher);
	set_text(object, "group", trial->group);
	set_text(object, "signature", trial->signature);
	set(object, "forward_secret", json_boolean(trial->forward_secret));
	set(object, "aead", json_boolean(trial->aead));
	set(object, "connect_ms", json_integer(trial->connect_ms));
	set(object, "handshake_ms", json_integer(trial->handshake_ms));
	set_text(object, "extensions", trial->extensions);
	for (size_t i = 0; i < PROBE_VERSIONS; i++) {
		enum probe_accepts accepts = host->accepts[i];

		set(versions, probe_version_text(i),
			accepts == PROBE_ACCEPTS_UNKNOWN ? NULL
							 : json_boolean(accepts == PROBE_ACCEPTS));
	}
	set(object, "versions", versions);
	for (size_t i = 2; i < PROBE_VERSIONS; i++)
		set_text(resumption, probe_version_text(i),
			probe_resumption_text(host->resumption[i]));
	set(object, "resumption", resumption);
	return object;
}

static json_t *certificate_json(const struct probe_certificate *certificate)
{
	json_t *object = json_object(), *names = json_array();

	set_text(object, "subject", certificate->subject);
	set_text(object, "issuer", certificate->issuer);
	set_text(object, "serial", certificate->serial);
	set_text(object, "key", certificate->key);
	set_text(object, "signature", certificate->signature);
	set(object, "not_before", json_integer((json_int_t)certificate->not_before));
	set(object, "not_after", json_integer((json_int_t)certificate->not_after));
	set(object, "sha256", hex(certificate->sts.der_sha256));
	set(object, "spki_sha256", hex(certificate->sts.spki_sha256));
	for (size_t i = 0; i < certificate->names_n; i++)
		(void)!json_array_append_new(names, json_string(certificate->names[i]));
	set(object, "names", names);
	return object;
}

static json_t *chain_json(const struct probe_chain *chain)
{
	json_t *object = json_object(), *certificates = json_array();

	for (size_t i = 0; i < chain->n; i++)
		(void)!json_array_append_new(
			certificates, certificate_json(&chain->certificates[i]));
	set(object, "certificates", certificates);
	set(object, "verified", json_boolean(chain->n > 0 && chain->verify_error == X509_V_OK));
	set_text(object, "verify_result", chain->verify_text);
	set(object, "verify_depth", json_integer((json_int_t)chain->verify_depth));
	set_text(object, "anchor", chain->anchor);
	set(object, "name_matches", json_boolean(chain->match == PROBE_NAME_MATCHES));
	return object;
}

static json_t *dane_json(const struct probe_dane *dane)
{
	json_t *object = json_object(), *records = json_array();

	set_text(object, "state", probe_dane_state_text(dane->state));
	set_text(object, "why", dane->why);
	set_text(object, "base", dane->base);
	set(object, "authenticated", json_boolean(dane->matched));
	for (size_t i = 0; i < dane->n; i++) {
		const struct probe_tlsa *tlsa = &dane->records[i];
		json_t *record = json_object();

		set(record, "usage", json_integer(tlsa->tlsa.usage));
		set(record, "selector", json_integer(tlsa->tlsa.selector));
		set(record, "matching", json_integer(tlsa->tlsa.matching));
		set(record, "data", hex(tlsa->tlsa.data));
		set_text(record, "use", sts_tlsa_use_text(tlsa->use));
		set_text(record, "verdict", probe_tlsa_verdict_text(tlsa->verdict));
		set_text(record, "why", tlsa->why);
		set(record, "matches", json_boolean(tlsa->verdict == PROBE_TLSA_MATCH));
		(void)!json_array_append_new(records, record);
	}
	set(object, "records", records);
	return object;
}

static json_t *host_json(const struct probe_domain *domain, const struct probe_host *host,
	const struct probe_settings *settings)
{
	const struct probe_sts *sts = &domain->sts;
	json_t *object = json_object();

	set_text(object, "name", host->name);
	set(object, "addresses", addresses_json(host));
	set_text(object, "address", host->addresses[host->address].text);
	set(object, "upgrade", upgrade_json(host, settings));
	set(object, "tls", host->trial.outcome >= PROBE_NO_TLS ? session_json(host) : NULL);
	set(object, "chain", host->chain.n > 0 ? chain_json(&host->chain) : NULL);
	set(object, "dane", dane_json(&host->dane));
	set(object, "policy_allows",
		sts->state == PROBE_STS_POLICY
			? json_boolean(sts_policy_has_mx(&sts->policy, span_str(host->name)))
			: NULL);
	return object;
}

/* ---- all ---- */

static json_t *findings_json(const struct probe_findings *findings)
{
	json_t *array = json_array();

	for (size_t i = 0; i < findings->n; i++) {
		const struct probe_finding *finding = &findings->items[i];
		json_t *object = json_object();

		set_text(object, "severity", probe_severity_text(finding->severity));
		set_text(object, "code", finding->code);
		set_text(object, "host", finding->host);
		set_text(object, "what", finding->what);
		set_text(object, "sender", finding->sender);
		(void)!json_array_append_new(array, object);
	}
	return array;
}

json_t *probe_json(const struct probe_domain *domain, const struct probe_settings *settings)
{
	json_t *root = json_object(), *hosts = json_array();

	set_text(root, "name", domain->name);
	set_text(root, "kind", domain->is_domain ? "domain" : "host");
	set_text(root, "protocol", probe_protocol_text(settings->protocol));
	set(root, "dnssec", json_boolean(domain->dnssec));
	set(root, "mx", domain->is_domain ? mx_json(domain) : NULL);
	set(root, "sts", domain->sts.state != PROBE_STS_UNASKED ? sts_json(&domain->sts) : NULL);
	set(root, "tlsrpt",
		domain->sts.state != PROBE_STS_UNASKED ? tlsrpt_json(&domain->tlsrpt) : NULL);
	for (size_t i = 0; i < domain->hosts_n; i++)
		(void)!json_array_append_new(hosts, host_json(domain, &domain->hosts[i], settings));
	set(root, "hosts", hosts);
	set(root, "findings", findings_json(&domain->findings));
	set(root, "findings_dropped", json_integer((json_int_t)domain->findings.dropped_n));
	set_text(root, "verdict", probe_severity_text(domain->findings.worst));
	return root;
}

bool probe_report_json(const struct probe_domain *domain, const struct probe_settings *settings)
{
	json_t *root = probe_json(domain, settings);
	bool written;

	written = root != NULL && json_dumpf(root, stdout, JSON_INDENT(2)) == 0;
	json_decref(root);
	putchar('\n');
	return written;
}
