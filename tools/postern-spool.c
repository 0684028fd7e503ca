/* SPDX-License-Identifier: MIT */
/*
 * postern-spool.c -- looks into a spool without a gateway: lists it, shows a message, verifies it.
 *
 * Read-only and without a lock: files are opened for reading, so it may look on while a gateway runs,
 * and says so then, since what it reads may be half written. Everything in the files is taken for
 * hostile: what a sender wrote is printed escaped, only `show --body` gives octets as they are.
 *
 * Non-goals: changing the queue (posternctl, with the gateway running), repairing.
 */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "tools/postern-spool.h"

/* EXIT_NO: damage was found, or there is no such message. */
enum exit_code { EXIT_OK, EXIT_NO, EXIT_UNREADABLE };

static const char usage[] =
	"usage: postern-spool [--json] list DIR\n"
	"       postern-spool [--json | --body] show DIR ID\n"
	"       postern-spool [--json] verify DIR\n"
	"\n"
	"  list      the messages in the queue: id, age, size, state, sender, recipients\n"
	"  show      one of them: envelope, fates, attempts, header section\n"
	"  verify    every checksum of every segment, and the large files\n"
	"\n"
	"  -b, --body            the octets of the message and nothing else\n"
	"  -j, --json            print JSON\n"
	"  -h, --help            this text\n"
	"  -V, --version         the version\n"
	"\n"
	"DIR is the directory of spool { directory } in postern.conf. Nothing in it is changed.\n"
	"Exit codes: 0 done and sound, 1 damage or no such message, 2 wrong usage or not readable.\n";

struct options {
	bool json;
	bool body;
	const char *command;
	const char *directory;
	const char *id;
};

static int complain(const char *what, const char *which)
{
	fprintf(stderr, "postern-spool: %s%s\n%s", what, which, usage);
	return EXIT_UNREADABLE;
}

/* EXIT_OK to go on, -1 to end well, else the exit code. */
static int options_read(struct options *options, int argc, char **argv)
{
	static const struct option words[] = {
		{"body", no_argument, NULL, 'b'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int option, left;

	while ((option = getopt_long(argc, argv, "bjhV", words, NULL)) != -1) {
		switch (option) {
		case 'b':
			options->body = true;
			break;
		case 'j':
			options->json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		case 'V':
			printf("postern-spool %s\n", postern_version);
			return -1;
		default:
			fputs(usage, stderr);
			return EXIT_UNREADABLE;
		}
	}
	left = argc - optind;
	options->command = left > 0 ? argv[optind] : "";
	options->directory = left > 1 ? argv[optind + 1] : NULL;
	options->id = left > 2 ? argv[optind + 2] : NULL;
	if (strcmp(options->command, "list") != 0 && strcmp(options->command, "show") != 0 &&
		strcmp(options->command, "verify") != 0)
		return complain("no such command: ", options->command);
	if (left != (strcmp(options->command, "show") == 0 ? 3 : 2))
		return complain(options->command, " needs other arguments");
	if (options->body && (options->json || strcmp(options->command, "show") != 0))
		return complain("--body is for show, without --json", "");
	return EXIT_OK;
}

static int show_one(const struct view *view, const struct options *options)
{
	const struct view_message *message;
	uint64_t id;
	int error;

	if (!spool_id_parse(options->id, &id))
		return complain("not a queue id: ", options->id);
	message = view_find(view, id);
	if (message == NULL) {
		fprintf(stderr, "postern-spool: %s: no message %s in the queue\n", view->directory,
			options->id);
		return EXIT_NO;
	}
	error = options->body ? show_body(view, message)
			      : show_message(view, message, options->json);
	if (error == 0)
		return EXIT_OK;
	fprintf(stderr, "postern-spool: cannot read the message: %s\n", strerror(-error));
	return EXIT_UNREADABLE;
}

static int run(const struct view *view, const struct options *options)
{
	if (view->held_by != 0)
		fprintf(stderr,
			"postern-spool: %s is held by pid %ld: what is shown may be in motion\n",
			view->directory, view->held_by);
	if (strcmp(options->command, "show") == 0)
		return show_one(view, options);
	if (strcmp(options->command, "list") == 0) {
		show_list(view, options->json);
		if (view->damages_n > 0)
			fprintf(stderr, "postern-spool: %zu damaged places: see verify\n",
				view->damages_n);
		return EXIT_OK;
	}
	show_verify(view, options->json);
	return view->damages_n > 0 ? EXIT_NO : EXIT_OK;
}

int main(int argc, char **argv)
{
	struct options options = {0};
	struct view view;
	struct err err;
	int code = options_read(&options, argc, argv);

	if (code != EXIT_OK)
		return code < 0 ? EXIT_OK : code;
	if (view_open(&view, options.directory, &err) != 0) {
		fprintf(stderr, "postern-spool: %s\n", err.text);
		code = EXIT_UNREADABLE;
	} else {
		code = run(&view, &options);
	}
	view_close(&view);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "postern-spool: cannot write: %s\n", strerror(errno));
		code = EXIT_UNREADABLE;
	}
	return code;
}
