/* SPDX-License-Identifier: MIT */
/*
 * posternctl.c -- the program itself against gateways that serve, hang, hang up or talk rubbish:
 * exit codes, what goes to stdout, what a person is told on stderr.
 *
 * The program is the one beside this test in the build folder. Each gateway is a process of its
 * own, made after its socket listens, killed and reaped at the end.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/counter.h"
#include "control/control.h"

#define OUTPUT_MAX (1 << 20)
#define ARGS_MAX   14

static char folder[32];
static char program[PATH_MAX + 32];
static char out[OUTPUT_MAX], complaint[OUTPUT_MAX];

static int stdin_fd = -1; /* the program's; -1: nothing comes */

static struct control *control;

static void hook_status(void *ctx, struct control_status *status)
{
	static const char *const names[] = {"mx2.example.org", "\x1b]0;title\x07"};
	static const struct control_listener listeners[] = {
		{"smtp", "127.0.0.1", 25, "starttls"}, {"six", "::1", 465, "implicit"}};
	static const struct control_certificate certificates[] = {
		{"default", "ECDSA P-256", NULL, 0, 4000000000},
		{"old", "RSA 2048", names, COUNT_OF(names), 1000000000}};

	(void)ctx;
	*status = (struct control_status){.version = "7.8",
		.hostname = "mx.example.org",
		.pid = 4711,
		.workers = 2,
		.ktls_rx = "no: \x1b[2J",
		.reload_error = "cert.pem: \xc2\x9b broken",
		.listeners = listeners,
		.listeners_n = 2,
		.certificates = certificates,
		.certificates_n = 2};
}

static void hook_reload_ok(void *ctx)
{
	(void)ctx;
	control_reload_done(control, true, NULL);
}

static void hook_reload_bad(void *ctx)
{
	(void)ctx;
	control_reload_done(control, false, "cert.pem: no\x1b certificate");
}

static void hook_stop(void *ctx)
{
	(void)ctx;
}

/* ---- the queue: five messages, pages of two ---- */

#define QUEUED 5

static json_t *queued_message(int id, bool whole)
{
	json_t *json = json_pack("{s:o, s:s, s:I, s:I, s:i, s:i, s:s, s:i, s:[{s:s,s:s,s:s}], s:s}",
		"id", json_sprintf("A%d", id), "state", id == 3 ? "held" : "deferred",
		"arrived_seconds", (json_int_t)1700000000, "due_seconds", (json_int_t)4000000000,
		"size", 14541, "attempts", 3, "sender", id == 1 ? "" : "evil\x1b[2J@example.com",
		"recipients_total", 3, "recipients", "address", "user@example.org", "destination",
		"lmtp:[::1]:24", "fate", "pending", "last",
		"451 4.3.0 a reply that is rather long, so that it has to be cut somewhere, here");

	if (whole)
		json_object_update_missing_new(
			json, json_pack("{s:s, s:s, s:[{s:I,s:i,s:s,s:s}]}", "envid", "QQ314",
				      "header", "Subject: a\tb \x1b[31m\r\nX: \xc3\xa9\n", "tries",
				      "seconds", (json_int_t)1700000000, "recipients", 2,
				      "next_hop", "lmtp:[::1]:24 [::1]", "text", "451 \x07 later"));
	return json;
}

static json_t *queue_list(const struct control_queue_request *request)
{
	int after = request->after[0] ? request->after[1] - '0' : 0;
	int n = request->limit < 2 ? (int)request->limit : 2;
	json_t *messages = json_array();

	for (int id = after + 1; id <= QUEUED && n > 0; id++, n--) {
		if (request->sender[0] != '\0' && (id != 1 || strcmp(request->sender, "<>") != 0))
			continue;
		json_array_append_new(messages, queued_message(id, false));
		after = id;
	}
	return json_pack("{s:o, s:o}", "messages", messages, "next",
		json_array_size(messages) > 0 && after < QUEUED && request->sender[0] == '\0'
			? json_sprintf("A%d", after)
			: json_null());
}

static json_t *queue_count(const struct control_queue_request *request)
{
	json_int_t n = request->sender[0] == '\0' ? QUEUED : 0;

	return json_pack("{s:I, s:{s:i,s:I}, s:I, s:[{s:s,s:i,s:I,s:i,s:b,s:I,s:s}], s:{s:i}, s:i}",
		"matched", n, "states", "held", 1, "deferred", n, "oldest_seconds",
		(json_int_t)1700000000, "destinations", "destination", "mx:b\xc3\xbc.example",
		"held", 1, "deferred", n, "recipients", 9, "down", 1, "due_seconds",
		(json_int_t)1700000600, "last", "connection refused", "other", "ready", 77,
		"other_destinations", 12);
}

static bool hook_queue(void *ctx, const struct control_queue_request *request, uint64_t token)
{
	int id = request->id[0] == 'A' ? request->id[1] - '0' : 0;
	json_t *queue;

	(void)ctx;
	if (request->action == CONTROL_QUEUE_LIST)
		queue = queue_list(request);
	else if (request->action == CONTROL_QUEUE_TALLY)
		queue = queue_count(request);
	else if (request->action == CONTROL_QUEUE_SHOW)
		queue = id >= 1 && id <= QUEUED ? queued_message(id, true) : json_null();
	else if (request->id[0] != '\0')
		queue = json_pack("{s:i}", "matched", id >= 1 && id <= QUEUED);
	else
		queue = json_pack("{s:i}", "matched", request->sender[0] != '\0' ? 0 : QUEUED);
	control_queue_done(control, token, json_pack("{s:b, s:o}", "ok", 1, "queue", queue));
	return true;
}

/* ---- the fence: 5000 networks in pieces of 4000, one entry of an operator's ---- */

static json_t *fence_status(void)
{
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:{s:i,s:b,s:i,s:i}, s:i, s:i, s:i,"
		" s:i, s:b, s:i, s:[{s:s,s:s,s:i,s:i,s:n}], s:[{s:s,s:i,s:i,s:n,s:n,s:n,s:i,s:s}],"
		" s:[{s:s,s:s,s:s,s:s,s:i,s:i}]}",
		"running", "user", "why", "no CAP_BPF\x1b: grant it", "hooks", "cgroup_skb", "pin",
		"/sys/fs/bpf/postern", "sources", "kernel", 12, "kernel_at_least", 1, "gateway", 3,
		"max", 65536, "networks", 5, "networks_max", 65536, "behaved", 6, "penalties", 7,
		"penalties_at_least", 1, "samples_dropped", 8, "gauges", "gauge", "open",
		"standing", "stranger", "source_max", 20, "now", 41, "max", "budgets", "budget",
		"plain_bytes", "rate", 65536, "burst", 1048576, "all_rate", "all_burst", "all_left",
		"behaved_left", 3, "where", "kernel", "counts", "where", "kernel", "class", "new",
		"verdict", "refuse", "reason", "over_connections", "packets", 77, "bytes", 4620);
}

static json_t *fence_networks(uint32_t from)
{
	uint32_t n = from < 5000 ? from + CONTROL_NETWORKS_MAX : from;
	json_t *networks = json_array();

	for (uint32_t i = from; i < n && i < 5000; i++)
		json_array_append_new(networks,
			json_pack("{s:o, s:s, s:s, s:o}", "network",
				json_sprintf("10.%u.%u.0/24", i / 256, i % 256), "action",
				i % 2 ? "allow" : "block", "origin", "operator", "left_seconds",
				i == 0 ? json_integer(4000) : json_null()));
	return json_pack("{s:o, s:o}", "networks", networks, "next",
		n < 5000 ? json_integer(n) : json_null());
}

static json_t *fence_sources(const struct control_fence_request *request)
{
	json_t *sources = json_array();

	for (uint32_t i = 0; i < request->limit && i < 30; i++)
		json_array_append_new(sources,
			json_pack("{s:o, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}",
				"source", json_sprintf("192.0.2.%u", i), "standing", "stranger",
				"seen_seconds", (json_int_t)1700000000, "open", 2, "shaking", 1,
				"passed", 40, "refused", 300, "paused", 5, "plain_bytes", 1024,
				"upgraded_bytes", 512, "strikes", 4, "penalty_seconds", 61));
	return json_pack("{s:s, s:b, s:o}", "order", control_fence_order_words[request->order],
		"part", request->order == CONTROL_FENCE_OPEN, "sources", sources);
}

static json_t *fence_explained(bool pass)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:n, s:i, s:i, s:i, s:{s:s,s:s,s:s,s:i},"
			 " s:{s:I,s:i,s:i,s:i,s:i,s:i,s:i,s:i},"
			 " s:[{s:s,s:b,s:i,s:i,s:i,s:n,s:n,s:n,s:s}]}",
		"address", "2001:db8::7", "source", "2001:db8::/64", "verdict",
		pass ? "pass" : "refuse", "reason", pass ? "pass" : "penalty", "text",
		"too many strikes", "standing", "stranger", "behaved_seconds", "penalty_seconds",
		600, "strikes", 3, "strikes_max", 10, "listed", "action", "block", "network",
		"2001:db8::/32", "origin", "configuration", "left_seconds", 59, "state",
		"seen_seconds", (json_int_t)1700000000, "open", 1, "shaking", 2, "passed", 3,
		"refused", 4, "paused", 5, "plain_bytes", 6, "upgraded_bytes", 2048, "budgets",
		"budget", "connections", "gauge", 0, "rate", 10, "burst", 50, "left", 12,
		"all_rate", "all_burst", "all_left", "where", "kernel");
}

static json_t *fence_changed(const struct control_fence_request *request)
{
	char text[NETWORK_TEXT_MAX];
	bool drop = request->action == CONTROL_FENCE_UNBLOCK;
	bool there = request->network.address[12] == 192;

	return json_pack("{s:i, s:s, s:{s:s,s:s,s:s}}", "matched", !drop || there, "network",
		network_text(&request->network, text), "listed", "action", "block", "network",
		"192.0.0.0/8", "origin", "configuration");
}

static json_t *fence_forgotten(const struct control_fence_request *request)
{
	bool there = request->network.address[12] == 192;
	json_t *dropped = json_null();

	if (there)
		dropped = json_pack("{s:s, s:i, s:i, s:i, s:n}", "standing", "behaved",
			"behaved_seconds", 120, "penalty_seconds", 600, "strikes", 3, "state");
	return json_pack("{s:i, s:s, s:o, s:{s:s,s:s,s:s}}", "matched", there, "source",
		"192.0.2.7", "dropped", dropped, "listed", "action", "block", "network",
		"192.0.0.0/8", "origin", "configuration");
}

static bool hook_fence(
	void *ctx, const struct control_fence_request *request, struct json_t **answer)
{
	json_t *fence;

	(void)ctx;
	if (request->action == CONTROL_FENCE_STATUS)
		fence = fence_status();
	else if (request->action == CONTROL_FENCE_LIST)
		fence = fence_networks(request->from);
	else if (request->action == CONTROL_FENCE_TOP)
		fence = fence_sources(request);
	else if (request->action == CONTROL_FENCE_EXPLAIN)
		fence = fence_explained(request->network.address[0] == 0);
	else if (request->action == CONTROL_FENCE_SAMPLES)
		fence = json_pack("{s:[{s:I,s:s,s:n,s:s,s:s,s:s,s:s}]}", "samples", "at_seconds",
			(json_int_t)1700000000, "address", "192.0.2.7", "port", "class", "new",
			"verdict", "refuse", "reason", "blocked", "hook", "xdp\x1b");
	else if (request->action == CONTROL_FENCE_FORGET)
		fence = fence_forgotten(request);
	else
		fence = fence_changed(request);
	cr_assert_not_null(fence);
	*answer = json_pack("{s:b, s:o}", "ok", 1, "fence", fence);
	return true;
}

/* ---- sts: 150 domains in pieces of 100 ---- */

static json_t *sts_domain(unsigned i)
{
	char name[32], zone[96];

	snprintf(name, sizeof(name), "d%03u.example", i);
	snprintf(zone, sizeof(zone), "_mta-sts.%s. IN TXT \"v=STSv1; id=%u;\"", name, i);
	return json_pack("{s:s, s:s, s:i, s:[{s:s,s:s}, {s:s,s:s}]}", "domain", name, "mode",
		"testing", "max_age_seconds", 60, "records", "why", "the id", "zone", zone, "why",
		"a \x1b note", "zone", "; where it is");
}

static void sts_records(const struct control_sts_request *request, struct json_t **answer)
{
	json_t *domains = json_array(), *next = json_null();
	unsigned i = request->from;

	if (request->domain[0] != '\0') {
		if (strcmp(request->domain, "d001.example") == 0)
			json_array_append_new(domains, sts_domain(1));
		i = 150;
	}
	for (; i < 150; i++) {
		if (json_array_size(domains) == CONTROL_STS_DOMAINS_MAX) {
			next = json_integer(i);
			break;
		}
		json_array_append_new(domains, sts_domain(i));
	}
	*answer = json_pack("{s:b, s:{s:o, s:o, s:{s:s, s:[{s:s,s:s}]}}}", "ok", 1, "sts",
		"domains", domains, "next", next, "host", "hostname", "mx.example", "records",
		"why", "a key", "zone", "_25._tcp.mx.example. IN TLSA 3 1 1 00");
}

/* Three domains, one a piece; the second has a failure. Nothing is counted on 2026-11-20. */
static void sts_report(const struct control_sts_request *request, struct json_t **answer)
{
	static const char *const names[] = {"a.example", "b.example", "c.example"};
	json_t *reports = json_array(), *report;
	size_t i = 0;

	while (i < 3 && strcmp(names[i], request->after) <= 0)
		i++;
	if (request->domain[0] != '\0' && strcmp(request->domain, "b.example") == 0)
		i = 1;
	report = json_pack("{s:s, s:[{s:{s:s,s:s}, s:{s:i,s:i}}]}", "x-state", "open", "policies",
		"policy", "policy-type", "sts", "policy-domain", names[i], "summary",
		"total-successful-session-count", 7, "total-failure-session-count", i == 1 ? 2 : 0);
	if (i == 1)
		json_object_set_new(json_array_get(json_object_get(report, "policies"), 0),
			"failure-details",
			json_pack("[{s:s, s:i, s:s}]", "result-type", "certificate-expired",
				"failed-session-count", 2, "receiving-mx-hostname", "mx\x1b[2J"));
	if (request->day != 20777)
		json_array_append(reports, report);
	json_decref(report);
	*answer = json_pack("{s:b, s:{s:b, s:s, s:s?, s:o, s:s?}}", "ok", 1, "sts", "on", 1, "day",
		"2026-11-21", "from", NULL, "reports", reports, "next",
		i == 2 || request->domain[0] != '\0' ? NULL : names[i]);
}

/* None is kept but d.example's. */
static void sts_policies(const struct control_sts_request *request, struct json_t **answer)
{
	json_t *policies = json_array();

	if (request->domain[0] == '\0' || strcmp(request->domain, "d.example") == 0)
		json_array_append_new(policies,
			json_pack("{s:s, s:s, s:s, s:i, s:I, s:i, s:[s,s,s]}", "domain",
				"d.example", "mode", "enforce", "id", "a1", "max_age_seconds",
				604800, "fetched_seconds", (json_int_t)1700000000, "left_seconds",
				90000, "mx", "mx.d.example", "*.e.example", "x.example"));
	if (request->domain[0] != '\0' && json_array_size(policies) > 0)
		json_object_set_new(json_array_get(policies, 0), "policy",
			json_string("version: STSv1\r\nx: \x1b[2J\nmode: enforce"));
	*answer = json_pack("{s:b, s:{s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:n, s:o}}", "ok", 1,
		"sts", "on", 1, "kept", 1, "enforce", 1, "testing", 0, "fetches", 3, "failures", 2,
		"evicted", 0, "next", "policies", policies);
}

/* --days N is the day that it shows. */
static void sts_watch(const struct control_sts_request *request, struct json_t **answer)
{
	json_t *days = json_pack("[{s:s, s:i, s:i, s:i, s:i, s:{s:i,s:i}}]", "day", "2026-11-21",
		"tls", 5, "clear", (int)request->days, "downgrades", 1, "handshakes", 6, "failures",
		"version", 1, "certificate", 2);
	json_t *senders = json_pack("[{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i}]", "sender",
		"a\x1b.example", "kind", "domain", "first", "2026-11-01", "last_tls", "2026-11-20",
		"last_clear", "2026-11-21", "tls", 9, "clear", 1, "downgrades", 1);

	*answer = json_pack(
		"{s:b, s:{s:b, s:s, s:i, s:o, s:[{s:s,s:i,s:i}], s:i, s:[{s:s,s:i,s:{s:i},s:{s:s}}], "
		"s:o, s:i, s:o}}",
		"ok", 1, "sts", "on", strcmp(request->domain, "off.example") != 0, "since",
		"2026-11-01", "senders", 4, "days", days, "domains", "domain", "example.org", "tls",
		3, "clear", 2, "domains_total", (int)request->limit, "hosts", "host",
		"mx.example.org", "handshakes", 6, "failures", "sni", 2, "last_peers", "sni",
		"192.0.2.7\x1b", "downgraded", senders, "downgraded_total", 1, "policies",
		json_pack("[{s:s, s:s, s:i, s:i, s:s, s:s}]", "domain", "example.org", "mode",
			"testing", "calm_days", 14, "enforce_days", 14, "advice", "enforce", "why",
			"you decide"));
}

static bool hook_sts(void *ctx, const struct control_sts_request *request, struct json_t **answer)
{
	(void)ctx;
	if (request->action == CONTROL_STS_REPORT)
		sts_report(request, answer);
	else if (request->action == CONTROL_STS_POLICIES)
		sts_policies(request, answer);
	else if (request->action == CONTROL_STS_WATCH)
		sts_watch(request, answer);
	else
		sts_records(request, answer);
	return true;
}

static _Noreturn void serve(int listen_fd, void (*reload)(void *ctx))
{
	struct control_hooks hooks = {
		NULL, hook_status, reload, hook_stop, hook_queue, hook_fence, hook_sts};
	struct pollfd fds[CONTROL_POLLFDS_MAX];
	struct err err;

	count_add(COUNTER_SESSIONS, 4);
	count_add(COUNTER_TLS_HANDSHAKES, 3);
	count_add(COUNTER_MESSAGE_BYTES, 3 << 20);
	if (control_open(&control, listen_fd, &hooks, &err) < 0)
		_exit(1);
	for (;;) {
		size_t n = control_pollfds(control, fds, CONTROL_POLLFDS_MAX);

		(void)poll(fds, n, control_timeout_ms(control));
		control_run(control, fds, n);
	}
}

/* Takes the request and says `answer`, over and over until `octets` are out. */
static void talk(int fd, const char *answer, size_t octets)
{
	char request[64];
	size_t n = strlen(answer);

	(void)!read(fd, request, sizeof(request));
	for (size_t said = 0; said < octets; said += n)
		if (send(fd, answer, n, MSG_NOSIGNAL) < 0)
			break;
	close(fd);
}

enum gateway {
	GATEWAY_NONE,
	GATEWAY_STALE,
	GATEWAY_GOOD,
	GATEWAY_RELOAD_FAILS,
	GATEWAY_HANGS,
	GATEWAY_CLOSES,
	GATEWAY_SMTP,
	GATEWAY_OTHER_JSON,
	GATEWAY_BARE,
	GATEWAY_EMPTY_STATUS,
	GATEWAY_HALF,
	GATEWAY_ENDLESS,
};

static const struct {
	const char *text;
	size_t octets;
} talks[] = {
	[GATEWAY_CLOSES] = {"", 0},
	[GATEWAY_SMTP] = {"220 mx.example.org ESMTP\r\n", 1},
	[GATEWAY_OTHER_JSON] = {"[1, 2]\n", 1},
	[GATEWAY_BARE] = {"{\"ok\": true}\n", 1},
	[GATEWAY_EMPTY_STATUS] = {"{\"ok\": true, \"status\": {}}\n", 1},
	[GATEWAY_HALF] = {"{\"ok\": true, \"te", 1},
	[GATEWAY_ENDLESS] = {"                                                               ",
		5 << 20},
};

static _Noreturn void gateway_run(enum gateway gateway, int listen_fd)
{
	fcntl(listen_fd, F_SETFL, 0);
	if (gateway == GATEWAY_GOOD || gateway == GATEWAY_RELOAD_FAILS) {
		fcntl(listen_fd, F_SETFL, O_NONBLOCK);
		serve(listen_fd, gateway == GATEWAY_GOOD ? hook_reload_ok : hook_reload_bad);
	}
	while (gateway == GATEWAY_HANGS)
		pause();
	for (;;)
		talk(accept(listen_fd, NULL, NULL), talks[gateway].text, talks[gateway].octets);
}

static pid_t gateway_start(enum gateway gateway)
{
	struct err err = {""};
	int fd;
	pid_t pid;

	if (gateway == GATEWAY_NONE)
		return 0;
	fd = control_listen("sock", &err);
	cr_assert_geq(fd, 0, "%s", err.text);
	pid = gateway == GATEWAY_STALE ? 0 : fork();
	if (pid == 0 && gateway != GATEWAY_STALE) {
		prctl(PR_SET_PDEATHSIG,
			SIGKILL); /* an assertion may end the test before it ends us */
		gateway_run(gateway, fd);
	}
	close(fd);
	return pid;
}

static void gateway_end(pid_t pid)
{
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	unlink("sock");
}

static void folder_make(void)
{
	char self[PATH_MAX] = "";

	cr_assert_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	snprintf(program, sizeof(program), "%s/posternctl", dirname(dirname(dirname(self))));
	cr_assert_eq(access(program, X_OK), 0, "%s is not built", program);
	snprintf(folder, sizeof(folder), "/tmp/control.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
}

static void folder_remove(void)
{
	unlink("sock");
	unlink("out");
	unlink("err");
	cr_assert_eq(chdir("/"), 0);
	rmdir(folder);
}

TestSuite(posternctl, .init = folder_make, .fini = folder_remove, .timeout = 60);

static void file_read(const char *name, char *text)
{
	int fd = open(name, O_RDONLY);
	ssize_t n = read(fd, text, OUTPUT_MAX - 1);

	cr_assert_geq(n, 0);
	text[n] = '\0';
	close(fd);
}

/* `arguments` are separated by spaces. Fills out and complaint, returns the exit code. */
static int run(const char *arguments, const char *stdout_name)
{
	char copy[256];
	char *argv[ARGS_MAX] = {program};
	char *save = NULL;
	int argc = 1, status;
	pid_t pid;

	snprintf(copy, sizeof(copy), "%s", arguments);
	for (char *p = strtok_r(copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save)) {
		cr_assert_lt(argc, ARGS_MAX - 1);
		argv[argc++] = p;
	}
	pid = fork();
	if (pid == 0) {
		dup2(open(stdout_name, O_CREAT | O_TRUNC | O_WRONLY, 0600), STDOUT_FILENO);
		dup2(open("err", O_CREAT | O_TRUNC | O_WRONLY, 0600), STDERR_FILENO);
		dup2(stdin_fd >= 0 ? stdin_fd : open("/dev/null", O_RDONLY), STDIN_FILENO);
		execv(program, argv);
		_exit(127);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "%s: status %x", arguments, (unsigned)status);
	if (strcmp(stdout_name, "out") == 0)
		file_read("out", out);
	file_read("err", complaint);
	return WEXITSTATUS(status);
}

static const struct {
	enum gateway gateway;
	const char *arguments;
	int code;
	const char *out; /* a part; NULL: nothing at all */
	const char *complaint;
} rows[] = {
	{GATEWAY_GOOD, "-s sock status", 0, "postern 7.8 on mx.example.org: serving", NULL},
	{GATEWAY_GOOD, "status -s sock", 0, "pid 4711, 2 workers\n", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "  six       [::1]:465     implicit\n", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "2096-10-02 07:06 UTC, in ", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "2001-09-09 01:46 UTC, EXPIRED ", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "3 handshakes (75.0 % of sessions)", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "accepted (3.0 MiB)", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "RELOAD FAILED  cert.pem: ? broken\n", NULL},
	{GATEWAY_GOOD, "-s sock metrics", 0, "\npostern_sessions_total 4\n", NULL},
	{GATEWAY_GOOD, "-s sock reload", 0, "reloaded\n", NULL},
	{GATEWAY_GOOD, "-s sock stop", 0, "draining\n", NULL},
	{GATEWAY_GOOD, "--json -s sock stop", 0, "\"ok\": true", NULL},
	{GATEWAY_RELOAD_FAILS, "-s sock reload", 1, NULL, "reload: cert.pem: no? certificate\n"},
	{GATEWAY_RELOAD_FAILS, "-s sock -j reload", 1, "\"error\": \"cert.pem: no\\u001B cert",
		"reload: cert.pem"},
	{GATEWAY_NONE, "-s sock status", 3, NULL, "sock: there is no such socket; is postern"},
	{GATEWAY_NONE, "-s sock --json status", 3, "\"ok\": false", "there is no such socket"},
	{GATEWAY_NONE, "-s sock/x status", 3, NULL, "there is no such socket"},
	{GATEWAY_STALE, "-s sock status", 3, NULL, "sock: nobody answers; postern is not running"},
	{GATEWAY_HANGS, "-s sock -t 1 status", 3, NULL, "no answer within the time limit (-t)"},
	{GATEWAY_CLOSES, "-s sock stop", 3, NULL, "closed without an answer"},
	{GATEWAY_SMTP, "-s sock status", 3, NULL, "the answer is not postern's"},
	{GATEWAY_OTHER_JSON, "-s sock status", 3, NULL, "the answer is not postern's"},
	{GATEWAY_HALF, "-s sock stop", 3, NULL, "the answer is not postern's"},
	{GATEWAY_ENDLESS, "-s sock status", 3, NULL, "the answer is too long"},
	{GATEWAY_EMPTY_STATUS, "-s sock status", 0, "postern - on -: -, up -", NULL},
	{GATEWAY_EMPTY_STATUS, "-s sock --json status", 0, "{}\n", NULL},
	{GATEWAY_BARE, "-s sock status", 1, NULL, "the answer lacks a part"},
	{GATEWAY_BARE, "-s sock --json metrics", 1, "\"ok\": false", "the answer lacks a part"},
	{GATEWAY_BARE, "-s sock stop", 1, NULL, "the answer lacks a part"},
	{GATEWAY_NONE, "-h", 0, "usage: posternctl ", NULL},
	{GATEWAY_NONE, "--version", 0, "posternctl ", NULL},
	{GATEWAY_NONE, "", 2, NULL, "a command is missing"},
	{GATEWAY_NONE, "-x status", 2, NULL, "usage: posternctl "},
	{GATEWAY_NONE, "-s", 2, NULL, "usage: posternctl "},
	{GATEWAY_GOOD, "-s sock halt", 2, NULL, "there is no command halt\n"},
	{GATEWAY_GOOD, "-s sock status stop", 2, NULL, "one command at a time"},
	{GATEWAY_GOOD, "-s sock -c p.conf status", 2, NULL, "give one"},
	{GATEWAY_GOOD, "-s sock -t 0 status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_GOOD, "-s sock -t 1x status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_GOOD, "-s sock -t -1 status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_GOOD, "-s sock -t 99999999999999999999 status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_NONE, "-c p.conf status", 3, NULL, "p.conf"},
	{GATEWAY_NONE, "-s sock --all status", 2, NULL, "options of queue do not go with status"},
	{GATEWAY_NONE, "-s sock queue", 3, NULL, "there is no such socket"},
	{GATEWAY_CLOSES, "-s sock queue count", 3, NULL, "closed without an answer"},
	{GATEWAY_BARE, "-s sock queue", 1, NULL, "the answer lacks a part"},
	{GATEWAY_GOOD, "-s sock queue", 0, "  A5  deferred  ", NULL},
	{GATEWAY_GOOD, "-s sock queue list", 0, " 14.2k      3  in ", NULL},
	{GATEWAY_GOOD, "-s sock queue list", 0, "  <>                    user@example.org +2  451",
		NULL},
	{GATEWAY_GOOD, "-s sock queue list", 0, "  evil?[2J@example.com  ", NULL},
	{GATEWAY_GOOD, "-s sock queue list", 0, "that it has to be cut som...\n", NULL},
	{GATEWAY_GOOD, "-s sock queue list", 0, "\n  5 messages\n", NULL},
	{GATEWAY_GOOD, "-s sock queue list --limit 3", 0, "  3 messages; there are more", NULL},
	{GATEWAY_GOOD, "-s sock queue --sender <>", 0, "\n  1 message\n", NULL},
	{GATEWAY_GOOD, "-s sock queue --sender x@y", 4, "nothing in the queue matches\n", NULL},
	{GATEWAY_GOOD, "-s sock -j queue --sender x@y", 4, "\"messages\": []", NULL},
	{GATEWAY_GOOD, "-s sock -j queue --limit 3", 0, "\"next\": \"A3\"", NULL},
	{GATEWAY_GOOD, "-s sock queue count", 0,
		"5 messages: 0 active, 0 ready, 5 deferred, 1 held; oldest ", NULL},
	{GATEWAY_GOOD, "-s sock queue count", 0, "\n  mx:b\xc3\xbc.example       0      0", NULL},
	{GATEWAY_GOOD, "-s sock queue count", 0, "\n  (12 others)         0     77", NULL},
	{GATEWAY_GOOD, "-s sock queue count", 0, "  now         connection refused\n", NULL},
	{GATEWAY_GOOD, "-s sock queue count --sender x@y", 4, "0 messages", NULL},
	{GATEWAY_GOOD, "-s sock -j queue count", 0, "\"matched\": 5", NULL},
	{GATEWAY_GOOD, "-s sock queue show A1", 0, "queue id     A1\n", NULL},
	{GATEWAY_GOOD, "-s sock queue show A1", 0, "sender       <>\nenvelope id  QQ314\n", NULL},
	{GATEWAY_GOOD, "-s sock queue show A1", 0, "\n  Subject: a b ?[31m\n  X: \xc3\xa9\n", NULL},
	{GATEWAY_GOOD, "-s sock queue show A1", 0, "  and 2 more\n", NULL},
	{GATEWAY_GOOD, "-s sock queue show A1", 0, "arrived      2023-11-14 22:13:20 UTC, ", NULL},
	{GATEWAY_GOOD, "-s sock queue show A1", 0,
		"  2023-11-14 22:13:20 UTC           2  lmtp:", NULL},
	{GATEWAY_GOOD, "-s sock queue show A1", 0, "lmtp:[::1]:24 [::1]  451 ? later\n", NULL},
	{GATEWAY_GOOD, "-s sock -j queue show A3", 0, "\"header\": \"Subject: ", NULL},
	{GATEWAY_GOOD, "-s sock queue show A9", 4, NULL, "A9: not in the queue\n"},
	{GATEWAY_GOOD, "-s sock -j queue show A9", 4, "\"ok\": false", "A9: not in the queue\n"},
	{GATEWAY_GOOD, "-s sock queue show", 2, NULL, "one queue id is needed by show"},
	{GATEWAY_GOOD, "-s sock queue show A1 A2", 2, NULL, "one queue id is needed by show"},
	{GATEWAY_GOOD, "-s sock queue hold A1 A2", 0, "2 messages held\n", NULL},
	{GATEWAY_GOOD, "-s sock queue delete A1", 0, "1 message deleted\n", NULL},
	{GATEWAY_GOOD, "-s sock queue retry A1 B2 A3", 4, "2 messages tried again now\n",
		"B2: not in the queue\n"},
	{GATEWAY_GOOD, "-s sock -j queue release A1", 0, "\"matched\": 1", NULL},
	{GATEWAY_GOOD, "-s sock queue retry --all", 0, "5 messages tried again now\n", NULL},
	{GATEWAY_GOOD, "-s sock queue hold --sender x@y", 4, "0 messages held\n", NULL},
	{GATEWAY_GOOD, "-s sock queue delete --all", 2, NULL, "this needs --yes"},
	{GATEWAY_GOOD, "-s sock queue bounce --older-than 2h", 2, NULL, "this needs --yes"},
	{GATEWAY_GOOD, "-s sock queue delete --all --yes", 0, "5 messages deleted\n", NULL},
	{GATEWAY_GOOD, "-s sock queue bounce --state held --yes", 0, "5 messages bounced\n", NULL},
	{GATEWAY_GOOD, "-s sock queue delete", 2, NULL, "a filter or --all is needed by delete"},
	{GATEWAY_GOOD, "-s sock queue delete A1 --all", 2, NULL, "--all is needed by delete"},
	{GATEWAY_GOOD, "-s sock queue hold --all --domain x", 2, NULL, "--all is needed by hold"},
	{GATEWAY_GOOD, "-s sock queue flush lmtp:x", 0, "5 messages tried again now\n", NULL},
	{GATEWAY_GOOD, "-s sock queue flush", 2, NULL, "one destination is needed by flush"},
	{GATEWAY_GOOD, "-s sock queue flush x --all", 2, NULL, "do not go with flush"},
	{GATEWAY_GOOD, "-s sock queue flush x --domain y", 2, NULL, "does not go with flush"},
	{GATEWAY_GOOD, "-s sock queue list A1", 2, NULL, "not understood: A1"},
	{GATEWAY_GOOD, "-s sock queue list --yes", 2, NULL, "do not go with list"},
	{GATEWAY_GOOD, "-s sock queue hold A1 --limit 3", 2, NULL, "--limit does not go with hold"},
	{GATEWAY_GOOD, "-s sock queue remove A1", 2, NULL, "there is no command queue remove"},
	{GATEWAY_GOOD, "-s sock queue --state dead", 2, NULL,
		"--state needs active, ready, deferred or held, not dead\n"},
	{GATEWAY_GOOD, "-s sock queue --older-than 2", 2, NULL, "as 90s or 1d12h, not 2\n"},
	{GATEWAY_GOOD, "-s sock queue --older-than h", 2, NULL, "as 90s or 1d12h, not h\n"},
	{GATEWAY_GOOD, "-s sock queue --older-than 0m", 2, NULL, "as 90s or 1d12h, not 0m\n"},
	{GATEWAY_GOOD, "-s sock queue --younger-than 1d12h", 0, "  5 messages\n", NULL},
	{GATEWAY_GOOD, "-s sock queue --younger-than 99999999999999999999s", 2, NULL,
		"1d12h, not 9"},
	{GATEWAY_GOOD, "-s sock queue --limit 0", 2, NULL,
		"--limit needs a number, 1 to 100000, not 0\n"},
	{GATEWAY_GOOD, "-s sock queue --limit 100001", 2, NULL,
		"--limit needs a number, 1 to 100000, not 100001\n"},
	{GATEWAY_GOOD, "-s sock queue --sender \xff", 2, NULL,
		"--sender needs a text in UTF-8, not "},
	{GATEWAY_GOOD, "-s sock queue flush \xff", 2, NULL, "an argument is not UTF-8"},
	{GATEWAY_GOOD, "-s sock queue hold A1 x1", 2, NULL,
		"hexadecimal digits as list shows them, "
		"not x1\n"},
	{GATEWAY_GOOD, "-s sock queue hold A123456789ABCDEF0", 2, NULL, "not A123456789ABCDEF0\n"},
	{GATEWAY_GOOD, "-s sock queue delete 0000000000000000", 2, NULL, "not 0000000000000000\n"},
	{GATEWAY_GOOD, "-s sock queue show 0", 2, NULL, "as list shows them, not 0\n"},
	{GATEWAY_GOOD, "-s sock status", 0,
		"\n  fence          in the gateway only: cgroup_skb; no CAP_BPF?: grant it\n",
		NULL},
	{GATEWAY_GOOD, "-s sock metrics", 0, "\npostern_fence_running{mode=\"user\"} 1\n", NULL},
	{GATEWAY_NONE, "-s sock sts records", 3, NULL, "there is no such socket"},
	{GATEWAY_GOOD, "-s sock sts", 0, "; d000.example: mode testing, max_age 60 seconds\n",
		NULL},
	{GATEWAY_GOOD, "-s sock sts records", 0,
		"; the id\n_mta-sts.d149.example. IN TXT \"v=STSv1; id=149;\"\n"
		"; a ? note\n; where it is\n\n; mx.example: for DANE",
		NULL},
	{GATEWAY_GOOD, "-s sock sts records d001.example", 0,
		"; a key\n_25._tcp.mx.example. IN TLSA 3 1 1 00\n", NULL},
	{GATEWAY_GOOD, "-s sock -j sts records", 0, "\"d149.example\"", NULL},
	{GATEWAY_GOOD, "-s sock sts records x.example", 4, NULL,
		"x.example: no policy is published"},
	{GATEWAY_GOOD, "-s sock -j sts records x.example", 4, "\"domains\": []",
		"no policy is published"},
	{GATEWAY_GOOD, "-s sock sts records \xff", 2, NULL, "not a domain: "},
	{GATEWAY_GOOD, "-s sock sts record", 2, NULL, "there is no command sts record"},
	{GATEWAY_GOOD, "-s sock sts records a b", 2, NULL, "not understood: b"},
	{GATEWAY_GOOD, "-s sock sts report", 0,
		"2026-11-21 (UTC): TLS sessions with 3 domains; no reports are sent, for \"from\" of "
		"section tlsrpt is not set\n\n"
		"  DOMAIN     POLICY  SUCCEEDED  FAILED  REPORT\n"
		"  a.example  sts             7       0  open\n"
		"  b.example  sts             7       2  open\n"
		"  c.example  sts             7       0  open\n\n"
		"  DOMAIN     POLICY  RESULT               SESSIONS  MX      ADDRESS  REASON\n"
		"  b.example  sts     certificate-expired         2  mx?[2J  -        -\n",
		NULL},
	{GATEWAY_GOOD, "-s sock sts report a.example --day 2026-11-20", 4, NULL,
		"a.example: nothing was counted on this day"},
	{GATEWAY_GOOD, "-s sock -j sts report b.example", 0, "\"policy-domain\": \"b.example\"",
		NULL},
	{GATEWAY_GOOD, "-s sock sts policies", 0,
		"1 kept: 1 enforce, 0 testing; since the start 3 fetches, 2 failures, 0 dropped to "
		"make room\n\n"
		"  DOMAIN     MODE     ID  FETCHED               LEFT     MX\n"
		"  d.example  enforce  a1  2023-11-14 22:13 UTC  1 d 1 h  mx.d.example *.e.example "
		"and 1 more\n",
		NULL},
	{GATEWAY_GOOD, "-s sock sts policies d.example", 0,
		"\n\n  version: STSv1\n  x: ?[2J\n  mode: enforce\n", NULL},
	{GATEWAY_GOOD, "-s sock -j sts policies d.example", 0, "\"left_seconds\": 90000", NULL},
	{GATEWAY_GOOD, "-s sock sts policies x.example", 4, NULL, "x.example: no policy is kept"},
	{GATEWAY_GOOD, "-s sock sts policies --day 2026-11-21", 2, NULL,
		"--day does not go with sts policies"},
	{GATEWAY_GOOD, "-s sock sts watch --days 3 --limit 7", 0,
		"watched since 2026-11-01; 4 senders are remembered\n\n"
		"  DAY         TLS  CLEAR  DOWNGRADED  HANDSHAKES  FAILED  BY REASON\n"
		"  2026-11-21    5      3           1           6       3  version 1, certificate 2\n"
		"\n"
		"  MAIL TO      TLS  CLEAR\n"
		"  example.org    3      2\n"
		"  and 6 more domains of recipients\n"
		"\n"
		"  NAME ASKED FOR  HANDSHAKES  FAILED  BY REASON (LAST)\n"
		"  mx.example.org           6       2  sni 2 (192.0.2.7?)\n"
		"\n"
		"  USED TLS BEFORE  FIRST       LAST TLS    LAST CLEAR  TLS  CLEAR  DAYS\n"
		"  a?.example       2026-11-01  2026-11-20  2026-11-21    9      1     1\n"
		"\n"
		"  OUR POLICY   MODE     CALM DAYS  ADVICE   WHY\n"
		"  example.org  testing         14  enforce  you decide\n",
		NULL},
	{GATEWAY_GOOD, "-s sock -j sts watch example.org", 0, "\"advice\": \"enforce\"", NULL},
	{GATEWAY_GOOD, "-s sock sts watch off.example", 4, NULL, "off.example: the watch is off"},
	{GATEWAY_GOOD, "-s sock sts watch --days 401", 2, NULL,
		"--days needs a number of days, 1 to 400, not 401"},
	{GATEWAY_GOOD, "-s sock sts report --days 3", 2, NULL,
		"--days does not go with sts report"},
	{GATEWAY_GOOD, "-s sock sts policies --limit 3", 2, NULL,
		"--limit does not go with sts policies"},
	{GATEWAY_NONE, "-s sock sts check", 3, NULL, "there is no such socket"},
	{GATEWAY_GOOD, "-s sock sts check --address mx.example.org", 2, NULL,
		"--address needs a numeric address, not mx.example.org"},
	{GATEWAY_GOOD, "-s sock sts check --port 65536", 2, NULL, "--port needs a port, not 65536"},
	{GATEWAY_GOOD, "-s sock sts records --ca-file x", 2, NULL,
		"options of check do not go with sts records"},
	{GATEWAY_GOOD, "-s sock status --no-dane", 2, NULL, "options of sts do not go with status"},
	{GATEWAY_GOOD, "-s sock sts check d001.example --resolver nobody", 1, NULL, "nobody"},
	{GATEWAY_GOOD, "-s sock sts report a b", 2, NULL, "not understood: b"},
	{GATEWAY_GOOD, "-s sock sts report --day 2026-02-30", 2, NULL,
		"--day needs a day as 2026-11-21, not 2026-02-30"},
	{GATEWAY_GOOD, "-s sock sts records --day 2026-11-21", 2, NULL,
		"--day does not go with sts records"},
	{GATEWAY_GOOD, "-s sock queue --day 2026-11-21", 2, NULL,
		"options of sts do not go with queue"},
	{GATEWAY_GOOD, "-s sock sts records --yes", 2, NULL, "options of queue do not go with sts"},
	{GATEWAY_GOOD, "-s sock sts --limit 3", 2, NULL, "--limit does not go with sts records"},
	{GATEWAY_GOOD, "-s sock sts --force", 2, NULL, "options of fence do not go with sts"},
	{GATEWAY_NONE, "-s sock fence", 3, NULL, "there is no such socket"},
	{GATEWAY_BARE, "-s sock fence top", 1, NULL, "fence: the answer lacks a part"},
	{GATEWAY_GOOD, "-s sock fence", 0, "the fence is in the gateway only\n\n  why  ", NULL},
	{GATEWAY_GOOD, "-s sock fence status", 0, "  pinned in      /sys/fs/bpf/postern\n", NULL},
	{GATEWAY_GOOD, "-s sock fence status", 0,
		"at least 12 in the kernel, 3 in the gateway, at most 65536 each\n", NULL},
	{GATEWAY_GOOD, "-s sock fence status", 0, "  6 behaved, at least 7 under a penalty\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence status", 0,
		"\n  plain_bytes  64.0 KiB/s  1.0 MiB         -          -         -      3 octets  kernel\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence status", 0,
		"\n  open       stranger        20       41    -\n", NULL},
	{GATEWAY_GOOD, "-s sock fence status", 0,
		"\n  kernel  new    refuse   over_connections     77  4.5 KiB\n", NULL},
	{GATEWAY_GOOD, "-s sock -j fence", 0, "\"pin\": \"/sys/fs/bpf/postern\"", NULL},
	{GATEWAY_GOOD, "-s sock fence top", 0, "  192.0.2.19  stranger  ", NULL},
	{GATEWAY_GOOD, "-s sock fence top", 0,
		"  2        1      40      300       5  1.5 KiB        4  1 min 1 s\n", NULL},
	{GATEWAY_GOOD, "-s sock fence top --by open", 0,
		"\n\n  of a part of all sources; asked again, of the next part\n", NULL},
	{GATEWAY_GOOD, "-s sock -j fence top --by octets", 0, "\"order\": \"bytes\"", NULL},
	{GATEWAY_GOOD, "-s sock -j fence top --by refusals", 0, "\"order\": \"refused\"", NULL},
	{GATEWAY_GOOD, "-s sock -j fence top --by penalty", 0, "\"order\": \"penalty\"", NULL},
	{GATEWAY_GOOD, "-s sock -j fence top --by handshakes", 0, "\"order\": \"handshakes\"",
		NULL},
	{GATEWAY_GOOD, "-s sock -j fence top --by connections", 0, "\"order\": \"connections\"",
		NULL},
	{GATEWAY_GOOD, "-s sock -j fence top --by bytes", 0, "\"order\": \"bytes\"", NULL},
	{GATEWAY_GOOD, "-s sock -j fence top --limit 30", 0, "\"192.0.2.29\"", NULL},
	{GATEWAY_GOOD, "-s sock fence list", 0, "\n  5000 networks\n", NULL},
	{GATEWAY_GOOD, "-s sock fence list", 0, "\n  10.0.0.0/24     block   operator  1 h 6 min\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence list", 0, "\n  10.19.135.0/24  allow   operator   for good\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence explain 2001:db8::7", 0,
		"2001:db8::7 counts as 2001:db8::/64\n\n  now            a new connection would be "
		"refused: too many strikes (penalty)\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence explain ::1", 0, "a new connection would pass (pass)\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence explain ::1", 0, "10 min 0 s left; 3 strikes of 10\n", NULL},
	{GATEWAY_GOOD, "-s sock fence explain ::1", 0,
		"block 2001:db8::/32, by the configuration, for 59 s\n", NULL},
	{GATEWAY_GOOD, "-s sock fence explain ::1", 0,
		"6 octets plain, 2.0 KiB upgraded, 5 times paused\n", NULL},
	{GATEWAY_GOOD, "-s sock fence explain ::1", 0, "\n  connections  10/s     50    12  ",
		NULL},
	{GATEWAY_GOOD, "-s sock -j fence explain ::1", 0, "\"strikes_max\": 10", NULL},
	{GATEWAY_GOOD, "-s sock fence samples", 0,
		"2023-11-14 22:13:20 UTC  192.0.2.7     -  new    refuse   blocked  xdp?\n", NULL},
	{GATEWAY_GOOD, "-s sock fence block 192.0.2.0/24 --for 1h", 0,
		"192.0.2.0/24 is blocked for 1 h 0 min\n", NULL},
	{GATEWAY_GOOD, "-s sock fence allow 2001:db8::1", 0, "2001:db8::1 is allowed for good\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence unblock 192.0.2.7", 0,
		"192.0.2.7: the entry or penalty is gone\nit is now blocked by 192.0.0.0/8 of the "
		"configuration\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence unblock 198.51.100.1", 4, NULL,
		"198.51.100.1: no entry of an operator's, no penalty; it is blocked by 192.0.0.0/8 "
		"of the configuration\n"},
	{GATEWAY_GOOD, "-s sock -j fence unblock 198.51.100.1", 4, "\"matched\": 0",
		"no entry of an operator's"},
	{GATEWAY_GOOD, "-s sock fence forget 192.0.2.7", 0,
		"192.0.2.7 is forgotten; what was known of it:\n\n  standing       behaved, remembered "
		"for 2 min 0 s\n  penalty        10 min 0 s left; 3 strikes\n",
		NULL},
	{GATEWAY_GOOD, "-s sock fence forget 192.0.2.7", 0,
		"\nit is still blocked by 192.0.0.0/8 of the configuration\n", NULL},
	{GATEWAY_GOOD, "-s sock fence forget 198.51.100.1", 4, NULL,
		"198.51.100.1: nothing was known of it; it is blocked by 192.0.0.0/8 of the "
		"configuration\n"},
	{GATEWAY_GOOD, "-s sock fence forget 192.0.2.0/24", 2, NULL,
		"an IPv4 or IPv6 address is needed, not 192.0.2.0/24\n"},
	{GATEWAY_GOOD, "-s sock fence forget", 2, NULL, "one address is needed by fence forget"},
	{GATEWAY_GOOD, "-s sock fence shut", 2, NULL, "there is no command fence shut\n"},
	{GATEWAY_GOOD, "-s sock fence top x", 2, NULL, "not understood: x\n"},
	{GATEWAY_GOOD, "-s sock fence block", 2, NULL, "one network is needed by fence block\n"},
	{GATEWAY_GOOD, "-s sock fence block ::1 ::2", 2, NULL, "one network is needed by"},
	{GATEWAY_GOOD, "-s sock fence block 192.0.2.7/24", 2, NULL,
		"with zeros after the prefix, not 192.0.2.7/24\n"},
	{GATEWAY_GOOD, "-s sock fence unblock x", 2, NULL, "a network is ADDRESS or ADDRESS/BITS"},
	{GATEWAY_GOOD, "-s sock fence explain", 2, NULL, "one address is needed by fence explain"},
	{GATEWAY_GOOD, "-s sock fence explain 192.0.2.0/24", 2, NULL,
		"an IPv4 or IPv6 address is needed, not 192.0.2.0/24\n"},
	{GATEWAY_GOOD, "-s sock fence explain host", 2, NULL, "address is needed, not host\n"},
	{GATEWAY_GOOD, "-s sock fence block 0.0.0.0/0", 2, NULL, "needs --force: 0.0.0.0/0\n"},
	{GATEWAY_GOOD, "-s sock fence block ::/0", 2, NULL, "needs --force: ::/0\n"},
	{GATEWAY_GOOD, "-s sock fence block 10.0.0.0/7", 2, NULL, "needs --force: 10.0.0.0/7\n"},
	{GATEWAY_GOOD, "-s sock fence allow 2000::/15", 2, NULL, "needs --force: 2000::/15\n"},
	{GATEWAY_GOOD, "-s sock fence block ::/64", 2, NULL, "needs --force: ::/64\n"},
	{GATEWAY_GOOD, "-s sock fence block 10.0.0.0/8", 0, "10.0.0.0/8 is blocked for good", NULL},
	{GATEWAY_GOOD, "-s sock fence block 2001::/16", 0, "2001::/16 is blocked for good", NULL},
	{GATEWAY_GOOD, "-s sock fence allow 0.0.0.0/0 --force", 0, "0.0.0.0/0 is allowed", NULL},
	{GATEWAY_GOOD, "-s sock fence block ::1 --for 1", 2, NULL,
		"--for needs numbers with s, m, h or d, as 90s or 1d12h, not 1\n"},
	{GATEWAY_GOOD, "-s sock fence top --by name", 2, NULL,
		"--by needs penalty, connections, open, octets, handshakes or refusals, not name\n"},
	{GATEWAY_GOOD, "-s sock fence list --limit 3", 2, NULL,
		"--limit does not go with fence list"},
	{GATEWAY_GOOD, "-s sock fence list --by open", 2, NULL, "--by does not go with fence list"},
	{GATEWAY_GOOD, "-s sock fence top --force", 2, NULL, "--force does not go with fence top"},
	{GATEWAY_GOOD, "-s sock fence unblock ::1 --for 1h", 2, NULL,
		"--for does not go with fence"},
	{GATEWAY_GOOD, "-s sock fence --all", 2, NULL, "options of queue do not go with fence"},
	{GATEWAY_GOOD, "-s sock queue --force", 2, NULL, "options of fence do not go with queue"},
	{GATEWAY_GOOD, "-s sock status --limit 3", 2, NULL, "--limit does not go with status"},
};

Test(posternctl, rows)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		pid_t pid = gateway_start(rows[i].gateway);
		int code = run(rows[i].arguments, "out");

		cr_expect_eq(code, rows[i].code, "%s: exit %d", rows[i].arguments, code);
		if (rows[i].out == NULL)
			cr_expect_str_eq(out, "", "%s", rows[i].arguments);
		else
			cr_expect_not_null(strstr(out, rows[i].out), "%s: %s is not in: %s",
				rows[i].arguments, rows[i].out, out);
		if (rows[i].complaint == NULL)
			cr_expect_str_eq(complaint, "", "%s: %s", rows[i].arguments, complaint);
		else
			cr_expect_not_null(strstr(complaint, rows[i].complaint),
				"%s: %s is not in: %s", rows[i].arguments, rows[i].complaint,
				complaint);
		gateway_end(pid);
	}
}

/* Titles, names and errors of others' files do not steer the operator's terminal. */
Test(posternctl, no_control_characters)
{
	static const char *const commands[] = {"-s sock status", "-s sock queue",
		"-s sock queue show A2", "-s sock queue count", "-s sock fence",
		"-s sock fence samples", "-s sock fence explain ::1"};
	pid_t pid = gateway_start(GATEWAY_GOOD);

	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		cr_expect_eq(run(commands[i], "out"), 0);
		for (const char *p = out; *p != '\0'; p++)
			cr_expect(*p == '\n' || (unsigned char)*p >= 0x20, "%s: octet %02x",
				commands[i], (unsigned)(unsigned char)*p);
		cr_expect_null(strstr(out, "\xc2\x9b"));
	}
	gateway_end(pid);
}

Test(posternctl, json)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);
	json_t *root;

	cr_assert_eq(run("-s sock --json status", "out"), 0);
	root = json_loads(out, 0, NULL);
	cr_expect_eq(json_integer_value(json_object_get(root, "pid")), 4711);
	cr_expect_eq(json_array_size(json_object_get(root, "listeners")), 2);
	json_decref(root);

	cr_assert_eq(run("-s sock --json metrics", "out"), 0);
	root = json_loads(out, 0, NULL);
	cr_expect_eq(json_integer_value(json_object_get(root, "postern_sessions_total")), 4);
	cr_expect_not_null(json_object_get(root, "postern_reloads_total{result=\"failed\"}"));
	json_decref(root);
	gateway_end(pid);
}

/* -c: the socket's path is relative to the configuration's folder, not to ours. */
Test(posternctl, socket_of_a_configuration)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);
	FILE *file;

	cr_assert_eq(mkdir("etc", 0700), 0);
	file = fopen("etc/p.conf", "w");
	fputs("hostname = \"mx.example.org\"\ncontrol_socket = \"../sock\"\n"
	      "listener \"l\" { address = \"127.0.0.1\" port = 25 tls = \"none\" }\n"
	      "policy { relay_domains = { \"example.org\" } }\n"
	      "route \"default\" { domains = { \"*\" } next_hops = { \"lmtp:127.0.0.1:24\" } }\n",
		file);
	fclose(file);
	cr_expect_eq(run("-c etc/p.conf reload", "out"), 0, "%s", complaint);
	cr_expect_str_eq(out, "reloaded\n");
	unlink("etc/p.conf");
	rmdir("etc");
	gateway_end(pid);
}

Test(posternctl, socket_of_the_environment)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);

	setenv("POSTERN_SOCKET", "sock", 1);
	cr_expect_eq(run("reload", "out"), 0, "%s", complaint);
	cr_expect_eq(run("-s elsewhere reload", "out"), 3);
	gateway_end(pid);
}

/* A disk that is full, a pipe that is closed: what was not printed was not done well. */
Test(posternctl, output_that_fails)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);

	cr_expect_eq(run("-s sock metrics", "/dev/full"), 1);
	cr_expect_not_null(strstr(complaint, "cannot write the answer"), "%s", complaint);
	cr_expect_eq(run("-h", "/dev/full"), 1);
	gateway_end(pid);
}

static const struct {
	const char *says;
	int code;
	const char *out;
} confirmations[] = {
	{"y\n", 0, "5 messages deleted\n"}, {"Yes\n", 0, "5 messages deleted\n"}, {"n\n", 1, ""},
	{"\n", 1, ""}, {"\x04", 1, ""}, /* the end of input */
};

/* On a terminal a change of many is asked about first. */
Test(posternctl, asks_before_it_deletes)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);

	for (size_t i = 0; i < COUNT_OF(confirmations); i++) {
		int terminal = posix_openpt(O_RDWR | O_NOCTTY);

		cr_assert_geq(terminal, 0);
		cr_assert_eq(grantpt(terminal), 0);
		cr_assert_eq(unlockpt(terminal), 0);
		stdin_fd = open(ptsname(terminal), O_RDWR | O_NOCTTY);
		cr_assert_geq(stdin_fd, 0);
		cr_assert_gt(
			write(terminal, confirmations[i].says, strlen(confirmations[i].says)), 0);
		cr_expect_eq(run("-s sock queue delete --all", "out"), confirmations[i].code);
		cr_expect_str_eq(out, confirmations[i].out);
		cr_expect_not_null(
			strstr(complaint, "senders, 5 messages? [y/N] "), "%s", complaint);
		close(stdin_fd);
		close(terminal);
	}
	stdin_fd = -1;
	gateway_end(pid);
}
