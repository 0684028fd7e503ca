/* SPDX-License-Identifier: MIT */
/*
 * sts_txt.c -- fuzz target: any octets as the data of TXT records, each behind two octets with its
 * length, for _mta-sts and for _smtp._tls.
 *
 * Shows: the readers keep within records and bounds; an id is one, can be published and is read
 * again; the places of reports are URIs that we would publish ourselves, an address of them has
 * nothing in it that could end a line or a path; a second such record makes both void, and a
 * stranger's record changes nothing.
 */
#include <stdlib.h>

#include "sts/sts.h"

#define RECORDS_MAX 16

static const uint8_t stranger[] = "\x0bv=spf1 -all";

/* A TXT record's data out of its text. */
static struct span wire(struct span text, uint8_t *data)
{
	size_t at = 0;

	while (text.n > 0) {
		struct span string = span_take(&text, 255);

		data[at++] = (uint8_t)string.n;
		memcpy(data + at, string.p, string.n);
		at += string.n;
	}
	return span_of(data, at);
}

static void check_record(struct span *records, size_t n)
{
	struct sts_record record, again;
	enum sts_record_error error = sts_record_read(records, n, &record);
	uint8_t text[64], data[80];
	struct buf out;

	ASSERT(*sts_record_error_text(error) != '\0');
	ASSERT((error == STS_RECORD_OK) == (record.id[0] != '\0'));
	records[n] = span_of(stranger, sizeof(stranger) - 1);
	ASSERT(sts_record_read(records, n + 1, &again) == error);
	ASSERT(memcmp(&record, &again, sizeof(record)) == 0);
	if (error != STS_RECORD_OK)
		return;
	ASSERT(strnlen(record.id, sizeof(record.id)) <= STS_ID_MAX);
	ASSERT(sts_id_valid(span_str(record.id)));
	buf_init(&out, text, sizeof(text));
	ASSERT(sts_record_write(span_str(record.id), &out));
	records[n] = wire(buf_span(&out), data);
	ASSERT(sts_record_read(records + n, 1, &again) == STS_RECORD_OK);
	ASSERT(strcmp(again.id, record.id) == 0 && !again.blank);
	ASSERT(sts_record_read(records, n + 1, &again) == STS_RECORD_SEVERAL);
}

static void check_mailbox(struct span uri)
{
	char mailbox[STS_MAILBOX_MAX + 1];
	char *at;

	ASSERT(sts_rua_mailbox(uri, mailbox));
	ASSERT(strlen(mailbox) <= STS_MAILBOX_MAX);
	for (const char *p = mailbox; *p != '\0'; p++)
		ASSERT(*p > ' ' && *p < 0x7f && strchr("<>,;:\"", *p) == NULL);
	at = strchr(mailbox, '@');
	ASSERT(at != NULL && at > mailbox && at[1] != '\0' && strchr(at + 1, '@') == NULL);
}

static void check_uris_written(const struct sts_tlsrpt *tlsrpt, struct span *records, size_t n)
{
	static char strings[STS_RUA_MAX][STS_TXT_MAX + 1];
	static uint8_t text[STS_TXT_MAX + 64], data[STS_TXT_MAX + 128];
	static struct sts_tlsrpt again;
	const char *uris[STS_RUA_MAX];
	struct buf out;

	for (uint32_t i = 0; i < tlsrpt->rua_n; i++) {
		struct span uri = sts_rua_uri(tlsrpt, i);

		memcpy(strings[i], uri.p, uri.n);
		strings[i][uri.n] = '\0';
		uris[i] = strings[i];
	}
	buf_init(&out, text, sizeof(text));
	ASSERT(sts_tlsrpt_write(uris, tlsrpt->rua_n, &out));
	records[n] = wire(buf_span(&out), data);
	ASSERT(sts_tlsrpt_read(records, n + 1, &again) == STS_RECORD_SEVERAL);
	if (buf_len(&out) > STS_TXT_MAX)
		return;
	ASSERT(sts_tlsrpt_read(records + n, 1, &again) == STS_RECORD_OK);
	ASSERT(again.rua_n == tlsrpt->rua_n && again.ignored_n == 0);
	for (uint32_t i = 0; i < again.rua_n; i++)
		ASSERT(span_equal(sts_rua_uri(&again, i), sts_rua_uri(tlsrpt, i)));
}

static void check_tlsrpt(struct span *records, size_t n)
{
	static struct sts_tlsrpt tlsrpt;
	enum sts_record_error error = sts_tlsrpt_read(records, n, &tlsrpt);

	ASSERT(*sts_record_error_text(error) != '\0');
	ASSERT((error == STS_RECORD_OK) == (tlsrpt.rua_n > 0));
	if (error != STS_RECORD_OK)
		return;
	ASSERT(tlsrpt.rua_n <= STS_RUA_MAX);
	for (uint32_t i = 0; i < tlsrpt.rua_n; i++) {
		struct span uri = sts_rua_uri(&tlsrpt, i);
		enum sts_rua_kind kind;

		ASSERT(sts_rua_valid(uri, &kind) && kind == tlsrpt.rua[i].kind);
		ASSERT(memchr(uri.p, ',', uri.n) == NULL && memchr(uri.p, '!', uri.n) == NULL);
		if (kind == STS_RUA_MAILTO)
			check_mailbox(uri);
	}
	check_uris_written(&tlsrpt, records, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span rest = span_of(data, n), records[RECORDS_MAX + 1];
	char mailbox[STS_MAILBOX_MAX + 1];
	size_t records_n = 0;

	while (rest.n >= 2 && records_n < RECORDS_MAX) {
		struct span length = span_take(&rest, 2);

		records[records_n++] = span_take(&rest, (size_t)length.p[0] << 8 | length.p[1]);
	}
	check_record(records, records_n);
	check_tlsrpt(records, records_n);
	(void)!sts_rua_mailbox(span_of(data, n), mailbox);
	return 0;
}
