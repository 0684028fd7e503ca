/* SPDX-License-Identifier: MIT */
/*
 * The record layer in user space: against a real client in every suite, cut and room, and against
 * records of no client that there is, sealed by the rig with the connection's keys.
 */
#include "rig.h"

#include <criterion/criterion.h>

#include "base/counter.h"

static struct rig rig;
static struct krecord up, down;
static uint8_t sent[100000], got[100000], record[TLS_RECORD_MAX + 64];

static struct tls_context *context_new(void)
{
	struct rig_settings settings;

	rig_settings(&settings);
	return rig_context(&settings);
}

static void open_done(const char *suite)
{
	struct tls_context *context = context_new();

	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(TLS1_3_VERSION, suite), NULL,
		NULL);
	tls_context_release(context); /* the connection holds it */
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	cr_assert(rig.conn->ssl == NULL, "no SSL object for records");
}

/* The keys of a direction, while they are there, as the kernel would get them. */
static void load(struct krecord *layer, enum tls_direction direction)
{
	const struct tls_half *half = &rig.conn->half[direction];
	const uint8_t no_nonce[TLS_NONCE_SIZE] = {0};
	struct rig_call call = {0};
	struct tls_crypto crypto;

	cr_assert(half->keys_heard == TLS_HEARD_BOTH);
	tls_crypto_fill(&crypto, rig.conn->suite, &half->keys, no_nonce, half->records);
	memcpy(call.value, crypto.bytes, crypto.n);
	call.n = (unsigned)crypto.n;
	krecord_load(layer, &call);
}

/* A connection whose client is the rig itself. */
static void open_rigged(void)
{
	open_done(NULL);
	load(&up, TLS_DIRECTION_RX);
	load(&down, TLS_DIRECTION_TX);
}

static enum tls_io give(const uint8_t *p, size_t n, size_t *plain_n)
{
	memcpy(rig.up.p, p, n);
	rig.up.start = 0;
	rig.up.end = n;
	return rig_server_read(&rig, got, sizeof(got), plain_n);
}

static enum tls_io give_sealed(uint8_t type, const void *p, size_t n, size_t *plain_n)
{
	return give(record, krecord_seal(&up, type, p, n, record), plain_n);
}

/* ---- with a real client ---- */

static void fill(void)
{
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
}

/* Reads n octets by calls with room for `cap` each. */
static void read_by(size_t n, size_t cap)
{
	struct span in = span_of(rig.up.p + rig.up.start, rig.up.end - rig.up.start);
	size_t have = 0;

	while (have < n || in.n > 0) {
		size_t chunk = rig.chunk > 0 ? min_size(rig.chunk, in.n) : in.n;
		struct span part = span_take(&in, chunk);
		enum tls_io io = TLS_IO_OK;

		while (io == TLS_IO_OK) {
			size_t part_n;

			io = tls_conn_read(rig.conn, &part, got + have,
				min_size(cap, sizeof(got) - have), &part_n, &rig.out);
			have += part_n;
			cr_assert(part_n <= cap && (part_n > 0) == (io == TLS_IO_OK));
		}
		cr_assert(io == TLS_IO_MORE && part.n == 0);
	}
	rig.up.start = rig.up.end = 0;
	cr_assert(have == n && memcmp(got, sent, n) == 0);
	cr_assert(rig.conn->record.held == NULL, "nothing is held between two records");
}

Test(record, every_suite_cut_and_room)
{
	static const size_t sizes[] = {1, 100, 16383, 16384, 16385, 60000};
	static const size_t chunks[] = {0, 1, 4, 5, 6, 1000, 16384, 20000};
	static const size_t rooms[] = {1, 16, 100, 16383, 16384, 16385, 100000};

	fill();
	for (size_t suite = 0; suite < 3; suite++) {
		open_done(rig_suites[suite].name);
		for (size_t i = 0; i < COUNT_OF(sizes); i++)
			for (size_t c = 0; c < COUNT_OF(chunks); c++)
				for (size_t r = 0; r < COUNT_OF(rooms); r++) {
					rig.chunk = chunks[c];
					rig_client_write(&rig, sent, sizes[i]);
					read_by(sizes[i], rooms[r]);
				}
		for (size_t i = 0; i < COUNT_OF(sizes); i++) {
			rig_server_write(&rig, sent, sizes[i]);
			cr_assert(rig_client_read(&rig, got, sizes[i]) == sizes[i]);
			cr_assert(memcmp(got, sent, sizes[i]) == 0);
		}
		rig_close(&rig);
	}
}

Test(record, padding_is_taken_off)
{
	static const size_t blocks[] = {2, 512, 4096, 16384};

	fill();
	for (size_t i = 0; i < COUNT_OF(blocks); i++) {
		open_done(NULL);
		cr_assert(SSL_set_block_padding(rig.client, blocks[i]) == 1);
		for (size_t n = 1; n < 30000; n = n * 3 + 1)
			for (size_t room = 1; room <= sizeof(got); room *= 10) {
				rig_client_write(&rig, sent, n);
				read_by(n, room);
			}
		rig_close(&rig);
	}
}

/* Where it lacks the AEADs, or nobody heard the keys. */
Test(record, openssl_has_it_otherwise)
{
	struct tls_context *context = context_new();

	fill();
	rig_openssl_records(context);
	rig_open(&rig, context, NULL, KTLS_MODE_OFF, rig_client_ctx(TLS1_3_VERSION, NULL), NULL,
		NULL);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	cr_assert(rig.conn->ssl != NULL);
	rig_client_write(&rig, sent, 20000);
	read_by(20000, 1000);
	rig_close(&rig);
	tls_context_release(context);
}

/* Both sides' keys change again and again, in the middle of a message's octets. */
Test(record, key_updates_in_every_suite)
{
	fill();
	for (size_t suite = 0; suite < 3; suite++) {
		open_done(rig_suites[suite].name);
		for (size_t i = 0; i < 20; i++) {
			rig.chunk = i % 2 == 0 ? 0 : 3;
			rig_client_write(&rig, sent, 10 + i);
			SSL_key_update(rig.client, i % 3 == 0 ? SSL_KEY_UPDATE_NOT_REQUESTED
							      : SSL_KEY_UPDATE_REQUESTED);
			SSL_do_handshake(rig.client);
			rig_pump(&rig);
			read_by(10 + i, 4);
			rig_server_write(&rig, sent, 200);
			cr_assert(rig_client_read(&rig, got, 200) == 200);
			cr_assert(memcmp(got, sent, 200) == 0);
		}
		rig_close(&rig);
	}
	cr_assert(counter_sum(COUNTER_TLS_KEYUPDATE) == 60);
}

/* ---- with records of our own making ---- */

struct hostile {
	const char *what;
	uint8_t type;
	const char *bytes;
	size_t n;
	const char *text; /* of the failure */
	uint8_t alert;    /* ours */
};

static void expect_alert(uint8_t alert, const char *what)
{
	struct span in = buf_span(&rig.out);
	uint8_t type;

	cr_assert(krecord_open(&down, &in, &type, got) == 2, "%s: an alert goes out", what);
	cr_assert(type == 21 && got[0] == 2 && in.n == 0, "%s", what);
	cr_assert_eq(got[1], alert, "%s: alert %u", what, got[1]);
}

static void expect_end(const char *text, const char *what)
{
	struct span plain = span_str("250 Ok");
	struct span none = {0};
	size_t n;

	cr_assert_str_eq(tls_conn_failure_text(rig.conn), text, "%s", what);
	for (int i = 0; i < 2; i++) {
		cr_assert(rig.conn->half[i].cipher == NULL && rig.conn->half[i].secret[0] == 0 &&
				  rig.conn->half[i].secret[1] == 0,
			"%s", what);
	}
	cr_assert(tls_conn_read(rig.conn, &none, got, 1, &n, &rig.out) == TLS_IO_FAIL);
	cr_assert(tls_conn_write(rig.conn, &plain, &rig.out) == TLS_IO_FAIL);
}

Test(record, what_a_client_must_not_send_ends_it)
{
	static const struct hostile cases[] = {
		{"nothing", 0, "", 0, "record without a type", 10},
		{"zeros", 0, "\0\0\0\0", 4, "record without a type", 10},
		{"ChangeCipherSpec", 20, "\1", 1, "unexpected record", 10},
		{"an unknown type", 99, "x", 1, "unexpected record", 10},
		{"an empty handshake record", 22, "", 0, "unexpected record", 10},
		{"an empty alert", 21, "", 0, "malformed alert", 50},
		{"half an alert", 21, "\1", 1, "malformed alert", 50},
		{"two alerts", 21, "\1\0\1\0", 4, "malformed alert", 50},
		{"a ticket", 22, "\4\0\0\1x", 5, "unexpected message", 10},
		{"a hello", 22, "\1\0\0\1x", 5, "unexpected message", 10},
		{"a certificate", 22, "\13\0\0\1x", 5, "unexpected message", 10},
		{"an empty KeyUpdate", 22, "\30\0\0\0", 4, "malformed message", 50},
		{"a long KeyUpdate", 22, "\30\0\0\2\0\0", 6, "malformed message", 50},
		{"a huge KeyUpdate", 22, "\30\1\0\1\0", 5, "malformed message", 50},
		{"a KeyUpdate that asks what", 22, "\30\0\0\1\2", 5, "malformed KeyUpdate", 47},
		{"two KeyUpdates", 22, "\30\0\0\1\0\30\0\0\1\0", 10, "data behind KeyUpdate", 10},
		{"KeyUpdate and an octet", 22, "\30\0\0\1\0x", 6, "data behind KeyUpdate", 10},
	};

	for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
		const struct hostile *hostile = &cases[i / 2];
		size_t n;

		open_rigged();
		rig.chunk = i % 2; /* whole, or octet by octet */
		cr_assert(give_sealed(hostile->type, hostile->bytes, hostile->n, &n) == TLS_IO_FAIL,
			"%s", hostile->what);
		cr_assert(n == 0);
		expect_alert(hostile->alert, hostile->what);
		expect_end(hostile->text, hostile->what);
		rig_close(&rig);
	}
}

Test(record, headers_that_are_none_end_it)
{
	static const struct hostile cases[] = {
		{"in clear", 22, "\x16\x03\x03\x00\x20", 5, "unexpected record", 10},
		{"an alert in clear", 21, "\x15\x03\x03\x00\x02\x02\x28", 7, "unexpected record",
			10},
		{"ChangeCipherSpec", 20, "\x14\x03\x03\x00\x01\x01", 6, "unexpected record", 10},
		{"no TLS", 0, "MAIL FROM:<>\r\n", 14, "unexpected record", 10},
		{"too long", 23, "\x17\x03\x03\x40\x12", 5, "record too long", 22},
		{"as long as can be", 23, "\x17\x03\x03\xff\xff", 5, "record too long", 22},
		{"too short", 23, "\x17\x03\x03\x00\x10", 5, "record too short", 50},
		{"empty", 23, "\x17\x03\x03\x00\x00", 5, "record too short", 50},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t n;

		open_rigged();
		cr_assert(give((const uint8_t *)cases[i].bytes, cases[i].n, &n) == TLS_IO_FAIL,
			"%s", cases[i].what);
		expect_alert(cases[i].alert, cases[i].what);
		expect_end(cases[i].text, cases[i].what);
		rig_close(&rig);
	}
}

/* Any octet of a record, its header's too. One that says it is longer waits for the rest. */
Test(record, what_was_tampered_with_is_never_given)
{
	size_t size;

	for (size_t at = 0; at < 5 + 8 + 1 + 16; at++) {
		enum tls_io io;
		size_t n;

		open_rigged();
		size = krecord_seal(&up, 23, "RCPT TO:", 8, record);
		cr_assert(size == 5 + 8 + 1 + 16);
		record[at] ^= 1;
		io = give(record, size, &n);
		cr_assert(n == 0, "octet %zu", at);
		cr_assert_eq(io, at == 3 ? TLS_IO_MORE : TLS_IO_FAIL, "octet %zu", at);
		if (at != 0 && at != 3)
			cr_assert_str_eq(
				tls_conn_failure_text(rig.conn), "bad record", "octet %zu", at);
		rig_close(&rig);
	}
}

/* A record again, one left out, two in the wrong order. */
Test(record, the_order_of_records_counts)
{
	static const int orders[][3] = {{0, 0, -1}, {1, -1}, {0, 2, -1}, {1, 0, -1}};
	static uint8_t records[3][64];

	for (size_t i = 0; i < COUNT_OF(orders); i++) {
		enum tls_io io = TLS_IO_MORE;
		size_t size = 0;
		size_t n;

		open_rigged();
		for (size_t k = 0; k < 3; k++)
			size = krecord_seal(&up, 23, "NOOP\r\n", 6, records[k]);
		for (const int *k = orders[i]; *k >= 0; k++)
			io = give(records[*k], size, &n);
		cr_assert(io == TLS_IO_FAIL && n == 0, "order %zu", i);
		cr_assert_str_eq(tls_conn_failure_text(rig.conn), "bad record");
		rig_close(&rig);
	}
}

Test(record, a_message_may_come_in_parts_and_nothing_between_them)
{
	static const uint8_t update[] = {24, 0, 0, 1, 0};
	size_t n;

	open_rigged();
	for (size_t i = 0; i < sizeof(update); i++) {
		cr_assert(give_sealed(22, update + i, 1, &n) == TLS_IO_MORE && n == 0);
		cr_assert_eq(counter_sum(COUNTER_TLS_KEYUPDATE), i == 4);
	}
	cr_assert(give_sealed(23, "x", 1, &n) == TLS_IO_FAIL, "the old keys are gone");
	rig_close(&rig);

	for (size_t i = 1; i < sizeof(update); i++) {
		open_rigged();
		cr_assert(give_sealed(22, update, i, &n) == TLS_IO_MORE && n == 0);
		cr_assert(give_sealed(23, "x", 1, &n) == TLS_IO_FAIL && n == 0, "after %zu", i);
		cr_assert_str_eq(
			tls_conn_failure_text(rig.conn), "record between the parts of a message");
		rig_close(&rig);
	}
}

Test(record, empty_records_are_passed_over_but_not_for_ever)
{
	enum tls_io io = TLS_IO_MORE;
	size_t n;
	int i;

	open_rigged();
	for (i = 0; i < 20; i++)
		cr_assert(give_sealed(23, "", 0, &n) == TLS_IO_MORE);
	cr_assert(give_sealed(23, "x", 1, &n) == TLS_IO_MORE && n == 1, "counted anew");
	for (i = 0; io == TLS_IO_MORE && i < 100; i++)
		io = give_sealed(23, "", 0, &n);
	cr_assert(io == TLS_IO_FAIL && i == 33);
	expect_alert(10, "empty records");
	expect_end("too many empty records", "empty records");
	rig_close(&rig);
}

Test(record, alerts_of_the_peer)
{
	enum tls_io io = TLS_IO_MORE;
	size_t n;
	int i;

	open_rigged();
	for (i = 0; io == TLS_IO_MORE && i < 100; i++)
		io = give_sealed(21, "\1\132", 2, &n);
	cr_assert(io == TLS_IO_FAIL && i == TLS_ALERTS_MAX + 1, "user_canceled");
	rig_close(&rig);

	open_rigged();
	cr_assert(give_sealed(21, "\2\24", 2, &n) == TLS_IO_FAIL);
	cr_assert(tls_conn_failure(rig.conn) == TLS_FAILURE_ALERT);
	cr_assert_str_eq(tls_conn_alert(rig.conn), "bad_record_mac");
	cr_assert(buf_len(&rig.out) == 0, "an alert is not answered by one");
	rig_close(&rig);

	open_rigged();
	cr_assert(give_sealed(21, "\1\0", 2, &n) == TLS_IO_EOF);
	cr_assert(give_sealed(23, "x", 1, &n) == TLS_IO_EOF && n == 0, "nothing after it counts");
	rig_server_write(&rig, "221 2.0.0 Bye\r\n", 15); /* half closed */
	tls_conn_shutdown(rig.conn, &rig.out);
	n = buf_len(&rig.out);
	cr_assert(n > 0);
	tls_conn_shutdown(rig.conn, &rig.out);
	cr_assert(buf_len(&rig.out) == n, "once");
	rig_close(&rig);
}

/* RFC 8446 5.5: before so many records went under one key, another is taken. */
Test(record, a_key_is_given_up_before_it_is_worn)
{
	const uint64_t most = 1u << 24;
	struct span rest = span_str("250 Ok\r\n");
	uint8_t secret[TLS_SECRET_MAX];
	struct span in;
	uint8_t type;

	open_rigged();
	memcpy(secret, rig.conn->half[TLS_DIRECTION_TX].secret, sizeof(secret));
	rig.conn->half[TLS_DIRECTION_TX].records = down.sequence = most - 1;
	cr_assert(tls_conn_write(rig.conn, &rest, &rig.out) == TLS_IO_OK);
	rest = span_str("250 Ok\r\n");
	cr_assert(tls_conn_write(rig.conn, &rest, &rig.out) == TLS_IO_OK);
	in = buf_span(&rig.out);
	cr_assert(krecord_open(&down, &in, &type, got) == 8 && type == 23);
	cr_assert(krecord_open(&down, &in, &type, got) == 5 && type == 22);
	cr_assert_arr_eq(got, "\30\0\0\1\0", 5);
	cr_assert(tls_derive_next(rig.conn->context->hkdf, rig.conn->suite, secret) == 0);
	cr_assert_arr_eq(secret, rig.conn->half[TLS_DIRECTION_TX].secret, 32);
	cr_assert(rig.conn->half[TLS_DIRECTION_TX].records == 1, "one under the new key");
	rig_close(&rig);
}

/* With the kernel's keys planted late, records go on where they were. */
Test(record, goes_to_the_kernel_between_two_records_only)
{
	struct tls_context *context = context_new();
	size_t n;

	rig_open(&rig, context, &rig_kernel_all, KTLS_MODE_ALWAYS,
		rig_client_ctx(TLS1_3_VERSION, NULL), NULL, NULL);
	tls_context_release(context);
	cr_assert(rig_handshake(&rig) == TLS_STEP_DONE);
	load(&up, TLS_DIRECTION_RX);
	cr_assert(give_sealed(22, "\30\0", 2, &n) == TLS_IO_MORE);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == TLS_KTLS_TX, "half a message");
	cr_assert(give_sealed(22, "\0\1\0", 3, &n) == TLS_IO_MORE);
	cr_assert(tls_conn_ktls_wanted(rig.conn) == (TLS_KTLS_TX | TLS_KTLS_RX));
	load(&up, TLS_DIRECTION_RX);
	cr_assert(give_sealed(23, "new keys", 8, &n) == TLS_IO_MORE && n == 8);
	cr_assert(tls_conn_want(rig.conn) == TLS_RECORD_HEADER);
	rig_close(&rig);
}
