/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of tlsrpt/mail.c and dkim.c: the message of RFC 8460 5.3, and its signature, checked with
 * a reading of RFC 6376 3.4 of our own and OpenSSL's public key.
 */
#include "harness.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "tls/tls.h"

TestSuite(mail, .init = harness_setup, .fini = harness_teardown);

static struct tlsrpt_report report;

/* The message to that address, NUL behind it; NULL: refused. The caller's to free. */
static char *mail_to(const char *to)
{
	uint8_t *octets;
	size_t n;
	char *text;
	int res;

	count_one("b.example", TLSRPT_STS, TLSRPT_CERTIFICATE_EXPIRED);
	cr_assert_eq(tlsrpt_make(tlsrpt, "b.example", DAY, &report), 0);
	res = tlsrpt_mail(tlsrpt, &report, "b.example", to, &octets, &n);
	if (res != 0) {
		cr_expect_eq(res, -EINVAL);
		tlsrpt_report_free(&report);
		return NULL;
	}
	text = strndup((char *)octets, n);
	cr_expect_eq(strlen(text), n, "no NUL");
	free(octets);
	return text;
}

/* The value of a header field with its folding undone, "" where it is not. */
static const char *field(const char *text, const char *name)
{
	static char value[4096];
	const char *end = strstr(text, "\r\n\r\n"), *at = text;
	size_t n = strlen(name), out = 0;

	while (at < end && (strncasecmp(at, name, n) != 0 || at[n] != ':'))
		at = strstr(at, "\r\n") + 2;
	if (at >= end)
		return "";
	for (at += n + 1 + (at[n + 1] == ' '); at < end && out < sizeof(value) - 1; at++) {
		if (at[0] == '\r' && at[2] != ' ' && at[2] != '\t')
			break;
		if (at[0] != '\r' && at[0] != '\n')
			value[out++] = *at;
	}
	value[out] = '\0';
	return value;
}

Test(mail, fields)
{
	char wanted[400];
	char *text = mail_to("reports@b.example");
	static const struct {
		const char *name, *value;
	} rows[] = {
		{"From", "<tlsrpt@a.example>"},
		{"To", "<reports@b.example>"},
		{"Date", "Fri, 04 Oct 2024 12:00:00 +0000"},
		{"TLS-Report-Domain", "b.example"},
		{"TLS-Report-Submitter", "a.example"},
		{"TLS-Required", "No"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"DKIM-Signature", ""},
	};

	cr_assert_not_null(text);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_str_eq(field(text, rows[i].name), rows[i].value, "%s", rows[i].name);
	(void)snprintf(wanted, sizeof(wanted),
		"Report Domain: b.example Submitter: a.example Report-ID: <%s>", report.report_id);
	cr_expect_str_eq(field(text, "Subject"), wanted);
	cr_expect_eq(strncmp(field(text, "Content-Type"),
			     "multipart/report; report-type=\"tlsrpt\"; boundary=\"=_", 52),
		0);
	tlsrpt_report_free(&report);
	free(text);
}

Test(mail, lines_are_short_and_plain)
{
	char *text = mail_to("reports@b.example");

	for (char *line = text, *end; *line != '\0'; line = end + 2) {
		end = strstr(line, "\r\n");
		cr_assert_not_null(end, "the last line ends, too");
		cr_expect_leq(end - line, 998);
		for (const char *c = line; c < end; c++)
			cr_expect(*c >= ' ' && *c <= '~', "%02x", (unsigned char)*c);
	}
	tlsrpt_report_free(&report);
	free(text);
}

/* RFC 4648's, without any care for what is no digit. */
static size_t base64_read(const char *text, size_t n, uint8_t *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0, have = 0;
	size_t octets = 0;

	for (size_t i = 0; i < n; i++) {
		const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;

		if (digit == NULL)
			continue;
		bits = bits << 6 | (uint32_t)(digit - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[octets++] = (uint8_t)(bits >> have);
		}
	}
	return octets;
}

Test(mail, the_parts)
{
	char *text = mail_to("reports@b.example"), mark[64], name[800];
	const char *boundary = strstr(text, "boundary=\"") + 10, *part, *end;
	uint8_t gzip[65536];
	size_t n;

	(void)snprintf(mark, sizeof(mark), "\r\n--%.*s", (int)strcspn(boundary, "\""), boundary);
	part = strstr(text, mark);
	cr_assert_not_null(part);
	cr_expect_eq(strncmp(part + strlen(mark), "\r\nContent-Type: text/plain", 26), 0);
	part = strstr(part + 1, mark);
	cr_assert_not_null(part);
	(void)snprintf(name, sizeof(name),
		"\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n"
		"Content-Disposition: attachment;\r\n filename=\"%s\"\r\n\r\n",
		report.file_name);
	cr_assert_eq(strncmp(part + strlen(mark), name, strlen(name)), 0, "%s", part);
	part += strlen(mark) + strlen(name);
	end = strstr(part, mark);
	cr_assert_not_null(end);
	cr_expect_str_eq(end + strlen(mark), "--\r\n");
	n = base64_read(part, (size_t)(end - part), gzip);
	cr_expect(span_equal(span_of(gzip, n), report.gzip));
	for (; part < end; part = strstr(part, "\r\n") + 2)
		cr_expect_leq(strcspn(part, "\r"), 76);
	tlsrpt_report_free(&report);
	free(text);
}

Test(mail, addresses_that_cannot_stand_in_a_field)
{
	static const char *const bad[] = {"", "reports", "a b@b.example", "a@b.example\r\nX: y",
		"a@b.example>", "<a@b.example", "\xc3\xa9@b.example", "a\x7f@b.example"};
	char long_one[400];

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		cr_expect_null(mail_to(bad[i]), "%s", bad[i]);
	memset(long_one, 'a', sizeof(long_one));
	(void)snprintf(long_one + 330, sizeof(long_one) - 330, "@b.example");
	cr_expect_null(mail_to(long_one));
	settings.from = NULL;
	harness_again();
	cr_expect_null(mail_to("a@b.example"), "reports are off");
}

Test(mail, two_places_two_messages)
{
	char *one = mail_to("a@b.example"), *two, id[128];

	(void)snprintf(id, sizeof(id), "%s", field(one, "Message-ID"));
	tlsrpt_report_free(&report);
	two = mail_to("c@b.example");
	cr_expect_str_neq(field(two, "Message-ID"), id);
	tlsrpt_report_free(&report);
	free(one);
	free(two);
}

Test(mail, base64)
{
	/* RFC 4648 10 */
	static const struct {
		const char *text, *code;
	} rows[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9v|Yg=="},
		{"fooba", "Zm9v|YmE="}, {"foobar", "Zm9v|YmFy"}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char *code = NULL;
		size_t n;
		FILE *out = open_memstream(&code, &n);

		tlsrpt_base64(out, span_str(rows[i].text), 4, "|");
		fclose(out);
		cr_expect_str_eq(code, rows[i].code);
		free(code);
	}
}

/* ---- DKIM ---- */

Test(mail, relaxed_bodies)
{
	static const struct {
		const char *body, *canon;
	} rows[] = {
		{"", ""},
		{"\r\n\r\n", ""},
		{" \t\r\n\r\n", ""},
		{" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"}, /* RFC 6376 3.4.5 */
		{"a\r\n\r\nb", "a\r\n\r\nb\r\n"},
		{"a\r\n \r\nb\r\n", "a\r\n\r\nb\r\n"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char *canon = NULL;
		size_t n;

		cr_assert_eq(tlsrpt_dkim_body(span_str(rows[i].body), &canon, &n), 0);
		cr_expect_str_eq(canon, rows[i].canon, "row %zu", i);
		free(canon);
	}
}

/* The message of RFC 6376 A and RFC 8463 A.3, with the bh= that they have. */
Test(mail, the_rfcs_body_hash)
{
	static const char body[] =
		"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
	uint8_t digest[32], wanted[33];
	char *canon = NULL;
	size_t n;

	cr_assert_eq(tlsrpt_dkim_body(span_str(body), &canon, &n), 0);
	tls_sha256(span_of(canon, n), digest);
	cr_assert_eq(base64_read("2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=", 44, wanted), 32);
	cr_expect_arr_eq(digest, wanted, 32);
	free(canon);
}

Test(mail, relaxed_heads)
{
	static const char head[] = "X: 1\r\nSUBJect : Y\t\r\n\tZ  \r\nfrom:\r\n  A \r\nY: 2\r\n";
	char *canon = NULL;
	size_t n;

	cr_assert_eq(tlsrpt_dkim_head(span_str(head), span_str("DKIM-Signature: v=1;\r\n b=\r\n"),
			     &canon, &n),
		0);
	/* RFC 6376 3.4.5, in the order of our h=; a blank before the colon is not what we write */
	cr_expect_str_eq(canon, "from:A\r\ndkim-signature:v=1; b=");
	free(canon);
	cr_assert_eq(tlsrpt_dkim_head(span_str("Subject: Y\t\r\n\tZ  \r\n"),
			     span_str("DKIM-Signature: b="), &canon, &n),
		0);
	cr_expect_str_eq(canon, "subject:Y Z\r\ndkim-signature:b=");
	free(canon);
}

/* Appends a field as "relaxed" has it. */
static void canon_field(char *out, const char *name, const char *value)
{
	size_t n = strlen(out);
	bool blank = false;

	for (; *name != '\0'; name++)
		out[n++] = (char)tolower((unsigned char)*name);
	out[n++] = ':';
	while (*value == ' ')
		value++;
	for (; *value != '\0'; value++) {
		if (*value == ' ' || *value == '\t') {
			blank = true;
			continue;
		}
		if (blank)
			out[n++] = ' ';
		blank = false;
		out[n++] = *value;
	}
	out[n] = '\0';
}

/* The value of a tag in an unfolded signature, blanks left out. */
static void tag(const char *signature, const char *name, char *out)
{
	size_t n = strlen(name);
	const char *at = signature;

	*out = '\0';
	while (at != NULL && (strncmp(at, name, n) != 0 || at[n] != '=')) {
		at = strchr(at, ';');
		at = at != NULL ? at + 1 + strspn(at + 1, " \t") : NULL;
	}
	for (at = at != NULL ? at + n + 1 : ""; *at != '\0' && *at != ';'; at++)
		if (*at != ' ' && *at != '\t')
			*out++ = *at;
	*out = '\0';
}

static bool verify(const char *pem, const char *algorithm, struct span text,
	const uint8_t *signature, size_t n)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool rsa = strcmp(algorithm, "rsa-sha256") == 0, good;
	uint8_t digest[32];

	tls_sha256(text, digest);
	cr_assert_eq(EVP_DigestVerifyInit(ctx, NULL, rsa ? EVP_sha256() : NULL, NULL, key), 1);
	good = EVP_DigestVerify(ctx, signature, n, rsa ? text.p : digest, rsa ? text.n : 32) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return good;
}

/* Is the message signed by the key? */
static bool signed_by(const char *text, const char *pem)
{
	char signature[4096], value[4096], names[1024], canon[16384] = "", *name, *rest, *b;
	uint8_t octets[1024], digest[32], told[64];
	char *body = NULL, *before = NULL;
	size_t n, body_n;

	(void)snprintf(signature, sizeof(signature), "%s", field(text, "DKIM-Signature"));
	cr_assert_eq(tlsrpt_dkim_body(span_str(strstr(text, "\r\n\r\n") + 4), &body, &body_n), 0);
	tls_sha256(span_of(body, body_n), digest);
	free(body);
	tag(signature, "bh", value);
	if (base64_read(value, strlen(value), told) != 32 || memcmp(digest, told, 32) != 0)
		return false;
	tag(signature, "h", names);
	for (name = strtok_r(names, ":", &rest); name != NULL; name = strtok_r(NULL, ":", &rest)) {
		if (before == NULL || strcmp(before, name) != 0) {
			canon_field(canon, name, field(text, name));
			strncat(canon, "\r\n", 3);
		}
		before = name;
	}
	tag(signature, "b", value);
	n = base64_read(value, strlen(value), octets);
	b = strstr(signature, " b=");
	b[3] = '\0';
	canon_field(canon, "DKIM-Signature", signature);
	tag(signature, "a", value);
	return verify(pem, value, span_str(canon), octets, n);
}

static void check_signed(int bits, const char *algorithm)
{
	char *pem = key_make(bits), *other = key_make(bits), *text, value[1024];

	settings.dkim_selector = "s1";
	tlsrpt_close(tlsrpt);
	harness_open(pem);
	text = mail_to("reports@b.example");
	tag(field(text, "DKIM-Signature"), "a", value);
	cr_expect_str_eq(value, algorithm);
	tag(field(text, "DKIM-Signature"), "d", value);
	cr_expect_str_eq(value, "a.example");
	tag(field(text, "DKIM-Signature"), "s", value);
	cr_expect_str_eq(value, "s1");
	tag(field(text, "DKIM-Signature"), "l", value);
	cr_expect_str_eq(value, "", "RFC 8460 3 forbids it");
	cr_expect(signed_by(text, pem));
	cr_expect_not(signed_by(text, other), "another key");
	*strstr(text, "reports@") = 'x';
	cr_expect_not(signed_by(text, pem), "another address");
	*strstr(text, "xeports@") = 'r';
	cr_expect(signed_by(text, pem));
	*strstr(text, "attached") = 'x';
	cr_expect_not(signed_by(text, pem), "another body");
	tlsrpt_report_free(&report);
	free(text);
	free(pem);
	free(other);
}

Test(mail, signed_by_rsa)
{
	check_signed(2048, "rsa-sha256");
}

Test(mail, signed_by_the_largest_rsa)
{
	check_signed(TLS_SIGN_RSA_BITS_MAX, "rsa-sha256");
}

Test(mail, signed_by_ed25519)
{
	check_signed(0, "ed25519-sha256");
}

Test(mail, the_domain_that_signs_may_be_another)
{
	char *pem = key_make(0), *text, value[1024];

	settings.dkim_selector = "s1";
	settings.dkim_domain = "example";
	tlsrpt_close(tlsrpt);
	harness_open(pem);
	text = mail_to("reports@b.example");
	tag(field(text, "DKIM-Signature"), "d", value);
	cr_expect_str_eq(value, "example");
	cr_expect(signed_by(text, pem));
	tlsrpt_report_free(&report);
	free(text);
	free(pem);
}
