/* SPDX-License-Identifier: MIT */
/*
 * wide.c -- single receives into wide buffers, by recv and by recvmsg: one buffer each, the end, none
 * left, which is said at once and counted, cancellation; and what recvmsg tells of the record type, by
 * hand-made control data. That of real records is shown under kernel TLS: tests/kernel/ktls_wide.c.
 */
#include "tests/unit/ring/harness.h"

#define SMALL_BUFFERS 2

static int pair[2];

static void wide_open(void)
{
	harness_open(16, SMALL_BUFFERS);
	pair_open(pair);
}

static void wide_close(void)
{
	close(pair[0]);
	close(pair[1]);
	harness_close();
}

TestSuite(wide, .init = wide_open, .fini = wide_close, .timeout = TEST_LIMIT_S);
TestSuite(record_parse, .timeout = TEST_LIMIT_S);

static int64_t none_free(void)
{
	return counter_sum(COUNTER_RING_WIDE_NOBUFS);
}

Test(wide, recv_takes_one_buffer_and_ends)
{
	struct step recv;

	step_init(&recv);
	for (unsigned i = 0; i < 3 * RING_WIDE_BUFFERS; i++) {
		ring_recv_wide(ring, &recv.op, pair[0], RING_WIDE_BYTES);
		put(pair[1], "sealed");
		cr_assert(eq(int, step_wait(&recv), 6));
		cr_assert(not(recv.flags & RING_MORE));
		cr_assert(holds(recv.held[0], "sealed"));
		release_first(&recv);
	}
	cr_assert(eq(i64, counter_sum(COUNTER_RING_WIDE), 3 * RING_WIDE_BUFFERS));
}

Test(wide, recvmsg_takes_one_buffer_and_ends)
{
	struct ring_record record;
	struct step recv;

	step_init(&recv);
	for (unsigned i = 0; i < 3 * RING_WIDE_BUFFERS; i++) {
		ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
		put(pair[1], "opened");
		cr_assert(eq(int, step_wait(&recv), 6));
		cr_assert(not(recv.flags & RING_MORE));
		cr_assert(ring_record_parse(&record, recv.held[0]));
		cr_assert(holds(recv.held[0], "opened"));
		cr_assert(eq(u8, recv.held[0]->type, 23));
		release_first(&recv);
	}
}

Test(wide, recvmsg_fills_all_of_a_buffer)
{
	static uint8_t sent[RING_WIDE_BYTES];
	struct ring_record record;
	struct step recv;
	size_t got = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 31 >> 3);
	cr_assert(write(pair[1], sent, sizeof(sent)) == sizeof(sent));
	step_init(&recv);
	ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
	step_wait(&recv);
	cr_assert(ring_record_parse(&record, recv.held[0]));
	got = recv.held[0]->bytes.n;
	cr_assert(gt(sz, got, RING_BUFFER_BYTES));
	cr_assert(memcmp(recv.held[0]->bytes.p, sent, got) == 0);
	release_first(&recv);
}

Test(wide, recvmsg_sees_the_end)
{
	struct ring_record record;
	struct step recv;

	step_init(&recv);
	ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
	shutdown(pair[1], SHUT_WR);
	cr_assert(eq(int, step_wait(&recv), 0));
	while (recv.held_n > 0) { /* an empty buffer, or none at all */
		cr_assert(ring_record_parse(&record, recv.held[0]));
		cr_assert(eq(sz, recv.held[0]->bytes.n, 0));
		cr_assert(eq(u8, recv.held[0]->type, 23));
		release_first(&recv);
	}
}

Test(wide, recvmsg_can_be_cancelled)
{
	struct ring_record record;
	struct step recv;

	step_init(&recv);
	ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
	cr_assert(eq(int, step_cancel(&recv), -ECANCELED));
	cr_assert(eq(uint, recv.held_n, 0));
}

Test(wide, recvmsg_passes_over_a_control_message_of_another_level)
{
	struct ring_record record;
	struct step recv;

	step_init(&recv);
	put_descriptor(pair[1]);
	ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
	cr_assert(eq(int, step_wait(&recv), 2));
	cr_assert(ring_record_parse(&record, recv.held[0]));
	cr_assert(holds(recv.held[0], "fd"));
	cr_assert(eq(u8, recv.held[0]->type, 23));
	release_first(&recv);
}

/* Nobody waits for a wide buffer: the small ones are the way for as long as there is none. */
Test(wide, none_left_is_said_at_once)
{
	struct ring_record record;
	struct step holders;
	struct step recv;

	step_init(&holders);
	step_init(&recv);
	for (unsigned i = 0; i < RING_WIDE_BUFFERS; i++) {
		put(pair[1], "held");
		ring_recvmsg_wide(ring, &holders.op, pair[0], &record);
		step_wait(&holders);
	}
	put(pair[1], "late");
	ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
	cr_assert(eq(int, step_wait(&recv), -ENOBUFS));
	ring_recv_wide(ring, &recv.op, pair[0], RING_WIDE_BYTES);
	cr_assert(eq(int, step_wait(&recv), -ENOBUFS));
	cr_assert(eq(i64, none_free(), 2), "it is counted");
	release_first(&holders);
	ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
	cr_assert(eq(int, step_wait(&recv), 4), "nothing was lost");
	cr_assert(holds(recv.held[0], "late"));
	release_first(&recv);
	while (holders.held_n > 0)
		release_first(&holders);
}

static void receive(struct step *step, const char *text)
{
	put(pair[1], text);
	ring_recv_wide(ring, &step->op, pair[0], RING_WIDE_BYTES);
	cr_assert(eq(int, step_wait(step), (int)strlen(text)));
	cr_assert(span_equal(step->held[step->held_n - 1]->bytes, span_str(text)));
}

/* All of them are held: by one step, which gives the oldest back first. */
static void take_all(struct step *step)
{
	step_init(step);
	for (unsigned i = 0; i < RING_WIDE_BUFFERS; i++)
		receive(step, "octets");
	cr_assert(eq(uint, step->held_n, RING_WIDE_BUFFERS));
	cr_assert(eq(i64, none_free(), 0));
}

static void release_all(struct step *step)
{
	while (step->held_n > 0)
		release_first(step);
}

/* More receives than there are buffers wait without taking one. */
Test(wide, who_waits_has_none)
{
	static struct step steps[2 * RING_WIDE_BUFFERS];
	int pairs[COUNT_OF(steps)][2];

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		step_init(&steps[i]);
		pair_open(pairs[i]);
		ring_recv_wide(ring, &steps[i].op, pairs[i][0], RING_WIDE_BYTES);
	}
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		put(pairs[i][1], "x");
		cr_assert(eq(int, step_wait(&steps[i]), 1), "receive %zu", i);
		release_first(&steps[i]);
	}
	cr_assert(eq(i64, none_free(), 0));
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		close(pairs[i][0]);
		close(pairs[i][1]);
	}
}

/* At once: nothing has come that it could be told of, and nothing is given back meanwhile. */
Test(wide, without_one_a_receive_ends_at_once)
{
	struct step holder, late;

	take_all(&holder);
	step_init(&late);
	for (unsigned i = 1; i <= 3; i++) {
		ring_recv_wide(ring, &late.op, pair[0], RING_WIDE_BYTES);
		cr_assert(eq(int, step_wait(&late), -ENOBUFS));
		cr_assert(not(late.was_armed));
		cr_assert(eq(uint, late.held_n, 0));
		cr_assert(eq(i64, none_free(), i));
	}
	cr_assert(eq(i64, counter_sum(COUNTER_RING_NOBUFS), 0), "those are the narrow ones");
	release_all(&holder);
}

/* What it did not take is there for a narrow one, and for a wide one when there is one again. */
Test(wide, the_octets_stay_for_the_next_receive)
{
	struct step holder, late;

	take_all(&holder);
	step_init(&late);
	put(pair[1], "narrow");
	ring_recv_wide(ring, &late.op, pair[0], RING_WIDE_BYTES);
	cr_assert(eq(int, step_wait(&late), -ENOBUFS));
	ring_recv_multi(ring, &late.op, pair[0]);
	step_wait_calls(&late, 2);
	cr_assert(span_equal(late.held[0]->bytes, span_str("narrow")));
	release_first(&late);
	cr_assert(eq(int, step_cancel(&late), -ECANCELED));

	release_first(&holder);
	receive(&late, "wide");
	cr_assert(eq(i64, none_free(), 1));
	release_first(&late);
	release_all(&holder);
}

/* The same op takes narrow ones afterwards: what they lack is waited for, and counted as theirs. */
Test(wide, an_op_is_wide_for_one_receive)
{
	struct step holder, op;

	step_init(&op);
	receive(&op, "wide");
	release_first(&op);
	step_init(&holder);
	ring_recv_multi(ring, &holder.op, pair[0]);
	for (unsigned i = 1; i <= 2; i++) {
		put(pair[1], "x");
		step_wait_calls(&holder, i);
	}
	step_cancel(&holder);
	put(pair[1], "y");
	ring_recv_multi(ring, &op.op, pair[0]);
	run_for_ms(20);
	cr_assert(op.op.armed, "its end is held back");
	cr_assert(eq(i64, counter_sum(COUNTER_RING_NOBUFS), 1));
	cr_assert(eq(i64, none_free(), 0));
	release_all(&holder);
	cr_assert(eq(int, step_wait(&op), -ENOBUFS));
	cr_assert(eq(i64, counter_sum(COUNTER_RING_WIDE), 1), "narrow ones are not counted");
}

/* ---- the record type ---- */

struct parse_case {
	const char *name;
	size_t controllen;
	int flags;
	size_t cmsg_len;
	int level;
	int type;
	bool ok;
	uint8_t record_type;
};

static const struct parse_case parse_cases[] = {
	{"no control message", 0, 0, 0, 0, 0, true, 23},
	{"an alert", 24, 0, 17, 282, 2, true, 21},
	{"an alert without padding", 17, 0, 17, 282, 2, true, 21},
	{"another level", 24, 0, 17, 1, 2, true, 23},
	{"another type", 24, 0, 17, 282, 1, true, 23},
	{"control data cut", 24, MSG_CTRUNC, 17, 282, 2, false, 0},
	{"payload cut", 0, MSG_TRUNC, 0, 0, 0, false, 0},
	{"more control data than room", 25, 0, 17, 282, 2, false, 0},
	{"control data length wraps", SIZE_MAX, 0, 17, 282, 2, false, 0},
	{"cmsg shorter than its head", 24, 0, 15, 282, 2, false, 0},
	{"cmsg without its byte", 24, 0, 16, 282, 2, false, 0},
	{"cmsg longer than what there is", 24, 0, 25, 282, 2, false, 0},
	{"half a cmsg", 8, 0, 17, 282, 2, false, 0},
};

Test(record_parse, cases)
{
	for (size_t i = 0; i < COUNT_OF(parse_cases); i++) {
		const struct parse_case *c = &parse_cases[i];
		struct cmsghdr cmsg = {c->cmsg_len, c->level, c->type};
		struct ring_buffer buffer = {.bytes = span_str("payload")};
		struct ring_record record = {0};

		record.msg.msg_control = record.control;
		record.msg.msg_controllen = c->controllen;
		record.msg.msg_flags = c->flags;
		memcpy(record.control, &cmsg, sizeof(cmsg));
		record.control[CMSG_LEN(0)] = 21;
		cr_assert(ring_record_parse(&record, &buffer) == c->ok, "%s", c->name);
		if (c->ok) {
			cr_assert(buffer.type == c->record_type, "%s", c->name);
			cr_assert(holds(&buffer, "payload"), "%s", c->name);
		}
	}
}
