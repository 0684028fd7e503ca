/* SPDX-License-Identifier: MIT */
/* stats.c -- see stats.h. */
#include "bench/load/stats.h"

#include <string.h>

const char *const fail_names[FAIL_COUNT] = {
	"connect", "tls", "reply_4xx", "reply_5xx", "protocol", "timeout", "closed", "unserved"};

const char *const stage_names[STAGE_COUNT] = {"free", "connect", "banner", "ehlo", "starttls",
	"handshake", "ready", "mail", "rcpt", "data", "body", "chunk", "rset", "quit", "close",
	"idle", "pause"};

void stats_init(struct stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	hist_init(&stats->latency);
	hist_init(&stats->service);
	hist_init(&stats->setup);
}

static bool same(const char *a, const char *b)
{
	return a == b || strcmp(a, b) == 0;
}

void stats_tls_add(struct stats *stats, const struct stats_tls *some)
{
	struct stats_tls *one = stats->tls;

	while (one < &stats->tls[STATS_TLS_MAX - 1] && one->version &&
		!(same(one->version, some->version) && same(one->cipher, some->cipher) &&
			same(one->group, some->group)))
		one++;
	if (!one->version)
		*one = (struct stats_tls){some->version, some->cipher, some->group, 0};
	one->n += some->n;
}

void stats_merge(struct stats *to, struct stats *from)
{
	stat_add(&to->accepted, from->accepted);
	stat_add(&to->octets, from->octets);
	for (unsigned i = 0; i < FAIL_COUNT; i++)
		stat_add(&to->failed[i], from->failed[i]);
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		stat_add(&to->failed_at[i], from->failed_at[i]);
	stat_add(&to->connections, from->connections);
	stat_add(&to->sessions, from->sessions);
	stat_add(&to->handshakes, from->handshakes);
	stat_add(&to->resumed, from->resumed);
	stat_add(&to->dropped, from->dropped);
	stat_add(&to->lost, from->lost);
	stat_add(&to->stood, from->stood);
	stat_move(&to->held, from->held);
	stat_move(&to->open, from->open);
	stat_add(&to->bytes_in, from->bytes_in);
	stat_add(&to->bytes_out, from->bytes_out);
	to->measured += from->measured;
	to->measured_octets += from->measured_octets;
	if (from->last_ns > to->last_ns)
		to->last_ns = from->last_ns;
	hist_merge(&to->latency, &from->latency);
	hist_merge(&to->service, &from->service);
	hist_merge(&to->setup, &from->setup);
	for (unsigned i = 0; i < STATS_SECONDS_MAX; i++)
		to->seconds[i] += from->seconds[i];
	for (unsigned i = 0; i < STATS_TLS_MAX && from->tls[i].version; i++)
		stats_tls_add(to, &from->tls[i]);
}

uint64_t stats_failed(struct stats *stats)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < FAIL_COUNT; i++)
		sum += atomic_load_explicit(&stats->failed[i], memory_order_relaxed);
	return sum;
}
