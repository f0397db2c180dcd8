/* SPDX-License-Identifier: Apache-2.0 */
/* What calls must keep to: they are what the journal says durably, and come when they may. */
#include "simulate/witness-inside.h"

static const char *const kinds[] = {"read", "begin", "poll", "observe", "cancel", "list", "evaluate"};

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
        op->n_attempts++;
}

static void check_request(struct call *c, const struct job *job, struct witness_task *t)
{
        const struct w_request *q = w_request_find(job->op_id);

        if (!q || q->task != t || q != t->request) {
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
        if (c->kind == CALL_BEGIN) {
                w_check_claim(t, "a begin");
                check_begin(c, t);
        }
}

/* Of calls that ask what is there. */
static void check_question(const struct call *c, struct witness_task *t)
{
        if (c->kind == CALL_LIST && !t->made)
                violated("list", "%s looks for a surplus, and its result is not durable", t->id);
        else if (c->kind != CALL_LIST && t->status == W_WAITING)
                w_check_start(t, kinds[c->kind]);
}

/* A call that asks about something takes no place, but the one that is the first step of its task. */
static bool is_question(const struct call *c, const struct witness_task *t)
{
        switch (c->kind) {
        case CALL_LIST:
        case CALL_EVALUATE:
                return true;
        case CALL_READ:
                return t->waits;
        case CALL_OBSERVE:
                return !t->begun;
        case CALL_BEGIN:
        case CALL_POLL:
        case CALL_CANCEL:
                break;
        }
        return false;
}

void witness_call(struct call *c, struct job *job)
{
        struct w_run *run = w_run_find(job->call.run);
        struct witness_task *t = run ? strmap_get(&run->by_id, job->call.task) : NULL;

        if (job->call.pub.attempt) /* as the worker does */
                uid_text(&job->request_id, job->op_id);
        c->kind = (enum engine_call_kind)job->kind;
        c->asked_at = sim->now;
        c->service = cloud_service_of(job->call.plugin);
        HISTORY("call", c->number, c->kind, "#%llu %s %s op %s attempt %u", (unsigned long long)c->number,
                kinds[c->kind], job->call.task, job->op_id, job->call.pub.attempt);
        if (!*job->call.run && c->kind == CALL_LIST) /* a question of the site's, which is about no task */
                return;
        if (run && !t && strmap_get(&run->dropped, job->call.task)) {
                violated("replan-dropped", "a call for %s, which run %s has no more since it was replanned",
                         job->call.task, run->id);
                return;
        }
        if (!t || !run->accepted) {
                violated("intent-durable", "a call for a run that is not durable");
                return;
        }
        c->task = t;
        if (t->n_calls)
                violated("one-call", "a second call for %s", t->id);
        if (c->kind == CALL_READ || c->kind == CALL_LIST || c->kind == CALL_EVALUATE)
                check_question(c, t);
        else
                check_request(c, job, t);
        t->begun |= c->kind == CALL_BEGIN;
        t->n_calls++;
        c->question = is_question(c, t);
        t->n_questions += c->question;
        w_occupy(t);
}

void witness_call_given_up(struct call *c)
{
        if (!c->task)
                return;
        c->task->n_calls--;
        c->task->n_questions -= c->question;
        w_occupy(c->task);
        c->task = NULL;
}

void witness_call_ended(struct call *c)
{
        const struct op_reply *r = &c->job->reply;
        struct witness_task *t = c->task;
        struct cloud_op *op = c->op;

        witness_call_given_up(c);
        if (!op)
                return;
        if (c->kind == CALL_OBSERVE)
                op->observed = (r->answer == PRVNG_OBSERVED_PARTIAL ||
                                r->answer == PRVNG_OBSERVED_FAILED ||
                                r->answer == PRVNG_OBSERVED_NOT_STARTED) &&
                               c->asked_at >= op->left_at + op->service->settle_ms;
        if (t && op->observed) { /* nothing of it is under way: until it is begun again it takes no place */
                t->begun = false;
                w_occupy(t);
        }
        if (c->kind != CALL_BEGIN)
                return;
        op->n_begins--;
        op->left_at = sim->now;
        if (t && t->lane && r->answer == PRVNG_RATE_LIMITED && r->retry_after_ms > 0 && !c->withdrawn)
                t->lane->held_until = MAX(t->lane->held_until, sim->now + r->retry_after_ms);
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
