/* SPDX-License-Identifier: MIT */
/* tlsrpt.c -- tests: the _smtp._tls record, and which places it names. */
#include "sts/sts.h"

#include "tests/unit/sts/wire.h"

#define URIS_MAX 3

Test(tlsrpt, read)
{
	static const struct {
		const char *section;
		const char *texts[WIRE_RECORDS];
		enum sts_record_error error;
		const char *uris[URIS_MAX];
		uint32_t ignored;
	} rows[] = {
		{"8460 3.1", {"v=TLSRPTv1;rua=mailto:reports@example.com"}, STS_RECORD_OK,
			{"mailto:reports@example.com"}, 0},
		{"8460 3.1", {"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"},
			STS_RECORD_OK, {"https://reporting.example.com/v1/tlsrpt"}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/d"},
			STS_RECORD_OK, {"mailto:a@b.example", "https://c.example/d"}, 0},
		{"8460 3", {"v=TLSRPTv1;\trua=mailto:a@b.example \t, https://c.example ; "},
			STS_RECORD_OK, {"mailto:a@b.example", "https://c.example"}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b; x=y; rua=mailto:c@d"}, STS_RECORD_OK,
			{"mailto:a@b", "mailto:c@d"}, 0},
		{"8460 3", {"v=TLSRP|Tv1; rua=mail|to:a@b.exa|mple"}, STS_RECORD_OK,
			{"mailto:a@b.example"}, 0},
		{"8460 3", {"v=spf1 -all", "v=TLSRPTv1; rua=mailto:a@b"}, STS_RECORD_OK,
			{"mailto:a@b"}, 0},
		{"3986 3.1", {"v=TLSRPTv1; rua=MailTo:a@b,HTTPS://c"}, STS_RECORD_OK,
			{"MailTo:a@b", "HTTPS://c"}, 0},
		/* percent-encoding is valid and kept */
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a%21b%2Cc@d,https://e/%3b?f=g%20h#i"},
			STS_RECORD_OK, {"https://e/%3b?f=g%20h#i"}, 1},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a%21b@d"}, STS_RECORD_OK, {"mailto:a%21b@d"},
			0},
		{"3986 3.2.2", {"v=TLSRPTv1; rua=https://[2001:db8::1]:8443/r"}, STS_RECORD_OK,
			{"https://[2001:db8::1]:8443/r"}, 0},
		/* URIs, but no places for us */
		{"8460 3", {"v=TLSRPTv1; rua=http://a/b,ftp://c,x:,mailto:a@b"}, STS_RECORD_OK,
			{"mailto:a@b"}, 3},
		{"8460 3", {"v=TLSRPTv1; rua=https:,https://,https:///x,https:x,mailto:a@b"},
			STS_RECORD_OK, {"mailto:a@b"}, 4},
		{"6068 2", {"v=TLSRPTv1; rua=mailto:,mailto:a,mailto:@b,mailto:a@,mailto:c@d"},
			STS_RECORD_OK, {"mailto:c@d"}, 4},
		{"8460 3", {"v=TLSRPTv1; rua=http://a.example"}, STS_RECORD_NO_RUA, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; x=y"}, STS_RECORD_NO_RUA, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1;"}, STS_RECORD_NO_RUA, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; RUA=mailto:a@b"}, STS_RECORD_NO_RUA, {NULL}, 0},
		/* none, several */
		{"8460 3", {NULL}, STS_RECORD_NONE, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1"}, STS_RECORD_NONE, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv2; rua=mailto:a@b"}, STS_RECORD_NONE, {NULL}, 0},
		{"8460 3", {"v=tlsrptv1; rua=mailto:a@b"}, STS_RECORD_NONE, {NULL}, 0},
		{"8460 3", {"rua=mailto:a@b; v=TLSRPTv1"}, STS_RECORD_NONE, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b", "v=TLSRPTv1; rua=mailto:a@b"},
			STS_RECORD_SEVERAL, {NULL}, 0},
		/* no URIs */
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a!b@c"}, STS_RECORD_URI, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b!10m"}, STS_RECORD_URI, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b,"}, STS_RECORD_URI, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=,mailto:a@b"}, STS_RECORD_URI, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=a@b"}, STS_RECORD_URI, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=:a@b"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 3.1", {"v=TLSRPTv1; rua=1x:a"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 3.1", {"v=TLSRPTv1; rua=+x:a"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 3.1", {"v=TLSRPTv1; rua=x_y:a"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2.1", {"v=TLSRPTv1; rua=mailto:a%4@b"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2.1", {"v=TLSRPTv1; rua=mailto:a@b%4"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2.1", {"v=TLSRPTv1; rua=mailto:a@b%"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2.1", {"v=TLSRPTv1; rua=mailto:%g0@b"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2", {"v=TLSRPTv1; rua=https://a/b c"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2", {"v=TLSRPTv1; rua=https://a/\"b"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2", {"v=TLSRPTv1; rua=https://a/<b>"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2", {"v=TLSRPTv1; rua=https://a/\\b"}, STS_RECORD_URI, {NULL}, 0},
		{"3986 2", {"v=TLSRPTv1; rua=https://\xc3\xa4/"}, STS_RECORD_URI, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b; rua=x"}, STS_RECORD_URI, {NULL}, 0},
		/* no fields */
		{"8460 3", {"v=TLSRPTv1; rua="}, STS_RECORD_FIELD, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua"}, STS_RECORD_FIELD, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua =mailto:a@b"}, STS_RECORD_FIELD, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b "}, STS_RECORD_FIELD, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b;;"}, STS_RECORD_FIELD, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b; x=a=b"}, STS_RECORD_FIELD, {NULL}, 0},
		{"8460 3", {"v=TLSRPTv1; rua=mailto:a@b; c@d"}, STS_RECORD_FIELD, {NULL}, 0},
	};
	static struct wire wire;
	static struct sts_tlsrpt got;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		enum sts_record_error error;
		uint32_t wanted = 0;

		wire_set(&wire, rows[i].texts);
		error = sts_tlsrpt_read(wire.records, wire.n, &got);
		cr_expect_eq(error, rows[i].error, "row %zu, RFC %s: %s", i, rows[i].section,
			sts_record_error_text(error));
		while (wanted < URIS_MAX && rows[i].uris[wanted] != NULL)
			wanted++;
		cr_expect_eq(got.rua_n, wanted, "row %zu", i);
		cr_expect_eq(got.ignored_n, rows[i].ignored, "row %zu", i);
		for (uint32_t k = 0; k < wanted && k < got.rua_n; k++) {
			bool https = (rows[i].uris[k][0] | 0x20) == 'h';

			cr_expect(span_equal(sts_rua_uri(&got, k), span_str(rows[i].uris[k])),
				"row %zu", i);
			cr_expect_eq(got.rua[k].kind, https ? STS_RUA_HTTPS : STS_RUA_MAILTO);
		}
	}
}

Test(tlsrpt, a_copy_stands_alone)
{
	static const char *const texts[WIRE_RECORDS] = {"v=TLSRPTv1 ; rua=mailto:a@b"};
	static struct wire wire;
	static struct sts_tlsrpt first, copy;

	wire_set(&wire, texts);
	cr_assert_eq(sts_tlsrpt_read(wire.records, wire.n, &first), STS_RECORD_OK);
	cr_expect(first.blank);
	copy = first;
	memset(&first, 0, sizeof(first));
	memset(wire.octets, 0, sizeof(wire.octets));
	cr_expect(span_equal(sts_rua_uri(&copy, 0), span_str("mailto:a@b")));
}

Test(tlsrpt, more_places_than_we_use)
{
	static const char start[] = "v=TLSRPTv1; rua=";
	static struct wire wire;
	static struct sts_tlsrpt got;
	uint8_t storage[1024];
	struct buf text;

	buf_init(&text, storage, sizeof(storage));
	cr_assert(buf_puts(&text, start));
	for (unsigned i = 0; i < STS_RUA_MAX + 3; i++)
		cr_assert(buf_printf(&text, "%smailto:a%u@b.example", i ? "," : "", i));
	wire_add(&wire, buf_span(&text));
	cr_assert_eq(sts_tlsrpt_read(wire.records, 1, &got), STS_RECORD_OK);
	cr_expect_eq(got.rua_n, STS_RUA_MAX);
	cr_expect_eq(got.ignored_n, 3);
	cr_expect(span_equal(sts_rua_uri(&got, STS_RUA_MAX - 1), span_str("mailto:a15@b.example")));
}

Test(tlsrpt, mailboxes)
{
	static const struct {
		const char *section;
		const char *uri;
		const char *mailbox; /* NULL: none */
	} rows[] = {
		{"6068 2", "mailto:a@b.example", "a@b.example"},
		{"6068 2", "MAILTO:A@b.example", "A@b.example"},
		{"6068 2", "mailto:a%2Bc@b.example", "a+c@b.example"},
		{"6068 2", "mailto:a+c@b.example", "a+c@b.example"},
		{"6068 2", "mailto:a%40b.example", "a@b.example"},
		{"6068 2", "mailto:a@b.example?subject=x@y", "a@b.example"},
		{"6068 2", "mailto:%25@b", "%@b"},
		{"6068 2", "mailto:a%40c@b", NULL},
		{"6068 2", "mailto:a@b%2Cc@d", NULL},
		{"6068 5", "mailto:a%0D%0ABcc:x@b", NULL},
		{"6068 5", "mailto:a%0a@b", NULL},
		{"6068 5", "mailto:a%00@b", NULL},
		{"6068 5", "mailto:a%7f@b", NULL},
		{"6068 5", "mailto:a%20c@b", NULL},
		{"6068 5", "mailto:%3Ca@b%3E", NULL},
		{"6068 5", "mailto:%22a%22@b", NULL},
		{"6068 2", "mailto:a@%5B192.0.2.1%5D", NULL},
		{"6068 2", "mailto:%C3%A4@b", NULL},
		{"6068 2", "mailto:?to=a@b", NULL},
		{"6068 2", "mailto:a", NULL},
		{"6068 2", "mailto:a@", NULL},
		{"6068 2", "mailto:@b", NULL},
		{"6068 2", "mailto:a%4@b", NULL},
		{"6068 2", "mailto:a@b%4", NULL},
		{"6068 2", "https://a@b", NULL},
		{"6068 2", "mailt", NULL},
		{"6068 2", "", NULL},
	};
	char mailbox[STS_MAILBOX_MAX + 1];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bool ok = sts_rua_mailbox(span_str(rows[i].uri), mailbox);

		cr_expect_eq(
			ok, rows[i].mailbox != NULL, "%s, RFC %s", rows[i].uri, rows[i].section);
		if (ok && rows[i].mailbox != NULL)
			cr_expect_str_eq(mailbox, rows[i].mailbox);
	}
}

Test(tlsrpt, longest_mailbox)
{
	char uri[7 + STS_MAILBOX_MAX + 2] = "mailto:";
	char mailbox[STS_MAILBOX_MAX + 1];

	memset(uri + 7, 'a', STS_MAILBOX_MAX + 1);
	uri[8] = '@';
	cr_expect(sts_rua_mailbox(span_of(uri, 7 + STS_MAILBOX_MAX), mailbox));
	cr_expect_eq(strlen(mailbox), STS_MAILBOX_MAX);
	cr_expect(!sts_rua_mailbox(span_of(uri, 7 + STS_MAILBOX_MAX + 1), mailbox));
}

Test(tlsrpt, written_and_read_again)
{
	static const char *const uris[] = {"mailto:a@b.example", "https://c.example/r"};
	static struct wire wire;
	static struct sts_tlsrpt got;
	uint8_t storage[256];
	struct buf out;

	buf_init(&out, storage, sizeof(storage));
	cr_assert(sts_tlsrpt_write(uris, COUNT_OF(uris), &out));
	cr_expect(span_equal(buf_span(&out),
		span_str("v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/r;")));
	wire_add(&wire, buf_span(&out));
	cr_assert_eq(sts_tlsrpt_read(wire.records, 1, &got), STS_RECORD_OK);
	cr_expect_eq(got.rua_n, 2);
	buf_init(&out, storage, 20);
	cr_expect(!sts_tlsrpt_write(uris, COUNT_OF(uris), &out));
}
