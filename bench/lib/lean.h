/* SPDX-License-Identifier: MIT */
/*
 * lean.h -- an OpenSSL library in which a certificate's key is found quickly.
 *
 * OpenSSL 3.0 looks through all 40 decoders of its default provider for each certificate that it
 * reads, and through all algorithms that it has met: a quarter of the client's user time in a full
 * handshake. This library has a provider that hands on the default provider's algorithms, but of its
 * decoders only those for the public keys of server certificates, of its kinds of keys only those
 * that TLS uses, of its ciphers those of TLS suites. TLS 1.3's key schedule is computed by the gateway's
 * room tls/. The algorithms and what they compute are the same.
 *
 * Rejected: remembering parsed certificates (OpenSSL has no hook before it parses), OpenSSL 3.2 and
 * later, which remember the decoders themselves (not in Debian 12).
 */
#ifndef POSTERN_BENCH_LEAN_H
#define POSTERN_BENCH_LEAN_H

#include <openssl/types.h>

/* Made at the first call, lives as long as the process. NULL, OpenSSL's own, if it cannot be made. */
OSSL_LIB_CTX *lean_library(void);

#endif
