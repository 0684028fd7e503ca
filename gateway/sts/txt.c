/* SPDX-License-Identifier: MIT */
/*
 * txt.c -- what the _mta-sts and the _smtp._tls records share (RFC 8461 3.1, RFC 8460 3).
 *
 * A name may have other TXT records: those that do not begin with the version are as if they were
 * not there; of those that do there must be one. A record's strings are joined without anything
 * between them. Fields are delimited by a semicolon with blanks around it; one may end the record.
 *
 * Two sentences of the RFCs disagree about a blank between the version and its semicolon: the
 * grammar has it, the rule for several records asks for the semicolon at once. We take the record,
 * which says plainly what it is, and say that it had a blank, so that its owner can be told.
 */
#include "sts/sts-private.h"

static const char *const errors[STS_RECORD_ERRORS] = {
	[STS_RECORD_OK] = "the record is valid",
	[STS_RECORD_NONE] = "no TXT record begins with the version",
	[STS_RECORD_SEVERAL] = "more than one TXT record begins with the version",
	[STS_RECORD_LONG] = "the record is longer than 4096 octets",
	[STS_RECORD_FIELD] = "a field of the record is not name=value",
	[STS_RECORD_ID] = "the record's id is not 1 to 32 letters and digits",
	[STS_RECORD_NO_ID] = "the record has no id",
	[STS_RECORD_URI] = "the record's rua has what is not a URI with ',', '!' and ';' encoded",
	[STS_RECORD_NO_RUA] = "the record has no rua with a mailto: or https: URI that can be used",
};

const char *sts_record_error_text(enum sts_record_error error)
{
	ASSERT(error < STS_RECORD_ERRORS);
	return errors[error];
}

/* A TXT record's strings, joined, cut at STS_TXT_MAX. False: not strings behind their lengths. */
static bool join(struct span record, char text[STS_TXT_MAX], size_t *n, bool *cut)
{
	*n = 0;
	*cut = false;
	while (record.n > 0) {
		size_t length = span_take(&record, 1).p[0];
		struct span string = span_take(&record, length);
		size_t fits = min_size(string.n, STS_TXT_MAX - *n);

		if (string.n < length)
			return false;
		if (fits > 0)
			memcpy(text + *n, string.p, fits);
		*n += fits;
		*cut |= fits < length;
	}
	return true;
}

/* Takes the version and the delimiter behind it off *text. */
static bool version_take(struct span *text, const char *version, bool *blank)
{
	struct span head = span_take(text, strlen(version));
	struct span rest = sts_left_trim(*text);

	*blank = rest.n < text->n;
	if (!sts_is(head, version) || rest.n == 0 || rest.p[0] != ';')
		return false;
	(void)span_take(&rest, 1);
	*text = sts_left_trim(rest);
	return true;
}

enum sts_record_error sts_txt_pick(const struct span *records, size_t n, const char *version,
	char text[STS_TXT_MAX], struct span *fields, bool *blank)
{
	enum sts_record_error error = STS_RECORD_NONE;
	char one[STS_TXT_MAX];

	for (size_t i = 0; i < n; i++) {
		size_t one_n;
		bool cut, has_blank;
		struct span rest;

		if (!join(records[i], one, &one_n, &cut))
			continue;
		rest = span_of(one, one_n);
		if (!version_take(&rest, version, &has_blank))
			continue;
		if (error != STS_RECORD_NONE)
			return STS_RECORD_SEVERAL;
		error = cut ? STS_RECORD_LONG : STS_RECORD_OK;
		memcpy(text, one, one_n);
		*fields = span_of(text + (one_n - rest.n), rest.n);
		*blank = has_blank;
	}
	return error;
}

bool sts_txt_field_take(struct span *fields, struct span *name, struct span *value)
{
	bool semicolon, equals;
	struct span field = sts_take_to(fields, ';', &semicolon);

	while (semicolon && field.n > 0 && sts_is_blank(field.p[field.n - 1]))
		field.n--;
	*fields = sts_left_trim(*fields);
	*name = sts_take_to(&field, '=', &equals);
	*value = field;
	return equals && sts_key_valid(*name) && sts_trim(field).n == field.n && field.n > 0;
}
