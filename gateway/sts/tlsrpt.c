/* SPDX-License-Identifier: MIT */
/*
 * tlsrpt.c -- the _smtp._tls record (RFC 8460 3): where reports about a domain's TLS go.
 *
 * A rua is a list of URIs. All of them must be URIs by RFC 3986's characters, with ',', '!' and ';'
 * encoded; of these mailto: and https: ones are used, others skipped. An address is decoded only
 * for the one who sends to it, and cannot bring a line end or a second address with it.
 */
#include "sts/sts-private.h"

#define VERSION  "v=TLSRPTv1"
#define MAILTO   "mailto:"
#define HTTPS    "https://"
#define URI_EACH ":/?#[]@$&'()*+=-._~" /* besides letters, digits and "%XX" */

static bool starts_nocase(struct span *span, const char *text)
{
	struct span rest = *span;
	struct span head = span_take(&rest, strlen(text));

	if (!sts_same_nocase(head, span_str(text)))
		return false;
	*span = rest;
	return true;
}

/* The value of a hexadecimal digit, -1: not one. */
static int hex_value(uint8_t c)
{
	if (sts_is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes an octet, decoded if it is "%XX". False: a '%' without its digits. */
static bool octet_take(struct span *rest, uint8_t *octet)
{
	int high, low;

	*octet = span_take(rest, 1).p[0];
	if (*octet != '%')
		return true;
	if (rest->n < 2)
		return false;
	high = hex_value(rest->p[0]);
	low = hex_value(rest->p[1]);
	if (high < 0 || low < 0)
		return false;
	(void)span_take(rest, 2);
	*octet = (uint8_t)(high << 4 | low);
	return true;
}

/* scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ), RFC 3986 3.1 */
static bool scheme_valid(struct span scheme)
{
	for (size_t i = 0; i < scheme.n; i++) {
		uint8_t c = scheme.p[i];

		if (!sts_is_alnum(c) && c != '+' && c != '-' && c != '.')
			return false;
	}
	return scheme.n > 0 && !sts_is_digit(scheme.p[0]) && sts_is_alnum(scheme.p[0]);
}

static bool uri_valid(struct span uri)
{
	bool colon;
	struct span rest = uri;

	if (!scheme_valid(sts_take_to(&rest, ':', &colon)) || !colon)
		return false;
	while (rest.n > 0) {
		uint8_t c = rest.p[0], octet;

		if (!sts_is_alnum(c) && c != '%' && (c == '\0' || strchr(URI_EACH, c) == NULL))
			return false;
		if (!octet_take(&rest, &octet))
			return false;
	}
	return true;
}

bool sts_rua_mailbox(struct span uri, char mailbox[STS_MAILBOX_MAX + 1])
{
	size_t n = 0, at_n = 0, local_n = 0;
	bool query;

	if (!starts_nocase(&uri, MAILTO))
		return false;
	uri = sts_take_to(&uri, '?', &query);
	while (uri.n > 0) {
		uint8_t c;

		if (n == STS_MAILBOX_MAX || !octet_take(&uri, &c))
			return false;
		if (c <= ' ' || c >= 0x7f || strchr("\"(),:;<>[\\]", c) != NULL)
			return false;
		if (c == '@') {
			at_n++;
			local_n = n;
		}
		mailbox[n++] = (char)c;
	}
	mailbox[n] = '\0';
	return at_n == 1 && local_n > 0 && local_n + 1 < n;
}

bool sts_rua_valid(struct span uri, enum sts_rua_kind *kind)
{
	char mailbox[STS_MAILBOX_MAX + 1];
	struct span rest = uri;

	if (!uri_valid(uri))
		return false;
	if (starts_nocase(&rest, HTTPS)) {
		*kind = STS_RUA_HTTPS;
		return rest.n > 0 && (sts_is_alnum(rest.p[0]) || rest.p[0] == '[');
	}
	*kind = STS_RUA_MAILTO;
	return sts_rua_mailbox(uri, mailbox);
}

static void rua_add(struct sts_tlsrpt *out, struct span uri)
{
	enum sts_rua_kind kind;

	if (out->rua_n == STS_RUA_MAX || !sts_rua_valid(uri, &kind)) {
		out->ignored_n++;
		return;
	}
	out->rua[out->rua_n++] = (struct sts_rua){
		.kind = (uint8_t)kind,
		.at = (uint16_t)((const char *)uri.p - out->text),
		.n = (uint16_t)uri.n,
	};
}

static bool rua_read(struct span list, struct sts_tlsrpt *out)
{
	bool comma;

	do {
		struct span uri = sts_trim(sts_take_to(&list, ',', &comma));

		if (!uri_valid(uri))
			return false;
		rua_add(out, uri);
	} while (comma);
	return true;
}

static enum sts_record_error fields_read(struct span fields, struct sts_tlsrpt *out)
{
	while (fields.n > 0) {
		struct span name, value;

		if (!sts_txt_field_take(&fields, &name, &value))
			return STS_RECORD_FIELD;
		if (sts_is(name, "rua")) {
			if (!rua_read(value, out))
				return STS_RECORD_URI;
		} else if (!sts_txt_value_valid(value)) {
			return STS_RECORD_FIELD;
		}
	}
	return out->rua_n > 0 ? STS_RECORD_OK : STS_RECORD_NO_RUA;
}

enum sts_record_error sts_tlsrpt_read(const struct span *records, size_t n, struct sts_tlsrpt *out)
{
	struct span fields;
	enum sts_record_error error;

	memset(out, 0, sizeof(*out));
	error = sts_txt_pick(records, n, VERSION, out->text, &fields, &out->blank);
	if (error == STS_RECORD_OK)
		error = fields_read(fields, out);
	if (error != STS_RECORD_OK)
		memset(out, 0, sizeof(*out));
	return error;
}

struct span sts_rua_uri(const struct sts_tlsrpt *tlsrpt, uint32_t i)
{
	ASSERT(i < tlsrpt->rua_n);
	return span_of(tlsrpt->text + tlsrpt->rua[i].at, tlsrpt->rua[i].n);
}

bool sts_tlsrpt_write(const char *const *uris, size_t n, struct buf *out)
{
	ASSERT(n >= 1);
	if (!buf_puts(out, VERSION "; rua="))
		return false;
	for (size_t i = 0; i < n; i++) {
		enum sts_rua_kind kind;

		ASSERT(sts_rua_valid(span_str(uris[i]), &kind));
		if ((i > 0 && !buf_puts(out, ",")) || !buf_puts(out, uris[i]))
			return false;
	}
	return buf_puts(out, ";");
}
