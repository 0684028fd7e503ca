/* SPDX-License-Identifier: MIT */
/*
 * tls_report.c -- what one worker does for all, about once a minute: policies are refreshed before they
 * expire (RFC 8461 3.3), reports of days that are over are sent (RFC 8460 4, 5).
 *
 *	stscache_due()	-> the question about the policy, its answer looked at by nobody
 *	tlsrpt_due()	-> _smtp._tls TXT -> tlsrpt_make() -> each place of rua -> tlsrpt_done()
 *
 * One policy and one report are under way at a time, at most ROUND_MAX of each a round. A report goes to
 * every place that its record names; it counts as sent when one took it. Where the record cannot be
 * had, or no place takes it, that day's report is lost: it says nothing that the next one will not say
 * while the trouble lasts.
 *
 * What is sent is tls_report_send.c's; at the end a mail on its way is finished, all else given up.
 */
#include "relay/tls_report-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_MS  1000
#define ROUND_MS  60000
#define ROUND_MAX 100

struct relay_reports {
	struct relay *relay;
	struct wheel_timer timer;
	bool stopped;
	/* a policy */
	struct relay_sts sts;
	bool refreshing;
	uint32_t refreshed_n; /* this round */
	/* a report */
	bool reporting;
	uint32_t reported_n; /* this round */
	struct relay_lookup lookup;
	bool looking;
	char domain[STS_NAME_MAX + 1];
	uint64_t day;
	struct sts_tlsrpt places;
	uint32_t at;
	uint32_t sent_n;
	struct tlsrpt_report report;
	bool made;
	struct report_send send;
};

/* ---- policies ---- */

static void refresh_next(struct relay_reports *reports);

static void refreshed(struct relay_sts *sts)
{
	struct relay_reports *reports = container_of(sts, struct relay_reports, sts);

	stscache_policy_release(sts->question.policy);
	reports->refreshing = false;
	refresh_next(reports);
}

static void refresh_next(struct relay_reports *reports)
{
	struct relay *relay = reports->relay;
	char domain[STS_NAME_MAX + 1];

	if (reports->stopped || reports->refreshing || relay->policies == NULL ||
		reports->refreshed_n == ROUND_MAX || !stscache_due(relay->facts.stscache, domain))
		return;
	reports->refreshed_n++;
	reports->refreshing = true;
	reports->sts.done = refreshed;
	relay_sts_ask(relay, &reports->sts, domain, true);
}

/* ---- reports ---- */

static void report_next(struct relay_reports *reports);

static void log_place(const struct relay_reports *reports, struct span uri, enum counter counter)
{
	struct event event;

	event_open(&event, counter, "tls_report");
	event_str(&event, "domain", reports->domain);
	event_u64(&event, "day", reports->day);
	event_span(&event, "to", uri);
	event_str(&event, "result", counter == COUNTER_RELAY_REPORTS_FAILED ? "failed" : "sent");
	event_close(&event);
}

static void report_over(struct relay_reports *reports)
{
	if (reports->made)
		tlsrpt_report_free(&reports->report);
	reports->made = false;
	reports->reporting = false;
	tlsrpt_done(
		reports->relay->facts.tlsrpt, reports->domain, reports->day, reports->sent_n > 0);
	report_next(reports);
}

/* False: the place cannot be used. */
static bool mail_start(struct relay_reports *reports, struct span uri)
{
	struct relay *relay = reports->relay;
	struct tlsrpt *tlsrpt = relay->facts.tlsrpt;
	struct report_send *send = &reports->send;
	const char *from = tlsrpt_from(tlsrpt);
	const char *at;
	uint8_t *octets;
	size_t n;

	if (from == NULL || !sts_rua_mailbox(uri, send->mailbox))
		return false;
	at = strrchr(send->mailbox, '@');
	if (at == NULL || relay_route(relay->routes, span_str(at + 1)) == NULL)
		return false;
	if (tlsrpt_mail(tlsrpt, &reports->report, reports->domain, send->mailbox, &octets, &n) != 0)
		return false;
	return report_send_mail(send, from, octets, n);
}

static void places_next(struct relay_reports *reports)
{
	while (reports->at < reports->places.rua_n) {
		struct span uri = sts_rua_uri(&reports->places, reports->at);
		bool mail = reports->places.rua[reports->at].kind == STS_RUA_MAILTO;

		if (!reports->stopped &&
			(mail ? mail_start(reports, uri)
			      : report_send_post(&reports->send, uri, reports->report.gzip)))
			return;
		if (!reports->stopped)
			log_place(reports, uri, COUNTER_RELAY_REPORTS_FAILED);
		reports->at++;
	}
	if (!reports->stopped || reports->sent_n > 0)
		report_over(reports);
}

static void place_done(struct report_send *send, bool sent)
{
	struct relay_reports *reports = container_of(send, struct relay_reports, send);
	bool mail = reports->places.rua[reports->at].kind == STS_RUA_MAILTO;

	reports->sent_n += sent;
	log_place(reports, sts_rua_uri(&reports->places, reports->at),
		!sent  ? COUNTER_RELAY_REPORTS_FAILED
		: mail ? COUNTER_RELAY_REPORTS_MAILED
		       : COUNTER_RELAY_REPORTS_POSTED);
	reports->at++;
	places_next(reports);
}

static void record_done(struct relay_lookup *lookup, int res)
{
	struct relay_reports *reports = container_of(lookup, struct relay_reports, lookup);
	enum sts_record_error error = STS_RECORD_NONE;

	reports->looking = false;
	if (res == 0)
		error = sts_tlsrpt_read(lookup->records, lookup->records_n, &reports->places);
	if (error != STS_RECORD_OK)
		count(COUNTER_RELAY_REPORTS_UNWANTED);
	else if (tlsrpt_make(reports->relay->facts.tlsrpt, reports->domain, reports->day,
			 &reports->report) != 0)
		count(COUNTER_RELAY_REPORTS_FAILED);
	else
		reports->made = true;
	if (reports->made)
		places_next(reports);
	else
		report_over(reports);
}

static void report_next(struct relay_reports *reports)
{
	struct relay *relay = reports->relay;
	struct tlsrpt *tlsrpt = relay->facts.tlsrpt;
	char name[RELAY_HOST_MAX + 16];

	if (reports->stopped || reports->reporting || tlsrpt == NULL ||
		tlsrpt_from(tlsrpt) == NULL || reports->reported_n == ROUND_MAX ||
		!tlsrpt_due(tlsrpt, reports->domain, &reports->day))
		return;
	reports->reported_n++;
	reports->reporting = reports->looking = true;
	reports->at = reports->sent_n = 0;
	reports->places.rua_n = 0;
	reports->lookup.done = record_done;
	(void)snprintf(name, sizeof(name), "%s%s", STS_TLSRPT_PREFIX, reports->domain);
	relay_resolve_txt(relay->resolver, &reports->lookup, name);
}

/* ---- rounds ---- */

static void timer_set(struct relay_reports *reports, uint64_t ms)
{
	struct ring *ring = reports->relay->facts.ring;

	wheel_set(ring_wheel(ring), &reports->timer, ring_now_ms(ring) + ms);
}

static void round_begin(struct wheel_timer *timer)
{
	struct relay_reports *reports = container_of(timer, struct relay_reports, timer);

	reports->refreshed_n = reports->reported_n = 0;
	refresh_next(reports);
	report_next(reports);
	timer_set(reports, ROUND_MS);
}

void relay_reports_turn(struct relay *relay)
{
	if (relay->reports != NULL)
		report_send_turn(&relay->reports->send);
}

int relay_reports_open(struct relay *relay, struct err *err)
{
	struct relay_reports *reports;

	if (relay->facts.worker != 0 || relay->resolver == NULL ||
		(relay->policies == NULL && relay->facts.tlsrpt == NULL))
		return 0;
	reports = calloc(1, sizeof(*reports));
	if (reports == NULL)
		return err_set(err, "relay: out of memory");
	reports->relay = relay;
	reports->send.relay = relay;
	reports->send.done = place_done;
	wheel_timer_init(&reports->timer, round_begin);
	relay->reports = reports;
	return 0;
}

void relay_reports_start(struct relay *relay)
{
	if (relay->reports != NULL)
		timer_set(relay->reports, FIRST_MS);
}

void relay_reports_drain(struct relay *relay)
{
	struct relay_reports *reports = relay->reports;

	if (reports == NULL)
		return;
	reports->stopped = true;
	wheel_clear(ring_wheel(relay->facts.ring), &reports->timer);
	if (reports->refreshing)
		relay_sts_cancel(&reports->sts);
	reports->refreshing = false;
	if (reports->looking)
		relay_resolve_cancel(relay->resolver, &reports->lookup);
	reports->looking = false;
	report_send_stop(&reports->send);
}

bool relay_reports_idle(const struct relay *relay)
{
	const struct relay_reports *reports = relay->reports;

	return reports == NULL || (reports->stopped && report_send_idle(&reports->send));
}

void relay_reports_close(struct relay *relay)
{
	struct relay_reports *reports = relay->reports;

	if (reports == NULL)
		return;
	ASSERT(relay_reports_idle(relay));
	if (reports->made)
		tlsrpt_report_free(&reports->report);
	free(reports);
	relay->reports = NULL;
}
