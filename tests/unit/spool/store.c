/* SPDX-License-Identifier: MIT */
/* store.c -- the directory: made, owned, locked; its names. */
#include "image.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store *store;
static struct err err;

static struct stat stat_of(const char *path)
{
	struct stat st;
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", image_dir, path);
	cr_assert_eq(stat(whole, &st), 0, "%s: %s", whole, strerror(errno));
	return st;
}

/* image_dir is one level up, so that the store itself is not there yet. */
static void in_a_fresh_place(void)
{
	static char path[128];

	image_store_make();
	snprintf(path, sizeof(path), "%s/spool", image_dir);
	image_settings.directory = path;
}

Test(store, is_made, .init = in_a_fresh_place, .fini = image_store_remove)
{
	static const char *const folders[] = {"spool", "spool/large", "spool/aside"};
	char pid[32];

	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), 0, "%s", err.text);
	for (size_t i = 0; i < COUNT_OF(folders); i++)
		cr_assert_eq(stat_of(folders[i]).st_mode, S_IFDIR | 0700);
	cr_assert_eq(stat_of("spool/lock").st_mode, S_IFREG | 0600);
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	cr_assert_str_eq((const char *)image_read("spool/lock").p, pid);
	store_close(store);
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), 0, "and found again");
	store_close(store);
}

Test(store, is_given_to_the_childs_user, .init = in_a_fresh_place, .fini = image_store_remove)
{
	static const char *const names[] = {"spool", "spool/large", "spool/aside", "spool/lock"};

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(store_open(&store, &image_settings, true, 65534, 65533, &err), 0);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		cr_assert_eq(stat_of(names[i]).st_uid, 65534, "%s", names[i]);
		cr_assert_eq(stat_of(names[i]).st_gid, 65533, "%s", names[i]);
	}
	store_close(store);
	cr_assert_eq(store_open(&store, &image_settings, true, 65534, 65533, &err), 0);
	store_close(store);
	cr_assert_eq(store_open(&store, &image_settings, true, 1234, 1234, &err), -1);
	cr_assert_str_eq(strstr(err.text, "belongs to"),
		"belongs to user 65534 and the gateway runs as user 1234: give it to that user "
		"(chown -R), or name another directory");
	cr_assert_eq(stat_of("spool").st_uid, 65534, "what was found is not given away");
}

/* The child's user makes what comes later, also below a folder that it cannot enter. */
Test(store, works_for_the_childs_user, .init = in_a_fresh_place, .fini = image_store_remove)
{
	struct store_found found;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(store_open(&store, &image_settings, true, 65534, 65533, &err), 0);
	pid = fork();
	if (pid == 0) {
		bool right = setgid(65533) == 0 && setuid(65534) == 0 &&
			     store_recover(store, 2, &found, &err) == 0;

		_exit(right ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert_eq(stat_of("spool/001").st_uid, 65534);
	cr_assert_eq(stat_of("spool/001").st_mode, S_IFDIR | 0700);
	store_close(store);
}

Test(store, one_gateway_at_a_time, .init = image_store_make, .fini = image_store_remove)
{
	char expected[160];
	pid_t holder = image_holder();

	snprintf(expected, sizeof(expected), "spool: %s is in use by pid %d (flock on lock)",
		image_dir, (int)holder);
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), -1);
	cr_assert_str_eq(err.text, expected);
	cr_assert_null(store);
	image_holder_end(holder);
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), 0, "%s", err.text);
	store_close(store);
}

/* What stands there as `lock` may be another file's second name, put there by the child's user. */
Test(store, writes_into_no_file_of_others, .init = image_store_make, .fini = image_store_remove)
{
	char victim[128], lock[128], octets[8] = "";
	int fd;

	snprintf(victim, sizeof(victim), "%s/victim", image_dir);
	snprintf(lock, sizeof(lock), "%s/lock", image_dir);
	fd = open(victim, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && write(fd, "secret", 6) == 6);
	(void)unlink(lock);
	cr_assert_eq(link(victim, lock), 0);
	cr_expect_eq(store_open(&store, &image_settings, false, 0, 0, &err), -1);
	cr_expect_not_null(strstr(err.text, "lock is no plain file"), "%s", err.text);
	cr_expect(pread(fd, octets, 7, 0) == 6 && strcmp(octets, "secret") == 0);
	close(fd);
}

/* The parent's lock stays while a child lives, and a text in the file means nothing by itself. */
Test(store, the_lock_goes_with_its_last_holder, .init = image_store_make,
	.fini = image_store_remove)
{
	int pipes[2], status;
	struct store *second;
	pid_t pid;
	char c;

	image_write("lock", span_str("4711\n"));
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), 0, "%s", err.text);
	cr_assert_eq(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		close(pipes[1]);
		(void)!read(pipes[0], &c, 1);
		_exit(0);
	}
	store_close(store);
	cr_assert_eq(store_open(&second, &image_settings, false, 0, 0, &err), -1);
	close(pipes[1]);
	close(pipes[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(store_open(&second, &image_settings, false, 0, 0, &err), 0, "%s", err.text);
	store_close(second);
}

Test(store, places_that_will_not_do, .init = in_a_fresh_place, .fini = image_store_remove)
{
	static const struct {
		const char *directory, *says;
	} rows[] = {
		{"/dev/null", "spool: cannot open /dev/null: Not a directory"},
		{"/nowhere/spool", "spool: cannot make /nowhere/spool: No such file or directory"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		image_settings.directory = rows[i].directory;
		cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), -1);
		cr_assert_str_eq(err.text, rows[i].says);
	}
	image_settings.directory = image_dir;
	image_write("large", span_str("a file"));
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), -1);
	cr_assert(strstr(err.text, "/large: Not a directory") != NULL, "%s", err.text);
}

Test(store, links_are_not_followed, .init = image_store_make, .fini = image_store_remove)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/lock", image_dir);
	cr_assert_eq(symlink("elsewhere", path), 0);
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), -1);
	cr_assert(!image_exists("elsewhere"));
	cr_assert_eq(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/aside", image_dir);
	cr_assert_eq(symlink("large", path), 0);
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), -1);
}

Test(store, names)
{
	static const struct {
		const char *name;
		bool segment, shard;
		uint64_t number;
	} rows[] = {
		{"0123456789ABCDEF.seg", true, false, 0x0123456789abcdef},
		{"0000000000000001.seg", true, false, 1},
		{"0000000000000001.sex", false, false, 0},
		{"0000000000000001.seg.gz", false, false, 0},
		{"000000000000000a.seg", false, false, 0},
		{"1.seg", false, false, 0},
		{".seg", false, false, 0},
		{"", false, false, 0},
		{"000", false, true, 0},
		{"999", false, true, 999},
		{"1000", false, false, 0},
		{"0a0", false, false, 0},
		{"00", false, false, 0},
	};
	char name[STORE_NAME_MAX];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		uint64_t seq = 0;
		uint32_t number = 0;

		cr_assert_eq(store_segment_parse(rows[i].name, &seq), rows[i].segment, "%s",
			rows[i].name);
		cr_assert_eq(store_shard_parse(rows[i].name, &number), rows[i].shard, "%s",
			rows[i].name);
		if (rows[i].segment) {
			cr_assert_eq(seq, rows[i].number);
			store_segment_name(seq, name);
			cr_assert_str_eq(name, rows[i].name);
		}
		if (rows[i].shard) {
			cr_assert_eq(number, rows[i].number);
			store_shard_name(number, name);
			cr_assert_str_eq(name, rows[i].name);
		}
	}
}

Test(store, shards, .init = image_store_make, .fini = image_store_remove)
{
	struct spool_shard *shard, *again;

	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), 0);
	cr_assert_eq(store_shard_open(store, 42, &shard), 0);
	cr_assert_eq(store_shard_open(store, 42, &again), 0);
	cr_assert_eq(shard, again);
	cr_assert_eq(shard->number, 42);
	cr_assert(shard->dir >= 0 && list_empty(&shard->segments) && list_empty(&shard->items));
	cr_assert_eq(store->shards_n, 43);
	cr_assert_null(store->shards[41]);
	cr_assert_eq(stat_of("042").st_mode, S_IFDIR | 0700);
	image_write("007", span_str("no folder"));
	cr_assert_eq(store_shard_open(store, 7, &shard), -ENOTDIR);
	store_close(store);
}
