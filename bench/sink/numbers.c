/* SPDX-License-Identifier: MIT */
/* numbers.c -- see numbers.h. */
#include "bench/sink/numbers.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 65536

void numbers_open(struct numbers *numbers, uint64_t first, uint64_t expected)
{
	*numbers = (struct numbers){.first = first, .expected = expected};
}

void numbers_close(struct numbers *numbers)
{
	free(numbers->bits);
	numbers->bits = NULL;
	numbers->room = 0;
}

static bool make_room(struct numbers *numbers, uint64_t i)
{
	uint64_t room = numbers->room ? numbers->room : ROOM_FIRST;
	uint8_t *bits;

	if (i >= NUMBERS_MAX)
		return false;
	while (room <= i)
		room *= 2;
	if (room == numbers->room)
		return true;
	bits = realloc(numbers->bits, room / 8);
	if (!bits)
		return false;
	memset(bits + numbers->room / 8, 0, (room - numbers->room) / 8);
	numbers->bits = bits;
	numbers->room = room;
	return true;
}

void numbers_add(struct numbers *numbers, uint64_t number)
{
	uint64_t i = number - numbers->first;
	uint8_t bit = (uint8_t)(1u << (i % 8));

	if (number < numbers->first || !make_room(numbers, i)) {
		numbers->outside++;
		return;
	}
	if (numbers->bits[i / 8] & bit) {
		numbers->duplicates++;
		return;
	}
	numbers->bits[i / 8] |= bit;
	if (numbers->distinct++ == 0 || number > numbers->highest)
		numbers->highest = number;
}

uint64_t numbers_missing(const struct numbers *numbers)
{
	uint64_t all = numbers->distinct ? numbers->highest - numbers->first + 1 : 0;

	return (numbers->expected > all ? numbers->expected : all) - numbers->distinct;
}
