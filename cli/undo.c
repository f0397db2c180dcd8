/* SPDX-License-Identifier: Apache-2.0 */
#include "undo.h"

#include "plan/plan.h"

#include <time.h>

void undo_count(const struct run *run, struct undo_count *ret)
{
        *ret = (struct undo_count){.undone = run->n_by_status[TASK_UNDONE]};
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];

                if (t->undo)
                        ret->total++;
                else
                        ret->failed += t->status == TASK_UNDO_FAILED;
        }
        ret->total += ret->undone + ret->failed;
}

bool undo_left(const struct run *run, uint32_t task)
{
        return run->rollback_reason && run_status_ended(run->status) &&
               run_in_rollback(run, task, run->to_checkpoint, run->preserve);
}

const char *undo_words(const struct task *t)
{
        switch (run_undo_verb(t)) {
        case PLAN_DELETE:
                return "delete";
        case PLAN_CREATE:
                return "create again";
        default:
                return "restore the former state";
        }
}

void undo_checkpoints(const struct run *run, struct buf *out)
{
        for (uint32_t i = 0; i < run->n_checkpoints; i++) {
                const struct checkpoint *c = &run->checkpoints[i];
                time_t s = (time_t)(c->at / 1000);
                char text[16];
                struct tm tm;

                localtime_r(&s, &tm);
                strftime(text, sizeof(text), "%H:%M:%S", &tm);
                buf_printf(out, "  checkpoint %u after %u operation%s, %s\n", i + 1, c->n_operations,
                           c->n_operations == 1 ? "" : "s", text);
        }
}

uint32_t undo_cause(const struct run *run)
{
        return run->rollback_reason && run->halted_by < run->n_tasks &&
                               (*run->rollback_reason || !*run->rollback_who)
                       ? run->halted_by
                       : TASK_NONE;
}

void undo_reason(const struct run *run, struct buf *out)
{
        _cleanup_(cleanup_json_decref) json_t *who = NULL;
        const char *user;

        if (!run->rollback_reason)
                return;
        if (undo_cause(run) != TASK_NONE) {
                buf_printf(out, "%s failed%s%.*s", task_id(run, &run->tasks[undo_cause(run)]),
                           *run->rollback_reason ? ": " : "",
                           (int)strcspn(run->rollback_reason, "\n"), run->rollback_reason);
                return;
        }
        if (json_parse(run->rollback_who, strlen(run->rollback_who), &who, NULL))
                who = NULL;
        user = json_get_string(who, "user", NULL);
        buf_printf(out, "asked for%s%s", user ? " by " : "", user ?: "");
        if (user && json_get_string(who, "host", NULL))
                buf_printf(out, "@%s", json_get_string(who, "host", ""));
}
