/* SPDX-License-Identifier: MIT */
/*
 * ktest: what the programs of this folder share. TAP results, a loopback connection, kernel TLS
 * with keys chosen by the test, the same records sealed and opened in user space by OpenSSL's bare
 * AEADs, so that a test decides every byte on the wire.
 *
 * Not a TLS implementation: no handshake, no key agreement (ktls_handshake.c has a real one).
 * Set-up that cannot fail on a sane machine asserts; only the fact under test is a TAP result.
 */
#ifndef POSTERN_TESTS_KTEST_H
#define POSTERN_TESTS_KTEST_H

#include <linux/tls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef TLS_RX_EXPECT_NO_PAD
#define TLS_RX_EXPECT_NO_PAD 4
#endif

#define KT_EXIT_UNSUPPORTED 77
#define KT_RECORD_BYTES_MAX (5 + 16384 + 256)
#define KT_CIPHERS          3

enum kt_record {
	KT_RECORD_ALERT = 21,
	KT_RECORD_HANDSHAKE = 22,
	KT_RECORD_DATA = 23,
};

/* One direction's keys: `iv` is salt and IV in one, as RFC 8446 has it; `sequence` the next record;
 * `nonce` the explicit nonce with which the kernel goes on (TLS 1.2 with GCM only). */
struct kt_keys {
	uint8_t key[32];
	uint8_t iv[12];
	uint64_t sequence;
	uint64_t nonce;
};

struct kt_cipher {
	const char *name;
	uint16_t type;
	size_t key_bytes;
	const char *evp;
};

extern const struct kt_cipher kt_ciphers[KT_CIPHERS];

void kt_ok(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kt_diag(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Compares an errno-like outcome: `got` is the call's result, errno is looked at when it is -1. */
void kt_errno(long got, int want, const char *what);
/* Prints the plan; the value for main() to return. */
int kt_done(void);
/* Ends the program with 77: the running kernel lacks what is tested. */
void kt_unsupported(const char *why) __attribute__((noreturn));
#define KT_MUST(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			kt_bail(#cond, __FILE__, __LINE__);                                        \
	} while (0)
void kt_bail(const char *text, const char *file, int line) __attribute__((noreturn));

long kt_tls_stat(const char *name);
uint64_t kt_now_ms(void);
uint64_t kt_cpu_ms(void);
/* How many io-wq workers this process has: threads named iou-wrk-*. */
int kt_iowq_workers(void);

/* fd[0] connected to fd[1] over 127.0.0.1, TCP_NODELAY set. */
void kt_tcp_pair(int fd[2]);
int kt_listener(uint16_t *port);
int kt_connect(uint16_t port);

/* Ends with 77 unless kernel TLS can be attached here. */
void kt_need_ktls(void);
int kt_ulp(int fd);
/* direction: TLS_TX or TLS_RX; version: TLS_1_2_VERSION or TLS_1_3_VERSION. As setsockopt(2). */
int kt_plant(int fd, int direction, uint16_t version, const struct kt_cipher *cipher,
	const struct kt_keys *keys);
void kt_keys_make(struct kt_keys *keys, uint8_t seed);

/* A pair with kernel TLS on fd[1] in `direction`s; fd[0] stays plain for sealed records. */
void kt_half_pair(int fd[2], uint16_t version, const struct kt_cipher *cipher,
	const struct kt_keys *tx, const struct kt_keys *rx);
/* Kernel TLS on both ends, both ways. */
void kt_full_pair(int fd[2], uint16_t version, const struct kt_cipher *cipher);

/* Seals one record into `out` (KT_RECORD_BYTES_MAX), `pad` zeros of TLS 1.3 padding; its length. */
size_t kt_seal(uint16_t version, const struct kt_cipher *cipher, struct kt_keys *keys, int type,
	const void *data, size_t length, size_t pad, uint8_t *out);
/* Opens the record at `in`; the content's length, or -1 when the tag is wrong. */
ssize_t kt_open(uint16_t version, const struct kt_cipher *cipher, struct kt_keys *keys,
	const uint8_t *in, size_t length, int *type, uint8_t *out);
/* Reads exactly one record from a plain socket: header, then body. */
size_t kt_read_record(int fd, uint8_t *out);
void kt_write_all(int fd, const void *data, size_t length);
void kt_read_all(int fd, void *data, size_t length);

ssize_t kt_send_control(int fd, int type, const void *data, size_t length);
/* recvmsg with room for the type; *type is 0 when the kernel gave none. */
ssize_t kt_recv_typed(int fd, int *type, void *data, size_t length, int flags);

/* HKDF-Expand-Label of RFC 8446 with an empty context, SHA-256 or SHA-384. */
void kt_expand_label(const char *digest, const uint8_t *secret, const char *label, uint8_t *out,
	size_t out_bytes);
/* The keys of a TLS 1.3 traffic secret, sequence 0. */
void kt_keys_from_secret(
	const struct kt_cipher *cipher, const uint8_t *secret, struct kt_keys *keys);

#endif
