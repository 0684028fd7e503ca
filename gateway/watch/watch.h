/* SPDX-License-Identifier: MIT */
/*
 * watch.h -- how senders use TLS with us, remembered: who came without it, who used it before and
 * no longer does, which handshakes fail and why. A TLSRPT from the receiving side.
 *
 * Job: counts a day (UTC) and a domain or host name; a memory of senders, by the domain of their
 * reverse-path and by network (IPv4 /24, IPv6 /48); a file that survives restarts; a daily report in
 * the shape of RFC 8460 4.4, marked as the receiver's.
 * Non-goals: refusing anybody: a sender that falls back to clear is a suspicion, not a proof.
 * Invariants: a mutex guards all; it is held for a few look-ups, and by watch_save() for one slice of
 * the memory at a time, never over I/O. At most entries_max senders (then the one that was quiet for
 * longest goes, counted), WATCH_ROWS_MAX names a day (then "(others)"), days kept by the settings.
 * Names are a peer's: shortened, printable ASCII, lower case.
 */
#ifndef POSTERN_WATCH_WATCH_H
#define POSTERN_WATCH_WATCH_H

#include "base/span.h"
#include "config/settings.h"

#define WATCH_ROWS_MAX    1000
#define WATCH_NAME_MAX    128 /* octets of a name that are kept */
#define WATCH_ADDRESS     16  /* octets: IPv6, or IPv4 mapped (base/network.h) */
#define WATCH_REPORT_NAME 32

struct watch;

/* Why a handshake failed. */
enum watch_failure {
	WATCH_VERSION,     /* no shared version */
	WATCH_CIPHER,      /* no shared cipher suite or group */
	WATCH_CERTIFICATE, /* the peer's alert was about our certificate */
	WATCH_ALERT,       /* another alert */
	WATCH_SNI,         /* not failed: the name it asked for is on none of our certificates */
	WATCH_TIMEOUT,
	WATCH_CLOSED, /* it went away */
	WATCH_OTHER,  /* no TLS, bad records, trouble of ours */
	WATCH_FAILURES
};
extern const char *const watch_failure_words[WATCH_FAILURES]; /* "version" ... */

/* state_dir: where the file "watch" is; stays the caller's; -1: nothing is kept. A damaged file is
 * set aside with an event. -1 and err when memory is short. */
MUST_USE int watch_open(
	struct watch **out, const struct watch_settings *settings, int state_dir, struct err *err);
void watch_close(struct watch *watch); /* saves; NULL is fine */

/* The rest is for any thread, and does nothing where `watch` is NULL. */

/* A handshake is over. sni: "" for none. */
void watch_handshake_done(struct watch *watch, const char *sni);
void watch_handshake_failed(struct watch *watch, const uint8_t peer[WATCH_ADDRESS], const char *sni,
	enum watch_failure why);

/*
 * A message was accepted. sender: the domain of its reverse-path, empty for none. True: its domain or
 * network used TLS before and came in clear now, the first time today.
 */
bool watch_message(
	struct watch *watch, const uint8_t peer[WATCH_ADDRESS], struct span sender, bool tls);
/* One of its recipients' domains. */
void watch_recipient(struct watch *watch, struct span domain, bool tls);

/* Writes the file if anything changed, and yesterday's report ("watch-YYYY-MM-DD.json") when a day is
 * over; forgets what is too old. About once a minute, by one thread. */
void watch_save(struct watch *watch, const char *organization, const char *contact);

/* Handshakes that failed on one day. */
struct watch_break {
	uint32_t day; /* since 1970; 0: there was none */
	uint64_t failures[WATCH_FAILURES];
};
/*
 * For how many whole days, today not among them, no handshake failed for a name that matches, or
 * without a name, for a reason that `enforce` would turn into a delay (version, cipher, certificate,
 * SNI). Bounded by how long there has been a watch, and by how long is kept. *last: the newest day, today
 * among them, on which one did; NULL is fine.
 */
uint32_t watch_calm_days(struct watch *watch, bool (*matches)(void *ctx, const char *host),
	void *ctx, struct watch_break *last);

/* ---- what the operator sees ---- */

struct json_t; /* jansson's */

struct watch_question {
	uint32_t days;      /* the newest so many; 0: all that are kept */
	const char *domain; /* rows and senders of this name only; NULL or "": all */
	/* Hosts that count as the domain's, too; NULL: none. */
	bool (*is_host)(void *ctx, const char *host);
	void *ctx;
	uint32_t limit; /* of each list but the days; 0: 100 */
};

/*
 * {"since", "senders", "days": [...], "domains": [...], "hosts": [...], "downgraded": [...], "clear":
 * [...]}; beside each bounded list "..._total", how many it would have. Domains that had most mail in
 * clear and hosts that had most failures come first, senders by when they were seen. The days of one
 * domain lack "downgrades": these are senders'. A new reference; NULL: memory is short.
 */
MUST_USE struct json_t *watch_show(struct watch *watch, const struct watch_question *question);

/* A day's report (days since 1970), a new reference; NULL: nothing is known of it, or no memory. */
MUST_USE struct json_t *watch_report(
	struct watch *watch, uint32_t day, const char *organization, const char *contact);

#endif
