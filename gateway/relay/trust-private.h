/* SPDX-License-Identifier: MIT */
/*
 * trust-private.h -- how the other end of a connection to an MX has to be known, as its domain asks for
 * by DANE (RFC 7672), MTA-STS (RFC 8461) or as the message does (REQUIRETLS, RFC 8689).
 *
 * trust.c decides for a host before it is connected to; hello.c and wire.c obey; trust_note.c says what
 * came of it. The decision is a counted object of one thread, which a dial and its connection share.
 */
#ifndef POSTERN_RELAY_TRUST_PRIVATE_H
#define POSTERN_RELAY_TRUST_PRIVATE_H

#include "relay/client-private.h"

#define RELAY_TRUST_MS_MAX 300000 /* a connection is not used for longer on one decision */

enum relay_trust_kind {
	RELAY_TRUST_OPPORTUNISTIC, /* nobody asks for anything: TLS where it works */
	RELAY_TRUST_STS_TESTING,   /* the same; what a policy would have said is reported */
	RELAY_TRUST_STS,           /* chain and name */
	RELAY_TRUST_ENCRYPT,       /* DANE, no record is usable: TLS, whoever it is */
	RELAY_TRUST_DANE,          /* one of the records */
	RELAY_TRUST_PKIX,          /* chain and name, for REQUIRETLS alone */
	RELAY_TRUST_KINDS
};

struct relay_trust {
	uint32_t holders_n;
	enum relay_trust_kind kind;
	bool requiretls;                /* or no mail at all */
	bool unlisted;                  /* STS_TESTING: the policy does not know the host */
	char domain[RELAY_HOST_MAX];    /* whose mail it is */
	char host[RELAY_HOST_MAX];      /* the MX */
	char base[RELAY_HOST_MAX];      /* for SNI, and what the certificate must be for */
	struct stscache_policy *policy; /* held; NULL: none */
	/* ENCRYPT, DANE: the data of the TLSA records, and the usable ones. They point into octets. */
	struct span records[RELAY_RECORDS_MAX];
	uint32_t records_n;
	struct sts_tlsa_set tlsa;
	uint8_t octets[];
};

struct relay_trust *relay_trust_hold(struct relay_trust *trust);
void relay_trust_release(struct relay_trust *trust); /* NULL is fine */

/* What the route's tls or the policy comes to: NONE, MAY, REQUIRE or VERIFY. */
enum route_tls relay_trust_tls(const struct relay_target *target);
/* "the MTA-STS policy of example.org (enforce, id 1)", "DANE for mx.example.org" ... */
const char *relay_trust_name(const struct relay_trust *trust, char text[RELAY_REPLY_MAX]);
/* The connection's TLS by the target. NULL: as tls_client_conn_to(). */
struct tls_conn *relay_trust_conn(const struct relay_client *client);

/* ---- the decision, a host at a time ---- */

struct relay_trusting {
	struct relay *relay;
	const char *domain; /* lower case */
	uint16_t port;
	bool mx_secure; /* DNSSEC proved which hosts there are */
	bool requiretls;
	/* Of the host that was asked about. */
	struct relay_trust *trust;    /* the asker's to take; NULL: it must not be used */
	struct relay_outcome outcome; /* then: why */
	void (*done)(struct relay_trusting *trusting);
	/* trust.c's own */
	bool looking, sts_asking, sts_known;
	bool original; /* base is the host's own name */
	char host[RELAY_HOST_MAX];
	char base[RELAY_HOST_MAX]; /* that TLSA records are looked for at */
	struct relay_lookup lookup;
	struct relay_sts sts;
};

/*
 * Decides for a host whose addresses have just been found: `secure` and `canonical` as
 * relay_resolve_host() says. True: decided now; false: `done` comes.
 */
MUST_USE bool relay_trusting_host(
	struct relay_trusting *trusting, const char *host, const char *canonical, bool secure);
bool relay_trusting_busy(const struct relay_trusting *trusting);
void relay_trusting_cancel(struct relay_trusting *trusting);
void relay_trusting_close(struct relay_trusting *trusting); /* when it is not busy */

/* ---- trust_note.c ---- */

enum relay_trust_word {
	RELAY_TRUST_WORD_NONE,
	RELAY_TRUST_WORD_OPPORTUNISTIC,
	RELAY_TRUST_WORD_STS_TESTING,
	RELAY_TRUST_WORD_STS,
	RELAY_TRUST_WORD_DANE,
	RELAY_TRUST_WORD_VERIFIED,
	RELAY_TRUST_WORDS
};
extern const char *const relay_trust_words[RELAY_TRUST_WORDS]; /* "none" ... for logs */

/* How the other end is known, on a connection as it is now. */
enum relay_trust_word relay_trust_word(const struct relay_client *client);
/* The dialogue is open: counts how the other end is known. */
void relay_trust_opened(const struct relay_client *client);
/* What came of a session's TLS: for reports, and if it failed for the log. Nothing without a policy's
 * decision. */
void relay_trust_note(struct relay_client *client, enum tlsrpt_result result, const char *reason);
/* The same of a handshake, by what became of it. */
void relay_trust_note_handshake(struct relay_client *client, bool done);
/* What went wrong before there was a session with the host; "": with none. */
void relay_trust_note_host(struct relay *relay, const char *domain, const char *host,
	enum tlsrpt_policy kind, const struct stscache_policy *policy, enum tlsrpt_result result,
	const char *reason);

#endif
