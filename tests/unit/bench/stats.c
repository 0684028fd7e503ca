/* SPDX-License-Identifier: MIT */
/* stats.c -- what workers counted, added up. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "bench/load/stats.h"

static struct stats a, b;

static void handshakes(struct stats *stats, const char *version, const char *cipher, uint64_t n)
{
	const struct stats_tls some = {version, cipher, "x25519", n};

	stats_tls_add(stats, &some);
}

Test(stats, handshakes_are_told_apart_by_what_they_agreed_on)
{
	stats_init(&a);
	stats_init(&b);
	handshakes(&a, "TLSv1.3", "one", 1);
	handshakes(&a, "TLSv1.3", "one", 1);
	handshakes(&b, "TLSv1.2", "one", 5);
	handshakes(&b, "TLSv1.3", "two", 6);
	handshakes(&b, "TLSv1.3", "one", 7);
	stats_merge(&a, &b);
	cr_expect(a.tls[0].n == 9);
	cr_expect(strcmp(a.tls[1].version, "TLSv1.2") == 0 && a.tls[1].n == 5);
	cr_expect(strcmp(a.tls[2].cipher, "two") == 0 && a.tls[2].n == 6);
	cr_expect(a.tls[3].version == NULL);
}

Test(stats, a_full_table_counts_the_rest_in_its_last_row)
{
	static char names[3 * STATS_TLS_MAX][2];
	uint64_t sum = 0;

	stats_init(&a);
	for (unsigned i = 0; i < COUNT_OF(names); i++) {
		names[i][0] = (char)('a' + i);
		handshakes(&a, "TLSv1.3", names[i], 1);
	}
	for (unsigned i = 0; i < STATS_TLS_MAX; i++)
		sum += a.tls[i].n;
	cr_expect(sum == COUNT_OF(names));
	cr_expect(a.tls[STATS_TLS_MAX - 1].n == COUNT_OF(names) - STATS_TLS_MAX + 1);
}

Test(stats, counters_and_courses_add_up)
{
	stats_init(&a);
	stats_init(&b);
	stat_add(&a.failed[FAIL_TLS], 2);
	stat_add(&b.failed[FAIL_TLS], 3);
	stat_add(&b.failed[FAIL_UNSERVED], 1);
	stat_add(&a.accepted, 10);
	stat_add(&b.accepted, 20);
	a.seconds[1] = 4;
	b.seconds[1] = 5;
	a.last_ns = 7;
	b.last_ns = 9;
	hist_record(&a.latency, 100);
	hist_record(&b.latency, 300);
	stats_merge(&a, &b);
	cr_expect(stats_failed(&a) == 6 && a.failed[FAIL_TLS] == 5);
	cr_expect(a.accepted == 30 && a.seconds[1] == 9 && a.last_ns == 9);
	cr_expect(a.latency.n == 2 && a.latency.min == 100 && a.latency.max == 300);
}
