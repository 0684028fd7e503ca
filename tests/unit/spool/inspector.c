/* SPDX-License-Identifier: MIT */
/*
 * inspector.c -- postern-spool itself, the program of the same build, on stores made by hand: what
 * it prints, its exit codes, that it changes nothing and takes no lock.
 */
#include "image.h"

#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT_1 "000/0000000000000001.seg"

static char program[PATH_MAX + 32];
static struct image image;
static const char *out, *complaint;

static void setup(void)
{
	char self[PATH_MAX] = "";

	cr_assert(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(program, sizeof(program), "%s/../../postern-spool", dirname(self));
	if (access(program, X_OK) != 0)
		cr_skip_test("postern-spool is not built");
	image_store_make();
}

static void teardown(void)
{
	if (image_dir[0] != '\0')
		image_store_remove();
}

TestSuite(inspector, .init = setup, .fini = teardown, .timeout = IMAGE_LIMIT_S);

static int output_file(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", image_dir, name);
	return open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
}

/* Runs it; its exit code. `out` and `complaint` are what it wrote. */
static int run(const char *a, const char *b, const char *c, const char *d)
{
	char *args[] = {program, (char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c,
		(char *)(uintptr_t)d, NULL};
	int out_fd = output_file("out"), complaint_fd = output_file("complaint");
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(out_fd, STDOUT_FILENO);
		dup2(complaint_fd, STDERR_FILENO);
		execv(program, args);
		_exit(127);
	}
	close(out_fd);
	close(complaint_fd);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "status %#x: %s", status, (char *)image_read("complaint").p);
	out = (const char *)image_read("out").p;
	complaint = (const char *)image_read("complaint").p;
	return WEXITSTATUS(status);
}

static void says(const char *text, const char *part)
{
	cr_assert(strstr(text, part) != NULL, "'%s' is not in\n%s", part, text);
}

/* Two messages: one plain, one of a sender who would like to paint the screen. */
static void store_make(void)
{
	static const struct image_message messages[] = {
		{.batch = 1,
			.id = 0xa1,
			.from = "sender@example.net",
			.to = "a@example.org b@example.org",
			.body = "Subject: hello\r\nX-Bad: \x1b[2J\r\n\r\nthe body\r\n"},
		{.batch = 1,
			.id = 0xa2,
			.flags = SPOOL_FLAG_HELD,
			.from = "\"x y\"\x1b[31m\n@evil",
			.to = "a@x b@x c@x d@x e@x",
			.body = "no header"},
	};
	const struct spool_fate_change change = {0, SPOOL_FATE_DELIVERED, false};
	const struct spool_attempt attempt = {.next_hop = "smtp:mx.example.org:25",
		.text = "250 \x1b]0;title\x07 ok",
		.changes = &change,
		.changes_n = 1,
		.due_real_s = 4000000000,
		.counts = true};

	cr_assert_eq(image_dir[0], '/');
	image_write("large/README", span_str(""));
	image_begin(&image, 0, 1);
	image_message(&image, &messages[0]);
	image_message(&image, &messages[1]);
	image_attempt(&image, 2, 0xa1, &attempt);
	image_save(&image, SEGMENT_1);
}

Test(inspector, lists)
{
	store_make();
	cr_assert_eq(run("list", image_dir, NULL, NULL), 0);
	says(out, "00000000000000A1 ");
	says(out, " deferred sender@example.net -> b@example.org\n");
	says(out, " held     \"x\\x20y\"\\x1b[31m\\x0a@evil -> a@x b@x c@x +2\n");
	says(out, "2 messages, ");
	cr_assert_null(strchr(out, '\x1b'));
	cr_assert_str_eq(complaint, "");
}

Test(inspector, lists_as_json)
{
	json_t *root, *messages, *first;

	store_make();
	cr_assert_eq(run("--json", "list", image_dir, NULL), 0);
	root = json_loads(out, 0, NULL);
	cr_assert_not_null(root, "%s", out);
	messages = json_object_get(root, "messages");
	cr_assert_eq(json_array_size(messages), 2);
	first = json_array_get(messages, 0);
	cr_assert_str_eq(json_string_value(json_object_get(first, "id")), "00000000000000A1");
	cr_assert_str_eq(json_string_value(json_object_get(first, "state")), "deferred");
	cr_assert_eq(json_array_size(json_object_get(first, "pending")), 1);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(messages, 1), "sender")),
		"\"x y\"\x1b[31m\n@evil");
	json_decref(root);
}

Test(inspector, shows)
{
	json_t *root;

	store_make();
	cr_assert_eq(run("show", image_dir, "A1", NULL), 0, "%s", complaint);
	says(out, "sender      sender@example.net BODY=7BIT\n");
	says(out, "recipient   a@example.org delivered\nrecipient   b@example.org pending\n");
	says(out, "attempt     2023-11-14T22:13:22Z smtp:mx.example.org:25 (1): "
		  "250 \\x1b]0;title\\x07 ok\n");
	says(out, "\n\nSubject: hello\nX-Bad: \\x1b[2J\n");
	cr_assert_null(strstr(out, "the body"));
	cr_assert_null(strchr(out, '\x1b'));
	cr_assert_eq(run("show", image_dir, "00000000000000a2", "--json"), 0, "%s", complaint);
	root = json_loads(out, 0, NULL);
	cr_assert_not_null(root, "%s", out);
	cr_assert_eq(json_array_size(json_object_get(root, "envelope")), 5);
	cr_assert_str_eq(json_string_value(json_object_get(root, "header")), "no header");
	json_decref(root);
}

Test(inspector, gives_the_octets)
{
	struct image_message large = {.batch = 3,
		.id = 0xb1,
		.flags = SPOOL_FLAG_LARGE,
		.from = "s@x",
		.to = "r@x",
		.large_n = 7};

	store_make();
	cr_assert_eq(run("show", "--body", image_dir, "A1"), 0);
	cr_assert_str_eq(out, "Subject: hello\r\nX-Bad: \x1b[2J\r\n\r\nthe body\r\n");
	image_message(&image, &large);
	image_save(&image, SEGMENT_1);
	image_write("large/00000000000000B1", span_str("A: 1\r\n\r"));
	cr_assert_eq(run("show", "--body", image_dir, "B1"), 0);
	cr_assert_str_eq(out, "A: 1\r\n\r");
}

Test(inspector, no_such_message)
{
	store_make();
	cr_assert_eq(run("show", image_dir, "A3", NULL), 1);
	says(complaint, "no message A3 in the queue");
	cr_assert_eq(run("show", image_dir, "zzz", NULL), 2);
	says(complaint, "not a queue id: zzz");
}

Test(inspector, verifies)
{
	json_t *root, *damage;
	struct span before;

	store_make();
	cr_assert_eq(run("verify", image_dir, NULL, NULL), 0);
	says(out, "records         3\n");
	says(out, "\nsound\n");
	image.bytes[64 + 64] ^= 1; /* the first message's meta */
	image_save(&image, SEGMENT_1);
	before = image_read(SEGMENT_1);
	cr_assert_eq(run("verify", image_dir, NULL, NULL), 1);
	says(out, SEGMENT_1 ":64: the payload's checksum is wrong, or its end is missing, ");
	says(out, " octets, id 00000000000000A1\n");
	says(out, "\nDAMAGED\n");
	cr_assert_eq(run("verify", "--json", image_dir, NULL), 1);
	root = json_loads(out, 0, NULL);
	cr_assert_not_null(root, "%s", out);
	cr_assert(json_is_false(json_object_get(root, "sound")));
	damage = json_array_get(json_object_get(root, "damage"), 0);
	cr_assert_eq(json_integer_value(json_object_get(damage, "offset")), 64);
	cr_assert_str_eq(json_string_value(json_object_get(damage, "file")), SEGMENT_1);
	json_decref(root);
	cr_assert_eq(run("list", image_dir, NULL, NULL), 0);
	says(complaint, "1 damaged places");
	cr_assert(span_equal(image_read(SEGMENT_1), before), "it only looks");
	cr_assert(!image_exists("lock") && !image_exists("aside"));
}

Test(inspector, every_flipped_octet_is_seen)
{
	unsigned padding = 0;

	store_make();
	for (size_t i = 0; i < image.n; i += 3) {
		image.bytes[i] ^= 0x20;
		image_save(&image, SEGMENT_1);
		image.bytes[i] ^= 0x20;
		padding += run("verify", image_dir, NULL, NULL) == 0;
	}
	cr_assert(padding < 8, "%u octets may change and nothing is said", padding);
}

Test(inspector, torn_tails_and_large_files)
{
	struct image_message large = {.batch = 3,
		.id = 0xb1,
		.flags = SPOOL_FLAG_LARGE,
		.from = "s@x",
		.to = "r@x",
		.large_n = 7};

	store_make();
	image.n -= 20;
	image_save(&image, SEGMENT_1);
	cr_assert_eq(run("verify", image_dir, NULL, NULL), 1);
	says(out, "(torn tail: the next start cuts it off)");
	store_make();
	image_message(&image, &large);
	image_save(&image, SEGMENT_1);
	image_write("large/00000000000000CC", span_str("orphan"));
	cr_assert_eq(run("verify", image_dir, NULL, NULL), 1);
	says(out, "large/00000000000000B1:0: the large file is missing or has another size, 7 ");
	says(out, "orphans         1\n");
	cr_assert_eq(run("list", image_dir, NULL, NULL), 0);
	says(out, " no-file  s@x -> r@x\n");
}

Test(inspector, looks_on_while_a_gateway_runs)
{
	char line[160];
	pid_t holder;

	store_make();
	holder = image_holder();
	snprintf(line, sizeof(line),
		"postern-spool: %s is held by pid %d: what is shown may be in motion\n", image_dir,
		(int)holder);
	cr_assert_eq(run("list", image_dir, NULL, NULL), 0);
	cr_assert_str_eq(complaint, line);
	says(out, "2 messages");
	cr_assert_eq(run("list", "--json", image_dir, NULL), 0);
	snprintf(line, sizeof(line), "{\"held_by\": %d,", (int)holder);
	says(out, line);
	image_holder_end(holder);
	cr_assert_eq(run("list", image_dir, NULL, NULL), 0);
	cr_assert_str_eq(complaint, "");
}

Test(inspector, what_it_cannot_read)
{
	struct spool_segment_header newer = {.version = SPOOL_FORMAT_VERSION + 1, .seq = 1};

	cr_assert_eq(run("list", "/nonexistent", NULL, NULL), 2);
	says(complaint, "/nonexistent: No such file or directory");
	cr_assert_eq(run("verify", image_dir, NULL, NULL), 2);
	says(complaint, "is this a spool?");
	store_make();
	spool_segment_header_write(image.bytes, &newer);
	image_save(&image, SEGMENT_1);
	cr_assert_eq(run("verify", image_dir, NULL, NULL), 2);
	says(complaint, SEGMENT_1 " has format 5, this postern-spool reads up to 4");
}

Test(inspector, words)
{
	static const struct {
		const char *args[4];
		int code;
		const char *out, *complaint;
	} rows[] = {
		{{"--help"}, 0, "usage: postern-spool", ""},
		{{"--version"}, 0, "postern-spool ", ""},
		{{NULL}, 2, "", "usage: postern-spool"},
		{{"lists", "x"}, 2, "", "no such command: lists"},
		{{"list"}, 2, "", "list needs other arguments"},
		{{"list", "x", "y"}, 2, "", "list needs other arguments"},
		{{"show", "x"}, 2, "", "show needs other arguments"},
		{{"list", "x", "--body"}, 2, "", "--body is for show"},
		{{"--json", "--body", "show", "x"}, 2, "", "show needs other arguments"},
		{{"--nonsense"}, 2, "", "usage: postern-spool"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const char *const *args = rows[i].args;

		cr_assert_eq(run(args[0], args[1], args[2], args[3]), rows[i].code, "row %zu", i);
		says(out, rows[i].out);
		says(complaint, rows[i].complaint);
	}
}
