/* SPDX-License-Identifier: MIT */
/* What the tests of config/ share: a file's text is read as "etc/p.conf". */
#ifndef POSTERN_TESTS_CONFIG_HARNESS_H
#define POSTERN_TESTS_CONFIG_HARNESS_H

#include <criterion/criterion.h>

#include "config/config-private.h"

/* As config_parse(). */
int parse(struct config **out, const char *text, struct err *err);
/* Fails the test where the text is refused. */
struct config *parse_good(const char *text);

#endif
