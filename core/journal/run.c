/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of one run's stream: what happens to its tasks. The plan stands in run-plan.c. */
#include "journal/fold.h"

#include <prvng/abi.h>

struct run *run_new(void)
{
        struct {
                struct run run;
                struct buf doc;
        } *r = calloc(1, sizeof(*r));

        if (!r)
                return NULL;
        r->run.doc = &r->doc;
        return &r->run;
}

void free_attempt(struct run *run, struct task *t)
{
        if (!t->attempt)
                return;
        free(t->attempt->token);
        free(t->attempt->spec);
        free(steal(&t->attempt));
        run->n_attempts--;
}

static void free_note(struct task_note *note)
{
        free(note->message);
        free(note->former);
        free(note->made);
}

void free_plan(struct run *run)
{
        for (uint32_t i = 0; i < run->n_lanes; i++) {
                free(run->lanes[i].plugin);
                free(run->lanes[i].ready);
        }
        free(steal(&run->wholes));
        free(steal(&run->operations));
        free(steal(&run->lanes));
        free(steal(&run->deps));
        free(steal(&run->next));
        free(steal(&run->first_next));
        free(steal(&run->unmet));
        run->n_text = run->cap_text = 0;
        run->n_tasks = run->cap_tasks = 0;
        run->n_wholes = run->cap_wholes = 0;
        run->n_operations = run->cap_operations = 0;
        run->n_lanes = run->cap_lanes = 0;
        run->n_deps = run->cap_deps = 0;
        memset(run->n_by_status, 0, sizeof(run->n_by_status));
}

void forget_progress(struct run *run)
{
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                free_attempt(run, &run->tasks[i]);
                run->tasks[i].note = 0;
        }
        for (uint32_t i = 0; i < run->n_lanes; i++)
                run->lanes[i].n_ready = run->lanes[i].next_ready = 0;
        for (uint32_t i = 0; i < run->n_notes; i++)
                free_note(&run->notes[i]);
        run->n_notes = run->n_checkpoints = 0;
        free_prev(run);
        memset(run->n_by_status, 0, sizeof(run->n_by_status));
}

void run_unload(struct run *run)
{
        forget_progress(run);
        free_replaced(run);
        free_plan(run);
        free(steal(&run->type));
        free(steal(&run->text));
        free(steal(&run->tasks));
        free(steal(&run->notes));
        free(steal(&run->checkpoints));
        buf_deinit(run->doc);
        run->cap_notes = run->cap_checkpoints = 0;
        run->n_completed = run->n_attempts = 0;
        run->unsettled = 0;
        run->seq = 0;
        run->planned = run->halted = run->cancelled = run->loaded = false;
        run->rollback = run->unwinding = run->stopped = false;
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
        free(run->rollback_reason);
        free(run->rollback_who);
        free(run->shares);
        free(run);
        return NULL;
}
int note_get(struct run *run, struct task *t, struct task_note **ret_note)
{
        if (!t->note) {
                if (GROW(run->notes, run->n_notes, run->cap_notes))
                        return error_origin(-ENOMEM);
                run->notes[run->n_notes] = (struct task_note){0};
                t->note = ++run->n_notes;
        }
        *ret_note = &run->notes[t->note - 1];
        return 0;
}

/* One note a task: the last one. Few tasks have one. */
static int note(struct run *run, const struct record *r)
{
        struct task_note *n = NULL;
        int q = note_get(run, &run->tasks[r->task], &n);

        if (q)
                return error_fold(q);
        n->answer = r->answer;
        n->effect = r->effect;
        n->since_ms = r->at;
        return set_string(&n->message, r->message);
}

static int keep_former(struct run *run, struct task *t, const struct record *r)
{
        struct task_note *n = NULL;
        int q = note_get(run, t, &n);

        return q ? error_fold(q) : set_string(&n->former, r->former);
}

static struct task *task_of(struct run *run, const struct record *r)
{
        return run->planned && r->task < run->n_tasks ? &run->tasks[r->task] : NULL;
}

static uint32_t since_start(const struct run *run, int64_t at)
{
        return (uint32_t)MAX((at - run->started_ms) / 1000, (int64_t)0) + 1;
}

static int new_attempt(struct run *run, struct task *t, const struct record *r, enum role role,
                       uint8_t verb)
{
        struct attempt *a = malloc(sizeof(*a) + r->request.n + 1);

        if (!a)
                return error_origin(-ENOMEM);
        *a = (struct attempt){.op_id = r->op_id,
                              .role = role,
                              .verb = verb,
                              .number = 1,
                              .effect = PRVNG_EFFECT_UNKNOWN,
                              .started_ms = r->at,
                              .n_request = r->request.n};
        memcpy(a->request, r->request.n ? r->request.p : "", r->request.n);
        a->request[r->request.n] = 0;
        free_attempt(run, t);
        t->attempt = a;
        run->n_attempts++;
        return 0;
}

static int apply_intent(struct run *run, struct task *t, const struct record *r)
{
        struct task_note *n = t->note ? &run->notes[t->note - 1] : NULL;
        int q;

        if (t->attempt || task_is_join(t) || task_status_ended(t->status))
                return error_origin(-EBADMSG);
        if (n && n->message) /* what it waited for has come, or what failed before is done again */
                *n->message = 0;
        q = new_attempt(run, t, r, ROLE_TASK, t->verb);
        if (q == 0 && r->former.n && !(t->caused && task_former(run, t))) /* the one before all of it */
                q = keep_former(run, t, r);
        if (q)
                return error_fold(q);
        t->started_s = since_start(run, r->at);
        set_status(run, t, TASK_RUNNING);
        return 0;
}

static int apply_undo(struct run *run, struct task *t, const struct record *r)
{
        uint8_t verb;
        int q = find_verb(r->verb, &verb);

        if (q || t->attempt || !(t->undo || (t->redo && t->status == TASK_READY)))
                return error_origin(-EBADMSG);
        q = new_attempt(run, t, r, ROLE_UNDO, verb);
        if (q == 0 && r->spec.n)
                q = set_string(&t->attempt->spec, r->spec);
        if (q)
                return error_fold(q);
        set_status(run, t, TASK_UNDOING);
        return 0;
}

/* The result is known and durable; what was made beside it is looked for. */
static enum task_status running_status(const struct task *t)
{
        const struct attempt *a = t->attempt;

        return a->role == ROLE_UNDO || a->outer == ROLE_UNDO ? TASK_UNDOING : TASK_RUNNING;
}

static int apply_made(struct run *run, struct task *t, const struct record *r)
{
        struct task_note *n;
        int q;

        if (!t->attempt)
                return error_origin(-EBADMSG);
        q = note_get(run, t, &n);
        if (q)
                return error_fold(q);
        n->made_by = t->attempt->op_id;
        set_status(run, t, running_status(t));
        return set_string(&n->made, r->outputs.n ? r->outputs : span_of("{}"));
}

static int apply_surplus(struct run *run, struct task *t, const struct record *r)
{
        struct attempt *old = t->attempt;
        uint8_t outer;
        char *spec;
        int q;

        if (!old || !task_made(run, t))
                return error_origin(-EBADMSG);
        outer = old->role == ROLE_SURPLUS ? old->outer : old->role;
        spec = steal(&old->spec);
        q = new_attempt(run, t, r, ROLE_SURPLUS, VERB_DELETE);
        if (q) {
                free(spec);
                return error_fold(q);
        }
        t->attempt->outer = outer;
        t->attempt->spec = spec;
        set_status(run, t, running_status(t));
        return 0;
}

/* The attempt stays, so that the task counts as one that has begun, but its request is done. */
static int apply_removed(struct run *run, struct task *t)
{
        struct attempt *a = t->attempt;

        if (!a || a->role != ROLE_SURPLUS)
                return error_origin(-EBADMSG);
        a->role = a->outer;
        a->verb = VERB_CREATE;
        a->outer = ROLE_TASK;
        free(steal(&a->token));
        set_status(run, t, running_status(t));
        return 0;
}

static int apply_wait(struct run *run, struct task *t, const struct record *r)
{
        const struct task_note *old = run_note(run, r->task);
        int64_t since = old ? old->since_ms : 0;
        int q = note(run, r);

        if (q == 0 && since)
                run->notes[t->note - 1].since_ms = since;
        return q;
}

static int apply_begin(struct run *run, struct task *t, const struct record *r)
{
        if (!t->attempt || r->attempt < t->attempt->number)
                return error_origin(-EBADMSG);
        t->attempt->number = r->attempt;
        t->attempt->again = true;
        t->attempt->started_ms = r->at;
        free(steal(&t->attempt->token));
        set_status(run, t, running_status(t));
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
        set_status(run, t, running_status(t) == TASK_UNDOING ? TASK_UNDOING : TASK_PENDING);
        return 0;
}

static int apply_retry(struct run *run, struct task *t, const struct record *r)
{
        if (!t->attempt)
                return error_origin(-EBADMSG);
        t->attempt->answer = r->answer;
        t->attempt->effect = r->effect;
        t->attempt->retry_ms = r->at + r->after;
        t->attempt->after_ms = r->after;
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
                        q = r->message.n ? note(run, r) : 0;
                }
                set_status(run, t, r->answer == PRVNG_UNCHANGED && !t->caused ? TASK_UNCHANGED
                                                                              : TASK_SUCCEEDED);
        }
        if (q)
                return error_fold(q);
        if (t->note)
                free(steal(&run->notes[t->note - 1].made));
        t->ended_s = since_start(run, r->at);
        if (!t->started_s)
                t->started_s = t->ended_s;
        t->checkpoint = (uint16_t)MIN(run->n_checkpoints, (uint32_t)UINT16_MAX);
        free_attempt(run, t);
        return settle(run, r->task);
}

/* What an attempt that failed had left is gone: the task may be done again. */
static int apply_redo(struct run *run, struct task *t, const struct record *r)
{
        t->redo = 0;
        free_attempt(run, t);
        if (r->type == RECORD_UNDONE) {
                t->caused = 0;
                t->restored = r->seq > run->told_seq; /* will be, and without what stood on it */
                set_status(run, t, TASK_READY);
                return enqueue(run, r->task);
        }
        if (t->note && run->notes[t->note - 1].effect == PRVNG_EFFECT_NONE) /* of the undo: it is still there */
                run->notes[t->note - 1].effect = PRVNG_EFFECT_PARTIAL;
        set_status(run, t, TASK_FAILED);
        t->ended_s = since_start(run, r->at);
        return settle(run, r->task);
}

/* The resource is there again; what stood on it is not. */
static int apply_lost(struct run *run, struct task *t, const struct record *r)
{
        set_status(run, t, TASK_UNDO_FAILED);
        return note(run, r);
}

/* With an attempt, or without one where there was nothing to ask for. */
static int apply_end_of_undo(struct run *run, struct site *site, struct task *t,
                             const struct record *r)
{
        bool late = r->type == RECORD_UNDONE && t->status == TASK_UNDO_FAILED; /* it went along */
        bool kept = r->type == RECORD_UNDONE && r->answer == PRVNG_CONFLICT; /* others use it */
        int q = 0;

        if (kept && (!t->undo || t->redo))
                return error_origin(-EBADMSG);
        if (r->type == RECORD_UNDO_FAILED && t->status == TASK_UNDONE && t->verb == VERB_DELETE)
                return apply_lost(run, t, r);
        if (!t->undo && !t->redo && !late)
                return error_origin(-EBADMSG);
        if (r->type == RECORD_UNDO_FAILED || r->message.n)
                q = note(run, r);
        if (q == 0 && r->type == RECORD_UNDONE && !kept && site && t->n_key)
                q = undo_inventory(run, site, t, r);
        if (q)
                return error_fold(q);
        if (t->note)
                free(steal(&run->notes[t->note - 1].made));
        if (t->redo)
                return apply_redo(run, t, r);
        t->caused &= r->type != RECORD_UNDONE || kept;
        if (!t->undo) {
                set_status(run, t, TASK_UNDONE);
                return 0;
        }
        t->undo = 0;
        if (t->verb == VERB_DELETE && t->attempt && r->type == RECORD_UNDONE)
                t->restored = r->seq > run->told_seq;
        free_attempt(run, t);
        set_status(run, t, kept ? TASK_SUCCEEDED
                                : r->type == RECORD_UNDONE ? TASK_UNDONE : TASK_UNDO_FAILED);
        return settle_undo(run, r->task);
}

static int apply_checkpoint(struct run *run, const struct record *r)
{
        if (!run->planned || r->checkpoint != run->n_checkpoints + 1)
                return error_origin(-EBADMSG);
        if (GROW(run->checkpoints, run->n_checkpoints, run->cap_checkpoints))
                return error_origin(-ENOMEM);
        run->checkpoints[run->n_checkpoints++] =
                (struct checkpoint){.seq = r->seq, .at = r->at, .n_operations = r->count};
        return 0;
}

static int apply_pause(struct run *run, const struct record *r)
{
        bool pause = r->type == RECORD_PAUSE;

        if (pause ? run->status != RUN_RUNNING && run->status != RUN_ROLLING_BACK
                  : run->status != RUN_PAUSED)
                return error_origin(-EBADMSG);
        if (pause)
                run->status = RUN_PAUSED;
        else
                run->status = run->rollback ? RUN_ROLLING_BACK : RUN_RUNNING;
        return 0;
}

/* Nothing more starts. During a rollback: no further undo. */
static int apply_halt(struct run *run, const struct record *r)
{
        run->halted = true;
        if (r->type == RECORD_CANCEL && run->rollback)
                run->stopped = true;
        else if (r->type == RECORD_CANCEL)
                run->cancelled = true;
        else
                run->halted_by = r->task;
        return 0;
}

static int apply_end(struct run *run, const struct record *r)
{
        if (!run_status_from_span(r->status, &run->status) || !run_status_ended(run->status))
                return error_origin(-EBADMSG);
        run->ended_ms = r->at;
        run->rollback = run->unwinding = false;
        free_prev(run);
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct task *t = &run->tasks[i];

                if (t->redo && !task_status_ended(t->status)) /* what it left is still there */
                        set_status(run, t, TASK_FAILED);
                else if (!task_status_ended(t->status))
                        set_status(run, t, TASK_SKIPPED);
                t->undo = t->redo = 0;
        }
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
        case RECORD_UNDO:
                return apply_undo(run, t, r);
        case RECORD_UNDONE:
        case RECORD_UNDO_FAILED:
                return apply_end_of_undo(run, site, t, r);
        case RECORD_MADE:
                return apply_made(run, t, r);
        case RECORD_SURPLUS:
                return apply_surplus(run, t, r);
        case RECORD_REMOVED:
                return apply_removed(run, t);
        case RECORD_WAIT:
                return apply_wait(run, t, r);
        case RECORD_RESOLVED: /* what it leads to follows */
                return 0;
        default:
                return error_origin(-EBADMSG);
        }
}

int run_apply(struct run *run, struct site *site, const struct record *r)
{
        int q;

        if (r->seq <= run->settled_seq) /* the site stream said what became of it */
                site = NULL;
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
                q = apply_halt(run, r);
                break;
        case RECORD_CHECKPOINT:
                q = apply_checkpoint(run, r);
                break;
        case RECORD_PAUSE:
        case RECORD_RESUME:
                q = apply_pause(run, r);
                break;
        case RECORD_ROLLBACK:
                q = apply_rollback(run, r);
                break;
        case RECORD_UNWIND:
                q = apply_unwind(run, r);
                break;
        case RECORD_RERUN:
                q = apply_rerun(run, r);
                break;
        case RECORD_REPLAN:
                q = apply_replan(run, r);
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
