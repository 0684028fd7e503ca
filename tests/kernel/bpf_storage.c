/* SPDX-License-Identifier: MIT */
/*
 * bpf_storage: socket storage as a session's class: inherited from the listener, written by the
 * socket's descriptor without any capability, seen by the programs, also under kernel TLS.
 * Proves kernel-notes/bpf-socket-storage.md.
 */
#include "kbpf.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.skel.h"

static struct hooks_bpf *hooks;
static int marks, own;

static int put(int map, int fd, uint32_t class, uint32_t other)
{
	struct kb_mark mark = {class, other};

	return bpf_map_update_elem(map, &fd, &mark, BPF_ANY);
}

static int get(int map, int fd, struct kb_mark *mark)
{
	return bpf_map_lookup_elem(map, &fd, mark);
}

/* What the program reads in the storage when an octet comes. */
static uint32_t seen(int client, int server)
{
	unsigned n = kb_events(hooks);
	char octet;

	kt_write_all(client, "x", 1);
	kt_read_all(server, &octet, 1);
	KT_MUST(kb_await(hooks, n + 1));
	for (unsigned i = n; i < kb_events(hooks); i++)
		if (hooks->bss->events[i].length == 1)
			return hooks->bss->events[i].mark;
	return KB_NO_MARK;
}

static void connected(int listener, int *client, int *server)
{
	*client = kb_connect_begin(4, (uint16_t)hooks->bss->port);
	KT_MUST(kb_connected(*client, KB_WAIT_MS));
	*server = kb_accept(listener);
}

static void inherited(int listener)
{
	struct kb_mark mark;
	int client, server, later, later_server;

	KT_MUST(put(marks, listener, 7, 70) == 0);
	KT_MUST(put(own, listener, 8, 80) == 0);
	kb_forget(hooks);
	connected(listener, &client, &server);
	kt_ok(hooks->bss->events[0].flags == KB_TCP_SYN && hooks->bss->events[0].mark == 7,
		"the SYN's program reads the listener's");
	kt_ok(get(marks, server, &mark) == 0 && mark.class == 7 && mark.other == 70,
		"with BPF_F_CLONE the accepted socket begins with a copy of it");
	kt_ok(get(own, server, &mark) < 0 && errno == ENOENT, "without, it has none");
	kt_ok(seen(client, server) == 7, "and the program reads the copy");

	KT_MUST(put(marks, listener, 9, 90) == 0);
	kt_ok(seen(client, server) == 7, "a change of the listener's leaves the copies alone");
	connected(listener, &later, &later_server);
	kt_ok(seen(later, later_server) == 9, "later connections begin with the new one");
	KT_MUST(put(marks, server, 1, 2) == 0);
	kt_ok(seen(client, server) == 1 && seen(later, later_server) == 9,
		"an update by descriptor is seen with the next segment, by that socket only");
	kt_ok(get(marks, server, &mark) == 0 && mark.class == 1 && mark.other == 2,
		"it replaced the whole value");
	kt_ok(get(marks, client, &mark) < 0 && errno == ENOENT, "the client's end has none");
	close(later);
	close(later_server);
	close(client);
	close(server);
}

static void by_cookies(int listener)
{
	long before = kb_netstat("TcpExt:", "SyncookiesRecv");
	int client, server;

	kb_write_file("/proc/sys/net/ipv4/tcp_syncookies", "2");
	KT_MUST(put(marks, listener, 5, 0) == 0);
	connected(listener, &client, &server);
	kt_ok(seen(client, server) == 5 && kb_netstat("TcpExt:", "SyncookiesRecv") == before + 1,
		"a connection made out of a SYN cookie inherits it, too");
	kb_write_file("/proc/sys/net/ipv4/tcp_syncookies", "1");
	close(client);
	close(server);
}

static bool no_bpf_for_all(void)
{
	FILE *file = fopen("/proc/sys/kernel/unprivileged_bpf_disabled", "re");
	int value = 0;

	if (file && fscanf(file, "%d", &value) != 1)
		value = 0;
	if (file)
		fclose(file);
	if (value == 0 && getenv("POSTERN_VM")) {
		kb_write_file("/proc/sys/kernel/unprivileged_bpf_disabled", "2");
		value = 2;
	}
	kt_diag("unprivileged_bpf_disabled = %d", value);
	return value != 0;
}

/* In a process of nobody without capabilities, which inherited the descriptors. */
static void without_capabilities(int listener)
{
	int client, server, status;
	pid_t child;

	connected(listener, &client, &server);
	child = fork();
	KT_MUST(child >= 0);
	if (child == 0) {
		struct kb_mark mark;

		kb_drop_to(0);
		_exit(put(marks, server, 3, 33) < 0              ? 1
			: get(marks, server, &mark) < 0          ? 2
			: bpf_map_delete_elem(own, &server) == 0 ? 3
			: errno != ENOENT                        ? 4
			: bpf_map_get_fd_by_id(1) >= 0           ? 5
			: errno != EPERM                         ? 6
								 : 0);
	}
	KT_MUST(waitpid(child, &status, 0) == child);
	if (!no_bpf_for_all())
		kt_diag("shown for a system that lets everybody use BPF");
	kt_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		"uid 65534 without capabilities reads and writes it by the map's descriptor (%d)",
		WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	kt_ok(seen(client, server) == 3, "and the program sees what it wrote");
	close(client);
	close(server);
}

static void refused(int listener)
{
	int pipes[2];

	KT_MUST(pipe(pipes) == 0);
	kt_ok(put(marks, pipes[0], 1, 1) < 0 && errno == ENOTSOCK, "not a socket: ENOTSOCK");
	close(pipes[0]);
	close(pipes[1]);
	kt_ok(put(marks, 999, 1, 1) < 0 && errno == EBADF, "no such descriptor: EBADF");
	kt_ok(bpf_map_update_elem(marks, &listener, &(struct kb_mark){1, 1}, BPF_NOEXIST) < 0 &&
			errno == EEXIST,
		"BPF_NOEXIST where there is one: EEXIST");
}

static void under_ktls(int listener)
{
	struct kt_keys there, back;
	uint8_t record[KT_RECORD_BYTES_MAX];
	char octet = 0;
	int client, server;
	size_t bytes;

	connected(listener, &client, &server);
	KT_MUST(put(marks, server, 1, 0) == 0);
	if (kt_ulp(server) < 0) {
		kt_diag("NOT SHOWN here: this kernel has no kernel TLS");
		close(client);
		close(server);
		return;
	}
	kt_ok(seen(client, server) == 1, "the storage outlives the attaching of the tls ULP");
	kt_ok(put(marks, server, 2, 0) == 0 && seen(client, server) == 2,
		"an update under the ULP is seen");
	kt_keys_make(&there, 1);
	kt_keys_make(&back, 2);
	KT_MUST(kt_plant(server, TLS_TX, TLS_1_3_VERSION, &kt_ciphers[0], &back) == 0);
	KT_MUST(kt_plant(server, TLS_RX, TLS_1_3_VERSION, &kt_ciphers[0], &there) == 0);
	KT_MUST(put(marks, server, 3, 0) == 0);
	kb_forget(hooks);
	bytes = kt_seal(TLS_1_3_VERSION, &kt_ciphers[0], &there, KT_RECORD_DATA, "x", 1, 0, record);
	kt_write_all(client, record, bytes);
	kt_read_all(server, &octet, 1);
	kt_ok(octet == 'x' && kb_await(hooks, 1) && hooks->bss->events[0].mark == 3 &&
			hooks->bss->events[0].length == bytes,
		"an update with keys planted is seen, and the program meets the sealed record");
	close(client);
	close(server);
}

int main(void)
{
	int listener;
	uint16_t port;

	kb_begin(KB_CGROUP);
	hooks = kb_load();
	kb_attach(hooks->progs.ingress);
	marks = bpf_map__fd(hooks->maps.marks);
	own = bpf_map__fd(hooks->maps.own);
	listener = kb_listener(4, &port);
	hooks->bss->port = port;
	inherited(listener);
	by_cookies(listener);
	without_capabilities(listener);
	refused(listener);
	under_ktls(listener);
	close(listener);
	hooks_bpf__destroy(hooks);
	return kt_done();
}
