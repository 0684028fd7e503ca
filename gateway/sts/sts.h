/* SPDX-License-Identifier: MIT */
/*
 * sts.h -- what domains say about TLS for their mail: records and texts, read, judged and written.
 *
 * Job: sans-IO. MTA-STS (RFC 8461: the _mta-sts TXT record, the policy, MX patterns), where TLS
 * reports go (RFC 8460 3: the _smtp._tls TXT record), DANE (RFC 6698, 7671, 7672: TLSA records).
 * Octets in, plain structs out, and the reverse. Who publishes, obeys, checks and probes all ask
 * here, so that they agree.
 * Non-goals: DNS and whether an answer was secure, HTTP, certificates (their digests come in as
 * octets; names and chains are tls/'s), caches, reports.
 * Invariants: no allocation, no state, no clock; every loop ends with its input. What is refused
 * has a reason, and each reason a sentence. Spans in results point into what the caller passed in
 * and live as long; the results of TXT records own their text and may be copied. Writers append to
 * a buffer; when they answer false for lack of room, what they began stays in it.
 * Rejected: being kinder than the grammar (blank lines, blanks before a colon, keys in capitals).
 * It would make a policy hold here that other senders drop, and hide the fault from its owner. A
 * limit on a policy's lines: known lines are bounded by their own grammar, and a line that is
 * unknown must be skipped whatever its length (RFC 8461 3.2).
 */
#ifndef POSTERN_STS_STS_H
#define POSTERN_STS_STS_H

#include "base/buf.h"

#define STS_RECORD_PREFIX      "_mta-sts."                /* before the mail domain: TXT */
#define STS_TLSRPT_PREFIX      "_smtp._tls."              /* before the mail domain: TXT */
#define STS_TLSA_PREFIX        "_25._tcp."                /* before the MX's name: TLSA */
#define STS_POLICY_HOST_PREFIX "mta-sts."                 /* before the mail domain: HTTPS */
#define STS_POLICY_PATH        "/.well-known/mta-sts.txt" /* RFC 8461 3.3 */
#define STS_POLICY_MEDIA_TYPE  "text/plain"               /* RFC 8461 3.2 */

/* ---- names of MXes (RFC 8461 3.2, 4.1) ---- */

#define STS_NAME_MAX 253 /* octets of a domain name, without the root's dot */

/* A pattern as a policy may have it: a Domain of RFC 5321 4.1.2 in ASCII, behind "*." or not. */
MUST_USE bool sts_mx_valid(struct span pattern);

/*
 * Does the pattern allow the host? Capitals do not matter, nor does a final dot on either side; "*."
 * stands for exactly one label.
 */
MUST_USE bool sts_mx_match(struct span pattern, struct span host);

/* ---- the policy (RFC 8461 3.2) ---- */

#define STS_POLICY_BYTES_MAX 65536    /* RFC 8461 3.3 */
#define STS_MAX_AGE_S_MAX    31557600 /* RFC 8461 3.2 */
#define STS_MX_MAX           256      /* patterns of a policy; the RFC has no limit but its size */

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE, STS_MODES };

/* "none", "testing", "enforce". */
const char *sts_mode_text(enum sts_mode mode);
/* The reverse, to the letter. False: no mode. */
MUST_USE bool sts_mode_read(struct span text, enum sts_mode *mode);

struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age_s;
	uint32_t mx_n;
	uint32_t repeated_n; /* lines skipped because their key had been there (first wins) */
	uint32_t unknown_n;  /* lines skipped because their key is not known */
	struct span mx[STS_MX_MAX];
};

enum sts_policy_error {
	STS_POLICY_OK,
	STS_POLICY_EMPTY,
	STS_POLICY_LARGE,         /* above STS_POLICY_BYTES_MAX */
	STS_POLICY_LINE,          /* no colon; blank lines are such */
	STS_POLICY_KEY,           /* not 1*32 of what a key is made of */
	STS_POLICY_VALUE,         /* empty, a control character, not UTF-8 */
	STS_POLICY_VERSION,       /* another than STSv1 */
	STS_POLICY_MODE,          /* another than the three */
	STS_POLICY_MAX_AGE,       /* not 1*10DIGIT */
	STS_POLICY_MAX_AGE_LARGE, /* above STS_MAX_AGE_S_MAX */
	STS_POLICY_MX,            /* not a pattern */
	STS_POLICY_MX_MANY,       /* more than STS_MX_MAX */
	STS_POLICY_NO_VERSION,
	STS_POLICY_NO_MODE,
	STS_POLICY_NO_MAX_AGE,
	STS_POLICY_NO_MX, /* and the mode is not none */
	STS_POLICY_ERRORS,
};

/*
 * Reads a policy's body. The mx spans point into it. Unless OK, *policy is all zero; *line is the
 * line at fault, from 1, or 0 where it is the whole.
 */
MUST_USE enum sts_policy_error sts_policy_read(
	struct span body, struct sts_policy *policy, uint32_t *line);

/* A sentence without its full stop, for logs and people. */
const char *sts_policy_error_text(enum sts_policy_error error);

/* May a policy come with this Content-Type? Parameters and capitals do not matter. */
MUST_USE bool sts_media_type_valid(struct span content_type);

/* Is the host one of the policy's MXes? (Whatever the mode is.) */
MUST_USE bool sts_policy_has_mx(const struct sts_policy *policy, struct span host);

/* ---- publishing a policy ---- */

/*
 * May we publish it? As sts_policy_read() would say of its text, and stricter in one thing: a
 * pattern whose last label is all digits is refused, for it is an address and no host has it as a
 * name (RFC 1123 2.1).
 */
MUST_USE enum sts_policy_error sts_policy_check(const struct sts_policy *policy);

/*
 * Appends the text to publish, CRLF lines: equal policies have equal texts. The policy must have
 * passed sts_policy_check(). False: no room (STS_POLICY_BYTES_MAX is always enough).
 */
MUST_USE bool sts_policy_write(const struct sts_policy *policy, struct buf *out);

/*
 * Which of a domain's MXes would a sender that obeys the policy refuse? Sets refused[0..n-1],
 * returns how many. In mode testing they would be reported, in mode none nobody looks: the answer
 * is the same, its weight is the caller's.
 */
size_t sts_policy_refused(
	const struct sts_policy *policy, const char *const *hosts, size_t n, bool *refused);

/* Which patterns allow none of the hosts? Sets idle[0..mx_n-1], returns how many. */
size_t sts_policy_idle(
	const struct sts_policy *policy, const char *const *hosts, size_t n, bool *idle);

/* ---- TXT records (RFC 8461 3.1, RFC 8460 3) ---- */

#define STS_TXT_MAX     4096 /* octets of a record's joined strings; longer ones are refused */
#define STS_ID_MAX      32
#define STS_RUA_MAX     16  /* places that reports go to; more are not used */
#define STS_MAILBOX_MAX 254 /* octets of an address, RFC 5321 4.5.3.1.3 without the brackets */

enum sts_record_error {
	STS_RECORD_OK,
	STS_RECORD_NONE,    /* none that begins with the version: the domain does not take part */
	STS_RECORD_SEVERAL, /* more than one that does: as if there were none */
	STS_RECORD_LONG,    /* above STS_TXT_MAX */
	STS_RECORD_FIELD,   /* not name=value */
	STS_RECORD_ID,      /* not 1*32(ALPHA / DIGIT) */
	STS_RECORD_NO_ID,
	STS_RECORD_URI, /* not a URI, or with an octet that must be percent-encoded */
	STS_RECORD_NO_RUA,
	STS_RECORD_ERRORS,
};

const char *sts_record_error_text(enum sts_record_error error);

struct sts_record {
	char id[STS_ID_MAX + 1];
	/*
	 * A blank is between the version and its semicolon: the RFC's grammar has it, its rule for
	 * several records does not, so that some senders see no record.
	 */
	bool blank;
};

/*
 * Finds and reads the _mta-sts record among the data of a name's TXT records, each in wire format
 * (strings behind their lengths). Unless OK, *out is all zero, and no policy may be looked for.
 */
MUST_USE enum sts_record_error sts_record_read(
	const struct span *records, size_t n, struct sts_record *out);

MUST_USE bool sts_id_valid(struct span id);
/* An id out of the first 16 octets of a digest (of the policy's text): 32 hexadecimal digits. */
void sts_id_make(struct span digest, char id[STS_ID_MAX + 1]);

/* Appends the text of the TXT record; the id must be valid. False: no room. */
MUST_USE bool sts_record_write(struct span id, struct buf *out);

enum sts_rua_kind { STS_RUA_MAILTO, STS_RUA_HTTPS };

struct sts_rua {
	uint8_t kind; /* enum sts_rua_kind */
	uint16_t at;  /* in text */
	uint16_t n;
};

struct sts_tlsrpt {
	uint32_t rua_n;
	uint32_t ignored_n; /* other schemes, no usable address or host, above STS_RUA_MAX */
	bool blank;         /* as in struct sts_record */
	struct sts_rua rua[STS_RUA_MAX];
	char text[STS_TXT_MAX];
};

/* As sts_record_read, for _smtp._tls. A record may have several rua fields: all count. */
MUST_USE enum sts_record_error sts_tlsrpt_read(
	const struct span *records, size_t n, struct sts_tlsrpt *out);

/* The i-th place as it was written, percent-encoding kept; points into *tlsrpt. */
struct span sts_rua_uri(const struct sts_tlsrpt *tlsrpt, uint32_t i);

/*
 * The address of a mailto: URI, decoded (RFC 6068 2), as a string. False: not one plain address in
 * visible ASCII; quoted local parts are not plain, nor is what would need SMTPUTF8.
 */
MUST_USE bool sts_rua_mailbox(struct span uri, char mailbox[STS_MAILBOX_MAX + 1]);

/* May a record that we publish have this place? A URI, mailto: or https:, that we would use. */
MUST_USE bool sts_rua_valid(struct span uri, enum sts_rua_kind *kind);

/* Appends the text of the TXT record; the URIs must be valid, n >= 1. False: no room. */
MUST_USE bool sts_tlsrpt_write(const char *const *uris, size_t n, struct buf *out);

/* ---- TLSA records (RFC 6698 2.1, RFC 7671, RFC 7672) ---- */

#define STS_TLSA_MAX 64 /* usable records of a set that are kept */

enum sts_tlsa_usage { STS_PKIX_TA, STS_PKIX_EE, STS_DANE_TA, STS_DANE_EE };
enum sts_tlsa_selector { STS_SELECT_CERT, STS_SELECT_SPKI };
enum sts_tlsa_matching { STS_MATCH_FULL, STS_MATCH_SHA256, STS_MATCH_SHA512 };

/* Numbers as on the wire; others than those above are possible in a record that was only read. */
struct sts_tlsa {
	uint8_t usage;
	uint8_t selector;
	uint8_t matching;
	struct span data; /* points into the record */
};

enum sts_tlsa_use {
	STS_TLSA_USABLE,
	STS_TLSA_SHORT,    /* not the three numbers and data */
	STS_TLSA_PKIX,     /* usage 0 or 1, RFC 7672 3.1.3 */
	STS_TLSA_USAGE,    /* unknown */
	STS_TLSA_SELECTOR, /* unknown */
	STS_TLSA_MATCHING, /* unknown */
	STS_TLSA_LENGTH,   /* not the digest's */
	STS_TLSA_DER,      /* matching type 0 whose data cannot be a certificate or a key */
	STS_TLSA_USES,
};

/* Reads the data of one record and says whether mail can use it. SHORT: *out is all zero. */
MUST_USE enum sts_tlsa_use sts_tlsa_read(struct span record, struct sts_tlsa *out);
const char *sts_tlsa_use_text(enum sts_tlsa_use use);

enum sts_tlsa_verdict {
	STS_TLSA_ABSENT,  /* no record: DANE does not apply */
	STS_TLSA_ENCRYPT, /* none usable: TLS is a must, authentication is not (RFC 7672 2.2) */
	STS_TLSA_AUTHENTICATE, /* TLS, and one of the records must match */
};

struct sts_tlsa_set {
	uint32_t n;          /* in records: what a chain is matched with */
	uint32_t unusable_n; /* not in records */
	uint32_t weaker_n;   /* not in records: a stronger digest stands beside them */
	uint32_t dropped_n;  /* not in records: above STS_TLSA_MAX */
	struct sts_tlsa records[STS_TLSA_MAX];
};

/*
 * Reads the data of a name's TLSA records, which DNSSEC proved. Of records with the same usage and
 * selector the strongest digest counts, and full data always (RFC 7671 9).
 */
MUST_USE enum sts_tlsa_verdict sts_tlsa_set_read(
	const struct span *records, size_t n, struct sts_tlsa_set *set);

/* What records are compared with. A span may be empty: then nothing matches by it. */
struct sts_certificate {
	struct span der;
	struct span spki; /* SubjectPublicKeyInfo, DER */
	struct span der_sha256;
	struct span der_sha512;
	struct span spki_sha256;
	struct span spki_sha512;
};

/*
 * The record that the certificate at this depth matches, NULL for none: usage 3 at depth 0 only,
 * usage 2 above it only. What is left to the caller (RFC 7671 5.1, 5.2): usage 3 needs neither
 * names nor dates; usage 2 needs the signatures up to this depth, dates, and the name. A trust
 * anchor that stands in full in the DNS only, and not in the chain, is not found here.
 */
const struct sts_tlsa *sts_tlsa_match(
	const struct sts_tlsa_set *set, const struct sts_certificate *certificate, size_t depth);

/* The first match from the leaf, chain[0], upwards; *depth is set when there is one. */
const struct sts_tlsa *sts_tlsa_match_chain(const struct sts_tlsa_set *set,
	const struct sts_certificate *chain, size_t n, size_t *depth);

/* The record that a certificate would have; its data is a span of *certificate. */
struct sts_tlsa sts_tlsa_of(const struct sts_certificate *certificate, enum sts_tlsa_usage usage,
	enum sts_tlsa_selector selector, enum sts_tlsa_matching matching);

/* ---- lines for a zone file (RFC 1035 5.1) ---- */

#define STS_TLSA_LINE_MAX 512 /* octets of a line with a digest */

/*
 * Append `PREFIXNAME. IN TXT "..."`, cut into strings of 255 octets, and `PREFIXNAME. IN TLSA 3 1 1
 * ...`, without a line's end. False: no room.
 */
MUST_USE bool sts_zone_txt(const char *prefix, const char *name, struct span text, struct buf *out);
MUST_USE bool sts_zone_tlsa(
	const char *prefix, const char *name, const struct sts_tlsa *tlsa, struct buf *out);

#endif
