/* SPDX-License-Identifier: MIT */
/*
 * hop.c -- reads one next hop of a route: "lmtp:HOST:PORT", "lmtp:unix:PATH", "smtp:HOST:PORT",
 * "mx" or "maildir:PATH", each with " weight=N" behind it where wanted.
 *
 * HOST is a host name, an IPv4 address, or an IPv6 address in brackets. The port is always written:
 * LMTP has none that all servers use, and a forgotten one would make mail loop to port 25.
 *
 * Non-goals: looking names up, looking at paths.
 */
#include "config/config-private.h"

#include <arpa/inet.h>

#include "config/name.h"

#define PORT_MAX   65535
#define WEIGHT_MAX 1000
#define MX_PORT    25

#define WEIGHT_MARK " weight="

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whole decimal numbers from 1 to max, without sign and with few digits. */
static bool number_read(struct span text, uint32_t max, uint32_t *out)
{
	uint32_t number = 0;

	if (text.n == 0 || text.n > 5)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		number = number * 10 + (text.p[i] - '0');
	}
	*out = number;
	return number >= 1 && number <= max;
}

static bool address_valid(int family, struct span text)
{
	char copy[INET6_ADDRSTRLEN];
	uint8_t octets[sizeof(struct in6_addr)];

	if (text.n >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return inet_pton(family, copy, octets) == 1;
}

/* Takes " weight=N" off the end. */
static int take_weight(struct span *rest, uint32_t *weight, struct err *err)
{
	static const size_t n = sizeof(WEIGHT_MARK) - 1;
	size_t at = rest->n;

	*weight = 1;
	while (at > 0 && rest->p[at - 1] != ' ')
		at--;
	if (at == 0 || rest->n - at < n - 1 || memcmp(rest->p + at - 1, WEIGHT_MARK, n) != 0)
		return 0;
	if (!number_read(span_of(rest->p + at - 1 + n, rest->n - (at - 1) - n), WEIGHT_MAX, weight))
		return err_set(err, "weight is not a whole number from 1 to %d", WEIGHT_MAX);
	rest->n = at - 1;
	while (rest->n > 0 && rest->p[rest->n - 1] == ' ')
		rest->n--;
	return 0;
}

/* HOST:PORT behind "lmtp:" or "smtp:". `scheme` is for messages. */
static int take_host(struct span rest, const char *scheme, struct hop_parts *out, struct err *err)
{
	bool brackets = rest.n > 0 && rest.p[0] == '[';
	const uint8_t *end = brackets ? memchr(rest.p, ']', rest.n) : memrchr(rest.p, ':', rest.n);
	const char *port_example = out->kind == NEXT_HOP_LMTP ? "24" : "25";
	uint32_t port;

	if (brackets && !end)
		return err_set(err, "no \"]\" behind the address: write %s:[2001:db8::1]:%s",
			scheme, port_example);
	if (!brackets && end && memchr(rest.p, ':', (size_t)(end - rest.p)))
		return err_set(err, "an IPv6 address stands in brackets: write %s:[2001:db8::1]:%s",
			scheme, port_example);
	if (brackets)
		span_take(&rest, 1);
	out->host = span_take(&rest, end ? (size_t)(end - rest.p) : rest.n);
	if (brackets)
		span_take(&rest, 1);
	if (brackets ? !address_valid(AF_INET6, out->host)
		     : !address_valid(AF_INET, out->host) && !name_host_valid(out->host))
		return err_set(err,
			"%s is neither a host name nor a numeric address: write %s:mx.example.org:%s",
			brackets ? "what stands in brackets" : "the host", scheme, port_example);
	if (rest.n == 0 || rest.p[0] != ':')
		return err_set(err, "the port is missing: write %s:HOST:%s", scheme, port_example);
	span_take(&rest, 1);
	if (!number_read(rest, PORT_MAX, &port))
		return err_set(err, "the port is not a whole number from 1 to %d", PORT_MAX);
	out->port = (uint16_t)port;
	return 0;
}

static int take_path(struct span rest, const char *scheme, struct hop_parts *out, struct err *err)
{
	if (rest.n == 0)
		return err_set(err, "the path is missing: write %sPATH", scheme);
	out->path = rest;
	return 0;
}

int hop_read(const char *text, struct hop_parts *out, struct err *err)
{
	struct span rest = span_str(text);

	*out = (struct hop_parts){0};
	if (take_weight(&rest, &out->weight, err) != 0)
		return -1;
	out->title = rest;
	if (span_equal(rest, span_str("mx"))) {
		out->kind = NEXT_HOP_MX;
		out->port = MX_PORT;
		return 0;
	}
	if (has_prefix(text, "lmtp:unix:")) {
		out->kind = NEXT_HOP_LMTP_UNIX;
		span_take(&rest, strlen("lmtp:unix:"));
		return take_path(rest, "lmtp:unix:", out, err);
	}
	if (has_prefix(text, "maildir:")) {
		out->kind = NEXT_HOP_MAILDIR;
		span_take(&rest, strlen("maildir:"));
		return take_path(rest, "maildir:", out, err);
	}
	if (has_prefix(text, "lmtp:") || has_prefix(text, "smtp:")) {
		out->kind = *text == 'l' ? NEXT_HOP_LMTP : NEXT_HOP_SMTP;
		span_take(&rest, strlen("lmtp:"));
		return take_host(rest, *text == 'l' ? "lmtp" : "smtp", out, err);
	}
	return err_set(err, "not a next hop: write lmtp:HOST:PORT, lmtp:unix:PATH, smtp:HOST:PORT, "
			    "mx or maildir:PATH");
}
