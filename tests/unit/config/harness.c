/* SPDX-License-Identifier: MIT */
/* harness.c -- reads a text as a configuration file. */
#include "harness.h"

#include <stdlib.h>

int parse(struct config **out, const char *text, struct err *err)
{
	char *copy = strdup(text);
	int rc = config_parse(out, "etc/p.conf", copy, strlen(copy), err);

	free(copy);
	return rc;
}

struct config *parse_good(const char *text)
{
	struct config *config = NULL;
	struct err err = {""};

	cr_assert_eq(parse(&config, text, &err), 0, "%s", err.text);
	return config;
}
