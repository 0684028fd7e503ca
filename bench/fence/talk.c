/* SPDX-License-Identifier: MIT */
/*
 * talk.c -- real connections that mean no good: to the banner, to a handshake never finished, or
 * kept open and busy with nothing.
 *
 * Slots stand in one array. Time limits are looked at in turn, each slot every LOOK_MS, so that many
 * slots cost little. Connections end with a reset, as an attacker's would: no TIME_WAIT of our own.
 *
 * The ClientHello is a real one of OpenSSL's, made once and sent by every connection: the server has
 * all the work of its flight, we have none.
 */
#include "bench/fence/flood.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS      256
#define TURN_MS     1
#define LOOK_MS     50
#define START_MAX   256 /* a turn */
#define READ_MAX    8192
#define HELLO_MAX   4096
#define FILES_EXTRA 64
#define NO_SLOT     UINT32_MAX

enum talk_step {
	TALK_FREE,
	TALK_CONNECTING,
	TALK_BANNER,
	TALK_EHLO,
	TALK_STARTTLS,
	TALK_FLIGHT,
	TALK_HOLD,
	TALK_TRICKLE
};

struct slot {
	int fd;
	uint8_t step;
	uint8_t at;    /* octets of head */
	uint8_t octet; /* of the line that is trickled, the next one */
	char head[4];  /* of the reply's line that is coming in */
	uint32_t next_free;
	uint64_t due_ms; /* its limit, or its next line */
};

struct talk {
	const struct flood *flood;
	struct flood_counts *counts;
	int epoll_fd;
	struct slot *slots;
	uint32_t slots_n;
	uint32_t free;
	uint32_t open;
	uint32_t cursor; /* of the look at time limits */
	uint64_t looked_ms;
	uint64_t now_ms;
	uint8_t hello[HELLO_MAX];
	size_t hello_n;
};

/* ---- slots ---- */

static void slot_end(struct talk *talk, struct slot *slot)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(slot->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(slot->fd);
	slot->step = TALK_FREE;
	slot->next_free = talk->free;
	talk->free = (uint32_t)(slot - talk->slots);
	talk->open--;
}

static void slot_step(struct talk *talk, struct slot *slot, enum talk_step step, uint32_t ms)
{
	slot->step = (uint8_t)step;
	slot->due_ms = talk->now_ms + ms;
}

/* Ends the slot if not all of it went out: such a server has had enough of us. */
static bool slot_send(struct talk *talk, struct slot *slot, const void *bytes, size_t n)
{
	ssize_t sent = send(slot->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent > 0)
		talk->counts->octets_out += (uint64_t)sent;
	if (sent == (ssize_t)n)
		return true;
	talk->counts->send_errors++;
	slot_end(talk, slot);
	return false;
}

static void slot_say(struct talk *talk, struct slot *slot, const char *line, enum talk_step next)
{
	if (slot_send(talk, slot, line, strlen(line)))
		slot_step(talk, slot, next, talk->flood->answer_ms);
}

/* ---- what the server says ---- */

static void after_banner(struct talk *talk, struct slot *slot)
{
	talk->counts->banners++;
	if (talk->flood->kind != FLOOD_CONNECT)
		slot_say(talk, slot, "EHLO flood.example.net\r\n", TALK_EHLO);
	else if (talk->flood->hold_ms == 0)
		slot_end(talk, slot);
	else
		slot_step(talk, slot, TALK_HOLD, talk->flood->hold_ms);
}

static void after_ehlo(struct talk *talk, struct slot *slot)
{
	if (talk->flood->kind == FLOOD_STARTTLS)
		slot_say(talk, slot, "STARTTLS\r\n", TALK_STARTTLS);
	else /* not all at once */
		slot_step(talk, slot, TALK_TRICKLE,
			(uint32_t)(slot - talk->slots) * 7 % talk->flood->every_ms);
}

static void after_starttls(struct talk *talk, struct slot *slot)
{
	talk->counts->unfinished++;
	if (!talk->flood->hello)
		slot_step(talk, slot, TALK_HOLD, talk->flood->hold_ms);
	else if (slot_send(talk, slot, talk->hello, talk->hello_n))
		slot_step(talk, slot, TALK_FLIGHT, talk->flood->answer_ms);
}

/* A whole reply came in. */
static void on_reply(struct talk *talk, struct slot *slot)
{
	const bool good = slot->head[0] == '2';

	if (memcmp(slot->head, "421", 3) == 0) {
		talk->counts->refused_421++;
		slot_end(talk, slot);
	} else if (slot->step == TALK_TRICKLE) {
		talk->counts->replies++;
	} else if (slot->step == TALK_STARTTLS && !good) {
		talk->counts->starttls_refused++;
		slot_end(talk, slot);
	} else if (!good) {
		talk->counts->closed++;
		slot_end(talk, slot);
	} else if (slot->step == TALK_BANNER) {
		after_banner(talk, slot);
	} else if (slot->step == TALK_EHLO) {
		after_ehlo(talk, slot);
	} else if (slot->step == TALK_STARTTLS) {
		after_starttls(talk, slot);
	}
}

static void on_octets(struct talk *talk, struct slot *slot, const char *bytes, size_t n)
{
	if (slot->step == TALK_FLIGHT) {
		talk->counts->flights++;
		slot_step(talk, slot, TALK_HOLD, talk->flood->hold_ms);
		return;
	}
	for (size_t i = 0; i < n && slot->step != TALK_FREE && slot->step != TALK_HOLD; i++) {
		if (bytes[i] != '\n') {
			if (slot->at < sizeof(slot->head))
				slot->head[slot->at++] = bytes[i];
			continue;
		}
		if (slot->at == sizeof(slot->head) && slot->head[3] == ' ')
			on_reply(talk, slot);
		slot->at = 0;
	}
}

static void on_readable(struct talk *talk, struct slot *slot)
{
	char bytes[READ_MAX];
	ssize_t n = recv(slot->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n > 0) {
		talk->counts->octets_in += (uint64_t)n;
		on_octets(talk, slot, bytes, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0)
		talk->counts->closed++;
	else
		talk->counts->reset++;
	slot_end(talk, slot);
}

static void on_connected(struct talk *talk, struct slot *slot)
{
	struct epoll_event want = {.events = EPOLLIN, .data.u32 = (uint32_t)(slot - talk->slots)};
	int error = 0;
	socklen_t n = sizeof(error);

	(void)getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	if (error != 0) {
		if (error == ETIMEDOUT)
			talk->counts->timed_out++;
		else
			talk->counts->reset++;
		slot_end(talk, slot);
		return;
	}
	talk->counts->connected++;
	(void)epoll_ctl(talk->epoll_fd, EPOLL_CTL_MOD, slot->fd, &want);
	slot_step(talk, slot, TALK_BANNER, talk->flood->answer_ms);
}

/* ---- beginning ---- */

static int connect_from(const struct flood *flood, uint64_t i)
{
	const struct host source = flood_source(flood, i);
	const int one = 1;
	int fd = socket(flood->target.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (source.n > 0) {
		(void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, &source.any, source.n) < 0)
			goto no;
	}
	if (connect(fd, &flood->target.any, flood->target.n) == 0 || errno == EINPROGRESS)
		return fd;
no:
	close(fd);
	return -1;
}

static void start_one(struct talk *talk)
{
	struct epoll_event want = {.events = EPOLLOUT, .data.u32 = talk->free};
	struct slot *slot = &talk->slots[talk->free];
	int fd = connect_from(talk->flood, talk->counts->attempts++);

	if (fd < 0 || epoll_ctl(talk->epoll_fd, EPOLL_CTL_ADD, fd, &want) < 0) {
		talk->counts->send_errors++;
		if (fd >= 0)
			close(fd);
		return;
	}
	talk->free = slot->next_free;
	*slot = (struct slot){.fd = fd, .next_free = NO_SLOT};
	slot_step(talk, slot, TALK_CONNECTING, talk->flood->answer_ms);
	if (++talk->open > talk->counts->open_most)
		talk->counts->open_most = talk->open;
}

/* ---- time ---- */

static void trickle(struct talk *talk, struct slot *slot)
{
	static const char line[] = "NOOP\r\n";
	const size_t whole = sizeof(line) - 1;
	const bool octet = talk->flood->octet;

	if (!slot_send(talk, slot, line + slot->octet, octet ? 1 : whole))
		return;
	slot->octet = octet ? (uint8_t)((slot->octet + 1) % whole) : 0;
	talk->counts->lines += slot->octet == 0;
	slot_step(talk, slot, TALK_TRICKLE, talk->flood->every_ms);
}

static void on_due(struct talk *talk, struct slot *slot)
{
	if (slot->step == TALK_TRICKLE) {
		trickle(talk, slot);
		return;
	}
	if (slot->step == TALK_CONNECTING)
		talk->counts->timed_out++;
	else if (slot->step != TALK_HOLD)
		talk->counts->silent++;
	slot_end(talk, slot);
}

static void look_at_times(struct talk *talk)
{
	uint64_t elapsed = talk->now_ms - talk->looked_ms;
	uint64_t n = elapsed >= LOOK_MS ? talk->slots_n : talk->slots_n * elapsed / LOOK_MS;

	if (n == 0)
		return;
	talk->looked_ms = talk->now_ms;
	while (n-- > 0) {
		struct slot *slot = &talk->slots[talk->cursor];

		talk->cursor = (talk->cursor + 1) % talk->slots_n;
		if (slot->step != TALK_FREE && slot->due_ms <= talk->now_ms)
			on_due(talk, slot);
	}
}

/* ---- all ---- */

/* The ClientHello that OpenSSL would send. */
static int make_hello(struct talk *talk, struct err *err)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = context ? SSL_new(context) : NULL;
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	int n = 0;

	if (ssl && in && out) {
		SSL_set_bio(ssl, in, out); /* owns both now */
		(void)SSL_connect(ssl);
		n = BIO_read(out, talk->hello, sizeof(talk->hello));
	} else {
		BIO_free(in);
		BIO_free(out);
	}
	SSL_free(ssl);
	SSL_CTX_free(context);
	talk->hello_n = n > 0 ? (size_t)n : 0;
	return n > 0 ? 0 : err_set(err, "no ClientHello");
}

static int talk_open(struct talk *talk, struct err *err)
{
	const rlim_t files = talk->flood->open + FILES_EXTRA;
	struct rlimit limit = {files, files};

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_set(err, "%lu open files: %s", (unsigned long)files, strerror(errno));
	talk->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	talk->slots_n = talk->flood->open;
	talk->slots = calloc(talk->slots_n, sizeof(*talk->slots));
	if (talk->epoll_fd < 0 || !talk->slots)
		return err_set(err, "%s", strerror(errno));
	for (uint32_t i = 0; i < talk->slots_n; i++)
		talk->slots[i].next_free = i + 1 < talk->slots_n ? i + 1 : NO_SLOT;
	return talk->flood->hello ? make_hello(talk, err) : 0;
}

static void turn(struct talk *talk)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(talk->epoll_fd, events, EVENTS, TURN_MS);

	talk->now_ms = flood_now_ns() / 1000000;
	for (int i = 0; i < n; i++) {
		struct slot *slot = &talk->slots[events[i].data.u32];

		if (slot->step == TALK_CONNECTING)
			on_connected(talk, slot);
		else if (slot->step != TALK_FREE)
			on_readable(talk, slot);
	}
	look_at_times(talk);
}

int talk_flood(const struct flood *flood, struct flood_counts *counts, struct err *err)
{
	struct talk talk = {.flood = flood, .counts = counts, .epoll_fd = -1};
	uint64_t started, now, due, skipped = 0;
	int result = talk_open(&talk, err);

	started = now = flood_now_ns();
	talk.now_ms = talk.looked_ms = now / 1000000;
	while (result == 0 && !flood_over(flood, started, now, 0)) {
		if (talk.open == 0 && flood_over(flood, started, now, counts->attempts + skipped))
			break;
		due = flood_due(flood, started, now, counts->attempts + skipped, UINT64_MAX);
		for (unsigned i = 0; due > 0 && i < START_MAX && talk.free != NO_SLOT; i++, due--)
			start_one(&talk);
		/* What finds no slot is not made up for later: the rate stays a bound. */
		skipped += due;
		turn(&talk);
		now = flood_now_ns();
	}
	for (uint32_t i = 0; talk.slots && i < talk.slots_n; i++)
		if (talk.slots[i].step != TALK_FREE)
			slot_end(&talk, &talk.slots[i]);
	free(talk.slots);
	if (talk.epoll_fd >= 0)
		close(talk.epoll_fd);
	return result;
}
