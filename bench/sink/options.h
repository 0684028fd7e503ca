/* SPDX-License-Identifier: MIT */
/* options.h -- what postern-sink was asked to do. */
#ifndef POSTERN_BENCH_SINK_OPTIONS_H
#define POSTERN_BENCH_SINK_OPTIONS_H

#include "bench/lib/args.h"
#include "bench/lib/host.h"
#include "bench/sink/fault.h"

#define LISTENERS_MAX   8
#define CONNECTIONS_MAX 200000
#define NAME_MAX_OCTETS 100

enum sink_tls { SINK_TLS_STARTTLS, SINK_TLS_NONE, SINK_TLS_IMPLICIT };

/* EHLO keywords that --without can leave out. */
enum offer {
	OFFER_STARTTLS,
	OFFER_PIPELINING,
	OFFER_8BITMIME,
	OFFER_SIZE,
	OFFER_CHUNKING,
	OFFER_SMTPUTF8,
	OFFER_DSN,
	OFFER_ENHANCEDSTATUSCODES,
	OFFER_COUNT
};

extern const char *const offer_words[OFFER_COUNT];

struct sink_options {
	struct host listeners[LISTENERS_MAX];
	unsigned listeners_n;
	bool own_this_host;
	bool lmtp;
	enum sink_tls tls;
	const char *chain;
	const char *key;
	unsigned without; /* bit = enum offer */
	const char *name;
	uint32_t connections_max;
	uint64_t message_max; /* octets */
	double idle_seconds;
	uint64_t count; /* messages, then end; 0: until a signal */
	uint32_t stall_ms;
	uint32_t stall_every_ms;
	bool verify;
	bool check;
	uint64_t number_from;
	uint64_t expected; /* numbered messages; 0: not known */
	uint64_t seed;
	const char *store;
	const char *state;
	bool json;
	struct faults faults;
};

MUST_USE enum args_step sink_options_read(struct sink_options *options, int argc, char **argv);

#endif
