/* SPDX-License-Identifier: MIT */
/*
 * context.h -- OpenSSL contexts for both tools, set for speed: what costs the tool is left out.
 *
 * The client does not build or judge certificate chains (it measures, it does not trust); the
 * signature of the handshake itself is checked, as OpenSSL always does. The sink's
 * sessions give their buffers back when idle, for there may be many.
 */
#ifndef POSTERN_BENCH_CONTEXT_H
#define POSTERN_BENCH_CONTEXT_H

#include <openssl/ssl.h>

#include "base/base.h"

struct context_settings {
	const char *version; /* "1.2", "1.3" or NULL: both */
	const char *cipher;  /* a suite of either version; NULL: OpenSSL's choice */
	const char *groups;  /* key exchange, NULL: OpenSSL's choice */
	bool resume;         /* keep sessions and tickets */
	bool many_idle;      /* give buffers back when idle: less memory, more work */
};

MUST_USE int context_client(
	SSL_CTX **out, const struct context_settings *settings, struct err *err);

/* chain and key: PEM files, or both NULL for a self-signed P-256 certificate made on the spot. */
MUST_USE int context_server(SSL_CTX **out, const char *chain, const char *key, struct err *err);

#endif
