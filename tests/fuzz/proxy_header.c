/* SPDX-License-Identifier: MIT */
/*
 * proxy_header.c -- any octets as what a balancer sends first.
 *
 * Shows: proxy_parse keeps within its input; what it says does not depend on the octets behind the
 * header nor on how it was cut; `sure` octets can be read without ever going past the end; no
 * header is longer than its limit; and what it takes for a header reads the same when it is written
 * anew.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "accept/accept-private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum proxy_step parse(const uint8_t *data, size_t n, struct proxy_header *header)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);
	enum proxy_step step;

	memcpy(copy, data, n);
	step = proxy_parse(span_of(copy, n), header);
	free(copy);
	return step;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
	return ntohs(((const struct sockaddr_in *)address)->sin_port); /* the same in both */
}

static void text_of(const struct sockaddr_storage *address, char text[INET6_ADDRSTRLEN])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
}

/* As a line of version 1, whatever it was. */
static void write_anew(const struct proxy_header *header)
{
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN], line[PROXY_V1_MAX + 1];
	struct proxy_header again;
	int n;

	ASSERT(header->source.ss_family == AF_INET || header->source.ss_family == AF_INET6);
	ASSERT(header->source.ss_family == header->destination.ss_family);
	text_of(&header->source, source);
	text_of(&header->destination, destination);
	n = snprintf(line, sizeof(line), "PROXY TCP%c %s %s %u %u\r\n",
		header->source.ss_family == AF_INET ? '4' : '6', source, destination,
		port_of(&header->source), port_of(&header->destination));
	ASSERT(n <= PROXY_V1_MAX);
	ASSERT(parse((const uint8_t *)line, (size_t)n, &again) == PROXY_STEP_DONE);
	ASSERT(memcmp(&again.source, &header->source, sizeof(again.source)) == 0);
	ASSERT(memcmp(&again.destination, &header->destination, sizeof(again.destination)) == 0);
}

/* Every beginning of a header wants more, and never more than there is. */
static void cuts_check(const uint8_t *data, size_t n)
{
	struct proxy_header header;

	for (size_t cut = 0; cut < n; cut++) {
		ASSERT(parse(data, cut, &header) == PROXY_STEP_MORE);
		ASSERT(cut + header.sure <= n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct proxy_header header, alone;
	enum proxy_step step = parse(data, n, &header);

	switch (step) {
	case PROXY_STEP_MORE:
		ASSERT(n < PROXY_HEADER_MAX && n + header.sure <= PROXY_HEADER_MAX);
		ASSERT(header.version != 1 || n < PROXY_V1_MAX);
		break;
	case PROXY_STEP_BAD:
		ASSERT(header.fault != PROXY_FAULT_NONE);
		break;
	case PROXY_STEP_LOCAL:
	case PROXY_STEP_DONE:
		ASSERT(header.n <= n);
		ASSERT(header.n <= (header.version == 1 ? PROXY_V1_MAX : PROXY_HEADER_MAX));
		ASSERT(parse(data, header.n, &alone) == step && alone.n == header.n);
		cuts_check(data, header.n);
		if (step == PROXY_STEP_DONE)
			write_anew(&header);
		break;
	}
	return 0;
}
