/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of `prvng secret rotate PROVIDER`: one task, which renews the provider's own credential. */
#include "plan/make.h"

#include "base/json.h"

static bool has_credential(const struct plugin *p)
{
        const json_t *v;
        size_t i;

        json_array_foreach (json_object_get(p->describe, "resources"), i, v)
                if (streq(json_get_string(v, "kind", ""), "credential"))
                        return true;
        return false;
}

static int add_task(struct maker *m, const char *provider)
{
        struct task t = {.item = NONE, .server = NONE, .taskserv = NONE, .next_in_op = NONE,
                         .next_same = NONE, .verb = PLAN_UPDATE, .kind = KIND_SHARED};
        const struct resource *there;
        bool can;
        int r = lane_get(m, "provider", provider, &t.lane);

        r = r ? r : maker_grow(&m->tasks, m->n_tasks, &m->cap_tasks, sizeof(*m->tasks));
        if (r)
                return error_fold(r);
        t.resource = maker_format(m->text, "credential.%s", provider);
        t.id = maker_format(m->text, "rotate/%s", provider);
        t.spec = maker_format(m->text, "{\"name\":\"%s\"}", provider);
        if (!t.resource || !t.id || !t.spec)
                return error_origin(-ENOMEM);
        there = inventory_get(m->inventory, t.resource);
        if (there && there->claim)
                problems_add(m->problems, NULL, NULL, "run %s is rotating the credential of provider %s: wait "
                             "for it, or end it with `prvng batch cancel %s`", there->claim, provider,
                             there->claim);
        r = rules_ability(m, &t, &can, &t.irreversible);
        t.irreversible = true;
        m->lanes[t.lane].n_tasks++;
        m->tasks[m->n_tasks++] = t;
        m->ops[0].n_tasks++;
        return error_fold(r);
}

static int make(struct maker *m, const struct operation_def *def, const char *provider)
{
        const struct plugin *p = plugins_find(m->request->plugins, "provider", provider);
        int r;

        m->ops = calloc(2, sizeof(*m->ops));
        m->order = calloc(1, sizeof(*m->order));
        if (!m->ops || !m->order)
                return error_origin(-ENOMEM);
        m->ops[0].def = def;
        m->n_ops = m->n_order = 1;
        if (!p)
                problems_add(m->problems, NULL, NULL, "this site has no provider \"%s\"; `prvng plugin list` "
                             "shows what there is", provider);
        else if (p->state != PLUGIN_READY)
                problems_add(m->problems, NULL, NULL, "provider %s cannot be used: %s", provider,
                             p->reason ?: "the site's configuration disables it");
        else if (!has_credential(p))
                problems_add(m->problems, NULL, NULL, "provider %s has no credential that its plugin could "
                             "renew", provider);
        if (m->problems->n)
                return 0;
        r = add_task(m, provider);
        return error_fold(r ? r : order_tasks(m));
}

int plan_rotate(const struct plan_request *request, const char *provider, struct problems *problems,
                struct plan **ret_plan)
{
        static const struct operation_def def = {
                .id = "rotate", .type = OPERATION_UPDATE, .target = TARGET_SERVER,
                .parallel = true, .timeout_s = 600, .on_failure = ON_FAILURE_FAIL};
        struct maker m = {.request = request, .config = request->config,
                          .inventory = request->inventory, .problems = problems};
        char name[160];
        int r;

        snprintf(name, sizeof(name), "rotate-%s", provider);
        r = maker_init(&m, name, "rotate");
        r = r ? r : make(&m, &def, provider);
        if (!r && !problems->n) {
                r = maker_finish(&m);
                if (!r)
                        *ret_plan = steal(&m.plan);
        }
        maker_deinit(&m);
        return error_fold(r);
}
