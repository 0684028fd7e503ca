/* SPDX-License-Identifier: MIT */
/*
 * maildir.c -- a finished file into every recipient's Maildir, step by step, and back again.
 *
 *	tmp/NAME of the first recipient: written, synced
 *	for each further recipient: link to new/NAME, sync new/
 *	rename to new/NAME of the first recipient, sync new/
 *
 * One file with several names: recipients of one message share its octets, as nobody may change a
 * message in a Maildir. The tree must be one file system. Mailboxes are made when first needed,
 * and synced up to the root. Rolling back removes every name again.
 *
 * A mailbox is DOMAIN/LOCAL in lower case; octets of LOCAL other than letters, digits and ._+=-
 * and a leading dot are written %XX, so that no address names anything outside its folder.
 */
#include "spool/spool-private.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

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

void spool_box_path(
	const struct spool *spool, const struct smtp_address *address, char box[SPOOL_BOX_MAX])
{
	struct span domain = address->domain.n > 0 ? address->domain : span_str(spool->hostname);
	uint8_t local[256];
	size_t n = 0;
	size_t at = 0;

	ASSERT(address->local.n < sizeof(local) && domain.n < 256);
	for (size_t i = 0; i < domain.n; i++)
		box[at++] = (char)(domain.p[i] == '/' ? '_' : tolower(domain.p[i]));
	box[at++] = '/';
	n = local_content(address->local, local);
	for (size_t i = 0; i < n && at + 4 < SPOOL_BOX_MAX; i++) {
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

/* tmp/ last: whoever finds it finds the others, though the making was cut short once. */
static const struct make_step {
	enum make_kind kind;
	enum { MAKE_AT_ROOT, MAKE_AT_DOMAIN, MAKE_AT_BOX } at;
	const char *leaf;
} make_steps[] = {
	{MAKE_DIR, MAKE_AT_DOMAIN, ""},
	{MAKE_DIR, MAKE_AT_BOX, ""},
	{MAKE_DIR, MAKE_AT_BOX, "/cur"},
	{MAKE_DIR, MAKE_AT_BOX, "/new"},
	{MAKE_DIR, MAKE_AT_BOX, "/tmp"},
	{MAKE_SYNC, MAKE_AT_BOX, ""},
	{MAKE_SYNC, MAKE_AT_DOMAIN, ""},
	{MAKE_SYNC, MAKE_AT_ROOT, ""},
};

static void step_failed(struct spool_message *message, int error)
{
	spool_fail(message, error);
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}

static void dir_sync(struct spool_message *message)
{
	spool_state_set(message, SPOOL_STATE_DIR_OPEN);
	ring_openat(message->spool->ring, &message->op, message->spool->root, message->path,
		O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static void make_go(struct spool_message *message)
{
	const struct make_step *step = &make_steps[message->make_step];

	if (step->at == MAKE_AT_ROOT)
		snprintf(message->path, SPOOL_PATH_MAX, ".");
	else if (step->at == MAKE_AT_DOMAIN)
		snprintf(message->path, SPOOL_PATH_MAX, "%.*s",
			(int)(strchr(message->box, '/') - message->box), message->box);
	else
		snprintf(message->path, SPOOL_PATH_MAX, "%s%s", message->box, step->leaf);
	if (step->kind == MAKE_SYNC) {
		dir_sync(message);
		return;
	}
	spool_state_set(message, SPOOL_STATE_MAKE);
	ring_mkdirat(message->spool->ring, &message->op, message->spool->root, message->path, 0700);
}

static void make_start(struct spool_message *message, enum spool_state after)
{
	message->made = true;
	message->make_step = 0;
	message->making = true;
	message->after_make = after;
	make_go(message);
}

/* ---- commit ---- */

static void link_start(struct spool_message *message)
{
	struct spool *spool = message->spool;

	snprintf(message->path, SPOOL_PATH_MAX, "%s/new/%s", message->box, message->name);
	spool_state_set(message, SPOOL_STATE_LINK);
	ring_linkat(spool->ring, &message->op, spool->root, message->tmp_path, spool->root,
		message->path);
}

/* `current` stays at the last recipient: rolling back begins there. */
static void rename_start(struct spool_message *message)
{
	struct spool *spool = message->spool;

	spool_box_path(spool, &message->first->address, message->box);
	snprintf(message->path, SPOOL_PATH_MAX, "%s/new/%s", message->box, message->name);
	spool_state_set(message, SPOOL_STATE_RENAME);
	ring_renameat(spool->ring, &message->op, spool->root, message->tmp_path, spool->root,
		message->path);
}

/* Is the current recipient's mailbox the first one's too? */
static bool same_box_as_first(const struct spool_message *message)
{
	size_t n = strlen(message->box);

	return strncmp(message->tmp_path, message->box, n) == 0 &&
	       strncmp(message->tmp_path + n, "/tmp/", 5) == 0;
}

/* On to the next recipient; after the last one the first one's rename. */
static void next_recipient(struct spool_message *message)
{
	const struct list *end = &message->envelope->recipients;
	const struct list *node = message->current->node.next;

	message->made = false;
	for (; node != end; node = node->next) {
		message->current = container_of(node, struct smtp_recipient, node);
		spool_box_path(message->spool, &message->current->address, message->box);
		if (!same_box_as_first(message)) {
			link_start(message);
			return;
		}
	}
	rename_start(message);
}

void spool_commit_start(struct spool_message *message)
{
	ASSERT(message->fd >= 0);
	message->current = message->first;
	if (message->spool->durable) {
		spool_state_set(message, SPOOL_STATE_SYNC);
		ring_fsync(message->spool->ring, &message->op, message->fd, true);
		return;
	}
	next_recipient(message);
}

void spool_file_open(struct spool_message *message)
{
	snprintf(message->path, SPOOL_PATH_MAX, "%s", message->tmp_path);
	spool_state_set(message, SPOOL_STATE_OPEN);
	ring_openat(message->spool->ring, &message->op, message->spool->root, message->path,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

/* The name of the current recipient stands and is durable. */
static void name_done(struct spool_message *message)
{
	if (message->renamed) {
		spool_state_set(message, SPOOL_STATE_IDLE);
		spool_close_start(message);
		return;
	}
	next_recipient(message);
}

static void name_sync(struct spool_message *message)
{
	if (!message->spool->durable) {
		name_done(message);
		return;
	}
	snprintf(message->path, SPOOL_PATH_MAX, "%s/new", message->box);
	dir_sync(message);
}

/* ---- rolling back ---- */

static void unlink_start(struct spool_message *message)
{
	spool_state_set(message, SPOOL_STATE_UNLINK);
	ring_unlinkat(message->spool->ring, &message->op, message->spool->root, message->path);
}

/*
 * Removes names from the current recipient backwards; the first one's last. Only a message that was
 * being committed has more than tmp/NAME, and only then is the envelope still there.
 */
void spool_rollback(struct spool_message *message)
{
	const struct smtp_recipient *current = message->current;

	if (message->fd < 0 || message->undo_first) {
		spool_close_start(message);
		return;
	}
	if (current != NULL && current != message->first && message->owner != NULL) {
		spool_box_path(message->spool, &current->address, message->box);
		snprintf(message->path, SPOOL_PATH_MAX, "%s/new/%s", message->box, message->name);
		message->current = container_of(current->node.prev, struct smtp_recipient, node);
		unlink_start(message);
		return;
	}
	message->undo_first = true;
	if (message->renamed) {
		spool_box_path(message->spool, &message->first->address, message->box);
		snprintf(message->path, SPOOL_PATH_MAX, "%s/new/%s", message->box, message->name);
	} else {
		snprintf(message->path, SPOOL_PATH_MAX, "%s", message->tmp_path);
	}
	unlink_start(message);
}

/* ---- completions ---- */

static void open_done(struct spool_message *message, int res)
{
	if (res == -ENOENT && !message->made) {
		make_start(message, SPOOL_STATE_OPEN);
		return;
	}
	if (res < 0) {
		step_failed(message, res);
		return;
	}
	message->made = false;
	message->fd = res;
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}

static void link_done(struct spool_message *message, int res)
{
	if (res == -ENOENT && !message->made)
		make_start(message, SPOOL_STATE_LINK);
	else if (res == -EEXIST) /* two recipients, one mailbox */
		next_recipient(message);
	else if (res < 0)
		step_failed(message, res);
	else
		name_sync(message);
}

static void rename_done(struct spool_message *message, int res)
{
	if (res < 0) {
		step_failed(message, res);
		return;
	}
	message->renamed = true;
	name_sync(message);
}

/* The next step of making a mailbox, or back to what needed it. */
static void make_next(struct spool_message *message)
{
	if (message->make_step + 1u < COUNT_OF(make_steps)) {
		message->make_step++;
		if (message->spool->durable || make_steps[message->make_step].kind == MAKE_DIR) {
			make_go(message);
			return;
		}
	}
	message->making = false;
	if (message->after_make == SPOOL_STATE_OPEN)
		spool_file_open(message);
	else
		link_start(message);
}

static void dir_close_done(struct spool_message *message)
{
	if (message->error != 0) {
		message->making = false;
		spool_state_set(message, SPOOL_STATE_IDLE);
		spool_proceed(message);
	} else if (message->making) {
		make_next(message);
	} else {
		name_done(message);
	}
}

static void dir_open_done(struct spool_message *message, int res)
{
	if (res < 0) {
		message->making = false;
		step_failed(message, res);
		return;
	}
	message->dir_fd = res;
	spool_state_set(message, SPOOL_STATE_DIR_SYNC);
	ring_fsync(message->spool->ring, &message->op, message->dir_fd, false);
}

static void dir_sync_done(struct spool_message *message, int res)
{
	count(COUNTER_SPOOL_SYNCS);
	if (res < 0)
		spool_fail(message, res);
	spool_state_set(message, SPOOL_STATE_DIR_CLOSE);
	ring_close_fd(message->spool->ring, &message->op, message->dir_fd);
}

static void sync_done(struct spool_message *message, int res)
{
	count(COUNTER_SPOOL_SYNCS);
	if (res < 0)
		step_failed(message, res);
	else
		next_recipient(message);
}

static void make_done(struct spool_message *message, int res)
{
	if (res < 0 && res != -EEXIST) {
		message->making = false;
		step_failed(message, res);
		return;
	}
	make_next(message);
}

void spool_maildir_done(struct spool_message *message, int res)
{
	switch (message->state) {
	case SPOOL_STATE_OPEN:
		open_done(message, res);
		return;
	case SPOOL_STATE_MAKE:
		make_done(message, res);
		return;
	case SPOOL_STATE_SYNC:
		sync_done(message, res);
		return;
	case SPOOL_STATE_LINK:
		link_done(message, res);
		return;
	case SPOOL_STATE_RENAME:
		rename_done(message, res);
		return;
	case SPOOL_STATE_DIR_OPEN:
		dir_open_done(message, res);
		return;
	case SPOOL_STATE_DIR_SYNC:
		dir_sync_done(message, res);
		return;
	case SPOOL_STATE_DIR_CLOSE:
		dir_close_done(message);
		return;
	case SPOOL_STATE_UNLINK: /* what cannot be removed stays: the client was not answered 250 */
		spool_state_set(message, SPOOL_STATE_IDLE);
		spool_rollback(message);
		return;
	default:
		ASSERT(!"a completion of no known step");
	}
}
