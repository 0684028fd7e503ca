/* SPDX-License-Identifier: MIT */
/*
 * parent.c -- the small privileged process: opens what needs privilege, then waits.
 *
 * It binds the ports, loads the fence, locks the spool, opens the Maildir roots, reads certificates and
 * keys, loads the tls module, makes the control socket, forks the child that does everything else, and restarts
 * it if it dies. It parses nothing that a peer sent. The listening sockets stay open here, so that connections wait in the backlog while a
 * child is replaced.
 *
 * Signals: SIGHUP reloads; the first SIGTERM or SIGINT drains, the second stops at once.
 */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accept/accept.h"
#include "base/clock.h"
#include "base/event.h"
#include "control/control.h"
#include "tls/sign.h"

#define TICKET_CHECK_MS   60000
#define RESTART_MS_MIN    100
#define RESTART_MS_MAX    30000
#define STOP_MS_MAX       5000  /* for the child to end at once; then it is killed */
#define RESTART_STEADY_MS 60000 /* a child that lived that long starts the back-off anew */

struct parent {
	const char *config_path;
	const struct config *config;
	struct tls_kernel kernel;
	struct ring_features ring;
	struct config *reloaded; /* by the last reload that went well; NULL: none yet */
	struct publish publish;
	struct sandbox_user user;
	bool privileged;
	uint32_t workers;
	int *listen_fds;
	size_t listen_fds_n;
	int control_fd;
	int maildir_fds[SETTINGS_MAILDIRS_MAX];
	size_t maildir_fds_n;
	int state_fd;
	uint8_t *dkim_key; /* PEM; NULL: reports are not signed */
	size_t dkim_key_n;
	struct store *store;
	struct fence *fence;
	int fence_fd; /* what the last reload made of its settings; -1: none yet */
	int signal_fd;
	int channel; /* -1: no child */
	pid_t child;
	bool ready;    /* this child was up */
	bool ever_up;  /* some child was */
	unsigned stop; /* stop signals so far */
	uint64_t started_real_us;
	uint64_t child_ms;   /* when the child was started */
	uint64_t restart_ms; /* when to start the next; 0: not due */
	uint64_t kill_ms;    /* when to kill the child that does not stop; 0: not due */
	uint64_t back_off_ms;
	int exit_code;
};

/* ---- what needs privilege ---- */

static uint32_t workers_wanted(const struct config *config)
{
	cpu_set_t set;

	if (config->main.workers > 0)
		return config->main.workers;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return (uint32_t)min_size((size_t)CPU_COUNT(&set), SETTINGS_WORKERS_MAX);
}

static int listen_all(struct parent *parent, struct err *err)
{
	const struct config *config = parent->config;

	parent->listen_fds_n = config->listeners_n * parent->workers;
	parent->listen_fds = calloc(parent->listen_fds_n, sizeof(int));
	if (parent->listen_fds == NULL)
		return err_set(err, "out of memory");
	for (size_t i = 0; i < config->listeners_n; i++)
		if (accept_listen(&config->listeners[i], parent->listen_fds + i * parent->workers,
			    parent->workers, err) != 0)
			return -1;
	return 0;
}

static const struct sandbox_user *user_of(const struct parent *parent)
{
	return parent->privileged ? &parent->user : NULL;
}

static int store_make(struct parent *parent, struct err *err)
{
	const struct relay_settings *relay = &parent->config->relay;

	for (size_t i = 0; i < relay->maildirs_n; i++) {
		int fd = folder_open(user_of(parent), "route", relay->maildirs[i], err);

		if (fd < 0)
			return -1;
		parent->maildir_fds[parent->maildir_fds_n++] = fd;
	}
	parent->state_fd = folder_open(
		user_of(parent), "state_directory", parent->config->main.state_directory, err);
	if (parent->state_fd < 0)
		return -1;
	return store_open(&parent->store, &parent->config->spool, parent->privileged,
		parent->user.uid, parent->user.gid, err);
}

/* Once, for those who wonder why nothing is refused in the kernel. */
static void fence_tell(struct fence *fence)
{
	static const char *const running[] = {[FENCE_RUNNING_KERNEL] = "kernel",
		[FENCE_RUNNING_USER] = "user",
		[FENCE_RUNNING_OFF] = "off"};
	struct fence_status status;
	struct event event;

	fence_status(fence, &status);
	event_open(&event, EVENT_NO_COUNT, "fence");
	event_str(&event, "running", running[status.running]);
	if (status.running == FENCE_RUNNING_KERNEL)
		event_str(&event, "hooks", status.hooks);
	if (status.why[0] != '\0')
		event_str(&event, "why", status.why);
	if (status.pin != NULL)
		event_str(&event, "pin", status.pin);
	event_close(&event);
	if (status.running != FENCE_RUNNING_OFF && fence_syncookies_off(FENCE_SYNCOOKIES))
		event_text(EVENT_NO_COUNT, "fence_syncookies_off", "advice",
			"SYNs from made-up addresses can fill the queues of the listeners: set "
			"net.ipv4.tcp_syncookies = 1");
}

static int fence_make(struct parent *parent, struct err *err)
{
	const struct config *config = parent->config;

	if (fence_open(&parent->fence, &config->fence, config->listeners, config->listeners_n,
		    parent->listen_fds, parent->workers, err) != 0)
		return -1;
	fence_tell(parent->fence);
	return 0;
}

static int control_make(struct parent *parent, struct err *err)
{
	const char *path = parent->config->main.control_socket;

	parent->control_fd = control_listen(path, err);
	if (parent->control_fd < 0)
		return -1;
	if (parent->privileged && chown(path, 0, parent->user.gid) != 0)
		return err_set(err, "cannot give %s to its group: %s", path, strerror(errno));
	return 0;
}

static int signals_open(struct parent *parent, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	parent->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (parent->signal_fd < 0)
		return err_set(err, "signalfd: %s", strerror(errno));
	return 0;
}

static int parent_open(struct parent *parent, struct err *err)
{
	const struct config *config = parent->config;

	parent->privileged = geteuid() == 0;
	if (parent->privileged && sandbox_user(&parent->user, &config->main, err) != 0)
		return -1;
	parent->workers = workers_wanted(config);
	limits_raise(config, parent->workers, parent->privileged);
	if (ring_probe(&parent->ring, err) != 0)
		return -1;
	if (publish_load(&parent->publish, &config->tls, config, config, err) != 0)
		return -1;
	if (config->tlsrpt.dkim_key != NULL &&
		tls_sign_key_load(
			config->tlsrpt.dkim_key, &parent->dkim_key, &parent->dkim_key_n, err) != 0)
		return -1;
	tls_kernel_probe(&parent->kernel);
	if (store_make(parent, err) != 0 || listen_all(parent, err) != 0 ||
		fence_make(parent, err) != 0 || control_make(parent, err) != 0)
		return -1;
	return signals_open(parent, err);
}

static void parent_close(struct parent *parent)
{
	fence_close(parent->fence);
	if (parent->fence_fd >= 0)
		close(parent->fence_fd);
	for (size_t i = 0; i < parent->listen_fds_n; i++)
		if (parent->listen_fds[i] > 0)
			close(parent->listen_fds[i]);
	free(parent->listen_fds);
	if (parent->control_fd >= 0) {
		close(parent->control_fd);
		unlink(parent->config->main.control_socket);
	}
	for (size_t i = 0; i < parent->maildir_fds_n; i++)
		close(parent->maildir_fds[i]);
	if (parent->state_fd >= 0)
		close(parent->state_fd);
	if (parent->store != NULL)
		store_close(parent->store);
	publish_free(&parent->publish);
	if (parent->dkim_key != NULL)
		wipe(parent->dkim_key, parent->dkim_key_n);
	free(parent->dkim_key);
	if (parent->reloaded != NULL)
		config_close(parent->reloaded);
	if (parent->signal_fd >= 0)
		close(parent->signal_fd);
}

/* ---- what the child is given ---- */

static void material_send(struct parent *parent)
{
	if (parent->channel >= 0 &&
		publish_material_send(&parent->publish, parent->channel) == -ENOMEM)
		(void)!channel_send(parent->channel, CHANNEL_FAILED, "out of memory", -1);
}

static void policies_send(struct parent *parent)
{
	if (parent->channel >= 0)
		(void)!publish_policies_send(&parent->publish, parent->channel);
}

/* `restart`: what else was changed, for which a restart is needed. */
static void fence_send(struct parent *parent, const char *restart)
{
	if (parent->channel >= 0 && parent->fence_fd >= 0)
		(void)!channel_send(parent->channel, CHANNEL_FENCE, restart, parent->fence_fd);
}

static void reload_failed(struct parent *parent, const struct err *err)
{
	if (parent->channel >= 0)
		(void)!channel_send(parent->channel, CHANNEL_FAILED, err->text, -1);
}

static int fence_reload(struct parent *parent, const struct config *fresh, struct err *err)
{
	char restart[CONFIG_RESTART_KEYS_MAX];
	int fd = fence_pack(&fresh->fence);

	if (fd < 0)
		return err_set(err, "fence: %s", strerror(-fd));
	if (parent->fence_fd >= 0)
		close(parent->fence_fd);
	parent->fence_fd = fd;
	(void)config_restart_keys(parent->config, fresh, restart, sizeof(restart));
	fence_send(parent, restart);
	return 0;
}

/* Takes the place of what was published before. */
static void publish_use(struct parent *parent, const struct publish *publish)
{
	publish_free(&parent->publish);
	parent->publish = *publish;
	policies_send(parent);
	material_send(parent);
}

/* What somebody asked for: the configuration is read again, and of it the fence's section and what is
 * published are used. Nothing is put to use before all of it was found good. */
static void reload(struct parent *parent)
{
	struct config *fresh;
	struct publish publish;
	struct err err;

	if (config_open(&fresh, parent->config_path, &err) != 0) {
		reload_failed(parent, &err);
		return;
	}
	if (publish_load(&publish, &parent->config->tls, parent->config, fresh, &err) != 0) {
		config_close(fresh);
		reload_failed(parent, &err);
		return;
	}
	if (fence_reload(parent, fresh, &err) != 0) {
		publish_free(&publish);
		config_close(fresh);
		reload_failed(parent, &err);
		return;
	}
	if (parent->reloaded != NULL)
		config_close(parent->reloaded);
	parent->reloaded = fresh;
	publish_use(parent, &publish);
}

/* Nobody asked: ticket keys are due. A configuration that is being edited is left alone. */
static void tickets_reload(struct parent *parent)
{
	const struct config *config = parent->reloaded != NULL ? parent->reloaded : parent->config;
	struct publish publish;
	struct err err;

	if (publish_load(&publish, &parent->config->tls, parent->config, config, &err) != 0)
		reload_failed(parent, &err);
	else
		publish_use(parent, &publish);
}

/* ---- the child ---- */

static void child_main(struct parent *parent, int channel)
{
	struct child_facts facts = {
		.config_path = parent->config_path,
		.config = parent->config,
		.kernel = &parent->kernel,
		.ring = &parent->ring,
		.workers = parent->workers,
		.listen_fds = parent->listen_fds,
		.control_fd = parent->control_fd,
		.maildir_fds = parent->maildir_fds,
		.state_fd = parent->state_fd,
		.dkim_key = span_of(parent->dkim_key, parent->dkim_key_n),
		.store = parent->store,
		.fence = parent->fence,
		.channel = channel,
		.privileged = parent->privileged,
		.started_real_us = parent->started_real_us,
	};

	close(parent->signal_fd); /* the signals stay blocked: the parent speaks to us */
	publish_free(&parent->publish);
	exit(child_run(&facts));
}

static int child_start(struct parent *parent, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return err_set(err, "socketpair: %s", strerror(errno));
	parent->child = fork();
	if (parent->child == 0) {
		close(pair[0]);
		child_main(parent, pair[1]);
	}
	close(pair[1]);
	if (parent->child < 0) {
		close(pair[0]);
		return err_set(err, "fork: %s", strerror(errno));
	}
	parent->channel = pair[0];
	parent->ready = false;
	parent->child_ms = clock_ms();
	parent->restart_ms = 0;
	policies_send(parent);
	if (parent->publish.material != NULL)
		material_send(parent);
	fence_send(parent, "");
	return 0;
}

static void child_forget(struct parent *parent)
{
	if (parent->channel >= 0)
		close(parent->channel);
	parent->channel = -1;
	parent->child = 0;
}

/* The child is gone: that was asked for, or it is started again after a while. */
static void child_ended(struct parent *parent, int status)
{
	struct event event;

	child_forget(parent);
	if (parent->stop > 0) {
		parent->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		return;
	}
	if (!parent->ever_up) { /* it has said why */
		parent->exit_code = 1;
		parent->stop = 1;
		return;
	}
	if (clock_ms() - parent->child_ms >= RESTART_STEADY_MS)
		parent->back_off_ms = 0;
	parent->back_off_ms = parent->back_off_ms == 0 ? RESTART_MS_MIN : parent->back_off_ms * 2;
	if (parent->back_off_ms > RESTART_MS_MAX)
		parent->back_off_ms = RESTART_MS_MAX;
	parent->restart_ms = clock_ms() + parent->back_off_ms;
	event_open(&event, EVENT_NO_COUNT, "child_died");
	event_str(&event, WIFSIGNALED(status) ? "signal" : "exit",
		WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "error");
	event_u64(&event, "restart_ms", parent->back_off_ms);
	event_close(&event);
}

/* ---- the loop ---- */

static void stop_signal(struct parent *parent)
{
	parent->stop++;
	if (parent->stop == 2)
		parent->kill_ms = clock_ms() + STOP_MS_MAX;
	if (parent->channel >= 0)
		(void)!channel_send(
			parent->channel, parent->stop == 1 ? CHANNEL_DRAIN : CHANNEL_STOP, "", -1);
}

static void reap(struct parent *parent)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == parent->child)
			child_ended(parent, status);
}

static void signal_read(struct parent *parent)
{
	struct signalfd_siginfo info;

	while (read(parent->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(parent);
		else if (info.ssi_signo == SIGHUP)
			reload(parent);
		else
			stop_signal(parent);
	}
}

static void channel_packet(struct parent *parent)
{
	struct channel_packet packet;

	if (channel_receive(parent->channel, &packet) != 0) {
		close(parent->channel); /* SIGCHLD tells the rest */
		parent->channel = -1;
		return;
	}
	if (packet.fd >= 0)
		close(packet.fd);
	switch (packet.kind) {
	case CHANNEL_READY:
		parent->ready = true;
		parent->ever_up = true;
		return;
	case CHANNEL_RELOAD:
		(void)!channel_send(parent->channel, CHANNEL_ANSWER, "", -1);
		reload(parent);
		return;
	case CHANNEL_ASK_DRAIN:
		if (parent->stop == 0)
			stop_signal(parent);
		return;
	default:
		return;
	}
}

static int wait_ms(const struct parent *parent)
{
	uint64_t due = parent->kill_ms != 0 ? parent->kill_ms : parent->restart_ms;
	uint64_t now = clock_ms();

	if (due == 0)
		return TICKET_CHECK_MS;
	return due > now ? (int)(due - now) : 0;
}

static void timed(struct parent *parent)
{
	struct err err;

	if (parent->kill_ms != 0 && clock_ms() >= parent->kill_ms && parent->child > 0) {
		kill(parent->child, SIGKILL);
		parent->kill_ms = 0;
	}
	if (parent->restart_ms != 0 && clock_ms() >= parent->restart_ms && parent->stop == 0 &&
		child_start(parent, &err) != 0) {
		event_text(EVENT_NO_COUNT, "restart_failed", "error", err.text);
		parent->restart_ms = clock_ms() + RESTART_MS_MAX;
	}
	if (parent->publish.material != NULL && parent->ready &&
		tls_material_stale(parent->publish.material))
		tickets_reload(parent);
}

static void loop(struct parent *parent)
{
	while (parent->child > 0 || parent->stop == 0) {
		struct pollfd fds[] = {
			{.fd = parent->signal_fd, .events = POLLIN},
			{.fd = parent->channel, .events = POLLIN},
		};

		if (poll(fds, COUNT_OF(fds), wait_ms(parent)) < 0 && errno != EINTR)
			return;
		if (fds[1].revents != 0 && parent->channel >= 0)
			channel_packet(parent);
		if (fds[0].revents != 0)
			signal_read(parent);
		timed(parent);
	}
}

int parent_run(const char *config_path, const struct config *config)
{
	struct parent parent = {
		.config_path = config_path,
		.config = config,
		.control_fd = -1,
		.state_fd = -1,
		.fence_fd = -1,
		.publish.policies_fd = -1,
		.signal_fd = -1,
		.channel = -1,
		.started_real_us = clock_real_us(),
	};
	struct err err;

	if (config->log.syslog)
		event_target_set(EVENT_TARGET_SYSLOG);
	if (parent_open(&parent, &err) != 0 || child_start(&parent, &err) != 0) {
		config_place(config, &err);
		fprintf(stderr, "postern: %s\n", err.text);
		parent_close(&parent);
		return 1;
	}
	loop(&parent);
	parent_close(&parent);
	event_text(EVENT_NO_COUNT, "stopped", "exit", parent.exit_code == 0 ? "0" : "1");
	return parent.exit_code;
}
