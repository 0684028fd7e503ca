/* SPDX-License-Identifier: MIT */
/*
 * peer.h -- a next hop that follows a script, on a thread of its own; for the tests of client.c.
 *
 * A script is an array of steps that ends with NULL:
 *
 *	"accept"	the next connection
 *	"> TEXT"	says TEXT and CRLF
 *	">> TEXT"	says TEXT as it is
 *	"< TEXT"	hears a line that is TEXT; a '*' at the end stands for anything
 *	"quiet"		nothing has come that was not heard
 *	"data"		hears octets up to CRLF.CRLF, that included
 *	"octets N"	hears N octets
 *	"skip"		hears some octets, whatever they are
 *	"pause"		waits until peer_go()
 *	"tls"		is the server of a TLS handshake
 *	"tls fails"	the same, and fails
 *	"in clear"	hears octets as the socket has them, while it goes on to say TLS: what there is to
 *			see where sending is believed to be in the kernel
 *	"eof"		hears nothing more to the end of the stream
 *	"gone"		hears whatever comes to the end of the stream, or a reset
 *	"close"		closes; "reset" in such a way that the other side gets an RST
 *
 * What "data" and "octets" hear is kept, one after the other. The first step that goes wrong ends
 * the script; peer_close() then fails the test with its words.
 */
#ifndef POSTERN_TESTS_RELAY_PEER_H
#define POSTERN_TESTS_RELAY_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#define PEER_HEARD_MAX (8u << 20)

/* 127.0.0.1, or a Unix socket; the script is followed at once. */
void peer_open(const char *const *script, bool unix_socket);
void peer_address(struct sockaddr_storage *address, socklen_t *n);
void peer_go(void);
/* The number of the step that is under way; the first is 0. */
size_t peer_step(void);
/* The last step is under way: all that was to be heard before it was, and all was said. */
bool peer_at_last(void);
/* Waits for the script's end. */
void peer_close(void);
/* The same, whatever went wrong. */
void peer_abandon(void);
/* What was heard as octets; valid until the next peer_open(). */
const uint8_t *peer_heard(size_t *n);
/* The certificate of "tls": mx.example.org, self-signed, made once. */
const char *peer_certificate_file(void);

#endif
