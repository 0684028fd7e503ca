/* SPDX-License-Identifier: MIT */
/*
 * tls_report_send.c -- a TLS report on its way: as a message of our own in the spool (RFC 8460 5.3), or
 * by POST (5.4).
 *
 * The mail's reverse-path is tlsrpt.from, and NOTIFY=NEVER: nobody wants reports about reports. It goes
 * by the routes like all mail, but TLS is optional for it: reports are delivered despite failures of TLS,
 * and their sessions do not count for the next report (RFC 8460 3).
 *
 * A POST ends on fetch/'s thread. What both threads touch is an object of its own, counted, under a
 * lock; who stops waiting takes the ring out of it, and whatever comes later wakes nobody.
 */
#include "relay/tls_report-private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/holders.h"

#define POST_MEDIA_TYPE "application/tlsrpt+gzip" /* RFC 8460 5.4 */
#define HTTPS           "https://"

struct report_post {
	struct holders holders;
	pthread_mutex_t lock;
	struct ring *ring; /* NULL: nobody waits */
	bool over, good;
	char why[FETCH_WHY_MAX];
};

/* ---- the place ---- */

static bool port_read(struct span text, uint16_t *port)
{
	uint32_t number = 0;

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9' || number > 65535)
			return false;
		number = number * 10 + (uint32_t)(text.p[i] - '0');
	}
	*port = (uint16_t)number;
	return text.n > 0 && number > 0 && number <= 65535;
}

bool report_uri_read(
	struct span uri, char host[RELAY_HOST_MAX], uint16_t *port, char path[REPORT_URI_MAX])
{
	struct span scheme = span_take(&uri, strlen(HTTPS)), authority;
	const uint8_t *colon;
	size_t n = 0;

	*port = 443;
	if (!span_is_nocase(scheme, HTTPS))
		return false;
	while (n < uri.n && memchr("/?#", uri.p[n], 3) == NULL)
		n++;
	authority = span_take(&uri, n);
	colon = memchr(authority.p, ':', authority.n);
	if (colon != NULL) {
		struct span name = span_take(&authority, (size_t)(colon - authority.p));

		span_take(&authority, 1);
		if (!port_read(authority, port))
			return false;
		authority = name;
	}
	if (authority.n == 0 || authority.n >= RELAY_HOST_MAX)
		return false;
	for (size_t i = 0; i < authority.n; i++) {
		uint8_t c = authority.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
			c != '-' && c != '.' && c != '_')
			return false;
	}
	(void)snprintf(host, RELAY_HOST_MAX, "%.*s", (int)authority.n, (const char *)authority.p);
	colon = memchr(uri.p, '#', uri.n);
	if (colon != NULL)
		uri.n = (size_t)(colon - uri.p);
	n = (size_t)snprintf(path, REPORT_URI_MAX, "%s%.*s",
		uri.n > 0 && uri.p[0] == '/' ? "" : "/", (int)min_size(uri.n, REPORT_URI_MAX),
		(const char *)uri.p);
	return n < REPORT_URI_MAX;
}

/* ---- mail ---- */

static void mail_end(struct report_send *send, bool sent)
{
	free(send->octets);
	send->octets = NULL;
	send->mailing = false;
	send->done(send, sent);
}

static void committed(struct spool_owner *owner, int res, const struct smtp_verdict *verdict)
{
	struct report_send *send = container_of(owner, struct report_send, owner);

	mail_end(send, res == 0 && (verdict == NULL || verdict->code < 400));
}

static void resumed(struct op *op, int res, uint32_t flags)
{
	struct report_send *send = container_of(op, struct report_send, op);
	enum spool_step step = SPOOL_STEP_OK;

	(void)res;
	(void)flags;
	if (send->pending.n > 0)
		step = spool_append(send->message, &send->pending);
	switch (step) {
	case SPOOL_STEP_OK:
		spool_commit(send->message);
		return;
	case SPOOL_STEP_WAIT:
		send->waiting = true;
		return;
	case SPOOL_STEP_FAIL:
		if (spool_abort(send->message))
			ASSERT(!"nothing is spliced");
		mail_end(send, false);
		return;
	}
}

/* What comes next may end the message, so it does not happen inside the spool's callback. */
static void ready(struct spool_owner *owner)
{
	struct report_send *send = container_of(owner, struct report_send, owner);

	if (!send->waiting)
		return;
	send->waiting = false;
	ring_soon(send->relay->facts.ring, &send->op);
}

static void address_set(struct smtp_address *address, const char *text)
{
	const char *at = strrchr(text, '@');

	*address = (struct smtp_address){.text = span_str(text)};
	address->local = span_of(text, at != NULL ? (size_t)(at - text) : strlen(text));
	if (at != NULL)
		address->domain = span_str(at + 1);
}

bool report_send_mail(struct report_send *send, const char *from, uint8_t *octets, size_t n)
{
	struct spool *spool = send->relay->facts.spool;

	send->owner = (struct spool_owner){.ready = ready, .committed = committed};
	send->op.done = resumed;
	send->octets = octets;
	send->pending = span_of(octets, n);
	send->envelope = (struct smtp_envelope){.recipients_n = 1, .tls_optional = true};
	list_init(&send->envelope.recipients);
	address_set(&send->envelope.reverse_path, from);
	send->recipient = (struct smtp_recipient){.notify = SMTP_NOTIFY_NEVER};
	address_set(&send->recipient.address, send->mailbox);
	list_push_back(&send->envelope.recipients, &send->recipient.node);
	if (spool_ready(spool) == 0)
		send->message = spool_begin(
			spool, &send->owner, &send->envelope, spool_id(spool), span_of(NULL, 0));
	else
		send->message = NULL;
	if (send->message == NULL) {
		free(octets);
		send->octets = NULL;
		return false;
	}
	send->mailing = true;
	send->waiting = false;
	ring_soon(send->relay->facts.ring, &send->op);
	return true;
}

/* ---- POST ---- */

static void post_drop(struct report_post *post)
{
	if (!holders_drop(&post->holders))
		return;
	pthread_mutex_destroy(&post->lock);
	free(post);
}

/* On fetch/'s thread. */
static void post_done(void *ctx, const struct fetch_answer *answer)
{
	struct report_post *post = ctx;

	pthread_mutex_lock(&post->lock);
	post->over = true;
	post->good = answer->result == FETCH_OK && answer->status / 100 == 2;
	if (answer->result == FETCH_OK)
		(void)snprintf(post->why, sizeof(post->why), "HTTP status %u", answer->status);
	else
		(void)snprintf(post->why, sizeof(post->why), "%s", answer->why);
	if (post->ring != NULL)
		ring_wake(post->ring);
	pthread_mutex_unlock(&post->lock);
	post_drop(post);
}

static struct report_post *post_new(struct ring *ring)
{
	struct report_post *post = calloc(1, sizeof(*post));

	if (post == NULL)
		return NULL;
	if (pthread_mutex_init(&post->lock, NULL) != 0) {
		free(post);
		return NULL;
	}
	holders_init(&post->holders);
	post->ring = ring;
	return post;
}

static void post_failed(const struct report_send *send, const char *why)
{
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "tls_report_post_failed");
	event_str(&event, "host", send->host);
	event_str(&event, "text", why);
	event_close(&event);
}

static void addresses_done(struct relay_lookup *lookup, int res)
{
	struct report_send *send = container_of(lookup, struct report_send, lookup);
	struct fetch_request request = {
		.host = send->host,
		.port = send->port,
		.path = send->path,
		.addresses = lookup->addresses,
		.addresses_n = lookup->addresses_n,
		.post = send->gzip,
		.content_type = POST_MEDIA_TYPE,
		.done = post_done,
	};
	struct report_post *post;

	send->looking = false;
	post = res == 0 && lookup->addresses_n > 0 ? post_new(send->relay->facts.ring) : NULL;
	if (post == NULL) {
		post_failed(send, "no address, or no memory");
		send->done(send, false);
		return;
	}
	request.ctx = post;
	holders_add(&post->holders);
	if (fetch_start(send->relay->facts.fetch, &request)) {
		send->post = post;
		return;
	}
	post_drop(post);
	post_drop(post);
	post_failed(send, "refused: too many requests");
	send->done(send, false);
}

bool report_send_post(struct report_send *send, struct span uri, struct span gzip)
{
	if (send->relay->facts.fetch == NULL ||
		!report_uri_read(uri, send->host, &send->port, send->path))
		return false;
	send->gzip = gzip;
	send->looking = true;
	send->lookup.done = addresses_done;
	relay_resolve_host(send->relay->resolver, &send->lookup, send->host);
	return true;
}

void report_send_turn(struct report_send *send)
{
	struct report_post *post = send->post;
	bool over, good;

	if (post == NULL)
		return;
	pthread_mutex_lock(&post->lock);
	over = post->over;
	good = post->good;
	pthread_mutex_unlock(&post->lock);
	if (!over)
		return;
	if (!good)
		post_failed(send, post->why);
	send->post = NULL;
	post_drop(post);
	send->done(send, good);
}

void report_send_stop(struct report_send *send)
{
	if (send->looking)
		relay_resolve_cancel(send->relay->resolver, &send->lookup);
	send->looking = false;
	if (send->post == NULL)
		return;
	pthread_mutex_lock(&send->post->lock);
	send->post->ring = NULL;
	pthread_mutex_unlock(&send->post->lock);
	post_drop(send->post);
	send->post = NULL;
}

bool report_send_idle(const struct report_send *send)
{
	return !send->mailing && !send->looking && send->post == NULL && !send->op.armed;
}
