// SPDX-License-Identifier: MIT
/*
 * handshake: what a full TLS 1.3 handshake costs a server that does nothing else.
 *
 *     handshake [-n COUNT] CHAIN KEY
 *     handshake -l PORT [-j PROCESSES] CHAIN KEY
 *
 * The first form measures on a machine that is idle but for it. Two figures, CPU microseconds of the
 * server's side each, as JSON:
 *   memory   SSL_accept between two SSL objects that are joined by memory, no socket
 *   socket   a server that accepts a connection on loopback, does SSL_accept and closes it; the client
 *            is a process of its own. User and system time.
 * Nothing of the client's side is in either, but for what TCP on loopback does on the sender's time.
 *
 * The second form is the server alone, on 127.0.0.1:PORT until it is ended, for postern-load
 * --handshakes: as many processes as CPUs (or PROCESSES) share a listener, and each takes one connection
 * after the other: accept, SSL_accept, SSL_shutdown, close. It prints `ready` when it listens. Whoever
 * starts it counts its CPU time.
 *
 * All send OpenSSL's default number of tickets.
 *
 * Rejected: openssl s_time against s_server, whose server prints what it agreed on for each connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	COUNT_DEFAULT = 1000,
	COUNT_MAX = 1000000,
	WARM = 50,
	BIO_BYTES = 64 * 1024,
	PORT_MAX = 65535,
	PROCESSES_MAX = 1024,
	BACKLOG = 1024
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "handshake: %s: %s\n", what, errno ? strerror(errno) : "failed");
	ERR_print_errors_fp(stderr);
	exit(1);
}

static double cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static SSL_CTX *make_context(const SSL_METHOD *method, const char *chain, const char *key)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1)
		fail("SSL_CTX_new");
	if (chain && (SSL_CTX_use_certificate_chain_file(context, chain) != 1 ||
			     SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1))
		fail(chain);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	return context;
}

/* One handshake through memory; the server's CPU time. */
static double through_memory(SSL_CTX *server_context, SSL_CTX *client_context)
{
	SSL *server = SSL_new(server_context), *client = SSL_new(client_context);
	BIO *here = NULL, *there = NULL;
	double spent = 0;
	int mine = 0, theirs = 0;

	if (!server || !client || BIO_new_bio_pair(&here, BIO_BYTES, &there, BIO_BYTES) != 1)
		fail("SSL_new");
	SSL_set_bio(server, here, here);
	SSL_set_bio(client, there, there);
	for (int turn = 0; (mine != 1 || theirs != 1) && turn < 20; turn++) {
		double before;

		theirs = SSL_connect(client);
		before = cpu_us();
		mine = SSL_accept(server);
		spent += cpu_us() - before;
	}
	if (mine != 1 || theirs != 1)
		fail("handshake");
	SSL_free(server);
	SSL_free(client);
	return spent;
}

/* The client's process: so many connections, each until the server closes it. */
static void connect_all(const struct sockaddr_in *address, SSL_CTX *context, int count)
{
	for (int i = 0; i < count; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		SSL *ssl = SSL_new(context);
		char byte;

		if (fd < 0 || !ssl || connect(fd, (const void *)address, sizeof *address) != 0)
			fail("connect");
		SSL_set_fd(ssl, fd);
		if (SSL_connect(ssl) != 1)
			fail("SSL_connect");
		(void)SSL_read(ssl, &byte, 1);
		SSL_free(ssl);
		close(fd);
	}
}

/* One connection; false: the handshake failed. */
static bool accept_one(int listener, SSL_CTX *context)
{
	int fd = accept(listener, NULL, NULL);
	SSL *ssl = SSL_new(context);
	bool good;

	if (fd < 0 || !ssl)
		fail("accept");
	SSL_set_fd(ssl, fd);
	good = SSL_accept(ssl) == 1;
	if (good)
		SSL_shutdown(ssl);
	else
		ERR_clear_error();
	SSL_free(ssl);
	close(fd);
	return good;
}

static void accept_all(int listener, SSL_CTX *context, int count)
{
	for (int i = 0; i < count; i++)
		if (!accept_one(listener, context))
			fail("SSL_accept");
}

/* A listener on loopback; port 0 is any, `address` tells which. */
static int listen_on(int port, struct sockaddr_in *address)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	socklen_t length = sizeof *address;

	*address = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port)};
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
		bind(listener, (void *)address, sizeof *address) != 0 ||
		listen(listener, BACKLOG) != 0 ||
		getsockname(listener, (void *)address, &length) != 0)
		fail("listen");
	return listener;
}

/* The second form: all children end with this process. */
static _Noreturn void serve(SSL_CTX *context, int port, int processes)
{
	struct sockaddr_in address;
	int listener = listen_on(port, &address);

	puts("ready");
	fflush(stdout);
	for (int i = 0; i < processes; i++) {
		pid_t child = fork();

		if (child < 0)
			fail("fork");
		if (child > 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)accept_one(listener, context);
	}
	(void)wait(NULL);
	fail("a process ended");
}

/* Over loopback; CPU time of the server's process a handshake. */
static double through_socket(SSL_CTX *server_context, SSL_CTX *client_context, int count)
{
	struct sockaddr_in address;
	int listener = listen_on(0, &address), status = 0;
	double before, spent;
	pid_t client;

	client = fork();
	if (client < 0)
		fail("fork");
	if (client == 0) {
		connect_all(&address, client_context, WARM + count);
		_exit(0);
	}
	accept_all(listener, server_context, WARM);
	before = cpu_us();
	accept_all(listener, server_context, count);
	spent = cpu_us() - before;
	close(listener);
	if (waitpid(client, &status, 0) != client || status != 0)
		fail("the client");
	return spent / count;
}

/* The first form. */
static void measure(SSL_CTX *server, int count)
{
	SSL_CTX *client = make_context(TLS_client_method(), NULL, NULL);
	double memory = 0, socket_us;

	for (int i = 0; i < WARM; i++)
		through_memory(server, client);
	for (int i = 0; i < count; i++)
		memory += through_memory(server, client);
	socket_us = through_socket(server, client, count);
	printf("{\"count\": %d, \"memory_us\": %.1f, \"socket_us\": %.1f}\n", count, memory / count,
		socket_us);
	SSL_CTX_free(client);
}

/* 0 where it is not from 1 to max. */
static int number(const char *text, int max)
{
	long value = strtol(text, NULL, 10);

	return value >= 1 && value <= max ? (int)value : 0;
}

int main(int argc, char **argv)
{
	int count = COUNT_DEFAULT, processes = (int)sysconf(_SC_NPROCESSORS_ONLN), port = -1,
	    option;
	bool good = true;
	SSL_CTX *server;

	while ((option = getopt(argc, argv, "n:l:j:")) != -1) {
		if (option == 'n')
			good &= (count = number(optarg, COUNT_MAX)) > 0;
		else if (option == 'l')
			good &= (port = number(optarg, PORT_MAX)) > 0;
		else if (option == 'j')
			good &= (processes = number(optarg, PROCESSES_MAX)) > 0;
		else
			good = false;
	}
	if (!good || argc - optind != 2) {
		fprintf(stderr, "usage: handshake [-n COUNT] CHAIN KEY\n"
				"       handshake -l PORT [-j PROCESSES] CHAIN KEY\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	server = make_context(TLS_server_method(), argv[optind], argv[optind + 1]);
	if (port > 0)
		serve(server, port, processes);
	measure(server, count);
	SSL_CTX_free(server);
	return 0;
}
