/* SPDX-License-Identifier: MIT */
/*
 * bpf_sockops: PASSIVE_ESTABLISHED once for each connection, before its first octet, and the
 * change of state to CLOSE once, however the connection ends. Proves kernel-notes/bpf-sockops.md.
 */
#include "kbpf.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.skel.h"

#define CLASS 6

static struct hooks_bpf *hooks;

/* Enough for a second call that should not come. */
#define QUIET_MS 50

static unsigned operations(uint32_t operation, uint32_t state, uint64_t cookie)
{
	unsigned n = kb_events(hooks);
	unsigned found = 0;

	for (unsigned i = 0; i < n && i < KB_EVENTS_MAX; i++) {
		const struct kb_event *event = &hooks->bss->events[i];

		found += event->hook == KB_SOCKOPS && event->flags == operation &&
			 event->state == state && event->cookie == cookie && event->mark == CLASS;
	}
	return found;
}

static bool closed_once(uint64_t cookie)
{
	uint64_t end = kt_now_ms() + KB_WAIT_MS;

	while (operations(BPF_SOCK_OPS_STATE_CB, TCP_CLOSE, cookie) == 0 && kt_now_ms() < end)
		kb_sleep_ms(1);
	kb_sleep_ms(QUIET_MS);
	return operations(BPF_SOCK_OPS_STATE_CB, TCP_CLOSE, cookie) == 1;
}

static void reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	KT_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
	close(fd);
}

static void client_first(int client, int server)
{
	char octet;

	close(client);
	KT_MUST(read(server, &octet, 1) == 0);
	close(server);
}

static void server_first(int client, int server)
{
	char octet;

	close(server);
	KT_MUST(read(client, &octet, 1) == 0);
	close(client);
}

static void client_resets(int client, int server)
{
	reset(client);
	close(server);
}

static void server_aborts(int client, int server)
{
	reset(server);
	close(client);
}

/* Octets that nobody reads: close() answers them by a reset. */
static void server_closes_unread(int client, int server)
{
	kt_write_all(client, "unread", 6);
	close(server);
	close(client);
}

static void shut_down(int client, int server)
{
	KT_MUST(shutdown(server, SHUT_RDWR) == 0);
	KT_MUST(shutdown(client, SHUT_RDWR) == 0);
	close(server);
	close(client);
}

static const struct {
	const char *name;
	void (*end)(int client, int server);
} endings[] = {
	{"the client closes, then we", client_first},
	{"we close, then the client", server_first},
	{"the client resets", client_resets},
	{"we abort (SO_LINGER 0)", server_aborts},
	{"we close with octets unread", server_closes_unread},
	{"shutdown from both ends", shut_down},
};

static int connected(int listener, int *server)
{
	int client = kb_connect_begin(4, (uint16_t)hooks->bss->port);

	KT_MUST(kb_connected(client, KB_WAIT_MS));
	*server = kb_accept(listener);
	KT_MUST(fcntl(client, F_SETFL, 0) == 0);
	return client;
}

static void beginnings(int listener)
{
	const struct kb_event *events = hooks->bss->events;
	int client, server;
	char octet;

	kb_forget(hooks);
	client = connected(listener, &server);
	kt_write_all(client, "x", 1);
	kt_read_all(server, &octet, 1);
	KT_MUST(kb_await(hooks, 5));
	kt_ok(events[0].hook == KB_INGRESS && events[1].hook == KB_INGRESS &&
			events[2].hook == KB_SOCKOPS && events[3].hook == KB_SOCKOPS &&
			events[4].hook == KB_INGRESS,
		"ingress sees SYN and ACK, then sockops is called, then come the octets");
	kt_ok(events[2].flags == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
			events[2].cookie == kb_cookie(server) && events[2].mark == CLASS,
		"PASSIVE_ESTABLISHED has the child's socket, whose storage is the listener's copy");
	kt_ok(operations(BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, TCP_SYN_RECV, kb_cookie(server)) == 1,
		"it comes once, and its state is SYN_RECV yet");
	kt_ok(events[3].flags == BPF_SOCK_OPS_STATE_CB && events[3].length == TCP_SYN_RECV &&
			events[3].state == TCP_ESTABLISHED,
		"STATE_CB, asked for there, begins with the change to ESTABLISHED");
	client_first(client, server);
}

static void ends(int listener)
{
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
		int server;
		int client = connected(listener, &server);
		uint64_t cookie = kb_cookie(server);

		kb_forget(hooks);
		endings[i].end(client, server);
		kt_ok(closed_once(cookie), "CLOSE comes once, with the storage: %s",
			endings[i].name);
	}
}

static void killed(int listener)
{
	int server;
	int client = connected(listener, &server);
	uint64_t cookie = kb_cookie(server);
	pid_t child;

	kb_forget(hooks);
	child = fork();
	KT_MUST(child >= 0);
	if (child == 0) {
		close(client);
		pause();
		_exit(0);
	}
	close(server);
	kb_sleep_ms(QUIET_MS);
	kt_ok(operations(BPF_SOCK_OPS_STATE_CB, TCP_CLOSE, cookie) == 0,
		"none while another process holds the socket");
	KT_MUST(kill(child, SIGKILL) == 0);
	KT_MUST(waitpid(child, NULL, 0) == child);
	close(client);
	kt_ok(closed_once(cookie), "CLOSE comes once: its process is killed");
}

/* Connections that wait to be accepted when their listener goes. */
static void never_accepted(void)
{
	uint16_t before = (uint16_t)hooks->bss->port;
	struct kb_mark mark = {CLASS, 0};
	unsigned begun = 0, ended = 0;
	uint64_t end;
	uint16_t port;
	int listener = kb_listener(4, &port);
	int client;

	hooks->bss->port = port;
	KT_MUST(bpf_map_update_elem(bpf_map__fd(hooks->maps.marks), &listener, &mark, 0) == 0);
	kb_forget(hooks);
	client = kb_connect_begin(4, port);
	KT_MUST(kb_connected(client, KB_WAIT_MS));
	KT_MUST(kb_await(hooks, 3));
	close(listener);
	end = kt_now_ms() + KB_WAIT_MS;
	do {
		kb_sleep_ms(QUIET_MS);
		begun = ended = 0;
		for (unsigned i = 0; i < kb_events(hooks) && i < KB_EVENTS_MAX; i++) {
			const struct kb_event *event = &hooks->bss->events[i];

			begun += event->hook == KB_SOCKOPS &&
				 event->flags == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
			ended += event->hook == KB_SOCKOPS &&
				 event->flags == BPF_SOCK_OPS_STATE_CB && event->state == TCP_CLOSE;
		}
	} while (ended == 0 && kt_now_ms() < end);
	kt_ok(begun == 1 && ended == 1,
		"one that is never accepted ends, too, when its listener is closed (%u, %u)", begun,
		ended);
	close(client);
	hooks->bss->port = before;
}

static void under_ktls(int listener)
{
	struct kt_keys keys;
	int server;
	int client = connected(listener, &server);
	uint64_t cookie = kb_cookie(server);

	kb_forget(hooks);
	if (kt_ulp(server) < 0) {
		kt_diag("NOT SHOWN here: this kernel has no kernel TLS");
	} else {
		kt_keys_make(&keys, 1);
		KT_MUST(kt_plant(server, TLS_TX, TLS_1_3_VERSION, &kt_ciphers[0], &keys) == 0);
		KT_MUST(kt_plant(server, TLS_RX, TLS_1_3_VERSION, &kt_ciphers[0], &keys) == 0);
		close(client);
		close(server);
		kt_ok(closed_once(cookie), "CLOSE comes once: under kernel TLS");
		return;
	}
	close(client);
	close(server);
}

int main(void)
{
	struct kb_mark mark = {CLASS, 0};
	struct bpf_link *link;
	int listener, client, server;
	uint64_t cookie;
	uint16_t port;

	kb_begin(KB_CGROUP);
	hooks = kb_load();
	kb_attach(hooks->progs.ingress);
	link = kb_attach(hooks->progs.states);
	listener = kb_listener(4, &port);
	hooks->bss->port = port;
	KT_MUST(bpf_map_update_elem(bpf_map__fd(hooks->maps.marks), &listener, &mark, 0) == 0);
	beginnings(listener);
	ends(listener);
	killed(listener);
	never_accepted();
	under_ktls(listener);

	client = connected(listener, &server);
	cookie = kb_cookie(server);
	bpf_link__destroy(link);
	kb_forget(hooks);
	client_first(client, server);
	kb_sleep_ms(QUIET_MS);
	kt_ok(operations(BPF_SOCK_OPS_STATE_CB, TCP_CLOSE, cookie) == 0,
		"nothing comes once the link is closed");
	close(listener);
	hooks_bpf__destroy(hooks);
	return kt_done();
}
