/* SPDX-License-Identifier: MIT */
/*
 * What is planted is right: records sealed and opened with nothing but the crypto_info that went
 * to setsockopt(2) are understood by the real client, in all suites, at once and after traffic.
 * And what happens when the kernel says no.
 */
#include "rig.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <criterion/criterion.h>
#include "base/counter.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#define TCP_ULP_OPTION 31
#define FD             99 /* never touched */

static struct rig rig;
static struct krecord tx, rx;
static uint8_t record[TLS_RECORD_MAX], plain[TLS_RECORD_MAX];

static void kernel_to_client(const char *text)
{
	size_t n = krecord_seal(&tx, 23, text, strlen(text), record);
	char got[64];

	rig_give_client(&rig, record, n);
	cr_assert(rig_client_read(&rig, got, strlen(text)) == strlen(text), "%s", text);
	cr_assert(memcmp(got, text, strlen(text)) == 0);
}

static void client_to_kernel(const char *text)
{
	struct span in;
	uint8_t type;

	rig_client_write(&rig, text, strlen(text));
	in = span_of(rig.up.p + rig.up.start, rig.up.end - rig.up.start);
	cr_assert(krecord_open(&rx, &in, &type, plain) == (long)strlen(text), "%s", text);
	cr_assert(type == 23 && in.n == 0 && memcmp(plain, text, strlen(text)) == 0);
	rig.up.start = rig.up.end = 0;
}

static void user_space_traffic(int records)
{
	char got[64];
	size_t n;

	for (int i = 0; i < records; i++) {
		rig_client_write(&rig, "NOOP\r\n", 6);
		cr_assert(rig_server_read(&rig, got, sizeof(got), &n) == TLS_IO_MORE && n == 6);
		if (i % 2 == 0)
			rig_server_write(&rig, "250 2.0.0 Ok\r\n", 14);
	}
	rig_client_read(&rig, got, sizeof(got));
}

static void plant(unsigned directions)
{
	rig_setsockopt(-1, 0);
	cr_assert((tls_conn_ktls_wanted(rig.conn) & directions) == directions);
	cr_assert(tls_conn_plant(rig.conn, FD, directions) >= 0);
	cr_assert(rig_calls[0].level == IPPROTO_TCP && rig_calls[0].name == TCP_ULP_OPTION &&
		  memcmp(rig_calls[0].value, "tls", 3) == 0);
	if (directions & TLS_KTLS_TX)
		krecord_load(&tx, rig_call_last(SOL_TLS, TLS_TX));
	if (directions & TLS_KTLS_RX)
		krecord_load(&rx, rig_call_last(SOL_TLS, TLS_RX));
}

static struct tls_context *both_keys_context(void)
{
	struct rig_settings settings;

	rig_settings(&settings);
	rig_certificate("rsa", RIG_RSA, 30, 0, 0);
	rig_settings_add(&settings, "rsa", NULL);
	return rig_context(&settings);
}

static void open_done(
	struct tls_context *context, const struct rig_suite *suite, SSL_SESSION *session)
{
	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS,
		rig_client_ctx(suite->version, suite->name), NULL, session);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
}

Test(ktls, planted_keys_continue_the_connection)
{
	static const int traffic[] = {0, 1, 7};
	struct tls_context *context = both_keys_context();

	for (size_t i = 0; i < rig_suites_n; i++) {
		for (size_t k = 0; k < COUNT_OF(traffic); k++) {
			bool tls13 = rig_suites[i].version == TLS1_3_VERSION;

			open_done(context, &rig_suites[i], NULL);
			user_space_traffic(traffic[k]);
			plant(TLS_KTLS_TX | TLS_KTLS_RX);
			cr_assert_eq(tx.sequence, (uint64_t)(traffic[k] + 1) / 2 + 1,
				"one ticket, or Finished");
			cr_assert_eq(rx.sequence, (uint64_t)traffic[k] + !tls13);
			cr_assert(tls_conn_planted(rig.conn) == (TLS_KTLS_TX | TLS_KTLS_RX));
			cr_assert(rig.conn->ssl == NULL, "the SSL object is gone");
			cr_assert(tls_conn_ktls_wanted(rig.conn) == 0);
			cr_assert_eq(rig_call_last(SOL_TLS, TLS_RX_EXPECT_NO_PAD) != NULL, tls13);
			for (int n = 0; n < 3; n++) {
				kernel_to_client("220 hello");
				client_to_kernel("EHLO x");
			}
			rig_close(&rig);
		}
	}
	tls_context_release(context);
}

Test(ktls, each_direction_on_its_own_and_late)
{
	struct tls_context *context = both_keys_context();

	for (size_t i = 0; i < rig_suites_n; i++) {
		char got[64];
		size_t n;

		open_done(context, &rig_suites[i], NULL);
		plant(TLS_KTLS_TX);
		cr_assert_eq(rig.conn->ssl != NULL, rig_suites[i].version == TLS1_2_VERSION);
		kernel_to_client("tx alone");
		rig_client_write(&rig, "user space rx", 13);
		cr_assert(rig_server_read(&rig, got, sizeof(got), &n) == TLS_IO_MORE && n == 13);
		rig_setsockopt(-1, 0);
		cr_assert(tls_conn_ktls_wanted(rig.conn) == TLS_KTLS_RX);
		cr_assert(tls_conn_plant(rig.conn, FD, TLS_KTLS_RX) == (TLS_KTLS_TX | TLS_KTLS_RX));
		cr_assert(rig_calls[0].level == SOL_TLS, "the ULP is not attached twice");
		krecord_load(&rx, rig_call_last(SOL_TLS, TLS_RX));
		client_to_kernel("then rx");
		kernel_to_client("and tx still");
		rig_close(&rig);

		open_done(context, &rig_suites[i], NULL);
		plant(TLS_KTLS_RX);
		client_to_kernel("rx alone");
		rig_server_write(&rig, "user space tx", 13);
		cr_assert(rig_client_read(&rig, got, 13) == 13);
		rig_close(&rig);
	}
	tls_context_release(context);
}

Test(ktls, resumed_connections_too)
{
	struct tls_context *context = both_keys_context();

	for (size_t i = 0; i < rig_suites_n; i++) {
		SSL_SESSION *session;

		open_done(context, &rig_suites[i], NULL);
		session = rig_session(&rig);
		rig_close(&rig);
		open_done(context, &rig_suites[i], session);
		cr_assert(tls_conn_info(rig.conn)->resumed);
		plant(TLS_KTLS_TX | TLS_KTLS_RX);
		kernel_to_client("220 hello again");
		client_to_kernel("EHLO again");
		SSL_SESSION_free(session);
		rig_close(&rig);
	}
	tls_context_release(context);
}

/* Keys that changed in user space are followed. */
Test(ktls, planted_after_key_updates)
{
	struct tls_context *context = both_keys_context();

	for (size_t i = 0; i < 3; i++) {
		open_done(context, &rig_suites[i], NULL);
		user_space_traffic(2);
		SSL_key_update(rig.client, SSL_KEY_UPDATE_NOT_REQUESTED);
		user_space_traffic(3);
		SSL_key_update(rig.client, SSL_KEY_UPDATE_REQUESTED);
		user_space_traffic(4);
		plant(TLS_KTLS_TX | TLS_KTLS_RX);
		cr_assert_eq(rx.sequence, 4);
		cr_assert_eq(tx.sequence, 2);
		kernel_to_client("new keys");
		client_to_kernel("both ways");
		rig_close(&rig);
	}
	tls_context_release(context);
}

Test(ktls, nothing_is_wanted_at_the_wrong_moment)
{
	struct tls_context *context = both_keys_context();
	char got[64];
	struct span in;
	size_t n;

	open_done(context, &rig_suites[0], NULL);
	rig_client_write(&rig, "half a record", 13);
	in = span_of(rig.up.p, 5);
	cr_assert(tls_conn_read(rig.conn, &in, plain, sizeof(plain), &n, &rig.out) == TLS_IO_MORE);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == TLS_KTLS_TX, "half a record");
	in = span_of(rig.up.p + 5, rig.up.end - 5);
	cr_assert(tls_conn_read(rig.conn, &in, plain, 4, &n, &rig.out) == TLS_IO_OK && n == 4);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == TLS_KTLS_TX, "plaintext waits");
	cr_assert(tls_conn_read(rig.conn, &in, plain, 64, &n, &rig.out) == TLS_IO_OK && n == 9);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == (TLS_KTLS_TX | TLS_KTLS_RX));
	rig.up.start = rig.up.end = 0;

	SSL_key_update(rig.client, SSL_KEY_UPDATE_REQUESTED);
	rig_client_write(&rig, "x", 1);
	cr_assert(rig_server_read(&rig, got, sizeof(got), &n) == TLS_IO_MORE && n == 1);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == 0, "a KeyUpdate is owed");
	rig_server_write(&rig, "y", 1);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == (TLS_KTLS_TX | TLS_KTLS_RX));
	rig_close(&rig);
	tls_context_release(context);
}

/* With TX alone in the kernel a KeyUpdate that needs an answer cannot have one. */
Test(ktls, key_update_request_under_tx_alone_ends_it)
{
	struct tls_context *context = both_keys_context();
	char got[8];
	size_t n;

	open_done(context, &rig_suites[0], NULL);
	plant(TLS_KTLS_TX);
	SSL_key_update(rig.client, SSL_KEY_UPDATE_NOT_REQUESTED);
	rig_client_write(&rig, "fine", 4);
	cr_assert(rig_server_read(&rig, got, sizeof(got), &n) == TLS_IO_MORE && n == 4);
	SSL_key_update(rig.client, SSL_KEY_UPDATE_REQUESTED);
	rig_client_write(&rig, "not", 3);
	cr_assert(rig_server_read(&rig, got, sizeof(got), &n) == TLS_IO_REFUSED && n == 0);
	cr_assert(buf_len(&rig.out) == 0, "nothing under stale keys goes out");
	cr_assert(counter_sum(COUNTER_TLS_KEYUPDATE_REFUSED) == 1);
	rig_close(&rig);
	tls_context_release(context);
}

Test(ktls, refusals_of_the_kernel)
{
	enum { ULP = 0, FIRST = 1, SECOND = 2, NO_PAD = 3 };
	static const struct {
		int call, error, result;
	} cases[] = {
		{ULP, ENOENT, 0},
		{ULP, ENOPROTOOPT, 0},
		{ULP, EPERM, 0},
		{ULP, ENOTCONN, -ENOTCONN},
		{ULP, EEXIST, TLS_KTLS_TX | TLS_KTLS_RX},
		{FIRST, EINVAL, 0},
		{FIRST, ENOTCONN, -ENOTCONN},
		{SECOND, EINVAL, -EINVAL},
		{SECOND, EBUSY, -EBUSY},
		{NO_PAD, EINVAL, TLS_KTLS_TX | TLS_KTLS_RX},
	};
	static const uint8_t zero[TLS_SECRET_MAX];

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tls_context *context = both_keys_context();
		char got[8];
		size_t n;
		int result;

		open_done(context, &rig_suites[0], NULL);
		rig_setsockopt(cases[i].call, cases[i].error);
		result = tls_conn_plant(rig.conn, FD, TLS_KTLS_TX | TLS_KTLS_RX);
		cr_assert_eq(result, cases[i].result, "case %zu: %d", i, result);
		if (result < 0) {
			cr_assert(memcmp(rig.conn->half[0].secret, zero, sizeof(zero)) == 0);
			cr_assert(memcmp(rig.conn->half[1].secret, zero, sizeof(zero)) == 0);
		}
		if (result <= 0)
			cr_assert(tls_conn_ktls_wanted(rig.conn) == 0);
		if (result == 0) { /* user space goes on, with large reads */
			cr_assert(tls_conn_want(rig.conn) > TLS_RECORD_MAX);
			rig_client_write(&rig, "go on", 5);
			cr_assert(rig_server_read(&rig, got, sizeof(got), &n) == TLS_IO_MORE);
			cr_assert(n == 5);
			rig_server_write(&rig, "250 Ok", 6);
			cr_assert(rig_client_read(&rig, got, 6) == 6);
		}
		rig_close(&rig);
		/* Only the absence of the ULP holds for all connections. */
		open_done(context, &rig_suites[0], NULL);
		cr_assert_eq(tls_conn_ktls_wanted(rig.conn) == 0, cases[i].error == ENOENT);
		rig_close(&rig);
		tls_context_release(context);
	}
}

Test(ktls, secrets_stay_only_where_keys_may_change)
{
	static const uint8_t zero[TLS_SECRET_MAX];
	struct tls_kernel kernel = rig_kernel_all;
	struct tls_context *context = both_keys_context();

	for (int rekey = 0; rekey < 2; rekey++) {
		kernel.rekey = rekey == 1;
		rig_open(&rig, context, &kernel, KTLS_MODE_ALWAYS,
			rig_client_ctx(TLS1_3_VERSION, NULL), NULL, NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		plant(TLS_KTLS_TX | TLS_KTLS_RX);
		for (int i = 0; i < 2; i++)
			cr_assert_eq(memcmp(rig.conn->half[i].secret, zero, sizeof(zero)) != 0,
				rekey == 1);
		rig_close(&rig);
	}
	tls_context_release(context);
}
