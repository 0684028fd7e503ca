/* SPDX-License-Identifier: MIT */
/*
 * tlsrpt.h -- SMTP TLS reporting (RFC 8460), the sending side: counts what came of TLS with each
 * domain, a day at a time, and makes the reports.
 *
 * Job: bounded counts per day (UTC), domain, policy and result type; a file that survives restarts;
 * the report as JSON (4.4), gzip, as a mail with its headers (5.3) and DKIM signature where a key is
 * set (RFC 6376, 8463), or ready for POST (5.4).
 * Non-goals: DNS (_smtp._tls), taking the mail to the spool: relay/ does both, on one worker.
 * Invariants: a mutex guards all, never held over I/O; today and the two days before are kept, each
 * within the limits below (what is beyond them is counted without its details, or not at all, and a
 * counter says so); in a report the failures of a policy's details add up to their sum; strings of
 * peers are cut and made printable.
 * Rejected: trying a report again that no place took. The mail has the queue's tries; what a POST could
 * not take the next day will say as long as the trouble lasts.
 */
#ifndef POSTERN_TLSRPT_TLSRPT_H
#define POSTERN_TLSRPT_TLSRPT_H

#include "base/buf.h"
#include "config/settings.h"
#include "sts/sts.h"

#define TLSRPT_DAYS         3           /* that are kept, today among them */
#define TLSRPT_DOMAINS_MAX  10000       /* a day */
#define TLSRPT_BYTES_MAX    (32u << 20) /* of memory, a day */
#define TLSRPT_FAILURES_MAX 64          /* different ones of a policy; then one row a result type */
#define TLSRPT_POLICIES_MAX                                                                        \
	4 /* of a domain and day; then a changed one counts as the last of its type */
#define TLSRPT_MX_MAX      16  /* mx-host patterns shown of a policy */
#define TLSRPT_STRINGS_MAX 64  /* lines shown of a policy */
#define TLSRPT_TEXT_MAX    256 /* octets of each string */

struct tlsrpt;

enum tlsrpt_policy {
	TLSRPT_NO_POLICY,
	TLSRPT_STS,
	TLSRPT_TLSA
}; /* "no-policy-found", "sts", "tlsa" */

/* 4.3: success or one of the result types. */
enum tlsrpt_result {
	TLSRPT_SUCCESS,
	TLSRPT_STARTTLS_NOT_SUPPORTED,
	TLSRPT_CERTIFICATE_HOST_MISMATCH,
	TLSRPT_CERTIFICATE_EXPIRED,
	TLSRPT_CERTIFICATE_NOT_TRUSTED,
	TLSRPT_VALIDATION_FAILURE,
	TLSRPT_TLSA_INVALID,
	TLSRPT_DNSSEC_INVALID,
	TLSRPT_DANE_REQUIRED,
	TLSRPT_STS_POLICY_FETCH_ERROR,
	TLSRPT_STS_POLICY_INVALID,
	TLSRPT_STS_WEBPKI_INVALID,
	TLSRPT_RESULTS
};
const char *tlsrpt_result_text(enum tlsrpt_result result); /* "starttls-not-supported" ... */

/* What came of one session, or of the attempt at a policy. */
struct tlsrpt_note {
	const char *domain; /* policy-domain: of the recipients, in ASCII; others are not counted */
	enum tlsrpt_policy policy;
	const struct span *policy_strings; /* lines of the STS policy, or TLSA records as text */
	size_t policy_strings_n;
	const struct span *mx_patterns; /* of an STS policy */
	size_t mx_patterns_n;
	enum tlsrpt_result result;
	const char *sending_ip;   /* "": unknown */
	const char *receiving_mx; /* receiving-mx-hostname; "": unknown */
	const char *receiving_ip; /* "": unknown */
	const char *reason;       /* failure-reason-code: free text; "": none */
};

/*
 * state_dir: where "tlsrpt" (the counts) is, stays the caller's; -1: nothing is kept. A damaged file is
 * set aside with an event. key: the DKIM key's PEM octets (the privileged parent reads the file), not
 * needed afterwards; empty: not signed. settings outlive it. -1 and err.
 */
MUST_USE int tlsrpt_open(struct tlsrpt **out, const struct tlsrpt_settings *settings,
	const char *hostname, struct span key, int state_dir, struct err *err);
void tlsrpt_close(struct tlsrpt *tlsrpt); /* saves; NULL is fine, here and in count and save */
void tlsrpt_count(struct tlsrpt *tlsrpt, const struct tlsrpt_note *note); /* any thread */
/* Writes the counts to the file if they changed: about once a minute, by the control thread. */
void tlsrpt_save(struct tlsrpt *tlsrpt);

/*
 * The next domain whose day is over and not yet reported: then look up its _smtp._tls record, call
 * tlsrpt_make() if it has one, send, and say tlsrpt_done() in either case; until then the answer stays
 * the same. False: none now (reports of a day are spread over the following four hours by the
 * domain's hash, as RFC 8460 4.1 suggests), or reports are off.
 */
MUST_USE bool tlsrpt_due(struct tlsrpt *tlsrpt, char domain[STS_NAME_MAX + 1], uint64_t *day);

/* A report ready to go. Allocated; tlsrpt_report_free(). */
struct tlsrpt_report {
	struct span json;
	struct span gzip;    /* for POST: application/tlsrpt+gzip */
	char file_name[576]; /* 5.1 */
	char report_id[320]; /* "ID@DOMAIN", the same each time it is made */
};
/* 0, -ENOENT: nothing is known of that domain and day, or -ENOMEM. */
MUST_USE int tlsrpt_make(
	struct tlsrpt *tlsrpt, const char *domain, uint64_t day, struct tlsrpt_report *out);
void tlsrpt_report_free(struct tlsrpt_report *report);
/* The whole message for one mailto: address, CRLF lines, 7-bit, signed. Allocated, *n octets, free().
 * 0, -EINVAL: an address that cannot stand in a header (spaces, not ASCII, no @), or reports are off;
 * -ENOMEM. */
MUST_USE int tlsrpt_mail(struct tlsrpt *tlsrpt, const struct tlsrpt_report *report,
	const char *domain, const char *to, uint8_t **out, size_t *n);
/* sent: somebody took it. It is not due again, sent or not. */
void tlsrpt_done(struct tlsrpt *tlsrpt, const char *domain, uint64_t day, bool sent);
/* The envelope's reverse-path and whether anything is to be reported at all. */
const char *tlsrpt_from(const struct tlsrpt *tlsrpt); /* NULL: reports are off */

/* ---- for posternctl sts report ---- */

struct json_t;
struct tlsrpt_question {
	uint32_t day;       /* since 1970; 0: today */
	const char *domain; /* that one; NULL: all */
	const char *after;  /* names behind this one; NULL: from the first */
	size_t limit;
};
/* The counts of a day: RFC 8460's JSON, one report a domain, sorted, in an array. Each has "x-state"
 * besides: "open", "sent" or "not-sent". A new reference; NULL: memory is short. */
MUST_USE struct json_t *tlsrpt_show(struct tlsrpt *tlsrpt, const struct tlsrpt_question *question);

#endif
