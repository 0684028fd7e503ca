/* SPDX-License-Identifier: MIT */
/* options.c -- postern-load's command line: a table of options, then what must fit together. */
#include "bench/load/options.h"

#include <getopt.h>
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
	"      --handshakes         no mail: handshakes with a server that closes after each\n"
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

/* ---- values ---- */

/* A piece of a command: printable, no blank that would end it. */
static bool good_piece(const char *value)
{
	for (const char *p = value; *p; p++)
		if (*p <= ' ' || *p == 0x7f || *p == '<' || *p == '>')
			return false;
	return strlen(value) <= CONTENT_ADDRESS_MAX;
}

static bool good_version(const char *value)
{
	return strcmp(value, "1.2") == 0 || strcmp(value, "1.3") == 0;
}

static bool take_size(void *out, const char *value, struct err *err)
{
	struct options *options = out;

	(void)err;
	options->size = 0;
	return strcmp(value, "mix") == 0 || number_u32(value, 1, SIZE_MAX_OCTETS, &options->size);
}

static bool take_bdat(void *out, const char *value, struct err *err)
{
	struct options *options = out;

	(void)err;
	options->bdat = true;
	return !value || number_u32(value, 1, SIZE_MAX_OCTETS, &options->chunk);
}

static bool take_sources(void *out, const char *value, struct err *err)
{
	struct options *options = out;
	char address[HOST_TEXT_MAX];
	const char *plus = strchr(value, '+');
	size_t n = plus ? (size_t)(plus - value) : strlen(value);

	if (n >= sizeof(address))
		return false;
	memcpy(address, value, n);
	address[n] = '\0';
	options->sources = 1;
	return (!plus || number_u32(plus + 1, 1, SOURCES_MAX, &options->sources)) &&
	       host_parse_address(&options->source, address, err) == 0;
}

static bool take_json(void *out, const char *value, struct err *err)
{
	struct options *options = out;

	(void)value;
	(void)err;
	options->format = FORMAT_JSON;
	return true;
}

/* ---- the options ---- */

static const char *const arrivals[] = {"poisson", "constant", NULL};
static const char *const modes[] = {"none", "starttls", "implicit", NULL};
static const char *const formats[] = {"text", "json", "csv", NULL};

#define AT(member)         .at = offsetof(struct options, member)
#define NUMBER(from, to)   .min = (from), .max = (to)
#define FRACTION(from, to) .low = (from), .high = (to)

static const struct args_option table[] = {
	{"count", 'n', ARGS_U64, AT(count), NUMBER(1, 1ull << 50)},
	{"duration", 'd', ARGS_REAL, AT(seconds), FRACTION(0.001, SECONDS_MAX)},
	{"concurrency", 'c', ARGS_U32, AT(concurrency), NUMBER(1, CONCURRENCY_MAX)},
	{"messages", 'm', ARGS_U32, AT(per_connection), NUMBER(0, UINT32_MAX)},
	{"rate", 'r', ARGS_REAL, AT(rate), FRACTION(0.001, RATE_MAX)},
	{"arrivals", 0, ARGS_WORD, AT(arrivals), .words = arrivals},
	{"ramp", 0, ARGS_REAL, AT(ramp_seconds), FRACTION(0, SECONDS_MAX)},
	{"timeout", 0, ARGS_REAL, AT(timeout_seconds), FRACTION(0.001, SECONDS_MAX)},
	{"threads", 'j', ARGS_U32, AT(threads), NUMBER(1, THREADS_MAX)},
	{"idle", 0, ARGS_U32, AT(idle), NUMBER(1, CONCURRENCY_MAX)},
	{"hold", 0, ARGS_REAL, AT(hold_seconds), FRACTION(0, SECONDS_MAX)},
	{"handshakes", 0, ARGS_FLAG, AT(handshakes)},

	{"size", 's', ARGS_OWN, .take = take_size},
	{"size-max", 0, ARGS_U32, AT(size_max), NUMBER(1, SIZE_MAX_OCTETS)},
	{"seed", 0, ARGS_U64, AT(seed), NUMBER(0, UINT64_MAX)},
	{"bdat", 'b', ARGS_MAYBE, .take = take_bdat},
	{"pipeline", 'p', ARGS_FLAG, AT(pipeline)},
	{"verify", 0, ARGS_FLAG, AT(verify)},
	{"number-from", 0, ARGS_U64, AT(number_from), NUMBER(0, 1ull << 50)},
	{"from", 0, ARGS_TEXT, AT(from), .good = good_piece},
	{"to", 0, ARGS_TEXT, AT(to), .good = good_piece},
	{"mailboxes", 0, ARGS_U32, AT(mailboxes), NUMBER(1, MAILBOXES_MAX)},
	{"recipients", 0, ARGS_U32, AT(recipients), NUMBER(1, RECIPIENTS_MAX)},
	{"helo", 0, ARGS_TEXT, AT(helo), .good = good_piece},

	{"tls", 't', ARGS_WORD, AT(tls), .words = modes},
	{"tls-version", 0, ARGS_TEXT, AT(tls_version), .good = good_version},
	{"cipher", 0, ARGS_TEXT, AT(cipher)},
	{"groups", 0, ARGS_TEXT, AT(groups)},
	{"resume", 0, ARGS_FLAG, AT(resume)},
	{"sni", 0, ARGS_TEXT, AT(sni), .good = good_piece},

	{"sources", 0, ARGS_OWN, .take = take_sources},
	{"i-own-this-host", 0, ARGS_FLAG, AT(own_this_host)},
	{"format", 'f', ARGS_WORD, AT(format), .words = formats},
	{"json", 0, ARGS_SWITCH, .take = take_json},
	{"buckets", 0, ARGS_FLAG, AT(buckets)},
	{"quiet", 'q', ARGS_FLAG, AT(quiet)},
};

static const struct args args = {"postern-load", postern_version, usage, table, COUNT_OF(table)};

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
	if (options->handshakes && (options->tls != TLS_IMPLICIT || options->idle))
		return err_set(err, "--handshakes wants --tls implicit, and no --idle");
	if (options->mailboxes > 1 && !strchr(options->to, '%'))
		return err_set(err, "--mailboxes wants a %% in --to");
	if (options->threads > options->concurrency)
		options->threads = options->concurrency;
	if (options->rate > 0 && options->ramp_seconds > 0 && options->seconds > 0 &&
		options->ramp_seconds >= options->seconds)
		return err_set(err, "--ramp must be shorter than --duration");
	return check_addresses(options, err);
}

enum args_step options_read(struct options *options, int argc, char **argv)
{
	enum args_step step;
	struct err err;

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
	step = args_read(&args, options, argc, argv);
	if (step != ARGS_RUN)
		return step;
	if (optind != argc - 1)
		return args_usage(&args, "one ADDRESS:PORT is wanted");
	if (host_parse(&options->target, argv[optind], false, &err) < 0 || check(options, &err) < 0)
		return args_wrong(&args, &err);
	return ARGS_RUN;
}
