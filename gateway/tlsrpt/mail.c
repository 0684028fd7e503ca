/* SPDX-License-Identifier: MIT */
/*
 * mail.c -- a report as a message (RFC 8460 5.3): multipart/report with a few words for people and the
 * gzip'd JSON, signed where there is a key.
 *
 * All lines are shorter than 998 octets and 7-bit: header fields are folded, the report is base64. What
 * comes from others, the address and the domain, is checked before it stands in a header. TLS-Required
 * (RFC 8689 3) asks every hop to deliver whatever is wrong with the receiver's TLS: that is what the
 * report is about.
 */
#include "tlsrpt/tlsrpt-private.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "tls/tls.h"

#define BASE64_LINE 76 /* RFC 2045 6.8 */
#define ADDRESS_MAX 320
#define SECOND_US   1000000ull

void tlsrpt_base64(FILE *out, struct span bytes, size_t line, const char *fold)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t column = 0;

	while (bytes.n > 0) {
		struct span part = span_take(&bytes, 3);
		uint32_t bits = (uint32_t)part.p[0] << 16;

		if (part.n > 1)
			bits |= (uint32_t)part.p[1] << 8;
		if (part.n > 2)
			bits |= part.p[2];
		if (column == line) {
			fputs(fold, out);
			column = 0;
		}
		putc(digits[bits >> 18], out);
		putc(digits[bits >> 12 & 63], out);
		putc(part.n > 1 ? digits[bits >> 6 & 63] : '=', out);
		putc(part.n > 2 ? digits[bits & 63] : '=', out);
		column += 4;
	}
}

/* An address that may stand between < and > as it is. */
static bool is_address(const char *to)
{
	size_t n = strlen(to);

	for (size_t i = 0; i < n; i++) {
		if (to[i] <= ' ' || to[i] > '~' || to[i] == '<' || to[i] == '>')
			return false;
	}
	return n <= ADDRESS_MAX && strrchr(to, '@') != NULL;
}

/* Without strftime: the locale must not matter. */
static void put_date(FILE *out, uint64_t now_s)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)now_s;
	struct tm tm = {.tm_mday = 1};

	(void)gmtime_r(&seconds, &tm);
	fprintf(out, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d +0000\r\n", days + 3 * tm.tm_wday,
		tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
		tm.tm_sec);
}

/* What the letter is made of. */
struct letter {
	const struct tlsrpt *tlsrpt;
	const struct tlsrpt_report *report;
	const char *domain, *to;
	uint64_t now_s;
	char mark[24]; /* of this letter alone: for its id and the boundary */
};

/* Two letters about one report have each their own. */
static void mark_make(struct letter *letter)
{
	char text[ADDRESS_MAX + 400];
	uint8_t digest[TLS_SIGN_DIGEST];
	int n = snprintf(text, sizeof(text), "%s %s %llu", letter->report->report_id, letter->to,
		(unsigned long long)letter->now_s);

	tls_sha256(span_of(text, min_size((size_t)n, sizeof(text) - 1)), digest);
	for (size_t i = 0; 2 * i + 2 < sizeof(letter->mark); i++)
		(void)snprintf(letter->mark + 2 * i, 3, "%02x", digest[i]);
}

static void put_head(FILE *out, const struct letter *letter)
{
	const struct tlsrpt *tlsrpt = letter->tlsrpt;

	fprintf(out, "From: <%s>\r\n", tlsrpt_from(tlsrpt));
	fprintf(out, "To: <%s>\r\n", letter->to);
	put_date(out, letter->now_s);
	fprintf(out, "Message-ID: <%s@%s>\r\n", letter->mark, tlsrpt->submitter);
	fprintf(out, "Subject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>\r\n",
		letter->domain, tlsrpt->submitter, letter->report->report_id);
	fprintf(out, "TLS-Report-Domain: %s\r\n", letter->domain);
	fprintf(out, "TLS-Report-Submitter: %s\r\n", tlsrpt->submitter);
	fputs("TLS-Required: No\r\n", out);
	fputs("Auto-Submitted: auto-generated\r\n", out); /* RFC 3834 5 */
	fputs("MIME-Version: 1.0\r\n", out);
	fprintf(out,
		"Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n"
		" boundary=\"=_%s\"\r\n",
		letter->mark);
}

static void put_body(FILE *out, const struct letter *letter)
{
	fprintf(out, "--=_%s\r\n", letter->mark);
	fputs("Content-Type: text/plain; charset=us-ascii\r\n", out);
	fputs("Content-Transfer-Encoding: 7bit\r\n\r\n", out);
	fprintf(out,
		"A report of %s\r\nabout TLS with the mail hosts of %s,\r\n"
		"as RFC 8460 has it: see the attached file.\r\n\r\n",
		letter->tlsrpt->submitter, letter->domain);
	fprintf(out, "--=_%s\r\n", letter->mark);
	fputs("Content-Type: application/tlsrpt+gzip\r\n", out);
	fputs("Content-Transfer-Encoding: base64\r\n", out);
	fprintf(out, "Content-Disposition: attachment;\r\n filename=\"%s\"\r\n\r\n",
		letter->report->file_name);
	tlsrpt_base64(out, letter->report->gzip, BASE64_LINE, "\r\n");
	fprintf(out, "\r\n--=_%s--\r\n", letter->mark);
}

static int sign(FILE *out, const struct letter *letter, struct span head, struct span body)
{
	const struct tlsrpt_settings *settings = letter->tlsrpt->settings;
	const char *domain = settings->dkim_domain;

	if (letter->tlsrpt->key == NULL || settings->dkim_selector == NULL)
		return 0;
	return tlsrpt_dkim_write(out, letter->tlsrpt->key,
		domain != NULL ? domain : letter->tlsrpt->submitter, settings->dkim_selector,
		letter->now_s, head, body);
}

static int part_make(const struct letter *letter,
	void (*put)(FILE *out, const struct letter *letter), char **text, size_t *n)
{
	FILE *out = open_memstream(text, n);

	if (out == NULL)
		return -ENOMEM;
	put(out, letter);
	return fclose(out) == 0 ? 0 : -ENOMEM;
}

static int join(
	const struct letter *letter, struct span head, struct span body, char **text, size_t *n)
{
	FILE *out = open_memstream(text, n);
	int res;

	if (out == NULL)
		return -ENOMEM;
	res = sign(out, letter, head, body);
	fwrite(head.p, 1, head.n, out);
	fputs("\r\n", out);
	fwrite(body.p, 1, body.n, out);
	if (fclose(out) != 0)
		res = -ENOMEM;
	return res;
}

int tlsrpt_mail(struct tlsrpt *tlsrpt, const struct tlsrpt_report *report, const char *domain,
	const char *to, uint8_t **out, size_t *n)
{
	struct letter letter = {.tlsrpt = tlsrpt,
		.report = report,
		.domain = domain,
		.to = to,
		.now_s = clock_real_us() / SECOND_US};
	char name[STS_NAME_MAX + 1], *head = NULL, *body = NULL, *text = NULL;
	size_t head_n = 0, body_n = 0;
	int res;

	if (tlsrpt_from(tlsrpt) == NULL || !is_address(to) ||
		!tlsrpt_name_clean(span_str(domain), name))
		return -EINVAL;
	mark_make(&letter);
	res = part_make(&letter, put_head, &head, &head_n);
	if (res == 0)
		res = part_make(&letter, put_body, &body, &body_n);
	if (res == 0)
		res = join(&letter, span_of(head, head_n), span_of(body, body_n), &text, n);
	free(head);
	free(body);
	if (res == 0)
		*out = (uint8_t *)text;
	else
		free(text);
	return res;
}
