/* SPDX-License-Identifier: MIT */
/* query-private.h -- the operator's questions: which entries match, what is done to one. */
#ifndef POSTERN_RELAY_QUERY_PRIVATE_H
#define POSTERN_RELAY_QUERY_PRIVATE_H

#include "relay/schedule-private.h"

#define RELAY_ITEMS_MAX   5000 /* of one answer */
#define RELAY_TALLIES_MAX 4096 /* further destinations are counted together as "(others)" */
#define RELAY_SHOWN_MAX   4    /* recipients of a listed message */

/* Does an address, empty for the null reverse-path, match? "": any; "<>"; "@domain"; an address. */
bool relay_filter_address(const char *pattern, const struct smtp_address *address);
bool relay_filter_age(const struct relay_filter *filter, uint64_t age_s);
bool relay_filter_entry(
	struct relay *relay, const struct relay_filter *filter, const struct spool_entry *entry);

/* The destination of a recipient of an entry, "none" without a route, "" when nothing is pending. */
void relay_recipient_destination(struct relay *relay, const struct spool_entry *entry,
	const struct spool_recipient *recipient, char name[300]);

/* Does to an entry, which may be gone afterwards, what the kind says. False: nothing to do. */
bool relay_entry_operate(
	struct relay *relay, struct spool_entry *entry, enum relay_query_kind kind);

#endif
