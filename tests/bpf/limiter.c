/* SPDX-License-Identifier: MIT */
/*
 * limiter: see limiter.h. Rules, penalties and good conduct are put where the gateway would come to
 * them in time; everything that is asked goes through fence.h.
 */
#include "tests/bpf/limiter.h"

#include <string.h>
#include <time.h>

#include "fence/fence-private.h"
#include "tests/kernel/ktest.h"

#define SOURCES_MAX 4096

static struct {
	struct fence *fence;
	struct fence_client clients[CASE_CLIENTS_MAX];
} at;

static uint64_t now_ns(void)
{
	return clock_ms() * 1000000;
}

static void put_nets(const struct fence_case *test, uint64_t over)
{
	for (size_t i = 0; i < CASE_NETS_MAX && test->nets[i].address; i++) {
		struct fence_net entry = {.action = (uint8_t)test->nets[i].action,
			.origin = FENCE_ORIGIN_OPERATOR,
			.until_ns = test->nets[i].expired ? over : 0};
		struct network net = {.bits = (uint8_t)test->nets[i].bits};

		case_address(test->nets[i].address, net.address);
		if (fence_is_v4(net.address))
			net.bits = (uint8_t)(net.bits + 96);
		KT_MUST(fence_lists_put(at.fence->lists, &net, &entry) == 0);
	}
}

static struct fence_entry *entry_of(const char *address, const struct fence_rules *rules)
{
	uint8_t whole[16], source[16];
	struct fence_entry *entry;

	case_address(address, whole);
	fence_source_of(rules, whole, source);
	entry = fence_limiter_hold(at.fence->limiter, source, now_ns());
	KT_MUST(entry != NULL);
	return entry;
}

static void limiter_begin(const struct fence_case *test, const struct fence_rules *rules)
{
	struct fence_settings settings = {.mode = FENCE_MODE_USER,
		.prefix_v4 = 32,
		.prefix_v6 = 64,
		.sources_max = SOURCES_MAX,
		.behaved_factor = 1};
	uint64_t live = now_ns() + 3600 * FENCE_NS, over = now_ns() - FENCE_NS;
	struct fence_entry *entry;
	struct err err;

	memset(&at, 0, sizeof(at));
	KT_MUST(fence_open(&at.fence, &settings, NULL, 0, NULL, 0, &err) == 0);
	at.fence->rules = *rules;
	put_nets(test, over);
	for (size_t i = 0; i < CASE_CONDUCTS_MAX && test->behaved[i].address; i++) {
		entry = entry_of(test->behaved[i].address, rules);
		entry->behaved_until_ns = test->behaved[i].expired ? over : live;
		fence_limiter_release(at.fence->limiter, entry);
	}
	for (size_t i = 0; i < CASE_CONDUCTS_MAX && test->penalties[i].address; i++) {
		entry = entry_of(test->penalties[i].address, rules);
		entry->penalty_until_ns = test->penalties[i].expired ? over : live;
		fence_limiter_release(at.fence->limiter, entry);
	}
}

/* The verdict on what was received is told by what it is counted as. */
static enum fence_reason limiter_send(const struct case_step *step)
{
	struct fence_client *client = &at.clients[step->client];
	struct fence_counts before, after;
	enum fence_reason found = FENCE_REASONS;
	uint32_t pause;

	if (client->exempt) {
		pause = fence_received(at.fence, client, step->bytes, now_ns());
		return pause == 0 ? FENCE_ALLOWED : FENCE_REASONS;
	}
	fence_counts(at.fence, &before);
	pause = fence_received(at.fence, client, step->bytes, now_ns());
	fence_counts(at.fence, &after);
	for (int i = 0; i < FENCE_REASONS; i++) {
		const struct fence_count *old = &before.by[1][client->class][i];
		const struct fence_count *new = &after.by[1][client->class][i];

		if (new->packets == old->packets + 1 && new->bytes == old->bytes + step->bytes)
			found = (enum fence_reason)i;
	}
	/* Counted as one thing and done as another is a reason that no case expects. */
	return (pause == 0) == (found == FENCE_PASS) ? found : FENCE_REASONS;
}

static enum fence_reason limiter_step(const struct case_step *step)
{
	struct fence_client *client = &at.clients[step->client];
	uint8_t address[16];

	switch (step->kind) {
	case CASE_CONNECT:
		case_address(step->address, address);
		return fence_enter(at.fence, client, address, true, FENCE_PLAIN);
	case CASE_SEND:
		return limiter_send(step);
	case CASE_CLOSE:
		fence_leave(at.fence, client);
		break;
	case CASE_SHAKE:
		return fence_shake(at.fence, client, -1);
	case CASE_SHAKEN:
		fence_shaken(at.fence, client, -1, true);
		break;
	case CASE_BROKEN:
		fence_shaken(at.fence, client, -1, false);
		break;
	case CASE_END:
		break;
	}
	return step->want;
}

static void limiter_end(const uint8_t source[16], struct case_sum *sum)
{
	struct fence_entry entry = {0};
	struct fence_status status;

	(void)!fence_limiter_find(at.fence->limiter, source, &entry);
	case_sum_of(&entry.state, now_ns(), sum);
	for (int i = 0; i < CASE_CLIENTS_MAX; i++)
		fence_leave(at.fence, &at.clients[i]);
	fence_status(at.fence, &status);
	for (int i = 0; i < FENCE_GAUGES * FENCE_STANDINGS; i++)
		if ((&status.totals.gauge[0][0])[i] != 0)
			kt_ok(false, "no gauge stands up when all is closed");
	fence_close(at.fence);
}

const struct case_place place_limiter = {
	.name = "limiter",
	.shakes = true,
	.begin = limiter_begin,
	.step = limiter_step,
	.end = limiter_end,
};
