/* SPDX-License-Identifier: MIT */
/*
 * waiting.c -- connections that wait for their PROXY header, over a real ring: who they become, that
 * not an octet behind the header is taken, and every way in which they end.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "accept/accept-private.h"
#include "base/counter.h"
#include "base/event.h"

#define LIMIT_S   20
#define LONG_MS   60000
#define SHORT_MS  40
#define OWN       "127.0.0.1 9"
#define TURNS_MAX 1000

#define V1        "PROXY TCP4 192.0.2.7 192.0.2.25 4711 25\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2                                                                                         \
	SIGNATURE "\x21\x21\0\44\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"                          \
		  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x19\x12\x67\0\31"
#define EHLO  "EHLO client.example\r\n"
#define HELLO "\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03"

static struct ring *ring;
static struct waiting_room room;
static struct event_sink sink;
static struct sockaddr_storage own;
static int ours, theirs; /* what waits, and the balancer's end */

static struct {
	unsigned calls;
	void *ctx;
	int fd;
	struct sockaddr_storage peer;
	bool direct;
} admitted;

static void on_admit(
	void *ctx, int fd, const struct sockaddr_storage *peer, const struct sockaddr_storage *via)
{
	admitted.calls++;
	admitted.ctx = ctx;
	admitted.fd = fd;
	admitted.peer = *peer;
	admitted.direct = via == NULL;
	cr_expect(via == NULL || memcmp(via, &own, sizeof(own)) == 0, "whose header it was");
}

static void pair_open(void)
{
	int pair[2];

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	ours = pair[0];
	theirs = pair[1];
}

static void room_open(void)
{
	const struct ring_settings settings = {
		.entries = 16, .buffers = 2, .iowq_bounded = 2, .iowq_unbounded = 2};
	struct sockaddr_in *address = (struct sockaddr_in *)&own;
	struct err err = {0};

	signal(SIGPIPE, SIG_IGN);
	cr_assert(ring_open(&ring, &settings, &err) == 0, "%s", err.text);
	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address->sin_port = htons(9);
	event_sink_init(&sink);
	event_sink_use(&sink);
	waiting_open(&room, ring, on_admit, PROXY_WAITING_MAX, LONG_MS);
	pair_open();
}

static void start(void)
{
	cr_assert(waiting_start(&room, &own, "smtp", ours, &own));
	cr_assert_eq(admitted.calls, 0, "not from inside the call");
}

static void turn_over(void *ctx)
{
	(void)ctx;
	ring_stop(ring);
}

/* One turn of the loop: it sleeps until something happens. */
static void turn(void)
{
	ring_run(ring, turn_over, NULL);
}

static void until_empty(void)
{
	for (unsigned i = 0; i < TURNS_MAX && !list_empty(&room.live); i++)
		turn();
	cr_assert(list_empty(&room.live), "it waits still");
	cr_assert_eq(counter_sum(COUNTER_PROXY_WAITING), 0);
}

static void room_close(void)
{
	waiting_stop(&room);
	until_empty();
	cr_assert(waiting_stopped(&room));
	waiting_close(&room);
	event_sink_use(NULL);
	ring_close(ring);
	close(theirs);
}

static void put(const char *p, size_t n)
{
	cr_assert(write(theirs, p, n) == (ssize_t)n);
}

#define PUT(text) put(text, sizeof(text) - 1)

static int left_in(int fd)
{
	int n = -1;

	cr_assert(ioctl(fd, FIONREAD, &n) == 0);
	return n;
}

static const char *peer_text(void)
{
	static char text[64];
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&admitted.peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&admitted.peer;
	char host[INET6_ADDRSTRLEN];
	bool is_v4 = admitted.peer.ss_family == AF_INET;

	inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr,
		host, sizeof(host));
	snprintf(text, sizeof(text), "%s %u", host, ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
	return text;
}

/* It was admitted as `peer`, and `behind` is what its session will read first. */
static void is_admitted(const char *peer, bool direct, const char *behind, size_t behind_n)
{
	char got[64];

	cr_assert_eq(admitted.calls, 1);
	cr_assert_eq(admitted.ctx, &own);
	cr_assert_eq(admitted.fd, ours);
	cr_assert_str_eq(peer_text(), peer);
	cr_assert_eq(admitted.direct, direct);
	cr_assert_eq(left_in(ours), (int)behind_n, "%d octets are left", left_in(ours));
	if (behind_n > 0)
		cr_assert(read(ours, got, sizeof(got)) == (ssize_t)behind_n &&
			  memcmp(got, behind, behind_n) == 0);
	close(ours);
}

/* It was closed, and nobody heard of it. */
static void is_closed(enum counter counter)
{
	char octet;

	cr_assert_eq(admitted.calls, 0);
	cr_assert_eq(counter_sum(counter), 1);
	cr_assert(write(theirs, "x", 1) < 0 && errno == EPIPE);
	cr_assert(read(theirs, &octet, 1) <= 0);
}

/* The lines that were logged. */
static const char *logged(void)
{
	static char text[EVENT_LINE_MAX];
	struct span lines = event_sink_take(&sink);

	snprintf(text, sizeof(text), "%.*s", (int)lines.n, (const char *)lines.p);
	if (lines.n > 0)
		event_sink_taken(&sink);
	return text;
}

TestSuite(accept_waiting, .init = room_open, .fini = room_close, .timeout = LIMIT_S);

/* ---- headers ---- */

struct whole_case {
	const char *name;
	struct span header;
	struct span behind;
	const char *peer;
	bool direct;
	enum counter counter;
};

#define OCTETS(text)                                                                               \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}

static const struct whole_case wholes[] = {
	{"v1", OCTETS(V1), OCTETS(""), "192.0.2.7 4711", false, COUNTER_PROXY_HEADERS_V1},
	{"v1, EHLO", OCTETS(V1), OCTETS(EHLO), "192.0.2.7 4711", false, COUNTER_PROXY_HEADERS_V1},
	{"v1, LF", OCTETS(V1), OCTETS("\n"), "192.0.2.7 4711", false, COUNTER_PROXY_HEADERS_V1},
	{"v1 least", OCTETS("PROXY TCP6 :: :: 0 0\r\n"), OCTETS(HELLO), ":: 0", false,
		COUNTER_PROXY_HEADERS_V1},
	{"v1 UNKNOWN, EHLO", OCTETS("PROXY UNKNOWN\r\n"), OCTETS(EHLO), OWN, true,
		COUNTER_PROXY_HEADERS_LOCAL},
	{"v1 UNKNOWN with more, EHLO", OCTETS("PROXY UNKNOWN a b c\r\n"), OCTETS(EHLO), OWN, true,
		COUNTER_PROXY_HEADERS_LOCAL},
	{"v2", OCTETS(V2), OCTETS(""), "2001:db8::7 4711", false, COUNTER_PROXY_HEADERS_V2},
	{"v2, ClientHello", OCTETS(V2), OCTETS(HELLO), "2001:db8::7 4711", false,
		COUNTER_PROXY_HEADERS_V2},
	{"v2 LOCAL, EHLO", OCTETS(SIGNATURE "\x20\0\0\0"), OCTETS(EHLO), OWN, true,
		COUNTER_PROXY_HEADERS_LOCAL},
	{"two headers: the second is the client's", OCTETS(V1), OCTETS(V1), "192.0.2.7 4711", false,
		COUNTER_PROXY_HEADERS_V1},
};

static void whole_next(const struct whole_case *row)
{
	if (row > wholes) {
		close(theirs);
		pair_open();
		memset(&admitted, 0, sizeof(admitted));
	}
	start();
}

/* All that was sent is there at once, as from most balancers. */
Test(accept_waiting, in_one_piece)
{
	for (size_t i = 0; i < COUNT_OF(wholes); i++) {
		const struct whole_case *row = &wholes[i];
		int64_t before = counter_sum(row->counter);

		cr_log_info("%s", row->name);
		whole_next(row);
		put((const char *)row->header.p, row->header.n);
		if (row->behind.n > 0)
			put((const char *)row->behind.p, row->behind.n);
		until_empty();
		is_admitted(row->peer, row->direct, (const char *)row->behind.p, row->behind.n);
		cr_assert_eq(counter_sum(row->counter), before + 1);
	}
	cr_assert_str_empty(logged());
}

/* Each octet is taken before the next one is there; the last ones come with what is behind. */
Test(accept_waiting, octet_by_octet)
{
	for (size_t i = 0; i < COUNT_OF(wholes); i++) {
		const struct whole_case *row = &wholes[i];
		char last[256];

		cr_log_info("%s", row->name);
		whole_next(row);
		for (size_t at = 0; at + 1 < row->header.n; at++) {
			put((const char *)row->header.p + at, 1);
			for (unsigned turns = 0; turns < TURNS_MAX && left_in(ours) > 0; turns++)
				turn();
			cr_assert_eq(left_in(ours), 0, "octet %zu is not taken", at);
			cr_assert_eq(admitted.calls, 0);
		}
		last[0] = (char)row->header.p[row->header.n - 1];
		memcpy(last + 1, row->behind.p, row->behind.n);
		put(last, 1 + row->behind.n);
		until_empty();
		is_admitted(row->peer, row->direct, (const char *)row->behind.p, row->behind.n);
	}
}

static void nothing_done(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
}

static void urgent(char octet)
{
	cr_assert(send(theirs, &octet, 1, MSG_OOB) == 1);
}

/* A pair as pair_open()'s, over TCP: AF_UNIX has other rules for urgent data. */
static void tcp_pair_open(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(address);

	close(ours);
	close(theirs);
	theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(listening, (struct sockaddr *)&address, n) == 0);
	cr_assert(listen(listening, 1) == 0);
	cr_assert(getsockname(listening, (struct sockaddr *)&address, &n) == 0);
	cr_assert(connect(theirs, (struct sockaddr *)&address, n) == 0);
	ours = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	cr_assert(ours >= 0);
	close(listening);
}

/* Left out, it would make another client of the header: 471, not 4711. */
Test(accept_waiting, an_urgent_octet_stands_where_it_was_sent)
{
	tcp_pair_open();
	start();
	PUT("PROXY TCP4 192.0.2.7 192.0.2.25 47");
	urgent('1');
	PUT("1 25\r\n" EHLO);
	until_empty();
	is_admitted("192.0.2.7 4711", false, EHLO, strlen(EHLO));
}

/* It is taken when it comes: a look that leaves it pending would be tried again and again. */
Test(accept_waiting, an_urgent_octet_is_taken_when_it_comes)
{
	int pending = 1;

	tcp_pair_open();
	start();
	PUT("PROXY UNKNOWN who ");
	urgent('x');
	for (unsigned turns = 0; turns < TURNS_MAX && left_in(ours) > 0; turns++)
		turn();
	pending = sockatmark(ours);
	shutdown(theirs, SHUT_WR);
	until_empty();
	cr_assert_eq(pending, 0, "it waits in the socket");
	cr_assert(strstr(logged(), "reason=closed octets=19\n") != NULL);
}

/* ---- failures ---- */

static void fails(const char *text, size_t n, enum counter counter, const char *reason)
{
	char expected[128];
	const char *line;

	start();
	put(text, n);
	until_empty();
	is_closed(counter);
	snprintf(expected, sizeof(expected),
		"event=proxy_failed peer=127.0.0.1:9 listener=smtp reason=%s octets=", reason);
	line = logged();
	cr_assert_eq(strncmp(line, expected, strlen(expected)), 0, "logged: %s", line);
}

#define FAILS(text, counter, reason)                                                               \
	fails(text, sizeof(text) - 1, COUNTER_PROXY_FAILED_##counter, reason)

Test(accept_waiting, a_client_without_a_header_is_closed)
{
	FAILS(EHLO, SYNTAX, "syntax");
}

Test(accept_waiting, a_client_that_says_little_is_closed_at_once)
{
	FAILS("Q", SYNTAX, "syntax");
}

Test(accept_waiting, a_line_with_a_fault_at_its_end_is_closed)
{
	FAILS("PROXY TCP4 192.0.2.7 192.0.2.25 4711 65536\r\n" EHLO, SYNTAX, "syntax");
}

Test(accept_waiting, a_line_without_end_is_closed)
{
	static char line[300] = "PROXY UNKNOWN ";

	memset(line + strlen(line), 'x', sizeof(line) - strlen(line));
	fails(line, sizeof(line), COUNTER_PROXY_FAILED_LENGTH, "length");
}

Test(accept_waiting, a_block_that_is_too_long_is_closed_before_it_comes)
{
	FAILS(SIGNATURE "\x21\x11\xff\xff", LENGTH, "length");
}

Test(accept_waiting, a_wrong_checksum_is_closed)
{
	FAILS(SIGNATURE "\x21\x11\0\23\300\0\2\7\300\0\2\31\x12\x67\0\31\3\0\4abcd", CHECKSUM,
		"checksum");
}

/* How balancers ask whether we are there: counted, not logged. */
Test(accept_waiting, closed_without_an_octet)
{
	start();
	shutdown(theirs, SHUT_WR);
	until_empty();
	is_closed(COUNTER_PROXY_FAILED_CLOSED);
	cr_assert_str_empty(logged());
}

Test(accept_waiting, closed_in_the_middle)
{
	start();
	PUT("PROXY TCP4 192.0.2.7 ");
	shutdown(theirs, SHUT_WR);
	until_empty();
	is_closed(COUNTER_PROXY_FAILED_CLOSED);
	cr_assert_str_eq(logged(),
		"event=proxy_failed peer=127.0.0.1:9 listener=smtp reason=closed octets=21\n");
}

Test(accept_waiting, silence_has_a_limit)
{
	room.ms_max = SHORT_MS;
	start();
	until_empty();
	is_closed(COUNTER_PROXY_FAILED_TIMEOUT);
	cr_assert(strstr(logged(), "reason=timeout octets=0") != NULL);
}

static void drip(struct wheel_timer *timer)
{
	if (!list_empty(&room.live))
		(void)!write(theirs, "x", 1);
	wheel_set(ring_wheel(ring), timer, ring_now_ms(ring) + WHEEL_TICK_MS);
}

/* Octets that come slowly do not put the limit off. */
Test(accept_waiting, dripping_has_the_same_limit)
{
	struct wheel_timer timer;

	room.ms_max = SHORT_MS;
	start();
	PUT("PROXY UNKNOWN ");
	wheel_timer_init(&timer, drip);
	drip(&timer);
	until_empty();
	wheel_clear(ring_wheel(ring), &timer);
	is_closed(COUNTER_PROXY_FAILED_TIMEOUT);
	cr_assert(strstr(logged(), "reason=timeout octets=1") != NULL);
}

/* Who says nothing keeps nobody out. */
Test(accept_waiting, in_a_full_room_the_oldest_makes_place)
{
	int silent_ours = ours, silent_theirs = theirs;
	char octet;

	room.n_max = 1;
	start();
	pair_open();
	start();
	cr_assert_eq(counter_sum(COUNTER_PROXY_FAILED_FULL), 1);
	PUT(V1 EHLO);
	until_empty();
	is_admitted("192.0.2.7 4711", false, EHLO, strlen(EHLO));
	cr_assert_neq(admitted.fd, silent_ours);
	cr_assert(read(silent_theirs, &octet, 1) == 0, "it is closed");
	cr_assert_str_empty(logged());
	close(silent_theirs);
}

/* Of three, the second is the oldest that is not ending already. */
Test(accept_waiting, the_oldest_goes_first)
{
	struct op nothing = {.done = nothing_done};
	int ends[3];

	room.n_max = 1;
	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		if (i > 0)
			pair_open();
		ends[i] = theirs;
		start();
		cr_assert_eq(room.n, 1);
	}
	ring_soon(ring, &nothing);
	for (unsigned i = 0; i < TURNS_MAX && room.pool.live > 1; i++)
		turn();
	cr_assert_eq(room.pool.live, 1);
	cr_assert_eq(counter_sum(COUNTER_PROXY_FAILED_FULL), 2);
	PUT(V1);
	until_empty();
	is_admitted("192.0.2.7 4711", false, "", 0);
	close(ends[0]);
	close(ends[1]);
}

/* A worker has all of the room, then shares it: who comes makes it smaller by one, till it fits. */
Test(accept_waiting, workers_share_the_room)
{
	static const struct {
		uint32_t workers, n; /* of those that take connections; that wait then */
	} rows[] = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 5}, {1, 6}, {1, 6}, /* 1 is closed */
		{2, 5}, {2, 4}, {2, 3}, {2, 3},                             /* 2, 2, 2, 1 */
		{6, 2}, {6, 1}, {7, 1}, {1, 2}, {1, 3}};                    /* 2, 2, 1 */
	struct op nothing = {.done = nothing_done};
	int ends[COUNT_OF(rows)];

	room.all_max = 6;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (i > 0)
			pair_open();
		ends[i] = theirs;
		waiting_share(&room, rows[i].workers);
		start();
		cr_assert_eq(room.n, rows[i].n, "row %zu: %u", i, room.n);
	}
	cr_assert_eq(counter_sum(COUNTER_PROXY_FAILED_FULL), 13);
	ring_soon(ring, &nothing);
	for (unsigned i = 0; i < TURNS_MAX && room.pool.live > 3; i++)
		turn();
	cr_assert_eq(room.pool.live, 3);
	for (size_t i = 0; i + 1 < COUNT_OF(rows); i++) {
		char octet;
		ssize_t n = recv(ends[i], &octet, 1, MSG_DONTWAIT);

		cr_assert_eq(n, i + 3 < COUNT_OF(rows) ? 0 : -1, "connection %zu", i);
		close(ends[i]);
	}
}

Test(accept_waiting, a_full_room_takes_nobody)
{
	int pair[2];

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	room.pool.max = 1;
	start();
	cr_assert_not(waiting_start(&room, &own, "smtp", pair[0], &own));
	cr_assert_eq(counter_sum(COUNTER_PROXY_FAILED_FULL), 1);
	cr_assert(write(pair[0], "x", 1) == 1, "it is still ours");
	PUT(V1);
	until_empty();
	cr_assert(waiting_start(&room, &own, "smtp", pair[0], &own), "room again");
	close(pair[1]);
	close(ours);
}

/* ---- stopping ---- */

Test(accept_waiting, stopping_closes_who_waits_for_the_first_octet)
{
	struct op nothing = {.done = nothing_done};

	start();
	ring_soon(ring, &nothing);
	turn(); /* the kernel has its receive */
	waiting_stop(&room);
	cr_assert_not(waiting_stopped(&room), "its receive is armed");
	until_empty();
	cr_assert(waiting_stopped(&room));
	cr_assert_eq(admitted.calls, 0);
	cr_assert(write(theirs, "x", 1) < 0 && errno == EPIPE);
}

Test(accept_waiting, stopping_closes_who_waits_in_the_middle_of_a_line)
{
	start();
	PUT("PROXY TCP4 192.0.2.7 ");
	for (unsigned turns = 0; turns < TURNS_MAX && left_in(ours) > 0; turns++)
		turn();
	waiting_stop(&room);
	until_empty();
	cr_assert_eq(admitted.calls, 0);
	cr_assert(write(theirs, "x", 1) < 0 && errno == EPIPE);
}

/* The header is there, and the stop comes first. */
Test(accept_waiting, stopping_wins)
{
	start();
	PUT(V2);
	waiting_stop(&room);
	until_empty();
	cr_assert_eq(admitted.calls, 0);
	cr_assert(write(theirs, "x", 1) < 0 && errno == EPIPE);
}
