/* SPDX-License-Identifier: Apache-2.0 */
/* Timers in a binary heap; each knows its place, so that ending one early costs no search. */
#ifndef PRVNG_ENGINE_TIMERS_H
#define PRVNG_ENGINE_TIMERS_H

#include "base/util.h"

struct timer {
        int64_t at;      /* boot-time clock, milliseconds */
        uint32_t place;  /* in the heap + 1; 0: not set */
        uint32_t kind;   /* the owner's */
        void *owner;
};

struct timers {
        struct timer **heap;
        uint32_t n, cap;
};

void timers_deinit(struct timers *t);
int timers_set(struct timers *t, struct timer *timer, int64_t at); /* also moves one that is set */
void timers_unset(struct timers *t, struct timer *timer);
struct timer *timers_due(struct timers *t, int64_t now); /* unset already; NULL: none */

static inline int64_t timers_next(const struct timers *t)
{
        return t->n ? t->heap[0]->at : INT64_MAX;
}

#endif
