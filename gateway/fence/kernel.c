/* SPDX-License-Identifier: MIT */
/*
 * kernel.c -- loads the programs of bpf/ and puts them to work; says in one line why not.
 *
 * Needs CAP_BPF and CAP_NET_ADMIN. Without CAP_PERFMON the verifier guards against speculation and
 * takes fewer programs (no variable offset into a packet, for one): then its words say so.
 * The order is: what is missing, maps, rules, marks on the listening sockets, the programs, pins. So
 * no program ever runs without rules, and a start that fails leaves nothing attached, but keeps the
 * state of an earlier gateway that is pinned.
 *
 * After the load libbpf's object is let go; descriptors of maps and links are all that stays. Those
 * of the links belong to the parent (fence_child()).
 *
 * Gauges: connections of the gateway before us are counted down as they end if its pinned links
 * were at work all the time and what they count in is taken over; otherwise the gauges begin at 0.
 *
 *	kernel_words.c   what libbpf says when something fails
 *	kernel_cgroup.c  where our cgroup is
 *	kernel_listeners.c  what our sockets are, and where they listen
 *	kernel_pin.c     maps that outlive us
 *	kernel_links.c   attaching
 *	kernel_maps.c    all that is done by descriptor
 */
#include "fence/kernel-private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Headers may be older than the kernel. */
#ifndef CAP_BPF
#define CAP_PERFMON 38
#define CAP_BPF     39
#endif

#include "fence.skel.h"

const struct kernel_map_info kernel_maps[KERNEL_MAPS] = {
	[KERNEL_MAP_RULES] = {"fence_rules", true, false, false},
	[KERNEL_MAP_SOURCES] = {"fence_sources", true, true, false},
	[KERNEL_MAP_TOTALS] = {"fence_totals", true, false, true},
	[KERNEL_MAP_COUNTS] = {"fence_counts", true, false, false},
	[KERNEL_MAP_CLASSES] = {"fence_classes", false, false, false},
	[KERNEL_MAP_SESSIONS] = {"fence_sessions", true, false, true},
	[KERNEL_MAP_BOARD] = {"fence_board", true, false, false},
	[KERNEL_MAP_NETS] = {"fence_nets", true, false, false},
	[KERNEL_MAP_BEHAVED] = {"fence_behaved", true, true, false},
	[KERNEL_MAP_PENALTIES] = {"fence_penalties", true, true, false},
	[KERNEL_MAP_LISTENERS] = {"fence_listeners", false, false, false},
	[KERNEL_MAP_INTERFACES] = {"fence_interfaces", false, false, false},
	[KERNEL_MAP_SAMPLES] = {"fence_samples", false, false, false},
};

/* ---- may we? ---- */

static bool capable(unsigned capability)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (syscall(SYS_capget, &head, data) != 0)
		return true; /* the calls themselves will tell */
	return (data[capability / 32].effective & 1u << capability % 32) != 0;
}

static int may(struct err *err)
{
	bool all = capable(CAP_SYS_ADMIN);
	bool bpf = all || capable(CAP_BPF);
	bool net = all || capable(CAP_NET_ADMIN);
	struct bpf_map_info info;
	uint32_t n = sizeof(info);

	if (bpf_obj_get_info_by_fd(-1, &info, &n) == -ENOSYS)
		return err_set(err, "this kernel has no bpf(2) (CONFIG_BPF_SYSCALL)");
	if (bpf && net)
		return 0;
	return err_set(err,
		"no %s: grant CAP_BPF and CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_BPF "
		"CAP_NET_ADMIN)",
		bpf   ? "CAP_NET_ADMIN"
		: net ? "CAP_BPF"
		      : "CAP_BPF and CAP_NET_ADMIN");
}

/* ---- loading ---- */

static int load_failed(int res, struct err *err)
{
	if (kernel_words_refused())
		return err_set(err, "the kernel's verifier refuses a program: %s%s", kernel_words(),
			capable(CAP_PERFMON)
				? ""
				: " (it asks for less where CAP_PERFMON is granted, too)");
	if (res == -EPERM)
		return err_set(err,
			"bpf(2): %s although the capabilities are there: a container's filter, a "
			"user namespace or kernel lockdown forbids it, or RLIMIT_MEMLOCK is small "
			"(before Linux 5.11)",
			strerror(-res));
	return err_set(err, "cannot load the programs: %s (%s)", strerror(-res),
		kernel_words()[0] != '\0' ? kernel_words() : "no reason given");
}

static int maps_take(struct fence_kernel *kernel, const struct bpf_object *object, struct err *err)
{
	for (size_t i = 0; i < KERNEL_MAPS; i++) {
		int fd = bpf_object__find_map_fd_by_name(object, kernel_maps[i].name);

		if (fd >= 0)
			kernel->maps[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (kernel->maps[i] < 0)
			return err_set(err, "no map %s", kernel_maps[i].name);
	}
	return 0;
}

static int program_fd(const struct bpf_object *object, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(object, name));
}

static int load(struct fence_kernel *kernel, struct bpf_object *object,
	const struct fence_settings *settings, struct fence_rules *rules, int cgroup_fd,
	struct err *err)
{
	struct bpf_map *sources =
		bpf_object__find_map_by_name(object, kernel_maps[KERNEL_MAP_SOURCES].name);
	int res;

	(void)bpf_map__set_max_entries(sources, settings->sources_max);
	if (settings->interfaces_n == 0)
		(void)bpf_program__set_autoload(
			bpf_object__find_program_by_name(object, "fence_xdp"), false);
	kernel_pin_reuse(kernel, object, rules, kernel_links_ran(kernel, cgroup_fd));
	res = bpf_object__load(object);
	if (res != 0)
		return load_failed(res, err);
	return maps_take(kernel, object, err);
}

/* ---- opening and closing ---- */

/* What an earlier gateway left must not mislead the programs. */
static void state_settle(struct fence_kernel *kernel)
{
	if (kernel->reused[KERNEL_MAP_NETS])
		kernel_maps_nets_clean(kernel);
	if (kernel->reused[KERNEL_MAP_SOURCES] && !kernel->reused[KERNEL_MAP_TOTALS])
		kernel_maps_gauges_reset(kernel);
}

static int programs_attach(struct fence_kernel *kernel, const struct bpf_object *object,
	const struct fence_settings *settings, int cgroup_fd, struct err *err)
{
	struct kernel_programs programs = {
		.ingress = program_fd(object, "fence_ingress"),
		.sockops = program_fd(object, "fence_sockops"),
		.xdp = settings->interfaces_n > 0 ? program_fd(object, "fence_xdp") : -1,
	};

	return kernel_links_attach(kernel, settings, &programs, cgroup_fd, err);
}

const char *fence_kernel_hooks(const struct fence_kernel *kernel)
{
	return kernel->hooks;
}

const char *fence_kernel_pin(const struct fence_kernel *kernel)
{
	return kernel->pin[0] != '\0' ? kernel->pin : NULL;
}

void fence_kernel_child(struct fence_kernel *kernel)
{
	kernel_links_close(kernel, false);
	if (kernel->pin_fd >= 0)
		close(kernel->pin_fd);
	kernel->pin_fd = -1;
}

static void kernel_free(struct fence_kernel *kernel, bool detach, bool unpin)
{
	kernel_links_close(kernel, detach);
	if (unpin)
		kernel_pin_remove(kernel);
	kernel_maps_close(kernel);
	if (kernel->pin_fd >= 0)
		close(kernel->pin_fd);
	free(kernel);
}

void fence_kernel_close(struct fence_kernel *kernel, bool detach)
{
	kernel_free(kernel, detach, detach);
}

static struct fence_kernel *kernel_new(void)
{
	struct fence_kernel *kernel = calloc(1, sizeof(*kernel));

	if (kernel == NULL)
		return NULL;
	kernel->pin_fd = -1;
	for (size_t i = 0; i < KERNEL_MAPS; i++)
		kernel->maps[i] = -1;
	return kernel;
}

static int open_all(struct fence_kernel *kernel, struct bpf_object *object,
	const struct fence_settings *settings, struct fence_rules *rules, int cgroup_fd,
	struct err *err)
{
	uint32_t zero = 0;

	if (settings->pin != NULL && kernel_pin_open(kernel, settings->pin, err) != 0)
		return -1;
	if (load(kernel, object, settings, rules, cgroup_fd, err) != 0 ||
		kernel_maps_open(kernel, err) != 0)
		return -1;
	if (bpf_map_update_elem(kernel->maps[KERNEL_MAP_RULES], &zero, rules, BPF_ANY) != 0)
		return err_set(err, "%s: %s", kernel_maps[KERNEL_MAP_RULES].name, strerror(errno));
	return 0;
}

int fence_kernel_open(struct fence_kernel **out, const struct fence_settings *settings,
	struct fence_rules *rules, const struct listener_settings *listeners, size_t listeners_n,
	const int *listen_fds, size_t per_listener, struct err *err)
{
	struct fence_kernel *kernel = NULL;
	struct fence_bpf *skeleton = NULL;
	int cgroup_fd;
	int res = -1;

	kernel_words_begin();
	if (may(err) != 0)
		return -1;
	cgroup_fd = kernel_cgroup_open(err);
	if (cgroup_fd < 0)
		return -1;
	kernel = kernel_new();
	skeleton = fence_bpf__open();
	if (kernel == NULL || skeleton == NULL) {
		err_set(err, "cannot open the programs: %s", strerror(errno));
		goto end;
	}
	if (open_all(kernel, skeleton->obj, settings, rules, cgroup_fd, err) != 0 ||
		kernel_listeners_put(
			kernel, listeners, listeners_n, listen_fds, per_listener, err) != 0)
		goto end;
	state_settle(kernel);
	if (programs_attach(kernel, skeleton->obj, settings, cgroup_fd, err) != 0 ||
		kernel_pin_maps(kernel, err) != 0)
		goto end;
	res = 0;
	*out = kernel;
end:
	fence_bpf__destroy(skeleton);
	close(cgroup_fd);
	if (res != 0 && kernel != NULL)
		kernel_free(kernel, true, false);
	return res;
}
