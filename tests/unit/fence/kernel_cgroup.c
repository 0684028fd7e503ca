/* SPDX-License-Identifier: MIT */
/* kernel_cgroup.c -- the folder of our cgroup, out of what /proc says on different systems. */
#include <criterion/criterion.h>

#include "fence/kernel-private.h"

#define UNIFIED "25 30 0:24 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define HYBRID                                                                                     \
	"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"                      \
	"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"                     \
	"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"

static const struct {
	const char *mounts, *cgroups;
	const char *folder; /* NULL: none */
	const char *why;
} cases[] = {
	{UNIFIED, "0::/system.slice/postern.service\n",
		"/sys/fs/cgroup/system.slice/postern.service", NULL},
	{UNIFIED, "0::/\n", "/sys/fs/cgroup/", NULL},
	{HYBRID, "9:name=systemd:/x\n4:memory:/y\n0::/z\n", "/sys/fs/cgroup/unified/z", NULL},
	/* a container that sees a part of the hierarchy */
	{"50 40 0:24 /docker/1234 /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
		"0::/docker/1234/init\n", "/sys/fs/cgroup/init", NULL},
	{"50 40 0:24 /docker/1234 /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "0::/docker/1234\n",
		"/sys/fs/cgroup", NULL},
	{"50 40 0:24 /docker/12 /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "0::/docker/1234\n", NULL,
		"/docker/1234"},
	/* the second mount has it */
	{"50 40 0:24 /a /mnt/a rw - cgroup2 none rw\n" UNIFIED, "0::/b/c\n", "/sys/fs/cgroup/b/c",
		NULL},
	{"50 40 0:24 / /mnt/with\\040space rw shared:1 master:2 - cgroup2 none rw\n", "0::/a\n",
		"/mnt/with space/a", NULL},
	{"50 40 0:24 / /sys/fs/cgroup rw - tmpfs cgroup2 rw\n", "0::/\n", NULL, "mount -t cgroup2"},
	{"", "0::/a\n", NULL, "mount -t cgroup2"},
	{"50 40 0:24 / /x rw\n50 40\n\n-\n", "0::/a\n", NULL, "mount -t cgroup2"},
	{UNIFIED, "4:memory:/y\n", NULL, "no cgroup v2"},
	{UNIFIED, "", NULL, "no cgroup v2"},
};

Test(fence_kernel_cgroup, found_or_said_why_not)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char folder[PATH_MAX] = "";
		struct err err = {""};
		int res = kernel_cgroup_find(cases[i].mounts, cases[i].cgroups, folder, &err);

		cr_expect((res == 0) == (cases[i].folder != NULL), "case %zu: %s", i, err.text);
		if (cases[i].folder != NULL)
			cr_expect_str_eq(folder, cases[i].folder, "case %zu", i);
		else
			cr_expect(strstr(err.text, cases[i].why) != NULL, "case %zu: %s", i,
				err.text);
	}
}

Test(fence_kernel_cgroup, a_path_of_any_length)
{
	char cgroups[2 * PATH_MAX] = "0::/";
	char folder[PATH_MAX];
	struct err err;

	memset(cgroups + 4, 'x', PATH_MAX - 2);
	cr_expect(kernel_cgroup_find(UNIFIED, cgroups, folder, &err) != 0);
	memset(cgroups + 4, 'x', sizeof(cgroups) - 5);
	cr_expect(kernel_cgroup_find(UNIFIED, cgroups, folder, &err) != 0);
}
