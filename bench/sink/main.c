/* SPDX-License-Identifier: MIT */
/*
 * main.c -- postern-sink: the place where mail ends when mail is only a load.
 *
 * One epoll loop: listeners, a signalfd, connections. SIGUSR1 writes the summary (into --state, or to
 * stdout), SIGTERM and SIGINT write it and end. The first line on stdout says where it listens.
 *
 * Exit codes: 0 done, 1 --check found faults, 2 the command line, a socket or a folder was no good.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/lib/context.h"
#include "bench/sink/sink.h"

#define BACKLOG     4096
#define ACCEPTS_MAX 256 /* of one listener, between two looks at connections */
#define EVENTS_MAX  256
#define TICK_MS     1000
#define FILES_EXTRA 64
#define EXIT_DONE   0
#define EXIT_FAULTS 1
#define EXIT_CANNOT 2

struct listener {
	enum source source;
	int fd;
};

struct loop {
	struct sink sink;
	struct listener listeners[LISTENERS_MAX];
	struct listener signals;
	uint64_t stall_ms; /* when the next stall begins */
};

/* ---- opening ---- */

static int watch(struct sink *sink, struct listener *one, enum source source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data = {.ptr = one}};

	one->source = source;
	return epoll_ctl(sink->epoll, EPOLL_CTL_ADD, one->fd, &event);
}

static int listen_on(struct host *host, struct err *err)
{
	char text[HOST_TEXT_MAX];
	int fd = socket(host->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return err_set(err, "socket: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &host->any, host->n) < 0 || listen(fd, BACKLOG) < 0 ||
		getsockname(fd, &host->any, &host->n) < 0) {
		err_set(err, "%s: %s", host_text(host, text), strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

/* Where descriptors are short, fewer connections: the others are answered 421. */
static void files_raise(struct sink_options *options)
{
	/* Two a connection, when messages are stored. */
	unsigned each = options->store ? 2 : 1;
	rlim_t want = (rlim_t)options->connections_max * each + FILES_EXTRA;
	struct rlimit more = {.rlim_cur = want, .rlim_max = want}, limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
		return;
	if (limit.rlim_max >= want)
		more.rlim_max = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	options->connections_max = limit.rlim_cur > FILES_EXTRA + each
					   ? (uint32_t)(limit.rlim_cur - FILES_EXTRA) / each
					   : 1;
}

static int signals_open(struct loop *loop)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	loop->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return loop->signals.fd < 0 ? -1
				    : watch(&loop->sink, &loop->signals, SOURCE_SIGNAL, EPOLLIN);
}

static int sink_open(struct loop *loop, struct sink_options *options, struct err *err)
{
	struct sink *sink = &loop->sink;

	*sink = (struct sink){.options = options, .folder = -1, .now_ms = clock_ms()};
	list_init(&sink->conns);
	list_init(&sink->pauses);
	list_init(&sink->dead);
	numbers_open(&sink->numbers, options->number_from, options->expected);
	files_raise(options);
	pool_open(&sink->pool, sizeof(struct conn), options->connections_max + ACCEPTS_MAX);
	sink->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (sink->epoll < 0 || signals_open(loop) < 0)
		return err_set(err, "epoll or signalfd: %s", strerror(errno));
	if (options->store) {
		sink->folder = open(options->store, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
		if (sink->folder < 0)
			return err_set(err, "%s: %s", options->store, strerror(errno));
	}
	if (options->tls != SINK_TLS_NONE &&
		context_server(&sink->context, options->chain, options->key, err) < 0)
		return -1;
	for (unsigned i = 0; i < options->listeners_n; i++) {
		loop->listeners[i].fd = listen_on(&options->listeners[i], err);
		if (loop->listeners[i].fd < 0)
			return -1;
		if (watch(sink, &loop->listeners[i], SOURCE_LISTENER, EPOLLIN) < 0)
			return err_set(err, "epoll: %s", strerror(errno));
	}
	return 0;
}

static void say_ready(const struct sink_options *options)
{
	char text[HOST_TEXT_MAX];

	(void)printf("ready");
	for (unsigned i = 0; i < options->listeners_n; i++)
		(void)printf(" %s", host_text(&options->listeners[i], text));
	(void)printf("\n");
	(void)fflush(stdout);
}

/* ---- the loop ---- */

static void accept_some(struct sink *sink, int listener)
{
	for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			conn_open(sink, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void take_signals(struct loop *loop)
{
	struct sink *sink = &loop->sink;
	struct signalfd_siginfo info;

	while (read(loop->signals.fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGUSR1) {
			sink->stop = true;
			continue;
		}
		if ((sink->options->state ? report_state(sink) : report_write(sink, stdout)) < 0)
			(void)fprintf(stderr, "postern-sink: the summary could not be written\n");
	}
}

static void dispatch(struct loop *loop, const struct epoll_event *event)
{
	const enum source *source = event->data.ptr;

	switch (*source) {
	case SOURCE_LISTENER:
		accept_some(&loop->sink, ((struct listener *)event->data.ptr)->fd);
		break;
	case SOURCE_SIGNAL:
		take_signals(loop);
		break;
	case SOURCE_CONN:
		conn_event(event->data.ptr, event->events);
		break;
	}
}

static void run_timers(struct sink *sink)
{
	uint64_t idle_ms = (uint64_t)(sink->options->idle_seconds * 1000);

	while (!list_empty(&sink->pauses)) {
		struct conn *conn = container_of(sink->pauses.next, struct conn, pause);

		if (conn->due_ms > sink->now_ms)
			break;
		conn_resume(conn);
	}
	while (!list_empty(&sink->conns)) {
		struct conn *conn = container_of(sink->conns.next, struct conn, node);

		if (conn->touched_ms + idle_ms > sink->now_ms)
			break;
		sink->counts.timeouts++;
		conn_close(conn);
	}
	while (!list_empty(&sink->dead))
		conn_free(container_of(sink->dead.next, struct conn, node));
}

/* The whole sink stands still, as a server does whose disk or CPU is taken away. */
static void stall(struct loop *loop)
{
	const struct sink_options *options = loop->sink.options;
	const struct timespec pause = {
		.tv_sec = options->stall_ms / 1000, .tv_nsec = options->stall_ms % 1000 * 1000000L};

	if (!options->stall_ms || loop->sink.now_ms < loop->stall_ms)
		return;
	(void)nanosleep(&pause, NULL);
	loop->stall_ms += options->stall_every_ms;
	loop->sink.now_ms = clock_ms();
}

static int wait_ms(const struct loop *loop)
{
	const struct sink *sink = &loop->sink;
	uint64_t until = sink->now_ms + TICK_MS;

	if (!list_empty(&sink->pauses)) {
		uint64_t due = container_of(sink->pauses.next, struct conn, pause)->due_ms;

		until = due < until ? due : until;
	}
	if (sink->options->stall_ms && loop->stall_ms < until)
		until = loop->stall_ms;
	return until > sink->now_ms ? (int)(until - sink->now_ms) : 0;
}

static void run(struct loop *loop)
{
	struct epoll_event events[EVENTS_MAX];
	struct sink *sink = &loop->sink;

	loop->stall_ms = sink->now_ms + sink->options->stall_every_ms;
	while (!sink->stop) {
		int n = epoll_wait(sink->epoll, events, EVENTS_MAX, wait_ms(loop));

		ASSERT(n >= 0 || errno == EINTR);
		sink->now_ms = clock_ms();
		stall(loop);
		for (int i = 0; i < n; i++)
			dispatch(loop, &events[i]);
		run_timers(sink);
	}
}

/* ---- the end ---- */

static void sink_close(struct loop *loop)
{
	struct sink *sink = &loop->sink;

	while (!list_empty(&sink->conns))
		conn_close(container_of(sink->conns.next, struct conn, node));
	while (!list_empty(&sink->dead))
		conn_free(container_of(sink->dead.next, struct conn, node));
	pool_close(&sink->pool);
	numbers_close(&sink->numbers);
	SSL_CTX_free(sink->context);
}

int main(int argc, char **argv)
{
	static struct sink_options options;
	static struct loop loop;
	struct err err = {""};
	int result = EXIT_DONE;

	switch (sink_options_read(&options, argc, argv)) {
	case ARGS_DONE:
		return EXIT_DONE;
	case ARGS_WRONG:
		return EXIT_CANNOT;
	case ARGS_RUN:
		break;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (sink_open(&loop, &options, &err) < 0) {
		(void)fprintf(stderr, "postern-sink: %s\n", err.text);
		return EXIT_CANNOT;
	}
	say_ready(&options);
	run(&loop);
	if (report_write(&loop.sink, stdout) < 0 ||
		(options.state && report_state(&loop.sink) < 0)) {
		(void)fprintf(stderr, "postern-sink: the summary could not be written\n");
		result = EXIT_CANNOT;
	}
	if (options.check && !report_faultless(&loop.sink))
		result = EXIT_FAULTS;
	sink_close(&loop);
	return result;
}
