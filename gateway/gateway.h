/* SPDX-License-Identifier: MIT */
/*
 * gateway.h -- the program's own parts, between main.c's options and the rooms:
 *
 *	parent.c   privileged: ports, keys, control socket; starts the child, restarts it, signals
 *	child.c    unprivileged: the control thread; contexts, reload, draining
 *	worker.c   one thread a core: ring, sessions, accept, log
 *	queue.c    the control socket's questions about the queue, put to all workers (queue_json.c)
 *	fence_json.c  its questions about the fence, and what operators do to the lists
 *	publish.c  certificates and published policies: read and checked together, handed to the child
 *	sts_json.c  the control socket's questions about them
 *	sts_kept_json.c  its questions about what is remembered of TLS with others
 *	sts_watch_json.c  its questions about those who send to us
 *	limits.c   descriptors and locked memory: raised as far as may be
 *	folder.c   folders that the parent makes for the child
 *	state.c    what is remembered over a restart beside the mail
 *	trim.c     memory goes back to the system when many sessions have ended
 *	reload.c   what is told of a reload's end
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
#include "watch/watch.h"
#include "web/web.h"

extern const char postern_version[]; /* from git at build time */

/* ---- parent.c ---- */

/* Runs the gateway until it is told to stop. Returns the exit code. */
int parent_run(const char *config_path, const struct config *config);

/* ---- channel.c: packets over a SOCK_SEQPACKET pair ---- */

enum channel_kind {
	CHANNEL_MATERIAL = 'M', /* to the child: certificates and keys, in a memfd */
	CHANNEL_FENCE = 'F', /* to the child: rules and lists of the fence, in a memfd; text: what
				    was changed and only a restart takes */
	CHANNEL_POLICIES = 'P',  /* to the child: policies to publish, in a memfd */
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
/* A memfd with these octets, or -1. */
MUST_USE int channel_block_make(const char *name, struct span block);
/* All octets of one, to be freed, wiped where they are secret; closes it. -1: there are none, or memory
 * is short. */
MUST_USE int channel_block_take(int fd, uint8_t **block, size_t *n);

/* ---- publish.c: what the world sees of us ---- */

/* Of the parent, as it was read and found good. */
struct publish {
	struct tls_material *material; /* NULL: no certificates */
	int policies_fd;               /* web_policies_pack(), in a memfd */
};

/*
 * Reads what certificate sections name and makes the policies of `fresh`, the configuration as it is
 * now; everything else, titles and files of certificates, too, is as in `start`. Of a certificate
 * section `fresh` gives tlsa and next_chain, by title. `tls` is start's, or a copy of it. -1 and err:
 * something cannot be read, or what is published would not be true (web_check()).
 */
MUST_USE int publish_load(struct publish *out, const struct tls_settings *tls,
	const struct config *start, const struct config *fresh, struct err *err);
void publish_free(struct publish *publish); /* also of {.policies_fd = -1} */
/* To the child. -ENOMEM, or as channel_send(). */
MUST_USE int publish_material_send(const struct publish *publish, int channel);
MUST_USE int publish_policies_send(const struct publish *publish, int channel);

/* Of the child, as it came from the parent. Zero at first. */
struct published {
	struct tls_context *tls; /* NULL: no certificates */
	struct web_policies *policies;
	/* of config->tls.certificates: */
	struct tls_certificate_facts certificates[SETTINGS_CERTIFICATES_MAX];
	bool mx[SETTINGS_CERTIFICATES_MAX]; /* shown to clients of hostname */
};

/* Take what came with a packet into their place, and close the descriptor. -1 and err: as before. */
MUST_USE int published_material(struct published *published, const struct config *config,
	const struct tls_kernel *kernel, int fd, struct err *err);
MUST_USE int published_policies(struct published *published, int fd, struct err *err);
void published_free(struct published *published);

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
	int state_fd;           /* the folder of config->main.state_directory */
	struct span dkim_key;   /* what config->tlsrpt.dkim_key holds; empty: none */
	struct store *store;
	struct fence *fence;
	int channel;
	bool privileged; /* started as root: drop to config->main.user */
	uint64_t started_real_us;
};

/* The child's whole life. Returns its exit code. */
int child_run(const struct child_facts *facts);

/* ---- state.c: what the child remembers over a restart ---- */

struct state {
	struct watch *watch; /* NULL: off */
	/* NULL without a route that has tls = policy: */
	struct fetch *fetch;
	struct stscache *stscache; /* NULL also with sts = false */
	struct tlsrpt *tlsrpt;
	uint64_t save_at_ms;
};

/* Unprivileged and before any seccomp filter. -1 and err. */
MUST_USE int state_open(struct state *state, const struct child_facts *facts, struct err *err);
/* Now and then, on the control thread. */
void state_turn(struct state *state, const struct config *config);
void state_close(struct state *state); /* no worker runs any more */

/* ---- trim.c ---- */

struct trim {
	uint64_t most; /* sessions at a time since the last one */
	uint64_t next_ms;
};

/* Now and then, on the control thread; zero at first. */
void trim_turn(struct trim *trim);

/* ---- reload.c ---- */

/* A reload has ended, with `failed` or NULL: logged. `restart`: what it left to a restart, "". Returns
 * the text for who asked, *text being its backing; NULL: nothing to add. */
const char *reload_tell(const struct err *failed, const char *restart, struct err *text);

/* ---- worker.c ---- */

struct worker;
struct crew;

struct worker_facts {
	const struct child_facts *child;
	struct policy *policy;
	const struct state *state;
	struct tls_client *const *clients; /* of config->relay.routes */
	uint32_t index;
	int wake_fd; /* eventfd of the control thread: written when the worker is up, failed or done
		      */
	struct web_policies *policies; /* borrowed until the worker is up */
	struct crew *crew;             /* all workers' */
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
void worker_policies(struct worker *worker, struct web_policies *policies); /* borrowed */
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

/* ---- sts_json.c: what the control socket asks about TLS policies ---- */

struct control_sts_request;

struct sts_facts {
	const struct config *config;
	const struct published *published;
	const struct state *state;
};

/* For control_hooks.sts: the whole answer, a new reference; NULL: memory is short. */
MUST_USE struct json_t *sts_answer(
	const struct sts_facts *facts, const struct control_sts_request *request);

/* ---- sts_kept_json.c: of these, what the state knows ---- */

/* "sts" of the answer, as above. */
MUST_USE struct json_t *sts_report_json(
	const struct sts_facts *facts, const struct control_sts_request *request);
MUST_USE struct json_t *sts_policies_json(
	const struct sts_facts *facts, const struct control_sts_request *request);

/* ---- sts_watch_json.c: of these, what the watch knows ---- */

MUST_USE struct json_t *sts_watch_json(
	const struct sts_facts *facts, const struct control_sts_request *request);

/* ---- sandbox.c ---- */

struct sandbox_user {
	uint32_t uid;
	uint32_t gid;
};

MUST_USE int sandbox_user(
	struct sandbox_user *out, const struct main_settings *settings, struct err *err);
/* Gives up root for good, and every capability; `user` NULL: not started as root. */
MUST_USE int sandbox_drop(const struct sandbox_user *user, struct err *err);
/* limits.c: raises what may be raised; logs `event=few_descriptors` where sessions_max and relay's
 * connections_max need more. */
void limits_raise(const struct config *config, uint32_t workers, bool privileged);
/* folder.c: a folder of ours is made when it is missing and then belongs to `user` (NULL: stays);
 * opened by the parent, it may lie below folders that this user cannot enter. Its descriptor, or -1
 * and err, which begins with `what`. */
MUST_USE int folder_open(
	const struct sandbox_user *user, const char *what, const char *path, struct err *err);
/* System calls of this thread from now on; others fail with EPERM. */
MUST_USE int sandbox_worker(struct err *err);
MUST_USE int sandbox_control(struct err *err);

#endif
