/* SPDX-License-Identifier: MIT */
/*
 * probe.h -- a mail server as a sender sees it: facts gathered from outside, and what they mean.
 *
 *	settings.c     values from a command line
 *	text.c         octets of strangers made printable; the list of findings
 *	dns.c          questions by libunbound, with DNSSEC
 *	policy.c       MTA-STS record and policy by libcurl, TLSRPT record
 *	ber.c          the little of LDAP that an upgrade needs
 *	dialog.c       the protocols' upgrades, sans-IO: commands, replies, offers
 *	wire.c         one connection: octets in clear and under TLS, within a deadline
 *	trial.c        one connection with a purpose: greeting, upgrade, handshake, good-bye
 *	certificate.c  a chain read, verified against CAs, matched with a name
 *	dane.c         TLSA records asked for and compared with a chain
 *	host.c         all trials of one host
 *	domain.c       a domain: MX, policy, reports, its hosts
 *	verdict.c      from facts to findings
 *	published.c    facts against what a gateway means to be seen
 *	report.c       the facts as tables; report_json.c as JSON
 *
 * Job: used by postern-probe, and by whoever wants to know what senders know.
 * Non-goals: delivering mail, guessing passwords, scanning: each trial is one connection of a
 * well-behaved client, and there are at most PROBE_TRIALS_MAX of them a host.
 * Invariants: whoever answers is taken for hostile. Replies, records, bodies, chains and times have
 * limits; whatever text came from outside is in these structs as printable ASCII only (raw octets are
 * spans). What is a record, a policy or a match is sts/sts.h's to say. The caller ignores SIGPIPE.
 */
#ifndef POSTERN_TOOLS_PROBE_PROBE_H
#define POSTERN_TOOLS_PROBE_PROBE_H

#include <sys/socket.h>
#include <time.h>

#include "sts/sts.h"

/* of OpenSSL and libunbound */
struct ssl_st;
struct ssl_session_st;
struct stack_st_X509;
struct ub_result;

#define PROBE_NAME_MAX      (STS_NAME_MAX + 1)
#define PROBE_TEXT_MAX      512 /* of what a peer said, with the NUL */
#define PROBE_SENTENCE_MAX  1024
#define PROBE_RECORDS_MAX   64  /* of one answer that are looked at */
#define PROBE_HOSTS_MAX     16  /* MXes of a domain that are looked at */
#define PROBE_ADDRESSES_MAX 8   /* of a host that are tried */
#define PROBE_CHAIN_MAX     16  /* certificates of a chain that are read */
#define PROBE_NAMES_MAX     100 /* of a certificate that are shown */
#define PROBE_FINDINGS_MAX  256
#define PROBE_TRIALS_MAX    (PROBE_ADDRESSES_MAX + 8) /* connections to one host */

/* ---- settings ---- */

enum probe_protocol {
	PROBE_SMTP,
	PROBE_IMAP,
	PROBE_POP3,
	PROBE_XMPP,
	PROBE_LDAP,
	PROBE_NNTP,
	PROBE_FTP,
	PROBE_PROTOCOLS
};

/* "smtp"... False: none of them. */
MUST_USE bool probe_protocol_read(const char *text, enum probe_protocol *protocol);
const char *probe_protocol_text(enum probe_protocol protocol);
/* Where it is usually served. */
uint16_t probe_protocol_port(enum probe_protocol protocol, bool implicit_tls);

/* How the name is to be taken. GUESS: as a domain where it has an MX, else as a host. */
enum probe_kind { PROBE_GUESS, PROBE_DOMAIN, PROBE_HOST };

/* Strings may be NULL for the default, and live as long as anything that was made from them. */
struct probe_settings {
	enum probe_protocol protocol;
	enum probe_kind kind;
	bool implicit_tls;
	bool no_sts;
	bool no_dane;         /* and no DNSSEC at all */
	bool brief;           /* one connection a host: versions and the like stay unknown */
	uint16_t port;        /* 0: the protocol's */
	uint32_t timeout_ms;  /* of a connection from its start to its end, a question, a policy */
	const char *address;  /* connect there, whatever DNS says */
	const char *resolver; /* "ADDR" or "ADDR@PORT"; default: /etc/resolv.conf */
	const char *trust_anchor; /* a file; default: where Debian has the root's */
	const char *ca_file;      /* default: the system's */
	const char *helo;         /* default: the machine's name, or its address */
	uint16_t policy_port;     /* 0: 443 */
};

/* Values from a command line (settings.c). False: no good. */
MUST_USE bool probe_port_read(const char *text, uint16_t *port);      /* 1 to 65535 */
MUST_USE bool probe_timeout_read(const char *text, uint32_t *ms);     /* seconds, 1 to 300 */
MUST_USE bool probe_address_read(const char *text, const char **out); /* numeric */
MUST_USE bool probe_helo_read(const char *text, const char **out);    /* visible ASCII */

/* ---- findings (text.c) ---- */

enum probe_severity {
	PROBE_NOTE,      /* worth knowing; no sender changes anything */
	PROBE_OBJECTION, /* mail comes, less protected than it could be */
	PROBE_REFUSAL,   /* some sender that keeps to the rules does not deliver */
	PROBE_SEVERITIES
};

const char *probe_severity_text(enum probe_severity severity);

struct probe_finding {
	enum probe_severity severity;
	const char *code;              /* for scripts, constant: "sts-name" */
	char host[PROBE_NAME_MAX];     /* "": the domain's */
	char what[PROBE_SENTENCE_MAX]; /* what was found */
	const char *sender;            /* what a sender will do about it */
};

struct probe_findings {
	size_t n;
	size_t dropped_n;          /* above PROBE_FINDINGS_MAX */
	enum probe_severity worst; /* of all, the dropped ones, too; NOTE where nothing is */
	struct probe_finding items[PROBE_FINDINGS_MAX];
};

void probe_finding_add(struct probe_findings *findings, enum probe_severity severity,
	const char *code, const char *host, const char *sender, const char *what, ...)
	PRINTF_LIKE(6, 7);

/* Octets as printable ASCII: others become '?', what does not fit is cut and ends in "...". */
void probe_clean(char *out, size_t n, struct span octets);

/* ---- DNS (dns.c) ---- */

enum probe_type {
	PROBE_A = 1,
	PROBE_CNAME = 5,
	PROBE_MX = 15,
	PROBE_TXT = 16,
	PROBE_AAAA = 28,
	PROBE_DNSKEY = 48,
	PROBE_TLSA = 52
};

enum probe_dns_state {
	PROBE_DNS_UNASKED,
	PROBE_DNS_FOUND,
	PROBE_DNS_NO_DATA,
	PROBE_DNS_NO_NAME,
	PROBE_DNS_BOGUS,  /* DNSSEC says that the answer is false */
	PROBE_DNS_FAILED, /* no answer, or that of a server in trouble */
	PROBE_DNS_STATES
};

const char *probe_dns_state_text(enum probe_dns_state state);

struct probe_answer {
	enum probe_dns_state state;
	bool secure;                        /* DNSSEC proved it, its absence included */
	bool alias;                         /* a CNAME led elsewhere */
	char canonical[PROBE_NAME_MAX + 4]; /* where to, or the name asked for */
	char why[PROBE_TEXT_MAX];           /* of BOGUS and FAILED */
	size_t n;
	struct span data[PROBE_RECORDS_MAX]; /* wire format; live as long as the answer */
	struct ub_result *result;
};

struct probe_dns;

/* 0; or -1 and err: a resolver, anchor or setting is no good. The resolver is not asked yet but for
 * whether it passes on DNSSEC. */
MUST_USE int probe_dns_open(
	struct probe_dns **dns, const struct probe_settings *settings, struct err *err);
void probe_dns_close(struct probe_dns *dns); /* NULL is fine */
/* Is DNSSEC checked? If not, *why says so in a sentence. */
bool probe_dns_validates(const struct probe_dns *dns, const char **why);
/* Always fills *answer; probe_answer_free() gives back what it holds. */
void probe_dns_ask(
	struct probe_dns *dns, const char *name, enum probe_type type, struct probe_answer *answer);
void probe_answer_free(struct probe_answer *answer);

/* ---- policy and reports (policy.c) ---- */

enum probe_sts_state {
	PROBE_STS_UNASKED,
	PROBE_STS_NONE,       /* no record: the domain has no policy */
	PROBE_STS_DNS,        /* the record could not be asked for */
	PROBE_STS_RECORD,     /* the record is no good */
	PROBE_STS_NO_FETCH,   /* the policy could not be fetched */
	PROBE_STS_BAD_POLICY, /* it is none */
	PROBE_STS_POLICY,
	PROBE_STS_STATES
};

const char *probe_sts_state_text(enum probe_sts_state state);

struct probe_sts {
	enum probe_sts_state state;
	struct sts_record record;
	char why[PROBE_TEXT_MAX]; /* unless NONE and POLICY */
	char url[PROBE_NAME_MAX + 64];
	long http_status; /* 0: none came */
	char media_type[128];
	uint32_t fetch_ms;
	uint32_t line;            /* of BAD_POLICY: the line at fault, or 0 */
	struct sts_policy policy; /* of POLICY; points into body */
	uint8_t *body;
	size_t body_n;
};

/* What a sender without a cache would find. Always fills *sts. */
void probe_sts_look(struct probe_dns *dns, const struct probe_settings *settings,
	const char *domain, struct probe_sts *sts);
void probe_sts_free(struct probe_sts *sts);

struct probe_tlsrpt {
	enum probe_dns_state dns;
	enum sts_record_error error; /* of dns FOUND */
	struct sts_tlsrpt record;    /* of error OK */
};

void probe_tlsrpt_look(struct probe_dns *dns, const char *domain, struct probe_tlsrpt *tlsrpt);

/* ---- certificates (certificate.c) ---- */

struct probe_certificate {
	char subject[PROBE_TEXT_MAX];
	char issuer[PROBE_TEXT_MAX];
	char serial[64];
	char key[48];       /* "RSA 2048", "EC prime256v1" */
	char signature[48]; /* "ecdsa-with-SHA256" */
	int key_strength;   /* in bits of a symmetric key; 0: not known */
	bool weak_digest;   /* signed over MD5 or SHA-1 */
	time_t not_before;
	time_t not_after;
	size_t names_n; /* in names */
	size_t names_more_n;
	char names[PROBE_NAMES_MAX][PROBE_NAME_MAX];
	uint8_t *der_octets; /* what the spans point into */
	uint8_t *spki_octets;
	uint8_t digests[4][64];
	struct sts_certificate sts;
};

enum probe_name_match {
	PROBE_NAME_UNASKED,
	PROBE_NAME_MATCHES,
	PROBE_NAME_IN_CN,
	PROBE_NAME_OTHER
};

struct probe_chain {
	size_t n;      /* certificates, the server's own first */
	size_t more_n; /* above PROBE_CHAIN_MAX */
	struct probe_certificate *certificates;
	int verify_error;    /* X509_V_OK, X509_V_ERR_... */
	size_t verify_depth; /* which certificate it is about */
	char verify_text[PROBE_TEXT_MAX];
	char anchor[PROBE_TEXT_MAX]; /* of OK: whose CA it is */
	enum probe_name_match match; /* with the host's name */
	struct stack_st_X509 *x509s;
};

/* Reads what the peer of a finished handshake showed, verifies it now, and looks for the name (or
 * numeric address). -1 and err: the CAs cannot be read. */
MUST_USE int probe_chain_read(struct probe_chain *chain, struct ssl_st *ssl,
	const struct probe_settings *settings, const char *name, struct err *err);
/* The same for a chain in hand, which is taken over. */
MUST_USE int probe_chain_take(struct probe_chain *chain, struct stack_st_X509 *x509s,
	const struct probe_settings *settings, const char *name, struct err *err);
void probe_chain_free(struct probe_chain *chain);
/* Does the chain lead to its own certificate at `depth` (usage 2), and is it for one of the names?
 * Dates count. NULL: yes; else why not. */
const char *probe_chain_anchored(
	const struct probe_chain *chain, size_t depth, const char *const *names, size_t names_n);
/* The same for an anchor that the chain lacks: a whole certificate or a public key, DER. */
const char *probe_chain_anchored_by(const struct probe_chain *chain, struct span der, bool is_key,
	const char *const *names, size_t names_n);

/* ---- DANE (dane.c) ---- */

enum probe_dane_state {
	PROBE_DANE_UNASKED,
	PROBE_DANE_INSECURE, /* DNSSEC does not cover what comes before: not for this host */
	PROBE_DANE_ABSENT,
	PROBE_DANE_FAILED,  /* bogus or no answer: senders wait */
	PROBE_DANE_ENCRYPT, /* records, none usable */
	PROBE_DANE_AUTHENTICATE,
	PROBE_DANE_STATES
};

const char *probe_dane_state_text(enum probe_dane_state state);

enum probe_tlsa_verdict {
	PROBE_TLSA_UNTRIED, /* there was no chain */
	PROBE_TLSA_UNUSABLE,
	PROBE_TLSA_WEAKER, /* a stronger digest stands beside it */
	PROBE_TLSA_OTHER,  /* nothing in the chain is it */
	PROBE_TLSA_BROKEN, /* found, but the chain to it, a date or the name is no good */
	PROBE_TLSA_MATCH,
	PROBE_TLSA_VERDICTS
};

const char *probe_tlsa_verdict_text(enum probe_tlsa_verdict verdict);

struct probe_tlsa {
	struct span octets;
	struct sts_tlsa tlsa;
	enum sts_tlsa_use use;
	enum probe_tlsa_verdict verdict;
	size_t depth;    /* of MATCH */
	const char *why; /* of BROKEN */
};

struct probe_dane {
	enum probe_dane_state state;
	char why[PROBE_TEXT_MAX];      /* of INSECURE and FAILED */
	char base[PROBE_NAME_MAX + 4]; /* the name that the records stand below */
	bool matched;
	size_t n;
	struct probe_tlsa records[PROBE_RECORDS_MAX];
	struct probe_answer answer;
};

/* `addresses` are the answers for A and AAAA; mx_secure is false where an MX record that DNSSEC did
 * not prove led to the host (RFC 7672 2.2). */
void probe_dane_look(struct probe_dns *dns, const char *host, uint16_t port, bool mx_secure,
	const struct probe_answer addresses[2], struct probe_dane *dane);
/* Sets the verdicts. `domain` is a further name that a certificate may have, or NULL. */
void probe_dane_match(struct probe_dane *dane, const struct probe_chain *chain, const char *host,
	const char *domain);
void probe_dane_free(struct probe_dane *dane);

/* ---- one connection (trial.c) ---- */

enum probe_outcome {
	PROBE_UNTRIED,
	PROBE_UNREACHED,  /* no connection */
	PROBE_NO_WELCOME, /* no greeting of this protocol, or one that turns us away */
	PROBE_NO_UPGRADE, /* it does not want to */
	PROBE_NO_TLS,     /* the handshake failed */
	PROBE_TLS,
	PROBE_OUTCOMES
};

const char *probe_outcome_text(enum probe_outcome outcome);

enum probe_injection {
	PROBE_INJECT_UNTRIED,
	PROBE_INJECT_UNKNOWN,  /* it could not be found out */
	PROBE_INJECT_REFUSED,  /* no handshake came of it */
	PROBE_INJECT_IN_CLEAR, /* answered before the handshake */
	PROBE_INJECT_DROPPED,  /* a session, without an answer to it */
	PROBE_INJECT_LEAKED,   /* answered under TLS */
	PROBE_INJECTIONS
};

const char *probe_injection_text(enum probe_injection injection);

/* What one connection is for. */
struct probe_wish {
	int version;                    /* TLS1_VERSION to TLS1_3_VERSION: this alone; 0: any */
	struct ssl_session_st *session; /* to be resumed, or NULL */
	bool inject;
};

struct probe_trial {
	enum probe_outcome outcome;
	bool offered;   /* the list of what the server can do has the upgrade */
	bool disguised; /* a keyword of capital Xes only stands in the list */
	bool early;     /* octets in clear came behind the go-ahead */
	bool resumed;
	bool timed_out;
	bool inconclusive; /* timed_out, or we could not: it says nothing of the peer */
	char greeting[PROBE_TEXT_MAX];
	char said[PROBE_TEXT_MAX]; /* the last reply in clear */
	char why[PROBE_TEXT_MAX];  /* of TLS: of what came after it, if that failed */
	char version[16];
	char cipher[64];
	char group[32];
	char signature[48]; /* algorithm of the server's signature in the handshake */
	bool forward_secret;
	bool aead;
	char extensions[PROBE_TEXT_MAX]; /* SMTP: keywords of EHLO under TLS */
	enum probe_injection injection;
	uint32_t connect_ms;
	uint32_t handshake_ms;
	struct ssl_session_st *session; /* the newest, or NULL */
};

/* One connection to the address. With `chain` the certificates are read; then -1 and err where the
 * CAs cannot be. */
MUST_USE int probe_trial_run(const struct probe_settings *settings,
	const struct sockaddr_storage *address, const char *host, const struct probe_wish *wish,
	struct probe_trial *trial, struct probe_chain *chain, struct err *err);
void probe_trial_free(struct probe_trial *trial);

/* ---- one host (host.c) ---- */

#define PROBE_VERSIONS 4 /* TLS 1.0 to 1.3 */

enum probe_accepts { PROBE_ACCEPTS_UNKNOWN, PROBE_ACCEPTS_NOT, PROBE_ACCEPTS };

enum probe_resumption {
	PROBE_RESUME_UNTRIED, /* the version is not accepted */
	PROBE_RESUME_UNKNOWN,
	PROBE_RESUME_NO_SESSION, /* the server gave nothing to resume */
	PROBE_RESUME_FULL,       /* it made a full handshake again */
	PROBE_RESUME_DONE,
	PROBE_RESUMPTIONS
};

const char *probe_version_text(size_t i); /* 0: "1.0" */
const char *probe_accepts_text(enum probe_accepts accepts);
const char *probe_resumption_text(enum probe_resumption resumption);

struct probe_address {
	struct sockaddr_storage socket;
	char text[64];
	bool tried;
	enum probe_outcome outcome;
	char why[PROBE_TEXT_MAX];
};

struct probe_host {
	char name[PROBE_NAME_MAX];
	bool is_numeric;
	bool is_mx;
	uint16_t preference;
	struct probe_answer answers[2]; /* A, AAAA */
	size_t addresses_n;
	size_t address; /* the one that was looked at */
	struct probe_address addresses[PROBE_ADDRESSES_MAX];
	unsigned timeouts_n; /* trials that came to nothing for lack of time */
	struct probe_trial trial;
	struct probe_chain chain;
	enum probe_accepts accepts[PROBE_VERSIONS];
	enum probe_resumption resumption[PROBE_VERSIONS]; /* TLS 1.2 and 1.3 only */
	enum probe_injection injection;
	struct probe_dane dane;
};

/* All trials of host->name. `domain` led to it by an MX record, proved or not; or NULL. -1 and err:
 * the CAs cannot be read. */
MUST_USE int probe_host_run(struct probe_dns *dns, const struct probe_settings *settings,
	const char *domain, bool mx_secure, struct probe_host *host, struct err *err);
void probe_host_free(struct probe_host *host);

/* ---- a domain (domain.c) ---- */

struct probe_domain {
	char name[PROBE_NAME_MAX];
	bool is_domain; /* MX, policy and reports were looked at */
	bool implicit_mx;
	bool null_mx;
	size_t mx_more_n; /* above PROBE_HOSTS_MAX, or not readable */
	struct probe_answer mx;
	bool dnssec;           /* was checked */
	const char *no_dnssec; /* why not */
	struct probe_sts sts;
	struct probe_tlsrpt tlsrpt;
	size_t hosts_n;
	struct probe_host *hosts;
	struct probe_findings findings; /* probe_judge() fills it */
};

/* Gathers everything, and judges. -1 and err: something of ours is no good. */
MUST_USE int probe_run(const struct probe_settings *settings, const char *name,
	struct probe_domain **domain, struct err *err);
void probe_free(struct probe_domain *domain); /* NULL is fine */

/* ---- verdict.c ---- */

/* Adds to domain->findings what its facts mean; pure. */
void probe_judge(struct probe_domain *domain, const struct probe_settings *settings, time_t now);

/* ---- published.c ---- */

#define PROBE_KEYS_MAX 64

/* A public key of the gateway's certificates. */
struct probe_key {
	uint8_t usage; /* STS_DANE_EE: the certificate's, STS_DANE_TA: its issuer's */
	bool next;     /* of a certificate to come */
	uint8_t sha256[32];
};

/* What a gateway means senders to see of a domain; strings are borrowed. */
struct probe_published {
	const char *hostname;
	const char *id; /* NULL: no policy is published for the domain */
	struct span policy;
	const char *tlsrpt; /* the record's text; NULL: no reports are wanted */
	size_t keys_n;
	struct probe_key keys[PROBE_KEYS_MAX];
};

/* Adds to the findings what differs; pure. */
void probe_compare(struct probe_domain *domain, const struct probe_published *published);

/* ---- report.c, report_json.c ---- */

void probe_report(const struct probe_domain *domain, const struct probe_settings *settings);
/* Findings from `least` upwards only. */
void probe_report_findings(const struct probe_findings *findings, enum probe_severity least);
void probe_report_verdict(const struct probe_domain *domain);
struct json_t; /* jansson's */
/* A new reference; NULL: no memory. */
MUST_USE struct json_t *probe_json(
	const struct probe_domain *domain, const struct probe_settings *settings);
/* False: no memory, or stdout fails. */
MUST_USE bool probe_report_json(
	const struct probe_domain *domain, const struct probe_settings *settings);

#endif
