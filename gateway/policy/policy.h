/* SPDX-License-Identifier: MIT */
/*
 * policy.h -- facts in, verdict out: who may connect, which domains are ours, which recipients
 * exist.
 *
 * One object serves all workers. The recipient table is replaced whole at a reload while workers
 * read (a reader holds a read lock for the length of one look-up; look-ups are hash probes). Counts
 * of sessions, in all and per address, are exact over all workers.
 */
#ifndef POSTERN_POLICY_POLICY_H
#define POSTERN_POLICY_POLICY_H

#include "base/network.h"
#include "config/settings.h"
#include "smtp/envelope.h"

#define POLICY_RECIPIENTS_FILE_MAX (1ull << 30) /* octets */

struct policy;

/*
 * Asking a next hop whether a recipient exists; relay/ answers, by worker. policy/ knows what is
 * asked and what the answer means, relay/ how and how often (cache, rate).
 */
enum policy_callout_answer {
	POLICY_CALLOUT_YES,
	POLICY_CALLOUT_NO,   /* 5xx to RCPT: verdict.text is static */
	POLICY_CALLOUT_DOWN, /* no answer to be had: callout_down decides */
	POLICY_CALLOUT_NONE, /* the route of this domain has callout = no */
};

struct policy_question {
	/* Never from inside ask(). */
	void (*answered)(struct policy_question *question, enum policy_callout_answer answer);
	/* the answerer's own */
	struct list node;
	void *state[2];
	uint8_t pending;
};

struct policy_callout {
	/* True: *answer stands at once (remembered, or NONE, or over the rate: DOWN). False:
	 * answered() comes. The address is borrowed until then. */
	bool (*ask)(struct policy_callout *callout, struct policy_question *question,
		const struct smtp_envelope *envelope, const struct smtp_address *address,
		enum policy_callout_answer *answer);
	/* answered() does not come any more. */
	void (*forget)(struct policy_callout *callout, struct policy_question *question);
};

/* Reads the recipients file or opens the LMDB environment if one is named. -1 and err
 * ("FILE:LINE: ...", of an environment "PATH: ...") on failure. */
MUST_USE int policy_open(
	struct policy **out, const struct policy_settings *settings, struct err *err);
void policy_close(struct policy *policy);

/*
 * Reads the recipients file again, or opens the LMDB environment again if its files were replaced;
 * what is committed to it is seen at once anyway. On failure the old table stays. The file: one address a line,
 * "@domain" for any address at a domain, "#" comments, blank lines; letters of ASCII case-folded.
 */
MUST_USE int policy_reload(struct policy *policy, struct err *err);

enum policy_door { POLICY_DOOR_OPEN, POLICY_DOOR_FULL, POLICY_DOOR_ADDRESS_FULL };

/*
 * A connection from `peer` (as base/network.h has it) comes and goes. Only after OPEN must it leave.
 * IPv4-mapped IPv6 addresses count as IPv4, other IPv6 addresses by their /64. NULL: nobody's, which
 * counts among all sessions only.
 */
MUST_USE enum policy_door policy_enter(struct policy *policy, const uint8_t peer[NETWORK_BYTES]);
void policy_leave(struct policy *policy, const uint8_t peer[NETWORK_BYTES]);

/* The 421 that goes with a closed door. */
const struct smtp_verdict *policy_door_verdict(enum policy_door door);

/*
 * MAIL and RCPT. Domains and local parts are compared without regard to ASCII case; quoted local
 * parts by their content. <postmaster> and postmaster at any relay domain are always accepted
 * (RFC 5321 4.5.1). Unknown domain: 550 5.7.1. Unknown recipient: 550 5.1.1. An LMDB environment
 * that cannot be read: 451 4.3.0.
 * encrypted: the client came by TLS. Without it, where require_tls has the domain: 550 5.7.10, where
 * it has "*": 530 5.7.0 to MAIL (RFC 3207 4). The default asks for none.
 */
struct smtp_verdict policy_mail(
	const struct policy *policy, const struct smtp_envelope *envelope, bool encrypted);
struct smtp_verdict policy_rcpt(struct policy *policy, const struct smtp_envelope *envelope,
	const struct smtp_recipient *recipient, bool encrypted);

/* Is a callout to be made for a recipient that policy_rcpt() accepted? (Not for postmaster.) */
bool policy_callout_due(const struct policy *policy, const struct smtp_recipient *recipient);
/* The verdict that goes with the answer. NO: 550 5.1.1; DOWN: accept or 451 4.4.1 by choice. */
struct smtp_verdict policy_callout_verdict(
	const struct policy *policy, enum policy_callout_answer answer);

#endif
