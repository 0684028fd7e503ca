/* SPDX-License-Identifier: MIT */
/*
 * peer: the commands.
 *
 *   peer mail [options]                   one session, one message; facts on stdout
 *   peer many [options] COUNT             COUNT sessions at once, all in TLS before any sends
 *   peer make BYTES SEED text|binary FILE a message of about that size, always the same one
 *   peer same STORED FILE                 STORED is FILE behind trace headers, byte for byte
 *   peer relayed STORED FILE              the same behind Received: alone
 *   peer await FILE REGEX COUNT SECONDS   until FILE has COUNT matches (inotify, no polling)
 *   peer settle COUNTER VALUE SECONDS     until that line of /proc/net/tls_stat has VALUE
 *
 * Options of mail and many:
 *   -h HOST -p PORT -n NAME -s none|starttls|implicit -v 1.2|1.3 -c CIPHER -f FROM -t TO -m FILE
 *   -b            by BDAT; -k CHUNK octets each, -P pipelined, -B as BINARYMIME
 *   -u | -U       KeyUpdate in the middle that asks for the server's | that does not
 *   -e            not in the middle of DATA but behind the final dot, and NOOP under the new key
 *   -x record|between    cut off in the middle without close_notify
 */
#include "peer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX       1000
#define TRACE_BYTES_MAX 2048
#define STAT_PERIOD_MS  20

static pthread_barrier_t barrier;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void parse(int count, char **words, struct peer_settings *settings)
{
	int option;

	*settings = (struct peer_settings){.host = "127.0.0.1",
		.port = 2525,
		.security = PEER_STARTTLS,
		.name = "peer.example.net",
		.from = "peer@example.net",
		.to = "user@example.org"};
	while ((option = getopt(count, words, "h:p:n:s:v:c:f:t:m:bk:PBuUex:")) != -1) {
		switch (option) {
		case 'h':
			settings->host = optarg;
			break;
		case 'p':
			settings->port = atoi(optarg);
			break;
		case 's':
			settings->security = !strcmp(optarg, "none")       ? PEER_NONE
					     : !strcmp(optarg, "implicit") ? PEER_IMPLICIT
									   : PEER_STARTTLS;
			break;
		case 'v':
			settings->version = optarg;
			break;
		case 'c':
			settings->cipher = optarg;
			break;
		case 'n':
			settings->name = optarg;
			break;
		case 'f':
			settings->from = optarg;
			break;
		case 't':
			settings->to = optarg;
			break;
		case 'm':
			settings->file = optarg;
			break;
		case 'b':
			settings->bdat = true;
			break;
		case 'k':
			settings->chunk = strtoul(optarg, NULL, 10);
			break;
		case 'P':
			settings->pipeline = true;
			break;
		case 'B':
			settings->binary = true;
			break;
		case 'u':
		case 'U':
			settings->key_update = true;
			settings->key_update_asked = option == 'u';
			break;
		case 'e':
			settings->key_update_last = true;
			break;
		case 'x':
			settings->cut = !strcmp(optarg, "record") ? PEER_CUT_IN_RECORD
								  : PEER_CUT_BETWEEN_RECORDS;
			break;
		default:
			peer_fail("unknown option");
		}
	}
}

static int run_mail(int count, char **words)
{
	struct peer_settings settings;
	struct dialog *dialog;
	const char *why = NULL;
	uint8_t *message;
	size_t bytes;
	SSL_CTX *context;
	int status = 0;
	int code;

	parse(count, words, &settings);
	message = peer_read_file(settings.file, &bytes);
	context = peer_context(&settings);
	dialog = peer_open(&settings, context);
	if (dialog->ssl)
		printf("%s %s\n", SSL_get_version(dialog->ssl), SSL_get_cipher(dialog->ssl));
	code = peer_mail(dialog, &settings, message, bytes);
	if (code == 250)
		why = peer_quit(dialog);
	else if (code == 0)
		status = dialog->status;
	else
		why = dialog->reply;
	if (why)
		peer_fail("after the message: %s", why);
	peer_free(dialog);
	SSL_CTX_free(context);
	free(message);
	return status;
}

struct one_of_many {
	struct peer_settings settings;
	SSL_CTX *context;
	int number;
	char to[64];
	bool good;
};

static void *run_one(void *arg)
{
	struct one_of_many *one = arg;
	struct dialog *dialog;
	char message[256];
	int n;

	snprintf(one->to, sizeof one->to, "user%d@example.org", one->number);
	one->settings.to = one->to;
	n = snprintf(message, sizeof message, "Subject: many %d\r\n\r\none of many: %d\r\n",
		one->number, one->number);
	dialog = peer_open(&one->settings, one->context);
	if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
		printf("TlsCurrTxSw=%ld TlsCurrRxSw=%ld\n", peer_tls_stat("TlsCurrTxSw"),
			peer_tls_stat("TlsCurrRxSw"));
	pthread_barrier_wait(&barrier);
	one->good = peer_mail(dialog, &one->settings, (uint8_t *)message, (size_t)n) == 250 &&
		    !peer_quit(dialog);
	peer_free(dialog);
	return NULL;
}

static int run_many(int count, char **words)
{
	static struct one_of_many many[COUNT_MAX];
	static pthread_t threads[COUNT_MAX];
	struct peer_settings settings;
	pthread_attr_t attributes;
	SSL_CTX *context;
	unsigned good = 0;
	int sessions;

	parse(count, words, &settings);
	sessions = optind < count ? atoi(words[optind]) : 0;
	if (sessions < 1 || sessions > COUNT_MAX)
		peer_fail("1 to %d sessions", COUNT_MAX);
	context = peer_context(&settings);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * 1024);
	pthread_barrier_init(&barrier, NULL, (unsigned)sessions);
	for (int i = 0; i < sessions; i++) {
		many[i] =
			(struct one_of_many){.settings = settings, .context = context, .number = i};
		if (pthread_create(&threads[i], &attributes, run_one, &many[i]) != 0)
			peer_fail("thread %d: %m", i);
	}
	for (int i = 0; i < sessions; i++) {
		pthread_join(threads[i], NULL);
		good += many[i].good;
	}
	printf("good=%u\n", good);
	return good != (unsigned)sessions;
}

/* Text has CRLF lines of odd lengths, many with a leading dot; binary has every octet there is. */
static int run_make(int count, char **words)
{
	size_t bytes, at = 0;
	uint32_t state;
	bool binary;
	FILE *file;

	if (count < 5)
		peer_fail("make BYTES SEED text|binary FILE");
	bytes = strtoul(words[1], NULL, 10);
	state = (uint32_t)atoi(words[2]) * 2654435761u + 1;
	binary = !strcmp(words[3], "binary");
	file = fopen(words[4], "wb");
	if (!file)
		peer_fail("%s: %m", words[4]);
	at += (size_t)fprintf(
		file, "From: peer@example.net\r\nSubject: %s %s\r\n\r\n", words[1], words[3]);
	while (at < bytes) {
		uint32_t length;

		state = state * 1664525u + 1013904223u;
		length = state >> 24;
		if (binary) {
			for (uint32_t i = 0; i <= length; i++, at++)
				fputc((int)(state >> (i % 24) & 255), file);
			continue;
		}
		for (uint32_t i = 0; i < length; i++, at++)
			fputc(i < state % 3 ? '.' : (int)(' ' + (state >> (i % 17)) % 95), file);
		fputs("\r\n", file);
		at += 2;
	}
	if (fclose(file) != 0)
		peer_fail("%s: %m", words[4]);
	return 0;
}

/* Is STORED the FILE behind trace headers that begin with `first`? */
static int compare(int count, char **words, const char *first)
{
	size_t stored_bytes, bytes, head;
	uint8_t *stored, *message;

	if (count < 3)
		peer_fail("%s STORED FILE", words[0]);
	stored = peer_read_file(words[1], &stored_bytes);
	message = peer_read_file(words[2], &bytes);
	if (stored_bytes < bytes)
		peer_fail("%zu bytes stored, %zu sent", stored_bytes, bytes);
	head = stored_bytes - bytes;
	if (head < strlen(first) || head > TRACE_BYTES_MAX ||
		memcmp(stored, first, strlen(first)) || !memmem(stored, head, "Received: ", 10) ||
		stored[head - 1] != '\n')
		peer_fail("no trace headers of a sane size (%zu bytes)", head);
	for (size_t i = 0; i < bytes; i++)
		if (stored[head + i] != message[i])
			peer_fail("byte %zu differs: %02x stored, %02x sent", i, stored[head + i],
				message[i]);
	free(stored);
	free(message);
	return 0;
}

static int run_same(int count, char **words)
{
	return compare(count, words, "Return-Path: <");
}

static int run_relayed(int count, char **words)
{
	return compare(count, words, "Received: ");
}

static long count_matches(const char *path, const regex_t *pattern)
{
	size_t bytes;
	char *text = (char *)peer_read_file(path, &bytes);
	char *at = text;
	regmatch_t match;
	long found = 0;

	while (regexec(pattern, at, 1, &match, at == text ? 0 : REG_NOTBOL) == 0) {
		found++;
		at += match.rm_eo > match.rm_so ? match.rm_eo : match.rm_eo + 1;
		if (at > text + bytes)
			break;
	}
	free(text);
	return found;
}

static int run_await(int count, char **words)
{
	struct pollfd entry = {.events = POLLIN};
	char events[4096];
	regex_t pattern;
	int64_t deadline;
	long want;

	if (count < 5)
		peer_fail("await FILE REGEX COUNT SECONDS");
	want = atol(words[3]);
	deadline = now_ms() + 1000 * atol(words[4]);
	if (regcomp(&pattern, words[2], REG_EXTENDED | REG_NEWLINE) != 0)
		peer_fail("not a pattern: %s", words[2]);
	entry.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (entry.fd < 0 || inotify_add_watch(entry.fd, words[1], IN_MODIFY | IN_CLOSE_WRITE) < 0)
		peer_fail("%s: %m", words[1]);
	for (;;) {
		int64_t left = deadline - now_ms();

		if (count_matches(words[1], &pattern) >= want) {
			regfree(&pattern);
			return 0;
		}
		if (left <= 0 || poll(&entry, 1, (int)left) == 0)
			peer_fail("%s: no %ld times '%s' in %s s", words[1], want, words[2],
				words[4]);
		while (read(entry.fd, events, sizeof events) > 0)
			continue;
	}
}

/* The kernel announces no change of these counters, so they are looked at again and again. */
static int run_settle(int count, char **words)
{
	struct timespec period = {.tv_nsec = STAT_PERIOD_MS * 1000000L};
	int64_t deadline;

	if (count < 4)
		peer_fail("settle COUNTER VALUE SECONDS");
	deadline = now_ms() + 1000 * atol(words[3]);
	while (peer_tls_stat(words[1]) != atol(words[2])) {
		if (now_ms() > deadline)
			peer_fail("%s is %ld, not %s", words[1], peer_tls_stat(words[1]), words[2]);
		nanosleep(&period, NULL);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int count, char **words);
	} commands[] = {
		{"mail", run_mail},
		{"many", run_many},
		{"make", run_make},
		{"same", run_same},
		{"relayed", run_relayed},
		{"await", run_await},
		{"settle", run_settle},
	};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	peer_fail("usage: peer mail|many|make|same|relayed|await|settle ...");
}
