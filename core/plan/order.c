/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edges between tasks, joins where operations meet, and the topological order.
 *
 * The order is that of a depth-first walk in the order as written: a task stands where it was written,
 * behind what it waits for. The same walk finds circles with their path.
 */
#include "plan/make.h"

const char JOIN_REASON_START[] = "start";
const char JOIN_REASON_END[] = "end";
const char JOIN_REASON_GROUP[] = "group";

static int join_add(struct maker *m, uint32_t op, const char *reason, uint32_t item,
                    uint32_t *ret_task)
{
        uint32_t task;
        int r = task_add(m, &(struct task){.op = op, .lane = NONE, .item = item, .server = NONE,
                                           .taskserv = NONE, .verb = PLAN_JOIN, .kind = KIND_JOIN,
                                           .reason = reason, .id = "", .spec = ""}, &task);

        if (r)
                return error_fold(r);
        *ret_task = task;
        return 0;
}

/* What an operation waits for: ends of those it depends on, and softly of the one written before. */
struct wait {
        uint32_t *list; /* with SOFT */
        uint32_t n;
};

static int edges_from(struct maker *m, const struct wait *w, uint32_t to)
{
        for (uint32_t i = 0; i < w->n; i++) {
                int r = edge_add(m, w->list[i], to);

                if (r)
                        return error_fold(r);
        }
        return 0;
}

/* A task whose end is the end of the group's tasks, however they ended. */
static int group_end(struct maker *m, uint32_t op, const uint32_t *tasks, uint32_t n, uint32_t item,
                     uint32_t *ret_end)
{
        uint32_t join = NONE;
        int r;

        if (n == 1) {
                *ret_end = tasks[0] | SOFT;
                return 0;
        }
        r = join_add(m, op, JOIN_REASON_GROUP, item, &join);
        for (uint32_t i = 0; !r && i < n; i++)
                r = edge_add(m, tasks[i] | SOFT, join);
        *ret_end = join | SOFT;
        return error_fold(r);
}

/* Chains tasks[0..n) in groups of `size`, or of one item each if that is 0: a group ends before the
 * next one starts. */
static int chain(struct maker *m, uint32_t op, const uint32_t *tasks, uint32_t n, uint32_t size)
{
        uint32_t before = NONE;

        for (uint32_t i = 0, end; i < n; i = end) {
                int r;

                end = i + 1;
                while (end < n && (size ? end - i < size
                                        : m->tasks[tasks[end]].item == m->tasks[tasks[i]].item))
                        end++;
                for (uint32_t j = i; before != NONE && j < end; j++) {
                        r = edge_add(m, before, tasks[j]);
                        if (r)
                                return error_fold(r);
                }
                if (end == n)
                        break;
                r = group_end(m, op, tasks + i, end - i, m->tasks[tasks[i]].item, &before);
                if (r)
                        return error_fold(r);
        }
        return 0;
}

static int compare_tasks(const void *a, const void *b, void *tasks)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
        const struct task *p = (const struct task *)tasks + x, *q = (const struct task *)tasks + y;

        if (p->item != q->item)
                return p->item < q->item ? -1 : 1;
        return x < y ? -1 : x > y;
}

/* parallel = False: by items. type = batch: each provider's servers in groups of its batch_size. */
static int groups(struct maker *m, uint32_t i)
{
        struct op *op = &m->ops[i];
        bool batch = op->def->parallel && m->def->type == WORKFLOW_BATCH && !op->ordered &&
                     op->def->target == TARGET_SERVER;
        _cleanup_(cleanup_free) uint32_t *tasks = NULL;
        uint32_t n = 0;
        int r = 0;

        if (op->n_tasks < 2 || (op->def->parallel && !batch))
                return 0;
        tasks = malloc(op->n_tasks * sizeof(*tasks));
        if (!tasks)
                return error_origin(-ENOMEM);
        if (!batch) {
                for (uint32_t t = op->head; t != NONE; t = m->tasks[t].next_in_op)
                        tasks[n++] = t;
                qsort_r(tasks, n, sizeof(*tasks), compare_tasks, m->tasks);
                return error_fold(chain(m, i, tasks, n, 0));
        }
        for (uint32_t p = 0; !r && p < m->n_providers; p++) {
                uint32_t size = m->lanes[m->providers[p].lane].plan.batch_size;

                if (!size || op->n_tasks <= size)
                        continue;
                n = 0;
                for (uint32_t t = op->head; t != NONE; t = m->tasks[t].next_in_op)
                        if (m->tasks[t].lane == m->providers[p].lane)
                                tasks[n++] = t;
                r = n > size ? chain(m, i, tasks, n, size) : 0;
        }
        return error_fold(r);
}

static int operation_waits(struct maker *m, uint32_t i, uint32_t before, struct wait *w)
{
        const struct op *op = &m->ops[i];

        w->list = arena_alloc(&m->scratch, (op->n_deps + 1) * sizeof(*w->list));
        if (!w->list)
                return error_origin(-ENOMEM);
        for (uint32_t j = 0; j < op->n_deps; j++) {
                uint32_t end = m->ops[op->deps[j]].end;

                if (end != NONE)
                        w->list[w->n++] = end;
        }
        if (before != NONE && m->ops[before].end != NONE && !operations_direct(m, i, before))
                w->list[w->n++] = m->ops[before].end | SOFT;
        return 0;
}

/* `before`: the operation written before in a sequential workflow, or NONE. */
static int operation_edges(struct maker *m, uint32_t i, uint32_t before)
{
        struct op *op = &m->ops[i];
        struct wait w = {0};
        uint32_t join = NONE, n = op->n_tasks;
        int r = operation_waits(m, i, before, &w);

        if (r)
                return error_fold(r);
        if (n == 0 && w.n == 1 && !(w.list[0] & SOFT)) {
                op->end = w.list[0]; /* nothing to do: who waits for it waits for that */
                return 0;
        }
        if (w.n && (n == 0 || (w.n > 1 && n > 1))) {
                r = join_add(m, i, n ? JOIN_REASON_START : JOIN_REASON_END, NONE, &join);
                r = r ? r : edges_from(m, &w, join);
                w.list[0] = join;
                w.n = 1;
                if (n == 0)
                        op->end = join;
        }
        for (uint32_t t = op->head; !r && t != NONE; t = m->tasks[t].next_in_op)
                r = edges_from(m, &w, t);
        r = r ? r : groups(m, i);
        if (r || n == 0)
                return error_fold(r);
        if (n == 1) {
                op->end = op->head;
                return 0;
        }
        if (!op->needed)
                return 0;
        r = join_add(m, i, JOIN_REASON_END, NONE, &join);
        for (uint32_t t = op->head; !r && t != NONE; t = m->tasks[t].next_in_op)
                r = edge_add(m, t, join);
        op->end = join;
        return error_fold(r);
}

static int no_server(struct maker *m, uint32_t i)
{
        const struct task *t = &m->tasks[i];
        const struct operation_def *def = m->ops[t->op].def;
        struct server *s = &m->servers[t->server];
        _cleanup_(cleanup_free) const char **names = calloc(m->n_servers + 1, sizeof(*names));
        const char *meant;
        uint32_t n = 0, index = NONE;

        if (s->stamp == NONE || !maker_room(m, RULE_SERVER))
                return 0;
        s->stamp = NONE; /* once for each server */
        if (!names)
                return error_origin(-ENOMEM);
        for (uint32_t j = 0; j < m->n_servers && n < 10000; j++)
                if (m->servers[j].member || m->servers[j].existing)
                        names[n++] = m->servers[j].name;
        meant = s->member ? "" : maker_meant(m, s->name, names, n);
        if (!meant)
                return error_origin(-ENOMEM);
        for (uint32_t j = 0; j < def->servers.n; j++)
                if (streq(def->servers.list[j], s->name))
                        index = j;
        maker_problem(m, def->node, index != NONE ? "servers" : "items",
                      index != NONE ? index : t->item, "operation \"%s\" works on server \"%s\"%s, "
                      "which is not in the inventory, and no operation of the plan creates it",
                      def->id, s->name, meant);
        return 0;
}

/* A taskserv stands on its server: after it is made, before it goes. */
static int server_edges(struct maker *m, uint32_t i)
{
        const struct task *t = &m->tasks[i];
        const struct server *s = &m->servers[t->server];
        bool made = s->existing != NULL, after;
        uint32_t first;

        buf_clear(&m->buf);
        BUF_LIT(&m->buf, "server.");
        buf_puts(&m->buf, s->name);
        if (buf_error(&m->buf))
                return error_origin(-ENOMEM);
        first = task_of(m, buf_str(&m->buf));
        for (uint32_t o = first; o != NONE; o = m->tasks[o].next_same) {
                bool deletes = m->tasks[o].verb == PLAN_DELETE;
                int r;

                made |= m->tasks[o].verb == PLAN_CREATE;
                if (deletes && t->verb != PLAN_DELETE)
                        continue;
                if (operations_direct(m, t->op, m->tasks[o].op) ||
                    operations_near(m, m->tasks[o].op, t->op))
                        continue; /* the joins between see to it */
                r = operations_reach(m, t->op, m->tasks[o].op, &after);
                if (!r && deletes) {
                        bool before;

                        r = operations_reach(m, m->tasks[o].op, t->op, &before);
                        if (!r && !before)
                                r = edge_add(m, i, o);
                } else if (!r && (!after || (m->tasks[o].verb == PLAN_CREATE && !s->existing))) {
                        r = edge_add(m, o, i);
                }
                if (r)
                        return error_fold(r);
        }
        if (made || t->verb == PLAN_DELETE)
                return 0;
        return error_fold(no_server(m, i));
}

/* Two operations that touch one resource must not run beside each other, not even when the first of them is
 * done again and what lies between them is not: so the two tasks have an edge of their own. */
static int same_resource(struct maker *m, uint32_t i)
{
        const struct task *t = &m->tasks[i];
        const struct task *o = &m->tasks[t->next_same];
        bool after, before;
        int r;

        if (t->verb == PLAN_CHECK && o->verb == PLAN_CHECK)
                return 0;
        if (o->old && o->op == t->op)
                return error_fold(edge_add(m, t->next_same, i));
        r = operations_reach(m, o->op, t->op, &after);
        r = r ? r : operations_reach(m, t->op, o->op, &before);
        if (r)
                return error_fold(r);
        if (after)
                return error_fold(edge_add(m, t->next_same | SOFT, i));
        if (before)
                return error_fold(edge_add(m, i | SOFT, t->next_same));
        if (maker_room(m, RULE_TWICE))
                maker_problem(m, m->ops[t->op].def->node, "items", t->item,
                              "operations \"%s\" and \"%s\" both work on %s, and neither waits for "
                              "the other: let one depend on the other", m->ops[o->op].def->id,
                              m->ops[t->op].def->id, t->resource);
        return 0;
}

/* A provider may make security groups inside of a network: its networks come before them. */
static int shared_edges(struct maker *m, uint32_t i)
{
        const struct task *t = &m->tasks[i];
        const struct provider *p = &m->providers[t->server];
        int r = 0;

        for (uint32_t j = 0; !r && !p->shared[t->taskserv].network && j < p->n_shared; j++)
                if (p->shared[j].network && p->shared[j].task != NONE)
                        r = edge_add(m, p->shared[j].task, i);
        return error_fold(r);
}

static int task_edges(struct maker *m, uint32_t n)
{
        int r = 0;

        for (uint32_t i = 0; !r && i < n; i++) {
                const struct task *t = &m->tasks[i];

                if (t->next_same != NONE)
                        r = same_resource(m, i);
                if (!r && t->kind == KIND_TASKSERV)
                        r = server_edges(m, i);
                if (!r && t->kind == KIND_SHARED)
                        r = shared_edges(m, i);
                if (!r && t->kind == KIND_SERVER && (verb_makes(t->verb) || t->old)) {
                        const struct provider *p = &m->providers[m->servers[t->server].provider];

                        for (uint32_t j = 0; !r && j < p->n_shared; j++)
                                if (p->shared[j].task != NONE &&
                                    shared_of_server(m, &m->servers[t->server], j) &&
                                    (p->before_servers || !p->shared[j].network))
                                        r = edge_add(m, p->shared[j].task, i);
                }
        }
        return error_fold(r);
}

int order_edges(struct maker *m)
{
        bool sequential = m->def->type == WORKFLOW_SEQUENTIAL;
        uint32_t n = m->n_tasks; /* joins come behind */
        int r = 0;

        r = depend_edges(m);
        r = r ? r : task_edges(m, n);
        for (uint32_t i = 0; i < m->n_order; i++) {
                const struct op *op = &m->ops[m->order[i]];

                for (uint32_t j = 0; j < op->n_deps; j++)
                        m->ops[op->deps[j]].needed = true;
                if (sequential && i + 1 < m->n_order)
                        m->ops[m->order[i]].needed = true;
        }
        for (uint32_t i = 0; !r && i < m->n_order; i++)
                r = operation_edges(m, m->order[i], sequential && i ? m->order[i - 1] : NONE);
        return error_fold(r);
}

/* Edges by the task that waits, in the order they were added, soft ones last. */
static int build_csr(struct maker *m)
{
        uint32_t *next;

        m->first_dep = calloc((size_t)m->n_tasks + 1, sizeof(*m->first_dep));
        m->n_soft = calloc((size_t)m->n_tasks + 1, sizeof(*m->n_soft));
        m->deps = calloc((size_t)m->n_edges + 1, sizeof(*m->deps));
        next = malloc(((size_t)m->n_tasks + 1) * sizeof(*next));
        if (!m->first_dep || !m->n_soft || !m->deps || !next) {
                free(next);
                return error_origin(-ENOMEM);
        }
        for (uint32_t i = 0; i < m->n_edges; i++) {
                m->first_dep[m->edges[i].to + 1]++;
                m->n_soft[m->edges[i].to] += (m->edges[i].from & SOFT) != 0;
        }
        for (uint32_t i = 0; i < m->n_tasks; i++)
                m->first_dep[i + 1] += m->first_dep[i];
        memcpy(next, m->first_dep, ((size_t)m->n_tasks + 1) * sizeof(*next));
        for (int soft = 0; soft < 2; soft++)
                for (uint32_t i = 0; i < m->n_edges; i++)
                        if (((m->edges[i].from & SOFT) != 0) == soft)
                                m->deps[next[m->edges[i].to]++] = m->edges[i].from & ~SOFT;
        free(next);
        free(m->edges);
        m->edges = NULL;
        m->n_edges = m->cap_edges = 0;
        return 0;
}

static int task_circle(struct maker *m, const uint32_t *stack, uint32_t n, uint32_t to)
{
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL;
        uint32_t from = n, task = NONE, shown = 0;

        while (stack[from - 1] != to)
                from--;
        from--;
        /* The stack goes from who waits to what it waits for. */
        for (uint32_t i = from; i <= n; i++) {
                uint32_t t = stack[i < n ? i : from];

                if (m->tasks[t].kind == KIND_JOIN && m->tasks[t].reason != JOIN_REASON_END)
                        continue;
                if (task == NONE && m->tasks[t].op != m->n_ops)
                        task = t;
                if (shown++ < MAX_PATH)
                        buf_printf(&path, "%s%s%s", shown > 1 ? " -> " : "",
                                   m->tasks[t].kind == KIND_JOIN ? "all of operation " : "",
                                   m->tasks[t].kind == KIND_JOIN ? m->ops[m->tasks[t].op].def->id
                                                                 : m->tasks[t].id);
        }
        if (shown > MAX_PATH)
                buf_printf(&path, " -> ... (%u more)", shown - MAX_PATH);
        if (buf_error(&path))
                return error_origin(-ENOMEM);
        if (!maker_room(m, RULE_CYCLE))
                return 0;
        maker_problem(m, task == NONE ? DOC_NONE : m->ops[m->tasks[task].op].def->node, "items",
                      task == NONE ? NONE : m->tasks[task].item,
                      "tasks wait for each other in a circle: %s", buf_str(&path));
        return 0;
}

struct walk {
        uint32_t *stack, *next;
        uint8_t *colour; /* 0 new, 1 on the stack, 2 done */
        uint32_t n, told, n_sorted;
};

static int walk_from(struct maker *m, struct walk *w, uint32_t root)
{
        w->stack[w->n++] = root;
        w->colour[root] = 1;
        while (w->n) {
                uint32_t t = w->stack[w->n - 1], dep;

                if (w->next[t] == m->first_dep[t + 1]) {
                        w->colour[t] = 2;
                        w->n--;
                        m->sorted[w->n_sorted++] = t;
                        continue;
                }
                dep = m->deps[w->next[t]++];
                if (w->colour[dep] == 1 && !m->circular && w->told++ < MAX_SHOWN) {
                        int r = task_circle(m, w->stack, w->n, dep);

                        if (r)
                                return error_fold(r);
                }
                if (w->colour[dep])
                        continue;
                w->colour[dep] = 1;
                w->stack[w->n++] = dep;
        }
        return 0;
}

int order_tasks(struct maker *m)
{
        size_t n = (size_t)m->n_tasks + 1;
        _cleanup_(cleanup_free) uint32_t *memory = NULL;
        _cleanup_(cleanup_free) uint8_t *colour = calloc(n, 1);
        struct walk w = {.colour = colour};
        int r = build_csr(m);

        memory = malloc(2 * n * sizeof(*memory));
        m->sorted = malloc(n * sizeof(*m->sorted));
        if (r || !memory || !m->sorted || !colour)
                return error_origin(r ? r : -ENOMEM);
        w.stack = memory;
        w.next = memory + n;
        memcpy(w.next, m->first_dep, n * sizeof(*w.next));
        for (uint32_t i = 0; !r && i < m->n_tasks; i++)
                if (!colour[i])
                        r = walk_from(m, &w, i);
        return error_fold(r);
}
