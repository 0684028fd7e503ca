/* SPDX-License-Identifier: MIT */
/* host.c -- see host.h. */
#include "bench/lib/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define INTERFACES_MAX 256
#define ROUTES_MAX     4096

/* ---- texts ---- */

int host_parse_address(struct host *host, const char *text, struct err *err)
{
	*host = (struct host){0};
	if (strcmp(text, "localhost") == 0)
		text = "127.0.0.1";
	if (inet_pton(AF_INET, text, &host->v4.sin_addr) == 1) {
		host->v4.sin_family = AF_INET;
		host->n = sizeof(host->v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &host->v6.sin6_addr) == 1) {
		host->v6.sin6_family = AF_INET6;
		host->n = sizeof(host->v6);
		return 0;
	}
	return err_set(err, "%s: not a numeric address", text);
}

int host_parse(struct host *host, const char *text, bool port_zero, struct err *err)
{
	char address[HOST_TEXT_MAX];
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;
	bool bracket = n >= 2 && text[0] == '[' && text[n - 1] == ']';
	unsigned long port;
	char *end;

	if (!colon || n == 0 || n >= sizeof(address))
		return err_set(err, "%s: ADDRESS:PORT is wanted", text);
	memcpy(address, text + bracket, n - 2 * bracket);
	address[n - 2 * bracket] = '\0';
	if (!bracket && strchr(address, ':'))
		return err_set(err, "%s: write IPv6 addresses as [::1]:PORT", text);
	errno = 0;
	port = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || errno || port > 65535 ||
		(port == 0 && !port_zero))
		return err_set(
			err, "%s: the port must be %s65535", text, port_zero ? "0.." : "1..");
	if (host_parse_address(host, address, err) < 0)
		return -1;
	if (host->any.sa_family == AF_INET)
		host->v4.sin_port = htons((uint16_t)port);
	else
		host->v6.sin6_port = htons((uint16_t)port);
	return 0;
}

uint16_t host_port(const struct host *host)
{
	return ntohs(host->any.sa_family == AF_INET ? host->v4.sin_port : host->v6.sin6_port);
}

const char *host_text(const struct host *host, char *text)
{
	char address[INET6_ADDRSTRLEN] = "?";
	bool v4 = host->any.sa_family == AF_INET;

	(void)inet_ntop(host->any.sa_family,
		v4 ? (const void *)&host->v4.sin_addr : (const void *)&host->v6.sin6_addr, address,
		sizeof(address));
	(void)snprintf(text, HOST_TEXT_MAX, v4 ? "%s:%u" : "[%s]:%u", address, host_port(host));
	return text;
}

struct host host_plus(const struct host *host, uint32_t i)
{
	struct host out = *host;
	uint32_t low;

	if (host->any.sa_family == AF_INET) {
		out.v4.sin_addr.s_addr = htonl(ntohl(host->v4.sin_addr.s_addr) + i);
		return out;
	}
	memcpy(&low, &out.v6.sin6_addr.s6_addr[12], sizeof(low));
	low = htonl(ntohl(low) + i);
	memcpy(&out.v6.sin6_addr.s6_addr[12], &low, sizeof(low));
	return out;
}

/* ---- ranges ---- */

struct range {
	int family;
	const char *address;
	unsigned bits;
};

static const struct range private_ranges[] = {
	{AF_INET, "10.0.0.0", 8},
	{AF_INET, "172.16.0.0", 12},
	{AF_INET, "192.168.0.0", 16},
	{AF_INET, "169.254.0.0", 16},
	{AF_INET, "192.0.2.0", 24},
	{AF_INET, "198.18.0.0", 15},
	{AF_INET, "198.51.100.0", 24},
	{AF_INET, "203.0.113.0", 24},
	{AF_INET6, "fc00::", 7},
	{AF_INET6, "fe80::", 10},
	{AF_INET6, "2001:db8::", 32},
};

static bool in_range(const struct host *host, const struct range *range)
{
	uint8_t net[16];
	const uint8_t *p = host->any.sa_family == AF_INET ? (const uint8_t *)&host->v4.sin_addr
							  : (const uint8_t *)&host->v6.sin6_addr;
	unsigned whole = range->bits / 8;
	uint8_t mask = (uint8_t)(0xff00u >> (range->bits % 8));

	if (host->any.sa_family != range->family ||
		inet_pton(range->family, range->address, net) != 1)
		return false;
	return memcmp(p, net, whole) == 0 &&
	       (range->bits % 8 == 0 || (p[whole] & mask) == (net[whole] & mask));
}

bool host_is_loopback(const struct host *host)
{
	static const struct range v4 = {AF_INET, "127.0.0.0", 8}, v6 = {AF_INET6, "::1", 128};

	return in_range(host, &v4) || in_range(host, &v6);
}

bool host_is_private(const struct host *host)
{
	for (size_t i = 0; i < COUNT_OF(private_ranges); i++)
		if (in_range(host, &private_ranges[i]))
			return true;
	return false;
}

/* ---- namespaces ---- */

static bool interface_is_software(int fd, const char *name)
{
	static const char *const drivers[] = {"veth", "dummy", "bridge", "tun"};
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (char *)&info};

	if (strcmp(name, "lo") == 0)
		return true;
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCETHTOOL, &request) < 0)
		return false;
	for (size_t i = 0; i < COUNT_OF(drivers); i++)
		if (strncmp(info.driver, drivers[i], sizeof(info.driver)) == 0)
			return true;
	return false;
}

static bool only_software_interfaces(void)
{
	struct if_nameindex *all = if_nameindex();
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool good = all && fd >= 0;

	for (unsigned i = 0; good && all[i].if_name; i++)
		good = i < INTERFACES_MAX && interface_is_software(fd, all[i].if_name);
	if (all)
		if_freenameindex(all);
	if (fd >= 0)
		close(fd);
	return good;
}

/* A line of /proc/net/route or ipv6_route that is the whole Internet, not by the loopback device. */
static bool route_is_default(const char *line, bool v6)
{
	char device[IF_NAMESIZE + 1] = "", target[33] = "";
	unsigned prefix = 1;

	if (v6) {
		if (sscanf(line, "%32s %x %*s %*s %*s %*s %*s %*s %*s %16s", target, &prefix,
			    device) != 3)
			return true;
		return prefix == 0 && strcmp(device, "lo") != 0;
	}
	if (strncmp(line, "Iface", 5) == 0)
		return false;
	if (sscanf(line, "%16s %32s %*s %*s %*s %*s %*s %x", device, target, &prefix) != 3)
		return true;
	return strcmp(target, "00000000") == 0 && prefix == 0;
}

/* A table that is not there (no IPv6) has no routes; one that is too long is not a test's. */
static bool no_default_route(const char *path, bool v6)
{
	FILE *file = fopen(path, "re");
	char line[512];
	bool good = true;
	unsigned lines = 0;

	if (!file)
		return errno == ENOENT;
	while (good && fgets(line, sizeof(line), file))
		good = ++lines < ROUTES_MAX && !route_is_default(line, v6);
	(void)fclose(file);
	return good;
}

int host_allowed(const struct host *host, bool own_this_host, struct err *err)
{
	char text[HOST_TEXT_MAX];

	if (own_this_host || host_is_loopback(host))
		return 0;
	if (host_is_private(host) && only_software_interfaces() &&
		no_default_route("/proc/net/route", false) &&
		no_default_route("/proc/net/ipv6_route", true))
		return 0;
	return err_set(err,
		"%s is neither loopback nor in a private test namespace; "
		"if the host is yours, say --i-own-this-host",
		host_text(host, text));
}
