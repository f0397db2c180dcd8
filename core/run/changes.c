/* SPDX-License-Identifier: Apache-2.0 */
#include "run/changes.h"

#include "base/json.h"
#include "base/strmap.h"

#define NAMED_MAX 5u  /* tasks that a refusal names */
#define LEAVES_MAX 3u /* attributes of the first that it tells */

struct comparison {
        const struct run *run;
        const struct plan *plan;
        struct strmap planned;   /* number in the plan + 1, by id */
        uint32_t *first, *prev;  /* what each task of the run depends on */
        struct buf old, new;     /* scratch */
        struct changes *changes;
};

void changes_deinit(struct changes *c)
{
        buf_deinit(&c->added);
        buf_deinit(&c->removed);
        buf_deinit(&c->changed);
        buf_deinit(&c->kept);
        buf_deinit(&c->run);
        buf_deinit(&c->refused);
        *c = CHANGES_NULL;
}

/* Indexes */

static int index_plan(struct comparison *c)
{
        for (uint32_t i = 0; i < c->plan->n_tasks; i++) {
                const struct plan_task *t = &c->plan->tasks[i];
                struct strmap_entry *e;

                if (t->verb == PLAN_JOIN)
                        continue;
                e = strmap_add(&c->planned, t->id, strlen(t->id));
                if (!e)
                        return error_origin(-ENOMEM);
                e->value.number = i + (uint64_t)1;
        }
        return 0;
}

static int index_dependencies(struct comparison *c)
{
        const struct run *run = c->run;

        c->first = calloc(run->n_tasks + (size_t)2, sizeof(*c->first));
        c->prev = malloc(MAX(run->n_deps, 1u) * sizeof(*c->prev));
        if (!c->first || !c->prev)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < run->n_deps; i++)
                c->first[run_next(run, i) + 2]++;
        for (uint32_t i = 2; i <= run->n_tasks; i++)
                c->first[i] += c->first[i - 1];
        for (uint32_t i = 0; i < run->n_tasks; i++)
                for (uint32_t k = run->first_next[i]; k < run->first_next[i + 1]; k++)
                        c->prev[c->first[run_next(run, k) + 1]++] = i;
        return 0;
}

/* Differences */

/* `b` holds what spec_difference() made, or nothing: room for one more element. */
static void one_more(struct buf *b, const char *path)
{
        if (b->n && b->data[b->n - 1] == ']')
                b->n--;
        buf_putc(b, b->n ? ',' : '[');
        BUF_LIT(b, "{\"path\":");
        buf_json(b, path);
}

static void differ(struct buf *b, const char *path, const char *from, const char *to)
{
        if (streq(from, to))
                return;
        one_more(b, path);
        buf_printf(b, ",\"from\":%s,\"to\":%s}]", from, to);
}

static void differ_text(struct buf *b, const char *path, const char *from, const char *to)
{
        if (streq(from, to))
                return;
        one_more(b, path);
        BUF_LIT(b, ",\"from\":");
        buf_json(b, from);
        BUF_LIT(b, ",\"to\":");
        buf_json(b, to);
        BUF_LIT(b, "}]");
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names sorted, each once, as a JSON array. */
static void put_names(struct buf *names, struct buf *json)
{
        const char **list = (const char **)(void *)names->data;
        size_t n = names->n / sizeof(*list);

        if (n)
                qsort(list, n, sizeof(*list), compare_names);
        buf_clear(json);
        buf_putc(json, '[');
        for (size_t i = 0; i < n; i++) {
                if (i && streq(list[i], list[i - 1]))
                        continue;
                if (i)
                        buf_putc(json, ',');
                buf_json(json, list[i]);
        }
        buf_putc(json, ']');
}

/* Which other operations a task depends on: their tasks stand for them. */
static void differ_dependencies(struct comparison *c, uint32_t old, const struct plan_task *new,
                                struct buf *difference)
{
        _cleanup_(cleanup_buf) struct buf names = BUF_NULL;
        const struct run *run = c->run;

        for (uint32_t i = c->first[old]; i < c->first[old + 1]; i++) {
                uint32_t on = run->tasks[c->prev[i]].operation;
                const char *id = operation_id(run, &run->operations[on]);

                if (on != run->tasks[old].operation)
                        buf_append(&names, &id, sizeof(id));
        }
        put_names(&names, &c->old);
        buf_clear(&names);
        for (uint32_t i = 0; i < new->n_deps; i++) {
                uint32_t on = c->plan->tasks[c->plan->deps[new->first_dep + i]].operation;
                const char *id = c->plan->operations[on].id;

                if (on != new->operation)
                        buf_append(&names, &id, sizeof(id));
        }
        put_names(&names, &c->new);
        differ(difference, "operation.depends_on", buf_str(&c->old), buf_str(&c->new));
        if (buf_error(&names))
                difference->error = -ENOMEM;
}

static void differ_operation(struct comparison *c, const struct task *old,
                             const struct plan_task *new, struct buf *difference)
{
        static const char *const failures[] = {"fail", "continue", "rollback"};
        const struct operation *a = &c->run->operations[old->operation];
        const struct plan_operation *b = &c->plan->operations[new->operation];
        char from[16], to[16];

        snprintf(from, sizeof(from), "%u", a->timeout_s);
        snprintf(to, sizeof(to), "%u", b->timeout_s);
        differ(difference, "operation.timeout", from, to);
        differ_text(difference, "operation.on_failure", failures[a->on_failure], failures[b->on_failure]);
        differ_text(difference, "operation.id", operation_id(c->run, a), b->id);
}

/* What a task asks for: its spec; for a delete that comes from the inventory, not from the definition. */
static int differ_spec(const struct run *run, const struct task *old, const struct plan_task *new,
                       struct buf *difference)
{
        _cleanup_(cleanup_free) char *spec = NULL;
        struct span s;

        if ((old->verb == PLAN_DELETE && new->verb == PLAN_DELETE) || streq(task_doc(run, old), new->doc))
                return 0;
        s = task_spec(run, old);
        spec = strndup(s.n ? s.p : "{}", s.n ? s.n : 2);
        return spec ? spec_difference(difference, spec, new->spec ?: "{}") : error_origin(-ENOMEM);
}

/* A create of what is there with another spec is an update: the spec says it better. */
static const char *verb_said(uint8_t verb)
{
        return plan_verb_name(verb == PLAN_UPDATE ? PLAN_CREATE : (enum plan_verb)verb);
}

static int difference_of(struct comparison *c, uint32_t number, const struct plan_task *new,
                         struct buf *difference)
{
        const struct run *run = c->run;
        const struct task *old = &run->tasks[number];
        int r = differ_spec(run, old, new, difference);

        if (r)
                return error_fold(r);
        differ_text(difference, "verb", verb_said(old->verb), verb_said(new->verb));
        differ_text(difference, "resource", task_key(run, old), new->resource);
        if (task_has_started(old))
                return buf_error(difference);
        differ(difference, "wait_condition", task_waits(run, old) ?: "null", new->waits ?: "null");
        differ_operation(c, old, new, difference);
        differ_dependencies(c, number, new, difference);
        return buf_error(difference);
}

/* Tasks */

static void put_id(struct buf *list, const char *id)
{
        if (list->n)
                buf_putc(list, ',');
        buf_json(list, id);
}

static void put_kept(struct comparison *c, const struct task *t)
{
        struct buf *list = &c->changes->kept;

        buf_puts(list, list->n ? ",{\"task\":" : "{\"task\":");
        buf_json(list, task_id(c->run, t));
        buf_printf(list, ",\"status\":\"%s\"}", task_status_name(t->status));
}

static void put_changed(struct comparison *c, const struct task *t, const struct buf *difference)
{
        struct buf *list = &c->changes->changed;

        buf_puts(list, list->n ? ",{\"task\":" : "{\"task\":");
        buf_json(list, task_id(c->run, t));
        BUF_LIT(list, ",\"difference\":");
        buf_append(list, difference->data, difference->n);
        buf_putc(list, '}');
}

/* [{"path":"cpu","from":1,"to":2}] -> : cpu 1 -> 2 */
static void put_leaves(const struct buf *difference, struct buf *b)
{
        _cleanup_(cleanup_json_decref) json_t *list = NULL;
        json_t *leaf;
        size_t i;

        if (!difference->n || json_parse(difference->data, difference->n, &list, NULL))
                return;
        json_array_foreach (list, i, leaf) {
                if (i == LEAVES_MAX) {
                        BUF_LIT(b, ", ...");
                        return;
                }
                buf_printf(b, "%s%s ", i ? ", " : ": ", json_get_string(leaf, "path", ""));
                json_append(b, json_object_get(leaf, "from"));
                BUF_LIT(b, " -> ");
                json_append(b, json_object_get(leaf, "to"));
        }
}

/* The first of them with all that is to say, then names. */
static void put_refused(struct comparison *c, const struct task *t, bool gone,
                        const struct buf *difference)
{
        struct buf *b = &c->changes->refused;
        uint32_t n = c->changes->n_refused++;

        if (n == 0) {
                buf_printf(b, "%s has started (it is %s), and the new definition %s",
                           task_id(c->run, t), task_status_name(t->status),
                           gone ? "no longer has it" : "changes it");
                put_leaves(difference, b);
        } else if (n < NAMED_MAX) {
                buf_printf(b, "%s%s", n == 1 ? "; so it is with " : ", ", task_id(c->run, t));
        } else if (n == NAMED_MAX) {
                BUF_LIT(b, " and others");
        }
}

static const struct plan_task *planned(const struct comparison *c, const struct task *t)
{
        const struct strmap_entry *e = strmap_find(&c->planned, task_id(c->run, t), t->n_id);

        return e ? &c->plan->tasks[e->value.number - 1] : NULL;
}

static int compare_task(struct comparison *c, uint32_t number)
{
        _cleanup_(cleanup_buf) struct buf difference = BUF_NULL;
        const struct task *t = &c->run->tasks[number];
        const struct plan_task *new = planned(c, t);
        bool started = task_has_started(t), keeps = started && engine_replan_keeps(c->run, t, new);
        int r = 0;

        if (new && !keeps)
                r = difference_of(c, number, new, &difference);
        if (r)
                return error_fold(r);
        if (started && !keeps)
                put_refused(c, t, !new, &difference);
        else if (!new)
                put_id(&c->changes->removed, task_id(c->run, t));
        else if (difference.n)
                put_changed(c, t, &difference);
        else
                put_kept(c, t);
        return 0;
}

static int compare_tasks(struct comparison *c)
{
        struct strmap known = STRMAP_NULL;
        int r = 0;

        for (uint32_t i = 0; i < c->run->n_tasks && r == 0; i++) {
                const struct task *t = &c->run->tasks[i];

                if (task_is_join(t))
                        continue;
                r = compare_task(c, i);
                if (r == 0 && !strmap_add(&known, task_id(c->run, t), t->n_id))
                        r = error_origin(-ENOMEM);
        }
        for (uint32_t i = 0; i < c->plan->n_tasks && r == 0; i++) {
                const struct plan_task *t = &c->plan->tasks[i];

                if (t->verb != PLAN_JOIN && !strmap_find(&known, t->id, strlen(t->id)))
                        put_id(&c->changes->added, t->id);
        }
        strmap_deinit(&known);
        return r;
}

/* The run as a whole */

static void describe(struct buf *b, const char *type, uint32_t max_attempts, const char *backoff,
                     uint32_t initial_delay, uint32_t max_delay)
{
        buf_clear(b);
        buf_printf(b, "{\"type\":\"%s\",\"retry_policy\":{\"max_attempts\":%u,\"backoff\":\"%s\","
                      "\"initial_delay\":%u,\"max_delay\":%u},",
                   type, max_attempts, backoff, initial_delay, max_delay);
}

static void describe_strategy(struct buf *b, bool enabled, bool on_partial, bool preserve,
                              uint32_t interval)
{
        buf_printf(b, "\"rollback_strategy\":{\"enabled\":%s,\"on_partial_failure\":%s,"
                      "\"preserve_successful\":%s,\"checkpoint_interval\":%u}",
                   enabled ? "true" : "false", on_partial ? "true" : "false",
                   preserve ? "true" : "false", interval);
}

/* Of plugins that the run uses before and after. */
static void describe_limit(struct buf *b, const char *plugin, uint32_t batch_size, uint32_t rate)
{
        buf_putc(b, ',');
        buf_json(b, plugin);
        buf_printf(b, ":{\"batch_size\":%u,\"api_rate_limit\":%u}", batch_size, rate);
}

static void describe_limits(struct comparison *c)
{
        for (uint32_t i = 0; i < c->run->n_lanes; i++)
                for (uint32_t k = 0; k < c->plan->n_lanes; k++) {
                        const struct lane *a = &c->run->lanes[i];
                        const struct plan_lane *b = &c->plan->lanes[k];

                        if (!streq(a->plugin, b->plugin))
                                continue;
                        describe_limit(&c->old, a->plugin, a->batch_size, a->rate_limit);
                        describe_limit(&c->new, b->plugin, b->batch_size, b->rate_limit);
                }
        buf_putc(&c->old, '}');
        buf_putc(&c->new, '}');
}

static int compare_runs(struct comparison *c, const struct submission *s)
{
        const struct run *run = c->run;
        struct buf *b = &c->changes->run;
        int r;

        describe(&c->old, run->type, run->max_attempts, run->backoff, run->initial_delay_s,
                 run->max_delay_s);
        describe(&c->new, s->kind, s->max_attempts, s->backoff, s->initial_delay_s, s->max_delay_s);
        describe_strategy(&c->old, run->strategy.enabled, run->strategy.on_partial,
                          run->strategy.preserve, run->strategy.interval);
        describe_strategy(&c->new, s->rollback, s->on_partial, s->preserve, s->checkpoint_interval);
        describe_limits(c);
        r = buf_error(&c->old) ?: buf_error(&c->new);
        r = r ?: spec_difference(b, buf_str(&c->old), buf_str(&c->new));
        if (r)
                return error_fold(r);
        if (b->n) { /* without its brackets */
                b->n--;
                memmove(b->data, b->data + 1, --b->n);
        }
        return 0;
}

int changes_make(const struct run *run, const struct plan *plan, const struct submission *s,
                 struct changes *ret_changes)
{
        struct comparison c = {.run = run, .plan = plan, .changes = ret_changes};
        int r;

        assert(run->planned);
        r = index_plan(&c);
        r = r ?: index_dependencies(&c);
        r = r ?: compare_tasks(&c);
        r = r ?: compare_runs(&c, s);
        strmap_deinit(&c.planned);
        free(c.first);
        free(c.prev);
        buf_deinit(&c.old);
        buf_deinit(&c.new);
        return error_fold(r);
}

static void put_list(struct buf *json, const char *name, const struct buf *elements)
{
        buf_printf(json, "\"%s\":[", name);
        buf_append(json, elements->data, elements->n);
        buf_putc(json, ']');
        if (buf_error(elements))
                json->error = buf_error(elements);
}

void changes_json(const struct changes *c, struct buf *json)
{
        put_list(json, "added", &c->added);
        buf_putc(json, ',');
        put_list(json, "removed", &c->removed);
        buf_putc(json, ',');
        put_list(json, "changed", &c->changed);
        buf_putc(json, ',');
        put_list(json, "kept", &c->kept);
        buf_putc(json, ',');
        put_list(json, "run", &c->run);
}
