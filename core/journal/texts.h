/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that many resources have in common (owner, plugin, spec, run): one counted copy of each.
 *
 * Equal texts are found by a small table of those asked for last, not by a map of all: what follows
 * one another is mostly alike, and a copy too many costs memory only.
 */
#ifndef PRVNG_JOURNAL_TEXTS_H
#define PRVNG_JOURNAL_TEXTS_H

#include "base/util.h"

struct texts {
        char *recent[64]; /* each counted, or NULL */
};

/* A text with that content, for one more user; NULL: out of memory. */
const char *texts_get(struct texts *t, const char *p, size_t n);

/* One user less; NULL is allowed. The last one frees it. */
void texts_put(const char *text);

void texts_deinit(struct texts *t); /* others may go on using theirs */

#endif
