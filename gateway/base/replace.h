/* SPDX-License-Identifier: MIT */
/*
 * replace.h -- a small file written whole: to the side, synced, renamed. Whoever reads it finds the old
 * octets or the new ones, never a part of either, also after a crash.
 */
#ifndef POSTERN_BASE_REPLACE_H
#define POSTERN_BASE_REPLACE_H

#include "base/span.h"

/*
 * In the folder `dir`: writes `side` (mode 0600), then renames it to `name`. 0 or -errno; on failure
 * `name` is as it was and `side` is gone. The folder itself is not synced: after a power loss the old
 * octets may be back.
 */
MUST_USE int replace_file(int dir, const char *name, const char *side, struct span bytes);

#endif
