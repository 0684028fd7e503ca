/* SPDX-License-Identifier: MIT */
/*
 * sockets: real connections over loopback to a listening socket of ours, and the programs at the
 * cgroup as a place of the table of cases. Wants the ground of ground.h.
 */
#ifndef POSTERN_TESTS_BPF_SOCKETS_H
#define POSTERN_TESTS_BPF_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bpf/cases.h"

#define SOCKETS_WAIT_MS_MAX 3000

struct pair {
	int client; /* -1: none */
	int server; /* -1: was not let in */
};

/* Attaches fence_ingress and fence_sockops to the ground's cgroup and opens a listening socket, for
 * IPv4 and IPv6, of class PLAIN. */
void sockets_open(void);
void sockets_close(void);
int sockets_listener(void);
uint16_t sockets_port(void);
/* Another listening socket in place of the one that is; without a class. */
void sockets_listen(int family);

/* A client's socket, bound to its address, not yet connected. */
int sockets_client(const char *from);
/* Sends its SYN. */
void sockets_knock(int client);
/* Knocks and waits for the verdict, or for the connection where none is expected (NULL). A client
 * that was refused is closed before it tries again. */
struct pair sockets_connect(int client, enum fence_reason *reason);
/* Sends one segment; waits until `class` has counted it. FENCE_REASONS: it did not. */
enum fence_reason sockets_send(
	const struct pair *pair, const void *data, size_t n, enum fence_class class);
/* Waits until there is something to receive. */
bool sockets_wait(int fd);
/* Both ends, at once. */
void sockets_shut(struct pair *pair);

extern const struct case_place place_cgroup;

#endif
