/* SPDX-License-Identifier: Apache-2.0 */
/* Operations x items x servers -> tasks, and the resources that a provider's servers share. */
#include "plan/make.h"

#include "base/json.h"

#define MAX_BLOCKED 5u /* tasks named of those that a plugin's absence blocks */

/* The four parts one after another, in the plan's arena. */
static char *concat(struct arena *a, const char *p, const char *q, const char *r, const char *s)
{
        size_t n[4] = {strlen(p), strlen(q), strlen(r), strlen(s)};
        char *text = arena_room(a, n[0] + n[1] + n[2] + n[3]);

        if (!text)
                return NULL;
        memcpy(text, p, n[0]);
        memcpy(text + n[0], q, n[1]);
        memcpy(text + n[0] + n[1], r, n[2]);
        memcpy(text + n[0] + n[1] + n[2], s, n[3]);
        return text;
}

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

int lane_get(struct maker *m, const char *kind, const char *name, uint32_t *ret_lane)
{
        char *key = concat(m->text, kind, "/", name, "");
        struct strmap_entry *e;
        struct lane *l;
        int r;

        if (!key)
                return error_origin(-ENOMEM);
        r = maker_grow(&m->lanes, m->n_lanes, &m->cap_lanes, sizeof(*m->lanes));
        if (r)
                return error_fold(r);
        e = strmap_find(&m->plugin_keys, key, strlen(key));
        l = &m->lanes[m->n_lanes];
        *l = (struct lane){
                .plan = {.plugin = key},
                .kind = kind,
                .name = key + strlen(kind) + 1,
                .plugin = e ? &m->request->plugins->list[e->value.number - 1] : NULL,
                .node = DOC_NONE,
                .index = NONE,
        };
        *ret_lane = m->n_lanes++;
        return 0;
}

/* Remembers where a lane's plugin is named first, for the problem if it is missing. */
static void lane_named(struct maker *m, uint32_t lane, uint32_t node, const char *member,
                       uint32_t index, const char *why)
{
        struct lane *l = &m->lanes[lane];

        if (l->node != DOC_NONE)
                return;
        l->node = node;
        l->member = member;
        l->index = index;
        l->why = why;
}

static void shared_of(const char *resource, const char **ret_kind, const char **ret_name,
                      char name[64])
{
        size_t n = strlen(resource);

        *ret_kind = resource;
        *ret_name = "default";
        if (n <= 8 || n - 8 >= 64 || !streq(resource + n - 8, "_network"))
                return;
        memcpy(name, resource, n - 8);
        name[n - 8] = 0;
        *ret_kind = "network";
        *ret_name = name;
}

static int shared_add(struct maker *m, struct provider *p, const char *provider,
                      const char *resource, const char *reason)
{
        struct shared *s = &p->shared[p->n_shared];
        const char *kind, *name;
        char room[64], *key;

        shared_of(resource, &kind, &name, room);
        key = maker_format(m->text, "%s.%s@%s", kind, name, provider);
        if (!key)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < p->n_shared; i++)
                if (streq(p->shared[i].key, key))
                        return 0;
        *s = (struct shared){.task = NONE, .network = streq(kind, "network"), .key = key};
        s->kind = arena_strdup(m->text, kind);
        s->name = arena_strdup(m->text, name);
        s->reason = maker_format(m->text, "%s of provider %s", reason, provider);
        if (!s->kind || !s->name || !s->reason)
                return error_origin(-ENOMEM);
        p->n_shared++;
        return 0;
}

static int provider_get(struct maker *m, const char *name, uint32_t *ret_provider)
{
        struct strmap_entry *e = strmap_add(&m->provider_names, name, strlen(name));
        const json_t *deps = NULL, *list, *v;
        struct provider *p;
        bool network = false;
        size_t i;
        int r;

        if (!e)
                return error_origin(-ENOMEM);
        if (e->value.number) {
                *ret_provider = (uint32_t)e->value.number - 1;
                return 0;
        }
        r = maker_grow(&m->providers, m->n_providers, &m->cap_providers, sizeof(*m->providers));
        if (r)
                return error_fold(r);
        p = &m->providers[m->n_providers];
        *p = (struct provider){0};
        r = lane_get(m, "provider", name, &p->lane);
        if (r)
                return error_fold(r);
        if (m->lanes[p->lane].plugin)
                deps = m->lanes[p->lane].plugin->dependencies;
        m->lanes[p->lane].plan.batch_size = (uint32_t)json_get_int(deps, "batch_size", 0);
        m->lanes[p->lane].plan.rate_limit = (uint32_t)json_get_int(deps, "api_rate_limit", 0);
        p->before_servers = json_get_bool(deps, "network_before_servers", true);
        list = json_object_get(deps, "shared_resources");
        p->shared = arena_alloc(&m->scratch, (json_array_size(list) + 1) * sizeof(*p->shared));
        if (!p->shared)
                return error_origin(-ENOMEM);
        json_array_foreach (list, i, v) {
                const char *s = json_string_value(v);

                r = s ? shared_add(m, p, name, s, "shared_resources") : 0;
                if (r)
                        return error_fold(r);
                network |= p->n_shared && p->shared[p->n_shared - 1].network;
        }
        if (json_get_bool(deps, "requires_network", false) && !network) {
                r = shared_add(m, p, name, "private_network", "requires_network");
                if (r)
                        return error_fold(r);
        }
        e->value.number = ++m->n_providers;
        *ret_provider = m->n_providers - 1;
        return 0;
}

int server_get(struct maker *m, const char *name, uint32_t *ret_server)
{
        struct strmap_entry *e = strmap_add(&m->server_names, name, strlen(name));
        int r;

        if (!e)
                return error_origin(-ENOMEM);
        if (!e->value.number) {
                r = maker_grow(&m->servers, m->n_servers, &m->cap_servers, sizeof(*m->servers));
                if (r)
                        return error_fold(r);
                m->servers[m->n_servers] = (struct server){.name = name, .provider = NONE};
                if (m->inventory && m->inventory->by_key.n) {
                        char *key = concat(&m->scratch, "server.", name, "", "");

                        if (!key)
                                return error_origin(-ENOMEM);
                        m->servers[m->n_servers].existing = maker_existing(m, key);
                }
                e->value.number = ++m->n_servers;
        }
        *ret_server = (uint32_t)e->value.number - 1;
        return 0;
}

/* ServerDef, else where it stands already, else the site's default. */
int server_provider(struct maker *m, uint32_t server, uint32_t *ret_provider)
{
        struct server *s = &m->servers[server];
        const char *name = m->config->provider, *there;
        int r;

        if (s->provider == NONE) {
                there = s->existing ? startswith(s->existing->plugin, "provider/") : NULL;
                if (s->def && s->def->provider)
                        name = s->def->provider;
                else if (there)
                        name = there;
                r = provider_get(m, name, &s->provider);
                if (r)
                        return error_fold(r);
                if (s->def && s->def->provider)
                        lane_named(m, m->providers[s->provider].lane, s->def->node, "provider",
                                   NONE, NULL);
        }
        *ret_provider = s->provider;
        return 0;
}

static void taskserv_minimum(struct taskserv *t, const json_t *deps)
{
        const json_t *min = json_object_get(deps, "minimum_resources");

        t->cpu = json_number_value(json_object_get(min, "cpu"));
        t->memory = (uint64_t)json_number_value(json_object_get(min, "memory"));
        t->disk = (uint64_t)json_number_value(json_object_get(min, "disk"));
}

/* Also enters what it requires, so that the whole family is known before tasks are looked at. */
static int taskserv_add(struct maker *m, const char *name, uint32_t number)
{
        struct taskserv t = {.name = name};
        const json_t *deps = NULL, *requires, *conflicts, *v;
        uint32_t *list;
        size_t i;
        int r;

        r = lane_get(m, "taskserv", name, &t.lane);
        if (r)
                return error_fold(r);
        m->lanes[t.lane].plan.batch_size = m->config->taskserv_batch;
        if (m->lanes[t.lane].plugin)
                deps = m->lanes[t.lane].plugin->dependencies;
        requires = json_object_get(deps, "requires");
        conflicts = json_object_get(deps, "conflicts_with");
        taskserv_minimum(&t, deps);
        t.conflicts = arena_alloc(&m->scratch, json_array_size(conflicts) * sizeof(char *));
        list = arena_alloc(&m->scratch, json_array_size(requires) * sizeof(*list));
        t.requires = list;
        if (!t.conflicts || !list)
                return error_origin(-ENOMEM);
        json_array_foreach (conflicts, i, v)
                if (json_is_string(v))
                        t.conflicts[t.n_conflicts++] = json_string_value(v);
        m->taskservs[number] = t;
        json_array_foreach (requires, i, v) {
                if (!json_is_string(v))
                        continue;
                r = taskserv_get(m, json_string_value(v), &list[i]);
                if (r)
                        return error_fold(r);
                m->taskservs[number].requires[m->taskservs[number].n_requires++] = list[i];
        }
        return 0;
}

int taskserv_get(struct maker *m, const char *name, uint32_t *ret_taskserv)
{
        struct strmap_entry *e = strmap_add(&m->taskserv_names, name, strlen(name));
        uint32_t number;
        int r;

        if (!e)
                return error_origin(-ENOMEM);
        if (e->value.number) {
                *ret_taskserv = (uint32_t)e->value.number - 1;
                return 0;
        }
        r = maker_grow(&m->taskservs, m->n_taskservs, &m->cap_taskservs, sizeof(*m->taskservs));
        if (r)
                return error_fold(r);
        number = m->n_taskservs++;
        e->value.number = number + 1;
        r = taskserv_add(m, name, number);
        if (r)
                return error_fold(r);
        *ret_taskserv = number;
        return 0;
}

static int compose(struct maker *m, struct task *t)
{
        const char *op = t->op == m->n_ops ? "(implied)" : m->ops[t->op].def->id;

        if (t->kind == KIND_SERVER) {
                t->id = concat(m->text, op, "/", m->servers[t->server].name, "");
                t->resource = concat(m->text, "server.", m->servers[t->server].name, "", "");
        } else if (t->kind == KIND_TASKSERV) {
                const char *key = taskserv_key(m, m->taskservs[t->taskserv].name,
                                               m->servers[t->server].name);

                if (!key)
                        return error_origin(-ENOMEM);
                t->id = concat(m->text, op, "/", key + strlen("taskserv."), "");
                t->resource = arena_copy(m->text, key, m->buf.n);
        } else if (t->kind == KIND_SHARED) {
                t->resource = m->providers[t->server].shared[t->taskserv].key;
                t->id = concat(m->text, op, "/", t->resource, "");
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
                if (e->value.number && m->tasks[e->value.number - 1].op == t.op) {
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
                const char *name = def->providers.list[i], **names, *meant, *known;
                size_t n, j;
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
                bool in;
                int r = server_get(m, def->items.list[j], &server);

                r = r ? r : filtered(m, def, server, &provider, &in);
                if (r)
                        return error_fold(r);
                if (!in)
                        continue;
                lane_named(m, m->providers[provider].lane, def->node, "items", j, NULL);
                r = task_add(m, &(struct task){.op = i, .lane = m->providers[provider].lane,
                                               .item = j, .server = server, .taskserv = NONE,
                                               .verb = op_verb(def), .kind = KIND_SERVER}, &task);
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
                bool in;

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

static int shared_task(struct maker *m, uint32_t provider, uint32_t number)
{
        struct shared *s = &m->providers[provider].shared[number];
        const struct resource *there = maker_existing(m, s->key);

        s->used = true;
        /* What another workflow made for all is used as it stands. */
        if (there && !streq(there->workflow, m->def->name))
                return 0;
        return error_fold(task_add(m, &(struct task){
                .op = m->n_ops, .lane = m->providers[provider].lane, .item = NONE,
                .server = provider, .taskserv = number, .verb = PLAN_CREATE, .kind = KIND_SHARED,
                .implied = true, .reason = s->reason, .spec = "{}"}, &s->task));
}

int expand_shared(struct maker *m)
{
        uint32_t n = m->n_tasks;

        for (uint32_t i = 0; i < n; i++) {
                const struct task *t = &m->tasks[i];
                uint32_t provider;

                if (t->kind != KIND_SERVER || !verb_makes(t->verb))
                        continue;
                provider = m->servers[t->server].provider;
                if (m->providers[provider].n_shared && m->providers[provider].shared[0].used)
                        continue;
                for (uint32_t j = 0; j < m->providers[provider].n_shared; j++) {
                        int r = shared_task(m, provider, j);

                        if (r)
                                return error_fold(r);
                }
        }
        return 0;
}

static int blocked(struct maker *m, const struct lane *l)
{
        const char **names, *meant, *why, *more;
        const struct plugin *p = l->plugin;
        size_t n;
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
