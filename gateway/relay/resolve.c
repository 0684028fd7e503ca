/* SPDX-License-Identifier: MIT */
/*
 * resolve.c -- MX, A, AAAA, TXT and TLSA by libunbound, on the worker's ring.
 *
 * libunbound works in a thread of its own, which it starts at the first question and which makes all
 * sockets. relay_resolver_open() asks that first question (for localhost, which needs no network)
 * and waits for the answer, so that the thread is there before the worker's seccomp filter is: a
 * filter binds the thread that loads it and those it starts later. What the worker calls afterwards
 * is read, write, poll and fcntl on the pipes between the two.
 *
 * The pipe is polled only while a question is open, so that an idle resolver has nothing armed.
 * Answers are kept in a list first and told later, so that a handler may ask and cancel freely. The
 * octets of TXT and TLSA records are libunbound's until they have been told.
 *
 * What is secure is libunbound's word: it validates by itself, from the trust anchor on, and believes
 * no resolver's AD bit. A host is secure when every address that is used is.
 *
 * A question ends at LOOKUP_MS_MAX as if the server had failed. Once a host has addresses of one
 * family the other family is waited for no longer than LOOKUP_OTHER_MS: some servers answer A and
 * never AAAA.
 *
 * A domain with non-ASCII octets is asked for as it is; IDNA would bring a library in for names that
 * config/ wants as A-labels anyway.
 *
 * Rejected: getaddrinfo in threads (no MX, no time limits), a stub of our own (no DNSSEC),
 * libunbound without a thread (it would fork, or open sockets on ours).
 */
#include "relay/resolve-private.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unbound.h>

#include "base/counter.h"

#define LOOKUPS_MAX     1024 /* open at a time, a worker */
#define LOOKUP_MS_MAX   20000
#define LOOKUP_OTHER_MS 2000

#define DNS_CLASS_IN 1
#define DNS_A        1
#define DNS_CNAME    5
#define DNS_MX       15
#define DNS_TXT      16
#define DNS_AAAA     28
#define DNS_TLSA     52
#define DNS_NOERROR  0
#define DNS_NXDOMAIN 3

/* One question to libunbound. */
struct question {
	struct lookup_state *state;
	int id; /* libunbound's, to cancel it */
	bool pending;
	bool secure;
	int res;
	size_t addresses_n;
	struct sockaddr_storage addresses[RELAY_ADDRESSES_MAX];
};

/* A lookup that libunbound is at work for. */
struct lookup_state {
	struct list node; /* in resolver->asked */
	struct relay_resolver *resolver;
	struct relay_lookup *lookup;
	struct wheel_timer timer;
	enum { LOOKUP_HOST, LOOKUP_MX, LOOKUP_RECORDS } kind;
	struct question questions[2]; /* AAAA and A; else one */
	char name[RELAY_HOST_MAX];
};

struct relay_resolver {
	struct ring *ring;
	struct ub_ctx *ub;
	struct pool states;
	struct list asked; /* lookup_state */
	struct list ready; /* relay_lookup: to be told */
	struct op poll;
	struct op cancel;
	struct op soon;
};

/* ---- telling ---- */

/* Forgets what libunbound was asked; its answers are dropped. */
static void state_close(struct lookup_state *state)
{
	struct relay_resolver *resolver = state->resolver;

	for (size_t i = 0; i < COUNT_OF(state->questions); i++) {
		if (state->questions[i].pending)
			(void)ub_cancel(resolver->ub, state->questions[i].id);
	}
	wheel_clear(ring_wheel(resolver->ring), &state->timer);
	list_remove(&state->node);
	state->lookup->state = NULL;
	pool_put(&resolver->states, state);
}

static void make_ready(struct relay_resolver *resolver, struct relay_lookup *lookup, int res)
{
	lookup->res = res;
	list_push_back(&resolver->ready, &lookup->node);
}

/* Arms the poll when a question is open, ends it when none is. */
static void poll_update(struct relay_resolver *resolver)
{
	bool wanted = !list_empty(&resolver->asked);

	if (wanted && !resolver->poll.armed)
		ring_poll(resolver->ring, &resolver->poll, ub_fd(resolver->ub), POLLIN);
	if (!wanted && resolver->poll.armed && !resolver->cancel.armed)
		ring_cancel(resolver->ring, &resolver->cancel, &resolver->poll);
}

static void tell_ready(struct relay_resolver *resolver)
{
	while (!list_empty(&resolver->ready)) {
		struct relay_lookup *lookup =
			container_of(list_pop_front(&resolver->ready), struct relay_lookup, node);
		struct ub_result *result = lookup->result;

		lookup->result = NULL;
		lookup->done(lookup, lookup->res);
		if (result != NULL)
			ub_resolve_free(result);
	}
	poll_update(resolver);
}

/* What became of a lookup that went to libunbound. */
static void finish(struct lookup_state *state, int res)
{
	struct relay_resolver *resolver = state->resolver;
	struct relay_lookup *lookup = state->lookup;

	count(res == 0           ? COUNTER_DNS_FOUND
		: res == -ENOENT ? COUNTER_DNS_NONE
				 : COUNTER_DNS_FAILED);
	state_close(state);
	make_ready(resolver, lookup, res);
}

/* ---- answers ---- */

static void take_canonical(struct relay_lookup *lookup, const struct ub_result *result)
{
	size_t n = result->canonname != NULL ? strlen(result->canonname) : 0;

	if (n > 0 && result->canonname[n - 1] == '.')
		n--;
	if (n == 0 || n >= sizeof(lookup->canonical))
		return;
	for (size_t i = 0; i < n; i++)
		lookup->canonical[i] = (char)tolower((unsigned char)result->canonname[i]);
	lookup->canonical[n] = '\0';
	if (strcasecmp(lookup->canonical, lookup->state->name) == 0)
		lookup->canonical[0] = '\0';
}

static void take_addresses(struct question *question, const struct ub_result *result)
{
	for (size_t i = 0; result->data[i] && question->addresses_n < RELAY_ADDRESSES_MAX; i++) {
		if (resolve_address_read(span_of(result->data[i], (size_t)result->len[i]),
			    &question->addresses[question->addresses_n]))
			question->addresses_n++;
	}
	question->res = question->addresses_n > 0 ? 0 : -ENOENT;
	if (question->addresses_n > 0)
		take_canonical(question->state->lookup, result);
}

/* They stay libunbound's, as long as the lookup has the result. */
static int take_records(struct relay_lookup *lookup, struct ub_result *result)
{
	for (size_t i = 0; result->data[i] && lookup->records_n < RELAY_RECORDS_MAX; i++)
		lookup->records[lookup->records_n++] =
			span_of(result->data[i], (size_t)result->len[i]);
	lookup->result = result;
	return lookup->records_n > 0 ? 0 : -ENOENT;
}

static int take_mx(struct lookup_state *state, const struct ub_result *result)
{
	struct span records[RESOLVE_MX_SEEN_MAX];
	uint32_t random[RESOLVE_MX_SEEN_MAX] = {0};
	size_t n = 0;

	for (; n < RESOLVE_MX_SEEN_MAX && result->data[n]; n++)
		records[n] = span_of(result->data[n], (size_t)result->len[n]);
	(void)!getrandom(random, sizeof(random), GRND_NONBLOCK);
	return resolve_mx_read(state->lookup, records, n, random);
}

static void be_host(struct relay_lookup *lookup, const char *name)
{
	memcpy(lookup->hosts[0].name, name, strlen(name) + 1);
	lookup->hosts[0].preference = 0;
	lookup->hosts_n = 1;
}

static int result_code(int failure, const struct ub_result *result)
{
	if (failure == UB_SYNTAX)
		return -ENOENT; /* no name at all */
	if (failure != 0 || result->bogus)
		return -EAGAIN;
	if (result->rcode == DNS_NXDOMAIN)
		return -ENOENT;
	return result->rcode == DNS_NOERROR ? 0 : -EAGAIN;
}

/* Addresses of both families, or of one when the other failed. */
static void finish_host(struct lookup_state *state)
{
	const struct question *v6 = &state->questions[0], *v4 = &state->questions[1];
	bool failed = v6->res == -EAGAIN || v4->res == -EAGAIN;

	/* No address is as secure as its denials are. */
	if (v6->addresses_n + v4->addresses_n == 0)
		state->lookup->secure = v6->secure && v4->secure;
	else
		state->lookup->secure = (v6->addresses_n == 0 || v6->secure) &&
					(v4->addresses_n == 0 || v4->secure);
	resolve_interleave(
		state->lookup, v6->addresses, v6->addresses_n, v4->addresses, v4->addresses_n);
	finish(state, state->lookup->addresses_n > 0 ? 0 : failed ? -EAGAIN : -ENOENT);
}

static void answer_host(struct lookup_state *state)
{
	struct ring *ring = state->resolver->ring;
	uint64_t soon = ring_now_ms(ring) + LOOKUP_OTHER_MS;
	const struct question *questions = state->questions;

	if (!questions[0].pending && !questions[1].pending)
		finish_host(state);
	else if (questions[0].addresses_n + questions[1].addresses_n > 0 &&
		 soon < state->timer.deadline_ms)
		wheel_set(ring_wheel(ring), &state->timer, soon);
}

static void note_bogus(struct relay_lookup *lookup, const struct ub_result *result)
{
	const char *why =
		result->why_bogus != NULL ? result->why_bogus : "DNSSEC validation failed";

	count(COUNTER_DNS_BOGUS);
	lookup->bogus = true;
	(void)snprintf(lookup->why, sizeof(lookup->why), "%s", why);
}

/* A lookup that is one question. */
static int answer_one(struct lookup_state *state, struct ub_result *result, int res)
{
	state->lookup->secure = state->questions[0].secure;
	if (res != 0)
		return res;
	if (state->kind == LOOKUP_RECORDS)
		return take_records(state->lookup, result);
	if (result->havedata)
		return take_mx(state, result);
	be_host(state->lookup, state->name); /* no MX records: the domain itself (RFC 5321 5.1) */
	return 0;
}

/* libunbound's callback, from inside ub_process(). */
static void answered(void *arg, int failure, struct ub_result *result)
{
	struct question *question = arg;
	struct lookup_state *state = question->state;
	struct relay_lookup *lookup = state->lookup;
	int res = result_code(failure, result);

	question->pending = false;
	question->secure = failure == 0 && result->secure;
	if (failure == 0 && result->bogus)
		note_bogus(lookup, result);
	if (state->kind != LOOKUP_HOST) {
		finish(state, answer_one(state, result, res));
	} else {
		question->res = res;
		if (res == 0)
			take_addresses(question, result);
		answer_host(state);
	}
	if (lookup->result != result)
		ub_resolve_free(result);
}

/* libunbound's thread is gone or out of memory: nothing will be answered. */
static void fail_all(struct relay_resolver *resolver)
{
	while (!list_empty(&resolver->asked))
		finish(container_of(resolver->asked.next, struct lookup_state, node), -EAGAIN);
}

static void poll_done(struct op *op, int res, uint32_t flags)
{
	struct relay_resolver *resolver = container_of(op, struct relay_resolver, poll);

	(void)res; /* cancelled: a question may have come since, poll_update() knows */
	(void)flags;
	if (ub_process(resolver->ub) != 0)
		fail_all(resolver);
	tell_ready(resolver);
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	poll_update(container_of(op, struct relay_resolver, cancel));
}

static void soon_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	tell_ready(container_of(op, struct relay_resolver, soon));
}

static void timer_fire(struct wheel_timer *timer)
{
	struct lookup_state *state = container_of(timer, struct lookup_state, timer);
	struct relay_resolver *resolver = state->resolver;

	count(COUNTER_DNS_TIMEOUTS);
	if (state->kind == LOOKUP_HOST)
		finish_host(state);
	else
		finish(state, -EAGAIN);
	tell_ready(resolver);
}

/* ---- asking ---- */

/* An answer that needs no DNS, or a failure, is told in the loop's next turn. */
static void ready_soon(struct relay_resolver *resolver, struct relay_lookup *lookup, int res)
{
	make_ready(resolver, lookup, res);
	if (!resolver->soon.armed)
		ring_soon(resolver->ring, &resolver->soon);
}

static void lookup_init(struct relay_lookup *lookup)
{
	list_init(&lookup->node);
	lookup->state = NULL;
	lookup->hosts_n = 0;
	lookup->null_mx = false;
	lookup->addresses_n = 0;
	lookup->records_n = 0;
	lookup->secure = lookup->bogus = false;
	lookup->why[0] = lookup->canonical[0] = '\0';
	lookup->result = NULL;
}

static void ask(struct lookup_state *state, struct question *question, int type)
{
	int rc;

	question->state = state;
	rc = ub_resolve_async(state->resolver->ub, state->name, type, DNS_CLASS_IN, question,
		answered, &question->id);
	question->pending = rc == 0;
	/* as long as nothing better is known */
	question->res = rc == UB_SYNTAX ? -ENOENT : -EAGAIN;
}

/* Starts a lookup's question; type 0: both of a host. */
static void lookup_start(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name, int type)
{
	struct lookup_state *state = pool_get(&resolver->states);

	if (!state) {
		count(COUNTER_DNS_FULL);
		ready_soon(resolver, lookup, -EAGAIN);
		return;
	}
	memset(state, 0, sizeof(*state));
	state->resolver = resolver;
	state->lookup = lookup;
	state->kind = type == 0 ? LOOKUP_HOST : type == DNS_MX ? LOOKUP_MX : LOOKUP_RECORDS;
	memcpy(state->name, name, strlen(name) + 1);
	lookup->state = state;
	list_push_back(&resolver->asked, &state->node);
	wheel_timer_init(&state->timer, timer_fire);
	wheel_set(ring_wheel(resolver->ring), &state->timer,
		ring_now_ms(resolver->ring) + LOOKUP_MS_MAX);
	if (type != 0) {
		ask(state, &state->questions[0], type);
	} else {
		ask(state, &state->questions[0], DNS_AAAA);
		ask(state, &state->questions[1], DNS_A);
	}
	if (!state->questions[0].pending && !state->questions[1].pending) {
		int res = state->questions[0].res;

		state_close(state);
		ready_soon(resolver, lookup, res);
	}
	poll_update(resolver);
}

void relay_resolve_mx(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *domain)
{
	struct sockaddr_storage address;

	lookup_init(lookup);
	if (*domain == '\0' || strlen(domain) >= sizeof(lookup->hosts[0].name)) {
		ready_soon(resolver, lookup, -ENOENT);
	} else if (resolve_numeric(domain, &address) || resolve_is_local(domain)) {
		be_host(lookup, domain);
		ready_soon(resolver, lookup, 0);
	} else {
		lookup_start(resolver, lookup, domain, DNS_MX);
	}
}

void relay_resolve_host(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *host)
{
	lookup_init(lookup);
	if (resolve_numeric(host, &lookup->addresses[0])) {
		lookup->addresses_n = 1;
		ready_soon(resolver, lookup, 0);
	} else if (resolve_is_local(host)) {
		bool both = resolve_numeric("127.0.0.1", &lookup->addresses[0]) &&
			    resolve_numeric("::1", &lookup->addresses[1]);

		ASSERT(both);
		lookup->addresses_n = 2;
		ready_soon(resolver, lookup, 0);
	} else if (*host == '\0' || strlen(host) >= sizeof(lookup->hosts[0].name)) {
		ready_soon(resolver, lookup, -ENOENT);
	} else {
		lookup_start(resolver, lookup, host, 0);
	}
}

static void records_start(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name, int type)
{
	lookup_init(lookup);
	if (*name == '\0' || strlen(name) >= RELAY_HOST_MAX)
		ready_soon(resolver, lookup, -ENOENT);
	else
		lookup_start(resolver, lookup, name, type);
}

void relay_resolve_txt(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name)
{
	records_start(resolver, lookup, name, DNS_TXT);
}

void relay_resolve_tlsa(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name)
{
	records_start(resolver, lookup, name, DNS_TLSA);
}

void relay_resolve_cname(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name)
{
	records_start(resolver, lookup, name, DNS_CNAME);
}

void relay_resolve_cancel(struct relay_resolver *resolver, struct relay_lookup *lookup)
{
	if (lookup->state)
		state_close(lookup->state);
	list_remove(&lookup->node);
	if (lookup->result)
		ub_resolve_free(lookup->result);
	lookup->result = NULL;
	poll_update(resolver);
}

/* ---- opening and closing ---- */

int relay_resolver_open(struct relay_resolver **out, const struct relay_settings *settings,
	struct ring *ring, struct err *err)
{
	struct relay_resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return err_set(err, "relay: the resolver: %s", strerror(ENOMEM));
	if (resolve_context_open(&resolver->ub, settings, err) != 0) {
		free(resolver);
		return -1;
	}
	resolver->ring = ring;
	resolver->poll.done = poll_done;
	resolver->cancel.done = cancel_done;
	resolver->soon.done = soon_done;
	list_init(&resolver->asked);
	list_init(&resolver->ready);
	pool_open(&resolver->states, sizeof(struct lookup_state), LOOKUPS_MAX);
	*out = resolver;
	return 0;
}

bool relay_resolver_idle(const struct relay_resolver *resolver)
{
	return list_empty(&resolver->asked) && list_empty(&resolver->ready) &&
	       !resolver->poll.armed && !resolver->cancel.armed && !resolver->soon.armed;
}

void relay_resolver_close(struct relay_resolver *resolver)
{
	if (!resolver)
		return;
	ASSERT(relay_resolver_idle(resolver));
	ub_ctx_delete(resolver->ub);
	pool_close(&resolver->states);
	free(resolver);
}
