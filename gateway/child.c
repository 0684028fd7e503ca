/* SPDX-License-Identifier: MIT */
/*
 * child.c -- the unprivileged process: its main thread is the control thread.
 *
 * It drops root, takes certificates and keys from the parent, recovers the spool, starts the
 * workers, then polls four things: the parent, the workers' eventfd, the fence's samples, the control
 * socket. It never touches a session.
 *
 * A reload goes: asked for (control socket or SIGHUP at the parent), the parent reads the files and
 * sends them: the fence's rules and lists, put to use at once, the policies to publish, then certificates,
 * of which a new context is built here and given to the workers; then the recipients and the routes are read again. Whatever fails leaves the old in place. CA files of routes are read at the
 * start only.
 */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "accept/accept.h"
#include "base/clock.h"
#include "base/event.h"
#include "control/control.h"

#define FENCE_TURN_MS 1000

enum { POLL_CHANNEL, POLL_WAKE, POLL_FENCE, POLL_CONTROL };

struct child {
	const struct child_facts *facts;
	struct policy *policy;
	struct state state;
	struct trim trim;
	struct published published;
	struct relay_routes *routes;
	struct tls_client **clients; /* of config->relay.routes */
	struct store_found found;
	struct control *control;
	struct queue *queue;
	struct worker *workers[SETTINGS_WORKERS_MAX];
	uint32_t workers_n;
	struct crew *crew;
	int wake_fd;
	bool draining;
	bool aborted;
	bool answer_next; /* the next reload that ends was asked for over the control socket */
	uint64_t abort_at_ms;
	uint64_t reloaded_real_us;
	struct err reload_error;
	char restart
		[CONFIG_RESTART_KEYS_MAX]; /* keys that the reload under way leaves to a restart */
	struct err part_error;             /* why a part of the reload under way failed; "" */
	struct control_listener listeners[SETTINGS_LISTENERS_MAX];
	struct control_certificate certificates[SETTINGS_CERTIFICATES_MAX];
	struct utsname uname;
	char ring[128];
	char ktls_tx[160];
	char ktls_rx[160];
};

/* ---- reload ---- */

static void reload_end(struct child *child, struct err *err)
{
	bool ok = err == NULL;
	struct err said;
	const char *text = reload_tell(err, child->restart, &said);

	if (ok) {
		child->reloaded_real_us = clock_real_us();
		child->reload_error.text[0] = '\0';
	} else {
		child->reload_error = *err;
	}
	if (child->answer_next)
		control_reload_done(child->control, ok, text);
	child->answer_next = false;
	child->restart[0] = '\0';
}

static int routes_reload(struct child *child, struct err *err)
{
	struct relay_routes *routes;

	if (relay_routes_open(&routes, &child->facts->config->relay, err) != 0)
		return -1;
	for (uint32_t i = 0; i < child->workers_n; i++)
		worker_routes(child->workers[i], routes);
	relay_routes_release(child->routes);
	child->routes = routes;
	return 0;
}

static void reload_material(struct child *child, int fd)
{
	struct published *published = &child->published;
	struct err err;

	if (child->part_error.text[0] != '\0') {
		err = child->part_error;
		child->part_error.text[0] = '\0';
		if (fd >= 0)
			close(fd);
		reload_end(child, &err);
		return;
	}
	if (fd >= 0) {
		if (published_material(
			    published, child->facts->config, child->facts->kernel, fd, &err) != 0) {
			reload_end(child, &err);
			return;
		}
		for (uint32_t i = 0; i < child->workers_n; i++)
			worker_tls(child->workers[i], published->tls);
	}
	if (policy_reload(child->policy, &err) != 0 || routes_reload(child, &err) != 0)
		reload_end(child, &err);
	else
		reload_end(child, NULL);
}

static void reload_fence(struct child *child, int fd, const char *restart)
{
	snprintf(child->restart, sizeof(child->restart), "%.*s", CONFIG_RESTART_KEYS_MAX - 1,
		restart);
	if (fence_use(child->facts->fence, fd, &child->part_error) == 0)
		child->part_error.text[0] = '\0';
	if (fd >= 0)
		close(fd);
}

/* Certificates come next, and end the reload. */
static void reload_policies(struct child *child, int fd)
{
	struct err err;

	if (published_policies(&child->published, fd, &err) != 0) {
		child->part_error = err;
		return;
	}
	for (uint32_t i = 0; i < child->workers_n; i++)
		worker_policies(child->workers[i], child->published.policies);
}

/* ---- ending ---- */

static void drain(struct child *child)
{
	if (child->draining)
		return;
	child->draining = true;
	child->abort_at_ms = clock_ms() + child->facts->config->main.drain_ms;
	event_text(EVENT_NO_COUNT, "draining", "sessions", "finishing");
	for (uint32_t i = 0; i < child->workers_n; i++)
		worker_drain(child->workers[i]);
}

static void stop_now(struct child *child)
{
	if (child->aborted)
		return;
	child->aborted = true;
	child->draining = true;
	for (uint32_t i = 0; i < child->workers_n; i++)
		worker_abort(child->workers[i]);
}

/* ---- control hooks ---- */

static void certificates_describe(struct child *child)
{
	const struct tls_settings *settings = &child->facts->config->tls;

	for (size_t i = 0; i < settings->certificates_n; i++) {
		const struct tls_certificate_facts *facts = &child->published.certificates[i];

		child->certificates[i] = (struct control_certificate){
			.title = settings->certificates[i].title,
			.key_type = facts->key_type[0] != '\0' ? facts->key_type : NULL,
			.names = settings->certificates[i].names,
			.names_n = settings->certificates[i].names_n,
			.not_after_s = facts->not_after_s,
		};
	}
}

static void on_status(void *ctx, struct control_status *out)
{
	struct child *child = ctx;
	const struct child_facts *facts = child->facts;
	static const char *const modes[] = {
		[KTLS_MODE_AUTO] = "auto", [KTLS_MODE_ALWAYS] = "always", [KTLS_MODE_OFF] = "off"};

	out->version = postern_version;
	out->hostname = facts->config->smtp.hostname;
	out->config = facts->config_path;
	out->kernel = child->uname.release;
	out->ring = child->ring;
	out->ktls_mode = modes[facts->config->tls.ktls];
	out->ktls_tx = child->ktls_tx;
	out->ktls_rx = child->ktls_rx;
	out->ktls_rekey = facts->kernel->rekey ? "yes" : "no";
	out->reload_error = child->reload_error.text[0] != '\0' ? child->reload_error.text : NULL;
	out->reloaded_real_us = child->reloaded_real_us;
	out->started_real_us = facts->started_real_us;
	out->pid = getppid();
	out->workers = child->workers_n;
	out->draining = child->draining;
	out->listeners = child->listeners;
	out->listeners_n = facts->config->listeners_n;
	certificates_describe(child);
	out->certificates = child->certificates;
	out->certificates_n = facts->config->tls.certificates_n;
}

static void on_reload(void *ctx)
{
	struct child *child = ctx;
	struct err err;

	if (channel_send(child->facts->channel, CHANNEL_RELOAD, "", -1) != 0) {
		err_set(&err, "the parent process does not answer");
		child->answer_next = true;
		reload_end(child, &err);
	}
}

static void on_stop(void *ctx)
{
	struct child *child = ctx;

	/* The parent has to know that our end is wanted. */
	(void)!channel_send(child->facts->channel, CHANNEL_ASK_DRAIN, "", -1);
	drain(child);
}

static bool on_queue(void *ctx, const struct control_queue_request *request, uint64_t token)
{
	struct child *child = ctx;

	return queue_ask(child->queue, request, token);
}

static bool on_fence(void *ctx, const struct control_fence_request *request, struct json_t **answer)
{
	struct child *child = ctx;

	*answer = fence_answer(child->facts->fence, request);
	return true;
}

static bool on_sts(void *ctx, const struct control_sts_request *request, struct json_t **answer)
{
	struct child *child = ctx;
	const struct sts_facts facts = {child->facts->config, &child->published, &child->state};

	*answer = sts_answer(&facts, request);
	return true;
}

static void status_init(struct child *child)
{
	static const char *const modes[] = {[LISTENER_TLS_STARTTLS] = "starttls",
		[LISTENER_TLS_IMPLICIT] = "implicit",
		[LISTENER_TLS_NONE] = "none"};
	const struct child_facts *facts = child->facts;
	const struct ring_features *ring = facts->ring;
	const struct tls_kernel *kernel = facts->kernel;

	for (size_t i = 0; i < facts->config->listeners_n; i++) {
		const struct listener_settings *listener = &facts->config->listeners[i];

		child->listeners[i] = (struct control_listener){listener->title, listener->address,
			listener->port,
			listener->protocol == LISTENER_HTTPS ? "https" : modes[listener->tls]};
	}
	uname(&child->uname);
	snprintf(child->ring, sizeof(child->ring), "%s%s%s%s%s",
		ring->single_issuer ? "single_issuer " : "",
		ring->defer_taskrun ? "defer_taskrun " : "",
		ring->multishot_accept ? "multishot_accept " : "",
		ring->multishot_recvmsg ? "multishot_recvmsg " : "",
		ring->buffer_ring ? "buffer_ring" : "");
	snprintf(child->ktls_tx, sizeof(child->ktls_tx), "%s%s",
		kernel->tx ? "yes" : "no: ", kernel->tx ? "" : kernel->why);
	snprintf(child->ktls_rx, sizeof(child->ktls_rx), "%s",
		!kernel->rx                   ? "no"
		: kernel->rx_spins_on_partial ? "with ktls = always only (partial records, see "
						"kernel-notes)"
					      : "yes");
}

/* ---- the loop ---- */

static void channel_packet(struct child *child)
{
	struct channel_packet packet;
	struct err err;
	int res = channel_receive(child->facts->channel, &packet);

	if (res == -EPIPE) { /* the parent is gone: so are we */
		stop_now(child);
		return;
	}
	if (res != 0)
		return;
	switch (packet.kind) {
	case CHANNEL_MATERIAL:
		reload_material(child, packet.fd);
		return;
	case CHANNEL_FENCE:
		reload_fence(child, packet.fd, packet.text);
		return;
	case CHANNEL_POLICIES:
		reload_policies(child, packet.fd);
		return;
	case CHANNEL_ANSWER:
		child->answer_next = true;
		return;
	case CHANNEL_FAILED:
		child->part_error.text[0] = '\0';
		err_set(&err, "%s", packet.text);
		reload_end(child, &err);
		return;
	case CHANNEL_DRAIN:
		drain(child);
		return;
	case CHANNEL_STOP:
		stop_now(child);
		return;
	default:
		return;
	}
}

static int wait_ms(const struct child *child)
{
	int wait = control_timeout_ms(child->control);
	uint64_t now = clock_ms();
	int left;

	wait = wait < 0 || wait > FENCE_TURN_MS ? FENCE_TURN_MS : wait;
	if (!child->draining || child->aborted)
		return wait;
	left = child->abort_at_ms > now ? (int)(child->abort_at_ms - now) : 0;
	return left < wait ? left : wait;
}

static bool all_done(const struct child *child)
{
	for (uint32_t i = 0; i < child->workers_n; i++)
		if (worker_state(child->workers[i]) != WORKER_DONE)
			return false;
	return true;
}

static void loop(struct child *child)
{
	struct pollfd fds[POLL_CONTROL + CONTROL_POLLFDS_MAX];
	bool parent = true;

	while (!child->draining || !all_done(child)) {
		size_t n = control_pollfds(child->control, fds + POLL_CONTROL, CONTROL_POLLFDS_MAX);
		uint64_t drop;

		fds[POLL_CHANNEL] = (struct pollfd){
			.fd = parent ? child->facts->channel : -1, .events = POLLIN};
		fds[POLL_WAKE] = (struct pollfd){.fd = child->wake_fd, .events = POLLIN};
		fds[POLL_FENCE] =
			(struct pollfd){.fd = fence_fd(child->facts->fence), .events = POLLIN};
		if (poll(fds, POLL_CONTROL + n, wait_ms(child)) < 0)
			continue;
		if (fds[POLL_WAKE].revents != 0)
			(void)!read(child->wake_fd, &drop, sizeof(drop));
		queue_turn(child->queue);
		fence_turn(child->facts->fence);
		state_turn(&child->state, child->facts->config);
		trim_turn(&child->trim);
		crew_turn(child->crew);
		if (fds[POLL_CHANNEL].revents != 0)
			channel_packet(child);
		parent = parent && !child->aborted;
		control_run(child->control, fds + POLL_CONTROL, n);
		if (child->draining && clock_ms() >= child->abort_at_ms)
			stop_now(child);
	}
}

/* ---- beginning and end ---- */

/* Waits until every worker is up; the first that fails decides. */
static int workers_wait(struct child *child, struct err *err)
{
	for (uint32_t i = 0; i < child->workers_n; i++) {
		uint64_t drop;

		while (worker_state(child->workers[i]) == WORKER_STARTING)
			(void)!read(child->wake_fd, &drop, sizeof(drop));
		if (worker_state(child->workers[i]) == WORKER_FAILED)
			return err_set(err, "worker %u: %s", i, worker_error(child->workers[i]));
	}
	return 0;
}

static int workers_start(struct child *child, struct err *err)
{
	const struct child_facts *facts = child->facts;

	child->crew = crew_open(facts->workers, (uint32_t)facts->config->listeners_n,
		facts->config->main.workers_all);
	if (child->crew == NULL)
		return err_set(err, "out of memory");
	for (uint32_t i = 0; i < facts->workers; i++) {
		struct worker_facts worker = {facts, child->policy, &child->state, child->clients,
			i, child->wake_fd, child->published.policies, child->crew};

		if (worker_start(&child->workers[i], &worker, child->published.tls, child->routes,
			    err) != 0)
			return -1;
		child->workers_n++;
	}
	return workers_wait(child, err);
}

static int queue_make(struct child *child, struct err *err)
{
	struct queue_facts facts = {child->workers, child->workers_n, child->control,
		store_directory(child->facts->store)};

	return queue_open(&child->queue, &facts, err);
}

static bool verifies(const struct route_settings *route)
{
	return route->tls == ROUTE_TLS_VERIFY || route->tls == ROUTE_TLS_POLICY;
}

/* What connections to each route's next hops need; routes that agree share one. */
static int clients_open(struct child *child, struct err *err)
{
	const struct relay_settings *settings = &child->facts->config->relay;

	child->clients = calloc(settings->routes_n, sizeof(struct tls_client *));
	if (child->clients == NULL)
		return err_set(err, "out of memory");
	for (size_t i = 0; i < settings->routes_n; i++) {
		const struct route_settings *route = &settings->routes[i];
		bool verify = verifies(route);

		if (route->tls == ROUTE_TLS_NONE)
			continue;
		for (size_t j = 0; j < i && child->clients[i] == NULL; j++) {
			const struct route_settings *other = &settings->routes[j];

			if (child->clients[j] != NULL && other->ca_file == NULL &&
				route->ca_file == NULL && verifies(other) == verify)
				child->clients[i] = tls_client_hold(child->clients[j]);
		}
		if (child->clients[i] == NULL &&
			tls_client_open(&child->clients[i], route->ca_file, verify,
				child->facts->kernel, settings->ktls, err) != 0)
			return -1;
	}
	return 0;
}

static int store_take(struct child *child, struct err *err)
{
	struct event event;

	if (store_recover(child->facts->store, child->facts->workers, &child->found, err) != 0)
		return -1;
	event_open(&event, EVENT_NO_COUNT, "recovered");
	event_u64(&event, "messages", child->found.messages);
	event_u64(&event, "bytes", child->found.bytes);
	event_u64(&event, "segments", child->found.segments);
	event_u64(&event, "cut", child->found.cut);
	event_u64(&event, "aside", child->found.aside);
	event_u64(&event, "orphans", child->found.orphans);
	event_close(&event);
	return 0;
}

/* Better said at the start than by every delivery. */
static int maildirs_check(const struct child_facts *facts, struct err *err)
{
	const struct relay_settings *settings = &facts->config->relay;

	for (size_t i = 0; i < settings->maildirs_n; i++)
		if (faccessat(facts->maildir_fds[i], ".", W_OK | X_OK, AT_EACCESS) != 0)
			return err_set(err, "route: user %u may not write to maildir %s: %s",
				(unsigned)geteuid(), settings->maildirs[i], strerror(errno));
	return 0;
}

/* The first two packets. */
static int published_take(struct child *child, struct err *err)
{
	const struct child_facts *facts = child->facts;
	struct channel_packet packet;

	if (channel_receive(facts->channel, &packet) != 0 || packet.kind != CHANNEL_POLICIES)
		return err_set(err, "no policies came from the parent process");
	if (published_policies(&child->published, packet.fd, err) != 0)
		return -1;
	if (facts->config->tls.certificates_n == 0)
		return 0;
	if (channel_receive(facts->channel, &packet) != 0 || packet.kind != CHANNEL_MATERIAL)
		return err_set(err, "no certificates came from the parent process");
	return published_material(&child->published, facts->config, facts->kernel, packet.fd, err);
}

static int child_open(struct child *child, struct err *err)
{
	const struct child_facts *facts = child->facts;
	const struct config *config = facts->config;
	struct control_hooks hooks = {
		child, on_status, on_reload, on_stop, on_queue, on_fence, on_sts};
	struct sandbox_user user;

	if (facts->privileged && sandbox_user(&user, &config->main, err) != 0)
		return -1;
	if (sandbox_drop(facts->privileged ? &user : NULL, err) != 0)
		return -1;
	fence_child(facts->fence);
	if (published_take(child, err) != 0)
		return -1;
	child->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (child->wake_fd < 0)
		return err_set(err, "eventfd: %s", strerror(errno));
	if (policy_open(&child->policy, &config->policy, err) != 0 ||
		relay_routes_open(&child->routes, &config->relay, err) != 0 ||
		clients_open(child, err) != 0 || maildirs_check(facts, err) != 0 ||
		store_take(child, err) != 0 || state_open(&child->state, facts, err) != 0 ||
		control_open(&child->control, facts->control_fd, &hooks, err) != 0 ||
		workers_start(child, err) != 0 || queue_make(child, err) != 0)
		return -1;
	return config->main.seccomp ? sandbox_control(err) : 0;
}

static void ready_event(const struct child *child)
{
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "ready");
	event_str(&event, "version", postern_version);
	event_u64(&event, "pid", (uint64_t)getppid());
	event_u64(&event, "child", (uint64_t)getpid());
	event_u64(&event, "workers", child->workers_n);
	event_str(&event, "kernel", child->uname.release);
	event_str(&event, "ktls_tx", child->ktls_tx);
	event_str(&event, "ktls_rx", child->ktls_rx);
	event_close(&event);
}

int child_run(const struct child_facts *facts)
{
	struct child *child = calloc(1, sizeof(*child));
	struct err err;

	if (child == NULL)
		return 1;
	child->facts = facts;
	tzset(); /* syslog(3) wants it; later no file can be read for it */
	if (child_open(child, &err) != 0) {
		/* Workers that run are ended with the process. */
		event_text(EVENT_NO_COUNT, "fatal", "error", err.text);
		_exit(1);
	}
	status_init(child);
	ready_event(child);
	(void)!channel_send(facts->channel, CHANNEL_READY, "", -1);
	loop(child);
	for (uint32_t i = 0; i < child->workers_n; i++)
		worker_join(child->workers[i]);
	crew_close(child->crew);
	queue_close(child->queue);
	control_close(child->control);
	policy_close(child->policy);
	state_close(&child->state);
	published_free(&child->published);
	relay_routes_release(child->routes);
	for (size_t i = 0; i < facts->config->relay.routes_n; i++)
		if (child->clients[i] != NULL)
			tls_client_release(child->clients[i]);
	free(child->clients);
	store_close(facts->store);
	fence_forget(facts->fence);
	close(child->wake_fd);
	free(child);
	return 0;
}
