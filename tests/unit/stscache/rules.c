/* SPDX-License-Identifier: MIT */
/* RFC 8461's rules for a kept policy, row by row; then what one row cannot show. */
#include "rig.h"

#include <stdio.h>

#include <criterion/criterion.h>

#define DOMAIN  "example.org"
#define TESTING POLICY("testing", "604800")
#define NONE    "version: STSv1\nmode: none\nmax_age: 604800\n"
#define WEEK_S  604800

#define OK_WITH(text)                                                                              \
	{                                                                                          \
		FETCH_OK, 200, "text/plain", text                                                  \
	}

TestSuite(rules, .timeout = 120);

struct row {
	const char *section; /* and what it shows */
	const char *kept;    /* learnt before with id "a"; NULL: nothing */
	uint64_t after_s;    /* time that passes then */
	const char *id;      /* of the TXT record now; NULL: none */
	enum stscache_reply reply;
	struct rig_answer answer; /* of the fetch, if one is asked for */
	const char *obeyed;       /* its id; NULL: no policy */
	enum stscache_trouble trouble;
};

static const struct row rows[] = {
	{"3.1: no record, nothing kept", NULL, 0, NULL, STSCACHE_NOW, {0}, NULL, STSCACHE_FINE},
	{"3.3: a first policy", NULL, 0, "a", STSCACHE_ADDRESS, OK_WITH(ENFORCE), "a",
		STSCACHE_FINE},
	{"5: testing is obeyed, too", NULL, 0, "a", STSCACHE_ADDRESS, OK_WITH(TESTING), "a",
		STSCACHE_FINE},
	{"3.3: the same id needs no fetch", ENFORCE, 10, "a", STSCACHE_NOW, {0}, "a",
		STSCACHE_FINE},
	{"3.3: ids are compared to the letter", ENFORCE, 10, "A", STSCACHE_ADDRESS,
		OK_WITH(TESTING), "A", STSCACHE_FINE},
	{"3.3: another id brings another policy", ENFORCE, 10, "b", STSCACHE_ADDRESS,
		OK_WITH(TESTING), "b", STSCACHE_FINE},
	{"5.1: another id, the fetch fails", ENFORCE, 10, "b", STSCACHE_ADDRESS,
		{FETCH_CONNECT, 0, NULL, NULL}, "a", STSCACHE_FETCH_ERROR},
	{"5.1: another id, the certificate is wrong", ENFORCE, 10, "b", STSCACHE_ADDRESS,
		{FETCH_CERTIFICATE, 0, NULL, NULL}, "a", STSCACHE_WEBPKI},
	{"5.1: no record keeps the kept one", ENFORCE, 10, NULL, STSCACHE_NOW, {0}, "a",
		STSCACHE_FINE},
	{"3.2: kept until max_age is over", ENFORCE, WEEK_S - 1, NULL, STSCACHE_NOW, {0}, "a",
		STSCACHE_FINE},
	{"3.2: not when max_age is over", ENFORCE, WEEK_S, NULL, STSCACHE_NOW, {0}, NULL,
		STSCACHE_FINE},
	{"3.3: expired and the same id: fetched", ENFORCE, WEEK_S, "a", STSCACHE_ADDRESS,
		OK_WITH(ENFORCE), "a", STSCACHE_FINE},
	{"5.1: expired, the fetch fails", ENFORCE, WEEK_S, "a", STSCACHE_ADDRESS,
		{FETCH_TIMEOUT, 0, NULL, NULL}, NULL, STSCACHE_FETCH_ERROR},
	{"8.3: none ends it", ENFORCE, 10, "b", STSCACHE_ADDRESS, OK_WITH(NONE), NULL,
		STSCACHE_FINE},
	{"8.3: none is kept", NONE, 10, "a", STSCACHE_NOW, {0}, NULL, STSCACHE_FINE},
	{"8.3: none, then no record", NONE, 10, NULL, STSCACHE_NOW, {0}, NULL, STSCACHE_FINE},
	{"after none comes enforce", NONE, 10, "b", STSCACHE_ADDRESS, OK_WITH(ENFORCE), "b",
		STSCACHE_FINE},
	{"3.3: the status must be 200", ENFORCE, 10, "b", STSCACHE_ADDRESS,
		{FETCH_OK, 404, "text/plain", NONE}, "a", STSCACHE_FETCH_ERROR},
	{"3.3: no redirects", NULL, 0, "a", STSCACHE_ADDRESS,
		{FETCH_OK, 301, "text/plain", ENFORCE}, NULL, STSCACHE_FETCH_ERROR},
	{"3.3: 204 is not 200", NULL, 0, "a", STSCACHE_ADDRESS, {FETCH_OK, 204, NULL, NULL}, NULL,
		STSCACHE_FETCH_ERROR},
	{"3.2: the media type", NULL, 0, "a", STSCACHE_ADDRESS,
		{FETCH_OK, 200, "text/html", ENFORCE}, NULL, STSCACHE_FETCH_ERROR},
	{"3.2: no media type", NULL, 0, "a", STSCACHE_ADDRESS, {FETCH_OK, 200, NULL, ENFORCE}, NULL,
		STSCACHE_FETCH_ERROR},
	{"3.2: parameters of the media type", NULL, 0, "a", STSCACHE_ADDRESS,
		{FETCH_OK, 200, "Text/Plain; charset=utf-8", ENFORCE}, "a", STSCACHE_FINE},
	{"3.2: not a policy", ENFORCE, 10, "b", STSCACHE_ADDRESS, OK_WITH("<html>"), "a",
		STSCACHE_INVALID},
	{"3.2: an empty body", ENFORCE, 10, "b", STSCACHE_ADDRESS, OK_WITH(""), "a",
		STSCACHE_INVALID},
	{"3.2: enforce without mx", NULL, 0, "a", STSCACHE_ADDRESS,
		OK_WITH("version: STSv1\nmode: enforce\nmax_age: 9\n"), NULL, STSCACHE_INVALID},
	{"3.2: max_age above a year", NULL, 0, "a", STSCACHE_ADDRESS,
		OK_WITH(POLICY("enforce", "31557601")), NULL, STSCACHE_INVALID},
	{"3.2: the first of two modes counts", NULL, 0, "a", STSCACHE_ADDRESS,
		OK_WITH(ENFORCE "mode: none\nunknown: x\n"), "a", STSCACHE_FINE},
	{"3.3: too large", ENFORCE, 10, "b", STSCACHE_ADDRESS, {FETCH_LARGE, 0, NULL, NULL}, "a",
		STSCACHE_FETCH_ERROR},
	{"not HTTP", NULL, 0, "a", STSCACHE_ADDRESS, {FETCH_HTTP, 0, NULL, NULL}, NULL,
		STSCACHE_FETCH_ERROR},
	{"TLS fails", NULL, 0, "a", STSCACHE_ADDRESS, {FETCH_TLS, 0, NULL, NULL}, NULL,
		STSCACHE_FETCH_ERROR},
	{"the gateway stops", ENFORCE, 10, "b", STSCACHE_ADDRESS, {FETCH_STOPPED, 0, NULL, NULL},
		"a", STSCACHE_FETCH_ERROR},
	{"max_age 0 is for this mail", NULL, 0, "a", STSCACHE_ADDRESS,
		OK_WITH(POLICY("enforce", "0")), "a", STSCACHE_FINE},
	{"max_age 0 is over at once", POLICY("enforce", "0"), 0, NULL, STSCACHE_NOW, {0}, NULL,
		STSCACHE_FINE},
};

static void check(const struct row *row, const struct stscache_question *question)
{
	cr_expect_eq(question->outcome, row->obeyed != NULL ? STSCACHE_POLICY : STSCACHE_NONE, "%s",
		row->section);
	cr_expect_eq(question->trouble, row->trouble, "%s: %d", row->section, question->trouble);
	cr_expect_eq(question->why[0] != '\0', row->trouble != STSCACHE_FINE, "%s", row->section);
	cr_expect_eq(question->policy != NULL, row->obeyed != NULL, "%s", row->section);
	if (question->policy == NULL || row->obeyed == NULL)
		return;
	cr_expect_str_eq(question->policy->id, row->obeyed, "%s", row->section);
	cr_expect_str_eq(question->policy->domain, DOMAIN);
	cr_expect(sts_policy_has_mx(&question->policy->policy, span_str("MX.example.org")));
	cr_expect(!sts_policy_has_mx(&question->policy->policy, span_str("mx.example.net")));
}

Test(rules, are_those_of_the_rfc)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct row *row = &rows[i];
		struct rig_question question;
		enum stscache_reply reply;

		rig_open(-1, 0);
		if (row->kept != NULL)
			rig_learn(DOMAIN, "a", row->kept);
		rig_pass(row->after_s);
		reply = rig_ask(&question, DOMAIN, row->id);
		cr_expect_eq(reply, row->reply, "%s: reply %d", row->section, reply);
		if (reply == STSCACHE_ADDRESS) {
			rig_fetch(&question);
			cr_assert_eq(rig_asked(), 1);
			cr_assert_str_eq(rig_asked_host(0), "mta-sts." DOMAIN);
			rig_end(0, &row->answer);
			cr_assert_eq(question.answered, 0, "only by a turn");
			stscache_turn(rig_client);
			cr_expect_eq(question.answered, 1, "%s", row->section);
		}
		check(row, &question.q);
		rig_release(&question);
		rig_close();
	}
}

static const struct rig_answer good = {FETCH_OK, 200, "text/plain", ENFORCE};
static const struct rig_answer bad = {FETCH_CONNECT, 0, NULL, NULL};

/* 3.3: not more than one try in five minutes for an id; another id may be tried. */
Test(rules, hold_back_after_a_failure)
{
	struct rig_question question;

	rig_open(-1, 0);
	cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_ADDRESS);
	rig_fetch(&question);
	rig_end(0, &bad);
	stscache_turn(rig_client);
	rig_pass(299);
	cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_NOW);
	cr_assert_eq(question.q.outcome, STSCACHE_NONE);
	cr_assert_eq(question.q.trouble, STSCACHE_FETCH_ERROR);
	cr_assert_str_eq(question.q.why, "connect");
	cr_assert_eq(rig_ask(&question, DOMAIN, "b"), STSCACHE_ADDRESS, "another id");
	stscache_fetch(rig_client, &question.q, NULL, 0);
	stscache_turn(rig_client);
	cr_assert_eq(question.answered, 1);
	cr_assert_eq(rig_ask(&question, DOMAIN, "b"), STSCACHE_NOW, "no address is a failure");
	rig_pass(300);
	cr_assert_eq(rig_ask(&question, DOMAIN, "b"), STSCACHE_ADDRESS);
	rig_fetch(&question);
	rig_end(0, &good);
	stscache_turn(rig_client);
	cr_assert_eq(question.q.outcome, STSCACHE_POLICY);
	cr_assert_eq(question.q.trouble, STSCACHE_FINE);
	rig_release(&question);
	rig_close();
}

/* DNS servers that disagree: the id that failed is held back after another one brought a policy. */
Test(rules, hold_back_one_id_while_another_is_kept)
{
	struct rig_question question;

	rig_open(-1, 0);
	cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_ADDRESS);
	rig_fetch(&question);
	rig_end(0, &bad);
	stscache_turn(rig_client);
	rig_learn(DOMAIN, "b", ENFORCE);
	cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_NOW);
	cr_assert_eq(question.q.outcome, STSCACHE_POLICY);
	cr_assert_eq(question.q.trouble, STSCACHE_FETCH_ERROR);
	rig_release(&question);
	cr_assert_eq(rig_ask(&question, DOMAIN, "b"), STSCACHE_NOW);
	cr_assert_eq(question.q.trouble, STSCACHE_FINE);
	rig_release(&question);
	rig_pass(300);
	cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_ADDRESS);
	stscache_forget(rig_client, &question.q);
	rig_close();
}

/* What fetch/ would not take, or a stop, says nothing about the domain. */
Test(rules, do_not_hold_back_after_trouble_of_our_own)
{
	const struct rig_answer stopped = {FETCH_STOPPED, 0, NULL, NULL};
	struct rig_question question;

	rig_open(-1, 0);
	rig_refuses = true;
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_ADDRESS);
		rig_fetch(&question);
		stscache_turn(rig_client);
		cr_assert_eq(question.answered, 1);
		cr_assert_eq(question.q.trouble, STSCACHE_FETCH_ERROR);
	}
	rig_refuses = false;
	cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_ADDRESS);
	rig_fetch(&question);
	rig_end(0, &stopped);
	stscache_turn(rig_client);
	cr_assert_eq(rig_ask(&question, DOMAIN, "a"), STSCACHE_ADDRESS);
	stscache_forget(rig_client, &question.q);
	rig_close();
}

Test(rules, one_fetch_for_all_who_ask)
{
	struct rig_question leader, second, third, kept;
	struct stscache_facts facts;

	rig_open(-1, 0);
	cr_assert_eq(rig_ask(&leader, DOMAIN, "a"), STSCACHE_ADDRESS);
	cr_assert_eq(rig_ask(&second, DOMAIN, "a"), STSCACHE_LATER);
	rig_fetch(&leader);
	cr_assert_eq(rig_ask(&third, DOMAIN, "b"), STSCACHE_LATER);
	cr_assert_eq(rig_ask(&kept, DOMAIN, NULL), STSCACHE_NOW, "no record: nothing to wait for");
	cr_assert_eq(rig_asked(), 1);
	cr_assert_eq(rig_wakes, 0);
	rig_end(0, &good);
	cr_assert_eq(rig_wakes, 1, "once for all");
	stscache_turn(rig_client);
	cr_assert(leader.answered == 1 && second.answered == 1 && third.answered == 1);
	cr_assert(kept.answered == 0);
	cr_assert(leader.q.policy != NULL && leader.q.policy == second.q.policy &&
		  third.q.policy == second.q.policy);
	stscache_facts(rig_cache, &facts);
	cr_assert(facts.entries == 1 && facts.enforce == 1 && facts.testing == 0);
	cr_assert(facts.fetches == 1 && facts.failures == 0);
	rig_release(&leader);
	rig_release(&second);
	rig_release(&third);
	rig_close();
}

/* While a refresh is under way, mail with the kept id does not wait. */
Test(rules, a_refresh_stops_nobody)
{
	struct rig_question refresh, mail;

	rig_open(-1, 0);
	rig_learn(DOMAIN, "a", ENFORCE);
	cr_assert_eq(rig_refresh(&refresh, DOMAIN, "a"), STSCACHE_ADDRESS);
	rig_fetch(&refresh);
	cr_assert_eq(rig_ask(&mail, DOMAIN, "a"), STSCACHE_NOW);
	cr_assert_eq(mail.q.outcome, STSCACHE_POLICY);
	rig_release(&mail);
	rig_pass(10);
	rig_end(0, &good);
	stscache_turn(rig_client);
	cr_assert_eq(refresh.q.policy->expires_real_s, RIG_START_S + 10 + WEEK_S, "it starts anew");
	rig_release(&refresh);
	rig_close();
}

Test(rules, refreshes_are_due_daily_and_asked_for_hourly)
{
	char domain[STS_NAME_MAX + 1];
	struct rig_question question;

	rig_open(-1, 0);
	rig_learn("none.example", "a", NONE);
	rig_learn("short.example", "a", POLICY("enforce", "20000"));
	rig_learn(DOMAIN, "a", ENFORCE);
	cr_assert(!stscache_due(rig_cache, domain));
	rig_pass(9999);
	cr_assert(!stscache_due(rig_cache, domain));
	rig_pass(1);
	cr_assert(stscache_due(rig_cache, domain), "half of its age");
	cr_assert_str_eq(domain, "short.example");
	cr_assert(!stscache_due(rig_cache, domain));
	rig_pass(3600);
	cr_assert(stscache_due(rig_cache, domain), "an hour later again");
	cr_assert_str_eq(domain, "short.example");
	rig_pass(RIG_DAY_S - 13600 - 1);
	cr_assert(!stscache_due(rig_cache, domain), "the short one has expired");
	rig_pass(1);
	cr_assert(stscache_due(rig_cache, domain));
	cr_assert_str_eq(domain, DOMAIN);
	cr_assert_eq(rig_refresh(&question, domain, "a"), STSCACHE_ADDRESS);
	rig_fetch(&question);
	rig_end(0, &bad);
	stscache_turn(rig_client);
	cr_assert_eq(question.q.outcome, STSCACHE_POLICY, "a failed refresh changes nothing");
	cr_assert_eq(question.q.trouble, STSCACHE_FETCH_ERROR);
	rig_release(&question);
	cr_assert_eq(rig_refresh(&question, domain, "a"), STSCACHE_NOW, "just failed");
	rig_release(&question);
	rig_pass(3600);
	cr_assert(stscache_due(rig_cache, domain));
	cr_assert_eq(rig_refresh(&question, domain, NULL), STSCACHE_NOW, "no record");
	rig_release(&question);
	rig_close();
}

/* A clock that is set back does not make a policy live longer than its max_age. */
Test(rules, clocks_that_jump)
{
	struct rig_question question;

	rig_open(-1, 0);
	rig_learn(DOMAIN, "a", ENFORCE);
	rig_real_us -= 10ull * WEEK_S * 1000000;
	rig_ms += (uint64_t)WEEK_S * 1000 - 1;
	cr_assert_eq(rig_ask(&question, DOMAIN, NULL), STSCACHE_NOW);
	cr_assert_eq(question.q.outcome, STSCACHE_POLICY);
	rig_release(&question);
	rig_ms += 1;
	cr_assert_eq(rig_ask(&question, DOMAIN, NULL), STSCACHE_NOW);
	cr_assert_eq(question.q.outcome, STSCACHE_NONE);
	rig_learn(DOMAIN, "a", ENFORCE);
	rig_real_us += (uint64_t)WEEK_S * 1000000;
	cr_assert_eq(rig_ask(&question, DOMAIN, NULL), STSCACHE_NOW);
	cr_assert_eq(question.q.outcome, STSCACHE_NONE);
	rig_close();
}

/* Set back between the fetch and the keeping. */
Test(rules, a_policy_from_the_future_lives_for_its_max_age)
{
	struct stscache_policy *policy;
	struct stscache_entry *entry;
	uint32_t line;

	rig_open(-1, 0);
	cr_assert_eq(stscache_policy_new(&policy, DOMAIN, "a", span_str(ENFORCE),
			     RIG_START_S + RIG_DAY_S, &line),
		STS_POLICY_OK);
	entry = stscache_make(rig_cache, DOMAIN);
	stscache_keep(rig_cache, entry, policy);
	stscache_settle(rig_cache, entry);
	cr_assert_eq(policy->expires_ms, rig_ms + WEEK_S * 1000ull);
	rig_close();
}

/* forget: as leader without an address, as leader and as waiter of a fetch, answered, turned. */
Test(rules, a_question_may_be_forgotten_at_any_time)
{
	struct rig_question leader, waiter, other;

	rig_open(-1, 0);
	cr_assert_eq(rig_ask(&leader, DOMAIN, "a"), STSCACHE_ADDRESS);
	cr_assert_eq(rig_ask(&waiter, DOMAIN, "a"), STSCACHE_LATER);
	stscache_forget(rig_client, &leader.q);
	stscache_turn(rig_client);
	cr_assert(leader.answered == 0 && waiter.answered == 1);
	cr_assert_eq(waiter.q.trouble, STSCACHE_FETCH_ERROR);
	cr_assert_eq(rig_cache->table.n, 0, "nothing is left of it");

	cr_assert_eq(
		rig_ask(&leader, DOMAIN, "a"), STSCACHE_ADDRESS, "and nothing held against it");
	cr_assert_eq(rig_ask(&waiter, DOMAIN, "a"), STSCACHE_LATER);
	cr_assert_eq(rig_ask(&other, DOMAIN, "a"), STSCACHE_LATER);
	rig_fetch(&leader);
	stscache_forget(rig_client, &leader.q);
	stscache_forget(rig_client, &waiter.q);
	rig_end(0, &good);
	stscache_forget(rig_client, &other.q);
	cr_assert(other.q.policy == NULL, "its count was released");
	stscache_turn(rig_client);
	cr_assert(leader.answered == 0 && waiter.answered == 0 && other.answered == 0);
	cr_assert_eq(rig_ask(&other, DOMAIN, "a"), STSCACHE_NOW, "the fetch was not in vain");
	stscache_forget(rig_client, &other.q);
	cr_assert(other.q.policy != NULL, "an answered one is the asker's");
	rig_release(&other);
	rig_close();
}

struct chain {
	struct stscache_question q;
	struct rig_question *victim;
};

static void forget_victim(struct stscache_question *question)
{
	stscache_forget(rig_client, &((struct chain *)question)->victim->q);
}

Test(rules, a_question_may_be_forgotten_while_others_turn)
{
	struct rig_question victim;
	struct chain chain = {.q.answered = forget_victim, .victim = &victim};
	struct sts_record record = {.id = "a"};

	rig_open(-1, 0);
	cr_assert_eq(stscache_ask(rig_client, &chain.q, DOMAIN, STSCACHE_TXT_ID, &record),
		STSCACHE_ADDRESS);
	rig_fetch((struct rig_question *)&chain);
	cr_assert_eq(rig_ask(&victim, DOMAIN, "a"), STSCACHE_LATER);
	rig_end(0, &good);
	stscache_turn(rig_client);
	cr_assert_eq(victim.answered, 0);
	stscache_policy_release(chain.q.policy);
	rig_close();
}

Test(rules, what_would_expire_first_makes_room)
{
	struct rig_question question;
	struct stscache_facts facts;
	struct stscache_policy *list[8];

	rig_open(-1, 3);
	rig_learn("b.example", "a", POLICY("enforce", "5000"));
	rig_learn("a.example", "a", POLICY("testing", "6000"));
	rig_learn("c.example", "a", POLICY("enforce", "4000"));
	rig_learn("d.example", "a", POLICY("enforce", "7000"));
	stscache_facts(rig_cache, &facts);
	cr_assert(facts.entries == 3 && facts.evicted == 1 && facts.testing == 1 &&
		  facts.enforce == 2);
	cr_assert_eq(stscache_list(rig_cache, "", list, 8), 3);
	cr_assert_str_eq(list[0]->domain, "a.example");
	cr_assert_str_eq(list[1]->domain, "b.example");
	cr_assert_str_eq(list[2]->domain, "d.example");
	for (int i = 0; i < 3; i++)
		stscache_policy_release(list[i]);
	cr_assert_eq(stscache_list(rig_cache, "a.example", list, 1), 1);
	cr_assert_str_eq(list[0]->domain, "b.example");
	stscache_policy_release(list[0]);
	cr_assert_eq(stscache_list(rig_cache, "d.example", list, 8), 0);

	/* A failure lives five minutes at most: it goes first. */
	cr_assert_eq(rig_ask(&question, "e.example", "a"), STSCACHE_ADDRESS);
	stscache_fetch(rig_client, &question.q, NULL, 0);
	stscache_turn(rig_client);
	rig_learn("f.example", "a", ENFORCE);
	stscache_facts(rig_cache, &facts);
	cr_assert_eq(facts.evicted, 3);
	cr_assert_eq(rig_ask(&question, "d.example", NULL), STSCACHE_NOW);
	cr_assert_eq(question.q.outcome, STSCACHE_POLICY);
	rig_release(&question);
	rig_close();
}

/* What is under way has its place; when that is all, others are told that there is none. */
Test(rules, domains_under_way_are_not_evicted)
{
	struct rig_question questions[3];

	rig_open(-1, 2);
	cr_assert_eq(rig_ask(&questions[0], "a.example", "a"), STSCACHE_ADDRESS);
	cr_assert_eq(rig_ask(&questions[1], "b.example", "a"), STSCACHE_ADDRESS);
	cr_assert_eq(rig_ask(&questions[2], "c.example", "a"), STSCACHE_NOW);
	cr_assert_eq(questions[2].q.outcome, STSCACHE_NONE);
	cr_assert_eq(questions[2].q.trouble, STSCACHE_FETCH_ERROR);
	rig_fetch(&questions[0]);
	rig_end(0, &good);
	rig_fetch(&questions[1]);
	rig_end(0, &good);
	stscache_turn(rig_client);
	rig_release(&questions[0]);
	rig_release(&questions[1]);
	cr_assert_eq(rig_cache->table.n, 2);
	rig_close();
}

Test(rules, names_that_have_no_policy_host)
{
	static char names[][260] = {"", "*.example.org", "EXAMPLE.org", "a..b", "[192.0.2.1]",
		"a b", "a/b", "a@b", "-", ""};
	struct rig_question question;
	char *longest = names[COUNT_OF(names) - 1];

	while (strlen(longest) < 246)
		strcat(longest, strlen(longest) % 10 == 9 ? "." : "a");
	rig_open(-1, 0);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		cr_expect_eq(rig_ask(&question, names[i], "a"), STSCACHE_NOW, "%s", names[i]);
		cr_expect_eq(question.q.outcome, STSCACHE_NONE);
	}
	longest[245] = '\0';
	cr_expect_eq(rig_ask(&question, longest, "a"), STSCACHE_ADDRESS);
	stscache_forget(rig_client, &question.q);
	rig_close();
}
