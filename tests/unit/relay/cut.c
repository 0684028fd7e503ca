/* SPDX-License-Identifier: MIT */
/*
 * cut.c -- when a message is cut through, and what the next hop's words come to. The source is
 * taken in whole with the scheduler and the spool replaced: a job is answered by hand.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define relay_schedule_direct cut_test_direct
#define relay_route           cut_test_route
#define relay_cut             cut_test_cut
#define relay_cuts_open       cut_test_open
#define relay_cuts_idle       cut_test_idle
#define relay_cuts_close      cut_test_close
#define spool_cut_done        cut_test_done
#define spool_id_text         cut_test_id_text
#include "gateway/relay/cut.c"

#define RECIPIENTS_MAX 40

static struct route_settings routes[2];
static struct relay_settings settings;
static struct relay relay;
static struct relay_job *given;
static bool no_connection;
static struct smtp_envelope envelope;
static struct smtp_recipient recipients[RECIPIENTS_MAX];
static uint8_t fates[RECIPIENTS_MAX];
static struct spool_cut spool_cut;
/* what spool_cut_done() was told */
static unsigned done_n;
static bool answered;
static struct smtp_verdict verdict;
static char verdict_enhanced[16], verdict_text[600];
static struct event_sink sink;

bool relay_schedule_direct(struct relay *of, const struct route_settings *route, struct span domain,
	struct relay_job *job)
{
	cr_assert_eq(of, &relay);
	cr_assert(route->cutthrough);
	(void)domain;
	if (no_connection)
		return false;
	given = job;
	return true;
}

const struct route_settings *relay_route(const struct relay_routes *of, struct span domain)
{
	static const struct route_settings plain = {.title = "plain"};

	(void)of;
	if (domain.n == 0 || span_equal(domain, span_str("a.example")))
		return &routes[0];
	if (span_equal(domain, span_str("b.example")))
		return &routes[1];
	return span_equal(domain, span_str("plain.example")) ? &plain : NULL;
}

void spool_cut_done(struct spool *spool, struct spool_cut *cut, const struct smtp_verdict *said)
{
	(void)spool;
	cr_assert_eq(cut, &spool_cut);
	done_n++;
	answered = said != NULL;
	if (!answered)
		return;
	verdict = *said;
	snprintf(verdict_enhanced, sizeof(verdict_enhanced), "%s", said->enhanced);
	snprintf(verdict_text, sizeof(verdict_text), "%s", said->text);
}

void spool_id_text(uint64_t id, char text[SPOOL_ID_MAX])
{
	snprintf(text, SPOOL_ID_MAX, "%llX", (unsigned long long)id);
}

static void setup(void)
{
	struct err err;

	routes[0] = routes[1] = (struct route_settings){.cutthrough = true, .recipients_max = 20};
	settings =
		(struct relay_settings){.routes = routes, .routes_n = 2, .cutthrough_ms_max = 4321};
	relay = (struct relay){.settings = &settings};
	event_sink_init(&sink);
	event_sink_use(&sink);
	cr_assert_eq(relay_cuts_open(&relay, &err), 0);
}

static void teardown(void)
{
	event_sink_use(NULL);
	relay_cuts_close(&relay);
}

TestSuite(cut, .init = setup, .fini = teardown);

static uint8_t notify; /* of all recipients */

static void recipient_add(const char *text)
{
	struct smtp_recipient *recipient = &recipients[envelope.recipients_n++];
	const char *at = strchr(text, '@');

	*recipient = (struct smtp_recipient){
		.address = {.text = span_str(text),
			.local = span_of(text, at ? (size_t)(at - text) : strlen(text)),
			.domain = at ? span_str(at + 1) : span_of(NULL, 0)},
		.notify = notify};
	list_init(&recipient->node);
	list_push_back(&envelope.recipients, &recipient->node);
}

/* `text`: addresses separated by spaces. */
static bool cut_try(const char *text)
{
	static char copy[RECIPIENTS_MAX * 32];
	char *save = NULL;

	envelope = (struct smtp_envelope){0};
	list_init(&envelope.recipients);
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = strtok_r(copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save))
		recipient_add(p);
	memset(fates, 0, sizeof(fates));
	spool_cut = (struct spool_cut){.id = 0xabc, .envelope = &envelope, .fates = fates};
	given = NULL;
	return relay_cut(&relay.reader, &spool_cut);
}

/* ---- which messages ---- */

static const struct {
	const char *recipients;
	bool cut;
} tries[] = {
	{"u@a.example", true},
	{"u@a.example v@a.example", true},
	{"postmaster", true},
	{"postmaster u@a.example", true},
	{"u@plain.example", false},
	{"u@nowhere.example", false},
	{"u@a.example v@b.example", false},
	{"u@a.example v@plain.example", false},
	{"u@plain.example v@a.example", false},
};

static void answer_all(enum relay_result result, uint16_t code)
{
	struct relay_job *job = given;

	job->started_ms = 1;
	for (uint32_t i = 0; i < job->recipients_n; i++)
		*job->recipients[i].outcome =
			(struct relay_outcome){.result = result, .code = code, .text = "said"};
	job->done(job);
}

Test(cut, which_messages)
{
	for (size_t i = 0; i < COUNT_OF(tries); i++) {
		cr_expect_eq(cut_try(tries[i].recipients), tries[i].cut, "%s", tries[i].recipients);
		cr_expect_eq(given != NULL, tries[i].cut);
		if (given != NULL)
			answer_all(RELAY_RESULT_DONE, 250);
		cr_expect(relay_cuts_idle(&relay));
	}
}

/* A report of success is written with a message of the queue only. */
Test(cut, not_where_success_is_to_be_reported)
{
	notify = SMTP_NOTIFY_FAILURE;
	cr_expect(cut_try("u@a.example"));
	answer_all(RELAY_RESULT_DONE, 250);
	notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE;
	cr_expect_not(cut_try("u@a.example"));
	notify = 0;
	cr_expect(relay_cuts_idle(&relay));
}

Test(cut, the_job)
{
	cr_assert(cut_try("u@a.example v@a.example"));
	cr_expect_eq(given->envelope, &envelope);
	cr_expect_eq(given->body, &spool_cut.body);
	cr_expect_eq(given->ms_max, 4321);
	cr_assert_eq(given->recipients_n, 2);
	cr_expect_eq(given->recipients[1].smtp, &recipients[1]);
	cr_expect_eq(given->recipients[1].index, 1);
	cr_expect_neq(given->recipients[0].outcome, given->recipients[1].outcome);
	cr_expect_not(relay_cuts_idle(&relay));
	answer_all(RELAY_RESULT_DONE, 250);
	cr_expect_eq(done_n, 1);
}

static bool cut_many(unsigned n)
{
	char text[RECIPIENTS_MAX * 32] = "";

	for (unsigned i = 0; i < n; i++)
		snprintf(text + strlen(text), 32, "user%u@a.example ", i);
	return cut_try(text);
}

Test(cut, limits)
{
	cr_expect(cut_many(20));
	answer_all(RELAY_RESULT_DONE, 250);
	cr_expect_not(cut_many(21), "over the route's recipients_max");
	routes[0].recipients_max = 1000;
	cr_expect(cut_many(CUT_RECIPIENTS_MAX));
	answer_all(RELAY_RESULT_DONE, 250);
	cr_expect_not(cut_many(CUT_RECIPIENTS_MAX + 1));
	cr_expect_eq(counter_sum(COUNTER_CUTTHROUGH_FULL), 2);
}

Test(cut, not_now)
{
	no_connection = true;
	cr_expect_not(cut_try("u@a.example"));
	cr_expect_eq(counter_sum(COUNTER_CUTTHROUGH_SPOOLED), 1);
	no_connection = false;
	relay.draining = true;
	cr_expect_not(cut_try("u@a.example"));
	relay.draining = false;
	relay.aborted = true;
	cr_expect_not(cut_try("u@a.example"));
	relay.aborted = false;
	cr_expect(relay_cuts_idle(&relay));
	cr_expect_eq(done_n, 0);
}

Test(cut, without_a_route_that_cuts)
{
	struct relay other = {.settings = &settings};
	struct err err;

	routes[0].cutthrough = routes[1].cutthrough = false;
	cr_assert_eq(relay_cuts_open(&other, &err), 0);
	cr_expect_not(relay_cut(&other.reader, &spool_cut));
	cr_expect(relay_cuts_idle(&other));
	relay_cuts_close(&other);
}

/* ---- what it comes to ---- */

struct said {
	enum relay_result result;
	uint16_t code;
	const char *enhanced, *text;
};

#define DONE(enhanced, text)                                                                       \
	{                                                                                          \
		RELAY_RESULT_DONE, 250, enhanced, text                                             \
	}
#define LATER(code, text)                                                                          \
	{                                                                                          \
		RELAY_RESULT_LATER, code, "", text                                                 \
	}
#define NEVER(code, enhanced, text)                                                                \
	{                                                                                          \
		RELAY_RESULT_NEVER, code, enhanced, text                                           \
	}

static const struct {
	const char *name;
	struct said said[2];
	bool sent_dot, connection_failed, never_given;
	uint16_t code; /* 0: the client gets ours */
	const char *enhanced, *text;
	const char *delivered; /* '1' for each recipient the queue need not serve */
	bool unsure;
} ends[] = {
	{"all taken", {DONE("2.6.0", "queued as 1"), DONE("2.6.0", "queued as 1")}, true, false,
		false, 250, "2.6.0", "queued as 1", "", false},
	{"no enhanced code", {DONE("", "ok"), DONE("", "ok")}, true, false, false, 250, "2.0.0",
		"ok", "", false},
	{"an enhanced code of another class", {DONE("5.1.1", "ok"), DONE("", "ok")}, true, false,
		false, 250, "2.0.0", "ok", "", false},
	{"no text", {DONE("", ""), DONE("", "")}, true, false, false, 250, "2.0.0",
		"message delivered", "", false},
	{"a text that would be two lines", {DONE("", "a\r\n550 b\x1b\xff"), DONE("", "")}, true,
		false, false, 250, "2.0.0", "a??550 b??", "", false},
	{"all refused", {NEVER(552, "5.3.4", "too big"), NEVER(552, "5.3.4", "too big")}, true,
		false, false, 552, "5.3.4", "too big", "", false},
	{"refused for different reasons", {NEVER(550, "", "no such user"), NEVER(554, "", "no")},
		false, false, false, 550, "5.0.0", "no such user", "", false},
	{"one taken, one refused", {DONE("", "ok"), NEVER(550, "5.1.1", "no")}, true, false, false,
		0, NULL, NULL, "10", false},
	{"one later, one taken", {LATER(452, "full"), DONE("", "ok")}, true, false, false, 0, NULL,
		NULL, "01", false},
	{"one refused, one later", {NEVER(550, "", "no"), LATER(450, "busy")}, false, false, false,
		0, NULL, NULL, "00", false},
	{"all later", {LATER(451, "busy"), LATER(451, "busy")}, true, false, false, 0, NULL, NULL,
		"00", false},
	{"lost before the end", {LATER(0, "closed"), LATER(0, "closed")}, false, true, false, 0,
		NULL, NULL, "00", false},
	{"lost after the end", {LATER(0, "closed"), LATER(0, "closed")}, true, true, false, 0, NULL,
		NULL, "00", true},
	{"lost between LMTP replies", {DONE("", "ok"), LATER(0, "closed")}, true, true, false, 0,
		NULL, NULL, "10", true},
	{"554 greeting", {NEVER(554, "", "no service"), NEVER(554, "", "no service")}, false, true,
		false, 0, NULL, NULL, "00", false},
	{"never given", {NEVER(554, "", "no service"), NEVER(554, "", "no service")}, false, false,
		true, 0, NULL, NULL, "00", false},
	{"no reply to speak of", {NEVER(0, "", "no such host"), NEVER(0, "", "no such host")},
		false, false, false, 0, NULL, NULL, "00", false},
};

static void say(size_t row)
{
	struct relay_job *job = given;

	for (uint32_t i = 0; i < 2; i++) {
		const struct said *said = &ends[row].said[i];
		struct relay_outcome *outcome = job->recipients[i].outcome;

		*outcome = (struct relay_outcome){.result = said->result, .code = said->code};
		snprintf(outcome->enhanced, sizeof(outcome->enhanced), "%s", said->enhanced);
		snprintf(outcome->text, sizeof(outcome->text), "%s", said->text);
	}
	job->started_ms = ends[row].never_given ? 0 : 1;
	job->sent_dot = ends[row].sent_dot;
	job->connection_failed = ends[row].connection_failed;
	job->done(job);
}

static enum counter counter_of(uint16_t code)
{
	if (code == 0)
		return COUNTER_CUTTHROUGH_SPOOLED;
	return code == 250 ? COUNTER_CUTTHROUGH_DELIVERED : COUNTER_CUTTHROUGH_REFUSED;
}

Test(cut, verdicts)
{
	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		const char *name = ends[i].name;
		int64_t before = counter_sum(counter_of(ends[i].code));
		int64_t unsure = counter_sum(COUNTER_CUTTHROUGH_UNSURE);

		cr_assert(cut_try("u@a.example v@a.example"));
		say(i);
		cr_assert_eq(done_n, i + 1);
		cr_expect(relay_cuts_idle(&relay));
		cr_expect_eq(counter_sum(counter_of(ends[i].code)), before + 1, "%s", name);
		cr_expect_eq(counter_sum(COUNTER_CUTTHROUGH_UNSURE) - unsure, ends[i].unsure, "%s",
			name);
		cr_assert_eq(answered, ends[i].code != 0, "%s", name);
		for (size_t k = 0; k < strlen(ends[i].delivered); k++)
			cr_expect_eq(fates[k],
				ends[i].delivered[k] == '1' ? SPOOL_FATE_DELIVERED
							    : SPOOL_FATE_PENDING,
				"%s", name);
		if (!answered)
			continue;
		cr_expect_eq(verdict.kind,
			ends[i].code == 250 ? SMTP_VERDICT_ACCEPT : SMTP_VERDICT_REFUSE);
		cr_expect_eq(verdict.code, ends[i].code, "%s", name);
		cr_expect_str_eq(verdict_enhanced, ends[i].enhanced, "%s", name);
		cr_expect_str_eq(verdict_text, ends[i].text, "%s", name);
	}
}

/* With code and enhanced code it must fit a reply line of 512 octets. */
Test(cut, long_text_is_cut)
{
	cr_assert(cut_try("u@a.example"));
	memset(given->recipients[0].outcome->text, 'x', RELAY_REPLY_MAX - 1);
	given->recipients[0].outcome->text[RELAY_REPLY_MAX - 1] = '\0';
	given->recipients[0].outcome->result = RELAY_RESULT_DONE;
	given->recipients[0].outcome->code = 250;
	given->started_ms = 1;
	given->done(given);
	cr_expect(answered);
	cr_expect_eq(strlen(verdict_text), CUT_TEXT_MAX - 1);
}

static bool logged(const char *part)
{
	static char text[EVENT_SINK_BYTES + 1];
	struct span lines = event_sink_take(&sink);

	if (lines.n > 0) {
		memcpy(text, lines.p, lines.n);
		text[lines.n] = '\0';
		event_sink_taken(&sink);
	}
	return strstr(text, part) != NULL;
}

Test(cut, log_lines)
{
	int64_t before = counter_sum(COUNTER_RELAY_DELIVERED);

	cr_assert(cut_try("u@a.example v@a.example"));
	snprintf(given->next_hop, sizeof(given->next_hop), "lmtp:x:24 [192.0.2.1]");
	given->tls_version = "TLSv1.3";
	given->ktls = "tx";
	say(7); /* one taken, one refused */
	cr_expect(logged("event=delivery id=ABC from=\"\" to=u@a.example recipients=1 "
			 "next_hop=\"lmtp:x:24 [192.0.2.1]\" result=delivered reply=\"250 ok\""));
	cr_expect(logged("to=v@a.example recipients=1 next_hop=\"lmtp:x:24 [192.0.2.1]\" "
			 "result=refused reply=\"550 5.1.1 no\""));
	cr_expect(logged(" tls=TLSv1.3 ktls=tx trust=none cutthrough=1\n"));
	cr_expect_eq(counter_sum(COUNTER_RELAY_DELIVERED), before + 1);
}
