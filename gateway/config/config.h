/* SPDX-License-Identifier: MIT */
/*
 * config.h -- reads postern.conf(5) into the structs of settings.h.
 *
 * Every key is checked here: unknown keys, wrong types, values out of range, numbers that do not
 * fit, names that cannot be host names. Files that the configuration names (certificates, keys,
 * recipients) are read by the rooms that own them.
 */
#ifndef POSTERN_CONFIG_CONFIG_H
#define POSTERN_CONFIG_CONFIG_H

#include "config/settings.h"

/*
 * Parses `path`. On success *out is owned by the caller (config_close). On failure returns -1 with
 * err->text = "FILE:LINE: what is wrong and what to write instead".
 */
MUST_USE int config_open(struct config **out, const char *path, struct err *err);
void config_close(struct config *config);

/*
 * Names the keys whose values differ in `now`, which was read again, from those of `before`, which the
 * gateway was started with, and which a reload does not take: "workers, listener.smtp.port" (a titled
 * section that came or went: "route.store"). Into out, cut where cap ends. Returns how many; 0: "".
 */
#define CONFIG_RESTART_KEYS_MAX 440 /* in an err with some words around */
size_t config_restart_keys(
	const struct config *before, const struct config *now, char *out, size_t cap);

/*
 * For errors that other rooms found in a file or folder which the configuration names: where the
 * text holds its path, "FILE:LINE: " of the key that names it is put in front. Other texts stay.
 */
void config_place(const struct config *config, struct err *err);

#endif
