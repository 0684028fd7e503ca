/* SPDX-License-Identifier: MIT */
/*
 * schedule.h -- TLS 1.3's key schedule (RFC 8446 7.1) and HMAC as witness.c, hkdf.c and mac.c compute them,
 * for OpenSSL contexts that are not of this room: the load tool's.
 */
#ifndef POSTERN_TLS_SCHEDULE_H
#define POSTERN_TLS_SCHEDULE_H

#include <openssl/types.h>

#include "base/base.h"

#define TLS_SCHEDULE_PROVIDER   "postern"
#define TLS_SCHEDULE_PROPERTIES "?provider=" TLS_SCHEDULE_PROVIDER

/* Adds them to a library, which lives as long as the process, for contexts that are made with
 * TLS_SCHEDULE_PROPERTIES. False: not computed here, or OpenSSL refuses; such contexts have OpenSSL's
 * own then, which are slower. */
MUST_USE bool tls_schedule_add(OSSL_LIB_CTX *library);

#endif
