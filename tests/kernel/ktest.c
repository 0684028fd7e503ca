/* SPDX-License-Identifier: MIT */
/*
 * ktest: TAP, sockets and the kernel's side of TLS. The record layer in user space is
 * ktest_record.c.
 */
#include "ktest.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static unsigned results;
static unsigned failures;

void kt_ok(bool good, const char *format, ...)
{
	va_list args;

	results++;
	failures += !good;
	printf("%s %u - ", good ? "ok" : "not ok", results);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

void kt_diag(const char *format, ...)
{
	va_list args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

void kt_errno(long got, int want, const char *what)
{
	int seen = got < 0 ? errno : 0;

	kt_ok(seen == want, "%s", what);
	if (seen != want)
		kt_diag("wanted %s, got %ld %s", want ? strerror(want) : "success", got,
			seen ? strerror(seen) : "");
}

int kt_done(void)
{
	printf("1..%u\n", results);
	fflush(stdout);
	return failures > 0;
}

void kt_unsupported(const char *why)
{
	kt_diag("unsupported here: %s", why);
	exit(KT_EXIT_UNSUPPORTED);
}

void kt_bail(const char *text, const char *file, int line)
{
	printf("Bail out! %s:%d: %s (%s)\n", file, line, text, strerror(errno));
	fflush(stdout);
	exit(2);
}

long kt_tls_stat(const char *name)
{
	FILE *file = fopen("/proc/net/tls_stat", "r");
	char key[64];
	long value;
	long found = -1;

	if (!file)
		return -1;
	while (fscanf(file, "%63s %ld", key, &value) == 2)
		if (!strcmp(key, name))
			found = value;
	fclose(file);
	return found;
}

uint64_t kt_now_ms(void)
{
	struct timespec now;

	KT_MUST(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t kt_cpu_ms(void)
{
	struct timespec now;

	KT_MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int kt_iowq_workers(void)
{
	DIR *folder = opendir("/proc/self/task");
	struct dirent *entry;
	int count = 0;

	KT_MUST(folder != NULL);
	while ((entry = readdir(folder))) {
		char path[300];
		char name[32] = "";
		FILE *file;

		snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		count += fgets(name, sizeof name, file) && !strncmp(name, "iou-wrk", 7);
		fclose(file);
	}
	closedir(folder);
	return count;
}

int kt_listener(uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	KT_MUST(fd >= 0);
	KT_MUST(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
	KT_MUST(listen(fd, 64) == 0);
	KT_MUST(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	*port = ntohs(address.sin_port);
	return fd;
}

int kt_connect(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	KT_MUST(fd >= 0);
	KT_MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
	KT_MUST(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	return fd;
}

void kt_tcp_pair(int fd[2])
{
	uint16_t port;
	int listener = kt_listener(&port);
	int on = 1;

	fd[0] = kt_connect(port);
	fd[1] = accept(listener, NULL, NULL);
	KT_MUST(fd[1] >= 0);
	KT_MUST(setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
	close(listener);
}

int kt_ulp(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls");
}

void kt_need_ktls(void)
{
	int fd[2];

	kt_tcp_pair(fd);
	if (kt_ulp(fd[0]) < 0)
		kt_unsupported("no kernel TLS");
	close(fd[0]);
	close(fd[1]);
}

void kt_keys_make(struct kt_keys *keys, uint8_t seed)
{
	memset(keys, 0, sizeof *keys);
	for (size_t i = 0; i < sizeof keys->key; i++)
		keys->key[i] = (uint8_t)(seed + 7 * i);
	for (size_t i = 0; i < sizeof keys->iv; i++)
		keys->iv[i] = (uint8_t)(seed ^ (0x5a + 3 * i));
}

static void sequence_bytes(uint64_t sequence, uint8_t out[8])
{
	for (int i = 7; i >= 0; i--, sequence >>= 8)
		out[i] = (uint8_t)sequence;
}

int kt_plant(int fd, int direction, uint16_t version, const struct kt_cipher *cipher,
	const struct kt_keys *keys)
{
	union {
		struct tls_crypto_info info;
		struct tls12_crypto_info_aes_gcm_128 gcm128;
		struct tls12_crypto_info_aes_gcm_256 gcm256;
		struct tls12_crypto_info_chacha20_poly1305 chacha;
	} u;
	uint8_t sequence[8];
	uint8_t nonce[8];
	size_t size;

	memset(&u, 0, sizeof u);
	sequence_bytes(keys->sequence, sequence);
	sequence_bytes(keys->nonce, nonce);
	u.info.version = version;
	u.info.cipher_type = cipher->type;
	switch (cipher->type) {
	case TLS_CIPHER_AES_GCM_128:
		size = sizeof u.gcm128;
		memcpy(u.gcm128.key, keys->key, 16);
		memcpy(u.gcm128.salt, keys->iv, 4);
		memcpy(u.gcm128.iv, version == TLS_1_3_VERSION ? keys->iv + 4 : nonce, 8);
		memcpy(u.gcm128.rec_seq, sequence, 8);
		break;
	case TLS_CIPHER_AES_GCM_256:
		size = sizeof u.gcm256;
		memcpy(u.gcm256.key, keys->key, 32);
		memcpy(u.gcm256.salt, keys->iv, 4);
		memcpy(u.gcm256.iv, version == TLS_1_3_VERSION ? keys->iv + 4 : nonce, 8);
		memcpy(u.gcm256.rec_seq, sequence, 8);
		break;
	default:
		size = sizeof u.chacha;
		memcpy(u.chacha.key, keys->key, 32);
		memcpy(u.chacha.iv, keys->iv, 12);
		memcpy(u.chacha.rec_seq, sequence, 8);
		break;
	}
	return setsockopt(fd, SOL_TLS, direction, &u, (socklen_t)size);
}

void kt_half_pair(int fd[2], uint16_t version, const struct kt_cipher *cipher,
	const struct kt_keys *tx, const struct kt_keys *rx)
{
	kt_tcp_pair(fd);
	KT_MUST(kt_ulp(fd[1]) == 0);
	if (tx)
		KT_MUST(kt_plant(fd[1], TLS_TX, version, cipher, tx) == 0);
	if (rx)
		KT_MUST(kt_plant(fd[1], TLS_RX, version, cipher, rx) == 0);
}

void kt_full_pair(int fd[2], uint16_t version, const struct kt_cipher *cipher)
{
	struct kt_keys there;
	struct kt_keys back;

	kt_keys_make(&there, 1);
	kt_keys_make(&back, 2);
	kt_half_pair(fd, version, cipher, &back, &there);
	KT_MUST(kt_ulp(fd[0]) == 0);
	KT_MUST(kt_plant(fd[0], TLS_TX, version, cipher, &there) == 0);
	KT_MUST(kt_plant(fd[0], TLS_RX, version, cipher, &back) == 0);
}

void kt_write_all(int fd, const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length > 0) {
		ssize_t n = write(fd, at, length);

		KT_MUST(n > 0);
		at += n;
		length -= (size_t)n;
	}
}

void kt_read_all(int fd, void *data, size_t length)
{
	uint8_t *at = data;

	while (length > 0) {
		ssize_t n = read(fd, at, length);

		KT_MUST(n > 0);
		at += n;
		length -= (size_t)n;
	}
}

size_t kt_read_record(int fd, uint8_t *out)
{
	size_t body;

	kt_read_all(fd, out, 5);
	body = (size_t)out[3] << 8 | out[4];
	KT_MUST(body + 5 <= KT_RECORD_BYTES_MAX);
	kt_read_all(fd, out + 5, body);
	return body + 5;
}

ssize_t kt_send_control(int fd, int type, const void *data, size_t length)
{
	struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(1)];
	} control = {0};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

	message.msg_control = &control;
	message.msg_controllen = sizeof control.room;
	control.head.cmsg_level = SOL_TLS;
	control.head.cmsg_type = TLS_SET_RECORD_TYPE;
	control.head.cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(&control.head) = (unsigned char)type;
	return sendmsg(fd, &message, 0);
}

ssize_t kt_recv_typed(int fd, int *type, void *data, size_t length, int flags)
{
	struct iovec piece = {.iov_base = data, .iov_len = length};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(1)];
	} control;
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
	struct cmsghdr *head;
	ssize_t n;

	memset(&control, 0, sizeof control);
	message.msg_control = &control;
	message.msg_controllen = sizeof control.room;
	*type = 0;
	n = recvmsg(fd, &message, flags);
	if (n < 0)
		return n;
	head = CMSG_FIRSTHDR(&message);
	if (head && head->cmsg_level == SOL_TLS && head->cmsg_type == TLS_GET_RECORD_TYPE)
		*type = *CMSG_DATA(head);
	return n;
}
