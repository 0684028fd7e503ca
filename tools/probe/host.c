/* SPDX-License-Identifier: MIT */
/*
 * host.c -- one host looked at: addresses, a first connection, then one for each further question.
 *
 * The questions: each version of TLS alone; a second handshake with the session of TLS 1.2 and of
 * 1.3; a command injected behind the upgrade. They go one after the other to the address that
 * answered first, as a sender would take it; the others are tried only while none has.
 *
 * What could not be found out (turned away, no time left) stays unknown and is never taken for a
 * no.
 */
#include "tools/probe/probe-private.h"

#include <arpa/inet.h>

#define TIMEOUTS_MAX 2

static const int versions[PROBE_VERSIONS] = {
	TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};

const char *probe_version_text(size_t i)
{
	static const char *const texts[PROBE_VERSIONS] = {"1.0", "1.1", "1.2", "1.3"};

	ASSERT(i < PROBE_VERSIONS);
	return texts[i];
}

const char *probe_accepts_text(enum probe_accepts accepts)
{
	return accepts == PROBE_ACCEPTS       ? "accepted"
	       : accepts == PROBE_ACCEPTS_NOT ? "not accepted"
					      : "unknown";
}

const char *probe_resumption_text(enum probe_resumption resumption)
{
	static const char *const texts[PROBE_RESUMPTIONS] = {
		[PROBE_RESUME_UNTRIED] = "not tried",
		[PROBE_RESUME_UNKNOWN] = "unknown",
		[PROBE_RESUME_NO_SESSION] = "not offered",
		[PROBE_RESUME_FULL] = "full handshake again",
		[PROBE_RESUME_DONE] = "resumed",
	};

	ASSERT(resumption < PROBE_RESUMPTIONS);
	return texts[resumption];
}

/* ---- addresses ---- */

static void address_add(struct probe_host *host, const struct sockaddr_storage *socket)
{
	struct probe_address *address;
	const void *octets =
		socket->ss_family == AF_INET6
			? (const void *)&((const struct sockaddr_in6 *)socket)->sin6_addr
			: (const void *)&((const struct sockaddr_in *)socket)->sin_addr;

	if (host->addresses_n == PROBE_ADDRESSES_MAX)
		return;
	address = &host->addresses[host->addresses_n++];
	address->socket = *socket;
	if (inet_ntop(socket->ss_family, octets, address->text, sizeof(address->text)) == NULL)
		address->text[0] = '\0';
}

static bool address_text_add(struct probe_host *host, const char *text, uint16_t port)
{
	struct sockaddr_storage socket = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&socket;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&socket;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
	} else {
		return false;
	}
	address_add(host, &socket);
	return true;
}

static void address_record_add(struct probe_host *host, struct span data, uint16_t port)
{
	char text[INET6_ADDRSTRLEN];
	bool six = data.n == sizeof(struct in6_addr);

	if ((six || data.n == sizeof(struct in_addr)) &&
		inet_ntop(six ? AF_INET6 : AF_INET, data.p, text, sizeof(text)) != NULL)
		(void)!address_text_add(host, text, port);
}

static void addresses_find(struct probe_dns *dns, const struct probe_settings *settings,
	uint16_t port, struct probe_host *host)
{
	const struct probe_answer *v4 = &host->answers[0], *v6 = &host->answers[1];
	bool ask = !host->is_numeric && dns != NULL &&
		   (settings->address == NULL || !settings->no_dane);

	if (ask) {
		probe_dns_ask(dns, host->name, PROBE_A, &host->answers[0]);
		probe_dns_ask(dns, host->name, PROBE_AAAA, &host->answers[1]);
	}
	if (settings->address != NULL) {
		(void)!address_text_add(host, settings->address, port);
	} else if (host->is_numeric) {
		(void)!address_text_add(host, host->name, port);
	} else {
		for (size_t i = 0; i < v4->n || i < v6->n; i++) {
			if (i < v6->n)
				address_record_add(host, v6->data[i], port);
			if (i < v4->n)
				address_record_add(host, v4->data[i], port);
		}
	}
}

/* ---- trials ---- */

/* The first address that talks to us, or what the last one did. */
static int first_look(
	const struct probe_settings *settings, struct probe_host *host, struct err *err)
{
	const struct probe_wish wish = {0};

	for (size_t i = 0; i < host->addresses_n; i++) {
		struct probe_address *address = &host->addresses[i];
		int rc;

		host->address = i;
		probe_trial_free(&host->trial);
		rc = probe_trial_run(settings, &address->socket, host->name, &wish, &host->trial,
			&host->chain, err);
		address->tried = true;
		address->outcome = host->trial.outcome;
		memcpy(address->why, host->trial.why, sizeof(address->why));
		if (rc != 0)
			return rc;
		if (address->outcome > PROBE_NO_WELCOME)
			break;
	}
	return 0;
}

/* A host that used up its time twice is not tried again: that stays unknown. */
static void try_once(const struct probe_settings *settings, struct probe_host *host,
	const struct probe_wish *wish, struct probe_trial *trial)
{
	struct err err;

	memset(trial, 0, sizeof(*trial));
	if (host->timeouts_n == TIMEOUTS_MAX)
		return;
	(void)!probe_trial_run(settings, &host->addresses[host->address].socket, host->name, wish,
		trial, NULL, &err); /* fails for CAs only, which it does not read */
	host->timeouts_n += trial->timed_out && trial->outcome != PROBE_TLS;
}

static enum probe_resumption resume(const struct probe_settings *settings, struct probe_host *host,
	size_t i, SSL_SESSION *session)
{
	const struct probe_wish wish = {.version = versions[i], .session = session};
	enum probe_resumption resumption;
	struct probe_trial trial;

	if (session == NULL || SSL_SESSION_is_resumable(session) != 1)
		return PROBE_RESUME_NO_SESSION;
	try_once(settings, host, &wish, &trial);
	resumption = trial.outcome != PROBE_TLS ? PROBE_RESUME_UNKNOWN
		     : trial.resumed            ? PROBE_RESUME_DONE
						: PROBE_RESUME_FULL;
	probe_trial_free(&trial);
	return resumption;
}

static void versions_look(const struct probe_settings *settings, struct probe_host *host)
{
	for (size_t i = 0; i < PROBE_VERSIONS; i++) {
		const struct probe_wish wish = {.version = versions[i]};
		struct probe_trial trial;

		try_once(settings, host, &wish, &trial);
		if (trial.outcome == PROBE_TLS)
			host->accepts[i] = PROBE_ACCEPTS;
		else if (trial.outcome == PROBE_NO_TLS && !trial.inconclusive)
			host->accepts[i] = PROBE_ACCEPTS_NOT;
		if (trial.outcome == PROBE_TLS && versions[i] >= TLS1_2_VERSION)
			host->resumption[i] = resume(settings, host, i, trial.session);
		probe_trial_free(&trial);
	}
}

static enum probe_injection inject(const struct probe_settings *settings, struct probe_host *host)
{
	const struct probe_wish wish = {.inject = true};
	enum probe_injection injection;
	struct probe_trial trial;

	try_once(settings, host, &wish, &trial);
	injection = trial.outcome == PROBE_UNTRIED ? PROBE_INJECT_UNKNOWN : trial.injection;
	probe_trial_free(&trial);
	return injection;
}

int probe_host_run(struct probe_dns *dns, const struct probe_settings *settings, const char *domain,
	bool mx_secure, struct probe_host *host, struct err *err)
{
	uint16_t port = settings->port != 0
				? settings->port
				: probe_protocol_port(settings->protocol, settings->implicit_tls);
	uint8_t numeric[sizeof(struct in6_addr)];

	host->is_numeric = inet_pton(AF_INET, host->name, numeric) == 1 ||
			   inet_pton(AF_INET6, host->name, numeric) == 1;
	addresses_find(dns, settings, port, host);
	if (first_look(settings, host, err) != 0)
		return -1;
	if (!settings->brief &&
		(host->trial.outcome == PROBE_NO_TLS || host->trial.outcome == PROBE_TLS))
		versions_look(settings, host);
	if (!settings->brief && host->trial.outcome == PROBE_TLS && !settings->implicit_tls)
		host->injection = inject(settings, host);
	if (!settings->no_dane && !host->is_numeric && dns != NULL) {
		probe_dane_look(dns, host->name, port, mx_secure, host->answers, &host->dane);
		probe_dane_match(&host->dane, &host->chain, host->name, domain);
	}
	return 0;
}

void probe_host_free(struct probe_host *host)
{
	probe_answer_free(&host->answers[0]);
	probe_answer_free(&host->answers[1]);
	probe_trial_free(&host->trial);
	probe_chain_free(&host->chain);
	probe_dane_free(&host->dane);
}
