/* SPDX-License-Identifier: MIT */
/* settings.c -- values of settings as a command line has them, read. */
#include "tools/probe/probe.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define TIMEOUT_S_MAX     300
#define PORT_MAX          65535
#define NUMBER_DIGITS_MAX 5

/* A whole number from 1 to max. */
static bool number_read(const char *text, unsigned long max, unsigned long *number)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n > NUMBER_DIGITS_MAX || text[n] != '\0')
		return false;
	*number = strtoul(text, NULL, 10);
	return *number >= 1 && *number <= max;
}

bool probe_port_read(const char *text, uint16_t *port)
{
	unsigned long number;

	if (!number_read(text, PORT_MAX, &number))
		return false;
	*port = (uint16_t)number;
	return true;
}

bool probe_timeout_read(const char *text, uint32_t *ms)
{
	unsigned long number;

	if (!number_read(text, TIMEOUT_S_MAX, &number))
		return false;
	*ms = (uint32_t)number * 1000;
	return true;
}

bool probe_address_read(const char *text, const char **address)
{
	uint8_t octets[sizeof(struct in6_addr)];

	*address = text;
	return inet_pton(AF_INET, text, octets) == 1 || inet_pton(AF_INET6, text, octets) == 1;
}

/* It must not carry line ends into a dialogue. */
bool probe_helo_read(const char *text, const char **helo)
{
	*helo = text;
	for (const char *c = text; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return *text != '\0' && strlen(text) <= STS_NAME_MAX;
}
