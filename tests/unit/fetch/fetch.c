/* SPDX-License-Identifier: MIT */
/* The HTTPS client against servers of every kind, with real TLS on loopback. */
#include "fetch/fetch.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ssl.h>

#include <criterion/criterion.h>

#include "server.h"

#define HOST     "mta-sts.example.test"
#define PATH     "/.well-known/mta-sts.txt"
#define SHORT_MS 400
#define HEAD_OK  "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
#define GOOD     HEAD_OK "Content-Length: 16\r\n\r\nversion: STSv1\r\n"

TestSuite(fetch, .timeout = 120);

/* What the fetch thread said. */
struct heard {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	unsigned times;
	unsigned of[FETCH_RESULTS];
	struct fetch_answer answer; /* the last; its spans are gone */
	char type[256];
	char body[FETCH_BODY_MAX + 1];
	size_t body_n;
};

static void heard_init(struct heard *heard)
{
	memset(heard, 0, sizeof(*heard));
	pthread_mutex_init(&heard->mutex, NULL);
	pthread_cond_init(&heard->cond, NULL);
}

static void hear_done(void *ctx, const struct fetch_answer *answer)
{
	struct heard *heard = ctx;

	pthread_mutex_lock(&heard->mutex);
	heard->times++;
	heard->of[answer->result]++;
	heard->answer = *answer;
	heard->body_n = answer->body.n;
	memcpy(heard->body, answer->body.n > 0 ? (const char *)answer->body.p : "", answer->body.n);
	snprintf(heard->type, sizeof(heard->type), "%.*s", (int)answer->content_type.n,
		(const char *)answer->content_type.p);
	pthread_cond_signal(&heard->cond);
	pthread_mutex_unlock(&heard->mutex);
}

static void wait_for(struct heard *heard, unsigned times)
{
	pthread_mutex_lock(&heard->mutex);
	while (heard->times < times)
		pthread_cond_wait(&heard->cond, &heard->mutex);
	pthread_mutex_unlock(&heard->mutex);
}

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage made = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&made;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&made;

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
		made.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
		made.ss_family = AF_INET6;
	return made;
}

static struct fetch *open_fetch(void)
{
	struct fetch *fetch;
	struct err err;

	cr_assert(fetch_open(&fetch, server_ca_file(), &err) == 0, "%s", err.text);
	return fetch;
}

/* One request to the server by 127.0.0.1. */
static void ask(struct fetch *fetch, uint16_t port, uint32_t ms_max, struct heard *heard)
{
	struct sockaddr_storage loopback = address("127.0.0.1");
	struct fetch_request request = {.host = HOST,
		.port = port,
		.path = PATH,
		.addresses = &loopback,
		.addresses_n = 1,
		.ms_max = ms_max,
		.done = hear_done,
		.ctx = heard};

	heard_init(heard);
	cr_assert(fetch_start(fetch, &request));
	memset(&loopback, 0xff, sizeof(loopback)); /* everything was copied */
	wait_for(heard, 1);
}

static void try_plan(const struct server_plan *plan, uint32_t ms_max, struct heard *heard)
{
	struct server *server = server_start(plan);
	struct fetch *fetch = open_fetch();

	ask(fetch, server->port, ms_max, heard);
	fetch_close(fetch);
	server_stop(server);
	server_free(server);
	cr_assert_eq(heard->times, 1);
	for (const char *c = heard->answer.why; *c != '\0'; c++)
		cr_assert(*c >= ' ' && *c <= '~');
	if (heard->answer.result != FETCH_OK)
		cr_assert(heard->answer.why[0] != '\0');
}

Test(fetch, brings_what_a_good_server_says)
{
	const struct server_plan plan = {.answer = GOOD};
	struct server *server = server_start(&plan);
	struct fetch *fetch = open_fetch();
	static struct heard heard;

	setenv("https_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "socks5://127.0.0.1:1", 1);
	ask(fetch, server->port, 0, &heard);
	fetch_close(fetch);
	server_stop(server);
	cr_assert_eq(heard.answer.result, FETCH_OK, "%s", heard.answer.why);
	cr_assert_eq(heard.answer.status, 200);
	cr_assert_str_eq(heard.type, "text/plain; charset=utf-8");
	cr_assert(heard.body_n == 16 && memcmp(heard.body, "version: STSv1\r\n", 16) == 0);
	cr_assert_str_eq(server->name, HOST, "SNI");
	cr_assert(strncmp(server->seen, "GET " PATH " HTTP/1.1\r\nHost: " HOST, 57) == 0);
	cr_assert(strcasestr(server->seen, "accept-encoding") == NULL);
	cr_assert(strcasestr(server->seen, "cookie") == NULL);
	cr_assert(strcasestr(server->seen, "upgrade") == NULL);
	server_free(server);
}

Test(fetch, trusts_only_certificates_for_the_host)
{
	static const struct {
		enum server_leaf leaf;
		enum fetch_result result;
	} rows[] = {
		{LEAF_GOOD, FETCH_OK},
		{LEAF_WILDCARD, FETCH_OK},
		{LEAF_WRONG_NAME, FETCH_CERTIFICATE},
		{LEAF_DEEP_WILDCARD, FETCH_CERTIFICATE},
		{LEAF_EXPIRED, FETCH_CERTIFICATE},
		{LEAF_FUTURE, FETCH_CERTIFICATE},
		{LEAF_SELF_SIGNED, FETCH_CERTIFICATE},
		{LEAF_UNKNOWN_CA, FETCH_CERTIFICATE},
	};
	static struct heard heard;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct server_plan plan = {.leaf = rows[i].leaf, .answer = GOOD};

		try_plan(&plan, 0, &heard);
		cr_expect_eq(heard.answer.result, rows[i].result, "leaf %d: %s (%s)", rows[i].leaf,
			fetch_result_text(heard.answer.result), heard.answer.why);
	}
}

Test(fetch, speaks_tls_1_2_and_1_3_only)
{
	static const struct {
		int version_max;
		enum fetch_result result;
	} rows[] = {
		{TLS1_VERSION, FETCH_TLS},
		{TLS1_1_VERSION, FETCH_TLS},
		{TLS1_2_VERSION, FETCH_OK},
		{TLS1_3_VERSION, FETCH_OK},
	};
	static struct heard heard;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct server_plan plan = {.version_max = rows[i].version_max, .answer = GOOD};

		try_plan(&plan, 0, &heard);
		cr_expect_eq(heard.answer.result, rows[i].result, "version %x: %s (%s)",
			rows[i].version_max, fetch_result_text(heard.answer.result),
			heard.answer.why);
	}
}

static const struct {
	const char *what;
	struct server_plan plan;
	enum fetch_result result;
	uint16_t status;
	uint32_t ms_max;
} kinds[] = {
	{"not found", {.answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}, FETCH_OK,
		404, 0},
	{"a redirect is not followed",
		{.answer = "HTTP/1.1 302 Found\r\nLocation: https://" HOST
			   "/other\r\nContent-Length: 0\r\n\r\n"},
		FETCH_OK, 302, 0},
	{"chunks", {.answer = HEAD_OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		FETCH_OK, 200, 0},
	{"a wrong chunk",
		{.answer = HEAD_OK "Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n"},
		FETCH_CONNECT, 0, 0},
	{"until the end", {.answer = HEAD_OK "Connection: close\r\n\r\nabc"}, FETCH_OK, 200, 0},
	{"fewer than announced", {.answer = HEAD_OK "Content-Length: 9\r\n\r\nabc"}, FETCH_CONNECT,
		0, 0},
	{"announced as huge", {.answer = HEAD_OK "Content-Length: 65537\r\n\r\n"}, FETCH_LARGE, 0,
		0},
	{"huge", {.act = ACT_ENDLESS, .answer = HEAD_OK "\r\n"}, FETCH_LARGE, 0, 0},
	{"huge by one chunk",
		{.act = ACT_ENDLESS,
			.answer = HEAD_OK "Transfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n"},
		FETCH_LARGE, 0, 0},
	{"headers without end", {.act = ACT_HEADERS, .answer = HEAD_OK}, FETCH_HTTP, 0, 0},
	{"a line without end", {.act = ACT_ENDLESS, .answer = "HTTP/1.1 200 OK\r\nX: "}, FETCH_HTTP,
		0, 5000},
	{"a status line without end", {.act = ACT_ENDLESS, .answer = "HTTP/1.1 200 "}, FETCH_HTTP,
		0, 5000},
	{"not HTTP", {.answer = "220 mail.example.test ESMTP\r\n"}, FETCH_HTTP, 0, 0},
	{"no status", {.answer = "HTTP/1.1 000 \r\n\r\n"}, FETCH_HTTP, 0, 0},
	{"an odd status", {.answer = "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"}, FETCH_HTTP,
		0, 0},
	{"binary", {.answer = "\x01\x02\x7f\xff\r\n\r\n"}, FETCH_HTTP, 0, 0},
	{"nothing", {.answer = NULL}, FETCH_CONNECT, 0, 0},
	{"reset in the middle", {.act = ACT_CUT, .answer = HEAD_OK "Content-Length: 9\r\n\r\nabc"},
		FETCH_CONNECT, 0, 0},
	{"slow", {.act = ACT_DRIP, .answer = HEAD_OK "Content-Length: 60000\r\n\r\n"},
		FETCH_TIMEOUT, 0, SHORT_MS},
	{"slow in the head", {.act = ACT_DRIP, .answer = "HTTP/1.1 200 OK\r\nX-Slow: "},
		FETCH_TIMEOUT, 0, SHORT_MS},
	{"silent", {.act = ACT_SILENT}, FETCH_TIMEOUT, 0, SHORT_MS},
	{"no TLS", {.act = ACT_PLAIN, .answer = GOOD}, FETCH_TLS, 0, 0},
	{"compressed: left as it is",
		{.answer = HEAD_OK
			"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"},
		FETCH_OK, 200, 0},
};

Test(fetch, bears_servers_of_every_kind)
{
	static struct heard heard;

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		try_plan(&kinds[i].plan, kinds[i].ms_max, &heard);
		cr_expect_eq(heard.answer.result, kinds[i].result, "%s: %s (%s)", kinds[i].what,
			fetch_result_text(heard.answer.result), heard.answer.why);
		cr_expect_eq(heard.answer.status, kinds[i].status, "%s: %u", kinds[i].what,
			heard.answer.status);
	}
}

Test(fetch, takes_the_largest_body)
{
	static const char head[] = HEAD_OK "Content-Length: 65536\r\n\r\n";
	static char answer[sizeof(head) + FETCH_BODY_MAX];
	struct server_plan plan = {.answer = answer};
	static struct heard heard;

	memset(answer, 'x', sizeof(answer) - 1);
	memcpy(answer, head, sizeof(head) - 1);
	try_plan(&plan, 0, &heard);
	cr_assert_eq(heard.answer.result, FETCH_OK, "%s", heard.answer.why);
	cr_assert_eq(heard.body_n, FETCH_BODY_MAX);
}

Test(fetch, refuses_a_head_above_its_bound)
{
	static char answer[FETCH_HEAD_MAX + 4096] = HEAD_OK;
	struct server_plan plan = {.answer = answer};
	static struct heard heard;
	size_t n = strlen(answer);

	while (n < FETCH_HEAD_MAX + 100)
		n += (size_t)snprintf(answer + n, sizeof(answer) - n, "X-Line: %0100d\r\n", 0);
	snprintf(answer + n, sizeof(answer) - n, "Content-Length: 0\r\n\r\n");
	try_plan(&plan, 0, &heard);
	cr_assert_eq(heard.answer.result, FETCH_HTTP, "%s", heard.answer.why);
}

Test(fetch, uses_the_addresses_it_was_given_and_no_others)
{
	static const struct {
		const char *addresses[3];
		enum fetch_result result;
	} rows[] = {
		{{"127.0.0.1"}, FETCH_OK},
		{{"127.0.0.2"},
			FETCH_CONNECT}, /* nobody listens; what was known before is forgotten */
		{{"127.0.0.2", "127.0.0.1"}, FETCH_OK},
		{{"::1", "127.0.0.1"}, FETCH_OK},
		{{"127.0.0.2", "127.0.0.3", "127.0.0.1"}, FETCH_OK},
		{{"::1"}, FETCH_CONNECT},
	};
	const struct server_plan plan = {.answer = GOOD};
	struct server *server = server_start(&plan);
	struct fetch *fetch = open_fetch();
	static struct heard heard;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sockaddr_storage addresses[3];
		struct fetch_request request = {.host = HOST,
			.port = server->port,
			.path = PATH,
			.addresses = addresses,
			.done = hear_done,
			.ctx = &heard};

		while (request.addresses_n < 3 && rows[i].addresses[request.addresses_n] != NULL) {
			addresses[request.addresses_n] =
				address(rows[i].addresses[request.addresses_n]);
			request.addresses_n++;
		}
		heard_init(&heard);
		cr_assert(fetch_start(fetch, &request));
		wait_for(&heard, 1);
		cr_expect_eq(heard.answer.result, rows[i].result, "row %zu: %s (%s)", i,
			fetch_result_text(heard.answer.result), heard.answer.why);
	}
	fetch_close(fetch);
	server_stop(server);
	cr_assert_eq(server->connections, 4, "one a request");
	server_free(server);
}

Test(fetch, posts)
{
	static const char answer[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
	const struct server_plan plan = {.answer = answer};
	struct server *server = server_start(&plan);
	struct sockaddr_storage loopback = address("127.0.0.1");
	struct fetch *fetch = open_fetch();
	static struct heard heard;
	static uint8_t octets[FETCH_POST_MAX];
	struct fetch_request request = {.host = HOST,
		.port = server->port,
		.path = "/in?a=b",
		.addresses = &loopback,
		.addresses_n = 1,
		.post = span_of(octets, sizeof(octets)),
		.content_type = "application/tlsrpt+gzip",
		.encoding = "gzip",
		.done = hear_done,
		.ctx = &heard};

	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (uint8_t)(i * 7);
	/* More of them than may wait at a time. */
	for (size_t i = 0; i <= FETCH_POSTS_MAX / FETCH_POST_MAX; i++) {
		heard_init(&heard);
		octets[0] = 1;
		while (!fetch_start(fetch, &request))
			sched_yield(); /* the one before is just being forgotten */
		octets[0] = 0;
		wait_for(&heard, 1);
	}
	octets[0] = 1;
	fetch_close(fetch);
	server_stop(server);
	cr_assert_eq(heard.answer.result, FETCH_OK, "%s", heard.answer.why);
	cr_assert_eq(heard.answer.status, 201);
	cr_assert(strncmp(server->seen, "POST /in?a=b HTTP/1.1\r\n", 23) == 0);
	cr_assert(strstr(server->seen, "\r\nContent-Type: application/tlsrpt+gzip\r\n") != NULL);
	cr_assert(strstr(server->seen, "\r\nContent-Encoding: gzip\r\n") != NULL);
	cr_assert(strstr(server->seen, "Expect") == NULL);
	cr_assert(memcmp(server->seen + server->seen_n - sizeof(octets), octets, sizeof(octets)) ==
		  0);
	server_free(server);
}

Test(fetch, refuses_what_cannot_be_asked_for)
{
	struct sockaddr_storage loopback = address("127.0.0.1");
	struct sockaddr_storage none = {0};
	static char long_path[FETCH_PATH_MAX + 2] = "/";
	const struct fetch_request good = {.host = HOST,
		.port = 1,
		.path = PATH,
		.addresses = &loopback,
		.addresses_n = 1,
		.done = hear_done};
	struct fetch_request rows[16];
	struct fetch *fetch = open_fetch();
	size_t n = 0;

	memset(long_path + 1, 'a', FETCH_PATH_MAX);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		rows[i] = good;
	rows[n++].host = "";
	rows[n++].host = "a@" HOST;
	rows[n++].host = HOST "/x";
	rows[n++].host = HOST ":25";
	rows[n++].host = HOST ".";
	rows[n++].host = "[::1]";
	rows[n++].host = "a b";
	rows[n++].path = "";
	rows[n++].path = "x";
	rows[n++].path = "/a b";
	rows[n++].path = "/a\r\nX: y";
	rows[n++].path = "/a#b";
	rows[n++].path = long_path;
	rows[n++].port = 0;
	rows[n++].addresses_n = 0;
	rows[n++].addresses = &none;
	cr_assert_eq(n, COUNT_OF(rows));
	for (size_t i = 0; i < n; i++)
		cr_expect(!fetch_start(fetch, &rows[i]), "row %zu", i);
	fetch_close(fetch);
}

Test(fetch, says_no_when_too_many_wait_and_ends_all_at_the_close)
{
	const struct server_plan plan = {.act = ACT_SILENT};
	struct server *server = server_start(&plan);
	struct sockaddr_storage loopback = address("127.0.0.1");
	struct fetch *fetch = open_fetch();
	static struct heard heard;
	struct fetch_request request = {.host = HOST,
		.port = server->port,
		.path = PATH,
		.addresses = &loopback,
		.addresses_n = 1,
		.done = hear_done,
		.ctx = &heard};
	unsigned taken = 0;

	heard_init(&heard);
	while (taken <= FETCH_JOBS_MAX + FETCH_WAITING_MAX && fetch_start(fetch, &request))
		taken++;
	cr_assert(taken >= FETCH_WAITING_MAX && taken <= FETCH_JOBS_MAX + FETCH_WAITING_MAX);
	cr_assert_eq(heard.times, 0);
	fetch_close(fetch);
	cr_assert_eq(heard.times, taken);
	cr_assert_eq(heard.of[FETCH_STOPPED], taken);
	server_stop(server);
	server_free(server);
}

Test(fetch, does_more_than_fit_at_once)
{
	const struct server_plan plan = {.answer = GOOD};
	struct server *server = server_start(&plan);
	struct sockaddr_storage loopback = address("127.0.0.1");
	struct fetch *fetch = open_fetch();
	static struct heard heard;
	struct fetch_request request = {.host = HOST,
		.port = server->port,
		.path = PATH,
		.addresses = &loopback,
		.addresses_n = 1,
		.done = hear_done,
		.ctx = &heard};
	const unsigned n = 3 * FETCH_JOBS_MAX;

	heard_init(&heard);
	for (unsigned i = 0; i < n; i++)
		cr_assert(fetch_start(fetch, &request));
	wait_for(&heard, n);
	fetch_close(fetch);
	server_stop(server);
	cr_assert_eq(heard.of[FETCH_OK], n, "%s", heard.answer.why);
	cr_assert_eq(server->connections, n);
	server_free(server);
}

Test(fetch, posts_that_wait_are_bounded_in_octets)
{
	const struct server_plan plan = {.act = ACT_SILENT};
	struct server *server = server_start(&plan);
	struct sockaddr_storage loopback = address("127.0.0.1");
	struct fetch *fetch = open_fetch();
	uint8_t *octets = calloc(1, FETCH_POST_MAX + 1);
	static struct heard heard;
	struct fetch_request request = {.host = HOST,
		.port = server->port,
		.path = PATH,
		.addresses = &loopback,
		.addresses_n = 1,
		.post = span_of(octets, FETCH_POST_MAX + 1),
		.done = hear_done,
		.ctx = &heard};

	heard_init(&heard);
	cr_assert(!fetch_start(fetch, &request));
	request.post.n = FETCH_POST_MAX;
	for (size_t i = 0; i < FETCH_POSTS_MAX / FETCH_POST_MAX; i++)
		cr_assert(fetch_start(fetch, &request));
	request.post.n = 1;
	cr_assert(!fetch_start(fetch, &request));
	fetch_close(fetch);
	server_stop(server);
	server_free(server);
	free(octets);
}

Test(fetch, says_what_is_wrong_with_the_ca_file)
{
	struct fetch *fetch;
	struct err err = {0};

	cr_assert(fetch_open(&fetch, "/nowhere/ca.pem", &err) == -1);
	cr_assert(fetch == NULL && strstr(err.text, "/nowhere/ca.pem") != NULL);
	cr_assert(fetch_open(&fetch, NULL, &err) == 0);
	fetch_close(fetch);
	fetch_close(NULL);
}
