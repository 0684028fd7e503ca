/* SPDX-License-Identifier: MIT */
/*
 * control.c -- the server of the control socket: clients, their states and time limits.
 *
 * A client is READING its request, perhaps waits for a reload or for what the owner says about the
 * queue, then SENDING takes its answer, and is closed. An answer is tried at once, so that in the
 * usual case one readable event does it all.
 *
 * Reloads are one at a time. Who asks while one runs gets the next: the running one may have read
 * the files before they were changed. That next one starts in control_run(), never from within
 * control_reload_done(), so hooks are not called in a nested way.
 *
 * Questions about the queue go to the owner at once and side by side, each with a token; what comes
 * for a token whose client has gone is thrown away. metrics needs numbers of the queue, too, but is
 * answered without them rather than not at all. The fence is the owner's own: its answers are there
 * when the hook returns.
 *
 * With all places taken the listening socket is left out of the poll set and connections wait in
 * the kernel's backlog; the time limits free a place within seconds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "control/control-private.h"

#define ACCEPT_PAUSE_MS 1000 /* after EMFILE and its like */

enum client_state {
	CLIENT_FREE,
	CLIENT_READING,
	CLIENT_RELOAD_NEXT,    /* waits for a reload to start */
	CLIENT_RELOAD_RUNNING, /* waits for its end */
	CLIENT_QUEUE,          /* waits for the owner's answer */
	CLIENT_METRICS,        /* the same, for metrics */
	CLIENT_SENDING,
	CLIENT_STATE_COUNT
};

struct client {
	enum client_state state;
	int fd;
	uint64_t deadline_ms;
	uint64_t token;   /* of the question to the owner */
	char *answer_own; /* to be freed; NULL: `answer` is constant */
	const char *answer;
	size_t answer_n;
	size_t sent;
	size_t got;
	char request[CONTROL_REQUEST_MAX];
};

struct control {
	int listen_fd;
	struct control_hooks hooks;
	bool reload_running;
	uint64_t token_last;
	uint64_t accept_after_ms; /* 0: accepting */
	struct client clients[CONTROL_CLIENTS_MAX];
};

static const struct {
	short events;
	uint32_t ms_max; /* 0: the limit of the state before goes on */
	unsigned next;   /* states that may follow, a bit each */
} client_states[CLIENT_STATE_COUNT] = {
	[CLIENT_FREE] = {0, 0, 1u << CLIENT_READING},
	[CLIENT_READING] = {POLLIN, CONTROL_CLIENT_MS_MAX,
		1u << CLIENT_FREE | 1u << CLIENT_SENDING | 1u << CLIENT_RELOAD_NEXT |
			1u << CLIENT_QUEUE | 1u << CLIENT_METRICS},
	[CLIENT_RELOAD_NEXT] = {0, CONTROL_RELOAD_MS_MAX,
		1u << CLIENT_FREE | 1u << CLIENT_SENDING | 1u << CLIENT_RELOAD_RUNNING},
	[CLIENT_RELOAD_RUNNING] = {0, 0, 1u << CLIENT_FREE | 1u << CLIENT_SENDING},
	[CLIENT_QUEUE] = {0, CONTROL_QUEUE_MS_MAX, 1u << CLIENT_FREE | 1u << CLIENT_SENDING},
	[CLIENT_METRICS] = {0, CONTROL_METRICS_MS_MAX, 1u << CLIENT_FREE | 1u << CLIENT_SENDING},
	[CLIENT_SENDING] = {POLLOUT, CONTROL_CLIENT_MS_MAX, 1u << CLIENT_FREE},
};

static const char no_memory[] = "{\"ok\": false, \"error\": \"memory is short\"}\n";
static const char too_long[] = "{\"ok\": false, \"error\": \"the answer is over 1 MiB\"}\n";

static void client_enter(struct client *client, enum client_state state)
{
	ASSERT(client_states[client->state].next & 1u << state);
	client->state = state;
	if (client_states[state].ms_max != 0)
		client->deadline_ms = clock_ms() + client_states[state].ms_max;
}

static void client_close(struct client *client)
{
	close(client->fd);
	free(client->answer_own);
	client->answer_own = NULL;
	client->fd = -1;
	client_enter(client, CLIENT_FREE);
}

static void client_send(struct client *client)
{
	while (client->sent < client->answer_n) {
		ssize_t n = send(client->fd, client->answer + client->sent,
			client->answer_n - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		client->sent += (size_t)n;
	}
	client_close(client);
}

/* Takes over `root`; NULL: memory was short. */
static void client_answer(struct client *client, json_t *root)
{
	char *text = root ? json_dumps(root, JSON_REAL_PRECISION(15)) : NULL;
	size_t n = text ? strlen(text) : 0;

	json_decref(root);
	client_enter(client, CLIENT_SENDING);
	client->sent = 0;
	client->answer_own = text;
	if (text == NULL) {
		client->answer = no_memory;
		client->answer_n = sizeof(no_memory) - 1;
	} else if (n >= CONTROL_ANSWER_MAX) {
		client->answer = too_long;
		client->answer_n = sizeof(too_long) - 1;
	} else {
		text[n] = '\n'; /* takes the place of the NUL: the length is known */
		client->answer = text;
		client->answer_n = n + 1;
	}
	client_send(client);
}

static void client_refuse(struct client *client, enum counter counter, const char *why)
{
	count(counter);
	client_answer(client, control_answer_text(false, why));
}

/* What a change to the queue was to match. */
static void filter_log(struct event *event, const struct control_queue_request *queue)
{
	const struct {
		const char *key;
		const char *value;
	} texts[] = {
		{"queue_id", queue->id},
		{"sender", queue->sender},
		{"recipient", queue->recipient},
		{"domain", queue->domain},
		{"destination", queue->destination},
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (texts[i].value[0] != '\0')
			event_str(event, texts[i].key, texts[i].value);
	for (int i = 0; i < CONTROL_QUEUE_STATES; i++)
		if (queue->states & 1u << i)
			event_str(event, "state", control_queue_state_words[i]);
	if (queue->older_s > 0)
		event_u64(event, "older_seconds", queue->older_s);
	if (queue->younger_s > 0)
		event_u64(event, "younger_seconds", queue->younger_s);
	if (queue->all)
		event_str(event, "all", "yes");
}

static void network_log(struct event *event, const struct control_fence_request *fence)
{
	char text[NETWORK_TEXT_MAX];

	event_str(event, "network", network_text(&fence->network, text));
	if (fence->seconds > 0)
		event_u64(event, "seconds", fence->seconds);
}

/* Who changes the service, the queue or the fence is named in the log. */
static void client_log(const struct client *client, const struct control_request *request)
{
	const struct control_queue_request *queue = &request->queue;
	struct event event;
	struct ucred peer;
	socklen_t n = sizeof(peer);

	event_open(&event, EVENT_NO_COUNT, "control");
	event_str(&event, "command", control_command_words[request->command]);
	if (request->command == CONTROL_COMMAND_QUEUE) {
		event_str(&event, "action", control_queue_action_words[queue->action]);
		filter_log(&event, queue);
	}
	if (request->command == CONTROL_COMMAND_FENCE) {
		event_str(&event, "action", control_fence_action_words[request->fence.action]);
		network_log(&event, &request->fence);
	}
	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0) {
		event_u64(&event, "uid", peer.uid);
		event_u64(&event, "pid", (uint64_t)peer.pid);
	}
	event_close(&event);
}

/* The state is entered first: the answer may come from within. */
static bool queue_ask(struct control *control, struct client *client, enum client_state state,
	const struct control_queue_request *queue)
{
	client->token = ++control->token_last;
	client_enter(client, state);
	return control->hooks.queue != NULL &&
	       control->hooks.queue(control->hooks.ctx, queue, client->token);
}

/* False: nobody can say. */
static bool fence_ask(
	struct control *control, const struct control_fence_request *request, json_t **answer)
{
	*answer = NULL;
	return control->hooks.fence != NULL &&
	       control->hooks.fence(control->hooks.ctx, request, answer);
}

/* The object of its answer, a new reference; NULL: not known. */
static json_t *fence_status(struct control *control)
{
	const struct control_fence_request request = {.action = CONTROL_FENCE_STATUS};
	json_t *answer, *fence = NULL;

	if (fence_ask(control, &request, &answer))
		fence = json_incref(json_object_get(answer, "fence"));
	json_decref(answer);
	return fence;
}

static void handle_status(
	struct control *control, struct client *client, const struct control_request *request)
{
	struct control_status status = {0};
	json_t *fence = fence_status(control);

	(void)request;
	control->hooks.status(control->hooks.ctx, &status);
	client_answer(client, control_answer_status(&status, fence));
	json_decref(fence);
}

static void metrics_answer(struct control *control, struct client *client, const json_t *queue)
{
	struct control_status status = {0};
	json_t *fence = fence_status(control);

	control->hooks.status(control->hooks.ctx, &status);
	client_answer(client, control_answer_metrics(&status, queue, fence));
	json_decref(fence);
}

static void handle_metrics(
	struct control *control, struct client *client, const struct control_request *request)
{
	struct control_queue_request tally = {
		.action = CONTROL_QUEUE_TALLY, .limit = CONTROL_TALLIES_MAX};

	(void)request;
	if (!queue_ask(control, client, CLIENT_METRICS, &tally))
		metrics_answer(control, client, NULL);
}

static void handle_queue(
	struct control *control, struct client *client, const struct control_request *request)
{
	if (request->queue.action >= CONTROL_QUEUE_RETRY)
		client_log(client, request);
	if (!queue_ask(control, client, CLIENT_QUEUE, &request->queue))
		client_answer(client,
			control_answer_text(false, "the queue cannot be asked now; try again"));
}

static void handle_fence(
	struct control *control, struct client *client, const struct control_request *request)
{
	json_t *answer;

	if (request->fence.action >= CONTROL_FENCE_ALLOW)
		client_log(client, request);
	if (!fence_ask(control, &request->fence, &answer))
		answer = control_answer_text(false, "there is no fence to ask");
	client_answer(client, answer);
}

static void handle_sts(
	struct control *control, struct client *client, const struct control_request *request)
{
	json_t *answer = NULL;

	if (control->hooks.sts == NULL ||
		!control->hooks.sts(control->hooks.ctx, &request->sts, &answer))
		answer = control_answer_text(false, "there are no policies to ask about");
	client_answer(client, answer);
}

static void handle_reload(
	struct control *control, struct client *client, const struct control_request *request)
{
	(void)control; /* started at the end of control_run() */
	client_log(client, request);
	client_enter(client, CLIENT_RELOAD_NEXT);
}

static void handle_stop(
	struct control *control, struct client *client, const struct control_request *request)
{
	client_log(client, request);
	control->hooks.stop(control->hooks.ctx);
	client_answer(client, control_answer_text(true, "draining"));
}

static void (*const handlers[CONTROL_COMMAND_COUNT])(
	struct control *, struct client *, const struct control_request *) = {
	[CONTROL_COMMAND_STATUS] = handle_status,
	[CONTROL_COMMAND_METRICS] = handle_metrics,
	[CONTROL_COMMAND_RELOAD] = handle_reload,
	[CONTROL_COMMAND_STOP] = handle_stop,
	[CONTROL_COMMAND_QUEUE] = handle_queue,
	[CONTROL_COMMAND_FENCE] = handle_fence,
	[CONTROL_COMMAND_STS] = handle_sts,
};

static void client_request(struct control *control, struct client *client, size_t line_n)
{
	struct control_request request;
	struct err err;

	if (control_request_parse(span_of(client->request, line_n), &request, &err) < 0)
		client_refuse(client, COUNTER_CONTROL_REFUSED_REQUEST, err.text);
	else
		handlers[request.command](control, client, &request);
}

static void client_read(struct control *control, struct client *client)
{
	ssize_t n;
	const char *end;

	do {
		n = recv(client->fd, client->request + client->got,
			sizeof(client->request) - client->got, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0 || (n == 0 && client->got == 0)) {
		client_close(client);
		return;
	}
	client->got += (size_t)n;
	end = memchr(client->request, '\n', client->got);
	if (end != NULL)
		client_request(control, client, (size_t)(end - client->request));
	else if (n == 0)
		client_refuse(client, COUNTER_CONTROL_REFUSED_REQUEST,
			"the request ended before its line did");
	else if (client->got == sizeof(client->request))
		client_refuse(client, COUNTER_CONTROL_REFUSED_REQUEST,
			"the request is over the limit of 4096 octets");
}

static void client_run(struct control *control, struct client *client, short revents)
{
	if (client->state == CLIENT_READING && revents != 0)
		client_read(control, client);
	else if (client->state == CLIENT_SENDING && revents != 0)
		client_send(client);
	else if (client->state != CLIENT_FREE && revents & (POLLHUP | POLLERR))
		client_close(client); /* does not wait for its answer */
}

static void client_expire(struct control *control, struct client *client)
{
	if (client->state == CLIENT_FREE || clock_ms() < client->deadline_ms)
		return;
	if (client->state == CLIENT_SENDING) {
		count(COUNTER_CONTROL_REFUSED_TIMEOUT);
		client_close(client);
	} else if (client->state == CLIENT_READING) {
		client_refuse(client, COUNTER_CONTROL_REFUSED_TIMEOUT,
			"no request came within the time limit");
	} else if (client->state == CLIENT_METRICS) {
		metrics_answer(control, client, NULL);
	} else if (client->state == CLIENT_QUEUE) {
		client_refuse(client, COUNTER_CONTROL_REFUSED_TIMEOUT,
			"the queue has not answered within the time limit; a change goes on");
	} else {
		client_refuse(client, COUNTER_CONTROL_REFUSED_TIMEOUT,
			"the reload has not ended within the time limit; the log says more");
	}
}

static struct client *client_find(struct control *control, int fd)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (control->clients[i].fd == fd)
			return &control->clients[i];
	return NULL;
}

/* As many as there are places, and no more in one turn: clients that are done at once free theirs
 * while the loop runs. */
static void accept_run(struct control *control)
{
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = client_find(control, -1);
		int fd;

		if (client == NULL)
			return;
		fd = accept4(control->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN)
			control->accept_after_ms = clock_ms() + ACCEPT_PAUSE_MS;
		if (fd < 0)
			return;
		client->fd = fd;
		client->got = 0;
		client_enter(client, CLIENT_READING);
		client_read(control, client); /* the request is often there already */
	}
}

static bool reload_is_due(const struct control *control)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX && !control->reload_running; i++)
		if (control->clients[i].state == CLIENT_RELOAD_NEXT)
			return true;
	return false;
}

static void reload_run(struct control *control)
{
	if (!reload_is_due(control))
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (control->clients[i].state == CLIENT_RELOAD_NEXT)
			client_enter(&control->clients[i], CLIENT_RELOAD_RUNNING);
	control->reload_running = true;
	control->hooks.reload(control->hooks.ctx);
}

void control_reload_done(struct control *control, bool ok, const char *text)
{
	control->reload_running = false;
	if (text == NULL)
		text = ok ? "reloaded" : "the reload failed; the log says why";
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (control->clients[i].state == CLIENT_RELOAD_RUNNING)
			client_answer(&control->clients[i], control_answer_text(ok, text));
}

void control_queue_done(struct control *control, uint64_t token, json_t *answer)
{
	const json_t *queue = json_object_get(answer, "queue");

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];

		if (client->token != token)
			continue;
		if (client->state == CLIENT_QUEUE) {
			client_answer(client, answer);
			return;
		}
		if (client->state == CLIENT_METRICS)
			metrics_answer(control, client, queue);
	}
	json_decref(answer);
}

size_t control_pollfds(struct control *control, struct pollfd *fds, size_t max)
{
	size_t n = 0;

	ASSERT(max >= CONTROL_POLLFDS_MAX);
	if (control->accept_after_ms == 0 && client_find(control, -1) != NULL)
		fds[n++] = (struct pollfd){.fd = control->listen_fd, .events = POLLIN};
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		const struct client *client = &control->clients[i];

		if (client->state == CLIENT_FREE)
			continue;
		fds[n++] = (struct pollfd){
			.fd = client->fd, .events = client_states[client->state].events};
	}
	return n;
}

int control_timeout_ms(const struct control *control)
{
	uint64_t first = control->accept_after_ms ? control->accept_after_ms : UINT64_MAX;
	uint64_t now = clock_ms();

	if (reload_is_due(control))
		return 0;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		const struct client *client = &control->clients[i];

		if (client->state != CLIENT_FREE && client->deadline_ms < first)
			first = client->deadline_ms;
	}
	if (first == UINT64_MAX)
		return -1;
	return first <= now ? 0 : (int)(first - now);
}

void control_run(struct control *control, const struct pollfd *fds, size_t n)
{
	bool accepting = false;

	for (size_t i = 0; i < n; i++) {
		struct client *client = client_find(control, fds[i].fd);

		if (fds[i].fd == control->listen_fd)
			accepting = fds[i].revents != 0;
		else if (client != NULL)
			client_run(control, client, fds[i].revents);
	}
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		client_expire(control, &control->clients[i]);
	if (control->accept_after_ms != 0 && clock_ms() >= control->accept_after_ms)
		control->accept_after_ms = 0;
	if (accepting) /* last: a new client must not get an old one's events with its number */
		accept_run(control);
	reload_run(control);
}

int control_open(
	struct control **out, int listen_fd, const struct control_hooks *hooks, struct err *err)
{
	struct control *control = calloc(1, sizeof(*control));

	if (control == NULL)
		return err_set(err, "memory is short for the control socket");
	json_object_seed(0); /* reads its random numbers now, not below a seccomp filter */
	control->listen_fd = listen_fd;
	control->hooks = *hooks;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		control->clients[i].fd = -1;
	*out = control;
	return 0;
}

void control_close(struct control *control)
{
	if (control == NULL)
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (control->clients[i].state == CLIENT_SENDING)
			client_send(&control->clients[i]);
		if (control->clients[i].state != CLIENT_FREE)
			client_close(&control->clients[i]);
	}
	free(control);
}
