/* SPDX-License-Identifier: MIT */
/* sink.c -- see sink.h. One thread a sink, poll over its connections, a lock around its state. */
#include "tests/unit/relay/sink.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define LINE_MAX_N      1024

struct connection {
	int fd; /* -1: free */
	char line[LINE_MAX_N];
	size_t line_n;
	bool lmtp, data, waits; /* waits: a message is whole and not answered */
	unsigned accepted, messages;
};

struct sink {
	pthread_mutex_t lock;
	pthread_t thread;
	bool running, stopping;
	int listen_fd, wake_fd;
	uint16_t port;
	struct connection connections[CONNECTIONS_MAX];
	struct sink_seen seen;
	unsigned unavailable, tired, places;
	bool blocked, leaves;
	char greeting[64], offers[32];
};

static struct sink sinks[SINKS_MAX] = {
	{.lock = PTHREAD_MUTEX_INITIALIZER, .listen_fd = -1},
	{.lock = PTHREAD_MUTEX_INITIALIZER, .listen_fd = -1},
};

static void say(struct connection *connection, const char *line)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "%s\r\n", line);

	if (send(connection->fd, text, (size_t)n, MSG_NOSIGNAL) < 0)
		return; /* the end will be read */
}

static void hang_up(struct sink *sink, struct connection *connection)
{
	if (connection->fd < 0)
		return;
	close(connection->fd);
	connection->fd = -1;
	sink->seen.open--;
}

static void message_end(struct sink *sink, struct connection *connection)
{
	unsigned n = connection->lmtp ? connection->accepted : 1;

	if (sink->blocked) {
		connection->waits = true;
		sink->seen.blocked++;
		return;
	}
	connection->waits = false;
	connection->data = false;
	connection->messages++;
	sink->seen.messages++;
	sink->seen.recipients += connection->accepted;
	for (unsigned i = 0; i < (sink->leaves ? 1 : n); i++)
		say(connection, "250 2.0.0 taken");
	if (!sink->leaves)
		return;
	say(connection, "421 4.3.2 leaving");
	hang_up(sink, connection);
}

static void mail(struct sink *sink, struct connection *connection)
{
	sink->seen.mails++;
	connection->accepted = 0;
	if (sink->tired > 0 && connection->messages >= sink->tired) {
		hang_up(sink, connection);
	} else if (sink->unavailable > 0) {
		sink->unavailable--;
		say(connection, "421 4.3.2 not now");
		hang_up(sink, connection);
	} else {
		say(connection, "250 2.1.0 ok");
	}
}

static void recipient(struct connection *connection, const char *line)
{
	const char *local = strchr(line, '<');

	if (local != NULL && strncasecmp(local + 1, "later", 5) == 0) {
		say(connection, "450 4.2.0 busy");
	} else if (local != NULL && strncasecmp(local + 1, "never", 5) == 0) {
		say(connection, "550 5.1.1 no such user");
	} else {
		connection->accepted++;
		say(connection, "250 2.1.5 ok");
	}
}

static void command(struct sink *sink, struct connection *connection, const char *line)
{
	if (connection->data) {
		if (strcmp(line, ".") == 0)
			message_end(sink, connection);
	} else if (strncasecmp(line, "LHLO", 4) == 0 || strncasecmp(line, "EHLO", 4) == 0) {
		connection->lmtp = line[0] == 'L' || line[0] == 'l';
		say(connection, "250-sink.example.net");
		if (sink->offers[0] != '\0')
			say(connection, sink->offers);
		say(connection, "250 ENHANCEDSTATUSCODES");
	} else if (strncasecmp(line, "MAIL", 4) == 0) {
		mail(sink, connection);
	} else if (strncasecmp(line, "RCPT", 4) == 0) {
		recipient(connection, line);
	} else if (strncasecmp(line, "DATA", 4) == 0) {
		connection->data = connection->accepted > 0;
		say(connection, connection->data ? "354 go on" : "503 5.5.1 no recipients");
	} else if (strncasecmp(line, "QUIT", 4) == 0) {
		sink->seen.quits++;
		say(connection, "221 2.0.0 bye");
		hang_up(sink, connection);
	} else {
		say(connection, "250 2.0.0 ok");
	}
}

static void receive(struct sink *sink, struct connection *connection)
{
	char bytes[4096];
	ssize_t n = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		hang_up(sink, connection);
		return;
	}
	for (ssize_t i = 0; i < n && connection->fd >= 0; i++) {
		if (bytes[i] != '\n') {
			if (connection->line_n < LINE_MAX_N - 1)
				connection->line[connection->line_n++] = bytes[i];
			continue;
		}
		connection->line[connection->line_n] = '\0';
		if (connection->line_n > 0 && connection->line[connection->line_n - 1] == '\r')
			connection->line[connection->line_n - 1] = '\0';
		connection->line_n = 0;
		command(sink, connection, connection->line);
	}
}

static void admit(struct sink *sink)
{
	int fd = accept4(sink->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	int one = 1;

	if (fd < 0)
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *connection = &sink->connections[i];

		if (connection->fd >= 0)
			continue;
		*connection = (struct connection){.fd = fd};
		sink->seen.connections++;
		if (++sink->seen.open > sink->seen.open_max)
			sink->seen.open_max = sink->seen.open;
		if (sink->places > 0 && sink->seen.open > sink->places) {
			say(connection, "421 4.3.2 too many");
			hang_up(sink, connection);
			return;
		}
		say(connection, sink->greeting[0] != '\0' ? sink->greeting : "220 sink");
		return;
	}
	close(fd);
}

static void *sink_main(void *arg)
{
	struct sink *sink = arg;
	struct pollfd fds[CONNECTIONS_MAX + 2];
	uint64_t one;

	for (;;) {
		fds[0] = (struct pollfd){.fd = sink->listen_fd, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = sink->wake_fd, .events = POLLIN};
		for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
			fds[i + 2] =
				(struct pollfd){.fd = sink->connections[i].fd, .events = POLLIN};
		(void)poll(fds, CONNECTIONS_MAX + 2, -1);
		pthread_mutex_lock(&sink->lock);
		if (fds[1].revents != 0)
			(void)!read(sink->wake_fd, &one, sizeof(one));
		if (sink->stopping)
			break;
		for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
			struct connection *connection = &sink->connections[i];

			if (connection->fd >= 0 && connection->waits && !sink->blocked)
				message_end(sink, connection);
			if (fds[i + 2].revents != 0 && connection->fd >= 0)
				receive(sink, connection);
		}
		if (fds[0].revents != 0)
			admit(sink);
		pthread_mutex_unlock(&sink->lock);
	}
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		hang_up(sink, &sink->connections[i]);
	pthread_mutex_unlock(&sink->lock);
	return NULL;
}

static void wake(struct sink *sink)
{
	uint64_t one = 1;

	cr_assert(write(sink->wake_fd, &one, sizeof(one)) == sizeof(one));
}

void sink_start(unsigned i)
{
	struct sink *sink = &sinks[i];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(sink->port)};
	socklen_t n = sizeof(address);
	int one = 1;

	cr_assert(!sink->running);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sink->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(sink->listen_fd >= 0);
	cr_assert(setsockopt(sink->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	cr_assert(
		bind(sink->listen_fd, (struct sockaddr *)&address, n) == 0, "%s", strerror(errno));
	cr_assert(listen(sink->listen_fd, 128) == 0);
	cr_assert(getsockname(sink->listen_fd, (struct sockaddr *)&address, &n) == 0);
	sink->port = ntohs(address.sin_port);
	sink->wake_fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned k = 0; k < CONNECTIONS_MAX; k++)
		sink->connections[k].fd = -1;
	sink->stopping = false;
	sink->running = true;
	cr_assert(pthread_create(&sink->thread, NULL, sink_main, sink) == 0);
}

uint16_t sink_open(unsigned i)
{
	struct sink *sink = &sinks[i];

	sink->port = 0;
	sink->seen = (struct sink_seen){0};
	sink->unavailable = sink->tired = sink->places = 0;
	sink->blocked = sink->leaves = false;
	sink->offers[0] = '\0';
	sink->greeting[0] = '\0';
	sink_start(i);
	return sink->port;
}

void sink_stop(unsigned i)
{
	struct sink *sink = &sinks[i];

	if (!sink->running)
		return;
	pthread_mutex_lock(&sink->lock);
	sink->stopping = true;
	pthread_mutex_unlock(&sink->lock);
	wake(sink);
	pthread_join(sink->thread, NULL);
	close(sink->listen_fd);
	close(sink->wake_fd);
	sink->running = false;
}

void sink_close(unsigned i)
{
	sink_stop(i);
	sinks[i].port = 0;
}

struct sink_seen sink_seen(unsigned i)
{
	struct sink_seen seen;

	pthread_mutex_lock(&sinks[i].lock);
	seen = sinks[i].seen;
	pthread_mutex_unlock(&sinks[i].lock);
	return seen;
}

#define SET(i, what)                                                                               \
	do {                                                                                       \
		pthread_mutex_lock(&sinks[i].lock);                                                \
		what;                                                                              \
		pthread_mutex_unlock(&sinks[i].lock);                                              \
		if (sinks[i].running)                                                              \
			wake(&sinks[i]);                                                           \
	} while (0)

void sink_unavailable(unsigned i, unsigned n)
{
	SET(i, sinks[i].unavailable = n);
}

void sink_tired(unsigned i, unsigned messages)
{
	SET(i, sinks[i].tired = messages);
}

void sink_block(unsigned i)
{
	SET(i, sinks[i].blocked = true);
}

void sink_go(unsigned i)
{
	SET(i, sinks[i].blocked = false);
}

void sink_places(unsigned i, unsigned n)
{
	SET(i, sinks[i].places = n);
}

void sink_greeting(unsigned i, const char *line)
{
	SET(i, snprintf(sinks[i].greeting, sizeof(sinks[i].greeting), "%s", line));
}

void sink_leaves(unsigned i, bool leaves)
{
	SET(i, sinks[i].leaves = leaves);
}

void sink_offers(unsigned i, const char *keyword)
{
	SET(i, snprintf(sinks[i].offers, sizeof(sinks[i].offers), "250-%s", keyword));
}
