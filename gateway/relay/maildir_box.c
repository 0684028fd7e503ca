/* SPDX-License-Identifier: MIT */
/*
 * maildir_box.c -- a recipient's mailbox: where it is, how it is made, how a directory is synced.
 *
 * A mailbox is DOMAIN/LOCAL in lower case; octets of LOCAL other than letters, digits and ._+=-
 * and a leading dot are written %XX, so that no address names anything outside its folder.
 *
 * It is made when first needed, one directory after the other, and synced up to the root; tmp/
 * comes last, so that whoever finds it finds the others, though the making was cut short once.
 */
#include "relay/maildir-private.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/counter.h"

/* ---- names ---- */

static bool is_safe(uint8_t c, bool first)
{
	return isalnum(c) || c == '_' || c == '+' || c == '=' || c == '-' || (c == '.' && !first);
}

/* The content of a local part: without quotes and backslashes (RFC 5321 4.1.2: `"a"` is `a`). */
static size_t local_content(struct span local, uint8_t *out)
{
	bool quoted = local.n >= 2 && local.p[0] == '"';
	size_t end = quoted ? local.n - 1 : local.n;
	size_t n = 0;

	for (size_t i = quoted; i < end; i++) {
		if (quoted && local.p[i] == '\\' && i + 1 < end)
			i++;
		out[n++] = local.p[i];
	}
	return n;
}

void relay_maildir_box(
	const char *hostname, const struct smtp_address *address, char box[RELAY_BOX_MAX])
{
	struct span domain = address->domain.n > 0 ? address->domain : span_str(hostname);
	uint8_t local[256];
	size_t n = 0;
	size_t at = 0;

	ASSERT(address->local.n < sizeof(local) && domain.n < 256);
	for (size_t i = 0; i < domain.n; i++)
		box[at++] = (char)(domain.p[i] == '/' ? '_' : tolower(domain.p[i]));
	box[at++] = '/';
	n = local_content(address->local, local);
	for (size_t i = 0; i < n && at + 4 < RELAY_BOX_MAX; i++) {
		if (is_safe(local[i], i == 0))
			box[at++] = (char)tolower(local[i]);
		else
			at += (size_t)snprintf(box + at, 4, "%%%02X", local[i]);
	}
	if (n == 0)
		at += (size_t)snprintf(box + at, 4, "%%00"); /* the empty quoted string */
	box[at] = '\0';
}

/* ---- making a mailbox ---- */

enum make_kind { MAKE_DIR, MAKE_SYNC };

static const struct make_step {
	enum make_kind kind;
	enum { MAKE_AT_ROOT, MAKE_AT_DOMAIN, MAKE_AT_BOX } at;
	const char *leaf;
} make_steps[] = {
	{MAKE_DIR, MAKE_AT_DOMAIN, ""},
	{MAKE_DIR, MAKE_AT_BOX, ""},
	{MAKE_DIR, MAKE_AT_BOX, "/cur"},
	{MAKE_DIR, MAKE_AT_BOX, "/new"},
	{MAKE_SYNC, MAKE_AT_BOX, ""},
	{MAKE_SYNC, MAKE_AT_DOMAIN, ""},
	{MAKE_SYNC, MAKE_AT_ROOT, ""},
	{MAKE_DIR, MAKE_AT_BOX, "/tmp"},
};

void relay_box_sync(struct relay_delivery *delivery)
{
	delivery->error = 0;
	relay_delivery_state_set(delivery, RELAY_DELIVERY_DIR_OPEN);
	ring_openat(relay_delivery_ring(delivery), &delivery->op, delivery->root, delivery->path,
		O_RDONLY | O_DIRECTORY, 0);
}

static void make_go(struct relay_delivery *delivery)
{
	const struct make_step *step = &make_steps[delivery->make_step];

	if (step->at == MAKE_AT_ROOT)
		snprintf(delivery->path, RELAY_PATH_MAX, ".");
	else if (step->at == MAKE_AT_DOMAIN)
		snprintf(delivery->path, RELAY_PATH_MAX, "%.*s",
			(int)(strchr(delivery->box, '/') - delivery->box), delivery->box);
	else
		snprintf(delivery->path, RELAY_PATH_MAX, "%s%s", delivery->box, step->leaf);
	if (step->kind == MAKE_SYNC) {
		relay_box_sync(delivery);
		return;
	}
	relay_delivery_state_set(delivery, RELAY_DELIVERY_MAKE);
	ring_mkdirat(
		relay_delivery_ring(delivery), &delivery->op, delivery->root, delivery->path, 0700);
}

void relay_box_make(struct relay_delivery *delivery)
{
	delivery->making = true;
	delivery->make_step = 0;
	make_go(delivery);
}

/* The last step is done, or one failed. */
static void make_end(struct relay_delivery *delivery, int error)
{
	delivery->making = false;
	relay_delivery_made(delivery, error);
}

static void make_next(struct relay_delivery *delivery)
{
	while (++delivery->make_step < COUNT_OF(make_steps)) {
		if (relay_delivery_durable(delivery) ||
			make_steps[delivery->make_step].kind == MAKE_DIR) {
			make_go(delivery);
			return;
		}
	}
	make_end(delivery, 0);
}

static void make_done(struct relay_delivery *delivery, int res)
{
	if (res < 0 && res != -EEXIST)
		make_end(delivery, res);
	else
		make_next(delivery);
}

static void dir_settled(struct relay_delivery *delivery, int error)
{
	if (!delivery->making)
		relay_delivery_synced(delivery, error);
	else if (error != 0)
		make_end(delivery, error);
	else
		make_next(delivery);
}

static void dir_open_done(struct relay_delivery *delivery, int res)
{
	if (res < 0) {
		dir_settled(delivery, res);
		return;
	}
	delivery->dir_fd = res;
	relay_delivery_state_set(delivery, RELAY_DELIVERY_DIR_SYNC);
	ring_fsync(relay_delivery_ring(delivery), &delivery->op, delivery->dir_fd, false);
}

static void dir_sync_done(struct relay_delivery *delivery, int res)
{
	count(COUNTER_RELAY_MAILDIR_SYNCS);
	delivery->error = res < 0 ? res : 0;
	relay_delivery_state_set(delivery, RELAY_DELIVERY_DIR_CLOSE);
	ring_close_fd(relay_delivery_ring(delivery), &delivery->op, delivery->dir_fd);
}

void relay_box_done(struct relay_delivery *delivery, int res)
{
	switch (delivery->state) {
	case RELAY_DELIVERY_MAKE:
		make_done(delivery, res);
		return;
	case RELAY_DELIVERY_DIR_OPEN:
		dir_open_done(delivery, res);
		return;
	case RELAY_DELIVERY_DIR_SYNC:
		dir_sync_done(delivery, res);
		return;
	case RELAY_DELIVERY_DIR_CLOSE:
		dir_settled(delivery, delivery->error);
		return;
	default:
		ASSERT(!"a completion of no known step");
	}
}
