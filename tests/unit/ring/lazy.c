/* SPDX-License-Identifier: MIT */
/* lazy.c -- sends whose end wakes nobody: told with what happens next, soon in any case. */
#include <sys/socket.h>

#include "tests/unit/ring/harness.h"

#define SOON_US 100 /* well below RING_LAZY_MS */
#define LATE_US 50000

static void lazy_open(void)
{
	harness_open(16, 8);
}

TestSuite(lazy, .init = lazy_open, .fini = harness_close, .timeout = TEST_LIMIT_S);

typedef void send_fn(struct ring *ring, struct op *op, int fd, struct span bytes);

Test(lazy, its_end_comes_with_the_next_event_in_one_entry)
{
	static const struct {
		send_fn *send;
		int64_t enters;
		uint64_t
			event_us; /* an eager send's end is heard before, however busy the machine is */
	} rows[] = {{ring_send, 2, LATE_US}, {ring_send_lazy, 1, SOON_US}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct step send, event;
		struct ring_time time;
		int64_t enters;
		int pair[2];

		pair_open(pair);
		step_init(&send);
		step_init(&event);
		rows[i].send(ring, &send.op, pair[0], span_of("250 ok\r\n", 8));
		ring_timeout(ring, &event.op, &time, rows[i].event_us);
		enters = counter_sum(COUNTER_RING_ENTERS);
		cr_assert(eq(int, step_wait(&event), -ETIME));
		enters = counter_sum(COUNTER_RING_ENTERS) - enters;
		cr_assert(eq(int, send.res, 8));
		cr_assert(eq(i64, enters, rows[i].enters), "row %zu", i);
		close(pair[0]);
		close(pair[1]);
	}
}

Test(lazy, its_end_comes_soon_when_nothing_else_happens)
{
	uint64_t before = clock_ms();
	struct step send;
	int pair[2];

	pair_open(pair);
	step_init(&send);
	for (unsigned i = 0; i < 10; i++) {
		ring_send_lazy(ring, &send.op, pair[0], span_of("x", 1));
		cr_assert(eq(int, step_wait(&send), 1));
	}
	cr_assert(clock_ms() - before < 1000);
	close(pair[0]);
	close(pair[1]);
}

Test(lazy, one_that_does_not_end_keeps_nobody_waiting)
{
	static char much[65536];
	uint64_t before = clock_ms();
	struct step lazy, receive;
	int full[2], pair[2];
	char byte;

	pair_open(full);
	pair_open(pair);
	step_init(&lazy);
	step_init(&receive);
	while (send(full[0], much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	ring_send_lazy(ring, &lazy.op, full[0], span_of("x", 1));
	ring_recv(ring, &receive.op, pair[0], &byte, 1);
	put(pair[1], "y");
	cr_assert(eq(int, step_wait(&receive), 1));
	cr_assert(lazy.op.armed);
	cr_assert(clock_ms() - before < 1000);
	cr_assert(eq(int, step_cancel(&lazy), -ECANCELED));
	close(full[0]);
	close(full[1]);
	close(pair[0]);
	close(pair[1]);
}
