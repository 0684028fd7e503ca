/* SPDX-License-Identifier: MIT */
/*
 * look.c -- what operators see of the fence and change in it.
 *
 * A source may be in the kernel's table, in the gateway's, or in both (through a balancer, or for its
 * handshakes): what is shown is both together. Looking takes nothing: budgets are asked of copies.
 *
 * fence_top() goes through both tables once, or a part of each, and keeps the n best in the caller's array, a heap with
 * the least at its root. First come the gateway's own, each with its part; then the kernel's, each
 * with both parts, which replaces the first. Whatever pushed a part out has more than that part, so the
 * order in which they come does not matter.
 *
 * Penalties are few, and looked for where they stand, not among all sources.
 */
#include "fence/fence-private.h"

#include <errno.h>
#include <stdlib.h>

#define NO_LIMIT        UINT64_MAX
#define STORE(word, to) __atomic_store_n(&(word), (to), __ATOMIC_RELAXED)

/* ---- a source in both tables ---- */

static struct network network_of(
	const struct fence_rules *rules, const uint8_t source[NETWORK_BYTES])
{
	struct network network = {.bits = fence_source_bits(rules, source)};

	memcpy(network.address, source, NETWORK_BYTES);
	return network;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t left_of(uint64_t until_ns, uint64_t now_ns)
{
	return until_ns > now_ns ? until_ns - now_ns : 0;
}

static void state_add(struct fence_source *to, const struct fence_source *from)
{
	for (unsigned i = 0; i < FENCE_METERS; i++)
		to->tat[i] = later(to->tat[i], from->tat[i]);
	for (unsigned i = 0; i < FENCE_GAUGES; i++)
		to->gauge[i] += from->gauge[i];
	to->seen_ns = later(to->seen_ns, from->seen_ns);
	to->passed += from->passed;
	to->refused += from->refused;
	to->paused += from->paused;
	to->plain_bytes += from->plain_bytes;
	to->upgraded_bytes += from->upgraded_bytes;
}

/* Everything that is known of a source. */
struct known {
	bool in_kernel, in_gateway;
	struct fence_source kernel;
	struct fence_entry gateway;
	uint64_t behaved_until_ns;
	uint64_t penalty_until_ns;
	uint32_t strikes;
};

/* Those that count: they lapse. */
static uint32_t strikes_of(
	const struct fence_rules *rules, const struct fence_entry *entry, uint64_t now_ns)
{
	return entry->strike_ns + rules->penalty_ns > now_ns ? entry->strikes : 0;
}

static void known_get(struct fence *fence, const uint8_t source[NETWORK_BYTES], struct known *known)
{
	*known = (struct known){0};
	if (fence->kernel != NULL)
		known->in_kernel = fence_kernel_source(fence->kernel, source, &known->kernel,
			&known->behaved_until_ns, &known->penalty_until_ns);
	known->in_gateway = fence_limiter_find(fence->limiter, source, &known->gateway);
	known->behaved_until_ns = later(known->behaved_until_ns, known->gateway.behaved_until_ns);
	known->penalty_until_ns = later(known->penalty_until_ns, known->gateway.penalty_until_ns);
	known->strikes = strikes_of(&fence->rules, &known->gateway, fence_now_ns());
}

/* ---- top ---- */

struct top {
	struct fence *fence;
	uint64_t now_ns;
	enum fence_order order;
	struct fence_seen *heap;
	size_t n, used;
};

static uint64_t weight(const struct top *top, const struct fence_seen *seen)
{
	const struct fence_source *state = &seen->state;

	switch (top->order) {
	case FENCE_ORDER_OPEN:
		return state->gauge[FENCE_OPEN];
	case FENCE_ORDER_BYTES:
		return state->plain_bytes + state->upgraded_bytes;
	case FENCE_ORDER_CONNECTIONS:
		return state->passed;
	case FENCE_ORDER_HANDSHAKES: /* unfinished now; then those that were left so */
		return (uint64_t)state->gauge[FENCE_SHAKING] << 32 | seen->strikes;
	case FENCE_ORDER_PENALTY:
		return seen->penalty_ns;
	default:
		return state->refused;
	}
}

static bool swap_if_less(struct top *top, size_t child, size_t parent)
{
	struct fence_seen seen = top->heap[child];

	if (weight(top, &seen) >= weight(top, &top->heap[parent]))
		return false;
	top->heap[child] = top->heap[parent];
	top->heap[parent] = seen;
	return true;
}

static void sift_up(struct top *top, size_t at)
{
	while (at > 0 && swap_if_less(top, at, (at - 1) / 2))
		at = (at - 1) / 2;
}

static void sift_down(struct top *top, size_t at)
{
	for (size_t child = 2 * at + 1; child < top->used; child = 2 * at + 1) {
		if (child + 1 < top->used &&
			weight(top, &top->heap[child + 1]) < weight(top, &top->heap[child]))
			child++;
		if (!swap_if_less(top, child, at))
			return;
		at = child;
	}
}

/* In some orders whoever has nothing is not there at all. */
static void offer(struct top *top, const struct fence_seen *seen)
{
	if (top->order >= FENCE_ORDER_HANDSHAKES && weight(top, seen) == 0)
		return;
	if (top->used == top->n && weight(top, seen) <= weight(top, &top->heap[0]))
		return;
	for (size_t i = 0; i < top->used; i++) {
		struct fence_seen *there = &top->heap[i];

		if (memcmp(there->source.address, seen->source.address, NETWORK_BYTES) != 0)
			continue;
		if (weight(top, seen) >= weight(top, there)) {
			*there = *seen;
			sift_down(top, i);
		}
		return;
	}
	if (top->used < top->n) {
		top->heap[top->used] = *seen;
		sift_up(top, top->used++);
	} else {
		top->heap[0] = *seen;
		sift_down(top, 0);
	}
}

static void offer_gateway(void *ctx, const struct fence_entry *entry)
{
	struct top *top = ctx;
	struct fence_seen seen = {
		.source = network_of(&top->fence->rules, entry->source),
		.state = entry->state,
		.strikes = strikes_of(&top->fence->rules, entry, top->now_ns),
		.penalty_ns = left_of(entry->penalty_until_ns, top->now_ns),
	};

	offer(top, &seen);
}

static void offer_kernel(
	void *ctx, const uint8_t source[NETWORK_BYTES], const struct fence_source *state)
{
	struct top *top = ctx;
	struct fence_seen seen = {
		.source = network_of(&top->fence->rules, source), .state = *state};
	struct fence_entry entry;

	if (fence_limiter_find(top->fence->limiter, source, &entry)) {
		state_add(&seen.state, &entry.state);
		seen.strikes = strikes_of(&top->fence->rules, &entry, top->now_ns);
	}
	offer(top, &seen);
}

static void offer_penalty(
	void *ctx, const uint8_t source[NETWORK_BYTES], uint64_t until_ns, bool penalty)
{
	struct top *top = ctx;
	struct fence_seen seen = {.source = network_of(&top->fence->rules, source),
		.penalty_ns = left_of(until_ns, top->now_ns)};

	if (penalty)
		offer(top, &seen);
}

/* Least first out of the heap, from the array's end. */
static void sort(struct top *top)
{
	size_t n = top->used;

	while (top->used > 1) {
		struct fence_seen least = top->heap[0];

		top->heap[0] = top->heap[--top->used];
		top->heap[top->used] = least;
		sift_down(top, 0);
	}
	top->used = n;
}

/* False: not all of both tables was looked at. */
static bool gather(struct top *top)
{
	struct fence *fence = top->fence;
	struct fence_place *from = &fence->top_from[top->order];
	bool whole = from->kernel == 0 && from->gateway == 0;

	whole &= fence_limiter_some(
		fence->limiter, &from->gateway, FENCE_TOP_ENTRIES, offer_gateway, top);
	if (fence->kernel == NULL)
		return whole;
	if (top->order == FENCE_ORDER_PENALTY)
		whole &= fence_kernel_penalties_some(
			fence->kernel, &from->kernel, FENCE_TOP_ENTRIES, offer_penalty, top);
	else
		whole &= fence_kernel_sources_some(
			fence->kernel, &from->kernel, FENCE_TOP_ENTRIES, offer_kernel, top);
	return whole;
}

size_t fence_top(
	struct fence *fence, enum fence_order order, struct fence_seen *out, size_t n, bool *part)
{
	uint64_t now_ns = fence_now_ns();
	struct top top = {.fence = fence, .now_ns = now_ns, .order = order, .heap = out, .n = n};

	*part = false;
	if (n == 0 || fence->limiter == NULL)
		return 0;
	*part = !gather(&top);
	sort(&top);
	for (size_t i = 0; i < top.used; i++) {
		struct known known;

		known_get(fence, out[i].source.address, &known);
		/* the heap keeps the first of equals, which may be one side's words alone */
		out[i].state = (struct fence_source){0};
		state_add(&out[i].state, &known.kernel);
		state_add(&out[i].state, &known.gateway.state);
		out[i].standing = known.behaved_until_ns > now_ns ? FENCE_BEHAVED : FENCE_STRANGER;
		out[i].penalty_ns = left_of(known.penalty_until_ns, now_ns);
		out[i].strikes = known.strikes;
	}
	return top.used;
}

/* ---- explain ---- */

/* One side's words, to be asked. */
struct side {
	const char *where;
	const struct fence_source *source;
	const struct fence_totals *totals;
};

static uint64_t rate_of(const struct fence_rate *rate)
{
	return rate->interval == 0 ? NO_LIMIT : fence_rate_units(rate);
}

static uint64_t burst_of(const struct fence_rate *rate)
{
	return rate->interval == 0 ? NO_LIMIT : fence_rate_burst(rate);
}

static struct fence_left left_rate(const struct fence_rules *rules, const struct side *side,
	enum fence_meter meter, enum fence_standing standing, uint64_t now_ns)
{
	const struct fence_rate *source = &rules->source[meter][standing];
	const struct fence_rate *all = &rules->all[meter][standing];

	return (struct fence_left){
		.budget = fence_meter_word(meter),
		.rate = rate_of(source),
		.burst = burst_of(source),
		.left = fence_left(side->source->tat[meter], source, now_ns),
		.all_rate = rate_of(all),
		.all_burst = burst_of(all),
		.all_left = fence_left(side->totals->tat[meter][standing], all, now_ns),
		.where = side->where,
	};
}

static uint64_t room(uint64_t n, uint32_t max)
{
	if (max == 0)
		return NO_LIMIT;
	return n < max ? max - n : 0;
}

static struct fence_left left_gauge(const struct fence_rules *rules, const struct side *side,
	enum fence_gauge gauge, enum fence_standing standing)
{
	uint32_t source = rules->source_max[gauge][standing];
	uint32_t all = rules->all_max[gauge][standing];

	return (struct fence_left){
		.budget = fence_gauge_word(gauge),
		.gauge = true,
		.burst = source == 0 ? NO_LIMIT : source,
		.left = room(side->source->gauge[gauge], source),
		.all_burst = all == 0 ? NO_LIMIT : all,
		.all_left = room(side->totals->gauge[gauge][standing], all),
		.where = side->where,
	};
}

/* Who connects is metered by the kernel, who is behind a balancer by the gateway: what counts is
 * where less is left. */
static struct fence_left less(struct fence_left kernel, struct fence_left gateway)
{
	return gateway.left < kernel.left || gateway.all_left < kernel.all_left ? gateway : kernel;
}

static void explain_lefts(const struct fence_rules *rules, const struct side *octets,
	const struct side *gateway, uint64_t now_ns, struct fence_explained *out)
{
	for (unsigned m = 0; m < FENCE_METERS; m++) {
		enum fence_meter meter = (enum fence_meter)m;
		struct fence_left here = left_rate(rules, gateway, meter, out->standing, now_ns);

		out->lefts[out->lefts_n++] =
			meter == FENCE_HANDSHAKES
				? here
				: less(left_rate(rules, octets, meter, out->standing, now_ns),
					  here);
	}
	out->lefts[out->lefts_n++] = less(left_gauge(rules, octets, FENCE_OPEN, out->standing),
		left_gauge(rules, gateway, FENCE_OPEN, out->standing));
	out->lefts[out->lefts_n++] = left_gauge(rules, gateway, FENCE_SHAKING, out->standing);
}

/* As fence_enter() and the programs go about it, on copies. */
static enum fence_reason verdict_of(const struct fence_rules *rules, const struct side *side,
	const struct fence_explained *explained, uint64_t now_ns)
{
	struct fence_source source = *side->source;
	struct fence_totals totals = *side->totals;

	if (explained->listed)
		return explained->entry.action == FENCE_ACTION_ALLOW ? FENCE_ALLOWED
								     : FENCE_BLOCKED;
	if (explained->penalty_ns > 0)
		return FENCE_PENALTY;
	return fence_judge_connection(rules, &source, &totals, explained->standing, now_ns);
}

/* An entry of a source that was forgotten, or taken over from a gateway before, is there as well. */
static bool seen_here(const struct known *known)
{
	return known->in_gateway &&
	       (known->gateway.state.seen_ns != 0 || known->gateway.holders > 0);
}

void fence_explain(
	struct fence *fence, const uint8_t address[NETWORK_BYTES], struct fence_explained *out)
{
	const struct fence_rules *rules = &fence->rules;
	uint64_t now_ns = fence_now_ns();
	uint8_t source[NETWORK_BYTES];
	struct fence_listed listed;
	struct known known;
	struct side gateway, octets;

	*out = (struct fence_explained){0};
	fence_source_of(rules, address, source);
	out->source = network_of(rules, source);
	if (fence->limiter == NULL)
		return;
	known_get(fence, source, &known);
	out->standing = known.behaved_until_ns > now_ns ? FENCE_BEHAVED : FENCE_STRANGER;
	out->behaved_ns = left_of(known.behaved_until_ns, now_ns);
	out->penalty_ns = left_of(known.penalty_until_ns, now_ns);
	out->strikes = known.strikes;
	out->listed = fence_lists_find(fence->lists, address, now_ns, &listed);
	if (out->listed) {
		out->net = listed.net;
		out->entry = listed.entry;
	}
	out->seen = known.in_kernel || seen_here(&known);
	state_add(&out->state, &known.kernel);
	state_add(&out->state, &known.gateway.state);
	gateway = (struct side){
		"gateway", &known.gateway.state, fence_limiter_totals(fence->limiter)};
	octets = gateway;
	if (fence->kernel != NULL)
		octets = (struct side){"kernel", &known.kernel, fence_kernel_totals(fence->kernel)};
	explain_lefts(rules, &octets, &gateway, now_ns, out);
	out->verdict = verdict_of(rules, &octets, out, now_ns);
	if (out->verdict == FENCE_PASS) /* of one that came through a balancer */
		out->verdict = verdict_of(rules, &gateway, out, now_ns);
}

/* ---- counts ---- */

void fence_counts(struct fence *fence, struct fence_counts *out)
{
	*out = (struct fence_counts){0};
	if (fence->kernel != NULL)
		fence_kernel_counts(fence->kernel, out->by[0]);
	if (fence->limiter != NULL)
		fence_limiter_counts(fence->limiter, out->by[1]);
}

/* ---- the operator's entries ---- */

int fence_list_put(
	struct fence *fence, const struct network *net, enum fence_action action, uint64_t until_ns)
{
	struct fence_net entry = {
		.until_ns = until_ns, .action = (uint8_t)action, .origin = FENCE_ORIGIN_OPERATOR};

	if (fence->lists == NULL)
		return -EOPNOTSUPP;
	return fence_lists_put(fence->lists, net, &entry);
}

/* False: the network is more than one source, or this one has no penalty. */
static bool penalty_drop(struct fence *fence, const struct network *net)
{
	uint64_t now_ns = fence_now_ns();
	uint8_t source[NETWORK_BYTES];
	struct known known;

	fence_source_of(&fence->rules, net->address, source);
	if (net->bits < network_of(&fence->rules, source).bits)
		return false;
	known_get(fence, source, &known);
	fence_limiter_forgive(fence->limiter, source, now_ns);
	if (fence->kernel != NULL)
		fence_kernel_penalty(fence->kernel, source, 0);
	return known.penalty_until_ns > now_ns;
}

bool fence_list_drop(struct fence *fence, const struct network *net)
{
	bool listed, penalized;

	if (fence->lists == NULL)
		return false;
	listed = fence_lists_drop(fence->lists, net);
	penalized = penalty_drop(fence, net);
	return listed || penalized;
}

size_t fence_list(struct fence *fence, size_t from, struct fence_listed *out, size_t n)
{
	return fence->lists != NULL ? fence_lists_copy(fence->lists, from, out, n) : 0;
}

/* What those that hold the entry will give back stays: its gauges. */
static void entry_forget(struct fence *fence, const uint8_t source[NETWORK_BYTES])
{
	uint64_t now_ns = fence_now_ns();
	struct fence_entry *entry = fence_limiter_hold(fence->limiter, source, now_ns);

	if (entry == NULL)
		return;
	for (unsigned i = 0; i < FENCE_METERS; i++)
		STORE(entry->state.tat[i], 0);
	STORE(entry->state.seen_ns, 0);
	STORE(entry->state.passed, 0);
	STORE(entry->state.refused, 0);
	STORE(entry->state.paused, 0);
	STORE(entry->state.plain_bytes, 0);
	STORE(entry->state.upgraded_bytes, 0);
	STORE(entry->behaved_until_ns, 0);
	STORE(entry->penalty_until_ns, 0);
	STORE(entry->told_ns, 0);
	STORE(entry->strike_ns, 0);
	STORE(entry->strikes, 0);
	fence_limiter_release(fence->limiter, entry);
}

bool fence_source_forget(
	struct fence *fence, const uint8_t address[NETWORK_BYTES], struct fence_explained *before)
{
	uint8_t source[NETWORK_BYTES];
	struct known known;

	fence_explain(fence, address, before);
	if (fence->limiter == NULL)
		return false;
	fence_source_of(&fence->rules, address, source);
	known_get(fence, source, &known);
	if (known.in_gateway)
		entry_forget(fence, source);
	if (fence->kernel != NULL)
		fence_kernel_forget(fence->kernel, source);
	fence_refusals_forget(fence->refusals, fence_hash(&fence->rules, source));
	return before->seen || before->behaved_ns > 0 || before->penalty_ns > 0;
}
