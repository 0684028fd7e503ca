/* SPDX-License-Identifier: MIT */
/*
 * zone.c -- records as lines of a zone file (RFC 1035 5.1, RFC 6698 2.2), for a person to copy.
 *
 * Non-goals: times to live and classes other than IN, which the zone's owner knows.
 */
#include "sts/sts-private.h"

#define STRING_MAX 255 /* octets of one string of a TXT record */

static bool owner_write(const char *prefix, const char *name, const char *type, struct buf *out)
{
	return buf_puts(out, prefix) && buf_puts(out, name) && buf_puts(out, ". IN ") &&
	       buf_puts(out, type);
}

/* One string in quotes; what would end it or is not visible is escaped. */
static bool string_write(struct span text, struct buf *out)
{
	if (!buf_puts(out, " \""))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];
		bool ok;

		if (c < ' ' || c >= 0x7f)
			ok = buf_printf(out, "\\%03u", c);
		else if (c == '"' || c == '\\')
			ok = buf_printf(out, "\\%c", c);
		else
			ok = buf_put(out, span_of(&c, 1));
		if (!ok)
			return false;
	}
	return buf_puts(out, "\"");
}

bool sts_zone_txt(const char *prefix, const char *name, struct span text, struct buf *out)
{
	if (!owner_write(prefix, name, "TXT", out))
		return false;
	do {
		if (!string_write(span_take(&text, STRING_MAX), out))
			return false;
	} while (text.n > 0);
	return true;
}

bool sts_zone_tlsa(
	const char *prefix, const char *name, const struct sts_tlsa *tlsa, struct buf *out)
{
	if (!owner_write(prefix, name, "TLSA", out) ||
		!buf_printf(out, " %u %u %u ", tlsa->usage, tlsa->selector, tlsa->matching))
		return false;
	for (size_t i = 0; i < tlsa->data.n; i++)
		if (!buf_printf(out, "%02x", tlsa->data.p[i]))
			return false;
	return true;
}
