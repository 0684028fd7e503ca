/* SPDX-License-Identifier: MIT */
/*
 * ktls_ciphers: three AEADs, two TLS versions, both directions, against records sealed and opened
 * in user space; tls_stat counts the connections and no decryption error. Proves
 * kernel-notes/ktls-ciphers.md.
 */
#include "ktest.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAYLOAD_BYTES 16384

static uint8_t payload[PAYLOAD_BYTES];
static uint8_t got[KT_RECORD_BYTES_MAX];
static uint8_t record[KT_RECORD_BYTES_MAX];

static void test_one(uint16_t version, const char *version_name, const struct kt_cipher *cipher)
{
	static const size_t sizes[] = {1, 64, 1400, 16384};
	struct kt_keys tx, rx, peer_tx, peer_rx;
	bool there = true;
	bool back = true;
	int fd[2];

	kt_keys_make(&tx, 20);
	kt_keys_make(&rx, 40);
	tx.sequence = version == TLS_1_2_VERSION ? 1 : 2;
	rx.sequence = version == TLS_1_2_VERSION ? 1 : 0;
	peer_tx = rx;
	peer_rx = tx;
	kt_half_pair(fd, version, cipher, &tx, &rx);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t length;
		int type = 0;

		length = kt_seal(
			version, cipher, &peer_tx, KT_RECORD_DATA, payload, sizes[i], 0, record);
		kt_write_all(fd[0], record, length);
		there = there && recv(fd[1], got, sizes[i], MSG_WAITALL) == (ssize_t)sizes[i] &&
			!memcmp(got, payload, sizes[i]);
		kt_write_all(fd[1], payload, sizes[i]);
		length = kt_read_record(fd[0], record);
		back = back && kt_open(version, cipher, &peer_rx, record, length, &type, got) ==
				       (ssize_t)sizes[i];
		back = back && type == KT_RECORD_DATA && !memcmp(got, payload, sizes[i]);
	}
	kt_ok(there, "%s %s: the kernel opens what user space sealed", version_name, cipher->name);
	kt_ok(back, "%s %s: user space opens what the kernel sealed", version_name, cipher->name);
	close(fd[0]);
	close(fd[1]);
}

/* The code that does AES-GCM here. */
static void report_driver(void)
{
	FILE *file = fopen("/proc/crypto", "r");
	char line[256], driver[128] = "";
	bool ours = false;
	long best = -1;
	long priority;

	KT_MUST(file != NULL);
	while (fgets(line, sizeof line, file)) {
		char name[128];

		if (sscanf(line, "name : %127s", name) == 1)
			ours = !strcmp(name, "gcm(aes)");
		else if (ours && sscanf(line, "driver : %127s", name) == 1)
			memcpy(driver, name, sizeof driver);
		else if (ours && sscanf(line, "priority : %ld", &priority) == 1) {
			kt_diag("gcm(aes): %s, priority %ld", driver, priority);
			best = priority > best ? priority : best;
		}
	}
	kt_ok(best >= 0, "/proc/crypto says what does AES-GCM");
	fclose(file);
}

int main(void)
{
	long tx, rx, errors;

	kt_need_ktls();
	for (size_t i = 0; i < sizeof payload; i++)
		payload[i] = (uint8_t)(i * 31 + (i >> 8));
	tx = kt_tls_stat("TlsTxSw");
	rx = kt_tls_stat("TlsRxSw");
	errors = kt_tls_stat("TlsDecryptError");
	for (int i = 0; i < KT_CIPHERS; i++) {
		test_one(TLS_1_2_VERSION, "TLS 1.2", &kt_ciphers[i]);
		test_one(TLS_1_3_VERSION, "TLS 1.3", &kt_ciphers[i]);
	}
	report_driver();
	kt_ok(kt_tls_stat("TlsTxSw") - tx == 2 * KT_CIPHERS, "TlsTxSw counts every connection");
	kt_ok(kt_tls_stat("TlsRxSw") - rx == 2 * KT_CIPHERS, "TlsRxSw counts every connection");
	kt_ok(kt_tls_stat("TlsDecryptError") == errors, "TlsDecryptError stays as it was");
	return kt_done();
}
