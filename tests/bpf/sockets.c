/* SPDX-License-Identifier: MIT */
/* sockets: see sockets.h. */
#include "tests/bpf/sockets.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bpf/ground.h"
#include "tests/bpf/rig.h"

#define STEP_MS 2

static struct {
	int listener;
	uint16_t port;
	struct bpf_link *links[2];
} open_now;

void sockets_listen(int family)
{
	struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
	socklen_t n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*v6);
	int off = 0;

	if (open_now.listener >= 0)
		close(open_now.listener);
	open_now.listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	KT_MUST(open_now.listener >= 0);
	if (family == AF_INET6)
		KT_MUST(setsockopt(open_now.listener, IPPROTO_IPV6, IPV6_V6ONLY, &off,
				sizeof(off)) == 0);
	KT_MUST(bind(open_now.listener, (struct sockaddr *)&address, n) == 0);
	KT_MUST(listen(open_now.listener, 64) == 0);
	KT_MUST(getsockname(open_now.listener, (struct sockaddr *)&address, &n) == 0);
	open_now.port = ntohs(v6->sin6_port); /* in the same place in both */
}

void sockets_open(void)
{
	open_now.listener = -1;
	open_now.links[0] =
		bpf_program__attach_cgroup(rig.skel->progs.fence_ingress, ground_cgroup());
	open_now.links[1] =
		bpf_program__attach_cgroup(rig.skel->progs.fence_sockops, ground_cgroup());
	KT_MUST(open_now.links[0] != NULL && open_now.links[1] != NULL);
	sockets_listen(AF_INET6);
	rig_mark(open_now.listener, FENCE_PLAIN);
}

void sockets_close(void)
{
	close(open_now.listener);
	bpf_link__destroy(open_now.links[0]);
	bpf_link__destroy(open_now.links[1]);
}

int sockets_listener(void)
{
	return open_now.listener;
}

uint16_t sockets_port(void)
{
	return open_now.port;
}

int sockets_client(const char *from)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	uint8_t address[16];
	int fd, on = 1;
	bool is_v4;

	case_address(from, address);
	is_v4 = fence_is_v4(address);
	fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	KT_MUST(fd >= 0);
	KT_MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
	KT_MUST(setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) == 0);
	memcpy(&v4.sin_addr, address + 12, 4);
	memcpy(&v6.sin6_addr, address, 16);
	if (is_v4)
		KT_MUST(bind(fd, (struct sockaddr *)&v4, sizeof(v4)) == 0);
	else
		KT_MUST(bind(fd, (struct sockaddr *)&v6, sizeof(v6)) == 0);
	return fd;
}

void sockets_knock(int client)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
		.sin6_port = htons(open_now.port),
		.sin6_addr = in6addr_loopback};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(open_now.port)};
	socklen_t n = sizeof(int);
	int family;

	v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	KT_MUST(getsockopt(client, SOL_SOCKET, SO_DOMAIN, &family, &n) == 0);
	if (family == AF_INET)
		KT_MUST(connect(client, (struct sockaddr *)&v4, sizeof(v4)) == 0 ||
			errno == EINPROGRESS);
	else
		KT_MUST(connect(client, (struct sockaddr *)&v6, sizeof(v6)) == 0 ||
			errno == EINPROGRESS);
}

/* Waits until one of the class's verdicts was counted. */
static enum fence_reason wait_reason(const struct rig_counts *before, enum fence_class class)
{
	int reason = rig_reason_since(before, class);

	for (int ms = 0; ms < SOCKETS_WAIT_MS_MAX && reason == FENCE_REASONS; ms += STEP_MS) {
		poll(NULL, 0, STEP_MS);
		reason = rig_reason_since(before, class);
	}
	KT_MUST(reason >= 0);
	return (enum fence_reason)reason;
}

static bool wait_for(int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	return poll(&poll_fd, 1, SOCKETS_WAIT_MS_MAX) == 1 && (poll_fd.revents & events);
}

bool sockets_wait(int fd)
{
	return wait_for(fd, POLLIN);
}

struct pair sockets_connect(int client, enum fence_reason *reason)
{
	struct pair pair = {client, -1};
	struct rig_counts before;

	rig_counts(&before);
	sockets_knock(client);
	if (reason) {
		*reason = wait_reason(&before, FENCE_NEW);
		if (*reason != FENCE_PASS && *reason != FENCE_ALLOWED) {
			close(client);
			pair.client = -1;
			return pair;
		}
	}
	KT_MUST(wait_for(client, POLLOUT) && wait_for(open_now.listener, POLLIN));
	pair.server = accept4(open_now.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	KT_MUST(pair.server >= 0);
	return pair;
}

enum fence_reason sockets_send(
	const struct pair *pair, const void *data, size_t n, enum fence_class class)
{
	enum fence_reason reason;
	struct rig_counts before;
	char sink[4096];
	int on = 1;

	/* An ACK that is late could bring the segment a second time. */
	KT_MUST(setsockopt(pair->server, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)) == 0);
	rig_counts(&before);
	KT_MUST(send(pair->client, data, n, MSG_NOSIGNAL) == (ssize_t)n);
	reason = wait_reason(&before, class);
	if (reason < FENCE_REASONS && rig_bytes_since(&before, class, reason) != n)
		kt_ok(false, "%zu octets were counted as %llu", n,
			(unsigned long long)rig_bytes_since(&before, class, reason));
	while (recv(pair->server, sink, sizeof(sink), 0) > 0)
		;
	return reason;
}

void sockets_shut(struct pair *pair)
{
	const struct linger at_once = {.l_onoff = 1};
	int *fds[] = {&pair->server, &pair->client};

	for (int i = 0; i < 2; i++) {
		if (*fds[i] < 0)
			continue;
		KT_MUST(setsockopt(*fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
		close(*fds[i]);
		*fds[i] = -1;
	}
}

/* ---- the cgroup as a place ---- */

static struct {
	struct pair pairs[CASE_CLIENTS_MAX];
	enum fence_class classes[CASE_CLIENTS_MAX];
} at;

static void cgroup_begin(const struct fence_case *test, const struct fence_rules *rules)
{
	for (int i = 0; i < CASE_CLIENTS_MAX; i++)
		at.pairs[i] = (struct pair){-1, -1};
	rig_case(test, rules);
}

static enum fence_reason cgroup_send(const struct case_step *step)
{
	static char octets[60000];

	KT_MUST(step->bytes <= sizeof(octets));
	return sockets_send(&at.pairs[step->client], octets, step->bytes, at.classes[step->client]);
}

static void set_class(const struct case_step *step, enum fence_class class)
{
	at.classes[step->client] = class;
	rig_mark(at.pairs[step->client].server, class);
}

static enum fence_reason cgroup_step(const struct case_step *step)
{
	enum fence_reason reason = step->want;

	switch (step->kind) {
	case CASE_CONNECT:
		at.pairs[step->client] = sockets_connect(sockets_client(step->address), &reason);
		at.classes[step->client] = FENCE_PLAIN;
		break;
	case CASE_SEND:
		reason = cgroup_send(step);
		break;
	case CASE_CLOSE:
		sockets_shut(&at.pairs[step->client]);
		break;
	case CASE_SHAKE:
		set_class(step, FENCE_HANDSHAKE);
		break;
	case CASE_SHAKEN:
		set_class(step, FENCE_UPGRADED);
		break;
	case CASE_BROKEN:
	case CASE_END:
		break;
	}
	return reason;
}

static void cgroup_end(const uint8_t source[16], struct case_sum *sum)
{
	struct fence_source state;
	struct fence_totals totals;

	rig_source(source, &state);
	case_sum_of(&state, rig_now_ns(), sum);
	for (int i = 0; i < CASE_CLIENTS_MAX; i++)
		sockets_shut(&at.pairs[i]);
	rig_totals(&totals);
	for (int i = 0; i < FENCE_STANDINGS; i++)
		if (totals.gauge[FENCE_OPEN][i] != 0)
			kt_ok(false, "nothing is open when all is closed");
}

const struct case_place place_cgroup = {
	.name = "cgroup",
	.begin = cgroup_begin,
	.step = cgroup_step,
	.end = cgroup_end,
};
