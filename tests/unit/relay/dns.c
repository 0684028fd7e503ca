/* SPDX-License-Identifier: MIT */
/* dns.c -- see dns.h. */
#include "tests/unit/relay/dns.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define A     1
#define CNAME 5
#define SOA   6
#define MX    15
#define TXT   16
#define AAAA  28
#define TLSA  52

enum { FAILS = 1000, SILENT };

struct record {
	const char *name;
	int type;
	const char *data; /* MX: "10 name", "0 ." */
};

static const struct record dns_records[] = {
	{"example.org", MX, "20 backup.example.org"},
	{"example.org", MX, "10 mx1.example.org"},
	{"example.org", MX, "10 MX2.example.org"},
	{"example.org", MX, "5 bad!name.example.org"},
	{"null.example.org", MX, "0 ."},
	{"nearly.example.org", MX, "0 ."},
	{"nearly.example.org", MX, "9 mx1.example.org"},
	{"odd.example.org", MX, "1 a b.example.org"},
	{"plain.example.org", A, "192.0.2.9"},
	{"mail.test", A, "192.0.2.10"},
	{"local.example.org", A, "127.0.0.1"},
	{"alias.example.org", CNAME, "example.org"},
	{"mx1.example.org", A, "192.0.2.1"},
	{"mx1.example.org", A, "192.0.2.2"},
	{"mx1.example.org", A, "192.0.2.3"},
	{"mx1.example.org", AAAA, "2001:db8::1"},
	{"mx1.example.org", AAAA, "2001:db8::2"},
	{"www.example.org", CNAME, "mx1.example.org"},
	{"text.example.org", TXT, "x"},
	{"_mta-sts.example.org", TXT, "v=STSv1; id=1;"},
	{"_mta-sts.example.org", TXT, "v=spf1 -all"},
	{"_mta-sts.alias.example.org", CNAME, "_mta-sts.example.org"},
	{"_25._tcp.mx1.example.org", TLSA, "\3\1\1abc"},
	{"fails.example.org", FAILS, ""},
	{"silent.example.org", SILENT, ""},
	{"half.example.org", A, "192.0.2.7"},
	{"half.example.org", SILENT, "AAAA"},
};

static int fd = -1;
static pthread_t thread;
static char address[32];
static atomic_uint questions;

static size_t put_name(uint8_t *out, const char *name)
{
	size_t n = 0;

	while (*name && strcmp(name, ".") != 0) {
		size_t label = strcspn(name, ".");

		out[n++] = (uint8_t)label;
		memcpy(out + n, name, label);
		n += label;
		name += label + (name[label] == '.');
	}
	out[n++] = 0;
	return n;
}

static size_t put16(uint8_t *out, unsigned value)
{
	out[0] = (uint8_t)(value >> 8);
	out[1] = (uint8_t)value;
	return 2;
}

static size_t put_data(uint8_t *out, int type, const char *data)
{
	char *name;
	unsigned preference;

	switch (type) {
	case A:
		return inet_pton(AF_INET, data, out) == 1 ? 4 : 0;
	case AAAA:
		return inet_pton(AF_INET6, data, out) == 1 ? 16 : 0;
	case CNAME:
		return put_name(out, data);
	case MX:
		preference = (unsigned)strtoul(data, &name, 10);
		put16(out, preference);
		return 2 + put_name(out + 2, name + 1);
	case TXT:
		out[0] = (uint8_t)strlen(data);
		memcpy(out + 1, data, out[0]);
		return 1 + (size_t)out[0];
	default: /* TLSA */
		memcpy(out, data, strlen(data));
		return strlen(data);
	}
}

static size_t put_record(uint8_t *out, const char *name, int type, const char *data)
{
	size_t n = put_name(out, name), at;

	n += put16(out + n, (unsigned)type);
	n += put16(out + n, 1);
	n += put16(out + n, 0);
	n += put16(out + n, 300); /* TTL */
	at = n;
	n += 2;
	if (type == SOA) {
		n += put_name(out + n, "ns.example.org");
		n += put_name(out + n, "root.example.org");
		memset(out + n, 0, 20);
		n += 16;
		n += put16(out + n, 0);
		n += put16(out + n, 300); /* how long a negative answer holds */
	} else {
		n += put_data(out + n, type, data);
	}
	put16(out + at, (unsigned)(n - at - 2));
	return n;
}

/* The question's name as text; octets it takes. */
static size_t get_name(const uint8_t *in, size_t n, char out[256])
{
	size_t at = 0, length = 0;

	while (at < n && in[at] != 0 && at + in[at] + 1 < n) {
		for (size_t i = 1; i <= in[at]; i++)
			out[length++] = (char)tolower(in[at + i]);
		out[length++] = '.';
		at += in[at] + 1u;
	}
	out[length > 0 ? length - 1 : 0] = '\0';
	return at + 1;
}

/* Writes the answer behind the question; its octets, 0 for none. */
static size_t answer(uint8_t message[4096], size_t n)
{
	char name[256];
	size_t at = 12 + get_name(message + 12, n - 12, name) + 4;
	int type = message[at - 4] << 8 | message[at - 3];
	unsigned answers = 0;
	bool known = false, failed = false;

	for (size_t i = 0; i < sizeof(dns_records) / sizeof(dns_records[0]); i++) {
		const struct record *one = &dns_records[i];

		if (strcasecmp(one->name, name) != 0)
			continue;
		known = true;
		if (one->type == SILENT && (!*one->data || type == AAAA))
			return 0;
		failed |= one->type == FAILS;
		if (one->type != type && one->type != CNAME)
			continue;
		at += put_record(message + at, one->name, one->type, one->data);
		answers++;
	}
	message[2] = 0x81; /* an answer, recursion desired */
	message[3] = (uint8_t)(0x80 | (failed ? 2 : known ? 0 : 3));
	put16(message + 6, answers);
	put16(message + 8, answers == 0 && !failed);
	put16(message + 10, 0);
	if (answers == 0 && !failed)
		at += put_record(message + at, "example.org", SOA, "");
	return at;
}

static void *serve(void *arg)
{
	uint8_t message[4096];
	struct sockaddr_in peer;

	for (;;) {
		socklen_t peer_n = sizeof(peer);
		ssize_t n = recvfrom(fd, message, 1024, 0, (struct sockaddr *)&peer, &peer_n);

		if (n <= 0) /* shut down */
			return arg;
		if (n < 17)
			continue;
		atomic_fetch_add(&questions, 1);
		n = (ssize_t)answer(message, (size_t)n);
		if (n > 0)
			(void)!sendto(fd, message, (size_t)n, 0, (struct sockaddr *)&peer, peer_n);
	}
}

const char *dns_open(void)
{
	struct sockaddr_in here = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(here);

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&here, sizeof(here)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&here, &n), 0);
	snprintf(address, sizeof(address), "127.0.0.1@%u", ntohs(here.sin_port));
	cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	return address;
}

void dns_close(void)
{
	shutdown(fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd);
	fd = -1;
}

unsigned dns_questions(void)
{
	return atomic_load(&questions);
}
