/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* hooks.h -- what hooks.bpf.c tells the tests: one event a call, in the order of the calls. */
#ifndef POSTERN_TESTS_HOOKS_H
#define POSTERN_TESTS_HOOKS_H

#include <linux/types.h>

#define KB_EVENTS_MAX 512
#define KB_NO_MARK    0xffffffffu

enum kb_hook { KB_XDP = 1, KB_INGRESS, KB_SOCKOPS };

/* What socket storage holds: two words, to see what an update leaves of the other. */
struct kb_mark {
	__u32 class;
	__u32 other;
};

struct kb_event {
	__u64 cookie; /* of the socket; 0: none */
	__u32 hook;   /* enum kb_hook */
	__u32 state;  /* of the socket: TCP_LISTEN ...; sockops: the new one */
	__u32 flags;  /* octet 13 of the TCP header; sockops: the operation */
	__u32 length; /* octets behind the TCP header; sockops: the old state */
	__u32 mark;   /* class in the socket's storage or KB_NO_MARK */
	__u32 pad;
};

#define KB_TCP_FIN 0x01
#define KB_TCP_SYN 0x02
#define KB_TCP_RST 0x04
#define KB_TCP_ACK 0x10

#endif
