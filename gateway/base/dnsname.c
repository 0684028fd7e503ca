/* SPDX-License-Identifier: MIT */
/* dnsname.c -- host names in the data of DNS records, label by label. */
#include "base/dnsname.h"

static bool host_char(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '_';
}

bool dns_name_read(struct span wire, char out[DNS_NAME_MAX + 1])
{
	size_t n = 0;

	for (;;) {
		size_t length;
		struct span label;

		if (wire.n == 0)
			return false;
		length = *span_take(&wire, 1).p;
		if (length == 0)
			break;
		label = span_take(&wire, length);
		if (length > DNS_LABEL_MAX || label.n < length || n + length + 1 > DNS_NAME_MAX)
			return false;
		if (n > 0)
			out[n++] = '.';
		for (size_t i = 0; i < length; i++) {
			uint8_t c = label.p[i];

			if (!host_char(c))
				return false;
			out[n++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
		}
	}
	out[n] = '\0';
	return wire.n == 0;
}
