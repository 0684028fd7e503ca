/* SPDX-License-Identifier: MIT */
/*
 * store.c -- the spool's directory: made, locked, taken apart again; and the names in it.
 *
 * The parent calls store_open() once, maybe as root, and never looks into a segment. What it makes
 * belongs to the child's user; what it finds it does not give away: a directory that somebody else
 * owns is refused, since a slip in the configuration would else hand over /var. Below the directory
 * names are opened relative to it and without following links.
 *
 * The lock is flock(2): it goes with its last holder however that ends, which a pid in a file does
 * not. The pid is there to be read by people.
 */
#include "spool/store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define PID_MAX      16 /* as text */

/* Whom the files are for. */
struct owner {
	bool privileged;
	uint32_t uid;
	uint32_t gid;
};

/* ---- names ---- */

void store_segment_name(uint64_t seq, char name[STORE_NAME_MAX])
{
	spool_id_text(seq, name);
	memcpy(name + strlen(name), ".seg", sizeof(".seg"));
}

void store_shard_name(uint32_t number, char name[STORE_NAME_MAX])
{
	ASSERT(number < STORE_SHARDS_MAX);
	(void)snprintf(name, STORE_NAME_MAX, "%03u", number);
}

bool store_segment_parse(const char *name, uint64_t *seq)
{
	char digits[STORE_NAME_MAX], again[STORE_NAME_MAX];
	size_t n = strlen(name);

	if (n >= sizeof(digits) || n < sizeof(".seg"))
		return false;
	memcpy(digits, name, n - 4);
	digits[n - 4] = '\0';
	if (!spool_id_parse(digits, seq))
		return false;
	store_segment_name(*seq, again);
	return strcmp(name, again) == 0;
}

bool store_shard_parse(const char *name, uint32_t *number)
{
	*number = 0;
	for (size_t i = 0; i < 3; i++) {
		if (name[i] < '0' || name[i] > '9')
			return false;
		*number = *number * 10 + (uint32_t)(name[i] - '0');
	}
	return name[3] == '\0';
}

/* ---- opening ---- */

static int give(int fd, const struct owner *owner)
{
	if (!owner->privileged || fchown(fd, owner->uid, owner->gid) == 0)
		return 0;
	return -errno;
}

/* A directory below DIR, its descriptor or -errno. Only what is made here changes its owner. */
static int folder_open(int dir, const char *name, const struct owner *owner)
{
	bool made = mkdirat(dir, name, 0700) == 0;
	int fd, error;

	if (!made && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, FOLDER_FLAGS | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	error = made ? give(fd, owner) : 0;
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

/* What was made lasts only once the folder that holds its name is synced. One that may not be read
 * is left to the kernel. */
static int above_sync(const struct store *store)
{
	int fd = openat(store->dir, "..", FOLDER_FLAGS);
	int error;

	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	error = fsync(fd) != 0 ? -errno : 0;
	close(fd);
	return error;
}

/* DIR itself. It may be a link, but not instead of the folder that was made just now. */
static int directory_open(struct store *store, const struct owner *owner, struct err *err)
{
	const char *path = store->settings->directory;
	bool made = mkdir(path, 0700) == 0;
	struct stat st;
	int error;

	if (!made && errno != EEXIST)
		return err_set(err, "spool: cannot make %s: %s", path, strerror(errno));
	store->dir = open(path, FOLDER_FLAGS | (made ? O_NOFOLLOW : 0));
	if (store->dir < 0 || fstat(store->dir, &st) != 0)
		return err_set(err, "spool: cannot open %s: %s", path, strerror(errno));
	error = made ? give(store->dir, owner) : 0;
	if (error != 0)
		return err_set(
			err, "spool: cannot give %s to its user: %s", path, strerror(-error));
	error = made ? above_sync(store) : 0;
	if (error != 0)
		return err_set(err, "spool: cannot sync the folder that %s is in: %s", path,
			strerror(-error));
	if (!made && owner->privileged && st.st_uid != owner->uid)
		return err_set(err,
			"spool: %s belongs to user %u and the gateway runs as user %u: give it to "
			"that user (chown -R), or name another directory",
			path, (unsigned)st.st_uid, (unsigned)owner->uid);
	return 0;
}

static int lock_held(const struct store *store, struct err *err)
{
	char pid[PID_MAX + 1] = "";
	ssize_t n = pread(store->lock, pid, PID_MAX, 0);

	pid[n > 0 ? n : 0] = '\0';
	pid[strspn(pid, "0123456789")] = '\0';
	return err_set(err, "spool: %s is in use by pid %s (flock on lock)",
		store->settings->directory, pid[0] != '\0' ? pid : "unknown");
}

/* Makes it, or opens the one that is there, which must be ours alone: the child's user could have
 * put a second name of another file in its place, and we may be root. */
static int lock_open(struct store *store, const struct owner *owner, struct err *err)
{
	const char *path = store->settings->directory;
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	struct stat st;
	int error = 0;

	store->lock = openat(store->dir, "lock", flags | O_CREAT | O_EXCL, 0600);
	if (store->lock >= 0)
		error = give(store->lock, owner);
	else if (errno == EEXIST)
		store->lock = openat(store->dir, "lock", flags);
	if (error == 0 && (store->lock < 0 || fstat(store->lock, &st) != 0))
		error = -errno;
	if (error != 0)
		return err_set(err, "spool: cannot open %s/lock: %s", path, strerror(-error));
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(err,
			"spool: %s/lock is no plain file with one name: remove it while no gateway "
			"runs",
			path);
	return 0;
}

static int lock_take(struct store *store, const struct owner *owner, struct err *err)
{
	const char *path = store->settings->directory;
	char pid[PID_MAX];
	int n;

	if (lock_open(store, owner, err) != 0)
		return -1;
	if (flock(store->lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			return lock_held(store, err);
		return err_set(err, "spool: cannot lock %s/lock: %s", path, strerror(errno));
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(store->lock, 0) != 0 || pwrite(store->lock, pid, (size_t)n, 0) != n)
		return err_set(err, "spool: cannot write %s/lock: %s", path, strerror(errno));
	return 0;
}

static int store_fill(struct store *store, const struct owner *owner, struct err *err)
{
	const char *path = store->settings->directory;

	if (directory_open(store, owner, err) != 0 || lock_take(store, owner, err) != 0)
		return -1;
	store->large = folder_open(store->dir, "large", owner);
	if (store->large < 0)
		return err_set(err, "spool: %s/large: %s", path, strerror(-store->large));
	store->aside = folder_open(store->dir, "aside", owner);
	if (store->aside < 0)
		return err_set(err, "spool: %s/aside: %s", path, strerror(-store->aside));
	if (fsync(store->dir) != 0)
		return err_set(err, "spool: cannot sync %s: %s", path, strerror(errno));
	return 0;
}

int store_open(struct store **out, const struct spool_settings *settings, bool privileged,
	uint32_t uid, uint32_t gid, struct err *err)
{
	struct owner owner = {privileged, uid, gid};
	struct store *store = calloc(1, sizeof(*store));

	*out = NULL;
	if (store == NULL)
		return err_set(err, "spool: out of memory");
	store->settings = settings;
	store->dir = store->large = store->aside = store->lock = -1;
	store->shards = calloc(STORE_SHARDS_MAX, sizeof(struct spool_shard *));
	if (store->shards == NULL)
		(void)err_set(err, "spool: out of memory");
	if (store->shards == NULL || store_fill(store, &owner, err) != 0) {
		store_close(store);
		return -1;
	}
	*out = store;
	return 0;
}

/* ---- shards ---- */

int store_shard_open(struct store *store, uint32_t number, struct spool_shard **out)
{
	static const struct owner nobody = {0};
	char name[STORE_NAME_MAX];
	struct spool_shard *shard;

	ASSERT(number < STORE_SHARDS_MAX);
	*out = store->shards[number];
	if (*out != NULL)
		return 0;
	shard = calloc(1, sizeof(*shard));
	if (shard == NULL)
		return -ENOMEM;
	store_shard_name(number, name);
	shard->number = number;
	shard->dir = folder_open(store->dir, name, &nobody);
	if (shard->dir < 0 || fsync(store->dir) != 0) {
		int error = shard->dir < 0 ? shard->dir : -errno;

		if (shard->dir >= 0)
			close(shard->dir);
		free(shard);
		return error;
	}
	list_init(&shard->segments);
	list_init(&shard->items);
	store->shards[number] = shard;
	if (store->shards_n <= number)
		store->shards_n = number + 1;
	*out = shard;
	return 0;
}

void store_segment_free(struct spool_segment *segment)
{
	if (segment->direct >= 0)
		close(segment->direct);
	if (segment->fd >= 0)
		close(segment->fd);
	free(segment);
}

static void shard_free(struct spool_shard *shard)
{
	while (!list_empty(&shard->items)) {
		struct list *node = list_pop_front(&shard->items);
		struct spool_entry *entry = container_of(node, struct spool_entry, node);

		spool_item_free(container_of(entry, struct spool_item, entry));
	}
	while (!list_empty(&shard->segments)) {
		struct list *node = list_pop_front(&shard->segments);

		store_segment_free(container_of(node, struct spool_segment, node));
	}
	if (shard->dir >= 0)
		close(shard->dir);
	free(shard);
}

void store_forget(struct store *store)
{
	for (uint32_t i = 0; i < store->shards_n; i++) {
		if (store->shards[i] != NULL)
			shard_free(store->shards[i]);
		store->shards[i] = NULL;
	}
	store->shards_n = 0;
}

void store_close(struct store *store)
{
	const int fds[] = {store->large, store->aside, store->lock, store->dir};

	if (store->shards != NULL)
		store_forget(store);
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(store->shards);
	free(store);
}

int store_directory(const struct store *store)
{
	return store->dir;
}
