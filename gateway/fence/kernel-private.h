/* SPDX-License-Identifier: MIT */
/* kernel-private.h -- what the files kernel*.c share, and nobody else. */
#ifndef POSTERN_FENCE_KERNEL_PRIVATE_H
#define POSTERN_FENCE_KERNEL_PRIVATE_H

#include <limits.h>
#include <linux/bpf.h>

#include "fence/fence-private.h"

struct bpf_object;
struct bpf_program;
struct ring_buffer;

enum kernel_map {
	KERNEL_MAP_RULES,
	KERNEL_MAP_SOURCES,
	KERNEL_MAP_TOTALS,
	KERNEL_MAP_COUNTS,
	KERNEL_MAP_CLASSES,
	KERNEL_MAP_SESSIONS,
	KERNEL_MAP_BOARD,
	KERNEL_MAP_NETS,
	KERNEL_MAP_BEHAVED,
	KERNEL_MAP_PENALTIES,
	KERNEL_MAP_LISTENERS,
	KERNEL_MAP_INTERFACES,
	KERNEL_MAP_SAMPLES,
	KERNEL_MAPS
};

/* What it is called, and whether it outlives us where the fence is pinned. What concerns one
 * gateway's sockets and reader (classes, listeners, interfaces, samples) is made anew each time. */
struct kernel_map_info {
	const char *name;
	bool pinned;
	bool by_source; /* worthless when a source is another prefix than it was */
	bool counts;    /* worthless when connections ended and nobody counted */
};
extern const struct kernel_map_info kernel_maps[KERNEL_MAPS];

#define KERNEL_LINKS_MAX (2 + FENCE_INTERFACES_MAX)

struct kernel_link {
	int fd;
	char name[40]; /* of the pin */
};

struct fence_kernel {
	int maps[KERNEL_MAPS];
	bool reused[KERNEL_MAPS]; /* pinned by an earlier gateway */
	struct kernel_link links[KERNEL_LINKS_MAX];
	size_t links_n;
	int pin_fd; /* the folder; -1: not pinned */
	char pin[PATH_MAX];
	char hooks[FENCE_HOOKS_MAX];
	const struct fence_totals *totals;
	const struct fence_board *board;
	unsigned cpus;
	struct fence_count *per_cpu; /* of one key */
	struct kernel_batch *batch;
	struct ring_buffer *samples;
	struct fence_sample *samples_out; /* while they are read */
	size_t samples_n, samples_max;
};

/* ---- kernel_words.c: what libbpf and the kernel say when something fails ---- */

/* Collects from now on, having forgotten what was before; until then libbpf prints nothing either. */
void kernel_words_begin(void);
/* One message of libbpf's; a verifier's log is cut down to the line that says what is wrong. */
void kernel_words_take(const char *text);
/* The best of them, without a newline; "" if there was none. */
const char *kernel_words(void);
/* It is the verifier's. */
bool kernel_words_refused(void);

/* ---- kernel_cgroup.c: the cgroup v2 that we are in ---- */

/* Finds its folder in the texts of /proc/self/mountinfo and /proc/self/cgroup. */
MUST_USE int kernel_cgroup_find(
	const char *mounts, const char *cgroups, char out[PATH_MAX], struct err *err);
/* Opens it: a descriptor, or -1 and err. */
MUST_USE int kernel_cgroup_open(struct err *err);

/* ---- kernel_listeners.c: our listening sockets ---- */

MUST_USE int kernel_listeners_put(struct fence_kernel *kernel,
	const struct listener_settings *listeners, size_t listeners_n, const int *fds,
	size_t per_listener, struct err *err);

/* ---- kernel_pin.c: the folder in a bpf file system ---- */

/* Opens the folder, which is made if it is not there. */
MUST_USE int kernel_pin_open(struct fence_kernel *kernel, const char *pin, struct err *err);
/* Before the object is loaded: the maps that lie there and fit are its own. Rules get their key.
 * `links_ran`: as kernel_links_ran() says. */
void kernel_pin_reuse(struct fence_kernel *kernel, const struct bpf_object *object,
	struct fence_rules *rules, bool links_ran);
/* Afterwards: the other ones are put there. */
MUST_USE int kernel_pin_maps(struct fence_kernel *kernel, struct err *err);
void kernel_pin_remove(struct fence_kernel *kernel);
/* PATH_MAX octets; false: too long. */
MUST_USE bool kernel_pin_path(
	const struct fence_kernel *kernel, const char *name, char out[PATH_MAX]);

/* ---- kernel_links.c: programs where packets pass ---- */

/* The programs' descriptors; xdp -1: none. */
struct kernel_programs {
	int ingress;
	int sockops;
	int xdp;
};
/* Attaches, or gives pinned links their new program. */
MUST_USE int kernel_links_attach(struct fence_kernel *kernel, const struct fence_settings *settings,
	const struct kernel_programs *programs, int cgroup_fd, struct err *err);
/* With `detach` nothing of it runs any more, whoever else has the descriptors, and no pin stays. */
void kernel_links_close(struct fence_kernel *kernel, bool detach);
/* Do pinned links run at this cgroup? */
bool kernel_links_ran(const struct fence_kernel *kernel, int cgroup_fd);

/* ---- kernel_maps.c ---- */

/* Buffers, mapped memory, the ring buffer. */
MUST_USE int kernel_maps_open(struct fence_kernel *kernel, struct err *err);
void kernel_maps_close(struct fence_kernel *kernel);
/* Gauges of sources, which nobody counts down any more. */
void kernel_maps_gauges_reset(struct fence_kernel *kernel);
/* The configuration's networks of the gateway before us. */
void kernel_maps_nets_clean(struct fence_kernel *kernel);

#endif
