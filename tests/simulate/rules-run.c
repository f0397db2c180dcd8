/* SPDX-License-Identifier: Apache-2.0 */
/* What the records of a run as a whole must keep to: commands, rollback, retry, the end. */
#include "simulate/witness-inside.h"

/* Rollback */

static bool fully_succeeded(const struct w_run *run, uint32_t operation)
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i]->operation == operation && !w_is_join(run->tasks[i]) &&
                    run->tasks[i]->status != W_DONE)
                        return false;
        return true;
}

static bool has_something(const struct witness_task *t)
{
        return t->caused || (t->status == W_DONE && t->acted) || (t->status == W_FAILED && t->left) ||
               t->status == W_UNDO_FAILED;
}

/* design.md §5: what a rollback to that checkpoint undoes. Not marked: what it should have undone. */
static uint32_t choose_undos(struct w_run *run, uint32_t to, bool preserve, bool mark)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct witness_task *t = run->tasks[i];
                bool undo = has_something(t) && t->checkpoint >= to &&
                            !(preserve && fully_succeeded(run, t->operation)) && (mark || !t->kept);

                n += undo;
                if (mark)
                        t->undo = undo;
        }
        return n;
}

static uint32_t count_going(const struct w_run *run)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < run->n_tasks; i++)
                n += run->tasks[i]->status > W_WAITING && run->tasks[i]->status < W_DONE;
        return n;
}

static void rolls_back(struct w_run *run, const struct record *r)
{
        run->rollback = run->halted = true;
        run->halt_due = run->unwinding = run->stopped = run->finished = run->paused = false;
        run->rolled_back = false;
        run->to = r->checkpoint;
        run->preserving = r->preserve != 0;
}

static void unwinds(struct w_run *run, const struct record *r)
{
        uint32_t n;

        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i]->redo) { /* what was to be done again */
                        run->tasks[i]->status = W_FAILED;
                        run->tasks[i]->redo = false;
                }
        n = choose_undos(run, run->to, run->preserving, true);
        if (count_going(run))
                violated("drain", "run %s undoes while %u of its tasks go on", run->id, count_going(run));
        if (n != r->count)
                violated("undo-set", "run %s undoes %u tasks; %u have something to undo", run->id,
                         r->count, n);
        run->unwinding = true;
}

/* The undos of all that depends on it, over any number of joins, have ended. */
static void check_backwards(const struct w_run *run, const struct witness_task *t)
{
        bool *reached = calloc(run->n_tasks, 1);

        reached[t->number] = true;
        for (uint32_t i = t->number + 1; i < run->n_tasks; i++) {
                const struct witness_task *other = run->tasks[i];

                for (uint32_t k = 0; k < other->n_deps && !reached[i]; k++)
                        reached[i] = reached[other->deps[k]];
                if (reached[i] && (other->undo || (other->status > W_WAITING && other->status < W_DONE)))
                        violated("undo-order", "%s is undone before %s, which depends on it", t->id,
                                 other->id);
        }
        free(reached);
}

void w_undo_starts(struct w_run *run, struct witness_task *t, const struct record *r)
{
        if (!t->redo && !t->undo)
                violated("undo-once", "%s is undone, and nothing of it is to be undone", t->id);
        else if (!t->redo && !run->unwinding)
                violated("undo-once", "%s is undone, and run %s does not unwind", t->id, run->id);
        if (t->redo)
                w_check_start(t, "the undo");
        else
                check_backwards(run, t);
        w_check_alone(t, "the undo");
        t->undo = t->begun = false; /* only once */
        t->made = NULL;
        w_status(t, W_WAITING);
        w_intent(t, r, W_UNDO);
        w_status(t, W_RUNNING);
}

/* Others use what servers share: it stays, and nothing was asked. */
static void kept(struct witness_task *t, bool asked)
{
        if (asked || t->redo || t->verb != W_CREATE || startswith(t->key, "server.") ||
            startswith(t->key, "taskserv."))
                violated("undo-kept", "%s was to be undone and is kept", t->id);
        t->kept = true;
        w_status(t, W_DONE);
}

static void undone(struct witness_task *t, const struct record *r, bool asked)
{
        if (r->answer == PRVNG_CONFLICT) {
                kept(t, asked);
                return;
        }
        t->kept = false;
        if (asked)
                t->request->fate = r->answer == PRVNG_UNCHANGED ? FATE_NOTHING : FATE_DONE;
        if (t->verb == W_CREATE)
                w_gone(t->key);
        else if (asked) {
                if (t->verb == W_DELETE) { /* half of it, maybe */
                        w_takes(t);
                        w_gone(t->key);
                }
                w_restored(t, r->outputs);
        }
        t->acted = t->left = t->caused = false;
        w_status(t, t->redo ? W_WAITING : W_UNDONE);
}

/* A server came back without what stood on it. */
static bool is_bare(const struct witness_task *t, const struct record *r)
{
        return r->type == RECORD_UNDO_FAILED && t->status == W_UNDONE && t->verb == W_DELETE;
}

static void check_nothing_lost(const struct w_run *run, const struct witness_task *t)
{
        for (uint32_t i = 0; i < t->n_took && t->status == W_UNDONE; i++)
                if (!t->took[i]->there)
                        violated("lost", "%s of run %s is undone, and %s, which stood on %s, is not there",
                                 t->id, run->id, t->took[i]->key, t->key);
}

void w_undo_ends(struct w_run *run, struct witness_task *t, const struct record *r)
{
        bool asked = t->status > W_WAITING && t->status < W_DONE;

        if (is_bare(t, r)) {
                t->foreign = false;
                w_status(t, W_UNDO_FAILED);
                return;
        }
        if (asked ? !t->request || t->request->role != W_UNDO
                  : !t->undo && !t->redo && t->status != W_UNDO_FAILED)
                violated("undo-once", "an undo of %s ended that never began", t->id);
        if (!asked && t->undo)
                check_backwards(run, t);
        if (r->type == RECORD_UNDONE) {
                undone(t, r, asked);
        } else {
                if (asked && t->request)
                        t->request->fate = r->effect == PRVNG_EFFECT_NONE ? FATE_NOTHING : FATE_LEFT;
                if (t->redo && run->operations[t->operation] != 'c' && !run->halted)
                        run->halt_due = true;
                t->foreign = r->answer == PRVNG_CONFLICT || r->answer == PRVNG_NOT_FOUND;
                w_status(t, t->redo ? W_FAILED : W_UNDO_FAILED);
        }
        t->undo = t->redo = false;
}

/* Retry: the same choice as the fold makes, made once more (docs/architecture.md). */
static void runs_again(struct w_run *run, const struct record *r)
{
        char id[300];

        if (!run->finished)
                violated("retry", "run %s is done again before it ended", run->id);
        snprintf(id, sizeof(id), "%.*s", (int)r->id.n, r->id.n ? r->id.p : "");
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct witness_task *t = run->tasks[i];
                bool follows = false, undone = false, again;

                for (uint32_t k = 0; k < t->n_deps; k++) {
                        const struct witness_task *on = run->tasks[t->deps[k]];

                        follows |= on->status == W_WAITING;
                        undone |= k < t->n_hard && on->status != W_DONE;
                }
                if (w_is_join(t) && !follows && undone)
                        t->status = W_SKIPPED;
                if (w_is_join(t))
                        again = follows;
                else
                        again = t->status != W_DONE &&
                                (!*id || w_operation_is(run, t->operation, id) ||
                                 (follows && t->status == W_SKIPPED));
                if (again) {
                        t->caused |= (t->status == W_FAILED && t->left) ||
                                     (t->status == W_UNDO_FAILED && (t->verb == W_CREATE || !t->foreign));
                        t->redo = t->status == W_FAILED && t->verb == W_CREATE && t->left;
                        t->status = W_WAITING;
                }
                t->settled = t->blocked = false;
        }
        run->halted = run->halt_due = run->cancelled = run->stopped = run->finished = false;
        run->rollback = run->unwinding = run->rolled_back = false;
        run->halted_by = 0;
}

/* The end */

static void count_ends(struct w_run *run, uint32_t n[W_UNDO_FAILED + 1])
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                run->tasks[i]->settled = run->tasks[i]->blocked = false;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct witness_task *t = run->tasks[i];

                t->settled = t->status == W_WAITING && w_ended(t); /* as long as all is as it was */
        }
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct witness_task *t = run->tasks[i];

                if (t->status == W_WAITING && w_is_join(t) && t->settled && !t->blocked)
                        t->status = W_DONE;
                else if (t->status == W_WAITING)
                        t->status = t->redo ? W_FAILED : W_SKIPPED;
                t->redo = t->undo = false;
                if (!w_is_join(t))
                        n[t->status]++;
        }
}

/* A failure of an operation with on_failure = rollback is rolled back, unless the strategy or a command
 * says otherwise. */
static void check_automatic(struct w_run *run)
{
        uint32_t operation, n_good = 0;

        if (!run->halted_by || run->cancelled || !run->strategy || run->rollback)
                return;
        operation = run->tasks[run->halted_by - 1]->operation;
        for (uint32_t i = 0; i < run->n_tasks; i++)
                n_good += run->tasks[i]->operation == operation && run->tasks[i]->status == W_DONE &&
                          !w_is_join(run->tasks[i]);
        if (run->operations[operation] == 'r' && (run->on_partial || !n_good) &&
            choose_undos(run, 0, run->preserve, false))
                violated("no-rollback", "run %s failed and was not rolled back", run->id);
}

static void finishes(struct w_run *run, const struct record *r)
{
        uint32_t n[W_UNDO_FAILED + 1] = {0}, n_left;

        if (count_going(run))
                violated("end-too-early", "run %s ended while %u tasks go on", run->id, count_going(run));
        check_automatic(run);
        count_ends(run, n);
        n_left = choose_undos(run, run->to, run->preserving, false);
        if (span_eq(r->status, "succeeded") && (n[W_FAILED] || run->cancelled || run->rollback))
                violated("end-status", "run %s succeeded with %u failed tasks", run->id, n[W_FAILED]);
        n[W_SKIPPED] += n[W_UNDONE] + n[W_UNDO_FAILED];
        if (span_eq(r->status, "succeeded") && n[W_SKIPPED])
                violated("end-status", "run %s succeeded, and %u of its tasks are not done", run->id,
                         n[W_SKIPPED]);
        if (span_eq(r->status, "failed") && !n[W_FAILED] && !n[W_SKIPPED] && !run->halted)
                violated("end-status", "run %s failed without a failed task", run->id);
        if (span_eq(r->status, "cancelled") && !run->cancelled)
                violated("end-status", "run %s was cancelled by nobody", run->id);
        if (span_eq(r->status, "rolled_back") && (!run->unwinding || n_left))
                violated("end-status", "run %s is rolled back, and %u tasks have something left", run->id,
                         n_left);
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                check_nothing_lost(run, run->tasks[i]);
                if (run->tasks[i]->status == W_UNDONE) /* what happens to it later is not of this run */
                        run->tasks[i]->n_took = 0;
        }
        run->paused = false;
        run->rolled_back = span_eq(r->status, "rolled_back") && run->to == 0 && !run->preserving;
        run->finished = true;
}

static void halts(struct w_run *run, const struct record *r)
{
        run->halted = true;
        run->halt_due = false;
        if (r->type == RECORD_HALT)
                run->halted_by = r->task + 1;
        else if (run->rollback)
                run->stopped = true;
        else
                run->cancelled = true;
}

static void check_checkpoint(struct w_run *run, const struct record *r)
{
        if (r->checkpoint != ++run->n_checkpoints)
                violated("checkpoints", "checkpoint %u of run %s, which has %u", r->checkpoint, run->id,
                         run->n_checkpoints - 1);
}

bool w_run_rules(struct w_run *run, const struct record *r)
{
        switch ((unsigned)r->type) {
        case RECORD_HALT:
        case RECORD_CANCEL:
                halts(run, r);
                return true;
        case RECORD_PAUSE:
        case RECORD_RESUME:
                run->paused = r->type == RECORD_PAUSE;
                return true;
        case RECORD_CHECKPOINT:
                check_checkpoint(run, r);
                return true;
        case RECORD_ROLLBACK:
                rolls_back(run, r);
                return true;
        case RECORD_UNWIND:
                unwinds(run, r);
                return true;
        case RECORD_RERUN:
                runs_again(run, r);
                return true;
        case RECORD_REPLAN:
                w_replans(run);
                return true;
        case RECORD_END:
                finishes(run, r);
                return true;
        default:
                return false;
        }
}

bool witness_rolled_back(const char *op_id)
{
        const struct w_request *q = w_request_find(op_id);

        return q && q->task && q->role == W_TASK && q->task->run->rolled_back && !q->task->kept;
}
