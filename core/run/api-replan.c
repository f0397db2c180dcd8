/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /workflows/{id}/replan: a changed definition for a paused run. What has started stays as it is;
 * the rest is what the new definition says. With "dry_run": true only the difference is answered.
 *
 * What the new plan claims is durable in the site stream before the plan is in the run's own.
 */
#include "run/api.h"

#include "base/clock.h"
#include "run/changes.h"

#define ASKED_MAX 5u /* tasks that a refusal names */

static bool is_dry(const struct api_definition *a)
{
        uint32_t node = document_get(a->document, a->root, "dry_run");

        return node != DOC_NONE && document_node(a->document, node)->type == DOC_BOOL &&
               document_node(a->document, node)->v.boolean;
}

static bool known_member(const char *key)
{
        static const char *const members[] = {"definition", "folder", "file", "only", "replace",
                                              "prune", "who", "dry_run"};

        for (size_t i = 0; i < N_ELEMENTS(members); i++)
                if (streq(key, members[i]))
                        return true;
        return false;
}

/* Who misspells "dry_run" must not get the real thing. */
static bool check_members(struct request *q, const struct api_definition *a)
{
        const struct document *d = a->document;
        uint32_t dry = document_get(d, a->root, "dry_run");

        if (a->top == a->root) {
                api_refuse(q, 422, "the definition must stand in the member \"definition\"");
                return false;
        }
        for (uint32_t c = document_node(d, a->root)->v.children.first; c != DOC_NONE;
             c = document_node(d, c)->next)
                if (!known_member(document_key(d, c))) {
                        api_refuse(q, 422, "\"%s\" is not known here; accepted: \"definition\", "
                                           "\"folder\", \"file\", \"only\", \"replace\", \"prune\", "
                                           "\"who\", \"dry_run\"",
                                   document_key(d, c));
                        return false;
                }
        if (dry != DOC_NONE && document_node(d, dry)->type != DOC_BOOL)
                api_refuse(q, 422, "\"dry_run\" must be true or false");
        return q->status == 0;
}

static const char *asked_tasks(const struct run *run, struct buf *names)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < run->n_tasks && n <= ASKED_MAX; i++) {
                if (!run->tasks[i].in_flight || !engine_is_asked(run, i))
                        continue;
                buf_printf(names, "%s%s", n ? ", " : "",
                           n == ASKED_MAX ? "..." : task_id(run, &run->tasks[i]));
                n++;
        }
        return n ? buf_str(names) : NULL;
}

/* Can the run take another definition now? False: the answer says why not. */
static bool may_change(struct request *q, const struct run *run)
{
        _cleanup_(cleanup_buf) struct buf names = BUF_NULL;
        const char *id = run->id_text, *asked;

        if (run_status_ended(run->status))
                api_refuse(q, 409, "run %s has ended: it is %s. A changed definition is a new run now: "
                                   "prvng batch submit FILE", id, run_status_name(run->status));
        else if (run->kind && (streq(run->kind, "destroy") || streq(run->kind, "check")))
                api_refuse(q, 409, "run %s is a %s of what workflow \"%s\" owns: it has no definition "
                                   "that could be changed", id, run->kind, run->name);
        else if (run->kind && streq(run->kind, "rotate"))
                api_refuse(q, 409, "run %s rotates a credential: it has no definition that could be "
                                   "changed", id);
        else if (run->rollback)
                api_refuse(q, 409, "run %s is being rolled back: its plan cannot be changed any more",
                           id);
        else if (run->status != RUN_PAUSED)
                api_refuse(q, 409, "run %s is %s: only the plan of a paused run can be changed. Pause "
                                   "it first: prvng batch pause %s", id, run_status_name(run->status),
                           id);
        else if (run->halted)
                api_refuse(q, 409, "nothing more starts in run %s, since it %s: it ends when it is "
                                   "resumed (prvng batch resume %s); then submit the changed "
                                   "definition", id, run->cancelled ? "was cancelled" : "failed", id);
        else if ((asked = asked_tasks(run, &names)))
                api_refuse(q, 409, "run %s is paused, but what was in flight has not come to its end: "
                                   "%s. Wait for it (prvng batch status %s), then ask again", id, asked,
                           id);
        return q->status == 0;
}

/* Is it a definition of that run? */
static bool is_of(struct engine_process *p, struct request *q, const struct api_definition *a,
                  const struct run *run)
{
        const char *store = a->plan->store ?: p->context->config->store;

        if (!streq(a->plan->name, run->name))
                api_refuse(q, 422, "the definition is of workflow \"%s\", but run %s is of workflow "
                                   "\"%s\": another workflow is submitted by itself (prvng batch submit)",
                           a->plan->name, run->id_text, run->name);
        else if (run->store && !streq(store, run->store))
                api_refuse(q, 422, "monitoring.state_store: run %s is kept in the store \"%s\" and stays "
                                   "there; the definition says \"%s\"", run->id_text, run->store, store);
        return q->status == 0;
}

static void answer(struct request *q, const struct run *run, const struct plan *plan,
                   const struct changes *changes, bool dry)
{
        struct buf *b = &q->answer;

        BUF_LIT(b, "{\"id\":");
        buf_json(b, run->id_text);
        BUF_LIT(b, ",\"name\":");
        buf_json(b, run->name);
        buf_printf(b, ",\"status\":\"%s\",\"dry_run\":%s,", run_status_name(run->status),
                   dry ? "true" : "false");
        changes_json(changes, b);
        BUF_LIT(b, ",\"notices\":[");
        for (uint32_t i = 0; i < plan->n_notices; i++) {
                if (i)
                        buf_putc(b, ',');
                buf_json(b, plan->notices[i]);
        }
        BUF_LIT(b, "]}");
        if (buf_error(b))
                api_problems(q, 500, "out of memory", NULL);
        else
                q->status = dry ? 200 : 202;
}

static void failed(struct engine_process *p, struct request *q, int r)
{
        process_fail(p, r, p->journal->message);
        api_problems(q, 500, p->message ?: strerror(r < 0 ? -r : EIO), NULL);
}

/* False: it was answered why not. */
static bool take_over(struct engine_process *p, struct request *q, struct run *run,
                      const struct api_definition *a)
{
        const char *task = NULL;
        int r;

        engine_time(p->engine, clock_boot_ms(), clock_wall_ms()); /* planning may have taken long */
        if (!may_change(q, run)) /* a timer may have fired */
                return false;
        r = engine_replan_claim(p->engine, run, a->plan, &task);
        if (r == -EINVAL && task) { /* it was looked at before */
                api_refuse(q, 409, "%s has started meanwhile", task);
                return false;
        }
        r = r ?: driver_commit(p);
        r = r ?: engine_replan(p->engine, run, &a->submission, a->plan);
        if (r)
                failed(p, q, r);
        return r == 0;
}

static void replan(struct engine_process *p, struct request *q, struct run *run,
                   struct api_definition *a)
{
        _cleanup_(cleanup_changes) struct changes changes = CHANGES_NULL;
        bool dry = is_dry(a);
        int r;

        if (!api_definition_plan(p, q, a, run->id_text) || !is_of(p, q, a, run) ||
            !api_definition_submission(q, a, &run->id))
                return;
        a->submission.store = run->store;
        r = changes_make(run, a->plan, &a->submission, &changes);
        if (r)
                api_problems(q, 500, strerror(-r), NULL);
        else if (changes.n_refused)
                api_refuse(q, 409, "%s. What has started stays as it is: leave it in the definition as it "
                                   "was, and change it with a later run (prvng batch submit) when this "
                                   "one has ended", buf_str(&changes.refused));
        else if (dry || take_over(p, q, run, a))
                answer(q, run, a->plan, &changes, dry);
}

void api_replan(struct engine_process *p, struct request *q, const char *name, size_t n_name)
{
        _cleanup_(cleanup_api_definition) struct api_definition a = {0};
        struct run *run;

        engine_time(p->engine, clock_boot_ms(), clock_wall_ms());
        run = api_find_run(p, q, name, n_name);
        if (run && may_change(q, run) && api_definition_read(p, q, &a) && check_members(q, &a))
                replan(p, q, run, &a);
}
