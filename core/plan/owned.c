/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans for all that a workflow owns, made from the inventory alone.
 *
 * destroy: what stands on a resource goes before it; what goes with its server needs no task; what
 * others stand on stays, or is a problem if it is a server. check: everything, servers before what
 * stands on them.
 */
#include "plan/make.h"

struct going {
        const struct resource *r;
        uint32_t task;
        bool kept;      /* somebody else needs it */
        bool with;      /* goes with its server */
};

struct owned {
        const struct resource **all;
        size_t n_all;
        struct going *list;
        uint32_t n;
        struct strmap by_key; /* -> list + 1 */
};

static struct going *going_get(const struct owned *d, const char *key, size_t n_key)
{
        struct strmap_entry *e = strmap_find(&d->by_key, key, n_key);

        return e ? &d->list[e->value.number - 1] : NULL;
}

/* Calls for each resource of ours that `r` stands on. */
#define foreach_base(word, n_word, r)                                                              \
        for (const char *word = (r)->builds_on ? (r)->builds_on : "";                              \
             *(word += strspn(word, " ")); word += strcspn(word, " "))                             \
                for (size_t n_word = strcspn(word, " "), once_ = 1; once_; once_ = 0)

/* A run in flight of another workflow, which waited for ours to make it, has its claim. */
static bool is_used_only(const struct maker *m, const struct resource *r)
{
        return r->workflow && key_is_shared(r->key) && r->claim_workflow &&
               !streq(r->claim_workflow, m->plan->name);
}

static int keep_used(struct maker *m, struct going *g)
{
        if (m->ops[0].def->type != OPERATION_DELETE)
                return 0;
        g->kept = true;
        return error_fold(maker_notice(m, "%s stays: run %s of workflow \"%s\", which has not ended, uses it",
                                       g->r->key, g->r->claim, g->r->claim_workflow));
}

static int collect(struct maker *m, struct owned *d)
{
        d->list = calloc(d->n_all + 1, sizeof(*d->list));
        if (!d->list)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < d->n_all; i++) {
                const struct resource *r = d->all[i];
                const char *owner = r->workflow ? r->workflow : r->claim_workflow;
                struct strmap_entry *e;
                int q;

                if (!owner || !streq(owner, m->plan->name) || startswith(r->key, "credential."))
                        continue;
                if (r->claim && !is_used_only(m, r)) {
                        if (maker_room(m, RULE_CLAIM))
                                problems_add(m->problems, NULL, NULL,
                                             "%s is claimed by run %s of workflow \"%s\", which "
                                             "has not ended: wait for it, or end it with `prvng "
                                             "batch cancel %s`", r->key, r->claim,
                                             r->claim_workflow ? r->claim_workflow : "?",
                                             r->claim);
                        continue;
                }
                d->list[d->n++] = (struct going){.r = r, .task = NONE};
                q = r->claim ? keep_used(m, &d->list[d->n - 1]) : 0;
                if (q)
                        return error_fold(q);
                e = strmap_add(&d->by_key, r->key, strlen(r->key));
                if (!e)
                        return error_origin(-ENOMEM);
                e->value.number = d->n;
        }
        return 0;
}

static int nothing(struct maker *m, const struct owned *d)
{
        _cleanup_(cleanup_free) const char **names = calloc(d->n_all + 1, sizeof(*names));
        struct strmap seen = STRMAP_NULL;
        const char *meant;
        size_t n = 0;

        if (!names)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < d->n_all; i++) {
                const char *w = d->all[i]->workflow;
                struct strmap_entry *e = w ? strmap_add(&seen, w, strlen(w)) : NULL;

                if (e && !e->value.number)
                        names[n++] = w;
                if (e)
                        e->value.number = 1;
        }
        strmap_deinit(&seen);
        meant = maker_meant(m, m->plan->name, names, n);
        if (!meant)
                return error_origin(-ENOMEM);
        problems_add(m->problems, NULL, NULL, "workflow \"%s\" owns nothing%s; `prvng resource "
                     "list` shows what there is and whose", m->plan->name, meant);
        return 0;
}

/* Another workflow's resource stands on ours. */
static int keep(struct maker *m, struct going *g, const struct resource *other)
{
        if (g->kept)
                return 0;
        g->kept = true;
        if (strncmp(g->r->key, "server.", 7) != 0)
                return error_fold(maker_notice(m, "%s stays: %s of workflow \"%s\" stands on it",
                                               g->r->key, other->key, other->workflow));
        if (maker_room(m, RULE_OWNER))
                problems_add(m->problems, NULL, NULL, "%s cannot be deleted: %s of workflow \"%s\" "
                             "stands on it; destroy that first", g->r->key, other->key,
                             other->workflow);
        return 0;
}

/* A run in flight of another workflow is about to build on it. */
static int keep_in_flight(struct maker *m, struct owned *d)
{
        for (uint32_t i = 0; m->request->runs && i < d->n; i++) {
                struct going *g = &d->list[i];
                const char *run, *workflow;
                int r;

                if (g->kept || startswith(g->r->key, "server.") || startswith(g->r->key, "taskserv."))
                        continue;
                if (!site_used(m->request->runs, g->r->key, m->plan->name, &run, &workflow))
                        continue;
                g->kept = true;
                r = maker_notice(m, "%s stays: run %s of workflow \"%s\", which has not ended, builds on it",
                                 g->r->key, run, workflow);
                if (r)
                        return error_fold(r);
        }
        return 0;
}

static int keep_needed(struct maker *m, struct owned *d)
{
        for (size_t i = 0; i < d->n_all; i++) {
                const struct resource *r = d->all[i];

                if (!r->workflow || streq(r->workflow, m->plan->name))
                        continue;
                foreach_base (word, n, r) {
                        struct going *g = going_get(d, word, n);
                        int k = g ? keep(m, g, r) : 0;

                        if (k)
                                return error_fold(k);
                }
        }
        return 0;
}

static int lane_of(struct maker *m, const char *plugin, uint32_t *ret_lane)
{
        struct strmap_entry *e = strmap_add(&m->provider_names, plugin, strlen(plugin));
        const char *slash = strchr(plugin, '/');
        char *kind;
        int r;

        if (!e)
                return error_origin(-ENOMEM);
        if (!e->value.number) {
                kind = slash ? arena_copy(m->text, plugin, (size_t)(slash - plugin))
                             : arena_strdup(m->text, "provider");
                if (!kind)
                        return error_origin(-ENOMEM);
                r = lane_get(m, kind, slash ? slash + 1 : plugin, ret_lane);
                if (r)
                        return error_fold(r);
                e->value.number = *ret_lane + 1;
        }
        *ret_lane = (uint32_t)e->value.number - 1;
        return 0;
}

static uint8_t verb_of(const struct maker *m)
{
        return m->ops[0].def->type == OPERATION_CHECK ? PLAN_CHECK : PLAN_DELETE;
}

static int task_for(struct maker *m, struct going *g)
{
        struct task t = {.item = NONE, .server = NONE, .taskserv = NONE, .next_in_op = NONE,
                         .next_same = NONE, .verb = verb_of(m)};
        struct key k = key_parse(g->r->key);
        struct strmap_entry *e;
        struct lane *lane;
        bool can;
        int r = lane_of(m, g->r->plugin, &t.lane);

        r = r ? r : maker_grow(&m->tasks, m->n_tasks, &m->cap_tasks, sizeof(*m->tasks));
        if (r)
                return error_fold(r);
        t.resource = arena_strdup(m->text, g->r->key);
        t.spec = arena_strdup(m->text, g->r->spec && g->r->spec[0] ? g->r->spec : "{}");
        t.kind = KIND_SHARED;
        if (strncmp(g->r->key, "server.", 7) == 0)
                t.kind = KIND_SERVER;
        else if (strncmp(g->r->key, "taskserv.", 9) == 0)
                t.kind = KIND_TASKSERV;
        t.id = maker_format(m->text, "%s/%s", m->plan->type,
                            t.kind == KIND_SHARED ? g->r->key : k.name);
        if (!t.resource || !t.spec || !t.id)
                return error_origin(-ENOMEM);
        r = rules_ability(m, &t, &can, &t.irreversible);
        lane = &m->lanes[t.lane];
        if (!lane->plugin || lane->plugin->state != PLUGIN_READY) {
                buf_printf(&lane->blocked, "%s%s", lane->blocked.n ? ", " : "",
                           lane->n_tasks < 5 ? t.id : "");
        }
        lane->n_tasks++;
        e = strmap_add(&m->resources, t.resource, strlen(t.resource));
        if (!e)
                return error_origin(-ENOMEM);
        e->value.number = m->n_tasks + 1;
        g->task = m->n_tasks;
        m->tasks[m->n_tasks++] = t;
        m->ops[0].n_tasks++;
        return error_fold(r);
}

/* A taskserv goes with its server, if that goes. */
static bool goes_with_server(struct maker *m, const struct owned *d, const struct going *g)
{
        struct key k = key_parse(g->r->key);
        const struct going *server;

        if (strncmp(g->r->key, "taskserv.", 9) != 0)
                return false;
        buf_clear(&m->buf);
        BUF_LIT(&m->buf, "server.");
        buf_puts(&m->buf, k.place);
        server = going_get(d, buf_str(&m->buf), m->buf.n);
        return server && !server->kept;
}

/* What a kept resource stands on is kept with it. */
static int keep_bases(struct owned *d)
{
        _cleanup_(cleanup_free) uint32_t *stack = calloc((size_t)d->n + 1, sizeof(*stack));
        uint32_t n = 0;

        if (!stack)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < d->n; i++)
                if (d->list[i].kept)
                        stack[n++] = i;
        while (n) {
                const struct resource *r = d->list[stack[--n]].r;

                foreach_base (word, n_word, r) {
                        struct going *g = going_get(d, word, n_word);

                        if (!g || g->kept)
                                continue;
                        g->kept = true;
                        stack[n++] = (uint32_t)(g - d->list);
                }
        }
        return 0;
}

static int tasks(struct maker *m, struct owned *d)
{
        bool checks = verb_of(m) == PLAN_CHECK;
        int r = keep_bases(d);

        for (uint32_t i = 0; !r && i < d->n; i++) {
                d->list[i].with = !checks && goes_with_server(m, d, &d->list[i]);
                if (!d->list[i].with && !d->list[i].kept)
                        r = task_for(m, &d->list[i]);
        }
        for (uint32_t i = 0; !r && i < d->n; i++) {
                const struct going *g = &d->list[i];

                if (g->task == NONE)
                        continue;
                foreach_base (word, n, g->r) {
                        const struct going *base = going_get(d, word, n);

                        if (!r && base && base->task != NONE && base->task != g->task)
                                r = checks ? edge_add(m, base->task | SOFT, g->task)
                                           : edge_add(m, g->task, base->task);
                }
        }
        return error_fold(r);
}

static int make(struct maker *m, const struct operation_def *def, struct owned *d)
{
        int r;

        m->ops = calloc(2, sizeof(*m->ops));
        m->order = calloc(1, sizeof(*m->order));
        if (!m->ops || !m->order)
                return error_origin(-ENOMEM);
        m->ops[0].def = def;
        m->n_ops = m->n_order = 1;
        r = inventory_sorted(m->inventory, &d->all, &d->n_all);
        r = r ? r : collect(m, d);
        if (r)
                return error_fold(r);
        if (!d->n && !m->problems->n)
                return error_fold(nothing(m, d));
        if (def->type == OPERATION_DELETE)
                r = keep_needed(m, d) ?: keep_in_flight(m, d);
        r = r ? r : tasks(m, d);
        r = r ? r : expand_blocked(m);
        r = r ? r : order_tasks(m);
        return error_fold(r);
}

static int plan_owned(const struct plan_request *request, const struct operation_def *def,
                      const char *workflow, struct problems *problems, struct plan **ret_plan)
{
        size_t before = problems->n;
        struct maker m = {.request = request, .config = request->config,
                          .inventory = request->inventory, .problems = problems};
        struct owned d = {0};
        int r;

        r = maker_init(&m, workflow, def->id);
        r = r ? r : make(&m, def, &d);
        maker_rest(&m);
        if (!r && problems->n == before) {
                r = maker_finish(&m);
                if (!r)
                        *ret_plan = steal(&m.plan);
        }
        strmap_deinit(&d.by_key);
        free(d.list);
        free(d.all);
        maker_deinit(&m);
        return error_fold(r);
}

int plan_destroy(const struct plan_request *request, const char *workflow, struct problems *problems,
                 struct plan **ret_plan)
{
        static const struct operation_def def = {
                .id = "destroy", .type = OPERATION_DELETE, .target = TARGET_SERVER,
                .parallel = true, .timeout_s = 300, .on_failure = ON_FAILURE_CONTINUE};

        return error_fold(plan_owned(request, &def, workflow, problems, ret_plan));
}

int plan_check(const struct plan_request *request, const char *workflow, struct problems *problems,
               struct plan **ret_plan)
{
        static const struct operation_def def = {
                .id = "check", .type = OPERATION_CHECK, .target = TARGET_SERVER,
                .parallel = true, .timeout_s = 300, .on_failure = ON_FAILURE_CONTINUE};

        return error_fold(plan_owned(request, &def, workflow, problems, ret_plan));
}
