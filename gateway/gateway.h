/* SPDX-License-Identifier: MIT */
/*
 * gateway.h -- the program's own parts, between main.c's options and the rooms:
 *
 *	parent.c   privileged: ports, keys, control socket; starts the child, restarts it, signals
 *	child.c    unprivileged: the control thread; contexts, reload, draining
 *	worker.c   one thread a core: ring, sessions, accept, log
 *	queue.c    the control socket's questions about the queue, put to all workers (queue_json.c)
 *	fence_json.c  its questions about the fence, and what operators do to the lists
 *	sandbox.c  user, capabilities, seccomp
 *	channel.c  packets between parent and child
 */
#ifndef POSTERN_GATEWAY_H
#define POSTERN_GATEWAY_H

#include <stdatomic.h>

#include "config/config.h"
#include "fence/fence.h"
#include "policy/policy.h"
#include "relay/relay.h"
#include "ring/ring.h"
#include "spool/store.h"
#include "tls/tls.h"

extern const char postern_version[]; /* from git at build time */

/* ---- parent.c ---- */

/* Runs the gateway until it is told to stop. Returns the exit code. */
int parent_run(const char *config_path, const struct config *config);

/* ---- channel.c: packets over a SOCK_SEQPACKET pair ---- */

enum channel_kind {
	CHANNEL_MATERIAL = 'M',  /* to the child: certificates and keys, in a memfd */
	CHANNEL_FENCE = 'F',     /* to the child: rules and lists of the fence, in a memfd */
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
	const int *maildir_fds; /* of config->relay.maildirs */
	struct store *store;
	struct fence *fence;
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
	struct tls_client *const *clients; /* of config->relay.routes */
	uint32_t index;
	int wake_fd; /* eventfd of the control thread: written when the worker is up, failed or done
		      */
};

/*
 * Something that the control thread wants done on a worker's thread, with its relay. The call is
 * the caller's and stays until `done`; then the caller's wake_fd is written.
 */
struct worker_call {
	void (*run)(struct relay *relay, struct worker_call *call);
	atomic_bool done;
	struct worker_call *next; /* worker.c's own */
};

/* Starts the thread; `tls` and `routes` are borrowed for the call. -1 and err. */
MUST_USE int worker_start(struct worker **out, const struct worker_facts *facts,
	struct tls_context *tls, struct relay_routes *routes, struct err *err);

enum worker_state { WORKER_STARTING, WORKER_UP, WORKER_FAILED, WORKER_DONE };

enum worker_state worker_state(const struct worker *worker);
const char *worker_error(const struct worker *worker);           /* after WORKER_FAILED */
void worker_tls(struct worker *worker, struct tls_context *tls); /* borrowed; for new sessions */
void worker_routes(struct worker *worker, struct relay_routes *routes); /* borrowed; for new jobs */
void worker_drain(struct worker *worker);
void worker_abort(struct worker *worker);
/* False: the worker has ended, the call will not run. */
MUST_USE bool worker_call(struct worker *worker, struct worker_call *call);
void worker_join(struct worker *worker); /* after DONE or FAILED; frees */

/* ---- queue.c: what the control socket asks about the queue ---- */

struct control;
struct control_queue_request;
struct queue;

/* All pointers outlive the queue. */
struct queue_facts {
	struct worker *const *workers; /* all that run */
	uint32_t workers_n;
	struct control *control;
	int store_dir; /* the spool's directory, for reading; stays the caller's */
};

MUST_USE int queue_open(struct queue **out, const struct queue_facts *facts, struct err *err);
/* For control_hooks.queue: control_queue_done() follows, perhaps from within. False: too many
 * questions, or memory is short. */
bool queue_ask(struct queue *queue, const struct control_queue_request *request, uint64_t token);
/* After wake_fd was written: takes what the workers answered. */
void queue_turn(struct queue *queue);
/* When every worker has ended; open questions are not answered any more. NULL is fine. */
void queue_close(struct queue *queue);

/* ---- fence_json.c: what the control socket asks about the fence ---- */

struct control_fence_request;
struct json_t;

/* For control_hooks.fence: the whole answer, a new reference; NULL: memory is short. On the thread
 * that has the fence. A fence of NULL: there is none. */
MUST_USE struct json_t *fence_answer(
	struct fence *fence, const struct control_fence_request *request);

/* ---- sandbox.c ---- */

struct sandbox_user {
	uint32_t uid;
	uint32_t gid;
};

MUST_USE int sandbox_user(
	struct sandbox_user *out, const struct main_settings *settings, struct err *err);
/* Gives up root for good, and every capability; `user` NULL: not started as root. */
MUST_USE int sandbox_drop(const struct sandbox_user *user, struct err *err);
/* System calls of this thread from now on; others fail with EPERM. */
MUST_USE int sandbox_worker(struct err *err);
MUST_USE int sandbox_control(struct err *err);

#endif
