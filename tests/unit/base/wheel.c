/* SPDX-License-Identifier: MIT */
/*
 * wheel.c -- the timer wheel against a naive model, with a clock of the test's own.
 *
 * The model keeps for each timer when it is due: the first tick at or after its deadline, but not a
 * tick that was run before it was set. Handlers set and clear timers at random, as sessions do.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/wheel.h"

#define TIMERS  200
#define STEPS   30000
#define TURN_MS ((uint64_t)WHEEL_SLOTS * WHEEL_TICK_MS)

static struct wheel wheel;
static uint64_t now;
static uint64_t next_tick; /* model: ticks before it were run */

static struct model {
	struct wheel_timer timer;
	uint64_t due_ms; /* 0: not set */
	uint64_t deadline_ms;
} models[TIMERS];

static unsigned fired;

static uint64_t below(uint64_t n)
{
	return (((uint64_t)random() << 31) ^ (uint64_t)random()) % n;
}

static void model_set(struct model *model, uint64_t deadline_ms)
{
	uint64_t tick = (deadline_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;

	model->deadline_ms = deadline_ms;
	model->due_ms = (tick > next_tick ? tick : next_tick) * WHEEL_TICK_MS;
	wheel_set(&wheel, &model->timer, deadline_ms);
}

static void model_clear(struct model *model)
{
	model->due_ms = 0;
	wheel_clear(&wheel, &model->timer);
}

static uint64_t some_deadline(void)
{
	switch (below(5)) {
	case 0:
		return 1 + below(now); /* past */
	case 1:
		return now + below(3 * WHEEL_TICK_MS);
	case 2:
		return now + below(TURN_MS);
	case 3:
		return now + below(5 * TURN_MS);
	default:
		return now + (1 + below(4)) * TURN_MS + below(3) - 1;
	}
}

static void model_fire(struct wheel_timer *timer)
{
	struct model *model = container_of(timer, struct model, timer);

	cr_assert(model->due_ms != 0, "fired though not set");
	cr_assert(model->deadline_ms <= now, "fired before its deadline");
	cr_assert(model->due_ms <= now);
	cr_assert(timer->deadline_ms == 0, "a firing timer is not set");
	model->due_ms = 0;
	fired++;
	if (below(4) == 0)
		model_set(model, some_deadline());
	if (below(4) == 0)
		model_set(&models[below(TIMERS)], some_deadline());
	if (below(4) == 0)
		model_clear(&models[below(TIMERS)]);
}

static void run_and_compare(void)
{
	int64_t wait;
	uint64_t first = UINT64_MAX;
	uint32_t set = 0;

	next_tick = now / WHEEL_TICK_MS + 1 > next_tick ? now / WHEEL_TICK_MS + 1 : next_tick;
	wheel_run(&wheel, now);
	for (unsigned i = 0; i < TIMERS; i++) {
		if (models[i].due_ms == 0)
			continue;
		cr_assert(models[i].due_ms > now, "timer %u should have fired", i);
		first = models[i].due_ms < first ? models[i].due_ms : first;
		set++;
	}
	cr_assert(eq(u32, wheel.timers, set));
	wait = wheel_wait_ms(&wheel, now);
	if (set == 0) {
		cr_assert(wait == -1);
		return;
	}
	cr_assert(wait > 0, "nothing is due: it must not spin");
	cr_assert(first - now >= (uint64_t)wait, "it would oversleep");
}

static void wheel_open(void)
{
	srandom(3);
	now = 1000003;
	next_tick = now / WHEEL_TICK_MS;
	wheel_init(&wheel, now);
	for (unsigned i = 0; i < TIMERS; i++)
		wheel_timer_init(&models[i].timer, model_fire);
}

TestSuite(wheel, .init = wheel_open, .timeout = 60);

Test(wheel, random_steps_against_a_naive_model)
{
	for (unsigned i = 0; i < STEPS; i++) {
		struct model *model = &models[below(TIMERS)];

		switch (below(4)) {
		case 0:
			model_clear(model);
			break;
		case 1:
			now += below(10) == 0 ? below(2 * TURN_MS) : below(100);
			run_and_compare();
			break;
		default:
			model_set(model, some_deadline());
		}
	}
	cr_assert(gt(uint, fired, 1000));
}

struct sleeper {
	struct wheel_timer timer;
	uint64_t deadline_ms;
};

static void sleeper_fire(struct wheel_timer *timer)
{
	struct sleeper *sleeper = container_of(timer, struct sleeper, timer);

	cr_assert(now >= sleeper->deadline_ms && now < sleeper->deadline_ms + WHEEL_TICK_MS,
		"%lld ms late", (long long)(now - sleeper->deadline_ms));
	fired++;
}

Test(wheel, who_sleeps_as_told_wakes_in_time_and_seldom)
{
	enum { SLEEPERS = 50, TURNS = 20 };
	static struct sleeper sleepers[SLEEPERS];
	unsigned wakes = 0;

	for (unsigned i = 0; i < SLEEPERS; i++) {
		sleepers[i].deadline_ms = now + WHEEL_TICK_MS + below(TURNS * TURN_MS);
		wheel_timer_init(&sleepers[i].timer, sleeper_fire);
		wheel_set(&wheel, &sleepers[i].timer, sleepers[i].deadline_ms);
	}
	for (int64_t wait; (wait = wheel_wait_ms(&wheel, now)) >= 0; wakes++) {
		cr_assert(gt(i64, wait, 0));
		now += (uint64_t)wait;
		wheel_run(&wheel, now);
	}
	cr_assert(eq(uint, fired, SLEEPERS));
	cr_assert(le(uint, wakes, SLEEPERS * (TURNS + 1)), "woken again and again for nothing");
}

Test(wheel, an_empty_wheel_waits_for_ever)
{
	cr_assert(eq(i64, wheel_wait_ms(&wheel, now), -1));
	model_set(&models[0], now + 5);
	model_clear(&models[0]);
	cr_assert(eq(i64, wheel_wait_ms(&wheel, now), -1));
}

Test(wheel, moving_a_timer_counts_it_once)
{
	for (unsigned i = 0; i < 10; i++)
		model_set(&models[0], now + 100 * i);
	cr_assert(eq(u32, wheel.timers, 1));
	now += 899;
	run_and_compare();
	cr_assert(eq(uint, fired, 0));
	now += WHEEL_TICK_MS + 1;
	run_and_compare();
	cr_assert(ge(uint, fired, 1));
}

static void fire_count(struct wheel_timer *timer)
{
	(void)timer;
	fired++;
}

Test(wheel, deadlines_at_the_end_of_time_never_fire)
{
	struct wheel_timer timer;

	wheel_timer_init(&timer, fire_count);
	wheel_set(&wheel, &timer, UINT64_MAX);
	for (unsigned i = 0; i < 10; i++) {
		now += TURN_MS - 1;
		wheel_run(&wheel, now);
	}
	cr_assert(eq(uint, fired, 0));
	wheel_clear(&wheel, &timer);
}

Test(wheel, a_deadline_of_zero_is_as_soon_as_possible)
{
	struct wheel_timer timer;

	wheel_timer_init(&timer, fire_count);
	wheel_set(&wheel, &timer, 0);
	now += WHEEL_TICK_MS;
	wheel_run(&wheel, now);
	cr_assert(eq(uint, fired, 1));
}

Test(wheel, a_clock_that_stands_still_runs_nothing_twice)
{
	model_set(&models[0], now);
	for (unsigned i = 0; i < 100; i++)
		wheel_run(&wheel, now);
	now += WHEEL_TICK_MS;
	next_tick = now / WHEEL_TICK_MS + 1;
	wheel_run(&wheel, now);
	cr_assert(ge(uint, fired, 1));
}
