/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rollback. A failure or a command asks for it (record `rollback`); what is in flight comes to its end
 * first; then `unwind` settles what shall be undone, and the fold hands out the undos in reverse
 * dependency order. Each is a request of its own with its own op id, journaled before it is asked for,
 * with all that attempts have: retries, tokens, doubt (promise 5).
 *
 * Only effects that an op id of this run caused are undone, and only while nobody changed the resource
 * since: what another run changed, or what is not as an update left it, is a conflict and is listed.
 */
#include "engine/flight.h"

#include "base/json.h"

/* Starting */

static uint32_t count_undos(const struct run *run, uint32_t checkpoint, bool preserve)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < run->n_tasks; i++)
                n += run_in_rollback(run, i, checkpoint, preserve);
        return n;
}

/* design.md §5: what the failure that halted the run says, and what the strategy says of it. */
static bool rolls_back_by_itself(const struct run *run)
{
        const struct operation *o;

        if (run->halted_by == TASK_NONE || run->cancelled || !run->strategy.enabled)
                return false;
        o = &run->operations[run->tasks[run->halted_by].operation];
        return o->on_failure == ON_FAILURE_ROLLBACK && (run->strategy.on_partial || o->n_good == 0) &&
               count_undos(run, 0, run->strategy.preserve) > 0;
}

bool rollback_by_itself(struct engine *e, struct run *run)
{
        const struct task_note *note;

        if (!rolls_back_by_itself(run))
                return false;
        note = run_note(run, run->halted_by);
        engine_append(e, run, &(struct record){.type = RECORD_ROLLBACK,
                                               .preserve = run->strategy.preserve,
                                               .message = span_of(note ? note->message : NULL)});
        return true;
}

int engine_rollback(struct engine *e, struct run *run, uint32_t checkpoint, const char *who)
{
        if (!run->userdata || run->rollback)
                return -ENOENT;
        if (checkpoint > run->n_checkpoints)
                return -EINVAL;
        engine_append(e, run, &(struct record){.type = RECORD_ROLLBACK,
                                               .checkpoint = checkpoint,
                                               .who = span_of(who)});
        if (!e->error)
                engine_run_hurry(e, run);
        return e->error;
}

int engine_rollback_again(struct engine *e, struct run *run, const char *who)
{
        if (!run->userdata || run->status != RUN_ROLLBACK_INCOMPLETE || !run->rollback_reason)
                return -ENOENT;
        engine_append(e, run, &(struct record){.type = RECORD_ROLLBACK,
                                               .checkpoint = run->to_checkpoint,
                                               .preserve = run->preserve,
                                               .message = span_of(run->rollback_reason),
                                               .who = span_of(who)});
        if (!e->error)
                engine_run_hurry(e, run);
        return e->error;
}

void rollback_unwind(struct engine *e, struct run *run)
{
        engine_append(e, run,
                      &(struct record){.type = RECORD_UNWIND,
                                       .count = count_undos(run, run->to_checkpoint, run->preserve)});
}

/* Undos */

static void undo_failed(struct engine *e, struct run *run, uint32_t task, int32_t answer,
                        const char *format, ...) _printf_(5, 6);

/* Nothing was asked of the plugin: there is no attempt and no flight. */
static void undo_failed(struct engine *e, struct run *run, uint32_t task, int32_t answer,
                        const char *format, ...)
{
        _cleanup_(cleanup_free) char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        engine_append(e, run, &(struct record){.type = RECORD_UNDO_FAILED,
                                               .task = task,
                                               .answer = answer,
                                               .effect = PRVNG_EFFECT_NONE,
                                               .message = span_of(message)});
        task_halts(e, run, task, span_of(message)); /* before a task was to be done again */
}

/* The value that starts at `p`, of JSON that the journal holds. */
static struct span value_at(const char *p)
{
        size_t n = 0, depth = 0;
        bool text = false;

        for (; p[n]; n++) {
                if (text && p[n] == '\\' && p[n + 1])
                        n++;
                else if (p[n] == '"')
                        text = !text;
                else if (!text && (p[n] == '{' || p[n] == '['))
                        depth++;
                else if (!text && (p[n] == '}' || p[n] == ']' || p[n] == ',') && depth == 0)
                        break;
                else if (!text && (p[n] == '}' || p[n] == ']'))
                        depth--;
        }
        return span_n(p, n);
}

/* {"with":"K","spec":X,"state":Y}, as start.c wrote it -> X; empty if there was none. */
static struct span former_spec(const struct run *run, const struct task *t)
{
        const char *former = task_former(run, t), *spec = former ? strstr(former, "\"spec\":") : NULL;
        struct span value = spec ? value_at(spec + 7) : span_n(NULL, 0);

        return value.n && *value.p == '{' ? value : span_n(NULL, 0);
}

/* An update or delete that failed half-way left the inventory as it was: who is named there made or
 * changed the resource before this run did, which held its claim since. */
static bool half_done(const struct run *run, const struct task *t, const struct resource *r)
{
        struct span former = former_spec(run, t);

        return t->verb != PLAN_CREATE && t->status != TASK_SUCCEEDED && former.n &&
               span_eq(former, r->spec) &&
               r->changed_ms <= run->started_ms + (int64_t)t->ended_s * 1000;
}

/* What servers share stays while one stands on it, or a run in flight is about to make one that will;
 * that is no failure of the rollback. */
static bool is_kept(struct engine *e, const struct run *run, const struct task *t,
                    const struct resource *r, struct buf *why)
{
        const struct run *user;

        if (t->verb != PLAN_CREATE || t->redo || startswith(r->key, "server.") ||
            startswith(r->key, "taskserv."))
                return false;
        if (r->claim && !streq(r->claim, run->id_text)) { /* only who claims it changes it */
                buf_printf(why, "%s stays: run %s of workflow \"%s\", which has not ended, uses it", r->key,
                           r->claim, r->claim_workflow);
                return true;
        }
        if (r->n_on) {
                const struct resource *on = inventory_user(&e->site->inventory, r->key);

                buf_printf(why, "%s stays: %s of workflow \"%s\" stands on it", r->key,
                           on ? on->key : "something", on ? on->workflow : "?");
                return true;
        }
        user = site_user(e->site, r->key, run, NULL);
        if (user && run_shares(user, r) && resource_is_rest(r))
                return false; /* it waits for the whole, and makes it then */
        if (user)
                buf_printf(why, "%s stays: run %s of workflow \"%s\" builds on it", r->key, user->id_text,
                           user->name);
        return user != NULL;
}

/* A delete whose undo made the server again, but not what stood on it. */
static bool lost_some(const struct run *run, const struct task *t, const struct resource *r)
{
        const struct task_note *note = run_note(run, (uint32_t)(t - run->tasks));

        return t->verb == PLAN_DELETE && r && r->workflow && streq(r->run, run->id_text) &&
               task_with(run, t).n && note && note->answer == PRVNG_UNSUPPORTED;
}

#define LOST "%s is there again, but what stood on it is not: %s. A workflow that installs it brings " \
             "it back"

/* It may have been brought back since. */
static void look_for_lost(struct engine *e, struct run *run, uint32_t task)
{
        struct task *t = &run->tasks[task];
        _cleanup_(cleanup_buf) struct buf keys = BUF_NULL;

        run_lost(e->site, run, t, &keys);
        if (keys.n)
                undo_failed(e, run, task, PRVNG_UNSUPPORTED, LOST, task_key(run, t), buf_str(&keys));
        else
                engine_append(e, run, &(struct record){.type = RECORD_UNDONE,
                                                       .task = task,
                                                       .answer = PRVNG_UNCHANGED,
                                                       .message = span_of("it is there again")});
}

void undo_restored(struct engine *e, struct run *run, uint32_t task)
{
        struct task *t = &run->tasks[task];
        _cleanup_(cleanup_buf) struct buf keys = BUF_NULL, message = BUF_NULL;

        run_lost(e->site, run, t, &keys);
        if (!keys.n)
                return;
        buf_printf(&message, LOST, task_key(run, t), buf_str(&keys));
        engine_append(e, run, &(struct record){.type = RECORD_UNDO_FAILED,
                                               .task = task,
                                               .answer = PRVNG_UNSUPPORTED,
                                               .effect = PRVNG_EFFECT_COMPLETE,
                                               .message = span_n(message.data, message.n)});
}

/* True if the undo came to its end here. */
static bool ends_at_once(struct engine *e, struct run *run, uint32_t task)
{
        struct task *t = &run->tasks[task];
        const struct resource *r = run_resource(e->site, run, t);
        bool present = r && r->workflow, half = present && half_done(run, t, r);
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;

        if (present && is_kept(e, run, t, r, &why))
                engine_append(e, run, &(struct record){.type = RECORD_UNDONE,
                                                       .task = task,
                                                       .answer = PRVNG_CONFLICT,
                                                       .message = span_n(why.data, why.n)});
        else if (t->irreversible)
                undo_failed(e, run, task, PRVNG_UNSUPPORTED,
                            "the plugin does not declare that %s can be undone",
                            plan_verb_name((enum plan_verb)t->verb));
        else if (t->verb == PLAN_CREATE && !present)
                engine_append(e, run, &(struct record){.type = RECORD_UNDONE,
                                                       .task = task,
                                                       .answer = PRVNG_UNCHANGED,
                                                       .message = span_of("it is gone already")});
        else if (lost_some(run, t, r))
                look_for_lost(e, run, task);
        else if (t->verb == PLAN_DELETE && present && !half)
                undo_failed(e, run, task, PRVNG_CONFLICT, "it is there again, by run %s", r->run);
        else if (t->verb != PLAN_DELETE && !present)
                undo_failed(e, run, task, PRVNG_NOT_FOUND, "it is gone");
        else if (t->verb != PLAN_DELETE && !half && !streq(r->run, run->id_text))
                undo_failed(e, run, task, PRVNG_CONFLICT, "run %s changed it since", r->run);
        else if (t->verb != PLAN_CREATE && !former_spec(run, t).n)
                undo_failed(e, run, task, PRVNG_UNSUPPORTED, "what it was before is not known");
        else
                return false;
        return true;
}

void undo_start(struct engine *e, struct run *run, uint32_t task)
{
        struct task *t = &run->tasks[task];
        struct span spec = former_spec(run, t);
        struct flight *f;

        if (ends_at_once(e, run, task))
                return;
        f = flight_new(e, run, task);
        if (!f) {
                e->error = error_origin(-ENOMEM);
                return;
        }
        f->role = ROLE_UNDO;
        f->verb = run_undo_verb(t);
        if (t->verb != PLAN_CREATE)
                buf_append(&f->former, spec.p, spec.n);
        if (buf_error(&f->former) ||
            compose_document(e->site, run, t, t->verb == PLAN_CREATE ? NULL : buf_str(&f->former),
                             &f->document))
                e->error = error_origin(-ENOMEM);
        else if (!f->lane->plugin)
                flight_fail(f, PRVNG_UNSUPPORTED, "the plugin %s is not available in this engine; see: "
                                                  "prvng plugin list", f->lane->name);
        else if (t->verb == PLAN_UPDATE && t->status == TASK_SUCCEEDED)
                task_read(f);
        else
                attempt_prepare(f);
}

/* 1 and 1.0 are the same here. */
static bool same(const json_t *a, const json_t *b)
{
        if (json_is_number(a) && json_is_number(b))
                return json_number_value(a) == json_number_value(b);
        return json_equal(a, b);
}

/* The first attribute of the spec that is no longer what the update left; false if there is none. What
 * the two results do not both hold cannot be compared. */
static bool find_change(const struct resource *r, const struct op_reply *reply, struct buf *message)
{
        _cleanup_(cleanup_json_decref) json_t *spec = NULL, *left = NULL, *now = NULL;
        const char *key;
        json_t *wanted;

        if (json_parse(r->spec, strlen(r->spec), &spec, NULL) ||
            json_parse(r->outputs, strlen(r->outputs), &left, NULL) ||
            json_parse(reply->result.data, reply->result.n, &now, NULL))
                return false;
        json_object_foreach (spec, key, wanted) {
                const json_t *a = json_object_get(left, key), *b = json_object_get(now, key);

                if (!a || !b || same(a, b))
                        continue;
                buf_printf(message, "somebody changed it since: %s is ", key);
                json_append(message, b);
                BUF_LIT(message, ", this run left ");
                json_append(message, a);
                return true;
        }
        return false;
}

void undo_read(struct flight *f, struct op_reply *reply)
{
        const struct resource *r = run_resource(f->engine->site, f->run, flight_task(f));
        _cleanup_(cleanup_buf) struct buf message = BUF_NULL;

        if (!flight_may_begin(f)) {
                flight_end(f);
                return;
        }
        if (f->run->status == RUN_PAUSED) { /* read anew when it is resumed */
                f->phase = PHASE_DELAYED;
                return;
        }
        if (attempt_read_later(f, reply))
                return;
        if (reply->answer == PRVNG_NOT_FOUND)
                flight_fail(f, PRVNG_NOT_FOUND, "it is gone");
        else if (reply->answer < 0 && reply->answer != PRVNG_UNSUPPORTED)
                task_failed(f, reply);
        else if (reply->answer == PRVNG_DONE && r && find_change(r, reply, &message))
                flight_fail(f, PRVNG_CONFLICT, "%s", buf_str(&message));
        else
                attempt_prepare(f);
}

/* The end */

/* What could not be undone by itself may have gone with what it stood on: a taskserv with its server. */
static void went_along(struct engine *e, struct run *run)
{
        for (uint32_t i = 0; i < run->n_tasks && !e->error; i++) {
                struct task *t = &run->tasks[i];
                const struct resource *r;

                if (t->status != TASK_UNDO_FAILED || t->verb != PLAN_CREATE || !t->n_key)
                        continue;
                r = run_resource(e->site, run, t);
                if (!r || !r->workflow)
                        engine_append(e, run,
                                      &(struct record){.type = RECORD_UNDONE,
                                                       .task = i,
                                                       .answer = PRVNG_UNCHANGED,
                                                       .message = span_of("it went with what it stood on")});
        }
}

enum run_status rollback_end(struct engine *e, struct run *run)
{
        bool left = run->unsettled > 0 || !run->unwinding; /* it was stopped */

        went_along(e, run);
        return left || run->n_by_status[TASK_UNDO_FAILED] ? RUN_ROLLBACK_INCOMPLETE : RUN_ROLLED_BACK;
}
