/* SPDX-License-Identifier: Apache-2.0 */
/* What records of a run and the calls of its tasks must keep to. */
#include "simulate/witness-inside.h"

static void parked(struct witness_task *t, bool is)
{
        bool was = t->status == W_PARKED;

        t->run->n_parked += is && !was ? 1u : !is && was ? -1u : 0u;
        if (is)
                t->since = sim->now;
}

static void goes_on(struct witness_task *t, enum w_status status)
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
        if (run->halted || run->halt_due)
                violated("halted", "%s begins, although nothing more starts in run %s", t->id, run->id);
        goes_on(t, W_RUNNING);
        if (!t->request)
                return;
        if (r->attempt > run->max_attempts + 50)
                violated("attempts", "%s begins for the %uth time; max_attempts is %u", t->id,
                         r->attempt, run->max_attempts);
        t->request->attempt = r->attempt;
        free(steal(&t->request->token));
}

static void starts(struct w_run *run, struct witness_task *t, const struct record *r)
{
        if (run->halted || run->halt_due)
                violated("halted", "%s starts, although nothing more starts in run %s", t->id, run->id);
        if (t->status != W_WAITING)
                violated("starts-once", "%s starts a second time", t->id);
        w_check_start(t, "the intent");
        w_intent(t, r);
        w_status(t, W_RUNNING);
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
        goes_on(t, W_RETRYING);
        if (op && r->effect != PRVNG_EFFECT_COMPLETE)
                op->may_begin = true;
}

static void ends(struct w_run *run, struct witness_task *t, const struct record *r)
{
        bool failed = r->type == RECORD_FAILED;

        parked(t, false);
        if (t->status >= W_DONE)
                violated("ends-once", "%s ended twice", t->id);
        if (t->request) {
                if (failed)
                        t->request->fate = r->effect == PRVNG_EFFECT_NONE ? FATE_NOTHING : FATE_LEFT;
                else
                        t->request->fate = r->answer == PRVNG_UNCHANGED ? FATE_NOTHING : FATE_DONE;
                if (failed && r->effect == PRVNG_EFFECT_UNKNOWN && t->verb != W_CHECK)
                        violated("failed-in-doubt", "%s failed, and nobody knows what it did", t->id);
        } else if (!failed) {
                violated("intent-first", "%s is done without an intent", t->id);
        }
        if (!failed)
                w_changed(t, r->outputs);
        run->n_failed += failed;
        if (failed && run->operations[t->operation] != 'c' && !run->halted)
                run->halt_due = true;
        w_status(t, failed ? W_FAILED : W_DONE);
}

static void token(struct witness_task *t, const struct record *r)
{
        goes_on(t, W_PENDING);
        if (!t->request)
                return;
        free(t->request->token);
        t->request->token = strndup(r->token.p, r->token.n);
}

static void finishes(struct w_run *run, const struct record *r)
{
        uint32_t n_open = 0, n_going = 0;

        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct witness_task *t = run->tasks[i];

                n_open += t->verb != W_JOIN && t->status < W_DONE && !(t->settled && t->blocked);
                n_going += t->status > W_WAITING && t->status < W_DONE;
        }
        if (n_going)
                violated("end-too-early", "run %s ended while %u tasks go on", run->id, n_going);
        if (span_eq(r->status, "succeeded") && (run->n_failed || run->cancelled || n_open))
                violated("end-status", "run %s succeeded with %u failed tasks, %u that never started",
                         run->id, run->n_failed, n_open);
        if (span_eq(r->status, "failed") && !run->n_failed)
                violated("end-status", "run %s failed without a failed task", run->id);
        if (span_eq(r->status, "cancelled") && !run->cancelled)
                violated("end-status", "run %s was cancelled by nobody", run->id);
        run->finished = true;
}

static void task_record(struct w_run *run, const struct record *r)
{
        struct witness_task *t = r->task < run->n_tasks ? run->tasks[r->task] : NULL;

        if (!t) {
                violated("record", "%s of task %u of %u", record_type_name(r->type), r->task,
                         run->n_tasks);
                return;
        }
        switch ((unsigned)r->type) {
        case RECORD_INTENT:
                starts(run, t, r);
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
                goes_on(t, W_IN_DOUBT);
                break;
        case RECORD_PARKED:
                goes_on(t, W_PARKED);
                break;
        case RECORD_DONE:
        case RECORD_FAILED:
                ends(run, t, r);
                break;
        default:
                break;
        }
}

void w_rules(struct w_run *run, const struct record *r)
{
        switch ((unsigned)r->type) {
        case RECORD_HALT:
        case RECORD_CANCEL:
                run->halted = true;
                run->halt_due = false;
                run->cancelled |= r->type == RECORD_CANCEL;
                break;
        case RECORD_END:
                finishes(run, r);
                break;
        default:
                task_record(run, r);
        }
}

/* Calls */

static void check_begin(struct call *c, const struct witness_task *t)
{
        struct cloud_op *op = c->op;

        if (op->n_begins)
                violated("one-call", "a second begin of %s while the first is under way", t->id);
        if (op->verb != OP_CHECK && !op->may_begin && !op->observed)
                violated("begin-in-doubt", "%s begins again (op %s), and nothing says that it may",
                         t->id, op->id);
        if (op->not_before > sim->now)
                violated("too-early", "%s begins again %lld ms before the plugin wants it", t->id,
                         (long long)(op->not_before - sim->now));
        c->might_begin = op->may_begin;
        op->may_begin = op->observed = false;
        op->n_begins++;
}

/* The call must be what the journal says durably. */
static void check_request(struct call *c, const struct job *job, struct witness_task *t)
{
        const struct w_request *q = w_request_find(job->op_id);

        if (!q || q->task != t) {
                violated("intent-durable", "a call for %s with op %s, whose intent is not durable",
                         t->id, job->op_id);
                return;
        }
        if (job->n_request != q->text.n || memcmp(job->request, q->text.data, q->text.n) != 0)
                violated("request-changed", "a call for %s with another request than journaled", t->id);
        if (c->kind == CALL_BEGIN && job->call.pub.attempt != q->attempt)
                violated("intent-durable", "attempt %u of %s is not durable", job->call.pub.attempt,
                         t->id);
        if ((c->kind == CALL_POLL || c->kind == CALL_CANCEL) &&
            (!q->token || !job->token || !streq(q->token, job->token)))
                violated("token-durable", "a poll of %s with a token that is not durable", t->id);
        c->op = cloud_op(job->op_id, c->service, job->verb, buf_str(&q->text), t->key);
        if (c->kind == CALL_BEGIN)
                check_begin(c, t);
}

void witness_call(struct call *c, const struct job *job)
{
        static const char *const kinds[] = {"read", "begin", "poll", "observe", "cancel"};
        struct w_run *run = w_run_find(job->call.run);
        struct witness_task *t = run ? strmap_get(&run->by_id, job->call.task) : NULL;

        c->kind = (enum engine_call_kind)job->kind;
        c->asked_at = sim->now;
        if (!t || !run->accepted) {
                violated("intent-durable", "a call for a run that is not durable");
                return;
        }
        c->task = t;
        c->service = cloud_service(t->lane->name);
        HISTORY("call", c->number, c->kind, "#%llu %s %s op %s attempt %u", (unsigned long long)c->number,
                kinds[c->kind], t->id, job->op_id, job->call.pub.attempt);
        if (t->n_calls)
                violated("one-call", "a second call for %s", t->id);
        if (c->kind == CALL_READ)
                w_check_start(t, "a read");
        else
                check_request(c, job, t);
        t->begun |= c->kind == CALL_BEGIN;
        t->n_calls++;
        t->n_questions += !t->begun && c->kind == CALL_OBSERVE;
        w_occupy(t);
}

void witness_call_ended(struct call *c)
{
        const struct op_reply *r = &c->job->reply;
        struct cloud_op *op = c->op;

        if (c->task) {
                c->task->n_calls--;
                c->task->n_questions = 0;
                w_occupy(c->task);
        }
        if (!op)
                return;
        if (c->kind == CALL_OBSERVE)
                op->observed = (r->answer == PRVNG_OBSERVED_PARTIAL ||
                                r->answer == PRVNG_OBSERVED_FAILED ||
                                r->answer == PRVNG_OBSERVED_NOT_STARTED) &&
                               c->asked_at >= op->left_at + op->service->settle_ms;
        if (c->kind != CALL_BEGIN)
                return;
        op->n_begins--;
        op->left_at = sim->now;
        if (c->withdrawn)
                op->may_begin = c->might_begin;
        if (r->retry_after_ms > 0 && !c->withdrawn && r->effect == PRVNG_EFFECT_NONE &&
            (r->answer == PRVNG_TRANSIENT || r->answer == PRVNG_RATE_LIMITED))
                op->not_before = sim->now + r->retry_after_ms;
}

void witness_engine_gone(void)
{
        for (uint32_t i = 0; i < sim->witness->n_runs; i++)
                for (uint32_t k = 0; k < sim->witness->runs[i]->n_tasks; k++) {
                        struct witness_task *t = sim->witness->runs[i]->tasks[k];

                        t->n_calls = t->n_questions = 0;
                        w_occupy(t);
                }
}

void witness_check(void)
{
        for (uint32_t i = 0; i < sim->witness->n_runs; i++) {
                const struct w_run *run = sim->witness->runs[i];

                if (run->accepted && !run->ended)
                        violated("every-run-ends", "run %s did not end", run->id);
        }
}
