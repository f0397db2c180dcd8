/* SPDX-License-Identifier: Apache-2.0 */
/* The plan becomes records, and the records become the run. */
#include "engine/flight.h"

void list_key(struct buf *list, const char *key)
{
        buf_putc(list, list->n ? ',' : '[');
        buf_json(list, key);
}

/* What is shared stays empty if nothing is. */
static int list_claims(const struct plan *plan, struct buf *claims, struct buf *shares)
{
        for (uint32_t i = 0; i < plan->n_tasks; i++) {
                const struct plan_task *t = &plan->tasks[i];

                if (t->verb != PLAN_JOIN && t->verb != PLAN_CHECK && *t->resource)
                        list_key(t->shared ? shares : claims, t->resource);
        }
        buf_puts(claims, claims->n ? "]" : "[]");
        if (shares->n)
                buf_putc(shares, ']');
        return buf_error(claims) || buf_error(shares) ? error_origin(-ENOMEM) : 0;
}

static void list_notices(const struct plan *plan, struct buf *notices)
{
        buf_putc(notices, '[');
        for (uint32_t i = 0; i < plan->n_notices; i++) {
                if (i)
                        buf_putc(notices, ',');
                buf_json(notices, plan->notices[i]);
        }
        buf_putc(notices, ']');
}

static void append_run(struct engine *e, struct run *run, const struct submission *s,
                       const struct plan *plan)
{
        _cleanup_(cleanup_buf) struct buf notices = BUF_NULL;
        struct record r = {
                .type = RECORD_RUN,
                .run = s->run,
                .name = span_of(plan->name),
                .kind = span_of(s->kind),
                .who = span_of(s->who),
                .folder = span_of(s->folder),
                .file = span_of(s->file),
                .max_attempts = s->max_attempts,
                .backoff = span_of(s->backoff),
                .initial_delay = s->initial_delay_s,
                .max_delay = s->max_delay_s,
                .logging = span_of(s->logging),
                .snapshot_every = s->snapshot_every_s,
                .options = span_of("{}"),
                .rollback = s->rollback,
                .on_partial = s->on_partial,
                .preserve = s->preserve,
                .interval = s->checkpoint_interval,
        };

        list_notices(plan, &notices);
        r.notices = span_n(notices.data, notices.n);
        engine_append(e, run, &r);
        if (s->definition)
                engine_append(e, run,
                              &(struct record){.type = RECORD_DEFINITION,
                                               .definition = span_n(s->definition,
                                                                    s->n_definition)});
}

static void append_policies(struct engine *e, struct run *run, const struct plan *plan)
{
        static const char *const targets[] = {"server", "taskserv", "cluster"};
        static const char *const failures[] = {"fail", "continue", "rollback"};

        for (uint32_t i = 0; i < plan->n_lanes; i++) {
                const struct plugin *p = engine_find_plugin(e, plan->lanes[i].plugin);

                engine_append(e, run,
                              &(struct record){.type = RECORD_LANE,
                                               .plugin = span_of(plan->lanes[i].plugin),
                                               .batch_size = plan->lanes[i].batch_size,
                                               .rate_limit = plan->lanes[i].rate_limit,
                                               .version = span_of(p ? p->version : NULL),
                                               .sha256 = span_of(p ? p->sha256 : NULL),
                                               .build_id = span_of(p ? p->build_id : NULL)});
        }
        for (uint32_t i = 0; i < plan->n_operations; i++) {
                const struct plan_operation *o = &plan->operations[i];

                engine_append(e, run,
                              &(struct record){.type = RECORD_OPERATION,
                                               .id = span_of(o->id),
                                               .verb = span_of(plan_verb_name((enum plan_verb)o->type)),
                                               .target = span_of(targets[o->target]),
                                               .on_failure = span_of(failures[o->on_failure]),
                                               .timeout = o->timeout_s,
                                               .implied = o->implied});
        }
}

static void append_task(struct engine *e, struct run *run, const struct plan *plan,
                        const struct plan_task *t, struct buf *deps, struct buf *uses)
{
        struct record r = {
                .type = RECORD_TASK,
                .id = span_of(t->id),
                .operation = t->operation,
                .lane = t->verb == PLAN_JOIN ? 0 : t->lane,
                .verb = span_of(plan_verb_name(t->verb)),
                .key = span_of(t->resource),
                .item = span_of(t->item),
                .server = span_of(t->server),
                .soft = t->n_soft,
                .doc = span_of(t->doc),
                .difference = span_of(t->difference),
                .reason = span_of(t->reason),
                .waits = span_of(t->waits),
                .implied = t->implied,
                .irreversible = t->irreversible,
        };

        buf_clear(deps);
        for (uint32_t i = 0; i < t->n_deps; i++) {
                buf_putc(deps, i ? ',' : '[');
                buf_u64(deps, plan->deps[t->first_dep + i]);
        }
        if (t->n_deps)
                buf_putc(deps, ']');
        buf_clear(uses);
        for (uint32_t i = 0; i < t->n_uses; i++) {
                buf_putc(uses, i ? ',' : '[');
                buf_json(uses, plan->uses[t->first_use + i]);
        }
        if (t->n_uses)
                buf_putc(uses, ']');
        if (buf_error(deps) || buf_error(uses)) {
                e->error = -ENOMEM;
                return;
        }
        r.deps = span_n(deps->data, deps->n);
        r.uses = span_n(uses->data, uses->n);
        engine_append(e, run, &r);
}

static struct run *append_accepted(struct engine *e, const struct submission *s,
                                   const struct plan *plan)
{
        _cleanup_(cleanup_buf) struct buf claims = BUF_NULL, shares = BUF_NULL;
        char id[UID_TEXT], stream[4 + UID_TEXT];
        struct record r = {
                .type = RECORD_ACCEPTED,
                .run = s->run,
                .name = span_of(plan->name),
                .kind = span_of(s->kind),
                .store = span_of(s->store),
                .who = span_of(s->who),
        };

        uid_text(&s->run, id);
        snprintf(stream, sizeof(stream), "run-%s", id);
        r.stream = span_of(stream);
        if (list_claims(plan, &claims, &shares)) {
                e->error = -ENOMEM;
                return NULL;
        }
        r.claims = span_n(claims.data, claims.n);
        r.shares = span_n(shares.data, shares.n);
        engine_append(e, NULL, &r);
        return e->error ? NULL : site_run(e->site, id);
}

static void append_plan(struct engine *e, struct run *run, const struct submission *s,
                        const struct plan *plan)
{
        _cleanup_(cleanup_buf) struct buf deps = BUF_NULL, uses = BUF_NULL;

        append_run(e, run, s, plan);
        append_policies(e, run, plan);
        for (uint32_t i = 0; i < plan->n_tasks && !e->error; i++)
                append_task(e, run, plan, &plan->tasks[i], &deps, &uses);
        engine_append(e, run, &(struct record){.type = RECORD_PLANNED,
                                               .n_tasks = plan->n_tasks,
                                               .n_deps = plan->n_deps});
}

int engine_submit(struct engine *e, const struct submission *s, const struct plan *plan,
                  struct run **ret_run)
{
        struct run *run;
        char id[UID_TEXT];
        int r;

        uid_text(&s->run, id);
        if (strmap_get(&e->site->run_by_id, id))
                return -EEXIST;
        run = append_accepted(e, s, plan);
        if (!run)
                return error_origin(e->error ?: -ENOMEM);
        run->loaded = true;
        append_plan(e, run, s, plan);
        r = e->error ?: engine_run_start(e, run);
        if (r)
                return error_fold(r);
        *ret_run = run;
        return 0;
}

/* A changed definition */

static const struct plan_task *find_planned(const struct strmap *by_id, const struct run *run,
                                            const struct task *t)
{
        const struct strmap_entry *entry = strmap_find(by_id, task_id(run, t), t->n_id);

        return entry ? entry->value.pointer : NULL;
}

static bool makes(uint8_t verb)
{
        return verb == PLAN_CREATE || verb == PLAN_UPDATE;
}

/* A create of what the run itself has made is still the same task, whatever the new plan calls it. What
 * a delete says of the spec comes from the inventory, which may have lost it since. */
bool engine_replan_keeps(const struct run *run, const struct task *t, const struct plan_task *new)
{
        if (!new)
                return t->status == TASK_UNCHANGED; /* it changed nothing: it may go */
        if (makes(t->verb) ? !makes(new->verb) : t->verb != new->verb)
                return false;
        return streq(new->resource, task_key(run, t)) &&
               (t->verb == PLAN_DELETE || streq(new->doc, task_doc(run, t)));
}

static int index_plan(const struct plan *plan, struct strmap *by_id)
{
        for (uint32_t i = 0; i < plan->n_tasks; i++) {
                struct strmap_entry *entry =
                        strmap_add(by_id, plan->tasks[i].id, strlen(plan->tasks[i].id));

                if (!entry)
                        return error_origin(-ENOMEM);
                entry->value.pointer = (void *)&plan->tasks[i];
        }
        return 0;
}

/* The first task that has started and that the plan does not leave as it is; NULL: none. */
static const char *find_changed(const struct run *run, const struct strmap *by_id)
{
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];

                if (task_has_started(t) && !engine_replan_keeps(run, t, find_planned(by_id, run, t)))
                        return task_id(run, t);
        }
        return NULL;
}

/* What the new plan claims; and what was found by tasks that it has no more, for at the end of the run
 * nobody says that. */
static int prepare_replan(struct engine *e, struct run *run, const struct plan *plan,
                          const struct strmap *by_id)
{
        _cleanup_(cleanup_buf) struct buf claims = BUF_NULL, shares = BUF_NULL;

        if (list_claims(plan, &claims, &shares))
                return error_origin(-ENOMEM);
        engine_append(e, NULL, &(struct record){.type = RECORD_CLAIM,
                                                .run = run->id,
                                                .claims = span_n(claims.data, claims.n),
                                                .shares = span_n(shares.data, shares.n)});
        for (uint32_t i = 0; i < run->n_tasks && !e->error; i++) {
                struct task *t = &run->tasks[i];

                if (t->status == TASK_UNCHANGED && !task_is_join(t) && !find_planned(by_id, run, t))
                        journal_change(e, run, t);
        }
        return e->error;
}

int engine_replan_claim(struct engine *e, struct run *run, const struct plan *plan,
                        const char **ret_task)
{
        struct strmap by_id = STRMAP_NULL;
        int q;

        if (!run->userdata || run->status != RUN_PAUSED || run->rollback || run->halted)
                return -ENOENT;
        if (engine_run_is_calling(run))
                return -EBUSY;
        q = index_plan(plan, &by_id);
        if (q == 0) {
                *ret_task = find_changed(run, &by_id);
                q = *ret_task ? -EINVAL : prepare_replan(e, run, plan, &by_id);
        }
        strmap_deinit(&by_id);
        return q;
}

int engine_replan(struct engine *e, struct run *run, const struct submission *s,
                  const struct plan *plan)
{
        assert(run->status == RUN_PAUSED && !engine_run_is_calling(run));
        engine_run_stop(e, run); /* with its flights: the fold knows what they were about */
        engine_append(e, run, &(struct record){.type = RECORD_REPLAN, .who = span_of(s->who)});
        append_plan(e, run, s, plan);
        return e->error ?: engine_adopt(e, run);
}
