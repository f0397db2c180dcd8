/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations among each other. A depth-first walk over depends_on gives the topological order that is
 * nearest to the order as written (an operation comes where it stands, after what it needs), and finds
 * circles with their whole path.
 */
#include "plan/make.h"

enum colour { WHITE, GREY, BLACK };

static int op_deps(struct maker *m, uint32_t i)
{
        struct op *op = &m->ops[i];
        const struct strings *names = &op->def->depends_on;
        bool last = op->def == &prune_operation; /* when all else is done */

        op->deps = arena_alloc(&m->scratch, (last ? i : names->n) * sizeof(*op->deps));
        if (!op->deps)
                return error_origin(-ENOMEM);
        if (last) {
                while (op->n_deps < i) {
                        op->deps[op->n_deps] = op->n_deps;
                        op->n_deps++;
                }
                return 0;
        }
        m->stamp++;
        for (uint32_t j = 0; j < names->n; j++) {
                struct strmap_entry *e = strmap_find(&m->op_ids, names->list[j],
                                                     strlen(names->list[j]));
                uint32_t dep;

                if (!e) { /* the definition's check lets none through */
                        maker_problem(m, op->def->node, "depends_on", j,
                                      "there is no operation \"%s\"", names->list[j]);
                        continue;
                }
                dep = (uint32_t)e->value.number - 1;
                if (m->stamps[dep] == m->stamp)
                        continue;
                m->stamps[dep] = m->stamp;
                op->deps[op->n_deps++] = dep;
                if (m->def->type == WORKFLOW_SEQUENTIAL && dep > i) {
                        m->circular = true;
                        maker_problem(m, op->def->node, "depends_on", j,
                                      "operation \"%s\" depends on \"%s\", which stands after it; "
                                      "but with type = \"sequential\" operations run as written: "
                                      "write \"%s\" first, or use type = \"batch\"", op->def->id,
                                      names->list[j], names->list[j]);
                }
        }
        return 0;
}

/* Marks the operation and what it needs. */
static int select_from(struct maker *m, uint32_t from)
{
        _cleanup_(cleanup_free) uint32_t *stack = malloc((m->n_ops + 1) * sizeof(*stack));
        uint32_t n = 0;

        if (!stack)
                return error_origin(-ENOMEM);
        if (!m->ops[from].selected)
                stack[n++] = from;
        m->ops[from].selected = true;
        while (n) {
                const struct op *op = &m->ops[stack[--n]];

                for (uint32_t j = 0; j < op->n_deps; j++) {
                        if (m->ops[op->deps[j]].selected)
                                continue;
                        m->ops[op->deps[j]].selected = true;
                        stack[n++] = op->deps[j];
                }
        }
        return 0;
}

static int only_unknown(struct maker *m, const char *id)
{
        _cleanup_(cleanup_free) const char **names = calloc(m->n_ops + 1, sizeof(*names));
        _cleanup_(cleanup_buf) struct buf known = BUF_NULL;
        const char *meant;

        if (!names)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < m->n_ops; i++) {
                names[i] = m->def->operations[i].id;
                if (i < 20)
                        buf_printf(&known, "%s%s", i ? ", " : "", names[i]);
        }
        if (m->n_ops > 20)
                buf_printf(&known, " and %u more", m->n_ops - 20);
        meant = maker_meant(m, id, names, m->n_ops);
        if (!meant || buf_error(&known))
                return error_origin(-ENOMEM);
        problems_add(m->problems, NULL, "--only", "there is no operation \"%s\"%s; there are: %s",
                     id, meant, buf_str(&known));
        return 0;
}

int operations_init(struct maker *m)
{
        const char *const *only = m->request->only;
        bool prune = m->request->prune && !only;
        int r;

        if (m->request->prune && only)
                problems_add(m->problems, NULL, "--prune", "what is no longer defined can only be told from "
                             "the whole definition: leave out --only or --prune");
        m->n_ops = m->def->n_operations + prune;
        m->ops = calloc(m->n_ops + 1, sizeof(*m->ops));
        m->order = calloc(m->n_ops + 1, sizeof(*m->order));
        m->stamps = calloc(m->n_ops + 1, sizeof(*m->stamps));
        m->direct = calloc(m->n_ops + 1, sizeof(*m->direct));
        m->direct_of = NONE;
        if (!m->ops || !m->order || !m->stamps || !m->direct)
                return error_origin(-ENOMEM);
        r = strmap_reserve(&m->op_ids, m->n_ops);
        if (r)
                return error_fold(r);
        for (uint32_t i = 0; i <= m->n_ops; i++) {
                struct op *op = &m->ops[i];
                struct strmap_entry *e;

                *op = (struct op){.head = NONE, .tail = NONE, .end = NONE, .pos = NONE};
                if (i == m->n_ops)
                        break;
                op->def = i < m->def->n_operations ? &m->def->operations[i] : &prune_operation;
                e = strmap_add(&m->op_ids, op->def->id, strlen(op->def->id));
                if (!e)
                        return error_origin(-ENOMEM);
                e->value.number = i + 1;
        }
        for (uint32_t i = 0; !r && i < m->n_ops; i++)
                r = op_deps(m, i);
        for (uint32_t i = 0; !r && !only && i < m->n_ops; i++)
                m->ops[i].selected = true;
        for (; !r && only && *only; only++) {
                struct strmap_entry *e = strmap_find(&m->op_ids, *only, strlen(*only));

                r = e ? select_from(m, (uint32_t)e->value.number - 1) : only_unknown(m, *only);
        }
        return error_fold(r);
}

/* Tells the circle that the walk's stack closes from place `from` on. */
static int circle(struct maker *m, const uint32_t *stack, uint32_t n, uint32_t from)
{
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL, places = BUF_NULL;
        uint32_t length = n - from;

        /* The stack holds who depends first: it is already "depends on" from left to right. */
        for (uint32_t i = 0; i <= length; i++) {
                const struct operation_def *def = m->ops[stack[from + i % length]].def;

                if (i == MAX_PATH && length > MAX_PATH + 1) {
                        buf_printf(&path, " -> ... (%u more)", length - i);
                        i = length - 1;
                        continue;
                }
                buf_printf(&path, "%s%s", i ? " -> " : "", def->id);
                if (i < length && m->def->document) {
                        struct position at = document_position(m->def->document, def->node);

                        if (at.line)
                                buf_printf(&places, "%s%s line %u", i ? ", " : "; ", def->id,
                                           at.line);
                }
        }
        if (buf_error(&path) || buf_error(&places))
                return error_origin(-ENOMEM);
        m->circular = true;
        if (maker_room(m, RULE_CYCLE))
                maker_problem(m, m->ops[stack[from]].def->node, "depends_on", NONE,
                              "operations depend on each other in a circle: %s%s",
                              buf_str(&path), buf_str(&places));
        return 0;
}

struct walk {
        uint32_t *stack, *next, *place; /* place: of a grey operation in the stack */
        uint8_t *colour;
        uint32_t n, told; /* told: circles that were walked; a limit keeps this linear */
};

static int walk_from(struct maker *m, struct walk *w, uint32_t root)
{
        w->stack[w->n++] = root;
        w->colour[root] = GREY;
        w->place[root] = 0;
        while (w->n) {
                uint32_t i = w->stack[w->n - 1];
                const struct op *op = &m->ops[i];
                uint32_t dep;

                if (w->next[i] == op->n_deps) {
                        w->colour[i] = BLACK;
                        w->n--;
                        m->ops[i].pos = m->n_order;
                        m->order[m->n_order++] = i;
                        continue;
                }
                dep = op->deps[w->next[i]++];
                if (w->colour[dep] == GREY && w->told < MAX_SHOWN) {
                        int r = circle(m, w->stack, w->n, w->place[dep]);

                        if (r)
                                return error_fold(r);
                        w->told++;
                }
                if (w->colour[dep] != WHITE)
                        continue;
                w->colour[dep] = GREY;
                w->place[dep] = w->n;
                w->stack[w->n++] = dep;
        }
        return 0;
}

int operations_order(struct maker *m)
{
        size_t n = (size_t)m->n_ops + 1;
        _cleanup_(cleanup_free) uint32_t *memory = calloc(n, 3 * sizeof(*memory));
        _cleanup_(cleanup_free) uint8_t *colour = calloc(n, 1);
        struct walk w = {.colour = colour};
        int r = 0;

        if (!memory || !colour)
                return error_origin(-ENOMEM);
        w.stack = memory;
        w.next = memory + n;
        w.place = memory + 2 * n;
        for (uint32_t i = 0; !r && i < m->n_ops; i++)
                if (m->ops[i].selected && w.colour[i] == WHITE)
                        r = walk_from(m, &w, i);
        return error_fold(r);
}

/* Walks up from `op`; what stands before `ancestor` in topological order cannot depend on it. */
static int reach_walk(struct maker *m, uint32_t ancestor, uint32_t op, bool *ret_reach)
{
        _cleanup_(cleanup_free) uint32_t *stack = NULL;
        uint32_t n = 0, cap = 0;
        int r;

        m->stamp++;
        for (;;) {
                const struct op *o = &m->ops[op];

                for (uint32_t j = 0; j < o->n_deps; j++) {
                        uint32_t dep = o->deps[j];

                        if (dep == ancestor) {
                                *ret_reach = true;
                                return 0;
                        }
                        if (m->stamps[dep] == m->stamp || m->ops[dep].pos <= m->ops[ancestor].pos)
                                continue;
                        m->stamps[dep] = m->stamp;
                        r = maker_grow(&stack, n, &cap, sizeof(*stack));
                        if (r)
                                return error_fold(r);
                        stack[n++] = dep;
                }
                if (!n)
                        break;
                op = stack[--n];
        }
        *ret_reach = false;
        return 0;
}

bool operations_direct(struct maker *m, uint32_t op, uint32_t dep)
{
        if (op >= m->n_ops || dep >= m->n_ops)
                return false;
        if (m->direct_of != op) {
                m->direct_of = op;
                for (uint32_t j = 0; j < m->ops[op].n_deps; j++)
                        m->direct[m->ops[op].deps[j]] = op + 1;
        }
        return m->direct[dep] == op + 1;
}

bool operations_near(const struct maker *m, uint32_t ancestor, uint32_t op)
{
        uint32_t queue[64], n = 1;

        if (ancestor >= m->n_ops || op >= m->n_ops)
                return false;
        queue[0] = op;
        for (uint32_t i = 0; i < n; i++) {
                const struct op *o = &m->ops[queue[i]];

                for (uint32_t j = 0; j < o->n_deps && j < N_ELEMENTS(queue); j++) {
                        if (o->deps[j] == ancestor)
                                return true;
                        if (n < N_ELEMENTS(queue) && m->ops[o->deps[j]].pos > m->ops[ancestor].pos)
                                queue[n++] = o->deps[j];
                }
        }
        return false;
}

/* Does `op` run after `ancestor` has ended? Remembers what it walked for. */
int operations_reach(struct maker *m, uint32_t ancestor, uint32_t op, bool *ret_reach)
{
        uint32_t pair[2] = {ancestor, op};
        struct strmap_entry *e;
        char *key;
        bool reach = false;
        int r;

        if (ancestor == op || ancestor == m->n_ops || op == m->n_ops ||
            m->def->type == WORKFLOW_SEQUENTIAL || m->ops[ancestor].pos >= m->ops[op].pos) {
                *ret_reach = ancestor != op && op != m->n_ops &&
                             (ancestor == m->n_ops || m->ops[ancestor].pos < m->ops[op].pos);
                return 0;
        }
        e = strmap_find(&m->reach_memo, (const char *)pair, sizeof(pair));
        if (e) {
                *ret_reach = e->value.number == 2;
                return 0;
        }
        r = reach_walk(m, ancestor, op, &reach);
        if (r)
                return error_fold(r);
        key = arena_copy(&m->scratch, pair, sizeof(pair));
        e = key ? strmap_add(&m->reach_memo, key, sizeof(pair)) : NULL;
        if (!e)
                return error_origin(-ENOMEM);
        e->value.number = reach ? 2 : 1;
        *ret_reach = reach;
        return 0;
}

/* A growing set of servers; members carry the maker's stamp, so that each enters once. */
struct set {
        uint32_t *list, n, cap;
        uint32_t stamp;
};

static int set_add(struct maker *m, struct set *s, uint32_t server)
{
        int r;

        if (m->servers[server].stamp == s->stamp)
                return 0;
        m->servers[server].stamp = s->stamp;
        r = maker_grow(&s->list, s->n, &s->cap, sizeof(*s->list));
        if (r)
                return error_fold(r);
        s->list[s->n++] = server;
        return 0;
}

static int set_add_names(struct maker *m, struct set *s, const struct strings *names)
{
        for (uint32_t i = 0; i < names->n; i++) {
                uint32_t server;
                int r = server_get(m, names->list[i], &server);

                r = r ? r : set_add(m, s, server);
                if (r)
                        return error_fold(r);
        }
        return 0;
}

/* What an operation works on, seen from one that depends on it. */
static int set_add_operation(struct maker *m, struct set *s, const struct op *op)
{
        int r = 0;

        if (op->def->type == OPERATION_DELETE)
                return 0;
        if (op->def->target == TARGET_SERVER)
                return error_fold(set_add_names(m, s, &op->def->items));
        for (uint32_t i = 0; !r && op->def->target == TARGET_TASKSERV && i < op->n_servers; i++)
                r = set_add(m, s, op->servers[i]);
        for (uint32_t i = 0; !r && op->def->target == TARGET_CLUSTER && i < op->def->items.n; i++) {
                const struct cluster_def *c = cluster_find(m, op->def->items.list[i]);

                r = c ? set_add_names(m, s, &c->servers) : 0;
        }
        return error_fold(r);
}

/* The servers of the operations that `op` depends on. A taskserv operation that took its servers from
 * there itself already holds all that are above it: the walk ends at it. */
static int set_inherit(struct maker *m, struct set *s, const struct op *op)
{
        _cleanup_(cleanup_free) uint32_t *stack = NULL;
        uint32_t n = 0, cap = 0;
        int r;

        m->stamp++;
        for (;;) {
                for (uint32_t j = 0; j < op->n_deps; j++) {
                        if (m->stamps[op->deps[j]] == m->stamp)
                                continue;
                        m->stamps[op->deps[j]] = m->stamp;
                        r = maker_grow(&stack, n, &cap, sizeof(*stack));
                        if (r)
                                return error_fold(r);
                        stack[n++] = op->deps[j];
                }
                do {
                        if (!n)
                                return 0;
                        op = &m->ops[stack[--n]];
                        r = set_add_operation(m, s, op);
                        if (r)
                                return error_fold(r);
                } while (op->def->target == TARGET_TASKSERV && !op->def->servers.n);
        }
}

static int compare_numbers(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

int operations_servers(struct maker *m, uint32_t i)
{
        struct op *op = &m->ops[i];
        struct set s = {.stamp = ++m->set_stamp};
        uint32_t inherited;
        int r;

        if (op->def->servers.n) {
                r = set_add_names(m, &s, &op->def->servers);
        } else {
                r = set_inherit(m, &s, op);
                inherited = s.n;
                for (uint32_t j = 0; !r && !inherited && j < m->n_servers; j++)
                        if (m->servers[j].member)
                                r = set_add(m, &s, j);
                if (s.n)
                        qsort(s.list, s.n, sizeof(*s.list), compare_numbers);
        }
        if (!r && s.n) {
                op->servers = arena_alloc(&m->scratch, s.n * sizeof(*s.list));
                if (op->servers)
                        memcpy(op->servers, s.list, s.n * sizeof(*s.list));
                else
                        r = -ENOMEM;
        }
        op->n_servers = r ? 0 : s.n;
        free(s.list);
        return error_fold(r);
}
