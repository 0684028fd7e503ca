/* SPDX-License-Identifier: MIT */
/*
 * waiting.c -- connections of trusted networks, from accept to the last octet of their PROXY header.
 *
 * Nothing behind the header may be taken off the socket: what follows is SMTP's, or a ClientHello
 * that TLS reads by exact counts. So octets are received only where the header is sure to reach
 * (proxy_parse()'s `sure`); where its end cannot be told, at the end of a line, they are looked at
 * first (ring_peek()) and then exactly the header's are received.
 *
 * Urgent data (RFC 9293 3.8.5) is received in its place (SO_OOBINLINE). Else the kernel leaves its
 * octet out of the header; and a poll for a look that waits for more never sleeps while one is
 * pending, so that the look would move to a thread of its own.
 *
 * Each has one op and one timer. It is freed, and its connection closed or admitted, when neither
 * the op nor the op's cancellation is armed.
 *
 * Where too many wait the oldest goes, not the newest: a header comes within a round trip, so one
 * host of a trusted network that connects and says nothing does not keep balancers out. The limit is
 * the gateway's: the workers that take connections share it, evenly. Those that had more as there were
 * fewer of them come down to their part as others connect, or when those who wait are out of time. Till
 * then more may wait than the limit says: by half of it each time that those workers double.
 *
 * Rejected: a count that all workers share. A worker whose room is empty while the others' are full
 * would have nobody to close for one who comes.
 *
 * A connection that ends without an octet is how many balancers ask whether we are there: it is
 * counted and not logged.
 */
#include "accept/accept-private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/event.h"

#define PEER_TEXT_MAX (INET6_ADDRSTRLEN + 16)
#define END_MAX       2 /* for one who comes */

struct waiting {
	struct waiting_room *room;
	struct list node;
	void *ctx;
	const char *title;
	struct sockaddr_storage peer;
	int fd;
	bool peeking; /* the armed op leaves its octets in the socket */
	bool over;    /* to be closed when the op has ended */
	struct op op;
	struct op cancel;
	struct wheel_timer timer;
	uint32_t n;
	uint8_t bytes[PROXY_HEADER_MAX];
};

/* ---- the end ---- */

static void waiting_free(struct waiting *waiting)
{
	struct waiting_room *room = waiting->room;

	ASSERT(!waiting->op.armed && !waiting->cancel.armed);
	wheel_clear(ring_wheel(room->ring), &waiting->timer);
	list_remove(&waiting->node);
	count_add(COUNTER_PROXY_WAITING, -1);
	pool_put(&room->pool, waiting);
}

static void over_set(struct waiting *waiting)
{
	if (!waiting->over)
		waiting->room->n--;
	waiting->over = true;
}

/* Closes the connection as soon as nothing is armed. */
static void waiting_end(struct waiting *waiting)
{
	over_set(waiting);
	if (waiting->op.armed && !waiting->cancel.armed)
		ring_cancel(waiting->room->ring, &waiting->cancel, &waiting->op);
	if (waiting->op.armed || waiting->cancel.armed)
		return;
	close(waiting->fd);
	waiting_free(waiting);
}

static void peer_text(const struct sockaddr_storage *peer, char text[PEER_TEXT_MAX])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;
	char address[INET6_ADDRSTRLEN] = "";
	bool is_v4 = peer->ss_family == AF_INET;

	inet_ntop(peer->ss_family, is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr, address,
		sizeof(address));
	snprintf(text, PEER_TEXT_MAX, is_v4 ? "%s:%u" : "[%s]:%u", address,
		ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
}

static void failed(struct waiting *waiting, enum counter counter, const char *reason)
{
	char peer[PEER_TEXT_MAX];
	struct event event;

	peer_text(&waiting->peer, peer);
	event_open(&event, counter, "proxy_failed");
	event_str(&event, "peer", peer);
	event_str(&event, "listener", waiting->title);
	event_str(&event, "reason", reason);
	event_u64(&event, "octets", waiting->n);
	event_close(&event);
	waiting_end(waiting);
}

static void lost(struct waiting *waiting)
{
	if (waiting->n > 0) {
		failed(waiting, COUNTER_PROXY_FAILED_CLOSED, "closed");
		return;
	}
	count(COUNTER_PROXY_FAILED_CLOSED);
	waiting_end(waiting);
}

static void misread(struct waiting *waiting, enum proxy_fault fault)
{
	if (fault == PROXY_FAULT_CHECKSUM)
		failed(waiting, COUNTER_PROXY_FAILED_CHECKSUM, "checksum");
	else if (fault == PROXY_FAULT_LENGTH)
		failed(waiting, COUNTER_PROXY_FAILED_LENGTH, "length");
	else
		failed(waiting, COUNTER_PROXY_FAILED_SYNTAX, "syntax");
}

/* The header is whole and off the socket. */
static void admit(struct waiting *waiting, const struct proxy_header *header, bool local)
{
	struct sockaddr_storage via = waiting->peer;
	waiting_admit_fn *on_admit = waiting->room->admit;
	void *ctx = waiting->ctx;
	int fd = waiting->fd;

	if (local)
		count(COUNTER_PROXY_HEADERS_LOCAL);
	else
		count(header->version == 1 ? COUNTER_PROXY_HEADERS_V1 : COUNTER_PROXY_HEADERS_V2);
	over_set(waiting);
	waiting_free(waiting);
	if (local)
		on_admit(ctx, fd, &via, NULL);
	else
		on_admit(ctx, fd, &header->source, &via);
}

/* ---- the header ---- */

static void receive(struct waiting *waiting, size_t n)
{
	waiting->peeking = false;
	ring_recv(waiting->room->ring, &waiting->op, waiting->fd, waiting->bytes + waiting->n, n);
}

static void look(struct waiting *waiting)
{
	waiting->peeking = true;
	ring_peek(waiting->room->ring, &waiting->op, waiting->fd, waiting->bytes + waiting->n,
		PROXY_V1_MAX - waiting->n);
}

/* What is in `bytes` was received; goes on from there. */
static void received(struct waiting *waiting)
{
	struct proxy_header header;
	enum proxy_step step = proxy_parse(span_of(waiting->bytes, waiting->n), &header);

	switch (step) {
	case PROXY_STEP_MORE:
		if (header.sure > 0)
			receive(waiting, header.sure);
		else
			look(waiting);
		return;
	case PROXY_STEP_DONE:
	case PROXY_STEP_LOCAL:
		ASSERT(header.n == waiting->n);
		admit(waiting, &header, step == PROXY_STEP_LOCAL);
		return;
	case PROXY_STEP_BAD:
		misread(waiting, header.fault);
		return;
	}
}

/* `seen` octets behind those in `bytes` were looked at: receives what of them is the header's. */
static void looked(struct waiting *waiting, uint32_t seen)
{
	struct proxy_header header;
	enum proxy_step step = proxy_parse(span_of(waiting->bytes, waiting->n + seen), &header);

	switch (step) {
	case PROXY_STEP_MORE:
		receive(waiting, seen);
		return;
	case PROXY_STEP_DONE:
	case PROXY_STEP_LOCAL:
		receive(waiting, header.n - waiting->n);
		return;
	case PROXY_STEP_BAD:
		misread(waiting, header.fault);
		return;
	}
}

static void receive_done(struct op *op, int res, uint32_t flags)
{
	struct waiting *waiting = container_of(op, struct waiting, op);

	(void)flags;
	if (waiting->over) {
		waiting_end(waiting);
	} else if (res == -EINTR || res == -EAGAIN) {
		received(waiting);
	} else if (res <= 0) {
		lost(waiting);
	} else if (waiting->peeking) {
		looked(waiting, (uint32_t)res);
	} else {
		waiting->n += (uint32_t)res;
		received(waiting);
	}
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	struct waiting *waiting = container_of(op, struct waiting, cancel);

	(void)res;
	(void)flags;
	if (!waiting->op.armed)
		waiting_end(waiting);
}

static void time_over(struct wheel_timer *timer)
{
	struct waiting *waiting = container_of(timer, struct waiting, timer);

	if (!waiting->over)
		failed(waiting, COUNTER_PROXY_FAILED_TIMEOUT, "timeout");
}

/* ---- the room ---- */

void waiting_open(struct waiting_room *room, struct ring *ring, waiting_admit_fn *admit_fn,
	uint32_t all_max, uint32_t ms_max)
{
	ASSERT(all_max > 0 && all_max <= UINT32_MAX - PROXY_ENDING_MAX);
	*room = (struct waiting_room){.ring = ring,
		.admit = admit_fn,
		.n_max = all_max,
		.all_max = all_max,
		.ms_max = ms_max};
	pool_open(&room->pool, sizeof(struct waiting), all_max + PROXY_ENDING_MAX);
	list_init(&room->live);
}

void waiting_share(struct waiting_room *room, uint32_t workers)
{
	ASSERT(workers > 0);
	room->n_max = room->all_max > workers ? room->all_max / workers : 1;
}

/* Those that are ending already are few, and soon gone. */
static void oldest_end(struct waiting_room *room)
{
	struct list *node = room->live.next;

	while (container_of(node, struct waiting, node)->over)
		node = node->next;
	count(COUNTER_PROXY_FAILED_FULL);
	waiting_end(container_of(node, struct waiting, node));
}

bool waiting_start(struct waiting_room *room, void *ctx, const char *title, int fd,
	const struct sockaddr_storage *peer)
{
	struct waiting *waiting = pool_get(&room->pool);
	int one = 1;

	ASSERT(!room->stopping);
	for (unsigned i = 0; waiting != NULL && i < END_MAX && room->n >= room->n_max; i++)
		oldest_end(room);
	if (waiting == NULL) {
		count(COUNTER_PROXY_FAILED_FULL);
		return false;
	}
	*waiting = (struct waiting){
		.room = room,
		.ctx = ctx,
		.title = title,
		.peer = *peer,
		.fd = fd,
		.op.done = receive_done,
		.cancel.done = cancel_done,
	};
	(void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
	list_push_back(&room->live, &waiting->node);
	room->n++;
	count(COUNTER_PROXY_WAITING);
	wheel_timer_init(&waiting->timer, time_over);
	wheel_set(ring_wheel(room->ring), &waiting->timer, ring_now_ms(room->ring) + room->ms_max);
	received(waiting);
	return true;
}

void waiting_stop(struct waiting_room *room)
{
	struct list seen;

	room->stopping = true;
	list_init(&seen);
	while (!list_empty(&room->live)) {
		struct list *node = list_pop_front(&room->live);

		list_push_back(&seen, node);
		waiting_end(container_of(node, struct waiting, node));
	}
	list_splice_back(&room->live, &seen);
}

bool waiting_stopped(const struct waiting_room *room)
{
	return room->stopping && list_empty(&room->live);
}

void waiting_close(struct waiting_room *room)
{
	ASSERT(waiting_stopped(room));
	pool_close(&room->pool);
}
