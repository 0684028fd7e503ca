/* SPDX-License-Identifier: MIT */
/*
 * harness.h -- what the tests of web/ share: a certificate authority made at run time and leaves of it,
 * settings around them, a worker on a ring of its own, and clients on a socket pair.
 *
 * A client is OpenSSL over memory: client_turn() moves octets between it and its socket without blocking
 * while the ring turns. The clock stands still until it is moved.
 */
#ifndef POSTERN_TESTS_UNIT_WEB_HARNESS_H
#define POSTERN_TESTS_UNIT_WEB_HARNESS_H

#include <criterion/criterion.h>
#include <openssl/ssl.h>

#include "web/web-private.h"

#define LIMIT_S 30

#define MX_NAME   "mx.example.org"
#define DOMAIN    "example.org"
#define HOST      "mta-sts.example.org"
#define GET(host) "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: " host "\r\n\r\n"

/* ---- certificates ---- */

/* Both return paths that are valid for the process; the files go with it. */
const char *ca_file(void);
/* Writes a chain (the CA's certificate behind it) and its key; `names` as in "DNS:a,DNS:b". */
void leaf_make(const char *file, const char *names, int days);
const char *path_of(const char *file, const char *end); /* end: ".pem", ".key" */

/* ---- settings ---- */

struct setting {
	struct config config;
	struct certificate_settings certificates[4];
	const char *names[2];
	struct sts_settings sts[2];
	const char *mx[2];
};

/* A default certificate "mx" for MX_NAME and one "host" for HOST; the policy of DOMAIN, enforce. */
void setting_fill(struct setting *setting);
struct tls_material *material_load(const struct setting *setting);
struct web_policies *policies_of(const struct sts_settings *sts, size_t n);

/* ---- a worker ---- */

extern struct web_worker *worker;
extern struct ring *ring;
extern struct fence *fence;
extern unsigned ended; /* connections that are over */

void worker_open(void);
void worker_close(void); /* ends every connection first */
void pass(uint64_t ms);  /* the clock goes on; timers fire at the next turn */
void turn(void);         /* one turn of the ring, without waiting */
/* The log since worker_open(), for what it says. */
bool logged(const char *text);

/* ---- a client ---- */

struct client {
	SSL_CTX *ctx;
	SSL *ssl; /* NULL: speaks no TLS */
	BIO *in, *out;
	int fd;
	int theirs;       /* the worker's end, for who looks at it; not to be closed */
	bool closed;      /* the worker's side has ended */
	char got[131072]; /* plaintext, or what came where ssl is NULL */
	size_t got_n;
};

/* sni NULL: none. Connects; the handshake goes on in turns. */
void client_open(struct client *client, const char *sni);
void client_open_plain(struct client *client);
void client_turn(struct client *client);
void client_say(struct client *client, const char *text);
/* Turns until `count` answers have come whole, or the other side closed. */
void client_wait(struct client *client, unsigned count);
void client_wait_closed(struct client *client);
void client_close(struct client *client);
/* The status of the i-th answer, from 0; 0: there is none. */
unsigned client_status(const struct client *client, unsigned i);

#endif
