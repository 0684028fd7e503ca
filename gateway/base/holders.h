/* SPDX-License-Identifier: MIT */
/*
 * holders.h -- counts who holds an object that several threads share; the last one frees it.
 *
 * A holder may hand out further holds; whoever holds nothing may not ask for one.
 */
#ifndef POSTERN_BASE_HOLDERS_H
#define POSTERN_BASE_HOLDERS_H

#include <stdatomic.h>

#include "base/base.h"

struct holders {
	atomic_uint n;
};

/* One holder: who made the object. */
static inline void holders_init(struct holders *holders)
{
	atomic_init(&holders->n, 1);
}

static inline void holders_add(struct holders *holders)
{
	unsigned before = atomic_fetch_add_explicit(&holders->n, 1, memory_order_relaxed);

	ASSERT(before > 0);
}

/* True: that was the last one, and what all others did to the object has been done. */
static inline MUST_USE bool holders_drop(struct holders *holders)
{
	unsigned before = atomic_fetch_sub_explicit(&holders->n, 1, memory_order_acq_rel);

	ASSERT(before > 0);
	return before == 1;
}

#endif
