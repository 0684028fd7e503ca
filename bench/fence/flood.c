/* SPDX-License-Identifier: MIT */
/*
 * flood.c -- see flood.h. A tool of bench/fence/run's, built but not installed.
 *
 * The guard: it runs only in a network namespace that is not the first process's, that has no
 * hardware and no default route (bench/lib/host.h), and towards addresses for private use, loopback
 * not among them. Where we may not look at the first process (it has rights that we lack), the
 * second rule must do. There is no switch that lifts any of this. Rate, count, time and connections
 * have limits that cannot be exceeded.
 *
 * Exit codes: 0 done, 2 the command line, the namespace or the machine does not allow it.
 */
#include "bench/fence/flood.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "bench/lib/number.h"

#define EXIT_CANNOT 2
#define NS          1000000000u

volatile sig_atomic_t flood_stop;

static const char *const kind_names[FLOOD_KINDS] = {"syn", "connect", "starttls", "trickle"};

static const char usage[] =
	"usage: flood --kind syn|connect|starttls|trickle --seconds S --rate N [OPTION...] "
	"ADDRESS:PORT\n"
	"\n"
	"Bad traffic for bench/fence/run. Works in a private network namespace only.\n"
	"\n"
	"      --seconds S        for so long, at most 120\n"
	"      --rate N           attempts a second, at most 200000\n"
	"      --count N          attempts in all, at most 20000000\n"
	"      --open N           connections at a time, at most 50000 (1000)\n"
	"      --sources FIRST[+N]    addresses to come from\n"
	"      --nets             IPv6: each source is in a /64 of its own\n"
	"      --hold-ms MS       how long a connection is left standing (0)\n"
	"      --every-ms MS      trickle: a line every so often (1000)\n"
	"      --octet            trickle: an octet in place of a line\n"
	"      --hello            starttls: send a ClientHello\n"
	"      --answer-ms MS     wait so long for a connection or a reply (3000)\n"
	"      --device NAME, --mac ADDRESS   syn: where out, and whose frame it is\n";

/* ---- shared with the floods ---- */

uint64_t flood_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS + (uint64_t)now.tv_nsec;
}

struct host flood_source(const struct flood *flood, uint64_t i)
{
	const uint32_t n = (uint32_t)(i % flood->sources);
	struct host source = flood->source;
	uint32_t net;

	if (source.n == 0)
		return source;
	if (!flood->nets)
		return host_plus(&source, n);
	memcpy(&net, &source.v6.sin6_addr.s6_addr[4], sizeof(net));
	net = htonl(ntohl(net) + n);
	memcpy(&source.v6.sin6_addr.s6_addr[4], &net, sizeof(net));
	return source;
}

uint64_t flood_due(const struct flood *flood, uint64_t started_ns, uint64_t now_ns, uint64_t done,
	uint64_t most)
{
	uint64_t due = (uint64_t)((double)(now_ns - started_ns) / NS * flood->rate);

	if (flood->count != 0 && due > flood->count)
		due = flood->count;
	due = due > done ? due - done : 0;
	return due < most ? due : most;
}

bool flood_over(const struct flood *flood, uint64_t started_ns, uint64_t now_ns, uint64_t done)
{
	return flood_stop || (double)(now_ns - started_ns) / NS >= flood->seconds ||
	       (flood->count != 0 && done >= flood->count);
}

/* ---- the guard ---- */

static int guard(const struct flood *flood, struct err *err)
{
	struct stat own, first;
	bool readable = stat("/proc/1/ns/net", &first) == 0;

	if (stat("/proc/self/ns/net", &own) < 0 || (!readable && errno != EACCES))
		return err_set(
			err, "cannot tell whose network namespace this is: %s", strerror(errno));
	if (readable && own.st_dev == first.st_dev && own.st_ino == first.st_ino)
		return err_set(err, "this is the host's network namespace: refused");
	if (host_is_loopback(&flood->target) || host_is_loopback(&flood->source))
		return err_set(err, "loopback is no namespace's own: refused");
	if (host_allowed(&flood->target, false, err) < 0)
		return -1;
	return flood->source.n == 0 ? 0 : host_allowed(&flood->source, false, err);
}

/* ---- the command line ---- */

enum {
	OPT_KIND = 256,
	OPT_SECONDS,
	OPT_RATE,
	OPT_COUNT,
	OPT_OPEN,
	OPT_SOURCES,
	OPT_NETS,
	OPT_HOLD,
	OPT_EVERY,
	OPT_OCTET,
	OPT_HELLO,
	OPT_ANSWER,
	OPT_DEVICE,
	OPT_MAC,
};

static const struct option longs[] = {
	{"kind", 1, NULL, OPT_KIND},
	{"seconds", 1, NULL, OPT_SECONDS},
	{"rate", 1, NULL, OPT_RATE},
	{"count", 1, NULL, OPT_COUNT},
	{"open", 1, NULL, OPT_OPEN},
	{"sources", 1, NULL, OPT_SOURCES},
	{"nets", 0, NULL, OPT_NETS},
	{"hold-ms", 1, NULL, OPT_HOLD},
	{"every-ms", 1, NULL, OPT_EVERY},
	{"octet", 0, NULL, OPT_OCTET},
	{"hello", 0, NULL, OPT_HELLO},
	{"answer-ms", 1, NULL, OPT_ANSWER},
	{"device", 1, NULL, OPT_DEVICE},
	{"mac", 1, NULL, OPT_MAC},
	{"help", 0, NULL, 'h'},
	{0},
};

static bool take_kind(struct flood *flood, const char *word)
{
	for (unsigned i = 0; i < FLOOD_KINDS; i++) {
		if (strcmp(word, kind_names[i]) == 0) {
			flood->kind = (enum flood_kind)i;
			return true;
		}
	}
	return false;
}

static bool take_sources(struct flood *flood, const char *text)
{
	const char *plus = strchr(text, '+');
	char first[HOST_TEXT_MAX];
	size_t n = plus ? (size_t)(plus - text) : strlen(text);
	struct err ignored;

	if (n >= sizeof(first))
		return false;
	memcpy(first, text, n);
	first[n] = '\0';
	return host_parse_address(&flood->source, first, &ignored) == 0 &&
	       (!plus || number_u32(plus + 1, 1, UINT32_MAX, &flood->sources));
}

static bool take_device(struct flood *flood, const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= sizeof(flood->device))
		return false;
	memcpy(flood->device, name, n + 1);
	return true;
}

static bool take_mac(struct flood *flood, const char *text)
{
	unsigned octets[6];
	char rest;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &octets[0], &octets[1], &octets[2],
		    &octets[3], &octets[4], &octets[5], &rest) != 6)
		return false;
	for (size_t i = 0; i < COUNT_OF(octets); i++)
		flood->mac[i] = (uint8_t)octets[i];
	return true;
}

static bool take(struct flood *flood, int option, const char *value)
{
	switch (option) {
	case OPT_KIND:
		return take_kind(flood, value);
	case OPT_SECONDS:
		return number_double(value, 0.01, FLOOD_SECONDS_MAX, &flood->seconds);
	case OPT_RATE:
		return number_u32(value, 1, FLOOD_RATE_MAX, &flood->rate);
	case OPT_COUNT:
		return number_u64(value, 1, FLOOD_COUNT_MAX, &flood->count);
	case OPT_OPEN:
		return number_u32(value, 1, FLOOD_OPEN_MAX, &flood->open);
	case OPT_SOURCES:
		return take_sources(flood, value);
	case OPT_HOLD:
		return number_u32(value, 0, FLOOD_SECONDS_MAX * 1000, &flood->hold_ms);
	case OPT_EVERY:
		return number_u32(value, 1, FLOOD_SECONDS_MAX * 1000, &flood->every_ms);
	case OPT_ANSWER:
		return number_u32(value, 1, FLOOD_SECONDS_MAX * 1000, &flood->answer_ms);
	case OPT_DEVICE:
		return take_device(flood, value);
	case OPT_MAC:
		return take_mac(flood, value);
	case OPT_NETS:
		return flood->nets = true;
	case OPT_OCTET:
		return flood->octet = true;
	case OPT_HELLO:
		return flood->hello = true;
	default:
		return false;
	}
}

static int parse(struct flood *flood, int argc, char **argv, struct err *err)
{
	int option, index = 0;

	*flood = (struct flood){.kind = FLOOD_KINDS,
		.sources = 1,
		.open = 1000,
		.every_ms = 1000,
		.answer_ms = 3000};
	while ((option = getopt_long(argc, argv, "h", longs, &index)) != -1) {
		if (option == 'h' || option == '?')
			return err_set(err, "see below");
		if (!take(flood, option, optarg))
			return err_set(err, "--%s: no good: %s", longs[index].name, optarg);
	}
	if (optind + 1 != argc || flood->kind == FLOOD_KINDS || flood->seconds <= 0 ||
		flood->rate == 0)
		return err_set(err, "--kind, --seconds, --rate and a target are needed");
	if (host_parse(&flood->target, argv[optind], false, err) < 0)
		return -1;
	if (flood->source.n != 0 && flood->source.any.sa_family != flood->target.any.sa_family)
		return err_set(err, "--sources: of another family than the target");
	if (flood->nets && flood->source.any.sa_family != AF_INET6)
		return err_set(err, "--nets: IPv6 sources only");
	if (flood->kind == FLOOD_SYN && (!flood->device[0] || flood->source.n == 0))
		return err_set(err, "syn: --device, --mac and --sources are needed");
	return 0;
}

/* ---- the report ---- */

static double seconds_of(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void report(const struct flood *flood, const struct flood_counts *c, double wall)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"attempts", c->attempts},
		{"send_errors", c->send_errors},
		{"connected", c->connected},
		{"banners", c->banners},
		{"refused_421", c->refused_421},
		{"starttls_refused", c->starttls_refused},
		{"unfinished", c->unfinished},
		{"flights", c->flights},
		{"closed", c->closed},
		{"reset", c->reset},
		{"timed_out", c->timed_out},
		{"silent", c->silent},
		{"lines", c->lines},
		{"replies", c->replies},
		{"open_most", c->open_most},
		{"octets_in", c->octets_in},
		{"octets_out", c->octets_out},
		{"syn_acks", c->syn_acks},
		{"resets", c->resets},
	};
	struct rusage usage_now;

	(void)getrusage(RUSAGE_SELF, &usage_now);
	printf("{\"kind\": \"%s\", \"rate\": %u, \"sources\": %u,\n", kind_names[flood->kind],
		flood->rate, flood->sources);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		printf(" \"%s\": %" PRIu64 ",\n", rows[i].name, rows[i].value);
	printf(" \"seconds\": %.6f, \"user_seconds\": %.6f, \"system_seconds\": %.6f}\n", wall,
		seconds_of(usage_now.ru_utime), seconds_of(usage_now.ru_stime));
}

static void on_signal(int number)
{
	(void)number;
	flood_stop = 1;
}

int main(int argc, char **argv)
{
	const struct sigaction stop = {.sa_handler = on_signal};
	struct flood_counts counts = {0};
	struct flood flood;
	struct err err;
	uint64_t started;

	if (parse(&flood, argc, argv, &err) < 0) {
		(void)fprintf(stderr, "flood: %s\n\n%s", err.text, usage);
		return EXIT_CANNOT;
	}
	if (guard(&flood, &err) < 0)
		goto cannot;
	(void)sigaction(SIGINT, &stop, NULL);
	(void)sigaction(SIGTERM, &stop, NULL);
	started = flood_now_ns();
	if ((flood.kind == FLOOD_SYN ? syn_flood : talk_flood)(&flood, &counts, &err) < 0)
		goto cannot;
	report(&flood, &counts, (double)(flood_now_ns() - started) / NS);
	return fflush(stdout) == 0 ? 0 : EXIT_CANNOT;
cannot:
	(void)fprintf(stderr, "flood: %s\n", err.text);
	return EXIT_CANNOT;
}
