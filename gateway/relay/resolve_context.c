/* SPDX-License-Identifier: MIT */
/*
 * resolve_context.c -- libunbound, made ready: which servers it asks, where its trust in DNSSEC
 * begins, its thread started.
 *
 * The trust anchor is read once; a root key that is rolled over (RFC 5011) comes with the system's
 * package and the next start. Rejected: libunbound's own following of it, which has to write files
 * where a worker may not. A file that is not there is a warning, and nothing is secure: mail goes on,
 * by MTA-STS and opportunistic TLS.
 */
#include "relay/resolve-private.h"

#include <errno.h>
#include <pthread.h>
#include <unbound.h>
#include <unistd.h>

#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS       "/etc/hosts"

#define DNS_CLASS_IN 1
#define DNS_A        1

static void first_answered(void *arg, int failure, struct ub_result *result)
{
	*(int *)arg = failure;
	ub_resolve_free(result);
}

/* Which servers are asked, and what stands in files. -1 and err. */
static int set_servers(struct ub_ctx *ub, const struct relay_settings *settings, struct err *err)
{
	int rc;

	for (size_t i = 0; i < settings->resolvers_n; i++) {
		rc = ub_ctx_set_fwd(ub, settings->resolvers[i]);
		if (rc != 0)
			return err_set(err, "relay: resolver %s: %s", settings->resolvers[i],
				ub_strerror(rc));
	}
	if (settings->resolvers_n > 0)
		return 0;
	rc = access(RESOLV_CONF, F_OK) == 0 ? ub_ctx_resolvconf(ub, RESOLV_CONF) : 0;
	if (rc != 0)
		return err_set(
			err, "relay: %s: %s (or set resolvers)", RESOLV_CONF, ub_strerror(rc));
	rc = access(HOSTS, F_OK) == 0 ? ub_ctx_hosts(ub, HOSTS) : 0;
	if (rc != 0)
		return err_set(err, "relay: %s: %s", HOSTS, ub_strerror(rc));
	return 0;
}

/* Where DNSSEC begins. Only whoever obeys policies needs it: every answer costs more then, and a
 * resolver that drops signatures makes every name unusable. -1 and err. */
static int set_anchor(struct ub_ctx *ub, const struct relay_settings *settings, struct err *err)
{
	bool wanted = false;
	int rc;

	for (size_t i = 0; i < settings->routes_n; i++)
		wanted |= settings->routes[i].tls == ROUTE_TLS_POLICY;
	if (!wanted || settings->trust_anchor == NULL)
		return 0;
	if (access(settings->trust_anchor, R_OK) != 0) {
		event_text(EVENT_NO_COUNT, "trust_anchor_missing", "file", settings->trust_anchor);
		return 0;
	}
	rc = ub_ctx_add_ta_file(ub, settings->trust_anchor);
	return rc == 0 ? 0
		       : err_set(err, "relay: trust_anchor %s: %s", settings->trust_anchor,
				 ub_strerror(rc));
}

/* The first question and its answer; libunbound's thread is there afterwards. Its code. */
static int start_thread(struct ub_ctx *ub)
{
	char name[16];
	int id, failure = UB_INITFAIL, rc;

	/* a new thread has the name of its maker */
	pthread_getname_np(pthread_self(), name, sizeof(name));
	pthread_setname_np(pthread_self(), "resolver");
	rc = ub_resolve_async(ub, "localhost", DNS_A, DNS_CLASS_IN, &failure, first_answered, &id);
	pthread_setname_np(pthread_self(), name);
	if (rc == 0)
		rc = ub_wait(ub);
	return rc == 0 ? failure : rc;
}

int resolve_context_open(
	struct ub_ctx **out, const struct relay_settings *settings, struct err *err)
{
	static const char *const options[][2] = {
		/* a resolver on this machine is the usual case */
		{"do-not-query-localhost:", "no"},
		{"outgoing-range:", "64"},
		{"num-queries-per-thread:", "128"},
	};
	struct ub_ctx *ub = ub_ctx_create();
	int rc;

	if (!ub)
		return err_set(err, "relay: the resolver: %s", strerror(ENOMEM));
	rc = ub_ctx_debugout(ub, NULL); /* our log has its own form */
	for (size_t i = 0; rc == 0 && i < COUNT_OF(options); i++)
		rc = ub_ctx_set_option(ub, options[i][0], options[i][1]);
	if (rc == 0)
		rc = ub_ctx_async(ub, true);
	if (rc == 0 &&
		(set_servers(ub, settings, err) != 0 || set_anchor(ub, settings, err) != 0)) {
		ub_ctx_delete(ub);
		return -1;
	}
	if (rc == 0) /* libunbound denies these names by itself, but the servers may know them */
		rc = ub_ctx_zone_remove(ub, "test.");
	if (rc == 0)
		rc = start_thread(ub);
	if (rc != 0) {
		ub_ctx_delete(ub);
		return err_set(err, "relay: the resolver: %s (resolvers or trust_anchor?)",
			ub_strerror(rc));
	}
	*out = ub;
	return 0;
}
