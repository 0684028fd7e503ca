/* SPDX-License-Identifier: MIT */
/*
 * textfile.h -- a text file of an operator's, read as a whole, and its lines.
 *
 * What a line means is its reader's; here are blanks (space, tab, and the CR of a CRLF) and ends.
 */
#ifndef POSTERN_BASE_TEXTFILE_H
#define POSTERN_BASE_TEXTFILE_H

#include "base/span.h"

/*
 * Reads a regular file of at most bytes_max octets. *text has room for one octet more than *n and is
 * the caller's to free(). On failure -1 and err->text = "PATH:1: what is wrong". A FIFO in the
 * file's place cannot stop the caller.
 */
MUST_USE int textfile_read(
	const char *path, uint64_t bytes_max, char **text, size_t *n, struct err *err);

/* At most so many lines: the ends of lines and one. */
uint64_t textfile_lines(struct span text);

/* Takes a line off the front of *rest, and its end, which is not in what is returned. */
struct span textfile_take_line(struct span *rest);

static inline bool textfile_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static inline void textfile_skip_blanks(struct span *line)
{
	while (line->n > 0 && textfile_blank(line->p[0]))
		span_take(line, 1);
}

/* Takes what stands before the next blank, or the whole line. */
struct span textfile_take_word(struct span *line);

#endif
