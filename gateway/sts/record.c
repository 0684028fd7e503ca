/* SPDX-License-Identifier: MIT */
/*
 * record.c -- the _mta-sts record (RFC 8461 3.1): says that there is a policy, and by its id which.
 *
 * Fields behind the version come in any order. The first id counts, later ones are skipped as what
 * repeats is (RFC 8461 3.2); names in capitals are other names.
 */
#include "sts/sts-private.h"

#define VERSION       "v=STSv1"
#define DIGEST_OCTETS (STS_ID_MAX / 2)

bool sts_id_valid(struct span id)
{
	if (id.n == 0 || id.n > STS_ID_MAX)
		return false;
	for (size_t i = 0; i < id.n; i++)
		if (!sts_is_alnum(id.p[i]))
			return false;
	return true;
}

void sts_id_make(struct span digest, char id[STS_ID_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";

	ASSERT(digest.n >= DIGEST_OCTETS);
	for (size_t i = 0; i < DIGEST_OCTETS; i++) {
		id[2 * i] = digits[digest.p[i] >> 4];
		id[2 * i + 1] = digits[digest.p[i] & 15];
	}
	id[STS_ID_MAX] = '\0';
}

static enum sts_record_error fields_read(struct span fields, struct sts_record *out)
{
	while (fields.n > 0) {
		struct span name, value;

		if (!sts_txt_field_take(&fields, &name, &value))
			return STS_RECORD_FIELD;
		if (!sts_is(name, "id") || out->id[0] != '\0') {
			if (!sts_txt_value_valid(value))
				return STS_RECORD_FIELD;
			continue;
		}
		if (!sts_id_valid(value))
			return STS_RECORD_ID;
		memcpy(out->id, value.p, value.n);
	}
	return out->id[0] != '\0' ? STS_RECORD_OK : STS_RECORD_NO_ID;
}

enum sts_record_error sts_record_read(const struct span *records, size_t n, struct sts_record *out)
{
	char text[STS_TXT_MAX];
	struct span fields;
	enum sts_record_error error;

	*out = (struct sts_record){0};
	error = sts_txt_pick(records, n, VERSION, text, &fields, &out->blank);
	if (error == STS_RECORD_OK)
		error = fields_read(fields, out);
	if (error != STS_RECORD_OK)
		*out = (struct sts_record){0};
	return error;
}

bool sts_record_write(struct span id, struct buf *out)
{
	ASSERT(sts_id_valid(id));
	return buf_puts(out, VERSION "; id=") && buf_put(out, id) && buf_puts(out, ";");
}
