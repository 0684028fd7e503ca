/* SPDX-License-Identifier: MIT */
/*
 * dial.c -- from a next hop to an open connection: names, addresses, one try after the other.
 *
 * lmtp: and smtp: hosts are looked up (numeric ones are not) and their addresses tried in order. For
 * mx the hosts of the domain come in the order of their preference (RFC 5321 5.1), each with its
 * addresses; at most RELAY_DIAL_TRIES_MAX addresses in all. If one of the hosts is ourselves, it and
 * all that are not better are left out: the mail would come back. An address literal is its own host.
 *
 * What is final about a domain (it does not exist, takes no mail, is ours by a loop, refuses with
 * 554 at every address) is final for its messages. A host that the operator wrote down is never:
 * there NEVER becomes LATER, a wrong name or an access list must not empty the queue into bounces.
 *
 * Where the route goes by policy each host is judged by trust.c, once its addresses are known: it may be
 * left out, or has to be known in a certain way. Messages with REQUIRETLS go by such routes only: others
 * take whatever certificate comes. For messages with "TLS-Required: No" nothing is judged, and nothing
 * is counted for TLS reports: TLS where it works (RFC 8689 4.2.2).
 *
 * Names are looked up for every link: resolve.c's cache is the resolver's.
 */
#include "relay/schedule-private.h"
#include "relay/trust-private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

struct relay_dial {
	struct relay_link *link;
	struct relay_lookup lookup;
	bool looking;
	bool mx;       /* hosts come from MX records */
	bool implicit; /* there were none: the domain is the host */
	bool mx_secure;
	struct relay_host hosts[RELAY_MX_MAX];
	uint32_t hosts_n;
	uint32_t host;
	struct sockaddr_storage addresses[RELAY_ADDRESSES_MAX];
	uint32_t addresses_n;
	uint32_t address;
	uint32_t tries;
	struct relay_target target; /* has a count of its trust */
	struct relay_trusting trusting;
	uint64_t trusted_ms;          /* when the host was judged */
	bool later;                   /* some failure was a temporary one */
	struct relay_outcome outcome; /* the last failure */
	char next_hop[SPOOL_HOP_MAX];
};

size_t relay_dial_bytes(void)
{
	return sizeof(struct relay_dial);
}

bool relay_dial_new(struct relay_link *link)
{
	struct relay_dial *dial = pool_get(&link->destination->schedule->pools.dials);

	if (dial == NULL)
		return false;
	memset(dial, 0, sizeof(*dial));
	dial->link = link;
	link->dial = dial;
	return true;
}

void relay_dial_free(struct relay_link *link)
{
	relay_trust_release(link->dial->target.trust);
	relay_trusting_close(&link->dial->trusting);
	pool_put(&link->destination->schedule->pools.dials, link->dial);
	link->dial = NULL;
}

static void note(
	struct relay_dial *dial, enum relay_result result, const char *enhanced, const char *text)
{
	relay_outcome_make(&dial->outcome, result, enhanced, text);
	if (result == RELAY_RESULT_LATER)
		dial->later = true;
}

/* Do the domain's policies count? */
static bool by_policy(const struct relay_dial *dial)
{
	const struct relay_destination *destination = dial->link->destination;

	return destination->route->tls == ROUTE_TLS_POLICY &&
	       destination->wish != RELAY_WISH_TLS_OPTIONAL;
}

/* DNS gave no answer, or one that is proved to be wrong. */
static void note_failed(
	struct relay_dial *dial, const struct relay_lookup *lookup, const char *text)
{
	const struct relay_destination *destination = dial->link->destination;
	char bogus[RELAY_REPLY_MAX];

	if (!lookup->bogus) {
		note(dial, RELAY_RESULT_LATER, "4.4.3", text);
		return;
	}
	(void)snprintf(bogus, sizeof(bogus), "the answer from DNS is bogus: %s", lookup->why);
	note(dial, RELAY_RESULT_LATER, "4.7.5", bogus);
	if (by_policy(dial) && destination->domain != NULL)
		relay_trust_note_host(destination->schedule->relay, destination->domain,
			dial->mx ? dial->target.host : "", TLSRPT_TLSA, NULL, TLSRPT_DNSSEC_INVALID,
			lookup->why);
}

static void failed(struct relay_dial *dial)
{
	const struct next_hop_settings *hop = dial->target.hop;
	struct relay_outcome outcome = dial->outcome;
	char next_hop[SPOOL_HOP_MAX];

	if (hop->kind != NEXT_HOP_MX || dial->later)
		outcome.result = RELAY_RESULT_LATER;
	(void)snprintf(next_hop, sizeof(next_hop), "%.279s",
		dial->next_hop[0] != '\0' ? dial->next_hop : dial->link->destination->name);
	relay_link_failed(dial->link, next_hop, &outcome);
}

/* ---- targets ---- */

static bool numeric(const char *host, struct sockaddr_storage *out)
{
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		out->ss_family = AF_INET;
		return true;
	}
	if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
		out->ss_family = AF_INET6;
		return true;
	}
	return false;
}

static socklen_t port_set(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET6) {
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
		return sizeof(struct sockaddr_in6);
	}
	((struct sockaddr_in *)address)->sin_port = htons(port);
	return sizeof(struct sockaddr_in);
}

/* "smtp:mx.example.org:25 [192.0.2.1]", as client.c says it. */
static void next_hop_name(struct relay_dial *dial)
{
	const struct relay_target *target = &dial->target;
	char address[INET6_ADDRSTRLEN] = "";

	if (target->hop->kind == NEXT_HOP_LMTP_UNIX) {
		(void)snprintf(dial->next_hop, sizeof(dial->next_hop), "%s", target->hop->text);
		return;
	}
	if (target->address.ss_family == AF_INET6)
		(void)inet_ntop(AF_INET6,
			&((const struct sockaddr_in6 *)&target->address)->sin6_addr, address,
			sizeof(address));
	else
		(void)inet_ntop(AF_INET, &((const struct sockaddr_in *)&target->address)->sin_addr,
			address, sizeof(address));
	(void)snprintf(dial->next_hop, sizeof(dial->next_hop), "%s:%s:%u [%s]",
		target->lmtp ? "lmtp" : "smtp", target->host, target->hop->port, address);
}

static void next_host(struct relay_dial *dial);

/* Opens a connection to the target; false: no memory. */
static bool connect_to(struct relay_dial *dial)
{
	struct relay_link *link = dial->link;

	next_hop_name(dial);
	dial->tries++;
	link->trusted_ms = dial->target.trust != NULL ? dial->trusted_ms : 0;
	link->client =
		relay_client_open(link->destination->schedule->relay, &link->owner, &dial->target);
	if (link->client == NULL)
		note(dial, RELAY_RESULT_LATER, "4.3.0", "no memory for a connection");
	return link->client != NULL;
}

static void next_address(struct relay_dial *dial)
{
	while (dial->address < dial->addresses_n && dial->tries < RELAY_DIAL_TRIES_MAX) {
		dial->target.address = dial->addresses[dial->address++];
		dial->target.address_n = port_set(&dial->target.address, dial->target.hop->port);
		if (connect_to(dial))
			return;
	}
	if (dial->tries < RELAY_DIAL_TRIES_MAX)
		next_host(dial);
	else
		failed(dial);
}

/* ---- by policy ---- */

/* The host was judged: connect to it as it has to be, or leave it out. */
static void judged(struct relay_dial *dial)
{
	struct relay_trusting *trusting = &dial->trusting;

	dial->target.trust = trusting->trust;
	trusting->trust = NULL;
	dial->trusted_ms = relay_schedule_now(dial->link->destination->schedule);
	if (dial->target.trust != NULL) {
		next_address(dial);
		return;
	}
	dial->outcome = trusting->outcome;
	dial->later |= dial->outcome.result == RELAY_RESULT_LATER;
	next_host(dial);
}

static void trusting_done(struct relay_trusting *trusting)
{
	judged(container_of(trusting, struct relay_dial, trusting));
}

static void judge(struct relay_dial *dial)
{
	struct relay_trusting *trusting = &dial->trusting;

	trusting->relay = dial->link->destination->schedule->relay;
	trusting->domain = dial->link->destination->domain;
	trusting->port = dial->target.hop->port;
	trusting->mx_secure = dial->mx_secure;
	trusting->requiretls = dial->link->destination->wish == RELAY_WISH_REQUIRETLS;
	trusting->done = trusting_done;
	if (relay_trusting_host(
		    trusting, dial->target.host, dial->lookup.canonical, dial->lookup.secure))
		judged(dial);
}

/* ---- addresses ---- */

static void addresses_done(struct relay_lookup *lookup, int res)
{
	struct relay_dial *dial = container_of(lookup, struct relay_dial, lookup);

	dial->looking = false;
	dial->address = 0;
	dial->addresses_n = 0;
	if (res == 0 && lookup->addresses_n > 0) {
		dial->addresses_n = lookup->addresses_n;
		memcpy(dial->addresses, lookup->addresses, sizeof(dial->addresses));
		if (dial->mx && by_policy(dial))
			judge(dial);
		else
			next_address(dial);
		return;
	}
	if (res != -ENOENT && res != 0)
		note_failed(dial, lookup, "no answer from DNS");
	else if (dial->implicit)
		note(dial, RELAY_RESULT_NEVER, "5.1.2", "the domain has no mail host");
	else
		note(dial, RELAY_RESULT_NEVER, "5.4.4", "the mail host has no address");
	next_host(dial);
}

/* The addresses of target.host: the numeric one, or by look-up. */
static void host_start(struct relay_dial *dial)
{
	struct relay *relay = dial->link->destination->schedule->relay;

	if (numeric(dial->target.host, &dial->addresses[0])) {
		dial->address = 0;
		dial->addresses_n = 1;
		next_address(dial);
		return;
	}
	if (relay->resolver == NULL) {
		note(dial, RELAY_RESULT_LATER, "4.4.3", "there is no resolver");
		failed(dial);
		return;
	}
	dial->looking = true;
	dial->lookup = (struct relay_lookup){.done = addresses_done};
	relay_resolve_host(relay->resolver, &dial->lookup, dial->target.host);
}

static void next_host(struct relay_dial *dial)
{
	relay_trust_release(dial->target.trust);
	dial->target.trust = NULL;
	if (!dial->mx || dial->host == dial->hosts_n) {
		failed(dial);
		return;
	}
	(void)snprintf(
		dial->target.host, sizeof(dial->target.host), "%s", dial->hosts[dial->host++].name);
	host_start(dial);
}

/* ---- MX ---- */

static bool is_self(const struct relay_dial *dial, const char *name)
{
	const struct relay *relay = dial->link->destination->schedule->relay;
	const char *self = relay->facts.config->smtp.hostname;
	size_t n = strlen(name);

	if (n > 0 && name[n - 1] == '.')
		n--;
	return n == strlen(self) && strncasecmp(name, self, n) == 0;
}

/* Keeps the hosts that are better than ourselves. False: none is, although there were some. */
static bool hosts_take(struct relay_dial *dial, const struct relay_lookup *lookup)
{
	uint32_t limit = UINT32_MAX;

	for (uint32_t i = 0; i < lookup->hosts_n && limit == UINT32_MAX; i++)
		if (is_self(dial, lookup->hosts[i].name))
			limit = lookup->hosts[i].preference;
	for (uint32_t i = 0; i < lookup->hosts_n; i++)
		if (lookup->hosts[i].preference < limit)
			dial->hosts[dial->hosts_n++] = lookup->hosts[i];
	dial->implicit = lookup->hosts_n == 1 &&
			 strcasecmp(lookup->hosts[0].name, dial->link->destination->domain) == 0;
	return dial->hosts_n > 0 || lookup->hosts_n == 0;
}

static void mx_done(struct relay_lookup *lookup, int res)
{
	struct relay_dial *dial = container_of(lookup, struct relay_dial, lookup);

	dial->looking = false;
	dial->mx_secure = lookup->secure;
	if (res == 0 && lookup->null_mx) {
		note(dial, RELAY_RESULT_NEVER, "5.1.10", "the domain takes no mail (null MX)");
		dial->outcome.code = 556;
		dial->outcome.local = true;
	} else if (res == -ENOENT) {
		note(dial, RELAY_RESULT_NEVER, "5.1.2", "the domain does not exist");
	} else if (res != 0) {
		note_failed(dial, lookup, "the name server did not answer");
	} else if (!hosts_take(dial, lookup)) {
		note(dial, RELAY_RESULT_NEVER, "5.4.6", "mail loops back to this host");
	} else {
		note(dial, RELAY_RESULT_NEVER, "5.4.4", "the domain has no mail host");
	}
	next_host(dial);
}

static void mx_start(struct relay_dial *dial)
{
	const struct relay_destination *destination = dial->link->destination;
	const char *domain = destination->domain;
	struct relay *relay = destination->schedule->relay;
	size_t n = strlen(domain);

	if (destination->wish == RELAY_WISH_REQUIRETLS &&
		(destination->route->tls != ROUTE_TLS_POLICY || domain[0] == '[')) {
		note(dial, RELAY_RESULT_NEVER, "5.7.30",
			"the message requires REQUIRETLS, and the route to the MX does not go by "
			"policy");
		dial->outcome.code = 550;
		dial->outcome.local = true;
		failed(dial);
		return;
	}
	if (domain[0] == '[' && domain[n - 1] == ']') {
		size_t skip = strncasecmp(domain, "[ipv6:", 6) == 0 ? 6 : 1;

		(void)snprintf(dial->target.host, sizeof(dial->target.host), "%.*s",
			(int)(n - skip - 1), domain + skip);
		if (!numeric(dial->target.host, &dial->addresses[0])) {
			note(dial, RELAY_RESULT_NEVER, "5.1.2", "not an address");
			failed(dial);
			return;
		}
		host_start(dial);
		return;
	}
	dial->mx = true;
	if (relay->resolver == NULL) {
		note(dial, RELAY_RESULT_LATER, "4.4.3", "there is no resolver");
		failed(dial);
		return;
	}
	dial->looking = true;
	dial->lookup = (struct relay_lookup){.done = mx_done};
	relay_resolve_mx(relay->resolver, &dial->lookup, domain);
}

/* ---- the dial ---- */

static void unix_start(struct relay_dial *dial)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&dial->target.address;
	const char *path = dial->target.hop->path;

	if (strlen(path) >= sizeof(address->sun_path)) {
		note(dial, RELAY_RESULT_LATER, "4.3.5", "the socket's path is too long");
		failed(dial);
		return;
	}
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, strlen(path) + 1);
	dial->target.address_n = sizeof(*address);
	(void)snprintf(dial->target.host, sizeof(dial->target.host), "%.255s", path);
	if (!connect_to(dial))
		failed(dial);
}

void relay_dial_start(struct relay_link *link)
{
	struct relay_dial *dial = link->dial;
	const struct relay *relay = link->destination->schedule->relay;
	const struct route_settings *route = link->destination->route;
	const struct next_hop_settings *hop = link->destination->hops[link->hop].settings;

	dial->target = (struct relay_target){
		.route = route,
		.hop = hop,
		.tls = relay->facts.tls[route - relay->settings->routes],
		.lmtp = hop->kind == NEXT_HOP_LMTP || hop->kind == NEXT_HOP_LMTP_UNIX,
	};
	if (hop->kind == NEXT_HOP_LMTP_UNIX) {
		unix_start(dial);
	} else if (hop->kind == NEXT_HOP_MX) {
		mx_start(dial);
	} else {
		(void)snprintf(dial->target.host, sizeof(dial->target.host), "%s", hop->host);
		host_start(dial);
	}
}

void relay_dial_closed(struct relay_link *link, const struct relay_outcome *outcome)
{
	struct relay_dial *dial = link->dial;

	if (outcome != NULL)
		dial->outcome = *outcome;
	else
		relay_outcome_make(
			&dial->outcome, RELAY_RESULT_LATER, "4.4.2", "the connection was lost");
	dial->later |= dial->outcome.result != RELAY_RESULT_NEVER;
	if (link->destination->schedule->relay->draining)
		failed(dial);
	else
		next_address(dial);
}

void relay_dial_cancel(struct relay_link *link)
{
	struct relay_dial *dial = link->dial;

	if (dial->looking || relay_trusting_busy(&dial->trusting)) {
		if (dial->looking)
			relay_resolve_cancel(
				link->destination->schedule->relay->resolver, &dial->lookup);
		relay_trusting_cancel(&dial->trusting);
		dial->looking = false;
		note(dial, RELAY_RESULT_LATER, "4.3.2", "the gateway is stopping");
		failed(dial);
	} else if (link->client != NULL) {
		relay_client_abort(link->client);
	}
}
