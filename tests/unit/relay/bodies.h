/* SPDX-License-Identifier: MIT */
/*
 * bodies.h -- what a peer of dial.h says and hears around a message's octets, for body.c and loan.c.
 */
#ifndef POSTERN_TESTS_RELAY_BODIES_H
#define POSTERN_TESTS_RELAY_BODIES_H

#define QUIT "< QUIT", "> 221 bye", "eof"
#define EHLO "accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250-PIPELINING"
#define BDAT EHLO, "> 250 CHUNKING", "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "> 250 ok", "> 250 ok"
#define DATA                                                                                       \
	EHLO, "> 250 X", "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< DATA", "> 250 ok",            \
		"> 250 ok", "> 354 go"

#endif
