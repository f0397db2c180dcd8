/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, what is left of it, and what a person can do next. */
#include "view.h"

#include "undo.h"

#define TROUBLES_MAX 20u

const char *view_mark(const struct view *v, enum task_status s)
{
        switch (s) {
        case TASK_SUCCEEDED:
        case TASK_UNCHANGED:
                return v->utf8 ? "✓" : "+";
        case TASK_FAILED:
        case TASK_UNDO_FAILED:
                return v->utf8 ? "✗" : "x";
        case TASK_PARKED:
                return v->utf8 ? "‖" : "!";
        case TASK_UNDONE:
                return v->utf8 ? "↶" : "<";
        case TASK_WAITING:
        case TASK_READY:
        case TASK_RUNNING:
        case TASK_PENDING:
        case TASK_RETRYING:
        case TASK_IN_DOUBT:
        case TASK_SKIPPED:
        case TASK_UNDOING:
        case N_TASK_STATUSES:
                break;
        }
        return v->utf8 ? "–" : "-";
}

static void put_indented(struct buf *out, const char *text)
{
        while (*text) {
                size_t n = strcspn(text, "\n");

                BUF_LIT(out, "    ");
                buf_append(out, text, n);
                buf_putc(out, '\n');
                text += n + (text[n] == '\n');
        }
}

/* What to say of a task; NULL: it is no trouble. */
static const char *trouble(const struct run *run, uint32_t number)
{
        const struct task *t = &run->tasks[number];

        if (task_is_join(t))
                return NULL;
        if (t->status == TASK_PARKED)
                return "waits for you";
        if (t->status == TASK_UNDO_FAILED)
                return "could not be undone";
        if (t->status == TASK_UNDONE)
                return number == undo_cause(run) ? "failed, then undone" : NULL;
        if (undo_left(run, number))
                return t->status == TASK_FAILED ? "failed, and what it left is not undone"
                                                : "was not undone";
        return t->status == TASK_FAILED ? "failed" : NULL;
}

static void put_trouble(const struct view *v, const struct run *run, uint32_t number,
                        const char *what, struct buf *out)
{
        const struct task *t = &run->tasks[number];
        const struct task_note *note = run_note(run, number);
        bool parked = t->status == TASK_PARKED;

        buf_puts(out, "  ");
        paint(out, v->color, parked ? MAGENTA : t->status == TASK_UNDONE ? YELLOW : RED,
              view_mark(v, t->status == TASK_SUCCEEDED ? TASK_UNDO_FAILED : t->status));
        buf_putc(out, ' ');
        paint(out, v->color, BOLD, task_id(run, t));
        buf_printf(out, "  %s\n", what);
        if (undo_left(run, number)) {
                BUF_LIT(out, "    still there: ");
                paint(out, v->color, BOLD, task_key(run, t));
                buf_putc(out, '\n');
        }
        if (note && note->message[0])
                put_indented(out, note->message);
        else if (t->status != TASK_SUCCEEDED && t->status != TASK_UNDONE)
                put_indented(out, "no reason was given");
        if (t->status == TASK_SUCCEEDED)
                return;
        BUF_LIT(out, "    ");
        paint(out, v->color, DIM, "its log: ");
        buf_printf(out, "prvng batch logs %s %s\n", run->id_text, task_id(run, t));
}

static void put_rolled_back(const struct run *run, struct buf *out)
{
        if (!run->rollback_reason)
                return;
        BUF_LIT(out, "  rolled back");
        if (run->to_checkpoint)
                buf_printf(out, " to checkpoint %u", run->to_checkpoint);
        BUF_LIT(out, ": ");
        if (undo_cause(run) != TASK_NONE) /* why is said where it is listed */
                buf_printf(out, "%s failed", task_id(run, &run->tasks[undo_cause(run)]));
        else
                undo_reason(run, out);
        buf_putc(out, '\n');
}

/* What a person can do next. */
static void put_next(const struct run *run, uint32_t n_failed, struct buf *out)
{
        switch (run->status) {
        case RUN_FAILED:
                if (!n_failed)
                        return;
                buf_printf(out, "\nWhat succeeded stays. Mend the cause and submit again: only what is\n"
                                "missing or different will be done. Or: prvng batch retry %s\n"
                                "To undo what was done: prvng batch rollback %s\n",
                           run->id_text, run->id_text);
                return;
        case RUN_ROLLED_BACK:
                if (undo_cause(run) == TASK_NONE)
                        return;
                buf_printf(out, "\nWhat the run did%s is undone. Mend the cause and submit again, or:\n"
                                "prvng batch retry %s\n",
                           run->to_checkpoint ? " after the checkpoint" : "", run->id_text);
                return;
        case RUN_ROLLBACK_INCOMPLETE:
                buf_printf(out, "\nMend the cause and go on with the rollback: prvng batch resume %s\n",
                           run->id_text);
                return;
        case RUN_CANCELLED:
                buf_printf(out, "\nWhat was done stays. To go on: prvng batch retry %s\n"
                                "To undo it: prvng batch rollback %s\n",
                           run->id_text, run->id_text);
                return;
        case RUN_SUCCEEDED:
        case RUN_PENDING:
        case RUN_RUNNING:
        case RUN_PAUSED:
        case RUN_ROLLING_BACK:
        case N_RUN_STATUSES:
                return;
        }
}

void view_troubles(const struct view *v, const struct run *run, struct buf *out)
{
        uint32_t n = 0, n_failed = 0;
        const char *what;

        if (run_status_ended(run->status))
                put_rolled_back(run, out);
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                what = trouble(run, i);
                if (!what)
                        continue;
                n_failed += run->tasks[i].status != TASK_PARKED;
                if (n++ < TROUBLES_MAX || undo_left(run, i)) /* what is left is listed to the last */
                        put_trouble(v, run, i, what, out);
        }
        if (n > TROUBLES_MAX && run->status != RUN_ROLLBACK_INCOMPLETE)
                buf_printf(out, "  … %u more: prvng batch status %s --format json\n",
                           n - TROUBLES_MAX, run->id_text);
        for (uint32_t i = 0; i < run->n_tasks && run->n_drift; i++)
                if (run->tasks[i].drift && !task_is_join(&run->tasks[i])) {
                        const struct task_note *note = run_note(run, i);

                        buf_printf(out, "  %s differs from what was asked for%s%s\n",
                                   task_key(run, &run->tasks[i]), note ? ": " : "",
                                   note ? note->message : "");
                }
        put_next(run, n_failed, out);
}
