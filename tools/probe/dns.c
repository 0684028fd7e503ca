/* SPDX-License-Identifier: MIT */
/*
 * dns.c -- questions to the DNS by libunbound, each within its time, with DNSSEC where that works.
 *
 * A sender sees the DNS and not our /etc/hosts, so that file is not read. Answers are validated
 * here and not by the resolver, whose word nothing protects. A resolver that does not pass on
 * signatures would make every answer bogus: so the root's keys are asked for first, and where they
 * do not come, and the trust anchor was not the user's own choice, the questions go on without
 * DNSSEC and the report says so.
 *
 * libunbound works in a thread of its own: ub_resolve() has no time limit.
 *
 * Rejected: the AD flag of a resolver on loopback (another machine may stand behind the address).
 */
#include "tools/probe/probe.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>
#include <unistd.h>

#include "base/clock.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define CLASS_IN    1
#define NOERROR     0
#define NXDOMAIN    3

static const char *const anchors[] = {"/usr/share/dns/root.key", "/var/lib/unbound/root.key"};

struct probe_dns {
	struct ub_ctx *ub;
	uint32_t timeout_ms;
	const char *no_dnssec; /* NULL: it is checked */
};

const char *probe_dns_state_text(enum probe_dns_state state)
{
	static const char *const texts[PROBE_DNS_STATES] = {
		[PROBE_DNS_UNASKED] = "not asked",
		[PROBE_DNS_FOUND] = "found",
		[PROBE_DNS_NO_DATA] = "no such record",
		[PROBE_DNS_NO_NAME] = "no such name",
		[PROBE_DNS_BOGUS] = "bogus",
		[PROBE_DNS_FAILED] = "failed",
	};

	ASSERT(state < PROBE_DNS_STATES);
	return texts[state];
}

/* ---- setting up ---- */

static const char *anchor_choose(const struct probe_settings *settings)
{
	if (settings->trust_anchor != NULL)
		return settings->trust_anchor;
	for (size_t i = 0; i < COUNT_OF(anchors); i++)
		if (access(anchors[i], R_OK) == 0)
			return anchors[i];
	return NULL;
}

/* A context that asks the resolver; anchor NULL: without DNSSEC. */
static int context_open(struct probe_dns *dns, const struct probe_settings *settings,
	const char *anchor, struct err *err)
{
	int rc;

	dns->ub = ub_ctx_create();
	if (dns->ub == NULL)
		return err_set(err, "libunbound cannot start: out of memory");
	rc = ub_ctx_async(dns->ub, 1);
	if (rc == 0) /* a resolver on loopback is a resolver */
		rc = ub_ctx_set_option(dns->ub, "do-not-query-localhost:", "no");
	if (rc == 0 && anchor == NULL)
		rc = ub_ctx_set_option(dns->ub, "module-config:", "iterator");
	if (rc == 0 && anchor != NULL)
		rc = ub_ctx_add_ta_file(dns->ub, anchor);
	if (rc == 0 && settings->resolver != NULL)
		rc = ub_ctx_set_fwd(dns->ub, settings->resolver);
	if (rc == UB_SYNTAX)
		return err_set(
			err, "--resolver %s: not an address, or ADDRESS@PORT", settings->resolver);
	if (rc != 0)
		return err_set(err, "libunbound cannot start: %s", ub_strerror(rc));
	if (settings->resolver == NULL) /* without the file libunbound asks the root */
		(void)!ub_ctx_resolvconf(dns->ub, RESOLV_CONF);
	return 0;
}

static int open_validating(struct probe_dns *dns, const struct probe_settings *settings,
	const char *anchor, struct err *err)
{
	struct probe_answer answer;
	bool works;

	if (context_open(dns, settings, anchor, err) != 0)
		return -1;
	if (settings->trust_anchor != NULL)
		return 0;
	probe_dns_ask(dns, ".", PROBE_DNSKEY, &answer);
	works = answer.secure;
	probe_answer_free(&answer);
	if (works)
		return 0;
	dns->no_dnssec = "the resolver does not pass on what DNSSEC needs";
	ub_ctx_delete(dns->ub);
	return context_open(dns, settings, NULL, err);
}

int probe_dns_open(struct probe_dns **dns, const struct probe_settings *settings, struct err *err)
{
	const char *anchor = anchor_choose(settings);
	struct probe_dns *made = calloc(1, sizeof(*made));
	int rc;

	*dns = NULL;
	if (made == NULL)
		return err_set(err, "out of memory");
	made->timeout_ms = settings->timeout_ms;
	if (settings->trust_anchor != NULL && access(anchor, R_OK) != 0) {
		free(made);
		return err_set(err, "%s: %s", anchor, strerror(errno));
	}
	if (settings->no_dane)
		made->no_dnssec = "it was not asked for";
	else if (anchor == NULL)
		made->no_dnssec =
			"there is no trust anchor: install dns-root-data or give --trust-anchor";
	if (made->no_dnssec != NULL)
		rc = context_open(made, settings, NULL, err);
	else
		rc = open_validating(made, settings, anchor, err);
	if (rc != 0) {
		probe_dns_close(made);
		return -1;
	}
	*dns = made;
	return 0;
}

void probe_dns_close(struct probe_dns *dns)
{
	if (dns == NULL)
		return;
	if (dns->ub != NULL)
		ub_ctx_delete(dns->ub);
	free(dns);
}

bool probe_dns_validates(const struct probe_dns *dns, const char **why)
{
	*why = dns->no_dnssec;
	return dns->no_dnssec == NULL;
}

/* ---- asking ---- */

struct waiting {
	bool done;
	int error;
	struct ub_result *result;
};

static void answered(void *arg, int error, struct ub_result *result)
{
	struct waiting *waiting = arg;

	waiting->done = true;
	waiting->error = error;
	waiting->result = result;
}

/* 0, or an error of libunbound; -1: the time is up. */
static int wait_for_answer(struct probe_dns *dns, int id, struct waiting *waiting)
{
	uint64_t end = clock_ms() + dns->timeout_ms;

	while (!waiting->done) {
		struct pollfd fd = {.fd = ub_fd(dns->ub), .events = POLLIN};
		uint64_t now = clock_ms();
		int n = now < end ? poll(&fd, 1, (int)(end - now)) : 0;

		if (n == 0) {
			(void)!ub_cancel(dns->ub, id);
			return -1;
		}
		if (n > 0 && ub_process(dns->ub) != 0) {
			(void)!ub_cancel(dns->ub, id);
			return UB_SERVFAIL;
		}
	}
	return waiting->error;
}

static void fail(struct probe_answer *answer, const char *why)
{
	answer->state = PROBE_DNS_FAILED;
	probe_clean(answer->why, sizeof(answer->why), span_str(why));
}

/* What the result is; the records stay where they are. */
static void take(struct probe_answer *answer, const char *name, const struct ub_result *result)
{
	const char *canonical = result->canonname;

	answer->secure = result->secure && !result->bogus;
	if (canonical != NULL && canonical[0] != '\0') {
		probe_clean(answer->canonical, sizeof(answer->canonical), span_str(canonical));
		if (answer->canonical[strlen(answer->canonical) - 1] == '.')
			answer->canonical[strlen(answer->canonical) - 1] = '\0';
	}
	answer->alias = strcasecmp(answer->canonical, name) != 0;
	if (result->bogus) {
		answer->state = PROBE_DNS_BOGUS;
		probe_clean(answer->why, sizeof(answer->why),
			span_str(result->why_bogus != NULL ? result->why_bogus : "bogus"));
		return;
	}
	if (result->rcode != NOERROR && result->rcode != NXDOMAIN) {
		snprintf(answer->why, sizeof(answer->why), "the resolver answered with code %d",
			result->rcode);
		answer->state = PROBE_DNS_FAILED;
		return;
	}
	answer->state = result->rcode == NXDOMAIN ? PROBE_DNS_NO_NAME : PROBE_DNS_NO_DATA;
	if (result->rcode == NXDOMAIN || !result->havedata)
		return;
	answer->state = PROBE_DNS_FOUND;
	for (; answer->n < PROBE_RECORDS_MAX && result->data[answer->n] != NULL; answer->n++)
		answer->data[answer->n] =
			span_of(result->data[answer->n], (size_t)result->len[answer->n]);
}

void probe_dns_ask(
	struct probe_dns *dns, const char *name, enum probe_type type, struct probe_answer *answer)
{
	struct waiting waiting = {0};
	int id = 0, rc;

	memset(answer, 0, sizeof(*answer));
	probe_clean(answer->canonical, sizeof(answer->canonical), span_str(name));
	rc = ub_resolve_async(dns->ub, name, (int)type, CLASS_IN, &waiting, answered, &id);
	if (rc == 0)
		rc = wait_for_answer(dns, id, &waiting);
	answer->result = waiting.result;
	if (rc == -1)
		fail(answer, "no answer came in time");
	else if (rc != 0 || waiting.result == NULL)
		fail(answer, ub_strerror(rc));
	else
		take(answer, name, waiting.result);
}

void probe_answer_free(struct probe_answer *answer)
{
	if (answer->result != NULL)
		ub_resolve_free(answer->result);
	answer->result = NULL;
	answer->n = 0;
}
