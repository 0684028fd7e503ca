/* SPDX-License-Identifier: MIT */
/*
 * client.c -- dialogues with next hops, one script each: what is said, and what becomes of each
 * recipient. A script that pipelines hears all of a flight before it answers, one that does not
 * finds quiet behind each command; anything else stops or spoils it.
 */
#include "tests/unit/relay/dial.h"

#define SCRIPT_MAX 48

enum {
	BINARY = 1,
	UTF8 = 2,
	BIT8 = 4,
	QUESTION = 8,
	BODY8 = 16,
	DSN = 32,
	LMTP = 64,
	SENDER = 128
};

#define EHLO_ALL                                                                                   \
	"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250-PIPELINING",             \
		"> 250-SIZE 1000", "> 250-8BITMIME", "> 250-SMTPUTF8", "> 250 DSN"
#define EHLO_BDAT                                                                                  \
	"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250-PIPELINING",             \
		"> 250 CHUNKING"
#define LHLO   "accept", "> 220 mx", "< LHLO me.example.net", "> 250-mx", "> 250 PIPELINING"
#define FLIGHT "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< DATA"
#define QUIT   "< QUIT", "> 221 bye", "eof"
#define RSET   "< RSET", "> 250 reset"

static const struct {
	const char *name;
	uint32_t recipients_n;
	unsigned flags;
	const char *outcomes;
	bool sent_dot, failed;
	const char *heard; /* octets; NULL: not looked at */
	const char *script[SCRIPT_MAX];
} rows[] = {
	{"pipelined DATA", 1, 0, "DONE 250 2.0.0", true, false, LETTER_TEXT ".\r\n",
		{EHLO_ALL, FLIGHT, "> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 2.0.0 kept",
			QUIT}},
	{"step by step", 2, 0, "DONE 250|DONE 250", true, false, LETTER_TEXT ".\r\n",
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250 mx", "< MAIL FROM:<a@b>",
			"quiet", "> 250 ok", "< RCPT TO:<r0@b>", "quiet", "> 250 ok",
			"< RCPT TO:<r1@b>", "quiet", "> 251 ok", "< DATA", "quiet", "> 354 go",
			"data", "> 250 ok", QUIT}},
	{"HELO", 1, 0, "DONE 250", true, false, NULL,
		{"accept", "> 220-mx", "> 220 here", "< EHLO me.example.net", "> 502 what",
			"< HELO me.example.net", "> 250 mx", "< MAIL FROM:<a@b>", "> 250 ok",
			"< RCPT TO:<r0@b>", "> 250 ok", "< DATA", "> 354 go", "data", "> 250 ok",
			QUIT}},
	{"replies of many lines", 1, 0, "NEVER 550 5.7.1", false, false, NULL,
		{EHLO_ALL, FLIGHT, "> 250-o", "> 250-k", "> 250 !", "> 550-5.7.1 no",
			"> 550 5.7.1 way", "> 503 none", RSET, QUIT}},
	{"LMTP, mixed", 4, LMTP, "DONE 250 2.0.0|NEVER 550 5.1.1|LATER 452 4.2.2|NEVER 552 5.2.2",
		true, false, LETTER_TEXT ".\r\n",
		{LHLO, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< RCPT TO:<r2@b>", "< RCPT TO:<r3@b>", "< DATA", "> 250 ok", "> 250 ok",
			"> 550 5.1.1 who", "> 250 ok", "> 250 ok", "> 354 go", "data",
			"> 250 2.0.0 kept", "> 452 4.2.2 full", "> 552 5.2.2 full", QUIT}},
	{"LMTP, lost between replies", 2, LMTP, "DONE 250|LATER 0 4.4.2", true, false, NULL,
		{LHLO, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>", "< DATA",
			"> 250 ok", "> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 ok",
			"close"}},
	{"LMTP, 354 for nobody", 1, LMTP, "NEVER 550", false, false, NULL,
		{LHLO, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< DATA", "> 250 ok", "> 550 no",
			"> 354 go", "gone"}},
	{"4xx for the third of five", 5, 0, "DONE 250|DONE 250|LATER 450 4.2.1|DONE 250|DONE 250",
		true, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< RCPT TO:<r2@b>", "< RCPT TO:<r3@b>", "< RCPT TO:<r4@b>", "< DATA",
			"> 250 ok", "> 250 ok", "> 250 ok", "> 450 4.2.1 busy", "> 250 ok",
			"> 250 ok", "> 354 go", "data", "> 250 ok", QUIT}},
	{"too many recipients", 3, 0, "DONE 250|LATER 452 4.5.3|LATER 552", true, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< RCPT TO:<r2@b>", "< DATA", "> 250 ok", "> 250 ok", "> 452 4.5.3 enough",
			"> 552 enough", "> 354 go", "data", "> 250 ok", QUIT}},
	{"552 that means a full mailbox", 2, 0, "DONE 250|NEVER 552 5.2.2", true, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< DATA", "> 250 ok", "> 250 ok", "> 552 5.2.2 full", "> 354 go", "data",
			"> 250 ok", QUIT}},
	{"all refused, DATA too", 2, 0, "NEVER 550|LATER 450", false, false, "",
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< DATA", "> 250 ok", "> 550 no", "> 450 no", "> 503 none", RSET, QUIT}},
	{"all refused, 354 all the same", 1, 0, "NEVER 550", false, false, ".\r\n",
		{EHLO_ALL, FLIGHT, "> 250 ok", "> 550 no", "> 354 go", "data", "> 250 kept nothing",
			RSET, QUIT}},
	{"all refused, no DATA", 1, 0, "NEVER 550", false, false, NULL,
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250 mx", "< MAIL FROM:<a@b>",
			"> 250 ok", "< RCPT TO:<r0@b>", "> 550 no", RSET, QUIT}},
	{"MAIL refused for good", 2, SENDER, "NEVER 553 5.1.8|NEVER 553 5.1.8", false, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< DATA", "> 553 5.1.8 who", "> 503 no", "> 250 ok", "> 503 no", RSET,
			QUIT}},
	{"MAIL refused for now", 1, SENDER, "LATER 451", false, false, NULL,
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250 mx", "< MAIL FROM:<a@b>",
			"> 451 later", RSET, QUIT}},
	{"DATA refused", 2, 0, "LATER 451 4.3.0|NEVER 550", false, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< DATA", "> 250 ok", "> 250 ok", "> 550 no", "> 451 4.3.0 no", RSET,
			QUIT}},
	{"DATA answered 250", 1, 0, "LATER 0 4.5.0", false, false, NULL,
		{EHLO_ALL, FLIGHT, "> 250 ok", "> 250 ok", "> 250 ok", "gone"}},
	{"message refused", 2, 0, "NEVER 554 5.6.0|NEVER 554 5.6.0", true, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< DATA", "> 250 ok", "> 250 ok", "> 250 ok", "> 354 go", "data",
			"> 554 5.6.0 spam", QUIT}},
	{"BDAT", 2, 0, "DONE 250|NEVER 550", true, false, LETTER_TEXT,
		{EHLO_BDAT, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>", "quiet",
			"> 250 ok", "> 250 ok", "> 550 no", "< BDAT 18 LAST", "octets 18",
			"> 250 ok", QUIT}},
	{"BDAT, one command at a time", 1, 0, "DONE 250", true, false, LETTER_TEXT,
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250 CHUNKING",
			"< MAIL FROM:<a@b>", "quiet", "> 250 ok", "< RCPT TO:<r0@b>", "quiet",
			"> 250 ok", "< BDAT 18 LAST", "octets 18", "> 250 ok", QUIT}},
	{"BDAT refused", 1, 0, "LATER 452", true, false, LETTER_TEXT,
		{EHLO_BDAT, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "> 250 ok", "> 250 ok",
			"< BDAT 18 LAST", "octets 18", "> 452 full", RSET, QUIT}},
	{"BDAT for nobody", 1, 0, "NEVER 550", false, false, NULL,
		{EHLO_BDAT, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "> 250 ok", "> 550 no", RSET,
			QUIT}},
	{"a question", 2, QUESTION, "DONE 250 2.1.5|NEVER 550 5.1.1", false, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>", "quiet",
			"> 250 ok", "> 250 2.1.5 yes", "> 550 5.1.1 no", RSET, QUIT}},
	{"parameters", 1, UTF8 | BODY8 | DSN, "DONE 250", true, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=q+2Bx",
			"< RCPT TO:<r0@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@b", "< DATA",
			"> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 ok", QUIT}},
	{"parameters that were not offered", 1, BODY8 | DSN, "DONE 250", true, false, NULL,
		{EHLO_BDAT, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "> 250 ok", "> 250 ok",
			"< BDAT 18 LAST", "octets 18", "> 250 ok", QUIT}},
	{"octets that look 8-bit", 1, BIT8, "DONE 250", true, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18 BODY=8BITMIME", "< RCPT TO:<r0@b>", "< DATA",
			"> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 ok", QUIT}},
	{"octets that look 8-bit and are not, without 8BITMIME", 1, BIT8, "DONE 250", true, false,
		NULL,
		{EHLO_BDAT, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "> 250 ok", "> 250 ok",
			"< BDAT 18 LAST", "octets 18", "> 250 ok", QUIT}},
	{"SMTPUTF8 not offered", 2, UTF8 | SENDER, "NEVER 553 5.6.7|NEVER 553 5.6.7", false, false,
		NULL, {EHLO_BDAT, QUIT}},
	{"binary not offered", 1, BINARY | SENDER, "NEVER 554 5.6.3", false, false, NULL,
		{EHLO_ALL, QUIT}},
	{"too large for the next hop", 1, SENDER, "NEVER 552 5.3.4", false, false, NULL,
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250 SIZE 17", QUIT}},
	{"SIZE without a number", 1, SENDER, "NEVER 550", false, false, NULL,
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250 SIZE 1x",
			"< MAIL FROM:<a@b> SIZE=18", "> 550 no", RSET, QUIT}},
	{"greeting 554", 1, 0, "NEVER 554 5.3.2", false, true, NULL,
		{"accept", "> 554 5.3.2 no mail here", "gone"}},
	{"greeting 550", 1, 0, "LATER 550", false, true, NULL,
		{"accept", "> 550 not today", "gone"}},
	{"greeting 421", 1, 0, "LATER 421", false, true, NULL, {"accept", "> 421 busy", "gone"}},
	{"no greeting", 1, 0, "LATER 0 4.4.2", false, true, NULL, {"accept", "close"}},
	{"greeting that is none", 1, 0, "LATER 0 4.4.2", false, true, NULL,
		{"accept", "> SSH-2.0-OpenSSH", "gone"}},
	{"EHLO refused for now", 1, 0, "LATER 450", false, true, NULL,
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 450 later", "gone"}},
	{"LHLO refused", 1, LMTP, "LATER 500", false, true, NULL,
		{"accept", "> 220 mx", "< LHLO me.example.net", "> 500 what", "gone"}},
	{"garbage for MAIL", 1, 0, "LATER 0 4.5.0", false, true, NULL,
		{EHLO_ALL, FLIGHT, "> OK", "gone"}},
	{"garbage for RCPT", 1, 0, "LATER 0 4.5.0", false, false, NULL,
		{EHLO_ALL, FLIGHT, "> 250 ok", "> x", "gone"}},
	{"354 for MAIL", 1, 0, "LATER 0 4.5.0", false, true, NULL,
		{EHLO_BDAT, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "> 354 ok", "gone"}},
	{"421 for MAIL", 1, 0, "LATER 421 4.3.2", false, true, NULL,
		{EHLO_ALL, FLIGHT, "> 421 4.3.2 bye", "gone"}},
	{"421 for RCPT", 2, 0, "LATER 421|LATER 421", false, true, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< DATA", "> 250 ok", "> 250 ok", "> 421 bye", "gone"}},
	{"421 for the message", 1, 0, "LATER 421", true, true, NULL,
		{EHLO_ALL, FLIGHT, "> 250 ok", "> 250 ok", "> 354 go", "data", "> 421 bye",
			"close"}},
	{"lost in DATA's place", 1, 0, "LATER 0 4.4.2", false, false, NULL,
		{EHLO_ALL, FLIGHT, "> 250 ok", "> 250 ok", "close"}},
	{"lost after the dot", 2, 0, "LATER 0 4.4.2|NEVER 550", true, false, NULL,
		{EHLO_ALL, "< MAIL FROM:<a@b> SIZE=18", "< RCPT TO:<r0@b>", "< RCPT TO:<r1@b>",
			"< DATA", "> 250 ok", "> 250 ok", "> 550 no", "> 354 go", "data", "close"}},
	{"reset after the dot", 1, 0, "LATER 0 4.4.2", true, false, NULL,
		{EHLO_ALL, FLIGHT, "> 250 ok", "> 250 ok", "> 354 go", "data", "reset"}},
	{"RSET refused", 1, SENDER, "NEVER 550", false, false, NULL,
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250 mx", "< MAIL FROM:<a@b>",
			"> 550 no", "< RSET", "> 500 what", "gone"}},
};

static void flags_set(struct letter *letter, unsigned flags)
{
	struct smtp_envelope *envelope = &letter->envelope;

	envelope->smtputf8 = flags & UTF8;
	letter->body.has_8bit = flags & BIT8;
	if (flags & BODY8)
		envelope->body = SMTP_BODY_8BITMIME;
	if (flags & BINARY)
		envelope->body = SMTP_BODY_BINARYMIME;
	if (flags & QUESTION)
		letter->job.body = NULL;
	if (flags & DSN) {
		envelope->ret = SMTP_RET_HDRS;
		envelope->envid = span_str("q+2Bx");
		letter->smtp[0].notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY;
		letter->smtp[0].orcpt = span_str("rfc822;o@b");
	}
}

static void row_play(size_t i, bool early)
{
	struct letter letter;
	const uint8_t *heard;
	size_t n;

	ready_n = closed_n = 0;
	dial_open(rows[i].script, rows[i].flags & LMTP);
	letter_init(&letter, rows[i].recipients_n);
	flags_set(&letter, rows[i].flags);
	if (early)
		relay_client_give(client, &letter.job);
	else
		ready_letter = &letter;
	while (client != NULL && letter.done_n == 0)
		dial_turn();
	if (letter.done_n == 0) { /* it never became ready */
		relay_outcome_set(&letter.outcomes[0], closed.result, closed.code, closed.enhanced,
			"%s", closed.text);
		letter.job.connection_failed = true;
		ready_letter = NULL;
	}
	cr_expect(strcmp(letter_outcomes(&letter), rows[i].outcomes) == 0, "%s: %s, %s",
		rows[i].name, letter_outcomes(&letter), letter.outcomes[0].text);
	cr_expect(letter.job.sent_dot == rows[i].sent_dot, "%s: the dot", rows[i].name);
	cr_expect(letter.job.connection_failed == rows[i].failed, "%s: failed", rows[i].name);
	cr_expect(letter.job.sender_refused == !!(rows[i].flags & SENDER), "%s: sender",
		rows[i].name);
	cr_expect(letter.job.dsn_passed == (rows[i].script[9] != NULL &&
						   strcmp(rows[i].script[8], "> 250 DSN") == 0),
		"%s: DSN", rows[i].name);
	while (client != NULL && client->rset_owed)
		dial_turn();
	if (client != NULL)
		relay_client_quit(client);
	dial_close();
	heard = peer_heard(&n);
	cr_expect(rows[i].heard == NULL || span_equal(span_of(heard, n), span_str(rows[i].heard)),
		"%s: heard %.*s", rows[i].name, (int)n, (const char *)heard);
}

Test(client, dialogues, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		row_play(i, false);
}

Test(client, dialogues_with_the_job_given_before, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		row_play(i, true);
}

Test(client, eight_bit_is_refused_without_8bitmime, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {EHLO_BDAT, QUIT, NULL};
	struct letter letter;

	dial_open(script, false);
	letter_init(&letter, 1);
	letter_text(&letter, span_str("Subject: x\r\n\r\nh\xc3\xa9\r\n"));
	letter.body.has_8bit = true;
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	cr_expect(strcmp(letter_outcomes(&letter), "NEVER 554 5.6.3") == 0);
	relay_client_quit(client);
	dial_close();
}

Test(client, lmtp_by_unix_socket, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {LHLO, "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>",
		"< DATA", "> 250 ok", "> 250 ok", "> 354 go", "data", "> 250 kept", QUIT, NULL};
	struct letter letter;

	dial_prepare(script, true, true);
	hop.path = "/run/lmtp";
	dial();
	letter_init(&letter, 1);
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	cr_expect(strcmp(letter_outcomes(&letter), "DONE 250") == 0);
	cr_expect(
		strcmp(letter.job.next_hop, "lmtp:unix:/run/lmtp") == 0, "%s", letter.job.next_hop);
	cr_expect(strcmp(letter.outcomes[0].text, "kept") == 0);
	relay_client_quit(client);
	dial_close();
}
