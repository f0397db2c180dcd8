/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `dependencies` between resources: edges between their tasks, and the conditions that tasks wait
 * for.
 *
 * A condition belongs to the tasks that make the source. What is deleted waits for nothing of what
 * it stands on, and what is only looked at neither.
 */
#include "plan/make.h"

#include "base/clock.h"
#include "plugin/border.h"

#define CHECK_MS 10000 /* for a check: the first one starts what evaluates */
#define VARIABLES "[\"outputs\",\"resource\"]"

static int unknown_resource(struct maker *m, const struct dependency_def *d, const char *member,
                            const char *key)
{
        _cleanup_(cleanup_free) const char **names = NULL;
        const char *meant;
        uint32_t n = MIN(m->n_tasks, 10000u);

        if (m->request->only || !maker_room(m, RULE_DEPENDENCY))
                return 0;
        names = calloc(n + 1, sizeof(*names));
        if (!names)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < n; i++)
                names[i] = m->tasks[i].resource;
        meant = maker_meant(m, key, names, n);
        if (!meant)
                return error_origin(-ENOMEM);
        maker_problem(m, d->node, member, NONE,
                      "there is no resource \"%s\"%s, neither in the plan "
                      "nor in the inventory; resources are called server.NAME and "
                      "taskserv.NAME@SERVER",
                      key, meant);
        return 0;
}

/* taskserv.NAME without a server: the lists of all tasks of a taskserv, made when first asked for.
 */
struct everywhere {
        uint32_t *heads, *next; /* by taskserv; by task */
};

static int everywhere_init(struct maker *m, struct everywhere *x)
{
        if (x->heads)
                return 0;
        x->heads = arena_alloc(&m->scratch, (m->n_taskservs + (size_t)1) * sizeof(*x->heads));
        x->next = arena_alloc(&m->scratch, (m->n_tasks + (size_t)1) * sizeof(*x->next));
        if (!x->heads || !x->next)
                return error_origin(-ENOMEM);
        memset(x->heads, 0xff, (m->n_taskservs + (size_t)1) * sizeof(*x->heads));
        for (uint32_t i = m->n_tasks; i-- > 0;) {
                if (m->tasks[i].kind != KIND_TASKSERV)
                        continue;
                x->next[i] = x->heads[m->tasks[i].taskserv];
                x->heads[m->tasks[i].taskserv] = i;
        }
        return 0;
}

/* The first task of a source, and whether `next` or task.next_same goes on from there. */
static int first_of(struct maker *m, struct everywhere *x, const char *source, uint32_t *ret_task,
                    bool *ret_everywhere)
{
        const char *name = startswith(source, "taskserv.");
        struct strmap_entry *e;
        int r;

        *ret_task = task_of(m, source);
        *ret_everywhere = *ret_task == NONE && name && !strchr(name, '@');
        if (!*ret_everywhere)
                return 0;
        r = everywhere_init(m, x);
        if (r)
                return error_fold(r);
        e = strmap_find(&m->taskserv_names, name, strlen(name));
        if (e)
                *ret_task = x->heads[e->value.number - 1];
        return 0;
}

/* True if the inventory has the resource, or with taskserv.NAME one of them. */
static bool is_there(const struct maker *m, const char *key, bool everywhere)
{
        size_t n = strlen(key);

        if (!everywhere || !m->inventory)
                return maker_existing(m, key);
        strmap_foreach(e, &m->inventory->by_key) if (e->key && strncmp(e->key, key, n) == 0 &&
                                                     e->key[n] == '@' &&
                                                     maker_existing(m, e->key)) return true;
        return false;
}

static int wait_add(struct maker *m, uint32_t task, const struct dependency_def *d)
{
        int r = maker_grow(&m->waits, m->n_waits, &m->cap_waits, sizeof(*m->waits));

        if (r)
                return error_fold(r);
        m->waits[m->n_waits++] = (struct condition){d, m->tasks[task].last_wait};
        m->tasks[task].last_wait = m->n_waits;
        return 0;
}

/* What one task of the source waits for. Deleting goes the other way round. */
static int depend(struct maker *m, const struct dependency_def *d, uint32_t s, uint32_t target)
{
        bool deletes = m->tasks[s].verb == PLAN_DELETE;
        int r = 0;

        for (uint32_t t = target; !r && t != NONE; t = m->tasks[t].next_same) {
                if ((m->tasks[t].verb == PLAN_DELETE) != deletes)
                        continue;
                m->ops[m->tasks[s].op].ordered = m->ops[m->tasks[t].op].ordered = true;
                r = deletes ? edge_add(m, s, t)
                            : edge_add(m, t | (d->type == DEPENDENCY_HARD ? 0 : SOFT), s);
        }
        if (!r && d->wait_condition && d->wait_condition[0] && verb_makes(m->tasks[s].verb))
                r = wait_add(m, s, d);
        return error_fold(r);
}

/* Why there is nothing to evaluate conditions with. */
static void no_evaluator(struct maker *m, const struct dependency_def *d)
{
        const struct plugins *all = m->request->plugins;
        const struct plugin *p = NULL;

        for (size_t i = 0; i < all->n && !p; i++)
                if (streq(all->list[i].kind, "template"))
                        p = &all->list[i];
        if ((p && p->state == PLUGIN_READY) || !maker_room(m, RULE_CONDITION))
                return; /* it is there, but this program did not load it: the engine checks */
        maker_problem(m, d->node, "wait_condition", NONE,
                      "a condition needs a plugin that evaluates "
                      "expressions, such as jinja2%s%s%s; see: prvng plugin list",
                      p ? ", which is " : ", and there is none",
                      !p                            ? ""
                      : p->state == PLUGIN_DISABLED ? "disabled"
                                                    : "refused: ",
                      p && p->state == PLUGIN_REFUSED && p->reason ? p->reason : "");
}

/* Asks the plugin whether the expression is one. Each text is asked about once, as long as it is
 * right. */
static int check_expression(struct maker *m, const struct dependency_def *d)
{
        struct plugin *p = plugins_find_template(m->request->plugins);
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        int r = 0;

        if (!p || !p->template_.check) {
                if (!p)
                        no_evaluator(m, d);
                return 0;
        }
        if (strmap_find(&m->conditions, d->wait_condition, strlen(d->wait_condition)))
                return 0;
        op_call_init(&call, p, "", 1, clock_boot_ms() + CHECK_MS, 0, "", "");
        op_check_expression(&call, d->wait_condition, VARIABLES, &reply);
        op_call_deinit(&call);
        if (reply.answer == PRVNG_DONE)
                r = strmap_add(&m->conditions, d->wait_condition, strlen(d->wait_condition))
                            ? 0
                            : error_origin(-ENOMEM);
        else if (reply.answer == PRVNG_TRANSIENT)
                r = maker_notice(m, "the condition \"%s\" could not be checked: %s",
                                 d->wait_condition, reply.message ? reply.message : "TRANSIENT");
        else if (maker_room(m, RULE_CONDITION))
                maker_problem(m, d->node, "wait_condition", NONE, "%s%s%s",
                              reply.answer == PRVNG_PERMANENT
                                      ? "no condition that could become true: "
                                      : "",
                              reply.message ? reply.message : op_class_name(reply.answer),
                              reply.answer == PRVNG_PERMANENT ? " of the expression" : "");
        op_reply_deinit(&reply);
        return r;
}

static int dependency(struct maker *m, struct everywhere *x, const struct dependency_def *d)
{
        uint32_t source, target = task_of(m, d->target);
        bool everywhere;
        int r;

        if (startswith(d->source, "cluster.") || startswith(d->target, "cluster.")) {
                maker_problem(m, d->node, startswith(d->source, "cluster.") ? "source" : "target",
                              NONE,
                              "dependencies on a whole cluster are not possible yet: name "
                              "its taskservs as taskserv.NAME@SERVER");
                return 0;
        }
        r = d->wait_condition && d->wait_condition[0] ? check_expression(m, d) : 0;
        r = r ? r : first_of(m, x, d->source, &source, &everywhere);
        if (r)
                return error_fold(r);
        if (source == NONE && !is_there(m, d->source, everywhere))
                r = unknown_resource(m, d, "source", d->source);
        if (!r && target == NONE && d->type != DEPENDENCY_OPTIONAL &&
            !maker_existing(m, d->target)) {
                if (m->request->only && source != NONE)
                        maker_problem(m, d->node, "target", NONE,
                                      "%s needs %s, which is neither "
                                      "in the inventory nor among the operations of --only",
                                      d->source, d->target);
                else
                        r = unknown_resource(m, d, "target", d->target);
        }
        for (uint32_t s = source; !r && s != NONE;
             s = everywhere ? x->next[s] : m->tasks[s].next_same)
                r = depend(m, d, s, target);
        return error_fold(r);
}

int depend_edges(struct maker *m)
{
        struct everywhere x = {0};
        int r = 0;

        for (uint32_t i = 0; !r && i < m->def->n_dependencies; i++)
                r = dependency(m, &x, &m->def->dependencies[i]);
        return error_fold(r);
}

/* True if an earlier condition of the task says the same: two dependencies may. */
static bool said_before(const struct maker *m, uint32_t wait)
{
        const struct dependency_def *d = m->waits[wait - 1].d;

        for (uint32_t w = m->waits[wait - 1].before; w; w = m->waits[w - 1].before)
                if (streq(m->waits[w - 1].d->target, d->target) &&
                    streq(m->waits[w - 1].d->wait_condition, d->wait_condition))
                        return true;
        return false;
}

const char *depend_waits(struct maker *m, const struct task *t)
{
        _cleanup_(cleanup_free) uint32_t *list = NULL;
        uint32_t n = 0;

        for (uint32_t w = t->last_wait; w; w = m->waits[w - 1].before)
                n++;
        list = malloc((n + (size_t)1) * sizeof(*list));
        if (!list)
                return NULL;
        n = 0;
        for (uint32_t w = t->last_wait; w; w = m->waits[w - 1].before)
                if (!said_before(m, w))
                        list[n++] = w;
        buf_clear(&m->buf);
        for (uint32_t i = n; i-- > 0;) {
                const struct dependency_def *d = m->waits[list[i] - 1].d;

                buf_puts(&m->buf, i + 1 == n ? "[{\"on\":" : ",{\"on\":");
                buf_json(&m->buf, d->target);
                BUF_LIT(&m->buf, ",\"until\":");
                buf_json(&m->buf, d->wait_condition);
                buf_putc(&m->buf, '}');
        }
        buf_putc(&m->buf, ']');
        return buf_error(&m->buf) ? NULL : arena_copy(m->text, m->buf.data, m->buf.n);
}
