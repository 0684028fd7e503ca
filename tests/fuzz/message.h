/* SPDX-License-Identifier: MIT */
/* message.h -- what fuzz targets of text files demand of a refusal. */
#ifndef POSTERN_TESTS_FUZZ_MESSAGE_H
#define POSTERN_TESTS_FUZZ_MESSAGE_H

#include <stdlib.h>

#include "config/name.h"

/* "PATH:LINE: ...", plain text, with a line of the file. */
static inline void check_message(const struct err *err, const char *path, struct span file)
{
	size_t path_n = strlen(path);
	unsigned long line, lines = 1;
	char *end;

	ASSERT(strncmp(err->text, path, path_n) == 0 && err->text[path_n] == ':');
	line = strtoul(err->text + path_n + 1, &end, 10);
	for (size_t i = 0; i < file.n; i++)
		lines += file.p[i] == '\n';
	ASSERT(line >= 1 && line <= lines);
	ASSERT(strncmp(end, ": ", 2) == 0 && end[2] != '\0');
	ASSERT(name_text_valid(span_str(err->text)));
}

#endif
