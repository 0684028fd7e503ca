/* SPDX-License-Identifier: MIT */
/* options.c -- postern-sink's command line: a table of options, then the addresses. */
#include "bench/sink/options.h"

#include <getopt.h>
#include <string.h>
#include <strings.h>

#include "bench/lib/number.h"
#include "bench/sink/numbers.h"
#include "gateway/gateway.h"

static const char usage[] =
	"usage: postern-sink [OPTION...] [ADDRESS:PORT...]\n"
	"\n"
	"Takes mail by SMTP or LMTP, counts it, checks it, and throws it away; see postern-sink(1).\n"
	"Without an address: 127.0.0.1 and a free port. Prints \"ready ADDRESS:PORT...\" first.\n"
	"\n"
	"  -l, --lmtp                LMTP: LHLO, one reply a recipient\n"
	"  -t, --tls MODE            starttls (default), none, implicit\n"
	"      --chain FILE, --key FILE   certificate; without: self-made at the start\n"
	"      --without KEYWORD     do not offer this extension; may be repeated\n"
	"      --name NAME           in the banner (sink.example.net)\n"
	"      --connections-max N   more are answered 421 (20000)\n"
	"      --message-max OCTETS  larger messages are refused (1G)\n"
	"      --idle-timeout SECONDS    (300)\n"
	"  -n, --count N             end after so many messages\n"
	"\n"
	"  -F, --fault POINT:ACTION[:HOW OFTEN]   may be repeated\n"
	"         POINT   banner ehlo starttls mail rcpt data body dot\n"
	"         ACTION  400..599, close, hang, garbage, delay=MS; at body slow=OCTETS a second\n"
	"         HOW OFTEN  N: every Nth time; P%: with this probability\n"
	"      --stall MS:EVERY_MS   stand still as a whole for MS, every EVERY_MS\n"
	"      --seed N              of probabilities (1)\n"
	"\n"
	"  -v, --verify              check numbers and digests of postern-load --verify\n"
	"      --check               --verify, and exit 1 if anything is missing, double or corrupt\n"
	"      --number-from N       first number expected (0)\n"
	"      --expect N            so many numbers: the last ones are missed, too\n"
	"  -d, --store FOLDER        keep messages: N.eml, and N.env with the envelope\n"
	"      --state FILE          write the summary there at SIGUSR1 and at the end\n"
	"      --json                summary as JSON\n"
	"      --i-own-this-host     allow addresses outside loopback\n"
	"  -V, --version             the version\n"
	"  -h, --help                this text\n"
	"\n"
	"OCTETS take k, M and G. SIGTERM or SIGINT: summary on stdout, exit.\n"
	"Exit codes: 0 done, 1 --check found faults, 2 usage or no socket.\n";

const char *const offer_words[OFFER_COUNT] = {"STARTTLS", "PIPELINING", "8BITMIME", "SIZE",
	"CHUNKING", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"};

/* ---- values ---- */

static bool good_name(const char *value)
{
	for (const char *p = value; *p; p++)
		if (*p <= ' ' || *p == 0x7f)
			return false;
	return *value && strlen(value) <= NAME_MAX_OCTETS;
}

static bool take_without(void *out, const char *value, struct err *err)
{
	struct sink_options *options = out;

	for (unsigned i = 0; i < OFFER_COUNT; i++) {
		if (strcasecmp(value, offer_words[i]) == 0) {
			options->without |= 1u << i;
			return true;
		}
	}
	err_set(err, "not an extension that is offered");
	return false;
}

static bool take_fault(void *out, const char *value, struct err *err)
{
	struct sink_options *options = out;

	return fault_parse(&options->faults, value, err) == 0;
}

static bool take_stall(void *out, const char *value, struct err *err)
{
	struct sink_options *options = out;
	const char *colon = strchr(value, ':');
	char ms[16];
	size_t n = colon ? (size_t)(colon - value) : 0;

	if (n == 0 || n >= sizeof(ms)) {
		err_set(err, "MS:EVERY_MS is wanted");
		return false;
	}
	memcpy(ms, value, n);
	ms[n] = '\0';
	return number_u32(ms, 1, FAULT_MS_MAX, &options->stall_ms) &&
	       number_u32(colon + 1, 1, FAULT_MS_MAX, &options->stall_every_ms) &&
	       options->stall_every_ms > options->stall_ms;
}

static bool take_check(void *out, const char *value, struct err *err)
{
	struct sink_options *options = out;

	(void)value;
	(void)err;
	options->check = true;
	options->verify = true;
	return true;
}

/* ---- the options ---- */

static const char *const modes[] = {"starttls", "none", "implicit", NULL};

#define AT(member)         .at = offsetof(struct sink_options, member)
#define NUMBER(from, to)   .min = (from), .max = (to)
#define FRACTION(from, to) .low = (from), .high = (to)

static const struct args_option table[] = {
	{"lmtp", 'l', ARGS_FLAG, AT(lmtp)},
	{"tls", 't', ARGS_WORD, AT(tls), .words = modes},
	{"chain", 0, ARGS_TEXT, AT(chain)},
	{"key", 0, ARGS_TEXT, AT(key)},
	{"without", 0, ARGS_OWN, .take = take_without},
	{"name", 0, ARGS_TEXT, AT(name), .good = good_name},
	{"connections-max", 0, ARGS_U32, AT(connections_max), NUMBER(1, CONNECTIONS_MAX)},
	{"message-max", 0, ARGS_U64, AT(message_max), NUMBER(1, 1ull << 40)},
	{"idle-timeout", 0, ARGS_REAL, AT(idle_seconds), FRACTION(0.001, 86400)},
	{"count", 'n', ARGS_U64, AT(count), NUMBER(1, UINT64_MAX)},

	{"fault", 'F', ARGS_OWN, .take = take_fault},
	{"stall", 0, ARGS_OWN, .take = take_stall},
	{"seed", 0, ARGS_U64, AT(seed), NUMBER(0, UINT64_MAX)},

	{"verify", 'v', ARGS_FLAG, AT(verify)},
	{"check", 0, ARGS_SWITCH, .take = take_check},
	{"number-from", 0, ARGS_U64, AT(number_from), NUMBER(0, 1ull << 50)},
	{"expect", 0, ARGS_U64, AT(expected), NUMBER(1, NUMBERS_MAX)},
	{"store", 'd', ARGS_TEXT, AT(store)},
	{"state", 0, ARGS_TEXT, AT(state)},
	{"json", 0, ARGS_FLAG, AT(json)},
	{"i-own-this-host", 0, ARGS_FLAG, AT(own_this_host)},
};

static const struct args args = {"postern-sink", postern_version, usage, table, COUNT_OF(table)};

/* ---- addresses ---- */

static int check(struct sink_options *options, int n, char **addresses, struct err *err)
{
	static char local[] = "127.0.0.1:0";
	char *one = local;

	if (n == 0) {
		n = 1;
		addresses = &one;
	}
	if (n > LISTENERS_MAX)
		return err_set(err, "at most %u addresses", LISTENERS_MAX);
	if (!options->chain != !options->key)
		return err_set(err, "--chain and --key go together");
	for (int i = 0; i < n; i++) {
		struct host *host = &options->listeners[options->listeners_n++];

		if (host_parse(host, addresses[i], true, err) < 0 ||
			host_allowed(host, options->own_this_host, err) < 0)
			return -1;
	}
	options->faults.rng.state = options->seed;
	return 0;
}

enum args_step sink_options_read(struct sink_options *options, int argc, char **argv)
{
	enum args_step step;
	struct err err;

	*options = (struct sink_options){.name = "sink.example.net",
		.connections_max = 20000,
		.message_max = 1u << 30,
		.idle_seconds = 300,
		.seed = 1};
	step = args_read(&args, options, argc, argv);
	if (step != ARGS_RUN)
		return step;
	if (check(options, argc - optind, argv + optind, &err) < 0)
		return args_wrong(&args, &err);
	return ARGS_RUN;
}
