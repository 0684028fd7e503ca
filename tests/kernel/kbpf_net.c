/* SPDX-License-Identifier: MIT */
/* kbpf_net: interfaces, addresses and connections for the bpf_ tests. */
#include "kbpf.h"
#include "ktest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void interface_request(unsigned long request, struct ifreq *ask)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	KT_MUST(fd >= 0);
	KT_MUST(ioctl(fd, request, ask) == 0);
	close(fd);
}

void kb_up(const char *interface)
{
	struct ifreq ask = {.ifr_flags = IFF_UP | IFF_RUNNING};

	snprintf(ask.ifr_name, sizeof ask.ifr_name, "%s", interface);
	interface_request(SIOCSIFFLAGS, &ask);
}

void kb_address(const char *interface, const char *address)
{
	struct ifreq ask = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&ask.ifr_addr;

	snprintf(ask.ifr_name, sizeof ask.ifr_name, "%s", interface);
	in->sin_family = AF_INET;
	KT_MUST(inet_pton(AF_INET, address, &in->sin_addr) == 1);
	interface_request(SIOCSIFADDR, &ask);
	in->sin_addr.s_addr = htonl(0xffffff00);
	interface_request(SIOCSIFNETMASK, &ask);
}

int kb_this_net(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	KT_MUST(fd >= 0);
	return fd;
}

void kb_enter_net(int fd)
{
	KT_MUST(setns(fd, CLONE_NEWNET) == 0);
}

int kb_other_net(void)
{
	int here = kb_this_net();
	int other;

	KT_MUST(unshare(CLONE_NEWNET) == 0);
	kb_up("lo");
	other = kb_this_net();
	kb_enter_net(here);
	close(here);
	return other;
}

struct request {
	struct nlmsghdr head;
	struct ifinfomsg info;
	char room[512];
};

static struct rtattr *attribute(
	struct request *request, unsigned short type, const void *data, size_t bytes)
{
	struct rtattr *out =
		(struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));

	out->rta_type = type;
	out->rta_len = (unsigned short)RTA_LENGTH(bytes);
	if (bytes > 0)
		memcpy(RTA_DATA(out), data, bytes);
	request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(out->rta_len);
	return out;
}

static void attribute_end(struct request *request, struct rtattr *outer)
{
	outer->rta_len =
		(unsigned short)((char *)request + request->head.nlmsg_len - (char *)outer);
}

void kb_veth(const char *here, const char *there, int other)
{
	struct request request = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof request.info),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK}};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
	} answer;
	struct ifinfomsg peer_info = {0};
	struct rtattr *link, *data, *peer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	KT_MUST(fd >= 0);
	attribute(&request, IFLA_IFNAME, here, strlen(here) + 1);
	link = attribute(&request, IFLA_LINKINFO, NULL, 0);
	attribute(&request, IFLA_INFO_KIND, "veth", 5);
	data = attribute(&request, IFLA_INFO_DATA, NULL, 0);
	peer = attribute(&request, VETH_INFO_PEER, &peer_info, sizeof peer_info);
	attribute(&request, IFLA_IFNAME, there, strlen(there) + 1);
	attribute(&request, IFLA_NET_NS_FD, &other, sizeof other);
	attribute_end(&request, peer);
	attribute_end(&request, data);
	attribute_end(&request, link);
	KT_MUST(send(fd, &request, request.head.nlmsg_len, 0) == (ssize_t)request.head.nlmsg_len);
	KT_MUST(recv(fd, &answer, sizeof answer, MSG_TRUNC) >= (ssize_t)sizeof answer.head);
	close(fd);
	if (answer.error.error == -EOPNOTSUPP)
		kt_unsupported("no veth");
	errno = -answer.error.error;
	KT_MUST(answer.error.error == 0);
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t loopback(int family, uint16_t port, union address *out)
{
	memset(out, 0, sizeof *out);
	if (family == 6) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons(port);
		out->v6.sin6_addr = in6addr_loopback;
		return sizeof out->v6;
	}
	out->v4.sin_family = AF_INET;
	out->v4.sin_port = htons(port);
	out->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof out->v4;
}

static int listen_at(const union address *address, socklen_t length, uint16_t *port)
{
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union address bound;

	KT_MUST(fd >= 0);
	KT_MUST(bind(fd, &address->any, length) == 0);
	KT_MUST(listen(fd, 64) == 0);
	KT_MUST(getsockname(fd, &bound.any, &length) == 0);
	*port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
	return fd;
}

static int connect_begin(const union address *address, socklen_t length)
{
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	KT_MUST(fd >= 0);
	KT_MUST(connect(fd, &address->any, length) == 0 || errno == EINPROGRESS);
	return fd;
}

static socklen_t given(const char *text, uint16_t port, union address *out)
{
	socklen_t length = loopback(4, port, out);

	KT_MUST(inet_pton(AF_INET, text, &out->v4.sin_addr) == 1);
	return length;
}

int kb_listener(int family, uint16_t *port)
{
	union address address;
	socklen_t length = loopback(family, 0, &address);

	return listen_at(&address, length, port);
}

int kb_connect_begin(int family, uint16_t port)
{
	union address address;
	socklen_t length = loopback(family, port, &address);

	return connect_begin(&address, length);
}

int kb_listener_at(const char *text, uint16_t *port)
{
	union address address;
	socklen_t length = given(text, 0, &address);

	return listen_at(&address, length, port);
}

int kb_connect_to(const char *text, uint16_t port)
{
	union address address;
	socklen_t length = given(text, port, &address);

	return connect_begin(&address, length);
}

bool kb_connected(int fd, int ms)
{
	struct pollfd entry = {.fd = fd, .events = POLLOUT};
	socklen_t length = sizeof(int);
	int error = 0;

	if (poll(&entry, 1, ms) != 1)
		return false;
	KT_MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
	return error == 0;
}

int kb_accept(int listener)
{
	struct pollfd entry = {.fd = listener, .events = POLLIN};
	int fd;

	KT_MUST(poll(&entry, 1, KB_WAIT_MS) == 1);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	KT_MUST(fd >= 0);
	return fd;
}

uint64_t kb_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof cookie;

	KT_MUST(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0);
	return cookie;
}

/* /proc/net/netstat: a line of names, then one of values, both beginning with the group. */
long kb_netstat(const char *group, const char *name)
{
	FILE *file = fopen("/proc/thread-self/net/netstat", "re");
	static char names[8192], values[8192];
	long found = -1;

	KT_MUST(file != NULL);
	while (fgets(names, sizeof names, file) && fgets(values, sizeof values, file)) {
		char *name_rest, *value_rest;
		char *one = strtok_r(names, " \n", &name_rest);
		char *value = strtok_r(values, " \n", &value_rest);

		if (!one || strcmp(one, group) != 0)
			continue;
		while ((one = strtok_r(NULL, " \n", &name_rest)) &&
			(value = strtok_r(NULL, " \n", &value_rest)))
			if (!strcmp(one, name))
				found = strtol(value, NULL, 10);
	}
	fclose(file);
	return found;
}
