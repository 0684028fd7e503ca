/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* maps.h -- what maps.bpf.c and the tests share. */
#ifndef POSTERN_TESTS_MAPS_H
#define POSTERN_TESTS_MAPS_H

#include <linux/types.h>

#define KB_LRU_MAX       1024
#define KB_NETS_MAX      8
#define KB_RING_BYTES    4096
#define KB_BOARD_WORDS   1024
#define KB_GCRA_TRIES    8
#define KB_GCRA_INTERVAL 1000

struct kb_net_key {
	__u32 bits;
	__u8 address[16];
};

struct kb_sample {
	__u64 number;
	__u8 rest[24];
};

#endif
