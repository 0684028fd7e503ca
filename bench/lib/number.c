/* SPDX-License-Identifier: MIT */
/* number.c -- see number.h. */
#include "bench/lib/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool number_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	static const char suffixes[] = "kMG";
	const char *suffix;
	unsigned long long value;
	unsigned shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return false;
	suffix = *end ? strchr(suffixes, *end) : NULL;
	if (suffix) {
		shift = 10 * (unsigned)(suffix - suffixes + 1);
		end++;
	}
	if (*end || value > UINT64_MAX >> shift || value << shift < min || value << shift > max)
		return false;
	*out = value << shift;
	return true;
}

bool number_u32(const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
	uint64_t value;

	if (!number_u64(text, min, max, &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

bool number_double(const char *text, double min, double max, double *out)
{
	double value;
	char *end;

	if ((*text < '0' || *text > '9') && *text != '.')
		return false;
	value = strtod(text, &end);
	if (*end || end == text || !(value >= min && value <= max))
		return false;
	*out = value;
	return true;
}
