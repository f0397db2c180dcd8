/* SPDX-License-Identifier: Apache-2.0 */
/* Operations x items x servers -> tasks. */
#include "plan/make.h"

#define MAX_BLOCKED 5u /* tasks named of those that a plugin's absence blocks */

uint32_t task_of(const struct maker *m, const char *key)
{
        struct strmap_entry *e = strmap_find(&m->resources, key, strlen(key));

        return e ? (uint32_t)e->value.number - 1 : NONE;
}

const char *taskserv_key(struct maker *m, const char *taskserv, const char *server)
{
        buf_clear(&m->buf);
        BUF_LIT(&m->buf, "taskserv.");
        buf_puts(&m->buf, taskserv);
        buf_putc(&m->buf, '@');
        buf_puts(&m->buf, server);
        return buf_error(&m->buf) ? NULL : buf_str(&m->buf);
}

int edge_add(struct maker *m, uint32_t from, uint32_t to)
{
        int r = maker_grow(&m->edges, m->n_edges, &m->cap_edges, sizeof(*m->edges));

        if (r)
                return error_fold(r);
        m->edges[m->n_edges++] = (struct edge){from, to};
        return 0;
}

static int compose(struct maker *m, struct task *t)
{
        const char *op = t->op == m->n_ops ? "(implied)" : m->ops[t->op].def->id;

        if (t->kind == KIND_SERVER) {
                t->id = maker_concat(m->text, op, "/", m->servers[t->server].name, t->old ? "~old" : "");
                t->resource = maker_concat(m->text, "server.", m->servers[t->server].name, "", "");
        } else if (t->kind == KIND_TASKSERV) {
                const char *key = taskserv_key(m, m->taskservs[t->taskserv].name,
                                               m->servers[t->server].name);

                if (!key)
                        return error_origin(-ENOMEM);
                t->id = maker_concat(m->text, op, "/", key + strlen("taskserv."), "");
                t->resource = arena_copy(m->text, key, m->buf.n);
        } else if (t->kind == KIND_SHARED) {
                t->resource = m->providers[t->server].shared[t->taskserv].key;
                t->id = maker_concat(m->text, op, "/", t->resource, "");
        } else {
                t->resource = "";
        }
        return t->id && t->resource ? 0 : error_origin(-ENOMEM);
}

static void block(struct lane *l, const char *id)
{
        if (l->plugin && l->plugin->state == PLUGIN_READY)
                return;
        if (l->n_tasks < MAX_BLOCKED)
                buf_printf(&l->blocked, "%s%s", l->n_tasks ? ", " : "", id);
}

/* Adds a task; its id and resource are made from the rest. Twice the same resource in one operation
 * is one task, and a problem if somebody wrote both. */
int task_add(struct maker *m, const struct task *task, uint32_t *ret_task)
{
        struct strmap_entry *e;
        struct task t = *task;
        struct op *op = &m->ops[t.op];
        int r;

        r = maker_grow(&m->tasks, m->n_tasks, &m->cap_tasks, sizeof(*m->tasks));
        r = r ? r : compose(m, &t);
        if (r)
                return error_fold(r);
        t.next_in_op = t.next_same = NONE;
        if (t.kind != KIND_JOIN) {
                e = strmap_add(&m->resources, t.resource, strlen(t.resource));
                if (!e)
                        return error_origin(-ENOMEM);
                if (e->value.number && m->tasks[e->value.number - 1].op == t.op &&
                    !m->tasks[e->value.number - 1].old) {
                        *ret_task = (uint32_t)e->value.number - 1;
                        if (op->def && op->def->target != TARGET_CLUSTER &&
                            m->tasks[*ret_task].item != t.item && maker_room(m, RULE_TWICE))
                                maker_problem(m, op->def->node, "items", t.item,
                                              "\"%s\" is named twice in operation \"%s\"",
                                              op->def->items.list[t.item], op->def->id);
                        return 0;
                }
                t.next_same = (uint32_t)e->value.number - 1; /* 0 - 1: NONE */
                t.repeated = t.next_same != NONE;
                if (t.repeated)
                        m->tasks[t.next_same].repeated = true;
                e->value.number = m->n_tasks + 1;
                block(&m->lanes[t.lane], t.id);
                m->lanes[t.lane].n_tasks++;
                if (op->tail == NONE)
                        op->head = m->n_tasks;
                else
                        m->tasks[op->tail].next_in_op = m->n_tasks;
                op->tail = m->n_tasks;
                op->n_tasks++;
        }
        m->tasks[m->n_tasks] = t;
        *ret_task = m->n_tasks++;
        return 0;
}

const struct cluster_def *cluster_find(const struct maker *m, const char *name)
{
        struct strmap_entry *e = strmap_find(&m->cluster_names, name, strlen(name));

        return e ? &m->def->clusters[e->value.number - 1] : NULL;
}

int expand_tables(struct maker *m)
{
        uint32_t number;
        uint64_t n_items = 0;
        int r;

        for (uint32_t i = 0; i < m->n_order; i++)
                n_items += m->ops[m->order[i]].def->items.n;
        r = strmap_reserve(&m->resources, n_items);
        for (uint32_t i = 0; !r && i < m->def->n_servers; i++) {
                r = server_get(m, m->def->servers[i].name, &number);
                if (r)
                        return error_fold(r);
                m->servers[number].def = &m->def->servers[i];
                m->servers[number].member = true;
        }
        for (uint32_t i = 0; !r && i < m->def->n_clusters; i++) {
                const char *name = m->def->clusters[i].name;
                struct strmap_entry *e = strmap_add(&m->cluster_names, name, strlen(name));

                if (!e)
                        return error_origin(-ENOMEM);
                e->value.number = i + 1;
        }
        for (uint32_t i = 0; !r && i < m->n_order; i++) {
                const struct operation_def *def = m->ops[m->order[i]].def;

                if (def->target != TARGET_SERVER || def->type == OPERATION_DELETE)
                        continue;
                for (uint32_t j = 0; !r && j < def->items.n; j++) {
                        r = server_get(m, def->items.list[j], &number);
                        if (!r)
                                m->servers[number].member = true;
                }
        }
        return error_fold(r);
}

static bool strings_have(const struct strings *s, const char *word)
{
        for (uint32_t i = 0; i < s->n; i++)
                if (streq(s->list[i], word))
                        return true;
        return false;
}

/* Names of the site's plugins of a kind, for "did you mean". In scratch. */
static int plugin_names(struct maker *m, const char *kind, const char ***ret_names, size_t *ret_n)
{
        const struct plugins *p = m->request->plugins;
        const char **names = arena_alloc(&m->scratch, p->n * sizeof(*names));
        size_t n = 0;

        if (!names)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < p->n; i++)
                if (streq(p->list[i].kind, kind))
                        names[n++] = p->list[i].name;
        *ret_names = names;
        *ret_n = n;
        return 0;
}

static const char *join_names(struct maker *m, const char **names, size_t n)
{
        buf_clear(&m->buf);
        for (size_t i = 0; i < n && i < 20; i++)
                buf_printf(&m->buf, "%s%s", i ? ", " : "", names[i]);
        if (n > 20)
                buf_printf(&m->buf, " and %zu more", n - 20);
        if (!n)
                BUF_LIT(&m->buf, "none");
        return buf_error(&m->buf) ? NULL : arena_strdup(&m->scratch, buf_str(&m->buf));
}

static int check_filter(struct maker *m, const struct operation_def *def)
{
        for (uint32_t i = 0; i < def->providers.n; i++) {
                const char *name = def->providers.list[i], **names = NULL, *meant, *known;
                size_t n = 0, j;
                int r = plugin_names(m, "provider", &names, &n);

                if (r)
                        return error_fold(r);
                for (j = 0; j < n && !streq(names[j], name); j++)
                        ;
                if (j < n)
                        continue;
                meant = maker_meant(m, name, names, n);
                known = join_names(m, names, n);
                if (!meant || !known)
                        return error_origin(-ENOMEM);
                maker_problem(m, def->node, "providers", i, "this site has no provider \"%s\"%s; "
                              "there are: %s", name, meant, known);
        }
        return 0;
}

/* Is the server one of the providers that the operation is for? */
static int filtered(struct maker *m, const struct operation_def *def, uint32_t server,
                    uint32_t *ret_provider, bool *ret_in)
{
        int r = server_provider(m, server, ret_provider);

        if (r)
                return error_fold(r);
        *ret_in = !def->providers.n ||
                  strings_have(&def->providers, m->lanes[m->providers[*ret_provider].lane].name);
        return 0;
}

static uint8_t op_verb(const struct operation_def *def)
{
        static const uint8_t verbs[] = {PLAN_CREATE, PLAN_UPDATE, PLAN_DELETE, PLAN_CHECK};

        return verbs[def->type];
}

static int expand_servers(struct maker *m, uint32_t i)
{
        const struct operation_def *def = m->ops[i].def;

        for (uint32_t j = 0; j < def->items.n; j++) {
                uint32_t server, provider, task;
                struct task t;
                bool in = false;
                int r = server_get(m, def->items.list[j], &server);

                r = r ? r : filtered(m, def, server, &provider, &in);
                if (r)
                        return error_fold(r);
                if (!in)
                        continue;
                lane_named(m, m->providers[provider].lane, def->node, "items", j, NULL);
                t = (struct task){.op = i, .lane = m->providers[provider].lane, .item = j,
                                  .server = server, .taskserv = NONE, .verb = op_verb(def),
                                  .kind = KIND_SERVER};
                r = replace_server(m, &t);
                if (!r && m->servers[server].replaced)
                        t.verb = PLAN_CREATE;
                r = r ? r : task_add(m, &t, &task);
                if (r)
                        return error_fold(r);
        }
        return 0;
}

static int expand_taskserv(struct maker *m, uint32_t i, uint32_t item, const char *name,
                           const uint32_t *servers, uint32_t n_servers)
{
        const struct operation_def *def = m->ops[i].def;
        uint32_t taskserv, provider, task;
        int r;

        r = taskserv_get(m, name, &taskserv);
        if (r)
                return error_fold(r);
        lane_named(m, m->taskservs[taskserv].lane, def->node, "items", item, NULL);
        if ((uint64_t)m->n_tasks + n_servers > MAX_PLAN) {
                if (maker_room(m, RULE_MANY))
                        maker_problem(m, def->node, "items", item, "\"%s\" on %u servers would be "
                                      "more than %u tasks in one plan, which is the most there can "
                                      "be", name, n_servers, MAX_PLAN);
                return 0;
        }
        for (uint32_t k = 0; k < n_servers; k++) {
                bool in = false;

                r = filtered(m, def, servers[k], &provider, &in);
                if (r)
                        return error_fold(r);
                if (!in)
                        continue;
                r = task_add(m, &(struct task){.op = i, .lane = m->taskservs[taskserv].lane,
                                               .item = item, .server = servers[k],
                                               .taskserv = taskserv, .verb = op_verb(def),
                                               .kind = KIND_TASKSERV}, &task);
                if (r)
                        return error_fold(r);
        }
        return 0;
}

static int cluster_unknown(struct maker *m, const struct operation_def *def, uint32_t item)
{
        const char **names = arena_alloc(&m->scratch, m->def->n_clusters * sizeof(*names));
        const char *meant, *known;

        if (!names)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < m->def->n_clusters; i++)
                names[i] = m->def->clusters[i].name;
        meant = maker_meant(m, def->items.list[item], names, m->def->n_clusters);
        known = join_names(m, names, m->def->n_clusters);
        if (!meant || !known)
                return error_origin(-ENOMEM);
        maker_problem(m, def->node, "items", item, "the workflow defines no cluster \"%s\"%s; "
                      "its clusters: %s", def->items.list[item], meant, known);
        return 0;
}

/* A cluster is its taskservs on its servers, or on those that the operation names. */
static int expand_cluster(struct maker *m, uint32_t i, uint32_t item)
{
        const struct operation_def *def = m->ops[i].def;
        const struct cluster_def *c = cluster_find(m, def->items.list[item]);
        const struct strings *names;
        uint32_t *servers;
        int r = 0;

        if (!c)
                return error_fold(cluster_unknown(m, def, item));
        if (c->manifests.n && maker_room(m, RULE_CLUSTER))
                maker_problem(m, c->node, "manifests", NONE,
                              "manifests of a cluster cannot be applied yet: leave them out of "
                              "cluster \"%s\" and apply them when its taskservs run", c->name);
        names = def->servers.n ? &def->servers : &c->servers;
        if (!c->taskservs.n || !names->n)
                maker_problem(m, c->node, NULL, NONE, "cluster \"%s\" names no %s: there is nothing "
                              "to do for operation \"%s\"", c->name,
                              names->n ? "taskservs" : "servers", def->id);
        servers = arena_alloc(&m->scratch, names->n * sizeof(*servers));
        if (!servers)
                return error_origin(-ENOMEM);
        for (uint32_t j = 0; !r && j < names->n; j++)
                r = server_get(m, names->list[j], &servers[j]);
        for (uint32_t j = 0; !r && j < c->taskservs.n; j++)
                r = expand_taskserv(m, i, item, c->taskservs.list[j], servers, names->n);
        return error_fold(r);
}

int expand_operation(struct maker *m, uint32_t i)
{
        const struct operation_def *def = m->ops[i].def;
        int r = check_filter(m, def);

        if (!r && def->target == TARGET_SERVER)
                r = expand_servers(m, i);
        if (!r && def->target == TARGET_TASKSERV) {
                r = operations_servers(m, i);
                if (!r && !m->ops[i].n_servers)
                        maker_problem(m, def->node, NULL, NONE,
                                      "operation \"%s\" has no server to work on: name them with "
                                      "servers = [...], or let it depend on the operation that "
                                      "creates them", def->id);
                for (uint32_t j = 0; !r && j < def->items.n; j++)
                        r = expand_taskserv(m, i, j, def->items.list[j], m->ops[i].servers,
                                            m->ops[i].n_servers);
        }
        for (uint32_t j = 0; !r && def->target == TARGET_CLUSTER && j < def->items.n; j++)
                r = expand_cluster(m, i, j);
        if (!r && !m->ops[i].n_tasks && def->providers.n)
                r = maker_notice(m, "operation \"%s\" has nothing to do: none of its servers is "
                                 "of the providers that it names", def->id);
        return error_fold(r);
}

static int blocked(struct maker *m, const struct lane *l)
{
        const char **names = NULL, *meant, *why, *more;
        const struct plugin *p = l->plugin;
        size_t n = 0;
        int r = plugin_names(m, l->kind, &names, &n);

        if (r)
                return error_fold(r);
        meant = p ? "" : maker_meant(m, l->name, names, n);
        why = l->why ? maker_format(&m->scratch, " (%s)", l->why) : "";
        more = l->n_tasks > MAX_BLOCKED
                       ? maker_format(&m->scratch, " and %u more", l->n_tasks - MAX_BLOCKED)
                       : "";
        if (!meant || !why || !more || buf_error(&l->blocked))
                return error_origin(-ENOMEM);
        if (p)
                maker_problem(m, l->node, l->member, l->index,
                              "%s \"%s\"%s cannot be used: its plugin is %s: %s; because of it "
                              "these tasks cannot run: %s%s", l->kind, l->name, why,
                              p->state == PLUGIN_DISABLED ? "disabled" : "refused",
                              p->reason ? p->reason : p->state == PLUGIN_DISABLED
                                      ? "the site's configuration says so" : "no reason was given",
                              buf_str(&l->blocked), more);
        else
                maker_problem(m, l->node, l->member, l->index,
                              "this site has no %s plugin \"%s\"%s%s; because of it these tasks "
                              "cannot run: %s%s; `prvng plugin list` shows what there is",
                              l->kind, l->name, meant, why, buf_str(&l->blocked), more);
        return 0;
}

int expand_blocked(struct maker *m)
{
        for (uint32_t i = 0; i < m->n_lanes; i++) {
                const struct lane *l = &m->lanes[i];
                int r;

                if (!l->n_tasks || (l->plugin && l->plugin->state == PLUGIN_READY))
                        continue;
                r = blocked(m, l);
                if (r)
                        return error_fold(r);
        }
        return 0;
}
