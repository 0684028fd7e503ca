/* SPDX-License-Identifier: MIT */
/* Control records of a kTLS socket: alerts, KeyUpdate against a real client, and nonsense. */
#include "rig.h"

#include <errno.h>
#include <linux/tls.h>

#include <criterion/criterion.h>

#include "base/counter.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#define FD 99 /* never touched */

static struct rig rig;
static struct krecord tx, rx;
static uint8_t record[TLS_RECORD_MAX], plain[TLS_RECORD_MAX];
static struct tls_control_record reply;

static void open_planted(const struct tls_kernel *kernel, uint16_t version, const char *suite)
{
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	context = rig_context(&settings);
	rig_open(&rig, context, kernel, KTLS_MODE_ALWAYS, rig_client_ctx(version, suite), NULL,
		NULL);
	tls_context_release(context); /* the connection holds it */
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	rig_setsockopt(-1, 0);
	cr_assert(tls_conn_plant(rig.conn, FD, TLS_KTLS_TX | TLS_KTLS_RX) ==
		  (TLS_KTLS_TX | TLS_KTLS_RX));
	krecord_load(&tx, rig_call_last(SOL_TLS, TLS_TX));
	krecord_load(&rx, rig_call_last(SOL_TLS, TLS_RX));
}

/* The next record of the client as the kernel would hand it out. */
static struct span client_record(uint8_t *type)
{
	struct span in = span_of(rig.up.p + rig.up.start, rig.up.end - rig.up.start);
	long n = krecord_open(&rx, &in, type, plain);

	cr_assert(n >= 0);
	rig.up.start = rig.up.end - in.n;
	return span_of(plain, (size_t)n);
}

static enum tls_control give(uint8_t type, const void *bytes, size_t n)
{
	return tls_conn_control(rig.conn, FD, type, span_of(bytes, n), &reply);
}

static void expect_data_both_ways(const char *text)
{
	size_t n = krecord_seal(&tx, 23, text, strlen(text), record);
	struct span got;
	uint8_t type;

	rig_give_client(&rig, record, n);
	cr_assert(rig_client_read(&rig, plain, strlen(text)) == strlen(text), "%s", text);
	rig_client_write(&rig, text, strlen(text));
	got = client_record(&type);
	cr_assert(type == 23 && span_equal(got, span_str(text)), "%s", text);
}

static void key_update_once(int request, bool asks)
{
	enum tls_control control;
	struct span body;
	uint8_t type;

	SSL_key_update(rig.client, request);
	SSL_do_handshake(rig.client);
	rig_pump(&rig);
	body = client_record(&type);
	cr_assert(type == 22 && body.n == 5);
	control = give(type, body.p, body.n);
	cr_assert_eq(control, asks ? TLS_CONTROL_REPLY : TLS_CONTROL_IGNORE);
	krecord_load(&rx, rig_call_last(SOL_TLS, TLS_RX));
	cr_assert(rx.sequence == 0);
	if (!asks)
		return;
	cr_assert(reply.type == 22 && reply.n == 5 && reply.bytes[4] == 0);
	rig_give_client(&rig, record, krecord_seal(&tx, 22, reply.bytes, reply.n, record));
	cr_assert(tls_conn_control_sent(rig.conn, FD) == 0);
	krecord_load(&tx, rig_call_last(SOL_TLS, TLS_TX));
	cr_assert(tx.sequence == 0);
}

Test(control, key_update_re_keys_both_directions)
{
	for (size_t i = 0; i < 3; i++) {
		open_planted(&rig_kernel_all, TLS1_3_VERSION, rig_suites[i].name);
		expect_data_both_ways("before");
		key_update_once(SSL_KEY_UPDATE_NOT_REQUESTED, false);
		expect_data_both_ways("the client's keys are new");
		key_update_once(SSL_KEY_UPDATE_REQUESTED, true);
		expect_data_both_ways("all keys are new");
		key_update_once(SSL_KEY_UPDATE_REQUESTED, true);
		expect_data_both_ways("and again");
		rig_close(&rig);
	}
	cr_assert(counter_sum(COUNTER_TLS_KEYUPDATE) == 9);
}

Test(control, one_answer_serves_requests_that_came_together)
{
	static const uint8_t request[] = {24, 0, 0, 1, 1};

	open_planted(&rig_kernel_all, TLS1_3_VERSION, NULL);
	cr_assert(give(22, request, 5) == TLS_CONTROL_REPLY);
	cr_assert(give(22, request, 5) == TLS_CONTROL_IGNORE);
	cr_assert(tls_conn_control_sent(rig.conn, FD) == 0);
	cr_assert(give(22, request, 5) == TLS_CONTROL_REPLY);
	rig_close(&rig);
}

Test(control, key_update_is_answered_by_closing_where_the_kernel_cannot)
{
	struct tls_kernel kernel = {.tx = true, .rx = true};
	static const uint8_t update[] = {24, 0, 0, 1, 0};
	size_t calls;

	open_planted(&kernel, TLS1_3_VERSION, NULL);
	calls = rig_calls_n;
	cr_assert(give(22, update, 5) == TLS_CONTROL_REPLY);
	cr_assert(reply.type == 21 && reply.n == 2 && reply.bytes[0] == 1 && reply.bytes[1] == 0);
	cr_assert(calls == rig_calls_n, "no key is touched");
	cr_assert(counter_sum(COUNTER_TLS_KEYUPDATE_REFUSED) == 1);
	rig_give_client(&rig, record, krecord_seal(&tx, 21, reply.bytes, reply.n, record));
	cr_assert(rig_client_read(&rig, plain, 1) == 0);
	cr_assert(SSL_get_shutdown(rig.client) & SSL_RECEIVED_SHUTDOWN);
	cr_assert(give(22, update, 5) == TLS_CONTROL_IGNORE, "we are leaving");
	cr_assert(tls_conn_control_sent(rig.conn, FD) == -ESHUTDOWN);
	rig_close(&rig);
}

Test(control, a_re_key_that_fails_ends_it)
{
	static const uint8_t request[] = {24, 0, 0, 1, 1};

	open_planted(&rig_kernel_all, TLS1_3_VERSION, NULL);
	rig_setsockopt(0, EBUSY);
	cr_assert(give(22, request, 5) == TLS_CONTROL_FAIL);
	rig_close(&rig);
	open_planted(&rig_kernel_all, TLS1_3_VERSION, NULL);
	rig_setsockopt(1, EBUSY);
	cr_assert(give(22, request, 5) == TLS_CONTROL_REPLY);
	cr_assert(tls_conn_control_sent(rig.conn, FD) == -EBUSY);
	rig_close(&rig);
}

Test(control, under_rx_alone_user_space_answers)
{
	struct rig_settings settings;
	struct tls_context *context;
	struct span body;
	uint8_t type;

	rig_settings(&settings);
	context = rig_context(&settings);
	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS,
		rig_client_ctx(TLS1_3_VERSION, NULL), NULL, NULL);
	tls_context_release(context);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	rig_setsockopt(-1, 0);
	cr_assert(tls_conn_plant(rig.conn, FD, TLS_KTLS_RX) == TLS_KTLS_RX);
	krecord_load(&rx, rig_call_last(SOL_TLS, TLS_RX));
	SSL_key_update(rig.client, SSL_KEY_UPDATE_REQUESTED);
	rig_client_write(&rig, "new keys", 8);
	body = client_record(&type);
	cr_assert(give(type, body.p, body.n) == TLS_CONTROL_IGNORE);
	krecord_load(&rx, rig_call_last(SOL_TLS, TLS_RX));
	body = client_record(&type);
	cr_assert(type == 23 && body.n == 8);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == 0, "a KeyUpdate is owed");
	rig_server_write(&rig, "answer", 6);
	cr_assert(rig_client_read(&rig, plain, 6) == 6);
	cr_assert(tls_conn_plant(rig.conn, FD, TLS_KTLS_TX) == (TLS_KTLS_TX | TLS_KTLS_RX));
	krecord_load(&tx, rig_call_last(SOL_TLS, TLS_TX));
	expect_data_both_ways("planted after the answer");
	rig_close(&rig);
}

static const struct {
	uint8_t type;
	uint8_t n;
	uint8_t bytes[12];
	enum tls_control in_13, in_12;
} cases[] = {
	{21, 2, {1, 0}, TLS_CONTROL_EOF, TLS_CONTROL_EOF},
	{21, 2, {2, 0}, TLS_CONTROL_EOF, TLS_CONTROL_EOF},
	{21, 2, {1, 90}, TLS_CONTROL_IGNORE, TLS_CONTROL_IGNORE},
	{21, 2, {2, 90}, TLS_CONTROL_IGNORE, TLS_CONTROL_IGNORE},
	{21, 2, {1, 100}, TLS_CONTROL_FAIL, TLS_CONTROL_IGNORE},
	{21, 2, {2, 20}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{21, 0, {0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{21, 1, {1}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{21, 4, {1, 90, 1, 0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{22, 0, {0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{22, 4, {24, 0, 0, 1}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{22, 5, {24, 0, 0, 1, 0}, TLS_CONTROL_IGNORE, TLS_CONTROL_FAIL},
	{22, 5, {24, 0, 0, 1, 2}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{22, 5, {24, 0, 0, 2, 0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{22, 5, {24, 1, 0, 1, 0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{22, 10, {24, 0, 0, 1, 0, 24, 0, 0, 1, 0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{22, 4, {1, 0, 0, 0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},  /* ClientHello */
	{22, 4, {11, 0, 0, 0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL}, /* Certificate */
	{20, 1, {1}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
	{24, 3, {1, 0, 0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL}, /* heartbeat */
	{0, 0, {0}, TLS_CONTROL_FAIL, TLS_CONTROL_FAIL},
};

Test(control, strict_about_what_comes)
{
	for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
		size_t k = i / 2;
		uint16_t version = i % 2 ? TLS1_3_VERSION : TLS1_2_VERSION;
		enum tls_control control;

		open_planted(&rig_kernel_all, version, NULL);
		control = give(cases[k].type, cases[k].bytes, cases[k].n);
		cr_assert_eq(control, i % 2 ? cases[k].in_13 : cases[k].in_12, "case %zu, %x: %d",
			k, version, (int)control);
		rig_close(&rig);
	}
}

Test(control, floods_end_the_connection)
{
	static const uint8_t update[] = {24, 0, 0, 1, 0};
	static const uint8_t warning[] = {1, 90};
	int n = 0;

	open_planted(&rig_kernel_all, TLS1_3_VERSION, NULL);
	do {
		rig_calls_n = 0;
		n++;
	} while (n < 1000 && give(22, update, 5) == TLS_CONTROL_IGNORE);
	cr_assert_eq(n, TLS_KEYUPDATES_MAX + 1);
	rig_close(&rig);
	open_planted(&rig_kernel_all, TLS1_2_VERSION, NULL);
	for (n = 1; n < 1000 && give(21, warning, 2) == TLS_CONTROL_IGNORE; n++)
		;
	cr_assert_eq(n, TLS_ALERTS_MAX + 1);
	rig_close(&rig);
}
