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

        for (; i > 0 && timer->at < t->heap[(i - 1) / 2]->at; i = (i - 1) / 2)
                put(t, i, t->heap[(i - 1) / 2]);
        for (uint32_t child; (child = 2 * i + 1) < t->n; i = child) {
                if (child + 1 < t->n && t->heap[child + 1]->at < t->heap[child]->at)
                        child++;
                if (timer->at <= t->heap[child]->at)
                        break;
                put(t, i, t->heap[child]);
        }
        put(t, i, timer);
}

int timers_set(struct timers *t, struct timer *timer, int64_t at)
{
        if (!timer->place && t->n == t->cap) {
                uint32_t cap = t->cap ? t->cap * 2 : 64;
                struct timer **heap = realloc(t->heap, cap * sizeof(*heap));

                if (!heap)
                        return error_origin(-ENOMEM);
                t->heap = heap;
                t->cap = cap;
        }
        timer->at = at;
        if (!timer->place)
                put(t, t->n++, timer);
        sift(t, timer->place - 1);
        return 0;
}

void timers_unset(struct timers *t, struct timer *timer)
{
        uint32_t i = timer->place;

        if (!i--)
                return;
        timer->place = 0;
        if (i == --t->n)
                return;
        put(t, i, t->heap[t->n]);
        sift(t, i);
}

struct timer *timers_due(struct timers *t, int64_t now)
{
        struct timer *timer;

        if (!t->n || t->heap[0]->at > now)
                return NULL;
        timer = t->heap[0];
        timers_unset(t, timer);
        return timer;
}
