/* SPDX-License-Identifier: MIT */
/* network.c -- tests: what is a network, what is in it, how it is written. */
#include "base/network.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

static void address_of(const char *text, uint8_t address[NETWORK_BYTES])
{
	struct network network;

	cr_assert(network_parse(text, &network), "%s", text);
	memcpy(address, network.address, NETWORK_BYTES);
}

Test(network, texts)
{
	static const struct {
		const char *text;
		const char *again; /* NULL: not a network */
	} rows[] = {
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.7", "192.0.2.7"},
		{"192.0.2.7/32", "192.0.2.7"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"2001:DB8::1", "2001:db8::1"},
		{"::/0", "::/0"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{"192.0.2.1/24", NULL},
		{"2001:db8::1/64", NULL},
		{"192.0.2.0/33", NULL},
		{"2001:db8::/129", NULL},
		{"192.0.2.0/", NULL},
		{"192.0.2.0/024", NULL},
		{"192.0.2.0/2x", NULL},
		{"192.0.2.0/-1", NULL},
		{"192.0.2", NULL},
		{"mx.example.org", NULL},
		{"", NULL},
		{"/8", NULL},
		{"2001:db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0",
			NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct network network;
		char text[NETWORK_TEXT_MAX];
		bool ok = network_parse(rows[i].text, &network);

		cr_expect_eq(ok, rows[i].again != NULL, "%s", rows[i].text);
		if (ok && rows[i].again != NULL)
			cr_expect_str_eq(network_text(&network, text), rows[i].again);
	}
}

Test(network, membership)
{
	static const struct {
		const char *network;
		const char *address;
		bool in;
	} rows[] = {
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.128/25", "192.0.2.127", false},
		{"192.0.2.128/25", "192.0.2.128", true},
		{"0.0.0.0/0", "198.51.100.1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "198.51.100.1", true}, /* mapped addresses are IPv6 ones, too */
		{"2001:db8::/33", "2001:db8:8000::", false},
		{"2001:db8::/33", "2001:db8:7fff:ffff::1", true},
		{"::1", "::1", true},
		{"::1", "::2", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct network network;
		uint8_t address[NETWORK_BYTES];

		address_of(rows[i].address, address);
		cr_assert(network_parse(rows[i].network, &network));
		cr_expect_eq(network_has(&network, address), rows[i].in, "%s in %s",
			rows[i].address, rows[i].network);
		cr_expect_eq(network_list_has(&rows[i].network, 1, address), rows[i].in);
	}
}

Test(network, addresses_of_sockets)
{
	struct sockaddr_storage from = {.ss_family = AF_INET};
	uint8_t v4[NETWORK_BYTES];
	uint8_t wanted[NETWORK_BYTES];

	((struct sockaddr_in *)&from)->sin_addr.s_addr = htonl(0xc0000207);
	network_address(&from, v4);
	address_of("192.0.2.7", wanted);
	cr_expect_arr_eq(v4, wanted, NETWORK_BYTES);
	from = (struct sockaddr_storage){.ss_family = AF_INET6};
	cr_assert(inet_pton(AF_INET6, "::ffff:192.0.2.7",
			  &((struct sockaddr_in6 *)&from)->sin6_addr) == 1);
	network_address(&from, v4);
	cr_expect_arr_eq(v4, wanted, NETWORK_BYTES);
	from.ss_family = AF_UNIX;
	network_address(&from, v4);
	for (size_t i = 0; i < NETWORK_BYTES; i++)
		cr_expect_eq(v4[i], 0);
}

Test(network, ends)
{
	static const struct {
		int family;
		const char *from;
		const char *text;
	} rows[] = {
		{AF_INET, "192.0.2.7", "192.0.2.7"},
		{AF_INET6, "::ffff:192.0.2.7", "192.0.2.7"},
		{AF_INET6, "2001:db8:1234:5678:9abc:def0:1234:5678",
			"2001:db8:1234:5678:9abc:def0:1234:5678"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sockaddr_storage from = {.ss_family = (sa_family_t)rows[i].family}, back;
		struct sockaddr_in *v4 = (struct sockaddr_in *)&from;
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&from;
		struct network_end end, again;
		char text[NETWORK_TEXT_MAX];

		cr_assert(inet_pton(rows[i].family, rows[i].from,
				  rows[i].family == AF_INET ? (void *)&v4->sin_addr
							    : (void *)&v6->sin6_addr) == 1);
		v4->sin_port = htons(4711);
		end = network_end_of(&from);
		cr_expect_eq(end.port, 4711);
		cr_expect_str_eq(network_end_text(&end, text), rows[i].text);
		network_socket(end.address, end.port, &back);
		again = network_end_of(&back);
		cr_expect(network_end_equal(&end, &again));
		again.port++;
		cr_expect_not(network_end_equal(&end, &again));
		again.port--;
		again.address[15]++;
		cr_expect_not(network_end_equal(&end, &again));
	}
}
