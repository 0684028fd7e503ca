/* SPDX-License-Identifier: MIT */
/* The ticket key file: made, read, rotated, damaged. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"

#define ROTATE_S 3600
#define NAME_A   "000102030405060708090a0b0c0d0e0f"
#define NAME_B   "F00102030405060708090A0B0C0D0E0F"
#define HALF     "00112233445566778899aabbccddeeff"
#define KEY_A    "key " NAME_A " " HALF HALF " " HALF HALF " 1700000000"
#define KEY_B    "key " NAME_B " " HALF HALF " " HALF HALF " 1690000000"
#define HEAD     "postern-ticket-keys 1\n"

static uint64_t real_us;

static void set_time(uint64_t seconds)
{
	real_us = seconds * 1000000;
	clock_set_for_test(NULL, &real_us);
}

static void load(struct tls_ticket_keys *keys, struct tls_ticket_watch *watch, const char *path)
{
	struct err err = {0};

	memset(watch, 0, sizeof(*watch));
	cr_assert(tls_ticket_file_load(keys, watch, path, ROTATE_S, &err) == 0, "%s", err.text);
}

Test(ticket_file, is_made_when_missing_for_the_owner_only)
{
	struct tls_ticket_keys keys, again;
	struct tls_ticket_watch watch;
	struct stat st;

	set_time(1700000000);
	umask(0);
	load(&keys, &watch, rig_path("t"));
	cr_assert(keys.n == 1 && keys.keys[0].created_s == 1700000000);
	cr_assert(stat(rig_path("t"), &st) == 0 && (st.st_mode & 07777) == 0600);
	cr_assert(access(rig_path("t.new"), F_OK) != 0);
	cr_assert(!tls_ticket_watch_stale(&watch));
	free(watch.path);
	load(&again, &watch, rig_path("t"));
	cr_assert(memcmp(&keys, &again, sizeof(keys)) == 0, "a restart reads the same keys");
	free(watch.path);
}

Test(ticket_file, rotates_when_due_and_keeps_two)
{
	struct tls_ticket_keys before, keys;
	struct tls_ticket_watch watch;

	set_time(1700000000);
	load(&before, &watch, rig_path("t"));
	for (int i = 1; i <= 4; i++) {
		set_time(1700000000 + (uint64_t)i * ROTATE_S - 1);
		cr_assert(!tls_ticket_watch_stale(&watch));
		set_time(1700000000 + (uint64_t)i * ROTATE_S);
		cr_assert(tls_ticket_watch_stale(&watch));
		free(watch.path);
		load(&keys, &watch, rig_path("t"));
		cr_assert(!tls_ticket_watch_stale(&watch));
		cr_assert_eq(keys.n, min_size((size_t)i + 1, TLS_TICKET_KEYS_MAX));
		cr_assert(memcmp(&keys.keys[1], before.keys, (keys.n - 1) * sizeof(keys.keys[0])) ==
			  0);
		cr_assert(memcmp(keys.keys[0].name, keys.keys[1].name, 16) != 0);
		before = keys;
	}
	free(watch.path);
}

Test(ticket_file, another_machines_file_is_noticed)
{
	struct tls_ticket_keys keys;
	struct tls_ticket_watch watch;

	set_time(1700000000);
	load(&keys, &watch, rig_path("t"));
	rig_write("other", HEAD KEY_A "\n", strlen(HEAD KEY_A "\n"));
	cr_assert(rename(rig_path("other"), rig_path("t")) == 0);
	cr_assert(tls_ticket_watch_stale(&watch));
	free(watch.path);
	load(&keys, &watch, rig_path("t"));
	cr_assert(keys.n == 1 && keys.keys[0].name[15] == 0x0f);
	cr_assert(unlink(rig_path("t")) == 0);
	cr_assert(tls_ticket_watch_stale(&watch));
	free(watch.path);
}

Test(ticket_file, is_used_as_it_is_when_it_cannot_be_replaced)
{
	struct tls_ticket_keys before, keys;
	struct tls_ticket_watch watch;

	set_time(1700000000);
	load(&before, &watch, rig_path("t"));
	free(watch.path);
	set_time(1700000000 + ROTATE_S);
	/* Stands in the way of the temporary file, for root too; not from a crash, it seems. */
	cr_assert(mkdir(rig_path("t.new"), 0700) == 0);
	load(&keys, &watch, rig_path("t"));
	cr_assert(memcmp(&keys, &before, sizeof(keys)) == 0);
	cr_assert(!tls_ticket_watch_stale(&watch), "not tried again at once");
	set_time(1700000000 + ROTATE_S + 300);
	cr_assert(tls_ticket_watch_stale(&watch), "but after a while");
	free(watch.path);
}

Test(ticket_file, a_temporary_file_from_a_crash_does_not_block)
{
	struct tls_ticket_keys keys;
	struct tls_ticket_watch watch;

	set_time(4000000000); /* long after the file's real time */
	rig_write("t.new", "half", 4);
	load(&keys, &watch, rig_path("t"));
	cr_assert(keys.n == 1);
	cr_assert(access(rig_path("t.new"), F_OK) != 0);
	free(watch.path);
}

Test(ticket_file, a_key_from_the_far_future_is_replaced)
{
	struct tls_ticket_keys keys;
	struct tls_ticket_watch watch;

	set_time(1600000000);
	rig_write("t", HEAD KEY_A "\n", strlen(HEAD KEY_A "\n"));
	load(&keys, &watch, rig_path("t"));
	cr_assert(keys.n == 2 && keys.keys[0].created_s == 1600000000);
	free(watch.path);
}

Test(ticket_file, an_operators_copy_is_read)
{
	static const char *const texts[] = {
		HEAD KEY_A "\n" KEY_B "\n",
		HEAD KEY_A "\n" KEY_B,
		"# copied from mx1\n\n" HEAD "\n" KEY_A "  \t\n# old\n" KEY_B "\n\n",
		"postern-ticket-keys 1\r\n" KEY_A "\r\n" KEY_B "\r\n",
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct tls_ticket_keys keys;
		struct err err = {0};

		cr_assert(tls_ticket_file_parse(&keys, span_str(texts[i]), "t", &err) == 0, "%s",
			err.text);
		cr_assert(keys.n == 2 && keys.keys[0].created_s == 1700000000 &&
			  keys.keys[1].created_s == 1690000000 && keys.keys[1].name[0] == 0xf0 &&
			  keys.keys[0].aes[31] == 0xff && keys.keys[0].mac[1] == 0x11);
	}
}

Test(ticket_file, what_is_wrong_is_said_with_its_line)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"", "t:1: no key"},
		{"\n\n", "t:2: no key"},
		{HEAD, "t:1: no key"},
		{"postern-ticket-keys 2\n" KEY_A, "t:1: not a ticket key file of this version"},
		{"postern-ticket-keys 10\n" KEY_A, "t:1: not a ticket key file of this version"},
		{KEY_A "\n", "t:1: not a ticket key file"},
		{HEAD "key\n", "t:2: not a key"},
		{HEAD KEY_A "\nkey " NAME_B, "t:3: not a key"},
		{HEAD KEY_A " \nnonsense\n", "t:3: not a key"},
		{HEAD "kex" NAME_A " " HALF HALF " " HALF HALF " 1", "t:2: not a key"},
		{HEAD "key " NAME_A "0 " HALF HALF " " HALF HALF " 1", "t:2: not a key"},
		{HEAD "key " NAME_A " " HALF " " HALF HALF " 1", "t:2: not a key"},
		{HEAD "key " NAME_A " " HALF HALF " " HALF HALF " ", "t:2: not a key"},
		{HEAD "key " NAME_A " " HALF HALF " " HALF HALF " -1", "t:2: not a key"},
		{HEAD "key " NAME_A " " HALF HALF " " HALF HALF " 9999999999999", "t:2: not a key"},
		{HEAD "key " NAME_A " " HALF HALF " " HALF "zz112233445566778899aabbccddeeff 1",
			"t:2: not a key"},
		{HEAD KEY_A "\n" KEY_A "\n", "t:3: a key with this name stands above"},
	};
	struct tls_ticket_keys keys;
	static const struct tls_ticket_keys nothing;
	struct err err;
	char text[8192] = HEAD;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		cr_assert(tls_ticket_file_parse(&keys, span_str(cases[i].text), "t", &err) == -1,
			"case %zu", i);
		cr_assert(strncmp(err.text, cases[i].error, strlen(cases[i].error)) == 0, "%s",
			err.text);
		cr_assert(memcmp(&keys, &nothing, sizeof(keys)) == 0, "nothing is left of it");
	}
	for (int i = 0; i < 4; i++)
		sprintf(text + strlen(text), "key %02x%s %s %s 1\n", i, &NAME_A[2], HALF HALF,
			HALF HALF);
	cr_assert(tls_ticket_file_parse(&keys, span_str(text), "t", &err) == -1);
	cr_assert_str_eq(err.text, "t:5: more than 3 keys");
	memset(text, '\n', sizeof(text));
	cr_assert(tls_ticket_file_parse(&keys, span_of(text, sizeof(text)), "t", &err) == -1);
	cr_assert_str_eq(err.text, "t:257: too many lines");
}
