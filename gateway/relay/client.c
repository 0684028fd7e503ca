/* SPDX-License-Identifier: MIT */
/*
 * client.c -- the life of one outbound connection, SMTP or LMTP; see client-private.h for its parts.
 *
 *	SOCKET CONNECT GREETING EHLO [HELO] [STARTTLS HANDSHAKE [PLANT] EHLO]	opening
 *	IDLE									ready for a job
 *	[SCAN] ENVELOPE BODY FINAL | VOID					a job, back to IDLE
 *	QUIT LAST END								closing
 *
 * Invariants: the owner is called from completions and timers only, a turn being asked for by ring_soon()
 * where nothing else would bring one; a job is done exactly once; the connection is freed when none
 * of its operations is armed, so a message's file is never read after its job was done.
 *
 * Rejected: provided buffers for replies, which are short and few; buffers held only while in use,
 * which would save little, as connections are bounded and untouched pages cost nothing.
 */
#include "relay/trust-private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- stages ---- */

#define FROM(stage) (1u << CLIENT_STAGE_##stage)
#define FROM_ANY    (~FROM(END))

const struct client_stage_info client_stages[CLIENT_STAGE_COUNT] = {
	[CLIENT_STAGE_SOCKET] = {"connection", CLIENT_LIMIT_CONNECT, CLIENT_END_CONNECT, FROM(END)},
	[CLIENT_STAGE_CONNECT] = {"connection", CLIENT_LIMIT_CONNECT, CLIENT_END_CONNECT,
		FROM(SOCKET)},
	[CLIENT_STAGE_GREETING] = {"greeting", CLIENT_LIMIT_REPLY, CLIENT_END_GREETING,
		FROM(CONNECT)},
	[CLIENT_STAGE_EHLO] = {"reply to EHLO", CLIENT_LIMIT_REPLY, CLIENT_END_EHLO,
		FROM(GREETING) | FROM(HANDSHAKE) | FROM(PLANT)},
	[CLIENT_STAGE_HELO] = {"reply to HELO", CLIENT_LIMIT_REPLY, CLIENT_END_EHLO, FROM(EHLO)},
	[CLIENT_STAGE_STARTTLS] = {"reply to STARTTLS", CLIENT_LIMIT_REPLY, CLIENT_END_TLS,
		FROM(EHLO) | FROM(HELO)},
	[CLIENT_STAGE_HANDSHAKE] = {"TLS handshake", CLIENT_LIMIT_REPLY, CLIENT_END_TLS,
		FROM(STARTTLS)},
	[CLIENT_STAGE_PLANT] = {"end of output", CLIENT_LIMIT_REPLY, CLIENT_END_CLOSED,
		FROM(HANDSHAKE)},
	[CLIENT_STAGE_IDLE] = {"reply to RSET", CLIENT_LIMIT_NONE, CLIENT_END_CLOSED,
		FROM(EHLO) | FROM(HELO) | FROM(STARTTLS) | FROM(SCAN) | FROM(ENVELOPE) |
			FROM(FINAL) | FROM(VOID)},
	[CLIENT_STAGE_SCAN] = {"message's file", CLIENT_LIMIT_REPLY, CLIENT_END_CLOSED, FROM(IDLE)},
	[CLIENT_STAGE_ENVELOPE] = {"reply to MAIL, RCPT or DATA", CLIENT_LIMIT_REPLY,
		CLIENT_END_CLOSED, FROM(IDLE) | FROM(SCAN)},
	[CLIENT_STAGE_BODY] = {"room for the message", CLIENT_LIMIT_REPLY, CLIENT_END_CLOSED,
		FROM(ENVELOPE)},
	[CLIENT_STAGE_FINAL] = {"reply to the message", CLIENT_LIMIT_FINAL, CLIENT_END_CLOSED,
		FROM(BODY)},
	[CLIENT_STAGE_VOID] = {"reply to an empty message", CLIENT_LIMIT_REPLY, CLIENT_END_CLOSED,
		FROM(ENVELOPE)},
	[CLIENT_STAGE_QUIT] = {"reply to QUIT", CLIENT_LIMIT_QUIT, CLIENT_END_QUIT, FROM(IDLE)},
	[CLIENT_STAGE_LAST] = {"end of output", CLIENT_LIMIT_QUIT, CLIENT_END_QUIT, FROM_ANY},
	[CLIENT_STAGE_END] = {"end", CLIENT_LIMIT_NONE, CLIENT_END_QUIT, FROM_ANY},
};

static uint64_t limit_ms(const struct relay_client *client)
{
	const struct relay_settings *settings = client->relay->settings;

	switch (client_stages[client->stage].limit) {
	case CLIENT_LIMIT_NONE:
		return 0;
	case CLIENT_LIMIT_CONNECT:
		return settings->connect_ms_max;
	case CLIENT_LIMIT_REPLY:
		return settings->reply_ms_max;
	case CLIENT_LIMIT_FINAL:
		return settings->final_ms_max;
	case CLIENT_LIMIT_QUIT:
		return min_size(settings->reply_ms_max, RELAY_QUIT_MS);
	}
	return 0;
}

void relay_client_touch(struct relay_client *client)
{
	uint64_t ms = limit_ms(client);

	client->step_ms = ms > 0 ? relay_client_now(client) + ms : 0;
}

void relay_client_stage_set(struct relay_client *client, enum client_stage stage)
{
	ASSERT(client_stages[stage].from & 1u << client->stage);
	client->stage = stage;
	relay_client_touch(client);
}

/* ---- replies ---- */

static void rset_answered(struct relay_client *client)
{
	client->rset_owed = false;
	if (client->reply.code / 100 != 2)
		relay_client_end_reply(client, CLIENT_END_GARBAGE);
}

static void reply_came(struct relay_client *client)
{
	relay_client_touch(client);
	if (client->reply.code == 421 && client->opened && client->stage < CLIENT_STAGE_QUIT) {
		bool idle = client->stage == CLIENT_STAGE_IDLE && client->job == NULL;

		relay_client_end_reply(client, idle ? CLIENT_END_QUIT : CLIENT_END_UNAVAILABLE);
		if (idle)
			client->why.result = RELAY_RESULT_DONE;
		return;
	}
	if (client->rset_owed) {
		rset_answered(client);
		return;
	}
	switch (client->stage) {
	case CLIENT_STAGE_GREETING:
	case CLIENT_STAGE_EHLO:
	case CLIENT_STAGE_HELO:
	case CLIENT_STAGE_STARTTLS:
		relay_hello_reply(client);
		return;
	case CLIENT_STAGE_ENVELOPE:
	case CLIENT_STAGE_BODY:
	case CLIENT_STAGE_FINAL:
	case CLIENT_STAGE_VOID:
		relay_transaction_reply(client);
		return;
	case CLIENT_STAGE_QUIT:
		relay_wire_notify(client);
		relay_client_leave(client, CLIENT_END_QUIT, "QUIT");
		return;
	default:
		relay_client_end(client, CLIENT_END_GARBAGE, "unexpected reply %u %s",
			client->reply.code, client->reply.text_storage);
		return;
	}
}

static bool reads_replies(const struct relay_client *client)
{
	switch (client->stage) {
	case CLIENT_STAGE_SOCKET:
	case CLIENT_STAGE_CONNECT:
	case CLIENT_STAGE_HANDSHAKE:
	case CLIENT_STAGE_PLANT:
	case CLIENT_STAGE_LAST:
	case CLIENT_STAGE_END:
		return false;
	default:
		return !client->reply_held;
	}
}

static void input(struct relay_client *client)
{
	struct span line;

	while (reads_replies(client) && relay_wire_input(client)) {
		enum relay_reply_step step =
			relay_reply_feed(&client->reply, &client->plain, &line);

		if (step == RELAY_REPLY_BAD) {
			relay_client_lost(
				client, CLIENT_END_GARBAGE, "the next hop said what is no reply");
			return;
		}
		if (client->stage == CLIENT_STAGE_EHLO && step != RELAY_REPLY_MORE)
			relay_hello_line(client, line);
		if (step != RELAY_REPLY_WHOLE)
			continue;
		reply_came(client);
		if (!client->reply_held)
			relay_reply_reset(&client->reply);
	}
	if (client->stage >= CLIENT_STAGE_LAST || client->recv.armed || client->in.n > 0 ||
		client->plain.n > 0)
		return;
	if (client->recv_error != 0)
		relay_client_lost(client, CLIENT_END_CLOSED, strerror(-client->recv_error));
	else if (client->eof)
		relay_client_lost(client, CLIENT_END_CLOSED, "the next hop closed the connection");
}

/* ---- a turn ---- */

static void idle_write(struct relay_client *client)
{
	if (client->job != NULL && !client->turn.armed) {
		relay_transaction_begin(client);
	} else if (client->job == NULL && client->rset_due) {
		client->rset_due = false;
		client->rset_owed = buf_puts(&client->out, "RSET\r\n");
		client->step_ms = relay_client_now(client) + client->relay->settings->reply_ms_max;
	}
}

static void write_out(struct relay_client *client)
{
	switch (client->stage) {
	case CLIENT_STAGE_HANDSHAKE:
		relay_wire_handshake(client);
		break;
	case CLIENT_STAGE_PLANT:
		relay_wire_plant(client);
		break;
	case CLIENT_STAGE_IDLE:
		idle_write(client);
		break;
	case CLIENT_STAGE_SCAN:
		relay_body_scan(client);
		break;
	case CLIENT_STAGE_ENVELOPE:
		relay_transaction_write(client);
		break;
	case CLIENT_STAGE_BODY:
		relay_body_write(client);
		break;
	case CLIENT_STAGE_LAST:
		if (relay_wire_flushed(client) || client->send_error != 0 || client->eof)
			relay_client_end(client, client->end, "%s", client->why.text);
		break;
	default:
		break;
	}
}

static void timer_set(struct relay_client *client)
{
	struct wheel *wheel = ring_wheel(relay_client_ring(client));
	const struct relay_job *job = client->job;
	uint64_t ms = client->step_ms;

	if (client->stage == CLIENT_STAGE_END)
		return;
	if (job != NULL && job->ms_max > 0 && (ms == 0 || job->started_ms + job->ms_max < ms))
		ms = job->started_ms + job->ms_max;
	if (ms == client->timer.deadline_ms)
		return;
	if (ms == 0)
		wheel_clear(wheel, &client->timer);
	else
		wheel_set(wheel, &client->timer, ms);
}

void relay_client_turn(struct relay_client *client)
{
	enum client_stage before;

	do {
		before = client->stage;
		input(client);
		write_out(client);
	} while (client->stage != before);
	relay_wire_flush(client);
	relay_wire_receive(client);
	timer_set(client);
	if (client->stage == CLIENT_STAGE_END && relay_wire_idle(client))
		relay_client_finish(client);
}

void relay_client_turn_soon(struct relay_client *client)
{
	if (!client->turn.armed)
		ring_soon(relay_client_ring(client), &client->turn);
}

static void turn_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	relay_client_turn(container_of(op, struct relay_client, turn));
}

static void timer_fire(struct wheel_timer *timer)
{
	struct relay_client *client = container_of(timer, struct relay_client, timer);
	const struct relay_job *job = client->job;
	const char *waits_for = client_stages[client->stage].waits_for;

	if (job != NULL && job->ms_max > 0 &&
		relay_client_now(client) >= job->started_ms + job->ms_max)
		relay_client_end(client, CLIENT_END_LIMIT, "no %s within %u ms for all of it",
			waits_for, job->ms_max);
	else if (client->stage == CLIENT_STAGE_BODY && client->reply_held)
		relay_transaction_refused(client);
	else if (client->stage == CLIENT_STAGE_QUIT || client->stage == CLIENT_STAGE_LAST)
		relay_client_end(client, CLIENT_END_QUIT, "QUIT");
	else
		relay_client_end(client,
			client->stage == CLIENT_STAGE_HANDSHAKE ? CLIENT_END_TLS
								: CLIENT_END_TIMEOUT,
			"no %s in time", waits_for);
}

/* ---- jobs ---- */

void relay_client_opened(struct relay_client *client)
{
	client->opened = true;
	relay_trust_opened(client);
	relay_client_stage_set(client, CLIENT_STAGE_IDLE);
	if (client->job == NULL)
		client->owner->ready(client->owner, client);
}

void relay_client_job_result(const struct relay_client *client, struct relay_job *job)
{
	job->tls_version = client->tls_up ? tls_conn_info(client->tls)->version : NULL;
	job->ktls = client->ktls_tx ? "tx" : "none";
	job->trust = relay_trust_words[relay_trust_word(client)];
	job->dsn_passed = client->opened && client->can & CLIENT_CAN_DSN;
	job->ended_ms = relay_client_now(client);
}

void relay_client_job_done(struct relay_client *client)
{
	struct relay_job *job = client->job;

	relay_client_job_result(client, job);
	client->job = NULL;
	client->jobs++;
	if (client->stage != CLIENT_STAGE_IDLE)
		relay_client_stage_set(client, CLIENT_STAGE_IDLE);
	job->done(job);
	if (relay_client_state(client) == RELAY_CLIENT_READY)
		client->owner->ready(client->owner, client);
}

void relay_client_give(struct relay_client *client, struct relay_job *job)
{
	enum relay_client_state state = relay_client_state(client);

	ASSERT(client->job == NULL && job->recipients_n > 0);
	ASSERT(state == RELAY_CLIENT_OPENING || state == RELAY_CLIENT_READY);
	client->job = job;
	client->heard = 0;
	client->body = (struct relay_client_body){0};
	for (uint32_t i = 0; i < job->recipients_n; i++)
		job->recipients[i].state = RECIPIENT_PENDING;
	text_copy(job->next_hop, sizeof(job->next_hop), client->next_hop);
	job->sent_dot = job->connection_failed = job->cut_off = job->sender_refused = false;
	job->started_ms = relay_client_now(client);
	relay_client_turn_soon(client);
}

void relay_client_quit(struct relay_client *client)
{
	enum relay_client_state state = relay_client_state(client);

	if (state == RELAY_CLIENT_CLOSING)
		return;
	ASSERT(state == RELAY_CLIENT_READY);
	relay_client_stage_set(client, CLIENT_STAGE_QUIT);
	if (!buf_puts(&client->out, "QUIT\r\n"))
		relay_client_leave(client, CLIENT_END_QUIT, "QUIT");
	relay_client_turn_soon(client);
}

void relay_client_abort(struct relay_client *client)
{
	client->plain_only = true;
	relay_client_end(client, CLIENT_END_ABORT, "given up by the gateway");
}

enum relay_client_state relay_client_state(const struct relay_client *client)
{
	if (client->stage >= CLIENT_STAGE_QUIT)
		return RELAY_CLIENT_CLOSING;
	if (!client->opened)
		return RELAY_CLIENT_OPENING;
	return client->job != NULL ? RELAY_CLIENT_BUSY : RELAY_CLIENT_READY;
}

uint32_t relay_client_jobs(const struct relay_client *client)
{
	return client->jobs;
}

/* ---- open ---- */

static void name_hop(struct relay_client *client)
{
	const struct relay_target *target = &client->target;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&target->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&target->address;
	const char *kind = target->lmtp ? "lmtp" : "smtp";
	bool is_v4 = target->address.ss_family == AF_INET;
	char text[INET6_ADDRSTRLEN] = "?";

	if (!is_v4 && target->address.ss_family != AF_INET6) {
		snprintf(client->next_hop, sizeof(client->next_hop), "%s:unix:%s", kind,
			target->hop->path != NULL ? target->hop->path : target->host);
		return;
	}
	(void)inet_ntop(target->address.ss_family,
		is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr, text, sizeof(text));
	snprintf(client->next_hop, sizeof(client->next_hop), "%s:%s:%u [%s]", kind, target->host,
		ntohs(is_v4 ? v4->sin_port : v6->sin6_port), text);
}

struct relay_client *relay_client_open(
	struct relay *relay, struct relay_client_owner *owner, const struct relay_target *target)
{
	struct relay_client *client = pool_get(&relay->clients->pool);

	if (client == NULL)
		return NULL;
	memset(client, 0, offsetof(struct relay_client, in_storage));
	client->relay = relay;
	client->owner = owner;
	client->target = *target;
	(void)relay_trust_hold(client->target.trust);
	client->turn.done = turn_done;
	name_hop(client);
	wheel_timer_init(&client->timer, timer_fire);
	relay_reply_reset(&client->reply);
	relay_wire_init(client);
	list_push_back(&relay->clients->all, &client->node);
	count(COUNTER_RELAY_CONNECTIONS);
	count_add(COUNTER_RELAY_CONNECTIONS_ACTIVE, 1);
	client->stage = CLIENT_STAGE_SOCKET;
	relay_client_touch(client);
	timer_set(client);
	relay_wire_socket(client);
	return client;
}

int relay_clients_open(struct relay *relay, struct err *err)
{
	struct relay_clients *clients = calloc(1, sizeof(*clients));

	if (clients == NULL)
		return err_set(err, "relay: out of memory");
	pool_open(&clients->pool, sizeof(struct relay_client),
		relay->settings->connections_max + RELAY_CLIENTS_SPARE);
	list_init(&clients->all);
	relay->clients = clients;
	return 0;
}

void relay_clients_abort(struct relay *relay)
{
	struct list *all = &relay->clients->all;

	for (struct list *node = all->next; node != all; node = node->next)
		relay_client_abort(container_of(node, struct relay_client, node));
}

bool relay_clients_idle(const struct relay *relay)
{
	return list_empty(&relay->clients->all);
}

void relay_clients_close(struct relay *relay)
{
	if (relay->clients == NULL)
		return;
	ASSERT(list_empty(&relay->clients->all));
	pool_close(&relay->clients->pool);
	free(relay->clients);
	relay->clients = NULL;
}
