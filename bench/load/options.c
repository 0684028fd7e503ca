/* SPDX-License-Identifier: MIT */
/* options.c -- postern-load's command line: a table of options, then what must fit together. */
#include "bench/load/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bench/lib/number.h"
#include "bench/lib/sizes.h"
#include "bench/load/content.h"
#include "gateway/gateway.h"

static const char usage[] =
	"usage: postern-load [OPTION...] ADDRESS:PORT\n"
	"\n"
	"Sends mail to an SMTP server and measures; see postern-load(1).\n"
	"\n"
	"How much\n"
	"  -n, --count N            messages in all\n"
	"  -d, --duration SECONDS   begin messages for so long (10 if there is no --count)\n"
	"  -c, --concurrency N      connections at most (10)\n"
	"  -m, --messages N         messages a connection, 0 for no limit (1)\n"
	"  -r, --rate N             open loop: N messages a second are due\n"
	"      --arrivals KIND      poisson (default) or constant, with --rate\n"
	"      --ramp SECONDS       rise to full load; not measured\n"
	"      --timeout SECONDS    for each step (30)\n"
	"  -j, --threads N          (1)\n"
	"      --idle N             hold N sessions open and send nothing\n"
	"      --hold SECONDS       with --idle (10)\n"
	"\n"
	"What\n"
	"  -s, --size OCTETS|mix    size of a message (4096); mix: like mail\n"
	"      --size-max OCTETS    cut the mix here\n"
	"      --seed N             of sizes and arrivals (1)\n"
	"  -b, --bdat[=OCTETS]      BDAT in place of DATA, in chunks of so many octets\n"
	"  -p, --pipeline           do not wait for replies where RFC 2920 allows it\n"
	"      --verify             number the messages and add a digest of the body\n"
	"      --number-from N      first number (0)\n"
	"      --from ADDRESS       (load@example.net)\n"
	"      --to ADDRESS         (a@example.org); % is the mailbox's number\n"
	"      --mailboxes N        for % in --to (1)\n"
	"      --recipients N       recipients a message (1)\n"
	"      --helo NAME          (load.example.net)\n"
	"\n"
	"TLS\n"
	"  -t, --tls MODE           none (default), starttls, implicit\n"
	"      --tls-version V      1.2 or 1.3\n"
	"      --cipher SUITE       OpenSSL's name\n"
	"      --groups LIST        key exchange groups, OpenSSL's names\n"
	"      --resume             resume sessions by ticket\n"
	"      --sni NAME           server name to ask for\n"
	"\n"
	"      --sources FIRST[+N]  source addresses: N of them from FIRST on\n"
	"      --i-own-this-host    allow addresses outside loopback\n"
	"\n"
	"  -f, --format FORMAT      text (default), json, csv\n"
	"      --json               the same as --format json\n"
	"      --buckets            JSON: the histograms' buckets, too\n"
	"  -q, --quiet              no progress line\n"
	"  -V, --version            the version\n"
	"  -h, --help               this text\n"
	"\n"
	"OCTETS take k, M and G. Exit codes: 0 all accepted, 1 some failed, 2 usage.\n";

enum {
	OPT_ARRIVALS = 256,
	OPT_RAMP,
	OPT_TIMEOUT,
	OPT_IDLE,
	OPT_HOLD,
	OPT_SIZE_MAX,
	OPT_SEED,
	OPT_VERIFY,
	OPT_NUMBER_FROM,
	OPT_FROM,
	OPT_TO,
	OPT_MAILBOXES,
	OPT_RECIPIENTS,
	OPT_HELO,
	OPT_TLS_VERSION,
	OPT_CIPHER,
	OPT_GROUPS,
	OPT_RESUME,
	OPT_SNI,
	OPT_SOURCES,
	OPT_OWN,
	OPT_JSON,
	OPT_BUCKETS,
};

static const struct option longs[] = {
	{"count", 1, NULL, 'n'},
	{"duration", 1, NULL, 'd'},
	{"concurrency", 1, NULL, 'c'},
	{"messages", 1, NULL, 'm'},
	{"rate", 1, NULL, 'r'},
	{"arrivals", 1, NULL, OPT_ARRIVALS},
	{"ramp", 1, NULL, OPT_RAMP},
	{"timeout", 1, NULL, OPT_TIMEOUT},
	{"threads", 1, NULL, 'j'},
	{"idle", 1, NULL, OPT_IDLE},
	{"hold", 1, NULL, OPT_HOLD},
	{"size", 1, NULL, 's'},
	{"size-max", 1, NULL, OPT_SIZE_MAX},
	{"seed", 1, NULL, OPT_SEED},
	{"bdat", 2, NULL, 'b'},
	{"pipeline", 0, NULL, 'p'},
	{"verify", 0, NULL, OPT_VERIFY},
	{"number-from", 1, NULL, OPT_NUMBER_FROM},
	{"from", 1, NULL, OPT_FROM},
	{"to", 1, NULL, OPT_TO},
	{"mailboxes", 1, NULL, OPT_MAILBOXES},
	{"recipients", 1, NULL, OPT_RECIPIENTS},
	{"helo", 1, NULL, OPT_HELO},
	{"tls", 1, NULL, 't'},
	{"tls-version", 1, NULL, OPT_TLS_VERSION},
	{"cipher", 1, NULL, OPT_CIPHER},
	{"groups", 1, NULL, OPT_GROUPS},
	{"resume", 0, NULL, OPT_RESUME},
	{"sni", 1, NULL, OPT_SNI},
	{"sources", 1, NULL, OPT_SOURCES},
	{"i-own-this-host", 0, NULL, OPT_OWN},
	{"format", 1, NULL, 'f'},
	{"json", 0, NULL, OPT_JSON},
	{"buckets", 0, NULL, OPT_BUCKETS},
	{"quiet", 0, NULL, 'q'},
	{"version", 0, NULL, 'V'},
	{"help", 0, NULL, 'h'},
	{0},
};

/* ---- values ---- */

static bool word_of(const char *text, const char *const *words, unsigned n, unsigned *out)
{
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(text, words[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

/* A piece of a command: printable, no blank that would end it. */
static bool plain_text(const char *text, const char **out)
{
	*out = text;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p == 0x7f || *p == '<' || *p == '>')
			return false;
	return strlen(text) <= CONTENT_ADDRESS_MAX;
}

static bool sources_of(struct options *options, const char *text)
{
	char address[HOST_TEXT_MAX];
	const char *plus = strchr(text, '+');
	size_t n = plus ? (size_t)(plus - text) : strlen(text);
	struct err err;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	options->sources = 1;
	return (!plus || number_u32(plus + 1, 1, SOURCES_MAX, &options->sources)) &&
	       host_parse_address(&options->source, address, &err) == 0;
}

static bool size_of(struct options *options, const char *text)
{
	options->size = 0;
	return strcmp(text, "mix") == 0 || number_u32(text, 1, SIZE_MAX_OCTETS, &options->size);
}

/* ---- the options, by group; false: the value is no good ---- */

static bool take_amount(struct options *options, int opt, const char *value)
{
	static const char *const kinds[] = {"poisson", "constant"};
	unsigned kind = 0;
	bool good;

	switch (opt) {
	case 'n':
		return number_u64(value, 1, 1ull << 50, &options->count);
	case 'd':
		return number_double(value, 0.001, SECONDS_MAX, &options->seconds);
	case 'c':
		return number_u32(value, 1, CONCURRENCY_MAX, &options->concurrency);
	case 'm':
		return number_u32(value, 0, UINT32_MAX, &options->per_connection);
	case 'r':
		return number_double(value, 0.001, RATE_MAX, &options->rate);
	case 'j':
		return number_u32(value, 1, THREADS_MAX, &options->threads);
	case OPT_ARRIVALS:
		good = word_of(value, kinds, COUNT_OF(kinds), &kind);
		options->arrivals = (enum arrival_kind)kind;
		return good;
	case OPT_RAMP:
		return number_double(value, 0, SECONDS_MAX, &options->ramp_seconds);
	case OPT_TIMEOUT:
		return number_double(value, 0.001, SECONDS_MAX, &options->timeout_seconds);
	case OPT_IDLE:
		return number_u32(value, 1, CONCURRENCY_MAX, &options->idle);
	default:
		ASSERT(opt == OPT_HOLD);
		return number_double(value, 0, SECONDS_MAX, &options->hold_seconds);
	}
}

static bool take_content(struct options *options, int opt, const char *value)
{
	switch (opt) {
	case 's':
		return size_of(options, value);
	case OPT_SIZE_MAX:
		return number_u32(value, 1, SIZE_MAX_OCTETS, &options->size_max);
	case OPT_SEED:
		return number_u64(value, 0, UINT64_MAX, &options->seed);
	case 'b':
		options->bdat = true;
		return !value || number_u32(value, 1, SIZE_MAX_OCTETS, &options->chunk);
	case 'p':
		return options->pipeline = true;
	case OPT_VERIFY:
		return options->verify = true;
	case OPT_NUMBER_FROM:
		return number_u64(value, 0, 1ull << 50, &options->number_from);
	case OPT_FROM:
		return plain_text(value, &options->from);
	case OPT_TO:
		return plain_text(value, &options->to);
	case OPT_MAILBOXES:
		return number_u32(value, 1, MAILBOXES_MAX, &options->mailboxes);
	case OPT_RECIPIENTS:
		return number_u32(value, 1, RECIPIENTS_MAX, &options->recipients);
	default:
		ASSERT(opt == OPT_HELO);
		return plain_text(value, &options->helo);
	}
}

static bool take_way(struct options *options, int opt, const char *value)
{
	static const char *const modes[] = {"none", "starttls", "implicit"};
	static const char *const formats[] = {"text", "json", "csv"};
	unsigned which = 0;
	bool good;

	switch (opt) {
	case 't':
		good = word_of(value, modes, COUNT_OF(modes), &which);
		options->tls = (enum tls_mode)which;
		return good;
	case OPT_TLS_VERSION:
		options->tls_version = value;
		return strcmp(value, "1.2") == 0 || strcmp(value, "1.3") == 0;
	case OPT_CIPHER:
		options->cipher = value;
		return true;
	case OPT_GROUPS:
		options->groups = value;
		return true;
	case OPT_RESUME:
		return options->resume = true;
	case OPT_SNI:
		return plain_text(value, &options->sni);
	case OPT_SOURCES:
		return sources_of(options, value);
	case OPT_OWN:
		return options->own_this_host = true;
	case 'f':
		good = word_of(value, formats, COUNT_OF(formats), &which);
		options->format = (enum format)which;
		return good;
	case OPT_JSON:
		options->format = FORMAT_JSON;
		return true;
	case OPT_BUCKETS:
		return options->buckets = true;
	default:
		ASSERT(opt == 'q');
		return options->quiet = true;
	}
}

static bool take(struct options *options, int opt, const char *value)
{
	if ((opt < OPT_ARRIVALS && strchr("ndcmrj", opt)) ||
		(opt >= OPT_ARRIVALS && opt <= OPT_HOLD))
		return take_amount(options, opt, value);
	if ((opt < OPT_ARRIVALS && strchr("sbp", opt)) || (opt >= OPT_SIZE_MAX && opt <= OPT_HELO))
		return take_content(options, opt, value);
	return take_way(options, opt, value);
}

/* ---- what must fit together ---- */

static int check_addresses(const struct options *options, struct err *err)
{
	struct host first = options->source, last;

	if (host_allowed(&options->target, options->own_this_host, err) < 0)
		return -1;
	if (!first.n)
		return 0;
	last = host_plus(&first, options->sources - 1);
	if (first.any.sa_family != options->target.any.sa_family)
		return err_set(err, "--sources is of another address family than the target");
	if (host_allowed(&first, options->own_this_host, err) < 0)
		return -1;
	return host_allowed(&last, options->own_this_host, err);
}

static int check(struct options *options, struct err *err)
{
	if (!options->count && options->seconds == 0)
		options->seconds = 10;
	if (options->size && options->size < CONTENT_SIZE_MIN)
		return err_set(err, "--size must be at least %u: the header alone has that",
			CONTENT_SIZE_MIN);
	if (options->size_max < CONTENT_SIZE_MIN)
		return err_set(err, "--size-max must be at least %u", CONTENT_SIZE_MIN);
	if (options->idle && (options->rate > 0 || options->count))
		return err_set(err, "--idle sends no messages: neither --rate nor --count fits");
	if (options->tls == TLS_NONE && (options->tls_version || options->cipher ||
						options->groups || options->resume || options->sni))
		return err_set(err, "TLS options want --tls starttls or --tls implicit");
	if (options->mailboxes > 1 && !strchr(options->to, '%'))
		return err_set(err, "--mailboxes wants a %% in --to");
	if (options->threads > options->concurrency)
		options->threads = options->concurrency;
	if (options->rate > 0 && options->ramp_seconds > 0 && options->seconds > 0 &&
		options->ramp_seconds >= options->seconds)
		return err_set(err, "--ramp must be shorter than --duration");
	return check_addresses(options, err);
}

enum options_step options_read(struct options *options, int argc, char **argv)
{
	struct err err;
	int opt, at = 0;

	*options = (struct options){.concurrency = 10,
		.threads = 1,
		.per_connection = 1,
		.timeout_seconds = 30,
		.hold_seconds = 10,
		.size = 4096,
		.size_max = SIZES_MIX_MAX,
		.seed = 1,
		.helo = "load.example.net",
		.from = "load@example.net",
		.to = "a@example.org",
		.recipients = 1,
		.mailboxes = 1};
	while ((opt = getopt_long(argc, argv, "n:d:c:m:r:j:s:b::pt:f:qVh", longs, &at)) != -1) {
		if (opt == 'h')
			return fputs(usage, stdout) < 0 ? OPTIONS_WRONG : OPTIONS_DONE;
		if (opt == 'V')
			return printf("postern-load %s\n", postern_version) < 0 ? OPTIONS_WRONG
										: OPTIONS_DONE;
		if (opt == '?')
			goto help;
		if (!take(options, opt, optarg)) {
			(void)fprintf(stderr, "postern-load: %s: not a value for this option\n",
				optarg ? optarg : "");
			goto help;
		}
	}
	if (optind != argc - 1) {
		(void)fprintf(stderr, "postern-load: one ADDRESS:PORT is wanted\n");
		goto help;
	}
	if (host_parse(&options->target, argv[optind], false, &err) < 0 ||
		check(options, &err) < 0) {
		(void)fprintf(stderr, "postern-load: %s\n", err.text);
		return OPTIONS_WRONG;
	}
	return OPTIONS_RUN;
help:
	(void)fprintf(stderr, "postern-load: --help shows the options\n");
	return OPTIONS_WRONG;
}
