/* SPDX-License-Identifier: MIT */
/*
 * maildir.c -- a job into its recipients' Maildirs, step by step.
 *
 *	step			on disk, below the root
 *	open			BOX/tmp/NAME of the first recipient whose mailbox can be had
 *	read, write, sync	Return-Path: and the message's octets in it
 *	link			BOX/new/NAME for each further recipient, new/ synced
 *	rename			tmp/NAME to new/NAME of the first one, new/ synced
 *
 * One file with several names: recipients of one message share its octets, as nobody may change a
 * message in a Maildir. The tree must be one file system. Mailboxes are made when first needed and
 * synced up to the root; whatever fails is tried again later and is never a bounce, for a mailbox
 * that cannot be written is the operator's affair. One recipient's trouble is not another's.
 *
 * NAME is the queue id and the host's name and nothing else, so a message that is delivered again
 * after a crash meets its own name: in new/ it counts as delivered (unless a reader has moved it to
 * cur/ meanwhile), a leftover in tmp/ is replaced. That is why a second job of a message waits until
 * the first has ended.
 *
 * Rejected: taking all names back when one recipient fails (the others would wait for that one's
 * mailbox until the message expires); a splice from the spool's file (two calls more for small
 * messages, which most are).
 */
#include "relay/maildir-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/counter.h"
#include "smtp/smtp.h"

#define DELIVERIES_MAX 256 /* a worker */

struct relay_maildirs {
	struct pool pool;
	struct list deliveries;
};

/* From which states a state may be entered: bit = enum relay_delivery_state. */
#define FROM(state) (1u << RELAY_DELIVERY_##state)

static const uint32_t state_from[RELAY_DELIVERY_COUNT] = {
	[RELAY_DELIVERY_OPEN] = FROM(NEW) | FROM(OPEN) | FROM(MAKE) | FROM(DIR_OPEN) |
				FROM(DIR_CLOSE) | FROM(UNLINK),
	[RELAY_DELIVERY_MAKE] = FROM(OPEN) | FROM(LINK) | FROM(MAKE) | FROM(DIR_CLOSE),
	[RELAY_DELIVERY_READ] = FROM(OPEN) | FROM(READ) | FROM(WRITE),
	[RELAY_DELIVERY_WRITE] = FROM(OPEN) | FROM(READ) | FROM(WRITE),
	[RELAY_DELIVERY_SYNC] = FROM(WRITE),
	[RELAY_DELIVERY_LINK] = FROM(WRITE) | FROM(SYNC) | FROM(LINK) | FROM(DIR_OPEN) |
				FROM(DIR_CLOSE) | FROM(MAKE),
	[RELAY_DELIVERY_RENAME] = FROM(WRITE) | FROM(SYNC) | FROM(LINK) | FROM(DIR_OPEN) |
				  FROM(DIR_CLOSE) | FROM(MAKE),
	[RELAY_DELIVERY_DIR_OPEN] = FROM(LINK) | FROM(RENAME) | FROM(MAKE) | FROM(DIR_CLOSE),
	[RELAY_DELIVERY_DIR_SYNC] = FROM(DIR_OPEN),
	[RELAY_DELIVERY_DIR_CLOSE] = FROM(DIR_SYNC),
	[RELAY_DELIVERY_UNLINK] = FROM(OPEN) | FROM(READ) | FROM(WRITE) | FROM(SYNC) | FROM(RENAME),
	[RELAY_DELIVERY_CLOSE] = FROM(RENAME) | FROM(DIR_OPEN) | FROM(DIR_CLOSE) | FROM(UNLINK),
	[RELAY_DELIVERY_END] = FROM(OPEN) | FROM(MAKE) | FROM(DIR_OPEN) | FROM(DIR_CLOSE),
};

void relay_delivery_state_set(struct relay_delivery *delivery, enum relay_delivery_state state)
{
	ASSERT(state_from[state] & 1u << delivery->state);
	delivery->state = state;
}

static void box_of(
	const struct relay_delivery *delivery, uint32_t recipient, char box[RELAY_BOX_MAX])
{
	relay_maildir_box(delivery->relay->facts.config->smtp.hostname,
		&delivery->job->recipients[recipient].smtp->address, box);
}

static bool same_box_as_first(const struct relay_delivery *delivery, uint32_t recipient)
{
	char first[RELAY_BOX_MAX];
	char other[RELAY_BOX_MAX];

	box_of(delivery, delivery->first, first);
	box_of(delivery, recipient, other);
	return strcmp(first, other) == 0;
}

/* ---- outcomes ---- */

static void settle(struct relay_delivery *delivery, uint32_t recipient, int error)
{
	struct relay_outcome *outcome = delivery->job->recipients[recipient].outcome;
	bool space = error == -ENOSPC || error == -EDQUOT;

	if (error == 0) {
		*outcome = (struct relay_outcome){
			.result = RELAY_RESULT_DONE, .code = 250, .enhanced = "2.0.0"};
		snprintf(outcome->text, sizeof(outcome->text), "delivered to Maildir");
		return;
	}
	*outcome = (struct relay_outcome){.result = RELAY_RESULT_LATER, .code = space ? 452 : 451};
	snprintf(outcome->enhanced, sizeof(outcome->enhanced), space ? "4.3.1" : "4.3.0");
	snprintf(outcome->text, sizeof(outcome->text), "Maildir: %s", strerror(-error));
}

static void recipient_failed(struct relay_delivery *delivery, uint32_t recipient, int error)
{
	struct event event;

	event_open(&event, COUNTER_RELAY_MAILDIR_ERRORS, "maildir_error");
	event_str(&event, "file", delivery->name);
	event_str(&event, "path", delivery->path);
	event_str(&event, "error", strerror(-error));
	event_close(&event);
	settle(delivery, recipient, error);
}

/* The first delivery of a message; NULL: none. */
static struct relay_delivery *same_message(const struct relay_maildirs *maildirs, const char *name)
{
	const struct list *all = &maildirs->deliveries;

	for (struct list *node = all->next; node != all; node = node->next) {
		struct relay_delivery *delivery = container_of(node, struct relay_delivery, node);

		if (strcmp(delivery->name, name) == 0)
			return delivery;
	}
	return NULL;
}

static void first_try(struct relay_delivery *delivery);

static void end(struct relay_delivery *delivery)
{
	struct relay_maildirs *maildirs = delivery->relay->maildirs;
	struct relay_job *job = delivery->job;
	struct relay_delivery *next;

	job->ended_ms = ring_now_ms(relay_delivery_ring(delivery));
	list_remove(&delivery->node);
	next = same_message(maildirs, delivery->name);
	pool_put(&maildirs->pool, delivery);
	if (next != NULL) {
		next->waits = false;
		first_try(next);
	}
	job->done(job);
}

static void close_start(struct relay_delivery *delivery)
{
	relay_delivery_state_set(delivery, RELAY_DELIVERY_CLOSE);
	ring_close_fd(relay_delivery_ring(delivery), &delivery->op, delivery->fd);
}

static void unlink_start(struct relay_delivery *delivery)
{
	snprintf(delivery->path, RELAY_PATH_MAX, "%s", delivery->tmp_path);
	relay_delivery_state_set(delivery, RELAY_DELIVERY_UNLINK);
	ring_unlinkat(relay_delivery_ring(delivery), &delivery->op, delivery->root, delivery->path);
}

/* The file itself failed: nobody has it. */
static void file_failed(struct relay_delivery *delivery, int error)
{
	recipient_failed(delivery, delivery->first, error);
	for (uint32_t i = delivery->first + 1; i < delivery->job->recipients_n; i++)
		settle(delivery, i, error);
	unlink_start(delivery);
}

/* ---- the file ---- */

static void file_open(struct relay_delivery *delivery)
{
	snprintf(delivery->path, RELAY_PATH_MAX, "%s", delivery->tmp_path);
	relay_delivery_state_set(delivery, RELAY_DELIVERY_OPEN);
	ring_openat(relay_delivery_ring(delivery), &delivery->op, delivery->root, delivery->path,
		O_WRONLY | O_CREAT | O_EXCL, 0600);
}

static void first_try(struct relay_delivery *delivery)
{
	delivery->made = false;
	delivery->replaced = false;
	box_of(delivery, delivery->first, delivery->box);
	snprintf(delivery->tmp_path, RELAY_PATH_MAX, "%s/tmp/%s", delivery->box, delivery->name);
	file_open(delivery);
}

/* This recipient's mailbox cannot be had: the next one's may. */
static void first_failed(struct relay_delivery *delivery, int error)
{
	recipient_failed(delivery, delivery->first, error);
	delivery->first++;
	if (delivery->first < delivery->job->recipients_n) {
		first_try(delivery);
		return;
	}
	relay_delivery_state_set(delivery, RELAY_DELIVERY_END);
	ring_soon(relay_delivery_ring(delivery), &delivery->op);
}

/* The next octets of a body in memory, as many as there is room for. */
static void take_memory(struct relay_delivery *delivery)
{
	const struct spool_body *body = delivery->job->body;

	while (delivery->held < RELAY_DELIVERY_BYTES && delivery->taken < body->n) {
		const struct iovec *iov = &body->iov[delivery->iov_at];
		size_t n = min_size(
			iov->iov_len - delivery->iov_offset, RELAY_DELIVERY_BYTES - delivery->held);

		ASSERT(delivery->iov_at < body->iov_n);
		memcpy(delivery->bytes + delivery->held,
			(const uint8_t *)iov->iov_base + delivery->iov_offset, n);
		delivery->held += n;
		delivery->taken += n;
		delivery->iov_offset += n;
		if (delivery->iov_offset == iov->iov_len) {
			delivery->iov_at++;
			delivery->iov_offset = 0;
		}
	}
}

static void write_start(struct relay_delivery *delivery)
{
	relay_delivery_state_set(delivery, RELAY_DELIVERY_WRITE);
	ring_write(relay_delivery_ring(delivery), &delivery->op, delivery->fd,
		span_of(delivery->bytes + delivery->given, delivery->held - delivery->given),
		delivery->written);
}

/* Fills the buffer; once it is full or the body ends, writes it. */
static void fill(struct relay_delivery *delivery)
{
	const struct spool_body *body = delivery->job->body;
	size_t n;

	if (body->fd < 0)
		take_memory(delivery);
	if (delivery->taken == body->n || delivery->held == RELAY_DELIVERY_BYTES) {
		write_start(delivery);
		return;
	}
	n = RELAY_DELIVERY_BYTES - delivery->held;
	if (body->n - delivery->taken < n)
		n = (size_t)(body->n - delivery->taken);
	relay_delivery_state_set(delivery, RELAY_DELIVERY_READ);
	ring_read(relay_delivery_ring(delivery), &delivery->op, body->fd,
		delivery->bytes + delivery->held, n, body->offset + delivery->taken);
}

static void fill_first(struct relay_delivery *delivery)
{
	struct buf head;

	buf_init(&head, delivery->bytes, RELAY_DELIVERY_BYTES);
	if (!smtp_return_path_write(&head, &delivery->job->envelope->reverse_path))
		ASSERT(!"an address fits");
	delivery->held = buf_len(&head);
	fill(delivery);
}

/* ---- names in new/ ---- */

static void link_start(struct relay_delivery *delivery)
{
	snprintf(delivery->path, RELAY_PATH_MAX, "%s/new/%s", delivery->box, delivery->name);
	relay_delivery_state_set(delivery, RELAY_DELIVERY_LINK);
	ring_linkat(relay_delivery_ring(delivery), &delivery->op, delivery->root,
		delivery->tmp_path, delivery->root, delivery->path);
}

static void rename_start(struct relay_delivery *delivery)
{
	delivery->current = delivery->first;
	box_of(delivery, delivery->first, delivery->box);
	snprintf(delivery->path, RELAY_PATH_MAX, "%s/new/%s", delivery->box, delivery->name);
	relay_delivery_state_set(delivery, RELAY_DELIVERY_RENAME);
	ring_renameat(relay_delivery_ring(delivery), &delivery->op, delivery->root,
		delivery->tmp_path, delivery->root, delivery->path);
}

/* On to the next recipient; after the last one the first one's rename. */
static void next_recipient(struct relay_delivery *delivery)
{
	delivery->made = false;
	while (++delivery->current < delivery->job->recipients_n) {
		if (same_box_as_first(delivery, delivery->current))
			continue;
		box_of(delivery, delivery->current, delivery->box);
		link_start(delivery);
		return;
	}
	rename_start(delivery);
}

/* The first recipient's outcome is that of all with the same mailbox. */
static void first_settled(struct relay_delivery *delivery)
{
	const struct relay_job_recipient *recipients = delivery->job->recipients;

	for (uint32_t i = delivery->first + 1; i < delivery->job->recipients_n; i++)
		if (same_box_as_first(delivery, i))
			*recipients[i].outcome = *recipients[delivery->first].outcome;
	if (delivery->renamed)
		close_start(delivery);
	else
		unlink_start(delivery);
}

static void name_settled(struct relay_delivery *delivery, int error)
{
	if (error != 0)
		recipient_failed(delivery, delivery->current, error);
	else
		settle(delivery, delivery->current, 0);
	if (delivery->current == delivery->first)
		first_settled(delivery);
	else
		next_recipient(delivery);
}

static void name_sync(struct relay_delivery *delivery)
{
	if (!relay_delivery_durable(delivery)) {
		name_settled(delivery, 0);
		return;
	}
	snprintf(delivery->path, RELAY_PATH_MAX, "%s/new", delivery->box);
	relay_box_sync(delivery);
}

static void file_done(struct relay_delivery *delivery)
{
	delivery->current = delivery->first;
	next_recipient(delivery);
}

/* ---- completions ---- */

static void make_start(struct relay_delivery *delivery)
{
	delivery->made = true;
	delivery->after_make = delivery->state;
	relay_box_make(delivery);
}

/* Back to what needed the mailbox. */
void relay_delivery_made(struct relay_delivery *delivery, int error)
{
	if (delivery->after_make == RELAY_DELIVERY_OPEN && error == 0)
		file_open(delivery);
	else if (delivery->after_make == RELAY_DELIVERY_OPEN)
		first_failed(delivery, error);
	else if (error == 0)
		link_start(delivery);
	else
		name_settled(delivery, error);
}

void relay_delivery_synced(struct relay_delivery *delivery, int error)
{
	name_settled(delivery, error);
}

static void open_done(struct relay_delivery *delivery, int res)
{
	if (res == -ENOENT && !delivery->made) {
		make_start(delivery);
	} else if (res == -EEXIST && !delivery->replaced) {
		delivery->replaced = true;
		unlink_start(delivery);
	} else if (res < 0) {
		first_failed(delivery, res);
	} else {
		delivery->fd = res;
		fill_first(delivery);
	}
}

static void read_done(struct relay_delivery *delivery, int res)
{
	if (res <= 0) {
		file_failed(delivery, res == 0 ? -EIO : res);
		return;
	}
	delivery->held += (size_t)res;
	delivery->taken += (uint64_t)res;
	fill(delivery);
}

static void write_done(struct relay_delivery *delivery, int res)
{
	if (res <= 0) {
		file_failed(delivery, res == 0 ? -EIO : res);
		return;
	}
	delivery->written += (uint64_t)res;
	delivery->given += (size_t)res;
	if (delivery->given < delivery->held) {
		write_start(delivery);
		return;
	}
	delivery->given = 0;
	delivery->held = 0;
	if (delivery->taken < delivery->job->body->n) {
		fill(delivery);
	} else if (relay_delivery_durable(delivery)) {
		relay_delivery_state_set(delivery, RELAY_DELIVERY_SYNC);
		ring_fsync(relay_delivery_ring(delivery), &delivery->op, delivery->fd, true);
	} else {
		file_done(delivery);
	}
}

static void sync_done(struct relay_delivery *delivery, int res)
{
	count(COUNTER_RELAY_MAILDIR_SYNCS);
	if (res < 0)
		file_failed(delivery, res);
	else
		file_done(delivery);
}

static void link_done(struct relay_delivery *delivery, int res)
{
	if (res == -ENOENT && !delivery->made)
		make_start(delivery);
	else if (res < 0 && res != -EEXIST) /* delivered before, or a mailbox named twice */
		name_settled(delivery, res);
	else
		name_sync(delivery);
}

static void rename_done(struct relay_delivery *delivery, int res)
{
	delivery->renamed = res >= 0;
	if (res < 0)
		name_settled(delivery, res);
	else
		name_sync(delivery);
}

/* Before the open it was a leftover; after a failure what cannot be removed stays: the next try
 * replaces it. */
static void unlink_done(struct relay_delivery *delivery)
{
	if (delivery->fd < 0)
		file_open(delivery);
	else
		close_start(delivery);
}

static void op_done(struct op *op, int res, uint32_t flags)
{
	struct relay_delivery *delivery = container_of(op, struct relay_delivery, op);

	(void)flags;
	switch (delivery->state) {
	case RELAY_DELIVERY_OPEN:
		open_done(delivery, res);
		return;
	case RELAY_DELIVERY_READ:
		read_done(delivery, res);
		return;
	case RELAY_DELIVERY_WRITE:
		write_done(delivery, res);
		return;
	case RELAY_DELIVERY_SYNC:
		sync_done(delivery, res);
		return;
	case RELAY_DELIVERY_LINK:
		link_done(delivery, res);
		return;
	case RELAY_DELIVERY_RENAME:
		rename_done(delivery, res);
		return;
	case RELAY_DELIVERY_UNLINK:
		unlink_done(delivery);
		return;
	case RELAY_DELIVERY_CLOSE:
	case RELAY_DELIVERY_END:
		end(delivery);
		return;
	default:
		relay_box_done(delivery, res);
		return;
	}
}

/* ---- begin ---- */

static void name_hop(const struct relay *relay, int root_fd, char hop[SPOOL_HOP_MAX])
{
	const char *path = "";

	for (size_t i = 0; i < relay->settings->maildirs_n; i++)
		if (relay->facts.maildir_fds[i] == root_fd)
			path = relay->settings->maildirs[i];
	snprintf(hop, SPOOL_HOP_MAX, "maildir:%s", path);
}

bool relay_maildir_give(struct relay *relay, int root_fd, uint64_t id, struct relay_job *job)
{
	struct relay_maildirs *maildirs = relay->maildirs;
	struct relay_delivery *delivery;
	char text[SPOOL_ID_MAX];
	char name[RELAY_NAME_MAX];

	ASSERT(job->recipients_n > 0 && job->body != NULL);
	spool_id_text(id, text);
	snprintf(name, sizeof(name), "%s.%.64s", text, relay->facts.config->smtp.hostname);
	delivery = pool_get(&maildirs->pool);
	if (delivery == NULL) {
		count(COUNTER_RELAY_MAILDIR_FULL);
		return false;
	}
	memset(delivery, 0, offsetof(struct relay_delivery, bytes));
	delivery->relay = relay;
	delivery->job = job;
	delivery->root = root_fd;
	delivery->op.done = op_done;
	delivery->fd = -1;
	memcpy(delivery->name, name, sizeof(name));
	delivery->waits = same_message(maildirs, name) != NULL;
	list_push_back(&maildirs->deliveries, &delivery->node);
	name_hop(relay, root_fd, job->next_hop);
	job->started_ms = ring_now_ms(relay->facts.ring);
	if (!delivery->waits)
		first_try(delivery);
	return true;
}

int relay_maildirs_open(struct relay *relay, struct err *err)
{
	relay->maildirs = calloc(1, sizeof(*relay->maildirs));
	if (relay->maildirs == NULL)
		return err_set(err, "out of memory");
	pool_open(&relay->maildirs->pool, sizeof(struct relay_delivery), DELIVERIES_MAX);
	list_init(&relay->maildirs->deliveries);
	return 0;
}

bool relay_maildirs_idle(const struct relay *relay)
{
	return list_empty(&relay->maildirs->deliveries);
}

void relay_maildirs_close(struct relay *relay)
{
	if (relay->maildirs == NULL)
		return;
	pool_close(&relay->maildirs->pool);
	free(relay->maildirs);
	relay->maildirs = NULL;
}
