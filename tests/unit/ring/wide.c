/* SPDX-License-Identifier: MIT */
/*
 * wide.c -- single receives into wide buffers, by recv and by recvmsg: one buffer each, the end, none
 * left, cancellation; and what recvmsg tells of the record type, by hand-made control data. That of
 * real records is shown under kernel TLS: tests/kernel/ktls_wide.c.
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

static bool holds(const struct ring_buffer *buffer, const char *text)
{
	return span_equal(buffer->bytes, span_str(text));
}

Test(wide, recv_takes_one_buffer_and_ends)
{
	struct step recv;

	step_init(&recv);
	for (unsigned i = 0; i < 3 * RING_WIDE_BUFFERS; i++) {
		ring_recv_wide(ring, &recv.op, pair[0]);
		put(pair[1], "sealed");
		cr_assert(eq(int, step_wait(&recv), 6));
		cr_assert(not(recv.flags & RING_MORE));
		cr_assert(holds(recv.held[0], "sealed"));
		release_first(&recv);
	}
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
	ring_recv_wide(ring, &recv.op, pair[0]);
	cr_assert(eq(int, step_wait(&recv), -ENOBUFS));
	release_first(&holders);
	ring_recvmsg_wide(ring, &recv.op, pair[0], &record);
	cr_assert(eq(int, step_wait(&recv), 4), "nothing was lost");
	cr_assert(holds(recv.held[0], "late"));
	release_first(&recv);
	while (holders.held_n > 0)
		release_first(&holders);
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
