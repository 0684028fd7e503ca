/* SPDX-License-Identifier: MIT */
/*
 * fence_json.c -- the control socket's questions about the fence, answered as JSON, and what operators
 * do to its lists.
 *
 * The names of the keys are an interface that scripts use (posternctl --json): add, never rename.
 * Numbers beside a key "..._at_least" that is true are of a table's part: it has so many or more. The same
 * of "part" and the sources with most: asking again shows those of the next part.
 * A moment is seconds since 1970, what is left of a time is seconds from now, and null stands for no
 * limit and for nothing there. Monotonic nanoseconds do not leave this file: they mean nothing to a
 * person and nothing after a restart of the machine.
 *
 * All of it runs on the control thread, which has the fence; nothing is asked of a worker. Looking
 * takes no budget. The lists can be changed from here, and a source forgotten: budgets are the
 * configuration's.
 */
#include "gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "bpf/rules.h"
#include "control/control.h"

#define NS_PER_S       1000000000ull
#define SAMPLES_MAX    FENCE_SAMPLES_KEPT
#define COUNT_OF_WHERE 2

_Static_assert((int)CONTROL_FENCE_REFUSED == (int)FENCE_ORDER_REFUSED &&
		       (int)CONTROL_FENCE_OPEN == (int)FENCE_ORDER_OPEN &&
		       (int)CONTROL_FENCE_BYTES == (int)FENCE_ORDER_BYTES &&
		       (int)CONTROL_FENCE_CONNECTIONS == (int)FENCE_ORDER_CONNECTIONS &&
		       (int)CONTROL_FENCE_HANDSHAKES == (int)FENCE_ORDER_HANDSHAKES &&
		       (int)CONTROL_FENCE_PENALTY == (int)FENCE_ORDER_PENALTY &&
		       (int)CONTROL_FENCE_ORDERS == (int)FENCE_ORDERS,
	"the orders are the same");

static const char *const standings[FENCE_STANDINGS] = {
	[FENCE_STRANGER] = "stranger", [FENCE_BEHAVED] = "behaved"};
static const char *const verdicts[] = {[FENCE_VERDICT_PASS] = "pass",
	[FENCE_VERDICT_REFUSE] = "refuse",
	[FENCE_VERDICT_PAUSE] = "pause"};
static const char *const wheres[COUNT_OF_WHERE] = {"kernel", "gateway"};
/* As the configuration has them. */
static const char *const meters[FENCE_METERS] = {[FENCE_CONNECTIONS] = "connections",
	[FENCE_PLAIN_BYTES] = "plain_bytes",
	[FENCE_PLAIN_PACKETS] = "plain_packets",
	[FENCE_HANDSHAKES] = "handshakes",
	[FENCE_UPGRADED_BYTES] = "upgraded_bytes"};
static const char *const gauges[FENCE_GAUGES] = {
	[FENCE_OPEN] = "open", [FENCE_SHAKING] = "shaking"};

/* ---- small parts ---- */

static uint64_t now_ns(void)
{
	return clock_ms() * 1000000;
}

static json_t *number_json(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

/* ~0 is no limit. */
static json_t *limit_json(uint64_t n)
{
	return n == UINT64_MAX ? json_null() : number_json(n);
}

/* What is left, a second that has begun counting whole; 0 is nothing there. */
static json_t *left_json(uint64_t ns)
{
	return ns == 0 ? json_null() : number_json((ns + NS_PER_S - 1) / NS_PER_S);
}

static json_t *until_json(uint64_t until_ns)
{
	uint64_t now = now_ns();

	if (until_ns == 0)
		return json_null();
	return until_ns > now ? left_json(until_ns - now) : json_integer(0);
}

/* A moment of the monotonic clock, which was before now, in seconds since 1970. */
static json_t *moment_json(uint64_t at_ns)
{
	uint64_t now = now_ns(), real_us = clock_real_us();
	uint64_t ago_us = at_ns < now ? (now - at_ns) / 1000 : 0;

	if (at_ns == 0 || ago_us > real_us)
		return json_null();
	return number_json((real_us - ago_us) / 1000000);
}

static json_t *network_json(const struct network *network)
{
	char text[NETWORK_TEXT_MAX];

	return json_string(network_text(network, text));
}

static json_t *address_json(const uint8_t address[NETWORK_BYTES])
{
	struct network network = {.bits = 128};

	memcpy(network.address, address, NETWORK_BYTES);
	return network_json(&network);
}

static json_t *text_or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? control_json_text(text) : json_null();
}

/* Takes the body; NULL: memory is short. */
static json_t *answer_of(json_t *body)
{
	return body != NULL ? json_pack("{s:b, s:o}", "ok", 1, "fence", body) : NULL;
}

static json_t *error_of(const char *text)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

/* ---- status ---- */

/*
 * What the budgets are is asked by way of an address that nobody has (RFC 6666: whatever is sent there
 * is thrown away), which is a stranger with nothing taken: fence/ knows how a rate was written. What
 * all have left is read here, for both standings.
 */
static const uint8_t nobody[NETWORK_BYTES] = {0x01, 0x00};

static int meter_find(const char *word)
{
	for (int m = 0; m < FENCE_METERS; m++)
		if (strcmp(meters[m], word) == 0)
			return m;
	return -1;
}

static json_t *budget_json(
	const struct fence_status *status, const struct fence_left *left, enum fence_meter m)
{
	const struct fence_rules *rules = status->rules;
	const struct fence_totals *totals = &status->totals;

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "budget", left->budget,
		"rate", limit_json(left->rate), "burst", limit_json(left->burst), "behaved_burst",
		limit_json(fence_left(0, &rules->source[m][FENCE_BEHAVED], 0)), "all_rate",
		limit_json(left->all_rate), "all_burst", limit_json(left->all_burst), "all_left",
		limit_json(fence_left(
			totals->tat[m][FENCE_STRANGER], &rules->all[m][FENCE_STRANGER], now_ns())),
		"behaved_left",
		limit_json(fence_left(
			totals->tat[m][FENCE_BEHAVED], &rules->all[m][FENCE_BEHAVED], now_ns())),
		"where", left->where);
}

static json_t *budgets_json(struct fence *fence, const struct fence_status *status)
{
	struct fence_explained explained;
	json_t *list = json_array();

	fence_explain(fence, nobody, &explained);
	for (size_t i = 0; i < explained.lefts_n; i++) {
		int m = meter_find(explained.lefts[i].budget);

		if (m >= 0)
			json_array_append_new(list,
				budget_json(status, &explained.lefts[i], (enum fence_meter)m));
	}
	return list;
}

static json_t *max_json(uint32_t max)
{
	return max == 0 ? json_null() : json_integer(max);
}

static json_t *gauges_json(const struct fence_status *status)
{
	json_t *list = json_array();

	for (int g = 0; g < FENCE_GAUGES; g++)
		for (int s = 0; s < FENCE_STANDINGS; s++)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:o, s:o, s:o}", "gauge", gauges[g],
					      "standing", standings[s], "now",
					      number_json(status->totals.gauge[g][s]), "max",
					      max_json(status->rules->all_max[g][s]), "source_max",
					      max_json(status->rules->source_max[g][s])));
	return list;
}

/* Those that are not zero. */
static json_t *counts_json(struct fence *fence)
{
	struct fence_counts counts;
	json_t *list = json_array();

	fence_counts(fence, &counts);
	for (int w = 0; w < COUNT_OF_WHERE; w++)
		for (int c = 0; c < FENCE_CLASSES; c++)
			for (int r = 0; r < FENCE_REASONS; r++) {
				const struct fence_count *count = &counts.by[w][c][r];

				if (count->packets == 0 && count->bytes == 0)
					continue;
				json_array_append_new(
					list, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "where",
						      wheres[w], "class", fence_class_word(c),
						      "verdict", verdicts[fence_reason_verdict(r)],
						      "reason", fence_reason_word(r), "packets",
						      number_json(count->packets), "bytes",
						      number_json(count->bytes)));
			}
	return list;
}

static json_t *status_answer(struct fence *fence, const struct fence_status *small,
	const struct control_fence_request *request)
{
	struct fence_status all = *small;
	const struct fence_status *status = &all;
	static const char *const running[] = {[FENCE_RUNNING_KERNEL] = "kernel",
		[FENCE_RUNNING_USER] = "user",
		[FENCE_RUNNING_OFF] = "off"};

	(void)request;
	fence_sizes(fence, &all);
	return answer_of(json_pack("{s:s, s:o, s:o, s:o, s:{s:o, s:b, s:o, s:o}, s:o, s:i, s:o,"
				   " s:b, s:o, s:b, s:o, s:o, s:o, s:o}",
		"running", running[status->running], "why", text_or_null(status->why), "hooks",
		text_or_null(status->hooks), "pin", text_or_null(status->pin), "sources", "kernel",
		number_json(status->sources_kernel), "kernel_at_least",
		(int)status->sources_partial, "gateway", number_json(status->sources_user), "max",
		number_json(status->sources_max), "networks", number_json(status->nets),
		"networks_max", FENCE_NETS_MAX, "behaved", number_json(status->behaved),
		"behaved_at_least", (int)status->behaved_partial, "penalties",
		number_json(status->penalties), "penalties_at_least",
		(int)status->penalties_partial, "samples_dropped",
		number_json(status->samples_dropped), "gauges", gauges_json(status), "budgets",
		budgets_json(fence, status), "counts", counts_json(fence)));
}

/* ---- sources ---- */

static json_t *state_json(const struct fence_source *state)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seen_seconds",
		moment_json(state->seen_ns), "open", number_json(state->gauge[FENCE_OPEN]),
		"shaking", number_json(state->gauge[FENCE_SHAKING]), "passed",
		number_json(state->passed), "refused", number_json(state->refused), "paused",
		number_json(state->paused), "plain_bytes", number_json(state->plain_bytes),
		"upgraded_bytes", number_json(state->upgraded_bytes));
}

static json_t *seen_json(const struct fence_seen *seen)
{
	json_t *json = state_json(&seen->state);

	json_object_set_new(json, "source", network_json(&seen->source));
	json_object_set_new(json, "standing", json_string(standings[seen->standing]));
	json_object_set_new(json, "penalty_seconds", left_json(seen->penalty_ns));
	json_object_set_new(json, "strikes", json_integer(seen->strikes));
	return json;
}

static size_t limit_of(const struct control_fence_request *request, size_t max)
{
	return request->limit == 0 ? max : min_size(request->limit, max);
}

static json_t *top_answer(struct fence *fence, const struct fence_status *status,
	const struct control_fence_request *request)
{
	size_t n = limit_of(request, CONTROL_SOURCES_MAX);
	struct fence_seen *seen = calloc(n, sizeof(*seen));
	json_t *list;
	bool part;

	(void)status;
	if (seen == NULL)
		return NULL;
	list = json_array();
	n = fence_top(fence, (enum fence_order)request->order, seen, n, &part);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, seen_json(&seen[i]));
	free(seen);
	return answer_of(json_pack("{s:s, s:b, s:o}", "order",
		control_fence_order_words[request->order], "part", (int)part, "sources", list));
}

/* ---- lists ---- */

static const char *action_word(unsigned action)
{
	return action == FENCE_ACTION_ALLOW ? "allow" : "block";
}

static json_t *listed_json(const struct network *net, const struct fence_net *entry)
{
	return json_pack("{s:o, s:s, s:s, s:o}", "network", network_json(net), "action",
		action_word(entry->action), "origin",
		entry->origin == FENCE_ORIGIN_OPERATOR ? "operator" : "configuration",
		"left_seconds", until_json(entry->until_ns));
}

static json_t *list_answer(struct fence *fence, const struct fence_status *status,
	const struct control_fence_request *request)
{
	size_t max = limit_of(request, CONTROL_NETWORKS_MAX), n;
	struct fence_listed *entries = calloc(max + 1, sizeof(*entries));
	json_t *list;

	(void)status;
	if (entries == NULL)
		return NULL;
	list = json_array();
	n = fence_list(fence, request->from, entries, max + 1); /* one more: is there a next? */
	for (size_t i = 0; i < n && i < max; i++)
		json_array_append_new(list, listed_json(&entries[i].net, &entries[i].entry));
	free(entries);
	return answer_of(json_pack("{s:o, s:o}", "networks", list, "next",
		n > max ? number_json(request->from + max) : json_null()));
}

/* What decides about the network's first address now. */
static json_t *decides_json(struct fence *fence, const struct network *network)
{
	struct fence_explained explained;

	fence_explain(fence, network->address, &explained);
	return explained.listed ? listed_json(&explained.net, &explained.entry) : json_null();
}

static json_t *put_answer(struct fence *fence, const struct fence_status *status,
	const struct control_fence_request *request)
{
	bool allow = request->action == CONTROL_FENCE_ALLOW;
	uint64_t until_ns = request->seconds > 0 ? now_ns() + request->seconds * NS_PER_S : 0;
	int res = fence_list_put(fence, &request->network,
		allow ? FENCE_ACTION_ALLOW : FENCE_ACTION_BLOCK, until_ns);

	(void)status;
	if (res == -ENOSPC)
		return error_of("the lists are full");
	if (res != 0)
		return error_of("the entry could not be made; the log may say why");
	return answer_of(json_pack("{s:i, s:o, s:o}", "matched", 1, "network",
		network_json(&request->network), "listed", decides_json(fence, &request->network)));
}

static json_t *drop_answer(struct fence *fence, const struct fence_status *status,
	const struct control_fence_request *request)
{
	bool found = fence_list_drop(fence, &request->network);

	(void)status;
	return answer_of(json_pack("{s:i, s:o, s:o}", "matched", (int)found, "network",
		network_json(&request->network), "listed", decides_json(fence, &request->network)));
}

/* ---- explain ---- */

static json_t *lefts_json(const struct fence_explained *explained)
{
	json_t *list = json_array();

	for (size_t i = 0; i < explained->lefts_n; i++) {
		const struct fence_left *one = &explained->lefts[i];

		json_array_append_new(list,
			json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "budget",
				one->budget, "gauge", one->gauge, "rate",
				one->gauge ? json_null() : limit_json(one->rate), "burst",
				limit_json(one->burst), "left", limit_json(one->left), "all_rate",
				one->gauge ? json_null() : limit_json(one->all_rate), "all_burst",
				limit_json(one->all_burst), "all_left", limit_json(one->all_left),
				"where", one->where));
	}
	return list;
}

static json_t *explain_answer(struct fence *fence, const struct fence_status *status,
	const struct control_fence_request *request)
{
	struct fence_explained explained;

	fence_explain(fence, request->network.address, &explained);
	return answer_of(json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:o, s:o, s:o,"
				   " s:o}",
		"address", address_json(request->network.address), "source",
		network_json(&explained.source), "verdict",
		verdicts[fence_reason_verdict(explained.verdict)], "reason",
		fence_reason_word(explained.verdict), "text", fence_reason_text(explained.verdict),
		"standing", standings[explained.standing], "behaved_seconds",
		left_json(explained.behaved_ns), "penalty_seconds", left_json(explained.penalty_ns),
		"strikes", (int)explained.strikes, "strikes_max",
		max_json(status->rules->strikes_max), "listed",
		explained.listed ? listed_json(&explained.net, &explained.entry) : json_null(),
		"state", explained.seen ? state_json(&explained.state) : json_null(), "budgets",
		lefts_json(&explained)));
}

/* "dropped" is what was known, null: nothing; "listed" is what still decides. */
static json_t *forget_answer(struct fence *fence, const struct fence_status *status,
	const struct control_fence_request *request)
{
	struct fence_explained before;
	bool found = fence_source_forget(fence, request->network.address, &before);
	json_t *dropped = json_null();

	(void)status;
	if (found)
		dropped = json_pack("{s:s, s:o, s:o, s:i, s:o}", "standing",
			standings[before.standing], "behaved_seconds", left_json(before.behaved_ns),
			"penalty_seconds", left_json(before.penalty_ns), "strikes",
			(int)before.strikes, "state",
			before.seen ? state_json(&before.state) : json_null());
	return answer_of(json_pack("{s:i, s:o, s:o, s:o, s:o}", "matched", (int)found, "address",
		address_json(request->network.address), "source", network_json(&before.source),
		"dropped", dropped, "listed", decides_json(fence, &request->network)));
}

/* ---- samples ---- */

static json_t *sample_json(const struct fence_sample *sample)
{
	return json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s}", "at_seconds",
		moment_json(sample->at_ns), "address", address_json(sample->address), "port",
		sample->port != 0 ? json_integer(sample->port) : json_null(), "class",
		fence_class_word(sample->class), "verdict",
		verdicts[fence_reason_verdict(sample->reason)], "reason",
		fence_reason_word(sample->reason), "hook", fence_hook_word(sample->hook));
}

static json_t *samples_answer(struct fence *fence, const struct fence_status *status,
	const struct control_fence_request *request)
{
	struct fence_sample samples[SAMPLES_MAX];
	size_t n = fence_samples(fence, samples, limit_of(request, SAMPLES_MAX));
	json_t *list = json_array();

	(void)status;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, sample_json(&samples[i]));
	return answer_of(json_pack("{s:o}", "samples", list));
}

/* ---- the question ---- */

static json_t *(*const answers[CONTROL_FENCE_ACTIONS])(
	struct fence *, const struct fence_status *, const struct control_fence_request *) = {
	[CONTROL_FENCE_STATUS] = status_answer,
	[CONTROL_FENCE_TOP] = top_answer,
	[CONTROL_FENCE_LIST] = list_answer,
	[CONTROL_FENCE_EXPLAIN] = explain_answer,
	[CONTROL_FENCE_SAMPLES] = samples_answer,
	[CONTROL_FENCE_ALLOW] = put_answer,
	[CONTROL_FENCE_BLOCK] = put_answer,
	[CONTROL_FENCE_UNBLOCK] = drop_answer,
	[CONTROL_FENCE_FORGET] = forget_answer,
};

json_t *fence_answer(struct fence *fence, const struct control_fence_request *request)
{
	struct fence_status status;

	if (fence == NULL)
		return error_of("there is no fence");
	fence_status(fence, &status);
	if (status.running == FENCE_RUNNING_OFF && request->action != CONTROL_FENCE_STATUS)
		return error_of("the fence is off (mode in its section of the configuration)");
	return answers[request->action](fence, &status, request);
}
