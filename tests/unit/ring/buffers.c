/* SPDX-License-Identifier: MIT */
/*
 * buffers.c -- provided buffers: multishot recv and recvmsg, exhaustion and resumption, and the
 * parsing of what recvmsg leaves in a buffer.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/ring/harness.h"

#define BUFFERS 2

static int pair[2];

static void buffers_open(void)
{
	harness_open(16, BUFFERS);
	pair_open(pair);
}

static void buffers_close(void)
{
	close(pair[0]);
	close(pair[1]);
	harness_close();
}

TestSuite(buffers, .init = buffers_open, .fini = buffers_close, .timeout = TEST_LIMIT_S);
TestSuite(msg_parse, .timeout = TEST_LIMIT_S);

Test(buffers, recv_goes_on_through_many_times_the_number_of_buffers)
{
	struct step recv;
	char text[16];

	step_init(&recv);
	ring_recv_multi(ring, &recv.op, pair[0]);
	for (unsigned i = 1; i <= 20 * BUFFERS; i++) {
		snprintf(text, sizeof(text), "message %u", i);
		put(pair[1], text);
		step_wait_calls(&recv, i);
		cr_assert(recv.flags & RING_MORE);
		cr_assert(holds(recv.held[0], text));
		release_first(&recv);
	}
	shutdown(pair[1], SHUT_WR);
	cr_assert(eq(int, step_wait(&recv), 0), "end of stream");
	cr_assert(eq(uint, recv.held_n, 0));
	cr_assert(not(recv.flags & RING_MORE));
	cr_assert(eq(i64, counter_sum(COUNTER_RING_NOBUFS), 0));
}

Test(buffers, recv_fills_at_most_one_buffer_at_a_time_and_loses_nothing)
{
	static uint8_t sent[3 * RING_BUFFER_BYTES];
	struct step recv;
	size_t got = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 31 >> 3);
	cr_assert(write(pair[1], sent, sizeof(sent)) == sizeof(sent));
	step_init(&recv);
	ring_recv_multi(ring, &recv.op, pair[0]);
	while (got < sizeof(sent)) {
		struct span bytes;

		if (!recv.op.armed)
			ring_recv_multi(ring, &recv.op, pair[0]);
		ring_run(ring, NULL, NULL);
		for (; recv.held_n > 0; release_first(&recv)) {
			bytes = recv.held[0]->bytes;
			cr_assert(le(sz, bytes.n, RING_BUFFER_BYTES));
			cr_assert(memcmp(bytes.p, sent + got, bytes.n) == 0);
			got += bytes.n;
		}
	}
	cr_assert(eq(sz, got, sizeof(sent)));
	if (recv.op.armed)
		step_cancel(&recv);
}

/* Takes both buffers and lets the third message find none. */
static void exhaust(struct step *recv)
{
	step_init(recv);
	ring_recv_multi(ring, &recv->op, pair[0]);
	put(pair[1], "one");
	step_wait_calls(recv, 1);
	put(pair[1], "two");
	step_wait_calls(recv, 2);
	put(pair[1], "three");
	run_for_ms(20);
	cr_assert(eq(i64, counter_sum(COUNTER_RING_NOBUFS), 1));
}

Test(buffers, without_buffers_a_recv_sleeps_and_goes_on_when_one_is_released)
{
	struct step recv;
	int64_t enters;

	exhaust(&recv);
	enters = counter_sum(COUNTER_RING_ENTERS);
	run_for_ms(MS_OF_NO_EVENT);
	enters = counter_sum(COUNTER_RING_ENTERS) - enters;
	cr_assert(enters <= 3, "%lld enters while nothing could be done", (long long)enters);
	cr_assert(eq(uint, recv.calls, 2), "the end is held back");
	cr_assert(recv.op.armed);

	release_first(&recv);
	cr_assert(eq(int, step_wait(&recv), -ENOBUFS));
	ring_recv_multi(ring, &recv.op, pair[0]);
	step_wait_calls(&recv, 4);
	cr_assert(holds(recv.held[0], "two"));
	cr_assert(holds(recv.held[1], "three"));
	release_first(&recv);
	release_first(&recv);
	cr_assert(eq(int, step_cancel(&recv), -ECANCELED));
}

Test(buffers, a_recv_without_buffers_can_be_cancelled)
{
	struct step recv;

	exhaust(&recv);
	cr_assert(eq(int, step_cancel(&recv), -ECANCELED));
	cr_assert(eq(uint, recv.calls, 3));
	release_first(&recv);
	release_first(&recv);
	ring_recv_multi(ring, &recv.op, pair[0]);
	step_wait_calls(&recv, 4);
	cr_assert(holds(recv.held[0], "three"));
	release_first(&recv);
	step_cancel(&recv);
}

/* Many receivers for few buffers: who gets -ENOBUFS starts again at once, as a session does. */
#define CROWD          40
#define CROWD_MESSAGES 5

struct member {
	struct op op;
	int pair[2];
	unsigned got;
};

static struct ring_buffer *crowd_held;
static unsigned crowd_got;

static void member_done(struct op *op, int res, uint32_t flags)
{
	struct member *member = container_of(op, struct member, op);

	if (flags & RING_BUFFER) {
		struct ring_buffer *buffer = ring_buffer_of(ring, flags, res);

		cr_assert(eq(int, res, CROWD_MESSAGES));
		member->got++;
		crowd_got++;
		buffer->next = crowd_held;
		crowd_held = buffer;
	}
	if (op->armed)
		return;
	if (res == -ENOBUFS)
		ring_recv_multi(ring, op, member->pair[0]);
	ring_stop(ring);
}

/* Buffers are given back late, a few turns after they came. */
static void crowd_release(void *ctx)
{
	unsigned *turn = ctx;

	if (++*turn % 4 != 0)
		return;
	while (crowd_held != NULL) {
		struct ring_buffer *buffer = crowd_held;

		crowd_held = buffer->next;
		ring_buffer_release(ring, buffer);
	}
	if (crowd_got == CROWD)
		ring_stop(ring);
}

static void nudge_fire(struct wheel_timer *timer)
{
	wheel_set(ring_wheel(ring), timer, ring_now_ms(ring) + WHEEL_TICK_MS);
}

Test(buffers, a_crowd_shares_few_buffers_and_nobody_starves)
{
	static struct member members[CROWD];
	struct wheel_timer nudge;
	unsigned turn = 0;

	wheel_timer_init(&nudge, nudge_fire);
	wheel_set(ring_wheel(ring), &nudge, clock_ms());
	for (unsigned i = 0; i < CROWD; i++) {
		members[i].op.done = member_done;
		pair_open(members[i].pair);
		put(members[i].pair[1], "hello");
		ring_recv_multi(ring, &members[i].op, members[i].pair[0]);
	}
	while (crowd_got < CROWD || crowd_held != NULL)
		ring_run(ring, crowd_release, &turn);
	cr_assert(gt(i64, counter_sum(COUNTER_RING_NOBUFS), 0));
	for (unsigned i = 0; i < CROWD; i++) {
		cr_assert(eq(uint, members[i].got, 1));
	}
	wheel_clear(ring_wheel(ring), &nudge);
	for (unsigned i = 0; i < CROWD; i++) {
		struct step step;

		step_init(&step);
		if (members[i].op.armed)
			ring_cancel(ring, &step.op, &members[i].op);
		while (members[i].op.armed || step.op.armed)
			ring_run(ring, NULL, NULL);
		close(members[i].pair[0]);
		close(members[i].pair[1]);
	}
}

/* ---- recvmsg ---- */

Test(buffers, recvmsg_gives_payload_and_type_and_sees_the_end)
{
	struct msghdr msg;
	struct step recv;

	ring_msg_init(&msg);
	step_init(&recv);
	ring_recvmsg_multi(ring, &recv.op, pair[0], &msg);
	for (unsigned i = 1; i <= 4 * BUFFERS; i++) {
		put(pair[1], "payload");
		step_wait_calls(&recv, i);
		cr_assert(recv.flags & RING_MORE);
		cr_assert(ring_msg_parse(&msg, recv.held[0]));
		cr_assert(holds(recv.held[0], "payload"));
		cr_assert(eq(u8, recv.held[0]->type, 23));
		release_first(&recv);
	}
	shutdown(pair[1], SHUT_WR);
	step_wait(&recv);
	if (recv.held_n > 0) { /* the header of an empty message, or nothing at all */
		cr_assert(ring_msg_parse(&msg, recv.held[0]));
		cr_assert(eq(sz, recv.held[0]->bytes.n, 0));
		release_first(&recv);
	} else {
		cr_assert(eq(int, recv.res, 0));
	}
}

Test(buffers, recvmsg_holds_a_full_tls_record_and_no_more)
{
	static uint8_t record[16384];
	struct msghdr msg;
	struct step recv;

	memset(record, 0xa5, sizeof(record));
	ring_msg_init(&msg);
	step_init(&recv);
	cr_assert(write(pair[1], record, sizeof(record)) == sizeof(record));
	put(pair[1], "next");
	ring_recvmsg_multi(ring, &recv.op, pair[0], &msg);
	step_wait_calls(&recv, 2);
	cr_assert(ring_msg_parse(&msg, recv.held[0]));
	cr_assert(span_equal(recv.held[0]->bytes, span_of(record, sizeof(record))));
	cr_assert(ring_msg_parse(&msg, recv.held[1]));
	cr_assert(holds(recv.held[1], "next"));
	release_first(&recv);
	release_first(&recv);
	step_cancel(&recv);
}

Test(buffers, recvmsg_passes_over_a_control_message_of_another_level)
{
	struct msghdr msg;
	struct step recv;

	ring_msg_init(&msg);
	step_init(&recv);
	put_descriptor(pair[1]);
	ring_recvmsg_multi(ring, &recv.op, pair[0], &msg);
	step_wait_calls(&recv, 1);
	cr_assert(ring_msg_parse(&msg, recv.held[0]));
	cr_assert(holds(recv.held[0], "fd"));
	cr_assert(eq(u8, recv.held[0]->type, 23));
	release_first(&recv);
	step_cancel(&recv);
}

/* ---- parsing, by hand-made buffers ---- */

struct out { /* as the kernel lays it out: struct io_uring_recvmsg_out */
	uint32_t namelen;
	uint32_t controllen;
	uint32_t payloadlen;
	uint32_t flags;
};

struct parse_case {
	const char *name;
	struct out out;
	size_t cmsg_len;
	int level;
	int type;
	size_t n; /* of the completion */
	bool ok;
	uint8_t record_type;
	size_t payload;
};

#define HEAD (sizeof(struct out) + RING_CONTROL_BYTES)

static const struct parse_case parse_cases[] = {
	{"no control message", {0, 0, 5, 0}, 0, 0, 0, HEAD + 5, true, 23, 5},
	{"an alert", {0, 24, 2, 0}, 17, 282, 2, HEAD + 2, true, 21, 2},
	{"an alert without padding", {0, 17, 2, 0}, 17, 282, 2, HEAD + 2, true, 21, 2},
	{"empty payload", {0, 0, 0, 0}, 0, 0, 0, HEAD, true, 23, 0},
	{"another level", {0, 24, 1, 0}, 17, 1, 2, HEAD + 1, true, 23, 1},
	{"another type", {0, 24, 1, 0}, 17, 282, 1, HEAD + 1, true, 23, 1},
	{"shorter than its header", {0, 0, 0, 0}, 0, 0, 0, HEAD - 1, false, 0, 0},
	{"nothing at all", {0, 0, 0, 0}, 0, 0, 0, 0, false, 0, 0},
	{"control data cut", {0, 24, 2, MSG_CTRUNC}, 17, 282, 2, HEAD + 2, false, 0, 0},
	{"payload cut", {0, 0, 9, MSG_TRUNC}, 0, 0, 0, HEAD + 5, false, 0, 0},
	{"payload longer than the completion", {0, 0, 6, 0}, 0, 0, 0, HEAD + 5, false, 0, 0},
	{"payload length wraps", {0, 0, UINT32_MAX, 0}, 0, 0, 0, HEAD + 5, false, 0, 0},
	{"more control data than room", {0, RING_CONTROL_BYTES + 1, 2, 0}, 17, 282, 2, HEAD + 2,
		false, 0, 0},
	{"cmsg shorter than its head", {0, 24, 2, 0}, 15, 282, 2, HEAD + 2, false, 0, 0},
	{"cmsg of length 0", {0, 24, 2, 0}, 0, 282, 2, HEAD + 2, false, 0, 0},
	{"cmsg without its byte", {0, 24, 2, 0}, 16, 282, 2, HEAD + 2, false, 0, 0},
	{"cmsg longer than what there is", {0, 24, 2, 0}, 25, 282, 2, HEAD + 2, false, 0, 0},
	{"cmsg length wraps", {0, 24, 2, 0}, SIZE_MAX, 282, 2, HEAD + 2, false, 0, 0},
	{"half a cmsg", {0, 8, 2, 0}, 17, 282, 2, HEAD + 2, false, 0, 0},
};

Test(msg_parse, cases)
{
	for (size_t i = 0; i < COUNT_OF(parse_cases); i++) {
		const struct parse_case *c = &parse_cases[i];
		struct cmsghdr cmsg = {c->cmsg_len, c->level, c->type};
		uint8_t *bytes = calloc(1, HEAD + 16);
		uint8_t *exact = malloc(c->n + 1);
		struct ring_buffer buffer = {.bytes = span_of(exact, c->n)};
		struct msghdr msg;

		ring_msg_init(&msg);
		memcpy(bytes, &c->out, sizeof(c->out));
		memcpy(bytes + sizeof(c->out), &cmsg, sizeof(cmsg));
		bytes[sizeof(c->out) + CMSG_LEN(0)] = 21;
		memcpy(exact, bytes, c->n);
		cr_assert(ring_msg_parse(&msg, &buffer) == c->ok, "%s", c->name);
		if (c->ok) {
			cr_assert(buffer.type == c->record_type, "%s", c->name);
			cr_assert(buffer.bytes.n == c->payload, "%s", c->name);
			cr_assert(buffer.bytes.p == exact + HEAD, "%s", c->name);
		}
		free(bytes);
		free(exact);
	}
}
