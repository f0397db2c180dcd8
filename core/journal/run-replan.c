/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A changed definition takes over a paused run: the plan follows anew in the stream. What has started
 * keeps its state, found again by the task's id; its verb stays what it was too, since the new plan was
 * made when the work was done already (an update that was made reads as a create of what is there).
 */
#include "journal/fold.h"

#include "base/strmap.h"

struct replaced {
        char *text;
        struct task *tasks;
        uint32_t n_tasks;
};

bool task_has_started(const struct task *t)
{
        return !task_is_join(t) && (t->attempt || t->redo || t->caused ||
                                    (task_status_ended(t->status) && t->status != TASK_SKIPPED));
}

void free_replaced(struct run *run)
{
        struct replaced *old = run->replaced;

        if (!old)
                return;
        for (uint32_t i = 0; i < old->n_tasks; i++)
                free_attempt(run, &old->tasks[i]);
        free(old->text);
        free(old->tasks);
        free(steal(&run->replaced));
}

int apply_replan(struct run *run, const struct record *r)
{
        struct replaced *old;

        if (!run->planned || run->status != RUN_PAUSED || run->rollback || run->halted)
                return error_origin(-EBADMSG);
        old = calloc(1, sizeof(*old));
        if (!old)
                return error_origin(-ENOMEM);
        old->text = steal(&run->text);
        old->tasks = steal(&run->tasks);
        old->n_tasks = run->n_tasks;
        run->replaced = old;
        free_plan(run);
        run->planned = false;
        return 0;
}

static void carry(struct run *run, struct task *t, struct task *old)
{
        if (old->status != TASK_READY) /* that is for the new plan to say */
                set_status(run, t, (enum task_status)old->status);
        t->verb = old->verb;
        t->irreversible = old->irreversible;
        t->drift = old->drift;
        t->redo = old->redo;
        t->caused = old->caused;
        t->restored = old->restored;
        t->note = old->note;
        t->started_s = old->started_s;
        t->ended_s = old->ended_s;
        t->checkpoint = old->checkpoint;
        t->attempt = steal(&old->attempt);
}

/* -EBADMSG if a task that changed something is not in the new plan. */
int carry_over(struct run *run)
{
        struct strmap by_id = STRMAP_NULL;
        struct replaced *old = run->replaced;
        uint32_t n = 0;
        int q = 0;

        for (uint32_t i = 0; i < old->n_tasks && q == 0; i++) {
                struct task *t = &old->tasks[i];
                struct strmap_entry *e;

                if (!task_has_started(t))
                        continue;
                e = strmap_add(&by_id, old->text + t->text, t->n_id);
                if (e)
                        e->value.pointer = t;
                else
                        q = error_origin(-ENOMEM);
                n += t->status != TASK_UNCHANGED;
        }
        for (uint32_t i = 0; i < run->n_tasks && q == 0; i++) {
                struct task *t = &run->tasks[i];
                struct strmap_entry *e = strmap_find(&by_id, task_id(run, t), t->n_id);

                if (!e || task_is_join(t))
                        continue;
                n -= ((struct task *)e->value.pointer)->status != TASK_UNCHANGED;
                carry(run, t, e->value.pointer);
        }
        strmap_deinit(&by_id);
        free_replaced(run);
        return q ?: n ? error_origin(-EBADMSG) : plan_again(run);
}
