/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run, taking up runs after a restart, and the operator's commands. */
#include "engine/flight.h"

/* A task failed, and what it left is in the inventory because of this run. */
static bool left_something(const struct run *run, const struct resource *r)
{
        return r && r->workflow && streq(r->run, run->id_text);
}

enum change { CHANGE_NONE, CHANGE_GONE, CHANGE_RESTORED, CHANGE_THERE };

/* What the task did to the inventory. What is not there is told also of what failed, now or before it was
 * skipped: it may have been there in between, and in a snapshot or in what an earlier end told. */
static enum change change_of(const struct run *run, const struct task *t, const struct resource *r)
{
        bool there = r && r->workflow;

        if (!t->n_key || t->verb == PLAN_CHECK)
                return CHANGE_NONE;
        if (r && r->claim && !streq(r->claim, run->id_text)) /* who claims it tells of it */
                return CHANGE_NONE;
        if (t->status == TASK_SKIPPED && (there || !t->note))
                return CHANGE_NONE;
        if (t->status == TASK_FAILED && there && !left_something(run, r))
                return CHANGE_NONE;
        if (!there)
                return CHANGE_GONE;
        if (t->status == TASK_UNCHANGED && !streq(r->workflow, run->name)) /* another's, which it used */
                return CHANGE_NONE;
        return t->restored ? CHANGE_RESTORED : CHANGE_THERE;
}

/* A record of a resource as it is, that outlives the resource. */
struct telling {
        struct record record;
        char *key, *texts[5];
};

static bool telling_init(struct telling *t, const struct run *run, const struct resource *r)
{
        const char *const texts[] = {r->workflow, r->plugin, r->spec, r->outputs, r->builds_on};
        struct span *const members[] = {&t->record.workflow, &t->record.plugin, &t->record.spec,
                                        &t->record.outputs, &t->record.builds_on};
        bool good;

        *t = (struct telling){.record = {.type = RECORD_RESOURCE, .run = run->id,
                                         .changed = r->changed_ms}, .key = strdup(r->key)};
        good = t->key != NULL;
        t->record.key = span_of(t->key);
        if (*r->op_id)
                uid_parse(r->op_id, strlen(r->op_id), &t->record.op_id);
        if (*r->run) /* may be another one: what was found, or changed since */
                uid_parse(r->run, strlen(r->run), &t->record.run);
        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                t->texts[i] = strdup(texts[i]);
                good &= t->texts[i] != NULL;
                *members[i] = span_of(t->texts[i]);
        }
        return good;
}

static void telling_deinit(struct telling *t)
{
        for (size_t i = 0; i < N_ELEMENTS(t->texts); i++)
                free(t->texts[i]);
        free(t->key);
}

/* A server that was deleted and is there again is another one: what stood on it is gone. That is said first, and
 * takes along what stands on the new one too, which is said anew. */
static void journal_again(struct engine *e, struct run *run, const struct resource *server)
{
        _cleanup_(cleanup_free) struct telling *tellings = calloc(server->n_on + (size_t)1, sizeof(*tellings));
        _cleanup_(cleanup_buf) struct buf on = BUF_NULL;
        size_t n = 0;
        bool good = tellings && telling_init(&tellings[n++], run, server);

        inventory_standing_on(&e->site->inventory, server, &on);
        good = good && buf_error(&on) == 0;
        for (size_t i = 0, k; good && i < on.n; i += k + 1) {
                k = strcspn(buf_str(&on) + i, " ");
                on.data[i + k] = 0;
                good = telling_init(&tellings[n++], run, inventory_get(&e->site->inventory, on.data + i));
        }
        if (good)
                engine_append(e, NULL, &(struct record){.type = RECORD_GONE, .run = run->id,
                                                        .key = tellings[0].record.key});
        else
                e->error = error_origin(-ENOMEM);
        for (size_t i = 0; i < n; i++) {
                if (!e->error)
                        engine_append(e, NULL, &tellings[i].record);
                telling_deinit(&tellings[i]);
        }
}

static void journal_resource(struct engine *e, struct run *run, const struct task *t, struct resource *r)
{
        struct record record = {.type = RECORD_RESOURCE, .run = run->id, .changed = r->changed_ms,
                                .key = span_n(task_key(run, t), t->n_key),
                                .workflow = span_of(r->workflow), .plugin = span_of(r->plugin),
                                .spec = span_of(r->spec), .outputs = span_of(r->outputs),
                                .builds_on = span_of(r->builds_on)};

        if (*r->op_id)
                uid_parse(r->op_id, strlen(r->op_id), &record.op_id);
        if (*r->run)
                uid_parse(r->run, strlen(r->run), &record.run);
        e->site->inventory.next = r;
        engine_append(e, NULL, &record);
}

static void journal_change_if(struct engine *e, struct run *run, struct task *t, enum change wanted)
{
        struct resource *r = t->n_key ? run_resource(e->site, run, t) : NULL;

        if (change_of(run, t, r) != wanted)
                return;
        if (wanted == CHANGE_GONE)
                engine_append(e, NULL,
                              &(struct record){.type = RECORD_GONE, .run = run->id,
                                               .key = span_n(task_key(run, t), t->n_key)});
        else if (wanted == CHANGE_RESTORED)
                journal_again(e, run, r);
        else
                journal_resource(e, run, t, r);
}

void journal_change(struct engine *e, struct run *run, struct task *t)
{
        enum change change = change_of(run, t, t->n_key ? run_resource(e->site, run, t) : NULL);

        if (change != CHANGE_NONE)
                journal_change_if(e, run, t, change);
}

/* What stood on a server that was deleted and made anew in the same run: the server is there, that is not. */
static void journal_taken(struct engine *e, struct run *run, struct task *t)
{
        const struct resource *server = t->verb == PLAN_DELETE ? run_resource(e->site, run, t) : NULL;
        struct span with = server && server->workflow ? task_with(run, t) : (struct span){0};

        for (size_t i = 0, n; i < with.n && !e->error; i += n + 1) {
                const char *space = memchr(with.p + i, ' ', with.n - i);
                struct span key;
                struct strmap_entry *entry;

                n = space ? (size_t)(space - with.p) - i : with.n - i;
                key = span_n(with.p + i, n);
                entry = strmap_find(&e->site->inventory.by_key, key.p, key.n);
                if (!entry || !((const struct resource *)entry->value.pointer)->workflow)
                        engine_append(e, NULL, &(struct record){.type = RECORD_GONE, .run = run->id,
                                                                .key = key});
        }
}

/* What the run did to the inventory, into the site stream: the run's own stream need not be read for
 * it any more. What went comes first, because what stood on it went along; then what was restored, in the
 * order in which that was done: against that of the tasks. */
static void journal_changes(struct engine *e, struct run *run)
{
        for (uint32_t i = 0; i < run->n_tasks && !e->error; i++) {
                journal_change_if(e, run, &run->tasks[i], CHANGE_GONE);
                journal_taken(e, run, &run->tasks[i]);
        }
        for (uint32_t i = run->rollback_ms || run->told_seq ? run->n_tasks : 0; i-- > 0 && !e->error;)
                journal_change_if(e, run, &run->tasks[i], CHANGE_RESTORED);
        for (uint32_t i = 0; i < run->n_tasks && !e->error; i++)
                journal_change_if(e, run, &run->tasks[i], CHANGE_THERE);
}

static enum run_status final_status(const struct run *run)
{
        if (run->cancelled)
                return RUN_CANCELLED;
        /* What is skipped without a failure depends on what a rollback undid, and was not done again. */
        return run->halted || run->n_by_status[TASK_FAILED] || run->n_by_status[TASK_SKIPPED] ||
                               run->n_by_status[TASK_UNDONE] || run->n_by_status[TASK_UNDO_FAILED]
                       ? RUN_FAILED
                       : RUN_SUCCEEDED;
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

static void end(struct engine *e, struct run *run, enum run_status status)
{
        const char *name = run_status_name(status);

        if (!e->error)
                engine_append(e, run, &(struct record){.type = RECORD_END, .status = span_of(name)});
        if (e->error)
                return;
        engine_run_stop(e, run);
        journal_end(e, run);
}

void run_check_end(struct engine *e, struct run *run)
{
        bool cancelled = run->rollback ? run->stopped : run->cancelled;

        if (run_status_ended(run->status) || engine_run_flights(run) > 0)
                return;
        if (run->status == RUN_PAUSED && !cancelled && (run->rollback || run->unsettled > 0))
                return;
        if (!run->rollback && run->unsettled > 0 && !run->halted)
                return;
        if (!run->rollback && !rollback_by_itself(e, run)) {
                end(e, run, final_status(run));
                return;
        }
        if (!run->unwinding && !run->stopped && !e->error) {
                rollback_unwind(e, run);
                engine_schedule_run(e, run);
        }
        if (e->error || engine_run_flights(run) > 0 || (run->unsettled > 0 && !run->stopped))
                return;
        end(e, run, rollback_end(e, run));
}

int engine_hold(struct engine *e, struct run *run, const char *who)
{
        assert(run->loaded && !run->userdata);
        if (run->status == RUN_RUNNING || run->status == RUN_ROLLING_BACK)
                engine_append(e, run, &(struct record){.type = RECORD_PAUSE, .who = span_of(who)});
        return e->error;
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

int engine_resolve(struct engine *e, struct run *run, uint32_t task, bool done, const char *outputs,
                   const char *who)
{
        struct flight *f = engine_find_flight(run, task);

        if (!f || f->calling ||
            (flight_task(f)->status != TASK_PARKED && flight_task(f)->status != TASK_IN_DOUBT))
                return -ENOENT;
        if (!done && flight_may_begin(f) && !f->lane->plugin)
                return -ENOENT; /* nobody could begin it */
        timers_unset(&e->timers, &f->next); /* of an observe that was to come */
        engine_append(e, run, &(struct record){.type = RECORD_RESOLVED,
                                               .task = task,
                                               .status = span_of(done ? "done" : "not-started"),
                                               .who = span_of(who)});
        if (task_made(run, flight_task(f))) {
                surplus_look(f); /* the operator saw to it: is there still more than one? */
        } else if (done) {
                task_done(f, PRVNG_DONE, span_of(outputs));
        } else if (!flight_may_begin(f)) {
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

static int command(struct engine *e, struct run *run, enum record_type type, const char *who)
{
        engine_append(e, run, &(struct record){.type = type, .who = span_of(who)});
        if (!e->error)
                engine_run_hurry(e, run);
        return e->error;
}

int engine_cancel(struct engine *e, struct run *run, const char *who)
{
        if (!run->userdata || run_status_ended(run->status))
                return -ENOENT;
        return command(e, run, RECORD_CANCEL, who);
}

int engine_pause(struct engine *e, struct run *run, const char *who)
{
        if (!run->userdata || (run->status != RUN_RUNNING && run->status != RUN_ROLLING_BACK))
                return -ENOENT;
        return command(e, run, RECORD_PAUSE, who);
}

int engine_resume(struct engine *e, struct run *run, const char *who)
{
        if (!run->userdata || run->status != RUN_PAUSED)
                return -ENOENT;
        return command(e, run, RECORD_RESUME, who);
}

int engine_retry(struct engine *e, struct run *run, const char *operation, const char *who)
{
        bool known = !operation;

        if (!run->userdata || !run_status_ended(run->status))
                return -ENOENT;
        for (uint32_t i = 0; i < run->n_operations && !known; i++)
                known = streq(operation_id(run, &run->operations[i]), operation);
        if (!known)
                return -EINVAL;
        engine_append(e, run, &(struct record){.type = RECORD_RERUN,
                                               .id = span_of(operation),
                                               .who = span_of(who)});
        return e->error;
}

int engine_reopen(struct engine *e, struct run *run, const char *who,
                  const struct resource **ret_claimed)
{
        _cleanup_(cleanup_buf) struct buf claims = BUF_NULL, shares = BUF_NULL;
        struct record r = {.type = RECORD_REOPENED, .run = run->id, .upto = run->seq,
                           .who = span_of(who)};

        assert(run->loaded && run->planned && !run->userdata);
        if (!site_may_reopen(e->site, run, ret_claimed))
                return -EBUSY;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct task *t = &run->tasks[i];
                const struct resource *there;

                t->resource = NULL; /* it stayed where it was only while it was claimed */
                if (!t->n_key || t->verb == PLAN_CHECK)
                        continue;
                there = inventory_get(&e->site->inventory, task_key(run, t));
                list_key(there && there->claim && !streq(there->claim, run->id_text) ? &shares : &claims,
                         task_key(run, t));
        }
        buf_puts(&claims, claims.n ? "]" : "[]");
        if (shares.n)
                buf_putc(&shares, ']');
        if (buf_error(&claims) || buf_error(&shares))
                return error_origin(-ENOMEM);
        r.claims = span_n(claims.data, claims.n);
        r.shares = span_n(shares.data, shares.n);
        engine_append(e, NULL, &r);
        if (e->error)
                return e->error;
        /* One that says that it goes on: an engine died behind the command that reopened it. */
        return run_status_ended(run->status) ? error_fold(engine_run_start(e, run))
                                             : engine_adopt(e, run);
}
