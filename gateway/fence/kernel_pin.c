/* SPDX-License-Identifier: MIT */
/*
 * kernel_pin.c -- maps that outlive the gateway, as files in a folder of a bpf file system.
 *
 * Each map is judged by itself: it is taken over if its type, sizes and flags are those that we
 * would make now, and if the rules that lie beside it are of this FENCE_ABI; what is kept by source
 * besides only if a source is still the same prefix. So a new sources_max costs the sources and not
 * the lists. What is left out is said in the log. The rules' hash key is taken over with them.
 *
 * Totals and sessions go together and with the sources, and only if the programs were at work all the
 * time: a connection that ended uncounted would count for ever, and one that is counted down twice
 * would make an unsigned number very large.
 *
 * Maps that do not fit are only replaced once the new programs run (kernel_pin_maps): a start that
 * fails leaves the folder's maps as they were.
 *
 * A folder is one gateway's at a time: a second one would give the first one's links its own
 * programs, and the first one's sockets would be limited by nobody. The lock is flock(2), which goes
 * with its holder. A bpf file system lets everybody make folders in its root: one that somebody else
 * owns or may write to is not used, for its owner could take pins away.
 */
#include "fence/kernel-private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/event.h"

bool kernel_pin_path(const struct fence_kernel *kernel, const char *name, char out[PATH_MAX])
{
	return snprintf(out, PATH_MAX, "%s/%s", kernel->pin, name) < PATH_MAX;
}

static int not_bpf(const char *pin, struct err *err)
{
	return err_set(err,
		"pin: %s is not in a bpf file system: mount -t bpf bpf /sys/fs/bpf, then pin = "
		"\"/sys/fs/bpf/postern\"",
		pin);
}

/* Is it ours alone? */
static int folder_take(int fd, const char *pin, struct err *err)
{
	struct stat stat;

	if (fstat(fd, &stat) != 0)
		return err_set(err, "pin: cannot look at %s: %s", pin, strerror(errno));
	if ((stat.st_uid != geteuid() && stat.st_uid != 0) ||
		(stat.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(err,
			"pin: %s is somebody else's, or others may write to it: remove it, or give "
			"it to uid %u with mode 0700",
			pin, (unsigned)geteuid());
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return err_set(err, "pin: cannot lock %s: %s", pin,
		errno == EWOULDBLOCK ? "another gateway has it: name another folder"
				     : strerror(errno));
}

int kernel_pin_open(struct fence_kernel *kernel, const char *pin, struct err *err)
{
	bool made = mkdir(pin, 0700) == 0;
	struct statfs fs;
	int fd;

	if (snprintf(kernel->pin, PATH_MAX, "%s", pin) >= PATH_MAX)
		return err_set(err, "pin: the name is too long");
	fd = open(pin, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, "pin: cannot open %s: %s", pin, strerror(errno));
	if (fstatfs(fd, &fs) != 0 || fs.f_type != BPF_FS_MAGIC) {
		not_bpf(pin, err);
		close(fd);
		if (made)
			rmdir(pin);
		return -1;
	}
	if (folder_take(fd, pin, err) != 0) {
		close(fd);
		return -1;
	}
	kernel->pin_fd = fd;
	return 0;
}

/* NULL: fits. */
static const char *misfit(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {0};
	uint32_t n = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &n) != 0)
		return "not a map";
	if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
		info.value_size != bpf_map__value_size(map) ||
		info.map_flags != bpf_map__map_flags(map))
		return "of another layout";
	if (info.max_entries != bpf_map__max_entries(map))
		return "of another size";
	return NULL;
}

static void tell(const char *name, const char *why)
{
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "fence_pin");
	event_str(&event, "map", name);
	event_str(&event, "anew", why);
	event_close(&event);
}

/* The rules decide about all others. -1: there are none, or of another ABI. */
static int old_rules(
	const struct fence_kernel *kernel, const struct bpf_object *object, struct fence_rules *old)
{
	const char *name = kernel_maps[KERNEL_MAP_RULES].name;
	const struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	char path[PATH_MAX];
	uint32_t zero = 0;
	const char *why;
	int fd;

	if (map == NULL || !kernel_pin_path(kernel, name, path))
		return -1;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -1;
	why = misfit(fd, map);
	if (why == NULL && bpf_map_lookup_elem(fd, &zero, old) != 0)
		why = "not to be read";
	if (why == NULL && old->abi != FENCE_ABI)
		why = "of another version";
	if (why == NULL)
		return fd;
	close(fd);
	tell("all", why);
	return -1;
}

/* What the pinned rules and links say about the other maps. */
struct old {
	bool same_sources; /* a source is the same prefix */
	bool counted;      /* connections are counted down as they end */
};

/* NULL: not there. */
static struct bpf_map *pinned(const struct fence_kernel *kernel, const struct bpf_object *object,
	enum kernel_map which, int *fd)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, kernel_maps[which].name);
	char path[PATH_MAX];

	if (map == NULL || !kernel_pin_path(kernel, kernel_maps[which].name, path))
		return NULL;
	*fd = bpf_obj_get(path);
	return *fd < 0 ? NULL : map;
}

static bool pinned_fits(
	const struct fence_kernel *kernel, const struct bpf_object *object, enum kernel_map which)
{
	int fd;
	const struct bpf_map *map = pinned(kernel, object, which, &fd);
	bool fits;

	if (map == NULL)
		return false;
	fits = misfit(fd, map) == NULL;
	close(fd);
	return fits;
}

static void reuse_one(struct fence_kernel *kernel, const struct bpf_object *object,
	enum kernel_map which, const struct old *old)
{
	const char *why;
	int fd;
	struct bpf_map *map = pinned(kernel, object, which, &fd);

	if (map == NULL)
		return;
	if (kernel_maps[which].by_source && !old->same_sources)
		why = "another prefix is a source";
	else if (kernel_maps[which].counts && !old->counted)
		why = "connections were not counted down";
	else
		why = misfit(fd, map);
	if (why == NULL && bpf_map__reuse_fd(map, fd) != 0)
		why = "not taken over";
	close(fd);
	if (why != NULL)
		tell(kernel_maps[which].name, why);
	kernel->reused[which] = why == NULL;
}

void kernel_pin_reuse(struct fence_kernel *kernel, const struct bpf_object *object,
	struct fence_rules *rules, bool links_ran)
{
	struct fence_rules found;
	struct old old;
	int fd;

	if (kernel->pin_fd < 0)
		return;
	fd = old_rules(kernel, object, &found);
	if (fd < 0)
		return;
	close(fd);
	old.same_sources = found.bits_v4 == rules->bits_v4 && found.bits_v6 == rules->bits_v6;
	old.counted = links_ran && old.same_sources &&
		      pinned_fits(kernel, object, KERNEL_MAP_SOURCES) &&
		      pinned_fits(kernel, object, KERNEL_MAP_TOTALS) &&
		      pinned_fits(kernel, object, KERNEL_MAP_SESSIONS);
	for (enum kernel_map i = 0; i < KERNEL_MAPS; i++)
		if (kernel_maps[i].pinned)
			reuse_one(kernel, object, i, &old);
	memcpy(rules->hash_key, found.hash_key, sizeof(rules->hash_key));
}

int kernel_pin_maps(struct fence_kernel *kernel, struct err *err)
{
	char path[PATH_MAX];

	if (kernel->pin_fd < 0)
		return 0;
	for (enum kernel_map i = 0; i < KERNEL_MAPS; i++) {
		if (!kernel_maps[i].pinned || kernel->reused[i])
			continue;
		if (!kernel_pin_path(kernel, kernel_maps[i].name, path))
			return err_set(err, "pin: the name is too long");
		(void)unlink(path);
		if (bpf_obj_pin(kernel->maps[i], path) != 0)
			return err_set(err, "pin: cannot make %s: %s", path, strerror(errno));
	}
	return 0;
}

/* The folder itself, too, if nothing of others is in it. */
void kernel_pin_remove(struct fence_kernel *kernel)
{
	char path[PATH_MAX];

	if (kernel->pin_fd < 0)
		return;
	for (enum kernel_map i = 0; i < KERNEL_MAPS; i++)
		if (kernel_maps[i].pinned && kernel_pin_path(kernel, kernel_maps[i].name, path))
			(void)unlink(path);
	(void)rmdir(kernel->pin);
}
