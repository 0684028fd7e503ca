/* SPDX-License-Identifier: MIT */
/*
 * control_request.c -- fuzz target: any octets from a client of the control socket.
 *
 * The first octet says where the rest is cut in two pieces. Shows: the parser takes only the known
 * words and says why it refuses the others; the server answers each client at most once, with one
 * line of JSON, calls no more hooks than were asked for, and has its place free again
 * when the client went.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "control/control-private.h"

#define TURNS_MAX 64

static struct control *control;
static struct event_sink sink;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_n = sizeof(address);
static int listen_fd = -1;
static unsigned hooks_called;

static void hook_status(void *ctx, struct control_status *out)
{
	(void)ctx;
	(void)out;
	hooks_called++;
}

static void hook_reload(void *ctx)
{
	(void)ctx;
	hooks_called++;
	control_reload_done(control, true, NULL);
}

static void hook_stop(void *ctx)
{
	(void)ctx;
	hooks_called++;
}

static bool hook_queue(void *ctx, const struct control_queue_request *request, uint64_t token)
{
	(void)ctx;
	ASSERT(request->action < CONTROL_QUEUE_ACTIONS);
	hooks_called++;
	control_queue_done(control, token, json_pack("{s:b, s:{}}", "ok", 1, "queue"));
	return true;
}

static bool hook_fence(
	void *ctx, const struct control_fence_request *request, struct json_t **answer)
{
	(void)ctx;
	ASSERT(request->action < CONTROL_FENCE_ACTIONS && request->order < CONTROL_FENCE_ORDERS);
	hooks_called++;
	*answer = json_pack("{s:b, s:{}}", "ok", 1, "fence");
	return true;
}

static bool hook_sts(void *ctx, const struct control_sts_request *request, struct json_t **answer)
{
	(void)ctx;
	ASSERT(request->action < CONTROL_STS_ACTIONS);
	hooks_called++;
	*answer = json_pack("{s:b, s:{}}", "ok", 1, "sts");
	return true;
}

/* An abstract address: no file is left behind. */
static void server_open(void)
{
	struct control_hooks hooks = {
		NULL, hook_status, hook_reload, hook_stop, hook_queue, hook_fence, hook_sts};
	struct err err;

	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ASSERT(listen_fd >= 0);
	ASSERT(bind(listen_fd, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
	ASSERT(listen(listen_fd, 8) == 0);
	ASSERT(getsockname(listen_fd, (struct sockaddr *)&address, &address_n) == 0);
	ASSERT(control_open(&control, listen_fd, &hooks, &err) == 0);
	event_sink_init(&sink);
	event_sink_use(&sink); /* who asked for a reload is logged: not to stderr here */
}

static void server_turn(void)
{
	struct pollfd fds[CONTROL_POLLFDS_MAX];
	int turns = 0;
	size_t n = control_pollfds(control, fds, CONTROL_POLLFDS_MAX);

	while (poll(fds, n, 0) > 0 || control_timeout_ms(control) == 0) {
		control_run(control, fds, n);
		n = control_pollfds(control, fds, CONTROL_POLLFDS_MAX);
		ASSERT(++turns < TURNS_MAX);
	}
	if (event_sink_take(&sink).n > 0)
		event_sink_taken(&sink);
}

/* Nothing, or one line of JSON with "ok", then the end. */
static void check_answer(int fd, bool expected)
{
	static char text[CONTROL_ANSWER_MAX];
	size_t got = 0;
	ssize_t n;
	json_t *root;

	while ((n = recv(fd, text + got, sizeof(text) - got, 0)) > 0)
		got += (size_t)n;
	ASSERT(n == 0 || errno == ECONNRESET); /* the server closed: there is no EAGAIN */
	ASSERT((got > 0) == expected);
	if (got == 0)
		return;
	ASSERT(memchr(text, '\n', got) == text + got - 1);
	root = json_loadb(text, got, JSON_REJECT_DUPLICATES, NULL);
	ASSERT(json_is_boolean(json_object_get(root, "ok")));
	ASSERT(json_is_true(json_object_get(root, "ok")) == (hooks_called > 0));
	json_decref(root);
}

static void check_server(struct span data, size_t cut)
{
	struct span head = span_take(&data, cut);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	hooks_called = 0;
	ASSERT(connect(fd, (struct sockaddr *)&address, address_n) == 0);
	(void)!send(fd, head.p, head.n, MSG_NOSIGNAL);
	server_turn();
	(void)!send(fd, data.p, data.n, MSG_NOSIGNAL); /* it may be gone already */
	shutdown(fd, SHUT_WR);
	server_turn();
	ASSERT(hooks_called <= 3); /* metrics: facts, the queue, the fence */
	check_answer(fd, head.n + data.n > 0);
	close(fd);
	ASSERT(control_timeout_ms(control) == -1);
}

/* Texts end within their room; a change to the queue says what it is about. */
static void check_queue(const struct control_queue_request *queue)
{
	ASSERT(memchr(queue->id, '\0', sizeof(queue->id)) != NULL);
	ASSERT(memchr(queue->after, '\0', sizeof(queue->after)) != NULL);
	ASSERT(memchr(queue->sender, '\0', sizeof(queue->sender)) != NULL);
	ASSERT(memchr(queue->recipient, '\0', sizeof(queue->recipient)) != NULL);
	ASSERT(memchr(queue->domain, '\0', sizeof(queue->domain)) != NULL);
	ASSERT(memchr(queue->destination, '\0', sizeof(queue->destination)) != NULL);
	ASSERT(queue->states < 1u << CONTROL_QUEUE_STATES);
	if (queue->action < CONTROL_QUEUE_RETRY)
		return;
	ASSERT(queue->all != (queue->id[0] != '\0' || queue->sender[0] != '\0' ||
				     queue->recipient[0] != '\0' || queue->domain[0] != '\0' ||
				     queue->destination[0] != '\0' || queue->states != 0 ||
				     queue->older_s != 0 || queue->younger_s != 0));
}

/* A network that is named is one: nothing is set after its prefix, and no change goes without. */
static void check_fence(const struct control_fence_request *fence)
{
	struct network again;
	char text[NETWORK_TEXT_MAX];

	ASSERT(fence->network.bits <= 128);
	if (fence->network.bits > 0 || fence->action >= CONTROL_FENCE_ALLOW) {
		ASSERT(network_parse(network_text(&fence->network, text), &again));
		ASSERT(again.bits == fence->network.bits);
		ASSERT(memcmp(again.address, fence->network.address, NETWORK_BYTES) == 0);
	}
	ASSERT(fence->action != CONTROL_FENCE_EXPLAIN || fence->network.bits == 128);
	ASSERT(fence->seconds == 0 || fence->action == CONTROL_FENCE_ALLOW ||
		fence->action == CONTROL_FENCE_BLOCK);
}

/* Texts end within their room; a page is one of all, a day is one. */
static void check_sts(const struct control_sts_request *sts)
{
	char text[CLOCK_DAY_TEXT];
	uint32_t day;

	ASSERT(memchr(sts->domain, '\0', sizeof(sts->domain)) != NULL);
	ASSERT(memchr(sts->after, '\0', sizeof(sts->after)) != NULL);
	ASSERT(sts->domain[0] == '\0' || (sts->after[0] == '\0' && sts->from == 0));
	if (sts->day == 0)
		return;
	clock_day_text(sts->day, text);
	ASSERT(clock_day_parse(text, &day) && day == sts->day);
}

static void check_parser(struct span line)
{
	struct control_request request;
	struct err err = {""};
	uint8_t *copy = malloc(line.n > 0 ? line.n : 1); /* of exact size: an over-read shows */

	memcpy(copy, line.p, line.n);
	if (control_request_parse(span_of(copy, line.n), &request, &err) == 0) {
		const char *word;

		ASSERT(request.command < CONTROL_COMMAND_COUNT);
		check_queue(&request.queue);
		check_fence(&request.fence);
		check_sts(&request.sts);
		word = control_command_words[request.command];
		ASSERT(line.n >= strlen(word));
		ASSERT(memchr(line.p, '{', line.n) != NULL ||
			memmem(line.p, line.n, word, strlen(word)) != NULL);
	} else {
		ASSERT(err.text[0] != '\0');
		for (const char *p = err.text; *p != '\0'; p++)
			ASSERT(*p >= ' ' && *p < 0x7f);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span all = span_of(data, n);
	struct span first = span_take(&all, 1);

	if (listen_fd < 0)
		server_open();
	if (n == 0)
		return 0;
	check_parser(span_of(all.p, min_size(all.n, CONTROL_REQUEST_MAX)));
	check_server(all, first.p[0]);
	return 0;
}
