/* SPDX-License-Identifier: MIT */
/*
 * ending.c -- how a connection ends: why, whose fault that was, who is told.
 *
 * The first reason stands. Ending shuts the socket down, which makes what is armed complete; the last
 * completion brings relay_client_finish(), which settles the job, tells the owner and frees.
 *
 * Where TLS is no must (relay_trust_tls) a handshake that failed is followed by one try in plaintext, on a new
 * connection of the same client.
 *
 * Whose fault: job->connection_failed means that the next hop, not the message, is in the way. A
 * connection that is lost after MAIL was answered may have been lost over this message, so nobody
 * is blamed then: job->cut_off says so, and who sees many of these may draw a conclusion.
 */
#include "relay/trust-private.h"

#include <stdio.h>

enum blame { BLAME_NOBODY, BLAME_HOP, BLAME_HOP_BEFORE_MAIL, BLAME_HOP_BEFORE_OPEN };

static const struct {
	const char *name;
	const char *enhanced;
	enum blame blame; /* when is job->connection_failed true? */
	enum counter opening, opened;
} ends[CLIENT_END_COUNT] = {
	[CLIENT_END_NONE] = {"none", "", BLAME_NOBODY, COUNTER_COUNT, COUNTER_COUNT},
	[CLIENT_END_QUIT] = {"quit", "", BLAME_NOBODY, COUNTER_COUNT, COUNTER_COUNT},
	[CLIENT_END_ABORT] = {"aborted", "4.3.2", BLAME_NOBODY, COUNTER_COUNT, COUNTER_COUNT},
	[CLIENT_END_CONNECT] = {"connect", "4.4.1", BLAME_HOP, COUNTER_RELAY_CONNECT_FAILED_CONNECT,
		COUNTER_COUNT},
	[CLIENT_END_GREETING] = {"greeting", "4.4.2", BLAME_HOP,
		COUNTER_RELAY_CONNECT_FAILED_GREETING, COUNTER_COUNT},
	[CLIENT_END_TLS] = {"tls", "4.7.5", BLAME_HOP, COUNTER_RELAY_CONNECT_FAILED_TLS,
		COUNTER_RELAY_LOST_CLOSED},
	[CLIENT_END_REQUIRETLS] = {"requiretls", "5.7.30", BLAME_HOP,
		COUNTER_RELAY_CONNECT_FAILED_TLS, COUNTER_RELAY_LOST_CLOSED},
	[CLIENT_END_EHLO] = {"ehlo", "4.4.2", BLAME_HOP, COUNTER_RELAY_CONNECT_FAILED_EHLO,
		COUNTER_COUNT},
	[CLIENT_END_TIMEOUT] = {"timeout", "4.4.2", BLAME_HOP_BEFORE_MAIL,
		COUNTER_RELAY_CONNECT_FAILED_TIMEOUT, COUNTER_RELAY_LOST_TIMEOUT},
	[CLIENT_END_CLOSED] = {"closed", "4.4.2", BLAME_HOP_BEFORE_MAIL,
		COUNTER_RELAY_CONNECT_FAILED_EHLO, COUNTER_RELAY_LOST_CLOSED},
	[CLIENT_END_UNAVAILABLE] = {"421", "4.3.2", BLAME_HOP, COUNTER_RELAY_CONNECT_FAILED_EHLO,
		COUNTER_RELAY_LOST_UNAVAILABLE},
	[CLIENT_END_GARBAGE] = {"garbage", "4.5.0", BLAME_HOP_BEFORE_MAIL,
		COUNTER_RELAY_CONNECT_FAILED_EHLO, COUNTER_RELAY_LOST_GARBAGE},
	[CLIENT_END_REFUSED] = {"refused", "", BLAME_NOBODY, COUNTER_COUNT, COUNTER_COUNT},
	[CLIENT_END_LIMIT] = {"limit", "4.4.7", BLAME_HOP_BEFORE_OPEN,
		COUNTER_RELAY_CONNECT_FAILED_TIMEOUT, COUNTER_RELAY_LOST_TIMEOUT},
	[CLIENT_END_LOCAL] = {"local", "4.3.0", BLAME_NOBODY, COUNTER_COUNT,
		COUNTER_RELAY_LOST_LOCAL},
};

static bool hop_failed(const struct relay_client *client)
{
	switch (ends[client->end].blame) {
	case BLAME_NOBODY:
		return false;
	case BLAME_HOP:
		return true;
	case BLAME_HOP_BEFORE_MAIL:
		return !client->opened || client->heard == 0;
	case BLAME_HOP_BEFORE_OPEN:
		return !client->opened;
	}
	return false;
}

static void end_now(struct relay_client *client)
{
	if (client->stage == CLIENT_STAGE_END)
		return;
	relay_client_stage_set(client, CLIENT_STAGE_END);
	wheel_clear(ring_wheel(relay_client_ring(client)), &client->timer);
	relay_wire_stop(client);
	relay_client_turn_soon(client);
}

/* The first reason stands. */
static void why(struct relay_client *client, enum client_end end, const char *fmt, va_list ap)
{
	struct relay_outcome *outcome = &client->why;

	if (client->end != CLIENT_END_NONE)
		return;
	client->end = end;
	outcome->result = end == CLIENT_END_QUIT ? RELAY_RESULT_DONE : RELAY_RESULT_LATER;
	outcome->code = 0;
	snprintf(outcome->enhanced, sizeof(outcome->enhanced), "%s", ends[end].enhanced);
	vsnprintf(outcome->text, sizeof(outcome->text), fmt, ap);
	if (end != CLIENT_END_REQUIRETLS)
		return;
	outcome->result = RELAY_RESULT_NEVER;
	outcome->code = 550;
	outcome->local = true;
	count(COUNTER_RELAY_REQUIRETLS_REFUSED);
}

void relay_client_end(struct relay_client *client, enum client_end end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	why(client, end, fmt, ap);
	va_end(ap);
	end_now(client);
}

void relay_client_leave(struct relay_client *client, enum client_end end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	why(client, end, fmt, ap);
	va_end(ap);
	relay_client_stage_set(client, CLIENT_STAGE_LAST);
}

void relay_client_end_reply(struct relay_client *client, enum client_end end)
{
	uint16_t code = client->reply.code;
	bool final = end == CLIENT_END_GREETING && (code == 554 || code == 521);

	if (client->end == CLIENT_END_NONE) {
		client->end = end;
		relay_outcome_of_reply(&client->why, &client->reply);
		client->why.result = final ? RELAY_RESULT_NEVER : RELAY_RESULT_LATER;
	}
	end_now(client);
}

void relay_client_lost(struct relay_client *client, enum client_end how, const char *text)
{
	bool idle = client->stage == CLIENT_STAGE_IDLE && client->job == NULL;
	enum client_end end = idle ? CLIENT_END_QUIT : client_stages[client->stage].lost;

	if (end == CLIENT_END_CLOSED)
		end = how;

	if (client->stage == CLIENT_STAGE_BODY && client->reply_held)
		relay_transaction_refused(client);
	else if (idle)
		relay_client_end(client, end, "%s while idle", text);
	else
		relay_client_end(client, end, "%s, waiting for the %s", text,
			client_stages[client->stage].waits_for);
}

static void report(const struct relay_client *client)
{
	const struct tls_info *info = client->tls_up ? tls_conn_info(client->tls) : NULL;
	enum counter counter =
		client->opened ? ends[client->end].opened : ends[client->end].opening;
	struct event event;

	event_open(&event, counter, "relay_connection");
	event_str(&event, "next_hop", client->next_hop);
	event_str(&event, "tls", info != NULL ? info->version : "none");
	event_str(&event, "cipher", info != NULL ? info->cipher : "-");
	event_str(&event, "ktls", client->ktls_tx ? "tx" : "none");
	event_str(&event, "trust", relay_trust_words[relay_trust_word(client)]);
	event_u64(&event, "jobs", client->jobs);
	event_str(&event, "result", ends[client->end].name);
	if (client->end != CLIENT_END_QUIT) {
		event_u64(&event, "code", client->why.code);
		event_str(&event, "text", client->why.text);
	}
	event_close(&event);
}

static bool plaintext_next(const struct relay_client *client)
{
	return client->end == CLIENT_END_TLS && !client->opened && !client->plain_only &&
	       relay_trust_tls(&client->target) == ROUTE_TLS_MAY;
}

static void plaintext_try(struct relay_client *client)
{
	struct event event;

	event_open(&event, COUNTER_RELAY_TLS_PLAINTEXT, "relay_tls_failed");
	event_str(&event, "next_hop", client->next_hop);
	event_str(&event, "text", client->why.text);
	event_close(&event);
	relay_wire_close(client);
	client->plain_only = true;
	client->end = CLIENT_END_NONE;
	relay_reply_reset(&client->reply);
	relay_client_stage_set(client, CLIENT_STAGE_SOCKET);
	relay_wire_socket(client);
}

void relay_client_finish(struct relay_client *client)
{
	struct relay_job *job = client->job;

	if (client->end == CLIENT_END_TLS && client->tls != NULL && !client->opened)
		count(COUNTER_RELAY_TLS_FAILED);
	if (client->end == CLIENT_END_TLS && !client->opened) /* lost, or out of time */
		relay_trust_note(client, TLSRPT_VALIDATION_FAILURE, client->why.text);
	if (plaintext_next(client)) {
		plaintext_try(client);
		return;
	}
	count_add(COUNTER_RELAY_CONNECTIONS_ACTIVE, -1);
	if (job != NULL) {
		relay_client_job_result(client, job);
		job->connection_failed = hop_failed(client);
		job->cut_off =
			!job->connection_failed && ends[client->end].blame == BLAME_HOP_BEFORE_MAIL;
		/* The word that the last octet is gone may come after the one that ended us. */
		if (client->body.ended && relay_wire_flushed(client))
			job->sent_dot = true;
		relay_transaction_settle(client, &client->why);
		client->jobs++;
		client->job = NULL;
	}
	report(client);
	relay_wire_close(client);
	list_remove(&client->node);
	if (job != NULL)
		job->done(job);
	relay_trust_release(client->target.trust);
	client->owner->closed(client->owner, client, &client->why);
	pool_put(&client->relay->clients->pool, client);
}
