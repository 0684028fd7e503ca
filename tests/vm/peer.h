/* SPDX-License-Identifier: MIT */
/*
 * peer: the SMTP client of the test machines, for what everyday clients do not do: cut a connection
 * off in the middle, update keys in the middle, announce 20 MB by BDAT, be two hundred at once.
 * Blocking sockets, OpenSSL in user space, one thread a dialogue. Every wait has a limit.
 * A wrong answer ends the program with a message: a test looks at the exit status first.
 */
#ifndef POSTERN_TESTS_VM_PEER_H
#define POSTERN_TESTS_VM_PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses besides 0 and 1. */
#define PEER_CLOSED_CLEANLY 3 /* the server sent close_notify where a reply was due */
#define PEER_CUT_OFF        4 /* the server ended the connection without one */

enum peer_security { PEER_NONE, PEER_STARTTLS, PEER_IMPLICIT };
enum peer_stage { PEER_IN_CLEAR, PEER_MAY_SHAKE, PEER_UNDER_TLS };
enum peer_cut { PEER_CUT_NEVER, PEER_CUT_BETWEEN_RECORDS, PEER_CUT_IN_RECORD };

struct dialog;

struct peer_settings {
	const char *host;
	int port;
	enum peer_security security;
	const char *version; /* 1.2, 1.3 or NULL */
	const char *cipher;
	const char *name; /* said in EHLO */
	const char *from;
	const char *to;
	const char *file;
	bool bdat;
	size_t chunk; /* 0: one chunk of everything */
	bool pipeline;
	bool binary;
	bool key_update;       /* a KeyUpdate in the middle of the message */
	bool key_update_asked; /* one that asks for the server's */
	bool key_update_last;  /* behind the final dot of DATA, before its reply */
	enum peer_cut cut;     /* after half of the message */
	/* Called behind the first EHLO, the 220 to STARTTLS and the EHLO under TLS; may be NULL. */
	void (*look)(const struct dialog *dialog, enum peer_stage stage);
};

struct dialog {
	int fd;
	SSL *ssl;
	size_t have;
	size_t pending;
	char in[8192];
	char out[16384];
	char reply[8192]; /* the last reply, whole */
	int status;       /* why the other side was gone: PEER_CLOSED_CLEANLY or PEER_CUT_OFF */
};

void peer_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
SSL_CTX *peer_context(const struct peer_settings *settings);
/* Connects, says EHLO, upgrades if asked to, says EHLO again. */
struct dialog *peer_open(const struct peer_settings *settings, SSL_CTX *context);
/* MAIL, RCPT and the message; the code of the last reply, or 0 when the server was gone (status).
 */
int peer_mail(struct dialog *dialog, const struct peer_settings *settings, const uint8_t *message,
	size_t bytes);
/* QUIT, 221, close_notify both ways; 0 or a message in `why`. */
const char *peer_quit(struct dialog *dialog);
void peer_free(struct dialog *dialog);
uint8_t *peer_read_file(const char *path, size_t *bytes);
long peer_tls_stat(const char *name);

#endif
