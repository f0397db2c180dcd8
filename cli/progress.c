/* SPDX-License-Identifier: Apache-2.0 */
/* What tasks say of themselves while they run. */
#include "view.h"

int progresses_put(struct progresses *p, const char *task, uint32_t permille, const char *message)
{
        struct progress *q = strmap_get(&p->by_task, task);
        struct strmap_entry *e;
        char *copy = strdup(message);

        if (!q && copy) {
                q = calloc(1, sizeof(*q));
                if (q)
                        q->task = strdup(task);
                e = q && q->task ? strmap_add(&p->by_task, q->task, strlen(q->task)) : NULL;
                if (!e) {
                        if (q)
                                free(q->task);
                        free(q);
                        q = NULL;
                } else {
                        e->value.pointer = q;
                }
        }
        if (!q) {
                free(copy);
                return error_origin(-ENOMEM);
        }
        free(q->message);
        q->message = copy;
        q->permille = permille;
        return 0;
}

static void free_progress(struct progress *q)
{
        free(q->task);
        free(q->message);
        free(q);
}

void progresses_remove(struct progresses *p, const char *task)
{
        struct progress *q = strmap_get(&p->by_task, task);

        if (!q)
                return;
        strmap_remove(&p->by_task, task, strlen(task));
        free_progress(q);
}

void progresses_deinit(struct progresses *p)
{
        strmap_foreach (e, &p->by_task)
                free_progress(e->value.pointer);
        strmap_deinit(&p->by_task);
}
