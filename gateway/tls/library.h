/* SPDX-License-Identifier: MIT */
/*
 * library.h -- an OpenSSL library in which little is to be looked through, for whoever does handshakes:
 * contexts of servers here, those of the load tool's clients.
 */
#ifndef POSTERN_TLS_LIBRARY_H
#define POSTERN_TLS_LIBRARY_H

#include <openssl/types.h>

/* Made at the first call, while no other thread asks OpenSSL for algorithms; lives as long as the process.
 * Has the key schedule (schedule.h). NULL, which is OpenSSL's own: another one is configured, or it
 * cannot be made. */
OSSL_LIB_CTX *tls_library(void);

#endif
