/* SPDX-License-Identifier: MIT */
/* wheel.c -- see wheel.h. */
#include "base/wheel.h"

#define SLOT_MASK (WHEEL_SLOTS - 1)

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
	wheel->tick = now_ms / WHEEL_TICK_MS;
	wheel->timers = 0;
	for (size_t i = 0; i < COUNT_OF(wheel->used); i++)
		wheel->used[i] = 0;
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		list_init(&wheel->slots[i]);
}

void wheel_timer_init(struct wheel_timer *timer, void (*fire)(struct wheel_timer *timer))
{
	list_init(&timer->node);
	timer->deadline_ms = 0;
	timer->fire = fire;
}

static uint64_t tick_of(uint64_t deadline_ms)
{
	return (deadline_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

void wheel_clear(struct wheel *wheel, struct wheel_timer *timer)
{
	if (timer->deadline_ms == 0)
		return;
	list_remove(&timer->node);
	timer->deadline_ms = 0;
	wheel->timers--;
}

void wheel_fire_nothing(struct wheel_timer *timer)
{
	(void)timer;
}

void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t deadline_ms)
{
	uint64_t tick;
	size_t slot;

	wheel_clear(wheel, timer);
	timer->deadline_ms = deadline_ms == 0 ? 1 : deadline_ms;
	tick = tick_of(timer->deadline_ms);
	if (tick < wheel->tick)
		tick = wheel->tick;
	slot = tick & SLOT_MASK;
	list_push_back(&wheel->slots[slot], &timer->node);
	wheel->used[slot / 64] |= 1ull << (slot % 64);
	wheel->timers++;
}

/* Runs one slot: fires what is due by `now_ms`, keeps what belongs to a later turn. */
static void slot_run(struct wheel *wheel, size_t slot, uint64_t now_ms)
{
	struct list due;
	struct list later;

	list_init(&due);
	list_init(&later);
	list_splice_back(&due, &wheel->slots[slot]);
	wheel->used[slot / 64] &= ~(1ull << (slot % 64));
	while (!list_empty(&due)) {
		struct list *node = list_pop_front(&due);
		struct wheel_timer *timer = container_of(node, struct wheel_timer, node);

		if (timer->deadline_ms > now_ms) {
			list_push_back(&later, node);
			continue;
		}
		timer->deadline_ms = 0;
		wheel->timers--;
		timer->fire(timer);
	}
	if (!list_empty(&later)) {
		list_splice_back(&wheel->slots[slot], &later);
		wheel->used[slot / 64] |= 1ull << (slot % 64);
	}
}

void wheel_run(struct wheel *wheel, uint64_t now_ms)
{
	uint64_t last = now_ms / WHEEL_TICK_MS;
	uint64_t first = wheel->tick;

	if (last < first)
		return;
	if (last - first >= WHEEL_SLOTS)
		first = last - WHEEL_SLOTS + 1;
	wheel->tick = last + 1;
	for (uint64_t tick = first; tick <= last; tick++) {
		size_t slot = tick & SLOT_MASK;

		if (wheel->used[slot / 64] & (1ull << (slot % 64)))
			slot_run(wheel, slot, now_ms);
	}
}

int64_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms)
{
	if (wheel->timers == 0)
		return -1;
	for (uint64_t i = 0; i < WHEEL_SLOTS;) {
		size_t slot = (wheel->tick + i) & SLOT_MASK;
		uint64_t word = wheel->used[slot / 64] >> (slot % 64);
		uint64_t at;

		if (word == 0) {
			i += 64 - slot % 64;
			continue;
		}
		at = (wheel->tick + i + (uint64_t)__builtin_ctzll(word)) * WHEEL_TICK_MS;
		return at > now_ms ? (int64_t)(at - now_ms) : 0;
	}
	return 0;
}
