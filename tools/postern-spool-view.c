/* SPDX-License-Identifier: MIT */
/*
 * postern-spool-view.c -- reads a store as the recovery would, and leaves it as it is.
 *
 * The rules are those of format.h and recover.c: later records change what earlier ones said, what
 * is not sound is passed over. Here it is only written down. Files that vanish between the look at a
 * folder and their opening were finished with by a gateway that runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/postern-spool.h"

#define READ_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

/* A folder's numbers: shards, or segments of one. */
struct numbers {
	uint64_t *list;
	size_t n, room;
};

/* The shard that is read. */
struct reading {
	struct view *view;
	uint32_t shard;
	uint64_t seq;
	uint64_t last_seq; /* the newest segment with records */
	void *tree;        /* items by id */
	int error;
	char file[3 * STORE_NAME_MAX];
};

/* More room in a list of items of `size` octets. */
static void *grow(void *list, size_t *room, size_t size)
{
	size_t wanted = *room * 2 + 64;
	void *more = reallocarray(list, wanted, size);

	if (more != NULL)
		*room = wanted;
	return more;
}

static int number_add(struct numbers *numbers, uint64_t number)
{
	if (numbers->n == numbers->room) {
		uint64_t *list = grow(numbers->list, &numbers->room, sizeof(*list));

		if (list == NULL)
			return -ENOMEM;
		numbers->list = list;
	}
	numbers->list[numbers->n++] = number;
	return 0;
}

static int number_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void numbers_sort(struct numbers *numbers)
{
	if (numbers->n > 0)
		qsort(numbers->list, numbers->n, sizeof(*numbers->list), number_order);
}

static int item_order(const void *a, const void *b)
{
	const struct spool_item *x = a, *y = b;

	return (x->entry.id > y->entry.id) - (x->entry.id < y->entry.id);
}

/* ---- damage ---- */

static int damage_add(struct view *view, const struct view_damage *damage)
{
	if (view->damages_n == view->damages_room) {
		struct view_damage *list = grow(view->damages, &view->damages_room, sizeof(*list));

		if (list == NULL)
			return -ENOMEM;
		view->damages = list;
	}
	view->damages[view->damages_n++] = *damage;
	return 0;
}

static void damaged(struct reading *reading, uint64_t offset, uint64_t n, uint64_t id,
	const char *what, bool tail)
{
	struct view_damage damage = {
		.offset = offset,
		.n = n,
		.id = id,
		.what = what,
		.tail = tail,
		.shard = reading->shard,
		.seq = reading->seq,
	};

	memcpy(damage.file, reading->file, sizeof(damage.file));
	if (damage_add(reading->view, &damage) != 0)
		reading->error = -ENOMEM;
}

static void visit_damage(void *ctx, uint64_t offset, uint64_t n, uint64_t id, bool tail)
{
	damaged(ctx, offset, n, id,
		id != 0 ? "the payload's checksum is wrong, or its end is missing"
			: "no sound record header",
		tail);
}

/* ---- records ---- */

static struct spool_item **tree_find(struct reading *reading, uint64_t id)
{
	struct spool_item key = {.entry.id = id};

	return tfind(&key, &reading->tree, item_order);
}

static void tree_remove(struct reading *reading, uint64_t id)
{
	struct spool_item **place = tree_find(reading, id);
	struct spool_item *item;

	if (place == NULL)
		return;
	item = *place;
	(void)tdelete(item, &reading->tree, item_order);
	free(item->segment);
	spool_item_free(item);
}

/* The item's segment is a stand-in that only knows its SEQ. */
static int take_message(struct reading *reading, const struct spool_record *record,
	struct span meta, uint64_t offset)
{
	struct spool_item **old = tree_find(reading, record->id);
	struct spool_item *item;
	int error = spool_meta_read(&item, record, meta);

	if (error != 0)
		return error;
	item->offset = offset;
	item->segment = calloc(1, sizeof(*item->segment));
	if (item->segment == NULL) {
		spool_item_free(item);
		return -ENOMEM;
	}
	item->segment->seq = reading->seq;
	for (uint32_t i = 0; old != NULL && i < item->entry.recipients_n; i++) {
		struct spool_entry *entry = &item->entry;
		uint8_t fate = i < (*old)->entry.recipients_n ? (*old)->entry.recipients[i].fate
							      : (uint8_t)SPOOL_FATE_PENDING;

		if (fate == SPOOL_FATE_PENDING)
			continue;
		entry->pending_n -= entry->recipients[i].fate == SPOOL_FATE_PENDING;
		entry->recipients[i].fate = fate;
	}
	tree_remove(reading, record->id);
	if (tsearch(item, &reading->tree, item_order) != NULL)
		return 0;
	free(item->segment);
	spool_item_free(item);
	return -ENOMEM;
}

static int take(struct reading *reading, const struct spool_record *record, struct span meta,
	uint64_t offset)
{
	struct spool_item **place;

	if (record->type == SPOOL_RECORD_MESSAGE)
		return take_message(reading, record, meta, offset);
	place = tree_find(reading, record->id);
	if (place == NULL)
		return 0;
	if (record->type == SPOOL_RECORD_ATTEMPT)
		return spool_attempt_meta_read(*place, record, meta);
	tree_remove(reading, record->id);
	return 0;
}

static bool visit_record(
	void *ctx, const struct spool_record *record, struct span meta, uint64_t offset)
{
	struct reading *reading = ctx;
	int error = take(reading, record, meta, offset);

	reading->view->records++;
	reading->last_seq = reading->seq;
	if (error == -EBADMSG)
		damaged(reading, offset, spool_record_bytes(record), record->id,
			"the checksum is good, but the meta part makes no sense", false);
	else if (error != 0)
		reading->error = error;
	return reading->error == 0;
}

/* ---- segments ---- */

static bool is_blank(int fd, uint64_t size)
{
	uint8_t piece[65536];
	ssize_t n = 1;

	if (size < SPOOL_SEGMENT_HEADER)
		return true;
	for (off_t at = 0; n > 0; at += n) {
		n = pread(fd, piece, sizeof(piece), at);
		for (ssize_t i = 0; i < n; i++)
			if (piece[i] != 0)
				return false;
	}
	return n == 0;
}

static int segment_fail(const struct reading *reading, const char *why, struct err *err)
{
	return err_set(err, "%s/%s: %s", reading->view->directory, reading->file, why);
}

static int segment_scan(struct reading *reading, int fd, uint64_t size, struct err *err)
{
	struct spool_scan_visit visit = {reading, visit_record, visit_damage};
	struct spool_segment_header header;
	uint64_t end, batch;
	uint8_t bytes[SPOOL_SEGMENT_HEADER];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
	int error = n < 0 ? -errno : spool_segment_header_read(span_of(bytes, (size_t)n), &header);

	if (error == -ENOTSUP)
		return err_set(err, "%s/%s has format %u, this postern-spool reads up to %u",
			reading->view->directory, reading->file, (unsigned)header.version,
			(unsigned)SPOOL_FORMAT_VERSION);
	if ((error == -EINVAL || error == -EBADMSG) && is_blank(fd, size)) {
		reading->view->blank++;
		return 0;
	}
	if (error == -EINVAL || error == -EBADMSG) {
		damaged(reading, 0, size, 0, "no sound segment header", false);
		return reading->error == 0 ? 0 : segment_fail(reading, "out of memory", err);
	}
	if (error != 0)
		return segment_fail(reading, strerror(-error), err);
	if (header.seq != reading->seq || header.shard != reading->shard) {
		damaged(reading, 0, size, 0, "its header was written for a file of another name",
			false);
		return reading->error == 0 ? 0 : segment_fail(reading, "out of memory", err);
	}
	error = spool_scan(fd, &visit, &header, &end, &batch);
	if (error == 0)
		error = reading->error;
	reading->view->octets += end;
	return error == 0 ? 0 : segment_fail(reading, strerror(-error), err);
}

static int segment_read(struct reading *reading, uint64_t seq, struct err *err)
{
	char shard[STORE_NAME_MAX], segment[STORE_NAME_MAX];
	struct stat st;
	int fd, res;

	reading->seq = seq;
	store_shard_name(reading->shard, shard);
	store_segment_name(seq, segment);
	(void)snprintf(reading->file, sizeof(reading->file), "%s/%s", shard, segment);
	fd = openat(reading->view->dir, reading->file, READ_FLAGS);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return segment_fail(reading, strerror(errno), err);
	reading->view->segments++;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		res = segment_fail(reading, "not a file", err);
	else
		res = segment_scan(reading, fd, (uint64_t)st.st_size, err);
	close(fd);
	return res;
}

/* ---- messages ---- */

static enum view_state state_of(const struct view *view, const struct spool_entry *entry)
{
	char name[SPOOL_ID_MAX];
	struct stat st;

	spool_id_text(entry->id, name);
	if (entry->pending_n == 0)
		return VIEW_STATE_DONE;
	if (entry->large &&
		(view->large < 0 || fstatat(view->large, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode) || (uint64_t)st.st_size != entry->size))
		return VIEW_STATE_NO_FILE;
	if (entry->held)
		return VIEW_STATE_HELD;
	return entry->due_real_s > view->now_s ? VIEW_STATE_DEFERRED : VIEW_STATE_DUE;
}

/* Takes over the item. */
static int message_add(struct reading *reading, struct spool_item *item)
{
	struct view *view = reading->view;
	struct view_damage damage = {
		.id = item->entry.id, .what = "the large file is missing or has another size"};
	char name[SPOOL_ID_MAX];

	if (view->messages_n == view->messages_room) {
		struct view_message *list =
			grow(view->messages, &view->messages_room, sizeof(*list));

		if (list == NULL) {
			free(item->segment);
			spool_item_free(item);
			return -ENOMEM;
		}
		view->messages = list;
	}
	view->messages[view->messages_n++] = (struct view_message){
		item, reading->shard, item->segment->seq, state_of(view, &item->entry)};
	free(item->segment);
	item->segment = NULL;
	if (view->messages[view->messages_n - 1].state != VIEW_STATE_NO_FILE)
		return 0;
	spool_id_text(item->entry.id, name);
	(void)snprintf(damage.file, sizeof(damage.file), "large/%s", name);
	damage.n = item->entry.size;
	return damage_add(view, &damage);
}

static int segment_name(void *ctx, const char *name)
{
	uint64_t seq;

	return store_segment_parse(name, &seq) ? number_add(ctx, seq) : 0;
}

static int shard_segments(struct reading *reading, struct numbers *seqs, struct err *err)
{
	char name[STORE_NAME_MAX];
	int dir, error;

	store_shard_name(reading->shard, name);
	dir = openat(reading->view->dir, name, READ_FLAGS | O_DIRECTORY);
	error = dir < 0 ? -errno : store_names(dir, segment_name, seqs);
	if (dir >= 0)
		close(dir);
	numbers_sort(seqs);
	if (error == 0)
		return 0;
	return err_set(err, "%s/%s: %s", reading->view->directory, name, strerror(-error));
}

static int shard_read(struct view *view, uint32_t shard, struct err *err)
{
	struct reading reading = {.view = view, .shard = shard};
	struct numbers seqs = {.n = 0};
	size_t damages_before = view->damages_n;
	int res = shard_segments(&reading, &seqs, err);

	for (size_t i = 0; i < seqs.n && res == 0; i++)
		res = segment_read(&reading, seqs.list[i], err);
	for (size_t i = damages_before; i < view->damages_n; i++)
		if (view->damages[i].seq < reading.last_seq)
			view->damages[i].tail = false;
	while (reading.tree != NULL) {
		struct spool_item *item = *(struct spool_item **)reading.tree;

		(void)tdelete(item, &reading.tree, item_order);
		if (message_add(&reading, item) != 0 && res == 0)
			res = err_set(err, "out of memory");
	}
	view->shards++;
	free(seqs.list);
	return res;
}

/* ---- the store ---- */

static int shard_name(void *ctx, const char *name)
{
	uint32_t number;

	return store_shard_parse(name, &number) ? number_add(ctx, number) : 0;
}

static int message_order(const void *a, const void *b)
{
	const struct view_message *x = a, *y = b;

	return item_order(x->item, y->item);
}

static int large_name(void *ctx, const char *name)
{
	struct view *view = ctx;
	const struct view_message *message;
	uint64_t id;

	if (!spool_id_parse(name, &id))
		return 0;
	view->large_files++;
	message = view_find(view, id);
	if (message == NULL || !message->item->entry.large)
		view->orphans++;
	return 0;
}

/* Who holds the lock, by /proc/locks: to ask flock(2) would be to take it. */
static long lock_holder(int dir)
{
	struct stat st;
	FILE *locks;
	char line[256];
	long holder = 0;

	if (fstatat(dir, "lock", &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	locks = fopen("/proc/locks", "re");
	while (locks != NULL && holder == 0 && fgets(line, sizeof(line), locks) != NULL) {
		unsigned major_number, minor_number;
		unsigned long long inode;
		long pid;

		if (sscanf(line, "%*u: FLOCK ADVISORY WRITE %ld %x:%x:%llu", &pid, &major_number,
			    &minor_number, &inode) != 4)
			continue;
		if (inode == st.st_ino && major(st.st_dev) == major_number &&
			minor(st.st_dev) == minor_number)
			holder = pid;
	}
	if (locks != NULL)
		fclose(locks);
	return holder;
}

int view_open(struct view *view, const char *directory, struct err *err)
{
	struct numbers shards = {.n = 0};
	int error, res = 0;

	*view = (struct view){.directory = directory, .large = -1};
	view->now_s = clock_real_us() / 1000000;
	view->dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (view->dir < 0)
		return err_set(err, "%s: %s", directory, strerror(errno));
	view->held_by = lock_holder(view->dir);
	view->large = openat(view->dir, "large", READ_FLAGS | O_DIRECTORY);
	if (view->large < 0)
		return err_set(err, "%s/large: %s%s", directory, strerror(errno),
			errno == ENOENT ? ": is this a spool?" : "");
	error = store_names(view->dir, shard_name, &shards);
	if (error != 0)
		res = err_set(err, "%s: %s", directory, strerror(-error));
	numbers_sort(&shards);
	for (size_t i = 0; i < shards.n && res == 0; i++)
		res = shard_read(view, (uint32_t)shards.list[i], err);
	free(shards.list);
	if (view->messages_n > 0)
		qsort(view->messages, view->messages_n, sizeof(*view->messages), message_order);
	error = res == 0 ? store_names(view->large, large_name, view) : 0;
	if (error != 0)
		res = err_set(err, "%s/large: %s", directory, strerror(-error));
	return res;
}

void view_close(struct view *view)
{
	for (size_t i = 0; i < view->messages_n; i++)
		spool_item_free(view->messages[i].item);
	free(view->messages);
	free(view->damages);
	if (view->large >= 0)
		close(view->large);
	if (view->dir >= 0)
		close(view->dir);
}

const struct view_message *view_find(const struct view *view, uint64_t id)
{
	struct spool_item item = {.entry.id = id};
	struct view_message key = {.item = &item};

	if (view->messages_n == 0)
		return NULL;
	return bsearch(
		&key, view->messages, view->messages_n, sizeof(*view->messages), message_order);
}

int view_body(const struct view *view, const struct view_message *message, uint64_t *offset)
{
	const struct spool_item *item = message->item;
	char shard[STORE_NAME_MAX], name[STORE_NAME_MAX], path[3 * STORE_NAME_MAX];
	int fd;

	if (item->entry.large) {
		spool_id_text(item->entry.id, name);
		*offset = 0;
		fd = openat(view->large, name, READ_FLAGS);
		return fd < 0 ? -errno : fd;
	}
	store_shard_name(message->shard, shard);
	store_segment_name(message->seq, name);
	(void)snprintf(path, sizeof(path), "%s/%s", shard, name);
	*offset = item->offset + SPOOL_RECORD_HEADER + item->meta_n;
	fd = openat(view->dir, path, READ_FLAGS);
	return fd < 0 ? -errno : fd;
}
