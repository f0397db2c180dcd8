/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/timers.h"

void timers_deinit(struct timers *t)
{
        free(t->heap);
        *t = (struct timers){0};
}

static void put(struct timers *t, uint32_t i, struct timer *timer)
{
        t->heap[i] = timer;
        timer->place = i + 1;
}

static void sift(struct timers *t, uint32_t i)
{
        struct timer *timer = t->heap[i];

        for (; i > 0 && timer->sorted < t->heap[(i - 1) / 2]->sorted; i = (i - 1) / 2)
                put(t, i, t->heap[(i - 1) / 2]);
        for (uint32_t child; (child = 2 * i + 1) < t->n; i = child) {
                if (child + 1 < t->n && t->heap[child + 1]->sorted < t->heap[child]->sorted)
                        child++;
                if (timer->sorted <= t->heap[child]->sorted)
                        break;
                put(t, i, t->heap[child]);
        }
        put(t, i, timer);
}

int timers_set(struct timers *t, struct timer *timer, int64_t at)
{
        if (timer->place && timer->sorted <= at) {
                timer->at = at;
                return 0;
        }
        if (!timer->place && t->n == t->cap) {
                uint32_t cap = t->cap ? t->cap * 2 : 64;
                struct timer **heap = realloc(t->heap, cap * sizeof(*heap));

                if (!heap)
                        return error_origin(-ENOMEM);
                t->heap = heap;
                t->cap = cap;
        }
        timer->at = timer->sorted = at;
        if (!timer->place)
                put(t, t->n++, timer);
        sift(t, timer->place - 1);
        return 0;
}

void timers_forget(struct timers *t, struct timer *timer)
{
        uint32_t i = timer->place;

        timer->at = TIMER_NEVER;
        if (!i--)
                return;
        timer->place = 0;
        if (i == --t->n)
                return;
        put(t, i, t->heap[t->n]);
        sift(t, i);
}

int64_t timers_next(struct timers *t)
{
        while (t->n && t->heap[0]->sorted != t->heap[0]->at) {
                struct timer *top = t->heap[0];

                if (timer_is_set(top)) {
                        top->sorted = top->at;
                        sift(t, 0);
                } else {
                        timers_forget(t, top);
                }
        }
        return t->n ? t->heap[0]->at : TIMER_NEVER;
}

struct timer *timers_due(struct timers *t, int64_t now)
{
        struct timer *timer;

        if (!t->n || t->heap[0]->sorted > now || timers_next(t) > now)
                return NULL;
        timer = t->heap[0];
        timers_forget(t, timer);
        return timer;
}
