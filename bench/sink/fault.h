/* SPDX-License-Identifier: MIT */
/*
 * fault.h -- what the sink does wrong on purpose: rules like "rcpt:450:10" or "dot:delay=20:5%".
 *
 *	POINT:ACTION[:HOW OFTEN]
 *
 * POINT: banner, ehlo, starttls, mail, rcpt, data, body (in the middle of the message), dot (the
 * reply to the final dot or last BDAT; with LMTP, of each recipient). ACTION: a reply code 400..599,
 * close, hang (say nothing more, keep the connection), garbage (a line that is no reply), delay=MS,
 * and at body only slow=OCTETS (read the message at so many octets a second).
 * HOW OFTEN: N for every Nth time, P% for a seeded probability; always if left out.
 *
 * Rules are asked in their order; delays add up, of rates the lowest is kept, and the first other
 * action that comes due wins. Every
 * rule counts whenever its point is passed, so that "every Nth" does not depend on other rules.
 */
#ifndef POSTERN_BENCH_SINK_FAULT_H
#define POSTERN_BENCH_SINK_FAULT_H

#include "base/base.h"
#include "bench/lib/rng.h"

#define FAULT_RULES_MAX 32
#define FAULT_TEXT_MAX  48
#define FAULT_MS_MAX    600000
#define FAULT_RATE_MIN  16 /* octets a second */
#define FAULT_RATE_MAX  (1u << 30)

enum fault_point {
	FAULT_BANNER,
	FAULT_EHLO,
	FAULT_STARTTLS,
	FAULT_MAIL,
	FAULT_RCPT,
	FAULT_DATA,
	FAULT_BODY,
	FAULT_DOT,
	FAULT_POINTS
};

enum fault_action {
	FAULT_NONE,
	FAULT_CODE,
	FAULT_CLOSE,
	FAULT_HANG,
	FAULT_GARBAGE,
	FAULT_DELAY,
	FAULT_SLOW
};

struct fault_rule {
	enum fault_point point;
	enum fault_action action;
	uint16_t code;
	uint32_t delay_ms;
	uint32_t rate;  /* octets a second */
	uint64_t every; /* 0: by probability */
	double share;
	uint64_t seen;
	uint64_t hits;
	char text[FAULT_TEXT_MAX];
};

struct faults {
	unsigned n;
	struct fault_rule rules[FAULT_RULES_MAX];
	struct rng rng;
};

struct fault_verdict {
	enum fault_action action; /* never FAULT_DELAY or FAULT_SLOW */
	uint16_t code;
	uint32_t delay_ms;
	uint32_t rate; /* 0: not slowed */
};

MUST_USE int fault_parse(struct faults *faults, const char *text, struct err *err);
MUST_USE struct fault_verdict fault_ask(struct faults *faults, enum fault_point point);

#endif
