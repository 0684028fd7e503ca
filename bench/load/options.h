/* SPDX-License-Identifier: MIT */
/* options.h -- what postern-load was asked to do, checked; shared by all its workers, never written
 * after the start. */
#ifndef POSTERN_BENCH_LOAD_OPTIONS_H
#define POSTERN_BENCH_LOAD_OPTIONS_H

#include "bench/lib/args.h"
#include "bench/lib/arrival.h"
#include "bench/lib/host.h"

#define CONCURRENCY_MAX 200000 /* connections, all threads */
#define THREADS_MAX     16
#define SIZE_MAX_OCTETS (64u << 20)
#define RECIPIENTS_MAX  1000
#define MAILBOXES_MAX   100000
#define RATE_MAX        1e6
#define SECONDS_MAX     86400.0
#define SOURCES_MAX     65536

enum tls_mode { TLS_NONE, TLS_STARTTLS, TLS_IMPLICIT };
enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV };

struct options {
	struct host target;
	struct host source; /* .n 0: the kernel's choice */
	uint32_t sources;
	bool own_this_host;

	enum tls_mode tls;
	const char *tls_version;
	const char *cipher;
	const char *groups;
	const char *sni;
	bool resume;

	uint64_t count; /* messages; 0: no limit */
	double seconds; /* 0: no limit */
	double ramp_seconds;
	double timeout_seconds;
	uint32_t concurrency;
	uint32_t threads;
	uint32_t per_connection; /* messages; 0: no limit */
	double rate;             /* messages a second; 0: closed loop */
	enum arrival_kind arrivals;
	uint32_t idle; /* sessions to hold; 0: not that mode */
	double hold_seconds;
	bool handshakes; /* nothing but connecting and TLS */

	uint32_t size; /* octets; 0: the mix */
	uint32_t size_max;
	uint64_t seed;
	bool bdat;
	uint32_t chunk; /* octets a BDAT; 0: the whole message */
	bool pipeline;
	bool verify;
	uint64_t number_from;
	const char *helo;
	const char *from;
	const char *to; /* '%' is the mailbox number */
	uint32_t recipients;
	uint32_t mailboxes;

	enum format format;
	bool buckets;
	bool quiet;
};

MUST_USE enum args_step options_read(struct options *options, int argc, char **argv);

#endif
