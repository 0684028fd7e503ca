/* SPDX-License-Identifier: MIT */
/*
 * cut.c -- cutting through: a message is given to its next hop before it is answered.
 *
 *	next hop says			client hears		queue
 *	2xx for all			250 and its text	nothing
 *	5xx for all			that reply		nothing
 *	some taken, others not		250 of ours		the rest
 *	4xx, nothing in time, closed	250 of ours		all
 *
 * It is tried when all recipients go by one route that has cutthrough = yes and a connection may be
 * had at once. What does not come out clearly within cutthrough_ms_max goes into the queue as if
 * nothing had been tried; so does a refusal that is the next hop's and not this message's (a 554
 * greeting), which the queue's fail-over and back-off are for.
 *
 * When the connection is lost after the last octet the next hop may have the message, and it is
 * queued and given to it again: counted as postern_cutthrough_unsure_total. A crash of ours
 * before the client heard the answer leaves the message with the next hop, and the client sends it
 * again. Both are the at-least-once that SMTP has everywhere (RFC 5321 6.1).
 *
 * A message whose sender asked to be told of the delivery goes into the queue, which writes reports.
 *
 * Non-goals: Maildir and MX routes (config/ refuses them), more recipients than CUT_RECIPIENTS_MAX
 * or than the route's recipients_max: one transaction or none.
 */
#include "relay/relay-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/histogram.h"

#define CUTS_MAX           1024 /* under way at a time */
#define CUT_RECIPIENTS_MAX 32
#define CUT_TEXT_MAX       400 /* octets of the next hop's text in our reply, with the NUL */

struct cut {
	struct relay *relay;
	struct spool_cut *spool;
	uint64_t begun_ms;
	struct relay_job job;
	struct relay_job_recipient recipients[CUT_RECIPIENTS_MAX];
	struct relay_outcome outcomes[CUT_RECIPIENTS_MAX];
};

struct relay_cuts {
	struct pool pool;
};

/* ---- what it comes to ---- */

enum cut_class {
	CUT_DELIVERED,
	CUT_REFUSED,
	CUT_LATER, /* not clear: the queue's */
	CUT_CLASSES
};

static enum cut_class class_of(const struct relay_job *job, const struct relay_outcome *outcome)
{
	if (outcome->result == RELAY_RESULT_DONE && job->started_ms != 0)
		return CUT_DELIVERED;
	if (outcome->result == RELAY_RESULT_NEVER && outcome->code >= 500 &&
		!job->connection_failed && job->started_ms != 0)
		return CUT_REFUSED;
	return CUT_LATER;
}

/* What a peer said becomes part of a reply of ours: one line of printable ASCII. */
static void text_clean(char out[CUT_TEXT_MAX], const char *text)
{
	size_t n = 0;

	for (; text[n] != '\0' && n < CUT_TEXT_MAX - 1; n++)
		out[n] = text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?';
	out[n] = '\0';
}

/* "2.1.5": the reply's own, if its class is the code's; else the plainest of that class. */
static const char *enhanced_of(const struct relay_outcome *outcome, const char *plain)
{
	bool fits = outcome->enhanced[0] == plain[0] && outcome->enhanced[1] == '.';

	return fits ? outcome->enhanced : plain;
}

static struct smtp_verdict verdict_of(
	enum cut_class class, const struct relay_outcome *outcome, char text[CUT_TEXT_MAX])
{
	bool delivered = class == CUT_DELIVERED;

	text_clean(text, outcome->text[0] != '\0' ? outcome->text
			 : delivered              ? "message delivered"
						  : "refused by the next hop");
	return (struct smtp_verdict){
		.kind = delivered ? SMTP_VERDICT_ACCEPT : SMTP_VERDICT_REFUSE,
		.code = delivered ? 250 : outcome->code,
		.enhanced = enhanced_of(outcome, delivered ? "2.0.0" : "5.0.0"),
		.text = text,
	};
}

/* ---- its end ---- */

/* One line for all recipients of a class. */
static void cut_report(const struct cut *cut, enum cut_class class, uint32_t first, uint32_t n)
{
	static const char *const results[CUT_CLASSES] = {
		[CUT_DELIVERED] = "delivered", [CUT_REFUSED] = "refused", [CUT_LATER] = "deferred"};
	const struct relay_job *job = &cut->job;
	const struct relay_outcome *outcome = &cut->outcomes[first];
	char id[SPOOL_ID_MAX], reply[RELAY_REPLY_MAX + 32] = "";
	struct event event;

	if (outcome->code != 0)
		(void)snprintf(reply, sizeof(reply), "%u ", outcome->code);
	(void)snprintf(reply + strlen(reply), sizeof(reply) - strlen(reply), "%s%s%s",
		outcome->enhanced, outcome->enhanced[0] != '\0' ? " " : "", outcome->text);
	spool_id_text(cut->spool->id, id);
	event_open(&event, EVENT_NO_COUNT, "delivery");
	event_str(&event, "id", id);
	event_span(&event, "from", cut->spool->envelope->reverse_path.text);
	event_span(&event, "to", cut->recipients[first].smtp->address.text);
	event_u64(&event, "recipients", n);
	event_str(&event, "next_hop", job->next_hop);
	event_str(&event, "result", results[class]);
	event_str(&event, "reply", reply);
	event_u64(&event, "took_ms", clock_ms() - cut->begun_ms);
	event_str(&event, "tls", job->tls_version != NULL ? job->tls_version : "none");
	event_str(&event, "ktls", job->ktls != NULL ? job->ktls : "none");
	event_str(&event, "trust", job->trust != NULL ? job->trust : "none");
	event_u64(&event, "cutthrough", 1);
	event_close(&event);
	if (class != CUT_DELIVERED)
		return;
	count_add(COUNTER_RELAY_DELIVERED, n);
	for (uint32_t i = 0; i < n; i++)
		histogram_add(HISTOGRAM_RELAY_DELIVERY_MS, clock_ms() - cut->begun_ms);
}

/* What goes into the queue: those delivered to are done with. */
static void cut_spool(const struct cut *cut)
{
	const struct relay_job *job = &cut->job;
	bool unsure = false;

	for (uint32_t i = 0; i < job->recipients_n; i++) {
		enum cut_class class = class_of(job, &cut->outcomes[i]);

		if (class == CUT_DELIVERED)
			cut->spool->fates[i] = SPOOL_FATE_DELIVERED;
		unsure = unsure ||
			 (class == CUT_LATER && job->sent_dot && cut->outcomes[i].code == 0);
	}
	count(COUNTER_CUTTHROUGH_SPOOLED);
	if (unsure)
		count(COUNTER_CUTTHROUGH_UNSURE);
}

static void job_done(struct relay_job *job)
{
	struct cut *cut = container_of(job, struct cut, job);
	struct relay *relay = cut->relay;
	struct spool_cut *spool = cut->spool;
	struct smtp_verdict verdict;
	char text[CUT_TEXT_MAX];
	uint32_t n[CUT_CLASSES] = {0}, first[CUT_CLASSES];
	bool clear = false;

	for (uint32_t i = 0; i < job->recipients_n; i++) {
		enum cut_class class = class_of(job, &cut->outcomes[i]);

		if (n[class]++ == 0)
			first[class] = i;
	}
	for (int i = 0; i < CUT_CLASSES; i++)
		if (n[i] > 0)
			cut_report(cut, (enum cut_class)i, first[i], n[i]);
	if (n[CUT_DELIVERED] == job->recipients_n || n[CUT_REFUSED] == job->recipients_n) {
		clear = true;
		verdict = verdict_of(class_of(job, &cut->outcomes[0]), &cut->outcomes[0], text);
		count(n[CUT_DELIVERED] > 0 ? COUNTER_CUTTHROUGH_DELIVERED
					   : COUNTER_CUTTHROUGH_REFUSED);
	} else {
		cut_spool(cut);
	}
	/* The verdict borrows from the cut, so that goes last. */
	spool_cut_done(relay->facts.spool, spool, clear ? &verdict : NULL);
	pool_put(&relay->cuts->pool, cut);
}

/* ---- its beginning ---- */

/* The route of all recipients; NULL: they have several, it does not cut through, or somebody wants a
 * report of the delivery. */
static const struct route_settings *route_of(
	const struct relay *relay, const struct smtp_envelope *envelope)
{
	const struct route_settings *route = NULL;

	for (const struct list *node = envelope->recipients.next; node != &envelope->recipients;
		node = node->next) {
		const struct smtp_recipient *recipient =
			container_of(node, struct smtp_recipient, node);
		const struct route_settings *one =
			relay_route(relay->routes, recipient->address.domain);

		if (one == NULL || !one->cutthrough || (route != NULL && one != route) ||
			recipient->notify & SMTP_NOTIFY_SUCCESS)
			return NULL;
		route = one;
	}
	return route;
}

static void cut_fill(struct cut *cut, struct relay *relay, struct spool_cut *spool)
{
	const struct smtp_envelope *envelope = spool->envelope;
	uint32_t n = 0;

	cut->relay = relay;
	cut->spool = spool;
	cut->begun_ms = clock_ms();
	for (struct list *node = envelope->recipients.next; node != &envelope->recipients;
		node = node->next) {
		cut->outcomes[n] = (struct relay_outcome){.result = RELAY_RESULT_LATER};
		cut->recipients[n] = (struct relay_job_recipient){
			.smtp = container_of(node, struct smtp_recipient, node),
			.index = n,
			.outcome = &cut->outcomes[n]};
		n++;
	}
	cut->job = (struct relay_job){.envelope = envelope,
		.recipients = cut->recipients,
		.recipients_n = n,
		.body = &spool->body,
		.ms_max = relay->settings->cutthrough_ms_max,
		.done = job_done};
	list_init(&cut->job.node);
}

bool relay_cut(struct spool_reader *reader, struct spool_cut *spool)
{
	struct relay *relay = container_of(reader, struct relay, reader);
	const struct smtp_envelope *envelope = spool->envelope;
	const struct route_settings *route;
	struct cut *cut;

	if (relay->cuts == NULL || relay->draining || relay->aborted)
		return false;
	route = route_of(relay, envelope);
	if (route == NULL)
		return false;
	cut = envelope->recipients_n <= CUT_RECIPIENTS_MAX &&
			      envelope->recipients_n <= route->recipients_max
		      ? pool_get(&relay->cuts->pool)
		      : NULL;
	if (cut == NULL) {
		count(COUNTER_CUTTHROUGH_FULL);
		return false;
	}
	cut_fill(cut, relay, spool);
	if (relay_schedule_direct(
		    relay, route, cut->recipients[0].smtp->address.domain, &cut->job)) {
		spool->relay = cut;
		return true;
	}
	count(COUNTER_CUTTHROUGH_SPOOLED);
	pool_put(&relay->cuts->pool, cut);
	return false;
}

/* ---- all of them ---- */

int relay_cuts_open(struct relay *relay, struct err *err)
{
	const struct relay_settings *settings = relay->settings;
	bool wanted = false;

	relay->cuts = NULL;
	for (size_t i = 0; i < settings->routes_n; i++)
		wanted = wanted || settings->routes[i].cutthrough;
	if (!wanted)
		return 0;
	relay->cuts = calloc(1, sizeof(*relay->cuts));
	if (relay->cuts == NULL)
		return err_set(err, "out of memory");
	pool_open(&relay->cuts->pool, sizeof(struct cut), CUTS_MAX);
	return 0;
}

bool relay_cuts_idle(const struct relay *relay)
{
	return relay->cuts == NULL || relay->cuts->pool.live == 0;
}

void relay_cuts_close(struct relay *relay)
{
	if (relay->cuts == NULL)
		return;
	ASSERT(relay_cuts_idle(relay));
	pool_close(&relay->cuts->pool);
	free(relay->cuts);
	relay->cuts = NULL;
}
