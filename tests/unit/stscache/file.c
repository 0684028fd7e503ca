/* SPDX-License-Identifier: MIT */
/* The file: a restart forgets nothing, damage is set aside, and what is good before it stays. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#define FILE_NAME "sts-policies"

TestSuite(file, .timeout = 120);

static char text[200000];
static size_t text_n;

static void read_file(const char *name)
{
	FILE *file = fopen(rig_path(name), "r");

	cr_assert(file != NULL, "%s", name);
	text_n = fread(text, 1, sizeof(text) - 1, file);
	text[text_n] = '\0';
	fclose(file);
}

static void write_file(size_t n)
{
	FILE *file = fopen(rig_path(FILE_NAME), "w");

	cr_assert(file != NULL && fwrite(text, 1, n, file) == n && fclose(file) == 0);
}

static bool is_kept(const char *domain, const char *id)
{
	struct rig_question question;
	bool kept;

	cr_assert_eq(rig_ask(&question, domain, NULL), STSCACHE_NOW);
	kept = question.q.outcome == STSCACHE_POLICY && strcmp(question.q.policy->id, id) == 0;
	rig_release(&question);
	return kept;
}

static void make_three(void)
{
	rig_open(rig_dir(), 0);
	rig_learn("b.example", "2b", ENFORCE);
	rig_learn("c.example", "3c", POLICY("testing", "1000"));
	rig_learn("a.example", "1a", POLICY("none", "604800"));
	rig_close();
}

Test(file, survives_a_restart)
{
	struct stscache_policy *list[4];
	struct stat st;

	make_three();
	cr_assert(stat(rig_path(FILE_NAME), &st) == 0 && (st.st_mode & 07777) == 0600);
	cr_assert(access(rig_path(FILE_NAME ".new"), F_OK) != 0);
	rig_pass(999);
	rig_open(rig_dir(), 0);
	cr_assert_eq(stscache_list(rig_cache, "", list, 4), 3);
	cr_assert_str_eq(list[0]->domain, "a.example");
	cr_assert_eq(list[0]->policy.mode, STS_MODE_NONE);
	cr_assert_str_eq(list[1]->id, "2b");
	cr_assert_eq(list[1]->fetched_real_s, RIG_START_S);
	cr_assert_eq(list[1]->expires_real_s, RIG_START_S + 604800);
	cr_assert(span_equal(list[1]->text, span_str(ENFORCE)));
	for (int i = 0; i < 3; i++)
		stscache_policy_release(list[i]);
	cr_assert(is_kept("c.example", "3c"));
	rig_pass(1);
	cr_assert(!is_kept("c.example", "3c"), "max_age goes on over the restart");
	rig_close();
	rig_open(rig_dir(), 0);
	cr_assert(is_kept("b.example", "2b") && !is_kept("c.example", "3c"));
	rig_close();
}

Test(file, nothing_new_leaves_it_alone)
{
	struct stat before, after;

	make_three();
	cr_assert(stat(rig_path(FILE_NAME), &before) == 0);
	rig_open(rig_dir(), 0);
	rig_close();
	cr_assert(stat(rig_path(FILE_NAME), &after) == 0);
	cr_assert_eq(before.st_ino, after.st_ino);
}

/* A policy from a future that the clock says is far away lives no longer than its max_age. */
Test(file, a_clock_set_back_over_a_restart)
{
	make_three();
	rig_real_us -= 1000000000ull * 1000000;
	for (int i = 0; i < 2; i++) {
		rig_open(rig_dir(), 0);
		cr_assert(is_kept("c.example", "3c"));
		rig_pass(500 - (uint64_t)i);
		rig_close();
	}
	rig_pass(1);
	rig_open(rig_dir(), 0);
	cr_assert(!is_kept("c.example", "3c"), "it was counted from the first restart");
	rig_close();
}

Test(file, a_smaller_cache_takes_what_fits)
{
	make_three();
	rig_open(rig_dir(), 2);
	cr_assert_eq(rig_cache->table.n, 2);
	cr_assert_eq(rig_cache->facts.evicted, 1);
	rig_close();
}

/* Every octet changed, every length: never more than was there, and the good ones before it. */
Test(file, damage_is_found_and_set_aside)
{
	char *whole;
	size_t whole_n;

	make_three();
	read_file(FILE_NAME);
	whole = strdup(text);
	whole_n = text_n;
	for (size_t i = 0; i < 2 * whole_n; i++) {
		size_t at = i / 2;
		size_t first_end = (size_t)(strstr(whole, "policy b.") - whole);

		memcpy(text, whole, whole_n);
		text[at] = (char)(text[at] ^ 0x04);
		write_file(i % 2 == 0 ? whole_n : at);
		rig_open(rig_dir(), 0);
		cr_assert_leq(rig_cache->table.n, 2u + (at > whole_n - 7), "octet %zu", at);
		cr_assert_eq(rig_cache->table.n >= 1, at >= first_end, "octet %zu", at);
		cr_assert(access(rig_path(FILE_NAME ".damaged"), F_OK) == 0, "octet %zu", at);
		rig_close();
		cr_assert(unlink(rig_path(FILE_NAME ".damaged")) == 0);
	}
	free(whole);
}

static size_t put(size_t at, const char *domain)
{
	struct stscache_record record = {.id = "x", .fetched_real_s = RIG_START_S};
	struct buf out;

	record.text = span_str(ENFORCE);
	snprintf(record.domain, sizeof(record.domain), "%s", domain);
	buf_init(&out, text + at, sizeof(text) - at);
	cr_assert(stscache_file_record(&record, &out));
	return at + buf_len(&out);
}

/* Whole records, whose order, number or end is wrong. */
Test(file, damage_with_checksums_that_are_right)
{
	static const struct {
		const char *domains[3];
		const char *end;
		size_t kept;
		bool good;
	} rows[] = {
		{{"a.example", "b.example"}, "end 2\n", 2, true},
		{{"b.example", "a.example"}, "end 2\n", 1, false},
		{{"a.example", "a.example"}, "end 2\n", 1, false},
		{{"a.example", "B.example"}, "end 2\n", 1, false},
		{{"a.example", "b.example"}, "end 1\n", 2, false},
		{{"a.example", "b.example"}, "end 02\n", 2, false},
		{{"a.example"}, "end 1", 1, false},
		{{"a.example"}, "end 1\n\n", 1, false},
		{{"a.example"}, "end 1\nend 1\n", 1, false},
		{{"a.example"}, "", 1, false},
		{{NULL}, "end 0\n", 0, true},
	};

	rig_dir();
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		size_t n = (size_t)snprintf(text, sizeof(text), "postern-sts-policies 1\n");

		for (size_t k = 0; rows[i].domains[k] != NULL; k++)
			n = put(n, rows[i].domains[k]);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", rows[i].end);
		write_file(n);
		rig_open(rig_dir(), 0);
		cr_expect_eq(rig_cache->table.n, rows[i].kept, "row %zu", i);
		cr_expect_eq(access(rig_path(FILE_NAME ".damaged"), F_OK) != 0, rows[i].good,
			"row %zu", i);
		rig_close();
		unlink(rig_path(FILE_NAME ".damaged"));
	}
}

Test(file, after_damage_a_good_one_is_written)
{
	snprintf(text, sizeof(text), "garbage\n");
	rig_dir();
	write_file(8);
	rig_open(rig_dir(), 0);
	rig_close();
	read_file(FILE_NAME ".damaged");
	cr_assert_str_eq(text, "garbage\n");
	read_file(FILE_NAME);
	cr_assert_str_eq(text, "postern-sts-policies 1\nend 0\n");
}

Test(file, other_things_in_its_place)
{
	struct err err;
	struct stscache *cache;
	const struct stscache_settings settings = {.state_dir = rig_dir()};

	cr_assert(mkfifo(rig_path(FILE_NAME), 0600) == 0);
	rig_open(rig_dir(), 0);
	rig_close();
	cr_assert(unlink(rig_path(FILE_NAME ".damaged")) == 0 && unlink(rig_path(FILE_NAME)) == 0);
	cr_assert(symlink("/etc/passwd", rig_path(FILE_NAME)) == 0);
	cr_assert(stscache_open(&cache, &settings, &err) == -1);
	cr_assert(strstr(err.text, FILE_NAME) != NULL);
}

/* Writing fails: the cache goes on, the old file stays. */
Test(file, a_file_that_cannot_be_written)
{
	make_three();
	rig_open(rig_dir(), 0);
	rig_learn("d.example", "4d", ENFORCE);
	cr_assert(mkdir(rig_path(FILE_NAME ".new"), 0700) == 0);
	cr_assert(stscache_save(rig_cache) < 0);
	cr_assert(is_kept("d.example", "4d"));
	rig_close();
	cr_assert(rmdir(rig_path(FILE_NAME ".new")) == 0);
	rig_open(rig_dir(), 0);
	cr_assert(is_kept("b.example", "2b") && !is_kept("d.example", "4d"));
	rig_close();
}

/* More than one piece of copying, and texts of the largest size. */
Test(file, many_and_large)
{
	static char large[STS_POLICY_BYTES_MAX + 1];
	size_t n = (size_t)snprintf(large, sizeof(large), "%s", ENFORCE "x: ");
	char domain[64];

	memset(large + n, 'y', STS_POLICY_BYTES_MAX - n - 1);
	large[STS_POLICY_BYTES_MAX - 1] = '\n';
	rig_open(rig_dir(), 0);
	for (int i = 0; i < 300; i++) {
		snprintf(domain, sizeof(domain), "d%d.example", i * 7919 % 300);
		rig_learn(domain, "x", i % 30 == 0 ? large : ENFORCE);
	}
	rig_close();
	rig_open(rig_dir(), 0);
	cr_assert_eq(rig_cache->table.n, 300);
	cr_assert_eq(rig_cache->facts.enforce, 300);
	cr_assert(access(rig_path(FILE_NAME ".damaged"), F_OK) != 0);
	rig_close();
}
