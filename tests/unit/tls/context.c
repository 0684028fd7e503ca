/* SPDX-License-Identifier: MIT */
/* Certificates by name and key type, tickets and what they are bound to, sharing by threads. */
#include "rig.h"

#include <pthread.h>

#include <criterion/criterion.h>
#include <openssl/x509.h>

#include "base/clock.h"

static struct rig rig;

static const char *const example_names[] = {"mx.example.org", "*.example.net", NULL};
static const char *const other_names[] = {"other.example.org", NULL};

/* default (EC); "example" (EC) and "example-rsa" side by side; "other" (EC). */
static struct tls_context *names_context(struct rig_settings *settings)
{
	rig_settings(settings);
	rig_certificate("example", RIG_EC, 30, 0, 0);
	rig_certificate("example-rsa", RIG_RSA, 30, 0, 0);
	rig_certificate("other", RIG_EC, 30, 0, 0);
	rig_settings_add(settings, "example", example_names);
	rig_settings_add(settings, "example-rsa", example_names);
	rig_settings_add(settings, "other", other_names);
	return rig_context(settings);
}

static void expect_subject(const char *subject)
{
	char name[64] = "";
	X509 *x509 = SSL_get1_peer_certificate(rig.client);

	X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, name, sizeof(name));
	X509_free(x509);
	cr_assert_str_eq(name, subject);
}

Test(context, sni_and_key_type_choose_the_certificate)
{
	static const struct {
		const char *sni, *sigalgs, *subject;
	} cases[] = {
		{NULL, NULL, "default"},
		{"mx.example.org", NULL, "example"},
		{"MX.Example.ORG", NULL, "example"},
		{"mx.example.org", "RSA-PSS+SHA256:RSA+SHA256", "example-rsa"},
		{"a.example.net", "ECDSA+SHA256", "example"},
		{"a.example.net", "RSA-PSS+SHA256:RSA+SHA256", "example-rsa"},
		{"a.b.example.net", NULL, "default"},
		{"example.net", NULL, "default"},
		{"*.example.net", NULL, "example"},
		{"other.example.org", NULL, "other"},
		{"unknown.example.org", NULL, "default"},
		{"org", NULL, "default"},
	};
	struct rig_settings settings;
	struct tls_context *context = names_context(&settings);

	cr_assert_eq(context->sets_n, 3, "names with the same certificates share a set");
	for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
		size_t k = i / 2;
		SSL_CTX *client = rig_client_ctx(i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION, NULL);

		if (cases[k].sigalgs != NULL)
			cr_assert(SSL_CTX_set1_sigalgs_list(client, cases[k].sigalgs));
		rig_open(&rig, context, NULL, KTLS_MODE_OFF, client, cases[k].sni, NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE, "case %zu", k);
		expect_subject(cases[k].subject);
		rig_close(&rig);
	}
	tls_context_release(context);
}

Test(context, ed25519_is_served)
{
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	rig_certificate("ed", RIG_ED25519, 30, 0, 0);
	rig_settings_add(&settings, "ed", other_names);
	context = rig_context(&settings);
	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(0, NULL), "other.example.org",
		NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	expect_subject("ed");
	rig_close(&rig);
	tls_context_release(context);
}

static SSL_SESSION *first_session(struct tls_context *context, uint16_t version, const char *sni)
{
	SSL_SESSION *session;

	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(version, NULL), sni, NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	session = rig_session(&rig);
	rig_close(&rig);
	return session;
}

/* Whether the session is resumed; the handshake succeeds in any case. */
static bool resumes(
	struct tls_context *context, uint16_t version, const char *sni, SSL_SESSION *session)
{
	bool resumed;

	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(version, NULL), sni, session);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	resumed = tls_conn_info(rig.conn)->resumed;
	cr_assert_eq(resumed, SSL_session_reused(rig.client) == 1);
	cr_assert_str_neq(tls_conn_info(rig.conn)->group, "-");
	rig_close(&rig);
	return resumed;
}

Test(context, a_ticket_resumes_only_under_its_own_certificate)
{
	struct rig_settings settings;
	struct tls_context *context = names_context(&settings);

	for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_SESSION *session = first_session(context, version, "mx.example.org");

		cr_assert(resumes(context, version, "mx.example.org", session));
		SSL_SESSION_free(session);
		session = first_session(context, version, "mx.example.org");
		cr_assert(!resumes(context, version, "other.example.org", session));
		SSL_SESSION_free(session);
		session = first_session(context, version, "mx.example.org");
		cr_assert(!resumes(context, version, NULL, session));
		SSL_SESSION_free(session);
		session = first_session(context, version, NULL);
		cr_assert(!resumes(context, version, "mx.example.org", session));
		SSL_SESSION_free(session);
	}
	tls_context_release(context);
}

Test(context, a_ticket_does_not_cross_a_change_of_policy)
{
	struct rig_settings settings;
	struct tls_context *lenient, *other;

	rig_settings(&settings);
	lenient = rig_context(&settings);
	for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_SESSION *session = first_session(lenient, version, NULL);

		settings.tls.client_certificate_request = true;
		other = rig_context(&settings);
		settings.tls.client_certificate_request = false;
		cr_assert(!resumes(other, version, NULL, session));
		tls_context_release(other);
		SSL_SESSION_free(session);
	}
	tls_context_release(lenient);
}

Test(context, a_new_certificate_ends_old_tickets)
{
	struct rig_settings settings;
	struct tls_context *before, *after;
	SSL_SESSION *session;

	rig_settings(&settings);
	before = rig_context(&settings);
	session = first_session(before, TLS1_3_VERSION, NULL);
	rig_certificate("default", RIG_EC, 60, 0, 0);
	after = rig_context(&settings);
	cr_assert(!resumes(after, TLS1_3_VERSION, NULL, session));
	SSL_SESSION_free(session);
	session = first_session(before, TLS1_3_VERSION, NULL);
	cr_assert(resumes(before, TLS1_3_VERSION, NULL, session), "connections keep their own");
	SSL_SESSION_free(session);
	tls_context_release(before);
	tls_context_release(after);
}

static uint64_t real_us = 1700000000ull * 1000000;

/* Tickets outlive a restart (the file), the way to a worker (pack) and two rotations, not three.
 * OpenSSL's own clock is not ours: only the keys age here. */
Test(context, tickets_across_restart_and_rotation)
{
	struct rig_settings settings;
	struct tls_context *context;
	SSL_SESSION *session;

	clock_set_for_test(NULL, &real_us);
	rig_settings(&settings);
	for (int rotations = 0; rotations < 4; rotations++) {
		context = rig_context(&settings);
		session = first_session(context, TLS1_2_VERSION, NULL);
		tls_context_release(context);
		for (int i = 0; i < rotations; i++) {
			real_us += 86400ull * 1000000;
			tls_context_release(rig_context(&settings));
		}
		context = rig_context(&settings);
		cr_assert_eq(resumes(context, TLS1_2_VERSION, NULL, session), rotations < 3,
			"%d rotations", rotations);
		tls_context_release(context);
		SSL_SESSION_free(session);
	}
}

Test(context, a_ticket_under_an_old_key_is_renewed)
{
	struct rig_settings settings;
	struct tls_context *context;
	SSL_SESSION *session, *renewed;
	const unsigned char *old_ticket, *new_ticket;
	size_t old_n, new_n;

	clock_set_for_test(NULL, &real_us);
	rig_settings(&settings);
	context = rig_context(&settings);
	session = first_session(context, TLS1_2_VERSION, NULL);
	tls_context_release(context);
	real_us += 86400ull * 1000000;
	context = rig_context(&settings);
	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(TLS1_2_VERSION, NULL), NULL,
		session);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	cr_assert(tls_conn_info(rig.conn)->resumed);
	renewed = rig_session(&rig);
	SSL_SESSION_get0_ticket(session, &old_ticket, &old_n);
	SSL_SESSION_get0_ticket(renewed, &new_ticket, &new_n);
	cr_assert(memcmp(new_ticket, context->tickets.keys[0].name, TLS_TICKET_NAME_SIZE) == 0);
	cr_assert(memcmp(old_ticket, context->tickets.keys[1].name, TLS_TICKET_NAME_SIZE) == 0);
	SSL_SESSION_free(session);
	SSL_SESSION_free(renewed);
	rig_close(&rig);
	tls_context_release(context);
}

/* RFC 8446 C.4: a client should not use a ticket twice, so each connection brings the next one. */
Test(context, under_tls13_every_connection_brings_a_ticket)
{
	struct rig_settings settings;
	struct tls_context *context;
	SSL_SESSION *session, *next;
	const unsigned char *ticket, *next_ticket;
	size_t n, next_n;

	rig_settings(&settings);
	context = rig_context(&settings);
	session = first_session(context, TLS1_3_VERSION, NULL);
	for (int i = 0; i < 3; i++) {
		rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(TLS1_3_VERSION, NULL),
			NULL, session);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		cr_assert(tls_conn_info(rig.conn)->resumed);
		next = rig_session(&rig);
		SSL_SESSION_get0_ticket(session, &ticket, &n);
		SSL_SESSION_get0_ticket(next, &next_ticket, &next_n);
		cr_assert(next_n != n || memcmp(ticket, next_ticket, n) != 0, "no new ticket");
		SSL_SESSION_free(session);
		session = next;
		rig_close(&rig);
	}
	SSL_SESSION_free(session);
	tls_context_release(context);
}

Test(context, without_a_ticket_file_there_are_no_tickets)
{
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	settings.tls.ticket_keys = NULL;
	context = rig_context(&settings);
	for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		char plain[8];

		rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(version, NULL), NULL,
			NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		rig_client_read(&rig, plain, sizeof(plain));
		cr_assert(!SSL_SESSION_has_ticket(SSL_get_session(rig.client)));
		rig_close(&rig);
	}
	tls_context_release(context);
}

Test(context, certificates_that_clash_are_refused)
{
	struct rig_settings settings;

	rig_settings(&settings);
	rig_certificate("second", RIG_EC, 30, 0, 0);
	rig_settings_add(&settings, "second", NULL);
	cr_assert(
		strstr(rig_load_error(&settings), "\"default\" and \"second\" have the same key"));

	rig_settings(&settings);
	settings.certificates[0].names = other_names;
	settings.certificates[0].names_n = 1;
	cr_assert(strstr(rig_load_error(&settings), "no default certificate"));
}

#define THREADS    4
#define HANDSHAKES 10

static void *handshakes(void *arg)
{
	struct tls_context *context = arg;
	struct rig *mine = calloc(1, sizeof(*mine));

	for (int i = 0; i < HANDSHAKES; i++) {
		rig_open(mine, tls_context_hold(context), &rig_kernel_all, KTLS_MODE_ALWAYS,
			rig_client_ctx(i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION, NULL), NULL, NULL);
		cr_assert(rig_handshake(mine) == TLS_STEP_DONE);
		rig_close(mine);
		tls_context_release(context);
	}
	free(mine);
	tls_context_release(context);
	return NULL;
}

Test(context, threads_share_it)
{
	struct rig_settings settings;
	struct tls_context *context;
	pthread_t threads[THREADS];

	rig_settings(&settings);
	context = rig_context(&settings);
	for (int i = 0; i < THREADS; i++)
		cr_assert(pthread_create(
				  &threads[i], NULL, handshakes, tls_context_hold(context)) == 0);
	tls_context_release(context); /* the last thread frees it */
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}
