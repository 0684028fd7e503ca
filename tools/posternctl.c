/* SPDX-License-Identifier: MIT */
/*
 * posternctl.c -- the operator's hand: asks a running gateway over its control socket.
 *
 * One command, one answer, an exit code that scripts can use: see enum exit_code. Each request has a
 * connection of its own; only commands of the queue, the fence and sts make more than one.
 * For a person it prints tables; --json gives what the gateway said. What cannot be done is one
 * sentence on stderr that names the socket and says what to try.
 *
 * Non-goals: starting the gateway, editing its configuration.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"
#include "tools/posternctl.h"

#define SOCKET_DEFAULT      "/run/postern/postern.sock"
#define REQUEST_MAX         4096              /* octets: what the gateway takes */
#define ANSWER_MAX          (4 * 1024 * 1024) /* octets */
#define TIMEOUT_SECONDS     30
#define TIMEOUT_SECONDS_MAX 86400

static const char usage[] =
	"usage: posternctl [-s SOCKET | -c CONFIG] [-t SECONDS] [--json] COMMAND\n"
	"\n"
	"  status    what runs: listeners, certificates, kTLS, sums\n"
	"  metrics   all counters as Prometheus text\n"
	"  reload    read certificates, policies, recipients, routes and the fence again\n"
	"  stop      take no more connections, end when the open ones are done\n"
	"\n"
	"  queue [list] [FILTER] [--limit N]    the messages that wait, the oldest first\n"
	"  queue count [FILTER] [--limit N]     how many, by destination\n"
	"  queue show ID                        one message: envelope, header, tries\n"
	"  queue retry|hold|release|delete|bounce ID ... | FILTER | --all [--yes]\n"
	"  queue flush DESTINATION              forget that it was down and try now\n"
	"\n"
	"  FILTER: --sender ADDRESS --recipient ADDRESS --domain DOMAIN\n"
	"          --destination NAME --state active|ready|deferred|held\n"
	"          --older-than TIME --younger-than TIME (90s, 10m, 2h, 1d12h)\n"
	"          addresses: @DOMAIN is any address there, <> the null sender\n"
	"\n"
	"  fence [status]                       where it runs, its budgets, what it decided\n"
	"  fence top [--by WHAT] [--limit N]    the sources that have most:\n"
	"          penalty|connections|open|octets|handshakes|refusals\n"
	"  fence list                           allowed and blocked networks\n"
	"  fence allow|block NETWORK [--for TIME] [--force]\n"
	"  fence unblock NETWORK                take away such an entry, or a penalty\n"
	"  fence forget ADDRESS                 its source is as if it had never come\n"
	"  fence explain ADDRESS                what it would get now, and what it has left\n"
	"  fence samples [--limit N]            the last refusals that were written down\n"
	"\n"
	"  sts records [DOMAIN]                 DNS records to add for what is published\n"
	"  sts report [DOMAIN] [--day DAY]      what came of TLS with other domains today,\n"
	"                                       or on a day like 2026-11-21\n"
	"  sts policies [DOMAIN]                MTA-STS policies of other domains that are kept\n"
	"  sts watch [DOMAIN] [--days N] [--limit N]  who sends with TLS and who does not,\n"
	"                                       failed handshakes, what a policy should say\n"
	"  sts check [DOMAIN] [--resolver ADDR[@PORT]] [--trust-anchor FILE] [--ca-file FILE]\n"
	"          [--address ADDR] [--port PORT] [--policy-port PORT] [--helo NAME] [--no-dane]\n"
	"                                       what senders see of the published policies,\n"
	"                                       and what they will do about it\n"
	"\n"
	"  -s, --socket SOCKET   the gateway's control socket\n"
	"  -c, --config CONFIG   take the socket's path from this configuration\n"
	"  -t, --timeout SECONDS how long to wait for the answer (30)\n"
	"  -j, --json            print JSON\n"
	"  -h, --help            this text\n"
	"  -V, --version         the version\n"
	"\n"
	"Without -s and -c: $POSTERN_SOCKET, or " SOCKET_DEFAULT ".\n"
	"Exit codes: 0 done, 1 the command failed, 2 usage, 3 the gateway was not reached,\n"
	"4 nothing matches; of sts check: 5 mail comes, less protected than it could be, 6 some\n"
	"sender that keeps to the rules does not deliver.\n";

static const struct command {
	const char *word;
	const char *text_key; /* what the answer must have */
	const char *json_key; /* what it must have for --json, which prints this part */
	void (*put)(const json_t *answer);
} commands[] = {
	{"status", "status", "status", show_status},
	{"metrics", "text", "values", show_metrics},
	{"reload", "text", NULL, show_text},
	{"stop", "text", NULL, show_text},
};

/* ---- asking ---- */

static int socket_wait(int fd, short events, uint64_t deadline_ms)
{
	struct pollfd pollfd = {.fd = fd, .events = events};
	uint64_t now = clock_ms();
	int n;

	if (now >= deadline_ms)
		return -ETIMEDOUT;
	n = poll(&pollfd, 1, (int)(deadline_ms - now));
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

/* The descriptor or -errno. EAGAIN is a full backlog: on unix sockets nothing to poll for. */
static int socket_open(const char *path, uint64_t deadline_ms)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000000L};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		error = errno == EAGAIN && clock_ms() >= deadline_ms ? ETIMEDOUT : errno;
		if (error != EAGAIN && error != EINTR) {
			close(fd);
			return -error;
		}
		(void)nanosleep(&pause, NULL);
	}
	return fd;
}

/* 0 or -errno. */
static int request_send(int fd, const char *request, uint64_t deadline_ms)
{
	char line[REQUEST_MAX];
	int n = snprintf(line, sizeof(line), "%s\n", request);

	if (n >= (int)sizeof(line))
		return -E2BIG;
	for (int sent = 0; sent < n;) {
		ssize_t k = send(fd, line + sent, (size_t)(n - sent), MSG_NOSIGNAL);
		int error = k < 0 ? -errno : 0;

		if (error == -EAGAIN)
			error = socket_wait(fd, POLLOUT, deadline_ms);
		if (error < 0 && error != -EINTR)
			return error;
		sent += k > 0 ? (int)k : 0;
	}
	return 0;
}

/* Reads to the end of file. The number of octets or -errno. */
static ssize_t answer_read(int fd, char *text, size_t cap, uint64_t deadline_ms)
{
	size_t got = 0;

	for (;;) {
		ssize_t n = recv(fd, text + got, cap - got, 0);
		int error = n < 0 ? -errno : 0;

		if (error == -EAGAIN)
			error = socket_wait(fd, POLLIN, deadline_ms);
		if (error == -ECONNRESET && got > 0)
			return (ssize_t)got;
		if (error < 0 && error != -EINTR)
			return error;
		if (n == 0)
			return (ssize_t)got;
		got += n > 0 ? (size_t)n : 0;
		if (got == cap)
			return -EMSGSIZE;
	}
}

static const char *unreached_why(int error)
{
	switch (error) {
	case -ENOENT:
		return "there is no such socket; is postern running? Name its socket with -s or "
		       "its configuration with -c";
	case -ECONNREFUSED:
		return "nobody answers; postern is not running";
	case -EACCES:
	case -EPERM:
		return "permission denied; be root or the user or group that owns the socket";
	case -ETIMEDOUT:
		return "no answer within the time limit (-t); is postern hanging? Its log may say";
	case -ECONNRESET:
	case -EPIPE:
		return "the connection was closed without an answer; postern may have ended";
	case -EMSGSIZE:
		return "the answer is too long; is this postern's socket?";
	case -EBADMSG:
		return "the answer is not postern's; is this its control socket?";
	case -E2BIG:
		return "the request is too long";
	case -ENAMETOOLONG:
		return "the path is too long for a unix socket";
	default:
		return strerror(-error);
	}
}

int complain(const struct options *options, enum exit_code code, const char *where, const char *why)
{
	json_t *root;

	fprintf(stderr, "posternctl: %s: ", where);
	show_clean(stderr, why);
	fputc('\n', stderr);
	if (!options->json)
		return (int)code;
	root = json_pack("{s:b, s:s}", "ok", 0, "error", why);
	if (root != NULL)
		json_put(root);
	json_decref(root);
	return (int)code;
}

void json_put(const json_t *json)
{
	if (json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0)
		putchar('\n');
}

int ask(const struct options *options, const char *request, json_t **answer)
{
	uint64_t deadline_ms = clock_ms() + options->ms_max;
	char *text = malloc(ANSWER_MAX);
	int fd = socket_open(options->path, deadline_ms);
	ssize_t n = text == NULL ? -ENOMEM : fd;

	if (n >= 0)
		n = request_send(fd, request, deadline_ms);
	if (n >= 0 || n == -EPIPE) /* it may have been refused before it was read */
		n = answer_read(fd, text, ANSWER_MAX, deadline_ms);
	if (fd >= 0)
		close(fd);
	if (n == 0)
		n = -ECONNRESET;
	*answer = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	free(text);
	if (n > 0 && !json_is_boolean(json_object_get(*answer, "ok"))) {
		json_decref(*answer);
		*answer = NULL;
		n = -EBADMSG;
	}
	return n < 0 ? (int)n : 0;
}

int ask_for(const struct options *options, const char *request, const char *key, json_t **answer)
{
	int error = ask(options, request, answer);
	int result = EXIT_OK;

	if (error < 0)
		return complain(options, EXIT_UNREACHED, options->path, unreached_why(error));
	if (!json_is_true(json_object_get(*answer, "ok")))
		result = complain(
			options, EXIT_FAILED, options->words[0], show_string_of(*answer, "error"));
	else if (key != NULL && json_object_get(*answer, key) == NULL)
		result = complain(options, EXIT_FAILED, options->words[0],
			"the answer lacks a part; are postern and posternctl of one version?");
	if (result == EXIT_OK)
		return EXIT_OK;
	json_decref(*answer);
	*answer = NULL;
	return result;
}

int ask_part(const struct options *options, const char *command, const char *action,
	json_t *request, json_t **part)
{
	json_t *answer = NULL;
	char *line;
	int result;

	*part = NULL;
	json_object_set_new(request, "command", json_string(command));
	json_object_set_new(request, "action", json_string(action));
	line = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (line == NULL)
		return complain(options, EXIT_FAILED, command, "memory is short");
	result = ask_for(options, line, command, &answer);
	free(line);
	if (result == EXIT_OK)
		*part = json_incref(json_object_get(answer, command));
	json_decref(answer);
	return result;
}

/* ---- the command line ---- */

static bool seconds_parse(const char *text, uint64_t *ms)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0')
		return false;
	*ms = (uint64_t)value * 1000;
	return value >= 1 && value <= TIMEOUT_SECONDS_MAX;
}

int usage_wrong(const char *what, const char *which)
{
	fprintf(stderr, "posternctl: %s%s\n%s", what, which, usage);
	return EXIT_USAGE;
}

static int option_take(struct options *options, int c, const char *name)
{
	char what[96];

	switch (c) {
	case 's':
		options->socket = optarg;
		return -1;
	case 'c':
		options->config = optarg;
		return -1;
	case 'j':
		options->json = true;
		return -1;
	case 't':
		if (seconds_parse(optarg, &options->ms_max))
			return -1;
		return usage_wrong("-t needs whole seconds, 1 to 86400, not ", optarg);
	case 'a':
		options->all = true;
		return -1;
	case 'y':
		options->yes = true;
		return -1;
	case 'F':
		options->force = true;
		return -1;
	case 'C':
		if (check_option(options, name, optarg))
			return -1;
		snprintf(what, sizeof(what), "--%s needs %s, not ", name, check_option_form(name));
		return usage_wrong(what, optarg);
	case 'S':
		if (sts_option(options, name, optarg))
			return -1;
		snprintf(what, sizeof(what), "--%s needs %s, not ", name, sts_option_form(name));
		return usage_wrong(what, optarg);
	case 'f':
		if (fence_option(options, name, optarg))
			return -1;
		snprintf(what, sizeof(what), "--%s needs %s, not ", name, fence_option_form(name));
		return usage_wrong(what, optarg);
	case 'q':
		if (queue_option(options, name, optarg))
			return -1;
		snprintf(what, sizeof(what), "--%s needs %s, not ", name, queue_option_form(name));
		return usage_wrong(what, optarg);
	case 'h':
		return fputs(usage, stdout) < 0 ? EXIT_FAILED : EXIT_OK;
	case 'V':
		return printf("posternctl %s\n", postern_version) < 0 ? EXIT_FAILED : EXIT_OK;
	default:
		fputs(usage, stderr); /* getopt said what is wrong */
		return EXIT_USAGE;
	}
}

/* -1: go on; otherwise the exit code. */
static int options_parse(struct options *options, int argc, char **argv)
{
	static const struct option longs[] = {{"socket", required_argument, NULL, 's'},
		{"config", required_argument, NULL, 'c'}, {"timeout", required_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {"all", no_argument, NULL, 'a'},
		{"yes", no_argument, NULL, 'y'}, {"sender", required_argument, NULL, 'q'},
		{"recipient", required_argument, NULL, 'q'},
		{"domain", required_argument, NULL, 'q'},
		{"destination", required_argument, NULL, 'q'},
		{"state", required_argument, NULL, 'q'},
		{"older-than", required_argument, NULL, 'q'},
		{"younger-than", required_argument, NULL, 'q'},
		{"limit", required_argument, NULL, 'q'}, {"for", required_argument, NULL, 'f'},
		{"by", required_argument, NULL, 'f'}, {"force", no_argument, NULL, 'F'},
		{"day", required_argument, NULL, 'S'}, {"days", required_argument, NULL, 'S'},
		{"resolver", required_argument, NULL, 'C'},
		{"trust-anchor", required_argument, NULL, 'C'},
		{"ca-file", required_argument, NULL, 'C'},
		{"address", required_argument, NULL, 'C'}, {"port", required_argument, NULL, 'C'},
		{"policy-port", required_argument, NULL, 'C'},
		{"helo", required_argument, NULL, 'C'}, {"no-dane", no_argument, NULL, 'C'}, {0}};
	int c, result, which = 0;

	while ((c = getopt_long(argc, argv, "s:c:t:jhV", longs, &which)) != -1) {
		result = option_take(options, c, longs[which].name);
		if (result >= 0)
			return result;
	}
	if (options->socket != NULL && options->config != NULL)
		return usage_wrong("-s and -c name the socket twice: give one", "");
	if (optind == argc)
		return usage_wrong("a command is missing", "");
	options->words = argv + optind;
	options->words_n = argc - optind;
	return -1;
}

static const struct command *command_find(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		if (strcmp(commands[i].word, word) == 0)
			return &commands[i];
	return NULL;
}

/* The socket's path, to be freed; NULL and err. */
static char *socket_path(const struct options *options, struct err *err)
{
	const char *environment = getenv("POSTERN_SOCKET");
	struct config *config;
	char *path;

	if (options->config != NULL) {
		if (config_open(&config, options->config, err) < 0)
			return NULL;
		path = strdup(config->main.control_socket);
		config_close(config);
	} else if (options->socket != NULL) {
		path = strdup(options->socket);
	} else {
		path = strdup(environment && environment[0] ? environment : SOCKET_DEFAULT);
	}
	if (path == NULL)
		err_set(err, "memory is short");
	return path;
}

static int command_run(const struct options *options, const struct command *command)
{
	const char *key = options->json ? command->json_key : command->text_key;
	json_t *answer;
	int result = ask_for(options, command->word, key, &answer);

	if (result != EXIT_OK)
		return result;
	if (options->json)
		json_put(key ? json_object_get(answer, key) : answer);
	else
		command->put(answer);
	json_decref(answer);
	return EXIT_OK; /* main() looks whether stdout took it */
}

/* EXIT_OK: the options are ones that the command takes. */
static int options_check(const struct options *options, bool queue, bool fence, bool sts)
{
	const char *word = options->words[0];

	if (!queue && (options->all || options->yes || json_object_size(options->filter) > 0))
		return usage_wrong("options of queue do not go with ", word);
	if (!fence && (options->for_s != 0 || options->by != NULL || options->force))
		return usage_wrong("options of fence do not go with ", word);
	if (!sts && (options->day != NULL || options->days != 0 || options->probe_given))
		return usage_wrong("options of sts do not go with ", word);
	if (!queue && !fence && !sts && options->limit != 0)
		return usage_wrong("--limit does not go with ", word);
	if (!queue && !fence && !sts && options->words_n > 1)
		return usage_wrong("one command at a time; not understood: ", options->words[1]);
	return EXIT_OK;
}

/* The words are a command's. */
static int words_run(struct options *options)
{
	bool queue = strcmp(options->words[0], "queue") == 0;
	bool fence = strcmp(options->words[0], "fence") == 0;
	bool sts = strcmp(options->words[0], "sts") == 0;
	const struct command *command = command_find(options->words[0]);
	struct err err;
	char *path;
	int result;

	if (command == NULL && !queue && !fence && !sts)
		return usage_wrong("there is no command ", options->words[0]);
	result = options_check(options, queue, fence, sts);
	if (result != EXIT_OK)
		return result;
	path = socket_path(options, &err);
	if (path == NULL)
		return complain(options, EXIT_UNREACHED, "the control socket", err.text);
	options->path = path;
	if (command != NULL)
		result = command_run(options, command);
	else
		result = queue ? queue_run(options) : fence ? fence_run(options) : sts_run(options);
	free(path);
	return result;
}

static int run(int argc, char **argv)
{
	struct options options = {.probe.kind = PROBE_DOMAIN,
		.ms_max = TIMEOUT_SECONDS * 1000,
		.filter = json_object()};
	int result = options_parse(&options, argc, argv);

	if (result < 0)
		result = words_run(&options);
	json_decref(options.filter);
	return result;
}

int main(int argc, char **argv)
{
	int result = run(argc, argv);

	if (fflush(stdout) == 0 && !ferror(stdout))
		return result;
	fprintf(stderr, "posternctl: cannot write the answer: %s\n", strerror(errno));
	return result == EXIT_OK ? EXIT_FAILED : result;
}
