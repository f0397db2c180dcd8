/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph once more: backwards for a rollback, and again for a retry.
 *
 * A rollback walks the plan's edges against their direction: the undo of a task may start when the undos
 * of all that depends on it have ended. Tasks that are not to be undone pass that on at once. The
 * counter of a task, `unmet`, counts dependents then; each edge is looked at once (promise 7).
 */
#include "journal/fold.h"

#include <prvng/abi.h>

static const struct task_note *note_of(const struct run *run, const struct task *t)
{
        return t->note ? &run->notes[t->note - 1] : NULL;
}

static bool fully_succeeded(const struct operation *o)
{
        return o->n_good == o->n_tasks;
}

static bool failed_and_left(const struct run *run, const struct task *t)
{
        const struct task_note *note = note_of(run, t);

        return t->status == TASK_FAILED && note && note->effect != PRVNG_EFFECT_NONE;
}

/* Its undo failed, and not because the resource is what somebody else made of it. A create says itself
 * whose it is. */
static bool undo_left(const struct run *run, const struct task *t)
{
        const struct task_note *note = note_of(run, t);

        return t->status == TASK_UNDO_FAILED &&
               (t->verb == VERB_CREATE ||
                (note && note->answer != PRVNG_CONFLICT && note->answer != PRVNG_NOT_FOUND));
}

bool run_undoable(const struct run *run, uint32_t task)
{
        const struct task *t = &run->tasks[task];

        if (task_is_join(t) || t->verb == VERB_CHECK)
                return false;
        return t->caused || t->redo || t->status == TASK_SUCCEEDED || t->status == TASK_UNDO_FAILED ||
               failed_and_left(run, t);
}

bool run_in_rollback(const struct run *run, uint32_t task, uint32_t checkpoint, bool preserve)
{
        const struct task *t = &run->tasks[task];

        return run_undoable(run, task) && t->checkpoint >= checkpoint &&
               !(preserve && fully_succeeded(&run->operations[t->operation]));
}

uint8_t run_undo_verb(const struct task *t)
{
        if (t->verb == VERB_CREATE)
                return VERB_DELETE;
        return t->verb == VERB_DELETE ? VERB_CREATE : VERB_UPDATE;
}

/* What each task depends on, from what depends on each. The soft bit goes along. */
int build_prev(struct run *run)
{
        uint32_t *first = calloc(run->n_tasks + (size_t)2, sizeof(*first));
        uint32_t *prev = malloc(MAX(run->n_deps, 1u) * sizeof(*prev));

        if (!first || !prev) {
                free(first);
                free(prev);
                return error_origin(-ENOMEM);
        }
        for (uint32_t i = 0; i < run->n_deps; i++)
                first[(run->next[i] & ~SOFT) + 2]++;
        for (uint32_t i = 2; i <= run->n_tasks; i++)
                first[i] += first[i - 1];
        for (uint32_t i = 0; i < run->n_tasks; i++)
                for (uint32_t k = run->first_next[i]; k < run->first_next[i + 1]; k++)
                        prev[first[(run->next[k] & ~SOFT) + 1]++] = i | (run->next[k] & SOFT);
        free_prev(run);
        run->first_prev = first;
        run->prev = prev;
        return 0;
}

void free_prev(struct run *run)
{
        free(steal(&run->first_prev));
        free(steal(&run->prev));
}

static void clear_queues(struct run *run)
{
        for (uint32_t i = 0; i < run->n_lanes; i++)
                run->lanes[i].n_ready = run->lanes[i].next_ready = 0;
}

/* Backwards */

/* Nobody needs the task any more: its undo may start, or it needs none and passes that on. By a list,
 * not by recursion, as in settle(). Its memory is the counters' own: what is on the list has none left. */
int settle_undo(struct run *run, uint32_t number)
{
        _cleanup_(cleanup_buf) struct buf list = BUF_NULL;
        int q = 0;

        buf_append(&list, &number, sizeof(number));
        while (list.n > 0 && q == 0) {
                uint32_t n;

                list.n -= sizeof(n);
                memcpy(&n, list.data + list.n, sizeof(n));
                assert(run->unsettled > 0 && run->unmet[n] == 0);
                run->unsettled--;
                for (uint32_t i = run->first_prev[n]; i < run->first_prev[n + 1] && q == 0; i++) {
                        uint32_t k = run->prev[i] & ~SOFT;
                        struct task *t = &run->tasks[k];

                        assert(run->unmet[k] > 0);
                        if (--run->unmet[k] > 0)
                                continue;
                        if (t->undo)
                                q = enqueue(run, k);
                        else if (buf_append(&list, &k, sizeof(k)), buf_error(&list))
                                q = error_origin(-ENOMEM);
                }
        }
        return q;
}

int apply_rollback(struct run *run, const struct record *r)
{
        if (!run->planned || r->checkpoint > run->n_checkpoints)
                return error_origin(-EBADMSG);
        run->status = RUN_ROLLING_BACK;
        run->ended_ms = 0;
        run->rollback = run->halted = true;
        run->unwinding = run->stopped = false;
        run->to_checkpoint = r->checkpoint;
        run->preserve = r->preserve != 0;
        run->rollback_ms = r->at;
        return set_string(&run->rollback_reason, r->message) ?: set_string(&run->rollback_who, r->who);
}

int apply_unwind(struct run *run, const struct record *r)
{
        uint32_t count = 0;
        int q;

        if (!run->rollback || run->unwinding || run->n_attempts > 0)
                return error_origin(-EBADMSG);
        q = build_prev(run);
        if (q)
                return error_fold(q);
        clear_queues(run);
        run->unwinding = true;
        run->unsettled = run->n_tasks;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct task *t = &run->tasks[i];

                t->undo = run_in_rollback(run, i, run->to_checkpoint, run->preserve);
                if (t->redo) /* it was to be done again, but what it left is still there */
                        set_status(run, t, TASK_FAILED);
                t->redo = 0;
                run->unmet[i] = run->first_next[i + 1] - run->first_next[i];
                count += t->undo;
        }
        if (count != r->count)
                return error_origin(-EBADMSG);
        for (uint32_t i = run->n_tasks; i-- > 0 && q == 0;) {
                if (run->first_next[i] == run->first_next[i + 1])
                        q = run->tasks[i].undo ? enqueue(run, i) : settle_undo(run, i);
        }
        return q;
}

/* Again */

static bool to_do_again(const struct task *t)
{
        return t->status == TASK_FAILED || t->status == TASK_SKIPPED ||
               t->status == TASK_UNDONE || t->status == TASK_UNDO_FAILED;
}

/* Marks what is done again by making it wait. With an operation: its tasks that did not succeed, and
 * what was skipped because of them. Tasks stand in topological order. */
static void choose(struct run *run, uint32_t operation)
{
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct task *t = &run->tasks[i];
                bool follows = false, undone = false, again;

                for (uint32_t k = run->first_prev[i]; k < run->first_prev[i + 1]; k++) {
                        const struct task *on = &run->tasks[run->prev[k] & ~SOFT];

                        follows |= on->status == TASK_WAITING;
                        undone |= !(run->prev[k] & SOFT) && !task_status_good(on->status);
                }
                if (task_is_join(t) && !follows && undone) /* reached before a rollback, and no longer */
                        set_status(run, t, TASK_SKIPPED);
                if (task_is_join(t))
                        again = follows;
                else
                        again = to_do_again(t) &&
                                (operation == TASK_NONE || t->operation == operation ||
                                 (follows && t->status == TASK_SKIPPED));
                if (!again)
                        continue;
                t->caused |= failed_and_left(run, t) || undo_left(run, t);
                t->redo = t->verb == VERB_CREATE && failed_and_left(run, t);
                set_status(run, t, TASK_WAITING);
                t->started_s = t->ended_s = 0;
        }
}

static void count_again(struct run *run)
{
        run->unsettled = run->n_completed = 0;
        for (uint32_t i = 0; i < run->n_operations; i++)
                run->operations[i].n_ended = run->operations[i].n_failed =
                        run->operations[i].n_good = 0;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct task *t = &run->tasks[i];

                run->unmet[i] = t->blocked = 0;
                for (uint32_t k = run->first_prev[i]; k < run->first_prev[i + 1]; k++) {
                        const struct task *on = &run->tasks[run->prev[k] & ~SOFT];

                        if (!task_status_ended(on->status))
                                run->unmet[i]++;
                        else if (!(run->prev[k] & SOFT) && !task_status_good(on->status))
                                t->blocked = 1;
                }
                if (!task_status_ended(t->status))
                        run->unsettled++;
                else if (!task_is_join(t))
                        count_ended(run, t);
        }
}

int start_ready(struct run *run)
{
        int q = 0;

        for (uint32_t i = 0; i < run->n_tasks && q == 0; i++) {
                struct task *t = &run->tasks[i];

                if (run->unmet[i] || t->status != TASK_WAITING)
                        continue;
                if (!t->blocked && !task_is_join(t)) {
                        set_status(run, t, TASK_READY);
                        q = enqueue(run, i);
                } else {
                        set_status(run, t, t->blocked ? TASK_SKIPPED : TASK_SUCCEEDED);
                        q = settle(run, i);
                }
        }
        return q;
}

int plan_again(struct run *run)
{
        int q = build_prev(run);

        if (q)
                return error_fold(q);
        count_again(run);
        free_prev(run);
        return start_ready(run);
}

int apply_rerun(struct run *run, const struct record *r)
{
        uint32_t operation = TASK_NONE;
        int q;

        if (!run->planned || !run_status_ended(run->status) || run->n_attempts > 0)
                return error_origin(-EBADMSG);
        for (uint32_t i = 0; i < run->n_operations && r->id.n; i++)
                if (span_eq(r->id, operation_id(run, &run->operations[i])))
                        operation = i;
        if (r->id.n && operation == TASK_NONE)
                return error_origin(-EBADMSG);
        q = build_prev(run);
        if (q)
                return error_fold(q);
        run->status = RUN_RUNNING;
        run->ended_ms = 0;
        run->halted = run->cancelled = run->stopped = false;
        free(steal(&run->rollback_reason));
        free(steal(&run->rollback_who));
        run->halted_by = TASK_NONE;
        clear_queues(run);
        choose(run, operation);
        count_again(run);
        free_prev(run);
        return start_ready(run);
}
