/* SPDX-License-Identifier: Apache-2.0 */
/* What is said once: lines for each change, and the end of a run. */
#include "view.h"

#include "base/clock.h"
#include "undo.h"

#include <prvng/abi.h>
#include <time.h>

#define TABLE_TASKS_MAX 60u   /* above it the table is by operation */

static const char *const verb_names[] = {"create", "update", "delete", "check", "join"};

static int64_t task_seconds(const struct task *t)
{
        return t->started_s && t->ended_s ? (int64_t)t->ended_s - t->started_s : -1;
}

/* The table */

static void put_row(const struct view *v, struct buf *out, const char *id, size_t width,
                    const char *status, enum paint p, int64_t seconds, const char *more)
{
        struct buf text = BUF_NULL;

        BUF_LIT(out, "  ");
        put_cut(&text, id, width, width, v->utf8);
        buf_puts(out, buf_str(&text));
        BUF_LIT(out, "  ");
        buf_clear(&text);
        put_cut(&text, status, 12, 12, v->utf8);
        paint(out, v->color, p, buf_str(&text));
        buf_clear(&text);
        if (seconds >= 0)
                put_duration(&text, seconds);
        for (size_t n = text.n; n < 8; n++)
                buf_putc(out, ' ');
        buf_puts(out, buf_str(&text));
        if (*more) {
                BUF_LIT(out, "  ");
                paint(out, v->color, DIM, more);
        }
        buf_putc(out, '\n');
        buf_deinit(&text);
}

static void table_by_operation(const struct view *v, const struct run *run, struct buf *out)
{
        _cleanup_(cleanup_free) uint32_t *undone = calloc(run->n_operations + (size_t)1, sizeof(*undone));
        _cleanup_(cleanup_free) uint32_t *kept = calloc(run->n_operations + (size_t)1, sizeof(*kept));
        size_t width = 8;
        char more[64];

        if (!undone || !kept)
                return;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                undone[run->tasks[i].operation] += run->tasks[i].status == TASK_UNDONE;
                kept[run->tasks[i].operation] += run->tasks[i].status == TASK_UNDO_FAILED;
        }
        for (uint32_t i = 0; i < run->n_operations; i++)
                width = MAX(width, text_width(operation_id(run, &run->operations[i])));
        for (uint32_t i = 0; i < run->n_operations; i++) {
                const struct operation *o = &run->operations[i];
                const char *status = kept[i]                   ? "undo_failed"
                                     : undone[i]               ? "undone"
                                     : o->n_failed             ? "failed"
                                     : o->n_ended < o->n_tasks ? "waiting"
                                                               : "succeeded";

                if (undone[i] + kept[i])
                        snprintf(more, sizeof(more), "%u of %u undone", undone[i],
                                 undone[i] + kept[i]);
                else
                        snprintf(more, sizeof(more), "%u of %u tasks", o->n_ended, o->n_tasks);
                put_row(v, out, operation_id(run, o), MIN(width, (size_t)50), status,
                        status_paint(status), -1, more);
        }
}

void view_table(const struct view *v, const struct run *run, struct buf *out)
{
        uint32_t n = 0;
        size_t width = 8;

        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (!task_is_join(&run->tasks[i])) {
                        n++;
                        width = MAX(width, text_width(task_id(run, &run->tasks[i])));
                }
        if (n > TABLE_TASKS_MAX) {
                table_by_operation(v, run, out);
                return;
        }
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];
                const char *status = task_status_name(t->status);

                if (!task_is_join(t))
                        put_row(v, out, task_id(run, t), MIN(width, (size_t)60), status,
                                status_paint(status), task_seconds(t),
                                t->drift ? "differs" : t->implied ? "implied" : "");
        }
}

/* The summary */

void view_summary(const struct view *v, const struct run *run, struct buf *out)
{
        const char *status = run_status_name(run->status);
        int64_t from = run->rollback_reason ? run->rollback_ms
                       : run->started_ms    ? run->started_ms
                                            : run->accepted_ms;
        bool good = run->status == RUN_SUCCEEDED;
        struct buf text = BUF_NULL;
        uint32_t total = 0;
        static const struct {
                enum task_status status;
                const char *word;
        } words[] = {{TASK_UNCHANGED, "unchanged"}, {TASK_FAILED, "failed"},
                     {TASK_SKIPPED, "skipped"},     {TASK_PARKED, "waiting for you"},
                     {TASK_UNDONE, "undone"},       {TASK_UNDO_FAILED, "not undone"}};

        for (uint32_t s = 0; s < N_TASK_STATUSES; s++)
                total += run->n_by_status[s];
        buf_printf(&text, "%s %s",
                   view_mark(v, good                             ? TASK_SUCCEEDED
                                : run->status == RUN_ROLLED_BACK ? TASK_UNDONE
                                                                 : TASK_FAILED),
                   run->name);
        paint(out, v->color, good ? GREEN : run->status == RUN_ROLLED_BACK ? YELLOW : RED,
              buf_str(&text));
        buf_clear(&text);
        for (const char *p = status; *p; p++)
                buf_putc(&text, *p == '_' ? ' ' : *p);
        buf_printf(out, " %s in ", buf_str(&text));
        put_duration(out, MAX(run->ended_ms - from, (int64_t)0) / 1000);
        buf_printf(out, ": %u task%s", total, total == 1 ? "" : "s");
        for (size_t i = 0; i < N_ELEMENTS(words); i++)
                if (run->n_by_status[words[i].status])
                        buf_printf(out, ", %u %s", run->n_by_status[words[i].status],
                                   words[i].word);
        if (run->n_drift)
                buf_printf(out, ", %u differ", run->n_drift);
        buf_putc(out, '\n');
        buf_deinit(&text);
}

/* Lines */

static void put_at(const struct view *v, const struct record *r, struct buf *out)
{
        time_t s = (time_t)(r->at / 1000);
        char text[16];
        struct tm tm;

        localtime_r(&s, &tm);
        strftime(text, sizeof(text), "%H:%M:%S", &tm);
        paint(out, v->color, DIM, text);
        BUF_LIT(out, "  ");
}

static void put_message(const struct record *r, const char *between, struct buf *out)
{
        if (!r->message.n)
                return;
        buf_puts(out, between);
        for (size_t i = 0; i < r->message.n; i++)
                buf_putc(out, r->message.p[i] == '\n' ? ' ' : r->message.p[i]);
}

static void line_of_task(const struct view *v, const struct run *run, const struct record *r,
                         struct buf *out)
{
        const struct task *t = &run->tasks[r->task];
        const char *status = task_status_name(t->status);
        int64_t s = task_seconds(t);

        put_at(v, r, out);
        buf_puts(out, task_id(run, t));
        BUF_LIT(out, "  ");
        switch ((int)r->type) {
        case RECORD_INTENT:
                paint(out, v->color, CYAN, verb_names[t->verb]);
                break;
        case RECORD_BEGIN:
                buf_printf(out, "attempt %u", r->attempt);
                break;
        case RECORD_RETRY:
                paint(out, v->color, YELLOW, "again in ");
                put_duration(out, (r->after + 999) / 1000);
                buf_printf(out, " (attempt %u)", r->attempt);
                put_message(r, ": ", out);
                break;
        case RECORD_DOUBT:
                paint(out, v->color, YELLOW, "in doubt");
                put_message(r, ": ", out);
                break;
        case RECORD_UNDO:
                paint(out, v->color, YELLOW, "undo");
                buf_printf(out, " (%s)", verb_names[run_undo_verb(t)]);
                break;
        case RECORD_UNDONE:
                paint(out, v->color, YELLOW, r->answer == PRVNG_CONFLICT ? "kept" : "undone");
                put_message(r, ": ", out);
                break;
        case RECORD_UNDO_FAILED:
                paint(out, v->color, RED, "could not be undone");
                put_message(r, ": ", out);
                break;
        case RECORD_SURPLUS:
                paint(out, v->color, YELLOW, "was made twice: the other one is deleted");
                break;
        case RECORD_WAIT:
                paint(out, v->color, CYAN, "waits");
                put_message(r, ": ", out);
                break;
        case RECORD_PARKED:
                paint(out, v->color, MAGENTA, "waits for you");
                put_message(r, ": ", out);
                break;
        default:
                paint(out, v->color, status_paint(status), status);
                if (s >= 0) {
                        BUF_LIT(out, " in ");
                        put_duration(out, s);
                }
                if (t->drift)
                        BUF_LIT(out, ", differs");
                put_message(r, ": ", out);
        }
        buf_putc(out, '\n');
}

void view_line(const struct view *v, const struct run *run, const struct record *r,
               struct buf *out)
{
        uint32_t n = 0;

        switch (r->type) {
        case RECORD_PLANNED:
                for (uint32_t i = 0; i < run->n_operations; i++)
                        n += run->operations[i].n_tasks;
                put_at(v, r, out);
                buf_printf(out, "%s  %u tasks in %u operations\n", run->name, n, run->n_operations);
                return;
        case RECORD_INTENT:
        case RECORD_RETRY:
        case RECORD_DOUBT:
        case RECORD_DONE:
        case RECORD_FAILED:
        case RECORD_PARKED:
        case RECORD_UNDO:
        case RECORD_UNDONE:
        case RECORD_UNDO_FAILED:
        case RECORD_SURPLUS:
        case RECORD_WAIT:
                if (r->task < run->n_tasks)
                        line_of_task(v, run, r, out);
                return;
        case RECORD_BEGIN:
                if (r->task < run->n_tasks && r->attempt > 1)
                        line_of_task(v, run, r, out);
                return;
        case RECORD_HALT:
                put_at(v, r, out);
                BUF_LIT(out, "nothing more starts"); /* the line before it tells all */
                for (size_t i = 0; i < r->message.n && r->message.p[i] != '\n'; i++)
                        buf_printf(out, "%s%c", i ? "" : ": ", r->message.p[i]);
                buf_putc(out, '\n');
                return;
        case RECORD_CANCEL:
                put_at(v, r, out);
                BUF_LIT(out, "cancelled: nothing more starts\n");
                return;
        case RECORD_PAUSE:
                put_at(v, r, out);
                BUF_LIT(out, "paused: nothing more starts until it is resumed\n");
                return;
        case RECORD_RESUME:
                put_at(v, r, out);
                BUF_LIT(out, "resumed\n");
                return;
        case RECORD_ROLLBACK:
                put_at(v, r, out);
                BUF_LIT(out, "rollback");
                if (r->checkpoint)
                        buf_printf(out, " to checkpoint %u", r->checkpoint);
                BUF_LIT(out, ": ");
                undo_reason(run, out);
                buf_putc(out, '\n');
                return;
        case RECORD_UNWIND:
                put_at(v, r, out);
                buf_printf(out, "%u task%s to undo\n", r->count, r->count == 1 ? "" : "s");
                return;
        case RECORD_CHECKPOINT:
                put_at(v, r, out);
                buf_printf(out, "checkpoint %u\n", r->checkpoint);
                return;
        case RECORD_RESOLVED:
                put_at(v, r, out);
                buf_printf(out, "%s  resolved as %.*s\n",
                           r->task < run->n_tasks ? task_id(run, &run->tasks[r->task]) : "?",
                           (int)r->status.n, r->status.p);
                return;
        case RECORD_RERUN:
                put_at(v, r, out);
                BUF_LIT(out, "what did not succeed is done again\n");
                return;
        case RECORD_REPLAN:
                put_at(v, r, out);
                BUF_LIT(out, "a changed definition takes over\n");
                return;
        case RECORD_SITE:
        case RECORD_ENGINE:
        case RECORD_ACCEPTED:
        case RECORD_RESOURCE:
        case RECORD_GONE:
        case RECORD_ENDED:
        case RECORD_RUN:
        case RECORD_DEFINITION:
        case RECORD_LANE:
        case RECORD_OPERATION:
        case RECORD_TASK:
        case RECORD_TOKEN:
        case RECORD_END:
        case RECORD_REOPENED:
        case RECORD_CLAIM:
        case RECORD_SIGNER:
        case RECORD_COMPACTED:
        case RECORD_RESTORED:
        case RECORD_MIGRATED:
        case RECORD_MADE:
        case RECORD_REMOVED:
        case N_RECORD_TYPES:
                return;
        }
}
