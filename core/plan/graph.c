/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as a graph in the languages of graphviz and mermaid: operations as boxes with their tasks,
 * edges between tasks where a task waits for a task, between operations where it waits for a join.
 */
#include "plan/make.h"

#define MAX_TASKS_SHOWN 500u /* more than that nobody reads: then operations alone */

/* A quoted text of dot and mermaid; both have no way to write every byte inside. */
static void quoted(struct buf *b, const char *text, bool mermaid)
{
        buf_putc(b, '"');
        for (; *text; text++) {
                if (*text == '"')
                        buf_puts(b, mermaid ? "#quot;" : "\\\"");
                else if (*text == '\\' && !mermaid)
                        BUF_LIT(b, "\\\\");
                else if ((uint8_t)*text >= 0x20)
                        buf_putc(b, *text);
        }
        buf_putc(b, '"');
}

struct graph {
        const struct plan *plan;
        uint32_t *first, *next; /* tasks by operation */
        uint32_t *n;            /* tasks of an operation */
        bool tasks;             /* are tasks shown? */
};

static int graph_init(struct graph *g, const struct plan *p)
{
        uint32_t i = p->n_tasks, all = 0;

        g->plan = p;
        g->first = malloc(((size_t)p->n_operations + 1) * sizeof(*g->first));
        g->next = malloc(((size_t)p->n_tasks + 1) * sizeof(*g->next));
        g->n = calloc((size_t)p->n_operations + 1, sizeof(*g->n));
        if (!g->first || !g->next || !g->n)
                return error_origin(-ENOMEM);
        memset(g->first, 0xff, ((size_t)p->n_operations + 1) * sizeof(*g->first));
        while (i-- > 0) {
                uint32_t o = p->tasks[i].operation;

                if (p->tasks[i].verb == PLAN_JOIN)
                        continue;
                g->next[i] = g->first[o];
                g->first[o] = i;
                g->n[o]++;
                all++;
        }
        g->tasks = all <= MAX_TASKS_SHOWN;
        return 0;
}

static void graph_deinit(struct graph *g)
{
        free(g->first);
        free(g->next);
        free(g->n);
}

static const char *operation_label(const struct plan_operation *o)
{
        return o->implied ? "implied" : o->id;
}

static void dot_operation(const struct graph *g, struct buf *b, uint32_t o)
{
        const struct plan *p = g->plan;

        buf_printf(b, "  subgraph cluster_%u {\n    label=", o);
        quoted(b, operation_label(&p->operations[o]), false);
        buf_printf(b, ";\n    style=\"rounded%s\";\n", p->operations[o].implied ? ",dashed" : "");
        if (!g->tasks || g->first[o] == NONE)
                buf_printf(b, "    o%u [label=\"%u tasks\"];\n", o, g->n[o]);
        for (uint32_t t = g->first[o]; g->tasks && t != NONE; t = g->next[t]) {
                const struct plan_task *task = &p->tasks[t];

                buf_printf(b, "    t%u [label=", t);
                quoted(b, task->resource, false);
                if (task->verb != PLAN_CREATE)
                        buf_printf(b, ", xlabel=\"%s\"", plan_verb_name(task->verb));
                if (task->implied)
                        BUF_LIT(b, ", style=\"rounded,dashed\"");
                BUF_LIT(b, "];\n");
        }
        BUF_LIT(b, "  }\n");
}

/* Edges of tasks that wait for tasks directly; between boxes of operations the rest. */
static void task_edges(const struct graph *g, struct buf *b, const char *arrow, const char *soft,
                       const char *end)
{
        const struct plan *p = g->plan;

        for (uint32_t i = 0; g->tasks && i < p->n_tasks; i++) {
                const struct plan_task *t = &p->tasks[i];

                for (uint32_t j = 0; t->verb != PLAN_JOIN && j < t->n_deps; j++) {
                        uint32_t dep = p->deps[t->first_dep + j];

                        if (p->tasks[dep].verb != PLAN_JOIN)
                                buf_printf(b, "  t%u %s t%u%s\n", dep,
                                           j >= t->n_deps - t->n_soft ? soft : arrow, i, end);
                }
        }
}

/* Pairs of operations with at least one edge through a join; all if tasks are not shown. */
static int operation_pairs(const struct graph *g, uint32_t (**ret_pairs)[2], uint32_t *ret_n)
{
        const struct plan *p = g->plan;
        struct strmap joined = STRMAP_NULL;
        _cleanup_(cleanup_arena) struct arena keys = ARENA_NULL;
        uint32_t(*pairs)[2] = NULL, n = 0, kept = 0;
        int r = plan_operation_edges(p, &pairs, &n);

        for (uint32_t i = 0; !r && g->tasks && i < p->n_tasks; i++) {
                const struct plan_task *t = &p->tasks[i];

                for (uint32_t j = 0; !r && j < t->n_deps; j++) {
                        const struct plan_task *d = &p->tasks[p->deps[t->first_dep + j]];
                        uint32_t pair[2] = {d->operation, t->operation};
                        char *key;

                        if (d->verb != PLAN_JOIN && t->verb != PLAN_JOIN)
                                continue;
                        if (strmap_find(&joined, (const char *)pair, sizeof(pair)))
                                continue;
                        key = arena_copy(&keys, pair, sizeof(pair));
                        if (!key || !strmap_add(&joined, key, sizeof(pair)))
                                r = -ENOMEM;
                }
        }
        for (uint32_t i = 0; !r && i < n; i++)
                if (!g->tasks || strmap_find(&joined, (const char *)pairs[i], sizeof(pairs[i])))
                        memmove(pairs[kept++], pairs[i], sizeof(pairs[i]));
        strmap_deinit(&joined);
        if (r) {
                free(pairs);
                return error_fold(r);
        }
        *ret_pairs = pairs;
        *ret_n = kept;
        return 0;
}

static void dot_node(const struct graph *g, struct buf *b, uint32_t o)
{
        if (g->tasks && g->first[o] != NONE)
                buf_printf(b, "t%u", g->first[o]);
        else
                buf_printf(b, "o%u", o);
}

static void dot(const struct graph *g, struct buf *b, uint32_t (*pairs)[2], uint32_t n)
{
        BUF_LIT(b, "digraph ");
        quoted(b, g->plan->name, false);
        BUF_LIT(b, " {\n  rankdir=LR;\n  compound=true;\n  node [shape=box, style=rounded];\n");
        for (uint32_t o = 0; o < g->plan->n_operations; o++)
                dot_operation(g, b, o);
        for (uint32_t i = 0; i < n; i++) {
                BUF_LIT(b, "  ");
                dot_node(g, b, pairs[i][0]);
                BUF_LIT(b, " -> ");
                dot_node(g, b, pairs[i][1]);
                buf_printf(b, " [ltail=cluster_%u, lhead=cluster_%u];\n", pairs[i][0], pairs[i][1]);
        }
        task_edges(g, b, "->", "->", ";");
        BUF_LIT(b, "}\n");
}

static void mermaid(const struct graph *g, struct buf *b, uint32_t (*pairs)[2], uint32_t n)
{
        const struct plan *p = g->plan;

        BUF_LIT(b, "flowchart LR\n");
        for (uint32_t o = 0; o < p->n_operations; o++) {
                buf_printf(b, "  subgraph o%u [", o);
                quoted(b, operation_label(&p->operations[o]), true);
                BUF_LIT(b, "]\n");
                if (!g->tasks || g->first[o] == NONE)
                        buf_printf(b, "    n%u[\"%u tasks\"]\n", o, g->n[o]);
                for (uint32_t t = g->first[o]; g->tasks && t != NONE; t = g->next[t]) {
                        buf_printf(b, "    t%u[", t);
                        quoted(b, p->tasks[t].resource, true);
                        BUF_LIT(b, "]\n");
                        if (p->tasks[t].implied)
                                buf_printf(b, "    style t%u stroke-dasharray: 5 5\n", t);
                }
                BUF_LIT(b, "  end\n");
        }
        for (uint32_t i = 0; i < n; i++)
                buf_printf(b, "  o%u --> o%u\n", pairs[i][0], pairs[i][1]);
        task_edges(g, b, "-->", "-.->", "");
}

int plan_graph(const struct plan *p, const char *format, struct buf *b)
{
        uint32_t(*pairs)[2] = NULL, n = 0;
        struct graph g = {0};
        int r;

        if (streq(format, "svg"))
                return error_fold(plan_svg(p, b));
        if (!streq(format, "dot") && !streq(format, "mermaid"))
                return error_origin(-EINVAL);
        r = graph_init(&g, p);
        r = r ? r : operation_pairs(&g, &pairs, &n);
        if (!r && streq(format, "dot"))
                dot(&g, b, pairs, n);
        else if (!r)
                mermaid(&g, b, pairs, n);
        free(pairs);
        graph_deinit(&g);
        return error_fold(r ? r : buf_error(b));
}
