/* SPDX-License-Identifier: MIT */
/*
 * ber.c -- the few messages of LDAP that an upgrade needs (RFC 4511), in BER with definite lengths.
 *
 * LDAPMessage is SEQUENCE { messageID INTEGER, protocolOp, ... }; a response begins with resultCode
 * ENUMERATED, matchedDN and diagnosticMessage OCTET STRINGs. What follows is not read. Lengths of
 * more than four octets are refused; LDAP forbids indefinite ones (5.1).
 */
#include "tools/probe/probe-private.h"

#define TAG_INTEGER         0x02
#define TAG_OCTETS          0x04
#define TAG_ENUMERATED      0x0a
#define TAG_SEQUENCE        0x30
#define TAG_EXTENDED_ANSWER 0x78
#define TAG_SEARCH_DONE     0x65
#define LENGTH_LONG         0x80
#define LENGTH_OCTETS_MAX   4
#define ONE_OCTET_MAX       0x7f

static const char starttls_oid[] = "1.3.6.1.4.1.1466.20037"; /* RFC 4511 4.14.1 */

/* Octets of tag and length, and the value's; 0: more must come; SIZE_MAX: no good. */
static size_t head_read(struct span octets, size_t *value_n)
{
	size_t n = 0, lengths;

	if (octets.n < 2)
		return 0;
	if (octets.p[1] < LENGTH_LONG) {
		*value_n = octets.p[1];
		return 2;
	}
	lengths = octets.p[1] & ONE_OCTET_MAX;
	if (lengths == 0 || lengths > LENGTH_OCTETS_MAX)
		return SIZE_MAX;
	if (octets.n < 2 + lengths)
		return 0;
	for (size_t i = 0; i < lengths; i++)
		n = n << 8 | octets.p[2 + i];
	*value_n = n;
	return 2 + lengths;
}

size_t ber_end(struct span octets)
{
	size_t value_n = 0, head = head_read(octets, &value_n);

	if (head == SIZE_MAX || (octets.n > 0 && octets.p[0] != TAG_SEQUENCE))
		return SIZE_MAX;
	if (head == 0)
		return 0;
	if (value_n > PROBE_REPLY_MAX - head)
		return SIZE_MAX;
	return octets.n < head + value_n ? 0 : head + value_n;
}

/* Takes one element off the front. */
static bool element_take(struct span *octets, uint8_t *tag, struct span *value)
{
	size_t value_n = 0, head = head_read(*octets, &value_n);

	if (head == 0 || head == SIZE_MAX || value_n > octets->n - head)
		return false;
	*tag = octets->p[0];
	span_take(octets, head);
	*value = span_take(octets, value_n);
	return true;
}

/* A number of up to four octets that is not negative. */
static bool number_take(struct span *octets, uint8_t wanted, uint32_t *number)
{
	struct span value;
	uint8_t tag;

	if (!element_take(octets, &tag, &value) || tag != wanted || value.n == 0 ||
		value.n > sizeof(*number) || value.p[0] >= LENGTH_LONG)
		return false;
	*number = 0;
	for (size_t i = 0; i < value.n; i++)
		*number = *number << 8 | value.p[i];
	return true;
}

bool ber_message_read(struct span octets, struct ber_message *out)
{
	struct span message, operation, matched;
	uint8_t tag;

	*out = (struct ber_message){.result = UINT32_MAX};
	if (!element_take(&octets, &tag, &message) || tag != TAG_SEQUENCE ||
		!number_take(&message, TAG_INTEGER, &out->id) ||
		!element_take(&message, &out->operation, &operation))
		return false;
	if (out->operation != TAG_EXTENDED_ANSWER && out->operation != TAG_SEARCH_DONE)
		return true;
	return number_take(&operation, TAG_ENUMERATED, &out->result) &&
	       element_take(&operation, &tag, &matched) && tag == TAG_OCTETS &&
	       element_take(&operation, &tag, &out->said) && tag == TAG_OCTETS;
}

static bool put(struct buf *out, const uint8_t *octets, size_t n)
{
	return buf_put(out, span_of(octets, n));
}

bool ber_starttls_put(struct buf *out, uint8_t id)
{
	const uint8_t n = sizeof(starttls_oid) - 1;
	const uint8_t head[] = {TAG_SEQUENCE, (uint8_t)(n + 7), TAG_INTEGER, 1, id,
		0x77, /* [APPLICATION 23] ExtendedRequest */
		(uint8_t)(n + 2), 0x80 /* [0] requestName */, n};

	ASSERT(id <= ONE_OCTET_MAX);
	return put(out, head, sizeof(head)) && buf_puts(out, starttls_oid);
}

bool ber_search_put(struct buf *out, uint8_t id)
{
	static const char filter[] = "objectClass", no_attributes[] = "1.1"; /* 4.5.1.8 */
	const uint8_t head[] = {TAG_SEQUENCE, 42, TAG_INTEGER, 1, id, 0x63,
		37,                   /* [APPLICATION 3] SearchRequest */
		TAG_OCTETS, 0,        /* baseObject: the root */
		TAG_ENUMERATED, 1, 0, /* scope: that entry alone */
		TAG_ENUMERATED, 1, 0, /* aliases are not followed */
		TAG_INTEGER, 1, 1,    /* one entry at most */
		TAG_INTEGER, 1, 5,    /* five seconds at most */
		0x01, 1, 0xff,        /* BOOLEAN: types only */
		0x87, sizeof(filter) - 1 /* [7] present */};
	const uint8_t tail[] = {TAG_SEQUENCE, 5, TAG_OCTETS, sizeof(no_attributes) - 1};

	ASSERT(id <= ONE_OCTET_MAX);
	return put(out, head, sizeof(head)) && buf_puts(out, filter) &&
	       put(out, tail, sizeof(tail)) && buf_puts(out, no_attributes);
}

bool ber_unbind_put(struct buf *out, uint8_t id)
{
	const uint8_t message[] = {TAG_SEQUENCE, 5, TAG_INTEGER, 1, id, 0x42, 0};

	return put(out, message, sizeof(message));
}
