/* SPDX-License-Identifier: MIT */
/* Unit tests of policy/policy.c: verdicts, the door, reload while others read. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "policy/policy.h"

static const char *const domains[] = {"example.org", "other.example", "ex\xc3\xa4mple.org"};

static struct policy_settings settings_of(const char *recipients)
{
	return (struct policy_settings){.relay_domains = domains,
		.relay_domains_n = COUNT_OF(domains),
		.recipients = recipients,
		.sessions_max = 2,
		.sessions_per_address_max = 1};
}

static struct policy *open_policy(const struct policy_settings *settings)
{
	struct policy *policy = NULL;
	struct err err = {""};

	cr_assert_eq(policy_open(&policy, settings, &err), 0, "%s", err.text);
	return policy;
}

static struct smtp_verdict rcpt(struct policy *policy, const char *local, const char *domain)
{
	struct smtp_envelope envelope = {0};
	struct smtp_recipient recipient = {
		.address = {.local = span_str(local), .domain = span_str(domain)}};

	return policy_rcpt(policy, &envelope, &recipient, true);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fputs(text, file);
	cr_assert_eq(fclose(file), 0);
}

/* A file of a test's own; to be unlinked and freed. */
static char *make_file(const char *text)
{
	char *path = strdup("/tmp/postern-policy-XXXXXX");
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
	write_file(path, text);
	return path;
}

static void drop_file(char *path)
{
	unlink(path);
	free(path);
}

enum answer { ACCEPT, NO_DOMAIN, NO_RECIPIENT };

struct rcpt_case {
	const char *local;
	const char *domain;
	enum answer answer;
};

static void expect_rcpt(struct policy *policy, const struct rcpt_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct smtp_verdict verdict = rcpt(policy, cases[i].local, cases[i].domain);

		if (cases[i].answer == ACCEPT) {
			cr_expect_eq(verdict.kind, SMTP_VERDICT_ACCEPT, "%s@%s", cases[i].local,
				cases[i].domain);
			cr_expect_eq(verdict.code, 0);
			continue;
		}
		cr_assert_eq(verdict.kind, SMTP_VERDICT_REFUSE, "%s@%s", cases[i].local,
			cases[i].domain);
		cr_expect_eq(verdict.code, 550);
		cr_expect_str_eq(
			verdict.enhanced, cases[i].answer == NO_DOMAIN ? "5.7.1" : "5.1.1");
		cr_expect_str_eq(verdict.text, cases[i].answer == NO_DOMAIN
						       ? "no mail for that domain is taken here"
						       : "no such recipient here");
	}
}

Test(policy, any_address_without_a_list)
{
	static const struct rcpt_case cases[] = {
		{"a", "example.org", ACCEPT},
		{"A", "EXAMPLE.Org", ACCEPT},
		{"\"a b\"", "other.example", ACCEPT},
		{"a", "ex\xc3\xa4mple.org", ACCEPT},
		{"Postmaster", "", ACCEPT},
		{"postmaster", "example.org", ACCEPT},
		{"a", "", NO_DOMAIN},
		{"a", "example.com", NO_DOMAIN},
		{"a", "mx.example.org", NO_DOMAIN},
		{"a", "xexample.org", NO_DOMAIN},
		{"a", "example.orgx", NO_DOMAIN},
		{"a", "example.or", NO_DOMAIN},
		{"a", "org", NO_DOMAIN},
		{"a", "[127.0.0.1]", NO_DOMAIN},
		{"postmaster", "[127.0.0.1]", NO_DOMAIN},
		{"postmaster", "example.com", NO_DOMAIN},
		{"a%example.org", "example.com", NO_DOMAIN},
		{"a@example.org", "example.com", NO_DOMAIN},
	};
	struct policy_settings settings = settings_of(NULL);
	struct policy *policy = open_policy(&settings);

	expect_rcpt(policy, cases, COUNT_OF(cases));
	policy_close(policy);
}

Test(policy, listed_addresses_only)
{
	static const struct rcpt_case cases[] = {
		{"a", "example.org", ACCEPT},
		{"A", "Example.ORG", ACCEPT},
		{"\"a\"", "example.org", ACCEPT},
		{"\"two words\"", "example.org", ACCEPT},
		{"b", "example.org", NO_RECIPIENT},
		{"", "example.org", NO_RECIPIENT},
		{"any", "other.example", ACCEPT},
		{"outside", "example.com", NO_DOMAIN},
		{"postmaster", "", ACCEPT},
		{"POSTMASTER", "example.org", ACCEPT},
		{"\"postmaster\"", "example.org", ACCEPT},
		{"postmasters", "example.org", NO_RECIPIENT},
		{"a", "ex\xc3\xa4mple.org", NO_RECIPIENT},
	};
	char *path = make_file("a@example.org\n\"Two Words\"@example.org\n@other.example\n"
			       "outside@example.com\n");
	struct policy_settings settings = settings_of(path);
	struct policy *policy = open_policy(&settings);

	expect_rcpt(policy, cases, COUNT_OF(cases));
	policy_close(policy);
	drop_file(path);
}

Test(policy, odd_octets)
{
	struct policy_settings settings = settings_of(NULL);
	struct policy *policy = open_policy(&settings);
	char domain[600];
	struct smtp_envelope envelope = {0};
	struct smtp_recipient recipient = {.address = {.local = span_str("a")}};

	memset(domain, 'a', sizeof(domain));
	recipient.address.domain = span_of(domain, sizeof(domain));
	cr_expect_eq(policy_rcpt(policy, &envelope, &recipient, true).code, 550);
	recipient.address.domain = span_of("example.org\0", 12);
	cr_expect_eq(policy_rcpt(policy, &envelope, &recipient, true).code, 550);
	recipient.address.domain = span_str("example.org");
	recipient.address.local = span_of(domain, sizeof(domain));
	cr_expect_eq(policy_rcpt(policy, &envelope, &recipient, true).kind, SMTP_VERDICT_ACCEPT);
	policy_close(policy);
}

Test(policy, mail_is_taken_from_anybody)
{
	struct policy_settings settings = settings_of(NULL);
	struct policy *policy = open_policy(&settings);
	struct smtp_envelope envelope = {0};

	cr_expect_eq(policy_mail(policy, &envelope, false).kind, SMTP_VERDICT_ACCEPT);
	envelope.reverse_path.text = span_str("a@example.org");
	cr_expect_eq(policy_mail(policy, &envelope, false).kind, SMTP_VERDICT_ACCEPT);
	policy_close(policy);
}

/* RFC 3207 4, RFC 8461: nothing is required unless the settings say so. */
Test(policy, tls_required)
{
	static const char *const one[] = {"example.org", ".other.example"}, *const all[] = {"*"};
	static const char *const ours[] = {"example.org", "other.example", "a.b.other.example"};
	static const struct {
		const char *domain;
		size_t list_n; /* 0: none; 1: all; 2: one */
		uint16_t mail, rcpt;
	} rows[] = {
		{"example.org", 0, 0, 0},
		{"example.org", 2, 0, 550},
		{"EXAMPLE.org", 2, 0, 550},
		{"other.example", 2, 0, 0},
		{"a.b.other.example", 2, 0, 550},
		{"other.example", 1, 530, 550},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct policy_settings settings = settings_of(NULL);
		struct smtp_envelope envelope = {0};
		struct smtp_recipient recipient = {
			.address = {.local = span_str("a"), .domain = span_str(rows[i].domain)}};
		struct policy *policy;

		settings.relay_domains = ours;
		settings.relay_domains_n = COUNT_OF(ours);
		settings.require_tls = rows[i].list_n == 1 ? all : one;
		settings.require_tls_n = rows[i].list_n;
		policy = open_policy(&settings);
		cr_expect_eq(
			policy_mail(policy, &envelope, false).code, rows[i].mail, "row %zu", i);
		cr_expect_eq(policy_rcpt(policy, &envelope, &recipient, false).code, rows[i].rcpt,
			"row %zu", i);
		cr_expect_eq(policy_mail(policy, &envelope, true).code, 0, "row %zu", i);
		cr_expect_eq(
			policy_rcpt(policy, &envelope, &recipient, true).code, 0, "row %zu", i);
		policy_close(policy);
	}
}

Test(policy, a_broken_list_does_not_open)
{
	char *path = make_file("a@example.org\nb\n"), message[256];
	struct policy_settings settings = settings_of(path);
	struct policy *policy = NULL;
	struct err err = {""};

	cr_expect_eq(policy_open(&policy, &settings, &err), -1);
	snprintf(message, sizeof(message),
		"%s:2: no \"@\" after the local part: write local@domain", path);
	cr_expect_str_eq(err.text, message);
	drop_file(path);
}

Test(policy, reload)
{
	char *path = make_file("a@example.org\n"), message[256];
	struct policy_settings settings = settings_of(path);
	struct policy *policy = open_policy(&settings);
	struct err err = {""};

	write_file(path, "b@example.org\n");
	cr_expect_eq(rcpt(policy, "a", "example.org").code, 0);
	cr_assert_eq(policy_reload(policy, &err), 0, "%s", err.text);
	cr_expect_eq(rcpt(policy, "a", "example.org").code, 550);
	cr_expect_eq(rcpt(policy, "b", "example.org").code, 0);

	write_file(path, "c@example.org\n<d@example.org>\n");
	cr_expect_eq(policy_reload(policy, &err), -1);
	snprintf(message, sizeof(message), "%s:2: the local part is not one: quote it if need be",
		path);
	cr_expect_str_eq(err.text, message);
	cr_expect_eq(rcpt(policy, "b", "example.org").code, 0, "the old list stays");
	cr_expect_eq(rcpt(policy, "c", "example.org").code, 550);

	unlink(path);
	cr_expect_eq(policy_reload(policy, &err), -1, "the file is gone");
	cr_expect_eq(rcpt(policy, "b", "example.org").code, 0);
	policy_close(policy);
	free(path);
}

Test(policy, reload_without_a_list_is_nothing)
{
	struct policy_settings settings = settings_of(NULL);
	struct policy *policy = open_policy(&settings);
	struct err err;

	cr_expect_eq(policy_reload(policy, &err), 0);
	policy_close(policy);
}

#define READERS 3
#define RELOADS 200

struct readers {
	struct policy *policy;
	bool stop;
	unsigned wrong;
};

static void *look(void *arg)
{
	struct readers *readers = arg;

	while (!__atomic_load_n(&readers->stop, __ATOMIC_ACQUIRE)) {
		if (rcpt(readers->policy, "stays", "example.org").code != 0 ||
			rcpt(readers->policy, "never", "example.org").code != 550)
			__atomic_add_fetch(&readers->wrong, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Whoever is in the old list and in the new one is found at any time. */
Test(policy, reload_while_others_read)
{
	char *path = make_file("stays@example.org\n");
	struct policy_settings settings = settings_of(path);
	struct readers readers = {.policy = open_policy(&settings)};
	pthread_t threads[READERS];
	struct err err;

	for (int i = 0; i < READERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, look, &readers), 0);
	for (int i = 0; i < RELOADS; i++)
		cr_expect_eq(policy_reload(readers.policy, &err), 0);
	__atomic_store_n(&readers.stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(readers.wrong, 0);
	policy_close(readers.policy);
	drop_file(path);
}

Test(policy, door)
{
	struct policy_settings settings = settings_of(NULL);
	struct policy *policy = open_policy(&settings);
	const uint8_t a[NETWORK_BYTES] = {0x20}, b[NETWORK_BYTES] = {0x20, 1};
	const uint8_t c[NETWORK_BYTES] = {0x20, 2};
	const struct smtp_verdict *verdict;

	cr_expect_eq(policy_enter(policy, a), POLICY_DOOR_OPEN);
	cr_expect_eq(policy_enter(policy, a), POLICY_DOOR_ADDRESS_FULL);
	cr_expect_eq(policy_enter(policy, b), POLICY_DOOR_OPEN);
	cr_expect_eq(policy_enter(policy, c), POLICY_DOOR_FULL);
	policy_leave(policy, a);
	cr_expect_eq(policy_enter(policy, c), POLICY_DOOR_OPEN);
	cr_expect_eq(policy_enter(policy, NULL), POLICY_DOOR_FULL, "nobody's, among all");
	policy_leave(policy, c);
	policy_leave(policy, b);
	cr_expect_eq(policy_enter(policy, NULL), POLICY_DOOR_OPEN);
	cr_expect_eq(policy_enter(policy, NULL), POLICY_DOOR_OPEN, "no address is counted");
	cr_expect_eq(policy_enter(policy, NULL), POLICY_DOOR_FULL);
	policy_leave(policy, NULL);
	policy_leave(policy, NULL);
	cr_expect_eq(policy_enter(policy, a), POLICY_DOOR_OPEN);
	policy_leave(policy, a);
	policy_close(policy);

	verdict = policy_door_verdict(POLICY_DOOR_FULL);
	cr_expect(verdict->kind == SMTP_VERDICT_CLOSE && verdict->code == 421);
	cr_expect_str_eq(verdict->enhanced, "4.3.2");
	verdict = policy_door_verdict(POLICY_DOOR_ADDRESS_FULL);
	cr_expect(verdict->kind == SMTP_VERDICT_CLOSE && verdict->code == 421);
	cr_expect_str_eq(verdict->enhanced, "4.7.0");
}

Test(policy, callout)
{
	static const struct {
		const char *local;
		const char *domain;
		bool due;
	} cases[] = {{"a", "example.org", true}, {"postmaster", "example.org", false},
		{"\"PostMaster\"", "example.org", false}, {"postmaster", "", false},
		{"postmasters", "example.org", true}, {"", "example.org", true}};
	static const struct {
		enum policy_callout_answer answer;
		enum callout_down down;
		unsigned code;
		const char *enhanced;
	} answers[] = {
		{POLICY_CALLOUT_YES, CALLOUT_DOWN_DEFER, 0, ""},
		{POLICY_CALLOUT_NONE, CALLOUT_DOWN_DEFER, 0, ""},
		{POLICY_CALLOUT_NO, CALLOUT_DOWN_ACCEPT, 550, "5.1.1"},
		{POLICY_CALLOUT_NO, CALLOUT_DOWN_DEFER, 550, "5.1.1"},
		{POLICY_CALLOUT_DOWN, CALLOUT_DOWN_ACCEPT, 0, ""},
		{POLICY_CALLOUT_DOWN, CALLOUT_DOWN_DEFER, 451, "4.4.1"},
	};
	struct policy_settings settings = settings_of(NULL);
	struct policy *policy = open_policy(&settings);

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct smtp_recipient recipient = {.address = {.local = span_str(cases[i].local),
							   .domain = span_str(cases[i].domain)}};

		cr_expect_eq(policy_callout_due(policy, &recipient), cases[i].due, "%s@%s",
			cases[i].local, cases[i].domain);
	}
	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		struct smtp_verdict verdict;

		settings.callout_down = answers[i].down;
		verdict = policy_callout_verdict(policy, answers[i].answer);
		cr_expect_eq(
			verdict.kind, answers[i].code ? SMTP_VERDICT_REFUSE : SMTP_VERDICT_ACCEPT);
		cr_expect_eq(verdict.code, answers[i].code);
		if (answers[i].code)
			cr_expect_str_eq(verdict.enhanced, answers[i].enhanced);
	}
	policy_close(policy);
}
