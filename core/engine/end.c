/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run, taking up runs after a restart, and the operator's commands. */
#include "engine/flight.h"

/* A task failed, and what it left is in the inventory because of this run. */
static bool left_something(const struct run *run, const struct resource *r)
{
        return r && r->workflow && streq(r->run, run->id_text);
}

/* What the run did to the inventory, into the site stream: the run's own stream need not be read for
 * it any more. */
static void journal_changes(struct engine *e, struct run *run)
{
        for (uint32_t i = 0; i < run->n_tasks && !e->error; i++) {
                struct task *t = &run->tasks[i];
                const struct resource *r;
                struct record record = {.run = run->id, .key = span_n(task_key(run, t), t->n_key)};

                if (!t->n_key || t->verb == PLAN_CHECK)
                        continue;
                r = run_resource(e->site, run, t);
                if (t->status == TASK_FAILED ? !left_something(run, r)
                                             : t->status != TASK_SUCCEEDED &&
                                                       t->status != TASK_UNCHANGED)
                        continue;
                if (!r || !r->workflow) {
                        record.type = RECORD_GONE;
                } else {
                        record.type = RECORD_RESOURCE;
                        record.workflow = span_of(r->workflow);
                        record.plugin = span_of(r->plugin);
                        record.spec = span_of(r->spec);
                        record.outputs = span_of(r->outputs);
                        record.builds_on = span_of(r->builds_on);
                        record.changed = r->changed_ms;
                        if (*r->op_id)
                                uid_parse(r->op_id, strlen(r->op_id), &record.op_id);
                }
                engine_append(e, NULL, &record);
        }
}

static enum run_status final_status(const struct run *run)
{
        if (run->cancelled)
                return RUN_CANCELLED;
        return run->halted || run->n_by_status[TASK_FAILED] ? RUN_FAILED : RUN_SUCCEEDED;
}

/* Says in the site stream that the run ended: the claims are free again. */
static void journal_end(struct engine *e, struct run *run)
{
        char head[65];

        e->ops->head(e->userdata, run, head);
        journal_changes(e, run);
        if (!e->error)
                engine_append(e, NULL,
                              &(struct record){.type = RECORD_ENDED,
                                               .run = run->id,
                                               .count = run->n_drift,
                                               .status = span_of(run_status_name(run->status)),
                                               .head = span_of(head)});
        if (!e->error)
                e->ops->ended(e->userdata, run);
}

int engine_finish(struct engine *e, struct run *run)
{
        journal_end(e, run);
        return e->error;
}

void run_check_end(struct engine *e, struct run *run)
{
        const char *status;

        if (run->status != RUN_RUNNING || engine_run_flights(run) > 0 ||
            (run->unsettled > 0 && !run->halted))
                return;
        status = run_status_name(final_status(run));
        engine_append(e, run, &(struct record){.type = RECORD_END, .status = span_of(status)});
        if (e->error)
                return;
        engine_run_stop(e, run);
        journal_end(e, run);
}

int engine_adopt(struct engine *e, struct run *run)
{
        int r;

        assert(run->loaded && run->planned && !run_status_ended(run->status));
        r = engine_run_start(e, run);
        if (r)
                return error_fold(r);
        for (uint32_t i = 0; i < run->n_tasks && !e->error; i++) {
                struct flight *f;

                if (!run->tasks[i].attempt)
                        continue;
                f = flight_new(e, run, i);
                if (!f)
                        return error_origin(-ENOMEM);
                if (f->lane->plugin)
                        attempt_resume(f);
                else /* stays as it is until an engine comes that has the plugin */
                        fprintf(stderr, "prvng: task %s of run %s waits: the plugin %s is not "
                                        "available; see: prvng plugin list\n",
                                task_id(run, &run->tasks[i]), run->id_text, f->lane->name);
        }
        return e->error;
}

int engine_resolve(struct engine *e, struct run *run, uint32_t task, bool done, const char *outputs)
{
        struct flight *f = engine_find_flight(run, task);

        if (!f || f->calling ||
            (flight_task(f)->status != TASK_PARKED && flight_task(f)->status != TASK_IN_DOUBT))
                return -ENOENT;
        if (!done && !run->halted && !f->lane->plugin)
                return -ENOENT; /* nobody could begin it */
        timers_unset(&e->timers, &f->next); /* of an observe that was to come */
        if (done) {
                task_done(f, PRVNG_DONE, span_of(outputs));
        } else if (run->halted) {
                struct op_reply reply = OP_REPLY_NULL;

                reply.answer = PRVNG_CANCELLED;
                reply.effect = PRVNG_EFFECT_NONE;
                reply.message = strdup("not begun again, since nothing more starts");
                task_failed(f, &reply);
                op_reply_deinit(&reply);
        } else {
                f->recovered = true; /* the same attempt once more */
                attempt_next(f);
        }
        return e->error;
}

int engine_cancel(struct engine *e, struct run *run, const char *who)
{
        if (run->status != RUN_RUNNING)
                return -ENOENT;
        engine_append(e, run, &(struct record){.type = RECORD_CANCEL, .who = span_of(who)});
        if (!e->error)
                engine_run_hurry(e, run);
        return e->error;
}
