/* SPDX-License-Identifier: MIT */
/*
 * The witness (gateway/tls/witness.c): it hears what OpenSSL's own key log says, on either side, and
 * only where it was asked to.
 */
#include "rig.h"

#include <criterion/criterion.h>

static struct rig rig; /* large */

static uint8_t logged[2][TLS_SECRET_MAX]; /* by the key log of the rig's client */

static void on_key_log(const SSL *ssl, const char *line)
{
	static const char *const labels[2] = {[TLS_DIRECTION_TX] = "SERVER_TRAFFIC_SECRET_0 ",
		[TLS_DIRECTION_RX] = "CLIENT_TRAFFIC_SECRET_0 "};
	size_t n;

	(void)ssl;
	for (int direction = 0; direction < 2; direction++)
		if (strncmp(line, labels[direction], strlen(labels[direction])) == 0)
			cr_assert(OPENSSL_hexstr2buf_ex(logged[direction], TLS_SECRET_MAX, &n,
					  strrchr(line, ' ') + 1, '\0') == 1);
}

/* Before and behind other handshakes, whose secrets are others'. */
Test(witness, hears_what_the_key_log_tells)
{
	struct rig_settings settings;
	struct tls_context *context;

	rig_settings(&settings);
	context = rig_context(&settings);
	for (size_t i = 0; i < rig_suites_n; i++) {
		SSL_CTX *client = rig_client_ctx(rig_suites[i].version, rig_suites[i].name);
		bool tls13 = rig_suites[i].version == TLS1_3_VERSION;
		const struct tls_half *half;
		struct tls_conn *other;
		size_t n;

		SSL_CTX_set_keylog_callback(client, on_key_log);
		if (tls13 && i % 2 == 0) /* by a second hello */
			cr_assert(SSL_CTX_set1_groups_list(client, "P-521:P-384"));
		rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS, client, NULL, NULL);
		other = tls_conn_open(context, &rig_kernel_all, KTLS_MODE_ALWAYS);
		if (rig_handshake(&rig) != TLS_STEP_DONE) { /* no certificate for it */
			cr_assert(!tls13);
			tls_conn_close(other);
			rig_close(&rig);
			continue;
		}
		n = tls13 ? rig.conn->suite->secret_n : 0;
		for (int direction = 0; direction < 2; direction++) {
			half = &rig.conn->half[direction];
			cr_assert_eq(half->secret_n, n);
			cr_assert_eq(half->keys_heard, tls13 ? TLS_HEARD_BOTH : 0);
			cr_assert(memcmp(half->secret, logged[direction], n) == 0);
			cr_assert_eq(other->half[direction].secret_n, 0);
		}
		tls_conn_close(other);
		rig_close(&rig);
	}
	tls_context_release(context);
}

/* Keys go to the kernel where it takes them, on either side; heard they are everywhere. */
Test(witness, keys_are_for_the_kernel_where_it_takes_them)
{
	struct rig_settings settings;
	struct tls_material *material;
	static const struct tls_kernel none, tx = {.tx = true}, rx = {.rx = true};
	static const struct {
		const struct tls_kernel *kernel;
		enum ktls_mode mode;
		bool kernel_takes;
	} cases[] = {
		{NULL, KTLS_MODE_ALWAYS, false},
		{&none, KTLS_MODE_ALWAYS, false},
		{&none, KTLS_MODE_AUTO, false},
		{&tx, KTLS_MODE_OFF, false},
		{&tx, KTLS_MODE_AUTO, true},
		{&rx, KTLS_MODE_ALWAYS, true},
		{&rig_kernel_all, KTLS_MODE_AUTO, true},
	};
	struct err err = {0};

	rig_settings(&settings);
	cr_assert(tls_material_load(&material, &settings.tls, &err) == 0, "%s", err.text);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tls_context *server;
		struct tls_client *client;
		struct tls_conn *conn;

		settings.tls.ktls = cases[i].mode;
		cr_assert(tls_context_open(
				  &server, &settings.tls, cases[i].kernel, material, &err) == 0);
		cr_expect(server->heard);
		cr_expect_eq(server->kernel, cases[i].kernel_takes, "case %zu, server", i);
		conn = tls_conn_open(server, &rig_kernel_all, KTLS_MODE_ALWAYS);
		cr_expect_eq(conn->may != 0, cases[i].kernel_takes, "case %zu, server", i);
		tls_conn_close(conn);
		tls_context_release(server);
		cr_assert(tls_client_open(
				  &client, NULL, false, cases[i].kernel, cases[i].mode, &err) == 0);
		conn = tls_client_conn_open(client, &rig_kernel_all, KTLS_MODE_ALWAYS, "mx.test");
		cr_expect_eq(conn->may != 0, cases[i].kernel_takes, "case %zu, client", i);
		tls_conn_close(conn);
		tls_client_release(client);
	}
	tls_material_free(material);
}
