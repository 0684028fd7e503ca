/* SPDX-License-Identifier: MIT */
/*
 * gateway.h -- the program's own parts, between main.c's options and the rooms:
 *
 *	parent.c   privileged: ports, keys, control socket; starts the child, restarts it, signals
 *	child.c    unprivileged: the control thread; contexts, reload, draining
 *	worker.c   one thread a core: ring, sessions, accept, log
 *	sandbox.c  user, capabilities, seccomp
 *	channel.c  packets between parent and child
 */
#ifndef POSTERN_GATEWAY_H
#define POSTERN_GATEWAY_H

#include "config/config.h"
#include "policy/policy.h"
#include "ring/ring.h"
#include "tls/tls.h"

extern const char postern_version[]; /* from git at build time */

/* ---- parent.c ---- */

/* Runs the gateway until it is told to stop. Returns the exit code. */
int parent_run(const char *config_path, const struct config *config);

/* ---- channel.c: packets over a SOCK_SEQPACKET pair ---- */

enum channel_kind {
	CHANNEL_MATERIAL = 'M',  /* to the child: certificates and keys, in a memfd */
	CHANNEL_FAILED = 'E',    /* to the child: the reload it asked for failed; text */
	CHANNEL_ANSWER = 'A',    /* to the child: the next packet answers its CHANNEL_RELOAD */
	CHANNEL_DRAIN = 'D',     /* to the child: finish what is under way, then end */
	CHANNEL_STOP = 'X',      /* to the child: end now */
	CHANNEL_READY = 'U',     /* to the parent: all workers are up */
	CHANNEL_RELOAD = 'R',    /* to the parent: read the files again */
	CHANNEL_ASK_DRAIN = 'Q', /* to the parent: stop was asked for over the control socket */
};

#define CHANNEL_TEXT_MAX 1024

struct channel_packet {
	enum channel_kind kind;
	char text[CHANNEL_TEXT_MAX];
	int fd; /* -1: none; the receiver's to close */
};

/* 0 or -errno; -EPIPE when the other side is gone. */
MUST_USE int channel_send(int channel, enum channel_kind kind, const char *text, int fd);
MUST_USE int channel_receive(int channel, struct channel_packet *packet);

/* ---- child.c ---- */

struct child_facts {
	const char *config_path;
	const struct config *config;
	const struct tls_kernel *kernel;
	const struct ring_features *ring;
	uint32_t workers;
	const int *listen_fds; /* [listener * workers + worker] */
	int control_fd;
	int maildir_fd;
	int channel;
	bool privileged; /* started as root: drop to config->main.user */
	uint64_t started_real_us;
};

/* The child's whole life. Returns its exit code. */
int child_run(const struct child_facts *facts);

/* ---- worker.c ---- */

struct worker;

struct worker_facts {
	const struct child_facts *child;
	struct policy *policy;
	uint32_t index;
	int wake_fd; /* eventfd of the control thread: written when the worker is up, failed or done
		      */
};

/* Starts the thread; `tls` is borrowed for the call. -1 and err. */
MUST_USE int worker_start(struct worker **out, const struct worker_facts *facts,
	struct tls_context *tls, struct err *err);

enum worker_state { WORKER_STARTING, WORKER_UP, WORKER_FAILED, WORKER_DONE };

enum worker_state worker_state(const struct worker *worker);
const char *worker_error(const struct worker *worker);           /* after WORKER_FAILED */
void worker_tls(struct worker *worker, struct tls_context *tls); /* borrowed; for new sessions */
void worker_drain(struct worker *worker);
void worker_abort(struct worker *worker);
void worker_join(struct worker *worker); /* after DONE or FAILED; frees */

/* ---- sandbox.c ---- */

struct sandbox_user {
	uint32_t uid;
	uint32_t gid;
};

MUST_USE int sandbox_user(
	struct sandbox_user *out, const struct main_settings *settings, struct err *err);
/* Gives up root for good. */
MUST_USE int sandbox_drop(const struct sandbox_user *user, struct err *err);
/* System calls of this thread from now on; others fail with EPERM. */
MUST_USE int sandbox_worker(struct err *err);
MUST_USE int sandbox_control(struct err *err);

#endif
