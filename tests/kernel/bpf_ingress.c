/* SPDX-License-Identifier: MIT */
/*
 * bpf_ingress: what a cgroup_skb/ingress program sees of a connection, as which socket, and what
 * becomes of a SYN that it refuses. Proves kernel-notes/bpf-cgroup-ingress.md.
 */
#include "kbpf.h"
#include "ktest.h"

#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hooks.skel.h"

/* The client sends its SYN again after 1 s. */
#define UNANSWERED_MS 500

static struct hooks_bpf *hooks;

static const struct kb_event *event(unsigned i)
{
	return &hooks->bss->events[i];
}

static void listen_anew(int family, int *listener)
{
	uint16_t port;

	*listener = kb_listener(family, &port);
	hooks->bss->port = port;
	kb_forget(hooks);
}

/* SYN, ACK, four octets, FIN: by which socket each is seen. */
static void seen_as(int family, const char *how)
{
	int listener, client, server;

	listen_anew(family, &listener);
	client = kb_connect_begin(family, (uint16_t)hooks->bss->port);
	KT_MUST(kb_connected(client, KB_WAIT_MS));
	server = kb_accept(listener);
	kt_write_all(client, "EHLO", 4);
	KT_MUST(kb_await(hooks, 3));
	kt_ok(event(0)->flags == KB_TCP_SYN && event(0)->state == TCP_LISTEN &&
			event(0)->cookie == kb_cookie(listener),
		"IPv%d, %s: the SYN comes with the listener, in state LISTEN", family, how);
	kt_ok(event(1)->flags == KB_TCP_ACK && event(1)->state == TCP_LISTEN &&
			event(1)->cookie == kb_cookie(listener),
		"IPv%d, %s: so does the ACK that ends the handshake", family, how);
	kt_ok(event(2)->length == 4 && event(2)->state == TCP_ESTABLISHED &&
			event(2)->cookie == kb_cookie(server),
		"IPv%d, %s: octets come with the child, ESTABLISHED", family, how);
	close(client);
	KT_MUST(kb_await(hooks, 4));
	kt_ok((event(3)->flags & KB_TCP_FIN) && event(3)->cookie == kb_cookie(server),
		"IPv%d, %s: and so does the FIN", family, how);
	close(server);
	close(listener);
}

static void refused(int family)
{
	uint64_t begun = kt_now_ms();
	int listener, client, server;

	listen_anew(family, &listener);
	hooks->bss->ingress_drops = 1;
	client = kb_connect_begin(family, (uint16_t)hooks->bss->port);
	kt_ok(!kb_connected(client, UNANSWERED_MS) && kb_count(hooks, KB_INGRESS, KB_TCP_SYN) == 1,
		"IPv%d: a SYN for which 0 is returned stays without an answer", family);
	kt_ok(kb_connected(client, KB_WAIT_MS) && kb_count(hooks, KB_INGRESS, KB_TCP_SYN) == 2,
		"IPv%d: the client sends it again and is let in by the second", family);
	kt_diag("connected after %llu ms", (unsigned long long)(kt_now_ms() - begun));
	server = kb_accept(listener);
	close(client);
	close(server);
	close(listener);
}

static void cookies(void)
{
	long before = kb_netstat("TcpExt:", "SyncookiesRecv");

	kb_write_file("/proc/sys/net/ipv4/tcp_syncookies", "2");
	seen_as(4, "SYN cookies");
	seen_as(6, "SYN cookies");
	kt_ok(kb_netstat("TcpExt:", "SyncookiesRecv") == before + 2,
		"and both were connections made out of a SYN cookie");
	refused(4);
	kb_write_file("/proc/sys/net/ipv4/tcp_syncookies", "1");
}

/* A socket is of the cgroup in which its process was when it made it, and stays there. */
static void whose(void)
{
	int listener, client, server;

	kb_enter_cgroup(kb_cgroup_outside());
	listen_anew(4, &listener);
	kb_enter_cgroup(kb_cgroup());
	client = kb_connect_begin(4, (uint16_t)hooks->bss->port);
	KT_MUST(kb_connected(client, KB_WAIT_MS));
	server = kb_accept(listener);
	kt_write_all(client, "EHLO", 4);
	kt_read_all(server, (char[4]){0}, 4);
	kt_ok(kb_events(hooks) == 0,
		"nothing is seen of a listener made outside the cgroup, nor of its children");
	close(client);
	close(server);
	close(listener);

	listen_anew(4, &listener);
	kb_enter_cgroup(kb_cgroup_outside());
	client = kb_connect_begin(4, (uint16_t)hooks->bss->port);
	KT_MUST(kb_connected(client, KB_WAIT_MS));
	server = kb_accept(listener);
	kt_write_all(client, "EHLO", 4);
	kt_ok(kb_await(hooks, 3) && event(2)->cookie == kb_cookie(server),
		"one made inside is still seen when its process has left, and so are its children");
	kb_enter_cgroup(kb_cgroup());
	close(client);
	close(server);
	close(listener);
}

int main(void)
{
	struct bpf_link *link;
	int listener, client;

	kb_begin(KB_CGROUP);
	hooks = kb_load();
	link = kb_attach(hooks->progs.ingress);
	seen_as(4, "plain");
	seen_as(6, "plain");
	refused(4);
	refused(6);
	cookies();
	whose();

	listen_anew(4, &listener);
	bpf_link__destroy(link);
	client = kb_connect_begin(4, (uint16_t)hooks->bss->port);
	kt_ok(kb_connected(client, KB_WAIT_MS) && kb_events(hooks) == 0,
		"nothing is seen once the link is closed");
	close(client);
	close(listener);
	hooks_bpf__destroy(hooks);
	return kt_done();
}
