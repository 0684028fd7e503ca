/* SPDX-License-Identifier: MIT */
/*
 * resolve.c -- MX, A and AAAA by libunbound, on the worker's ring.
 *
 * libunbound works in a thread of its own, which it starts at the first question and which makes all
 * sockets. relay_resolver_open() asks that first question (for localhost, which needs no network)
 * and waits for the answer, so that the thread is there before the worker's seccomp filter is: a
 * filter binds the thread that loads it and those it starts later. What the worker calls afterwards
 * is read, write, poll and fcntl on the pipes between the two.
 *
 * The pipe is polled only while a question is open, so that an idle resolver has nothing armed.
 * Answers are kept in a list first and told later, so that a handler may ask and cancel freely.
 *
 * A question ends at LOOKUP_MS_MAX as if the server had failed. Once a host has addresses of one
 * family the other family is waited for no longer than LOOKUP_OTHER_MS: some servers answer A and
 * never AAAA.
 *
 * A domain with non-ASCII octets is asked for as it is; IDNA would bring a library in for names that
 * config/ wants as A-labels anyway.
 *
 * Rejected: getaddrinfo in threads (no MX, no time limits), a stub of our own (DNSSEC is to come),
 * libunbound without a thread (it would fork, or open sockets on ours).
 */
#include "relay/resolve-private.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unbound.h>
#include <unistd.h>

#include "base/counter.h"

#define LOOKUPS_MAX     1024 /* open at a time, a worker */
#define LOOKUP_MS_MAX   20000
#define LOOKUP_OTHER_MS 2000

#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS       "/etc/hosts"

#define DNS_CLASS_IN 1
#define DNS_A        1
#define DNS_MX       15
#define DNS_AAAA     28
#define DNS_NOERROR  0
#define DNS_NXDOMAIN 3

/* One question to libunbound. */
struct question {
	struct lookup_state *state;
	int id; /* libunbound's, to cancel it */
	bool pending;
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
	bool mx;
	struct question questions[2]; /* MX; or AAAA and A */
	char name[256];
};

struct relay_resolver {
	struct ring *ring;
	struct ub_ctx *ub;
	struct pool states;
	struct list asked; /* lookup_state */
	struct list ready; /* relay_lookup: to be told */
	struct op poll;
	struct op cancel;
	struct op nop;
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

		lookup->done(lookup, lookup->res);
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

static void take_addresses(struct question *question, const struct ub_result *result)
{
	for (size_t i = 0; result->data[i] && question->addresses_n < RELAY_ADDRESSES_MAX; i++) {
		if (resolve_address_read(span_of(result->data[i], (size_t)result->len[i]),
			    &question->addresses[question->addresses_n]))
			question->addresses_n++;
	}
	question->res = question->addresses_n > 0 ? 0 : -ENOENT;
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

/* libunbound's callback, from inside ub_process(). */
static void answered(void *arg, int failure, struct ub_result *result)
{
	struct question *question = arg;
	struct lookup_state *state = question->state;
	int res = result_code(failure, result);

	question->pending = false;
	if (state->mx) {
		if (res == 0 && result->havedata)
			res = take_mx(state, result);
		else if (res == 0) /* no MX records: the domain is its own host (RFC 5321 5.1) */
			be_host(state->lookup, state->name);
		finish(state, res);
	} else {
		question->res = res;
		if (res == 0)
			take_addresses(question, result);
		answer_host(state);
	}
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

static void nop_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	tell_ready(container_of(op, struct relay_resolver, nop));
}

static void timer_fire(struct wheel_timer *timer)
{
	struct lookup_state *state = container_of(timer, struct lookup_state, timer);
	struct relay_resolver *resolver = state->resolver;

	count(COUNTER_DNS_TIMEOUTS);
	if (state->mx)
		finish(state, -EAGAIN);
	else
		finish_host(state);
	tell_ready(resolver);
}

/* ---- asking ---- */

/* An answer that needs no DNS, or a failure, is told in the loop's next turn. */
static void ready_soon(struct relay_resolver *resolver, struct relay_lookup *lookup, int res)
{
	make_ready(resolver, lookup, res);
	if (!resolver->nop.armed)
		ring_nop(resolver->ring, &resolver->nop);
}

static void lookup_init(struct relay_lookup *lookup)
{
	list_init(&lookup->node);
	lookup->state = NULL;
	lookup->hosts_n = 0;
	lookup->null_mx = false;
	lookup->addresses_n = 0;
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

/* Starts a lookup's questions. */
static void lookup_start(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name, bool mx)
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
	state->mx = mx;
	memcpy(state->name, name, strlen(name) + 1);
	lookup->state = state;
	list_push_back(&resolver->asked, &state->node);
	wheel_timer_init(&state->timer, timer_fire);
	wheel_set(ring_wheel(resolver->ring), &state->timer,
		ring_now_ms(resolver->ring) + LOOKUP_MS_MAX);
	if (mx) {
		ask(state, &state->questions[0], DNS_MX);
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
		lookup_start(resolver, lookup, domain, true);
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
		lookup_start(resolver, lookup, host, false);
	}
}

void relay_resolve_cancel(struct relay_resolver *resolver, struct relay_lookup *lookup)
{
	if (lookup->state)
		state_close(lookup->state);
	list_remove(&lookup->node);
	poll_update(resolver);
}

/* ---- opening and closing ---- */

static void first_answered(void *arg, int failure, struct ub_result *result)
{
	*(int *)arg = failure;
	ub_resolve_free(result);
}

/* Which servers are asked, and what stands in files. -1 and err. */
static int set_servers(struct ub_ctx *ub, const struct relay_settings *settings, struct err *err)
{
	int rc;

	for (size_t i = 0; i < settings->resolvers_n; i++) {
		rc = ub_ctx_set_fwd(ub, settings->resolvers[i]);
		if (rc != 0)
			return err_set(err, "relay: resolver %s: %s", settings->resolvers[i],
				ub_strerror(rc));
	}
	if (settings->resolvers_n > 0)
		return 0;
	rc = access(RESOLV_CONF, F_OK) == 0 ? ub_ctx_resolvconf(ub, RESOLV_CONF) : 0;
	if (rc != 0)
		return err_set(
			err, "relay: %s: %s (or set resolvers)", RESOLV_CONF, ub_strerror(rc));
	rc = access(HOSTS, F_OK) == 0 ? ub_ctx_hosts(ub, HOSTS) : 0;
	if (rc != 0)
		return err_set(err, "relay: %s: %s", HOSTS, ub_strerror(rc));
	return 0;
}

/* The first question and its answer; libunbound's thread is there afterwards. Its code. */
static int start_thread(struct ub_ctx *ub)
{
	char name[16];
	int id, failure = UB_INITFAIL, rc;

	/* a new thread has the name of its maker */
	pthread_getname_np(pthread_self(), name, sizeof(name));
	pthread_setname_np(pthread_self(), "resolver");
	rc = ub_resolve_async(ub, "localhost", DNS_A, DNS_CLASS_IN, &failure, first_answered, &id);
	pthread_setname_np(pthread_self(), name);
	if (rc == 0)
		rc = ub_wait(ub);
	return rc == 0 ? failure : rc;
}

/* Everything about libunbound up to its thread. */
static int context_open(struct ub_ctx **out, const struct relay_settings *settings, struct err *err)
{
	static const char *const options[][2] = {
		/* a resolver on this machine is the usual case */
		{"do-not-query-localhost:", "no"},
		{"outgoing-range:", "64"},
		{"num-queries-per-thread:", "128"},
	};
	struct ub_ctx *ub = ub_ctx_create();
	int rc;

	if (!ub)
		return err_set(err, "relay: the resolver: %s", strerror(ENOMEM));
	rc = ub_ctx_debugout(ub, NULL); /* our log has its own form */
	for (size_t i = 0; rc == 0 && i < COUNT_OF(options); i++)
		rc = ub_ctx_set_option(ub, options[i][0], options[i][1]);
	if (rc == 0)
		rc = ub_ctx_async(ub, true);
	if (rc == 0 && set_servers(ub, settings, err) != 0) {
		ub_ctx_delete(ub);
		return -1;
	}
	if (rc == 0) /* libunbound denies these names by itself, but the servers may know them */
		rc = ub_ctx_zone_remove(ub, "test.");
	if (rc == 0)
		rc = start_thread(ub);
	if (rc != 0) {
		ub_ctx_delete(ub);
		return err_set(err, "relay: the resolver: %s", ub_strerror(rc));
	}
	*out = ub;
	return 0;
}

int relay_resolver_open(struct relay_resolver **out, const struct relay_settings *settings,
	struct ring *ring, struct err *err)
{
	struct relay_resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return err_set(err, "relay: the resolver: %s", strerror(ENOMEM));
	if (context_open(&resolver->ub, settings, err) != 0) {
		free(resolver);
		return -1;
	}
	resolver->ring = ring;
	resolver->poll.done = poll_done;
	resolver->cancel.done = cancel_done;
	resolver->nop.done = nop_done;
	list_init(&resolver->asked);
	list_init(&resolver->ready);
	pool_open(&resolver->states, sizeof(struct lookup_state), LOOKUPS_MAX);
	*out = resolver;
	return 0;
}

bool relay_resolver_idle(const struct relay_resolver *resolver)
{
	return list_empty(&resolver->asked) && list_empty(&resolver->ready) &&
	       !resolver->poll.armed && !resolver->cancel.armed && !resolver->nop.armed;
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
