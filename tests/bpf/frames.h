/* SPDX-License-Identifier: MIT */
/*
 * frames: Ethernet frames as a test describes them, and the XDP program as a place of the table of
 * cases. What makes connections open and closed there is played by the test.
 */
#ifndef POSTERN_TESTS_BPF_FRAMES_H
#define POSTERN_TESTS_BPF_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bpf/cases.h"

#define FRAME_BYTES_MAX      1514
#define FRAME_EXTENSIONS_MAX 10
#define FRAME_PORT           2525

enum frame_flag { FRAME_FIN = 1, FRAME_SYN = 2, FRAME_RST = 4, FRAME_ACK = 16 };

/* One extension header of IPv6: its number (43, 60, 0, 51, 44) and how many octets it has. */
struct frame_extension {
	uint8_t number;
	uint16_t bytes; /* 0: 8 */
};

struct frame_spec {
	const char *from;   /* decides whether it is IPv4 or IPv6 */
	const char *to;     /* NULL: 127.0.0.1 or ::1 */
	uint16_t port;      /* 0: FRAME_PORT */
	uint16_t from_port; /* 0: 40000 */
	uint32_t seq, ack;
	uint8_t flags;    /* enum frame_flag */
	uint8_t protocol; /* 0: TCP */
	unsigned tags;
	uint16_t tag_type; /* of the outermost; 0: 0x8100 */
	uint16_t type;     /* 0: that of the IP version */
	unsigned options;  /* octets of IPv4 options, a multiple of 4 */
	struct frame_extension extensions[FRAME_EXTENSIONS_MAX];
	uint16_t fragment; /* offset in octets, a multiple of 8 */
	bool more;         /* fragments */
	unsigned payload;  /* octets after the TCP header */
};

struct frame {
	uint8_t data[FRAME_BYTES_MAX];
	size_t n;
	size_t ip, tcp; /* where they begin */
};

void frame_make(struct frame *frame, const struct frame_spec *spec);
/* As it is sent to the XDP program: does it pass? */
bool frame_passes(const struct frame *frame);
/* Writes the length of the IP packet anew, after the frame was cut or made longer. */
void frame_set_length(struct frame *frame, size_t ip_bytes);

extern const struct case_place place_xdp;

#endif
