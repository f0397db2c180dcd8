/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes part: lanes and their plugins, providers, servers, taskservs; each entered once. */
#include "plan/make.h"

#include "base/json.h"

/* The four parts one after another, in an arena. */
char *maker_concat(struct arena *a, const char *p, const char *q, const char *r, const char *s)
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

int lane_get(struct maker *m, const char *kind, const char *name, uint32_t *ret_lane)
{
        char *key = maker_concat(m->text, kind, "/", name, "");
        struct strmap_entry *e;
        struct lane *l;
        int r;

        if (!key)
                return error_origin(-ENOMEM);
        r = maker_grow(&m->lanes, m->n_lanes, &m->cap_lanes, sizeof(*m->lanes));
        if (r)
                return error_fold(r);
        e = strmap_find(&m->plugin_keys, key, strlen(key));
        if (!e) /* refused before its kind was known: its reason helps more than that there is none */
                e = strmap_find(&m->plugin_keys, key + strlen(kind), strlen(key) - strlen(kind));
        l = &m->lanes[m->n_lanes];
        *l = (struct lane){
                .plan = {.plugin = key},
                .kind = kind,
                .name = key + strlen(kind) + 1,
                .plugin = e ? &m->request->plugins->list[e->value.number - 1] : NULL,
                .node = DOC_NONE,
                .index = NONE,
        };
        if (l->plugin)
                l->plan.rate_limit = plugin_rate_limit(l->plugin);
        l->plan.batch_size = streq(kind, "taskserv") ? m->config->taskserv_batch : 0;
        if (l->plugin)
                l->plan.batch_size = plugin_batch_size(l->plugin, l->plan.batch_size);
        *ret_lane = m->n_lanes++;
        return 0;
}

/* Remembers where a lane's plugin is named first, for the problem if it is missing. */
void lane_named(struct maker *m, uint32_t lane, uint32_t node, const char *member,
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

int provider_get(struct maker *m, const char *name, uint32_t *ret_provider)
{
        struct strmap_entry *e = strmap_add(&m->provider_names, name, strlen(name));
        const json_t *deps = NULL;
        struct provider *p;
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
        p->before_servers = json_get_bool(deps, "network_before_servers", true);
        r = shared_declared(m, p, deps);
        if (r)
                return error_fold(r);
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
                        char *key = maker_concat(&m->scratch, "server.", name, "", "");

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
