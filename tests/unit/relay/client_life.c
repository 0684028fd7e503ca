/* SPDX-License-Identifier: MIT */
/*
 * client_life.c -- connections over more than a job: reuse, RSET between jobs, what ends an idle
 * one, time limits, and giving up at every stage.
 */
#include "tests/unit/relay/dial.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include "base/clock.h"

#define SHORT_MS 60
#define TURNS    20 /* more than it takes to hear all that has come */

#define EHLO   "accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250 PIPELINING"
#define FLIGHT "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< DATA"
#define TAKEN  "> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 ok"
#define QUIT   "< QUIT", "> 221 bye", "eof"

static void expect(const struct letter *letter, const char *outcomes)
{
	cr_expect(strcmp(letter_outcomes(letter), outcomes) == 0, "%s: %s", letter_outcomes(letter),
		letter->outcomes[0].text);
}

/* ---- reuse ---- */

Test(client_life, three_jobs_on_one_connection, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {EHLO, FLIGHT, TAKEN, FLIGHT, "> 250 ok", "> 550 no",
		"> 503 no", "< RSET", FLIGHT, "> 250 reset", TAKEN, QUIT, NULL};
	struct letter letters[3];

	dial_open(script, false);
	for (size_t i = 0; i < COUNT_OF(letters); i++)
		letter_init(&letters[i], 1);
	relay_client_give(client, &letters[0].job);
	ready_letter = &letters[1];
	letter_wait(&letters[0]);
	ready_letter = &letters[2]; /* given when RSET is due: it goes first, in the same flight */
	if (letters[1].done_n == 0)
		letter_wait(&letters[1]);
	letter_wait(&letters[2]);
	expect(&letters[0], "DONE 250");
	expect(&letters[1], "NEVER 550");
	expect(&letters[2], "DONE 250");
	cr_expect(relay_client_jobs(client) == 3);
	cr_expect(relay_client_state(client) == RELAY_CLIENT_READY);
	relay_client_quit(client);
	cr_expect(relay_client_state(client) == RELAY_CLIENT_CLOSING);
	dial_close();
	cr_expect(ready_n == 3 && closed.result == RELAY_RESULT_DONE);
}

Test(client_life, reset_is_answered_before_the_next_command_without_pipelining,
	.timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {"accept", "> 220 mx", "< EHLO me.example.net",
		"> 250 mx", "< MAIL FROM:<a@b>", "> 550 no", "< RSET", "quiet", "> 250 reset",
		"< MAIL FROM:<a@b>", "> 451 no", "< RSET", "> 250 reset", QUIT, NULL};
	struct letter letters[2];

	dial_open(script, false);
	letter_init(&letters[0], 1);
	letter_init(&letters[1], 1);
	relay_client_give(client, &letters[0].job);
	ready_letter = &letters[1];
	letter_wait(&letters[0]);
	letter_wait(&letters[1]);
	expect(&letters[1], "LATER 451");
	while (client->rset_due || client->rset_owed)
		dial_turn();
	relay_client_quit(client);
	dial_close();
}

static const struct {
	const char *name;
	const char *const script[16];
} idle_rows[] = {
	{"closed", {EHLO, "pause", "close"}},
	{"reset", {EHLO, "pause", "reset"}},
	{"421", {EHLO, "pause", "> 421 too long idle", "gone"}},
	{"garbage", {EHLO, "pause", "> \x01", "gone"}},
	{"unasked reply", {EHLO, "pause", "> 250 hello?", "gone"}},
};

Test(client_life, idle_connections_end_without_blame, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(idle_rows); i++) {
		ready_n = closed_n = 0;
		dial_open(idle_rows[i].script, false);
		dial_until_ready();
		peer_go();
		dial_close();
		cr_expect(closed.result == (i < 4 ? RELAY_RESULT_DONE : RELAY_RESULT_LATER), "%s",
			idle_rows[i].name);
	}
	cr_expect(counter_sum(COUNTER_RELAY_LOST_CLOSED) == 0);
	cr_expect(counter_sum(COUNTER_RELAY_CONNECT_FAILED_GREETING) == 0);
}

Test(client_life, a_job_that_meets_a_closed_connection_blames_the_hop, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {EHLO, "pause", "close", NULL};
	struct letter letter;

	dial_open(script, false);
	letter_init(&letter, 1);
	dial_until_ready();
	peer_go();
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	expect(&letter, "LATER 0 4.4.2");
	cr_expect(letter.job.connection_failed && !letter.job.sent_dot);
	dial_close();
}

/* ---- times ---- */

static const struct {
	const char *name;
	uint32_t connect_ms, reply_ms, final_ms, job_ms;
	bool failed, dot;
	const char *enhanced;
	const char *const script[20];
} time_rows[] = {
	{"greeting", 5000, SHORT_MS, 5000, 0, true, false, "4.4.2", {"accept", "gone"}},
	{"EHLO", 5000, SHORT_MS, 5000, 0, true, false, "4.4.2",
		{"accept", "> 220 mx", "< EHLO me.example.net", "gone"}},
	{"MAIL", 5000, SHORT_MS, 5000, 0, true, false, "4.4.2", {EHLO, FLIGHT, "gone"}},
	{"RCPT", 5000, SHORT_MS, 5000, 0, false, false, "4.4.2",
		{EHLO, FLIGHT, "> 250 ok", "gone"}},
	{"half a reply", 5000, SHORT_MS, 5000, 0, false, false, "4.4.2",
		{EHLO, FLIGHT, "> 250 ok", ">> 250-o", "gone"}},
	{"DATA", 5000, SHORT_MS, 5000, 0, false, false, "4.4.2",
		{EHLO, FLIGHT, "> 250 ok", "> 250 ok", "gone"}},
	{"message", 5000, 5000, SHORT_MS, 0, false, true, "4.4.2",
		{EHLO, FLIGHT, "> 250 ok", "> 250 ok", "> 354 go", "data", "gone"}},
	{"the job, opening", 5000, 5000, 5000, SHORT_MS, true, false, "4.4.7", {"accept", "gone"}},
	{"the job, busy", 5000, 5000, 5000, SHORT_MS, false, false, "4.4.7",
		{EHLO, FLIGHT, "> 250 ok", "gone"}},
	{"the job, message", 5000, 5000, 5000, SHORT_MS, false, true, "4.4.7",
		{EHLO, FLIGHT, "> 250 ok", "> 250 ok", "> 354 go", "data", "gone"}},
};

static uint64_t now_ms;

static void turns(unsigned n)
{
	while (n-- > 0) {
		ring_wake(ring); /* a turn that waits for nothing */
		dial_turn();
	}
}

/* Time stands still until the peer has said all and nothing is left to be heard of it. */
static void wait_for_limit(const struct letter *letter)
{
	while (!peer_at_last()) {
		turns(1);
		sched_yield();
	}
	turns(TURNS);
	cr_expect(letter->done_n == 0);
	now_ms += 2 * SHORT_MS;
	turns(TURNS);
	cr_expect(letter->done_n == 1);
	clock_set_for_test(NULL, NULL);
}

Test(client_life, time_limits, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(time_rows); i++) {
		struct letter letter;

		closed_n = 0;
		now_ms = clock_ms();
		clock_set_for_test(&now_ms, NULL);
		dial_prepare(time_rows[i].script, false, false);
		config.relay.connect_ms_max = time_rows[i].connect_ms;
		config.relay.reply_ms_max = time_rows[i].reply_ms;
		config.relay.final_ms_max = time_rows[i].final_ms;
		dial();
		letter_init(&letter, 1);
		letter.job.ms_max = time_rows[i].job_ms;
		relay_client_give(client, &letter.job);
		wait_for_limit(&letter);
		cr_expect(letter.outcomes[0].result == RELAY_RESULT_LATER &&
				  strcmp(letter.outcomes[0].enhanced, time_rows[i].enhanced) == 0,
			"%s: %s %s", time_rows[i].name, letter_outcomes(&letter),
			letter.outcomes[0].text);
		cr_expect(letter.job.connection_failed == time_rows[i].failed, "%s",
			time_rows[i].name);
		cr_expect(letter.job.sent_dot == time_rows[i].dot, "%s", time_rows[i].name);
		dial_close();
	}
	cr_expect(counter_sum(COUNTER_RELAY_CONNECT_FAILED_TIMEOUT) == 3);
	cr_expect(counter_sum(COUNTER_RELAY_LOST_TIMEOUT) == 7);
}

Test(client_life, a_next_hop_that_ignores_quit_is_left, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {EHLO, "< QUIT", "gone", NULL};

	dial_open(script, false);
	dial_until_ready();
	config.relay.reply_ms_max = 400;
	relay_client_quit(client);
	dial_close();
	cr_expect(closed.result == RELAY_RESULT_DONE);
}

/* ---- connecting ---- */

Test(client_life, connection_refused, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {NULL};
	struct letter letter;
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&target.address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	dial_prepare(script, false, false);
	/* Bound and not listening: nobody else gets the port meanwhile. */
	*in = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cr_assert(bind(fd, (struct sockaddr *)in, sizeof(*in)) == 0);
	cr_assert(getsockname(fd, (struct sockaddr *)in, &target.address_n) == 0);
	dial();
	letter_init(&letter, 1);
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	expect(&letter, "LATER 0 4.4.1");
	cr_expect(strcmp(letter.outcomes[0].text, "connect: Connection refused") == 0);
	cr_expect(letter.job.connection_failed);
	dial_close();
	cr_expect(counter_sum(COUNTER_RELAY_CONNECT_FAILED_CONNECT) == 1);
	close(fd);
}

Test(client_life, an_address_that_does_not_answer, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {NULL};
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&target.address;
	const struct sockaddr_in any = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int full[8];

	for (size_t i = 0; i < COUNT_OF(full); i++)
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	dial_prepare(script, false, false);
	/* A backlog that is full takes no more SYNs. */
	*in = any;
	cr_assert(bind(listener, (struct sockaddr *)in, sizeof(*in)) == 0);
	cr_assert(listen(listener, 0) == 0);
	cr_assert(getsockname(listener, (struct sockaddr *)in, &target.address_n) == 0);
	for (size_t i = 0; i < COUNT_OF(full); i++)
		(void)!connect(full[i], (struct sockaddr *)in, sizeof(*in));
	config.relay.connect_ms_max = SHORT_MS;
	dial();
	dial_until_stage(CLIENT_STAGE_CONNECT);
	dial_close();
	cr_expect(closed.result == RELAY_RESULT_LATER);
	cr_expect(counter_sum(COUNTER_RELAY_CONNECT_FAILED_TIMEOUT) == 1);
	for (size_t i = 0; i < COUNT_OF(full); i++)
		close(full[i]);
	close(listener);
}

/* ---- giving up ---- */

static const char *const whole_script[] = {
	EHLO, FLIGHT, "> 250 ok", "> 250 ok", "> 354 go", "data", "gone", NULL};

static const enum client_stage abort_stages[] = {CLIENT_STAGE_SOCKET, CLIENT_STAGE_CONNECT,
	CLIENT_STAGE_GREETING, CLIENT_STAGE_EHLO, CLIENT_STAGE_ENVELOPE, CLIENT_STAGE_FINAL};

Test(client_life, abort_at_every_stage, .timeout = DIAL_LIMIT_S)
{
	static const char *const no_script[] = {"accept", "gone", NULL};

	for (size_t i = 0; i < COUNT_OF(abort_stages); i++) {
		static const char *const short_script[] = {NULL};
		const char *const *script = whole_script;
		struct letter letter;

		closed_n = 0;
		if (abort_stages[i] <= CLIENT_STAGE_CONNECT)
			script = short_script;
		else if (abort_stages[i] == CLIENT_STAGE_GREETING)
			script = no_script;
		dial_open(script, false);
		letter_init(&letter, 1);
		relay_client_give(client, &letter.job);
		dial_until_stage(abort_stages[i]);
		relay_client_abort(client);
		cr_expect(letter.done_n == 0 && closed_n == 0, "called back from inside");
		cr_expect(relay_client_state(client) == RELAY_CLIENT_CLOSING);
		letter_wait(&letter);
		expect(&letter, "LATER 0 4.3.2");
		cr_expect(!letter.job.connection_failed);
		while (client != NULL)
			dial_turn();
		/* What the peer's script made of it is not the question. */
		cr_expect(closed_n == 1 && relay_clients_idle(&relay));
		relay_clients_close(&relay);
		ring_close(ring);
		peer_abandon();
	}
}

Test(client_life, all_are_aborted_at_once, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {EHLO, "gone", NULL};

	dial_open(script, false);
	dial_until_ready();
	relay_clients_abort(&relay);
	relay_client_abort(client); /* twice does no harm */
	relay_client_quit(client);
	dial_close();
	cr_expect(closed.result == RELAY_RESULT_LATER);
}
