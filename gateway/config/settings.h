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
#define SETTINGS_ROUTES_MAX       1024
#define SETTINGS_NEXT_HOPS_MAX    16    /* of one route */
#define SETTINGS_MAILDIRS_MAX     64    /* different roots, in all routes */
#define SETTINGS_NETWORKS_MAX     10000 /* of one list */
#define SETTINGS_INTERFACES_MAX   16

#define SETTINGS_STS_MAX 10000 /* domains whose policy is published */

enum listener_tls { LISTENER_TLS_STARTTLS, LISTENER_TLS_IMPLICIT, LISTENER_TLS_NONE };
enum listener_protocol { LISTENER_SMTP, LISTENER_HTTPS };

struct listener_settings {
	const char *title;
	const char *address; /* numeric IPv4 or IPv6 */
	uint16_t port;
	enum listener_protocol protocol; /* HTTPS: serves policies; tls is IMPLICIT */
	enum listener_tls tls;
	const char *const *proxy; /* networks whose connections begin with a PROXY header */
	size_t proxy_n;
};

enum ktls_mode { KTLS_MODE_AUTO, KTLS_MODE_ALWAYS, KTLS_MODE_OFF };

struct certificate_settings {
	const char *title;
	const char *chain; /* PEM file */
	const char *key;   /* PEM file */
	const char *const
		*names; /* lower case; "*.example.org" covers one label; none: the default */
	size_t names_n;
	const char *next_chain;  /* PEM file of the certificate to come, for records; NULL: none */
	const char *const *tlsa; /* records published for this one, "3 1 1 HEX" */
	size_t tlsa_n;
};

/* sts "DOMAIN" { ... }: what the world is told about mail for the domain (RFC 8461). */
struct sts_settings {
	const char *domain; /* lower case */
	uint32_t mode;      /* the numbers of enum sts_mode */
	uint32_t max_age_s;
	const char *const *mx; /* patterns, lower case */
	size_t mx_n;
	const char *id;             /* NULL: made out of the policy's text */
	const char *const *reports; /* URIs for _smtp._tls (RFC 8460 3), none: no record */
	size_t reports_n;
};

/* What is kept about senders and TLS. */
struct watch_settings {
	bool on;
	uint32_t days;         /* how long it is kept */
	uint32_t entries_max;  /* senders that are remembered */
	uint32_t enforce_days; /* without failures before `enforce` is advised */
};

/* Reports to domains that we send to (RFC 8460); none without `from`. */
struct tlsrpt_settings {
	const char *organization; /* NULL: hostname */
	const char *contact;      /* NULL: from */
	const char *from;         /* address that reports come from; NULL: no reports */
	const char *dkim_key;     /* PEM file, RSA or Ed25519; NULL: not signed */
	const char *dkim_domain;  /* NULL: from's */
	const char *dkim_selector;
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
	const char *const *xclient; /* networks that may say XCLIENT */
	size_t xclient_n;
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

enum callout_down { CALLOUT_DOWN_ACCEPT, CALLOUT_DOWN_DEFER };

struct policy_settings {
	const char *const *relay_domains; /* lower case */
	size_t relay_domains_n;
	const char *const *require_tls; /* "example.org", ".example.org", "*": no mail in clear */
	size_t require_tls_n;
	const char *recipients;      /* text file; NULL: none */
	const char *recipients_lmdb; /* LMDB environment; NULL: none. At most one of the two */
	uint32_t sessions_max;
	uint32_t sessions_per_address_max;
	/* Recipient check by asking the next hop, for routes with callout = yes. */
	uint32_t callout_positive_ms; /* how long an answer is remembered */
	uint32_t callout_negative_ms;
	uint32_t callout_ms_max;   /* to answer; later: as if the next hop were down */
	uint32_t callout_rate_max; /* questions a second, a worker and next hop */
	enum callout_down callout_down;
};

struct spool_settings {
	const char *directory;
	bool durable;              /* durability = full */
	uint64_t memory_bytes_max; /* all workers: message octets held before they are on disk */
	uint32_t stream_bytes;     /* longer messages go to files of their own */
	uint64_t segment_bytes;
	uint64_t free_bytes_min; /* free space below it: MAIL is answered 452 4.3.1 */
	uint32_t commit_wait_us; /* how long a commit may wait for messages that are coming in */
	uint32_t messages_max;   /* in the queue, all workers */
};

enum next_hop_kind {
	NEXT_HOP_LMTP,
	NEXT_HOP_LMTP_UNIX,
	NEXT_HOP_SMTP,
	NEXT_HOP_MX,
	NEXT_HOP_MAILDIR
};

struct next_hop_settings {
	enum next_hop_kind kind;
	const char *text; /* as written, without its weight */
	const char *host; /* LMTP, SMTP: name or numeric address; NULL otherwise */
	uint16_t port;    /* LMTP, SMTP, MX (25) */
	const char *path; /* LMTP_UNIX, MAILDIR; NULL otherwise */
	uint32_t weight;  /* "... weight=N": 1 to 1000; default 1 */
	uint32_t maildir; /* MAILDIR: index into relay_settings.maildirs */
};

/* POLICY: what DANE or MTA-STS of the domain asks for, else MAY; with NEXT_HOP_MX only. */
enum route_tls {
	ROUTE_TLS_NONE,
	ROUTE_TLS_MAY,
	ROUTE_TLS_REQUIRE,
	ROUTE_TLS_VERIFY,
	ROUTE_TLS_POLICY
};
enum route_choose { ROUTE_CHOOSE_FAILOVER, ROUTE_CHOOSE_WEIGHT };

/* route "TITLE" { ... }: which domains, where to and how. */
struct route_settings {
	const char *title;
	const char *const *domains; /* "example.org", ".example.org" (all below), "*" (the rest) */
	size_t domains_n;           /* 0: only by the routes file */
	struct next_hop_settings next_hops[SETTINGS_NEXT_HOPS_MAX];
	size_t next_hops_n;
	enum route_choose choose;
	enum route_tls tls;
	const char *tls_name; /* name to verify and for SNI; NULL: the next hop's */
	const char *ca_file;  /* PEM; NULL: the system's */
	bool cutthrough;
	bool callout;
	uint32_t connections_max; /* a next hop, a worker */
	uint32_t messages_max;    /* a connection; then QUIT */
	uint32_t idle_ms;         /* how long an unused connection is kept */
	uint32_t recipients_max;  /* a transaction */
};

struct relay_settings {
	const struct route_settings *routes;
	size_t routes_n;
	const char *routes_file;     /* lines "DOMAIN TITLE"; NULL: none. Reloaded */
	const char *const *maildirs; /* roots that routes name, each once */
	size_t maildirs_n;
	const char *const
		*resolvers; /* numeric addresses, "ADDRESS@PORT" too; none: /etc/resolv.conf */
	size_t resolvers_n;
	const char *hostname;  /* where <postmaster> without a domain belongs */
	const char *ehlo;      /* NULL: hostname */
	uint32_t retry_ms_min; /* first back-off; doubles */
	uint32_t retry_ms_max;
	uint64_t expire_ms; /* then bounced */
	uint64_t warn_ms;   /* a delay DSN after this long; 0: none */
	uint32_t connect_ms_max;
	uint32_t reply_ms_max; /* for any reply but the final one */
	uint32_t final_ms_max; /* for the reply to the final dot (RFC 5321 4.5.3.2.6: 10 min) */
	uint32_t cutthrough_ms_max;
	uint32_t connections_max; /* all next hops, a worker */
	enum ktls_mode ktls;      /* sending to next hops */
	bool dane;                /* route_tls POLICY looks for TLSA records */
	bool sts;                 /* and for MTA-STS policies */
	const char *trust_anchor; /* DNSSEC, file; NULL: nothing is secure */
	const char *sts_ca_file;  /* PEM, for policy hosts; NULL: the system's */
	bool bounce_body;         /* DSNs return full messages where RET=FULL asks for it */
};

enum fence_mode { FENCE_MODE_AUTO, FENCE_MODE_KERNEL, FENCE_MODE_USER, FENCE_MODE_OFF };

struct fence_budget {
	uint64_t rate; /* units a second; 0: no limit */
	uint64_t burst;
};

/* A budget of a source and the one of all sources, behind it. */
struct fence_budgets {
	struct fence_budget source;
	struct fence_budget all;
};

/* The fence: text networks are base/network.h's. */
struct fence_settings {
	enum fence_mode mode;
	const char *const
		*interfaces; /* where an XDP program refuses SYNs; none: only the cgroup's */
	size_t interfaces_n;
	const char *pin; /* folder in a bpf file system; NULL: nothing stays after the end */
	uint32_t prefix_v4;
	uint32_t prefix_v6;
	uint32_t sources_max;
	struct fence_budgets connections;
	struct fence_budgets plain_bytes;
	struct fence_budgets plain_packets;
	struct fence_budgets handshakes;
	struct fence_budgets upgraded_bytes;
	uint32_t connections_open; /* at a time; 0: no limit */
	uint32_t connections_open_all;
	uint32_t handshakes_open;
	uint32_t handshakes_open_all;
	uint32_t behaved_factor; /* how many times the budgets for a source that behaved */
	uint64_t behaved_ms;     /* how long that is remembered */
	uint32_t strikes_max;    /* refused or failed handshakes, then a penalty; 0: never */
	uint64_t penalty_ms;
	uint32_t sample; /* every sample-th refusal is logged; 0: none */
	const char *const *allow;
	size_t allow_n;
	const char *const *block;
	size_t block_n;
};

struct log_settings {
	bool syslog;
};

struct main_settings {
	const char *user;  /* NULL: stay */
	const char *group; /* NULL: the user's */
	uint32_t workers;  /* 0: one per CPU */
	const char *control_socket;
	const char *state_directory; /* what is remembered over a restart, beside the spool */
	uint32_t drain_ms;
	bool seccomp;
	bool workers_all; /* take connections all the time */
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
	struct relay_settings relay;
	struct fence_settings fence;
	const struct sts_settings *sts;
	size_t sts_n;
	struct watch_settings watch;
	struct tlsrpt_settings tlsrpt;
	struct log_settings log;
};

#endif
