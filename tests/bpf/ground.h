/* SPDX-License-Identifier: MIT */
/*
 * ground: where a test's sockets live: a network namespace of its own, in which the networks of the
 * table of cases are local addresses, and a cgroup of its own, to which programs can be attached
 * without meeting anybody else's sockets.
 *
 * The test runs in a child; its parent takes the cgroup away when it is gone, whichever way it went.
 */
#ifndef POSTERN_TESTS_BPF_GROUND_H
#define POSTERN_TESTS_BPF_GROUND_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* Runs `test` on a ground of its own; the value for main() to return. Ends with 77 where there is
 * no cgroup v2 to be had, or no namespace. */
int ground_run(int (*test)(void));
/* Inside of test: the cgroup's folder, as a descriptor. */
int ground_cgroup(void);
/* Sockets that are made from now on belong to the ground's cgroup (as they do at first), or to the
 * one above it. */
void ground_move(bool inside);

#endif
