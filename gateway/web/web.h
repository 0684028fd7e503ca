/* SPDX-License-Identifier: MIT */
/*
 * web.h -- the policy host: MTA-STS policies of our domains over HTTPS (RFC 8461 3.3), and whether we
 * may publish them.
 *
 * Three parts:
 *   policies  what is published: made of the settings by whoever reads files, handed on as bytes,
 *             shared by all workers, counted, replaced whole at a reload
 *   check     would senders that obey a policy, or TLSA records, still deliver to us?
 *   worker    connections of listeners with protocol = https, on a worker's ring
 *
 * The coordinator of an HTTPS connection: it sees ring, tls, http, sts and fence, which do not see
 * each other. Non-goals: other files, kernel TLS (an answer is smaller than what it costs), HTTP/2.
 */
#ifndef POSTERN_WEB_WEB_H
#define POSTERN_WEB_WEB_H

#include <sys/socket.h>

#include "config/settings.h"
#include "fence/fence.h"
#include "ring/ring.h"
#include "sts/sts.h"
#include "tls/tls.h"

/* ---- policies ---- */

#define WEB_POLICIES_BYTES_MAX (64u << 20) /* all texts together */

struct web_policies;

struct web_policy {
	const char *domain;
	const char *id;
	enum sts_mode mode;
	uint32_t max_age_s;
	struct span text;           /* what is served */
	const char *const *reports; /* URIs for _smtp._tls */
	size_t reports_n;
};

/* The policies of sorted sections as a block of bytes, to be freed. -1 and err: a section cannot be
 * published as it stands (sts_policy_check(), ids, URIs), or memory is short. */
MUST_USE int web_policies_pack(const struct sts_settings *sts, size_t sts_n, uint8_t **block,
	size_t *block_n, struct err *err);
/* The block is copied, and read as if it came from a stranger. */
MUST_USE int web_policies_open(struct web_policies **out, struct span block, struct err *err);
struct web_policies *web_policies_hold(struct web_policies *policies); /* +1, any thread */
void web_policies_release(struct web_policies *policies);              /* -1; frees at 0 */

size_t web_policies_n(const struct web_policies *policies);
const struct web_policy *web_policies_at(const struct web_policies *policies, size_t i);
/* By mail domain, lower case. NULL: none is published. */
const struct web_policy *web_policies_find(const struct web_policies *policies, const char *domain);

/* ---- check ---- */

struct web_check {
	const char *hostname; /* of the MX that we are */
	const struct sts_settings *sts;
	size_t sts_n;
	const struct listener_settings *listeners;
	size_t listeners_n;
	const struct certificate_settings *certificates; /* as the material was read from */
	size_t certificates_n;
	const struct tls_material *material; /* NULL: there is no TLS */
	const char *ca_file;                 /* CAs besides the system's; NULL: none */
};

/*
 * A policy in mode enforce must let senders deliver to us: hostname is among its mx, TLS is offered,
 * the certificates that a client of hostname is shown, with SNI and without, are in date, valid for it
 * and of a known CA; those for the policy host, too, where we serve it. In mode testing the same is a
 * warning, an event. Certificates with TLSA records match at least one of theirs. -1 and err: names the
 * section, the fault and what to do.
 */
MUST_USE int web_check(const struct web_check *check, struct err *err);

/* ---- worker ---- */

#define WEB_CONNECTIONS_MAX   256    /* a worker; then the oldest that waits goes */
#define WEB_ENDING_MAX        64     /* besides, those that are being closed */
#define WEB_REQUESTS_MAX      100    /* a connection */
#define WEB_HANDSHAKE_MS_MAX  10000  /* or tls.handshake_seconds where that is less */
#define WEB_IDLE_MS_MAX       15000  /* until a request begins */
#define WEB_HEAD_MS_MAX       10000  /* from a request's first octet to its last */
#define WEB_ANSWER_MS_MAX     20000  /* for the client to take the answer */
#define WEB_CONNECTION_MS_MAX 120000 /* in all */

struct web_worker;

/* All pointers outlive the worker. */
struct web_facts {
	const struct config *config;
	struct fence *fence;
	struct ring *ring;
};

/* `tls` and `policies` are held by the worker's own counts; tls may be NULL where no listener is
 * https. */
MUST_USE int web_worker_open(struct web_worker **out, const struct web_facts *facts,
	struct tls_context *tls, struct web_policies *policies, struct err *err);
void web_worker_close(struct web_worker *worker); /* no connection may be left */

/* For new connections and requests from now on; take over the caller's count. */
void web_worker_tls(struct web_worker *worker, struct tls_context *tls);
void web_worker_policies(struct web_worker *worker, struct web_policies *policies);

/* Requests under way are answered, all else is closed. */
void web_worker_drain(struct web_worker *worker);
void web_worker_abort(struct web_worker *worker);
bool web_worker_idle(const struct web_worker *worker);

/* Called when a connection ended: its descriptor is free again. */
void web_worker_on_end(struct web_worker *worker, void (*on_end)(void *ctx), void *ctx);

/* Takes over a connected socket that fence_enter() let in; fence_leave() is called at its end; *client
 * is copied. False when memory is short: the caller keeps the socket and what it entered. */
MUST_USE bool web_start(struct web_worker *worker, int fd, const struct listener_settings *listener,
	const struct sockaddr_storage *peer, const struct fence_client *client);

#endif
