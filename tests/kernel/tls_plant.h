/* SPDX-License-Identifier: MIT */
/* tls_plant.h -- what tls_plant and tls_plant_client share: the suites, and a limit to waiting. */
#ifndef POSTERN_TESTS_TLS_PLANT_H
#define POSTERN_TESTS_TLS_PLANT_H

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "ktest.h"

#define WAIT_SECONDS 30

struct suite {
	uint16_t version;
	const char *name;
};

static const struct suite suites[] = {
	{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"},
	{TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
	{TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
	{TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
	{TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
	{TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
};

/* OpenSSL's side speaks this version and this suite only. */
static inline void suite_set(SSL_CTX *ctx, const struct suite *suite)
{
	SSL_CTX_set_min_proto_version(ctx, suite->version);
	SSL_CTX_set_max_proto_version(ctx, suite->version);
	if (suite->version == TLS1_3_VERSION)
		KT_MUST(SSL_CTX_set_ciphersuites(ctx, suite->name) == 1);
	else
		KT_MUST(SSL_CTX_set_cipher_list(ctx, suite->name) == 1);
}

static inline void wait_at_most(int fd)
{
	struct timeval limit = {.tv_sec = WAIT_SECONDS};

	KT_MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	KT_MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
}

#endif
