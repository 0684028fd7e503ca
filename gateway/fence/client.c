/* SPDX-License-Identifier: MIT */
/*
 * client.c -- a connection's way past the fence, from accept to its end; called by all workers.
 *
 * Who judges: where the kernel has programs and the connection is the client's own, they have judged
 * the SYN and meter the octets; here remain the lists, penalties, handshakes and a look at the board.
 * Everywhere else all of it is done here, by bpf/rules.h on an entry of limiter.c.
 *
 * Everything that fence_leave() has to undo stands in struct fence_client: which gauges were moved,
 * under which standing, of which entry. So a reload, or good conduct, in the middle of a connection
 * cannot put a gauge out of step.
 *
 * No entry (all are held): the source counts as one never met, so its own budgets hold nothing back
 * and those behind them, which everybody shares, decide.
 *
 * Strikes are for what a source did itself: a handshake it left unfinished, or one too many by its own
 * budget. Being refused because of everybody's budget is none: otherwise a flood would bring penalties
 * to those it crowds out. Nor is a handshake that we gave up. Mail that is accepted forgives them, in
 * clear, too: a sender that cannot do TLS with us tries, fails and comes again without it, and brings
 * one strike with each message. Rejected: halving them, which only asks the same of an attacker twice as
 * often; who sends mail that we accept is whom we are there for, and the budgets hold for everybody.
 *
 * A receive costs no lock and, where the kernel meters, no write.
 */
#include "fence/fence-private.h"

#include "base/counter.h"
#include "base/event.h"

#define LOAD(word)      __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define STORE(word, to) __atomic_store_n(&(word), (to), __ATOMIC_RELAXED)
#define ADD(word, n)    __atomic_fetch_add(&(word), (n), __ATOMIC_RELAXED)

/* How often the kernel is told that a source behaved: times in behaved_ns. */
#define TELL_PARTS 4

/* ---- refusals ---- */

static void sample(struct fence *fence, const uint8_t address[NETWORK_BYTES],
	enum fence_class class, enum fence_reason reason)
{
	uint32_t every = fence->rules.sample;
	struct fence_sample sample = {
		.class = (uint8_t) class, .reason = (uint8_t)reason, .hook = FENCE_HOOK_USER};
	uint8_t source[NETWORK_BYTES];

	sample.at_ns = fence_now_ns();
	memcpy(sample.address, address, NETWORK_BYTES);
	fence_source_of(&fence->rules, address, source);
	if (fence_refusals_first(fence->refusals, fence_hash(&fence->rules, source), sample.at_ns))
		fence_refusals_put(fence->refusals, &sample);
	if (every != 0 && __atomic_add_fetch(&fence->refused, 1, __ATOMIC_RELAXED) % every == 0)
		fence_limiter_sample(fence->limiter, &sample);
}

static void refused(struct fence *fence, const struct fence_client *client, enum fence_class class,
	enum fence_reason reason)
{
	fence_limiter_count(fence->limiter, class, reason, 0);
	if (client->entry != NULL)
		ADD(client->entry->state.refused, 1);
	sample(fence, client->address, class, reason);
}

/* ---- strikes ---- */

static bool penalized(const struct fence_client *client, uint64_t now_ns)
{
	return client->entry != NULL && LOAD(client->entry->penalty_until_ns) > now_ns;
}

static bool behaved(const struct fence_client *client, uint64_t now_ns)
{
	return client->entry != NULL && LOAD(client->entry->behaved_until_ns) > now_ns;
}

/* A line each: twenty strikes of a source, by default, are behind one. */
static void penalty_tell(const struct fence *fence, const struct fence_client *client)
{
	struct network source = {.bits = fence_source_bits(&fence->rules, client->source)};
	char text[NETWORK_TEXT_MAX];
	struct event event;

	memcpy(source.address, client->source, NETWORK_BYTES);
	event_open(&event, COUNTER_FENCE_PENALTIES, "fence_penalty");
	event_str(&event, "source", network_text(&source, text));
	event_u64(&event, "seconds", fence->rules.penalty_ns / FENCE_NS);
	event_close(&event);
}

static void penalty(struct fence *fence, const struct fence_client *client, uint64_t now_ns)
{
	uint64_t until_ns = now_ns + fence->rules.penalty_ns;

	STORE(client->entry->penalty_until_ns, until_ns);
	if (fence->kernel != NULL)
		fence_kernel_penalty(fence->kernel, client->source, until_ns);
	penalty_tell(fence, client);
}

/* Of those that come to the last strike together, the one that takes the strikes away penalizes. */
static void strike(struct fence *fence, const struct fence_client *client, uint64_t now_ns)
{
	const struct fence_rules *rules = &fence->rules;
	struct fence_entry *entry = client->entry;
	uint32_t strikes_max = rules->strikes_max;

	if (entry == NULL || strikes_max == 0 || rules->penalty_ns == 0 ||
		penalized(client, now_ns))
		return;
	if (LOAD(entry->strike_ns) + rules->penalty_ns <= now_ns)
		STORE(entry->strikes, 0);
	STORE(entry->strike_ns, now_ns);
	if (ADD(entry->strikes, 1) + 1 >= strikes_max &&
		__atomic_exchange_n(&entry->strikes, 0, __ATOMIC_RELAXED) >= strikes_max)
		penalty(fence, client, now_ns);
}

/* ---- gauges ---- */

static void gauge_raise(
	struct fence *fence, const struct fence_client *client, enum fence_gauge gauge)
{
	struct fence_totals *totals = fence_limiter_totals(fence->limiter);

	if (client->entry != NULL)
		ADD(client->entry->state.gauge[gauge], 1);
	ADD(totals->gauge[gauge][client->standing], 1);
}

static void gauge_lower(
	struct fence *fence, const struct fence_client *client, enum fence_gauge gauge)
{
	struct fence_totals *totals = fence_limiter_totals(fence->limiter);

	if (client->entry != NULL)
		ADD(client->entry->state.gauge[gauge], -1u);
	ADD(totals->gauge[gauge][client->standing], -1ull);
}

/* The state to judge by: *blank where there is no entry. */
static struct fence_source *state_of(const struct fence_client *client, struct fence_source *blank)
{
	if (client->entry != NULL)
		return &client->entry->state;
	*blank = (struct fence_source){0};
	return blank;
}

/* ---- from accept to the end ---- */

static enum fence_reason listed(
	struct fence *fence, const uint8_t address[NETWORK_BYTES], uint64_t now_ns)
{
	switch (fence_lists_match(fence->lists, address, now_ns)) {
	case FENCE_ACTION_ALLOW:
		return FENCE_ALLOWED;
	case FENCE_ACTION_BLOCK:
		return FENCE_BLOCKED;
	}
	return FENCE_PASS;
}

bool fence_blocked(struct fence *fence, const uint8_t address[NETWORK_BYTES])
{
	if (fence->limiter == NULL || listed(fence, address, fence_now_ns()) != FENCE_BLOCKED)
		return false;
	fence_limiter_count(fence->limiter, FENCE_NEW, FENCE_BLOCKED, 0);
	sample(fence, address, FENCE_NEW, FENCE_BLOCKED);
	return true;
}

/* Allowed for no more than being in a listener's `proxy`: that is for connections of balancers, not
 * for a client behind one that has such an address. */
static bool by_balancer_only(
	struct fence *fence, const uint8_t address[NETWORK_BYTES], uint64_t now_ns)
{
	struct fence_listed found;

	if (!fence_lists_find(fence->lists, address, now_ns, &found) ||
		found.entry.origin != FENCE_ORIGIN_CONFIG)
		return false;
	for (size_t i = 0; i < fence->balancers_n; i++)
		if (memcmp(&fence->balancers[i].net, &found.net, sizeof(found.net)) == 0)
			return true;
	return false;
}

static void identify(struct fence *fence, struct fence_client *client, uint64_t now_ns)
{
	uint64_t hash;

	fence_source_of(&fence->rules, client->address, client->source);
	hash = fence_hash(&fence->rules, client->source);
	client->place = fence_board_place(hash);
	client->tag = fence_board_tag(hash);
	client->entry = fence_limiter_hold(fence->limiter, client->source, now_ns);
	client->standing = behaved(client, now_ns) ? FENCE_BEHAVED : FENCE_STRANGER;
	if (client->entry != NULL)
		STORE(client->entry->state.seen_ns, now_ns);
}

static enum fence_reason judge(struct fence *fence, struct fence_client *client, uint64_t now_ns)
{
	struct fence_source blank;
	enum fence_reason reason;

	if (penalized(client, now_ns))
		return FENCE_PENALTY;
	if (client->kernel)
		return FENCE_PASS;
	reason = fence_judge_connection(&fence->rules, state_of(client, &blank),
		fence_limiter_totals(fence->limiter), client->standing, now_ns);
	if (reason != FENCE_PASS)
		return reason;
	gauge_raise(fence, client, FENCE_OPEN);
	if (client->entry != NULL)
		ADD(client->entry->state.passed, 1);
	fence_limiter_count(fence->limiter, FENCE_NEW, FENCE_PASS, 0);
	return FENCE_PASS;
}

enum fence_reason fence_enter(struct fence *fence, struct fence_client *client,
	const uint8_t address[NETWORK_BYTES], bool direct, enum fence_class class)
{
	uint64_t now_ns = fence_now_ns();
	enum fence_reason reason;

	ASSERT(class == FENCE_PLAIN || class == FENCE_HANDSHAKE);
	*client = (struct fence_client){.entered = true, .class = (uint8_t) class};
	memcpy(client->address, address, NETWORK_BYTES);
	if (fence->limiter == NULL) {
		client->exempt = true;
		return FENCE_PASS;
	}
	reason = listed(fence, address, now_ns);
	if (reason == FENCE_ALLOWED && !direct && by_balancer_only(fence, address, now_ns))
		reason = FENCE_PASS;
	if (reason == FENCE_ALLOWED) {
		client->exempt = true;
		fence_limiter_count(fence->limiter, FENCE_NEW, FENCE_ALLOWED, 0);
		return FENCE_ALLOWED;
	}
	if (reason == FENCE_PASS) {
		client->kernel = fence->kernel != NULL && direct;
		identify(fence, client, now_ns);
		reason = judge(fence, client, now_ns);
	}
	if (reason == FENCE_PASS)
		return FENCE_PASS;
	refused(fence, client, FENCE_NEW, reason);
	if (client->entry != NULL)
		fence_limiter_release(fence->limiter, client->entry);
	*client = (struct fence_client){0};
	return reason;
}

void fence_leave(struct fence *fence, struct fence_client *client)
{
	if (!client->entered)
		return;
	if (client->shaking)
		fence_shaken(fence, client, -1, false);
	if (!client->exempt && !client->kernel)
		gauge_lower(fence, client, FENCE_OPEN);
	if (client->entry != NULL)
		fence_limiter_release(fence->limiter, client->entry);
	*client = (struct fence_client){0};
}

/* ---- handshakes ---- */

/* Where the kernel cannot be told, it goes on metering by the class before. */
static void class_set(
	struct fence *fence, struct fence_client *client, int fd, enum fence_class class)
{
	client->class = (uint8_t) class;
	if (fence->kernel != NULL && fd >= 0)
		(void)fence_kernel_mark(fence->kernel, fd, class);
}

static enum fence_reason shake_judge(
	struct fence *fence, struct fence_client *client, uint64_t now_ns)
{
	struct fence_source blank;
	enum fence_reason reason;

	if (penalized(client, now_ns))
		return FENCE_PENALTY;
	reason = fence_judge_handshake(&fence->rules, state_of(client, &blank),
		fence_limiter_totals(fence->limiter), client->standing, now_ns);
	if (reason == FENCE_OVER_HANDSHAKES || reason == FENCE_OVER_SHAKING)
		strike(fence, client, now_ns);
	return reason;
}

enum fence_reason fence_shake(struct fence *fence, struct fence_client *client, int fd)
{
	enum fence_reason reason = FENCE_PASS;

	if (!client->entered)
		return FENCE_PASS;
	ASSERT(!client->shaking);
	if (!client->exempt) {
		reason = shake_judge(fence, client, fence_now_ns());
		if (reason != FENCE_PASS) {
			refused(fence, client, FENCE_HANDSHAKE, reason);
			return reason;
		}
		gauge_raise(fence, client, FENCE_SHAKING);
	} else if (fence->limiter != NULL) {
		reason = FENCE_ALLOWED;
	}
	if (fence->limiter != NULL)
		fence_limiter_count(fence->limiter, FENCE_HANDSHAKE, reason, 0);
	client->shaking = true;
	class_set(fence, client, fd, FENCE_HANDSHAKE);
	return reason;
}

void fence_unshaken(struct fence *fence, struct fence_client *client)
{
	if (!client->entered || !client->shaking)
		return;
	client->shaking = false;
	if (!client->exempt)
		gauge_lower(fence, client, FENCE_SHAKING);
}

void fence_shaken(struct fence *fence, struct fence_client *client, int fd, bool completed)
{
	uint64_t now_ns;

	if (!client->entered || !client->shaking)
		return;
	fence_unshaken(fence, client);
	if (completed) {
		class_set(fence, client, fd, FENCE_UPGRADED);
		return;
	}
	now_ns = fence_now_ns();
	if (!client->exempt && !behaved(client, now_ns))
		strike(fence, client, now_ns);
}

/* ---- octets ---- */

static uint32_t pause_ms(uint64_t ns)
{
	if (ns > FENCE_PAUSE_NS_MAX)
		ns = FENCE_PAUSE_NS_MAX;
	return (uint32_t)((ns + 999999) / 1000000);
}

uint32_t fence_board_pause(
	const struct fence_board *board, const struct fence_client *client, uint64_t now_ns)
{
	unsigned lane = client->class == FENCE_UPGRADED ? FENCE_LANE_UPGRADED : FENCE_LANE_PLAIN;
	uint64_t source = fence_board_until(LOAD(board->source[lane][client->place]), client->tag);
	uint64_t all = fence_board_until(LOAD(board->all[lane][client->standing]), 0);
	uint64_t until = source > all ? source : all;

	return until > now_ns ? pause_ms(until - now_ns) : 0;
}

static void tally(struct fence *fence, const struct fence_client *client, size_t bytes,
	enum fence_reason reason)
{
	struct fence_entry *entry = client->entry;

	fence_limiter_count(fence->limiter, client->class, reason, bytes);
	if (entry == NULL)
		return;
	if (client->class == FENCE_UPGRADED)
		ADD(entry->state.upgraded_bytes, bytes);
	else
		ADD(entry->state.plain_bytes, bytes);
	if (reason != FENCE_PASS)
		ADD(entry->state.paused, 1);
}

/* A charge of nothing tells what is still overdrawn. */
static uint32_t meter(
	struct fence *fence, const struct fence_client *client, size_t bytes, uint64_t now_ns)
{
	struct fence_totals *totals = fence_limiter_totals(fence->limiter);
	struct fence_source blank;
	struct fence_source *state = state_of(client, &blank);
	struct fence_pause pause;

	if (client->class == FENCE_UPGRADED)
		pause = fence_meter_upgraded(
			&fence->rules, state, totals, client->standing, bytes, now_ns);
	else
		pause = fence_meter_plain(
			&fence->rules, state, totals, client->standing, bytes, bytes > 0, now_ns);
	if (bytes > 0)
		tally(fence, client, bytes, pause.reason);
	return pause_ms(pause.source_ns > pause.all_ns ? pause.source_ns : pause.all_ns);
}

uint32_t fence_received(
	struct fence *fence, struct fence_client *client, size_t bytes, uint64_t now_ns)
{
	if (!client->entered || client->exempt)
		return 0;
	if (client->kernel)
		return fence_board_pause(fence_kernel_board(fence->kernel), client, now_ns);
	return meter(fence, client, bytes, now_ns);
}

/* ---- good conduct ---- */

/* A look first: the word is shared, and mostly there is nothing to forgive. */
void fence_forgive(struct fence *fence, struct fence_client *client)
{
	(void)fence;
	if (client->entered && client->entry != NULL && LOAD(client->entry->strikes) != 0)
		STORE(client->entry->strikes, 0);
}

void fence_behaved(struct fence *fence, struct fence_client *client)
{
	struct fence_entry *entry = client->entry;
	uint64_t behaved_ns = fence->rules.behaved_ns;
	uint64_t now_ns, told_ns;

	fence_forgive(fence, client);
	if (!client->entered || entry == NULL || behaved_ns == 0)
		return;
	now_ns = fence_now_ns();
	STORE(entry->behaved_until_ns, now_ns + behaved_ns);
	told_ns = LOAD(entry->told_ns);
	if (fence->kernel == NULL || (told_ns != 0 && now_ns - told_ns < behaved_ns / TELL_PARTS))
		return;
	if (__atomic_compare_exchange_n(
		    &entry->told_ns, &told_ns, now_ns, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		fence_kernel_behaved(fence->kernel, client->source, now_ns + behaved_ns);
}
