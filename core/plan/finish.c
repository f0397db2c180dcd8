/* SPDX-License-Identifier: Apache-2.0 */
/* From the maker's tables to the plan: renumbered, packed, with every string of its own. */
#include "plan/make.h"

#include "plugin/confine.h"

static int finish_operations(struct maker *m)
{
        const struct op *implied = &m->ops[m->n_ops];
        struct plan *p = m->plan;
        uint32_t n = 0;

        p->operations = arena_alloc(m->text, (m->n_order + 1) * sizeof(*p->operations));
        if (!p->operations)
                return error_origin(-ENOMEM);
        if (implied->n_tasks) {
                m->ops[m->n_ops].number = n;
                p->operations[n++] = (struct plan_operation){
                        .id = "(implied)", .type = OPERATION_CREATE, .target = TARGET_SERVER,
                        .on_failure = ON_FAILURE_FAIL, .timeout_s = 300, .implied = true};
        }
        for (uint32_t i = 0; i < m->n_order; i++) {
                struct op *op = &m->ops[m->order[i]];

                op->number = n;
                p->operations[n] = (struct plan_operation){
                        .id = arena_strdup(m->text, op->def->id), .type = op->def->type,
                        .target = op->def->target, .on_failure = op->def->on_failure,
                        .timeout_s = op->def->timeout_s};
                if (!p->operations[n++].id)
                        return error_origin(-ENOMEM);
        }
        p->n_operations = n;
        return 0;
}

/* Who looks at a plan sees what its plugins could do at most. */
static int finish_lane(struct maker *m, const struct plugin *plugin, struct plan_lane *lane)
{
        _cleanup_(cleanup_buf) struct buf may = BUF_NULL;

        lane->version = plugin && plugin->version ? plugin->version : "";
        if (!plugin || !plugin->config || !plugin->capabilities || !plugin_isolation(plugin))
                return 0;
        confine_describe(plugin, &may);
        lane->may = buf_error(&may) ? NULL : arena_strdup(m->text, buf_str(&may));
        return lane->may ? 0 : error_origin(-ENOMEM);
}

/* Only lanes that have tasks, in the order they were met. */
static int finish_lanes(struct maker *m, uint32_t *numbers)
{
        struct plan *p = m->plan;
        int r;

        p->lanes = arena_alloc(m->text, m->n_lanes * sizeof(*p->lanes));
        if (!p->lanes)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < m->n_lanes; i++) {
                if (!m->lanes[i].n_tasks)
                        continue;
                numbers[i] = p->n_lanes;
                p->lanes[p->n_lanes] = m->lanes[i].plan;
                r = finish_lane(m, m->lanes[i].plugin, &p->lanes[p->n_lanes++]);
                if (r < 0)
                        return error_fold(r);
        }
        return 0;
}

static int finish_notices(struct maker *m)
{
        struct plan *p = m->plan;

        p->notices = arena_alloc(m->text, m->n_notices * sizeof(*p->notices));
        if (!p->notices)
                return error_origin(-ENOMEM);
        if (m->n_notices)
                memcpy(p->notices, m->notices, m->n_notices * sizeof(*p->notices));
        p->n_notices = m->n_notices;
        return 0;
}

static const char *task_doc(struct maker *m, const struct task *t)
{
        struct key k = key_parse(t->resource);
        struct buf *b = &m->buf;

        buf_clear(b);
        BUF_LIT(b, "{\"kind\":");
        buf_json_n(b, k.kind, k.n_kind);
        BUF_LIT(b, ",\"name\":");
        buf_json_n(b, k.name, k.n_name);
        BUF_LIT(b, ",\"workflow\":");
        buf_json(b, m->plan->name);
        BUF_LIT(b, ",\"site\":");
        buf_json(b, m->request->site ? m->request->site : "");
        if (t->kind == KIND_TASKSERV) {
                BUF_LIT(b, ",\"server\":");
                buf_json(b, k.place);
        }
        BUF_LIT(b, ",\"spec\":");
        buf_puts(b, t->spec);
        buf_putc(b, '}');
        return buf_error(b) ? NULL : arena_copy(m->text, b->data, b->n);
}

static int use_add(struct maker *m, struct plan_task *out, uint32_t *cap, const char *key)
{
        struct plan *p = m->plan;
        int r = maker_grow(&p->uses, p->n_uses, cap, sizeof(*p->uses));

        if (r || !key)
                return error_origin(r ? r : -ENOMEM);
        p->uses[p->n_uses++] = key;
        out->n_uses = p->n_uses - out->first_use;
        return 0;
}

/* Without a definition: what the inventory says it stands on, and a taskserv's server. */
static int owned_uses(struct maker *m, const struct task *t, struct plan_task *out, uint32_t *cap)
{
        const struct resource *there = inventory_get(m->inventory, t->resource);
        const char *word = there && there->builds_on ? there->builds_on : "";
        struct key k = key_parse(t->resource);
        bool server = t->kind != KIND_TASKSERV;
        int r = 0;

        while (!r && *(word += strspn(word, " "))) {
                size_t n = strcspn(word, " ");
                char *key = arena_copy(m->text, word, n);

                server |= key && strncmp(key, "server.", 7) == 0 && streq(key + 7, k.place);
                r = use_add(m, out, cap, key);
                word += n;
        }
        if (!r && !server)
                r = use_add(m, out, cap, maker_format(m->text, "server.%s", k.place));
        return error_fold(r);
}

/* A security group is told of the provider's networks: it may have to stand in one. */
static int shared_uses(struct maker *m, const struct task *t, struct plan_task *out, uint32_t *cap)
{
        const struct provider *p = &m->providers[t->server];
        int r = 0;

        for (uint32_t j = 0; !r && !p->shared[t->taskserv].network && j < p->n_shared; j++)
                if (p->shared[j].network && (p->shared[j].task != NONE || p->shared[j].there))
                        r = use_add(m, out, cap, p->shared[j].key);
        return error_fold(r);
}

/* Keys of what the task's inputs are made of. */
static int task_uses(struct maker *m, const struct task *t, struct plan_task *out, uint32_t *cap)
{
        const struct provider *provider;
        int r = 0;

        out->first_use = m->plan->n_uses;
        if (t->kind == KIND_JOIN)
                return 0;
        if (!m->def)
                return error_fold(owned_uses(m, t, out, cap));
        if (t->kind == KIND_TASKSERV) {
                struct server *s = &m->servers[t->server];

                if (!s->key)
                        s->key = maker_format(m->text, "server.%s", s->name);
                r = use_add(m, out, cap, s->key);
        }
        if (t->kind == KIND_SHARED)
                r = shared_uses(m, t, out, cap);
        provider = t->kind == KIND_SERVER ? &m->providers[m->servers[t->server].provider] : NULL;
        for (uint32_t j = 0; !r && provider && j < provider->n_shared; j++) {
                const struct shared *s = &provider->shared[j];

                if (!shared_of_server(m, &m->servers[t->server], j) || (s->task == NONE && !s->there))
                        continue;
                if (s->network && !provider->before_servers && !s->there)
                        continue; /* made beside the servers: its outputs may come too late */
                r = use_add(m, out, cap, s->key);
        }
        return error_fold(r);
}

/* item and server are ends of the task's own strings where they can be: a million tasks have a
 * million names. */
static int task_names(struct maker *m, const struct task *t, struct plan_task *out)
{
        struct key k = key_parse(t->resource);
        const struct op *op = &m->ops[t->op];

        out->item = out->server = "";
        if (t->kind == KIND_TASKSERV) {
                out->server = k.place;
                out->item = m->lanes[t->lane].name;
        } else if (t->kind == KIND_SERVER) {
                out->item = out->server = k.name;
        } else if (t->kind == KIND_SHARED) {
                out->item = t->resource;
        } else if (t->item != NONE && op->def) {
                out->item = arena_strdup(m->text, op->def->items.list[t->item]);
        }
        if (m->def && t->kind == KIND_TASKSERV && op->def->target == TARGET_CLUSTER)
                out->item = arena_strdup(m->text, op->def->items.list[t->item]);
        return out->item ? 0 : error_origin(-ENOMEM);
}

/* What goes with the server that the task deletes, and no other task is about. */
static int takes_of(struct maker *m, const struct task *t, struct plan_task *out)
{
        _cleanup_(cleanup_buf) struct buf keys = BUF_NULL;
        const struct resource *there;

        if (t->verb != PLAN_DELETE || t->kind != KIND_SERVER)
                return 0;
        there = inventory_get(m->inventory, t->resource);
        if (!there || !there->workflow)
                return 0;
        inventory_standing_on(m->inventory, there, &keys);
        buf_clear(&m->buf);
        for (const char *p = buf_str(&keys), *end = p + keys.n; p < end;) {
                size_t n = strcspn(p, " ");

                if (!strmap_find(&m->resources, p, n)) {
                        if (m->buf.n)
                                buf_putc(&m->buf, ' ');
                        buf_append(&m->buf, p, n);
                }
                p += n + 1;
        }
        if (m->buf.n)
                out->takes = arena_strdup(m->text, buf_str(&m->buf));
        return (m->buf.n && !out->takes) || buf_error(&keys) ? error_origin(-ENOMEM) : 0;
}

static int finish_task(struct maker *m, uint32_t i, const uint32_t *lanes, uint32_t *cap_uses)
{
        const struct task *t = &m->tasks[m->sorted[i]];
        struct plan_task *out = &m->plan->tasks[i];
        int r;

        *out = (struct plan_task){
                .id = t->id, .resource = t->resource, .doc = "", .spec = t->spec,
                .difference = t->difference, .reason = t->reason,
                .operation = m->ops[t->op].number,
                .lane = t->kind == KIND_JOIN ? UINT32_MAX : lanes[t->lane], .verb = t->verb,
                .impact = t->impact, .implied = t->implied, .irreversible = t->irreversible,
                .shared = t->shared};
        r = task_names(m, t, out);
        r = r ? r : takes_of(m, t, out);
        r = r ? r : task_uses(m, t, out, cap_uses);
        if (r || t->kind == KIND_JOIN)
                return error_fold(r);
        if (t->last_wait) {
                out->waits = depend_waits(m, t);
                if (!out->waits)
                        return error_origin(-ENOMEM);
        }
        out->doc = task_doc(m, t);
        return out->doc ? 0 : error_origin(-ENOMEM);
}

/* Joins are named by what they end: "OPERATION/(end)". */
static int finish_joins(struct maker *m)
{
        for (uint32_t i = 0; i < m->n_tasks; i++) {
                struct task *t = &m->tasks[i];

                if (t->kind != KIND_JOIN)
                        continue;
                t->id = t->item == NONE
                                ? maker_format(m->text, "%s/(%s)", m->ops[t->op].def->id, t->reason)
                                : maker_format(m->text, "%s/(%s %u)", m->ops[t->op].def->id,
                                               t->reason, i);
                if (!t->id)
                        return error_origin(-ENOMEM);
        }
        return 0;
}

/* Dependencies in the new numbers, each once; hard ones come first, so that hard wins. */
static int finish_deps(struct maker *m, const uint32_t *renumbered)
{
        _cleanup_(cleanup_free) uint32_t *stamp = calloc((size_t)m->n_tasks + 1, sizeof(*stamp));
        struct plan *p = m->plan;

        p->deps = arena_alloc(m->text, m->first_dep[m->n_tasks] * sizeof(*p->deps));
        if (!p->deps || !stamp)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < m->n_tasks; i++) {
                uint32_t t = m->sorted[i], end = m->first_dep[t + 1];
                uint32_t soft = end - m->n_soft[t];
                struct plan_task *out = &p->tasks[i];

                out->first_dep = p->n_deps;
                for (uint32_t j = m->first_dep[t]; j < end; j++) {
                        uint32_t dep = renumbered[m->deps[j]];

                        if (stamp[dep] == i + 1)
                                continue;
                        assert(dep < i);
                        stamp[dep] = i + 1;
                        p->deps[p->n_deps++] = dep;
                        out->n_soft += j >= soft;
                }
                out->n_deps = p->n_deps - out->first_dep;
        }
        return 0;
}

static int finish_uses(struct maker *m)
{
        struct plan *p = m->plan;
        const char **uses = arena_alloc(m->text, p->n_uses * sizeof(*uses));

        if (uses && p->n_uses)
                memcpy(uses, p->uses, p->n_uses * sizeof(*uses));
        free(p->uses);
        p->uses = uses;
        return uses ? 0 : error_origin(-ENOMEM);
}

int maker_finish(struct maker *m)
{
        _cleanup_(cleanup_free) uint32_t *renumbered = NULL, *lanes = NULL;
        struct plan *p = m->plan;
        uint32_t cap_uses = 0;
        int r;

        renumbered = malloc(((size_t)m->n_tasks + 1) * sizeof(*renumbered));
        lanes = calloc(m->n_lanes + 1, sizeof(*lanes));
        p->tasks = arena_alloc(m->text, m->n_tasks * sizeof(*p->tasks));
        if (!renumbered || !lanes || !p->tasks)
                return error_origin(-ENOMEM);
        p->n_tasks = m->n_tasks;
        for (uint32_t i = 0; i < m->n_tasks; i++)
                renumbered[m->sorted[i]] = i;
        r = finish_operations(m);
        r = r ? r : finish_lanes(m, lanes);
        r = r ? r : finish_notices(m);
        r = r ? r : finish_joins(m);
        for (uint32_t i = 0; !r && i < m->n_tasks; i++)
                r = finish_task(m, i, lanes, &cap_uses);
        {
                int u = finish_uses(m); /* also on failure: until here they are on the heap */

                r = r ? r : u;
        }
        r = r ? r : finish_deps(m, renumbered);
        return error_fold(r);
}
