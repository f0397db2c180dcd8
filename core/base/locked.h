/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in memory that is not swapped and not dumped, as far as the system lets us; wiped at the end. For
 * secret values on their way to where they are used.
 */
#ifndef PRVNG_BASE_LOCKED_H
#define PRVNG_BASE_LOCKED_H

#include "base/util.h"

struct locked {
        char *data; /* NULL: none; n bytes and a NUL */
        size_t n;
        size_t mapped; /* bytes there are room for, more than n */
};

/* Copies `data`; NULL: n bytes, all 0, to be written by the caller. -ENOMEM. */
int locked_init(struct locked *l, const void *data, size_t n);
void locked_deinit(struct locked *l);

static inline void cleanup_locked(struct locked *l)
{
        locked_deinit(l);
}

#endif
