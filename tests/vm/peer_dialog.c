/* SPDX-License-Identifier: MIT */
/*
 * peer_dialog: one SMTP dialogue over a blocking socket, plain or TLS. Output is collected and
 * leaves in full records, so that pipelined commands and chunk ends fall inside records.
 */
#include "peer.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define WAIT_SECONDS 90

void peer_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "peer: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

uint8_t *peer_read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	struct stat status;
	uint8_t *data;

	if (!file || fstat(fileno(file), &status) < 0)
		peer_fail("%s: %m", path);
	*bytes = (size_t)status.st_size;
	data = malloc(*bytes + 1);
	if (!data || fread(data, 1, *bytes, file) != *bytes)
		peer_fail("%s: cannot be read", path);
	data[*bytes] = 0;
	fclose(file);
	return data;
}

long peer_tls_stat(const char *name)
{
	FILE *file = fopen("/proc/net/tls_stat", "r");
	char key[64];
	long value;
	long found = -1;

	while (file && fscanf(file, "%63s %ld", key, &value) == 2)
		if (!strcmp(key, name))
			found = value;
	if (file)
		fclose(file);
	return found;
}

SSL_CTX *peer_context(const struct peer_settings *settings)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	int version = 0;

	if (settings->version)
		version = strcmp(settings->version, "1.3") ? TLS1_2_VERSION : TLS1_3_VERSION;
	if (!context || (version && (!SSL_CTX_set_min_proto_version(context, version) ||
					    !SSL_CTX_set_max_proto_version(context, version))))
		peer_fail("no TLS context");
	if (settings->cipher && version == TLS1_3_VERSION &&
		!SSL_CTX_set_ciphersuites(context, settings->cipher))
		peer_fail("no cipher %s", settings->cipher);
	if (settings->cipher && version != TLS1_3_VERSION &&
		!SSL_CTX_set_cipher_list(context, settings->cipher))
		peer_fail("no cipher %s", settings->cipher);
	return context;
}

static int connect_to(const char *host, int port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	struct timeval limit = {.tv_sec = WAIT_SECONDS};
	struct addrinfo *address;
	char service[16];
	int on = 1;
	int fd;

	snprintf(service, sizeof service, "%d", port);
	if (getaddrinfo(host, service, &hints, &address) != 0)
		peer_fail("no address %s", host);
	fd = socket(address->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) < 0)
		peer_fail("cannot connect to %s port %d: %m", host, port);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	freeaddrinfo(address);
	return fd;
}

/* False when the server is gone; status is then set by the reading side. */
static bool flush_out(struct dialog *dialog)
{
	size_t at = 0;

	while (at < dialog->pending) {
		ssize_t n = dialog->ssl ? SSL_write(dialog->ssl, dialog->out + at,
						  (int)(dialog->pending - at))
					: send(dialog->fd, dialog->out + at, dialog->pending - at,
						  MSG_NOSIGNAL);

		if (n <= 0) {
			ERR_clear_error();
			dialog->pending = 0;
			return false;
		}
		at += (size_t)n;
	}
	dialog->pending = 0;
	return true;
}

static bool put(struct dialog *dialog, const void *data, size_t bytes)
{
	const char *at = data;

	while (bytes > 0) {
		size_t room = sizeof dialog->out - dialog->pending;
		size_t step = bytes < room ? bytes : room;

		memcpy(dialog->out + dialog->pending, at, step);
		dialog->pending += step;
		at += step;
		bytes -= step;
		if (dialog->pending == sizeof dialog->out && !flush_out(dialog))
			return false;
	}
	return true;
}

static bool put_line(struct dialog *dialog, const char *line)
{
	return put(dialog, line, strlen(line)) && put(dialog, "\r\n", 2);
}

static ssize_t take(struct dialog *dialog, char *to, size_t room)
{
	int n;

	if (!dialog->ssl) {
		ssize_t got = recv(dialog->fd, to, room, 0);

		if (got < 0 && errno == EAGAIN)
			peer_fail("nothing came for %d s", WAIT_SECONDS);
		dialog->status = PEER_CUT_OFF;
		return got;
	}
	n = SSL_read(dialog->ssl, to, (int)room);
	if (n > 0)
		return n;
	if (SSL_get_error(dialog->ssl, n) == SSL_ERROR_WANT_READ)
		peer_fail("nothing came for %d s", WAIT_SECONDS);
	dialog->status = SSL_get_error(dialog->ssl, n) == SSL_ERROR_ZERO_RETURN
				 ? PEER_CLOSED_CLEANLY
				 : PEER_CUT_OFF;
	ERR_clear_error();
	return 0;
}

/* The next reply, all its lines; its code, 0 when the server is gone. */
static int read_reply(struct dialog *dialog)
{
	size_t length = 0;

	flush_out(dialog);
	dialog->reply[0] = 0;
	for (;;) {
		char *end = memchr(dialog->in, '\n', dialog->have);
		size_t line;

		if (!end) {
			ssize_t n;

			if (dialog->have == sizeof dialog->in)
				peer_fail("a reply line of %zu bytes", dialog->have);
			n = take(dialog, dialog->in + dialog->have,
				sizeof dialog->in - dialog->have);
			if (n <= 0)
				return 0;
			dialog->have += (size_t)n;
			continue;
		}
		line = (size_t)(end - dialog->in) + 1;
		if (line < 5 || length + line >= sizeof dialog->reply)
			peer_fail("a reply that is none: %.*s", (int)line, dialog->in);
		memcpy(dialog->reply + length, dialog->in, line);
		dialog->reply[length + line] = 0;
		memmove(dialog->in, dialog->in + line, dialog->have - line);
		dialog->have -= line;
		if (dialog->reply[length + 3] == ' ')
			return atoi(dialog->reply + length);
		length += line;
	}
}

static void expect(struct dialog *dialog, int want, const char *when)
{
	int code = read_reply(dialog);

	if (code != want)
		peer_fail("%s: wanted %d, got %d: %s", when, want, code, dialog->reply);
}

static void start_tls(struct dialog *dialog, SSL_CTX *context)
{
	int result;

	dialog->ssl = SSL_new(context);
	if (!dialog->ssl || !SSL_set_fd(dialog->ssl, dialog->fd))
		peer_fail("no TLS");
	result = SSL_connect(dialog->ssl);
	if (result != 1)
		peer_fail("handshake failed: %s", ERR_error_string(ERR_get_error(), NULL));
}

static void say_ehlo(struct dialog *dialog, const struct peer_settings *settings, const char *when)
{
	put(dialog, "EHLO ", 5);
	put_line(dialog, settings->name);
	expect(dialog, 250, when);
}

static void look(
	const struct dialog *dialog, const struct peer_settings *settings, enum peer_stage stage)
{
	if (settings->look)
		settings->look(dialog, stage);
}

struct dialog *peer_open(const struct peer_settings *settings, SSL_CTX *context)
{
	struct dialog *dialog = calloc(1, sizeof *dialog);

	if (!dialog)
		peer_fail("no memory");
	dialog->fd = connect_to(settings->host, settings->port);
	if (settings->security == PEER_IMPLICIT)
		start_tls(dialog, context);
	expect(dialog, 220, "banner");
	say_ehlo(dialog, settings, "EHLO");
	look(dialog, settings, dialog->ssl ? PEER_UNDER_TLS : PEER_IN_CLEAR);
	if (settings->security == PEER_STARTTLS) {
		if (!strstr(dialog->reply, "STARTTLS"))
			peer_fail("no STARTTLS offered");
		put_line(dialog, "STARTTLS");
		expect(dialog, 220, "STARTTLS");
		if (dialog->have)
			peer_fail("bytes in clear behind the 220");
		look(dialog, settings, PEER_MAY_SHAKE);
		start_tls(dialog, context);
		say_ehlo(dialog, settings, "EHLO under TLS");
		look(dialog, settings, PEER_UNDER_TLS);
	}
	return dialog;
}

/* A new key from here on. */
static void update_key(struct dialog *dialog, const struct peer_settings *settings)
{
	flush_out(dialog);
	if (SSL_key_update(dialog->ssl, settings->key_update_asked
						? SSL_KEY_UPDATE_REQUESTED
						: SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
		peer_fail("no KeyUpdate possible");
}

/* The final dot, a new key and a command under it leave before the message is answered. */
static int end_with_new_key(struct dialog *dialog, const struct peer_settings *settings)
{
	int code;

	put_line(dialog, ".");
	update_key(dialog, settings);
	put_line(dialog, "NOOP");
	code = read_reply(dialog);
	if (code != 250)
		return code;
	return read_reply(dialog);
}

/* Ends our direction without close_notify; the server's answer, if any, is read to the end. */
static int cut_off(struct dialog *dialog, enum peer_cut cut)
{
	char rest[256];

	flush_out(dialog);
	if (cut == PEER_CUT_IN_RECORD &&
		send(dialog->fd, "\x17\x03\x03\x00\x80half", 9, MSG_NOSIGNAL) != 9)
		peer_fail("cannot send half a record: %m");
	shutdown(dialog->fd, SHUT_WR);
	while (take(dialog, rest, sizeof rest) > 0)
		if (!strncmp(rest, "250", 3))
			return 250;
	return 0;
}

static int send_data(struct dialog *dialog, const struct peer_settings *settings,
	const uint8_t *message, size_t bytes)
{
	size_t half = bytes / 2;

	put_line(dialog, "DATA");
	expect(dialog, 354, "DATA");
	for (size_t at = 0; at < bytes;) {
		const uint8_t *end = memchr(message + at, '\n', bytes - at);
		size_t line = end ? (size_t)(end - message) + 1 - at : bytes - at;

		if (at >= half && half > 0) {
			half = 0;
			if (settings->key_update && !settings->key_update_last)
				update_key(dialog, settings);
			/* The most tempting place: all that is missing is the CRLF after the dot.
			 */
			if (settings->cut != PEER_CUT_NEVER) {
				put(dialog, "\r\n.", 3);
				return cut_off(dialog, settings->cut);
			}
		}
		if ((message[at] == '.' && !put(dialog, ".", 1)) ||
			!put(dialog, message + at, line))
			break;
		at += line;
	}
	if (settings->key_update_last)
		return end_with_new_key(dialog, settings);
	put_line(dialog, ".");
	return read_reply(dialog);
}

static int send_bdat(struct dialog *dialog, const struct peer_settings *settings,
	const uint8_t *message, size_t bytes)
{
	size_t chunk = settings->chunk ? settings->chunk : bytes;
	unsigned waiting = 0;
	int code = 250;

	for (size_t at = 0; at < bytes; at += chunk) {
		size_t length = bytes - at < chunk ? bytes - at : chunk;
		bool last = at + length == bytes;
		char command[64];

		snprintf(command, sizeof command, "BDAT %zu%s", length, last ? " LAST" : "");
		put_line(dialog, command);
		if (settings->cut != PEER_CUT_NEVER && last) {
			put(dialog, message + at, length - 1);
			return cut_off(dialog, settings->cut);
		}
		put(dialog, message + at, length / 2);
		if (settings->key_update)
			update_key(dialog, settings);
		put(dialog, message + at + length / 2, length - length / 2);
		waiting++;
		if (settings->pipeline && !last)
			continue;
		for (; waiting > 0 && code == 250; waiting--)
			code = read_reply(dialog);
		if (code != 250)
			return code;
	}
	return code;
}

int peer_mail(struct dialog *dialog, const struct peer_settings *settings, const uint8_t *message,
	size_t bytes)
{
	char line[512];

	snprintf(line, sizeof line, "MAIL FROM:<%s> SIZE=%zu%s", settings->from, bytes,
		settings->binary ? " BODY=BINARYMIME" : "");
	put_line(dialog, line);
	expect(dialog, 250, "MAIL");
	snprintf(line, sizeof line, "RCPT TO:<%s>", settings->to);
	put_line(dialog, line);
	expect(dialog, 250, "RCPT");
	if (settings->bdat)
		return send_bdat(dialog, settings, message, bytes);
	return send_data(dialog, settings, message, bytes);
}

const char *peer_quit(struct dialog *dialog)
{
	char rest[16];

	put_line(dialog, "QUIT");
	if (read_reply(dialog) != 221)
		return "no 221 to QUIT";
	if (take(dialog, rest, sizeof rest) > 0)
		return "bytes after the 221";
	if (!dialog->ssl)
		return NULL;
	if (dialog->status != PEER_CLOSED_CLEANLY)
		return "no close_notify after the 221";
	SSL_shutdown(dialog->ssl);
	return NULL;
}

void peer_free(struct dialog *dialog)
{
	SSL_free(dialog->ssl);
	close(dialog->fd);
	free(dialog);
}
