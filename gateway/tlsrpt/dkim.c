/* SPDX-License-Identifier: MIT */
/*
 * dkim.c -- DKIM signatures (RFC 6376, Ed25519 by RFC 8463), relaxed/relaxed, over the whole body:
 * "l=" must not be used for TLS reports (RFC 8460 3).
 *
 * From stands twice among the signed fields, so that nobody may add a second one (RFC 6376 8.15). The
 * crypto is tls/'s.
 */
#include "tlsrpt/tlsrpt-private.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "tls/tls.h"

#define BASE64_LINE 72
#define NAME        "DKIM-Signature"

static const char *const signed_fields[] = {"From", "From", "To", "Subject", "Date", "Message-ID",
	"MIME-Version", "Content-Type", "Auto-Submitted", "TLS-Report-Domain",
	"TLS-Report-Submitter", "TLS-Required"};

/* ---- canonical forms ---- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* Runs of blanks become one space, those at the end go, and at the front where it says so; so do line
 * ends. */
static void put_squeezed(FILE *out, struct span text, bool front)
{
	bool blank = false;

	for (size_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];

		if (c == '\r' || c == '\n')
			continue;
		if (is_blank(c)) {
			blank = true;
			continue;
		}
		if (blank && !front)
			putc(' ', out);
		blank = front = false;
		putc(c, out);
	}
}

static struct span take_line(struct span *rest)
{
	const uint8_t *end = memmem(rest->p, rest->n, "\r\n", 2);
	struct span line = span_take(rest, end != NULL ? (size_t)(end - rest->p) : rest->n);

	span_take(rest, 2);
	return line;
}

static bool is_empty(struct span line)
{
	for (size_t i = 0; i < line.n; i++) {
		if (!is_blank(line.p[i]))
			return false;
	}
	return true;
}

int tlsrpt_dkim_body(struct span body, char **canon, size_t *n)
{
	FILE *out = open_memstream(canon, n);
	size_t empty = 0; /* lines, which are nothing at the end */

	if (out == NULL)
		return -ENOMEM;
	while (body.n > 0) {
		struct span line = take_line(&body);

		if (is_empty(line)) {
			empty++;
			continue;
		}
		for (; empty > 0; empty--)
			fputs("\r\n", out);
		put_squeezed(out, line, false);
		fputs("\r\n", out);
	}
	return fclose(out) == 0 ? 0 : -ENOMEM;
}

/* A field with its continuations, without the line end behind it. */
static struct span take_field(struct span *rest)
{
	const uint8_t *start = rest->p;
	struct span line = take_line(rest);

	while (rest->n > 0 && is_blank(rest->p[0]))
		line = take_line(rest);
	return span_of(start, (size_t)(line.p + line.n - start));
}

/* The field of that name (there is one each in what we write); empty: none. */
static struct span field_find(struct span head, const char *name)
{
	size_t n = strlen(name);

	while (head.n > 0) {
		struct span field = take_field(&head);

		if (field.n > n && field.p[n] == ':' &&
			strncasecmp((const char *)field.p, name, n) == 0)
			return field;
	}
	return span_of(NULL, 0);
}

static void put_field(FILE *out, struct span field)
{
	const uint8_t *colon = memchr(field.p, ':', field.n);
	struct span name = span_take(&field, colon != NULL ? (size_t)(colon - field.p) : 0);

	span_take(&field, 1);
	for (size_t i = 0; i < name.n; i++)
		putc(tolower(name.p[i]), out);
	putc(':', out);
	put_squeezed(out, field, true);
}

int tlsrpt_dkim_head(struct span head, struct span signature, char **canon, size_t *n)
{
	FILE *out = open_memstream(canon, n);

	if (out == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < COUNT_OF(signed_fields); i++) {
		struct span field = field_find(head, signed_fields[i]);
		bool again = i > 0 && strcmp(signed_fields[i - 1], signed_fields[i]) == 0;

		if (field.n == 0 || again) /* what is not there is signed as nothing */
			continue;
		put_field(out, field);
		fputs("\r\n", out);
	}
	while (signature.n > 0 &&
		(signature.p[signature.n - 1] == '\n' || signature.p[signature.n - 1] == '\r'))
		signature.n--;
	put_field(out, signature);
	return fclose(out) == 0 ? 0 : -ENOMEM;
}

/* ---- the signature ---- */

static int body_hash(struct span body, uint8_t digest[TLS_SIGN_DIGEST])
{
	char *canon = NULL;
	size_t n = 0;
	int res = tlsrpt_dkim_body(body, &canon, &n);

	if (res == 0)
		tls_sha256(span_of(canon, n), digest);
	free(canon);
	return res;
}

static int head_sign(const struct tls_sign_key *key, struct span head, struct span field,
	uint8_t signature[TLS_SIGNATURE_MAX], size_t *signature_n)
{
	uint8_t digest[TLS_SIGN_DIGEST];
	char *canon = NULL;
	size_t n = 0;
	int res = tlsrpt_dkim_head(head, field, &canon, &n);

	if (res == 0) {
		tls_sha256(span_of(canon, n), digest);
		res = tls_sign(key, digest, signature, signature_n);
	}
	free(canon);
	return res;
}

/* All of the field but the signature itself, which is the last. */
static int field_make(const struct tls_sign_key *key, const char *domain, const char *selector,
	uint64_t now_s, const uint8_t hash[TLS_SIGN_DIGEST], char **text, size_t *n)
{
	FILE *out = open_memstream(text, n);

	if (out == NULL)
		return -ENOMEM;
	fprintf(out,
		NAME ": v=1; a=%s; c=relaxed/relaxed;\r\n d=%s;\r\n s=%s; t=%" PRIu64 ";\r\n h=",
		tls_sign_key_kind(key) == TLS_SIGN_RSA ? "rsa-sha256" : "ed25519-sha256", domain,
		selector, now_s);
	for (size_t i = 0; i < COUNT_OF(signed_fields); i++)
		fprintf(out, "%s%s", i == 0 ? "" : i % 4 == 0 ? ":\r\n  " : ":", signed_fields[i]);
	fputs(";\r\n bh=", out);
	tlsrpt_base64(out, span_of(hash, TLS_SIGN_DIGEST), BASE64_LINE, "\r\n  ");
	fputs(";\r\n b=", out);
	return fclose(out) == 0 ? 0 : -ENOMEM;
}

int tlsrpt_dkim_write(FILE *out, const struct tls_sign_key *key, const char *domain,
	const char *selector, uint64_t now_s, struct span head, struct span body)
{
	uint8_t hash[TLS_SIGN_DIGEST], signature[TLS_SIGNATURE_MAX];
	size_t n = 0, signature_n = 0;
	char *field = NULL;
	int res = body_hash(body, hash);

	if (res == 0)
		res = field_make(key, domain, selector, now_s, hash, &field, &n);
	if (res == 0)
		res = head_sign(key, head, span_of(field, n), signature, &signature_n);
	if (res == 0) {
		fputs(field, out);
		tlsrpt_base64(out, span_of(signature, signature_n), BASE64_LINE, "\r\n  ");
		fputs("\r\n", out);
	}
	free(field);
	return res;
}
