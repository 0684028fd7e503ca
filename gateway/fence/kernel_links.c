/* SPDX-License-Identifier: MIT */
/*
 * kernel_links.c -- puts the programs where packets pass, by bpf_link: what is not pinned goes with
 * the last descriptor, so even after kill -9 nothing stays.
 *
 * A pinned link of the gateway before us is given the new program in one step, without a moment
 * between, if it is still where we would attach: at our cgroup (a service manager may have made a new
 * one), at an interface of that name and number. Otherwise it is detached and another one made.
 * Links of interfaces that are configured no more are detached.
 *
 * Rejected: bpf_prog_attach() and netlink, which stay behind; tc, which needs a qdisc.
 */
#include "fence/kernel-private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINK_INGRESS "link_ingress"
#define LINK_SOCKOPS "link_sockops"
#define LINK_XDP     "link_xdp_"
#define LINK_ANY     "link_"

/* A place for a program. */
struct place {
	char name[sizeof(((struct kernel_link *)0)->name)];
	int program;
	int target; /* descriptor of a cgroup, index of an interface */
	enum bpf_attach_type type;
	uint64_t id; /* of the cgroup or interface */
};

static uint64_t cgroup_id(int cgroup_fd)
{
	struct stat stat;

	return fstat(cgroup_fd, &stat) == 0 ? stat.st_ino : 0;
}

static struct place place_cgroup(
	const char *name, int program, int cgroup_fd, enum bpf_attach_type type)
{
	struct place place = {
		.program = program, .target = cgroup_fd, .type = type, .id = cgroup_id(cgroup_fd)};

	snprintf(place.name, sizeof(place.name), "%s", name);
	return place;
}

/* A bpf file system takes no dot in a name; the name of an interface has no colon. */
static struct place place_xdp(const char *interface, int program)
{
	unsigned index = if_nametoindex(interface);
	struct place place = {
		.program = program, .target = (int)index, .type = BPF_XDP, .id = index};

	snprintf(place.name, sizeof(place.name), LINK_XDP "%s", interface);
	for (char *p = place.name; *p != '\0'; p++)
		if (*p == '.')
			*p = ':';
	return place;
}

/* An interface of another network namespace can have the same number: does the program run at ours? */
static bool xdp_here(unsigned index, uint32_t program)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);

	return bpf_xdp_query((int)index, 0, &opts) == 0 &&
	       (opts.prog_id == program || opts.drv_prog_id == program ||
		       opts.skb_prog_id == program);
}

/* Is the link still there? The kernel says 0 of a cgroup or an interface that has gone. */
static bool link_fits(int fd, const struct place *place)
{
	struct bpf_link_info info = {0};
	uint32_t n = sizeof(info);

	if (place->id == 0 || bpf_obj_get_info_by_fd(fd, &info, &n) != 0)
		return false;
	if (place->type == BPF_XDP)
		return info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == place->id &&
		       xdp_here(info.xdp.ifindex, info.prog_id);
	return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == place->id &&
	       info.cgroup.attach_type == place->type;
}

static void detach(int fd)
{
	(void)bpf_link_detach(fd); /* -ENOLINK: it was no more */
}

/* -1: none that fits. */
static int link_pinned(const struct fence_kernel *kernel, const struct place *place)
{
	char path[PATH_MAX];
	int fd;

	if (kernel->pin_fd < 0 || !kernel_pin_path(kernel, place->name, path))
		return -1;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -1;
	if (link_fits(fd, place) && bpf_link_update(fd, place->program, NULL) == 0)
		return fd;
	detach(fd);
	close(fd);
	(void)unlink(path);
	return -1;
}

/* By the driver if it can, else by the stack. */
static int link_make(const struct place *place)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	int fd;

	if (place->type != BPF_XDP)
		return bpf_link_create(place->program, place->target, place->type, NULL);
	opts.flags = XDP_FLAGS_DRV_MODE;
	fd = bpf_link_create(place->program, place->target, BPF_XDP, &opts);
	if (fd >= 0)
		return fd;
	opts.flags = XDP_FLAGS_SKB_MODE;
	return bpf_link_create(place->program, place->target, BPF_XDP, &opts);
}

static int attach(struct fence_kernel *kernel, const struct place *place, struct err *err)
{
	struct kernel_link *link = &kernel->links[kernel->links_n];
	int fd = link_pinned(kernel, place);
	char path[PATH_MAX];
	bool pinned = fd >= 0;

	ASSERT(kernel->links_n < KERNEL_LINKS_MAX);
	if (!pinned)
		fd = link_make(place);
	if (fd < 0)
		return err_set(err, "the kernel does not attach %s: %s%s", place->name,
			strerror(-fd),
			fd == -EPERM ? " (a program that allows no other sits there, or a "
				       "capability is missing)"
			: fd == -EBUSY || fd == -EEXIST ? " (there is another program)"
							: "");
	link->fd = fd;
	snprintf(link->name, sizeof(link->name), "%s", place->name);
	kernel->links_n++;
	if (pinned || kernel->pin_fd < 0)
		return 0;
	if (!kernel_pin_path(kernel, place->name, path))
		return err_set(err, "pin: the name is too long");
	(void)unlink(path);
	if (bpf_obj_pin(fd, path) != 0)
		return err_set(err, "pin: cannot make %s: %s", path, strerror(errno));
	return 0;
}

static void hook_add(
	struct fence_kernel *kernel, const char *what, const char *name, const char *how)
{
	size_t n = strlen(kernel->hooks);

	snprintf(kernel->hooks + n, sizeof(kernel->hooks) - n, "%s%s%s%s", n > 0 ? " " : "", what,
		name, how);
}

static bool xdp_native(unsigned index)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);

	return bpf_xdp_query((int)index, 0, &opts) == 0 && opts.attach_mode == XDP_ATTACHED_DRV;
}

static bool link_held(const struct fence_kernel *kernel, const char *name)
{
	for (size_t i = 0; i < kernel->links_n; i++)
		if (strcmp(kernel->links[i].name, name) == 0)
			return true;
	return false;
}

static int attach_xdp(
	struct fence_kernel *kernel, const char *interface, int program, struct err *err)
{
	struct place place = place_xdp(interface, program);
	uint32_t index = (uint32_t)place.target;
	uint32_t one = 1;

	if (index == 0)
		return err_set(err, "there is no interface %s", interface);
	if (link_held(kernel, place.name))
		return 0;
	if (attach(kernel, &place, err) != 0)
		return -1;
	if (bpf_map_update_elem(kernel->maps[KERNEL_MAP_INTERFACES], &index, &one, BPF_ANY) != 0)
		return err_set(
			err, "%s: %s", kernel_maps[KERNEL_MAP_INTERFACES].name, strerror(errno));
	hook_add(kernel, "xdp:", interface, xdp_native(index) ? " (native)" : " (generic)");
	return 0;
}

/* Pinned links that we have not taken over. */
static void links_prune(const struct fence_kernel *kernel, const char *prefix)
{
	DIR *folder = kernel->pin_fd < 0 ? NULL : opendir(kernel->pin);
	const struct dirent *entry;
	char path[PATH_MAX];
	int fd;

	if (folder == NULL)
		return;
	while ((entry = readdir(folder)) != NULL) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
			link_held(kernel, entry->d_name) ||
			!kernel_pin_path(kernel, entry->d_name, path))
			continue;
		fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		detach(fd);
		close(fd);
		(void)unlink(path);
	}
	closedir(folder);
}

static bool pinned_fits(const struct fence_kernel *kernel, const struct place *place)
{
	char path[PATH_MAX];
	bool fits;
	int fd;

	if (!kernel_pin_path(kernel, place->name, path))
		return false;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	fits = link_fits(fd, place);
	close(fd);
	return fits;
}

bool kernel_links_ran(const struct fence_kernel *kernel, int cgroup_fd)
{
	struct place ingress = place_cgroup(LINK_INGRESS, -1, cgroup_fd, BPF_CGROUP_INET_INGRESS);
	struct place sockops = place_cgroup(LINK_SOCKOPS, -1, cgroup_fd, BPF_CGROUP_SOCK_OPS);

	return kernel->pin_fd >= 0 && pinned_fits(kernel, &ingress) &&
	       pinned_fits(kernel, &sockops);
}

/* Sockops come before the ingress: a connection that the latter lets in is to be counted. */
int kernel_links_attach(struct fence_kernel *kernel, const struct fence_settings *settings,
	const struct kernel_programs *programs, int cgroup_fd, struct err *err)
{
	struct place ingress =
		place_cgroup(LINK_INGRESS, programs->ingress, cgroup_fd, BPF_CGROUP_INET_INGRESS);
	struct place sockops =
		place_cgroup(LINK_SOCKOPS, programs->sockops, cgroup_fd, BPF_CGROUP_SOCK_OPS);

	hook_add(kernel, "cgroup_skb", "", "");
	hook_add(kernel, "sockops", "", "");
	for (size_t i = 0; i < settings->interfaces_n; i++)
		if (attach_xdp(kernel, settings->interfaces[i], programs->xdp, err) != 0)
			return -1;
	links_prune(kernel, LINK_XDP);
	if (attach(kernel, &sockops, err) != 0 || attach(kernel, &ingress, err) != 0)
		return -1;
	return 0;
}

void kernel_links_close(struct fence_kernel *kernel, bool take_away)
{
	for (size_t i = 0; i < kernel->links_n; i++) {
		if (take_away)
			detach(kernel->links[i].fd);
		close(kernel->links[i].fd);
	}
	kernel->links_n = 0;
	if (take_away)
		links_prune(kernel, LINK_ANY);
}
