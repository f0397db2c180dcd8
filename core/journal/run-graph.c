/* SPDX-License-Identifier: Apache-2.0 */
/* Readiness: kept by counters along the edges of the graph (promise 7). */
#include "journal/fold.h"

void set_status(struct run *run, struct task *t, enum task_status status)
{
        if (!task_is_join(t)) {
                run->n_by_status[t->status]--;
                run->n_by_status[status]++;
        }
        t->status = status;
}

/* Drops what was started. What was taken from the queue and has no intent yet (it is being read, or
 * waits for a condition) stays: it is the fold's until then, and in a snapshot. */
static void forget_started(const struct run *run, struct lane *lane)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < lane->next_ready; i++)
                if (startable(run, &run->tasks[lane->ready[i]]))
                        lane->ready[n++] = lane->ready[i];
        memmove(lane->ready + n, lane->ready + lane->next_ready,
                (lane->n_ready - lane->next_ready) * sizeof(*lane->ready));
        lane->n_ready -= lane->next_ready - n;
        lane->next_ready = n;
}

int enqueue(struct run *run, uint32_t number)
{
        struct lane *lane = &run->lanes[run->tasks[number].lane];

        if (lane->next_ready > 4096 && lane->next_ready > lane->n_ready / 2)
                forget_started(run, lane);
        if (GROW(lane->ready, lane->n_ready, lane->cap_ready))
                return error_origin(-ENOMEM);
        lane->ready[lane->n_ready++] = number;
        return 0;
}

void count_ended(struct run *run, const struct task *t)
{
        struct operation *o = &run->operations[t->operation];

        o->n_ended++;
        o->n_failed += t->status == TASK_FAILED;
        o->n_good += task_status_good(t->status);
        if (o->n_good == o->n_tasks && !o->implied)
                run->n_completed++;
}

/* The end of a task reaches those that depend on it. Works on a list instead of recursing: chains of
 * joins and of skipped tasks may be as long as the plan. Each edge is looked at once (promise 7). */
int settle(struct run *run, uint32_t number)
{
        uint32_t small[64], *list = small, n = 0, cap = N_ELEMENTS(small);
        int r = 0;

        list[n++] = number;
        while (n > 0 && r == 0) {
                struct task *t = &run->tasks[list[--n]];
                bool good = task_status_good(t->status);
                uint32_t task = (uint32_t)(t - run->tasks), end = run->first_next[task + 1];

                assert(run->unsettled > 0 && task_status_ended(t->status));
                run->unsettled--;
                if (!task_is_join(t))
                        count_ended(run, t);
                for (uint32_t i = run->first_next[task]; i < end && r == 0; i++) {
                        uint32_t k = run->next[i] & ~SOFT;
                        struct task *next = &run->tasks[k];

                        assert(run->unmet[k] > 0);
                        if (!good && !(run->next[i] & SOFT))
                                next->blocked = 1;
                        if (--run->unmet[k] > 0 || next->status != TASK_WAITING)
                                continue;
                        if (!next->blocked && !task_is_join(next)) {
                                set_status(run, next, TASK_READY);
                                r = enqueue(run, k);
                                continue;
                        }
                        set_status(run, next, next->blocked ? TASK_SKIPPED : TASK_SUCCEEDED);
                        if (n == cap) {
                                uint32_t *bigger = malloc(2 * cap * sizeof(*list));

                                if (!bigger) {
                                        r = error_origin(-ENOMEM);
                                        break;
                                }
                                memcpy(bigger, list, n * sizeof(*list));
                                if (list != small)
                                        free(list);
                                list = bigger;
                                cap *= 2;
                        }
                        list[n++] = k;
                }
        }
        if (list != small)
                free(list);
        return r;
}
