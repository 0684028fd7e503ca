/* SPDX-License-Identifier: MIT */
/*
 * fence_json.c -- questions about the fence: what the answers say, in which units, and what a change
 * asks of the fence. The program's own files are in no test's link, so the source is taken in whole;
 * the fence is a double whose time stands still.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define fence_status         fake_fence_status /* the struct's tag, too */
#define fence_sizes          fake_fence_sizes
#define fence_counts         fake_fence_counts
#define fence_top            fake_fence_top
#define fence_explain        fake_fence_explain
#define fence_list_put       fake_fence_list_put
#define fence_list_drop      fake_fence_list_drop
#define fence_list           fake_fence_list
#define fence_samples        fake_fence_samples
#define fence_reason_text    fake_fence_reason_text
#define fence_reason_word    fake_fence_reason_word
#define fence_reason_verdict fake_fence_reason_verdict
#define fence_class_word     fake_fence_class_word
#define fence_hook_word      fake_fence_hook_word
#include "gateway/fence_json.c"

#define S 1000000000ull

struct fence {
	struct fence_status status;
	struct fence_rules rules;
	struct fence_counts counts;
	struct fence_seen seen[3];
	struct fence_explained explained;
	struct fence_listed entries[5];
	size_t entries_n;
	struct fence_sample samples[2];
	/* what it was asked */
	enum fence_order order;
	size_t n;
	struct network network;
	enum fence_action action;
	uint64_t until_ns;
	unsigned statuses, walks, puts, drops;
	int put_result;
	bool drop_result, part;
};

static struct fence fence;
static const uint64_t now_ms = 5000000, real_us = 1700000000500000;

/* ---- the double ---- */

void fence_status(struct fence *of, struct fence_status *out)
{
	of->statuses++;
	*out = of->status;
	out->sources_kernel = out->behaved = out->penalties = 0;
}

void fence_sizes(struct fence *of, struct fence_status *out)
{
	of->walks++;
	out->sources_kernel = of->status.sources_kernel;
	out->behaved = of->status.behaved;
	out->penalties = of->status.penalties;
}

void fence_counts(struct fence *of, struct fence_counts *out)
{
	*out = of->counts;
}

size_t fence_top(
	struct fence *of, enum fence_order order, struct fence_seen *out, size_t n, bool *part)
{
	*part = of->part;
	of->order = order;
	of->n = n;
	n = min_size(n, COUNT_OF(of->seen));
	memcpy(out, of->seen, n * sizeof(*out));
	return n;
}

void fence_explain(
	struct fence *of, const uint8_t address[NETWORK_BYTES], struct fence_explained *out)
{
	memcpy(of->network.address, address, NETWORK_BYTES);
	*out = of->explained;
}

int fence_list_put(
	struct fence *of, const struct network *net, enum fence_action action, uint64_t until_ns)
{
	of->puts++;
	of->network = *net;
	of->action = action;
	of->until_ns = until_ns;
	return of->put_result;
}

bool fence_list_drop(struct fence *of, const struct network *net)
{
	of->drops++;
	of->network = *net;
	return of->drop_result;
}

size_t fence_list(struct fence *of, size_t from, struct fence_listed *out, size_t n)
{
	size_t i = 0;

	for (; i < n && from + i < of->entries_n; i++)
		out[i] = of->entries[from + i];
	return i;
}

size_t fence_samples(const struct fence *of, struct fence_sample *out, size_t n)
{
	n = min_size(n, COUNT_OF(of->samples));
	memcpy(out, of->samples, n * sizeof(*out));
	return n;
}

const char *fence_reason_text(enum fence_reason reason)
{
	return reason == FENCE_PENALTY ? "too many strikes" : "text";
}

const char *fence_reason_word(enum fence_reason reason)
{
	return reason == FENCE_PENALTY ? "penalty" : reason == FENCE_PASS ? "pass" : "other";
}

enum fence_verdict fence_reason_verdict(enum fence_reason reason)
{
	return reason == FENCE_PENALTY ? FENCE_VERDICT_REFUSE : FENCE_VERDICT_PASS;
}

const char *fence_class_word(enum fence_class class)
{
	return class == FENCE_NEW ? "new" : "plain";
}

const char *fence_hook_word(enum fence_hook hook)
{
	return hook == FENCE_HOOK_XDP ? "xdp" : "user";
}

/* ---- what all tests begin with ---- */

static struct network network_of(const char *text)
{
	struct network network;

	cr_assert(network_parse(text, &network), "%s", text);
	return network;
}

/* As rules.c makes one. */
static struct fence_rate rate_of(uint64_t rate, uint64_t burst)
{
	uint64_t interval = (S << FENCE_RATE_SHIFT) / rate;

	return (struct fence_rate){interval, (burst * interval >> FENCE_RATE_SHIFT) + 1};
}

static void setup(void)
{
	memset(&fence, 0, sizeof(fence));
	clock_set_for_test(&now_ms, &real_us);
	fence.status = (struct fence_status){.running = FENCE_RUNNING_KERNEL,
		.why = "",
		.hooks = "cgroup_skb sockops",
		.sources_max = 65536,
		.sources_kernel = 12,
		.sources_user = 3,
		.nets = 5,
		.behaved = 6,
		.penalties = 7,
		.samples_dropped = 8,
		.rules = &fence.rules};
}

static void teardown(void)
{
	clock_set_for_test(NULL, NULL);
}

TestSuite(fence_json, .init = setup, .fini = teardown);

/* The "fence" of an answer that went well; the caller's. */
static json_t *ask(const struct control_fence_request *request)
{
	json_t *answer = fence_answer(&fence, request), *body;

	cr_assert_not_null(answer);
	cr_assert(json_is_true(json_object_get(answer, "ok")));
	body = json_incref(json_object_get(answer, "fence"));
	cr_assert(json_is_object(body));
	json_decref(answer);
	return body;
}

static void expect_error(
	struct fence *of, const struct control_fence_request *request, const char *part)
{
	json_t *answer = fence_answer(of, request);
	const char *text = json_string_value(json_object_get(answer, "error"));

	cr_expect(json_is_false(json_object_get(answer, "ok")));
	cr_assert_not_null(text);
	cr_expect_not_null(strstr(text, part), "%s", text);
	json_decref(answer);
}

/* The value at a path of keys and indexes with dots. */
static const json_t *at(const json_t *root, const char *path)
{
	char key[64];

	while (*path != '\0') {
		size_t n = strcspn(path, ".");

		memcpy(key, path, n);
		key[n] = '\0';
		path += n + (path[n] == '.');
		root = json_is_array(root) ? json_array_get(root, (size_t)atoi(key))
					   : json_object_get(root, key);
	}
	return root;
}

/* In a table: a text, or what a number is. */
struct expected {
	const char *path;
	const char *text; /* NULL: the number */
	json_int_t number;
};

#define NONE (-1) /* null is expected */

static void expect_all(const json_t *root, const struct expected *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const json_t *value = at(root, rows[i].path);
		const char *text = json_string_value(value);

		cr_expect_not_null(value, "%s is missing", rows[i].path);
		if (rows[i].text != NULL)
			cr_expect(text != NULL && strcmp(text, rows[i].text) == 0, "%s is %s",
				rows[i].path, text ? text : "no text");
		else if (rows[i].number == NONE)
			cr_expect(json_is_null(value), "%s is not null", rows[i].path);
		else
			cr_expect(json_is_integer(value) &&
					  json_integer_value(value) == rows[i].number,
				"%s is %lld", rows[i].path, (long long)json_integer_value(value));
	}
}

/* ---- status ---- */

Test(fence_json, status)
{
	static const struct expected rows[] = {
		{"running", "kernel", 0},
		{"why", NULL, NONE},
		{"hooks", "cgroup_skb sockops", 0},
		{"pin", NULL, NONE},
		{"sources.kernel", NULL, 12},
		{"sources.gateway", NULL, 3},
		{"sources.max", NULL, 65536},
		{"networks", NULL, 5},
		{"networks_max", NULL, FENCE_NETS_MAX},
		{"behaved", NULL, 6},
		{"penalties", NULL, 7},
		{"samples_dropped", NULL, 8},
		{"gauges.0.gauge", "open", 0},
		{"gauges.0.standing", "stranger", 0},
		{"gauges.0.now", NULL, 40},
		{"gauges.0.max", NULL, 1000},
		{"gauges.0.source_max", NULL, 20},
		{"gauges.1.standing", "behaved", 0},
		{"gauges.1.max", NULL, NONE},
		{"gauges.3.gauge", "shaking", 0},
		{"budgets.0.budget", "connections", 0},
		{"budgets.0.rate", NULL, 3},
		{"budgets.0.burst", NULL, 10},
		{"budgets.0.behaved_burst", NULL, 100},
		{"budgets.0.all_rate", NULL, 700},
		{"budgets.0.all_burst", NULL, 1000},
		{"budgets.0.all_left", NULL, 300},
		{"budgets.0.behaved_left", NULL, NONE},
		{"budgets.0.where", "kernel", 0},
		{"budgets.1.budget", "plain_bytes", 0},
		{"budgets.1.rate", NULL, NONE},
		{"budgets.1.all_left", NULL, 0},
		{"budgets.1.behaved_left", NULL, 1000000},
		{"counts.0.where", "kernel", 0},
		{"counts.0.class", "new", 0},
		{"counts.0.reason", "penalty", 0},
		{"counts.0.verdict", "refuse", 0},
		{"counts.0.packets", NULL, 77},
		{"counts.0.bytes", NULL, 4620},
		{"counts.1.where", "gateway", 0},
		{"counts.1.class", "plain", 0},
		{"counts.1.verdict", "pass", 0},
	};
	struct control_fence_request request = {.action = CONTROL_FENCE_STATUS};
	struct fence_rules *rules = &fence.rules;
	uint64_t now = now_ms * 1000000;
	json_t *body;

	rules->source_max[FENCE_OPEN][FENCE_STRANGER] = 20;
	rules->all_max[FENCE_OPEN][FENCE_STRANGER] = 1000;
	fence.status.totals.gauge[FENCE_OPEN][FENCE_STRANGER] = 40;
	fence.explained.lefts[0] =
		(struct fence_left){"connections", false, 3, 10, 10, 700, 1000, 1000, "kernel"};
	fence.explained.lefts[1] =
		(struct fence_left){"connections_open", true, 0, 20, 20, 0, 1000, 960, "kernel"};
	fence.explained.lefts[2] = (struct fence_left){
		"plain_bytes", false, ~0ull, ~0ull, ~0ull, 1000000, 1000000, 0, "gateway"};
	fence.explained.lefts_n = 3;
	rules->source[FENCE_CONNECTIONS][FENCE_BEHAVED] = rate_of(30, 100);
	rules->all[FENCE_CONNECTIONS][FENCE_STRANGER] = rate_of(700, 1000);
	fence.status.totals.tat[FENCE_CONNECTIONS][FENCE_STRANGER] =
		now + 700 * fence_cost(&rules->all[FENCE_CONNECTIONS][FENCE_STRANGER], 1);
	rules->all[FENCE_PLAIN_BYTES][FENCE_STRANGER] = rate_of(1000000, 1000000);
	rules->all[FENCE_PLAIN_BYTES][FENCE_BEHAVED] = rate_of(1000000, 1000000);
	fence.status.totals.tat[FENCE_PLAIN_BYTES][FENCE_STRANGER] = now + 20 * S; /* in debt */
	fence.counts.by[0][FENCE_NEW][FENCE_PENALTY] = (struct fence_count){77, 4620};
	fence.counts.by[1][FENCE_PLAIN][FENCE_PASS] = (struct fence_count){1, 0};
	body = ask(&request);
	expect_all(body, rows, COUNT_OF(rows));
	cr_expect_eq(json_array_size(json_object_get(body, "counts")), 2);
	cr_expect_eq(json_array_size(json_object_get(body, "budgets")), 2);
	cr_expect_eq(fence.network.address[0], 1);
	cr_expect_eq(
		json_array_size(json_object_get(body, "gauges")), FENCE_GAUGES * FENCE_STANDINGS);
	cr_expect_eq(fence.statuses, 1);
	json_decref(body);
}

/* A table may have millions of entries: whoever asks something else does not wait for a walk. */
Test(fence_json, only_status_goes_through_the_tables)
{
	static const enum control_fence_action others[] = {CONTROL_FENCE_TOP, CONTROL_FENCE_LIST,
		CONTROL_FENCE_EXPLAIN, CONTROL_FENCE_SAMPLES, CONTROL_FENCE_BLOCK};

	for (size_t i = 0; i < COUNT_OF(others); i++) {
		struct control_fence_request request = {
			.action = others[i], .network = network_of("192.0.2.7")};

		json_decref(fence_answer(&fence, &request));
		cr_expect_eq(fence.walks, 0, "%s", control_fence_action_words[others[i]]);
	}
	json_decref(fence_answer(
		&fence, &(struct control_fence_request){.action = CONTROL_FENCE_STATUS}));
	cr_expect_eq(fence.walks, 1);
}

Test(fence_json, status_where_it_does_not_run)
{
	struct control_fence_request request = {.action = CONTROL_FENCE_STATUS};
	json_t *body;

	fence.status.running = FENCE_RUNNING_USER;
	fence.status.why = "no CAP_BPF";
	fence.status.hooks = NULL;
	fence.status.pin = "/sys/fs/bpf/postern";
	body = ask(&request);
	expect_all(body,
		(const struct expected[]){{"running", "user", 0}, {"why", "no CAP_BPF", 0},
			{"hooks", NULL, NONE}, {"pin", "/sys/fs/bpf/postern", 0}},
		4);
	json_decref(body);
	fence.status.running = FENCE_RUNNING_OFF;
	body = ask(&request);
	expect_all(body, (const struct expected[]){{"running", "off", 0}}, 1);
	json_decref(body);
}

Test(fence_json, nothing_to_ask)
{
	struct control_fence_request request = {.network = network_of("192.0.2.7")};

	expect_error(NULL, &request, "there is no fence");
	fence.status.running = FENCE_RUNNING_OFF;
	for (int i = CONTROL_FENCE_STATUS + 1; i < CONTROL_FENCE_ACTIONS; i++) {
		request.action = (enum control_fence_action)i;
		expect_error(&fence, &request, "the fence is off");
	}
	cr_expect_eq(fence.puts + fence.drops, 0);
}

/* ---- top ---- */

Test(fence_json, top)
{
	static const struct expected rows[] = {
		{"order", "bytes", 0},
		{"sources.0.source", "192.0.2.0/24", 0},
		{"sources.0.standing", "behaved", 0},
		{"sources.0.seen_seconds", NULL, 1700000000 - 60},
		{"sources.0.open", NULL, 2},
		{"sources.0.shaking", NULL, 1},
		{"sources.0.passed", NULL, 3},
		{"sources.0.refused", NULL, 4},
		{"sources.0.paused", NULL, 5},
		{"sources.0.plain_bytes", NULL, 6},
		{"sources.0.upgraded_bytes", NULL, 1ll << 40},
		{"sources.0.penalty_seconds", NULL, 2}, /* 1.000000001 s left */
		{"sources.1.source", "2001:db8::/64", 0},
		{"sources.1.standing", "stranger", 0},
		{"sources.1.seen_seconds", NULL, NONE},
		{"sources.1.penalty_seconds", NULL, NONE},
	};
	struct control_fence_request request = {
		.action = CONTROL_FENCE_TOP, .order = CONTROL_FENCE_BYTES, .limit = 2};
	json_t *body;

	fence.seen[0] = (struct fence_seen){.source = network_of("192.0.2.0/24"),
		.state = {.gauge = {2, 1},
			.seen_ns = now_ms * 1000000 - 60 * S,
			.passed = 3,
			.refused = 4,
			.paused = 5,
			.plain_bytes = 6,
			.upgraded_bytes = 1ull << 40},
		.standing = FENCE_BEHAVED,
		.penalty_ns = S + 1};
	fence.seen[1] = (struct fence_seen){.source = network_of("2001:db8::/64")};
	body = ask(&request);
	expect_all(body, rows, COUNT_OF(rows));
	cr_expect_eq(json_array_size(json_object_get(body, "sources")), 2);
	cr_expect_eq(fence.order, FENCE_ORDER_BYTES);
	cr_expect(json_is_false(at(body, "part")));
	json_decref(body);
	fence.part = true;
	body = ask(&request);
	cr_expect(json_is_true(at(body, "part")));
	json_decref(body);
	request.limit = 0;
	json_decref(ask(&request));
	cr_expect_eq(fence.n, CONTROL_SOURCES_MAX);
	request.limit = UINT32_MAX;
	json_decref(ask(&request));
	cr_expect_eq(fence.n, CONTROL_SOURCES_MAX);
}

/* ---- the lists ---- */

static void entries_fill(void)
{
	fence.entries_n = COUNT_OF(fence.entries);
	for (size_t i = 0; i < fence.entries_n; i++) {
		char text[32];

		snprintf(text, sizeof(text), "10.0.%zu.0/24", i);
		fence.entries[i] = (struct fence_listed){network_of(text),
			{.action = FENCE_ACTION_BLOCK, .origin = FENCE_ORIGIN_CONFIG}};
	}
	fence.entries[1].entry = (struct fence_net){.action = FENCE_ACTION_ALLOW,
		.origin = FENCE_ORIGIN_OPERATOR,
		.until_ns = now_ms * 1000000 + 90 * S};
	fence.entries[2].entry.until_ns = 1; /* over, and not taken away yet */
}

Test(fence_json, list)
{
	static const struct expected rows[] = {
		{"networks.0.network", "10.0.0.0/24", 0},
		{"networks.0.action", "block", 0},
		{"networks.0.origin", "configuration", 0},
		{"networks.0.left_seconds", NULL, NONE},
		{"networks.1.action", "allow", 0},
		{"networks.1.origin", "operator", 0},
		{"networks.1.left_seconds", NULL, 90},
		{"networks.2.left_seconds", NULL, 0},
		{"next", NULL, NONE},
	};
	struct control_fence_request request = {.action = CONTROL_FENCE_LIST};
	json_t *body;

	entries_fill();
	body = ask(&request);
	expect_all(body, rows, COUNT_OF(rows));
	cr_expect_eq(json_array_size(json_object_get(body, "networks")), 5);
	json_decref(body);
}

/* Each once, and no "next" after the last. */
Test(fence_json, list_in_pieces)
{
	struct control_fence_request request = {.action = CONTROL_FENCE_LIST, .limit = 2};
	size_t got = 0, pieces = 0;
	const json_t *next;
	json_t *body;

	entries_fill();
	do {
		const json_t *networks;

		body = ask(&request);
		networks = json_object_get(body, "networks");

		for (size_t i = 0; i < json_array_size(networks); i++) {
			char text[32];

			snprintf(text, sizeof(text), "10.0.%zu.0/24", got++);
			cr_expect_str_eq(json_string_value(json_object_get(
						 json_array_get(networks, i), "network")),
				text);
		}
		next = json_object_get(body, "next");
		request.from = (uint32_t)json_integer_value(next);
		cr_assert_lt(++pieces, 5);
		pieces += json_is_null(next) ? 10 : 0;
		json_decref(body);
	} while (pieces < 10);
	cr_expect_eq(got, 5);
	cr_expect_eq(pieces, 13);
	request.limit = 5;
	request.from = 0;
	body = ask(&request);
	expect_all(body, (const struct expected[]){{"next", NULL, NONE}}, 1);
	json_decref(body);
}

Test(fence_json, put)
{
	struct control_fence_request request = {.action = CONTROL_FENCE_BLOCK,
		.network = network_of("192.0.2.0/24"),
		.seconds = 3600};
	json_t *body;

	fence.explained.listed = true;
	fence.explained.net = request.network;
	fence.explained.entry = (struct fence_net){.action = FENCE_ACTION_BLOCK,
		.origin = FENCE_ORIGIN_OPERATOR,
		.until_ns = now_ms * 1000000 + 3600 * S};
	body = ask(&request);
	cr_expect_eq(fence.action, FENCE_ACTION_BLOCK);
	cr_expect_eq(fence.until_ns, now_ms * 1000000 + 3600 * S);
	expect_all(body,
		(const struct expected[]){{"matched", NULL, 1}, {"network", "192.0.2.0/24", 0},
			{"listed.network", "192.0.2.0/24", 0}, {"listed.action", "block", 0},
			{"listed.left_seconds", NULL, 3600}},
		5);
	json_decref(body);
	request.action = CONTROL_FENCE_ALLOW;
	request.seconds = 0;
	json_decref(ask(&request));
	cr_expect_eq(fence.action, FENCE_ACTION_ALLOW);
	cr_expect_eq(fence.until_ns, 0);
	cr_expect_eq(fence.puts, 2);
	fence.put_result = -ENOSPC;
	expect_error(&fence, &request, "the lists are full");
	fence.put_result = -ENOMEM;
	expect_error(&fence, &request, "could not be made");
}

Test(fence_json, drop)
{
	struct control_fence_request request = {
		.action = CONTROL_FENCE_UNBLOCK, .network = network_of("192.0.2.0/24")};
	json_t *body;

	fence.drop_result = true;
	body = ask(&request);
	expect_all(body,
		(const struct expected[]){{"matched", NULL, 1}, {"network", "192.0.2.0/24", 0},
			{"listed", NULL, NONE}},
		3);
	json_decref(body);
	fence.drop_result = false;
	fence.explained.listed = true;
	fence.explained.net = network_of("192.0.0.0/8");
	fence.explained.entry =
		(struct fence_net){.action = FENCE_ACTION_BLOCK, .origin = FENCE_ORIGIN_CONFIG};
	body = ask(&request);
	expect_all(body,
		(const struct expected[]){{"matched", NULL, 0},
			{"listed.network", "192.0.0.0/8", 0},
			{"listed.origin", "configuration", 0}},
		3);
	cr_expect_eq(fence.drops, 2);
	json_decref(body);
}

/* ---- explain, samples ---- */

Test(fence_json, explain)
{
	static const struct expected rows[] = {
		{"address", "2001:db8::7", 0},
		{"source", "2001:db8::/64", 0},
		{"verdict", "refuse", 0},
		{"reason", "penalty", 0},
		{"text", "too many strikes", 0},
		{"standing", "behaved", 0},
		{"behaved_seconds", NULL, 5},
		{"penalty_seconds", NULL, 6},
		{"strikes", NULL, 3},
		{"strikes_max", NULL, 10},
		{"listed", NULL, NONE},
		{"state.open", NULL, 2},
		{"state.seen_seconds", NULL, 1700000000},
		{"budgets.0.budget", "connections", 0},
		{"budgets.0.rate", NULL, 10},
		{"budgets.0.burst", NULL, 50},
		{"budgets.0.left", NULL, 12},
		{"budgets.0.all_rate", NULL, NONE},
		{"budgets.0.all_burst", NULL, NONE},
		{"budgets.0.all_left", NULL, NONE},
		{"budgets.0.where", "kernel", 0},
		{"budgets.1.budget", "handshakes_open", 0},
		{"budgets.1.rate", NULL, NONE},
		{"budgets.1.burst", NULL, 4},
		{"budgets.1.left", NULL, 0},
		{"budgets.1.all_left", NULL, 9},
	};
	struct control_fence_request request = {
		.action = CONTROL_FENCE_EXPLAIN, .network = network_of("2001:db8::7")};
	json_t *body;

	fence.rules.strikes_max = 10;
	fence.explained = (struct fence_explained){.source = network_of("2001:db8::/64"),
		.verdict = FENCE_PENALTY,
		.standing = FENCE_BEHAVED,
		.behaved_ns = 5 * S,
		.penalty_ns = 5 * S + 1,
		.strikes = 3,
		.seen = true,
		.state = {.gauge = {2, 0}, .seen_ns = now_ms * 1000000 + 5},
		.lefts = {{"connections", false, 10, 50, 12, ~0ull, ~0ull, ~0ull, "kernel"},
			{"handshakes_open", true, 0, 4, 0, 0, 10, 9, "gateway"}},
		.lefts_n = 2};
	body = ask(&request);
	expect_all(body, rows, COUNT_OF(rows));
	cr_expect_arr_eq(fence.network.address, request.network.address, NETWORK_BYTES);
	cr_expect(json_is_false(at(body, "budgets.0.gauge")));
	cr_expect(json_is_true(at(body, "budgets.1.gauge")));
	json_decref(body);
	fence.explained.seen = false;
	body = ask(&request);
	expect_all(body, (const struct expected[]){{"state", NULL, NONE}}, 1);
	json_decref(body);
}

Test(fence_json, samples)
{
	static const struct expected rows[] = {
		{"samples.0.at_seconds", NULL, 1700000000 - 2},
		{"samples.0.address", "192.0.2.7", 0},
		{"samples.0.port", NULL, 25},
		{"samples.0.class", "new", 0},
		{"samples.0.verdict", "refuse", 0},
		{"samples.0.reason", "penalty", 0},
		{"samples.0.hook", "xdp", 0},
		{"samples.1.address", "2001:db8::7", 0},
		{"samples.1.port", NULL, NONE},
	};
	struct control_fence_request request = {.action = CONTROL_FENCE_SAMPLES};
	json_t *body;

	fence.samples[0] = (struct fence_sample){.at_ns = now_ms * 1000000 - 2 * S,
		.port = 25,
		.class = FENCE_NEW,
		.reason = FENCE_PENALTY,
		.hook = FENCE_HOOK_XDP};
	memcpy(fence.samples[0].address, network_of("192.0.2.7").address, NETWORK_BYTES);
	fence.samples[1] = (struct fence_sample){.at_ns = now_ms * 1000000 - 3 * S};
	memcpy(fence.samples[1].address, network_of("2001:db8::7").address, NETWORK_BYTES);
	body = ask(&request);
	expect_all(body, rows, COUNT_OF(rows));
	cr_expect_eq(json_array_size(json_object_get(body, "samples")), 2);
	json_decref(body);
	request.limit = 1;
	body = ask(&request);
	cr_expect_eq(json_array_size(json_object_get(body, "samples")), 1);
	json_decref(body);
}

/* The largest answers fit what the control socket sends. */
Test(fence_json, largest_answers)
{
	struct network network = {.bits = 127};
	struct fence_listed entry;
	struct fence_seen seen;
	json_t *json;

	memset(network.address, 0xfe, NETWORK_BYTES);
	entry = (struct fence_listed){network, {.action = FENCE_ACTION_ALLOW,
						       .origin = FENCE_ORIGIN_CONFIG,
						       .until_ns = UINT64_MAX}};
	json = listed_json(&entry.net, &entry.entry);
	cr_expect_lt((json_dumpb(json, NULL, 0, 0) + 2) * CONTROL_NETWORKS_MAX, CONTROL_ANSWER_MAX);
	json_decref(json);
	memset(&seen, 0xff, sizeof(seen));
	seen.source = network;
	seen.standing = FENCE_STRANGER;
	seen.state.seen_ns = 1;
	json = seen_json(&seen);
	cr_expect_lt((json_dumpb(json, NULL, 0, 0) + 2) * CONTROL_SOURCES_MAX, CONTROL_ANSWER_MAX);
	json_decref(json);
}
