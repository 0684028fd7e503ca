/* SPDX-License-Identifier: MIT */
/*
 * body.c -- a message's octets: dots and line ends against a naive rewriting at every split, from
 * memory and from files, by BDAT and DATA, copied and spliced; next hops that are slow, that refuse
 * in the midst, that go away.
 */
#include "tests/unit/relay/bodies.h"
#include "tests/unit/relay/dial.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "ring/ring-private.h"

#define OFFSET 4711 /* of the message in its file */

/* ---- the stuffer ---- */

/* Line ends made CRLF first, then dots doubled, then the end: three passes, each the obvious way. */
static size_t reference(struct span in, char *out)
{
	char lines[256];
	size_t n = 0;
	size_t out_n = 0;

	for (size_t i = 0; i < in.n; i++) {
		bool cr = in.p[i] == '\r';

		if (!cr && in.p[i] != '\n') {
			lines[n++] = (char)in.p[i];
			continue;
		}
		lines[n++] = '\r';
		lines[n++] = '\n';
		i += cr && i + 1 < in.n && in.p[i + 1] == '\n';
	}
	if (n > 0 && lines[n - 1] != '\n') {
		lines[n++] = '\r';
		lines[n++] = '\n';
	}
	for (size_t i = 0; i < n; i++) {
		if (lines[i] == '.' && (i == 0 || lines[i - 1] == '\n'))
			out[out_n++] = '.';
		out[out_n++] = lines[i];
	}
	memcpy(out + out_n, ".\r\n", 3);
	return out_n + 3;
}

/* Octets by way of the stuffer, `in` in pieces, `out` in a buffer of `cap`. */
static size_t stuffed(struct span in, size_t piece, size_t cap, char *out)
{
	struct relay_stuffer stuffer = {0};
	uint8_t storage[256];
	struct buf buf;
	size_t n = 0;

	buf_init(&buf, storage, cap);
	while (in.n > 0) {
		struct span some = span_take(&in, piece);

		while (some.n > 0) {
			relay_stuff(&stuffer, &some, &buf);
			memcpy(out + n, buf.p, buf_len(&buf));
			n += buf_len(&buf);
			buf_clear(&buf);
		}
	}
	cr_assert(relay_stuff_end(&stuffer, &buf));
	memcpy(out + n, buf.p, buf_len(&buf));
	return n + buf_len(&buf);
}

static void compare(struct span in)
{
	char want[600];
	char got[600];
	size_t want_n = reference(in, want);

	for (size_t piece = 1; piece <= in.n; piece++)
		for (size_t cap = 5; cap <= 8; cap++) {
			size_t got_n = stuffed(in, piece, cap, got);

			cr_assert(got_n == want_n && memcmp(got, want, want_n) == 0,
				"pieces of %zu, room for %zu: %.*s for %.*s", piece, cap,
				(int)got_n, got, (int)in.n, (const char *)in.p);
		}
}

Test(body, stuffing_is_as_the_reference_at_every_split)
{
	static const char alphabet[] = {'\r', '\n', '.', 'x'};
	char text[7];

	/* All texts of up to seven octets of those that matter. */
	for (size_t n = 1; n <= sizeof(text); n++)
		for (size_t code = 0; code < (size_t)1 << 2 * n; code++) {
			for (size_t i = 0; i < n; i++)
				text[i] = alphabet[code >> 2 * i & 3];
			compare(span_of(text, n));
		}
}

Test(body, nothing_but_the_end_ends_it)
{
	static const char *const texts[] = {"a\n.\nb", "a\r.\rb", "a\r\n.\rb", "a\r\n.\nb",
		"a\n.\r\nb", ".\r\n", ".", "\r\n.\r\n", "a\r\r\n.\r\r\n"};
	char got[256];

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		size_t n = stuffed(span_str(texts[i]), 1, 5, got);
		const char *end;

		got[n] = '\0';
		end = strstr(got, "\r\n.\r\n");
		cr_expect(strncmp(got, ".\r\n", 3) != 0, "text %zu", i);
		cr_expect(end == got + n - 5, "text %zu ends early: %s", i, got);
		for (size_t k = 0; k < n; k++)
			cr_expect((got[k] == '\r') == (got[k + 1] == '\n'), "text %zu", i);
	}
}

Test(body, end_wants_room)
{
	struct relay_stuffer stuffer = {.line_inside = true};
	uint8_t storage[4];
	struct buf buf;

	buf_init(&buf, storage, sizeof(storage));
	cr_expect(!relay_stuff_end(&stuffer, &buf) && buf_len(&buf) == 0);
}

/* ---- whole messages ---- */

static uint8_t *text_of(size_t n)
{
	static const char line[] = "..A line of a long message, of which there are many.\r\n";
	uint8_t *p = malloc(n);

	cr_assert(p != NULL);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)line[i % (sizeof(line) - 1)];
	for (size_t i = 0; i + 8 < n; i += sizeof(line) - 1) /* no two lines are the same */
		for (size_t k = 0; k < 6 && i + 3 + k < n; k++)
			p[i + 3 + k] = (uint8_t)('a' + (i >> 4 * k & 15));
	return p;
}

static int file_of(const uint8_t *p, size_t n)
{
	char path[] = "/tmp/postern-body-XXXXXX";
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && unlink(path) == 0);
	cr_assert(pwrite(fd, p, n, OFFSET) == (ssize_t)n);
	cr_assert(pwrite(fd, "behind", 6, (off_t)(OFFSET + n)) == 6);
	return fd;
}

/* What the peer heard by DATA, dots taken off and without the end. */
static size_t unstuff(const uint8_t *in, size_t n, uint8_t *out)
{
	size_t out_n = 0;

	for (size_t i = 0; i + 3 < n; i++)
		if (in[i] != '.' || (i > 0 && in[i - 1] != '\n'))
			out[out_n++] = in[i];
		else
			out[out_n++] = in[++i];
	return out_n;
}

enum from { MEMORY, MEMORY_IN_PIECES, FILE_ };

static const struct {
	size_t n;
	enum from from;
	bool bdat;
	bool slow; /* the next hop pauses before it hears */
} whole_rows[] = {
	{0, MEMORY, false, false},
	{0, MEMORY, true, false},
	{5000, MEMORY, false, false},
	{5000, MEMORY, true, false},
	{5000, FILE_, false, false},
	{5000, FILE_, true, false},
	{16384, FILE_, true, false},
	{70001, MEMORY_IN_PIECES, false, false},
	{70001, MEMORY_IN_PIECES, true, false},
	{65535, FILE_, true, false},
	{65536, FILE_, true, false}, /* spliced from here on */
	{262144, FILE_, true, false},
	{1000003, FILE_, true, false},
	{1000003, FILE_, false, false},
	{6000001, FILE_, true, true},
	{3000001, FILE_, false, true},
	{6000001, MEMORY, true, true},
};

static struct iovec pieces[128];

static void letter_pieces(struct letter *letter, uint8_t *p, size_t n)
{
	unsigned used = 0;

	for (size_t at = 0; at < n; used++) {
		size_t some = min_size(n - at, used % 3 == 1 ? 0 : 1021 + used);

		cr_assert(used < COUNT_OF(pieces));
		pieces[used] = (struct iovec){p + at, some};
		at += some;
	}
	letter->body = (struct spool_body){.fd = -1, .n = n, .iov = pieces, .iov_n = used};
}

/* A turn that waits for nothing; others have their turn, too. */
static void turn_at_once(void)
{
	ring_wake(ring);
	dial_turn();
	sched_yield();
}

/* Until the next hop, which hears nothing, can be sent no more. Then a splice waits in a poll, not
 * in a thread. */
static void stuck_wait(bool splices)
{
	uint64_t at = UINT64_MAX;

	dial_until_stage(CLIENT_STAGE_BODY);
	while (at != client->body.at - client->piped || (splices && !client->polling)) {
		at = client->body.at - client->piped;
		for (size_t i = 0; i < 20; i++) {
			turn_at_once();
			usleep(500);
		}
	}
}

static void whole_row(size_t row)
{
	char bdat[32], octets[32];
	const char *pause = whole_rows[row].slow ? "pause" : "< ";
	const char *by_bdat[] = {BDAT, bdat, pause, octets, "> 250 ok", QUIT, NULL};
	const char *by_data[] = {DATA, pause, "data", "> 250 ok", QUIT, NULL};
	const char **script = whole_rows[row].bdat ? by_bdat : by_data;
	size_t n = whole_rows[row].n;
	uint8_t *p = text_of(n);
	uint8_t *plain = malloc(n + 2);
	int fd = file_of(p, n);
	struct letter letter;
	const uint8_t *heard;
	size_t heard_n;
	int64_t spliced = counter_sum(COUNTER_RELAY_SPLICE_BYTES);
	bool splices = whole_rows[row].from == FILE_ && whole_rows[row].bdat && n >= 65536;
	const int small = 32768; /* less than a pipe holds: a splice could get stuck */

	closed_n = 0;
	snprintf(bdat, sizeof(bdat), "< BDAT %zu LAST", n);
	snprintf(octets, sizeof(octets), "octets %zu", n);
	if (!whole_rows[row].slow) { /* leave the pause out */
		size_t i = 0;

		while (strcmp(script[i], "< ") != 0)
			i++;
		for (; script[i] != NULL; i++)
			script[i] = script[i + 1];
	}
	dial_open(script, false);
	letter_init(&letter, 1);
	if (whole_rows[row].from == FILE_)
		letter_file(&letter, fd, OFFSET, n);
	else if (whole_rows[row].from == MEMORY)
		letter_text(&letter, span_of(p, n));
	else
		letter_pieces(&letter, p, n);
	relay_client_give(client, &letter.job);
	if (whole_rows[row].slow) {
		dial_until_stage(CLIENT_STAGE_GREETING);
		cr_assert(
			setsockopt(client->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
		stuck_wait(splices);
		peer_go();
	}
	letter_wait(&letter);
	cr_expect(letter.outcomes[0].result == RELAY_RESULT_DONE && letter.job.sent_dot,
		"row %zu: %s", row, letter.outcomes[0].text);
	relay_client_quit(client);
	dial_close();
	heard = peer_heard(&heard_n);
	if (!whole_rows[row].bdat) {
		heard_n = unstuff(heard, heard_n, plain);
		heard = plain;
		heard_n -= n > 0 && p[n - 1] != '\n' ? 2 : 0;
	}
	cr_expect(span_equal(span_of(heard, heard_n), span_of(p, n)), "row %zu: %zu octets", row,
		heard_n);
	spliced = counter_sum(COUNTER_RELAY_SPLICE_BYTES) - spliced;
	cr_expect(spliced == (splices ? (int64_t)n : 0), "row %zu: %lld spliced", row,
		(long long)spliced);
	close(fd);
	free(p);
	free(plain);
}

Test(body, arrives_octet_by_octet, .timeout = DIAL_LIMIT_S)
{
	for (size_t row = 0; row < COUNT_OF(whole_rows); row++)
		whole_row(row);
}

/* A send that the next hop answers may end late; behind others there are octets, which wait for it. */
Test(body, only_the_last_send_may_end_late, .timeout = DIAL_LIMIT_S)
{
	static const struct {
		size_t n;
		bool lazy; /* the first send is the last one */
	} rows[] = {{5000, true}, {RELAY_SPLICE_MIN, false},
		{RELAY_VEC_SEND * RELAY_VEC_PIECE, false}, {1000003, false}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char bdat[32], octets[32];
		const char *script[] = {BDAT, bdat, octets, "> 250 ok", QUIT, NULL};
		uint8_t *p = text_of(rows[i].n);
		struct letter letter;

		closed_n = 0;
		snprintf(bdat, sizeof(bdat), "< BDAT %zu LAST", rows[i].n);
		snprintf(octets, sizeof(octets), "octets %zu", rows[i].n);
		dial_open(script, false);
		letter_init(&letter, 1);
		letter_text(&letter, span_of(p, rows[i].n));
		relay_client_give(client, &letter.job);
		dial_until_stage(CLIENT_STAGE_BODY);
		cr_expect(client->send.armed && (ring->lazy > 0) == rows[i].lazy, "%zu octets",
			rows[i].n);
		letter_wait(&letter);
		relay_client_quit(client);
		dial_close();
		free(p);
	}
}

/* ---- in the midst ---- */

#define LARGE         6000000
#define HEARS_NO_MORE "hears no more" /* which a time limit ends */

static const struct {
	const char *name;
	bool bdat, file;
	enum relay_result result;
	uint16_t code;
	bool failed;
	const char *script[24];
} midst_rows[] = {
	{"refused, then closed", true, true, RELAY_RESULT_NEVER, 552, false,
		{BDAT, "< BDAT 6000000 LAST", "octets 20000", "> 552 too much", "gone"}},
	{"refused, copied", true, false, RELAY_RESULT_LATER, 452, false,
		{BDAT, "< BDAT 6000000 LAST", "octets 20000", "> 452 full", "gone"}},
	{"refused and reset", true, true, RELAY_RESULT_NEVER, 552, false,
		{BDAT, "< BDAT 6000000 LAST", "octets 20000", "> 552 too much", "pause", "reset"}},
	{"DATA refused", false, true, RELAY_RESULT_NEVER, 554, false,
		{DATA, "octets 20000", "> 554 spam", "gone"}},
	{"421", false, true, RELAY_RESULT_LATER, 421, true,
		{DATA, "octets 20000", "> 421 shutting down", "gone"}},
	{"taken too early", true, true, RELAY_RESULT_LATER, 0, false,
		{BDAT, "< BDAT 6000000 LAST", "octets 20000", "> 250 kept", "gone"}},
	{"closed, spliced", true, true, RELAY_RESULT_LATER, 0, false,
		{BDAT, "< BDAT 6000000 LAST", "octets 20000", "close"}},
	{"closed, DATA", false, true, RELAY_RESULT_LATER, 0, false,
		{DATA, "octets 20000", "close"}},
	{"reset, from memory", true, false, RELAY_RESULT_LATER, 0, false,
		{BDAT, "< BDAT 6000000 LAST", "octets 20000", "reset"}},
	{HEARS_NO_MORE, true, true, RELAY_RESULT_LATER, 0, false,
		{BDAT, "< BDAT 6000000 LAST", "octets 20000", "pause"}},
};

static uint64_t now_ms;

/* Time stands still until the peer is at its last step; then it passes, however much still goes out. */
static void time_over(const struct letter *letter)
{
	while (letter->done_n == 0) {
		if (peer_at_last())
			now_ms += config.relay.reply_ms_max;
		turn_at_once();
	}
}

Test(body, next_hops_that_end_it_in_the_midst, .timeout = DIAL_LIMIT_S)
{
	uint8_t *p = text_of(LARGE);
	int fd = file_of(p, LARGE);

	for (size_t i = 0; i < COUNT_OF(midst_rows); i++) {
		bool limit = strcmp(midst_rows[i].name, HEARS_NO_MORE) == 0;
		struct letter letter;

		closed_n = 0;
		now_ms = clock_ms();
		if (limit)
			clock_set_for_test(&now_ms, NULL);
		dial_prepare(midst_rows[i].script, false, false);
		dial();
		letter_init(&letter, 1);
		if (midst_rows[i].file)
			letter_file(&letter, fd, OFFSET, LARGE);
		else
			letter_text(&letter, span_of(p, LARGE));
		relay_client_give(client, &letter.job);
		if (limit)
			time_over(&letter);
		letter_wait(&letter);
		clock_set_for_test(NULL, NULL);
		peer_go();
		cr_expect(letter.outcomes[0].result == midst_rows[i].result &&
				  letter.outcomes[0].code == midst_rows[i].code,
			"%s: %s %s", midst_rows[i].name, letter_outcomes(&letter),
			letter.outcomes[0].text);
		cr_expect(letter.job.connection_failed == midst_rows[i].failed, "%s",
			midst_rows[i].name);
		cr_expect(!letter.job.sent_dot, "%s", midst_rows[i].name);
		dial_close();
	}
	close(fd);
	free(p);
}

#define PIECE 16384
#define PIECES                                                                                     \
	64 /* the pipe takes a quarter of them, a Unix socket less: it gets stuck in the last */

/*
 * The last octets are on their way and the reply is there: it waits for them. The next hop hears
 * piece by piece until all that is left is in the pipe; then it says 250 and hears the rest.
 */
Test(body, a_reply_that_overtakes_the_end, .timeout = DIAL_LIMIT_S)
{
	static const char *script[2 * PIECES + 32] = {BDAT, "< BDAT 1048576 LAST"};
	uint8_t *p = text_of((size_t)PIECES * PIECE);
	int fd = file_of(p, (size_t)PIECES * PIECE);
	char rest[32];
	struct letter letter;
	const char *const last[] = {"> 250 ok", "pause", rest, QUIT, NULL};
	size_t first = 0;
	size_t i = 0;

	while (script[first] != NULL)
		first++;
	for (size_t k = 0; k < (size_t)2 * PIECES; k++)
		script[first + k] = k % 2 == 0 ? "pause" : "octets 16384";
	dial_prepare(script, false, true);
	dial();
	letter_init(&letter, 1);
	letter_file(&letter, fd, OFFSET, (size_t)PIECES * PIECE);
	relay_client_give(client, &letter.job);
	for (stuck_wait(true); !client->body.ended; stuck_wait(true), i++) {
		peer_go();
		while (peer_step() < first + 2 * i + 2) /* the next pause */
			turn_at_once();
	}
	snprintf(rest, sizeof(rest), "octets %zu", (PIECES - i) * PIECE);
	memcpy(&script[first + 2 * i + 1], last, sizeof(last));
	peer_go();
	while (!client->reply_held)
		dial_turn();
	cr_expect(client->stage == CLIENT_STAGE_BODY && letter.done_n == 0);
	peer_go();
	letter_wait(&letter);
	cr_expect(strcmp(letter_outcomes(&letter), "DONE 250") == 0 && letter.job.sent_dot);
	relay_client_quit(client);
	dial_close();
	close(fd);
	free(p);
}

/* A message that cannot be read to its end never gets one. */
Test(body, file_too_short, .timeout = DIAL_LIMIT_S)
{
	static const char *const scripts[][24] = {
		{DATA, "gone", NULL}, {BDAT, "< BDAT 200000 LAST", "gone", NULL}};
	uint8_t *p = text_of(100000);
	int fd = file_of(p, 100000);

	for (size_t i = 0; i < COUNT_OF(scripts); i++) {
		struct letter letter;

		closed_n = 0;
		dial_open(scripts[i], false);
		letter_init(&letter, 1);
		letter_file(&letter, fd, OFFSET, 200000);
		relay_client_give(client, &letter.job);
		letter_wait(&letter);
		cr_expect(strcmp(letter_outcomes(&letter), "LATER 0 4.3.0") == 0, "%s",
			letter_outcomes(&letter));
		cr_expect(!letter.job.connection_failed && !letter.job.sent_dot);
		dial_close();
	}
	close(fd);
	free(p);
}

static const struct {
	size_t n;
	bool has_8bit;
} scan_rows[] = {{100, false}, {100, true}, {100000, false}, {100000, true}};

Test(body, a_file_is_looked_through_where_8bitmime_is_missing, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(scan_rows); i++) {
		char bdat[32], octets[32];
		const char *good[] = {BDAT, bdat, octets, "> 250 ok", QUIT, NULL};
		const char *bad[] = {EHLO, "> 250 CHUNKING", QUIT, NULL};
		size_t n = scan_rows[i].n;
		uint8_t *p = text_of(n);
		struct letter letter;
		int fd;

		closed_n = 0;
		snprintf(bdat, sizeof(bdat), "< BDAT %zu LAST", n);
		snprintf(octets, sizeof(octets), "octets %zu", n);
		if (scan_rows[i].has_8bit)
			p[n - 1] = 0x80;
		fd = file_of(p, n);
		dial_open(scan_rows[i].has_8bit ? bad : good, false);
		letter_init(&letter, 1);
		letter_file(&letter, fd, OFFSET, n);
		letter.body.has_8bit = true;
		relay_client_give(client, &letter.job);
		letter_wait(&letter);
		cr_expect(letter.outcomes[0].code == (scan_rows[i].has_8bit ? 554 : 250),
			"row %zu: %s", i, letter.outcomes[0].text);
		relay_client_quit(client);
		dial_close();
		close(fd);
		free(p);
	}
}

Test(body, abort_while_the_next_hop_does_not_read, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {
		BDAT, "< BDAT 6000000 LAST", "octets 20000", "pause", "gone", NULL};
	uint8_t *p = text_of(LARGE);
	int fd = file_of(p, LARGE);
	struct letter letter;

	dial_open(script, false);
	letter_init(&letter, 1);
	letter_file(&letter, fd, OFFSET, LARGE);
	relay_client_give(client, &letter.job);
	while (client->body.at < 1000000)
		dial_turn();
	relay_client_abort(client);
	letter_wait(&letter);
	cr_expect(strcmp(letter_outcomes(&letter), "LATER 0 4.3.2") == 0);
	peer_go();
	dial_close();
	close(fd);
	free(p);
}
