/* SPDX-License-Identifier: MIT */
/* harness.c -- see harness.h. */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"

#define TURNS_MAX 1000

static char answer_text[2 * CONTROL_ANSWER_MAX];

static void hook_status(void *ctx, struct control_status *out)
{
	struct server *server = ctx;

	server->status_calls++;
	*out = server->status;
}

static void hook_reload(void *ctx)
{
	struct server *server = ctx;

	server->reload_calls++;
	if (server->reload_at_once)
		control_reload_done(server->control, false, "said at once");
}

static void hook_stop(void *ctx)
{
	struct server *server = ctx;

	server->stop_calls++;
	server->status.draining = true;
}

static bool hook_queue(void *ctx, const struct control_queue_request *request, uint64_t token)
{
	struct server *server = ctx;

	server->queue = *request;
	server->tokens[server->queue_calls++ % COUNT_OF(server->tokens)] = token;
	if (server->queue_at_once != NULL)
		control_queue_done(server->control, token, json_incref(server->queue_at_once));
	return !server->queue_refuses;
}

static bool hook_fence(
	void *ctx, const struct control_fence_request *request, struct json_t **answer)
{
	struct server *server = ctx;

	server->fence = *request;
	server->fence_calls++;
	*answer = json_incref(server->fence_answer);
	return !server->fence_refuses;
}

static bool hook_sts(void *ctx, const struct control_sts_request *request, struct json_t **answer)
{
	struct server *server = ctx;

	server->sts = *request;
	server->sts_calls++;
	*answer = json_incref(server->sts_answer);
	return server->sts_answer != NULL;
}

void server_open(struct server *server)
{
	struct err err = {""};
	struct control_hooks hooks = {
		server, hook_status, hook_reload, hook_stop, hook_queue, hook_fence, hook_sts};

	*server = (struct server){.now_ms = 1000000, .now_us = 1700000000000000};
	clock_set_for_test(&server->now_ms, &server->now_us);
	snprintf(server->folder, sizeof(server->folder), "/tmp/control.XXXXXX");
	cr_assert_not_null(mkdtemp(server->folder));
	snprintf(server->path, sizeof(server->path), "%s/sock", server->folder);
	server->listen_fd = control_listen(server->path, &err);
	cr_assert_geq(server->listen_fd, 0, "%s", err.text);
	cr_assert_eq(control_open(&server->control, server->listen_fd, &hooks, &err), 0);
}

void server_close(struct server *server)
{
	control_close(server->control);
	close(server->listen_fd);
	unlink(server->path);
	rmdir(server->folder);
	clock_set_for_test(NULL, NULL);
}

void server_turn(struct server *server)
{
	struct pollfd fds[CONTROL_POLLFDS_MAX];

	for (int i = 0; i < TURNS_MAX; i++) {
		size_t n = control_pollfds(server->control, fds, CONTROL_POLLFDS_MAX);
		int ready = poll(fds, n, 0);

		cr_assert_geq(ready, 0);
		if (ready == 0 && control_timeout_ms(server->control) != 0)
			return;
		control_run(server->control, fds, n);
	}
	cr_assert_fail("the server spins");
}

int client_open(const struct server *server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	memcpy(address.sun_path, server->path, strlen(server->path) + 1);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	cr_assert_eq(errno, EAGAIN);
	close(fd);
	return -1;
}

void client_send(int fd, const char *text, size_t n)
{
	cr_assert_eq(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

void client_say(int fd, const char *text)
{
	client_send(fd, text, strlen(text));
}

const char *client_read(int fd, bool *eof)
{
	size_t got = 0;

	*eof = false;
	while (got < sizeof(answer_text) - 1) {
		ssize_t n = recv(fd, answer_text + got, sizeof(answer_text) - 1 - got, 0);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) { /* ECONNRESET too: the server closed before it read all */
			*eof = true;
			break;
		}
		got += (size_t)n;
	}
	answer_text[got] = '\0';
	return answer_text;
}

json_t *client_answer(int fd)
{
	bool eof;
	const char *text = client_read(fd, &eof);
	const char *end = strchr(text, '\n');
	json_t *root = json_loads(text, 0, NULL);

	cr_assert(eof, "no end of file after: %.100s", text);
	cr_assert_not_null(end, "no line end: %.100s", text);
	cr_assert_eq(end[1], '\0', "more than a line");
	cr_assert_not_null(root, "not JSON: %.100s", text);
	cr_assert(json_is_boolean(json_object_get(root, "ok")));
	close(fd);
	return root;
}

void client_expect(int fd, bool ok, const char *part)
{
	json_t *root = client_answer(fd);
	const char *text = json_string_value(json_object_get(root, ok ? "text" : "error"));

	cr_assert_eq(json_is_true(json_object_get(root, "ok")), ok);
	cr_assert_not_null(text);
	cr_assert_not_null(strstr(text, part), "\"%s\" is not in: %s", part, text);
	json_decref(root);
}
