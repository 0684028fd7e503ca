/* SPDX-License-Identifier: MIT */
/*
 * config_file.c -- fuzz target: any octets as a configuration file.
 *
 * Shows: config_parse neither crashes nor leaks; what it takes keeps the bounds that rooms rely on;
 * what it refuses has a message "FILE:LINE: ..." of plain text with a line of the file; and after
 * any input the next file is read as if there had been none (libconfuse's lexer is global).
 */
#include <stdlib.h>

#include "config/config-private.h"
#include "config/name.h"

#define PATH "p.conf"

static const char good[] = "hostname = a.example\n"
			   "listener l { address = \"::1\" port = 25 tls = none }\n"
			   "policy { relay_domains = { b.example } }\n";

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
}

static void check_message(const struct err *err, const uint8_t *data, size_t n)
{
	unsigned long line, lines = 1;
	char *end;

	ASSERT(strncmp(err->text, PATH ":", strlen(PATH ":")) == 0);
	line = strtoul(err->text + strlen(PATH ":"), &end, 10);
	for (size_t i = 0; i < n; i++)
		lines += data[i] == '\n';
	ASSERT(line >= 1 && line <= lines);
	ASSERT(strncmp(end, ": ", 2) == 0 && end[2] != '\0');
	ASSERT(name_text_valid(span_str(err->text)));
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
		check_message(&err, data, n);
	}
	free(text);

	memcpy(copy, good, sizeof(good));
	ASSERT(config_parse(&config, PATH, copy, sizeof(good) - 1, &err) == 0);
	config_close(config);
	return 0;
}
