/* SPDX-License-Identifier: MIT */
/* control.c -- the server against clients that are slow, rude, many, or want the same thing. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/counter.h"
#include "harness.h"

static struct server server;

static void setup(void)
{
	server_open(&server);
}

static void teardown(void)
{
	server_close(&server);
}

TestSuite(control, .init = setup, .fini = teardown);

/* How many descriptors the server wants polled: clients, and the listener while it accepts. */
static size_t polled(void)
{
	struct pollfd fds[CONTROL_POLLFDS_MAX];

	return control_pollfds(server.control, fds, CONTROL_POLLFDS_MAX);
}

static bool accepting(void)
{
	struct pollfd fds[CONTROL_POLLFDS_MAX];
	size_t n = control_pollfds(server.control, fds, CONTROL_POLLFDS_MAX);

	for (size_t i = 0; i < n; i++)
		if (fds[i].fd == server.listen_fd)
			return true;
	return false;
}

Test(control, word_and_json)
{
	static const char *const requests[] = {
		"status\n", "status\r\n", "{\"command\": \"status\"}\n"};

	server.status.hostname = "mx.example.org";
	for (size_t i = 0; i < COUNT_OF(requests); i++) {
		int fd = client_open(&server);
		json_t *root;

		client_say(fd, requests[i]);
		server_turn(&server);
		root = client_answer(fd);
		cr_expect_str_eq(json_string_value(json_object_get(
					 json_object_get(root, "status"), "hostname")),
			"mx.example.org");
		json_decref(root);
	}
	cr_expect_eq(server.status_calls, 3);
	cr_expect_eq(polled(), 1, "clients are left over");
	cr_expect_eq(control_timeout_ms(server.control), -1);
}

Test(control, octet_by_octet)
{
	static const char request[] = "{\"command\":\"metrics\"}";
	int fd = client_open(&server);
	json_t *root;
	bool eof;

	for (size_t i = 0; i < strlen(request); i++) {
		client_send(fd, request + i, 1);
		server_turn(&server);
		cr_assert_str_eq(client_read(fd, &eof), "");
		cr_assert_not(eof);
	}
	cr_expect_eq(server.status_calls, 0);
	client_say(fd, "\n");
	server_turn(&server);
	control_queue_done(server.control, server.tokens[0], NULL);
	root = client_answer(fd);
	cr_expect(json_is_true(json_object_get(root, "ok")));
	json_decref(root);
}

Test(control, refused_requests)
{
	static const struct {
		const char *request;
		const char *error;
	} rows[] = {
		{"\n", "empty"},
		{"help\n", "unknown command; there are: status, metrics, reload, stop, queue"},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "unknown command"},
		{"{\"command\":\n", "not JSON"},
		{"\x16\x03\x01\x02\n", "unknown command"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int fd = client_open(&server);

		client_say(fd, rows[i].request);
		server_turn(&server);
		client_expect(fd, false, rows[i].error);
	}
	cr_expect_eq(counter_sum(COUNTER_CONTROL_REFUSED_REQUEST), COUNT_OF(rows));
}

/* What follows the first line is no second request, even if it came with it. */
Test(control, one_request_a_connection)
{
	int fd = client_open(&server);
	json_t *root;

	client_say(fd, "status\nstop\n");
	server_turn(&server);
	root = client_answer(fd);
	cr_expect_not_null(json_object_get(root, "status"));
	cr_expect_eq(server.stop_calls, 0);
	json_decref(root);
}

Test(control, longest_line_and_longer)
{
	char line[4 * CONTROL_REQUEST_MAX];
	int fd = client_open(&server);

	memset(line, ' ', sizeof(line));
	memcpy(line, "stop", 4);
	line[CONTROL_REQUEST_MAX - 1] = '\n';
	client_send(fd, line, CONTROL_REQUEST_MAX);
	server_turn(&server);
	client_expect(fd, true, "draining");

	line[CONTROL_REQUEST_MAX - 1] = ' ';
	line[CONTROL_REQUEST_MAX] = '\n';
	fd = client_open(&server);
	client_send(fd, line, CONTROL_REQUEST_MAX + 1);
	server_turn(&server);
	client_expect(fd, false, "over the limit of 4096 octets");

	fd = client_open(&server);
	client_send(fd, line, sizeof(line));
	server_turn(&server);
	client_expect(fd, false, "over the limit");
	cr_expect_eq(server.stop_calls, 1);
}

Test(control, ends_of_half_requests)
{
	int silent = client_open(&server), half = client_open(&server), gone = client_open(&server);

	client_say(half, "sto");
	client_say(gone, "sto");
	server_turn(&server);
	cr_expect_eq(polled(), 4);
	shutdown(silent, SHUT_WR);
	shutdown(half, SHUT_WR);
	close(gone);
	server_turn(&server);
	client_expect(half, false, "ended before its line did");
	cr_expect_eq(polled(), 1);
	cr_expect_eq(server.stop_calls, 0);
	close(silent);
}

/* `echo status | nc -N -U` closes its half at once and still wants the answer. */
Test(control, half_closed_client_is_answered)
{
	int fd = client_open(&server), reload = client_open(&server);
	json_t *root;

	client_say(fd, "status\n");
	shutdown(fd, SHUT_WR);
	client_say(reload, "reload\n");
	shutdown(reload, SHUT_WR);
	server_turn(&server);
	root = client_answer(fd);
	cr_expect(json_is_true(json_object_get(root, "ok")));
	json_decref(root);
	control_reload_done(server.control, true, NULL);
	server_turn(&server);
	client_expect(reload, true, "reloaded");
}

Test(control, silent_client_is_sent_away)
{
	int fd = client_open(&server);
	bool eof;

	server_turn(&server);
	cr_expect_eq(control_timeout_ms(server.control), CONTROL_CLIENT_MS_MAX);
	server.now_ms += CONTROL_CLIENT_MS_MAX - 1;
	client_say(fd, "stat"); /* a trickle buys no time */
	server_turn(&server);
	cr_expect_eq(control_timeout_ms(server.control), 1);
	(void)client_read(fd, &eof);
	cr_expect_not(eof);
	server.now_ms++;
	server_turn(&server);
	client_expect(fd, false, "within the time limit");
	cr_expect_eq(counter_sum(COUNTER_CONTROL_REFUSED_TIMEOUT), 1);
	cr_expect_eq(polled(), 1);
}

/* An answer that a socket's buffer does not hold. */
static void status_make_large(size_t certificates_n)
{
	static struct control_certificate certificates[4096];
	static const char *names[CONTROL_NAMES_MAX];
	static char name[250];

	memset(name, 'n', sizeof(name) - 1);
	for (size_t i = 0; i < CONTROL_NAMES_MAX; i++)
		names[i] = name;
	for (size_t i = 0; i < certificates_n; i++)
		certificates[i] = (struct control_certificate){
			"title", "RSA 2048", names, CONTROL_NAMES_MAX, 1};
	server.status.certificates = certificates;
	server.status.certificates_n = certificates_n;
}

Test(control, client_that_does_not_read)
{
	int slow = client_open(&server), other = client_open(&server);
	const char *text;
	bool eof;

	status_make_large(400);
	client_say(slow, "status\n");
	server_turn(&server);
	cr_assert_eq(polled(), 3, "the answer fitted into the socket");
	client_say(other, "stop\n");
	server_turn(&server);
	client_expect(other, true, "draining");
	server.now_ms += CONTROL_CLIENT_MS_MAX;
	server_turn(&server);
	cr_expect_eq(polled(), 1);
	text = client_read(slow, &eof);
	cr_expect(eof);
	cr_expect_null(strchr(text, '\n'), "the answer was complete");
	cr_expect_eq(counter_sum(COUNTER_CONTROL_REFUSED_TIMEOUT), 1);
	close(slow);
}

Test(control, slow_reader_gets_all)
{
	static char text[CONTROL_ANSWER_MAX + 1];
	int fd = client_open(&server);
	size_t got = 0;
	ssize_t n = 1;
	json_t *root;

	status_make_large(400);
	client_say(fd, "status\n");
	while (n > 0 && got < CONTROL_ANSWER_MAX) {
		server_turn(&server);
		n = recv(fd, text + got, min_size(9973, CONTROL_ANSWER_MAX - got), 0);
		cr_assert_geq(n, 0);
		got += (size_t)n;
	}
	text[got] = '\0';
	root = json_loads(text, 0, NULL);
	cr_assert_not_null(root);
	cr_expect_eq(
		json_array_size(json_object_get(json_object_get(root, "status"), "certificates")),
		400);
	cr_expect_eq(text[got - 1], '\n');
	json_decref(root);
	close(fd);
}

Test(control, slow_reader_that_goes)
{
	int fd = client_open(&server);

	status_make_large(400);
	client_say(fd, "status\n");
	server_turn(&server);
	close(fd);
	server_turn(&server);
	cr_expect_eq(polled(), 1);
}

Test(control, answer_over_the_limit)
{
	int fd = client_open(&server);
	json_t *root;

	status_make_large(1000);
	client_say(fd, "status\n");
	server_turn(&server);
	client_expect(fd, false, "over 1 MiB");
	fd = client_open(&server);
	server.queue_refuses = true;
	client_say(fd, "metrics\n"); /* fits: the limit is on what is sent */
	server_turn(&server);
	root = client_answer(fd);
	cr_expect(json_is_true(json_object_get(root, "ok")));
	json_decref(root);
}

Test(control, all_places_taken)
{
	int idle[CONTROL_CLIENTS_MAX], late;
	bool eof;

	for (size_t i = 0; i < COUNT_OF(idle); i++)
		idle[i] = client_open(&server);
	late = client_open(&server);
	client_say(late, "stop\n");
	server_turn(&server);
	cr_expect_eq(polled(), CONTROL_CLIENTS_MAX);
	cr_expect_not(accepting());
	cr_expect_eq(server.stop_calls, 0);
	close(idle[3]);
	server_turn(&server);
	cr_expect_eq(server.stop_calls, 1);
	client_expect(late, true, "draining");
	server.now_ms += CONTROL_CLIENT_MS_MAX;
	server_turn(&server);
	cr_expect_eq(polled(), 1);
	(void)client_read(idle[0], &eof);
	cr_expect(eof);
}

/* More than places, all with their request ready: each is served, and a turn of the loop ends. */
Test(control, burst_of_ready_clients)
{
	int fds[2 * CONTROL_CLIENTS_MAX];

	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		fds[i] = client_open(&server);
		cr_assert_geq(fds[i], 0);
		client_say(fds[i], "stop\n");
	}
	server_turn(&server);
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		client_expect(fds[i], true, "draining");
	cr_expect_eq(server.stop_calls, COUNT_OF(fds));
}

Test(control, reload_is_answered_when_done)
{
	static const struct {
		bool ok;
		const char *text;
		const char *expected;
	} rows[] = {
		{true, NULL, "reloaded"},
		{true, "2 certificates", "2 certificates"},
		{false, NULL, "the reload failed; the log says why"},
		{false, "cert.pem: no\nPEM \xff", "cert.pem: no\nPEM \\xff"},
	};
	bool eof;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int fd = client_open(&server);

		client_say(fd, "reload\n");
		server_turn(&server);
		cr_expect_str_eq(client_read(fd, &eof), "");
		cr_expect_not(eof);
		control_reload_done(server.control, rows[i].ok, rows[i].text);
		server_turn(&server);
		client_expect(fd, rows[i].ok, rows[i].expected);
	}
	cr_expect_eq(server.reload_calls, COUNT_OF(rows));
}

Test(control, reload_that_ends_within_the_hook)
{
	int fd = client_open(&server);

	server.reload_at_once = true;
	client_say(fd, "reload\n");
	server_turn(&server);
	client_expect(fd, false, "said at once");
	cr_expect_eq(server.reload_calls, 1);
}

/* Who asks while a reload runs wants files read that may have changed since it began. */
Test(control, reload_during_a_reload)
{
	int first = client_open(&server), second = client_open(&server), third;
	bool eof;

	client_say(first, "reload\n");
	client_say(second, "reload\n");
	server_turn(&server);
	cr_expect_eq(server.reload_calls, 1);
	third = client_open(&server);
	client_say(third, "reload\n");
	server_turn(&server);
	cr_expect_eq(server.reload_calls, 1);

	control_reload_done(server.control, false, "the first");
	cr_expect_eq(control_timeout_ms(server.control), 0, "the second one must not wait");
	client_expect(first, false, "the first");
	client_expect(second, false, "the first");
	server_turn(&server);
	cr_expect_eq(server.reload_calls, 2);
	(void)client_read(third, &eof);
	cr_expect_not(eof);
	control_reload_done(server.control, true, "the second");
	client_expect(third, true, "the second");
}

Test(control, reload_that_hangs)
{
	int fd = client_open(&server), next = client_open(&server);

	client_say(fd, "reload\n");
	server_turn(&server);
	server.now_ms += CONTROL_RELOAD_MS_MAX - 1;
	client_say(next, "stop\n");
	server_turn(&server);
	client_expect(next, true, "draining");
	cr_expect_eq(control_timeout_ms(server.control), 1);
	server.now_ms++;
	server_turn(&server);
	client_expect(fd, false, "has not ended within the time limit");

	next = client_open(&server);
	client_say(next, "reload\n");
	server_turn(&server);
	cr_expect_eq(server.reload_calls, 1, "a second reload while the first hangs");
	control_reload_done(server.control, true, "late");
	server_turn(&server);
	cr_expect_eq(server.reload_calls, 2);
	control_reload_done(server.control, true, "fresh");
	client_expect(next, true, "fresh");
}

Test(control, reload_whose_client_went)
{
	int fd = client_open(&server);

	client_say(fd, "reload\n");
	server_turn(&server);
	close(fd);
	server_turn(&server);
	cr_expect_eq(polled(), 1);
	control_reload_done(server.control, true, NULL);
	control_reload_done(server.control, true, "by signal, nobody asked");
	fd = client_open(&server);
	client_say(fd, "stop\n");
	server_turn(&server);
	client_expect(fd, true, "draining");
}

/* The owner may end its loop as soon as the hook was called: the answer is on its way. */
Test(control, stop_is_answered_before_the_end)
{
	struct pollfd fds[CONTROL_POLLFDS_MAX];
	int fd = client_open(&server);
	struct err err;
	size_t n;
	struct control_hooks none = {0};

	client_say(fd, "stop\n");
	n = control_pollfds(server.control, fds, CONTROL_POLLFDS_MAX);
	cr_assert_eq(poll(fds, n, 0), 1);
	control_run(server.control, fds, n);
	cr_expect_eq(server.stop_calls, 1);
	control_close(server.control);
	client_expect(fd, true, "draining");
	cr_assert_eq(control_open(&server.control, server.listen_fd, &none, &err), 0);
}

Test(control, close_with_clients_of_all_kinds)
{
	int idle = client_open(&server), half = client_open(&server);
	int reload = client_open(&server), slow = client_open(&server);
	struct control_hooks none = {0};
	struct err err;
	bool eof;

	status_make_large(400);
	client_say(half, "sta");
	client_say(reload, "reload\n");
	client_say(slow, "status\n");
	server_turn(&server);
	cr_expect_eq(polled(), 5);
	control_close(server.control);
	(void)client_read(idle, &eof);
	cr_expect(eof);
	(void)client_read(reload, &eof);
	cr_expect(eof);
	(void)client_read(slow, &eof);
	cr_expect(eof);
	control_close(NULL);
	cr_assert_eq(control_open(&server.control, server.listen_fd, &none, &err), 0);
}

/* Without a free descriptor accept(2) fails and poll goes on reporting: pause, do not spin. */
Test(control, no_descriptors)
{
	struct rlimit limit, before;
	int fd = client_open(&server), probe = dup(fd);

	close(probe);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)probe;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	client_say(fd, "stop\n");
	server_turn(&server); /* asserts that it comes to rest */
	cr_expect_not(accepting());
	cr_expect_eq(control_timeout_ms(server.control), 1000);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	server.now_ms += 1000;
	server_turn(&server);
	cr_expect(accepting());
	client_expect(fd, true, "draining");
}

/* Entries of a poll set that is no longer true must not hurt. */
Test(control, stale_events)
{
	struct pollfd fds[CONTROL_POLLFDS_MAX];
	int fd = client_open(&server);
	size_t n;

	server_turn(&server);
	n = control_pollfds(server.control, fds, CONTROL_POLLFDS_MAX);
	cr_assert_eq(n, 2);
	close(fd);
	server_turn(&server);
	for (size_t i = 0; i < n; i++)
		fds[i].revents = POLLIN | POLLOUT | POLLHUP | POLLERR;
	control_run(server.control, fds, n);
	cr_expect_eq(polled(), 1);
}

/* ---- the queue ---- */

static json_t *queue_answer(const char *word)
{
	return json_pack("{s:b, s:{s:s}}", "ok", 1, "queue", "word", word);
}

static void expect_word(int fd, const char *word)
{
	json_t *root = client_answer(fd);

	cr_expect(json_is_true(json_object_get(root, "ok")));
	cr_expect_str_eq(
		json_string_value(json_object_get(json_object_get(root, "queue"), "word")), word);
	json_decref(root);
}

Test(control, queue_is_answered_when_the_owner_does)
{
	int fd = client_open(&server);
	bool eof;

	client_say(fd, "{\"command\":\"queue\",\"action\":\"hold\",\"sender\":\"<>\"}\n");
	server_turn(&server);
	cr_assert_eq(server.queue_calls, 1);
	cr_expect_eq(server.queue.action, CONTROL_QUEUE_HOLD);
	cr_expect_str_eq(server.queue.sender, "<>");
	cr_expect_str_eq(client_read(fd, &eof), "");
	cr_expect_not(eof);
	cr_expect_eq(control_timeout_ms(server.control), CONTROL_QUEUE_MS_MAX);
	control_queue_done(server.control, server.tokens[0], queue_answer("held"));
	expect_word(fd, "held");
	cr_expect_eq(polled(), 1);
}

Test(control, queue_answered_from_within)
{
	int fd = client_open(&server);

	server.queue_at_once = queue_answer("at once");
	client_say(fd, "queue\n");
	server_turn(&server);
	expect_word(fd, "at once");
	cr_expect_eq(server.queue.action, CONTROL_QUEUE_LIST);
	json_decref(server.queue_at_once);
}

/* Answers come in any order and find their own clients. */
Test(control, queue_questions_side_by_side)
{
	int a = client_open(&server), b = client_open(&server), c = client_open(&server);

	client_say(a, "queue\n");
	server_turn(&server);
	client_say(b, "queue\n");
	server_turn(&server);
	client_say(c, "stop\n");
	server_turn(&server);
	client_expect(c, true, "draining");
	cr_assert_eq(server.queue_calls, 2);
	cr_assert_neq(server.tokens[0], server.tokens[1]);
	control_queue_done(server.control, server.tokens[1], queue_answer("second"));
	control_queue_done(server.control, server.tokens[0], queue_answer("first"));
	expect_word(a, "first");
	expect_word(b, "second");
}

Test(control, queue_that_refuses_or_is_not_there)
{
	struct control_hooks none = {0};
	struct err err;
	int fd = client_open(&server);

	server.queue_refuses = true;
	client_say(fd, "queue\n");
	server_turn(&server);
	client_expect(fd, false, "cannot be asked now");
	control_close(server.control);
	cr_assert_eq(control_open(&server.control, server.listen_fd, &none, &err), 0);
	fd = client_open(&server);
	client_say(fd, "queue\n");
	server_turn(&server);
	client_expect(fd, false, "cannot be asked now");
}

Test(control, queue_answer_without_memory)
{
	int fd = client_open(&server);

	client_say(fd, "queue\n");
	server_turn(&server);
	control_queue_done(server.control, server.tokens[0], NULL);
	client_expect(fd, false, "memory is short");
}

Test(control, queue_that_hangs)
{
	int fd = client_open(&server), next;

	client_say(fd, "queue\n");
	server_turn(&server);
	server.now_ms += CONTROL_QUEUE_MS_MAX;
	server_turn(&server);
	client_expect(fd, false, "has not answered within the time limit");
	/* The place is taken by another; what comes late is not for it. */
	next = client_open(&server);
	client_say(next, "queue\n");
	server_turn(&server);
	control_queue_done(server.control, server.tokens[0], queue_answer("late"));
	control_queue_done(server.control, server.tokens[1], queue_answer("fresh"));
	expect_word(next, "fresh");
}

Test(control, queue_whose_client_went)
{
	int fd = client_open(&server);

	client_say(fd, "queue\n");
	server_turn(&server);
	close(fd);
	server_turn(&server);
	cr_expect_eq(polled(), 1);
	control_queue_done(server.control, server.tokens[0], queue_answer("for nobody"));
	control_queue_done(server.control, 4711, queue_answer("never asked"));
	cr_expect_eq(polled(), 1);
}

Test(control, metrics_with_the_queue)
{
	int fd = client_open(&server);
	json_t *root;
	const char *text;

	client_say(fd, "metrics\n");
	server_turn(&server);
	cr_assert_eq(server.queue_calls, 1);
	cr_expect_eq(server.queue.action, CONTROL_QUEUE_TALLY);
	cr_expect_eq(server.queue.limit, CONTROL_TALLIES_MAX);
	control_queue_done(server.control, server.tokens[0],
		json_pack("{s:b, s:{s:[{s:s,s:i}]}}", "ok", 1, "queue", "destinations",
			"destination", "lmtp:x", "ready", 42));
	root = client_answer(fd);
	text = json_string_value(json_object_get(root, "text"));
	cr_assert_not_null(text);
	cr_expect_not_null(strstr(text, "destination=\"lmtp:x\",state=\"ready\"} 42\n"));
	json_decref(root);
}

/* A queue that hangs or fails costs metrics its numbers, not the rest. */
Test(control, metrics_without_the_queue)
{
	for (int i = 0; i < 3; i++) {
		int fd = client_open(&server);
		const char *text;
		json_t *root;

		server.queue_refuses = i == 0;
		client_say(fd, "metrics\n");
		server_turn(&server);
		if (i == 1)
			control_queue_done(server.control, server.tokens[server.queue_calls - 1],
				json_pack("{s:b, s:s}", "ok", 0, "error", "no"));
		server.now_ms += CONTROL_METRICS_MS_MAX;
		server_turn(&server);
		root = client_answer(fd);
		text = json_string_value(json_object_get(root, "text"));
		cr_assert_not_null(text);
		cr_expect_not_null(strstr(text, "\npostern_workers "));
		cr_expect_null(strstr(text, "postern_queue_oldest"));
		json_decref(root);
	}
}

/* ---- the fence ---- */

Test(control, fence_is_answered_at_once)
{
	int fd = client_open(&server);
	json_t *root;

	server.fence_answer = json_pack("{s:b, s:{s:i}}", "ok", 1, "fence", "matched", 1);
	client_say(fd, "{\"command\":\"fence\",\"action\":\"block\",\"network\":\"192.0.2.0/24\","
		       "\"seconds\":60}\n");
	server_turn(&server);
	cr_assert_eq(server.fence_calls, 1);
	cr_expect_eq(server.fence.action, CONTROL_FENCE_BLOCK);
	cr_expect_eq(server.fence.network.bits, 96 + 24);
	cr_expect_eq(server.fence.seconds, 60);
	root = client_answer(fd);
	cr_expect(json_equal(root, server.fence_answer));
	json_decref(root);
	json_decref(server.fence_answer);
}

Test(control, sts_is_answered_at_once)
{
	int fd = client_open(&server);
	json_t *root;

	server.sts_answer = json_pack("{s:b, s:{s:i}}", "ok", 1, "sts", "domains_total", 7);
	client_say(fd, "{\"command\":\"sts\",\"domain\":\"a.example\"}\n");
	server_turn(&server);
	cr_assert_eq(server.sts_calls, 1);
	cr_expect_eq(server.sts.action, CONTROL_STS_RECORDS);
	cr_expect_str_eq(server.sts.domain, "a.example");
	root = client_answer(fd);
	cr_expect(json_equal(root, server.sts_answer));
	json_decref(root);
	json_decref(server.sts_answer);
	server.sts_answer = NULL;
	fd = client_open(&server);
	client_say(fd, "sts\n");
	server_turn(&server);
	client_expect(fd, false, "there are no policies to ask about");
}

Test(control, fence_that_refuses_or_is_not_there)
{
	struct control_hooks none = {0};
	struct err err;
	int fd = client_open(&server);

	server.fence_refuses = true;
	client_say(fd, "fence\n");
	server_turn(&server);
	client_expect(fd, false, "there is no fence to ask");
	control_close(server.control);
	cr_assert_eq(control_open(&server.control, server.listen_fd, &none, &err), 0);
	fd = client_open(&server);
	client_say(fd, "fence\n");
	server_turn(&server);
	client_expect(fd, false, "there is no fence to ask");
}

Test(control, fence_answer_without_memory)
{
	int fd = client_open(&server);

	client_say(fd, "fence\n");
	server_turn(&server);
	client_expect(fd, false, "memory is short");
}

/* status and metrics ask for its status, and do without where it has nothing to say. */
Test(control, status_and_metrics_with_the_fence)
{
	int fd = client_open(&server);
	json_t *root;

	server.fence_answer = json_pack(
		"{s:b, s:{s:s, s:i}}", "ok", 1, "fence", "running", "user", "networks", 7);
	client_say(fd, "status\n");
	server_turn(&server);
	cr_expect_eq(server.fence.action, CONTROL_FENCE_STATUS);
	root = client_answer(fd);
	cr_expect_str_eq(
		json_string_value(json_object_get(
			json_object_get(json_object_get(root, "status"), "fence"), "running")),
		"user");
	json_decref(root);

	fd = client_open(&server);
	client_say(fd, "metrics\n");
	server.queue_refuses = true;
	server_turn(&server);
	root = client_answer(fd);
	cr_expect_eq(json_integer_value(json_object_get(
			     json_object_get(root, "values"), "postern_fence_networks")),
		7);
	json_decref(root);
	json_decref(server.fence_answer);
	server.fence_answer = NULL;

	fd = client_open(&server);
	client_say(fd, "status\n");
	server_turn(&server);
	root = client_answer(fd);
	cr_expect(json_is_null(json_object_get(json_object_get(root, "status"), "fence")));
	json_decref(root);
	cr_expect_eq(server.fence_calls, 3);
}
