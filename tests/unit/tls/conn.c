/* SPDX-License-Identifier: MIT */
/* The handshake and the user-space record layer against a real client. */
#include "rig.h"

#include <criterion/criterion.h>
#include <openssl/err.h>

#include "base/counter.h"

static struct rig rig; /* large */

static void settings_both_keys(struct rig_settings *settings)
{
	rig_settings(settings);
	rig_certificate("rsa", RIG_RSA, 30, 0, 0);
	rig_settings_add(settings, "rsa", NULL);
}

Test(conn, every_suite_and_version_in_every_chunking)
{
	static const size_t chunks[] = {0, 1, 7};
	struct rig_settings settings;
	struct tls_context *context;

	settings_both_keys(&settings);
	context = rig_context(&settings);
	for (size_t i = 0; i < rig_suites_n; i++) {
		const struct rig_suite *suite = &rig_suites[i];

		for (size_t k = 0; k < COUNT_OF(chunks); k++) {
			const struct tls_info *info;

			rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS,
				rig_client_ctx(suite->version, suite->name), NULL, NULL);
			rig.chunk = chunks[k];
			cr_assert(rig_handshake(&rig) == TLS_STEP_DONE, "%s", suite->name);
			cr_assert(SSL_is_init_finished(rig.client));
			info = tls_conn_info(rig.conn);
			cr_assert_str_eq(info->version,
				suite->version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
			cr_assert_str_eq(info->cipher, suite->iana);
			cr_assert_str_eq(info->group, "X25519");
			cr_assert_str_eq(info->sni, "");
			cr_assert_str_eq(info->client, "");
			cr_assert(!info->resumed);
			rig_close(&rig);
		}
	}
	tls_context_release(context);
}

/* The heart of the matter: what a client sends behind its Finished stays in the socket. */
Test(conn, reads_never_pass_finished)
{
	static const char behind[] =
		"\x17\x03\x03\x01\x20 not to be read before the keys are planted";
	struct rig_settings settings;
	struct tls_context *context;

	settings_both_keys(&settings);
	context = rig_context(&settings);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < rig_suites_n; i++) {
			const struct rig_suite *suite = &rig_suites[i];
			SSL_SESSION *session = NULL;

			if (round == 1) { /* resumed */
				rig_open(&rig, context, NULL, KTLS_MODE_OFF,
					rig_client_ctx(suite->version, suite->name), NULL, NULL);
				cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
				session = rig_session(&rig);
				rig_close(&rig);
			}
			rig_open(&rig, context, round == 2 ? NULL : &rig_kernel_all,
				KTLS_MODE_ALWAYS, rig_client_ctx(suite->version, suite->name), NULL,
				session);
			SSL_SESSION_free(session);
			cr_assert(rig_handshake_behind(&rig, behind) == TLS_STEP_DONE, "%s",
				suite->name);
			cr_assert_eq(tls_conn_info(rig.conn)->resumed, round == 1);
			cr_assert_eq(
				rig.up.end - rig.up.start, sizeof(behind) - 1, "%s", suite->name);
			cr_assert_arr_eq(rig.up.p + rig.up.start, behind, sizeof(behind) - 1);
			cr_assert_leq(rig.reads, 3, "%s: %zu reads", suite->name, rig.reads);
			rig_close(&rig);
		}
	}
	tls_context_release(context);
}

Test(conn, real_data_pipelined_behind_finished)
{
	struct rig_settings settings;
	struct tls_context *context;
	char plain[16];
	size_t n;

	rig_settings(&settings);
	context = rig_context(&settings);
	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS,
		rig_client_ctx(TLS1_3_VERSION, NULL), NULL, NULL);
	SSL_do_handshake(rig.client);
	rig_pump(&rig);
	cr_assert(rig_handshake_behind(&rig, NULL) == TLS_STEP_MORE || rig.step == TLS_STEP_DONE);
	rig_client_write(&rig, "EHLO x\r\n", 8);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	cr_assert(rig.up.end - rig.up.start == 5 + 8 + 1 + 16);
	cr_assert(tls_conn_want(rig.conn) == 5);
	rig_server_read(&rig, plain, sizeof(plain), &n);
	cr_assert(n == 8 && memcmp(plain, "EHLO x\r\n", 8) == 0);
	rig_close(&rig);
	tls_context_release(context);
}

/* The hello message cut into records of `piece` octets of its own. */
static size_t fragment_hello(const uint8_t *record, size_t n, size_t piece, uint8_t *out)
{
	size_t size = 0;

	for (size_t at = 5; at < n; at += piece) {
		size_t part = min_size(piece, n - at);

		out[size++] = 22;
		out[size++] = 3;
		out[size++] = 1;
		out[size++] = (uint8_t)(part >> 8);
		out[size++] = (uint8_t)part;
		memcpy(out + size, record + at, part);
		size += part;
	}
	return size;
}

Test(conn, fragmented_client_hello)
{
	static const size_t pieces[] = {1, 3, 50, 200};
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	context = rig_context(&settings);
	for (size_t i = 0; i < COUNT_OF(pieces); i++) {
		static uint8_t records[8192];
		size_t n;

		rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS, rig_client_ctx(0, NULL),
			"mx.example.org", NULL);
		SSL_do_handshake(rig.client);
		rig_pump(&rig);
		n = fragment_hello(rig.up.p, rig.up.end, pieces[i], records);
		memcpy(rig.up.p, records, n);
		rig.up.end = n;
		rig.chunk = i % 2 == 0 ? 0 : 11;
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE, "pieces of %zu", pieces[i]);
		cr_assert_str_eq(tls_conn_info(rig.conn)->sni, "mx.example.org");
		rig_close(&rig);
	}
	tls_context_release(context);
}

Test(conn, hello_retry_for_another_group)
{
	struct rig_settings settings;
	struct tls_context *context;
	SSL_CTX *client;

	rig_settings(&settings);
	context = rig_context(&settings);
	client = rig_client_ctx(TLS1_3_VERSION, NULL);
	cr_assert(SSL_CTX_set1_groups_list(client, "P-521:P-384"));
	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS, client, NULL, NULL);
	cr_assert(rig_handshake_behind(&rig, NULL) == TLS_STEP_DONE);
	cr_assert_str_eq(tls_conn_info(rig.conn)->group, "P-384");
	rig_close(&rig);
	tls_context_release(context);
}

static void expect_failure(
	struct tls_context *context, SSL_CTX *client, enum tls_failure failure, const char *text)
{
	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS, client, NULL, NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_FAIL);
	cr_assert_eq(tls_conn_failure(rig.conn), failure, "%s: %d", text,
		(int)tls_conn_failure(rig.conn));
	cr_assert(strstr(tls_conn_failure_text(rig.conn), text) != NULL, "%s",
		tls_conn_failure_text(rig.conn));
	rig_close(&rig);
}

Test(conn, failures_are_told_apart)
{
	struct rig_settings settings;
	struct tls_context *context;
	SSL_CTX *client;

	rig_settings(&settings);
	context = rig_context(&settings);
	client = rig_client_ctx(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA");
	expect_failure(context, client, TLS_FAILURE_CIPHER, "no shared cipher");
	client = rig_client_ctx(TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256");
	expect_failure(context, client, TLS_FAILURE_CIPHER, "no shared cipher");
	client = rig_client_ctx(TLS1_3_VERSION, NULL);
	SSL_CTX_set1_groups_list(client, "P-521");
	expect_failure(context, client, TLS_FAILURE_CIPHER, "key share");
	client = rig_client_ctx(0, NULL);
	SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS, client, NULL, NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_FAIL);
	cr_assert_str_eq(tls_conn_alert(rig.conn), "unknown_ca");
	rig_close(&rig);
	client = rig_client_ctx(0, NULL);
	SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
	expect_failure(context, client, TLS_FAILURE_ALERT, "alert unknown ca");
	for (uint16_t version = TLS1_VERSION; version <= TLS1_1_VERSION; version++) {
		client = rig_client_ctx(version, "DEFAULT@SECLEVEL=0");
		rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS, client, NULL, NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_FAIL);
		cr_assert_str_eq(tls_conn_alert(rig.conn), "", "no alert of the peer's");
		rig_close(&rig);
		client = rig_client_ctx(version, "DEFAULT@SECLEVEL=0");
		expect_failure(context, client, TLS_FAILURE_VERSION, "unsupported protocol");
	}
	tls_context_release(context);

	settings.tls.version_min = TLS1_3_VERSION;
	context = rig_context(&settings);
	client = rig_client_ctx(TLS1_2_VERSION, NULL);
	expect_failure(context, client, TLS_FAILURE_VERSION, "unsupported protocol");
	tls_context_release(context);
}

Test(conn, garbage_fails_without_a_crash)
{
	static const struct {
		const char *bytes;
		size_t n;
		enum tls_failure failure;
	} hostile[] = {
		{"GET / HTTP/1.0\r\n\r\n", 18, TLS_FAILURE_GARBAGE},
		{"EHLO there\r\n", 12, TLS_FAILURE_GARBAGE},
		/* SSLv2 hello */
		{"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", 11, TLS_FAILURE_VERSION},
		/* oversized record */
		{"\x16\x03\x01\xff\xff\x01\x00\x00", 8, TLS_FAILURE_GARBAGE},
		/* empty records */
		{"\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00", 10, TLS_FAILURE_NONE},
		{"\x17\x03\x03\x00\x05hello", 10, TLS_FAILURE_GARBAGE},
		/* an alert, about nothing */
		{"\x15\x03\x01\x00\x02\x02\x28", 7, TLS_FAILURE_GARBAGE},
		{"\x14\x03\x03\x00\x01\x01", 6, TLS_FAILURE_GARBAGE},
		/* a server hello */
		{"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9, TLS_FAILURE_GARBAGE},
		{"\x80garbage that begins as an SSLv2 hello may", 42, TLS_FAILURE_GARBAGE},
		{"\x16\x02\x00\x00\x04\x01\x00\x00\x00", 9, TLS_FAILURE_GARBAGE},
	};
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	context = rig_context(&settings);
	for (size_t i = 0; i < COUNT_OF(hostile); i++) {
		struct tls_conn *conn = tls_conn_open(context, &rig_kernel_all, KTLS_MODE_ALWAYS);
		struct span in = span_of(hostile[i].bytes, hostile[i].n);

		buf_init(&rig.out, rig.out_storage, sizeof(rig.out_storage));
		cr_assert(tls_conn_handshake(conn, &in, &rig.out) == TLS_STEP_FAIL ||
				  (i == 4 && in.n == 0),
			"case %zu", i);
		if (i != 4)
			cr_assert_eq(tls_conn_failure(conn), hostile[i].failure, "case %zu: %d", i,
				(int)tls_conn_failure(conn));
		cr_assert_str_eq(tls_conn_alert(conn), "");
		cr_assert(ERR_peek_error() == 0);
		tls_conn_close(conn);
	}
	tls_context_release(context);
}

/* A hello that never ends is cut off at TLS_HANDSHAKE_IN_MAX. */
Test(conn, endless_hello_is_cut_off)
{
	static uint8_t record[5 + 16384] = {22, 3, 1, 0x40, 0};
	struct rig_settings settings;
	struct tls_context *context;
	struct tls_conn *conn;
	enum tls_step step = TLS_STEP_MORE;
	size_t fed = 0;

	rig_settings(&settings);
	context = rig_context(&settings);
	conn = tls_conn_open(context, &rig_kernel_all, KTLS_MODE_ALWAYS);
	memcpy(record + 5, "\x01\x01\xff\xf0\x03\x03", 6); /* announces 131056 octets */
	buf_init(&rig.out, rig.out_storage, sizeof(rig.out_storage));
	while (step == TLS_STEP_MORE && fed < 10 * sizeof(record)) {
		struct span in = span_of(record, sizeof(record));

		step = tls_conn_handshake(conn, &in, &rig.out);
		fed += sizeof(record);
	}
	cr_assert(step == TLS_STEP_FAIL);
	cr_assert(fed <= TLS_HANDSHAKE_IN_MAX + 2 * sizeof(record));
	tls_conn_close(conn);
	tls_context_release(context);
}

static void exchange(size_t n)
{
	static uint8_t sent[100000];
	static uint8_t got[100000];
	size_t got_n;

	for (size_t i = 0; i < n; i++)
		sent[i] = (uint8_t)(i * 7 + n);
	rig_client_write(&rig, sent, n);
	rig_server_read(&rig, got, n, &got_n);
	cr_assert(got_n == n && memcmp(got, sent, n) == 0, "up %zu", n);
	rig_server_write(&rig, sent, n);
	cr_assert(rig_client_read(&rig, got, n) == n && memcmp(got, sent, n) == 0, "down %zu", n);
}

Test(conn, user_space_data_both_ways)
{
	static const size_t sizes[] = {1, 100, 16384, 16385, 100000};
	static const size_t chunks[] = {0, 1, 1000};
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	context = rig_context(&settings);
	for (size_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		for (size_t k = 0; k < 2 * COUNT_OF(chunks); k++) {
			rig_open(&rig, context, k % 2 == 0 ? &rig_kernel_all : NULL,
				KTLS_MODE_ALWAYS, rig_client_ctx((uint16_t)version, NULL), NULL,
				NULL);
			cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
			rig.chunk = chunks[k / 2];
			for (size_t i = 0; i < COUNT_OF(sizes); i++)
				exchange(sizes[i]);
			rig_close(&rig);
		}
	}
	tls_context_release(context);
}

Test(conn, write_takes_what_fits)
{
	static uint8_t plain[40000];
	struct rig_settings settings;
	struct tls_context *context;
	struct span rest = span_of(plain, sizeof(plain));
	struct buf out;

	rig_settings(&settings);
	context = rig_context(&settings);
	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(0, NULL), NULL, NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	buf_init(&out, rig.out_storage, 20000);
	cr_assert(tls_conn_write(rig.conn, &rest, &out) == TLS_IO_OK);
	cr_assert(rest.n > 20000 && rest.n < sizeof(plain) - 19000);
	buf_init(&out, rig.out_storage, 10);
	cr_assert(tls_conn_write(rig.conn, &rest, &out) == TLS_IO_OK);
	cr_assert(buf_len(&out) == 0);
	for (size_t n = 1; n < sizeof(plain); n += 1021) {
		rest = span_of(plain, n);
		cr_assert(tls_conn_write_room(n) <= sizeof(rig.up.p));
		buf_init(&out, rig.up.p, tls_conn_write_room(n));
		cr_assert(tls_conn_write(rig.conn, &rest, &out) == TLS_IO_OK);
		cr_assert(rest.n == 0, "%zu octets of %zu are left", rest.n, n);
	}
	rig_close(&rig);
	tls_context_release(context);
}

Test(conn, close_notify_both_ways)
{
	struct rig_settings settings;
	struct tls_context *context;
	char plain[8];
	size_t n;

	rig_settings(&settings);
	context = rig_context(&settings);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		rig_open(&rig, context, NULL, KTLS_MODE_OFF,
			rig_client_ctx((uint16_t)version, NULL), NULL, NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		rig_client_write(&rig, "bye", 3);
		SSL_shutdown(rig.client);
		rig_pump(&rig);
		cr_assert(rig_server_read(&rig, plain, sizeof(plain), &n) == TLS_IO_EOF);
		cr_assert(n == 3);
		tls_conn_shutdown(rig.conn, &rig.out);
		cr_assert(buf_len(&rig.out) > 0);
		rig_pump(&rig);
		cr_assert(SSL_shutdown(rig.client) == 1);
		rig_close(&rig);
	}
	tls_context_release(context);
}

Test(conn, a_damaged_record_fails_and_sends_an_alert)
{
	struct rig_settings settings;
	struct tls_context *context;
	char plain[64];
	size_t n;

	rig_settings(&settings);
	context = rig_context(&settings);
	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(0, NULL), NULL, NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	rig_client_write(&rig, "MAIL FROM:<>", 12);
	rig.up.p[rig.up.end - 1] ^= 1;
	cr_assert(rig_server_read(&rig, plain, sizeof(plain), &n) == TLS_IO_FAIL);
	cr_assert(n == 0);
	cr_assert(buf_len(&rig.out) > 0);
	rig_pump(&rig);
	cr_assert(rig_client_read(&rig, plain, sizeof(plain)) == 0);
	cr_assert(SSL_get_shutdown(rig.client) == SSL_RECEIVED_SHUTDOWN);
	tls_conn_shutdown(rig.conn, &rig.out);
	cr_assert(buf_len(&rig.out) == 0, "nothing after the alert");
	cr_assert(ERR_peek_error() == 0);
	rig_close(&rig);
	tls_context_release(context);
}

Test(conn, key_update_in_user_space)
{
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	context = rig_context(&settings);
	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS,
		rig_client_ctx(TLS1_3_VERSION, NULL), NULL, NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	for (int i = 0; i < 5; i++) {
		SSL_key_update(rig.client,
			i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		exchange(1000);
	}
	cr_assert(counter_sum(COUNTER_TLS_KEYUPDATE) == 5);
	rig_close(&rig);
	tls_context_release(context);
}

Test(conn, key_update_flood_ends_the_connection)
{
	struct rig_settings settings;
	struct tls_context *context;
	enum tls_io io = TLS_IO_OK;
	char plain[8];
	size_t n;
	int i;

	rig_settings(&settings);
	context = rig_context(&settings);
	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(TLS1_3_VERSION, NULL), NULL,
		NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	for (i = 0; i < 2 * TLS_KEYUPDATES_MAX && io != TLS_IO_FAIL; i++) {
		SSL_key_update(rig.client, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(rig.client);
		rig_pump(&rig);
		io = rig_server_read(&rig, plain, sizeof(plain), &n);
	}
	cr_assert(io == TLS_IO_FAIL && i == TLS_KEYUPDATES_MAX + 1);
	rig_close(&rig);
	tls_context_release(context);
}

static SSL_CTX *client_with_certificate(const char *name, uint16_t version)
{
	SSL_CTX *ctx = rig_client_ctx(version, NULL);
	X509 *x509 = rig_certificate_read(name);
	EVP_PKEY *key = rig_key_read(name);

	cr_assert(SSL_CTX_use_cert_and_key(ctx, x509, key, NULL, 1) == 1);
	X509_free(x509);
	EVP_PKEY_free(key);
	return ctx;
}

Test(conn, any_client_certificate_is_taken_and_named)
{
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	settings.tls.client_certificate_request = true;
	rig_certificate("partner", RIG_EC, -1, 0, 0); /* expired, self-signed */
	rig_certificate("large", RIG_EC, 30, 0, 4000);
	context = rig_context(&settings);
	for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_SESSION *session;

		rig_open(&rig, context, NULL, KTLS_MODE_OFF,
			client_with_certificate("partner", version), NULL, NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		cr_assert_str_eq(tls_conn_info(rig.conn)->client, "CN=partner");
		session = rig_session(&rig);
		rig_close(&rig);
		rig_open(&rig, context, NULL, KTLS_MODE_OFF,
			client_with_certificate("partner", version), NULL, session);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		cr_assert(tls_conn_info(rig.conn)->resumed);
		cr_assert_str_eq(tls_conn_info(rig.conn)->client, "CN=partner");
		SSL_SESSION_free(session);
		rig_close(&rig);

		rig_open(&rig, context, NULL, KTLS_MODE_OFF,
			client_with_certificate("large", version), NULL, NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		cr_assert_str_eq(tls_conn_info(rig.conn)->client, "CN=large");
		cr_assert(SSL_SESSION_has_ticket(SSL_get_session(rig.client)) == 0);
		rig_close(&rig);

		rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(version, NULL), NULL,
			NULL);
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE, "without one");
		cr_assert_str_eq(tls_conn_info(rig.conn)->client, "");
		rig_close(&rig);
	}
	tls_context_release(context);
}

static bool is_zero(const void *p, size_t n)
{
	static const uint8_t zero[TLS_SECRET_MAX];

	return memcmp(p, zero, n) == 0;
}

/* Secrets are kept where keys may change: in user space's records for as long as they are, in OpenSSL's
 * only for the kernel. Keys are wiped where they are in use and the kernel is not to have them. */
Test(conn, no_secret_is_kept_that_nobody_will_use)
{
	struct rig_settings settings;
	struct tls_context *context;
	struct tls_kernel tx_only = {.tx = true, .rx = true, .rx_spins_on_partial = true};
	struct {
		const struct tls_kernel *kernel;
		enum ktls_mode mode;
		bool tx, rx;
	} cases[] = {
		{NULL, KTLS_MODE_ALWAYS, false, false},
		{&rig_kernel_all, KTLS_MODE_OFF, false, false},
		{&tx_only, KTLS_MODE_AUTO, false, false},
		{&tx_only, KTLS_MODE_ALWAYS, true, true},
		{&rig_kernel_all, KTLS_MODE_ALWAYS, true, true},
		{&rig_kernel_all, KTLS_MODE_AUTO, false, true},
	};

	for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
		size_t at = i / 2;
		bool openssl = i % 2 == 1;
		const struct tls_half *tx;
		const struct tls_half *rx;

		rig_settings(&settings);
		settings.tls.ktls = cases[at].mode;
		context = rig_context(&settings);
		if (openssl)
			rig_openssl_records(context);
		rig_open(&rig, context, cases[at].kernel, cases[at].mode,
			rig_client_ctx(TLS1_3_VERSION, NULL), NULL, NULL);
		tx = &rig.conn->half[TLS_DIRECTION_TX];
		rx = &rig.conn->half[TLS_DIRECTION_RX];
		cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
		cr_assert_eq(rig.conn->ssl != NULL, openssl);
		cr_assert_eq(tls_conn_ktls_wanted(rig.conn),
			(cases[at].tx ? TLS_KTLS_TX : 0u) | (cases[at].rx ? TLS_KTLS_RX : 0u));
		exchange(100);
		cr_assert_eq(is_zero(tx->secret, 32), openssl && !cases[at].tx, "case %zu", i);
		cr_assert_eq(is_zero(rx->secret, 32), openssl && !cases[at].rx, "case %zu", i);
		cr_assert_eq(is_zero(&tx->keys, sizeof(tx->keys)), !cases[at].tx, "case %zu", i);
		cr_assert_eq(is_zero(&rx->keys, sizeof(rx->keys)), !cases[at].rx, "case %zu", i);
		rig_close(&rig);
		tls_context_release(context);
	}
}
