/* SPDX-License-Identifier: MIT */
/*
 * wire.h -- TXT records for the tests: a C string becomes a record's data, '|' divides its strings.
 * What is longer than a string may be is divided by itself.
 */
#ifndef POSTERN_TESTS_UNIT_STS_WIRE_H
#define POSTERN_TESTS_UNIT_STS_WIRE_H

#include <criterion/criterion.h>

#include "sts/sts.h"

#define WIRE_MAX     8192
#define WIRE_RECORDS 4

struct wire {
	uint8_t octets[WIRE_RECORDS][WIRE_MAX];
	struct span records[WIRE_RECORDS];
	size_t n;
};

static inline void wire_add(struct wire *wire, struct span text)
{
	uint8_t *p = wire->octets[wire->n];
	size_t at = 1, start = 0;

	cr_assert(wire->n < WIRE_RECORDS && text.n + text.n / 255 + 2 < WIRE_MAX);
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '|' || at - start == 256) {
			p[start] = (uint8_t)(at - start - 1);
			start = at++;
			if (text.p[i] == '|')
				continue;
		}
		p[at++] = text.p[i];
	}
	p[start] = (uint8_t)(at - start - 1);
	wire->records[wire->n++] = span_of(p, at);
}

static inline void wire_set(struct wire *wire, const char *const texts[WIRE_RECORDS])
{
	wire->n = 0;
	for (size_t i = 0; i < WIRE_RECORDS && texts[i] != NULL; i++)
		wire_add(wire, span_str(texts[i]));
}

#endif
