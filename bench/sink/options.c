/* SPDX-License-Identifier: MIT */
/* options.c -- postern-sink's command line. */
#include "bench/sink/options.h"

#include <getopt.h>
#include <stdio.h>
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

enum {
	OPT_CHAIN = 256,
	OPT_KEY,
	OPT_WITHOUT,
	OPT_NAME,
	OPT_CONNECTIONS,
	OPT_MESSAGE_MAX,
	OPT_IDLE,
	OPT_STALL,
	OPT_SEED,
	OPT_CHECK,
	OPT_NUMBER_FROM,
	OPT_EXPECT,
	OPT_STATE,
	OPT_JSON,
	OPT_OWN,
};

static const struct option longs[] = {
	{"lmtp", 0, NULL, 'l'},
	{"tls", 1, NULL, 't'},
	{"chain", 1, NULL, OPT_CHAIN},
	{"key", 1, NULL, OPT_KEY},
	{"without", 1, NULL, OPT_WITHOUT},
	{"name", 1, NULL, OPT_NAME},
	{"connections-max", 1, NULL, OPT_CONNECTIONS},
	{"message-max", 1, NULL, OPT_MESSAGE_MAX},
	{"idle-timeout", 1, NULL, OPT_IDLE},
	{"count", 1, NULL, 'n'},
	{"fault", 1, NULL, 'F'},
	{"stall", 1, NULL, OPT_STALL},
	{"seed", 1, NULL, OPT_SEED},
	{"verify", 0, NULL, 'v'},
	{"check", 0, NULL, OPT_CHECK},
	{"number-from", 1, NULL, OPT_NUMBER_FROM},
	{"expect", 1, NULL, OPT_EXPECT},
	{"store", 1, NULL, 'd'},
	{"state", 1, NULL, OPT_STATE},
	{"json", 0, NULL, OPT_JSON},
	{"i-own-this-host", 0, NULL, OPT_OWN},
	{"version", 0, NULL, 'V'},
	{"help", 0, NULL, 'h'},
	{0},
};

const char *const offer_words[OFFER_COUNT] = {"STARTTLS", "PIPELINING", "8BITMIME", "SIZE",
	"CHUNKING", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"};

static bool take_without(struct sink_options *options, const char *word)
{
	for (unsigned i = 0; i < OFFER_COUNT; i++) {
		if (strcasecmp(word, offer_words[i]) == 0) {
			options->without |= 1u << i;
			return true;
		}
	}
	return false;
}

static bool take_stall(struct sink_options *options, const char *value)
{
	const char *colon = strchr(value, ':');
	char ms[16];
	size_t n = colon ? (size_t)(colon - value) : 0;

	if (n == 0 || n >= sizeof(ms))
		return false;
	memcpy(ms, value, n);
	ms[n] = '\0';
	return number_u32(ms, 1, FAULT_MS_MAX, &options->stall_ms) &&
	       number_u32(colon + 1, 1, FAULT_MS_MAX, &options->stall_every_ms) &&
	       options->stall_every_ms > options->stall_ms;
}

static bool take_tls(struct sink_options *options, const char *value)
{
	static const char *const modes[] = {"starttls", "none", "implicit"};

	for (unsigned i = 0; i < COUNT_OF(modes); i++) {
		if (strcmp(value, modes[i]) == 0) {
			options->tls = (enum sink_tls)i;
			return true;
		}
	}
	return false;
}

static bool take_name(struct sink_options *options, const char *value)
{
	options->name = value;
	for (const char *p = value; *p; p++)
		if (*p <= ' ' || *p == 0x7f)
			return false;
	return *value && strlen(value) <= NAME_MAX_OCTETS;
}

/* Options without a value, or with a text that needs no look. */
static void take_plain(struct sink_options *options, int opt, const char *value)
{
	switch (opt) {
	case 'l':
		options->lmtp = true;
		break;
	case OPT_CHAIN:
		options->chain = value;
		break;
	case OPT_KEY:
		options->key = value;
		break;
	case OPT_CHECK:
		options->check = true;
		options->verify = true;
		break;
	case 'v':
		options->verify = true;
		break;
	case 'd':
		options->store = value;
		break;
	case OPT_STATE:
		options->state = value;
		break;
	case OPT_JSON:
		options->json = true;
		break;
	default:
		ASSERT(opt == OPT_OWN);
		options->own_this_host = true;
	}
}

/* False: the value is no good; err may say why. */
static bool take(struct sink_options *options, int opt, const char *value, struct err *err)
{
	switch (opt) {
	case 't':
		return take_tls(options, value);
	case OPT_WITHOUT:
		return take_without(options, value);
	case OPT_NAME:
		return take_name(options, value);
	case OPT_CONNECTIONS:
		return number_u32(value, 1, CONNECTIONS_MAX, &options->connections_max);
	case OPT_MESSAGE_MAX:
		return number_u64(value, 1, 1ull << 40, &options->message_max);
	case OPT_IDLE:
		return number_double(value, 0.001, 86400, &options->idle_seconds);
	case 'n':
		return number_u64(value, 1, UINT64_MAX, &options->count);
	case 'F':
		return fault_parse(&options->faults, value, err) == 0;
	case OPT_STALL:
		return take_stall(options, value);
	case OPT_SEED:
		return number_u64(value, 0, UINT64_MAX, &options->seed);
	case OPT_NUMBER_FROM:
		return number_u64(value, 0, 1ull << 50, &options->number_from);
	case OPT_EXPECT:
		return number_u64(value, 1, NUMBERS_MAX, &options->expected);
	default:
		take_plain(options, opt, value);
		return true;
	}
}

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

enum sink_step sink_options_read(struct sink_options *options, int argc, char **argv)
{
	struct err err = {"not a value for this option"};
	int opt;

	*options = (struct sink_options){.name = "sink.example.net",
		.connections_max = 20000,
		.message_max = 1u << 30,
		.idle_seconds = 300,
		.seed = 1};
	while ((opt = getopt_long(argc, argv, "lt:n:F:vd:Vh", longs, NULL)) != -1) {
		if (opt == 'h')
			return fputs(usage, stdout) < 0 ? SINK_WRONG : SINK_DONE;
		if (opt == 'V')
			return printf("postern-sink %s\n", postern_version) < 0 ? SINK_WRONG
										: SINK_DONE;
		if (opt == '?')
			goto help;
		if (!take(options, opt, optarg, &err)) {
			(void)fprintf(
				stderr, "postern-sink: %s: %s\n", optarg ? optarg : "", err.text);
			goto help;
		}
	}
	if (check(options, argc - optind, argv + optind, &err) < 0) {
		(void)fprintf(stderr, "postern-sink: %s\n", err.text);
		return SINK_WRONG;
	}
	return SINK_RUN;
help:
	(void)fprintf(stderr, "postern-sink: --help shows the options\n");
	return SINK_WRONG;
}
