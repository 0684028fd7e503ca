/* SPDX-License-Identifier: MIT */
/* harness.h -- a control server with recording hooks and a clock of its own, and its clients. */
#ifndef POSTERN_TESTS_CONTROL_HARNESS_H
#define POSTERN_TESTS_CONTROL_HARNESS_H

#include <jansson.h>

#include "control/control.h"

struct server {
	char folder[32];
	char path[64];
	int listen_fd;
	struct control *control;
	struct control_status status; /* what the hook gives */
	uint64_t now_ms;
	uint64_t now_us;
	unsigned status_calls, reload_calls, stop_calls, queue_calls, fence_calls, sts_calls;
	bool reload_at_once;                /* the hook itself reports the end */
	bool queue_refuses;                 /* the hook answers false */
	json_t *queue_at_once;              /* the hook itself gives this (a reference) */
	struct control_queue_request queue; /* the last one asked */
	struct control_fence_request fence; /* likewise */
	json_t *fence_answer;               /* what the hook gives (a reference); NULL: nothing */
	bool fence_refuses;                 /* the hook answers false */
	struct control_sts_request sts;
	json_t *sts_answer; /* what the hook gives (a reference); NULL: it answers false */
	uint64_t tokens[2 * CONTROL_CLIENTS_MAX];
};

/* In a fresh folder, with the clock stopped; asserts that all goes well. */
void server_open(struct server *server);
void server_close(struct server *server);

/* Polls and runs until nothing is left to do at this time; asserts that it comes to rest. */
void server_turn(struct server *server);

/* A non-blocking client; -1 when the backlog is full. */
int client_open(const struct server *server);
void client_send(int fd, const char *text, size_t n);
void client_say(int fd, const char *text);

/* What can be read now, NUL-terminated, in a static buffer. *eof: the server closed. */
const char *client_read(int fd, bool *eof);

/* Asserts that the answer is there, one line of JSON and then end of file. Closes fd; the caller
 * owns the object. */
json_t *client_answer(int fd);

/* The whole exchange; "ok" is compared, "text" or "error" must contain `part`. */
void client_expect(int fd, bool ok, const char *part);

#endif
