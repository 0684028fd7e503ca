/* SPDX-License-Identifier: MIT */
/*
 * policy.c -- who is let in, whose mail we take.
 *
 * Job: own the three tables (relay domains, recipients, sessions) and say a verdict about a
 * command. Sans-IO but for reading the recipients file at start and reload, and the page faults of
 * an LMDB environment.
 *
 * Non-goals: syntax (smtp/ has checked it), log lines (the coordinator's).
 *
 * Invariants: the domains never change after policy_open; the recipients change as a whole, under
 * the write lock, after the new file was read without any lock. Writers are preferred, so that a
 * steady stream of look-ups cannot hold a reload off.
 */
#include "policy/policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/counter.h"
#include "config/name.h"
#include "policy/counts-private.h"
#include "policy/lmdb-private.h"
#include "policy/recipients-private.h"
#include "policy/set-private.h"

#define NO_RECIPIENT "no such recipient here"

struct policy {
	const struct policy_settings *settings;
	char *domains_text;
	struct set domains;
	char *required_text; /* domains whose mail needs TLS: exact, ".below", "*" */
	struct set required;
	bool required_all; /* "*" is one */
	struct counts *counts;
	pthread_rwlock_t lock;         /* of the two below */
	struct recipients *recipients; /* neither: any address at the domains */
	struct lmdb *lmdb;
};

/* A set of a list's names in lower case; *text is where they stand. */
static int open_names(struct set *set, char **text, const char *const *names, size_t names_n)
{
	size_t n = 0, at = 0;
	int rc;

	for (size_t i = 0; i < names_n; i++)
		n += strlen(names[i]) + 1;
	*text = calloc(1, n + 1);
	if (!*text)
		return -ENOMEM;
	rc = set_open(set, *text, names_n);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < names_n; i++) {
		size_t octets = strlen(names[i]);

		memcpy(*text + at, names[i], octets + 1);
		name_lower(*text + at, octets);
		set_add(set, at, octets);
		at += octets + 1;
	}
	return 0;
}

static int open_domains(struct policy *policy)
{
	const struct policy_settings *settings = policy->settings;
	int rc = open_names(&policy->domains, &policy->domains_text, settings->relay_domains,
		settings->relay_domains_n);

	if (rc == 0)
		rc = open_names(&policy->required, &policy->required_text, settings->require_tls,
			settings->require_tls_n);
	if (rc == 0)
		policy->required_all = set_has(&policy->required, span_str("*"));
	return rc;
}

static int open_tables(struct policy *policy, struct err *err)
{
	const struct policy_settings *settings = policy->settings;
	int rc = open_domains(policy);

	if (rc == 0)
		rc = counts_open(&policy->counts, settings->sessions_max,
			settings->sessions_per_address_max);
	if (rc != 0)
		return err_set(err, "the policy's tables: %s", strerror(-rc));
	if (settings->recipients &&
		recipients_open(&policy->recipients, settings->recipients, err) != 0)
		return -1;
	if (settings->recipients_lmdb)
		return lmdb_open(&policy->lmdb, settings->recipients_lmdb, err);
	return 0;
}

int policy_open(struct policy **out, const struct policy_settings *settings, struct err *err)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	pthread_rwlockattr_t attr;

	if (!policy)
		return err_set(err, "the policy's tables: %s", strerror(ENOMEM));
	policy->settings = settings;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&policy->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	if (open_tables(policy, err) != 0) {
		policy_close(policy);
		return -1;
	}
	*out = policy;
	return 0;
}

void policy_close(struct policy *policy)
{
	if (!policy)
		return;
	recipients_close(policy->recipients);
	lmdb_close(policy->lmdb);
	if (policy->counts)
		counts_close(policy->counts);
	set_close(&policy->domains);
	free(policy->domains_text);
	set_close(&policy->required);
	free(policy->required_text);
	pthread_rwlock_destroy(&policy->lock);
	free(policy);
}

static int reload_recipients(struct policy *policy, struct err *err)
{
	struct recipients *recipients, *old;

	if (recipients_open(&recipients, policy->settings->recipients, err) != 0)
		return -1;
	pthread_rwlock_wrlock(&policy->lock);
	old = policy->recipients;
	policy->recipients = recipients;
	pthread_rwlock_unlock(&policy->lock);
	recipients_close(old);
	return 0;
}

static int reload_lmdb(struct policy *policy, struct err *err)
{
	struct lmdb *lmdb, *old;

	/* only this thread changes policy->lmdb */
	if (lmdb_is_current(policy->lmdb))
		return 0;
	if (lmdb_open(&lmdb, policy->settings->recipients_lmdb, err) != 0)
		return -1;
	pthread_rwlock_wrlock(&policy->lock);
	old = policy->lmdb;
	policy->lmdb = lmdb;
	pthread_rwlock_unlock(&policy->lock);
	lmdb_close(old);
	return 0;
}

int policy_reload(struct policy *policy, struct err *err)
{
	if (policy->recipients && reload_recipients(policy, err) != 0)
		return -1;
	return policy->lmdb ? reload_lmdb(policy, err) : 0;
}

enum policy_door policy_enter(struct policy *policy, const uint8_t peer[NETWORK_BYTES])
{
	return counts_enter(policy->counts, peer);
}

void policy_leave(struct policy *policy, const uint8_t peer[NETWORK_BYTES])
{
	counts_leave(policy->counts, peer);
}

const struct smtp_verdict *policy_door_verdict(enum policy_door door)
{
	static const struct smtp_verdict verdicts[] = {
		[POLICY_DOOR_FULL] = {SMTP_VERDICT_CLOSE, 421, "4.3.2",
			"too many sessions here, try again later"},
		[POLICY_DOOR_ADDRESS_FULL] = {SMTP_VERDICT_CLOSE, 421, "4.7.0",
			"too many sessions from your address, try again later"},
	};

	ASSERT(door == POLICY_DOOR_FULL || door == POLICY_DOOR_ADDRESS_FULL);
	return &verdicts[door];
}

static struct smtp_verdict refuse(uint16_t code, const char *enhanced, const char *text)
{
	return (struct smtp_verdict){SMTP_VERDICT_REFUSE, code, enhanced, text};
}

/* Any reverse-path may write to us: filters stand behind the spool. */
struct smtp_verdict policy_mail(
	const struct policy *policy, const struct smtp_envelope *envelope, bool encrypted)
{
	(void)envelope;
	if (encrypted || !policy->required_all)
		return (struct smtp_verdict){.kind = SMTP_VERDICT_ACCEPT};
	count(COUNTER_TLS_REQUIRED);
	return refuse(530, "5.7.0", "Must issue a STARTTLS command first");
}

/* May mail for the domain come by TLS only? By its own name, or one above it with a dot in front. */
static bool needs_tls(const struct policy *policy, struct span domain)
{
	char form[NAME_OCTETS_MAX];

	if (policy->required.members == 0)
		return false;
	if (policy->required_all)
		return true;
	if (domain.n == 0 || domain.n > sizeof(form) || memchr(domain.p, '\0', domain.n))
		return false;
	memcpy(form, domain.p, domain.n);
	name_lower(form, domain.n);
	if (set_has(&policy->required, span_of(form, domain.n)))
		return true;
	for (size_t i = 1; i < domain.n; i++) {
		if (form[i] == '.' && set_has(&policy->required, span_of(form + i, domain.n - i)))
			return true;
	}
	return false;
}

/* True for one of our domains; an address literal never is. */
static bool is_ours(const struct policy *policy, struct span domain)
{
	char form[NAME_OCTETS_MAX];

	if (domain.n == 0 || domain.n > sizeof(form) || memchr(domain.p, '\0', domain.n))
		return false;
	memcpy(form, domain.p, domain.n);
	name_lower(form, domain.n);
	return set_has(&policy->domains, span_of(form, domain.n));
}

static bool is_postmaster(struct span local)
{
	static const char name[] = "postmaster";
	char form[RECIPIENTS_ADDRESS_MAX];
	int n = recipients_local(form, local);

	return n == (int)sizeof(name) - 1 && memcmp(form, name, sizeof(name) - 1) == 0;
}

/* The address itself, then any address at its domain. As lmdb_has(). */
static int is_in_lmdb(struct lmdb *lmdb, const struct smtp_address *address)
{
	char form[RECIPIENTS_ADDRESS_MAX];
	int n = recipients_form(form, address->local, address->domain), found;

	if (n < 0)
		return 0;
	found = lmdb_has(lmdb, span_of(form, (size_t)n));
	if (found != 0)
		return found;
	return lmdb_has(lmdb, span_of(form + n - address->domain.n - 1, address->domain.n + 1));
}

/* 1: it is listed, or there is no list; 0: it is not; -errno: it cannot be said. */
static int is_recipient(struct policy *policy, const struct smtp_address *address)
{
	int found = 1;

	pthread_rwlock_rdlock(&policy->lock);
	if (policy->recipients)
		found = recipients_has(policy->recipients, address->local, address->domain);
	else if (policy->lmdb)
		found = is_in_lmdb(policy->lmdb, address);
	pthread_rwlock_unlock(&policy->lock);
	return found;
}

struct smtp_verdict policy_rcpt(struct policy *policy, const struct smtp_envelope *envelope,
	const struct smtp_recipient *recipient, bool encrypted)
{
	const struct smtp_verdict accept = {.kind = SMTP_VERDICT_ACCEPT};
	const struct smtp_address *address = &recipient->address;
	bool postmaster = is_postmaster(address->local);
	int found;

	(void)envelope;
	if (address->domain.n == 0 && postmaster)
		return accept;
	if (!is_ours(policy, address->domain))
		return refuse(550, "5.7.1", "no mail for that domain is taken here");
	if (!encrypted && needs_tls(policy, address->domain)) {
		count(COUNTER_TLS_REQUIRED);
		return refuse(550, "5.7.10", "mail for that domain is taken by TLS only");
	}
	found = postmaster ? 1 : is_recipient(policy, address);
	if (found > 0)
		return accept;
	if (found == 0)
		return refuse(550, "5.1.1", NO_RECIPIENT);
	count(COUNTER_RECIPIENTS_ERRORS);
	return refuse(451, "4.3.0", "the list of recipients cannot be read now, try again later");
}

bool policy_callout_due(const struct policy *policy, const struct smtp_recipient *recipient)
{
	(void)policy;
	return !is_postmaster(recipient->address.local);
}

struct smtp_verdict policy_callout_verdict(
	const struct policy *policy, enum policy_callout_answer answer)
{
	if (answer == POLICY_CALLOUT_NO)
		return refuse(550, "5.1.1", NO_RECIPIENT);
	if (answer == POLICY_CALLOUT_DOWN && policy->settings->callout_down == CALLOUT_DOWN_DEFER)
		return refuse(451, "4.4.1", "the recipient cannot be checked now, try again later");
	return (struct smtp_verdict){.kind = SMTP_VERDICT_ACCEPT};
}
