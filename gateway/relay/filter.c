/* SPDX-License-Identifier: MIT */
/*
 * filter.c -- which entries a question is about. All conditions must hold; those about recipients
 * must hold for one pending recipient, all of them for the same one.
 */
#include "relay/query-private.h"

#include <stdio.h>
#include <string.h>

bool relay_filter_address(const char *pattern, const struct smtp_address *address)
{
	if (pattern[0] == '\0')
		return true;
	if (strcmp(pattern, "<>") == 0)
		return address->text.n == 0;
	if (pattern[0] == '@')
		return span_is_nocase(address->domain, pattern + 1);
	return span_is_nocase(address->text, pattern);
}

bool relay_filter_age(const struct relay_filter *filter, uint64_t age_s)
{
	return age_s >= filter->older_s && (filter->younger_s == 0 || age_s < filter->younger_s);
}

void relay_recipient_destination(struct relay *relay, const struct spool_entry *entry,
	const struct spool_recipient *recipient, char name[300])
{
	const struct relay_trip *trip = relay_trip_of(recipient);
	const struct relay_destination *nowhere = &relay->schedule->nowhere;
	const struct route_settings *route;
	struct span domain = recipient->smtp.address.domain;

	name[0] = '\0';
	if (recipient->fate != SPOOL_FATE_PENDING)
		return;
	if (trip != NULL && trip->destination != nowhere) {
		(void)snprintf(name, 300, "%s", trip->destination->name);
		return;
	}
	route = relay_route(relay->routes, domain);
	if (route != NULL)
		relay_destination_name(relay, route, domain, relay_entry_wish(entry), name);
	else
		(void)snprintf(name, 300, "%s", nowhere->name);
}

static bool recipient_matches(struct relay *relay, const struct relay_filter *filter,
	const struct spool_entry *entry, const struct spool_recipient *recipient)
{
	char name[sizeof(filter->destination)];

	if (recipient->fate != SPOOL_FATE_PENDING ||
		!relay_filter_address(filter->recipient, &recipient->smtp.address))
		return false;
	if (filter->domain[0] != '\0' &&
		!span_is_nocase(recipient->smtp.address.domain, filter->domain))
		return false;
	if (filter->destination[0] == '\0')
		return true;
	relay_recipient_destination(relay, entry, recipient, name);
	return strcasecmp(name, filter->destination) == 0;
}

bool relay_filter_entry(
	struct relay *relay, const struct relay_filter *filter, const struct spool_entry *entry)
{
	uint64_t age_s = relay_entry_age_ms(entry) / 1000;

	if (filter->id != 0 && filter->id != entry->id)
		return false;
	if (filter->states != 0 && (filter->states & 1u << relay_entry_state(entry)) == 0)
		return false;
	if (!relay_filter_age(filter, age_s) ||
		!relay_filter_address(filter->sender, &entry->envelope.reverse_path))
		return false;
	if (filter->recipient[0] == '\0' && filter->domain[0] == '\0' &&
		filter->destination[0] == '\0')
		return true;
	for (uint32_t i = 0; i < entry->recipients_n; i++)
		if (recipient_matches(relay, filter, entry, &entry->recipients[i]))
			return true;
	return false;
}
