/* SPDX-License-Identifier: MIT */
/* dial.c -- see dial.h. */
#include "tests/unit/relay/dial.h"

#include <stdio.h>

#include "tests/lib/unit.h"

struct ring *ring;
struct relay relay;
struct config config;
struct route_settings route;
struct next_hop_settings hop;
struct relay_target target;
struct relay_client *client;
struct relay_outcome closed;
unsigned ready_n, closed_n;
struct letter *ready_letter;

static unsigned fds_before;

static void on_ready(struct relay_client_owner *owner, struct relay_client *which)
{
	struct letter *letter = ready_letter;

	(void)owner;
	cr_expect(relay_client_state(which) == RELAY_CLIENT_READY);
	ready_n++;
	ready_letter = NULL;
	if (letter != NULL)
		relay_client_give(which, &letter->job);
}

static void on_closed(struct relay_client_owner *owner, struct relay_client *which,
	const struct relay_outcome *outcome)
{
	(void)owner;
	cr_expect(which == client && relay_client_state(which) == RELAY_CLIENT_CLOSING);
	closed_n++;
	closed = *outcome;
	client = NULL;
}

static struct relay_client_owner owner = {.ready = on_ready, .closed = on_closed};

void dial_prepare(const char *const *script, bool lmtp, bool unix_socket)
{
	const struct ring_settings ring_settings = {64, 8, 4, 4};
	struct err err = {0};

	peer_open(script, unix_socket);
	cr_assert(ring_open(&ring, &ring_settings, &err) == 0, "%s", err.text);
	config.relay.hostname = "me.example.net";
	config.relay.connections_max = 4;
	config.relay.connect_ms_max = 5000;
	config.relay.reply_ms_max = 8000;
	config.relay.final_ms_max = 8000;
	config.relay.ktls = KTLS_MODE_OFF;
	relay.facts = (struct relay_facts){.config = &config, .ring = ring};
	relay.settings = &config.relay;
	route.title = "route";
	hop.kind = lmtp ? NEXT_HOP_LMTP : NEXT_HOP_SMTP;
	target.route = &route;
	target.hop = &hop;
	target.lmtp = lmtp;
	snprintf(target.host, sizeof(target.host), "mx.example.org");
	peer_address(&target.address, &target.address_n);
	cr_assert(relay_clients_open(&relay, &err) == 0, "%s", err.text);
	fds_before = unit_fds_n();
}

void dial(void)
{
	client = relay_client_open(&relay, &owner, &target);
	cr_assert(client != NULL && relay_client_state(client) == RELAY_CLIENT_OPENING);
}

void dial_open(const char *const *script, bool lmtp)
{
	dial_prepare(script, lmtp, false);
	dial();
}

static void stop(void *ctx)
{
	ring_stop(ctx);
}

void dial_turn(void)
{
	ring_run(ring, stop, ring);
}

void dial_until_ready(void)
{
	unsigned before = ready_n;

	while (client != NULL && ready_n == before)
		dial_turn();
	cr_assert(client != NULL || ready_n != before, "gone: %s", closed.text);
}

void dial_until_stage(enum client_stage stage)
{
	while (client != NULL && client->stage != stage)
		dial_turn();
	cr_assert(client != NULL, "gone: %s", closed.text);
}

void dial_close(void)
{
	while (client != NULL)
		dial_turn();
	cr_expect(closed_n == 1);
	cr_expect(relay_clients_idle(&relay));
	peer_close();
	cr_expect(unit_fds_n() == fds_before - 1, "%u descriptors, %u before", unit_fds_n(),
		fds_before - 1);
	cr_expect(counter_sum(COUNTER_RELAY_CONNECTIONS_ACTIVE) == 0);
	relay_clients_close(&relay);
	ring_close(ring);
}

/* ---- letters ---- */

static void on_done(struct relay_job *job)
{
	struct letter *letter = container_of(job, struct letter, job);

	letter->done_n++;
	cr_expect(job->ended_ms >= job->started_ms && job->next_hop[0] != '\0');
}

void letter_text(struct letter *letter, struct span text)
{
	letter->iov = (struct iovec){(void *)(uintptr_t)text.p, text.n};
	letter->body = (struct spool_body){.fd = -1, .n = text.n, .iov = &letter->iov, .iov_n = 1};
}

void letter_file(struct letter *letter, int fd, uint64_t offset, uint64_t n)
{
	letter->body = (struct spool_body){.fd = fd, .offset = offset, .n = n};
}

void letter_init(struct letter *letter, uint32_t n)
{
	*letter = (struct letter){.job = {.recipients_n = n, .done = on_done}};
	cr_assert(n <= LETTER_RECIPIENTS_MAX);
	list_init(&letter->envelope.recipients);
	letter->envelope.reverse_path.text = span_str("a@b");
	letter->envelope.recipients_n = n;
	letter_text(letter, span_str(LETTER_TEXT));
	letter->job.envelope = &letter->envelope;
	letter->job.body = &letter->body;
	letter->job.recipients = letter->recipients;
	for (uint32_t i = 0; i < n; i++) {
		snprintf(letter->names[i], sizeof(letter->names[i]), "r%u@b", i);
		letter->smtp[i].address.text = span_str(letter->names[i]);
		list_push_back(&letter->envelope.recipients, &letter->smtp[i].node);
		letter->recipients[i] = (struct relay_job_recipient){
			.smtp = &letter->smtp[i], .index = i, .outcome = &letter->outcomes[i]};
	}
}

void letter_wait(struct letter *letter)
{
	while (letter->done_n == 0)
		dial_turn();
	cr_expect(letter->done_n == 1);
}

const char *letter_outcomes(const struct letter *letter)
{
	static const char *const names[] = {"DONE", "LATER", "NEVER"};
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < letter->job.recipients_n; i++) {
		const struct relay_outcome *outcome = &letter->outcomes[i];

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s %u%s%s", i > 0 ? "|" : "",
			names[outcome->result], outcome->code,
			outcome->enhanced[0] != '\0' ? " " : "", outcome->enhanced);
	}
	return text;
}
