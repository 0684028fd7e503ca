/* SPDX-License-Identifier: MIT */
/*
 * dns_answer.c -- fuzz target: any octets as the data of MX records (each behind an octet with its
 * length) and as an address.
 *
 * Shows: resolve_mx_read keeps within records and bounds; hosts come best first with names of host
 * characters only; null MX and hosts exclude each other.
 */
#include <errno.h>
#include <stdlib.h>

#include "relay/resolve-private.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789-_."

static void check_hosts(const struct relay_lookup *lookup, int rc)
{
	ASSERT(rc == (lookup->hosts_n > 0 || lookup->null_mx ? 0 : -ENOENT));
	ASSERT(!lookup->null_mx || lookup->hosts_n == 0);
	ASSERT(lookup->hosts_n <= RELAY_MX_MAX);
	for (uint32_t i = 0; i < lookup->hosts_n; i++) {
		const struct relay_host *host = &lookup->hosts[i];
		size_t n = strnlen(host->name, sizeof(host->name));

		ASSERT(n >= 1 && n <= 253 && strspn(host->name, NAME_CHARS) == n);
		ASSERT(i == 0 || host[-1].preference <= host->preference);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span rest = span_of(data, n), records[RESOLVE_MX_SEEN_MAX + 8];
	struct relay_lookup lookup;
	struct sockaddr_storage address;
	uint32_t random[RESOLVE_MX_SEEN_MAX];
	char *text = malloc(n + 1);
	size_t records_n = 0;

	for (size_t i = 0; i < COUNT_OF(random); i++)
		random[i] = n > 0 ? data[i % n] : 0;
	while (rest.n > 0 && records_n < COUNT_OF(records)) {
		size_t length = *span_take(&rest, 1).p;

		records[records_n++] = span_take(&rest, length);
	}
	check_hosts(&lookup, resolve_mx_read(&lookup, records, records_n, random));
	memcpy(text, data, n);
	text[n] = '\0';
	if (resolve_numeric(text, &address))
		ASSERT(address.ss_family == AF_INET || address.ss_family == AF_INET6);
	(void)!resolve_is_local(text);
	free(text);
	return 0;
}
