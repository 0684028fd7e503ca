/* SPDX-License-Identifier: MIT */
/*
 * postern-probe.c -- looks at a mail server from outside and says what senders will do about it.
 *
 * Reads the command line, prints, and turns the worst finding into the exit code; all else is in
 * tools/probe/. Any address is allowed: the program is a client that opens a few connections, one
 * after the other, and sends no mail.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/probe/probe.h"

#define TIMEOUT_S_DEFAULT 15

extern const char postern_version[]; /* gateway/version.c */

enum exit_code { EXIT_ALL_GOOD, EXIT_OBJECTION, EXIT_REFUSAL, EXIT_UNKNOWN };

static const char usage[] =
	"usage: postern-probe [OPTION...] DOMAIN|HOST|ADDRESS\n"
	"\n"
	"  what is looked at\n"
	"  -d, --domain              a domain's MXes, also where there is no MX record\n"
	"  -H, --host                this host alone\n"
	"  -s, --starttls PROTOCOL   smtp (default), imap, pop3, xmpp, ldap, nntp or ftp\n"
	"  -t, --tls                 TLS from the first octet, in place of an upgrade\n"
	"  -p, --port PORT           default: the protocol's\n"
	"  -a, --address ADDRESS     connect there, whatever the DNS says\n"
	"      --no-sts              no MTA-STS, no TLSRPT\n"
	"      --no-dane             no DANE, no DNSSEC\n"
	"  -T, --timeout SECONDS     of a connection from end to end; default 15\n"
	"\n"
	"  what is trusted\n"
	"  -r, --resolver ADDR[@PORT]  default: those of /etc/resolv.conf\n"
	"      --trust-anchor FILE   for DNSSEC; default: the root's, as Debian has it\n"
	"      --ca-file FILE        in place of the system's CAs\n"
	"      --policy-port PORT    of the MTA-STS policy, for tests; default 443\n"
	"      --helo NAME           who we say we are\n"
	"\n"
	"  what is printed\n"
	"  -j, --json                one JSON object\n"
	"  -q, --quiet               objections and refusals only\n"
	"  -h, --help                this text\n"
	"  -V, --version             the version\n"
	"\n"
	"Exit codes: 0 all that a sender wants; 1 mail comes, less protected than it could be;\n"
	"2 some sender that keeps to the rules does not deliver; 3 not found out, or wrong usage.\n";

struct options {
	struct probe_settings settings;
	bool json;
	bool quiet;
	bool done; /* end well at once */
	const char *name;
};

static int complain(const char *what, const char *which)
{
	fprintf(stderr, "postern-probe: %s%s\nTry postern-probe --help.\n", what, which);
	return EXIT_UNKNOWN;
}

enum long_option { OPT_NO_STS = 256, OPT_NO_DANE, OPT_ANCHOR, OPT_CA, OPT_POLICY_PORT, OPT_HELO };

/* Options with a value, and those that say what is printed. False: the value is no good. */
static bool option_take(struct options *options, int option, const char *value)
{
	struct probe_settings *settings = &options->settings;

	switch (option) {
	case 's':
		return probe_protocol_read(value, &settings->protocol);
	case 'p':
		return probe_port_read(value, &settings->port);
	case 'a':
		return probe_address_read(value, &settings->address);
	case 'T':
		return probe_timeout_read(value, &settings->timeout_ms);
	case 'r':
		settings->resolver = value;
		return true;
	case OPT_ANCHOR:
		settings->trust_anchor = value;
		return true;
	case OPT_CA:
		settings->ca_file = value;
		return true;
	case OPT_POLICY_PORT:
		return probe_port_read(value, &settings->policy_port);
	case OPT_HELO:
		return probe_helo_read(value, &settings->helo);
	default:
		return false;
	}
}

/* Options without a value. False: it is none of them. */
static bool flag_take(struct options *options, int option)
{
	switch (option) {
	case 'd':
		options->settings.kind = PROBE_DOMAIN;
		break;
	case 'H':
		options->settings.kind = PROBE_HOST;
		break;
	case 't':
		options->settings.implicit_tls = true;
		break;
	case OPT_NO_STS:
		options->settings.no_sts = true;
		break;
	case OPT_NO_DANE:
		options->settings.no_dane = true;
		break;
	case 'j':
		options->json = true;
		break;
	case 'q':
		options->quiet = true;
		break;
	case 'h':
		fputs(usage, stdout);
		options->done = true;
		break;
	case 'V':
		printf("postern-probe %s\n", postern_version);
		options->done = true;
		break;
	default:
		return false;
	}
	return true;
}

static int options_read(struct options *options, int argc, char **argv)
{
	static const struct option words[] = {
		{"domain", no_argument, NULL, 'd'},
		{"host", no_argument, NULL, 'H'},
		{"starttls", required_argument, NULL, 's'},
		{"tls", no_argument, NULL, 't'},
		{"port", required_argument, NULL, 'p'},
		{"address", required_argument, NULL, 'a'},
		{"no-sts", no_argument, NULL, OPT_NO_STS},
		{"no-dane", no_argument, NULL, OPT_NO_DANE},
		{"timeout", required_argument, NULL, 'T'},
		{"resolver", required_argument, NULL, 'r'},
		{"trust-anchor", required_argument, NULL, OPT_ANCHOR},
		{"ca-file", required_argument, NULL, OPT_CA},
		{"policy-port", required_argument, NULL, OPT_POLICY_PORT},
		{"helo", required_argument, NULL, OPT_HELO},
		{"json", no_argument, NULL, 'j'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int option;

	opterr = 0; /* we say it */
	while (!options->done &&
		(option = getopt_long(argc, argv, "dHs:tp:a:T:r:jqhV", words, NULL)) != -1) {
		if (option == '?')
			return complain(
				"no such option, or it lacks its value: ", argv[optind - 1]);
		if (!flag_take(options, option) && !option_take(options, option, optarg))
			return complain("not a good value: ", optarg);
	}
	if (options->done)
		return EXIT_ALL_GOOD;
	if (argc - optind != 1)
		return complain("one domain, host or address is wanted", "");
	options->name = argv[optind];
	return EXIT_ALL_GOOD;
}

/* True: stdout took it. */
static bool report(const struct options *options, const struct probe_domain *domain)
{
	bool written = true;

	if (options->json)
		written = probe_report_json(domain, &options->settings);
	else if (options->quiet)
		probe_report_findings(&domain->findings, PROBE_OBJECTION);
	else
		probe_report(domain, &options->settings);
	return fflush(stdout) == 0 && !ferror(stdout) && written;
}

int main(int argc, char **argv)
{
	static const enum exit_code codes[PROBE_SEVERITIES] = {
		[PROBE_NOTE] = EXIT_ALL_GOOD,
		[PROBE_OBJECTION] = EXIT_OBJECTION,
		[PROBE_REFUSAL] = EXIT_REFUSAL,
	};
	struct options options = {.settings = {.timeout_ms = TIMEOUT_S_DEFAULT * 1000}};
	struct probe_domain *domain;
	struct err err;
	int code = options_read(&options, argc, argv);

	if (code != EXIT_ALL_GOOD || options.done)
		return code;
	signal(SIGPIPE, SIG_IGN);
	if (probe_run(&options.settings, options.name, &domain, &err) != 0) {
		fprintf(stderr, "postern-probe: %s\n", err.text);
		return EXIT_UNKNOWN;
	}
	code = codes[domain->findings.worst];
	if (!report(&options, domain)) {
		fprintf(stderr, "postern-probe: cannot write: %s\n", strerror(errno));
		code = EXIT_UNKNOWN;
	}
	probe_free(domain);
	return code;
}
