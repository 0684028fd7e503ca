/* SPDX-License-Identifier: MIT */
/*
 * ktls_rekey: KeyUpdate under the offload. Kernels that list TlsRxRekeyOk in /proc/net/tls_stat
 * take new TLS 1.3 keys; the others answer EBUSY, deliver the KeyUpdate all the same and fail the
 * next record. TLS 1.2 keys are never replaced. Both behaviours are judged, each where it applies.
 * Proves kernel-notes/ktls-rekey.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY_UPDATE       "\x18\0\0\1\0"
#define KEY_UPDATE_BYTES 5
#define WAIT_MS          10000

static uint8_t record[KT_RECORD_BYTES_MAX];
static uint8_t got[KT_RECORD_BYTES_MAX];

static void next_secret(const struct kt_cipher *cipher, uint8_t secret[48])
{
	bool sha384 = cipher->type == TLS_CIPHER_AES_GCM_256;
	uint8_t next[48];

	kt_expand_label(
		sha384 ? "SHA384" : "SHA256", secret, "traffic upd", next, sha384 ? 48 : 32);
	memcpy(secret, next, sha384 ? 48 : 32);
}

static void send_sealed(int fd, const struct kt_cipher *cipher, struct kt_keys *keys, int type,
	const void *data, size_t length)
{
	kt_write_all(
		fd, record, kt_seal(TLS_1_3_VERSION, cipher, keys, type, data, length, 0, record));
}

static void test_tls12(void)
{
	const struct kt_cipher *cipher = &kt_ciphers[0];
	struct kt_keys keys;
	int fd[2];

	kt_keys_make(&keys, 120);
	kt_half_pair(fd, TLS_1_2_VERSION, cipher, &keys, &keys);
	kt_errno(kt_plant(fd[1], TLS_TX, TLS_1_2_VERSION, cipher, &keys), EBUSY,
		"TLS 1.2: TX keys a second time: EBUSY");
	kt_errno(kt_plant(fd[1], TLS_RX, TLS_1_2_VERSION, cipher, &keys), EBUSY,
		"TLS 1.2: RX keys a second time: EBUSY");
	close(fd[0]);
	close(fd[1]);
}

static void test_refused(void)
{
	const struct kt_cipher *cipher = &kt_ciphers[0];
	uint8_t secret[48] = {42};
	struct kt_keys mine;
	struct kt_keys next;
	int type;
	int fd[2];

	kt_keys_from_secret(cipher, secret, &mine);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &mine, &mine);
	next_secret(cipher, secret);
	kt_keys_from_secret(cipher, secret, &next);
	send_sealed(fd[0], cipher, &mine, KT_RECORD_HANDSHAKE, KEY_UPDATE, KEY_UPDATE_BYTES);
	send_sealed(fd[0], cipher, &next, KT_RECORD_DATA, "new", 3);
	kt_ok(kt_recv_typed(fd[1], &type, got, sizeof got, 0) == KEY_UPDATE_BYTES &&
			type == KT_RECORD_HANDSHAKE,
		"no re-key: the KeyUpdate is delivered");
	kt_errno(kt_plant(fd[1], TLS_RX, TLS_1_3_VERSION, cipher, &next), EBUSY,
		"no re-key: RX keys a second time: EBUSY");
	kt_errno(kt_plant(fd[1], TLS_TX, TLS_1_3_VERSION, cipher, &next), EBUSY,
		"no re-key: TX keys a second time: EBUSY");
	kt_errno(recv(fd[1], got, sizeof got, 0), EBADMSG, "no re-key: the next record: EBADMSG");
	kt_errno(kt_send_control(fd[1], KT_RECORD_ALERT, "\1\0", 2), EBADMSG,
		"no re-key: after that not even an alert can be sent: EBADMSG");
	close(fd[0]);
	close(fd[1]);
}

/* Between the KeyUpdate and the next record close_notify can still be sent: the clean close. */
static void test_refused_clean_close(void)
{
	const struct kt_cipher *cipher = &kt_ciphers[0];
	uint8_t secret[48] = {43};
	struct kt_keys mine;
	struct kt_keys reader;
	size_t length;
	int type = 0;
	int fd[2];

	kt_keys_from_secret(cipher, secret, &mine);
	reader = mine;
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &mine, &mine);
	send_sealed(fd[0], cipher, &mine, KT_RECORD_HANDSHAKE, KEY_UPDATE, KEY_UPDATE_BYTES);
	KT_MUST(kt_recv_typed(fd[1], &type, got, sizeof got, 0) == KEY_UPDATE_BYTES);
	kt_errno(kt_send_control(fd[1], KT_RECORD_ALERT, "\1\0", 2), 0,
		"no re-key: close_notify can be sent after the KeyUpdate");
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &reader, record, length, &type, got) == 2 &&
			type == KT_RECORD_ALERT,
		"no re-key: and the peer can read it");
	close(fd[0]);
	close(fd[1]);
}

static void test_receive(const struct kt_cipher *cipher)
{
	struct pollfd entry = {.events = POLLIN};
	uint8_t secret[48] = {44};
	struct kt_keys mine;
	struct kt_keys next;
	long good = kt_tls_stat("TlsRxRekeyOk");
	int type;
	int fd[2];

	kt_keys_from_secret(cipher, secret, &mine);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &mine, &mine);
	for (int round = 1; round <= 3; round++) {
		next_secret(cipher, secret);
		kt_keys_from_secret(cipher, secret, &next);
		send_sealed(fd[0], cipher, &mine, KT_RECORD_DATA, "old", 3);
		send_sealed(
			fd[0], cipher, &mine, KT_RECORD_HANDSHAKE, KEY_UPDATE, KEY_UPDATE_BYTES);
		send_sealed(fd[0], cipher, &next, KT_RECORD_DATA, "new", 3);
		mine = next;
		kt_ok(recv(fd[1], got, 3, MSG_WAITALL) == 3 && !memcmp(got, "old", 3),
			"%s, round %d: data under the old keys", cipher->name, round);
		kt_ok(kt_recv_typed(fd[1], &type, got, sizeof got, 0) == KEY_UPDATE_BYTES &&
				type == KT_RECORD_HANDSHAKE,
			"%s, round %d: the KeyUpdate", cipher->name, round);
		kt_errno(recv(fd[1], got, sizeof got, MSG_DONTWAIT), EKEYEXPIRED,
			"reads until the re-key: EKEYEXPIRED");
		entry.fd = fd[1];
		kt_ok(poll(&entry, 1, 0) == 0, "poll() stays silent until the re-key");
		kt_keys_from_secret(cipher, secret, &next);
		kt_errno(kt_plant(fd[1], TLS_RX, TLS_1_3_VERSION, cipher, &next), 0,
			"TLS_RX with the next secret's keys");
		kt_ok(recv(fd[1], got, 3, MSG_WAITALL) == 3 && !memcmp(got, "new", 3),
			"%s, round %d: data under the new keys", cipher->name, round);
	}
	kt_ok(kt_tls_stat("TlsRxRekeyOk") == good + 3, "%s: TlsRxRekeyOk counts three",
		cipher->name);
	close(fd[0]);
	close(fd[1]);
}

static void test_send(const struct kt_cipher *cipher)
{
	uint8_t secret[48] = {45};
	struct kt_keys mine;
	struct kt_keys next;
	size_t length;
	int type = 0;
	int fd[2];

	kt_keys_from_secret(cipher, secret, &mine);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &mine, NULL);
	next_secret(cipher, secret);
	kt_keys_from_secret(cipher, secret, &next);
	kt_write_all(fd[1], "old", 3);
	KT_MUST(kt_send_control(fd[1], KT_RECORD_HANDSHAKE, KEY_UPDATE, KEY_UPDATE_BYTES) ==
		KEY_UPDATE_BYTES);
	kt_errno(kt_plant(fd[1], TLS_TX, TLS_1_3_VERSION, cipher, &next), 0,
		"TLS_TX with the next secret's keys");
	kt_write_all(fd[1], "new", 3);
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &mine, record, length, &type, got) == 3 &&
			!memcmp(got, "old", 3),
		"%s: sent under the old keys", cipher->name);
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &mine, record, length, &type, got) ==
				KEY_UPDATE_BYTES &&
			type == KT_RECORD_HANDSHAKE,
		"%s: our KeyUpdate under the old keys", cipher->name);
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &next, record, length, &type, got) == 3 &&
			!memcmp(got, "new", 3),
		"%s: sent under the new keys", cipher->name);
	close(fd[0]);
	close(fd[1]);
}

/* How an armed multishot recvmsg lives through it: it ends with EKEYEXPIRED or waits; what follows
 * the re-key arrives either way. */
static void test_multishot(void)
{
	const struct kt_cipher *cipher = &kt_ciphers[0];
	uint8_t secret[48] = {46};
	struct kr_record one;
	struct kt_keys mine;
	struct kt_keys next;
	struct kring kr;
	bool armed;
	int fd[2];

	kt_keys_from_secret(cipher, secret, &mine);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &mine, &mine);
	next_secret(cipher, secret);
	kt_keys_from_secret(cipher, secret, &next);
	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 20480);
	kr_arm_recvmsg(&kr, fd[1], 1);
	send_sealed(fd[0], cipher, &mine, KT_RECORD_HANDSHAKE, KEY_UPDATE, KEY_UPDATE_BYTES);
	KT_MUST(kr_wait_record(&kr, WAIT_MS, &one));
	kt_ok(one.type == KT_RECORD_HANDSHAKE && one.length == KEY_UPDATE_BYTES,
		"multishot: the KeyUpdate arrives with type 22");
	armed = one.more;
	if (armed && kr_wait_record(&kr, 200, &one)) {
		kt_diag("multishot: then a completion %d (%s), F_MORE %d", one.result,
			strerror(-one.result), one.more);
		kt_ok(one.result == -EKEYEXPIRED && !one.more,
			"multishot: what ends it before the re-key is EKEYEXPIRED");
		armed = false;
	} else {
		kt_ok(true, "multishot: no completion before the re-key");
	}
	kt_errno(kt_plant(fd[1], TLS_RX, TLS_1_3_VERSION, cipher, &next), 0,
		"TLS_RX with a multishot recvmsg armed or just ended");
	send_sealed(fd[0], cipher, &next, KT_RECORD_DATA, "after", 5);
	if (!armed)
		kr_arm_recvmsg(&kr, fd[1], 2);
	kt_ok(kr_wait_record(&kr, WAIT_MS, &one) && one.length == 5 &&
			!memcmp(one.data, "after", 5),
		"multishot: data under the new keys arrives%s", armed ? "" : " after arming again");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	kt_need_ktls();
	test_tls12();
	if (kt_tls_stat("TlsRxRekeyOk") < 0) {
		kt_diag("no TlsRxRekeyOk in tls_stat: this kernel cannot re-key");
		test_refused();
		test_refused_clean_close();
		return kt_done();
	}
	for (int i = 0; i < KT_CIPHERS; i++) {
		test_receive(&kt_ciphers[i]);
		test_send(&kt_ciphers[i]);
	}
	test_multishot();
	return kt_done();
}
