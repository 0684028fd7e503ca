/* SPDX-License-Identifier: MIT */
/*
 * kbpf: what the bpf_ tests share: a place of their own (network and mount namespace, cgroup), the
 * programs of bpf/hooks.bpf.c and what they saw, connections whose SYN may go unanswered.
 *
 * Nothing is attached outside the test's own cgroup and namespaces, and all of it is gone when the
 * test ends, whichever way.
 */
#ifndef POSTERN_TESTS_KBPF_H
#define POSTERN_TESTS_KBPF_H

#include "bpf/hooks.h"

#include <stdbool.h>
#include <stdint.h>

struct bpf_link;
struct bpf_map;
struct bpf_program;
struct hooks_bpf;

#define KB_WAIT_MS 10000

enum kb_need { KB_CGROUP = 1, KB_BPFFS = 2 };

/*
 * Goes on in a child that has namespaces of its own with lo up, is in a cgroup of its own and dies
 * with the program; the caller's process waits for it, removes the cgroup and ends as it did. Ends
 * with 77 where that is not permitted, or no cgroup2 is mounted.
 */
void kb_begin(unsigned needs);
int kb_cgroup(void);         /* a descriptor of the cgroup */
int kb_cgroup_outside(void); /* of the one it lies in */
const char *kb_bpffs(void);  /* where the test's own bpffs is mounted */
void kb_enter_cgroup(int cgroup);

/* Ends with 77 where the kernel does not let us load at all; -errno of the load else. */
struct hooks_bpf *kb_load(void);
/* As libbpf loads an object: 0, or the program ends: 77 for a lack of rights. */
void kb_loaded(int error, const char *what);
struct bpf_link *kb_attach(struct bpf_program *program);

/* The events since the last kb_forget(); how many. */
unsigned kb_events(const struct hooks_bpf *hooks);
void kb_forget(struct hooks_bpf *hooks);
/* Waits until there are so many. */
bool kb_await(const struct hooks_bpf *hooks, unsigned n);
/* How many have these. flags: all bits of it; hook 0: any. */
unsigned kb_count(const struct hooks_bpf *hooks, enum kb_hook hook, uint32_t flags);
void kb_show(const struct hooks_bpf *hooks);

uint64_t kb_cookie(int fd);
/* 4: 127.0.0.1, 6: ::1. */
int kb_listener(int family, uint16_t *port);
/* Does not wait: its descriptor. */
int kb_connect_begin(int family, uint16_t port);
/* The same for any IPv4 address; begun in the namespace of the caller. */
int kb_listener_at(const char *address, uint16_t *port);
int kb_connect_to(const char *address, uint16_t port);
/* Within ms: connected? */
bool kb_connected(int fd, int ms);
int kb_accept(int listener);

void kb_write_file(const char *path, const char *text);
long kb_netstat(const char *group, const char *name);
void kb_sleep_ms(int ms);

/* A namespace that this process is not in, with lo up: a descriptor. */
int kb_other_net(void);
int kb_this_net(void);
void kb_enter_net(int fd);
/* Makes a pair of veth, `here` in this namespace, `there` in the other one, neither with address. */
void kb_veth(const char *here, const char *there, int other);
void kb_address(const char *interface, const char *address);
void kb_up(const char *interface);

/* Gives up every capability but these bits and becomes uid 65534. */
void kb_drop_to(uint64_t capabilities);

#endif
