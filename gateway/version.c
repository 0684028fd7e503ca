/* SPDX-License-Identifier: MIT */
/* version.c -- the version, from git at build time. */
#include "gateway.h"

#include "version.h"

const char postern_version[] = POSTERN_VERSION;
