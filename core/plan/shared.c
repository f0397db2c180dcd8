/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers of a provider share: networks and security groups, each made once, before them. A provider
 * has those that its plugin declares (shared_resources, requires_network), for all its servers; a server
 * has those that it names and the definition has. What is there already and another workflow's, or named
 * by a server without being defined, is used as it stands.
 */
#include "plan/make.h"

#include "base/json.h"

static bool is_network(const struct shared *s)
{
        return streq(s->kind, "network");
}

/* --- the table --- */

/* What the definition has of that name for that provider: its own before the one for all. */
static uint32_t find_network(const struct maker *m, const char *name, const char *provider)
{
        uint32_t found = NONE;

        for (uint32_t i = 0; i < m->def->n_networks; i++) {
                const struct network_def *d = &m->def->networks[i];

                if (streq(d->name, name) && d->provider && streq(d->provider, provider))
                        return i;
                if (streq(d->name, name) && !d->provider)
                        found = i;
        }
        return found;
}

static uint32_t find_group(const struct maker *m, const char *name, const char *provider)
{
        uint32_t found = NONE;

        for (uint32_t i = 0; i < m->def->n_security_groups; i++) {
                const struct security_group_def *d = &m->def->security_groups[i];

                if (streq(d->name, name) && d->provider && streq(d->provider, provider))
                        return i;
                if (streq(d->name, name) && !d->provider)
                        found = i;
        }
        return found;
}

static void find_definition(const struct maker *m, struct shared *s, const char *provider)
{
        uint32_t i;

        s->node = DOC_NONE;
        if (!m->def) /* destroy and check */
                return;
        if (is_network(s) && (i = find_network(m, s->name, provider)) != NONE) {
                s->def = m->def->networks[i].spec;
                s->node = m->def->networks[i].node;
        } else if (streq(s->kind, "security_group") &&
                   (i = find_group(m, s->name, provider)) != NONE) {
                s->def = m->def->security_groups[i].spec;
                s->node = m->def->security_groups[i].node;
        }
}

/* Enters one, or finds it. */
static int shared_get(struct maker *m, struct provider *p, const char *kind, const char *name,
                      const char *reason, uint32_t *ret_index)
{
        const char *provider = m->lanes[p->lane].name;
        struct shared *s;
        int r;

        for (uint32_t i = 0; i < p->n_shared; i++)
                if (streq(p->shared[i].kind, kind) && streq(p->shared[i].name, name)) {
                        *ret_index = i;
                        return 0;
                }
        r = maker_grow(&p->shared, p->n_shared, &p->cap_shared, sizeof(*p->shared));
        if (r)
                return error_fold(r);
        s = &p->shared[p->n_shared];
        *s = (struct shared){.task = NONE};
        s->kind = arena_strdup(m->text, kind);
        s->name = arena_strdup(m->text, name);
        s->reason = arena_strdup(m->text, reason);
        s->key = maker_format(m->text, "%s.%s@%s", kind, name, provider);
        if (!s->kind || !s->name || !s->reason || !s->key)
                return error_origin(-ENOMEM);
        s->network = is_network(s);
        s->there = maker_existing(m, s->key);
        find_definition(m, s, provider);
        *ret_index = p->n_shared++;
        return 0;
}

/* "private_network" -> the network "private"; "security_group" -> the one named "default". */
static int add_declared(struct maker *m, struct provider *p, const char *resource, const char *why)
{
        const char *provider = m->lanes[p->lane].name;
        size_t n = strlen(resource);
        char name[64], *reason;
        uint32_t index;
        int r;

        reason = maker_format(&m->scratch, "%s of provider %s", why, provider);
        if (!reason)
                return error_origin(-ENOMEM);
        if (n > 8 && n - 8 < sizeof(name) && streq(resource + n - 8, "_network")) {
                memcpy(name, resource, n - 8);
                name[n - 8] = 0;
                r = shared_get(m, p, "network", name, reason, &index);
        } else {
                r = shared_get(m, p, resource, "default", reason, &index);
        }
        if (r == 0)
                p->shared[index].common = true;
        return error_fold(r);
}

int shared_declared(struct maker *m, struct provider *p, const json_t *dependencies)
{
        const json_t *list = json_object_get(dependencies, "shared_resources"), *v;
        bool network = false;
        size_t i;

        json_array_foreach (list, i, v) {
                const char *resource = json_string_value(v);
                int r = resource ? add_declared(m, p, resource, "shared_resources") : 0;

                if (r)
                        return error_fold(r);
        }
        for (i = 0; i < p->n_shared; i++)
                network |= p->shared[i].network;
        if (!network && json_get_bool(dependencies, "requires_network", false))
                return error_fold(add_declared(m, p, "private_network", "requires_network"));
        return 0;
}

bool shared_of_server(const struct maker *m, const struct server *s, uint32_t index)
{
        const struct shared *shared = &m->providers[s->provider].shared[index];

        for (uint32_t i = 0; i < s->n_extra; i++)
                if (s->extra[i] == index)
                        return true;
        return shared->common;
}

int shared_of_key(struct maker *m, const struct resource *r, uint32_t *ret_provider, uint32_t *ret_index)
{
        struct key k = key_parse(r->key);
        const char *kind = arena_copy(&m->scratch, k.kind, k.n_kind);
        const char *name = arena_copy(&m->scratch, k.name, k.n_name);
        const char *plugin = startswith(r->plugin, "provider/") ?: k.place;
        int q;

        if (!kind || !name)
                return error_origin(-ENOMEM);
        q = provider_get(m, plugin, ret_provider);
        return error_fold(q ? q : shared_get(m, &m->providers[*ret_provider], kind, name,
                                             "no longer defined", ret_index));
}

/* --- what servers name --- */

/* Whether the plugin knows the kind, as far as it says what it knows. */
static bool makes_kind(const struct lane *l, const char *kind)
{
        const json_t *list = json_object_get(l->plugin ? l->plugin->describe : NULL, "resources"), *v;
        size_t i;

        json_array_foreach (list, i, v)
                if (streq(json_get_string(v, "kind", ""), kind))
                        return true;
        return !list;
}

static int add_named(struct maker *m, struct server *s, const char *kind, const char *name)
{
        struct provider *p = &m->providers[s->provider];
        struct shared probe = {.kind = kind, .name = name};
        const char *provider = m->lanes[p->lane].name, *key, *reason;
        uint32_t index = 0;
        int r;

        find_definition(m, &probe, provider);
        key = maker_format(&m->scratch, "%s.%s@%s", kind, name, provider);
        reason = maker_format(&m->scratch, "%s of server %s", is_network(&probe) ? "networks"
                                                                                 : "security_groups",
                              s->name);
        if (!key || !reason)
                return error_origin(-ENOMEM);
        if (!probe.def && !maker_existing(m, key))
                return 0; /* one that the provider has */
        if (!makes_kind(&m->lanes[p->lane], kind)) {
                if (maker_room(m, RULE_SHARED))
                        return error_fold(maker_notice(m, "%s is left out: provider %s has no %ss", key,
                                                       provider, is_network(&probe) ? "network"
                                                                                    : "security group"));
                return 0;
        }
        r = shared_get(m, p, kind, name, reason, &index);
        if (r)
                return error_fold(r);
        if (!p->shared[index].common)
                s->extra[s->n_extra++] = index;
        return 0;
}

static int find_named(struct maker *m, uint32_t number)
{
        _cleanup_(cleanup_json_decref) json_t *spec = NULL;
        static const char *const members[][2] = {{"networks", "network"},
                                                 {"security_groups", "security_group"}};
        struct server *s = &m->servers[number];
        const json_t *v;
        size_t i, n;
        int r = spec_server(m, number);

        r = r ? r : json_parse(s->spec, strlen(s->spec), &spec, NULL);
        if (r)
                return error_fold(r);
        n = json_array_size(json_object_get(spec, "networks")) +
            json_array_size(json_object_get(spec, "security_groups"));
        if (!n)
                return 0;
        s->extra = arena_alloc(&m->scratch, n * sizeof(*s->extra));
        if (!s->extra)
                return error_origin(-ENOMEM);
        for (size_t k = 0; k < N_ELEMENTS(members); k++)
                json_array_foreach (json_object_get(spec, members[k][0]), i, v) {
                        r = json_is_string(v) ? add_named(m, s, members[k][1], json_string_value(v)) : 0;
                        if (r)
                                return error_fold(r);
                }
        return 0;
}

/* --- zones --- */

static const char *zone_of(const struct maker *m, const struct server *s)
{
        const struct document *d = m->def->document;
        uint32_t node = s->def ? document_get(d, s->def->node, "zone") : DOC_NONE;

        if (node != DOC_NONE && document_node(d, node)->type == DOC_STRING)
                return document_string(d, node);
        return json_get_string(m->config->server, "zone", NULL);
}

static int zone_add(struct maker *m, struct shared *s, const char *zone)
{
        uint32_t i = 0;
        int r;

        while (i < s->n_zones && strcmp(s->zones[i], zone) < 0)
                i++;
        if (i < s->n_zones && streq(s->zones[i], zone))
                return 0;
        r = maker_grow(&s->zones, s->n_zones, &s->cap_zones, sizeof(*s->zones));
        if (r)
                return error_fold(r);
        memmove(s->zones + i + 1, s->zones + i, (s->n_zones - i) * sizeof(*s->zones));
        s->zones[i] = zone;
        s->n_zones++;
        return 0;
}

/* All servers of the workflow count, whether the plan makes them or not. */
static int look_at_server(struct maker *m, uint32_t number)
{
        struct server *s = &m->servers[number];
        const char *zone = zone_of(m, s);
        struct provider *p;
        uint32_t provider;
        int r = server_provider(m, number, &provider);

        if (r)
                return error_fold(r);
        r = m->names_shared ? find_named(m, number) : 0;
        p = &m->providers[provider];
        for (uint32_t i = 0; !r && zone && i < p->n_shared; i++)
                if (p->shared[i].network && shared_of_server(m, s, i))
                        r = zone_add(m, &p->shared[i], zone);
        return error_fold(r);
}

/* --- specs --- */

/* As the definition says, and where it says nothing as it is. */
static int fill_network(const struct shared *s, const json_t *there, json_t *spec)
{
        const json_t *address = json_object_get(there, "address"), *zones = json_object_get(there, "zones");
        const char *known = json_get_string(there, "zone", NULL);
        _cleanup_(cleanup_json_decref) json_t *all = json_array();
        bool bad = !all;
        size_t n = 0, i;

        if (address && !json_object_get(spec, "address"))
                bad |= json_object_set(spec, "address", (json_t *)(uintptr_t)address) != 0;
        if (json_object_get(spec, "zone"))
                return bad ? error_origin(-ENOMEM) : 0;
        /* Those of before and those of now, sorted: both are. */
        for (i = 0; i < s->n_zones; i++) {
                for (; n < json_array_size(zones) &&
                       strcmp(json_string_value(json_array_get(zones, n)) ?: "", s->zones[i]) < 0; n++)
                        bad |= json_array_append(all, json_array_get(zones, n)) != 0;
                if (n < json_array_size(zones) &&
                    streq(json_string_value(json_array_get(zones, n)) ?: "", s->zones[i]))
                        n++;
                if (known && strcmp(known, s->zones[i]) < 0)
                        bad |= json_array_append_new(all, json_string(known)) != 0;
                if (known && strcmp(known, s->zones[i]) <= 0)
                        known = NULL;
                bad |= json_array_append_new(all, json_string(s->zones[i])) != 0;
        }
        for (; n < json_array_size(zones); n++)
                bad |= json_array_append(all, json_array_get(zones, n)) != 0;
        if (known)
                bad |= json_array_append_new(all, json_string(known)) != 0;
        if (json_array_size(all) == 1)
                bad |= json_object_set(spec, "zone", json_array_get(all, 0)) != 0;
        else if (json_array_size(all))
                bad |= json_object_set(spec, "zones", all) != 0;
        return bad ? error_origin(-ENOMEM) : 0;
}

static int fill_group(json_t *spec)
{
        json_t *rules;

        if (json_object_get(spec, "rules"))
                return 0;
        rules = json_pack("[{s:s, s:s, s:i, s:s}, {s:s, s:s, s:s}]", "direction", "in", "protocol", "tcp",
                          "port", 22, "action", "accept", "direction", "in", "protocol", "icmp", "action",
                          "accept");
        return rules && json_object_set_new(spec, "rules", rules) == 0 ? 0 : error_origin(-ENOMEM);
}

static int compose_spec(struct maker *m, const char *provider, struct shared *s, json_t **ret_spec)
{
        _cleanup_(cleanup_json_decref) json_t *spec = NULL, *there = NULL;
        int r = 0;

        if (s->def)
                r = json_parse(s->def, strlen(s->def), &spec, NULL);
        else if (!(spec = json_pack("{s:s}", "name", s->name)))
                r = -ENOMEM;
        if (!r && s->there && s->there->spec && *s->there->spec)
                r = json_parse(s->there->spec, strlen(s->there->spec), &there, NULL);
        if (r)
                return error_origin(r);
        spec_drop_foreign(m, spec, provider);
        if (s->network)
                r = fill_network(s, there, spec);
        else if (streq(s->kind, "security_group"))
                r = fill_group(spec);
        if (r)
                return error_fold(r);
        *ret_spec = steal(&spec);
        return 0;
}

/* --- tasks --- */

/* The run in flight that claims it made it, and does nothing else with it: it stays as long as a run in flight
 * has a task to come that builds on it. Or that run uses it just as this one does. */
static bool stays_as_it_is(const struct maker *m, const struct resource *r)
{
        _cleanup_(cleanup_buf) struct buf spec = BUF_NULL;
        bool settled = false;

        return m->request->runs && site_makes(m->request->runs, r, &spec, &settled) &&
               (settled || !streq(r->claim_workflow ?: "", r->workflow)) && !buf_error(&spec);
}

/* Another workflow's, used as it stands: which must not be other than what this definition says. */
static int use_foreign(struct maker *m, const char *provider, struct shared *s)
{
        _cleanup_(cleanup_json_decref) json_t *wanted = NULL, *there = NULL;
        const struct resource *r = s->there;
        const char *key;
        json_t *v;
        int q;

        if (r->claim && !streq(r->claim, m->request->run ?: "") && !stays_as_it_is(m, r) &&
            maker_room(m, RULE_CLAIM))
                maker_problem(m, s->node, NULL, NONE, "%s is needed, and claimed by run %s of workflow "
                              "\"%s\", which may change or delete it: wait for it, or end it with "
                              "`prvng batch cancel %s`", s->key, r->claim, r->claim_workflow ?: "?",
                              r->claim);
        if (!s->def)
                return 0;
        q = json_parse(s->def, strlen(s->def), &wanted, NULL);
        q = q ? q : json_parse(r->spec, strlen(r->spec), &there, NULL);
        if (q)
                return error_fold(q);
        spec_drop_foreign(m, wanted, provider);
        json_object_foreach (wanted, key, v) {
                if (json_equal(v, json_object_get(there, key)) || streq(key, "name") ||
                    !maker_room(m, RULE_OWNER))
                        continue;
                maker_problem(m, s->node, key, NONE, "%s belongs to workflow \"%s\", and its %s is not "
                              "the one given here; leave that out to use it as it stands, or choose "
                              "another name", s->key, r->workflow, key);
        }
        return 0;
}

static int shared_task(struct maker *m, uint32_t provider, uint32_t number)
{
        const char *name = m->lanes[m->providers[provider].lane].name;
        struct shared *s = &m->providers[provider].shared[number];
        _cleanup_(cleanup_json_decref) json_t *spec = NULL;
        const char *text;
        int r;

        if (s->used)
                return 0;
        s->used = true;
        if (s->there && !streq(s->there->workflow, m->def->name))
                return error_fold(use_foreign(m, name, s));
        if (!s->def && !s->common) /* there, and not defined */
                return 0;
        r = compose_spec(m, name, s, &spec);
        if (r)
                return error_fold(r);
        buf_clear(&m->buf);
        r = spec_canonical(&m->buf, spec, true);
        text = r ? NULL : arena_copy(m->text, m->buf.data, m->buf.n);
        if (!text)
                return error_origin(r ? r : -ENOMEM);
        return error_fold(task_add(m, &(struct task){
                .op = m->n_ops, .lane = m->providers[provider].lane, .item = NONE,
                .server = provider, .taskserv = number, .verb = PLAN_CREATE, .kind = KIND_SHARED,
                .implied = true, .reason = s->reason, .spec = text}, &s->task));
}

static bool any_shared(const struct maker *m)
{
        for (uint32_t i = 0; i < m->n_providers; i++)
                if (m->providers[i].n_shared)
                        return true;
        return m->names_shared;
}

/* Do servers perhaps name some? Looking at each costs time. */
static bool names_shared(const struct maker *m)
{
        if (m->def->n_networks || m->def->n_security_groups)
                return true;
        if (m->inventory)
                strmap_foreach (e, &m->inventory->by_key) {
                        const struct resource *r = e->value.pointer;

                        if (e->key && r->workflow &&
                            (startswith(r->key, "network.") || startswith(r->key, "security_group.")))
                                return true;
                }
        return false;
}

int expand_shared(struct maker *m)
{
        uint32_t n = m->n_tasks;
        int r = 0;

        m->names_shared = names_shared(m);
        if (!any_shared(m))
                return 0;
        for (uint32_t i = 0; !r && i < m->n_servers; i++)
                if (m->servers[i].member)
                        r = look_at_server(m, i);
        for (uint32_t i = 0; !r && i < n; i++) {
                const struct server *s = &m->servers[m->tasks[i].server];

                if (m->tasks[i].kind != KIND_SERVER || !verb_makes(m->tasks[i].verb))
                        continue;
                for (uint32_t j = 0; !r && j < m->providers[s->provider].n_shared; j++)
                        if (shared_of_server(m, s, j))
                                r = shared_task(m, s->provider, j);
        }
        return error_fold(r);
}
