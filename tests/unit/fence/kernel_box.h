/* SPDX-License-Identifier: MIT */
/*
 * kernel_box.h -- a test process in a cgroup, a network and a mount namespace of its own, so that
 * what it attaches meets nobody else's packets; and children of it that are somebody else, or die.
 */
#ifndef POSTERN_TESTS_FENCE_KERNEL_BOX_H
#define POSTERN_TESTS_FENCE_KERNEL_BOX_H

#include <criterion/criterion.h>
#include <limits.h>

#include "fence/kernel-private.h"

#define BOX_LIMIT_S 60
#define BOX_PIN     "/sys/fs/bpf/postern"

/* For TestSuite: skips the test, aloud, where bpf(2) or one of the namespaces is not permitted. */
void box_open(void);
void box_close(void);
/* A bpf file system at /sys/fs/bpf, seen by this process and its children only. */
void box_bpffs(void);
/* A shell's line; asserts that it ends with 0. */
void box_run(const char *command);
/* Another cgroup below the box's, gone with it; moves this process there. */
void box_cgroup_enter(const char *name);
/* Back into the box's own; the other one is removed. */
void box_cgroup_leave(const char *name);

/* Runs in a child; its result, 0 to 99, or 100 + the signal that ended it. */
int box_child(int (*run)(void *ctx), void *ctx);
/* In such a child: nobody, who has these capabilities only (bits), as from systemd's
 * AmbientCapabilities. 0 or -errno. */
int box_become_nobody(uint64_t capabilities);

/* Settings without any limit, and sources_max 1024. */
struct fence_settings box_settings(void);
/* A listening socket on 127.0.0.1 or ::1, any port. */
int box_listen(int family);
uint16_t box_port(int fd);
/* Two ends of a connection to it. */
struct box_pair {
	int client, server;
};
struct box_pair box_connect(int listener);
/* Connects within a second: 0 or -errno. */
int box_try(int listener);

/* What the kernel calls a program's or link's number; 0: not there. */
uint32_t box_link_id(int link_fd);
uint32_t box_link_program(int link_fd);
bool box_link_lives(uint32_t id);
bool box_program_lives(uint32_t id);
bool box_map_lives(uint32_t id);
uint32_t box_map_id(int map_fd);
/* Waits, for a second at most, until the kernel has let go of it. */
bool box_gone(bool (*lives)(uint32_t id), uint32_t id);

struct network box_network(const char *text);

/* With one listening socket on 127.0.0.1, or none (fd -1). */
int box_kernel_open(struct fence_kernel **out, const struct fence_settings *settings,
	struct fence_rules *rules, int listener, struct err *err);

#endif
