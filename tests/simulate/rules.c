/* SPDX-License-Identifier: Apache-2.0 */
/* What the records of a task must keep to. */
#include "simulate/witness-inside.h"

/* May a request of this kind start, or be tried again, in the run as it is? */
static void check_may_begin(const struct w_run *run, const struct witness_task *t, enum w_role role,
                            const char *what)
{
        bool halted = role == W_TASK || (role == W_UNDO && !run->unwinding)
                              ? run->halted || run->halt_due
                              : role == W_UNDO && run->stopped;

        if (halted)
                violated("halted", "%s of %s, although nothing more starts in run %s", what, t->id, run->id);
        if (run->paused && role != W_SURPLUS)
                violated("paused", "%s of %s, although run %s is paused", what, t->id, run->id);
}

static void parked(struct witness_task *t, bool is)
{
        bool was = t->status == W_PARKED;

        t->run->n_parked += is && !was ? 1u : !is && was ? -1u : 0u;
        if (is)
                t->since = sim->now;
}

void w_goes_on(struct witness_task *t, enum w_status status)
{
        parked(t, status == W_PARKED);
        if (t->status >= W_DONE)
                violated("ends-once", "%s had ended and goes on", t->id);
        if (!t->request)
                violated("intent-first", "a record of %s, which has no intent", t->id);
        w_status(t, status);
}

static void begins(struct w_run *run, struct witness_task *t, const struct record *r)
{
        w_goes_on(t, W_RUNNING);
        if (!t->request)
                return;
        check_may_begin(run, t, t->request->role, "another attempt");
        if (r->attempt > run->max_attempts + 50)
                violated("attempts", "%s begins for the %uth time; max_attempts is %u", t->id,
                         r->attempt, run->max_attempts);
        t->request->attempt = r->attempt;
        free(steal(&t->request->token));
}

static void starts(struct w_run *run, struct witness_task *t, const struct record *r)
{
        check_may_begin(run, t, W_TASK, "the start");
        if (t->status != W_WAITING)
                violated("starts-once", "%s starts a second time", t->id);
        if (t->redo)
                violated("redo", "%s is done again before what it had left is gone", t->id);
        w_check_start(t, "the intent");
        w_check_alone(t, "the intent");
        w_check_pace(t, r->at);
        w_intent(t, r, W_TASK);
        t->begun = t->acted = t->left = false;
        w_status(t, W_RUNNING);
}

/* What was made twice: that one of the two is deleted. */
static void deletes_surplus(struct witness_task *t, const struct record *r)
{
        if (!t->made) {
                violated("surplus", "%s deletes a surplus before it has a result", t->id);
                return;
        }
        w_goes_on(t, W_RUNNING);
        w_intent(t, r, W_SURPLUS);
}

static void made(struct witness_task *t)
{
        w_goes_on(t, W_RUNNING);
        t->made = t->request;
        if (t->made)
                t->made->fate = FATE_DONE;
        w_occupy(t);
}

static void removed(struct witness_task *t, const struct record *r)
{
        w_goes_on(t, W_RUNNING);
        if (t->request)
                t->request->fate = r->answer == PRVNG_UNCHANGED ? FATE_NOTHING : FATE_DONE;
}

static void retries(struct w_run *run, struct witness_task *t, const struct record *r)
{
        struct cloud_op *op = t->request ? cloud_find(t->request->id) : NULL;

        if (r->answer != PRVNG_TRANSIENT && r->answer != PRVNG_RATE_LIMITED)
                violated("retry-class", "%s is tried again after %s", t->id, op_class_name(r->answer));
        if (r->effect == PRVNG_EFFECT_UNKNOWN && t->verb != W_CHECK)
                violated("retry-in-doubt", "%s is tried again, and nobody knows what it did", t->id);
        if (r->answer == PRVNG_TRANSIENT && r->attempt >= run->max_attempts)
                violated("attempts", "%s is tried again after attempt %u; max_attempts is %u", t->id,
                         r->attempt, run->max_attempts);
        w_goes_on(t, W_RETRYING);
        if (op && r->effect != PRVNG_EFFECT_COMPLETE)
                op->may_begin = true;
}

static void check_request_ends(const struct witness_task *t, const struct record *r)
{
        if (t->status >= W_DONE)
                violated("ends-once", "%s ended twice", t->id);
        if (!t->request)
                return;
        if (t->request->role != W_TASK)
                violated("ends-once", "%s ends in the middle of another request", t->id);
        if (r->type == RECORD_FAILED && r->effect == PRVNG_EFFECT_UNKNOWN && t->verb != W_CHECK)
                violated("failed-in-doubt", "%s failed, and nobody knows what it did", t->id);
}

/* Another run made it: nothing was asked for this task, and it is there. */
static void used(struct w_run *run, struct witness_task *t, const struct record *r)
{
        if (t->status != W_WAITING || t->verb != W_CREATE || r->answer != PRVNG_UNCHANGED)
                violated("shared", "%s was asked for, or is no create", t->id);
        w_check_start(t, "the use");
        if (!w_is_there(t->key))
                violated("shared", "%s uses what is not there", t->id);
        t->checkpoint = run->n_checkpoints;
        w_status(t, W_DONE);
}

static void done(struct w_run *run, struct witness_task *t, const struct record *r)
{
        if (r->shared) {
                used(run, t, r);
                return;
        }
        parked(t, false);
        if (t->made)
                t->request = t->made;
        t->made = NULL;
        check_request_ends(t, r);
        if (t->status == W_WAITING)
                violated("intent-first", "%s is done without an intent", t->id);
        if (t->request)
                t->request->fate = r->answer == PRVNG_UNCHANGED ? FATE_NOTHING : FATE_DONE;
        t->acted = (r->answer == PRVNG_DONE || t->caused) && t->verb != W_CHECK;
        t->unchanged = r->answer == PRVNG_UNCHANGED && !t->caused;
        t->checkpoint = run->n_checkpoints;
        w_changed(t, r->outputs);
        w_status(t, W_DONE);
}

static void failed(struct w_run *run, struct witness_task *t, const struct record *r)
{
        parked(t, false);
        if (t->status == W_WAITING)
                w_check_start(t, "the failure"); /* without an intent: its former state, its plugin */
        else
                check_request_ends(t, r);
        if (t->status != W_WAITING && t->request)
                t->request->fate = r->effect == PRVNG_EFFECT_NONE ? FATE_NOTHING : FATE_LEFT;
        t->left = r->effect != PRVNG_EFFECT_NONE && t->verb != W_CHECK;
        t->checkpoint = run->n_checkpoints;
        if (run->operations[t->operation] != 'c' && !run->halted)
                run->halt_due = true;
        w_status(t, W_FAILED);
}

static void token(struct witness_task *t, const struct record *r)
{
        w_goes_on(t, W_PENDING);
        if (!t->request)
                return;
        free(t->request->token);
        t->request->token = strndup(r->token.p, r->token.n);
}

static void resolved(struct witness_task *t, const struct record *r)
{
        struct cloud_op *op = t->request ? cloud_find(t->request->id) : NULL;

        if (t->status != W_PARKED && t->status != W_IN_DOUBT)
                violated("resolve", "%s was resolved, and is neither parked nor in doubt", t->id);
        if (op && span_eq(r->status, "not-started"))
                op->may_begin = true;
}

static void task_record(struct w_run *run, struct witness_task *t, const struct record *r)
{
        switch ((unsigned)r->type) {
        case RECORD_INTENT:
                starts(run, t, r);
                break;
        case RECORD_UNDO:
                check_may_begin(run, t, W_UNDO, "the undo");
                w_undo_starts(run, t, r);
                break;
        case RECORD_SURPLUS:
                deletes_surplus(t, r);
                break;
        case RECORD_BEGIN:
                begins(run, t, r);
                break;
        case RECORD_TOKEN:
                token(t, r);
                break;
        case RECORD_RETRY:
                retries(run, t, r);
                break;
        case RECORD_DOUBT:
                w_goes_on(t, W_IN_DOUBT);
                break;
        case RECORD_PARKED:
                w_goes_on(t, W_PARKED);
                break;
        case RECORD_RESOLVED:
                resolved(t, r);
                break;
        case RECORD_MADE:
                made(t);
                break;
        case RECORD_REMOVED:
                removed(t, r);
                break;
        case RECORD_DONE:
                done(run, t, r);
                break;
        case RECORD_FAILED:
                failed(run, t, r);
                break;
        case RECORD_UNDONE:
        case RECORD_UNDO_FAILED:
                parked(t, false);
                w_undo_ends(run, t, r);
                break;
        case RECORD_WAIT:
                w_check_start(t, "the wait");
                break;
        default:
                violated("record", "%s is not expected in a run's stream", record_type_name(r->type));
        }
}

void w_rules(struct w_run *run, const struct record *r)
{
        if (w_run_rules(run, r))
                return;
        if (r->task < run->n_tasks)
                task_record(run, run->tasks[r->task], r);
        else
                violated("record", "%s of task %u of %u", record_type_name(r->type), r->task,
                         run->n_tasks);
}
