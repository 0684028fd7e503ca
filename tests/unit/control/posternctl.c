/* SPDX-License-Identifier: MIT */
/*
 * posternctl.c -- the program itself against gateways that serve, hang, hang up or talk rubbish:
 * exit codes, what goes to stdout, what a person is told on stderr.
 *
 * The program is the one beside this test in the build folder. Each gateway is a process of its
 * own, made after its socket listens, killed and reaped at the end.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/counter.h"
#include "control/control.h"

#define OUTPUT_MAX 65536
#define ARGS_MAX   10

static char folder[32];
static char program[PATH_MAX + 32];
static char out[OUTPUT_MAX], complaint[OUTPUT_MAX];

static struct control *control;

static void hook_status(void *ctx, struct control_status *status)
{
	static const char *const names[] = {"mx2.example.org", "\x1b]0;title\x07"};
	static const struct control_listener listeners[] = {
		{"smtp", "127.0.0.1", 25, "starttls"}, {"six", "::1", 465, "implicit"}};
	static const struct control_certificate certificates[] = {
		{"default", "ECDSA P-256", NULL, 0, 4000000000},
		{"old", "RSA 2048", names, COUNT_OF(names), 1000000000}};

	(void)ctx;
	*status = (struct control_status){.version = "7.8",
		.hostname = "mx.example.org",
		.pid = 4711,
		.workers = 2,
		.ktls_rx = "no: \x1b[2J",
		.reload_error = "cert.pem: \xc2\x9b broken",
		.listeners = listeners,
		.listeners_n = 2,
		.certificates = certificates,
		.certificates_n = 2};
}

static void hook_reload_ok(void *ctx)
{
	(void)ctx;
	control_reload_done(control, true, NULL);
}

static void hook_reload_bad(void *ctx)
{
	(void)ctx;
	control_reload_done(control, false, "cert.pem: no\x1b certificate");
}

static void hook_stop(void *ctx)
{
	(void)ctx;
}

static _Noreturn void serve(int listen_fd, void (*reload)(void *ctx))
{
	struct control_hooks hooks = {NULL, hook_status, reload, hook_stop};
	struct pollfd fds[CONTROL_POLLFDS_MAX];
	struct err err;

	count_add(COUNTER_SESSIONS, 4);
	count_add(COUNTER_TLS_HANDSHAKES, 3);
	count_add(COUNTER_MESSAGE_BYTES, 3 << 20);
	if (control_open(&control, listen_fd, &hooks, &err) < 0)
		_exit(1);
	for (;;) {
		size_t n = control_pollfds(control, fds, CONTROL_POLLFDS_MAX);

		(void)poll(fds, n, control_timeout_ms(control));
		control_run(control, fds, n);
	}
}

/* Takes the request and says `answer`, over and over until `octets` are out. */
static void talk(int fd, const char *answer, size_t octets)
{
	char request[64];
	size_t n = strlen(answer);

	(void)!read(fd, request, sizeof(request));
	for (size_t said = 0; said < octets; said += n)
		if (send(fd, answer, n, MSG_NOSIGNAL) < 0)
			break;
	close(fd);
}

enum gateway {
	GATEWAY_NONE,
	GATEWAY_STALE,
	GATEWAY_GOOD,
	GATEWAY_RELOAD_FAILS,
	GATEWAY_HANGS,
	GATEWAY_CLOSES,
	GATEWAY_SMTP,
	GATEWAY_OTHER_JSON,
	GATEWAY_BARE,
	GATEWAY_EMPTY_STATUS,
	GATEWAY_HALF,
	GATEWAY_ENDLESS,
};

static const struct {
	const char *text;
	size_t octets;
} talks[] = {
	[GATEWAY_CLOSES] = {"", 0},
	[GATEWAY_SMTP] = {"220 mx.example.org ESMTP\r\n", 1},
	[GATEWAY_OTHER_JSON] = {"[1, 2]\n", 1},
	[GATEWAY_BARE] = {"{\"ok\": true}\n", 1},
	[GATEWAY_EMPTY_STATUS] = {"{\"ok\": true, \"status\": {}}\n", 1},
	[GATEWAY_HALF] = {"{\"ok\": true, \"te", 1},
	[GATEWAY_ENDLESS] = {"                                                               ",
		5 << 20},
};

static _Noreturn void gateway_run(enum gateway gateway, int listen_fd)
{
	fcntl(listen_fd, F_SETFL, 0);
	if (gateway == GATEWAY_GOOD || gateway == GATEWAY_RELOAD_FAILS) {
		fcntl(listen_fd, F_SETFL, O_NONBLOCK);
		serve(listen_fd, gateway == GATEWAY_GOOD ? hook_reload_ok : hook_reload_bad);
	}
	while (gateway == GATEWAY_HANGS)
		pause();
	for (;;)
		talk(accept(listen_fd, NULL, NULL), talks[gateway].text, talks[gateway].octets);
}

static pid_t gateway_start(enum gateway gateway)
{
	struct err err = {""};
	int fd;
	pid_t pid;

	if (gateway == GATEWAY_NONE)
		return 0;
	fd = control_listen("sock", &err);
	cr_assert_geq(fd, 0, "%s", err.text);
	pid = gateway == GATEWAY_STALE ? 0 : fork();
	if (pid == 0 && gateway != GATEWAY_STALE)
		gateway_run(gateway, fd);
	close(fd);
	return pid;
}

static void gateway_end(pid_t pid)
{
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	unlink("sock");
}

static void folder_make(void)
{
	char self[PATH_MAX] = "";

	cr_assert_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	snprintf(program, sizeof(program), "%s/posternctl", dirname(dirname(dirname(self))));
	cr_assert_eq(access(program, X_OK), 0, "%s is not built", program);
	snprintf(folder, sizeof(folder), "/tmp/control.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
}

static void folder_remove(void)
{
	unlink("sock");
	unlink("out");
	unlink("err");
	cr_assert_eq(chdir("/"), 0);
	rmdir(folder);
}

TestSuite(posternctl, .init = folder_make, .fini = folder_remove, .timeout = 60);

static void file_read(const char *name, char *text)
{
	int fd = open(name, O_RDONLY);
	ssize_t n = read(fd, text, OUTPUT_MAX - 1);

	cr_assert_geq(n, 0);
	text[n] = '\0';
	close(fd);
}

/* `arguments` are separated by spaces. Fills out and complaint, returns the exit code. */
static int run(const char *arguments, const char *stdout_name)
{
	char copy[256];
	char *argv[ARGS_MAX] = {program};
	char *save = NULL;
	int argc = 1, status;
	pid_t pid;

	snprintf(copy, sizeof(copy), "%s", arguments);
	for (char *p = strtok_r(copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save)) {
		cr_assert_lt(argc, ARGS_MAX - 1);
		argv[argc++] = p;
	}
	pid = fork();
	if (pid == 0) {
		dup2(open(stdout_name, O_CREAT | O_TRUNC | O_WRONLY, 0600), STDOUT_FILENO);
		dup2(open("err", O_CREAT | O_TRUNC | O_WRONLY, 0600), STDERR_FILENO);
		execv(program, argv);
		_exit(127);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "%s: status %x", arguments, (unsigned)status);
	if (strcmp(stdout_name, "out") == 0)
		file_read("out", out);
	file_read("err", complaint);
	return WEXITSTATUS(status);
}

static const struct {
	enum gateway gateway;
	const char *arguments;
	int code;
	const char *out; /* a part; NULL: nothing at all */
	const char *complaint;
} rows[] = {
	{GATEWAY_GOOD, "-s sock status", 0, "postern 7.8 on mx.example.org: serving", NULL},
	{GATEWAY_GOOD, "status -s sock", 0, "pid 4711, 2 workers\n", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "  six       [::1]:465     implicit\n", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "2096-10-02 07:06 UTC, in ", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "2001-09-09 01:46 UTC, EXPIRED ", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "3 handshakes (75.0 % of sessions)", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "accepted (3.0 MiB)", NULL},
	{GATEWAY_GOOD, "-s sock status", 0, "RELOAD FAILED  cert.pem: ? broken\n", NULL},
	{GATEWAY_GOOD, "-s sock metrics", 0, "\npostern_sessions_total 4\n", NULL},
	{GATEWAY_GOOD, "-s sock reload", 0, "reloaded\n", NULL},
	{GATEWAY_GOOD, "-s sock stop", 0, "draining\n", NULL},
	{GATEWAY_GOOD, "--json -s sock stop", 0, "\"ok\": true", NULL},
	{GATEWAY_RELOAD_FAILS, "-s sock reload", 1, NULL, "reload: cert.pem: no? certificate\n"},
	{GATEWAY_RELOAD_FAILS, "-s sock -j reload", 1, "\"error\": \"cert.pem: no\\u001B cert",
		"reload: cert.pem"},
	{GATEWAY_NONE, "-s sock status", 3, NULL, "sock: there is no such socket; is postern"},
	{GATEWAY_NONE, "-s sock --json status", 3, "\"ok\": false", "there is no such socket"},
	{GATEWAY_NONE, "-s sock/x status", 3, NULL, "there is no such socket"},
	{GATEWAY_STALE, "-s sock status", 3, NULL, "sock: nobody answers; postern is not running"},
	{GATEWAY_HANGS, "-s sock -t 1 status", 3, NULL, "no answer within the time limit (-t)"},
	{GATEWAY_CLOSES, "-s sock stop", 3, NULL, "closed without an answer"},
	{GATEWAY_SMTP, "-s sock status", 3, NULL, "the answer is not postern's"},
	{GATEWAY_OTHER_JSON, "-s sock status", 3, NULL, "the answer is not postern's"},
	{GATEWAY_HALF, "-s sock stop", 3, NULL, "the answer is not postern's"},
	{GATEWAY_ENDLESS, "-s sock status", 3, NULL, "the answer is too long"},
	{GATEWAY_EMPTY_STATUS, "-s sock status", 0, "postern - on -: -, up -", NULL},
	{GATEWAY_EMPTY_STATUS, "-s sock --json status", 0, "{}\n", NULL},
	{GATEWAY_BARE, "-s sock status", 1, NULL, "the answer lacks a part"},
	{GATEWAY_BARE, "-s sock --json metrics", 1, "\"ok\": false", "the answer lacks a part"},
	{GATEWAY_BARE, "-s sock stop", 1, NULL, "the answer lacks a part"},
	{GATEWAY_NONE, "-h", 0, "usage: posternctl ", NULL},
	{GATEWAY_NONE, "--version", 0, "posternctl ", NULL},
	{GATEWAY_NONE, "", 2, NULL, "a command is missing"},
	{GATEWAY_NONE, "-x status", 2, NULL, "usage: posternctl "},
	{GATEWAY_NONE, "-s", 2, NULL, "usage: posternctl "},
	{GATEWAY_GOOD, "-s sock halt", 2, NULL, "there is no command halt\n"},
	{GATEWAY_GOOD, "-s sock status stop", 2, NULL, "one command at a time"},
	{GATEWAY_GOOD, "-s sock -c p.conf status", 2, NULL, "give one"},
	{GATEWAY_GOOD, "-s sock -t 0 status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_GOOD, "-s sock -t 1x status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_GOOD, "-s sock -t -1 status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_GOOD, "-s sock -t 99999999999999999999 status", 2, NULL, "-t needs whole seconds"},
	{GATEWAY_NONE, "-c p.conf status", 3, NULL, "p.conf"},
};

Test(posternctl, rows)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		pid_t pid = gateway_start(rows[i].gateway);
		int code = run(rows[i].arguments, "out");

		cr_expect_eq(code, rows[i].code, "%s: exit %d", rows[i].arguments, code);
		if (rows[i].out == NULL)
			cr_expect_str_eq(out, "", "%s", rows[i].arguments);
		else
			cr_expect_not_null(strstr(out, rows[i].out), "%s: %s is not in: %s",
				rows[i].arguments, rows[i].out, out);
		if (rows[i].complaint == NULL)
			cr_expect_str_eq(complaint, "", "%s: %s", rows[i].arguments, complaint);
		else
			cr_expect_not_null(strstr(complaint, rows[i].complaint),
				"%s: %s is not in: %s", rows[i].arguments, rows[i].complaint,
				complaint);
		gateway_end(pid);
	}
}

/* Titles, names and errors of others' files do not steer the operator's terminal. */
Test(posternctl, no_control_characters)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);

	cr_expect_eq(run("-s sock status", "out"), 0);
	for (const char *p = out; *p != '\0'; p++)
		cr_expect(*p == '\n' || (unsigned char)*p >= 0x20, "octet %02x",
			(unsigned)(unsigned char)*p);
	cr_expect_null(strstr(out, "\xc2\x9b"));
	gateway_end(pid);
}

Test(posternctl, json)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);
	json_t *root;

	cr_assert_eq(run("-s sock --json status", "out"), 0);
	root = json_loads(out, 0, NULL);
	cr_expect_eq(json_integer_value(json_object_get(root, "pid")), 4711);
	cr_expect_eq(json_array_size(json_object_get(root, "listeners")), 2);
	json_decref(root);

	cr_assert_eq(run("-s sock --json metrics", "out"), 0);
	root = json_loads(out, 0, NULL);
	cr_expect_eq(json_integer_value(json_object_get(root, "postern_sessions_total")), 4);
	cr_expect_not_null(json_object_get(root, "postern_reloads_total{result=\"failed\"}"));
	json_decref(root);
	gateway_end(pid);
}

/* -c: the socket's path is relative to the configuration's folder, not to ours. */
Test(posternctl, socket_of_a_configuration)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);
	FILE *file;

	cr_assert_eq(mkdir("etc", 0700), 0);
	file = fopen("etc/p.conf", "w");
	fputs("hostname = \"mx.example.org\"\ncontrol_socket = \"../sock\"\n"
	      "listener \"l\" { address = \"127.0.0.1\" port = 25 tls = \"none\" }\n"
	      "policy { relay_domains = { \"example.org\" } }\n",
		file);
	fclose(file);
	cr_expect_eq(run("-c etc/p.conf reload", "out"), 0, "%s", complaint);
	cr_expect_str_eq(out, "reloaded\n");
	unlink("etc/p.conf");
	rmdir("etc");
	gateway_end(pid);
}

Test(posternctl, socket_of_the_environment)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);

	setenv("POSTERN_SOCKET", "sock", 1);
	cr_expect_eq(run("reload", "out"), 0, "%s", complaint);
	cr_expect_eq(run("-s elsewhere reload", "out"), 3);
	gateway_end(pid);
}

/* A disk that is full, a pipe that is closed: what was not printed was not done well. */
Test(posternctl, output_that_fails)
{
	pid_t pid = gateway_start(GATEWAY_GOOD);

	cr_expect_eq(run("-s sock metrics", "/dev/full"), 1);
	cr_expect_not_null(strstr(complaint, "cannot write the answer"), "%s", complaint);
	cr_expect_eq(run("-h", "/dev/full"), 1);
	gateway_end(pid);
}
