/* SPDX-License-Identifier: MIT */
/*
 * server.h -- an HTTPS server on loopback in a thread: certificates made on the spot, good and bad,
 * and answers of every kind. It looks at what came, too.
 */
#ifndef POSTERN_TESTS_FETCH_SERVER_H
#define POSTERN_TESTS_FETCH_SERVER_H

#include <pthread.h>

#include "base/span.h"

#define SERVER_SEEN_MAX ((4 << 20) + 8192)

enum server_leaf {
	LEAF_GOOD,     /* for mta-sts.example.test */
	LEAF_WILDCARD, /* *.example.test */
	LEAF_WRONG_NAME,
	LEAF_DEEP_WILDCARD, /* *.test: two labels away */
	LEAF_EXPIRED,
	LEAF_FUTURE,
	LEAF_SELF_SIGNED,
	LEAF_UNKNOWN_CA,
};

enum server_act {
	ACT_ANSWER,  /* .answer, then close_notify */
	ACT_CUT,     /* .answer, then the connection is reset */
	ACT_DRIP,    /* .answer, then an octet now and then, without end */
	ACT_ENDLESS, /* .answer, then octets as fast as they go, without end */
	ACT_HEADERS, /* header lines without end */
	ACT_SILENT,  /* takes the connection and says nothing, not even TLS */
	ACT_PLAIN,   /* .answer without TLS */
};

struct server_plan {
	enum server_leaf leaf;
	enum server_act act;
	const char *answer;
	int version_max; /* TLS1_1_VERSION ...; 0: any */
};

struct server {
	struct server_plan plan;
	uint16_t port;
	int listener;
	void *context; /* SSL_CTX */
	pthread_t thread;
	/* of the last connection that came so far; read them after server_stop() */
	char name[256]; /* SNI */
	char seen[SERVER_SEEN_MAX];
	size_t seen_n;
	unsigned connections;
};

/* Listens on 127.0.0.1. The CA's PEM is written to server_ca_file(). */
struct server *server_start(const struct server_plan *plan);
void server_stop(struct server *server); /* server_free() afterwards */
void server_free(struct server *server);
const char *server_ca_file(void);

#endif
