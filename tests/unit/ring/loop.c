/* SPDX-License-Identifier: MIT */
/* loop.c -- the turn: sleeping, timers, waking, early submission, handlers that free or restart. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "tests/unit/ring/harness.h"

static void loop_open(void)
{
	harness_open(8, 8);
}

TestSuite(loop, .init = loop_open, .fini = harness_close, .timeout = TEST_LIMIT_S);
TestSuite(loop_death, .init = loop_open, .timeout = TEST_LIMIT_S);

Test(loop, idle_timer_fires_in_time_and_costs_a_handful_of_enters)
{
	int64_t enters = counter_sum(COUNTER_RING_ENTERS);
	uint64_t before = clock_ms();
	uint64_t took;

	run_for_ms(200);
	took = clock_ms() - before;
	cr_assert(took >= 200 && took < 2000, "took %llu ms", (unsigned long long)took);
	enters = counter_sum(COUNTER_RING_ENTERS) - enters;
	cr_assert(enters <= 3, "%lld enters", (long long)enters);
}

static unsigned turns;

static void turn_count(void *ctx)
{
	(void)ctx;
	turns++;
}

Test(loop, before_wait_runs_once_a_round_and_in_the_stopping_turn_too)
{
	struct step step;

	step_init(&step);
	ring_soon(ring, &step.op);
	ring_run(ring, turn_count, NULL);
	cr_assert(eq(uint, step.calls, 1));
	cr_assert(eq(uint, turns, 1));
}

static unsigned soon_left;

static void soon_again(struct op *op, int res, uint32_t flags)
{
	cr_assert(res == 0 && flags == 0 && !op->armed);
	if (--soon_left > 0)
		ring_soon(ring, op);
	else
		ring_stop(ring);
}

Test(loop, what_is_to_be_done_soon_needs_no_turn_of_its_own_but_lets_others_in)
{
	static const struct {
		unsigned steps;
		unsigned enters_max;
	} rows[] = {{1, 1}, {5, 1}, {100, 20}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t enters = counter_sum(COUNTER_RING_ENTERS);
		struct op op = {.done = soon_again};

		soon_left = rows[i].steps;
		turns = 0;
		ring_soon(ring, &op);
		cr_assert(op.armed && soon_left == rows[i].steps, "not from inside a call");
		ring_run(ring, turn_count, NULL);
		cr_assert(eq(uint, soon_left, 0));
		cr_assert(eq(uint, turns, rows[i].steps));
		enters = counter_sum(COUNTER_RING_ENTERS) - enters;
		cr_assert(enters <= rows[i].enters_max, "%lld", (long long)enters);
		cr_assert(rows[i].steps < 100 || enters > 5, "%lld", (long long)enters);
	}
}

Test(loop, now_is_taken_at_the_start_of_the_turn)
{
	uint64_t before = clock_ms();
	struct step step;

	step_init(&step);
	ring_soon(ring, &step.op);
	step_wait(&step);
	cr_assert(ring_now_ms(ring) >= before && ring_now_ms(ring) <= clock_ms());
}

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
	(void)number;
	alarms++;
}

Test(loop, a_signal_does_not_end_the_wait)
{
	const struct itimerval soon = {.it_value.tv_usec = 20000};
	struct sigaction action = {.sa_handler = on_alarm};
	uint64_t before = clock_ms();

	cr_assert(sigaction(SIGALRM, &action, NULL) == 0);
	cr_assert(setitimer(ITIMER_REAL, &soon, NULL) == 0);
	run_for_ms(100);
	cr_assert(clock_ms() - before >= 100);
	cr_assert(eq(int, (int)alarms, 1));
}

/* ---- waking ---- */

static unsigned wakes;

static void on_wake(void *ctx)
{
	cr_assert(ctx == &wakes);
	wakes++;
	ring_stop(ring);
}

static void *wake_from_thread(void *arg)
{
	ring_wake(arg);
	return NULL;
}

Test(loop, another_thread_wakes_a_sleeping_ring_again_and_again)
{
	ring_on_wake(ring, on_wake, &wakes);
	for (unsigned i = 1; i <= 50; i++) {
		pthread_t thread;

		cr_assert(pthread_create(&thread, NULL, wake_from_thread, ring) == 0);
		while (wakes < i)
			ring_run(ring, NULL, NULL);
		pthread_join(thread, NULL);
	}
	cr_assert(eq(uint, wakes, 50));
}

Test(loop, wakes_before_the_run_are_not_lost_and_come_as_one)
{
	ring_on_wake(ring, on_wake, &wakes);
	for (unsigned i = 0; i < 100; i++)
		ring_wake(ring);
	ring_run(ring, NULL, NULL);
	run_for_ms(MS_OF_NO_EVENT);
	cr_assert(wakes >= 1 && wakes <= 2, "%u", wakes);
}

/* ---- submission ---- */

/* Asks the kernel for as little as there is: to cancel what was never started. */
static void ask(struct op *op)
{
	static struct op nothing;

	ring_cancel(ring, op, &nothing);
}

Test(loop, more_ops_than_the_queue_holds_are_submitted_early_and_all_complete)
{
	struct step steps[100];
	int64_t full = counter_sum(COUNTER_RING_SQ_FULL);

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		step_init(&steps[i]);
		ask(&steps[i].op);
		cr_assert(steps[i].op.armed);
	}
	full = counter_sum(COUNTER_RING_SQ_FULL) - full;
	cr_assert(full >= 10 && full <= 13, "%lld", (long long)full);
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		cr_assert(eq(int, step_wait(&steps[i]), -ENOENT));
		cr_assert(eq(uint, steps[i].calls, 1));
	}
}

static unsigned burst_left;

static void burst_done(struct op *op, int res, uint32_t flags)
{
	(void)flags;
	cr_assert(res == -ENOENT);
	free(op);
	if (--burst_left == 0)
		ring_stop(ring);
}

static void burst_start(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
	for (burst_left = 0; burst_left < 200; burst_left++) {
		struct op *one = calloc(1, sizeof(*one));

		one->done = burst_done;
		ask(one);
	}
}

Test(loop, a_handler_may_start_more_ops_than_both_queues_hold)
{
	struct op op = {.done = burst_start};

	ask(&op);
	ring_run(ring, NULL, NULL);
	cr_assert(eq(uint, burst_left, 0));
}

static unsigned again_left = 1000;

static void again_done(struct op *op, int res, uint32_t flags)
{
	(void)flags;
	cr_assert(res == 0 && !op->armed);
	if (--again_left > 0)
		ring_soon(ring, op);
	else
		ring_stop(ring);
}

Test(loop, a_timeout_of_microseconds_is_no_shorter_and_can_be_cancelled)
{
	struct timespec from, to;
	struct ring_time time;
	struct step step;
	int64_t us;

	step_init(&step);
	clock_gettime(CLOCK_MONOTONIC, &from);
	ring_timeout(ring, &step.op, &time, 1500);
	cr_assert(eq(int, step_wait(&step), -ETIME));
	clock_gettime(CLOCK_MONOTONIC, &to);
	us = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
	cr_assert(ge(i64, us, 1500));
	ring_timeout(ring, &step.op, &time, 3600000000);
	cr_assert(eq(int, step_cancel(&step), -ECANCELED));
}

Test(loop, a_handler_may_start_its_own_op_again)
{
	struct op op = {.done = again_done};

	ring_soon(ring, &op);
	ring_run(ring, NULL, NULL);
	cr_assert(eq(uint, again_left, 0));
	cr_assert(not(op.armed));
}

/* An owner with two ops in flight goes when the last of them has ended. */
struct owner {
	struct op recv;
	struct op cancel;
	char byte;
};

static unsigned owners;

static void owner_step(struct owner *owner)
{
	if (owner->recv.armed || owner->cancel.armed)
		return;
	free(owner);
	if (--owners == 0)
		ring_stop(ring);
}

static void recv_done(struct op *op, int res, uint32_t flags)
{
	(void)flags;
	cr_assert(res == -ECANCELED, "%d", res);
	owner_step(container_of(op, struct owner, recv));
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	owner_step(container_of(op, struct owner, cancel));
}

Test(loop, owners_free_themselves_in_the_handler_of_their_last_completion)
{
	int pair[2];

	pair_open(pair);
	for (owners = 0; owners < 50; owners++) {
		struct owner *owner = calloc(1, sizeof(*owner));

		owner->recv.done = recv_done;
		owner->cancel.done = cancel_done;
		ring_recv(ring, &owner->recv, pair[0], &owner->byte, 1);
		ring_cancel(ring, &owner->cancel, &owner->recv);
	}
	ring_run(ring, NULL, NULL);
	cr_assert(eq(uint, owners, 0));
	close(pair[0]);
	close(pair[1]);
}

/* ---- what a programmer may not do ---- */

Test(loop_death, starting_an_armed_op, .signal = SIGABRT)
{
	struct step step;

	step_init(&step);
	ring_soon(ring, &step.op);
	ring_soon(ring, &step.op);
}

Test(loop_death, closing_with_an_op_armed, .signal = SIGABRT)
{
	struct step step;
	char byte;
	int pair[2];

	pair_open(pair);
	step_init(&step);
	ring_recv(ring, &step.op, pair[0], &byte, 1);
	ring_close(ring);
}

Test(loop_death, releasing_a_buffer_twice, .signal = SIGABRT)
{
	struct ring_buffer *buffer;
	struct step step;
	int pair[2];

	pair_open(pair);
	step_init(&step);
	ring_recv_multi(ring, &step.op, pair[0]);
	put(pair[1], "x");
	step_wait_calls(&step, 1);
	buffer = step.held[0];
	ring_buffer_release(ring, buffer);
	ring_buffer_release(ring, buffer);
}
