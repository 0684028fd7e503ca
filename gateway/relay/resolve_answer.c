/* SPDX-License-Identifier: MIT */
/*
 * resolve_answer.c -- from the data of DNS records to hosts in order and addresses by turns.
 *
 * Job: RFC 5321 5.1 (preference, equal ones at random), RFC 7505 (null MX), and what stands for an
 * address without DNS. The octets come from strangers: lengths are checked here although libunbound
 * has checked them.
 *
 * Non-goals: asking; CNAMEs (libunbound follows them).
 */
#include "relay/resolve-private.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/dnsname.h"

#define MX_DATA_MIN    3 /* a preference and the root's name */
#define LITERAL_V6_TAG "IPv6:"

static bool address_of(const char *text, struct sockaddr_storage *out)
{
	uint8_t octets[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, text, octets) == 1)
		return resolve_address_read(span_of(octets, sizeof(struct in_addr)), out);
	if (inet_pton(AF_INET6, text, octets) == 1)
		return resolve_address_read(span_of(octets, sizeof(struct in6_addr)), out);
	return false;
}

bool resolve_numeric(const char *text, struct sockaddr_storage *out)
{
	char literal[sizeof(LITERAL_V6_TAG) + INET6_ADDRSTRLEN + 2];
	size_t n = strlen(text), skip = 1;

	if (*text != '[')
		return address_of(text, out);
	if (n < 2 || text[n - 1] != ']' || n >= sizeof(literal))
		return false;
	if (strncasecmp(text + 1, LITERAL_V6_TAG, strlen(LITERAL_V6_TAG)) == 0)
		skip += strlen(LITERAL_V6_TAG);
	if (n < skip + 1)
		return false;
	memcpy(literal, text + skip, n - skip - 1);
	literal[n - skip - 1] = '\0';
	return address_of(literal, out);
}

bool resolve_is_local(const char *name)
{
	static const char local[] = "localhost";
	size_t n = strlen(name);

	if (n > 0 && name[n - 1] == '.')
		n--;
	return n >= sizeof(local) - 1 &&
	       strncasecmp(name + n - (sizeof(local) - 1), local, sizeof(local) - 1) == 0 &&
	       (n == sizeof(local) - 1 || name[n - sizeof(local)] == '.');
}

bool resolve_address_read(struct span record, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (record.n == sizeof(v4->sin_addr)) {
		v4->sin_family = AF_INET;
		memcpy(&v4->sin_addr, record.p, record.n);
		return true;
	}
	if (record.n == sizeof(v6->sin6_addr)) {
		v6->sin6_family = AF_INET6;
		memcpy(&v6->sin6_addr, record.p, record.n);
		return true;
	}
	return false;
}

struct candidate {
	uint32_t preference;
	uint32_t random;
	const struct span *record;
};

static bool before(const struct candidate *a, const struct candidate *b)
{
	return a->preference != b->preference ? a->preference < b->preference
					      : a->random < b->random;
}

int resolve_mx_read(struct relay_lookup *lookup, const struct span *records, size_t n,
	const uint32_t random[RESOLVE_MX_SEEN_MAX])
{
	struct candidate sorted[RESOLVE_MX_SEEN_MAX];
	size_t seen = 0;
	bool root = false;

	lookup->hosts_n = 0;
	lookup->null_mx = false;
	for (size_t i = 0; i < n && seen < RESOLVE_MX_SEEN_MAX; i++) {
		struct candidate one = {.random = random[seen], .record = &records[i]};
		size_t at = seen;

		if (records[i].n < MX_DATA_MIN)
			continue;
		one.preference = (uint32_t)(records[i].p[0] << 8 | records[i].p[1]);
		for (; at > 0 && before(&one, &sorted[at - 1]); at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = one;
		seen++;
	}
	for (size_t i = 0; i < seen && lookup->hosts_n < RELAY_MX_MAX; i++) {
		struct relay_host *host = &lookup->hosts[lookup->hosts_n];
		struct span name = *sorted[i].record;

		span_take(&name, 2);
		if (!dns_name_read(name, host->name))
			continue;
		root |= *host->name == '\0';
		if (*host->name == '\0')
			continue;
		host->preference = (uint16_t)sorted[i].preference;
		lookup->hosts_n++;
	}
	if (lookup->hosts_n == 0 && root)
		lookup->null_mx = true;
	return lookup->hosts_n > 0 || lookup->null_mx ? 0 : -ENOENT;
}

void resolve_interleave(struct relay_lookup *lookup, const struct sockaddr_storage *first,
	size_t first_n, const struct sockaddr_storage *second, size_t second_n)
{
	lookup->addresses_n = 0;
	for (size_t i = 0; i < first_n || i < second_n; i++) {
		if (i < first_n && lookup->addresses_n < RELAY_ADDRESSES_MAX)
			lookup->addresses[lookup->addresses_n++] = first[i];
		if (i < second_n && lookup->addresses_n < RELAY_ADDRESSES_MAX)
			lookup->addresses[lookup->addresses_n++] = second[i];
	}
}
