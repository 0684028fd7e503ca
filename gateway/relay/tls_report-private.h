/* SPDX-License-Identifier: MIT */
/*
 * tls_report-private.h -- what tls_report.c, which decides what is sent to whom, and tls_report_send.c,
 * which sends it, share: one report to one place at a time.
 */
#ifndef POSTERN_RELAY_TLS_REPORT_PRIVATE_H
#define POSTERN_RELAY_TLS_REPORT_PRIVATE_H

#include "relay/relay-private.h"

#define REPORT_URI_MAX 1024 /* octets of an https place */

struct report_post;

struct report_send {
	struct relay *relay;
	/* Never from inside report_send_mail() and report_send_post(). */
	void (*done)(struct report_send *send, bool sent);
	/* tls_report_send.c's own: a mail on its way into the spool */
	struct spool_owner owner;
	struct spool_message *message;
	struct op op; /* a turn's rest before going on */
	bool waiting; /* for the spool's ready() */
	bool mailing;
	uint8_t *octets;
	struct span pending; /* not taken by the spool yet */
	struct smtp_envelope envelope;
	struct smtp_recipient recipient;
	char mailbox[STS_MAILBOX_MAX + 1];
	/* a POST */
	struct relay_lookup lookup;
	bool looking;
	struct report_post *post; /* under way; NULL: none */
	struct span gzip;
	uint16_t port;
	char host[RELAY_HOST_MAX];
	char path[REPORT_URI_MAX];
};

/* An https: URI in its parts, as they go into a request. False: it cannot be asked (RFC 3986: user
 * names, address literals and ports that are none are not taken). */
MUST_USE bool report_uri_read(
	struct span uri, char host[RELAY_HOST_MAX], uint16_t *port, char path[REPORT_URI_MAX]);

/* Puts a whole message of n octets, which become the callee's, into the spool. False: no room. */
MUST_USE bool report_send_mail(
	struct report_send *send, const char *from, uint8_t *octets, size_t n);
/* send->mailbox is set first. */
/* The report by POST; gzip stays the caller's until done. False: not such a URI. */
MUST_USE bool report_send_post(struct report_send *send, struct span uri, struct span gzip);
void report_send_turn(struct report_send *send);
/* A POST is given up, done does not come; a mail goes on. */
void report_send_stop(struct report_send *send);
bool report_send_idle(const struct report_send *send);

#endif
