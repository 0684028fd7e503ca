/* SPDX-License-Identifier: MIT */
/*
 * settings.h -- the const structs that the configuration is parsed into, one per room.
 *
 * Plain data without behaviour, so that every room may include it. Units are in the names. All
 * strings and arrays belong to the struct config that holds them and live as long as it does;
 * paths are absolute or relative to the working directory of the start.
 */
#ifndef POSTERN_CONFIG_SETTINGS_H
#define POSTERN_CONFIG_SETTINGS_H

#include "base/base.h"

#define SETTINGS_LISTENERS_MAX    32
#define SETTINGS_CERTIFICATES_MAX 256
#define SETTINGS_NAMES_MAX        64 /* SNI names of one certificate */
#define SETTINGS_DOMAINS_MAX      100000
#define SETTINGS_WORKERS_MAX      256

enum listener_tls { LISTENER_TLS_STARTTLS, LISTENER_TLS_IMPLICIT, LISTENER_TLS_NONE };

struct listener_settings {
	const char *title;
	const char *address; /* numeric IPv4 or IPv6 */
	uint16_t port;
	enum listener_tls tls;
};

enum ktls_mode { KTLS_MODE_AUTO, KTLS_MODE_ALWAYS, KTLS_MODE_OFF };

struct certificate_settings {
	const char *title;
	const char *chain; /* PEM file */
	const char *key;   /* PEM file */
	const char *const
		*names; /* lower case; "*.example.org" covers one label; none: the default */
	size_t names_n;
};

struct tls_settings {
	enum ktls_mode ktls;
	uint16_t version_min;    /* 0x0303 or 0x0304 */
	const char *ticket_keys; /* file; NULL: no tickets */
	uint32_t ticket_rotate_seconds;
	bool client_certificate_request;
	uint32_t handshake_ms_max;
	const struct certificate_settings *certificates;
	size_t certificates_n;
};

struct smtp_settings {
	const char *hostname;
	uint64_t message_bytes_max;
	uint32_t recipients_max; /* a transaction */
	uint32_t errors_max;     /* a session */
	uint32_t messages_max;   /* a session */
	uint32_t hops_max;       /* Received: lines */
	bool bare_newline_normalize;
	bool undeclared_8bit_accept;
};

/* What session/ needs beyond the protocol: times and rates. */
struct session_settings {
	bool early_talker_reject;
	uint32_t banner_delay_ms;
	uint32_t command_ms_max;
	uint32_t data_ms_max;
	uint32_t session_ms_max;
	uint32_t rate_bytes_min; /* a second; 0: no minimum */
	uint32_t rate_window_ms;
};

struct policy_settings {
	const char *const *relay_domains; /* lower case */
	size_t relay_domains_n;
	const char *recipients; /* file; NULL: any address at relay_domains */
	uint32_t sessions_max;
	uint32_t sessions_per_address_max;
};

struct spool_settings {
	const char *maildir;
	bool durable;              /* durability = full */
	uint64_t memory_bytes_max; /* all workers */
};

struct log_settings {
	bool syslog;
};

struct main_settings {
	const char *user;  /* NULL: stay */
	const char *group; /* NULL: the user's */
	uint32_t workers;  /* 0: one per CPU */
	const char *control_socket;
	uint32_t drain_ms;
	bool seccomp;
};

struct config {
	struct main_settings main;
	struct listener_settings listeners[SETTINGS_LISTENERS_MAX];
	size_t listeners_n;
	struct tls_settings tls;
	struct smtp_settings smtp;
	struct session_settings session;
	struct policy_settings policy;
	struct spool_settings spool;
	struct log_settings log;
};

#endif
