/* SPDX-License-Identifier: MIT */
/*
 * xclient.c -- XCLIENT, Postfix's extension: a trusted peer says who its client is.
 *
 *	XCLIENT NAME=client.example ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=client.example
 *
 * Job: reads the attributes, all or nothing; asks the coordinator, who knows what the address means;
 * then lets the session start over: the reply is the greeting, HELO is forgotten. What one command
 * said stands until another says otherwise, for a peer with much to say sends several. Another ADDR
 * is another client: nothing that was said of the one before is said of it.
 *
 * HELO and PROTO say what the client did towards the peer, so they stand whatever the peer's own EHLO
 * says; HELO=[UNAVAILABLE] makes it nobody's. They change the trace header and the log, never what
 * the peer itself may send: parameters belong to its own EHLO. ADDR without a PORT that was ever
 * given leaves the port unknown: the peer's own would be wrong. LOGIN is taken and not used: nothing
 * here depends on who has logged in.
 *
 * Whether the peer is trusted is the coordinator's to say (smtp.xclient), by the connection's own
 * address: XCLIENT does not change who may say it.
 * Rejected: hiding the command from strangers behind a 500; Postfix tells them 550, and so do we.
 */
#include "smtp/smtp-private.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/counter.h"

#define IPV6_PREFIX "IPV6:"

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* ---- values, decoded ---- */

static bool address_read(struct span value, uint8_t address[16])
{
	char text[INET6_ADDRSTRLEN];
	struct span prefix = span_of(value.p, min_size(value.n, strlen(IPV6_PREFIX)));
	bool v6 = span_is_nocase(prefix, IPV6_PREFIX);

	if (v6)
		(void)span_take(&value, prefix.n);
	if (value.n >= sizeof(text))
		return false;
	memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	if (v6)
		return inet_pton(AF_INET6, text, address) == 1;
	memcpy(address, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, address + sizeof(mapped)) == 1;
}

static bool port_read(struct span value, uint16_t *port)
{
	uint32_t number = 0;

	if (value.n == 0 || value.n > 5 || (value.n > 1 && value.p[0] == '0'))
		return false;
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return false;
		number = number * 10 + (uint32_t)(value.p[i] - '0');
	}
	*port = (uint16_t)number;
	return number <= UINT16_MAX;
}

static bool name_read(struct smtp_xclient *says, struct span value)
{
	says->name = value;
	return smtp_name_valid(value);
}

static bool addr_read(struct smtp_xclient *says, struct span value)
{
	return address_read(value, says->address);
}

static bool client_port_read(struct smtp_xclient *says, struct span value)
{
	return port_read(value, &says->port);
}

static bool proto_read(struct smtp_xclient *says, struct span value)
{
	says->esmtp = span_is_nocase(value, "ESMTP");
	return says->esmtp || span_is_nocase(value, "SMTP");
}

static bool helo_read(struct smtp_xclient *says, struct span value)
{
	says->helo = value;
	return smtp_name_valid(value);
}

static bool destaddr_read(struct smtp_xclient *says, struct span value)
{
	return address_read(value, says->destination);
}

static bool destport_read(struct smtp_xclient *says, struct span value)
{
	return port_read(value, &says->destination_port);
}

/* ---- attributes ---- */

struct attribute {
	const char *name;
	uint8_t bit; /* 0: not used, and not looked at */
	bool (*read)(struct smtp_xclient *says, struct span value);
};

static const struct attribute attributes[] = {
	{"NAME", SMTP_XCLIENT_NAME, name_read},
	{"ADDR", SMTP_XCLIENT_ADDR, addr_read},
	{"PORT", SMTP_XCLIENT_PORT, client_port_read},
	{"PROTO", SMTP_XCLIENT_PROTO, proto_read},
	{"HELO", SMTP_XCLIENT_HELO, helo_read},
	{"LOGIN", 0, NULL},
	{"DESTADDR", SMTP_XCLIENT_DESTADDR, destaddr_read},
	{"DESTPORT", SMTP_XCLIENT_DESTPORT, destport_read},
};

static const struct attribute *attribute_find(struct span name)
{
	for (size_t i = 0; i < COUNT_OF(attributes); i++)
		if (span_is_nocase(name, attributes[i].name))
			return &attributes[i];
	return NULL;
}

/* A client's name that cannot be had now is as unknown as one that does not exist. */
static bool unavailable(uint8_t bit, struct span value)
{
	return span_is_nocase(value, "[UNAVAILABLE]") ||
	       (bit == SMTP_XCLIENT_NAME && span_is_nocase(value, "[TEMPUNAVAIL]"));
}

static enum smtp_reply attribute_take(struct smtp *smtp, struct smtp_xclient *says, uint8_t bit,
	const struct attribute *row, struct span xtext)
{
	struct span value;

	if (!smtp_xtext_valid(xtext))
		return SMTP_REPLY_PARAM_VALUE;
	value = smtp_xtext_decode(&smtp->arena, xtext);
	if (value.p == NULL)
		return SMTP_REPLY_MEMORY;
	says->given |= bit;
	says->known &= (uint8_t)~bit;
	if (bit == SMTP_XCLIENT_HELO)
		says->helo = (struct span){0};
	if (unavailable(bit, value))
		return SMTP_REPLY_NONE;
	says->known |= bit;
	return row->read(says, value) ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_VALUE;
}

/* `now`: what this command gives. Is it about somebody else than those before? */
static bool another_client(
	const struct smtp_xclient *before, const struct smtp_xclient *says, uint8_t now)
{
	if ((now & before->given & SMTP_XCLIENT_ADDR) == 0)
		return false;
	return ((before->known ^ says->known) & SMTP_XCLIENT_ADDR) != 0 ||
	       memcmp(before->address, says->address, sizeof(says->address)) != 0;
}

/* Only what this command gives stands. */
static void forget_before(struct smtp_xclient *says, uint8_t now)
{
	says->given &= now;
	says->known &= now;
	if ((now & SMTP_XCLIENT_HELO) == 0)
		says->helo = (struct span){0};
}

static enum smtp_reply attributes_read(
	struct smtp *smtp, struct smtp_xclient *says, struct span rest)
{
	uint32_t seen = 0;
	uint8_t now = 0;

	while (rest.n > 0) {
		const struct attribute *row;
		struct smtp_param_text param;
		enum smtp_reply refusal = SMTP_REPLY_NONE;

		if (!smtp_param_take(&rest, &param) || !param.has_value)
			return SMTP_REPLY_PARAM_SYNTAX;
		row = attribute_find(param.keyword);
		if (row == NULL)
			return SMTP_REPLY_XCLIENT_ATTRIBUTE;
		if ((seen & 1u << (row - attributes)) != 0)
			return SMTP_REPLY_PARAM_TWICE;
		seen |= 1u << (row - attributes);
		now |= row->bit;
		if (row->read != NULL)
			refusal = attribute_take(smtp, says, row->bit, row, param.value);
		if (refusal != SMTP_REPLY_NONE)
			return refusal;
	}
	if (another_client(&smtp->client, says, now))
		forget_before(says, now);
	return SMTP_REPLY_NONE;
}

/* ---- the command ---- */

static enum smtp_reply xclient_read(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	struct smtp_xclient *says;

	if (!smtp->xclient)
		return SMTP_REPLY_XCLIENT_DENIED;
	says = arena_alloc(&smtp->arena, sizeof(*says));
	if (says == NULL)
		return SMTP_REPLY_MEMORY;
	*says = smtp->client;
	smtp->says = says;
	/* With the space behind the verb, as before every attribute. */
	return attributes_read(smtp, says, span_of(turn->arg.p - 1, turn->arg.n + 1));
}

bool smtp_xclient_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	enum smtp_reply refusal = xclient_read(turn);

	if (refusal != SMTP_REPLY_NONE) {
		smtp->forget = true; /* what was read of it */
		smtp_reply(smtp, turn->out, refusal);
		return false;
	}
	smtp_state_set(smtp, SMTP_STATE_ASK_XCLIENT);
	turn->event->xclient = smtp->says;
	return smtp_tell(turn, SMTP_EVENT_XCLIENT);
}

void smtp_xclient_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	bool accepted = verdict->kind == SMTP_VERDICT_ACCEPT;

	if (accepted) {
		smtp->client = *smtp->says;
		count(COUNTER_XCLIENT);
	}
	smtp_helo_set(smtp, smtp->client.helo);
	smtp->client.helo = smtp->helo;
	smtp->esmtp = false;
	smtp_transaction_end(smtp, SMTP_STATE_START);
	if (accepted)
		smtp_greet(smtp, out);
	else
		smtp_reply_verdict(smtp, out, verdict, SMTP_REPLY_XCLIENT_DENIED);
}

bool smtp_esmtp(const struct smtp *smtp)
{
	if ((smtp->client.known & SMTP_XCLIENT_PROTO) != 0)
		return smtp->client.esmtp;
	return smtp->esmtp;
}
