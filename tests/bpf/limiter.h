/* SPDX-License-Identifier: MIT */
/* limiter: the gateway's own limiter, by gateway/fence/fence.h, as a place of the table of cases. */
#ifndef POSTERN_TESTS_BPF_LIMITER_H
#define POSTERN_TESTS_BPF_LIMITER_H

#include "tests/bpf/cases.h"

extern const struct case_place place_limiter;

#endif
