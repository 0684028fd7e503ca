/* SPDX-License-Identifier: MIT */
/*
 * hello.c -- greeting, EHLO or LHLO, STARTTLS: until the next hop's abilities are known and the
 * route's wish for TLS is met.
 *
 *	none		no TLS
 *	may		TLS where it is offered and works; else plaintext
 *	require, verify	TLS or nothing: the message waits
 *	policy		one of these by what the MX's domain asks for (trust.c)
 *
 * A connection for messages with REQUIRETLS needs TLS, and the word again behind it (RFC 8689 4.2.1): where
 * it cannot be had they are returned. Other connections pass the parameter on where it is offered.
 *
 * What was said before the handshake is forgotten: EHLO is sent again, and its answer counts
 * (RFC 3207 4.2). Octets that stand behind the 220 were not sent by the one we shake hands with, or
 * could as well not have been: the connection ends.
 *
 * A 554 or 521 greeting (RFC 5321 3.1, RFC 7504) says that there is no mail here, and is final; other
 * refusals at this stage are taken for a passing trouble, since no recipient was named.
 */
#include "relay/trust-private.h"

static const struct {
	const char *name;
	unsigned can;
} keywords[] = {
	{"PIPELINING", CLIENT_CAN_PIPELINING},
	{"SIZE", CLIENT_CAN_SIZE},
	{"8BITMIME", CLIENT_CAN_8BITMIME},
	{"CHUNKING", CLIENT_CAN_CHUNKING},
	{"BINARYMIME", CLIENT_CAN_BINARYMIME},
	{"SMTPUTF8", CLIENT_CAN_SMTPUTF8},
	{"DSN", CLIENT_CAN_DSN},
	{"STARTTLS", CLIENT_CAN_STARTTLS},
	{"ENHANCEDSTATUSCODES", CLIENT_CAN_ENHANCED},
	{"REQUIRETLS", CLIENT_CAN_REQUIRETLS},
};

static void say(struct relay_client *client, const char *verb)
{
	const struct relay_settings *settings = client->relay->settings;
	const char *name = settings->ehlo != NULL ? settings->ehlo : settings->hostname;

	if (!buf_printf(&client->out, "%s %s\r\n", verb, name))
		relay_client_end(client, CLIENT_END_LOCAL, "no room for %s", verb);
}

void relay_hello_begin(struct relay_client *client)
{
	relay_client_stage_set(client, CLIENT_STAGE_EHLO);
	client->can = 0;
	client->size_max = 0;
	say(client, client->target.lmtp ? "LHLO" : "EHLO");
}

/* SIZE's argument; one that is no number says nothing. */
static uint64_t size_read(struct span text)
{
	uint64_t n = 0;

	for (; text.n > 0; span_take(&text, 1)) {
		uint64_t digit = (uint64_t)text.p[0] - '0';

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return 0;
		n = n * 10 + digit;
	}
	return n;
}

void relay_hello_line(struct relay_client *client, struct span line)
{
	const uint8_t *space = memchr(line.p, ' ', line.n);
	struct span word = span_take(&line, space != NULL ? (size_t)(space - line.p) : line.n);

	span_take(&line, 1);
	if (client->reply.lines == 1 || client->reply.code / 100 != 2) /* the first is a name */
		return;
	for (size_t i = 0; i < COUNT_OF(keywords); i++) {
		if (!span_is_nocase(word, keywords[i].name))
			continue;
		client->can |= keywords[i].can;
		if (keywords[i].can == CLIENT_CAN_SIZE)
			client->size_max = size_read(line);
	}
}

static void no_tls(struct relay_client *client, const char *why)
{
	const struct relay_trust *trust = client->target.trust;
	char name[RELAY_REPLY_MAX];

	relay_trust_note(client, TLSRPT_STARTTLS_NOT_SUPPORTED, why);
	if (relay_trust_tls(&client->target) == ROUTE_TLS_MAY)
		relay_client_opened(client);
	else if (trust == NULL)
		relay_client_end(
			client, CLIENT_END_TLS, "the route requires TLS, and the next hop %s", why);
	else
		relay_client_end(client,
			trust->requiretls && client->reply.code / 100 != 4 ? CLIENT_END_REQUIRETLS
									   : CLIENT_END_TLS,
			"%.300s requires TLS, and the next hop %s", relay_trust_name(trust, name),
			why);
}

static bool wants_requiretls(const struct relay_client *client)
{
	return client->target.trust != NULL && client->target.trust->requiretls;
}

/* The abilities are known: is it time for TLS, or for mail? */
static void go_on(struct relay_client *client)
{
	const struct relay_target *target = &client->target;

	if (client->tls_up && wants_requiretls(client) && !(client->can & CLIENT_CAN_REQUIRETLS)) {
		relay_client_end(client, CLIENT_END_REQUIRETLS,
			"the message requires REQUIRETLS, which the next hop does not offer");
	} else if (client->tls_up || relay_trust_tls(target) == ROUTE_TLS_NONE ||
		   client->plain_only) {
		relay_client_opened(client);
	} else if (!(client->can & CLIENT_CAN_STARTTLS)) {
		count(COUNTER_RELAY_TLS_NOT_OFFERED);
		no_tls(client, "does not offer STARTTLS");
	} else if (target->tls == NULL) {
		no_tls(client, "cannot have it, as we have no TLS ourselves");
	} else {
		relay_client_stage_set(client, CLIENT_STAGE_STARTTLS);
		if (!buf_puts(&client->out, "STARTTLS\r\n"))
			relay_client_end(client, CLIENT_END_LOCAL, "no room for STARTTLS");
	}
}

static void starttls_reply(struct relay_client *client)
{
	if (client->reply.code != 220) {
		count(COUNTER_RELAY_TLS_FAILED);
		no_tls(client, client->reply.code / 100 == 4 ? "refuses STARTTLS for now"
							     : "refuses STARTTLS");
		return;
	}
	if (client->plain.n > 0 || client->in.n > 0) {
		relay_trust_note(client, TLSRPT_VALIDATION_FAILURE,
			"octets were injected behind the reply to STARTTLS");
		client->plain_only = true; /* not to be answered by a try in plaintext */
		count(COUNTER_RELAY_TLS_FAILED);
		relay_client_end(client, CLIENT_END_TLS,
			"octets were injected behind the reply to STARTTLS");
		return;
	}
	relay_client_stage_set(client, CLIENT_STAGE_HANDSHAKE);
}

void relay_hello_reply(struct relay_client *client)
{
	uint16_t code = client->reply.code;

	switch (client->stage) {
	case CLIENT_STAGE_GREETING:
		if (code == 220)
			relay_hello_begin(client);
		else
			relay_client_end_reply(client, CLIENT_END_GREETING);
		return;
	case CLIENT_STAGE_EHLO:
		if (code / 100 == 5 && !client->target.lmtp) {
			relay_client_stage_set(client, CLIENT_STAGE_HELO);
			say(client, "HELO");
			return;
		}
		break;
	case CLIENT_STAGE_STARTTLS:
		starttls_reply(client);
		return;
	default:
		break;
	}
	if (code / 100 == 2)
		go_on(client);
	else
		relay_client_end_reply(client, CLIENT_END_EHLO);
}
