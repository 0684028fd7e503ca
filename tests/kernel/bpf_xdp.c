/* SPDX-License-Identifier: MIT */
/*
 * bpf_xdp: an XDP program as a link: native on veth, generic on lo; gone with its descriptor, also
 * when the process is killed; a SYN dropped there is seen by no program behind it.
 * Proves kernel-notes/bpf-xdp.md.
 */
#include "kbpf.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.skel.h"

#define HERE          "192.0.2.1"
#define THERE         "192.0.2.2"
#define UNANSWERED_MS 500

static struct hooks_bpf *hooks;

static int attach(const char *interface, uint32_t flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);

	return bpf_link_create(bpf_program__fd(hooks->progs.early), (int)if_nametoindex(interface),
		BPF_XDP, &options);
}

/* enum: XDP_ATTACHED_NONE, _DRV, _SKB. */
static unsigned attached(const char *interface)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, options);

	KT_MUST(bpf_xdp_query((int)if_nametoindex(interface), 0, &options) == 0);
	return options.attach_mode;
}

static bool gone(const char *interface)
{
	uint64_t end = kt_now_ms() + KB_WAIT_MS;

	while (attached(interface) != XDP_ATTACHED_NONE && kt_now_ms() < end)
		kb_sleep_ms(1);
	return attached(interface) == XDP_ATTACHED_NONE;
}

static void modes(void)
{
	int link = attach("lo", XDP_FLAGS_DRV_MODE);

	kt_ok(link < 0 && errno == EOPNOTSUPP, "lo has no native XDP: EOPNOTSUPP");
	link = attach("lo", 0);
	kt_ok(link >= 0 && attached("lo") == XDP_ATTACHED_SKB,
		"asked for no mode the kernel takes the generic one there");
	kt_ok(attach("lo", 0) < 0 && errno == EBUSY, "a second program: EBUSY");
	close(link);
	kt_ok(gone("lo"), "it goes when the link's descriptor is closed");
	link = attach("lo", XDP_FLAGS_SKB_MODE);
	kt_ok(link >= 0 && attached("lo") == XDP_ATTACHED_SKB, "generic, when asked for");
	close(link);
	KT_MUST(gone("lo"));

	link = attach("veth-here", 0);
	kt_ok(link >= 0 && attached("veth-here") == XDP_ATTACHED_DRV,
		"on veth the kernel takes the native one");
	kt_ok(attach("veth-here", XDP_FLAGS_SKB_MODE) < 0 && errno == EEXIST,
		"a generic one beside it: EEXIST");
	close(link);
	kt_ok(gone("veth-here"), "it goes when the link's descriptor is closed");
}

static void killed(const char *interface)
{
	int ready[2];
	pid_t child;
	char octet;

	KT_MUST(pipe(ready) == 0);
	child = fork();
	KT_MUST(child >= 0);
	if (child == 0) {
		if (attach(interface, 0) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	KT_MUST(read(ready[0], &octet, 1) == 1);
	KT_MUST(attached(interface) != XDP_ATTACHED_NONE);
	KT_MUST(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	kt_ok(gone(interface), "%s: it goes when the process is killed", interface);
	close(ready[0]);
	close(ready[1]);
}

static void dropped(const char *interface, const char *address, int client_net, uint32_t flags)
{
	int link = attach(interface, flags);
	int here = kb_this_net();
	int listener, client, server;
	uint16_t port;

	KT_MUST(link >= 0);
	listener = kb_listener_at(address, &port);
	hooks->bss->port = port;
	kb_forget(hooks);
	hooks->bss->xdp_drops = 1;
	kb_enter_net(client_net);
	client = kb_connect_to(address, port);
	kb_enter_net(here);
	close(here);
	kt_ok(!kb_connected(client, UNANSWERED_MS) && kb_count(hooks, KB_XDP, KB_TCP_SYN) == 1 &&
			kb_count(hooks, KB_INGRESS, 0) == 0,
		"%s: a SYN dropped by XDP stays without an answer, cgroup_skb does not see it",
		interface);
	kt_ok(kb_connected(client, KB_WAIT_MS) && kb_count(hooks, KB_XDP, KB_TCP_SYN) == 2 &&
			kb_count(hooks, KB_INGRESS, KB_TCP_SYN) == 1,
		"%s: the client sends it again; passed, it is seen by both", interface);
	server = kb_accept(listener);
	kt_write_all(client, "EHLO", 4);
	kt_read_all(server, (char[4]){0}, 4);
	kt_ok(kb_count(hooks, KB_XDP, KB_TCP_ACK) > 0, "%s: and so are later segments", interface);
	close(client);
	close(server);
	close(listener);
	close(link);
	KT_MUST(gone(interface));
}

int main(void)
{
	int here, other;

	kb_begin(KB_CGROUP);
	hooks = kb_load();
	here = kb_this_net();
	other = kb_other_net();
	kb_veth("veth-here", "veth-there", other);
	kb_address("veth-here", HERE);
	kb_up("veth-here");
	kb_enter_net(other);
	kb_address("veth-there", THERE);
	kb_up("veth-there");
	kb_enter_net(here);

	modes();
	killed("lo");
	killed("veth-here");
	kb_attach(hooks->progs.ingress);
	dropped("veth-here", HERE, other, XDP_FLAGS_DRV_MODE);
	dropped("veth-here", HERE, other, XDP_FLAGS_SKB_MODE);
	dropped("lo", "127.0.0.1", here, 0);
	hooks_bpf__destroy(hooks);
	return kt_done();
}
