/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers in a binary heap. Nearly all are ended or moved to later before they are due: neither touches
 * the heap. A timer stays where it is in it, and is put right when it comes to the top.
 */
#ifndef PRVNG_ENGINE_TIMERS_H
#define PRVNG_ENGINE_TIMERS_H

#include "base/util.h"

struct timer {
        int64_t at;      /* boot-time clock, milliseconds; TIMER_NEVER: not set */
        int64_t sorted;  /* the time that its place in the heap is for, not later than `at` */
        uint32_t place;  /* in the heap + 1; 0: not in it */
        uint32_t kind;   /* the owner's */
        void *owner;
};

#define TIMER_NEVER INT64_MAX

struct timers {
        struct timer **heap;
        uint32_t n, cap;
};

void timers_deinit(struct timers *t);
int timers_set(struct timers *t, struct timer *timer, int64_t at); /* also moves one that is set */
struct timer *timers_due(struct timers *t, int64_t now); /* unset already; NULL: none */
int64_t timers_next(struct timers *t); /* when one is due; TIMER_NEVER: none is set */

/* Its memory must stay until it is forgotten. */
static inline void timers_unset(struct timers *t, struct timer *timer)
{
        timer->at = TIMER_NEVER;
}

static inline bool timer_is_set(const struct timer *timer)
{
        return timer->place && timer->at != TIMER_NEVER;
}

void timers_forget(struct timers *t, struct timer *timer); /* before its memory goes */

#endif
