/* SPDX-License-Identifier: MIT */
/*
 * posternctl.c -- the operator's hand: asks a running gateway over its control socket.
 *
 * One command, one connection, one answer, an exit code that scripts can use: see enum exit_code.
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
#define ANSWER_MAX          (4 * 1024 * 1024) /* octets */
#define TIMEOUT_SECONDS     30
#define TIMEOUT_SECONDS_MAX 86400

enum exit_code { EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHED };

struct options {
	const char *socket;
	const char *config;
	const char *command;
	bool json;
	uint64_t ms_max;
};

static const char usage[] =
	"usage: posternctl [-s SOCKET | -c CONFIG] [-t SECONDS] [--json] COMMAND\n"
	"\n"
	"  status    what runs: listeners, certificates, kTLS, sums\n"
	"  metrics   all counters as Prometheus text\n"
	"  reload    read certificates and recipients again; sessions go on\n"
	"  stop      take no more connections, end when the open ones are done\n"
	"\n"
	"  -s, --socket SOCKET   the gateway's control socket\n"
	"  -c, --config CONFIG   take the socket's path from this configuration\n"
	"  -t, --timeout SECONDS how long to wait for the answer (30)\n"
	"  -j, --json            print JSON\n"
	"  -h, --help            this text\n"
	"  -V, --version         the version\n"
	"\n"
	"Without -s and -c: $POSTERN_SOCKET, or " SOCKET_DEFAULT ".\n"
	"Exit codes: 0 done, 1 the command failed, 2 usage, 3 the gateway was not reached.\n";

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
static int request_send(int fd, const char *command, uint64_t deadline_ms)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s\n", command);

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
	case -ENAMETOOLONG:
		return "the path is too long for a unix socket";
	default:
		return strerror(-error);
	}
}

/* Says it on stderr and, with --json, on stdout in the gateway's own form. */
static enum exit_code complain(
	const struct options *options, enum exit_code code, const char *where, const char *why)
{
	json_t *root;

	fprintf(stderr, "posternctl: %s: ", where);
	show_clean(stderr, why);
	fputc('\n', stderr);
	if (!options->json)
		return code;
	root = json_pack("{s:b, s:s}", "ok", 0, "error", why);
	if (root != NULL && json_dumpf(root, stdout, JSON_INDENT(2)) == 0)
		putchar('\n');
	json_decref(root);
	return code;
}

/* 0 and an object with a boolean "ok", or -errno. */
static int ask(const struct options *options, const char *path, json_t **answer)
{
	uint64_t deadline_ms = clock_ms() + options->ms_max;
	char *text = malloc(ANSWER_MAX);
	int fd = socket_open(path, deadline_ms);
	ssize_t n = text == NULL ? -ENOMEM : fd;

	if (n >= 0)
		n = request_send(fd, options->command, deadline_ms);
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

static int usage_wrong(const char *what, const char *which)
{
	fprintf(stderr, "posternctl: %s%s\n%s", what, which, usage);
	return EXIT_USAGE;
}

/* -1: go on; otherwise the exit code. */
static int options_parse(struct options *options, int argc, char **argv)
{
	static const struct option longs[] = {{"socket", required_argument, NULL, 's'},
		{"config", required_argument, NULL, 'c'}, {"timeout", required_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {0}};
	int c;

	*options = (struct options){.ms_max = TIMEOUT_SECONDS * 1000};
	while ((c = getopt_long(argc, argv, "s:c:t:jhV", longs, NULL)) != -1) {
		if (c == 's')
			options->socket = optarg;
		else if (c == 'c')
			options->config = optarg;
		else if (c == 'j')
			options->json = true;
		else if (c == 't' && !seconds_parse(optarg, &options->ms_max))
			return usage_wrong("-t needs whole seconds, 1 to 86400, not ", optarg);
		else if (c == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_FAILED : EXIT_OK;
		else if (c == 'V')
			return printf("posternctl %s\n", postern_version) < 0 ? EXIT_FAILED
									      : EXIT_OK;
		else if (c == '?') {
			fputs(usage, stderr); /* getopt said what is wrong */
			return EXIT_USAGE;
		}
	}
	if (options->socket != NULL && options->config != NULL)
		return usage_wrong("-s and -c name the socket twice: give one", "");
	if (optind == argc)
		return usage_wrong("a command is missing", "");
	if (optind + 1 < argc)
		return usage_wrong("one command at a time; not understood: ", argv[optind + 1]);
	options->command = argv[optind];
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

static int answer_put(
	const struct options *options, const struct command *command, const json_t *answer)
{
	const char *key = options->json ? command->json_key : command->text_key;
	const json_t *part = key ? json_object_get(answer, key) : answer;

	if (!json_is_true(json_object_get(answer, "ok")))
		return (int)complain(
			options, EXIT_FAILED, command->word, show_string_of(answer, "error"));
	if (part == NULL)
		return (int)complain(options, EXIT_FAILED, command->word,
			"the answer lacks a part; are postern and posternctl of one version?");
	if (!options->json) {
		command->put(answer);
		return EXIT_OK;
	}
	if (json_dumpf(part, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0)
		putchar('\n');
	return EXIT_OK; /* main() looks whether stdout took it */
}

static int run(int argc, char **argv)
{
	struct options options;
	const struct command *command;
	struct err err;
	json_t *answer = NULL;
	char *path;
	int result = options_parse(&options, argc, argv);

	if (result >= 0)
		return result;
	command = command_find(options.command);
	if (command == NULL)
		return usage_wrong("there is no command ", options.command);
	path = socket_path(&options, &err);
	if (path == NULL)
		return (int)complain(&options, EXIT_UNREACHED, "the control socket", err.text);
	result = ask(&options, path, &answer);
	if (result < 0)
		result = (int)complain(&options, EXIT_UNREACHED, path, unreached_why(result));
	else
		result = answer_put(&options, command, answer);
	json_decref(answer);
	free(path);
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
