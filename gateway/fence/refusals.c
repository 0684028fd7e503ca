/* SPDX-License-Identifier: MIT */
/*
 * refusals.c -- who is refused, for the log: a line at a source's first refusal in a while, and the
 * samples; the control thread's turn.
 *
 * A source has a place in a table of fixed size: a tag and the second of its last line. Two that
 * share a place take it from each other and may get lines more often than once in REFUSALS_TOLD_S;
 * what holds in any case is FENCE_SAMPLES_A_TURN lines a second of either kind, for a log must not be
 * what a flood fills. What finds no room is counted and gone.
 *
 * Workers put their first ones into a queue; those of the kernel are found among its samples. Samples
 * are thrown away rather than kept waiting: a turn takes all that is there, and keeps the last
 * FENCE_SAMPLES_KEPT.
 *
 * Rejected: the second of the last line in the source's entry (who is blocked has none, nor has anybody
 * when the table of sources is full, and the kernel's are elsewhere).
 */
#include "fence/fence-private.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/counter.h"
#include "base/event.h"

#define REFUSALS_PLACES 4096 /* a power of two */
#define REFUSALS_MAX    64   /* that wait for the control thread */

struct fence_refusals {
	uint64_t told[REFUSALS_PLACES]; /* atomic: 32 bits tag, 32 bits second + 1 */
	pthread_mutex_t lock;
	uint32_t from, n;
	struct fence_sample waiting[REFUSALS_MAX];
	/* the control thread's */
	uint64_t logged_ms;
	uint32_t logged, samples_logged; /* since logged_ms */
};

int fence_refusals_open(struct fence_refusals **out, struct err *err)
{
	struct fence_refusals *refusals = calloc(1, sizeof(*refusals));

	if (refusals == NULL)
		return err_set(err, "fence: out of memory");
	pthread_mutex_init(&refusals->lock, NULL);
	*out = refusals;
	return 0;
}

void fence_refusals_close(struct fence_refusals *refusals)
{
	if (refusals == NULL)
		return;
	pthread_mutex_destroy(&refusals->lock);
	free(refusals);
}

/* ---- whether it is the first ---- */

static uint64_t *place_of(struct fence_refusals *refusals, uint64_t hash)
{
	return &refusals->told[hash & (REFUSALS_PLACES - 1)];
}

bool fence_refusals_first(struct fence_refusals *refusals, uint64_t hash, uint64_t now_ns)
{
	uint64_t *place = place_of(refusals, hash);
	uint64_t word = __atomic_load_n(place, __ATOMIC_RELAXED);
	uint32_t second = (uint32_t)(now_ns / FENCE_NS) + 1;

	if ((uint32_t)word != 0 && word >> 32 == hash >> 32 &&
		second - (uint32_t)word < REFUSALS_TOLD_S)
		return false;
	return __atomic_compare_exchange_n(
		place, &word, hash >> 32 << 32 | second, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void fence_refusals_forget(struct fence_refusals *refusals, uint64_t hash)
{
	uint64_t *place = place_of(refusals, hash);
	uint64_t word = __atomic_load_n(place, __ATOMIC_RELAXED);

	if (word >> 32 == hash >> 32)
		(void)__atomic_compare_exchange_n(
			place, &word, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* ---- to the control thread ---- */

void fence_refusals_put(struct fence_refusals *refusals, const struct fence_sample *refusal)
{
	bool full;

	pthread_mutex_lock(&refusals->lock);
	full = refusals->n == REFUSALS_MAX;
	if (!full)
		refusals->waiting[(refusals->from + refusals->n++) % REFUSALS_MAX] = *refusal;
	pthread_mutex_unlock(&refusals->lock);
	if (full)
		count(COUNTER_FENCE_FULL_REFUSALS);
}

static bool take(struct fence_refusals *refusals, struct fence_sample *out)
{
	bool any;

	pthread_mutex_lock(&refusals->lock);
	any = refusals->n > 0;
	if (any) {
		*out = refusals->waiting[refusals->from];
		refusals->from = (refusals->from + 1) % REFUSALS_MAX;
		refusals->n--;
	}
	pthread_mutex_unlock(&refusals->lock);
	return any;
}

/* ---- lines ---- */

static void put_address(struct event *event, const char *key, const uint8_t address[NETWORK_BYTES])
{
	struct network network = {.bits = 128};
	char text[NETWORK_TEXT_MAX];

	memcpy(network.address, address, NETWORK_BYTES);
	event_str(event, key, network_text(&network, text));
}

static void sample_log(const struct fence_sample *sample)
{
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "fence_sample");
	event_str(&event, "class", fence_class_word(sample->class));
	event_str(&event, "reason", fence_reason_word(sample->reason));
	event_str(&event, "hook", fence_hook_word(sample->hook));
	put_address(&event, "source", sample->address);
	event_u64(&event, "port", sample->port);
	event_close(&event);
}

static void refusal_log(const struct fence *fence, const struct fence_sample *refusal)
{
	char text[NETWORK_TEXT_MAX];
	struct network source;
	struct event event;

	source.bits = fence_source_bits(&fence->rules, refusal->address);
	fence_source_of(&fence->rules, refusal->address, source.address);
	event_open(&event, EVENT_NO_COUNT, "fence_refused");
	event_str(&event, "source", network_text(&source, text));
	event_str(&event, "reason", fence_reason_word(refusal->reason));
	event_str(&event, "class", fence_class_word(refusal->class));
	event_str(&event, "hook", fence_hook_word(refusal->hook));
	put_address(&event, "address", refusal->address);
	event_close(&event);
}

/* One of so many lines a second? */
static bool room(uint32_t *logged)
{
	if (*logged == FENCE_SAMPLES_A_TURN) {
		count(COUNTER_FENCE_FULL_LOG);
		return false;
	}
	(*logged)++;
	return true;
}

static void refusal_tell(struct fence *fence, const struct fence_sample *refusal)
{
	if (room(&fence->refusals->logged))
		refusal_log(fence, refusal);
}

/* ---- the turn ---- */

static void samples_keep(struct fence *fence, const struct fence_sample *samples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fence->samples[fence->samples_n++ % FENCE_SAMPLES_KEPT] = samples[i];
		if (room(&fence->refusals->samples_logged))
			sample_log(&samples[i]);
	}
}

/* Who the kernel refused is known by its samples only. */
static void kernel_turn(struct fence *fence, uint64_t now_ns)
{
	struct fence_sample samples[FENCE_SAMPLES_KEPT];
	size_t n = fence_kernel_samples(fence->kernel, samples, COUNT_OF(samples));

	for (size_t i = 0; i < n; i++) {
		uint8_t source[NETWORK_BYTES];

		fence_source_of(&fence->rules, samples[i].address, source);
		if (fence_refusals_first(
			    fence->refusals, fence_hash(&fence->rules, source), now_ns))
			refusal_tell(fence, &samples[i]);
	}
	samples_keep(fence, samples, n);
}

void fence_turn(struct fence *fence)
{
	struct fence_refusals *refusals = fence->refusals;
	struct fence_sample samples[FENCE_SAMPLES_KEPT];
	struct fence_sample refusal;
	uint64_t now_ns = fence_now_ns();

	if (fence->limiter == NULL)
		return;
	if (clock_ms() - refusals->logged_ms >= 1000) {
		refusals->logged_ms = clock_ms();
		refusals->logged = refusals->samples_logged = 0;
	}
	fence_lists_expire(fence->lists, now_ns);
	while (take(refusals, &refusal))
		refusal_tell(fence, &refusal);
	samples_keep(
		fence, samples, fence_limiter_samples(fence->limiter, samples, COUNT_OF(samples)));
	if (fence->kernel != NULL)
		kernel_turn(fence, now_ns);
}

int fence_fd(const struct fence *fence)
{
	return fence->kernel != NULL ? fence_kernel_samples_fd(fence->kernel) : -1;
}

size_t fence_samples(const struct fence *fence, struct fence_sample *out, size_t n)
{
	size_t kept = min_size(fence->samples_n, FENCE_SAMPLES_KEPT);

	n = min_size(n, kept);
	for (size_t i = 0; i < n; i++)
		out[i] = fence->samples[(fence->samples_n - 1 - i) % FENCE_SAMPLES_KEPT];
	return n;
}
