/* SPDX-License-Identifier: MIT */
/*
 * keys.c -- every key of postern.conf(5), once: kind, default, range, and where its value goes.
 *
 * Whoever adds a setting adds its member to settings.h, its row here and its entry to the manual
 * page. Defaults are written as a file would write them and are read by the same code.
 *
 * Bounds are what the rooms can bear (32-bit milliseconds, counters) or what still makes sense;
 * they are wide at the small end so that tests can reach a limit quickly.
 */
#include "config/config-private.h"

#define FIELD(type, member)                                                                        \
	.offset = offsetof(type, member), .width = sizeof(((type *)NULL)->member)
#define IN_CONFIG(member)      FIELD(struct config, member)
#define IN_LISTENER(member)    FIELD(struct listener_settings, member)
#define IN_CERTIFICATE(member) FIELD(struct certificate_settings, member)
#define IN_STS(member)         FIELD(struct sts_settings, member)
#define IN_ROUTE(member)       FIELD(struct route_settings, member)

#define NUMBER(section_, name_, fallback_, min_, max_, ...)                                        \
	{                                                                                          \
		.section = section_, .name = name_, .kind = VALUE_NUMBER, .fallback = fallback_,   \
		.min = min_, .max = max_, .scale = 1, __VA_ARGS__                                  \
	}
#define SECONDS(section_, name_, fallback_, min_, max_, ...)                                       \
	{                                                                                          \
		.section = section_, .name = name_, .kind = VALUE_NUMBER, .fallback = fallback_,   \
		.min = min_, .max = max_, .scale = 1000, __VA_ARGS__                               \
	}
#define CHOICE(section_, name_, fallback_, choices_, ...)                                          \
	{                                                                                          \
		.section = section_, .name = name_, .kind = VALUE_CHOICE, .fallback = fallback_,   \
		.choices = choices_, __VA_ARGS__                                                   \
	}
#define BUDGET(name_, fallback_, member_)                                                          \
	{                                                                                          \
		.section = "fence", .name = name_, .kind = VALUE_BUDGET, .fallback = fallback_,    \
		.min = 1, .max = CONFIG_RATE_MAX, IN_CONFIG(fence.member_)                         \
	}
#define NETWORKS(section_, name_, type_, member_, ...)                                             \
	{                                                                                          \
		.section = section_, .name = name_, .kind = VALUE_NETWORK,                         \
		.list_max = SETTINGS_NETWORKS_MAX, .offset_n = offsetof(type_, member_##_n),       \
		FIELD(type_, member_), __VA_ARGS__                                                 \
	}
#define TEXT(section_, name_, kind_, ...)                                                          \
	{                                                                                          \
		.section = section_, .name = name_, .kind = kind_, __VA_ARGS__                     \
	}

#define DAY_SECONDS  86400
#define WEEK_SECONDS (7 * DAY_SECONDS) /* a ticket's longest life (RFC 8446 4.6.1) */
#define MIB          (1ull << 20)
#define GIB          (1ull << 30)

#define RESOLVERS_MAX 8
#define OPEN_MAX      1000000 /* times behaved_factor: 32 bits */

static const struct value_choice listener_tls_choices[] = {
	{"starttls", LISTENER_TLS_STARTTLS},
	{"implicit", LISTENER_TLS_IMPLICIT},
	{"none", LISTENER_TLS_NONE},
	{NULL, 0},
};
static const struct value_choice listener_protocol_choices[] = {
	{"smtp", LISTENER_SMTP}, {"https", LISTENER_HTTPS}, {NULL, 0}};
static const struct value_choice sts_choices[] = {
	{"none", 0}, {"testing", 1}, {"enforce", 2}, {NULL, 0}}; /* enum sts_mode */
static const struct value_choice ktls_choices[] = {
	{"auto", KTLS_MODE_AUTO},
	{"always", KTLS_MODE_ALWAYS},
	{"off", KTLS_MODE_OFF},
	{NULL, 0},
};
static const struct value_choice version_choices[] = {
	{"TLSv1.2", 0x0303},
	{"TLSv1.3", 0x0304},
	{NULL, 0},
};
static const struct value_choice client_certificate_choices[] = {
	{"none", 0}, {"request", 1}, {NULL, 0}};
static const struct value_choice bare_newline_choices[] = {
	{"reject", 0}, {"normalize", 1}, {NULL, 0}};
static const struct value_choice early_talker_choices[] = {{"count", 0}, {"reject", 1}, {NULL, 0}};
static const struct value_choice undeclared_8bit_choices[] = {
	{"reject", 0}, {"accept", 1}, {NULL, 0}};
static const struct value_choice durability_choices[] = {{"none", 0}, {"full", 1}, {NULL, 0}};
static const struct value_choice callout_down_choices[] = {
	{"accept", CALLOUT_DOWN_ACCEPT}, {"defer", CALLOUT_DOWN_DEFER}, {NULL, 0}};
static const struct value_choice route_choose_choices[] = {
	{"failover", ROUTE_CHOOSE_FAILOVER}, {"weight", ROUTE_CHOOSE_WEIGHT}, {NULL, 0}};
static const struct value_choice route_tls_choices[] = {
	{"none", ROUTE_TLS_NONE},
	{"may", ROUTE_TLS_MAY},
	{"require", ROUTE_TLS_REQUIRE},
	{"verify", ROUTE_TLS_VERIFY},
	{"policy", ROUTE_TLS_POLICY},
	{NULL, 0},
};
static const struct value_choice fence_choices[] = {
	{"auto", FENCE_MODE_AUTO},
	{"kernel", FENCE_MODE_KERNEL},
	{"user", FENCE_MODE_USER},
	{"off", FENCE_MODE_OFF},
	{NULL, 0},
};
static const struct value_choice log_choices[] = {{"stderr", 0}, {"syslog", 1}, {NULL, 0}};

const struct config_key config_keys[] = {
	TEXT("", "hostname", VALUE_HOST, .example = "\"mx.example.org\"", IN_CONFIG(smtp.hostname)),
	TEXT("", "user", VALUE_ACCOUNT, .empty_is_none = true, IN_CONFIG(main.user)),
	TEXT("", "group", VALUE_ACCOUNT, .empty_is_none = true, IN_CONFIG(main.group)),
	NUMBER("", "workers", "0", 0, SETTINGS_WORKERS_MAX, IN_CONFIG(main.workers)),
	TEXT("", "workers_all", VALUE_BOOL, .fallback = "false", IN_CONFIG(main.workers_all)),
	TEXT("", "control_socket", VALUE_SOCKET, .fallback = "postern.sock",
		IN_CONFIG(main.control_socket)),
	TEXT("", "state_directory", VALUE_PATH, .fallback = "state",
		IN_CONFIG(main.state_directory)),
	SECONDS("", "drain_seconds", "30", 0, 3600, IN_CONFIG(main.drain_ms)),
	TEXT("", "seccomp", VALUE_BOOL, .fallback = "true", IN_CONFIG(main.seccomp)),

	TEXT("listener", "address", VALUE_ADDRESS, .example = "\"127.0.0.1\"",
		IN_LISTENER(address)),
	NUMBER("listener", "port", NULL, 1, 65535, .example = "25", IN_LISTENER(port)),
	CHOICE("listener", "protocol", "smtp", listener_protocol_choices, IN_LISTENER(protocol)),
	CHOICE("listener", "tls", "starttls", listener_tls_choices, IN_LISTENER(tls)),
	NETWORKS("listener", "proxy", struct listener_settings, proxy),

	TEXT("certificate", "chain", VALUE_PATH, .example = "\"cert.pem\"", IN_CERTIFICATE(chain)),
	TEXT("certificate", "key", VALUE_PATH, .example = "\"key.pem\"", IN_CERTIFICATE(key)),
	TEXT("certificate", "names", VALUE_SNI_NAME, .list_max = SETTINGS_NAMES_MAX,
		.offset_n = offsetof(struct certificate_settings, names_n), IN_CERTIFICATE(names)),
	TEXT("certificate", "next_chain", VALUE_PATH, IN_CERTIFICATE(next_chain)),
	TEXT("certificate", "tlsa", VALUE_TEXT, .list_max = 16,
		.offset_n = offsetof(struct certificate_settings, tlsa_n), IN_CERTIFICATE(tlsa)),

	CHOICE("sts", "mode", "testing", sts_choices, IN_STS(mode)),
	NUMBER("sts", "max_age", "604800", 1, 31557600, IN_STS(max_age_s)), /* RFC 8461 3.2 */
	TEXT("sts", "mx", VALUE_SNI_NAME, .list_max = 256,
		.offset_n = offsetof(struct sts_settings, mx_n), IN_STS(mx)),
	TEXT("sts", "id", VALUE_TEXT, IN_STS(id)),
	TEXT("sts", "reports", VALUE_TEXT, .list_max = 16,
		.offset_n = offsetof(struct sts_settings, reports_n), IN_STS(reports)),

	CHOICE("tls", "ktls", "auto", ktls_choices, IN_CONFIG(tls.ktls)),
	CHOICE("tls", "version_min", "TLSv1.2", version_choices, IN_CONFIG(tls.version_min)),
	TEXT("tls", "ticket_keys", VALUE_PATH, .fallback = "tickets.key", .empty_is_none = true,
		IN_CONFIG(tls.ticket_keys)),
	NUMBER("tls", "ticket_rotate_seconds", "86400", 1, WEEK_SECONDS,
		IN_CONFIG(tls.ticket_rotate_seconds)),
	CHOICE("tls", "client_certificate", "none", client_certificate_choices,
		IN_CONFIG(tls.client_certificate_request)),
	SECONDS("tls", "handshake_seconds", "30", 1, 600, IN_CONFIG(tls.handshake_ms_max)),

	NUMBER("smtp", "message_bytes_max", "52428800", 1, 64 * GIB,
		IN_CONFIG(smtp.message_bytes_max)),
	NUMBER("smtp", "recipients_max", "100", 1, 10000, IN_CONFIG(smtp.recipients_max)),
	NUMBER("smtp", "errors_max", "20", 1, 10000, IN_CONFIG(smtp.errors_max)),
	CHOICE("smtp", "bare_newline", "reject", bare_newline_choices,
		IN_CONFIG(smtp.bare_newline_normalize)),
	CHOICE("smtp", "early_talker", "count", early_talker_choices,
		IN_CONFIG(session.early_talker_reject)),
	NUMBER("smtp", "banner_delay_ms", "0", 0, 60000, IN_CONFIG(session.banner_delay_ms)),
	CHOICE("smtp", "undeclared_8bit", "reject", undeclared_8bit_choices,
		IN_CONFIG(smtp.undeclared_8bit_accept)),
	NUMBER("smtp", "hops_max", "50", 1, 1000, IN_CONFIG(smtp.hops_max)),
	SECONDS("smtp", "command_seconds", "300", 1, DAY_SECONDS,
		IN_CONFIG(session.command_ms_max)),
	SECONDS("smtp", "data_seconds", "180", 1, DAY_SECONDS, IN_CONFIG(session.data_ms_max)),
	SECONDS("smtp", "session_seconds", "3600", 1, WEEK_SECONDS,
		IN_CONFIG(session.session_ms_max)),
	NUMBER("smtp", "rate_bytes_min", "100", 0, GIB, IN_CONFIG(session.rate_bytes_min)),
	SECONDS("smtp", "rate_window_seconds", "60", 1, 3600, IN_CONFIG(session.rate_window_ms)),
	NUMBER("smtp", "messages_max", "1000", 1, 1000000, IN_CONFIG(smtp.messages_max)),
	NETWORKS("smtp", "xclient", struct config, smtp.xclient),

	TEXT("policy", "relay_domains", VALUE_DOMAIN, .example = "{ \"example.org\" }",
		.list_max = SETTINGS_DOMAINS_MAX,
		.offset_n = offsetof(struct config, policy.relay_domains_n),
		IN_CONFIG(policy.relay_domains)),
	TEXT("policy", "require_tls", VALUE_ROUTE_DOMAIN, .list_max = SETTINGS_DOMAINS_MAX,
		.offset_n = offsetof(struct config, policy.require_tls_n),
		IN_CONFIG(policy.require_tls)),
	TEXT("policy", "recipients", VALUE_PATH, .empty_is_none = true,
		IN_CONFIG(policy.recipients)),
	TEXT("policy", "recipients_lmdb", VALUE_PATH, .empty_is_none = true,
		IN_CONFIG(policy.recipients_lmdb)),
	NUMBER("policy", "sessions_max", "10000", 1, 1000000, IN_CONFIG(policy.sessions_max)),
	NUMBER("policy", "sessions_per_address_max", "100", 1, 1000000,
		IN_CONFIG(policy.sessions_per_address_max)),
	SECONDS("policy", "callout_positive_seconds", "3600", 0, WEEK_SECONDS,
		IN_CONFIG(policy.callout_positive_ms)),
	SECONDS("policy", "callout_negative_seconds", "300", 0, WEEK_SECONDS,
		IN_CONFIG(policy.callout_negative_ms)),
	SECONDS("policy", "callout_seconds", "10", 1, 300, IN_CONFIG(policy.callout_ms_max)),
	NUMBER("policy", "callout_rate_max", "100", 1, 100000, IN_CONFIG(policy.callout_rate_max)),
	CHOICE("policy", "callout_down", "accept", callout_down_choices,
		IN_CONFIG(policy.callout_down)),

	TEXT("spool", "directory", VALUE_PATH, .fallback = "spool", IN_CONFIG(spool.directory)),
	CHOICE("spool", "durability", "full", durability_choices, IN_CONFIG(spool.durable)),
	NUMBER("spool", "memory_bytes_max", "67108864", 65536, 1024 * GIB,
		IN_CONFIG(spool.memory_bytes_max)),
	NUMBER("spool", "stream_bytes", "262144", 4096, 4 * MIB, IN_CONFIG(spool.stream_bytes)),
	NUMBER("spool", "segment_bytes", "67108864", 65536, 16 * GIB,
		IN_CONFIG(spool.segment_bytes)),
	NUMBER("spool", "free_bytes_min", "67108864", 0, 1024 * GIB,
		IN_CONFIG(spool.free_bytes_min)),
	NUMBER("spool", "commit_wait_us", "200", 0, 100000, IN_CONFIG(spool.commit_wait_us)),
	NUMBER("spool", "messages_max", "1000000", 1, 100000000, IN_CONFIG(spool.messages_max)),

	TEXT("route", "domains", VALUE_ROUTE_DOMAIN, .list_max = SETTINGS_DOMAINS_MAX,
		.offset_n = offsetof(struct route_settings, domains_n), IN_ROUTE(domains)),
	TEXT("route", "next_hops", VALUE_NEXT_HOP, .example = "{ \"lmtp:127.0.0.1:24\" }",
		.list_max = SETTINGS_NEXT_HOPS_MAX,
		.offset_n = offsetof(struct route_settings, next_hops_n), IN_ROUTE(next_hops)),
	CHOICE("route", "choose", "failover", route_choose_choices, IN_ROUTE(choose)),
	CHOICE("route", "tls", "may", route_tls_choices, IN_ROUTE(tls)),
	TEXT("route", "tls_name", VALUE_HOST, IN_ROUTE(tls_name)),
	TEXT("route", "ca_file", VALUE_PATH, IN_ROUTE(ca_file)),
	TEXT("route", "cutthrough", VALUE_BOOL, .fallback = "false", IN_ROUTE(cutthrough)),
	TEXT("route", "callout", VALUE_BOOL, .fallback = "false", IN_ROUTE(callout)),
	NUMBER("route", "connections_max", "20", 1, 10000, IN_ROUTE(connections_max)),
	NUMBER("route", "connection_messages_max", "1000", 1, 1000000, IN_ROUTE(messages_max)),
	SECONDS("route", "idle_seconds", "10", 0, 3600, IN_ROUTE(idle_ms)),
	NUMBER("route", "recipients_max", "100", 1, 10000, IN_ROUTE(recipients_max)),

	TEXT("relay", "routes", VALUE_PATH, .empty_is_none = true, IN_CONFIG(relay.routes_file)),
	TEXT("relay", "resolvers", VALUE_RESOLVER, .list_max = RESOLVERS_MAX,
		.offset_n = offsetof(struct config, relay.resolvers_n), IN_CONFIG(relay.resolvers)),
	TEXT("relay", "ehlo", VALUE_HOST, IN_CONFIG(relay.ehlo)),
	SECONDS("relay", "retry_seconds_min", "300", 1, DAY_SECONDS, IN_CONFIG(relay.retry_ms_min)),
	SECONDS("relay", "retry_seconds_max", "14400", 1, WEEK_SECONDS,
		IN_CONFIG(relay.retry_ms_max)),
	SECONDS("relay", "expire_seconds", "432000", 1, 30 * DAY_SECONDS,
		IN_CONFIG(relay.expire_ms)),
	SECONDS("relay", "warn_seconds", "0", 0, 30 * DAY_SECONDS, IN_CONFIG(relay.warn_ms)),
	SECONDS("relay", "connect_seconds", "30", 1, 3600, IN_CONFIG(relay.connect_ms_max)),
	SECONDS("relay", "reply_seconds", "300", 1, 3600, IN_CONFIG(relay.reply_ms_max)),
	SECONDS("relay", "final_seconds", "600", 1, 3600, IN_CONFIG(relay.final_ms_max)),
	SECONDS("relay", "cutthrough_seconds", "10", 1, 3600, IN_CONFIG(relay.cutthrough_ms_max)),
	NUMBER("relay", "connections_max", "500", 1, 100000, IN_CONFIG(relay.connections_max)),
	CHOICE("relay", "ktls", "auto", ktls_choices, IN_CONFIG(relay.ktls)),
	TEXT("relay", "dane", VALUE_BOOL, .fallback = "true", IN_CONFIG(relay.dane)),
	TEXT("relay", "sts", VALUE_BOOL, .fallback = "true", IN_CONFIG(relay.sts)),
	TEXT("relay", "trust_anchor", VALUE_PATH, .fallback = "/usr/share/dns/root.key",
		.empty_is_none = true, IN_CONFIG(relay.trust_anchor)),
	TEXT("relay", "sts_ca_file", VALUE_PATH, IN_CONFIG(relay.sts_ca_file)),
	TEXT("relay", "bounce_body", VALUE_BOOL, .fallback = "true", IN_CONFIG(relay.bounce_body)),

	CHOICE("fence", "mode", "auto", fence_choices, IN_CONFIG(fence.mode)),
	TEXT("fence", "interfaces", VALUE_INTERFACE, .list_max = SETTINGS_INTERFACES_MAX,
		.offset_n = offsetof(struct config, fence.interfaces_n),
		IN_CONFIG(fence.interfaces)),
	TEXT("fence", "pin", VALUE_PATH, .empty_is_none = true, IN_CONFIG(fence.pin)),
	NUMBER("fence", "prefix_v4", "32", 8, 32, IN_CONFIG(fence.prefix_v4)),
	NUMBER("fence", "prefix_v6", "64", 16, 128, IN_CONFIG(fence.prefix_v6)),
	NUMBER("fence", "sources_max", "65536", 1024, 4194304, IN_CONFIG(fence.sources_max)),
	BUDGET("connections", "50/500", connections.source),
	BUDGET("connections_all", "2000/10000", connections.all),
	NUMBER("fence", "connections_open", NULL, 0, OPEN_MAX, IN_CONFIG(fence.connections_open)),
	NUMBER("fence", "connections_open_all", NULL, 0, OPEN_MAX,
		IN_CONFIG(fence.connections_open_all)),
	BUDGET("plain_bytes", "1048576/67108864", plain_bytes.source),
	BUDGET("plain_bytes_all", "134217728/1073741824", plain_bytes.all),
	BUDGET("plain_packets", "2000/100000", plain_packets.source),
	BUDGET("plain_packets_all", "200000/2000000", plain_packets.all),
	BUDGET("handshakes", "20/200", handshakes.source),
	BUDGET("handshakes_all", "500/2000", handshakes.all),
	NUMBER("fence", "handshakes_open", "20", 0, OPEN_MAX, IN_CONFIG(fence.handshakes_open)),
	NUMBER("fence", "handshakes_open_all", "1000", 0, OPEN_MAX,
		IN_CONFIG(fence.handshakes_open_all)),
	BUDGET("upgraded_bytes", "16777216/268435456", upgraded_bytes.source),
	BUDGET("upgraded_bytes_all", "536870912/4294967296", upgraded_bytes.all),
	NUMBER("fence", "behaved_factor", "10", 1, 1000, IN_CONFIG(fence.behaved_factor)),
	SECONDS("fence", "behaved_seconds", "86400", 1, 30 * DAY_SECONDS,
		IN_CONFIG(fence.behaved_ms)),
	NUMBER("fence", "strikes_max", "20", 0, 1000000, IN_CONFIG(fence.strikes_max)),
	SECONDS("fence", "penalty_seconds", "60", 1, WEEK_SECONDS, IN_CONFIG(fence.penalty_ms)),
	NUMBER("fence", "sample", "100", 0, 1000000, IN_CONFIG(fence.sample)),
	NETWORKS("fence", "allow", struct config, fence.allow,
		.fallback = "{ 127.0.0.0/8, ::1/128 }"),
	NETWORKS("fence", "block", struct config, fence.block),

	TEXT("watch", "on", VALUE_BOOL, .fallback = "true", IN_CONFIG(watch.on)),
	NUMBER("watch", "days", "30", 1, 400, IN_CONFIG(watch.days)),
	NUMBER("watch", "entries_max", "20000", 100, 10000000, IN_CONFIG(watch.entries_max)),
	NUMBER("watch", "enforce_days", "14", 1, 400, IN_CONFIG(watch.enforce_days)),

	TEXT("tlsrpt", "organization", VALUE_TEXT, IN_CONFIG(tlsrpt.organization)),
	TEXT("tlsrpt", "contact", VALUE_TEXT, IN_CONFIG(tlsrpt.contact)),
	TEXT("tlsrpt", "from", VALUE_TEXT, IN_CONFIG(tlsrpt.from)),
	TEXT("tlsrpt", "dkim_key", VALUE_PATH, IN_CONFIG(tlsrpt.dkim_key)),
	TEXT("tlsrpt", "dkim_domain", VALUE_HOST, IN_CONFIG(tlsrpt.dkim_domain)),
	TEXT("tlsrpt", "dkim_selector", VALUE_HOST, IN_CONFIG(tlsrpt.dkim_selector)),

	CHOICE("log", "to", "stderr", log_choices, IN_CONFIG(log.syslog)),
};
const size_t config_keys_n = COUNT_OF(config_keys);

const struct config_key *config_key_find(const char *section, const char *name)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		if (strcmp(config_keys[i].section, section) == 0 &&
			strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}
