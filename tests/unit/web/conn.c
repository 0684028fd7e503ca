/* SPDX-License-Identifier: MIT */
/*
 * conn.c -- connections over a real ring and real TLS: what is served and to whom, each limit with the
 * clock moved up to it and past it, reloads and draining under way.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/counter.h"
#include "harness.h"

static struct client one, two;

TestSuite(conn, .init = worker_open, .fini = worker_close, .timeout = LIMIT_S);

static const char text[] = "version: STSv1\r\nmode: enforce\r\nmx: " MX_NAME "\r\nmax_age: 60\r\n";

Test(conn, a_policy)
{
	client_open(&one, HOST);
	client_say(&one, GET(HOST));
	client_wait(&one, 1);
	cr_expect_eq(client_status(&one, 0), 200);
	cr_expect(strstr(one.got, text) != NULL, "%s", one.got);
	cr_expect(strstr(one.got, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL);
	client_close(&one);
	cr_expect(logged("event=web peer=192.0.2.7:4711 listener=web tls=TLSv1.3"));
	cr_expect(logged("sni=" HOST " requests=1 served=1 refused=0 last_status=200"));
	cr_expect_eq(counter_sum(COUNTER_WEB_OK), 1);
	cr_expect_eq(counter_sum(COUNTER_WEB_HANDSHAKES), 1);
	cr_expect_eq(counter_sum(COUNTER_WEB_CONNECTIONS_ACTIVE), 0);
}

static const struct {
	const char *sni;
	const char *request;
	unsigned status;
} rows[] = {
	{HOST, GET(HOST), 200},
	{HOST, GET(HOST ":8443"), 200},
	{HOST, GET("MTA-STS.example.ORG."), 200},
	{NULL, GET(HOST), 200},
	{NULL, GET("mta-sts.example.com"), 404},
	{NULL, GET("example.org"), 404},
	{NULL, GET("mta-sts."), 404},
	{HOST, "GET / HTTP/1.1\r\nHost: " HOST "\r\n\r\n", 404},
	{HOST, GET("mta-sts.example.com"), 421},
	{"mta-sts.example.com", GET(HOST), 421},
	{"mta-sts.example.com", GET("mta-sts.example.com"), 404},
	{HOST, "GET /.well-known/mta-sts.txt HTTP/1.0\r\n\r\n", 200},
	{NULL, "GET /.well-known/mta-sts.txt HTTP/1.0\r\n\r\n", 404},
	{HOST, "GET https://" HOST "/.well-known/mta-sts.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	{HOST, "GET http://" HOST "/.well-known/mta-sts.txt HTTP/1.1\r\nHost: x\r\n\r\n", 421},
	{HOST, "PUT / HTTP/1.1\r\nHost: " HOST "\r\n\r\n", 405},
	{HOST, "GET / HTTP/1.1\r\n\r\n", 400},
};

Test(conn, hosts_and_paths)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		client_open(&one, rows[i].sni);
		client_say(&one, rows[i].request);
		client_wait(&one, 1);
		cr_expect_eq(client_status(&one, 0), rows[i].status, "%zu: %s", i, one.got);
		client_close(&one);
	}
	cr_expect_eq(counter_sum(COUNTER_WEB_MISDIRECTED), 3);
}

Test(conn, octet_by_octet)
{
	static const char request[] = GET(HOST);
	char octet[2] = "";

	client_open(&one, HOST);
	for (const char *c = request; *c != '\0'; c++) {
		octet[0] = *c;
		client_say(&one, octet);
		client_turn(&one);
	}
	client_wait(&one, 1);
	cr_expect_eq(client_status(&one, 0), 200);
	client_close(&one);
}

Test(conn, several_at_once_in_their_order)
{
	client_open(&one, HOST);
	client_say(&one, GET("a") GET(HOST) "HEAD / HTTP/1.1\r\nHost: " HOST
					    "\r\nConnection: close\r\n\r\n" GET(HOST));
	client_wait_closed(&one);
	cr_expect_eq(client_status(&one, 0), 421);
	cr_expect_eq(client_status(&one, 1), 200);
	cr_expect_eq(client_status(&one, 2), 404);
	cr_expect_eq(client_status(&one, 3), 0, "after Connection: close");
	cr_expect_str_eq(one.got + one.got_n - 4, "\r\n\r\n", "nothing behind HEAD's head");
	client_close(&one);
	cr_expect(logged("requests=3 served=1 refused=2"));
}

Test(conn, the_last_request_says_so)
{
	client_open(&one, HOST);
	for (unsigned i = 0; i < WEB_REQUESTS_MAX; i++) {
		one.got_n = 0;
		one.got[0] = '\0';
		client_say(&one, GET(HOST));
		client_wait(&one, 1);
		cr_assert_eq(client_status(&one, 0), 200);
		cr_assert_eq(
			strstr(one.got, "Connection: close") != NULL, i + 1 == WEB_REQUESTS_MAX);
	}
	client_wait_closed(&one);
	client_close(&one);
	cr_expect(logged("end=requests_max"));
	cr_expect_eq(counter_sum(COUNTER_WEB_LIMIT_REQUESTS), 1);
}

/* ---- time ---- */

/* Whatever is on its way arrives: afterwards the worker waits. */
static void settle(struct client *client)
{
	for (unsigned i = 0; i < 50; i++)
		client_turn(client);
}

/* The limit is not over yet; then it is. */
static void at_limit(struct client *client, uint64_t ms, const char *end)
{
	settle(client);
	pass(ms - 100);
	settle(client);
	cr_assert(!client->closed && client->got_n == 0, "%s comes too early", end);
	pass(200);
	client_wait_closed(client);
	client_close(client);
	cr_expect(logged(end), "%s", end);
}

Test(conn, the_handshake_has_a_limit)
{
	client_open_plain(&one);
	at_limit(&one, WEB_HANDSHAKE_MS_MAX, "end=timeout_handshake");
	cr_expect_eq(counter_sum(COUNTER_WEB_HANDSHAKES_FAILED), 1);
}

Test(conn, waiting_for_a_request_has_a_limit)
{
	client_open(&one, HOST);
	at_limit(&one, WEB_IDLE_MS_MAX, "end=idle");
	cr_expect_eq(one.got_n, 0, "without a word");
}

/* What trickles in does not move it. */
Test(conn, a_request_has_a_limit)
{
	client_open(&one, HOST);
	client_say(&one, "GET / HTTP/1.1\r\nA: ");
	for (unsigned i = 0; i < 9; i++) {
		settle(&one);
		pass(WEB_HEAD_MS_MAX / 10);
		client_say(&one, "b");
	}
	settle(&one);
	cr_assert(!one.closed && one.got_n == 0);
	pass(WEB_HEAD_MS_MAX / 10 + 100);
	client_wait_closed(&one);
	cr_expect_eq(client_status(&one, 0), 408);
	client_close(&one);
	cr_expect(logged("end=timeout_request"));
	cr_expect_eq(counter_sum(COUNTER_WEB_TIMEOUT), 1);
}

/* Who asks again and again and takes no answer costs one place for so long. */
Test(conn, taking_the_answer_has_a_limit)
{
	char much[8192] = "";
	int small = 4096;

	client_open(&one, HOST);
	cr_assert_eq(setsockopt(one.theirs, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (unsigned i = 0; i < 90; i++)
		strcat(much, "GET / HTTP/1.1\r\nHost: " HOST "\r\n\r\n");
	client_say(&one, much);
	for (unsigned i = 0; i < 400; i++)
		turn();
	cr_assert_eq(ended, 0);
	pass(WEB_ANSWER_MS_MAX + 100);
	for (unsigned i = 0; i < 400 && ended == 0; i++)
		turn();
	cr_expect_eq(ended, 1);
	cr_expect(logged("end=timeout_answer"));
	client_close(&one);
}

/* ---- endings ---- */

Test(conn, no_tls_at_all)
{
	client_open_plain(&one);
	client_say(&one, GET(HOST));
	shutdown(one.fd, SHUT_WR);
	client_wait_closed(&one);
	client_close(&one);
	cr_expect(logged("requests=0 served=0 refused=0"));
	cr_expect(logged("end=tls_failed"));
}

Test(conn, gone_in_the_handshake)
{
	client_open_plain(&one);
	client_say(&one, "\x16\x03\x01");
	turn();
	client_close(&one);
	cr_expect(logged("end=tls_failed"));
}

Test(conn, gone_in_a_request)
{
	client_open(&one, HOST);
	client_say(&one, "GET /");
	client_turn(&one);
	client_close(&one);
	cr_expect(logged("end=closed"));
}

Test(conn, a_bad_record)
{
	client_open(&one, HOST);
	client_turn(&one);
	cr_assert_eq(send(one.fd, "\x17\x03\x03\0\x20_______________________________x", 37, 0), 37);
	for (unsigned i = 0; i < 100 && !one.closed; i++)
		client_turn(&one);
	client_close(&one);
	cr_expect(logged("end=tls_record"));
}

/* ---- places ---- */

Test(conn, the_oldest_that_waits_makes_room)
{
	static struct client plain[WEB_CONNECTIONS_MAX];

	client_open(&two, HOST); /* answered already, but waits for nothing else */
	for (unsigned i = 0; i + 1 < WEB_CONNECTIONS_MAX; i++)
		client_open_plain(&plain[i]);
	turn();
	cr_assert_eq(ended, 0);
	client_open(&one, HOST);
	cr_expect_eq(counter_sum(COUNTER_WEB_LIMIT_CONNECTIONS), 1);
	client_say(&one, GET(HOST));
	client_wait(&one, 1);
	cr_expect_eq(client_status(&one, 0), 200);
	client_wait_closed(&two);
	cr_expect(logged("end=full"));
	cr_expect_eq(counter_sum(COUNTER_WEB_CONNECTIONS_ACTIVE), WEB_CONNECTIONS_MAX);
	for (unsigned i = 0; i + 1 < WEB_CONNECTIONS_MAX; i++)
		close(plain[i].fd);
	close(two.fd);
	client_close(&one);
}

/* ---- changes ---- */

Test(conn, a_new_table_serves_the_next_request)
{
	static const char *const mx[] = {MX_NAME};
	struct sts_settings sts = {
		.domain = DOMAIN, .mode = STS_MODE_NONE, .max_age_s = 1, .mx = mx, .mx_n = 1};

	client_open(&one, HOST);
	client_say(&one, GET(HOST));
	client_wait(&one, 1);
	web_worker_policies(worker, policies_of(&sts, 1));
	client_say(&one, GET(HOST));
	client_wait(&one, 2);
	cr_expect(
		strstr(one.got, "mode: enforce") != NULL && strstr(one.got, "mode: none") != NULL);
	web_worker_policies(worker, policies_of(NULL, 0));
	client_say(&one, GET(HOST));
	client_wait(&one, 3);
	cr_expect_eq(client_status(&one, 2), 404);
	client_close(&one);
}

Test(conn, draining)
{
	client_open(&one, HOST);
	client_open(&two, HOST);
	client_say(&two, "GET /.well-known/mta-sts.txt HTTP/1.1\r\n");
	for (unsigned i = 0; i < 20; i++) {
		client_turn(&one);
		client_turn(&two);
	}
	web_worker_drain(worker);
	client_wait_closed(&one);
	cr_expect_eq(one.got_n, 0);
	client_say(&two, "Host: " HOST "\r\n\r\n");
	client_wait_closed(&two);
	cr_expect_eq(client_status(&two, 0), 200);
	cr_expect(strstr(two.got, "Connection: close") != NULL);
	client_close(&one);
	client_close(&two);
	cr_expect(logged("end=shutdown"));
	cr_expect(web_worker_idle(worker));
}

Test(conn, what_is_left_is_aborted)
{
	client_open(&one, HOST);
	client_open_plain(&two);
	client_say(&one, "GET");
	client_turn(&one);
}
