/* SPDX-License-Identifier: MIT */
/*
 * wheel.h -- a hashed timer wheel: setting, moving and clearing a timer are O(1).
 *
 * One wheel a worker replaces one timeout operation a session. A tick is WHEEL_TICK_MS; a timer
 * fires in the first tick at or after its deadline, never before it. Deadlines beyond one turn of
 * the wheel stay in their slot and are passed over until their turn comes.
 */
#ifndef POSTERN_BASE_WHEEL_H
#define POSTERN_BASE_WHEEL_H

#include "base/list.h"

#define WHEEL_TICK_MS 16
#define WHEEL_SLOTS   4096 /* one turn is about 65 s */

struct wheel_timer {
	struct list node;
	uint64_t deadline_ms; /* 0: not set */
	void (*fire)(struct wheel_timer *timer);
};

struct wheel {
	uint64_t tick; /* all ticks before this one were run */
	uint32_t timers;
	uint64_t used[WHEEL_SLOTS / 64]; /* bit = slot may be non-empty */
	struct list slots[WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);
void wheel_timer_init(struct wheel_timer *timer, void (*fire)(struct wheel_timer *timer));

/* For a timer of which the turn that it brings about is all that is wanted. */
void wheel_fire_nothing(struct wheel_timer *timer);

/* Sets or moves. deadline_ms is on the clock_ms() scale and may lie in the past. */
void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t deadline_ms);
void wheel_clear(struct wheel *wheel, struct wheel_timer *timer);

/* Runs what is due. Handlers may set and clear any timer. */
void wheel_run(struct wheel *wheel, uint64_t now_ms);

/* Milliseconds until the wheel wants to run again; -1 when no timer is set. */
int64_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms);

#endif
