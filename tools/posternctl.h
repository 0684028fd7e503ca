/* SPDX-License-Identifier: MIT */
/* posternctl.h -- what the files of posternctl share. */
#ifndef POSTERN_TOOLS_POSTERNCTL_H
#define POSTERN_TOOLS_POSTERNCTL_H

#include <stdio.h>

#include <jansson.h>

#include "base/base.h"

extern const char postern_version[]; /* gateway/version.c */

/* Text from elsewhere: control characters (C0, DEL, C1) become '?'. */
void show_clean(FILE *out, const char *text);

/* The string at `key`, borrowed; "-" if there is none. */
const char *show_string_of(const json_t *object, const char *key);

/* Print one command's answer ("ok" was checked) on stdout. */
void show_status(const json_t *answer);
void show_metrics(const json_t *answer);
void show_text(const json_t *answer);

#endif
