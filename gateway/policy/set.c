/* SPDX-License-Identifier: MIT */
/*
 * set.c -- the hash set behind relay domains and recipients.
 *
 * Invariants: at most half of the slots are taken, so each probe ends; nothing is ever removed.
 */
#include "policy/set-private.h"

#include <errno.h>
#include <stdlib.h>

int set_open(struct set *set, const char *text, uint64_t members_max)
{
	uint64_t slots = 8;
	int rc;

	*set = (struct set){.text = text, .members_max = members_max};
	ASSERT(members_max <= SET_TEXT_MAX);
	while (slots < members_max * SET_LOAD_SHARE)
		slots *= 2;
	rc = hash_key_init(&set->key);
	if (rc != 0)
		return rc;
	set->slots = calloc(slots, sizeof(*set->slots));
	if (!set->slots)
		return -ENOMEM;
	set->mask = slots - 1;
	return 0;
}

void set_close(struct set *set)
{
	free(set->slots);
	*set = (struct set){0};
}

/* The slot that holds the member, or the free one where it would go. */
static struct set_slot *find(const struct set *set, struct span member, uint32_t *tag)
{
	uint64_t hash = hash_bytes(&set->key, member);

	*tag = (uint32_t)(hash >> 32);
	for (uint64_t i = hash;; i++) {
		struct set_slot *slot = &set->slots[i & set->mask];
		const char *text;

		if (slot->place == 0)
			return slot;
		if (slot->tag != *tag)
			continue;
		text = set->text + slot->place - 1;
		/* strncmp stops at the text's NUL, so the octet behind is read only if there. */
		if (strncmp(text, (const char *)member.p, member.n) == 0 && text[member.n] == '\0')
			return slot;
	}
}

void set_add(struct set *set, uint64_t place, size_t n)
{
	uint32_t tag;
	struct set_slot *slot = find(set, span_of(set->text + place, n), &tag);

	ASSERT(set->members < set->members_max && place < SET_TEXT_MAX);
	if (slot->place != 0)
		return;
	*slot = (struct set_slot){.place = (uint32_t)place + 1, .tag = tag};
	set->members++;
}

bool set_has(const struct set *set, struct span member)
{
	uint32_t tag;

	return find(set, member, &tag)->place != 0;
}
