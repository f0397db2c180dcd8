/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of one run's stream: what happens to its tasks. The plan stands in run-plan.c. */
#include "journal/fold.h"

#include <prvng/abi.h>

struct run *run_new(void)
{
        return calloc(1, sizeof(struct run));
}

static void free_attempt(struct task *t)
{
        if (t->attempt)
                free(t->attempt->token);
        free(steal(&t->attempt));
}

void run_unload(struct run *run)
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                free_attempt(&run->tasks[i]);
        for (uint32_t i = 0; i < run->n_lanes; i++) {
                free(run->lanes[i].plugin);
                free(run->lanes[i].ready);
        }
        for (uint32_t i = 0; i < run->n_notes; i++)
                free(run->notes[i].message);
        free(steal(&run->text));
        free(steal(&run->tasks));
        free(steal(&run->operations));
        free(steal(&run->lanes));
        free(steal(&run->deps));
        free(steal(&run->next));
        free(steal(&run->notes));
        run->n_text = run->cap_text = 0;
        run->n_tasks = run->cap_tasks = 0;
        run->n_operations = run->cap_operations = 0;
        run->n_lanes = run->cap_lanes = 0;
        run->n_deps = run->cap_deps = 0;
        run->n_notes = run->cap_notes = 0;
        run->unsettled = 0;
        run->seq = 0;
        run->planned = run->halted = run->cancelled = run->loaded = false;
        memset(run->n_by_status, 0, sizeof(run->n_by_status));
}

struct run *run_free(struct run *run)
{
        if (!run)
                return NULL;
        run_unload(run);
        free(run->name);
        free(run->kind);
        free(run->store);
        free(run->stream);
        free(run->who);
        free(run->folder);
        free(run->file);
        free(run->logging);
        free(run->options);
        free(run->notices);
        free(run->backoff);
        free(run);
        return NULL;
}
/* One note a task: the last one. Few tasks have one. */
static int note(struct run *run, const struct record *r)
{
        struct task *t = &run->tasks[r->task];
        char *message;

        message = strndup(r->message.n ? r->message.p : "", r->message.n);
        if (!message || (!t->note && GROW(run->notes, run->n_notes, run->cap_notes))) {
                free(message);
                return error_origin(-ENOMEM);
        }
        if (t->note)
                free(run->notes[t->note - 1].message);
        else
                t->note = ++run->n_notes;
        run->notes[t->note - 1] = (struct task_note){
                .answer = r->answer, .effect = r->effect, .message = message};
        return 0;
}

static struct task *task_of(struct run *run, const struct record *r)
{
        return run->planned && r->task < run->n_tasks ? &run->tasks[r->task] : NULL;
}

static uint32_t since_start(const struct run *run, int64_t at)
{
        return (uint32_t)MAX((at - run->started_ms) / 1000, (int64_t)0) + 1;
}

static int apply_intent(struct run *run, struct task *t, const struct record *r)
{
        struct attempt *a;

        if (t->attempt || task_is_join(t) || task_status_ended(t->status))
                return error_origin(-EBADMSG);
        a = malloc(sizeof(*a) + r->request.n + 1);
        if (!a)
                return error_origin(-ENOMEM);
        *a = (struct attempt){.op_id = r->op_id,
                              .number = 1,
                              .effect = PRVNG_EFFECT_UNKNOWN,
                              .started_ms = r->at,
                              .n_request = r->request.n};
        memcpy(a->request, r->request.n ? r->request.p : "", r->request.n);
        a->request[r->request.n] = 0;
        t->attempt = a;
        t->started_s = since_start(run, r->at);
        set_status(run, t, TASK_RUNNING);
        return 0;
}

static int apply_begin(struct run *run, struct task *t, const struct record *r)
{
        if (!t->attempt || r->attempt < t->attempt->number)
                return error_origin(-EBADMSG);
        t->attempt->number = r->attempt;
        t->attempt->started_ms = r->at;
        free(steal(&t->attempt->token));
        set_status(run, t, TASK_RUNNING);
        return 0;
}

static int apply_token(struct run *run, struct task *t, const struct record *r)
{
        char *token;

        if (!t->attempt)
                return error_origin(-EBADMSG);
        token = strndup(r->token.n ? r->token.p : "", r->token.n);
        if (!token)
                return error_origin(-ENOMEM);
        free(t->attempt->token);
        t->attempt->token = token;
        set_status(run, t, TASK_PENDING);
        return 0;
}

static int apply_retry(struct run *run, struct task *t, const struct record *r)
{
        if (!t->attempt)
                return error_origin(-EBADMSG);
        t->attempt->answer = r->answer;
        t->attempt->effect = r->effect;
        t->attempt->retry_ms = r->at + r->after;
        free(steal(&t->attempt->token));
        set_status(run, t, TASK_RETRYING);
        return note(run, r);
}
static int apply_end_of_task(struct run *run, struct site *site, struct task *t,
                             const struct record *r)
{
        int q = 0;

        if (task_status_ended(t->status))
                return error_origin(-EBADMSG);
        if (r->type == RECORD_FAILED) {
                q = note(run, r);
                if (q == 0 && site)
                        q = left_behind(run, site, t, r);
                set_status(run, t, TASK_FAILED);
        } else {
                if (site && t->n_key && t->verb != VERB_CHECK)
                        q = change_inventory(run, site, t, r);
                if (t->verb == VERB_CHECK && r->answer == PRVNG_DONE) {
                        t->drift = 1;
                        run->n_drift++;
                }
                set_status(run, t, r->answer == PRVNG_UNCHANGED ? TASK_UNCHANGED : TASK_SUCCEEDED);
        }
        if (q)
                return error_fold(q);
        t->ended_s = since_start(run, r->at);
        if (!t->started_s)
                t->started_s = t->ended_s;
        free_attempt(t);
        return settle(run, r->task);
}

static int apply_end(struct run *run, const struct record *r)
{
        if (!run_status_from_span(r->status, &run->status) || !run_status_ended(run->status))
                return error_origin(-EBADMSG);
        run->ended_ms = r->at;
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (!task_status_ended(run->tasks[i].status))
                        set_status(run, &run->tasks[i], TASK_SKIPPED);
        return 0;
}

static int apply_to_task(struct run *run, struct site *site, const struct record *r)
{
        struct task *t = task_of(run, r);

        if (!t)
                return error_origin(-EBADMSG);
        switch ((unsigned)r->type) {
        case RECORD_INTENT:
                return apply_intent(run, t, r);
        case RECORD_BEGIN:
                return apply_begin(run, t, r);
        case RECORD_TOKEN:
                return apply_token(run, t, r);
        case RECORD_RETRY:
                return apply_retry(run, t, r);
        case RECORD_DOUBT:
                set_status(run, t, TASK_IN_DOUBT);
                return note(run, r);
        case RECORD_PARKED:
                set_status(run, t, TASK_PARKED);
                return note(run, r);
        case RECORD_DONE:
        case RECORD_FAILED:
                return apply_end_of_task(run, site, t, r);
        default:
                return error_origin(-EBADMSG);
        }
}

int run_apply(struct run *run, struct site *site, const struct record *r)
{
        int q;

        switch ((unsigned)r->type) {
        case RECORD_RUN:
        case RECORD_DEFINITION:
        case RECORD_LANE:
        case RECORD_OPERATION:
        case RECORD_TASK:
        case RECORD_PLANNED:
                q = apply_to_plan(run, r);
                break;
        case RECORD_HALT:
        case RECORD_CANCEL:
                run->halted = true;
                run->cancelled |= r->type == RECORD_CANCEL;
                q = 0;
                break;
        case RECORD_END:
                q = apply_end(run, r);
                break;
        default:
                q = apply_to_task(run, site, r);
                break;
        }
        if (q)
                return error_fold(q);
        run->seq = r->seq;
        return 0;
}
