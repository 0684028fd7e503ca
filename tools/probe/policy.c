/* SPDX-License-Identifier: MIT */
/*
 * policy.c -- what a domain says about TLS: its MTA-STS record and policy, and its TLSRPT record.
 *
 * Job: the fetch as RFC 8461 3.3 has it: HTTPS, certificate verified for the policy host, status
 * 200 alone, no redirect followed, a size and a time limit, text/plain. The addresses of the policy
 * host come from the same DNS as all else and are handed to libcurl, so that it asks nobody.
 * Non-goals: a cache (each look is that of a sender who comes for the first time).
 * Invariants: no proxy, no cookies, no credentials, no environment; the body is kept up to
 * STS_POLICY_BYTES_MAX octets and a longer one is refused.
 */
#include "tools/probe/probe.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define HTTPS_PORT    443
#define HTTP_OK       200
#define REDIRECT_MIN  300
#define REDIRECT_END  400
#define HEADERS_MAX   65536 /* octets of a response's head */
#define ADDRESSES_MAX (PROBE_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 4))

const char *probe_sts_state_text(enum probe_sts_state state)
{
	static const char *const texts[PROBE_STS_STATES] = {
		[PROBE_STS_UNASKED] = "not asked",
		[PROBE_STS_NONE] = "none",
		[PROBE_STS_DNS] = "record not available",
		[PROBE_STS_RECORD] = "record no good",
		[PROBE_STS_NO_FETCH] = "policy not available",
		[PROBE_STS_BAD_POLICY] = "policy no good",
		[PROBE_STS_POLICY] = "policy",
	};

	ASSERT(state < PROBE_STS_STATES);
	return texts[state];
}

/* ---- the record ---- */

static void name_below(char out[PROBE_NAME_MAX + 16], const char *prefix, const char *domain)
{
	snprintf(out, PROBE_NAME_MAX + 16, "%s%s", prefix, domain);
}

/* True: there is one, and it can be used. */
static bool record_look(struct probe_dns *dns, const char *domain, struct probe_sts *sts)
{
	char name[PROBE_NAME_MAX + 16];
	struct probe_answer answer;
	enum sts_record_error error = STS_RECORD_NONE;

	name_below(name, STS_RECORD_PREFIX, domain);
	probe_dns_ask(dns, name, PROBE_TXT, &answer);
	if (answer.state == PROBE_DNS_BOGUS || answer.state == PROBE_DNS_FAILED) {
		sts->state = PROBE_STS_DNS;
		memcpy(sts->why, answer.why, sizeof(sts->why));
		probe_answer_free(&answer);
		return false;
	}
	if (answer.state == PROBE_DNS_FOUND)
		error = sts_record_read(answer.data, answer.n, &sts->record);
	probe_answer_free(&answer);
	if (error == STS_RECORD_OK)
		return true;
	sts->state = error == STS_RECORD_NONE ? PROBE_STS_NONE : PROBE_STS_RECORD;
	if (error != STS_RECORD_NONE)
		snprintf(sts->why, sizeof(sts->why), "%s", sts_record_error_text(error));
	return false;
}

/* ---- the fetch ---- */

struct fetch {
	struct probe_sts *sts;
	CURL *curl;
	struct curl_slist *resolve, *connect_to;
	bool too_large;
	size_t head_n;
	char error[CURL_ERROR_SIZE];
};

static size_t body_take(char *octets, size_t size, size_t n, void *arg)
{
	struct fetch *fetch = arg;
	struct probe_sts *sts = fetch->sts;

	n *= size;
	if (n > STS_POLICY_BYTES_MAX - sts->body_n) {
		fetch->too_large = true;
		return 0; /* ends the transfer */
	}
	memcpy(sts->body + sts->body_n, octets, n);
	sts->body_n += n;
	return n;
}

static size_t head_take(char *octets, size_t size, size_t n, void *arg)
{
	struct fetch *fetch = arg;

	(void)octets;
	n *= size;
	fetch->head_n += n;
	fetch->too_large |= fetch->head_n > HEADERS_MAX;
	return fetch->too_large ? 0 : n;
}

static void address_append(struct buf *out, struct span data)
{
	char text[INET6_ADDRSTRLEN];
	bool six = data.n == sizeof(struct in6_addr);

	if ((!six && data.n != sizeof(struct in_addr)) ||
		inet_ntop(six ? AF_INET6 : AF_INET, data.p, text, sizeof(text)) == NULL)
		return;
	(void)!buf_printf(
		out, "%s%s%s%s", buf_len(out) > 0 ? "," : "", six ? "[" : "", text, six ? "]" : "");
}

/* The host's addresses in libcurl's form; false: none. */
static bool addresses_find(
	struct probe_dns *dns, const char *host, struct probe_sts *sts, char text[ADDRESSES_MAX])
{
	static const enum probe_type types[] = {PROBE_A, PROBE_AAAA};
	struct buf out;

	buf_init(&out, text, ADDRESSES_MAX - 1);
	for (size_t i = 0; i < COUNT_OF(types); i++) {
		struct probe_answer answer;

		probe_dns_ask(dns, host, types[i], &answer);
		for (size_t k = 0; k < answer.n && k < PROBE_ADDRESSES_MAX / 2; k++)
			address_append(&out, answer.data[k]);
		if (answer.n == 0 && sts->why[0] == '\0')
			snprintf(sts->why, sizeof(sts->why), "%s has no address: %.200s", host,
				answer.why[0] != '\0' ? answer.why
						      : probe_dns_state_text(answer.state));
		probe_answer_free(&answer);
	}
	text[out.end] = '\0';
	if (out.end > 0)
		sts->why[0] = '\0';
	return out.end > 0;
}

static bool set_up(struct fetch *fetch, const struct probe_settings *settings, const char *host,
	const char *addresses)
{
	unsigned port = settings->policy_port != 0 ? settings->policy_port : HTTPS_PORT;
	char line[PROBE_NAME_MAX * 2 + ADDRESSES_MAX + 64];
	CURL *curl = fetch->curl;
	int rc = 0;

	snprintf(line, sizeof(line), "%s:%u:%s", host, port, addresses);
	fetch->resolve = curl_slist_append(NULL, line);
	snprintf(line, sizeof(line), "%s:%d:%s:%u", host, HTTPS_PORT, host, port);
	fetch->connect_to = curl_slist_append(NULL, line);
	if (fetch->resolve == NULL || fetch->connect_to == NULL)
		return false;
	rc |= curl_easy_setopt(curl, CURLOPT_URL, fetch->sts->url);
	rc |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	rc |= curl_easy_setopt(curl, CURLOPT_RESOLVE, fetch->resolve);
	rc |= curl_easy_setopt(curl, CURLOPT_CONNECT_TO, fetch->connect_to);
	rc |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	rc |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
	rc |= curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	rc |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	rc |= curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
	rc |= curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	rc |= curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)settings->timeout_ms);
	rc |= curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, (long)STS_POLICY_BYTES_MAX);
	rc |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take);
	rc |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetch);
	rc |= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, head_take);
	rc |= curl_easy_setopt(curl, CURLOPT_HEADERDATA, fetch);
	rc |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, fetch->error);
	rc |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "postern-probe");
	if (settings->ca_file != NULL) {
		rc |= curl_easy_setopt(curl, CURLOPT_CAINFO, settings->ca_file);
		rc |= curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	return rc == 0;
}

/* What came, judged as RFC 8461 3.3 does. True: a body to read. */
static bool response_judge(struct fetch *fetch, CURLcode code)
{
	struct probe_sts *sts = fetch->sts;
	const char *type = NULL;

	(void)!curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &sts->http_status);
	(void)!curl_easy_getinfo(fetch->curl, CURLINFO_CONTENT_TYPE, &type);
	probe_clean(sts->media_type, sizeof(sts->media_type), span_str(type != NULL ? type : ""));
	if (fetch->too_large || code == CURLE_FILESIZE_EXCEEDED)
		snprintf(sts->why, sizeof(sts->why), "the answer has more than %d octets",
			STS_POLICY_BYTES_MAX);
	else if (code != CURLE_OK)
		probe_clean(sts->why, sizeof(sts->why),
			span_str(
				fetch->error[0] != '\0' ? fetch->error : curl_easy_strerror(code)));
	else if (sts->http_status >= REDIRECT_MIN && sts->http_status < REDIRECT_END)
		snprintf(sts->why, sizeof(sts->why),
			"HTTP status %ld: a redirect, which is not followed", sts->http_status);
	else if (sts->http_status != HTTP_OK)
		snprintf(sts->why, sizeof(sts->why), "HTTP status %ld", sts->http_status);
	else if (type == NULL || !sts_media_type_valid(span_str(type)))
		snprintf(sts->why, sizeof(sts->why), "the media type is %s, and not %s",
			type != NULL ? sts->media_type : "missing", STS_POLICY_MEDIA_TYPE);
	else
		return true;
	return false;
}

static bool fetch_policy(struct probe_dns *dns, const struct probe_settings *settings,
	const char *domain, struct probe_sts *sts)
{
	struct fetch fetch = {.sts = sts};
	char addresses[ADDRESSES_MAX], host[PROBE_NAME_MAX + 16];
	uint64_t began = clock_ms();
	bool got = false;

	sts->state = PROBE_STS_NO_FETCH;
	name_below(host, STS_POLICY_HOST_PREFIX, domain);
	snprintf(sts->url, sizeof(sts->url), "https://%s%s", host, STS_POLICY_PATH);
	if (!addresses_find(dns, host, sts, addresses))
		return false;
	sts->body = malloc(STS_POLICY_BYTES_MAX);
	fetch.curl = curl_easy_init();
	if (sts->body != NULL && fetch.curl != NULL && set_up(&fetch, settings, host, addresses))
		got = response_judge(&fetch, curl_easy_perform(fetch.curl));
	else
		snprintf(sts->why, sizeof(sts->why), "libcurl cannot start");
	curl_slist_free_all(fetch.resolve);
	curl_slist_free_all(fetch.connect_to);
	curl_easy_cleanup(fetch.curl);
	sts->fetch_ms = (uint32_t)(clock_ms() - began);
	return got;
}

void probe_sts_look(struct probe_dns *dns, const struct probe_settings *settings,
	const char *domain, struct probe_sts *sts)
{
	enum sts_policy_error error;

	memset(sts, 0, sizeof(*sts));
	if (!record_look(dns, domain, sts) || !fetch_policy(dns, settings, domain, sts))
		return;
	error = sts_policy_read(span_of(sts->body, sts->body_n), &sts->policy, &sts->line);
	sts->state = error == STS_POLICY_OK ? PROBE_STS_POLICY : PROBE_STS_BAD_POLICY;
	if (error != STS_POLICY_OK)
		snprintf(sts->why, sizeof(sts->why), "%s", sts_policy_error_text(error));
}

void probe_sts_free(struct probe_sts *sts)
{
	free(sts->body);
	sts->body = NULL;
}

/* ---- reports ---- */

void probe_tlsrpt_look(struct probe_dns *dns, const char *domain, struct probe_tlsrpt *tlsrpt)
{
	char name[PROBE_NAME_MAX + 16];
	struct probe_answer answer;

	memset(tlsrpt, 0, sizeof(*tlsrpt));
	name_below(name, STS_TLSRPT_PREFIX, domain);
	probe_dns_ask(dns, name, PROBE_TXT, &answer);
	tlsrpt->dns = answer.state;
	tlsrpt->error = STS_RECORD_NONE;
	if (answer.state == PROBE_DNS_FOUND)
		tlsrpt->error = sts_tlsrpt_read(answer.data, answer.n, &tlsrpt->record);
	probe_answer_free(&answer);
}
