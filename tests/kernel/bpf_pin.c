/* SPDX-License-Identifier: MIT */
/*
 * bpf_pin: links and maps pinned in a bpffs go on when their process has gone, can be taken up by
 * another, and end with unlink. Proves kernel-notes/bpf-pinning.md.
 */
#include "kbpf.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.skel.h"

static char *path(const char *name)
{
	static char out[4][PATH_MAX];
	static unsigned turn;
	char *one = out[turn++ % 4];

	snprintf(one, PATH_MAX, "%s/%s", kb_bpffs(), name);
	return one;
}

/* The one that sets it up, and is gone. */
static void set_up(void)
{
	pid_t child = fork();
	int status;

	KT_MUST(child >= 0);
	if (child == 0) {
		struct hooks_bpf *hooks = kb_load();
		struct bpf_link *ingress = kb_attach(hooks->progs.ingress);
		struct bpf_link *xdp =
			bpf_program__attach_xdp(hooks->progs.early, (int)if_nametoindex("lo"));

		KT_MUST(xdp != NULL);
		KT_MUST(bpf_link__pin(ingress, path("ingress")) == 0);
		KT_MUST(bpf_link__pin(xdp, path("xdp")) == 0);
		KT_MUST(bpf_map__pin(hooks->maps.marks, path("marks")) == 0);
		KT_MUST(bpf_map__pin(hooks->maps.bss, path("bss")) == 0);
		_exit(0);
	}
	KT_MUST(waitpid(child, &status, 0) == child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == KT_EXIT_UNSUPPORTED)
		_exit(KT_EXIT_UNSUPPORTED);
	KT_MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static uint32_t link_id(const char *name)
{
	struct bpf_link_info info = {0};
	uint32_t length = sizeof info;
	int fd = bpf_obj_get(path(name));

	KT_MUST(fd >= 0);
	KT_MUST(bpf_obj_get_info_by_fd(fd, &info, &length) == 0);
	close(fd);
	return info.id;
}

static uint32_t map_id(const char *name)
{
	struct bpf_map_info info = {0};
	uint32_t length = sizeof info;
	int fd = bpf_obj_get(path(name));

	KT_MUST(fd >= 0);
	KT_MUST(bpf_obj_get_info_by_fd(fd, &info, &length) == 0);
	close(fd);
	return info.id;
}

/* What unlink sets off is done a little later. */
static bool gone(int (*by_id)(uint32_t id), uint32_t id)
{
	uint64_t end = kt_now_ms() + KB_WAIT_MS;
	int fd;

	while ((fd = by_id(id)) >= 0 && kt_now_ms() < end) {
		close(fd);
		kb_sleep_ms(1);
	}
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == ENOENT;
}

/* One connection; how many segments each program saw of it. */
static void traffic(unsigned *ingress, unsigned *xdp)
{
	static struct hooks_bpf__bss bss;
	uint32_t zero = 0;
	int fd = bpf_obj_get(path("bss"));
	int listener, client;
	uint16_t port;

	KT_MUST(fd >= 0);
	listener = kb_listener(4, &port);
	memset(&bss, 0, sizeof bss);
	bss.port = port;
	KT_MUST(bpf_map_update_elem(fd, &zero, &bss, 0) == 0);
	client = kb_connect_begin(4, port);
	KT_MUST(kb_connected(client, KB_WAIT_MS));
	close(client);
	close(listener);
	KT_MUST(bpf_map_lookup_elem(fd, &zero, &bss) == 0);
	close(fd);
	*ingress = *xdp = 0;
	for (unsigned i = 0; i < bss.events_n && i < KB_EVENTS_MAX; i++) {
		*ingress += bss.events[i].hook == KB_INGRESS;
		*xdp += bss.events[i].hook == KB_XDP;
	}
}

/* A link's number goes before its program is called no more, so this takes its time, too. */
static bool quiet(void)
{
	uint64_t end = kt_now_ms() + KB_WAIT_MS;
	unsigned ingress, xdp;

	do {
		traffic(&ingress, &xdp);
	} while (ingress + xdp > 0 && kt_now_ms() < end);
	return ingress + xdp == 0;
}

/* Another program behind the same link, without a moment between. */
static void replaced(void)
{
	struct hooks_bpf *hooks = kb_load();
	int fd = bpf_obj_get(path("ingress"));
	unsigned ingress, xdp;

	KT_MUST(fd >= 0);
	kt_ok(bpf_link_update(fd, bpf_program__fd(hooks->progs.ingress), NULL) == 0,
		"bpf_link_update() puts another program behind a pinned link");
	close(fd);
	kb_forget(hooks);
	traffic(&ingress, &xdp);
	kt_ok(ingress == 0 && xdp > 0, "the old one is not called any more");
	hooks_bpf__destroy(hooks);
}

int main(void)
{
	uint32_t ingress_id, xdp_id, marks_id;
	unsigned ingress, xdp;
	struct stat status;
	int fd;

	kb_begin(KB_CGROUP | KB_BPFFS);
	set_up();
	ingress_id = link_id("ingress");
	xdp_id = link_id("xdp");
	marks_id = map_id("marks");
	traffic(&ingress, &xdp);
	kt_ok(ingress > 0 && xdp > 0, "pinned, both programs go on when their process has gone");
	KT_MUST(stat(path("marks"), &status) == 0);
	kt_ok((status.st_mode & 07777) == 0600 && status.st_uid == 0,
		"a pin is a file of its maker's with mode 0600");
	fd = bpf_obj_get(path("marks"));
	kt_ok(fd >= 0 && bpf_obj_pin(fd, path("marks")) < 0 && errno == EEXIST,
		"a name that is taken: EEXIST");
	close(fd);
	replaced();

	KT_MUST(unlink(path("ingress")) == 0);
	kt_ok(gone(bpf_link_get_fd_by_id, ingress_id), "unlink ends the cgroup's link");
	KT_MUST(unlink(path("xdp")) == 0);
	kt_ok(gone(bpf_link_get_fd_by_id, xdp_id), "and XDP's");
	kt_ok(quiet(), "nothing is called any more");
	KT_MUST(unlink(path("marks")) == 0);
	KT_MUST(unlink(path("bss")) == 0);
	kt_ok(gone(bpf_map_get_fd_by_id, marks_id), "and the map goes with its pin");

	set_up();
	ingress_id = link_id("ingress");
	KT_MUST(umount(kb_bpffs()) == 0);
	kt_ok(gone(bpf_link_get_fd_by_id, ingress_id), "so does everything when the bpffs goes");
	return kt_done();
}
