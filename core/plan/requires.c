/* SPDX-License-Identifier: Apache-2.0 */
/* What taskservs say of each other and of servers: requires, conflicts_with, minimum_resources. */
#include "plan/make.h"

#include "base/json.h"

enum colour { WHITE, GREY, BLACK };

struct path {
        uint32_t *list;
        uint32_t n;
};

static int circle(struct maker *m, const struct path *path, uint32_t to)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        const struct lane *lane = &m->lanes[m->taskservs[path->list[0]].lane];
        uint32_t from = 0;

        while (path->list[from] != to)
                from++;
        for (uint32_t i = from; i < path->n; i++)
                buf_printf(&text, "%s -> ", m->taskservs[path->list[i]].name);
        buf_puts(&text, m->taskservs[to].name);
        if (buf_error(&text))
                return error_origin(-ENOMEM);
        m->circular = true;
        maker_problem(m, lane->node, lane->member, lane->index,
                      "taskservs require each other in a circle: %s; one of these plugins declares "
                      "it wrongly", buf_str(&text));
        return 0;
}

/* As deep as plugins require each other: a handful. */
static int walk(struct maker *m, struct path *path, uint32_t i)
{
        struct taskserv *t = &m->taskservs[i];
        int r = 0;

        t->colour = GREY;
        path->list[path->n++] = i;
        for (uint32_t j = 0; !r && j < t->n_requires; j++) {
                uint8_t colour = m->taskservs[t->requires[j]].colour;

                if (colour == GREY)
                        r = circle(m, path, t->requires[j]);
                else if (colour == WHITE)
                        r = walk(m, path, t->requires[j]);
        }
        t->colour = BLACK;
        path->n--;
        return error_fold(r);
}

int requires_circles(struct maker *m)
{
        _cleanup_(cleanup_free) uint32_t *list = calloc(m->n_taskservs + 1, sizeof(*list));
        struct path path = {.list = list};
        int r = 0;

        if (!list)
                return error_origin(-ENOMEM);
        /* Those that the definition names come first in paths: they have a place in it. */
        for (int named = 1; named >= 0; named--)
                for (uint32_t i = 0; !r && i < m->n_taskservs; i++)
                        if (m->taskservs[i].colour == WHITE &&
                            (m->lanes[m->taskservs[i].lane].node != DOC_NONE) == named)
                                r = walk(m, &path, i);
        return error_fold(r);
}

static void written_order(struct maker *m, uint32_t i, uint32_t bringer)
{
        const struct task *t = &m->tasks[i], *b = &m->tasks[bringer];
        const struct operation_def *def = m->ops[t->op].def;
        bool before = t->verb == PLAN_DELETE ? b->item < t->item : b->item > t->item;

        if (def->parallel || def->target != TARGET_TASKSERV || !before)
                return;
        m->circular = true; /* of tasks, told here in better words */
        if (maker_room(m, RULE_CYCLE))
                maker_problem(m, def->node, "items", t->item,
                              "\"%s\" requires \"%s\", which stands %s it; but with parallel = "
                              "False items run one after another as written: write \"%s\" %s \"%s\"",
                              m->taskservs[t->taskserv].name, m->taskservs[b->taskserv].name,
                              t->verb == PLAN_DELETE ? "before" : "after",
                              m->taskservs[b->taskserv].name,
                              t->verb == PLAN_DELETE ? "after" : "before",
                              m->taskservs[t->taskserv].name);
}

/* Who makes the resource for a task of operation `op`: a task of the same operation, else one of an
 * operation that does not wait for `op`. *ret_gone: it is deleted before `op`. */
static int bringer_of(struct maker *m, uint32_t first, uint32_t op, uint32_t *ret_task,
                      bool *ret_gone)
{
        uint32_t found = NONE;

        *ret_gone = false;
        for (uint32_t t = first; t != NONE; t = m->tasks[t].next_same) {
                bool after;
                int r;

                if (m->tasks[t].op == op && verb_makes(m->tasks[t].verb)) {
                        found = t;
                        break;
                }
                if (m->tasks[t].verb == PLAN_DELETE) {
                        r = operations_reach(m, m->tasks[t].op, op, &after);
                        if (r)
                                return error_fold(r);
                        *ret_gone |= after;
                } else if (found == NONE && verb_makes(m->tasks[t].verb)) {
                        r = operations_reach(m, op, m->tasks[t].op, &after);
                        if (r)
                                return error_fold(r);
                        found = after ? NONE : t;
                }
        }
        *ret_task = found;
        return 0;
}

static int require(struct maker *m, uint32_t i, uint32_t required)
{
        const struct task *t = &m->tasks[i];
        const char *key = taskserv_key(m, m->taskservs[required].name, m->servers[t->server].name);
        const struct resource *there;
        const char *reason;
        uint32_t bringer;
        bool gone;
        int r;

        if (!key)
                return error_origin(-ENOMEM);
        r = bringer_of(m, task_of(m, key), t->op, &bringer, &gone);
        if (r)
                return error_fold(r);
        if (bringer != NONE) {
                if (m->tasks[bringer].op == t->op)
                        written_order(m, i, bringer);
                if (operations_direct(m, t->op, m->tasks[bringer].op) ||
                    operations_near(m, m->tasks[bringer].op, t->op))
                        return 0; /* the joins between see to it */
                return error_fold(edge_add(m, bringer, i));
        }
        there = maker_existing(m, key);
        if (there && m->servers[t->server].existing && !gone &&
            !(m->request->run && streq(there->run, m->request->run))) /* that run's own task */
                return 0;
        reason = m->lanes[m->taskservs[required].lane].why;
        if (!reason || !streq(reason + strlen("required by taskserv "),
                              m->taskservs[t->taskserv].name))
                reason = maker_format(m->text, "required by taskserv %s",
                                      m->taskservs[t->taskserv].name);
        if (!reason)
                return error_origin(-ENOMEM);
        if (m->lanes[m->taskservs[required].lane].node == DOC_NONE) {
                struct lane *l = &m->lanes[m->taskservs[required].lane];

                l->node = m->ops[t->op].def->node;
                l->member = "items";
                l->index = t->item;
                l->why = reason;
        }
        r = task_add(m, &(struct task){.op = t->op, .lane = m->taskservs[required].lane,
                                       .item = t->item, .server = t->server,
                                       .taskserv = required, .verb = PLAN_CREATE,
                                       .kind = KIND_TASKSERV, .implied = true, .reason = reason},
                     &bringer);
        r = r ? r : edge_add(m, bringer, i);
        return error_fold(r);
}

/* Removing goes the other way round: first what requires, then what is required. */
static int require_reversed(struct maker *m, uint32_t i, uint32_t required)
{
        const struct task *t = &m->tasks[i];
        const char *key = taskserv_key(m, m->taskservs[required].name, m->servers[t->server].name);

        if (!key)
                return error_origin(-ENOMEM);
        for (uint32_t o = task_of(m, key); o != NONE; o = m->tasks[o].next_same) {
                int r;

                if (m->tasks[o].verb != PLAN_DELETE)
                        continue;
                if (m->tasks[o].op == t->op)
                        written_order(m, i, o);
                r = edge_add(m, i, o);
                if (r)
                        return error_fold(r);
        }
        return 0;
}

struct conflict {
        uint32_t task, other;     /* other: NONE if it stands in the inventory */
        const char *with, *owner; /* names */
        uint32_t n;
        struct buf servers;
};

struct conflicts {
        struct strmap pairs;
        struct conflict *list;
        uint32_t n, cap;
};

static int conflict_add(struct maker *m, struct conflicts *c, uint32_t i, uint32_t other,
                        const char *with, const char *owner)
{
        const struct task *t = &m->tasks[i];
        const char *name = m->taskservs[t->taskserv].name;
        bool first = strcmp(name, with) < 0;
        const char *key = maker_format(&m->scratch, "%s %s", first ? name : with,
                                       first ? with : name);
        struct strmap_entry *e = key ? strmap_add(&c->pairs, key, strlen(key)) : NULL;
        struct conflict *x;

        if (!e)
                return error_origin(-ENOMEM);
        if (!e->value.number) {
                int r = maker_grow(&c->list, c->n, &c->cap, sizeof(*c->list));

                if (r)
                        return error_fold(r);
                c->list[c->n++] = (struct conflict){.task = i, .other = other, .with = with,
                                                    .owner = owner};
                e->value.number = c->n;
        }
        x = &c->list[e->value.number - 1];
        if (m->tasks[x->task].taskserv != t->taskserv)
                return 0; /* the same pair seen from the other side */
        if (x->n < 5)
                buf_printf(&x->servers, "%s%s", x->n ? ", " : "", m->servers[t->server].name);
        x->n++;
        return 0;
}

/* What is in the inventory conflicts unless the plan removes it before. */
static int conflict_of(struct maker *m, struct conflicts *c, uint32_t i, const char *with)
{
        const struct task *t = &m->tasks[i];
        const char *key = taskserv_key(m, with, m->servers[t->server].name);
        const struct resource *there;
        bool removed = false;

        if (!key)
                return error_origin(-ENOMEM);
        there = maker_existing(m, key);
        for (uint32_t o = task_of(m, key); o != NONE; o = m->tasks[o].next_same) {
                bool after;
                int r;

                if (verb_makes(m->tasks[o].verb))
                        return error_fold(conflict_add(m, c, i, o, with, NULL));
                if (m->tasks[o].verb != PLAN_DELETE)
                        continue;
                r = operations_reach(m, t->op, m->tasks[o].op, &after);
                if (r)
                        return error_fold(r);
                if (after)
                        continue;
                removed = true;
                r = edge_add(m, o, i);
                if (r)
                        return error_fold(r);
        }
        if (!there || removed)
                return 0;
        return error_fold(conflict_add(m, c, i, NONE, with, there->workflow));
}

static void conflict_tell(struct maker *m, const struct conflict *c)
{
        const struct task *t = &m->tasks[c->task];
        const struct operation_def *def = m->ops[t->op].def;
        _cleanup_(cleanup_buf) struct buf where = BUF_NULL;

        if (c->other == NONE)
                buf_printf(&where, "which stands there already (workflow \"%s\")", c->owner);
        else
                buf_printf(&where, "which operation \"%s\" brings%s%s",
                           m->ops[m->tasks[c->other].op].def->id,
                           m->tasks[c->other].reason ? ", " : "",
                           m->tasks[c->other].reason ? m->tasks[c->other].reason : "");
        if (!maker_room(m, RULE_CONFLICT))
                return;
        maker_problem(m, def->node, "items", t->item,
                      "taskserv \"%s\"%s%s%s cannot be on the same server as \"%s\", %s: on %s%s; "
                      "remove one of them", m->taskservs[t->taskserv].name, t->reason ? " (" : "",
                      t->reason ? t->reason : "", t->reason ? ")" : "", c->with, buf_str(&where),
                      buf_str(&c->servers), c->n > 5 ? " and others" : "");
}

static int conflicts(struct maker *m)
{
        struct conflicts c = {0};
        int r = 0;

        for (uint32_t i = 0; !r && i < m->n_tasks; i++) {
                const struct task *t = &m->tasks[i];

                if (t->kind != KIND_TASKSERV || !verb_makes(t->verb))
                        continue;
                for (uint32_t j = 0; !r && j < m->taskservs[t->taskserv].n_conflicts; j++)
                        r = conflict_of(m, &c, i, m->taskservs[t->taskserv].conflicts[j]);
        }
        for (uint32_t i = 0; i < c.n; i++) {
                if (!r)
                        conflict_tell(m, &c.list[i]);
                buf_deinit(&c.list[i].servers);
        }
        strmap_deinit(&c.pairs);
        free(c.list);
        return error_fold(r);
}

int requires_tasks(struct maker *m)
{
        int r = 0;

        /* Implied tasks stand behind and have their turn: this ends because a task is added once. */
        for (uint32_t i = 0; !r && i < m->n_tasks; i++) {
                uint32_t taskserv = m->tasks[i].taskserv;
                uint8_t verb = m->tasks[i].verb;

                if (m->tasks[i].kind != KIND_TASKSERV || verb == PLAN_CHECK)
                        continue;
                for (uint32_t j = 0; !r && j < m->taskservs[taskserv].n_requires; j++)
                        r = verb == PLAN_DELETE
                                    ? require_reversed(m, i, m->taskservs[taskserv].requires[j])
                                    : require(m, i, m->taskservs[taskserv].requires[j]);
        }
        r = r ? r : conflicts(m);
        return error_fold(r);
}

/* How large a server is that the workflow does not define: what its provider said. */
static void measure_existing(struct server *s)
{
        const char *texts[] = {s->existing->outputs, s->existing->spec};

        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                _cleanup_(cleanup_json_decref) json_t *o = NULL;

                if (!texts[i] || json_parse(texts[i], strlen(texts[i]), &o, NULL))
                        continue;
                if (!s->cpu)
                        s->cpu = json_number_value(json_object_get(o, "cpu"));
                if (!s->memory)
                        s->memory = (uint64_t)json_number_value(json_object_get(o, "memory"));
                if (!s->disk)
                        s->disk = (uint64_t)json_number_value(json_object_get(o, "disk"));
        }
        s->measured = true;
}

static void too_small(struct maker *m, const struct task *t, const struct taskserv *ts,
                      const struct server *s)
{
        const struct operation_def *def = m->ops[t->op].def;
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        if (s->cpu && s->cpu < ts->cpu)
                buf_printf(&b, "; cpu: it has %g, %g needed", s->cpu, ts->cpu);
        if (s->memory && s->memory < ts->memory)
                buf_printf(&b, "; memory: it has %llu MiB, %llu needed",
                           (unsigned long long)s->memory, (unsigned long long)ts->memory);
        if (s->disk && s->disk < ts->disk)
                buf_printf(&b, "; disk: it has %llu GiB, %llu needed",
                           (unsigned long long)s->disk, (unsigned long long)ts->disk);
        if (!b.n || !maker_room(m, RULE_SMALL))
                return;
        maker_problem(m, def->node, "items", t->item,
                      "server \"%s\" is too small for taskserv \"%s\"%s%s%s%s; define it larger in "
                      "servers = [...]", s->name, ts->name, t->reason ? " (" : "",
                      t->reason ? t->reason : "", t->reason ? ")" : "", buf_str(&b));
}

/* A provider's plan says how large the server is, and only the provider knows what. */
static int unknown_size(struct maker *m, uint32_t n, const char *server, const char *taskserv)
{
        if (!n)
                return 0;
        return error_fold(maker_notice(m, "whether a server is large enough is only seen when it is "
                                       "there where its size comes from `plan`: %s for taskserv "
                                       "%s%s", server, taskserv, n > 1 ? " and others" : ""));
}

int requires_resources(struct maker *m)
{
        const char *server = NULL, *taskserv = NULL;
        uint32_t unknown = 0;

        for (uint32_t i = 0; i < m->n_tasks; i++) {
                const struct task *t = &m->tasks[i];
                const struct taskserv *ts;
                struct server *s;

                if (t->kind != KIND_TASKSERV || !verb_makes(t->verb))
                        continue;
                ts = &m->taskservs[t->taskserv];
                s = &m->servers[t->server];
                if (!ts->cpu && !ts->memory && !ts->disk)
                        continue;
                if (!s->measured && !s->def && s->existing)
                        measure_existing(s);
                if (!s->measured) {
                        int r = spec_server(m, t->server);

                        if (r)
                                return error_fold(r);
                }
                too_small(m, t, ts, s);
                if (!s->cpu && !s->memory && !s->disk && !unknown++) {
                        server = s->name;
                        taskserv = ts->name;
                }
        }
        return error_fold(unknown_size(m, unknown, server, taskserv));
}
