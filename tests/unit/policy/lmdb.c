/* SPDX-License-Identifier: MIT */
/* Unit tests of policy/lmdb.c and of policy.c with it. A process of its own writes, as LMDB wants
 * it: an environment is open once in a process. */
#include <criterion/criterion.h>
#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/counter.h"
#include "policy/lmdb-private.h"
#include "policy/policy.h"

static char folder[64];
static char path[96];

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/postern-lmdb-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/list", folder);
	cr_assert_eq(mkdir(path, 0700), 0);
}

static void drop_folder(void)
{
	static const char *const names[] = {"list/data.mdb", "list/lock.mdb", "list",
		"new/data.mdb", "new/lock.mdb", "new", "old/data.mdb", "old/lock.mdb", "old",
		"file", "file-lock", ""};
	char name[96];

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
		remove(name);
	}
}

TestSuite(lmdb, .init = make_folder, .fini = drop_folder, .timeout = 60);

/* What the writing process does: puts keys ("-" in front: deletes), then `more` numbered ones. */
static int write_all(const char *where, unsigned flags, const char *const *keys, int more)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val value = {0, NULL};
	int rc = mdb_env_create(&env);

	rc = rc ? rc : mdb_env_set_mapsize(env, 256u << 20);
	rc = rc ? rc : mdb_env_open(env, where, flags, 0600);
	rc = rc ? rc : mdb_txn_begin(env, NULL, 0, &txn);
	rc = rc ? rc : mdb_dbi_open(txn, NULL, 0, &dbi);
	for (; rc == 0 && *keys; keys++) {
		bool drop = **keys == '-';
		MDB_val key = {strlen(*keys + drop), (void *)(uintptr_t)(*keys + drop)};

		rc = drop ? mdb_del(txn, dbi, &key, NULL) : mdb_put(txn, dbi, &key, &value, 0);
	}
	for (int i = 0; rc == 0 && i < more; i++) {
		char name[64];
		MDB_val key = {(size_t)snprintf(name, sizeof(name), "u%d@example.org", i), name};

		rc = mdb_put(txn, dbi, &key, &value, 0);
	}
	rc = rc ? rc : mdb_txn_commit(txn);
	mdb_env_close(env);
	return rc;
}

static void write_in_child(const char *where, unsigned flags, const char *const *keys, int more)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(write_all(where, flags, keys, more) == 0 ? 0 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct lmdb *open_good(const char *where)
{
	struct lmdb *lmdb = NULL;
	struct err err = {""};

	cr_assert_eq(lmdb_open(&lmdb, where, &err), 0, "%s", err.text);
	return lmdb;
}

static int has(struct lmdb *lmdb, const char *key)
{
	return lmdb_has(lmdb, span_str(key));
}

Test(lmdb, keys)
{
	struct lmdb *lmdb;
	char longest[600];

	memset(longest, 'a', sizeof(longest));
	write_in_child(path, 0, KEYS("a@example.org", "@other.example"), 0);
	lmdb = open_good(path);
	cr_expect_eq(has(lmdb, "a@example.org"), 1);
	cr_expect_eq(has(lmdb, "A@example.org"), 0);
	cr_expect_eq(has(lmdb, "a@example.or"), 0);
	cr_expect_eq(has(lmdb, "a@example.orgx"), 0);
	cr_expect_eq(has(lmdb, "@other.example"), 1);
	cr_expect_eq(has(lmdb, ""), 0);
	cr_expect_eq(lmdb_has(lmdb, span_of(longest, 511)), 0);
	cr_expect_eq(lmdb_has(lmdb, span_of(longest, sizeof(longest))), 0);
	lmdb_close(lmdb);
	lmdb_close(NULL);
}

/* What another process commits is there at once, a file that grows tenfold included. */
Test(lmdb, sees_what_others_commit)
{
	struct lmdb *lmdb;

	write_in_child(path, 0, KEYS("a@example.org"), 0);
	lmdb = open_good(path);
	cr_expect_eq(has(lmdb, "b@example.org"), 0);
	write_in_child(path, 0, KEYS("b@example.org", "-a@example.org"), 0);
	cr_expect_eq(has(lmdb, "b@example.org"), 1);
	cr_expect_eq(has(lmdb, "a@example.org"), 0);
	write_in_child(path, 0, KEYS("c@example.org"), 50000);
	for (int i = 0; i < 100; i++) /* each of the readers */
		cr_expect_eq(has(lmdb, i % 2 ? "u49999@example.org" : "c@example.org"), 1);
	cr_expect(lmdb_is_current(lmdb));
	lmdb_close(lmdb);
}

Test(lmdb, a_file_instead_of_a_folder)
{
	struct lmdb *lmdb;

	snprintf(path, sizeof(path), "%s/file", folder);
	write_in_child(path, MDB_NOSUBDIR, KEYS("a@example.org"), 0);
	lmdb = open_good(path);
	cr_expect_eq(has(lmdb, "a@example.org"), 1);
	cr_expect(lmdb_is_current(lmdb));
	lmdb_close(lmdb);
}

/* Root's check before anybody wrote leaves no lock file behind. */
Test(lmdb, a_check_by_root_makes_nothing)
{
	char lock[128];

	write_in_child(path, 0, KEYS("a@example.org"), 0);
	snprintf(lock, sizeof(lock), "%s/lock.mdb", path);
	cr_assert_eq(unlink(lock), 0);
	if (geteuid() == 0) {
		struct lmdb *lmdb = open_good(path);

		cr_expect_eq(has(lmdb, "a@example.org"), 1);
		lmdb_close(lmdb);
		cr_expect_eq(access(lock, F_OK), -1);
	}
}

static void expect_refused(const char *message)
{
	struct lmdb *lmdb = NULL;
	struct err err = {""};
	char wanted[512];

	snprintf(wanted, sizeof(wanted), "%s: %s", path, message);
	cr_expect_eq(lmdb_open(&lmdb, path, &err), -1);
	cr_expect_str_eq(err.text, wanted, "%s", err.text);
}

Test(lmdb, refuses)
{
	char data[128], what[256];
	FILE *file;

	expect_refused("no LMDB environment: data.mdb: No such file or directory");
	snprintf(data, sizeof(data), "%s/data.mdb", path);
	file = fopen(data, "w");
	fputs("a@example.org\n", file);
	fclose(file);
	snprintf(what, sizeof(what), "cannot be opened with its lock file: %s",
		mdb_strerror(MDB_INVALID));
	expect_refused(what);
	cr_assert_eq(unlink(data), 0);
	cr_assert_eq(mkdir(data, 0700), 0);
	expect_refused("no LMDB environment: not a regular file");
	cr_assert_eq(rmdir(data), 0);
	snprintf(path, sizeof(path), "%s/none", folder);
	expect_refused("cannot be opened: No such file or directory");
}

/* ---- policy.c with it ---- */

static const char *const domains[] = {"example.org", "other.example"};

static struct smtp_verdict rcpt(struct policy *policy, const char *local, const char *domain)
{
	struct smtp_envelope envelope = {0};
	struct smtp_recipient recipient = {
		.address = {.local = span_str(local), .domain = span_str(domain)}};

	return policy_rcpt(policy, &envelope, &recipient, true);
}

static struct policy *open_policy(struct policy_settings *settings)
{
	struct policy *policy = NULL;
	struct err err = {""};

	*settings = (struct policy_settings){.relay_domains = domains,
		.relay_domains_n = COUNT_OF(domains),
		.recipients_lmdb = path,
		.sessions_max = 2,
		.sessions_per_address_max = 1};
	cr_assert_eq(policy_open(&policy, settings, &err), 0, "%s", err.text);
	return policy;
}

Test(lmdb, recipients)
{
	static const struct {
		const char *local;
		const char *domain;
		unsigned code;
	} cases[] = {
		{"a", "example.org", 0},
		{"A", "Example.ORG", 0},
		{"\"a\"", "example.org", 0},
		{"\"Two Words\"", "example.org", 0},
		{"b", "example.org", 550},
		{"any", "other.example", 0},
		{"x", "third.example", 550},
		{"postmaster", "example.org", 0},
		{"Postmaster", "", 0},
	};
	struct policy_settings settings;
	struct policy *policy;

	write_in_child(path, 0,
		KEYS("a@example.org", "two words@example.org", "@other.example", "x@third.example"),
		0);
	policy = open_policy(&settings);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect_eq(rcpt(policy, cases[i].local, cases[i].domain).code, cases[i].code,
			"%s@%s", cases[i].local, cases[i].domain);
	policy_close(policy);
}

static void swap_folders(void)
{
	char new[96], old[96];

	snprintf(new, sizeof(new), "%s/new", folder);
	snprintf(old, sizeof(old), "%s/old", folder);
	cr_assert_eq(rename(path, old), 0);
	cr_assert_eq(rename(new, path), 0);
}

/* A reload takes a replaced environment, keeps one in place, and keeps the old one if the new one
 * cannot be read. */
Test(lmdb, reload)
{
	struct policy_settings settings;
	struct policy *policy;
	char new[96];
	struct err err = {""};

	write_in_child(path, 0, KEYS("a@example.org"), 0);
	policy = open_policy(&settings);
	cr_expect_eq(policy_reload(policy, &err), 0);
	cr_expect_eq(rcpt(policy, "a", "example.org").code, 0);
	snprintf(new, sizeof(new), "%s/new", folder);
	cr_assert_eq(mkdir(new, 0700), 0);
	write_in_child(new, 0, KEYS("b@example.org"), 0);
	swap_folders();
	cr_expect_eq(rcpt(policy, "b", "example.org").code, 550);
	cr_expect_eq(policy_reload(policy, &err), 0, "%s", err.text);
	cr_expect_eq(rcpt(policy, "b", "example.org").code, 0);
	cr_expect_eq(rcpt(policy, "a", "example.org").code, 550);
	cr_assert_eq(rename(path, new), 0);
	cr_expect_eq(policy_reload(policy, &err), -1);
	cr_expect_eq(rcpt(policy, "b", "example.org").code, 0);
	policy_close(policy);
}

/* A list that cannot be read now is no reason to bounce. */
Test(lmdb, an_error_is_temporary)
{
	struct policy_settings settings;
	struct policy *policy;
	int64_t before = counter_sum(COUNTER_RECIPIENTS_ERRORS);
	struct smtp_verdict verdict;
	char data[128];
	FILE *file;

	write_in_child(path, 0, KEYS("a@example.org"), 2000);
	policy = open_policy(&settings);
	snprintf(data, sizeof(data), "%s/data.mdb", path);
	file = fopen(data, "r+");
	cr_assert_eq(fseek(file, 2 * 4096, SEEK_SET), 0);
	for (int i = 0; i < 60 * 4096; i++)
		fputc(0x10, file); /* pages of no kind */
	fclose(file);
	verdict = rcpt(policy, "u1000", "example.org");
	cr_expect_eq(verdict.kind, SMTP_VERDICT_REFUSE);
	cr_expect_eq(verdict.code, 451);
	cr_expect_str_eq(verdict.enhanced, "4.3.0");
	cr_expect_eq(counter_sum(COUNTER_RECIPIENTS_ERRORS), before + 1);
	policy_close(policy);
}

struct asker {
	pthread_t thread;
	struct policy *policy;
	int wrong;
};

/* As a worker's thread: no system call that its filter would refuse. */
static void *ask_filtered(void *arg)
{
	static const int forbidden[] = {SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(fstat),
		SCMP_SYS(newfstatat), SCMP_SYS(stat), SCMP_SYS(pread64), SCMP_SYS(socket),
		SCMP_SYS(fcntl), SCMP_SYS(flock), SCMP_SYS(lseek)};
	struct asker *asker = arg;
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	for (size_t i = 0; i < COUNT_OF(forbidden); i++)
		asker->wrong |= seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, forbidden[i], 0);
	asker->wrong |= seccomp_load(filter);
	seccomp_release(filter);
	for (int i = 0; i < 5000; i++) {
		char local[16];

		snprintf(local, sizeof(local), "u%d", i);
		asker->wrong |= rcpt(asker->policy, local, "example.org").code != 0;
		asker->wrong |= rcpt(asker->policy, "no-such", "example.org").code != 550;
	}
	return NULL;
}

Test(lmdb, many_threads_behind_a_filter_while_others_write)
{
	struct policy_settings settings;
	struct asker askers[4] = {0};
	struct policy *policy;

	write_in_child(path, 0, KEYS("a@example.org"), 5000);
	policy = open_policy(&settings);
	for (size_t i = 0; i < COUNT_OF(askers); i++) {
		askers[i].policy = policy;
		cr_assert_eq(pthread_create(&askers[i].thread, NULL, ask_filtered, &askers[i]), 0);
	}
	for (int i = 0; i < 10; i++)
		write_in_child(path, MDB_NOSYNC, KEYS("b@example.org", "c@example.org"), 5000);
	for (size_t i = 0; i < COUNT_OF(askers); i++) {
		pthread_join(askers[i].thread, NULL);
		cr_expect_eq(askers[i].wrong, 0);
	}
	policy_close(policy);
}
