/* SPDX-License-Identifier: MIT */
/* network.c -- see network.h. */
#include "base/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const uint8_t address[NETWORK_BYTES])
{
	return memcmp(address, mapped, sizeof(mapped)) == 0;
}

/* Keeps the first `bits`. */
static void cut(uint8_t address[NETWORK_BYTES], unsigned bits)
{
	for (unsigned i = 0; i < NETWORK_BYTES; i++) {
		unsigned left = bits > i * 8 ? bits - i * 8 : 0;

		if (left < 8)
			address[i] &= (uint8_t)(0xff00u >> left);
	}
}

static bool bits_parse(const char *text, unsigned max, unsigned *bits)
{
	*bits = 0;
	if (text[0] == '\0' || strlen(text) > 3 || (text[0] == '0' && text[1] != '\0'))
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		*bits = *bits * 10 + (unsigned)(*text - '0');
	}
	return *bits <= max;
}

bool network_parse(const char *text, struct network *out)
{
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char address[NETWORK_TEXT_MAX];
	struct network whole;
	unsigned max = 128;
	unsigned bits;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	*out = (struct network){0};
	if (inet_pton(AF_INET, address, out->address + 12) == 1) {
		memcpy(out->address, mapped, sizeof(mapped));
		max = 32;
	} else if (inet_pton(AF_INET6, address, out->address) != 1) {
		return false;
	}
	bits = max;
	if (slash != NULL && !bits_parse(slash + 1, max, &bits))
		return false;
	out->bits = (uint8_t)(max == 32 ? 96 + bits : bits);
	whole = *out;
	cut(whole.address, whole.bits);
	return memcmp(whole.address, out->address, NETWORK_BYTES) == 0;
}

const char *network_text(const struct network *network, char text[NETWORK_TEXT_MAX])
{
	bool v4 = network->bits >= 96 && is_v4(network->address);
	unsigned max = v4 ? 32 : 128;
	unsigned bits = v4 ? network->bits - 96u : network->bits;
	size_t n;

	if (inet_ntop(v4 ? AF_INET : AF_INET6, network->address + (v4 ? 12 : 0), text,
		    NETWORK_TEXT_MAX) == NULL)
		text[0] = '\0';
	n = strlen(text);
	if (bits < max)
		snprintf(text + n, NETWORK_TEXT_MAX - n, "/%u", bits);
	return text;
}

bool network_has(const struct network *network, const uint8_t address[NETWORK_BYTES])
{
	uint8_t prefix[NETWORK_BYTES];

	memcpy(prefix, address, NETWORK_BYTES);
	cut(prefix, network->bits);
	return memcmp(prefix, network->address, NETWORK_BYTES) == 0;
}

bool network_list_has(const char *const *texts, size_t n, const uint8_t address[NETWORK_BYTES])
{
	struct network network;

	for (size_t i = 0; i < n; i++)
		if (network_parse(texts[i], &network) && network_has(&network, address))
			return true;
	return false;
}

void network_address(const struct sockaddr_storage *from, uint8_t address[NETWORK_BYTES])
{
	memset(address, 0, NETWORK_BYTES);
	if (from->ss_family == AF_INET) {
		memcpy(address, mapped, sizeof(mapped));
		memcpy(address + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
	} else if (from->ss_family == AF_INET6) {
		memcpy(address, &((const struct sockaddr_in6 *)from)->sin6_addr, NETWORK_BYTES);
	}
}

struct network_end network_end_of(const struct sockaddr_storage *from)
{
	struct network_end end = {0};

	network_address(from, end.address);
	if (from->ss_family == AF_INET)
		end.port = ntohs(((const struct sockaddr_in *)from)->sin_port);
	else if (from->ss_family == AF_INET6)
		end.port = ntohs(((const struct sockaddr_in6 *)from)->sin6_port);
	return end;
}

bool network_end_equal(const struct network_end *a, const struct network_end *b)
{
	return memcmp(a->address, b->address, NETWORK_BYTES) == 0 && a->port == b->port;
}

const char *network_end_text(const struct network_end *end, char text[NETWORK_TEXT_MAX])
{
	struct network network = {.bits = 128};

	memcpy(network.address, end->address, NETWORK_BYTES);
	return network_text(&network, text);
}

void network_socket(
	const uint8_t address[NETWORK_BYTES], uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (is_v4(address)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, address + 12, 4);
		return;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	memcpy(&v6->sin6_addr, address, NETWORK_BYTES);
}
