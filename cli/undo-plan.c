/* SPDX-License-Identifier: Apache-2.0 */
#include "undo-plan.h"

#include "base/clock.h"
#include "output.h"
#include "plan/plan.h"
#include "undo.h"

/* Steps: a task is undone when all that depends on it has been. 0: is not undone. Caller frees. */
static uint32_t *make_steps(const struct run *run, uint32_t checkpoint, uint32_t *ret_n)
{
        uint32_t *steps = calloc(run->n_tasks + (size_t)1, sizeof(*steps)), n = 0;
        uint32_t *behind = calloc(run->n_tasks + (size_t)1, sizeof(*behind));

        for (uint32_t i = run->n_tasks; steps && behind && i-- > 0;) {
                for (uint32_t k = run->first_next[i]; k < run->first_next[i + 1]; k++)
                        behind[i] = MAX(behind[i], behind[run_next(run, k)]);
                if (run_in_rollback(run, i, checkpoint, false))
                        steps[i] = ++behind[i];
                n = MAX(n, behind[i]);
        }
        if (steps && !behind) {
                free(steps);
                steps = NULL;
        }
        free(behind);
        *ret_n = n;
        return steps;
}

/* Why the engine will refuse to undo the task (core/engine/rollback.c), as far as the journal tells;
 * NULL: it will try. */
static json_t *refusal(const struct site *site, const struct run *run, struct task *t)
{
        const struct resource *r = run_resource(site, run, t);
        _cleanup_(cleanup_buf) struct buf lost = BUF_NULL;
        bool present = r && r->workflow;

        if (t->irreversible)
                return json_sprintf("the plugin does not declare that %s can be undone",
                                    plan_verb_name((enum plan_verb)t->verb));
        if (t->verb == PLAN_DELETE && present && task_with(run, t).n && streq(r->run, run->id_text)) {
                run_lost(site, run, t, &lost);
                return lost.n ? json_sprintf("it is there again, but what stood on it is not: %s",
                                             buf_str(&lost))
                              : NULL;
        }
        if (t->verb == PLAN_DELETE)
                return present ? json_sprintf("it is there again, by run %s", r->run) : NULL;
        if (!present)
                return t->verb == PLAN_UPDATE ? json_string("it is gone") : NULL;
        return streq(r->run, run->id_text) ? NULL : json_sprintf("run %s changed it since", r->run);
}

/* What restoring the former spec changes; NULL: nothing that is known. */
static json_t *difference(const struct site *site, const struct run *run, struct task *t)
{
        _cleanup_(cleanup_json_decref) json_t *former = NULL;
        _cleanup_(cleanup_buf) struct buf to = BUF_NULL, text = BUF_NULL;
        const struct resource *r = run_resource(site, run, t);
        const char *known = task_former(run, t);
        json_t *list = NULL;

        if (t->verb != PLAN_UPDATE || !known || !r || !r->workflow ||
            json_parse(known, strlen(known), &former, NULL) ||
            json_append(&to, json_object_get(former, "spec")) ||
            spec_difference(&text, r->spec, buf_str(&to)) || !text.n ||
            json_parse(text.data, text.n, &list, NULL))
                return NULL;
        return list;
}

/* Keys of what a server that is made again comes without. */
static json_t *lost_with(const struct site *site, const struct run *run, const struct task *t)
{
        _cleanup_(cleanup_buf) struct buf lost = BUF_NULL;
        json_t *list = json_array();
        const char *p;

        run_lost(site, run, t, &lost);
        for (p = buf_str(&lost); *p; p += strcspn(p, ", "), p += strspn(p, ", "))
                json_array_append_new(list, json_stringn(p, strcspn(p, ", ")));
        return list;
}

static json_t *plan_task(const struct site *site, const struct run *run, uint32_t number, uint32_t step)
{
        struct task *t = &run->tasks[number];
        json_t *reason = refusal(site, run, t), *changes = difference(site, run, t);

        return json_pack("{s:s, s:s, s:s, s:I, s:b, s:o?, s:o?, s:o}", "task", task_id(run, t), "resource",
                         task_key(run, t), "verb",
                         plan_verb_name((enum plan_verb)run_undo_verb(t)), "step", (json_int_t)step,
                         "possible", reason == NULL, "reason", reason, "difference", changes, "lost",
                         lost_with(site, run, t));
}

static json_t *checkpoints(const struct run *run)
{
        json_t *list = json_array();
        char at[CLOCK_TEXT];

        for (uint32_t i = 0; i < run->n_checkpoints; i++) {
                clock_text(run->checkpoints[i].at, at);
                json_array_append_new(list, json_pack("{s:I, s:I, s:s}", "checkpoint", (json_int_t)i + 1,
                                                      "operations",
                                                      (json_int_t)run->checkpoints[i].n_operations,
                                                      "at", at));
        }
        return list;
}

static json_t *blocked_by(const struct site *site, const struct run *run)
{
        const struct resource *r = NULL;

        if (!run_status_ended(run->status) || site_may_reopen(site, run, &r))
                return json_null();
        return json_pack("{s:s, s:s, s:s}", "resource", r->key, "run", r->claim, "workflow",
                         r->claim_workflow);
}

json_t *undo_plan(const struct site *site, const struct run *run, uint32_t checkpoint)
{
        uint32_t n = 0, *steps = make_steps(run, checkpoint, &n);
        json_t *tasks = json_array(), *cannot = json_array(), *last = NULL;

        for (uint32_t step = 1; steps && step <= n; step++)
                for (uint32_t i = run->n_tasks; i-- > 0;) {
                        json_t *task, *lost;

                        if (steps[i] != step)
                                continue;
                        task = plan_task(site, run, i, step);
                        json_array_append_new(tasks, task);
                        lost = json_object_get(task, "lost");
                        if (json_is_false(json_object_get(task, "possible")))
                                json_array_append(cannot, json_object_get(task, "resource"));
                        else if (!json_array_size(lost))
                                continue;
                        json_array_extend(cannot, lost);
                        last = json_object_get(task, "resource"); /* of all, the first that was done */
                }
        if (!steps || !tasks || !cannot) {
                free(steps);
                json_decref(tasks);
                json_decref(cannot);
                return NULL;
        }
        free(steps);
        return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:O?, s:o, s:o}", "id", run->id_text, "name",
                         run->name, "status", run_status_name(run->status), "to",
                         (json_int_t)checkpoint, "tasks", tasks, "cannot", cannot,
                         "point_of_no_return", last, "checkpoints", checkpoints(run), "blocked_by",
                         blocked_by(site, run));
}

/* For people */

#define MAX_LINES 200u

static void put_differences(struct buf *out, const json_t *list)
{
        const json_t *entry;
        size_t i;

        json_array_foreach (list, i, entry) {
                _cleanup_(cleanup_buf) struct buf from = BUF_NULL, to = BUF_NULL;

                json_append(&from, json_object_get(entry, "from"));
                json_append(&to, json_object_get(entry, "to"));
                buf_printf(out, "                 %s: ", json_get_string(entry, "path", "?"));
                put_cut(out, buf_str(&from), 60, 0, false);
                BUF_LIT(out, " -> ");
                put_cut(out, buf_str(&to), 60, 0, false);
                buf_putc(out, '\n');
        }
}

static void put_task(const json_t *task, size_t width, bool color, struct buf *out)
{
        const char *verb = json_get_string(task, "verb", "");
        bool possible = json_get_bool(task, "possible", true);
        const char *sign = streq(verb, "delete") ? "-" : streq(verb, "create") ? "+" : "~";
        const json_t *lost = json_object_get(task, "lost"), *name;
        struct buf text = BUF_NULL;
        size_t i;

        buf_printf(out, "  step %-4lld ", (long long)json_get_int(task, "step", 0));
        paint(out, color, possible ? PLAIN : RED, possible ? sign : "!");
        buf_putc(out, ' ');
        put_cut(&text, json_get_string(task, "resource", ""), width, width, true);
        buf_puts(out, buf_str(&text));
        if (possible)
                buf_printf(out, "  %s\n", streq(verb, "delete")   ? "delete"
                                          : streq(verb, "create") ? "create again"
                                                                  : "restore the former state");
        else
                buf_printf(out, "  stays: %s\n", json_get_string(task, "reason", ""));
        json_array_foreach (lost, i, name)
                buf_printf(out, "%s %s%s", i ? "," : "                 without what stood on it:",
                           json_string_value(name), i + 1 == json_array_size(lost) ? "\n" : "");
        put_differences(out, json_object_get(task, "difference"));
        buf_deinit(&text);
}

static void put_head(const json_t *plan, size_t n, struct buf *out)
{
        long long to = json_get_int(plan, "to", 0);
        const json_t *blocked = json_object_get(plan, "blocked_by");

        buf_printf(out, "rollback of %s %s (%s) to ", json_get_string(plan, "name", ""),
                   json_get_string(plan, "id", ""), json_get_string(plan, "status", ""));
        if (to)
                buf_printf(out, "checkpoint %lld", to);
        else
                BUF_LIT(out, "its start");
        buf_printf(out, ": %zu task%s to undo\n", n, n == 1 ? "" : "s");
        if (json_is_object(blocked))
                buf_printf(out, "not now: %s is claimed by run %s of workflow %s\n",
                           json_get_string(blocked, "resource", ""),
                           json_get_string(blocked, "run", ""),
                           json_get_string(blocked, "workflow", ""));
        buf_putc(out, '\n');
}

static void put_cannot(const json_t *plan, struct buf *out)
{
        const json_t *cannot = json_object_get(plan, "cannot"), *name;
        size_t n = json_array_size(cannot), i;

        if (!n)
                return;
        buf_printf(out, "\npoint of no return: %s\n%zu cannot be undone:",
                   json_get_string(plan, "point_of_no_return", ""), n);
        json_array_foreach (cannot, i, name)
                buf_printf(out, "%s %s", i ? "," : "", json_string_value(name));
        buf_putc(out, '\n');
}

static void put_checkpoints(const json_t *plan, struct buf *out)
{
        const json_t *list = json_object_get(plan, "checkpoints"), *c;
        size_t i;

        if (json_array_size(list))
                BUF_LIT(out, "\ncheckpoints\n");
        json_array_foreach (list, i, c) {
                buf_printf(out, "  --to %-4lld after %lld operations, ",
                           (long long)json_get_int(c, "checkpoint", 0),
                           (long long)json_get_int(c, "operations", 0));
                put_time(out, json_get_string(c, "at", NULL));
                buf_putc(out, '\n');
        }
}

void undo_plan_text(const json_t *plan, bool color, struct buf *out)
{
        const json_t *tasks = json_object_get(plan, "tasks"), *task;
        size_t n = json_array_size(tasks), width = 8, i;

        put_head(plan, n, out);
        json_array_foreach (tasks, i, task)
                width = MAX(width, text_width(json_get_string(task, "resource", "")));
        json_array_foreach (tasks, i, task)
                if (i < MAX_LINES)
                        put_task(task, MIN(width, (size_t)50), color, out);
        if (n > MAX_LINES)
                buf_printf(out, "  ... and %zu more tasks (--format json shows all)\n", n - MAX_LINES);
        if (!n)
                BUF_LIT(out, "  nothing to do\n");
        put_cannot(plan, out);
        put_checkpoints(plan, out);
}
