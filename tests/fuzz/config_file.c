/* SPDX-License-Identifier: MIT */
/*
 * config_file.c -- fuzz target: any octets as a configuration file.
 *
 * Shows: config_parse neither crashes nor leaks; what it takes keeps the bounds that rooms rely on;
 * what it refuses has a message "FILE:LINE: ..." of plain text with a line of the file; and after
 * any input the next file is read as if there had been none (libconfuse's lexer is global).
 */
#include <stdlib.h>

#include "base/network.h"
#include "config/config-private.h"
#include "config/name.h"
#include "tests/fuzz/message.h"

#define PATH "p.conf"

static const char good[] = "hostname = a.example\n"
			   "listener l { address = \"::1\" port = 25 tls = none }\n"
			   "policy { relay_domains = { b.example } }\n"
			   "route r { domains = { \"*\" } next_hops = { mx } }\n";

static void check_names(const struct config *config)
{
	ASSERT(name_host_valid(span_str(config->smtp.hostname)));
	ASSERT(config->policy.relay_domains_n >= 1);
	ASSERT(config->policy.relay_domains_n <= SETTINGS_DOMAINS_MAX);
	for (size_t i = 0; i < config->policy.relay_domains_n; i++) {
		const char *domain = config->policy.relay_domains[i];

		ASSERT(name_domain_valid(span_str(domain)));
		ASSERT(strpbrk(domain, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
	}
}

static void check_hop(const struct relay_settings *relay, const struct route_settings *route,
	const struct next_hop_settings *hop)
{
	bool has_host = hop->kind == NEXT_HOP_LMTP || hop->kind == NEXT_HOP_SMTP;
	bool has_path = hop->kind == NEXT_HOP_LMTP_UNIX || hop->kind == NEXT_HOP_MAILDIR;

	ASSERT(*hop->text && hop->weight >= 1 && hop->weight <= 1000);
	ASSERT(has_host == (hop->host != NULL) && has_path == (hop->path != NULL));
	ASSERT(!has_host || (*hop->host && strlen(hop->host) <= NAME_OCTETS_MAX));
	ASSERT(has_path || hop->port > 0);
	ASSERT(hop->kind != NEXT_HOP_LMTP_UNIX || strlen(hop->path) <= CONFIG_SOCKET_MAX);
	ASSERT(has_host || hop->kind == NEXT_HOP_LMTP_UNIX ||
		(!route->cutthrough && !route->callout));
	if (hop->kind == NEXT_HOP_MAILDIR) {
		ASSERT(route->next_hops_n == 1 && hop->maildir < relay->maildirs_n);
		ASSERT(strcmp(relay->maildirs[hop->maildir], hop->path) == 0);
	}
}

static void check_routes(const struct config *config)
{
	const struct relay_settings *relay = &config->relay;

	ASSERT(relay->routes_n >= 1 && relay->routes_n <= SETTINGS_ROUTES_MAX);
	ASSERT(relay->maildirs_n <= SETTINGS_MAILDIRS_MAX);
	ASSERT(relay->retry_ms_min > 0 && relay->retry_ms_max >= relay->retry_ms_min);
	ASSERT(relay->warn_ms < relay->expire_ms);
	for (size_t i = 0; i < relay->routes_n; i++) {
		const struct route_settings *route = &relay->routes[i];

		ASSERT(*route->title && (route->domains_n > 0 || relay->routes_file));
		ASSERT(route->next_hops_n >= 1 && route->next_hops_n <= SETTINGS_NEXT_HOPS_MAX);
		for (size_t k = 0; k < route->next_hops_n; k++)
			check_hop(relay, route, &route->next_hops[k]);
		ASSERT(!route->ca_file || route->tls == ROUTE_TLS_VERIFY);
	}
	ASSERT(config->spool.segment_bytes >= 4ull * config->spool.stream_bytes);
	ASSERT(!config->policy.recipients || !config->policy.recipients_lmdb);
}

static void check_budgets(const struct fence_budgets *budgets)
{
	const struct fence_budget *both[] = {&budgets->source, &budgets->all};

	for (size_t i = 0; i < COUNT_OF(both); i++) {
		ASSERT(both[i]->rate <= CONFIG_RATE_MAX);
		ASSERT((both[i]->rate == 0) == (both[i]->burst == 0));
		ASSERT(both[i]->burst <= both[i]->rate * CONFIG_BURST_SECONDS_MAX);
	}
	ASSERT(both[1]->rate == 0 || (both[0]->rate > 0 && both[0]->rate <= both[1]->rate &&
					     both[0]->burst <= both[1]->burst));
}

static void check_networks(const char *const *texts, size_t n)
{
	struct network network;

	ASSERT(n <= SETTINGS_NETWORKS_MAX);
	for (size_t i = 0; i < n; i++)
		ASSERT(network_parse(texts[i], &network));
}

static void check_fence(const struct config *config)
{
	const struct fence_settings *fence = &config->fence;
	bool kernel = fence->mode == FENCE_MODE_AUTO || fence->mode == FENCE_MODE_KERNEL;

	ASSERT(kernel || (fence->interfaces_n == 0 && !fence->pin));
	ASSERT(fence->interfaces_n <= SETTINGS_INTERFACES_MAX);
	ASSERT(fence->prefix_v4 >= 8 && fence->prefix_v4 <= 32);
	ASSERT(fence->prefix_v6 >= 16 && fence->prefix_v6 <= 128);
	ASSERT(fence->sources_max >= 1024);
	check_budgets(&fence->connections);
	check_budgets(&fence->plain_bytes);
	check_budgets(&fence->plain_packets);
	check_budgets(&fence->handshakes);
	check_budgets(&fence->upgraded_bytes);
	ASSERT(fence->connections_open_all <= config->policy.sessions_max);
	ASSERT(fence->connections_open_all == 0 ||
		(fence->connections_open > 0 &&
			fence->connections_open <= fence->connections_open_all));
	ASSERT(fence->behaved_factor >= 1 && fence->behaved_factor <= 1000);
	ASSERT(fence->behaved_ms > 0 && fence->penalty_ms > 0);
	check_networks(fence->allow, fence->allow_n);
	check_networks(fence->block, fence->block_n);
	check_networks(config->smtp.xclient, config->smtp.xclient_n);
	for (size_t i = 0; i < config->listeners_n; i++)
		check_networks(config->listeners[i].proxy, config->listeners[i].proxy_n);
}

static void check_config(const struct config *config)
{
	bool tls = false, fallback = false;

	ASSERT(config->listeners_n >= 1 && config->listeners_n <= SETTINGS_LISTENERS_MAX);
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_settings *listener = &config->listeners[i];

		ASSERT(*listener->title && *listener->address && listener->port > 0);
		tls |= listener->tls != LISTENER_TLS_NONE;
	}
	ASSERT(config->tls.certificates_n <= SETTINGS_CERTIFICATES_MAX);
	for (size_t i = 0; i < config->tls.certificates_n; i++) {
		const struct certificate_settings *one = &config->tls.certificates[i];

		ASSERT(*one->title && *one->chain && *one->key);
		ASSERT(one->names_n <= SETTINGS_NAMES_MAX);
		fallback |= one->names_n == 0;
	}
	ASSERT(!tls || fallback);
	ASSERT(config->main.workers <= SETTINGS_WORKERS_MAX);
	ASSERT(strlen(config->main.control_socket) <= CONFIG_SOCKET_MAX);
	ASSERT(config->smtp.message_bytes_max > 0 && config->smtp.recipients_max > 0);
	ASSERT(config->session.command_ms_max >= 1000 && config->session.rate_window_ms >= 1000);
	check_names(config);
	check_routes(config);
	check_fence(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n > 0 ? n : 1); /* no NUL behind it: an over-read shows */
	char copy[sizeof(good)];
	struct config *config = NULL;
	struct err err = {""};

	memcpy(text, data, n);
	if (config_parse(&config, PATH, text, n, &err) == 0) {
		check_config(config);
		config_close(config);
	} else {
		check_message(&err, PATH, span_of(data, n));
	}
	free(text);

	memcpy(copy, good, sizeof(good));
	ASSERT(config_parse(&config, PATH, copy, sizeof(good) - 1, &err) == 0);
	config_close(config);
	return 0;
}
